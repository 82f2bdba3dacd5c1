/* list.h - a doubly linked ring of nodes that live inside the things they link. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/bytes.h"

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

/* Before the head is the end of the list. */
static inline void list_add_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_append(struct list *head, struct list *node)
{
	list_add_before(head, node);
}

/* Removing twice is harmless. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* The body may remove the entry it stands on. */
#define list_for_each(var, head, type, member)                                                \
	for (struct list *n_ = (head)->next, *after_ = n_->next;                              \
	     n_ != (head) && ((var) = list_entry(n_, type, member), true); n_ = after_, after_ = n_->next)

#endif
