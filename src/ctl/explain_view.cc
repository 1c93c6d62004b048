#include "ctl/explain_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "ctl/table.h"
#include "daemon/counters.h"

namespace tmem::ctl {

namespace {

using daemon::kEvictionNames;
using daemon::kRefusalNames;

uint64_t Number(const Json& object, std::string_view key) {
  return object.at(std::string(key)).get<uint64_t>();
}

std::string Text(const Json& object, std::string_view key) {
  return object.at(std::string(key)).get<std::string>();
}

std::string SizeOf(const Json& object, std::string_view key) {
  const Json& size = object.at(std::string(key));
  return size.is_string() ? size.get<std::string>() : HumanBytes(Bytes(size.get<uint64_t>()));
}

// The figures, under short names.
struct Facts {
  explicit Facts(const Json& explained)
      : all(explained),
        settings(explained.at("settings")),
        share(explained.at("share")),
        host(explained.at("host")),
        lately(explained.at("lately")),
        name(Printable(Text(explained, "name"))),
        policy(Text(share, "policy")) {}

  // A change of this guest's settings, as a command.
  std::string Set(std::string_view setting) const {
    return fmt::format("`tmemctl set {} {}`", name, setting);
  }
  std::string ByWeight() const {
    return fmt::format("by its weight of {} among {}", Number(share, "weight"),
                       Number(share, "weights"));
  }

