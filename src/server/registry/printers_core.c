/* Table cells of the core resources, in the columns and words that a stock API server prints. */
#include "server/registry/print.h"

const struct column columns_pods[] = {
    NAME_COLUMN,
    {"Ready", "string", "", "The aggregate readiness state of this pod for accepting traffic.", 0},
    {"Status", "string", "", "The aggregate status of the containers in this pod.", 0},
    {"Restarts", "string", "",
     "The number of times the containers in this pod have been restarted.", 0},
    AGE_COLUMN,
    {"IP", "string", "", "Pod address.", 1},
    {"Node", "string", "", "Node the pod is bound to.", 1},
    {"Nominated Node", "string", "", "Node nominated for this pod.", 1},
    {"Readiness Gates", "string", "", "Readiness gates of the pod.", 1},
    {0},
};

static bool is_sidecar(const json_t *pod, const char *name)
{
    json_t *c;
    size_t i;

    json_array_foreach(json_at(pod, "spec", "initContainers", NULL), i, c)
    {
        if (streq(json_text_or(c, "name", ""), name))
            return streq(json_text_or(c, "restartPolicy", ""), "Always");
    }
    return false;
}

/* Why init containers hold the pod up: "Init:1/2", "Init:CrashLoopBackOff", "Init:ExitCode:3"; NULL
 * when they do not. */
static char *init_reason(const json_t *pod, int64_t *restarts)
{
    json_t *statuses = json_at(pod, "status", "initContainerStatuses", NULL), *c;
    size_t total = json_array_size(json_at(pod, "spec", "initContainers", NULL)), i;

    json_array_foreach(statuses, i, c)
    {
        const char *why = json_text_at(c, "state", "waiting", "reason", NULL);
        json_t *ended = json_at(c, "state", "terminated", NULL);

        *restarts += json_int_or(c, "restartCount", 0);
        if (ended && json_int_or(ended, "exitCode", 0) == 0)
            continue;
        if (is_sidecar(pod, json_text_or(c, "name", "")) && json_bool_or(c, "started", false))
            continue;
        if (ended) {
            const char *reason = json_text_or(ended, "reason", "");

            if (reason[0])
                return xasprintf("Init:%s", reason);
            if (json_int_or(ended, "signal", 0))
                return xasprintf("Init:Signal:%d", (int)json_int_or(ended, "signal", 0));
            return xasprintf("Init:ExitCode:%d", (int)json_int_or(ended, "exitCode", 0));
        }
        if (why && why[0] && !streq(why, "PodInitializing"))
            return xasprintf("Init:%s", why);
        return xasprintf("Init:%zu/%zu", i, total);
    }
    return NULL;
}

static bool pod_initialized(const json_t *pod)
{
    json_t *c;
    size_t i;

    json_array_foreach(json_at(pod, "status", "conditions", NULL), i, c)
    {
        if (streq(json_text_or(c, "type", ""), "Initialized"))
            return streq(json_text_or(c, "status", ""), "True");
    }
    return false;
}

static char *pod_reason(const json_t *pod, int64_t *ready, int64_t *restarts)
{
    char *reason = xstrdup(json_text_at(pod, "status", "reason", NULL)
                               ? json_text_at(pod, "status", "reason", NULL)
                               : strna(json_text_at(pod, "status", "phase", NULL)));
    json_t *statuses = json_at(pod, "status", "containerStatuses", NULL);
    char *init = init_reason(pod, restarts);
    bool running = false;

    if (init && pod_initialized(pod)) { /* a sidecar that ended after the main containers */
        free(init);
        init = NULL;
    }

    for (size_t i = json_array_size(statuses); i > 0; i--) {
        json_t *c = json_array_get(statuses, i - 1),
               *ended = json_at(c, "state", "terminated", NULL);
        const char *why = json_text_at(c, "state", "waiting", "reason", NULL);

        if (!init) {
            if (why && why[0])
                str_replace(&reason, why);
            else if (ended && json_text_or(ended, "reason", "")[0])
                str_replace(&reason, json_text_or(ended, "reason", ""));
            else if (ended) {
                free(reason);
                reason = json_int_or(ended, "signal", 0)
                             ? xasprintf("Signal:%d", (int)json_int_or(ended, "signal", 0))
                             : xasprintf("ExitCode:%d", (int)json_int_or(ended, "exitCode", 0));
            }
            *restarts += json_int_or(c, "restartCount", 0);
        }
        if (json_bool_or(c, "ready", false) && json_at(c, "state", "running", NULL)) {
            running = true;
            (*ready)++;
        }
    }
    if (!init && streq(reason, "Completed") && running)
        str_replace(&reason, "Running");
    if (init) {
        free(reason);
        reason = init;
    }
    if (json_text_at(pod, "metadata", "deletionTimestamp", NULL))
        str_replace(&reason, streq(json_text_at(pod, "status", "reason", NULL), "NodeLost")
                                 ? "Unknown"
                                 : "Terminating");
    return reason;
}

