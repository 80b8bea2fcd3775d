/* Acceptance of drivers/serial.c on COM1, most of it with the UART's own loopback. See spec/drivers.md. */
#include "console.h"
#include "errno.h"
#include "internal.h"
#include "serial.h"

enum { COM1 = 0x3f8, COM2 = 0x2f8, COM4 = 0x2e8, IER = COM1 + 1, IIR = COM1 + 2, LCR = COM1 + 3, MCR = COM1 + 4, LSR = COM1 + 5 };
enum { LOOP = 0x10, DATA_READY = 0x01, ALL_SENT = 0x40 };

static void drain(void)
{
	while (harness_inb(LSR) & ALL_SENT && harness_inb(LSR) & DATA_READY)
		harness_inb(COM1);
}

/* Until loop_end(), what is sent comes back; at most 16 bytes fit. */
static void loop_begin(void)
{
	for (int i = 0; i < 1000000 && !(harness_inb(LSR) & ALL_SENT); i++)
		;
	harness_outb(MCR, LOOP | 0x0b);
	drain();
}

static void loop_end(void)
{
	drain();
	harness_outb(MCR, 0x0b);
}

static unsigned divisor(void)
{
	const uint8_t lcr = harness_inb(LCR);
	unsigned value;

	harness_outb(LCR, lcr | 0x80);
	value = harness_inb(COM1) | (unsigned)harness_inb(COM1 + 1) << 8;
	harness_outb(LCR, lcr);
	return value;
}

KTEST(drivers, serial_init)
{
	struct serial s = { 0 };

	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	KASSERT_EQ(s.port, COM1);
}

/* 8 data bits, no parity, one stop bit; FIFOs on; no interrupts; DTR, RTS, OUT2 set and loopback off. */
KTEST(drivers, serial_line)
{
	struct serial s;

	harness_outb(LCR, 0x1f);
	harness_outb(MCR, 0x00);
	harness_outb(IIR, 0x00);
	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	KASSERT_EQ(harness_inb(LCR), 0x03);
	KASSERT_EQ(harness_inb(IER), 0x00);
	KASSERT_EQ(harness_inb(IIR) & 0xc0, 0xc0);
	KASSERT_EQ(harness_inb(MCR) & 0x1f, 0x0b);
	KASSERT_EQ(harness_inb(LSR) & DATA_READY, 0);
}

KTEST(drivers, serial_divisor)
{
	struct serial s;
	int slow, slowest;
	unsigned slow_divisor, slowest_divisor;

	slow = serial_init(&s, COM1, 9600);
	slow_divisor = divisor();
	slowest = serial_init(&s, COM1, 50);
	slowest_divisor = divisor();
	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	KASSERT_EQ(divisor(), 1);
	KASSERT_EQ(slow, 0);
	KASSERT_EQ(slow_divisor, 12);
	KASSERT_EQ(slowest, 0);
	KASSERT_EQ(slowest_divisor, 2304);
}

/* Bytes go out as they are, NUL and newline included, and are counted. */
KTEST(drivers, serial_write)
{
	static const uint8_t sent[16] = "\x00\xff\n\r\x80\x7f AUTON\x01\x1a\x55\xaa";
	uint8_t got[16];
	unsigned n = 0, extra;
	struct serial s;
	size_t written;

	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	loop_begin();
	written = serial_write(&s, sent, sizeof sent);
	while (n < sizeof got && (harness_inb(LSR) & DATA_READY))
		got[n++] = harness_inb(COM1);
	extra = harness_inb(LSR) & DATA_READY;
	loop_end();

	KASSERT_EQ(written, sizeof sent);
	KASSERT_EQ(n, sizeof sent);
	KASSERT_EQ(extra, 0);
	for (unsigned i = 0; i < n; i++)
		KASSERT_EQ(got[i], sent[i]);
}

KTEST(drivers, serial_write_nothing)
{
	struct serial s;
	size_t written;
	unsigned ready;

	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	loop_begin();
	written = serial_write(&s, "x", 0);
	ready = harness_inb(LSR) & DATA_READY;
	loop_end();
	KASSERT_EQ(written, 0);
	KASSERT_EQ(ready, 0);
}

/* Every byte value is a byte; only an empty receiver is an error. */
KTEST(drivers, serial_read)
{
	struct serial s;
	int empty, got[4], empty_again;

	KASSERT_EQ(serial_init(&s, COM1, 115200), 0);
	loop_begin();
	empty = serial_read(&s);
	serial_write(&s, "\x00\xff" "A", 3);
	for (int i = 0; i < 3; i++)
		got[i] = serial_read(&s);
	empty_again = serial_read(&s);
	loop_end();
	KASSERT_EQ(empty, -EAGAIN);
	KASSERT_EQ(got[0], 0x00);
	KASSERT_EQ(got[1], 0xff);
	KASSERT_EQ(got[2], 'A');
	KASSERT_EQ(empty_again, -EAGAIN);
}

KTEST(drivers, serial_absent)
{
	struct serial s = { 0 };

	if (harness_inb(COM4 + 7) != 0xff)
		KSKIP("something answers at COM4");
	KASSERT_EQ(serial_init(&s, COM4, 115200), -ENODEV);
	KASSERT_EQ(s.port, 0);
}

/* Refused before the UART is touched. COM2 is not the kernel's. */
KTEST(drivers, serial_bad_arguments)
{
	struct serial s;

	KASSERT_EQ(serial_init(&s, COM1, 57600), 0);
	s.port = 0;
	harness_outb(COM1 + 7, 0x77);
	KASSERT_EQ(serial_init(NULL, COM1, 115200), -EINVAL);
	KASSERT_EQ(serial_init(&s, COM1, 0), -EINVAL);
	KASSERT_EQ(serial_init(&s, COM1, 7), -EINVAL);          /* not a divisor of 115200 */
	KASSERT_EQ(serial_init(&s, COM1, 1), -EINVAL);          /* needs more than 16 bits */
	KASSERT_EQ(serial_init(&s, COM1, 230400), -EINVAL);
	KASSERT_EQ(serial_init(&s, COM2, 115200), -EINVAL);
	KASSERT_EQ(serial_init(&s, 0, 115200), -EINVAL);
	KASSERT_EQ(s.port, 0);
	KASSERT_EQ(divisor(), 2);
	KASSERT_EQ(harness_inb(COM1 + 7), 0x77);
	KASSERT_EQ(console_init(), 0);
}
