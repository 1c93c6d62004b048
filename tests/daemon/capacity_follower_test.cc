#include "daemon/capacity_follower.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "compress/page_codec.h"
#include "daemon/manual_clock.h"
#include "daemon/temporary_folder.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/log_capture.h"
#include "pools/guest.h"
#include "pools/page_maker.h"

namespace tmem::daemon {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

const std::string kBorrowed = "/tool/tmemd/stats/borrowed-bytes";

// A host with 4 GiB, of which domain 0 has 512 MiB. Its balloon moves when the test says so.
class CapacityFollowerTest : public testing::Test {
 protected:
  CapacityFollowerTest() {
    hypervisor_.memory =
        PhysicalMemory{.free = MiB(3584), .held = MiB(512), .target = MiB(512), .maximum = GiB(4)};
    SetAvailable(MiB(400));
    limits_ = {.min_capacity = MiB(8),
               .max_capacity = MiB(256),
               .host_reserve = MiB(512),
               .dom0_reserve = MiB(100),
               .free_request = Bytes(0)};
    store_ = Store::Create({.capacity = MiB(8), .max_capacity = MiB(256)}).value();
    guest_ = store_->AddGuest(GuestId{1}, {.compress = {CompressMode::kOff, CompressMode::kOff}})
                 .value();
    for (const PageClass page_class : {PageClass::kEphemeral, PageClass::kPersistent}) {
      pools_.push_back(store_->NewPool(*guest_, {.page_class = page_class}).value());
    }
  }

  void SetAvailable(Bytes bytes) {
    proc_.Write("meminfo", fmt::format("MemAvailable: {} kB\n", bytes.value / 1024));
  }
  void MoveBalloon() {
    PhysicalMemory& memory = *hypervisor_.memory;
    memory.free = memory.free + memory.held - memory.target;
    memory.held = memory.target;
  }
  // A second, in which the balloon did what it was told.
  void Second(CapacityFollower& follower) {
    clock_.Advance(seconds(1));
    ASSERT_LE(follower.due(), clock_.Now());
    MoveBalloon();
    follower.Look(*store_);
  }
  // So many MiB of that class.
  void Put(PageClass page_class, uint32_t mib) {
    for (uint32_t i = 0; i < mib * 256; ++i) {
      const Handle handle = {pools_[static_cast<size_t>(page_class)], ObjectId{{1}}, {next_++}};
      (void)store_->Put(*guest_, handle, MakePage(PageLook::kRandom, next_), codec_);
    }
  }
  Bytes target() const { return hypervisor_.memory->target; }
  Bytes capacity() const { return store_->Stats().capacity; }
  std::string Value(const std::string& path) { return hypervisor_.directory().ValueOf(path); }

  // The store is full, and has grown as far as it may.
  void GrowToTheEnd() {
    follower_.Follow(limits_);
    for (int i = 0; i < 40 && capacity() < MiB(256); ++i) {
      Put(PageClass::kEphemeral, 32);
      Second(follower_);
    }
    ASSERT_EQ(capacity(), MiB(256));
  }

