/* What a container left as its last words. */
#pragma once
#include "kubelet/pod.h"
void termination_read(struct run *r); /* reads file or log into last_words */
char *termination_message(struct arena *a, struct container *c,
                          const struct run *r); /* NULL: none */
