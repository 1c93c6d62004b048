// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Preswap by a swap device of our own, /dev/tmemswap: pages go to the host, and to the backing
 * disk if the host refuses them.
 *
 * Context: bios come in process context and may sleep; they are answered there or in interrupts.
 * swap_slot_free_notify runs under the swap area's spinlocks, and does no more than set bits.
 *
 * Each page of the device is in one of three places: nowhere (it reads as zeros), with the host
 * (stored), or on the backing disk (on_disk). The bits change when a write ends; the kernel does
 * not read a slot while it is written.
 *
 * Reads wait for the host, spinning first. Writes are sent off and end when the host answers,
 * so that reclaim has many under way, except where the kernel waits for each anyhow. A write of
 * which the host refuses a page goes to the backing disk as a whole, from a worker, since it may
 * be an interrupt that hears of the refusal. Without a disk it fails; the kernel keeps the page.
 *
 * Nothing is allocated for a read. For a write there is a small mempool.
 */
#include <linux/bio.h>
#include <linux/bitmap.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/swap.h>

#include "compat.h"
#include "preswap.h"

#define BLKDEV_NAME "tmemswap"
#define MIN_WRITES 32

static struct {
	struct tmem *tmem;
	struct gendisk *disk; /* from the first connection on, until nobody needs it */
	int major;
	u64 pages;
	struct preswap_area area;
	mempool_t *writes;
	/* With a rescuer: parts that wait behind us for the backing disk must not be our last. */
	struct bio_set splits;

	struct mutex mutex; /* of the two below */
	unsigned int openers;
	bool going; /* may not be opened any more */

	/* Writes that the host did not take, for the worker. */
	spinlock_t lock;
	struct list_head refused;
	struct work_struct refusals;
} blkdev = {
	.mutex = __MUTEX_INITIALIZER(blkdev.mutex),
	.lock = __SPIN_LOCK_UNLOCKED(blkdev.lock),
	.refused = LIST_HEAD_INIT(blkdev.refused),
};

/* A bio on its way to the host. */
struct preswap_write {
	struct list_head link;
	struct bio *bio;
	/* Requests under way, and one for who is still sending. */
	atomic_t pending;
	int error; /* of one of them; 0 if the host took all */
};

static unsigned long first_slot(const struct bio *bio)
{
	return bio->bi_iter.bi_sector >> (PAGE_SHIFT - SECTOR_SHIFT);
}

static unsigned int nr_slots(const struct bio *bio)
{
	return bio->bi_iter.bi_size >> PAGE_SHIFT;
}

static struct preswap_chunk *chunk_of(unsigned long slot)
{
	return preswap_find(&blkdev.area, slot);
}

/* How many of nr slots from `slot` on are in its chunk. */
static unsigned int within_chunk(unsigned long slot, unsigned int nr)
{
	return min(nr, PRESWAP_CHUNK_SLOTS - preswap_index(slot));
}

/* ---- places ---- */

/* The host is not to keep these pages, and nobody asks for them where they are. */
static void forget_slots(unsigned long slot, unsigned int nr)
{
	for (; nr; slot++, nr--) {
		struct preswap_chunk *chunk = chunk_of(slot);
		u32 index = preswap_index(slot);

		clear_bit(index, chunk->on_disk);
		if (test_and_clear_bit(index, chunk->stored))
			preswap_mark_stale(chunk, index, 1);
	}
}

static void move_slots_to_disk(unsigned long slot, unsigned int nr)
{
	forget_slots(slot, nr);
	for (; nr; slot++, nr--)
		set_bit(preswap_index(slot), chunk_of(slot)->on_disk);
}

enum place { NOWHERE, STORED, ON_DISK };

static enum place place_of(unsigned long slot)
{
	struct preswap_chunk *chunk = chunk_of(slot);
	u32 index = preswap_index(slot);

	if (test_bit(index, chunk->stored))
		return STORED;
	return test_bit(index, chunk->on_disk) ? ON_DISK : NOWHERE;
}

/* ---- reads ---- */

/* Gets the pages of a bio that are all stored. */
static int read_from_host(struct bio *bio)
{
	unsigned long slot = first_slot(bio);
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_bvec(bv, bio, iter) {
		struct page *page = bv.bv_page + (bv.bv_offset >> PAGE_SHIFT);
		unsigned int nr = bv.bv_len >> PAGE_SHIFT;

		while (nr) {
			unsigned int here = within_chunk(slot, nr);
			struct preswap_chunk *chunk = chunk_of(slot);
			int err = tmem_get_pages(blkdev.tmem, &chunk->object, preswap_index(slot),
						 page, here);

			if (err)
				return err;
			slot += here;
			page += here;
			nr -= here;
		}
	}
	return 0;
}

