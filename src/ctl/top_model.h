// What `tmemctl top` shows: guests and their rates between two samples of `stats`, sorted, as
// lines of text. Knows neither terminal nor daemon.
#ifndef TMEM_CTL_TOP_MODEL_H_
#define TMEM_CTL_TOP_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "daemon/stats_json.h"

namespace tmem::ctl {

using daemon::Json;

class TopModel {
 public:
  // Counters of one guest, now, and what they grew by in a second since the sample before.
  struct Row {
    std::string name;
    std::string state;
    uint64_t id = 0;
    uint64_t ephemeral = 0;        // pages
    uint64_t persistent = 0;       // pages
    uint64_t used = 0;             // bytes
    uint64_t used_persistent = 0;  // bytes of those, by persistent pages
    uint64_t limit = 0;            // bytes that it could use: its cap, or the capacity
    uint64_t puts = 0;
    uint64_t gets = 0;
    uint64_t hits = 0;
    uint64_t refused = 0;
    uint64_t evicted = 0;
    struct Rates {
      double puts, gets, hits, refused, evicted;
    };
    std::optional<Rates> rates;  // absent in a guest's first sample
  };

  // The key that sorts by default.
  static constexpr char kDefaultKey = 'm';

  // Keys that sort, as "n name, m used, ...".
  static std::string KeysText();
  // False if no column has that key. Figures sort downwards, names upwards.
  bool SortBy(char key);
  void Reverse() { reversed_ = !reversed_; }

  // A new result of `stats`, taken at `now`. Throws nlohmann::json::exception if it is none.
  void Update(const Json& stats, TimePoint now);

  // The host's line, an empty one, titles, and a line for each guest.
  std::vector<std::string> Lines() const;

 private:
  std::vector<Row> Sorted() const;

  std::string host_line_;
  std::map<uint64_t, Row> rows_;  // by the guest's number
  std::optional<TimePoint> last_;
  char key_ = kDefaultKey;
  bool reversed_ = false;
};

}  // namespace tmem::ctl

#endif  // TMEM_CTL_TOP_MODEL_H_
