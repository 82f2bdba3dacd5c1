/*
 * x86_batch.c - the image of a batch, and running it: on the host, where signals tell of
 * exceptions, or on an engine in ring 3, where a small handler does.
 */
#include "tests/emul/x86_batch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/isa/x86/x86_cpu.h"
#include "emul/jit/engines.h"

/* The image: tables of the machine first, then slots, then records. */
enum {
	PML4 = 0x0000,
	PDPT = 0x1000,
	PD = 0x2000,
	IDT = 0x3000,
	GDT = 0x4000,
	TSS = 0x4100,
	VARS = 0x4400, /* current record, next slot */
	HANDLERS = 0x5000,
	STACK0 = 0x7ff0,
	STACK3 = 0x9f00,
	SLOTS = 0xa000,
};

static uint64_t slot_addr(unsigned i)
{
	return XB_BASE + SLOTS + (uint64_t)i * XB_CODE;
}

/* The number of slots is kept where every part finds it. */
static uint64_t records_at(const struct xb_batch *b)
{
	return round_up(SLOTS + (uint64_t)(b->n + 1) * XB_CODE, 4096);
}

struct xb_record *xb_record(const struct xb_batch *b, unsigned i)
{
	return (struct xb_record *)(void *)(b->image + records_at(b)) + i;
}

uint64_t xb_record_addr(const struct xb_batch *b, unsigned i)
{
	return XB_BASE + records_at(b) + i * sizeof(struct xb_record);
}

/* ---- code around the code -------------------------------------------------------------------- */

struct out {
	uint8_t *p;
};

static void byte(struct out *o, unsigned v)
{
	*o->p++ = (uint8_t)v;
}

static void word(struct out *o, uint64_t v)
{
	put_le32(o->p, (uint32_t)v);
	o->p += 4;
}

/* mov between a register and [address]; op 0x8b loads, 0x89 stores. */
static void mov_abs(struct out *o, unsigned op, unsigned reg, uint64_t addr)
{
	byte(o, 0x48 | (reg & 8 ? 4 : 0));
	byte(o, op);
	byte(o, 4 | (reg & 7) << 3);
	byte(o, 0x25);
	word(o, addr);
}

/* mov qword [address], v */
static void store_imm(struct out *o, uint64_t addr, uint64_t v)
{
	byte(o, 0x48);
	byte(o, 0xc7);
	byte(o, 4);
	byte(o, 0x25);
	word(o, addr);
	word(o, v);
}

/* push or pop [address]: digit 6 of ff, 0 of 8f */
static void stack_abs(struct out *o, unsigned op, unsigned digit, uint64_t addr)
{
	byte(o, op);
	byte(o, 4 | digit << 3);
	byte(o, 0x25);
	word(o, addr);
}

static void jump_to(struct out *o, const struct xb_batch *b, uint64_t to)
{
	uint64_t at = XB_BASE + (uint64_t)(o->p - b->image);

	byte(o, 0xe9);
	word(o, to - (at + 5));
}

uint8_t *xb_put(struct xb_batch *b, unsigned i, const uint8_t *code, unsigned len)
{
	uint8_t *start = b->image + SLOTS + (size_t)i * XB_CODE, *at;
	uint64_t rec = xb_record_addr(b, i);
	struct out o = { start };

	store_imm(&o, XB_BASE + VARS, rec);
	store_imm(&o, XB_BASE + VARS + 8, slot_addr(i + 1));
	byte(&o, 0xbc); /* mov esp, STACK3 */
	word(&o, XB_BASE + STACK3);
	stack_abs(&o, 0xff, 6, rec + 128);
	byte(&o, 0x9d); /* popf */
	for (unsigned r = 0; r < 16; r++)
		mov_abs(&o, 0x8b, r, rec + 8 * r);
	at = o.p;
	if (len)
		memcpy(o.p, code, len);
	o.p += len;
	for (unsigned r = 0; r < 16; r++)
		mov_abs(&o, 0x89, r, rec + 8 * r);
	byte(&o, 0xbc);
	word(&o, XB_BASE + STACK3);
	byte(&o, 0x9c); /* pushf */
	stack_abs(&o, 0x8f, 0, rec + 128);
	byte(&o, 0xfc); /* cld */
	jump_to(&o, b, slot_addr(i + 1));
	return at;
}

