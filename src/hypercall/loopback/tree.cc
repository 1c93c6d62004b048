#include "hypercall/loopback/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

struct Tree::Node {
  std::string value;
  Directory::Permissions permissions;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
};

namespace {

bool MayWrite(GuestId who, const Directory::Permissions& permissions) {
  return who == kBackendDomain || who == permissions.owner;
}

bool MayRead(GuestId who, const Directory::Permissions& permissions) {
  return MayWrite(who, permissions) || permissions.reader == who;
}

// Absolute, no empty parts, xenstore's characters.
bool IsPath(std::string_view path) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/_@.";
  if (path == "/") return true;
  return path.size() <= kMaxPath && path.starts_with('/') && !path.ends_with('/') &&
         path.find("//") == std::string_view::npos &&
         path.find_first_not_of(kAllowed) == std::string_view::npos;
}

bool IsSpecial(std::string_view path) { return path == kIntroduceDomain || path == kReleaseDomain; }

Result<void> CheckPath(std::string_view path) {
  if (IsPath(path)) return {};
  return Fail(ErrorCode::kInvalid, "not a path: absolute, '/' between names, at most 3072 bytes");
}

Result<void> CheckNode(std::string_view path, std::string_view value) {
  TMEM_TRY(CheckPath(path));
  if (value.size() <= kMaxValue) return {};
  return Fail(ErrorCode::kInvalid,
              fmt::format("{}: a value has at most {} bytes", path, kMaxValue));
}

// The parts of a path, taken one by one from the front.
class Parts {
 public:
  explicit Parts(std::string_view path) : rest_(path.substr(1)) {}
  bool empty() const { return rest_.empty(); }
  std::string_view Next() {
    const size_t slash = rest_.find('/');
    const std::string_view part = rest_.substr(0, slash);
    rest_ = slash == std::string_view::npos ? std::string_view() : rest_.substr(slash + 1);
    return part;
  }

 private:
  std::string_view rest_;
};

size_t CountParts(std::string_view path) {
  return path == "/" ? 0 : static_cast<size_t>(std::ranges::count(path, '/'));
}

std::unexpected<Error> Denied(std::string_view path) {
  return Fail(ErrorCode::kDenied, fmt::format("{}: no permission", path));
}

}  // namespace

Tree::Tree() : root_(std::make_unique<Node>()) {}
Tree::~Tree() = default;

Tree::Node& Tree::Nearest(std::string_view path) const {
  Node* node = root_.get();
  for (Parts parts(path); !parts.empty();) {
    const auto child = node->children.find(parts.Next());
    if (child == node->children.end()) break;
    node = child->second.get();
  }
  return *node;
}

Tree::Node* Tree::Find(std::string_view path) const {
  Node* node = root_.get();
  for (Parts parts(path); !parts.empty();) {
    const auto child = node->children.find(parts.Next());
    if (child == node->children.end()) return nullptr;
    node = child->second.get();
  }
  return node;
}

Result<Tree::Node*> Tree::Readable(GuestId who, std::string_view path) const {
  TMEM_TRY(CheckPath(path));
  if (!MayRead(who, Nearest(path).permissions)) return Denied(path);
  Node* const node = Find(path);
  if (node == nullptr) return Fail(ErrorCode::kNotFound, fmt::format("{}: no such node", path));
  return node;
}

Result<std::string> Tree::Read(GuestId who, std::string_view path) const {
  const Result<Node*> node = Readable(who, path);
  if (!node) return std::unexpected(node.error());
  return (*node)->value;
}

Result<std::vector<std::string>> Tree::List(GuestId who, std::string_view path) const {
  const Result<Node*> node = Readable(who, path);
  if (!node) return std::unexpected(node.error());
  std::vector<std::string> names;
  for (const auto& [name, child] : (*node)->children) names.push_back(name);
  return names;
}

