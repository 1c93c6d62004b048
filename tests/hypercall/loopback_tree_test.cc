#include "hypercall/loopback/tree.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hypercall/loopback/wire.h"

namespace tmem::loopback {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr GuestId kOne{1};
constexpr GuestId kTwo{2};

template <class T>
std::optional<ErrorCode> CodeOf(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().code);
}

Directory::Node NodeFor(std::string path, GuestId owner, std::optional<GuestId> reader = {}) {
  return {std::move(path), "", Directory::Permissions{owner, reader}};
}

std::vector<std::string> TakeEvents(Tree& tree, GuestId who) {
  std::vector<std::string> paths;
  while (auto event = tree.NextEvent(who)) paths.push_back(event->path);
  return paths;
}

// ---- the model: a flat map, every rule said once more in its plainest form ----

class Model {
 public:
  struct Node {
    std::string value;
    GuestId owner;
    std::optional<GuestId> reader;
    bool operator==(const Node&) const = default;
  };

  Model() { nodes_["/"] = {}; }

  static std::string ParentOf(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
  }
  static bool IsAtOrBelow(const std::string& path, const std::string& top) {
    return path == top || top == "/" || path.starts_with(top + "/");
  }

  bool Exists(const std::string& path) const { return nodes_.contains(path); }
  std::string Nearest(std::string path) const {
    while (!Exists(path)) path = ParentOf(path);
    return path;
  }
  bool MayWrite(GuestId who, const std::string& path) const {
    return who == kBackendDomain || nodes_.at(path).owner == who;
  }
  bool MayRead(GuestId who, const std::string& path) const {
    return MayWrite(who, path) || nodes_.at(path).reader == who;
  }

  std::optional<ErrorCode> ReadError(GuestId who, const std::string& path) const {
    if (!MayRead(who, Nearest(path))) return ErrorCode::kDenied;
    if (!Exists(path)) return ErrorCode::kNotFound;
    return std::nullopt;
  }
  const std::string& ValueOf(const std::string& path) const { return nodes_.at(path).value; }
  std::set<std::string> ChildrenOf(const std::string& path) const {
    std::set<std::string> names;
    for (const auto& [other, node] : nodes_) {
      if (other != "/" && ParentOf(other) == path) names.insert(other.substr(other.rfind('/') + 1));
    }
    return names;
  }

  std::optional<ErrorCode> Write(GuestId who, const std::string& path, const std::string& value) {
    if (!MayWrite(who, Nearest(path))) return ErrorCode::kDenied;
    Put(path, value);
    Report(path);
    return std::nullopt;
  }
  void WriteAll(const std::vector<Directory::Node>& nodes) {
    for (const Directory::Node& node : nodes) {
      Put(node.path, node.value);
      if (!node.permissions) continue;
      nodes_[node.path].owner = node.permissions->owner;
      nodes_[node.path].reader = node.permissions->reader;
    }
    for (const Directory::Node& node : nodes) Report(node.path);
  }
  std::optional<ErrorCode> Remove(GuestId who, const std::string& path) {
    if (path == "/") return ErrorCode::kInvalid;
    if (!MayWrite(who, Nearest(path))) return ErrorCode::kDenied;
    if (!Exists(path)) return std::nullopt;
    Report(path);
    for (const auto& [watch, pending] : watches_) {
      const auto& [watcher, watched] = watch;
      if (watched != path && IsAtOrBelow(watched, path) && Exists(watched) &&
          MayRead(watcher, watched)) {
        watches_[watch].insert(watched);
      }
    }
    std::erase_if(nodes_, [&](const auto& node) { return IsAtOrBelow(node.first, path); });
    return std::nullopt;
  }

  bool Watch(GuestId who, const std::string& path) {
    return watches_.try_emplace({who, path}, std::set<std::string>{path}).second;
  }
  bool Unwatch(GuestId who, const std::string& path) { return watches_.erase({who, path}) != 0; }
  // (watched path, changed path) of all that waits.
  std::set<std::pair<std::string, std::string>> TakeEvents(GuestId who) {
    std::set<std::pair<std::string, std::string>> events;
    for (auto& [watch, pending] : watches_) {
      if (watch.first != who) continue;
      for (const std::string& path : pending) events.emplace(watch.second, path);
      pending.clear();
    }
    return events;
  }
  size_t CountOwnedBy(GuestId who) const {
    return static_cast<size_t>(
        std::ranges::count_if(nodes_, [&](const auto& node) { return node.second.owner == who; }));
  }

