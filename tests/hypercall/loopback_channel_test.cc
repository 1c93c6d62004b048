#include "hypercall/loopback/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "hypercall/loopback_raw_guest.h"

namespace tmem::loopback {
namespace {

struct Bound {
  std::unique_ptr<EventChannel> channel;
  GuestEnd guest_end;
};

Bound MakeBound() {
  auto pair = Port::Create();
  return {*pair->port->Bind(), std::move(pair->guest_end)};
}

TEST(LoopbackChannelTest, CarriesNotificationsBothWays) {
  const Bound bound = MakeBound();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
  EXPECT_FALSE(IsReadable(bound.guest_end.inbound.get()));

  Ring(bound.guest_end.outbound.get());
  Ring(bound.guest_end.outbound.get());
  EXPECT_TRUE(IsReadable(bound.channel->fd()));
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));

  bound.channel->Notify();
  EXPECT_TRUE(IsReadable(bound.guest_end.inbound.get()));
  TakeNotifications(bound.guest_end.inbound.get());
  EXPECT_FALSE(IsReadable(bound.guest_end.inbound.get()));
}

TEST(LoopbackChannelTest, BindsOnceAtATime) {
  const auto pair = Port::Create();
  auto first = pair->port->Bind();
  ASSERT_TRUE(first);
  const auto second = pair->port->Bind();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  first->reset();
  EXPECT_TRUE(pair->port->Bind());
}

// Each of these would hang the test, were the daemon's side to block.

TEST(LoopbackChannelTest, NotifyingAGuestThatNeverListensReturns) {
  const Bound bound = MakeBound();
  for (int i = 0; i < 1000; ++i) bound.channel->Notify();
  EXPECT_TRUE(IsReadable(bound.guest_end.inbound.get()));
}

TEST(LoopbackChannelTest, TheGuestsBlockingModeIsItsOwn) {
  const Bound bound = MakeBound();
  for (const UniqueFd* end : {&bound.guest_end.inbound, &bound.guest_end.outbound}) {
    const int flags = ::fcntl(end->get(), F_GETFL);
    ASSERT_EQ(::fcntl(end->get(), F_SETFL, flags & ~O_NONBLOCK), 0);
  }
  for (int i = 0; i < 1000; ++i) bound.channel->Notify();
  bound.channel->Acknowledge();
}

TEST(LoopbackChannelTest, OneAcknowledgementTakesAFlood) {
  const Bound bound = MakeBound();
  const uint64_t flood = UINT64_MAX - 1;  // the most that an eventfd counts
  ASSERT_EQ(::write(bound.guest_end.outbound.get(), &flood, sizeof(flood)), 8);
  Ring(bound.guest_end.outbound.get());  // and one that does not fit
  EXPECT_TRUE(IsReadable(bound.channel->fd()));
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
}

TEST(LoopbackChannelTest, AGuestThatTakesItsOwnRingsIsNotWaitedFor) {
  const Bound bound = MakeBound();
  Ring(bound.guest_end.outbound.get());
  EXPECT_TRUE(IsReadable(bound.channel->fd()));
  Silence(bound.guest_end.outbound.get());
  bound.channel->Acknowledge();
}

TEST(LoopbackChannelTest, AGuestThatClosesItsEndIsNotHeardAgain) {
  Bound bound = MakeBound();
  bound.guest_end = {};
  bound.channel->Notify();
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));  // a level-triggered poll must not spin on it
}

TEST(LoopbackChannelTest, WhatAGuestDoesToItsSocketIsNotHeard) {
  const Bound bound = MakeBound();
  const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::shutdown(bound.guest_end.inbound.get(), SHUT_RDWR);
  ASSERT_EQ(::connect(bound.guest_end.inbound.get(), &nowhere, sizeof(nowhere)), 0);
  bound.channel->Notify();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
}

// A datagram may carry a TCP socket that lingers: whoever drops the last copy of it waits for as
// long as the guest says, even if all it did was to receive the datagram without the descriptor.
TEST(LoopbackChannelTest, AGuestCannotSendDescriptorsThatTakeLongToClose) {
  const Bound bound = MakeBound();
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 0;
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  const int any = bound.guest_end.outbound.get();
  std::memcpy(CMSG_DATA(c), &any, sizeof(any));
  EXPECT_LT(::sendmsg(bound.guest_end.inbound.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT), 0);
  EXPECT_LT(::sendmsg(bound.guest_end.outbound.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT), 0);
}

}  // namespace
}  // namespace tmem::loopback
