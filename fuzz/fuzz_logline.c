#include "kubelet/log_reader.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = {(const char *)data, n};
    struct log_line l;
    while (rest.n)
        (void)log_line_parse(str_split(&rest, '\n'), &l);
    return 0;
}
