#include "cli/progress.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void progress_init(struct progress *p)
{
    *p = (struct progress){.started = mono_now(), .terminal = isatty(STDOUT_FILENO)};
}

static void close_step(struct progress *p, const char *word, const char *note)
{
    if (!p->open)
        return;
    p->open = false;
    (void)printf("%s%-5s %-52s %6lld ms%s%s\n", p->terminal ? "\r" : "", word, p->step,
                 (long long)mono_ms_since(p->step_started), note ? "  " : "", note ? note : "");
    (void)fflush(stdout);
}

void progress_step(struct progress *p, const char *fmt, ...)
{
    va_list ap;

    close_step(p, "ok", NULL);
    va_start(ap, fmt);
    (void)vsnprintf(p->step, sizeof p->step, fmt, ap);
    va_end(ap);
    p->step_started = mono_now();
    p->open = true;
    if (p->terminal) {
        (void)printf("...   %-52s", p->step);
        (void)fflush(stdout);
    }
}

void progress_done(struct progress *p, const char *note)
{
    close_step(p, "ok", note);
}

void progress_fail(struct progress *p, const char *sentence)
{
    close_step(p, "FAIL", NULL);
    (void)fprintf(stderr, "skiff: %s\n", sentence);
}

int64_t progress_total_ms(const struct progress *p)
{
    return mono_ms_since(p->started);
}
