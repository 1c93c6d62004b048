/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The least that a ring can be: a page of which each side polls a word, one request at a time,
 * with nothing in it. tmem_bench.ko asks, lab/echo-ring answers; what a round trip on the real
 * ring costs is told as a multiple of that.
 */
#ifndef ECHO_PAGE_H
#define ECHO_PAGE_H

#include <linux/types.h>

/* The frontend's key with the page's grant reference. */
#define ECHO_KEY "echo-ref"

enum echo_state {
	ECHO_RESTS, /* sleeps and looks now and then: the processor is for others */
	ECHO_POLLS, /* answers at once */
	ECHO_ENDS,
};

/* Each word has a cache line of its own, and one side that writes it. */
struct echo_page {
	__u32 wanted; /* an echo_state; the guest's */
	__u32 pad0[15];
	__u32 state; /* the host's */
	__u32 pad1[15];
	__u32 asked; /* a number; the guest's */
	__u32 pad2[15];
	__u32 answered; /* the same number; the host's */
	__u32 pad3[15];
};

#endif /* ECHO_PAGE_H */
