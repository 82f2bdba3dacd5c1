/* queue.c - split and packed rings; see queue.h. Used by virtio.c and the device types. */
#include "virtio/queue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/fence.h"
#include "emul/core/bus.h"
#include "emul/core/ram.h"
#include "virtio/virtio.h"

/* Descriptor flags, sections 2.7.5 and 2.8.1. */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };
enum { DESC_SIZE = 16, USED_SIZE = 8 };

/* Event suppression of packed rings, section 2.8.14. */
enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next; /* next: of a packed ring the buffer id */
};

static uint16_t load16(const uint8_t *p)
{
	return le16(&(uint16_t){ __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE) });
}

static void store16(uint8_t *p, uint16_t v)
{
	uint16_t le;

	put_le16(&le, v);
	__atomic_store_n((uint16_t *)p, le, __ATOMIC_RELEASE);
}

static struct desc split_desc(const uint8_t *p)
{
	return (struct desc){ le64(p), le32(p + 8), le16(p + 12), le16(p + 14) };
}

static struct desc packed_desc(const uint8_t *p)
{
	return (struct desc){ le64(p), le32(p + 8), le16(p + 14), le16(p + 12) };
}

static bool broken(struct virtq *q, const char *why)
{
	if (!q->broken)
		q->broken = why;
	return false;
}

/* One descriptor's memory, which may lie in several pieces of RAM. */
static bool add_buffer(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool in = d->flags & DESC_WRITE;
	uint64_t at = d->addr, left = d->len;
	uint32_t *total = in ? &c->in_len : &c->out_len;

	if (!in && c->n_in)
		return broken(q, "a readable descriptor behind a writable one");
	if (d->len > UINT32_MAX - *total)
		return broken(q, "a request of over 4 GiB");
	*total += d->len;
	while (left) {
		unsigned i = c->n_out + c->n_in;
		uint64_t len = left;
		uint8_t *p = bus_ram(q->bus, at, &len, in);

		if (!p || !len)
			return broken(q, "a buffer that is no RAM");
		if (i == VIRTQ_MAX_IOV)
			return broken(q, "a request of too many pieces");
		len = MIN(len, left);
		c->iov[i] = (struct iovec){ p, len };
		c->addr[i] = at;
		in ? c->n_in++ : c->n_out++;
		at += len;
		left -= len;
	}
	return true;
}

/* Section 2.7.5.3: a table elsewhere in memory; split tables are chained, packed ones are in order.
 */
static bool walk_indirect(struct virtq *q, struct virtq_chain *c, const struct desc *table)
{
	unsigned n = table->len / DESC_SIZE, i = 0;
	uint8_t raw[DESC_SIZE];

	if (!q->indirect || !n || table->len % DESC_SIZE)
		return broken(q, "an indirect table of a wrong size, or not negotiated");
	for (unsigned steps = 0; steps < n; steps++) {
		struct desc d;

		if (!dma_read(q->bus, table->addr + (uint64_t)i * DESC_SIZE, raw, DESC_SIZE))
			return broken(q, "an indirect table that is no RAM");
		d = q->packed ? packed_desc(raw) : split_desc(raw);
		if (d.flags & DESC_INDIRECT)
			return broken(q, "an indirect table in an indirect table");
		if (!add_buffer(q, c, &d))
			return false;
		if (q->packed) {
			i++;
			continue;
		}
		if (!(d.flags & DESC_NEXT))
			return true;
		i = d.next;
		if (i >= n)
			return broken(q, "a descriptor index past the table");
	}
	return q->packed || broken(q, "a chain longer than its table");
}

