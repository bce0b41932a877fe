#include "kubelet/stats.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/time.h"
#include "kubelet/node_facts.h"
#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

typedef Runtime__V1__PodSandboxStats pod_stats;
typedef Runtime__V1__ContainerStats container_stats;

/* ---- JSON pieces ---- */

static void key(struct buf *b, const char *name)
{
    char last = b->n ? b->p[b->n - 1] : '{';
    (void)buf_printf(b, "%s\"%s\":", last == '{' || last == '[' ? "" : ",", name);
}

static void put_text(struct buf *b, const char *name, const char *text)
{
    key(b, name);
    (void)buf_add_json_string(b, str_of(strna(text)));
}

static void put_time(struct buf *b, const char *name, int64_t ns)
{
    char text[WALL_TEXT];
    wall_format((struct wall){ns}, text);
    put_text(b, name, text);
}

static void put_number(struct buf *b, const char *name, uint64_t v)
{
    key(b, name);
    (void)buf_printf(b, "%" PRIu64, v);
}

static void put_value(struct buf *b, const char *name, const Runtime__V1__UInt64Value *v)
{
    if (v)
        put_number(b, name, v->value);
}

static void open_object(struct buf *b, const char *name)
{
    key(b, name);
    (void)buf_add_char(b, '{');
}

static void close_object(struct buf *b)
{
    (void)buf_add_char(b, '}');
}

static void put_cpu(struct buf *b, const Runtime__V1__CpuUsage *c)
{
    if (!c)
        return;
    open_object(b, "cpu");
    put_time(b, "time", c->timestamp);
    put_value(b, "usageNanoCores", c->usage_nano_cores);
    put_value(b, "usageCoreNanoSeconds", c->usage_core_nano_seconds);
    close_object(b);
}

static void put_memory(struct buf *b, const Runtime__V1__MemoryUsage *m)
{
    if (!m)
        return;
    open_object(b, "memory");
    put_time(b, "time", m->timestamp);
    put_value(b, "availableBytes", m->available_bytes);
    put_value(b, "usageBytes", m->usage_bytes);
    put_value(b, "workingSetBytes", m->working_set_bytes);
    put_value(b, "rssBytes", m->rss_bytes);
    put_value(b, "pageFaults", m->page_faults);
    put_value(b, "majorPageFaults", m->major_page_faults);
    close_object(b);
}

static void put_fs(struct buf *b, const char *name, const struct node_facts *f,
                   const Runtime__V1__FilesystemUsage *u)
{
    open_object(b, name);
    put_time(b, "time", u && u->timestamp ? u->timestamp : wall_now().ns);
    put_number(b, "availableBytes", (uint64_t)f->storage_available_bytes);
    put_number(b, "capacityBytes", (uint64_t)f->storage_bytes);
    if (u)
        put_value(b, "usedBytes", u->used_bytes);
    else
        put_number(b, "usedBytes", (uint64_t)(f->storage_bytes - f->storage_available_bytes));
    put_number(b, "inodesFree", (uint64_t)f->inodes_free);
    put_number(b, "inodes", (uint64_t)f->inodes);
    if (u)
        put_value(b, "inodesUsed", u->inodes_used);
    else
        put_number(b, "inodesUsed", (uint64_t)(f->inodes - f->inodes_free));
    close_object(b);
}

static void put_network(struct buf *b, const Runtime__V1__NetworkUsage *n)
{
    if (!n || !n->default_interface)
        return;
    open_object(b, "network");
    put_time(b, "time", n->timestamp);
    put_text(b, "name", n->default_interface->name);
    put_value(b, "rxBytes", n->default_interface->rx_bytes);
    put_value(b, "rxErrors", n->default_interface->rx_errors);
    put_value(b, "txBytes", n->default_interface->tx_bytes);
    put_value(b, "txErrors", n->default_interface->tx_errors);
    close_object(b);
}

/* ---- the node ---- */

struct node_usage {
    uint64_t cpu_ns;
    int64_t boot_ns; /* wall */
    struct node_facts facts;
};

/* First line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks. */
static uint64_t busy_ns(void)
{
    cleanup_buf struct buf b = {0};
    if (file_read("/proc/stat", (size_t)4 << 20, &b, NULL) < 0)
        return 0;
    struct str rest = buf_str(&b), line = str_split(&rest, '\n');
    uint64_t ticks = 0;
    int field = 0;
    while (line.p) {
        struct str word = str_split(&line, ' ');
        uint64_t v;
        if (!word.n || str_to_u64(word, UINT64_MAX, &v) < 0)
            continue;
        if (field != 3 && field != 4 && field < 8)
            ticks += v;
        field++;
    }
    long hz = sysconf(_SC_CLK_TCK);
    return ticks * (uint64_t)(NSEC_PER_SEC / (hz > 0 ? hz : 100));
}

