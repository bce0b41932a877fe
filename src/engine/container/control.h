/*
 * The engine's end of a monitor's control socket. The connection is kept for the container's life:
 * its end means that the monitor has ended, after it left the exit record if it could.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
#include "monitor/control.h"

struct control;
typedef void (*control_gone_fn)(void *arg);
/* code: 0 or a positive errno from the monitor; ECONNRESET when it is gone. */
typedef void (*control_answer_fn)(int code, void *arg);
/* dir is the container's run directory. */
int control_connect(struct loop *l, const char *dir, control_gone_fn gone, void *arg,
                    struct control **ret, struct error **err);
void control_free(
    struct control *c); /* no callbacks afterwards; NULL accepted; not from inside an answer */
/* fn may be NULL. */
void control_kill(struct control *c, int signal, control_answer_fn fn, void *arg);
void control_reopen_log(struct control *c, control_answer_fn fn, void *arg);
void control_resize(struct control *c, unsigned width, unsigned height);
/* Descriptors (-1: none) are borrowed. */
void control_attach(struct control *c, int in, int out, int err, control_answer_fn fn, void *arg);
