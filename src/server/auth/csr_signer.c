#include "server/auth/csr_signer.h"
#include "base/str.h"
#include "codec/json.h"
#include "net/x509.h"
#include "server/controllers/meta.h"
#include <arpa/inet.h>
#include <errno.h>

#define NODE_USER "system:node:"

static const char *text_at(const json_t *csr, const char *key)
{
    return json_text_or(json_object_get(csr, "spec"), key, "");
}

static int parse_request(const json_t *csr, struct buf *pem, struct x509_subject *ret,
                         struct error **err)
{
    if (buf_add_base64_decoded(pem, str_of(text_at(csr, "request"))) < 0)
        return error_set(err, EINVAL, "spec.request is not base64");
    return x509_csr_parse(buf_str(pem), ret, err);
}

const char *csr_requester_node(const json_t *csr)
{
    const char *user = text_at(csr, "username");

    return strstarts(user, NODE_USER) && user[strlen(NODE_USER)] ? user + strlen(NODE_USER) : NULL;
}

static bool usages_are(const json_t *csr, const char *last)
{
    const json_t *list = json_at(csr, "spec", "usages", NULL), *u;
    size_t signature = 0, encipherment = 0, auth = 0;

    json_each(list, i, u)
    {
        const char *z = strna(json_string_value(u));

        signature += streq(z, "digital signature");
        encipherment += streq(z, "key encipherment");
        auth += streq(z, last);
    }
    return signature == 1 && auth == 1 && encipherment <= 1 &&
           json_array_size(list) == signature + encipherment + auth;
}

static bool subject_is_node(const struct x509_subject *s)
{
    return s->n_orgs == 1 && streq(s->orgs[0], "system:nodes") && s->cn &&
           strstarts(s->cn, NODE_USER) && s->cn[strlen(NODE_USER)];
}

static int check_kubelet_client(const json_t *csr, const struct x509_subject *s, struct error **err)
{
    if (s->n_orgs != 1 || !streq(s->orgs[0], "system:nodes"))
        return error_set(err, EINVAL, "subject organization is not system:nodes");
    if (s->n_dns + s->n_ips + s->n_other_names > 0)
        return error_set(err, EINVAL, "DNS, IP, email and URI subjectAltNames are not allowed");
    if (!usages_are(csr, "client auth"))
        return error_set(err, EINVAL,
                         "usages did not match [client auth digital signature] or [client auth "
                         "digital signature key encipherment]");
    if (!subject_is_node(s))
        return error_set(err, EINVAL, "subject common name does not begin with system:node:");
    return 0;
}

static int check_serving(const json_t *csr, const struct x509_subject *s, struct error **err)
{
    if (s->n_orgs != 1 || !streq(s->orgs[0], "system:nodes"))
        return error_set(err, EINVAL, "subject organization is not system:nodes");
    if (s->n_dns + s->n_ips == 0)
        return error_set(err, EINVAL, "DNS or IP subjectAltName is required");
    if (s->n_other_names > 0)
        return error_set(err, EINVAL, "email and URI subjectAltNames are not allowed");
    if (!usages_are(csr, "server auth"))
        return error_set(err, EINVAL,
                         "usages did not match [digital signature server auth] or [digital "
                         "signature key encipherment server auth]");
    if (!subject_is_node(s))
        return error_set(err, EINVAL, "subject common name does not begin with system:node:");
    return 0;
}

static int check_client(const json_t *csr, struct error **err)
{
    static const char *const fine[] = {"client auth", "digital signature", "key encipherment"};
    const json_t *u;
    bool client = false;

    json_each(json_at(csr, "spec", "usages", NULL), i, u)
    {
        const char *z = strna(json_string_value(u));

        if (!streq(z, fine[0]) && !streq(z, fine[1]) && !streq(z, fine[2]))
            return error_set(err, EINVAL, "invalid usage for client certificate: \"%s\"", z);
        client = client || streq(z, fine[0]);
    }
    return client ? 0
                  : error_set(err, EINVAL,
                              "missing required usage for client certificate: \"client auth\"");
}

int csr_check_signer(const json_t *csr, struct error **err)
{
    const char *signer = text_at(csr, "signerName");
    struct x509_subject s = {0};
    cleanup_buf struct buf pem;
    int rc;

    buf_init(&pem, 1 << 20);
    rc = parse_request(csr, &pem, &s, err);
    if (rc < 0)
        return rc;
    if (streq(signer, CSR_SIGNER_KUBELET_CLIENT))
        rc = check_kubelet_client(csr, &s, err);
    else if (streq(signer, CSR_SIGNER_KUBELET_SERVING))
        rc = check_serving(csr, &s, err);
    else if (streq(signer, CSR_SIGNER_CLIENT))
        rc = check_client(csr, err);
    else if (!streq(signer, CSR_SIGNER_LEGACY))
        rc = error_set(err, EINVAL, "unrecognized signerName: \"%s\"", signer);
    x509_subject_fini(&s);
    return rc;
}

static bool node_has_address(const json_t *node, const char *want, bool ip)
{
    unsigned char a[16], b[16];
    const json_t *x;
    int family = strchr(want, ':') ? AF_INET6 : AF_INET;

    if (!ip && streq(meta_name(node), want))
        return true;
    json_each(json_at(node, "status", "addresses", NULL), i, x)
    {
        const char *have = json_text_or(x, "address", "");

        if (streq(have, want))
            return true;
        if (ip && inet_pton(family, have, a) == 1 && inet_pton(family, want, b) == 1 &&
            !memcmp(a, b, family == AF_INET ? 4 : 16))
            return true;
    }
    return false;
}

