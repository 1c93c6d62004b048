#include "daemon/control_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/control_protocol.h"
#include "daemon/unix_address.h"

namespace tmem::daemon {

namespace {

constexpr size_t kMaxAnswerBytes = 256 << 20;

Error CannotConnect(const std::string& path) {
  Error error = SystemError(path);
  if (error.code == ErrorCode::kDenied) {
    error.message += "; run this as root, or as a user who may write to that socket";
    return error;
  }
  return {ErrorCode::kUnavailable,
          fmt::format("no tmemd answers: {}; start it (systemctl start tmemd), or name its control "
                      "socket with --socket",
                      error.message)};
}

ErrorCode CodeNamed(std::string_view name) {
  const auto* const at =
      std::ranges::find(kErrorCodeNames, name, &decltype(kErrorCodeNames)::value_type::second);
  return at == kErrorCodeNames.end() ? ErrorCode::kSystem : at->first;
}

Error NotUnderstood() {
  return {ErrorCode::kUnsupported,
          "the daemon's answer is not understood; use the tmemctl that came with this tmemd"};
}

// The result, or the error, inside an answer's line.
Result<Json> Open(const std::string& line) {
  Json answer = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return std::unexpected(NotUnderstood());
  if (const auto result = answer.find(field::kResult); result != answer.end()) return *result;
  const auto error = answer.find(field::kError);
  if (error == answer.end() || !error->is_object()) return std::unexpected(NotUnderstood());
  const auto text = [&](std::string_view name) {
    const auto at = error->find(name);
    return at != error->end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  return Fail(CodeNamed(text(field::kCode)), text(field::kMessage));
}

}  // namespace

Result<ControlClient> ControlClient::Connect(const std::string& path) {
  const auto address = UnixAddress::Of(path);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return std::unexpected(SystemError("socket"));
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
    return std::unexpected(SystemError("setsockopt"));
  }
  if (::connect(fd.get(), address->get(), address->size()) != 0) {
    return std::unexpected(CannotConnect(path));
  }
  return ControlClient(path, std::move(fd));
}

Result<Json> ControlClient::Call(std::string_view verb, const Json& fields) {
  Json request{{field::kVersion, kControlVersion}, {field::kVerb, verb}};
  request.update(fields);
  TMEM_TRY(Send(request.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n'));
  const auto line = ReceiveLine();
  if (!line) return std::unexpected(line.error());
  return Open(*line);
}

Result<void> ControlClient::Send(std::string_view line) {
  while (!line.empty()) {
    const ssize_t bytes = ::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return std::unexpected(Lost());
    line.remove_prefix(static_cast<size_t>(bytes));
  }
  return {};
}

Result<std::string> ControlClient::ReceiveLine() {
  std::array<char, 16 << 10> buffer;
  size_t searched = 0;
  while (true) {
    const size_t end = received_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    searched = received_.size();
    const ssize_t bytes = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return std::unexpected(Lost());
    received_.append(buffer.data(), static_cast<size_t>(bytes));
    if (received_.size() > kMaxAnswerBytes) return std::unexpected(NotUnderstood());
  }
}

Error ControlClient::Lost() const {
  return {ErrorCode::kUnavailable,
          fmt::format("tmemd at {} went away or does not answer; see its log", path_)};
}

}  // namespace tmem::daemon
