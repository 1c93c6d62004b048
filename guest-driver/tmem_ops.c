// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The operations, from pages to requests and back. tmem_ops.h has the contract, and the argument
 * why a late flush cannot overtake a put.
 *
 * Context: process context, except for the completion of flushes. No locks are held on entry
 * but page locks; nothing is allocated.
 */
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/wait_bit.h>

#include "compat.h"
#include "tmem_ops.h"

/* An oid that no user of tmem has: a flush of it asks whether the pool exists. */
#define TMEM_PROBE_OID { .word = { ~0ull, ~0ull, ~0ull } }

#define TMEM_DESTROY_TIMEOUT (5 * HZ)

static struct tmem_queue *queue_of(struct tmem *tmem, const struct tmemif_oid *oid)
{
	unsigned int nr = READ_ONCE(tmem->nr_queues);

	return nr ? tmem->queue[(u32)(oid->word[0] + oid->word[1]) % nr] : NULL;
}

/*
 * Takes a request from the object's queue. Which queue that is may change while we wait for one,
 * with a new connection; not while we hold a request.
 */
static struct tmem_req *take(struct tmem *tmem, const struct tmemif_oid *oid, u8 op,
			     unsigned int nr, unsigned long timeout)
{
	for (;;) {
		struct tmem_queue *q = queue_of(tmem, oid);
		struct tmem_req *req;

		if (!q)
			return ERR_PTR(-ENOTCONN);
		req = tmem_req_take(q, op, nr, timeout);
		if (IS_ERR(req) || queue_of(tmem, oid) == q)
			return req;
		tmem_req_release(req);
	}
}

static void send_alone(struct tmem_req *req, struct tmemif_request *wire)
{
	unsigned long flags = tmem_queue_lock(req->queue);

	tmem_req_send(req, wire);
	tmem_queue_unlock(req->queue, flags);
}

/* Sends a request without pages and waits for its status. */
static int call(struct tmem *tmem, struct tmemif_request *wire, const struct tmemif_oid *oid,
		unsigned long timeout)
{
	struct tmem_req *req = take(tmem, oid, wire->op, 1, timeout);
	int status;

	if (IS_ERR(req))
		return PTR_ERR(req);
	send_alone(req, wire);
	if (!tmem_req_wait(req, timeout) && tmem_req_give_up(req))
		return -ETIMEDOUT;
	status = req->status;
	tmem_req_release(req);
	return status;
}

int tmem_new_pool(struct tmem *tmem, u32 flags)
{
	const struct tmemif_oid any = {};
	struct tmemif_request wire = {
		.op = TMEMIF_OP_NEW_POOL,
		.u.new_pool.flags = flags | TMEMIF_SPEC_VERSION << TMEMIF_POOL_VERSION_SHIFT,
	};

	return call(tmem, &wire, &any, MAX_SCHEDULE_TIMEOUT);
}

void tmem_destroy_pool(struct tmem *tmem, u32 pool)
{
	const struct tmemif_oid any = {};
	struct tmemif_request wire = { .op = TMEMIF_OP_DESTROY_POOL, .pool = pool };

	call(tmem, &wire, &any, TMEM_DESTROY_TIMEOUT);
}

int tmem_pool_exists(struct tmem *tmem, u32 pool)
{
	const struct tmemif_oid oid = TMEM_PROBE_OID;
	struct tmemif_request wire = {
		.op = TMEMIF_OP_FLUSH_PAGE,
		.pool = pool,
		.u.page = { .oid = oid, .nr_pages = 1 },
	};
	int status = call(tmem, &wire, &oid, MAX_SCHEDULE_TIMEOUT);

	return status == -ENOTCONN ? status : status != -TMEMIF_ENODEV;
}

static void fill_page_request(struct tmemif_request *wire, const struct tmem_req *req,
			      const struct tmem_object *object, u32 index)
{
	*wire = (struct tmemif_request) {
		.op = req->op,
		.pool = READ_ONCE(object->pool->id),
		.u.page = {
			.oid = object->oid,
			.index = index,
			.slot = req->nr_slots ? req->slot : 0,
			.nr_pages = req->nr_pages,
		},
	};
}

