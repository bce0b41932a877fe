#include "engine/image/tar_path.h"
#include <errno.h>
#include <string.h>

#define NAME_BYTES_MAX 255

int tar_path_clean(const char *name, char out[static TAR_PATH_MAX])
{
    size_t n = 0;

    while (*name) {
        size_t len = strcspn(name, "/");
        if (len > NAME_BYTES_MAX)
            return -ENAMETOOLONG;
        if (len == 2 && name[0] == '.' && name[1] == '.') {
            if (n == 0)
                return -EINVAL;
            while (n > 0 && out[--n] != '/')
                ;
        } else if (len > 0 && !(len == 1 && name[0] == '.')) {
            if (n + 1 + len + 1 > TAR_PATH_MAX)
                return -ENAMETOOLONG;
            if (n > 0)
                out[n++] = '/';
            memcpy(out + n, name, len);
            n += len;
        }
        name += len + (name[len] == '/');
    }
    out[n] = 0;
    return 0;
}

void tar_path_split(const char *path, char parent[static TAR_PATH_MAX], const char **ret_base)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    memcpy(parent, path, n);
    parent[n] = 0;
    *ret_base = slash ? slash + 1 : path;
}

enum tar_whiteout tar_whiteout(const char *base, const char **ret_name)
{
    if (strncmp(base, ".wh.", 4) != 0)
        return TAR_PLAIN;
    if (strcmp(base, ".wh..wh..opq") == 0)
        return TAR_OPAQUE;
    if (strncmp(base, ".wh..wh.", 8) == 0) /* aufs' own book-keeping */
        return TAR_RESERVED;
    *ret_name = base + 4;
    if (!**ret_name || strcmp(*ret_name, ".") == 0 || strcmp(*ret_name, "..") == 0)
        return TAR_RESERVED;
    return TAR_WHITEOUT;
}
