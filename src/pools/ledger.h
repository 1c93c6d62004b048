// What one guest is charged, against its cap: an exact limit at every moment.
//
// Thread-safe without locks. A charge is taken before the record exists and released after it is
// gone, so that what is stored never exceeds what is charged, and that never exceeds the cap.
// Lowering the cap below the charge refuses new charges until enough is released.
#ifndef TMEM_POOLS_LEDGER_H_
#define TMEM_POOLS_LEDGER_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/units.h"

namespace tmem {

class Ledger {
 public:
  explicit Ledger(Bytes cap) : cap_(cap.value) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Charges all of `amount`, or nothing and returns false.
  bool TryCharge(Bytes amount);
  void Release(Bytes amount);

  Bytes charged() const { return Bytes(charged_.load(std::memory_order_relaxed)); }
  Bytes cap() const { return Bytes(cap_.load(std::memory_order_relaxed)); }
  void SetCap(Bytes cap) { cap_.store(cap.value, std::memory_order_relaxed); }

 private:
  // Relaxed everywhere: the number itself is all that is exchanged.
  std::atomic<uint64_t> charged_{0};
  std::atomic<uint64_t> cap_;
};

// A charge that was taken and not yet handed to a record: released unless kept.
class Charge {
 public:
  // Empty (and false) if the ledger refused.
  static Charge Take(Ledger& ledger, Bytes amount) {
    return ledger.TryCharge(amount) ? Charge(&ledger, amount) : Charge();
  }
  Charge() = default;
  Charge(Charge&& other) noexcept
      : ledger_(std::exchange(other.ledger_, nullptr)), amount_(other.amount_) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(amount_, other.amount_);
    return *this;
  }
  ~Charge() {
    if (ledger_ != nullptr) ledger_->Release(amount_);
  }

  explicit operator bool() const { return ledger_ != nullptr; }
  // REQUIRES: *this.
  Ledger& ledger() const { return *ledger_; }
  Bytes amount() const { return amount_; }
  // The record owns the charge from now on.
  void Keep() { ledger_ = nullptr; }

 private:
  Charge(Ledger* ledger, Bytes amount) : ledger_(ledger), amount_(amount) {}

  Ledger* ledger_ = nullptr;
  Bytes amount_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_LEDGER_H_
