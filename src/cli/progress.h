/*
 * Steps of a command as a person sees them: on a terminal one line a step with its milliseconds,
 * drawn when it begins and completed when it ends; elsewhere one plain line when it ends.
 */
#pragma once
#include "base/time.h"
#include <stdbool.h>
struct progress {
    struct mono started, step_started;
    char step[96];
    bool terminal, open;
};
void progress_init(struct progress *p);
/* Ends the open step as done and begins another. */
void progress_step(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends the open step; note (may be NULL) is shown behind it. */
void progress_done(struct progress *p, const char *note);
/* Ends the open step as failed, and prints the sentence on stderr. */
void progress_fail(struct progress *p, const char *sentence);
int64_t progress_total_ms(const struct progress *p);
