/*
 * cfi_flash.c - a bank of two 16-bit flash chips side by side on a 32-bit bus, with the Intel
 * command set (JEDEC JESD68.01 CFI; Intel StrataFlash P30 data sheet 306666, section "Bus
 * operations" and appendix "Common Flash Interface"). Reads of the array are reads of memory; the
 * bus shows registers only while a command is under way.
 *
 * Both chips are driven alike, as every driver of such a bank does, so they share one state and
 * answer the same in both halves of a word. Erase and program are done at once: suspend has
 * nothing to suspend. Block locks are volatile and open after power-up.
 */
#include "emul/dev/flash/cfi_flash.h"

#include <errno.h>
#include <string.h>

#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"

enum {
	BLOCK = 256 * 1024, /* of both chips */
	BUFFER = 256,       /* bytes of the write buffer of both chips */
	MAX_BLOCKS = 256,
	ID_MAKER = 0x89, /* Intel */
	ID_DEVICE = 0x18,
};

/* Commands. */
enum {
	PROGRAM = 0x10,
	ERASE = 0x20,
	PROGRAM_ALT = 0x40,
	CLEAR_STATUS = 0x50,
	LOCK = 0x60,
	READ_STATUS = 0x70,
	READ_ID = 0x90,
	CFI_QUERY = 0x98,
	CONFIRM = 0xd0,
	BUFFERED = 0xe8,
	READ_ARRAY = 0xff,
};

enum { STATUS_READY = 0x80, STATUS_ERASE = 0x20, STATUS_PROGRAM = 0x10, STATUS_LOCKED = 0x02 };

/* What the next write is. */
enum step {
	STEP_COMMAND,
	STEP_ERASE,
	STEP_PROGRAM,
	STEP_LOCK,
	STEP_COUNT,
	STEP_FILL,
	STEP_CONFIRM
};

struct cfi_state {
	uint32_t base; /* of the buffered program: the offset of its first word */
	uint32_t left; /* words that are still to come */
	uint8_t show;  /* what reads give: READ_ARRAY, READ_STATUS, READ_ID, CFI_QUERY */
	uint8_t step;
	uint16_t status;
	uint8_t buffer[BUFFER];
	uint8_t filled[BUFFER];
	uint8_t locked[MAX_BLOCKS];
};

struct cfi_flash {
	struct device dev;
	struct cfi_state s;
	struct ram *ram;
	uint64_t size;
	bool readonly;
};

static struct cfi_flash *flash_of(struct device *dev)
{
	return container_of(dev, struct cfi_flash, dev);
}

struct ram *cfi_flash_ram(struct device *dev)
{
	return flash_of(dev)->ram;
}

static void update(struct cfi_flash *f)
{
	bus_show_rom(f->dev.bus, &f->dev, 0, f->s.show == READ_ARRAY);
}

/*
 * The CFI table of one chip (JESD68.01, table 1): from word 0x10 on, a byte in each. Sizes are of
 * one chip, as powers of two but for the blocks.
 */
static uint8_t query(const struct cfi_flash *f, uint64_t word)
{
	uint64_t chip = f->size / 2, blocks = f->size / BLOCK;
	/*
	 * "QRY", the Intel command set, its table at 0x31; supply voltages; typical and longest
	 * times; size, x8 and x16 interface, write buffer of 2^7 bytes; one kind of blocks: how
	 * many - 1, their size in units of 256; "PRI10" at word 0x31.
	 */
	const uint8_t table[0x26] = { 'Q',
				      'R',
				      'Y',
				      0x01,
				      0x00,
				      0x31,
				      0x00,
				      0x00,
				      0x00,
				      0x00,
				      0x00,
				      0x17,
				      0x20,
				      0x85,
				      0x95,
				      0x07,
				      0x07,
				      0x0a,
				      0x00,
				      0x04,
				      0x04,
				      0x04,
				      0x00,
				      (uint8_t)__builtin_ctzll(chip),
				      0x02,
				      0x00,
				      0x07,
				      0x00,
				      0x01,
				      (uint8_t)(blocks - 1),
				      (uint8_t)((blocks - 1) >> 8),
				      (uint8_t)(BLOCK / 2 / 256),
				      (uint8_t)(BLOCK / 2 / 256 >> 8),
				      'P',
				      'R',
				      'I',
				      '1',
				      '0' };

	return word >= 0x10 && word - 0x10 < sizeof(table) ? table[word - 0x10] : 0;
}

