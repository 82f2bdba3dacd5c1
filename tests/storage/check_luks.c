/*
 * LUKS volumes against the programs that make them: qemu-img (version 1) and cryptsetup (both).
 * Neither needs root for this: cryptsetup writes headers and shows keys, qemu-img reads data.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "storage/luks.h"
#include "tests/unit.h"

#define DATA (3 * MiB)

static char dir[64], image[128];
static const struct disk_secret secret = { "the passphrase", 14 };

static void make_dir(void)
{
	strcpy(dir, "/tmp/vmd-luks-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
}

static void drop_dir(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* In the folder of the test. */
__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
	char cmd[1500];
	int n = snprintf(cmd, sizeof(cmd), "cd %s && exec >out 2>&1; ", dir);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
	va_end(ap);
	return system(cmd);
}

static void must(int status, const char *what)
{
	char cmd[100];

	if (!status)
		return;
	snprintf(cmd, sizeof(cmd), "cat %s/out >&2", dir);
	ck_assert_int_eq(system(cmd), 0);
	ck_abort_msg("%s", what);
}

static bool have(const char *program)
{
	if (run("%s --version", program) == 0)
		return true;
	fprintf(stderr, "skipped: %s is not installed\n", program);
	return false;
}

static struct disk *must_open(unsigned flags)
{
	struct disk_options o = { .format = "luks", .flags = flags, .secret = &secret };
	struct disk *d;
	struct err e;

	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	return d;
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * seed + (i >> 9) + (i >> 17));
}

/* What qemu-img sees of image; it must open it as LUKS. */
static void read_with_qemu(const char *file, uint8_t *buf)
{
	autofree char *data = NULL;
	char path[150];
	size_t n;
	struct err e;

	must(run("qemu-img convert --object secret,id=s,data='the passphrase' --image-opts "
		 "driver=luks,key-secret=s,file.filename=%s -O raw flat",
		 file),
	     "qemu-img cannot read the volume");
	snprintf(path, sizeof(path), "%s/flat", dir);
	ck_assert_int_eq(file_read(path, 64 * MiB, &data, &n, &e), 0);
	ck_assert_uint_ge(n, DATA);
	memcpy(buf, data, DATA);
}

static const char *const qemu_options[] = {
	"cipher-alg=aes-256,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha256",
	"cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha256",
	"cipher-alg=serpent-256,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha256",
	"cipher-alg=cast5-128,cipher-mode=cbc,ivgen-alg=plain64,hash-alg=sha256",
};

/* Writes of every alignment through ours, read by both. */
static void write_and_compare(uint8_t *now, uint8_t *buf, void (*peer)(const char *, uint8_t *))
{
	struct disk *d = must_open(0);
	unsigned seed = 7;
	struct err e;

	ck_assert_uint_ge(disk_size(d), DATA);
	ck_assert_int_eq(disk_read(d, 0, buf, DATA, &e), 0);
	ck_assert(!memcmp(now, buf, DATA));
	for (int i = 0; i < 200; i++) {
		uint64_t off = (uint64_t)rand_r(&seed) % (DATA - 100000);
		uint64_t len = 1 + (uint64_t)rand_r(&seed) % (i % 10 ? 3000 : 100000);

		if (i % 3 == 0)
			off = round_down(off, 512);
		fill(now + off, len, (unsigned)i);
		ck_assert_msg(disk_write(d, off, now + off, len, &e) == 0, "%s", e.msg);
		off = (uint64_t)rand_r(&seed) % (DATA - 5000);
		ck_assert_int_eq(disk_read(d, off, buf, 5000, &e), 0);
		ck_assert(!memcmp(now + off, buf, 5000));
	}
	ck_assert_int_eq(disk_finish(d, &e), 0);
	if (peer) {
		peer("image", buf);
		ck_assert(!memcmp(now, buf, DATA));
	}
}

