/* Further tests of drivers/serial.c: COM1, mostly through the UART's own loopback, and ports where no UART answers.
 * See spec/drivers.md. COM2 is never touched, not even by a serial_init that takes a port it should refuse. */
#include <stdbool.h>
#include "console.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "serial.h"

enum {
	RBR = SERIAL_COM1, IER = SERIAL_COM1 + 1, IIR = SERIAL_COM1 + 2, LCR = SERIAL_COM1 + 3, MCR = SERIAL_COM1 + 4,
	LSR = SERIAL_COM1 + 5, SCR = SERIAL_COM1 + 7,
};
enum { LCR_8N1 = 0x03, LCR_8N2 = 0x07, LCR_DLAB = 0x80, MCR_LINE = 0x0b, MCR_LOOP = 0x1b };
enum { LSR_DATA_READY = 0x01, LSR_ALL_SENT = 0x40, FIFO_SIZE = 16, SEED = 0x5e71a1 };
enum { IER_LINE_STATUS = 0x04 };        /* on errors only: a value to set that raises no interrupt */

static void drain(void)
{
	for (int i = 0; i < 2 * FIFO_SIZE && (inb(LSR) & LSR_DATA_READY); i++)
		inb(RBR);
}

/* Until restore(), what is sent comes back; at most FIFO_SIZE bytes fit. */
static void loop_begin(void)
{
	for (int i = 0; i < 1000000 && !(inb(LSR) & LSR_ALL_SENT); i++)
		cpu_pause();
	outb(MCR, MCR_LOOP);
	drain();
}

/* Whatever the test did: loopback off, receiver empty, the console as the kernel set it up. */
static void restore(void)
{
	outb(LCR, LCR_8N1);
	drain();
	outb(MCR, MCR_LINE);
	console_init();
}

struct registers {
	uint8_t ier, lcr, mcr, scratch;
	unsigned divisor;
};

static struct registers registers(void)
{
	struct registers r = { .lcr = inb(LCR), .mcr = inb(MCR), .scratch = inb(SCR) };

	outb(LCR, r.lcr & ~LCR_DLAB);
	r.ier = inb(IER);
	outb(LCR, r.lcr | LCR_DLAB);
	r.divisor = inb(RBR) | (unsigned)inb(IER) << 8;
	outb(LCR, r.lcr);
	return r;
}

static void assert_same(struct registers before, struct registers after)
{
	KASSERT_EQ(before.ier, after.ier);
	KASSERT_EQ(before.lcr, after.lcr);
	KASSERT_EQ(before.mcr, after.mcr);
	KASSERT_EQ(before.scratch, after.scratch);
	KASSERT_EQ(before.divisor, after.divisor);
}

/* COM1 in loopback, every register at a value that serial_init would not leave; what it was set to. */
static struct registers unusual(void)
{
	struct serial s;

	serial_init(&s, SERIAL_COM1, 9600);
	loop_begin();
	outb(LCR, LCR_8N2);
	outb(IER, IER_LINE_STATUS);
	outb(SCR, 0x3c);
	return registers();
}

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* 115200 is 2^9 * 3^2 * 5^2; only the divisor of 1 baud does not fit. */
static bool rate_is_valid(unsigned rate)
{
	static const struct { unsigned prime, times; } factors[] = { { 2, 9 }, { 3, 2 }, { 5, 2 } };
	unsigned rest = rate;

	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < factors[i].times && rest % factors[i].prime == 0; k++)
			rest /= factors[i].prime;
	return rest == 1 && rate > 1;
}

KTEST(drivers, check_serial_all_bytes)
{
	struct serial s = { SERIAL_COM1 };
	unsigned written = 0, right = 0, empty = 0;
	uint8_t piece[FIFO_SIZE];
	const int found = serial_init(&s, SERIAL_COM1, 115200);

	loop_begin();
	for (unsigned first = 0; first < 256; first += FIFO_SIZE) {
		for (unsigned i = 0; i < FIFO_SIZE; i++)
			piece[i] = (uint8_t)(first + i);
		written += serial_write(&s, piece, FIFO_SIZE);
		for (unsigned i = 0; i < FIFO_SIZE; i++)
			right += serial_read(&s) == (int)(first + i);
		empty += serial_read(&s) == -EAGAIN;
	}
	restore();
	KASSERT_EQ(found, 0);
	KASSERT_EQ(written, 256);
	KASSERT_EQ(right, 256);
	KASSERT_EQ(empty, 256 / FIFO_SIZE);
}

