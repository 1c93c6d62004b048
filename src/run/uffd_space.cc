#include "run/uffd_space.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/units.h"

#ifndef USERFAULTFD_IOC_NEW  // Linux 6.1; the kernel may be newer than its headers
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace tmem::run {

namespace {

constexpr uint64_t kFeatures = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID;

// Messages read with one call: more threads than that rarely fault at once.
constexpr size_t kMaxMessages = 16;

constexpr const char* kNotAllowed =
    "userfaultfd is not allowed here: run as root, or `sysctl vm.unprivileged_userfaultfd=1`, or "
    "give access to /dev/userfaultfd";

Result<UniqueFd> OpenUffd() {
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (fd) return fd;
  const int number = errno;
  if (number == EPERM) {
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (device) fd.Reset(::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    if (fd) return fd;
    return Fail(ErrorCode::kDenied, kNotAllowed);
  }
  if (number == ENOSYS) {
    return Fail(ErrorCode::kUnsupported,
                "this kernel has no userfaultfd (CONFIG_USERFAULTFD is off)");
  }
  return std::unexpected(SystemError("userfaultfd", number));
}

bool Negotiate(int fd, uint64_t features) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  return ::ioctl(fd, UFFDIO_API, &api) == 0;
}

}  // namespace

UffdSpace::UffdSpace(UniqueFd fd, std::byte* base, uint32_t pages, bool own)
    : fd_(std::move(fd)), base_(base), pages_(pages), own_(own) {}

Result<std::unique_ptr<UffdSpace>> UffdSpace::Open(std::byte* base, uint32_t pages) {
  auto fd = OpenUffd();
  if (!fd) return std::unexpected(std::move(fd).error());
  bool follows_forks = Negotiate(fd->get(), kFeatures | UFFD_FEATURE_EVENT_FORK);
  if (!follows_forks) {
    // Forks are told to those with CAP_SYS_PTRACE only. A refused descriptor is used up.
    fd = OpenUffd();
    if (!fd) return std::unexpected(std::move(fd).error());
    if (!Negotiate(fd->get(), kFeatures)) {
      return Fail(ErrorCode::kUnsupported,
                  "this kernel's userfaultfd cannot write-protect (Linux 5.7 or newer is needed)");
    }
  }
  uffdio_register registration{};
  registration.range = {reinterpret_cast<uintptr_t>(base), pages * uint64_t{kPageSize}};
  registration.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(fd->get(), UFFDIO_REGISTER, &registration) != 0) {
    return std::unexpected(SystemError("userfaultfd cannot take the arena"));
  }
  auto space = std::make_unique<UffdSpace>(std::move(*fd), base, pages, true);
  space->follows_forks_ = follows_forks;
  return space;
}

std::byte* UffdSpace::AddressOf(uint32_t page) const { return base_ + page * kPageSize; }

std::vector<UffdMessage> UffdSpace::Read() {
  std::array<uffd_msg, kMaxMessages> raw;
  const ssize_t size = ::read(fd_.get(), raw.data(), sizeof raw);
  std::vector<UffdMessage> messages;
  if (size <= 0) return messages;
  for (const uffd_msg& one : std::span(raw).first(static_cast<size_t>(size) / sizeof raw[0])) {
    messages.push_back(Parse(one));
  }
  return messages;
}

UffdMessage UffdSpace::Parse(const uffd_msg& raw) const {
  UffdMessage message;
  if (raw.event == UFFD_EVENT_FORK) {
    message.kind = UffdMessage::Kind::kFork;
    message.child = UniqueFd(static_cast<int>(raw.arg.fork.ufd));
    return message;
  }
  const uint64_t flags = raw.arg.pagefault.flags;
  const uint64_t offset = raw.arg.pagefault.address - reinterpret_cast<uintptr_t>(base_);
  if (flags & UFFD_PAGEFAULT_FLAG_WP) message.kind = UffdMessage::Kind::kWriteProtected;
  message.page = static_cast<uint32_t>(offset / kPageSize);
  message.write = flags & UFFD_PAGEFAULT_FLAG_WRITE;
  message.thread = raw.arg.pagefault.feat.ptid;
  return message;
}