static bool walk_split(struct virtq *q, struct virtq_chain *c, unsigned i)
{
	for (unsigned steps = 0; steps < q->size; steps++) {
		struct desc d;

		if (i >= q->size)
			return broken(q, "a descriptor index past the queue");
		d = split_desc(q->desc + i * DESC_SIZE);
		if (d.flags & DESC_INDIRECT) {
			if (d.flags & DESC_NEXT)
				return broken(q, "an indirect descriptor with a next one");
			return walk_indirect(q, c, &d);
		}
		if (!add_buffer(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		i = d.next;
	}
	return broken(q, "a chain longer than the queue");
}

static bool pop_split(struct virtq *q, struct virtq_chain *c)
{
	uint16_t at = q->s->avail[q->n], there = load16(q->driver + 2);

	if (at == there)
		return false;
	if ((uint16_t)(there - at) > q->size)
		return broken(q, "more entries than the queue has");
	c->id = le16(q->driver + 4 + 2 * (at % q->size));
	c->slots = 1;
	if (!walk_split(q, c, c->id))
		return false;
	q->s->avail[q->n] = (uint16_t)(at + 1);
	return true;
}

static bool packed_available(const struct virtq *q)
{
	uint16_t flags = load16(q->desc + q->s->avail[q->n] * DESC_SIZE + 14);
	bool avail = flags & DESC_AVAIL, used = flags & DESC_USED;

	return avail != used && avail == (bool)q->s->avail_wrap[q->n];
}

static void packed_advance(const struct virtq *q, uint16_t *at, uint16_t *wrap, unsigned slots)
{
	*at = (uint16_t)(*at + slots);
	if (*at >= q->size) {
		*at = (uint16_t)(*at - q->size);
		*wrap ^= 1;
	}
}

static bool pop_packed(struct virtq *q, struct virtq_chain *c)
{
	unsigned i = q->s->avail[q->n];

	if (!packed_available(q))
		return false;
	for (c->slots = 1;; c->slots++) {
		struct desc d = packed_desc(q->desc + i * DESC_SIZE);

		if (c->slots > q->size)
			return broken(q, "a chain longer than the queue");
		c->id = d.next;
		if (d.flags & DESC_INDIRECT) {
			if (c->slots > 1 || (d.flags & DESC_NEXT))
				return broken(q, "an indirect descriptor in a chain");
			if (!walk_indirect(q, c, &d))
				return false;
			break;
		}
		if (!add_buffer(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			break;
		i = (i + 1) % q->size;
	}
	packed_advance(q, &q->s->avail[q->n], &q->s->avail_wrap[q->n], c->slots);
	return true;
}

bool virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	if (q->broken)
		return false;
	c->n_out = c->n_in = 0;
	c->out_len = c->in_len = 0;
	return q->packed ? pop_packed(q, c) : pop_split(q, c);
}

void virtq_unpop(struct virtq *q, const struct virtq_chain *c)
{
	uint16_t *at = &q->s->avail[q->n];

	if (!q->packed) {
		*at = (uint16_t)(*at - 1);
		return;
	}
	if (*at < c->slots) {
		*at = (uint16_t)(*at + q->size);
		q->s->avail_wrap[q->n] ^= 1;
	}
	*at = (uint16_t)(*at - c->slots);
}

/* The pages of the in-buffers that were written: dirty tracking and translated code want to know.
 */
static void mark_written(const struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
	for (unsigned i = c->n_out; written && i < c->n_out + c->n_in; i++) {
		uint32_t len = MIN(written, (uint32_t)c->iov[i].iov_len);
		struct bus_region r;

		if (bus_lookup(q->bus, c->addr[i], &r) && r.kind == BUS_RAM)
			ram_wrote(r.ram, r.off + (c->addr[i] - r.addr), len);
		written -= len;
	}
}

/* The flags that make a packed entry used; the wrap counter is the one that its slot has. */
static void mark_used(const struct virtq *q, unsigned slots_on)
{
	uint16_t at = q->s->used[q->n], wrap = q->s->used_wrap[q->n];

	packed_advance(q, &at, &wrap, slots_on);
	store16(q->desc + at * DESC_SIZE + 14, wrap ? DESC_AVAIL | DESC_USED : 0);
}

bool virtq_fill(struct virtq *q, struct virtq_batch *b, const struct virtq_chain *c,
		uint32_t written)
{
	uint8_t *p;

	if (b->chains == VIRTQ_BATCH_MAX)
		return false;
	mark_written(q, c, written);
	if (q->packed) {
		p = q->desc + (q->s->used[q->n] + b->slots) % q->size * DESC_SIZE;
		put_le32(p + 8, written);
		put_le16(p + 12, c->id);
	} else {
		p = q->device + 4 + (uint16_t)(q->s->used[q->n] + b->chains) % q->size * USED_SIZE;
		put_le32(p, c->id);
		put_le32(p + 4, written);
	}
	b->at[b->chains++] = (uint16_t)b->slots;
	b->slots += c->slots;
	return true;
}

/* Packed: the driver looks at entries in order, so the first one's flags are written last. */
void virtq_commit(struct virtq *q, const struct virtq_batch *b)
{
	if (!b->chains)
		return;
	if (q->packed) {
		for (unsigned i = b->chains; i--;)
			mark_used(q, b->at[i]);
		packed_advance(q, &q->s->used[q->n], &q->s->used_wrap[q->n], b->slots);
		return;
	}
	q->s->used[q->n] = (uint16_t)(q->s->used[q->n] + b->chains);
	store16(q->device + 2, q->s->used[q->n]);
}

void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
	struct virtq_batch b = { .chains = 0 };

	virtq_fill(q, &b, c, written);
	virtq_commit(q, &b);
}

bool virtq_more(const struct virtq *q)
{
	return q->packed ? packed_available(q) : load16(q->driver + 2) != q->s->avail[q->n];
}

void virtq_kicks(struct virtq *q, bool wanted)
{
	if (q->packed) {
		if (q->event_idx && wanted)
			store16(q->device,
				(uint16_t)(q->s->avail[q->n] | q->s->avail_wrap[q->n] << 15));
		store16(q->device + 2, !wanted        ? EVENT_DISABLE
				       : q->event_idx ? EVENT_DESC
						      : EVENT_ENABLE);
	} else if (!q->event_idx) {
		store16(q->device, wanted ? 0 : 1); /* VIRTQ_USED_F_NO_NOTIFY */
	} else if (wanted) {
		store16(q->device + 4 + q->size * USED_SIZE, q->s->avail[q->n]);
	}
	/* What we wrote before what we read next: section 2.7.10. */
	full_fence();
}

/* Section 2.7.7.2: did the index pass the one that the driver waits for? */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool packed_wants_interrupt(struct virtq *q, uint16_t before)
{
	uint16_t flags = load16(q->driver + 2) & 3, event = load16(q->driver);
	uint16_t now = q->s->used[q->n];

	if (flags != EVENT_DESC || !q->event_idx)
		return flags != EVENT_DISABLE;
	if (event >> 15 != q->s->used_wrap[q->n])
		event = (uint16_t)((event & 0x7fff) - q->size);
	else
		event &= 0x7fff;
	if (before > now)
		before = (uint16_t)(before - q->size);
	return passed(event, now, before);
}

bool virtq_wants_interrupt(struct virtq *q)
{
	uint16_t before = q->first_used, now = q->s->used[q->n];

	if (before == now && !q->packed)
		return false;
	q->first_used = now;
	full_fence();
	if (q->packed)
		return packed_wants_interrupt(q, before);
	if (!q->event_idx)
		return !(load16(q->driver) & 1); /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	return passed(load16(q->driver + 4 + 2 * q->size), now, before);
}

static uint32_t copy(const struct iovec *iov, unsigned n, uint32_t off, void *buf, uint32_t len,
		     bool to_guest)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		uint32_t part;

		if (off >= iov[i].iov_len) {
			off -= (uint32_t)iov[i].iov_len;
			continue;
		}
		part = MIN((uint32_t)iov[i].iov_len - off, len - done);
		if (to_guest)
			memcpy((uint8_t *)iov[i].iov_base + off, (uint8_t *)buf + done, part);
		else
			memcpy((uint8_t *)buf + done, (uint8_t *)iov[i].iov_base + off, part);
		done += part;
		off = 0;
	}
	return done;
}

uint32_t virtq_read(const struct virtq_chain *c, uint32_t off, void *buf, uint32_t len)
{
	return copy(c->iov, c->n_out, off, buf, len, false);
}

uint32_t virtq_write(struct virtq_chain *c, uint32_t off, const void *buf, uint32_t len)
{
	return copy(virtq_in(c), c->n_in, off, (void *)(uintptr_t)buf, len, true);
}
