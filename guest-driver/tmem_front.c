// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The frontend's half of xenbus: offers queues, follows the backend's states, tears down, comes
 * back. docs/protocol.md has the table of states.
 *
 *               backend InitWait          backend Connected
 *      IDLE --------------------> OFFERED ------------------> LIVE
 *   (Initialising)             (Initialised)              (Connected)
 *       ^                            |                        |
 *       |  backend Closing, Closed   v                        v
 *       +<---------------------- LEAVING <--------------------+  backend Closing or Closed,
 *       |                       (Closing)                        or we condemn it
 *       v                            |
 *     (dead: Closed) <---------------+
 *
 * A backend that dies and comes back on the same store changes no state and is not seen here.
 *
 * Locking: tmem->mutex serializes everything in this file; it is taken in process context by
 * xenwatch, the control workqueue and whoever loads, unloads or writes to sysfs. Allocations
 * below it never wait for I/O, since this may be the way back to our own swap device.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <xen/xen.h>

#include "compat.h"
#include "preswap.h"

enum tmem_stage { IDLE, OFFERED, LIVE, LEAVING };

/* How long we wait for the host to let go of our pages; the grant table has patience after. */
#define CLOSE_TIMEOUT (5 * HZ)
#define WATCH_INTERVAL HZ

/* What both sides agree on. */
struct tmem_agreement {
	unsigned int queues;
	unsigned int order;
	unsigned int slots;
	unsigned int batch;
};

static struct tmem *the_tmem; /* xenbus calls us without a pointer of ours */

static void set_state(struct tmem *tmem, enum tmem_state state)
{
	WRITE_ONCE(tmem->state, state);
	wake_up_all(&tmem->state_wait);
}

/* ---- negotiation ---- */

static bool speaks_our_version(struct xenbus_device *xdev)
{
	char *versions = xenbus_read(XBT_NIL, xdev->otherend, "versions", NULL);
	char *rest = versions, *word;
	bool found = false;
	unsigned int version;

	if (IS_ERR(versions))
		return false;
	while ((word = strsep(&rest, " ")))
		found |= !kstrtouint(word, 10, &version) && version == TMEMIF_VERSION;
	kfree(versions);
	return found;
}

/* A limit of the host's, itself limited; 0 if there is no such key. */
static unsigned int read_limit(struct xenbus_device *xdev, const char *key, unsigned int most)
{
	return min(xenbus_read_unsigned(xdev->otherend, key, 0), most);
}

static int agree(struct xenbus_device *xdev, struct tmem_agreement *agreement)
{
	unsigned int max_queues = read_limit(xdev, "max-queues", TMEMIF_MAX_QUEUES);
	unsigned int max_order = read_limit(xdev, "max-ring-page-order",
					    TMEMIF_MAX_RING_PAGE_ORDER);
	unsigned int max_slots = read_limit(xdev, "max-slots", TMEMIF_MAX_SLOTS);
	unsigned int max_batch = read_limit(xdev, "max-batch", TMEMIF_MAX_BATCH);
	unsigned int queues = tmem_params.queues ?: min(num_online_cpus(), 4u);

	if (!speaks_our_version(xdev) || !max_queues || !max_slots || !max_batch) {
		xenbus_dev_error(xdev, -EPROTO, "the host speaks no protocol of ours");
		return -EPROTO;
	}
	agreement->queues = min(queues, max_queues);
	agreement->order = min(tmem_params.ring_page_order, max_order);
	agreement->slots = clamp(tmem_params.slots, 1u, max_slots);
	/* Several batches have to be under way at a time. */
	agreement->batch = clamp(agreement->slots / 4, 1u, max_batch);
	return 0;
}

static int write_keys(struct xenbus_device *xdev, struct tmem *tmem,
		      const struct tmem_agreement *agreement, struct xenbus_transaction xbt)
{
	unsigned int i;
	int err;

	err = xenbus_printf(xbt, xdev->nodename, "version", "%u", TMEMIF_VERSION);
	if (!err)
		err = xenbus_printf(xbt, xdev->nodename, "num-queues", "%u", agreement->queues);
	if (!err)
		err = xenbus_printf(xbt, xdev->nodename, "ring-page-order", "%u", agreement->order);
	if (!err)
		err = xenbus_printf(xbt, xdev->nodename, "num-slots", "%u", agreement->slots);
	if (!err)
		err = xenbus_printf(xbt, xdev->nodename, "feature-posted-put", "0");
	for (i = 0; !err && i < agreement->queues; i++) {
		struct tmem_queue *q = tmem->queue[i];
		char key[32];

		snprintf(key, sizeof(key), "queue-%u/directory-ref", i);
		err = xenbus_printf(xbt, xdev->nodename, key, "%u", tmem_queue_directory(q));
		snprintf(key, sizeof(key), "queue-%u/event-channel", i);
		if (!err)
			err = xenbus_printf(xbt, xdev->nodename, key, "%u", q->port);
	}
	return err;
}

