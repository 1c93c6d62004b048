#include "pools/node_memory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

namespace tmem {
namespace {

struct Place {
  void* at;
  size_t bytes;
  uint8_t mark;

  bool Intact() const {
    const auto* const contents = static_cast<const uint8_t*>(at);
    return std::all_of(contents, contents + bytes, [this](uint8_t b) { return b == mark; });
  }
};

Place Take(NodeMemory& memory, size_t bytes, uint8_t mark) {
  Place place{memory.Allocate(bytes), bytes, mark};
  std::memset(place.at, mark, bytes);
  return place;
}

// No two places overlap, whatever was freed and taken again; in the end nothing is held.
RC_GTEST_PROP(NodeMemory, PlacesAreTheirOwnersAlone, ()) {
  NodeBlocks blocks;
  NodeMemory memory(blocks);
  std::vector<Place> places;
  const auto steps = *rc::gen::container<std::vector<uint32_t>>(rc::gen::arbitrary<uint32_t>());
  for (const uint32_t step : steps) {
    if (step % 3 != 0 || places.empty()) {
      const size_t units = 1 + step / 3 % (NodeMemory::kLargest / NodeMemory::kUnit);
      for (uint32_t i = 0; i < 1 + step % 97; ++i) {
        places.push_back(Take(memory, units * NodeMemory::kUnit, static_cast<uint8_t>(step + i)));
      }
    } else {
      std::swap(places[step / 3 % places.size()], places.back());
      RC_ASSERT(places.back().Intact());
      memory.Free(places.back().at, places.back().bytes);
      places.pop_back();
    }
  }
  for (const Place& place : places) {
    RC_ASSERT(place.Intact());
    memory.Free(place.at, place.bytes);
  }
  RC_ASSERT(memory.bytes() == 0u);
}

TEST(NodeMemory, PacksPlacesTightly) {
  NodeBlocks blocks;
  NodeMemory memory(blocks);
  constexpr size_t kBytes = 528;  // a full node of a page tree
  constexpr size_t kCount = 10'000;
  std::vector<void*> places;
  for (size_t i = 0; i < kCount; ++i) places.push_back(memory.Allocate(kBytes));
  EXPECT_LE(memory.bytes(), kCount * kBytes * 101 / 100);
  for (void* const place : places) memory.Free(place, kBytes);
  EXPECT_EQ(memory.bytes(), 0);
}

TEST(NodeMemory, IsAlignedToItsUnit) {
  NodeBlocks blocks;
  NodeMemory memory(blocks);
  for (size_t bytes = NodeMemory::kUnit; bytes <= NodeMemory::kLargest;
       bytes += NodeMemory::kUnit) {
    void* const place = memory.Allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(place) % NodeMemory::kUnit, 0);
    memory.Free(place, bytes);
  }
}

// A guest that put and flushed one page in an empty store made and freed 2 MiB each time.
TEST(NodeBlocks, KeepTheLastBlockThatHasRoom) {
  NodeBlocks blocks;
  NodeSlab* const first = blocks.Take();
  *NodeBlocks::MemoryOf(first) = std::byte{7};
  blocks.GiveBack(first);
  NodeSlab* const again = blocks.Take();
  EXPECT_EQ(again, first);
  EXPECT_EQ(*NodeBlocks::MemoryOf(again), std::byte{7}) << "new memory would be zero";
  blocks.GiveBack(again);
}

TEST(NodeBlocks, AreSharedByKeyspacesOnManyThreads) {
  NodeBlocks blocks;
  std::vector<std::thread> threads;
  for (uint8_t mark = 1; mark <= 4; ++mark) {
    threads.emplace_back([&blocks, mark] {
      NodeMemory memory(blocks);
      std::vector<Place> places;
      for (size_t round = 0; round < 20; ++round) {
        for (size_t i = 0; i < 2'000; ++i) places.push_back(Take(memory, 8 + i % 66 * 8, mark));
        while (places.size() > round * 20) {
          ASSERT_TRUE(places.back().Intact());
          memory.Free(places.back().at, places.back().bytes);
          places.pop_back();
        }
      }
      for (const Place& place : places) memory.Free(place.at, place.bytes);
      EXPECT_EQ(memory.bytes(), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tmem