/* Pieces of any length written and read by turns: nothing is lost, added, or changes place. */
KTEST(drivers, check_serial_random_pieces)
{
	struct serial s = { SERIAL_COM1 };
	uint32_t lengths = SEED, out = SEED + 1, in = SEED + 1;
	unsigned waiting = 0, miscounted = 0, total = 0, right = 0;
	uint8_t piece[FIFO_SIZE];
	int empty;
	const int found = serial_init(&s, SERIAL_COM1, 115200);

	loop_begin();
	for (int round = 0; round < 500; round++) {
		const unsigned n = next(&lengths) % (FIFO_SIZE - waiting + 1);
		unsigned keep;

		for (unsigned i = 0; i < n; i++)
			piece[i] = (uint8_t)(next(&out) >> 24);
		miscounted += serial_write(&s, piece, n) != n;
		waiting += n;
		for (keep = round == 499 ? 0 : next(&lengths) % (waiting + 1); waiting > keep; waiting--, total++)
			right += serial_read(&s) == (int)(next(&in) >> 24);
	}
	empty = serial_read(&s);
	restore();
	ktest_note("seed", SEED);
	KASSERT_EQ(found, 0);
	KASSERT_EQ(miscounted, 0);
	KASSERT_EQ(right, total);
	KASSERT_EQ(empty, -EAGAIN);
}

/* With data NULL too. */
KTEST(drivers, check_serial_write_null)
{
	struct serial s = { SERIAL_COM1 };
	size_t written;
	int before, after;

	serial_init(&s, SERIAL_COM1, 115200);
	loop_begin();
	written = serial_write(&s, NULL, 0);
	before = serial_read(&s);
	serial_write(&s, "x", 1);
	written += serial_write(&s, NULL, 0);
	after = serial_read(&s);
	restore();
	KASSERT_EQ(written, 0);
	KASSERT_EQ(before, -EAGAIN);
	KASSERT_EQ(after, 'x');
}

/* More than any FIFO or 8-bit count holds. Not looped back: a line of the console. */
KTEST(drivers, check_serial_long_write)
{
	static char line[600];
	struct serial s = { SERIAL_COM1 };
	struct registers before, after;
	size_t written;

	for (unsigned i = 0; i < sizeof line; i++)
		line[i] = '-';
	line[sizeof line - 2] = '\r';
	line[sizeof line - 1] = '\n';
	serial_init(&s, SERIAL_COM1, 115200);
	before = registers();
	written = serial_write(&s, line, sizeof line);
	after = registers();
	restore();
	KASSERT_EQ(written, sizeof line);
	assert_same(before, after);
}

/* An empty receiver stays empty however often it is asked, and the byte that comes then is not missed. */
KTEST(drivers, check_serial_read_empty)
{
	struct serial s = { SERIAL_COM1 };
	unsigned empty = 0, bytes = 0;

	serial_init(&s, SERIAL_COM1, 115200);
	loop_begin();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 100; i++)
			empty += serial_read(&s) == -EAGAIN;
		outb(RBR, 0xf5);                /* -EAGAIN as a byte */
		bytes += serial_read(&s) == 0xf5;
	}
	restore();
	KASSERT_EQ(empty, 200);
	KASSERT_EQ(bytes, 2);
}

/* Neither writes LCR, MCR or FCR, nor IER; what was received before a write is still there after it. */
KTEST(drivers, check_serial_keeps_registers)
{
	static const char sent[] = "fifteen bytes.\n";
	const struct serial s = { SERIAL_COM1 };
	const struct registers before = unusual();
	struct registers after_write, after_read;
	unsigned right;
	int first, empty;

	outb(RBR, 0x9d);
	serial_write(&s, sent, 15);
	after_write = registers();
	first = serial_read(&s);
	right = 0;
	for (unsigned i = 0; i < 15; i++)
		right += serial_read(&s) == sent[i];
	empty = serial_read(&s);
	after_read = registers();
	restore();
	KASSERT_EQ(before.mcr & 0x1f, MCR_LOOP);
	assert_same(before, after_write);
	assert_same(before, after_read);
	KASSERT_EQ(first, 0x9d);
	KASSERT_EQ(right, 15);
	KASSERT_EQ(empty, -EAGAIN);
}

