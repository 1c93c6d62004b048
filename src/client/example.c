/* SPDX-License-Identifier: MIT */
/*
 * example.c - a small guest of tmemd: keeps pages in a persistent pool, caches in an ephemeral one.
 *
 *   cc example.c -o example $(pkg-config --cflags --libs tmem_client)
 *   ./example [SOCKET [GUEST-NAME]]
 *
 * Exits 0 when every page came back as it was put, 1 otherwise.
 */
#include <stdio.h>
#include <string.h>
#include <tmem_client.h>

#define PAGES 16

/* Page i of what this program wants to remember. */
static void fill(unsigned char* page, unsigned int i) {
  memset(page, (int)('a' + i), TMEM_PAGE_SIZE);
  snprintf((char*)page, TMEM_PAGE_SIZE, "page %u", i);
}

/* Persistent: what was stored comes back, as often as it is asked for. */
static int use_as_memory(tmem_client* client) {
  static unsigned char pages[PAGES][TMEM_PAGE_SIZE];
  static unsigned char expected[TMEM_PAGE_SIZE];
  const tmem_oid object = {{1, 0, 0}};
  uint64_t stored = 0;
  uint64_t found = 0;
  unsigned int i;

  int pool = tmem_new_pool(client, NULL, TMEM_POOL_PERSIST);
  if (pool < 0) {
    fprintf(stderr, "cannot create a persistent pool: error %d\n", -pool);
    return -1;
  }
  for (i = 0; i < PAGES; i++) fill(pages[i], i);

  /* One request for all of them. Pages that the daemon refuses are still ours to keep. */
  tmem_put_batch(client, pool, &object, 0, PAGES, pages, &stored);
  memset(pages, 0, sizeof(pages));
  tmem_get_batch(client, pool, &object, 0, PAGES, pages, &found);
  if (found != stored) {
    fprintf(stderr, "stored %#llx, found %#llx\n", (unsigned long long)stored,
            (unsigned long long)found);
    return -1;
  }
  for (i = 0; i < PAGES; i++) {
    if (!(found >> i & 1)) continue;
    fill(expected, i);
    if (memcmp(pages[i], expected, TMEM_PAGE_SIZE) != 0) {
      fprintf(stderr, "page %u came back different\n", i);
      return -1;
    }
  }
  printf("persistent: %d pages stored and found again\n", __builtin_popcountll(found));
  return tmem_destroy_pool(client, pool) == 1 ? 0 : -1;
}

/* Ephemeral: a cache that the daemon may empty at any time; putting costs no waiting. */
static int use_as_cache(tmem_client* client) {
  static unsigned char page[TMEM_PAGE_SIZE];
  const tmem_oid file = {{4711, 0, 0}};
  unsigned int hits = 0;
  unsigned int i;

  int pool = tmem_new_pool(client, NULL, 0);
  if (pool < 0) {
    fprintf(stderr, "cannot create an ephemeral pool: error %d\n", -pool);
    return -1;
  }
  for (i = 0; i < PAGES; i++) {
    fill(page, i);
    tmem_put_posted(client, pool, &file, i, page);
  }
  for (i = 0; i < PAGES; i++)
    hits += tmem_get(client, pool, &file, i, page) == 1; /* a miss: read the file again */
  printf("ephemeral: %u of %u pages were still there\n", hits, PAGES);
  return tmem_destroy_pool(client, pool) == 1 ? 0 : -1;
}

int main(int argc, char** argv) {
  const char* socket_path = argc > 1 ? argv[1] : NULL;
  const char* guest_name = argc > 2 ? argv[2] : "example";
  char error[256];
  tmem_stats stats;
  int failed;

  tmem_client* client = tmem_connect(socket_path, guest_name, NULL, error, sizeof(error));
  if (!client) {
    fprintf(stderr, "example: %s\n", error);
    return 1;
  }
  printf("connected as guest %d\n", tmem_guest_id(client));
  failed = use_as_memory(client) || use_as_cache(client);

  tmem_get_stats(client, &stats);
  printf("%llu requests, %llu of %llu puts stored, %llu of %llu gets found\n",
         (unsigned long long)stats.requests, (unsigned long long)stats.puts_stored,
         (unsigned long long)stats.puts, (unsigned long long)stats.gets_found,
         (unsigned long long)stats.gets);
  tmem_disconnect(client);
  return failed ? 1 : 0;
}
