// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The violations, one for each rule of docs/protocol.md ("Who breaks the rules"), and what only
 * looks like one. Each stands for itself; tmem_evil.c carries them out.
 */
#include "tmem_evil.h"

#define KEY(nm, k, v) { .name = nm, .reaction = CLOSES, .key = k, .value = v }
#define DIRECTORY(nm, fn) { .name = nm, .reaction = CLOSES, .directory = fn }
#define REQUEST(nm, ...) { .name = nm, .reaction = CLOSES, .request = { __VA_ARGS__ } }
#define ANSWERED(nm, st, ...) \
	{ .name = nm, .reaction = ANSWERS, .status = st, .request = { __VA_ARGS__ } }
#define RING(nm, what, fn) { .name = nm, .reaction = what, .ring = fn }

#define PERSISTENT (TMEMIF_POOL_PERSIST | TMEMIF_SPEC_VERSION << TMEMIF_POOL_VERSION_SHIFT)

/* ---- directory pages ---- */

static void too_few(struct evil *evil, struct tmemif_directory *page)
{
	page->count--;
}

static void too_many(struct evil *evil, struct tmemif_directory *page)
{
	page->count++;
	page->ref[page->count - 1] = page->ref[0];
}

static void huge_count(struct evil *evil, struct tmemif_directory *page)
{
	page->count = ~0u;
}

static void reserved_word(struct evil *evil, struct tmemif_directory *page)
{
	page->reserved[1] = 1;
}

static void endless(struct evil *evil, struct tmemif_directory *page)
{
	page->next = tmem_queue_directory(evil->q);
}

static void null_reference(struct evil *evil, struct tmemif_directory *page)
{
	page->ref[1] = TMEMIF_DIRECTORY_END;
}

static void not_granted(struct evil *evil, struct tmemif_directory *page)
{
	page->ref[page->count - 1] = 0xfffffff0;
}

/* ---- the ring ---- */

static void overrun(struct evil *evil)
{
	evil->q->req_prod += evil->q->entries + 1;
	/* As a correct frontend shows its requests. */
	virt_store_release(&evil->q->ring->req_prod, evil->q->req_prod);
	evil_kick(evil);
}

static void backwards(struct evil *evil)
{
	/* The same. */
	virt_store_release(&evil->q->ring->req_prod, evil->q->req_prod - 1);
	evil_kick(evil);
}

/* A thousand events, with nothing to see. */
static void storm(struct evil *evil)
{
	int i;

	for (i = 0; i < 1000; i++)
		evil_kick(evil);
}

/* Writes where only the host may, and where nobody may. */
static void scribble(struct evil *evil)
{
	evil->q->ring->req_event = 12345;
	evil->q->ring->back_reserved[3] = ~0u;
	evil->q->ring->front_reserved[3] = ~0u;
	evil->q->ring->rsp_event = 0x80000000;
	evil_kick(evil);
}

/* Changes requests under the host's eyes, between what is allowed and what is not. */
static void mutate(struct evil *evil)
{
	const struct tmemif_request flush = {
		.op = TMEMIF_OP_FLUSH_PAGE,
		.u.page = { .nr_pages = 1 },
	};
	struct tmemif_request *shared = (void *)evil->q->ring + TMEMIF_REQUESTS_OFFSET;
	int i, k;

	for (i = 0; i < 200; i++) {
		struct tmemif_response response;

		evil_send(evil, &flush);
		for (k = 0; k < 1000; k++) {
			WRITE_ONCE(shared[i % evil->q->entries].u.page.nr_pages, k & 1 ? 1u : ~0u);
			WRITE_ONCE(shared[i % evil->q->entries].op, k);
		}
		if (evil_receive(evil, &response) <= 0)
			return;
	}
}

/* Full of requests all the time, none of them taken off. */
static void never_receive(struct evil *evil)
{
	const struct tmemif_request flush = {
		.op = TMEMIF_OP_FLUSH_OBJECT,
	};
	u32 i;

	for (i = 0; i < evil->q->entries; i++)
		evil_send(evil, &flush);
}

