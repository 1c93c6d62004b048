// Who may have memory: decisions as pure functions, apart from those who carry them out.
//
// Memory is counted in segments. A claimant is a guest, or a shared pool. What each is entitled to
// (its Allotment) comes from the policy in force (policy.h); what holds under every policy stands
// here: the capacity, the caps, and everybody's reserve.
#ifndef TMEM_POOLS_ADMISSION_H_
#define TMEM_POOLS_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "pools/shares.h"

namespace tmem {

inline constexpr uint32_t kNoLimit = UINT32_MAX;  // segments

// What an administrator and the daemon say of a claimant, in segments.
struct Terms {
  uint32_t weight = 1;         // 0: it is on its way out, and is entitled to nothing
  uint32_t reserve = 0;        // always available to its persistent pages
  uint32_t cap = kNoLimit;     // of both classes together
  uint32_t surrendered = 0;    // what the guest gave up of its own memory
  bool has_persistent = true;  // a guest; a shared pool has ephemeral pages only

  bool operator==(const Terms&) const = default;
};

struct Claim {
  Terms terms{};
  uint32_t persistent = 0;  // segments held
  uint32_t ephemeral = 0;
  bool wants_more = false;  // persistent memory was refused to it lately
  uint64_t oldest = 0;      // when its oldest ephemeral segment was taken, as a serial number
  uint64_t tenant = 0;      // who this is: a number is never used again, an index is
};

// What the policy in force gives a claimant, in segments.
struct Allotment {
  // The terms of what its persistent pages may take.
  uint32_t reserve = 0;
  uint32_t surrendered = 0;       // what it gets for what it surrendered
  uint32_t share = 0;             // its part of what nobody else claims
  uint32_t total = kNoLimit;      // both classes together; kNoLimit: by what is there
  uint32_t ephemeral_weight = 1;  // ephemeral memory is divided by this

  bool operator==(const Allotment&) const = default;

  // What it may take, by its terms.
  uint64_t persistent() const { return uint64_t{reserve} + surrendered + share; }
  uint64_t entitled() const { return persistent() < total ? persistent() : total; }
};

// The host's figures, in segments.
struct HostMemory {
  uint32_t capacity = 0;
  uint32_t persistent = 0;  // held, all claimants
  uint32_t ephemeral = 0;
  uint64_t promised = 0;  // to each the larger of its reserve and what its persistent pages hold
  uint64_t missing = 0;   // to all claimants together: MissingTo

  uint64_t in_use() const { return uint64_t{persistent} + ephemeral; }
  // Does somebody lack room that is due to it, because persistent pages of others are there?
  bool crowded() const { return persistent + missing > capacity; }
};

inline uint32_t PromisedTo(const Claim& claim) {
  return claim.persistent > claim.terms.reserve ? claim.persistent : claim.terms.reserve;
}

// Why a claimant may not take one more segment for persistent pages; nullopt if it may. Within its
// own reserve it always may, as long as the capacity is not all persistent already. Beyond, up to
// its allotment, and only while what is promised fits the capacity: ephemeral pages make room,
// others' persistent pages and reserves do not.
std::optional<Refusal> RefusePersistent(const Claim& claim, const Allotment& allotment,
                                        const HostMemory& host);

// Does it hold clearly more persistent memory than it is entitled to? What it holds it may keep,
// and put new pages in place of those that go, unless the host is crowded: then nothing may be put
// until it holds less, so that its segments come free.
bool HoldsTooMuch(const Claim& claim, const Allotment& allotment);

// What the claimant's persistent pages are to find room for: the rest of its reserve, at any time;
// and while it wants more, the rest of what it is entitled to. 0 for one that holds too much.
uint32_t MissingTo(const Claim& claim, const Allotment& allotment);

// Must the claimant make room for a segment itself, because of its own cap or allotment? Then the
// reason; ephemeral pages that it holds may go for it.
std::optional<Refusal> AtOwnLimit(const Claim& claim, const Allotment& allotment);

// Whose ephemeral segments go first: those of the largest amount / weight. Compared exactly; with a
// weight of 0 it is infinite. amount < 2^32 unless all weights are 1.
struct EvictionRank {
  uint64_t amount = 0;
  uint64_t weight = 1;

  bool operator==(const EvictionRank&) const = default;
  bool GoesBefore(const EvictionRank& other) const {
    return amount * other.weight > other.amount * weight;
  }
};

// By ephemeral memory held for its weight, so that none below its weighted share loses any while
// another is above.
EvictionRank RankByShare(const Claim& claim, const Allotment& allotment);

// By the age of the oldest ephemeral segment, whoever has it.
EvictionRank RankByAge(const Claim& claim);

// What claimant `self` can hold of the ephemeral memory before it becomes the victim, if the others
// want what they hold: its part of a weighted max-min division.
uint32_t EphemeralShare(std::span<const Claim> claims, std::span<const Allotment> allotments,
                        const HostMemory& host, size_t self);

struct Demand {
  uint32_t weight = 0;  // 0: gets nothing
  uint32_t most = 0;    // of what is divided, at most this
};
// Weighted max-min: nobody gets more than it wants; who wants more than its part by weight gets an
// equal amount for its weight. Exact, and all of `amount` is handed out if enough is wanted: what
// whole numbers leave over goes one by one to the heaviest.
std::vector<uint32_t> WeightedMaxMin(uint32_t amount, std::span<const Demand> demands);

}  // namespace tmem

#endif  // TMEM_POOLS_ADMISSION_H_
