// The Directory of transport.h over libxenstore.
//
// Threads: the control thread. libxenstore starts a thread of its own with the first watch.
#ifndef TMEM_HYPERCALL_XEN_XENSTORE_DIRECTORY_H_
#define TMEM_HYPERCALL_XEN_XENSTORE_DIRECTORY_H_

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hypercall/transport.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

// How often WriteAll starts again because somebody else changed the same nodes meanwhile. A guest
// may write its own nodes all the time; it must not keep us here for ever.
inline constexpr int kTransactionAttempts = 64;

class XenstoreDirectory final : public Directory {
 public:
  explicit XenstoreDirectory(StoreHandle store) : store_(std::move(store)) {}

  Result<std::string> Read(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<void> Write(const std::string& path, const std::string& value) override;
  // kUnavailable after kTransactionAttempts.
  Result<void> WriteAll(std::span<const Node> nodes) override;
  Result<void> Remove(const std::string& path) override;
  Result<void> Watch(const std::string& path, const std::string& token) override;
  Result<void> Unwatch(const std::string& path, const std::string& token) override;
  int fd() const override { return xs_fileno(store_.get()); }
  std::optional<WatchEvent> NextEvent() override;

  // Whether xenstored knows the guest: it does from the guest's creation until its end.
  bool IsIntroduced(GuestId guest) const;

 private:
  const StoreHandle store_;
};

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_XENSTORE_DIRECTORY_H_
