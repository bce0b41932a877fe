/* Unit tests that register themselves, run by cmocka. One TEST_MAIN() in each *_test.c. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#define TEST_MAX 256
extern struct CMUnitTest test_registry[TEST_MAX];
extern size_t test_registry_n;
#define TEST(name)                                                                                 \
    static void test_##name(void **state_);                                                        \
    __attribute__((constructor)) static void test_register_##name(void)                            \
    {                                                                                              \
        assert_true(test_registry_n < TEST_MAX);                                                   \
        test_registry[test_registry_n++] =                                                         \
            (struct CMUnitTest){#name, test_##name, NULL, NULL, NULL};                             \
    }                                                                                              \
    static void test_##name(void **state_ __attribute__((unused)))
#define TEST_MAIN()                                                                                \
    struct CMUnitTest test_registry[TEST_MAX];                                                     \
    size_t test_registry_n;                                                                        \
    int main(void)                                                                                 \
    {                                                                                              \
        return _cmocka_run_group_tests(__FILE__, test_registry, test_registry_n, NULL, NULL);      \
    }
