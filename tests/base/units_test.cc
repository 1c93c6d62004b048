#include "base/units.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string>
#include <type_traits>

namespace tmem {
namespace {

static_assert(!std::is_convertible_v<PageCount, Bytes>);
static_assert(!std::is_constructible_v<Bytes, PageCount>);
static_assert(!std::is_convertible_v<uint64_t, Bytes>);
static_assert(KiB(1) == Bytes(1024) && MiB(1) == KiB(1024) && GiB(1) == MiB(1024));
static_assert(MiB(3) + MiB(1) == MiB(2) * 2 && MiB(3) - MiB(1) == MiB(2) && MiB(1) < MiB(2));

Bytes ParsedBytes(std::string_view text) {
  const auto bytes = ParseBytes(text);
  EXPECT_TRUE(bytes.has_value()) << text << ": " << bytes.error().message;
  return bytes.value_or(Bytes(0));
}

TEST(ParseBytes, ReadsWhatPeopleWrite) {
  EXPECT_EQ(ParsedBytes("0"), Bytes(0));
  EXPECT_EQ(ParsedBytes("4096"), Bytes(4096));
  EXPECT_EQ(ParsedBytes("4096B"), Bytes(4096));
  EXPECT_EQ(ParsedBytes("64K"), KiB(64));
  EXPECT_EQ(ParsedBytes("64k"), KiB(64));
  EXPECT_EQ(ParsedBytes("64KB"), KiB(64));
  EXPECT_EQ(ParsedBytes("64KiB"), KiB(64));
  EXPECT_EQ(ParsedBytes("1.5G"), MiB(1536));
  EXPECT_EQ(ParsedBytes("2T"), GiB(2048));
  EXPECT_EQ(ParsedBytes("0.5K"), Bytes(512));
  EXPECT_EQ(ParsedBytes("unlimited"), kUnlimited);
}

TEST(ParseBytes, IsExactUpToTheLastBit) {
  EXPECT_EQ(ParsedBytes("18446744073709551615"), Bytes(UINT64_MAX));
  EXPECT_EQ(ParsedBytes("9007199254740993"), Bytes((1ull << 53) + 1));
  EXPECT_EQ(ParsedBytes("16777215T"), Bytes(16777215ull << 40));
}

TEST(ParseBytes, RefusesAnythingElse) {
  for (const char* text :
       {"",    " ",  "K",  "B",   ".5G",  "-1",  "+1",  "1 K",       " 1",   "1 ",     "1KK", "1iB",
        "1Ki", "1E", "1P", "1e3", "0x10", "inf", "nan", "Unlimited", "1,5G", "1.5.2G", "64M,"}) {
    const auto bytes = ParseBytes(text);
    ASSERT_FALSE(bytes.has_value()) << text;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalid) << text;
    EXPECT_NE(bytes.error().message.find("is not a size"), std::string::npos) << text;
  }
}

TEST(ParseBytes, RefusesWhatDoesNotFit64Bits) {
  for (const char* text : {"18446744073709551616", "16777216T", "18014398509481984K", "16777216.5T",
                           "99999999999999999999999999"}) {
    const auto bytes = ParseBytes(text);
    ASSERT_FALSE(bytes.has_value()) << text;
    EXPECT_NE(bytes.error().message.find("too large"), std::string::npos) << text;
  }
}

// Spread over all magnitudes, and often a round number of some unit.
rc::Gen<Bytes> AnyBytes() {
  return rc::gen::apply(
      [](uint64_t value, int down, int up) { return Bytes((value >> down) << up); },
      rc::gen::arbitrary<uint64_t>(), rc::gen::inRange(0, 64), rc::gen::element(0, 10, 20, 30, 40));
}

RC_GTEST_PROP(FormatBytes, IsReadBackToTheSameValue, ()) {
  const Bytes bytes = *AnyBytes();
  const auto parsed = ParseBytes(FormatBytes(bytes));
  RC_ASSERT(parsed.has_value());
  RC_ASSERT(*parsed == bytes);
}

RC_GTEST_PROP(ParseBytes, NeverAcceptsMoreThanItsGrammar, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("0123456789.KMGTiBb -+eE")));
  const auto bytes = ParseBytes(text);
  if (!bytes) return;
  RC_ASSERT(std::isdigit(static_cast<unsigned char>(text[0])));
  RC_ASSERT(text.find_first_of(" -+eE") == std::string::npos);
  RC_ASSERT(std::count(text.begin(), text.end(), '.') <= 1);
}

TEST(FormatBytes, PicksTheShortestExactForm) {
  EXPECT_EQ(FormatBytes(Bytes(0)), "0");
  EXPECT_EQ(FormatBytes(Bytes(1000)), "1000");
  EXPECT_EQ(FormatBytes(MiB(64)), "64M");
  EXPECT_EQ(FormatBytes(MiB(1536)), "1536M");
  EXPECT_EQ(FormatBytes(GiB(1024)), "1T");
  EXPECT_EQ(FormatBytes(GiB(1024 * 1024)), "1024T");
  EXPECT_EQ(FormatBytes(kUnlimited), "unlimited");
}

