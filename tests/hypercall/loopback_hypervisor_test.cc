#include "hypercall/loopback/loopback_hypervisor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/temporary_folder.h"
#include "hypercall/loopback/packet.h"
#include "hypercall/loopback/realm.h"
#include "hypercall/loopback_raw_guest.h"

namespace tmem::loopback {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LoopbackHypervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    hypervisor_ = Create();
    ASSERT_TRUE(hypervisor_);
  }

  std::unique_ptr<LoopbackHypervisor> Create() {
    auto hypervisor = LoopbackHypervisor::Create({.socket_path = socket_path_});
    if (!hypervisor) return nullptr;
    (void)(*hypervisor)->Guests();  // lets guests in
    return *std::move(hypervisor);
  }
  Directory& directory() { return hypervisor_->directory(); }
  std::vector<GuestInfo> Guests() { return *hypervisor_->Guests(); }

  // Waits for an event with that token; its path.
  std::string AwaitEvent(const std::string& token) {
    while (true) {
      while (auto event = directory().NextEvent()) {
        if (event->token == token) return event->path;
      }
      if (!AwaitReadable(directory().fd())) return "none came";
    }
  }

  const TemporaryFolder files_;
  const std::string socket_path_ = files_.Path("socket");
  std::unique_ptr<LoopbackHypervisor> hypervisor_;
};

// ---- the socket ----

TEST_F(LoopbackHypervisorTest, MakesTheSocketWithTheModeAsked) {
  struct stat file{};
  ASSERT_EQ(::stat(socket_path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, mode_t{0600});
  const std::string other = files_.Path("open");
  const auto open = LoopbackHypervisor::Create({.socket_path = other, .socket_mode = 0666});
  ASSERT_TRUE(open);
  ASSERT_EQ(::stat(other.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, mode_t{0666});
}

TEST_F(LoopbackHypervisorTest, RemovesTheSocketAtItsEnd) {
  hypervisor_.reset();
  EXPECT_EQ(::access(socket_path_.c_str(), F_OK), -1);
}

TEST_F(LoopbackHypervisorTest, RefusesASocketThatAnotherServes) {
  const auto second = LoopbackHypervisor::Create({.socket_path = socket_path_});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_THAT(second.error().message, HasSubstr(socket_path_));
  RawGuest guest(socket_path_);
  EXPECT_TRUE(guest.Hello("guest"));  // the first is unharmed
}

TEST_F(LoopbackHypervisorTest, ReplacesTheSocketOfADeadProcess) {
  const std::string path = files_.Path("stale");
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  const auto hypervisor = LoopbackHypervisor::Create({.socket_path = path});
  ASSERT_TRUE(hypervisor) << hypervisor.error().message;
  (void)(*hypervisor)->Guests();
  EXPECT_TRUE(RawGuest(path).Hello("guest"));
}

TEST_F(LoopbackHypervisorTest, LeavesAFileThatIsNoSocketAlone) {
  const std::string path = files_.Write("precious", "data");
  const auto hypervisor = LoopbackHypervisor::Create({.socket_path = path});
  ASSERT_FALSE(hypervisor);
  EXPECT_EQ(hypervisor.error().code, ErrorCode::kExists);
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
}

TEST_F(LoopbackHypervisorTest, SaysWhatIsWrongWithAPath) {
  const auto too_long = LoopbackHypervisor::Create({.socket_path = std::string(200, 'a')});
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalid);
  const auto nowhere = LoopbackHypervisor::Create({.socket_path = files_.Path("none/socket")});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kNotFound);
}

// ---- guests ----

TEST_F(LoopbackHypervisorTest, GuestsComeAndGo) {
  ASSERT_TRUE(directory().Watch(std::string(kIntroduceDomain), "in"));
  ASSERT_TRUE(directory().Watch(std::string(kReleaseDomain), "out"));
  EXPECT_EQ(AwaitEvent("in"), kIntroduceDomain);
  EXPECT_EQ(AwaitEvent("out"), kReleaseDomain);
  EXPECT_THAT(Guests(), IsEmpty());

  auto guest = std::make_unique<RawGuest>(socket_path_);
  const auto domid = guest->Hello("alice");
  ASSERT_TRUE(domid);
  EXPECT_EQ(AwaitEvent("in"), kIntroduceDomain);
  const auto guests = Guests();
  ASSERT_EQ(guests.size(), 1u);
  EXPECT_EQ(guests[0].id.value, *domid);
  EXPECT_EQ(guests[0].name, "alice");
  const std::string folder = fmt::format("/local/domain/{}", *domid);
  EXPECT_EQ(directory().Read(folder + "/name").value_or(""), "alice");
  EXPECT_EQ(directory().Read(folder + "/vm").value_or(""), "/vm/" + guests[0].uuid.ToString());

  guest.reset();
  EXPECT_EQ(AwaitEvent("out"), kReleaseDomain);
  EXPECT_THAT(Guests(), IsEmpty());
  EXPECT_EQ(directory().Read(folder).error().code, ErrorCode::kNotFound);
}

