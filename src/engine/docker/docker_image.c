/* Images as the docker client sees them: short names, JSON objects in Go's field names. */
#include "base/mem.h"
#include "engine/docker/docker_private.h"
#include "engine/image/ref.h"
#include <errno.h>

static json_t *familiar_list(const struct image_strings *l)
{
    json_t *list = json_array();

    for (size_t i = 0; i < l->n; i++) {
        cleanup_free char *name = image_ref_familiar(l->v[i]);
        json_array_append_new(list, json_string(name));
    }
    return list;
}

static json_t *words(const struct image_strings *l)
{
    json_t *list = json_array();

    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(list, json_string(l->v[i]));
    return list;
}

static json_t *words_or_null(const struct image_strings *l)
{
    return l->n ? words(l) : json_null();
}

static json_t *labels(const struct image_config_data *c)
{
    json_t *o = json_object();

    for (size_t i = 0; i < c->label_keys.n; i++)
        json_object_set_new(o, c->label_keys.v[i], json_string(c->label_values.v[i]));
    return o;
}

static json_t *key_set(const struct image_strings *l)
{
    json_t *o = json_object();

    for (size_t i = 0; i < l->n; i++)
        json_object_set_new(o, l->v[i], json_object());
    return o;
}

static int64_t created_seconds(const struct image *im)
{
    struct wall t;

    return wall_parse(str_of(im->config.created), &t) == 0 ? t.ns / NSEC_PER_SEC
                                                           : im->loaded_at.ns / NSEC_PER_SEC;
}

void docker_images_list(const struct docker_request *q)
{
    json_t *list = json_array();
    const struct image *im;

    for (size_t i = 0; (im = image_at(q->api->images, i)); i++)
        json_array_append_new(
            list, json_pack("{ss ss so so sI sI sI sI so si}", "Id", im->id, "ParentId", "",
                            "RepoTags", familiar_list(&im->repo_tags), "RepoDigests",
                            familiar_list(&im->repo_digests), "Created",
                            (json_int_t)created_seconds(im), "Size", (json_int_t)im->size_bytes,
                            "VirtualSize", (json_int_t)im->size_bytes, "SharedSize", (json_int_t)-1,
                            "Labels", labels(&im->config), "Containers", -1));
    docker_json(q->x, 200, list);
}

static const struct image *find(const struct docker_request *q, const char *name)
{
    const struct image *im = image_get(q->api->images, name);

    if (!im) {
        cleanup_free char *message = xasprintf("No such image: %s", name);
        docker_fail(q->x, 404, message);
    }
    return im;
}

void docker_image_inspect(const struct docker_request *q)
{
    cleanup_free char *name = docker_path_name(q, 1);
    const struct image *im = find(q, name);

    if (!im)
        return;
    const struct image_config_data *c = &im->config;
    json_t *config =
        json_pack("{ss ss ss so so so so so so}", "User", c->user, "WorkingDir", c->workdir,
                  "StopSignal", c->stop_signal, "Env", words_or_null(&c->env), "Entrypoint",
                  words_or_null(&c->entrypoint), "Cmd", words_or_null(&c->cmd), "Labels", labels(c),
                  "Volumes", key_set(&c->volumes), "ExposedPorts", key_set(&c->exposed_ports));
    docker_json(q->x, 200,
                json_pack("{ss so so ss ss ss ss ss ss so sI sI s{ss so} ss}", "Id", im->id,
                          "RepoTags", familiar_list(&im->repo_tags), "RepoDigests",
                          familiar_list(&im->repo_digests), "Parent", "", "Comment", "", "Created",
                          c->created, "Author", c->author, "Architecture", c->architecture, "Os",
                          c->os, "Config", config, "Size", (json_int_t)im->size_bytes,
                          "VirtualSize", (json_int_t)im->size_bytes, "RootFS", "Type", "layers",
                          "Layers", words(&im->diff_ids), "Variant", c->variant));
}

void docker_image_history(const struct docker_request *q)
{
    cleanup_free char *name = docker_path_name(q, 1), *config = NULL;
    cleanup_json json_t *root = NULL;
    cleanup_error struct error *err = NULL;
    const struct image *im = find(q, name);
    json_t *list, *item;
    size_t i;

    if (!im)
        return;
    if (image_read_blob(q->api->images, im->id, "config", &config, &err) < 0 ||
        json_parse(str_of(config), 8u << 20, "image configuration", &root, &err) < 0) {
        docker_fail_error(q->x, err);
        return;
    }
    list = json_array();
    json_array_foreach(json_object_get(root, "history"), i, item)
    {
        struct wall t = {0};
        (void)wall_parse(str_of(json_text_or(item, "created", "")), &t);
        json_array_insert_new(list, 0,
                              json_pack("{ss sI ss ss sI sn}", "Id", "<missing>", "Created",
                                        (json_int_t)(t.ns / NSEC_PER_SEC), "CreatedBy",
                                        json_text_or(item, "created_by", ""), "Comment",
                                        json_text_or(item, "comment", ""), "Size", (json_int_t)0,
                                        "Tags"));
    }
    docker_json(q->x, 200, list);
}

void docker_image_remove(const struct docker_request *q)
{
    cleanup_free char *name = docker_path_name(q, 0);
    cleanup_error struct error *err = NULL;
    struct image_strings untagged = {0}, deleted = {0};
    unsigned flags =
        IMAGE_REMOVE_UNTAG | (http_query_bool(q->x, "force") ? IMAGE_REMOVE_FORCE : 0u);

    if (image_remove(q->api->images, name, flags, &untagged, &deleted, &err) < 0) {
        docker_fail_error(q->x, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < untagged.n; i++) {
        cleanup_free char *familiar = image_ref_familiar(untagged.v[i]);
        json_array_append_new(list, json_pack("{ss}", "Untagged", familiar));
    }
    for (size_t i = 0; i < deleted.n; i++)
        json_array_append_new(list, json_pack("{ss}", "Deleted", deleted.v[i]));
    image_strings_fini(&untagged);
    image_strings_fini(&deleted);
    docker_json(q->x, 200, list);
}

void docker_image_tag(const struct docker_request *q)
{
    cleanup_free char *name = docker_path_name(q, 1);
    struct str repo = http_query_get(q->x, "repo"), tag = http_query_get(q->x, "tag");
    cleanup_free char *to = tag.n ? xasprintf("%.*s:%.*s", STR_FMT(repo), STR_FMT(tag))
                                  : xasprintf("%.*s", STR_FMT(repo));
    cleanup_error struct error *err = NULL;

    if (image_tag(q->api->images, name, to, &err) < 0)
        docker_fail_error(q->x, err);
    else
        http_respond(q->x, 201, NULL, STR_NULL);
}
