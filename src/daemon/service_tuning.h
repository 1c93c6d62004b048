// What the keys of xenstore set, as the service has it. Private to the service.
#ifndef TMEM_DAEMON_SERVICE_TUNING_H_
#define TMEM_DAEMON_SERVICE_TUNING_H_

#include <map>
#include <set>
#include <string>

#include "daemon/service.h"

namespace tmem::daemon {

class Service::HostTunable final : public Tunable {
 public:
  explicit HostTunable(Service& service) : service_(service) {}

  Result<void> Parse(SettingChanges& changes, const std::string& name,
                     const std::string& value) const override;
  Result<void> Check(const SettingChanges& changes) const override;
  void Apply(const SettingChanges& changes) override;
  std::map<std::string, std::string> Overridden() const override;
  const std::set<std::string>& sections() const override;

 private:
  Service& service_;
};

class Service::GuestTunable final : public Tunable {
 public:
  GuestTunable(Service& service, const GuestInfo& guest) : service_(service), guest_(guest) {}

  Result<void> Parse(SettingChanges& changes, const std::string& name,
                     const std::string& value) const override;
  Result<void> Check(const SettingChanges& changes) const override;
  void Apply(const SettingChanges& changes) override;
  std::map<std::string, std::string> Overridden() const override;
  const std::set<std::string>& sections() const override;

 private:
  Service& service_;
  const GuestInfo guest_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_SERVICE_TUNING_H_
