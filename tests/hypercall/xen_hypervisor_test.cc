#include "hypercall/xen/xen_hypervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <map>

#include "hypercall/fake_libxen.h"

namespace tmem::xen {
namespace {

using ::testing::HasSubstr;

TEST(XenHypervisorTest, ListsTheGuestsThatXenstoreKnows) {
  FakeXen xen;
  xen.AddDomain(0);
  xen.AddDomain(1);
  xen.AddDomain(2);
  xen.AddDomain(3);
  xen.introduced = {0, 1, 3};
  xen.nodes["/local/domain/1/name"] = {"db1", {}};
  const auto hypervisor = ConnectToXen();
  ASSERT_TRUE(hypervisor);
  EXPECT_EQ((*hypervisor)->name(), "xen");
  const auto guests = (*hypervisor)->Guests();
  ASSERT_TRUE(guests);
  ASSERT_EQ(guests->size(), 2u);
  EXPECT_EQ((*guests)[0].id, GuestId{1});
  EXPECT_EQ((*guests)[0].name, "db1");
  EXPECT_EQ((*guests)[0].uuid.ToString(), "01020304-0506-0708-090a-0b0c0d0e0f10");
  EXPECT_EQ((*guests)[1].id, GuestId{3});
  EXPECT_EQ((*guests)[1].name, "");
}

TEST(XenHypervisorTest, TellsWhatGuestsSurrendered) {
  FakeXen xen;
  for (uint16_t id = 0; id <= 5; ++id) xen.AddDomain(id);
  for (xc_domaininfo_t& info : xen.domains) info.tot_pages = 25'600;  // 100 MiB
  xen.nodes["/local/domain/1/memory/static-max"] = {"262144", {}};    // KiB: 256 MiB
  xen.nodes["/local/domain/2/memory/static-max"] = {"102400", {}};
  xen.nodes["/local/domain/3/memory/static-max"] = {"1024", {}};  // it holds more than that
  xen.nodes["/local/domain/4/memory/static-max"] = {"much", {}};
  xen.nodes["/local/domain/5/memory/static-max"] = {"18446744073709551615", {}};
  const auto hypervisor = ConnectToXen();
  ASSERT_TRUE(hypervisor);
  EXPECT_EQ((*hypervisor)->Surrendered(),
            (std::map<GuestId, Bytes>{
                {GuestId{1}, MiB(156)}, {GuestId{2}, Bytes(0)}, {GuestId{3}, Bytes(0)}}));
  xen.failures["xc_domain_getinfolist"] = EPERM;
  EXPECT_TRUE((*hypervisor)->Surrendered().empty());
}

TEST(XenHypervisorTest, SaysThatItCannotListGuests) {
  FakeXen xen;
  const auto hypervisor = ConnectToXen();
  ASSERT_TRUE(hypervisor);
  xen.failures["xc_domain_getinfolist"] = EPERM;
  EXPECT_EQ((*hypervisor)->Guests().error().code, ErrorCode::kDenied);
}

TEST(XenHypervisorTest, MapsAndBindsForTheGuest) {
  FakeXen xen;
  xen.grants = {{7, 8}};
  xc_evtchn_status_t port{};
  port.status = EVTCHNSTAT_unbound;
  xen.ports[{7, 3}] = port;
  const auto hypervisor = ConnectToXen();
  ASSERT_TRUE(hypervisor);
  const GrantRef ref{8};
  EXPECT_TRUE((*hypervisor)->Map(GuestId{7}, {&ref, 1}));
  EXPECT_FALSE((*hypervisor)->Map(GuestId{6}, {&ref, 1}));
  EXPECT_TRUE((*hypervisor)->Bind(GuestId{7}, EventPort{3}));
  EXPECT_FALSE((*hypervisor)->Bind(GuestId{6}, EventPort{3}));
}

struct Missing {
  const char* function;
  int error_number;
  ErrorCode code;
  const char* advice;
};

class XenHypervisorMissingTest : public ::testing::TestWithParam<Missing> {};

TEST_P(XenHypervisorMissingTest, SaysWhatIsMissing) {
  FakeXen xen;
  xen.failures[GetParam().function] = GetParam().error_number;
  const auto hypervisor = ConnectToXen();
  ASSERT_FALSE(hypervisor);
  EXPECT_EQ(hypervisor.error().code, GetParam().code);
  EXPECT_THAT(hypervisor.error().message, HasSubstr(GetParam().advice));
}

INSTANTIATE_TEST_SUITE_P(
    All, XenHypervisorMissingTest,
    ::testing::Values(
        Missing{"xengnttab_open", ENOENT, ErrorCode::kNotFound, "module xen-gntdev loaded"},
        Missing{"xenevtchn_open", ENOENT, ErrorCode::kNotFound, "module xen-evtchn loaded"},
        Missing{"xc_interface_open", ENOENT, ErrorCode::kNotFound, "module xen-privcmd loaded"},
        Missing{"xengnttab_open", EACCES, ErrorCode::kDenied, "as root"},
        Missing{"xc_interface_open", EPERM, ErrorCode::kDenied, "/dev/xen/hypercall"},
        Missing{"xs_open", ECONNREFUSED, ErrorCode::kUnavailable, "systemctl status xen"},
        Missing{"xs_open", EACCES, ErrorCode::kDenied, "xenstored's socket"}));

}  // namespace
}  // namespace tmem::xen
