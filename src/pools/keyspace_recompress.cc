// How pages get smaller while they stay: compressed a little after they were put, and more densely
// when nobody asks for them.
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <vector>

#include "base/copy.h"
#include "pools/checksum.h"
#include "pools/keyspace.h"
#include "pools/keyspace_inside.h"

namespace tmem {

namespace {

// After so many pages in a row that did not shrink, an object's pages are left as they are, but for
// one in so many.
constexpr uint8_t kStubborn = 4;
constexpr uint32_t kStillTried = 16;

// What a pass looks at, and how much it finds to do, under one hold of a partition's lock.
constexpr uint64_t kPagesPerHold = 256;
constexpr ObjectNumber kObjectsPerHold = 64;
constexpr size_t kFindsPerHold = 16;

// Whether the page may still get smaller as `mode` compresses it.
bool MayShrink(Location location, CompressMode mode) {
  if (location.settled()) return false;
  return location.codec() == Codec::kRaw ||
         (location.codec() == Codec::kLz4 && mode == CompressMode::kDense);
}

// Dense pages cost more to read back: they have to save an eighth.
bool SavesEnough(Location old, const Payload& payload) {
  const Bytes now = RecordCharge(payload.bytes.size());
  return IsDense(payload.codec) ? now.value <= old.charge().value / 8 * 7 : now < old.charge();
}

}  // namespace

// A copy of a page as it is stored.
struct Keyspace::Original {
  Location location;
  PageClass page_class;
  uint64_t state;  // of its record: no other has the same
  uint32_t checksum;
  std::array<std::byte, kPageSize> bytes;

