/* Services: defaults, address and port allocation, validation. */
#pragma once
#include "server/admission/allocator.h"
#include "server/admission/invalid.h"
struct service_pools {
    struct cluster *cluster;
    struct allocator ips, ports;
    char *cidr;
    int port_min, port_max;
};
int service_pools_init(struct service_pools *p, const struct admission_config *cfg,
                       struct error **err);
void service_pools_fini(struct service_pools *p);
/* Takes what existing Services hold; at start and when a bitmap claims a value nobody seems to
 * hold. */
void service_pools_recount(struct service_pools *p);
void service_released(struct service_pools *p, const json_t *service);
/* Pure: what needs no allocation. old is NULL on creation. */
void service_default(json_t *service, const json_t *old);
/* Allocates what is missing; causes are added when it cannot. */
void service_allocate(struct service_pools *p, const struct admission_request *r,
                      struct invalid *v);
void service_validate(struct invalid *v, const json_t *service, const json_t *old);
