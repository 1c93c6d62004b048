// The dictionaries of one owner's pages: the newest, with which pages are compressed, and all that
// stored pages need to be read. They stay as long as the owner does, since any page may need one;
// there are few, because each is trained on four times as many pages as the one before
// (GenerationOf).
//
// Thread-safe.
#ifndef TMEM_POOLS_DICTIONARIES_H_
#define TMEM_POOLS_DICTIONARIES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "base/mutex.h"
#include "base/result.h"
#include "compress/dictionary.h"
#include "pools/dictionary_files.h"

namespace tmem {

class Dictionaries {
 public:
  // The id of the dictionary that an owner of so many pages should have: 1 from kMaxSamples pages
  // on, 2 from four times as many, and so on; kNoDictionary if they are too few.
  static DictionaryId GenerationOf(uint64_t pages);

  // With those that a process before this one kept. `files` must outlive this.
  Dictionaries(const DictionaryFiles& files, KeyspaceId owner);
  // Removes the files, unless Leave was called.
  ~Dictionaries();
  Dictionaries(const Dictionaries&) = delete;
  Dictionaries& operator=(const Dictionaries&) = delete;

  // nullptr if there is none.
  std::shared_ptr<const Dictionary> Find(DictionaryId id) const;
  // The one of highest id, made for compressing as LZ4 (docs/decisions/0002-zstd-parameters.md);
  // nullptr if there is none.
  std::shared_ptr<const Dictionary> newest() const;

  // From now on the newest. Errors of DictionaryFiles::Write: it is not kept, and not used.
  // REQUIRES: its id is above all others, and it was made for compressing.
  Result<void> Adopt(std::shared_ptr<const Dictionary> dictionary);
  // The files stay for the next process.
  void Leave() { leave_ = true; }

  // Heap memory held.
  size_t bytes() const;

 private:
  const DictionaryFiles& files_;
  const KeyspaceId owner_;
  bool leave_ = false;
  mutable Mutex mutex_{LockRank::kLeaf};
  std::map<DictionaryId, std::shared_ptr<const Dictionary>> by_id_ TMEM_GUARDED_BY(mutex_);
};

}  // namespace tmem

#endif  // TMEM_POOLS_DICTIONARIES_H_
