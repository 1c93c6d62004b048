#include "daemon/knobs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "daemon/knob_kinds.h"
#include "hypercall/abi/tmemif.h"
#include "pools/segment.h"

namespace tmem::daemon {

namespace {

constexpr std::array<std::string_view, 3> kHypervisorNames = {"auto", "loopback", "xen"};
constexpr std::array<std::string_view, 4> kCompressNames = {"off", "fast", "dense", "auto"};

// Names of guests' settings that stand for several others.
constexpr std::string_view kCompress = "compress";
constexpr std::array<std::string_view, 2> kCompressParts = {"compress-ephemeral",
                                                            "compress-persistent"};

constexpr Bytes kMostReserve = GiB(1) * 1024 * 1024;  // so that sums of them mean something
constexpr uint32_t kMaxWorkers = 256;
constexpr uint32_t kMaxSpinUs = 10'000;
constexpr uint32_t kMaxScrubHours = 24 * 365;
constexpr int kMinZstdLevel = -7;  // PageCodec takes less, but nothing is gained there
constexpr int kMaxZstdLevel = 19;

// A knob of one kind over the member that `field` returns.
template <class Target, class Kind, class Field>
Knob<Target> Make(std::string name, Effect effect, Kind kind, Field field, std::string help) {
  Knob<Target> knob;
  knob.name = std::move(name);
  knob.allowed = kind.Allowed();
  knob.help = std::move(help);
  knob.effect = effect;
  knob.set = [kind, field, allowed = knob.allowed](Target& target,
                                                   const KnobValue& value) -> Result<void> {
    const auto read = kind.Read(value);
    if (!read) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{} is not allowed; write {}", ToToml(value), allowed));
    }
    field(target) = *read;
    return {};
  };
  knob.get = [kind, field](const Target& target) { return kind.Write(field(target)); };
  return knob;
}

template <class Target>
Knob<Target> WithFlag(Knob<Target> knob) {
  knob.has_flag = true;
  return knob;
}

#define FIELD(member) ([](auto& target) -> auto& { return target.member; })

std::vector<GuestKnob> MakeGuestKnobs() {
  constexpr auto kNow = Effect::kReload;
  const auto compress = [](PageClass page_class) {
    return [page_class](auto& settings) -> auto& {
      return settings.compress[static_cast<size_t>(page_class)];
    };
  };
  const kinds::Choice<CompressMode> modes{kCompressNames};
  return {
      Make<GuestSettings>(
          "weight", kNow,
          kinds::Number<uint32_t>{GuestSettings::kMinWeight, GuestSettings::kMaxWeight},
          FIELD(weight), "The guest's relative share of what no guest is guaranteed."),
      Make<GuestSettings>("reserve", kNow, kinds::Size{}, FIELD(reserve),
                          "Memory that is always available to the guest's persistent pages."),
      Make<GuestSettings>("cap", kNow, kinds::Size{.may_be_unlimited = true}, FIELD(cap),
                          "What the guest's pages may take at most, as stored."),
      Make<GuestSettings>("surrendered", kNow, kinds::Size{}, FIELD(surrendered),
                          "What the guest gave up of its own memory, where the hypervisor cannot "
                          "tell: loopback. On Xen it is observed."),
      Make<GuestSettings>(std::string(kCompressParts[0]), kNow, modes,
                          compress(PageClass::kEphemeral),
                          "How ephemeral pages are compressed: not, with LZ4, with zstd, or a "
                          "little after they were put."),
      Make<GuestSettings>(std::string(kCompressParts[1]), kNow, modes,
                          compress(PageClass::kPersistent),
                          "How persistent pages are compressed: not, with LZ4, with zstd, or a "
                          "little after they were put, and more densely if they stay."),
      Make<GuestSettings>("compress-cpu", kNow, kinds::Number<uint32_t>{1, 100},
                          FIELD(compress_cpu),
                          "What compressing \"auto\" pages later may take, in percent of one "
                          "processor."),
      Make<GuestSettings>(
          "dense-after", kNow, kinds::Number<uint32_t>{0, GuestSettings::kMaxDenseAfter},
          FIELD(dense_after),
          "Seconds after which persistent \"auto\" pages that nobody got are "
          "compressed densely, by a dictionary of the guest's own pages. 0: never."),
      Make<GuestSettings>("frozen", kNow, kinds::Boolean{}, FIELD(frozen),
                          "A frozen guest's puts are refused."),
      Make<GuestSettings>(std::string(kSharedAuth), kNow, kinds::Uuids{}, FIELD(shared_auth),
                          "Shared pools that the guest may join, by uuid."),
  };
}

std::vector<DaemonKnob> MakeServiceKnobs() {
  constexpr auto kNow = Effect::kReload;
  constexpr auto kRestart = Effect::kRestart;
  return {
      WithFlag(Make<Config>("hypervisor", kRestart, kinds::Choice<HypervisorKind>{kHypervisorNames},
                            FIELD(hypervisor),
                            "Whose guests are served. auto: xen in a Xen dom0, else loopback.")),
      WithFlag(Make<Config>(
          "capacity", kNow, kinds::SizeOrAuto{{.min = Bytes(kSegmentSize)}}, FIELD(capacity),
          "Memory that stored pages may take, all guests together. auto: follows the host's free "
          "memory, from min-capacity up to max-capacity.")),
      Make<Config>("min-capacity", kNow,
                   kinds::Size{.min = Bytes(kSegmentSize), .max = kMostReserve},
                   FIELD(min_capacity),
                   "With capacity \"auto\": what stored pages may take of dom0's own memory. What "
                   "they take beyond is borrowed from the host's."),
      Make<Config>(
          "host-reserve", kNow, kinds::Size{.max = kMostReserve}, FIELD(host_reserve),
          "With capacity \"auto\": what stays free on the host, for domains to be created. "
          "The store gives back at once what is missing."),
      Make<Config>("dom0-reserve", kNow, kinds::Size{.max = kMostReserve}, FIELD(dom0_reserve),
                   "With capacity \"auto\": what stays available to dom0's own programs "
                   "(MemAvailable)."),
      Make<Config>(
          "free-request", kNow, kinds::Size{.max = kMostReserve}, FIELD(free_request),
          "With capacity \"auto\": what a toolstack wants free on the host, if that is more "
          "than host-reserve; to be set before a domain is created and taken back "
          "afterwards."),
      WithFlag(Make<Config>("policy", kNow, kinds::Choice<PolicyKind>{kPolicyNames},
                            FIELD(policy.kind),
                            "How memory is divided among guests; docs/policies.md compares them.")),
      Make<Config>("surrender-percent", kNow,
                   kinds::Number<uint32_t>{0, PolicySettings::kMaxSurrenderPercent},
                   FIELD(policy.surrender_percent),
                   "What a guest may store for memory of its own that it gave up, in percent of "
                   "that (policies surrender and max-min)."),
      Make<Config>("max-capacity", kRestart, kinds::Size{.zero = "four times the capacity"},
                   FIELD(max_capacity),
                   "How far the capacity can be raised while the daemon runs."),
      Make<Config>("shared-auth-default", kRestart, kinds::Boolean{}, FIELD(shared_auth_default),
                   "Whether guests may join shared pools that nobody authorized them for."),
      Make<Config>("allowed-guests", kNow, kinds::Words{}, FIELD(allowed_guests),
                   "Guests that may use tmem; a change holds for guests that appear later."),
      WithFlag(Make<Config>("workers", kRestart, kinds::Number<uint32_t>{0, kMaxWorkers},
                            FIELD(workers),
                            "Threads that serve guests. 0: one less than there are CPUs.")),
      Make<Config>("spin-us", kNow, kinds::Number<uint32_t>{0, kMaxSpinUs}, FIELD(spin_us),
                   "Microseconds that a worker polls, at most, before it sleeps."),
      Make<Config>("scrub-hours", kNow, kinds::Number<uint32_t>{0, kMaxScrubHours},
                   FIELD(scrub_hours),
                   "Hours in which each persistent page is checked against its checksum once, if "
                   "nobody gets it. 0: never."),
      Make<Config>("zstd-level", kNow, kinds::Number<int>{kMinZstdLevel, kMaxZstdLevel},
                   FIELD(zstd_level), "zstd's level for guests that compress \"dense\"."),
      WithFlag(Make<Config>("log-level", kNow, kinds::Choice<LogLevel>{kLogLevelNames},
                            FIELD(log_level), "Messages below this level are dropped.")),
      WithFlag(Make<Config>("store.path", kRestart, kinds::Folder{}, FIELD(store_path),
                            "A folder on a tmpfs that keeps pages while the daemon is restarted. "
                            "Empty: pages go when the daemon does.")),
      WithFlag(Make<Config>("control.socket", kRestart, kinds::SocketPath{}, FIELD(control_socket),
                            "Where tmemctl reaches the daemon.")),
      Make<Config>("control.mode", kRestart, kinds::Mode{}, FIELD(control_mode),
                   "Who may connect there, and so change everything."),
      WithFlag(Make<Config>("loopback.socket", kRestart, kinds::SocketPath{},
                            FIELD(loopback_socket), "Where loopback guests connect.")),
      Make<Config>("loopback.mode", kRestart, kinds::Mode{}, FIELD(loopback_mode),
                   "Who may be a loopback guest."),
      Make<Config>("metrics.address", kRestart, kinds::LoopbackAddress{}, FIELD(metrics_address),
                   "Where Prometheus finds metrics, at /metrics. Empty: nowhere."),
      Make<Config>("limits.queues", kRestart, kinds::Number<uint32_t>{1, TMEMIF_MAX_QUEUES},
                   FIELD(limits.max_queues), "Queues of one guest, at most."),
      Make<Config>("limits.ring-page-order", kRestart,
                   kinds::Number<uint32_t>{0, TMEMIF_MAX_RING_PAGE_ORDER},
                   FIELD(limits.max_ring_page_order),
                   "Ring pages of one queue, at most, as a power of two."),
      Make<Config>("limits.slots", kRestart, kinds::Number<uint32_t>{1, TMEMIF_MAX_SLOTS},
                   FIELD(limits.max_slots), "Data slots of one queue, at most."),
  };
}

#undef FIELD

DaemonKnob DefaultOf(const GuestKnob& guest_knob) {
  return {
      .name = fmt::format("{}.{}", kGuestDefaults, guest_knob.name),
      .allowed = guest_knob.allowed,
      .help = guest_knob.help,
      .effect = guest_knob.effect,
      .has_flag = false,
      .set = [&guest_knob](Config& config,
                           const KnobValue& v) { return guest_knob.set(config.guest_defaults, v); },
      .get = [&guest_knob](const Config& config) { return guest_knob.get(config.guest_defaults); }};
}

template <class Target>
const Knob<Target>* FindIn(const std::vector<Knob<Target>>& knobs, std::string_view name) {
  const auto at = std::ranges::find(knobs, name, &Knob<Target>::name);
  return at == knobs.end() ? nullptr : &*at;
}

std::string_view EffectText(Effect effect) {
  return effect == Effect::kReload ? "a reload" : "a restart";
}

// "control" and "socket" of "control.socket"; no section for a name without a dot.
std::pair<std::string_view, std::string_view> SplitName(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

// The pool of "shared-auth/UUID".
std::optional<std::string_view> PoolOfAuth(std::string_view name) {
  if (!name.starts_with(kSharedAuth) || name.size() == kSharedAuth.size() ||
      name[kSharedAuth.size()] != '/') {
    return std::nullopt;
  }
  return name.substr(kSharedAuth.size() + 1);
}

Result<void> AddAuth(SettingChanges& changes, std::string_view name, std::string_view pool,
                     const KnobValue& value) {
  const auto uuid = Uuid::Parse(pool);
  if (!uuid) return std::unexpected(Error(uuid.error()).Within(name));
  const auto allow = kinds::Boolean::Read(value);
  if (!allow) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: {} is not allowed; write {}", name,
                                                 ToToml(value), kinds::Boolean::Allowed()));
  }
  changes[fmt::format("{}/{}", kSharedAuth, uuid->ToString())] = *allow;
  return {};
}

