/*
 * config.json of the OCI runtime specification, made from what CRI and the image say. Pure apart
 * from looking at host paths that devices and mounts name.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "cri.pb-c.h"
#include "codec/json.h"
#include "engine/container/user.h"
#include "engine/image/image.h"

/* All map<string, string> entries have this shape. */
struct label {
    ProtobufCMessage base;
    char *key, *value;
};

struct spec_input {
    const char *id;
    const Runtime__V1__ContainerConfig *config;
    const Runtime__V1__PodSandboxConfig *sandbox;
    const struct image_config_data *image;
    const struct user *user;
    const char *sandbox_run;   /* pinned namespaces, shm */
    const char *sandbox_data;  /* resolv.conf, hostname */
    const char *cgroup;        /* cgroupsPath */
    const char *target_pid_ns; /* path of another container's, or NULL */
    bool cgroup_v2, swap;
    int64_t oom_floor;   /* lowest oom_score_adj this process may set */
    uint64_t nofile_max; /* hard limit we have ourselves */
    /* Host paths of image volumes already mounted, by index of config->mounts; NULL entries for
     * others; may be NULL. */
    char *const *image_mounts;
};
int spec_make(const struct spec_input *in, struct buf *ret, struct error **err);
/* linux.resources alone, for an update. New reference. */
json_t *spec_resources(const Runtime__V1__LinuxContainerResources *r, bool cgroup_v2, bool swap);
/* process object for an exec. New reference. */
json_t *spec_process_for_exec(const json_t *spec, char *const *cmd, size_t cmd_n, bool tty);

/* parts, each in a file of its own */
int spec_capabilities(const Runtime__V1__LinuxContainerSecurityContext *s, json_t **ret_object,
                      json_t **ret_names, struct error **err);
int spec_mounts(const struct spec_input *in, json_t **ret, struct error **err);
int spec_devices(const struct spec_input *in, json_t *linux_object, json_t *resources,
                 struct error **err);
int spec_seccomp(const Runtime__V1__LinuxContainerSecurityContext *s, json_t *caps, json_t **ret,
                 struct error **err);
