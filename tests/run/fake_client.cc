#include "run/fake_client.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <tuple>

#include "client/tmem_client.h"

struct tmem_client {
  int pools = 0;
};

namespace tmem::run {

namespace {

using Page = std::array<unsigned char, TMEM_PAGE_SIZE>;
using Handle = std::tuple<int, uint64_t, uint64_t, uint64_t, uint32_t>;

struct State {
  std::mutex mutex;
  std::map<Handle, Page> pages;
  double refused_share = 0;
  std::mt19937 random{1};
};

// Lives for ever: programs use it to their last instruction. Where no test can call RefusePuts(),
// the environment sets the share.
State& GetState() {
  static State& state = *new State;
  static const bool configured = [] {
    if (const char* share = std::getenv("TMEM_FAKE_REFUSE")) state.refused_share = std::atof(share);
    return true;
  }();
  static_cast<void>(configured);
  return state;
}

Handle HandleOf(int pool, const tmem_oid* oid, uint32_t index) {
  return {pool, oid->word[0], oid->word[1], oid->word[2], index};
}

bool Refuses(State& state) {
  return std::uniform_real_distribution<>(0, 1)(state.random) < state.refused_share;
}

// Runs `operation` on each page of a batch, under the lock; counts and marks those it did.
template <class Operation>
int ForEach(uint32_t count, uint64_t* done, int none_result, Operation operation) {
  if (count < 1 || count > TMEM_MAX_BATCH) return -EINVAL;
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  uint64_t mask = 0;
  for (uint32_t k = 0; k < count; ++k) {
    if (operation(state, k)) mask |= uint64_t{1} << k;
  }
  if (done != nullptr) *done = mask;
  return mask != 0 ? __builtin_popcountll(mask) : none_result;
}

}  // namespace

void FakeTmem::Reset() {
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  state.pages.clear();
  state.refused_share = 0;
  state.random.seed(1);
}

void FakeTmem::RefusePuts(double share) {
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  state.refused_share = share;
}

void FakeTmem::LosePages() {
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  state.pages.clear();
}

size_t FakeTmem::pages() {
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  return state.pages.size();
}

}  // namespace tmem::run

using namespace tmem::run;

extern "C" {

tmem_client* tmem_connect(const char*, const char*, const tmem_options*, char*, size_t) {
  return new tmem_client;
}

void tmem_disconnect(tmem_client* client) { delete client; }

int tmem_new_pool(tmem_client* client, const tmem_uuid*, uint32_t) { return client->pools++; }

int tmem_put_batch(tmem_client*, int pool, const tmem_oid* oid, uint32_t index, uint32_t count,
                   const void* pages, uint64_t* done) {
  return ForEach(count, done, -ENOMEM, [&](State& state, uint32_t k) {
    const Handle handle = HandleOf(pool, oid, index + k);
    if (Refuses(state)) {
      state.pages.erase(handle);
      return false;
    }
    std::memcpy(state.pages[handle].data(),
                static_cast<const unsigned char*>(pages) + size_t{k} * TMEM_PAGE_SIZE,
                TMEM_PAGE_SIZE);
    return true;
  });
}

int tmem_get_batch(tmem_client*, int pool, const tmem_oid* oid, uint32_t index, uint32_t count,
                   void* pages, uint64_t* done) {
  return ForEach(count, done, 0, [&](State& state, uint32_t k) {
    const auto it = state.pages.find(HandleOf(pool, oid, index + k));
    if (it == state.pages.end()) return false;
    std::memcpy(static_cast<unsigned char*>(pages) + size_t{k} * TMEM_PAGE_SIZE, it->second.data(),
                TMEM_PAGE_SIZE);
    return true;
  });
}

int tmem_flush_batch(tmem_client*, int pool, const tmem_oid* oid, uint32_t index, uint32_t count,
                     uint64_t* done) {
  return ForEach(count, done, 1, [&](State& state, uint32_t k) {
    state.pages.erase(HandleOf(pool, oid, index + k));
    return true;
  });
}

}  // extern "C"
