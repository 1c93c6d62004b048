#include "pools/dictionaries.h"

#include <bit>
#include <optional>
#include <utility>

namespace tmem {

DictionaryId Dictionaries::GenerationOf(uint64_t pages) {
  const uint64_t times = pages / Dictionary::kMaxSamples;
  return static_cast<DictionaryId>((std::bit_width(times) + 1) / 2);
}

Dictionaries::Dictionaries(const DictionaryFiles& files, KeyspaceId owner)
    : files_(files), owner_(owner) {
  for (const auto& image : files.Read(owner)) {
    // One that is damaged is as good as lost: a get of a page that needs it fails.
    if (const auto loaded = Dictionary::Load(image)) by_id_[(*loaded)->id()] = *loaded;
  }
  if (by_id_.empty()) return;
  auto& newest = by_id_.rbegin()->second;
  if (auto compressing = Dictionary::Load(newest->image(), DenseCodec::kLz4))
    newest = *std::move(compressing);
}

Dictionaries::~Dictionaries() {
  if (!leave_) files_.Remove(owner_);
}

std::shared_ptr<const Dictionary> Dictionaries::Find(DictionaryId id) const {
  MutexLock lock(mutex_);
  const auto at = by_id_.find(id);
  return at != by_id_.end() ? at->second : nullptr;
}

std::shared_ptr<const Dictionary> Dictionaries::newest() const {
  MutexLock lock(mutex_);
  return by_id_.empty() ? nullptr : by_id_.rbegin()->second;
}

Result<void> Dictionaries::Adopt(std::shared_ptr<const Dictionary> dictionary) {
  // First where it outlives the process: a page may need it from now on.
  TMEM_TRY(files_.Write(owner_, dictionary->id(), dictionary->image()));
  MutexLock lock(mutex_);
  by_id_[dictionary->id()] = std::move(dictionary);
  return {};
}

size_t Dictionaries::bytes() const {
  MutexLock lock(mutex_);
  size_t sum = 0;
  for (const auto& [id, dictionary] : by_id_) sum += dictionary->bytes();
  return sum;
}

}  // namespace tmem
