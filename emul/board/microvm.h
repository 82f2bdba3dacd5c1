/* microvm.h - what the files of the microvm board know of each other: the map, and the boot. */
#ifndef EMUL_BOARD_MICROVM_H
#define EMUL_BOARD_MICROVM_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "emul/board/virtio_set.h"
#include "emul/core/irq.h"

struct device;
struct machine;

/* Memory below LOW_END, the rest from HIGH on. */
#define MICROVM_LOW_END    (3 * GiB)
#define MICROVM_HIGH       (4 * GiB)
#define MICROVM_POWER      UINT64_C(0xfea00200)
#define MICROVM_VIRTIO     UINT64_C(0xfeb00000)
#define MICROVM_IOAPIC     UINT64_C(0xfec00000)
#define MICROVM_LOCAL_APIC UINT64_C(0xfee00000)

enum {
	MICROVM_VIRTIO_STRIDE = 0x200,
	MICROVM_SLOTS = 24,
	MICROVM_IRQS = 8, /* of virtio: inputs 5 to 12, shared by the slots in turn */
	MICROVM_IRQ_VIRTIO = 5,
	MICROVM_IRQ_UART = 4,
	MICROVM_PORT_KEYBOARD = 0x64,
	MICROVM_PORT_EXIT = 0xf4,
	MICROVM_PORT_UART = 0x3f8,
	MICROVM_PORT_FW_CFG = 0x510,
};

struct microvm {
	struct device *ioapic, *fw_cfg;
	struct irq_or ors[MICROVM_IRQS]; /* one for each input of virtio */
	struct irq lines[MICROVM_IRQS];  /* from them to the I/O APIC */
	unsigned n_ors;
	struct virtio_set virtio;
	char *cmdline; /* what the kernel is told; freed with the board */
};

/* Where things of a direct boot are, all below 640 KiB but for the kernel and the initrd. */
enum {
	MICROVM_GDT = 0x500,
	MICROVM_START_INFO = 0x6000,
	MICROVM_PAGES = 0x9000, /* six pages of page tables */
	MICROVM_ZERO_PAGE = 0x10000,
	MICROVM_CMDLINE = 0x20000,
	MICROVM_CMDLINE_MAX = 0x10000,
	MICROVM_MP_TABLE = 0x9fc00, /* the last KiB below 640 KiB; what it points to is in front */
	MICROVM_MP_SIZE = 8192,
	MICROVM_KERNEL = 0x100000,
};

/* microvm_mp.c: the tables by which kernels without ACPI find CPUs and interrupts. */
int microvm_mp_table(struct machine *m, struct err *e);

/* microvm_boot.c: the board's load(). */
int microvm_load(struct machine *m, struct err *e);

#endif
