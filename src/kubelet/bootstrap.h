/*
 * TLS bootstrap: from a kubeconfig with a bootstrap token to a client certificate of our own and a
 * kubeconfig that uses it. Never ends the process: what is in the way is logged as one sentence
 * with its remedy, and tried again with back-off, so that creating the missing binding or token is
 * all it takes.
 *
 * Files: cert_dir/kubelet-client-DATE.pem (certificate and key), kubelet-client-current.pem linked
 * to it, kubelet-client.key.tmp while a request is open. 0600, written whole or not at all.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
struct bootstrap;
struct bootstrap_config {
    const char *bootstrap_kubeconfig; /* NULL or missing: bootstrap is impossible */
    const char *kubeconfig;
    const char *cert_dir;
    const char *node_name;
};
/* Is there a kubeconfig whose credentials can be used now? Then 0 comes back and nothing needs be
 * done. BOOTSTRAP_NEEDED: bootstrap_start is due, why is logged. Negative: neither works, err says
 * what to do. */
#define BOOTSTRAP_NEEDED 1
int bootstrap_check(const struct bootstrap_config *cfg, struct error **err);
/* done is called once, when the kubeconfig is there. */
typedef void (*bootstrap_done_fn)(void *arg);
int bootstrap_start(struct loop *l, const struct bootstrap_config *cfg, bootstrap_done_fn done,
                    void *arg, struct bootstrap **ret, struct error **err);
void bootstrap_stop(struct bootstrap *b); /* NULL accepted; fine inside done */
