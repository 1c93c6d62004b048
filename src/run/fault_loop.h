// The thread that serves the arena: reads what happened in the program and its forked children,
// one after the other, and has Residency and ForkedChildren deal with it.
//
// The one owner of all page state; that is why nothing below it needs a lock. It must never touch
// absent pages of the arena: nobody would fill them.
#ifndef TMEM_RUN_FAULT_LOOP_H_
#define TMEM_RUN_FAULT_LOOP_H_

#include <deque>
#include <functional>

#include "run/doorbells.h"
#include "run/forked_children.h"
#include "run/residency.h"
#include "run/uffd_space.h"

namespace tmem::run {

class FaultLoop {
 public:
  // Called once, when the program is about to exit.
  using FinishHandler = std::function<void()>;

  // All must outlive the loop.
  FaultLoop(UffdSpace& space, const Doorbells& doorbells, Residency& residency,
            ForkedChildren& children, FinishHandler on_finish);

  // Serves until kStop is commanded.
  void Run();

 private:
  struct Pending {
    ForkedChild* child = nullptr;  // null: the program itself
    UffdMessage message;
  };

  void WaitForMessages();
  void ReadMessages(UffdSpace& space, ForkedChild* child);
  void FollowFork(UniqueFd fd, UffdSpace& parent_space, ForkedChild* parent);
  void Handle(const UffdMessage& message);
  void Obey(uint32_t doorbell);

  UffdSpace& space_;
  const Doorbells& doorbells_;
  Residency& residency_;
  ForkedChildren& children_;
  FinishHandler on_finish_;
  std::deque<Pending> pending_;
  bool stopped_ = false;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_FAULT_LOOP_H_
