/* Tests of emul/core: the clock, memory, the bus, state tables. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "base/size.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/device.h"
#include "emul/core/ram.h"
#include "emul/core/state.h"
#include "tests/unit.h"

/* ---- state ---- */

struct sample {
	uint64_t a;
	uint16_t b[3];
	uint8_t c[2];
};

static const struct state_field sample_fields[] = {
	STATE(sample, a),
	STATE_ARRAY(sample, b),
	STATE_ARRAY(sample, c),
	{ 0 },
};

START_TEST(state_is_saved_by_name_and_comes_back)
{
	struct sample s = { .a = 0x1234567890abcdef, .b = { 1, 2, 0xffff }, .c = { 0, 0x7f } };
	struct sample t = { 0 };
	auto_strbuf out = { 0 };
	struct err e = { 0 };

	ck_assert(state_complete(sample_fields, sizeof(s)));
	state_save(sample_fields, &s, &out);
	ck_assert_str_eq(out.data, "a=1234567890abcdef\nb=1,2,ffff\nc=007f\n");
	ck_assert_int_eq(state_load(sample_fields, &t, sizeof(t), out.data, &e), 0);
	ck_assert(!memcmp(&s, &t, sizeof(s)));
}
END_TEST

START_TEST(a_table_with_a_gap_or_an_overlap_is_not_complete)
{
	static const struct state_field gap[] = { STATE(sample, a), STATE_ARRAY(sample, c), { 0 } };
	static const struct state_field twice[] = { STATE(sample, a),
						    STATE(sample, a),
						    STATE_ARRAY(sample, b),
						    STATE_ARRAY(sample, c),
						    { 0 } };

	ck_assert(!state_complete(gap, sizeof(struct sample)));
	ck_assert(!state_complete(twice, sizeof(struct sample)));
}
END_TEST

static const char *const bad_states[] = {
	"",
	"a=1\nb=1,2,3\n",
	"a=1\nb=1,2,3\nc=0001",
	"a=1\nb=1,2\nc=0001\n",
	"a=1\nb=1,2,3,4\nc=0001\n",
	"a=1\nb=1,2,10000\nc=0001\n",
	"a=1\nb=1,2,3\nc=00011\n",
	"a=1\nb=1,2,3\nc=001\n",
	"a=10000000000000000\nb=1,2,3\nc=0001\n",
	"a=1\na=1\nb=1,2,3\nc=0001\n",
	"a=1\nb=1,2,3\nc=0001\nd=1\n",
	"a=\nb=1,2,3\nc=0001\n",
	"a=-1\nb=1,2,3\nc=0001\n",
	"=1\na=1\nb=1,2,3\nc=0001\n",
	"a",
};

START_TEST(bad_state_is_refused_and_changes_nothing)
{
	struct sample s = { .a = 7 }, was = s;
	struct err e = { 0 };

	ck_assert_int_lt(state_load(sample_fields, &s, sizeof(s), bad_states[_i], &e), 0);
	ck_assert(!memcmp(&s, &was, sizeof(s)));
	ck_assert(e.msg[0]);
}
END_TEST

/* ---- clock ---- */

struct rings {
	struct clock *c;
	struct alarm *a;
	int64_t at[8];
	unsigned n;
	int64_t period;
};

static void on_alarm(void *arg)
{
	struct rings *r = arg;

	if (r->n < 8)
		r->at[r->n++] = clock_now(r->c);
	if (r->period)
		alarm_set(r->a, clock_now(r->c) + r->period);
}

START_TEST(stepped_clock_rings_in_order_and_at_the_right_time)
{
	autoptr(clock) c = NULL;
	struct rings x = { 0 }, y = { .period = 30 };
	struct err e = { 0 };

	ck_assert_int_eq(clock_new(NULL, &c, &e), 0);
	x.c = y.c = c;
	ck_assert_int_eq(alarm_new(c, on_alarm, &x, &x.a, &e), 0);
	ck_assert_int_eq(alarm_new(c, on_alarm, &y, &y.a, &e), 0);
	alarm_set(x.a, 50);
	alarm_set(y.a, 30);
	ck_assert_int_eq(clock_next(c), 30);
	clock_step(c, 29);
	ck_assert_uint_eq(x.n + y.n, 0);
	clock_step(c, 71);
	ck_assert_int_eq(clock_now(c), 100);
	ck_assert_uint_eq(x.n, 1);
	ck_assert_int_eq(x.at[0], 50);
	ck_assert_uint_eq(y.n, 3);
	ck_assert_int_eq(y.at[2], 90);
	ck_assert_int_eq(clock_next(c), 120);
	alarm_set(y.a, CLOCK_NEVER);
	ck_assert_int_eq(clock_next(c), CLOCK_NEVER);
	alarm_free(x.a);
	alarm_free(y.a);
}
END_TEST

