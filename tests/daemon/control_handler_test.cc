#include "daemon/control_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "daemon/control_protocol.h"
#include "daemon/counters.h"
#include "daemon/fake_administration.h"
#include "daemon/version.h"
#include "hypercall/fake_hypervisor.h"

namespace tmem::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kUuid[] = "00000000-0000-0001-0000-000000000002";

class ControlHandlerTest : public testing::Test {
 protected:
  ControlHandlerTest() {
    administration_.AddGuest(1, "db1");
    administration_.AddGuest(2, "web");
  }

  Json Answer(const std::string& line) {
    const std::string answer = handler_.Handle(line);
    EXPECT_EQ(answer.find('\n'), std::string::npos);
    const Json json = Json::parse(answer);
    EXPECT_EQ(json["version"], kControlVersion);
    EXPECT_TRUE(json["ok"].is_boolean());
    return json;
  }

  // The result of a request that must succeed.
  Json Ask(std::string_view verb, Json fields = Json::object()) {
    fields["version"] = kControlVersion;
    fields["verb"] = verb;
    const Json answer = Answer(fields.dump());
    EXPECT_TRUE(answer["ok"]) << answer;
    return answer.value("result", Json());
  }

  // "code: message" of a request that must fail.
  std::string Fault(std::string_view verb, Json fields = Json::object()) {
    fields["version"] = kControlVersion;
    fields["verb"] = verb;
    return FaultOf(fields.dump());
  }

  std::string FaultOf(const std::string& line) {
    const Json answer = Answer(line);
    EXPECT_FALSE(answer["ok"]) << answer;
    EXPECT_FALSE(answer.contains("result"));
    return answer["error"]["code"].get<std::string>() + ": " +
           answer["error"]["message"].get<std::string>();
  }

  const GuestSettings& settings(uint16_t id) { return administration_.stats(id).settings; }

  FakeAdministration administration_;
  ControlHandler handler_{administration_};
};

TEST_F(ControlHandlerTest, TellsVersions) {
  const Json version = Ask("version");
  EXPECT_EQ(version["tmemd"], Version());
  EXPECT_EQ(version["protocol"], kControlVersion);
}

TEST_F(ControlHandlerTest, ListsAllGuests) {
  const Json guests = Ask("list");
  ASSERT_EQ(guests.size(), 2u);
  EXPECT_EQ(guests[0]["id"], 1);
  EXPECT_EQ(guests[0]["name"], "db1");
  EXPECT_EQ(guests[1]["name"], "web");
}

TEST_F(ControlHandlerTest, ShowsOneGuestByNumberOrName) {
  EXPECT_EQ(Ask("show", {{"guest", "2"}})["name"], "web");
  EXPECT_EQ(Ask("show", {{"guest", "db1"}})["id"], 1);
  EXPECT_THAT(Fault("show", {{"guest", "nobody"}}), HasSubstr("not-found: no guest 'nobody'"));
  EXPECT_THAT(Fault("show", {{"guest", 1}}), HasSubstr("must be a string"));
}

TEST_F(ControlHandlerTest, StatsCarryEveryCounter) {
  GuestStats& stats = administration_.stats(1);
  uint64_t next = 1;
  for (const auto& field : kPoolCounterFields) stats.counters.*field.member = next++;
  for (const auto& field : kStoredCounterFields) stats.stored[1].*field.member = next++;
  PoolStats pool;
  pool.id = {3};
  pool.shared = true;
  pool.uuid = *Uuid::Parse(kUuid);
  pool.sharers = 2;
  stats.pools.push_back(pool);
  stats.recompressed.waiting = 88;
  administration_.store().index_bytes = Bytes(77);

  const Json answer = Ask("stats");
  EXPECT_EQ(answer["host"]["index_bytes"], 77);
  const Json& guest = answer["guests"][0];
  next = 1;
  for (const auto& field : kPoolCounterFields) EXPECT_EQ(guest["counters"][field.key], next++);
  for (const auto& field : kStoredCounterFields) {
    EXPECT_EQ(guest["stored"]["persistent"][field.key], next++);
  }
  EXPECT_EQ(guest["recompressed"]["waiting"], 88);
  EXPECT_EQ(guest["pools"][0]["id"], 3);
  EXPECT_EQ(guest["pools"][0]["uuid"], kUuid);
  EXPECT_EQ(guest["pools"][0]["sharers"], 2);
  EXPECT_EQ(Ask("stats", {{"guest", "db1"}}), guest);
}

