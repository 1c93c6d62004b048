#include "kill/checking_guest.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tmem {

CheckingGuest::CheckingGuest(tmem_client* client, uint64_t seed, Findings& findings)
    : client_(client), seed_(seed), findings_(findings), random_(seed) {}

bool CheckingGuest::Run(const std::atomic<bool>& stop) {
  for (Pool& pool : pools_) {
    if (pool.id < 0 && !MakePool(pool)) return false;
  }
  while (!stop.load(std::memory_order_relaxed)) {
    if (!Step()) return false;
    findings_.operations.fetch_add(1, std::memory_order_relaxed);
    findings_.operations.notify_all();
  }
  return true;
}

bool CheckingGuest::CheckAll() {
  for (Pool& pool : pools_) {
    for (uint64_t object = 0; object < kObjects; ++object) {
      for (uint32_t index = 0; index < kIndexes; index += kBatch) {
        if (!Get(pool, object, index, kBatch)) return false;
      }
    }
  }
  return true;
}

bool CheckingGuest::Step() {
  Pool& pool = pools_[random_() % pools_.size()];
  const uint64_t object = random_() % kObjects;
  const auto index = static_cast<uint32_t>(random_() % (kIndexes - kBatch));
  const uint32_t count = random_() % 4 == 0 ? kBatch : 1;
  const uint64_t dice = random_() % 1000;
  if (dice < 1) return RemakePool(pool);
  if (dice < 20) return FlushObject(pool, object);
  if (dice < 120) return Flush(pool, object, index, count);
  if (dice < 500) return Get(pool, object, index, count);
  if (dice < 600 && !pool.persistent) return Post(pool, object, index);
  return Put(pool, object, index, count);
}

bool CheckingGuest::Put(Pool& pool, uint64_t object, uint32_t index, uint32_t count) {
  std::array<uint64_t, kBatch> seeds;
  for (uint32_t k = 0; k < count; ++k) {
    seeds[k] = random_();
    FillPage(seeds[k], buffer_[k]);
  }
  const tmem_oid oid = Oid(object);
  uint64_t done = 0;
  const int result = tmem_put_batch(client_, pool.id, &oid, index, count, buffer_.data(), &done);
  if (!Answered(result, result > 0 || result == -ENOMEM)) return false;
  for (uint32_t k = 0; k < count; ++k) {
    const std::pair key(object, index + k);
    if ((done >> k & 1) != 0) {
      pool.pages[key] = seeds[k];
    } else {
      pool.pages.erase(key);
      findings_.refused.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return true;
}

bool CheckingGuest::Post(Pool& pool, uint64_t object, uint32_t index) {
  const uint64_t seed = random_();
  FillPage(seed, buffer_[0]);
  const tmem_oid oid = Oid(object);
  const int result = tmem_put_posted(client_, pool.id, &oid, index, buffer_[0].data());
  pool.pages[{object, index}] = seed;
  return Answered(result, result == 0);
}

bool CheckingGuest::Get(Pool& pool, uint64_t object, uint32_t index, uint32_t count) {
  const tmem_oid oid = Oid(object);
  uint64_t done = 0;
  const int result = tmem_get_batch(client_, pool.id, &oid, index, count, buffer_.data(), &done);
  if (!Answered(result, result >= 0 || result == -TMEM_EEMPTY)) return false;
  for (uint32_t k = 0; k < count; ++k) {
    Examine(pool, object, index + k, (done >> k & 1) != 0, buffer_[k]);
  }
  return true;
}

void CheckingGuest::Examine(Pool& pool, uint64_t object, uint32_t index, bool found,
                            const Bytes& bytes) {
  const auto at = pool.pages.find({object, index});
  if (!found) {
    if (at == pool.pages.end()) return;
    if (pool.persistent) findings_.lost.fetch_add(1, std::memory_order_relaxed);
    pool.pages.erase(at);
    return;
  }
  if (at == pool.pages.end()) {
    findings_.stale.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  Bytes expected;
  FillPage(at->second, expected);
  if (bytes != expected) findings_.wrong.fetch_add(1, std::memory_order_relaxed);
  if (!pool.persistent) pool.pages.erase(at);
}

bool CheckingGuest::Flush(Pool& pool, uint64_t object, uint32_t index, uint32_t count) {
  const tmem_oid oid = Oid(object);
  const int result = tmem_flush_batch(client_, pool.id, &oid, index, count, nullptr);
  for (uint32_t k = 0; k < count; ++k) pool.pages.erase({object, index + k});
  return Answered(result, result == static_cast<int>(count));
}

bool CheckingGuest::FlushObject(Pool& pool, uint64_t object) {
  const tmem_oid oid = Oid(object);
  const int result = tmem_flush_object(client_, pool.id, &oid);
  std::erase_if(pool.pages, [object](const auto& page) { return page.first.first == object; });
  return Answered(result, result == 1);
}

bool CheckingGuest::RemakePool(Pool& pool) {
  const int result = tmem_destroy_pool(client_, pool.id);
  pool.pages.clear();
  return Answered(result, result == 1) && MakePool(pool);
}

bool CheckingGuest::MakePool(Pool& pool) {
  pool.id = tmem_new_pool(client_, nullptr, pool.persistent ? TMEM_POOL_PERSIST : 0);
  return Answered(pool.id, pool.id >= 0);
}

bool CheckingGuest::Answered(int result, bool good) {
  if (result == -ENOTCONN) return false;
  if (!good) findings_.wrong.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// Every kind of page: of one word, one that compresses, one that does not.
void CheckingGuest::FillPage(uint64_t seed, Bytes& bytes) const {
  constexpr size_t kWords = TMEM_PAGE_SIZE / sizeof(uint64_t);
  std::array<uint64_t, kWords> words;
  const uint64_t kind = seed % 8;
  uint64_t state = seed;
  for (uint64_t& word : words) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    word = kind == 0 ? seed : kind < 5 ? seed + (state >> 61) : state;
  }
  std::memcpy(bytes.data(), words.data(), TMEM_PAGE_SIZE);
}

}  // namespace tmem
