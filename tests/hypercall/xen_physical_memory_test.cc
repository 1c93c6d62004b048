#include "hypercall/xen/physical_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "hypercall/fake_libxen.h"
#include "hypercall/xen/xen_hypervisor.h"

namespace tmem::xen {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kPagesPerMib = 256;
const std::string kTarget = std::string(kBackendTargetPath);
const std::string kStaticMax = "/local/domain/0/memory/static-max";

class XenPhysicalMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    xen_.AddDomain(0);
    xen_.AddDomain(1);
    dom0().tot_pages = 768 * kPagesPerMib;
    dom0().max_pages = 1280 * kPagesPerMib;
    hypervisor_ = ConnectToXen().value();
  }
  xc_domaininfo_t& dom0() { return xen_.domains[0]; }

  FakeXen xen_;
  std::unique_ptr<Hypervisor> hypervisor_;
};

TEST_F(XenPhysicalMemoryTest, FreeIsWhatNobodyHasAndNobodyWasPromised) {
  xen_.host.free_pages = 100 * kPagesPerMib;
  xen_.host.scrub_pages = 20 * kPagesPerMib;
  xen_.host.outstanding_pages = 50 * kPagesPerMib;
  EXPECT_EQ(hypervisor_->Memory()->free, MiB(70));
  xen_.host.outstanding_pages = 500 * kPagesPerMib;
  EXPECT_EQ(hypervisor_->Memory()->free, Bytes(0));
}

TEST_F(XenPhysicalMemoryTest, WithoutKeysXenSaysWhatDom0Holds) {
  const auto memory = hypervisor_->Memory();
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->held, MiB(768));
  EXPECT_EQ(memory->target, MiB(768));
  EXPECT_EQ(memory->maximum, MiB(1280));
  dom0().max_pages = UINT64_MAX;
  EXPECT_GE(hypervisor_->Memory()->maximum, GiB(1) * 1024);
}

TEST_F(XenPhysicalMemoryTest, KeysAreInKib) {
  xen_.nodes[kTarget] = {"614400", {}};
  xen_.nodes[kStaticMax] = {"1048576", {}};
  const auto memory = hypervisor_->Memory();
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->held, MiB(768));
  EXPECT_EQ(memory->target, MiB(600));
  EXPECT_EQ(memory->maximum, GiB(1));
  for (const char* const nonsense : {"", "much", "-1", "1 ", "18446744073709551615"}) {
    xen_.nodes[kTarget] = {nonsense, {}};
    EXPECT_EQ(hypervisor_->Memory().error().code, ErrorCode::kInvalid) << nonsense;
  }
}

TEST_F(XenPhysicalMemoryTest, ATargetIsAKeyAndXlMayChangeItAfterwards) {
  ASSERT_TRUE(hypervisor_->SetBackendTarget(MiB(1000)));
  EXPECT_EQ(xen_.nodes[kTarget].value, "1024000");
  EXPECT_EQ(xen_.nodes[kStaticMax].value, "1310720");
  EXPECT_EQ(dom0().max_pages, 1280 * kPagesPerMib);
  EXPECT_EQ(hypervisor_->Memory()->target, MiB(1000));
}

TEST_F(XenPhysicalMemoryTest, ALimitThatXlLoweredIsRaised) {
  dom0().max_pages = 769 * kPagesPerMib;
  xen_.nodes[kStaticMax] = {"1310720", {}};
  ASSERT_TRUE(hypervisor_->SetBackendTarget(MiB(1000)));
  EXPECT_EQ(dom0().max_pages, 1001 * kPagesPerMib);
  EXPECT_EQ(xen_.nodes[kStaticMax].value, "1310720");
}

TEST_F(XenPhysicalMemoryTest, EveryFailureIsTold) {
  for (const char* const function : {"xc_physinfo", "xc_domain_getinfolist", "xs_read"}) {
    xen_.failures = {{function, EACCES}};
    EXPECT_EQ(hypervisor_->Memory().error().code, ErrorCode::kDenied) << function;
  }
  dom0().max_pages = 1;
  for (const std::string& function :
       {std::string("xc_domain_getinfolist"), std::string("xc_domain_setmaxmem"),
        "xs_write " + kTarget, std::string("xs_transaction_start")}) {
    xen_.failures = {{function, EACCES}};
    EXPECT_EQ(hypervisor_->SetBackendTarget(MiB(1000)).error().code, ErrorCode::kDenied)
        << function;
  }
  EXPECT_FALSE(xen_.nodes.contains(kTarget));
  xen_.failures.clear();
  xen_.domains.erase(xen_.domains.begin());
  EXPECT_FALSE(hypervisor_->Memory()) << "the first that is listed is another domain";
}

}  // namespace
}  // namespace tmem::xen
