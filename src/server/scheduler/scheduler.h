/*
 * Places pods that have no node and are ours (schedulerName "default-scheduler"): filters, then
 * scores, then a binding. Keeps its own small projection of nodes and assigned pods. No preemption.
 * Started by controllers_start.
 */
#pragma once
#include "server/controllers/cluster.h"
struct env;
struct scheduler;
struct scheduler *scheduler_new(struct env *env);
void scheduler_free(struct scheduler *s); /* NULL accepted */
void scheduler_change(struct scheduler *s, const char *resource, enum cluster_change what,
                      const json_t *object);
