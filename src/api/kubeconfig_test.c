#include "api/kubeconfig.h"
#include "base/cleanup.h"
#include "base/test.h"

static const char sample[] = "apiVersion: v1\n"
                             "kind: Config\n"
                             "clusters:\n"
                             "- name: c\n"
                             "  cluster:\n"
                             "    server: https://10.0.0.1:6443/\n"
                             "    certificate-authority: pki/ca.pem\n"
                             "    certificate-authority-data: Q0E=\n"
                             "    tls-server-name: kubernetes\n"
                             "contexts:\n"
                             "- name: x\n"
                             "  context: {cluster: c, user: u, namespace: ns}\n"
                             "current-context: x\n"
                             "users:\n"
                             "- name: u\n"
                             "  user:\n"
                             "    client-certificate: pki/u.pem\n"
                             "    client-key: /abs/u.key\n";

TEST(parse_resolves)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    assert_int_equal(kubeconfig_parse(str_of(sample), "/etc/k", NULL, &k, NULL), 0);
    assert_string_equal(k.server, "https://10.0.0.1:6443");
    assert_string_equal(k.ca_pem, "CA");
    assert_null(k.ca_file);
    assert_string_equal(k.cert_file, "/etc/k/pki/u.pem");
    assert_string_equal(k.key_file, "/abs/u.key");
    assert_string_equal(k.tls_server_name, "kubernetes");
    assert_string_equal(k.namespace_, "ns");
}

TEST(write_and_read_back)
{
    cleanup_kubeconfig struct kubeconfig k = {0}, q = {0};
    assert_int_equal(kubeconfig_parse(str_of(sample), "/etc/k", NULL, &k, NULL), 0);
    cleanup_buf struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(kubeconfig_format(&k, &b), 0);
    assert_int_equal(kubeconfig_parse(buf_str(&b), "/else", NULL, &q, NULL), 0);
    assert_string_equal(q.ca_pem, "CA");
    assert_string_equal(q.cert_file, k.cert_file);
    assert_string_equal(q.context, "x");
}

TEST(refusals)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"kind: Pod", "kind is \"Pod\""},
        {"kind: Config", "no current-context"},
        {"current-context: a", "context \"a\" does not exist"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]", "cluster \"c\""},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: "
         "{command: x}}}]",
         "plug-in"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: "
         "{client-key: x}}]",
         "not both"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'ftp://x'}}]",
         "not an http"},
        {"[", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_kubeconfig struct kubeconfig k = {0};
        cleanup_error struct error *err = NULL;
        assert_true(kubeconfig_parse(str_of(rows[i].text), "/", NULL, &k, &err) < 0);
        if (!strstr(error_message(err), rows[i].message))
            print_message("%zu: %s\n", i, error_message(err));
        assert_non_null(strstr(error_message(err), rows[i].message));
    }
}

TEST_MAIN()
