/* resolv.conf of a pod. */
#pragma once
#include "kubelet/pod.h"
Runtime__V1__DNSConfig *pod_dns(struct arena *a, struct pod *p, struct error **err);
/* Adds servers, searches and options of a resolv.conf text. */
void dns_parse(struct arena *a, struct str text, Runtime__V1__DNSConfig *d);
char *pod_hostname(struct arena *a, struct pod *p);
char *pod_cgroup_parent(struct arena *a, struct pod *p); /* "/kubepods/burstable/podUID" */