 private:
  void Put(const std::string& path, const std::string& value) {
    if (!Exists(path)) {
      const std::string parent = ParentOf(path);
      if (!Exists(parent)) Put(parent, "");
      nodes_[path] = nodes_[parent];
    }
    nodes_[path].value = value;
  }
  void Report(const std::string& path) {
    for (auto& [watch, pending] : watches_) {
      if (IsAtOrBelow(path, watch.second) && MayRead(watch.first, path)) pending.insert(path);
    }
  }

  std::map<std::string, Node> nodes_;
  std::map<std::pair<GuestId, std::string>, std::set<std::string>> watches_;
};

rc::Gen<std::string> Path() {
  return rc::gen::map(
      rc::gen::resize(4, rc::gen::container<std::vector<char>>(rc::gen::element('a', 'b', 'c'))),
      [](const std::vector<char>& names) {
        std::string path;
        for (const char name : names) path += std::string("/") + name;
        return path.empty() ? std::string("/") : path;
      });
}

rc::Gen<GuestId> Someone() { return rc::gen::element(kBackendDomain, kOne, kTwo); }

// One random step on both; what they return must agree.
void Step(Tree& tree, Model& model) {
  const GuestId who = *Someone();
  const std::string path = *Path();
  switch (*rc::gen::inRange(0, 8)) {
    case 0: {
      const auto value = tree.Read(who, path);
      RC_ASSERT(CodeOf(value) == model.ReadError(who, path));
      if (value) RC_ASSERT(*value == model.ValueOf(path));
      break;
    }
    case 1: {
      const auto names = tree.List(who, path);
      RC_ASSERT(CodeOf(names) == model.ReadError(who, path));
      if (names) {
        RC_ASSERT(std::set(names->begin(), names->end()) == model.ChildrenOf(path));
      }
      break;
    }
    case 2:
    case 3: {
      const auto value = *rc::gen::element<std::string>("", "x", "y");
      RC_ASSERT(CodeOf(tree.Write(who, path, value)) == model.Write(who, path, value));
      break;
    }
    case 4:
      RC_ASSERT(CodeOf(tree.Remove(who, path)) == model.Remove(who, path));
      break;
    case 5: {
      const std::vector<Directory::Node> nodes = {
          {path, "first",
           Directory::Permissions{
               *Someone(), *rc::gen::element<std::optional<GuestId>>(std::nullopt, kOne, kTwo)}},
          {*Path(), "second", std::nullopt}};
      RC_ASSERT(tree.WriteAll(nodes).has_value());
      model.WriteAll(nodes);
      break;
    }
    case 6:
      RC_ASSERT(tree.Watch(who, path, path).has_value() == model.Watch(who, path));
      break;
    case 7:
      RC_ASSERT(tree.Unwatch(who, path, path).has_value() == model.Unwatch(who, path));
      break;
  }
}

TEST(LoopbackTreeTest, AgreesWithTheModel) {
  EXPECT_TRUE(rc::check("tree against a flat map", [] {
    Tree tree;
    Model model;
    const int steps = *rc::gen::inRange(1, 120);
    for (int i = 0; i < steps; ++i) {
      Step(tree, model);
      if (*rc::gen::inRange(0, 4) != 0) continue;
      for (const GuestId who : {kBackendDomain, kOne, kTwo}) {
        std::set<std::pair<std::string, std::string>> events;
        while (auto event = tree.NextEvent(who)) {
          // Folded: no event comes twice.
          RC_ASSERT(events.emplace(event->token, event->path).second);
        }
        RC_ASSERT(events == model.TakeEvents(who));
      }
      RC_ASSERT(tree.CountOwnedBy(kOne) == model.CountOwnedBy(kOne));
      RC_ASSERT(tree.CountOwnedBy(kTwo) == model.CountOwnedBy(kTwo));
    }
  }));
}

// ---- limits ----

