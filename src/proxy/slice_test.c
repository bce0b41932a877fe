#include "api/object.h"
#include "base/cleanup.h"
#include "base/test.h"
#include "proxy/slice.h"

static struct list slices;
static struct zone_names zones;

static void add(const char *endpoints)
{
    cleanup_buf struct buf b = {0};
    struct arena a;
    K8s__EndpointSlice *s;

    buf_init(&b, 65536);
    (void)buf_printf(&b,
                     "{\"metadata\":{\"name\":\"s\"},\"addressType\":\"IPv4\",\"ports\":[{\"name\":"
                     "\"p\",\"port\":80}],\"endpoints\":[%s]}",
                     endpoints);
    arena_init(&a, 0);
    assert_int_equal(
        object_decode_json(&k8s__endpoint_slice__descriptor, buf_str(&b), 0, &a, &s, NULL), 0);
    struct slice *x = slice_read(s, "here", &zones);
    assert_non_null(x);
    list_add_tail(&slices, &x->link);
    arena_fini(&a);
}

/* Last bytes of the addresses chosen, such as "1,3". */
static const char *chosen(bool local, const char *zone)
{
    static char out[64];
    struct targets all = {0}, some = {0};

    targets_gather(&slices, AF_INET, "p", IPPROTO_TCP, &all);
    if (local)
        targets_local(&all, &some);
    else
        targets_cluster(&all, zone_bit(&zones, zone), &some);
    out[0] = 0;
    for (size_t i = 0; i < some.n; i++)
        (void)snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%u", i ? "," : "",
                       some.v[i].address[3]);
    targets_fini(&all);
    targets_fini(&some);
    list_for_safe(l, &slices) slice_free(container_of(l, struct slice, link));
    return out;
}

#define E(n, more) "{\"addresses\":[\"10.0.0." n "\"]" more "}"
#define READY ",\"conditions\":{\"ready\":true}"
#define NOT_READY ",\"conditions\":{\"ready\":false}"
#define ENDING ",\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}"
#define HERE ",\"nodeName\":\"here\""
#define ZONE(z) ",\"hints\":{\"forZones\":[{\"name\":\"" z "\"}]}"
#define NODE(n) ",\"hints\":{\"forNodes\":[{\"name\":\"" n "\"}]}"

TEST(choice)
{
    list_init(&slices);
    add(E("3", READY) "," E("1", "") "," E("2", NOT_READY) "," E("4", ENDING));
    assert_string_equal(chosen(false, NULL), "1,3"); /* unknown counts as ready */
    add(E("2", NOT_READY) "," E("4", ENDING));
    assert_string_equal(chosen(false, NULL), "4");
    add(E("1", READY) "," E("2", READY HERE) "," E("3", ENDING HERE));
    assert_string_equal(chosen(true, NULL), "2");
    add(E("1", READY) "," E("3", ENDING HERE));
    assert_string_equal(chosen(true, NULL), "3");
    add(E("1", READY));
    add(E("1", ENDING));
    assert_string_equal(chosen(false, NULL), "1"); /* in two slices at once */
}

TEST(hints)
{
    list_init(&slices);
    add(E("1", ZONE("a")) "," E("2", ZONE("b")));
    assert_string_equal(chosen(false, "b"), "2");
    add(E("1", ZONE("a")) "," E("2", ZONE("b")));
    assert_string_equal(chosen(false, "c"), "1,2"); /* none for us */
    add(E("1", ZONE("a")) "," E("2", ""));
    assert_string_equal(chosen(false, "a"), "1,2"); /* not all have one */
    add(E("1", NODE("there")) "," E("2", NODE("here")));
    assert_string_equal(chosen(false, NULL), "2");
    zone_names_fini(&zones);
}

TEST_MAIN()
