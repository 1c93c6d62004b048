#include "client/tmem_client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "client/client.h"
#include "hypercall/abi/tmemif.h"
#include "hypercall/loopback/wire.h"

using tmem::client::Client;
using tmem::client::Operation;

// The C face's type: the client, and the process it belongs to.
struct tmem_client {
  std::unique_ptr<Client> client;
  pid_t owner;
};

namespace {

static_assert(TMEM_PAGE_SIZE == TMEMIF_PAGE_SIZE && TMEM_MAX_BATCH == TMEMIF_MAX_BATCH);
static_assert(TMEM_EFROZEN == TMEMIF_EFROZEN && TMEM_EEMPTY == TMEMIF_EEMPTY);
static_assert(TMEM_POOL_PERSIST == TMEMIF_POOL_PERSIST && TMEM_POOL_SHARED == TMEMIF_POOL_SHARED);

constexpr char kDefaultSocket[] = "/run/tmemd/loopback.sock";
constexpr uint32_t kDefaultQueues = 1;
constexpr uint32_t kDefaultRingPageOrder = 2;
constexpr uint32_t kDefaultSlots = 128;
constexpr uint32_t kDefaultSpinUs = 50;
constexpr uint32_t kDefaultConnectMs = 5000;
constexpr std::chrono::seconds kDrainTime{5};  // as tmem_client.h says of tmem_disconnect()

uint32_t OrDefault(uint32_t value, uint32_t fallback) { return value != 0 ? value : fallback; }

tmem::Result<Client::Config> ConfigOf(const char* socket_path, const char* guest_name,
                                      const tmem_options* given) {
  const tmem_options options = given != nullptr ? *given : tmem_options{};
  if (guest_name == nullptr || !tmem::loopback::IsGuestName(guest_name)) {
    return tmem::Fail(tmem::ErrorCode::kInvalid,
                      fmt::format("a guest's name has 1 to {} letters, digits, '.', '_' and '-'",
                                  tmem::loopback::kMaxName));
  }
  if (options.queues > TMEMIF_MAX_QUEUES || options.slots > TMEMIF_MAX_SLOTS ||
      options.ring_page_order > TMEMIF_MAX_RING_PAGE_ORDER) {
    return tmem::Fail(tmem::ErrorCode::kInvalid,
                      fmt::format("options: at most {} queues, ring_page_order {}, {} slots",
                                  TMEMIF_MAX_QUEUES, TMEMIF_MAX_RING_PAGE_ORDER, TMEMIF_MAX_SLOTS));
  }
  if (std::ranges::any_of(options.reserved, [](uint32_t word) { return word != 0; })) {
    return tmem::Fail(tmem::ErrorCode::kInvalid, "options: reserved fields must be zero");
  }
  if (socket_path == nullptr) socket_path = std::getenv("TMEM_SOCKET");
  if (socket_path == nullptr) socket_path = kDefaultSocket;
  const uint32_t spin_us = OrDefault(options.spin_us, kDefaultSpinUs);
  return Client::Config{
      .socket_path = socket_path,
      .guest_name = guest_name,
      .wanted = {.queues = OrDefault(options.queues, kDefaultQueues),
                 .ring_page_order = OrDefault(options.ring_page_order, kDefaultRingPageOrder),
                 .slots = OrDefault(options.slots, kDefaultSlots)},
      .spin = spin_us == UINT32_MAX ? tmem::Duration::max() : std::chrono::microseconds(spin_us),
      .connect_time = std::chrono::milliseconds(OrDefault(options.connect_ms, kDefaultConnectMs)),
      .drain_time = kDrainTime};
}

void Report(const std::string& message, char* error, size_t error_size) {
  if (error == nullptr || error_size == 0) return;
  const size_t length = std::min(message.size(), error_size - 1);
  std::memcpy(error, message.data(), length);
  error[length] = '\0';
}

const std::byte* Source(const void* pages) { return static_cast<const std::byte*>(pages); }
std::byte* Destination(void* pages) { return static_cast<std::byte*>(pages); }

bool IsBatch(uint32_t index, uint32_t count) {
  return count >= 1 && count <= TMEM_MAX_BATCH && uint64_t{index} + count <= uint64_t{1} << 32;
}

// A negative pool is as unknown as any that the daemon did not create: it answers -ENODEV.
Operation OperationOn(uint8_t code, int pool, const tmem_oid* oid, uint32_t index, uint32_t count) {
  Operation operation;
  operation.code = code;
  operation.pool = static_cast<uint32_t>(pool);
  operation.oid = *oid;
  operation.index = index;
  operation.count = count;
  return operation;
}

int Execute(tmem_client* client, Operation& operation, uint64_t* done) {
  const int result = client->client->Execute(operation);
  if (done != nullptr) *done = operation.done;
  return result;
}

// No exception leaves the library: out of memory is the only one there can be.
template <class Call>
int Guarded(Call call) {
  try {
    return call();
  } catch (...) {
    return -ENOMEM;
  }
}

int Submit(tmem_client* client, Operation operation, tmem_completion done, void* arg) {
  if (!IsBatch(operation.index, operation.count) || done == nullptr) return -EINVAL;
  return Guarded([&] {
    operation.on_finished = done;
    operation.arg = arg;
    return client->client->Submit(std::make_unique<Operation>(operation));
  });
}

}  // namespace

