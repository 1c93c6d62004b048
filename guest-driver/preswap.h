/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Preswap: swap pages in a persistent pool of the host.
 *
 *   preswap.c            the pool, and areas: which pages a swap area has there, flushes due
 *   preswap_frontswap.c  kernels with frontswap (5.10): in front of any swap device
 *   preswap_blkdev.c     a swap device of our own
 *   preswap_backing.c    the disk behind it that takes what the host refuses
 *
 * A swap slot's handle: object (slot / 1024, area, "preswap"), index slot % 1024. Neighbours are
 * in one object, so that large folios travel as batches; 4 MiB are one object, so that several
 * queues share the work of several processors.
 */
#ifndef TMEM_PRESWAP_H
#define TMEM_PRESWAP_H

#include <linux/llist.h>
#include <linux/xarray.h>

#include "tmem_ops.h"

#define PRESWAP_CHUNK_SHIFT 10
#define PRESWAP_CHUNK_SLOTS 1024u

struct preswap_area;

/* 1024 swap slots. */
struct preswap_chunk {
	struct tmem_object object;
	struct preswap_area *area;
	struct llist_node dirty;
	unsigned long flags; /* PRESWAP_QUEUED */

	/* Atomic bits, by slot. A slot in use has at most one of stored and on_disk. */
	DECLARE_BITMAP(stale, PRESWAP_CHUNK_SLOTS); /* the host should not have it: tmem_ops.h */
	DECLARE_BITMAP(stored, PRESWAP_CHUNK_SLOTS); /* the host has it (blkdev only) */
	DECLARE_BITMAP(on_disk, PRESWAP_CHUNK_SLOTS); /* the backing disk has it (blkdev only) */
};

#define PRESWAP_QUEUED 0 /* in area->dirty */

/* A swap device's slots. */
struct preswap_area {
	struct tmem *tmem;
	u32 number;
	struct xarray chunks; /* by slot / 1024; entries are added, and go with the area */
	struct llist_head dirty; /* chunks with flushes due */
	struct delayed_work flush;
};

/* ---- preswap.c ---- */

int preswap_init(struct tmem *tmem);
/* The connection is up, or the host lost the pool: sees to the pool and to what needs it. */
void preswap_start(struct tmem *tmem);
/*
 * The device goes, while its connection is still there: gives the pool back, if nobody swaps to
 * it. Waits for a few seconds at most.
 */
void preswap_stop(struct tmem *tmem);
/* The connection is gone. After a stop, forgets what was in the pool. */
void preswap_stopped(void);
void preswap_exit(void);

/* The host answered that it does not know the pool. From any context. */
void preswap_pool_lost(struct tmem *tmem);

void preswap_area_init(struct preswap_area *area, struct tmem *tmem, u32 number);
/* Flushes all of the area, as far as the connection is up, and forgets it. */
void preswap_area_clear(struct preswap_area *area);
/* Forgets the area. REQUIRES: the connection is gone, or nothing of the area is under way. */
void preswap_area_free(struct preswap_area *area);
/* Sends the flushes that are due soon. */
void preswap_area_kick(struct preswap_area *area);

/* The slot's chunk, or NULL if there is none. From any context. */
static inline struct preswap_chunk *preswap_find(struct preswap_area *area, unsigned long slot)
{
	return xa_load(&area->chunks, slot >> PRESWAP_CHUNK_SHIFT);
}

/* The slot's chunk, made if need be; NULL if there is no memory. */
struct preswap_chunk *preswap_find_or_add(struct preswap_area *area, unsigned long slot, gfp_t gfp);

static inline u32 preswap_index(unsigned long slot)
{
	return slot % PRESWAP_CHUNK_SLOTS;
}

/* Pages are to be flushed, unless they are put again before. From any context. */
void preswap_mark_stale(struct preswap_chunk *chunk, u32 index, unsigned int nr);

/* ---- preswap_backing.c ---- */

/*
 * Opens the disk for us alone; it stays until preswap_backing_close(). Slot n goes to its page n.
 * -EBUSY if there is one already, -ENOSPC if it is smaller than `pages`, or why it cannot be
 * opened. May sleep.
 */
int preswap_backing_open(const char *path, u64 pages);
void preswap_backing_close(void);
/* The path as given, for show; "none" without a disk. */
const char *preswap_backing_name(void);
/* Its size in pages; 0 without a disk. */
u64 preswap_backing_pages(void);
/* NULL without a disk. From any context. */
struct block_device *preswap_backing_bdev(void);

/* ---- preswap_frontswap.c, preswap_blkdev.c ---- */

/*
 * init and exit: the module comes and goes.
 * start: the pool is there; called again after each reconnection.
 * stop: see to it that nobody calls in until the next start; false if somebody uses us.
 * stopped: after a stop, when the connection is gone: all pages are forgotten.
 */
struct preswap_mode {
	const char *name;
	int (*init)(struct tmem *tmem);
	int (*start)(struct tmem *tmem);
	bool (*stop)(struct tmem *tmem);
	void (*stopped)(void);
	void (*exit)(void);
};

extern const struct preswap_mode preswap_frontswap;
extern const struct preswap_mode preswap_blkdev;

#endif /* TMEM_PRESWAP_H */
