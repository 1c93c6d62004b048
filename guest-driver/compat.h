/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What differs between the kernels that this module is built for, and nothing else: Debian's
 * 5.10, 6.1 and 6.12, and those between as far as they look like one of these. Other files of
 * the module never ask for a kernel version.
 */
#ifndef TMEM_COMPAT_H
#define TMEM_COMPAT_H

#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/version.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>

/* Frontswap takes registrations of modules up to 5.17; a later kernel has only the disk. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 18, 0) && IS_ENABLED(CONFIG_FRONTSWAP)
#define TMEM_HAVE_FRONTSWAP 1
#endif

/* Ends a grant; its page is freed as soon as the other side has let go of it, maybe later. */
static inline void tmem_compat_end_grant(grant_ref_t ref, struct page *page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 18, 0)
	gnttab_end_foreign_access(ref, 0, (unsigned long)page_address(page));
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
	gnttab_end_foreign_access(ref, (unsigned long)page_address(page));
#else
	gnttab_end_foreign_access(ref, page);
#endif
}

/* xenbus_driver.remove: void since 6.3, and in Debian's 6.1 by way of stable. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#define TMEM_COMPAT_REMOVE(name) \
	static int name##_compat(struct xenbus_device *xdev) \
	{ \
		name(xdev); \
		return 0; \
	}
#define TMEM_COMPAT_REMOVE_OP(name) name##_compat
#else
#define TMEM_COMPAT_REMOVE(name)
#define TMEM_COMPAT_REMOVE_OP(name) name
#endif

/* Who loads the module waits for the connection: five minutes, or with this half a minute. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define TMEM_COMPAT_NOT_ESSENTIAL 1
#endif

/* Copies between a page of the kernel's and a data slot (which is always mapped). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define tmem_compat_map(page) kmap_atomic(page)
#define tmem_compat_unmap(addr) kunmap_atomic(addr)
#else
#define tmem_compat_map(page) kmap_local_page(page)
#define tmem_compat_unmap(addr) kunmap_local(addr)
#endif

/* ---- block devices ---- */

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
#define TMEM_COMPAT_NO_PART GENHD_FL_NO_PART_SCAN
#define tmem_compat_bio_disk(bio) ((bio)->bi_disk)
/* submit_bio returned a cookie to poll with. */
#define TMEM_COMPAT_SUBMIT_BIO(name) \
	static blk_qc_t name##_compat(struct bio *bio) \
	{ \
		name(bio); \
		return BLK_QC_T_NONE; \
	}
#define TMEM_COMPAT_SUBMIT_BIO_OP(name) name##_compat
#else
#define TMEM_COMPAT_NO_PART GENHD_FL_NO_PART
#define tmem_compat_bio_disk(bio) ((bio)->bi_bdev->bd_disk)
#define TMEM_COMPAT_SUBMIT_BIO(name)
#define TMEM_COMPAT_SUBMIT_BIO_OP(name) name
#endif

/*
 * Up to 6.4 a disk with an rw_page method was taken to be synchronous: read without read-ahead
 * and, if nobody shares the page, past the swap cache. The method may refuse each call; the page
 * then comes as a bio, which is all that we serve.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0)
#define TMEM_COMPAT_RW_PAGE 1
static inline int tmem_compat_rw_page(struct block_device *bdev, sector_t sector,
				      struct page *page, unsigned int op)
{
	return -EOPNOTSUPP;
}
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define TMEM_COMPAT_RW_PAGE 1
static inline int tmem_compat_rw_page(struct block_device *bdev, sector_t sector,
				      struct page *page, enum req_op op)
{
	return -EOPNOTSUPP;
}
#endif

/* Opening and closing a disk, told with less and less. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define TMEM_COMPAT_OPEN(name) \
	static int name##_compat(struct block_device *bdev, fmode_t mode) \
	{ \
		return name(); \
	}
#define TMEM_COMPAT_RELEASE(name) \
	static void name##_compat(struct gendisk *disk, fmode_t mode) \
	{ \
		name(); \
	}
#else
#define TMEM_COMPAT_OPEN(name) \
	static int name##_compat(struct gendisk *disk, blk_mode_t mode) \
	{ \
		return name(); \
	}
#define TMEM_COMPAT_RELEASE(name) \
	static void name##_compat(struct gendisk *disk) \
	{ \
		name(); \
	}
#endif
#define TMEM_COMPAT_OPEN_OP(name) name##_compat

/* Since 6.5 a feature of the queue says it, and writes are then waited for one by one. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define TMEM_COMPAT_WRITES_WAITED_FOR 1
#endif

/*
 * A disk of whole pages that can be trimmed, as fast as memory, without partitions.
 * ERR_PTR on failure; given back with tmem_compat_put_disk().
 */
