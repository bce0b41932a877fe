#include "server/admission/kinds.h"
#include "base/buf.h"
#include "server/admission/allocator.h"
#include "server/admission/names.h"
#include "server/controllers/meta.h"

void namespace_default(json_t *o, const json_t *old)
{
    json_t *spec = json_object_need(o, "spec");

    if (!old) {
        json_object_set_new(spec, "finalizers", json_pack("[s]", "kubernetes"));
        json_object_set_new(o, "status", json_pack("{s:s}", "phase", "Active"));
    } else if (json_at(old, "spec", "finalizers", NULL)) {
        json_object_set(spec, "finalizers", json_at(old, "spec", "finalizers", NULL));
    } else {
        json_object_del(spec, "finalizers");
    }
    if (*meta_name(o))
        meta_set_label(o, "kubernetes.io/metadata.name", meta_name(o));
}

/* A new Node is not ready until it says so. */
void node_default(json_t *o, const json_t *old)
{
    json_t *spec = json_object_need(o, "spec"), *taints;
    const json_t *t;

    if (old)
        return;
    taints = json_array_need(spec, "taints");
    json_each(taints, i, t) if (streq(json_text_or(t, "key", ""), "node.kubernetes.io/not-ready") &&
                                streq(json_text_or(t, "effect", ""), "NoSchedule")) return;
    json_array_append_new(taints, json_pack("{s:s,s:s}", "key", "node.kubernetes.io/not-ready",
                                            "effect", "NoSchedule"));
}

void node_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    static const char *const effects[] = {"NoExecute", "NoSchedule", "PreferNoSchedule", NULL};
    const char *cidr = json_text_at(o, "spec", "podCIDR", NULL);
    const char *before = json_text_at(old, "spec", "podCIDR", NULL);
    const json_t *t;
    char f[FIELD_MAX];
    uint32_t base;
    unsigned prefix;

    if (cidr && *cidr && !strchr(cidr, ':') && cidr4_parse(cidr, &base, &prefix) < 0)
        invalid_text(v, "spec.podCIDRs[0]", cidr,
                     "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    if (before && *before && !streq(before, strna(cidr)))
        invalid_forbidden(v, "spec.podCIDRs",
                          "node updates may not change podCIDR except from \"\" to valid");
    json_each(json_at(o, "spec", "taints", NULL), i, t)
    {
        const char *effect = json_text_or(t, "effect", ""),
                   *bad = name_qualified(json_text_or(t, "key", ""));
        bool known = false;

        for (size_t k = 0; effects[k]; k++)
            known = known || streq(effect, effects[k]);
        if (bad)
            invalid_text(v, field_at(f, "spec.taints[%zu].key", i), json_text_or(t, "key", ""),
                         bad);
        if (!known)
            invalid_unsupported(v, field_at(f, "spec.taints[%zu].effect", i), effect, effects);
    }
}

void secret_default(json_t *o, const json_t *old)
{
    json_t *text = json_object_get(o, "stringData"), *v;
    const char *key;

    json_default(o, "type", json_string(json_text_or(old, "type", "Opaque")));
    if (!*json_text_or(o, "type", ""))
        json_set_text(o, "type", "Opaque");
    json_object_foreach(text, key, v)
    {
        struct buf b;

        buf_init(&b, 8 << 20);
        (void)buf_add_base64(&b, strna(json_string_value(v)), json_string_length(v));
        json_object_set_new(json_object_need(o, "data"), key, json_stringn(b.p ? b.p : "", b.n));
        buf_fini(&b);
    }
    json_object_del(o, "stringData");
}

static void data_validate(struct invalid *v, const char *field, const json_t *data, bool base64)
{
    char f[FIELD_MAX];
    const char *key;
    json_t *value;
    size_t total = 0;

    json_object_foreach((json_t *)data, key, value)
    {
        const char *bad = name_config_key(key);

        if (bad)
            invalid_text(v, field_at(f, "%s[%s]", field, key), key, bad);
        total += base64 ? json_string_length(value) / 4 * 3 : json_string_length(value);
    }
    if (total > 1 << 20)
        invalid_too_long(v, field, 1 << 20);
}

static void immutable_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    if (!json_bool_or(old, "immutable", false))
        return;
    if (!json_bool_or(o, "immutable", false))
        invalid_forbidden(v, "immutable", "field is immutable when `immutable` is set");
    if (!json_equal(json_object_get(o, "data"), json_object_get(old, "data")))
        invalid_forbidden(v, "data", "field is immutable when `immutable` is set");
}

