/* cfi_flash.h - the memory of a flash, which its board shows on the bus and fills. */
#ifndef EMUL_DEV_FLASH_CFI_FLASH_H
#define EMUL_DEV_FLASH_CFI_FLASH_H

struct device;
struct ram;

/* After plug; owned by the machine. For bus_add_flash(). */
struct ram *cfi_flash_ram(struct device *dev);

#endif
