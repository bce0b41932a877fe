/*
 * One binary, several processes: the first word, or the name we were called by, picks the role.
 * This table is the only list of them; help is printed from it.
 */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/agent.h"
#include "cli/down.h"
#include "cli/supervise.h"
#include "cli/up.h"
#include "engine/engine.h"
#include "engine/image/image_cli.h"
#include "server/server.h"
#include "kubelet/kubelet.h"
#include "overlay/overlay.h"
#include "proxy/proxy.h"
#include <stdio.h>

static int version_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)printf("skiff %s (Kubernetes v1.36 API, CRI v1)\n", SKIFF_VERSION);
    return 0;
}

static const struct command {
    const char *name;
    const char *stand_in[3]; /* names of links that mean this command */
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"up", {0}, up_main, "start a control plane and a node on this machine"},
    {"down", {0}, down_main, "stop pods and processes, keep all state"},
    {"reset", {0}, reset_main, "stop everything and remove every trace"},
    {"image", {0}, image_cli_main, "load, pull, list and remove images"},
    {"version", {0}, version_main, "print the version"},
    {"server", {"kube-apiserver"}, server_main, "embedded control plane"},
    {"engine", {"dockerd", "containerd"}, engine_main, "container engine (dockerd, containerd)"},
    {"kubelet", {"kubelet"}, kubelet_main, "node agent (kubelet)"},
    {"proxy", {"kube-proxy"}, proxy_main, "Service proxy (kube-proxy)"},
    {"overlay", {"flanneld", "mk-docker-opts.sh"}, overlay_main, "pod network (flanneld)"},
    {"agent", {0}, agent_main, "kubelet, proxy and overlay in one process"},
    {"node", {0}, supervise_main, "supervise this node's processes"},
};

static void usage(FILE *to)
{
    (void)fprintf(
        to,
        "skiff %s: a Kubernetes node in one binary\n\nUsage: skiff COMMAND [flags]\n\nCommands:\n",
        SKIFF_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    (void)fprintf(to, "\nskiff COMMAND --help lists a command's flags. Called by the name in "
                      "brackets, skiff takes that\n"
                      "program's own flags and files.\n");
}

static const struct command *find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (streq(word, commands[i].name))
            return &commands[i];
    return NULL;
}

static const struct command *find_stand_in(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        for (size_t k = 0; k < ARRAY_LEN(commands[i].stand_in); k++)
            if (commands[i].stand_in[k] && streq(name, commands[i].stand_in[k]))
                return &commands[i];
    return NULL;
}

static int unknown(const char *word)
{
    const char *names[ARRAY_LEN(commands)];
    const char *near;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    near = str_nearest(word, names, ARRAY_LEN(names));
    if (near)
        (void)fprintf(
            stderr, "skiff: unknown command \"%s\"; did you mean \"%s\"? (skiff help lists them)\n",
            word, near);
    else
        (void)fprintf(stderr, "skiff: unknown command \"%s\"; skiff help lists them\n", word);
    return 2;
}

int main(int argc, char **argv)
{
    const struct command *c = argc > 0 ? find_stand_in(path_basename(argv[0])) : NULL;

    if (c)
        return c->main(argc, argv);
    if (argc < 2 || streq(argv[1], "help") || streq(argv[1], "--help") || streq(argv[1], "-h")) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (streq(argv[1], "--version"))
        return version_main(0, NULL);
    c = find(argv[1]);
    return c ? c->main(argc - 1, argv + 1) : unknown(argv[1]);
}
