// Copies of pages and payloads, by what is known about the destination.
//
// std::memcpy of a page becomes a string instruction, which starts slowly and lets nothing else
// overlap its cache misses; these are loops over the widest vectors that the processor has, so that
// the misses of a copy and of what stands around it are under way together (measured in bench/).
#ifndef TMEM_BASE_COPY_H_
#define TMEM_BASE_COPY_H_

#include <cstddef>

namespace tmem {

// As memcpy, for a destination that will be read soon.
void Copy(std::byte* to, const std::byte* from, size_t size);

// As memcpy, for a destination that will not be read soon: it bypasses the cache, which neither
// fetches the lines that are overwritten nor evicts others for them. Another thread may see the
// bytes late unless a locked instruction or StreamingFence() comes before the store that publishes
// them.
void StreamingCopy(std::byte* to, const std::byte* from, size_t size);
void StreamingFence();

// Brings into the cache what StreamingCopy to there will write only a part of: the lines at both
// ends. (Whole lines that are in the cache make it slower.)
void PrepareStreamingCopy(const std::byte* to, size_t size);

}  // namespace tmem

#endif  // TMEM_BASE_COPY_H_
