// What things cost a simulated guest, in virtual nanoseconds: the whole of the model, to be argued
// with. Disks have no queue: each guest pays the same whatever the others do.
#ifndef TMEM_SIM_COST_MODEL_H_
#define TMEM_SIM_COST_MODEL_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace tmem::sim {

using Nanoseconds = uint64_t;

struct CostModel {
  Nanoseconds access = 1'000;       // the work a program does on one page
  Nanoseconds first_touch = 500;    // a fresh page of zeroes
  Nanoseconds put = 8'000;          // a page to the store: copied, compressed, answered
  Nanoseconds refused_put = 3'000;  // one that the store does not take
  Nanoseconds get = 5'000;          // a page from the store
  Nanoseconds missed_get = 2'000;   // one that the store has not
  Nanoseconds disk_read = 100'000;  // a fault that waits for an SSD
  Nanoseconds disk_write = 30'000;  // a page written out; most of that wait is not the program's
};

struct CostField {
  std::string_view name;
  Nanoseconds CostModel::* field;
  std::string_view help;
};
inline constexpr std::array<CostField, 8> kCostFields = {{
    {"access", &CostModel::access, "the work a program does on one page"},
    {"first-touch", &CostModel::first_touch, "a fresh page of zeroes"},
    {"put", &CostModel::put, "a page that the store takes"},
    {"refused-put", &CostModel::refused_put, "a page that the store does not take"},
    {"get", &CostModel::get, "a page from the store"},
    {"missed-get", &CostModel::missed_get, "a page that the store has not"},
    {"disk-read", &CostModel::disk_read, "a page from disk"},
    {"disk-write", &CostModel::disk_write, "a page to disk"},
}};

}  // namespace tmem::sim

#endif  // TMEM_SIM_COST_MODEL_H_
