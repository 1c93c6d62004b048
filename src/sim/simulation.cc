#include "sim/simulation.h"

#include <algorithm>
#include <memory>
#include <queue>
#include <span>
#include <utility>

#include "base/clock.h"
#include "pools/store.h"

namespace tmem::sim {

namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;
// How far a guest may be ahead of the others.
constexpr Nanoseconds kSlice = 2'000'000;
constexpr uint64_t kCloseFraction = 10;  // of the capacity
// Less says nothing about whether memory stays where it is.
constexpr size_t kLeastSeconds = 4;

class Simulation {
 public:
  Simulation(Store& store, const Scenario& scenario, const CostModel& cost, uint64_t seed)
      : store_(store),
        end_(scenario.seconds > 0 ? static_cast<Nanoseconds>(scenario.seconds * 1e9) : UINT64_MAX),
        held_(scenario.guests.size()) {
    for (size_t i = 0; i < scenario.guests.size(); ++i) {
      guests_.push_back(std::make_unique<Guest>(store, codec_, cost, scenario.guests[i],
                                                GuestId{static_cast<uint16_t>(i + 1)}, seed + i));
      due_.emplace(guests_.back()->now(), i);
    }
  }

  Outcome Run() {
    store_.Tick(TimePoint{});
    while (!due_.empty() && due_.top().first < end_) {
      const auto [now, index] = due_.top();
      due_.pop();
      while (now >= next_second_) TakeSecond();
      Guest& guest = *guests_[index];
      guest.Run(std::min(now + kSlice, end_));
      if (!guest.done()) due_.emplace(guest.now(), index);
    }
    return Result();
  }

 private:
  void TakeSecond() {
    store_.Tick(TimePoint(std::chrono::nanoseconds(next_second_)));
    next_second_ += kSecond;
    for (size_t i = 0; i < guests_.size(); ++i) held_[i].push_back(guests_[i]->Held());
    const auto present = static_cast<size_t>(
        std::ranges::count_if(guests_, [](const auto& guest) { return guest->present(); }));
    present_.push_back(present);
  }

  Outcome Result() {
    Outcome outcome;
    for (size_t i = 0; i < guests_.size(); ++i) {
      outcome.guests.push_back({guests_[i]->spec().name, guests_[i]->run(), std::move(held_[i])});
    }
    const auto [begin, end] = Together();
    outcome.convergence = Convergence(outcome, begin, end);
    if (end - begin >= kLeastSeconds)
      outcome.swing = Swing(outcome, begin + (end - begin) / 2, end);
    return outcome;
  }

  // The seconds in which all guests are there: from one, to before another.
  std::pair<size_t, size_t> Together() const {
    const auto all = [this](size_t present) { return present == guests_.size(); };
    const auto begin = std::ranges::find_if(present_, all);
    const auto end = std::find_if_not(begin, present_.end(), all);
    return {begin - present_.begin(), end - present_.begin()};
  }

  std::optional<double> Convergence(const Outcome& outcome, size_t begin, size_t end) const {
    const Bytes close(store_.Stats().capacity.value / kCloseFraction);
    const auto is_close = [&](size_t second) {
      return std::ranges::all_of(outcome.guests, [&](const Outcome::GuestOutcome& guest) {
        const Bytes held = guest.held[second];
        const Bytes at_last = guest.held[end - 1];
        return held <= at_last + close && at_last <= held + close;
      });
    };
    size_t settled = end;
    while (settled > begin && is_close(settled - 1)) --settled;
    // The end is close to itself: that it is so only there says nothing.
    if (end - settled < kLeastSeconds) return std::nullopt;
    return static_cast<double>(settled - begin);
  }

  double Swing(const Outcome& outcome, size_t begin, size_t end) const {
    uint64_t most = 0;
    for (const Outcome::GuestOutcome& guest : outcome.guests) {
      const auto held = std::span(guest.held).subspan(begin, end - begin);
      const auto [least, largest] = std::ranges::minmax(held);
      most = std::max(most, largest.value - least.value);
    }
    return static_cast<double>(most) / static_cast<double>(store_.Stats().capacity.value);
  }

  Store& store_;
  PageCodec codec_{PageCodec::Config{}};
  const Nanoseconds end_;
  Nanoseconds next_second_ = kSecond;
  std::vector<std::unique_ptr<Guest>> guests_;
  std::vector<std::vector<Bytes>> held_;
  std::vector<size_t> present_;  // guests that were there, at each second
  // When each goes on; of those at the same time the first goes first.
  std::priority_queue<std::pair<Nanoseconds, size_t>, std::vector<std::pair<Nanoseconds, size_t>>,
                      std::greater<>>
      due_;
};

}  // namespace

double Outcome::total_slowdown() const {
  GuestRun sum;
  for (const GuestOutcome& guest : guests) {
    sum.elapsed += guest.run.elapsed;
    sum.ideal += guest.run.ideal;
  }
  return sum.slowdown();
}

double Outcome::worst_slowdown() const {
  double worst = 1;
  for (const GuestOutcome& guest : guests) worst = std::max(worst, guest.run.slowdown());
  return worst;
}

double Outcome::fairness() const {
  double sum = 0;
  double squares = 0;
  for (const GuestOutcome& guest : guests) {
    const double speed = 1 / guest.run.slowdown();
    sum += speed;
    squares += speed * speed;
  }
  return sum * sum / (static_cast<double>(guests.size()) * squares);
}

uint64_t Outcome::disk_reads() const {
  uint64_t sum = 0;
  for (const GuestOutcome& guest : guests) sum += guest.run.disk_reads;
  return sum;
}

Result<Outcome> Simulate(const Scenario& scenario, const PolicySettings& policy,
                         const CostModel& cost, uint64_t seed) {
  auto store = Store::Create(
      {.capacity = scenario.capacity, .max_capacity = scenario.capacity, .policy = policy});
  if (!store) return std::unexpected(std::move(store).error());
  return Simulation(**store, scenario, cost, seed).Run();
}

}  // namespace tmem::sim