AddressSpace::Filled UffdSpace::Fill(PageRun run, const std::byte* content, bool protect) {
  uffdio_copy copy{};
  copy.mode = protect ? UFFDIO_COPY_MODE_WP : 0;
  uint32_t done = 0;
  while (done < run.count) {
    copy.dst = reinterpret_cast<uintptr_t>(AddressOf(run.first + done));
    copy.src = reinterpret_cast<uintptr_t>(content + done * kPageSize);
    copy.len = (run.count - done) * uint64_t{kPageSize};
    copy.copy = 0;
    if (::ioctl(fd_.get(), UFFDIO_COPY, &copy) == 0) return {run.count, FillResult::kFilled};
    const int number = errno;
    if (copy.copy > 0) {
      done += static_cast<uint32_t>(static_cast<uint64_t>(copy.copy) / kPageSize);
    } else if (number == EEXIST) {
      return {done, FillResult::kPresent};
    } else if (number == EAGAIN) {
      if (on_fork_pending_) on_fork_pending_();
      ::sched_yield();
    } else if (number == ENOMEM) {
      ::sched_yield();  // the host is out of memory for a moment; the waiting thread must wait
    } else {
      return {done, FillResult::kGone};
    }
  }
  return {done, FillResult::kFilled};
}

// Returns 0 or the error number.
int UffdSpace::WriteProtect(PageRun run, uint64_t mode) {
  uffdio_writeprotect request{};
  request.range = {reinterpret_cast<uintptr_t>(AddressOf(run.first)),
                   run.count * uint64_t{kPageSize}};
  request.mode = mode;
  while (::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request) != 0) {
    if (errno != EAGAIN) return errno;
    if (on_fork_pending_) on_fork_pending_();
    ::sched_yield();
  }
  return 0;
}

bool UffdSpace::Protect(PageRun run) {
  if (WriteProtect(run, UFFDIO_WRITEPROTECT_MODE_WP) == 0) return true;
  // Before Linux 6.4 a run may not cross mappings, and mprotect() splits them.
  for (uint32_t page = run.first; page < run.end(); ++page) {
    if (WriteProtect({page, 1}, UFFDIO_WRITEPROTECT_MODE_WP) != 0) {
      Unprotect(run);
      return false;
    }
  }
  return true;
}

void UffdSpace::Unprotect(PageRun run) {
  if (WriteProtect(run, 0) == 0) return;
  for (uint32_t page = run.first; page < run.end(); ++page) {
    // A page that is not arena memory any more has nothing to allow, only waiters to let go.
    if (WriteProtect({page, 1}, 0) != 0) Wake({page, 1});
  }
}

bool UffdSpace::Drop(PageRun run) {
  // Not madvise(): in the preloaded library that is the program's, and ours to interpose.
  return own_ &&
         ::syscall(SYS_madvise, AddressOf(run.first), run.count * kPageSize, MADV_DONTNEED) == 0;
}

void UffdSpace::Wake(PageRun run) {
  uffdio_range range{reinterpret_cast<uintptr_t>(AddressOf(run.first)),
                     run.count * uint64_t{kPageSize}};
  ::ioctl(fd_.get(), UFFDIO_WAKE, &range);
}

bool UffdSpace::Alive() const {
  // Nothing ever protects the first page, so this changes nothing; it fails with ESRCH when the
  // memory of the process is gone.
  uffdio_writeprotect request{};
  request.range = {reinterpret_cast<uintptr_t>(base_), kPageSize};
  request.mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE;
  return ::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request) == 0 || errno != ESRCH;
}

}  // namespace tmem::run
