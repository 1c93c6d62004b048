// The control socket's protocol, for both of its ends: tmemd and tmemctl.
//
// A stream of lines over a Unix socket. A request is one JSON object on one line, at most
// kMaxRequestBytes long:
//   {"version": 1, "verb": "set", "guest": "db1", "settings": {"weight": 200}}
// and each is answered, in order, by one line:
//   {"version": 1, "ok": true, "result": ...}
//   {"version": 1, "ok": false, "error": {"code": "not-found", "message": "one line"}}
// Fields that a verb does not know are an error, so that a misspelt one is not lost in silence.
// docs/tmemd.md lists the verbs.
#ifndef TMEM_DAEMON_CONTROL_PROTOCOL_H_
#define TMEM_DAEMON_CONTROL_PROTOCOL_H_

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace tmem::daemon {

inline constexpr std::string_view kDefaultControlSocket = "/run/tmemd/control.sock";
inline constexpr int kControlVersion = 1;
inline constexpr size_t kMaxRequestBytes = 64 << 10;

namespace verb {
inline constexpr std::string_view kVersion = "version";
inline constexpr std::string_view kList = "list";          // all guests, in short
inline constexpr std::string_view kShow = "show";          // guest, or the host's settings
inline constexpr std::string_view kStats = "stats";        // guest, or the host and all guests
inline constexpr std::string_view kExplain = "explain";    // guest
inline constexpr std::string_view kHistory = "history";    // guest
inline constexpr std::string_view kSet = "set";            // guest or the host, settings, persist
inline constexpr std::string_view kFreeze = "freeze";      // guest, or all
inline constexpr std::string_view kThaw = "thaw";          // guest, or all
inline constexpr std::string_view kFlush = "flush";        // guest, or all
inline constexpr std::string_view kFreeable = "freeable";  // what reclaim can get
inline constexpr std::string_view kReclaim = "reclaim";    // bytes
inline constexpr std::string_view kAuth = "auth";          // guest, uuid, allow
inline constexpr std::string_view kForgive = "forgive";    // guest
// Of the directory that stands in for xenstore where there is no Xen.
inline constexpr std::string_view kXenstoreRead = "xenstore-read";      // path
inline constexpr std::string_view kXenstoreWrite = "xenstore-write";    // path, value
inline constexpr std::string_view kXenstoreRemove = "xenstore-remove";  // path
inline constexpr std::string_view kXenstoreList = "xenstore-list";      // path: all at and below it
}  // namespace verb

namespace field {
inline constexpr std::string_view kVersion = "version";
inline constexpr std::string_view kVerb = "verb";
inline constexpr std::string_view kOk = "ok";
inline constexpr std::string_view kResult = "result";
inline constexpr std::string_view kError = "error";
inline constexpr std::string_view kCode = "code";
inline constexpr std::string_view kMessage = "message";
inline constexpr std::string_view kGuest = "guest";        // by number or name
inline constexpr std::string_view kSettings = "settings";  // name: value
inline constexpr std::string_view kUuid = "uuid";
inline constexpr std::string_view kAllow = "allow";
inline constexpr std::string_view kBytes = "bytes";
inline constexpr std::string_view kPersist = "persist";  // true or false; may be absent
inline constexpr std::string_view kPath = "path";
inline constexpr std::string_view kValue = "value";
}  // namespace field

// ErrorCode as it travels.
inline constexpr std::array<std::pair<ErrorCode, std::string_view>, 8> kErrorCodeNames = {{
    {ErrorCode::kInvalid, "invalid"},
    {ErrorCode::kNotFound, "not-found"},
    {ErrorCode::kExists, "exists"},
    {ErrorCode::kDenied, "denied"},
    {ErrorCode::kExhausted, "exhausted"},
    {ErrorCode::kUnavailable, "unavailable"},
    {ErrorCode::kUnsupported, "unsupported"},
    {ErrorCode::kSystem, "system"},
}};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CONTROL_PROTOCOL_H_
