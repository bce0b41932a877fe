#include "base/cleanup.h"
#include "base/test.h"
#include "proxy/config.h"
#include <errno.h>

static int parse(struct proxy_settings *s, struct error **err, const char *const *words)
{
    char *argv[16] = {(char *)(uintptr_t) "kube-proxy"};
    int argc = 1;

    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    proxy_settings_init(s);
    return proxy_settings_parse(s, argc, argv, err);
}

TEST(the_walkthroughs_command_line)
{
    static const char *const words[] = {"--bind-address=10.64.3.7",
                                        "--hostname-override=kube-node1",
                                        "--cluster-cidr=172.30.0.0/16",
                                        "--kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig",
                                        "--logtostderr=true",
                                        "--v=2",
                                        NULL};
    cleanup_error struct error *err = NULL;
    struct proxy_settings s;

    assert_int_equal(parse(&s, &err, words), 0);
    assert_int_equal(proxy_settings_finish(&s, &err), 0);
    assert_string_equal(s.config.node_name, "kube-node1");
    assert_string_equal(s.config.cluster_cidr, "172.30.0.0/16");
    assert_string_equal(s.kubeconfig, "/etc/kubernetes/kube-proxy.kubeconfig");
    assert_int_equal(s.config.masquerade_bit, 14);
    assert_string_equal(s.config.mode, "iptables");
    proxy_settings_fini(&s);
}

TEST(an_unknown_flag_names_the_nearest)
{
    static const char *const words[] = {"--cluster-cdir=1", NULL};
    cleanup_error struct error *err = NULL;
    struct proxy_settings s;

    assert_true(parse(&s, &err, words) < 0);
    assert_non_null(strstr(error_message(err), "cluster-cidr"));
    proxy_settings_fini(&s);
}

TEST(a_configuration_document)
{
    cleanup_error struct error *err = NULL;
    struct proxy_settings s;

    proxy_settings_init(&s);
    assert_int_equal(
        proxy_settings_read(
            &s,
            STR("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
                "mode: nftables\nclusterCIDR: 10.0.0.0/8\nnodePortAddresses: [192.0.2.0/24, "
                "'fd00::/8']\n"
                "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: docker0}\n"
                "clientConnection: {kubeconfig: /k}\nnftables: {masqueradeBit: 5, syncPeriod: 1m, "
                "masqueradeAll: true}\n"),
            "test", &err),
        0);
    assert_int_equal(proxy_settings_finish(&s, &err), 0);
    assert_int_equal(s.config.detect_local, PROXY_LOCAL_BRIDGE);
    assert_string_equal(s.config.local_interface, "docker0");
    assert_string_equal(s.config.node_port_addresses, "192.0.2.0/24,fd00::/8");
    assert_int_equal(s.config.masquerade_bit, 5);
    assert_true(s.config.masquerade_all);
    assert_int_equal(s.config.sync_period_ms, 60000);
    assert_non_null(strstr(s.config.config_text, "\"kubeproxyconfig\""));
    proxy_settings_fini(&s);
}

TEST(what_is_wrong_is_said)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"kind: Pod\n", "not a KubeProxyConfiguration"},
        {"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: [1]\n",
         "mode must be a string"},
        {"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\niptables: "
         "{masqueradeBit: 40}\n",
         "masqueradeBit must be within 0 and 31"},
        {"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\niptables: "
         "{syncPeriod: soon}\n",
         "syncPeriod must be a duration"},
        {"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: "
         "KubeProxyConfiguration\nnodePortAddresses: 1\n",
         "nodePortAddresses must be a list"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_error struct error *err = NULL;
        struct proxy_settings s;
        proxy_settings_init(&s);
        assert_int_equal(proxy_settings_read(&s, str_of(rows[i].text), "test", &err), -EINVAL);
        assert_non_null(strstr(error_message(err), rows[i].says));
        proxy_settings_fini(&s);
    }
}

TEST_MAIN()
