#include "page_buffer.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "rounds.h"

namespace tmem {

namespace {

std::byte* Map(size_t bytes) {
  void* const base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    std::perror("cannot map memory for pages");
    std::exit(1);
  }
  (void)madvise(base, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(base);
}

}  // namespace

PageBuffer::PageBuffer(uint32_t pages) : pages_(pages), base_(Map(size_t{pages} * kPageSize)) {
  FastRandom random(pages);
  for (size_t at = 0; at < size_t{pages} * kPageSize; at += sizeof(uint64_t)) {
    const uint64_t word = random.Next();
    std::memcpy(base_ + at, &word, sizeof(word));
  }
}

PageBuffer::~PageBuffer() { munmap(base_, size_t{pages_} * kPageSize); }

Bytes AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  std::string unit;
  while (file >> name >> kib >> unit) {
    if (name == "MemAvailable:") return KiB(kib);
  }
  return Bytes(0);
}

}  // namespace tmem