/* The names asked for are this node's own, as its Node object says. */
static bool names_belong(const struct x509_subject *s, const json_t *node)
{
    if (!node)
        return false;
    for (size_t i = 0; i < s->n_ips; i++)
        if (!node_has_address(node, s->ips[i], true))
            return false;
    for (size_t i = 0; i < s->n_dns; i++)
        if (!node_has_address(node, s->dns[i], false))
            return false;
    return true;
}

enum csr_recognized csr_recognize(const json_t *csr, const json_t *node)
{
    const char *signer = text_at(csr, "signerName"), *user = text_at(csr, "username");
    enum csr_recognized found = CSR_NOT_OURS;
    struct x509_subject s = {0};
    cleanup_buf struct buf pem;

    buf_init(&pem, 1 << 20);
    if (parse_request(csr, &pem, &s, NULL) < 0)
        return CSR_NOT_OURS;
    if (streq(signer, CSR_SIGNER_KUBELET_CLIENT) && check_kubelet_client(csr, &s, NULL) == 0)
        found = streq(user, s.cn) ? CSR_SELF_CLIENT : CSR_NODE_CLIENT;
    else if (streq(signer, CSR_SIGNER_KUBELET_SERVING) && check_serving(csr, &s, NULL) == 0 &&
             streq(user, s.cn) && names_belong(&s, node))
        found = CSR_SELF_SERVER;
    x509_subject_fini(&s);
    return found;
}

const char *csr_subresource(enum csr_recognized r)
{
    switch (r) {
    case CSR_NODE_CLIENT:
        return "nodeclient";
    case CSR_SELF_CLIENT:
        return "selfnodeclient";
    case CSR_SELF_SERVER:
        return "selfnodeserver";
    case CSR_NOT_OURS:
        break;
    }
    return NULL;
}

const char *csr_approval_message(enum csr_recognized r)
{
    switch (r) {
    case CSR_NODE_CLIENT:
        return "Auto approving kubelet client certificate after SubjectAccessReview.";
    case CSR_SELF_CLIENT:
        return "Auto approving self kubelet client certificate after SubjectAccessReview.";
    case CSR_SELF_SERVER:
        return "Auto approving self kubelet server certificate after SubjectAccessReview.";
    case CSR_NOT_OURS:
        break;
    }
    return "";
}

bool csr_asks_for_group(const json_t *csr, const char *group)
{
    struct x509_subject s = {0};
    cleanup_buf struct buf pem;
    bool found = false;

    buf_init(&pem, 1 << 20);
    if (parse_request(csr, &pem, &s, NULL) < 0)
        return false;
    for (size_t i = 0; i < s.n_orgs; i++)
        found = found || streq(s.orgs[i], group);
    x509_subject_fini(&s);
    return found;
}

static unsigned usages_of(const json_t *csr)
{
    unsigned out = 0;
    const json_t *u;

    json_each(json_at(csr, "spec", "usages", NULL), i, u)
    {
        const char *z = strna(json_string_value(u));

        if (streq(z, "client auth"))
            out |= X509_CLIENT_AUTH;
        else if (streq(z, "server auth"))
            out |= X509_SERVER_AUTH;
    }
    return out;
}

int csr_sign(const json_t *csr, struct str ca_cert_pem, struct str ca_key_pem,
             int64_t default_validity_s, struct buf *ret_pem, struct error **err)
{
    int64_t wanted =
        json_int_or(json_object_get(csr, "spec"), "expirationSeconds", default_validity_s);
    struct x509_sign sign = {
        .ca_cert_pem = ca_cert_pem, .ca_key_pem = ca_key_pem, .usages = usages_of(csr)};
    cleanup_buf struct buf pem;

    sign.validity_s = wanted < default_validity_s ? wanted : default_validity_s;
    if (sign.validity_s < 600)
        sign.validity_s = 600;
    buf_init(&pem, 1 << 20);
    if (buf_add_base64_decoded(&pem, str_of(text_at(csr, "request"))) < 0)
        return error_set(err, EINVAL, "spec.request is not base64");
    return x509_sign_csr(&sign, buf_str(&pem), ret_pem, err);
}

bool csr_expired(const json_t *csr, int64_t now_s)
{
    const json_t *conditions = json_at(csr, "status", "conditions", NULL), *c;
    int64_t age = now_s - meta_created(csr).ns / NSEC_PER_SEC;
    bool issued = *strna(json_text_at(csr, "status", "certificate", NULL)) != '\0';

    if (age > 24 * 3600 && json_array_size(conditions) == 0)
        return true; /* pending */
    json_each(conditions, i, c)
    {
        const char *type = json_text_or(c, "type", "");
        int64_t since = now_s - json_wall(json_object_get(c, "lastUpdateTime")).ns / NSEC_PER_SEC;

        if (since <= 3600)
            continue;
        if (streq(type, "Approved") ? issued : streq(type, "Denied") || streq(type, "Failed"))
            return true;
    }
    return age > 365 * 24 * 3600LL;
}