/* "2 (5m ago)" when the last restart's time is known. */
static char *restarts_text(const json_t *pod, int64_t restarts)
{
    json_t *c;
    struct wall last = {0}, t;
    char age[WALL_TEXT];
    size_t i;

    json_array_foreach(json_at(pod, "status", "containerStatuses", NULL), i, c)
    {
        const char *at = json_text_at(c, "lastState", "terminated", "finishedAt", NULL);

        if (at && wall_parse(str_of(at), &t) == 0 && t.ns > last.ns)
            last = t;
    }
    if (!restarts || !last.ns)
        return xasprintf("%lld", (long long)restarts);
    duration_format_human(wall_now().ns - last.ns, age);
    return xasprintf("%lld (%s ago)", (long long)restarts, age);
}

static char *gates_text(const json_t *pod)
{
    json_t *gates = json_at(pod, "spec", "readinessGates", NULL), *g, *c;
    size_t i, k, ok = 0;

    if (!json_array_size(gates))
        return xstrdup("<none>");
    json_array_foreach(gates, i, g)
    {
        json_array_foreach(json_at(pod, "status", "conditions", NULL), k, c)
        {
            ok += streq(json_text_or(c, "type", ""), json_text_or(g, "conditionType", "?")) &&
                  streq(json_text_or(c, "status", ""), "True");
        }
    }
    return xasprintf("%zu/%zu", ok, json_array_size(gates));
}

void print_pods(const json_t *o, json_t *cells)
{
    int64_t ready = 0, restarts = 0;
    size_t total = json_array_size(json_at(o, "spec", "containers", NULL)), i;
    char *reason = pod_reason(o, &ready, &restarts);
    const char *ip = json_text_at(o, "status", "podIP", NULL),
               *node = json_text_at(o, "spec", "nodeName", NULL);
    json_t *c;

    json_array_foreach(json_at(o, "spec", "initContainers", NULL), i, c)
    {
        total += streq(json_text_or(c, "restartPolicy", ""), "Always");
    }
    json_array_foreach(json_at(o, "status", "initContainerStatuses", NULL), i, c)
    {
        ready += is_sidecar(o, json_text_or(c, "name", "")) && json_bool_or(c, "ready", false);
    }
    cell_name(cells, o);
    cell_take(cells, xasprintf("%lld/%zu", (long long)ready, total), "");
    cell_take(cells, reason, "Unknown");
    cell_take(cells, restarts_text(o, restarts), "0");
    cell_age(cells, o);
    cell(cells, ip && ip[0] ? ip : "<none>");
    cell(cells, node && node[0] ? node : "<none>");
    cell(cells, json_text_at(o, "status", "nominatedNodeName", NULL)
                    ? json_text_at(o, "status", "nominatedNodeName", NULL)
                    : "<none>");
    cell_take(cells, gates_text(o), "<none>");
}

const struct column columns_nodes[] = {
    NAME_COLUMN,
    {"Status", "string", "", "The status of the node", 0},
    {"Roles", "string", "", "The roles of the node", 0},
    AGE_COLUMN,
    {"Version", "string", "", "Kubelet version of the node", 0},
    {"Internal-IP", "string", "", "Address inside the cluster", 1},
    {"External-IP", "string", "", "Address outside the cluster", 1},
    {"OS-Image", "string", "", "Operating system", 1},
    {"Kernel-Version", "string", "", "Kernel", 1},
    {"Container-Runtime", "string", "", "Container runtime and its version", 1},
    {0},
};

