/* virtio_set.c - creates and configures the virtio devices of a machine; see the header. */
#include "emul/board/virtio_set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"
#include "emul/dev/pci/pci.h"

static bool on_pci(const char *bus)
{
	return bus && !strcmp(bus, VIRTIO_SET_PCI);
}

/* kind: "blk"; bus: of the configuration; the device is called name and n. */
static int create(struct machine *m, struct virtio_set *set, const char *kind, const char *bus,
		  const char *name, unsigned n, struct device **ret, struct err *e)
{
	char class[32], full[32];
	int r;

	if (on_pci(bus) && !set->pci_host)
		return err_set(e, -EINVAL, "there is no PCI on this machine");
	if (!on_pci(bus) && set->n_slots == set->slots)
		return err_set(e, -ENOSPC, "there are only %u virtio slots", set->slots);
	snprintf(class, sizeof(class), on_pci(bus) ? "virtio-pci-%s" : "virtio-mmio-%s", kind);
	snprintf(full, sizeof(full), "%s%u", name, n);
	r = machine_create(m, class, full, ret, e);
	return r || !on_pci(bus) ? r
				 : device_set_pointer(*ret, "pci", pcie_host_bus(set->pci_host), e);
}

/* A PCI function finds its place on the bus by itself. */
static int plug(struct machine *m, struct virtio_set *set, const char *bus, struct device *dev,
		struct err *e)
{
	return on_pci(bus) ? machine_plug(dev, m, e) : set->plug(m, set->n_slots++, dev, e);
}

static int add_disk(struct machine *m, struct virtio_set *set, unsigned i, struct err *e)
{
	const struct machine_disk *d = &m->config.disks[i];
	struct device *dev;
	int r = create(m, set, "blk", d->bus, "disk", i, &dev, e);

	if (!r)
		r = device_set_pointer(dev, "disk", d->disk, e);
	if (!r)
		r = device_set(dev, "readonly", d->readonly || d->cdrom ? "on" : "off", e);
	if (!r && set->blk_queues)
		r = device_set_uint(dev, "queues", set->blk_queues, e);
	return r ? r : plug(m, set, d->bus, dev, e);
}

static int add_net(struct machine *m, struct virtio_set *set, unsigned i, struct err *e)
{
	const struct machine_net *n = &m->config.nets[i];
	uint64_t mac = le32(n->mac) | (uint64_t)le16(n->mac + 4) << 32;
	struct device *dev;
	int r = create(m, set, "net", n->model, "net", i, &dev, e);

	if (!r)
		r = device_set_pointer(dev, "netdev", n->netdev, e);
	if (!r)
		r = device_set_uint(dev, "mac", mac, e);
	return r ? r : plug(m, set, n->model, dev, e);
}

static int add_share(struct machine *m, struct virtio_set *set, unsigned i, struct err *e)
{
	const struct machine_share *s = &m->config.shares[i];
	struct device *dev;
	int r = create(m, set, "9p", NULL, "share", i, &dev, e);

	if (!r)
		r = device_set_uint(dev, "dir_fd", (uint64_t)s->dir_fd, e);
	if (!r)
		r = device_set(dev, "tag", s->tag, e);
	if (!r)
		r = device_set(dev, "readonly", s->readonly ? "on" : "off", e);
	return r ? r : plug(m, set, NULL, dev, e);
}

static int add_plain(struct machine *m, struct virtio_set *set, const char *kind, struct err *e)
{
	struct device *dev;
	int r = create(m, set, kind, NULL, kind, 0, &dev, e);

	return r ? r : plug(m, set, NULL, dev, e);
}

int virtio_set_add(struct machine *m, struct virtio_set *set, struct err *e)
{
	const struct machine_config *c = &m->config;
	int r = 0;

	for (unsigned i = 0; i < c->n_disks && !r; i++)
		r = add_disk(m, set, i, e);
	for (unsigned i = 0; i < c->n_nets && !r; i++)
		r = add_net(m, set, i, e);
	for (unsigned i = 0; i < c->n_shares && !r; i++)
		r = add_share(m, set, i, e);
	if (!r && c->rng)
		r = add_plain(m, set, "rng", e);
	if (!r && c->balloon)
		r = add_plain(m, set, "balloon", e);
	return r;
}
