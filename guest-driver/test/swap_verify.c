// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Verifies that memory which was swapped out comes back as it was.
 *
 *   swap_verify MIB SECONDS [THREADS [SEED]]
 *
 * Each thread has its share of the memory and does to it, at random: fill a run of pages anew,
 * push a run out (MADV_PAGEOUT), drop a run (MADV_DONTNEED: its swap slots are freed and soon used
 * again, by pages that must not be hit by the late flush of the old ones), and check a run. Every
 * page carries its number and generation, and data that follow from both; dropped pages must
 * read as zeros. What is expected is kept in locked memory.
 *
 * After SECONDS, or SIGTERM, all pages are checked once more.
 * Prints "swap_verify: OK checked=N filled=N dropped=N" and ends with 0, or says which page was
 * wrong and ends with 1.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGE 4096u
#define WORDS (PAGE / sizeof(uint64_t))
#define LONGEST_RUN 64

struct worker {
	pthread_t thread;
	uint64_t *memory;
	uint32_t *generations; /* 0: dropped, reads as zeros */
	size_t pages;
	uint64_t random;
	time_t until;
	unsigned long checked, filled, dropped;
	int failed;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = 1;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t next_random(struct worker *w)
{
	w->random += 0x9e3779b97f4a7c15ull;
	return mix(w->random);
}

/* Half of the words are alike, so that pages shrink about as real ones do. */
static uint64_t word_of(const struct worker *w, size_t page, size_t word)
{
	uint64_t key = (uintptr_t)w->memory + page * PAGE + ((uint64_t)w->generations[page] << 48);

	if (!w->generations[page])
		return 0;
	return word < WORDS / 2 ? mix(key + word) : key;
}

static void fill(struct worker *w, size_t page)
{
	size_t i;

	w->generations[page] = w->generations[page] % 0xffff + 1;
	for (i = 0; i < WORDS; i++)
		w->memory[page * WORDS + i] = word_of(w, page, i);
	w->filled++;
}

static int check(struct worker *w, size_t page)
{
	size_t i;

	for (i = 0; i < WORDS; i++) {
		uint64_t found = w->memory[page * WORDS + i], want = word_of(w, page, i);

		if (found != want) {
			printf("swap_verify: FAIL page %zu generation %u word %zu: %016llx, not %016llx\n",
			       page, w->generations[page], i, (unsigned long long)found,
			       (unsigned long long)want);
			return 0;
		}
	}
	w->checked++;
	return 1;
}

static int step(struct worker *w)
{
	size_t first = next_random(w) % w->pages;
	size_t nr = next_random(w) % LONGEST_RUN + 1;
	size_t k;

	if (nr > w->pages - first)
		nr = w->pages - first;
	switch (next_random(w) % 8) {
	case 0:
	case 1:
		for (k = first; k < first + nr; k++)
			fill(w, k);
		/* fall through */
	case 2:
	case 3:
		madvise(w->memory + first * WORDS, nr * PAGE, MADV_PAGEOUT);
		break;
	case 4:
		madvise(w->memory + first * WORDS, nr * PAGE, MADV_DONTNEED);
		memset(w->generations + first, 0, nr * sizeof(*w->generations));
		w->dropped += nr;
		break;
	default:
		for (k = first; k < first + nr; k++)
			if (!check(w, k))
				return 0;
	}
	return 1;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	size_t k;

	for (k = 0; k < w->pages; k++)
		fill(w, k);
	do {
		for (k = 0; k < 100 && !w->failed; k++)
			w->failed = !step(w);
	} while (!w->failed && !stopped && time(NULL) < w->until);
	for (k = 0; k < w->pages && !w->failed; k++)
		w->failed = !check(w, k);
	return NULL;
}

static void start(struct worker *w, size_t pages, time_t until, uint64_t seed)
{
	size_t table = pages * sizeof(*w->generations);

	w->pages = pages;
	w->until = until;
	w->random = mix(seed);
	w->memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	w->generations = mmap(NULL, table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	if (w->memory == MAP_FAILED || w->generations == MAP_FAILED ||
	    mlock(w->generations, table) || pthread_create(&w->thread, NULL, run, w)) {
		perror("swap_verify: FAIL");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	size_t pages = argc > 1 ? strtoul(argv[1], NULL, 0) << 8 : 0;
	unsigned long seconds = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned long threads = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
	unsigned long checked = 0, filled = 0, dropped = 0, i;
	struct worker *workers;
	int failed = 0;

	if (!pages || !threads || threads > pages) {
		fprintf(stderr, "usage: swap_verify MIB SECONDS [THREADS [SEED]]\n");
		return 2;
	}
	signal(SIGTERM, stop);
	workers = calloc(threads, sizeof(*workers));
	if (!workers)
		return 2;
	for (i = 0; i < threads; i++)
		start(&workers[i], pages / threads, time(NULL) + seconds, seed + i);
	for (i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		failed |= workers[i].failed;
		checked += workers[i].checked;
		filled += workers[i].filled;
		dropped += workers[i].dropped;
	}
	if (!failed)
		printf("swap_verify: OK checked=%lu filled=%lu dropped=%lu\n", checked, filled,
		       dropped);
	return failed;
}
