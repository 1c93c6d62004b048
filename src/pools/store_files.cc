#include "pools/store_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "pools/records.h"

namespace tmem {

namespace {

constexpr std::array<char, 8> kMagic = {'t', 'm', 'e', 'm', 'd', 's', 't', 'o'};
constexpr uint32_t kMaxGuestRecords = 32768;  // more than there are domids
constexpr const char* kSuperblock = "superblock";
constexpr const char* kNewSuperblock = "superblock.new";
constexpr const char* kDictionaries = "dictionaries";
// Had no dictionaries; all else is the same.
constexpr uint32_t kVersionBefore = 1;

struct Superblock {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kStoreVersion;
  uint32_t segment_size = kSegmentSize;
  Uuid id;
  uint64_t checksum = 0;  // XXH3 of all before it

  uint64_t Checksum() const { return XXH3_64bits(this, offsetof(Superblock, checksum)); }
};
static_assert(sizeof(Superblock) == 40);

Uuid RandomId() {
  std::random_device device;
  Uuid id;
  for (uint64_t& word : id.words) word = uint64_t{device()} << 32 | device();
  return id;
}

// One segment more than may be taken: Arena has one in its hands now and then that is neither taken
// nor free.
size_t Spared(uint32_t max_segments) { return size_t{max_segments} + 1; }

// An object has at least one page, whose header alone is nearly as large as the object's record: so
// records never outgrow the segments, but for the first block of each partition.
size_t ObjectBytes(uint32_t max_segments) {
  return Spared(max_segments) * kSegmentSize + (size_t{256} << 20);
}

Result<UniqueFd> OpenFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return std::unexpected(SystemError(fmt::format("cannot make the store's folder {}", path)));
  }
  UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    return std::unexpected(SystemError(fmt::format("cannot open the store's folder {}", path)));
  }
  struct statfs system;
  if (fstatfs(folder.get(), &system) != 0) {
    return std::unexpected(SystemError(fmt::format("cannot examine {}", path)));
  }
  if (system.f_type != TMPFS_MAGIC) {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("{} is not on a tmpfs: pages of guests would be written to a disk; mount "
                    "a tmpfs there, or name a folder of one",
                    path));
  }
  if (flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
    return Fail(ErrorCode::kExists,
                fmt::format("another process uses the store in {}; stop it first", path));
  }
  return folder;
}

// Absent: there is none yet, so whatever else lies there was never used.
Result<std::optional<Superblock>> ReadSuperblock(int folder, const std::string& path) {
  const UniqueFd file(openat(folder, kSuperblock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return std::nullopt;
  Superblock found;
  const ssize_t size = file ? read(file.get(), &found, sizeof found) : -1;
  if (size < 0) return std::unexpected(SystemError(fmt::format("cannot read {}/superblock", path)));
  if (size < static_cast<ssize_t>(sizeof found.magic) || found.magic != kMagic) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}/superblock is not of a tmemd store", path));
  }
  if (size >= static_cast<ssize_t>(offsetof(Superblock, segment_size)) &&
      found.version != kStoreVersion && found.version != kVersionBefore) {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("the store in {} has format {}, this tmemd reads format {}; it was left "
                    "as it is: start the tmemd that wrote it, or, if no guest needs its "
                    "pages any more, remove the folder's files",
                    path, found.version, kStoreVersion));
  }
  if (size != sizeof found || found.checksum != found.Checksum()) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}/superblock is damaged; the store was left as it is", path));
  }
  if (found.segment_size != kSegmentSize) {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("the store in {} has segments of {}, this tmemd of {}; it was left as "
                    "it is",
                    path, HumanBytes(Bytes(found.segment_size)), HumanBytes(Bytes(kSegmentSize))));
  }
  return found;
}

// Whole or not at all.
Result<void> WriteSuperblock(int folder, const std::string& path, Superblock superblock) {
  superblock.version = kStoreVersion;
  superblock.checksum = superblock.Checksum();
  const UniqueFd file(
      openat(folder, kNewSuperblock, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file && write(file.get(), &superblock, sizeof superblock) == sizeof superblock &&
      renameat(folder, kNewSuperblock, folder, kSuperblock) == 0) {
    return {};
  }
  return std::unexpected(SystemError(fmt::format("cannot write {}/superblock", path)));
}

// What an earlier try to make a store left behind goes; the superblock comes last.
Result<Superblock> MakeStore(int folder, const std::string& path) {
  for (const char* const name : {"segments", "segment-records", "objects", "guests"}) {
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT) {
      return std::unexpected(SystemError(fmt::format("cannot remove {}/{}", path, name)));
    }
  }
  const Superblock made{.id = RandomId()};
  TMEM_TRY(WriteSuperblock(folder, path, made));
  return made;
}

