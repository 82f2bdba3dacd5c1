/* Damage for disk images; see disk_mutate.h. */
#include "tests/fuzz/disk_mutate.h"

#include <string.h>

#include "base/bytes.h"

struct victim {
	uint8_t *data;
	size_t len, max;
	uint32_t seed;
};

static uint32_t rnd(struct victim *v, uint32_t n)
{
	v->seed ^= v->seed << 13;
	v->seed ^= v->seed >> 17;
	v->seed ^= v->seed << 5;
	return n ? v->seed % n : 0;
}

static void put(uint8_t *p, unsigned bytes, bool big, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		p[big ? bytes - 1 - i : i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *p, unsigned bytes, bool big)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[big ? bytes - 1 - i : i] << 8 * i;
	return v;
}

/* An aligned number, most often in what looks like a header: the first or last sectors. */
static uint8_t *number(struct victim *v, unsigned bytes)
{
	size_t span = rnd(v, 4) ? MIN(v->len, 1024) : v->len, at;

	if (span < bytes)
		return NULL;
	at = rnd(v, (uint32_t)(span / bytes)) * bytes;
	if (rnd(v, 6) == 0)
		at = v->len - span + at % span;
	return at + bytes <= v->len ? v->data + at : NULL;
}

static void set_number(struct victim *v, uint64_t value)
{
	unsigned bytes = 1u << (1 + rnd(v, 3));
	uint8_t *p = number(v, bytes);

	if (p)
		put(p, bytes, rnd(v, 2), value);
}

/* One that is not zero already, in or behind the header: a size, an offset, an entry. */
static uint8_t *used_number(struct victim *v, unsigned *bytes, bool *big)
{
	*bytes = rnd(v, 2) ? 4 : 8;
	*big = rnd(v, 2);
	for (int i = 0; i < 200; i++) {
		uint8_t *p = number(v, *bytes);

		if (p && get(p, *bytes, *big))
			return p;
	}
	return NULL;
}

static void change_number(struct victim *v, uint64_t (*fn)(struct victim *v, uint64_t old))
{
	unsigned bytes;
	bool big;
	uint8_t *p = used_number(v, &bytes, &big);

	if (p)
		put(p, bytes, big, fn(v, get(p, bytes, big)));
}

static uint64_t plus_one(struct victim *v, uint64_t old)
{
	(void)v;
	return old + 1;
}
static uint64_t minus_one(struct victim *v, uint64_t old)
{
	(void)v;
	return old - 1;
}
static uint64_t twice(struct victim *v, uint64_t old)
{
	(void)v;
	return old * 2;
}
static uint64_t half(struct victim *v, uint64_t old)
{
	(void)v;
	return old / 2;
}
static uint64_t negative(struct victim *v, uint64_t old)
{
	(void)v;
	return -old;
}
static uint64_t one_bit(struct victim *v, uint64_t old)
{
	return old ^ UINT64_C(1) << rnd(v, 64);
}
static uint64_t top_bits(struct victim *v, uint64_t old)
{
	(void)v;
	return old | UINT64_C(0xc0000000c0000000);
}
static uint64_t past_end(struct victim *v, uint64_t old)
{
	(void)old;
	return round_up(v->len, 65536) + 65536;
}
static uint64_t past_end_sectors(struct victim *v, uint64_t old)
{
	(void)old;
	return v->len / 512 + 1;
}
static uint64_t last_byte(struct victim *v, uint64_t old)
{
	(void)old;
	return v->len - 1;
}
static uint64_t askew(struct victim *v, uint64_t old)
{
	return old + 1 + rnd(v, 511);
}
static uint64_t far_away(struct victim *v, uint64_t old)
{
	(void)v;
	return old | UINT64_C(1) << 55;
}
static uint64_t huge(struct victim *v, uint64_t old)
{
	(void)v;
	(void)old;
	return INT64_MAX;
}
static uint64_t shift_width(struct victim *v, uint64_t old)
{
	(void)old;
	return 28 + rnd(v, 40);
}

static void m_zero(struct victim *v)
{
	set_number(v, 0);
}
static void m_one(struct victim *v)
{
	set_number(v, 1);
}
static void m_all_ones(struct victim *v)
{
	set_number(v, UINT64_MAX);
}
static void m_signed_max(struct victim *v)
{
	set_number(v, UINT64_C(0x7fffffff7fffffff));
}
static void m_sign(struct victim *v)
{
	set_number(v, UINT64_C(0x8000000080008000));
}
static void m_power(struct victim *v)
{
	set_number(v, UINT64_C(1) << rnd(v, 64));
}
static void m_random(struct victim *v)
{
	set_number(v, (uint64_t)rnd(v, 0) << 32 | v->seed);
}
static void m_size(struct victim *v)
{
	set_number(v, v->len);
}
static void m_into_header(struct victim *v)
{
	set_number(v, rnd(v, 8) * 64);
}
static void m_sector_of_header(struct victim *v)
{
	set_number(v, rnd(v, 3));
}
static void m_plus_one(struct victim *v)
{
	change_number(v, plus_one);
}
static void m_minus_one(struct victim *v)
{
	change_number(v, minus_one);
}
static void m_twice(struct victim *v)
{
	change_number(v, twice);
}
static void m_half(struct victim *v)
{
	change_number(v, half);
}
static void m_negative(struct victim *v)
{
	change_number(v, negative);
}
static void m_one_bit(struct victim *v)
{
	change_number(v, one_bit);
}
static void m_top_bits(struct victim *v)
{
	change_number(v, top_bits);
}
static void m_past_end(struct victim *v)
{
	change_number(v, past_end);
}
static void m_past_end_sectors(struct victim *v)
{
	change_number(v, past_end_sectors);
}
static void m_last_byte(struct victim *v)
{
	change_number(v, last_byte);
}
static void m_askew(struct victim *v)
{
	change_number(v, askew);
}
static void m_far_away(struct victim *v)
{
	change_number(v, far_away);
}
static void m_huge(struct victim *v)
{
	change_number(v, huge);
}
static void m_shift_width(struct victim *v)
{
	change_number(v, shift_width);
}

