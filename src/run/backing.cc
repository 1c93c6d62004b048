#include "run/backing.h"

#include <utility>

#include "base/units.h"

namespace tmem::run {

namespace {

tmem_oid ObjectOf(uint32_t generation) { return {{generation, 0, 0}}; }

uint64_t MaskOf(uint32_t count) { return count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

}  // namespace

Backing::Backing(tmem_client* client, int pool, std::optional<SpillFile> spill, Counters& counters)
    : client_(client), pool_(pool), spill_(std::move(spill)), counters_(counters) {}

uint64_t Backing::Store(PageRun run, const std::byte* content, std::span<Copy> copies) {
  uint64_t stored = StoreInPool(run, content);
  for (uint32_t k = 0; k < run.count; ++k) {
    const uint64_t bit = uint64_t{1} << k;
    copies[k] = {};
    if (stored & bit) {
      copies[k] = {CopyKind::kPool, generation_};
      continue;
    }
    if (!spill_) continue;
    const auto slot = spill_->Write(content + k * kPageSize);
    if (!slot) continue;
    if (*slot >= slot_generation_.size()) slot_generation_.resize(*slot + 1);
    slot_generation_[*slot] = generation_;
    copies[k] = {CopyKind::kSpill, *slot};
    stored |= bit;
    ++counters_.spilled;
  }
  return stored;
}

uint64_t Backing::StoreInPool(PageRun run, const std::byte* content) {
  const tmem_oid object = ObjectOf(generation_);
  uint64_t stored = 0;
  tmem_put_batch(client_, pool_, &object, run.first, run.count, content, &stored);
  stored &= MaskOf(run.count);
  counters_.puts += run.count;
  counters_.puts_refused += run.count - static_cast<uint32_t>(__builtin_popcountll(stored));
  return stored;
}

uint64_t Backing::Load(PageRun run, std::span<const Copy> copies, std::byte* content) {
  uint64_t loaded = 0;
  if (copies[0].kind == CopyKind::kPool) {
    const tmem_oid object = ObjectOf(copies[0].where);
    tmem_get_batch(client_, pool_, &object, run.first, run.count, content, &loaded);
    loaded &= MaskOf(run.count);
    counters_.gets += run.count;
    counters_.gets_found += static_cast<uint32_t>(__builtin_popcountll(loaded));
    return loaded;
  }
  for (uint32_t k = 0; k < run.count; ++k) {
    if (!spill_->Read(copies[k].where, content + k * kPageSize)) continue;
    loaded |= uint64_t{1} << k;
    ++counters_.spill_reads;
  }
  return loaded;
}

bool Backing::IsFrozen(Copy copy) const {
  if (!frozen_ || copy.kind == CopyKind::kNone) return false;
  const uint32_t made = copy.kind == CopyKind::kPool ? copy.where : slot_generation_[copy.where];
  return made < generation_;
}

void Backing::Forget(uint32_t page, Copy copy) { Forget({page, 1}, {&copy, 1}); }

void Backing::Forget(PageRun run, std::span<const Copy> copies) {
  uint32_t k = 0;
  while (k < run.count) {
    const Copy copy = copies[k];
    if (IsFrozen(copy)) {
      forgotten_.emplace_back(run.first + k++, copy);
      continue;
    }
    uint32_t n = 1;
    if (copy.kind == CopyKind::kPool) {
      while (k + n < run.count && n < kMaxRun && copies[k + n] == copy) ++n;
      const tmem_oid object = ObjectOf(copy.where);
      tmem_flush_batch(client_, pool_, &object, run.first + k, n, nullptr);
      counters_.flushes += n;
    } else if (copy.kind == CopyKind::kSpill) {
      spill_->Free(copy.where);
    }
    k += n;
  }
}

void Backing::Freeze() {
  ++generation_;
  frozen_ = true;
}

void Backing::Thaw() {
  frozen_ = false;
  for (const auto& [page, copy] : std::exchange(forgotten_, {})) Forget(page, copy);
}

}  // namespace tmem::run
