// Takes what is logged while it lives, so that a test can count the lines.
#ifndef TMEM_TESTS_HYPERCALL_LOG_CAPTURE_H_
#define TMEM_TESTS_HYPERCALL_LOG_CAPTURE_H_

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>

namespace tmem {

class LogCapture {
 public:
  LogCapture() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    logger->set_level(spdlog::level::info);
    logger->set_pattern("%l: %v");
    spdlog::set_default_logger(std::move(logger));
  }
  ~LogCapture() { spdlog::set_default_logger(before_); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string text() const { return text_.str(); }
  size_t lines() const {
    const std::string text = text_.str();
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }

 private:
  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_LOG_CAPTURE_H_