/* Two entries for one place: a number is put over its neighbour, or over any other. */
static void m_entry_twice(struct victim *v)
{
	unsigned bytes;
	bool big;
	uint8_t *p = used_number(v, &bytes, &big);

	if (p && p + 2 * bytes <= v->data + v->len)
		memcpy(p + bytes, p, bytes);
}

static void m_entry_elsewhere(struct victim *v)
{
	unsigned bytes;
	bool big;
	uint8_t *p = used_number(v, &bytes, &big), *to = p ? number(v, bytes) : NULL;

	if (to)
		memmove(to, p, bytes);
}

/* An offset that leads to where it stands: loops in chains, tables that hold themselves. */
static void m_points_to_itself(struct victim *v)
{
	unsigned bytes;
	bool big;
	uint8_t *p = used_number(v, &bytes, &big);

	if (p)
		put(p, bytes, big, (uint64_t)round_down((uint64_t)(p - v->data), 512));
}

static void m_sector_to_itself(struct victim *v)
{
	unsigned bytes;
	bool big;
	uint8_t *p = used_number(v, &bytes, &big);

	if (p)
		put(p, bytes, big, (uint64_t)(p - v->data) / 512);
}

static void m_byte(struct victim *v)
{
	if (v->len)
		v->data[rnd(v, (uint32_t)v->len)] = (uint8_t)rnd(v, 256);
}

static void m_bytes(struct victim *v)
{
	for (uint32_t i = 1 + rnd(v, 64); i; i--)
		m_byte(v);
}

static void fill_sector(struct victim *v, int byte)
{
	size_t n = v->len / 512;

	if (n)
		memset(v->data + (size_t)rnd(v, (uint32_t)n) * 512, byte, 512);
}

static void m_sector_zero(struct victim *v)
{
	fill_sector(v, 0);
}
static void m_sector_ones(struct victim *v)
{
	fill_sector(v, 0xff);
}

static void m_sector_moved(struct victim *v)
{
	uint32_t n = (uint32_t)(v->len / 512);

	if (n)
		memmove(v->data + (size_t)rnd(v, n) * 512, v->data + (size_t)rnd(v, n) * 512, 512);
}

static void m_header_over_table(struct victim *v)
{
	uint32_t n = (uint32_t)(v->len / 4096);

	if (n)
		memmove(v->data + (size_t)rnd(v, n) * 4096, v->data, 4096);
}

static void m_cut_short(struct victim *v)
{
	v->len = rnd(v, (uint32_t)v->len + 1);
}
static void m_cut_in_header(struct victim *v)
{
	v->len = MIN(v->len, rnd(v, 1200));
}
static void m_cut_a_little(struct victim *v)
{
	v->len -= MIN(v->len, 1 + rnd(v, 600));
}
static void m_cut_at_sector(struct victim *v)
{
	v->len = (size_t)rnd(v, (uint32_t)(v->len / 512) + 1) * 512;
}

static void m_longer(struct victim *v)
{
	size_t more = MIN(v->max - v->len, 1 + rnd(v, 70000));

	memset(v->data + v->len, 0, more);
	v->len += more;
}

static void m_front_lost(struct victim *v)
{
	size_t n = MIN(v->len, 1 + rnd(v, 600));

	memmove(v->data, v->data + n, v->len - n);
	v->len -= n;
}

/* ---- text: descriptors, XML, JSON ---- */

/* A byte of printable text, or NULL. */
static uint8_t *text_at(struct victim *v, const char *any_of)
{
	for (int i = 0; i < 400; i++) {
		size_t at = v->len ? rnd(v, (uint32_t)v->len) : 0;
		size_t end = MIN(v->len, at + 256);

		for (; at < end; at++)
			if (v->data[at] && strchr(any_of, v->data[at]) && at &&
			    v->data[at - 1] >= 0x20 && v->data[at - 1] < 0x7f)
				return v->data + at;
	}
	return NULL;
}

static void swap_char(struct victim *v, const char *any_of, char with)
{
	uint8_t *p = text_at(v, any_of);

	if (p)
		*p = (uint8_t)with;
}

