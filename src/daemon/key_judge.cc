#include "daemon/key_judge.h"

#include "daemon/knobs.h"

namespace tmem::daemon {

namespace {

SettingChanges Together(const std::map<std::string, SettingChanges>& by_key) {
  SettingChanges all;
  for (const auto& [name, changes] : by_key) all = Merged(std::move(all), changes);
  return all;
}

}  // namespace

KeyJudge::Verdict KeyJudge::Judge(const Keys& keys) {
  Verdict verdict;
  Changes wanted;  // by every key that can be read
  Changes kept;    // the last good values of keys that are there still
  for (const auto& [name, value] : keys) {
    if (const auto held = held_.find(name); held != held_.end()) kept.insert(*held);
    SettingChanges changes;
    if (const auto parsed = parse_(changes, name, value); parsed) {
      wanted[name] = std::move(changes);
    } else {
      verdict.refusals[name] = parsed.error().message;
    }
  }
  wanted.insert(kept.begin(), kept.end());  // for those that cannot be read
  if (check_(Together(wanted))) {
    held_ = std::move(wanted);
  } else {
    Reconcile(wanted, std::move(kept), verdict);
  }
  verdict.changes = Together(held_);
  return verdict;
}

// Together they are not valid: one after the other.
void KeyJudge::Reconcile(const Changes& wanted, Changes kept, Verdict& verdict) {
  // What lay under the keys may have changed: then the last good values are doubtful, too.
  if (!check_(Together(kept))) kept.clear();
  for (const auto& [name, changes] : wanted) {
    Changes trial = kept;
    trial[name] = changes;
    if (const auto accepted = check_(Together(trial)); accepted) {
      kept = std::move(trial);
    } else {
      verdict.refusals.emplace(name, accepted.error().message);
    }
  }
  held_ = std::move(kept);
}

}  // namespace tmem::daemon
