// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The queue is the real frontend's: a copy of the object, for two modules share none. */
#include "../tmem_queue.c"
