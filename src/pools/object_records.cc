#include "pools/object_records.h"

#include <algorithm>
#include <utility>

namespace tmem {

namespace {
// The region grows by so many blocks at a time, 256 KiB.
constexpr size_t kBlocksAtOnce = 64;
}  // namespace

ObjectRecords::ObjectRecords(Region region)
    : region_(std::move(region)),
      provided_(region_.outlives_process() ? region_.Size() / sizeof(ObjectBlock) : 0) {
  for (size_t number = provided_; number > 0; --number) {
    ObjectBlock* const block = At(number - 1);
    if (block->owner.load(std::memory_order_relaxed) == kNobody) free_.push_back(block);
  }
}

std::map<KeyspaceId, std::vector<ObjectBlock*>> ObjectRecords::InUse() const {
  std::map<KeyspaceId, std::vector<ObjectBlock*>> blocks;
  const size_t provided = region_.outlives_process() ? region_.Size() / sizeof(ObjectBlock) : 0;
  for (size_t number = 0; number < provided; ++number) {
    ObjectBlock* const block = At(number);
    const KeyspaceId owner = block->owner.load(std::memory_order_relaxed);
    if (owner != kNobody) blocks[owner].push_back(block);
  }
  for (auto& [owner, owned] : blocks) std::ranges::sort(owned, {}, &ObjectBlock::ordinal);
  return blocks;
}

ObjectBlock* ObjectRecords::Take(KeyspaceId owner, uint32_t partition, uint32_t ordinal) {
  ObjectBlock* block = nullptr;
  {
    MutexLock lock(mutex_);
    if (free_.empty()) {
      const size_t more =
          std::min(kBlocksAtOnce, region_.bytes() / sizeof(ObjectBlock) - provided_);
      if (more == 0 ||
          !region_.Provide(provided_ * sizeof(ObjectBlock), more * sizeof(ObjectBlock))) {
        return nullptr;
      }
      provided_ += more;
      for (size_t i = 1; i <= more; ++i) free_.push_back(At(provided_ - i));
    }
    block = free_.back();
    free_.pop_back();
  }
  for (ObjectRecord& record : block->records) {
    record.pool_plus_one.store(0, std::memory_order_relaxed);
  }
  block->partition = partition;
  block->ordinal = ordinal;
  block->owner.store(owner, std::memory_order_release);
  return block;
}

void ObjectRecords::GiveBack(ObjectBlock* block) {
  block->owner.store(kNobody, std::memory_order_release);
  MutexLock lock(mutex_);
  free_.push_back(block);
}

}  // namespace tmem