START_TEST(running_clock_rings_on_its_loop_and_stands_when_stopped)
{
	autoptr(loop) l = NULL;
	autoptr(clock) c = NULL;
	struct rings x = { 0 };
	struct err e = { 0 };
	int64_t at;

	ck_assert_int_eq(loop_new(&l, &e), 0);
	ck_assert_int_eq(clock_new(l, &c, &e), 0);
	x.c = c;
	ck_assert_int_eq(alarm_new(c, on_alarm, &x, &x.a, &e), 0);
	alarm_set(x.a, 1000000);
	ck_assert_int_eq(clock_now(c), 0);
	clock_run(c);
	while (!x.n)
		loop_once(l, true);
	ck_assert_int_ge(x.at[0], 1000000);
	alarm_set(x.a, 0); /* in the past: at once */
	while (x.n < 2)
		loop_once(l, true);
	clock_stop(c);
	at = clock_now(c);
	alarm_set(x.a, at + 1);
	loop_once(l, false);
	ck_assert_int_eq(clock_now(c), at);
	ck_assert_uint_eq(x.n, 2);
	clock_run(c);
	while (x.n < 3)
		loop_once(l, true);
	alarm_free(x.a);
}
END_TEST

/* ---- memory ---- */

START_TEST(guest_memory_is_sealed_and_zero)
{
	autoptr(ram) r = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(ram_new("ram", 5000, &r, &e), 0);
	ck_assert_uint_eq(r->size, 8192);
	ck_assert_int_eq(fcntl(r->memfd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert_uint_eq(r->host[8191], 0);
	r->host[4096] = 1;
	ck_assert_int_eq(ram_discard(r, 4096, 4096, &e), 0);
	ck_assert_uint_eq(r->host[4096], 0);
	ck_assert_int_lt(ram_discard(r, 1, 4096, &e), 0);
	ck_assert_int_lt(ram_discard(r, 8192, 4096, &e), 0);
}
END_TEST

START_TEST(dirty_log_tells_each_written_page_once)
{
	autoptr(ram) r = NULL;
	struct err e = { 0 };
	uint64_t bits[1];

	ck_assert_int_eq(ram_new("ram", 64 * 4096, &r, &e), 0);
	ram_wrote(r, 0, 1);
	ram_log_start(r);
	ck_assert_uint_eq(ram_log_fetch(r, bits), 0);
	ram_wrote(r, 4095, 2);
	ram_wrote(r, 63 * 4096, 4096);
	ram_wrote(r, 63 * 4096, 4097); /* past the end: not a write */
	ck_assert_uint_eq(ram_log_fetch(r, bits), 3);
	ck_assert_uint_eq(bits[0], 3 | UINT64_C(1) << 63);
	ck_assert_uint_eq(ram_log_fetch(r, bits), 0);
	ram_wrote(r, 0, 1);
	ck_assert_uint_eq(ram_log_fetch(r, bits), 1);
	ram_log_stop(r);
	ram_wrote(r, 0, 1);
	ck_assert_uint_eq(ram_log_fetch(r, bits), 0);
}
END_TEST

/* ---- bus ---- */

struct probe {
	struct device dev;
	unsigned reads, writes, size;
	uint64_t off, val;
};

static uint64_t probe_read(struct device *dev, uint64_t off, unsigned size)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->reads++;
	p->off = off;
	p->size = size;
	return 0x1122334455667788 + off;
}

static void probe_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->writes++;
	p->off = off;
	p->size = size;
	p->val = val;
}

