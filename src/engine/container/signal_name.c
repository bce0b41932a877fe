#include "engine/container/signal_name.h"
#include "base/str.h"
#include <signal.h>
#include <string.h>

/* "", "+3", "PLUS3" behind the name of a real-time signal. */
static int real_time(const char *rest, int base, char sign, const char *word, int fallback)
{
    int64_t n;
    struct str digits;

    if (!*rest)
        return base;
    if (*rest == sign)
        digits = str_of(rest + 1);
    else if (strstarts(rest, word))
        digits = str_of(rest + strlen(word));
    else
        return fallback;
    if (str_to_i64(digits, 0, 15, &n) < 0)
        return fallback;
    return sign == '+' ? base + (int)n : base - (int)n;
}

int signal_number(const char *name, int fallback)
{
    int64_t n;

    if (!name || !*name)
        return fallback;
    if (str_to_i64(str_of(name), 1, 64, &n) == 0)
        return (int)n;
    if (strstarts(name, "SIG"))
        name += 3;
    if (strstarts(name, "RTMIN"))
        return real_time(name + 5, 34, '+', "PLUS", fallback);
    if (strstarts(name, "RTMAX"))
        return real_time(name + 5, 64, '-', "MINUS", fallback);
    for (int i = 1; i < 32; i++)
        if (streq(sigabbrev_np(i), name))
            return i;
    if (streq(name, "IOT"))
        return SIGABRT;
    if (streq(name, "CLD"))
        return SIGCHLD;
    return streq(name, "POLL") ? SIGPOLL : fallback;
}
