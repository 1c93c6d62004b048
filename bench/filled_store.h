// A store that holds so many pages of one guest, in objects of 1,024 pages as swap has them.
#ifndef TMEM_BENCH_FILLED_STORE_H_
#define TMEM_BENCH_FILLED_STORE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compress/page_codec.h"
#include "pools/store.h"

namespace tmem {

class FilledStore {
 public:
  static constexpr uint32_t kPagesAnObject = 1024;

  // One guest, or more that hold `pages` each. Nothing is stored yet.
  FilledStore(uint32_t pages, PageClass page_class, CompressMode mode, uint16_t guests = 1);

  uint32_t pages() const { return pages_; }
  Store& store() { return *store_; }
  PageCodec& codec(uint16_t guest = 0) { return guests_[guest].codec; }

  // Each ends the program unless it succeeds: a benchmark of refusals would look very good.
  void Put(uint32_t page, PageView contents, uint16_t guest = 0);
  void Get(uint32_t page, MutablePageView contents, uint16_t guest = 0);
  void FlushPage(uint32_t page);
  // Together, at most kGroup.
  void FlushPages(std::span<const uint32_t> pages);

  // As a queue works on what waits in its ring: up to so many pages together.
  static constexpr uint32_t kGroup = Store::kGroup;
  // Ahead of operations on the pages.
  void Prefetch(std::span<const uint32_t> pages, Ahead ahead, uint16_t guest = 0);
  // Puts `contents_of(page)` of each page, one alone or several together.
  template <class ContentsOf>
  void PutAll(std::span<const uint32_t> pages, ContentsOf contents_of, uint16_t guest = 0) {
    if (pages.size() == 1) return Put(pages[0], contents_of(pages[0]), guest);
    Prefetch(pages, Ahead::kPuts, guest);
    Store::Puts puts(*store_, *guests_[guest].handle, guests_[guest].codec);
    for (const uint32_t page : pages) puts.Add(HandleOf(page), contents_of(page));
    MustBeStored(puts.Enter());
  }

  // With CompressMode::kAuto: all that was put to be compressed later.
  void CompressWhatWaits();
  void FlushObject(uint32_t object);

  // Bytes a page, of all guests.
  struct Overhead {
    double payload;
    double index;     // objects, page trees, tables
    double segments;  // headers, rounding, free slots
    double beside() const { return index + segments; }
  };
  Overhead OverheadAPage() const;

 private:
  static void MustBeStored(std::span<const PutStatus> statuses);
  struct OneGuest {
    std::shared_ptr<Guest> handle;
    PageCodec codec;
  };
  static Handle HandleOf(uint32_t page) {
    return {.pool = PoolId{0},
            .object = ObjectId{{page / kPagesAnObject, 0, 0}},
            .index = PageIndex{page % kPagesAnObject}};
  }

  const uint32_t pages_;
  const std::unique_ptr<Store> store_;
  const Bytes empty_index_;
  TimePoint now_{};
  std::vector<OneGuest> guests_;
};

}  // namespace tmem

#endif  // TMEM_BENCH_FILLED_STORE_H_
