#include "base/test.h"
#include "base/cleanup.h"
#include "net/conntrack.h"
#include "net/netlink_netns_test.h"
#include "net/nft.h"
#include <arpa/inet.h>

static struct nft *nft;
static void setup(void)
{
    if (nft)
        return;
    test_enter_netns();
    assert_int_equal(nft_open(-1, &nft, NULL), 0);
}

static void must_commit(struct nft_batch *b)
{
    cleanup_error struct error *err = NULL;
    if (nft_batch_commit(b, &err) < 0)
        fail_msg("%s", error_message(err));
}

static void table(struct nft_batch *b)
{
    nft_table_add(b, STR("v1"));
    nft_chain_add(b, "target");
    nft_set_add(
        b, &(struct nft_set_spec){
               .name = "services",
               .flags = NFT_SET_MAP,
               .verdicts = true,
               .key_bytes = 12,
               .key_type = NFT_TYPES(NFT_TYPES(NFT_TYPE_IPV4, NFT_TYPE_PROTO), NFT_TYPE_SERVICE)});
    nft_set_add(b, &(struct nft_set_spec){.name = "ends",
                                          .flags = NFT_SET_MAP,
                                          .key_bytes = 4,
                                          .data_bytes = 8,
                                          .key_type = NFT_TYPE_MARK,
                                          .data_type = NFT_TYPES(NFT_TYPE_IPV4, NFT_TYPE_SERVICE)});
    nft_chain_add_base(b, "out", "nat", NF_INET_LOCAL_OUT, -100, NF_ACCEPT);
    nft_rule_begin(b, "out");
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, 0);
    nft_expr_meta(b, NFT_META_L4PROTO, 1);
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 2);
    nft_expr_vmap(b, "services", 0);
    nft_rule_end(b);
    nft_rule_begin(b, "target");
    nft_expr_random(b, 2, 0, 0);
    nft_expr_lookup(b, "ends", 0, 4, false);
    nft_expr_dnat(b, NFPROTO_IPV4, 4, 5);
    nft_rule_end(b);
}

struct seen {
    int n;
    int gotos;
};
static int on_element(const struct nft_element_view *e, void *arg)
{
    struct seen *s = arg;
    s->n++;
    s->gotos += e->has_verdict && e->verdict == NFT_GOTO && streq(e->chain, "target");
    return 0;
}
static int count_name(const char *name, void *arg)
{
    ++*(int *)arg;
    return 0;
}

TEST(batches_and_reading_back)
{
    cleanup_buf struct buf data;
    struct nft_batch *b;
    uint32_t before = 0, after = 0;
    struct seen seen = {0};
    int chains = 0, sets = 0;

    setup();
    buf_init(&data, 256);
    b = nft_batch_new(nft, NFPROTO_IPV4, "skiff-test");
    assert_int_equal(nft_table_get(nft, NFPROTO_IPV4, "skiff-test", &data, NULL), -ENOENT);
    assert_int_equal(nft_generation(nft, &before, NULL), 0);
    table(b);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t key[3] = {htonl(0x0a600000 + i), IPPROTO_TCP, htons(80)}, slot = i,
                 end[2] = {htonl(0x0a800000 + i), htons(8080)};
        nft_element_add(
            b, &(struct nft_element){
                   .set = "ends", .key = &slot, .key_bytes = 4, .data = end, .data_bytes = 8});
        nft_element_add(b, &(struct nft_element){
                               .set = "services", .key = key, .key_bytes = 12, .chain = "target"});
    }
    must_commit(b);
    assert_true(nft_batch_is_empty(b));
    assert_int_equal(nft_generation(nft, &after, NULL), 0);
    assert_true(after != before);
    assert_int_equal(nft_table_get(nft, NFPROTO_IPV4, "skiff-test", &data, NULL), 0);
    assert_true(str_eq_z(buf_str(&data), "v1"));
    assert_int_equal(
        nft_element_each(nft, NFPROTO_IPV4, "skiff-test", "services", on_element, &seen, NULL), 0);
    assert_int_equal(seen.n, 5000);
    assert_int_equal(seen.gotos, 5000);
    assert_int_equal(nft_chain_each(nft, NFPROTO_IPV4, "skiff-test", count_name, &chains, NULL), 0);
    assert_int_equal(nft_set_each(nft, NFPROTO_IPV4, "skiff-test", count_name, &sets, NULL), 0);
    assert_int_equal(chains, 2);
    assert_int_equal(sets, 2);
    table(b); /* what exists is no error */
    must_commit(b);
    nft_table_remove(b);
    must_commit(b);
    nft_table_remove(b);
    must_commit(b);
    nft_batch_free(b);
}

TEST(a_policy_of_drop_is_found)
{
    struct nft_chain_found found;
    struct nft_batch *b;

    setup();
    b = nft_batch_new(nft, NFPROTO_IPV4, "skiff-test-drop");
    assert_int_equal(nft_find_drop_policy(nft, NFPROTO_IPV4, NF_INET_FORWARD, &found, NULL), 0);
    nft_table_add(b, STR_NULL);
    nft_chain_add_base(b, "FORWARD", "filter", NF_INET_FORWARD, 0, NF_DROP);
    must_commit(b);
    assert_int_equal(nft_find_drop_policy(nft, NFPROTO_IPV4, NF_INET_FORWARD, &found, NULL), 1);
    assert_string_equal(found.table, "skiff-test-drop");
    assert_string_equal(found.chain, "FORWARD");
    nft_table_remove(b);
    must_commit(b);
    nft_batch_free(b);
}

TEST(refusals_name_the_message)
{
    cleanup_error struct error *err = NULL;
    struct nft_batch *b;
    uint32_t slot = 7, end[2] = {0};

    setup();
    b = nft_batch_new(nft, NFPROTO_IPV4, "skiff-test");
    table(b);
    nft_element_delete(b, &(struct nft_element){.set = "ends", .key = &slot, .key_bytes = 4});
    assert_int_equal(nft_batch_commit(b, &err), -ENOENT);
    assert_non_null(
        strstr(error_message(err), "delete element of set ends of table ip skiff-test"));
    assert_non_null(strstr(error_message(err), "key 07000000"));
    error_clear(&err);
    /* nothing of it came into being */
    assert_int_equal(nft_table_get(nft, NFPROTO_IPV4, "skiff-test", NULL, NULL), -ENOENT);
    table(b);
    nft_rule_begin(b, "target");
    nft_expr_lookup(b, "nosuch", 0, NFT_NO_REG, false);
    nft_rule_end(b);
    assert_true(nft_batch_commit(b, &err) < 0);
    assert_non_null(strstr(error_message(err), "add rule to chain target"));
    assert_non_null(strstr(error_message(err), "(lookup)"));
    (void)end;
    nft_batch_free(b);
}

TEST(conntrack_delete_of_nothing)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;

    setup();
    assert_int_equal(netlink_open(NETLINK_NETFILTER, -1, &n, NULL), 0);
    struct conntrack_filter f = {.family = AF_INET, .protocol = IPPROTO_UDP, .orig_dst_port = 53};
    assert_int_equal(ip_parse(STR("10.96.0.10"), &f.orig_dst), 0);
    assert_int_equal(ip_parse(STR("10.128.0.10"), &f.reply_src), 0);
    if (conntrack_delete(n, &f, &err) < 0)
        fail_msg("%s", error_message(err));
    netlink_close(n);
    nft_close(nft);
    nft = NULL;
}

TEST_MAIN()
