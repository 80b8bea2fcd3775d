/* Further tests of drivers/console_irq.c through the UART's loopback: what comes back is received by interrupts. See
 * spec/drivers.md, part 2. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "console.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "serial.h"

enum {
	RBR = SERIAL_COM1, IER = SERIAL_COM1 + 1, MCR = SERIAL_COM1 + 4, LSR = SERIAL_COM1 + 5,
	MCR_LINE = 0x0b, MCR_LOOP = 0x1b, LSR_DATA_READY = 0x01, LSR_THR_EMPTY = 0x20, LSR_ALL_SENT = 0x40,
};
enum { FIFO = 16, BURST = 14, RING = 256, IF = 1 << 9, LOOKS = 100000, SEED = 0x115e };

#define US 1000ull
#define MS 1000000ull

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

static void linger(uint64_t ns)
{
	const uint64_t begin = clock_ns();

	while (clock_ns() - begin < ns)
		;
}

/* Whether it is worth looking once more: not only time is counted, for if we are stopped nobody looks. */
static bool is_time(uint64_t begin, unsigned looks)
{
	return looks < LOOKS || clock_ns() - begin < 2000 * MS;
}

/* Waits for these bits of LSR to be so; false: they are not. */
static bool line_is(uint8_t bits, uint8_t wanted)
{
	const uint64_t begin = clock_ns();
	bool is = false;

	for (unsigned looks = 0; !is && is_time(begin, looks); looks++) {
		is = (inb(LSR) & bits) == wanted;
		if (looks % 16 == 1)
			cpu_pause();
	}
	return is;
}

/* The next byte, for which it waits; -EAGAIN: it does not come. */
static int next_byte(void)
{
	const uint64_t begin = clock_ns();
	int byte = -EAGAIN;

	for (unsigned looks = 0; byte < 0 && is_time(begin, looks); looks++) {
		byte = console_read();
		if (looks % 16 == 1)
			cpu_pause();
	}
	return byte;
}

static void empty_ring(void)
{
	for (unsigned i = 0; i < 2 * RING && console_read() >= 0; i++)
		;
}

/* What is sent comes back and is received; there is nothing yet. false: not to be had. */
static bool begin(void)
{
	bool ready = console_init() == 0 && console_listen() == 0 && line_is(LSR_ALL_SENT, LSR_ALL_SENT);

	outb(MCR, MCR_LOOP);
	ready = line_is(LSR_DATA_READY, 0) && ready;
	empty_ring();
	return ready && console_read() == -EAGAIN;
}

/* The line as it was, nothing received, and listening. 0, or what console_init or console_listen says. */
static int end(void)
{
	int err;

	outb(MCR, MCR_LINE);
	err = console_init();
	if (!err)
		err = console_listen();
	empty_ring();
	return err;
}

/* Byte k of what is sent. */
static uint8_t byte_at(uint32_t k)
{
	k = (k + SEED) * 0x9e3779b1;
	return (uint8_t)(k >> 24 ^ k >> 13);
}

/* Bytes k to k + n - 1; as many as the UART holds. */
static bool put(uint32_t k, unsigned n)
{
	bool ready = true;

	for (unsigned i = 0; i < n && ready; i++) {
		ready = line_is(LSR_THR_EMPTY, LSR_THR_EMPTY);
		outb(RBR, byte_at(k + i));
	}
	return ready;
}

/* Any number, while they are being received; true once all have been taken out of the UART. */
static bool send(uint32_t k, unsigned n)
{
	bool ready = true;

	for (unsigned i = 0; i < n && ready; i += BURST)
		ready = put(k + i, n - i < BURST ? n - i : BURST) && line_is(LSR_DATA_READY, 0);
	return ready;
}

/* How many of n bytes that are received are not k to k + n - 1; the first that does not come ends it. */
static unsigned differing(uint32_t k, unsigned n)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < n; i++) {
		const int byte = next_byte();

		if (byte < 0)
			return wrong + n - i;
		wrong += byte != byte_at(k + i);
	}
	return wrong;
}

/* From one byte to as many as the UART holds, sent while interrupts are off: none is received before they are on, all of
 * them afterwards. */