static int publish(struct tmem *tmem, const struct tmem_agreement *agreement)
{
	struct xenbus_transaction xbt;
	int err;

	do {
		err = xenbus_transaction_start(&xbt);
		if (err)
			return err;
		err = write_keys(tmem->xdev, tmem, agreement, xbt);
		if (err) {
			xenbus_transaction_end(xbt, 1);
			return err;
		}
		err = xenbus_transaction_end(xbt, 0);
	} while (err == -EAGAIN);
	return err;
}

static void withdraw(struct tmem *tmem)
{
	unsigned int i;

	for (i = 0; i < tmem->nr_queues; i++)
		tmem_queue_withdraw(tmem->queue[i]);
	WRITE_ONCE(tmem->nr_queues, 0);
}

static int offer_queues(struct tmem *tmem, const struct tmem_agreement *agreement)
{
	unsigned int i;
	int err;

	for (i = 0; i < agreement->queues; i++) {
		if (!tmem->queue[i])
			tmem->queue[i] = tmem_queue_create(tmem, i);
		if (!tmem->queue[i])
			return -ENOMEM;
		err = tmem_queue_offer(tmem->queue[i], tmem->xdev, agreement->order,
				       agreement->slots);
		if (err)
			return err;
		WRITE_ONCE(tmem->nr_queues, i + 1);
	}
	return 0;
}

static void offer(struct tmem *tmem)
{
	struct tmem_agreement agreement;
	int err = agree(tmem->xdev, &agreement);

	if (err)
		return;
	tmem->max_batch = agreement.batch;
	err = offer_queues(tmem, &agreement);
	if (!err)
		err = publish(tmem, &agreement);
	if (err) {
		withdraw(tmem);
		xenbus_dev_error(tmem->xdev, err, "offering queues to the host");
		return;
	}
	tmem->stage = OFFERED;
	xenbus_switch_state(tmem->xdev, XenbusStateInitialised);
}

/* ---- up and down ---- */

static void go_live(struct tmem *tmem)
{
	unsigned int i;

	for (i = 0; i < tmem->nr_queues; i++)
		tmem_queue_up(tmem->queue[i]);
	tmem->stage = LIVE;
	xenbus_switch_state(tmem->xdev, XenbusStateConnected);
	set_state(tmem, TMEM_UP);
	dev_info(&tmem->xdev->dev, "connected, %u queues of %u slots\n", tmem->nr_queues,
		 tmem->queue[0]->nr_slots);
	queue_work(tmem->control, &tmem->start);
	mod_delayed_work(tmem->control, &tmem->watchdog, WATCH_INTERVAL);
}

/* Fails all that is outstanding. The host still has our pages. */
static void stop_traffic(struct tmem *tmem)
{
	unsigned int i;

	if (tmem->state == TMEM_UP)
		set_state(tmem, TMEM_DOWN);
	for (i = 0; i < tmem->nr_queues; i++)
		tmem_queue_down(tmem->queue[i]);
}

/* The host has let go of our pages: to be connected again, unless it is dead to us. */
static void left(struct tmem *tmem)
{
	withdraw(tmem);
	tmem->stage = IDLE;
	xenbus_switch_state(tmem->xdev, tmem->state == TMEM_DEAD ? XenbusStateClosed
								 : XenbusStateInitialising);
}

static void leave(struct tmem *tmem)
{
	stop_traffic(tmem);
	tmem->stage = LEAVING;
	xenbus_switch_state(tmem->xdev, XenbusStateClosing);
}

static void follow_backend(struct tmem *tmem, enum xenbus_state state)
{
	switch (state) {
	case XenbusStateInitWait:
		if (tmem->stage == IDLE && tmem->state != TMEM_DEAD)
			offer(tmem);
		break;
	case XenbusStateConnected:
		if (tmem->stage == OFFERED)
			go_live(tmem);
		break;
	case XenbusStateClosing:
	case XenbusStateClosed:
		if (tmem->stage == OFFERED || tmem->stage == LIVE) {
			dev_warn(&tmem->xdev->dev, "the host closed the connection\n");
			leave(tmem);
		}
		if (tmem->stage == LEAVING)
			left(tmem);
		break;
	default:
		break;
	}
}

