#include "base/mem.h"
#include "engine/image/store_private.h"

void image_strings_add(struct image_strings *l, const char *text)
{
    l->v = xreallocarray(l->v, l->n + 1, sizeof(*l->v));
    l->v[l->n++] = xstrdup(text);
}

void image_strings_fini(struct image_strings *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct image_strings){0};
}

bool image_strings_has(const struct image_strings *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->v[i], text))
            return true;
    return false;
}

bool image_strings_remove(struct image_strings *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->v[i], text)) {
            free(l->v[i]);
            memmove(l->v + i, l->v + i + 1, (l->n - i - 1) * sizeof(*l->v));
            l->n--;
            return true;
        }
    return false;
}

void image_strings_copy(struct image_strings *to, const struct image_strings *from)
{
    *to = (struct image_strings){0};
    for (size_t i = 0; i < from->n; i++)
        image_strings_add(to, from->v[i]);
}
