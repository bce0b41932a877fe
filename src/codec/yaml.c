#include "codec/yaml.h"
#include "base/map.h"
#include "base/cleanup.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#define DEPTH_MAX 64

struct reader {
    yaml_parser_t parser;
    struct map anchors;
    const char *what;
    struct error **err;
    size_t nodes, nodes_max;
};

static int fail(struct reader *r, const yaml_mark_t *at, const char *problem)
{
    return error_set(r->err, EINVAL, "%s is not valid YAML: line %zu, column %zu: %s", r->what,
                     at->line + 1, at->column + 1, problem);
}

static int next(struct reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e))
        return 0;
    return fail(r, &r->parser.problem_mark, r->parser.problem ? r->parser.problem : "syntax error");
}

static bool word_in(struct str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(s, words[i]))
            return true;
    return false;
}

static json_t *number(struct str s)
{
    bool digits_only = true, floating = false;
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    char text[64], *end;
    int64_t v;

    if (s.n >= sizeof text || i == s.n)
        return NULL;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (i == 0 && s.n > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'o')) {
        long long parsed;

        errno = 0;
        parsed = strtoll(text + 2, &end, s.p[1] == 'x' ? 16 : 8);
        return *end || errno || text[2] == '-' || text[2] == '+' ? NULL : json_integer(parsed);
    }
    for (; i < s.n; i++) {
        char c = s.p[i];

        if (c >= '0' && c <= '9')
            continue;
        digits_only = false;
        floating |= c == '.' || c == 'e' || c == 'E';
        if (!(c == '.' || c == 'e' || c == 'E' || ((c == '-' || c == '+') && floating)))
            return NULL;
    }
    if (digits_only && str_to_i64(s, INT64_MIN, INT64_MAX, &v) == 0)
        return json_integer(v);
    if (!floating)
        return NULL;
    double d = strtod(text, &end);
    return end == text || *end || !isfinite(d) ? NULL : json_real(d);
}

static json_t *plain(struct str s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const yes[] = {"true", "True", "TRUE"};
    static const char *const no[] = {"false", "False", "FALSE"};
    json_t *n;

    if (word_in(s, nulls, ARRAY_LEN(nulls)))
        return json_null();
    if (word_in(s, yes, ARRAY_LEN(yes)))
        return json_true();
    if (word_in(s, no, ARRAY_LEN(no)))
        return json_false();
    n = number(s);
    return n ? n : json_stringn(s.p, s.n);
}

static json_t *scalar(const yaml_event_t *e)
{
    struct str s = {(const char *)e->data.scalar.value, e->data.scalar.length};
    const char *tag = (const char *)e->data.scalar.tag;

    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || streq(tag, YAML_STR_TAG))
        return json_stringn(s.p, s.n);
    return plain(s);
}

static int node(struct reader *r, yaml_event_t *e, unsigned depth, json_t **ret);

static int sequence(struct reader *r, unsigned depth, json_t *array)
{
    for (;;) {
        yaml_event_t e;
        json_t *item = NULL;
        int rc = next(r, &e);

        if (rc < 0)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        rc = node(r, &e, depth + 1, &item);
        yaml_event_delete(&e);
        if (rc < 0)
            return rc;
        (void)json_array_append_new(array, item);
    }
}

static int merge_into(struct reader *r, const yaml_mark_t *at, json_t *object, json_t *value)
{
    size_t i;
    json_t *item;

    if (json_is_object(value))
        return json_object_update_missing(object, value), 0;
    if (!json_is_array(value))
        return fail(r, at, "\"<<\" wants a mapping or a list of mappings");
    json_array_foreach(value, i, item)
    {
        if (!json_is_object(item))
            return fail(r, at, "\"<<\" wants a mapping or a list of mappings");
        (void)json_object_update_missing(object, item);
    }
    return 0;
}

static int add_pair(struct reader *r, const yaml_event_t *key, json_t *object, json_t *value)
{
    const char *name = (const char *)key->data.scalar.value;

    if (key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && streq(name, "<<"))
        return merge_into(r, &key->start_mark, object, value);
    if (strlen(name) != key->data.scalar.length)
        return fail(r, &key->start_mark, "a key contains a NUL byte");
    if (json_object_get(object, name)) {
        char problem[160];

        (void)snprintf(problem, sizeof problem, "key \"%.100s\" is given twice", name);
        return fail(r, &key->start_mark, problem);
    }
    (void)json_object_set(object, name, value);
    return 0;
}

