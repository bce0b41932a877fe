#include "base/test.h"
#include "proxy/element.h"
#include <stdio.h>
#include <stdlib.h>

static char text[256];

static void on_gone(const struct element *e, void *arg)
{
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "-%u ", e->key[3]);
}

static void on_added(const struct element *e, void *arg)
{
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "+%u=%u ", e->key[3],
                   e->data[0]);
}

static void put(struct elements *l, uint8_t key, uint8_t data)
{
    struct element *e = elements_add(l, MAP_NO_ENDPOINTS, 0);
    e->key[3] = key;
    e->data[0] = data;
}

TEST(packed_lists_and_their_difference)
{
    struct elements l = {0};
    struct packed p;
    struct element e;
    size_t at = 0, n = 0;

    put(&l, 5, 1);
    put(&l, 2, 0);
    put(&l, 9, 1);
    put(&l, 2, 0);
    elements_sort(&l);
    assert_int_equal(l.n, 3);
    p = elements_pack(&l);
    while (packed_next(&p, &at, &e, NULL))
        assert_memory_equal(&e, &l.v[n++], sizeof(e));
    assert_int_equal(n, 3);
    elements_diff(&p, &l, on_gone, on_added, NULL);
    assert_string_equal(text, "");
    l.n = 0;
    put(&l, 2, 1); /* changed */
    put(&l, 7, 1); /* new; 5 is gone; 9 stays */
    put(&l, 9, 1);
    elements_sort(&l);
    elements_diff(&p, &l, on_gone, on_added, NULL);
    assert_string_equal(text, "-2 -5 +2=1 +7=1 ");
    elements_fini(&l);
    free(p.p);
}

TEST_MAIN()
