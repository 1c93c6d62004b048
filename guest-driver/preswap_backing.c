// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The disk behind the swap device: it takes what the host refuses, each slot in its own place.
 *
 * A disk comes once, with the module or later by sysfs, and stays until the module goes: readers
 * need no lock, only the order in which it was set up. Preswap_backing_open() and _close() are
 * serialized by a mutex; both run in process context.
 */
#include <linux/slab.h>

#include "compat.h"
#include "preswap.h"

static DEFINE_MUTEX(backing_mutex);
static struct tmem_compat_bdev opened;
static struct block_device *backing_bdev; /* set last: whoever sees it sees the rest */
static u64 backing_pages;
static char *backing_name;

static int open_locked(const char *path, u64 pages)
{
	char *name = kstrdup(path, GFP_KERNEL);
	int err;

	if (!name)
		return -ENOMEM;
	err = tmem_compat_open_bdev(&opened, path, &opened);
	if (err) {
		kfree(name);
		return err;
	}
	backing_pages = tmem_compat_bdev_pages(opened.bdev);
	if (!backing_pages || backing_pages < pages) {
		tmem_compat_close_bdev(&opened);
		backing_pages = 0;
		kfree(name);
		return -ENOSPC;
	}
	backing_name = name;
	/* Pairs with the acquire in preswap_backing_bdev(). */
	smp_store_release(&backing_bdev, opened.bdev);
	return 0;
}

int preswap_backing_open(const char *path, u64 pages)
{
	int err = -EBUSY;

	mutex_lock(&backing_mutex);
	if (!backing_bdev)
		err = open_locked(path, pages);
	mutex_unlock(&backing_mutex);
	if (err == -EBUSY)
		pr_err(TMEM_NAME ": %s is in use, or there is a backing disk already\n", path);
	else if (err == -ENOSPC)
		pr_err(TMEM_NAME ": %s is smaller than the %llu pages of the swap device\n", path,
		       pages);
	else if (err)
		pr_err(TMEM_NAME ": %s cannot be opened as backing disk: error %d\n", path, err);
	else
		pr_info(TMEM_NAME ": %s takes what the host refuses\n", path);
	return err;
}

void preswap_backing_close(void)
{
	mutex_lock(&backing_mutex);
	if (backing_bdev) {
		backing_bdev = NULL;
		backing_pages = 0;
		kfree(backing_name);
		backing_name = NULL;
		tmem_compat_close_bdev(&opened);
	}
	mutex_unlock(&backing_mutex);
}

const char *preswap_backing_name(void)
{
	return preswap_backing_bdev() ? backing_name : "none";
}

u64 preswap_backing_pages(void)
{
	return preswap_backing_bdev() ? backing_pages : 0;
}

struct block_device *preswap_backing_bdev(void)
{
	/* Pairs with the release in open_locked(). */
	return smp_load_acquire(&backing_bdev);
}
