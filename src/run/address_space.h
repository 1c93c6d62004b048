// The memory of one process as tmemrun moves pages in and out of it: the arena of the program, or
// of a forked child. The real one is UffdSpace; tests bring their own.
//
// Called by the fault loop's thread only. A run lies inside the arena and is not empty.
#ifndef TMEM_RUN_ADDRESS_SPACE_H_
#define TMEM_RUN_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>

#include "run/page_table.h"

namespace tmem::run {

class AddressSpace {
 public:
  enum class FillResult {
    kFilled,   // all of the run is present
    kPresent,  // the page after those filled was present before; it is unchanged
    kGone,     // there is no arena memory (any more) at the page after those filled
  };
  struct Filled {
    uint32_t count = 0;  // pages filled, from the first on
    FillResult result = FillResult::kFilled;
  };

  virtual ~AddressSpace() = default;

  // Makes absent pages present with `content` (run.count pages) and lets go who waits for them.
  // With `protect`, the first write to each is reported.
  virtual Filled Fill(PageRun run, const std::byte* content, bool protect) = 0;

  // From its return on, no write to the run's present pages happens unreported. False: part of the
  // run is not arena memory any more.
  virtual bool Protect(PageRun run) = 0;

  // Allows writes again and lets go who waits to write.
  virtual void Unprotect(PageRun run) = 0;

  // Makes the run absent; what it held is lost. False: the kernel refused (locked memory), and
  // all of the run may still be present.
  virtual bool Drop(PageRun run) = 0;

  // Lets go who waits for the run: they try again.
  virtual void Wake(PageRun run) = 0;

  // The bytes of a run that is present and readable.
  virtual const std::byte* Bytes(PageRun run) const = 0;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_ADDRESS_SPACE_H_
