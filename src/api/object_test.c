#include "api/object.h"
#include "api/object_stream.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/test.h"
#include <errno.h>

static const char pod_json[] =
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":"
    "\"default\","
    "\"creationTimestamp\":\"2026-11-23T21:44:36Z\",\"labels\":{\"a\":\"1\",\"b\":\"2\"},"
    "\"managedFields\":[{\"manager\":\"x\",\"fieldsV1\":{\"f:a\":{\".\":{},\"k\":[1,\"\\n\",null,"
    "true]}}}]},"
    "\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}},{\"name\":\"h\",\"hostPath\":{"
    "\"path\":\"/x\"}}],"
    "\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"ports\":[{\"containerPort\":80}],"
    "\"resources\":{\"limits\":{\"cpu\":2,\"memory\":\"64Mi\"}},"
    "\"env\":[{\"name\":\"E\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\",\"key\":\"k\"}}}]"
    ","
    "\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":\"http\"},\"periodSeconds\":3}}],"
    "\"terminationGracePeriodSeconds\":0,\"hostNetwork\":false,\"unknownThing\":{\"a\":[[{}]]}},"
    "\"status\":null}";

static K8s__Pod *decode_pod(struct arena *a, const char *text, unsigned flags)
{
    K8s__Pod *p = NULL;
    cleanup_error struct error *err = NULL;
    int r = object_decode_json(&k8s__pod__descriptor, str_of(text), flags, a, &p, &err);
    if (r)
        print_message("%s\n", error_message(err));
    assert_int_equal(r, 0);
    return p;
}

TEST(decode_pod_fields)
{
    struct arena a;
    arena_init(&a, 0);
    K8s__Pod *p = decode_pod(&a, pod_json, 0);
    assert_string_equal(object_name(p), "web");
    assert_int_equal(p->metadata->creationtimestamp->seconds, 1795470276);
    assert_string_equal(pairs_get(p->metadata->labels, p->metadata->n_labels, "b"), "2");
    assert_int_equal(p->spec->n_volumes, 2);
    assert_non_null(p->spec->volumes[0]->volumesource->emptydir);
    assert_string_equal(p->spec->volumes[1]->volumesource->hostpath->path, "/x");
    K8s__Container *c = p->spec->containers[0];
    assert_string_equal(quantities_get(c->resources->limits, c->resources->n_limits, "cpu"), "2");
    assert_string_equal(c->env[0]->valuefrom->configmapkeyref->localobjectreference->name, "cm");
    assert_string_equal(c->livenessprobe->handler->httpget->port->strval, "http");
    assert_int_equal(c->livenessprobe->periodseconds, 3);
    assert_true(p->spec->has_terminationgraceperiodseconds);
    assert_true(p->spec->has_hostnetwork && !p->spec->hostnetwork);
    assert_null(p->status);
    assert_string_equal((char *)p->metadata->managedfields[0]->fieldsv1->raw.data ? "raw" : "none",
                        "raw");
    arena_fini(&a);
}

TEST(round_trip_is_stable)
{
    struct arena a;
    arena_init(&a, 0);
    K8s__Pod *p = decode_pod(&a, pod_json, 0);
    cleanup_buf struct buf one, two;
    buf_init(&one, 1 << 20);
    buf_init(&two, 1 << 20);
    assert_int_equal(object_encode_json(p, &one), 0);
    K8s__Pod *q = decode_pod(&a, one.p, OBJECT_STRICT);
    assert_true(object_equal(p, q));
    assert_int_equal(object_encode_json(q, &two), 0);
    assert_string_equal(one.p, two.p);
    assert_non_null(strstr(one.p, "\"fieldsV1\":{\"f:a\":{\".\":{},\"k\":[1,\"\\n\",null,true]}}"));
    assert_non_null(strstr(one.p, "{\"name\":\"v\",\"emptyDir\":{}}"));
    assert_non_null(strstr(one.p, "\"terminationGracePeriodSeconds\":0"));
    K8s__Pod *d = object_dup(p);
    assert_true(object_equal(p, d));
    free(d->spec->containers[0]->image);
    d->spec->containers[0]->image = xstrdup("other");
    assert_false(object_equal(p, d));
    object_free(d);
    arena_fini(&a);
}

TEST(map_order_does_not_matter)
{
    struct arena a;
    arena_init(&a, 0);
    K8s__Pod *p = decode_pod(&a, "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}", 0);
    K8s__Pod *q = decode_pod(&a, "{\"metadata\":{\"labels\":{\"b\":\"2\",\"a\":\"1\"}}}", 0);
    assert_true(object_equal(p, q));
    pairs_set(&a, &q->metadata->labels, &q->metadata->n_labels, "a", "3");
    assert_false(object_equal(p, q));
    pairs_set(&a, &q->metadata->labels, &q->metadata->n_labels, "c", "4");
    assert_int_equal(q->metadata->n_labels, 3);
    arena_fini(&a);
}

