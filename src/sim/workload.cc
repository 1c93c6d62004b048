#include "sim/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <numbers>
#include <unordered_map>

namespace tmem::sim {

namespace {

constexpr double kNanosecondsPerSecond = 1e9;

// Ranks by popularity, by inverting the cumulative distribution.
class Zipf {
 public:
  Zipf(uint32_t count, double skew) {
    cumulative_.reserve(count);
    double sum = 0;
    for (uint32_t rank = 1; rank <= count; ++rank) {
      cumulative_.push_back(sum += std::pow(rank, -skew));
    }
  }
  // A rank among the first `count`.
  uint32_t Pick(Random& random, uint32_t count) const {
    const double at = random.Fraction() * cumulative_[count - 1];
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.begin() + count - 1, at);
    return static_cast<uint32_t>(found - cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

class Usemem final : public Workload {
 public:
  explicit Usemem(uint32_t pages) : pages_(pages), used_(std::max(pages / kSteps, 1u)) {}

  uint32_t Next(Nanoseconds) override {
    const uint32_t page = next_++;
    if (next_ == used_) {
      next_ = 0;
      used_ = std::min(pages_, used_ + std::max(pages_ / kSteps, 1u));
    }
    return page;
  }

 private:
  static constexpr uint32_t kSteps = 8;
  const uint32_t pages_;
  uint32_t used_;
  uint32_t next_ = 0;
};

class Graph final : public Workload {
 public:
  Graph(uint32_t pages, double skew, uint64_t seed)
      : pages_(pages),
        vertices_(std::max(pages * 2 / 5, 1u)),
        popularity_(vertices_, skew),
        random_(seed) {}

  uint32_t Next(Nanoseconds) override {
    if (loaded_ < pages_) return loaded_++;
    edge_turn_ = !edge_turn_;
    if (!edge_turn_ || vertices_ == pages_) return popularity_.Pick(random_, vertices_);
    if (edge_ == pages_ - vertices_) edge_ = 0;
    return vertices_ + edge_++;
  }

 private:
  const uint32_t pages_;
  const uint32_t vertices_;
  const Zipf popularity_;
  Random random_;
  uint32_t loaded_ = 0;
  uint32_t edge_ = 0;
  bool edge_turn_ = false;
};

class ZipfReads final : public Workload {
 public:
  ZipfReads(uint32_t pages, double skew, uint64_t seed)
      : pages_(pages), popularity_(pages, skew), random_(seed) {}

  uint32_t Next(Nanoseconds) override { return popularity_.Pick(random_, pages_); }

 private:
  const uint32_t pages_;
  const Zipf popularity_;
  Random random_;
};

class Scan final : public Workload {
 public:
  explicit Scan(uint32_t pages) : pages_(pages) {}
  uint32_t Next(Nanoseconds) override { return next_++ % pages_; }

 private:
  const uint32_t pages_;
  uint32_t next_ = 0;
};

class Diurnal final : public Workload {
 public:
  Diurnal(const WorkloadSpec& spec, uint64_t seed)
      : pages_(spec.pages),
        period_(spec.period),
        phase_(spec.phase),
        popularity_(spec.pages, spec.skew),
        random_(seed) {}

  uint32_t Next(Nanoseconds now) override {
    const double days = static_cast<double>(now) / kNanosecondsPerSecond / period_ + phase_;
    // A fifth of the memory at night, all of it at noon.
    const double part = 0.6 - 0.4 * std::cos(2 * std::numbers::pi * days);
    const auto active = static_cast<uint32_t>(part * pages_);
    return popularity_.Pick(random_, std::clamp(active, 1u, pages_));
  }

 private:
  const uint32_t pages_;
  const double period_;
  const double phase_;
  const Zipf popularity_;
  Random random_;
};

class Trace final : public Workload {
 public:
  explicit Trace(std::vector<uint32_t> pages) : pages_(std::move(pages)) {}
  uint32_t Next(Nanoseconds) override { return pages_[next_++ % pages_.size()]; }

 private:
  const std::vector<uint32_t> pages_;
  size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Workload> MakeWorkload(const WorkloadSpec& spec, uint64_t seed) {
  switch (spec.kind) {
    case WorkloadKind::kUsemem:
      return std::make_unique<Usemem>(spec.pages);
    case WorkloadKind::kGraph:
      return std::make_unique<Graph>(spec.pages, spec.skew, seed);
    case WorkloadKind::kZipf:
      return std::make_unique<ZipfReads>(spec.pages, spec.skew, seed);
    case WorkloadKind::kScan:
      return std::make_unique<Scan>(spec.pages);
    case WorkloadKind::kDiurnal:
      return std::make_unique<Diurnal>(spec, seed);
    case WorkloadKind::kTrace:
      return std::make_unique<Trace>(spec.trace);
  }
  return nullptr;
}

Result<std::vector<uint32_t>> ReadTrace(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::unexpected(SystemError(path));
  std::vector<uint32_t> trace;
  std::unordered_map<uint64_t, uint32_t> numbers;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line.front() == '#') continue;
    const bool hexadecimal = line.starts_with("0x");
    const char* const begin = line.data() + (hexadecimal ? 2 : 0);
    const char* const end = line.data() + line.size();
    uint64_t page = 0;
    const auto read = std::from_chars(begin, end, page, hexadecimal ? 16 : 10);
    if (read.ec != std::errc{} || read.ptr != end) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{}:{}: '{}' is no page number; write one number a line", path,
                              number, line));
    }
    const auto known = numbers.emplace(page, static_cast<uint32_t>(numbers.size())).first;
    trace.push_back(known->second);
  }
  if (trace.empty()) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: the trace has no page numbers", path));
  }
  return trace;
}

}  // namespace tmem::sim
