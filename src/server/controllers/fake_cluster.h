/* A cluster in an array, for unit tests: no admission, versions counted, deletions immediate. */
#pragma once
#include "server/controllers/cluster.h"
struct fake_cluster {
    struct cluster cluster;
    json_t *store; /* resource -> array of objects */
    int64_t version;
};
void fake_init(struct fake_cluster *f);
void fake_fini(struct fake_cluster *f);
/* JSON with ' for ". */
json_t *fake_json(const char *text);
void fake_put(struct fake_cluster *f, const char *resource, const char *text);
void fake_put_json(struct fake_cluster *f, const char *resource, json_t *object); /* takes */
void fake_remove(struct fake_cluster *f, const char *resource, const char *ns, const char *name);