TEST_F(LoopbackHypervisorTest, AGuestThatComesBackHasANewDomidAndTheSameUuid) {
  auto guest = std::make_unique<RawGuest>(socket_path_);
  ASSERT_TRUE(guest->Hello("alice"));
  const GuestInfo before = Guests().front();
  guest = std::make_unique<RawGuest>(socket_path_);
  ASSERT_TRUE(guest->Hello("alice"));
  const GuestInfo after = Guests().front();
  EXPECT_NE(before.id, after.id);
  EXPECT_EQ(before.uuid, after.uuid);

  // The uuid outlives the daemon.
  guest.reset();
  hypervisor_.reset();
  hypervisor_ = Create();
  RawGuest again(socket_path_);
  ASSERT_TRUE(again.Hello("alice"));
  EXPECT_EQ(Guests().front().uuid, before.uuid);
  RawGuest other(socket_path_);
  ASSERT_TRUE(other.Hello("bob"));
  EXPECT_NE(Guests().back().uuid, before.uuid);
}

TEST_F(LoopbackHypervisorTest, ReusesADomidOnlyAfterItsEndWasTold) {
  std::set<uint16_t> seen;
  for (int i = 0; i < 100; ++i) {
    RawGuest guest(socket_path_);
    const auto domid = guest.Hello("alice");
    ASSERT_TRUE(domid);
    EXPECT_TRUE(seen.insert(*domid).second);
  }
}

TEST_F(LoopbackHypervisorTest, MapsWhatAGuestGrants) {
  RawGuest guest(socket_path_);
  const UniqueFd memfd = MakeGoodMemfd(4);
  const uint32_t mark = 0x12345678;
  ASSERT_EQ(::pwrite(memfd.get(), &mark, sizeof(mark), 2 * 4096), ssize_t{sizeof(mark)});
  ASSERT_TRUE(guest.HelloWith("alice", memfd.get()));
  const GuestId id = Guests().front().id;
  const GrantRef refs[] = {GrantRef{3}};
  const auto pages = hypervisor_->Map(id, refs);
  ASSERT_TRUE(pages);
  EXPECT_EQ(std::memcmp((*pages)->bytes().data(), &mark, sizeof(mark)), 0);

  const GrantRef wrong[] = {GrantRef{5}};
  EXPECT_FALSE(hypervisor_->Map(id, wrong));
  EXPECT_FALSE(hypervisor_->Map(GuestId{77}, refs));

  // Pages and channels outlive the guest, and the hypervisor.
  guest.Close();
  hypervisor_.reset();
  (*pages)->bytes()[0] = std::byte{1};
}

