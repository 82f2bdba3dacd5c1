/* Codecs and ciphers: against the programs and the published vectors that are not ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "storage/crypt.h"
#include "storage/format.h"
#include "tests/unit.h"

enum { UNIT = 65536 };

static void fill(uint8_t *p, size_t n)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < n; i++) {
		x = x * 1103515245 + 12345;
		p[i] = i % 7 ? (uint8_t)(i / 61) : (uint8_t)(x >> 24);
	}
}

START_TEST(what_a_packer_packs_comes_back)
{
	static uint8_t in[UNIT], packed[UNIT], out[UNIT + 1];

	fill(in, sizeof(in));
	for (int c = 0; c < CODECS; c++) {
		struct packer *p;
		struct err e;

		if (!codec_have((enum codec)c) || packer_new((enum codec)c, 0, &p, &e) < 0)
			continue;
		for (int i = 0; i < 3; i++) {
			size_t n = packer_pack(p, in, UNIT - (size_t)i, packed, sizeof(packed));

			ck_assert_uint_gt(n, 0);
			ck_assert_uint_lt(n, UNIT / 2);
			memset(out, 0, sizeof(out));
			/* Followed by rubbish, as in the last sector of a stream. */
			memset(packed + n, 0xa5, 512);
			ck_assert_msg(codec_expand((enum codec)c, packed, n + 512, out,
						   UNIT - (size_t)i, &e) == 0,
				      "%s", e.msg);
			ck_assert(!memcmp(in, out, UNIT - (size_t)i));
			ck_assert_int_lt(codec_expand((enum codec)c, packed, n / 2, out, UNIT, &e),
					 0);
			ck_assert_str_eq(e.kind, "disk.format");
		}
		ck_assert_uint_eq(packer_pack(p, in, UNIT, packed, 100), 0);
		packer_free(p);
	}
}
END_TEST

START_TEST(streams_of_other_programs_are_read)
{
	static const struct {
		enum codec codec;
		const char *program;
	} rows[] = {
		{ CODEC_BZIP2, "bzip2 -9" },
		{ CODEC_LZMA, "xz -6" },
		{ CODEC_ZSTD, "zstd -3" },
	};
	char dir[] = "/tmp/vmd-codec-XXXXXX", path[64], cmd[300];
	static uint8_t in[UNIT], out[UNIT];
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	fill(in, sizeof(in));
	snprintf(path, sizeof(path), "%s/in", dir);
	f = fopen(path, "w");
	ck_assert_uint_eq(fwrite(in, 1, sizeof(in), f), sizeof(in));
	fclose(f);
	snprintf(path, sizeof(path), "%s/out", dir);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *data = NULL;
		size_t n;
		struct err e;

		snprintf(cmd, sizeof(cmd), "%s -c %s/in >%s/out 2>/dev/null", rows[i].program, dir,
			 dir);
		if (!codec_have(rows[i].codec) || system(cmd)) {
			fprintf(stderr, "left out: %s\n", rows[i].program);
			continue;
		}
		ck_assert_int_eq(file_read(path, UNIT, &data, &n, &e), 0);
		ck_assert_msg(codec_expand(rows[i].codec, data, n, out, UNIT, &e) == 0, "%s",
			      e.msg);
		ck_assert(!memcmp(in, out, UNIT));
		ck_assert_int_lt(codec_expand(rows[i].codec, data, n / 2, out, UNIT, &e), 0);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

#ifdef HAVE_NETTLE
/* IEEE 1619-2007, appendix B, vector 4: the first bytes of data unit 0. */
START_TEST(xts_is_that_of_the_standard)
{
	static const uint8_t key[32] = {
		0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60,
		0x28, 0x74, 0x71, 0x35, 0x26, 0x31, 0x41, 0x59, 0x26, 0x53, 0x58,
		0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95,
	};
	static const uint8_t want[16] = { 0x27, 0xa7, 0x47, 0x9b, 0xef, 0xa1, 0xd4, 0x76,
					  0x48, 0x9f, 0x30, 0x8c, 0xd4, 0xcf, 0xa6, 0xe2 };
	uint8_t buf[512];
	struct cipher *c;
	struct err e;

	for (int i = 0; i < 512; i++)
		buf[i] = (uint8_t)i;
	ck_assert_msg(cipher_new("aes", "xts-plain64", key, sizeof(key), 512, &c, &e) == 0, "%s",
		      e.msg);
	cipher_encrypt(c, 0, buf, sizeof(buf));
	ck_assert(!memcmp(buf, want, sizeof(want)));
	cipher_decrypt(c, 0, buf, sizeof(buf));
	for (int i = 0; i < 512; i++)
		ck_assert_int_eq(buf[i], (uint8_t)i);
	cipher_free(c);
}
END_TEST

/* RFC 6070, second vector. */
START_TEST(pbkdf2_is_that_of_the_standard)
{
	static const uint8_t want[20] = { 0xea, 0x6c, 0x01, 0x4d, 0xc7, 0x2d, 0x6f,
					  0x8c, 0xcd, 0x1e, 0xd9, 0x2a, 0xce, 0x1d,
					  0x41, 0xf0, 0xd8, 0xde, 0x89, 0x57 };
	uint8_t out[20];
	struct err e;

	ck_assert_int_eq(
	    kdf_pbkdf2("sha1", "password", 8, (const uint8_t *)"salt", 4, 2, out, sizeof(out), &e),
	    0);
	ck_assert(!memcmp(out, want, sizeof(want)));
}
END_TEST

START_TEST(an_unknown_cipher_is_named)
{
	static const char *const modes[] = { "xts-plain65", "cbc-essiv:md5", "ofb-plain", "xts-" };
	uint8_t key[64] = { 0 };
	struct cipher *c;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		ck_assert_int_lt(cipher_new("aes", modes[i], key, 32, 512, &c, &e), 0);
		ck_assert_str_eq(e.kind, "disk.format");
	}
	ck_assert_int_lt(cipher_new("des", "xts-plain64", key, 32, 512, &c, &e), 0);
	ck_assert_int_lt(cipher_new("aes", "xts-plain64", key, 33, 512, &c, &e), 0);
	ck_assert_int_lt(cipher_new("cast5", "xts-plain64", key, 32, 512, &c, &e), 0);
}
END_TEST
#endif

static void cases(TCase *t)
{
	tcase_add_test(t, what_a_packer_packs_comes_back);
	tcase_add_test(t, streams_of_other_programs_are_read);
#ifdef HAVE_NETTLE
	tcase_add_test(t, xts_is_that_of_the_standard);
	tcase_add_test(t, pbkdf2_is_that_of_the_standard);
	tcase_add_test(t, an_unknown_cipher_is_named);
#endif
}

int main(void)
{
	return unit_run("codec", cases);
}
