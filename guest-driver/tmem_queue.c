// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A queue's traffic: requests go out, responses come in, and somebody waits for them.
 *
 * The ring is shared with a host that is trusted with our pages (it must be: persistent ones are
 * only there) but not with our kernel. From the ring we read rsp_prod, req_event and the
 * responses, each word once; our own indices are never read back. Responses come in the order
 * of the requests, so that `sent` tells which request each one must answer; id, status and
 * done are checked against that request, and a slot's contents are only ever copied to the page
 * that asked for it. Whatever does not fit condemns the connection.
 *
 * Waiting: whoever waits for an answer spins for a while that adapts to how long answers have
 * taken lately, taking in all answers that come, for others too; then it sleeps and asks to be
 * notified. Requests with a callback ask for a notification when half of what is outstanding is
 * answered: nobody waits for one of them in particular.
 *
 * Interrupts use late EOI, and those that bring nothing are reported as spurious, so that a host
 * which floods us with events is throttled (XSA-332).
 */
#include <linux/bitmap.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <xen/events.h>
#include <xen/interface/io/ring.h>

#include "tmem_queue.h"

/* Sleepers look up this often, so that nobody takes them for hung while a host restarts. */
#define TMEM_NAP (5 * HZ)

#define TMEM_SPIN_MIN_NS 1000u

void *tmem_req_slot(const struct tmem_req *req, unsigned int k)
{
	const struct tmem_queue *q = req->queue;

	return page_address(q->grants[(1u << q->order) + req->slot + k].page);
}

static struct tmemif_request *request_at(struct tmem_queue *q, u32 index)
{
	char *first = (char *)q->ring + TMEMIF_REQUESTS_OFFSET;

	return (struct tmemif_request *)first + index % q->entries;
}

static struct tmemif_response *response_at(struct tmem_queue *q, u32 index)
{
	char *first = (char *)q->ring + TMEMIF_RESPONSES_OFFSET(q->order);

	return (struct tmemif_response *)first + index % q->entries;
}

/* ---- requests and slots; queue locked ---- */

static void free_request(struct tmem_req *req)
{
	struct tmem_queue *q = req->queue;

	if (req->nr_slots)
		bitmap_clear(q->slot_map, req->slot, req->nr_slots);
	req->nr_slots = 0;
	req->state = TMEM_REQ_FREE;
	list_add(&req->link, &q->free);
	q->nr_free++;
}

static bool uses_slots(u8 op)
{
	return op == TMEMIF_OP_PUT_PAGE || op == TMEMIF_OP_GET_PAGE;
}

/* Up to nr consecutive free slots. Puts leave the first ones to gets. Returns how many. */
static unsigned int find_slots(struct tmem_queue *q, u8 op, unsigned int nr, u16 *first)
{
	unsigned int from = op == TMEMIF_OP_PUT_PAGE ? q->put_reserve : 0;

	for (; nr; nr /= 2) {
		unsigned long at;

		at = bitmap_find_next_zero_area(q->slot_map, q->nr_slots, from, nr, 0);

		if (at < q->nr_slots) {
			*first = at;
			break;
		}
	}
	return nr;
}

static struct tmem_req *try_take(struct tmem_queue *q, u8 op, unsigned int nr)
{
	/* Neither do puts take the last requests: who reads must not wait for who writes. */
	unsigned int spare = op == TMEMIF_OP_PUT_PAGE ? q->entries / 8 : 0;
	struct tmem_req *req;
	u16 slot = 0;

	if (q->nr_free <= spare)
		return NULL;
	if (uses_slots(op)) {
		nr = find_slots(q, op, nr, &slot);
		if (!nr)
			return NULL;
		bitmap_set(q->slot_map, slot, nr);
	}
	req = list_first_entry(&q->free, struct tmem_req, link);
	list_del_init(&req->link);
	q->nr_free--;
	req->state = TMEM_REQ_TAKEN;
	req->op = op;
	req->slot = slot;
	req->nr_slots = uses_slots(op) ? nr : 0;
	req->nr_pages = nr;
	req->complete = NULL;
	reinit_completion(&req->answered);
	return req;
}

/* ---- responses; queue locked ---- */

static bool is_error(int status)
{
	switch (-status) {
	case TMEMIF_EPERM:
	case TMEMIF_EIO:
	case TMEMIF_ENOMEM:
	case TMEMIF_ENODEV:
	case TMEMIF_EINVAL:
	case TMEMIF_ENOSPC:
	case TMEMIF_ENOSYS:
	case TMEMIF_EFROZEN:
	case TMEMIF_EEMPTY:
		return true;
	default:
		return false;
	}
}