/* Reads a bio whose pages are all in one place, and ends it. */
static void read_from(struct bio *bio, enum place place)
{
	unsigned int nr = nr_slots(bio);
	int err;

	switch (place) {
	case NOWHERE:
		tmem_count(blkdev.tmem, zero_reads, nr);
		zero_fill_bio(bio);
		break;
	case STORED:
		err = read_from_host(bio);
		if (err) {
			tmem_count(blkdev.tmem, lost_pages, nr);
			pr_err_ratelimited(TMEM_NAME ": the host does not give back slot %lu: error %d\n",
					   first_slot(bio), err);
			bio_io_error(bio);
			return;
		}
		tmem_count(blkdev.tmem, loads, nr);
		break;
	case ON_DISK:
		tmem_count(blkdev.tmem, backing_reads, nr);
		bio_set_dev(bio, preswap_backing_bdev());
		submit_bio_noacct(bio);
		return;
	}
	bio_endio(bio);
}

/* Splits the bio until all its pages are in one place; the rest comes to us again. */
static void blkdev_read(struct bio *bio)
{
	unsigned long slot = first_slot(bio);
	unsigned int nr = nr_slots(bio), run = 1;
	enum place place = place_of(slot);

	while (run < nr && place_of(slot + run) == place)
		run++;
	if (run < nr) {
		struct bio *first = bio_split(bio, run << (PAGE_SHIFT - SECTOR_SHIFT), GFP_NOIO,
					      &blkdev.splits);

		bio_chain(first, bio);
		submit_bio_noacct(bio);
		bio = first;
	}
	read_from(bio, place);
}

/* ---- writes ---- */

static void end_write(struct preswap_write *write, blk_status_t status)
{
	struct bio *bio = write->bio;

	mempool_free(write, blkdev.writes);
	if (status)
		bio->bi_status = status;
	bio_endio(bio);
}

/* One of those on whom the write waits is done with it. From any context. */
static void drop_write(struct preswap_write *write)
{
	unsigned long flags;

	if (!atomic_dec_and_test(&write->pending))
		return;
	if (!write->error) {
		end_write(write, BLK_STS_OK);
		return;
	}
	spin_lock_irqsave(&blkdev.lock, flags);
	list_add_tail(&write->link, &blkdev.refused);
	spin_unlock_irqrestore(&blkdev.lock, flags);
	queue_work(blkdev.tmem->data, &blkdev.refusals);
}

static void put_done(struct tmem_req *req)
{
	struct preswap_write *write = req->data;
	struct preswap_chunk *chunk = req->more;
	unsigned int stored = 0, k;

	for (k = 0; k < req->nr_pages; k++) {
		u32 index = req->index + k;

		if (req->done >> k & 1) {
			clear_bit(index, chunk->on_disk);
			set_bit(index, chunk->stored);
			stored++;
		} else {
			/* A refused put leaves nothing behind. */
			clear_bit(index, chunk->stored);
		}
	}
	if (req->status == -ENOTCONN || req->status == -ETIMEDOUT)
		preswap_mark_stale(chunk, req->index, req->nr_pages);
	if (req->status == -TMEMIF_ENODEV)
		preswap_pool_lost(blkdev.tmem);
	tmem_count(blkdev.tmem, succ_stores, stored);
	tmem_count(blkdev.tmem, failed_stores, req->nr_pages - stored);
	if (stored < req->nr_pages)
		WRITE_ONCE(write->error, req->status < 0 ? req->status : -ENOSPC);
	drop_write(write);
}

/* Sends `nr` consecutive pages off. Returns 0 or a negative error. */
static int send_pages(struct preswap_write *write, unsigned long slot, struct page *page,
		      unsigned int nr)
{
	while (nr) {
		struct preswap_chunk *chunk = chunk_of(slot);
		int sent;

		atomic_inc(&write->pending);
		sent = tmem_put_pages(blkdev.tmem, &chunk->object, preswap_index(slot), page,
				      within_chunk(slot, nr), put_done, write, chunk);
		if (sent < 0) {
			atomic_dec(&write->pending);
			tmem_count(blkdev.tmem, failed_stores, nr);
			return sent;
		}
		slot += sent;
		page += sent;
		nr -= sent;
	}
	return 0;
}

/* The kernel waits for this write before it goes on: waiting for it here is cheaper. */
static void wait_shortly(struct preswap_write *write, unsigned long slot)
{
#ifdef TMEM_COMPAT_WRITES_WAITED_FOR
	tmem_spin_until(blkdev.tmem, &chunk_of(slot)->object, &write->pending, 1);
#endif
}

