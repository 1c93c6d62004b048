// A folder for a store's files, on a tmpfs, gone with this object.
#ifndef TMEM_TESTS_POOLS_TMPFS_FOLDER_H_
#define TMEM_TESTS_POOLS_TMPFS_FOLDER_H_

#include <filesystem>
#include <string>

namespace tmem {

class TmpfsFolder {
 public:
  TmpfsFolder() {
    char name[] = "/dev/shm/tmem-test-XXXXXX";
    if (mkdtemp(name) != nullptr) path_ = name;
  }
  TmpfsFolder(const TmpfsFolder&) = delete;
  TmpfsFolder& operator=(const TmpfsFolder&) = delete;
  ~TmpfsFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  // Of the store in it.
  std::string store() const { return path_ + "/store"; }
  std::string FileOf(const char* name) const { return store() + "/" + name; }

 private:
  std::string path_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_POOLS_TMPFS_FOLDER_H_
