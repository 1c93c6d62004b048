// Bringing memory into the cache ahead of time by reading it.
#ifndef TMEM_BASE_TOUCH_H_
#define TMEM_BASE_TOUCH_H_

namespace tmem {

// Reads a byte of what will be looked at soon; nothing waits for it but a locked instruction.
// Unlike a prefetch, which some processors drop there, it also walks the page table if it has to
// (docs/decisions/0010-pages-in-groups.md). Nothing for nullptr.
inline void Touch(const void* place) {
  if (place == nullptr) return;
  const char byte = *static_cast<const volatile char*>(place);
  asm volatile("" : : "r"(byte));
}

}  // namespace tmem

#endif  // TMEM_BASE_TOUCH_H_
