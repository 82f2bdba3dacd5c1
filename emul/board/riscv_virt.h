/*
 * riscv_virt.h - what the files of the RISC-V virt board share: its table and its addresses.
 */
#ifndef EMUL_BOARD_RISCV_VIRT_H
#define EMUL_BOARD_RISCV_VIRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/board/virtio_set.h"
#include "emul/dev/pci/pci.h"

struct dt;
struct machine;

enum {
	VIRT_ROM = 0x1000,
	VIRT_ROM_SIZE = 0xf000,
	VIRT_TEST = 0x100000,
	VIRT_RTC = 0x101000,
	VIRT_ACLINT = 0x2000000,
	VIRT_PLIC = 0xc000000,
	VIRT_UART = 0x10000000,
	VIRT_VIRTIO = 0x10001000,
	VIRT_VIRTIO_STRIDE = 0x1000,
	VIRT_FW_CFG = 0x10100000,
	VIRT_FLASH = 0x20000000,
	VIRT_FLASH_SIZE = 0x2000000, /* of each of the two banks */
	VIRT_ECAM = 0x30000000,
	VIRT_ECAM_SIZE = 0x10000000,
	VIRT_IO = 0x3000000,
	VIRT_IO_SIZE = 0x10000,
	VIRT_MEM32 = 0x40000000,
	VIRT_MEM32_SIZE = 0x40000000,
};
#define VIRT_RAM          UINT64_C(0x80000000)
#define VIRT_MEM64        UINT64_C(0x400000000)
#define VIRT_MEM64_32     UINT64_C(0x300000000) /* on RV32, below its 34 bits of addresses */
#define VIRT_MEM64_LEN    UINT64_C(0x400000000)
#define VIRT_MEM64_LEN_32 UINT64_C(0x100000000)

enum {
	VIRT_IRQ_VIRTIO = 1, /* of the first slot; further slots have further numbers */
	VIRT_IRQ_UART = 10,
	VIRT_IRQ_RTC = 11,
	VIRT_IRQ_PCI = 32, /* INTA to INTD */
	VIRT_SLOTS = 56,
};

/* PLIC input of a virtio-mmio slot: 1 to 8, then what nobody else has. */
unsigned virt_slot_irq(unsigned slot);

struct riscv_virt {
	struct pci_range ranges[4];
	struct virtio_set virtio;
	struct device *fw_cfg, *plic, *aclint, *pci;
};

/* Where things are in memory, for the device tree and the CPUs. */
struct virt_boot {
	uint64_t entry; /* of what runs first */
	uint64_t next;  /* of what the firmware starts, or 0 */
	uint64_t fdt;
	uint64_t initrd, initrd_end; /* 0: none */
	bool sbi;                    /* no firmware: the built-in SBI serves the kernel */
};

/* riscv_virt_fdt.c: the tree of the board's table; free it. */
int virt_fdt(struct machine *m, const struct virt_boot *boot, uint8_t **ret, size_t *len,
	     struct err *e);

/* riscv_virt_boot.c: board->load. */
int virt_load(struct machine *m, struct err *e);

#endif
