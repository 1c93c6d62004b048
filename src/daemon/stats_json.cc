#include "daemon/stats_json.h"

#include <string>

#include "daemon/counters.h"
#include "daemon/knob_json.h"
#include "daemon/knobs.h"

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
  json["pools"] = Json::array();
  for (const PoolStats& pool : stats.pools) json["pools"].push_back(PoolJson(pool));
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
  json["segment_bytes"] = ByClass(host.store.segments, SizeJson);
  json["index_bytes"] = host.store.index_bytes.value;
  json["freeable_bytes"] = host.store.freeable.value;
  json["relinquished_bytes"] = host.store.relinquished_bytes;
  json["segments_evicted"] = host.store.segments_evicted;
  json["operations"] = host.store.operations;
  json["guests"] = host.store.guests;
  json["shared_pools"] = host.store.shared_pools;
  json["counters"] = CountersJson(host.store.counters);
  json["stored"] = StoredByClass(host.store.stored);
  return json;
}

}  // namespace tmem::daemon
