/* backtrace_walk beyond its acceptance: stacks outside of bss, what is asked about them, and the edges of bss and of
 * max; and symbol_lookup at both ends of every function. */
#include "backtrace.h"
#include "boot.h"
#include "harness.h"
#include "symbols.h"

/* kernel.ld; only their addresses mean anything. */
extern const char __text_start[], __text_end[], __bss_start[], __bss_end[];

enum { WORDS = 256, PART = 10, FRAMES = 3 * PART, ASKED = 4 * FRAMES };

#define UNUSED 0x5a5a5a5a5a5a5a5aull

/* Three stacks, each above the one before: bss through the direct map, which is outside of bss; data; bss itself. */
static volatile uint64_t mapped[WORDS], in_bss[WORDS];
static volatile uint64_t in_data[WORDS] = { 1 };

static uint64_t at[FRAMES], to[FRAMES];         /* the frames' addresses and return addresses */
static uint64_t trace[FRAMES + 2];
static uint64_t random_state;

/* Hidden from the optimiser, which would reason about array bounds. */
static uint64_t addr(const volatile void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value));
	return value;
}

static uint64_t mapped_at(void)
{
	return addr(mapped) - KERNEL_BASE + DIRECT_MAP_BASE;
}

static void seed(uint64_t value)
{
	ktest_note("seed", value);
	random_state = value;
}

/* splitmix64 */
static uint64_t any(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- who is asked ---- */

static struct {
	uint64_t from, to;
} told[2];

static uint64_t asked[ASKED];
static size_t asked_count;                      /* may be more than are kept */

static bool is_told(uint64_t address)
{
	if (asked_count < ASKED)
		asked[asked_count] = address;
	asked_count++;
	for (unsigned i = 0; i < 2; i++)
		if (address >= told[i].from && address < told[i].to)
			return true;
	return false;
}

static bool is_in_bss(uint64_t address)
{
	return address >= addr(__bss_start) && address < addr(__bss_end);
}

static bool was_asked(uint64_t address)
{
	for (size_t i = 0; i < asked_count && i < ASKED; i++)
		if (asked[i] == address)
			return true;
	return false;
}

/* Whether the first and the last byte of those of the first n frames that are outside of bss have been asked about, and
 * nothing else. */
static bool was_asked_of(size_t n)
{
	if (asked_count > ASKED)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_in_bss(at[i]) && (!was_asked(at[i]) || !was_asked(at[i] + 15)))
			return false;
	for (size_t k = 0; k < asked_count; k++) {
		bool known = false;

		for (size_t i = 0; i < n && !known; i++)
			known = !is_in_bss(at[i]) && (asked[k] == at[i] || asked[k] == at[i] + 15);
		if (!known)
			return false;
	}
	return true;
}

static void tell_stacks(void)
{
	told[0].from = mapped_at();
	told[0].to = mapped_at() + sizeof mapped;
	told[1].from = addr(in_data);
	told[1].to = addr(in_data) + sizeof in_data;
}

static void tell(uint64_t from, uint64_t end)
{
	told[0].from = from;
	told[0].to = end;
	told[1].from = told[1].to = 0;
}

static size_t walk_by(bool (*is_stack)(uint64_t), uint64_t rbp, size_t max)
{
	size_t n;

	for (unsigned i = 0; i < FRAMES + 2; i++)
		trace[i] = UNUSED;
	asked_count = 0;
	backtrace_set_stacks(is_stack);
	n = backtrace_walk(rbp, trace, max);
	backtrace_set_stacks(NULL);
	return n;
}

static size_t walk(uint64_t rbp)
{
	return walk_by(is_told, rbp, FRAMES + 2);
}

/* The first n return addresses, and nothing behind them. */
static bool is_traced(size_t n)
{
	for (size_t i = 0; i < FRAMES + 2; i++)
		if (trace[i] != (i < n ? to[i] : UNUSED))
			return false;
	return true;
}

/* ---- chains made up ---- */

static void put_frame(uint64_t address, uint64_t rbp, uint64_t ret)
{
	volatile uint64_t *frame = (volatile uint64_t *)address;

	frame[0] = rbp;
	frame[1] = ret;
}