/* A full receiver is emptied, and is not taken for the answer of the loopback test, whatever is in it. */
KTEST(drivers, check_serial_init_loses_fifo)
{
	static const uint8_t old[] = { 0xae, 0x00, 0x51 };
	struct serial s = { SERIAL_COM1 };
	int results[3], reads[3], again[3];

	for (unsigned k = 0; k < 3; k++) {
		serial_init(&s, SERIAL_COM1, 115200);   /* FIFOs on, no interrupts: the receiver does get full */
		loop_begin();
		for (int i = 0; i < FIFO_SIZE; i++)
			outb(RBR, old[k]);
		results[k] = serial_init(&s, SERIAL_COM1, 115200);
		reads[k] = serial_read(&s);
		outb(MCR, MCR_LOOP);
		serial_write(&s, "n", 1);
		again[k] = serial_read(&s);
		restore();
	}
	for (unsigned k = 0; k < 3; k++) {
		KASSERT_EQ(results[k], 0);
		KASSERT_EQ(reads[k], -EAGAIN);
		KASSERT_EQ(again[k], 'n');
	}
}

KTEST(drivers, check_serial_init_ends_loopback)
{
	static const uint8_t values[] = { 0x10, MCR_LOOP, 0x1e, 0x1f };
	struct serial s;
	int results[4];
	unsigned mcr[4];

	for (unsigned k = 0; k < 4; k++) {
		loop_begin();
		outb(MCR, values[k]);
		results[k] = serial_init(&s, SERIAL_COM1, 115200);
		mcr[k] = inb(MCR) & 0x1f;
	}
	restore();
	for (unsigned k = 0; k < 4; k++) {
		KASSERT_EQ(results[k], 0);
		KASSERT_EQ(mcr[k], MCR_LINE);
	}
}

/* Found with the divisor latch open: IER is cleared all the same and the divisor is the one asked for. */
KTEST(drivers, check_serial_init_latch_open)
{
	static const uint8_t values[] = { LCR_DLAB, LCR_DLAB | LCR_8N1, 0xff & ~0x40 };       /* 0x40 is a break */
	struct serial s = { 0 };
	struct registers after[3];
	unsigned fifos[3];
	int results[3];

	for (unsigned k = 0; k < 3; k++) {
		unusual();
		outb(LCR, values[k]);
		outb(RBR, 0x34);
		outb(IER, 0x12);
		results[k] = serial_init(&s, SERIAL_COM1, 19200);
		fifos[k] = inb(IIR) & 0xc0;
		after[k] = registers();
	}
	restore();
	KASSERT_EQ(s.port, SERIAL_COM1);
	for (unsigned k = 0; k < 3; k++) {
		KASSERT_EQ(results[k], 0);
		KASSERT_EQ(after[k].lcr, LCR_8N1);
		KASSERT_EQ(after[k].ier, 0);
		KASSERT_EQ(after[k].mcr & 0x1f, MCR_LINE);
		KASSERT_EQ(after[k].divisor, 6);
		KASSERT_EQ(fifos[k], 0xc0);
	}
}

/* The second time, for another owner and then for the first again, each at another rate: both reach the same UART. */
KTEST(drivers, check_serial_init_again)
{
	struct serial a = { SERIAL_COM4 }, b = { 0 };
	unsigned divisors[3];
	int results[3], byte = 0, back = 0;

	results[0] = serial_init(&a, SERIAL_COM1, 115200);
	divisors[0] = registers().divisor;
	results[1] = serial_init(&b, SERIAL_COM1, 2400);
	divisors[1] = registers().divisor;
	results[2] = serial_init(&a, SERIAL_COM1, 38400);
	divisors[2] = registers().divisor;
	loop_begin();
	if (a.port == SERIAL_COM1 && b.port == SERIAL_COM1) {
		serial_write(&a, "a", 1);
		byte = serial_read(&b);
		serial_write(&b, "b", 1);
		back = serial_read(&a);
	}
	restore();
	for (unsigned k = 0; k < 3; k++)
		KASSERT_EQ(results[k], 0);
	KASSERT_EQ(a.port, SERIAL_COM1);
	KASSERT_EQ(b.port, SERIAL_COM1);
	KASSERT_EQ(divisors[0], 1);
	KASSERT_EQ(divisors[1], 48);
	KASSERT_EQ(divisors[2], 3);
	KASSERT_EQ(byte, 'a');
	KASSERT_EQ(back, 'b');
}