static void copy_in(const struct tmem_req *req, struct page *page)
{
	unsigned int k;

	for (k = 0; k < req->nr_slots; k++) {
		void *from = tmem_compat_map(page + k);

		copy_page(tmem_req_slot(req, k), from);
		tmem_compat_unmap(from);
	}
}

static void copy_out(const struct tmem_req *req, struct page *page)
{
	unsigned int k;

	for (k = 0; k < req->nr_slots; k++) {
		void *to = tmem_compat_map(page + k);

		copy_page(to, tmem_req_slot(req, k));
		tmem_compat_unmap(to);
	}
}

/* ---- get ---- */

/* One request's worth. Returns the number of pages got, or a negative error. */
static int get_some(struct tmem *tmem, const struct tmem_object *object, u32 index,
		    struct page *page, unsigned int nr)
{
	struct tmemif_request wire;
	struct tmem_req *req;
	int status;

	req = take(tmem, &object->oid, TMEMIF_OP_GET_PAGE, min(nr, READ_ONCE(tmem->max_batch)),
		   MAX_SCHEDULE_TIMEOUT);
	if (IS_ERR(req))
		return PTR_ERR(req);
	fill_page_request(&wire, req, object, index);
	send_alone(req, &wire);
	tmem_req_wait(req, MAX_SCHEDULE_TIMEOUT);
	status = req->status;
	if (status == req->nr_pages)
		copy_out(req, page);
	else if (status >= 0 || status == -TMEMIF_EEMPTY || status == -TMEMIF_ENODEV)
		status = -ENOENT;
	else if (status != -ENOTCONN)
		status = -EIO;
	tmem_req_release(req);
	return status;
}

int tmem_get_pages(struct tmem *tmem, const struct tmem_object *object, u32 index,
		   struct page *page, unsigned int nr)
{
	while (nr) {
		int got = get_some(tmem, object, index, page, nr);

		if (got == -ENOTCONN)
			got = tmem_front_wait_up(tmem);
		if (got < 0)
			return got;
		index += got;
		page += got;
		nr -= got;
	}
	return 0;
}

/* ---- put ---- */

static unsigned long put_timeout(struct tmem *tmem)
{
	unsigned int ms = READ_ONCE(tmem_params.put_timeout_ms);

	return READ_ONCE(tmem->may_give_up_puts) && ms ? msecs_to_jiffies(ms) + 1
						       : MAX_SCHEDULE_TIMEOUT;
}

/* Queue locked: from here on the flushes that were due for these pages are of no use. */
static void supersede_flushes(struct tmem *tmem, const struct tmem_object *object, u32 index,
			      unsigned int nr)
{
	unsigned int k;

	for (k = index; k < index + nr; k++)
		if (test_and_clear_bit(k, object->stale))
			tmem_count(tmem, superseded_flushes, 1);
}

static void send_put(struct tmem *tmem, struct tmem_req *req, const struct tmem_object *object,
		     u32 index)
{
	struct tmemif_request wire;
	unsigned long flags;

	fill_page_request(&wire, req, object, index);
	flags = tmem_queue_lock(req->queue);
	supersede_flushes(tmem, object, index, req->nr_pages);
	tmem_req_send(req, &wire);
	tmem_queue_unlock(req->queue, flags);
}

int tmem_put_pages(struct tmem *tmem, const struct tmem_object *object, u32 index,
		   struct page *page, unsigned int nr, tmem_complete_fn *complete, void *data,
		   void *more)
{
	struct tmem_req *req;

	req = take(tmem, &object->oid, TMEMIF_OP_PUT_PAGE, min(nr, READ_ONCE(tmem->max_batch)),
		   put_timeout(tmem));
	if (IS_ERR(req))
		return PTR_ERR(req);
	nr = req->nr_pages;
	copy_in(req, page);
	req->complete = complete;
	req->data = data;
	req->more = more;
	req->index = index;
	send_put(tmem, req, object, index);
	return nr;
}

void tmem_spin_until(struct tmem *tmem, const struct tmem_object *object, const atomic_t *count,
		     int until)
{
	struct tmem_queue *q = queue_of(tmem, &object->oid);

	if (q)
		tmem_queue_spin_until(q, count, until);
}

int tmem_put_page_wait(struct tmem *tmem, const struct tmem_object *object, u32 index,
		       struct page *page, bool *now_stale)
{
	unsigned long timeout = put_timeout(tmem);
	struct tmem_req *req;
	int status;

