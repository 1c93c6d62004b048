// How a queue takes its turns: order, budget, notifications, violations, restart.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "hypercall/queue.h"
#include "hypercall/queue_rig.h"
#include "hypercall/test_frontend.h"
#include "pools/page_maker.h"

namespace tmem {
namespace {

using Turn = Queue::Turn;

constexpr ObjectId kObject{{1, 2, 3}};
constexpr ObjectId kOther{{1, 2, 4}};
constexpr PageCount kSmallBudget{8};

// Stores indexes 0 to pages - 1 of the object.
void Fill(QueueRig& rig, uint32_t pool, const ObjectId& object, uint32_t pages) {
  for (uint32_t index = 0; index < pages; index += 64) {
    const uint32_t count = std::min(64u, pages - index);
    for (uint32_t k = 0; k < count; ++k) rig.FillSlot(k, index + k);
    ASSERT_EQ(rig.Run(PutRequest(pool, object, index, 0, count)).status,
              static_cast<int32_t>(count));
  }
}

class QueueTurnTest : public testing::Test {
 protected:
  void Send(tmemif_request request, uint16_t id = 0) {
    request.id = id;
    rig_.front().Produce(request);
    rig_.front().Publish();
  }
  // Turns with that budget until all is done; returns how many it took.
  int TurnsUntilIdle(PageCount budget) {
    int turns = 1;
    while (rig_.Process(budget) == Turn::kMore) ++turns;
    return turns;
  }
  uint64_t stored() {
    const StoreStats stats = rig_.store().Stats();
    return stats.stored[0].pages + stats.stored[1].pages;
  }

  QueueRig rig_;
};

// ---- order and budget ----

TEST_F(QueueTurnTest, ResponsesComeInTheOrderOfTheRequestsWithTheirIds) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  std::vector<tmemif_request> requests;
  for (uint16_t i = 0; i < 500; ++i) {
    requests.push_back(i % 3 == 0 ? FlushObjectRequest(pool, kObject)
                                  : PutRequest(pool, kObject, i, i % 64));
    requests.back().id = static_cast<uint16_t>(i * 131);
  }
  const auto responses = rig_.RunAll(requests);
  ASSERT_EQ(responses.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(responses[i].id, requests[i].id);
    EXPECT_EQ(responses[i].reserved, 0);
  }
}

TEST_F(QueueTurnTest, ATurnEndsWithItsBudget) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (uint16_t i = 0; i < 32; ++i) Send(PutRequest(pool, kObject, i, i), i);
  EXPECT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  EXPECT_LE(stored(), kSmallBudget.value);
  EXPECT_GE(stored(), 1u);
  EXPECT_TRUE(rig_.front().Take()) << "what was done is shown when the turn ends";
  while (rig_.Process(kSmallBudget) == Turn::kMore) {
  }
  EXPECT_EQ(stored(), 32u);
  EXPECT_EQ(rig_.Process(kSmallBudget), Turn::kIdle);
}

TEST_F(QueueTurnTest, ALargeObjectIsFlushedOverManyTurns) {
  constexpr uint32_t kPages = 3000;
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  Fill(rig_, pool, kObject, kPages);
  Send(FlushObjectRequest(pool, kObject), 1);
  Send(GetRequest(pool, kObject, kPages - 1, 0), 2);
  ASSERT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  EXPECT_GT(stored(), kPages / 2) << "one turn flushed almost everything";
  EXPECT_LT(stored(), kPages);
  EXPECT_EQ(rig_.front().Take(), std::nullopt) << "answered before it is done";
  EXPECT_TRUE(rig_.queue().Arm()) << "there is a request in hand";
  EXPECT_GE(TurnsUntilIdle(kSmallBudget), 5);
  EXPECT_EQ(stored(), 0u);
  EXPECT_EQ(rig_.front().Take()->status, 1);
  EXPECT_EQ(rig_.front().Take()->status, -static_cast<int32_t>(TMEMIF_EEMPTY));
}

