// The loopback hypervisor against guests that break the rules of wire.h in each way it names.
// After each attack a well-behaved guest must be served as if nothing had been.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "daemon/temporary_folder.h"
#include "hypercall/loopback/loopback_hypervisor.h"
#include "hypercall/loopback/packet.h"
#include "hypercall/loopback_raw_guest.h"

namespace tmem::loopback {
namespace {

class LoopbackServerTest : public ::testing::Test {
 protected:
  LoopbackServerTest() {
    auto hypervisor = LoopbackHypervisor::Create({.socket_path = socket_path_});
    if (!hypervisor) return;
    hypervisor_ = *std::move(hypervisor);
    (void)hypervisor_->Guests();  // lets guests in
  }

  void SetUp() override {
    ASSERT_TRUE(hypervisor_);
    bystander_ = std::make_unique<RawGuest>(socket_path_);
    ASSERT_TRUE(bystander_->Hello("bystander"));
  }

  void TearDown() override {
    const auto answer = bystander_->Call(MessageType::kRead, "/local/domain/1/name");
    ASSERT_TRUE(answer) << "the bystander lost its connection";
    EXPECT_EQ(answer->payload, "bystander");
    RawGuest newcomer(socket_path_);
    EXPECT_TRUE(newcomer.Hello("newcomer"));
  }

  // A guest that may write below the folder "/local/domain/<domid>/data".
  std::unique_ptr<RawGuest> MakeGuest(const std::string& name) {
    auto guest = std::make_unique<RawGuest>(socket_path_);
    domid_ = guest->Hello(name).value_or(0);
    EXPECT_NE(domid_, 0);
    folder_ = fmt::format("/local/domain/{}/data", domid_);
    const Directory::Node nodes[] = {
        {folder_, "", Directory::Permissions{GuestId{domid_}, kBackendDomain}}};
    EXPECT_TRUE(hypervisor_->directory().WriteAll(nodes));
    return guest;
  }

  // A guest that sends this right after hello is cut off.
  void ExpectCutOff(std::string_view bytes, std::span<const int> descriptors = {}) {
    RawGuest guest(socket_path_);
    ASSERT_TRUE(guest.Hello("attacker"));
    ASSERT_TRUE(guest.SendBytes(bytes, descriptors));
    EXPECT_TRUE(guest.AwaitClosed());
  }

