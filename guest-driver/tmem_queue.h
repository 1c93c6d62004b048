/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One queue: a ring, its data slots, and the requests that travel on it.
 *
 * A request is a struct tmem_req out of the queue's fixed array, so that nothing is ever allocated
 * on the way out of memory, and the ring cannot overflow: there are as many requests as entries.
 *
 *            take                send                  the host answers
 *     FREE ---------> TAKEN ----------------> SENT --------------------------> ANSWERED
 *      ^                |                      |   or the connection breaks       |
 *      |    release     |                      | give up                          | release
 *      +----------------+                      v                                  |
 *      +<----------------------------------- ORPHAN                               |
 *      |            the host answers                                              |
 *      +--------------------------------------------------------------------------+
 *
 * The data slots of a request are its own until it is FREE. An ORPHAN's slots stay taken until
 * its answer comes: only then is it certain that the host does not touch them any more.
 *
 * Responses are trusted for nothing: see tmem_queue.c.
 *
 * Locking: q->lock guards everything below it in the struct; it is taken with interrupts off and
 * is the innermost lock of the module. Completion callbacks run without it.
 */
#ifndef TMEM_QUEUE_H
#define TMEM_QUEUE_H

#include <linux/completion.h>
#include <linux/irqreturn.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <xen/grant_table.h>

#include "tmem.h"

enum tmem_req_state {
	TMEM_REQ_FREE,
	TMEM_REQ_TAKEN,
	TMEM_REQ_SENT,
	TMEM_REQ_ORPHAN,
	TMEM_REQ_ANSWERED,
};

struct tmem_req;

/*
 * Called once, when a request that was sent is answered, has failed, or was given up; in interrupt
 * or process context, without locks, must not sleep. It may look at the request while it runs;
 * the request is released after it.
 */
typedef void tmem_complete_fn(struct tmem_req *req);

struct tmem_req {
	struct list_head link;
	struct tmem_queue *queue; /* constant, as id */
	u16 id;

	u16 slot; /* first of nr_slots consecutive ones */
	u16 nr_slots;
	u8 state; /* enum tmem_req_state; under the queue's lock */
	u8 op;
	u16 nr_pages;
	unsigned long sent_at; /* jiffies */

	tmem_complete_fn *complete; /* NULL: somebody waits on `answered` */
	struct completion answered;

	/*
	 * For the owner, once answered. A status below zero is the host's, or
	 *   -ENOTCONN   the connection broke before the answer came
	 *   -ETIMEDOUT  given up by the watchdog; the host may still execute it
	 */
	int status;
	u64 done;

	/* the owner's own */
	void *data;
	void *more;
	u32 index;
};

/* A page that the host may see; it holds nothing else, ever (XSA-396, XSA-403). */
struct tmem_grant {
	grant_ref_t ref; /* 0: not granted */
	struct page *page;
};

struct tmem_queue {
	struct tmem *tmem;
	unsigned int nr;

	/* constant while up; tmem_ring.c */
	struct tmemif_ring *ring;
	unsigned int order;
	unsigned int entries;
	unsigned int nr_slots;
	unsigned int put_reserve; /* the first slots are for gets only */
	struct tmem_grant *grants; /* ring pages, data slots, directory pages */
	unsigned int nr_grants;
	struct tmem_req *reqs; /* one for each ring entry */
	u16 *sent; /* [ring index % entries]: id of the request there */
	unsigned long *slot_map; /* bits of slots in use; changed under lock */
	evtchn_port_t port;
	int irq;

	spinlock_t lock; /* of all below */
	bool up;
	u32 req_prod;
	u32 rsp_cons;
	u32 irq_cons; /* rsp_cons when the last interrupt came */
	unsigned int nr_free;
	unsigned int nr_callbacks; /* requests sent whose completion calls back */
	unsigned int nr_sleepers; /* those who sleep until their request is answered */
	unsigned int nr_crowded; /* those who sleep until there is room */
	struct list_head free;
	wait_queue_head_t room; /* woken when requests or slots became free, or up changed */

	u32 spin_ns; /* how long waiting by spinning pays; adapted, races are harmless */
};

/* ---- tmem_ring.c ---- */

struct tmem_queue *tmem_queue_create(struct tmem *tmem, unsigned int nr);
void tmem_queue_destroy(struct tmem_queue *q);

/*
 * Allocates and grants what a connection needs, and gets an event channel. The queue is not up
 * yet. May sleep. 0 or a negative error, with nothing left behind.
 */
int tmem_queue_offer(struct tmem_queue *q, struct xenbus_device *xdev, unsigned int order,
		     unsigned int nr_slots);
grant_ref_t tmem_queue_directory(const struct tmem_queue *q);
/* REQUIRES: tmem_queue_down() was called, or the queue never was up. */
void tmem_queue_withdraw(struct tmem_queue *q);

/* ---- tmem_queue.c ---- */

void tmem_queue_up(struct tmem_queue *q);
/*
 * Fails what is outstanding with -ENOTCONN, and every take from now on; returns when no request
 * is in use any more. May sleep; shortly, for owners of requests do not wait while they have one.
 */
void tmem_queue_down(struct tmem_queue *q);

irqreturn_t tmem_queue_interrupt(int irq, void *queue);

/*
 * A request with slots for up to nr pages (fewer if that is all there is, at least one); op says
 * how they are used. Flushes and pool operations get no slots.
 * Waits for room, at most for the given jiffies (MAX_SCHEDULE_TIMEOUT: as long as it takes).
 * ERR_PTR: -ENOTCONN, -ETIMEDOUT. May sleep.
 */
struct tmem_req *tmem_req_take(struct tmem_queue *q, u8 op, unsigned int nr, unsigned long timeout);
void tmem_req_release(struct tmem_req *req);
void *tmem_req_slot(const struct tmem_req *req, unsigned int k);

/*
 * The lock under which requests get their place in the queue. Unlocking also takes in what has
 * been answered meanwhile and calls back.
 */
unsigned long tmem_queue_lock(struct tmem_queue *q);
void tmem_queue_unlock(struct tmem_queue *q, unsigned long flags);
/* Puts the request on the ring. REQUIRES: queue locked, req TAKEN. wire's id is filled in here. */
void tmem_req_send(struct tmem_req *req, struct tmemif_request *wire);

/*
 * Waits until the request is answered; for requests without a callback. Spins first, then sleeps.
 * Returns false if it is not after `timeout` jiffies. May sleep.
 */
bool tmem_req_wait(struct tmem_req *req, unsigned long timeout);
/*
 * Stops waiting. True: the request is not the caller's any more, and the host may yet execute it.
 * False: it was answered just now and is the caller's as always.
 */
bool tmem_req_give_up(struct tmem_req *req);

/* Spins for a short while, taking in what is answered, until *count is at most `until`. */
void tmem_queue_spin_until(struct tmem_queue *q, const atomic_t *count, int until);

/* ---- for the watchdog ---- */

/* Age in jiffies of the oldest unanswered request; 0 if there is none. */
unsigned long tmem_queue_check(struct tmem_queue *q);
/* Gives up, with -ETIMEDOUT, puts with a callback that are older than `age` jiffies. */
void tmem_queue_give_up_puts(struct tmem_queue *q, unsigned long age);

#endif /* TMEM_QUEUE_H */
