/*
 * The Docker Engine API on a unix socket. Served so far: ping, version, and images (list, inspect,
 * load, pull, tag, remove); everything else answers 501 and says so. Containers are another face of
 * the same engine and come later.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"

struct image_store;
struct docker_api;
#define DOCKER_API_VERSION "1.43"
#define DOCKER_SOCKET "/run/skiff/docker.sock"

/* Listens; the store must outlive it. */
int docker_api_start(struct loop *l, const char *socket_path, struct image_store *s,
                     struct docker_api **ret, struct error **err);
void docker_api_stop(struct docker_api *d); /* NULL accepted */
