/* Small helpers of the printers. */
#pragma once
#include "base/mem.h"
#include "base/time.h"
#include "codec/json.h"
#include "server/registry/resource.h"
#include <stdio.h>
#include <stdlib.h>
#define AGE_COLUMN                                                                                 \
    {                                                                                              \
        "Age", "string", "", "Time since the object was created.", 0                               \
    }
#define NAME_COLUMN                                                                                \
    {                                                                                              \
        "Name", "string", "name", "Name must be unique within a namespace.", 0                     \
    }
static inline void cell(json_t *cells, const char *text)
{
    json_t *v = json_string(text ? text : "");

    (void)json_array_append_new(cells, v ? v : json_string(""));
}
static inline void cell_int(json_t *cells, int64_t v)
{
    (void)json_array_append_new(cells, json_integer(v));
}
/* Takes text; "" becomes fallback. */
static inline void cell_take(json_t *cells, char *text, const char *fallback)
{
    cell(cells, text[0] ? text : fallback);
    free(text);
}
static inline void cell_name(json_t *cells, const json_t *o)
{
    cell(cells, json_text_at(o, "metadata", "name", NULL));
}
static inline void cell_age(json_t *cells, const json_t *o)
{
    print_age(json_text_at(o, "metadata", "creationTimestamp", NULL), cells);
}
/* Appends word, with a comma before it when something stands there already. */
static inline void join(struct buf *b, const char *word)
{
    if (b->n)
        (void)buf_add_char(b, ',');
    (void)buf_add_z(b, word);
}
static inline void buf_small(struct buf *b)
{
    buf_init(b, 4096);
}
/* "a=b,c=d" of an object of strings. */
static inline void join_labels(struct buf *b, const json_t *labels)
{
    const char *k;
    json_t *v;

    json_object_foreach((json_t *)labels, k, v)
    {
        join(b, k);
        (void)buf_printf(b, "=%s", json_is_string(v) ? json_string_value(v) : "");
    }
}
