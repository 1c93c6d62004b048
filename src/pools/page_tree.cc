#include "pools/page_tree.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>

namespace tmem {

namespace {

constexpr uint32_t kWayBits = 6;
constexpr uint32_t kWays = 1 << kWayBits;
constexpr uint8_t kTopShift = 30;  // the level whose ways cover all 32 bits

constexpr std::array<uint8_t, 9> kCapacities = {1, 2, 3, 5, 8, 13, 20, 32, kWays};

uint8_t CapacityFor(uint32_t ways) {
  for (const uint8_t capacity : kCapacities) {
    if (capacity >= ways) return capacity;
  }
  return kWays;
}

uint32_t WayOf(uint32_t index, uint8_t shift) { return index >> shift & (kWays - 1); }

// The bits of an index above a node's own: equal for all that lies below the node.
uint32_t PrefixOf(uint32_t index, uint8_t shift) {
  return shift >= kTopShift ? 0 : index >> (shift + kWayBits);
}

// A way of a node at shift 0 holds a Location, above that a Node*.
static_assert(sizeof(Location) == sizeof(uint64_t) && sizeof(void*) == sizeof(uint64_t));

}  // namespace

struct PageTree::Node {
  uint64_t used;     // bit w: way w is in use
  uint32_t prefix;   // PrefixOf() of every index below
  uint8_t shift;     // 0 for leaves, then 6, 12, ...
  uint8_t capacity;  // of ways(); kWays: addressed by way, else by rank among the used ones
  uint16_t reserved;

