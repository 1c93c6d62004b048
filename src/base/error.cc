#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/result.h"

namespace tmem {

namespace {

ErrorCode CodeOf(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
      return ErrorCode::kDenied;
    case ENOENT:
    case ESRCH:
    case ENODEV:
      return ErrorCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return ErrorCode::kExists;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
      return ErrorCode::kExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
      return ErrorCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    case EINVAL:
      return ErrorCode::kInvalid;
    default:
      return ErrorCode::kSystem;
  }
}

}  // namespace

Error Error::Within(std::string_view context) && {
  return Error{code, fmt::format("{}: {}", context, message)};
}

Error SystemError(std::string_view what) { return SystemError(what, errno); }

Error SystemError(std::string_view what, int error_number) {
  return Error{CodeOf(error_number),
               fmt::format("{}: {}", what, std::generic_category().message(error_number))};
}

}  // namespace tmem
