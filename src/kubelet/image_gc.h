/*
 * Removing images nobody uses when their disk is fuller than the high threshold, least recently
 * used first, until it is down to the low one. Looked at every five minutes, as upstream.
 */
#pragma once
#include "kubelet/pod.h"
struct image_gc;
struct image_gc *image_gc_start(struct kubelet *k);
void image_gc_stop(struct image_gc *g); /* NULL accepted */
/* How many bytes must go: 0 when used percent is below high. Pure. */
int64_t image_gc_excess(int64_t capacity, int64_t available, int64_t high_percent,
                        int64_t low_percent);
