// Guests that break the rules on the loopback hypervisor's wire, one layer at a time, beside a
// guest that keeps them. Whatever they do: it is served as if nothing had been, its pages are as it
// put them, and others can come.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/front_ring.h"
#include "client/real_backend_fixture.h"
#include "client/shared_area.h"
#include "hypercall/loopback/channel.h"
#include "hypercall/loopback/packet.h"
#include "hypercall/loopback_raw_guest.h"
#include "hypercall/xenbus.h"

namespace tmem::client {
namespace {

using loopback::Decode;
using loopback::Encode;
using loopback::Join;
using loopback::MessageType;
using loopback::RawGuest;

constexpr Shape kShape{.queues = 2, .ring_page_order = 0, .slots = 8};

// A frontend whose every step the test takes.
class RawFrontend {
 public:
  explicit RawFrontend(const std::string& socket_path) : guest_(socket_path) {}

  RawGuest& guest() { return guest_; }
  SharedArea& area() { return area_; }
  FrontRing& ring(uint32_t queue) { return rings_[queue]; }

  void SayHello() {
    const auto answer = guest_.HelloWith("hostile", area_.memfd());
    loopback::HelloReply reply;
    ASSERT_TRUE(answer && answer->header.error == 0 && Decode(answer->payload, reply));
    const GuestId id{static_cast<uint16_t>(reply.domid)};
    frontend_ = FrontendPath(id);
    backend_ = BackendPath(id);
  }
  void FindDevice() {
    const std::string key = frontend_ + "/backend";
    ASSERT_EQ(guest_.Error(MessageType::kWatch, Join(key, "")), 0);
    while (guest_.Error(MessageType::kRead, key) != 0) ASSERT_TRUE(guest_.NextEvent());
    ASSERT_EQ(guest_.Error(MessageType::kWatch, Join(backend_ + "/state", "")), 0);
  }
  void AwaitBackend(XenbusState state) {
    while (BackendKey("state") != ToNode(state)) ASSERT_TRUE(guest_.NextEvent());
  }
  std::string BackendKey(const std::string& key) {
    const auto answer = guest_.Call(MessageType::kRead, backend_ + "/" + key);
    return answer && answer->header.error == 0 ? answer->payload : "";
  }
  void AllocPort() {
    auto answer = guest_.Call(MessageType::kAllocPort, "");
    loopback::AllocPortReply reply;
    ASSERT_TRUE(answer && Decode(answer->payload, reply) && answer->descriptors.size() == 2);
    ports_.push_back(reply.port);
    outbound_.push_back(std::move(answer->descriptors[1]));
  }
  void WriteKey(const std::string& key, const std::string& value) {
    ASSERT_EQ(guest_.Error(MessageType::kWrite, Join(frontend_ + "/" + key, value)), 0);
  }
  void SetState(XenbusState state) { WriteKey("state", ToNode(state)); }
  void Send(uint32_t queue, const tmemif_request& request) {
    rings_[queue].Push(request);
    loopback::Ring(outbound_[queue].get());
  }
  tmemif_response AwaitResponse(uint32_t queue) {
    tmemif_response response{};
    while (rings_[queue].Take(response) == FrontRing::Taken::kNothing) std::this_thread::yield();
    return response;
  }

