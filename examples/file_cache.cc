// A guest that reads files through a small page cache of its own, with an ephemeral pool behind it.
//
// It does what a guest kernel's precache does: a clean page that falls out of the cache is put; a
// page that is not in the cache is asked for in the pool before the file is read. It reads every
// file several times, in an order that changes each time, and prints a digest of all that it read:
// with and without tmem the digest must be the same.
//
//   tmem-file-cache --cache 32M --limit 512M --passes 3 --guest files /usr/lib /usr/share
//   tmem-file-cache --plain ...     the same reads, without a cache and without tmem
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
// The streaming state is a complete type only to those who ask for it.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <list>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "client/tmem_client.h"

namespace {

struct Options {
  std::vector<std::string> roots;
  std::string cache = "32M";
  std::string limit = "512M";
  int passes = 3;
  bool plain = false;
  std::string socket;
  std::string guest = "file-cache";
  std::string stats_json;
};

struct File {
  std::string path;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
};

using Page = std::array<std::byte, TMEM_PAGE_SIZE>;

struct Counters {
  uint64_t reads = 0;       // pages asked for
  uint64_t cache_hits = 0;  // found in the cache
  uint64_t tmem_hits = 0;   // found in the pool
  uint64_t disk_reads = 0;
  uint64_t puts = 0;
};

tmem::Bytes ParseSize(const std::string& text) {
  const auto size = tmem::ParseBytes(text);
  if (!size) throw std::runtime_error(size.error().message);
  return *size;
}

// Readable regular files below the roots, smallest paths first, up to `limit` bytes in all.
std::vector<File> ListFiles(const std::vector<std::string>& roots, tmem::Bytes limit) {
  namespace fs = std::filesystem;
  std::vector<std::string> paths;
  for (const auto& root : roots) {
    for (const auto& entry :
         fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied)) {
      if (entry.is_regular_file() && !entry.is_symlink()) paths.push_back(entry.path());
    }
  }
  std::ranges::sort(paths);
  std::vector<File> files;
  uint64_t total = 0;
  for (const auto& path : paths) {
    struct stat status{};
    if (access(path.c_str(), R_OK) != 0 || stat(path.c_str(), &status) != 0) continue;
    const auto size = static_cast<uint64_t>(status.st_size);
    if (size == 0 || total + size > limit.value) continue;
    total += size;
    files.push_back({path, status.st_dev, status.st_ino, size});
  }
  return files;
}

// The clean pages of files: least recently used ones leave for the pool, if there is one.
class PageCache {
 public:
  PageCache(size_t capacity, tmem_client* client, int pool)
      : capacity_(capacity), client_(client), pool_(pool) {}

  // The page's bytes; valid until the next call.
  const Page& Read(const File& file, int fd, uint32_t index) {
    ++counters_.reads;
    const Key key{file.device, file.inode, index};
    if (const auto at = pages_.find(key); at != pages_.end()) {
      ++counters_.cache_hits;
      by_use_.splice(by_use_.begin(), by_use_, at->second);
      return by_use_.front().page;
    }
    MakeRoom();
    by_use_.emplace_front();
    by_use_.front().key = key;
    pages_.emplace(key, by_use_.begin());
    Page& page = by_use_.front().page;
    if (FromPool(key, page)) {
      ++counters_.tmem_hits;
    } else {
      ++counters_.disk_reads;
      page.fill(std::byte{0});
      const off_t offset = static_cast<off_t>(index) * TMEM_PAGE_SIZE;
      if (pread(fd, page.data(), page.size(), offset) < 0) {
        throw std::runtime_error("cannot read " + file.path);
      }
    }
    return page;
  }

  const Counters& counters() const { return counters_; }

