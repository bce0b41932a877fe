/*
 * What the API serves: one row per resource. Discovery, OpenAPI, printing, storage keys and RBAC
 * attributes are all derived from these rows; what has no row is not advertised and not served.
 */
#pragma once
#include "base/buf.h"
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

enum { /* subresources */
       SUB_STATUS = 1u << 0,
       SUB_SCALE = 1u << 1,
       SUB_APPROVAL = 1u << 2,
       SUB_TOKEN = 1u << 3,
       SUB_BINDING = 1u << 4,
       SUB_EVICTION = 1u << 5,
       SUB_STREAMS = 1u << 6, /* log, exec, attach, portforward, proxy of pods */
       SUB_PROXY = 1u << 7,   /* of nodes and services */
       SUB_FINALIZE = 1u << 8,
};
struct column {
    const char *name, *type, *format, *description;
    int priority; /* 1: only with -o wide */
};
/* Appends one cell per column of the row's table, in order. */
typedef void (*print_fn)(const json_t *object, json_t *cells);
struct resource {
    const char *group;   /* "" for core */
    const char *version; /* stored and preferred */
    const char *also;    /* another group/version it is served as, or NULL ("extensions/v1beta1") */
    const char *kind, *plural, *singular;
    const char *short_names[3];
    bool namespaced, in_all; /* in_all: part of `kubectl get all` */
    bool virtual_;           /* create only, nothing is stored (reviews) */
    unsigned subs;
    const struct column *columns; /* NULL: name and age; ends with a NULL name */
    print_fn print;
    const ProtobufCMessageDescriptor *type; /* for the schema; NULL: any object */
    const char *id; /* "pods", "daemonsets.apps": as controllers and admission name it */
};
extern const struct resource resources[];
extern const size_t resources_n;
const struct resource *resource_find(struct str group, struct str version, struct str plural);
const struct resource *resource_by_id(const char *id);
const struct resource *resource_by_kind(const char *group, const char *kind);
/* "v1" or "apps/v1". Owned by the row's static text through out. */
void resource_api_version(const struct resource *r, char out[static 96]);
/* "/registry/daemonsets.apps/ns/name"; name NULL gives the prefix of a namespace, ns NULL that of
 * the resource. Owned. */
char *resource_key(const struct resource *r, const char *ns, const char *name);
/* The same resource as served under another group and version: changes apiVersion in place. */
bool resource_serves(const struct resource *r, struct str group, struct str version);
const struct column *resource_columns(const struct resource *r);
void resource_print(const struct resource *r, const json_t *object, json_t *cells);

/* Rows of columns and their printers: printers_core.c, printers_more.c. */
#define PRINTER(name)                                                                              \
    extern const struct column columns_##name[];                                                   \
    void print_##name(const json_t *object, json_t *cells)
PRINTER(pods);
PRINTER(nodes);
PRINTER(services);
PRINTER(endpoints);
PRINTER(endpointslices);
PRINTER(namespaces);
PRINTER(configmaps);
PRINTER(secrets);
PRINTER(serviceaccounts);
PRINTER(events);
PRINTER(leases);
PRINTER(daemonsets);
PRINTER(deployments);
PRINTER(replicasets);
PRINTER(jobs);
PRINTER(csrs);
PRINTER(bindings);
PRINTER(created);
#undef PRINTER
/* Age as kubectl prints it, from metadata.creationTimestamp or another time; "<unknown>" without.
 */
void print_age(const char *rfc3339, json_t *cells);
