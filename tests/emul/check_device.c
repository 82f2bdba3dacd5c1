/*
 * Tests that hold for every device class; a new class is tested without a line here. Each device
 * stands alone on the board "none", with its windows far apart and a clock that stands.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/loop.h"
#include "emul/core/bus.h"
#include "emul/core/chardev.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"
#include "storage/disk.h"
#include "tests/unit.h"

#define WINDOW_AT(i) (UINT64_C(0x10000000000) * ((i) + 1))

struct bench {
	struct machine *m;
	struct device *dev;
	struct chardev chr;
	struct loop *io; /* where queues are served: between the steps of the guest */
	struct disk *disk;
};

static uint32_t seed_of_walk;

static uint32_t rnd(void)
{
	seed_of_walk ^= seed_of_walk << 13;
	seed_of_walk ^= seed_of_walk >> 17;
	seed_of_walk ^= seed_of_walk << 5;
	return seed_of_walk;
}

static unsigned count_classes(void)
{
	unsigned n = 0;

	while (device_classes[n])
		n++;
	return n;
}

static bool has_prop(const struct device_class *class, const char *name)
{
	for (const struct device_prop *p = class->props; p && p->name; p++)
		if (!strcmp(p->name, name))
			return true;
	return false;
}

/* A disk of 1 MiB in memory. */
static struct disk *some_disk(void)
{
	struct disk_options o = { .format = "raw", .flags = DISK_NO_LOCK };
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct disk *d = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	ck_assert_msg(!disk_open_fd(fd, "disk", &o, &d, &e), "%s", e.msg);
	return d;
}

static void bench_add(struct bench *b, const struct device_class *class)
{
	struct err e = { 0 };

	ck_assert_msg(!device_new(class, "dut", &b->dev, &e), "%s", e.msg);
	if (has_prop(class, "chardev"))
		ck_assert_int_eq(device_set_pointer(b->dev, "chardev", &b->chr, &e), 0);
	if (has_prop(class, "disk"))
		ck_assert_int_eq(device_set_pointer(b->dev, "disk", b->disk, &e), 0);
	list_append(&b->m->devices, &b->dev->node);
	ck_assert_msg(!machine_plug(b->dev, b->m, &e), "%s: %s", class->name, e.msg);
	for (unsigned i = 0; class->windows && class->windows[i].name; i++)
		if (b->dev->window_size[i])
			ck_assert_msg(!bus_add_window(b->m->bus, WINDOW_AT(i), b->dev, i, &e), "%s",
				      e.msg);
}

static void bench_init(struct bench *b, const struct device_class *class)
{
	struct machine_config config = { .cpus = 1, .memory = 1 << 20 };
	struct err e = { 0 };

	memset(b, 0, sizeof(*b));
	ck_assert_int_eq(loop_new(&b->io, &e), 0);
	if (has_prop(class, "disk"))
		b->disk = some_disk();
	ck_assert_msg(
	    !machine_new(board_find("none"), NULL, &config, NULL, NULL, b->io, NULL, -1, &b->m, &e),
	    "%s", e.msg);
	bench_add(b, class);
}

static void bench_fini(struct bench *b)
{
	machine_free(b->m);
	if (b->disk)
		disk_close(b->disk);
	loop_free(b->io);
}

/* Mostly the first registers, where the interesting ones are; now and then anywhere. */
static uint64_t some_offset(const struct device *dev, unsigned window)
{
	uint64_t size = dev->window_size[window];

	switch (rnd() % 4) {
	case 0: return rnd() % size;
	case 1: return (rnd() % 0x1000) % size;
	case 2: return size - 1 - (rnd() % 0x40) % size;
	default: return (rnd() % 0x40) % size;
	}
}

static uint64_t some_value(void)
{
	static const uint64_t often[] = { 0, 1, 2, 3, 4, 0xff, 0x80, 0x55, 0xffffffff, UINT64_MAX };

	return rnd() % 2 ? often[rnd() % 10] : (uint64_t)rnd() << 32 | rnd();
}

static unsigned n_windows(const struct device *dev)
{
	unsigned n = 0;

	while (dev->class->windows && dev->class->windows[n].name)
		n++;
	return n;
}