static const char *address_of(const json_t *node, const char *type)
{
    json_t *a;
    size_t i;

    json_array_foreach(json_at(node, "status", "addresses", NULL), i, a)
    {
        if (streq(json_text_or(a, "type", ""), type))
            return json_text_or(a, "address", "<none>");
    }
    return "<none>";
}

static char *node_roles(const json_t *o)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    struct buf b;
    const char *k;
    json_t *v;

    buf_small(&b);
    json_object_foreach(json_at(o, "metadata", "labels", NULL), k, v)
    {
        if (strstarts(k, prefix) && k[sizeof prefix - 1])
            join(&b, k + sizeof prefix - 1);
        else if (streq(k, "kubernetes.io/role") && json_string_value(v)[0])
            join(&b, json_string_value(v));
    }
    return buf_take(&b);
}

void print_nodes(const json_t *o, json_t *cells)
{
    const char *status = "Unknown";
    json_t *c;
    size_t i;

    json_array_foreach(json_at(o, "status", "conditions", NULL), i, c)
    {
        if (streq(json_text_or(c, "type", ""), "Ready"))
            status = streq(json_text_or(c, "status", ""), "True") ? "Ready" : "NotReady";
    }
    cell_name(cells, o);
    cell_take(cells,
              xasprintf("%s%s", status,
                        json_is_true(json_at(o, "spec", "unschedulable", NULL))
                            ? ",SchedulingDisabled"
                            : ""),
              "");
    cell_take(cells, node_roles(o), "<none>");
    cell_age(cells, o);
    cell(cells, json_text_at(o, "status", "nodeInfo", "kubeletVersion", NULL));
    cell(cells, address_of(o, "InternalIP"));
    cell(cells, address_of(o, "ExternalIP"));
    cell(cells, json_text_at(o, "status", "nodeInfo", "osImage", NULL));
    cell(cells, json_text_at(o, "status", "nodeInfo", "kernelVersion", NULL));
    cell(cells, json_text_at(o, "status", "nodeInfo", "containerRuntimeVersion", NULL));
}

const struct column columns_services[] = {
    NAME_COLUMN,
    {"Type", "string", "", "How the service is exposed.", 0},
    {"Cluster-IP", "string", "", "Virtual address of the service.", 0},
    {"External-IP", "string", "", "Addresses outside the cluster.", 0},
    {"Port(s)", "string", "", "Ports of the service.", 0},
    AGE_COLUMN,
    {"Selector", "string", "", "Labels of the pods behind it.", 1},
    {0},
};

static char *service_external(const json_t *o)
{
    const char *type = strna(json_text_at(o, "spec", "type", NULL));
    struct buf b;
    json_t *v;
    size_t i;

    buf_small(&b);
    if (streq(type, "ExternalName"))
        (void)buf_add_z(&b, strna(json_text_at(o, "spec", "externalName", NULL)));
    json_array_foreach(json_at(o, "status", "loadBalancer", "ingress", NULL), i, v)
    {
        join(&b, json_text_or(v, "ip", json_text_or(v, "hostname", "")));
    }
    json_array_foreach(json_at(o, "spec", "externalIPs", NULL), i, v)
    {
        join(&b, strna(json_string_value(v)));
    }
    if (!b.n)
        (void)buf_add_z(&b, streq(type, "LoadBalancer") ? "<pending>" : "<none>");
    return buf_take(&b);
}

