// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Preswap through frontswap: pages on their way to any swap device are offered to the host first;
 * those that it refuses go to the device, as if we were not there.
 *
 * Context: store and load run in process context with the page locked and may sleep;
 * invalidate_page runs under the swap area's spinlock; invalidate_area may sleep.
 *
 * The kernel remembers which slots we took and never asks for others. It also believes that a
 * load of such a slot cannot fail: if it does, it reads the device instead, where something else
 * is. So a load does not return until it has the page. If the host lost it for good, whoever
 * faulted waits for ever; there is no other way to keep it from seeing garbage. Where that is
 * not wanted, mode=blkdev reports an error instead.
 *
 * Frontswap has no way to unregister: once registered, the module stays.
 */
#include "compat.h"

#ifdef TMEM_HAVE_FRONTSWAP

#include <linux/frontswap.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "preswap.h"

static struct tmem *tmem;
static struct preswap_area areas[MAX_SWAPFILES];
static bool registered;

static void preswap_fs_init(unsigned int type)
{
}

static int preswap_fs_store(unsigned int type, pgoff_t offset, struct page *page)
{
	/* Once for 4 MiB that leave: what is left of memory is there for that. */
	const gfp_t gfp = GFP_ATOMIC | __GFP_NOWARN;
	struct preswap_chunk *chunk;
	bool now_stale;
	int err;

	/* The kernel asks for the parts of a huge page one by one, but stores it as one. */
	if (PageTransHuge(page) || READ_ONCE(tmem->state) != TMEM_UP)
		goto refuse;
	chunk = preswap_find_or_add(&areas[type], offset, gfp);
	if (!chunk)
		goto refuse;
	err = tmem_put_page_wait(tmem, &chunk->object, preswap_index(offset), page, &now_stale);
	if (now_stale)
		preswap_mark_stale(chunk, preswap_index(offset), 1);
	if (err == -TMEMIF_ENODEV)
		preswap_pool_lost(tmem);
	if (err)
		goto refuse;
	tmem_count(tmem, succ_stores, 1);
	return 0;

refuse:
	tmem_count(tmem, failed_stores, 1);
	return -1;
}

static int preswap_fs_load(unsigned int type, pgoff_t offset, struct page *page)
{
	struct preswap_chunk *chunk = preswap_find(&areas[type], offset);
	bool told = false;

	if (WARN_ON_ONCE(!chunk))
		return -1;
	while (tmem_get_pages(tmem, &chunk->object, preswap_index(offset), page, 1)) {
		if (!told) {
			tmem_count(tmem, lost_pages, 1);
			pr_crit_ratelimited(TMEM_NAME ": the host does not give back slot %lu of swap area %u: %s (%d) waits\n",
					    offset, type, current->comm, current->pid);
			told = true;
		}
		schedule_timeout_uninterruptible(5 * HZ);
	}
	tmem_count(tmem, loads, 1);
	return 0;
}

static void preswap_fs_invalidate_page(unsigned int type, pgoff_t offset)
{
	struct preswap_chunk *chunk = preswap_find(&areas[type], offset);

	if (!chunk)
		return;
	preswap_mark_stale(chunk, preswap_index(offset), 1);
	tmem_count(tmem, invalidates, 1);
}

static void preswap_fs_invalidate_area(unsigned int type)
{
	preswap_area_clear(&areas[type]);
}

static struct frontswap_ops ops = {
	.init = preswap_fs_init,
	.store = preswap_fs_store,
	.load = preswap_fs_load,
	.invalidate_page = preswap_fs_invalidate_page,
	.invalidate_area = preswap_fs_invalidate_area,
};

static int frontswap_mode_init(struct tmem *t)
{
	unsigned int type;

	tmem = t;
	for (type = 0; type < MAX_SWAPFILES; type++)
		preswap_area_init(&areas[type], tmem, type);
	return 0;
}

static int frontswap_mode_start(struct tmem *t)
{
	unsigned int type;

	if (!registered) {
		__module_get(THIS_MODULE);
		WRITE_ONCE(t->may_give_up_puts, true);
		frontswap_register_ops(&ops);
		registered = true;
	}
	for (type = 0; type < MAX_SWAPFILES; type++)
		preswap_area_kick(&areas[type]);
	return 0;
}

/* Frontswap goes on to call us, device or not. */
static bool frontswap_mode_stop(struct tmem *t)
{
	return false;
}

static void frontswap_mode_nothing(void)
{
}

const struct preswap_mode preswap_frontswap = {
	.name = "frontswap",
	.init = frontswap_mode_init,
	.start = frontswap_mode_start,
	.stop = frontswap_mode_stop,
	.stopped = frontswap_mode_nothing,
	.exit = frontswap_mode_nothing,
};

#endif /* TMEM_HAVE_FRONTSWAP */
