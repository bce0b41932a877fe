/*
 * A container's log in the CRI format: "<RFC 3339 time with nine digits> stdout F line". Lines
 * longer than LOG_LINE_MAX and output that ends without a newline are marked P, so that a reader
 * can put the bytes together again exactly.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 16384

struct log {
    const char *path; /* NULL: output is not kept */
    int fd;
};
struct log_stream {
    const char *name; /* "stdout " with the blank */
    size_t have;
    char line[LOG_LINE_MAX];
};
/* 0 or an errno. Also after a rotation: the new file is opened before the old one is let go. */
int log_open(struct log *l, const char *path);
/* Splits what came into lines and writes those that are complete. */
void log_feed(struct log *l, struct log_stream *s, const char *p, size_t n);
void log_end(struct log *l, struct log_stream *s);
/* Decimal digits of v, exactly n. */
void log_digits(char *p, uint64_t v, int n);
