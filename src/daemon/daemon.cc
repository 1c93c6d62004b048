#include "daemon/daemon.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "daemon/hypervisor_factory.h"
#include "daemon/metrics.h"
#include "daemon/service_notifier.h"
#include "daemon/version.h"

namespace tmem::daemon {

namespace {

constexpr std::chrono::seconds kRecoveryReportInterval{1};

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

void PrepareSignals() {
  const sigset_t signals = HandledSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void RaiseDescriptorLimit() {
  constexpr rlim_t kEnough = 65536;  // as in tmemd.service
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(kEnough, limit.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) spdlog::warn("{}", SystemError("setrlimit").message);
}

Result<std::unique_ptr<Daemon>> Daemon::Create(const Config& config, ConfigSource source) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(source)));
  const sigset_t signals = HandledSignals();
  daemon->signals_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!daemon->signals_) return std::unexpected(SystemError("signalfd"));

  auto hypervisor = MakeHypervisor(config);
  if (!hypervisor) return std::unexpected(std::move(hypervisor).error());
  auto service = Service::Create(config, std::move(*hypervisor), daemon->clock_);
  if (!service) return std::unexpected(std::move(service).error());
  daemon->service_ = std::move(*service);

  daemon->handler_ = std::make_unique<ControlHandler>(*daemon->service_);
  auto server =
      ControlServer::Create(config.control_socket, config.control_mode, *daemon->handler_);
  if (!server) return std::unexpected(std::move(server).error().Within("control.socket"));
  daemon->server_ = std::move(*server);

  TMEM_TRY(daemon->ServeMetrics(config.metrics_address));

  daemon->recovering_ = daemon->service_->RecoveryLine().has_value();
  TMEM_TRY(daemon->service_->Start());
  daemon->watchdog_interval_ = service_notifier::WatchdogInterval();
  spdlog::info("tmemd {} serves {} guests, control socket {}", Version(),
               daemon->service_->Host().hypervisor, config.control_socket);
  return daemon;
}

Result<void> Daemon::ServeMetrics(const std::string& address) {
  if (address.empty()) return {};
  auto metrics = MetricsServer::Create(address, [this] { return CollectMetrics(*service_); });
  if (!metrics) return std::unexpected(std::move(metrics).error().Within("metrics.address"));
  metrics_ = std::move(*metrics);
  spdlog::info("metrics at {}, port {}", address, metrics_->port());
  return {};
}

Result<void> Daemon::Run() {
  service_notifier::Ready(service_->StatusLine());
  if (watchdog_interval_) watchdog_due_ = clock_.Now() + *watchdog_interval_;
  while (!stopping_) TMEM_TRY(WaitAndHandle());
  spdlog::info("stopping");
  service_notifier::Stopping();
  return {};
}

Result<void> Daemon::WaitAndHandle() {
  // Asked for anew each time: the backend may have come to watch other descriptors.
  const std::vector<int> backend_fds = service_->PollFds();
  std::vector<pollfd> fds = {
      {.fd = signals_.get(), .events = POLLIN, .revents = 0},
      {.fd = server_->fd(), .events = POLLIN, .revents = 0},
      {.fd = metrics_ ? metrics_->fd() : -1, .events = POLLIN, .revents = 0}};
  for (const int fd : backend_fds) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});

  if (::poll(fds.data(), fds.size(), Timeout()) < 0 && errno != EINTR) {
    return std::unexpected(SystemError("poll"));
  }
  const auto is_ready = [](const pollfd& fd) { return fd.revents != 0; };
  if (is_ready(fds[0])) HandleSignal();
  if (is_ready(fds[1])) server_->HandleEvents();
  if (is_ready(fds[2])) metrics_->HandleEvents();
  if (std::any_of(fds.begin() + 3, fds.end(), is_ready)) service_->HandleEvents();
  service_->DoWhatIsDue();
  FeedWatchdog();
  ReportRecovery();
  return {};
}

void Daemon::ReportRecovery() {
  if (!recovering_ || clock_.Now() < recovery_report_due_) return;
  recovery_report_due_ = clock_.Now() + kRecoveryReportInterval;
  const auto line = service_->RecoveryLine();
  recovering_ = line.has_value();
  spdlog::info("{}", line.value_or("all pages of the daemon before this one are found"));
  service_notifier::Alive(service_->StatusLine());
}

int Daemon::Timeout() const {
  TimePoint due = service_->due();
  if (watchdog_interval_) due = std::min(due, watchdog_due_);
  if (recovering_) due = std::min(due, recovery_report_due_);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - clock_.Now()).count();
  return static_cast<int>(std::max<int64_t>(left, 0));
}

void Daemon::FeedWatchdog() {
  if (!watchdog_interval_ || clock_.Now() < watchdog_due_) return;
  watchdog_due_ = clock_.Now() + *watchdog_interval_;
  if (service_->Responsive()) {
    service_notifier::Alive(service_->StatusLine());
  } else {
    spdlog::error("a worker has not come around for {} ms", watchdog_interval_->count());
  }
}

void Daemon::HandleSignal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGHUP) {
    Reload();
  } else {
    stopping_ = true;
  }
}

void Daemon::Reload() {
  service_notifier::Reloading();
  const auto config = LoadConfig(source_);
  if (config) {
    for (const std::string& name : service_->Reload(*config)) {
      spdlog::warn("{}: the change takes effect when tmemd is restarted", name);
    }
  } else {
    spdlog::error("{}; the configuration stays as it was", config.error().message);
  }
  service_notifier::Ready(service_->StatusLine());
}

}  // namespace tmem::daemon
