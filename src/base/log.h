/*
 * One line per fact: level, module, message, key=value pairs. To stderr; with systemd's "<N>"
 * prefix when stderr is the journal, with an RFC 3339 time when it is not. The last LOG_RING lines
 * of warn and error stay in memory whatever the level, for status pages. Secrets never.
 *
 *   log_info("kubelet", "pod started", "pod", "default/nginx", "ms", "12", NULL);
 *   log_infof("kubelet", "registered node %s", name);
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_enabled(enum log_level level);
int log_level_parse(const char *name, enum log_level *ret); /* upstream's names; -EINVAL */
/* Pairs are const char * key, const char * value (NULL value prints as ""), ended by a NULL key. */
void log_kv(enum log_level level, const char *module, const char *msg, ...)
    __attribute__((sentinel));
void log_fmt(enum log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define log_error(module, ...) log_kv(LOG_LEVEL_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...) log_kv(LOG_LEVEL_WARN, module, __VA_ARGS__)
#define log_info(module, ...) log_kv(LOG_LEVEL_INFO, module, __VA_ARGS__)
#define log_debug(module, ...)                                                                     \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                          \
            log_kv(LOG_LEVEL_DEBUG, module, __VA_ARGS__);                                          \
    } while (0)
#define log_errorf(module, ...) log_fmt(LOG_LEVEL_ERROR, module, __VA_ARGS__)
#define log_warnf(module, ...) log_fmt(LOG_LEVEL_WARN, module, __VA_ARGS__)
#define log_infof(module, ...) log_fmt(LOG_LEVEL_INFO, module, __VA_ARGS__)
#define log_debugf(module, ...)                                                                    \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                          \
            log_fmt(LOG_LEVEL_DEBUG, module, __VA_ARGS__);                                         \
    } while (0)
#define LOG_RING 64
/* i-th remembered warning or error, 0 the newest; NULL past the end. Borrowed until the next log
 * line. */
const char *log_ring_get(size_t i);
/* Token bucket for repeats: true at most once per period_ms for this static state. */
struct log_limit {
    long long next_ns;
    unsigned suppressed;
};
bool log_limit_ok(struct log_limit *l, int period_ms);