TEST_F(QueueTurnTest, ALargePoolIsDestroyedOverManyTurns) {
  constexpr uint32_t kPages = 3000;
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  Fill(rig_, pool, kObject, kPages);
  Send(DestroyPoolRequest(pool), 1);
  ASSERT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  EXPECT_EQ(rig_.front().Take(), std::nullopt);
  EXPECT_GE(TurnsUntilIdle(kSmallBudget), 5);
  EXPECT_EQ(rig_.front().Take()->status, 1);
  EXPECT_EQ(stored(), 0u);
}

// Full objects cost little to fill once, and could be flushed by the ring-full in one turn.
TEST_F(QueueTurnTest, FlushesOfObjectsArePaidForFromTheBudget) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  for (uint64_t i = 0; i < 20; ++i) Fill(rig_, pool, ObjectId{{i}}, 250);
  for (uint64_t i = 0; i < 20; ++i) Send(FlushObjectRequest(pool, ObjectId{{i}}));
  EXPECT_EQ(rig_.Process(PageCount(64)), Turn::kMore);
  EXPECT_GE(stored(), 20u * 250 / 2) << "one turn flushed most of it";
  while (rig_.Process(PageCount(64)) == Turn::kMore) {
  }
  EXPECT_EQ(stored(), 0u);
}

// Each page of a batch counts, and an empty operation is not free either.
TEST_F(QueueTurnTest, EveryRequestCostsBudget) {
  for (int i = 0; i < 32; ++i) Send(FlushPageRequest(9, kObject, 0));
  EXPECT_EQ(rig_.Process(PageCount(8)), Turn::kMore);
  uint32_t answered = 0;
  while (rig_.front().Take()) ++answered;
  EXPECT_LE(answered, 8u);
  EXPECT_GE(answered, 1u);
}

// ---- notifications ----

TEST_F(QueueTurnTest, ASleepingFrontendIsNotified) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  rig_.front().TakeNotification();
  ASSERT_FALSE(rig_.front().Arm());
  Send(PutRequest(pool, kObject, 0, 0));
  EXPECT_FALSE(rig_.front().TakeNotification());
  rig_.Process();
  EXPECT_TRUE(rig_.front().TakeNotification());
}

TEST_F(QueueTurnTest, AFrontendThatPollsIsLeftAlone) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  const uint64_t before = rig_.queue().notifications();
  for (int i = 0; i < 100; ++i) rig_.Run(PutRequest(pool, kObject, 0, 0));
  EXPECT_EQ(rig_.queue().notifications(), before);
}

TEST_F(QueueTurnTest, PostedPutsAreNotifiedOnceWhenTheRequestsRunOut) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  rig_.front().TakeNotification();
  ASSERT_FALSE(rig_.front().Arm());
  for (uint16_t i = 0; i < 30; ++i) Send(PostedPutRequest(pool, kObject, i, i));
  const uint64_t before = rig_.queue().notifications();
  rig_.Process();
  EXPECT_EQ(rig_.queue().notifications(), before + 1);
  EXPECT_TRUE(rig_.front().TakeNotification());
}

TEST_F(QueueTurnTest, ARequestThatIsWaitedForIsNotifiedBeforeThoseBehindIt) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  ASSERT_FALSE(rig_.front().Arm());
  Send(FlushPageRequest(pool, kObject, 0));
  for (uint16_t i = 0; i < 31; ++i) Send(PostedPutRequest(pool, kObject, i, i));
  const uint64_t before = rig_.queue().notifications();
  rig_.Process();
  EXPECT_EQ(rig_.queue().notifications(), before + 1) << "at its push, and not again at the end";
}