static void tmem_front_changed(struct xenbus_device *xdev, enum xenbus_state state)
{
	struct tmem *tmem = dev_get_drvdata(&xdev->dev);
	unsigned int noio;

	mutex_lock(&tmem->mutex);
	noio = memalloc_noio_save();
	follow_backend(tmem, state);
	memalloc_noio_restore(noio);
	mutex_unlock(&tmem->mutex);
}

int tmem_front_wait_up(struct tmem *tmem)
{
	unsigned long timeout = READ_ONCE(tmem_params.reconnect_timeout_s) * HZ;

	/* In short naps, so that nobody takes us for hung. */
	while (READ_ONCE(tmem->state) == TMEM_DOWN && timeout) {
		unsigned long nap = min_t(unsigned long, timeout, 5 * HZ);

		wait_event_timeout(tmem->state_wait, READ_ONCE(tmem->state) != TMEM_DOWN, nap);
		timeout -= nap;
	}
	if (READ_ONCE(tmem->state) == TMEM_UP && !atomic_read(&tmem->doomed))
		return 0;
	if (READ_ONCE(tmem->state) == TMEM_UP)
		wait_event(tmem->state_wait, READ_ONCE(tmem->state) != TMEM_UP);
	return -EIO;
}

/* ---- death ---- */

void tmem_front_condemn(struct tmem *tmem, const char *reason)
{
	if (atomic_xchg(&tmem->doomed, 1))
		return;
	pr_err(TMEM_NAME ": the host is taken for dead: %s\n", reason);
	queue_work(tmem->control, &tmem->death);
}

static void die(struct work_struct *work)
{
	struct tmem *tmem = container_of(work, struct tmem, death);

	mutex_lock(&tmem->mutex);
	set_state(tmem, TMEM_DEAD);
	stop_traffic(tmem);
	if (tmem->xdev && tmem->stage == LIVE) {
		tmem->stage = LEAVING;
		xenbus_switch_state(tmem->xdev, XenbusStateClosing);
	}
	mutex_unlock(&tmem->mutex);
}

static void watch(struct work_struct *work)
{
	struct tmem *tmem = container_of(work, struct tmem, watchdog.work);
	unsigned long give_up = msecs_to_jiffies(READ_ONCE(tmem_params.put_timeout_ms));
	unsigned long fatal = READ_ONCE(tmem_params.dead_after_s) * HZ;
	unsigned long oldest = 0;
	unsigned int i;

	for (i = 0; i < READ_ONCE(tmem->nr_queues); i++) {
		struct tmem_queue *q = tmem->queue[i];

		oldest = max(oldest, tmem_queue_check(q));
		if (READ_ONCE(tmem->may_give_up_puts) && give_up)
			tmem_queue_give_up_puts(q, give_up);
	}
	if (oldest > 10 * HZ && !tmem->told_silence)
		pr_warn(TMEM_NAME ": the host has not answered for %lu s\n", oldest / HZ);
	if (oldest < HZ && tmem->told_silence)
		pr_info(TMEM_NAME ": the host answers again\n");
	tmem->told_silence = oldest > 10 * HZ || (tmem->told_silence && oldest >= HZ);
	if (fatal && oldest > fatal)
		tmem_front_condemn(tmem, "it has not answered for dead_after_s seconds");
	if (READ_ONCE(tmem->state) == TMEM_UP)
		queue_delayed_work(tmem->control, &tmem->watchdog, WATCH_INTERVAL);
}

/* ---- sysfs, in the xenbus device's directory ---- */

static ssize_t connection_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	static const char *const names[] = { "down", "up", "dead" };
	struct tmem *tmem = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%s\n", names[READ_ONCE(tmem->state)]);
}

static DEVICE_ATTR_RO(connection);

/* An administrator believes in the host again. */
static ssize_t reconnect_store(struct device *dev, struct device_attribute *attr, const char *buf,
			       size_t len)
{
	struct tmem *tmem = dev_get_drvdata(dev);

	mutex_lock(&tmem->mutex);
	if (tmem->state == TMEM_DEAD) {
		atomic_set(&tmem->doomed, 0);
		set_state(tmem, TMEM_DOWN);
		left(tmem);
	}
	mutex_unlock(&tmem->mutex);
	return len;
}

