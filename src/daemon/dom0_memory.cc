#include "daemon/dom0_memory.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <system_error>

#include "daemon/text_file.h"

namespace tmem::daemon {

namespace {

// The number that follows `name` and spaces.
std::optional<uint64_t> NumberAfter(std::string_view text, std::string_view name) {
  const size_t at = text.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + name.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  uint64_t number = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  return status == std::errc() ? std::optional(number) : std::nullopt;
}

}  // namespace

Result<Dom0Memory::Reading> Dom0Memory::Read(TimePoint now) {
  const std::string path = proc_ + "/meminfo";
  const auto text = ReadTextFile(path);
  if (!text) return std::unexpected(text.error());
  const auto kib = NumberAfter(*text, "MemAvailable:");
  if (!kib || *kib > UINT64_MAX / 1024) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("{} does not say what memory is available", path));
  }
  return Reading{.available = KiB(*kib), .is_stalled = IsStalled(now)};
}

bool Dom0Memory::IsStalled(TimePoint now) {
  // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", of microseconds; the averages lag behind.
  const auto text = ReadTextFile(proc_ + "/pressure/memory");
  const auto total = text ? NumberAfter(*text, "total=") : std::nullopt;
  if (!total) return false;
  const Waited before = waited_.value_or(Waited{now, {}});
  waited_ = {now, std::chrono::microseconds(*total)};
  const Duration elapsed = now - before.until;
  return elapsed > Duration::zero() &&
         (waited_->total - before.total) * 100 >= elapsed * kStalledPercent;
}

}  // namespace tmem::daemon