/* All 89 rates whose divisor fits; the slowest is 2 baud with divisor 57600. */
KTEST(drivers, check_serial_every_rate)
{
	unsigned count = 0, wrong = 0, wrong_divisor = 0;

	for (unsigned rate = 2; rate <= SERIAL_CLOCK && wrong == 0; rate++) {
		struct serial s = { 0 };

		if (!rate_is_valid(rate))
			continue;
		if (serial_init(&s, SERIAL_COM1, rate) != 0 || s.port != SERIAL_COM1)
			wrong = rate;
		wrong_divisor = registers().divisor;
		if (wrong_divisor * rate != SERIAL_CLOCK)
			wrong = rate;
		count++;
	}
	restore();
	if (wrong != 0)
		ktest_note("divisor", wrong_divisor);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(count, 89);
}

/* Every other rate up to SERIAL_CLOCK; above it its multiples, valid rates with bits above the lowest 16, and any. */
KTEST(drivers, check_serial_other_rates)
{
	static const unsigned fixed[] = { 115201, 172800, 1000000, 0x7fffffff, 0x80000000, 0xffffffff, 0u - 9600 };
	const struct registers before = unusual();
	struct registers after;
	struct serial s = { SERIAL_COM4 };
	uint32_t random = SEED;
	uint64_t taken = 0;     /* a rate that was; 1 << 32 for rate 0 */

	for (unsigned rate = 0; rate <= SERIAL_CLOCK && taken == 0; rate++)
		if (!rate_is_valid(rate) && serial_init(&s, SERIAL_COM1, rate) != -EINVAL)
			taken = rate ? rate : 1ull << 32;
	for (unsigned i = 0; i < sizeof fixed / sizeof fixed[0] && taken == 0; i++)
		if (serial_init(&s, SERIAL_COM1, fixed[i]) != -EINVAL)
			taken = fixed[i];
	for (unsigned rate = 2 * SERIAL_CLOCK; rate != 0 && taken == 0; rate <<= 1)
		if (serial_init(&s, SERIAL_COM1, rate) != -EINVAL)
			taken = rate;
	for (unsigned low = 2; low < 0x10000 && taken == 0; low++) {
		const unsigned rate = (2 + next(&random) % 0xfffe) << 16 | low;

		if (rate_is_valid(low) && serial_init(&s, SERIAL_COM1, rate) != -EINVAL)
			taken = rate;
	}
	for (int i = 0; i < 10000 && taken == 0; i++) {
		const unsigned rate = next(&random);

		if (rate > SERIAL_CLOCK && serial_init(&s, SERIAL_COM1, rate) != -EINVAL)
			taken = rate;
	}
	after = registers();
	restore();
	ktest_note("seed", SEED);
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(s.port, SERIAL_COM4);
	assert_same(before, after);
}

/* Would a UART at the port have registers that belong to the harness? */
static bool is_harness(unsigned port)
{
	return (port + 7 >= 0x2f8 && port <= 0x2ff) || (port + 7 >= 0x510 && port <= 0x511)
		|| (port + 7 >= 0xf4 && port <= 0xf7);
}

static bool is_taken(uint16_t port)
{
	struct serial s = { SERIAL_COM3 };

	if (port == SERIAL_COM1 || port == SERIAL_COM3 || port == SERIAL_COM4 || is_harness(port))
		return false;
	return serial_init(&s, port, 115200) != -EINVAL || s.port != SERIAL_COM3;
}

