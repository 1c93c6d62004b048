// Serves queues when the test says so, on the test's own thread.
#ifndef TMEM_TESTS_HYPERCALL_TEST_HOST_H_
#define TMEM_TESTS_HYPERCALL_TEST_HOST_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "compress/page_codec.h"
#include "hypercall/connection.h"
#include "hypercall/queue.h"

namespace tmem {

class TestHost final : public QueueHost {
 public:
  void Attach(std::shared_ptr<Queue> queue) override { queues_.push_back(std::move(queue)); }
  void Detach(const Queue& queue) override {
    if (before_detach_) std::exchange(before_detach_, nullptr)();
    std::erase_if(queues_, [&](const auto& attached) { return attached.get() == &queue; });
  }

  size_t queues() const { return queues_.size(); }
  // One turn for each queue.
  void Serve() {
    for (const auto& queue : queues_) queue->Process(codec_, PageCount(64));
  }
  // What a worker does in the last moment, once.
  void BeforeDetach(std::function<void()> action) { before_detach_ = std::move(action); }

 private:
  std::vector<std::shared_ptr<Queue>> queues_;
  std::function<void()> before_detach_;
  PageCodec codec_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_TEST_HOST_H_
