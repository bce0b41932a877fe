/*
 * What a pod that should run needs next. Pure: a view of the pod in, one step out.
 *
 *   no usable sandbox: stop what is left of the old one, make a new one
 *   init containers one after another, sidecars as soon as they have started, then all main
 * containers what exited restarts by policy after its back-off; what is unhealthy or changed is
 * killed first
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum view_state { VIEW_NONE, VIEW_CREATED, VIEW_RUNNING, VIEW_EXITED, VIEW_UNKNOWN };
enum view_kind { VIEW_INIT, VIEW_SIDECAR, VIEW_MAIN, VIEW_EPHEMERAL };
struct container_view { /* one container of the spec */
    enum view_kind kind;
    enum view_state state; /* of the newest run, in whatever sandbox */
    bool in_sandbox;       /* that run belongs to the newest sandbox */
    int exit_code;
    bool started;   /* startup probe passed or there is none */
    bool unhealthy; /* liveness or startup probe failed for good */
    bool changed;   /* definition differs from what runs */
    bool being_killed;
    int64_t not_before_ns; /* restart or retry back-off; 0 none */
};
enum view_policy { VIEW_ALWAYS, VIEW_ON_FAILURE, VIEW_NEVER };
struct pod_view {
    enum view_policy policy;
    bool has_sandbox, sandbox_ready;
    int64_t sandbox_not_before_ns;
    int64_t now_ns;
    const struct container_view *c;
    size_t n;
};
enum step {
    STEP_NONE,
    STEP_FINISHED,
    STEP_SANDBOX_CREATE,
    STEP_SANDBOX_STOP,
    STEP_START,
    STEP_KILL
};
struct decision {
    enum step step;
    size_t i;        /* container of STEP_START, STEP_KILL */
    int64_t wake_ns; /* look again then; 0 not by time */
};
struct decision decide(const struct pod_view *v);
/* Would this container be started again, back-off aside? */
bool view_restarts(const struct pod_view *v, const struct container_view *c);
/* All init containers have done their part in this sandbox. */
bool view_initialized(const struct pod_view *v);

/* Crash back-off. Is a restart of what ended at finished_ns due at now? Negative: yes; else wall
 * time when it is. */
struct crash_backoff;
int64_t crash_due_ns(const struct crash_backoff *b, int64_t finished_ns, int64_t now_ns,
                     int64_t max_ns);
/* It is being restarted now: the next wait grows. */
void crash_next(struct crash_backoff *b, int64_t now_ns, int64_t max_ns);
