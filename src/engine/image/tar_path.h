/* Names inside archives, made harmless. Pure text. */
#pragma once
#include <stddef.h>
#define TAR_PATH_MAX 4096
/* Lexically cleans a member's name: no leading slash, no empty, "." or ".." component; "" is the
 * root itself. -EINVAL when it would climb above the root, -ENAMETOOLONG when a component or the
 * whole is too long. */
int tar_path_clean(const char *name, char out[static TAR_PATH_MAX]);
/* Splits a clean path: *ret_base points into path behind the last '/', parent gets what is before
 * ("" for the root). */
void tar_path_split(const char *path, char parent[static TAR_PATH_MAX], const char **ret_base);
/* What a base name means in a layer. */
enum tar_whiteout { TAR_PLAIN, TAR_WHITEOUT, TAR_OPAQUE, TAR_RESERVED };
/* For TAR_WHITEOUT *ret_name is the name to hide, inside base. A name to hide that is "", "." or
 * ".." is TAR_RESERVED. */
enum tar_whiteout tar_whiteout(const char *base, const char **ret_name);