  const TemporaryFolder files_;
  const std::string socket_path_ = files_.Path("socket");
  std::unique_ptr<LoopbackHypervisor> hypervisor_;
  std::unique_ptr<RawGuest> bystander_;
  uint16_t domid_ = 0;
  std::string folder_;
};

// ---- framing ----

TEST_F(LoopbackServerTest, CutsOffTruncatedHeaders) {
  const std::string packet = RawGuest::Packet(MessageType::kRead, 1, "/");
  for (size_t length = 1; length < sizeof(Header); ++length) {
    ExpectCutOff(packet.substr(0, length));
  }
}

TEST_F(LoopbackServerTest, CutsOffEmptyPackets) { ExpectCutOff(""); }

TEST_F(LoopbackServerTest, CutsOffLengthsThatDoNotMatch) {
  for (const uint32_t length : {0u, 1u, 5u, 0x7fffffffu, 0xffffffffu}) {
    const Header header{.type = MessageType::kRead, .request = 1, .length = length};
    ExpectCutOff(Encode(header) + "/a");
  }
}

TEST_F(LoopbackServerTest, CutsOffOversizedPackets) {
  ExpectCutOff(RawGuest::Packet(MessageType::kWrite, 1, std::string(kMaxPayload + 1, 'x')));
  ExpectCutOff(RawGuest::Packet(MessageType::kWrite, 1, std::string(100'000, 'x')));
}

TEST_F(LoopbackServerTest, TakesTheLargestPacket) {
  const auto guest = MakeGuest("large");
  const std::string path = folder_ + "/" + std::string(kMaxPath - folder_.size() - 1, 'a');
  EXPECT_EQ(guest->Error(MessageType::kWrite, Join(path, std::string(kMaxValue, 'v'))), 0);
}

TEST_F(LoopbackServerTest, CutsOffASecondHello) {
  ExpectCutOff(RawGuest::Packet(MessageType::kHello, 2, RawGuest::HelloPayload("again")));
}

TEST_F(LoopbackServerTest, CutsOffRequestsThatClaimAnError) {
  Header header{.type = MessageType::kAllocPort, .error = 1, .request = 1};
  ExpectCutOff(Encode(header));
}

TEST_F(LoopbackServerTest, AnswersUnknownRequestsWithAnError) {
  const auto guest = MakeGuest("curious");
  for (const int type : {0, 9, 63, 64, 65, 66, 0xffff}) {
    EXPECT_EQ(guest->Error(static_cast<MessageType>(type), Join("/", "")), EINVAL) << type;
  }
}

TEST_F(LoopbackServerTest, AnswersPayloadsWithoutASecondPartWithAnError) {
  const auto guest = MakeGuest("curious");
  for (const auto type : {MessageType::kWrite, MessageType::kWatch, MessageType::kUnwatch}) {
    EXPECT_EQ(guest->Error(type, folder_), EINVAL);
    EXPECT_EQ(guest->Error(type, ""), EINVAL);
  }
  EXPECT_EQ(guest->Error(MessageType::kRead, std::string("/a\0b", 4)), EINVAL);
}

// ---- hello ----

TEST_F(LoopbackServerTest, CutsOffWhoDoesNotSayHelloFirst) {
  RawGuest guest(socket_path_);
  ASSERT_TRUE(guest.SendBytes(RawGuest::Packet(MessageType::kRead, 1, "/")));
  EXPECT_TRUE(guest.AwaitClosed());
}

TEST_F(LoopbackServerTest, RefusesBadNames) {
  const UniqueFd memfd = MakeGoodMemfd();
  RawGuest guest(socket_path_);
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a/b"),
                                  std::string("a\0", 2), std::string(kMaxName + 1, 'a')}) {
    const auto answer = guest.HelloWith(name, memfd.get());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header.error, EINVAL) << name;
  }
  // A refused hello may be followed by a better one.
  EXPECT_TRUE(guest.Hello(std::string(kMaxName, 'a')));
}

TEST_F(LoopbackServerTest, RefusesAnotherVersion) {
  RawGuest guest(socket_path_);
  const UniqueFd memfd = MakeGoodMemfd();
  const int descriptors[] = {memfd.get()};
  ASSERT_TRUE(guest.SendBytes(
      RawGuest::Packet(MessageType::kHello, 1, Encode(Hello{.version = kWireVersion + 1}) + "new"),
      descriptors));
  const auto answer = guest.Receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.error, EOPNOTSUPP);
}

TEST_F(LoopbackServerTest, RefusesATruncatedHello) {
  RawGuest guest(socket_path_);
  ASSERT_TRUE(guest.SendBytes(RawGuest::Packet(MessageType::kHello, 1, "abc")));
  const auto answer = guest.Receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.error, EINVAL);
}

TEST_F(LoopbackServerTest, RefusesMemoryThatIsMissingOrUnsealed) {
  RawGuest guest(socket_path_);
  const UniqueFd unsealed = MakeMemfd(4, 0);
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  for (const int fd : {-1, unsealed.get(), zero.get()}) {
    const auto answer = guest.HelloWith("poor", fd);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header.error, EINVAL);
  }
}

TEST_F(LoopbackServerTest, RefusesASecondGuestOfTheSameName) {
  RawGuest guest(socket_path_);
  const UniqueFd memfd = MakeGoodMemfd();
  const auto answer = guest.HelloWith("bystander", memfd.get());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.error, EEXIST);
  EXPECT_THAT(answer->payload, ::testing::HasSubstr("bystander"));
}

TEST_F(LoopbackServerTest, LetsAGuestComeBackAtOnce) {
  for (int i = 0; i < 50; ++i) {
    RawGuest guest(socket_path_);
    EXPECT_TRUE(guest.Hello("hasty")) << i;
  }
}

// ---- descriptors ----

TEST_F(LoopbackServerTest, CutsOffDescriptorsThatNobodyAskedFor) {
  const UniqueFd memfd = MakeGoodMemfd();
  const std::vector<int> one(1, memfd.get());
  const std::vector<int> many(200, memfd.get());
  ExpectCutOff(RawGuest::Packet(MessageType::kRead, 1, "/"), one);
  ExpectCutOff(RawGuest::Packet(MessageType::kRead, 1, "/"), many);

  for (const size_t count : {2, 200}) {
    RawGuest guest(socket_path_);
    const std::vector<int> several(count, memfd.get());
    ASSERT_TRUE(guest.SendBytes(
        RawGuest::Packet(MessageType::kHello, 1, RawGuest::HelloPayload("generous")), several));
    EXPECT_TRUE(guest.AwaitClosed());
  }
}

TEST_F(LoopbackServerTest, KeepsNoDescriptorOfARefusedGuest) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  RawGuest guest(socket_path_);
  ASSERT_TRUE(guest.HelloWith("piper", writer.get()));
  writer.Reset();
  EXPECT_TRUE(AwaitReadable(reader.get()));
  char byte;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // the end: no copy is left
}

