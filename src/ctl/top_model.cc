#include "ctl/top_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "ctl/table.h"
#include "ctl/views.h"

namespace tmem::ctl {

namespace {

using Row = TopModel::Row;

// One column: how it is called, which key sorts by it, its text, and its value for sorting.
struct Column {
  char key;  // 0: does not sort
  std::string_view title;
  Table::Align align;
  std::string (*text)(const Row&);
  double (*value)(const Row&);  // null: sorts by the text
};

std::string RateText(const Row& row, double Row::Rates::* rate) {
  return row.rates ? fmt::format("{:.0f}", *row.rates.*rate) : "-";
}

double RateValue(const Row& row, double Row::Rates::* rate) {
  return row.rates ? *row.rates.*rate : -1;
}

template <double Row::Rates::* rate>
constexpr Column RateColumn(char key, std::string_view title) {
  return {key, title, Table::Align::kRight, [](const Row& row) { return RateText(row, rate); },
          [](const Row& row) { return RateValue(row, rate); }};
}

template <uint64_t Row::* count>
constexpr Column CountColumn(char key, std::string_view title) {
  return {key, title, Table::Align::kRight,
          [](const Row& row) { return fmt::format("{}", row.*count); },
          [](const Row& row) { return static_cast<double>(row.*count); }};
}

double HitShare(const Row& row) {
  return row.rates && row.rates->gets > 0 ? row.rates->hits / row.rates->gets : -1;
}

double Fullness(const Row& row) {
  return row.limit == 0 ? 0 : static_cast<double>(row.used) / static_cast<double>(row.limit);
}

// Of what the guest could use: persistent pages, ephemeral pages, nothing.
std::string BarText(const Row& row) {
  constexpr size_t kCells = 12;
  const auto cells = [&](uint64_t bytes) {
    const double share = row.limit == 0 ? 0 : static_cast<double>(bytes) / row.limit;
    return static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * kCells));
  };
  const size_t used = cells(row.used);
  const size_t persistent = std::min(cells(row.used_persistent), used);
  return std::string(persistent, '#') + std::string(used - persistent, '+') +
         std::string(kCells - used, '.');
}

constexpr std::array<Column, 12> kColumns = {{
    CountColumn<&Row::id>('i', "ID"),
    {'n', "NAME", Table::Align::kLeft, [](const Row& row) { return row.name; }, nullptr},
    {0, "STATE", Table::Align::kLeft, [](const Row& row) { return row.state; }, nullptr},
    CountColumn<&Row::ephemeral>('e', "EPHEMERAL"),
    CountColumn<&Row::persistent>('p', "PERSISTENT"),
    {'m', "USED", Table::Align::kRight, [](const Row& row) { return HumanBytes(Bytes(row.used)); },
     [](const Row& row) { return static_cast<double>(row.used); }},
    {'b', "OF LIMIT", Table::Align::kLeft, BarText, Fullness},
    RateColumn<&Row::Rates::puts>('u', "PUTS/S"),
    RateColumn<&Row::Rates::gets>('g', "GETS/S"),
    {'h', "HITS", Table::Align::kRight,
     [](const Row& row) {
       return row.rates ? Percent(row.rates->hits, row.rates->gets) : std::string("-");
     },
     HitShare},
    RateColumn<&Row::Rates::refused>('f', "REFUSED/S"),
    RateColumn<&Row::Rates::evicted>('v', "EVICTED/S"),
}};

const Column* ColumnOf(char key) {
  const auto* const at = std::ranges::find(kColumns, key, &Column::key);
  return key == 0 || at == kColumns.end() ? nullptr : at;
}

uint64_t Number(const Json& object, const char* key) { return object.at(key).get<uint64_t>(); }

Row RowOf(const Json& guest, uint64_t capacity) {
  const Json& counters = guest.at("counters");
  const Json& stored = guest.at("stored");
  Row row;
  row.id = Number(guest, "id");
  row.name = guest.at("name").get<std::string>();
  row.state = guest.at("state").get<std::string>();
  row.ephemeral = Number(stored.at("ephemeral"), "pages");
  row.persistent = Number(stored.at("persistent"), "pages");
  row.used = Number(guest, "charged_bytes");
  row.used_persistent = Number(stored.at("persistent"), "charged_bytes");
  const Json& cap = guest.at("settings").at("cap");  // a number, or "unlimited"
  row.limit = cap.is_string() ? capacity : std::min(cap.get<uint64_t>(), capacity);
  row.puts = Number(counters, "puts");
  row.gets = Number(counters, "gets");
  row.hits = Number(counters, "gets_found");
  row.refused = Number(counters, "puts_no_memory") + Number(counters, "puts_frozen");
  row.evicted = Number(counters, "evicted");
  return row;
}