void EraseAuths(SettingChanges& changes) {
  std::erase_if(changes, [](const auto& change) { return PoolOfAuth(change.first).has_value(); });
}

// Changes were checked when they were added, so that none fails here. A list of shared pools comes
// before what changes it, in a map's order of names.
void Apply(const SettingChanges& changes, GuestSettings& settings) {
  for (const auto& [name, value] : changes) {
    if (const auto pool = PoolOfAuth(name)) {
      const Uuid uuid = Uuid::Parse(*pool).value_or(Uuid{});
      if (std::get<bool>(value)) {
        settings.shared_auth.insert(uuid);
      } else {
        settings.shared_auth.erase(uuid);
      }
    } else {
      (void)FindIn(GuestKnobs(), name)->set(settings, value);
    }
  }
}

constexpr std::string_view kFileHead =
    "# Configuration of tmemd. Every setting is listed with its default; remove the # to change "
    "it.\n"
    "# `tmemd --check-config` checks this file; `systemctl reload tmemd` applies it.\n";

constexpr std::string_view kFileTail =
    "\n# Settings of one guest, by its name or uuid, over those of [guest-defaults]. \"compress\" "
    "sets\n"
    "# both kinds of compression.\n"
    "#[guest.\"db1\"]\n"
    "#weight = 200\n"
    "#cap = \"1G\"\n"
    "#compress = \"dense\"\n";

}  // namespace