KTEST(drivers, check_listen_interrupts_off)
{
	unsigned wrong = 0, early = 0, more = 0;
	bool ready = begin(), sent = true;
	int err;

	for (unsigned n = 1; n <= FIFO && ready && sent && !wrong; n++) {
		const uint64_t flags = interrupts_off();
		const bool is_ours = cpu_self()->index == 0;            /* the processor that COM1 interrupts */

		sent = put(n * 100, n);
		linger(500 * US);               /* that of one byte, too, has been asked for */
		if (is_ours)
			early += !(inb(LSR) & LSR_DATA_READY) || console_read() != -EAGAIN;
		interrupts_restore(flags);
		wrong += differing(n * 100, n);
		more += console_read() != -EAGAIN;
	}
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(more, 0);
	KASSERT_EQ(err, 0);
}

/* Thousands of bytes in portions of all sizes, read in others: in order, none lost. */
KTEST(drivers, check_listen_wraps)
{
	enum { BYTES = 24 * RING };
	const uint64_t overruns = console_overruns();
	uint32_t random = SEED, in = 0, out = 0;
	unsigned wrong = 0;
	bool ready = begin(), sent = true;
	int empty, err;

	ktest_note("seed", SEED);
	while (ready && sent && in < BYTES && !wrong) {
		const unsigned n = 1 + (next(&random) >> 4) % (RING - (in - out));
		unsigned m;

		sent = send(in, n);
		in += n;
		m = (next(&random) >> 4) % 3 ? 1 + (next(&random) >> 4) % (in - out) : in - out;
		wrong += differing(out, m);
		out += m;
	}
	if (sent && !wrong)
		wrong += differing(out, in - out);
	empty = console_read();
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT(in >= BYTES);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(empty, -EAGAIN);
	KASSERT_EQ(console_overruns(), overruns);
	KASSERT_EQ(err, 0);
}

/* Full: as many are taken as were read, in order; one more is counted, and lost. Again and again. */
KTEST(drivers, check_listen_full_again)
{
	enum { ROUNDS = 20 };
	uint64_t overruns = console_overruns();
	uint32_t random = SEED, in = RING, out = 0;
	unsigned wrong = 0, miscounted = 0;
	bool ready = begin(), sent = ready && send(0, RING);
	int empty, err;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < ROUNDS && sent && !wrong; round++) {
		const unsigned n = round < 4 ? round : round == 4 ? RING : 1 + (next(&random) >> 4) % 60, over = round % 3;

		wrong += differing(out, n);
		out += n;
		sent = send(in, n);
		in += n;
		miscounted += console_overruns() != overruns;
		sent = sent && send(1000000, over);
		overruns += over;
		miscounted += console_overruns() != overruns;
	}
	if (sent && !wrong)
		wrong += differing(out, RING);
	empty = console_read();
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(miscounted, 0);
	KASSERT_EQ(empty, -EAGAIN);
	KASSERT_EQ(console_overruns(), overruns);
	KASSERT_EQ(err, 0);
}

/* Vectors that are to be had: takes them, gives them back. */
static unsigned supply(void)
{
	static uint8_t taken[256];
	unsigned n = 0;

	while (n < 256) {
		const int vector = irq_alloc_vector();

		if (vector < 0)
			break;
		taken[n++] = (uint8_t)vector;
	}
	for (unsigned i = 0; i < n; i++)
		irq_free_vector(taken[i]);
	return n;
}

static unsigned handlers(void)
{
	unsigned n = 0;

	for (unsigned vector = VEC_DEVICE; vector <= VEC_DEVICE_LAST; vector++)
		n += trap_get_handler(vector) != NULL;
	return n;
}

/* More often than there are vectors: it has the one that it had. */
KTEST(drivers, check_listen_one_vector)
{
	enum { TIMES = 2 * (VEC_DEVICE_LAST - VEC_DEVICE + 1) };
	const bool ready = begin();
	const unsigned supply_before = supply(), handlers_before = handlers();
	unsigned failed = 0, wrong = 0, supply_after, handlers_after;
	bool sent = true;
	int err;

	for (unsigned i = 0; i < TIMES && ready && !failed; i++) {
		failed += console_listen() != 0;
		if (i % 48 == 0) {
			sent = sent && send(i, 3);
			wrong += differing(i, 3);
		}
	}
	supply_after = supply();
	handlers_after = handlers();
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(supply_after, supply_before);
	KASSERT_EQ(handlers_after, handlers_before);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(err, 0);
}