static void send_write(struct preswap_write *write)
{
	struct bio *bio = write->bio;
	unsigned long slot = first_slot(bio);
	struct bvec_iter iter;
	struct bio_vec bv;
	int err = 0;

	atomic_set(&write->pending, 1);
	write->error = 0;
	bio_for_each_bvec(bv, bio, iter) {
		err = send_pages(write, slot, bv.bv_page + (bv.bv_offset >> PAGE_SHIFT),
				 bv.bv_len >> PAGE_SHIFT);
		if (err)
			break;
		slot += bv.bv_len >> PAGE_SHIFT;
	}
	if (err)
		WRITE_ONCE(write->error, err);
	else
		wait_shortly(write, first_slot(bio));
	drop_write(write);
}

static void blkdev_write(struct bio *bio)
{
	struct preswap_write *write = mempool_alloc(blkdev.writes, GFP_NOIO);

	write->bio = bio;
	send_write(write);
}

/* The host did not take all of it. Process context. */
static void settle_refusal(struct preswap_write *write)
{
	struct block_device *disk = preswap_backing_bdev();
	struct bio *bio = write->bio;

	if (disk) {
		tmem_count(blkdev.tmem, backing_writes, nr_slots(bio));
		move_slots_to_disk(first_slot(bio), nr_slots(bio));
		mempool_free(write, blkdev.writes);
		bio_set_dev(bio, disk);
		submit_bio_noacct(bio);
	} else if (write->error == -ENOTCONN && !tmem_front_wait_up(blkdev.tmem)) {
		send_write(write);
	} else {
		tmem_count(blkdev.tmem, write_errors, nr_slots(bio));
		forget_slots(first_slot(bio), nr_slots(bio));
		end_write(write, BLK_STS_NOSPC);
	}
}

static void settle_refusals(struct work_struct *work)
{
	struct preswap_write *write, *next;
	LIST_HEAD(refused);

	spin_lock_irq(&blkdev.lock);
	list_splice_init(&blkdev.refused, &refused);
	spin_unlock_irq(&blkdev.lock);
	list_for_each_entry_safe(write, next, &refused, link) {
		list_del(&write->link);
		settle_refusal(write);
		cond_resched();
	}
}

/* ---- the disk ---- */

static bool is_whole_pages(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	if ((bio->bi_iter.bi_sector << SECTOR_SHIFT | bio->bi_iter.bi_size) & ~PAGE_MASK)
		return false;
	if (first_slot(bio) + nr_slots(bio) > blkdev.pages)
		return false;
	if (bio_op(bio) != REQ_OP_READ && bio_op(bio) != REQ_OP_WRITE)
		return true;
	bio_for_each_bvec(bv, bio, iter)
		if ((bv.bv_offset | bv.bv_len) & ~PAGE_MASK)
			return false;
	return true;
}

static void blkdev_submit(struct bio *bio)
{
	if (!is_whole_pages(bio)) {
		bio_io_error(bio);
		return;
	}
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		blkdev_read(bio);
		break;
	case REQ_OP_WRITE:
		blkdev_write(bio);
		break;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		forget_slots(first_slot(bio), nr_slots(bio));
		bio_endio(bio);
		break;
	default:
		bio->bi_status = BLK_STS_NOTSUPP;
		bio_endio(bio);
	}
}

TMEM_COMPAT_SUBMIT_BIO(blkdev_submit)

static void blkdev_slot_freed(struct block_device *bdev, unsigned long slot)
{
	if (WARN_ON_ONCE(slot >= blkdev.pages))
		return;
	forget_slots(slot, 1);
	tmem_count(blkdev.tmem, invalidates, 1);
}

static int blkdev_open(void)
{
	int err = 0;

	mutex_lock(&blkdev.mutex);
	if (blkdev.going)
		err = -ENXIO;
	else
		blkdev.openers++;
	mutex_unlock(&blkdev.mutex);
	return err;
}

static void blkdev_release(void)
{
	mutex_lock(&blkdev.mutex);
	blkdev.openers--;
	mutex_unlock(&blkdev.mutex);
}

TMEM_COMPAT_OPEN(blkdev_open)
TMEM_COMPAT_RELEASE(blkdev_release)

static const struct block_device_operations blkdev_ops = {
	.owner = THIS_MODULE,
	.open = TMEM_COMPAT_OPEN_OP(blkdev_open),
	.release = TMEM_COMPAT_OPEN_OP(blkdev_release),
	.submit_bio = TMEM_COMPAT_SUBMIT_BIO_OP(blkdev_submit),
	.swap_slot_free_notify = blkdev_slot_freed,
#ifdef TMEM_COMPAT_RW_PAGE
	.rw_page = tmem_compat_rw_page,
#endif
};

