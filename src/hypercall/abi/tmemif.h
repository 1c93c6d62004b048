/* SPDX-License-Identifier: MIT */
/*
 * tmemif.h - transcendent memory over shared rings: the interface between a guest's frontend
 * and the tmem backend in dom0.
 *
 * This header is all that the two sides share; docs/protocol.md is its prose and the place where
 * each rule is argued. It is C11, it needs no other header than the fixed-width types, and it
 * lays out every byte the same on 32 and 64 bits.
 *
 * Byte order is the machine's own (both sides share it). Every reserved field and every unused
 * bit must be written as zero by its writer; the backend checks.
 *
 * XENSTORE, backend's side (backend/tmem/<domid>/0/...), written before state InitWait:
 *   versions             "1"                    protocol versions spoken, space separated
 *   max-queues           1..TMEMIF_MAX_QUEUES
 *   max-ring-page-order  0..TMEMIF_MAX_RING_PAGE_ORDER
 *   max-slots            1..TMEMIF_MAX_SLOTS    data slots a queue
 *   max-batch            1..TMEMIF_MAX_BATCH    pages a request
 *   feature-posted-put   "1"                    TMEMIF_REQ_POSTED is understood
 *   store-id             a uuid                 names the store's life; a frontend that connects
 *                                               again and finds another one has lost its pages
 * and with state Closed, after a violation of the protocol:
 *   error                text                   its reason; the frontend must not connect again
 *
 * XENSTORE, frontend's side (device/tmem/0/...), written before state Initialised:
 *   version                    one of versions
 *   num-queues                 1..max-queues
 *   ring-page-order            0..max-ring-page-order
 *   num-slots                  1..max-slots
 *   feature-posted-put         "1" if it is going to post (optional, "0" if absent)
 *   queue-<n>/directory-ref    grant reference of the queue's first directory page
 *   queue-<n>/event-channel    unbound port for the backend to bind
 *
 * Unknown keys, among them unknown feature-*, are ignored by both sides.
 */
#ifndef TMEMIF_H_
#define TMEMIF_H_

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define TMEMIF_VERSION 1u

/* ---- limits: what a backend of this version may announce at most ---- */
#define TMEMIF_PAGE_SIZE 4096u
#define TMEMIF_MAX_QUEUES 16u
#define TMEMIF_MAX_RING_PAGE_ORDER 4u
#define TMEMIF_MAX_SLOTS 1024u
#define TMEMIF_MAX_BATCH 64u
#define TMEMIF_MAX_POOLS 16u /* private and shared together, a guest */

/*
 * ---- directory pages ----
 *
 * A queue's grant references, in order: 2^ring-page-order ring pages, then num-slots data slots.
 * Each directory page holds up to TMEMIF_DIRECTORY_REFS of them; all but the last are full. The
 * backend reads them once, while it connects. The frontend leaves the directory pages, the ring
 * pages and the slots granted until the backend is Closed.
 */
#define TMEMIF_DIRECTORY_REFS 1020u
#define TMEMIF_DIRECTORY_END 0u /* no grant reference of a guest is 0 (reserved by Xen) */

struct tmemif_directory {
	uint32_t next; /* grant reference of the next page, or TMEMIF_DIRECTORY_END */
	uint32_t count; /* references in this page */
	uint32_t reserved[2];
	uint32_t ref[TMEMIF_DIRECTORY_REFS];
};

/*
 * ---- ring ----
 *
 * 2^order contiguous pages: the header, then all requests, then all responses. Requests are
 * written by the frontend only, responses by the backend only: nothing is ever overwritten by
 * the other side, so that a backend that was killed can execute again, from the shared indexes
 * alone, what it had not answered.
 *
 * Indexes run freely through 32 bits; entry i stands at i % TMEMIF_RING_ENTRIES(order).
 * Responses come in the order of the requests: response i answers request i.
 * At most TMEMIF_RING_ENTRIES(order) requests may be unanswered.
 *
 * A consumer that is about to sleep writes the index whose production should wake it into its
 * *_event field, and looks once more. A producer that moves its index from `before` to `after`
 * notifies if TMEMIF_NEEDS_NOTIFY says so. Each side's fields have a cache line of their own.
 */
struct tmemif_ring {
	/* written by the frontend */
	uint32_t req_prod; /* requests produced */
	uint32_t rsp_event; /* notify me when rsp_prod passes this */
	uint32_t front_reserved[14];
	/* written by the backend */
	uint32_t rsp_prod; /* responses produced, which is requests completed */
	uint32_t req_event; /* notify me when req_prod passes this */
	uint32_t back_reserved[14];
};

#define TMEMIF_RING_ENTRIES(order) (32u << (order))
#define TMEMIF_RING_BYTES(order) (TMEMIF_PAGE_SIZE << (order))
#define TMEMIF_REQUESTS_OFFSET 128u
#define TMEMIF_RESPONSES_OFFSET(order) (TMEMIF_REQUESTS_OFFSET + 64u * TMEMIF_RING_ENTRIES(order))

#define TMEMIF_NEEDS_NOTIFY(before, after, event) \
	((uint32_t)((after) - (event)) < (uint32_t)((after) - (before)))

/* ---- operations: numbers, flags and results of the old tmem hypercall ---- */
#define TMEMIF_OP_NEW_POOL 1u
#define TMEMIF_OP_DESTROY_POOL 2u
#define TMEMIF_OP_PUT_PAGE 4u
#define TMEMIF_OP_GET_PAGE 5u
#define TMEMIF_OP_FLUSH_PAGE 6u
#define TMEMIF_OP_FLUSH_OBJECT 7u