/* That many frames in each stack, at random distances, the last one's RBP 0; how many in all. */
static size_t make_chain(unsigned in_mapped, unsigned in_low, unsigned in_high)
{
	const uint64_t starts[] = { mapped_at(), addr(in_data), addr(in_bss) };
	const unsigned counts[] = { in_mapped, in_low, in_high };
	size_t n = 0;

	for (unsigned part = 0; part < 3; part++) {
		uint64_t next = starts[part] + any() % 4 * 8;

		for (unsigned i = 0; i < counts[part]; i++) {
			at[n] = next;
			to[n++] = addr(__text_start) + any() % 0x1000;
			next += (2 + any() % 20) * 8;
		}
	}
	for (size_t i = 0; i < n; i++)
		put_frame(at[i], i + 1 < n ? at[i + 1] : 0, to[i]);
	return n;
}

_Static_assert((3 + PART * 21) <= WORDS, "a stack has room for its frames");

/* From stack to stack, and no further than to the first that nobody knows. */
KTEST(boot, check_backtrace_stacks_chain)
{
	seed(0x737461636b);
	for (unsigned round = 0; round < 200; round++) {
		const unsigned in_mapped = any() % (PART + 1), in_low = any() % (PART + 1), in_high = 1 + any() % PART;
		const size_t n = make_chain(in_mapped, in_low, in_high);
		size_t all, known;
		bool right;

		tell_stacks();
		all = walk(at[0]);
		right = is_traced(n) && was_asked_of(n);
		if (all != n || !right)
			ktest_note("round", round);
		KASSERT_EQ(all, n);
		KASSERT(right);

		told[1].to = told[1].from;              /* the one in the middle is no stack any more */
		known = in_low ? in_mapped : n;
		KASSERT_EQ(walk(at[0]), known);
		KASSERT(is_traced(known));

		known = in_mapped || in_low ? 0 : n;
		KASSERT_EQ(walk_by(NULL, at[0], FRAMES + 2), known);
		KASSERT(is_traced(known));
		KASSERT_EQ(asked_count, 0);
	}
}

/* A frame that is not aligned, or not above the one before, ends the walk without a question, whoever would say yes. */
KTEST(boot, check_backtrace_stacks_broken)
{
	seed(0x62726f6b);
	tell_stacks();
	for (unsigned round = 0; round < 100; round++) {
		const size_t n = make_chain(1 + any() % PART, 1 + any() % PART, 1);
		const size_t broken = any() % (n - 1);  /* whose RBP is wrong */
		const uint64_t wrong[] = {
			at[broken + 1] + 1 + any() % 7, at[broken] + 1 + any() % 7, at[broken] + 15, at[broken],
			at[0], broken ? at[broken - 1] : at[0], at[broken] - 8, at[broken] - 1, mapped_at(), 0, 8,
			UINT64_MAX, UINT64_MAX - 8,     /* not aligned; the end of the second one wraps */
		};

		for (unsigned kind = 0; kind < sizeof wrong / sizeof *wrong; kind++) {
			size_t found;
			bool right;

			put_frame(at[broken], wrong[kind], to[broken]);
			found = walk(at[0]);
			right = is_traced(broken + 1) && was_asked_of(broken + 1);
			if (found != broken + 1 || !right) {
				ktest_note("round", round);
				ktest_note("kind", kind);
			}
			KASSERT_EQ(found, broken + 1);
			KASSERT(right);
		}
	}
}

/* The first frame is judged as all others are. */
KTEST(boot, check_backtrace_stacks_unaligned)
{
	tell_stacks();
	for (unsigned word = 0; word < 4; word++)
		put_frame(addr(&in_data[2 * word]), 0, 0x1111);
	for (uint64_t rbp = addr(in_data); rbp <= addr(&in_data[6]); rbp++) {
		KASSERT_EQ(walk(rbp), rbp % 8 == 0);
		KASSERT_EQ(asked_count != 0, rbp % 8 == 0);
	}
}