// A guest that came back under its number starts anew: its counters went down.
std::optional<Row::Rates> RatesBetween(const Row& before, const Row& now, double seconds) {
  if (seconds <= 0 || before.name != now.name || now.puts < before.puts || now.gets < before.gets) {
    return std::nullopt;
  }
  const auto rate = [&](uint64_t Row::* count) {
    return static_cast<double>(now.*count - std::min(before.*count, now.*count)) / seconds;
  };
  return Row::Rates{rate(&Row::puts), rate(&Row::gets), rate(&Row::hits), rate(&Row::refused),
                    rate(&Row::evicted)};
}

std::string HostLine(const Json& host) {
  const Json& segments = host.at("segment_bytes");
  const uint64_t ephemeral = Number(segments, "ephemeral");
  const uint64_t persistent = Number(segments, "persistent");
  return fmt::format("{} guests, capacity {}, in use {} (ephemeral {}, persistent {}), index {}",
                     Number(host, "guests"), HumanBytes(Bytes(Number(host, "capacity_bytes"))),
                     HumanBytes(Bytes(ephemeral + persistent)), HumanBytes(Bytes(ephemeral)),
                     HumanBytes(Bytes(persistent)), HumanBytes(Bytes(Number(host, "index_bytes"))));
}

}  // namespace

std::string TopModel::KeysText() {
  std::vector<std::string> keys;
  for (const Column& column : kColumns) {
    if (column.key == 0) continue;
    std::string title(column.title);
    std::ranges::transform(title, title.begin(), [](unsigned char c) { return std::tolower(c); });
    keys.push_back(fmt::format("{} {}", column.key, title));
  }
  return fmt::format("{}", fmt::join(keys, ", "));
}

bool TopModel::SortBy(char key) {
  if (ColumnOf(key) == nullptr) return false;
  key_ = key;
  reversed_ = false;
  return true;
}

void TopModel::Update(const Json& stats, TimePoint now) {
  const double seconds = last_ ? std::chrono::duration<double>(now - *last_).count() : 0;
  std::map<uint64_t, Row> rows;
  const uint64_t capacity = Number(stats.at("host"), "capacity_bytes");
  for (const Json& guest : stats.at("guests")) {
    Row row = RowOf(guest, capacity);
    const auto before = rows_.find(row.id);
    if (before != rows_.end()) row.rates = RatesBetween(before->second, row, seconds);
    rows[row.id] = std::move(row);
  }
  host_line_ = HostLine(stats.at("host"));
  rows_ = std::move(rows);
  last_ = now;
}

std::vector<Row> TopModel::Sorted() const {
  std::vector<Row> rows;
  rows.reserve(rows_.size());
  for (const auto& [id, row] : rows_) rows.push_back(row);
  const Column& column = *ColumnOf(key_);
  std::ranges::sort(rows, [&](const Row& a, const Row& b) {
    if (column.value == nullptr) {
      return std::pair(column.text(a), a.id) < std::pair(column.text(b), b.id);
    }
    return std::pair(-column.value(a), a.id) < std::pair(-column.value(b), b.id);
  });
  if (reversed_) std::ranges::reverse(rows);
  return rows;
}

std::vector<std::string> TopModel::Lines() const {
  std::vector<Table::Column> columns;
  columns.reserve(std::size(kColumns));
  for (const Column& column : kColumns) {
    columns.push_back({std::string(column.title), column.align});
  }
  Table table(std::move(columns));
  for (const Row& row : Sorted()) {
    std::vector<std::string> cells;
    cells.reserve(std::size(kColumns));
    for (const Column& column : kColumns) cells.push_back(column.text(row));
    table.Add(std::move(cells));
  }
  std::vector<std::string> lines = {host_line_, ""};
  for (std::string& line : table.Lines()) lines.push_back(std::move(line));
  return lines;
}

}  // namespace tmem::ctl
