// The pages of one object: a map from 32-bit index to Location.
//
// A path-compressed radix tree, 64 ways a node. A node holds a bitmap of the ways in use and an
// array that grows with them; when more than half are in use it has all 64 and is addressed
// directly. So a dense object costs 8.4 bytes a page, and a lone page one small node, wherever its
// index lies: a guest cannot make the index large by choosing indexes cleverly.
//
// Not thread-safe: guarded by the partition's lock. Memory comes from the NodeMemory that is passed
// in, always the same one for one tree; a tree that goes out of scope must be empty.
#ifndef TMEM_POOLS_PAGE_TREE_H_
#define TMEM_POOLS_PAGE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "pools/node_memory.h"
#include "pools/segment.h"

namespace tmem {

class PageTree {
 public:
  struct Entry {
    uint32_t index;
    Location* location;  // as of Find
  };

  PageTree() = default;
  PageTree(PageTree&& other) noexcept
      : root_(std::exchange(other.root_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PageTree& operator=(PageTree&& other) noexcept {
    std::swap(root_, other.root_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PageTree();

  uint32_t size() const { return size_; }

  // The place of the page's location, or nullptr. Valid until the tree is changed.
  Location* Find(uint32_t index);

  // Find in two steps, for who looks for many pages and would have the processor wait for the
  // memory of all of them together. First, where the page is if it is anywhere, or nullptr; the
  // node has not been looked at, if it is one next to the others of a dense object.
  struct Node;
  Node* LeafFor(uint32_t index) const;
  // Then its place there, or nullptr; the place has not been looked at.
  static Location* FindIn(Node* leaf, uint32_t index);

  // Sets the page's location; returns the one it had, or the empty one. REQUIRES: location.
  Location Exchange(uint32_t index, Location location, NodeMemory& memory);

  // Removes the page; returns its location, or the empty one.
  Location Remove(uint32_t index, NodeMemory& memory);

  // Removes pages that stand together, those of lowest index, at most as many as `taken` has room
  // for; returns how many, their locations in `taken`. 0 only if the tree is empty.
  // REQUIRES: !taken.empty().
  size_t TakeFirst(std::span<Location> taken, NodeMemory& memory);

  // Removes all pages.
  void Clear(NodeMemory& memory);

  // The page with the lowest index that is at least `index`.
  std::optional<Entry> FirstFrom(uint32_t index);

 private:
  struct Path;

  static Node* NewNode(uint32_t prefix, uint8_t shift, uint8_t capacity, NodeMemory& memory);
  static void FreeNode(Node* node, NodeMemory& memory);
  static uint64_t* InsertWay(Node** place, uint32_t way, NodeMemory& memory);
  static void RemoveWays(Node** place, uint64_t gone, NodeMemory& memory);
  static void Resize(Node** place, uint8_t capacity, NodeMemory& memory);
  static void Split(Node** place, uint32_t index, NodeMemory& memory);
  static std::optional<Entry> FirstFrom(Node* node, uint32_t index);
  static void FreeAll(Node* node, NodeMemory& memory);
  void RemoveFromLeaf(const Path& path, uint32_t index, uint64_t ways, NodeMemory& memory);

  Node* root_ = nullptr;
  uint32_t size_ = 0;
};

}  // namespace tmem

#endif  // TMEM_POOLS_PAGE_TREE_H_
