#include "engine/image/challenge.h"
#include "base/buf.h"
#include "base/mem.h"
#include <stdlib.h>
#include <strings.h>

#define VALUE_MAX 4096

struct cursor {
    struct str s;
};

static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip(struct cursor *c, const char *set)
{
    while (c->s.n && *c->s.p && strchr(set, *c->s.p)) {
        c->s.p++;
        c->s.n--;
    }
}

static struct str token(struct cursor *c)
{
    struct str t = {c->s.p, 0};

    while (t.n < c->s.n && token_char(t.p[t.n]))
        t.n++;
    c->s.p += t.n;
    c->s.n -= t.n;
    return t;
}

/* A quoted string or a token; owned, NULL when unusable. */
static char *value(struct cursor *c)
{
    cleanup_buf struct buf b = {0};
    bool bad = false, closed = false;

    if (!c->s.n || *c->s.p != '"')
        return str_dup(token(c));
    buf_init(&b, VALUE_MAX);
    size_t i = 1;
    for (; i < c->s.n && !closed; i++) {
        char ch = c->s.p[i];
        if (ch == '"') {
            closed = true;
            continue;
        }
        if (ch == '\\' && i + 1 < c->s.n)
            ch = c->s.p[++i];
        bad |= (unsigned char)ch < ' ' || buf_add_char(&b, ch) < 0;
    }
    c->s.p += i;
    c->s.n -= i;
    return bad || !closed ? NULL : b.p ? buf_take(&b) : xstrdup("");
}

static enum challenge_scheme scheme_of(struct str word)
{
    return str_ieq_z(word, "bearer")  ? CHALLENGE_BEARER
           : str_ieq_z(word, "basic") ? CHALLENGE_BASIC
                                      : CHALLENGE_NONE;
}

static void keep(struct challenge *best, struct challenge *now)
{
    if (now->scheme > best->scheme && (now->scheme != CHALLENGE_BEARER || now->realm)) {
        challenge_fini(best);
        *best = *now;
    } else {
        challenge_fini(now);
    }
    *now = (struct challenge){0};
}

static void parameter(struct challenge *now, struct str name, char *text)
{
    char **to = str_ieq_z(name, "realm")     ? &now->realm
                : str_ieq_z(name, "service") ? &now->service
                : str_ieq_z(name, "scope")   ? &now->scope
                                             : NULL;

    if (to && !*to)
        *to = text;
    else
        free(text);
}

void challenge_parse(struct str header, struct challenge *best)
{
    struct cursor c = {header};
    struct challenge now = {0};

    for (;;) {
        skip(&c, " \t,=");
        struct str word = token(&c);
        if (!word.n && !c.s.n)
            break;
        if (!word.n) { /* not a token: go on behind it */
            c.s.p++;
            c.s.n--;
            continue;
        }
        skip(&c, " \t");
        if (c.s.n && *c.s.p == '=') {
            c.s.p++;
            c.s.n--;
            skip(&c, " \t");
            parameter(&now, word, value(&c));
        } else {
            keep(best, &now);
            now.scheme = scheme_of(word);
        }
    }
    keep(best, &now);
}

void challenge_fini(struct challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    *c = (struct challenge){0};
}
