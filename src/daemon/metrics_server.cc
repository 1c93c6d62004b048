#include "daemon/metrics_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <string_view>
#include <utility>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace tmem::daemon {

namespace {

using Families = std::vector<prometheus::MetricFamily>;

// Each connection keeps a thread busy until its request is answered. Whoever connects and says
// nothing has that one for so long: much less than the 10 s after which Prometheus gives up.
std::vector<std::string> HttpOptions(const std::string& address) {
  return {"listening_ports", address, "num_threads", "4", "request_timeout_ms", "1000"};
}

// prometheus-cpp does not tell why nobody can listen there: the errno of a try of our own, or 0.
int WhyNobodyListensAt(const std::string& address) {
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(static_cast<uint16_t>(std::atoi(&address[address.rfind(':') + 1])));
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there);
  return bound == 0 ? 0 : errno;
}

std::string_view HintAt(int error_number) {
  switch (error_number) {
    case EADDRINUSE:
      return "; another program is there, choose another port";
    case EACCES:
      return "; choose a port above 1023";
    case EAFNOSUPPORT:
      return "; the unit for systemd denies it (docs/tmemd.md, Metrics)";
    default:
      return "";
  }
}

// The HTTP threads' half: hands the question to the control thread and waits.
class Questions final : public prometheus::Collectable {
 public:
  explicit Questions(UniqueFd event) : event_(std::move(event)) {}

  Families Collect() const override TMEM_EXCLUDES(mutex_) {
    auto answer = std::make_shared<std::promise<Families>>();
    auto future = answer->get_future();
    {
      const MutexLock lock(mutex_);
      if (closed_) return {};
      waiting_.push_back(std::move(answer));
    }
    (void)::eventfd_write(event_.get(), 1);
    if (future.wait_for(MetricsServer::kPatience) != std::future_status::ready) return {};
    return future.get();
  }

  int fd() const { return event_.get(); }

  // The control thread's half.
  void AnswerAll(const MetricsServer::Collect& collect) TMEM_EXCLUDES(mutex_) {
    eventfd_t ignored;
    (void)::eventfd_read(event_.get(), &ignored);
    const auto waiting = TakeWaiting(/*close=*/false);
    if (waiting.empty()) return;
    const Families families = collect();
    for (const auto& answer : waiting) answer->set_value(families);
  }
  // From now on nobody waits.
  void Close() {
    for (const auto& answer : TakeWaiting(/*close=*/true)) answer->set_value({});
  }

 private:
  using Waiting = std::vector<std::shared_ptr<std::promise<Families>>>;

  Waiting TakeWaiting(bool close) TMEM_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    closed_ |= close;
    return std::exchange(waiting_, {});
  }

  const UniqueFd event_;
  mutable Mutex mutex_{LockRank::kLeaf};
  mutable Waiting waiting_ TMEM_GUARDED_BY(mutex_);
  bool closed_ TMEM_GUARDED_BY(mutex_) = false;
};

}  // namespace

class MetricsServer::Impl {
 public:
  Impl(UniqueFd event, const std::string& address, Collect collector)
      : collect(std::move(collector)),
        questions(std::make_shared<Questions>(std::move(event))),
        exposer(HttpOptions(address)) {
    exposer.RegisterCollectable(questions);
  }
  ~Impl() { questions->Close(); }  // the exposer's end waits for its threads

  const Collect collect;
  const std::shared_ptr<Questions> questions;
  prometheus::Exposer exposer;
};

Result<std::unique_ptr<MetricsServer>> MetricsServer::Create(const std::string& address,
                                                             Collect collect) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return std::unexpected(SystemError("eventfd"));
  try {
    return std::unique_ptr<MetricsServer>(
        new MetricsServer(std::make_unique<Impl>(std::move(event), address, std::move(collect))));
  } catch (const std::exception& error) {  // prometheus-cpp's way to tell
    const int why = WhyNobodyListensAt(address);
    return Fail(ErrorCode::kDenied,
                fmt::format("cannot listen on {}: {}{}", address,
                            why != 0 ? std::strerror(why) : error.what(), HintAt(why)));
  }
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

MetricsServer::~MetricsServer() = default;

int MetricsServer::port() const { return impl_->exposer.GetListeningPorts().front(); }

int MetricsServer::fd() const { return impl_->questions->fd(); }

void MetricsServer::HandleEvents() { impl_->questions->AnswerAll(impl_->collect); }

}  // namespace tmem::daemon
