#include "base/sha256.h"
#include "base/test.h"
#include <string.h>
TEST(known_answers)
{
    char hex[SHA256_HEX];
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
TEST(pieces_equal_whole)
{
    unsigned char data[1000], a[32], b[32];
    struct sha256 s;
    memset(data, 'x', sizeof data);
    sha256_init(&s);
    sha256_update(&s, data, sizeof data);
    sha256_final(&s, a);
    for (size_t step = 1; step < 130; step++) {
        sha256_init(&s);
        for (size_t i = 0; i < sizeof data; i += step)
            sha256_update(&s, data + i, step < sizeof data - i ? step : sizeof data - i);
        sha256_final(&s, b);
        assert_memory_equal(a, b, 32);
    }
}
TEST_MAIN()
