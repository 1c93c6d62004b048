// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The evil frontend: shakes hands, or tries to, commits its violation, and judges the host.
 *
 * Context: xenbus calls in process context; the violation runs on the system's workqueue, after
 * the host has spoken. There is one device and one violation in the module's life, so that no
 * locks are needed but what completion of the work gives.
 */
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/xen.h>

#include "../compat.h"
#include "tmem_evil.h"

#define PATIENCE (60 * HZ)

static char *violation;
module_param(violation, charp, 0444);
MODULE_PARM_DESC(violation, "what to do wrong; \"list\" prints the names");

static const struct violation *chosen;

/* The real frontend's queues call this one. */
irqreturn_t tmem_queue_interrupt(int irq, void *queue)
{
	struct tmem_queue *q = queue;

	wake_up_all(&q->room);
	xen_irq_lateeoi(irq, 0);
	return IRQ_HANDLED;
}

/* ---- the ring ---- */

void evil_kick(struct evil *evil)
{
	notify_remote_via_irq(evil->q->irq);
}

void evil_send(struct evil *evil, const struct tmemif_request *request)
{
	struct tmem_queue *q = evil->q;
	struct tmemif_request *ring = (void *)q->ring + TMEMIF_REQUESTS_OFFSET;

	ring[q->req_prod % q->entries] = *request;
	ring[q->req_prod % q->entries].id = q->req_prod;
	/* As a correct frontend does. */
	virt_store_release(&q->ring->req_prod, ++q->req_prod);
	evil_kick(evil);
}

static bool is_left(enum xenbus_state state)
{
	return state == XenbusStateClosing || state == XenbusStateClosed;
}

static bool host_left(struct evil *evil)
{
	return is_left(READ_ONCE(evil->host));
}

int evil_receive(struct evil *evil, struct tmemif_response *response)
{
	struct tmem_queue *q = evil->q;
	struct tmemif_response *ring = (void *)q->ring + TMEMIF_RESPONSES_OFFSET(q->order);
	unsigned long until = jiffies + PATIENCE;

	while (READ_ONCE(q->ring->rsp_prod) == q->rsp_cons) {
		if (host_left(evil))
			return -1;
		if (time_after(jiffies, until))
			return 0;
		WRITE_ONCE(q->ring->rsp_event, q->rsp_cons + 1);
		wait_event_timeout(q->room, READ_ONCE(q->ring->rsp_prod) != q->rsp_cons ||
				   host_left(evil), HZ / 10);
	}
	*response = ring[q->rsp_cons++ % q->entries];
	return 1;
}

/* ---- the verdict ---- */

static void say(struct evil *evil, bool good, const char *what, const char *detail)
{
	pr_info("tmem_evil: %s: %s %s%s%s\n", evil->violation->name, good ? "PASS" : "FAIL", what,
		detail ? ": " : "", detail ?: "");
}

static void judge_closing(struct evil *evil)
{
	char *reason;

	if (!wait_event_timeout(evil->wait, READ_ONCE(evil->host) == XenbusStateClosed, PATIENCE)) {
		say(evil, false, "the host did not close the connection", NULL);
		return;
	}
	reason = xenbus_read(XBT_NIL, evil->xdev->otherend, "error", NULL);
	if (IS_ERR(reason)) {
		say(evil, false, "the host closed without telling why", NULL);
		return;
	}
	say(evil, true, "closed", reason);
	kfree(reason);
}

static void judge_answer(struct evil *evil)
{
	struct tmemif_response response = {};
	char status[16];
	int got = evil_receive(evil, &response);

	if (got != 1) {
		say(evil, false, got ? "the host closed the connection" : "no answer", NULL);
		return;
	}
	snprintf(status, sizeof(status), "%d", response.status);
	say(evil, response.status == evil->violation->status, "answered", status);
}

/* An ordinary request after all that came before is answered, unless the host left. */
static void judge_life(struct evil *evil)
{
	const struct tmemif_request flush = {
		.op = TMEMIF_OP_FLUSH_OBJECT,
		.pool = 15,
	};
	struct tmemif_response response;
	int got = 1;

	while (got == 1 && evil->q->rsp_cons != evil->q->req_prod)
		got = evil_receive(evil, &response);
	if (got == 1) {
		evil_send(evil, &flush);
		got = evil_receive(evil, &response);
	}
	if (got == 1)
		say(evil, true, "still served", NULL);
	else if (got == -1)
		judge_closing(evil);
	else
		say(evil, false, "no answer", NULL);
}

static void act(struct work_struct *work)
{
	struct evil *evil = container_of(work, struct evil, act);
	const struct violation *v = evil->violation;

	if (v->key || v->directory) {
		judge_closing(evil);
		return;
	}
	if (READ_ONCE(evil->host) != XenbusStateConnected) {
		say(evil, false, "the host refused a correct handshake", NULL);
		return;
	}
	if (v->ring)
		v->ring(evil);
	else
		evil_send(evil, &v->request);
	switch (v->reaction) {
	case CLOSES:
		judge_closing(evil);
		break;
	case ANSWERS:
		judge_answer(evil);
		break;
	case LIVES:
		judge_life(evil);
		break;
	}
}

