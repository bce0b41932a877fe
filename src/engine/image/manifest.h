/* OCI and Docker v2 manifests and indexes, checked as strangers' bytes. Pure text. */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_MAX (4u << 20)
struct descriptor {
    char *media_type, *digest;
    uint64_t size;
    char *os, *architecture, *variant; /* NULL when absent */
    bool has_features;                 /* os.features */
    char *ref_name; /* of annotations: io.containerd.image.name or org.opencontainers.image.ref.name
                     */
};
struct manifest {
    bool index;
    struct descriptor config; /* manifest */
    struct descriptor *v;     /* layers, lowest first, or the index's entries */
    size_t n;
};
int manifest_parse(struct str json, struct manifest *ret, struct error **err);
void manifest_fini(struct manifest *m);
/* Entry of an index for "os/arch[/variant]"; NULL: none. */
const struct descriptor *manifest_choose(const struct manifest *index, const char *platform);
/* This machine's; owned. */
char *manifest_platform(void);
