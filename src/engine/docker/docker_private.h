#pragma once
#include "base/str.h"
#include "codec/json.h"
#include "engine/docker/docker.h"
#include "engine/image/image.h"
#include "net/http_server.h"

struct docker_api {
    struct http_server *http;
    struct image_store *images;
};
struct docker_request {
    struct docker_api *api;
    struct http_exchange *x;
    const struct str *path; /* without the version */
    size_t path_n;
};
/* {"message": ...} as the docker client prints it. */
void docker_fail(struct http_exchange *x, int status, const char *message);
/* Status by errno. */
void docker_fail_error(struct http_exchange *x, const struct error *err);
void docker_json(struct http_exchange *x, int status, json_t *body); /* takes body */
/* Name in the middle of a path: images/a/b/json; owned. last: how many segments after it. */
char *docker_path_name(const struct docker_request *q, size_t last);

void docker_images_list(const struct docker_request *q);
void docker_image_inspect(const struct docker_request *q);
void docker_image_history(const struct docker_request *q);
void docker_image_remove(const struct docker_request *q);
void docker_image_tag(const struct docker_request *q);
void docker_image_pull(const struct docker_request *q);
void docker_image_load(const struct docker_request *q);