/* ---- the handshake ---- */

static void write_key(struct evil *evil, const char *key, unsigned int value)
{
	const struct violation *v = evil->violation;
	const char *nodename = evil->xdev->nodename;

	if (!v->key || strcmp(v->key, key))
		xenbus_printf(XBT_NIL, nodename, key, "%u", value);
	else if (v->value)
		xenbus_printf(XBT_NIL, nodename, key, "%s", v->value);
	else
		xenbus_rm(XBT_NIL, nodename, key);
}

static void offer(struct evil *evil)
{
	int err;

	evil->order = 0;
	evil->slots = 16;
	err = tmem_queue_offer(evil->q, evil->xdev, evil->order, evil->slots);
	if (err) {
		say(evil, false, "no memory, grants or event channel", NULL);
		return;
	}
	evil->offered = true;
	if (evil->violation->directory)
		evil->violation->directory(evil,
			page_address(evil->q->grants[evil->q->nr_grants - 1].page));
	write_key(evil, "version", TMEMIF_VERSION);
	write_key(evil, "num-queues", 1);
	write_key(evil, "ring-page-order", evil->order);
	write_key(evil, "num-slots", evil->slots);
	write_key(evil, "feature-posted-put", 0);
	write_key(evil, "queue-0/directory-ref", tmem_queue_directory(evil->q));
	write_key(evil, "queue-0/event-channel", evil->q->port);
	xenbus_switch_state(evil->xdev, XenbusStateInitialised);
}

static void evil_changed(struct xenbus_device *xdev, enum xenbus_state state)
{
	struct evil *evil = dev_get_drvdata(&xdev->dev);

	WRITE_ONCE(evil->host, state);
	wake_up_all(&evil->wait);
	wake_up_all(&evil->q->room);
	if (state == XenbusStateInitWait && !evil->offered)
		offer(evil);
	if (!evil->offered)
		return;
	/* Who loads the module waits until the device has come to one of these. */
	if (state == XenbusStateConnected)
		xenbus_switch_state(xdev, XenbusStateConnected);
	else if (host_left(evil))
		xenbus_switch_state(xdev, XenbusStateClosed);
	if ((state == XenbusStateConnected || host_left(evil)) && !evil->acted) {
		evil->acted = true;
		schedule_work(&evil->act);
	}
}

static int evil_probe(struct xenbus_device *xdev, const struct xenbus_device_id *id)
{
	struct evil *evil = kzalloc(sizeof(*evil), GFP_KERNEL);

	if (!evil)
		return -ENOMEM;
	evil->q = tmem_queue_create(NULL, 0);
	if (!evil->q) {
		kfree(evil);
		return -ENOMEM;
	}
	evil->xdev = xdev;
	evil->violation = chosen;
	init_waitqueue_head(&evil->wait);
	INIT_WORK(&evil->act, act);
	dev_set_drvdata(&xdev->dev, evil);
	xenbus_switch_state(xdev, XenbusStateInitialising);
	return 0;
}

static void evil_remove(struct xenbus_device *xdev)
{
	struct evil *evil = dev_get_drvdata(&xdev->dev);
	unsigned long until = jiffies + 5 * HZ;

	xenbus_switch_state(xdev, XenbusStateClosing);
	cancel_work_sync(&evil->act);
	while (!is_left(xenbus_read_driver_state(xdev->otherend)) && time_before(jiffies, until))
		schedule_timeout_uninterruptible(HZ / 50 + 1);
	tmem_queue_withdraw(evil->q);
	tmem_queue_destroy(evil->q);
	kfree(evil);
}

TMEM_COMPAT_REMOVE(evil_remove)

static const struct xenbus_device_id evil_ids[] = {
	{ "tmem" },
	{ "" },
};

static struct xenbus_driver evil_driver = {
	.name = "tmem_evil",
	.ids = evil_ids,
	.probe = evil_probe,
	.remove = TMEM_COMPAT_REMOVE_OP(evil_remove),
	.otherend_changed = evil_changed,
};

static int __init evil_init(void)
{
	unsigned int i;

	if (!xen_domain() || !violation)
		return -EINVAL;
	for (i = 0; i < nr_violations; i++) {
		if (!strcmp(violation, "list"))
			pr_info("tmem_evil: list %s\n", violations[i].name);
		if (!strcmp(violation, violations[i].name))
			chosen = &violations[i];
	}
	if (!chosen)
		return strcmp(violation, "list") ? -EINVAL : 0;
	return xenbus_register_frontend(&evil_driver);
}

static void __exit evil_exit(void)
{
	if (chosen)
		xenbus_unregister_driver(&evil_driver);
}

module_init(evil_init);
module_exit(evil_exit);

MODULE_DESCRIPTION("A tmem frontend that breaks the protocol, for tests");
MODULE_LICENSE("Dual MIT/GPL");
