#include "daemon/key_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "daemon/knobs.h"

namespace tmem::daemon {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::UnorderedElementsAre;

Result<void> Parse(SettingChanges& changes, const std::string& name, const std::string& value) {
  return AddChange(changes, name, value);
}

class KeyJudgeTest : public testing::Test {
 protected:
  GuestSettings Judge(const KeyJudge::Keys& keys) {
    verdict_ = judge_.Judge(keys);
    return WithChanges(base_, verdict_.changes).value();
  }

  GuestSettings base_;
  KeyJudge judge_{Parse, [this](const SettingChanges& changes) -> Result<void> {
                    const auto settings = WithChanges(base_, changes);
                    return settings ? Result<void>() : std::unexpected(settings.error());
                  }};
  KeyJudge::Verdict verdict_;
};

TEST_F(KeyJudgeTest, GoodKeysHold) {
  EXPECT_EQ(Judge({{"weight", "200"}, {"compress", "dense"}, {"frozen", "1"}}).weight, 200u);
  EXPECT_THAT(verdict_.refusals, IsEmpty());
  EXPECT_EQ(Judge({{"compress", "dense"}}).compress[0], CompressMode::kDense);
  EXPECT_FALSE(Judge({{"compress", "dense"}}).frozen) << "a key that goes takes its value along";
}

TEST_F(KeyJudgeTest, ABadValueIsRefusedAndTheLastGoodOneStays) {
  Judge({{"weight", "200"}});
  EXPECT_EQ(Judge({{"weight", "heavy"}, {"cap", "1G"}}).weight, 200u);
  EXPECT_THAT(verdict_.refusals, UnorderedElementsAre(Key("weight")));
  EXPECT_THAT(verdict_.refusals["weight"], HasSubstr("write a whole number from 1 to 65535"));
  EXPECT_EQ(Judge({{"weight", "heavy"}, {"cap", "2G"}}).cap, GiB(2)) << "others are not held up";
  EXPECT_EQ(Judge({{"weight", "300"}}).weight, 300u);
  EXPECT_THAT(verdict_.refusals, IsEmpty());
}

TEST_F(KeyJudgeTest, AnUnknownKeyIsRefusedAlone) {
  EXPECT_EQ(Judge({{"wieght", "1"}, {"weight", "200"}}).weight, 200u);
  EXPECT_THAT(verdict_.refusals["wieght"], HasSubstr("no setting 'wieght'; there are compress"));
}

TEST_F(KeyJudgeTest, ContradictionsAreRefusedUntilTheyAreResolvedInAnyOrder) {
  Judge({{"cap", "1G"}});
  EXPECT_EQ(Judge({{"cap", "1G"}, {"reserve", "2G"}, {"weight", "5"}}).reserve, Bytes(0));
  EXPECT_THAT(verdict_.refusals, UnorderedElementsAre(Key("reserve")));
  EXPECT_THAT(verdict_.refusals["reserve"], HasSubstr("reserve 2G is above cap 1G"));
  const GuestSettings now = Judge({{"cap", "3G"}, {"reserve", "2G"}, {"weight", "5"}});
  EXPECT_EQ(now.reserve, GiB(2));
  EXPECT_EQ(now.cap, GiB(3));
  EXPECT_EQ(now.weight, 5u);
  EXPECT_THAT(verdict_.refusals, IsEmpty());
}

TEST_F(KeyJudgeTest, WhatLiesUnderTheKeysMayChange) {
  Judge({{"reserve", "2G"}, {"weight", "5"}});
  base_.cap = GiB(1);
  const GuestSettings now = Judge({{"reserve", "2G"}, {"weight", "5"}});
  EXPECT_EQ(now.reserve, Bytes(0));
  EXPECT_EQ(now.weight, 5u);
  EXPECT_THAT(verdict_.refusals, UnorderedElementsAre(Key("reserve")));
}

// Histories of arbitrary writes and removals of keys: what holds is valid after each of them, every
// key that is good with all the others holds, and one that is refused keeps its last value.
RC_GTEST_FIXTURE_PROP(KeyJudgeTest, WhatHoldsIsAlwaysValidAsAWhole, ()) {
  KeyJudge::Keys keys;
  GuestSettings before;
  const int writes = *rc::gen::inRange(1, 40);
  for (int i = 0; i < writes; ++i) {
    const auto name = *rc::gen::element<std::string>("weight", "reserve", "cap", "compress", "odd");
    if (*rc::gen::inRange(0, 4) == 0) {
      keys.erase(name);
    } else {
      keys[name] = *rc::gen::element<std::string>("1", "7", "1M", "2M", "64M", "unlimited", "off",
                                                  "dense", "", "-1", "x");
    }
    const GuestSettings now = Judge(keys);
    RC_ASSERT(now.Validate().has_value());
    for (const auto& [key, reason] : verdict_.refusals) RC_ASSERT(keys.contains(key));
    SettingChanges all;
    bool readable = true;
    for (const auto& [key, value] : keys) readable &= Parse(all, key, value).has_value();
    const auto together = WithChanges(base_, all);
    if (readable && together) {
      RC_ASSERT(verdict_.refusals.empty());
      RC_ASSERT(now == *together);
    }
    if (verdict_.refusals.contains("weight")) RC_ASSERT(now.weight == before.weight);
    before = now;
  }
}

}  // namespace
}  // namespace tmem::daemon
