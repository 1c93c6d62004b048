// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A queue's memory is the real frontend's, as in evil_memory.c. */
#include "../tmem_ring.c"
