/*
 * main.c - system self-checks of x86, 32-bit: segments and their limits, exceptions and their
 * codes, levels, virtual-8086 mode, tasks, paging, real mode, single steps, self-modifying code,
 * string instructions across faults. Prints "not ok" lines and SYS-OK; runs under vmd and under
 * QEMU alike (check_x86_sys.c).
 */
#include <stdbool.h>
#include <stdint.h>

/* What an exception left: the frame that the stubs push. */
struct frame {
	uint32_t es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t vector, code, eip, cs, eflags;
};

struct tss {
	uint32_t link, esp0, ss0, unused[4], cr3, eip, eflags, gpr[8], seg[6], ldt, trap_map;
};

extern uint8_t stubs[], stub_soft[], user_stack_top[], inner_stack_top[], task_stack_top[];
extern uint8_t code16[], code16_end[], end_of_image[];
extern uint8_t v86_add[], v86_hlt[], v86_limit[], v86_int[];
int attempt(void (*fn)(void));
void to_user(void (*fn)(void));
void to_v86(uint32_t ip);
void task_entry(void);
void to_real(void);
void load_gdt(void);
uint32_t trap(struct frame *f);
int main(void);

uint32_t resume_sp, user_flags = 2, v86_flags = 0x23002, task_runs, task_flags;
uint64_t gdt[16];
static uint64_t idt[256];
static struct tss tss, tss2;
static struct frame last;
static uint32_t last_cr2;
static unsigned failures;
static uint32_t dir[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pae_dir[4][512] __attribute__((aligned(4096)));
static uint64_t pae_table[512] __attribute__((aligned(4096)));

enum { WINDOW = 0x400000 }; /* 4 MiB whose pages are in table[] */

/* ---- the console ---- */

static void putc_(char c)
{
	__asm__ volatile("outb %0, %w1" : : "a"(c), "d"(0x3f8));
}

static void puts_(const char *s)
{
	while (*s)
		putc_(*s++);
}

static void put_hex(uint32_t v)
{
	for (int i = 28; i >= 0; i -= 4)
		putc_("0123456789abcdef"[v >> i & 15]);
}

static void check(const char *what, uint32_t got, uint32_t want)
{
	if (got == want)
		return;
	puts_("not ok: ");
	puts_(what);
	puts_(": ");
	put_hex(got);
	puts_(", not ");
	put_hex(want);
	puts_("\n");
	failures++;
}

/* ---- exceptions ---- */

/* Where the stub is to go on: the stack that attempt() left. Single steps go back themselves. */
uint32_t trap(struct frame *f)
{
	last = *f;
	__asm__ volatile("mov %%cr2, %0" : "=r"(last_cr2));
	return resume_sp;
}

static void expect(const char *what, void (*fn)(void), uint32_t vector, uint32_t code)
{
	if (!attempt(fn)) {
		check(what, 0xffff, vector);
		return;
	}
	check(what, last.vector, vector);
	check(what, last.code, code);
}

static void expect_none(const char *what, void (*fn)(void))
{
	if (attempt(fn))
		check(what, last.vector << 16 | last.code, 0);
}

static void (*user_fn)(void);
static void enter_user(void)
{
	to_user(user_fn);
}

static void expect_user(const char *what, void (*fn)(void), uint32_t vector, uint32_t code)
{
	user_fn = fn;
	expect(what, enter_user, vector, code);
}

static uint64_t segment(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 8 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

static void gate(unsigned n, const void *to, uint32_t selector, uint32_t attr)
{
	uint32_t at = (uint32_t)to;

	idt[n] = (at & 0xffff) | selector << 16 | (uint64_t)attr << 40 | (uint64_t)(at >> 16) << 48;
}

enum {
	CODE = 0x08,
	DATA = 0x10,
	TSS_MAIN = 0x28,
	TSS_OTHER = 0x30,
	SMALL = 0x48, /* 256 bytes */
	DOWN = 0x50,  /* expand-down: above 0xfff */
	READONLY = 0x58,
	ABSENT = 0x60,
	CALL_GATE = 0x68, /* for level 3 */
	CONFORMING = 0x70,
};

static void call_target(void);

static void set_up(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) p = { sizeof(idt) - 1, (uint32_t)idt };

	gdt[1] = segment(0, 0xfffff, 0xc9b);
	gdt[2] = segment(0, 0xfffff, 0xc93);
	gdt[3] = segment(0x8000, 0xffff, 0x09b);
	gdt[4] = segment(0x9000, 0xffff, 0x093);
	gdt[5] = segment((uint32_t)&tss, sizeof(tss) - 1, 0x089);
	gdt[6] = segment((uint32_t)&tss2, sizeof(tss2) - 1, 0x089);
	gdt[7] = segment(0, 0xfffff, 0xcfb);
	gdt[8] = segment(0, 0xfffff, 0xcf3);
	gdt[9] = segment(0x9000, 0xff, 0x4f3);
	gdt[10] = segment(0, 0, 0xc97);
	gdt[11] = segment(0, 0xfffff, 0xc91);
	gdt[12] = segment(0, 0xfffff, 0xc13);
	gdt[13] = ((uint32_t)call_target & 0xffff) | CODE << 16 | UINT64_C(0xec00) << 32 |
		  (uint64_t)((uint32_t)call_target >> 16) << 48;
	gdt[14] = segment(0, 0xfffff, 0xc9f);
	for (unsigned i = 0; i < 20; i++)
		gate(i, stubs + 16 * i, CODE, i == 3 ? 0xee : 0x8e);
	gate(0x30, stub_soft, CODE, 0xee);
	gate(0x31, stub_soft, CODE, 0x8e);
	gate(0x32, 0, TSS_OTHER, 0xe5);
	tss.ss0 = DATA;
	tss.esp0 = (uint32_t)inner_stack_top;
	tss.trap_map = sizeof(tss) << 16; /* no map of ports */
	load_gdt();
	__asm__ volatile("lidt %0; ltr %w1" : : "m"(p), "r"(TSS_MAIN));
}

/* ---- segments ---- */

static void small_read(void)
{
	uint32_t v;

	__asm__ volatile("mov %1, %%fs; mov %%fs:0xfc, %0" : "=r"(v) : "r"(SMALL));
}

static void small_over(void)
{
	uint32_t v;

	__asm__ volatile("mov %1, %%fs; mov %%fs:0xfd, %0" : "=r"(v) : "r"(SMALL));
}

static void down_low(void)
{
	uint32_t v;

	__asm__ volatile("mov %1, %%fs; mov %%fs:0xffe, %0" : "=r"(v) : "r"(DOWN));
}

static void down_high(void)
{
	uint32_t v;

	__asm__ volatile("mov %1, %%fs; mov %%fs:0x1000, %0" : "=r"(v) : "r"(DOWN));
}

static void readonly_write(void)
{
	__asm__ volatile("mov %0, %%fs; movl $1, %%fs:0x9000" : : "r"(READONLY));
}

static void code_write(void)
{
	__asm__ volatile("movl $1, %cs:0x9000");
}

static void absent(void)
{
	__asm__ volatile("mov %0, %%fs" : : "r"(ABSENT));
}

static void null_use(void)
{
	uint32_t v;

	__asm__ volatile("mov %1, %%fs; mov %%fs:0x9000, %0" : "=r"(v) : "r"(0));
}

static void null_stack(void)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(0));
}