/*
 * Request flags. POSTED: nobody waits for this put. The response still comes (it returns the
 * slots); the backend may delay its notification until a request that is not posted, or until it
 * runs out of requests. Only puts to ephemeral pools, only if feature-posted-put was agreed.
 */
#define TMEMIF_REQ_POSTED 0x1u

/* NEW_POOL flags. */
#define TMEMIF_POOL_PERSIST 0x1u
#define TMEMIF_POOL_SHARED 0x2u
#define TMEMIF_POOL_PRECOMPRESSED 0x4u /* always refused */
#define TMEMIF_POOL_PAGESIZE_SHIFT 4u /* page order above 4 KiB, four bits: must be 0 */
#define TMEMIF_POOL_PAGESIZE_MASK 0xfu
#define TMEMIF_POOL_RESERVED_BITS 0x00ffff08u
#define TMEMIF_POOL_VERSION_SHIFT 24u
#define TMEMIF_POOL_VERSION_MASK 0xffu
#define TMEMIF_SPEC_VERSION 1u /* the old hypercall's, in NEW_POOL flags */

/* Results besides 1 (done), 0 (not found) and a count: the old hypercall's numbers. */
#define TMEMIF_EPERM 1
#define TMEMIF_EIO 5 /* the stored page failed its checksum */
#define TMEMIF_ENOMEM 12 /* put refused: no room within this guest's rights */
#define TMEMIF_ENODEV 19 /* no such pool */
#define TMEMIF_EINVAL 22
#define TMEMIF_ENOSPC 28 /* no free pool id */
#define TMEMIF_ENOSYS 38 /* unknown operation */
#define TMEMIF_EFROZEN 1000
#define TMEMIF_EEMPTY 1001 /* get: the pool holds no page at all */

struct tmemif_oid {
	uint64_t word[3];
};

/*
 * PUT_PAGE, GET_PAGE, FLUSH_PAGE: nr_pages consecutive indexes from index on. Page k of the batch
 * travels in data slot slot + k (flushes use no slots: slot must be 0).
 */
struct tmemif_page_args {
	struct tmemif_oid oid;
	uint32_t index; /* index + nr_pages must not exceed 2^32 */
	uint32_t slot; /* slot + nr_pages must not exceed num-slots */
	uint32_t nr_pages; /* 1..max-batch */
	uint32_t reserved0;
	uint64_t reserved1[2];
};

struct tmemif_object_args {
	struct tmemif_oid oid;
	uint64_t reserved[4];
};

struct tmemif_new_pool_args {
	uint64_t uuid[2]; /* shared pools: which; all ones means private */
	uint32_t flags; /* TMEMIF_POOL_* */
	uint32_t reserved0;
	uint64_t reserved1[4];
};

struct tmemif_request {
	uint16_t id; /* the frontend's own; echoed */
	uint8_t op; /* TMEMIF_OP_* */
	uint8_t flags; /* TMEMIF_REQ_* */
	uint32_t pool; /* as returned by NEW_POOL; 0 for NEW_POOL itself */
	union {
		struct tmemif_page_args page;
		struct tmemif_object_args object;
		struct tmemif_new_pool_args new_pool;
		uint64_t words[7]; /* DESTROY_POOL: all zero */
	} u;
};

/*
 * status, by operation:
 *   NEW_POOL               pool id, or negative error
 *   DESTROY_POOL           1, or negative error
 *   PUT_PAGE, GET_PAGE     pages done if any was; else 0 (get: not found) or a negative error
 *   FLUSH_PAGE             nr_pages (flushing what is not there succeeds), or negative error
 *   FLUSH_OBJECT           1, or negative error
 * A frozen guest's flushes are executed and answered -EFROZEN.
 * done: for the three page operations, bit k tells that page k was done; 0 otherwise.
 */
struct tmemif_response {
	uint16_t id;
	uint16_t reserved;
	int32_t status;
	uint64_t done;
};

/* ---- the layout is the contract ---- */
#ifdef __KERNEL__
#define TMEMIF_ASSERT(e) static_assert(e)
#elif defined(__cplusplus)
#define TMEMIF_ASSERT(e) static_assert(e, #e)
#else
#define TMEMIF_ASSERT(e) _Static_assert(e, #e)
#endif

TMEMIF_ASSERT(sizeof(struct tmemif_directory) == TMEMIF_PAGE_SIZE);
TMEMIF_ASSERT(sizeof(struct tmemif_ring) == TMEMIF_REQUESTS_OFFSET);
TMEMIF_ASSERT(offsetof(struct tmemif_ring, rsp_prod) == 64);
TMEMIF_ASSERT(sizeof(struct tmemif_page_args) == 56);
TMEMIF_ASSERT(sizeof(struct tmemif_object_args) == 56);
TMEMIF_ASSERT(sizeof(struct tmemif_new_pool_args) == 56);
TMEMIF_ASSERT(sizeof(struct tmemif_request) == 64);
TMEMIF_ASSERT(offsetof(struct tmemif_request, u) == 8);
TMEMIF_ASSERT(sizeof(struct tmemif_response) == 16);
TMEMIF_ASSERT(TMEMIF_RESPONSES_OFFSET(0) + 16u * TMEMIF_RING_ENTRIES(0) <= TMEMIF_RING_BYTES(0));
TMEMIF_ASSERT(TMEMIF_RESPONSES_OFFSET(4) + 16u * TMEMIF_RING_ENTRIES(4) <= TMEMIF_RING_BYTES(4));

#endif /* TMEMIF_H_ */
