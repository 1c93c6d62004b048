#include "daemon/stats_json.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "daemon/counters.h"
#include "daemon/knob_json.h"
#include "daemon/knobs.h"
#include "pools/segment.h"

namespace tmem::daemon {

namespace {

Json SizeJson(Bytes bytes) { return bytes == kUnlimited ? Json("unlimited") : Json(bytes.value); }

template <class Counters, size_t n>
Json CountersJson(const std::array<CounterField<Counters>, n>& fields, const Counters& counters) {
  Json json = Json::object();
  for (const auto& field : fields) json[std::string(field.key)] = counters.*field.member;
  return json;
}

Json CountersJson(const PoolCounters& counters) {
  return CountersJson(kPoolCounterFields, counters);
}

Json CountersJson(const StoredCounters& counters) {
  return CountersJson(kStoredCounterFields, counters);
}

Json CountersJson(const RecompressionCounters& counters) {
  return CountersJson(kRecompressionFields, counters);
}

template <class Value, class Make>
Json ByClass(const Value (&values)[kPageClasses], Make make) {
  Json json = Json::object();
  for (size_t i = 0; i < kPageClasses; ++i) {
    json[std::string(kPageClassNames[i])] = make(values[i]);
  }
  return json;
}

Json StoredByClass(const StoredCounters (&stored)[kPageClasses]) {
  return ByClass(stored, [](const StoredCounters& counters) { return CountersJson(counters); });
}

Json PoolJson(const PoolStats& pool) {
  Json json;
  json["id"] = pool.id.value;
  json["class"] = kPageClassNames[static_cast<size_t>(pool.page_class)];
  json["shared"] = pool.shared;
  if (pool.shared) {
    json["uuid"] = pool.uuid.ToString();
    json["sharers"] = pool.sharers;
  }
  json["counters"] = CountersJson(pool.counters);
  json["stored"] = CountersJson(pool.stored);
  return json;
}

// No figure above the capacity: greedy entitles everybody to all of it.
Json ShareJson(const GuestShare& share, Bytes capacity) {
  const auto at_most_all = [&](Bytes bytes) { return std::min(bytes, capacity).value; };
  Json json;
  json["policy"] = NameOf(share.policy);
  json["weight"] = share.weight;
  json["weights"] = share.weights;
  json["segment_bytes"] = kSegmentSize;
  json["persistent_held_bytes"] = share.persistent_held.value;
  json["entitled_bytes"] = at_most_all(share.entitled);
  json["reserve_bytes"] = share.reserve.value;
  json["surrendered_bytes"] = share.surrendered.value;
  json["surrender_percent"] = share.surrender_percent;
  json["for_surrendered_bytes"] = share.for_surrendered.value;
  json["unclaimed_bytes"] = share.unclaimed.value;
  json["of_unclaimed_bytes"] = at_most_all(share.of_unclaimed);
  json["wants_more"] = share.wants_more;
  json["ephemeral_held_bytes"] = share.ephemeral_held.value;
  json["ephemeral_share_bytes"] = at_most_all(share.ephemeral_share);
  return json;
}

// By reason, and the last one: null if there was none.
template <class Reason, size_t n>
Json TallyJson(const Tally<Reason, n>& tally, const std::array<std::string_view, n>& names) {
  Json json = Json::object();
  for (size_t i = 0; i < n; ++i) json[std::string(names[i])] = tally.counts[i];
  json["last"] = tally.last ? Json(names[static_cast<size_t>(*tally.last)]) : Json();
  return json;
}

// Of the last ten minutes, or of as many as there are.
Json LatelyJson(std::span<const History::Sample> history) {
  constexpr size_t kSamples = std::chrono::minutes(10) / History::kInterval;
  double seconds = 0;
  uint64_t puts = 0;
  uint64_t refused = 0;
  uint64_t evicted = 0;
  for (const auto& sample : history.last(std::min(history.size(), kSamples))) {
    seconds += static_cast<double>(sample.seconds);
    puts += sample.puts;
    refused += sample.puts_refused;
    evicted += sample.evicted;
  }
  return {{"seconds", seconds}, {"puts", puts}, {"puts_refused", refused}, {"evicted", evicted}};
}

Json FollowingJson(const Following& following) {
  return {{"host_free_bytes", following.seen.host.free.value},
          {"dom0_held_bytes", following.seen.host.held.value},
          {"dom0_target_bytes", following.target.value},
          {"dom0_available_bytes", following.seen.available.value},
          {"dom0_stalled", following.seen.is_stalled},
          {"borrowed_bytes", following.borrowed.value},
          {"last_change", NameOf(following.cause)},
          {"problem", following.problem}};
}

}  // namespace

Json ToJson(const GuestSettings& settings) {
  Json json;
  for (const GuestKnob& knob : GuestKnobs()) json[knob.name] = ToJson(knob.get(settings));
  // A knob's value is what the file would say, "1G"; programs want numbers.
  json["reserve"] = SizeJson(settings.reserve);
  json["cap"] = SizeJson(settings.cap);
  json["surrendered"] = SizeJson(settings.surrendered);
  return json;
}

Json ToJson(const Config& config) {
  Json json;
  for (const DaemonKnob& knob : DaemonKnobs()) json[knob.name] = ToJson(knob.get(config));
  return json;
}

Json ToJson(const ConnectionInfo& connection) {
  Json json;
  json["id"] = connection.guest.id.value;
  json["name"] = connection.guest.name;
  json["uuid"] = connection.guest.uuid.ToString();
  json["state"] = connection.state;
  json["reason"] = connection.reason;
  json["queues"] = connection.queues;
  json["requests"] = connection.requests;
  json["notifications"] = connection.notifications;
  return json;
}

Json ToJson(const ConnectionInfo& connection, const GuestStats& stats) {
  Json json = ToJson(connection);
  json["settings"] = ToJson(stats.settings);
  json["charged_bytes"] = stats.charged.value;
  json["segment_bytes"] = ByClass(stats.segments, SizeJson);
  json["counters"] = CountersJson(stats.counters);
  json["stored"] = StoredByClass(stats.stored);
  json["recompressed"] = CountersJson(stats.recompressed);
  json["pools"] = Json::array();
  for (const PoolStats& pool : stats.pools) json["pools"].push_back(PoolJson(pool));
  return json;
}

Json ExplanationJson(const Explanation& facts) {
  const StoreStats& store = facts.store;
  Json json;
  json["id"] = facts.connection.guest.id.value;
  json["name"] = facts.connection.guest.name;
  json["state"] = facts.connection.state;
  json["settings"] = ToJson(facts.stats.settings);
  json["charged_bytes"] = facts.stats.charged.value;
  json["share"] = ShareJson(facts.share, store.capacity);
  json["refusals"] = TallyJson(facts.share.refusals, kRefusalNames);
  json["evictions"] = TallyJson(facts.share.evictions, kEvictionNames);
  json["lately"] = LatelyJson(facts.history);
  json["host"] = {
      {"capacity_bytes", store.capacity.value},
      {"persistent_bytes", store.segments[static_cast<size_t>(PageClass::kPersistent)].value},
      {"ephemeral_bytes", store.segments[static_cast<size_t>(PageClass::kEphemeral)].value}};
  return json;
}

Json ToJson(const GuestInfo& guest, std::span<const History::Sample> history) {
  using Sample = History::Sample;
  const auto series = [&](auto Sample::* figure) {
    Json numbers = Json::array();
    for (const Sample& sample : history) numbers.push_back(sample.*figure);
    return numbers;
  };
  Json json;
  json["id"] = guest.id.value;
  json["name"] = guest.name;
  json["seconds"] = series(&Sample::seconds);
  json["used_bytes"] = series(&Sample::used_bytes);
  json["ephemeral_pages"] = series(&Sample::ephemeral_pages);
  json["persistent_pages"] = series(&Sample::persistent_pages);
  json["puts"] = series(&Sample::puts);
  json["puts_refused"] = series(&Sample::puts_refused);
  json["gets"] = series(&Sample::gets);
  json["gets_found"] = series(&Sample::gets_found);
  json["evicted"] = series(&Sample::evicted);
  return json;
}

Json ToJson(const HostInfo& host) {
  Json json;
  json["hypervisor"] = host.hypervisor;
  json["workers"] = host.workers;
  json["log_level"] = ToString(host.config.log_level);
  json["capacity_bytes"] = host.store.capacity.value;
  json["max_capacity_bytes"] = host.max_capacity.value;
  json["following"] = host.following ? FollowingJson(*host.following) : Json();
  json["segment_bytes"] = ByClass(host.store.segments, SizeJson);
  json["index_bytes"] = host.store.index_bytes.value;
  json["freeable_bytes"] = host.store.freeable.value;
  json["relinquished_bytes"] = host.store.relinquished_bytes;
  json["segments_evicted"] = host.store.segments_evicted;
  json["scrub"] = {{"passes", host.store.scrub.passes},
                   {"pages", host.store.scrub.pages},
                   {"corrupt", host.store.scrub.corrupt}};
  json["operations"] = host.store.operations;
  json["guests"] = host.store.guests;
  json["shared_pools"] = host.store.shared_pools;
  json["counters"] = CountersJson(host.store.counters);
  json["stored"] = StoredByClass(host.store.stored);
  return json;
}

}  // namespace tmem::daemon
