// A tmem_client.h in memory, for tests of tmemrun: link it in place of the client library.
//
// Every guest lives in this process. Puts can be refused, and pages lost, on command; a refused
// put removes what was stored, as the protocol says. Thread-safe.
#ifndef TMEM_TESTS_RUN_FAKE_CLIENT_H_
#define TMEM_TESTS_RUN_FAKE_CLIENT_H_

#include <cstddef>
#include <cstdint>

namespace tmem::run {

class FakeTmem {
 public:
  // As new: no pages, nothing refused.
  static void Reset();

  // Refuses this share of all pages put, chosen by a seeded generator. 1 refuses all.
  static void RefusePuts(double share);

  // Forgets every page, as a daemon does that was flushed behind the guest's back.
  static void LosePages();

  // Pages stored, over all pools.
  static size_t pages();
};

}  // namespace tmem::run

#endif  // TMEM_TESTS_RUN_FAKE_CLIENT_H_
