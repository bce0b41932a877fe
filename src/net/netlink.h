/*
 * Netlink sockets: request with acknowledgement, dumps, and notifications on the loop. Requests are
 * synchronous: the kernel answers rtnetlink and nf_tables within the system call, so that nothing
 * waits longer than NETLINK_TIMEOUT_MS, and that only when the kernel is broken. One thread only.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "loop/loop.h"
#include <libmnl/libmnl.h>

#define NETLINK_TIMEOUT_MS 10000
struct netlink;

/* lifecycle */
/* protocol is NETLINK_ROUTE or NETLINK_NETFILTER. netns_fd >= 0 opens the socket inside that
 * network namespace (borrowed for the call); -1 means ours. Groups are subscribed with
 * netlink_monitor_start. */
int netlink_open(int protocol, int netns_fd, struct netlink **ret, struct error **err);
void netlink_close(struct netlink *n); /* NULL accepted */
uint32_t netlink_portid(const struct netlink *n);
int netlink_fd(const struct netlink *n);

/* requests: one message is built at a time in the socket's own buffer */
/* Header with NLM_F_REQUEST | flags, its sequence number set and `extra` bytes of zeroed family
 * header behind it, which *ret_extra points to. Attributes go on with mnl_attr_put_*;
 * NETLINK_REQUEST_MAX bytes in all. */
#define NETLINK_REQUEST_MAX 8192u
struct nlmsghdr *netlink_build(struct netlink *n, uint16_t type, uint16_t flags, size_t extra,
                               void *ret_extra);
/* Sends the message built and waits for its acknowledgement. The error's text is what plus the
 * kernel's own words. */
int netlink_request(struct netlink *n, struct error **err, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
/* Sends the message built (flags NLM_F_DUMP or a plain get) and calls fn for each answer until fn
 * returns non-zero, which is then returned. A dump the kernel marks as interrupted is -EINTR after
 * all messages were seen: ask again. */
typedef int (*netlink_message_fn)(const struct nlmsghdr *h, void *arg);
int netlink_query(struct netlink *n, netlink_message_fn fn, void *arg, struct error **err,
                  const char *what, ...) __attribute__((format(printf, 5, 6)));
/* Attributes of a message or nest into a table of max + 1 pointers by type; unknown types are
 * skipped. Lengths are checked against the container; those of the values are the reader's business
 * (netlink_attr_*). -EINVAL on a torn list. */
int netlink_parse(const struct nlmsghdr *h, size_t extra, const struct nlattr **table,
                  uint16_t max);
int netlink_parse_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t max);
/* Values; fallback when absent or too short. */
uint8_t netlink_attr_u8(const struct nlattr *a, uint8_t fallback);
uint16_t netlink_attr_u16(const struct nlattr *a, uint16_t fallback);
uint32_t netlink_attr_u32(const struct nlattr *a, uint32_t fallback);
uint64_t netlink_attr_u64(const struct nlattr *a, uint64_t fallback);
/* Copies text into out, cut to size, always NUL-terminated; "" when absent. */
void netlink_attr_text(const struct nlattr *a, char *out, size_t size);

/* notifications */
struct netlink_monitor;
/* h NULL: the kernel dropped notifications (ENOBUFS): look at everything again. */
typedef void (*netlink_event_fn)(const struct nlmsghdr *h, void *arg);
/* groups: numbers such as RTNLGRP_LINK, NFNLGRP_NFTABLES. */
int netlink_monitor_start(struct loop *l, int protocol, int netns_fd, const unsigned *groups,
                          size_t groups_n, netlink_event_fn fn, void *arg,
                          struct netlink_monitor **ret, struct error **err);
void netlink_monitor_stop(struct netlink_monitor *m); /* NULL accepted; not from inside fn */

/* network namespaces */
/* Enters, and leaves again by the descriptor that was stored; for the few calls that have no other
 * way (opening sockets, writing /proc/sys/net). Failing to come back ends the process: everything
 * after would be in the wrong place. */
int netns_enter(int netns_fd, int *ret_back, struct error **err);
void netns_leave(int back); /* takes the descriptor */
/* Runs fn inside; returns what it returned. */
int netns_run(int netns_fd, int (*fn)(void *arg, struct error **err), void *arg,
              struct error **err);
/* socket(2) inside the namespace; descriptor or negative errno with err set. */
int netns_socket(int netns_fd, int domain, int type, int protocol, struct error **err);