START_TEST(volumes_of_qemu_are_read_and_written)
{
	static uint8_t now[DATA], buf[DATA];

	if (!have("qemu-img"))
		return;
	if (run("qemu-img create -f luks --object secret,id=s,data='the passphrase' -o "
		"key-secret=s,iter-time=10,%s image %llu",
		qemu_options[_i], (unsigned long long)DATA)) {
		fprintf(stderr, "left out: qemu-img cannot make %s\n", qemu_options[_i]);
		return;
	}
	must(run("qemu-io --object secret,id=s,data='the passphrase' --image-opts "
		 "driver=luks,key-secret=s,file.filename=image -c 'write -P 7 0 3M' "
		 "-c 'write -P 9 1000K 100K'"),
	     "qemu-io");
	memset(now, 7, sizeof(now));
	memset(now + 1000 * KiB, 9, 100 * KiB);
	write_and_compare(now, buf, read_with_qemu);
}
END_TEST

static const char *const cryptsetup_options[] = {
	"--type luks1 --pbkdf-force-iterations 1000",
	"--type luks1 --pbkdf-force-iterations 1000 --cipher aes-cbc-essiv:sha256 --key-size 256",
	"--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 512",
	"--type luks2 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 1024 "
	"--sector-size 512",
	"--type luks2 --pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 1024 "
	"--pbkdf-parallel 1 --sector-size 512 --cipher serpent-xts-plain64 --hash sha512",
	"--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 4096 "
	"--luks2-metadata-size 64k --luks2-keyslots-size 512k",
};

/*
 * The key that cryptsetup shows is the one we find; and a volume of version 1 with that key and
 * our data is read by qemu-img.
 */
static void compare_through_version_1(const char *options, const uint8_t *now, uint8_t *buf)
{
	const char *cipher = strstr(options, "serpent") ? "serpent-xts-plain64" : "aes-xts-plain64";
	struct disk_options o = { .format = "luks", .secret = &secret };
	autofree char *key = NULL;
	char path[150];
	struct luks l;
	struct file *f;
	struct disk *d;
	size_t n;
	struct err e;

	ck_assert_int_eq(disk_open(image, &o, &d, &e), 0);
	f = disk_file(d);
	ck_assert_msg(luks_open(f, 0, file_size(f), &secret, &l, &e) == 0, "%s", e.msg);
	disk_close(d);
	must(run("printf 'the passphrase' | cryptsetup luksDump -q --dump-volume-key "
		 "--volume-key-file key --key-file - image"),
	     "cryptsetup does not show the key");
	snprintf(path, sizeof(path), "%s/key", dir);
	ck_assert_int_eq(file_read(path, 1000, &key, &n, &e), 0);
	ck_assert_uint_eq(n, l.key_len);
	ck_assert(!memcmp(key, l.key, n));
	if (l.sector != 512 || !have("qemu-img"))
		return;
	must(run("truncate -s 8M one && printf 'the passphrase' | cryptsetup luksFormat -q --type "
		 "luks1 --pbkdf-force-iterations 1000 --cipher %s --key-size %zu "
		 "--volume-key-file key --key-file - one && "
		 "at=$(cryptsetup luksDump one | sed -n 's/^Payload offset:[^0-9]*//p') && "
		 "dd if=image of=one bs=512 skip=%llu seek=$at conv=notrunc",
		 cipher, n * 8, (unsigned long long)l.payload / 512),
	     "cryptsetup cannot make a volume with a given key");
	read_with_qemu("one", buf);
	ck_assert(!memcmp(now, buf, DATA));
}