/* Whether a correct host can answer the request so. docs/protocol.md, Operations. */
static bool is_plausible(const struct tmem_req *req, int status, u64 done)
{
	u64 all = req->nr_pages >= 64 ? ~0ull : (1ull << req->nr_pages) - 1;

	switch (req->op) {
	case TMEMIF_OP_NEW_POOL:
		return !done && (is_error(status) ||
				 (status >= 0 && status < (int)TMEMIF_MAX_POOLS));
	case TMEMIF_OP_PUT_PAGE:
	case TMEMIF_OP_GET_PAGE:
		if (status > 0)
			return !(done & ~all) && (int)hweight64(done) == status;
		return !done && (is_error(status) || (!status && req->op == TMEMIF_OP_GET_PAGE));
	case TMEMIF_OP_FLUSH_PAGE:
		if (status == req->nr_pages || status == -TMEMIF_EFROZEN)
			return done == all;
		return !done && is_error(status);
	default:
		return !done && (status == 1 || is_error(status));
	}
}

static void break_queue(struct tmem_queue *q, const char *reason)
{
	q->up = false;
	tmem_front_condemn(q->tmem, reason);
}

static void answer(struct tmem_req *req, int status, u64 done, struct list_head *answered)
{
	struct tmem_queue *q = req->queue;

	if (req->complete)
		q->nr_callbacks--;
	req->status = status;
	req->done = done;
	req->state = TMEM_REQ_ANSWERED;
	list_add_tail(&req->link, answered);
}

/* Takes in response q->rsp_cons. False if it is not what a host may say. */
static bool take_response(struct tmem_queue *q, struct list_head *answered)
{
	const struct tmemif_response *shared = response_at(q, q->rsp_cons);
	struct tmem_req *req = &q->reqs[q->sent[q->rsp_cons % q->entries]];
	u16 id = READ_ONCE(shared->id);
	int status = READ_ONCE(shared->status);
	u64 done = READ_ONCE(shared->done);

	if (id != req->id) {
		break_queue(q, "a response answers another request than is next");
		return false;
	}
	if (!is_plausible(req, status, done)) {
		break_queue(q, "a response has a status that its operation cannot have");
		return false;
	}
	q->rsp_cons++;
	if (req->state == TMEM_REQ_ORPHAN)
		free_request(req);
	else
		answer(req, status, done, answered);
	return true;
}

/* Asks for a notification, if anybody needs one. True if there are answers already. */
static bool arm(struct tmem_queue *q)
{
	u32 outstanding = q->req_prod - q->rsp_cons;
	u32 after = 1;

	if (!outstanding || (!q->nr_sleepers && !q->nr_callbacks && !q->nr_crowded))
		return false;
	if (!q->nr_sleepers)
		after = DIV_ROUND_UP(outstanding, 2);
	WRITE_ONCE(q->ring->rsp_event, q->rsp_cons + after);
	/* Our rsp_event before their rsp_prod: pairs with the barrier of their push. */
	virt_mb();
	return READ_ONCE(q->ring->rsp_prod) != q->rsp_cons;
}

/* Takes in all answers, and arms for the next. */
static void collect(struct tmem_queue *q, struct list_head *answered)
{
	if (!q->up)
		return;
	do {
		/* Acquire: pairs with their release; responses and slots are read after. */
		u32 prod = virt_load_acquire(&q->ring->rsp_prod);

		if (prod - q->rsp_cons > q->req_prod - q->rsp_cons) {
			break_queue(q, "rsp_prod is ahead of the requests");
			return;
		}
		while (q->rsp_cons != prod)
			if (!take_response(q, answered))
				return;
	} while (arm(q));
}

/* Tells the owners. Queue not locked. */
static void call_back(struct list_head *answered)
{
	struct tmem_req *req, *next;

	list_for_each_entry_safe(req, next, answered, link) {
		list_del_init(&req->link);
		if (req->complete) {
			req->complete(req);
			tmem_req_release(req);
		} else {
			complete(&req->answered);
		}
	}
}

/* The end of every locked section. */
static void unlock_and_tell(struct tmem_queue *q, unsigned long flags, struct list_head *answered)
	__releases(&q->lock)
{
	spin_unlock_irqrestore(&q->lock, flags);
	if (wq_has_sleeper(&q->room))
		wake_up_all(&q->room);
	call_back(answered);
}

unsigned long tmem_queue_lock(struct tmem_queue *q)
	__acquires(&q->lock)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	return flags;
}

void tmem_queue_unlock(struct tmem_queue *q, unsigned long flags)
	__releases(&q->lock)
{
	LIST_HEAD(answered);

	collect(q, &answered);
	unlock_and_tell(q, flags, &answered);
}