static void read_node(struct node_usage *u, const char *root_dir)
{
    struct timespec up;
    node_facts_read(&u->facts, root_dir);
    u->cpu_ns = busy_ns();
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    u->boot_ns = wall_now().ns - (up.tv_sec * NSEC_PER_SEC + up.tv_nsec);
}

static uint64_t used_memory(const struct node_usage *u)
{
    return (uint64_t)(u->facts.memory_bytes - u->facts.memory_available_bytes);
}

static void put_node(struct buf *b, const struct stats_input *in, const struct node_usage *u)
{
    int64_t now = wall_now().ns;
    open_object(b, "node");
    put_text(b, "nodeName", in->node_name);
    put_time(b, "startTime", u->boot_ns);
    open_object(b, "cpu");
    put_time(b, "time", now);
    put_number(b, "usageCoreNanoSeconds", u->cpu_ns);
    close_object(b);
    open_object(b, "memory");
    put_time(b, "time", now);
    put_number(b, "availableBytes", (uint64_t)u->facts.memory_available_bytes);
    put_number(b, "usageBytes", used_memory(u));
    put_number(b, "workingSetBytes", used_memory(u));
    close_object(b);
    put_fs(b, "fs", &u->facts, NULL);
    open_object(b, "rlimit");
    put_time(b, "time", now);
    put_number(b, "maxpid", (uint64_t)u->facts.pids_max);
    put_number(b, "curproc", (uint64_t)u->facts.pids_used);
    close_object(b);
    close_object(b);
}

/* ---- /stats/summary ---- */

static void put_container(struct buf *b, const container_stats *c, const struct node_facts *f)
{
    (void)buf_add_z(b, b->p[b->n - 1] == '[' ? "{" : ",{");
    put_text(b, "name",
             c->attributes && c->attributes->metadata ? c->attributes->metadata->name : "");
    put_cpu(b, c->cpu);
    put_memory(b, c->memory);
    put_fs(b, "rootfs", f, c->writable_layer);
    close_object(b);
}

static void put_pod(struct buf *b, const pod_stats *p, const struct node_facts *f)
{
    const Runtime__V1__PodSandboxMetadata *m = p->attributes ? p->attributes->metadata : NULL;
    const Runtime__V1__LinuxPodSandboxStats *l = p->linux;
    if (!m)
        return;
    (void)buf_add_z(b, b->p[b->n - 1] == '[' ? "{" : ",{");
    open_object(b, "podRef");
    put_text(b, "name", m->name);
    put_text(b, "namespace", m->namespace_);
    put_text(b, "uid", m->uid);
    close_object(b);
    key(b, "containers");
    (void)buf_add_char(b, '[');
    for (size_t i = 0; l && i < l->n_containers; i++)
        put_container(b, l->containers[i], f);
    (void)buf_add_char(b, ']');
    if (l) {
        put_cpu(b, l->cpu);
        put_memory(b, l->memory);
        put_network(b, l->network);
        if (l->process && l->process->process_count) {
            open_object(b, "process_stats");
            put_value(b, "process_count", l->process->process_count);
            close_object(b);
        }
    }
    close_object(b);
}

int stats_summary(const struct stats_input *in, struct buf *b)
{
    struct node_usage u;
    read_node(&u, in->root_dir);
    (void)buf_add_char(b, '{');
    put_node(b, in, &u);
    key(b, "pods");
    (void)buf_add_char(b, '[');
    for (size_t i = 0; in->pods && i < in->pods->n_stats; i++)
        put_pod(b, in->pods->stats[i], &u.facts);
    (void)buf_add_z(b, "]}");
    return b->overflowed ? -EMSGSIZE : 0;
}

/* ---- Prometheus text ---- */

static void label_text(struct buf *b, const char *text)
{
    for (const char *p = strna(text); *p; p++) {
        if (*p == '"' || *p == '\\')
            (void)buf_add_char(b, '\\');
        (void)buf_add_char(b, *p == '\n' ? ' ' : *p);
    }
}

