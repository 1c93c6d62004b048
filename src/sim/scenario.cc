#include "sim/scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>
#include <vector>

namespace tmem::sim {

namespace {

constexpr std::array<std::string_view, 2> kMemoryNames = {"anonymous", "file"};
constexpr Bytes kMaxGuestMemory = GiB(1024);

struct GuestLine {
  GuestSpec spec;
  uint32_t count = 1;
  uint32_t crowd = 1;  // what "*" means
};

template <class Enum, size_t n>
Result<Enum> Choose(std::string_view value, const std::array<std::string_view, n>& names) {
  const auto at = std::ranges::find(names, value);
  if (at != names.end()) return static_cast<Enum>(at - names.begin());
  return Fail(ErrorCode::kInvalid,
              fmt::format("'{}' is not allowed; write one of {}", value, fmt::join(names, ", ")));
}

template <class T>
Result<T> Number(std::string_view value, T min, T max) {
  T number{};
  const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
  if (read.ec == std::errc{} && read.ptr == value.data() + value.size() && number >= min &&
      number <= max) {
    return number;
  }
  return Fail(ErrorCode::kInvalid,
              fmt::format("'{}' is not allowed; write a number from {} to {}", value, min, max));
}

Result<uint32_t> Pages(std::string_view value) {
  const auto bytes = ParseBytes(value);
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes < Bytes(kPageSize) || *bytes > kMaxGuestMemory) {
    return Fail(ErrorCode::kInvalid, fmt::format("'{}' is not allowed; write a size from 4K to {}",
                                                 value, FormatBytes(kMaxGuestMemory)));
  }
  return static_cast<uint32_t>(bytes->value / kPageSize);
}

template <class T>
Result<void> Store(T& to, Result<T> value) {
  if (!value) return std::unexpected(std::move(value).error());
  to = *std::move(value);
  return {};
}

struct Field {
  std::string_view name;
  Result<void> (*read)(GuestLine& line, std::string_view value);
};

constexpr double kMaxSeconds = 1e6;

constexpr std::array<Field, 17> kFields = {{
    {"count",
     [](GuestLine& line, std::string_view value) {
       if (value != "*") return Store(line.count, Number<uint32_t>(value, 1, kMaxGuests));
       line.count = line.crowd;
       return Result<void>();
     }},
    {"workload",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.kind, Choose<WorkloadKind>(value, kWorkloadNames));
     }},
    {"memory",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.memory, Choose<MemoryKind>(value, kMemoryNames));
     }},
    {"pages", [](GuestLine& line,
                 std::string_view value) { return Store(line.spec.workload.pages, Pages(value)); }},
    {"resident", [](GuestLine& line,
                    std::string_view value) { return Store(line.spec.resident, Pages(value)); }},
    {"accesses",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.accesses, Number<uint64_t>(value, 1, UINT64_MAX));
     }},
    {"skew",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.skew, Number<double>(value, 0, 5));
     }},
    {"period",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.period, Number<double>(value, 1e-3, kMaxSeconds));
     }},
    {"phase",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.workload.phase, Number<double>(value, 0, 1));
     }},
    {"trace",
     [](GuestLine& line, std::string_view value) {
       line.spec.workload.kind = WorkloadKind::kTrace;
       return Store(line.spec.workload.trace, ReadTrace(std::string(value)));
     }},
    {"start",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.start, Number<double>(value, 0, kMaxSeconds));
     }},
    {"think",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.think, Number<double>(value, 0, kMaxSeconds));
     }},
    {"stored",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.stored, Number<double>(value, 0, 1));
     }},
    {"weight",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.settings.weight,
                    Number(value, GuestSettings::kMinWeight, GuestSettings::kMaxWeight));
     }},
    {"reserve",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.settings.reserve, ParseBytes(value));
     }},
    {"cap",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.settings.cap, ParseBytes(value));
     }},
    {"surrendered",
     [](GuestLine& line, std::string_view value) {
       return Store(line.spec.settings.surrendered, ParseBytes(value));
     }},
}};

