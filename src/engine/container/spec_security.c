#include "engine/container/seccomp.h"
#include "engine/container/spec.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>

#define PROFILE_MAX (1 << 20)

static const char *const all[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
/* What a container gets when nobody says otherwise. */
static const char *const defaults[] = {
    "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
    "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
    "CAP_KILL",    "CAP_AUDIT_WRITE",
};

static int cap_number(const char *name)
{
    char full[40];
    size_t n;

    (void)snprintf(full, sizeof full, "%s%s", strncasecmp(name, "CAP_", 4) == 0 ? "" : "CAP_",
                   name);
    n = strlen(full);
    for (size_t i = 0; i < n; i++)
        full[i] = (char)toupper((unsigned char)full[i]);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (streq(all[i], full))
            return (int)i;
    return -1;
}

/* Capabilities we do not have ourselves cannot be given away. */
static uint64_t bounding(void)
{
    uint64_t set = 0;

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            set |= 1ull << i;
    return set;
}

static int change(char *const *names, size_t n, bool add, uint64_t *set, struct error **err)
{
    for (size_t i = 0; i < n; i++) {
        int k;

        if (strcasecmp(names[i], "ALL") == 0 || strcasecmp(names[i], "CAP_ALL") == 0) {
            *set = add ? (1ull << ARRAY_LEN(all)) - 1 : 0;
            continue;
        }
        k = cap_number(names[i]);
        if (k < 0)
            return error_set(err, EINVAL, "unknown capability \"%s\"", names[i]);
        *set = add ? *set | 1ull << k : *set & ~(1ull << k);
    }
    return 0;
}

static json_t *set_names(uint64_t set)
{
    json_t *a = json_array();

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (set & 1ull << i)
            (void)json_array_append_new(a, json_string(all[i]));
    return a;
}

static bool has_word(char *const *names, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(names[i], word) == 0)
            return true;
    return false;
}

int spec_capabilities(const Runtime__V1__LinuxContainerSecurityContext *s, json_t **ret_object,
                      json_t **ret_names, struct error **err)
{
    const Runtime__V1__Capability *c = s ? s->capabilities : NULL;
    uint64_t set = 0, ambient = 0;
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        set |= 1ull << cap_number(defaults[i]);
    if (s && s->privileged) {
        set = (1ull << ARRAY_LEN(all)) - 1;
    } else if (c) {
        /* ALL in either list comes first, single names refine it. */
        if (has_word(c->add_capabilities, c->n_add_capabilities, "ALL"))
            set = (1ull << ARRAY_LEN(all)) - 1;
        if (has_word(c->drop_capabilities, c->n_drop_capabilities, "ALL"))
            set = 0;
        for (size_t i = 0; r == 0 && i < c->n_add_capabilities; i++)
            if (strcasecmp(c->add_capabilities[i], "ALL") != 0)
                r = change(&c->add_capabilities[i], 1, true, &set, err);
        for (size_t i = 0; r == 0 && i < c->n_drop_capabilities; i++)
            if (strcasecmp(c->drop_capabilities[i], "ALL") != 0)
                r = change(&c->drop_capabilities[i], 1, false, &set, err);
        if (r == 0)
            r = change(c->add_ambient_capabilities, c->n_add_ambient_capabilities, true, &ambient,
                       err);
        set |= ambient;
    }
    if (r < 0)
        return r;
    set &= bounding();
    ambient &= set;
    *ret_names = set_names(set);
    *ret_object = json_pack("{s:O, s:O, s:O}", "bounding", *ret_names, "effective", *ret_names,
                            "permitted", *ret_names);
    if (ambient) {
        (void)json_object_set_new(*ret_object, "inheritable", set_names(ambient));
        (void)json_object_set_new(*ret_object, "ambient", set_names(ambient));
    }
    return 0;
}

static int localhost_profile(const char *path, json_t **ret, struct error **err)
{
    cleanup_buf struct buf text = {0};
    int r = file_read(path, PROFILE_MAX, &text, err);

    return r < 0 ? error_wrap(err, "seccomp profile")
                 : json_parse(buf_str(&text), PROFILE_MAX, path, ret, err);
}

static json_t *builtin(json_t *caps)
{
    const char *names[ARRAY_LEN(all)];
    size_t n = json_array_size(caps);

    for (size_t i = 0; i < n; i++)
        names[i] = json_string_value(json_array_get(caps, i));
    return seccomp_default(names, n);
}

int spec_seccomp(const Runtime__V1__LinuxContainerSecurityContext *s, json_t *caps, json_t **ret,
                 struct error **err)
{
    const char *path = s ? strna(s->seccomp_profile_path) : "";

    *ret = NULL;
    if (!s || s->privileged)
        return 0;
    if (s->seccomp) {
        if (s->seccomp->profile_type == RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined)
            return 0;
        if (s->seccomp->profile_type == RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost)
            return localhost_profile(s->seccomp->localhost_ref, ret, err);
        *ret = builtin(caps);
        return 0;
    }
    if (strstarts(path, "localhost/"))
        return localhost_profile(path + 10, ret, err);
    if (streq(path, "runtime/default") || streq(path, "docker/default"))
        *ret = builtin(caps);
    return 0;
}
