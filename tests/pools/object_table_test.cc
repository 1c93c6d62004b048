#include "pools/object_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "pools/page_maker.h"

namespace tmem {
namespace {

constexpr uint64_t kKey = 0x1234'5678'9abc'def0;

struct Table {
  ObjectRecords records{*Region::Anonymous(16 << 20)};
  ObjectTable objects{kKey, records, /*owner=*/1, /*partition=*/0};

  ObjectNumber Find(uint32_t pool, const ObjectId& id) const {
    return objects.Find(ObjectTable::Hash(kKey, pool, id), pool, id);
  }
  ObjectNumber Insert(uint32_t pool, const ObjectId& id) {
    return objects.Insert(ObjectTable::Hash(kKey, pool, id), pool, id);
  }
  std::set<ObjectNumber> EraseAllOf(uint32_t pool) {
    std::set<ObjectNumber> numbers;
    for (ObjectNumber n; (n = objects.FirstOf(pool)) != kNoObject; objects.Erase(n)) {
      EXPECT_LT(n, objects.end());
      EXPECT_TRUE(numbers.insert(n).second) << "visited twice";
    }
    return numbers;
  }
};

TEST(ObjectTable, TellsPoolsApart) {
  Table table;
  const ObjectId id = MakeObjectId(1);
  const ObjectNumber first = table.Insert(3, id);
  EXPECT_EQ(table.Find(4, id), kNoObject);
  const ObjectNumber second = table.Insert(4, id);
  EXPECT_NE(first, second);
  EXPECT_EQ(table.Find(3, id), first);
  EXPECT_EQ(table.Find(4, id), second);
}

TEST(ObjectTable, AllBitsOfAnIdCount) {
  Table table;
  for (size_t word = 0; word < 3; ++word) {
    for (int bit = 0; bit < 64; ++bit) {
      ObjectId id;
      id.words[word] = uint64_t{1} << bit;
      ASSERT_EQ(table.Find(0, id), kNoObject);
      table.Insert(0, id);
    }
  }
  EXPECT_EQ(table.objects.size(), 3 * 64);
}

TEST(ObjectTable, AnErasedNumberNamesNothingUntilReused) {
  Table table;
  const ObjectNumber number = table.Insert(0, MakeObjectId(1));
  table.Insert(0, MakeObjectId(2));
  table.objects.At(number)->charged = Bytes(5);
  table.objects.Erase(number);
  EXPECT_EQ(table.objects.At(number), nullptr);
  EXPECT_EQ(table.objects.At(12345), nullptr);
  EXPECT_EQ(table.Find(0, MakeObjectId(1)), kNoObject);

  EXPECT_EQ(table.Insert(7, MakeObjectId(3)), number);
  const Object& object = *table.objects.At(number);
  EXPECT_EQ(object.id, MakeObjectId(3));
  EXPECT_EQ(object.pool, 7);
  EXPECT_EQ(object.payer, nullptr);
  EXPECT_EQ(object.charged, Bytes(0));
  EXPECT_EQ(object.pages.size(), 0);
}

RC_GTEST_PROP(ObjectTable, BehavesAsAMap, ()) {
  Table table;
  std::map<std::pair<uint32_t, uint64_t>, ObjectNumber> model;
  const auto span = *rc::gen::inRange<uint32_t>(1, 400);
  for (const uint32_t step :
       *rc::gen::container<std::vector<uint32_t>>(rc::gen::arbitrary<uint32_t>())) {
    const uint32_t pool = step % 3 * 7;
    const uint64_t name = step / 3 % span;
    const ObjectId id = MakeObjectId(name);
    const auto at = model.find({pool, name});
    RC_ASSERT(table.Find(pool, id) == (at == model.end() ? kNoObject : at->second));
    if (at == model.end()) {
      model[{pool, name}] = table.Insert(pool, id);
    } else if (step % 2 == 0) {
      table.objects.Erase(at->second);
      model.erase(at);
    }
    RC_ASSERT(table.objects.size() == model.size());
  }
  std::map<uint32_t, std::set<ObjectNumber>> by_pool;
  for (const auto& [key, number] : model) {
    const Object* const object = table.objects.At(number);
    RC_ASSERT(object != nullptr);
    RC_ASSERT(object->pool == key.first);
    RC_ASSERT(object->id == MakeObjectId(key.second));
    RC_ASSERT(by_pool[key.first].insert(number).second);
  }
  for (uint32_t pool = 0; pool < ObjectTable::kPools; ++pool) {  // others are left alone
    RC_ASSERT(table.EraseAllOf(pool) == by_pool[pool]);
  }
}

TEST(ObjectTable, FindsAllWhileItGrowsAndAfterItShrank) {
  constexpr uint64_t kObjects = 20'000;
  Table table;
  std::vector<ObjectNumber> numbers;
  for (uint64_t i = 0; i < kObjects; ++i) {
    numbers.push_back(table.Insert(0, MakeObjectId(i)));
    // Those that the last split could have moved, and some old ones.
    for (const uint64_t j : {i, i / 2, i / 3}) {
      ASSERT_EQ(table.Find(0, MakeObjectId(j)), numbers[j]) << i;
    }
  }
  const double bytes_an_object =
      static_cast<double>(table.objects.bytes()) / static_cast<double>(kObjects);
  EXPECT_LE(bytes_an_object, 128);

  for (uint64_t i = 0; i < kObjects; i += 2) table.objects.Erase(numbers[i]);
  for (uint64_t i = 0; i < kObjects; ++i) {
    ASSERT_EQ(table.Find(0, MakeObjectId(i)), i % 2 == 0 ? kNoObject : numbers[i]);
  }
  for (uint64_t i = 1; i < kObjects; i += 2) table.objects.Erase(numbers[i]);
  EXPECT_EQ(table.objects.size(), 0);
  EXPECT_EQ(table.objects.FirstOf(0), kNoObject);
  EXPECT_EQ(table.objects.bytes(), Table().objects.bytes())
      << "a table that became empty gives its memory back";
}

TEST(ObjectTable, TheHashIsKeyed) {
  int equal = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const ObjectId id = MakeObjectId(i);
    if (ObjectTable::Hash(1, 0, id) % 64 == ObjectTable::Hash(2, 0, id) % 64) ++equal;
  }
  EXPECT_LT(equal, 60) << "two keys spread the same objects in the same way";
}

}  // namespace
}  // namespace tmem
