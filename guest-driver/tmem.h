/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The module's own view of itself: one tmem device of this guest, its parameters and counters.
 *
 *   tmem_main.c    load and unload, parameters
 *   tmem_front.c   xenbus: the connection's states, its negotiation
 *   tmem_ring.c    a queue's memory: pages, grants, event channel
 *   tmem_queue.c   a queue's traffic: requests out, responses in, waiting
 *   tmem_ops.c     put, get, flush, pools: what the users of the connection call
 *   tmem_stats.c   counters in debugfs
 *   preswap*.c     swap on top of it
 *
 * There is one struct tmem, as long as the module is loaded: it outlives the xenbus device, which
 * comes and goes with the host's will, so that whoever swaps always has something to call.
 */
#ifndef TMEM_H
#define TMEM_H

#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "tmemif.h"

#define TMEM_NAME "tmem"

struct tmem_queue;

/* Module parameters; README.md says what each is for. Units are in the names. */
struct tmem_params {
	unsigned int queues;
	unsigned int ring_page_order;
	unsigned int slots;
	unsigned int spin_us;
	unsigned int put_timeout_ms;
	unsigned int reconnect_timeout_s;
	unsigned int dead_after_s;
	bool preswap;
	unsigned int flush_delay_ms;
	unsigned int size_mb;
	char *backing;
	char *mode;
};

extern struct tmem_params tmem_params;

/* Counters, one set a CPU; tmem_stats.c has the names under which they are shown. */
struct tmem_stats {
	/* preswap, under the names of the old driver */
	u64 loads;
	u64 succ_stores;
	u64 failed_stores;
	u64 invalidates;
	/* preswap, ours */
	u64 lost_pages;
	u64 backing_writes;
	u64 backing_reads;
	u64 zero_reads;
	u64 write_errors;
	/* connection */
	u64 requests;
	u64 kicks;
	u64 interrupts;
	u64 spurious_interrupts;
	u64 spins;
	u64 sleeps;
	u64 abandoned_puts;
	u64 flush_requests;
	u64 flushed_pages;
	u64 superseded_flushes;
};

enum tmem_state {
	TMEM_DOWN, /* not connected, maybe later */
	TMEM_UP,
	TMEM_DEAD, /* the host broke the protocol or fell silent: until an administrator says so */
};

struct tmem {
	/* written under mutex, read anywhere */
	enum tmem_state state;
	wait_queue_head_t state_wait;

	/*
	 * Constant while a queue is up. Queues are allocated when first needed and stay until the
	 * module goes; those at and above nr_queues are not in use.
	 */
	unsigned int nr_queues;
	unsigned int max_batch; /* pages a request */
	struct tmem_queue *queue[TMEMIF_MAX_QUEUES];

	/* Refused and late pages have another place to go to: a put may be given up. */
	bool may_give_up_puts;

	struct tmem_stats __percpu *stats;

	/*
	 * Two workqueues, because work that waits for the host must not keep those from running
	 * that find out that the host is gone.
	 */
	struct workqueue_struct *control; /* the watchdog, death, users' start */
	struct workqueue_struct *data; /* flushes, refused writes */
	struct work_struct death;
	struct work_struct start;
	struct delayed_work watchdog;

	/* tmem_front.c */
	struct mutex mutex;
	struct xenbus_device *xdev; /* NULL if the host has no device for us */
	int stage;
	unsigned long silent_since; /* watchdog's own: told that the host does not answer */
	bool told_silence;
	atomic_t doomed; /* the first reason for death wins */
};

#define tmem_count(tmem, counter, n) this_cpu_add((tmem)->stats->counter, (n))

/* ---- tmem_front.c ---- */

int tmem_front_register(struct tmem *tmem);
/* Leaves the connection, with all its pages given back, and the bus. */
void tmem_front_unregister(void);

/*
 * The host broke the protocol, or does not answer: everything outstanding fails, and everything
 * to come, until an administrator asks to reconnect. From any context; acts a little later.
 */
void tmem_front_condemn(struct tmem *tmem, const char *reason);

/*
 * Waits until the connection is up.
 * Returns 0; -EIO if it is dead or did not come back within reconnect_timeout_s. May sleep.
 */
int tmem_front_wait_up(struct tmem *tmem);

/* ---- tmem_stats.c ---- */

void tmem_stats_init(struct tmem *tmem);
void tmem_stats_exit(void);

#endif /* TMEM_H */
