/* Certificates and keys on disk: PREFIX-DATE.pem with both in it, and the link PREFIX-current.pem.
 */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "kubelet/certificate.h"
#include "net/x509.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

#define PEM_BYTES_MAX ((size_t)256 << 10)
#define SELF_SIGNED_S ((int64_t)365 * 86400)
#define KEPT 2

struct old_files {
    const char *prefix;
    char *names[64];
    size_t n;
};

static int collect(int dirfd, const char *name, unsigned char type, void *arg)
{
    (void)dirfd;
    (void)type;
    struct old_files *o = arg;
    size_t n = strlen(o->prefix);
    /* PREFIX-2026-..., not PREFIX-current.pem */
    if (strstarts(name, o->prefix) && name[n] == '-' && name[n + 1] >= '0' && name[n + 1] <= '9' &&
        strends(name, ".pem") && o->n < ARRAY_LEN(o->names))
        o->names[o->n++] = xstrdup(name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names hold the time, so their order is the order of their making. */
static void remove_old(const char *dir, const char *prefix)
{
    struct old_files o = {.prefix = prefix};
    (void)dir_each(dir, collect, &o, NULL);
    qsort(o.names, o.n, sizeof(o.names[0]), by_name);
    for (size_t i = 0; i < o.n; i++) {
        if (i + KEPT < o.n) {
            cleanup_free char *path = path_join(dir, o.names[i]);
            (void)unlink(path);
        }
        free(o.names[i]);
    }
}

static int move_link(const char *dir, const char *prefix, const char *target, struct error **err)
{
    cleanup_free char *current = xasprintf("%s/%s-current.pem", dir, prefix);
    cleanup_free char *fresh = xasprintf("%s/%s-current.pem.new", dir, prefix);
    (void)unlink(fresh);
    if (symlink(target, fresh) < 0 || rename(fresh, current) < 0) {
        int code = errno;
        (void)unlink(fresh);
        return error_set_errno(err, code, "link %s", current);
    }
    return 0;
}

int certificate_store(const char *cert_dir, const char *prefix, struct str cert_pem,
                      struct str key_pem, struct error **err)
{
    int r = x509_key_matches(cert_pem, key_pem, err);
    if (!r)
        r = dir_make(cert_dir, 0700, err);
    if (r)
        return r;
    char date[32];
    time_t now = (time_t)(wall_now().ns / NSEC_PER_SEC);
    struct tm tm;
    (void)strftime(date, sizeof(date), "%Y-%m-%d-%H-%M-%S", gmtime_r(&now, &tm));
    cleanup_free char *name = xasprintf("%s-%s.pem", prefix, date);
    cleanup_free char *path = path_join(cert_dir, name);
    cleanup_buf struct buf both;
    buf_init(&both, PEM_BYTES_MAX);
    (void)buf_add_str(&both, cert_pem);
    if (both.n && both.p[both.n - 1] != '\n')
        (void)buf_add_char(&both, '\n');
    if (buf_add_str(&both, key_pem) < 0)
        return error_set(err, EMSGSIZE, "certificate is too large");
    r = file_write_atomic(path, 0600, buf_str(&both), err);
    if (!r)
        r = move_link(cert_dir, prefix, name, err);
    if (!r)
        remove_old(cert_dir, prefix);
    return r;
}

/* Is what lies there good for another day and these addresses? */
static bool self_signed_fits(const char *cert_path, const char *key_path, const char *const *ips,
                             size_t n_ips)
{
    cleanup_buf struct buf cert = {0}, key = {0};
    struct x509_cert c;
    if (file_read(cert_path, PEM_BYTES_MAX, &cert, NULL) < 0 ||
        file_read(key_path, PEM_BYTES_MAX, &key, NULL) < 0 ||
        x509_key_matches(buf_str(&cert), buf_str(&key), NULL) < 0 ||
        x509_cert_parse(buf_str(&cert), &c, NULL) < 0)
        return false;
    bool fits = c.not_after.ns > wall_now().ns + 86400 * NSEC_PER_SEC;
    for (size_t i = 0; fits && i < n_ips; i++) {
        bool found = false;
        for (size_t k = 0; k < c.subject.n_ips; k++)
            found = found || streq(c.subject.ips[k], ips[i]);
        fits = found;
    }
    x509_cert_fini(&c);
    return fits;
}

int certificate_self_signed(const char *cert_dir, const char *node_name, const char *const *ips,
                            size_t n_ips, char **ret_cert, char **ret_key, struct error **err)
{
    cleanup_free char *cert_path = path_join(cert_dir, "kubelet.crt");
    cleanup_free char *key_path = path_join(cert_dir, "kubelet.key");
    if (!self_signed_fits(cert_path, key_path, ips, n_ips)) {
        cleanup_buf struct buf cert, key;
        buf_init(&cert, PEM_BYTES_MAX);
        buf_init(&key, PEM_BYTES_MAX);
        struct x509_names names = {
            .cn = node_name, .dns = &node_name, .n_dns = 1, .ips = ips, .n_ips = n_ips};
        int r = dir_make(cert_dir, 0700, err);
        if (!r)
            r = x509_key_generate(X509_KEY_ECDSA_P256, &key, err);
        if (!r)
            r = x509_self_signed(buf_str(&key), &names, SELF_SIGNED_S, &cert, err);
        if (!r)
            r = file_write_atomic(key_path, 0600, buf_str(&key), err);
        if (!r)
            r = file_write_atomic(cert_path, 0644, buf_str(&cert), err);
        if (r)
            return error_wrap(err, "serving certificate");
    }
    *ret_cert = TAKE(cert_path);
    *ret_key = TAKE(key_path);
    return 0;
}
