#include "ctl/history_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "ctl/table.h"
#include "ctl/views.h"

namespace tmem::ctl {

namespace {

constexpr size_t kColumns = 60;
constexpr size_t kRows = 3;
constexpr size_t kLabelWidth = 10;

// What the samples in one column come to.
struct Column {
  double seconds = 0;
  double used_seconds = 0;  // bytes x seconds
  double puts = 0;
  double refused = 0;
  double gets = 0;
  double found = 0;
  double evicted = 0;
};

// How much time a column is; the shortest that shows all of `seconds`.
struct Scale {
  double column_seconds;
  std::string_view whole;
  std::string_view column;
};
constexpr std::array<Scale, 2> kScales = {
    {{10, "10 minutes", "10 seconds"}, {60, "60 minutes", "a minute"}}};

struct Samples {
  explicit Samples(const Json& history)
      : seconds(Numbers(history, "seconds")),
        used(Numbers(history, "used_bytes")),
        puts(Numbers(history, "puts")),
        refused(Numbers(history, "puts_refused")),
        gets(Numbers(history, "gets")),
        found(Numbers(history, "gets_found")),
        evicted(Numbers(history, "evicted")) {}

  static std::vector<double> Numbers(const Json& history, const char* key) {
    return history.at(key).get<std::vector<double>>();
  }
  // nlohmann::json::exception, too, for series that do not go together.
  void Check() const {
    for (const auto* series : {&used, &puts, &refused, &gets, &found, &evicted}) {
      if (series->size() != seconds.size()) {
        throw nlohmann::json::other_error::create(501, "series of different lengths", nullptr);
      }
    }
  }

  std::vector<double> seconds, used, puts, refused, gets, found, evicted;
};

// The samples by how long ago they ended; the last column is now.
std::vector<Column> ColumnsOf(const Samples& samples, const Scale& scale) {
  std::vector<Column> columns(kColumns);
  double ago = 0;
  for (size_t i = samples.seconds.size(); i-- > 0;) {
    const auto back = static_cast<size_t>(ago / scale.column_seconds);
    if (back >= kColumns) break;
    Column& column = columns[kColumns - 1 - back];
    column.seconds += samples.seconds[i];
    column.used_seconds += samples.used[i] * samples.seconds[i];
    column.puts += samples.puts[i];
    column.refused += samples.refused[i];
    column.gets += samples.gets[i];
    column.found += samples.found[i];
    column.evicted += samples.evicted[i];
    ago += std::max(samples.seconds[i], 0.0);
  }
  return columns;
}

std::string RateText(double rate) {
  return rate < 9.95 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate);
}

std::string SizeText(double bytes) { return HumanBytes(Bytes(static_cast<uint64_t>(bytes))); }

std::string PercentText(double percent) { return fmt::format("{:.0f}%", percent); }

struct Plot {
  std::string_view title;
  std::optional<double> (*value)(const Column&);  // of a column with samples
  std::string (*text)(double);
  double most = 0;  // 0: the largest there is
};

template <double Column::* count>
constexpr Plot RatePlot(std::string_view title) {
  return {title, [](const Column& column) { return std::optional(column.*count / column.seconds); },
          RateText};
}

constexpr std::array<Plot, 6> kPlots = {{
    {"used",
     [](const Column& column) { return std::optional(column.used_seconds / column.seconds); },
     SizeText},
    RatePlot<&Column::puts>("puts/s"),
    RatePlot<&Column::refused>("refused/s"),
    RatePlot<&Column::gets>("gets/s"),
    {"hits of gets",
     [](const Column& column) {
       return column.gets > 0 ? std::optional(100 * column.found / column.gets) : std::nullopt;
     },
     PercentText, 100},
    RatePlot<&Column::evicted>("evicted/s"),
}};

std::string PlotText(const Plot& plot, const std::vector<Column>& columns, Glyphs glyphs) {
  std::vector<std::optional<double>> values;
  std::optional<double> last;
  double largest = 0;
  for (const Column& column : columns) {
    values.push_back(column.seconds > 0 ? plot.value(column) : std::nullopt);
    if (!values.back()) continue;
    last = values.back();
    largest = std::max(largest, *last);
  }
  if (!last) return fmt::format("{}: none\n", plot.title);
  if (largest == 0) return fmt::format("{}: {} all the time\n", plot.title, plot.text(0));
  std::string text =
      fmt::format("{}: now {}, at most {}\n", plot.title, plot.text(*last), plot.text(largest));
  const double most = plot.most != 0 ? plot.most : largest;
  const auto lines = PlotLines(values, most, kRows, glyphs);
  for (size_t row = 0; row < lines.size(); ++row) {
    const std::string label = row == 0                  ? plot.text(most)
                              : row == lines.size() - 1 ? plot.text(0)
                                                        : std::string();
    std::string line = fmt::format("{:>{}} |{}", label, kLabelWidth, lines[row]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string AxisText(const Scale& scale) {
  const std::string then = fmt::format("{} ago", scale.whole);
  return fmt::format("{:>{}} +{:-<{}}\n{:>{}}  {}{:>{}}\n", "", kLabelWidth, "", kColumns, "",
                     kLabelWidth, then, "now", kColumns - then.size());
}

}  // namespace

std::string HistoryView(const Json& history, Glyphs glyphs) {
  const Samples samples(history);
  samples.Check();
  double whole = 0;
  for (const double seconds : samples.seconds) whole += seconds;
  const Scale& scale = whole <= kScales[0].column_seconds * kColumns ? kScales[0] : kScales[1];
  const auto columns = ColumnsOf(samples, scale);

  std::string text =
      fmt::format("guest {} {}, the last {}, {} a column\n", history.at("id").get<uint64_t>(),
                  Printable(history.at("name").get<std::string>()), scale.whole, scale.column);
  for (const Plot& plot : kPlots) text += PlotText(plot, columns, glyphs);
  return text + AxisText(scale);
}

}  // namespace tmem::ctl
