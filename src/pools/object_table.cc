#include "pools/object_table.h"

#include <xxhash.h>

#include <cassert>
#include <utility>

namespace tmem {

namespace {
constexpr uint32_t kFreePool = UINT32_MAX;  // Object::pool of a free number
}  // namespace

ObjectTable::ObjectTable(uint64_t hash_key, ObjectRecords& records, KeyspaceId owner,
                         uint32_t partition)
    : hash_key_(hash_key),
      records_(records),
      owner_(owner),
      partition_(partition),
      buckets_(1, kNoObject) {
  first_of_pool_.fill(kNoObject);
}

uint64_t ObjectTable::Hash(uint64_t key, uint32_t pool, const ObjectId& id) {
  const std::array<uint64_t, 4> words = {id.words[0], id.words[1], id.words[2], pool};
  return XXH3_64bits_withSeed(words.data(), sizeof(words), key);
}

uint64_t ObjectTable::HashOf(const Object& object) const {
  return Hash(hash_key_, object.pool, object.id);
}

size_t ObjectTable::BucketOf(uint64_t hash) const {
  const size_t bucket = hash & ((size_t{1} << level_) - 1);
  return bucket >= split_ ? bucket : hash & ((size_t{2} << level_) - 1);
}

ObjectNumber ObjectTable::Find(uint64_t hash, uint32_t pool, const ObjectId& id) const {
  ObjectNumber number = buckets_[BucketOf(hash)];
  while (number != kNoObject) {
    const Object& object = objects_[number];
    if (object.id == id && object.pool == pool) return number;
    number = object.hash_next_;
  }
  return kNoObject;
}

bool ObjectTable::TakeBlock() {
  ObjectBlock* const block =
      records_.Take(owner_, partition_, static_cast<uint32_t>(blocks_.size()));
  if (block == nullptr) return false;
  blocks_.push_back(block);
  return true;
}

ObjectNumber ObjectTable::Insert(uint64_t hash, uint32_t pool, const ObjectId& id) {
  ObjectNumber number = first_free_;
  if (number != kNoObject) {
    first_free_ = objects_[number].hash_next_;
  } else {
    number = static_cast<ObjectNumber>(objects_.size());
    if (number == blocks_.size() * ObjectBlock::kRecords && !TakeBlock()) return kNoObject;
    objects_.emplace_back();
  }
  Object& object = objects_[number];
  object.id = id;
  object.pool = pool;
  object.payer = nullptr;
  object.charged = Bytes(0);
  Link(number, hash);
  ObjectRecord& record = RecordOf(number);
  record.id = id;
  record.pool_plus_one.store(pool + 1, std::memory_order_release);
  return number;
}

void ObjectTable::Link(ObjectNumber number, uint64_t hash) {
  Object& object = objects_[number];
  object.pool_previous_ = kNoObject;
  object.pool_next_ = first_of_pool_[object.pool];
  if (object.pool_next_ != kNoObject) objects_[object.pool_next_].pool_previous_ = number;
  first_of_pool_[object.pool] = number;

  ++size_;
  if (size_ > buckets_.size()) SplitOneBucket();
  ObjectNumber& bucket = buckets_[BucketOf(hash)];
  object.hash_next_ = std::exchange(bucket, number);
}

void ObjectTable::SplitOneBucket() {
  ObjectNumber number = std::exchange(buckets_[split_], kNoObject);
  buckets_.push_back(kNoObject);
  ++split_;
  while (number != kNoObject) {
    Object& object = objects_[number];
    ObjectNumber& bucket = buckets_[BucketOf(HashOf(object))];
    const ObjectNumber next = std::exchange(object.hash_next_, bucket);
    bucket = std::exchange(number, next);
  }
  if (split_ == size_t{1} << level_) {
    ++level_;
    split_ = 0;
  }
}

void ObjectTable::Erase(ObjectNumber number) {
  Object& object = objects_[number];
  assert(object.pages.size() == 0);

  ObjectNumber* link = &buckets_[BucketOf(HashOf(object))];
  while (*link != number) link = &objects_[*link].hash_next_;
  *link = object.hash_next_;

  if (object.pool_previous_ != kNoObject) {
    objects_[object.pool_previous_].pool_next_ = object.pool_next_;
  } else {
    first_of_pool_[object.pool] = object.pool_next_;
  }
  if (object.pool_next_ != kNoObject) {
    objects_[object.pool_next_].pool_previous_ = object.pool_previous_;
  }

  RecordOf(number).pool_plus_one.store(0, std::memory_order_release);
  object.pool = kFreePool;
  object.hash_next_ = std::exchange(first_free_, number);
  if (--size_ == 0) Reset();
}

void ObjectTable::Reset() {
  objects_ = std::deque<Object>();
  first_free_ = kNoObject;
  buckets_ = std::deque<ObjectNumber>(1, kNoObject);
  level_ = 0;
  split_ = 0;
  // The last one first: what is left of them, if the process ends here, has no gap.
  while (!blocks_.empty()) {
    records_.GiveBack(blocks_.back());
    blocks_.pop_back();
  }
}

void ObjectTable::Restore(std::span<ObjectBlock* const> blocks, uint32_t pools) {
  for (ObjectBlock* const block : blocks) {
    if (block->ordinal != blocks_.size()) {  // damaged: its numbers are another's
      records_.GiveBack(block);
      continue;
    }
    blocks_.push_back(block);
    for (ObjectRecord& record : block->records) {
      const auto number = static_cast<ObjectNumber>(objects_.size());
      Object& object = objects_.emplace_back();
      const uint32_t pool = record.pool_plus_one.load(std::memory_order_relaxed) - 1;
      if (pool < kPools && (pools >> pool & 1) != 0) {
        object.id = record.id;
        object.pool = pool;
        Link(number, HashOf(object));
      } else {
        record.pool_plus_one.store(0, std::memory_order_relaxed);
        object.pool = kFreePool;
        object.hash_next_ = std::exchange(first_free_, number);
      }
    }
  }
  if (size_ == 0) Reset();
}

void ObjectTable::Abandon(NodeMemory& memory) {
  for (Object& object : objects_) object.pages.Clear(memory);
  blocks_.clear();
  size_ = 0;
  first_of_pool_.fill(kNoObject);
  Reset();
}

Object* ObjectTable::At(ObjectNumber number) {
  if (number >= objects_.size() || objects_[number].pool == kFreePool) return nullptr;
  return &objects_[number];
}

size_t ObjectTable::bytes() const {
  return objects_.size() * sizeof(Object) + buckets_.size() * sizeof(ObjectNumber) +
         blocks_.size() * sizeof(ObjectBlock);
}

}  // namespace tmem