/* After console_init nothing is received, however much there is; with console_listen what waits comes, and what follows. */
KTEST(drivers, check_listen_not_after_init)
{
	unsigned early = 0, on = 0, lost = 0, wrong = 0, failed = 0;
	bool ready = begin(), sent = true;
	int err;

	for (unsigned n = 1; n <= FIFO && ready && sent && !wrong; n += 5) {
		failed += console_init() != 0;
		outb(MCR, MCR_LOOP);
		on += inb(IER);
		sent = put(n, n);
		linger(MS);
		early += console_read() != -EAGAIN;
		lost += !(inb(LSR) & LSR_DATA_READY);
		failed += console_listen() != 0;
		wrong += differing(n, n);
		sent = sent && send(7, FIFO + n);
		wrong += differing(7, FIFO + n);
	}
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(on, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(err, 0);
}

/* What was received stays so, whatever becomes of the UART: only a full ring loses bytes. */
KTEST(drivers, check_listen_keeps_received)
{
	const uint64_t overruns = console_overruns();
	unsigned failed = 0, wrong = 0;
	bool ready = begin(), sent = ready && send(0, 100);
	int err;

	failed += console_init() != 0;
	failed += console_listen() != 0;
	failed += console_listen() != 0;
	outb(MCR, MCR_LOOP);
	sent = sent && send(100, RING - 100);
	failed += console_init() != 0;
	if (sent)
		wrong += differing(0, RING);
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(console_overruns(), overruns);
	KASSERT_EQ(err, 0);
}

static void read_there(void *arg)
{
	*(int *)arg = console_read();
}

/* By all processors in turn, interrupts off there: each gets the oldest. */
KTEST(drivers, check_listen_read_anywhere)
{
	enum { BYTES = 100 };
	static int byte;
	unsigned failed = 0, wrong = 0;
	bool ready = begin(), sent = ready && send(0, BYTES + 1);
	int err;

	if (sent)
		wrong += differing(0, 1);               /* so the others are in the ring, or nearly */
	linger(100 * US);
	for (unsigned i = 0; i < BYTES && sent; i++) {
		failed += cpu_call(i % cpu_count(), read_there, &byte) != 0;
		wrong += byte != byte_at(1 + i);
	}
	failed += cpu_call(cpu_count() - 1, read_there, &byte) != 0;
	err = end();
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(byte, -EAGAIN);
	KASSERT_EQ(err, 0);
}

static uint32_t seen[256], reads[CPU_MAX];

static void read_all(void *arg)
{
	int byte;

	(void)arg;
	while ((byte = console_read()) >= 0) {
		__atomic_fetch_add(&seen[byte & 0xff], 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&reads[cpu_self()->index], 1, __ATOMIC_SEQ_CST);
	}
}

/* By all processors at once: every byte to one of them, once. */
KTEST(drivers, check_listen_read_by_all)
{
	unsigned failed = 0, wrong = 0, in_all = 0;
	bool ready = begin(), sent = ready;
	int err;

	for (unsigned value = 0; value < 256; value++)
		seen[value] = 0;
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		reads[cpu] = 0;
	for (unsigned value = 0; value < 256 && sent; value++) {
		sent = line_is(LSR_THR_EMPTY, LSR_THR_EMPTY);
		outb(RBR, (uint8_t)value);
		if (value % BURST == BURST - 1)
			sent = sent && line_is(LSR_DATA_READY, 0);
	}
	sent = sent && line_is(LSR_DATA_READY, 0);
	linger(100 * US);
	failed += cpu_on_each(read_all, NULL) != 0;
	err = end();
	for (unsigned value = 0; value < 256; value++)
		wrong += seen[value] != 1;
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		in_all += reads[cpu];
	KASSERT(ready);
	KASSERT(sent);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(in_all, 256);
	KASSERT_EQ(err, 0);
}

/* What the console writes, polled, is received by interrupts meanwhile; newlines as they go out. */
KTEST(drivers, check_listen_hears_write)
{
	static const char text[] = "one\ntwo\n\rx", out[] = "one\r\ntwo\r\n\rx";
	unsigned wrong = 0, short_writes = 0;
	bool ready = begin(), taken = true;
	int err;

	for (unsigned round = 0; round < 20 && ready && taken && !wrong; round++) {
		short_writes += console_write(text, sizeof text - 1) != sizeof text - 1;
		taken = line_is(LSR_DATA_READY, 0);
		for (unsigned i = 0; i < sizeof out - 1 && !wrong; i++)
			wrong += next_byte() != (uint8_t)out[i];
		wrong += console_read() != -EAGAIN;
	}
	err = end();
	KASSERT(ready);
	KASSERT(taken);
	KASSERT_EQ(short_writes, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(err, 0);
}
