/* /stats/summary and /metrics: one question to the engine, then text. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "kubelet/server_private.h"
#include "kubelet/stats.h"
#include <stdio.h>
#include <sys/resource.h>

#define DEADLINE_MS 10000
#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef int (*stats_fn)(const struct stats_input *in, struct buf *b);

static void answer(struct request *q, const ProtobufCMessage *reply, stats_fn fn, const char *type)
{
    struct stats_input in = {.node_name = q->server->node_name,
                             .root_dir = q->server->root_dir,
                             .pods = (const Runtime__V1__ListPodSandboxStatsResponse *)reply};
    cleanup_buf struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    if (fn(&in, &b) < 0) {
        request_fail(q, 500, "the answer is too large");
        return;
    }
    http_respond(request_take(q), 200, type, buf_str(&b));
    request_end(q);
}

static void on_summary(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct request *q = arg;
    q->grpc = NULL;
    if (code != GRPC_OK)
        request_fail(q, 500, "the container engine gives no statistics: %s", message);
    else
        answer(q, reply, stats_summary, "application/json");
}

static void on_cadvisor(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    (void)code;
    (void)message;
    struct request *q = arg;
    q->grpc = NULL;
    answer(q, reply, stats_cadvisor, TEXT_TYPE);
}

static void on_resource(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    (void)code;
    (void)message;
    struct request *q = arg;
    q->grpc = NULL;
    answer(q, reply, stats_resource, TEXT_TYPE);
}

static void ask(struct request *q, grpc_reply_fn fn)
{
    Runtime__V1__ListPodSandboxStatsRequest m = RUNTIME__V1__LIST_POD_SANDBOX_STATS_REQUEST__INIT;
    q->grpc = grpc_call_start(q->server->cri, "/runtime.v1.RuntimeService/ListPodSandboxStats",
                              &m.base, &runtime__v1__list_pod_sandbox_stats_response__descriptor,
                              DEADLINE_MS, fn, q);
}

void serve_stats(struct request *q)
{
    struct str p = http_path(q->x);
    if (str_eq_z(p, "/stats/summary") || str_eq_z(p, "/stats/summary/"))
        ask(q, on_summary);
    else
        request_fail(q, 404, "404 page not found");
}

/* ---- our own process ---- */

/* Second field of /proc/self/statm, in pages. */
static uint64_t resident_bytes(void)
{
    cleanup_buf struct buf b = {0};
    uint64_t pages = 0;
    if (file_read("/proc/self/statm", 256, &b, NULL) == 0) {
        struct str rest = buf_str(&b);
        (void)str_split(&rest, ' ');
        (void)str_to_u64(str_split(&rest, ' '), UINT64_MAX, &pages);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void serve_own(struct request *q)
{
    struct kubelet_server *s = q->server;
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    cleanup_buf struct buf b;
    buf_init(&b, (size_t)1 << 20);
    (void)buf_add_z(&b, "# HELP kubelet_node_name The node's name. The count is always 1.\n# TYPE "
                        "kubelet_node_name gauge\nkubelet_node_name{node=");
    (void)buf_add_json_string(&b, str_of(s->node_name));
    (void)buf_add_z(&b, "} 1\n");
    (void)buf_printf(
        &b,
        "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n"
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n"
        "# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %llu\n",
        cpu, (unsigned long long)resident_bytes());
    http_respond(request_take(q), 200, TEXT_TYPE, buf_str(&b));
    request_end(q);
}

void serve_metrics(struct request *q)
{
    struct str p = http_path(q->x);
    if (str_eq_z(p, "/metrics"))
        serve_own(q);
    else if (str_eq_z(p, "/metrics/cadvisor"))
        ask(q, on_cadvisor);
    else if (str_eq_z(p, "/metrics/resource"))
        ask(q, on_resource);
    else
        request_fail(q, 404, "404 page not found");
}
