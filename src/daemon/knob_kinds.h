// The kinds of value that knobs have: how each is read from a KnobValue, what it allows in words,
// and how it is written back. Private to knobs.cc.
//
// A kind has a Read, which returns nullopt for what is not allowed, a Write, and Allowed, the
// phrase that follows "write" in an error message.
#ifndef TMEM_DAEMON_KNOB_KINDS_H_
#define TMEM_DAEMON_KNOB_KINDS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "daemon/config.h"

namespace tmem::daemon::kinds {

template <class T>
struct Number {
  T min;
  T max;

  std::optional<T> Read(const KnobValue& value) const;
  static KnobValue Write(T value) { return static_cast<int64_t>(value); }
  std::string Allowed() const;
};

// Bytes, with a unit: "64M", "1.5G", or a plain number.
struct Size {
  Bytes min{0};
  Bytes max = kUnlimited;
  bool may_be_unlimited = false;
  std::string_view zero = {};  // what 0 means, if it is special

  std::optional<Bytes> Read(const KnobValue& value) const;
  static KnobValue Write(Bytes value);
  std::string Allowed() const;
};

// A Size, or "auto" for none.
struct SizeOrAuto {
  Size size;

  std::optional<std::optional<Bytes>> Read(const KnobValue& value) const;
  static KnobValue Write(std::optional<Bytes> value);
  std::string Allowed() const;
};

// As text, from a command line or a key of xenstore, also "1" and "0".
struct Boolean {
  static std::optional<bool> Read(const KnobValue& value);
  static KnobValue Write(bool value) { return value; }
  static std::string Allowed() { return "true or false"; }
};

// An enum whose values count from 0 and are named in that order.
template <class Enum>
struct Choice {
  std::span<const std::string_view> names;

  std::optional<Enum> Read(const KnobValue& value) const;
  KnobValue Write(Enum value) const { return std::string(names[static_cast<size_t>(value)]); }
  std::string Allowed() const;
};

// Permission bits of a file. Only as a string: TOML reads 0600 as an error and 600 as decimal.
struct Mode {
  static std::optional<mode_t> Read(const KnobValue& value);
  static KnobValue Write(mode_t value);
  static std::string Allowed();
};

// The path of a Unix socket, which the kernel limits to 107 bytes.
struct SocketPath {
  static std::optional<std::string> Read(const KnobValue& value);
  static KnobValue Write(const std::string& value) { return value; }
  static std::string Allowed();
};

// A folder's absolute path, or empty.
struct Folder {
  static std::optional<std::string> Read(const KnobValue& value);
  static KnobValue Write(const std::string& value) { return value; }
  static std::string Allowed();
};

// An address of this host that no other host reaches, and a port; or empty.
struct LoopbackAddress {
  static std::optional<std::string> Read(const KnobValue& value);
  static KnobValue Write(const std::string& value) { return value; }
  static std::string Allowed();
};

// A list of strings; on a command line, separated by commas.
struct Words {
  static std::optional<std::vector<std::string>> Read(const KnobValue& value);
  static KnobValue Write(const std::vector<std::string>& value) { return value; }
  static std::string Allowed();
};

struct Uuids {
  static std::optional<std::set<Uuid>> Read(const KnobValue& value);
  static KnobValue Write(const std::set<Uuid>& value);
  static std::string Allowed();
};

}  // namespace tmem::daemon::kinds

#endif  // TMEM_DAEMON_KNOB_KINDS_H_
