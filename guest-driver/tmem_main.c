// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Loads and unloads the module: parameters, the one struct tmem, and the order in which its parts
 * come and go.
 *
 * Xenbus holds a reference to the module as long as it is bound to a device: to unload it, unbind
 * it first (tmem-guest-setup does).
 */
#include <linux/module.h>
#include <xen/xen.h>

#include "compat.h"
#include "preswap.h"

struct tmem_params tmem_params = {
	.ring_page_order = 1,
	.slots = 64,
	.spin_us = 50,
	.put_timeout_ms = 10000,
	.reconnect_timeout_s = 60,
	.dead_after_s = 300,
	.preswap = true,
	.flush_delay_ms = 20,
};

module_param_named(queues, tmem_params.queues, uint, 0444);
MODULE_PARM_DESC(queues, "queues to the host (0: one a processor, at most 4)");
module_param_named(ring_page_order, tmem_params.ring_page_order, uint, 0444);
MODULE_PARM_DESC(ring_page_order, "log2 of ring pages a queue (1: 64 requests)");
module_param_named(slots, tmem_params.slots, uint, 0444);
MODULE_PARM_DESC(slots, "pages a queue that data travels in (64)");
module_param_named(spin_us, tmem_params.spin_us, uint, 0644);
MODULE_PARM_DESC(spin_us, "poll for an answer at most this long before sleeping (50)");
module_param_named(put_timeout_ms, tmem_params.put_timeout_ms, uint, 0644);
MODULE_PARM_DESC(put_timeout_ms,
		 "write to disk what the host does not take in this time (10000; 0: never)");
module_param_named(reconnect_timeout_s, tmem_params.reconnect_timeout_s, uint, 0644);
MODULE_PARM_DESC(reconnect_timeout_s, "wait this long for a connection that was closed (60)");
module_param_named(dead_after_s, tmem_params.dead_after_s, uint, 0644);
MODULE_PARM_DESC(dead_after_s, "give up a host that is silent for so long (300; 0: never)");
module_param_named(frontswap, tmem_params.preswap, bool, 0444);
MODULE_PARM_DESC(frontswap, "swap to the host: preswap (Y)");
module_param_named(flush_delay_ms, tmem_params.flush_delay_ms, uint, 0644);
MODULE_PARM_DESC(flush_delay_ms, "collect freed swap slots for so long before telling (20)");
module_param_named(mode, tmem_params.mode, charp, 0444);
MODULE_PARM_DESC(mode, "frontswap or blkdev (what the kernel has, in this order)");
module_param_named(size_mb, tmem_params.size_mb, uint, 0444);
MODULE_PARM_DESC(size_mb, "blkdev: size of the swap device (0: the backing disk's or twice the RAM)");
module_param_named(backing, tmem_params.backing, charp, 0444);
MODULE_PARM_DESC(backing, "blkdev: disk that takes what the host refuses (none)");

static struct tmem tmem = {
	.state = TMEM_DOWN,
	.mutex = __MUTEX_INITIALIZER(tmem.mutex),
	.state_wait = __WAIT_QUEUE_HEAD_INITIALIZER(tmem.state_wait),
};

static void start_users(struct work_struct *work)
{
	preswap_start(&tmem);
}

static void free_workqueues(void)
{
	if (tmem.data)
		destroy_workqueue(tmem.data);
	if (tmem.control)
		destroy_workqueue(tmem.control);
	free_percpu(tmem.stats);
}

static int alloc_workqueues(void)
{
	tmem.stats = alloc_percpu(struct tmem_stats);
	tmem.control = alloc_workqueue(TMEM_NAME "_control", WQ_MEM_RECLAIM, 0);
	tmem.data = alloc_workqueue(TMEM_NAME "_data", WQ_MEM_RECLAIM | WQ_HIGHPRI, 0);
	if (tmem.stats && tmem.control && tmem.data)
		return 0;
	free_workqueues();
	return -ENOMEM;
}

static int __init tmem_init(void)
{
	int err;

	/* Pages travel as the kernel has them. */
	BUILD_BUG_ON(PAGE_SIZE != TMEMIF_PAGE_SIZE);

	if (!xen_domain() || xen_initial_domain())
		return -ENODEV;
	err = alloc_workqueues();
	if (err)
		return err;
	INIT_WORK(&tmem.start, start_users);
	err = preswap_init(&tmem);
	if (err)
		goto no_preswap;
	err = tmem_front_register(&tmem);
	if (err)
		goto no_front;
	tmem_stats_init(&tmem);
	return 0;

no_front:
	preswap_exit();
no_preswap:
	free_workqueues();
	return err;
}

static void __exit tmem_exit(void)
{
	tmem_stats_exit();
	tmem_front_unregister();
	cancel_work_sync(&tmem.start);
	preswap_exit();
	free_workqueues();
}

module_init(tmem_init);
module_exit(tmem_exit);

MODULE_DESCRIPTION("Transcendent memory of a Xen host: frontend and preswap");
MODULE_AUTHOR("The tmemd authors");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_ALIAS("xen:tmem");
