#include "pools/page_tree.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <span>
#include <vector>

namespace tmem {
namespace {

Location LocationOf(uint32_t number) {
  return Location(number, number % 1000, Codec::kRaw, kPageSize);
}

bool Same(Location a, Location b) {
  return static_cast<bool>(a) == static_cast<bool>(b) && a.SameRecord(b);
}

// A tree that frees what it holds, and its memory's count.
struct Tree {
  NodeBlocks blocks;
  NodeMemory memory{blocks};
  PageTree pages;

  ~Tree() {
    while (pages.size() > 0) pages.Remove(pages.FirstFrom(0)->index, memory);
    EXPECT_EQ(memory.bytes(), 0);
  }
  void Put(uint32_t index) { pages.Exchange(index, LocationOf(index), memory); }
};

// Indexes as guests choose them: runs, strides, one bit apart, the ends of the range, anything.
rc::Gen<uint32_t> AnyIndex() {
  return rc::gen::oneOf(
      rc::gen::inRange(0u, 200u), rc::gen::inRange(0u, 20'000u),
      rc::gen::map(rc::gen::inRange(0, 32), [](int bit) { return 1u << bit; }),
      rc::gen::map(rc::gen::inRange(0u, 64u), [](uint32_t n) { return n << 26 | n; }),
      rc::gen::map(rc::gen::inRange(0u, 200u), [](uint32_t n) { return UINT32_MAX - n; }),
      rc::gen::arbitrary<uint32_t>());
}

TEST(PageTree, IsEmptyAtFirst) {
  Tree tree;
  EXPECT_EQ(tree.pages.size(), 0);
  EXPECT_EQ(tree.pages.Find(0), nullptr);
  EXPECT_FALSE(tree.pages.Remove(7, tree.memory));
  EXPECT_EQ(tree.memory.bytes(), 0);
}

RC_GTEST_PROP(PageTree, BehavesAsAMap, ()) {
  Tree tree;
  std::map<uint32_t, Location> model;
  const auto indexes = *rc::gen::container<std::vector<uint32_t>>(AnyIndex());
  const auto choices = *rc::gen::container<std::vector<uint32_t>>(indexes.size() * 4,
                                                                  rc::gen::arbitrary<uint32_t>());
  uint32_t serial = 0;
  for (const uint32_t choice : choices) {
    const uint32_t index = indexes[choice / 5 % indexes.size()];
    const auto at = model.find(index);
    const Location before = at == model.end() ? Location() : at->second;
    switch (choice % 5) {
      case 0:
      case 1: {
        const Location location = LocationOf(++serial);
        RC_ASSERT(Same(tree.pages.Exchange(index, location, tree.memory), before));
        model[index] = location;
        break;
      }
      case 2:
        RC_ASSERT(Same(tree.pages.Remove(index, tree.memory), before));
        model.erase(index);
        break;
      case 3: {
        std::array<Location, 3> taken;
        const size_t room = 1 + choice % taken.size();
        const size_t count = tree.pages.TakeFirst(std::span(taken).first(room), tree.memory);
        RC_ASSERT((count == 0) == model.empty());
        for (size_t i = 0; i < count; ++i) {
          RC_ASSERT(Same(taken[i], model.begin()->second));
          model.erase(model.begin());
        }
        break;
      }
      case 4: {
        const Location* const found = tree.pages.Find(index);
        RC_ASSERT((found != nullptr) == static_cast<bool>(before));
        if (found != nullptr) RC_ASSERT(Same(*found, before));
        break;
      }
    }
    PageTree::Node* const leaf = tree.pages.LeafFor(index);
    RC_ASSERT((leaf != nullptr ? PageTree::FindIn(leaf, index) : nullptr) ==
              tree.pages.Find(index));
    RC_ASSERT(tree.pages.size() == model.size());
    RC_ASSERT((tree.memory.bytes() == 0) == model.empty());
    for (const uint32_t from : {uint32_t{0}, index, index + 1}) {
      const auto first = model.lower_bound(from);
      const auto found = tree.pages.FirstFrom(from);
      RC_ASSERT(found.has_value() == (first != model.end()));
      if (!found) continue;
      RC_ASSERT(found->index == first->first);
      RC_ASSERT(Same(*found->location, first->second));
    }
  }
  for (const auto& [index, location] : model) {
    const Location* const found = tree.pages.Find(index);
    RC_ASSERT(found != nullptr);
    RC_ASSERT(Same(*found, location));
  }
}

TEST(PageTree, GivesThePagesOfALeafAtOnce) {
  Tree tree;
  for (uint32_t i = 10; i < 100; ++i) tree.Put(i);
  std::array<Location, 64> taken;
  EXPECT_EQ(tree.pages.TakeFirst(taken, tree.memory), 54) << "10 to 63";
  EXPECT_EQ(tree.pages.FirstFrom(0)->index, 64);
  EXPECT_EQ(tree.pages.TakeFirst(std::span(taken).first(1), tree.memory), 1);
  EXPECT_EQ(tree.pages.TakeFirst(taken, tree.memory), 35);
  EXPECT_EQ(tree.pages.TakeFirst(taken, tree.memory), 0);
}

TEST(PageTree, MovesAlongWithItsPages) {
  Tree tree;
  for (uint32_t i = 0; i < 100; ++i) tree.Put(i * 77);
  PageTree moved = std::move(tree.pages);
  EXPECT_EQ(tree.pages.size(), 0);
  EXPECT_EQ(tree.pages.Find(77), nullptr);
  EXPECT_EQ(moved.size(), 100);
  EXPECT_NE(moved.Find(77), nullptr);
  tree.pages = std::move(moved);
  EXPECT_EQ(tree.pages.size(), 100);
}

// ---- what it costs: a guest chooses the indexes ----

void ExpectBytesAPage(const std::vector<uint32_t>& indexes, double most) {
  Tree tree;
  for (const uint32_t index : indexes) tree.Put(index);
  const auto pages = static_cast<double>(tree.pages.size());
  const size_t bytes = tree.memory.bytes();
  EXPECT_LE(static_cast<double>(bytes) / pages, most);
  // And when most of them have gone, in an order that leaves few in each node, it costs no more
  // than before: what is free in its slabs is for other nodes.
  for (size_t i = 0; i < indexes.size(); ++i) {
    if (i % 16 != 0) tree.pages.Remove(indexes[i], tree.memory);
  }
  EXPECT_LE(tree.memory.bytes(), bytes) << "thinned out";
}

std::vector<uint32_t> Indexes(uint32_t count, auto index_of) {
  std::vector<uint32_t> indexes;
  for (uint32_t i = 0; i < count; ++i) indexes.push_back(index_of(i));
  return indexes;
}

TEST(PageTree, DenseObjectsCostLittleMoreThanTheirLocations) {
  ExpectBytesAPage(Indexes(1 << 16, [](uint32_t i) { return i; }), 9);
}

TEST(PageTree, DenseObjectsCostTheSameInAnyOrder) {
  auto indexes = Indexes(1 << 16, [](uint32_t i) { return i; });
  std::ranges::shuffle(indexes, std::mt19937(1));
  ExpectBytesAPage(indexes, 9);
}

TEST(PageTree, NoChoiceOfIndexesCostsMuch) {
  constexpr uint32_t kPages = 1 << 14;
  // One page a leaf, at each level of distance.
  for (const int shift : {6, 7, 12, 13, 18}) {
    SCOPED_TRACE(shift);
    ExpectBytesAPage(Indexes(kPages, [shift](uint32_t i) { return i << shift; }), 100);
  }
  // Pairs that differ in the lowest bit of an inner node, with nothing in between.
  ExpectBytesAPage(
      Indexes(kPages, [](uint32_t i) { return (i & 1) << 6 | (i & 2) << 11 | (i >> 2) << 18; }),
      100);
  // Anything.
  std::mt19937 random(2);
  ExpectBytesAPage(Indexes(kPages, [&random](uint32_t) { return static_cast<uint32_t>(random()); }),
                   100);
}

TEST(PageTree, PutAndTakeAtABoundaryDoesNotGrowIt) {
  Tree tree;
  for (uint32_t i = 0; i < 40; ++i) tree.Put(i);
  const size_t bytes = tree.memory.bytes();
  for (int i = 0; i < 1000; ++i) {
    tree.Put(63);
    tree.pages.Remove(63, tree.memory);
  }
  EXPECT_EQ(tree.memory.bytes(), bytes);
}

}  // namespace
}  // namespace tmem