static void head(struct buf *b, const char *name, const char *help, const char *type)
{
    (void)buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

struct sample {
    const char *metric;
    const Runtime__V1__PodSandboxMetadata *pod;
    const char *container; /* "" for the pod as a whole, NULL for the label left out */
};

static void sample(struct buf *b, const struct sample *s, double value, int64_t at_ns)
{
    (void)buf_printf(b, "%s{", s->metric);
    if (s->container) {
        (void)buf_add_z(b, "container=\"");
        label_text(b, s->container);
        (void)buf_add_z(b, "\",");
    }
    (void)buf_add_z(b, "namespace=\"");
    label_text(b, s->pod->namespace_);
    (void)buf_add_z(b, "\",pod=\"");
    label_text(b, s->pod->name);
    (void)buf_printf(b, "\"} %.17g %" PRId64 "\n", value, (int64_t)(at_ns / NSEC_PER_MSEC));
}

enum field { FIELD_CPU, FIELD_MEMORY, FIELD_RSS, FIELD_USAGE };

/* False when it is not known. */
static bool field_of(enum field f, const Runtime__V1__CpuUsage *c,
                     const Runtime__V1__MemoryUsage *m, double *v, int64_t *at)
{
    const Runtime__V1__UInt64Value *u = NULL;
    switch (f) {
    case FIELD_CPU:
        u = c ? c->usage_core_nano_seconds : NULL;
        break;
    case FIELD_MEMORY:
        u = m ? m->working_set_bytes : NULL;
        break;
    case FIELD_RSS:
        u = m ? m->rss_bytes : NULL;
        break;
    case FIELD_USAGE:
        u = m ? m->usage_bytes : NULL;
        break;
    }
    if (!u)
        return false;
    *v = f == FIELD_CPU ? (double)u->value / 1e9 : (double)u->value;
    *at = f == FIELD_CPU ? c->timestamp : m->timestamp;
    return true;
}

static void containers(const struct stats_input *in, struct buf *b, const char *metric,
                       enum field f, bool pods)
{
    double v;
    int64_t at;
    for (size_t i = 0; in->pods && i < in->pods->n_stats; i++) {
        const pod_stats *p = in->pods->stats[i];
        if (!p->attributes || !p->attributes->metadata || !p->linux)
            continue;
        struct sample s = {metric, p->attributes->metadata, NULL};
        if (pods) {
            if (field_of(f, p->linux->cpu, p->linux->memory, &v, &at))
                sample(b, &s, v, at);
            continue;
        }
        for (size_t k = 0; k < p->linux->n_containers; k++) {
            const container_stats *c = p->linux->containers[k];
            s.container =
                c->attributes && c->attributes->metadata ? c->attributes->metadata->name : "";
            if (field_of(f, c->cpu, c->memory, &v, &at))
                sample(b, &s, v, at);
        }
    }
}

int stats_resource(const struct stats_input *in, struct buf *b)
{
    struct node_usage u;
    read_node(&u, in->root_dir);
    int64_t now_ms = (int64_t)(wall_now().ns / NSEC_PER_MSEC);
    head(b, "container_cpu_usage_seconds_total",
         "Cumulative cpu time consumed by the container in core-seconds", "counter");
    containers(in, b, "container_cpu_usage_seconds_total", FIELD_CPU, false);
    head(b, "container_memory_working_set_bytes", "Current working set of the container in bytes",
         "gauge");
    containers(in, b, "container_memory_working_set_bytes", FIELD_MEMORY, false);
    head(b, "node_cpu_usage_seconds_total",
         "Cumulative cpu time consumed by the node in core-seconds", "counter");
    (void)buf_printf(b, "node_cpu_usage_seconds_total %.17g %" PRId64 "\n", (double)u.cpu_ns / 1e9,
                     now_ms);
    head(b, "node_memory_working_set_bytes", "Current working set of the node in bytes", "gauge");
    (void)buf_printf(b, "node_memory_working_set_bytes %" PRIu64 " %" PRId64 "\n", used_memory(&u),
                     now_ms);
    head(b, "pod_cpu_usage_seconds_total",
         "Cumulative cpu time consumed by the pod in core-seconds", "counter");
    containers(in, b, "pod_cpu_usage_seconds_total", FIELD_CPU, true);
    head(b, "pod_memory_working_set_bytes", "Current working set of the pod in bytes", "gauge");
    containers(in, b, "pod_memory_working_set_bytes", FIELD_MEMORY, true);
    head(b, "resource_scrape_error",
         "1 if there was an error while getting container metrics, 0 otherwise", "gauge");
    (void)buf_printf(b, "resource_scrape_error %d\n", in->pods ? 0 : 1);
    return b->overflowed ? -EMSGSIZE : 0;
}

int stats_cadvisor(const struct stats_input *in, struct buf *b)
{
    struct node_usage u;
    read_node(&u, in->root_dir);
    head(b, "machine_cpu_cores", "Number of logical CPU cores.", "gauge");
    (void)buf_printf(b, "machine_cpu_cores %" PRId64 "\n", u.facts.cpus);
    head(b, "machine_memory_bytes", "Amount of memory installed on the machine.", "gauge");
    (void)buf_printf(b, "machine_memory_bytes %" PRId64 "\n", u.facts.memory_bytes);
    head(b, "container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.",
         "counter");
    containers(in, b, "container_cpu_usage_seconds_total", FIELD_CPU, false);
    head(b, "container_memory_working_set_bytes", "Current working set in bytes.", "gauge");
    containers(in, b, "container_memory_working_set_bytes", FIELD_MEMORY, false);
    head(b, "container_memory_usage_bytes",
         "Current memory usage in bytes, including all memory regardless of when it was accessed",
         "gauge");
    containers(in, b, "container_memory_usage_bytes", FIELD_USAGE, false);
    head(b, "container_memory_rss", "Size of RSS in bytes.", "gauge");
    containers(in, b, "container_memory_rss", FIELD_RSS, false);
    return b->overflowed ? -EMSGSIZE : 0;
}
