#include "server/auth/tokens.h"
#include "base/test.h"
#include "net/x509.h"
#include <errno.h>
#include "server/auth/csr_signer.h"
#include "server/controllers/fake_cluster.h"
#include "server/controllers/meta.h"

struct bench {
    struct fake_cluster fc;
    struct tokens *t;
};

static void bench_init(struct bench *b)
{
    struct buf key;

    buf_init(&key, 64 << 10);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &key, NULL), 0);
    fake_init(&b->fc);
    fake_put(&b->fc, "serviceaccounts",
             "{'metadata':{'name':'sa','namespace':'ns','uid':'sa-uid'}}");
    fake_put(&b->fc, "pods",
             "{'metadata':{'name':'p','namespace':'ns','uid':'p-uid'},'spec':{'serviceAccountName':"
             "'sa','nodeName':'n'}}");
    assert_int_equal(
        tokens_new(&(struct tokens_config){&b->fc.cluster, "https://issuer", buf_str(&key)}, &b->t,
                   NULL),
        0);
    buf_fini(&key);
}

static void bench_fini(struct bench *b)
{
    tokens_free(b->t);
    fake_fini(&b->fc);
}

static json_t *issue(struct bench *b, const char *spec)
{
    json_t *request = fake_json(spec), *ret = NULL;

    assert_int_equal(tokens_request(b->t, "ns", "sa", request, &ret, NULL), 0);
    json_decref(request);
    return ret;
}

TEST(issue_and_verify)
{
    struct bench b;
    struct token_user u;
    json_t *r;
    struct str token;

    bench_init(&b);
    r = issue(&b, "{'spec':{'expirationSeconds':3607,'boundObjectRef':{'kind':'Pod','apiVersion':'"
                  "v1','name':'p','uid':'p-uid'}}}");
    token = str_of(json_text_at(r, "status", "token", NULL));
    assert_int_equal(tokens_verify(b.t, token, NULL, 0, &u, NULL), 0);
    assert_string_equal(u.name, "system:serviceaccount:ns:sa");
    assert_string_equal(u.groups[1], "system:serviceaccounts:ns");
    assert_string_equal(u.pod_name, "p");
    assert_string_equal(u.node_name, "n");
    token_user_fini(&u);
    fake_remove(&b.fc, "pods", "ns", "p");
    assert_int_equal(tokens_verify(b.t, token, NULL, 0, &u, NULL), -EACCES);
    json_decref(r);
    bench_fini(&b);
}

TEST(audience_and_garbage)
{
    static const char *const vault[] = {"vault"};
    struct bench b;
    struct token_user u;
    json_t *r;
    struct str token;

    bench_init(&b);
    r = issue(&b, "{'spec':{'audiences':['vault']}}");
    token = str_of(json_text_at(r, "status", "token", NULL));
    assert_int_equal(tokens_verify(b.t, token, NULL, 0, &u, NULL), -EACCES);
    assert_int_equal(tokens_verify(b.t, token, vault, 1, &u, NULL), 0);
    token_user_fini(&u);
    assert_true(tokens_verify(b.t, STR("abcdef.0123456789abcdef"), NULL, 0, &u, NULL) < 0);
    assert_true(tokens_verify(b.t, (struct str){token.p, token.n - 4}, vault, 1, &u, NULL) < 0);
    json_decref(r);
    bench_fini(&b);
}

TEST(nodes_ask_for_their_own_pods)
{
    struct bench b;
    json_t *own = fake_json("{'spec':{'boundObjectRef':{'kind':'Pod','name':'p','uid':'p-uid'}}}"),
           *loose = fake_json("{'spec':{}}");

    bench_init(&b);
    assert_int_equal(tokens_node_may(b.t, "n", "ns", "sa", own, NULL), 0);
    assert_int_equal(tokens_node_may(b.t, "m", "ns", "sa", own, NULL), -EACCES);
    assert_int_equal(tokens_node_may(b.t, "n", "ns", "other", own, NULL), -EACCES);
    assert_int_equal(tokens_node_may(b.t, "n", "ns", "sa", loose, NULL), -EACCES);
    json_decref(own);
    json_decref(loose);
    bench_fini(&b);
}

TEST(refusals)
{
    struct bench b;
    json_t *request = fake_json("{'spec':{'expirationSeconds':10}}"), *ret = NULL;

    bench_init(&b);
    assert_int_equal(tokens_request(b.t, "ns", "nobody", NULL, &ret, NULL), -ENOENT);
    assert_int_equal(tokens_request(b.t, "ns", "sa", request, &ret, NULL), -EINVAL);
    json_decref(request);
    bench_fini(&b);
}

