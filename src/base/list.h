/* Intrusive doubly linked list; a node is embedded in its owner. A zeroed node is "not linked". */
#pragma once
#include "base/cleanup.h"
#include <assert.h>
#include <stdbool.h>
struct list {
    struct list *next, *prev;
};
static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline bool list_linked(const struct list *n)
{
    return n->next != NULL && n->next != n;
}
static inline void list_add_tail(struct list *l, struct list *n)
{
    n->prev = l->prev;
    n->next = l;
    l->prev->next = n;
    l->prev = n;
}
static inline void list_add_head(struct list *l, struct list *n)
{
    n->next = l->next;
    n->prev = l;
    l->next->prev = n;
    l->next = n;
}
static inline void list_remove(struct list *n)
{
    if (!n->next)
        return;
    n->next->prev = n->prev;
    n->prev->next = n->next;
    n->next = n->prev = NULL;
}
#define list_for(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* Safe against removal of pos. */
#define list_for_safe(pos, head)                                                                   \
    for (struct list *pos = (head)->next, *pos##_n = pos->next; pos != (head);                     \
         pos = pos##_n, pos##_n = pos->next)
