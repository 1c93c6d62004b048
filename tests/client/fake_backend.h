// A small tmem backend for tests of the client: the loopback hypervisor with a thread that plays
// toolstack, xenbus backend and page store, by the book or as badly as a script says.
//
// Pages live in a FakeStore, which a test may keep across the deaths of backends.
//
// Threads: made and destroyed by the test's thread. The script's functions run in the backend's.
#ifndef TMEM_TESTS_CLIENT_FAKE_BACKEND_H_
#define TMEM_TESTS_CLIENT_FAKE_BACKEND_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"
#include "hypercall/abi/tmemif.h"
#include "hypercall/handshake.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/loopback/loopback_hypervisor.h"
#include "hypercall/ring.h"
#include "hypercall/xenbus.h"

namespace tmem::client {

// Pools and pages by the protocol's rules, without limits.
class FakeStore {
 public:
  // Executes the request; pages travel in `slots`.
  tmemif_response Execute(const tmemif_request& request, std::span<std::byte> slots);
  size_t pages() const { return pages_.size(); }

  std::vector<GuestInfo> guests;  // that a backend on this store served last

 private:
  using Page = std::array<std::byte, kPageSize>;
  using Object = std::tuple<uint32_t, uint64_t, uint64_t, uint64_t>;  // pool, oid

  bool DoPage(const tmemif_request& request, uint32_t k, std::byte* slot);

  std::vector<std::optional<bool>> pools_;  // persistent?
  std::map<std::pair<Object, uint32_t>, Page> pages_;
};

class FakeBackend {
 public:
  // Stations of a connection, after each of which the script may interfere.
  enum class Step {
    kIntroduced,  // the guest said hello
    kNodes,       // its device exists, the backend waits
    kOffered,     // the frontend is Initialised
    kMapped,      // its pages are mapped, it is not told yet
    kConnected,
  };
  enum class Fault {
    kNone,
    kDie,             // as if killed: the socket goes, nothing is said
    kStaySilent,      // do nothing with this guest any more
    kClose,           // Closed, without a reason
    kCloseWithError,  // Closed, with the reason "because"
    kTakeAway,        // remove the device
  };

  struct Script {
    WireLimits limits{.max_queues = 4, .max_ring_page_order = 4, .max_slots = 256};
    std::map<std::string, std::string> keys;  // of the backend's folder; replace the right ones
    std::vector<std::string> missing_keys;
    std::string store_id = "11111111-1111-1111-1111-111111111111";
    std::shared_ptr<FakeStore> store = std::make_shared<FakeStore>();
    bool admit = true;
    std::function<Fault(Step)> fault;
    // Sees each response before it is sent; may spoil it. False: never answers.
    std::function<bool(const tmemif_request&, tmemif_response&)> answer;
    // Called after each turn of a queue that had a request, answered or not.
    std::function<void(tmemif_ring&)> spoil_ring;
    // Dies after executing so many requests, before it shows the last response.
    uint64_t die_after_requests = UINT64_MAX;
  };

  FakeBackend(const std::string& socket_path, Script script);
  ~FakeBackend();
  FakeBackend(const FakeBackend&) = delete;
  FakeBackend& operator=(const FakeBackend&) = delete;

  bool listens() const { return thread_.joinable(); }

  // Makes the backend act on its one guest from outside: kClose, kTakeAway, ...
  void Commit(Fault fault);
  // Waits until it died by its script.
  void AwaitDeath() const { dead_.wait(false); }

  uint64_t requests() const { return requests_.load(); }
  uint32_t queues() const { return mapped_queues_.load(); }
  // Sequence of (queue, request), in the order of execution of each queue.
  std::vector<std::pair<uint32_t, tmemif_request>> TakeLog();

 private:
  struct ServedQueue {
    tmem::Queue::Parts parts;
    std::unique_ptr<BackRing> ring;
    bool broken = false;
  };
  struct Device {
    GuestId guest;
    bool silent = false;
    std::vector<ServedQueue> queues;
  };

  void Run();
  void HandleDirectory();
  void FollowGuests();
  void WriteNodes(GuestId guest);
  void FollowFrontend(Device& device);
  void Connect(Device& device);
  // Consults the script. True if the step is to go on.
  bool Pass(Device& device, Step step);
  void Act(Device& device, Fault fault);
  void Close(Device& device);
  void SetState(const Device& device, XenbusState state);
  // Serves all rings until they are empty. True if a notification will come of the next request.
  void Serve(Device& device);
  bool ServeQueue(ServedQueue& queue, uint32_t number);
  void Spoil(ServedQueue& queue);
  void Sleep();

  Script script_;
  std::unique_ptr<loopback::LoopbackHypervisor> hypervisor_;
  std::optional<loopback::Bell> bell_;
  std::map<GuestId, Device> devices_;
  bool dying_ = false;
  bool more_ = false;  // a ring had requests when it was armed

  std::atomic<bool> stop_{false};
  std::atomic<Fault> committed_{Fault::kNone};
  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint32_t> mapped_queues_{0};
  Mutex log_mutex_{LockRank::kLeaf};
  std::vector<std::pair<uint32_t, tmemif_request>> log_;
  std::thread thread_;
};

}  // namespace tmem::client

#endif  // TMEM_TESTS_CLIENT_FAKE_BACKEND_H_
