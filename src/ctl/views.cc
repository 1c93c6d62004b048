#include "ctl/views.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "ctl/table.h"
#include "daemon/counters.h"

namespace tmem::ctl {

namespace {

using daemon::kPageClassNames;
using daemon::kPoolCounterFields;
using daemon::kRecompressionFields;
using daemon::kStoredCounterFields;

using Align = Table::Align;

uint64_t Number(const Json& object, std::string_view key) {
  return object.at(std::string(key)).get<uint64_t>();
}

std::string Text(const Json& object, std::string_view key) {
  return object.at(std::string(key)).get<std::string>();
}

// A size as it is sent: a number of bytes, or "unlimited".
std::string Size(const Json& size) {
  return size.is_string() ? size.get<std::string>() : HumanBytes(Bytes(size.get<uint64_t>()));
}

std::string SizeOf(const Json& object, std::string_view key) {
  return Size(object.at(std::string(key)));
}

// Two columns, what and how much.
class Sheet {
 public:
  explicit Sheet(std::string_view indent = "  ") : indent_(indent) {}

  void Add(std::string_view what, std::string value) {
    table_.Add({std::string(indent_) + std::string(what), std::move(value)});
  }

  template <class Fields>
  void AddCounters(const Fields& fields, const Json& counters, std::string_view of = {}) {
    for (const auto& field : fields) {
      const uint64_t number = Number(counters, field.key);
      Add(std::string(of) + std::string(field.label),
          field.is_bytes ? HumanBytes(Bytes(number)) : fmt::format("{}", number));
    }
  }

  void AddStoredByClass(const Json& stored) {
    for (const std::string_view name : kPageClassNames) {
      AddCounters(kStoredCounterFields, stored.at(std::string(name)), fmt::format("{} ", name));
    }
  }

  void AddSegments(const Json& segment_bytes) {
    for (const std::string_view name : kPageClassNames) {
      Add(fmt::format("{} segments", name), SizeOf(segment_bytes, name));
    }
  }

  // Null: the capacity does not follow the host.
  void AddFollowing(const Json& following) {
    if (following.is_null()) return;
    Add("capacity follows the host, borrowed", SizeOf(following, "borrowed_bytes"));
    Add("last changed by", following.at("last_change").get<std::string>());
    Add("free on the host", SizeOf(following, "host_free_bytes"));
    Add("held by dom0", SizeOf(following, "dom0_held_bytes"));
    Add("target of dom0", SizeOf(following, "dom0_target_bytes"));
    Add("available in dom0", SizeOf(following, "dom0_available_bytes"));
    const auto problem = following.at("problem").get<std::string>();
    if (!problem.empty()) Add("cannot follow", problem);
  }

  std::string Text() const { return table_.Text(); }

 private:
  const std::string_view indent_;
  Table table_{{{"", Align::kLeft}, {"", Align::kRight}}};
};

std::string Title(const Json& guest) {
  return fmt::format("guest {} {} ({})", Number(guest, "id"), Printable(Text(guest, "name")),
                     Text(guest, "uuid"));
}

std::string SettingText(std::string_view name, const Json& value) {
  if (name == "cap" || name == "reserve" || name == "surrendered") return Size(value);
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  if (!value.is_array()) return value.dump();
  const auto words = value.get<std::vector<std::string>>();
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, " "));
}

uint64_t Refused(const Json& counters) {
  return Number(counters, "puts_no_memory") + Number(counters, "puts_frozen");
}

// What a page's 4 KiB came to.
std::string RatioOf(const Json& stored) {
  const uint64_t payload = Number(stored, "payload_bytes");
  if (payload == 0) return "-";
  return fmt::format("{:.2f}:1", static_cast<double>(Number(stored, "pages") * kPageSize) /
                                     static_cast<double>(payload));
}

std::string TiersOf(const Json& stored) {
  const uint64_t same_filled = Number(stored, "same_filled");
  const uint64_t compressed = Number(stored, "compressed");
  const uint64_t dense = Number(stored, "dense");
  return fmt::format("of these {} raw, {} same-filled, {} fast, {} dense ({})",
                     Number(stored, "pages") - same_filled - compressed, same_filled,
                     compressed - dense, dense, SizeOf(stored, "dense_bytes"));
}

// Bytes of segments that hold nothing.
double UnusedOf(uint64_t segments, const Json& stored) {
  return std::max(
      0.0, static_cast<double>(segments) - static_cast<double>(Number(stored, "charged_bytes")));
}

}  // namespace