// ---- floods ----

TEST_F(LoopbackServerTest, AFloodOfRequestsDoesNotKeepOthersWaiting) {
  const auto flooder = MakeGuest("flooder");
  const std::string request = RawGuest::Packet(MessageType::kRead, 1, folder_);
  // Sends and never reads: in the end the server stops reading, and nothing is lost but its time.
  int sent = 0;
  while (sent < 1'000'000 && flooder->TrySendBytes(request)) ++sent;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(bystander_->Error(MessageType::kRead, "/local/domain/1/name"), 0);
  }
  // What was sent is still answered, in order, when the flooder begins to read.
  for (int i = 0; i < sent; ++i) ASSERT_TRUE(flooder->Receive()) << i;
}

TEST_F(LoopbackServerTest, AGuestThatReadsNoEventsIsNotCutOffAndCostsNothing) {
  const auto guest = MakeGuest("sleeper");
  ASSERT_EQ(guest->Error(MessageType::kWatch, Join(folder_, "t")), 0);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(hypervisor_->directory().Write(fmt::format("{}/{}", folder_, i % 100), "x"));
  }
  EXPECT_EQ(guest->Error(MessageType::kRead, folder_), 0);
}

TEST_F(LoopbackServerTest, StrangersMakeRoomForGuests) {
  std::vector<std::unique_ptr<RawGuest>> strangers;
  for (uint32_t i = 0; i < 2 * kMaxConnections; ++i) {
    strangers.push_back(std::make_unique<RawGuest>(socket_path_));
    ASSERT_GE(strangers.back()->socket(), 0);
  }
  RawGuest guest(socket_path_);
  EXPECT_TRUE(guest.Hello("guest"));
  EXPECT_TRUE(strangers.front()->AwaitClosed());
}

TEST_F(LoopbackServerTest, GuestsAreNotPushedOutByMore) {
  std::vector<std::unique_ptr<RawGuest>> guests;
  for (uint32_t i = 0; i < kMaxConnections - 2; ++i) {
    guests.push_back(std::make_unique<RawGuest>(socket_path_));
    ASSERT_TRUE(guests.back()->Hello(fmt::format("guest{}", i))) << i;
  }
  RawGuest last(socket_path_);
  ASSERT_TRUE(last.Hello("last"));
  RawGuest excess(socket_path_);
  EXPECT_FALSE(excess.Hello("excess"));
  EXPECT_EQ(guests.front()->Error(MessageType::kAllocPort, ""), 0);
}

TEST_F(LoopbackServerTest, LimitsPorts) {
  const auto guest = MakeGuest("sailor");
  for (uint32_t i = 0; i < kMaxPorts; ++i) {
    const auto answer = guest->Call(MessageType::kAllocPort, "");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header.error, 0);
    EXPECT_EQ(answer->descriptors.size(), 2u);
  }
  EXPECT_EQ(guest->Error(MessageType::kAllocPort, ""), ENOSPC);
}

TEST_F(LoopbackServerTest, GuestsSeeAndChangeOnlyWhatTheyMay) {
  const auto guest = MakeGuest("nosy");
  EXPECT_EQ(guest->Error(MessageType::kRead, "/local/domain/1/name"), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kList, "/local/domain"), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kWrite, Join("/local/domain/1/name", "mine")), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kRemove, "/local/domain/1"), EACCES);
  const std::string own = fmt::format("/local/domain/{}", domid_);
  EXPECT_EQ(guest->Error(MessageType::kWrite, Join(own + "/name", "other")), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kWrite, Join(own + "/more", "")), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kRemove, own), EACCES);
  EXPECT_EQ(guest->Error(MessageType::kRead, own + "/name"), 0);
  EXPECT_EQ(guest->Error(MessageType::kWrite, Join(folder_ + "/mine", "yes")), 0);
  EXPECT_EQ(guest->Error(MessageType::kWatch, Join("@releaseDomain", "t")), EACCES);
}

// Random bytes, some of them with a valid header, from a fixed seed.
TEST_F(LoopbackServerTest, SurvivesGarbage) {
  std::mt19937 random(20240607);
  for (int round = 0; round < 200; ++round) {
    RawGuest guest(socket_path_);
    ASSERT_TRUE(guest.Hello("garbage"));
    for (int i = 0; i < 10; ++i) {
      std::string bytes(random() % 64, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      const auto type = static_cast<MessageType>(random() % 12);
      if (random() % 4 != 0) bytes = RawGuest::Packet(type, i, bytes);
      if (!guest.TrySendBytes(bytes)) break;
    }
  }
}

}  // namespace
}  // namespace tmem::loopback
