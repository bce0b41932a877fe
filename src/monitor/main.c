#include "monitor/monitor.h"
#include <string.h>
#include <unistd.h>

static void say(const char *z)
{
    ssize_t r = write(2, z, strlen(z));
    (void)r;
}

int monitor_fail(const char *what, int code)
{
    say("skiff-monitor: ");
    say(what);
    if (code) {
        say(": ");
        say(strerror(code));
    }
    say("\n");
    return 1;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && !strcmp(argv[1], "run"))
        return run_main(argc - 1, argv + 1);
    if (argc >= 2 && !strcmp(argv[1], "sandbox"))
        return sandbox_main(argc - 1, argv + 1);
    return monitor_fail("started by the engine, not by hand", 0) + 1;
}
