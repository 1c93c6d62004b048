// The memory that the client shares with the daemon: one sealed memfd that holds, for each queue,
// its directory pages, its ring and its data slots. A grant reference is 1 + the page's number.
//
// Lives as long as the client, across every reconnect: rings and slots keep what they hold.
//
// Not thread-safe, but what it hands out may be used by anyone.
#ifndef TMEM_CLIENT_SHARED_AREA_H_
#define TMEM_CLIENT_SHARED_AREA_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::client {

// How large a connection is.
struct Shape {
  uint32_t queues = 1;
  uint32_t ring_page_order = 0;
  uint32_t slots = 0;  // a queue

  bool operator==(const Shape&) const = default;
};

class SharedArea {
 public:
  // All pages are there and zero afterwards. REQUIRES: within TMEMIF_MAX_*.
  static Result<SharedArea> Create(const Shape& shape);
  ~SharedArea();
  SharedArea(SharedArea&& other) noexcept;
  SharedArea& operator=(SharedArea&&) = delete;

  int memfd() const { return memfd_.get(); }

  // Lays the area out for a connection no larger than it was created for: writes the directory
  // pages and sets the rings up so that the first response wakes us. REQUIRES: no ring was used.
  void Lay(const Shape& shape);

  // Of the layout. REQUIRES: queue < its number of queues.
  std::span<std::byte> Ring(uint32_t queue) const;
  std::span<std::byte> Slots(uint32_t queue) const;
  uint32_t DirectoryRef(uint32_t queue) const;

 private:
  SharedArea(UniqueFd memfd, std::byte* base, size_t bytes);

  size_t FirstPage(uint32_t queue) const;
  std::span<std::byte> Pages(size_t first, size_t count) const;

  UniqueFd memfd_;
  std::byte* base_;
  size_t bytes_;
  Shape shape_;
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_SHARED_AREA_H_
