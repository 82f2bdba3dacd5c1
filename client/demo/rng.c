/* rng.c - the virtio entropy device and console: virtio 1.2, sections 5.4 and 5.3. Boot hart. */
#include "virtio.h"

bool rng_command(struct demo *d, const char *arg)
{
	struct virtio *v = virtio_find(d, VIRTIO_RNG, 0);
	uint8_t *bytes;
	uint32_t len;

	(void)arg;
	if (!v) {
		say("no entropy device\n");
		return true;
	}
	if (!v->driver)
		v->driver = demo_alloc(d, 16);
	bytes = v->driver;
	if (!virtio_start(v, 0, 1) ||
	    !virtio_request(v, 0, &(struct virtio_part){ bytes, 16, true }, 1, &len))
		return false;
	say("random   ");
	for (uint32_t i = 0; i < len && i < 16; i++)
		say("%02x", bytes[i]);
	say("\n");
	return len > 0;
}

/* "port TEXT": a line to the virtio console's first port. Queue 0 receives, queue 1 transmits. */
bool port_command(struct demo *d, const char *arg)
{
	struct virtio *v = virtio_find(d, VIRTIO_CONSOLE, 0);
	char *line;
	size_t len = strlen(arg);
	uint32_t used;

	if (!v) {
		say("no virtio console\n");
		return true;
	}
	if (!v->driver)
		v->driver = demo_alloc(d, LINE_MAX);
	line = v->driver;
	if (len > LINE_MAX - 1)
		len = LINE_MAX - 1;
	memcpy(line, arg, len);
	line[len++] = '\n';
	return virtio_start(v, 0, 2) &&
	       virtio_request(v, 1, &(struct virtio_part){ line, len, false }, 1, &used);
}
