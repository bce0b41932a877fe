/*
 * Places pods that have no node and are ours (schedulerName "default-scheduler"): filters, then scores,
 * then a binding. Keeps its own small projection of nodes and assigned pods. No preemption.
 */
#pragma once
struct server;
void scheduler_start(struct server *s);
void scheduler_stop(struct server *s);
