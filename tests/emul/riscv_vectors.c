/*
 * riscv_vectors.c - batches of code for check_riscv_insns.c and check_riscv_random.c: the loop that
 * runs them, random operands, and the run under qemu.
 */
#include "tests/emul/riscv_vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "emul/isa/isa_table.h"

enum { ZERO = 0, RA = 1, SP = 2, A0 = 10, A1 = 11, A2 = 12, A6 = 16, A7 = 17 };
enum {
	RECORD_X = offsetof(struct rv_record, x),
	RECORD_F = offsetof(struct rv_record, f),
	RECORD_FCSR = offsetof(struct rv_record, fcsr),
	RECORD_DATA = offsetof(struct rv_record, data),
	RECORD_SLOT = offsetof(struct rv_record, slot)
};

/* ---- putting instructions together ---------------------------------------------------------- */

void rv_put(uint8_t **at, uint32_t insn)
{
	if ((insn & 3) == 3) {
		put_le32(*at, insn);
		*at += 4;
	} else {
		put_le16(*at, (uint16_t)insn);
		*at += 2;
	}
}

void rv_put_return(uint8_t **at)
{
	rv_put(at, 0x67 | RV_LINK << 15);
}

static uint32_t i_type(unsigned op, unsigned f3, unsigned rd, unsigned rs1, int imm)
{
	return op | rd << 7 | f3 << 12 | rs1 << 15 | (uint32_t)imm << 20;
}

