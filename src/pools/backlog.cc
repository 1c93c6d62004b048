#include "pools/backlog.h"

namespace tmem {

void Backlog::Add(PageName page) {
  MutexLock lock(mutex_);
  if (pages_.size() == kMost) return;
  pages_.push_back(page);
  size_.store(static_cast<uint32_t>(pages_.size()), std::memory_order_relaxed);
}

std::optional<PageName> Backlog::Take() {
  MutexLock lock(mutex_);
  if (pages_.empty()) return std::nullopt;
  const PageName page = pages_.front();
  pages_.pop_front();
  size_.store(static_cast<uint32_t>(pages_.size()), std::memory_order_relaxed);
  return page;
}

}  // namespace tmem