// A backend that died between showing a response and notifying leaves the frontend asleep; with
// everything answered, nothing else would ever wake it.
TEST_F(QueueTurnTest, ANewQueueNotifiesForABackendThatDied) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_FALSE(rig_.front().Arm());
  Send(PutRequest(pool, kObject, 0, 0));
  rig_.Process();
  ASSERT_TRUE(rig_.front().TakeNotification());  // as if it had never been sent
  rig_.Restart();
  EXPECT_EQ(rig_.Process(), Turn::kIdle);
  EXPECT_TRUE(rig_.front().TakeNotification());
  EXPECT_EQ(rig_.Process(), Turn::kIdle);
  EXPECT_FALSE(rig_.front().TakeNotification()) << "once is enough";
}

// ---- violations ----

TEST_F(QueueTurnTest, AViolationBreaksTheQueueForGood) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  tmemif_request bad = PutRequest(pool, kObject, 1, 0);
  bad.u.page.nr_pages = 0;
  Send(PutRequest(pool, kObject, 0, 0));
  Send(bad);
  Send(PutRequest(pool, kObject, 2, 0));
  EXPECT_EQ(rig_.Process(), Turn::kBroken);
  EXPECT_EQ(rig_.violations(), std::vector<std::string>{"nr_pages is out of range"});
  EXPECT_EQ(stored(), 1u) << "what stood behind the violation is not executed";
  EXPECT_EQ(rig_.Process(), Turn::kBroken);
  EXPECT_EQ(rig_.violations().size(), 1u) << "told once";
  EXPECT_FALSE(rig_.queue().Arm()) << "there is nothing to stay awake for";
}

// Requests are taken several at once; what is wrong with one says nothing about those before it.
TEST_F(QueueTurnTest, WhatStandsBeforeAViolationIsExecutedAndAnswered) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  tmemif_request bad = PutRequest(pool, kObject, 1, 0);
  bad.u.page.slot = UINT32_MAX;
  for (uint16_t i = 0; i < 12; ++i) Send(PutRequest(pool, kObject, i, i), i);
  Send(bad);
  EXPECT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  EXPECT_TRUE(rig_.violations().empty()) << "it is not its turn yet";
  EXPECT_TRUE(rig_.queue().Arm()) << "there are requests in hand";
  EXPECT_EQ(rig_.Process(), Turn::kBroken);
  EXPECT_EQ(rig_.violations().size(), 1u);
  EXPECT_EQ(stored(), 12u);
}

TEST_F(QueueTurnTest, AnOverrunBreaksTheQueue) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  Send(PutRequest(pool, kObject, 0, 0));
  rig_.front().ring().req_prod += rig_.front().entries();
  EXPECT_EQ(rig_.Process(), Turn::kBroken);
  EXPECT_EQ(rig_.violations().size(), 1u);
  EXPECT_EQ(stored(), 0u);
}

TEST_F(QueueTurnTest, WhatTheGuestDoesToOurIndicesIsOverwritten) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  rig_.front().ring().rsp_prod = 12345;
  rig_.front().ring().req_event = 54321;
  const uint32_t consumed = rig_.front().consumed();
  Send(PutRequest(pool, kObject, 0, 0));
  EXPECT_EQ(rig_.Process(), Turn::kIdle);
  EXPECT_EQ(rig_.front().ring().rsp_prod, consumed + 1);
}

// ---- batches and singles ----

struct Step {
  uint8_t op;
  uint32_t index;
  uint32_t pages;
  uint64_t seed;
};

std::vector<Step> ArbitrarySteps() {
  const auto step = rc::gen::map(
      rc::gen::tuple(rc::gen::element<uint8_t>(TMEMIF_OP_PUT_PAGE, TMEMIF_OP_PUT_PAGE,
                                               TMEMIF_OP_GET_PAGE, TMEMIF_OP_FLUSH_PAGE),
                     rc::gen::inRange(0u, 40u), rc::gen::inRange(1u, 20u),
                     rc::gen::inRange<uint64_t>(1, UINT64_MAX)),
      [](const std::tuple<uint8_t, uint32_t, uint32_t, uint64_t>& fields) {
        return std::apply([](auto... field) { return Step{field...}; }, fields);
      });
  return *rc::gen::container<std::vector<Step>>(60, step);
}