const std::vector<GuestKnob>& GuestKnobs() {
  static const std::vector<GuestKnob> knobs = MakeGuestKnobs();
  return knobs;
}

const std::vector<DaemonKnob>& DaemonKnobs() {
  static const std::vector<DaemonKnob> knobs = [] {
    auto all = MakeServiceKnobs();
    for (const GuestKnob& knob : GuestKnobs()) all.push_back(DefaultOf(knob));
    return all;
  }();
  return knobs;
}

Result<void> SetKnob(Config& config, const std::string& name, const KnobValue& value) {
  const auto [section, key] = SplitName(name);
  if (section == kGuestDefaults) {
    SettingChanges changes;
    if (auto added = AddChange(changes, std::string(key), value); !added) {
      return std::unexpected(std::move(added).error().Within(section));
    }
    Apply(changes, config.guest_defaults);
    return {};
  }
  const DaemonKnob* const knob = FindIn(DaemonKnobs(), name);
  if (knob == nullptr) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("there is no setting '{}'; see tmemd --help-config", name));
  }
  if (auto set = knob->set(config, value); !set) {
    return std::unexpected(std::move(set).error().Within(name));
  }
  return {};
}

Result<void> AddChange(SettingChanges& changes, const std::string& name, const KnobValue& value) {
  if (name == kCompress) {
    for (const std::string_view part : kCompressParts) {
      TMEM_TRY(AddChange(changes, std::string(part), value));
    }
    return {};
  }
  if (const auto pool = PoolOfAuth(name)) return AddAuth(changes, name, *pool, value);
  const GuestKnob* const knob = FindIn(GuestKnobs(), name);
  if (knob == nullptr) {
    std::vector<std::string_view> names = {kCompress};
    for (const GuestKnob& known : GuestKnobs()) names.push_back(known.name);
    return Fail(ErrorCode::kNotFound, fmt::format("a guest has no setting '{}'; there are {}", name,
                                                  fmt::join(names, ", ")));
  }
  GuestSettings scratch;
  if (auto set = knob->set(scratch, value); !set) {
    return std::unexpected(std::move(set).error().Within(name));
  }
  changes[name] = knob->get(scratch);  // in one notation, whichever it was given in
  return {};
}