static int mapping(struct reader *r, unsigned depth, json_t *object)
{
    for (;;) {
        yaml_event_t key, e;
        json_t *value = NULL;
        int rc = next(r, &key);

        if (rc < 0)
            return rc;
        if (key.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&key);
            return 0;
        }
        if (key.type != YAML_SCALAR_EVENT) {
            rc = fail(r, &key.start_mark, "a mapping key must be a plain word");
        } else {
            rc = next(r, &e);
            if (rc == 0) {
                rc = node(r, &e, depth + 1, &value);
                yaml_event_delete(&e);
            }
        }
        if (rc == 0)
            rc = add_pair(r, &key, object, value);
        json_decref(value);
        yaml_event_delete(&key);
        if (rc < 0)
            return rc;
    }
}

static size_t count_nodes(const json_t *v)
{
    size_t n = 1, i;
    const char *k;
    json_t *item;

    json_array_foreach((json_t *)v, i, item) n += count_nodes(item);
    json_object_foreach((json_t *)v, k, item) n += count_nodes(item);
    return n;
}

static void remember(struct reader *r, const yaml_char_t *anchor, json_t *v)
{
    if (anchor)
        json_decref(map_set(&r->anchors, (const char *)anchor, json_incref(v)));
}

static int alias(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    json_t *v = map_get(&r->anchors, (const char *)e->data.alias.anchor);

    if (!v)
        return fail(r, &e->start_mark, "an alias names an anchor that is not there");
    r->nodes += count_nodes(v);
    if (r->nodes > r->nodes_max)
        return fail(r, &e->start_mark, "aliases make the document too large");
    *ret = json_deep_copy(v);
    return 0;
}

static int node(struct reader *r, yaml_event_t *e, unsigned depth, json_t **ret)
{
    json_t *v = NULL;
    int rc = 0;

    if (depth > DEPTH_MAX)
        return fail(r, &e->start_mark, "nested deeper than 64 levels");
    if (++r->nodes > r->nodes_max)
        return fail(r, &e->start_mark, "too many values");
    switch ((int)e->type) {
    case YAML_SCALAR_EVENT:
        v = scalar(e);
        if (!v)
            return fail(r, &e->start_mark, "text is not valid UTF-8");
        remember(r, e->data.scalar.anchor, v);
        break;
    case YAML_SEQUENCE_START_EVENT:
        v = json_array();
        rc = sequence(r, depth, v);
        if (rc == 0)
            remember(r, e->data.sequence_start.anchor, v);
        break;
    case YAML_MAPPING_START_EVENT:
        v = json_object();
        rc = mapping(r, depth, v);
        if (rc == 0)
            remember(r, e->data.mapping_start.anchor, v);
        break;
    case YAML_ALIAS_EVENT:
        return alias(r, e, ret);
    default:
        return fail(r, &e->start_mark, "a value was expected");
    }
    if (rc < 0) {
        json_decref(v);
        return rc;
    }
    *ret = v;
    return 0;
}

static void forget(void *v)
{
    json_decref(v);
}

/* One event of the stream; 1 at its end. Documents are appended to out. */
static int stream_event(struct reader *r, json_t *out)
{
    yaml_event_t e;
    json_t *doc = NULL;
    int rc = next(r, &e);

    if (rc < 0)
        return rc;
    switch ((int)e.type) {
    case YAML_STREAM_END_EVENT:
        rc = 1;
        break;
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    case YAML_DOCUMENT_START_EVENT:
        map_clear(&r->anchors, forget);
        break;
    default:
        rc = node(r, &e, 0, &doc);
        if (rc == 0)
            (void)json_array_append_new(out, doc);
        break;
    }
    yaml_event_delete(&e);
    return rc;
}

static int parse_stream(struct str text, size_t max_bytes, const char *what, json_t **ret,
                        struct error **err)
{
    struct reader r = {.what = what, .err = err, .nodes_max = max_bytes / 8 + 16};
    json_t *out;
    int rc;

    if (text.n > max_bytes)
        return error_set(err, EFBIG, "%s is larger than the limit of %zu bytes", what, max_bytes);
    if (!yaml_parser_initialize(&r.parser))
        return error_set(err, ENOMEM, "%s: out of memory", what);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    map_init(&r.anchors);
    out = json_array();
    do
        rc = stream_event(&r, out);
    while (rc == 0);
    map_fini(&r.anchors, forget);
    yaml_parser_delete(&r.parser);
    if (rc < 0) {
        json_decref(out);
        return rc;
    }
    *ret = out;
    return 0;
}

