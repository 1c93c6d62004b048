#include "base/clock.h"

#include <time.h>

namespace tmem {

Duration ThreadCpuTime() {
  timespec spent;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

}  // namespace tmem
