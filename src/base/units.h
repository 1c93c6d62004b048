// The quantities and identifiers that every room speaks in.
//
// Ids, byte counts and page counts are distinct types: handing a page count to a function that
// wants bytes does not compile. All of them are plain values, free to copy, with no invariant but
// their type.
#ifndef TMEM_BASE_UNITS_H_
#define TMEM_BASE_UNITS_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tmem {

// A tmem page is 4 KiB whatever the guest's own page size is (the protocol carries no other).
inline constexpr size_t kPageSize = 4096;

using PageView = std::span<const std::byte, kPageSize>;
using MutablePageView = std::span<std::byte, kPageSize>;

// A number that counts one thing only. `Tag` tells which.
template <class Tag>
struct Quantity {
  uint64_t value = 0;

  constexpr Quantity() = default;
  constexpr explicit Quantity(uint64_t v) : value(v) {}

  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity operator+(Quantity other) const { return Quantity(value + other.value); }
  // REQUIRES: other <= *this; quantities do not go below nothing.
  constexpr Quantity operator-(Quantity other) const { return Quantity(value - other.value); }
  constexpr Quantity& operator+=(Quantity other) { return *this = *this + other; }
  constexpr Quantity& operator-=(Quantity other) { return *this = *this - other; }
  constexpr Quantity operator*(uint64_t factor) const { return Quantity(value * factor); }
};

using Bytes = Quantity<struct BytesTag>;
using PageCount = Quantity<struct PageCountTag>;

constexpr Bytes KiB(uint64_t n) { return Bytes(n << 10); }
constexpr Bytes MiB(uint64_t n) { return Bytes(n << 20); }
constexpr Bytes GiB(uint64_t n) { return Bytes(n << 30); }

// No limit: larger than any capacity.
inline constexpr Bytes kUnlimited{UINT64_MAX};

// A Xen domid, or the number that the loopback hypervisor gives to a guest. Reused after a guest
// is gone; Uuid is not.
struct GuestId {
  uint16_t value = 0;
  constexpr auto operator<=>(const GuestId&) const = default;
};

// A guest's own number for one of its pools, 0 to kMaxPoolsPerGuest - 1.
struct PoolId {
  uint32_t value = 0;
  constexpr auto operator<=>(const PoolId&) const = default;
};

// 192 bits that name an object inside a pool: an inode, or a swap area's stripe.
struct ObjectId {
  std::array<uint64_t, 3> words{};
  constexpr auto operator<=>(const ObjectId&) const = default;
  // On the way of every operation, where the default is a call of memcmp.
  constexpr bool operator==(const ObjectId& other) const {
    return words[0] == other.words[0] && words[1] == other.words[1] && words[2] == other.words[2];
  }
};

// A page's number inside its object.
struct PageIndex {
  uint32_t value = 0;
  constexpr auto operator<=>(const PageIndex&) const = default;
};

// 128 bits that name a shared pool, or a guest across reboots. words[0] holds the first eight
// bytes of the textual form, most significant first.
struct Uuid {
  std::array<uint64_t, 2> words{};
  constexpr auto operator<=>(const Uuid&) const = default;

  // "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", lower case.
  std::string ToString() const;
  // Accepts the form above, either case, and 32 hexadecimal digits without dashes.
  static Result<Uuid> Parse(std::string_view text);
};

// "64M", "1.5G", "4096" or "unlimited"; units are powers of 1024, K to T, with an optional
// trailing "iB" or "B". Fails on anything else and on what does not fit 64 bits.
Result<Bytes> ParseBytes(std::string_view text);

// The shortest form that ParseBytes reads back to the same value: "64M", "1536M", "unlimited".
std::string FormatBytes(Bytes bytes);

// For people: three significant digits and a unit, "1.46 GiB".
std::string HumanBytes(Bytes bytes);

}  // namespace tmem

#endif  // TMEM_BASE_UNITS_H_
