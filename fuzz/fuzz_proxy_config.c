/* KubeProxyConfiguration documents. */
#include "proxy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_settings s;

    if (size > 65536)
        return 0;
    proxy_settings_init(&s);
    (void)proxy_settings_read(&s, (struct str){(const char *)data, size}, "configuration", NULL);
    proxy_settings_fini(&s);
    return 0;
}