	*now_stale = false;
	req = take(tmem, &object->oid, TMEMIF_OP_PUT_PAGE, 1, timeout);
	if (IS_ERR(req))
		return PTR_ERR(req);
	copy_in(req, page);
	send_put(tmem, req, object, index);
	if (!tmem_req_wait(req, timeout) && tmem_req_give_up(req)) {
		tmem_count(tmem, abandoned_puts, 1);
		status = -ETIMEDOUT;
	} else {
		status = req->status == 1 ? 0 : req->status;
		tmem_req_release(req);
	}
	if (status == -ETIMEDOUT || status == -ENOTCONN) {
		set_bit(index, object->stale);
		*now_stale = true;
	}
	return status;
}

/* ---- flush ---- */

/*
 * Queue locked: claims the next run of stale pages, or all of the object if all of it is.
 * Returns false if nothing is due.
 */
static bool claim_flush(struct tmem *tmem, const struct tmem_object *object, struct tmem_req *req)
{
	unsigned long first = find_first_bit(object->stale, object->nr_indexes);
	unsigned int most = READ_ONCE(tmem->max_batch);
	unsigned int nr = 0;

	if (first >= object->nr_indexes)
		return false;
	if (!first && bitmap_full(object->stale, object->nr_indexes)) {
		bitmap_zero(object->stale, object->nr_indexes);
		req->op = TMEMIF_OP_FLUSH_OBJECT;
		nr = object->nr_indexes;
	} else {
		while (nr < most && first + nr < object->nr_indexes &&
		       test_and_clear_bit(first + nr, object->stale))
			nr++;
	}
	req->index = first;
	req->nr_pages = nr;
	return true;
}

static void flush_done(struct tmem_req *req)
{
	struct tmem_object *object = req->data;
	struct tmem *tmem = req->queue->tmem;
	unsigned int k;

	/*
	 * Nothing was sent on this connection after the flush and answered, so that no put of these
	 * pages has succeeded since; those that failed are sent again on another connection.
	 */
	if (req->status == -ENOTCONN) {
		for (k = 0; k < req->nr_pages; k++)
			set_bit(req->index + k, object->stale);
		object->flush_failed(object);
	} else {
		tmem_count(tmem, flushed_pages, req->nr_pages);
	}
	if (atomic_dec_and_test(&object->flushing))
		wake_up_var(&object->flushing);
}

static void fill_flush_request(struct tmemif_request *wire, const struct tmem_req *req,
			       const struct tmem_object *object)
{
	if (req->op == TMEMIF_OP_FLUSH_PAGE) {
		fill_page_request(wire, req, object, req->index);
		return;
	}
	*wire = (struct tmemif_request) {
		.op = TMEMIF_OP_FLUSH_OBJECT,
		.pool = READ_ONCE(object->pool->id),
		.u.object.oid = object->oid,
	};
}

/* Sends one flush. Returns 1 if there was anything to flush, 0 if not, or -ENOTCONN. */
static int flush_some(struct tmem *tmem, struct tmem_object *object)
{
	struct tmemif_request wire;
	struct tmem_req *req;
	unsigned long flags;
	bool due;

	req = take(tmem, &object->oid, TMEMIF_OP_FLUSH_PAGE, 1, MAX_SCHEDULE_TIMEOUT);
	if (IS_ERR(req))
		return PTR_ERR(req);
	flags = tmem_queue_lock(req->queue);
	due = claim_flush(tmem, object, req);
	if (due) {
		atomic_inc(&object->flushing);
		req->complete = flush_done;
		req->data = object;
		fill_flush_request(&wire, req, object);
		tmem_req_send(req, &wire);
		tmem_count(tmem, flush_requests, 1);
	}
	tmem_queue_unlock(req->queue, flags);
	if (!due)
		tmem_req_release(req);
	return due;
}

int tmem_flush_stale(struct tmem *tmem, struct tmem_object *object)
{
	int sent;

	do {
		if (find_first_bit(object->stale, object->nr_indexes) >= object->nr_indexes)
			return 0;
		sent = flush_some(tmem, object);
	} while (sent > 0);
	return sent;
}

void tmem_wait_for_flushes(struct tmem_object *object)
{
	wait_var_event(&object->flushing, !atomic_read(&object->flushing));
}
