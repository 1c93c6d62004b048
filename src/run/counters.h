// What a tmemrun did, in pages unless said otherwise. Written by the fault loop's thread alone and
// read by it when the report is due.
#ifndef TMEM_RUN_COUNTERS_H_
#define TMEM_RUN_COUNTERS_H_

#include <cstdint>
#include <string>

namespace tmem::run {

struct Counters {
  uint64_t limit = 0;          // the resident limit
  uint64_t resident = 0;       // now
  uint64_t resident_peak = 0;  // most at any time
  uint64_t touched = 0;        // content now, in memory or out of it
  uint64_t touched_peak = 0;   // most at any time
  uint64_t faults = 0;         // faults of the program on absent pages
  uint64_t write_faults = 0;   // first writes to clean pages
  uint64_t zero_filled = 0;    // given as zeros, without input
  uint64_t gets = 0;           // asked of the pool
  uint64_t gets_found = 0;     // and got
  uint64_t spill_reads = 0;    // read from the spill file
  uint64_t read_ahead = 0;     // of those got or read: before they were asked for
  uint64_t evicted = 0;        // taken out of memory
  uint64_t evicted_clean = 0;  // of those: their copy was still good, nothing was written
  uint64_t evicted_zero = 0;   // of those: all zeros, nothing was written
  uint64_t puts = 0;           // offered to the pool
  uint64_t puts_refused = 0;   // and refused by it
  uint64_t spilled = 0;        // written to the spill file
  uint64_t kept = 0;           // could be written nowhere and stayed in memory
  uint64_t discarded = 0;      // given up by the program
  uint64_t flushes = 0;        // copies removed from the pool
  uint64_t forks = 0;          // forks of the program
  uint64_t child_faults = 0;   // faults of forked children
};

// A table for people, one figure a line, ready to print.
std::string FormatTable(const Counters& counters, const std::string& guest);

// The same as one JSON object, with the ratios of the table.
std::string FormatJson(const Counters& counters, const std::string& guest);

}  // namespace tmem::run

#endif  // TMEM_RUN_COUNTERS_H_
