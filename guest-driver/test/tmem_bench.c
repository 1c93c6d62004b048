// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a round trip on the ring costs, and on a ring that is nothing but polled (echo_page.h), by
 * turns, so that whatever else slows the machine slows both.
 *
 *   insmod tmem_bench.ko [trips=N] [rounds=N]
 *
 * connects to the host with one queue of the real frontend's, offers the echo's page, waits for
 * somebody to poll it, and prints one line, "tmem_bench: ring_ns=... polled_ns=...": the medians of
 * the rounds' averages; or "tmem_bench: FAIL ...". The request is the least that there is: a flush
 * of an object in a pool that does not exist.
 *
 * Context: xenbus calls in process context; the measurement runs on a workqueue, once.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <xen/page.h>
#include <xen/xen.h>

#include "../compat.h"
#include "../tmem_queue.h"
#include "echo_page.h"

#define PATIENCE (60 * HZ)
#define MAX_ROUNDS 32u
#define NO_POOL (TMEMIF_MAX_POOLS - 1)

static unsigned int trips = 2000;
module_param(trips, uint, 0444);
MODULE_PARM_DESC(trips, "round trips of each kind in a round (2000)");
static unsigned int rounds = 7;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "rounds (7, at most 32)");

/* Nobody sleeps as long as there are answers: what is measured is the ring, not the scheduler. */
struct tmem_params tmem_params = { .spin_us = 10000 };

struct bench {
	struct tmem tmem;
	struct xenbus_device *xdev;
	struct tmem_queue *q;
	struct echo_page *echo;
	grant_ref_t echo_ref;
	bool offered;
	bool started;
	struct work_struct work;
	u64 ring_ns[MAX_ROUNDS];
	u64 polled_ns[MAX_ROUNDS];
};

/* The real frontend's queue calls this when the host breaks the protocol. */
void tmem_front_condemn(struct tmem *tmem, const char *reason)
{
	pr_info("tmem_bench: FAIL %s\n", reason);
}

static bool ring_trip(struct bench *bench)
{
	struct tmemif_request wire = { .op = TMEMIF_OP_FLUSH_OBJECT, .pool = NO_POOL };
	struct tmem_req *req = tmem_req_take(bench->q, wire.op, 1, PATIENCE);
	unsigned long flags;
	bool good;

	if (IS_ERR(req))
		return false;
	flags = tmem_queue_lock(bench->q);
	tmem_req_send(req, &wire);
	tmem_queue_unlock(bench->q, flags);
	if (!tmem_req_wait(req, PATIENCE) && tmem_req_give_up(req))
		return false;
	good = req->status == -TMEMIF_ENODEV;
	tmem_req_release(req);
	return good;
}

static bool polled_trip(struct bench *bench)
{
	struct echo_page *echo = bench->echo;
	unsigned long until = jiffies + PATIENCE;
	u32 number = echo->asked + 1;

	WRITE_ONCE(echo->asked, number);
	while (READ_ONCE(echo->answered) != number) {
		cpu_relax();
		if (time_after(jiffies, until))
			return false;
	}
	return true;
}

/* The average of a round; 0 if a trip failed. */
static u64 measure(struct bench *bench, bool (*trip)(struct bench *bench))
{
	u64 start = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < trips; i++) {
		if (!trip(bench))
			return 0;
		cond_resched();
	}
	return max(div_u64(ktime_get_ns() - start, trips), 1ull);
}

/* Waits until the host has done as told. */
static bool tell_echo(struct bench *bench, enum echo_state wanted)
{
	unsigned long until = jiffies + PATIENCE;

	WRITE_ONCE(bench->echo->wanted, wanted);
	while (READ_ONCE(bench->echo->state) != wanted) {
		if (time_after(jiffies, until))
			return false;
		msleep(20);
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	u64 left = *(const u64 *)a, right = *(const u64 *)b;

	return left < right ? -1 : left > right;
}

static u64 median(u64 *values)
{
	sort(values, rounds, sizeof(*values), compare, NULL);
	return values[rounds / 2];
}

static const char *run(struct bench *bench)
{
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		if (!tell_echo(bench, ECHO_RESTS))
			return "nobody rests at the echo's page";
		bench->ring_ns[i] = measure(bench, ring_trip);
		if (!bench->ring_ns[i])
			return "no right answer on the ring";
		if (!tell_echo(bench, ECHO_POLLS))
			return "nobody polls the echo's page";
		bench->polled_ns[i] = measure(bench, polled_trip);
		if (!bench->polled_ns[i])
			return "no answer from the echo";
	}
	return NULL;
}

static void bench_work(struct work_struct *work)
{
	struct bench *bench = container_of(work, struct bench, work);
	const char *failure;

	tmem_queue_up(bench->q);
	failure = run(bench);
	tell_echo(bench, ECHO_ENDS);
	if (failure)
		pr_info("tmem_bench: FAIL %s\n", failure);
	else
		pr_info("tmem_bench: ring_ns=%llu polled_ns=%llu\n", median(bench->ring_ns),
			median(bench->polled_ns));
}

