#include "base/map.h"
#include "base/test.h"
#include <stdio.h>
TEST(many_set_get_remove)
{
    struct map m;
    char key[16];
    map_init(&m);
    for (intptr_t i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "k%d", (int)i);
        assert_null(map_set(&m, key, (void *)(i + 1)));
    }
    for (intptr_t i = 0; i < 5000; i += 2) {
        (void)snprintf(key, sizeof key, "k%d", (int)i);
        assert_true(map_remove(&m, key) == (void *)(i + 1));
    }
    assert_int_equal(m.n, 2500);
    for (intptr_t i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "k%d", (int)i);
        assert_true(map_get(&m, key) == (i % 2 ? (void *)(i + 1) : NULL));
    }
    map_fini(&m, NULL);
}
TEST(churn_does_not_grow)
{
    struct map m;
    char key[16];
    map_init(&m);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)map_set(&m, key, &m);
        (void)map_remove(&m, key);
    }
    assert_int_equal(m.n, 0);
    assert_true(m.cap <= 64);
    map_fini(&m, NULL);
}
TEST(remove_while_iterating)
{
    struct map m;
    size_t it = 0, seen = 0;
    struct map_entry *e;
    map_init(&m);
    (void)map_set(&m, "a", &m);
    (void)map_set(&m, "b", &m);
    (void)map_set(&m, "", &m);
    while ((e = map_next(&m, &it))) {
        seen++;
        (void)map_remove(&m, e->key);
    }
    assert_int_equal(seen, 3);
    assert_int_equal(m.n, 0);
    map_fini(&m, NULL);
}
TEST_MAIN()
