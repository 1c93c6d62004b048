// The small xenstore of the loopback hypervisor: nodes with values, permissions, watches, quotas.
//
// Rules, after xenstore's: a node's owner and domain 0 may do everything with it; its reader may
// read it and list its children. To create a node one needs to own the nearest node above it that
// exists; the new nodes get that node's permissions. To remove a node one needs to own it; all
// below goes with it. Whoever may not read the nearest existing node cannot tell a missing node
// from a forbidden one. A watcher learns only of changes of nodes that it may read.
//
// Guests are held to wire.h's limits; domain 0 only to the sizes.
//
// Not thread-safe: guarded by the realm's lock.
#ifndef TMEM_HYPERCALL_LOOPBACK_TREE_H_
#define TMEM_HYPERCALL_LOOPBACK_TREE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "hypercall/loopback/watch_table.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

class Tree {
 public:
  Tree();
  ~Tree();

  // Each acts with the rights of `who`. Errors: kInvalid for a path or size that breaks the rules,
  // kDenied, kNotFound as in Directory, kExhausted for a quota.
  Result<std::string> Read(GuestId who, std::string_view path) const;
  Result<std::vector<std::string>> List(GuestId who, std::string_view path) const;
  Result<void> Write(GuestId who, std::string_view path, std::string_view value);
  Result<void> Remove(GuestId who, std::string_view path);

  // Domain 0's: checks every node first, then writes them all.
  Result<void> WriteAll(std::span<const Directory::Node> nodes);

  // Only domain 0 may watch the special paths. kExists if it has that watch already.
  Result<void> Watch(GuestId who, const std::string& path, const std::string& token);
  Result<void> Unwatch(GuestId who, const std::string& path, const std::string& token);
  std::optional<Directory::WatchEvent> NextEvent(GuestId who) { return watches_.Next(who); }
  std::vector<GuestId> TakeWoken() { return watches_.TakeWoken(); }
  // Tells those who watch a special path.
  void Fire(std::string_view special_path);

  // Forgets the watches of a guest that is gone. What it owned is removed with its folder.
  void ForgetWatcher(GuestId who) { watches_.RemoveAll(who); }

  // Nodes that a guest owns now.
  size_t CountOwnedBy(GuestId who) const;

 private:
  struct Node;

  // The node, or null.
  Node* Find(std::string_view path) const;
  // The deepest node at or above the path that exists.
  Node& Nearest(std::string_view path) const;
  // The node if `who` may read it.
  Result<Node*> Readable(GuestId who, std::string_view path) const;
  Node& Create(std::string_view path);
  void SetOwner(Node& node, GuestId owner);
  void NoteGone(const Node& node);
  // A watcher may see the change of a node that it may read now.
  WatchTable::MaySee Readers() const;

  std::unique_ptr<Node> root_;
  std::map<GuestId, size_t> owned_;  // nodes of each guest, domain 0 not counted
  WatchTable watches_;
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_TREE_H_
