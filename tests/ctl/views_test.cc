#include "ctl/views.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/counters.h"

namespace tmem::ctl {
namespace {

using daemon::kPoolCounterFields;
using daemon::kRecompressionFields;
using daemon::kStoredCounterFields;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

// A number that no other field of the test's figures has.
class UniqueNumbers {
 public:
  uint64_t Next() { return next_ += 7; }

 private:
  uint64_t next_ = 1'000'003;
};

PoolCounters CountersOf(UniqueNumbers& numbers) {
  PoolCounters counters;
  for (const auto& field : kPoolCounterFields) counters.*field.member = numbers.Next();
  return counters;
}

StoredCounters StoredOf(UniqueNumbers& numbers) {
  StoredCounters stored;
  for (const auto& field : kStoredCounterFields) stored.*field.member = numbers.Next();
  return stored;
}

ConnectionInfo Connection() {
  return {.guest = {.id = {7}, .name = "db1", .uuid = Uuid{{1, 2}}},
          .state = "connected",
          .reason = "",
          .queues = 2,
          .requests = 31,
          .notifications = 32};
}

class ViewsTest : public testing::Test {
 protected:
  ViewsTest() {
    stats_.id = {7};
    stats_.counters = CountersOf(numbers_);
    for (StoredCounters& stored : stats_.stored) stored = StoredOf(numbers_);
    stats_.charged = MiB(3);
    stats_.segments[0] = MiB(5);
    stats_.segments[1] = MiB(6);
    PoolStats pool;
    pool.id = {4};
    pool.shared = true;
    pool.uuid = Uuid{{0, 9}};
    pool.sharers = 3;
    pool.counters = CountersOf(numbers_);
    pool.stored = StoredOf(numbers_);
    stats_.pools.push_back(pool);
  }

  Json Guest() { return daemon::ToJson(connection_, stats_); }

  // Each counter of the table has a line with its label and its value.
  template <class Fields, class Counters>
  static void ExpectAll(const std::string& text, const Fields& fields, const Counters& counters) {
    for (const auto& field : fields) {
      const uint64_t number = counters.*field.member;
      const std::string value =
          field.is_bytes ? HumanBytes(Bytes(number)) : fmt::format("{}", number);
      EXPECT_THAT(text, ContainsRegex(std::string(field.label) + " +" + value + "\n"));
    }
  }

