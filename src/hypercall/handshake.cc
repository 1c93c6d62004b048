#include "hypercall/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "hypercall/abi/tmemif.h"

namespace tmem {

namespace {

std::optional<uint32_t> ParseNumber(std::string_view text) {
  uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end) return std::nullopt;
  return value;
}

// A number that must be there and lie in [low, high].
Result<uint32_t> ReadNumber(Directory& directory, const std::string& path, uint32_t low,
                            uint32_t high) {
  const auto text = directory.Read(path);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) {
      return Fail(ErrorCode::kInvalid, fmt::format("key {} is missing", path));
    }
    return std::unexpected(text.error());
  }
  const auto value = ParseNumber(*text);
  if (!value || *value < low || *value > high) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("key {} is not a number from {} to {}", path, low, high));
  }
  return *value;
}

// A flag that may be absent.
Result<bool> ReadFlag(Directory& directory, const std::string& path) {
  const auto text = directory.Read(path);
  if (text) {
    if (*text == "0" || *text == "1") return *text == "1";
    return Fail(ErrorCode::kInvalid, fmt::format("key {} is neither 0 nor 1", path));
  }
  if (text.error().code == ErrorCode::kNotFound) return false;
  return std::unexpected(text.error());
}

// The references in the chain of directory pages that starts at `first`; exactly `wanted` of them.
Result<std::vector<GrantRef>> ReadDirectoryPages(Hypervisor& hypervisor, GuestId guest,
                                                 GrantRef first, size_t wanted) {
  std::vector<GrantRef> refs;
  GrantRef next = first;
  auto page = std::make_unique<tmemif_directory>();
  while (refs.size() < wanted) {
    if (next.value == TMEMIF_DIRECTORY_END) {
      return Fail(ErrorCode::kInvalid, "the directory pages end too soon");
    }
    const auto mapping = hypervisor.Map(guest, {&next, 1});
    if (!mapping) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("a directory page cannot be mapped: {}", mapping.error().message));
    }
    std::memcpy(page.get(), (*mapping)->bytes().data(), sizeof(*page));
    const size_t here = std::min<size_t>(wanted - refs.size(), TMEMIF_DIRECTORY_REFS);
    if (page->count != here || page->reserved[0] != 0 || page->reserved[1] != 0) {
      return Fail(ErrorCode::kInvalid, "a directory page is malformed");
    }
    for (size_t i = 0; i < here; ++i) refs.push_back(GrantRef{page->ref[i]});
    next = GrantRef{page->next};
  }
  if (next.value != TMEMIF_DIRECTORY_END) {
    return Fail(ErrorCode::kInvalid, "there are more directory pages than references");
  }
  return refs;
}

Result<Queue::Parts> MapQueue(Hypervisor& hypervisor, GuestId guest, const Offer& offer,
                              const Offer::QueueKeys& keys) {
  const size_t ring_pages = size_t{1} << offer.ring_page_order;
  auto refs = ReadDirectoryPages(hypervisor, guest, keys.directory, ring_pages + offer.slot_count);
  if (!refs) return std::unexpected(std::move(refs).error());
  const std::span<const GrantRef> all(*refs);

  auto ring = hypervisor.Map(guest, all.first(ring_pages));
  auto slots = hypervisor.Map(guest, all.subspan(ring_pages));
  if (!ring || !slots) {
    const Error& error = !ring ? ring.error() : slots.error();
    return Fail(ErrorCode::kInvalid,
                fmt::format("granted pages cannot be mapped: {}", error.message));
  }
  auto channel = hypervisor.Bind(guest, keys.port);
  if (!channel) return std::unexpected(std::move(channel).error());
  return Queue::Parts{.ring = std::move(*ring),
                      .slots = std::move(*slots),
                      .channel = std::move(*channel),
                      .ring_page_order = offer.ring_page_order,
                      .agreement = {.slot_count = offer.slot_count, .may_post = offer.may_post}};
}

}  // namespace

Result<Offer> ReadOffer(Directory& directory, const std::string& frontend_path,
                        const WireLimits& limits) {
  const auto key = [&](std::string_view name) { return fmt::format("{}/{}", frontend_path, name); };
  Offer offer;
  uint32_t queues = 0;
  if (auto version = ReadNumber(directory, key("version"), TMEMIF_VERSION, TMEMIF_VERSION);
      !version) {
    return std::unexpected(std::move(version).error());
  }
  TMEM_ASSIGN(queues, ReadNumber(directory, key("num-queues"), 1, limits.max_queues));
  TMEM_ASSIGN(offer.ring_page_order,
              ReadNumber(directory, key("ring-page-order"), 0, limits.max_ring_page_order));
  TMEM_ASSIGN(offer.slot_count, ReadNumber(directory, key("num-slots"), 1, limits.max_slots));
  TMEM_ASSIGN(offer.may_post, ReadFlag(directory, key("feature-posted-put")));
  for (uint32_t i = 0; i < queues; ++i) {
    Offer::QueueKeys queue;
    const std::string prefix = key(fmt::format("queue-{}", i));
    TMEM_ASSIGN(queue.directory.value,
                ReadNumber(directory, prefix + "/directory-ref", 1, UINT32_MAX));
    TMEM_ASSIGN(queue.port.value, ReadNumber(directory, prefix + "/event-channel", 1, UINT32_MAX));
    offer.queues.push_back(queue);
  }
  return offer;
}

Result<std::vector<Queue::Parts>> MapOffer(Hypervisor& hypervisor, GuestId guest,
                                           const Offer& offer) {
  std::vector<Queue::Parts> parts;
  for (const Offer::QueueKeys& keys : offer.queues) {
    auto queue = MapQueue(hypervisor, guest, offer, keys);
    if (!queue) return std::unexpected(std::move(queue).error());
    parts.push_back(std::move(*queue));
  }
  return parts;
}

}  // namespace tmem