TEST(HumanBytes, ShowsThreeDigitsAndAUnit) {
  EXPECT_EQ(HumanBytes(Bytes(0)), "0 B");
  EXPECT_EQ(HumanBytes(Bytes(1023)), "1023 B");
  EXPECT_EQ(HumanBytes(KiB(1)), "1.00 KiB");
  EXPECT_EQ(HumanBytes(MiB(1500)), "1.46 GiB");
  EXPECT_EQ(HumanBytes(MiB(64)), "64.0 MiB");
  EXPECT_EQ(HumanBytes(MiB(640)), "640 MiB");
  EXPECT_EQ(HumanBytes(kUnlimited), "unlimited");
}

RC_GTEST_PROP(HumanBytes, IsWithinOnePercent, ()) {
  const Bytes bytes = *AnyBytes();
  RC_PRE(bytes != kUnlimited);
  const std::string text = HumanBytes(bytes);
  const size_t space = text.find(' ');
  RC_ASSERT(space != std::string::npos);
  const std::string unit = text.substr(space + 1);
  const std::string letters = "KMGT";
  const int power = unit == "B" ? 0 : static_cast<int>(letters.find(unit[0])) + 1;
  const double shown = std::ldexp(std::stod(text.substr(0, space)), 10 * power);
  RC_ASSERT(std::abs(shown - static_cast<double>(bytes.value)) <=
            0.01 * static_cast<double>(bytes.value));
}

Uuid ParsedUuid(std::string_view text) {
  const auto uuid = Uuid::Parse(text);
  EXPECT_TRUE(uuid.has_value()) << text << ": " << uuid.error().message;
  return uuid.value_or(Uuid{});
}

constexpr Uuid kExample{{0x0123456789abcdef, 0xfedcba9876543210}};

TEST(Uuid, HasOneTextForm) {
  EXPECT_EQ(kExample.ToString(), "01234567-89ab-cdef-fedc-ba9876543210");
  EXPECT_EQ(Uuid{}.ToString(), "00000000-0000-0000-0000-000000000000");
}

TEST(Uuid, ReadsEitherCaseWithDashesOrWithout) {
  EXPECT_EQ(ParsedUuid("01234567-89ab-cdef-fedc-ba9876543210"), kExample);
  EXPECT_EQ(ParsedUuid("01234567-89AB-CDEF-fedc-BA9876543210"), kExample);
  EXPECT_EQ(ParsedUuid("0123456789abcdeffedcba9876543210"), kExample);
}

TEST(Uuid, RefusesAnythingElse) {
  for (const char* text :
       {"", "-", "0123456789abcdef", "0123456789abcdeffedcba987654321",
        "0123456789abcdeffedcba98765432100", "0123456-789ab-cdef-fedc-ba9876543210",
        "01234567-89ab-cdef-fedcba9876543210", "01234567-89ab-cdef-fedc-ba987654321",
        "01234567-89ab-cdef-fedc-ba98765432100", "01234567--89ab-cdef-fedc-ba9876543210",
        "01234567-89ab-cdef-fedc-ba9876543210-", "-01234567-89ab-cdef-fedc-ba987654321",
        "01234567-89ab-cdef-fedc-ba987654321g", "{01234567-89ab-cdef-fedc-ba9876543210}",
        "01234567 89ab cdef fedc ba9876543210", "0123456789abcdeffedcba987654321 "}) {
    const auto uuid = Uuid::Parse(text);
    ASSERT_FALSE(uuid.has_value()) << text;
    EXPECT_EQ(uuid.error().code, ErrorCode::kInvalid) << text;
  }
}

RC_GTEST_PROP(Uuid, IsReadBackToTheSameValue, (uint64_t high, uint64_t low)) {
  const Uuid uuid{{high, low}};
  std::string text = uuid.ToString();
  RC_ASSERT(*Uuid::Parse(text) == uuid);
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  RC_ASSERT(*Uuid::Parse(text) == uuid);
  std::erase(text, '-');
  RC_ASSERT(*Uuid::Parse(text) == uuid);
}

RC_GTEST_PROP(Uuid, OneWrongCharacterIsRefused, (uint64_t high, uint64_t low)) {
  std::string text = Uuid{{high, low}}.ToString();
  const auto at = *rc::gen::inRange<size_t>(0, text.size());
  text[at] = *rc::gen::elementOf(std::string("ghxyz_/:G@` "));
  RC_ASSERT(!Uuid::Parse(text).has_value());
}

}  // namespace
}  // namespace tmem
