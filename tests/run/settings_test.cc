#include "run/settings.h"

#include <gtest/gtest.h>

namespace tmem::run {
namespace {

TEST(Settings, ReadBackWhatTheyEncode) {
  Settings settings;
  settings.resident = MiB(123);
  settings.guest = "sort-17";
  settings.socket = "/a path/with = and space.sock";
  settings.spill = "none";
  settings.stats_json = "/tmp/x.json";
  settings.stats = true;
  settings.children = true;
  settings.read_ahead = 5;
  settings.process = 4711;
  settings.started = true;
  const auto decoded = Settings::Decode(settings.Encode());
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->resident, settings.resident);
  EXPECT_EQ(decoded->guest, settings.guest);
  EXPECT_EQ(decoded->socket, settings.socket);
  EXPECT_EQ(decoded->spill, settings.spill);
  EXPECT_EQ(decoded->stats_json, settings.stats_json);
  EXPECT_TRUE(decoded->stats && decoded->children && decoded->started);
  EXPECT_EQ(decoded->read_ahead, 5u);
  EXPECT_EQ(decoded->process, 4711);
}

TEST(Settings, RefuseWhatTheyDoNotKnow) {
  for (const char* text : {"resident=12x\n", "colour=red\n", "stats=yes\n", "resident\n"}) {
    const auto decoded = Settings::Decode(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  }
}

}  // namespace
}  // namespace tmem::run
