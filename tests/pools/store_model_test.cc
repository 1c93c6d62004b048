// Random operations on a store and on the model of its rules, side by side.
//
// TMEM_MODEL_OPS sets how many operations the long runs make, TMEM_MODEL_SEED with which seed they
// begin. A failure names both.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "pools/store_model.h"

namespace tmem {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// ---- long runs ----

constexpr uint64_t kDefaultOps = 300'000;  // of each run
constexpr uint64_t kOpsAStore = 20'000;

class StoreModelTest : public testing::TestWithParam<ModelConfig> {};

TEST_P(StoreModelTest, AgreesWithTheStore) {
  const uint64_t operations = FromEnvironment("TMEM_MODEL_OPS", kDefaultOps);
  uint64_t seed = FromEnvironment("TMEM_MODEL_SEED", std::random_device{}());
  for (uint64_t done = 0; done < operations; done += kOpsAStore, ++seed) {
    try {
      StoreModel model(GetParam());
      for (uint64_t i = 0; i < kOpsAStore; ++i) {
        model.Step(ModelOp::From(Mix(seed) ^ i));
      }
      model.Finish();
    } catch (const std::runtime_error& error) {
      FAIL() << error.what() << "; TMEM_MODEL_SEED=" << seed;
    }
  }
  std::printf("[ OPERATIONS ] %llu\n", static_cast<unsigned long long>(operations));
}

std::string NameOf(const testing::TestParamInfo<ModelConfig>& test) {
  constexpr const char* kNames[] = {"Plenty", "Caps", "Capacity"};
  return std::string(kNames[static_cast<int>(test.param.scarcity)]) +
         (test.param.raw_only ? "Raw" : "");
}

INSTANTIATE_TEST_SUITE_P(Long, StoreModelTest,
                         testing::Values(ModelConfig{.scarcity = Scarcity::kNone},
                                         ModelConfig{.scarcity = Scarcity::kCaps},
                                         ModelConfig{.scarcity = Scarcity::kCaps, .raw_only = true},
                                         ModelConfig{.scarcity = Scarcity::kCapacity},
                                         ModelConfig{.scarcity = Scarcity::kCapacity,
                                                     .raw_only = true}),
                         NameOf);

// ---- short runs, which shrink to the operations that matter ----

rc::Gen<std::vector<ModelOp>> AnyOps() {
  // Words without a size: small ones would give few kinds of operations at first.
  const auto word =
      rc::gen::noShrink(rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<uint64_t>()));
  return rc::gen::scale(
      20, rc::gen::container<std::vector<ModelOp>>(rc::gen::map(word, &ModelOp::From)));
}

void RunShort(const ModelConfig& config) {
  const auto ops = *AnyOps();
  StoreModel model(config);
  // Guests and pools first: sequences that shrink keep something to work on.
  for (uint8_t guest = 0; guest < 4; ++guest) {
    model.Step({.kind = ModelOp::Kind::kAddGuest, .guest = guest, .argument = guest});
    for (const uint32_t options : {1u, 2u, 6u}) {
      model.Step({.kind = ModelOp::Kind::kNewPool, .guest = guest, .argument = options});
    }
  }
  for (const ModelOp& op : ops) model.Step(op);
  model.Finish();
}

RC_GTEST_PROP(StoreModelShort, AgreesWithPlenty, ()) { RunShort({.scarcity = Scarcity::kNone}); }
RC_GTEST_PROP(StoreModelShort, AgreesWithinCaps, ()) { RunShort({.scarcity = Scarcity::kCaps}); }
RC_GTEST_PROP(StoreModelShort, AgreesWithinTheCapacity, ()) {
  RunShort({.scarcity = Scarcity::kCapacity});
}

}  // namespace
}  // namespace tmem
