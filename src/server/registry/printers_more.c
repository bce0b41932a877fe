/* Table cells of the resources outside core, and of endpoints. */
#include "server/registry/print.h"

#define ENDPOINTS_SHOWN 3

/* "a:80,b:80 + 2 more..." */
static char *shown(struct buf *b, size_t total)
{
    if (total > ENDPOINTS_SHOWN)
        (void)buf_printf(b, " + %zu more...", total - ENDPOINTS_SHOWN);
    return buf_take(b);
}

const struct column columns_endpoints[] = {
    NAME_COLUMN,
    {"Endpoints", "string", "", "Addresses and ports behind the service.", 0},
    AGE_COLUMN,
    {0}};
void print_endpoints(const json_t *o, json_t *cells)
{
    json_t *subset, *address, *port;
    size_t i, k, m, total = 0;
    struct buf b;

    buf_small(&b);
    json_array_foreach(json_at(o, "subsets", NULL), i, subset)
    {
        json_array_foreach(json_at(subset, "addresses", NULL), k, address)
        {
            json_array_foreach(json_at(subset, "ports", NULL), m, port)
            {
                char text[96];

                (void)snprintf(text, sizeof text, "%s:%d", json_text_or(address, "ip", ""),
                               (int)json_int_or(port, "port", 0));
                if (++total <= ENDPOINTS_SHOWN)
                    join(&b, text);
            }
        }
    }
    cell_name(cells, o);
    cell_take(cells, shown(&b, total), "<none>");
    cell_age(cells, o);
}

const struct column columns_endpointslices[] = {
    NAME_COLUMN,
    {"AddressType", "string", "", "IPv4, IPv6 or FQDN.", 0},
    {"Ports", "string", "", "Ports of the endpoints.", 0},
    {"Endpoints", "string", "", "Addresses of the endpoints.", 0},
    AGE_COLUMN,
    {0},
};
void print_endpointslices(const json_t *o, json_t *cells)
{
    json_t *v, *address;
    size_t i, k, total = 0, n = 0;
    struct buf ports, addresses;

    buf_small(&ports);
    buf_small(&addresses);
    json_array_foreach(json_at(o, "ports", NULL), i, v)
    {
        char text[16];

        (void)snprintf(text, sizeof text, "%d", (int)json_int_or(v, "port", 0));
        if (++n <= ENDPOINTS_SHOWN)
            join(&ports, text);
    }
    json_array_foreach(json_at(o, "endpoints", NULL), i, v)
    {
        json_array_foreach(json_at(v, "addresses", NULL), k, address)
        {
            if (++total <= ENDPOINTS_SHOWN)
                join(&addresses, strna(json_string_value(address)));
        }
    }
    cell_name(cells, o);
    cell(cells, json_text_at(o, "addressType", NULL));
    cell_take(cells, shown(&ports, n), "<unset>");
    cell_take(cells, shown(&addresses, total), "<unset>");
    cell_age(cells, o);
}

const struct column columns_leases[] = {
    NAME_COLUMN, {"Holder", "string", "", "Who holds it.", 0}, AGE_COLUMN, {0}};
void print_leases(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell(cells, json_text_at(o, "spec", "holderIdentity", NULL));
    cell_age(cells, o);
}

/* Names and images of a pod template's containers. */
static void cell_containers(json_t *cells, const json_t *o)
{
    struct buf names, images;
    json_t *c;
    size_t i;

    buf_small(&names);
    buf_small(&images);
    json_array_foreach(json_at(o, "spec", "template", "spec", "containers", NULL), i, c)
    {
        join(&names, json_text_or(c, "name", ""));
        join(&images, json_text_or(c, "image", ""));
    }
    cell_take(cells, buf_take(&names), "");
    cell_take(cells, buf_take(&images), "");
}

/* A LabelSelector in the words of kubectl. */
static void cell_selector(json_t *cells, const json_t *o)
{
    json_t *e, *v;
    struct buf b;
    size_t i, k;

    buf_small(&b);
    join_labels(&b, json_at(o, "spec", "selector", "matchLabels", NULL));
    json_array_foreach(json_at(o, "spec", "selector", "matchExpressions", NULL), i, e)
    {
        const char *op = json_text_or(e, "operator", "");

        join(&b, streq(op, "DoesNotExist") ? "!" : "");
        (void)buf_add_z(&b, json_text_or(e, "key", ""));
        if (streq(op, "Exists") || streq(op, "DoesNotExist"))
            continue;
        (void)buf_add_z(&b, streq(op, "In") ? " in (" : " notin (");
        json_array_foreach(json_at(e, "values", NULL), k, v)
        {
            (void)buf_printf(&b, "%s%s", k ? "," : "", strna(json_string_value(v)));
        }
        (void)buf_add_char(&b, ')');
    }
    cell_take(cells, buf_take(&b), "<none>");
}

static int64_t status_int(const json_t *o, const char *key)
{
    return json_int_or(json_at(o, "status", NULL), key, 0);
}

#define TEMPLATE_COLUMNS                                                                           \
    {"Containers", "string", "", "Names of the containers.", 1},                                   \
        {"Images", "string", "", "Their images.", 1},                                              \
    {                                                                                              \
        "Selector", "string", "", "Labels of its pods.", 1                                         \
    }

