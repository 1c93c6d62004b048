// The blocks that hold the records of all objects, of all keyspaces.
//
// Each partition's ObjectTable takes blocks as it grows and is their only writer until it gives
// them back.
//
// Thread-safe.
#ifndef TMEM_POOLS_OBJECT_RECORDS_H_
#define TMEM_POOLS_OBJECT_RECORDS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "pools/records.h"
#include "pools/region.h"

namespace tmem {

class ObjectRecords {
 public:
  // Blocks that are in use in the region stay so.
  explicit ObjectRecords(Region region);

  // Those in use, by owner and in the order of their ordinals; REQUIRES: none was taken or given
  // back yet.
  std::map<KeyspaceId, std::vector<ObjectBlock*>> InUse() const;

  // A block without records, in use by `owner`; nullptr if there is no memory.
  ObjectBlock* Take(KeyspaceId owner, uint32_t partition, uint32_t ordinal);
  void GiveBack(ObjectBlock* block);

 private:
  ObjectBlock* At(size_t number) const {
    return reinterpret_cast<ObjectBlock*>(region_.base()) + number;
  }

  const Region region_;
  Mutex mutex_{LockRank::kLeaf};
  size_t provided_ TMEM_GUARDED_BY(mutex_);                 // blocks that can be touched
  std::vector<ObjectBlock*> free_ TMEM_GUARDED_BY(mutex_);  // of those
};

}  // namespace tmem

#endif  // TMEM_POOLS_OBJECT_RECORDS_H_