tmemif_request RequestOf(const Step& step, uint32_t pool, uint32_t from, uint32_t pages) {
  tmemif_request request = PutRequest(pool, kObject, step.index + from, from, pages);
  request.op = step.op;
  if (step.op == TMEMIF_OP_FLUSH_PAGE) request.u.page.slot = 0;
  return request;
}

RC_GTEST_PROP(QueuePropertyTest, BatchesAgreeWithSingles, ()) {
  QueueRig batches;
  QueueRig singles;
  const uint32_t flags = *rc::gen::element(kPersistentPool, kEphemeralPool);
  const uint32_t pool = batches.NewPool(flags);
  RC_ASSERT(singles.NewPool(flags) == pool);
  for (const Step& step : ArbitrarySteps()) {
    for (uint32_t k = 0; k < step.pages; ++k) {
      batches.FillSlot(k, step.seed + k);
      singles.FillSlot(k, step.seed + k);
    }
    const tmemif_response batch = batches.Run(RequestOf(step, pool, 0, step.pages));
    int32_t first = 0;
    uint64_t done = 0;
    for (uint32_t k = 0; k < step.pages; ++k) {
      const tmemif_response single = singles.Run(RequestOf(step, pool, k, 1));
      if (k == 0) first = single.status;
      if (single.status == 1) done |= uint64_t{1} << k;
      RC_ASSERT(std::ranges::equal(batches.front().Slot(k), singles.front().Slot(k)));
    }
    RC_ASSERT(batch.done == done);
    RC_ASSERT(batch.status == (done != 0 ? std::popcount(done) : first));
  }
}

// ---- restart ----

// Random requests on a persistent pool, and what each must be answered, from a plain map.
class Script {
 public:
  explicit Script(uint32_t pool) : pool_(pool) {}

  // The next request; its slots are its own until it is answered.
  tmemif_request Next(QueueRig& rig, uint64_t random, uint32_t slot) {
    const auto index = static_cast<uint32_t>(random >> 8 & 31);
    const ObjectId object = (random >> 16 & 3) == 0 ? kOther : kObject;
    auto& pages = model_[object];
    switch (random & 7) {
      case 0:
        expected_.push_back({.status = 1});
        pages.clear();
        return FlushObjectRequest(pool_, object);
      case 1:
        expected_.push_back({.status = 1});
        pages.erase(index);
        return FlushPageRequest(pool_, object, index);
      case 2:
      case 3:
      case 4: {
        const auto at = pages.find(index);
        const uint64_t seed = at == pages.end() ? 0 : at->second;
        expected_.push_back({.status = seed != 0, .slot = slot, .seed = seed});
        return GetRequest(pool_, object, index, slot);
      }
      default:
        expected_.push_back({.status = 1});
        pages[index] = random;
        rig.FillSlot(slot, random);
        return PutRequest(pool_, object, index, slot);
    }
  }

  // Checks the response to the oldest request that is not answered.
  void Check(QueueRig& rig, const tmemif_response& response) {
    const Expected expected = expected_.front();
    expected_.pop_front();
    // A second execution may see the pool emptier than the first one did: a miss is a miss.
    const bool empty = response.status == -int32_t{TMEMIF_EEMPTY};
    RC_ASSERT((empty ? 0 : response.status) == expected.status);
    if (expected.seed != 0) RC_ASSERT(rig.SlotHolds(expected.slot, expected.seed));
  }

 private:
  struct Expected {
    int32_t status = 0;
    uint32_t slot = 0;
    uint64_t seed = 0;
  };
  const uint32_t pool_;
  std::map<ObjectId, std::map<uint32_t, uint64_t>> model_;
  std::deque<Expected> expected_;
};

