#include "pools/stats.h"

namespace tmem {

PoolCounters& PoolCounters::operator+=(const PoolCounters& other) {
  puts += other.puts;
  puts_stored += other.puts_stored;
  puts_no_memory += other.puts_no_memory;
  puts_frozen += other.puts_frozen;
  dup_puts_replaced += other.dup_puts_replaced;
  dup_puts_flushed += other.dup_puts_flushed;
  gets += other.gets;
  gets_found += other.gets_found;
  flushes += other.flushes;
  flushes_found += other.flushes_found;
  object_flushes += other.object_flushes;
  object_flushes_found += other.object_flushes_found;
  evicted += other.evicted;
  corrupt += other.corrupt;
  return *this;
}

StoredCounters& StoredCounters::operator+=(const StoredCounters& other) {
  pages += other.pages;
  objects += other.objects;
  same_filled += other.same_filled;
  compressed += other.compressed;
  dense += other.dense;
  dense_bytes += other.dense_bytes;
  payload_bytes += other.payload_bytes;
  charged_bytes += other.charged_bytes;
  return *this;
}

}  // namespace tmem
