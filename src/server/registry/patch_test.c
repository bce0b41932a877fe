#include "server/registry/patch.h"
#include "base/test.h"
#include "codec/json.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
typedef int (*apply_fn)(const json_t *, const json_t *, json_t **, struct error **);
static int strategic(const json_t *o, const json_t *p, json_t **ret, struct error **err)
{
    return patch_strategic(o, p, "Pod", ret, err);
}
static json_t *parse(const char *text)
{
    json_t *v = NULL;
    char *copy = strdup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    assert_int_equal(json_parse(str_of(copy), 100000, text, &v, NULL), 0);
    free(copy);
    return v;
}
static void expect(apply_fn fn, const char *object, const char *patch, const char *want)
{
    cleanup_json json_t *o = parse(object), *before = parse(object), *p = parse(patch),
                        *w = parse(want), *out = NULL;
    assert_int_equal(fn(o, p, &out, NULL), 0);
    if (!json_equal(out, w)) {
        char *got = json_dumps(out, JSON_COMPACT);
        fail_msg("%s + %s = %s", object, patch, got);
    }
    assert_true(json_equal(o, before)); /* the original is never touched */
}
static void refuse(apply_fn fn, const char *object, const char *patch, int code, const char *text)
{
    cleanup_json json_t *o = parse(object), *p = parse(patch), *out = NULL;
    struct error *err = NULL;
    assert_int_equal(fn(o, p, &out, &err), code);
    assert_null(out);
    assert_non_null(strstr(error_message(err), text));
    error_clear(&err);
}
/* Examples of RFC 7386, appendix A. */
TEST(merge_patch_of_the_rfc)
{
    expect(patch_merge, "{'a':'b'}", "{'a':'c'}", "{'a':'c'}");
    expect(patch_merge, "{'a':'b'}", "{'a':null}", "{}");
    expect(patch_merge, "{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}");
    expect(patch_merge, "{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}");
    expect(patch_merge, "{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}");
    refuse(patch_merge, "{}", "[1]", -EINVAL, "must be a JSON object");
}
TEST(json_patch)
{
    expect(patch_json, "{'a':[1,2]}", "[{'op':'add','path':'/a/1','value':9}]", "{'a':[1,9,2]}");
    expect(patch_json, "{'a':[1]}", "[{'op':'add','path':'/a/-','value':2}]", "{'a':[1,2]}");
    expect(patch_json, "{'a/b':{'~c':1}}", "[{'op':'replace','path':'/a~1b/~0c','value':2}]",
           "{'a/b':{'~c':2}}");
    expect(patch_json, "{'a':1}", "[{'op':'move','from':'/a','path':'/b'}]", "{'b':1}");
    expect(patch_json, "{'a':{'x':1}}", "[{'op':'copy','from':'/a','path':'/b'}]",
           "{'a':{'x':1},'b':{'x':1}}");
    expect(patch_json, "{'a':1}",
           "[{'op':'test','path':'/a','value':1},{'op':'remove','path':'/a'}]", "{}");
    refuse(patch_json, "{'a':1}", "[{'op':'test','path':'/a','value':2}]", -ENOENT,
           "testing value /a failed");
    refuse(patch_json, "{}", "[{'op':'remove','path':'/a'}]", -ENOENT, "missing path: /a");
    refuse(patch_json, "{}", "[{'op':'replace','path':'/a','value':1}]", -ENOENT,
           "missing key: /a");
    refuse(patch_json, "{'a':[]}", "[{'op':'add','path':'/a/5','value':1}]", -EINVAL,
           "not within the array");
    refuse(patch_json, "{}", "[{'op':'leap','path':'/a','value':1}]", -EINVAL, "is not known");
    refuse(patch_json, "{}", "{}", -EINVAL, "must be an array");
}
TEST(strategic_lists_merge_by_key)
{
    expect(strategic, "{'spec':{'containers':[{'name':'a','image':'x'},{'name':'b'}]}}",
           "{'spec':{'containers':[{'name':'a','image':'y'},{'name':'c'}]}}",
           "{'spec':{'containers':[{'name':'a','image':'y'},{'name':'b'},{'name':'c'}]}}");
    expect(strategic, "{'spec':{'containers':[{'name':'a'},{'name':'b'}]}}",
           "{'spec':{'containers':[{'$patch':'delete','name':'a'}]}}",
           "{'spec':{'containers':[{'name':'b'}]}}");
    expect(strategic, "{'spec':{'containers':[{'name':'a','env':[{'name':'X','value':'1'}]}]}}",
           "{'spec':{'containers':[{'name':'a','env':[{'name':'Y','value':'2'}]}]}}",
           "{'spec':{'containers':[{'name':'a','env':[{'name':'X','value':'1'},{'name':'Y','value':"
           "'2'}]}]}}");
    expect(strategic, "{'spec':{'ports':[{'port':80,'nodePort':1}]}}",
           "{'spec':{'ports':[{'port':80,'targetPort':8}]}}",
           "{'spec':{'ports':[{'port':80,'nodePort':1,'targetPort':8}]}}");
    expect(strategic, "{'spec':{'tolerations':[{'key':'a'}]}}",
           "{'spec':{'tolerations':[{'key':'b'}]}}", "{'spec':{'tolerations':[{'key':'b'}]}}");
    expect(strategic, "{'metadata':{'finalizers':['a','b']}}",
           "{'metadata':{'finalizers':['c','a']}}", "{'metadata':{'finalizers':['a','b','c']}}");
}
TEST(strategic_directives)
{
    expect(strategic, "{'metadata':{'finalizers':['a','b']}}",
           "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a']}}",
           "{'metadata':{'finalizers':['b']}}");
    expect(strategic, "{'spec':{'containers':[{'name':'a'},{'name':'b'}]}}",
           "{'spec':{'$setElementOrder/containers':[{'name':'b'},{'name':'a'}]}}",
           "{'spec':{'containers':[{'name':'b'},{'name':'a'}]}}");
    expect(strategic, "{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{}}}}",
           "{'spec':{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}}",
           "{'spec':{'strategy':{'type':'Recreate'}}}");
    expect(strategic, "{'a':{'x':1}}", "{'a':{'$patch':'replace','y':2}}", "{'a':{'y':2}}");
    expect(strategic, "{'spec':{'containers':[{'name':'a'}]}}",
           "{'spec':{'containers':[{'$patch':'replace'},{'name':'z'}]}}",
           "{'spec':{'containers':[{'name':'z'}]}}");
}
TEST_MAIN()
