/* SPDX-License-Identifier: MIT */
/*
 * tmem_client.h - transcendent memory for user programs.
 *
 * Connects to a tmemd that serves the loopback hypervisor and speaks the guest's side of the
 * tmem protocol to it. A page is 4,096 bytes (TMEM_PAGE_SIZE); a pool is ephemeral (pages may
 * vanish at any time: a cache) or persistent (pages stay until flushed: swap); a page's handle is
 * (pool, object id, index).
 *
 * Results are the protocol's, unchanged: 1 done, 0 not found, a count for batches, or a negative
 * number: -errno, or -TMEM_EFROZEN, or -TMEM_EEMPTY. Every call that takes a client may also
 * return
 *   -ENOTCONN  the connection ended for good, and this guest's pages with it: the daemon closed it
 *              (protocol violation, guest removed), broke the protocol itself, or came back without
 *              the pages; every later call returns it too.
 * While the daemon restarts, calls wait, and go on if it comes back with the pages.
 *
 * Threads: a client may be used by any number of threads at once; operations on one object are
 * executed in the order in which their calls began, operations on different objects may overtake
 * each other. tmem_disconnect() must be the last call, alone. Nothing here may be called
 * from a signal handler, nor in a child after fork() (connect again there).
 *
 * Link with `pkg-config --cflags --libs tmem_client`.
 */
#ifndef TMEM_CLIENT_H_
#define TMEM_CLIENT_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TMEM_PAGE_SIZE 4096u
#define TMEM_MAX_BATCH 64u

/* Errors that errno does not have. */
#define TMEM_EFROZEN 1000 /* the administrator froze this guest: puts are refused */
#define TMEM_EEMPTY 1001  /* get from a pool that holds no page at all: a miss */

/* tmem_new_pool() flags. 0 is a private ephemeral pool. */
#define TMEM_POOL_PERSIST 0x1u
#define TMEM_POOL_SHARED 0x2u /* ephemeral, shared by uuid; private instead if not authorized */

typedef struct tmem_client tmem_client;

typedef struct tmem_oid {
  uint64_t word[3];
} tmem_oid;

typedef struct tmem_uuid {
  uint64_t word[2];
} tmem_uuid;

/* How to connect. Zero means the default, so `tmem_options o = {0};` is always right. */
typedef struct tmem_options {
  uint32_t queues;          /* request queues; default 1, at most what the daemon allows */
  uint32_t ring_page_order; /* log2 of ring pages a queue; default 2 (128 requests) */
  uint32_t slots;           /* data slots a queue, each one page; default 128 */
  uint32_t spin_us;         /* poll this long before sleeping; default 50, UINT32_MAX: for ever */
  uint32_t connect_ms;      /* wait this long for the first connection; default 5000 */
  uint32_t reserved[11];
} tmem_options;

/*
 * Connects as guest `guest_name` (1 to 63 of [A-Za-z0-9._-]) to the daemon at `socket_path`; NULL
 * means $TMEM_SOCKET, or else /run/tmemd/loopback.sock. One connection a name: a second one is
 * refused. The pages of a guest live until it disconnects or dies.
 *
 * Returns NULL on failure and writes one line that says why and what to do into error (may be
 * NULL), of error_size bytes.
 */
tmem_client* tmem_connect(const char* socket_path, const char* guest_name,
                          const tmem_options* options, char* error, size_t error_size);

/* Waits for everything outstanding (for at most 5 seconds, if the daemon is away or silent;
 * completions then run with -ENOTCONN), closes, frees. The guest's pages are gone afterwards. In a
 * forked child it does nothing: the connection is the parent's. */
void tmem_disconnect(tmem_client* client);

/*
 * Creates a pool. uuid names a shared pool and is ignored (may be NULL) for private ones.
 * Returns the pool's id (0 to 15), or
 *   -EPERM   flags that are not allowed (shared and persistent together, unknown bits)
 *   -ENOSPC  all 16 ids of this guest, or all shared pools of the host, are in use
 */
int tmem_new_pool(tmem_client* client, const tmem_uuid* uuid, uint32_t flags);

/* Destroys a pool: flushes all of it (a shared pool: leaves it). Waits first for every request
 * outstanding on this client. Returns 1, or -ENODEV. */
int tmem_destroy_pool(tmem_client* client, int pool);

