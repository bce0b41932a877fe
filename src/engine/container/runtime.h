/* The OCI runtime binary: which one, how it is called, what it said. */
#pragma once
#include "base/error.h"
#include "base/flags.h"
#include "loop/process.h"

struct runtime {
    char *path;
    char *root;    /* --root: its state */
    char *version; /* first line of --version */
};
struct cgroups;
/* wanted: name, path or NULL. crun unless it cannot work here (said in one log line), then runc. */
int runtime_choose(const char *wanted, const char *exec_root, const struct cgroups *c,
                   struct runtime *ret, struct error **err);
void runtime_fini(struct runtime *r);
/* Global part of a command line: path, --root, --log; log may be NULL. Words are copied. */
void runtime_argv(const struct runtime *r, const char *log, bool systemd, struct flag_list *ret);
/* Last message in a runtime's JSON log; owned, NULL when there is none. */
char *runtime_log_message(const char *path);
/* As process_start for "RUNTIME args...". argv ends with NULL. */
int runtime_start(struct loop *l, const struct runtime *r, const char *const *args,
                  struct str input, process_done_fn done, void *arg, struct process **ret,
                  struct error **err);
