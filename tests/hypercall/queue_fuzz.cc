// libFuzzer: any requests, any ring indices, pages that change, over any number of restarts. The
// queue executes or breaks, and the pages of another guest stay as they are.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "hypercall/queue_rig.h"
#include "pools/page_maker.h"

namespace tmem {
namespace {

constexpr uint32_t kSlots = 16;

void Demand(bool condition) {
  if (!condition) std::abort();
}

class Fuzzed {
 public:
  explicit Fuzzed(FuzzedDataProvider& data)
      : data_(data),
        rig_({.slots = kSlots,
              .may_post = data.ConsumeBool(),
              .capacity = MiB(8),
              .settings = {.cap = MiB(1)}}),
        other_(rig_.store().AddGuest(GuestId{2}, {}).value()),
        pool_(rig_.store().NewPool(*other_, {.page_class = PageClass::kPersistent}).value()) {
    Demand(rig_.store().Put(*other_, TheirHandle(), PageView(their_page_), rig_.codec()) ==
           PutStatus::kStored);
  }

  void Run() {
    while (data_.remaining_bytes() > 0) Step();
    Page page;
    Demand(rig_.store().Get(*other_, TheirHandle(), MutablePageView(page), rig_.codec()) ==
           GetStatus::kHit);
    Demand(page == their_page_);
    Demand(rig_.store().StatsOf(rig_.id())->charged <= MiB(1));
  }

 private:
  Handle TheirHandle() const { return {pool_, MakeObjectId(1), PageIndex{1}}; }

  void Step() {
    switch (data_.ConsumeIntegralInRange(0, 15)) {
      case 0:
        SetIndex();
        break;
      case 1:
        rig_.Restart();
        broken_ = false;
        break;
      case 2:
      case 3:
        Scribble();
        break;
      case 4:
      case 5:
      case 6:
        Process();
        break;
      default:
        Produce();
    }
  }

  // As a guest that keeps its own index only in the ring.
  void Produce() {
    tmemif_ring& ring = rig_.front().ring();
    rig_.front().Rewrite(ring.req_prod, AnyRequest());
    ++ring.req_prod;
  }

  tmemif_request AnyRequest() {
    tmemif_request request{};
    if (data_.ConsumeIntegralInRange(0, 15) == 0) {
      data_.ConsumeData(&request, sizeof(request));
      return request;
    }
    constexpr uint8_t kOperations[] = {1, 2, 4, 4, 4, 5, 5, 6, 7};
    request.op = data_.PickValueInArray(kOperations);
    if (request.op == TMEMIF_OP_NEW_POOL) {
      request.u.new_pool.flags = kVersionFlag | data_.ConsumeIntegralInRange<uint32_t>(0, 3);
    } else {
      request.pool = data_.ConsumeIntegralInRange<uint32_t>(0, 3);
    }
    if (request.op >= TMEMIF_OP_PUT_PAGE) {
      request.u.page.oid.word[0] = data_.ConsumeIntegralInRange<uint64_t>(0, 3);
    }
    if (request.op >= TMEMIF_OP_PUT_PAGE && request.op <= TMEMIF_OP_FLUSH_PAGE) {
      request.u.page.index = data_.ConsumeIntegralInRange<uint32_t>(0, 40);
      request.u.page.nr_pages = data_.ConsumeIntegralInRange<uint32_t>(1, kSlots);
      request.flags = request.op == TMEMIF_OP_PUT_PAGE && data_.ConsumeBool();
    }
    if (data_.ConsumeIntegralInRange(0, 15) == 0) {
      const auto at = data_.ConsumeIntegralInRange<size_t>(0, sizeof(request) - 1);
      reinterpret_cast<uint8_t*>(&request)[at] ^= data_.ConsumeIntegral<uint8_t>();
    }
    return request;
  }

  void SetIndex() {
    tmemif_ring& ring = rig_.front().ring();
    uint32_t* const fields[] = {&ring.req_prod, &ring.rsp_event, &ring.rsp_prod, &ring.req_event};
    uint32_t& field = *data_.PickValueInArray(fields);
    field = data_.ConsumeBool() ? field + data_.ConsumeIntegralInRange<uint32_t>(0, 40)
                                : data_.ConsumeIntegral<uint32_t>();
  }

  void Scribble() {
    const MutablePageView slot = rig_.front().Slot(data_.ConsumeIntegralInRange(0u, kSlots - 1));
    if (data_.ConsumeBool()) std::ranges::fill(slot, std::byte{data_.ConsumeIntegral<uint8_t>()});
    slot[data_.ConsumeIntegralInRange<size_t>(0, kPageSize - 1)] =
        std::byte{data_.ConsumeIntegral<uint8_t>()};
  }

  void Process() {
    const size_t violations = rig_.violations().size();
    const uint32_t answered = rig_.front().ring().rsp_prod;
    const Queue::Turn turn =
        rig_.Process(PageCount{data_.ConsumeIntegralInRange<uint64_t>(1, 200)});
    Demand(!broken_ || (turn == Queue::Turn::kBroken && rig_.violations().size() == violations &&
                        rig_.front().ring().rsp_prod == answered));
    Demand(broken_ || (turn == Queue::Turn::kBroken) == (rig_.violations().size() > violations));
    broken_ = turn == Queue::Turn::kBroken;
  }

  FuzzedDataProvider& data_;
  QueueRig rig_;
  const std::shared_ptr<Guest> other_;
  const PoolId pool_;
  const Page their_page_ = MakePage(PageLook::kText, 7);
  bool broken_ = false;
};

}  // namespace
}  // namespace tmem

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  tmem::Fuzzed(data).Run();
  return 0;
}
