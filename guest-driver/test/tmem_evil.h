/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A frontend that breaks the protocol, one rule at a time, to see that the host closes this
 * guest's connection and nothing else happens. For tests only.
 *
 *   insmod tmem_evil.ko violation=NAME
 *
 * prints one line, "tmem_evil: NAME: PASS ..." or "tmem_evil: NAME: FAIL ...", when the host has
 * reacted as docs/protocol.md says. violation=list prints all names and does nothing else.
 */
#ifndef TMEM_EVIL_H
#define TMEM_EVIL_H

#include <linux/completion.h>
#include <linux/workqueue.h>

#include "../tmem_queue.h"

struct evil {
	struct xenbus_device *xdev;
	const struct violation *violation;
	struct tmem_queue *q;
	unsigned int order, slots;
	bool offered, acted;
	enum xenbus_state host; /* the last that we heard of */
	wait_queue_head_t wait; /* woken by state changes and interrupts */
	struct work_struct act; /* once connected, or refused */
};

/* What a host has to do about it. */
enum reaction {
	CLOSES, /* with a reason in its key `error` */
	ANSWERS, /* with `status`; the connection stays */
	LIVES, /* anything, as long as an ordinary request is answered afterwards, or it closes */
};

struct violation {
	const char *name;
	enum reaction reaction;
	int status;

	/* In the handshake: this key has that value (NULL: is missing), */
	const char *key, *value;
	/* or the first directory page is tampered with before the host sees it. */
	void (*directory)(struct evil *evil, struct tmemif_directory *page);

	/* On the ring: this request, or anything else. */
	struct tmemif_request request;
	void (*ring)(struct evil *evil);
};

extern const struct violation violations[];
extern const unsigned int nr_violations;

/* Puts a request on the ring, whatever is in it. */
void evil_send(struct evil *evil, const struct tmemif_request *request);
/* Tells the host, whether or not it asked. */
void evil_kick(struct evil *evil);
/*
 * Waits for the next response. Returns 1, 0 if none came in time, or -1 if the host closed.
 */
int evil_receive(struct evil *evil, struct tmemif_response *response);

#endif /* TMEM_EVIL_H */