  static constexpr size_t BytesFor(uint8_t capacity) {
    return sizeof(Node) + capacity * sizeof(uint64_t);
  }
  uint64_t* ways() { return reinterpret_cast<uint64_t*>(this + 1); }
  bool direct() const { return capacity == kWays; }
  bool Has(uint32_t way) const { return used >> way & 1; }
  uint32_t Rank(uint32_t way) const {
    return direct() ? way : static_cast<uint32_t>(std::popcount(used & ((uint64_t{1} << way) - 1)));
  }
  uint64_t* At(uint32_t way) { return ways() + Rank(way); }
  Node** ChildAt(uint32_t way) { return reinterpret_cast<Node**>(At(way)); }
  Location* LocationAt(uint32_t way) { return reinterpret_cast<Location*>(At(way)); }
};

PageTree::~PageTree() { assert(root_ == nullptr); }

PageTree::Node* PageTree::NewNode(uint32_t prefix, uint8_t shift, uint8_t capacity,
                                  NodeMemory& memory) {
  static_assert(Node::BytesFor(kWays) <= NodeMemory::kLargest);
  return new (memory.Allocate(Node::BytesFor(capacity)))
      Node{.used = 0, .prefix = prefix, .shift = shift, .capacity = capacity, .reserved = 0};
}

void PageTree::FreeNode(Node* node, NodeMemory& memory) {
  memory.Free(node, Node::BytesFor(node->capacity));
}

void PageTree::Resize(Node** place, uint8_t capacity, NodeMemory& memory) {
  Node* const from = *place;
  Node* const to = NewNode(from->prefix, from->shift, capacity, memory);
  to->used = from->used;
  for (uint64_t left = from->used; left != 0; left &= left - 1) {
    const auto way = static_cast<uint32_t>(std::countr_zero(left));
    *to->At(way) = *from->At(way);
  }
  FreeNode(from, memory);
  *place = to;
}

// Makes room for `way`, which is not in use, and marks it used; the caller fills it.
uint64_t* PageTree::InsertWay(Node** place, uint32_t way, NodeMemory& memory) {
  const auto count = static_cast<uint32_t>(std::popcount((*place)->used));
  if (count == (*place)->capacity) Resize(place, CapacityFor(count + 1), memory);
  Node* const node = *place;
  const uint32_t rank = node->Rank(way);
  if (!node->direct()) {
    std::memmove(node->ways() + rank + 1, node->ways() + rank, (count - rank) * sizeof(uint64_t));
  }
  node->used |= uint64_t{1} << way;
  return node->ways() + rank;
}

// Takes `gone` out. A node without ways is freed; one with many fewer than it has room for shrinks
// (by two steps at once, so that a page put and taken at a boundary does not resize each time).
// REQUIRES: all of `gone` are in use, and none that stays lies between them.
void PageTree::RemoveWays(Node** place, uint64_t gone, NodeMemory& memory) {
  Node* const node = *place;
  const auto before = static_cast<uint32_t>(std::popcount(node->used));
  const auto removed = static_cast<uint32_t>(std::popcount(gone));
  const uint32_t rank = node->Rank(static_cast<uint32_t>(std::countr_zero(gone)));
  node->used &= ~gone;
  const uint32_t count = before - removed;
  if (!node->direct()) {
    std::memmove(node->ways() + rank, node->ways() + rank + removed,
                 (count - rank) * sizeof(uint64_t));
  }
  if (count == 0) {
    FreeNode(node, memory);
    *place = nullptr;
  } else if (count * 3 <= node->capacity) {
    Resize(place, CapacityFor(count), memory);
  }
}

Location* PageTree::Find(uint32_t index) {
  Node* node = root_;
  while (node != nullptr) {
    const uint32_t way = WayOf(index, node->shift);
    if (PrefixOf(index, node->shift) != node->prefix || !node->Has(way)) return nullptr;
    if (node->shift == 0) return node->LocationAt(way);
    node = *node->ChildAt(way);
    // A leaf is seldom in the cache, and nearly always full enough to be addressed directly: fetch
    // the way along with the node's head.
    __builtin_prefetch(node->ways() + WayOf(index, 0));
  }
  return nullptr;
}

PageTree::Node* PageTree::LeafFor(uint32_t index) const {
  Node* node = root_;
  // Next above the leaves, a child is known for one; higher up, it has to be looked at.
  while (node != nullptr && node->shift > 0) {
    const uint32_t way = WayOf(index, node->shift);
    if (PrefixOf(index, node->shift) != node->prefix || !node->Has(way)) return nullptr;
    const bool child_is_leaf = node->shift == kWayBits;
    node = *node->ChildAt(way);
    if (child_is_leaf) break;
  }
  return node;
}

Location* PageTree::FindIn(Node* leaf, uint32_t index) {
  const uint32_t way = WayOf(index, 0);
  if (leaf->prefix != PrefixOf(index, 0) || !leaf->Has(way)) return nullptr;
  return leaf->LocationAt(way);
}

// Puts a new node above *place, at the lowest level where `index` and all below *place differ.
void PageTree::Split(Node** place, uint32_t index, NodeMemory& memory) {
  Node* const below = *place;
  uint8_t shift = below->shift;
  uint32_t prefix = below->prefix;
  uint32_t way = 0;
  do {
    way = prefix & (kWays - 1);
    prefix >>= kWayBits;
    shift = static_cast<uint8_t>(shift + kWayBits);
  } while (PrefixOf(index, shift) != prefix);
  Node* above = NewNode(prefix, shift, kCapacities[1], memory);
  *InsertWay(&above, way, memory) = reinterpret_cast<uint64_t>(below);
  *place = above;
}

Location PageTree::Exchange(uint32_t index, Location location, NodeMemory& memory) {
  Node** place = &root_;
  for (;;) {
    if (*place == nullptr) *place = NewNode(PrefixOf(index, 0), 0, kCapacities[0], memory);
    Node* const node = *place;
    if (PrefixOf(index, node->shift) != node->prefix) {
      Split(place, index, memory);
      continue;
    }
    const uint32_t way = WayOf(index, node->shift);
    if (node->shift == 0) {
      if (node->Has(way)) return std::exchange(*node->LocationAt(way), location);
      *reinterpret_cast<Location*>(InsertWay(place, way, memory)) = location;
      ++size_;
      return Location();
    }
    if (!node->Has(way)) *InsertWay(place, way, memory) = 0;
    place = (*place)->ChildAt(way);
  }
}

// The nodes from the root down, by the places that point to them.
struct PageTree::Path {
  std::array<Node**, kTopShift / kWayBits + 1> places;  // at most one a level
  size_t depth = 0;

