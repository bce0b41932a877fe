/*
 * Spawning programs with a deadline, without blocking the loop. Output is captured up to a bound;
 * over the deadline the process group gets SIGKILL and the result says so.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "loop/loop.h"
struct process;
struct process_result {
    int wait_status; /* as waitpid(2); meaningless when timed_out or start failed */
    bool timed_out;
    struct str out, err; /* borrowed; stderr's tail is in err */
};
typedef void (*process_done_fn)(struct process *p, const struct process_result *r, void *arg);
struct process_spec {
    const char *const *argv;  /* argv[0] looked up in PATH when it has no '/' */
    const char *const *env;   /* NULL inherits */
    const char *cwd;          /* NULL inherits */
    struct str input;         /* copied; written to stdin, then closed; empty is /dev/null */
    size_t out_max;           /* 0 means 64 KiB; output over it is dropped (counted as truncated) */
    int64_t timeout_ms;       /* 0 means 60 s; negative none */
    int keep_fd;              /* an extra descriptor passed as fd 3, or 0 for none; borrowed */
    const char *cgroup_procs; /* path of a cgroup.procs to enter before exec, or NULL */
    int netns_fd;             /* > 0: setns(CLONE_NEWNET) before exec */
};
/* Starts; done is called exactly once from the loop unless process_cancel came first. */
int process_start(struct loop *l, const struct process_spec *spec, process_done_fn done, void *arg,
                  struct process **ret, struct error **err);
/* Kills the group and frees without calling back. NULL accepted. */
void process_cancel(struct process *p);
pid_t process_pid(const struct process *p);
/* Text of a wait status: "exit status 1", "killed by SIGKILL". */
void process_status_text(int wait_status, char *out, size_t n);
/* Blocking variant for command-line tools, workers and tests; never in a daemon's loop. Output into
 * out (may be NULL, initialised by caller). Returns 0 when the program exited 0; else -ECHILD with
 * stderr's last line in the message, -ETIMEDOUT. */
int process_run(const char *const *argv, struct str input, int64_t timeout_ms, struct buf *out,
                struct error **err);