static DEVICE_ATTR_WO(reconnect);

static struct attribute *tmem_front_attrs[] = {
	&dev_attr_connection.attr,
	&dev_attr_reconnect.attr,
	NULL,
};
ATTRIBUTE_GROUPS(tmem_front);

/* ---- xenbus ---- */

static int tmem_front_probe(struct xenbus_device *xdev, const struct xenbus_device_id *id)
{
	struct tmem *tmem = the_tmem;
	int err = 0;

	mutex_lock(&tmem->mutex);
	if (tmem->xdev) {
		err = -EBUSY;
	} else {
		dev_set_drvdata(&xdev->dev, tmem);
		tmem->xdev = xdev;
		tmem->stage = IDLE;
		atomic_set(&tmem->doomed, 0);
		set_state(tmem, TMEM_DOWN);
		/* After an earlier unload the device is still Closed. */
		xenbus_switch_state(xdev, XenbusStateInitialising);
	}
	mutex_unlock(&tmem->mutex);
	return err;
}

/* We woke up somewhere else: neither grants nor event channels are what they were. */
static int tmem_front_resume(struct xenbus_device *xdev)
{
	struct tmem *tmem = dev_get_drvdata(&xdev->dev);
	unsigned int noio;

	mutex_lock(&tmem->mutex);
	noio = memalloc_noio_save();
	stop_traffic(tmem);
	withdraw(tmem);
	tmem->stage = IDLE;
	atomic_set(&tmem->doomed, 0);
	set_state(tmem, TMEM_DOWN);
	memalloc_noio_restore(noio);
	mutex_unlock(&tmem->mutex);
	return 0;
}

/* The watch on the backend is gone by now: looks for itself. */
static void wait_until_host_left(struct xenbus_device *xdev)
{
	unsigned long until = jiffies + CLOSE_TIMEOUT;

	while (time_before(jiffies, until)) {
		enum xenbus_state state = xenbus_read_driver_state(xdev->otherend);

		if (state == XenbusStateClosing || state == XenbusStateClosed ||
		    state == XenbusStateUnknown)
			return;
		schedule_timeout_uninterruptible(HZ / 50 + 1);
	}
	dev_warn(&xdev->dev, "the host does not let go of our pages\n");
}

static void tmem_front_remove(struct xenbus_device *xdev)
{
	struct tmem *tmem = dev_get_drvdata(&xdev->dev);

	mutex_lock(&tmem->mutex);
	/* Whoever waits for the host waits in vain, unless it makes a device for us again. */
	set_state(tmem, TMEM_DEAD);
	if (tmem->stage == LIVE)
		preswap_stop(tmem);
	if (tmem->stage != IDLE) {
		leave(tmem);
		wait_until_host_left(xdev);
	}
	withdraw(tmem);
	preswap_stopped();
	tmem->stage = IDLE;
	tmem->xdev = NULL;
	mutex_unlock(&tmem->mutex);
}

TMEM_COMPAT_REMOVE(tmem_front_remove)

static const struct xenbus_device_id tmem_front_ids[] = {
	{ "tmem" },
	{ "" },
};

static struct xenbus_driver tmem_front_driver = {
	.ids = tmem_front_ids,
	.probe = tmem_front_probe,
	.remove = TMEM_COMPAT_REMOVE_OP(tmem_front_remove),
	.resume = tmem_front_resume,
	.otherend_changed = tmem_front_changed,
#ifdef TMEM_COMPAT_NOT_ESSENTIAL
	.not_essential = true,
#endif
	.driver.dev_groups = tmem_front_groups,
};

int tmem_front_register(struct tmem *tmem)
{
	the_tmem = tmem;
	INIT_WORK(&tmem->death, die);
	INIT_DELAYED_WORK(&tmem->watchdog, watch);
	return xenbus_register_frontend(&tmem_front_driver);
}

void tmem_front_unregister(void)
{
	struct tmem *tmem = the_tmem;
	unsigned int i;

	xenbus_unregister_driver(&tmem_front_driver);
	cancel_work_sync(&tmem->death);
	cancel_delayed_work_sync(&tmem->watchdog);
	for (i = 0; i < TMEMIF_MAX_QUEUES; i++)
		tmem_queue_destroy(tmem->queue[i]);
}