irqreturn_t tmem_queue_interrupt(int irq, void *queue)
{
	struct tmem_queue *q = queue;
	unsigned long flags = tmem_queue_lock(q);
	LIST_HEAD(answered);
	bool news;

	collect(q, &answered);
	/* Those who spin may have taken in what this interrupt announced: that is no flood. */
	news = q->rsp_cons != q->irq_cons;
	q->irq_cons = q->rsp_cons;
	unlock_and_tell(q, flags, &answered);

	tmem_count(q->tmem, interrupts, 1);
	if (!news)
		tmem_count(q->tmem, spurious_interrupts, 1);
	xen_irq_lateeoi(irq, news ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

/* ---- the owner's side ---- */

struct tmem_req *tmem_req_take(struct tmem_queue *q, u8 op, unsigned int nr, unsigned long timeout)
{
	struct tmem_req *req;
	DEFINE_WAIT(wait);
	bool sleeping = false;

	for (;;) {
		unsigned long flags = tmem_queue_lock(q);

		req = q->up ? try_take(q, op, nr) : ERR_PTR(-ENOTCONN);
		if (!req && !timeout)
			req = ERR_PTR(-ETIMEDOUT);
		if (req) {
			q->nr_crowded -= sleeping;
			tmem_queue_unlock(q, flags);
			break;
		}
		prepare_to_wait(&q->room, &wait, TASK_UNINTERRUPTIBLE);
		q->nr_crowded += !sleeping;
		sleeping = true;
		tmem_queue_unlock(q, flags);
		if (timeout == MAX_SCHEDULE_TIMEOUT) {
			io_schedule_timeout(TMEM_NAP);
		} else {
			unsigned long nap = min_t(unsigned long, timeout, TMEM_NAP);

			timeout -= nap - io_schedule_timeout(nap);
		}
	}
	finish_wait(&q->room, &wait);
	return req;
}

void tmem_req_release(struct tmem_req *req)
{
	struct tmem_queue *q = req->queue;
	unsigned long flags = tmem_queue_lock(q);

	free_request(req);
	tmem_queue_unlock(q, flags);
}

void tmem_req_send(struct tmem_req *req, struct tmemif_request *wire)
{
	struct tmem_queue *q = req->queue;
	u32 before = q->req_prod;

	wire->id = req->id;
	memcpy(request_at(q, before), wire, sizeof(*wire));
	q->sent[before % q->entries] = req->id;
	req->state = TMEM_REQ_SENT;
	req->sent_at = jiffies;
	if (req->complete)
		q->nr_callbacks++;
	q->req_prod = before + 1;
	/* Release: pairs with their acquire of req_prod; the request and its slots are written. */
	virt_store_release(&q->ring->req_prod, q->req_prod);
	/* Our req_prod before their req_event: pairs with the barrier before they sleep. */
	virt_mb();
	tmem_count(q->tmem, requests, 1);
	if (TMEMIF_NEEDS_NOTIFY(before, q->req_prod, READ_ONCE(q->ring->req_event))) {
		tmem_count(q->tmem, kicks, 1);
		notify_remote_via_irq(q->irq);
	}
}

/* How long to spin next time, after a wait of `waited` ns that spinning was meant for. */
static void adapt(struct tmem_queue *q, u64 waited)
{
	u32 most = READ_ONCE(tmem_params.spin_us) * 1000;
	u32 now = READ_ONCE(q->spin_ns);

	if (waited <= most)
		now = max_t(u32, now, 2 * waited);
	else
		now /= 2;
	WRITE_ONCE(q->spin_ns, clamp(now, min(TMEM_SPIN_MIN_NS, most), most));
}

/* Spins until ready(), which looks for answers, or too long. Returns whether ready. */
static bool spin(struct tmem_queue *q, bool (*ready)(void *), void *what, u64 start)
{
	u64 until = start + READ_ONCE(q->spin_ns);

	while (!ready(what)) {
		if (need_resched() || ktime_get_ns() >= until)
			return false;
		cpu_relax();
	}
	return true;
}

/* The ring stays as long as the caller has a request. */
static bool poll_request(void *what)
{
	struct tmem_req *req = what;
	struct tmem_queue *q = req->queue;

	if (READ_ONCE(q->ring->rsp_prod) != READ_ONCE(q->rsp_cons))
		tmem_queue_unlock(q, tmem_queue_lock(q));
	return completion_done(&req->answered);
}

static bool sleep_until_answered(struct tmem_req *req, unsigned long timeout)
{
	struct tmem_queue *q = req->queue;
	unsigned long flags = tmem_queue_lock(q);
	bool answered;

	q->nr_sleepers++;
	tmem_queue_unlock(q, flags);
	do {
		unsigned long nap = min_t(unsigned long, timeout, TMEM_NAP);

		answered = wait_for_completion_io_timeout(&req->answered, nap);
		if (timeout != MAX_SCHEDULE_TIMEOUT)
			timeout -= nap;
	} while (!answered && timeout);
	flags = tmem_queue_lock(q);
	q->nr_sleepers--;
	tmem_queue_unlock(q, flags);
	return answered;
}

bool tmem_req_wait(struct tmem_req *req, unsigned long timeout)
{
	struct tmem_queue *q = req->queue;
	u64 start = ktime_get_ns();
	bool answered = spin(q, poll_request, req, start);

	if (answered) {
		tmem_count(q->tmem, spins, 1);
	} else {
		tmem_count(q->tmem, sleeps, 1);
		answered = sleep_until_answered(req, timeout);
	}
	adapt(q, ktime_get_ns() - start);
	return answered;
}

bool tmem_req_give_up(struct tmem_req *req)
{
	struct tmem_queue *q = req->queue;
	unsigned long flags = tmem_queue_lock(q);
	bool given_up = req->state == TMEM_REQ_SENT;

	if (given_up)
		req->state = TMEM_REQ_ORPHAN;
	tmem_queue_unlock(q, flags);
	if (!given_up)
		wait_for_completion(&req->answered);
	return given_up;
}

struct countdown {
	struct tmem_queue *q;
	const atomic_t *count;
	int until;
};

/* The caller has no request of its own: the ring may go unless the queue is locked. */
static bool poll_countdown(void *what)
{
	const struct countdown *countdown = what;

	if (atomic_read(countdown->count) <= countdown->until)
		return true;
	tmem_queue_unlock(countdown->q, tmem_queue_lock(countdown->q));
	return atomic_read(countdown->count) <= countdown->until;
}

void tmem_queue_spin_until(struct tmem_queue *q, const atomic_t *count, int until)
{
	struct countdown countdown = { .q = q, .count = count, .until = until };

	if (spin(q, poll_countdown, &countdown, ktime_get_ns()))
		tmem_count(q->tmem, spins, 1);
	else
		tmem_count(q->tmem, sleeps, 1);
}

/* ---- up and down ---- */

void tmem_queue_up(struct tmem_queue *q)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->up = true;
	q->spin_ns = READ_ONCE(tmem_params.spin_us) * 1000;
	spin_unlock_irqrestore(&q->lock, flags);
}

static bool all_free(struct tmem_queue *q)
{
	return READ_ONCE(q->nr_free) == q->entries;
}

void tmem_queue_down(struct tmem_queue *q)
{
	LIST_HEAD(failed);
	unsigned long flags;
	unsigned int i;

	if (!q->reqs)
		return;
	spin_lock_irqsave(&q->lock, flags);
	q->up = false;
	for (i = 0; i < q->entries; i++) {
		struct tmem_req *req = &q->reqs[i];

		if (req->state == TMEM_REQ_ORPHAN)
			free_request(req);
		else if (req->state == TMEM_REQ_SENT)
			answer(req, -ENOTCONN, 0, &failed);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	call_back(&failed);
	wake_up_all(&q->room);
	wait_event(q->room, all_free(q));
}

/* ---- the watchdog's ---- */

unsigned long tmem_queue_check(struct tmem_queue *q)
{
	unsigned long flags = tmem_queue_lock(q);
	unsigned long age = 0;

	if (q->up && q->rsp_cons != q->req_prod) {
		age = max(jiffies - q->reqs[q->sent[q->rsp_cons % q->entries]].sent_at, 1ul);
		/* An event that was lost costs a second, not more. */
		if (age > HZ)
			notify_remote_via_irq(q->irq);
	}
	tmem_queue_unlock(q, flags);
	return age;
}

/* An old put, made an orphan; *copy is what its callback may look at. False if there is none. */
static bool give_up_old_put(struct tmem_queue *q, unsigned long age, struct tmem_req *copy)
{
	unsigned long flags = tmem_queue_lock(q);
	bool found = false;
	unsigned int i;

	for (i = 0; q->up && !found && i < q->entries; i++) {
		struct tmem_req *req = &q->reqs[i];

		if (req->state != TMEM_REQ_SENT || req->op != TMEMIF_OP_PUT_PAGE ||
		    !req->complete || time_before(jiffies, req->sent_at + age))
			continue;
		*copy = *req;
		req->state = TMEM_REQ_ORPHAN;
		q->nr_callbacks--;
		found = true;
	}
	tmem_queue_unlock(q, flags);
	return found;
}

void tmem_queue_give_up_puts(struct tmem_queue *q, unsigned long age)
{
	struct tmem_req copy;

	while (give_up_old_put(q, age, &copy)) {
		tmem_count(q->tmem, abandoned_puts, 1);
		copy.status = -ETIMEDOUT;
		copy.done = 0;
		copy.complete(&copy);
	}
}
