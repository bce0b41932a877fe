/* Undo of `up`: what is left after `down` is removed, deepest mounts first, never across a mount of
 * others. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/mem.h"
#include "cli/down.h"
#include "cli/found.h"
#include "cli/pods_stop.h"
#include "cli/progress.h"
#include "cli/sweep.h"
#include "cli/supervise.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int remove_pods(const struct layout *l, struct error **err)
{
    int r;

    if (!supervise_role_pid(l, ROLE_ENGINE))
        return 0;
    r = pods_stop(l->engine_socket, true, err);
    return r < 0 && r != -ENOENT ? r : 0;
}

/* The agent first, so that nothing comes back; then sandboxes while the engine can take them down
 * properly. */
static int stop_all(const struct layout *l, struct error **err)
{
    pid_t supervisor = supervise_running(l), agent = supervise_role_pid(l, ROLE_AGENT);

    if (supervisor)
        sweep_freeze(supervisor);
    if (agent)
        sweep_end(agent);
    if (remove_pods(l, err) < 0) {
        (void)fprintf(stderr, "skiff: %s; going on without the engine\n", error_message(*err));
        error_clear(err);
    }
    return down_run(l, err);
}

static int reset_run(const struct layout *l, struct progress *p, struct error **err)
{
    static const struct {
        const char *step;
        int (*fn)(const struct layout *, struct error **);
    } steps[] = {
        {"pods and processes stopped", stop_all},
        {"leftover containers ended", sweep_processes},
        {"mounts and namespaces released", sweep_mounts},
        {"links and rules removed", sweep_network},
        {"cgroups removed", sweep_cgroups},
        {"settings put back", found_restore},
        {"files removed", sweep_files},
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int r;

        progress_step(p, "%s", steps[i].step);
        r = steps[i].fn(l, err);
        if (r < 0)
            return r;
    }
    progress_done(p, NULL);
    return 0;
}

static bool confirmed(const struct layout *l)
{
    char answer[16] = "";

    (void)printf("This stops all pods and removes %s with every image, volume and object in it. "
                 "Type yes to go on: ",
                 l->data);
    (void)fflush(stdout);
    return fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0;
}

int reset_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *data = NULL, *run = NULL;
    bool yes = false;
    struct flag flags[] = {
        {.name = "yes", .shorthand = 'y', .type = FLAG_BOOL, .target = &yes, .help = "do not ask"},
        {.name = "data-dir",
         .type = FLAG_STRING,
         .target = &data,
         .help = "state [" LAYOUT_DATA "]"},
        {.name = "run-dir",
         .type = FLAG_STRING,
         .target = &run,
         .help = "sockets and locks [" LAYOUT_RUN "]"},
    };
    struct progress p;
    struct layout l;
    int r = flags_parse("skiff reset", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);

    if (r == FLAGS_HELP)
        return 0;
    if (r < 0) {
        (void)fprintf(stderr, "%s\n", error_message(err));
        return 1;
    }
    layout_init(&l, data, run);
    progress_init(&p);
    if (geteuid() != 0) {
        r = error_set(&err, EPERM, "reset needs root; run it with sudo");
        (void)fprintf(stderr, "skiff: %s\n", error_message(err));
    } else if (!yes && !confirmed(&l)) {
        (void)fprintf(stderr, "skiff: nothing was changed\n");
        r = -ECANCELED;
    } else {
        r = reset_run(&l, &p, &err);
        if (r < 0)
            progress_fail(&p, error_message(err));
    }
    layout_fini(&l);
    return r < 0 ? 1 : 0;
}
