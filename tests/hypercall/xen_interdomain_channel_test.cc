#include "hypercall/xen/interdomain_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

#include "hypercall/fake_libxen.h"

namespace tmem::xen {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr GuestId kGuest{7};
constexpr EventPort kPort{3};
constexpr evtchn_port_t kLocal = 103;  // as the fake numbers it

class InterdomainChannelTest : public ::testing::Test {
 protected:
  void AddPort(uint32_t status, uint16_t other) {
    xc_evtchn_status_t port{};
    port.dom = kGuest.value;
    port.port = kPort.value;
    port.status = status;
    if (status == EVTCHNSTAT_unbound) port.u.unbound.dom = other;
    if (status == EVTCHNSTAT_interdomain) port.u.interdomain.dom = other;
    xen_.ports[{kGuest.value, kPort.value}] = port;
  }
  Result<std::unique_ptr<EventChannel>> Bind() {
    return InterdomainChannel::Bind(control_.get(), kGuest, kPort);
  }

  FakeXen xen_;
  ControlHandle control_{xc_interface_open(nullptr, nullptr, 0)};
};

TEST_F(InterdomainChannelTest, BindsNotifiesAndUnbinds) {
  AddPort(EVTCHNSTAT_unbound, 0);
  auto channel = Bind();
  ASSERT_TRUE(channel);
  EXPECT_THAT(xen_.bound, ElementsAre(kLocal));
  (*channel)->Notify();
  EXPECT_THAT(xen_.notified, ElementsAre(kLocal));
  channel->reset();
  EXPECT_THAT(xen_.bound, IsEmpty());
}

TEST_F(InterdomainChannelTest, AcknowledgesByUnmasking) {
  AddPort(EVTCHNSTAT_unbound, 0);
  auto channel = Bind();
  ASSERT_TRUE(channel);
  EXPECT_EQ((*channel)->fd(), xen_.pending.get());
  ASSERT_EQ(::eventfd_write(xen_.pending.get(), 1), 0);
  (*channel)->Acknowledge();
  EXPECT_THAT(xen_.unmasked, ElementsAre(kLocal));
}

TEST_F(InterdomainChannelTest, AcknowledgingNothingDoesNotBlock) {
  AddPort(EVTCHNSTAT_unbound, 0);
  auto channel = Bind();
  ASSERT_TRUE(channel);
  (*channel)->Acknowledge();
  EXPECT_EQ(xen_.pending_calls, 0);
  EXPECT_THAT(xen_.unmasked, IsEmpty());
}

TEST_F(InterdomainChannelTest, APortThatOurPredecessorHoldsIsUnavailable) {
  AddPort(EVTCHNSTAT_interdomain, 0);
  const auto channel = Bind();
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code, ErrorCode::kUnavailable);
}

TEST_F(InterdomainChannelTest, APortThatBecameFreeMeanwhileIsUnavailable) {
  AddPort(EVTCHNSTAT_unbound, 0);
  xen_.failures["xenevtchn_bind_interdomain"] = EINVAL;
  const auto channel = Bind();
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code, ErrorCode::kUnavailable);
}

TEST_F(InterdomainChannelTest, APortThatIsNotForUsIsInvalid) {
  for (const auto& [status, other] :
       {std::pair{EVTCHNSTAT_interdomain, 5}, {EVTCHNSTAT_unbound, 5}, {EVTCHNSTAT_ipi, 0}}) {
    AddPort(static_cast<uint32_t>(status), static_cast<uint16_t>(other));
    const auto channel = Bind();
    ASSERT_FALSE(channel);
    EXPECT_EQ(channel.error().code, ErrorCode::kInvalid);
  }
}

TEST_F(InterdomainChannelTest, APortThatDoesNotExistIsInvalid) {
  const auto channel = Bind();
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(channel.error().message, "cannot bind event channel 3 of guest 7: Invalid argument");
}

TEST_F(InterdomainChannelTest, OtherErrorsAreToldAsTheyAre) {
  AddPort(EVTCHNSTAT_interdomain, 0);
  xen_.failures["xenevtchn_bind_interdomain"] = ENOSPC;
  EXPECT_EQ(Bind().error().code, ErrorCode::kExhausted);
  xen_.failures = {{"xenevtchn_open", EMFILE}};
  EXPECT_EQ(Bind().error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace tmem::xen