static uint8_t lane(const struct cfi_flash *f, uint64_t off)
{
	uint64_t word = off / 4;

	switch (f->s.show) {
	case READ_STATUS: return (uint8_t)f->s.status;
	case CFI_QUERY: return query(f, word);
	default: break;
	}
	/* The identification is seen from the start of every block. */
	switch (word % (BLOCK / 4)) {
	case 0: return ID_MAKER;
	case 1: return ID_DEVICE;
	case 2: return f->s.locked[off / BLOCK];
	default: return 0;
	}
}

static uint64_t cfi_read(struct device *dev, uint64_t off, unsigned size)
{
	struct cfi_flash *f = flash_of(dev);
	uint64_t v = 0;

	if (f->s.show == READ_ARRAY) {
		memcpy(&v, f->ram->host + off, size);
		return v;
	}
	v = lane(f, off) * UINT64_C(0x00010001);
	return v >> off % 4 * 8;
}

/* Programming only clears bits (JESD68.01); refused for a block that is locked. */
static void program(struct cfi_flash *f, uint64_t off, const uint8_t *data, size_t n)
{
	if (f->readonly || f->s.locked[off / BLOCK]) {
		f->s.status |= STATUS_PROGRAM | STATUS_LOCKED;
		return;
	}
	for (size_t i = 0; i < n; i++)
		f->ram->host[off + i] &= data[i];
	ram_wrote(f->ram, off, n);
}

static void erase(struct cfi_flash *f, uint64_t off)
{
	off = off / BLOCK * BLOCK;
	if (f->readonly || f->s.locked[off / BLOCK]) {
		f->s.status |= STATUS_ERASE | STATUS_LOCKED;
		return;
	}
	memset(f->ram->host + off, 0xff, BLOCK);
	ram_wrote(f->ram, off, BLOCK);
}

static void command(struct cfi_flash *f, uint64_t off, uint8_t cmd)
{
	struct cfi_state *s = &f->s;

	switch (cmd) {
	case READ_ARRAY:
	case READ_STATUS:
	case READ_ID:
	case CFI_QUERY: s->show = cmd; return;
	case CLEAR_STATUS: s->status = STATUS_READY; return;
	case PROGRAM:
	case PROGRAM_ALT: s->step = STEP_PROGRAM; break;
	case ERASE: s->step = STEP_ERASE; break;
	case LOCK: s->step = STEP_LOCK; break;
	case BUFFERED:
		s->step = STEP_COUNT;
		s->base = (uint32_t)(off / BUFFER * BUFFER);
		break;
	default: guest_note(&f->dev, "unknown command %#x", cmd); return;
	}
	s->show = READ_STATUS;
}

static void buffer_start(struct cfi_flash *f, uint8_t count)
{
	struct cfi_state *s = &f->s;

	s->left = count + 1u;
	s->step = STEP_FILL;
	memset(s->filled, 0, sizeof(s->filled));
	if (s->left > BUFFER / 4) {
		s->status |= STATUS_PROGRAM | STATUS_ERASE;
		s->step = STEP_COMMAND;
	}
}

static void buffer_fill(struct cfi_flash *f, uint64_t off, uint64_t val, unsigned size)
{
	struct cfi_state *s = &f->s;

	/* Words of another part of the block make the command fail, as the data sheet says. */
	if (off / BUFFER * BUFFER == s->base) {
		memcpy(s->buffer + off % BUFFER, &val, size);
		memset(s->filled + off % BUFFER, 1, size);
	} else {
		s->status |= STATUS_PROGRAM;
	}
	if (!--s->left)
		s->step = STEP_CONFIRM;
}

static void buffer_program(struct cfi_flash *f)
{
	for (unsigned i = 0; i < BUFFER; i++)
		if (f->s.filled[i])
			program(f, f->s.base + i, &f->s.buffer[i], 1);
}

