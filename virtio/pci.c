/*
 * pci.c - the PCI transport of virtio 1.2, section 4.1: registers in one memory BAR, MSI-X in
 * another. Runs in the vCPU that accesses them, with the device locked.
 */
#include "virtio/pci.h"

#include <errno.h>

enum { VENDOR = 0x1af4, SUBSYSTEM = 0x1100, DEVICE_BASE = 0x1040, NO_VECTOR = 0xffff };

/* Windows, and the BARs they are at; the registers' may lie above 4 GiB. */
enum { W_REGS = 0, W_MSIX = 1, BAR_MSIX = 1, BAR_REGS = 4, PBA = 0x800 };

/* Parts of the register window; section 4.1.4 leaves their places to us. */
enum {
	COMMON = 0,
	ISR = 0x1000,
	CONFIG = 0x2000,
	NOTIFY = 0x3000,
	REGS_SIZE = 0x4000,
	NOTIFY_STRIDE = 4,
};

/* Section 4.1.4.3. */
enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	STATUS = 0x14,
	GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	COMMON_SIZE = 0x38,
};

/* Capabilities of section 4.1.4, and what is in them. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_ACCESS = 5 };
enum { AT_LEN = 2, AT_TYPE = 3, AT_BAR = 4, AT_OFFSET = 8, AT_LENGTH = 12, AT_EXTRA = 16 };
enum { CAP_LEN = 16, CAP_LONG = 20 };

static struct virtio_pci *pci_of(struct virtio *v)
{
	return v->transport;
}

/* ---- interrupts ---- */

static void update_line(struct virtio *v)
{
	struct virtio_pci *p = pci_of(v);

	if (p->f.bus)
		pci_intx(&p->f, v->s->isr && !pci_msix_on(&p->f));
	else
		irq_set(&v->dev.irq[0], v->s->isr != 0);
}

static void pci_interrupt(struct virtio *v, unsigned queue)
{
	struct virtio_pci *p = pci_of(v);
	uint32_t vector = queue < VIRTIO_MAX_QUEUES ? v->s->vector[queue] : v->s->config_vector;

	if (queue != VIRTIO_LINE_ONLY && vector != NO_VECTOR)
		pci_msix_send(&p->f, vector);
	update_line(v);
}

/* ---- registers ---- */

static bool selected(struct virtio *v, unsigned *n)
{
	*n = v->s->queue_select;
	return *n < v->type->queues(v) && *n < VIRTIO_MAX_QUEUES;
}

/* The registers as they are now; an access takes a piece of them. */
static void common_image(struct virtio *v, uint8_t *c)
{
	const struct virtio_state *s = v->s;
	unsigned n;

	memset(c, 0, COMMON_SIZE);
	put_le32(c + DEVICE_FEATURE_SELECT, s->device_features_select);
	if (s->device_features_select < 2)
		put_le32(c + DEVICE_FEATURE,
			 (uint32_t)(virtio_offered(v) >> (32 * s->device_features_select)));
	put_le32(c + DRIVER_FEATURE_SELECT, s->driver_features_select);
	if (s->driver_features_select < 2)
		put_le32(c + DRIVER_FEATURE,
			 (uint32_t)(s->features >> (32 * s->driver_features_select)));
	put_le16(c + CONFIG_VECTOR, (uint16_t)s->config_vector);
	put_le16(c + NUM_QUEUES, (uint16_t)v->type->queues(v));
	c[STATUS] = (uint8_t)s->status;
	c[GENERATION] = (uint8_t)s->generation;
	put_le16(c + QUEUE_SELECT, (uint16_t)s->queue_select);
	put_le16(c + QUEUE_VECTOR, NO_VECTOR);
	if (!selected(v, &n))
		return;
	put_le16(c + QUEUE_SIZE, s->size[n]);
	put_le16(c + QUEUE_VECTOR, s->vector[n]);
	put_le16(c + QUEUE_ENABLE, s->ready[n]);
	put_le16(c + QUEUE_NOTIFY_OFF, (uint16_t)n);
	put_le64(c + QUEUE_DESC, s->desc[n]);
	put_le64(c + QUEUE_DRIVER, s->driver[n]);
	put_le64(c + QUEUE_DEVICE, s->device[n]);
}

