#include "sim/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace tmem::sim {

namespace {

// Of a panel, in pixels.
constexpr double kWidth = 460;
constexpr double kHeight = 150;
constexpr double kLeft = 60;
constexpr double kTop = 34;
constexpr double kLegend = 190;
constexpr double kPanel = kTop + kHeight + 26;

// Okabe and Ito's colours, which all can tell apart; the last is for the rest.
constexpr std::array<std::string_view, kPlotted + 1> kColours = {"#0072b2", "#e69f00", "#009e73",
                                                                 "#d55e00", "#56b4e9", "#cc79a7",
                                                                 "#f0e442", "#000000", "#999999"};

struct Band {
  std::string label;
  std::vector<double> held;  // MiB, at each second
};

std::vector<Band> BandsOf(const Outcome& outcome) {
  std::vector<Band> bands;
  for (size_t i = 0; i < outcome.guests.size(); ++i) {
    const Outcome::GuestOutcome& guest = outcome.guests[i];
    if (i < kPlotted) {
      bands.push_back({fmt::format("{} {:.2f}x", guest.name, guest.run.slowdown()), {}});
    } else if (i == kPlotted) {
      bands.push_back({fmt::format("{} others", outcome.guests.size() - kPlotted), {}});
    }
    std::vector<double>& held = bands.back().held;
    held.resize(guest.held.size());
    for (size_t second = 0; second < held.size(); ++second) {
      held[second] += static_cast<double>(guest.held[second].value) / (1 << 20);
    }
  }
  return bands;
}

std::string Text(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     text);
}

std::string Area(const std::vector<double>& below, const std::vector<double>& above, double x_scale,
                 double y_scale, double bottom, std::string_view colour) {
  std::string points;
  for (size_t second = 0; second < above.size(); ++second) {
    points += fmt::format("{:.1f},{:.1f} ", kLeft + static_cast<double>(second) * x_scale,
                          bottom - above[second] * y_scale);
  }
  for (size_t second = above.size(); second-- > 0;) {
    points += fmt::format("{:.1f},{:.1f} ", kLeft + static_cast<double>(second) * x_scale,
                          bottom - below[second] * y_scale);
  }
  return fmt::format("<polygon points=\"{}\" fill=\"{}\"/>\n", points, colour);
}

std::string Panel(const NamedOutcome& one, double capacity, size_t seconds, double top) {
  const double bottom = top + kTop + kHeight;
  const double x_scale = kWidth / static_cast<double>(std::max<size_t>(seconds, 2) - 1);
  const double y_scale = kHeight / capacity;
  std::string panel =
      Text(kLeft, top + kTop - 8, "start",
           fmt::format("{}: total slowdown {:.2f}, worst guest {:.2f}, Jain's index {:.2f}",
                       one.name, one.outcome.total_slowdown(), one.outcome.worst_slowdown(),
                       one.outcome.fairness()));
  std::vector<double> below;
  const auto bands = BandsOf(one.outcome);
  for (size_t i = 0; i < bands.size(); ++i) {
    std::vector<double> above = bands[i].held;
    below.resize(above.size());
    for (size_t second = 0; second < above.size(); ++second) above[second] += below[second];
    panel += Area(below, above, x_scale, y_scale, bottom, kColours[i]);
    below = std::move(above);
    const double y = top + kTop + 12 + static_cast<double>(i) * 16;
    panel +=
        fmt::format("<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"10\" height=\"10\" fill=\"{}\"/>\n",
                    kLeft + kWidth + 12, y - 9, kColours[i]);
    panel += Text(kLeft + kWidth + 28, y, "start", bands[i].label);
  }
  panel += fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"black\"/>\n",
      kLeft, top + kTop, kWidth, kHeight);
  panel += Text(kLeft - 6, top + kTop + 10, "end", fmt::format("{:.0f} MiB", capacity));
  panel += Text(kLeft - 6, bottom, "end", "0");
  panel += Text(kLeft + kWidth, bottom + 16, "end", fmt::format("{} s", seconds));
  return panel;
}

}  // namespace

std::string PolicyTable(std::span<const NamedOutcome> outcomes) {
  std::string table = fmt::format("{:<18} {:>8} {:>8} {:>8} {:>8} {:>7} {:>14}\n", "policy",
                                  "total", "worst", "Jain", "settles", "swing", "reads of disk");
  for (const auto& [name, outcome] : outcomes) {
    const std::string settles =
        outcome.convergence ? fmt::format("{:.0f} s", *outcome.convergence) : "no";
    const std::string swing = outcome.swing ? fmt::format("{:.0f}%", *outcome.swing * 100) : "-";
    table += fmt::format("{:<18} {:>8.2f} {:>8.2f} {:>8.3f} {:>8} {:>7} {:>14}\n", name,
                         outcome.total_slowdown(), outcome.worst_slowdown(), outcome.fairness(),
                         settles, swing, outcome.disk_reads());
  }
  return table;
}

std::string Comparison(std::span<const NamedOutcome> outcomes) {
  const auto find = [&](std::string_view name) -> const Outcome* {
    const auto found = std::ranges::find(outcomes, name, &NamedOutcome::name);
    return found == outcomes.end() ? nullptr : &found->outcome;
  };
  const auto longer = [](const Outcome& one, const Outcome& other) {
    return (one.total_slowdown() / other.total_slowdown() - 1) * 100;
  };
  std::string text;
  const Outcome* const greedy = find(NameOf(PolicyKind::kGreedy));
  if (const Outcome* const max_min = find(NameOf(PolicyKind::kMaxMin)); greedy && max_min) {
    text += fmt::format(
        "max-min beside greedy: the worst guest {:.2f} times better off, all together {:+.0f}%\n",
        greedy->worst_slowdown() / max_min->worst_slowdown(), longer(*max_min, *greedy));
  }
  const Outcome* const best = find(kBestSplit);
  if (const Outcome* const utility = find(NameOf(PolicyKind::kUtility)); best && utility) {
    text += fmt::format("utility beside the best fixed division: all together {:+.0f}%\n",
                        longer(*utility, *best));
  }
  return text;
}

std::string GuestTable(std::span<const NamedOutcome> outcomes) {
  std::string table = fmt::format("{:<18}", "slowdown of");
  for (const NamedOutcome& one : outcomes) table += fmt::format(" {:>11}", one.name);
  table += "\n";
  for (size_t i = 0; i < outcomes.front().outcome.guests.size(); ++i) {
    table += fmt::format("{:<18}", outcomes.front().outcome.guests[i].name);
    for (const NamedOutcome& one : outcomes) {
      table += fmt::format(" {:>11.2f}", one.outcome.guests[i].run.slowdown());
    }
    table += "\n";
  }
  return table;
}

std::string Plot(std::span<const NamedOutcome> outcomes, Bytes capacity) {
  size_t seconds = 0;
  for (const NamedOutcome& one : outcomes) {
    for (const auto& guest : one.outcome.guests) seconds = std::max(seconds, guest.held.size());
  }
  const double width = kLeft + kWidth + kLegend;
  const double height = kPanel * static_cast<double>(outcomes.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, height);
  double top = 0;
  for (const NamedOutcome& one : outcomes) {
    svg += Panel(one, static_cast<double>(capacity.value) / (1 << 20), seconds, top);
    top += kPanel;
  }
  return svg + "</svg>\n";
}

}  // namespace tmem::sim
