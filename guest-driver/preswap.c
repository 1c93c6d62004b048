// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The pool of swap pages, and areas of it.
 *
 * Chunks are found without locks (RCU inside the xarray), because slots are freed under
 * spinlocks; they are only ever removed when their swap area is gone. A chunk with flushes due
 * hangs in its area's lock-free list, at most once, and a worker sends them. The worker runs a
 * little late on purpose: slots are freed in bursts, which then travel as batches, and a slot
 * that is filled again meanwhile needs no flush at all.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "compat.h"
#include "preswap.h"

#define STOP_TIMEOUT (5 * HZ)

static struct {
	struct mutex mutex; /* start and stop against each other */
	const struct preswap_mode *mode;
	bool have_pool;
	bool started;
	bool stopped; /* preswap_stopped() is due */
	struct tmem_pool pool;
} preswap = {
	.mutex = __MUTEX_INITIALIZER(preswap.mutex),
};

/* ---- areas ---- */

static void remember(struct preswap_chunk *chunk)
{
	/* A full barrier, also if the bit is set: pairs with the one in flush_area(). */
	if (!test_and_set_bit(PRESWAP_QUEUED, &chunk->flags))
		llist_add(&chunk->dirty, &chunk->area->dirty);
}

void preswap_mark_stale(struct preswap_chunk *chunk, u32 index, unsigned int nr)
{
	unsigned int k;

	for (k = index; k < index + nr; k++)
		set_bit(k, chunk->stale);
	remember(chunk);
	preswap_area_kick(chunk->area);
}

/* Their connection is gone: the next one's start sends them again. */
static void flush_failed(struct tmem_object *object)
{
	remember(container_of(object, struct preswap_chunk, object));
}

void preswap_area_kick(struct preswap_area *area)
{
	unsigned int delay = READ_ONCE(tmem_params.flush_delay_ms);

	if (!llist_empty(&area->dirty))
		queue_delayed_work(area->tmem->data, &area->flush, msecs_to_jiffies(delay));
}

static void flush_area(struct work_struct *work)
{
	struct preswap_area *area = container_of(work, struct preswap_area, flush.work);
	struct llist_node *list = llist_del_all(&area->dirty);
	struct preswap_chunk *chunk, *next;

	llist_for_each_entry_safe(chunk, next, list, dirty) {
		clear_bit(PRESWAP_QUEUED, &chunk->flags);
		/* Pairs with the barrier in remember(): who marks later lists it again. */
		smp_mb__after_atomic();
		if (tmem_flush_stale(area->tmem, &chunk->object))
			remember(chunk);
		cond_resched();
	}
}

void preswap_area_init(struct preswap_area *area, struct tmem *tmem, u32 number)
{
	area->tmem = tmem;
	area->number = number;
	xa_init(&area->chunks);
	init_llist_head(&area->dirty);
	INIT_DELAYED_WORK(&area->flush, flush_area);
}

struct preswap_chunk *preswap_find_or_add(struct preswap_area *area, unsigned long slot, gfp_t gfp)
{
	unsigned long number = slot >> PRESWAP_CHUNK_SHIFT;
	struct preswap_chunk *chunk = xa_load(&area->chunks, number);
	struct preswap_chunk *other;

	if (chunk)
		return chunk;
	chunk = kzalloc(sizeof(*chunk), gfp);
	if (!chunk)
		return NULL;
	chunk->area = area;
	chunk->object.pool = &preswap.pool;
	chunk->object.oid.word[0] = number;
	chunk->object.oid.word[1] = area->number;
	chunk->object.oid.word[2] = 0x70737765727000ull; /* "preswp" */
	chunk->object.stale = chunk->stale;
	chunk->object.nr_indexes = PRESWAP_CHUNK_SLOTS;
	chunk->object.flush_failed = flush_failed;
	other = xa_cmpxchg(&area->chunks, number, NULL, chunk, gfp);
	if (!other)
		return chunk;
	kfree(chunk);
	return xa_is_err(other) ? NULL : other;
}

