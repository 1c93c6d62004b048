#include "run/forked_children.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/units.h"
#include "run/doorbells.h"

namespace tmem::run {

ForkedChildren::ForkedChildren(const PageTable& table, Backing& backing, Counters& counters,
                               Guardian* guardian, uint32_t read_ahead_pages, FatalHandler fatal)
    : table_(table),
      backing_(backing),
      counters_(counters),
      guardian_(guardian),
      read_ahead_pages_(read_ahead_pages),
      fatal_(std::move(fatal)),
      buffer_(Backing::kMaxRun * kPageSize) {}

ForkedChild& ForkedChildren::Add(UniqueFd fd, const UffdSpace& parent_space,
                                 const ForkedChild* parent) {
  ++counters_.forks;
  backing_.Freeze();
  const auto view = parent != nullptr ? parent->view() : table_.used();
  children_.push_back(std::make_unique<ForkedChild>(
      std::make_unique<UffdSpace>(std::move(fd), parent_space.base(), parent_space.pages(), false),
      std::vector<PageEntry>(view.begin(), view.end())));
  return *children_.back();
}

void ForkedChildren::OnMessage(ForkedChild& child, const UffdMessage& message) {
  const PageRun page{message.page, 1};
  if (message.kind == UffdMessage::Kind::kWriteProtected) return child.space().Unprotect(page);
  if (message.page == Doorbells::kHelloPage) return SayHello(child, message.thread);
  ++counters_.child_faults;
  if (message.page < child.view_.size() && child.view_[message.page].state == PageState::kEvicted) {
    return FillFromCopies(child, LoadableRun(child.view_, message.page, read_ahead_pages_));
  }
  std::memset(buffer_.data(), 0, kPageSize);
  child.space().Fill(page, buffer_.data(), false);
  child.space().Wake(page);
}

// The child has just begun to run and has one thread, so its thread id is its process id.
void ForkedChildren::SayHello(ForkedChild& child, uint32_t process) {
  if (guardian_ != nullptr) guardian_->Watch(child.space().fd(), static_cast<pid_t>(process));
  std::memset(buffer_.data(), 0, kPageSize);
  std::memcpy(buffer_.data(), &kHello, sizeof kHello);
  child.space().Fill({Doorbells::kHelloPage, 1}, buffer_.data(), false);
}

// `run` is loadable; its pages become the child's own, present from now on.
void ForkedChildren::FillFromCopies(ForkedChild& child, PageRun run) {
  std::array<Copy, Backing::kMaxRun> copies;
  for (uint32_t k = 0; k < run.count; ++k) copies[k] = child.view_[run.first + k].copy();
  const uint64_t loaded = backing_.Load(run, copies, buffer_.data());
  for (uint32_t k = 0; k < run.count; ++k) {
    const PageRun page{run.first + k, 1};
    if (loaded >> k & 1) {
      // Present already is as good: the kernel shared it at the fork.
      child.space().Fill(page, buffer_.data() + k * kPageSize, false);
      child.view_[page.first].state = PageState::kDirty;
      child.space().Wake(page);
    } else if (k == 0) {
      return fatal_("a page of a forked child is lost: tmemd does not have it any more");
    }
  }
}

void ForkedChildren::RemoveDead() {
  if (children_.empty()) return;
  std::erase_if(children_, [](const auto& child) { return !child->space().Alive(); });
  if (children_.empty()) backing_.Thaw();
}

void ForkedChildren::Complete(ForkedChild& child) {
  for (uint32_t page = 0; page < child.view_.size(); ++page) {
    if (child.view_[page].state != PageState::kEvicted) continue;
    if (!child.space().Alive()) return;
    FillFromCopies(child, LoadableRun(child.view_, page, Backing::kMaxRun));
  }
}

void ForkedChildren::CompleteAll() {
  // By index: a child that forks meanwhile adds one.
  for (size_t k = 0; k < children_.size(); ++k) Complete(*children_[k]);
  if (guardian_ != nullptr) guardian_->Release();
}

}  // namespace tmem::run
