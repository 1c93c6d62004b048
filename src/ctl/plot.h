// Small plots for a terminal: a column of characters for each value.
#ifndef TMEM_CTL_PLOT_H_
#define TMEM_CTL_PLOT_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tmem::ctl {

enum class Glyphs {
  kAscii,
  kBlocks,  // Unicode's eighths of a block
};

// What the terminal shows, by the environment's locale.
Glyphs TerminalGlyphs();

// `rows` lines, the uppermost first, of one character for each value: from 0 to `most`, in as many
// steps as the glyphs have. Values above 0 show at least a little, absent ones nothing.
// REQUIRES: most > 0.
std::vector<std::string> PlotLines(std::span<const std::optional<double>> values, double most,
                                   size_t rows, Glyphs glyphs);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_PLOT_H_