std::string Percent(double part, double whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f}%", 100 * part / whole);
}

std::string ListView(const Json& guests) {
  Table table({{"ID"},
               {"NAME", Align::kLeft},
               {"STATE", Align::kLeft},
               {"WEIGHT"},
               {"EPHEMERAL"},
               {"PERSISTENT"},
               {"USED"},
               {"CAP"},
               {"HITS"},
               {"REFUSED"}});
  for (const Json& guest : guests) {
    const Json& settings = guest.at("settings");
    const Json& counters = guest.at("counters");
    const Json& stored = guest.at("stored");
    const bool frozen = settings.at("frozen").get<bool>();
    table.Add({fmt::format("{}", Number(guest, "id")), Text(guest, "name"),
               Text(guest, "state") + (frozen ? ",frozen" : ""),
               fmt::format("{}", Number(settings, "weight")),
               fmt::format("{}", Number(stored.at("ephemeral"), "pages")),
               fmt::format("{}", Number(stored.at("persistent"), "pages")),
               SizeOf(guest, "charged_bytes"), SizeOf(settings, "cap"),
               Percent(static_cast<double>(Number(counters, "gets_found")),
                       static_cast<double>(Number(counters, "gets"))),
               fmt::format("{}", Refused(counters))});
  }
  return table.Text();
}

std::string SettingsView(const Json& settings) {
  Table table({{"", Align::kLeft}, {"", Align::kLeft}});
  for (const auto& [name, value] : settings.items()) {
    table.Add({"  " + name, SettingText(name, value)});
  }
  return table.Text();
}

std::string HostSettingsView(const Json& settings) {
  return "host settings\n" + SettingsView(settings);
}

std::string HostChangesView(const Json& result) {
  std::string text;
  for (const auto& [name, value] : result.at("settings").items()) {
    text += fmt::format("{} {}\n", name, SettingText("", value));
  }
  if (result.at("settings").contains("capacity")) {
    text += fmt::format("capacity in force {}\n", SizeOf(result, "capacity_bytes"));
  }
  return text;
}

std::string FreeableView(const Json& freeable) {
  std::string text = fmt::format(
      "{} can be given back at once; {} hold persistent pages; {} of the capacity is not in use\n",
      SizeOf(freeable, "freeable_bytes"), SizeOf(freeable, "persistent_bytes"),
      SizeOf(freeable, "unused_bytes"));
  Table table({{"  GUEST", Align::kLeft}, {"FREEABLE"}, {"PERSISTENT"}});
  for (const Json& guest : freeable.at("guests")) {
    table.Add({"  " + Printable(Text(guest, "name")), SizeOf(guest, "freeable_bytes"),
               SizeOf(guest, "persistent_bytes")});
  }
  return freeable.at("guests").empty() ? text : text + table.Text();
}

std::string ReclaimedView(const Json& reclaimed) {
  std::string text = fmt::format(
      "{} given back; the capacity is {} now, it was {}\n", SizeOf(reclaimed, "given_back_bytes"),
      SizeOf(reclaimed, "capacity_bytes"), SizeOf(reclaimed, "capacity_before_bytes"));
  if (Number(reclaimed, "given_back_bytes") < Number(reclaimed, "wanted_bytes")) {
    text += fmt::format(
        "not {}: {} hold persistent pages, which only their guests can free, and {} ephemeral "
        "pages that are in use just now\n",
        SizeOf(reclaimed, "wanted_bytes"), SizeOf(reclaimed, "persistent_bytes"),
        SizeOf(reclaimed, "ephemeral_bytes"));
  }
  return text + fmt::format("`tmemctl set capacity=default` lets the store grow again\n");
}

std::string NodesView(const Json& nodes) {
  std::string text;
  for (const Json& node : nodes.at("nodes")) {
    text +=
        fmt::format("{} = \"{}\"\n", Printable(Text(node, "path")), Printable(Text(node, "value")));
  }
  if (nodes.at("truncated").get<bool>()) text += "... and more; name a key further down\n";
  return text;
}

