#include "filled_store.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace tmem {

namespace {

void Must(bool succeeded, const char* what) {
  if (succeeded) return;
  std::fprintf(stderr, "bench_store: %s\n", what);
  std::exit(1);
}

// Raw pages, their headers, and some room beside them.
Bytes CapacityFor(uint64_t pages) { return Bytes(pages * (kPageSize + 64)) + MiB(64); }

std::unique_ptr<Store> MustCreate(const Store::Config& config) {
  auto store = Store::Create(config);
  if (!store) Must(false, store.error().message.c_str());
  return std::move(*store);
}

}  // namespace

FilledStore::FilledStore(uint32_t pages, PageClass page_class, CompressMode mode, uint16_t guests)
    : pages_(pages),
      store_(MustCreate({.capacity = CapacityFor(uint64_t{pages} * guests)})),
      empty_index_(store_->Stats().index_bytes) {
  GuestSettings settings;
  for (auto& each : settings.compress) each = mode;
  settings.dense_after = 0;
  for (uint16_t id = 0; id < guests; ++id) {
    auto guest = store_->AddGuest(GuestId{id}, settings);
    Must(guest.has_value(), "a guest is refused");
    Must(store_->NewPool(**guest, {.page_class = page_class}).has_value(), "a pool is refused");
    guests_.push_back({.handle = std::move(*guest), .codec = PageCodec(PageCodec::Config{})});
  }
}

void FilledStore::Put(uint32_t page, PageView contents, uint16_t guest) {
  OneGuest& one = guests_[guest];
  Must(store_->Put(*one.handle, HandleOf(page), contents, one.codec) == PutStatus::kStored,
       "a put is refused");
}

void FilledStore::Get(uint32_t page, MutablePageView contents, uint16_t guest) {
  OneGuest& one = guests_[guest];
  Must(store_->Get(*one.handle, HandleOf(page), contents, one.codec) == GetStatus::kHit,
       "a get misses");
}

void FilledStore::Prefetch(std::span<const uint32_t> pages, Ahead ahead, uint16_t guest) {
  std::array<Handle, kGroup> handles;
  std::ranges::transform(pages, handles.begin(), &HandleOf);
  store_->Prefetch(*guests_[guest].handle, std::span(handles).first(pages.size()), ahead);
}

void FilledStore::MustBeStored(std::span<const PutStatus> statuses) {
  const bool all =
      std::ranges::all_of(statuses, [](PutStatus status) { return status == PutStatus::kStored; });
  Must(all, "a put is refused");
}

void FilledStore::CompressWhatWaits() {
  while (store_->StatsOf(GuestId{0})->recompressed.waiting > 0) {
    store_->Recompress(now_, guests_[0].codec);
    now_ += std::chrono::seconds(1);  // so that the budget never ends
  }
}

void FilledStore::FlushPage(uint32_t page) {
  Must(store_->FlushPage(*guests_[0].handle, HandleOf(page)) == FlushStatus::kDone,
       "a flush fails");
}

void FilledStore::FlushPages(std::span<const uint32_t> pages) {
  std::array<Handle, kGroup> handles;
  std::array<FlushStatus, kGroup> statuses;
  std::ranges::transform(pages, handles.begin(), &HandleOf);
  const auto those = std::span(statuses).first(pages.size());
  store_->FlushPages(*guests_[0].handle, std::span(handles).first(pages.size()), those);
  const bool all =
      std::ranges::all_of(those, [](FlushStatus status) { return status == FlushStatus::kDone; });
  Must(all, "a flush fails");
}

void FilledStore::FlushObject(uint32_t object) {
  Must(store_->FlushObject(*guests_[0].handle, PoolId{0}, HandleOf(object * kPagesAnObject).object,
                           PageCount(UINT64_MAX)) == FlushStatus::kDone,
       "an object flush fails");
}

FilledStore::Overhead FilledStore::OverheadAPage() const {
  const StoreStats stats = store_->Stats();
  StoredCounters stored = stats.stored[0];
  stored += stats.stored[1];
  const Bytes segments = stats.segments[0] + stats.segments[1];
  const auto pages = static_cast<double>(stored.pages);
  return {
      .payload = static_cast<double>(stored.payload_bytes) / pages,
      .index = static_cast<double>((stats.index_bytes - empty_index_).value) / pages,
      .segments = static_cast<double>(segments.value - stored.payload_bytes) / pages,
  };
}

}  // namespace tmem