  const Json& all;
  const Json& settings;
  const Json& share;
  const Json& host;
  const Json& lately;
  const std::string name;
  const std::string policy;
};

// ---- the share ----

// What `of_unclaimed` is under the policy in force.
std::string PolicysPart(const Facts& facts) {
  const uint64_t part = Number(facts.share, "of_unclaimed_bytes");
  const std::string& policy = facts.policy;
  if (policy == "greedy") return "the rest of the capacity: who comes first has all of it";
  if (policy == "static") {
    return fmt::format("the rest of its fixed part of the capacity of {}, {}",
                       SizeOf(facts.host, "capacity_bytes"), facts.ByWeight());
  }
  if (policy == "smart-alloc") {
    return "the rest of its target, which rises while its puts are refused and falls while it is "
           "not used";
  }
  if (policy == "utility") {
    return "the rest of its target, which follows what more memory would save it, times its weight";
  }
  const uint64_t unclaimed = Number(facts.share, "unclaimed_bytes");
  const uint64_t weights = std::max<uint64_t>(Number(facts.share, "weights"), 1);
  const auto fair = static_cast<uint64_t>(static_cast<double>(unclaimed) *
                                          static_cast<double>(Number(facts.share, "weight")) /
                                          static_cast<double>(weights));
  std::string text = fmt::format("its part of the {} that nobody is guaranteed, {}",
                                 SizeOf(facts.share, "unclaimed_bytes"), facts.ByWeight());
  const uint64_t rounding = Number(facts.share, "segment_bytes");
  if (part + rounding < fair && !facts.share.at("wants_more").get<bool>()) {
    text += "; it does not ask for more now, and others borrow the rest";
  } else if (part > fair + rounding) {
    text += "; some of it is borrowed from guests that do not ask for theirs";
  }
  return text;
}

std::string PersistentText(const Facts& facts) {
  std::string text = fmt::format("  Its persistent pages hold {} and may take {}:\n",
                                 SizeOf(facts.share, "persistent_held_bytes"),
                                 SizeOf(facts.share, "entitled_bytes"));
  Table terms({{"", Table::Align::kRight}, {"", Table::Align::kLeft}});
  terms.Add({"    " + SizeOf(facts.share, "reserve_bytes"),
             "its reserve, which is there for it at any time"});
  if (const uint64_t surrendered = Number(facts.share, "surrendered_bytes");
      surrendered != 0 && (facts.policy == "surrender" || facts.policy == "max-min")) {
    const uint64_t percent = Number(facts.share, "surrender_percent");
    const uint64_t got = Number(facts.share, "for_surrendered_bytes");
    terms.Add({"    " + SizeOf(facts.share, "for_surrendered_bytes"),
               fmt::format("for the {} that it gave up of its own memory, at {} percent{}",
                           HumanBytes(Bytes(surrendered)), percent,
                           got < surrendered * percent / 100 ? ", as far as there is room" : "")});
  }
  if (facts.policy != "surrender") {
    terms.Add({"    " + SizeOf(facts.share, "of_unclaimed_bytes"), PolicysPart(facts)});
  }
  text += terms.Text();
  const uint64_t entitled = Number(facts.share, "entitled_bytes");
  const uint64_t sum = Number(facts.share, "reserve_bytes") +
                       Number(facts.share, "for_surrendered_bytes") +
                       Number(facts.share, "of_unclaimed_bytes");
  if (entitled < sum) {
    text += fmt::format("  That is {}, but its cap is less.\n", HumanBytes(Bytes(sum)));
  }
  if (Number(facts.share, "persistent_held_bytes") > entitled) {
    text +=
        "  It holds more than that: it keeps its pages, and gets no more room until it holds "
        "less.\n";
  }
  return text;
}

std::string EphemeralText(const Facts& facts) {
  if (facts.policy == "greedy") {
    return fmt::format("  Its ephemeral pages hold {}; the oldest of all guests go first.\n",
                       SizeOf(facts.share, "ephemeral_held_bytes"));
  }
  if (facts.policy == "static") {
    return fmt::format("  Its ephemeral pages hold {}, out of the same fixed part.\n",
                       SizeOf(facts.share, "ephemeral_held_bytes"));
  }
  return fmt::format(
      "  Its ephemeral pages hold {}; its share of what persistent pages leave is {}, and up to "
      "there none is evicted for another guest's.\n",
      SizeOf(facts.share, "ephemeral_held_bytes"), SizeOf(facts.share, "ephemeral_share_bytes"));
}

std::string ShareText(const Facts& facts) {
  std::string text = fmt::format("share, by policy {}\n", facts.policy);
  text += PersistentText(facts) + EphemeralText(facts);
  text += facts.settings.at("cap").is_string()
              ? fmt::format("  All its pages together take {}; no cap is set.\n",
                            SizeOf(facts.all, "charged_bytes"))
              : fmt::format("  All its pages together take {} of its cap of {}.\n",
                            SizeOf(facts.all, "charged_bytes"), SizeOf(facts.settings, "cap"));
  return text;
}

// ---- why, and what would change it ----

struct Reason {
  std::string_view name;     // as the daemon sends it
  std::string_view in_list;  // "3 <in_list>"
  std::string (*because)(const Facts&);
  std::string (*remedy)(const Facts&);
};

std::string MoreCapacity(const Facts& facts) {
  return fmt::format("`tmemctl set capacity=SIZE` (it is {})",
                     SizeOf(facts.host, "capacity_bytes"));
}

// What was so when the last put was refused, and is not now.
constexpr std::string_view kNothing = "nothing needs to";

bool HasCap(const Facts& facts) { return !facts.settings.at("cap").is_string(); }

std::string OfItsCap(const Facts& facts) {
  if (!HasCap(facts)) return "of the cap that it had; none is set now";
  return fmt::format("of its cap: its pages take {} of {} now", SizeOf(facts.all, "charged_bytes"),
                     SizeOf(facts.settings, "cap"));
}

std::string MoreCap(const Facts& facts) {
  if (!HasCap(facts)) return std::string(kNothing);
  std::string text = fmt::format("a larger cap, {} (it is {})", facts.Set("cap=SIZE"),
                                 SizeOf(facts.settings, "cap"));
  const bool dense = Text(facts.settings, "compress-ephemeral") == "dense" &&
                     Text(facts.settings, "compress-persistent") == "dense";
  return dense ? text : text + "; or denser compression, " + facts.Set("compress=dense");
}

std::string MoreShare(const Facts& facts) {
  return fmt::format("more weight, {} (it is {}); or more capacity for all, {}",
                     facts.Set("weight=NUMBER"), Number(facts.settings, "weight"),
                     MoreCapacity(facts));
}

// Of the ephemeral share. If nobody else has any of what persistent pages leave, weight is no help.
std::string MoreEphemeral(const Facts& facts) {
  const uint64_t left =
      Number(facts.host, "capacity_bytes") -
      std::min(Number(facts.host, "persistent_bytes"), Number(facts.host, "capacity_bytes"));
  return Number(facts.share, "ephemeral_share_bytes") < left ? MoreShare(facts)
                                                             : MoreCapacity(facts);
}

std::string MoreEntitlement(const Facts& facts) {
  const std::string reserve = fmt::format("a reserve, {} (it is {})", facts.Set("reserve=SIZE"),
                                          SizeOf(facts.settings, "reserve"));
  if (facts.policy == "surrender") {
    return fmt::format("{}; or that the guest gives up memory of its own", reserve);
  }
  return fmt::format("{}; {}", reserve, MoreShare(facts));
}

std::string HostIsFull(const Facts& facts, std::string_view of_the_rest) {
  return fmt::format("persistent pages of all guests hold {} of the capacity of {}{}",
                     SizeOf(facts.host, "persistent_bytes"), SizeOf(facts.host, "capacity_bytes"),
                     of_the_rest);
}

// In the order of kRefusalNames.
constexpr std::array<Reason, kRefusalNames.size()> kRefusalReasons = {{
    {"frozen", "while it was frozen",
     [](const Facts& facts) {
       return std::string(facts.settings.at("frozen").get<bool>() ? "it is frozen"
                                                                  : "it was frozen; it is not now");
     },
     [](const Facts& facts) {
       return facts.settings.at("frozen").get<bool>() ? fmt::format("`tmemctl thaw {}`", facts.name)
                                                      : std::string(kNothing);
     }},
    {"cap", "for its cap", OfItsCap, MoreCap},
    {"entitlement", "for its share",
     [](const Facts& facts) {
       return fmt::format("its persistent pages held all that they may: {} of {} now",
                          SizeOf(facts.share, "persistent_held_bytes"),
                          SizeOf(facts.share, "entitled_bytes"));
     },
     MoreEntitlement},
    {"reserves", "for others' reserves",
     [](const Facts& facts) {
       return HostIsFull(facts, ", and the rest is reserved for other guests");
     },
     [](const Facts& facts) {
       return fmt::format("{}; or lower reserves of others", MoreCapacity(facts));
     }},
    {"capacity", "for want of capacity",
     [](const Facts& facts) { return HostIsFull(facts, ", and nothing was left to evict"); },
     MoreCapacity},
}};

// In the order of kEvictionNames.
constexpr std::array<Reason, kEvictionNames.size()> kEvictionReasons = {{
    {"over_share", "for guests further below their share",
     [](const Facts& facts) {
       return fmt::format(
           "ephemeral pages of a guest further below its share needed room: its own hold {}, its "
           "share is {} now",
           SizeOf(facts.share, "ephemeral_held_bytes"),
           SizeOf(facts.share, "ephemeral_share_bytes"));
     },
     MoreEphemeral},
    {"replaced", "for newer ones of its own",
     [](const Facts& facts) {
       return fmt::format("newer ones of its own needed room: they hold {}, its share is {} now",
                          SizeOf(facts.share, "ephemeral_held_bytes"),
                          SizeOf(facts.share, "ephemeral_share_bytes"));
     },
     MoreEphemeral},
    {"persistent", "for persistent pages",
     [](const Facts& facts) {
       return "persistent pages needed room: " + HostIsFull(facts, " now");
     },
     MoreCapacity},
    {"cap", "for its cap", OfItsCap, MoreCap},
    {"shrunk", "for a lowered capacity",
     [](const Facts& facts) {
       return fmt::format("the capacity was lowered: it is {} now",
                          SizeOf(facts.host, "capacity_bytes"));
     },
     MoreCapacity},
}};

template <size_t n>
constexpr bool InOrder(const std::array<Reason, n>& reasons,
                       const std::array<std::string_view, n>& names) {
  for (size_t i = 0; i < n; ++i) {
    if (reasons[i].name != names[i]) return false;
  }
  return true;
}
static_assert(InOrder(kRefusalReasons, kRefusalNames));
static_assert(InOrder(kEvictionReasons, kEvictionNames));

// Lines of at most kWidth columns, as far as words allow. What goes on stands where the text of the
// line began, behind a figure if there is one; commands in `` are not broken.
std::string Wrapped(std::string_view text) {
  constexpr size_t kWidth = 80;
  std::string wrapped;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t gap = line.find("  ", line.find_first_not_of(' '));
    const size_t indent = line.find_first_not_of(' ', gap == std::string_view::npos ? 0 : gap);
    size_t column = 0;
    bool in_command = false;
    for (size_t word = 0; word < line.size();) {
      size_t end = std::min(line.find_first_not_of(' ', word), line.size());
      for (; end < line.size() && (in_command || line[end] != ' '); ++end) {
        if (line[end] == '`') in_command = !in_command;
      }
      std::string_view piece = line.substr(word, end - word);
      if (column > indent && column + piece.size() > kWidth) {
        wrapped += '\n' + std::string(indent, ' ');
        column = indent;
        piece.remove_prefix(std::min(piece.find_first_not_of(' '), piece.size()));
      }
      wrapped += piece;
      column += piece.size();
      word = end;
    }
    wrapped += '\n';
  }
  return wrapped;
}

uint64_t Total(const Json& tally, std::span<const Reason> reasons) {
  uint64_t total = 0;
  for (const Reason& reason : reasons) total += Number(tally, reason.name);
  return total;
}

// "3 for its cap, 1 while it was frozen"
std::string ListOf(const Json& tally, std::span<const Reason> reasons) {
  std::vector<std::string> parts;
  for (const Reason& reason : reasons) {
    const uint64_t count = Number(tally, reason.name);
    if (count != 0) parts.push_back(fmt::format("{} {}", count, reason.in_list));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string LastText(const Facts& facts, const Json& tally, std::span<const Reason> reasons,
                     std::string_view last) {
  if (tally.at("last").is_null()) return "";
  const auto at = std::ranges::find(reasons, Text(tally, "last"), &Reason::name);
  if (at == reasons.end()) return "";
  const std::string because = at->because(facts);
  return fmt::format("  {} because {}.\n  What would change that: {}.\n", last, because,
                     at->remedy(facts));
}

std::string LatelyText(const Facts& facts) {
  const double minutes = facts.lately.at("seconds").get<double>() / 60;
  const uint64_t puts = Number(facts.lately, "puts");
  return fmt::format("In the last {} {}, and {} of its pages were evicted.",
                     minutes < 1.5 ? std::string("minute") : fmt::format("{:.0f} minutes", minutes),
                     puts == 0 ? std::string("it put nothing")
                               : fmt::format("{} of its {} puts were refused",
                                             Number(facts.lately, "puts_refused"), puts),
                     Number(facts.lately, "evicted"));
}

std::string RefusalsText(const Facts& facts) {
  const Json& refusals = facts.all.at("refusals");
  const uint64_t total = Total(refusals, kRefusalReasons);
  if (total == 0) return "  None of its puts was refused since it came.\n";
  return fmt::format("  Puts refused since it came: {} ({}).\n", total,
                     ListOf(refusals, kRefusalReasons)) +
         LastText(facts, refusals, kRefusalReasons, "The last was refused");
}

std::string EvictionsText(const Facts& facts) {
  const Json& evictions = facts.all.at("evictions");
  const uint64_t total = Total(evictions, kEvictionReasons);
  if (total == 0) return "  None of its ephemeral pages was evicted since it came.\n";
  const Bytes bytes(total * Number(facts.share, "segment_bytes"));
  return fmt::format("  Segments evicted since it came: {}, {} of ephemeral pages ({}).\n", total,
                     HumanBytes(bytes), ListOf(evictions, kEvictionReasons)) +
         LastText(facts, evictions, kEvictionReasons, "The last was evicted");
}

}  // namespace

std::string ExplainView(const Json& explained) {
  const Facts facts(explained);
  std::string text = fmt::format("guest {} {}, {}{}\n", Number(explained, "id"), facts.name,
                                 Text(explained, "state"),
                                 facts.settings.at("frozen").get<bool>() ? ", frozen" : "");
  text += ShareText(facts);
  text += "refused puts\n  " + LatelyText(facts) + "\n" + RefusalsText(facts);
  return Wrapped(text + "evicted pages\n" + EvictionsText(facts));
}

}  // namespace tmem::ctl