TEST_F(ControlHandlerTest, ExplainsAGuestsShare) {
  administration_.store().capacity = MiB(64);
  administration_.store().segments[static_cast<size_t>(PageClass::kPersistent)] = MiB(9);
  administration_.stats(1).charged = MiB(3);
  GuestShare& share = administration_.share(1);
  share.weight = 100;
  share.weights = 300;
  share.entitled = kUnlimited;
  share.reserve = MiB(2);
  share.refusals.Add(Refusal::kReserves);
  share.refusals.Add(Refusal::kCap);
  share.refusals.Add(Refusal::kCap);
  share.evictions.Add(Eviction::kShrunk);
  administration_.history(1).assign(90,
                                    {.puts = 5, .puts_refused = 2, .evicted = 1, .seconds = 10});
  const Json explained = Ask("explain", {{"guest", "1"}});
  EXPECT_EQ(explained["name"], "db1");
  EXPECT_EQ(explained["charged_bytes"], MiB(3).value);
  EXPECT_EQ(explained["settings"]["weight"], 100);
  EXPECT_EQ(explained["share"]["policy"], "max-min");
  EXPECT_EQ(explained["share"]["reserve_bytes"], MiB(2).value);
  EXPECT_EQ(explained["share"]["entitled_bytes"], MiB(64).value) << "not more than there is";
  EXPECT_EQ(explained["refusals"], Json::parse(R"({"frozen": 0, "cap": 2, "entitlement": 0,
                                                   "reserves": 1, "capacity": 0, "last": "cap"})"));
  EXPECT_EQ(explained["evictions"]["shrunk"], 1);
  EXPECT_EQ(explained["evictions"]["last"], "shrunk");
  EXPECT_EQ(explained["lately"],
            Json::parse(R"({"seconds": 600.0, "puts": 300, "puts_refused": 120, "evicted": 60})"));
  EXPECT_EQ(explained["host"]["persistent_bytes"], MiB(9).value);
  EXPECT_TRUE(Ask("explain", {{"guest", "web"}})["refusals"]["last"].is_null());
  EXPECT_THAT(Fault("explain", {{"guest", "nobody"}}), HasSubstr("no guest 'nobody'"));
}

TEST_F(ControlHandlerTest, TellsAGuestsHistory) {
  administration_.history(1) = {{.used_bytes = 1 << 20,
                                 .ephemeral_pages = 2,
                                 .persistent_pages = 3,
                                 .puts = 4,
                                 .puts_refused = 5,
                                 .gets = 6,
                                 .gets_found = 7,
                                 .evicted = 8,
                                 .seconds = 10},
                                {.puts = 9, .seconds = 2.5}};
  EXPECT_EQ(Ask("history", {{"guest", "db1"}}), Json::parse(R"({
      "id": 1, "name": "db1", "seconds": [10.0, 2.5], "used_bytes": [1048576, 0],
      "ephemeral_pages": [2, 0], "persistent_pages": [3, 0], "puts": [4, 9],
      "puts_refused": [5, 0], "gets": [6, 0], "gets_found": [7, 0], "evicted": [8, 0]})"));
  EXPECT_THAT(Fault("history", {{"guest", "nobody"}}), HasSubstr("no guest 'nobody'"));
  EXPECT_THAT(Fault("history"), HasSubstr("field 'guest' must be a string"));
}

TEST_F(ControlHandlerTest, SetChangesSeveralSettingsAtOnce) {
  const Json settings_now = Ask(
      "set",
      {{"guest", "db1"}, {"settings", {{"weight", 200}, {"cap", "64M"}, {"compress", "dense"}}}});
  EXPECT_EQ(settings(1).weight, 200u);
  EXPECT_EQ(settings(1).cap, MiB(64));
  EXPECT_EQ(settings(1).compress[0], CompressMode::kDense);
  EXPECT_EQ(settings_now["weight"], 200);
  EXPECT_EQ(settings_now["cap"], 64 << 20);
}