void secret_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    static const struct {
        const char *type, *keys[2];
    } rows[] = {
        {"kubernetes.io/dockercfg", {".dockercfg", NULL}},
        {"kubernetes.io/dockerconfigjson", {".dockerconfigjson", NULL}},
        {"kubernetes.io/ssh-auth", {"ssh-privatekey", NULL}},
        {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
    };
    const char *type = json_text_or(o, "type", "");
    const json_t *data = json_object_get(o, "data");
    char f[FIELD_MAX];

    data_validate(v, "data", data, true);
    if (old && !streq(type, json_text_or(old, "type", "")))
        invalid_value(v, "type", json_object_get(o, "type"), "field is immutable");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t k = 0; k < 2 && streq(type, rows[i].type); k++)
            if (rows[i].keys[k] && !json_object_get(data, rows[i].keys[k]))
                invalid_required(v, field_at(f, "data[%s]", rows[i].keys[k]), "");
    immutable_validate(v, o, old);
}

void configmap_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    const json_t *binary = json_object_get(o, "binaryData");
    char f[FIELD_MAX];
    const char *key;
    json_t *value;

    data_validate(v, "data", json_object_get(o, "data"), false);
    data_validate(v, "binaryData", binary, true);
    json_object_foreach((json_t *)binary, key,
                        value) if (json_object_get(json_object_get(o, "data"), key))
        invalid_text(v, field_at(f, "data[%s]", key), key,
                     "duplicate of key present in binaryData");
    immutable_validate(v, o, old);
}

void slice_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
    const char *type = json_text_or(o, "addressType", "");
    char f[FIELD_MAX];
    const json_t *e;

    if (!*type)
        invalid_required(v, "addressType", "");
    else if (!streq(type, types[0]) && !streq(type, types[1]) && !streq(type, types[2]))
        invalid_unsupported(v, "addressType", type, types);
    if (old && !streq(type, json_text_or(old, "addressType", "")))
        invalid_value(v, "addressType", json_object_get(o, "addressType"), "field is immutable");
    if (json_array_size(json_object_get(o, "endpoints")) > 1000)
        invalid_too_long(v, "endpoints", 1000);
    json_each(json_object_get(o, "endpoints"), i,
              e) if (json_array_size(json_object_get(e, "addresses")) == 0)
        invalid_required(v, field_at(f, "endpoints[%zu].addresses", i),
                         "must contain at least 1 address");
}

void lease_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    const json_t *seconds = json_at(o, "spec", "leaseDurationSeconds", NULL);

    (void)old;
    if (json_is_integer(seconds) && json_integer_value(seconds) <= 0)
        invalid_value(v, "spec.leaseDurationSeconds", seconds, "must be greater than 0");
}

void csr_prepare(const struct admission_request *r)
{
    json_t *spec = json_object_need(r->object, "spec"), *groups = json_array();

    for (size_t i = 0; i < r->n_groups; i++)
        json_array_append_new(groups, json_string(r->groups[i]));
    json_set_text(spec, "username", strna(r->user));
    json_object_set_new(spec, "groups", groups);
    json_object_set_new(r->object, "status", json_object());
}

void csr_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    const json_t *spec = json_object_get(o, "spec"),
                 *seconds = json_object_get(spec, "expirationSeconds");
    const char *signer = json_text_or(spec, "signerName", ""),
               *request = json_text_or(spec, "request", "");
    struct buf b;

    if (old) {
        if (!json_equal(spec, json_object_get(old, "spec")))
            invalid_forbidden(v, "spec", "field is immutable");
        return;
    }
    buf_init(&b, 1 << 20);
    if (!*request)
        invalid_required(v, "spec.request", "");
    else if (buf_add_base64_decoded(&b, str_of(request)) < 0 || !b.p ||
             (!strstr(b.p, "-----BEGIN CERTIFICATE REQUEST-----") &&
              !strstr(b.p, "-----BEGIN NEW CERTIFICATE REQUEST-----")))
        invalid_text(v, "spec.request", request, "PEM block type must be CERTIFICATE REQUEST");
    buf_fini(&b);
    if (!*signer)
        invalid_required(v, "spec.signerName", "");
    else if (!strchr(signer, '/'))
        invalid_text(
            v, "spec.signerName", signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    else if (streq(signer, "kubernetes.io/legacy-unknown"))
        invalid_text(v, "spec.signerName", signer,
                     "the legacy signerName is not allowed via this API version");
    if (json_array_size(json_object_get(spec, "usages")) == 0)
        invalid_required(v, "spec.usages", "usages must be set");
    if (json_is_integer(seconds) && json_integer_value(seconds) < 600)
        invalid_value(v, "spec.expirationSeconds", seconds,
                      "may not specify a duration less than 600 seconds (10 minutes)");
}
