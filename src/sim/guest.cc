#include "sim/guest.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "sim/random.h"

namespace tmem::sim {

namespace {

constexpr uint32_t kPagesPerObject = 1024;

GuestSettings SettingsOf(const GuestSpec& spec) {
  GuestSettings settings = spec.settings;
  for (auto& mode : settings.compress) {
    mode = spec.stored < 1 ? CompressMode::kFast : CompressMode::kOff;
  }
  return settings;
}

}  // namespace

Guest::Guest(Store& store, PageCodec& codec, const CostModel& cost, const GuestSpec& spec,
             GuestId id, uint64_t seed)
    : store_(store),
      codec_(codec),
      cost_(cost),
      spec_(spec),
      id_(id),
      think_(static_cast<Nanoseconds>(spec.think * 1e9)),
      workload_(MakeWorkload(spec.workload, seed)),
      now_(static_cast<Nanoseconds>(spec.start * 1e9)),
      pages_(spec.workload.pages) {
  frames_.reserve(spec.resident);
  Random random(seed);
  // So many bytes that do not compress; the others are zero.
  const auto bytes = static_cast<size_t>(std::lround(spec.stored * kPageSize));
  for (size_t i = sizeof(uint64_t); i + sizeof(uint64_t) <= bytes; i += sizeof(uint64_t)) {
    const uint64_t word = random.Next();
    std::memcpy(&contents_[i], &word, sizeof word);
  }
}

void Guest::Enter() {
  auto guest = store_.AddGuest(id_, SettingsOf(spec_));
  if (!guest) throw std::runtime_error(spec_.name + ": " + guest.error().message);
  handle_ = *std::move(guest);
  const auto page_class = anonymous() ? PageClass::kPersistent : PageClass::kEphemeral;
  pool_ = store_.NewPool(*handle_, {.page_class = page_class}).value();
}

void Guest::Leave() {
  handle_.reset();
  store_.RemoveGuest(id_);
}

Bytes Guest::Held() const {
  Bytes held{0};
  if (!present()) return held;
  const GuestStats stats = store_.StatsOf(id_).value();
  for (const Bytes bytes : stats.segments) held += bytes;
  return held;
}

void Guest::Run(Nanoseconds until) {
  if (!present() && !done()) Enter();
  while (now_ < until && !done()) {
    Access(workload_->Next(now_));
    ++run_.accesses;
    now_ += think_;
  }
  if (done() && present()) Leave();
}

void Guest::Access(uint32_t page) {
  Spend(cost_.access);
  run_.ideal += cost_.access;
  if (pages_[page].place != Place::kResident) {
    Fetch(page);
    MakeResident(page);
  }
  pages_[page].referenced = true;
}

void Guest::Fetch(uint32_t page) {
  const Place place = pages_[page].place;
  if (place == Place::kNowhere && anonymous()) {
    Spend(cost_.first_touch);
    run_.ideal += cost_.first_touch;
    return;
  }
  if (place == Place::kStore && GetBack(page)) return;
  // The first read of a file is nobody's fault.
  if (place == Place::kNowhere) run_.ideal += cost_.disk_read;
  Spend(cost_.disk_read);
  ++run_.disk_reads;
}

void Guest::MakeResident(uint32_t page) {
  pages_[page].place = Place::kResident;
  if (frames_.size() < spec_.resident) {
    frames_.push_back(page);
    return;
  }
  while (pages_[frames_[hand_]].referenced) {
    pages_[frames_[hand_]].referenced = false;
    hand_ = (hand_ + 1) % frames_.size();
  }
  PutOut(frames_[hand_]);
  frames_[hand_] = page;
  hand_ = (hand_ + 1) % frames_.size();
}

Handle Guest::HandleOf(uint32_t page) const {
  return {.pool = pool_,
          .object = ObjectId{{page / kPagesPerObject, 0, 0}},
          .index = PageIndex{page % kPagesPerObject}};
}

void Guest::PutOut(uint32_t page) {
  std::memcpy(contents_.data(), &page, sizeof page);
  if (store_.Put(*handle_, HandleOf(page), contents_, codec_) == PutStatus::kStored) {
    Spend(cost_.put);
    ++run_.puts;
    pages_[page].place = Place::kStore;
    return;
  }
  Spend(cost_.refused_put);
  ++run_.refused;
  pages_[page].place = Place::kDisk;
  if (!anonymous()) return;  // it is there already
  Spend(cost_.disk_write);
  ++run_.disk_writes;
}

bool Guest::GetBack(uint32_t page) {
  alignas(64) std::array<std::byte, kPageSize> got;
  const GetStatus status = store_.Get(*handle_, HandleOf(page), got, codec_);
  if (status != GetStatus::kHit) {
    if (anonymous()) throw std::logic_error(fmt::format("{}: page {} was lost", spec_.name, page));
    Spend(cost_.missed_get);
    return false;
  }
  std::memcpy(contents_.data(), &page, sizeof page);
  if (std::memcmp(got.data(), contents_.data(), kPageSize) != 0) {
    throw std::logic_error(fmt::format("{}: page {} is not what was put", spec_.name, page));
  }
  if (anonymous()) store_.FlushPage(*handle_, HandleOf(page));
  Spend(cost_.get);
  ++run_.gets;
  return true;
}

}  // namespace tmem::sim
