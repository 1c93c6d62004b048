// The way of a put: what it is compressed by, its charge, its slot, its entry; one page alone or
// several together.
#include <algorithm>
#include <array>
#include <expected>
#include <optional>
#include <span>
#include <utility>

#include "pools/store.h"
#include "pools/store_impl.h"

namespace tmem {

// ---- one page ----

// kAuto if the page is to be taken as it comes and compressed later, for which there has to be
// room: in the backlog, and beside what is stored. Where that is short, pages that wait make some.
// Nobody compresses a shared pool's pages later.
CompressMode Store::Impl::ModeOfPut(Guest& guest, const Ground& ground, PageCodec& codec) {
  constexpr int kCompressedAtOnce = 16;
  const CompressMode mode = guest.compress(ground.pool.page_class);
  if (mode != CompressMode::kAuto) return mode;
  const auto has_room = [&] {
    return !memory_.crowded() &&
           guest.ledger().charged() + RecordCharge(kPageSize) <= guest.ledger().cap();
  };
  for (int i = 0; i < kCompressedAtOnce && !has_room(); ++i) {
    if (!guest.keyspace().CompressNext(codec)) break;
  }
  const bool later = has_room() && !ground.pool.shared && !ground.keyspace->backlog().full();
  return later ? CompressMode::kAuto : CompressMode::kFast;
}

// Moves pages together until a segment comes free. False if that would take too long for a put that
// waits, or there are not free slots enough.
bool Store::Impl::FreeASegment(Keyspace& keyspace) {
  constexpr int kMostSteps = 32;
  auto compacted = Keyspace::Compacted::kSome;
  for (int i = 0; i < kMostSteps && compacted == Keyspace::Compacted::kSome; ++i) {
    compacted = keyspace.Compact();
  }
  return compacted == Keyspace::Compacted::kSegment;
}

// What the payload needs to be stored: a charge, of `amount`, and a slot. The page that is being
// replaced may have to make room for it.
std::expected<Keyspace::Incoming, Refusal> Store::Impl::Accommodate(
    Guest& guest, const Ground& ground, const PageRef& ref, const Payload& payload,
    Keyspace::OldPage& old_page, Bytes& amount) {
  Keyspace& keyspace = *ground.keyspace;
  const PageClass page_class = ground.pool.page_class;
  const size_t length = payload.bytes.size();
  amount = RecordCharge(length);
  Charge charge = TakeCharge(guest, ground, ref, amount, old_page);
  if (!charge) return std::unexpected(Refusal::kCap);
  if (page_class == PageClass::kPersistent && memory_.scarce()) keyspace.Compact();
  auto slot = keyspace.heap(page_class).Allocate(length);
  if (!slot && keyspace.MakeRoomByReplacing(ref, page_class)) {
    old_page = Keyspace::OldPage::kDropped;
    slot = keyspace.heap(page_class).Allocate(length);
  }
  if (!slot && page_class == PageClass::kPersistent && FreeASegment(keyspace)) {
    slot = keyspace.heap(page_class).Allocate(length);
  }
  if (!slot) return std::unexpected(memory_.WhyRefused(keyspace.stake(), page_class));
  return Keyspace::Incoming{payload, *std::move(slot), std::move(charge)};
}

// Against the cap: the page that is being replaced makes room first (stored or refused, it goes
// anyway), then the guest's own ephemeral pages do.
Charge Store::Impl::TakeCharge(Guest& guest, const Ground& ground, const PageRef& ref, Bytes amount,
                               Keyspace::OldPage& old_page) {
  Charge charge = Charge::Take(guest.ledger(), amount);
  if (!charge && ground.keyspace->MakeRoomByReplacing(ref, ground.pool.page_class)) {
    old_page = Keyspace::OldPage::kDropped;
    charge = Charge::Take(guest.ledger(), amount);
  }
  while (!charge && amount <= guest.ledger().cap() && guest.keyspace().EvictOldestSegment()) {
    memory_.NoteEviction(guest.keyspace().stake(), Eviction::kCap);
    charge = Charge::Take(guest.ledger(), amount);
  }
  return charge;
}

// A page with all that it needs to be stored.
struct Store::Impl::Ready {
  Ground ground;
  PageRef ref;
  Keyspace::Incoming incoming;