  // All that a frontend does, in its order, as far as a state in which it is served.
  std::vector<std::function<void()>> Steps() {
    std::vector<std::function<void()>> steps;
    steps.push_back([&] { SayHello(); });
    steps.push_back([&] { FindDevice(); });
    steps.push_back([&] { AwaitBackend(XenbusState::kInitWait); });
    for (uint32_t i = 0; i < kShape.queues; ++i) steps.push_back([&] { AllocPort(); });
    steps.push_back([&] { WriteKey("version", "1"); });
    steps.push_back([&] { WriteKey("num-queues", fmt::format("{}", kShape.queues)); });
    steps.push_back([&] { WriteKey("ring-page-order", "0"); });
    steps.push_back([&] { WriteKey("num-slots", fmt::format("{}", kShape.slots)); });
    steps.push_back([&] { WriteKey("feature-posted-put", "1"); });
    for (uint32_t i = 0; i < kShape.queues; ++i) {
      steps.push_back([this, i] {
        WriteKey(fmt::format("queue-{}/directory-ref", i),
                 fmt::format("{}", area_.DirectoryRef(i)));
      });
      steps.push_back([this, i] {
        WriteKey(fmt::format("queue-{}/event-channel", i), fmt::format("{}", ports_[i]));
      });
    }
    steps.push_back([&] { SetState(XenbusState::kInitialised); });
    steps.push_back([&] { AwaitBackend(XenbusState::kConnected); });
    steps.push_back([&] { SetState(XenbusState::kConnected); });
    return steps;
  }
  void Connect() {
    for (const auto& step : Steps()) step();
  }

 private:
  static SharedArea MakeArea() {
    auto area = *SharedArea::Create(kShape);
    area.Lay(kShape);
    return area;
  }

  SharedArea area_ = MakeArea();
  RawGuest guest_;
  std::string frontend_;
  std::string backend_;
  std::vector<uint32_t> ports_;
  std::vector<UniqueFd> outbound_;
  std::array<FrontRing, kShape.queues> rings_{FrontRing(area_.Ring(0), 0),
                                              FrontRing(area_.Ring(1), 0)};
};

tmemif_request NewPoolRequest(uint32_t flags) {
  tmemif_request request{};
  request.op = TMEMIF_OP_NEW_POOL;
  request.u.new_pool.flags = flags | TMEMIF_SPEC_VERSION << TMEMIF_POOL_VERSION_SHIFT;
  return request;
}

tmemif_request PutAllRequest(uint32_t pool, uint64_t object) {
  tmemif_request request{};
  request.op = TMEMIF_OP_PUT_PAGE;
  request.pool = pool;
  request.u.page.oid.word[0] = object;
  request.u.page.nr_pages = kShape.slots;
  return request;
}

class HostileGuestsTest : public RealBackendFixture {
 protected:
  static constexpr uint32_t kPages = 64;

  void SetUp() override {
    RealBackendFixture::SetUp();
    bystander_ = TryConnect({.queues = 2}, "bystander");
    ASSERT_TRUE(bystander_) << error_.data();
    pool_ = RealBackendFixture::NewPool(bystander_, TMEM_POOL_PERSIST);
    uint64_t done = 0;
    ASSERT_EQ(tmem_put_batch(bystander_.get(), pool_, &oid_, 0, kPages, pages_.data(), &done),
              static_cast<int>(kPages));
  }

  void TearDown() override {
    ExpectUnharmed();
    EXPECT_EQ(Stats(bystander_).reconnects, 0u);
    EXPECT_TRUE(TryConnect({}, "newcomer")) << error_.data();
    bystander_.reset();
    RealBackendFixture::TearDown();
  }

  void ExpectUnharmed() {
    Pages back(pages_.size());
    uint64_t done = 0;
    EXPECT_EQ(tmem_get_batch(bystander_.get(), pool_, &oid_, 0, kPages, back.data(), &done),
              static_cast<int>(kPages));
    EXPECT_EQ(back, pages_);
  }

  // The number of an ephemeral pool that it made.
  static uint32_t ConnectWithPool(RawFrontend& frontend) {
    frontend.Connect();
    if (HasFatalFailure()) return 0;
    frontend.Send(0, NewPoolRequest(0));
    return static_cast<uint32_t>(frontend.AwaitResponse(0).status);
  }

  // The backend tells the reason and has let go of the queues.
  static void ExpectViolation(RawFrontend& frontend, const std::string& reason) {
    frontend.AwaitBackend(XenbusState::kClosed);
    EXPECT_NE(frontend.BackendKey("error").find(reason), std::string::npos)
        << frontend.BackendKey("error");
  }