/* Let a guest with no manners loose on the device. */
static void scribble(struct bench *b, uint32_t seed, unsigned steps)
{
	unsigned n = n_windows(b->dev);
	uint8_t bytes[4];
	uint64_t v;

	seed_of_walk = seed * 2654435761u + 1;
	for (unsigned i = 0; i < steps; i++) {
		unsigned w = n ? rnd() % n : 0;
		unsigned size = 1u << rnd() % 4;
		uint64_t at =
		    n && b->dev->window_size[w] ? WINDOW_AT(w) + some_offset(b->dev, w) : 0x1000;

		switch (rnd() % 8) {
		case 0:
		case 1:
		case 2: bus_read(b->m->bus, at, size, &v); break;
		case 3: clock_step(b->m->clock, rnd() % 3000000); break;
		case 4:
			put_le32(bytes, rnd());
			if (b->chr.on_input)
				b->chr.on_input(b->chr.dev, bytes, 1 + rnd() % 4);
			break;
		default: bus_write(b->m->bus, at, size, some_value());
		}
		loop_once(b->io, false);
	}
}

static char *saved(struct device *dev)
{
	struct strbuf out = { 0 };

	device_save(dev, &out);
	strbuf_puts(&out, "");
	return strbuf_take(&out);
}

static unsigned lines(const struct device *dev)
{
	unsigned v = 0;

	for (unsigned i = 0; i < dev->class->n_irqs && i < 32; i++)
		v |= (unsigned)dev->irq[i].level << i;
	return v;
}

START_TEST(state_table_names_every_byte)
{
	const struct device_class *c = device_classes[_i];

	ck_assert_msg(state_complete(c->state, c->state_size), "%s", c->name);
}
END_TEST

START_TEST(class_is_well_formed)
{
	const struct device_class *c = device_classes[_i];

	ck_assert(c->doc && c->doc[0]);
	ck_assert(device_class_find(c->name) == c);
	for (unsigned i = 0; c->windows && c->windows[i].name; i++) {
		const struct device_window *w = &c->windows[i];

		ck_assert(i < DEVICE_MAX_WINDOWS && w->read && w->write);
		ck_assert(is_pow2(w->min_access) && is_pow2(w->max_access));
		ck_assert(w->min_access <= w->max_access && w->max_access <= 8);
	}
	for (const struct device_prop *p = c->props; p && p->name; p++)
		ck_assert(p->doc && p->doc[0]);
}
END_TEST

START_TEST(loaded_device_behaves_like_the_saved_one)
{
	const struct device_class *c = device_classes[_i];

	for (uint32_t seed = 0; seed < 40; seed++) {
		struct bench a, b;
		autofree char *text = NULL, *after_a = NULL, *after_b = NULL;
		struct err e = { 0 };

		bench_init(&a, c);
		bench_init(&b, c);
		scribble(&a, seed, 200);
		text = saved(a.dev);
		clock_set(b.m->clock, clock_now(a.m->clock));
		ck_assert_msg(!device_load(b.dev, text, &e), "%s: %s", c->name, e.msg);
		ck_assert_uint_eq(lines(a.dev), lines(b.dev));
		ck_assert_int_eq(clock_next(a.m->clock), clock_next(b.m->clock));
		/* The same guest goes on with both. */
		scribble(&a, seed + 1000, 100);
		scribble(&b, seed + 1000, 100);
		after_a = saved(a.dev);
		after_b = saved(b.dev);
		ck_assert_str_eq(after_a, after_b);
		ck_assert_uint_eq(lines(a.dev), lines(b.dev));
		bench_fini(&a);
		bench_fini(&b);
	}
}
END_TEST

START_TEST(reset_device_equals_a_fresh_one)
{
	const struct device_class *c = device_classes[_i];

	for (uint32_t seed = 0; seed < 20; seed++) {
		struct bench a;
		struct device *used;
		autofree char *text = NULL, *fresh = NULL;

		bench_init(&a, c);
		scribble(&a, seed, 200);
		device_reset(a.dev);
		used = a.dev;
		text = saved(used);
		/* A second one on the same clock, with nothing of it on the bus. */
		list_remove(&used->node);
		for (unsigned i = 0; i < n_windows(used); i++)
			bus_move_window(a.m->bus, used, i, BUS_NOWHERE);
		bench_add(&a, c);
		fresh = saved(a.dev);
		ck_assert_str_eq(text, fresh);
		ck_assert_uint_eq(lines(used), lines(a.dev));
		list_append(&a.m->devices, &used->node);
		bench_fini(&a);
	}
}
END_TEST

START_TEST(lines_and_alarm_follow_from_the_state)
{
	const struct device_class *c = device_classes[_i];
	struct bench b;

	bench_init(&b, c);
	for (uint32_t seed = 0; seed < 300; seed++) {
		autofree char *text = NULL, *again = NULL;
		unsigned was;
		int64_t next;
		struct err e = { 0 };

		scribble(&b, seed, 10);
		text = saved(b.dev);
		was = lines(b.dev);
		next = clock_next(b.m->clock);
		ck_assert_msg(!device_load(b.dev, text, &e), "%s: %s", c->name, e.msg);
		again = saved(b.dev);
		ck_assert_str_eq(text, again);
		ck_assert_uint_eq(lines(b.dev), was);
		ck_assert_int_eq(clock_next(b.m->clock), next);
	}
	bench_fini(&b);
}
END_TEST