TEST_F(ControlHandlerTest, SetIsAllOrNothing) {
  EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", {{"weight", 200}, {"cap", "1X"}}}}),
              HasSubstr("invalid: cap: \"1X\" is not allowed"));
  EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", {{"weight", 200}, {"size", 1}}}}),
              HasSubstr("not-found: a guest has no setting 'size'"));
  EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", {{"reserve", "2M"}, {"cap", "1M"}}}}),
              HasSubstr("invalid: "));
  EXPECT_EQ(settings(1), GuestSettings{});
}

TEST_F(ControlHandlerTest, SetNeedsSettings) {
  for (const Json& bad : {Json(), Json(5), Json::array(), Json::object()}) {
    EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", bad}}), HasSubstr("at least one"));
  }
  for (const Json& bad : {Json(1.5), Json(), Json::object(), Json(UINT64_MAX), Json({1})}) {
    EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", {{"weight", bad}}}}),
                HasSubstr("weight: no setting takes this kind of value"));
  }
}

TEST_F(ControlHandlerTest, FreezesAndThawsOneOrAll) {
  EXPECT_EQ(Ask("freeze", {{"guest", "db1"}})["guests"], 1);
  EXPECT_TRUE(settings(1).frozen);
  EXPECT_FALSE(settings(2).frozen);
  EXPECT_EQ(Ask("freeze")["guests"], 2);
  EXPECT_TRUE(settings(2).frozen);
  EXPECT_EQ(Ask("thaw")["guests"], 2);
  EXPECT_FALSE(settings(1).frozen);
}

TEST_F(ControlHandlerTest, FlushesOneOrAll) {
  EXPECT_EQ(Ask("flush", {{"guest", "web"}})["freed_bytes"], 1 << 20);
  EXPECT_THAT(administration_.flushed(), ElementsAre(GuestId{2}));
  EXPECT_EQ(Ask("flush")["freed_bytes"], 2 << 20);
  EXPECT_THAT(Fault("flush", {{"guest", "nobody"}}), HasSubstr("not-found"));
}

TEST_F(ControlHandlerTest, AuthorizesAndRevokes) {
  const Json allow = {{"guest", "db1"}, {"uuid", kUuid}, {"allow", true}};
  EXPECT_THAT(Ask("auth", allow)["shared-auth"], ElementsAre(kUuid));
  EXPECT_THAT(settings(1).shared_auth, ElementsAre(*Uuid::Parse(kUuid)));
  const Json deny = {{"guest", "db1"}, {"uuid", kUuid}, {"allow", false}};
  Ask("auth", deny);
  EXPECT_TRUE(settings(1).shared_auth.empty());
  Ask("auth", deny);  // what is not there can be denied
  EXPECT_THAT(Fault("auth", {{"guest", "db1"}, {"uuid", "xyz"}, {"allow", true}}),
              HasSubstr("'xyz' is not a uuid"));
  EXPECT_THAT(Fault("auth", {{"guest", "db1"}, {"uuid", kUuid}, {"allow", "yes"}}),
              HasSubstr("field 'allow' must be true or false"));
}

TEST_F(ControlHandlerTest, SetsTheHostsSettings) {
  const Json done = Ask("set", {{"settings", {{"capacity", "512M"}, {"log-level", "debug"}}}});
  EXPECT_EQ(done["capacity_bytes"], 512 << 20);
  EXPECT_EQ(done["settings"], Json({{"capacity", "512M"}, {"log-level", "debug"}}));
  EXPECT_EQ(administration_.config().log_level, LogLevel::kDebug);
  EXPECT_EQ(Ask("set", {{"settings", {{"capacity", 1 << 30}}}})["capacity_bytes"], 1 << 30);
  EXPECT_EQ(Ask("set", {{"settings", {{"log-level", "default"}}}})["settings"]["log-level"],
            "info");
  EXPECT_EQ(Ask("show")["capacity"], "1G");
}