#define PROBE(min, max, be)                                                       \
	{                                                                         \
		.name = "w", .size = 0x100, .min_access = min, .max_access = max, \
		.big_endian = be, .read = probe_read, .write = probe_write        \
	}
static const struct device_window probe_windows[] = {
	PROBE(1, 8, false), PROBE(4, 4, false), PROBE(2, 4, true), { 0 }
};
static const struct state_field no_state[] = { { 0 } };
static const struct device_class probe_class = {
	.name = "probe",
	.doc = "a device of the tests",
	.size = sizeof(struct probe),
	.state = no_state,
	.windows = probe_windows,
};

struct bench {
	struct bus *bus;
	struct ram *ram;
	struct device *dev;
	struct probe *p;
};

/* RAM at 0x1000, its second page as ROM at 0x5000, windows 0 1 2 at 0x2000, 0x3000, 0x4000. */
static void bench_init(struct bench *b)
{
	struct err e = { 0 };

	ck_assert_int_eq(bus_new(&b->bus, &e), 0);
	ck_assert_int_eq(ram_new("ram", 8192, &b->ram, &e), 0);
	ck_assert_int_eq(device_new(&probe_class, "probe", &b->dev, &e), 0);
	b->p = container_of(b->dev, struct probe, dev);
	ck_assert_int_eq(bus_add_ram(b->bus, 0x1000, b->ram, 0, 4096, false, &e), 0);
	ck_assert_int_eq(bus_add_ram(b->bus, 0x5000, b->ram, 4096, 4096, true, &e), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(bus_add_window(b->bus, 0x2000 + i * 0x1000, b->dev, i, &e), 0);
}

static void bench_fini(struct bench *b)
{
	device_free(b->dev);
	bus_free(b->bus);
	ram_free(b->ram);
}

START_TEST(accesses_are_cut_to_what_the_window_allows)
{
	struct bench b;
	uint64_t v;

	bench_init(&b);
	ck_assert(bus_read(b.bus, 0x2008, 8, &v));
	ck_assert_uint_eq(v, 0x1122334455667790);
	ck_assert_uint_eq(b.p->reads, 1);
	/* Not aligned: 4 bytes at 1 are pieces at 1, 2 and 4. */
	ck_assert(bus_read(b.bus, 0x2001, 4, &v));
	ck_assert_uint_eq(b.p->reads, 4);
	ck_assert_uint_eq(v, 0x8c778a89 & 0xffffffff);
	/* Too narrow for the window: widened, and the byte taken out of it. */
	ck_assert(bus_read(b.bus, 0x3005, 1, &v));
	ck_assert_uint_eq(b.p->size, 4);
	ck_assert_uint_eq(b.p->off, 4);
	ck_assert_uint_eq(v, 0x77);
	/* A write that is too narrow is lost, a wide one split. */
	bus_write(b.bus, 0x3005, 1, 1);
	ck_assert_uint_eq(b.p->writes, 0);
	bus_write(b.bus, 0x3008, 8, 0x1111111122222222);
	ck_assert_uint_eq(b.p->writes, 2);
	ck_assert_uint_eq(b.p->off, 12);
	ck_assert_uint_eq(b.p->val, 0x11111111);
	bench_fini(&b);
}
END_TEST

START_TEST(big_endian_registers_are_swapped_by_the_bus)
{
	struct bench b;
	uint64_t v;

	bench_init(&b);
	ck_assert(bus_read(b.bus, 0x4000, 4, &v));
	ck_assert_uint_eq(v, 0x88776655);
	ck_assert(bus_read(b.bus, 0x4000, 1, &v)); /* byte 0 is the high one of 0x7788 */
	ck_assert_uint_eq(v, 0x77);
	bus_write(b.bus, 0x4004, 2, 0x1234);
	ck_assert_uint_eq(b.p->val, 0x3412);
	bench_fini(&b);
}
END_TEST

START_TEST(memory_is_read_and_written_in_any_alignment)
{
	struct bench b;
	uint64_t v;

	bench_init(&b);
	ck_assert(bus_write(b.bus, 0x1003, 8, 0x0807060504030201));
	ck_assert_uint_eq(b.ram->host[3], 1);
	ck_assert_uint_eq(b.ram->host[10], 8);
	ck_assert(bus_read(b.bus, 0x1004, 4, &v));
	ck_assert_uint_eq(v, 0x05040302);
	/* Over its end into the next window: both parts are done. */
	b.ram->host[4095] = 0xaa;
	ck_assert(bus_read(b.bus, 0x1fff, 2, &v));
	ck_assert_uint_eq(v, 0x88aa);
	/* Nothing at 0x2100; half of it answers. */
	ck_assert(!bus_read(b.bus, 0x20ff, 2, &v));
	ck_assert_uint_eq(v, 0x87);
	ck_assert(!bus_read(b.bus, UINT64_MAX, 8, &v));
	/* ROM is read, a write of it is lost. */
	ck_assert(bus_write(b.bus, 0x5000, 1, 1));
	ck_assert(bus_read(b.bus, 0x5000, 1, &v));
	ck_assert_uint_eq(v, 0);
	bench_fini(&b);
}
END_TEST

START_TEST(overlaps_are_refused_and_both_named)
{
	struct bench b;
	struct err e = { 0 };

	bench_init(&b);
	ck_assert_int_lt(bus_add_ram(b.bus, 0x2080, b.ram, 0, 4096, false, &e), 0);
	ck_assert(strstr(e.msg, "RAM") && strstr(e.msg, "probe"));
	ck_assert_int_lt(bus_add_ram(b.bus, UINT64_MAX - 100, b.ram, 0, 4096, false, &e), 0);
	ck_assert_int_lt(bus_add_ram(b.bus, 0x9000, b.ram, 4096, 8192, false, &e), 0);
	bench_fini(&b);
}
END_TEST

static void count_change(void *arg)
{
	++*(unsigned *)arg;
}

static void note_region(void *arg, const struct bus_region *r)
{
	char *text = arg;

	sprintf(text + strlen(text), "%llx+%llx@%llx ", (unsigned long long)r->addr,
		(unsigned long long)r->len, (unsigned long long)r->off);
}

START_TEST(moved_window_is_hidden_by_what_was_there_first)
{
	struct bench b;
	char text[400] = "";
	unsigned changes = 0;
	struct err e = { 0 };
	uint64_t v;

	bench_init(&b);
	ck_assert_int_eq(bus_listen(b.bus, count_change, &changes, &e), 0);
	bus_move_window(b.bus, b.dev, 1, 0x4f80); /* half over ROM */
	bus_move_window(b.bus, b.dev, 2, BUS_NOWHERE);
	bus_move_window(b.bus, b.dev, 2, BUS_NOWHERE);
	ck_assert_uint_eq(changes, 2);
	bus_each(b.bus, note_region, text);
	ck_assert_str_eq(text, "1000+1000@0 2000+100@0 4f80+80@0 5000+1000@1000 ");
	ck_assert(!bus_read(b.bus, 0x4000, 4, &v));
	bus_move_window(b.bus, b.dev, 0, 0x0f80); /* begins below RAM */
	ck_assert(bus_read(b.bus, 0x0f80, 8, &v));
	ck_assert_uint_eq(v, 0x1122334455667788);
	bus_move_window(b.bus, b.dev, 0, UINT64_MAX - 10); /* would wrap: vanishes */
	ck_assert(!bus_read(b.bus, UINT64_MAX - 1, 1, &v));
	bench_fini(&b);
}
END_TEST

START_TEST(flash_shows_memory_or_registers)
{
	struct bench b;
	struct device *flash;
	struct probe *p;
	struct err e = { 0 };
	uint64_t v;

	bench_init(&b);
	ck_assert_int_eq(device_new(&probe_class, "flash", &flash, &e), 0);
	p = container_of(flash, struct probe, dev);
	ck_assert_int_eq(bus_add_flash(b.bus, 0x8000, b.ram, flash, 0, &e), 0);
	b.ram->host[4] = 0x5a;
	ck_assert(bus_read(b.bus, 0x8004, 1, &v));
	ck_assert_uint_eq(v, 0x5a);
	ck_assert(bus_write(b.bus, 0x8004, 1, 0x70));
	ck_assert_uint_eq(p->writes, 1);
	ck_assert_uint_eq(b.ram->host[4], 0x5a);
	bus_show_rom(b.bus, flash, 0, false);
	ck_assert(bus_read(b.bus, 0x8004, 1, &v));
	ck_assert_uint_eq(v, 0x8c);
	bus_show_rom(b.bus, flash, 0, true);
	ck_assert(bus_read(b.bus, 0x8004, 1, &v));
	ck_assert_uint_eq(v, 0x5a);
	bench_fini(&b);
	device_free(flash);
}
END_TEST

/* Where DMA goes, and whether it may. */
static const struct {
	uint64_t at, len;
	bool ok;
} dmas[] = {
	{ 0x1000, 4096, true },  { 0x1ffe, 2, true },      { 0x1ffe, 3, false }, /* into a window */
	{ 0x2000, 4, false },    { 0x5000, 4, false },                           /* ROM */
	{ 0x6000, 1, false },                                                    /* a hole */
	{ 0x0fff, 2, false },    { UINT64_MAX, 2, false }, { 0x1000, UINT64_MAX, false },
	{ 0x9000, 4096, true }, /* two regions of one block */
	{ 0x9f00, 0x200, true }, { 0xaf00, 0x200, false }, { 0x2000, 0, true },
};

START_TEST(dma_reaches_memory_only)
{
	static uint8_t buf[8192];
	uint64_t len = MIN(dmas[_i].len, sizeof(buf));
	struct bench b;
	struct err e = { 0 };

	bench_init(&b);
	ck_assert_int_eq(bus_add_ram(b.bus, 0x9000, b.ram, 0, 4096, false, &e), 0);
	ck_assert_int_eq(bus_add_ram(b.bus, 0xa000, b.ram, 4096, 4096, false, &e), 0);
	if (dmas[_i].len == UINT64_MAX)
		len = sizeof(buf);
	ck_assert_int_eq(dma_write(b.bus, dmas[_i].at, buf, len), dmas[_i].ok);
	ck_assert_int_eq(dma_read(b.bus, dmas[_i].at, buf, len), dmas[_i].ok);
	ck_assert_uint_eq(b.p->reads + b.p->writes, 0);
	bench_fini(&b);
}
END_TEST

static _Atomic bool stop_readers;

static void *reader(void *arg)
{
	struct bench *b = arg;
	struct bus_region r;
	uint64_t v;

	while (!stop_readers) {
		ck_assert(bus_lookup(b->bus, 0x1000, &r));
		ck_assert_uint_eq(r.addr, 0x1000);
		ck_assert(bus_read(b->bus, 0x1010, 8, &v));
	}
	return NULL;
}

START_TEST(map_changes_under_readers)
{
	struct bench b;
	pthread_t threads[2];

	bench_init(&b);
	stop_readers = false;
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, &b), 0);
	for (unsigned i = 0; i < 2000; i++)
		bus_move_window(b.bus, b.dev, 0, i % 2 ? 0x7000 : BUS_NOWHERE);
	stop_readers = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	bench_fini(&b);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, state_is_saved_by_name_and_comes_back);
	tcase_add_test(t, a_table_with_a_gap_or_an_overlap_is_not_complete);
	tcase_add_loop_test(t, bad_state_is_refused_and_changes_nothing, 0, ARRAY_SIZE(bad_states));
	tcase_add_test(t, stepped_clock_rings_in_order_and_at_the_right_time);
	tcase_add_test(t, running_clock_rings_on_its_loop_and_stands_when_stopped);
	tcase_add_test(t, guest_memory_is_sealed_and_zero);
	tcase_add_test(t, dirty_log_tells_each_written_page_once);
	tcase_add_test(t, accesses_are_cut_to_what_the_window_allows);
	tcase_add_test(t, big_endian_registers_are_swapped_by_the_bus);
	tcase_add_test(t, memory_is_read_and_written_in_any_alignment);
	tcase_add_test(t, overlaps_are_refused_and_both_named);
	tcase_add_test(t, moved_window_is_hidden_by_what_was_there_first);
	tcase_add_test(t, flash_shows_memory_or_registers);
	tcase_add_loop_test(t, dma_reaches_memory_only, 0, ARRAY_SIZE(dmas));
	tcase_add_test(t, map_changes_under_readers);
}

int main(void)
{
	return unit_run("core", cases);
}