/* Up to 8 beside a valid port, and one bit beside it. */
KTEST(drivers, check_serial_near_ports)
{
	static const uint16_t valid[] = { SERIAL_COM1, SERIAL_COM3, SERIAL_COM4 };
	const struct registers before = unusual();
	struct registers after;
	unsigned taken = 0;

	for (unsigned k = 0; k < 3; k++) {
		for (int distance = -8; distance <= 8; distance++)
			if (is_taken((uint16_t)(valid[k] + distance)))
				taken = valid[k] + distance;
		for (unsigned bit = 0; bit < 16; bit++)
			if (is_taken(valid[k] ^ 1u << bit))
				taken = valid[k] ^ 1u << bit;
	}
	after = registers();
	restore();
	KASSERT_EQ(taken, 0);
	assert_same(before, after);
}

/* Whichever argument is wrong, or several: *s keeps its port, the UART its registers and what it received. */
KTEST(drivers, check_serial_refused_untouched)
{
	static const struct { bool null; uint16_t port; unsigned baud; } bad[] = {
		{ true, SERIAL_COM1, 115200 }, { true, SERIAL_COM3, 115200 }, { true, 0, 0 }, { true, SERIAL_COM1, 7 },
		{ false, SERIAL_COM1, 0 }, { false, SERIAL_COM1, 1 }, { false, SERIAL_COM1, 9601 }, { false, 0, 9600 },
		{ false, 0x3f0, 7 }, { false, 0x60, 0 },
		/* wrong before anyone looks whether there is a UART */
		{ false, SERIAL_COM3, 0 }, { false, SERIAL_COM3, 1 }, { false, SERIAL_COM3, 9599 },
		{ false, SERIAL_COM4, 0 }, { false, SERIAL_COM4, 230400 },
	};
	enum { COUNT = sizeof bad / sizeof bad[0] };
	static const uint16_t held[] = { 0, SERIAL_COM1, SERIAL_COM3, SERIAL_COM4 };
	const struct registers before = unusual();
	const struct serial com1 = { SERIAL_COM1 };
	struct registers after;
	unsigned refused = 0, kept = 0;
	int bytes[3];

	outb(RBR, 0xa5);
	outb(RBR, 0x5a);
	for (unsigned i = 0; i < COUNT; i++)
		for (unsigned k = 0; k < 4; k++) {
			struct serial s = { held[k] };

			refused += serial_init(bad[i].null ? NULL : &s, bad[i].port, bad[i].baud) == -EINVAL;
			kept += s.port == held[k];
		}
	after = registers();
	for (int i = 0; i < 3; i++)
		bytes[i] = serial_read(&com1);
	restore();
	KASSERT_EQ(refused, COUNT * 4);
	KASSERT_EQ(kept, COUNT * 4);
	assert_same(before, after);
	KASSERT_EQ(bytes[0], 0xa5);
	KASSERT_EQ(bytes[1], 0x5a);
	KASSERT_EQ(bytes[2], -EAGAIN);
}

static bool scratch_answers(uint16_t port)
{
	const uint8_t before = inb(port + 7);
	bool answers;

	outb(port + 7, 0x5a);
	answers = inb(port + 7) == 0x5a;
	outb(port + 7, 0xa5);
	answers = answers && inb(port + 7) == 0xa5;
	outb(port + 7, before);
	return answers;
}

/* At any rate and the second time too; *s keeps COM1 and COM1 everything. */
static void absent(uint16_t port)
{
	static const unsigned rates[] = { 115200, 115200, 9600, 2 };
	const struct registers before = unusual();
	const struct serial com1 = { SERIAL_COM1 };
	struct registers after;
	struct serial s = { SERIAL_COM1 };
	int results[4], byte;

	outb(RBR, 0xa5);
	for (unsigned k = 0; k < 4; k++)
		results[k] = serial_init(&s, port, rates[k]);
	after = registers();
	byte = serial_read(&com1);
	restore();
	for (unsigned k = 0; k < 4; k++)
		KASSERT_EQ(results[k], -ENODEV);
	KASSERT_EQ(s.port, SERIAL_COM1);
	assert_same(before, after);
	KASSERT_EQ(byte, 0xa5);
}

KTEST(drivers, check_serial_absent_com3)
{
	if (scratch_answers(SERIAL_COM3))
		KSKIP("something answers at COM3");
	absent(SERIAL_COM3);
}

KTEST(drivers, check_serial_absent_com4)
{
	if (scratch_answers(SERIAL_COM4))
		KSKIP("something answers at COM4");
	absent(SERIAL_COM4);
}