TEST_F(ControlHandlerTest, RefusesHostSettingsThatAreWrong) {
  const auto fault = [&](const char* name, const Json& value) {
    return Fault("set", {{"settings", {{name, value}}}});
  };
  EXPECT_THAT(fault("capacity", "2G"), HasSubstr("max-capacity"));
  EXPECT_THAT(fault("capacity", "1K"), HasSubstr("at least 1M"));
  EXPECT_THAT(fault("capacity", "unlimited"), HasSubstr("not allowed"));
  EXPECT_THAT(fault("log-level", "loud"), HasSubstr("one of \"error\""));
  EXPECT_THAT(fault("workers", 4),
              HasSubstr("unsupported: workers cannot change while tmemd runs"));
  EXPECT_THAT(fault("wrokers", 4), HasSubstr("not-found: there is no setting 'wrokers'"));
  EXPECT_EQ(administration_.config().capacity, Config{}.capacity);
}

TEST_F(ControlHandlerTest, PersistsGuestsSettingsOnly) {
  Ask("set", {{"guest", "db1"}, {"settings", {{"weight", 9}}}, {"persist", true}});
  Ask("set", {{"guest", "web"}, {"settings", {{"weight", 9}}}, {"persist", false}});
  EXPECT_THAT(administration_.persisted(), ElementsAre(GuestId{1}));
  EXPECT_THAT(Fault("set", {{"settings", {{"capacity", "64M"}}}, {"persist", true}}),
              HasSubstr("only guests' settings can be persisted"));
  EXPECT_THAT(Fault("set", {{"guest", "db1"}, {"settings", {{"weight", 9}}}, {"persist", "yes"}}),
              HasSubstr("field 'persist' must be true or false"));
}

TEST_F(ControlHandlerTest, TakesBackWhatWasSet) {
  Ask("set", {{"guest", "db1"}, {"settings", {{"weight", 9}, {"compress", "off"}}}});
  Ask("set", {{"guest", "db1"}, {"settings", {{"compress", "default"}}}});
  EXPECT_EQ(settings(1).weight, 9u);
  EXPECT_EQ(settings(1).compress[1], CompressMode::kFast);
}

TEST_F(ControlHandlerTest, ReclaimsAndTellsWhatItGot) {
  administration_.SetReclaimable(MiB(10));
  const Json part = Ask("reclaim", {{"bytes", "16M"}});
  EXPECT_EQ(part["wanted_bytes"], 16 << 20);
  EXPECT_EQ(part["given_back_bytes"], 10 << 20);
  EXPECT_EQ(part["persistent_bytes"], 30 << 20);
  EXPECT_THAT(Fault("reclaim"), HasSubstr("field 'bytes' must be a size"));
  EXPECT_THAT(Fault("reclaim", {{"bytes", "much"}}), HasSubstr("bytes: \"much\" is not allowed"));
  EXPECT_THAT(Fault("reclaim", {{"bytes", "0"}}), HasSubstr("nothing to reclaim"));
}

TEST_F(ControlHandlerTest, TellsWhatIsFreeable) {
  administration_.store().capacity = MiB(64);
  administration_.store().segments[0] = MiB(10);
  administration_.store().segments[1] = MiB(20);
  administration_.stats(1).segments[0] = MiB(10);
  administration_.stats(2).segments[1] = MiB(20);
  const Json freeable = Ask("freeable");
  EXPECT_EQ(freeable["freeable_bytes"], 10 << 20);
  EXPECT_EQ(freeable["persistent_bytes"], 20 << 20);
  EXPECT_EQ(freeable["unused_bytes"], 34 << 20);
  EXPECT_EQ(freeable["guests"][0]["freeable_bytes"], 10 << 20);
  EXPECT_EQ(freeable["guests"][1]["persistent_bytes"], 20 << 20);
}