static void outside(void)
{
	__asm__ volatile("mov %0, %%fs" : : "r"(0x88));
}

static void stack_limit(void)
{
	__asm__ volatile("mov %0, %%ss; mov $0x80, %%esp; mov 0x7d(%%esp), %%eax"
			 :
			 : "r"(SMALL | 3));
}

static void far_to_data(void)
{
	__asm__ volatile("ljmp $0x10, $0");
}

/* QEMU's translator has no limits and types, and is wrong about some other things. */
static bool is_qemu(void)
{
	uint32_t a = 0x40000000, b, c, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return b == 0x54474354; /* "TCGT" */
}

static void check_limits(void)
{
	if (is_qemu())
		return;
	expect("a read over the end of a segment", small_over, 13, 0);
	expect("a read below an expand-down segment", down_low, 13, 0);
	expect("a write to a read-only segment", readonly_write, 13, 0);
	expect("a write to code", code_write, 13, 0);
	expect("a use of the null segment", null_use, 13, 0);
	expect_user("a read over the end of the stack", stack_limit, 12, 0);
}

static void check_segments(void)
{
	expect_none("a read at the end of a segment", small_read);
	expect_none("a read in an expand-down segment", down_high);
	expect("a segment that is not present", absent, 11, ABSENT);
	expect("a null stack", null_stack, 13, 0);
	expect("a selector outside of its table", outside, 13, 0x88);
	expect("a far jump to data", far_to_data, 13, 0x10);
}

