/* Environment of a container: services, envFrom, env, $(VAR) references. */
#pragma once
#include "kubelet/pod.h"
/* Replaces $(NAME) by lookup's answer, $$ by $; what is not known stays. Pure. */
char *env_expand(struct arena *a, const char *text,
                 const char *(*lookup)(const char *name, void *arg), void *arg);
struct env {
    struct arena *a;
    Runtime__V1__KeyValue **v;
    size_t n;
    struct env_services { /* only for references and appended where not overridden */
        Runtime__V1__KeyValue **v;
        size_t n;
    } services;
};
int env_build(struct arena *a, struct container *c, const char *sandbox_ip, struct env *ret,
              struct error **err);
const char *env_lookup(const char *name, void *env); /* for env_expand; NULL when unknown */
bool env_name_valid(const char *name);

/* service.c: what Services the variables are made from. False: not known yet. */
struct service_env;
struct service_env *service_env_start(struct kubelet *k);
void service_env_stop(struct service_env *s);
bool service_env_add(struct kubelet *k, const char *ns, bool all, struct env *e);
void env_service_set(struct env *e, const char *name, const char *value);
