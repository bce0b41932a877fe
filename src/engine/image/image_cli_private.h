#pragma once
#include "base/error.h"
#include "base/flags.h"
#include "engine/image/image.h"
#include "loop/loop.h"

struct http_client;
struct image_cli {
    struct loop *loop;
    char *socket, *data_root;
    bool offline, quiet;
    struct http_client *client; /* one of these two */
    struct image_store *store;
    int rc;
};
/* The two ways; each runs the loop until its work is done and returns the exit code. */
int image_cli_remote_load(struct image_cli *c, const char *file);
int image_cli_remote_pull(struct image_cli *c, const char *name);
int image_cli_remote_list(struct image_cli *c);
int image_cli_remote_remove(struct image_cli *c, const char *name);
int image_cli_remote_tag(struct image_cli *c, const char *name, const char *to);
int image_cli_local_load(struct image_cli *c, const char *file);
int image_cli_local_pull(struct image_cli *c, const char *name);
int image_cli_local_list(struct image_cli *c);
int image_cli_local_remove(struct image_cli *c, const char *name);
int image_cli_local_tag(struct image_cli *c, const char *name, const char *to);
/* "-" is standard input. */
int image_cli_open(const char *file, struct error **err);
int image_cli_say(const struct error *err); /* prints; returns 1 */
void image_cli_row(const char *name, const char *id, uint64_t size_bytes);