  ClientPtr bystander_;
  int pool_ = -1;
  const tmem_oid oid_ = Oid(1);
  const Pages pages_ = MakePages(1, kPages);
};

TEST_F(HostileGuestsTest, AFrontendMayDieAtEveryStep) {
  const size_t steps = RawFrontend(socket_path_).Steps().size();
  for (size_t lived = 0; lived <= steps; ++lived) {
    SCOPED_TRACE(lived);
    RawFrontend frontend(socket_path_);
    const auto all = frontend.Steps();
    for (size_t i = 0; i < lived; ++i) all[i]();
    ASSERT_FALSE(HasFatalFailure());
    frontend.guest().Close();
    ExpectUnharmed();
  }
}

TEST_F(HostileGuestsTest, AFrontendMayDieWithRequestsUnderWay) {
  for (int i = 0; i < 50; ++i) {
    RawFrontend frontend(socket_path_);
    const uint32_t pool = ConnectWithPool(frontend);
    ASSERT_FALSE(HasFatalFailure());
    for (uint64_t object = 0; object < 20; ++object) {
      frontend.Send(object % 2, PutAllRequest(pool, object));
    }
    frontend.guest().Close();
  }
}

TEST_F(HostileGuestsTest, SharedMemoryCannotShrinkUnderTheDaemon) {
  RawFrontend frontend(socket_path_);
  frontend.Connect();
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_LT(::ftruncate(frontend.area().memfd(), 0), 0);
  EXPECT_LT(::ftruncate(frontend.area().memfd(), TMEM_PAGE_SIZE), 0);
  frontend.Send(0, NewPoolRequest(0));
  EXPECT_GE(frontend.AwaitResponse(0).status, 0);
}

// Pages that are not there any more read as zeros: a ring of zeros asks for nothing, or for more
// than it holds.
TEST_F(HostileGuestsTest, SharedMemoryMayBePunchedAtAnyTime) {
  for (int i = 0; i < 50; ++i) {
    RawFrontend frontend(socket_path_);
    const uint32_t pool = ConnectWithPool(frontend);
    ASSERT_FALSE(HasFatalFailure());
    for (uint64_t object = 0; object < 20; ++object) {
      frontend.Send(object % 2, PutAllRequest(pool, object));
      if (object == static_cast<uint64_t>(i) % 20) {
        ASSERT_EQ(::fallocate(frontend.area().memfd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              0, off_t{1} << 30),
                  0);
      }
    }
  }
}

TEST_F(HostileGuestsTest, MemoryShorterThanAnnouncedIsAViolation) {
  const auto connect_with = [&](const std::function<void(RawFrontend&)>& change) {
    RawFrontend frontend(socket_path_);
    const auto steps = frontend.Steps();
    for (size_t i = 0; i + 3 < steps.size(); ++i) steps[i]();
    change(frontend);
    frontend.SetState(XenbusState::kInitialised);
    ExpectViolation(frontend, "was not granted");
  };
  const auto directory = [](RawFrontend& frontend) -> tmemif_directory& {
    // The directory page stands before its ring.
    return *reinterpret_cast<tmemif_directory*>(frontend.area().Ring(0).data() - TMEM_PAGE_SIZE);
  };
  connect_with([](RawFrontend& f) { f.WriteKey("queue-0/directory-ref", "1000"); });
  connect_with([](RawFrontend& f) { f.WriteKey("queue-1/directory-ref", "4294967295"); });
  connect_with([&](RawFrontend& f) { directory(f).ref[0] = 1000; });
  connect_with([&](RawFrontend& f) { directory(f).ref[kShape.slots] = UINT32_MAX; });
}

TEST_F(HostileGuestsTest, WrongVersionsAndFeaturesAreViolationsThatAreTold) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"version", "2"},
                                                        {"version", std::string("1\0", 2)},
                                                        {"version", std::string(4096, '1')},
                                                        {"num-queues", "5"},
                                                        {"ring-page-order", "5"},
                                                        {"num-slots", "513"},
                                                        {"feature-posted-put", "yes"},
                                                        {"queue-1/event-channel", "77"}}) {
    SCOPED_TRACE(key);
    RawFrontend frontend(socket_path_);
    const auto steps = frontend.Steps();
    for (size_t i = 0; i + 3 < steps.size(); ++i) steps[i]();
    frontend.WriteKey(key, value);
    frontend.SetState(XenbusState::kInitialised);
    ASSERT_FALSE(HasFatalFailure());
    ExpectViolation(frontend, key == "queue-1/event-channel" ? "event channel" : key);
  }
}

