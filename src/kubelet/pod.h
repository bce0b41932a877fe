/*
 * One pod on this node, and what the files of the pod half share about it.
 *
 *   sources (API watch, manifests) --> struct pod --> decide() --> one operation at a time -->
 * engine (CRI) ^                                                    |
 *                                          +---------------- observation <----------------------+
 *
 * A pod is stepped when something may have changed: its spec, an observation, the end of an
 * operation, a timer, a probe's verdict. A step looks at what is wanted and what was last observed
 * and starts at most one operation. An operation ends in a new observation, never in an assumption.
 */
#pragma once
#include "api/client.h"
#include "api/recorder.h"
#include "base/list.h"
#include "base/map.h"
#include "cri.pb-c.h"
#include "kubelet/kubelet.h"
#include "net/grpc.h"

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"
#define ANNOTATION_HASH "io.kubernetes.container.hash"
#define ANNOTATION_RESTART_COUNT "io.kubernetes.container.restartCount"
#define ANNOTATION_TERMINATION_PATH "io.kubernetes.container.terminationMessagePath"
#define ANNOTATION_TERMINATION_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define ANNOTATION_GRACE "io.kubernetes.pod.terminationGracePeriod"
#define ANNOTATION_MIRROR "kubernetes.io/config.mirror"
#define ANNOTATION_CONFIG_HASH "kubernetes.io/config.hash"
#define ANNOTATION_CONFIG_SOURCE "kubernetes.io/config.source"
#define ANNOTATION_CONFIG_SEEN "kubernetes.io/config.seen"
#define CRI_RUNTIME(method) "/runtime.v1.RuntimeService/" method
#define CRI_IMAGE(method) "/runtime.v1.ImageService/" method
#define TERMINATION_MESSAGE_MAX 4096

struct pod;
struct container;
struct refs;
struct prober;
struct node;

/* ---- what the engine has ---- */
enum run_state { RUN_CREATED, RUN_RUNNING, RUN_EXITED, RUN_UNKNOWN };
struct run { /* one container of the engine's */
    char *id, *sandbox_id, *name, *hash;
    uint32_t attempt;
    enum run_state state;
    bool detailed; /* what follows was read in this state */
    int64_t created_ns, started_ns, finished_ns;
    int32_t exit_code;
    char *reason, *message, *image, *image_ref, *log_path;
    char *last_words_file, *last_words; /* termination message: where, and what (once it exited) */
    bool last_words_from_log;
    int64_t grace_s; /* from its annotation; -1 unknown */
};
struct sandbox {
    char *id;
    uint32_t attempt;
    bool ready, detailed, host_network;
    int64_t created_ns;
    char *ip, *ip2; /* NULL when there is none */
};
struct observed { /* newest first */
    struct run *runs;
    size_t n_runs;
    struct sandbox *sandboxes;
    size_t n_sandboxes;
};
void observed_fini(struct observed *o);
/* Newest run of a container, in one sandbox or (NULL) any; the n-th newest. NULL when there is
 * none. */
const struct run *observed_run(const struct observed *o, const char *name, const char *sandbox_id,
                               unsigned nth);
const struct sandbox *observed_sandbox(const struct observed *o); /* newest, or NULL */
bool observed_any_running(const struct observed *o);

/* ---- containers ---- */
enum container_kind { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_MAIN, CONTAINER_EPHEMERAL };
enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };
struct crash_backoff { /* upstream's: first restart at once, then 10 s doubling to the cap;
                          forgotten after twice the cap */
    int64_t delay_ns, updated_ns; /* 0: no entry; wall time of the last restart */
};
struct container {
    struct pod *pod;
    K8s__Container *spec; /* inside pod->api */
    enum container_kind kind;
    char hash[17];
    char *wait_reason, *wait_message; /* why it does not run; NULL: nothing special */
    struct crash_backoff crash;
    int64_t pull_delay_ns, pull_next_ns; /* image back-off, wall */
    int64_t retry_ns;                    /* not before this wall time; 0 now */
    char *image_ref;                     /* resolved by the last successful look-up */
    char *image_user;                    /* of the image, when it is a name */
    int64_t image_uid;                   /* else its number; 0 root or unknown */
    struct prober *probers[PROBE_KINDS];
    char *probed_id;     /* container the probers are for */
    bool started, ready; /* probes' verdicts for probed_id */
    bool unhealthy;      /* liveness or startup failed: to be killed */
    enum probe_kind unhealthy_by;
    /* last known by the API server, for a kubelet that has just started */
    int32_t known_restarts;
    char *known_ready_id;
};

/* ---- one container being killed ---- */
struct kill {
    struct list link;
    struct pod *pod;
    char *id, *name;
    int64_t deadline_ns; /* mono: end of the grace period */
    struct grpc_call *call;
    struct hook *hook;
    struct loop_timer timer;
};

