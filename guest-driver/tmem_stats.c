// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Counters in debugfs: /sys/kernel/debug/tmem/frontswap/ has those of swap under the names of the
 * old driver, /sys/kernel/debug/tmem/ all others. Where the kernel itself has no
 * /sys/kernel/debug/frontswap (from 6.6 on), a link of that name leads to ours.
 *
 * Context: process context. Counters are added up while others count on: each is right, all of
 * them together are of no one moment.
 */
#include <linux/debugfs.h>

#include "tmem.h"

static struct tmem *the_tmem;
static struct dentry *root;
static struct dentry *old_name;

struct counter {
	const char *name;
	size_t offset;
};

#define COUNTER(name) { #name, offsetof(struct tmem_stats, name) }

static const struct counter frontswap_counters[] = {
	COUNTER(loads),
	COUNTER(succ_stores),
	COUNTER(failed_stores),
	COUNTER(invalidates),
};

static const struct counter other_counters[] = {
	COUNTER(lost_pages),
	COUNTER(backing_writes),
	COUNTER(backing_reads),
	COUNTER(zero_reads),
	COUNTER(write_errors),
	COUNTER(requests),
	COUNTER(kicks),
	COUNTER(interrupts),
	COUNTER(spurious_interrupts),
	COUNTER(spins),
	COUNTER(sleeps),
	COUNTER(abandoned_puts),
	COUNTER(flush_requests),
	COUNTER(flushed_pages),
	COUNTER(superseded_flushes),
};

static int counter_get(void *data, u64 *value)
{
	const struct counter *counter = data;
	int cpu;

	*value = 0;
	for_each_possible_cpu(cpu) {
		char *stats = (char *)per_cpu_ptr(the_tmem->stats, cpu);

		*value += *(u64 *)(stats + counter->offset);
	}
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(counter_fops, counter_get, NULL, "%llu\n");

static int state_get(void *data, u64 *value)
{
	*value = READ_ONCE(the_tmem->state);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(state_fops, state_get, NULL, "%llu\n");

static void add_counters(struct dentry *folder, const struct counter *counters, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		debugfs_create_file_unsafe(counters[i].name, 0444, folder, (void *)&counters[i],
					   &counter_fops);
}

void tmem_stats_init(struct tmem *tmem)
{
	struct dentry *frontswap;

	the_tmem = tmem;
	root = debugfs_create_dir(TMEM_NAME, NULL);
	frontswap = debugfs_create_dir("frontswap", root);
	add_counters(frontswap, frontswap_counters, ARRAY_SIZE(frontswap_counters));
	add_counters(root, other_counters, ARRAY_SIZE(other_counters));
	debugfs_create_file_unsafe("state", 0444, root, NULL, &state_fops);
#if !IS_ENABLED(CONFIG_FRONTSWAP)
	old_name = debugfs_create_symlink("frontswap", NULL, TMEM_NAME "/frontswap");
#endif
}

void tmem_stats_exit(void)
{
	debugfs_remove(old_name);
	debugfs_remove_recursive(root);
}