static ssize_t backing_dev_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", preswap_backing_name());
}

static ssize_t backing_dev_store(struct device *dev, struct device_attribute *attr,
				 const char *buf, size_t len)
{
	char *path = kstrndup(buf, len, GFP_KERNEL);
	int err;

	if (!path)
		return -ENOMEM;
	err = preswap_backing_open(strim(path), blkdev.pages);
	kfree(path);
	if (err)
		return err;
	WRITE_ONCE(blkdev.tmem->may_give_up_puts, true);
	return len;
}

static DEVICE_ATTR_RW(backing_dev);

static struct attribute *blkdev_attrs[] = {
	&dev_attr_backing_dev.attr,
	NULL,
};
ATTRIBUTE_GROUPS(blkdev);

static int add_disk_for_swap(void)
{
	struct gendisk *disk = tmem_compat_alloc_disk();
	int err;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->major = blkdev.major;
	disk->first_minor = 0;
	disk->minors = 1;
	disk->flags |= TMEM_COMPAT_NO_PART;
	disk->fops = &blkdev_ops;
	strscpy(disk->disk_name, BLKDEV_NAME, sizeof(disk->disk_name));
	set_capacity(disk, blkdev.pages << (PAGE_SHIFT - SECTOR_SHIFT));
	err = tmem_compat_add_disk(disk, blkdev_groups);
	if (err) {
		tmem_compat_put_disk(disk);
		return err;
	}
	blkdev.disk = disk;
	return 0;
}

/* ---- the mode ---- */

static u64 wanted_pages(void)
{
	u64 pages = (u64)tmem_params.size_mb << (20 - PAGE_SHIFT);
	u64 on_disk = preswap_backing_pages();

	if (!pages)
		pages = on_disk ? on_disk : 2 * (u64)totalram_pages();
	return on_disk ? min(pages, on_disk) : pages;
}

static int add_chunks(void)
{
	u64 slot;

	for (slot = 0; slot < blkdev.pages; slot += PRESWAP_CHUNK_SLOTS)
		if (!preswap_find_or_add(&blkdev.area, slot, GFP_KERNEL))
			return -ENOMEM;
	return 0;
}

static void blkdev_mode_exit(void)
{
	cancel_work_sync(&blkdev.refusals);
	preswap_area_free(&blkdev.area);
	preswap_backing_close();
	mempool_destroy(blkdev.writes);
	bioset_exit(&blkdev.splits);
	if (blkdev.major > 0)
		unregister_blkdev(blkdev.major, BLKDEV_NAME);
}

static int blkdev_mode_init(struct tmem *tmem)
{
	int err = 0;

	blkdev.tmem = tmem;
	INIT_WORK(&blkdev.refusals, settle_refusals);
	preswap_area_init(&blkdev.area, tmem, 0);
	if (tmem_params.backing) {
		err = preswap_backing_open(tmem_params.backing, 0);
		if (err)
			return err;
		tmem->may_give_up_puts = true;
	}
	blkdev.pages = wanted_pages();
	blkdev.major = register_blkdev(0, BLKDEV_NAME);
	blkdev.writes = mempool_create_kmalloc_pool(MIN_WRITES, sizeof(struct preswap_write));
	if (blkdev.major < 0)
		err = blkdev.major;
	else if (!blkdev.writes)
		err = -ENOMEM;
	else
		err = bioset_init(&blkdev.splits, BIO_POOL_SIZE, 0, BIOSET_NEED_RESCUER);
	if (err)
		blkdev_mode_exit();
	return err;
}

static int blkdev_mode_start(struct tmem *tmem)
{
	int err = 0;

	if (!blkdev.disk) {
		blkdev.going = false;
		err = add_chunks();
		if (!err)
			err = add_disk_for_swap();
	}
	preswap_area_kick(&blkdev.area);
	return err;
}

static bool blkdev_mode_stop(struct tmem *tmem)
{
	mutex_lock(&blkdev.mutex);
	blkdev.going = !blkdev.openers;
	mutex_unlock(&blkdev.mutex);
	if (!blkdev.going)
		return false;
	del_gendisk(blkdev.disk);
	tmem_compat_put_disk(blkdev.disk);
	blkdev.disk = NULL;
	return true;
}

static void blkdev_mode_stopped(void)
{
	preswap_area_free(&blkdev.area);
}

const struct preswap_mode preswap_blkdev = {
	.name = "blkdev",
	.init = blkdev_mode_init,
	.start = blkdev_mode_start,
	.stop = blkdev_mode_stop,
	.stopped = blkdev_mode_stopped,
	.exit = blkdev_mode_exit,
};