TEST(LoopbackTreeTest, RefusesWhatIsNoPath) {
  Tree tree;
  for (const char* path : {"", "a", "/a/", "//", "/a//b", "/a b", "/\n", "@releaseDomain"}) {
    EXPECT_EQ(CodeOf(tree.Write(kBackendDomain, path, "")), ErrorCode::kInvalid) << path;
    EXPECT_EQ(CodeOf(tree.Read(kBackendDomain, path)), ErrorCode::kInvalid) << path;
    EXPECT_EQ(CodeOf(tree.List(kBackendDomain, path)), ErrorCode::kInvalid) << path;
    EXPECT_EQ(CodeOf(tree.Remove(kBackendDomain, path)), ErrorCode::kInvalid) << path;
  }
  EXPECT_EQ(CodeOf(tree.Read(kBackendDomain, std::string_view("/a\0b", 4))), ErrorCode::kInvalid);
  EXPECT_EQ(CodeOf(tree.Watch(kBackendDomain, "a", "")), ErrorCode::kInvalid);
  const std::string longest = "/" + std::string(kMaxPath - 1, 'a');
  EXPECT_TRUE(tree.Write(kBackendDomain, longest, ""));
  EXPECT_EQ(CodeOf(tree.Write(kBackendDomain, longest + "a", "")), ErrorCode::kInvalid);
}

TEST(LoopbackTreeTest, TakesTheDeepestPathThatFits) {
  Tree tree;
  std::string path;
  for (size_t i = 0; i < kMaxPath / 2; ++i) path += "/a";
  EXPECT_TRUE(tree.Write(kBackendDomain, path, "deep"));
  EXPECT_EQ(tree.Read(kBackendDomain, path).value_or(""), "deep");
  EXPECT_TRUE(tree.Remove(kBackendDomain, "/a"));
  EXPECT_EQ(CodeOf(tree.Read(kBackendDomain, "/a")), ErrorCode::kNotFound);
}

TEST(LoopbackTreeTest, LimitsValues) {
  Tree tree;
  EXPECT_TRUE(tree.Write(kBackendDomain, "/a", std::string(kMaxValue, 'x')));
  EXPECT_EQ(CodeOf(tree.Write(kBackendDomain, "/a", std::string(kMaxValue + 1, 'x'))),
            ErrorCode::kInvalid);
}

TEST(LoopbackTreeTest, WriteAllWritesNothingIfOneNodeIsWrong) {
  Tree tree;
  const Directory::Node nodes[] = {{"/good", "1", {}}, {"bad", "2", {}}};
  EXPECT_EQ(CodeOf(tree.WriteAll(nodes)), ErrorCode::kInvalid);
  EXPECT_EQ(CodeOf(tree.Read(kBackendDomain, "/good")), ErrorCode::kNotFound);
}

TEST(LoopbackTreeTest, LimitsTheNodesOfAGuestButNotOfTheBackend) {
  Tree tree;
  const Directory::Node folder[] = {NodeFor("/one", kOne)};
  ASSERT_TRUE(tree.WriteAll(folder));
  for (uint32_t i = 1; i < kMaxNodes; ++i) {
    ASSERT_TRUE(tree.Write(kOne, fmt::format("/one/{}", i), ""));
  }
  EXPECT_EQ(CodeOf(tree.Write(kOne, "/one/more", "")), ErrorCode::kExhausted);
  EXPECT_TRUE(tree.Write(kOne, "/one/1", "changed"));
  EXPECT_TRUE(tree.Write(kBackendDomain, "/one/from0", ""));

  // What is removed may be made again; a path whose parents are missing costs all of them.
  EXPECT_TRUE(tree.Remove(kOne, "/one/1"));
  EXPECT_TRUE(tree.Remove(kOne, "/one/2"));
  EXPECT_EQ(CodeOf(tree.Write(kOne, "/one/a/b", "")), ErrorCode::kExhausted);
  EXPECT_EQ(CodeOf(tree.Read(kOne, "/one/a")), ErrorCode::kNotFound);
  EXPECT_TRUE(tree.Write(kOne, "/one/a", ""));
}

TEST(LoopbackTreeTest, LimitsWatchesAndTokensOfAGuest) {
  Tree tree;
  EXPECT_EQ(CodeOf(tree.Watch(kOne, "/", std::string(kMaxToken + 1, 't'))), ErrorCode::kInvalid);
  for (uint32_t i = 0; i < kMaxWatches; ++i) {
    ASSERT_TRUE(tree.Watch(kOne, "/", fmt::format("{}", i)));
  }
  EXPECT_EQ(CodeOf(tree.Watch(kOne, "/", "more")), ErrorCode::kExhausted);
  EXPECT_TRUE(tree.Watch(kTwo, "/", "more"));
  EXPECT_TRUE(tree.Unwatch(kOne, "/", "0"));
  EXPECT_TRUE(tree.Watch(kOne, "/", "more"));
}

// ---- watches ----