static void m_text_nine(struct victim *v)
{
	uint8_t *p = text_at(v, "0123456789");

	for (int i = 0; p && i < 20 && p < v->data + v->len && *p >= '0' && *p <= '9'; i++)
		*p++ = '9';
}

static void m_text_minus(struct victim *v)
{
	swap_char(v, "0123456789", '-');
}
static void m_text_quote(struct victim *v)
{
	swap_char(v, "\"'<>{}[]", ' ');
}
static void m_text_more_quotes(struct victim *v)
{
	swap_char(v, " =abcdeflmnorstu", '"');
}
static void m_text_newline(struct victim *v)
{
	swap_char(v, "\n", ' ');
}
static void m_text_nul(struct victim *v)
{
	swap_char(v, "abcdefghijklmnorst=.", 0);
}
static void m_text_slash(struct victim *v)
{
	swap_char(v, "abcdefghijklmnorst.", '/');
}

static void m_text_twice(struct victim *v)
{
	uint8_t *p = text_at(v, "\n<{");
	size_t n = p ? MIN((size_t)(v->data + v->len - p), 1 + rnd(v, 300)) : 0;

	if (!p || v->len + n > v->max)
		return;
	memmove(p + n, p, (size_t)(v->data + v->len - p));
	v->len += n;
}

#define M(name)                 \
	{                       \
#name, m_##name \
	}
static const struct {
	const char *name;
	void (*fn)(struct victim *v);
} mutations[] = {
	M(zero),
	M(one),
	M(all_ones),
	M(signed_max),
	M(sign),
	M(power),
	M(random),
	M(size),
	M(into_header),
	M(sector_of_header),
	M(plus_one),
	M(minus_one),
	M(twice),
	M(half),
	M(negative),
	M(one_bit),
	M(top_bits),
	M(past_end),
	M(past_end_sectors),
	M(last_byte),
	M(askew),
	M(far_away),
	M(huge),
	M(shift_width),
	M(entry_twice),
	M(entry_elsewhere),
	M(points_to_itself),
	M(sector_to_itself),
	M(byte),
	M(bytes),
	M(sector_zero),
	M(sector_ones),
	M(sector_moved),
	M(header_over_table),
	M(cut_short),
	M(cut_in_header),
	M(cut_a_little),
	M(cut_at_sector),
	M(longer),
	M(front_lost),
	M(text_nine),
	M(text_minus),
	M(text_quote),
	M(text_more_quotes),
	M(text_newline),
	M(text_nul),
	M(text_slash),
	M(text_twice),
};

unsigned disk_mutations(void)
{
	return ARRAY_SIZE(mutations);
}

const char *disk_mutation_name(unsigned i)
{
	return mutations[i].name;
}

size_t disk_mutate_by(unsigned which, uint8_t *data, size_t len, size_t max, uint32_t seed)
{
	struct victim v = { data, len, max, seed * 2654435761u + 1 };

	rnd(&v, 0);
	mutations[which].fn(&v);
	return v.len;
}

size_t disk_mutate(uint8_t *data, size_t len, size_t max, uint32_t seed)
{
	struct victim v = { data, len, max, seed * 2654435761u + 99 };

	rnd(&v, 0);
	for (uint32_t i = 1 + rnd(&v, 4); i; i--)
		mutations[rnd(&v, ARRAY_SIZE(mutations))].fn(&v);
	return v.len;
}

/* ---- checksums ---- */

/* VHD: ones' complement of the sum of all bytes, with the field as zero. */
static void fix_vhd(uint8_t *p, size_t len, size_t field)
{
	uint32_t sum = 0;

	put_be32(p + field, 0);
	for (size_t i = 0; i < len; i++)
		sum += p[i];
	put_be32(p + field, ~sum);
}

static void fix_vhds(uint8_t *data, size_t len)
{
	for (size_t at = 0; at + 512 <= len; at += 512) {
		if (!memcmp(data + at, "conectix", 8))
			fix_vhd(data + at, 512, 64);
		if (!memcmp(data + at, "cxsparse", 8) && at + 1024 <= len)
			fix_vhd(data + at, 1024, 36);
	}
}

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void fix_crc(uint8_t *p, size_t len)
{
	put_le32(p + 4, 0);
	put_le32(p + 4, crc32c(p, len));
}

/* VHDX: both headers, both region tables, the entries of the log. */
static void fix_vhdx(uint8_t *data, size_t len)
{
	for (size_t at = 64 * KiB; at + 4096 <= len; at += 4096) {
		uint32_t n = le32(data + at + 8);

		if (!memcmp(data + at, "head", 4))
			fix_crc(data + at, 4096);
		if (!memcmp(data + at, "regi", 4) && at + 64 * KiB <= len)
			fix_crc(data + at, 64 * KiB);
		if (!memcmp(data + at, "loge", 4) && n >= 4096 && n <= MiB && at + n <= len)
			fix_crc(data + at, n);
	}
}

void disk_fix_checksums(const char *format, uint8_t *data, size_t len)
{
	if (!strcmp(format, "vhd"))
		fix_vhds(data, len);
	if (!strcmp(format, "vhdx"))
		fix_vhdx(data, len);
}