  std::span<const std::byte> payload() const { return std::span(bytes).first(location.length()); }
  // False if it is damaged.
  bool Decode(PageCodec& codec, MutablePageView page) const {
    if (page_class == PageClass::kPersistent && Checksum(payload()) != checksum) return false;
    return codec.Decompress(location.codec(), payload(), page);  // one without a dictionary
  }
};

bool Keyspace::CompressNext(PageCodec& codec) {
  const auto name = backlog_.Take();
  if (name) Recompress(*name, CompressMode::kFast, codec);
  return name.has_value();
}

uint64_t Keyspace::DensifySome(PassPlace& place, PageCodec& codec) {
  struct Find {
    PageName name;
    CompressMode mode;
  };
  std::array<Find, kFindsPerHold> finds;
  size_t count = 0;
  uint64_t compressed = 0;
  const bool can_be_dense = dictionaries_.newest() != nullptr;
  const auto look = [&](const Object&, PageName name, Location& location) {
    compressed += IsCompressed(location.codec());
    if (MayShrink(location, CompressMode::kFast)) {  // it did not find room in the backlog
      finds[count++] = {name, CompressMode::kFast};
    } else if (can_be_dense && MayShrink(location, CompressMode::kDense)) {
      if (location.stayed()) finds[count++] = {name, CompressMode::kDense};
      location = location.WithStayed();
    }
    return count < kFindsPerHold;
  };
  VisitSome(place, {kPagesPerHold, kObjectsPerHold}, look);
  for (const auto& [name, mode] : std::span(finds).first(count)) Recompress(name, mode, codec);
  return compressed;
}

// The page, if it may shrink and is worth the try.
std::optional<Keyspace::Original> Keyspace::CopyOut(PageName name, CompressMode mode) {
  Partition& partition = *partitions_[name.object % kPartitions];
  MutexLock lock(partition.mutex);
  const Found found = Find(partition, name);
  if (found.location == nullptr || !MayShrink(*found.location, mode)) return std::nullopt;
  if (found.location->codec() == Codec::kRaw && found.object->unshrinkable == kStubborn &&
      name.index % kStillTried != 0) {
    *found.location = found.location->WithSettled();
    left_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  const auto page_class = ClassOf(*found.location);
  if (!page_class) return std::nullopt;
  const Heap& within = heap(*page_class);
  const RecordHeader& header = within.HeaderOf(*found.location);
  std::optional<Original> original;
  original.emplace();
  original->location = *found.location;
  original->page_class = *page_class;
  original->state = header.state.load(std::memory_order_relaxed);
  original->checksum = header.checksum;
  Copy(original->bytes.data(), within.PayloadOf(*found.location), found.location->length());
  return original;
}

// No lock is held while a page is compressed: it is looked up again afterwards, and replaced only
// if it is still the same record.
void Keyspace::Recompress(PageName name, CompressMode mode, PageCodec& codec) {
  const auto original = CopyOut(name, mode);
  std::array<std::byte, kPageSize> page;
  // What is damaged stays as it is, for a get or the scrub to tell of.
  if (!original || !original->Decode(codec, page)) return;
  const auto dictionary = mode == CompressMode::kDense ? dictionaries_.newest() : nullptr;
  const Payload payload = codec.Compress(page, mode, dictionary.get());
  const PageClass page_class = original->page_class;
  Heap& within = heap(page_class);
  std::optional<Heap::Slot> slot;
  if (SavesEnough(original->location, payload)) {
    slot = within.Allocate(payload.bytes.size(),
                           memory_.crowded() ? Heap::Growth::kForbidden : Heap::Growth::kAllowed);
    if (!slot) return;
  }
  const uint32_t checksum =
      page_class == PageClass::kPersistent ? Checksum(payload.bytes, dictionary.get()) : 0;

  Freed freed(within);
  Partition& partition = *partitions_[name.object % kPartitions];
  MutexLock lock(partition.mutex);
  const Found found = Find(partition, name);
  if (found.location == nullptr || !found.location->SameRecord(original->location) ||
      within.HeaderOf(*found.location).state.load(std::memory_order_relaxed) != original->state) {
    return;
  }
  uint8_t& unshrinkable = found.object->unshrinkable;
  if (!slot) {
    *found.location = found.location->WithSettled();
    if (original->location.codec() == Codec::kRaw && unshrinkable < kStubborn) ++unshrinkable;
    left_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  unshrinkable = 0;
  (IsDense(payload.codec) ? made_dense_ : made_fast_).fetch_add(1, std::memory_order_relaxed);
  const Location now(slot->segment(), slot->slot(), payload.codec, payload.bytes.size());
  Supersede(partition, page_class, found, now, payload, checksum, *slot);
  freed.Add(original->location);
}

// ---- dictionaries ----

bool Keyspace::TrainDictionary(uint64_t pages, PageCodec& codec) {
  const DictionaryId id = Dictionaries::GenerationOf(pages);
  const auto newest = dictionaries_.newest();
  if (id <= std::max(last_trained_, newest != nullptr ? newest->id() : kNoDictionary)) return false;
  last_trained_ = id;
  auto trained = Dictionary::Train(id, Samples(pages, codec), DenseCodec::kLz4);
  if (trained)
    (void)dictionaries_.Adopt(*std::move(trained));  // without it, pages stay as they are
  return true;
}

// Pages that could be dense, from all over the `pages` that there are about, one after the other.
std::vector<std::byte> Keyspace::Samples(uint64_t pages, PageCodec& codec) {
  constexpr size_t kEnough = Dictionary::kMaxSamples * kPageSize;
  const uint64_t stride = std::max<uint64_t>(1, pages / Dictionary::kMaxSamples);
  std::vector<std::byte> samples;
  samples.reserve(kEnough);
  uint64_t seen = 0;
  for (PassPlace place; place.partition < kPartitions && samples.size() < kEnough;) {
    std::array<PageName, kFindsPerHold> finds;
    size_t count = 0;
    VisitSome(place, {kPagesPerHold, kObjectsPerHold},
              [&](const Object&, PageName name, Location location) {
                if (MayShrink(location, CompressMode::kDense) && seen++ % stride == 0) {
                  finds[count++] = name;
                }
                return count < kFindsPerHold;
              });
    for (const PageName name : std::span(finds).first(count)) {
      const auto original = CopyOut(name, CompressMode::kDense);
      std::array<std::byte, kPageSize> page;
      if (!original || !original->Decode(codec, page)) continue;
      samples.insert(samples.end(), page.begin(), page.end());
    }
  }
  return samples;
}

RecompressionCounters Keyspace::recompressed() const {
  return {.waiting = backlog_.size(),
          .made_fast = made_fast_.load(std::memory_order_relaxed),
          .made_dense = made_dense_.load(std::memory_order_relaxed),
          .left = left_.load(std::memory_order_relaxed)};
}

}  // namespace tmem
