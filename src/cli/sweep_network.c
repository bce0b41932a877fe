/* Links and nftables tables that carry our names. */
#include "cli/sweep.h"
int sweep_network(const struct layout *l, struct error **err)
{
    (void)l;
    (void)err;
    return 0;
}
