// A plain model of the store's rules (docs/architecture.md, "Semantics"), which runs beside a real
// store and throws std::runtime_error at the first step where the two differ.
//
// What the model knows of a page is what was put there last. A persistent page must be there until
// it is flushed; an ephemeral one may have gone, but then the store must have counted it as
// evicted, and must have had a reason to.
#ifndef TMEM_TESTS_POOLS_STORE_MODEL_H_
#define TMEM_TESTS_POOLS_STORE_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "pools/guest.h"
#include "pools/page_maker.h"
#include "pools/store.h"

namespace tmem {

// What may become scarce.
enum class Scarcity : uint8_t {
  kNone,      // nothing may be refused, nothing may vanish
  kCaps,      // guests reach their caps, the store never its capacity
  kCapacity,  // both, and the capacity changes
};
std::ostream& operator<<(std::ostream& out, Scarcity scarcity);

struct ModelConfig {
  Scarcity scarcity = Scarcity::kNone;
  bool raw_only = false;  // every page is charged the same
};

// One step. Numbers are taken modulo what there is.
struct ModelOp {
  enum class Kind : uint8_t {
    kPut,
    kGet,
    kFlushPage,
    kFlushObject,
    kPutTogether,
    kFlushTogether,
    kPrefetch,
    kNewPool,
    kDestroyPool,
    kConfigure,
    kSetCapacity,
    kSetPolicy,
    kSetSurrendered,
    kTick,
    kFlushEphemeral,
    kAddGuest,
    kRemoveGuest,
    kCheckAll,
  };
  Kind kind = Kind::kCheckAll;
  uint8_t guest = 0;
  uint8_t pool = 0;
  uint8_t object = 0;
  uint8_t index = 0;
  PageLook look = PageLook::kZero;
  uint32_t argument = 0;  // budgets, settings, capacities

  // Any word gives an operation; random words give all of them in useful proportions.
  static ModelOp From(uint64_t word);
};
std::ostream& operator<<(std::ostream& out, const ModelOp& op);

class StoreModel {
 public:
  explicit StoreModel(const ModelConfig& config);

  void Step(const ModelOp& op);
  // Compares all figures.
  void CheckAll();
  // Removes all guests and expects nothing to be left.
  void Finish();

 private:
  static constexpr int kGuests = 4;
  static constexpr uint64_t kObjects = 8;
  static constexpr uint64_t kIndexes = 64;

  struct ModelPage {
    uint64_t seed = 0;
    uint16_t length = 0;  // of the payload; 0: no page
    PageLook look = PageLook::kZero;
  };
  struct ModelPool {
    PageClass page_class = PageClass::kEphemeral;
    std::array<ModelPage, kObjects * kIndexes> pages;
    uint64_t count = 0;
    uint64_t charge = 0;  // bytes
    // Where the store may have lost pages unseen, the found, replaced and flushed ones are upper
    // bounds.
    PoolCounters counters;
    uint64_t losses = 0;  // pages that are known to have been evicted
  };
  // A guest's life, by a number that is never used again.
  using Life = uint32_t;
  struct SharedPool : ModelPool {
    uint64_t uuid = 0;
    std::vector<Life> members;
    std::array<Life, kObjects> payer{};
    bool draining = false;
  };
  struct Entry {
    std::shared_ptr<ModelPool> pool;
    std::shared_ptr<SharedPool> shared;  // the same, if it is
    bool closing = false;
    uint64_t left = 0;  // pages to drain, at most
  };
  struct ModelGuest {
    std::shared_ptr<Guest> handle;  // kept when the guest is gone: it then finds no pools
    bool present = false;
    Life life = 0;
    GuestSettings settings;
    std::array<std::optional<Entry>, kMaxPoolsPerGuest> pools;
    Bytes last_charged;
  };
  // What a page operation works on.
  struct Target {
    ModelGuest& guest;
    PoolId pool;
    Entry* entry;  // nullptr: no such pool
    uint64_t object;
    uint64_t key;
    Handle handle;
  };

  void Put(const ModelOp& op);
  void Get(const ModelOp& op);
  void FlushPage(const ModelOp& op);
  void FlushObject(const ModelOp& op);
  void PutTogether(const ModelOp& op);
  void FlushTogether(const ModelOp& op);
  void Prefetch(const ModelOp& op);
  void NewPool(const ModelOp& op);
  void DestroyPool(const ModelOp& op);
  void Configure(const ModelOp& op);
  void SetCapacity(const ModelOp& op);
  void SetPolicy(const ModelOp& op);
  void SetSurrendered(const ModelOp& op);
  void Tick();
  void FlushEphemeral(const ModelOp& op);
  void AddGuest(const ModelOp& op);
  void RemoveGuest(const ModelOp& op);

  Target TargetOf(const ModelOp& op);
  std::vector<Target> GroupOf(const ModelOp& op);
  ModelPage NewPage(const ModelOp& op);
  uint16_t LengthOf(const Target& t, const Page& contents);
  void NoteFlush(const Target& t, FlushStatus status);
  // What became of a put.
  void NotePut(const Target& t, ModelPage page, const Page& contents, PutStatus status);
  GuestSettings MakeSettings(uint32_t argument) const;
  bool MayLose(const ModelPool& pool) const;
  void Erase(ModelPool& pool, uint64_t key);
  void Enter(ModelPool& pool, uint64_t key, const ModelPage& page);
  void Leave(ModelGuest& guest, Entry& entry);
  void EndPool(ModelGuest& guest, std::optional<Entry>& entry);
  uint64_t StoredIn(const ModelGuest& guest, PoolId id, const Entry& entry) const;
  std::shared_ptr<SharedPool> FindShared(uint64_t uuid) const;

  // store_model_check.cc
  static bool IsClosing(const ModelGuest& guest);
  static bool IsSharing(const ModelGuest& guest);
  static Bytes PersistentCharge(const ModelGuest& guest);
  Bytes ObjectCharge(const ModelPool& pool, uint64_t object) const;
  Bytes ExpectedCharge(const ModelGuest& guest) const;
  // `would_hold`: the guest's persistent pages and this page, in the old one's place.
  void CheckAdmission(const Target& target, Bytes would_hold, PutStatus status) const;
  bool IsRefusalDue(const Target& target, Bytes amount) const;
  bool IsMemoryShortFor(const ModelGuest& guest, const ModelPool& pool, bool shared) const;
  void CheckShare(const ModelGuest& guest, const GuestStats& stats) const;
  void CheckCharge(ModelGuest& guest) const;
  void CheckGuest(ModelGuest& guest) const;
  void CheckPool(const PoolStats& stats, const ModelPool& pool) const;
  void CheckStored(const StoredCounters& stored, const ModelPool& pool) const;
  void Demand(bool condition, const char* what) const;

  const ModelConfig config_;
  const std::unique_ptr<Store> store_;
  PageCodec codec_{PageCodec::Config{}};
  const Bytes empty_index_bytes_ = store_->Stats().index_bytes;
  std::array<ModelGuest, kGuests> guests_;
  std::vector<std::shared_ptr<SharedPool>> shared_;  // with members, or being drained
  PoolCounters totals_;
  Bytes last_in_use_;
  TimePoint now_{};
  uint64_t serial_ = 0;
  Life last_life_ = 0;
  uint64_t steps_ = 0;
  ModelOp current_{};
};

}  // namespace tmem

#endif  // TMEM_TESTS_POOLS_STORE_MODEL_H_