static uint32_t read_cr0(void)
{
	uint32_t v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}

static void write_cr0(uint32_t v)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}

/* ---- levels ---- */

static void user_cli(void)
{
	__asm__ volatile("cli");
}

static void user_cli_soft(void)
{
	__asm__ volatile("cli; int $0x30");
}

static void user_soft(void)
{
	__asm__ volatile("int $0x30");
}

static void user_soft_closed(void)
{
	__asm__ volatile("int $0x31");
}

static void user_gate(void)
{
	__asm__ volatile("lcall %0, $0" : : "i"(CALL_GATE | 3));
}

static void user_cr(void)
{
	uint32_t v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
}

static void user_in(void)
{
	uint8_t v;

	__asm__ volatile("inb $0x80, %0" : "=a"(v));
}

static void user_load(void)
{
	__asm__ volatile("mov %0, %%fs" : : "r"(DATA));
}

static void call_target(void)
{
	uint32_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	check("the level behind a call gate", cs, CODE);
	__asm__ volatile("int $0x30");
}

static void check_levels(void)
{
	expect_user("CLI at level 3", user_cli, 13, 0);
	check("its level", last.cs, 0x3b);
	expect_user("INT at level 3", user_soft, 0x30, 0);
	expect_user("INT through a closed gate", user_soft_closed, 13, 0x31 * 8 + 2);
	expect_user("a call gate", user_gate, 0x30, 0);
	check("the level it came to", last.cs, CODE);
	expect_user("CR0 at level 3", user_cr, 13, 0);
	expect_user("IN at level 3", user_in, 13, 0);
	expect_user("an inner segment at level 3", user_load, 13, DATA);
	user_flags = 0x3002;
	expect_user("CLI with IOPL 3", user_cli_soft, 0x30, 0);
	user_flags = 2;
}

static void user_misaligned(void)
{
	(void)*(volatile uint32_t *)0x9001;
	__asm__ volatile("int $0x30");
}

static void check_alignment(void)
{
	if (is_qemu())
		return;
	expect_user("a misaligned word", user_misaligned, 0x30, 0);
	write_cr0(read_cr0() | 0x40000);
	user_flags = 0x40002;
	expect_user("a misaligned word with AC and AM", user_misaligned, 17, 0);
	user_flags = 2;
	write_cr0(read_cr0() & ~0x40000u);
}

/* ---- virtual-8086 mode ---- */

static uint32_t v86_at;
static void enter_v86(void)
{
	to_v86(v86_at);
}

static void expect_v86(const char *what, const uint8_t *at, uint32_t vector, uint32_t code)
{
	v86_at = (uint32_t)(at - code16);
	expect(what, enter_v86, vector, code);
}

static void check_v86(void)
{
	volatile uint16_t *data = (uint16_t *)0x9000;

	data[0] = 0;
	*(volatile uint8_t *)0xa000 = 0;
	expect_v86("HLT in virtual-8086 mode", v86_add, 13, 0);
	check("VM of its flags", last.eflags & 0x20000, 0x20000);
	check("its segment", last.cs, 0x800);
	check("its sum", data[0], 0x5555);
	check("its byte by ES", *(volatile uint8_t *)0xa000, 0x5a);
	check("its word of 32 bits", *(volatile uint32_t *)0x9002, 0x11223344);
	if (!is_qemu())
		expect_v86("a word at 0xffff", v86_limit, 13, 0);
	expect_v86("INT with IOPL 3", v86_int, 0x30, 0);
	v86_flags = 0x20002;
	expect_v86("INT with IOPL 0", v86_int, 13, 0);
	v86_flags = 0x23002;
}

