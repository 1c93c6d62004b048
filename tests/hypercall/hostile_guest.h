// A guest that breaks the rules, in each of its lives in another way, so that not every life ends
// with its first request.
//
// Its writes race with the backend's reads on purpose, so they are hidden from ThreadSanitizer.
//
// Threads: the control thread calls everything; a thread of its own scribbles.
#ifndef TMEM_TESTS_HYPERCALL_HOSTILE_GUEST_H_
#define TMEM_TESTS_HYPERCALL_HOSTILE_GUEST_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "hypercall/backend.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/test_frontend.h"

namespace tmem {

class HostileGuest {
 public:
  HostileGuest(FakeHypervisor& hypervisor, Backend& backend, uint16_t domid, uint64_t seed);
  ~HostileGuest();
  HostileGuest(const HostileGuest&) = delete;
  HostileGuest& operator=(const HostileGuest&) = delete;

  // A few hostile requests; connects again first, if it has been disconnected.
  void Turn();
  // Each vice was had a few times.
  bool satisfied() const { return lives_ > 4 * kVices; }
  uint64_t violations() const { return violations_; }
  // That were executed, in all lives that are over.
  uint64_t requests() const { return requests_; }

 private:
  enum class Vice : uint8_t {
    kRewritesSlots,     // good requests, and pages that change while they are copied
    kRewritesRequests,  // requests that change while they are read
    kBadRequests,       // one bit of some is wrong
    kBadIndices,        // both sides' indices set to anything
  };
  static constexpr uint64_t kVices = 4;
  static constexpr int kTurnsALife = 50;

  uint64_t Random();
  Vice vice() const { return static_cast<Vice>(lives_ % kVices); }
  void Reboot();
  void CountLife();
  bool Connected();
  void Attack(FrontQueue& queue);
  void BreakIndices(tmemif_ring& ring);
  tmemif_request AnyRequest();
  void SetTarget(std::shared_ptr<FakeGuest> guest, std::span<std::byte> bytes);
  void Scribble(uint64_t random);

  FakeHypervisor& hypervisor_;
  Backend& backend_;
  const uint16_t domid_;
  uint64_t random_;
  uint64_t lives_ = 0;
  int turns_ = 0;  // of this life
  uint64_t violations_ = 0;
  uint64_t requests_ = 0;
  std::unique_ptr<TestFrontend> frontend_;

  std::mutex target_mutex_;
  std::shared_ptr<FakeGuest> target_guest_;  // keeps the target mapped
  std::span<std::byte> target_;
  std::atomic<bool> stopping_{false};
  std::thread scribbler_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_HOSTILE_GUEST_H_
