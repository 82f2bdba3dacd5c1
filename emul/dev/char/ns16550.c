/*
 * ns16550.c - the 16550 UART (National Semiconductor PC16550D data sheet, section 8). Registers
 * are bytes at a stride of 1 << reg_shift.
 *
 * What is written is sent at once, so the transmitter is always empty. Word length, parity and
 * stop bits change nothing but the time of a character, and a break is not sent; DMA mode and the
 * receiver's error bits but for the overrun do not occur. The other end always asserts CTS, DSR
 * and DCD.
 */
#include <errno.h>

#include "emul/core/chardev.h"
#include "emul/core/device.h"

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

enum {
	IER_RX = 1,
	IER_TX = 2,
	IER_LINE = 4,
	IER_MODEM = 8,
	IIR_MODEM = 0x0,
	IIR_NONE = 0x1,
	IIR_TX = 0x2,
	IIR_RX = 0x4,
	IIR_LINE = 0x6,
	IIR_TIMEOUT = 0xc,
	IIR_FIFO = 0xc0,
	FCR_ON = 1,
	FCR_CLEAR_RX = 2,
	FCR_KEPT = 0xc9, /* enable, DMA mode, trigger */
	LCR_DLAB = 0x80,
	MCR_LOOP = 0x10,
	LSR_READY = 1,
	LSR_OVERRUN = 2,
	LSR_EMPTY = 0x60, /* THRE and TEMT */
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	FIFO_SIZE = 16,
};

struct ns16550_state {
	int64_t timeout_at; /* when characters that wait are announced below the trigger level */
	uint16_t rx_first, rx_len;
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t overrun, tx_told, timed_out; /* tx_told: the guest knows that it may send */
	uint8_t rbr;                         /* the last character that came without FIFO */
	uint8_t rx[FIFO_SIZE];
};

struct ns16550 {
	struct device dev;
	struct ns16550_state s;
	uint64_t clock_hz, reg_shift;
	struct chardev *chardev;
};

static struct ns16550 *uart_of(struct device *dev)
{
	return container_of(dev, struct ns16550, dev);
}

static unsigned rx_room(const struct ns16550 *u)
{
	return (u->s.fcr & FCR_ON ? FIFO_SIZE : 1u) - u->s.rx_len;
}

static unsigned rx_trigger(const struct ns16550 *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return u->s.fcr & FCR_ON ? levels[u->s.fcr >> 6] : 1;
}

/* Four characters of ten bits, each of 16 cycles of the divided clock. */
static int64_t timeout_ns(const struct ns16550 *u)
{
	unsigned divisor = u->s.dlm << 8 | u->s.dll;

	return (int64_t)(UINT64_C(1000000000) * 4 * 10 * 16 * (divisor ? divisor : 1) /
			 u->clock_hz);
}

