// A loopback guest for the end-to-end test: connects, then does what standard input says, one
// command a line, and answers each with a line.
//
//   pool persistent|ephemeral   the pool's id
//   put POOL COUNT              pages stored
//   get POOL COUNT              pages found whole
//   quit
// COUNT are the pages 0 .. COUNT-1 of one object. Ends with the end of its input.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>

#include "tmem_client.h"

namespace {

constexpr tmem_oid kObject = {{1, 2, 3}};

struct Page {
  alignas(8) unsigned char bytes[TMEM_PAGE_SIZE];
};

// Compresses by about half, and is another one for each index.
Page PageOf(uint32_t index) {
  Page page{};
  for (uint32_t i = 0; i < TMEM_PAGE_SIZE / 2; ++i) {
    page.bytes[i] = static_cast<unsigned char>((i * 2654435761u + index * 40503u) >> 13);
  }
  return page;
}

int PutPages(tmem_client* client, int pool, uint32_t count) {
  int stored = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Page page = PageOf(i);
    stored += tmem_put(client, pool, &kObject, i, page.bytes) == 1 ? 1 : 0;
  }
  return stored;
}

int GetPages(tmem_client* client, int pool, uint32_t count) {
  int found = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Page page{};
    const Page expected = PageOf(i);
    const bool hit = tmem_get(client, pool, &kObject, i, page.bytes) == 1;
    found += hit && std::memcmp(page.bytes, expected.bytes, TMEM_PAGE_SIZE) == 0 ? 1 : 0;
  }
  return found;
}

int Answer(tmem_client* client, std::istringstream words, const std::string& command) {
  if (command == "pool") {
    std::string kind;
    words >> kind;
    return tmem_new_pool(client, nullptr, kind == "persistent" ? TMEM_POOL_PERSIST : 0);
  }
  int pool = 0;
  uint32_t count = 0;
  words >> pool >> count;
  return command == "put" ? PutPages(client, pool, count) : GetPages(client, pool, count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  char error[256];
  tmem_client* const client = tmem_connect(argv[1], argv[2], nullptr, error, sizeof error);
  if (client == nullptr) {
    std::cout << "failed " << error << std::endl;
    return 1;
  }
  std::cout << "ready " << tmem_guest_id(client) << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "quit") break;
    std::cout << Answer(client, std::move(words), command) << std::endl;
  }
  tmem_disconnect(client);
  return 0;
}
