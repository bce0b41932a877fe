#include "kubelet/orphans.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include <fcntl.h>
#include <unistd.h>

static int on_pod_dir(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct kubelet *k = arg;
    cleanup_free char *path = xasprintf("%s/pods/%s", k->cfg->root_dir, name);

    if (pod_find(k, name))
        return 0;
    log_info("kubelet", "removing what a pod left behind", "path", path, NULL);
    volumes_clean(path);
    return 0;
}

/* "ns_name_uid" */
static int on_log_dir(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct kubelet *k = arg;
    const char *uid = strrchr(name, '_');
    cleanup_free char *path = path_join(k->cfg->pod_log_dir, name);

    if (!uid || pod_find(k, uid + 1))
        return 0;
    (void)dir_remove_tree(path, NULL);
    return 0;
}

/* Links whose log is gone. */
static int on_link(int dirfd, const char *name, unsigned char type, void *arg)
{
    if (faccessat(dirfd, name, F_OK, 0) < 0 &&
        faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        (void)unlinkat(dirfd, name, 0);
    return 0;
}

void orphans_clean(struct kubelet *k)
{
    cleanup_free char *pods = path_join(k->cfg->root_dir, "pods");

    (void)dir_each(pods, on_pod_dir, k, NULL);
    (void)dir_each(k->cfg->pod_log_dir, on_log_dir, k, NULL);
    (void)dir_each(k->cfg->container_log_dir, on_link, NULL, NULL);
}