TEST_F(HostileGuestsTest, AnUnknownFeatureIsNoViolation) {
  RawFrontend frontend(socket_path_);
  const auto steps = frontend.Steps();
  for (size_t i = 0; i < steps.size(); ++i) {
    if (i + 3 == steps.size()) frontend.WriteKey("feature-of-the-future", "1");
    steps[i]();
  }
  ASSERT_FALSE(HasFatalFailure());
  frontend.Send(1, NewPoolRequest(0));
  EXPECT_GE(frontend.AwaitResponse(1).status, 0);
}

TEST_F(HostileGuestsTest, ABadRequestIsAViolationThatIsTold) {
  RawFrontend frontend(socket_path_);
  frontend.Connect();
  ASSERT_FALSE(HasFatalFailure());
  tmemif_request request = NewPoolRequest(0);
  request.flags = 0x80;
  frontend.Send(1, request);
  ExpectViolation(frontend, "unknown request flags");
  // It is not served any more, and coming again changes nothing.
  frontend.SetState(XenbusState::kInitialising);
  frontend.SetState(XenbusState::kInitialised);
  ExpectUnharmed();
  EXPECT_EQ(frontend.BackendKey("state"), ToNode(XenbusState::kClosed));
}

TEST_F(HostileGuestsTest, QueuesThatShareOneRingHarmTheirGuestAlone) {
  for (int i = 0; i < 20; ++i) {
    RawFrontend frontend(socket_path_);
    std::memcpy(frontend.area().Ring(1).data() - TMEM_PAGE_SIZE,
                frontend.area().Ring(0).data() - TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
    frontend.Connect();
    ASSERT_FALSE(HasFatalFailure());
    frontend.Send(0, NewPoolRequest(TMEM_POOL_PERSIST));
    for (uint64_t object = 0; object < 16; ++object) frontend.Send(0, PutAllRequest(0, object));
    ExpectUnharmed();
  }
}

TEST_F(HostileGuestsTest, AStormOfStatesIsSurvived) {
  RawFrontend frontend(socket_path_);
  frontend.Connect();
  ASSERT_FALSE(HasFatalFailure());
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    frontend.WriteKey("state", fmt::format("{}", random() % 8));
    if (i % 500 == 0) ExpectUnharmed();
  }
}

// Whoever comes with a domid is not taken for the guest that has it.
TEST_F(HostileGuestsTest, ADomidIsNotHadByClaimingIt) {
  const auto taken = static_cast<uint32_t>(tmem_guest_id(bystander_.get()));
  for (const uint32_t claimed :
       {taken, taken | 0x10000u, 0u, loopback::kMaxDomid + 1u, 0xffffu, UINT32_MAX}) {
    RawGuest guest(socket_path_);
    const UniqueFd memory = loopback::MakeGoodMemfd();
    const int descriptors[] = {memory.get()};
    ASSERT_TRUE(guest.SendBytes(
        RawGuest::Packet(MessageType::kHello, 1, Encode(loopback::Hello{.domid = claimed}) + "new"),
        descriptors));
    const auto answer = guest.Receive();
    loopback::HelloReply reply;
    ASSERT_TRUE(answer && answer->header.error == 0 && Decode(answer->payload, reply));
    EXPECT_EQ(reply.resumed, 0u);
    EXPECT_NE(reply.domid, taken);
  }
}

}  // namespace
}  // namespace tmem::client
