/* A 16550 UART, polled: works before there are interrupts and in the middle of a panic. See spec/drivers.md.
 * Outside serial_init LCR is 0x03, so no byte can land in the divisor; only serial_init writes LCR, FCR and MCR. */
#include <stdbool.h>
#include "errno.h"
#include "io.h"
#include "serial.h"

/* Registers, as offsets from the port. DLL and DLM take the place of 0 and 1 while LCR_DLAB is set. */
enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCR = 7 };

enum {
	FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04, FCR_TRIGGER_14 = 0xc0,
	LCR_8N1 = 0x03, LCR_DLAB = 0x80,
	MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOPBACK = 0x10,
	LSR_DATA_READY = 0x01, LSR_THR_EMPTY = 0x20, LSR_ALL_SENT = 0x40,
};

enum { POLLS = 1000000, DIVISOR_MAX = 0xffff, LOOPBACK_BYTE = 0xae };

/* Waits until the bit of LSR is set; false if it was not in a million polls. */
static bool lsr_wait(uint16_t port, uint8_t bit)
{
	for (int i = 0; i < POLLS; i++) {
		if (inb(port + LSR) & bit)
			return true;
		cpu_pause();
	}
	return false;
}

static bool scratch_holds(uint16_t port, uint8_t value)
{
	outb(port + SCR, value);
	return inb(port + SCR) == value;
}

int serial_init(struct serial *s, uint16_t port, unsigned baud)
{
	unsigned divisor;
	bool works;

	if (!s || (port != SERIAL_COM1 && port != SERIAL_COM3 && port != SERIAL_COM4))
		return -EINVAL;
	if (baud == 0 || SERIAL_CLOCK % baud != 0 || SERIAL_CLOCK / baud > DIVISOR_MAX)
		return -EINVAL;
	divisor = SERIAL_CLOCK / baud;

	/* Comes first: where nobody answers, every LSR bit waited for below reads as set. Two values with no bit in
	 * common, so that no constant passes. */
	if (!scratch_holds(port, 0x5a) || !scratch_holds(port, 0xa5))
		return -ENODEV;

	outb(port + LCR, LCR_8N1);      /* DLAB may be set: the next write is for IER, not for the divisor */
	outb(port + IER, 0);
	outb(port + LCR, LCR_8N1 | LCR_DLAB);
	outb(port + DLL, divisor & 0xff);
	outb(port + DLM, divisor >> 8);
	outb(port + LCR, LCR_8N1);

	/* What is still going out must not be cut into the loopback. A transmitter that never gets done is no error
	 * of its own: the loopback test judges it. */
	(void)lsr_wait(port, LSR_ALL_SENT);
	outb(port + FCR, FCR_ENABLE | FCR_CLEAR_RX | FCR_CLEAR_TX | FCR_TRIGGER_14);

	outb(port + MCR, MCR_RTS | MCR_OUT1 | MCR_OUT2 | MCR_LOOPBACK);
	outb(port + THR, LOOPBACK_BYTE);
	works = lsr_wait(port, LSR_DATA_READY) && inb(port + RBR) == LOOPBACK_BYTE;
	outb(port + MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
	if (!works)
		return -EIO;

	s->port = port;
	return 0;
}

/* One byte a wait: THR empty says that the FIFO is, and it is seen anew before each byte. */
size_t serial_write(const struct serial *s, const void *data, size_t n)
{
	const uint8_t *bytes = data;
	size_t sent;

	for (sent = 0; sent < n && lsr_wait(s->port, LSR_THR_EMPTY); sent++)
		outb(s->port + THR, bytes[sent]);
	return sent;
}

int serial_read(const struct serial *s)
{
	if (!(inb(s->port + LSR) & LSR_DATA_READY))
		return -EAGAIN;
	return inb(s->port + RBR);
}