int yaml_parse(struct str text, size_t max_bytes, const char *what, json_t **ret,
               struct error **err)
{
    json_t *all;
    int rc = parse_stream(text, max_bytes, what, &all, err);

    if (rc < 0)
        return rc;
    if (json_array_size(all) > 1) {
        json_decref(all);
        return error_set(err, EINVAL, "%s holds more than one YAML document; one is expected",
                         what);
    }
    *ret = json_array_size(all) ? json_incref(json_array_get(all, 0)) : json_null();
    json_decref(all);
    return 0;
}

int yaml_parse_all(struct str text, size_t max_bytes, const char *what, json_t **ret,
                   struct error **err)
{
    json_t *all;
    int rc = parse_stream(text, max_bytes, what, &all, err);

    if (rc < 0)
        return rc;
    for (size_t i = json_array_size(all); i > 0; i--)
        if (json_is_null(json_array_get(all, i - 1)))
            (void)json_array_remove(all, i - 1);
    *ret = all;
    return 0;
}

static int emit_buf(void *arg, unsigned char *p, size_t n)
{
    return buf_add(arg, p, n) == 0;
}

static void emit(yaml_emitter_t *em, const json_t *v);

static void emit_text(yaml_emitter_t *em, const char *p, size_t n, bool quoted)
{
    yaml_event_t e;

    (void)yaml_scalar_event_initialize(
        &e, NULL, NULL, (const yaml_char_t *)p, (int)n, !quoted, quoted,
        quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
    (void)yaml_emitter_emit(em, &e);
}

/* Quotes what would be read back as something else than text. */
static void emit_string(yaml_emitter_t *em, struct str s)
{
    json_t *back = plain(s);
    bool other = !json_is_string(back);
    yaml_event_t e;

    json_decref(back);
    if (other || !s.n) {
        emit_text(em, s.p, s.n, true);
        return;
    }
    (void)yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s.p, (int)s.n, 1, 1,
                                       memchr(s.p, '\n', s.n) ? YAML_LITERAL_SCALAR_STYLE
                                                              : YAML_ANY_SCALAR_STYLE);
    (void)yaml_emitter_emit(em, &e);
}

static void emit_container(yaml_emitter_t *em, const json_t *v)
{
    yaml_event_t e;
    const char *k;
    json_t *item;
    size_t i;

    if (json_is_object(v)) {
        (void)yaml_mapping_start_event_initialize(&e, NULL, NULL, 1,
                                                  json_object_size(v) ? YAML_BLOCK_MAPPING_STYLE
                                                                      : YAML_FLOW_MAPPING_STYLE);
        (void)yaml_emitter_emit(em, &e);
        json_object_foreach((json_t *)v, k, item)
        {
            emit_string(em, str_of(k));
            emit(em, item);
        }
        (void)yaml_mapping_end_event_initialize(&e);
    } else {
        (void)yaml_sequence_start_event_initialize(&e, NULL, NULL, 1,
                                                   json_array_size(v) ? YAML_BLOCK_SEQUENCE_STYLE
                                                                      : YAML_FLOW_SEQUENCE_STYLE);
        (void)yaml_emitter_emit(em, &e);
        json_array_foreach((json_t *)v, i, item) emit(em, item);
        (void)yaml_sequence_end_event_initialize(&e);
    }
    (void)yaml_emitter_emit(em, &e);
}

static void emit(yaml_emitter_t *em, const json_t *v)
{
    if (json_is_string(v)) {
        emit_string(em, (struct str){json_string_value(v), json_string_length(v)});
    } else if (json_is_object(v) || json_is_array(v)) {
        emit_container(em, v);
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY);

        emit_text(em, text, strlen(text), false);
        free(text);
    }
}

int yaml_write(const json_t *v, struct buf *b)
{
    yaml_emitter_t em;
    yaml_event_t e;

    if (!yaml_emitter_initialize(&em))
        return -ENOMEM;
    yaml_emitter_set_output(&em, emit_buf, b);
    yaml_emitter_set_unicode(&em, 1);
    yaml_emitter_set_width(&em, -1);
    (void)yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING);
    (void)yaml_emitter_emit(&em, &e);
    (void)yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1);
    (void)yaml_emitter_emit(&em, &e);
    emit(&em, v);
    (void)yaml_document_end_event_initialize(&e, 1);
    (void)yaml_emitter_emit(&em, &e);
    (void)yaml_stream_end_event_initialize(&e);
    (void)yaml_emitter_emit(&em, &e);
    yaml_emitter_delete(&em);
    return b->overflowed ? -EMSGSIZE : 0;
}
