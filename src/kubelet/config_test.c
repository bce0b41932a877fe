#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/test.h"
#include "base/time.h"
#include "kubelet/kubelet.h"

#define HEAD "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n"

TEST(walkthrough_file)
{
    static const char text[] =
        "{\"kind\": \"KubeletConfiguration\", \"apiVersion\": \"kubelet.config.k8s.io/v1beta1\","
        "\"authorization\": {\"mode\": \"AlwaysAllow\", \"webhook\": {\"cacheAuthorizedTTL\": "
        "\"5m0s\","
        "\"cacheUnauthorizedTTL\": \"30s\"}}, \"address\": \"10.64.3.1\", \"readOnlyPort\": 10255,"
        "\"cgroupDriver\": \"cgroupfs\", \"hairpinMode\": \"promiscuous-bridge\", "
        "\"serializeImagePulls\": false,"
        "\"featureGates\": {\"RotateKubeletClientCertificate\": true, "
        "\"RotateKubeletServerCertificate\": true},"
        "\"clusterDomain\": \"cluster.local.\", \"clusterDNS\": [\"10.254.0.2\"]}";
    struct kubelet_config c;
    struct error *err = NULL;

    kubelet_config_init(&c);
    if (kubelet_config_parse(&c, STR(text), "kubelet.config.json", &err) < 0)
        fail_msg("%s", error_message(err));
    assert_string_equal(c.authorization_mode, "AlwaysAllow");
    assert_int_equal(c.read_only_port, 10255);
    assert_false(c.serialize_image_pulls);
    assert_int_equal(c.cluster_dns.n, 1);
    assert_string_equal(c.cluster_domain, "cluster.local.");
    assert_true(c.server_tls_bootstrap); /* by its feature gate */
    kubelet_config_fini(&c);
}

TEST(walkthrough_flags)
{
    char *argv[] = {"kubelet",
                    "--hostname-override=kube-node1",
                    "--pod-infra-container-image=registry.access.redhat.com/x:latest",
                    "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig",
                    "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
                    "--cert-dir=/etc/kubernetes/ssl",
                    "--allow-privileged=true",
                    "--logtostderr=true",
                    "--v=2"};
    struct kubelet_config c;
    struct error *err = NULL;

    kubelet_config_init(&c);
    if (kubelet_config_load(&c, 9, argv, NULL, 0, &err) != 0)
        fail_msg("%s", error_message(err));
    assert_string_equal(c.hostname_override, "kube-node1");
    assert_string_equal(c.cert_dir, "/etc/kubernetes/ssl");
    kubelet_config_fini(&c);
}

TEST(wrong_files_are_told)
{
    static const struct {
        const char *text, *want;
    } t[] = {
        {HEAD "clusterDns: [1.1.1.1]\n", "did you mean \"clusterDNS\""},
        {HEAD "authentication: {anonymous: {enable: true}}\n", "authentication.anonymous.enabled"},
        {HEAD "maxPods: many\n", "whole number"},
        {HEAD "readOnlyPort: 70000\n", "between 0 and 65535"},
        {HEAD "syncFrequency: 10\n", "duration"},
        {HEAD "authorization: {mode: RBAC}\n", "\"RBAC\" is not served"},
        {HEAD "cgroupDriver: systemd\n", "\"systemd\" is not served"},
        {"kind: Pod\n", "not a KubeletConfiguration"},
    };

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct kubelet_config c;
        struct error *err = NULL;

        kubelet_config_init(&c);
        assert_true(kubelet_config_parse(&c, str_of(t[i].text), "f", &err) < 0);
        if (!strstr(error_message(err), t[i].want))
            fail_msg("%s", error_message(err));
        error_clear(&err);
        kubelet_config_fini(&c);
    }
}

TEST(configz_parses_again)
{
    struct kubelet_config c, d;
    struct buf b, text;

    kubelet_config_init(&c);
    c.max_pods = 42;
    buf_init(&b, 1 << 20);
    kubelet_config_json(&c, &b);
    buf_init(&text, 1 << 20);
    (void)buf_printf(
        &text,
        "{\"kind\":\"KubeletConfiguration\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",%s",
        b.p + 1);
    kubelet_config_init(&d);
    assert_int_equal(kubelet_config_parse(&d, buf_str(&text), "configz", NULL), 0);
    assert_int_equal(d.max_pods, 42);
    buf_fini(&b);
    buf_fini(&text);
    kubelet_config_fini(&c);
    kubelet_config_fini(&d);
}

TEST(flags_over_the_file)
{
    char path[] = "/tmp/skiff-config-test.XXXXXX";
    static const char text[] =
        HEAD "clusterDNS: [10.0.0.2]\naddress: 192.0.2.7\nreadOnlyPort: 10255\nmaxPods: 20\n"
             "systemReserved: {cpu: 100m, memory: 1Gi}\nkubeReserved: {cpu: 200m}\n"
             "registerWithTaints: [{key: a, value: b, effect: NoSchedule}]\n";
    char *argv[] = {"kubelet",
                    NULL,
                    "--cluster-dns=10.9.9.9",
                    "--address=192.0.2.8",
                    "--system-reserved=cpu=50m",
                    "--kube-reserved=cpu=70m",
                    "--register-schedulable=false"};
    struct kubelet_config c;
    struct error *err = NULL;
    int fd = mkstemp(path);
    cleanup_free char *config = xasprintf("--config=%s", path);

    argv[1] = config;
    assert_true(fd >= 0 && write(fd, text, strlen(text)) > 0);
    (void)close(fd);
    kubelet_config_init(&c);
    if (kubelet_config_load(&c, 7, argv, NULL, 0, &err) != 0)
        fail_msg("%s", error_message(err));
    (void)unlink(path);
    assert_string_equal(c.address, "192.0.2.8");
    assert_int_equal(c.read_only_port, 10255);
    assert_int_equal(c.cluster_dns.n, 1);
    assert_string_equal(c.cluster_dns.v[0], "10.9.9.9");
    assert_string_equal(c.reserved_cpu, "120m");
    assert_string_equal(c.reserved_memory, "1Gi");
    assert_string_equal(c.taints.v[0], "a=b:NoSchedule");
    assert_true(c.unschedulable);
    kubelet_config_fini(&c);
}

TEST(wrong_flags_are_told)
{
    static const struct {
        const char *flag, *want;
    } t[] = {
        {"--hostname-overide=x", "hostname-override"},
        {"--config=/nonexistent/kubelet.yaml", "/nonexistent/kubelet.yaml"},
        {"--kube-reserved=cpu", "is not like"},
        {"--authorization-mode=RBAC", "is not served"},
        {"--image-gc-low-threshold=90", "must be below"},
    };

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        char *argv[] = {"kubelet", (char *)(uintptr_t)t[i].flag};
        struct kubelet_config c;
        struct error *err = NULL;

        kubelet_config_init(&c);
        assert_true(kubelet_config_load(&c, 2, argv, NULL, 0, &err) < 0);
        if (!strstr(error_message(err), t[i].want))
            fail_msg("%s", error_message(err));
        error_clear(&err);
        kubelet_config_fini(&c);
    }
}

TEST_MAIN()
