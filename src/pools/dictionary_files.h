// The images of dictionaries, one file each, in a folder beside the store's other files: whoever
// opens the store later can read what was compressed with them. A file is there whole or not at
// all.
//
// Thread-safe, but calls for one owner come one at a time.
#ifndef TMEM_POOLS_DICTIONARY_FILES_H_
#define TMEM_POOLS_DICTIONARY_FILES_H_

#include <cstddef>
#include <set>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "compress/dictionary.h"
#include "pools/records.h"

namespace tmem {

class DictionaryFiles {
 public:
  // Nothing is kept.
  DictionaryFiles() = default;
  // In the open folder.
  explicit DictionaryFiles(UniqueFd folder) : folder_(std::move(folder)) {}

  // What is there of the owner's, in no order. What cannot be read is left out.
  std::vector<std::vector<std::byte>> Read(KeyspaceId owner) const;
  // kExhausted, kDenied or kSystem as the system says; there is no such file then.
  Result<void> Write(KeyspaceId owner, DictionaryId id, std::span<const std::byte> image) const;
  void Remove(KeyspaceId owner) const;
  void RemoveAllBut(const std::set<KeyspaceId>& owners) const;

 private:
  UniqueFd folder_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_DICTIONARY_FILES_H_
