#include "hypercall/xen/domain_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "hypercall/fake_libxen.h"

namespace tmem::xen {
namespace {

class DomainListTest : public ::testing::Test {
 protected:
  std::vector<uint16_t> Ids() {
    const auto domains = ListDomains(control_.get());
    EXPECT_TRUE(domains);
    std::vector<uint16_t> ids;
    for (const Domain& domain : *domains) ids.push_back(domain.id.value);
    return ids;
  }

  FakeXen xen_;
  ControlHandle control_{xc_interface_open(nullptr, nullptr, 0)};
};

TEST_F(DomainListTest, LeavesOutWhatIsNoGuest) {
  xen_.AddDomain(0);
  xen_.AddDomain(1, XEN_DOMINF_xs_domain);
  xen_.AddDomain(2);
  xen_.AddDomain(3, XEN_DOMINF_dying | XEN_DOMINF_shutdown);
  xen_.AddDomain(4, XEN_DOMINF_hvm_guest | XEN_DOMINF_paused);
  EXPECT_THAT(Ids(), ::testing::ElementsAre(2, 4));
}

TEST_F(DomainListTest, AsksAgainWhereThereAreMany) {
  std::vector<uint16_t> expected;
  xen_.AddDomain(0);
  for (uint16_t i = 1; i <= 200; ++i) {
    xen_.AddDomain(static_cast<uint16_t>(i * 3));
    expected.push_back(static_cast<uint16_t>(i * 3));
  }
  EXPECT_EQ(Ids(), expected);
}

TEST_F(DomainListTest, ReadsTheUuidAsItIsWritten) {
  xen_.AddDomain(0x10);
  const auto domains = ListDomains(control_.get());
  ASSERT_TRUE(domains);
  ASSERT_EQ(domains->size(), 1u);
  EXPECT_EQ(domains->front().uuid.ToString(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
}

TEST_F(DomainListTest, TellsWhyItCannot) {
  xen_.failures["xc_domain_getinfolist"] = EPERM;
  EXPECT_EQ(ListDomains(control_.get()).error().code, ErrorCode::kDenied);
}

}  // namespace
}  // namespace tmem::xen