/* A class whose windows check what comes in before they hand it on. */
static const struct device_class *checked;

static void check_access(struct device *dev, unsigned w, uint64_t off, unsigned size)
{
	const struct device_window *win = &checked->windows[w];

	ck_assert_uint_ge(size, win->min_access);
	ck_assert_uint_le(size, win->max_access);
	ck_assert_uint_eq(off % size, 0);
	ck_assert_uint_le(off + size, dev->window_size[w]);
}

#define CHECKED(i)                                                                          \
	static uint64_t read##i(struct device *dev, uint64_t off, unsigned size)            \
	{                                                                                   \
		check_access(dev, i, off, size);                                            \
		return checked->windows[i].read(dev, off, size);                            \
	}                                                                                   \
	static void write##i(struct device *dev, uint64_t off, uint64_t val, unsigned size) \
	{                                                                                   \
		check_access(dev, i, off, size);                                            \
		ck_assert(size == 8 || !(val >> (8 * size)));                               \
		checked->windows[i].write(dev, off, val, size);                             \
	}
CHECKED(0)
CHECKED(1)
CHECKED(2)
CHECKED(3)
CHECKED(4)
CHECKED(5)
CHECKED(6)
CHECKED(7)

START_TEST(odd_sizes_and_addresses_never_reach_a_device)
{
	static uint64_t (*const reads[])(struct device *, uint64_t,
					 unsigned) = { read0, read1, read2, read3,
						       read4, read5, read6, read7 };
	static void (*const writes[])(struct device *, uint64_t, uint64_t,
				      unsigned) = { write0, write1, write2, write3,
						    write4, write5, write6, write7 };
	struct device_window windows[DEVICE_MAX_WINDOWS + 1] = { 0 };
	struct device_class shim = *device_classes[_i];
	struct bench b;
	uint64_t v;

	checked = device_classes[_i];
	for (unsigned i = 0; shim.windows && shim.windows[i].name; i++) {
		windows[i] = shim.windows[i];
		windows[i].read = reads[i];
		windows[i].write = writes[i];
	}
	shim.windows = windows;
	bench_init(&b, &shim);
	for (uint32_t seed = 0; seed < 30; seed++)
		scribble(&b, seed, 300);
	for (unsigned i = 0; windows[i].name; i++)
		for (uint64_t around = 0; b.dev->window_size[i] && around < 16; around++)
			for (unsigned size = 1; size <= 8; size *= 2) {
				uint64_t end = WINDOW_AT(i) + b.dev->window_size[i];

				bus_read(b.m->bus, WINDOW_AT(i) - 8 + around, size, &v);
				bus_read(b.m->bus, end - 8 + around, size, &v);
				bus_write(b.m->bus, end - 8 + around, size, UINT64_MAX);
			}
	bench_fini(&b);
}
END_TEST

START_TEST(mutilated_state_is_refused_or_harmless)
{
	const struct device_class *c = device_classes[_i];
	struct bench b;

	bench_init(&b, c);
	for (uint32_t seed = 0; seed < 300; seed++) {
		autofree char *text = NULL, *before = NULL, *after = NULL;
		struct err e = { 0 };

		scribble(&b, seed, 20);
		before = saved(b.dev);
		text = saved(b.dev);
		for (unsigned i = 0; *text && i < 1 + rnd() % 3; i++)
			text[rnd() % strlen(text)] = "0123456789abcdef=,\nfff"[rnd() % 22];
		if (device_load(b.dev, text, &e) < 0) {
			after = saved(b.dev);
			ck_assert_str_eq(before, after);
		} else {
			scribble(&b, seed + 7, 50);
		}
	}
	bench_fini(&b);
}
END_TEST

static void cases(TCase *t)
{
	int n = (int)count_classes();

	tcase_add_loop_test(t, state_table_names_every_byte, 0, n);
	tcase_add_loop_test(t, class_is_well_formed, 0, n);
	tcase_add_loop_test(t, loaded_device_behaves_like_the_saved_one, 0, n);
	tcase_add_loop_test(t, reset_device_equals_a_fresh_one, 0, n);
	tcase_add_loop_test(t, lines_and_alarm_follow_from_the_state, 0, n);
	tcase_add_loop_test(t, odd_sizes_and_addresses_never_reach_a_device, 0, n);
	tcase_add_loop_test(t, mutilated_state_is_refused_or_harmless, 0, n);
}

int main(void)
{
	return unit_run("device", cases);
}