/* ---- the handshake ---- */

static int grant_echo(struct bench *bench)
{
	int ref = gnttab_grant_foreign_access(bench->xdev->otherend_id,
					      xen_page_to_gfn(virt_to_page(bench->echo)), 0);

	if (ref < 0)
		return ref;
	bench->echo_ref = ref;
	return 0;
}

static void offer(struct bench *bench)
{
	const char *nodename = bench->xdev->nodename;

	if (grant_echo(bench) || tmem_queue_offer(bench->q, bench->xdev, 0, 1)) {
		pr_info("tmem_bench: FAIL no memory, grants or event channel\n");
		return;
	}
	bench->offered = true;
	xenbus_printf(XBT_NIL, nodename, ECHO_KEY, "%u", bench->echo_ref);
	xenbus_printf(XBT_NIL, nodename, "version", "%u", TMEMIF_VERSION);
	xenbus_printf(XBT_NIL, nodename, "num-queues", "1");
	xenbus_printf(XBT_NIL, nodename, "ring-page-order", "0");
	xenbus_printf(XBT_NIL, nodename, "num-slots", "1");
	xenbus_printf(XBT_NIL, nodename, "feature-posted-put", "0");
	xenbus_printf(XBT_NIL, nodename, "queue-0/directory-ref", "%u",
		      tmem_queue_directory(bench->q));
	xenbus_printf(XBT_NIL, nodename, "queue-0/event-channel", "%u", bench->q->port);
	xenbus_switch_state(bench->xdev, XenbusStateInitialised);
}

static void bench_changed(struct xenbus_device *xdev, enum xenbus_state state)
{
	struct bench *bench = dev_get_drvdata(&xdev->dev);

	if (state == XenbusStateInitWait && !bench->offered)
		offer(bench);
	if (state != XenbusStateConnected || !bench->offered || bench->started)
		return;
	bench->started = true;
	xenbus_switch_state(xdev, XenbusStateConnected);
	queue_work(system_unbound_wq, &bench->work);
}

static void free_bench(struct bench *bench)
{
	if (bench->echo_ref)
		tmem_compat_end_grant(bench->echo_ref, virt_to_page(bench->echo));
	else if (bench->echo)
		free_page((unsigned long)bench->echo);
	if (bench->q)
		tmem_queue_destroy(bench->q);
	free_percpu(bench->tmem.stats);
	kfree(bench);
}

static int bench_probe(struct xenbus_device *xdev, const struct xenbus_device_id *id)
{
	struct bench *bench = kzalloc(sizeof(*bench), GFP_KERNEL);

	if (!bench)
		return -ENOMEM;
	bench->xdev = xdev;
	bench->tmem.stats = alloc_percpu(struct tmem_stats);
	bench->echo = (struct echo_page *)get_zeroed_page(GFP_KERNEL);
	bench->q = tmem_queue_create(&bench->tmem, 0);
	if (!bench->tmem.stats || !bench->echo || !bench->q) {
		free_bench(bench);
		return -ENOMEM;
	}
	INIT_WORK(&bench->work, bench_work);
	dev_set_drvdata(&xdev->dev, bench);
	xenbus_switch_state(xdev, XenbusStateInitialising);
	return 0;
}

static void bench_remove(struct xenbus_device *xdev)
{
	struct bench *bench = dev_get_drvdata(&xdev->dev);
	unsigned long until = jiffies + 5 * HZ;

	cancel_work_sync(&bench->work);
	xenbus_switch_state(xdev, XenbusStateClosing);
	while (xenbus_read_driver_state(xdev->otherend) < XenbusStateClosing &&
	       time_before(jiffies, until))
		msleep(20);
	tmem_queue_down(bench->q);
	tmem_queue_withdraw(bench->q);
	free_bench(bench);
}

TMEM_COMPAT_REMOVE(bench_remove)

static const struct xenbus_device_id bench_ids[] = {
	{ "tmem" },
	{ "" },
};

static struct xenbus_driver bench_driver = {
	.name = "tmem_bench",
	.ids = bench_ids,
	.probe = bench_probe,
	.remove = TMEM_COMPAT_REMOVE_OP(bench_remove),
	.otherend_changed = bench_changed,
};

static int __init bench_init(void)
{
	if (!xen_domain() || !trips || !rounds || rounds > MAX_ROUNDS)
		return -EINVAL;
	return xenbus_register_frontend(&bench_driver);
}

static void __exit bench_exit(void)
{
	xenbus_unregister_driver(&bench_driver);
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_DESCRIPTION("Round trips on tmem's ring against a polled page, for tests");
MODULE_LICENSE("Dual MIT/GPL");
