// The client's end of the control socket (control_protocol.h): tmemctl's way to the daemon.
//
// Not thread-safe.
#ifndef TMEM_DAEMON_CONTROL_CLIENT_H_
#define TMEM_DAEMON_CONTROL_CLIENT_H_

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/stats_json.h"

namespace tmem::daemon {

class ControlClient {
 public:
  // How long a single request may take before the daemon counts as gone.
  static constexpr std::chrono::seconds kPatience{30};

  // kUnavailable if no daemon listens there, kDenied if we may not connect.
  static Result<ControlClient> Connect(const std::string& path);

  // Sends a request and waits for its answer: the result, or the error that the daemon reported.
  // `fields` is an object of the verb's fields. kUnavailable if the daemon went away.
  Result<Json> Call(std::string_view verb, const Json& fields = Json::object());

 private:
  ControlClient(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  Result<void> Send(std::string_view line);
  Result<std::string> ReceiveLine();
  Error Lost() const;

  std::string path_;
  UniqueFd fd_;
  std::string received_;  // beyond the last line
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CONTROL_CLIENT_H_
