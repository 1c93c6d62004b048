// All that serves one arena, put together for tests on the fake client.
#ifndef TMEM_TESTS_RUN_ENGINE_H_
#define TMEM_TESTS_RUN_ENGINE_H_

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "client/tmem_client.h"
#include "run/backing.h"
#include "run/counters.h"
#include "run/fake_client.h"
#include "run/fake_space.h"
#include "run/page_table.h"
#include "run/residency.h"
#include "run/spill_file.h"

namespace tmem::run {

// A client of the fake daemon with a persistent pool.
class FakeConnection {
 public:
  FakeConnection() : client_(tmem_connect(nullptr, "test", nullptr, nullptr, 0)) {
    FakeTmem::Reset();
    pool_ = tmem_new_pool(client_, nullptr, TMEM_POOL_PERSIST);
  }
  ~FakeConnection() { tmem_disconnect(client_); }
  FakeConnection(const FakeConnection&) = delete;
  FakeConnection& operator=(const FakeConnection&) = delete;

  tmem_client* client() const { return client_; }
  int pool() const { return pool_; }

 private:
  tmem_client* const client_;
  int pool_ = 0;
};

inline std::optional<SpillFile> TestSpillFile() {
  auto file = SpillFile::Create("/tmp");
  if (!file) std::abort();
  return std::move(*file);
}

enum class Spill { kNone, kFile };

// A Residency over a FakeSpace: a program in one thread.
struct Engine {
  Engine(const Residency::Config& config, uint32_t pages, Spill spill)
      : table(pages),
        space(pages),
        backing(connection.client(), connection.pool(),
                spill == Spill::kFile ? TestSpillFile() : std::nullopt, counters),
        residency(config, table, space, backing, counters, OnFatal) {
    space.on_missing = [this](uint32_t page, bool write) { residency.OnMissing(page, write); };
    space.on_write_protected = [this](uint32_t page) { residency.OnWriteProtected(page); };
  }

  // Throws where the real one stops the program.
  struct Stopped {
    std::string message;
  };
  [[noreturn]] static void OnFatal(const std::string& message) { throw Stopped{message}; }

  FakeConnection connection;
  Counters counters;
  PageTable table;
  FakeSpace space;
  Backing backing;
  Residency residency;
};

}  // namespace tmem::run

#endif  // TMEM_TESTS_RUN_ENGINE_H_
