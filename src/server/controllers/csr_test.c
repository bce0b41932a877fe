/* From a kubelet's request to its certificate. */
#include "base/test.h"
#include "net/x509.h"
#include "server/auth/csr_signer.h"
#include "server/controllers/controller.h"
#include "server/controllers/fake_cluster.h"

#define CSRS "certificatesigningrequests.certificates.k8s.io"

struct bench {
    struct fake_cluster fc;
    struct loop *loop;
    struct controller_set *set;
    struct buf ca_key, ca;
    const char *allowed;
};

static bool allow(void *arg, const json_t *spec, const char *sub)
{
    struct bench *b = arg;

    assert_non_null(json_text_at(spec, "username", NULL));
    return streq(sub, b->allowed);
}

static void bench_init(struct bench *b, const char *allowed)
{
    struct controllers_config cfg = {.allows = allow, .arg = b};

    *b = (struct bench){.allowed = allowed};
    fake_init(&b->fc);
    b->loop = loop_new();
    buf_init(&b->ca_key, 64 << 10);
    buf_init(&b->ca, 64 << 10);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &b->ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&b->ca_key), "ca", 86400 * 400, &b->ca, NULL), 0);
    cfg.sign_cert_pem = b->ca.p;
    cfg.sign_key_pem = b->ca_key.p;
    b->set = controller_set_new(b->loop, &b->fc.cluster, &cfg);
}

static void bench_fini(struct bench *b)
{
    controller_set_free(b->set);
    loop_free(b->loop);
    buf_fini(&b->ca_key);
    buf_fini(&b->ca);
    fake_fini(&b->fc);
}

static void request(struct bench *b, const char *cn, const char *signer, const char *user,
                    const char *usage, const char *const *ips, size_t n_ips)
{
    static const char *const orgs[] = {"system:nodes"};
    struct x509_names names = {.cn = cn, .orgs = orgs, .n_orgs = 1, .ips = ips, .n_ips = n_ips};
    struct buf key, pem, text;

    buf_init(&key, 64 << 10);
    buf_init(&pem, 64 << 10);
    buf_init(&text, 64 << 10);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &key, NULL), 0);
    assert_int_equal(x509_csr_create(buf_str(&key), &names, &pem, NULL), 0);
    (void)buf_add_base64(&text, pem.p, pem.n);
    fake_put_json(&b->fc, CSRS,
                  json_pack("{s:{s:s},s:{s:s,s:s,s:s,s:[s,s]}}", "metadata", "name", "csr-1",
                            "spec", "request", text.p, "signerName", signer, "username", user,
                            "usages", "digital signature", usage));
    buf_fini(&key);
    buf_fini(&pem);
    buf_fini(&text);
}

static json_t *run(struct bench *b)
{
    for (int i = 0; i < 4; i++) {
        controller_set_begin(b->set);
        loop_run_once(b->loop, 0);
    }
    return cluster_get(&b->fc.cluster, CSRS, "", "csr-1");
}

TEST(bootstrap_request_is_approved_and_signed)
{
    struct bench b;
    const json_t *c;
    json_t *o;

    bench_init(&b, "nodeclient");
    request(&b, "system:node:n1", CSR_SIGNER_KUBELET_CLIENT, "system:bootstrap:abcdef",
            "client auth", NULL, 0);
    o = run(&b);
    c = condition_get(json_at(o, "status", "conditions", NULL), "Approved");
    assert_string_equal(json_text_at(c, "reason", NULL), "AutoApproved");
    assert_string_equal(json_text_at(c, "message", NULL),
                        "Auto approving kubelet client certificate after SubjectAccessReview.");
    assert_non_null(json_text_at(o, "status", "certificate", NULL));
    json_decref(o);
    bench_fini(&b);
}

TEST(without_permission_it_waits)
{
    struct bench b;
    json_t *o;

    bench_init(&b, "selfnodeclient");
    request(&b, "system:node:n1", CSR_SIGNER_KUBELET_CLIENT, "system:bootstrap:abcdef",
            "client auth", NULL, 0);
    o = run(&b);
    assert_int_equal(json_array_size(json_at(o, "status", "conditions", NULL)), 0);
    json_decref(o);
    bench_fini(&b);
}

TEST(serving_request_waits_for_the_nodes_address)
{
    static const char *const ips[] = {"10.0.0.7"};
    struct bench b;
    json_t *o;

    bench_init(&b, "selfnodeserver");
    request(&b, "system:node:n1", CSR_SIGNER_KUBELET_SERVING, "system:node:n1", "server auth", ips,
            1);
    o = run(&b);
    assert_null(json_text_at(o, "status", "certificate", NULL));
    json_decref(o);
    fake_put(&b.fc, "nodes",
             "{'metadata':{'name':'n1'},'status':{'addresses':[{'type':'InternalIP','address':'10."
             "0.0.7'}]}}");
    o = run(&b);
    assert_non_null(json_text_at(o, "status", "certificate", NULL));
    json_decref(o);
    bench_fini(&b);
}

TEST(approved_but_wrong_fails)
{
    struct bench b;
    json_t *o;

    bench_init(&b, "");
    request(&b, "somebody", CSR_SIGNER_KUBELET_CLIENT, "x", "client auth", NULL, 0);
    o = run(&b);
    json_object_set_new(o, "status",
                        fake_json("{'conditions':[{'type':'Approved','status':'True'}]}"));
    json_decref(o);
    o = run(&b);
    assert_string_equal(
        json_text_at(condition_get(json_at(o, "status", "conditions", NULL), "Failed"), "reason",
                     NULL),
        "SignerValidationFailure");
    json_decref(o);
    bench_fini(&b);
}

TEST_MAIN()
