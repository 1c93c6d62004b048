#include "ctl/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tmem::ctl {

std::string Printable(std::string_view text) {
  std::string printable(text);
  std::ranges::replace_if(printable, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return printable;
}

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::Lines() const {
  std::vector<std::string> titles;
  titles.reserve(columns_.size());
  for (const Column& column : columns_) titles.push_back(column.title);
  std::vector<std::vector<std::string>> rows;
  if (std::ranges::any_of(titles, [](const std::string& title) { return !title.empty(); })) {
    rows.push_back(std::move(titles));
  }
  rows.insert(rows.end(), rows_.begin(), rows_.end());

  std::vector<size_t> widths(columns_.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += columns_[i].align == Align::kLeft ? fmt::format("{:<{}}", row[i], widths[i])
                                                : fmt::format("{:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string Table::Text() const {
  std::string text;
  for (const std::string& line : Lines()) text += line + '\n';
  return text;
}

}  // namespace tmem::ctl
