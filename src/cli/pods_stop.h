/* Stops every pod sandbox of an engine through its CRI socket; blocking, for command-line tools. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
/* Stops all sandboxes, and removes them when remove is set. Returns how many, or a negative errno.
 * An engine that does not answer is -ENOENT. */
int pods_stop(const char *socket_path, bool remove, struct error **err);
