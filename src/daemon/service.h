// A running tmemd without its control loop: the store, the hypervisor's guests, the workers, and
// what an administrator changes about them.
//
// Threads: the control thread. The workers that it starts touch queues and the store only, the
// thread that compresses later only the store.
#ifndef TMEM_DAEMON_SERVICE_H_
#define TMEM_DAEMON_SERVICE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "daemon/administration.h"
#include "daemon/capacity_follower.h"
#include "daemon/command_changes.h"
#include "daemon/config.h"
#include "daemon/dom0_memory.h"
#include "daemon/guest_registry.h"
#include "daemon/history.h"
#include "daemon/host_settings.h"
#include "daemon/recompression.h"
#include "daemon/stats_keys.h"
#include "daemon/tuning.h"
#include "daemon/worker_pool.h"
#include "hypercall/backend.h"
#include "hypercall/transport.h"
#include "pools/store.h"

namespace tmem::daemon {

class Service final : public Administration, public BackendObserver {
 public:
  // Everything but the guests: Start() lets those in. `clock` must outlive the service.
  static Result<std::unique_ptr<Service>> Create(const Config& config,
                                                 std::unique_ptr<Hypervisor> hypervisor,
                                                 const Clock& clock,
                                                 Dom0Memory dom0 = Dom0Memory());
  // Disconnects the guests; their pages are gone.
  ~Service() override;

  Result<void> Start();

  // For the control loop's poll, and when one of them is readable.
  std::vector<int> PollFds() const { return backend_->PollFds(); }
  void HandleEvents() { backend_->HandleEvents(); }
  // What time brings: when the next of it is due, and does what is.
  TimePoint due() const;
  void DoWhatIsDue();

  // Applies what can change while the daemon runs, to the guests that are here too. Returns the
  // names of changed knobs that wait for a restart.
  std::vector<std::string> Reload(const Config& config);

  // True if no worker hangs; see WorkerPool::Responsive.
  bool Responsive() { return workers_->Responsive(); }

  // How far the search for the pages of a daemon before this one is; nullopt when it is over.
  std::optional<std::string> RecoveryLine() const;

  // One line for `systemctl status`.
  std::string StatusLine() const;

  HostInfo Host() const override;
  std::vector<ConnectionInfo> Connections() const override { return backend_->Connections(); }
  std::optional<ConnectionInfo> Find(const std::string& guest) const override;
  Result<GuestStats> StatsOf(GuestId guest) const override { return store_->StatsOf(guest); }
  Result<GuestShare> ShareOf(GuestId guest) const override { return store_->ShareOf(guest); }
  Result<std::vector<History::Sample>> HistoryOf(GuestId guest) const override;
  Result<GuestSettings> Change(const GuestInfo& guest, const SettingEdits& edits,
                               Persist persist) override;
  Result<void> ChangeHost(const SettingEdits& edits) override;
  Result<Bytes> Flush(GuestId guest) override { return store_->FlushEphemeral(guest); }
  Reclaimed Reclaim(Bytes wanted) override;
  Result<void> Forgive(GuestId guest) override { return backend_->Forgive(guest); }
  Result<Directory*> DirectoryForTools() override;

 private:
  class HostTunable;
  class GuestTunable;

  Service(const Config& config, CommandChanges by_command, std::unique_ptr<Hypervisor> hypervisor,
          const Clock& clock, Dom0Memory dom0);

  void GuestGone(const GuestInfo& guest) override;
  void DirectoryChanged(const Directory::WatchEvent& event) override;

  void Tick(TimePoint now);
  void Scrub(uint64_t pages_stored);
  std::optional<GuestSettings> Admit(const GuestInfo& guest);
  // The settings in force follow what the registry, or the host's settings, say now.
  void Configure(const GuestInfo& guest);
  void ConfigureCapacity();
  void Apply(const Config& before);
  void RecordGuest(const GuestInfo& guest, LiveChanges changes);
  void RecordHost(LiveChanges changes);
  // What tmemctl set outlives the daemon if the pages do.
  void SaveCommandChanges() const;
  Result<void> WriteFile(const GuestInfo& guest, const SettingEdits& edits, LiveChanges& live);

  const Clock& clock_;
  TimePoint tick_due_{};
  HostSettings host_;
  GuestRegistry registry_;
  // Each needs those before it.
  std::unique_ptr<Hypervisor> hypervisor_;
  CapacityFollower capacity_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Recompression> recompression_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<HostTunable> host_tunable_;
  std::unique_ptr<Tuning> tuning_;
  std::unique_ptr<StatsKeys> stats_keys_;
  History history_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_SERVICE_H_
