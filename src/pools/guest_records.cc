#include "pools/guest_records.h"

#include <new>

#include "pools/random_key.h"

namespace tmem {

GuestRecords::GuestRecords(Region region)
    : region_(std::move(region)),
      provided_(region_.outlives_process()
                    ? static_cast<uint32_t>(region_.Size() / sizeof(GuestRecord))
                    : 0) {
  for (uint32_t number = provided_; number > 0; --number) {
    if (At(number - 1).use.load(std::memory_order_relaxed) == GuestRecord::kFree)
      free_.push_back(number - 1);
  }
}

std::vector<GuestRecords::Seat> GuestRecords::Survivors() {
  MutexLock lock(mutex_);
  std::vector<Seat> seats;
  for (uint32_t number = 0; number < provided_; ++number) {
    if (At(number).use.load(std::memory_order_relaxed) != GuestRecord::kFree) {
      seats.push_back(Seat(this, number));
    }
  }
  return seats;
}

std::optional<GuestRecords::Seat> GuestRecords::Take(GuestId guest, const Uuid& uuid,
                                                     std::string_view name) {
  MutexLock lock(mutex_);
  if (free_.empty()) {
    const size_t size = (size_t{provided_} + 1) * sizeof(GuestRecord);
    if (size > region_.bytes() || !region_.Grow(size)) return std::nullopt;
    free_.push_back(provided_++);
  }
  const uint32_t number = free_.back();
  free_.pop_back();
  GuestRecord& record = *new (&At(number)) GuestRecord{};
  record.guest = guest;
  record.uuid = uuid;
  name.copy(record.name.data(), record.name.size() - 1);
  record.hash_key = RandomKey();
  record.use.store(GuestRecord::kStays, std::memory_order_release);
  return Seat(this, number);
}

void GuestRecords::Free(uint32_t number) {
  At(number).use.store(GuestRecord::kFree, std::memory_order_release);
  MutexLock lock(mutex_);
  free_.push_back(number);
}

GuestRecords::Seat::~Seat() {
  if (records_ != nullptr && !leave_) records_->Free(number_);
}

}  // namespace tmem