Result<UniqueFd> OpenDictionaries(int folder, const std::string& path) {
  if (mkdirat(folder, kDictionaries, 0700) == 0 || errno == EEXIST) {
    UniqueFd opened(openat(folder, kDictionaries, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (opened) return opened;
  }
  return std::unexpected(SystemError(fmt::format("cannot open {}/{}", path, kDictionaries)));
}

// One above the highest segment in use.
uint32_t SegmentsInUse(const Region& records, size_t count) {
  const auto* const all = reinterpret_cast<const SegmentRecord*>(records.base());
  while (count > 0 && all[count - 1].word.load(std::memory_order_relaxed) == 0) --count;
  return static_cast<uint32_t>(count);
}

Result<StoreFiles> OpenVolatile(uint32_t max_segments) {
  auto segments = Region::Anonymous(Spared(max_segments) * kSegmentSize);
  if (!segments) return std::unexpected(std::move(segments).error());
  auto records = Region::Anonymous(Spared(max_segments) * sizeof(SegmentRecord));
  if (!records) return std::unexpected(std::move(records).error());
  auto objects = Region::Anonymous(ObjectBytes(max_segments));
  if (!objects) return std::unexpected(std::move(objects).error());
  auto guests = Region::Anonymous(kMaxGuestRecords * sizeof(GuestRecord));
  if (!guests) return std::unexpected(std::move(guests).error());
  return StoreFiles{.id = RandomId(),
                    .folder = {},
                    .max_segments = max_segments,
                    .segments = *std::move(segments),
                    .segment_records = *std::move(records),
                    .objects = *std::move(objects),
                    .guests = *std::move(guests),
                    .dictionaries = {}};
}

// How many records the file has room for, whatever was asked for when it was made.
Result<size_t> RecordsIn(int folder) {
  struct stat status;
  if (fstatat(folder, "segment-records", &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return 0;
    return std::unexpected(SystemError("cannot examine the store's segment-records"));
  }
  return static_cast<size_t>(status.st_size) / sizeof(SegmentRecord);
}

}  // namespace

Result<StoreFiles> StoreFiles::Open(const std::string& path, uint32_t max_segments) {
  if (path.empty()) return OpenVolatile(max_segments);
  UniqueFd folder;
  TMEM_ASSIGN(folder, OpenFolder(path));
  std::optional<Superblock> superblock;
  TMEM_ASSIGN(superblock, ReadSuperblock(folder.get(), path));
  if (!superblock) TMEM_ASSIGN(superblock, MakeStore(folder.get(), path));
  if (superblock->version != kStoreVersion) {
    TMEM_TRY(WriteSuperblock(folder.get(), path, *superblock));
  }
  UniqueFd dictionaries;
  TMEM_ASSIGN(dictionaries, OpenDictionaries(folder.get(), path));

  size_t recorded = 0;
  TMEM_ASSIGN(recorded, RecordsIn(folder.get()));
  const size_t count = std::max(recorded, Spared(max_segments));
  auto records = Region::OfFile(folder.get(), "segment-records", count * sizeof(SegmentRecord));
  if (!records) return std::unexpected(std::move(records).error());
  if (!records->Grow(count * sizeof(SegmentRecord))) {
    return std::unexpected(SystemError(fmt::format("no room for the store's records in {}", path)));
  }
  max_segments = std::max(max_segments, SegmentsInUse(*records, recorded));

  auto segments = Region::OfFile(folder.get(), "segments", Spared(max_segments) * kSegmentSize);
  if (!segments) return std::unexpected(std::move(segments).error());
  auto objects = Region::OfFile(folder.get(), "objects", ObjectBytes(max_segments));
  if (!objects) return std::unexpected(std::move(objects).error());
  auto guests = Region::OfFile(folder.get(), "guests", kMaxGuestRecords * sizeof(GuestRecord));
  if (!guests) return std::unexpected(std::move(guests).error());
  return StoreFiles{.id = superblock->id,
                    .folder = std::move(folder),
                    .max_segments = max_segments,
                    .segments = *std::move(segments),
                    .segment_records = *std::move(records),
                    .objects = *std::move(objects),
                    .guests = *std::move(guests),
                    .dictionaries = std::move(dictionaries)};
}

}  // namespace tmem
