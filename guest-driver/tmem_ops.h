/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The operations of tmem, for those who have pages: preswap now.
 *
 * A persistent page is where it is: get waits for a host that restarts, as long as the connection
 * is not given up for dead. A put may be given up earlier, when its page has another place to go
 * to (tmem->may_give_up_puts).
 *
 * Order, and pages that are flushed late. Whoever frees swap slots holds spinlocks, so that their
 * flushes come later, from a worker; meanwhile a slot may have been filled again. Each object
 * may therefore have a bitmap `stale`: pages whose flush is still due. Under the lock of the
 * object's queue, a put clears the bits of its pages as it takes its place on the ring, and a
 * flush clears the bits of those it flushes as it takes its own. The host executes a queue in
 * order. So a flush that was due before a put is either ahead of it on the ring, or is dropped
 * (the put replaces the page anyway); it can never come after it.
 *
 * All calls return 0 or a negative error, and may sleep, unless they say otherwise.
 */
#ifndef TMEM_OPS_H
#define TMEM_OPS_H

#include <linux/mm_types.h>

#include "tmem_queue.h"

/* A pool's number, for all its objects; changes when the pool is made anew. */
struct tmem_pool {
	u32 id;
};

/* An object, and what flushes are due in it. */
struct tmem_object {
	const struct tmem_pool *pool;
	struct tmemif_oid oid;
	unsigned long *stale; /* by index */
	unsigned int nr_indexes; /* length of the bitmap */
	atomic_t flushing; /* flushes under way: the object must not go before them */
	/* A flush failed, and its pages are marked again. From any context; must not sleep. */
	void (*flush_failed)(struct tmem_object *object);
};

/* Pool id, 0 to 15; -TMEMIF_E* as the host says; -ENOTCONN. */
int tmem_new_pool(struct tmem *tmem, u32 flags);
/* Waits at most a few seconds: a host that is away destroys the pool with the guest. */
void tmem_destroy_pool(struct tmem *tmem, u32 pool);
/* Whether the host knows the pool: 1, 0, or -ENOTCONN. */
int tmem_pool_exists(struct tmem *tmem, u32 pool);

/*
 * Gets `nr` pages from consecutive indexes into consecutive struct pages.
 * -ENOENT: the host has not got one of them; -EIO: it cannot deliver, or is gone for good.
 */
int tmem_get_pages(struct tmem *tmem, const struct tmem_object *object, u32 index,
		   struct page *page, unsigned int nr);

/*
 * Starts to put up to `nr` pages. The pages are copied before this returns; `complete` is called
 * when the host has answered, with req->index, nr_pages and done.
 * Returns how many pages the request covers, at least 1, or -ENOTCONN, -ETIMEDOUT: no callback
 * comes then.
 */
int tmem_put_pages(struct tmem *tmem, const struct tmem_object *object, u32 index,
		   struct page *page, unsigned int nr, tmem_complete_fn *complete, void *data,
		   void *more);

/*
 * Spins for a short while, until of the object's requests so many have been answered that *count
 * is down to `until`.
 */
void tmem_spin_until(struct tmem *tmem, const struct tmem_object *object, const atomic_t *count,
		     int until);

/*
 * Puts one page and waits. 0 if the host has it. Otherwise nothing stays under the handle that
 * anybody could get: what the host may still store is marked stale, and true is left in
 * *now_stale.
 */
int tmem_put_page_wait(struct tmem *tmem, const struct tmem_object *object, u32 index,
		       struct page *page, bool *now_stale);

/*
 * Sends flushes for all that is marked stale in the object; does not wait for them to be answered.
 * 0, or -ENOTCONN.
 */
int tmem_flush_stale(struct tmem *tmem, struct tmem_object *object);
/* Waits until no flush of the object is under way. REQUIRES: nobody sends any more. */
void tmem_wait_for_flushes(struct tmem_object *object);

#endif /* TMEM_OPS_H */
