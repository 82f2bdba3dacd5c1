/*
 * fw_cfg.h - the firmware configuration device: items of bytes behind a 16-bit key, and files.
 * A board fills it before the machine runs.
 */
#ifndef EMUL_DEV_MISC_FW_CFG_H
#define EMUL_DEV_MISC_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct device;

/* Windows of the memory-mapped form, and of the form in I/O ports (0x510, one window). */
enum { FW_CFG_DATA, FW_CFG_SELECT, FW_CFG_DMA, FW_CFG_PORTS };

enum {
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_CPUS = 0x05,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
};

/* The data is copied. An item that is there is replaced. */
int fw_cfg_set(struct device *dev, uint16_t key, const void *data, size_t len, struct err *e);
int fw_cfg_set_u16(struct device *dev, uint16_t key, uint16_t v, struct err *e);
int fw_cfg_set_u32(struct device *dev, uint16_t key, uint32_t v, struct err *e);
int fw_cfg_set_u64(struct device *dev, uint16_t key, uint64_t v, struct err *e);
/* The data stays the caller's: kernels and other big things. */
int fw_cfg_lend(struct device *dev, uint16_t key, const void *data, size_t len, struct err *e);
/* A named file, such as "etc/e820"; at most 55 characters. */
int fw_cfg_set_file(struct device *dev, const char *name, const void *data, size_t len,
		    struct err *e);

#endif
