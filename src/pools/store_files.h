// The files of a store, opened or made: one folder on a tmpfs, of which one process at a time is
// the owner. Without a folder, the same in memory of this process.
//
//   superblock        version of the format, the store's id
//   segments          the pages: segment n at n x kSegmentSize
//   segment-records   a SegmentRecord for each
//   objects           ObjectBlocks
//   guests            GuestRecords
//   dictionaries/     a file for each dictionary (dictionary_files.h)
//
// docs/store-format.md has every byte. Version 1 is read, and is version 2 from then on. Whoever
// opens a folder of another version leaves it as it is.
#ifndef TMEM_POOLS_STORE_FILES_H_
#define TMEM_POOLS_STORE_FILES_H_

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "pools/region.h"

namespace tmem {

inline constexpr uint32_t kStoreVersion = 2;

struct StoreFiles {
  // An empty path: memory of this process. Makes the folder, but not those above it. Errors:
  //   kUnsupported  another version, another segment size, or not a tmpfs
  //   kExists       another process uses it
  //   kInvalid      the superblock is damaged
  //   kDenied, kNotFound, kExhausted, kSystem  as the system says
  static Result<StoreFiles> Open(const std::string& path, uint32_t max_segments);

  bool persistent() const { return static_cast<bool>(folder); }

  Uuid id;          // of the store's life: new with new files
  UniqueFd folder;  // locked
  // Segments that can be addressed: at least max_segments, and all that are in use.
  uint32_t max_segments;
  Region segments;
  Region segment_records;  // provided as a whole
  Region objects;
  Region guests;
  UniqueFd dictionaries;  // the folder
};

}  // namespace tmem

#endif  // TMEM_POOLS_STORE_FILES_H_
