// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A queue's memory is the real frontend's: a copy of the object, for two modules share none. */
#include "../tmem_ring.c"
