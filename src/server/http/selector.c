/* Label and field selectors as they come in a query. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/http/api.h"
#include <stdlib.h>

#define TERMS_MAX 64
enum op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS };
struct term {
    enum op op;
    bool field;
    char *key;
    char **values;
    size_t n_values;
};
struct selector {
    struct term terms[TERMS_MAX];
    size_t n;
};

void selector_free(struct selector *sel)
{
    if (!sel)
        return;
    for (size_t i = 0; i < sel->n; i++) {
        free(sel->terms[i].key);
        for (size_t k = 0; k < sel->terms[i].n_values; k++)
            free(sel->terms[i].values[k]);
        free(sel->terms[i].values);
    }
    free(sel);
}

bool selector_empty(const struct selector *sel)
{
    return !sel || sel->n == 0;
}

static void add_value(struct term *t, struct str v)
{
    t->values = xreallocarray(t->values, t->n_values + 1, sizeof *t->values);
    t->values[t->n_values++] = str_dup(str_trim(v));
}

/* Cuts at commas outside parentheses. */
static struct str next_term(struct str *rest)
{
    struct str out = *rest;
    int depth = 0;

    for (size_t i = 0; i < rest->n; i++) {
        depth += rest->p[i] == '(';
        depth -= rest->p[i] == ')';
        if (rest->p[i] != ',' || depth > 0)
            continue;
        out.n = i;
        rest->p += i + 1;
        rest->n -= i + 1;
        return out;
    }
    *rest = STR_NULL;
    return out;
}

static const char *find(struct str s, const char *what)
{
    return s.n ? memmem(s.p, s.n, what, strlen(what)) : NULL;
}

/* "key in (a,b)", "key notin (a,b)" */
static bool set_term(struct str s, const char *word, enum op op, struct term *t)
{
    const char *at = find(s, word), *open, *close;
    struct str list;

    if (!at)
        return false;
    open = memchr(at, '(', (size_t)(s.p + s.n - at));
    close = s.n && s.p[s.n - 1] == ')' ? s.p + s.n - 1 : NULL;
    if (!open || !close)
        return false;
    t->op = op;
    t->key = str_dup(str_trim((struct str){s.p, (size_t)(at - s.p)}));
    list = (struct str){open + 1, (size_t)(close - open - 1)};
    while (list.p)
        add_value(t, str_split(&list, ','));
    return true;
}

static void simple_term(struct str s, struct term *t)
{
    const char *at;

    if ((at = find(s, "!=")) || (at = find(s, "==")) || (at = find(s, "="))) {
        size_t skip = at[0] == '!' || (at + 1 < s.p + s.n && at[1] == '=') ? 2 : 1;

        t->op = at[0] == '!' ? OP_NOT_IN : OP_IN;
        t->key = str_dup(str_trim((struct str){s.p, (size_t)(at - s.p)}));
        add_value(t, (struct str){at + skip, (size_t)(s.p + s.n - at) - skip});
    } else if (s.n && s.p[0] == '!') {
        t->op = OP_NOT_EXISTS;
        t->key = str_dup(str_trim((struct str){s.p + 1, s.n - 1}));
    } else {
        t->op = OP_EXISTS;
        t->key = str_dup(s);
    }
}

static bool only(const char *text, const char *punctuation)
{
    for (; *text; text++)
        if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
            !(*text >= '0' && *text <= '9') && !strchr(punctuation, *text))
            return false;
    return true;
}

/* What upstream selects by, of all kinds together. */
static bool field_known(const char *path)
{
    static const char *const known[] = {"metadata.name",
                                        "metadata.namespace",
                                        "spec.nodeName",
                                        "spec.restartPolicy",
                                        "spec.schedulerName",
                                        "spec.serviceAccountName",
                                        "spec.hostNetwork",
                                        "spec.unschedulable",
                                        "spec.clusterIP",
                                        "spec.type",
                                        "spec.signerName",
                                        "status.phase",
                                        "status.podIP",
                                        "status.nominatedNodeName",
                                        "type",
                                        "reason",
                                        "reportingComponent",
                                        "involvedObject.kind",
                                        "involvedObject.namespace",
                                        "involvedObject.name",
                                        "involvedObject.uid",
                                        "involvedObject.apiVersion",
                                        "involvedObject.resourceVersion",
                                        "involvedObject.fieldPath"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (streq(path, known[i]))
            return true;
    return false;
}

/* A term read loosely could mean everything: to a delete of a collection that would be fatal. */
static bool term_valid(const struct term *t)
{
    if (!t->key || !t->key[0] || !only(t->key, t->field ? ".-_" : ".-_/"))
        return false;
    if (t->field)
        return t->op < OP_EXISTS;
    for (size_t i = 0; i < t->n_values; i++)
        if (strlen(t->values[i]) > 63 || !only(t->values[i], ".-_"))
            return false;
    return true;
}

static int parse_into(struct selector *sel, struct str text, bool field, struct api_status *st)
{
    while (text.p && text.n) {
        struct str s = str_trim(next_term(&text));
        struct term *t;

        if (!s.n)
            continue;
        if (sel->n == TERMS_MAX)
            return status_bad(st, "a selector has more than %d terms", TERMS_MAX);
        t = &sel->terms[sel->n++];
        t->field = field;
        if (field || (!set_term(s, " notin ", OP_NOT_IN, t) && !set_term(s, " in ", OP_IN, t)))
            simple_term(s, t);
        if (!term_valid(t))
            return status_bad(st, "unable to parse requirement: \"%.*s\" in a %s selector",
                              STR_FMT(s), field ? "field" : "label");
        if (field && !field_known(t->key))
            return status_bad(st, "field label not supported: %s", t->key);
    }
    return 0;
}

int selector_parse(struct str labels, struct str fields, struct selector **ret,
                   struct api_status *st)
{
    struct selector *sel;

    *ret = NULL;
    if (!labels.n && !fields.n)
        return 0;
    sel = xcalloc(1, sizeof *sel);
    if (parse_into(sel, labels, false, st) < 0 || parse_into(sel, fields, true, st) < 0) {
        selector_free(sel);
        return -1;
    }
    *ret = sel;
    return 0;
}

static const char *field_value(const json_t *o, const char *path)
{
    struct str rest = str_of(path);

    while (rest.p && o) {
        cleanup_free char *key = str_dup(str_split(&rest, '.'));

        o = json_object_get(o, key);
    }
    if (json_is_true(o))
        return "true";
    if (json_is_false(o) || streq(path, "spec.unschedulable") || streq(path, "spec.hostNetwork"))
        return "false";
    return json_is_string(o) ? json_string_value(o) : "";
}

static bool term_matches(const struct term *t, const json_t *o)
{
    const char *v =
        t->field
            ? field_value(o, t->key)
            : json_string_value(json_object_get(json_at(o, "metadata", "labels", NULL), t->key));
    bool in = false;

    for (size_t i = 0; v && i < t->n_values; i++)
        in |= streq(v, t->values[i]);
    switch (t->op) {
    case OP_IN:
        return in;
    case OP_NOT_IN:
        return !in;
    case OP_EXISTS:
        return v != NULL;
    case OP_NOT_EXISTS:
        return v == NULL;
    }
    return false;
}

bool selector_match(const struct selector *sel, const json_t *o)
{
    for (size_t i = 0; sel && i < sel->n; i++)
        if (!term_matches(&sel->terms[i], o))
            return false;
    return true;
}