/*
 * Stores the page at `page` (TMEM_PAGE_SIZE bytes, copied before the call returns), replacing
 * what is stored under the handle. Returns 1, or
 *   -ENOMEM       refused: no room within this guest's rights
 *   -TMEM_EFROZEN refused: frozen
 *   -ENODEV       no such pool
 * After a refused put nothing is stored under the handle, neither the new page nor an old one.
 */
int tmem_put(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index, const void* page);

/*
 * Fetches a page into `page` (TMEM_PAGE_SIZE bytes). From a private ephemeral pool this removes
 * it. Returns 1; 0 not found; -TMEM_EEMPTY not found, and nothing else either; -ENODEV; -EIO the
 * stored page failed its checksum (`page` is then undefined). `page` is written only on 1.
 */
int tmem_get(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index, void* page);

/* Removes one page, or all pages of an object. Returns 1 whether or not there was any; -ENODEV;
 * -TMEM_EFROZEN: done, and the guest is frozen. */
int tmem_flush_page(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index);
int tmem_flush_object(tmem_client* client, int pool, const tmem_oid* oid);

/*
 * The same for `count` (1 to TMEM_MAX_BATCH) consecutive indexes from `index` on, in few requests;
 * index + count must not exceed 2^32. `pages` is count * TMEM_PAGE_SIZE bytes. Bit k of *done (may
 * be NULL) tells that page k was done; get writes only those pages. Returns the number done if
 * that is not 0, else what the single call would have returned for the first page; -EINVAL if
 * count is out of range. Puts are sent a few pages a request, so that the daemon stores some while
 * the next are copied; gets and flushes in one request, or as many as the data slots make of it.
 */
int tmem_put_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                   uint32_t count, const void* pages, uint64_t* done);
int tmem_get_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                   uint32_t count, void* pages, uint64_t* done);
int tmem_flush_batch(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                     uint32_t count, uint64_t* done);

/*
 * Stores a page in an ephemeral pool without waiting for the answer; `page` is copied before the
 * call returns. A later get or flush of the same object sees it. Returns 0: on its way (whether it
 * was stored shows in the statistics only); -ENOTCONN. Posting to a persistent pool stores nothing
 * and counts as refused.
 */
int tmem_put_posted(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    const void* page);

/*
 * Asynchronous forms of put and get. Returns 0 when submitted (waiting for a free slot if need be),
 * -EINVAL or -ENOTCONN otherwise, and then `done` is not called. `done` is called once, with the
 * result and done mask of the batch call, by whichever thread is inside tmem_poll(), tmem_drain()
 * or any waiting call of this client; it may submit, but must not wait or poll. `pages` must stay
 * valid for a get until then, for a put only until submission returns. From inside `done`,
 * tmem_poll() and tmem_drain() return -EDEADLK.
 */
typedef void (*tmem_completion)(void* arg, int result, uint64_t done);
int tmem_submit_put(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    uint32_t count, const void* pages, tmem_completion done, void* arg);
int tmem_submit_get(tmem_client* client, int pool, const tmem_oid* oid, uint32_t index,
                    uint32_t count, void* pages, tmem_completion done, void* arg);

/* Completes what has been answered; if nothing has, waits up to timeout_ms (0: not at all, -1: for
 * ever, but returns at once if nothing is outstanding). Returns completions run, or -ENOTCONN. */
int tmem_poll(tmem_client* client, int timeout_ms);

/* Waits until nothing is outstanding, posted puts included. Returns 0 or -ENOTCONN. */
int tmem_drain(tmem_client* client);

/* What this client did since it connected. Pages unless said otherwise. */
typedef struct tmem_stats {
  uint64_t puts;           /* sent, posted ones included */
  uint64_t puts_stored;    /* answered: stored */
  uint64_t puts_refused;   /* answered: not stored */
  uint64_t gets;           /* sent */
  uint64_t gets_found;     /* answered: found */
  uint64_t flushes;        /* page flushes sent */
  uint64_t object_flushes; /* object flushes sent */
  uint64_t requests;       /* ring requests, of one page or several */
  uint64_t notifications;  /* wake-ups sent to the daemon */
  uint64_t sleeps;         /* times a caller slept rather than polled */
  uint64_t reconnects;     /* times the daemon went away and came back */
  uint64_t reserved[5];
} tmem_stats;

void tmem_get_stats(tmem_client* client, tmem_stats* stats);

/* The guest's number at the daemon (what an administrator passes to tmemctl besides the name). */
int tmem_guest_id(tmem_client* client);

#ifdef __cplusplus
}
#endif

#endif /* TMEM_CLIENT_H_ */