Result<void> Tree::Write(GuestId who, std::string_view path, std::string_view value) {
  TMEM_TRY(CheckNode(path, value));
  Node* node = Find(path);
  const Node& nearest = Nearest(path);
  if (!MayWrite(who, nearest.permissions)) return Denied(path);
  if (node == nullptr) {
    size_t missing = CountParts(path);
    const Node* above = root_.get();
    for (Parts parts(path); above != &nearest; --missing) {
      above = above->children.find(parts.Next())->second.get();
    }
    if (who != kBackendDomain && CountOwnedBy(who) + missing > kMaxNodes) {
      return Fail(ErrorCode::kExhausted,
                  fmt::format("{}: a guest owns at most {} nodes", path, kMaxNodes));
    }
    node = &Create(path);
  }
  node->value = value;
  watches_.NodeChanged(path, Readers());
  return {};
}

Result<void> Tree::WriteAll(std::span<const Directory::Node> nodes) {
  for (const Directory::Node& node : nodes) TMEM_TRY(CheckNode(node.path, node.value));
  for (const Directory::Node& wanted : nodes) {
    Node& node = Create(wanted.path);
    node.value = wanted.value;
    if (wanted.permissions) {
      SetOwner(node, wanted.permissions->owner);
      node.permissions.reader = wanted.permissions->reader;
    }
  }
  for (const Directory::Node& node : nodes) watches_.NodeChanged(node.path, Readers());
  return {};
}

Tree::Node& Tree::Create(std::string_view path) {
  Node* node = root_.get();
  for (Parts parts(path); !parts.empty();) {
    const std::string_view name = parts.Next();
    auto child = node->children.find(name);
    if (child == node->children.end()) {
      child = node->children.emplace(name, std::make_unique<Node>()).first;
      child->second->permissions.reader = node->permissions.reader;
      SetOwner(*child->second, node->permissions.owner);
    }
    node = child->second.get();
  }
  return *node;
}

void Tree::SetOwner(Node& node, GuestId owner) {
  if (node.permissions.owner == owner) return;
  if (owner != kBackendDomain) ++owned_[owner];
  const GuestId before = std::exchange(node.permissions.owner, owner);
  if (before != kBackendDomain && --owned_[before] == 0) owned_.erase(before);
}

Result<void> Tree::Remove(GuestId who, std::string_view path) {
  TMEM_TRY(CheckPath(path));
  if (path == "/") return Fail(ErrorCode::kInvalid, "/: the root stays");
  if (!MayWrite(who, Nearest(path).permissions)) return Denied(path);
  Node* const node = Find(path);
  if (node == nullptr) return {};
  watches_.NodeChanged(path, Readers());
  watches_.TreeBelowGone(path, Readers());
  NoteGone(*node);
  const size_t slash = path.rfind('/');
  Node* const parent = slash == 0 ? root_.get() : Find(path.substr(0, slash));
  parent->children.erase(parent->children.find(path.substr(slash + 1)));
  return {};
}

void Tree::NoteGone(const Node& node) {
  for (const auto& [name, child] : node.children) NoteGone(*child);
  const GuestId owner = node.permissions.owner;
  if (owner != kBackendDomain && --owned_[owner] == 0) owned_.erase(owner);
}

WatchTable::MaySee Tree::Readers() const {
  return [this](GuestId watcher, std::string_view path) {
    const Node* const node = Find(path);
    return node != nullptr && MayRead(watcher, node->permissions);
  };
}

Result<void> Tree::Watch(GuestId who, const std::string& path, const std::string& token) {
  if (IsSpecial(path)) {
    if (who != kBackendDomain) return Denied(path);
  } else {
    TMEM_TRY(CheckPath(path));
  }
  if (token.size() > kMaxToken) {
    return Fail(ErrorCode::kInvalid, fmt::format("a token has at most {} bytes", kMaxToken));
  }
  if (who != kBackendDomain && watches_.CountOf(who) >= kMaxWatches) {
    return Fail(ErrorCode::kExhausted, fmt::format("a guest has at most {} watches", kMaxWatches));
  }
  return watches_.Add(who, path, token);
}

Result<void> Tree::Unwatch(GuestId who, const std::string& path, const std::string& token) {
  return watches_.Remove(who, path, token);
}

void Tree::Fire(std::string_view special_path) {
  watches_.NodeChanged(special_path, [](GuestId, std::string_view) { return true; });
}

size_t Tree::CountOwnedBy(GuestId who) const {
  const auto at = owned_.find(who);
  return at == owned_.end() ? 0 : at->second;
}

}  // namespace tmem::loopback