std::string ShowView(const Json& guest) {
  Table table({{"", Align::kLeft}, {"", Align::kLeft}});
  table.Add({"  state", Text(guest, "state")});
  if (const std::string reason = Text(guest, "reason"); !reason.empty()) {
    table.Add({"  reason", reason + " (let it in again with `tmemctl forgive`)"});
  }
  table.Add(
      {"  connection", fmt::format("{} queues, {} requests, {} wake-ups", Number(guest, "queues"),
                                   Number(guest, "requests"), Number(guest, "notifications"))});
  table.Add({"  used", SizeOf(guest, "charged_bytes")});
  for (const std::string_view name : kPageClassNames) {
    const Json& stored = guest.at("stored").at(std::string(name));
    const uint64_t segments = Number(guest.at("segment_bytes"), name);
    table.Add(
        {fmt::format("  {}", name),
         fmt::format("{} pages of {} objects, payload {} ({}), segments {} ({} unused)",
                     Number(stored, "pages"), Number(stored, "objects"),
                     SizeOf(stored, "payload_bytes"), RatioOf(stored), HumanBytes(Bytes(segments)),
                     Percent(UnusedOf(segments, stored), static_cast<double>(segments)))});
    table.Add({"", TiersOf(stored)});
  }
  const Json& recompressed = guest.at("recompressed");
  if (std::ranges::any_of(recompressed, [](const Json& figure) { return figure != 0; })) {
    table.Add(
        {"  recompressed",
         fmt::format("{} fast, {} dense, {} left as they were, {} wait; {:.1f} s of processor",
                     Number(recompressed, "made_fast"), Number(recompressed, "made_dense"),
                     Number(recompressed, "left"), Number(recompressed, "waiting"),
                     static_cast<double>(Number(recompressed, "cpu_ns")) * 1e-9)});
  }
  table.Add({"  pools", fmt::format("{}", guest.at("pools").size())});
  return Title(guest) + "\n" + table.Text() + "settings\n" + SettingsView(guest.at("settings"));
}

std::string HostView(const Json& host) {
  Sheet sheet;
  for (const std::string_view key : {"hypervisor", "log_level"}) sheet.Add(key, Text(host, key));
  for (const std::string_view key : {"workers", "guests", "shared_pools", "operations"}) {
    sheet.Add(key, fmt::format("{}", Number(host, key)));
  }
  sheet.Add("capacity", SizeOf(host, "capacity_bytes"));
  sheet.Add("capacity at most", SizeOf(host, "max_capacity_bytes"));
  sheet.AddFollowing(host.at("following"));
  sheet.AddSegments(host.at("segment_bytes"));
  sheet.Add("freeable", SizeOf(host, "freeable_bytes"));
  sheet.Add("index", SizeOf(host, "index_bytes"));
  sheet.Add("given back by shrinking", SizeOf(host, "relinquished_bytes"));
  sheet.Add("segments evicted", fmt::format("{}", Number(host, "segments_evicted")));
  const Json& scrub = host.at("scrub");
  sheet.Add("scrubbed", fmt::format("{} pages, {} corrupt, {} passes", Number(scrub, "pages"),
                                    Number(scrub, "corrupt"), Number(scrub, "passes")));
  sheet.AddCounters(kPoolCounterFields, host.at("counters"));
  sheet.AddStoredByClass(host.at("stored"));
  return "host\n" + sheet.Text();
}

std::string CountersView(const Json& guest) {
  Sheet sheet;
  for (const std::string_view key : {"requests", "notifications"}) {
    sheet.Add(key, fmt::format("{}", Number(guest, key)));
  }
  sheet.Add("used", SizeOf(guest, "charged_bytes"));
  sheet.AddSegments(guest.at("segment_bytes"));
  sheet.AddCounters(kPoolCounterFields, guest.at("counters"));
  sheet.AddStoredByClass(guest.at("stored"));
  sheet.AddCounters(kRecompressionFields, guest.at("recompressed"));
  return Title(guest) + "\n" + sheet.Text();
}

std::string PoolsView(const Json& guest) {
  std::string text = Title(guest) + "\n";
  for (const Json& pool : guest.at("pools")) {
    text += fmt::format("  pool {}, {}", Number(pool, "id"), Text(pool, "class"));
    if (pool.at("shared").get<bool>()) {
      text += fmt::format(", shared by {} guests, uuid {}", Number(pool, "sharers"),
                          Text(pool, "uuid"));
    }
    Sheet sheet("    ");
    sheet.AddCounters(kPoolCounterFields, pool.at("counters"));
    sheet.AddCounters(kStoredCounterFields, pool.at("stored"), "stored: ");
    text += "\n" + sheet.Text();
  }
  return text;
}

}  // namespace tmem::ctl
