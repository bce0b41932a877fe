/*
 * What engine and monitor say to one another over the monitor's socket (SOCK_SEQPACKET, "control"
 * in the container's run directory). One byte says what; answers are one byte, an errno. Both sides
 * come from one build.
 */
#pragma once
enum {
    CONTROL_ATTACH = 'A', /* 'A', CONTROL_IN|OUT|ERR; descriptors in that order by SCM_RIGHTS */
    CONTROL_RESIZE = 'W', /* 'W', columns low, high, rows low, high */
    CONTROL_REOPEN = 'L', /* the log */
    CONTROL_KILL = 'K',   /* 'K', signal; to the container's init, which is never a reused pid */
};
enum { CONTROL_IN = 1u << 0, CONTROL_OUT = 1u << 1, CONTROL_ERR = 1u << 2 };
