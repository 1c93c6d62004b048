#include "hypercall/loopback/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "hypercall/loopback_raw_guest.h"

namespace tmem::loopback {
namespace {

struct Bound {
  std::unique_ptr<EventChannel> channel;
  UniqueFd guest_end;
};

Bound MakeBound() {
  auto pair = Port::Create();
  return {*pair->port->Bind(), std::move(pair->guest_end)};
}

TEST(LoopbackChannelTest, CarriesNotificationsBothWays) {
  const Bound bound = MakeBound();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
  EXPECT_FALSE(IsReadable(bound.guest_end.get()));

  SendNotification(bound.guest_end.get());
  SendNotification(bound.guest_end.get());
  EXPECT_TRUE(IsReadable(bound.channel->fd()));
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));

  bound.channel->Notify();
  EXPECT_TRUE(IsReadable(bound.guest_end.get()));
  TakeNotifications(bound.guest_end.get());
  EXPECT_FALSE(IsReadable(bound.guest_end.get()));
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
  EXPECT_TRUE(IsReadable(bound.guest_end.get()));
}

TEST(LoopbackChannelTest, TheGuestsBlockingModeIsItsOwn) {
  const Bound bound = MakeBound();
  const int flags = ::fcntl(bound.guest_end.get(), F_GETFL);
  ASSERT_EQ(::fcntl(bound.guest_end.get(), F_SETFL, flags & ~O_NONBLOCK), 0);
  for (int i = 0; i < 1000; ++i) bound.channel->Notify();
  bound.channel->Acknowledge();
}

TEST(LoopbackChannelTest, AcknowledgingAFloodIsBounded) {
  const Bound bound = MakeBound();
  while (::send(bound.guest_end.get(), "x", 1, MSG_DONTWAIT) == 1) {
  }
  for (int i = 0; i < 100 && IsReadable(bound.channel->fd()); ++i) bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
}

TEST(LoopbackChannelTest, AGuestThatClosesItsEndIsNotHeardAgain) {
  Bound bound = MakeBound();
  bound.guest_end.Reset();
  bound.channel->Notify();
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));  // a level-triggered poll must not spin on it
}

TEST(LoopbackChannelTest, AGuestThatShutsItsEndDownIsNotHeardAgain) {
  const Bound bound = MakeBound();
  ::shutdown(bound.guest_end.get(), SHUT_RDWR);
  bound.channel->Notify();
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
}

TEST(LoopbackChannelTest, AGuestThatDisconnectsItsEndIsHeardOnceAtMost) {
  const Bound bound = MakeBound();
  const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  ASSERT_EQ(::connect(bound.guest_end.get(), &nowhere, sizeof(nowhere)), 0);
  bound.channel->Notify();
  bound.channel->Acknowledge();
  EXPECT_FALSE(IsReadable(bound.channel->fd()));
}

TEST(LoopbackChannelTest, DescriptorsInNotificationsAreDropped) {
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
  int pipe_ends[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd reader(pipe_ends[0]);
  UniqueFd writer(pipe_ends[1]);
  *reinterpret_cast<int*>(CMSG_DATA(c)) = writer.get();
  ASSERT_EQ(::sendmsg(bound.guest_end.get(), &message, 0), 1);
  writer.Reset();
  bound.channel->Acknowledge();
  // Nobody holds the writing end any more: the reader sees the end of the file.
  EXPECT_TRUE(AwaitReadable(reader.get()));
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace tmem::loopback