static uint64_t regs_read(struct device *dev, uint64_t off, unsigned size)
{
	struct virtio *v = virtio_of(dev);
	uint8_t image[COMMON_SIZE + 8];
	uint64_t isr = v->s->isr;

	if (off >= NOTIFY)
		return 0;
	if (off >= CONFIG)
		return virtio_config_read(v, (uint32_t)off - CONFIG, size);
	if (off == ISR) {
		v->s->isr = 0; /* section 4.1.4.5: reading takes it */
		update_line(v);
		return isr;
	}
	if (!range_fits(off, size, COMMON_SIZE))
		return 0;
	common_image(v, image);
	memset(image + off + size, 0, 8 - size);
	return le64(image + off);
}

/* Section 4.1.5.1.2: a vector that there is not reads back as none. */
static uint16_t vector_of(struct virtio *v, uint64_t val)
{
	return val < pci_of(v)->f.msix.vectors ? (uint16_t)val : NO_VECTOR;
}

static void queue_write(struct virtio *v, uint64_t off, uint64_t val)
{
	struct virtio_state *s = v->s;
	unsigned n;

	if (!selected(v, &n)) {
		guest_note(&v->dev, "write of register %#x of queue %u", (unsigned)off,
			   s->queue_select);
		return;
	}
	if (off == QUEUE_VECTOR) {
		s->vector[n] = vector_of(v, val);
		return;
	}
	if (s->ready[n]) {
		guest_note(&v->dev, "write of register %#x of a queue that is in use",
			   (unsigned)off);
		return;
	}
	switch (off) {
	case QUEUE_SIZE: s->size[n] = (uint16_t)val; break;
	case QUEUE_ENABLE:
		if (val == 1)
			virtio_set_ready(v, n, true);
		break;
	case QUEUE_DESC: virtio_put_half(&s->desc[n], val, false); break;
	case QUEUE_DESC + 4: virtio_put_half(&s->desc[n], val, true); break;
	case QUEUE_DRIVER: virtio_put_half(&s->driver[n], val, false); break;
	case QUEUE_DRIVER + 4: virtio_put_half(&s->driver[n], val, true); break;
	case QUEUE_DEVICE: virtio_put_half(&s->device[n], val, false); break;
	case QUEUE_DEVICE + 4: virtio_put_half(&s->device[n], val, true); break;
	}
}

/* Section 4.1.3.1: fields are written whole; those of 64 bits in two halves. */
static unsigned width(uint64_t off)
{
	return off == STATUS ? 1 : off < CONFIG_VECTOR || off >= QUEUE_DESC ? 4 : 2;
}

static void common_write(struct virtio *v, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio_state *s = v->s;

	if (off >= COMMON_SIZE || size != width(off)) {
		guest_note(&v->dev, "write of %u bytes of register %#x", size, (unsigned)off);
		return;
	}
	switch (off) {
	case DEVICE_FEATURE_SELECT: s->device_features_select = (uint32_t)val; break;
	case DRIVER_FEATURE_SELECT: s->driver_features_select = (uint32_t)val; break;
	case DRIVER_FEATURE:
		if (s->driver_features_select < 2 && !(s->status & VIRTIO_FEATURES_OK))
			virtio_put_half(&s->features, val, s->driver_features_select);
		break;
	case CONFIG_VECTOR: s->config_vector = vector_of(v, val); break;
	case STATUS: virtio_set_status(v, (uint32_t)val); break;
	case QUEUE_SELECT: s->queue_select = (uint32_t)val; break;
	default: queue_write(v, off, val);
	}
}

