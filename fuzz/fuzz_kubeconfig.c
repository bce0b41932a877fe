#include "api/kubeconfig.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kubeconfig k = {0};
    if (kubeconfig_parse((struct str){(const char *)data, n}, "/", NULL, &k, NULL) == 0)
        kubeconfig_fini(&k);
    return 0;
}
