// Requests of the control socket: a line of JSON in, a line of JSON out (control_protocol.h).
//
// Knows nothing of sockets. Whoever can connect is an administrator, but a request is checked as
// if it came from anywhere: no input makes Handle fail, throw, or grow without bound.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_CONTROL_HANDLER_H_
#define TMEM_DAEMON_CONTROL_HANDLER_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "daemon/administration.h"
#include "daemon/stats_json.h"

namespace tmem::daemon {

class ControlHandler {
 public:
  // `administration` must outlive the handler.
  explicit ControlHandler(Administration& administration) : administration_(administration) {}

  // The answer's line, without its newline.
  std::string Handle(std::string_view request);

  // The answer to a request that is longer than kMaxRequestBytes.
  static std::string TooLong();

 private:
  using Verb = Result<Json> (ControlHandler::*)(const Json& request);
  struct VerbEntry;
  static const VerbEntry* FindVerb(std::string_view name);

  Result<Json> Execute(std::string_view request);

  Result<Json> TellVersion(const Json& request);
  Result<Json> List(const Json& request);
  Result<Json> Show(const Json& request);
  Result<Json> Stats(const Json& request);
  Result<Json> Explain(const Json& request);
  Result<Json> TellHistory(const Json& request);
  Result<Json> Set(const Json& request);
  Result<Json> Freeze(const Json& request);
  Result<Json> Thaw(const Json& request);
  Result<Json> Flush(const Json& request);
  Result<Json> Freeable(const Json& request);
  Result<Json> Reclaim(const Json& request);
  Result<Json> Authorize(const Json& request);
  Result<Json> Forgive(const Json& request);
  Result<Json> XenstoreRead(const Json& request);
  Result<Json> XenstoreWrite(const Json& request);
  Result<Json> XenstoreRemove(const Json& request);
  Result<Json> XenstoreList(const Json& request);

  Result<Json> SetGuest(const Json& request, Persist persist);
  Result<Json> SetHost(const Json& request);
  Result<Json> SetFrozen(const Json& request, bool frozen);
  Result<ConnectionInfo> GuestOf(const Json& request) const;
  // The guest that is named, or all of them if none is.
  Result<std::vector<ConnectionInfo>> GuestsOf(const Json& request) const;
  // The directory, and the path in it that the request names.
  Result<std::pair<Directory*, std::string>> NodeOf(const Json& request) const;
  Result<Json> Details(const ConnectionInfo& connection) const;

  Administration& administration_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CONTROL_HANDLER_H_
