// Which keys of a folder in xenstore hold. Keys are written one at a time by whoever may, and any
// of them may be nonsense alone or together with others; what holds is always valid as a whole.
//
//   - a value that is not allowed is refused: the key's last good value stays
//   - if the keys contradict each other (or what lies under and over them), as many as possible of
//     those that changed hold, in the order of their names; the others' last good values stay
//   - every judgement looks at all keys anew, so that a key that was refused holds as soon as what
//     it contradicted is gone, in whichever order they were written
//
// Pure but for what it remembers of the last judgement. Not thread-safe.
#ifndef TMEM_DAEMON_KEY_JUDGE_H_
#define TMEM_DAEMON_KEY_JUDGE_H_

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/result.h"
#include "daemon/config.h"

namespace tmem::daemon {

class KeyJudge {
 public:
  using Keys = std::map<std::string, std::string>;  // values by name

  // Adds what a key says to changes, or tells why it says nothing that is allowed.
  using Parse = std::function<Result<void>(SettingChanges& changes, const std::string& name,
                                           const std::string& value)>;
  // Tells whether the changes are valid as a whole, over what lies under them.
  using Check = std::function<Result<void>(const SettingChanges& changes)>;

  KeyJudge(Parse parse, Check check) : parse_(std::move(parse)), check_(std::move(check)) {}

  struct Verdict {
    SettingChanges changes;                       // that hold
    std::map<std::string, std::string> refusals;  // why a key does not hold, by name
  };
  Verdict Judge(const Keys& keys);

 private:
  using Changes = std::map<std::string, SettingChanges>;  // by the key that says them

  void Reconcile(const Changes& wanted, Changes kept, Verdict& verdict);

  const Parse parse_;
  const Check check_;
  Changes held_;  // by the last judgement
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_KEY_JUDGE_H_