Result<void> AddHostChange(SettingChanges& changes, const std::string& name,
                           const KnobValue& value) {
  Config scratch;
  TMEM_TRY(SetKnob(scratch, name, value));
  const DaemonKnob* const knob = FindIn(DaemonKnobs(), name);
  if (knob == nullptr) {  // a shorthand
    const auto [section, key] = SplitName(name);
    for (const std::string_view part : kCompressParts) {
      changes[fmt::format("{}.{}", section, part)] = value;
    }
    return {};
  }
  if (knob->effect == Effect::kRestart) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("{} cannot change while tmemd runs; write it into the configuration "
                            "and restart tmemd",
                            name));
  }
  changes[name] = knob->get(scratch);
  return {};
}

SettingChanges Merged(SettingChanges earlier, const SettingChanges& later) {
  if (later.contains(std::string(kSharedAuth))) EraseAuths(earlier);
  for (const auto& [name, value] : later) earlier[name] = value;
  return earlier;
}

namespace {

// `add` is AddChange or AddHostChange: it knows the names. `sample` is a value that the setting may
// have.
Result<void> AddEditWith(Result<void> (&add)(SettingChanges&, const std::string&, const KnobValue&),
                         const KnobValue& sample, SettingEdits& edits, const std::string& name,
                         const KnobValue& value) {
  if (value != KnobValue(std::string(kDefaultValue))) return add(edits.changes, name, value);
  SettingChanges named;
  TMEM_TRY(add(named, name, sample));
  for (const auto& [each, unused] : named) edits.undone.insert(each);
  return {};
}

}  // namespace