static void step_end(struct cfi_flash *f, uint64_t off, uint64_t val, unsigned size)
{
	uint8_t cmd = (uint8_t)val;
	enum step step = f->s.step;

	f->s.step = STEP_COMMAND;
	switch (step) {
	case STEP_COMMAND: command(f, off, cmd); break;
	case STEP_PROGRAM: program(f, off, (const uint8_t *)&val, size); break;
	case STEP_ERASE:
		if (cmd == CONFIRM)
			erase(f, off);
		else
			f->s.status |= STATUS_ERASE | STATUS_PROGRAM;
		break;
	case STEP_LOCK:
		if (cmd == 0x01 || cmd == 0x2f)
			f->s.locked[off / BLOCK] = 1;
		else if (cmd == CONFIRM)
			f->s.locked[off / BLOCK] = 0;
		break;
	case STEP_COUNT: buffer_start(f, cmd); break;
	case STEP_FILL:
		f->s.step = STEP_FILL;
		buffer_fill(f, off, val, size);
		break;
	case STEP_CONFIRM:
		if (cmd == CONFIRM && !(f->s.status & STATUS_PROGRAM))
			buffer_program(f);
		else
			f->s.status |= STATUS_PROGRAM;
		break;
	}
}

static void cfi_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct cfi_flash *f = flash_of(dev);

	step_end(f, off, val, size);
	update(f);
}

static void cfi_reset(struct device *dev)
{
	struct cfi_flash *f = flash_of(dev);

	f->s.show = READ_ARRAY;
	f->s.status = STATUS_READY;
	update(f);
}

static void cfi_loaded(struct device *dev)
{
	update(flash_of(dev));
}

static int cfi_plug(struct device *dev, struct err *e)
{
	struct cfi_flash *f = flash_of(dev);

	if (!is_pow2(f->size) || f->size < BLOCK || f->size > (uint64_t)BLOCK * MAX_BLOCKS)
		return err_set(e, -EINVAL, "the size must be a power of two, 256 KiB to 64 MiB");
	dev->window_size[0] = f->size;
	if (dev->machine)
		return machine_add_ram(dev->machine, dev->name, f->size, &f->ram, e);
	return err_set(e, -EINVAL, "a flash needs a machine");
}

static int cfi_check(struct device *dev, struct err *e)
{
	struct cfi_flash *f = flash_of(dev);
	struct cfi_state *s = &f->s;
	bool good = s->step <= STEP_CONFIRM && s->base % BUFFER == 0 && s->base < f->size;

	good &= s->show == READ_ARRAY || s->show == READ_STATUS || s->show == READ_ID ||
		s->show == CFI_QUERY;
	good &= s->step != STEP_FILL || (s->left && s->left <= BUFFER / 4);
	return good ? 0 : err_set(e, -EINVAL, "no such command can be under way");
}

static const struct state_field fields[] = {
	STATE(cfi_state, base),
	STATE(cfi_state, left),
	STATE(cfi_state, show),
	STATE(cfi_state, step),
	STATE(cfi_state, status),
	STATE_ARRAY(cfi_state, buffer),
	STATE_ARRAY(cfi_state, filled),
	STATE_ARRAY(cfi_state, locked),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "array", .min_access = 1, .max_access = 4, .read = cfi_read, .write = cfi_write },
	{ 0 },
};

static const struct device_prop props[] = {
	PROP(UINT, cfi_flash, size, "32M", "bytes of both chips"),
	PROP(BOOL, cfi_flash, readonly, "off", "refuse to erase and program"),
	{ 0 },
};

const struct device_class cfi_flash_class = {
	.name = "cfi-flash",
	.doc = "parallel flash with the Intel command set, two 16-bit chips",
	.size = sizeof(struct cfi_flash),
	.state_off = offsetof(struct cfi_flash, s),
	.state_size = sizeof(struct cfi_state),
	.state = fields,
	.windows = windows,
	.props = props,
	.plug = cfi_plug,
	.reset = cfi_reset,
	.loaded = cfi_loaded,
	.check = cfi_check,
};
