/* The RuntimeDefault system call filter, as an object of the OCI runtime specification. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* caps: names of the container's capabilities ("CAP_SYS_ADMIN"): some open further calls. New
 * reference. */
json_t *seccomp_default(const char *const *caps, size_t caps_n);
