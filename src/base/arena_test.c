#include "base/arena.h"
#include "base/test.h"
TEST(alignment_and_growth)
{
    struct arena a;
    arena_init(&a, 64);
    for (size_t i = 1; i < 500; i++) {
        char *p = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)p % 8, 0);
        memset(p, (int)i, i);
    }
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    arena_reset(&a);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_fini(&a);
}
TEST_MAIN()
