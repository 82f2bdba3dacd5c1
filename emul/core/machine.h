/*
 * machine.h - a computer: a board's devices on a bus, its CPUs, and what goes into its sockets.
 * Built by a board from a config; owned by vmproc, which runs it. Built and changed on the main
 * thread; while it runs, the CPUs and devices use it from theirs.
 */
#ifndef EMUL_CORE_MACHINE_H
#define EMUL_CORE_MACHINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/own.h"

struct board;
struct bus;
struct chardev;
struct clock;
struct device;
struct disk;
struct engine;
struct engine_class;
struct isa;
struct loop;
struct machine;
struct netdev;
struct ram;
struct vcpu;

enum {
	MACHINE_MAX_CPUS = 64,
	MACHINE_MAX_DISKS = 32,
	MACHINE_MAX_NETS = 16,
	MACHINE_MAX_SHARES = 8,
	MACHINE_MAX_RAMS = 8,
};

/* A file that was read into memory before the jail was closed; or none (data is NULL). */
struct machine_blob {
	const char *name; /* for messages */
	const uint8_t *data;
	size_t len;
};

struct machine_disk {
	struct disk *disk; /* stays the caller's */
	const char *bus;   /* "virtio" and what the board has; NULL: the board's preset */
	bool readonly, cdrom;
};

struct machine_net {
	struct netdev *netdev; /* NULL: not connected */
	const char *model;     /* NULL: the board's preset */
	uint8_t mac[6];
};

struct machine_share {
	int dir_fd;
	const char *tag;
	bool readonly;
};

struct machine_config {
	const char *cpu; /* NULL: the board's preset */
	unsigned cpus;
	uint64_t memory; /* bytes */
	struct machine_blob kernel, initrd, firmware;
	const char *append;
	struct machine_disk disks[MACHINE_MAX_DISKS];
	unsigned n_disks;
	struct machine_net nets[MACHINE_MAX_NETS];
	unsigned n_nets;
	struct machine_share shares[MACHINE_MAX_SHARES];
	unsigned n_shares;
	bool balloon, rng;
	struct chardev *console; /* the first serial port */
	uint8_t rng_seed[32];    /* for the device tree; made by the caller */
};

/* What a machine tells its owner; any thread may call, the owner's functions must not block. */
struct machine_events {
	void (*poweroff)(void *arg,
			 int code); /* the guest switched off; code: of a test device, else 0 */
	void (*reset)(void *arg);   /* the guest wants a reset */
	void (*crashed)(void *arg, const char *why);
	void (*phase)(void *arg,
		      const char *phase); /* "firmware", "kernel", ... when the board can tell */
	/* What the guest did wrong, limited in rate; NULL: nobody wants to know. */
	void (*note)(void *arg, const char *device, const char *text);
	void *arg;
};

/* A block of memory that is part of a snapshot; the machine owns it. */
struct machine_ram {
	const char *name; /* "ram", "flash0" */
	struct ram *ram;
};

struct machine {
	const struct board *board;
	const struct isa *isa;
	struct machine_config config;
	struct machine_events events;
	struct bus *bus;
	struct bus *ports; /* I/O ports, 64 KiB; NULL where the CPUs have none */
	struct clock *clock;
	struct loop *io; /* loop of the I/O thread that serves queues */
	struct engine *engine;
	struct vcpu *cpus[MACHINE_MAX_CPUS];
	unsigned n_cpus;
	struct list devices; /* of struct device, in the order of plugging */
	struct ram *ram;     /* main memory, the first of rams */
	struct machine_ram rams[MACHINE_MAX_RAMS];
	unsigned n_rams;
	/* Set by the board: a CPU has ended an interrupt of that vector. On the CPU's thread. */
	void (*eoi)(void *arg, unsigned vector);
	void *eoi_arg;
	/* The same for the old interrupt controller (8259): acknowledge it, and the vector it
	 * gives. */
	int (*interrupt_vector)(void *arg);
	void *interrupt_arg;
	/* What the guest has made of the CPUs' timebase: ticks to add to those of the clock. */
	_Atomic uint64_t timebase_delta;
	void *priv; /* the board's own, freed by board->free_ */
};

