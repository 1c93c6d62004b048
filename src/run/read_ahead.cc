#include "run/read_ahead.h"

#include <algorithm>

namespace tmem::run {

uint32_t ReadAhead::WindowFor(uint32_t page) {
  ++now_;
  page_ = page;
  for (Stream& stream : streams_) {
    if (stream.window == 0 || page < stream.next || page - stream.next > kSlack) continue;
    stream.window = std::min(stream.window * 2, max_window_);
    stream.last_used = now_;
    current_ = &stream;
    return stream.window;
  }
  current_ = &*std::ranges::min_element(streams_, {}, &Stream::last_used);
  *current_ = {.next = page + 1, .window = 1, .last_used = now_};
  return 1;
}

void ReadAhead::Brought(uint32_t count) { current_->next = page_ + count; }

}  // namespace tmem::run
