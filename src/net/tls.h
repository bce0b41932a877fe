/*
 * TLS contexts over OpenSSL, 1.2 and later, small memory. One tls_server or tls_client is shared by
 * all connections of a kind; reload swaps the certificate for new connections while standing ones
 * live on. Contexts are counted: streams keep what they use, the owner drops its own with *_unref
 * at any time.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include "base/time.h"
#include <sys/types.h>

struct ssl_ctx_st;
struct ssl_st;
struct x509_st;

/* Source of PEM text: path or memory; both empty means none. Memory is copied. */
struct tls_pem {
    const char *path;
    struct str data;
};

/* server side */
struct tls_server_config {
    struct tls_pem cert; /* leaf first, then intermediates */
    struct tls_pem key;
    /* When given, clients are asked for a certificate (none is fine). One that does not verify
     * against this bundle does not end the handshake: tls_peer.verified is false and says why. */
    struct tls_pem client_ca;
    const char *alpn; /* preference list "h2,http/1.1"; NULL: none */
};
struct tls_server;
int tls_server_new(const struct tls_server_config *cfg, struct tls_server **ret,
                   struct error **err);
/* Reads everything anew (paths) or takes the new memory; on failure the old stays in use. */
int tls_server_reload(struct tls_server *t, const struct tls_server_config *cfg,
                      struct error **err);
/* Counts connections by nobody: true when a file named in the configuration changed (mtime, size,
 * inode) since it was last loaded; then tls_server_reload_files reads the same paths anew. */
bool tls_server_files_changed(const struct tls_server *t);
int tls_server_reload_files(struct tls_server *t, struct error **err);
struct tls_server *tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t); /* NULL accepted */
/* Sets the ALPN list of a context that was made without one. */
void tls_server_default_alpn(struct tls_server *t, const char *alpn);
/* End of the served certificate's life. */
struct wall tls_server_not_after(const struct tls_server *t);

/* client side */
struct tls_client_config {
    struct tls_pem ca;        /* pinned bundle; none: the system's */
    bool insecure;            /* no verification at all */
    struct tls_pem cert, key; /* client certificate; optional */
};
struct tls_client;
int tls_client_new(const struct tls_client_config *cfg, struct tls_client **ret,
                   struct error **err);
/* As tls_server_reload: new connections use it; http_client also drops its idle pool by itself. */
int tls_client_reload(struct tls_client *t, const struct tls_client_config *cfg,
                      struct error **err);
bool tls_client_files_changed(const struct tls_client *t);
int tls_client_reload_files(struct tls_client *t, struct error **err);
unsigned tls_client_generation(const struct tls_client *t); /* grows with every reload */
struct tls_client *tls_client_ref(struct tls_client *t);
void tls_client_unref(struct tls_client *t); /* NULL accepted */

/* peer identity, as shown in the handshake */
struct tls_peer {
    bool verified;            /* chain checked against the configured bundle */
    const char *verify_error; /* one phrase when not verified, else NULL */
    const char *cn;           /* "" when absent */
    const char *const *orgs;  /* every O of the subject, in order */
    size_t orgs_n;
    const char *serial; /* upper-case hex */
    const char *issuer_cn;
    struct wall not_before, not_after;
    const char *const *dns_names;
    size_t dns_names_n;
    const char *const *ips; /* numeric text */
    size_t ips_n;
    struct str der;
    char sha256[65]; /* hex of the DER */
};
/* Reads an identity out of a certificate; used on connections and for files. Owned. */
struct tls_peer *tls_peer_from_x509(struct x509_st *cert);
int tls_peer_from_pem(struct str pem, struct tls_peer **ret, struct error **err);
void tls_peer_free(struct tls_peer *p); /* NULL accepted */
/* PEM text of it, owned. */
char *tls_peer_pem(const struct tls_peer *p);

/* For stream.c: contexts as OpenSSL sees them; borrow. */
struct ssl_ctx_st *tls_server_ctx(struct tls_server *t);
struct ssl_ctx_st *tls_client_ctx(struct tls_client *t);
bool tls_client_insecure(const struct tls_client *t);
/* What was wrong with the peer's certificate, or NULL. */
const char *tls_verify_error(struct ssl_st *ssl);
/* Names in a server certificate that was refused for its name. */
const char *tls_refused_names(struct ssl_st *ssl);
/* Process-wide: OpenSSL's one-time set-up and SIGPIPE ignored. Called by all the constructors here.
 */
void tls_init_once(void);
