// One folder of keys in xenstore that set something: reads them, has them judged, applies what
// holds, and tells in KEY-error what does not. Private to Tuning.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_KEY_FOLDER_H_
#define TMEM_DAEMON_KEY_FOLDER_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/key_judge.h"
#include "daemon/tuning.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

// True for names in such a folder that set nothing: what tmemd writes itself, errors among it.
bool IsOwnKey(std::string_view name);

class KeyFolder {
 public:
  // Directory and tunable outlive the folder.
  KeyFolder(Directory& directory, std::string path, Tunable& tunable);

  bool changed() const { return changed_; }
  void set_changed() { changed_ = true; }

  // Looks at all keys. If the directory does not answer, the folder stays changed.
  void Read();

 private:
  using Texts = std::map<std::string, std::string>;
  struct Contents {
    KeyJudge::Keys keys;
    Texts errors;  // that stand there, by the names of their keys
  };
  bool ReadLevel(const std::string& prefix, Contents& contents);
  bool ReadKey(const std::string& name, Contents& contents);
  void TellErrors(const Texts& refusals, const Texts& told);

  Directory& directory_;
  const std::string path_;
  Tunable& tunable_;
  KeyJudge judge_;
  std::optional<SettingChanges> applied_;
  bool changed_ = false;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_KEY_FOLDER_H_
