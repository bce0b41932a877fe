#include "net/http.h"

struct str http_headers_get(struct http_headers h, const char *name)
{
    for (size_t i = 0; i < h.n; i++)
        if (str_ieq_z(h.v[i].name, name))
            return h.v[i].value;
    return STR_NULL;
}

bool http_headers_has(struct http_headers h, const char *name)
{
    return http_headers_get(h, name).p != NULL;
}

bool http_headers_has_token(struct http_headers h, const char *name, const char *token)
{
    for (size_t i = 0; i < h.n; i++) {
        if (!str_ieq_z(h.v[i].name, name))
            continue;
        for (struct str rest = h.v[i].value; rest.p;)
            if (str_ieq_z(str_trim(str_split(&rest, ',')), token))
                return true;
    }
    return false;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {414, "Request URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Requested Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Entity"},
        {425, "Too Early"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Unknown";
}

bool http_content_type_is(struct str value, const char *type)
{
    return str_ieq_z(str_trim(str_split(&value, ';')), type);
}

/* Media type against a range of an Accept header, whole or with wildcards. */
static bool range_matches(struct str range, struct str type)
{
    struct str major = type;

    if (str_eq_z(range, "*/*") || str_eq_z(range, "*"))
        return true;
    major = str_split(&major, '/');
    if (str_ends(range, STR("/*")))
        return range.n - 2 == major.n && strncasecmp(range.p, major.p, major.n) == 0;
    return range.n == type.n && strncasecmp(range.p, type.p, type.n) == 0;
}

static bool refused(struct str params)
{
    while (params.p) {
        struct str p = str_trim(str_split(&params, ';'));

        if (p.n >= 3 && (p.p[0] | 32) == 'q' && p.p[1] == '=' && p.p[2] == '0' &&
            (p.n == 3 || strspn(p.p + 3, ".0") >= p.n - 3))
            return true;
    }
    return false;
}

bool http_accepts(struct str accept, const char *type)
{
    if (!str_trim(accept).n)
        return true;
    while (accept.p) {
        struct str item = str_split(&accept, ',');
        struct str range = str_trim(str_split(&item, ';'));

        if (range_matches(range, str_of(type)) && !refused(item))
            return true;
    }
    return false;
}