TEST(LoopbackTreeTest, ReportsAtOnceAndThenChanges) {
  Tree tree;
  ASSERT_TRUE(tree.Watch(kBackendDomain, "/a", "t"));
  EXPECT_THAT(TakeEvents(tree, kBackendDomain), ElementsAre("/a"));
  ASSERT_TRUE(tree.Write(kBackendDomain, "/a/b", ""));
  ASSERT_TRUE(tree.Write(kBackendDomain, "/ab", ""));
  EXPECT_THAT(TakeEvents(tree, kBackendDomain), ElementsAre("/a/b"));
}

TEST(LoopbackTreeTest, HidesChangesFromWhoMayNotRead) {
  Tree tree;
  ASSERT_TRUE(tree.Watch(kOne, "/", "t"));
  TakeEvents(tree, kOne);
  const Directory::Node nodes[] = {NodeFor("/secret", kTwo), NodeFor("/shown", kTwo, kOne)};
  ASSERT_TRUE(tree.WriteAll(nodes));
  ASSERT_TRUE(tree.Write(kTwo, "/secret/a", ""));
  ASSERT_TRUE(tree.Write(kTwo, "/shown/a", ""));
  ASSERT_TRUE(tree.Remove(kTwo, "/secret"));
  EXPECT_THAT(TakeEvents(tree, kOne), UnorderedElementsAre("/shown", "/shown/a"));
}

TEST(LoopbackTreeTest, ReportsRemovalToWhoWatchesBelow) {
  Tree tree;
  const Directory::Node nodes[] = {{"/dir", "", {}}, NodeFor("/dir/dev", kBackendDomain, kOne)};
  ASSERT_TRUE(tree.WriteAll(nodes));
  ASSERT_TRUE(tree.Write(kBackendDomain, "/dir/dev/state", "4"));
  ASSERT_TRUE(tree.Watch(kOne, "/dir/dev/state", "t"));
  TakeEvents(tree, kOne);
  ASSERT_TRUE(tree.Remove(kBackendDomain, "/dir"));
  EXPECT_THAT(TakeEvents(tree, kOne), ElementsAre("/dir/dev/state"));
}

TEST(LoopbackTreeTest, KeepsSpecialPathsForTheBackend) {
  Tree tree;
  EXPECT_EQ(CodeOf(tree.Watch(kOne, std::string(kReleaseDomain), "t")), ErrorCode::kDenied);
  ASSERT_TRUE(tree.Watch(kBackendDomain, std::string(kReleaseDomain), "t"));
  TakeEvents(tree, kBackendDomain);
  tree.Fire(kIntroduceDomain);
  tree.Fire(kReleaseDomain);
  EXPECT_THAT(TakeEvents(tree, kBackendDomain), ElementsAre(kReleaseDomain));
}

TEST(LoopbackTreeTest, FoldsAStormOfChangesIntoOneEvent) {
  Tree tree;
  const Directory::Node folder[] = {NodeFor("/one", kOne)};
  ASSERT_TRUE(tree.WriteAll(folder));
  ASSERT_TRUE(tree.Watch(kBackendDomain, "/one", "t"));
  TakeEvents(tree, kBackendDomain);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(tree.Write(kOne, fmt::format("/one/{}", i), ""));
    ASSERT_TRUE(tree.Remove(kOne, fmt::format("/one/{}", i)));
  }
  const auto events = TakeEvents(tree, kBackendDomain);
  EXPECT_LE(events.size(), WatchTable::kMaxPending);
  EXPECT_EQ(events.front(), "/one");  // "something below changed" covers those left out
}

TEST(LoopbackTreeTest, TellsWhomToWakeOnce) {
  Tree tree;
  ASSERT_TRUE(tree.Watch(kBackendDomain, "/a", "t"));
  ASSERT_TRUE(tree.Watch(kOne, "/b", "t"));
  EXPECT_THAT(tree.TakeWoken(), UnorderedElementsAre(kBackendDomain, kOne));
  ASSERT_TRUE(tree.Write(kBackendDomain, "/c", ""));
  EXPECT_THAT(tree.TakeWoken(), IsEmpty());
}

TEST(LoopbackTreeTest, ForgetsAWatcherWithItsEvents) {
  Tree tree;
  ASSERT_TRUE(tree.Watch(kOne, "/", "t"));
  tree.ForgetWatcher(kOne);
  EXPECT_THAT(tree.TakeWoken(), IsEmpty());
  EXPECT_FALSE(tree.NextEvent(kOne));
  EXPECT_TRUE(tree.Watch(kOne, "/", "t"));
}

}  // namespace
}  // namespace tmem::loopback
