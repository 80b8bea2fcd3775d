/* Further tests of drivers/console.c: what arrives on COM1, seen through the UART's loopback. See spec/drivers.md. */
#include <stdbool.h>
#include "console.h"
#include "harness.h"
#include "io.h"
#include "serial.h"

enum {
	RBR = SERIAL_COM1, IER = SERIAL_COM1 + 1, LCR = SERIAL_COM1 + 3, MCR = SERIAL_COM1 + 4, LSR = SERIAL_COM1 + 5,
	SCR = SERIAL_COM1 + 7,
};
enum { LCR_8N1 = 0x03, LCR_8N2 = 0x07, LCR_DLAB = 0x80, MCR_LINE = 0x0b, MCR_LOOP = 0x1b };
enum { LSR_DATA_READY = 0x01, LSR_ALL_SENT = 0x40, FIFO_SIZE = 16, SEED = 0xc0507e };
enum { IER_LINE_STATUS = 0x04 };        /* on errors only: a value to set that raises no interrupt */

static void drain(void)
{
	for (int i = 0; i < 2 * FIFO_SIZE && (inb(LSR) & LSR_DATA_READY); i++)
		inb(RBR);
}

/* Until restore(), what is sent comes back, for nobody but collect(); at most FIFO_SIZE bytes fit. */
static void loop_begin(void)
{
	for (int i = 0; i < 1000000 && !(inb(LSR) & LSR_ALL_SENT); i++)
		cpu_pause();
	outb(IER, 0);
	outb(MCR, MCR_LOOP);
	drain();
}

/* No test knows whether another has set up the console. */
static void start(void)
{
	console_init();
	loop_begin();
}

/* Takes what arrived; true if it is these n bytes. */
static bool collect(const char *bytes, unsigned n)
{
	char seen[2 * FIFO_SIZE];
	unsigned count = 0;

	while (count < sizeof seen && (inb(LSR) & LSR_DATA_READY))
		seen[count++] = (char)inb(RBR);
	for (unsigned i = 0; i < n && i < count; i++)
		if (seen[i] != bytes[i])
			return false;
	return count == n;
}

/* Whatever the test did: loopback off, receiver empty, the console set up; what console_init() says. */
static int restore(void)
{
	outb(LCR, LCR_8N1);
	drain();
	outb(MCR, MCR_LINE);
	return console_init();
}

static unsigned divisor(void)
{
	const uint8_t lcr = inb(LCR);
	unsigned value;

	outb(LCR, lcr | LCR_DLAB);
	value = inb(RBR) | (unsigned)inb(IER) << 8;
	outb(LCR, lcr);
	return value;
}

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* With text NULL too. */
KTEST(drivers, check_console_write_null)
{
	size_t written;
	bool nothing, later;

	start();
	written = console_write(NULL, 0);
	nothing = collect("", 0);
	console_write("x", 1);
	written += console_write(NULL, 0);
	later = collect("x", 1);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(written, 0);
	KASSERT(nothing);
	KASSERT(later);
}

