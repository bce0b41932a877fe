/* Static pod manifests and KubeletConfiguration files: YAML or JSON of whoever may write to the
 * node's files. */
#include "kubelet/kubelet.h"
#include "kubelet/source.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = {(const char *)data, n};
    struct error *err = NULL;
    struct kubelet_config c;
    K8s__Pod *p = NULL;

    log_set_level(LOG_LEVEL_ERROR);
    if (static_pod_parse(text, "manifest", "node", &p, &err) < 0)
        error_clear(&err);
    else
        object_free(p);
    kubelet_config_init(&c);
    if (kubelet_config_parse(&c, text, "config", &err) < 0)
        error_clear(&err);
    kubelet_config_fini(&c);
    return 0;
}
