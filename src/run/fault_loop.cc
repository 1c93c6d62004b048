#include "run/fault_loop.h"

#include <poll.h>

#include <array>
#include <utility>
#include <vector>

#include "base/units.h"

namespace tmem::run {

namespace {

// Nothing tells of the death of a child: it is looked for this often while there are any.
constexpr int kChildCheckMs = 100;

// What a doorbell page holds once it is answered: nobody looks.
alignas(kPageSize) constexpr std::array<std::byte, kPageSize> kAnswer{};

}  // namespace

FaultLoop::FaultLoop(UffdSpace& space, const Doorbells& doorbells, Residency& residency,
                     ForkedChildren& children, FinishHandler on_finish)
    : space_(space),
      doorbells_(doorbells),
      residency_(residency),
      children_(children),
      on_finish_(std::move(on_finish)) {
  space_.set_on_fork_pending([this] { ReadMessages(space_, nullptr); });
}

void FaultLoop::Run() {
  while (!stopped_) {
    if (pending_.empty()) WaitForMessages();
    while (!pending_.empty() && !stopped_) {
      const Pending next = std::move(pending_.front());
      pending_.pop_front();
      if (next.child != nullptr) {
        children_.OnMessage(*next.child, next.message);
      } else {
        Handle(next.message);
      }
    }
    children_.RemoveDead();
  }
}

void FaultLoop::WaitForMessages() {
  std::vector<pollfd> watched{{space_.fd(), POLLIN, 0}};
  for (const auto& child : children_.all()) watched.push_back({child->space().fd(), POLLIN, 0});
  ::poll(watched.data(), watched.size(), children_.empty() ? -1 : kChildCheckMs);
  // Reading may add children at the end: they are looked at in the next round.
  const size_t known_children = watched.size() - 1;
  if (watched[0].revents != 0) ReadMessages(space_, nullptr);
  for (size_t k = 0; k < known_children; ++k) {
    ForkedChild& child = *children_.all()[k];
    if (watched[k + 1].revents != 0) ReadMessages(child.space(), &child);
  }
}

void FaultLoop::ReadMessages(UffdSpace& space, ForkedChild* child) {
  for (UffdMessage& message : space.Read()) {
    if (message.kind == UffdMessage::Kind::kFork) {
      // At once, whatever else waits: the page table is now as it was at the fork, as far as the
      // child can tell, because nothing can be filled while a fork is pending.
      FollowFork(std::move(message.child), space, child);
    } else {
      pending_.push_back({child, std::move(message)});
    }
  }
}

void FaultLoop::FollowFork(UniqueFd fd, UffdSpace& parent_space, ForkedChild* parent) {
  ForkedChild& child = children_.Add(std::move(fd), parent_space, parent);
  child.space().set_on_fork_pending([this, &child] { ReadMessages(child.space(), &child); });
}

void FaultLoop::Handle(const UffdMessage& message) {
  if (message.page < Doorbells::kCount) {
    Obey(message.page);
    space_.Fill({message.page, 1}, kAnswer.data(), false);
    return;
  }
  if (message.kind == UffdMessage::Kind::kWriteProtected) {
    residency_.OnWriteProtected(message.page);
  } else {
    residency_.OnMissing(message.page, message.write);
  }
}

void FaultLoop::Obey(uint32_t doorbell) {
  const Command& command = doorbells_.At(doorbell);
  switch (command.kind) {
    case Command::Kind::kDiscard:
      return residency_.Discard(command.run);
    case Command::Kind::kPin:
      return residency_.SetPinned(command.run, true);
    case Command::Kind::kUnpin:
      return residency_.SetPinned(command.run, false);
    case Command::Kind::kFinish:
      children_.CompleteAll();
      if (on_finish_) std::exchange(on_finish_, nullptr)();
      return;
    case Command::Kind::kStop:
      stopped_ = true;
      return;
  }
}

}  // namespace tmem::run