  PageClass page_class() const { return ground.pool.page_class; }
};

PutStatus Store::Impl::Enter(Guest& guest, Ready&& page, Keyspace::OldPage old_page) {
  const bool later = page.incoming.compress_later;
  const PutStatus status = page.ground.keyspace->Publish(page.ref, page.page_class(),
                                                         std::move(page.incoming), old_page);
  if (later) TellOfBacklog();
  // An object of a shared pool that the guest had not the room to take over.
  if (status == PutStatus::kNoMemory) guest.NoteRefusal(Refusal::kCap);
  return status;
}

PutStatus Store::Impl::Put(Guest& guest, const Handle& handle, PageView page, PageCodec& codec,
                           const std::optional<Compressed>& compressed) {
  const Ground ground = GroundOf(guest, handle.pool);
  if (!ground) return PutStatus::kNoPool;
  const PageClass page_class = ground.pool.page_class;
  const PageRef ref = ground.Ref(handle.object, handle.index);
  Keyspace& keyspace = *ground.keyspace;
  auto old_page = Keyspace::OldPage::kUntouched;
  const auto refuse = [&](Refusal why) {
    guest.NoteRefusal(why);
    const auto status = why == Refusal::kFrozen ? PutStatus::kFrozen : PutStatus::kNoMemory;
    return keyspace.Refuse(ref, page_class, status, old_page);
  };
  if (guest.frozen()) return refuse(Refusal::kFrozen);
  if (page_class == PageClass::kPersistent && keyspace.MustShrink()) {
    keyspace.NoteRefused(ref, page_class, std::nullopt);
    const PutStatus status = refuse(Refusal::kEntitlement);
    // What goes leaves slots in all segments: as soon as these make up one, others shall have it.
    keyspace.Compact();
    return status;
  }

  const CompressMode mode = compressed ? compressed->mode : ModeOfPut(guest, ground, codec);
  const Payload payload = compressed ? compressed->payload : codec.Compress(page, mode);
  Bytes amount;
  auto incoming = Accommodate(guest, ground, ref, payload, old_page, amount);
  if (!incoming && mode == CompressMode::kAuto) {  // what it comes to may find room
    const Payload smaller = codec.Compress(page, CompressMode::kFast);
    incoming = Accommodate(guest, ground, ref, smaller, old_page, amount);
  } else if (incoming && mode == CompressMode::kAuto) {
    incoming->compress_later = incoming->payload.codec == Codec::kRaw;
  }
  if (!incoming) {
    const Refusal why = incoming.error();
    if (why != Refusal::kCap) keyspace.NoteRefused(ref, page_class, amount);
    return refuse(why);
  }
  Keyspace::PrepareToFill(*incoming);
  Keyspace::Fill(*incoming, page_class);
  return Enter(guest, {ground, ref, *std::move(incoming)}, old_page);
}

PutStatus Store::Put(Guest& guest, const Handle& handle, PageView page, PageCodec& codec) {
  return impl_->Put(guest, handle, page, codec, std::nullopt);
}

// ---- several pages ----

Store::Puts::Puts(Store& store, Guest& guest, PageCodec& codec)
    : store_(*store.impl_), guest_(guest), codec_(codec) {}

void Store::Puts::Add(const Handle& handle, PageView page) {
  Member& member = members_[count_];
  member = {.handle = handle, .page = page.data(), .payload = {}};
  const Impl::Ground ground = store_.GroundOf(guest_, handle.pool);
  if (store_.MayBeStoredAtOnce(guest_, ground)) {
    member.mode = store_.ModeOfPut(guest_, ground, codec_);
    member.payload = codec_.CompressInto(rooms_[count_], page, member.mode);
  }
  ++count_;
}

// What the page needs, if there is enough of everything. The heap does not grow for it: the pages
// before it, once they entered, may leave a slot.
std::optional<Store::Impl::Ready> Store::Impl::Prepare(Guest& guest, const Handle& handle,
                                                       const Compressed& page) {
  const Ground ground = GroundOf(guest, handle.pool);
  if (!MayBeStoredAtOnce(guest, ground)) return std::nullopt;
  const size_t length = page.payload.bytes.size();
  Charge charge = Charge::Take(guest.ledger(), RecordCharge(length));
  if (!charge) return std::nullopt;
  auto slot =
      ground.keyspace->heap(ground.pool.page_class).Allocate(length, Heap::Growth::kForbidden);
  if (!slot) return std::nullopt;
  const bool later = page.mode == CompressMode::kAuto && page.payload.codec == Codec::kRaw;
  return Ready{ground,
               ground.Ref(handle.object, handle.index),
               {page.payload, *std::move(slot), std::move(charge), later}};
}

std::span<const PutStatus> Store::Puts::Enter() {
  std::array<std::optional<Impl::Ready>, kGroup> ready;
  size_t entered = 0;
  const auto enter = [&](size_t end) {
    const std::span those = std::span(ready).subspan(entered, end - entered);
    for (auto& page : those) Keyspace::PrepareToFill(page->incoming);
    for (auto& page : those) Keyspace::Fill(page->incoming, page->page_class());
    for (auto& page : those) {
      statuses_[entered++] = store_.Enter(guest_, *std::move(page), Keyspace::OldPage::kUntouched);
      page.reset();  // what it was given and did not keep, others may need
    }
  };
  for (size_t i = 0; i < count_; ++i) {
    const Member& member = members_[i];
    std::optional<Impl::Compressed> compressed;
    if (!member.payload.bytes.empty()) compressed = {member.mode, member.payload};
    if (compressed) ready[i] = store_.Prepare(guest_, member.handle, *compressed);
    if (ready[i]) continue;
    // What it takes, and whether, depends on the pages before it: they come first.
    enter(i);
    const PageView page(member.page, kPageSize);
    statuses_[i] = store_.Put(guest_, member.handle, page, codec_, compressed);
    entered = i + 1;
  }
  enter(count_);
  return std::span(statuses_).first(std::exchange(count_, 0));
}

}  // namespace tmem
