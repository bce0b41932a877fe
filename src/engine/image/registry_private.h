#pragma once
#include "engine/image/challenge.h"
#include "engine/image/registry.h"
#include <curl/curl.h>

struct endpoint {
    char *base; /* "https://host[/prefix]" */
    char *host; /* host[:port] for certs.d */
    bool mirror, insecure;
    bool plain_tried;    /* https did not answer: base is http now */
    char *authorization; /* whole header line, or NULL */
};
struct registry {
    const struct worker_request *q;
    char *path, *ref_text;
    struct endpoint *v;
    size_t n, first; /* the one that served the manifest is asked first */
    CURL *curl;
};
struct answer {
    long status;
    struct challenge challenge;
    char *content_digest;
    int64_t range_start; /* of Content-Range; -1: none */
};
void answer_fini(struct answer *a);
/* Options common to all requests (a comes cleared): URL, headers (owned list, to be freed after),
 * certificates, limits. */
struct curl_slist *registry_setup(struct registry *r, struct endpoint *ep, CURL *curl,
                                  const char *path, bool manifest, struct answer *a);
/* Gets credentials for the challenge into ep->authorization. 1: none can be had. */
int registry_authorize(struct registry *r, struct endpoint *ep, const struct challenge *c,
                       struct error **err);
/* https did not answer and plain is allowed: switches over and returns true, once. */
bool registry_go_plain(struct endpoint *ep, CURLcode code);
/* The sentence for a status or a transport failure. */
int registry_status_error(struct registry *r, long status, struct str body, const char *url,
                          struct error **err);
int registry_curl_error(struct registry *r, CURLcode code, const char *detail, const char *url,
                        struct error **err);
char *endpoint_url(const struct registry *r, const struct endpoint *ep,
                   const char *path); /* owned */
