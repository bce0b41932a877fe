#include "net/tls.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PEM_MAX (4u << 20)
enum { PEM_CERT, PEM_KEY, PEM_CA, PEM_KINDS };

/* A PEM source that is ours, and what its file looked like when it was loaded. */
struct pem_slot {
    char *path;
    struct buf data; /* when it came from memory */
    struct stat seen;
};

/* What tls_server and tls_client have in common. */
struct tls_context {
    unsigned refs, generation;
    SSL_CTX *ctx;
    struct pem_slot pem[PEM_KINDS];
    struct wall not_after;
    bool insecure, server;
    unsigned char alpn[64];
    size_t alpn_n;
};
struct tls_server {
    struct tls_context c;
};
struct tls_client {
    struct tls_context c;
};

static int verify_error_index = -1, names_index = -1;

static void free_names(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    free(p);
}

void tls_init_once(void)
{
    static bool done;

    if (done)
        return;
    done = true;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
    verify_error_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    names_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_names);
}

static int set_ssl_error(struct error **err, int code, const char *what, const char *where)
{
    unsigned long e = ERR_peek_last_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;

    ERR_clear_error();
    return error_set(err, code, "%s%s%s: %s", what, where ? " " : "", strna(where),
                     why ? why : "not valid PEM");
}

/* PEM sources */

static void slot_fini(struct pem_slot *s)
{
    free(s->path);
    if (s->data.p)
        OPENSSL_cleanse(s->data.p, s->data.n);
    buf_fini(&s->data);
    *s = (struct pem_slot){0};
}

static void slot_set(struct pem_slot *s, const struct tls_pem *p)
{
    *s = (struct pem_slot){0};
    buf_init(&s->data, PEM_MAX);
    s->path = p->path && *p->path ? xstrdup(p->path) : NULL;
    if (!s->path)
        (void)buf_add_str(&s->data, p->data);
}

static bool slot_empty(const struct pem_slot *s)
{
    return !s->path && !s->data.n;
}

static bool slot_changed(const struct pem_slot *s)
{
    struct stat st;

    if (!s->path || stat(s->path, &st) < 0)
        return false;
    return st.st_mtim.tv_sec != s->seen.st_mtim.tv_sec ||
           st.st_mtim.tv_nsec != s->seen.st_mtim.tv_nsec || st.st_size != s->seen.st_size ||
           st.st_ino != s->seen.st_ino;
}

/* Text of a slot as a BIO over *hold. */
static BIO *slot_bio(struct pem_slot *s, struct buf *hold, const char *what, struct error **err)
{
    BIO *bio;

    if (s->path) {
        (void)stat(s->path, &s->seen);
        if (file_read(s->path, PEM_MAX, hold, err) < 0) {
            (void)error_wrap(err, "%s", what);
            return NULL;
        }
    } else {
        buf_init(hold, PEM_MAX);
        (void)buf_add_str(hold, buf_str(&s->data));
    }
    bio = BIO_new_mem_buf(hold->p ? hold->p : "", (int)hold->n);
    if (!bio)
        (void)error_set(err, ENOMEM, "%s: out of memory", what);
    return bio;
}

static int no_passphrase(char *p, int n, int rw, void *arg)
{
    (void)p, (void)n, (void)rw, (void)arg;
    return -1;
}

static struct wall asn1_wall(const ASN1_TIME *t)
{
    struct tm tm;

    if (!t || !ASN1_TIME_to_tm(t, &tm))
        return (struct wall){0};
    return (struct wall){(int64_t)timegm(&tm) * NSEC_PER_SEC};
}

static int use_chain(struct tls_context *c, SSL_CTX *ctx, BIO *bio, const char *path,
                     struct error **err)
{
    X509 *x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);

    if (!x || SSL_CTX_use_certificate(ctx, x) != 1) {
        X509_free(x);
        return set_ssl_error(err, EINVAL, "certificate", path);
    }
    c->not_after = asn1_wall(X509_get0_notAfter(x));
    X509_free(x);
    while ((x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
            X509_free(x);
            return set_ssl_error(err, EINVAL, "certificate chain", path);
        }
    }
    ERR_clear_error(); /* end of the file is reported as an error */
    return 0;
}

static int use_key(SSL_CTX *ctx, BIO *bio, const char *path, struct error **err)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

    EVP_PKEY_free(key);
    return ok ? 0 : set_ssl_error(err, EINVAL, "private key", path);
}

