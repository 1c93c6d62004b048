// A guest that sends random requests through several queues at once, and a plain model of what it
// may get back (docs/protocol.md). Throws std::runtime_error at the first answer that breaks a
// rule.
//
// An object's requests go to one queue and are answered in order, so the model follows the
// answers: it needs no guess at what is still under way.
//
// Threads: Run belongs to the guest's own thread; a SharedBoard is common to all guests.
#ifndef TMEM_TESTS_HYPERCALL_RING_MODEL_H_
#define TMEM_TESTS_HYPERCALL_RING_MODEL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "hypercall/test_frontend.h"
#include "pools/page_maker.h"

namespace tmem {

// When the pages of a shared pool were put, by all guests: each put has a serial, written into its
// page, and an order of begins and ends that all guests agree on.
class SharedBoard {
 public:
  // A moment that lies after all moments given out before.
  uint64_t Now();
  uint64_t BeginPut(uint64_t handle);
  void EndPut(uint64_t serial);
  // Whether a get may deliver the page after this guest's last flush of it began at `flush_began`:
  // not if its put had ended by then.
  bool MayBeSeen(uint64_t serial, uint64_t handle, uint64_t flush_began);

 private:
  struct Put {
    uint64_t handle = 0;
    uint64_t end = UINT64_MAX;
  };
  std::mutex mutex_;
  uint64_t now_ = 0;
  std::map<uint64_t, Put> puts_;  // by serial
};

class RingModel {
 public:
  struct Config {
    uint64_t seed = 0;
    uint64_t operations = 0;
    bool scarce = false;      // puts may be refused and ephemeral pages vanish
    bool may_freeze = false;  // an administrator freezes and thaws the guest meanwhile
    std::optional<Uuid> shared_uuid;
  };

  RingModel(TestFrontend& frontend, size_t queues, SharedBoard& board, const Config& config);

  void Run();
  uint64_t hits() const { return hits_; }
  uint64_t losses() const { return losses_; }  // ephemeral pages that had vanished

 private:
  struct Content {
    PageLook look = PageLook::kZero;
    uint64_t seed = 0;
  };
  using Handle = std::pair<uint64_t, uint32_t>;  // object, index
  struct Pool {
    bool persistent = false;
    bool shared = false;
    std::map<Handle, Content> pages{};          // private pools
    std::map<Handle, uint64_t> flush_begans{};  // shared ones: of flushes that were answered
  };
  struct Pending {
    tmemif_request request{};
    uint64_t object = 0;
    std::vector<Content> contents{};  // of a put
    uint32_t slots_taken = 0;
    uint64_t began = 0;
  };
  struct Lane {
    FrontQueue* queue = nullptr;
    std::deque<Pending> pending{};
    uint32_t next_slot = 0;
    uint32_t slots_used = 0;
  };

  uint64_t Random() { return Mix(++random_); }
  void Step();
  void ChangePools();
  void Send(Lane& lane, Pending pending, uint32_t slots);
  void FillSlots(Lane& lane, Pending& pending, uint32_t slot);
  // Takes all answers that are there; waits for one if told to.
  void TakeAnswers(Lane& lane, bool wait);
  void Drain();
  int32_t RunAlone(const tmemif_request& request);
  void CheckAllPersistent();

  void Check(Lane& lane, const tmemif_response& response);
  void CheckPut(Pool& pool, const Pending& pending, const tmemif_response& response);
  void CheckGet(Lane& lane, Pool& pool, const Pending& pending, const tmemif_response& response);
  void CheckHit(Pool& pool, const Handle& handle, PageView page);
  void CheckMiss(Pool& pool, const Handle& handle);
  void CheckFlush(Pool& pool, const Pending& pending, const tmemif_response& response);
  void Demand(bool condition, const char* what) const;

  SharedBoard& board_;
  const Config config_;
  uint64_t random_;
  std::vector<Lane> lanes_;
  std::map<uint32_t, Pool> pools_;
  uint64_t steps_ = 0;
  uint64_t hits_ = 0;
  uint64_t losses_ = 0;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_RING_MODEL_H_