/* ---- volumes ---- */
enum volume_state { VOLUMES_WAIT, VOLUMES_READY };

enum pod_source { POD_SOURCE_API, POD_SOURCE_FILE, POD_SOURCE_RUNTIME };
struct pod_condition_memory {
    char status[8];
    int64_t changed_ns; /* wall */
};
enum {
    POD_CONDITION_SCHEDULED,
    POD_CONDITION_SANDBOX,
    POD_CONDITION_INITIALIZED,
    POD_CONDITION_CONTAINERS_READY,
    POD_CONDITION_READY,
    POD_CONDITION_MAX
};
struct pod {
    struct kubelet *k;
    struct list link;             /* in the list of the dead */
    char *uid, *ns, *name, *text; /* text: "ns/name" */
    enum pod_source source;
    K8s__Pod *api;                  /* heap; NULL for what only the engine knows */
    bool wanted;                    /* its source has it */
    char *mirror_uid, *mirror_hash; /* static pods: the mirror at the API server */
    bool mirror_busy;
    int64_t mirror_retry_ns;
    /* ending */
    bool terminating, terminal; /* terminal: will not run again, but the object stays */
    int64_t term_deadline_ns;   /* mono */
    int64_t grace_s;
    char *reason, *message; /* of a rejected, evicted or overdue pod; then phase is Failed */
    bool cleaned, deleted_sent;
    /* engine's side */
    struct observed obs;
    struct observation *observation;
    bool observe_again, observed_once,
        stale;                     /* stale: nothing may be decided before the next observation */
    struct container **containers; /* init and sidecars, main, ephemeral */
    size_t n_containers;
    struct operation *op;
    struct list kills;
    /* node's side */
    bool admitted, dirs_made;
    bool cgroup_made;
    int64_t started_ns;      /* status.startTime, wall */
    int64_t volumes_next_ns; /* mono: when content of volumes is to be looked at again; 0 never */
    enum volume_state volumes;
    char *volume_error;
    int64_t sandbox_retry_ns; /* wall; after a failed sandbox */
    int sandbox_failures;
    /* status */
    struct pod_condition_memory conditions[POD_CONDITION_MAX];
    char *sent; /* body of the last patch that was accepted or is on its way */
    bool status_dirty, status_sent_final;
    struct kube_call *status_call, *delete_call, *mirror_call;
    int64_t status_delay_ms;
    struct loop_timer status_timer;
    /* scheduling of steps */
    struct loop_defer defer;
    struct loop_timer timer;
    int64_t wake_ns; /* wall: earliest time the last step asked for */
};

struct kubelet {
    struct loop *loop;
    const struct kubelet_config *cfg;
    char node_name[254];
    char node_ip[64];
    char runtime_name[64]; /* "containerd", of its Version */
    struct grpc_client *cri;
    struct kube_client *client; /* NULL: none (yet) */
    struct recorder *recorder;  /* NULL as well */
    struct map pods;            /* uid -> struct pod */
    struct refs *refs;
    struct source_api *source_api;
    struct source_file *source_file;
    struct service_env *services;
    struct observer *observer;
    struct image_puller *puller;
    struct image_gc *image_gc;
    struct node *node; /* credentials, Node, Lease, HTTP API */
    char *node_uid;
    bool api_synced, file_synced, api_wanted;
    bool no_cgroups; /* nowhere to make them */
    bool stopping;
    struct list dead; /* pods to free at the end of the turn */
    struct loop_defer reap;
    struct log_rotator *log_rotator;
    struct loop_timer housekeeping;
    struct grpc_call *version_call;
    bool told_ready;
};

/* ---- pod.c ---- */
struct pod *pod_new(struct kubelet *k, const char *uid, const char *ns, const char *name,
                    enum pod_source source);
void pod_free(struct pod *p);
struct pod *pod_find(struct kubelet *k, const char *uid);
/* api is taken (heap). First time or change of the same UID. */
void pod_set_spec(struct pod *p, K8s__Pod *api);
void pod_unwant(struct pod *p); /* gone from its source */
void pod_kick(struct pod *p);   /* step soon */
void pod_kick_at(struct pod *p, int64_t wall_ns);
void pod_fail(struct pod *p, const char *reason, const char *message); /* rejected for good */
struct container *pod_container(struct pod *p, const char *name);
void pods_kick_all(struct kubelet *k);
int64_t pod_grace_s(const struct pod *p);
bool pod_is_static(const struct pod *p);
bool pod_host_network(const struct pod *p);
char *pod_dir(const struct pod *p);     /* "<root>/pods/<uid>"; owned */
char *pod_log_dir(const struct pod *p); /* owned */
/* Event about the pod, or about one container (c may be NULL). */
void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void container_wait(struct container *c, const char *reason,
                    const char *message); /* sets why it waits; marks status */
