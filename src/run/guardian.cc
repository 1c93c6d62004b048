#include "run/guardian.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "run/uffd_space.h"

namespace tmem::run {

namespace {

// A request carries the child's id and, with it, its userfaultfd; id 0 asks for release. The
// answer is the id.
struct Ward {
  UniqueFd process;
  std::unique_ptr<UffdSpace> space;
};

// The parent of a process as /proc tells it, 0 if it does not.
pid_t ParentOf(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream rest(line.substr(name_end + 1));
  char state = 0;
  pid_t parent = 0;
  rest >> state >> parent;
  return parent;
}

bool IsDescendant(pid_t process, pid_t ancestor) {
  while (process > 1) {
    process = ParentOf(process);
    if (process == ancestor) return true;
  }
  return false;
}

struct Request {
  pid_t child = 0;
  UniqueFd uffd;
};

// False when the program is gone.
bool Receive(int socket, Request& request) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control;
  iovec data{&request.child, sizeof request.child};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received != sizeof request.child) return false;
  request.uffd.Reset();
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    request.uffd.Reset(fd);
  }
  return true;
}

[[noreturn]] void Guard(int socket, pid_t program, std::byte* arena) {
  std::vector<Ward> wards;
  Request request;
  while (Receive(socket, request)) {
    std::erase_if(wards, [](const Ward& ward) { return !ward.space->Alive(); });
    if (request.child == 0) {
      wards.clear();
    } else if (IsDescendant(request.child, program)) {
      UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, request.child, 0)));
      if (process && request.uffd) {
        wards.push_back({std::move(process),
                         std::make_unique<UffdSpace>(std::move(request.uffd), arena, 1, false)});
      }
    }
    ::send(socket, &request.child, sizeof request.child, MSG_NOSIGNAL);
  }
  for (const Ward& ward : wards) {
    // One that called exec has its own memory again and lives on.
    if (ward.space->Alive()) ::syscall(SYS_pidfd_send_signal, ward.process.get(), SIGKILL, 0, 0);
  }
  ::_exit(0);
}

[[noreturn]] void BecomeGuardian(UniqueFd socket, pid_t program, std::byte* arena) {
  // Not the program's child, nor in its session, nor a holder of its descriptors.
  if (::fork() != 0) ::_exit(0);
  ::setsid();
  ::prctl(PR_SET_NAME, "tmemrun-guard");
  const int keep = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 3);
  if (keep < 0 || ::chdir("/") != 0) ::_exit(1);
  ::syscall(SYS_close_range, 0, keep - 1, 0);
  ::syscall(SYS_close_range, keep + 1, ~0U, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  static_cast<void>(socket.Release());
  Guard(keep, program, arena);
}

}  // namespace

Result<std::unique_ptr<Guardian>> Guardian::Start(const std::byte* arena) {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return std::unexpected(SystemError("socketpair"));
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t program = ::getpid();
  const pid_t middle = ::fork();
  if (middle < 0) return std::unexpected(SystemError("fork"));
  if (middle == 0) {
    ours.Reset();
    BecomeGuardian(std::move(theirs), program, const_cast<std::byte*>(arena));
  }
  while (::waitpid(middle, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unique_ptr<Guardian>(new Guardian(std::move(ours)));
}

bool Guardian::Ask(int uffd, pid_t child) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec data{&child, sizeof child};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (uffd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof uffd);
    std::memcpy(CMSG_DATA(header), &uffd, sizeof uffd);
  }
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) < 0) return false;
  pid_t answer = 0;
  return ::recv(socket_.get(), &answer, sizeof answer, 0) == sizeof answer && answer == child;
}

// If the guardian was killed, nobody watches: the program goes on without.
void Guardian::Watch(int uffd, pid_t child) { static_cast<void>(Ask(uffd, child)); }

void Guardian::Release() { static_cast<void>(Ask(-1, 0)); }

}  // namespace tmem::run