const uint8_t *xb_code(const struct xb_batch *b, unsigned i)
{
	return b->image + SLOTS + (size_t)i * XB_CODE + XB_PROLOGUE;
}

/* ---- the machine's tables -------------------------------------------------------------------- */

static void gate(struct xb_batch *b, unsigned vector, uint64_t to)
{
	uint8_t *p = b->image + IDT + 16 * vector;

	put_le64(p, (to & 0xffff) | 8 << 16 | UINT64_C(0xee00) << 32 | (to >> 16 & 0xffff) << 48);
	put_le64(p + 8, to >> 32);
}

/*
 * A handler: trap of the record = vector, and on with the next slot. At the end there is none:
 * triple fault.
 */
static void make_handlers(struct xb_batch *b)
{
	struct out o = { b->image + HANDLERS };

	for (unsigned v = 0; v < 32; v++) {
		gate(b, v, XB_BASE + (uint64_t)(o.p - b->image));
		byte(&o, 0xbc); /* mov esp, STACK3: the frame is made anew */
		word(&o, XB_BASE + STACK0);
		mov_abs(&o, 0x8b, X86_RAX, XB_BASE + VARS);
		byte(&o, 0x48), byte(&o, 0xc7), byte(&o, 0x80); /* mov qword [rax + trap], v */
		word(&o, offsetof(struct xb_record, trap));
		word(&o, v);
		byte(&o, 0x6a), byte(&o, 0x23); /* push ss, rsp, flags, cs, rip */
		byte(&o, 0x68), word(&o, XB_BASE + STACK3);
		byte(&o, 0x6a), byte(&o, 2);
		byte(&o, 0x6a), byte(&o, 0x2b);
		stack_abs(&o, 0xff, 6, XB_BASE + VARS + 8);
		byte(&o, 0x48), byte(&o, 0xcf); /* iretq */
	}
	/* int 0xff: no IDT, then an exception */
	gate(b, 255, XB_BASE + (uint64_t)(o.p - b->image));
	byte(&o, 0x0f), byte(&o, 0x01), byte(&o, 0x1c), byte(&o, 0x25); /* lidt [zeroes] */
	word(&o, XB_BASE + VARS + 64);
	byte(&o, 0x0f), byte(&o, 0x0b);
}

static void make_tables(struct xb_batch *b)
{
	static const uint64_t gdt[] = {
		0, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00cf93000000ffff),
		0, UINT64_C(0x00cff3000000ffff), UINT64_C(0x00affb000000ffff)
	};

	put_le64(b->image + PML4, XB_BASE + PDPT + 7);
	put_le64(b->image + PDPT, XB_BASE + PD + 7);
	for (unsigned i = 0; i < 512; i++)
		put_le64(b->image + PD + 8 * i, (uint64_t)i << 21 | 0x87);
	memcpy(b->image + GDT, gdt, sizeof(gdt));
	put_le64(b->image + TSS + 4, XB_BASE + STACK0);
	make_handlers(b);
}

int xb_init(struct xb_batch *b, unsigned n, struct err *e)
{
	struct out o;

	b->n = n;
	b->len = round_up(records_at(b) + n * sizeof(struct xb_record), 2 << 20);
	b->image = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->image == MAP_FAILED)
		return err_sys(e, "cannot map %llu bytes", (unsigned long long)b->len);
	make_tables(b);
	o.p = b->image + SLOTS + (size_t)n * XB_CODE;
	byte(&o, 0xcd), byte(&o, 0xff); /* int 0xff */
	return 0;
}

void xb_copy(struct xb_batch *to, const struct xb_batch *from)
{
	memcpy(to->image, from->image, from->len);
}

void xb_free(struct xb_batch *b)
{
	munmap(b->image, b->len);
}

