#include "daemon/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/counters.h"
#include "daemon/version.h"

namespace tmem::daemon {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr double kNanosecond = 1e-9;

// One family, to which values are added.
class Family {
 public:
  Family(std::string name, std::string help, MetricType type)
      : family_{.name = std::move(name), .help = std::move(help), .type = type, .metric = {}} {}

  void Add(double value, Labels labels) {
    ClientMetric& metric = AddMetric(std::move(labels));
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
  }
  void Add(uint64_t value, Labels labels) { Add(static_cast<double>(value), std::move(labels)); }
  void Add(Bytes value, Labels labels) {
    Add(value == kUnlimited ? std::numeric_limits<double>::infinity()
                            : static_cast<double>(value.value),
        std::move(labels));
  }
  void Add(const TimeHistogram& times, Labels labels) {
    auto& histogram = AddMetric(std::move(labels)).histogram;
    for (size_t i = 0; i < TimeHistogram::kBuckets; ++i) {
      histogram.sample_count += times.counts[i];
      const bool last = i + 1 == TimeHistogram::kBuckets;
      histogram.bucket.push_back(
          {.cumulative_count = histogram.sample_count,
           .upper_bound =
               last ? std::numeric_limits<double>::infinity()
                    : std::ldexp(kNanosecond, static_cast<int>(i) + TimeHistogram::kFirstBits)});
    }
    histogram.sample_sum = static_cast<double>(times.sum_ns) * kNanosecond;
  }

  MetricFamily Take() && { return std::move(family_); }

 private:
  ClientMetric& AddMetric(Labels labels) {
    family_.metric.emplace_back();
    family_.metric.back().label = std::move(labels);
    return family_.metric.back();
  }

  MetricFamily family_;
};

Labels With(Labels labels, const char* name, std::string_view value) {
  labels.push_back({.name = name, .value = std::string(value)});
  return labels;
}

// The families of counters that the host and each guest have alike. `of` is "" or "guest_".
class CounterFamilies {
 public:
  explicit CounterFamilies(std::string_view of)
      : puts_(Counter(of, "puts_total", "Pages that guests tried to put, by what became of them.")),
        replaced_(Counter(of, "puts_over_stored_total",
                          "Puts over a stored page, which was replaced or, if the put was refused, "
                          "dropped.")),
        gets_(Counter(of, "gets_total", "Pages that guests tried to get.")),
        flushes_(Counter(of, "page_flushes_total", "Pages that guests flushed.")),
        object_flushes_(Counter(of, "object_flushes_total", "Objects that guests flushed.")),
        evicted_(Counter(of, "evicted_pages_total", "Ephemeral pages dropped to make room.")),
        corrupt_(Counter(of, "corrupt_gets_total",
                         "Gets whose page failed to decode or verify; answered as errors.")) {}

  void Add(const PoolCounters& counters, const Labels& labels) {
    const auto add = [&](Family& family, const char* label, std::string_view value, uint64_t n) {
      family.Add(n, With(labels, label, value));
    };
    add(puts_, "result", "stored", counters.puts_stored);
    add(puts_, "result", "no_memory", counters.puts_no_memory);
    add(puts_, "result", "frozen", counters.puts_frozen);
    add(replaced_, "result", "replaced", counters.dup_puts_replaced);
    add(replaced_, "result", "dropped", counters.dup_puts_flushed);
    const auto add_found = [&](Family& family, uint64_t tried, uint64_t found) {
      add(family, "result", "found", found);
      // The two are counted apart: a snapshot may be between them.
      add(family, "result", "missed", tried > found ? tried - found : 0);
    };
    add_found(gets_, counters.gets, counters.gets_found);
    add_found(flushes_, counters.flushes, counters.flushes_found);
    add_found(object_flushes_, counters.object_flushes, counters.object_flushes_found);
    evicted_.Add(counters.evicted, labels);
    corrupt_.Add(counters.corrupt, labels);
  }

  void MoveTo(std::vector<MetricFamily>& families) && {
    for (Family* family :
         {&puts_, &replaced_, &gets_, &flushes_, &object_flushes_, &evicted_, &corrupt_}) {
      families.push_back(std::move(*family).Take());
    }
  }