  void Add(Node** place) { places[depth++] = place; }
  Node* last() const { return *places[depth - 1]; }
};

// Takes ways out of the last node, a leaf, one of which holds `index`. Upwards from there: a node
// that became empty leaves its parent; an inner node with one child left gives its place to it.
void PageTree::RemoveFromLeaf(const Path& path, uint32_t index, uint64_t ways, NodeMemory& memory) {
  size_t depth = path.depth - 1;
  size_ -= static_cast<uint32_t>(std::popcount(ways));
  RemoveWays(path.places[depth], ways, memory);
  while (*path.places[depth] == nullptr && depth > 0) {
    Node** const place = path.places[--depth];
    RemoveWays(place, uint64_t{1} << WayOf(index, (*place)->shift), memory);
  }
  Node** const place = path.places[depth];
  Node* const node = *place;
  if (node != nullptr && node->shift > 0 && std::has_single_bit(node->used)) {
    *place = *node->ChildAt(static_cast<uint32_t>(std::countr_zero(node->used)));
    FreeNode(node, memory);
  }
}

Location PageTree::Remove(uint32_t index, NodeMemory& memory) {
  Path path;
  Node** place = &root_;
  while (*place != nullptr) {
    Node* const node = *place;
    const uint32_t way = WayOf(index, node->shift);
    if (PrefixOf(index, node->shift) != node->prefix || !node->Has(way)) return Location();
    path.Add(place);
    if (node->shift == 0) {
      const Location removed = *node->LocationAt(way);
      RemoveFromLeaf(path, index, uint64_t{1} << way, memory);
      return removed;
    }
    place = node->ChildAt(way);
  }
  return Location();
}

size_t PageTree::TakeFirst(std::span<Location> taken, NodeMemory& memory) {
  if (root_ == nullptr) return 0;
  Path path;
  path.Add(&root_);
  while (path.last()->shift > 0) {
    Node* const node = path.last();
    path.Add(node->ChildAt(static_cast<uint32_t>(std::countr_zero(node->used))));
  }
  Node* const leaf = path.last();
  size_t count = 0;
  uint64_t ways = 0;
  for (uint64_t left = leaf->used; left != 0 && count < taken.size(); left &= left - 1) {
    const auto way = static_cast<uint32_t>(std::countr_zero(left));
    taken[count++] = *leaf->LocationAt(way);
    ways |= uint64_t{1} << way;
  }
  RemoveFromLeaf(path, leaf->prefix << kWayBits, ways, memory);
  return count;
}

// As deep as a tree is high.
void PageTree::FreeAll(Node* node, NodeMemory& memory) {
  if (node->shift > 0) {
    for (uint64_t left = node->used; left != 0; left &= left - 1) {
      FreeAll(*node->ChildAt(static_cast<uint32_t>(std::countr_zero(left))), memory);
    }
  }
  FreeNode(node, memory);
}

void PageTree::Clear(NodeMemory& memory) {
  if (root_ != nullptr) FreeAll(std::exchange(root_, nullptr), memory);
  size_ = 0;
}

std::optional<PageTree::Entry> PageTree::FirstFrom(uint32_t index) {
  return root_ == nullptr ? std::nullopt : FirstFrom(root_, index);
}

// As deep as a tree is high: of a node's ways only the first that may hold it can turn out not to.
std::optional<PageTree::Entry> PageTree::FirstFrom(Node* node, uint32_t index) {
  const uint32_t prefix = PrefixOf(index, node->shift);
  if (prefix > node->prefix) return std::nullopt;
  const uint32_t first_way = prefix < node->prefix ? 0 : WayOf(index, node->shift);
  for (uint64_t left = node->used & ~uint64_t{0} << first_way; left != 0; left &= left - 1) {
    const auto way = static_cast<uint32_t>(std::countr_zero(left));
    if (node->shift == 0) return Entry{node->prefix << kWayBits | way, node->LocationAt(way)};
    if (const auto found = FirstFrom(*node->ChildAt(way), index)) return found;
  }
  return std::nullopt;
}

}  // namespace tmem
