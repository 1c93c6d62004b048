#include "hypercall/xen/grant_mapping.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "hypercall/fake_libxen.h"

namespace tmem::xen {
namespace {

TEST(GrantMappingTest, MapsInTheOrderOfTheReferences) {
  FakeXen xen;
  xen.grants = {{7, 8}, {7, 9}, {7, 12}};
  const std::vector<GrantRef> refs = {{12}, {8}, {9}};
  const auto pages = GrantMapping::Map(GuestId{7}, refs);
  ASSERT_TRUE(pages);
  const auto bytes = (*pages)->bytes();
  ASSERT_EQ(bytes.size(), 3 * kPageSize);
  for (size_t i = 0; i < refs.size(); ++i) {
    EXPECT_EQ(bytes[i * kPageSize], std::byte(refs[i].value));
    EXPECT_EQ(bytes[(i + 1) * kPageSize - 1], std::byte(refs[i].value));
  }
}

TEST(GrantMappingTest, UnmapsAllAndClosesItsHandle) {
  FakeXen xen;
  xen.grants = {{7, 8}, {7, 9}};
  auto pages = GrantMapping::Map(GuestId{7}, std::vector<GrantRef>{{8}, {9}});
  ASSERT_TRUE(pages);
  EXPECT_EQ(xen.mapped.size(), 1u);
  pages->reset();
  EXPECT_TRUE(xen.mapped.empty());
  EXPECT_EQ(xen.open_handles, 0);
}

TEST(GrantMappingTest, RefusesReferencesThatTheGuestDidNotGrant) {
  FakeXen xen;
  xen.grants = {{7, 8}, {5, 9}};
  const auto pages = GrantMapping::Map(GuestId{7}, std::vector<GrantRef>{{8}, {9}});
  ASSERT_FALSE(pages);
  EXPECT_EQ(pages.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(pages.error().message, "cannot map 2 grants of guest 7: Invalid argument");
  EXPECT_EQ(xen.open_handles, 0);
}

TEST(GrantMappingTest, TellsThatTheDeviceCannotBeOpened) {
  FakeXen xen;
  xen.failures["xengnttab_open"] = EMFILE;
  const auto pages = GrantMapping::Map(GuestId{7}, std::vector<GrantRef>{{8}});
  ASSERT_FALSE(pages);
  EXPECT_EQ(pages.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace tmem::xen