const struct column columns_daemonsets[] = {
    NAME_COLUMN,
    {"Desired", "integer", "", "Nodes that should run the pod.", 0},
    {"Current", "integer", "", "Nodes that run it and should.", 0},
    {"Ready", "integer", "", "Nodes where it is ready.", 0},
    {"Up-to-date", "integer", "", "Nodes that run the newest template.", 0},
    {"Available", "integer", "", "Nodes where it is available.", 0},
    {"Node Selector", "string", "", "Which nodes.", 0},
    AGE_COLUMN,
    TEMPLATE_COLUMNS,
    {0},
};
void print_daemonsets(const json_t *o, json_t *cells)
{
    struct buf b;

    buf_small(&b);
    join_labels(&b, json_at(o, "spec", "template", "spec", "nodeSelector", NULL));
    cell_name(cells, o);
    cell_int(cells, status_int(o, "desiredNumberScheduled"));
    cell_int(cells, status_int(o, "currentNumberScheduled"));
    cell_int(cells, status_int(o, "numberReady"));
    cell_int(cells, status_int(o, "updatedNumberScheduled"));
    cell_int(cells, status_int(o, "numberAvailable"));
    cell_take(cells, buf_take(&b), "<none>");
    cell_age(cells, o);
    cell_containers(cells, o);
    cell_selector(cells, o);
}

const struct column columns_deployments[] = {
    NAME_COLUMN,
    {"Ready", "string", "", "Ready pods of those wanted.", 0},
    {"Up-to-date", "string", "", "Pods of the newest template.", 0},
    {"Available", "string", "", "Available pods.", 0},
    AGE_COLUMN,
    TEMPLATE_COLUMNS,
    {0},
};
void print_deployments(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell_take(cells,
              xasprintf("%lld/%lld", (long long)status_int(o, "readyReplicas"),
                        (long long)json_int_or(json_at(o, "spec", NULL), "replicas", 0)),
              "");
    cell_int(cells, status_int(o, "updatedReplicas"));
    cell_int(cells, status_int(o, "availableReplicas"));
    cell_age(cells, o);
    cell_containers(cells, o);
    cell_selector(cells, o);
}

const struct column columns_replicasets[] = {
    NAME_COLUMN,
    {"Desired", "integer", "", "Pods wanted.", 0},
    {"Current", "integer", "", "Pods there are.", 0},
    {"Ready", "integer", "", "Pods that are ready.", 0},
    AGE_COLUMN,
    TEMPLATE_COLUMNS,
    {0},
};
void print_replicasets(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell_int(cells, json_int_or(json_at(o, "spec", NULL), "replicas", 0));
    cell_int(cells, status_int(o, "replicas"));
    cell_int(cells, status_int(o, "readyReplicas"));
    cell_age(cells, o);
    cell_containers(cells, o);
    cell_selector(cells, o);
}

const struct column columns_csrs[] = {
    NAME_COLUMN,
    AGE_COLUMN,
    {"SignerName", "string", "", "Who is asked to sign.", 0},
    {"Requestor", "string", "", "Who asks.", 0},
    {"RequestedDuration", "string", "", "For how long.", 0},
    {"Condition", "string", "", "Where it stands.", 0},
    {0},
};
void print_csrs(const json_t *o, json_t *cells)
{
    int64_t seconds = json_int_or(json_at(o, "spec", NULL), "expirationSeconds", 0);
    bool approved = false, denied = false, failed = false;
    char duration[WALL_TEXT] = "<none>";
    const char *certificate = json_text_at(o, "status", "certificate", NULL);
    json_t *c;
    size_t i;

    json_array_foreach(json_at(o, "status", "conditions", NULL), i, c)
    {
        approved |= streq(json_text_or(c, "type", ""), "Approved");
        denied |= streq(json_text_or(c, "type", ""), "Denied");
        failed |= streq(json_text_or(c, "type", ""), "Failed");
    }
    if (seconds)
        duration_format_human(seconds * NSEC_PER_SEC, duration);
    cell_name(cells, o);
    cell_age(cells, o);
    cell(cells, json_text_at(o, "spec", "signerName", NULL));
    cell(cells, json_text_at(o, "spec", "username", NULL));
    cell(cells, duration);
    cell_take(cells,
              xasprintf("%s%s%s",
                        denied     ? "Denied"
                        : approved ? "Approved"
                                   : "Pending",
                        failed ? ",Failed" : "", certificate && certificate[0] ? ",Issued" : ""),
              "Pending");
}

const struct column columns_bindings[] = {
    NAME_COLUMN,
    {"Role", "string", "", "The role that is bound.", 0},
    AGE_COLUMN,
    {"Users", "string", "", "Users it is bound to.", 1},
    {"Groups", "string", "", "Groups it is bound to.", 1},
    {"ServiceAccounts", "string", "", "Service accounts it is bound to.", 1},
    {0},
};
void print_bindings(const json_t *o, json_t *cells)
{
    struct buf by_kind[3];
    json_t *s;
    size_t i;

    for (i = 0; i < 3; i++)
        buf_small(&by_kind[i]);
    json_array_foreach(json_at(o, "subjects", NULL), i, s)
    {
        const char *kind = json_text_or(s, "kind", "");

        if (streq(kind, "ServiceAccount")) {
            join(&by_kind[2], json_text_or(s, "namespace", ""));
            (void)buf_printf(&by_kind[2], "/%s", json_text_or(s, "name", ""));
        } else {
            join(&by_kind[streq(kind, "Group") ? 1 : 0], json_text_or(s, "name", ""));
        }
    }
    cell_name(cells, o);
    cell_take(cells,
              xasprintf("%s/%s", strna(json_text_at(o, "roleRef", "kind", NULL)),
                        strna(json_text_at(o, "roleRef", "name", NULL))),
              "");
    cell_age(cells, o);
    for (i = 0; i < 3; i++)
        cell_take(cells, buf_take(&by_kind[i]), "");
}

const struct column columns_created[] = {
    NAME_COLUMN, {"Created At", "date", "", "Time of creation.", 0}, {0}};
void print_created(const json_t *o, json_t *cells)
{
    cell_name(cells, o);
    cell(cells, json_text_at(o, "metadata", "creationTimestamp", NULL));
}