struct board {
	const char *name, *doc; /* "riscv-virt" */
	const char *const
	    *isas; /* names of what it can carry; the first is the preset; ends with NULL */
	unsigned max_cpus;
	bool has_ports; /* I/O ports beside memory */
	uint64_t min_memory, max_memory, preset_memory;
	const char *const *disk_buses; /* the first is the preset; ends with NULL */
	const char *const *net_models; /* the same; NULL: "virtio" only */
	/* Make and plug everything. m->bus, clock, isa, config are set, m->cpus are not yet. */
	int (*build)(struct machine *m, struct err *e);
	/* m->cpus exist: connect their pins. */
	void (*wire_cpus)(struct machine *m);
	/* Put firmware, kernel, initrd and tables into memory and set the CPUs' entry; at start and
	 * after every reset. */
	int (*load)(struct machine *m, struct err *e);
	void (*powerdown)(struct machine *m); /* the power button; NULL: there is none */
	void (*free_)(struct machine *m);
};

extern const struct board *const boards[]; /* from emul/board/boards.def; ends with NULL */
const struct board *board_find(const char *name);

/*
 * Everything of DESIGN's "new -> configure -> plug": bus, devices, engine, CPUs. What config points
 * to stays the caller's and must outlive the machine. loop: of the main thread; NULL: time stands
 * until clock_step(). engine may be NULL: a machine without CPUs, for tests.
 */
int machine_new(const struct board *board, const struct isa *isa,
		const struct machine_config *config, const struct machine_events *events,
		struct loop *main_loop, struct loop *io, const struct engine_class *engine,
		int engine_fd, struct machine **ret, struct err *e);
void machine_free(struct machine *m); /* no CPU runs */

/* Power-on: reset all devices and CPUs, load the guest. No CPU runs. */
int machine_reset(struct machine *m, struct err *e);

/* The VM pauses or goes on: devices finish or park what is under way, the clock stands or runs. */
void machine_quiesce(struct machine *m);
void machine_resume(struct machine *m);

/* ---- for boards ---- */

/* New device of a class by name, which the machine owns; set its properties, then machine_plug().
 */
int machine_create(struct machine *m, const char *class, const char *name, struct device **ret,
		   struct err *e);
int machine_plug(struct device *dev, struct machine *m, struct err *e);
/* Both, for a device without properties to set. */
int machine_add(struct machine *m, const char *class, const char *name, struct device **ret,
		struct err *e);
struct device *machine_device(struct machine *m, const char *name);

/* New block of memory, not yet on the bus. */
int machine_add_ram(struct machine *m, const char *name, uint64_t size, struct ram **ret,
		    struct err *e);

/* ---- for devices and boards: tell the owner; m may be NULL ---- */

void machine_poweroff(struct machine *m, int code);
void machine_want_reset(struct machine *m);
void machine_crashed(struct machine *m, const char *why);
void machine_phase(struct machine *m, const char *phase);

/*
 * Message-signalled interrupts (PCI Local Bus 3.0, 6.8) to CPUs that take them; see engine.h. m,
 * its engine and what that can do may be missing: then nothing happens. From any thread.
 */
void machine_msi(struct machine *m, uint64_t addr, uint32_t data);
void machine_msi_input(struct machine *m, unsigned input, uint64_t addr, uint32_t data);

/* The vector of an interrupt that comes by a CPU's INTR pin; -1: there is none. */
static inline int machine_interrupt_vector(struct machine *m)
{
	return m && m->interrupt_vector ? m->interrupt_vector(m->interrupt_arg) : -1;
}

AUTOPTR(machine, machine_free)

#endif
