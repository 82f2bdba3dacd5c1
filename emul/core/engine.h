/*
 * engine.h - what a virtual CPU needs from whatever runs it. Two folders implement it: emul/jit
 * (translator and IR interpreter) and kvm. vmproc owns the threads: one calls vcpu_run() for each
 * virtual CPU.
 */
#ifndef EMUL_CORE_ENGINE_H
#define EMUL_CORE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/core/state.h"

struct bus;
struct clock;
struct engine;
struct isa;
struct machine;
struct vcpu;

/* Why vcpu_run() came back. */
enum vcpu_exit {
	VCPU_KICKED, /* vcpu_kick() was called: look at what is wanted, run again */
	VCPU_OFF,    /* this CPU was switched off (PSCI, SBI HSM): run again, it waits inside */
	VCPU_DEAD,   /* it cannot go on (triple fault, unknown exit): the reason is in the machine's
			event */
};

struct engine_class {
	const char *name, *doc; /* "kvm", "jit", "interpreter" */

	/* Can it run this ISA here? 0, or an error that says what is missing. */
	int (*probe)(const struct isa *isa, struct err *e);

	/* Engine of one machine. The bus and clock outlive it. fd: /dev/kvm, or -1. */
	int (*new_)(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		    struct err *e);
	void (*free_)(struct engine *en);

	/* A CPU in the state isa->reset() gives. All are made before any runs. */
	int (*vcpu_new)(struct engine *en, unsigned index, const char *model, struct vcpu **ret,
			struct err *e);
	void (*vcpu_free)(struct vcpu *v);

	/* Run until one of enum vcpu_exit. On the CPU's own thread; waits inside while the CPU is
	 * halted. */
	enum vcpu_exit (*vcpu_run)(struct vcpu *v);

	/* Make vcpu_run() return soon; if it is not running, the next call returns at once. From
	 * any thread. */
	void (*vcpu_kick)(struct vcpu *v);

	/* A pin of the CPU; its numbers are the ISA's (RISC-V: bits of mip). From any thread. */
	void (*vcpu_irq)(struct vcpu *v, unsigned pin, bool level);

	/* Copy the architectural state struct of the ISA out and in. While the CPU is not in
	 * vcpu_run(). */
	int (*vcpu_get)(struct vcpu *v, void *state, struct err *e);
	int (*vcpu_set)(struct vcpu *v, const void *state, struct err *e);

	/* What follows may be NULL. */

	/* A message-signalled interrupt to the local interrupt controllers. From any thread. */
	void (*msi)(struct engine *en, uint64_t addr, uint32_t data);
	/* What message an input of the I/O interrupt controller sends; data 0: none. The CPUs tell
	 * machine.eoi() when its vector ends, if the message is of a level. From any thread. */
	void (*msi_input)(struct engine *en, unsigned input, uint64_t addr, uint32_t data);

	/* Dirty tracking of what CPUs write without anybody being told: on or off, beside
	 * ram_log_start(); and hand what was written since the last time to ram_wrote(), before
	 * ram_log_fetch(). Main thread. NULL: CPUs mark pages as they go. */
	int (*log_set)(struct engine *en, bool on, struct err *e);
	int (*log_sync)(struct engine *en, struct err *e);
};

/* What every engine's struct begins with. */
struct engine {
	const struct engine_class *class;
	struct machine *machine;
	const struct isa *isa;
};

struct vcpu {
	struct engine *engine;
	unsigned index;
};

static inline enum vcpu_exit vcpu_run(struct vcpu *v)
{
	return v->engine->class->vcpu_run(v);
}

static inline void vcpu_kick(struct vcpu *v)
{
	v->engine->class->vcpu_kick(v);
}

/* An irq_connect() target: arg is the vcpu, input the pin. */
static inline void vcpu_pin(void *vcpu, unsigned pin, bool level)
{
	struct vcpu *v = vcpu;

	v->engine->class->vcpu_irq(v, pin, level);
}

/*
 * A family of guest CPUs. The state struct is the one both engines share; its table is the saved
 * form.
 */
struct isa {
	const char *name, *doc; /* "riscv64" */
	size_t state_size;
	const struct state_field *state;
	const char *const *models; /* names for --cpu; the first is the preset; ends with NULL */
	/* Power-on state of CPU index of a machine; model is one of models. */
	int (*reset)(void *state, const char *model, unsigned index, struct machine *m,
		     struct err *e);
	const struct jit_isa
	    *jit;             /* the front end for the translator, or NULL (emul/jit/frontend.h) */
	unsigned elf_machine; /* EM_RISCV ..., to tell a kernel for another CPU */
	bool is64, big_endian;
};

extern const struct isa *const isas[]; /* from emul/isa/isas.def; ends with NULL */
const struct isa *isa_find(const char *name);

#endif
