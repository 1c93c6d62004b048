// A guest that knows what it was told: it puts, gets and flushes pages at random, and compares
// every answer with all the answers before it.
//
// A persistent page that was acknowledged must be there, byte for byte, until it is flushed; what
// was flushed, replaced or refused must never come back. An ephemeral page may have gone, but must
// not be another one.
//
// Threads: Run() is one thread's; the counters may be read by any.
#ifndef TMEM_TESTS_KILL_CHECKING_GUEST_H_
#define TMEM_TESTS_KILL_CHECKING_GUEST_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <tuple>

#include "tmem_client.h"

namespace tmem {

class CheckingGuest {
 public:
  struct Findings {
    std::atomic<uint64_t> operations{0};
    std::atomic<uint64_t> refused{0};
    std::atomic<uint64_t> lost{0};   // acknowledged, and gone
    std::atomic<uint64_t> stale{0};  // flushed or replaced, and there
    std::atomic<uint64_t> wrong{0};  // bytes that nobody put, or an answer that cannot be
  };

  // Works on objects of its own: several may share a client. Findings outlive it.
  CheckingGuest(tmem_client* client, uint64_t seed, Findings& findings);

  // Works until told otherwise. False if the connection was lost for good.
  bool Run(const std::atomic<bool>& stop);
  // Looks at every page there could be.
  bool CheckAll();

 private:
  static constexpr uint64_t kObjects = 24;
  static constexpr uint32_t kIndexes = 96;
  static constexpr uint32_t kBatch = 16;

  struct Pool {
    int id = -1;
    bool persistent = false;
    // The seed of the page that was put last and acknowledged, or, in an ephemeral pool, sent.
    std::map<std::pair<uint64_t, uint32_t>, uint64_t> pages{};
  };
  using Bytes = std::array<std::byte, TMEM_PAGE_SIZE>;

  bool Step();
  bool Put(Pool& pool, uint64_t object, uint32_t index, uint32_t count);
  bool Post(Pool& pool, uint64_t object, uint32_t index);
  bool Get(Pool& pool, uint64_t object, uint32_t index, uint32_t count);
  bool Flush(Pool& pool, uint64_t object, uint32_t index, uint32_t count);
  bool FlushObject(Pool& pool, uint64_t object);
  bool RemakePool(Pool& pool);
  bool MakePool(Pool& pool);
  void Examine(Pool& pool, uint64_t object, uint32_t index, bool found, const Bytes& bytes);
  // True if the call was executed; counts an answer that is none of the protocol's.
  bool Answered(int result, bool good);
  tmem_oid Oid(uint64_t object) const { return {{seed_, object, 7}}; }
  void FillPage(uint64_t seed, Bytes& bytes) const;

  tmem_client* const client_;
  const uint64_t seed_;
  Findings& findings_;
  std::mt19937_64 random_;
  std::array<Pool, 3> pools_{Pool{.persistent = true}, Pool{.persistent = true}, Pool{}};
  std::array<Bytes, kBatch> buffer_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_KILL_CHECKING_GUEST_H_