Result<void> ReadField(GuestLine& line, std::string_view word) {
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const auto field = std::ranges::find(kFields, name, &Field::name);
  if (equals == std::string_view::npos || field == kFields.end()) {
    std::vector<std::string_view> names;
    for (const Field& known : kFields) names.push_back(known.name);
    return Fail(ErrorCode::kInvalid, fmt::format("'{}' is no setting of a guest; write NAME=VALUE, "
                                                 "with one of {}",
                                                 word, fmt::join(names, ", ")));
  }
  if (auto read = field->read(line, word.substr(equals + 1)); !read) {
    return std::unexpected(std::move(read).error().Within(name));
  }
  return {};
}

// A trace says by itself how many pages there are, and how long it is.
Result<void> Complete(GuestSpec& spec) {
  WorkloadSpec& workload = spec.workload;
  if (workload.kind == WorkloadKind::kTrace) {
    if (workload.trace.empty()) return Fail(ErrorCode::kInvalid, "workload=trace needs trace=FILE");
    workload.pages = *std::ranges::max_element(workload.trace) + 1;
    if (workload.accesses == 0) workload.accesses = workload.trace.size();
  }
  if (workload.pages == 0) return Fail(ErrorCode::kInvalid, "a guest needs pages=SIZE");
  if (spec.resident == 0) return Fail(ErrorCode::kInvalid, "a guest needs resident=SIZE");
  return spec.settings.Validate();
}

Result<void> AddGuests(Scenario& scenario, std::istringstream& words, uint32_t crowd) {
  GuestLine line;
  line.crowd = crowd;
  if (!scenario.guests.empty()) line.spec.kind = scenario.guests.back().kind + 1;
  std::string word;
  if (!(words >> line.spec.name)) return Fail(ErrorCode::kInvalid, "a guest needs a name");
  while (words >> word) TMEM_TRY(ReadField(line, word));
  TMEM_TRY(Complete(line.spec));
  if (scenario.guests.size() + line.count > kMaxGuests) {
    return Fail(ErrorCode::kInvalid, fmt::format("there may be {} guests at most", kMaxGuests));
  }
  for (uint32_t i = 0; i < line.count; ++i) {
    GuestSpec spec = line.spec;
    if (line.count > 1) spec.name += fmt::format("-{}", i + 1);
    // Crowds do not do the same thing at the same time.
    if (line.count > 1 && spec.workload.kind == WorkloadKind::kDiurnal) {
      spec.workload.phase += static_cast<double>(i) / line.count;
    }
    scenario.guests.push_back(std::move(spec));
  }
  return {};
}

Result<void> ReadLine(Scenario& scenario, const std::string& line, uint32_t crowd) {
  std::istringstream words(line.substr(0, line.find('#')));
  std::string keyword;
  if (!(words >> keyword)) return {};
  if (keyword == "guest") return AddGuests(scenario, words, crowd);
  std::string value;
  std::string more;
  words >> value;
  if (words >> more) return Fail(ErrorCode::kInvalid, fmt::format("'{}' is too much", more));
  if (keyword == "capacity") return Store(scenario.capacity, ParseBytes(value));
  if (keyword == "seconds") return Store(scenario.seconds, Number<double>(value, 1, kMaxSeconds));
  return Fail(ErrorCode::kInvalid, fmt::format("'{}' begins no line; write capacity, seconds or "
                                               "guest",
                                               keyword));
}

}  // namespace

Result<Scenario> ParseScenario(std::string_view text, const std::string& file, uint32_t crowd) {
  Scenario scenario;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (auto read = ReadLine(scenario, line, crowd); !read) {
      return std::unexpected(std::move(read).error().Within(fmt::format("{}:{}", file, number)));
    }
  }
  if (scenario.guests.empty()) return Fail(ErrorCode::kInvalid, file + ": there is no guest");
  if (scenario.capacity == Bytes(0)) {
    return Fail(ErrorCode::kInvalid, file + ": the host needs a line 'capacity SIZE'");
  }
  for (const GuestSpec& guest : scenario.guests) {
    if (scenario.seconds == 0 && guest.workload.accesses == 0) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{}: guest {} needs accesses=N, or the host a line 'seconds N'", file,
                              guest.name));
    }
  }
  return scenario;
}

}  // namespace tmem::sim