bool sources_synced(const struct kubelet *k);
/* Pulls the run of a container that probes and hooks may talk to; NULL when it does not run. */
const struct run *container_running(const struct container *c);
const char *pod_ip(const struct pod *p); /* "" when not known */
int64_t container_max_backoff_ns(const struct kubelet *k);
/* ---- view.c: struct pod as decide.h wants it ---- */
struct pod_view;
struct container_view;
void pod_view_fill(struct pod *p, struct pod_view *v,
                   struct container_view *c); /* c: n_containers */

/* ---- volume.c ---- */
enum volume_state
volumes_step(struct pod *p); /* makes what is missing; sets volume_error, asks to be woken */
void volumes_refresh(struct pod *p);           /* content that changed since */
void volumes_clean(const char *pod_directory); /* unmounts and removes; also of pods nobody knows */
/* Host path of a mounted volume for one container; owned. */
int volume_mount_path(struct pod *p, const K8s__VolumeMount *m, const char *sub_path, char **ret,
                      bool *ret_read_only, struct error **err);

/* ---- cgroup.c ---- */
void cgroup_pod_make(struct pod *p);
void cgroup_pod_remove(struct pod *p);

/* ---- probe.c ---- */
void probers_update(struct pod *p); /* level with what runs */
void probers_stop(struct container *c);

/* ---- mirror.c ---- */
void mirror_step(struct pod *p);

/* ---- admission.c ---- */
/* False: the pod was failed. */
bool pod_admission_check(struct pod *p);

/* ---- observe.c ---- */
int observer_start(struct kubelet *k);
void observer_stop(struct kubelet *k);
void pod_observe(struct pod *p); /* reads the engine's state of this pod, then steps it */
void observation_cancel(struct pod *p);
void observer_relist(struct kubelet *k);

/* ---- pod_start.c, pod_container.c: operations ---- */
void pod_start_sandbox(struct pod *p);
void pod_stop_sandbox(struct pod *p, const char *id);
void pod_remove_runtime(
    struct pod *p); /* removes all containers and sandboxes of a pod that has ended */
void pod_start_container(struct pod *p, struct container *c);
bool pod_collect(
    struct pod *p); /* starts removing one container or sandbox that is no longer wanted */
void operation_cancel(struct pod *p);
/* The operation under way ended: observe again. */
void operation_done(struct pod *p);
struct operation {
    struct pod *pod;
    struct container *c; /* NULL for a sandbox */
    struct grpc_call *call;
    struct hook *hook;
    struct pull *pull;
    char *what;
    char *container_id;
    uint32_t attempt;
    size_t i;
    bool cancellable; /* a pull: a pod that ends need not wait for it */
    int64_t began_ns;
};
struct operation *operation_new(struct pod *p, struct container *c, const char *what);

/* ---- pod_kill.c ---- */
/* message NULL: "Stopping container NAME". grace_s 0: at once. */
void pod_kill_container(struct pod *p, const struct run *r, int64_t grace_s, const char *message);
struct kill *pod_kill_of(const struct pod *p, const char *id);
void pod_kills_cancel(struct pod *p);
/* One step of ending a pod; true when nothing of it runs any more and its sandboxes are stopped. */
bool pod_end_step(struct pod *p);

void log_link_remove(struct pod *p, const struct run *r); /* of /var/log/containers */

/* ---- configuration of sandboxes and containers ---- */
Runtime__V1__PodSandboxConfig *sandbox_config(struct arena *a, struct pod *p, uint32_t attempt,
                                              struct error **err);
/* -EAGAIN: something is still being fetched. -ENOENT and the like: CreateContainerConfigError. */
int container_config(struct arena *a, struct container *c, uint32_t attempt, const char *sandbox_ip,
                     Runtime__V1__ContainerConfig **ret, struct error **err);

/* ---- pod_status.c ---- */
void pod_status_changed(struct pod *p); /* computes and sends what changed */
/* Whole status into the arena. */
K8s__PodStatus *pod_status(struct arena *a, struct pod *p);
const char *pod_phase(struct pod *p); /* "Running" */
void status_send_stop(struct pod *p);
void status_send(struct pod *p);

/* ---- map entries of CRI messages: all are {key, value} ---- */
struct cri_entry {
    ProtobufCMessage base;
    char *key, *value;
};
void cri_entry_add(struct arena *a, void *list, size_t *n, const ProtobufCMessageDescriptor *d,
                   const char *key, const char *value);
const char *cri_entry_get(void *list, size_t n, const char *key); /* NULL when absent */
