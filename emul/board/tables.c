/*
 * tables.c - the lists of what there is: device classes and boards, from their .def files. Here,
 * because boards are the one part that may know every device.
 */
#include <string.h>

#include "emul/core/device.h"
#include "emul/core/machine.h"

#define DEVICE(name) extern const struct device_class name##_class;
#include "emul/dev/devices.def"
#include "virtio/devices.def"
#undef DEVICE

#define DEVICE(name) &name##_class,
const struct device_class *const device_classes[] = {
#include "emul/dev/devices.def"
#include "virtio/devices.def"
	NULL,
};
#undef DEVICE

#define BOARD(name) extern const struct board name##_board;
#include "emul/board/boards.def"
#undef BOARD

#define BOARD(name) &name##_board,
const struct board *const boards[] = {
#include "emul/board/boards.def"
	NULL,
};
#undef BOARD

const struct device_class *device_class_find(const char *name)
{
	for (unsigned i = 0; device_classes[i]; i++)
		if (!strcmp(device_classes[i]->name, name))
			return device_classes[i];
	return NULL;
}

const struct board *board_find(const char *name)
{
	for (unsigned i = 0; boards[i]; i++)
		if (!strcmp(boards[i]->name, name))
			return boards[i];
	return NULL;
}
