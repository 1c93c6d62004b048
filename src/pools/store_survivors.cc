// What a process before this one left: who it belongs to, and who takes it up.
#include <fmt/format.h>

#include <utility>

#include "pools/store_impl.h"

namespace tmem {

// Sorts what the records say by guest, and frees what belongs to nobody who stays: guests that were
// being removed, and shared pools, whose pages are not kept.
std::vector<Recovery::Job> Store::Impl::FindSurvivors() {
  auto blocks = object_records_.InUse();
  std::map<KeyspaceId, std::vector<Arena::Survivor>> segments;
  for (const Arena::Survivor& segment : arena_->Survivors()) {
    segments[segment.owner.keyspace].push_back(segment);
  }
  std::vector<Recovery::Job> jobs;
  std::vector<GuestRecords::Seat> leaving;
  std::set<KeyspaceId> staying;
  for (GuestRecords::Seat& seat : guest_records_.Survivors()) {
    const KeyspaceId keyspace = seat.keyspace();
    if (seat.record().use.load(std::memory_order_relaxed) != GuestRecord::kStays) {
      leaving.push_back(std::move(seat));
      continue;
    }
    staying.insert(keyspace);
    jobs.push_back(TakeUpRecord(std::move(seat), std::exchange(blocks[keyspace], {}),
                                std::exchange(segments[keyspace], {})));
  }
  dictionary_files_.RemoveAllBut(staying);
  for (const auto& [keyspace, orphans] : segments) {
    for (const Arena::Survivor& orphan : orphans) {
      arena_->Disclaim(orphan.segment);
      arena_->GiveBack(orphan.segment);
    }
  }
  for (const auto& [keyspace, orphans] : blocks) {
    for (ObjectBlock* const orphan : orphans) object_records_.GiveBack(orphan);
  }
  return jobs;
}

Recovery::Job Store::Impl::TakeUpRecord(GuestRecords::Seat seat, std::vector<ObjectBlock*> blocks,
                                        std::vector<Arena::Survivor> segments) {
  const GuestSettings settings;  // until it is added
  const Keyspace::Identity identity{seat.keyspace(), seat.record().hash_key};
  auto keyspace = Keyspace::Create(memory_, node_blocks_, object_records_, dictionary_files_,
                                   identity, TermsOf(settings));
  for (const Arena::Survivor& segment : segments) {
    memory_.Adopt(keyspace->stake(), segment.owner.page_class);
  }
  auto guest = std::make_shared<Guest>(settings, std::move(seat), std::move(keyspace));
  for (uint32_t pool = 0; pool < kMaxPoolsPerGuest; ++pool) {
    const auto membership = guest->MembershipOf(PoolId{pool});
    if (membership) shared_pools_.Resume(membership->place, membership->uuid, guest->ledger());
  }
  MutexLock lock(mutex_);
  guests_.emplace(guest->id(), guest);
  survivors_.insert(guest->id());
  return {.guest = guest, .blocks = std::move(blocks), .segments = std::move(segments)};
}

// Frees what a survivor left without looking at its pages.
void Store::Impl::Drop(const Recovery::Job& job) {
  for (const Arena::Survivor& segment : job.segments) {
    arena_->Disclaim(segment.segment);
    memory_.GiveBack(job.guest->keyspace().stake(), segment.owner.page_class, segment.segment);
  }
  for (ObjectBlock* const block : job.blocks) object_records_.GiveBack(block);
}

std::vector<GuestIdentity> Store::Impl::Survivors() const {
  MutexLock lock(mutex_);
  std::vector<GuestIdentity> survivors;
  for (const GuestId id : survivors_) {
    const Guest& guest = *guests_.at(id);
    survivors.push_back({.id = id, .uuid = guest.uuid(), .name = guest.name()});
  }
  return survivors;
}

Result<std::shared_ptr<Guest>> Store::Impl::TakeUp(GuestId id, const GuestSettings& settings) {
  if (!recovery_->IsReady(id)) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("the pages of guest {} are still being found again", id.value));
  }
  TMEM_TRY(Configure(id, settings));
  MutexLock lock(mutex_);
  survivors_.erase(id);
  return guests_.at(id);
}

}  // namespace tmem
