#include "hypercall/xen/xenstore_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "hypercall/fake_libxen.h"

namespace tmem::xen {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class XenstoreDirectoryTest : public ::testing::Test {
 protected:
  FakeXen xen_;
  XenstoreDirectory directory_{StoreHandle(xs_open(0))};
};

TEST_F(XenstoreDirectoryTest, ReadsWhatWasWritten) {
  ASSERT_TRUE(directory_.Write("/a/b", std::string("x\0y", 3)));
  EXPECT_EQ(directory_.Read("/a/b"), std::string("x\0y", 3));
  ASSERT_TRUE(directory_.Write("/a/b", ""));
  EXPECT_EQ(directory_.Read("/a/b"), "");
}

TEST_F(XenstoreDirectoryTest, TellsWhyItCannotRead) {
  EXPECT_EQ(directory_.Read("/nothing").error().code, ErrorCode::kNotFound);
  xen_.failures["xs_read"] = EACCES;
  const auto denied = directory_.Read("/secret");
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code, ErrorCode::kDenied);
  EXPECT_EQ(denied.error().message, "xenstore: cannot read /secret: Permission denied");
}

TEST_F(XenstoreDirectoryTest, ListsChildrenOnly) {
  for (const char* path : {"/d", "/d/1", "/d/2", "/d/2/x", "/dd"}) {
    ASSERT_TRUE(directory_.Write(path, ""));
  }
  const auto names = directory_.List("/d");
  ASSERT_TRUE(names);
  EXPECT_THAT(*names, UnorderedElementsAre("1", "2"));
  const auto none = directory_.List("/d/1");
  ASSERT_TRUE(none);
  EXPECT_THAT(*none, IsEmpty());
  EXPECT_EQ(directory_.List("/e").error().code, ErrorCode::kNotFound);
}

TEST_F(XenstoreDirectoryTest, RemovesWithAllBelowAndMissesNothing) {
  ASSERT_TRUE(directory_.Write("/d", ""));
  ASSERT_TRUE(directory_.Write("/d/1", ""));
  EXPECT_TRUE(directory_.Remove("/d"));
  EXPECT_THAT(xen_.nodes, IsEmpty());
  EXPECT_TRUE(directory_.Remove("/d"));
  xen_.failures["xs_rm"] = EACCES;
  EXPECT_EQ(directory_.Remove("/d").error().code, ErrorCode::kDenied);
}

TEST_F(XenstoreDirectoryTest, WritesAllWithTheirPermissions) {
  const Directory::Node nodes[] = {
      {"/f", "", Directory::Permissions{.owner = GuestId{7}, .reader = kBackendDomain}},
      {"/f/state", "1", {}},
      {"/b", "", Directory::Permissions{.owner = kBackendDomain, .reader = {}}},
  };
  ASSERT_TRUE(directory_.WriteAll(nodes));
  EXPECT_THAT(xen_.nodes, UnorderedElementsAre(
                              Pair("/f", FakeXen::Node{"", {{7, XS_PERM_NONE}, {0, XS_PERM_READ}}}),
                              Pair("/f/state", FakeXen::Node{"1", {}}),
                              Pair("/b", FakeXen::Node{"", {{0, XS_PERM_NONE}}})));
}

TEST_F(XenstoreDirectoryTest, WritesAllAgainAfterAConflict) {
  const Directory::Node nodes[] = {{"/a", "1", {}}, {"/b", "2", {}}};
  xen_.conflicts = 3;
  ASSERT_TRUE(directory_.WriteAll(nodes));
  EXPECT_EQ(xen_.commits, 4);
  EXPECT_EQ(directory_.Read("/a"), "1");
  EXPECT_EQ(directory_.Read("/b"), "2");
}

TEST_F(XenstoreDirectoryTest, AGuestThatWritesAllTheTimeCannotHoldItForEver) {
  const Directory::Node nodes[] = {{"/a", "1", {}}};
  xen_.conflicts = kTransactionAttempts;
  EXPECT_EQ(directory_.WriteAll(nodes).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(xen_.commits, kTransactionAttempts);
  EXPECT_THAT(xen_.nodes, IsEmpty());
}

TEST_F(XenstoreDirectoryTest, WritesNothingIfOneCannotBeWritten) {
  const Directory::Node nodes[] = {
      {"/a", "1", {}}, {"/b", "2", Directory::Permissions{}}, {"/c", "3", {}}};
  for (const char* function : {"xs_write /b", "xs_set_permissions"}) {
    xen_.failures = {{function, EACCES}};
    const auto result = directory_.WriteAll(nodes);
    ASSERT_FALSE(result) << function;
    EXPECT_EQ(result.error().message, "xenstore: cannot write /b: Permission denied");
    EXPECT_THAT(xen_.nodes, IsEmpty());
    EXPECT_THAT(xen_.transactions, IsEmpty());
  }
}

TEST_F(XenstoreDirectoryTest, TellsThatATransactionCannotStartOrEnd) {
  const Directory::Node nodes[] = {{"/a", "1", {}}};
  xen_.failures = {{"xs_transaction_start", ENOSPC}};
  EXPECT_EQ(directory_.WriteAll(nodes).error().code, ErrorCode::kExhausted);
  xen_.failures = {{"xs_transaction_end", ENOSPC}};
  EXPECT_EQ(directory_.WriteAll(nodes).error().code, ErrorCode::kExhausted);
  EXPECT_EQ(xen_.commits, 0);
}

TEST_F(XenstoreDirectoryTest, WatchesAndReportsWithoutBlocking) {
  ASSERT_TRUE(directory_.Watch("@introduceDomain", "guests"));
  EXPECT_THAT(xen_.watches, UnorderedElementsAre(Pair("@introduceDomain", "guests")));
  EXPECT_FALSE(directory_.NextEvent());
  xen_.events.emplace_back("@introduceDomain", "guests");
  xen_.events.emplace_back("/local/domain/7/device/tmem/0/state", "frontend:7");
  auto event = directory_.NextEvent();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->path, "@introduceDomain");
  EXPECT_EQ(event->token, "guests");
  event = directory_.NextEvent();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->path, "/local/domain/7/device/tmem/0/state");
  EXPECT_EQ(event->token, "frontend:7");
  EXPECT_FALSE(directory_.NextEvent());
}

TEST_F(XenstoreDirectoryTest, StopsWatching) {
  ASSERT_TRUE(directory_.Watch("/a", "t"));
  EXPECT_TRUE(directory_.Unwatch("/a", "t"));
  EXPECT_THAT(xen_.watches, IsEmpty());
  EXPECT_EQ(directory_.Unwatch("/a", "t").error().code, ErrorCode::kNotFound);
  xen_.failures["xs_watch"] = EACCES;
  EXPECT_EQ(directory_.Watch("/a", "t").error().code, ErrorCode::kDenied);
}

}  // namespace
}  // namespace tmem::xen