  UniqueNumbers numbers_;
  ConnectionInfo connection_ = Connection();
  GuestStats stats_;
};

TEST_F(ViewsTest, ListHasALineForEachGuest) {
  stats_.settings.frozen = true;
  stats_.settings.cap = GiB(1);
  stats_.counters.gets = 200;
  stats_.counters.gets_found = 50;
  stats_.counters.puts_no_memory = 3;
  stats_.counters.puts_frozen = 4;
  const std::string text = ListView(Json::array({Guest(), Guest()}));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text,
              ContainsRegex("7  db1 +connected,frozen +100 .*3.00 MiB  1.00 GiB  25.0% +7\n"));
}

TEST_F(ViewsTest, AListOfNobodyHasItsTitlesOnly) {
  EXPECT_THAT(ListView(Json::array()), HasSubstr("ID  NAME"));
}

TEST_F(ViewsTest, ShowTellsConnectionMemoryAndSettings) {
  stats_.settings.weight = 77;
  stats_.settings.shared_auth.insert(Uuid{{0, 5}});
  EXPECT_THAT(ShowView(Guest()),
              AllOf(HasSubstr("guest 7 db1 (00000000-0000-0001-0000-000000000002)\n"),
                    HasSubstr("2 queues, 31 requests, 32 wake-ups"), HasSubstr("3.00 MiB"),
                    ContainsRegex("weight +77\n"), ContainsRegex("cap +unlimited\n"),
                    ContainsRegex("compress-persistent +fast\n"), ContainsRegex("frozen +no\n"),
                    HasSubstr("00000000-0000-0000-0000-000000000005"), Not(HasSubstr("reason"))));
}

TEST_F(ViewsTest, ShowTellsWhyAGuestWasCutOffAndWhatToDo) {
  connection_.state = "violated";
  connection_.reason = "slot out of range";
  EXPECT_THAT(ShowView(Guest()),
              AllOf(HasSubstr("slot out of range"), HasSubstr("tmemctl forgive")));
}

TEST_F(ViewsTest, CountersViewHasEveryCounter) {
  for (const auto& field : kRecompressionFields) {
    stats_.recompressed.*field.member = numbers_.Next();
  }
  const std::string text = CountersView(Guest());
  ExpectAll(text, kPoolCounterFields, stats_.counters);
  for (const StoredCounters& stored : stats_.stored) {
    ExpectAll(text, kStoredCounterFields, stored);
  }
  ExpectAll(text, kRecompressionFields, stats_.recompressed);
}

TEST_F(ViewsTest, ShowTellsHowPagesAreCompressed) {
  stats_.stored[1] = {.pages = 100,
                      .objects = 3,
                      .same_filled = 10,
                      .compressed = 60,
                      .dense = 20,
                      .dense_bytes = 2048,
                      .payload_bytes = 4096 * 40,
                      .charged_bytes = MiB(3).value};
  EXPECT_THAT(ShowView(Guest()),
              AllOf(HasSubstr("payload 160 KiB (2.50:1), segments 6.00 MiB (50.0% unused)"),
                    HasSubstr("of these 30 raw, 10 same-filled, 40 fast, 20 dense (2.00 KiB)"),
                    Not(HasSubstr("recompressed"))));
  stats_.recompressed = {
      .waiting = 4, .made_fast = 1, .made_dense = 2, .left = 3, .cpu_ns = 1'500'000'000};
  EXPECT_THAT(ShowView(Guest()),
              HasSubstr("1 fast, 2 dense, 3 left as they were, 4 wait; 1.5 s of processor"));
}

TEST_F(ViewsTest, PoolsViewHasEveryCounterOfThePool) {
  const std::string text = PoolsView(Guest());
  EXPECT_THAT(text, HasSubstr("pool 4, ephemeral, shared by 3 guests, uuid "
                              "00000000-0000-0000-0000-000000000009"));
  ExpectAll(text, kPoolCounterFields, stats_.pools[0].counters);
  ExpectAll(text, kStoredCounterFields, stats_.pools[0].stored);
}

TEST_F(ViewsTest, HostViewHasEveryFigure) {
  daemon::HostInfo host;
  host.hypervisor = "loopback";
  host.max_capacity = MiB(11);
  host.workers = 12;
  host.store.capacity = MiB(13);
  host.store.segments[0] = MiB(14);
  host.store.segments[1] = MiB(15);
  host.store.index_bytes = MiB(16);
  host.store.operations = numbers_.Next();
  host.store.segments_evicted = numbers_.Next();
  host.store.relinquished_bytes = MiB(17).value;
  host.store.freeable = MiB(18);
  host.store.scrub = {.passes = 5, .pages = 21, .corrupt = 6};
  host.store.guests = 19;
  host.store.shared_pools = 20;
  host.store.counters = CountersOf(numbers_);
  for (StoredCounters& stored : host.store.stored) stored = StoredOf(numbers_);

  EXPECT_THAT(HostView(ToJson(host)), Not(HasSubstr("follows")));
  host.following = daemon::Following{
      .seen = {.now = {},
               .host = {.free = MiB(101), .held = MiB(102), .target = {}, .maximum = {}},
               .available = MiB(103),
               .is_stalled = false,
               .capacity = {},
               .in_use = {},
               .persistent = {}},
      .borrowed = MiB(104),
      .target = MiB(105),
      .cause = daemon::Cause::kHostShort,
      .problem = "no balloon"};
  for (const char* const figure : {"101 MiB", "102 MiB", "103 MiB", "104 MiB", "105 MiB",
                                   "host short of memory", "no balloon"}) {
    EXPECT_THAT(HostView(ToJson(host)), HasSubstr(figure));
  }
  const std::string text = HostView(ToJson(host));
  EXPECT_THAT(text, HasSubstr("21 pages, 6 corrupt, 5 passes\n"));
  ExpectAll(text, kPoolCounterFields, host.store.counters);
  for (const StoredCounters& stored : host.store.stored) {
    ExpectAll(text, kStoredCounterFields, stored);
  }
  for (int mib = 11; mib <= 18; ++mib) {
    if (mib != 12) {
      EXPECT_THAT(text, HasSubstr(fmt::format(" {}.0 MiB\n", mib)));
    }
  }
  for (const uint64_t number : {uint64_t{12}, uint64_t{19}, uint64_t{20}, host.store.operations,
                                host.store.segments_evicted}) {
    EXPECT_THAT(text, HasSubstr(fmt::format(" {}\n", number)));
  }
}

TEST_F(ViewsTest, WhatIsNoAnswerThrows) {
  EXPECT_THROW(ShowView(Json::object()), nlohmann::json::exception);
  EXPECT_THROW(ListView(Json::array({1})), nlohmann::json::exception);
  EXPECT_THROW(HostView(Json("text")), nlohmann::json::exception);
}

TEST(PercentTest, OfNothingIsADash) {
  EXPECT_EQ(Percent(0, 0), "-");
  EXPECT_EQ(Percent(1, 3), "33.3%");
}

TEST(PlainViewsTest, HostChangesTellTheCapacityInForce) {
  EXPECT_EQ(HostChangesView(Json::parse(
                R"({"settings":{"capacity":"64M","spin-us":5},"capacity_bytes":134217728})")),
            "capacity 64M\nspin-us 5\ncapacity in force 128 MiB\n");
  EXPECT_EQ(HostChangesView(Json::parse(R"({"settings":{"log-level":"info"},"capacity_bytes":1})")),
            "log-level info\n");
}

TEST(PlainViewsTest, FreeableNamesTheGuests) {
  const std::string text = FreeableView(Json::parse(
      R"({"freeable_bytes":1048576,"persistent_bytes":2097152,"unused_bytes":4194304,
          "guests":[{"name":"db1","freeable_bytes":1048576,"persistent_bytes":2097152}]})"));
  EXPECT_THAT(text, HasSubstr("1.00 MiB can be given back at once; 2.00 MiB hold persistent pages; "
                              "4.00 MiB of the capacity is not in use\n"));
  EXPECT_THAT(text, ContainsRegex("db1 +1.00 MiB +2.00 MiB"));
}

TEST(PlainViewsTest, ReclaimedTellsWhyItIsNotMore) {
  const auto view = [](uint64_t given) {
    Json reclaimed{{"wanted_bytes", 4 << 20},
                   {"given_back_bytes", given},
                   {"capacity_before_bytes", 64 << 20},
                   {"capacity_bytes", 32 << 20},
                   {"ephemeral_bytes", 0},
                   {"persistent_bytes", 32 << 20}};
    return ReclaimedView(reclaimed);
  };
  EXPECT_THAT(view(4 << 20),
              HasSubstr("4.00 MiB given back; the capacity is 32.0 MiB now, it was"));
  EXPECT_THAT(view(4 << 20), Not(HasSubstr("persistent")));
  EXPECT_THAT(view(3 << 20), HasSubstr("not 4.00 MiB: 32.0 MiB hold persistent pages, which only"));
}

TEST(PlainViewsTest, NodesAreShownAsXenstoreLsDoes) {
  EXPECT_EQ(NodesView(Json::parse(R"({"nodes":[{"path":"/a","value":""},
                                     {"path":"/a/b","value":"x\u0007"}],"truncated":true})")),
            "/a = \"\"\n/a/b = \"x?\"\n... and more; name a key further down\n");
}

}  // namespace
}  // namespace tmem::ctl
