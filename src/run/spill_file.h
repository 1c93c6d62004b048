// Pages that no pool took, in an unlinked temporary file: slots of one page, reused.
//
// Owned by the fault loop's thread. Failing writes are told and lose nothing; a failing read is an
// error of the disk.
#ifndef TMEM_RUN_SPILL_FILE_H_
#define TMEM_RUN_SPILL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::run {

class SpillFile {
 public:
  // Creates the file in `directory`; it vanishes with the process.
  static Result<SpillFile> Create(const std::string& directory);

  // Writes one page into a free slot, which it returns; nothing if the file system refused.
  std::optional<uint32_t> Write(const std::byte* page);
  bool Read(uint32_t slot, std::byte* page) const;
  void Free(uint32_t slot) { free_.push_back(slot); }

  uint32_t slots_in_use() const { return next_ - static_cast<uint32_t>(free_.size()); }

 private:
  explicit SpillFile(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  std::vector<uint32_t> free_;
  uint32_t next_ = 0;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_SPILL_FILE_H_