  const TemporaryFolder proc_;
  ManualClock clock_;
  FakeHypervisor hypervisor_;
  FollowLimits limits_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Guest> guest_;
  std::vector<PoolId> pools_;
  PageCodec codec_;
  uint32_t next_ = 0;
  CapacityFollower follower_{hypervisor_, clock_, Dom0Memory(proc_.Path(""))};
};

TEST_F(CapacityFollowerTest, IsOffUntilItIsToldToFollow) {
  EXPECT_EQ(follower_.due(), TimePoint::max());
  EXPECT_FALSE(follower_.following());
  follower_.Keep(MiB(8), limits_);
  EXPECT_EQ(follower_.due(), TimePoint::max());
  follower_.Note();
  EXPECT_EQ(follower_.due(), TimePoint::max());
}

TEST_F(CapacityFollowerTest, GrowsWithTheStoreAndWritesDownWhatItBorrowed) {
  GrowToTheEnd();
  EXPECT_EQ(target(), MiB(512) + MiB(256) - limits_.min_capacity);
  EXPECT_EQ(Value(kBorrowed), fmt::format("{}", (target() - MiB(512)).value));
  EXPECT_EQ(Value("/tool/tmemd/stats/dom0-target-bytes"), fmt::format("{}", target().value));
  EXPECT_EQ(follower_.following()->borrowed, target() - MiB(512));
  EXPECT_EQ(follower_.following()->cause, Cause::kWanted);
}

TEST_F(CapacityFollowerTest, GivesBackAtOnceWhenAGuestTakesTheHostsMemory) {
  GrowToTheEnd();
  hypervisor_.memory->free = MiB(400);
  follower_.Note();
  clock_.Advance(CapacityFollower::kLeastInterval);
  ASSERT_LE(follower_.due(), clock_.Now());
  const Bytes before = target();
  follower_.Look(*store_);
  EXPECT_EQ(before - target(), MiB(512 + 32 - 400));
  EXPECT_EQ(capacity(), MiB(256) - (before - target()));
  EXPECT_EQ(follower_.following()->cause, Cause::kHostShort);
  const StoreStats stats = store_->Stats();
  EXPECT_LE(stats.segments[0] + stats.segments[1], capacity());
}

TEST_F(CapacityFollowerTest, WhatPersistentPagesHoldStaysBorrowedUntilTheyGo) {
  follower_.Follow(limits_);
  for (int i = 0; i < 6; ++i) {
    Put(PageClass::kPersistent, 24);
    Second(follower_);
  }
  const Bytes held = store_->Stats().segments[static_cast<size_t>(PageClass::kPersistent)];
  ASSERT_GT(held, MiB(32));
  hypervisor_.memory->free = Bytes(0);
  clock_.Advance(seconds(1));
  follower_.Look(*store_);
  EXPECT_EQ(target(), MiB(512) + held - limits_.min_capacity);
  while (store_->FlushObject(*guest_, pools_[1], ObjectId{{1}}, PageCount(4096)) ==
         FlushStatus::kMore) {
  }
  clock_.Advance(seconds(11));
  follower_.Look(*store_);
  EXPECT_EQ(target(), MiB(512));
}

TEST_F(CapacityFollowerTest, ADaemonAfterThisOneGoesOnWithTheLoan) {
  GrowToTheEnd();
  const Bytes before = target();
  CapacityFollower next(hypervisor_, clock_, Dom0Memory(proc_.Path("")));
  EXPECT_EQ(next.InitialCapacity(limits_), MiB(256));
  limits_.free_request = GiB(100);
  next.Follow(limits_);
  next.Look(*store_);
  EXPECT_EQ(target(), MiB(512)) << "nothing but what was borrowed";
  EXPECT_LT(target(), before);
  EXPECT_EQ(Value(kBorrowed), "0");
  EXPECT_EQ(next.following()->cause, Cause::kRequested);
}

TEST_F(CapacityFollowerTest, NonsenseInXenstoreIsNothingBorrowed) {
  for (const char* const nonsense : {"", "much", "18446744073709551614"}) {
    ASSERT_TRUE(hypervisor_.directory().Write(kBorrowed, nonsense));
    ASSERT_TRUE(hypervisor_.directory().Write("/tool/tmemd/stats/dom0-target-bytes", nonsense));
    CapacityFollower next(hypervisor_, clock_, Dom0Memory(proc_.Path("")));
    EXPECT_LE(next.InitialCapacity(limits_), limits_.max_capacity);
    next.Follow(limits_);
    next.Look(*store_);
    EXPECT_EQ(target(), MiB(512));
    EXPECT_LE(next.following()->borrowed, target());
  }
}

TEST_F(CapacityFollowerTest, WhatWasTakenMeanwhileIsNotBorrowedAnyMore) {
  GrowToTheEnd();
  hypervisor_.memory->target -= MiB(200);
  MoveBalloon();
  CapacityFollower next(hypervisor_, clock_, Dom0Memory(proc_.Path("")));
  next.Follow(limits_);
  next.Look(*store_);
  EXPECT_EQ(capacity(), MiB(56));
  EXPECT_EQ(next.following()->cause, Cause::kTaken);
}

TEST_F(CapacityFollowerTest, AFixedCapacityGivesBackWhatItDoesNotNeed) {
  GrowToTheEnd();
  store_->SetCapacity(MiB(40));
  follower_.Keep(MiB(40), limits_);
  Second(follower_);
  EXPECT_EQ(target(), MiB(512 + 40 - 8));
  EXPECT_EQ(follower_.due(), TimePoint::max());
  EXPECT_FALSE(follower_.following());
  EXPECT_EQ(capacity(), MiB(40));
}

TEST_F(CapacityFollowerTest, AFailedRaiseBorrowsNothing) {
  follower_.Follow(limits_);
  Put(PageClass::kEphemeral, 8);
  hypervisor_.fail_targets = true;
  const LogCapture log;
  Second(follower_);
  EXPECT_EQ(follower_.following()->borrowed, Bytes(0));
  EXPECT_EQ(follower_.following()->problem, "no balloon");
  EXPECT_THAT(log.text(), HasSubstr("cannot follow the host: no balloon"));
  EXPECT_EQ(Value(kBorrowed), "0");
}

// A daemon that is killed then would leave domain 0 with memory that nobody knows is borrowed.
TEST_F(CapacityFollowerTest, WhatCannotBeWrittenDownIsNotBorrowed) {
  follower_.Follow(limits_);
  Put(PageClass::kEphemeral, 8);
  hypervisor_.directory().FailWrites(ErrorCode::kUnavailable);
  const LogCapture log;
  Second(follower_);
  EXPECT_EQ(target(), MiB(512));
  EXPECT_EQ(follower_.following()->borrowed, Bytes(0));
  EXPECT_EQ(follower_.following()->problem, "writes fail");
  Second(follower_);
  EXPECT_EQ(log.text().find("writes fail"), log.text().rfind("writes fail")) << "told once";
  hypervisor_.directory().FailWrites(std::nullopt);
  for (int i = 0; i < 32; ++i) Second(follower_);
  EXPECT_GT(target(), MiB(512));
  EXPECT_EQ(Value(kBorrowed), fmt::format("{}", (target() - MiB(512)).value));
}

TEST_F(CapacityFollowerTest, WithoutFiguresNothingMoves) {
  follower_.Follow(limits_);
  const PhysicalMemory memory = *hypervisor_.memory;
  hypervisor_.memory.reset();
  clock_.Advance(seconds(1));
  const LogCapture log;
  follower_.Look(*store_);
  follower_.Look(*store_);
  EXPECT_THAT(follower_.following()->problem, HasSubstr("does not tell"));
  EXPECT_EQ(log.text().find("follow"), log.text().rfind("follow")) << "told once";
  hypervisor_.memory = memory;
  proc_.Write("meminfo", "");
  follower_.Look(*store_);
  EXPECT_THAT(follower_.following()->problem, HasSubstr("meminfo"));
  SetAvailable(MiB(400));
  follower_.Look(*store_);
  EXPECT_EQ(follower_.following()->problem, "");
  EXPECT_EQ(capacity(), MiB(8));
}

TEST_F(CapacityFollowerTest, TheLogTellsOfEachChangeOfDirectionOnce) {
  const LogCapture log;
  GrowToTheEnd();
  hypervisor_.memory->free = MiB(400);
  clock_.Advance(seconds(10));
  follower_.Look(*store_);
  hypervisor_.memory->free = MiB(100);
  clock_.Advance(seconds(20));
  follower_.Look(*store_);
  const std::string text = log.text();
  EXPECT_THAT(text, HasSubstr("(wanted by guests)"));
  EXPECT_THAT(text, HasSubstr("(host short of memory)"));
  EXPECT_EQ(text.find("(wanted by guests)"), text.rfind("(wanted by guests)"));
  EXPECT_EQ(text.find("(host short"), text.rfind("(host short"));
}

}  // namespace
}  // namespace tmem::daemon