void print_services(const json_t *o, json_t *cells)
{
    const char *type = json_text_at(o, "spec", "type", NULL),
               *ip = json_text_at(o, "spec", "clusterIP", NULL);
    struct buf ports, selector;
    json_t *p;
    size_t i;

    buf_small(&ports);
    json_array_foreach(json_at(o, "spec", "ports", NULL), i, p)
    {
        char text[64];

        if (json_int_or(p, "nodePort", 0))
            (void)snprintf(text, sizeof text, "%d:%d/%s", (int)json_int_or(p, "port", 0),
                           (int)json_int_or(p, "nodePort", 0), json_text_or(p, "protocol", "TCP"));
        else
            (void)snprintf(text, sizeof text, "%d/%s", (int)json_int_or(p, "port", 0),
                           json_text_or(p, "protocol", "TCP"));
        join(&ports, text);
    }
    buf_small(&selector);
    join_labels(&selector, json_at(o, "spec", "selector", NULL));
    cell_name(cells, o);
    cell(cells, type);
    cell(cells, ip && ip[0] ? ip : "<none>");
    cell_take(cells, service_external(o), "<none>");
    cell_take(cells, buf_take(&ports), "<none>");
    cell_age(cells, o);
    cell_take(cells, buf_take(&selector), "<none>");
}

const struct column columns_namespaces[] = {
    NAME_COLUMN, {"Status", "string", "", "The status of the namespace", 0}, AGE_COLUMN, {0}};
void print_namespaces(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell(cells, json_text_at(o, "status", "phase", NULL));
    cell_age(cells, o);
}

const struct column columns_configmaps[] = {
    NAME_COLUMN, {"Data", "string", "", "Number of entries.", 0}, AGE_COLUMN, {0}};
void print_configmaps(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell_int(cells, (int64_t)(json_object_size(json_at(o, "data", NULL)) +
                              json_object_size(json_at(o, "binaryData", NULL))));
    cell_age(cells, o);
}

const struct column columns_secrets[] = {NAME_COLUMN,
                                         {"Type", "string", "", "Kind of the secret.", 0},
                                         {"Data", "string", "", "Number of entries.", 0},
                                         AGE_COLUMN,
                                         {0}};
void print_secrets(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell(cells, json_text_at(o, "type", NULL));
    cell_int(cells, (int64_t)json_object_size(json_at(o, "data", NULL)));
    cell_age(cells, o);
}

const struct column columns_serviceaccounts[] = {
    NAME_COLUMN, {"Secrets", "string", "", "Number of secrets it may use.", 0}, AGE_COLUMN, {0}};
void print_serviceaccounts(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell_int(cells, (int64_t)json_array_size(json_at(o, "secrets", NULL)));
    cell_age(cells, o);
}

const struct column columns_events[] = {
    {"Last Seen", "string", "", "Time of the last occurrence.", 0},
    {"Type", "string", "", "Normal or Warning.", 0},
    {"Reason", "string", "", "Why it was raised.", 0},
    {"Object", "string", "", "What it is about.", 0},
    {"Subobject", "string", "", "Part of the object.", 1},
    {"Source", "string", "", "Who reported it.", 1},
    {"Message", "string", "", "What happened.", 0},
    {"First Seen", "string", "", "Time of the first occurrence.", 1},
    {"Count", "string", "", "How often.", 1},
    {"Name", "string", "name", "Name of the event.", 1},
    {0},
};
void print_events(const json_t *o, json_t *cells)
{
    const char *last = json_text_at(o, "lastTimestamp", NULL),
               *first = json_text_at(o, "firstTimestamp", NULL);
    const char *time = json_text_at(o, "eventTime", NULL),
               *kind = strna(json_text_at(o, "involvedObject", "kind", NULL));
    const char *host = json_text_at(o, "source", "host", NULL);
    char *lower = xstrdup(kind);

    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    print_age(last ? last : time, cells);
    cell(cells, json_text_at(o, "type", NULL));
    cell(cells, json_text_at(o, "reason", NULL));
    cell_take(cells,
              xasprintf("%s/%s", lower, strna(json_text_at(o, "involvedObject", "name", NULL))),
              "");
    cell(cells, json_text_at(o, "involvedObject", "fieldPath", NULL));
    cell_take(cells,
              xasprintf("%s%s%s",
                        json_text_at(o, "source", "component", NULL)
                            ? json_text_at(o, "source", "component", NULL)
                            : strna(json_text_at(o, "reportingComponent", NULL)),
                        host ? ", " : "", strna(host)),
              "");
    cell(cells, json_text_at(o, "message", NULL));
    print_age(first ? first : time, cells);
    cell_int(cells, json_int_or(o, "count", 1));
    cell_name(cells, o);
    free(lower);
}