/* Both the first and the last byte have to be in a stack. */
KTEST(boot, check_backtrace_stacks_edges)
{
	const uint64_t from = addr(&in_data[40]), end = addr(&in_data[80]);

	tell(from, end);
	for (uint64_t rbp = from - 32; rbp <= end + 16; rbp += 8) {
		const bool within = rbp >= from && rbp + 16 <= end;

		put_frame(rbp, 0, rbp ^ UNUSED);
		KASSERT_EQ(walk(rbp), within);
		KASSERT_EQ(trace[0], within ? rbp ^ UNUSED : UNUSED);
		KASSERT_EQ(trace[1], UNUSED);
		for (size_t i = 0; i < asked_count; i++)
			KASSERT(asked[i] == rbp || asked[i] == rbp + 15);
	}
	/* to the byte: what is said of others between does not matter */
	put_frame(from, 0, 0x2222);
	tell(from, from + 16);
	KASSERT_EQ(walk(from), 1);
	tell(from, from + 15);
	KASSERT_EQ(walk(from), 0);
	tell(from + 1, from + 16);
	KASSERT_EQ(walk(from), 0);
	tell(from, from + 1);
	told[1].from = from + 15;
	told[1].to = from + 16;
	KASSERT_EQ(walk(from), 1);
	KASSERT_EQ(trace[0], 0x2222);
}

/* ---- bss ---- */

/* Nobody is asked about bss, and a frame that is half in it is in no stack. */
KTEST(boot, check_backtrace_bss_not_asked)
{
	const uint64_t bss = addr(__bss_start), end = addr(__bss_end);
	const uint64_t half[] = { bss - 8, end - 8 };
	size_t n;

	seed(0x627373);
	tell(0, UINT64_MAX);
	n = make_chain(0, 0, PART);
	KASSERT_EQ(walk(at[0]), n);
	KASSERT(is_traced(n));
	KASSERT_EQ(asked_count, 0);
	for (unsigned i = 0; i < 2; i++) {
		put_frame(at[0], half[i], to[0]);       /* below it or above it */
		KASSERT_EQ(walk(at[0]), 1);
		KASSERT_EQ(asked_count, 0);
		KASSERT_EQ(walk(half[i]), 0);
		for (size_t k = 0; k < asked_count; k++)
			KASSERT(!is_in_bss(asked[k]));
	}
}

/* The last 16 bytes of bss are a frame, what ends later is none. */
KTEST(boot, check_backtrace_bss_end)
{
	const uint64_t end = addr(__bss_end), last = end - 16;
	const uint64_t next[] = { 0, last, end, end - 8, end - 1, UINT64_MAX - 7, UINT64_MAX, addr(in_bss) };
	volatile uint64_t *const words = (volatile uint64_t *)last;
	const uint64_t old[] = { words[0], words[1] };
	unsigned wrong = 0, wrong_chains = 0, wrong_places = 0;

	for (unsigned i = 0; i < sizeof next / sizeof *next; i++) {
		put_frame(last, next[i], 0x3333 + i);
		wrong += walk_by(NULL, last, FRAMES) != 1 || trace[0] != 0x3333 + i || trace[1] != UNUSED;
		put_frame(addr(in_bss), last, 0x4444);
		wrong_chains += walk_by(NULL, addr(in_bss), FRAMES) != 2 || trace[0] != 0x4444 ||
				trace[1] != 0x3333 + i || trace[2] != UNUSED;
	}
	for (uint64_t rbp = last + 1; rbp <= end + 8; rbp++)
		wrong_places += walk_by(NULL, rbp, FRAMES) != 0 || trace[0] != UNUSED;
	words[0] = old[0];
	words[1] = old[1];
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(wrong_chains, 0);
	KASSERT_EQ(wrong_places, 0);
}

/* So are its first 16. */
KTEST(boot, check_backtrace_bss_start)
{
	const uint64_t bss = addr(__bss_start);
	const uint64_t ret = *(const volatile uint64_t *)(bss + 8);

	KASSERT_EQ(walk_by(NULL, bss, 1), 1);
	KASSERT_EQ(trace[0], ret);
	for (uint64_t rbp = bss - 16; rbp < bss; rbp++)
		KASSERT_EQ(walk_by(NULL, rbp, 1), 0);
	KASSERT_EQ(trace[0], UNUSED);
}

/* ---- max ---- */

