/* What the files of ruleset share. */
#pragma once
#include "base/map.h"
#include "proxy/ruleset.h"
struct family {
    uint8_t v6, nfproto;
    uint8_t a;            /* registers of an address */
    uint8_t bytes;        /* ... in bytes */
    uint8_t saddr, daddr; /* offsets in the network header */
    struct nft_batch *batch;
    bool wanted; /* the table exists or has to */
};
struct ruleset {
    struct ruleset_options options;
    struct nft *nft;
    struct family families[2];
    struct chain **chains;
    size_t chains_n, chains_cap;
    struct map chain_numbers; /* "4name" -> number + 1 */
    struct map shared;        /* record key -> references */
};
void ruleset_put_sets(struct ruleset *r, struct family *f);
void ruleset_put_static_chains(struct ruleset *r, struct family *f);
/* Names of the static chains; NULL ends it. */
extern const char *const ruleset_static_chains[];
void ruleset_put_chain_rules(struct ruleset *r, struct family *f, const struct chain *c);
void ruleset_put_element(struct family *f, const struct ruleset *r, const struct element *e,
                         bool add);
/* References to an element several Services may want: true when it was the first. unref: true when
 * it was the last. */
bool ruleset_shared_ref(struct ruleset *r, const struct element *e);
bool ruleset_shared_unref(struct ruleset *r, const struct element *e);
