/* machine.c - what this machine has, found out once by the boot hart. */
#include "demo.h"
#include "virtio.h"

void machine_add_hart(struct demo *d, uint64_t id)
{
	struct hart *h;

	if (id == d->harts[0]->id || d->n_harts == HARTS_MAX)
		return;
	h = demo_alloc(d, sizeof(*h));
	h->self = h;
	h->demo = d;
	h->id = id;
	h->index = d->n_harts;
	d->harts[d->n_harts++] = h;
}

void machine_add_virtio(struct demo *d, uint64_t base)
{
	struct virtio *v = virtio_probe(d, base);

	if (v && d->n_virtio < DEVICES_MAX)
		d->virtio[d->n_virtio++] = v;
}

static void find_cpu(struct demo *d, const struct fdt_node *n)
{
	const char *status = fdt_string(n, "status");
	uint64_t id, size;

	if (!fdt_reg(n, &id, &size) || (status && !strcmp(status, "disabled")))
		return;
	if (!d->isa)
		d->isa = fdt_string(n, "riscv,isa");
	machine_add_hart(d, id);
}

static void look_at(struct demo *d, const struct fdt_node *n)
{
	const char *type = fdt_string(n, "device_type");
	struct window w;
	uint32_t hz;

	if (n->depth == 0)
		d->model = fdt_string(n, "model");
	if (!strcmp(n->name, "chosen"))
		d->bootargs = fdt_string(n, "bootargs");
	if (!strcmp(n->name, "cpus") && fdt_u32(n, "timebase-frequency", &hz) && hz)
		d->tick_hz = hz;
	if (type && !strcmp(type, "cpu"))
		find_cpu(d, n);
	if (!fdt_reg(n, &w.base, &w.size))
		return;
	if (type && !strcmp(type, "memory") && !d->memory.size)
		d->memory = w;
	else if (fdt_compatible(n, "ns16550a") && !d->console.uart)
		d->console.uart = (volatile uint8_t *)w.base;
	else if (fdt_compatible(n, "sifive,test0"))
		d->test_device = w;
	else if (fdt_compatible(n, "google,goldfish-rtc"))
		d->rtc = w;
	else if (fdt_compatible(n, "virtio,mmio"))
		machine_add_virtio(d, w.base);
}

void machine_find(struct demo *d)
{
	struct fdt_node n = fdt_walk(&d->fdt);

	while (fdt_next(&n))
		look_at(d, &n);
}
