/* What is typed at the console: the first serial port's receiver interrupts, and the ring between them and who reads.
 * See spec/drivers.md, "Console with interrupts". */
#include <stdint.h>
#include "apic.h"
#include "console.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "serial.h"
#include "spinlock.h"

enum { ISA_COM1 = 4 };
enum { IER = 1, IER_RECEIVED = 0x01 };          /* offset from the port; the receiver's interrupt */
enum { RING_SIZE = 256 };
enum { BURST = 256 };                           /* bytes taken out of the UART with interrupts off; its FIFO holds 16 */

/* console.c's; port is 0 until console_init() succeeds, and never again. */
extern struct serial console_uart;

/* The lock is held, interrupts off, from a byte's leaving the UART to its place in the ring: bytes keep their order.
 * It is not console.c's, as bytes may be sent meanwhile: neither direction touches what the other one needs. */
static struct spinlock lock;
static uint8_t ring[RING_SIZE];
static uint32_t received, taken;                /* bytes that ever came into the ring, and that left it; both wrap */
static uint64_t overruns;
_Static_assert((1ull << 32) % RING_SIZE == 0, "a place in the ring is a count modulo its size, also when that wraps");

/* Empties the UART into the ring. Its interrupt is edge-triggered and stays asserted while there is something left, so
 * where something may be left, after BURST bytes, another edge is made with IER.
 * IER 0: console_init() has switched the interrupt off when it was on its way already. Nothing is read then: it may be
 * in the middle of its work, with the divisor in the received byte's place, or the loopback test's byte there. */
static void receive(void)
{
	const uint64_t flags = spin_lock_irqsave(&lock);
	unsigned n;

	for (n = 0; n < BURST && inb(console_uart.port + IER) & IER_RECEIVED; n++) {
		const int byte = serial_read(&console_uart);

		if (byte < 0)
			break;
		if (received - taken < RING_SIZE)
			ring[received++ % RING_SIZE] = (uint8_t)byte;
		else
			overruns++;
	}
	if (n == BURST) {
		outb(console_uart.port + IER, 0);
		outb(console_uart.port + IER, IER_RECEIVED);
	}
	spin_unlock_irqrestore(&lock, flags);
}

static void handle_received(struct trap_frame *f)
{
	(void)f;
	receive();
	apic_eoi();
}

int console_listen(void)
{
	static unsigned vector;                 /* 0: none yet */
	int err;

	ioapic_init();
	if (console_uart.port == 0)
		return -ENODEV;
	if (vector == 0) {
		const int v = irq_alloc_vector();

		if (v < 0)
			return v;
		err = trap_set_handler((unsigned)v, handle_received);
		if (err) {
			irq_free_vector((unsigned)v);
			return err;
		}
		vector = (unsigned)v;
	}
	/* Fails before it has ever succeeded, or never: what it depends on does not change. So no interrupt is
	 * connected to the vector that is given back. */
	err = irq_connect(ISA_COM1, (uint8_t)vector, 0);
	if (err) {
		trap_clear_handler(vector);
		irq_free_vector(vector);
		vector = 0;
		return err;
	}
	outb(console_uart.port + IER, IER_RECEIVED);
	/* What came before, or while the entry was masked, may have made no edge; as long as it is there nothing else
	 * makes one. */
	receive();
	return 0;
}

int console_read(void)
{
	const uint64_t flags = spin_lock_irqsave(&lock);
	int byte = -EAGAIN;

	if (received != taken)
		byte = ring[taken++ % RING_SIZE];
	spin_unlock_irqrestore(&lock, flags);
	return byte;
}

uint64_t console_overruns(void)
{
	const uint64_t flags = spin_lock_irqsave(&lock);
	const uint64_t lost = overruns;

	spin_unlock_irqrestore(&lock, flags);
	return lost;
}

/* Without a UART, or an IOAPIC that has its interrupt, the kernel goes on; nothing is ever received. */
static void listen(void)
{
	(void)console_listen();
}
INIT(INIT_DEVICES, listen);