TEST(refusals)
{
    static const struct {
        const char *json, *message;
        unsigned flags;
    } rows[] = {
        {"{\"spec\":{\"containers\":{}}}", "spec.containers: expected a list", 0},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":3}]}}",
         "spec.containers[1].name: expected text, not a number", 0},
        {"{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}", "metadata.name: this key is there twice",
         0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"a\":\"1\"}}}", "twice", 0},
        {"{\"metadata\":{\"labels\":{\"a\":1}}}", "metadata.labels[a]: expected text, not a number",
         0},
        {"{\"spec\":{\"priority\":4294967296}}", "not a whole number of 32 bits", 0},
        {"{\"spec\":{\"priority\":1.5}}", "not a whole number of 32 bits", 0},
        {"{\"spec\":{\"hostNetwork\":\"true\"}}", "expected true or false, not text", 0},
        {"{\"metadata\":{\"name\":\"\xc0\xaf\"}}", "UTF-8", 0},
        {"{\"metadata\":{\"name\":\"\xed\xa0\x80\"}}", "UTF-8", 0},
        {"{\"metadata\":{\"name\":\"a\\u0000b\"}}", "UTF-8", 0},
        {"{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}", "RFC 3339", 0},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"x\"}}}]}}",
         "not a quantity", 0},
        {"[]", "expected an object", 0},
        {"", "", 0},
        {"{\"spec\":", "", 0},
        {"{} {}", "", 0},
        {"{\"spec\":{\"hostNetwrok\":true}}", "spec: unknown field \"hostNetwrok\"", OBJECT_STRICT},
        {"{\"spec\":{\"volumes\":[{\"volumeSource\":{}}]}}", "unknown field", OBJECT_STRICT},
        {"{\"spec\":{\"containers\":[null]}}", "null in a list", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a;
        arena_init(&a, 0);
        cleanup_error struct error *err = NULL;
        K8s__Pod *p = NULL;
        int r = object_decode_json(&k8s__pod__descriptor, str_of(rows[i].json), rows[i].flags, &a,
                                   &p, &err);
        if (r >= 0 || !strstr(error_message(err), rows[i].message))
            print_message("%zu: %d %s\n", i, r, error_message(err));
        assert_true(r < 0);
        assert_non_null(strstr(error_message(err), rows[i].message));
        arena_fini(&a);
    }
}

TEST(special_shapes)
{
    struct arena a;
    arena_init(&a, 0);
    K8s__Secret *s = NULL;
    assert_int_equal(object_decode_json(&k8s__secret__descriptor,
                                        STR("{\"data\":{\"k\":\"aGVsbG8=\",\"e\":\"\"}}"), 0, &a,
                                        &s, NULL),
                     0);
    assert_memory_equal(s->data[0]->value.data, "hello", 5);
    cleanup_buf struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(object_encode_json(s, &b), 0);
    assert_string_equal(
        b.p,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"k\":\"aGVsbG8=\",\"e\":\"\"}}");
    K8s__TokenReview *t = NULL;
    static const char review[] = "{\"status\":{\"user\":{\"extra\":{\"scopes\":[\"a\",\"b\"]}}}}";
    assert_int_equal(
        object_decode_json(&k8s__token_review__descriptor, STR(review), 0, &a, &t, NULL), 0);
    assert_int_equal(t->status->user->extra[0]->value->n_items, 2);
    buf_clear(&b);
    assert_int_equal(object_encode_json(t, &b), 0);
    assert_non_null(strstr(b.p, "\"extra\":{\"scopes\":[\"a\",\"b\"]}"));
    K8s__Lease *l = object_new(&a, &k8s__lease__descriptor);
    l->spec = object_new(&a, &k8s__lease_spec__descriptor);
    l->spec->renewtime = object_micro_time(&a, (struct wall){1795470276123456789});
    buf_clear(&b);
    assert_int_equal(object_encode_json(l, &b), 0);
    assert_string_equal(
        b.p, "{\"apiVersion\":\"coordination.k8s.io/"
             "v1\",\"kind\":\"Lease\",\"spec\":{\"renewTime\":\"2026-11-23T21:44:36.123456Z\"}}");
    arena_fini(&a);
}

static int count_item(void *msg, void *arg)
{
    char *names = arg;
    strncat(names, object_name(msg), 20);
    return 0;
}

