// Answers on a ring that is nothing but polled (guest-driver/test/echo_page.h), until the guest
// ends it.
//
//   echo_ring DOMID
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <string_view>

#include "base/result.h"
#include "echo_page.h"
#include "hypercall/xen/xen_hypervisor.h"
#include "hypercall/xenbus.h"

namespace tmem::lab {
namespace {

constexpr useconds_t kRest = 5'000;  // a guest that wants to be polled waits so long at most

std::atomic_ref<uint32_t> Word(uint32_t& word) { return std::atomic_ref<uint32_t>(word); }

// Only `asked` is looked at as long as it changes.
void Poll(echo_page& page) {
  uint32_t last = Word(page.answered).load(std::memory_order_relaxed);
  while (Word(page.wanted).load(std::memory_order_relaxed) == ECHO_POLLS) {
    const uint32_t asked = Word(page.asked).load(std::memory_order_acquire);
    if (asked == last) continue;
    Word(page.answered).store(asked, std::memory_order_release);
    last = asked;
  }
}

void Serve(echo_page& page) {
  for (;;) {
    const uint32_t wanted = Word(page.wanted).load(std::memory_order_acquire);
    Word(page.state).store(wanted, std::memory_order_release);
    if (wanted == ECHO_ENDS) return;
    if (wanted == ECHO_POLLS) {
      Poll(page);
    } else {
      ::usleep(kRest);
    }
  }
}

template <class Number>
Result<Number> Parse(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && rest == end) return number;
  return Fail(ErrorCode::kInvalid, fmt::format("'{}' is not a number", text));
}

Result<void> Run(std::string_view domid) {
  const auto id = Parse<uint16_t>(domid);
  if (!id) return std::unexpected(id.error());
  const auto hypervisor = xen::ConnectToXen();
  if (!hypervisor) return std::unexpected(hypervisor.error());
  const GuestId guest{*id};
  const auto key = (*hypervisor)->directory().Read(FrontendPath(guest) + "/" + ECHO_KEY);
  if (!key) return std::unexpected(key.error());
  const auto ref = Parse<uint32_t>(*key);
  if (!ref) return std::unexpected(ref.error());
  const GrantRef refs[] = {{*ref}};
  const auto pages = (*hypervisor)->Map(guest, refs);
  if (!pages) return std::unexpected(pages.error());
  Serve(*reinterpret_cast<echo_page*>((*pages)->bytes().data()));
  return {};
}

}  // namespace
}  // namespace tmem::lab

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: echo_ring DOMID\n");
    return 2;
  }
  const auto done = tmem::lab::Run(argv[1]);
  if (done) return 0;
  fmt::print(stderr, "echo_ring: {}\n", done.error().message);
  return 1;
}