static uint32_t s_type(unsigned op, unsigned f3, unsigned rs2, unsigned rs1, unsigned imm)
{
	return op | (imm & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | imm >> 5 << 25;
}

/* Loads and stores of a register's width. */
static uint32_t load(unsigned xlen, unsigned rd, unsigned rs1, unsigned off)
{
	return i_type(0x03, xlen == 64 ? 3 : 2, rd, rs1, (int)off);
}

static uint32_t store(unsigned xlen, unsigned rs2, unsigned rs1, unsigned off)
{
	return s_type(0x23, xlen == 64 ? 3 : 2, rs2, rs1, off);
}

/* rd = an address at or above RV_BASE, without the copies of its sign: lui, addi, and shifts. */
static void put_address(uint8_t **at, unsigned xlen, unsigned rd, uint64_t addr)
{
	uint32_t low = addr & 0xfff, high = (uint32_t)(addr + (low & 0x800 ? 0x1000 : 0)) >> 12;

	rv_put(at, 0x37 | rd << 7 | high << 12);
	if (xlen == 64) {
		rv_put(at, i_type(0x13, 1, rd, rd, 32)); /* slli, srli: zeroes above */
		rv_put(at, i_type(0x13, 5, rd, rd, 32));
	}
	rv_put(at, i_type(0x13, 0, rd, rd, (int)low));
}

static void put_jump(uint8_t **at, const uint8_t *to)
{
	int32_t off = (int32_t)(to - *at);
	uint32_t u = (uint32_t)off;

	rv_put(at, 0x6f | (u & 0xff000) | (u >> 11 & 1) << 20 | (u >> 1 & 0x3ff) << 21 |
		       (u >> 20 & 1) << 31);
}

/* Copy the data between a record and memory, by x1 with x2 as pointer. */
static void put_copy(uint8_t **at, unsigned xlen, bool to_memory)
{
	put_address(at, xlen, SP, RV_DATA);
	for (unsigned off = 0; off < RV_DATA_WORDS * 8; off += xlen / 8) {
		rv_put(at, to_memory ? load(xlen, RA, RV_RECORD, RECORD_DATA + off)
				     : load(xlen, RA, SP, off));
		rv_put(at, to_memory ? store(xlen, RA, SP, off)
				     : store(xlen, RA, RV_RECORD, RECORD_DATA + off));
	}
}

static void put_registers(uint8_t **at, unsigned xlen, bool in)
{
	enum { FLD = 0x07, FSD = 0x27, CSR = 0x73, FCSR = 3 };

	if (in) {
		rv_put(at, load(xlen, RA, RV_RECORD, RECORD_FCSR));
		rv_put(at, i_type(CSR, 1, ZERO, RA, FCSR));
	}
	for (unsigned i = 0; i < 32; i++)
		rv_put(at, in ? i_type(FLD, 3, i, RV_RECORD, (int)(RECORD_F + 8 * i))
			      : s_type(FSD, 3, i, RV_RECORD, RECORD_F + 8 * i));
	for (unsigned i = 1; i < RV_XREGS; i++)
		rv_put(at, in ? load(xlen, i, RV_RECORD, RECORD_X + 8 * i)
			      : store(xlen, i, RV_RECORD, RECORD_X + 8 * i));
	if (!in) {
		rv_put(at, i_type(CSR, 2, RA, ZERO, FCSR));
		rv_put(at, store(xlen, RA, RV_RECORD, RECORD_FCSR));
	}
}

/* Linux: write(1, records), exit(0). Ours: SBI system reset, which powers off. */
static void put_end(uint8_t **at, const struct rv_batch *b, bool linux_abi)
{
	enum { SYS_WRITE = 64, SYS_EXIT = 93, ECALL = 0x73 };
	uint64_t len = b->n * sizeof(struct rv_record);

	if (linux_abi) {
		rv_put(at, i_type(0x13, 0, A0, ZERO, 1));
		put_address(at, b->xlen, A1, RV_RECORDS);
		put_address(at, b->xlen, A2, len);
		rv_put(at, i_type(0x13, 0, A7, ZERO, SYS_WRITE));
		rv_put(at, ECALL);
		rv_put(at, i_type(0x13, 0, A0, ZERO, 0));
		rv_put(at, i_type(0x13, 0, A7, ZERO, SYS_EXIT));
	} else {
		rv_put(at, i_type(0x13, 0, A0, ZERO, 0));
		rv_put(at, i_type(0x13, 0, A1, ZERO, 0));
		rv_put(at, i_type(0x13, 0, A6, ZERO, 0));
		rv_put(at, 0x37 | A7 << 7 | 0x53525 << 12); /* "SRST" */
		rv_put(at, i_type(0x13, 0, A7, A7, 0x354));
	}
	rv_put(at, ECALL);
}

void rv_batch_loop(const struct rv_batch *b, bool linux_abi)
{
	uint8_t *at = b->image, *loop, *out;

	put_address(&at, b->xlen, RV_RECORD, RV_RECORDS);
	loop = at;
	rv_put(&at, load(b->xlen, RA, RV_RECORD, RECORD_SLOT));
	rv_put(&at, 0x63 | 1 << 12 | RA << 15 | 8 << 7); /* bne ra, zero, over the next */
	out = at;
	at += 4;
	put_copy(&at, b->xlen, true);
	put_registers(&at, b->xlen, true);
	rv_put(&at, load(b->xlen, RV_LINK, RV_RECORD, RECORD_SLOT));
	rv_put(&at, i_type(0x67, 0, RV_LINK, RV_LINK, 0));
	put_registers(&at, b->xlen, false);
	put_copy(&at, b->xlen, false);
	rv_put(&at, i_type(0x13, 0, RV_RECORD, RV_RECORD, sizeof(struct rv_record)));
	put_jump(&at, loop);
	put_jump(&out, at);
	put_end(&at, b, linux_abi);
}

/* ---- batches -------------------------------------------------------------------------------- */

int rv_batch_init(struct rv_batch *b, unsigned xlen, unsigned n, unsigned slot_len, struct err *e)
{
	*b = (struct rv_batch){ .xlen = xlen, .n = n, .slot_len = slot_len };
	b->len = RV_RECORDS - RV_BASE + (n + 1) * sizeof(struct rv_record);
	b->len = round_up(b->len, 4096) + (size_t)n * slot_len;
	b->image = calloc(1, b->len);
	if (!b->image)
		return err_nomem(e);
	for (unsigned i = 0; i < n; i++)
		rv_record(b, i)->slot = rv_slot_addr(b, i);
	return 0;
}

void rv_batch_free(struct rv_batch *b)
{
	free(b->image);
	b->image = NULL;
}

struct rv_record *rv_record(const struct rv_batch *b, unsigned i)
{
	return (struct rv_record *)(b->image + (RV_RECORDS - RV_BASE)) + i;
}

uint64_t rv_slot_addr(const struct rv_batch *b, unsigned i)
{
	return RV_BASE + b->len - (size_t)(b->n - i) * b->slot_len;
}

uint8_t *rv_slot(const struct rv_batch *b, unsigned i)
{
	return b->image + (rv_slot_addr(b, i) - RV_BASE);
}

/* ---- operands ------------------------------------------------------------------------------- */

uint32_t rv_arg_put(const struct isa_arg *a, uint32_t w, int64_t v)
{
	uint64_t u = (uint64_t)(v - a->add) >> a->shift;

	for (unsigned i = a->n_parts; i--;) {
		unsigned width = a->parts[i].high - a->parts[i].low + 1u;
		uint32_t mask = UINT32_MAX >> (32 - width) << a->parts[i].low;

		w = (w & ~mask) | ((uint32_t)u << a->parts[i].low & mask);
		u >>= width;
	}
	return w;
}

/* xorshift64*. */
uint64_t rv_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t rv_value(uint64_t *seed)
{
	static const uint64_t edges[] = {
		0,
		1,
		UINT64_MAX,
		UINT64_C(1) << 63,
		(UINT64_C(1) << 63) - 1,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		UINT64_C(0xffffffff80000000),
		UINT64_C(0xffffffff7fffffff),
		0x100000000,
		0xff,
		0x80,
		0x8000,
	};
	uint64_t r = rv_random(seed), v = rv_random(seed);

	switch (r & 7) {
	case 0:
	case 1: return edges[v % ARRAY_SIZE(edges)];
	case 2: return UINT64_C(1) << (v & 63);
	case 3: return v & 0xff;
	case 4: return ~(v & 0xff);
	case 5: return (uint64_t)(int64_t)(int32_t)v;
	default: return v;
	}
}

static uint32_t single(uint64_t *seed)
{
	static const uint32_t edges[] = {
		0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
		0x7fc00000, 0xffc00001, 0x7f800001, 0xff812345, 1,          0x807fffff,
		0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x4f000000, 0xcf000000,
		0x5f000000, 0x4f800000, 0x3f000000, 0x3fc00000, 0xbf000000, 0x4b800001,
	};
	uint64_t r = rv_random(seed), v = rv_random(seed);

	if ((r & 3) == 0)
		return edges[v % ARRAY_SIZE(edges)];
	if ((r & 3) == 1) /* exponents near that of one, so that sums and products meet */
		return (uint32_t)((v & 0x807fffff) | (124 + (v >> 40 & 7)) << 23);
	return (uint32_t)v;
}

/* A double, or a single in its box, or a single in none. */
uint64_t rv_float(uint64_t *seed)
{
	static const uint64_t edges[] = {
		0,
		UINT64_C(0x8000000000000000),
		UINT64_C(0x3ff0000000000000),
		UINT64_C(0xbff0000000000000),
		UINT64_C(0x7ff0000000000000),
		UINT64_C(0xfff0000000000000),
		UINT64_C(0x7ff8000000000000),
		UINT64_C(0xfff8000000000001),
		UINT64_C(0x7ff0000000000001),
		UINT64_C(0xfff7ffffffffffff),
		1,
		UINT64_C(0x800fffffffffffff),
		UINT64_C(0x0010000000000000),
		UINT64_C(0x8010000000000000),
		UINT64_C(0x7fefffffffffffff),
		UINT64_C(0xffefffffffffffff),
		UINT64_C(0x41dfffffffc00000),
		UINT64_C(0x41e0000000000000),
		UINT64_C(0xc1e0000000200000),
		UINT64_C(0x43e0000000000000),
		UINT64_C(0xc3e0000000000000),
		UINT64_C(0x43f0000000000000),
		UINT64_C(0x3fe0000000000000),
		UINT64_C(0x36a0000000000000),
		UINT64_C(0x380fffffffffffff),
		UINT64_C(0x47efffffe0000000),
	};
	uint64_t r = rv_random(seed), v = rv_random(seed);

	switch (r & 7) {
	case 0:
	case 1: return edges[v % ARRAY_SIZE(edges)];
	case 2: return (v & UINT64_C(0x800fffffffffffff)) | (1020 + (r >> 8 & 7)) << 52;
	case 3: return v;
	case 4: return single(seed);
	default: return UINT64_C(0xffffffff00000000) | single(seed);
	}
}

void rv_fill(struct rv_record *r, unsigned xlen, uint64_t *seed)
{
	for (unsigned i = 1; i < RV_XREGS; i++)
		r->x[i] = xlen == 32 ? (uint32_t)rv_value(seed) : rv_value(seed);
	for (unsigned i = 0; i < 32; i++)
		r->f[i] = rv_float(seed);
	for (unsigned i = 0; i < RV_DATA_WORDS; i++)
		r->data[i] = rv_random(seed) & 1 ? rv_float(seed) : rv_value(seed);
	r->fcsr = rv_random(seed) % 5 << 5 | (rv_random(seed) & 31);
}

/* ---- qemu's user mode ----------------------------------------------------------------------- */

/* An ELF header and one segment, the image; elf(5). */
static void put_elf(const struct rv_batch *b, uint8_t *h)
{
	enum { MACHINE = 243, EXEC = 2, LOAD = 1, RWX = 7, FLAGS = 5, AT = 0x1000 };
	bool is64 = b->xlen == 64;
	unsigned head = is64 ? 64 : 52, w = is64 ? 8 : 4;
	uint8_t *p = h + head;

	memcpy(h, "\177ELF", 4);
	h[4] = is64 ? 2 : 1;
	h[5] = h[6] = 1;
	put_le16(h + 16, EXEC);
	put_le16(h + 18, MACHINE);
	put_le32(h + 20, 1);
	put_le32(h + 24, (uint32_t)RV_BASE); /* entry; the upper halves are zero */
	put_le32(h + 24 + w, head);
	put_le32(h + 24 + 3 * w, FLAGS);
	put_le16(h + 28 + 3 * w, (uint16_t)head);
	put_le16(h + 30 + 3 * w, is64 ? 56 : 32);
	put_le16(h + 32 + 3 * w, 1);
	put_le32(p, LOAD);
	if (is64)
		put_le32(p + 4, RWX);
	put_le32(p + w, AT);
	put_le32(p + 2 * w, (uint32_t)RV_BASE);
	put_le32(p + 3 * w, (uint32_t)RV_BASE);
	put_le32(p + 4 * w, (uint32_t)b->len);
	put_le32(p + 5 * w, (uint32_t)b->len);
	if (!is64)
		put_le32(p + 6 * w, RWX);
	put_le32(p + (is64 ? 6 * w : 7 * w), AT);
}

static int run_child(const char *program, const char *file, int out, struct err *e)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, "cannot fork");
	if (!pid) {
		dup2(out, 1);
		execlp(program, program, file, NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return err_sys(e, "cannot wait for %s", program);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(e, -ENOENT, "%s is not installed", program);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, -EIO, "%s ended with status %#x", program, (unsigned)status);
	return 0;
}

int rv_run_qemu(struct rv_batch *b, struct err *e)
{
	char name[] = "/tmp/vmd-vectors-XXXXXX";
	autoclose int fd = mkostemp(name, O_CLOEXEC), out = -1;
	uint8_t header[0x1000] = { 0 };
	FILE *results;
	int r;

	if (fd < 0)
		return err_sys(e, "cannot make a temporary file");
	rv_batch_loop(b, true);
	put_elf(b, header);
	r = write_full(fd, header, sizeof(header), e);
	if (!r)
		r = write_full(fd, b->image, b->len, e);
	if (!r && fchmod(fd, 0700) < 0)
		r = err_sys(e, "cannot change the mode of %s", name);
	close(take_fd(&fd)); /* or it could not be executed */
	results = tmpfile();
	if (!r && !results)
		r = err_sys(e, "cannot make a temporary file");
	if (!r) {
		out = dup(fileno(results));
		r = run_child(b->xlen == 64 ? "qemu-riscv64" : "qemu-riscv32", name, out, e);
	}
	if (!r)
		r = pread_full(out, rv_record(b, 0), b->n * sizeof(struct rv_record), 0, e);
	if (results)
		fclose(results);
	unlink(name);
	return r;
}