TEST(list_in_pieces)
{
    static const char list[] = "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"name\":\"a\"}},{"
                               "\"metadata\":{\"name\":\"b\"},"
                               "\"spec\":{\"containers\":[{\"name\":\"x\"}]}}],\"metadata\":{"
                               "\"resourceVersion\":\"77\",\"continue\":\"c\"}}";
    for (size_t step = 1; step < sizeof(list); step += 3) {
        char names[64] = "";
        struct object_list *l = object_list_new(&k8s__pod__descriptor, 0, count_item, names);
        for (size_t i = 0; i < sizeof(list) - 1; i += step) {
            size_t n = sizeof(list) - 1 - i < step ? sizeof(list) - 1 - i : step;
            assert_int_equal(object_list_feed(l, (struct str){list + i, n}, NULL), 0);
        }
        assert_int_equal(object_list_end(l, NULL), 0);
        assert_string_equal(names, "ab");
        assert_string_equal(object_list_resource_version(l), "77");
        assert_string_equal(object_list_continue(l), "c");
        object_list_free(l);
    }
}

TEST(list_cut_short)
{
    char names[64] = "";
    cleanup_error struct error *err = NULL;
    struct object_list *l = object_list_new(&k8s__pod__descriptor, 0, count_item, names);
    assert_int_equal(object_list_feed(l, STR("{\"items\":[{\"metadata\":{\"name\":\"a\"}}"), &err),
                     0);
    assert_true(object_list_end(l, &err) < 0);
    object_list_free(l);
}

static int note_event(enum watch_type type, void *msg, void *arg)
{
    char *text = arg;
    strncat(text, watch_type_name(type), 20);
    strncat(text, type == WATCH_ERROR ? strna(((K8s__Status *)msg)->reason) : object_name(msg), 20);
    return 0;
}

TEST(watch_in_pieces)
{
    static const char stream[] =
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n\n"
        "{\"object\":{\"metadata\":{\"name\":\"b\"}},\"type\":\"MODIFIED\"}\n"
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":"
        "\"Expired\",\"code\":410}}\n"
        "{\"object\":{\"status\":\"Failure\",\"reason\":\"Gone\"},\"type\":\"ERROR\"}\n";
    for (size_t step = 1; step < sizeof(stream); step += 5) {
        char text[256] = "";
        struct object_watch *w = object_watch_new(&k8s__pod__descriptor, 0, note_event, text);
        for (size_t i = 0; i < sizeof(stream) - 1; i += step) {
            size_t n = sizeof(stream) - 1 - i < step ? sizeof(stream) - 1 - i : step;
            assert_int_equal(object_watch_feed(w, (struct str){stream + i, n}, NULL), 0);
        }
        assert_string_equal(text, "ADDEDaMODIFIEDbERRORExpiredERRORGone");
        object_watch_free(w);
    }
}

TEST(watch_refuses)
{
    static const char *const bad[] = {"{\"type\":\"ADDED\"}\n",
                                      "{\"type\":\"NEW\",\"object\":{}}\n", "[]\n",
                                      "{\"type\":\"ADDED\",\"object\":3}\n", "nonsense\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[256] = "";
        cleanup_error struct error *err = NULL;
        struct object_watch *w = object_watch_new(&k8s__pod__descriptor, 0, note_event, text);
        assert_true(object_watch_feed(w, str_of(bad[i]), &err) < 0);
        assert_non_null(err);
        object_watch_free(w);
    }
}

TEST(kinds)
{
    const struct object_kind *k = object_kind_find(STR("apps/v1"), STR("DaemonSet"));
    assert_non_null(k);
    assert_string_equal(k->plural, "daemonsets");
    assert_null(object_kind_find(STR("v1"), STR("DaemonSet")));
}

/* Members that JSON flattens into their owner, for every owner there is. */
TEST(references_are_flat)
{
    static const char text[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"volumes\":[{\"name\":\"v\","
        "\"configMap\":{"
        "\"name\":\"settings\",\"defaultMode\":256}}],\"containers\":[{\"name\":\"c\",\"env\":[{"
        "\"name\":\"A\","
        "\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}],\"envFrom\":[{"
        "\"configMapRef\":{"
        "\"name\":\"m\"}}],\"livenessProbe\":{\"exec\":{\"command\":[\"true\"]}}}]}}";
    struct arena a;
    K8s__Pod *p;

    arena_init(&a, 0);
    p = decode_pod(&a, text, OBJECT_STRICT);
    assert_string_equal(p->spec->volumes[0]->volumesource->configmap->localobjectreference->name,
                        "settings");
    assert_string_equal(p->spec->containers[0]->livenessprobe->handler->exec->command[0], "true");
    arena_fini(&a);
}

TEST_MAIN()
