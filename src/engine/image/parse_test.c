/* Texts that come with images: manifests, configurations, challenges, messages, registry settings.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "engine/image/challenge.h"
#include "engine/image/manifest.h"
#include "engine/image/message.h"
#include "engine/image/registry.h"
#include "engine/image/worker.h"
#include <errno.h>

#define H "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define D "sha256:" H

/* ---- challenges ---- */
static struct challenge parse(const char *header)
{
    struct challenge c = {0};

    challenge_parse(str_of(header), &c);
    return c;
}

TEST(bearer_challenge)
{
    struct challenge c =
        parse("Bearer "
              "realm=\"https://auth.docker.io/"
              "token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"");

    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    assert_string_equal(c.realm, "https://auth.docker.io/token");
    assert_string_equal(c.service, "registry.docker.io");
    assert_string_equal(c.scope, "repository:a/b:pull");
    challenge_fini(&c);
}

TEST(several_challenges)
{
    struct challenge c =
        parse("Negotiate abc==, Basic realm=\"x, y\", bearer  realm = \"r\\\"q\" , service=s");

    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    assert_string_equal(c.realm, "r\"q");
    assert_string_equal(c.service, "s");
    challenge_parse(STR("Basic realm=\"later\""), &c);
    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    challenge_fini(&c);
    c = parse("Basic");
    assert_int_equal(c.scheme, CHALLENGE_BASIC);
    challenge_fini(&c);
    c = parse("Bearer realm=\"unclosed");
    assert_int_equal(c.scheme, CHALLENGE_NONE);
    challenge_fini(&c);
}

/* ---- manifests ---- */
static int manifest(const char *text, struct manifest *m)
{
    return manifest_parse(str_of(text), m, NULL);
}

TEST(manifests)
{
    struct manifest m;

    assert_int_equal(manifest("{\"schemaVersion\":2,\"config\":{\"digest\":\"" D
                              "\",\"size\":7},\"layers\":[{\"digest\":\"" D "\",\"size\":9}]}",
                              &m),
                     0);
    assert_false(m.index);
    assert_int_equal(m.n, 1);
    assert_int_equal(m.v[0].size, 9);
    manifest_fini(&m);
    const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"schemaVersion\":1}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"" D "\"},\"layers\":{}}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"../../x\"},\"layers\":[]}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"" D
        "\"},\"layers\":[{\"digest\":\"sha256:..\"}]}",
        "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D "\",\"size\":-1}]}",
        "{\"schemaVersion\":2,\"manifests\":[7]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (manifest(bad[i], &m) >= 0)
            fail_msg("accepted: %s", bad[i]);
}

#define ENTRY(os, arch, variant)                                                                   \
    "{\"digest\":\"" D "\",\"size\":1,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch    \
    "\",\"variant\":\"" variant "\"}}"

TEST(index_by_platform)
{
    struct manifest m;

    assert_int_equal(
        manifest("{\"schemaVersion\":2,\"manifests\":[" ENTRY("windows", "amd64", "") "," ENTRY(
                     "linux", "arm",
                     "v6") "," ENTRY("linux", "arm",
                                     "v7") "," ENTRY("linux", "arm64",
                                                     "") "," ENTRY("unknown", "unknown", "") "]}",
                 &m),
        0);
    assert_ptr_equal(manifest_choose(&m, "linux/arm/v7"), &m.v[2]);
    assert_ptr_equal(manifest_choose(&m, "linux/arm64/v8"), &m.v[3]);
    assert_ptr_equal(manifest_choose(&m, "linux/arm"), &m.v[1]);
    assert_null(manifest_choose(&m, "linux/amd64"));
    manifest_fini(&m);
}

/* ---- configuration ---- */
TEST(configuration)
{
    struct image_config_data c;
    struct image_strings ids = {0};
    struct arena a;

    arena_init(&a, 0);
    assert_int_equal(
        image_config_data_parse(
            STR("{\"os\":\"linux\",\"config\":{\"User\":\"1:2\",\"Env\":[\"A=b\",\"C=d\"],"
                "\"Entrypoint\":[\"e\"],\"Cmd\":null,"
                "\"ExposedPorts\":{\"80/"
                "tcp\":{}},\"Labels\":{\"k\":\"v\"}},\"rootfs\":{\"diff_ids\":[\"" D "\"]}}"),
            &a, &c, &ids, NULL),
        0);
    assert_string_equal(c.user, "1:2");
    assert_int_equal(c.env.n, 2);
    assert_string_equal(c.env.v[1], "C=d");
    assert_int_equal(c.cmd.n, 0);
    assert_string_equal(c.exposed_ports.v[0], "80/tcp");
    assert_string_equal(c.label_values.v[0], "v");
    assert_string_equal(c.workdir, "");
    assert_int_equal(ids.n, 1);
    image_strings_fini(&ids);
    assert_true(image_config_data_parse(STR("{\"rootfs\":{\"diff_ids\":[\"x\"]}}"), &a, &c, &ids,
                                        NULL) < 0);
    assert_true(image_config_data_parse(STR("{\"config\":{\"Env\":[1]}}"), &a, &c, NULL, NULL) < 0);
    arena_fini(&a);
}

TEST(chains)
{
    struct image_strings diffs = {0}, chains = {0};

    image_strings_add(&diffs, "sha256:" H);
    image_strings_add(&diffs, "sha256:" H);
    layer_chains(&diffs, &chains);
    assert_string_equal(chains.v[0], H);
    assert_int_equal(strlen(chains.v[1]), 64);
    assert_string_not_equal(chains.v[0], chains.v[1]);
    image_strings_fini(&diffs);
    image_strings_fini(&chains);
}

/* ---- messages ---- */
TEST(messages_survive)
{
    struct worker_message m;
    struct worker_request in = {.op = (char *)"pull",
                                .root = (char *)"/r",
                                .tmp = (char *)"/t",
                                .boot = (char *)"b",
                                .ref = (char *)"x",
                                .username = (char *)"u\"\n",
                                .parallel = 5,
                                .stall_ms = 7},
                          out;
    struct buf b;

    buf_init(&b, MESSAGE_MAX);
    worker_message_progress(&b, "abc", "Downloading", 5, 10);
    assert_int_equal(worker_message_parse(buf_str(&b), &m, NULL), 0);
    assert_int_equal(m.type, MESSAGE_PROGRESS);
    assert_int_equal(m.current, 5);
    worker_message_fini(&m);
    buf_clear(&b);
    worker_message_error(&b, ENOENT, "gone \"away\"\x01");
    assert_int_equal(worker_message_parse(buf_str(&b), &m, NULL), 0);
    assert_int_equal(m.code, ENOENT);
    assert_string_equal(m.text, "gone \"away\"\x01");
    worker_message_fini(&m);
    buf_clear(&b);
    worker_request_write(&in, &b);
    assert_int_equal(worker_request_parse(buf_str(&b), &out, NULL), 0);
    assert_string_equal(out.username, "u\"\n");
    assert_null(out.password);
    assert_int_equal(out.parallel, 5);
    worker_request_fini(&out);
    buf_fini(&b);
    assert_true(
        worker_message_parse(STR("{\"t\":\"image\",\"record\":{\"id\":\"../x\"}}"), &m, NULL) < 0);
    assert_true(worker_message_parse(STR("{\"t\":\"what\"}"), &m, NULL) < 0);
    assert_true(worker_request_parse(STR("{}"), &out, NULL) < 0);
}

/* ---- which registries may be plain ---- */
TEST(insecure_registries)
{
    struct image_strings l = {0};

    image_strings_add(&l, "reg.example:5000");
    image_strings_add(&l, "10.0.0.0/8");
    image_strings_add(&l, "fd00::/8");
    assert_true(registry_is_insecure("localhost:5000", &l));
    assert_true(registry_is_insecure("127.8.9.1:5000", &l));
    assert_true(registry_is_insecure("[::1]:5000", &l));
    assert_true(registry_is_insecure("reg.example:5000", &l));
    assert_true(registry_is_insecure("10.1.2.3", &l));
    assert_true(registry_is_insecure("[fd12::1]:80", &l));
    assert_false(registry_is_insecure("reg.example:5001", &l));
    assert_false(registry_is_insecure("11.1.2.3:80", &l));
    assert_false(registry_is_insecure("127.0.0.1.evil.example", &l));
    image_strings_fini(&l);
}

TEST_MAIN()