TEST_F(ControlHandlerTest, NodesOfADirectoryWithoutTools) {
  EXPECT_THAT(Fault("xenstore-read", {{"path", "/a"}}),
              HasSubstr("unsupported: use xenstore-read"));
  FakeDirectory directory;
  administration_.SetDirectory(&directory);
  Ask("xenstore-write", {{"path", "/a/b"}, {"value", "1"}});
  EXPECT_EQ(Ask("xenstore-read", {{"path", "/a/b"}})["value"], "1");
  EXPECT_EQ(Ask("xenstore-list", {{"path", "/a"}})["nodes"],
            Json::parse(R"([{"path":"/a","value":""},{"path":"/a/b","value":"1"}])"));
  Ask("xenstore-remove", {{"path", "/a"}});
  EXPECT_THAT(Fault("xenstore-read", {{"path", "/a/b"}}), HasSubstr("not-found"));
  EXPECT_THAT(Fault("xenstore-list", {{"path", "/a"}}), HasSubstr("not-found"));
  EXPECT_THAT(Fault("xenstore-write", {{"path", "/a"}}), HasSubstr("field 'value'"));
  EXPECT_THAT(Fault("xenstore-write", {{"value", "/a"}}), HasSubstr("field 'path'"));
}

TEST_F(ControlHandlerTest, Forgives) {
  Ask("forgive", {{"guest", "db1"}});
  EXPECT_THAT(administration_.forgiven(), ElementsAre(GuestId{1}));
}

TEST_F(ControlHandlerTest, RefusesWhatIsNoRequest) {
  for (const char* line :
       {"", "{", "[]", "5", "null", "\"list\"", "{\"version\":1}{}", "\xff\xfe"}) {
    EXPECT_THAT(FaultOf(line), HasSubstr("invalid: a request is one JSON object")) << line;
  }
}

// As deep as a request can be: nothing here may follow the nesting on the stack.
TEST_F(ControlHandlerTest, RefusesDeepNesting) {
  const std::string deep(kMaxRequestBytes - 100, '[');
  EXPECT_THAT(FaultOf(deep), HasSubstr("invalid: "));
  const std::string closed =
      std::string(kMaxRequestBytes / 2 - 100, '[') + std::string(kMaxRequestBytes / 2 - 100, ']');
  EXPECT_THAT(FaultOf(R"({"version":1,"verb":"show","guest":)" + closed + "}"),
              HasSubstr("invalid: field 'guest' must be a string"));
  EXPECT_THAT(
      FaultOf(R"({"version":1,"verb":"set","guest":"db1","settings":{"weight":)" + closed + "}}"),
      HasSubstr("invalid: "));
}

TEST_F(ControlHandlerTest, RefusesOtherVersions) {
  EXPECT_THAT(FaultOf(R"({"verb":"list"})"), HasSubstr("unsupported: this tmemd speaks version 1"));
  EXPECT_THAT(FaultOf(R"({"version":2,"verb":"list"})"), HasSubstr("unsupported: "));
  EXPECT_THAT(FaultOf(R"({"version":"1","verb":"list"})"), HasSubstr("unsupported: "));
}

TEST_F(ControlHandlerTest, RefusesUnknownVerbsAndFields) {
  EXPECT_THAT(Fault("explode"), HasSubstr("unsupported: there is no verb 'explode'"));
  EXPECT_THAT(FaultOf(R"({"version":1,"verb":7})"), HasSubstr("'verb' must be a string"));
  EXPECT_THAT(Fault("list", {{"geust", "db1"}}), HasSubstr("verb 'list' has no field 'geust'"));
}

TEST_F(ControlHandlerTest, AnswersToTooLongRequestsAreAnswers) {
  const Json answer = Json::parse(ControlHandler::TooLong());
  EXPECT_EQ(answer["ok"], false);
}

TEST_F(ControlHandlerTest, NamesThatAreNoUtf8DoNotBreakTheAnswer) {
  administration_.AddGuest(3, "a\xff\xfe");
  EXPECT_EQ(Ask("list").size(), 3u);
}

// A guest that calls itself "1" must not be reached by administrators who mean guest 1.
TEST_F(ControlHandlerTest, NumbersComeBeforeNames) {
  administration_.AddGuest(3, "1");
  EXPECT_EQ(Ask("show", {{"guest", "1"}})["id"], 1);
}

RC_GTEST_FIXTURE_PROP(ControlHandlerTest, AnyBytesGetOneLineOfJson, (const std::string& line)) {
  const Json answer = Json::parse(handler_.Handle(line));
  RC_ASSERT(answer["ok"] == false);
}

}  // namespace
}  // namespace tmem::daemon
