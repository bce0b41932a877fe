/*
 * The kubelet: pods on this node, from the API server's watch and from a manifest directory, run
 * through CRI. Works with no API server at all. Running containers outlive it; a start finds them
 * again by their labels.
 *
 * Truth about what runs is the engine's; truth about what should run is the API server's and the
 * manifests'. What is in memory here can be thrown away at any time.
 */
#pragma once
#include "base/error.h"
#include "base/flags.h"
#include "loop/loop.h"

struct kubelet;
struct kube_client;
struct kubelet_config { /* strings are owned; kubelet_config_init gives upstream's defaults */
    /* flags only */
    char *config_file, *kubeconfig, *bootstrap_kubeconfig, *cert_dir, *root_dir, *hostname_override,
        *node_ip;
    char *log_level;
    struct flag_list node_labels;
    /* flags and KubeletConfiguration */
    char *runtime_endpoint;  /* "unix:///run/skiff/engine.sock" */
    char *static_pod_path;   /* NULL: none */
    char *pod_log_dir;       /* "/var/log/pods" */
    char *container_log_dir; /* "/var/log/containers" */
    char *address, *healthz_address;
    int64_t port, read_only_port, healthz_port;
    char *tls_cert_file, *tls_key_file, *client_ca_file;
    bool anonymous, webhook_authn, server_tls_bootstrap, rotate_certificates;
    char *authorization_mode; /* "Webhook", "AlwaysAllow" */
    int64_t authn_ttl_ns, authz_allow_ttl_ns, authz_deny_ttl_ns;
    char *cluster_domain;
    struct flag_list cluster_dns;
    char *resolv_conf;
    char *cgroup_root, *cgroup_driver;
    bool cgroups_per_qos, cpu_cfs_quota, register_node, serialize_image_pulls, fail_swap_on;
    int64_t cpu_cfs_period_ns;
    int64_t max_pods, pods_per_core, pod_pids_limit, max_parallel_image_pulls;
    int64_t sync_frequency_ns, file_check_frequency_ns, runtime_request_timeout_ns,
        crash_loop_max_ns;
    char *log_max_size;    /* quantity, "10Mi" */
    int64_t log_max_files; /* 5; the log itself counts */
    int64_t image_gc_high_percent, image_gc_low_percent, image_minimum_gc_age_ns;
    char *reserved_cpu, *reserved_memory, *reserved_storage; /* system and kube reserved, summed */
    char *provider_id;
    struct flag_list taints; /* "key=value:Effect" */
    bool unschedulable;
    /* embedding; not read from anywhere */
    /* The API client is there and usable (after TLS bootstrap): proxy and overlay may share it
     * until kubelet_stop. Called once, never when there is no kubeconfig. */
    void (*on_client)(struct kube_client *c, const char *node_name, void *arg);
    void (*on_ready)(void *arg); /* the node became Ready for the first time */
    void *arg;
};
/* configuration */
void kubelet_config_init(struct kubelet_config *c);
void kubelet_config_fini(struct kubelet_config *c);
/* Rows for every flag of upstream's kubelet, bound to c. Owned array, *ret_n rows. */
struct flag *kubelet_flags(struct kubelet_config *c, size_t *ret_n);
/* Flags over configuration file over defaults. extra rows (of an agent that holds other roles too)
 * are parsed along. Positive FLAGS_HELP when help was printed. */
int kubelet_config_load(struct kubelet_config *c, int argc, char **argv, const struct flag *extra,
                        size_t n_extra, struct error **err);
/* A KubeletConfiguration document, YAML or JSON, over what is in c. */
int kubelet_config_parse(struct kubelet_config *c, struct str text, const char *what,
                         struct error **err);
/* What is in effect, as JSON. */
struct buf;
void kubelet_config_json(const struct kubelet_config *c, struct buf *b);

/* lifecycle. cfg is borrowed until kubelet_stop. */
int kubelet_start(struct loop *l, const struct kubelet_config *cfg, struct kubelet **ret,
                  struct error **err);
void kubelet_stop(struct kubelet *k); /* NULL accepted; containers go on running */
/* `skiff kubelet` and `kubelet`. */
int kubelet_main(int argc, char **argv);
