#include "ctl/plot.h"

#include <langinfo.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cmath>
#include <string_view>

namespace tmem::ctl {

namespace {

// A cell's fill, from nothing to all of it.
constexpr std::array<std::string_view, 4> kAscii = {" ", ".", ":", "#"};
constexpr std::array<std::string_view, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

std::span<const std::string_view> FillsOf(Glyphs glyphs) {
  if (glyphs == Glyphs::kAscii) return kAscii;
  return kBlocks;
}

}  // namespace

Glyphs TerminalGlyphs() {
  std::setlocale(LC_CTYPE, "");
  return std::string_view(nl_langinfo(CODESET)) == "UTF-8" ? Glyphs::kBlocks : Glyphs::kAscii;
}

std::vector<std::string> PlotLines(std::span<const std::optional<double>> values, double most,
                                   size_t rows, Glyphs glyphs) {
  const auto fills = FillsOf(glyphs);
  const size_t steps = fills.size() - 1;  // in one cell
  std::vector<std::string> lines(rows);
  for (const auto& value : values) {
    const double share = std::clamp(value.value_or(0) / most, 0.0, 1.0);
    const auto height = static_cast<size_t>(std::ceil(share * static_cast<double>(rows * steps)));
    for (size_t row = 0; row < rows; ++row) {
      const size_t below = (rows - 1 - row) * steps;
      lines[row] += fills[std::min(height > below ? height - below : 0, steps)];
    }
  }
  return lines;
}

}  // namespace tmem::ctl
