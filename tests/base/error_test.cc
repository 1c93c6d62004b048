#include <gtest/gtest.h>

#include <cerrno>

#include "base/result.h"

namespace tmem {
namespace {

TEST(SystemError, SaysWhatFailedAndWhy) {
  const Error error = SystemError("open /etc/tmemd/tmemd.toml", ENOENT);
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_EQ(error.message, "open /etc/tmemd/tmemd.toml: No such file or directory");
}

TEST(SystemError, TakesErrnoByDefault) {
  errno = EACCES;
  EXPECT_EQ(SystemError("open").code, ErrorCode::kDenied);
}

struct Mapping {
  int error_number;
  ErrorCode code;
};

class SystemErrorCode : public testing::TestWithParam<Mapping> {};

TEST_P(SystemErrorCode, FollowsErrno) {
  EXPECT_EQ(SystemError("call", GetParam().error_number).code, GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(
    All, SystemErrorCode,
    testing::Values(Mapping{EACCES, ErrorCode::kDenied}, Mapping{EPERM, ErrorCode::kDenied},
                    Mapping{ENOENT, ErrorCode::kNotFound}, Mapping{ESRCH, ErrorCode::kNotFound},
                    Mapping{ENODEV, ErrorCode::kNotFound}, Mapping{EEXIST, ErrorCode::kExists},
                    Mapping{EADDRINUSE, ErrorCode::kExists}, Mapping{ENOMEM, ErrorCode::kExhausted},
                    Mapping{ENOSPC, ErrorCode::kExhausted}, Mapping{EMFILE, ErrorCode::kExhausted},
                    Mapping{ENFILE, ErrorCode::kExhausted}, Mapping{EDQUOT, ErrorCode::kExhausted},
                    Mapping{ECONNREFUSED, ErrorCode::kUnavailable},
                    Mapping{ECONNRESET, ErrorCode::kUnavailable},
                    Mapping{EPIPE, ErrorCode::kUnavailable},
                    Mapping{ETIMEDOUT, ErrorCode::kUnavailable},
                    Mapping{ENOSYS, ErrorCode::kUnsupported},
                    Mapping{EOPNOTSUPP, ErrorCode::kUnsupported},
                    Mapping{EINVAL, ErrorCode::kInvalid}, Mapping{EIO, ErrorCode::kSystem}));

TEST(Error, WithinPutsContextInFrontAndKeepsTheCode) {
  Error error{ErrorCode::kExists, "pool 3 exists"};
  const Error outer = std::move(error).Within("guest 7");
  EXPECT_EQ(outer.code, ErrorCode::kExists);
  EXPECT_EQ(outer.message, "guest 7: pool 3 exists");
}

Result<void> Step(bool works) {
  if (!works) return Fail(ErrorCode::kUnavailable, "nobody there");
  return {};
}

Result<int> TwoSteps(bool first_works, bool second_works) {
  TMEM_TRY(Step(first_works));
  TMEM_TRY(Step(second_works));
  return 2;
}

TEST(Try, ContinuesAfterSuccessAndReturnsTheFirstError) {
  EXPECT_EQ(TwoSteps(true, true), 2);
  for (const auto& failed : {TwoSteps(false, true), TwoSteps(true, false)}) {
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(failed.error().message, "nobody there");
  }
}

}  // namespace
}  // namespace tmem