void preswap_area_clear(struct preswap_area *area)
{
	struct preswap_chunk *chunk;
	unsigned long number;

	cancel_delayed_work_sync(&area->flush);
	xa_for_each(&area->chunks, number, chunk) {
		bitmap_fill(chunk->stale, PRESWAP_CHUNK_SLOTS);
		tmem_flush_stale(area->tmem, &chunk->object);
	}
	preswap_area_free(area);
}

void preswap_area_free(struct preswap_area *area)
{
	struct preswap_chunk *chunk;
	unsigned long number;

	cancel_delayed_work_sync(&area->flush);
	xa_for_each(&area->chunks, number, chunk) {
		tmem_wait_for_flushes(&chunk->object);
		xa_erase(&area->chunks, number);
		kfree(chunk);
	}
	init_llist_head(&area->dirty);
}

/* ---- the pool ---- */

void preswap_pool_lost(struct tmem *tmem)
{
	queue_work(tmem->control, &tmem->start);
}

/* Makes the pool unless the host has it. After a migration or a loss it may not have it. */
static int see_to_pool(struct tmem *tmem)
{
	int status;

	if (preswap.have_pool) {
		status = tmem_pool_exists(tmem, preswap.pool.id);
		if (status)
			return status < 0 ? status : 0;
		pr_err(TMEM_NAME ": the host lost the pages that were swapped to it\n");
		preswap.have_pool = false;
	}
	status = tmem_new_pool(tmem, TMEMIF_POOL_PERSIST);
	if (status < 0)
		return status;
	WRITE_ONCE(preswap.pool.id, status);
	preswap.have_pool = true;
	return 0;
}

void preswap_start(struct tmem *tmem)
{
	int err;

	if (!preswap.mode)
		return;
	mutex_lock(&preswap.mutex);
	/* The device may have gone meanwhile, and we with it. */
	err = READ_ONCE(tmem->state) == TMEM_UP ? see_to_pool(tmem) : -ENOTCONN;
	if (!err)
		err = preswap.mode->start(tmem);
	if (err && err != -ENOTCONN)
		pr_err(TMEM_NAME ": preswap does not start: error %d\n", err);
	if (!err && !preswap.started)
		pr_info(TMEM_NAME ": preswap by %s\n", preswap.mode->name);
	preswap.started |= !err;
	mutex_unlock(&preswap.mutex);
}

static const struct preswap_mode *const modes[] = {
#ifdef TMEM_HAVE_FRONTSWAP
	&preswap_frontswap,
#endif
	&preswap_blkdev,
};

int preswap_init(struct tmem *tmem)
{
	const struct preswap_mode *mode = NULL;
	const char *wanted = tmem_params.mode;
	int i, err;

	if (!tmem_params.preswap)
		return 0;
	for (i = ARRAY_SIZE(modes) - 1; i >= 0; i--)
		if (!wanted || !strcmp(wanted, modes[i]->name))
			mode = modes[i];
	if (!mode) {
		pr_err(TMEM_NAME ": this kernel has no mode '%s'; it has '%s'\n", wanted,
		       modes[0]->name);
		return -EINVAL;
	}
	err = mode->init(tmem);
	if (!err)
		preswap.mode = mode;
	return err;
}

/* Not for ever: who starts may be waiting for a host that is silent. */
static bool lock_patiently(void)
{
	unsigned long until = jiffies + STOP_TIMEOUT;

	while (!mutex_trylock(&preswap.mutex)) {
		if (time_after(jiffies, until))
			return false;
		schedule_timeout_uninterruptible(HZ / 50 + 1);
	}
	return true;
}

void preswap_stop(struct tmem *tmem)
{
	if (!preswap.mode || !lock_patiently())
		return;
	if (preswap.started && preswap.mode->stop(tmem)) {
		tmem_destroy_pool(tmem, preswap.pool.id);
		preswap.have_pool = false;
		preswap.started = false;
		preswap.stopped = true;
	}
	mutex_unlock(&preswap.mutex);
}

void preswap_stopped(void)
{
	mutex_lock(&preswap.mutex);
	if (preswap.stopped)
		preswap.mode->stopped();
	preswap.stopped = false;
	mutex_unlock(&preswap.mutex);
}

void preswap_exit(void)
{
	if (preswap.mode)
		preswap.mode->exit();
	preswap.mode = NULL;
}