/* From one to as many as fit. */
KTEST(drivers, check_console_newlines_only)
{
	enum { MOST = FIFO_SIZE / 2 };
	unsigned right = 0, counted = 0;

	start();
	for (unsigned n = 1; n <= MOST; n++) {
		counted += console_write("\n\n\n\n\n\n\n\n", n) == n;
		right += collect("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 2 * n);
	}
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(counted, MOST);
	KASSERT_EQ(right, MOST);
}

/* A carriage return is a byte like any other: the newline beside it still gets its own. */
KTEST(drivers, check_console_carriage_return)
{
	size_t before, after, both;
	bool saw_before, saw_after, saw_both;

	start();
	before = console_write("a\r\nb", 4);
	saw_before = collect("a\r\r\nb", 5);
	after = console_write("\n\r", 2);
	saw_after = collect("\r\n\r", 3);
	both = console_write("\r\n\r\n\r\r\n", 7);
	saw_both = collect("\r\r\n\r\r\n\r\r\r\n", 10);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(before, 4);
	KASSERT(saw_before);
	KASSERT_EQ(after, 2);
	KASSERT(saw_after);
	KASSERT_EQ(both, 7);
	KASSERT(saw_both);
}

/* Text cut anywhere is the text: no call knows of the one before. */
KTEST(drivers, check_console_several_calls)
{
	static const char text[] = "ab\nc\r\n\n\r", out[] = "ab\r\nc\r\r\n\r\n\r";
	enum { LENGTH = sizeof text - 1, OUT_LENGTH = sizeof out - 1 };
	unsigned right = 0, counted = 0, cuts = 0;

	start();
	for (unsigned i = 0; i <= LENGTH; i++)
		for (unsigned k = i; k <= LENGTH; k++, cuts++) {
			counted += console_write(text, i) == i;
			counted += console_write(text + i, k - i) == k - i;
			counted += console_write(text + k, LENGTH - k) == LENGTH - k;
			right += collect(out, OUT_LENGTH);
		}
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(counted, 3 * cuts);
	KASSERT_EQ(right, cuts);
}

/* What follows the n bytes does not matter, nor do NULs among them. */
KTEST(drivers, check_console_exact_length)
{
	size_t cut, inside, nul;
	bool saw_cut, saw_inside, saw_nul;

	start();
	cut = console_write("ab\n", 2);
	saw_cut = collect("ab", 2);
	inside = console_write("a\n\nb", 2);
	saw_inside = collect("a\r\n", 3);
	nul = console_write("\0\n\0a", 4);
	saw_nul = collect("\0\r\n\0a", 5);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(cut, 2);
	KASSERT(saw_cut);
	KASSERT_EQ(inside, 2);
	KASSERT(saw_inside);
	KASSERT_EQ(nul, 4);
	KASSERT(saw_nul);
}

/* Of all 256 values the newline alone is changed. */
KTEST(drivers, check_console_every_byte)
{
	unsigned right = 0, counted = 0;

	start();
	for (unsigned value = 0; value < 256; value++) {
		const char text[3] = { '<', (char)value, '>' }, out[4] = { '<', '\r', '\n', '>' };

		counted += console_write(text, 3) == 3;
		right += value == '\n' ? collect(out, 4) : collect(text, 3);
	}
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(counted, 256);
	KASSERT_EQ(right, 256);
}

/* Random text of which a quarter is newlines and a quarter carriage returns. */
KTEST(drivers, check_console_random_text)
{
	enum { ROUNDS = 500 };
	uint32_t random = SEED;
	unsigned right = 0, counted = 0;

	start();
	for (int round = 0; round < ROUNDS; round++) {
		const unsigned n = next(&random) % (FIFO_SIZE / 2 + 1);
		char text[FIFO_SIZE / 2], out[FIFO_SIZE];
		unsigned out_n = 0;

		for (unsigned i = 0; i < n; i++) {
			const uint32_t r = next(&random) >> 8;

			text[i] = r % 4 == 0 ? '\n' : r % 4 == 1 ? '\r' : (char)(r >> 8);
			if (text[i] == '\n')
				out[out_n++] = '\r';
			out[out_n++] = text[i];
		}
		counted += console_write(text, n) == n;
		right += collect(out, out_n);
	}
	KASSERT_EQ(restore(), 0);
	ktest_note("seed", SEED);
	KASSERT_EQ(counted, ROUNDS);
	KASSERT_EQ(right, ROUNDS);
}

/* More than any FIFO or 8-bit count holds. Not looped back: lines of the console. */
KTEST(drivers, check_console_long_text)
{
	static char text[600];
	size_t written, rest;

	for (unsigned i = 0; i < sizeof text; i++)
		text[i] = i % 60 == 59 ? '\n' : '=';
	KASSERT_EQ(restore(), 0);
	written = console_write(text, sizeof text);
	rest = console_write(text, 300);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(written, sizeof text);
	KASSERT_EQ(rest, 300);
}

/* The second and the third time: the text is the same, and nothing of before is in it. */
KTEST(drivers, check_console_init_again)
{
	int results[3];
	size_t written[3];
	bool saw[3];

	for (unsigned k = 0; k < 3; k++) {
		start();
		console_write("before", 6);
		results[k] = console_init();
		outb(IER, 0);
		outb(MCR, MCR_LOOP);            /* nothing is drained */
		written[k] = console_write("after\n", 6);
		saw[k] = collect("after\r\n", 7);
	}
	KASSERT_EQ(restore(), 0);
	for (unsigned k = 0; k < 3; k++) {
		KASSERT_EQ(results[k], 0);
		KASSERT_EQ(written[k], 6);
		KASSERT(saw[k]);
	}
}

/* Whatever became of the UART: another rate and format, latch open, loopback on. */
KTEST(drivers, check_console_init_sets_line)
{
	struct serial s;
	unsigned rate, lcr, mcr;
	size_t written;
	bool saw;
	int result;

	serial_init(&s, SERIAL_COM1, 50);
	loop_begin();
	outb(LCR, LCR_DLAB | LCR_8N2);
	result = console_init();
	lcr = inb(LCR);
	mcr = inb(MCR) & 0x1f;
	rate = divisor();
	outb(LCR, LCR_8N1);
	loop_begin();
	written = console_write("\nx", 2);
	saw = collect("\r\nx", 3);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(result, 0);
	KASSERT_EQ(lcr, LCR_8N1);
	KASSERT_EQ(mcr, MCR_LINE);
	KASSERT_EQ(rate, 1);
	KASSERT_EQ(written, 2);
	KASSERT(saw);
}

/* console_write writes neither LCR, MCR or FCR, nor IER; what was received before is still there. */
KTEST(drivers, check_console_keeps_registers)
{
	struct serial s;
	unsigned ier, lcr, mcr, scratch, rate;
	bool saw;

	console_init();
	serial_init(&s, SERIAL_COM1, 9600);
	loop_begin();
	outb(LCR, LCR_8N2);
	outb(IER, IER_LINE_STATUS);
	outb(SCR, 0x3c);
	outb(RBR, '!');
	console_write("one\n", 4);
	console_write("\n", 1);
	console_write("", 0);
	ier = inb(IER);
	lcr = inb(LCR);
	mcr = inb(MCR) & 0x1f;
	scratch = inb(SCR);
	rate = divisor();
	saw = collect("!one\r\n\r\n", 8);
	KASSERT_EQ(restore(), 0);
	KASSERT_EQ(ier, IER_LINE_STATUS);
	KASSERT_EQ(lcr, LCR_8N2);
	KASSERT_EQ(mcr, MCR_LOOP);
	KASSERT_EQ(scratch, 0x3c);
	KASSERT_EQ(rate, 12);
	KASSERT(saw);
}
