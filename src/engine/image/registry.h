/*
 * Registry client of the worker (OCI distribution): manifests and blobs by libcurl, blocking.
 * Endpoints are the mirrors of a registry, in order, and then the registry; credentials go to the
 * latter only. Loopback and insecure registries may answer over plain HTTP.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "engine/image/message.h"
#include "engine/image/ref.h"
#include "engine/image/worker.h"

struct registry;
void registry_new(const struct worker_request *q, const struct image_ref *ref,
                  struct registry **ret);
void registry_free(struct registry *r); /* NULL accepted */
/* reference: tag or digest. Text, and digest of it. -ENOENT, -EACCES and others with the sentence
 * for users. */
int registry_manifest(struct registry *r, const char *reference, struct buf *ret,
                      char ret_digest[static 72], struct error **err);
/* Small blob, verified. */
int registry_blob(struct registry *r, const char *digest, size_t max, struct buf *ret,
                  struct error **err);
/* Stream of a blob; resumes by range after a break, on the next endpoint when one gives up. Lives
 * as long as the process. */
int registry_blob_open(struct registry *r, const char *digest, uint64_t size, struct source **ret,
                       struct error **err);

/* Host of "host[:port]" is a loopback address or in the list of insecure ones (host[:port] or
 * CIDR)? Pure. */
bool registry_is_insecure(const char *host, const struct image_strings *insecure);