static int use_ca(struct tls_context *c, SSL_CTX *ctx, BIO *bio, const char *path,
                  struct error **err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t n = 0;
    X509 *x;

    while ((x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        (void)X509_STORE_add_cert(store, x); /* duplicates are harmless */
        if (c->server)
            (void)SSL_CTX_add_client_CA(ctx, x);
        X509_free(x);
        n++;
    }
    if (!n)
        return set_ssl_error(err, EINVAL, "CA bundle", path ? path : "");
    ERR_clear_error();
    return 0;
}

static int load_slot(struct tls_context *c, SSL_CTX *ctx, int kind, struct error **err)
{
    static const char *const what[PEM_KINDS] = {"certificate", "private key", "CA bundle"};
    struct pem_slot *s = &c->pem[kind];
    cleanup_buf struct buf hold = {0};
    BIO *bio = slot_bio(s, &hold, what[kind], err);
    int r;

    if (!bio)
        return -EIO;
    if (kind == PEM_CERT)
        r = use_chain(c, ctx, bio, s->path, err);
    else if (kind == PEM_KEY)
        r = use_key(ctx, bio, s->path, err);
    else
        r = use_ca(c, ctx, bio, s->path, err);
    BIO_free(bio);
    if (kind == PEM_KEY && hold.p)
        OPENSSL_cleanse(hold.p, hold.n);
    return r;
}

/* contexts */

/* Remembers the first thing wrong, and lets the handshake go on: who the client is gets decided
 * above. */
static int verify_record(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    intptr_t e = X509_STORE_CTX_get_error(store);

    if (!ok && ssl && !SSL_get_ex_data(ssl, verify_error_index))
        (void)SSL_set_ex_data(ssl, verify_error_index, (void *)e);
    return 1;
}

/* "a, b, 10.0.0.1": for the message about a name that does not match. */
static char *names_text(X509 *cert)
{
    struct tls_peer *p = tls_peer_from_x509(cert);
    struct buf out;

    buf_init(&out, 512);
    for (size_t i = 0; i < p->dns_names_n; i++)
        (void)buf_printf(&out, "%s%s", out.n ? ", " : "", p->dns_names[i]);
    for (size_t i = 0; i < p->ips_n; i++)
        (void)buf_printf(&out, "%s%s", out.n ? ", " : "", p->ips[i]);
    tls_peer_free(p);
    return buf_take(&out);
}

/* OpenSSL drops a refused certificate, so what the message needs is kept here. */
static int verify_note_names(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    int e = X509_STORE_CTX_get_error(store);
    X509 *cert = X509_STORE_CTX_get0_cert(store);

    if (!ok && ssl && cert &&
        (e == X509_V_ERR_HOSTNAME_MISMATCH || e == X509_V_ERR_IP_ADDRESS_MISMATCH) &&
        !SSL_get_ex_data(ssl, names_index))
        (void)SSL_set_ex_data(ssl, names_index, names_text(cert));
    return ok;
}

const char *tls_refused_names(SSL *ssl)
{
    const char *names = SSL_get_ex_data(ssl, names_index);

    return names && *names ? names : "no names at all";
}

const char *tls_verify_error(SSL *ssl)
{
    intptr_t e = (intptr_t)SSL_get_ex_data(ssl, verify_error_index);

    if (!e && SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE)
        return "certificates are not verified here";
    if (!e)
        e = SSL_get_verify_result(ssl);
    return e == X509_V_OK ? NULL : X509_verify_cert_error_string((long)e);
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                       const unsigned char *in, unsigned inlen, void *arg)
{
    struct tls_context *c = arg;
    unsigned char *chosen = NULL;

    (void)ssl;
    if (!c->alpn_n || SSL_select_next_proto(&chosen, outlen, c->alpn, (unsigned)c->alpn_n, in,
                                            inlen) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *ctx_base(struct tls_context *c)
{
    SSL_CTX *ctx = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());

    if (!ctx)
        return NULL;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (c->server)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, c);
    return ctx;
}

static int ctx_fill(struct tls_context *c, SSL_CTX *ctx, struct error **err)
{
    int r = 0;

    if (!slot_empty(&c->pem[PEM_CERT])) {
        r = load_slot(c, ctx, PEM_CERT, err);
        if (r == 0)
            r = load_slot(c, ctx, PEM_KEY, err);
    } else if (c->server) {
        r = error_set(err, EINVAL, "tls: a server needs a certificate and a key");
    }
    if (r == 0 && !slot_empty(&c->pem[PEM_CA]))
        r = load_slot(c, ctx, PEM_CA, err);
    else if (r == 0 && !c->server && !c->insecure)
        (void)SSL_CTX_set_default_verify_paths(ctx);
    if (c->server)
        SSL_CTX_set_verify(ctx, slot_empty(&c->pem[PEM_CA]) ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                           verify_record);
    else
        SSL_CTX_set_verify(ctx, c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, verify_note_names);
    return r;
}

/* Builds the OpenSSL context anew; the old one stays when that fails. */
static int context_build(struct tls_context *c, struct error **err)
{
    SSL_CTX *ctx = ctx_base(c);
    int r;

    if (!ctx)
        return set_ssl_error(err, ENOMEM, "tls context", NULL);
    r = ctx_fill(c, ctx, err);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    SSL_CTX_free(c->ctx);
    c->ctx = ctx;
    c->generation++;
    return 0;
}

static int context_load(struct tls_context *c, const struct tls_pem *const pems[PEM_KINDS],
                        struct error **err)
{
    struct pem_slot old[PEM_KINDS];
    struct wall not_after = c->not_after;
    int r;

    memcpy(old, c->pem, sizeof old);
    for (int i = 0; i < PEM_KINDS; i++)
        slot_set(&c->pem[i], pems[i]);
    r = context_build(c, err);
    if (r < 0) {
        for (int i = 0; i < PEM_KINDS; i++) {
            slot_fini(&c->pem[i]);
            c->pem[i] = old[i];
        }
        c->not_after = not_after;
        return r;
    }
    for (int i = 0; i < PEM_KINDS; i++)
        slot_fini(&old[i]);
    return 0;
}

static bool context_changed(const struct tls_context *c)
{
    for (int i = 0; i < PEM_KINDS; i++)
        if (slot_changed(&c->pem[i]))
            return true;
    return false;
}

static void context_fini(struct tls_context *c)
{
    SSL_CTX_free(c->ctx);
    for (int i = 0; i < PEM_KINDS; i++)
        slot_fini(&c->pem[i]);
}

static void alpn_wire(struct tls_context *c, const char *list)
{
    for (struct str rest = str_of(list), item; rest.p;) {
        item = str_split(&rest, ',');
        if (!item.n || c->alpn_n + 1 + item.n > sizeof c->alpn)
            break;
        c->alpn[c->alpn_n++] = (unsigned char)item.n;
        memcpy(c->alpn + c->alpn_n, item.p, item.n);
        c->alpn_n += item.n;
    }
}

/* server */

int tls_server_reload(struct tls_server *t, const struct tls_server_config *cfg, struct error **err)
{
    return context_load(
        &t->c, (const struct tls_pem *const[]){&cfg->cert, &cfg->key, &cfg->client_ca}, err);
}

int tls_server_new(const struct tls_server_config *cfg, struct tls_server **ret, struct error **err)
{
    struct tls_server *t;
    int r;

    tls_init_once();
    t = xcalloc(1, sizeof *t);
    t->c.refs = 1;
    t->c.server = true;
    if (cfg->alpn)
        alpn_wire(&t->c, cfg->alpn);
    r = tls_server_reload(t, cfg, err);
    if (r < 0) {
        tls_server_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

bool tls_server_files_changed(const struct tls_server *t)
{
    return context_changed(&t->c);
}

int tls_server_reload_files(struct tls_server *t, struct error **err)
{
    return context_build(&t->c, err);
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
    t->c.refs++;
    return t;
}

void tls_server_unref(struct tls_server *t)
{
    if (!t || --t->c.refs)
        return;
    context_fini(&t->c);
    free(t);
}

void tls_server_default_alpn(struct tls_server *t, const char *alpn)
{
    if (!t->c.alpn_n)
        alpn_wire(&t->c, alpn);
}

struct wall tls_server_not_after(const struct tls_server *t)
{
    return t->c.not_after;
}

struct ssl_ctx_st *tls_server_ctx(struct tls_server *t)
{
    return t->c.ctx;
}

/* client */

int tls_client_reload(struct tls_client *t, const struct tls_client_config *cfg, struct error **err)
{
    bool insecure = t->c.insecure;
    int r;

    t->c.insecure = cfg->insecure;
    r = context_load(&t->c, (const struct tls_pem *const[]){&cfg->cert, &cfg->key, &cfg->ca}, err);
    if (r < 0)
        t->c.insecure = insecure;
    return r;
}

int tls_client_new(const struct tls_client_config *cfg, struct tls_client **ret, struct error **err)
{
    struct tls_client *t;
    int r;

    tls_init_once();
    t = xcalloc(1, sizeof *t);
    t->c.refs = 1;
    r = tls_client_reload(t, cfg, err);
    if (r < 0) {
        tls_client_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

bool tls_client_files_changed(const struct tls_client *t)
{
    return context_changed(&t->c);
}

int tls_client_reload_files(struct tls_client *t, struct error **err)
{
    return context_build(&t->c, err);
}

unsigned tls_client_generation(const struct tls_client *t)
{
    return t->c.generation;
}

struct tls_client *tls_client_ref(struct tls_client *t)
{
    t->c.refs++;
    return t;
}

void tls_client_unref(struct tls_client *t)
{
    if (!t || --t->c.refs)
        return;
    context_fini(&t->c);
    free(t);
}

struct ssl_ctx_st *tls_client_ctx(struct tls_client *t)
{
    return t->c.ctx;
}

bool tls_client_insecure(const struct tls_client *t)
{
    return t->c.insecure;
}