 private:
  static Family Counter(std::string_view of, const char* name, const char* help) {
    return {fmt::format("tmemd_{}{}", of, name), help, MetricType::Counter};
  }

  Family puts_;
  Family replaced_;
  Family gets_;
  Family flushes_;
  Family object_flushes_;
  Family evicted_;
  Family corrupt_;
};

// The same for what lies stored, by class.
class StoredFamilies {
 public:
  explicit StoredFamilies(std::string_view of)
      : pages_(Gauge(of, "pages", "Pages stored.")),
        same_filled_(Gauge(of, "same_filled_pages", "Stored pages that are one repeated word.")),
        compressed_(Gauge(of, "compressed_pages", "Stored pages that are compressed.")),
        dense_(Gauge(of, "dense_pages", "Compressed pages that are densely so.")),
        dense_payload_(Gauge(of, "dense_payload_bytes", "What dense pages take.")),
        objects_(Gauge(of, "objects", "Objects with stored pages.")),
        payload_(Gauge(of, "payload_bytes", "What stored pages take after compression.")),
        segments_(Gauge(of, "segment_bytes", "Memory held, in whole segments.")) {}

  void Add(const StoredCounters (&stored)[kPageClasses], const Bytes (&segments)[kPageClasses],
           const Labels& labels) {
    for (size_t i = 0; i < kPageClasses; ++i) {
      const Labels by_class = With(labels, "class", kPageClassNames[i]);
      pages_.Add(stored[i].pages, by_class);
      same_filled_.Add(stored[i].same_filled, by_class);
      compressed_.Add(stored[i].compressed, by_class);
      dense_.Add(stored[i].dense, by_class);
      dense_payload_.Add(stored[i].dense_bytes, by_class);
      objects_.Add(stored[i].objects, by_class);
      payload_.Add(stored[i].payload_bytes, by_class);
      segments_.Add(segments[i], by_class);
    }
  }

  void MoveTo(std::vector<MetricFamily>& families) && {
    for (Family* family : {&pages_, &same_filled_, &compressed_, &dense_, &dense_payload_,
                           &objects_, &payload_, &segments_}) {
      families.push_back(std::move(*family).Take());
    }
  }

 private:
  static Family Gauge(std::string_view of, const char* name, const char* help) {
    return {fmt::format("tmemd_{}{}", of, name), help, MetricType::Gauge};
  }