/* Section 8.6.5, table IV: the most urgent reason. */
static unsigned reason(const struct ns16550 *u)
{
	if (u->s.ier & IER_LINE && u->s.overrun)
		return IIR_LINE;
	if (u->s.ier & IER_RX && u->s.rx_len >= rx_trigger(u))
		return IIR_RX;
	if (u->s.ier & IER_RX && u->s.timed_out)
		return IIR_TIMEOUT;
	if (u->s.ier & IER_TX && !u->s.tx_told)
		return IIR_TX;
	if (u->s.ier & IER_MODEM && u->s.msr & 0xf)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update(struct ns16550 *u)
{
	bool waiting = u->s.fcr & FCR_ON && u->s.rx_len && !u->s.timed_out;

	irq_set(&u->dev.irq[0], reason(u) != IIR_NONE);
	alarm_set(u->dev.alarm, waiting ? u->s.timeout_at : CLOCK_NEVER);
}

/* Characters came or were taken: the time-out begins anew. */
static void rx_changed(struct ns16550 *u)
{
	u->s.timed_out = 0;
	u->s.timeout_at = u->s.rx_len ? clock_now(u->dev.clock) + timeout_ns(u) : 0;
}

static void rx_push(struct ns16550 *u, uint8_t c)
{
	/* Section 8.6.3: without FIFO the new character destroys the old one, else it is lost. */
	if (!rx_room(u)) {
		u->s.overrun = 1;
		if (u->s.fcr & FCR_ON)
			return;
		u->s.rx_len = 0;
	}
	u->s.rx[(u->s.rx_first + u->s.rx_len++) % FIFO_SIZE] = c;
	if (!(u->s.fcr & FCR_ON))
		u->s.rbr = c;
	rx_changed(u);
}

static void rx_clear(struct ns16550 *u)
{
	u->s.rx_len = 0;
	rx_changed(u);
}

static uint8_t rx_pop(struct ns16550 *u)
{
	uint8_t c = u->s.rx[u->s.rx_first];

	/* Without FIFO it is a register, which keeps what was in it. */
	if (!u->s.rx_len)
		return u->s.fcr & FCR_ON ? 0 : u->s.rbr;
	u->s.rx_first = (u->s.rx_first + 1) % FIFO_SIZE;
	u->s.rx_len--;
	rx_changed(u);
	if (!u->s.rx_len)
		chardev_ready(u->chardev);
	return c;
}

/* Section 8.6.8: the modem lines as they are, and which have changed since they were read. */
static void modem_lines(struct ns16550 *u)
{
	uint8_t m = u->s.mcr, now, was = u->s.msr & 0xf0, changed;

	if (m & MCR_LOOP)
		now = (uint8_t)((m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4);
	else
		now = MSR_CTS | MSR_DSR | MSR_DCD;
	changed = now ^ was;
	if (now & MSR_RI)
		changed &= (uint8_t)~MSR_RI; /* only its trailing edge counts */
	u->s.msr = (uint8_t)(now | (u->s.msr & 0xf) | changed >> 4);
}

static void fcr_write(struct ns16550 *u, uint8_t val)
{
	if ((val ^ u->s.fcr) & FCR_ON || val & FCR_CLEAR_RX)
		rx_clear(u);
	u->s.fcr = val & FCR_ON ? val & FCR_KEPT : 0;
	chardev_ready(u->chardev);
}

static void thr_write(struct ns16550 *u, uint8_t val)
{
	if (u->s.mcr & MCR_LOOP)
		rx_push(u, val);
	else
		chardev_write(u->chardev, &val, 1);
	u->s.tx_told = 0;
}

static uint64_t ns16550_read(struct device *dev, uint64_t off, unsigned size)
{
	struct ns16550 *u = uart_of(dev);
	bool dlab = u->s.lcr & LCR_DLAB;
	unsigned v = 0;

	(void)size;
	if (off & ((1u << u->reg_shift) - 1))
		return 0;
	switch (off >> u->reg_shift) {
	case RBR_THR: v = dlab ? u->s.dll : rx_pop(u); break;
	case IER: v = dlab ? u->s.dlm : u->s.ier; break;
	case IIR_FCR:
		v = reason(u);
		if (v == IIR_TX)
			u->s.tx_told = 1;
		v |= u->s.fcr & FCR_ON ? IIR_FIFO : 0;
		break;
	case LCR: v = u->s.lcr; break;
	case MCR: v = u->s.mcr; break;
	case LSR:
		v = LSR_EMPTY | (u->s.rx_len ? LSR_READY : 0) | (u->s.overrun ? LSR_OVERRUN : 0);
		u->s.overrun = 0;
		break;
	case MSR:
		v = u->s.msr;
		u->s.msr &= 0xf0;
		break;
	case SCR: v = u->s.scr; break;
	}
	update(u);
	return v;
}

static void ns16550_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	struct ns16550 *u = uart_of(dev);
	bool dlab = u->s.lcr & LCR_DLAB;
	uint8_t val = (uint8_t)v;

	(void)size;
	if (off & ((1u << u->reg_shift) - 1))
		return;
	switch (off >> u->reg_shift) {
	case RBR_THR:
		if (dlab)
			u->s.dll = val;
		else
			thr_write(u, val);
		break;
	case IER:
		if (dlab) {
			u->s.dlm = val;
			break;
		}
		if (val & ~u->s.ier & IER_TX)
			u->s.tx_told = 0;
		u->s.ier = val & 0xf;
		break;
	case IIR_FCR: fcr_write(u, val); break;
	case LCR: u->s.lcr = val; break;
	case MCR:
		u->s.mcr = val & 0x1f;
		modem_lines(u);
		chardev_ready(u->chardev);
		break;
	case SCR: u->s.scr = val; break;
	}
	update(u);
}

/* On the back end's thread. */
static size_t ns16550_input(void *arg, const uint8_t *data, size_t len)
{
	struct ns16550 *u = arg;
	size_t n = 0;

	device_lock(&u->dev);
	if (!(u->s.mcr & MCR_LOOP))
		while (n < len && rx_room(u))
			rx_push(u, data[n++]);
	update(u);
	device_unlock(&u->dev);
	return n;
}

static void ns16550_timer(struct device *dev)
{
	struct ns16550 *u = uart_of(dev);

	u->s.timed_out = u->s.rx_len && clock_now(dev->clock) >= u->s.timeout_at;
	update(u);
}

static void ns16550_reset(struct device *dev)
{
	struct ns16550 *u = uart_of(dev);

	u->s.dll = 1;
	u->s.tx_told = 1;
	u->s.msr = MSR_CTS | MSR_DSR | MSR_DCD;
	update(u);
	chardev_ready(u->chardev);
}

static int ns16550_plug(struct device *dev, struct err *e)
{
	struct ns16550 *u = uart_of(dev);

	if (!u->clock_hz || u->reg_shift > 4)
		return err_set(e, -EINVAL, "clock_hz must not be 0, nor reg_shift above 4");
	dev->window_size[0] = UINT64_C(8) << u->reg_shift;
	if (u->chardev) {
		u->chardev->dev = u;
		u->chardev->on_input = ns16550_input;
	}
	return 0;
}

static void ns16550_unplug(struct device *dev)
{
	struct ns16550 *u = uart_of(dev);

	if (u->chardev)
		u->chardev->on_input = NULL;
}

static void ns16550_loaded(struct device *dev)
{
	struct ns16550 *u = uart_of(dev);

	update(u);
	chardev_ready(u->chardev);
}

static int ns16550_check(struct device *dev, struct err *e)
{
	struct ns16550 *u = uart_of(dev);

	if (u->s.rx_first >= FIFO_SIZE || u->s.rx_len > (u->s.fcr & FCR_ON ? FIFO_SIZE : 1))
		return err_set(e, -EINVAL, "the receiver holds more than its size");
	return 0;
}

static const struct state_field fields[] = {
	STATE(ns16550_state, timeout_at),
	STATE(ns16550_state, ier),
	STATE(ns16550_state, fcr),
	STATE(ns16550_state, lcr),
	STATE(ns16550_state, mcr),
	STATE(ns16550_state, msr),
	STATE(ns16550_state, scr),
	STATE(ns16550_state, dll),
	STATE(ns16550_state, dlm),
	STATE(ns16550_state, overrun),
	STATE(ns16550_state, tx_told),
	STATE(ns16550_state, timed_out),
	STATE(ns16550_state, rx_first),
	STATE(ns16550_state, rx_len),
	STATE(ns16550_state, rbr),
	STATE_ARRAY(ns16550_state, rx),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "registers",
	  .min_access = 1,
	  .max_access = 1,
	  .read = ns16550_read,
	  .write = ns16550_write },
	{ 0 },
};

static const struct device_prop props[] = {
	PROP(UINT, ns16550, clock_hz, "3686400", "input clock"),
	PROP(UINT, ns16550, reg_shift, "0", "registers are 1 << reg_shift bytes apart"),
	PROP(POINTER, ns16550, chardev, NULL, "the other end of the line"),
	{ 0 },
};

const struct device_class ns16550_class = {
	.name = "ns16550",
	.doc = "serial port of PCs and many other boards",
	.size = sizeof(struct ns16550),
	.state_off = offsetof(struct ns16550, s),
	.state_size = sizeof(struct ns16550_state),
	.state = fields,
	.windows = windows,
	.props = props,
	.n_irqs = 1,
	.plug = ns16550_plug,
	.unplug = ns16550_unplug,
	.reset = ns16550_reset,
	.timer = ns16550_timer,
	.loaded = ns16550_loaded,
	.check = ns16550_check,
};