static void regs_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio *v = virtio_of(dev);

	if (off >= NOTIFY)
		virtio_kick(v, (unsigned)(off - NOTIFY) / NOTIFY_STRIDE);
	else if (off >= CONFIG)
		virtio_config_write(v, (uint32_t)off - CONFIG, val, size);
	else if (off < ISR)
		common_write(v, off, val, size);
}

static uint64_t msix_read(struct device *dev, uint64_t off, unsigned size)
{
	struct pci_function *f = &pci_of(virtio_of(dev))->f;

	return off < PBA ? pci_msix_table_read(f, off, size)
			 : pci_msix_pending_read(f, off - PBA, size);
}

static void msix_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (off < PBA)
		pci_msix_table_write(&pci_of(virtio_of(dev))->f, off, val, size);
}

const struct device_window virtio_pci_windows[] = {
	[W_REGS] = { .name = "registers",
		     .size = REGS_SIZE,
		     .min_access = 1,
		     .max_access = 4,
		     .read = regs_read,
		     .write = regs_write },
	[W_MSIX] = { .name = "msix",
		     .size = 0x1000,
		     .min_access = 4,
		     .max_access = 8,
		     .read = msix_read,
		     .write = msix_write },
	{ 0 },
};

/* ---- configuration space ---- */

static struct virtio *function_virtio(struct pci_function *f)
{
	return virtio_of(f->dev);
}

/* Section 4.1.4.9: four bytes of configuration space through which firmware sees the registers. */
static bool access_at(struct virtio *v, unsigned off, uint32_t *at, uint32_t *len)
{
	struct virtio_pci *p = pci_of(v);
	const uint8_t *cap = p->s->config + p->access;

	*at = le32(cap + AT_OFFSET);
	*len = le32(cap + AT_LENGTH);
	return off == p->access + AT_EXTRA && cap[AT_BAR] == BAR_REGS &&
	       (*len == 1 || *len == 2 || *len == 4) && *at % *len == 0 &&
	       range_fits(*at, *len, REGS_SIZE);
}

static void config_reading(struct pci_function *f, unsigned off, unsigned size)
{
	struct virtio *v = function_virtio(f);
	uint32_t at, len;

	(void)size;
	if (access_at(v, off, &at, &len))
		put_le32(f->config + off, (uint32_t)regs_read(f->dev, at, len));
}

static void follow_command(struct virtio *v)
{
	bool was = v->no_dma;

	v->no_dma = pci_of(v)->f.bus && !pci_is_master(&pci_of(v)->f);
	for (unsigned n = 0; was && !v->no_dma && n < v->type->queues(v); n++)
		virtio_kick(v, n);
	update_line(v);
}

static void config_wrote(struct pci_function *f, unsigned off, unsigned size)
{
	struct virtio *v = function_virtio(f);
	uint32_t at, len, val;

	(void)size;
	if (access_at(v, off, &at, &len)) {
		val = le32(f->config + off);
		regs_write(f->dev, at, len == 4 ? val : val & ((1u << 8 * len) - 1), len);
	}
	follow_command(v);
}

static int add_cap(struct pci_function *f, unsigned type, uint32_t at, uint32_t len, struct err *e)
{
	bool is_long = type == CAP_NOTIFY || type == CAP_ACCESS;
	int cap = pci_add_capability(f, PCI_CAP_VENDOR, is_long ? CAP_LONG : CAP_LEN, e);

	if (cap < 0)
		return cap;
	f->initial[cap + AT_LEN] = is_long ? CAP_LONG : CAP_LEN;
	f->initial[cap + AT_TYPE] = (uint8_t)type;
	f->initial[cap + AT_BAR] = type == CAP_ACCESS ? 0 : BAR_REGS;
	put_le32(f->initial + cap + AT_OFFSET, at);
	put_le32(f->initial + cap + AT_LENGTH, len);
	if (type == CAP_NOTIFY)
		put_le32(f->initial + cap + AT_EXTRA, NOTIFY_STRIDE);
	if (type == CAP_ACCESS) {
		f->writable[cap + AT_BAR] = 0xff;
		memset(f->writable + cap + AT_OFFSET, 0xff, CAP_LONG - AT_OFFSET);
	}
	return cap;
}