/* A CSR object for these names. */
static json_t *csr_object(const struct x509_names *names, const char *signer, const char *user,
                          const char *usage)
{
    struct buf key, pem, text;
    json_t *o;

    buf_init(&key, 64 << 10);
    buf_init(&pem, 64 << 10);
    buf_init(&text, 64 << 10);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &key, NULL), 0);
    assert_int_equal(x509_csr_create(buf_str(&key), names, &pem, NULL), 0);
    (void)buf_add_base64(&text, pem.p, pem.n);
    o = json_pack("{s:{s:s,s:s,s:s,s:[s,s]}}", "spec", "request", text.p, "signerName", signer,
                  "username", user, "usages", "digital signature", usage);
    buf_fini(&key);
    buf_fini(&pem);
    buf_fini(&text);
    return o;
}

static const char *const nodes_group[] = {"system:nodes"}, *const ip[] = {"10.0.0.7"},
                         *const dns[] = {"n1"};

TEST(csr_client)
{
    struct x509_names names = {.cn = "system:node:n1", .orgs = nodes_group, .n_orgs = 1};
    json_t *first =
        csr_object(&names, CSR_SIGNER_KUBELET_CLIENT, "system:bootstrap:abc", "client auth");
    json_t *renew = csr_object(&names, CSR_SIGNER_KUBELET_CLIENT, "system:node:n1", "client auth");
    json_t *wrong = csr_object(&names, CSR_SIGNER_KUBELET_CLIENT, "x", "server auth");

    assert_int_equal(csr_recognize(first, NULL), CSR_NODE_CLIENT);
    assert_int_equal(csr_recognize(renew, NULL), CSR_SELF_CLIENT);
    assert_int_equal(csr_recognize(wrong, NULL), CSR_NOT_OURS);
    assert_int_equal(csr_check_signer(first, NULL), 0);
    assert_int_equal(csr_check_signer(wrong, NULL), -EINVAL);
    json_decref(first);
    json_decref(renew);
    json_decref(wrong);
}

TEST(csr_serving_names_must_be_the_nodes)
{
    struct x509_names names = {.cn = "system:node:n1",
                               .orgs = nodes_group,
                               .n_orgs = 1,
                               .ips = ip,
                               .n_ips = 1,
                               .dns = dns,
                               .n_dns = 1};
    json_t *csr = csr_object(&names, CSR_SIGNER_KUBELET_SERVING, "system:node:n1", "server auth");
    json_t *node = fake_json("{'metadata':{'name':'n1'},'status':{'addresses':[{'type':'InternalIP'"
                             ",'address':'10.0.0.7'}]}}");
    json_t *other = fake_json("{'metadata':{'name':'n1'},'status':{'addresses':[{'type':'"
                              "InternalIP','address':'10.0.0.8'}]}}");

    assert_int_equal(csr_recognize(csr, node), CSR_SELF_SERVER);
    assert_int_equal(csr_recognize(csr, other), CSR_NOT_OURS);
    assert_int_equal(csr_recognize(csr, NULL), CSR_NOT_OURS);
    json_set_text(json_object_get(csr, "spec"), "username", "system:node:n2");
    assert_int_equal(csr_recognize(csr, node), CSR_NOT_OURS);
    json_decref(csr);
    json_decref(node);
    json_decref(other);
}

TEST(csr_signed)
{
    struct x509_names names = {.cn = "system:node:n1", .orgs = nodes_group, .n_orgs = 1};
    json_t *csr = csr_object(&names, CSR_SIGNER_KUBELET_CLIENT, "x", "client auth");
    struct buf key, ca, out;
    struct x509_cert cert = {0};

    buf_init(&key, 64 << 10);
    buf_init(&ca, 64 << 10);
    buf_init(&out, 64 << 10);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&key), "ca", 86400 * 400, &ca, NULL), 0);
    assert_int_equal(csr_sign(csr, buf_str(&ca), buf_str(&key), 86400, &out, NULL), 0);
    assert_int_equal(x509_cert_parse(buf_str(&out), &cert, NULL), 0);
    assert_string_equal(cert.subject.cn, "system:node:n1");
    assert_int_equal(cert.usages, X509_CLIENT_AUTH);
    x509_cert_fini(&cert);
    buf_fini(&key);
    buf_fini(&ca);
    buf_fini(&out);
    json_decref(csr);
}

TEST_MAIN()