/* Not one word more is written, in whatever stacks the frames are. */
KTEST(boot, check_backtrace_max)
{
	seed(0x6d6178);
	tell_stacks();
	for (unsigned parts = 1; parts < 8; parts++) {
		const size_t n = make_chain(parts & 1 ? PART : 0, parts & 2 ? PART : 0, parts & 4 ? PART : 0);

		for (size_t max = 0; max <= n + 2; max++) {
			const size_t least = max < n ? max : n;

			KASSERT_EQ(walk_by(is_told, at[0], max), least);
			KASSERT(is_traced(least));
		}
		KASSERT_EQ(walk_by(is_told, at[0] + 4, 1), 0);
		KASSERT(is_traced(0));
		KASSERT_EQ(backtrace_walk(at[0], NULL, 0), 0);
	}
	KASSERT_EQ(backtrace_walk(0, NULL, 0), 0);
	KASSERT_EQ(backtrace_walk(UINT64_MAX, NULL, 0), 0);
	KASSERT_EQ(walk_by(is_told, 0, 1), 0);
	KASSERT(is_traced(0));
}

/* ---- one says it at a time ---- */

static unsigned others_asked;

static bool is_nothing(uint64_t address)
{
	(void)address;
	others_asked++;
	return false;
}

/* Who was told last is asked; after NULL nobody. */
KTEST(boot, check_backtrace_stacks_set)
{
	size_t n, by_last, by_nobody;

	seed(0x736574);
	tell_stacks();
	n = make_chain(3, 3, 3);
	others_asked = 0;
	asked_count = 0;
	backtrace_set_stacks(is_told);
	backtrace_set_stacks(is_nothing);
	by_last = backtrace_walk(at[0], trace, FRAMES);
	backtrace_set_stacks(NULL);
	by_nobody = backtrace_walk(at[0], trace, FRAMES);
	KASSERT_EQ(by_last, 0);
	KASSERT(others_asked > 0);
	KASSERT_EQ(asked_count, 0);
	KASSERT_EQ(by_nobody, 0);

	others_asked = 0;
	backtrace_set_stacks(is_nothing);
	KASSERT_EQ(walk(at[0]), n);             /* sets its own, and NULL */
	KASSERT(asked_count > 0);
	KASSERT_EQ(backtrace_walk(at[0], trace, FRAMES), 0);
	KASSERT_EQ(backtrace_walk(at[n - 3], trace, FRAMES), 3);
	KASSERT_EQ(others_asked, 0);
}

/* ---- symbols ---- */

static uint64_t start(uint32_t index)
{
	return index < symbol_count ? KERNEL_BASE + symbol_table[index].offset : addr(__text_end);
}

/* The first and the last byte of each; the same name, not merely an equal one. */
KTEST(boot, check_backtrace_symbols)
{
	KASSERT(symbol_count > 0);
	for (uint32_t i = 0; i < symbol_count; i++) {
		const char *name = symbol_names + symbol_table[i].name;
		const uint64_t first = start(i), last = start(i + 1) - 1;
		uint64_t offset = UNUSED, last_offset = UNUSED;

		if (symbol_lookup(first, &offset) != name || symbol_lookup(last, &last_offset) != name ||
		    symbol_lookup(first, NULL) != name || symbol_lookup(last, NULL) != name)
			ktest_note("entry", i);
		KASSERT(symbol_lookup(first, &offset) == name);
		KASSERT_EQ(offset, 0);
		KASSERT(symbol_lookup(last, &last_offset) == name);
		KASSERT_EQ(last_offset, last - first);
		KASSERT(symbol_lookup(first, NULL) == name);
		KASSERT(symbol_lookup(last, NULL) == name);
	}
}

/* Not where the functions are in memory, nor where only the lower half of the address is right. */
KTEST(boot, check_backtrace_symbols_elsewhere)
{
	static const uint64_t bases[] = {
		0, DIRECT_MAP_BASE, KERNEL_BASE - (1ull << 32), KERNEL_BASE & UINT32_MAX, KERNEL_BASE ^ 1ull << 63,
	};

	for (uint32_t i = 0; i < symbol_count; i++)
		for (unsigned k = 0; k < sizeof bases / sizeof *bases; k++) {
			uint64_t offset = UNUSED;

			KASSERT(symbol_lookup(bases[k] + symbol_table[i].offset, &offset) == NULL);
			KASSERT_EQ(offset, UNUSED);
		}
	for (uint64_t address = addr(__text_start); address < start(0); address++)
		KASSERT(symbol_lookup(address, NULL) == NULL);
}