static int add_caps(struct virtio *v, struct err *e)
{
	struct virtio_pci *p = pci_of(v);
	const struct {
		unsigned type;
		uint32_t at, len;
	} caps[] = {
		{ CAP_COMMON, COMMON, COMMON_SIZE },
		{ CAP_NOTIFY, NOTIFY, NOTIFY_STRIDE * VIRTIO_MAX_QUEUES },
		{ CAP_ISR, ISR, 4 },
		{ CAP_DEVICE, CONFIG, v->type->config_size },
		{ CAP_ACCESS, 0, 0 },
	};
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < ARRAY_SIZE(caps); i++)
		if (caps[i].type != CAP_DEVICE || caps[i].len)
			r = add_cap(&p->f, caps[i].type, caps[i].at, caps[i].len, e);
	p->access = r < 0 ? 0 : (unsigned)r;
	return r < 0 ? r : 0;
}

/* Class codes of PCI Code and ID Assignment, by type of device; others have none that fits. */
static uint32_t class_code(uint16_t id)
{
	static const uint32_t codes[] = { [1] = 0x020000, [2] = 0x010000, [3] = 0x078000 };

	return id < ARRAY_SIZE(codes) && codes[id] ? codes[id] : 0x00ff00;
}

void virtio_pci_init(struct virtio *v, struct virtio_pci *p, struct virtio_pci_state *s)
{
	v->transport = p;
	v->interrupt = pci_interrupt;
	p->s = s;
}

int virtio_pci_plug(struct virtio *v, struct err *e)
{
	struct virtio_pci *p = pci_of(v);
	const struct pci_id id = {
		.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_BASE + v->type->id),
		.sub_vendor = VENDOR,
		.sub_device = SUBSYSTEM,
		.class_code = class_code(v->type->id),
		.revision = 1,
		.pin = 1,
	};
	int r;

	if (!p->pci)
		return 0;
	r = pci_plug(&p->f, &v->dev, p->pci, PCI_ANY_SLOT, p->s->config, &id, e);
	if (r == 0)
		r = pci_add_bar(&p->f, BAR_REGS, PCI_BAR_MEM64, W_REGS, e);
	if (r == 0)
		r = pci_add_bar(&p->f, BAR_MSIX, PCI_BAR_MEM32, W_MSIX, e);
	if (r == 0)
		r = add_caps(v, e);
	if (r == 0)
		r = pci_add_msix(&p->f, v->type->queues(v) + 1, BAR_MSIX, 0, PBA, p->s->table,
				 p->s->pending, e);
	p->f.reading = config_reading;
	p->f.wrote = config_wrote;
	if (r < 0)
		pci_unplug(&p->f);
	return r < 0 ? r : 0;
}

void virtio_pci_unplug(struct virtio *v)
{
	pci_unplug(&pci_of(v)->f);
}

void virtio_pci_reset(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	if (pci_of(v)->f.bus)
		pci_reset(&pci_of(v)->f);
	virtio_reset(v);
	follow_command(v);
}

void virtio_pci_loaded(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	if (pci_of(v)->f.bus)
		pci_loaded(&pci_of(v)->f);
	v->no_dma = false;
	follow_command(v);
	virtio_loaded(v);
}

int virtio_pci_check(struct device *dev, struct err *e)
{
	struct virtio *v = virtio_of(dev);
	struct virtio_pci *p = pci_of(v);

	if (p->f.bus && !pci_config_sound(&p->f))
		return err_set(e, -EINVAL, "configuration space has bits that cannot be set");
	return virtio_check(v, e);
}
