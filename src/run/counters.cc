#include "run/counters.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "base/units.h"

namespace tmem::run {

namespace {

struct Figure {
  std::string_view name;  // as in JSON
  std::string_view label;
  uint64_t Counters::* value;
};

constexpr std::array kFigures{
    Figure{"faults", "faults", &Counters::faults},
    Figure{"zero_filled", "  zeros given", &Counters::zero_filled},
    Figure{"gets", "  gets", &Counters::gets},
    Figure{"gets_found", "  gets found", &Counters::gets_found},
    Figure{"spill_reads", "  read from spill", &Counters::spill_reads},
    Figure{"read_ahead", "  read ahead", &Counters::read_ahead},
    Figure{"write_faults", "first writes", &Counters::write_faults},
    Figure{"evicted", "evicted", &Counters::evicted},
    Figure{"evicted_clean", "  unchanged", &Counters::evicted_clean},
    Figure{"evicted_zero", "  all zeros", &Counters::evicted_zero},
    Figure{"puts", "  puts", &Counters::puts},
    Figure{"puts_refused", "  puts refused", &Counters::puts_refused},
    Figure{"spilled", "  spilled to file", &Counters::spilled},
    Figure{"kept", "  kept in memory", &Counters::kept},
    Figure{"discarded", "discarded", &Counters::discarded},
    Figure{"flushes", "flushed", &Counters::flushes},
    Figure{"forks", "forks", &Counters::forks},
    Figure{"child_faults", "faults of children", &Counters::child_faults},
};

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Of the pages brought back, those that came from tmemd.
double PoolHitRatio(const Counters& counters) {
  return Ratio(counters.gets_found, counters.gets_found + counters.spill_reads);
}

// Of the evictions, those that had nothing to write.
double FreeEvictionRatio(const Counters& counters) {
  return Ratio(counters.evicted_clean + counters.evicted_zero, counters.evicted);
}

std::string Size(uint64_t pages) { return HumanBytes(Bytes(pages * kPageSize)); }

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string FormatTable(const Counters& counters, const std::string& guest) {
  std::string out = fmt::format(
      "tmemrun: guest {}\n"
      "  {:<20}{:>14} of {}\n"
      "  {:<20}{:>14}\n",
      guest, "resident, most", Size(counters.resident_peak), Size(counters.limit), "content, most",
      Size(counters.touched_peak));
  for (const Figure& figure : kFigures) {
    out += fmt::format("  {:<20}{:>14}\n", figure.label, counters.*figure.value);
  }
  out += fmt::format("  {:<20}{:>13.1f}%\n", "brought back by tmemd", 100 * PoolHitRatio(counters));
  out += fmt::format("  {:<20}{:>13.1f}%\n", "evicted for free", 100 * FreeEvictionRatio(counters));
  return out;
}

std::string FormatJson(const Counters& counters, const std::string& guest) {
  std::string out = fmt::format(
      "{{\"guest\": \"{}\", \"page_size\": {}, \"limit\": {}, \"resident_peak\": {}, "
      "\"content_peak\": {}",
      Escaped(guest), kPageSize, counters.limit, counters.resident_peak, counters.touched_peak);
  for (const Figure& figure : kFigures) {
    out += fmt::format(", \"{}\": {}", figure.name, counters.*figure.value);
  }
  out += fmt::format(", \"pool_hit_ratio\": {:.4f}, \"free_eviction_ratio\": {:.4f}}}\n",
                     PoolHitRatio(counters), FreeEvictionRatio(counters));
  return out;
}

}  // namespace tmem::run