// A queue that meets a violation stops where it stands, without showing what it has done since it
// last pushed: as if its process had been killed there.
void Kill(QueueRig& rig) {
  const uint32_t last = rig.front().produced();
  tmemif_request poison{};
  poison.flags = UINT8_MAX;
  rig.front().Produce(poison);
  rig.front().Publish();
  RC_ASSERT(rig.Process() == Turn::kBroken);
  rig.front().Rewrite(last, FlushPageRequest(99, kObject, 0));
  rig.Restart();
}

// The queue ends after any turn, or is killed at any request, and another one goes on: each request
// is answered once, in order, and everything reads as if it had been executed once.
RC_GTEST_PROP(QueuePropertyTest, ARestartedQueueAnswersEveryRequestOnce, ()) {
  QueueRig rig;
  Script script(rig.NewPool(kPersistentPool));
  uint16_t next_id = 1;
  uint16_t next_response = 1;
  const auto check_responses = [&] {
    while (const auto response = rig.front().Take()) {
      if (response->status == -int32_t{TMEMIF_ENODEV}) continue;  // in place of the poison
      RC_ASSERT(response->id == next_response++);
      script.Check(rig, *response);
    }
  };
  for (int turn = 0; turn < 40; ++turn) {
    const auto burst = *rc::gen::inRange(0u, 33u);
    const auto seed = *rc::gen::arbitrary<uint64_t>();
    for (uint32_t i = 0; i < burst && rig.front().free() > 1; ++i) {
      tmemif_request request = script.Next(rig, Mix(seed + i), rig.front().produced() % 32);
      request.id = next_id++;
      rig.front().Produce(request);
    }
    rig.front().Publish();
    if (*rc::gen::arbitrary<bool>()) rig.Process(PageCount(*rc::gen::inRange(1u, 40u)));
    check_responses();
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        rig.Restart();
        break;
      case 1:
        if (rig.front().free() > 0) Kill(rig);
        break;
    }
  }
  while (rig.Process() == Turn::kMore) {
  }
  check_responses();
  RC_ASSERT(next_response == next_id);
}

// A backend that is killed between an effect and its response leaves the request to its successor.
// A get must not be among them once its page has changed.
TEST_F(QueueTurnTest, AGetIsShownBeforeItsPageChanges) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  const std::vector<tmemif_request> changes = {
      PutRequest(pool, kObject, 0, 1), FlushPageRequest(pool, kObject, 0),
      FlushObjectRequest(pool, kObject), DestroyPoolRequest(pool)};
  for (const tmemif_request& change : changes) {
    rig_.FillSlot(0, 100);
    Send(PutRequest(pool, kObject, 0, 0));
    Send(GetRequest(pool, kObject, 0, 20));
    Send(change);
    Kill(rig_);
    rig_.Process();
    rig_.front().Take();
    EXPECT_EQ(rig_.front().Take()->status, 1) << "op " << int{change.op};
    EXPECT_TRUE(rig_.SlotHolds(20, 100)) << "op " << int{change.op};
    while (rig_.front().Take()) {
    }
  }
}

TEST_F(QueueTurnTest, AFlushThatWasUnderWayGoesOnAfterARestart) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  Fill(rig_, pool, kObject, 3000);
  Send(FlushObjectRequest(pool, kObject), 7);
  ASSERT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  rig_.Restart();
  EXPECT_EQ(rig_.Process(), Turn::kIdle);
  EXPECT_EQ(rig_.front().Take()->id, 7);
  EXPECT_EQ(stored(), 0u);
}

TEST_F(QueueTurnTest, ADestructionThatWasUnderWayGoesOnAfterARestart) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  Fill(rig_, pool, kObject, 3000);
  Send(DestroyPoolRequest(pool), 7);
  ASSERT_EQ(rig_.Process(kSmallBudget), Turn::kMore);
  rig_.Restart();
  EXPECT_EQ(rig_.Process(), Turn::kIdle);
  EXPECT_EQ(rig_.front().Take()->status, 1);
  EXPECT_EQ(stored(), 0u);
}

}  // namespace
}  // namespace tmem