const struct violation violations[] = {
	KEY("no-version", "version", NULL),
	KEY("wrong-version", "version", "2"),
	KEY("huge-version", "version", "4294967297"),
	KEY("no-queues", "num-queues", "0"),
	KEY("many-queues", "num-queues", "17"),
	KEY("missing-queues", "num-queues", NULL),
	KEY("more-queues-than-keys", "num-queues", "2"),
	KEY("text-queues", "num-queues", "one"),
	KEY("signed-queues", "num-queues", "-1"),
	KEY("spaced-queues", "num-queues", " 1"),
	KEY("empty-queues", "num-queues", ""),
	KEY("big-ring", "ring-page-order", "5"),
	KEY("no-ring-order", "ring-page-order", NULL),
	KEY("no-slots", "num-slots", "0"),
	KEY("many-slots", "num-slots", "1025"),
	KEY("fewer-slots", "num-slots", "1"),
	KEY("wrong-feature", "feature-posted-put", "2"),
	KEY("no-directory", "queue-0/directory-ref", NULL),
	KEY("null-directory", "queue-0/directory-ref", "0"),
	KEY("wrong-directory", "queue-0/directory-ref", "4294967280"),
	KEY("no-channel", "queue-0/event-channel", NULL),
	KEY("null-channel", "queue-0/event-channel", "0"),
	KEY("wrong-channel", "queue-0/event-channel", "1000"),
	DIRECTORY("directory-too-few", too_few),
	DIRECTORY("directory-too-many", too_many),
	DIRECTORY("directory-huge-count", huge_count),
	DIRECTORY("directory-reserved", reserved_word),
	DIRECTORY("directory-endless", endless),
	DIRECTORY("directory-null-reference", null_reference),
	DIRECTORY("directory-not-granted", not_granted),

	RING("overrun", CLOSES, overrun),
	RING("backwards", CLOSES, backwards),
	REQUEST("unknown-flag", .op = TMEMIF_OP_GET_PAGE, .flags = 2, .u.page.nr_pages = 1),
	REQUEST("posted-unagreed", .op = TMEMIF_OP_PUT_PAGE, .flags = TMEMIF_REQ_POSTED,
		.u.page.nr_pages = 1),
	REQUEST("posted-flush", .op = TMEMIF_OP_FLUSH_PAGE, .flags = TMEMIF_REQ_POSTED,
		.u.page.nr_pages = 1),
	REQUEST("no-pages", .op = TMEMIF_OP_GET_PAGE),
	REQUEST("many-pages", .op = TMEMIF_OP_FLUSH_PAGE, .u.page.nr_pages = 65),
	REQUEST("huge-pages", .op = TMEMIF_OP_PUT_PAGE, .u.page.nr_pages = ~0u),
	REQUEST("index-overflow", .op = TMEMIF_OP_FLUSH_PAGE,
		.u.page = { .index = ~0u, .nr_pages = 2 }),
	REQUEST("slot-overflow", .op = TMEMIF_OP_GET_PAGE,
		.u.page = { .slot = 15, .nr_pages = 2 }),
	REQUEST("slot-huge", .op = TMEMIF_OP_PUT_PAGE, .u.page = { .slot = ~0u, .nr_pages = 1 }),
	REQUEST("slot-of-flush", .op = TMEMIF_OP_FLUSH_PAGE,
		.u.page = { .slot = 1, .nr_pages = 1 }),
	REQUEST("page-reserved0", .op = TMEMIF_OP_GET_PAGE,
		.u.page = { .nr_pages = 1, .reserved0 = 1 }),
	REQUEST("page-reserved1", .op = TMEMIF_OP_GET_PAGE,
		.u.page = { .nr_pages = 1, .reserved1 = { 0, 1 } }),
	REQUEST("object-reserved", .op = TMEMIF_OP_FLUSH_OBJECT, .u.object.reserved = { 1 }),
	REQUEST("destroy-arguments", .op = TMEMIF_OP_DESTROY_POOL, .u.words = { 1 }),
	REQUEST("new-pool-reserved", .op = TMEMIF_OP_NEW_POOL, .u.new_pool.reserved1 = { 1 }),
	REQUEST("new-pool-pool", .op = TMEMIF_OP_NEW_POOL, .pool = 1,
		.u.new_pool.flags = PERSISTENT),

	ANSWERED("operation-3", -TMEMIF_ENOSYS, .op = 3),
	ANSWERED("operation-255", -TMEMIF_ENOSYS, .op = 255),
	ANSWERED("unknown-pool", -TMEMIF_ENODEV, .op = TMEMIF_OP_GET_PAGE, .pool = 15,
		 .u.page.nr_pages = 1),
	ANSWERED("negative-pool", -TMEMIF_ENODEV, .op = TMEMIF_OP_DESTROY_POOL, .pool = ~0u),
	ANSWERED("persistent-shared", -TMEMIF_EPERM, .op = TMEMIF_OP_NEW_POOL,
		 .u.new_pool.flags = PERSISTENT | TMEMIF_POOL_SHARED),
	ANSWERED("precompressed", -TMEMIF_EPERM, .op = TMEMIF_OP_NEW_POOL,
		 .u.new_pool.flags = PERSISTENT | TMEMIF_POOL_PRECOMPRESSED),
	ANSWERED("pool-reserved-bits", -TMEMIF_EPERM, .op = TMEMIF_OP_NEW_POOL,
		 .u.new_pool.flags = PERSISTENT | 0x100),
	ANSWERED("pool-old-version", -TMEMIF_EPERM, .op = TMEMIF_OP_NEW_POOL,
		 .u.new_pool.flags = TMEMIF_POOL_PERSIST),
	RING("storm", LIVES, storm),
	RING("scribble", LIVES, scribble),
	RING("mutate", LIVES, mutate),
	RING("never-receive", LIVES, never_receive),
};

const unsigned int nr_violations = ARRAY_SIZE(violations);
