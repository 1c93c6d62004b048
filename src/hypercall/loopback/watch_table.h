// Who watches which path of the tree, and the events that wait for each watcher.
//
// Bounded whatever changes: an event equal to one that still waits is folded into it, and when
// kMaxPending different paths wait for one watch, they fold into one event of the watched path
// itself, "something at or below here changed".
//
// Not thread-safe: part of a Tree.
#ifndef TMEM_HYPERCALL_LOOPBACK_WATCH_TABLE_H_
#define TMEM_HYPERCALL_LOOPBACK_WATCH_TABLE_H_

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

class WatchTable {
 public:
  static constexpr size_t kMaxPending = 64;  // events that wait for one watch

  // Tells whether a watcher may learn of a change of the node at a path.
  using MaySee = std::function<bool(GuestId watcher, std::string_view path)>;

  // kExists if this watcher has that watch. The first event waits at once.
  Result<void> Add(GuestId watcher, const std::string& path, const std::string& token);
  // Forgets the watch and its events; kNotFound if there is none.
  Result<void> Remove(GuestId watcher, const std::string& path, const std::string& token);
  void RemoveAll(GuestId watcher);
  size_t CountOf(GuestId watcher) const;

  // The node changed, came or went: tells those who watch it or a path above it.
  void NodeChanged(std::string_view path, const MaySee& may_see);
  // The node went, and all below with it: tells those who watch a path below it, too. Those below
  // get their own watched path.
  void TreeBelowGone(std::string_view path, const MaySee& may_see);

  std::optional<Directory::WatchEvent> Next(GuestId watcher);
  // Watchers for whom an event came since the last call, each once.
  std::vector<GuestId> TakeWoken();

 private:
  struct Watch {
    GuestId watcher;
    std::string path;
    std::string token;
    std::set<std::string, std::less<>> pending;  // paths whose event waits
  };
  struct Watcher {
    size_t watches = 0;
    // Events in order. One whose path is no longer in watch->pending was folded away.
    std::list<std::pair<Watch*, std::string>> events;
  };
  using Watches = std::list<Watch>;

  void Post(Watch& watch, std::string_view path);
  void Forget(Watches& watches, Watches::iterator watch);

  std::map<std::string, Watches, std::less<>> by_path_;
  std::map<GuestId, Watcher> watchers_;
  std::set<GuestId> woken_;
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_WATCH_TABLE_H_
