#include "hypercall/xen/xenstore_directory.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>

namespace tmem::xen {

namespace {

// Abandoned with this object unless committed.
class Transaction {
 public:
  explicit Transaction(xs_handle* store) : store_(store), id_(xs_transaction_start(store)) {}
  ~Transaction() {
    if (id_ != XBT_NULL) xs_transaction_end(store_, id_, /*abort=*/true);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // XBT_NULL, with errno, if it could not be started.
  xs_transaction_t id() const { return id_; }
  // False, with errno, if nothing was written; EAGAIN: others changed the same nodes.
  bool Commit() { return xs_transaction_end(store_, std::exchange(id_, XBT_NULL), false); }

 private:
  xs_handle* const store_;
  xs_transaction_t id_;
};

bool SetPermissions(xs_handle* store, xs_transaction_t transaction, const std::string& path,
                    const Directory::Permissions& permissions) {
  // The first entry names the owner and what everybody else may do.
  std::array<xs_permissions, 2> list{{{.id = permissions.owner.value, .perms = XS_PERM_NONE}, {}}};
  unsigned count = 1;
  if (permissions.reader) {
    list[count++] = {.id = permissions.reader->value, .perms = XS_PERM_READ};
  }
  return xs_set_permissions(store, transaction, path.c_str(), list.data(), count);
}

bool WriteNode(xs_handle* store, xs_transaction_t transaction, const Directory::Node& node) {
  return xs_write(store, transaction, node.path.c_str(), node.value.data(),
                  static_cast<unsigned>(node.value.size())) &&
         (!node.permissions || SetPermissions(store, transaction, node.path, *node.permissions));
}

std::unexpected<Error> StoreError(std::string_view what, const std::string& path) {
  const int error_number = errno;
  return std::unexpected(
      SystemError(fmt::format("xenstore: cannot {} {}", what, path), error_number));
}

}  // namespace

Result<std::string> XenstoreDirectory::Read(const std::string& path) {
  unsigned size = 0;
  const Allocated<char> value(
      static_cast<char*>(xs_read(store_.get(), XBT_NULL, path.c_str(), &size)));
  if (!value) return StoreError("read", path);
  return std::string(value.get(), size);
}

Result<std::vector<std::string>> XenstoreDirectory::List(const std::string& path) {
  unsigned count = 0;
  const Allocated<char*> names(xs_directory(store_.get(), XBT_NULL, path.c_str(), &count));
  if (!names) return StoreError("list", path);
  return std::vector<std::string>(names.get(), names.get() + count);
}

Result<void> XenstoreDirectory::Write(const std::string& path, const std::string& value) {
  if (!WriteNode(store_.get(), XBT_NULL, {path, value, {}})) return StoreError("write", path);
  return {};
}

Result<void> XenstoreDirectory::WriteAll(std::span<const Node> nodes) {
  for (int attempt = 0; attempt < kTransactionAttempts; ++attempt) {
    Transaction transaction(store_.get());
    if (transaction.id() == XBT_NULL) {
      return std::unexpected(SystemError("xenstore: cannot start a transaction"));
    }
    for (const Node& node : nodes) {
      if (!WriteNode(store_.get(), transaction.id(), node)) return StoreError("write", node.path);
    }
    if (transaction.Commit()) return {};
    if (errno != EAGAIN) {
      return std::unexpected(SystemError("xenstore: cannot end a transaction"));
    }
  }
  return Fail(ErrorCode::kUnavailable,
              fmt::format("xenstore: others changed the same nodes {} times in a row",
                          kTransactionAttempts));
}

Result<void> XenstoreDirectory::Remove(const std::string& path) {
  if (!xs_rm(store_.get(), XBT_NULL, path.c_str()) && errno != ENOENT) {
    return StoreError("remove", path);
  }
  return {};
}

Result<void> XenstoreDirectory::Watch(const std::string& path, const std::string& token) {
  if (!xs_watch(store_.get(), path.c_str(), token.c_str())) return StoreError("watch", path);
  return {};
}

Result<void> XenstoreDirectory::Unwatch(const std::string& path, const std::string& token) {
  if (!xs_unwatch(store_.get(), path.c_str(), token.c_str())) {
    return StoreError("stop watching", path);
  }
  return {};
}

std::optional<Directory::WatchEvent> XenstoreDirectory::NextEvent() {
  const Allocated<char*> event(xs_check_watch(store_.get()));
  if (!event) return std::nullopt;
  return WatchEvent{event.get()[XS_WATCH_PATH], event.get()[XS_WATCH_TOKEN]};
}

bool XenstoreDirectory::IsIntroduced(GuestId guest) const {
  return xs_is_domain_introduced(store_.get(), guest.value);
}

}  // namespace tmem::xen
