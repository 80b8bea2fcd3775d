/* Acceptance of drivers/console.c: what arrives on COM1, seen through the UART's loopback. See spec/drivers.md. */
#include "console.h"
#include "internal.h"

enum { COM1 = 0x3f8, LCR = COM1 + 3, MCR = COM1 + 4, LSR = COM1 + 5, LOOP = 0x10, DATA_READY = 0x01, ALL_SENT = 0x40 };

static char seen[32];
static unsigned seen_count;

/* Writes with the UART looped back; what came out is in seen. At most 16 bytes. */
static size_t observe(const char *text, size_t n)
{
	size_t written;

	for (int i = 0; i < 1000000 && !(harness_inb(LSR) & ALL_SENT); i++)
		;
	harness_outb(MCR, LOOP | 0x0b);
	while (harness_inb(LSR) & DATA_READY)
		harness_inb(COM1);
	written = console_write(text, n);
	seen_count = 0;
	while (seen_count < sizeof seen && (harness_inb(LSR) & DATA_READY))
		seen[seen_count++] = (char)harness_inb(COM1);
	harness_outb(MCR, 0x0b);
	return written;
}

KTEST(drivers, console_init)
{
	KASSERT_EQ(console_init(), 0);
	KASSERT_EQ(harness_inb(LCR), 0x03);
	KASSERT_EQ(harness_inb(MCR) & LOOP, 0);
	KASSERT_EQ(console_init(), 0);
}

KTEST(drivers, console_write)
{
	KASSERT_EQ(console_init(), 0);
	KASSERT_EQ(observe("AUTON", 5), 5);
	KASSERT_EQ(seen_count, 5);
	KASSERT_EQ(harness_memcmp(seen, "AUTON", 5), 0);
	KASSERT_EQ(observe("AUTON", 2), 2);
	KASSERT_EQ(seen_count, 2);
	KASSERT_EQ(observe("AUTON", 0), 0);
	KASSERT_EQ(seen_count, 0);
}

/* A newline goes out as carriage return, newline, and counts as the one byte it was. */
KTEST(drivers, console_newline)
{
	KASSERT_EQ(console_init(), 0);
	KASSERT_EQ(observe("a\nb\n\n", 5), 5);
	KASSERT_EQ(seen_count, 8);
	KASSERT_EQ(harness_memcmp(seen, "a\r\nb\r\n\r\n", 8), 0);
}

/* Everything else goes out as it is. */
KTEST(drivers, console_bytes)
{
	KASSERT_EQ(console_init(), 0);
	KASSERT_EQ(observe("\0\r\t\x1b\xff\0", 6), 6);
	KASSERT_EQ(seen_count, 6);
	KASSERT_EQ(harness_memcmp(seen, "\0\r\t\x1b\xff\0", 6), 0);
}
