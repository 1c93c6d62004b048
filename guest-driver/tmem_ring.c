// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A queue's memory: ring, data slots and directory pages, each page granted to the host, and the
 * event channel.
 *
 * Context: process context, under tmem->mutex; nothing here is called while requests are
 * outstanding.
 *
 * Every granted page is allocated for that alone and is zeroed: the host sees nothing else of
 * ours. A page is given back only once the host has let go of it, which the grant table code
 * waits for in the background if it must.
 */
#include <linux/bitmap.h>
#include <linux/interrupt.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/page.h>

#include "compat.h"
#include "tmem_queue.h"

static unsigned int ring_pages(const struct tmem_queue *q)
{
	return 1u << q->order;
}

struct tmem_queue *tmem_queue_create(struct tmem *tmem, unsigned int nr)
{
	struct tmem_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return NULL;
	q->tmem = tmem;
	q->nr = nr;
	q->irq = -1;
	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->free);
	init_waitqueue_head(&q->room);
	return q;
}

void tmem_queue_destroy(struct tmem_queue *q)
{
	kfree(q);
}

grant_ref_t tmem_queue_directory(const struct tmem_queue *q)
{
	return q->grants[ring_pages(q) + q->nr_slots].ref;
}

static int alloc_requests(struct tmem_queue *q)
{
	unsigned int i;

	q->reqs = kcalloc(q->entries, sizeof(*q->reqs), GFP_KERNEL);
	q->sent = kcalloc(q->entries, sizeof(*q->sent), GFP_KERNEL);
	q->slot_map = bitmap_zalloc(q->nr_slots, GFP_KERNEL);
	if (!q->reqs || !q->sent || !q->slot_map)
		return -ENOMEM;
	INIT_LIST_HEAD(&q->free);
	for (i = 0; i < q->entries; i++) {
		struct tmem_req *req = &q->reqs[i];

		req->queue = q;
		req->id = i;
		req->state = TMEM_REQ_FREE;
		init_completion(&req->answered);
		list_add_tail(&req->link, &q->free);
	}
	q->nr_free = q->entries;
	return 0;
}

/* The ring's pages are contiguous; all others stand alone. */
static int alloc_pages_to_grant(struct tmem_queue *q)
{
	unsigned int nr_ring = ring_pages(q);
	unsigned int nr_listed = nr_ring + q->nr_slots;
	unsigned int i;

	q->nr_grants = nr_listed + DIV_ROUND_UP(nr_listed, TMEMIF_DIRECTORY_REFS);
	q->grants = kcalloc(q->nr_grants, sizeof(*q->grants), GFP_KERNEL);
	if (!q->grants)
		return -ENOMEM;
	q->ring = alloc_pages_exact(TMEMIF_RING_BYTES(q->order), GFP_KERNEL | __GFP_ZERO);
	if (!q->ring)
		return -ENOMEM;
	for (i = 0; i < nr_ring; i++)
		q->grants[i].page = virt_to_page((char *)q->ring + i * PAGE_SIZE);
	for (i = nr_ring; i < q->nr_grants; i++) {
		q->grants[i].page = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!q->grants[i].page)
			return -ENOMEM;
	}
	return 0;
}

static int grant_pages(struct tmem_queue *q, domid_t host)
{
	unsigned int i;

	for (i = 0; i < q->nr_grants; i++) {
		unsigned long frame = xen_page_to_gfn(q->grants[i].page);
		int ref = gnttab_grant_foreign_access(host, frame, 0);

		if (ref < 0)
			return ref;
		q->grants[i].ref = ref;
	}
	return 0;
}

static void fill_directory(struct tmem_queue *q)
{
	unsigned int nr_listed = ring_pages(q) + q->nr_slots;
	unsigned int listed = 0, i, k;

	for (i = nr_listed; i < q->nr_grants; i++) {
		struct tmemif_directory *page = page_address(q->grants[i].page);

		page->next = i + 1 < q->nr_grants ? q->grants[i + 1].ref : TMEMIF_DIRECTORY_END;
		page->count = min(nr_listed - listed, TMEMIF_DIRECTORY_REFS);
		for (k = 0; k < page->count; k++)
			page->ref[k] = q->grants[listed++].ref;
	}
}

static int bind_channel(struct tmem_queue *q, struct xenbus_device *xdev)
{
	int irq, err;

	err = xenbus_alloc_evtchn(xdev, &q->port);
	if (err)
		return err;
	irq = bind_evtchn_to_irqhandler_lateeoi(q->port, tmem_queue_interrupt, 0, TMEM_NAME, q);
	if (irq < 0) {
		xenbus_free_evtchn(xdev, q->port);
		return irq;
	}
	q->irq = irq;
	return 0;
}

int tmem_queue_offer(struct tmem_queue *q, struct xenbus_device *xdev, unsigned int order,
		     unsigned int nr_slots)
{
	int err;

	q->order = order;
	q->entries = TMEMIF_RING_ENTRIES(order);
	q->nr_slots = nr_slots;
	q->put_reserve = nr_slots / 8;
	q->req_prod = 0;
	q->rsp_cons = 0;
	q->irq_cons = 0;

	err = alloc_requests(q);
	if (!err)
		err = alloc_pages_to_grant(q);
	if (!err)
		err = grant_pages(q, xdev->otherend_id);
	if (!err) {
		fill_directory(q);
		q->ring->rsp_event = 1;
		err = bind_channel(q, xdev);
	}
	if (err)
		tmem_queue_withdraw(q);
	return err;
}

void tmem_queue_withdraw(struct tmem_queue *q)
{
	unsigned int i;

	if (q->irq >= 0)
		unbind_from_irqhandler(q->irq, q);
	q->irq = -1;

	for (i = 0; i < q->nr_grants; i++) {
		struct tmem_grant *grant = &q->grants[i];

		if (grant->ref)
			tmem_compat_end_grant(grant->ref, grant->page);
		else if (grant->page)
			__free_page(grant->page);
	}
	kfree(q->grants);
	q->grants = NULL;
	q->nr_grants = 0;
	q->ring = NULL;

	bitmap_free(q->slot_map);
	q->slot_map = NULL;
	kfree(q->sent);
	q->sent = NULL;
	kfree(q->reqs);
	q->reqs = NULL;
	INIT_LIST_HEAD(&q->free);
}
