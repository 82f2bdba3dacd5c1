/* balloon.h - what the worker asks of a virtio balloon (balloon.c). From any thread. */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "emul/core/device.h"

enum { BALLOON_STATS = 16 };

/* Is the device a balloon, on whatever transport? */
bool virtio_is_balloon(const struct device *dev);

/* How many bytes the guest is to give back; it does so as it can. */
void virtio_balloon_set(struct device *dev, uint64_t bytes);
/* What it has given back so far. */
uint64_t virtio_balloon_actual(struct device *dev);
/* Statistics by tag (section 5.5.6.3), UINT64_MAX where the guest told nothing; asks for new ones.
 */
void virtio_balloon_stats(struct device *dev, uint64_t stats[BALLOON_STATS]);

#endif
