#include "base/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace tmem {

namespace {

constexpr std::string_view kUnitLetters = "KMGT";

// The power of 1024 that a suffix stands for, or -1.
int UnitPower(std::string_view suffix) {
  if (suffix.empty() || suffix == "B") return 0;
  const char letter = static_cast<char>(suffix[0] & ~0x20);
  const size_t at = kUnitLetters.find(letter);
  if (at == std::string_view::npos) return -1;
  const std::string_view rest = suffix.substr(1);
  if (!rest.empty() && rest != "B" && rest != "iB") return -1;
  return static_cast<int>(at) + 1;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr size_t kUuidDigits = 32;

bool DashBelongsBefore(size_t digit) {
  return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

}  // namespace

std::string Uuid::ToString() const {
  std::string text;
  for (size_t digit = 0; digit < kUuidDigits; ++digit) {
    if (DashBelongsBefore(digit)) text += '-';
    const uint64_t word = words[digit / 16];
    text += "0123456789abcdef"[(word >> (60 - 4 * (digit % 16))) & 0xf];
  }
  return text;
}

Result<Uuid> Uuid::Parse(std::string_view text) {
  Uuid uuid;
  size_t digits = 0;
  const bool dashed = text.find('-') != std::string_view::npos;
  bool bad = false;
  for (size_t i = 0; i < text.size() && !bad; ++i) {
    if (dashed && DashBelongsBefore(digits) && i == digits + (digits - 8) / 4) {
      bad = text[i] != '-';
      continue;
    }
    const int value = HexDigit(text[i]);
    bad = value < 0 || digits == kUuidDigits;
    if (bad) break;
    uint64_t& word = uuid.words[digits / 16];
    word = word << 4 | static_cast<uint64_t>(value);
    ++digits;
  }
  if (bad || digits != kUuidDigits) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not a uuid; write 32 hexadecimal digits as "
                            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
                            text));
  }
  return uuid;
}

Result<Bytes> ParseBytes(std::string_view text) {
  if (text == "unlimited") return kUnlimited;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const int power = status == std::errc() ? UnitPower({rest, end}) : -1;
  const bool starts_with_digit = !text.empty() && text[0] >= '0' && text[0] <= '9';
  if (power < 0 || !starts_with_digit) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not a size; write a number with K, M, G or T, as in 64M, or "
                            "'unlimited'",
                            text));
  }
  // Whole numbers are computed exactly; a double would round above 2^53.
  uint64_t whole = 0;
  const auto [whole_end, whole_status] = std::from_chars(text.data(), rest, whole);
  if (whole_status == std::errc() && whole_end == rest) {
    if (whole > (UINT64_MAX >> (10 * power))) {
      return Fail(ErrorCode::kInvalid, fmt::format("'{}' is too large", text));
    }
    return Bytes(whole << (10 * power));
  }
  const double bytes = std::ldexp(number, 10 * power);
  if (!(bytes < 0x1p63)) return Fail(ErrorCode::kInvalid, fmt::format("'{}' is too large", text));
  return Bytes(static_cast<uint64_t>(bytes));
}

std::string FormatBytes(Bytes bytes) {
  if (bytes == kUnlimited) return "unlimited";
  uint64_t value = bytes.value;
  size_t power = 0;
  while (value != 0 && value % 1024 == 0 && power < kUnitLetters.size()) {
    value /= 1024;
    ++power;
  }
  return power == 0 ? fmt::format("{}", value)
                    : fmt::format("{}{}", value, kUnitLetters[power - 1]);
}

std::string HumanBytes(Bytes bytes) {
  if (bytes == kUnlimited) return "unlimited";
  double value = static_cast<double>(bytes.value);
  size_t power = 0;
  while (value >= 1024 && power < kUnitLetters.size()) {
    value /= 1024;
    ++power;
  }
  if (power == 0) return fmt::format("{} B", bytes.value);
  const int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
  return fmt::format("{:.{}f} {}iB", value, decimals, kUnitLetters[power - 1]);
}

}  // namespace tmem