TEST_F(LoopbackHypervisorTest, BindsThePortsOfAGuest) {
  RawGuest guest(socket_path_);
  ASSERT_TRUE(guest.Hello("alice"));
  const GuestId id = Guests().front().id;
  const auto answer = guest.Call(MessageType::kAllocPort, "");
  AllocPortReply reply;
  ASSERT_TRUE(answer && Decode(answer->payload, reply));
  ASSERT_EQ(answer->descriptors.size(), 2u);

  auto channel = hypervisor_->Bind(id, EventPort{reply.port});
  ASSERT_TRUE(channel);
  (*channel)->Notify();
  EXPECT_TRUE(AwaitReadable(answer->descriptors[0].get()));
  Ring(answer->descriptors[1].get());
  EXPECT_TRUE(AwaitReadable((*channel)->fd()));
  EXPECT_EQ(hypervisor_->Bind(id, EventPort{reply.port}).error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(hypervisor_->Bind(id, EventPort{reply.port + 1}));
  EXPECT_FALSE(hypervisor_->Bind(GuestId{77}, EventPort{reply.port}));
  channel->reset();
  EXPECT_TRUE(hypervisor_->Bind(id, EventPort{reply.port}));
}

// ---- the directory ----

TEST_F(LoopbackHypervisorTest, BackendAndGuestHearOfEachOther) {
  RawGuest guest(socket_path_);
  const auto domid = guest.Hello("alice");
  ASSERT_TRUE(domid);
  const std::string front = fmt::format("/local/domain/{}/device/tmem/0", *domid);
  const std::string back = fmt::format("/local/domain/0/backend/tmem/{}/0", *domid);
  const Directory::Node nodes[] = {
      {front, "", Directory::Permissions{GuestId{*domid}, kBackendDomain}},
      {front + "/state", "1", {}},
      {back, "", Directory::Permissions{kBackendDomain, GuestId{*domid}}},
      {back + "/state", "2", {}}};
  ASSERT_TRUE(directory().WriteAll(nodes));
  ASSERT_TRUE(directory().Watch(front + "/state", "front"));
  EXPECT_EQ(AwaitEvent("front"), front + "/state");

  EXPECT_EQ(guest.Error(MessageType::kWatch, Join(back + "/state", "t")), 0);
  EXPECT_EQ(guest.NextEvent(), back + "/state");
  EXPECT_EQ(guest.Error(MessageType::kWrite, Join(front + "/state", "3")), 0);
  EXPECT_EQ(AwaitEvent("front"), front + "/state");
  EXPECT_EQ(directory().Read(front + "/state").value_or(""), "3");
  ASSERT_TRUE(directory().Write(back + "/state", "4"));
  EXPECT_EQ(guest.NextEvent(), back + "/state");
  EXPECT_EQ(guest.Call(MessageType::kRead, back + "/state")->payload, "4");
  EXPECT_EQ(guest.Error(MessageType::kWrite, Join(back + "/state", "6")), EACCES);

  // It also hears that the device was taken away.
  ASSERT_TRUE(directory().Remove(back));
  EXPECT_EQ(guest.NextEvent(), back + "/state");
}

TEST_F(LoopbackHypervisorTest, TheDescriptorIsReadableWhileEventsWait) {
  ASSERT_TRUE(directory().Watch("/a", "t"));
  ASSERT_TRUE(directory().Watch("/b", "t"));
  EXPECT_TRUE(IsReadable(directory().fd()));
  EXPECT_TRUE(directory().NextEvent());
  EXPECT_TRUE(IsReadable(directory().fd()));
  EXPECT_TRUE(directory().NextEvent());
  EXPECT_FALSE(directory().NextEvent());
  EXPECT_FALSE(IsReadable(directory().fd()));
  ASSERT_TRUE(directory().Unwatch("/a", "t"));
  EXPECT_FALSE(directory().Unwatch("/a", "t"));
  ASSERT_TRUE(directory().Write("/b", "1"));
  EXPECT_TRUE(IsReadable(directory().fd()));
}

// ---- guests of a hypervisor before this one ----

class ExpectedGuestsTest : public LoopbackHypervisorTest {
 protected:
  // A hypervisor that waits for alice, who was guest 7.
  void SetUp() override { Restart(std::chrono::hours(1)); }
  void Restart(Duration return_time) {
    hypervisor_.reset();
    auto hypervisor =
        LoopbackHypervisor::Create({.socket_path = socket_path_, .return_time = return_time});
    ASSERT_TRUE(hypervisor);
    hypervisor_ = *std::move(hypervisor);
    const GuestInfo alice{GuestId{7}, "alice", UuidOfName("alice")};
    hypervisor_->Expect({&alice, 1});
    ASSERT_TRUE(directory().Watch(std::string(kReleaseDomain), "out"));
  }
};

TEST_F(ExpectedGuestsTest, AreListedAndHaveTheirDomidAgain) {
  ASSERT_EQ(Guests().size(), 1u);
  EXPECT_EQ(Guests()[0].id, GuestId{7});
  RawGuest alice(socket_path_);
  EXPECT_EQ(alice.HelloAgain("alice", 7), 7);
  EXPECT_EQ(Guests().size(), 1u);
}

TEST_F(ExpectedGuestsTest, AnotherNameIsAnotherGuest) {
  ASSERT_EQ(Guests().size(), 1u);
  RawGuest mallory(socket_path_);
  EXPECT_FALSE(mallory.HelloAgain("mallory", 7));
  EXPECT_EQ(Guests().size(), 2u);
}

TEST_F(ExpectedGuestsTest, ANewGuestOfThatNameEndsTheWaiting) {
  ASSERT_EQ(Guests().size(), 1u);
  RawGuest alice(socket_path_);
  EXPECT_NE(alice.Hello("alice"), 7);
  EXPECT_EQ(AwaitEvent("out"), kReleaseDomain);
  ASSERT_EQ(Guests().size(), 1u);
  EXPECT_NE(Guests()[0].id, GuestId{7});
}

TEST_F(ExpectedGuestsTest, AreReleasedWhenTheyDoNotCome) {
  Restart(Duration::zero());
  (void)Guests();
  while (!Guests().empty()) EXPECT_EQ(AwaitEvent("out"), kReleaseDomain);
  RawGuest alice(socket_path_);
  EXPECT_FALSE(alice.HelloAgain("alice", 7));
}

TEST_F(ExpectedGuestsTest, NobodyHasTwoLives) {
  (void)Guests();
  RawGuest alice(socket_path_);
  ASSERT_TRUE(alice.HelloAgain("alice", 7));
  RawGuest again(socket_path_);
  EXPECT_FALSE(again.HelloAgain("alice", 7));
}

}  // namespace
}  // namespace tmem::loopback
