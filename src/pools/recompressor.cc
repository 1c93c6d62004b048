#include "pools/recompressor.h"

#include <algorithm>

namespace tmem {

namespace {

// Pages between two looks at the processor's time, which costs about a tenth of a page.
constexpr int kPagesAStep = 16;

bool IsAuto(const GuestSettings& settings, PageClass page_class) {
  return settings.compress[static_cast<size_t>(page_class)] == CompressMode::kAuto;
}

}  // namespace

TimePoint Recompressor::Run(TimePoint now, const FirstFrom& first_from, PageCodec& codec) {
  ++round_;
  TimePoint due = TimePoint::max();
  for (uint32_t from = 0; from <= UINT16_MAX; ++from) {
    const auto guest = first_from(GuestId{static_cast<uint16_t>(from)});
    if (guest == nullptr) break;
    from = guest->id().value;
    auto [at, is_new] = progress_.try_emplace(guest->id());
    if (is_new) at->second.refilled = at->second.next_pass = now;
    at->second.round = round_;
    due = std::min(due, RunFor(*guest, at->second, now, codec));
  }
  std::erase_if(progress_, [this](const auto& each) { return each.second.round != round_; });
  return due;
}

TimePoint Recompressor::RunFor(Guest& guest, Progress& progress, TimePoint now, PageCodec& codec) {
  const GuestSettings settings = guest.settings();
  const Duration earned = (now - progress.refilled) * settings.compress_cpu / 100;
  progress.budget = std::min(progress.budget + earned, kMostSaved);
  progress.refilled = now;
  const Duration start = cpu_time_();
  Duration spent{0};
  bool more = true;
  while (more && spent < std::min(progress.budget, kSlice)) {
    more = Step(guest, settings, progress, now, codec);
    spent = cpu_time_() - start;
  }
  progress.budget -= spent;
  guest.NoteRecompression(spent);
  if (!more) {
    return IsAuto(settings, PageClass::kPersistent) && settings.dense_after > 0 ? progress.next_pass
                                                                                : TimePoint::max();
  }
  if (progress.budget > Duration(0)) return now;
  // As soon as a slice is earned.
  return now + (kSlice - progress.budget) * 100 / settings.compress_cpu;
}

bool Recompressor::Step(Guest& guest, const GuestSettings& settings, Progress& progress,
                        TimePoint now, PageCodec& codec) {
  Keyspace& keyspace = guest.keyspace();
  if (keyspace.backlog().size() > 0) {
    for (int i = 0; i < kPagesAStep && keyspace.CompressNext(codec); ++i) {
    }
    return true;
  }
  if (!IsAuto(settings, PageClass::kPersistent) || settings.dense_after == 0) return false;
  if (progress.place.partition == Keyspace::kPartitions) {
    if (now < progress.next_pass) return false;
    if (keyspace.TrainDictionary(progress.pages_seen, codec)) return true;
    progress.next_pass = now + std::chrono::seconds(settings.dense_after);
    progress.pages_seen = 0;
    progress.place = {};
  }
  progress.pages_seen += keyspace.DensifySome(progress.place, codec);
  return true;
}

}  // namespace tmem