Result<void> AddEdit(SettingEdits& edits, const std::string& name, const KnobValue& value) {
  const GuestKnob* const knob =
      FindIn(GuestKnobs(), name == kCompress ? kCompressParts[0] : std::string_view(name));
  const KnobValue sample = knob != nullptr ? knob->get(GuestSettings{}) : KnobValue(false);
  return AddEditWith(AddChange, sample, edits, name, value);
}

Result<void> AddHostEdit(SettingEdits& edits, const std::string& name, const KnobValue& value) {
  const DaemonKnob* const knob = FindIn(DaemonKnobs(), name);
  const KnobValue sample =
      knob != nullptr ? knob->get(Config{}) : KnobValue(std::string(kCompressNames[0]));
  return AddEditWith(AddHostChange, sample, edits, name, value);
}

std::string_view ShorthandOf(std::string_view name) {
  return std::ranges::find(kCompressParts, name) == kCompressParts.end() ? std::string_view()
                                                                         : kCompress;
}

bool IsUndone(const SettingEdits& edits, std::string_view name) {
  const auto is_undone = [&](std::string_view one) {
    return edits.undone.contains(std::string(one));
  };
  if (name == kCompress) return std::ranges::all_of(kCompressParts, is_undone);
  return is_undone(name) || (PoolOfAuth(name) && is_undone(kSharedAuth));
}

SettingChanges Edited(SettingChanges changes, const SettingEdits& edits) {
  std::erase_if(changes, [&](const auto& change) { return IsUndone(edits, change.first); });
  return Merged(std::move(changes), edits.changes);
}

Result<GuestSettings> WithChanges(GuestSettings settings, const SettingChanges& changes) {
  Apply(changes, settings);
  TMEM_TRY(settings.Validate());
  return settings;
}

Result<Config> WithChanges(Config config, const SettingChanges& changes) {
  for (const auto& [name, value] : changes) TMEM_TRY(SetKnob(config, name, value));
  TMEM_TRY(CheckTogether(config));
  if (auto valid = config.guest_defaults.Validate(); !valid) {
    return std::unexpected(std::move(valid).error().Within(kGuestDefaults));
  }
  return config;
}

std::string ToToml(const KnobValue& value) {
  if (const bool* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return fmt::format("\"{}\"", *text);
  const auto& words = std::get<std::vector<std::string>>(value);
  return words.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(words, "\", \""));
}

std::string TomlKey(std::string_view name) {
  const bool bare = std::ranges::all_of(
      name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
  return bare ? std::string(name) : fmt::format("\"{}\"", name);
}

std::string KnobManual() {
  std::string manual;
  const Config defaults;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    manual +=
        fmt::format("{} = {}\n    {}\n    Allowed: {}. Takes effect with {}.\n", knob.name,
                    ToToml(knob.get(defaults)), knob.help, knob.allowed, EffectText(knob.effect));
  }
  return manual;
}

std::string DefaultConfigFile() {
  std::string file(kFileHead);
  const Config defaults;
  std::string_view section;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    const auto [its_section, key] = SplitName(knob.name);
    if (its_section != section) {
      section = its_section;
      file += fmt::format("\n[{}]\n", section);
    }
    file += fmt::format("\n# {}\n# Allowed: {}. Takes effect with {}.\n#{} = {}\n", knob.help,
                        knob.allowed, EffectText(knob.effect), key, ToToml(knob.get(defaults)));
  }
  return file + std::string(kFileTail);
}

}  // namespace tmem::daemon