tmem_client* tmem_connect(const char* socket_path, const char* guest_name,
                          const tmem_options* options, char* error, size_t error_size) {
  try {
    const auto config = ConfigOf(socket_path, guest_name, options);
    if (!config) {
      Report(config.error().message, error, error_size);
      return nullptr;
    }
    auto client = Client::Connect(*config);
    if (client) return new tmem_client{*std::move(client), ::getpid()};
    Report(client.error().message, error, error_size);
  } catch (const std::exception& e) {
    Report(e.what(), error, error_size);
  }
  return nullptr;
}

void tmem_disconnect(tmem_client* client) {
  // In a forked child the keeper thread does not exist, and the connection is the parent's.
  if (client == nullptr || client->owner != ::getpid()) return;
  delete client;
}

int tmem_new_pool(tmem_client* client, const tmem_uuid* uuid, uint32_t flags) {
  constexpr uint32_t kAllowed = TMEM_POOL_PERSIST | TMEM_POOL_SHARED;
  if ((flags & ~kAllowed) != 0) return -EPERM;
  const bool named = (flags & TMEM_POOL_SHARED) != 0 && uuid != nullptr;
  return client->client->NewPool(named ? *uuid : tmem_uuid{}, flags);
}

int tmem_destroy_pool(tmem_client* client, int pool) {
  return client->client->DestroyPool(static_cast<uint32_t>(pool));
}

int tmem_put(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index, const void* page) {
  return tmem_put_batch(client, pool, oid, index, 1, page, nullptr);
}

int tmem_get(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index, void* page) {
  return tmem_get_batch(client, pool, oid, index, 1, page, nullptr);
}

int tmem_flush_page(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index) {
  return tmem_flush_batch(client, pool, oid, index, 1, nullptr);
}

int tmem_flush_object(tmem_client* client, int pool, const tmem_oid* oid) {
  Operation operation = OperationOn(TMEMIF_OP_FLUSH_OBJECT, pool, oid, 0, 1);
  return Execute(client, operation, nullptr);
}

int tmem_put_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                   uint32_t count, const void* pages, uint64_t* done) {
  if (!IsBatch(index, count)) return -EINVAL;
  Operation operation = OperationOn(TMEMIF_OP_PUT_PAGE, pool, oid, index, count);
  operation.source = Source(pages);
  return Execute(client, operation, done);
}

int tmem_get_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                   uint32_t count, void* pages, uint64_t* done) {
  if (!IsBatch(index, count)) return -EINVAL;
  Operation operation = OperationOn(TMEMIF_OP_GET_PAGE, pool, oid, index, count);
  operation.destination = Destination(pages);
  return Execute(client, operation, done);
}

int tmem_flush_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                     uint32_t count, uint64_t* done) {
  if (!IsBatch(index, count)) return -EINVAL;
  Operation operation = OperationOn(TMEMIF_OP_FLUSH_PAGE, pool, oid, index, count);
  return Execute(client, operation, done);
}

int tmem_put_posted(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    const void* page) {
  return client->client->Post(static_cast<uint32_t>(pool), *oid, index, Source(page));
}

int tmem_submit_put(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    uint32_t count, const void* pages, tmem_completion done, void* arg) {
  Operation operation = OperationOn(TMEMIF_OP_PUT_PAGE, pool, oid, index, count);
  operation.source = Source(pages);
  return Submit(client, operation, done, arg);
}

int tmem_submit_get(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    uint32_t count, void* pages, tmem_completion done, void* arg) {
  Operation operation = OperationOn(TMEMIF_OP_GET_PAGE, pool, oid, index, count);
  operation.destination = Destination(pages);
  return Submit(client, operation, done, arg);
}

int tmem_poll(tmem_client* client, int timeout_ms) { return client->client->Poll(timeout_ms); }

int tmem_drain(tmem_client* client) { return client->client->Drain(); }

void tmem_get_stats(tmem_client* client, tmem_stats* stats) { *stats = client->client->Stats(); }

int tmem_guest_id(tmem_client* client) { return client->client->domid().value; }
