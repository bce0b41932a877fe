#include "cli/down.h"
#include "base/cleanup.h"
#include "base/flags.h"
#include "cli/pods_stop.h"
#include "cli/progress.h"
#include "cli/supervise.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define END_MS 12000

/* SIGTERM, then SIGKILL; waits on a pidfd, so a reused pid is never hit. */
static int end_process(pid_t pid, int wait_ms, struct error **err)
{
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return 0;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
    if (poll(&p, 1, wait_ms) == 1)
        return 0;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    if (poll(&p, 1, 2000) == 1)
        return 0;
    return error_set(err, ETIMEDOUT, "process %d does not end, not even by SIGKILL", (int)pid);
}

/* The agent goes first, or it would start the pods again. The supervisor is stopped before it, and
 * what it left (killed, for example) is ended role by role. */
int down_run(const struct layout *l, struct error **err)
{
    static const enum role_id order[] = {ROLE_AGENT, ROLE_ENGINE, ROLE_SERVER};
    pid_t agent = supervise_role_pid(l, ROLE_AGENT), supervisor;
    int r = 0;

    /* Frozen, the supervisor cannot bring the agent back while the pods stop. */
    supervisor = supervise_running(l);
    if (supervisor)
        (void)kill(supervisor, SIGSTOP);
    if (agent)
        r = end_process(agent, END_MS, err);
    if (r == 0 && supervise_role_pid(l, ROLE_ENGINE)) {
        r = pods_stop(l->engine_socket, false, err);
        r = r < 0 && r != -ENOENT ? r : 0;
    }
    if (supervisor) {
        (void)kill(supervisor, SIGTERM);
        (void)kill(supervisor, SIGCONT);
        if (r == 0)
            r = end_process(supervisor, END_MS, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(order) && r == 0; i++) {
        pid_t pid = supervise_role_pid(l, order[i]);

        if (pid)
            r = end_process(pid, END_MS, err);
    }
    return r;
}

int down_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *data = NULL, *run = NULL;
    struct flag flags[] = {
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
    int r = flags_parse("skiff down", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);

    if (r == FLAGS_HELP)
        return 0;
    if (r < 0) {
        (void)fprintf(stderr, "%s\n", error_message(err));
        return 1;
    }
    layout_init(&l, data, run);
    progress_init(&p);
    progress_step(&p, "pods and processes stopped");
    r = down_run(&l, &err);
    if (r < 0)
        progress_fail(&p, error_message(err));
    else
        progress_done(&p, NULL);
    layout_fini(&l);
    return r < 0 ? 1 : 0;
}