/* ---- on the host ----------------------------------------------------------------------------- */

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	uint64_t *vars = (uint64_t *)(uintptr_t)(XB_BASE + VARS);
	struct xb_record *r = (struct xb_record *)(uintptr_t)vars[0];
	uint64_t pc = (uint64_t)u->uc_mcontext.gregs[REG_RIP];

	(void)sig, (void)info;
	if (((const uint8_t *)(uintptr_t)pc)[0] == 0xcd &&
	    ((const uint8_t *)(uintptr_t)pc)[1] == 0xff)
		_exit(0);
	r->trap = (uint64_t)u->uc_mcontext.gregs[REG_TRAPNO];
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)vars[1];
	u->uc_mcontext.gregs[REG_EFL] = 2;
}

static _Noreturn void child(struct xb_batch *b)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS };
	stack_t alt = { .ss_size = 1 << 16, .ss_sp = malloc(1 << 16) };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	void *at;

	sigaltstack(&alt, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	at = mremap(b->image, b->len, b->len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)XB_BASE);
	if (at == MAP_FAILED || mprotect(at, b->len, PROT_READ | PROT_WRITE | PROT_EXEC))
		_exit(2);
	((void (*)(void))(uintptr_t)slot_addr(0))();
	_exit(1);
}

int xb_run_host(struct xb_batch *b, struct err *e)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		child(b);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return err_sys(e, "cannot run the batch");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, -ECHILD, "the batch ended with status %#x", status);
	return 0;
}

/* ---- on an engine ---------------------------------------------------------------------------- */

static int build(struct machine *m, struct err *e)
{
	return bus_add_ram(m->bus, XB_BASE, m->ram, 0, m->ram->size, false, e);
}

static const char *const isa_names[] = { "x86_64", NULL };
static const char *const none[] = { NULL };

static const struct board batch_board = {
	.name = "batch",
	.isas = isa_names,
	.max_cpus = 1,
	.min_memory = 4096,
	.max_memory = UINT64_C(1) << 30,
	.disk_buses = none,
	.build = build,
};

struct run {
	struct machine *m;
	bool over;
};

static void reset_wanted(void *arg)
{
	struct run *run = arg;

	run->over = true;
	vcpu_kick(run->m->cpus[0]);
}

static void user_state(struct x86_state *s)
{
	x86_boot_long(s, slot_addr(0), XB_BASE + PML4);
	x86_set_segment(s, X86_CS, 0x2b, UINT64_C(0x00affb000000ffff));
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		if (i != X86_CS)
			x86_set_segment(s, i, 0x23, UINT64_C(0x00cff3000000ffff));
	x86_set_segment(s, X86_TR, 0x30, UINT64_C(0x00008b0000000067));
	s->seg_base[X86_TR] = XB_BASE + TSS;
	s->gdt_base = XB_BASE + GDT;
	s->gdt_limit = 47;
	s->idt_base = XB_BASE + IDT;
	s->idt_limit = 4095;
	s->cr0 |= 1 << 5; /* NE */
	s->cr4 |= X86_CR4_OSFXSR | 1 << 10;
}

static int run_machine(struct run *run, struct xb_batch *b, struct err *e)
{
	const struct engine_class *class = run->m->engine->class;
	struct x86_state *s = calloc(1, sizeof(*s));
	int r = s ? machine_reset(run->m, e) : err_nomem(e);

	if (!r)
		r = class->vcpu_get(run->m->cpus[0], s, e);
	if (!r) {
		user_state(s);
		memcpy(run->m->ram->host, b->image, b->len);
		r = class->vcpu_set(run->m->cpus[0], s, e);
	}
	while (!r && !run->over)
		if (vcpu_run(run->m->cpus[0]) == VCPU_DEAD)
			r = err_set(e, -EIO, "the CPU died");
	memcpy(b->image, run->m->ram->host, b->len);
	free(s);
	return r;
}

int xb_run_engine(struct xb_batch *b, const struct engine_class *engine, struct err *e)
{
	struct machine_config config = { .cpus = 1, .memory = b->len };
	struct run run = { 0 };
	struct machine_events events = { .reset = reset_wanted, .arg = &run };
	int r = machine_new(&batch_board, isa_find("x86_64"), &config, &events, NULL, NULL, engine,
			    -1, &run.m, e);

	if (r < 0)
		return r;
	jit_compile_after(run.m->engine, 0); /* each piece runs once */
	r = run_machine(&run, b, e);
	machine_free(run.m);
	return r;
}
