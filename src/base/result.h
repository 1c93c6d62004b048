// What can fail on set-up and control paths returns a Result: a value, or an Error that an
// administrator can read. The data path uses small status enums instead; a miss is no error.
#ifndef TMEM_BASE_RESULT_H_
#define TMEM_BASE_RESULT_H_

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace tmem {

// Why something failed, coarse enough to act on.
enum class ErrorCode {
  kInvalid,      // the input is wrong; it will be wrong again
  kNotFound,     // what was named does not exist
  kExists,       // what should be made exists already
  kDenied,       // permission missing
  kExhausted,    // a limit or a resource is used up
  kUnavailable,  // the other side is not there (now)
  kUnsupported,  // this build, kernel or version cannot
  kSystem,       // a system call failed otherwise; the message has errno's text
};

// One line that says what failed and, where we know it, what to do. Messages start in lower case
// and carry no trailing full stop, so that they can follow "tmemd: ".
struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;

  // The same error seen from further out: "context: message".
  Error Within(std::string_view context) &&;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

// An Error from errno (or the given number): "what: No such file or directory". The code follows
// the number: EACCES and EPERM are kDenied, ENOENT is kNotFound, ENOMEM and ENOSPC kExhausted, ...
Error SystemError(std::string_view what);
Error SystemError(std::string_view what, int error_number);

}  // namespace tmem

// Leaves the function with the error of `expr` (a Result<void>), if it has one.
#define TMEM_TRY(expr)                                            \
  do {                                                            \
    if (auto tmem_try_result = (expr); !tmem_try_result)          \
      return std::unexpected(std::move(tmem_try_result).error()); \
  } while (false)

// Assigns the value of `expr` (a Result) to `variable`, or leaves the function with its error.
#define TMEM_ASSIGN(variable, expr)                                                         \
  do {                                                                                      \
    auto tmem_assign_result = (expr);                                                       \
    if (!tmem_assign_result) return std::unexpected(std::move(tmem_assign_result).error()); \
    variable = std::move(*tmem_assign_result);                                              \
  } while (false)

#endif  // TMEM_BASE_RESULT_H_
