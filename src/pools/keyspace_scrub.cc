#include "pools/checksum.h"
#include "pools/keyspace.h"
#include "pools/keyspace_inside.h"

namespace tmem {

namespace {

// What is looked at under one hold of a partition's lock. A page costs a read of cold memory.
constexpr uint64_t kPagesPerHold = 4;
constexpr ObjectNumber kObjectsPerHold = 64;

}  // namespace

uint64_t Keyspace::Scrub(PassPlace& place, PageCount budget, const OnCorrupt& on_corrupt) {
  uint64_t checked = 0;
  const auto check = [&](const Object& object, PageName name, Location location) {
    ++checked;
    if (!Verifies(location)) on_corrupt(object.pool, object.id, PageIndex{name.index});
    return true;
  };
  for (uint64_t spent = 0; spent + kPagesPerHold <= budget.value; spent += kPagesPerHold) {
    if (place.partition == kPartitions) break;
    VisitSome(place, {kPagesPerHold, kObjectsPerHold}, check);
  }
  return checked;
}

std::optional<PageClass> Keyspace::ClassOf(Location location) const {
  const auto owner = memory_.arena().OwnerOf(location.segment());
  return owner ? std::optional(owner->page_class) : std::nullopt;
}

bool Keyspace::Verifies(Location location) const {
  const Heap& within = heaps_[static_cast<size_t>(PageClass::kPersistent)];
  const RecordHeader& header = within.HeaderOf(location);
  const auto dictionary =
      NeedsDictionary(location.codec()) ? dictionaries_.Find(header.dictionary) : nullptr;
  return Checksum({within.PayloadOf(location), location.length()}, dictionary.get()) ==
         header.checksum;
}

}  // namespace tmem
