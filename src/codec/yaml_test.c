#include "codec/yaml.h"
#include "base/test.h"
#include <errno.h>
#include <stdlib.h>
static void expect(const char *yaml, const char *json)
{
    cleanup_error struct error *err = NULL;
    cleanup_json json_t *v = NULL;
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(yaml_parse_all(str_of(yaml), 10000, "text", &v, &err), 0);
    assert_int_equal(json_write(v, &b), 0);
    assert_string_equal(b.p, json);
    buf_fini(&b);
}
TEST(kinds_of_values)
{
    expect(
        "a: 1\nb: -1.5\nc: true\nd: yes\ne: \"1\"\nf: ~\ng:\nh: 0x1f\ni: 1e3\nj: 1.2.3\nk: 0755x\n",
        "[{\"a\":1,\"b\":-1.5,\"c\":true,\"d\":\"yes\",\"e\":\"1\",\"f\":null,\"g\":null,\"h\":31,"
        "\"i\":1000.0,\"j\":\"1.2.3\",\"k\":\"0755x\"}]");
    expect("# nothing\n---\n---\na: [1, {b: c}]\n---\n- x\n",
           "[{\"a\":[1,{\"b\":\"c\"}]},[\"x\"]]");
    expect("{\"a\": {\"b\": [1, 2]}}", "[{\"a\":{\"b\":[1,2]}}]");
    expect("a: &x {p: 1}\nb: *x\nc:\n  <<: *x\n  q: 2\n",
           "[{\"a\":{\"p\":1},\"b\":{\"p\":1},\"c\":{\"p\":1,\"q\":2}}]");
}
static void refuse(const char *yaml, const char *text)
{
    struct error *err = NULL;
    json_t *v = NULL;
    assert_int_equal(yaml_parse(str_of(yaml), 3000, "f.yml", &v, &err), -EINVAL);
    assert_null(v);
    if (!strstr(error_message(err), text))
        fail_msg("\"%s\" lacks \"%s\"", error_message(err), text);
    error_clear(&err);
}
TEST(errors_name_line_and_cause)
{
    refuse("a: b\n c: d\n", "f.yml is not valid YAML: line 2");
    refuse("a: 1\na: 2\n", "line 2, column 1: key \"a\" is given twice");
    refuse("a: *nope\n", "anchor that is not there");
    refuse("a: 1\n---\nb: 2\n", "more than one YAML document");
    refuse("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c "
           "[*b,*b,*b,*b,*b,*b,*b,*b]\n",
           "too large");
    char deep[200] = "";
    memset(deep, '[', 100);
    refuse(deep, "deeper than 64");
}
TEST(written_text_reads_back)
{
    static const char in[] =
        "{\"a\":\"true\",\"b\":\"12\",\"c\":[],\"d\":{},\"e\":\"two\\nlines\\n\",\"f\":\"\",\"g\":["
        "{\"h\":null}],\"i\":\"a: b #c\"}";
    cleanup_json json_t *v = NULL, *back = NULL;
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(json_parse(str_of(in), 10000, "t", &v, NULL), 0);
    assert_int_equal(yaml_write(v, &b), 0);
    assert_int_equal(yaml_parse(buf_str(&b), 10000, "t", &back, NULL), 0);
    assert_true(json_equal(v, back));
    buf_fini(&b);
}
TEST(json_limits)
{
    struct error *err = NULL;
    json_t *v;
    assert_int_equal(json_parse(STR("{\"a\":1,\"a\":2}"), 100, "body", &v, &err), -EINVAL);
    error_clear(&err);
    assert_int_equal(json_parse(STR("[1,2,3]"), 3, "body", &v, &err), -EFBIG);
    assert_string_equal(error_message(err), "body is larger than the limit of 3 bytes");
    error_clear(&err);
}
TEST_MAIN()
