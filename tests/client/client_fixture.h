// What tests of the client share: a socket to meet at, clients that end with their test, pages
// whose contents tell where they belong.
#ifndef TMEM_TESTS_CLIENT_CLIENT_FIXTURE_H_
#define TMEM_TESTS_CLIENT_CLIENT_FIXTURE_H_

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_backend.h"
#include "client/tmem_client.h"
#include "daemon/temporary_folder.h"

namespace tmem::client {

struct Disconnect {
  void operator()(tmem_client* client) const { tmem_disconnect(client); }
};
using ClientPtr = std::unique_ptr<tmem_client, Disconnect>;

// tmem_options with defaults, so that a test names only what it is about.
struct Options {
  uint32_t queues = 0;
  uint32_t ring_page_order = 0;
  uint32_t slots = 0;
  uint32_t spin_us = 0;
  uint32_t connect_ms = 0;

  tmem_options ForC() const {
    tmem_options options{};
    options.queues = queues;
    options.ring_page_order = ring_page_order;
    options.slots = slots;
    options.spin_us = spin_us;
    options.connect_ms = connect_ms;
    return options;
  }
};

using Pages = std::vector<unsigned char>;

// `count` pages, each full of its number and the seed.
inline Pages MakePages(uint64_t seed, uint32_t count = 1) {
  Pages pages(count * TMEM_PAGE_SIZE);
  for (size_t at = 0; at < pages.size(); at += sizeof(uint64_t)) {
    const uint64_t word = (seed + at / TMEM_PAGE_SIZE) * 0x9e3779b97f4a7c15 + at % TMEM_PAGE_SIZE;
    std::memcpy(pages.data() + at, &word, sizeof(word));
  }
  return pages;
}

inline tmem_oid Oid(uint64_t number) { return {{number, 0, 0}}; }

class ClientFixture : public ::testing::Test {
 protected:
  using Step = FakeBackend::Step;
  using Fault = FakeBackend::Fault;
  using Script = FakeBackend::Script;

  void StartBackend(Script script = {}) {
    backend_.reset();
    backend_ = std::make_unique<FakeBackend>(socket_path_, std::move(script));
    ASSERT_TRUE(backend_->listens());
  }

  // Null on failure; then error_ says why.
  ClientPtr TryConnect(const Options& options = {}, const char* name = "guest") {
    return TryConnectAs(options.ForC(), name);
  }
  ClientPtr TryConnectAs(const tmem_options& options, const char* name) {
    error_.fill('\0');
    return ClientPtr(
        tmem_connect(socket_path_.c_str(), name, &options, error_.data(), error_.size()));
  }
  ClientPtr Connect(const Options& options = {}) {
    ClientPtr client = TryConnect(options);
    EXPECT_TRUE(client) << error_.data();
    return client;
  }
  static int NewPool(const ClientPtr& client, uint32_t flags) {
    const int pool = tmem_new_pool(client.get(), nullptr, flags);
    EXPECT_GE(pool, 0);
    return pool;
  }
  static tmem_stats Stats(const ClientPtr& client) {
    tmem_stats stats;
    tmem_get_stats(client.get(), &stats);
    return stats;
  }

  const TemporaryFolder files_;
  const std::string socket_path_ = files_.Path("socket");
  std::unique_ptr<FakeBackend> backend_;
  std::array<char, 256> error_{};
};

}  // namespace tmem::client

#endif  // TMEM_TESTS_CLIENT_CLIENT_FIXTURE_H_
