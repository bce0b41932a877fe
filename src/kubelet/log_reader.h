/*
 * CRI log files ("TIME STREAM TAG text"), read in pieces: tail, since, byte limit, with or without
 * times. Knows nothing of waiting: at the end of the file it says so, and can be asked again after
 * the file grew or was rotated.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/time.h"
struct log_options {
    bool timestamps;
    int64_t tail_lines;  /* < 0: all */
    int64_t limit_bytes; /* < 0: none */
    struct wall since;   /* zero: none */
    int streams;         /* bit 0 stdout, bit 1 stderr; 0: both */
};
struct log_reader;
int log_reader_open(const char *path, const struct log_options *o, struct log_reader **ret,
                    struct error **err);
/* Appends at most about max bytes of output to b. LOG_READER_END: all there is so far;
 * LOG_READER_LIMIT: the byte limit is reached. 0: there is more. */
#define LOG_READER_END 1
#define LOG_READER_LIMIT 2
int log_reader_read(struct log_reader *r, size_t max, struct buf *b);
/* At the end: was the file at path replaced by another? Then it is opened from its beginning. */
bool log_reader_rotated(struct log_reader *r);
void log_reader_close(struct log_reader *r); /* NULL accepted */
/* One line without its newline. False when it is not a CRI log line. */
struct log_line {
    struct wall time;
    struct str time_text, text;
    bool is_stderr, partial;
};
bool log_line_parse(struct str line, struct log_line *ret);