static inline struct gendisk *tmem_compat_alloc_disk(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct queue_limits limits = {
		.logical_block_size = PAGE_SIZE,
		.physical_block_size = PAGE_SIZE,
		.io_min = PAGE_SIZE,
		.io_opt = PAGE_SIZE,
		.dma_alignment = PAGE_SIZE - 1,
		.max_hw_discard_sectors = UINT_MAX,
		.discard_granularity = PAGE_SIZE,
		.max_write_zeroes_sectors = UINT_MAX,
#ifdef BLK_FEAT_SYNCHRONOUS
		.features = BLK_FEAT_SYNCHRONOUS,
#endif
	};

	return blk_alloc_disk(&limits, NUMA_NO_NODE);
#else
	struct gendisk *disk;
	struct request_queue *queue;

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	disk = alloc_disk(1);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->queue = blk_alloc_queue(NUMA_NO_NODE);
	if (!disk->queue) {
		put_disk(disk);
		return ERR_PTR(-ENOMEM);
	}
	disk->flags |= GENHD_FL_EXT_DEVT;
	queue = disk->queue;
	blk_queue_flag_set(QUEUE_FLAG_DISCARD, queue);
#else
	disk = blk_alloc_disk(NUMA_NO_NODE);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	queue = disk->queue;
#endif
	blk_queue_flag_set(QUEUE_FLAG_NONROT, queue);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, queue);
	blk_queue_logical_block_size(queue, PAGE_SIZE);
	blk_queue_physical_block_size(queue, PAGE_SIZE);
	blk_queue_io_min(queue, PAGE_SIZE);
	blk_queue_io_opt(queue, PAGE_SIZE);
	blk_queue_dma_alignment(queue, PAGE_SIZE - 1);
	queue->limits.discard_granularity = PAGE_SIZE;
	blk_queue_max_discard_sectors(queue, UINT_MAX);
	blk_queue_max_write_zeroes_sectors(queue, UINT_MAX);
	return disk;
#endif
}

static inline int tmem_compat_add_disk(struct gendisk *disk, const struct attribute_group **groups)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
	device_add_disk(NULL, disk, groups);
	return 0;
#else
	return device_add_disk(NULL, disk, groups);
#endif
}

static inline void tmem_compat_put_disk(struct gendisk *disk)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	blk_cleanup_queue(disk->queue);
#endif
	put_disk(disk);
}

/* A disk of somebody else's, opened for us alone. */
struct tmem_compat_bdev {
	struct block_device *bdev;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct file *file;
#endif
};

static inline int tmem_compat_open_bdev(struct tmem_compat_bdev *opened, const char *path,
					void *holder)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct file *file = bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE, holder,
						   NULL);

	if (IS_ERR(file))
		return PTR_ERR(file);
	opened->file = file;
	opened->bdev = file_bdev(file);
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	struct block_device *bdev = blkdev_get_by_path(path, FMODE_READ | FMODE_WRITE | FMODE_EXCL,
						       holder);

	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
	opened->bdev = bdev;
#else
#error "block devices of 6.5 to 6.8 are opened in ways of their own: use 6.1 or 6.9 and later"
#endif
	return 0;
}

static inline u64 tmem_compat_bdev_pages(struct block_device *bdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return (u64)i_size_read(bdev->bd_inode) >> PAGE_SHIFT;
#else
	return (u64)bdev_nr_bytes(bdev) >> PAGE_SHIFT;
#endif
}

static inline void tmem_compat_close_bdev(struct tmem_compat_bdev *opened)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	bdev_fput(opened->file);
#else
	blkdev_put(opened->bdev, FMODE_READ | FMODE_WRITE | FMODE_EXCL);
#endif
	opened->bdev = NULL;
}

#endif /* TMEM_COMPAT_H */