/* ---- tasks ---- */

static void call_task(void)
{
	__asm__ volatile("lcall %0, $0" : : "i"(TSS_OTHER));
}

static void task_gate(void)
{
	__asm__ volatile("int $0x32");
}

static void busy_task(void)
{
	__asm__ volatile("lcall %0, $0" : : "i"(TSS_MAIN));
}

static void set_task(void)
{
	tss2 = (struct tss){ .eip = (uint32_t)task_entry,
			     .eflags = 2,
			     .seg = { DATA, CODE, DATA, DATA, DATA, DATA } };
	tss2.gpr[4] = (uint32_t)task_stack_top - 16;
	__asm__ volatile("mov %%cr3, %0" : "=r"(tss2.cr3));
	__asm__ volatile("mov %%cr3, %0" : "=r"(tss.cr3));
}

static void check_tasks(void)
{
	set_task();
	task_runs = 0;
	expect_none("a call of a task", call_task);
	check("it ran", task_runs, 1);
	check("NT of its flags", task_flags & 0x4000, 0x4000);
	check("the link to us", tss2.link & 0xffff, TSS_MAIN);
	check("busy of its descriptor", (uint32_t)(gdt[6] >> 41) & 1, 0);
	set_task();
	expect_none("a task gate", task_gate);
	check("it ran again", task_runs, 2);
	expect("a call of the busy task", busy_task, 13, TSS_MAIN);
}

/* ---- paging ---- */

static void write_cr3(uint32_t v)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}

static void write_cr4(uint32_t v)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

static volatile uint32_t *at;
static void read_at(void)
{
	(void)*at;
}

static void write_at(void)
{
	*at = 0x12345678;
}

static void user_read(void)
{
	(void)*at;
	__asm__ volatile("int $0x30");
}

static void copy_over(void)
{
	__asm__ volatile("cld; rep movsb" : : "S"(0x9000), "D"(WINDOW + 0xff0), "c"(64) : "memory");
}

static void check_pages(void)
{
	table[0] = 0xb000 | 3;
	table[1] = 0;
	table[2] = 0xc000 | 1;
	table[3] = 0xb000 | 7;
	at = (uint32_t *)WINDOW;
	expect_none("a page", write_at);
	check("where it leads", *(volatile uint32_t *)0xb000, 0x12345678);
	check("accessed and dirty", table[0] & 0x60, 0x60);
	at = (uint32_t *)(WINDOW + 0x1004);
	expect("a page that is not there", read_at, 14, 0);
	check("its address", last_cr2, WINDOW + 0x1004);
	expect("a write to it", write_at, 14, 2);
	at = (uint32_t *)(WINDOW + 0x2000);
	expect_none("a read of a read-only page", read_at);
	check("accessed, not dirty", table[2] & 0x60, 0x20);
	expect_none("a write to it without WP", write_at);
	write_cr0(read_cr0() | 0x10000);
	__asm__ volatile("invlpg %0" : : "m"(*at));
	expect("a write to it with WP", write_at, 14, 3);
	write_cr0(read_cr0() & ~0x10000u);
	at = (uint32_t *)WINDOW;
	expect_user("a page of the kernel's at level 3", user_read, 14, 5);
	at = (uint32_t *)(WINDOW + 0x3000);
	expect_user("a page of the user's", user_read, 0x30, 0);
	expect("a copy that comes to a hole", copy_over, 14, 2);
	check("what was left of it", last.ecx, 48);
	check("where it stopped", last.edi, WINDOW + 0x1000);
	check("the source then", last.esi, 0x9010);
}

static void page_32(void)
{
	for (uint32_t i = 0; i < 1024; i++)
		dir[i] = i << 22 | 0x87;
	dir[1] = (uint32_t)table | 7;
	write_cr4(0x10);
	write_cr3((uint32_t)dir);
	write_cr0(read_cr0() | 0x80000000);
	check_pages();
	check_tasks();
	check_v86();
	write_cr0(read_cr0() & ~0x80000000u);
}

static void run_at(void)
{
	((void (*)(void))(uint32_t)at)();
}

