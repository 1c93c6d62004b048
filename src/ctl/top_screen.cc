// Functions instead of macros, which would not take a "::".
#define NCURSES_NOMACROS
#include "ctl/top_screen.h"

#include <fmt/format.h>
#include <ncurses.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>

#include "ctl/table.h"

namespace tmem::ctl {

namespace {

// The terminal in ncurses' hands, given back with this object.
class Screen {
 public:
  static Result<Screen> Open() {
    constexpr char kAdvice[] = "top needs a terminal; use --once or --batch";
    if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) {
      return Fail(ErrorCode::kUnsupported, kAdvice);
    }
    SCREEN* const screen = ::newterm(nullptr, stdout, stdin);
    if (screen == nullptr) return Fail(ErrorCode::kUnsupported, kAdvice);
    ::cbreak();
    ::noecho();
    ::curs_set(0);
    ::keypad(stdscr, TRUE);
    return Screen(screen);
  }

  Screen(Screen&& other) noexcept : screen_(std::exchange(other.screen_, nullptr)) {}
  Screen& operator=(Screen&&) = delete;
  ~Screen() {
    if (screen_ == nullptr) return;
    ::endwin();
    ::delscreen(screen_);
  }

  void Draw(const std::vector<std::string>& lines) {
    ::erase();
    for (int row = 0; row < std::min(LINES, static_cast<int>(lines.size())); ++row) {
      ::mvaddnstr(row, 0, lines[static_cast<size_t>(row)].c_str(), COLS);
    }
    ::refresh();
  }

  // ERR when none came in time.
  int WaitForKey(std::chrono::milliseconds patience) {
    ::timeout(static_cast<int>(patience.count()));
    return ::getch();
  }

 private:
  explicit Screen(SCREEN* screen) : screen_(screen) {}
  SCREEN* screen_;
};

std::vector<std::string> Frame(const TopModel& model, const std::string& trouble) {
  std::vector<std::string> lines = model.Lines();
  lines[1] = trouble.empty() ? fmt::format("sort: {}; r reverse, q quit", TopModel::KeysText())
                             : Printable(trouble);
  return lines;
}

}  // namespace

Result<void> PrintTop(const TopOptions& options, const TakeSample& sample, const Clock& clock) {
  TopModel model;
  model.SortBy(options.sort_key);
  for (uint32_t frame = 0; frame < options.frames; ++frame) {
    if (frame != 0) std::this_thread::sleep_for(options.delay);
    const auto stats = sample();
    if (!stats) return std::unexpected(stats.error());
    model.Update(*stats, clock.Now());
    if (frame != 0) std::puts("");
    for (const std::string& line : model.Lines()) std::puts(line.c_str());
    std::fflush(stdout);
  }
  return {};
}

Result<void> RunTopScreen(const TopOptions& options, const TakeSample& sample, const Clock& clock) {
  TopModel model;
  model.SortBy(options.sort_key);
  // Before the terminal changes hands: a daemon that is not there is a plain error.
  auto stats = sample();
  if (!stats) return std::unexpected(stats.error());
  auto screen = Screen::Open();
  if (!screen) return std::unexpected(screen.error());

  TimePoint next{};
  while (true) {
    if (clock.Now() >= next) {
      if (stats) model.Update(*stats, clock.Now());
      next = clock.Now() + options.delay;
    }
    screen->Draw(Frame(model, stats ? "" : stats.error().message));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - clock.Now());
    const int key = screen->WaitForKey(std::max(left, std::chrono::milliseconds(0)));
    if (key == 'q') return {};
    if (key == 'r') model.Reverse();
    if (key > 0 && key < 128) model.SortBy(static_cast<char>(key));
    if (key == ERR) stats = sample();
  }
}

}  // namespace tmem::ctl
