#include "daemon/hypervisor_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/temporary_folder.h"

namespace tmem::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kDom0 = "00002f05\n";

class HypervisorFactoryTest : public testing::Test {
 protected:
  HypervisorFactoryTest() { config_.loopback_socket = folder_.Path("loopback.sock"); }

  TemporaryFolder folder_;
  Config config_;
};

TEST_F(HypervisorFactoryTest, KnowsADom0ByItsFeatures) {
  EXPECT_TRUE(IsXenDom0(folder_.Write("dom0", kDom0)));
  EXPECT_FALSE(IsXenDom0(folder_.Write("domU", "00002705\n")));
  EXPECT_FALSE(IsXenDom0(folder_.Write("empty", "")));
  EXPECT_FALSE(IsXenDom0(folder_.Path("none")));
}

TEST_F(HypervisorFactoryTest, AutoIsLoopbackOutsideXen) {
  const auto hypervisor = MakeHypervisor(config_, folder_.Path("none"));
  ASSERT_TRUE(hypervisor) << hypervisor.error().message;
  EXPECT_EQ((*hypervisor)->name(), "loopback");
}

TEST_F(HypervisorFactoryTest, AutoDoesNotPretendInADom0) {
  if (IsXenDom0(kXenFeatures)) GTEST_SKIP() << "there is a Xen to connect to";
  const auto hypervisor = MakeHypervisor(config_, folder_.Write("dom0", kDom0));
  ASSERT_FALSE(hypervisor);
  EXPECT_THAT(hypervisor.error().message,
              AllOf(StartsWith("this is a Xen dom0: "), HasSubstr("--hypervisor loopback")));
}

TEST_F(HypervisorFactoryTest, LoopbackCanBeHadInADom0) {
  config_.hypervisor = HypervisorKind::kLoopback;
  EXPECT_TRUE(MakeHypervisor(config_, folder_.Write("dom0", kDom0)));
}

TEST_F(HypervisorFactoryTest, XenIsNotSupportedOutsideADom0) {
  if (IsXenDom0(kXenFeatures)) GTEST_SKIP() << "there is a Xen to connect to";
  config_.hypervisor = HypervisorKind::kXen;
  const auto hypervisor = MakeHypervisor(config_, folder_.Path("none"));
  ASSERT_FALSE(hypervisor);
  EXPECT_EQ(hypervisor.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(hypervisor.error().message, HasSubstr("--hypervisor loopback"));
}

TEST_F(HypervisorFactoryTest, ASecondDaemonOnTheSocketIsToldWhichKnob) {
  const auto first = MakeHypervisor(config_, folder_.Path("none"));
  ASSERT_TRUE(first);
  const auto second = MakeHypervisor(config_, folder_.Path("none"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_THAT(second.error().message, HasSubstr("loopback.socket: "));
}

}  // namespace
}  // namespace tmem::daemon