 private:
  struct Key {
    uint64_t device;
    uint64_t inode;
    uint32_t index;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      const std::array<uint64_t, 3> words = {key.device, key.inode, key.index};
      return XXH3_64bits(words.data(), sizeof(words));
    }
  };
  struct Entry {
    Key key;
    Page page;
  };

  static tmem_oid ObjectOf(const Key& key) { return {{key.inode, key.device, 0}}; }

  void MakeRoom() {
    if (by_use_.size() < capacity_) return;
    const Entry& oldest = by_use_.back();
    if (client_ != nullptr) {
      const tmem_oid oid = ObjectOf(oldest.key);
      if (tmem_put_posted(client_, pool_, &oid, oldest.key.index, oldest.page.data()) != 0) {
        throw std::runtime_error("lost the connection to tmemd");
      }
      ++counters_.puts;
    }
    pages_.erase(oldest.key);
    by_use_.pop_back();
  }

  bool FromPool(const Key& key, Page& page) {
    if (client_ == nullptr) return false;
    const tmem_oid oid = ObjectOf(key);
    return tmem_get(client_, pool_, &oid, key.index, page.data()) == 1;
  }

  const size_t capacity_;
  tmem_client* const client_;
  const int pool_;
  std::list<Entry> by_use_;  // most recent first
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> pages_;
  Counters counters_;
};

// Reads one file as a whole; its contents enter the digest.
uint64_t DigestFile(const File& file, PageCache& cache) {
  const tmem::UniqueFd fd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw std::runtime_error("cannot open " + file.path);
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (uint64_t offset = 0; offset < file.size; offset += TMEM_PAGE_SIZE) {
    const auto index = static_cast<uint32_t>(offset / TMEM_PAGE_SIZE);
    const Page& page = cache.Read(file, fd.get(), index);
    XXH3_64bits_update(&state, page.data(), std::min<uint64_t>(file.size - offset, page.size()));
  }
  return XXH3_64bits_digest(&state);
}

void Run(const Options& options) {
  auto files = ListFiles(options.roots, ParseSize(options.limit));
  if (files.empty()) throw std::runtime_error("found no files to read");

  tmem_client* client = nullptr;
  int pool = 0;
  if (!options.plain) {
    std::array<char, 256> error{};
    const char* const socket = options.socket.empty() ? nullptr : options.socket.c_str();
    client = tmem_connect(socket, options.guest.c_str(), nullptr, error.data(), error.size());
    if (client == nullptr) throw std::runtime_error(error.data());
    pool = tmem_new_pool(client, nullptr, 0);
    if (pool < 0) throw std::runtime_error(fmt::format("cannot create a pool: {}", pool));
  }

  const size_t capacity = std::max<size_t>(1, ParseSize(options.cache).value / TMEM_PAGE_SIZE);
  PageCache cache(capacity, client, pool);
  std::mt19937_64 order(1);
  for (int pass = 1; pass <= options.passes; ++pass) {
    std::ranges::shuffle(files, order);
    uint64_t digest = 0;
    uint64_t bytes = 0;
    for (const File& file : files) {
      // A sum does not depend on the order, but for what stands in the files.
      digest += DigestFile(file, cache) ^ file.inode;
      bytes += file.size;
    }
    fmt::print("pass {}: {} files, {} bytes, digest {:016x}\n", pass, files.size(), bytes, digest);
    std::fflush(stdout);
  }

  if (!options.stats_json.empty()) {
    const Counters& counters = cache.counters();
    std::ofstream(options.stats_json) << nlohmann::json{{"reads", counters.reads},
                                                        {"cache_hits", counters.cache_hits},
                                                        {"tmem_hits", counters.tmem_hits},
                                                        {"disk_reads", counters.disk_reads},
                                                        {"puts", counters.puts}};
  }
  if (client != nullptr) tmem_disconnect(client);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Reads files through a small page cache with an ephemeral tmem pool behind it");
  Options options;
  app.add_option("DIRECTORY", options.roots, "where to look for files")->required();
  app.add_option("--cache", options.cache, "size of the page cache")->capture_default_str();
  app.add_option("--limit", options.limit, "read at most so much a pass")->capture_default_str();
  app.add_option("--passes", options.passes, "how often to read it all")->capture_default_str();
  app.add_flag("--plain", options.plain, "no tmem");
  app.add_option("--socket", options.socket, "of tmemd; default: $TMEM_SOCKET or the system's");
  app.add_option("--guest", options.guest, "name of this guest")->capture_default_str();
  app.add_option("--stats-json", options.stats_json, "write counters to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    Run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "tmem-file-cache: {}\n", error.what());
    return 1;
  }
  return 0;
}
