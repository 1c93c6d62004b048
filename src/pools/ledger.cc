#include "pools/ledger.h"

namespace tmem {

bool Ledger::TryCharge(Bytes amount) {
  uint64_t charged = charged_.load(std::memory_order_relaxed);
  do {
    const uint64_t cap = cap_.load(std::memory_order_relaxed);
    if (amount.value > cap || charged > cap - amount.value) return false;
  } while (
      !charged_.compare_exchange_weak(charged, charged + amount.value, std::memory_order_relaxed));
  return true;
}

void Ledger::Release(Bytes amount) { charged_.fetch_sub(amount.value, std::memory_order_relaxed); }

}  // namespace tmem
