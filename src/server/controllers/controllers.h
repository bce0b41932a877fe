/*
 * The controllers: level-triggered reconcilers on the server's loop. Each is desired() and diff(), pure,
 * and an apply() of one idempotent step, fed from de-duplicating queues by the registry's changes.
 */
#pragma once
struct server;
/* Creates the bootstrap objects and begins; once, after the registry is open. The server's changes reach the
 * controllers by subscription. */
void controllers_start(struct server *s);
void controllers_stop(struct server *s);
