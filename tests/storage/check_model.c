/*
 * Random operations on an image against a plain array of bytes. What they disagree about is a
 * bug, whatever the format; qemu-img, where it is installed, must find the image clean and read
 * the same bytes. The images are those of variants.def. VMD_SEED=N repeats a run, VMD_OPS=N makes
 * it longer (operations per format), VMD_FORMAT=NAME leaves out the other formats.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/storage/variants.h"
#include "tests/unit.h"

#define SIZE_MAX_ (6u << 20)

struct model {
	const struct variant *v;
	char name[200];
	struct disk *d;
	uint8_t *now, *buf;
	uint64_t size;
	struct {
		uint8_t *data;
		uint64_t size;
		char name[16];
	} snap[4];
	uint64_t rng;
};

static char dir[64], image[128], base[128];
static bool have_qemu;

static uint64_t rnd(struct model *m, uint64_t n)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return (m->rng >> 8) % n;
}

static void make_dir(void)
{
	/* Nothing here must survive a power cut; memory is faster. */
	snprintf(dir, sizeof(dir), "%s/vmd-model-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(base, sizeof(base), "%s/base", dir);
	have_qemu = system("qemu-img --version >/dev/null 2>&1") == 0;
}

static void drop_dir(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct disk *must_open(const struct variant *v)
{
	static struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = variant_options(v);
	struct disk *d;
	struct err e;

	o.gate = &gate;
	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	return d;
}

/* The call may use e. check's own assertions cost a system call each, so not for every one. */
#define MUST(call)                                            \
	do {                                                  \
		struct err e;                                 \
		int r_ = (call);                              \
                                                              \
		if (r_ < 0)                                   \
			ck_abort_msg("%s: %s", #call, e.msg); \
	} while (0)

static struct disk *make_base(struct model *m, const char *format, uint64_t size)
{
	struct disk_create c = { .format = format, .size = size };
	struct disk_options o = { .format = format };
	struct disk *d;

	MUST(disk_create(base, &c, true, &e));
	MUST(disk_open(base, &o, &d, &e));
	for (uint64_t i = 0; i < disk_size(d); i++)
		m->now[i] = (uint8_t)(i / 7 + i / 4093);
	MUST(disk_write(d, 0, m->now, disk_size(d), &e));
	MUST(disk_finish(d, &e));
	o.flags = DISK_RDONLY;
	MUST(disk_open(base, &o, &d, &e));
	return d;
}

static void model_start(struct model *m, const struct variant *v, uint64_t seed)
{
	struct disk_create c;

	*m = (struct model){ .v = v, .rng = seed * 0x9e3779b97f4a7c15u + 1 };
	variant_name(v, m->name);
	m->now = calloc(1, SIZE_MAX_);
	m->buf = calloc(1, SIZE_MAX_);
	m->size = 3 * MiB + 512 + rnd(m, 1000);
	c = variant_create(v, m->size);
	if (v->flags & V_BACKING) /* a shorter or a longer one */
		c.parent = make_base(m, "raw", m->size + 5000 - rnd(m, 10000));
	if (v->flags & V_PARENT)
		c.parent = make_base(m, v->format, m->size);
	MUST(disk_create(image, &c, true, &e));
	if (c.parent)
		disk_close(c.parent);
	m->d = must_open(v);
	/* Some formats round up, to sectors or to more. */
	ck_assert_uint_ge(disk_size(m->d), m->size);
	ck_assert_uint_lt(disk_size(m->d), m->size + MiB);
	m->size = disk_size(m->d);
	memset(m->now + m->size, 0, SIZE_MAX_ - m->size);
}

static void pick(struct model *m, uint64_t *off, uint64_t *len)
{
	uint64_t most = rnd(m, 4) ? 9000 : 400000;

	*off = rnd(m, m->size);
	if (rnd(m, 3) == 0)
		*off = round_down(*off, 4096);
	*len = 1 + rnd(m, most);
	if (rnd(m, 3) == 0)
		*len = round_up(*len, 4096);
	*len = MIN(*len, m->size - *off);
}

static void op_write(struct model *m)
{
	uint64_t off, len, v = rnd(m, 1 << 30);

	pick(m, &off, &len);
	for (uint64_t i = 0; i < len; i++)
		m->now[off + i] = (uint8_t)(v + i * 31 + (i >> 9));
	MUST(disk_write(m->d, off, m->now + off, len, &e));
}

static void op_zero(struct model *m)
{
	uint64_t off, len;

	pick(m, &off, &len);
	memset(m->now + off, 0, len);
	MUST(disk_zero(m->d, off, len, rnd(m, 2), &e));
}

/* What a discard leaves is either the old content or zeroes; the model takes what it finds. */
static void op_discard(struct model *m)
{
	uint64_t off, len, unit = m->d->piece ? m->d->piece : disk_unit(m->d);

	pick(m, &off, &len);
	MUST(disk_discard(m->d, off, len, &e));
	MUST(disk_read(m->d, off, m->buf, len, &e));
	for (uint64_t i = 0; i < len; i++) {
		uint64_t u = round_down(off + i, unit);
		bool whole = u >= off && (u + unit <= off + len || off + len == m->size);

		if (m->buf[i] != m->now[off + i] && !(whole && m->buf[i] == 0))
			ck_abort_msg("a discard changed byte %llu", (unsigned long long)(off + i));
		m->now[off + i] = m->buf[i];
	}
}

static void op_compare(struct model *m)
{
	uint64_t off, len;

	pick(m, &off, &len);
	MUST(disk_read(m->d, off, m->buf, len, &e));
	if (memcmp(m->buf, m->now + off, len))
		ck_abort_msg("%s: bytes differ in %llu+%llu", m->name, (unsigned long long)off,
			     (unsigned long long)len);
}

static void compare_all(struct model *m)
{
	ck_assert_uint_eq(disk_size(m->d), m->size);
	MUST(disk_read(m->d, 0, m->buf, m->size, &e));
	for (uint64_t i = 0; i < m->size; i++)
		if (m->buf[i] != m->now[i])
			ck_abort_msg("%s: byte %llu is %u, not %u", m->name, (unsigned long long)i,
				     m->buf[i], m->now[i]);
}

/* Some formats cannot become smaller; then nothing has changed. */
static void op_resize(struct model *m)
{
	uint64_t size = 2 * MiB + rnd(m, 4 * MiB - MiB);
	struct err e;
	int r = disk_resize(m->d, size, &e);

	if (r == -ENOTSUP && size < m->size) {
		compare_all(m);
		return;
	}
	if (r < 0)
		ck_abort_msg("%s: %llu to %llu bytes: %s", m->name, (unsigned long long)m->size,
			     (unsigned long long)size, e.msg);
	if (disk_size(m->d) < size || disk_size(m->d) > SIZE_MAX_)
		ck_abort_msg("%s: %llu bytes instead of %llu", m->name,
			     (unsigned long long)disk_size(m->d), (unsigned long long)size);
	/* What rounding up lets be seen again is as it was. */
	if (disk_size(m->d) < m->size)
		memset(m->now + disk_size(m->d), 0, SIZE_MAX_ - disk_size(m->d));
	m->size = disk_size(m->d);
}

static void check_clean(struct model *m)
{
	struct disk_check c = { 0 };

	MUST(disk_check(m->d, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions, 0);
	MUST(disk_flush(m->d, &e));
	MUST(disk_flush(m->d, &e));
	memset(&c, 0, sizeof(c));
	MUST(disk_check(m->d, 0, &c, &e));
	ck_assert_uint_eq(c.leaks, 0);
}

static void op_reopen(struct model *m)
{
	MUST(disk_finish(m->d, &e));
	m->d = must_open(m->v);
	compare_all(m);
	check_clean(m);
}

static void op_snapshot(struct model *m)
{
	/* Two bits count to three: that many snapshots, and going back needs one more. */
	bool narrow = m->v->flags & V_NARROW;
	unsigned i = (unsigned)rnd(m, ARRAY_SIZE(m->snap));
	int r = 0;

	if (m->snap[i].data && rnd(m, 2)) {
		if (narrow)
			r = disk_snapshot_revert(m->d, m->snap[i].name, NULL);
		else
			MUST(disk_snapshot_revert(m->d, m->snap[i].name, &e));
		if (r == -ERANGE)
			return;
		memcpy(m->now, m->snap[i].data, SIZE_MAX_);
		m->size = m->snap[i].size;
		compare_all(m);
		return;
	}
	if (m->snap[i].data) {
		MUST(disk_snapshot_delete(m->d, m->snap[i].name, &e));
		free(m->snap[i].data);
		m->snap[i].data = NULL;
		return;
	}
	snprintf(m->snap[i].name, sizeof(m->snap[i].name), "snap-%u", i);
	if (narrow)
		r = disk_snapshot_create(m->d, m->snap[i].name, NULL);
	else
		MUST(disk_snapshot_create(m->d, m->snap[i].name, &e));
	if (r == -ERANGE)
		return;
	m->snap[i].data = malloc(SIZE_MAX_);
	memcpy(m->snap[i].data, m->now, SIZE_MAX_);
	m->snap[i].size = m->size;
}

static void step(struct model *m)
{
	uint64_t dice = rnd(m, 1000);

	if (dice < 450)
		op_write(m);
	else if (dice < 600)
		op_zero(m);
	else if (dice < 700)
		op_discard(m);
	else if (dice < 920)
		op_compare(m);
	else if (dice < 980)
		MUST(disk_flush(m->d, &e));
	else if (dice < 985 && m->d->format->resize && !(m->v->flags & V_NO_RESIZE))
		op_resize(m);
	else if (dice < 990)
		op_reopen(m);
	else if (m->d->format->snapshot_create && !(m->v->flags & V_NO_SNAPSHOTS))
		op_snapshot(m);
}

/* An independent reader of the same file. */
static void ask_qemu(struct model *m)
{
	const char *driver = variant_qemu_name(m->v);
	char cmd[900], how[300];
	FILE *f;
	int r;

	if (!have_qemu || !(m->v->flags & V_QEMU))
		return;
	snprintf(how, sizeof(how), "--image-opts driver=%s,file.filename=image", driver);
	if (m->v->flags & V_SECRET)
		snprintf(how, sizeof(how),
			 "--object secret,id=s,data='%.*s' --image-opts "
			 "driver=%s,%s=s,file.filename=image",
			 (int)variant_secret.len, (const char *)variant_secret.data, driver,
			 strcmp(driver, "luks") ? "encrypt.key-secret" : "key-secret");
	/* 63: a format that qemu-img cannot check. */
	snprintf(cmd, sizeof(cmd),
		 "cd %s && { qemu-img check -q %s >out 2>&1 || test $? = 63; } && "
		 "qemu-img convert %s -O raw flat >out 2>&1",
		 dir, how, how);
	r = system(cmd);
	if (r) {
		snprintf(cmd, sizeof(cmd), "cat %s/out >&2", dir);
		ck_assert(system(cmd) == 0);
	}
	ck_assert_msg(r == 0, "qemu-img is not content with %s", m->name);
	snprintf(cmd, sizeof(cmd), "%s/flat", dir);
	f = fopen(cmd, "r");
	/* qemu-img leaves out what is not a whole sector. */
	ck_assert_uint_eq(fread(m->buf, 1, m->size, f) / 512, m->size / 512);
	fclose(f);
	ck_assert(!memcmp(m->buf, m->now, round_down(m->size, 512)));
}

START_TEST(an_image_is_an_array_of_bytes)
{
	const struct variant *v = variant_at((unsigned)_i);
	const char *only = getenv("VMD_FORMAT");
	struct model m;
	uint64_t ops = env_number("VMD_OPS", 20000) / variant_share(v, 0) + 1;

	if ((only && strcmp(only, v->format)) || !variant_possible(v))
		return;
	model_start(&m, v, env_number("VMD_SEED", 1) + (uint64_t)_i);
	for (uint64_t n = 0; n < ops; n++)
		step(&m);
	op_reopen(&m);
	MUST(disk_finish(m.d, &e));
	ask_qemu(&m);
	for (size_t i = 0; i < ARRAY_SIZE(m.snap); i++)
		free(m.snap[i].data);
	free(m.now);
	free(m.buf);
}
END_TEST

/* What qemu-io writes, in many shapes, we read. */
START_TEST(images_of_qemu_read_the_same)
{
	static const char *const options[] = {
		"compat=1.1",      "compat=0.10",      "cluster_size=512",      "cluster_size=2M",
		"refcount_bits=1", "refcount_bits=64", "compression_type=zstd",
	};
	char cmd[900];

	if (!have_qemu) {
		fprintf(stderr, "skipped: qemu-img is not installed\n");
		return;
	}
	for (size_t i = 0; i < 2 * ARRAY_SIZE(options); i++) {
		struct variant v = { .format = "qcow2", .options = "" };
		struct disk *raw, *d;
		uint8_t *x = malloc(6 * MiB), *y = malloc(6 * MiB);
		struct err e;

		if (strstr(options[i / 2], "zstd") && !codec_have(CODEC_ZSTD)) {
			fprintf(stderr, "skipped: %s, built without zstd\n", options[i / 2]);
			free(x);
			free(y);
			continue;
		}
		snprintf(
		    cmd, sizeof(cmd),
		    "cd %s && rm -f image base && head -c 1500000 /dev/urandom > base && "
		    "yes some text | head -c 3000000 >> base && truncate -s 6M base && "
		    "qemu-img convert -f raw -O qcow2 %s -o %s base image 2>out && "
		    "qemu-io -f qcow2 -c 'write -P 7 100K 30K' -c 'write -z 2M 300K' image >out && "
		    "qemu-io -f raw -c 'write -P 7 100K 30K' -c 'write -z 2M 300K' base >out",
		    dir, i % 2 ? "-c" : "", options[i / 2]);
		ck_assert_msg(system(cmd) == 0, "%s", cmd);
		d = must_open(&v);
		ck_assert_int_eq(
		    disk_open(base, &(struct disk_options){ .format = "raw" }, &raw, &e), 0);
		ck_assert_int_eq(disk_read(raw, 0, x, 6 * MiB, &e), 0);
		ck_assert_msg(disk_read(d, 0, y, 6 * MiB, &e) == 0, "%s", e.msg);
		ck_assert(!memcmp(x, y, 6 * MiB));
		/* And we may go on writing into it. */
		if (!strcmp(options[i / 2], "refcount_bits=1") && i % 2)
			goto next;
		ck_assert_msg(disk_write(d, 50000, x, 1000000, &e) == 0, "%s", e.msg);
		memmove(y + 50000, x, 1000000);
		ck_assert_int_eq(disk_read(d, 0, x, 6 * MiB, &e), 0);
		ck_assert(!memcmp(x, y, 6 * MiB));
	next:
		disk_close(d);
		disk_close(raw);
		snprintf(cmd, sizeof(cmd), "cd %s && qemu-img check -q image >out 2>&1", dir);
		ck_assert_msg(system(cmd) == 0, "%s", options[i / 2]);
		free(x);
		free(y);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, make_dir, drop_dir);
	tcase_add_loop_test(t, an_image_is_an_array_of_bytes, 0, (int)variant_count());
	tcase_add_test(t, images_of_qemu_read_the_same);
}

int main(void)
{
	return unit_run("model", cases);
}
