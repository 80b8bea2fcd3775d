/* Acceptance of drivers/console_irq.c, and of the console's lock, through the UART's loopback. See spec/drivers.md. */
#include "console.h"
#include "cpu.h"
#include "errno.h"
#include "internal.h"

enum { COM1 = 0x3f8, IER = COM1 + 1, MCR = COM1 + 4, LSR = COM1 + 5 };
enum { LOOP = 0x10, LINE = 0x0b, DATA_READY = 0x01, THR_EMPTY = 0x20, ALL_SENT = 0x40, RING = 256, FIFO = 16, SPINS = 2000000 };

static bool wait_for(uint8_t bits, uint8_t wanted)
{
	for (unsigned i = 0; i < SPINS; i++)
		if ((harness_inb(LSR) & bits) == wanted)
			return true;
	return false;
}

/* Interrupts on, nothing received, what is sent comes back; false if it cannot be had. */
static bool begin(void)
{
	if (console_init() || console_listen() || !wait_for(ALL_SENT, ALL_SENT))
		return false;
	harness_outb(MCR, LOOP | LINE);
	if (!wait_for(DATA_READY, 0))
		return false;
	while (console_read() >= 0)
		;
	return true;
}

static void end(void)
{
	harness_outb(MCR, LINE);
	while (console_read() >= 0)
		;
}

/* Sends bytes, no more at a time than there is room for; whether all were taken out of the UART. */
static bool send(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!wait_for(THR_EMPTY, THR_EMPTY))
			return false;
		harness_outb(COM1, bytes[i]);
		if (i % (FIFO - 2) == FIFO - 3 && !wait_for(DATA_READY, 0))
			return false;
	}
	return wait_for(DATA_READY, 0);
}

static uint8_t sent[RING + 100];
static int got[RING + 100];

static void make(unsigned n, uint64_t *seed)
{
	for (unsigned i = 0; i < n; i++)
		sent[i] = (uint8_t)harness_random(seed);
}

/* Reads till there is nothing; how many. */
static unsigned receive(void)
{
	unsigned n = 0;
	int byte;

	while (n < sizeof got / sizeof *got && (byte = console_read()) != -EAGAIN)
		got[n++] = byte;
	return n;
}

KTEST(drivers, console_read)
{
	uint64_t seed = harness_seed(), overruns = console_overruns();
	unsigned counts[10], lengths[10], wrong = 0;
	bool taken = true;
	int empty;

	KASSERT_EQ(harness_flags() >> 9 & 1, 1);
	KASSERT(begin());
	empty = console_read();
	for (unsigned round = 0; round < 10 && taken; round++) {
		lengths[round] = 1 + harness_random(&seed) % (round < 5 ? FIFO : RING);
		make(lengths[round], &seed);
		taken = send(sent, lengths[round]);
		counts[round] = receive();
		for (unsigned i = 0; i < counts[round] && i < lengths[round]; i++)
			wrong += got[i] != sent[i];
	}
	end();
	KASSERT_EQ(empty, -EAGAIN);
	KASSERT(taken);
	for (unsigned round = 0; round < 10; round++)
		KASSERT_EQ(counts[round], lengths[round]);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(console_overruns(), overruns);
}

/* What comes when the ring is full is counted and lost; what was there stays. */
KTEST(drivers, console_overrun)
{
	uint64_t seed = harness_seed();
	const unsigned more = 1 + harness_random(&seed) % 99;
	const uint64_t before = console_overruns();
	unsigned count, wrong = 0, later;
	uint64_t full, over;
	bool taken;

	make(RING + more, &seed);
	KASSERT(begin());
	taken = send(sent, RING);
	full = console_overruns();
	taken = taken && send(sent + RING, more);
	over = console_overruns();
	count = receive();
	for (unsigned i = 0; i < count && i < RING; i++)
		wrong += got[i] != sent[i];
	taken = taken && send(sent, 5);
	later = receive();
	end();
	KASSERT(taken);
	KASSERT_EQ(full, before);
	KASSERT_EQ(over, before + more);
	KASSERT_EQ(count, RING);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(later, 5);
}

/* Part 1 holds: console_init leaves the UART's interrupts off, console_listen switches the receiver's on. */
KTEST(drivers, console_listen)
{
	uint8_t quiet, listening, again;
	int first, second;

	KASSERT_EQ(console_init(), 0);
	quiet = harness_inb(IER);
	first = console_listen();
	listening = harness_inb(IER);
	second = console_listen();
	again = harness_inb(IER);
	KASSERT_EQ(quiet, 0);
	KASSERT_EQ(first, 0);
	KASSERT_EQ(listening, 1);
	KASSERT_EQ(second, 0);
	KASSERT_EQ(again, 1);
}

/* ---- lines of several processors ---- */

enum { WRITERS = 3, ROUNDS = 100 };

static uint32_t arrived;

/* Processors 1 to 3, or the only one, write a line of five bytes each at the same time: there is room for 16. */
static void write_line(void *arg)
{
	const unsigned me = cpu_self()->index, writers = *(const unsigned *)arg;
	const char line[4] = { (char)('a' + me), (char)('A' + me), (char)('0' + me), '\n' };

	if (me > writers || (me == 0 && cpu_count() > 1))
		return;
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < SPINS && __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < writers; i++)
		__asm__ volatile("pause" : : : "memory");
	console_write(line, sizeof line);
}

/* The number of the processor whose line it is; -1: nobody's. */
static int author(const uint8_t *line)
{
	const unsigned n = (unsigned)line[0] - 'a';

	return n < 10 && line[1] == 'A' + n && line[2] == '0' + n && line[3] == '\r' && line[4] == '\n' ? (int)n : -1;
}

KTEST(drivers, console_lines)
{
	const unsigned processors = (unsigned)fw_cfg_number(FW_CFG_PROCESSORS, 2);
	unsigned writers = processors == 1 ? 1 : processors <= WRITERS ? processors - 1 : WRITERS;
	unsigned mixed = 0, short_rounds = 0, repeated = 0;
	int failed = 0;

	KASSERT_EQ(cpu_count(), processors);
	KASSERT_EQ(console_init(), 0);                          /* nobody but us takes what comes back */
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint8_t back[FIFO + 1];
		unsigned n = 0, seen = 0;

		arrived = 0;
		wait_for(ALL_SENT, ALL_SENT);
		harness_outb(MCR, LOOP | LINE);
		while (harness_inb(LSR) & DATA_READY)
			harness_inb(COM1);
		failed += cpu_on_each(write_line, &writers) != 0;
		while (n < sizeof back && harness_inb(LSR) & DATA_READY)
			back[n++] = harness_inb(COM1);
		harness_outb(MCR, LINE);
		short_rounds += n != 5 * writers;
		for (unsigned i = 0; i + 5 <= n; i += 5) {
			const int who = author(back + i);

			mixed += who < 0;
			repeated += who >= 0 && seen >> who & 1;
			seen |= who >= 0 ? 1u << who : 0;
		}
	}
	console_listen();
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(short_rounds, 0);
	KASSERT_EQ(mixed, 0);
	KASSERT_EQ(repeated, 0);
}
