// Tuning through xenstore: settings of the host and of guests follow keys that administrators and
// toolstacks write, while everything runs.
//
//   /tool/tmemd/KNOB                 each knob of the host that needs no restart; a dot in its name
//                                    is a '/' in the key's
//   /tool/tmemd/guest/DOMID/KNOB     each of a guest's settings, `compress`, and
//   /tool/tmemd/guest/DOMID/shared-auth/UUID   1 or 0
//   KEY-error                        why KEY does not hold: written and removed by tmemd
//   .../guest/DOMID/uuid             whose folder it is: written by tmemd, which removes the folder
//                                    when the guest goes
//
// Which values hold, KeyJudge decides. Keys belong to domain 0; no guest can read or write them.
// However many are written, a folder is read at most once in kInterval, at most kMaxKeys of it.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_TUNING_H_
#define TMEM_DAEMON_TUNING_H_

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "daemon/config.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

inline constexpr std::string_view kTuningPath = "/tool/tmemd";
inline constexpr std::string_view kTuningToken = "tuning";

// The folder of a guest's keys and statistics.
std::string GuestTuningPath(GuestId guest);

// What the keys of one folder set.
class Tunable {
 public:
  virtual ~Tunable() = default;
  virtual Result<void> Parse(SettingChanges& changes, const std::string& name,
                             const std::string& value) const = 0;
  virtual Result<void> Check(const SettingChanges& changes) const = 0;
  virtual void Apply(const SettingChanges& changes) = 0;
  // Keys over which another layer stands, so that they have no effect: why not, by name.
  virtual std::map<std::string, std::string> Overridden() const = 0;
  // Names of keys that have keys below them.
  virtual const std::set<std::string>& sections() const = 0;
};

class Tuning {
 public:
  static constexpr Duration kInterval = std::chrono::milliseconds(100);
  static constexpr size_t kMaxKeys = 256;

  // All outlive this object.
  Tuning(Directory& directory, const Clock& clock, Tunable& host);
  ~Tuning();
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;

  // Makes the folder, reads the host's keys and sets the watch.
  Result<void> Start();
  // Removes what guests left that went while nobody watched; those in `guests` are here.
  void RemoveStrangers(const std::set<GuestId>& guests);

  // Reads the guest's keys now, and again whenever they change, until Forget(). Nothing if that
  // guest is followed already.
  void Follow(const GuestInfo& guest, std::unique_ptr<Tunable> tunable);
  // Removes the guest's folder.
  void Forget(const GuestInfo& guest);
  // What lies under the keys, or over them, has changed: all are judged anew, soon.
  void ReadAll();

  // Something changed at the path.
  void Note(std::string_view path);
  // When ReadChanged() has something to do; TimePoint::max() for nothing.
  TimePoint due() const;
  // Reads the folders that changed. REQUIRES: due() has come.
  void ReadChanged();

 private:
  class Folder;

  void NoteGuest(std::string_view path);

  Directory& directory_;
  const Clock& clock_;
  const std::unique_ptr<Folder> host_;
  std::map<GuestId, std::unique_ptr<Folder>> guests_;
  TimePoint last_read_{};
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_TUNING_H_