START_TEST(volumes_of_cryptsetup_are_read_and_written)
{
	static uint8_t now[DATA], buf[DATA];
	const char *options = cryptsetup_options[_i];
	bool one = strstr(options, "luks1");
	struct disk *d;
	struct err e;

	if (!have("cryptsetup"))
		return;
#ifndef HAVE_ARGON2
	if (strstr(options, "argon2"))
		return;
#endif
	/* Some ciphers are the kernel's, and not every kernel has them or lends them. */
	if (run("truncate -s 24M image && printf 'the passphrase' | cryptsetup luksFormat -q %s "
		"--key-file - image",
		options)) {
		fprintf(stderr, "left out: cryptsetup cannot make %s\n", options);
		return;
	}
	d = must_open(0);
	fill(now, DATA, 3);
	ck_assert_int_eq(disk_write(d, 0, now, DATA, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	write_and_compare(now, buf, one && have("qemu-img") ? read_with_qemu : NULL);
	if (!one)
		compare_through_version_1(options, now, buf);
}
END_TEST

START_TEST(a_damaged_first_header_is_replaced_by_the_second)
{
	struct disk *d;
	struct err e;

	if (!have("cryptsetup"))
		return;
	must(run("truncate -s 24M image && printf 'the passphrase' | cryptsetup luksFormat -q "
		 "--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - image && "
		 "printf xxxx | dd of=image bs=1 seek=5000 conv=notrunc"),
	     "cryptsetup");
	d = must_open(DISK_RDONLY);
	ck_assert_uint_gt(disk_size(d), MiB);
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

START_TEST(a_wrong_or_missing_passphrase_is_said)
{
	struct disk_secret wrong = { "the passphrasE", 14 };
	struct disk_options o = { .format = "luks" };
	struct disk_info i;
	struct disk *d;
	char b[512];
	struct err e;

	if (!have("qemu-img"))
		return;
	must(run("qemu-img create -f luks --object secret,id=s,data='the passphrase' -o "
		 "key-secret=s,iter-time=10 image 1M"),
	     "qemu-img");
	ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
	ck_assert_str_eq(e.kind, "disk.secret");
	o.secret = &wrong;
	ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
	ck_assert_str_eq(e.kind, "disk.secret");
	wrong.work_max = 1;
	ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
	ck_assert_str_eq(e.kind, "disk.format");
	/* What it is can be seen without. */
	o.secret = NULL;
	o.flags = DISK_NO_SECRET | DISK_RDONLY;
	ck_assert_int_eq(disk_open(image, &o, &d, &e), 0);
	disk_info(d, &i);
	ck_assert(i.encrypted);
	ck_assert_ptr_nonnull(strstr(i.detail, "cipher=aes-xts-plain64"));
	ck_assert_int_lt(disk_read(d, 0, b, sizeof(b), &e), 0);
	ck_assert_str_eq(e.kind, "disk.secret");
	disk_close(d);
	/* Found without being told its name. */
	o.format = NULL;
	ck_assert_int_eq(disk_open(image, &o, &d, &e), 0);
	ck_assert_str_eq(disk_format_name(d), "luks");
	disk_close(d);
}
END_TEST

/* Only the kernel has some ciphers; AES everybody has. */
static void continue_or_fail(const struct luks1_new *kind)
{
	must(!strcmp(kind->cipher, "aes"), "cryptsetup does not open it");
	fprintf(stderr, "left out: cryptsetup cannot use %s here\n", kind->cipher);
}

START_TEST(a_header_of_ours_is_opened_by_cryptsetup)
{
	static const struct luks1_new kinds[] = {
		{ "aes", "xts-plain64", "sha256", 64, 1000 },
		{ "aes", "cbc-essiv:sha256", "sha1", 32, 1000 },
		{ "twofish", "xts-plain64", "sha512", 32, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		autofree uint8_t *h = NULL;
		struct luks l;
		size_t n;
		FILE *f;
		struct err e;

		ck_assert_msg(luks1_make(&kinds[i], &secret, &h, &n, &l, &e) == 0, "%s", e.msg);
		ck_assert_uint_eq(n, l.payload);
		f = fopen(image, "w");
		ck_assert_uint_eq(fwrite(h, 1, n, f), n);
		fclose(f);
		ck_assert_int_eq(truncate(image, (off_t)n + 65536), 0);
		disk_close(must_open(0));
		if (!have("cryptsetup"))
			continue;
		if (run("rm -f key; printf 'the passphrase' | cryptsetup luksDump -q "
			"--dump-volume-key "
			"--volume-key-file key --key-file - image"))
			continue_or_fail(&kinds[i]);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, make_dir, drop_dir);
#ifdef HAVE_NETTLE
	tcase_add_loop_test(t, volumes_of_qemu_are_read_and_written, 0, ARRAY_SIZE(qemu_options));
	tcase_add_loop_test(t, volumes_of_cryptsetup_are_read_and_written, 0,
			    ARRAY_SIZE(cryptsetup_options));
	tcase_add_test(t, a_damaged_first_header_is_replaced_by_the_second);
	tcase_add_test(t, a_wrong_or_missing_passphrase_is_said);
	tcase_add_test(t, a_header_of_ours_is_opened_by_cryptsetup);
#endif
}

int main(void)
{
	return unit_run("luks", cases);
}