  Family pages_;
  Family same_filled_;
  Family compressed_;
  Family dense_;
  Family dense_payload_;
  Family objects_;
  Family payload_;
  Family segments_;
};

template <class Value>
void AddOne(std::vector<MetricFamily>& families, const char* name, const char* help,
            MetricType type, Value value, Labels labels = {}) {
  Family family(name, help, type);
  family.Add(value, std::move(labels));
  families.push_back(std::move(family).Take());
}

void AddHost(std::vector<MetricFamily>& families, const HostInfo& host) {
  const auto gauge = [&](const char* name, const char* help, auto value) {
    AddOne(families, name, help, MetricType::Gauge, value);
  };
  AddOne(families, "tmemd_build_info", "1, with the version and the hypervisor as labels.",
         MetricType::Gauge, 1.0,
         {{.name = "version", .value = std::string(Version())},
          {.name = "hypervisor", .value = host.hypervisor}});
  const StoreStats& store = host.store;
  gauge("tmemd_capacity_bytes", "Memory that stored pages may take.", store.capacity);
  gauge("tmemd_max_capacity_bytes", "How far the capacity can be raised.", host.max_capacity);
  gauge("tmemd_freeable_bytes", "What lowering the capacity would give back at once.",
        store.freeable);
  gauge("tmemd_index_bytes", "Memory of the index over the stored pages.", store.index_bytes);
  gauge("tmemd_guests", "Guests in the store.", uint64_t{store.guests});
  gauge("tmemd_shared_pools", "Shared pools.", uint64_t{store.shared_pools});
  gauge("tmemd_recovering", "1 while pages of a daemon before this one are being found.",
        uint64_t{store.recovery.done() ? 0u : 1u});
  AddOne(families, "tmemd_evicted_segments_total", "Ephemeral segments evicted to make room.",
         MetricType::Counter, store.segments_evicted);
  AddOne(families, "tmemd_relinquished_bytes_total", "Memory given back by lowered capacity.",
         MetricType::Counter, store.relinquished_bytes);
  AddOne(families, "tmemd_scrub_passes_total", "Scrubs of all persistent pages, finished.",
         MetricType::Counter, store.scrub.passes);
  AddOne(families, "tmemd_scrubbed_pages_total", "Pages checked by the scrub.", MetricType::Counter,
         store.scrub.pages);
  AddOne(families, "tmemd_scrub_corrupt_pages_total",
         "Pages that the scrub found corrupt, once for each pass that did.", MetricType::Counter,
         store.scrub.corrupt);
  CounterFamilies counters("");
  counters.Add(store.counters, {});
  std::move(counters).MoveTo(families);
  StoredFamilies stored("");
  stored.Add(store.stored, store.segments, {});
  std::move(stored).MoveTo(families);
}

void AddFollowing(std::vector<MetricFamily>& families, const Following& following) {
  const auto gauge = [&](const char* name, const char* help, Bytes bytes) {
    AddOne(families, name, help, MetricType::Gauge, bytes);
  };
  gauge("tmemd_host_free_bytes", "Memory of the host that no domain has.",
        following.seen.host.free);
  gauge("tmemd_dom0_target_bytes", "What dom0 is to hold.", following.target);
  gauge("tmemd_dom0_available_bytes", "Memory available to dom0's programs without swapping.",
        following.seen.available);
  gauge("tmemd_borrowed_bytes", "Memory of the host that dom0 holds for guests' pages.",
        following.borrowed);
}

void AddTimes(std::vector<MetricFamily>& families, const OperationTimes::Snapshot& times) {
  constexpr std::pair<uint32_t, std::string_view> kOperations[] = {
      {TMEMIF_OP_NEW_POOL, "new_pool"},     {TMEMIF_OP_DESTROY_POOL, "destroy_pool"},
      {TMEMIF_OP_PUT_PAGE, "put_page"},     {TMEMIF_OP_GET_PAGE, "get_page"},
      {TMEMIF_OP_FLUSH_PAGE, "flush_page"}, {TMEMIF_OP_FLUSH_OBJECT, "flush_object"}};
  Family family("tmemd_operation_duration_seconds",
                fmt::format("Time of an operation in the daemon, by page; one request in {} is "
                            "timed.",
                            OperationTimes::kSampleEvery),
                MetricType::Histogram);
  for (const auto& [operation, name] : kOperations) {
    family.Add(times[operation], With({}, "operation", name));
  }
  families.push_back(std::move(family).Take());
}

std::string Utf8(const std::string& name) {
  const auto quoted =
      nlohmann::json(name).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

template <class Reason, size_t n>
void AddTally(Family& family, const Tally<Reason, n>& tally,
              const std::array<std::string_view, n>& names, const Labels& labels) {
  for (size_t i = 0; i < n; ++i) family.Add(tally.counts[i], With(labels, "reason", names[i]));
}

void AddGuests(std::vector<MetricFamily>& families, const Administration& administration,
               Bytes capacity) {
  CounterFamilies counters("guest_");
  StoredFamilies stored("guest_");
  const auto gauge = [](const char* name, const char* help) {
    return Family(name, help, MetricType::Gauge);
  };
  Family charged = gauge("tmemd_guest_charged_bytes", "Memory charged against the guest's cap.");
  Family weight = gauge("tmemd_guest_weight", "The guest's relative share.");
  Family reserve = gauge("tmemd_guest_reserve_bytes", "Memory always available to the guest.");
  Family cap = gauge("tmemd_guest_cap_bytes", "What the guest's pages may take at most.");
  Family frozen = gauge("tmemd_guest_frozen", "1 if the guest's puts are refused.");
  Family connected = gauge("tmemd_guest_connected", "1 if the guest's driver is connected.");
  Family violated =
      gauge("tmemd_guest_violated", "1 if the guest was cut off for breaking the protocol.");
  Family entitled =
      gauge("tmemd_guest_entitled_bytes", "What the guest's persistent pages may take.");
  Family ephemeral_share = gauge("tmemd_guest_ephemeral_share_bytes",
                                 "What the guest's ephemeral pages may take without being evicted "
                                 "for another guest's.");
  Family surrendered =
      gauge("tmemd_guest_surrendered_bytes", "What the guest gave up of its own memory.");
  Family refusals("tmemd_guest_put_refusals_total",
                  "Puts refused, by the reason that `tmemctl explain` gives.", MetricType::Counter);
  Family evictions(
      "tmemd_guest_evicted_segments_total",
      "Segments of ephemeral pages evicted, by the reason that `tmemctl explain` gives.",
      MetricType::Counter);
  Family waiting =
      gauge("tmemd_guest_waiting_pages", "Pages stored as they came, to be compressed later.");
  Family recompressed("tmemd_guest_recompressed_pages_total",
                      "Stored pages compressed later, by what became of them.",
                      MetricType::Counter);
  Family recompression("tmemd_guest_recompression_seconds_total",
                       "Processor time that went into compressing stored pages.",
                       MetricType::Counter);
  Family requests("tmemd_guest_requests_total", "Requests served.", MetricType::Counter);
  Family notifications("tmemd_guest_notifications_total", "Wake-ups sent to the guest.",
                       MetricType::Counter);
  for (const ConnectionInfo& connection : administration.Connections()) {
    const auto stats = administration.StatsOf(connection.guest.id);
    const auto share = administration.ShareOf(connection.guest.id);
    if (!stats || !share) continue;  // it went meanwhile
    const Labels labels = {{.name = "guest", .value = Utf8(connection.guest.name)},
                           {.name = "domid", .value = std::to_string(connection.guest.id.value)}};
    counters.Add(stats->counters, labels);
    stored.Add(stats->stored, stats->segments, labels);
    charged.Add(stats->charged, labels);
    weight.Add(uint64_t{stats->settings.weight}, labels);
    reserve.Add(stats->settings.reserve, labels);
    cap.Add(stats->settings.cap, labels);
    entitled.Add(std::min(share->entitled, capacity), labels);
    ephemeral_share.Add(std::min(share->ephemeral_share, capacity), labels);
    surrendered.Add(share->surrendered, labels);
    AddTally(refusals, share->refusals, kRefusalNames, labels);
    AddTally(evictions, share->evictions, kEvictionNames, labels);
    frozen.Add(uint64_t{stats->settings.frozen}, labels);
    connected.Add(uint64_t{connection.state == "connected"}, labels);
    violated.Add(uint64_t{connection.state == "violated"}, labels);
    waiting.Add(stats->recompressed.waiting, labels);
    recompressed.Add(stats->recompressed.made_fast, With(labels, "result", "fast"));
    recompressed.Add(stats->recompressed.made_dense, With(labels, "result", "dense"));
    recompressed.Add(stats->recompressed.left, With(labels, "result", "left"));
    recompression.Add(static_cast<double>(stats->recompressed.cpu_ns) * kNanosecond, labels);
    requests.Add(connection.requests, labels);
    notifications.Add(connection.notifications, labels);
  }
  std::move(counters).MoveTo(families);
  std::move(stored).MoveTo(families);
  for (Family* family : {&charged, &weight, &reserve, &cap, &entitled, &ephemeral_share,
                         &surrendered, &refusals, &evictions, &frozen, &connected, &violated,
                         &waiting, &recompressed, &recompression, &requests, &notifications}) {
    families.push_back(std::move(*family).Take());
  }
}

}  // namespace

std::vector<MetricFamily> CollectMetrics(const Administration& administration) {
  std::vector<MetricFamily> families;
  const HostInfo host = administration.Host();
  AddHost(families, host);
  if (host.following) AddFollowing(families, *host.following);
  AddTimes(families, host.operation_times);
  AddGuests(families, administration, host.store.capacity);
  // A family without a metric would be a HELP of nothing.
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return families;
}

}  // namespace tmem::daemon
