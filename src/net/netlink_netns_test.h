/* For tests that need a network namespace of their own: enters a new one, or ends the program with
 * 77 (skipped). */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static inline void test_enter_netns(void)
{
    if (unshare(CLONE_NEWNET) < 0) {
        (void)fprintf(stderr, "skipped: a network namespace cannot be made here: %s\n",
                      strerror(errno));
        exit(77);
    }
}
/* A second namespace; we stay where we are. */
static inline int test_new_netns(void)
{
    int back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;
    test_enter_netns();
    fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (setns(back, CLONE_NEWNET) < 0)
        abort();
    (void)close(back);
    return fd;
}
