#include "pools/guest.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

namespace tmem {
namespace {

using enum PageClass;

class GuestTest : public testing::Test {
 protected:
  std::unique_ptr<Arena> arena_ = std::move(*Arena::Create(4));
  Memory memory_{*arena_, 4};
  GuestSettings settings_;
  NodeBlocks blocks_;
  ObjectRecords records_{*Region::Anonymous(64 << 20)};
  const DictionaryFiles dictionaries_;
  GuestRecords guest_records_{*Region::Anonymous(1 << 20)};
  Guest guest_{settings_, *guest_records_.Take(GuestId{7}, Uuid{}, "seven"),
               Keyspace::Create(memory_, blocks_, records_, dictionaries_,
                                {.id = 17, .hash_key = 1}, {.weight = 100})};
};

TEST_F(GuestTest, APoolLivesFromOpenToClose) {
  EXPECT_FALSE(guest_.Find(PoolId{0}));
  const PoolId pool = *guest_.Open(kPersistent, std::nullopt);
  EXPECT_EQ(pool, PoolId{0});
  auto found = guest_.Find(pool);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->page_class, kPersistent);
  EXPECT_FALSE(found->shared);
  EXPECT_TRUE(found->ticket.Valid());
  EXPECT_FALSE(guest_.FindClosed(pool));

  EXPECT_TRUE(guest_.Close(pool));
  EXPECT_FALSE(guest_.Close(pool));
  EXPECT_FALSE(found->ticket.Valid());
  EXPECT_FALSE(guest_.Find(pool));
  ASSERT_TRUE(guest_.FindClosed(pool));
  EXPECT_EQ(guest_.FindClosed(pool)->page_class, kPersistent);
}

TEST_F(GuestTest, AnIdIsTakenAgainOnlyAfterRelease) {
  const PoolId first = *guest_.Open(kEphemeral, std::nullopt);
  const PoolTicket old = guest_.Find(first)->ticket;
  guest_.Close(first);
  const PoolId second = *guest_.Open(kEphemeral, std::nullopt);
  EXPECT_NE(first, second);
  guest_.Release(first, PoolCounters{.puts = 3});
  EXPECT_FALSE(guest_.FindClosed(first));
  EXPECT_EQ(guest_.Open(kEphemeral, std::nullopt), first);
  EXPECT_FALSE(old.Valid()) << "the same id, yet another pool";
  EXPECT_TRUE(guest_.Find(first)->ticket.Valid());
  EXPECT_EQ(guest_.retired().puts, 3);
}

TEST_F(GuestTest, HasSixteenPoolIds) {
  std::set<PoolId> ids;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    ids.insert(*guest_.Open(kEphemeral, Guest::Membership{i, Uuid{}}));
  }
  EXPECT_EQ(ids.size(), kMaxPoolsPerGuest);
  EXPECT_FALSE(guest_.Open(kEphemeral, std::nullopt));
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    EXPECT_EQ(guest_.Find(PoolId{i})->shared, i);
  }
}

// XSA-15: a negative pool id passed the bound, and destroy did not check it at all.
TEST_F(GuestTest, AnIdOutsideTheRangeIsNoPool) {
  for (const uint32_t id :
       {kMaxPoolsPerGuest, kMaxPoolsPerGuest + 1, 0x7fff'ffffu, 0x8000'0000u, UINT32_MAX}) {
    EXPECT_FALSE(guest_.Find(PoolId{id})) << id;
    EXPECT_FALSE(guest_.FindClosed(PoolId{id})) << id;
    EXPECT_FALSE(guest_.Close(PoolId{id})) << id;
  }
}

TEST_F(GuestTest, OpensNothingOnceClosedForGood) {
  guest_.CloseForGood();
  EXPECT_FALSE(guest_.Open(kEphemeral, std::nullopt));
}

TEST_F(GuestTest, HotCopiesFollowTheSettings) {
  EXPECT_FALSE(guest_.frozen());
  GuestSettings settings;
  settings.cap = MiB(3);
  settings.frozen = true;
  settings.compress[0] = CompressMode::kOff;
  settings.compress[1] = CompressMode::kDense;
  settings.shared_auth.insert(Uuid{{1, 2}});
  guest_.SetSettings(settings);
  EXPECT_EQ(guest_.settings(), settings);
  EXPECT_EQ(guest_.ledger().cap(), MiB(3));
  EXPECT_TRUE(guest_.frozen());
  EXPECT_EQ(guest_.compress(kEphemeral), CompressMode::kOff);
  EXPECT_EQ(guest_.compress(kPersistent), CompressMode::kDense);
}

}  // namespace
}  // namespace tmem
