#include "hypercall/handshake.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hypercall/fake_hypervisor.h"
#include "hypercall/test_frontend.h"
#include "hypercall/xenbus.h"

namespace tmem {
namespace {

constexpr WireLimits kLimits{.max_queues = 4, .max_ring_page_order = 2, .max_slots = 64};

class HandshakeTest : public testing::Test {
 protected:
  Result<Offer> Read() {
    return ReadOffer(hypervisor_.directory(), FrontendPath(guest_->info().id), kLimits);
  }
  Result<std::vector<Queue::Parts>> MapAll() {
    const auto offer = Read();
    if (!offer) return std::unexpected(offer.error());
    return MapOffer(hypervisor_, guest_->info().id, *offer);
  }
  // The code of what went wrong, as a reader of a failed test wants it.
  static ErrorCode CodeOf(const auto& result) {
    EXPECT_FALSE(result);
    return result ? ErrorCode::kSystem : result.error().code;
  }
  tmemif_directory& DirectoryPage(uint32_t page = 0) {
    const GrantRef ref{frontend_.queue().directory_ref().value + page};
    return *reinterpret_cast<tmemif_directory*>(guest_->Pages(ref, 1).data());
  }

  FakeHypervisor hypervisor_;
  std::shared_ptr<FakeGuest> guest_ = hypervisor_.AddGuest(1, "guest", {});
  TestFrontend frontend_{hypervisor_, guest_, {.queues = 2, .ring_page_order = 1, .slots = 40}};
};

// ---- keys ----

TEST_F(HandshakeTest, AGoodOfferIsRead) {
  frontend_.WriteKeys();
  const auto offer = Read();
  ASSERT_TRUE(offer) << offer.error().message;
  EXPECT_EQ(offer->ring_page_order, 1u);
  EXPECT_EQ(offer->slot_count, 40u);
  EXPECT_TRUE(offer->may_post);
  ASSERT_EQ(offer->queues.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(offer->queues[i].directory, frontend_.queue(i).directory_ref());
    EXPECT_EQ(offer->queues[i].port, frontend_.queue(i).event_port());
  }
}

TEST_F(HandshakeTest, UnknownKeysAndFeaturesAreIgnored) {
  frontend_.WriteKeys();
  frontend_.WriteKey("feature-of-the-future", "nonsense");
  frontend_.WriteKey("queue-0/more", "1");
  frontend_.WriteKey("queue-2/directory-ref", "none");
  frontend_.WriteKey("version/below", "2");
  EXPECT_TRUE(Read());
}

TEST_F(HandshakeTest, PostingIsOptional) {
  frontend_.WriteKeys();
  frontend_.WriteKey("feature-posted-put", "0");
  EXPECT_FALSE(Read()->may_post);
  frontend_.RemoveKey("feature-posted-put");
  EXPECT_FALSE(Read()->may_post);
}

TEST_F(HandshakeTest, EveryMissingKeyIsAViolation) {
  for (const char* key :
       {"version", "num-queues", "ring-page-order", "num-slots", "queue-0/directory-ref",
        "queue-0/event-channel", "queue-1/directory-ref", "queue-1/event-channel", "queue-1"}) {
    frontend_.WriteKeys();
    frontend_.RemoveKey(key);
    EXPECT_EQ(CodeOf(Read()), ErrorCode::kInvalid) << key;
  }
}

struct BadValue {
  const char* key;
  const char* value;
};

class BadValueTest : public HandshakeTest, public testing::WithParamInterface<BadValue> {};

TEST_P(BadValueTest, IsAViolation) {
  frontend_.WriteKeys();
  ASSERT_TRUE(Read());
  frontend_.WriteKey(GetParam().key, GetParam().value);
  const auto offer = Read();
  ASSERT_FALSE(offer) << GetParam().key << " = '" << GetParam().value << "'";
  EXPECT_EQ(offer.error().code, ErrorCode::kInvalid);
  EXPECT_NE(offer.error().message.find(GetParam().key), std::string::npos) << "names the key";
}

// Each limit is exceeded by one.
INSTANTIATE_TEST_SUITE_P(Limits, BadValueTest,
                         testing::Values(BadValue{"version", "0"}, BadValue{"version", "2"},
                                         BadValue{"num-queues", "0"}, BadValue{"num-queues", "5"},
                                         BadValue{"ring-page-order", "3"},
                                         BadValue{"num-slots", "0"}, BadValue{"num-slots", "65"},
                                         BadValue{"queue-1/directory-ref", "0"},
                                         BadValue{"queue-1/event-channel", "0"}));

INSTANTIATE_TEST_SUITE_P(
    Forms, BadValueTest,
    testing::Values(BadValue{"num-slots", ""}, BadValue{"num-slots", " 8"},
                    BadValue{"num-slots", "8 "}, BadValue{"num-slots", "+8"},
                    BadValue{"num-slots", "-1"}, BadValue{"num-slots", "0x8"},
                    BadValue{"num-slots", "8.0"}, BadValue{"num-slots", "eight"},
                    BadValue{"num-slots", "4294967304"},            // 2^32 + 8
                    BadValue{"num-slots", "18446744073709551624"},  // 2^64 + 8
                    BadValue{"queue-0/directory-ref", "4294967296"},
                    BadValue{"queue-0/event-channel", "-8"}, BadValue{"version", "1 2"},
                    BadValue{"feature-posted-put", "2"}, BadValue{"feature-posted-put", ""},
                    BadValue{"feature-posted-put", "yes"}));

TEST_F(HandshakeTest, AVeryLongValueIsAViolation) {
  frontend_.WriteKeys();
  frontend_.WriteKey("num-slots", std::string(4096, '0') + "8x");
  EXPECT_EQ(CodeOf(Read()), ErrorCode::kInvalid);
}

// What the guest wrote is not its to put into our log.
TEST_F(HandshakeTest, MessagesDoNotRepeatWhatTheGuestWrote) {
  frontend_.WriteKeys();
  frontend_.WriteKey("num-slots", "\x1b[2Jgotcha");
  EXPECT_EQ(Read().error().message.find("gotcha"), std::string::npos);
}

TEST_F(HandshakeTest, TwoQueuesWithOneEventChannelAreAViolation) {
  frontend_.WriteKeys();
  frontend_.WriteKey("queue-1/event-channel",
                     fmt::format("{}", frontend_.queue(0).event_port().value));
  EXPECT_EQ(CodeOf(Read()), ErrorCode::kInvalid);
}

TEST_F(HandshakeTest, TwoQueuesWithOneDirectoryAreAViolation) {
  frontend_.WriteKeys();
  frontend_.WriteKey("queue-1/directory-ref",
                     fmt::format("{}", frontend_.queue(0).directory_ref().value));
  EXPECT_EQ(CodeOf(Read()), ErrorCode::kInvalid);
}

TEST_F(HandshakeTest, ADirectoryThatCannotBeReadIsNotTheFrontendsFault) {
  frontend_.WriteKeys();
  for (const ErrorCode code :
       {ErrorCode::kUnavailable, ErrorCode::kSystem, ErrorCode::kExhausted}) {
    hypervisor_.directory().FailReads(code);
    EXPECT_EQ(CodeOf(Read()), code);
  }
}

// ---- directory pages, grants, ports ----

TEST_F(HandshakeTest, AGoodOfferIsMapped) {
  frontend_.WriteKeys();
  {
    const auto parts = MapAll();
    ASSERT_TRUE(parts) << parts.error().message;
    ASSERT_EQ(parts->size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const Queue::Parts& part = (*parts)[i];
      EXPECT_EQ(part.ring->bytes().size(), 2 * kPageSize);
      EXPECT_EQ(part.slots->bytes().size(), 40 * kPageSize);
      EXPECT_EQ(part.slots->bytes().data(), frontend_.queue(i).Slot(0).data());
      EXPECT_EQ(part.agreement.slot_count, 40u);
      EXPECT_TRUE(frontend_.queue(i).port().bound);
    }
    EXPECT_EQ(hypervisor_.mapped(), 4) << "directory pages are not kept";
  }
  EXPECT_EQ(hypervisor_.mapped(), 0);
  EXPECT_FALSE(frontend_.queue().port().bound);
}

TEST_F(HandshakeTest, SlotsStandInTheOrderOfTheirReferences) {
  tmemif_directory& page = DirectoryPage();
  std::reverse(page.ref + 2, page.ref + 42);
  frontend_.WriteKeys();
  for (uint32_t i = 0; i < 40; ++i) frontend_.queue().Slot(i)[0] = static_cast<std::byte>(i);
  const auto parts = MapAll();
  ASSERT_TRUE(parts);
  for (uint32_t i = 0; i < 40; ++i) {
    EXPECT_EQ((*parts)[0].slots->bytes()[i * kPageSize], static_cast<std::byte>(39 - i));
  }
}

TEST_F(HandshakeTest, MalformedDirectoryPagesAreAViolation) {
  const std::vector<std::function<void(tmemif_directory&)>> mutations = {
      [](tmemif_directory& page) { page.count = 0; },
      [](tmemif_directory& page) { --page.count; },
      [](tmemif_directory& page) { ++page.count; },
      [](tmemif_directory& page) { page.count = UINT32_MAX; },
      [](tmemif_directory& page) { page.reserved[0] = 1; },
      [](tmemif_directory& page) { page.reserved[1] = 1; },
      [](tmemif_directory& page) { page.next = 9; },          // more pages than references
      [](tmemif_directory& page) { page.ref[0] = 0; },        // the ring
      [](tmemif_directory& page) { page.ref[41] = 0; },       // the last slot
      [](tmemif_directory& page) { page.ref[5] = 100'000; },  // never granted
      [](tmemif_directory& page) { page.ref[5] = UINT32_MAX; },
      [](tmemif_directory& page) { page.ref[1] = 1; },  // of Xen's own
  };
  frontend_.WriteKeys();
  const tmemif_directory good = DirectoryPage();
  for (size_t i = 0; i < mutations.size(); ++i) {
    DirectoryPage() = good;
    mutations[i](DirectoryPage());
    EXPECT_EQ(CodeOf(MapAll()), ErrorCode::kInvalid) << "mutation " << i;
    EXPECT_EQ(hypervisor_.mapped(), 0) << "all or nothing";
  }
  DirectoryPage() = good;
  EXPECT_TRUE(MapAll());
}

class LongDirectoryTest : public HandshakeTest {
 protected:
  static constexpr uint32_t kSlots = 1024;  // with the ring: two directory pages
  Result<std::vector<Queue::Parts>> Map(EventPort port) {
    return MapOffer(hypervisor_, guest_->info().id,
                    {.ring_page_order = 0,
                     .slot_count = kSlots,
                     .may_post = false,
                     .queues = {{.directory = queue_.directory_ref(), .port = port}}});
  }
  tmemif_directory& Page(uint32_t page) {
    return *reinterpret_cast<tmemif_directory*>(
        guest_->Pages(GrantRef{queue_.directory_ref().value + page}, 1).data());
  }
  FrontQueue queue_{guest_, 0, kSlots};
};

TEST_F(LongDirectoryTest, TwoPagesAreFollowed) {
  const auto parts = Map(queue_.event_port());
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ((*parts)[0].slots->bytes().size(), kSlots * kPageSize);
}

TEST_F(LongDirectoryTest, AChainThatIsTooShortIsAViolation) {
  Page(0).next = TMEMIF_DIRECTORY_END;
  EXPECT_EQ(CodeOf(Map(queue_.event_port())), ErrorCode::kInvalid);
}

TEST_F(LongDirectoryTest, AChainThatIsTooLongIsAViolation) {
  Page(1).next = queue_.directory_ref().value;
  EXPECT_EQ(CodeOf(Map(queue_.event_port())), ErrorCode::kInvalid);
}

// A page that is its own successor, with counts that fit, is followed as far as references are
// wanted and no further.
TEST_F(LongDirectoryTest, ACycleEnds) {
  Page(0).next = queue_.directory_ref().value;
  const uint64_t before = hypervisor_.maps();
  EXPECT_EQ(CodeOf(Map(queue_.event_port())), ErrorCode::kInvalid);
  EXPECT_LE(hypervisor_.maps() - before, 2u);
}

TEST_F(LongDirectoryTest, AFirstPageThatIsNotFullIsAViolation) {
  Page(0).count = 1000;
  EXPECT_EQ(CodeOf(Map(queue_.event_port())), ErrorCode::kInvalid);
}

TEST_F(LongDirectoryTest, ASuccessorThatIsNotGrantedIsAViolation) {
  Page(0).next = 1'000'000;
  EXPECT_EQ(CodeOf(Map(queue_.event_port())), ErrorCode::kInvalid);
}

TEST_F(HandshakeTest, ARevokedGrantIsAViolation) {
  frontend_.WriteKeys();
  guest_->Revoke(GrantRef{frontend_.queue(1).slots_ref().value + 7});
  EXPECT_EQ(CodeOf(MapAll()), ErrorCode::kInvalid);
  EXPECT_EQ(hypervisor_.mapped(), 0);
  EXPECT_FALSE(frontend_.queue(0).port().bound);
}

TEST_F(HandshakeTest, APortThatDoesNotExistIsAViolation) {
  frontend_.WriteKeys();
  frontend_.WriteKey("queue-1/event-channel", "4000000000");
  EXPECT_EQ(CodeOf(MapAll()), ErrorCode::kInvalid);
  EXPECT_EQ(hypervisor_.mapped(), 0);
}

TEST_F(HandshakeTest, APortThatADyingProcessHoldsIsToBeTriedAgain) {
  frontend_.WriteKeys();
  hypervisor_.HoldPorts(true);
  EXPECT_EQ(CodeOf(MapAll()), ErrorCode::kUnavailable);
  EXPECT_EQ(hypervisor_.maps(), 0u) << "ports come first: they cost less than mappings";
  hypervisor_.HoldPorts(false);
  EXPECT_TRUE(MapAll());
}

TEST_F(HandshakeTest, MappingsThatFailForOurReasonsAreNotTheFrontendsFault) {
  frontend_.WriteKeys();
  for (const ErrorCode code :
       {ErrorCode::kExhausted, ErrorCode::kSystem, ErrorCode::kDenied, ErrorCode::kNotFound}) {
    hypervisor_.FailMaps(code);
    EXPECT_EQ(CodeOf(MapAll()), code);
  }
}

// The ring is read from the copy of the directory page, whatever becomes of the page afterwards.
TEST_F(HandshakeTest, TheDirectoryPageIsNotReadAgain) {
  frontend_.WriteKeys();
  const auto parts = MapAll();
  ASSERT_TRUE(parts);
  DirectoryPage() = {};
  EXPECT_EQ((*parts)[0].ring->bytes().data(), frontend_.queue().ring_bytes().data());
}

}  // namespace
}  // namespace tmem
