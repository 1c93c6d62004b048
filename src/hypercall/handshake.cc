#include "hypercall/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "hypercall/abi/tmemif.h"
#include "hypercall/shared_copy.h"

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
    auto mapping = hypervisor.Map(guest, {&next, 1});
    if (!mapping) {
      return std::unexpected(std::move(mapping).error().Within("a directory page"));
    }
    CopyFromShared(page.get(), (*mapping)->bytes().data(), sizeof(*page));
    const size_t here = std::min<size_t>(wanted - refs.size(), TMEMIF_DIRECTORY_REFS);
    const std::span<const uint32_t> listed(page->ref, here);
    if (page->count != here || page->reserved[0] != 0 || page->reserved[1] != 0 ||
        std::ranges::count(listed, TMEMIF_DIRECTORY_END) != 0) {
      return Fail(ErrorCode::kInvalid, "a directory page is malformed");
    }
    for (const uint32_t ref : listed) refs.push_back(GrantRef{ref});
    next = GrantRef{page->next};
  }
  if (next.value != TMEMIF_DIRECTORY_END) {
    return Fail(ErrorCode::kInvalid, "there are more directory pages than references");
  }
  return refs;
}

// Two queues on one ring, or with one channel: no correct frontend offers that.
bool Repeats(std::span<const Offer::QueueKeys> queues, const Offer::QueueKeys& next) {
  return std::ranges::any_of(queues, [&](const Offer::QueueKeys& queue) {
    return queue.directory == next.directory || queue.port == next.port;
  });
}

Result<Queue::Parts> MapQueue(Hypervisor& hypervisor, GuestId guest, const Offer& offer,
                              const Offer::QueueKeys& keys) {
  // The channel first: it costs little, and is what a process that is about to end still holds.
  auto channel = hypervisor.Bind(guest, keys.port);
  if (!channel) return std::unexpected(std::move(channel).error().Within("an event channel"));

  const size_t ring_pages = size_t{1} << offer.ring_page_order;
  auto refs = ReadDirectoryPages(hypervisor, guest, keys.directory, ring_pages + offer.slot_count);
  if (!refs) return std::unexpected(std::move(refs).error());
  const std::span<const GrantRef> all(*refs);
  auto ring = hypervisor.Map(guest, all.first(ring_pages));
  if (!ring) return std::unexpected(std::move(ring).error().Within("the ring"));
  auto slots = hypervisor.Map(guest, all.subspan(ring_pages));
  if (!slots) return std::unexpected(std::move(slots).error().Within("the data slots"));
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
    if (Repeats(offer.queues, queue)) {
      return Fail(ErrorCode::kInvalid, fmt::format("{} repeats another queue's keys", prefix));
    }
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
    queue->number = static_cast<uint32_t>(parts.size());
    parts.push_back(std::move(*queue));
  }
  return parts;
}

}  // namespace tmem