/* PAE, and with it the bit that forbids execution. */
static void page_pae(void)
{
	uint32_t low, high;

	for (uint32_t i = 0; i < 4; i++) {
		pdpt[i] = (uint32_t)pae_dir[i] | 1;
		for (uint32_t k = 0; k < 512; k++)
			pae_dir[i][k] = (uint64_t)(i * 512 + k) << 21 | 0x87;
	}
	pae_dir[0][2] = (uint32_t)pae_table | 7;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000080));
	__asm__ volatile("wrmsr" : : "a"(low | 0x800), "d"(high), "c"(0xc0000080));
	write_cr4(0x20);
	write_cr3((uint32_t)pdpt);
	write_cr0(read_cr0() | 0x80000000);
	*(volatile uint8_t *)0xb000 = 0xc3;
	pae_table[0] = 0xb000 | 3;
	pae_table[1] = 0xb000 | 3 | UINT64_C(1) << 63;
	pae_table[2] = 0xb000 | 3 | UINT64_C(1) << 51;
	at = (uint32_t *)WINDOW;
	expect_none("code in a page of PAE", run_at);
	at = (uint32_t *)(WINDOW + 0x1000);
	expect("code where none may be", run_at, 14, 0x11);
	expect_none("data there", read_at);
	at = (uint32_t *)(WINDOW + 0x2000);
	if (!is_qemu())
		expect("a reserved bit", read_at, 14, 9);
	write_cr0(read_cr0() & ~0x80000000u);
	write_cr4(0);
}

/* ---- real mode ---- */

static void check_real(void)
{
	volatile uint8_t *data = (uint8_t *)0x9000;

	for (unsigned i = 0; i < 64; i++)
		data[i] = 0;
	to_real();
	check("INT in real mode", *(volatile uint16_t *)(data + 16), 0x4040);
	check("two segments at one place", *(volatile uint32_t *)(data + 20), 0xdeadbeef);
	check("SP of 16 bits", *(volatile uint32_t *)(data + 24), 0xabcd0fee);
	check("SI wraps", *(volatile uint16_t *)(data + 28), 0);
	check("DI does not yet", *(volatile uint16_t *)(data + 30), 0xffff);
	check("CS of a far call", *(volatile uint16_t *)(data + 32), 0x810);
	check("and back", *(volatile uint32_t *)(data + 36), 1);
	if (!is_qemu())
		check("a word at 0xffff", *(volatile uint32_t *)(data + 40), 0x13131313);
}

/* ---- others ---- */

static void undefined(void)
{
	__asm__ volatile("ud2");
}

static void divide(void)
{
	__asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" : : : "eax", "ecx", "edx");
}

static void step(void)
{
	__asm__ volatile("pushf; orl $0x100, (%esp); popf; nop; nop");
}

static void too_long(void)
{
	__asm__ volatile(
	    ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
	    "0x66,0x90");
}

static void locked_mov(void)
{
	__asm__ volatile(".byte 0xf0, 0x89, 0x00" : : "a"(0x9000));
}

/* The next instruction is the one that was stored. */
static void check_modified(void)
{
	uint32_t v;

	for (unsigned i = 0; i < 3; i++) {
		__asm__ volatile("movb %b1, 1f + 1\n"
				 "1: movl $0, %0"
				 : "=r"(v)
				 : "q"(i + 5)
				 : "memory");
		check("an instruction that was just stored", v, i + 5);
	}
}

static void check_others(void)
{
	expect("UD2", undefined, 6, 0);
	expect("a division by 0", divide, 0, 0);
	expect("a step", step, 1, 0);
	expect("16 bytes", too_long, 13, 0);
	if (!is_qemu())
		expect("LOCK MOV", locked_mov, 6, 0);
	check_modified();
}

int main(void)
{
	uint8_t *to = (uint8_t *)0x8000;

	set_up();
	for (uint8_t *p = code16; p < code16_end; p++)
		*to++ = *p;
	check_segments();
	check_limits();
	check_levels();
	check_alignment();
	check_tasks();
	check_v86();
	check_others();
	check_real();
	page_32();
	page_pae();
	puts_(failures ? "SYS-BAD\n" : "SYS-OK\n");
	return failures ? 1 : 0;
}
