/* Page frames, beyond acceptance/mm/frames.c: errors that come together, runs where all else is taken and one
 * answer is right, what one processor frees and another asks for, what failing calls must leave. See spec/mm.md,
 * Interface, "frames", and "Start"; quoted is the page. Nobody else allocates while a test runs. */
#include "boot.h"
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "panic.h"
#include "string.h"

/* kernel.ld */
extern const char __kernel_phys_start[], __kernel_phys_end[];

enum { SEED = 0x5eed012, FIRST_MIB = 1 << 20, IF = 1 << 9 };
#define FOUR_GIB (4ull << 30)
#define TOP (1ull << 52)
#define UNTOUCHED 0x7777ull             /* no frame's address */
#define BOTH (FRAME_ZERO | FRAME_LOW)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* The address of a linker symbol, hidden from the optimiser, which would reason about array bounds. */
static uint64_t addr(const void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value));
	return value;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

/* ---- checks that do not return: what was taken has to go back first ---- */

static struct {
	unsigned line;                  /* of the first check that failed; 0 */
	uint64_t got, wanted;
} missed;

static void check_that(unsigned line, uint64_t got, uint64_t wanted)
{
	if (got == wanted || missed.line)
		return;
	missed.line = line;
	missed.got = got;
	missed.wanted = wanted;
}

/* By one processor at a time. */
#define CHECK(got_, wanted_) check_that(__LINE__, (uint64_t)(got_), (uint64_t)(wanted_))

static void checks_begin(void)
{
	memset(&missed, 0, sizeof missed);
}

/* The last act of a test. */
#define CHECKS_END() \
	do { \
		if (missed.line) \
			ktest_note("line", missed.line); \
		KASSERT_EQ(missed.got, missed.wanted); \
	} while (0)

static struct frame_stats stats(void)
{
	struct frame_stats s;

	frame_get_stats(&s);
	return s;
}

static uint64_t free_frames(void)
{
	return stats().free;
}

/* As s was, but so many frames fewer of which so many lie below 4 GiB. */
#define CHECK_STATS(s, fewer, fewer_low) \
	do { \
		const struct frame_stats now_ = stats(); \
		CHECK(now_.total, (s).total); \
		CHECK(now_.free, (s).free - (fewer)); \
		CHECK(now_.low_free, (s).low_free - (fewer_low)); \
	} while (0)

/* ---- all of memory, and an island in it ---- */

/* Stands in the first frame of each run that was taken. */
struct taken {
	paddr_t next;
	uint64_t frames;
};

static struct taken *taken_at(paddr_t pa)
{
	return phys_to_virt(pa);
}

enum { LONGEST = 1 << 15 };

/* Every frame that is free, in as long runs as there are. 0: there was none. */
static paddr_t take_all(unsigned flags)
{
	const uint64_t most = stats().total;
	uint64_t sum = 0;
	paddr_t head = 0, pa;

	for (size_t n = LONGEST; n; n /= 2)
		while (sum <= most && frame_alloc_contig(n, 1, 0, flags, &pa) == 0) {
			*taken_at(pa) = (struct taken){ head, n };
			head = pa;
			sum += n;
		}
	return head;
}

/* How many frames it were. */
static uint64_t give_all(paddr_t head)
{
	uint64_t sum = 0;

	while (head) {
		const struct taken run = *taken_at(head);

		CHECK(frame_free_contig(head, run.frames), 0);
		sum += run.frames;
		head = run.next;
	}
	return sum;
}

enum { PLOT = 320, SKEW = 13, ISLAND = 256, PART = 64 };

static paddr_t plot, rest;
static bool on_island;

/* All of memory is taken. ISLAND frames in a row are the test's, to free what it likes of them; below 4 GiB, the
 * first of them no multiple of 2 and all of them over five words of a bitmap, should there be one. */
static bool island_make(void)
{
	on_island = frame_alloc_contig(PLOT, 64, 0, FRAME_LOW, &plot) == 0;
	if (!on_island)
		return false;
	rest = take_all(0);
	CHECK(free_frames(), 0);
	return true;
}

static paddr_t frame(size_t i)
{
	return plot + (SKEW + i) * PAGE_SIZE;
}

/* Whatever is free of the island and whatever is not. */
static void island_end(void)
{
	for (size_t i = 0; i < PLOT; i++)
		(void)frame_free(plot + i * PAGE_SIZE);
	give_all(rest);
}

/* Words of the frame that are not 0. */
static uint64_t dirty(paddr_t pa)
{
	const volatile uint64_t *word = phys_to_virt(pa);
	uint64_t n = 0;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		n += word[i] != 0;
	return n;
}

static void soil(paddr_t pa)
{
	memset(phys_to_virt(pa), 0xa5, PAGE_SIZE);
}

/* ---- calls on another processor ---- */

/* Done by all, since that call has no time to keep, whatever machine is below; all but one do nothing. */
struct errand {
	unsigned cpu;
	enum { ALLOC, ALLOC_RUN, FREE, FREE_RUN } what;
	unsigned flags;
	size_t n;
	paddr_t pa;
	int err;
};

static void errand_here(void *arg)
{
	struct errand *e = arg;

	if (cpu_self()->index != e->cpu)
		return;
	e->err = e->what == ALLOC ? frame_alloc(e->flags, &e->pa) :
		e->what == ALLOC_RUN ? frame_alloc_contig(e->n, 1, 0, e->flags, &e->pa) :
		e->what == FREE ? frame_free(e->pa) : frame_free_contig(e->pa, e->n);
}

static int errand(struct errand *e)
{
	e->err = 1;
	CHECK(cpu_on_each(errand_here, e), 0);
	return e->err;
}

static int alloc_on(unsigned cpu, unsigned flags, paddr_t *pa)
{
	struct errand e = { .cpu = cpu, .what = ALLOC, .flags = flags, .pa = *pa };

	errand(&e);
	*pa = e.pa;
	return e.err;
}

static int alloc_run_on(unsigned cpu, size_t n, paddr_t *pa)
{
	struct errand e = { .cpu = cpu, .what = ALLOC_RUN, .n = n, .pa = *pa };

	errand(&e);
	*pa = e.pa;
	return e.err;
}

static int free_on(unsigned cpu, paddr_t pa)
{
	return errand(&(struct errand){ .cpu = cpu, .what = FREE, .pa = pa });
}

static int free_run_on(unsigned cpu, paddr_t pa, size_t n)
{
	return errand(&(struct errand){ .cpu = cpu, .what = FREE_RUN, .pa = pa, .n = n });
}

/* ---- errors of frame_alloc and frame_alloc_contig ---- */

/* "-EINVAL: count 0, align no power of two, unknown flag. -ENOMEM: no such run, however large count is." A failing
 * call changes nothing: *out and the statistics. Where two errors come together that differ, either is right. */
static void refused(unsigned line, size_t n, size_t align, paddr_t limit, unsigned flags, int wanted, int or_else)
{
	paddr_t pa = UNTOUCHED;
	const int err = frame_alloc_contig(n, align, limit, flags, &pa);

	if (err != or_else)
		check_that(line, (uint64_t)err, (uint64_t)wanted);
	check_that(line, pa, UNTOUCHED);
	if (err == 0)
		frame_free_contig(pa, n);
}

#define REFUSED(n, align, limit, flags, wanted) refused(__LINE__, n, align, limit, flags, wanted, wanted)

KTEST(mm, check_frames_contig_invalid)
{
	static const size_t bad_aligns[] = {
		3, 5, 6, 7, 9, 12, 4095, 4097, (1ul << 40) + 1, (1ul << 63) + 1, 3ul << 62, SIZE_MAX - 1, SIZE_MAX,
	};
	static const size_t aligns[] = { 0, 1, 2, 1ul << 40, 1ul << 63 };
	static const paddr_t limits[] = { 0, 1, PAGE_SIZE, FIRST_MIB, FOUR_GIB, UINT64_MAX };
	static const unsigned bad_flags[] = { 4, 5, 6, 7, 8, 1u << 31, UINT32_MAX, ~BOTH };
	static const size_t huge[] = { 1ul << 40, 1ul << 52, 1ul << 63, SIZE_MAX };
	const struct frame_stats before = stats();

	checks_begin();
	for (unsigned l = 0; l < COUNT(limits); l++) {          /* count 0: with each thing else, right or wrong */
		for (unsigned f = 0; f <= BOTH; f++) {
			for (unsigned a = 0; a < COUNT(aligns); a++)
				REFUSED(0, aligns[a], limits[l], f, -EINVAL);
			for (unsigned a = 0; a < COUNT(bad_aligns); a++)
				REFUSED(0, bad_aligns[a], limits[l], f, -EINVAL);
		}
		for (unsigned f = 0; f < COUNT(bad_flags); f++)
			REFUSED(0, l, limits[l], bad_flags[f], -EINVAL);
	}
	for (unsigned a = 0; a < COUNT(bad_aligns); a++) {              /* align */
		for (unsigned f = 0; f <= BOTH; f++) {
			REFUSED(1, bad_aligns[a], 0, f, -EINVAL);
			REFUSED(2, bad_aligns[a], FOUR_GIB, f, -EINVAL);
		}
		for (unsigned f = 0; f < COUNT(bad_flags); f++)
			REFUSED(1, bad_aligns[a], 0, bad_flags[f], -EINVAL);
		for (unsigned i = 0; i < COUNT(huge); i++)
			refused(__LINE__, huge[i], bad_aligns[a], limits[i], 0, -EINVAL, -ENOMEM);
	}
	for (unsigned f = 0; f < COUNT(bad_flags); f++) {               /* flags */
		paddr_t pa = UNTOUCHED;

		CHECK(frame_alloc(bad_flags[f], &pa), -EINVAL);
		CHECK(pa, UNTOUCHED);
		REFUSED(1, 0, 0, bad_flags[f], -EINVAL);
		REFUSED(7, 4, UINT64_MAX, bad_flags[f], -EINVAL);
		for (unsigned i = 0; i < COUNT(huge); i++)
			refused(__LINE__, huge[i], 0, limits[i], bad_flags[f], -EINVAL, -ENOMEM);
	}
	for (unsigned bit = 2; bit < 32; bit++) {
		REFUSED(1, 1, 0, 1u << bit, -EINVAL);
		REFUSED(1, 1, 0, 1u << bit | BOTH, -EINVAL);
	}
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* "-ENOMEM: no such run, however large count is", though its bytes wrap to few; "RAM below 1 MiB never is" managed.
 * */
KTEST(mm, check_frames_contig_nomem)
{
	const struct frame_stats before = stats();
	const size_t counts[] = {
		before.total + 1, 1ul << 40, (1ul << 52) - 1, 1ul << 52, (1ul << 52) + 1, (1ul << 52) + 16, 1ul << 63,
		(1ul << 63) + 1, SIZE_MAX - 4095, SIZE_MAX - 1, SIZE_MAX,
	};
	static const size_t aligns[] = { 0, 1, 2, 64, 4096, 1ul << 40, 1ul << 51, 1ul << 52, 1ul << 63 };
	static const paddr_t limits[] = { 0, 1, PAGE_SIZE, FOUR_GIB, 1ull << 63, UINT64_MAX };
	static const paddr_t too_low[] = {
		1, 2, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE, 0xa0000, FIRST_MIB - 1, FIRST_MIB,
		FIRST_MIB + 1, FIRST_MIB + PAGE_SIZE - 1,
	};

	checks_begin();
	for (unsigned f = 0; f <= BOTH; f++) {
		for (unsigned l = 0; l < COUNT(limits); l++)
			for (unsigned a = 0; a < COUNT(aligns); a++) {
				for (unsigned i = 0; i < COUNT(counts); i++)
					REFUSED(counts[i], aligns[a], limits[l], f, -ENOMEM);
				if (aligns[a] >= 1ul << 40)     /* only frame 0 is aligned so, of those below 2^52 */
					REFUSED(1, aligns[a], limits[l], f, -ENOMEM);
			}
		for (unsigned l = 0; l < COUNT(too_low); l++) {
			REFUSED(1, 0, too_low[l], f, -ENOMEM);
			REFUSED(2, 1, too_low[l], f, -ENOMEM);
			REFUSED(SIZE_MAX, 1ul << 63, too_low[l], f, -ENOMEM);
		}
	}
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- one place is left: there is one right answer ---- */

#define NOWHERE UINT64_MAX

/* Takes such a run and gives it back: where it was; NOWHERE if that was -ENOMEM and changed nothing. */
static paddr_t place(size_t n, size_t align, paddr_t limit, unsigned flags)
{
	paddr_t pa = UNTOUCHED;
	const int err = frame_alloc_contig(n, align, limit, flags, &pa);

	if (err) {
		CHECK(err, -ENOMEM);
		CHECK(pa, UNTOUCHED);
		return NOWHERE;
	}
	CHECK(frame_free_contig(pa, n), 0);
	return pa;
}

/* "Every byte lies below limit (0: anywhere)"; "the first is aligned to align frames (a power of two, 0 means 1)". */
KTEST(mm, check_frames_contig_edges)
{
	const struct frame_stats before = stats();
	paddr_t first, end;

	checks_begin();
	KASSERT(island_make());
	first = frame(0);
	end = frame(PART);
	CHECK(place(1, 1, 0, 0), NOWHERE);
	CHECK(frame_free_contig(first, PART), 0);
	for (unsigned f = 0; f <= BOTH; f++) {
		CHECK(place(PART, 1, end, f), first);
		CHECK(place(PART, 0, end, f), first);
		CHECK(place(PART, 0, 0, f), first);
		CHECK(place(PART, 1, end + 1, f), first);
		CHECK(place(PART, 1, end + PAGE_SIZE, f), first);
		CHECK(place(PART, 1, 1ull << 63, f), first);
		CHECK(place(PART, 1, UINT64_MAX, f), first);
		CHECK(place(PART, 1, end - 1, f), NOWHERE);
		CHECK(place(PART, 1, end - PAGE_SIZE, f), NOWHERE);
		CHECK(place(PART + 1, 1, 0, f), NOWHERE);
		CHECK(place(PART + 1, 1, end + PAGE_SIZE, f), NOWHERE);
		CHECK(place(PART - 1, 1, end - 1, f), first);
		CHECK(place(PART - 1, 1, end - PAGE_SIZE, f), first);
		CHECK(place(PART - 1, 1, end - PAGE_SIZE - 1, f), NOWHERE);
		CHECK(place(1, 1, first + PAGE_SIZE, f), first);
		CHECK(place(1, 1, first + 2 * PAGE_SIZE - 1, f), first);
		CHECK(place(1, 1, first + PAGE_SIZE - 1, f), NOWHERE);
		CHECK(place(1, 1, first + 1, f), NOWHERE);
		CHECK(place(1, 1, first, f), NOWHERE);
		CHECK(place(1, 1, first - 1, f), NOWHERE);
		CHECK(place(2, 1, first + 2 * PAGE_SIZE, f), first);
		CHECK(place(2, 1, first + 2 * PAGE_SIZE - 1, f), NOWHERE);
	}
	/* One of these frames is a multiple of 64: the last but 12. Two are of 32: that, and the last but 44. */
	CHECK(frame(PART - SKEW) / PAGE_SIZE % 64, 0);
	CHECK(place(1, 64, 0, 0), frame(PART - SKEW));
	CHECK(place(1, 64, frame(PART - SKEW + 1), 0), frame(PART - SKEW));
	CHECK(place(1, 64, frame(PART - SKEW + 1) - 1, 0), NOWHERE);
	CHECK(place(SKEW, 64, 0, FRAME_LOW), frame(PART - SKEW));
	CHECK(place(SKEW, 64, end - 1, FRAME_LOW), NOWHERE);
	CHECK(place(SKEW + 1, 64, 0, 0), NOWHERE);
	CHECK(place(SKEW + 1, 32, 0, 0), frame(PART - SKEW - 32));
	CHECK(place(SKEW + 32, 32, 0, 0), frame(PART - SKEW - 32));
	CHECK(place(SKEW + 33, 32, 0, 0), NOWHERE);
	CHECK(place(PART, 2, 0, 0), NOWHERE);
	CHECK(place(PART - 1, 2, 0, 0), frame(1));
	CHECK(place(PART - 1, 2, end - 1, 0), NOWHERE);
	CHECK(free_frames(), PART);
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- nothing left ---- */

/* With none free each request is -ENOMEM and leaves *out; with one, it is found by any processor, whoever has freed
 * it. */
KTEST(mm, check_frames_last_one)
{
	const struct frame_stats before = stats();
	const unsigned n = cpu_count() < 4 ? cpu_count() : 4;
	paddr_t one;

	checks_begin();
	KASSERT(island_make());
	one = frame(100);
	for (unsigned f = 0; f <= BOTH; f++) {
		paddr_t pa = UNTOUCHED;

		CHECK(frame_alloc(f, &pa), -ENOMEM);
		CHECK(place(1, 0, 0, f), NOWHERE);
		for (unsigned cpu = 0; cpu < n; cpu++)
			CHECK(alloc_on(cpu, f, &pa), -ENOMEM);
		CHECK(pa, UNTOUCHED);
	}
	CHECK_STATS(before, before.free, before.low_free);
	for (unsigned by = 0; by < n; by++)
		for (unsigned to = 0; to < n; to++)
			for (unsigned f = 0; f <= BOTH; f++) {
				paddr_t pa = UNTOUCHED;

				soil(one);
				CHECK(free_on(by, one), 0);
				CHECK(free_frames(), 1);
				CHECK(alloc_on(to, f, &pa), 0);
				CHECK(pa, one);
				CHECK(f & FRAME_ZERO && dirty(one), 0);
				pa = UNTOUCHED;
				CHECK(alloc_on(by, f, &pa), -ENOMEM);
				CHECK(pa, UNTOUCHED);
				CHECK(free_on(by, one), 0);             /* and as a run, no statistics between */
				CHECK(alloc_run_on(to, 2, &pa), -ENOMEM);
				CHECK(pa, UNTOUCHED);
				CHECK(alloc_run_on(to, 1, &pa), 0);
				CHECK(pa, one);
			}
	CHECK_STATS(before, before.free, before.low_free);
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- what cannot be freed ---- */

/* "All or nothing; -EINVAL: count 0, and as frame_free, for any frame of the run": over either end of what is
 * managed, with an end past 2^64, from a hole and into one. All of memory is allocated, so whatever were freed is
 * missed. */
KTEST(mm, check_frames_free_edges)
{
	const struct frame_stats before = stats();
	const struct boot_info *info = boot_info();
	paddr_t lo = addr(__kernel_phys_end), hi = 0;
	uint64_t tag_lo, tag_hi;

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const paddr_t end = (info->mem[i].base + info->mem[i].len) & ~(PAGE_SIZE - 1);

		if (info->mem[i].type == BOOT_MEM_USABLE && end > hi && end <= FOUR_GIB)
			hi = end;
	}
	while (lo < FOUR_GIB && !frame_managed(lo))             /* the lowest frame above the image, */
		lo += PAGE_SIZE;
	do                                                      /* and a high one with nothing managed above it */
		hi -= PAGE_SIZE;
	while (hi > lo && (!frame_managed(hi) || frame_managed(hi + PAGE_SIZE)));
	tag_lo = frame_tag(lo);                                 /* somebody else's, perhaps */
	tag_hi = frame_tag(hi);
	KASSERT(lo < hi);
	KASSERT(!frame_managed(lo - PAGE_SIZE));
	KASSERT(!frame_managed(hi + PAGE_SIZE));

	checks_begin();
	KASSERT(island_make());
	const struct {
		paddr_t pa;
		size_t n;
	} bad[] = {
		{ lo - PAGE_SIZE, 1 }, { lo - PAGE_SIZE, 2 }, { lo - PAGE_SIZE, 40 }, { 0, lo / PAGE_SIZE + 1 },
		{ hi + PAGE_SIZE, 1 }, { hi, 2 }, { hi, 1000000000 }, { hi - PAGE_SIZE, 3 },
		{ lo, 0 }, { hi, 0 }, { 0, 0 }, { UINT64_MAX, 0 },
		{ lo + 1, 1 }, { lo + PAGE_SIZE - 1, 1 }, { lo + PAGE_SIZE / 2, 2 }, { hi - 1, 1 },
		{ hi, -hi / PAGE_SIZE }, { hi, -hi / PAGE_SIZE + 1 }, { hi, -hi / PAGE_SIZE + lo / PAGE_SIZE + 1 },
		{ hi, 1ul << 52 }, { hi, (1ul << 52) + 1 }, { lo, (1ul << 52) + 1 }, { lo, (1ul << 63) + 1 },
		{ lo, SIZE_MAX }, { hi, -(hi / PAGE_SIZE) }, { hi, -(hi / PAGE_SIZE) + 1 }, { lo | 1ull << 63, 1 },
		{ lo | TOP, 1 }, { -PAGE_SIZE, 1 }, { -PAGE_SIZE, 2 }, { -PAGE_SIZE, lo / PAGE_SIZE + 2 },
	};
	for (unsigned i = 0; i < COUNT(bad); i++) {
		CHECK(frame_free_contig(bad[i].pa, bad[i].n), -EINVAL);
		CHECK(free_frames(), 0);
		CHECK(frame_tag(lo), tag_lo);
		CHECK(frame_tag(hi), tag_hi);
	}
	CHECK(frame_free(lo - PAGE_SIZE), -EINVAL);
	CHECK(frame_free(hi + PAGE_SIZE), -EINVAL);

	for (unsigned i = 0; i < 16; i++)
		frame_set_tag(frame(i), 100 + i);
	CHECK(frame_free(frame(0)), 0);
	CHECK(frame_free_contig(frame(7), 1), 0);
	CHECK(frame_free(frame(15)), 0);
	for (unsigned from = 0; from < 16; from++)
		for (unsigned n = 1; n <= 16 - from; n++) {
			const bool hole = from == 0 || from + n == 16 || (from <= 7 && 7 < from + n);

			if (hole) {
				CHECK(frame_free_contig(frame(from), n), -EINVAL);
				CHECK(frame_free_contig(frame(from) + 1, n), -EINVAL);
			}
		}
	CHECK(free_frames(), 3);
	for (unsigned i = 0; i < 16; i++)
		CHECK(frame_tag(frame(i)), i == 0 || i == 7 || i == 15 ? 0 : 100 + i);
	CHECK(frame_free_contig(frame(1), 6), 0);
	CHECK(free_frames(), 9);
	CHECK(frame_free_contig(frame(8), 7), 0);
	CHECK(free_frames(), 16);
	CHECK(place(16, 1, 0, 0), frame(0));
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* "A state a frame tells a double free whatever the cache design: the second frame_free must fail": on whichever
 * processor, by whichever call, and as often as one likes; and once the frame has an owner again, that one may free
 * it once. */
KTEST(mm, check_frames_double_free)
{
	enum { RUN = 8 };
	const struct frame_stats before = stats();
	const unsigned n = cpu_count() < 4 ? cpu_count() : 4;

	checks_begin();
	KASSERT(island_make());
	for (unsigned a = 0; a < n; a++)
		for (unsigned b = 0; b < n; b++) {
			paddr_t pa = UNTOUCHED;

			CHECK(free_on(a, frame(3)), 0);
			CHECK(free_on(b, frame(3)), -EINVAL);
			CHECK(free_run_on(b, frame(3), 1), -EINVAL);
			CHECK(free_run_on(b, frame(2), 2), -EINVAL);
			CHECK(free_on(a, frame(3)), -EINVAL);
			CHECK(free_frames(), 1);
			CHECK(free_on(b, frame(3)), -EINVAL);
			CHECK(alloc_on(b, 0, &pa), 0);
			CHECK(pa, frame(3));
			CHECK(alloc_on(a, 0, &pa), -ENOMEM);    /* one it was, not two */

			CHECK(free_run_on(a, frame(0), RUN), 0);
			for (unsigned i = 0; i < RUN; i++) {
				CHECK(frame_free(frame(i)), -EINVAL);
				CHECK(frame_free_contig(frame(i), RUN - i), -EINVAL);
			}
			CHECK(free_on(b, frame(RUN / 2)), -EINVAL);
			CHECK(free_run_on(b, frame(0), RUN), -EINVAL);
			CHECK(free_run_on(b, frame(1), RUN), -EINVAL);  /* its last is allocated */
			CHECK(free_frames(), RUN);
			CHECK(alloc_run_on(b, RUN, &pa), 0);
			CHECK(pa, frame(0));
			CHECK(free_frames(), 0);
		}
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- all at the same time ---- */

/* Spins a while for the others; who does not come is not waited for, and nothing depends on it. */
static uint32_t arrived;

static void gather(void)
{
	count(&arrived);
	for (unsigned i = 0; i < 20000 && __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < cpu_count(); i++)
		cpu_pause();
}

enum { SHARED_RUN = 512, SHARED = SHARED_RUN + CPU_MAX, LATE = SHARED_RUN - 40 };
enum race { SINGLE, SAME_RUN, OVERLAPPING, RUN_AND_SINGLE, RACES };

static paddr_t shared;
static uint32_t winners, odd_answers;
static uint32_t freed_by_winner;
static unsigned race_round;

static void race_free(void *arg)
{
	const enum race race = *(const enum race *)arg;
	const unsigned me = cpu_self()->index;
	const bool run = race == SAME_RUN || race == OVERLAPPING || (race == RUN_AND_SINGLE && me == 0);
	const size_t first = race == OVERLAPPING ? me * 7 % CPU_MAX : run ? 0 : LATE, n = run ? SHARED_RUN : 1;
	uint64_t state = SEED + race_round * CPU_MAX + me;
	int err;

	gather();
	for (unsigned i = random_of(&state) % 4000; i; i--)     /* somewhere within the others' */
		__asm__ volatile("" : : : "memory");
	err = run ? frame_free_contig(shared + first * PAGE_SIZE, n) : frame_free(shared + first * PAGE_SIZE);
	if (err == 0) {
		count(&winners);
		__atomic_store_n(&freed_by_winner, n, __ATOMIC_SEQ_CST);
	} else if (err != -EINVAL) {
		count(&odd_answers);
	}
}

/* "A frame is free, or allocated to exactly one owner", "all or nothing": of several that free what they share one
 * does it, the others get -EINVAL, and what only they wanted is still allocated. */
KTEST(mm, check_frames_race)
{
	enum { ROUNDS = 24 };
	const struct frame_stats before = stats();

	checks_begin();
	for (unsigned round = 0; round < RACES * ROUNDS; round++) {
		enum race race = round % RACES;
		uint64_t held = before.free - SHARED, left = 0;

		KASSERT_EQ(frame_alloc_contig(SHARED, 1, 0, 0, &shared), 0);
		arrived = winners = odd_answers = freed_by_winner = 0;
		race_round = round;
		CHECK(cpu_on_each(race_free, &race), 0);
		CHECK(winners, 1);
		CHECK(odd_answers, 0);
		CHECK(free_frames(), held + freed_by_winner);
		for (unsigned i = 0; i < SHARED; i++)
			left += frame_free(shared + i * PAGE_SIZE) == 0;
		CHECK(left, SHARED - freed_by_winner);
		CHECK(free_frames(), before.free);
	}
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

enum { HELD = 12, CROWD_ROUNDS = 80, LONG_RUN = 20 };

static struct {
	uint32_t failed, shared, refused, odd;
} crowd;

/* Runs and single frames, each frame with its owner's name in its tag and in its words; freed whole, in halves or
 * one by one. */
static void crowd_works(void *arg)
{
	const uint64_t me = cpu_self()->index + 1;
	uint64_t state = SEED + me;
	struct {
		paddr_t pa;
		size_t n;
	} mine[HELD];

	(void)arg;
	memset(mine, 0, sizeof mine);
	gather();
	for (unsigned round = 0; round < CROWD_ROUNDS + HELD; round++) {
		const unsigned k = round % HELD;
		const uint64_t r = random_of(&state);
		const size_t n = mine[k].n, half = n / 2, align = 1ul << (r >> 8 & 3);
		const paddr_t pa = mine[k].pa;

		for (size_t i = 0; i < n; i++) {
			const volatile uint64_t *word = phys_to_virt(pa + i * PAGE_SIZE);

			if (word[0] != (me << 32 | i) || word[511] != ~me || frame_tag(pa + i * PAGE_SIZE + 77) != me)
				count(&crowd.shared);
		}
		if (n > 1 && r % 3 == 0) {
			if (frame_free_contig(pa + half * PAGE_SIZE, n - half) || frame_free_contig(pa, half))
				count(&crowd.refused);
		} else if (n > 1 && r % 3 == 1) {
			if (frame_free_contig(pa, n))
				count(&crowd.refused);
		} else {
			for (size_t i = n; i--;)
				if (frame_free(pa + i * PAGE_SIZE))
					count(&crowd.refused);
		}
		mine[k].n = 0;
		if (round >= CROWD_ROUNDS)
			continue;
		mine[k].n = r >> 4 & 1 ? 1 + (r >> 16) % LONG_RUN : 1;
		if (r >> 4 & 1 ? frame_alloc_contig(mine[k].n, align, 0, r >> 5 & BOTH, &mine[k].pa) :
		    frame_alloc(r >> 5 & BOTH, &mine[k].pa)) {
			mine[k].n = 0;
			count(&crowd.failed);
		}
		if (mine[k].n && ((r >> 4 & 1 && mine[k].pa / PAGE_SIZE % align) || mine[k].pa % PAGE_SIZE))
			count(&crowd.odd);
		for (size_t i = 0; i < mine[k].n; i++) {
			volatile uint64_t *word = phys_to_virt(mine[k].pa + i * PAGE_SIZE);

			if (frame_tag(mine[k].pa + i * PAGE_SIZE) || (r >> 5 & FRAME_ZERO && (word[0] || word[511])))
				count(&crowd.odd);
			frame_set_tag(mine[k].pa + i * PAGE_SIZE, me);
			word[0] = me << 32 | i;
			word[511] = ~me;
		}
	}
}

KTEST(mm, check_frames_crowd)
{
	const struct frame_stats before = stats();

	ktest_note("seed", SEED);
	memset(&crowd, 0, sizeof crowd);
	arrived = 0;
	KASSERT_EQ(cpu_on_each(crowd_works, NULL), 0);
	KASSERT_EQ(crowd.failed, 0);
	KASSERT_EQ(crowd.shared, 0);
	KASSERT_EQ(crowd.refused, 0);
	KASSERT_EQ(crowd.odd, 0);
	checks_begin();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

enum { PHASES = 6, TURNS = 40 };   /* few: where processors wait for a machine below, each lock takes its time */

static uint32_t drained_wrong;

/* Single frames, runs and statistics, in turn, so that at any time some take what others look for. */
static void drain_and_take(void *arg)
{
	const uint64_t me = cpu_self()->index + 1;

	(void)arg;
	gather();
	for (unsigned phase = 0; phase < PHASES; phase++)
		for (unsigned i = 0; i < TURNS; i++) {
			const size_t n = (phase + me) % 3;
			paddr_t pa = UNTOUCHED;

			if (n == 0) {
				(void)stats();
				continue;
			}
			if (n == 1 ? frame_alloc(0, &pa) : frame_alloc_contig(n, 1, 0, 0, &pa)) {
				count(&drained_wrong);
				continue;
			}
			for (size_t k = 0; k < n; k++) {
				if (frame_tag(pa + k * PAGE_SIZE))
					count(&drained_wrong);
				frame_set_tag(pa + k * PAGE_SIZE, me);
			}
			for (size_t k = 0; k < n; k++)
				if (frame_tag(pa + k * PAGE_SIZE) != me)
					count(&drained_wrong);
			if (n == 1 ? frame_free(pa) : frame_free_contig(pa, n))
				count(&drained_wrong);
		}
}

/* "A frame is free, or allocated to exactly one owner. free + allocated == total, always": while those that lie with one
 * processor are taken away by others. Afterwards each is to be had, once. */
KTEST(mm, check_frames_drained)
{
	const struct frame_stats before = stats();

	checks_begin();
	arrived = drained_wrong = 0;
	CHECK(cpu_on_each(drain_and_take, NULL), 0);
	CHECK(drained_wrong, 0);
	CHECK_STATS(before, 0, 0);
	CHECK(give_all(take_all(0)), before.free);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- runs in pieces ---- */

/* Each of the island's first PART frames, taken one by one, once, and no more: as bits. */
static uint64_t take_singles(unsigned flags)
{
	uint64_t seen = 0;
	paddr_t pa;

	for (unsigned i = 0; i < PART; i++) {
		pa = UNTOUCHED;
		CHECK(frame_alloc(flags, &pa), 0);
		CHECK(pa % PAGE_SIZE, 0);
		CHECK(pa >= frame(0) && pa < frame(PART), true);
		seen |= 1ull << (pa - frame(0)) / PAGE_SIZE % PART;
	}
	pa = UNTOUCHED;
	CHECK(frame_alloc(flags, &pa), -ENOMEM);
	CHECK(pa, UNTOUCHED);
	return seen;
}

/* How frames were taken says nothing of how they may be freed: a run in pieces, single ones and neighbouring runs
 * as one. */
KTEST(mm, check_frames_pieces)
{
	const struct frame_stats before = stats();
	paddr_t pa;

	checks_begin();
	KASSERT(island_make());
	for (unsigned at = 0, n = 1; at < PART; at += n, n++) {         /* pieces of 1, 2, 3…, and what is left */
		if (n > PART - at)
			n = PART - at;
		if (n % 2)
			CHECK(frame_free_contig(frame(at), n), 0);
		else
			for (unsigned i = 0; i < n; i++)
				CHECK(frame_free(frame(at + i)), 0);
		CHECK(free_frames(), at + n);
	}
	CHECK(take_singles(0), UINT64_MAX);
	CHECK(free_frames(), 0);
	CHECK(frame_free_contig(frame(0), PART), 0);                    /* of single ones */
	CHECK(free_frames(), PART);

	for (unsigned i = 0; i < PART; i += 8) {                        /* the limit leaves it one place */
		CHECK(frame_alloc_contig(8, 1, frame(i + 8), 0, &pa), 0);
		CHECK(pa, frame(i));
	}
	CHECK(frame_free_contig(frame(3), PART - 6), 0);                /* of parts of runs and runs */
	CHECK(free_frames(), PART - 6);
	CHECK(place(PART - 6, 1, 0, 0), frame(3));
	CHECK(frame_free_contig(frame(PART - 3), 3), 0);
	CHECK(frame_free_contig(frame(0), 3), 0);
	CHECK(place(PART, 1, 0, 0), frame(0));

	CHECK(take_singles(FRAME_LOW), UINT64_MAX);
	for (unsigned i = 0; i < PART / 2; i++) {                       /* from both ends */
		CHECK(frame_free(frame(i)), 0);
		CHECK(frame_free_contig(frame(PART - 1 - i), 1), 0);
		CHECK(free_frames(), 2 * i + 2);
	}
	CHECK(place(PART, 1, 0, 0), frame(0));
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- FRAME_LOW, FRAME_ZERO ---- */

/* "Wholly below 4 GiB", runs too, and a lower limit still holds: all of those frames can be had so, and nothing
 * else. */
KTEST(mm, check_frames_low_contig)
{
	enum { MOST = 128 };
	const struct frame_stats before = stats();
	struct frame_stats empty;
	uint64_t high = 0, n = 0;
	paddr_t all, there;

	checks_begin();
	there = place(MOST, MOST, 0, FRAME_LOW);                /* free, so it is to be had again, up to its last byte */
	KASSERT(there != NOWHERE);

	const paddr_t limits[] = {
		0, there + MOST * PAGE_SIZE, there + MOST * PAGE_SIZE + 1, FOUR_GIB - 1, FOUR_GIB, FOUR_GIB + 1, 1ull << 40,
		UINT64_MAX,
	};

	for (unsigned l = 0; l < COUNT(limits); l++)
		for (size_t k = 1; k <= MOST; k *= 2) {
			paddr_t pa = UNTOUCHED;

			CHECK(frame_alloc_contig(k, k, limits[l], k % 3 == 1 ? FRAME_LOW : BOTH, &pa), 0);
			CHECK(pa % (k * PAGE_SIZE), 0);
			CHECK(pa + k * PAGE_SIZE <= FOUR_GIB, true);
			CHECK(!limits[l] || pa + k * PAGE_SIZE <= limits[l], true);
			CHECK_STATS(before, k, k);
			if (k % 3 == 2)
				CHECK(dirty(pa + (k - 1) * PAGE_SIZE), 0);
			CHECK(frame_free_contig(pa, k), 0);
		}
	all = take_all(FRAME_LOW);
	for (paddr_t run = all; run; run = taken_at(run)->next) {
		high += run + taken_at(run)->frames * PAGE_SIZE > FOUR_GIB;
		n += taken_at(run)->frames;
	}
	empty = stats();
	for (unsigned l = 0; l < COUNT(limits); l++) {
		REFUSED(1, 1, limits[l], FRAME_LOW, -ENOMEM);
		REFUSED(1, 1, limits[l], BOTH, -ENOMEM);
	}
	for (unsigned i = 0; i < 40; i++) {                             /* however many of the others lie ready */
		paddr_t pa = UNTOUCHED, any = UNTOUCHED;
		const int err = frame_alloc(0, &any);

		CHECK(frame_alloc(i % 2 ? FRAME_LOW : BOTH, &pa), -ENOMEM);
		CHECK(pa, UNTOUCHED);
		CHECK(err, empty.free ? 0 : -ENOMEM);
		if (err == 0) {
			CHECK(any >= FOUR_GIB, true);
			CHECK(frame_free(any), 0);
		}
		CHECK(frame_alloc(FRAME_LOW, &pa), -ENOMEM);
	}
	CHECK(give_all(all), n);
	CHECK(high, 0);
	CHECK(n, before.low_free);
	CHECK(empty.low_free, 0);
	CHECK(empty.free, before.free - before.low_free);
	CHECK(empty.total, before.total);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* "Contents zeroed", wherever the frame comes from: freed one by one just before, or as a run, and had as the
 * other; and not a byte of the neighbours. */
KTEST(mm, check_frames_zero)
{
	const struct frame_stats before = stats();
	uint64_t left[4] = { 0 }, torn = 0;
	paddr_t pa = UNTOUCHED;

	checks_begin();
	KASSERT(island_make());
	for (unsigned way = 0; way < 4; way++) {
		const unsigned flags = way % 2 ? BOTH : FRAME_ZERO;

		for (unsigned i = 0; i < PART; i++)
			soil(frame(i));
		if (way < 2)
			for (unsigned i = 0; i < PART; i++)
				CHECK(frame_free(frame(i)), 0);
		else
			CHECK(frame_free_contig(frame(0), PART), 0);
		if (way == 0 || way == 3) {
			CHECK(take_singles(flags), UINT64_MAX);
		} else {
			CHECK(frame_alloc_contig(PART, 1, 0, flags, &pa), 0);
			CHECK(pa, frame(0));
		}
		for (unsigned i = 0; i < PART; i++)
			left[way] += dirty(frame(i));
	}
	for (unsigned i = 0; i < PART; i++)
		soil(frame(i));
	CHECK(frame_free_contig(frame(PART / 4), PART / 2), 0);
	CHECK(frame_alloc_contig(PART / 2, 1, 0, FRAME_ZERO, &pa), 0);
	CHECK(pa, frame(PART / 4));
	CHECK(frame_free(frame(PART - 2)), 0);
	CHECK(frame_alloc(FRAME_ZERO, &pa), 0);
	CHECK(pa, frame(PART - 2));
	for (unsigned i = 0; i < PART; i++) {
		const uint64_t zeroed = i == PART - 2 || (i >= PART / 4 && i < PART / 4 + PART / 2);

		torn += dirty(frame(i)) != (zeroed ? 0 : PAGE_SIZE / 8);
	}
	island_end();
	CHECK(left[0], 0);
	CHECK(left[1], 0);
	CHECK(left[2], 0);
	CHECK(left[3], 0);
	CHECK(torn, 0);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

enum { OWN = 20 };

static uint64_t own_dirty[CPU_MAX];
static uint32_t own_failed;

/* What this processor has just freed, soiled, and what all have. */
static void zero_here(void *arg)
{
	const unsigned me = cpu_self()->index;
	paddr_t pa[OWN];

	(void)arg;
	for (unsigned round = 0; round < 6; round++) {
		const unsigned n = OWN >> round % 3;

		for (unsigned i = 0; i < n; i++)
			if (frame_alloc(FRAME_ZERO | (i % 2 ? FRAME_LOW : 0), &pa[i])) {
				count(&own_failed);
				while (i--)
					(void)frame_free(pa[i]);
				return;
			}
		for (unsigned i = 0; i < n; i++) {
			own_dirty[me] += dirty(pa[i]);
			soil(pa[i]);
		}
		for (unsigned i = 0; i < n; i++)
			if (frame_free(pa[i]))
				count(&own_failed);
	}
}

KTEST(mm, check_frames_zero_each)
{
	const struct frame_stats before = stats();

	memset(own_dirty, 0, sizeof own_dirty);
	own_failed = 0;
	KASSERT_EQ(cpu_on_each(zero_here, NULL), 0);
	KASSERT_EQ(own_failed, 0);
	for (unsigned i = 0; i < CPU_MAX; i++)
		KASSERT_EQ(own_dirty[i], 0);
	checks_begin();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- what is managed ---- */

static struct mm_range ranges[BOOT_MEM_MAX + 1];

static bool any_managed(paddr_t first, paddr_t last)
{
	return frame_managed(first) || frame_managed(last) || frame_managed(first & ~(PAGE_SIZE - 1)) ||
		frame_managed(last | (PAGE_SIZE - 1)) || frame_managed(first + (last - first) / 2);
}

/* "Usable RAM from 1 MiB on, without the image, the modules and the allocator's own tables": first and last bytes
 * of what is not, and of the pages that they lie in. */
KTEST(mm, check_frames_not_managed)
{
	const struct boot_info *info = boot_info();
	const paddr_t image = addr(__kernel_phys_start), image_end = addr(__kernel_phys_end);
	static const paddr_t far[] = {
		TOP - 1, TOP, TOP + FIRST_MIB, 1ull << 63, (1ull << 63) + 0x200000, UINT64_MAX - PAGE_SIZE,
		UINT64_MAX - 4095, UINT64_MAX,
	};
	paddr_t end = 0, pa = UNTOUCHED;

	KASSERT(!any_managed(image, image_end - 1));
	for (paddr_t at = 0; at < FIRST_MIB; at += PAGE_SIZE)
		KASSERT(!any_managed(at, at + PAGE_SIZE - 1));
	KASSERT(!frame_managed(FIRST_MIB - 1));
	for (uint32_t i = 0; i < info->module_count; i++)
		if (info->modules[i].len)
			KASSERT(!any_managed(info->modules[i].base, info->modules[i].base + (info->modules[i].len - 1)));
	for (uint32_t i = 0; i < info->mem_count; i++) {
		const paddr_t last = info->mem[i].base + (info->mem[i].len - 1);

		if (info->mem[i].type == BOOT_MEM_USABLE)
			end = last > end ? last : end;
		else if (info->mem[i].len)
			KASSERT(!any_managed(info->mem[i].base, last));
	}
	end = (end | (PAGE_SIZE - 1)) + 1;                              /* past all RAM */
	KASSERT(!any_managed(end, end + PAGE_SIZE - 1));
	KASSERT(!any_managed(end + 63 * PAGE_SIZE, end + 64 * PAGE_SIZE));
	for (unsigned bit = 0; bit < 52; bit++)
		if (1ull << bit >= end)
			KASSERT(!any_managed(1ull << bit, (1ull << bit) + 4095));
	for (unsigned i = 0; i < COUNT(far); i++) {
		KASSERT(!frame_managed(far[i]));
		KASSERT_EQ(frame_tag(far[i]), 0);
	}
	KASSERT_EQ(frame_alloc(0, &pa), 0);
	for (unsigned bit = 52; bit < 64; bit++)                        /* bits above those of an address count */
		if (frame_managed(pa | 1ull << bit) || frame_tag(pa | 1ull << bit) ||
		    frame_free(pa | 1ull << bit) != -EINVAL)
			end = 0;
	KASSERT_EQ(frame_free(pa), 0);
	KASSERT(end != 0);
}

/* Every byte of a frame, free or not; and as many frames as the statistics say, all of them in memmap's ranges from
 * 1 MiB on. */
KTEST(mm, check_frames_managed)
{
	const struct boot_info *info = boot_info();
	const struct frame_stats before = stats();
	uint64_t managed = 0, odd = 0;
	paddr_t pa = UNTOUCHED;
	size_t n = 0;

	checks_begin();
	KASSERT_EQ(memmap_normalise(info->mem, info->mem_count, ranges, COUNT(ranges), &n), 0);
	for (size_t i = 0; i < n; i++) {
		const paddr_t end = ranges[i].base + ranges[i].len;

		for (paddr_t at = ranges[i].base; at < end; at += PAGE_SIZE)
			managed += frame_managed(at);
		for (paddr_t at = ranges[i].base; at < end; at += 61 * PAGE_SIZE)
			odd += frame_managed(at + 1) != frame_managed(at) || frame_managed(at + 4095) != frame_managed(at);
	}
	CHECK(managed, before.total);
	CHECK(odd, 0);
	for (size_t i = 0; i < n; i++) {                                /* beside them */
		CHECK(frame_managed(ranges[i].base - 1), false);
		CHECK(frame_managed(ranges[i].base + ranges[i].len), false);
	}
	KASSERT_EQ(frame_alloc(0, &pa), 0);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		odd += !frame_managed(pa + i);
	CHECK(frame_free(pa), 0);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		odd += !frame_managed(pa + i);
	CHECK(odd, 0);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- tags ---- */

/* "pa is any byte of the frame", to set and to read; neighbours have their own; "0 after allocation", whichever
 * call freed it and whichever gives it. */
KTEST(mm, check_frames_tag_bytes)
{
	const struct frame_stats before = stats();
	uint64_t odd = 0;
	paddr_t pa = UNTOUCHED;

	checks_begin();
	KASSERT(island_make());
	for (unsigned i = 0; i < 3; i++)
		CHECK(frame_tag(frame(i)), 0);
	frame_set_tag(frame(0) + 4095, UINT64_MAX);
	frame_set_tag(frame(2), 1ull << 63);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		const uint64_t tag = 0x123400000000ull + i;

		frame_set_tag(frame(1) + i, tag);
		odd += frame_tag(frame(1)) != tag || frame_tag(frame(1) + 4095 - i) != tag;
		odd += frame_tag(frame(0) + i) != UINT64_MAX || frame_tag(frame(2) + i) != 1ull << 63;
	}
	CHECK(odd, 0);
	frame_set_tag(frame(1), 0);
	CHECK(frame_tag(frame(1) + 9), 0);
	frame_set_tag(frame(1), 5);

	for (unsigned way = 0; way < 4; way++) {        /* freed as a frame or as a run, and had again likewise */
		if (way < 2)
			CHECK(frame_free(frame(1)), 0);
		else
			CHECK(frame_free_contig(frame(1), 1), 0);
		for (unsigned i = 0; i < PAGE_SIZE; i += 15)
			CHECK(frame_tag(frame(1) + i), 0);              /* "0 for a frame that is not allocated" */
		CHECK(frame_free(frame(1)), -EINVAL);
		CHECK(frame_free_contig(frame(0), 3), -EINVAL);
		CHECK(way % 2 ? frame_alloc(0, &pa) : frame_alloc_contig(1, 1, 0, 0, &pa), 0);
		CHECK(pa, frame(1));
		CHECK(frame_tag(frame(1)), 0);
		CHECK(frame_tag(frame(0)), UINT64_MAX);
		CHECK(frame_tag(frame(2)), 1ull << 63);
		frame_set_tag(frame(1) + 1000, way + 1);
	}
	CHECK(frame_free(frame(1) + 1), -EINVAL);                       /* failing calls leave tags */
	CHECK(frame_free_contig(frame(1) + 1, 1), -EINVAL);
	CHECK(frame_free_contig(frame(0), 0), -EINVAL);
	CHECK(frame_free_contig(frame(0), SIZE_MAX), -EINVAL);
	CHECK(frame_tag(frame(1)), 4);
	CHECK(frame_free_contig(frame(0), 3), 0);
	CHECK(frame_alloc_contig(3, 1, 0, FRAME_ZERO, &pa), 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK(frame_tag(frame(i)), 0);
	for (unsigned i = 0; i < ISLAND; i++)                           /* many at once: a tag each */
		frame_set_tag(frame(i) + i, ~(uint64_t)i);
	for (unsigned i = 0; i < ISLAND; i++)
		CHECK(frame_tag(frame(i)), ~(uint64_t)i);
	CHECK(frame_free_contig(frame(0), ISLAND), 0);
	CHECK(frame_alloc_contig(ISLAND, 1, 0, 0, &pa), 0);
	for (unsigned i = 0; i < ISLAND; i++)
		CHECK(frame_tag(frame(i)), 0);
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

static void set_tag(void *pa)
{
	frame_set_tag(*(const paddr_t *)pa, 1);
}

/* "Of a frame that is not allocated: panic": never managed, past RAM, free by either call, by any of its bytes. It
 * leaves all as it was, and its owner's tag. */
KTEST(mm, check_frames_tag_panics)
{
	const struct frame_stats before = stats();
	const paddr_t image = addr(__kernel_phys_start), image_end = addr(__kernel_phys_end);
	paddr_t never[] = {
		0, 0x8000, FIRST_MIB - 1, image, image_end - 1, TOP - 1, TOP, 1ull << 63, UINT64_MAX - 4095,
	};
	paddr_t run = UNTOUCHED, at;
	char why[40];

	checks_begin();
	for (unsigned i = 0; i < COUNT(never); i++) {
		CHECK(panic_catch(set_tag, &never[i], why, sizeof why), 1);
		CHECK(frame_tag(never[i]), 0);
	}
	KASSERT_EQ(frame_alloc_contig(5, 1, 0, 0, &run), 0);
	frame_set_tag(run + 2 * PAGE_SIZE, 77);
	CHECK(frame_free(run + PAGE_SIZE), 0);
	CHECK(frame_free_contig(run + 3 * PAGE_SIZE, 2), 0);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned byte = 0; byte < PAGE_SIZE; byte += 1365) {
			if (i == 0 || i == 2)
				continue;
			at = run + i * PAGE_SIZE + byte;
			CHECK(panic_catch(set_tag, &at, why, sizeof why), 1);
			CHECK(frame_tag(at), 0);
		}
	at = run + 4095;
	CHECK(panic_catch(set_tag, &at, why, sizeof why), 0);
	CHECK(frame_tag(run), 1);
	CHECK(frame_tag(run + 2 * PAGE_SIZE), 77);
	CHECK_STATS(before, 2, (run < FOUR_GIB) + (run + 2 * PAGE_SIZE < FOUR_GIB));
	CHECK(frame_free(run), 0);
	CHECK(frame_free(run + 2 * PAGE_SIZE), 0);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- statistics, state of the processor ---- */

static uint64_t low_of(paddr_t pa, size_t n)
{
	return pa >= FOUR_GIB ? 0 : pa + n * PAGE_SIZE <= FOUR_GIB ? n : (FOUR_GIB - pa) / PAGE_SIZE;
}

/* "free: of these free; low_free: of these below 4 GiB. Exact while nobody allocates": after each single step. */
KTEST(mm, check_frames_stats)
{
	enum { N = 48 };
	static paddr_t pa[N];
	const struct frame_stats before = stats();
	uint64_t fewer = 0, low = 0;

	checks_begin();
	for (unsigned i = 0; i < N; i++) {
		const size_t n = i % 3 == 2 ? i : 1;
		const unsigned flags = i / 3 % 4;

		pa[i] = UNTOUCHED;
		CHECK(n > 1 ? frame_alloc_contig(n, 0, 0, flags, &pa[i]) : frame_alloc(flags, &pa[i]), 0);
		fewer += n;
		low += low_of(pa[i], n);
		CHECK_STATS(before, fewer, low);
		CHECK_STATS(before, fewer, low);                /* asking changes nothing */
	}
	for (unsigned k = 0; k < N; k++) {
		const unsigned i = k * 7 % N;
		const size_t n = i % 3 == 2 ? i : 1;

		if (n == 1 || k % 2) {
			for (size_t f = 0; f < n; f++) {
				CHECK(frame_free(pa[i] + f * PAGE_SIZE), 0);
				fewer--;
				low -= low_of(pa[i] + f * PAGE_SIZE, 1);
				CHECK_STATS(before, fewer, low);
			}
			CHECK(frame_free(pa[i]), -EINVAL);
		} else {
			CHECK(frame_free_contig(pa[i], n), 0);
			fewer -= n;
			low -= low_of(pa[i], n);
		}
		CHECK(frame_free_contig(pa[i], n), -EINVAL);
		CHECK(frame_free(pa[i] + 1), -EINVAL);
		CHECK_STATS(before, fewer, low);
	}
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

static uint64_t rflags(void)
{
	uint64_t value;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(value) : : "memory");
	return value;
}

/* Each call, well and ill, and what it leaves of the interrupt flag and the preempt count. */
static uint64_t each_call(void)
{
	const uint64_t before = rflags() & IF;
	const uint32_t preempt = cpu_self()->preempt_count;
	uint64_t odd = 0;
	paddr_t pa[40], run = 0, none;

#define STAYS(call) \
	do { \
		(void)(call); \
		odd += (rflags() & IF) != before || cpu_self()->preempt_count != preempt; \
	} while (0)
	for (unsigned i = 0; i < COUNT(pa); i++)                        /* more than lie ready anywhere */
		STAYS(frame_alloc(i % 4, &pa[i]));
	for (unsigned i = 0; i < COUNT(pa); i++)
		STAYS(frame_free(pa[i]));
	STAYS(frame_free(pa[0]));
	STAYS(frame_free(1));
	STAYS(frame_alloc(8, &none));
	STAYS(frame_alloc_contig(9, 4, 0, FRAME_ZERO, &run));
	STAYS(frame_alloc_contig(SIZE_MAX, 1, 0, 0, &none));
	STAYS(frame_alloc_contig(0, 1, 0, 0, &none));
	STAYS(frame_managed(run));
	frame_set_tag(run, 3);
	STAYS(frame_tag(run));
	STAYS(stats().free);
	STAYS(frame_free_contig(run, SIZE_MAX));
	STAYS(frame_free_contig(run, 9));
	STAYS(frame_free_contig(run, 9));
#undef STAYS
	return odd;
}

/* "With interrupts on or off": they stay so, and no lock stays held. */
KTEST(mm, check_frames_interrupts)
{
	const struct frame_stats before = stats();
	uint64_t on, off;

	KASSERT(rflags() & IF);
	on = each_call();
	__asm__ volatile("cli" : : : "memory");
	off = each_call();
	__asm__ volatile("sti" : : : "memory");
	KASSERT_EQ(on, 0);
	KASSERT_EQ(off, 0);
	checks_begin();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- from one processor to another ---- */

/* All of memory, once: what one has taken another gives back. */
KTEST(mm, check_frames_other_processor)
{
	const struct frame_stats before = stats();
	const unsigned last = cpu_count() - 1;
	uint64_t taken = 0, given = 0;
	paddr_t head = 0, pa = UNTOUCHED;

	checks_begin();
	for (size_t n = LONGEST; n; n = n > 4 ? n / 4 : n / 2)
		while (taken <= before.total && alloc_run_on(last, n, &pa) == 0) {
			*taken_at(pa) = (struct taken){ head, n };
			head = pa;
			taken += n;
		}
	CHECK(taken, before.free);
	CHECK_STATS(before, before.free, before.low_free);
	while (head) {
		const struct taken run = *taken_at(head);

		CHECK(free_run_on(0, head, run.frames), 0);
		given += run.frames;
		head = run.next;
	}
	CHECK(given, taken);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

enum { SOME = 300 };

static paddr_t some[SOME];
static uint32_t some_failed;
static unsigned some_on;

static void take_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < SOME && cpu_self()->index == some_on; i++)
		if (frame_alloc(i & BOTH, &some[i])) {
			some[i] = UINT64_MAX;
			count(&some_failed);
		}
}

static void give_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < SOME && cpu_self()->index == some_on; i++)
		if (frame_free(some[i]))
			count(&some_failed);
}

/* Single frames, more than a processor keeps for itself, go from hand to hand; then all of memory can be had by
 * one. */
KTEST(mm, check_frames_hand_over)
{
	const struct frame_stats before = stats();
	const unsigned n = cpu_count();

	checks_begin();
	some_failed = 0;
	for (unsigned round = 0; round < 2 * n; round++) {
		uint64_t low = 0, doubled = 0;

		some_on = round % n;
		CHECK(cpu_on_each(take_some, NULL), 0);
		for (unsigned i = 0; i < SOME; i++) {
			low += some[i] < FOUR_GIB;
			if (some_failed == 0)
				doubled += frame_tag(some[i]) != 0;
			if (some_failed == 0)
				frame_set_tag(some[i], round + 1);
		}
		CHECK(doubled, 0);
		CHECK_STATS(before, SOME, low);
		some_on = (round + 1 + round / n) % n;
		CHECK(cpu_on_each(give_some, NULL), 0);
		if (round % 2)
			CHECK_STATS(before, 0, 0);
	}
	CHECK(some_failed, 0);
	CHECK(give_all(take_all(0)), before.free);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* Each frees, all at the same time, the frames of the island whose turn it is. */
static void free_share(void *failed)
{
	for (unsigned i = cpu_self()->index; i < PART; i += cpu_count())
		if (frame_free(frame(i)))
			count(failed);
}

/* "A contiguous or exhausted request, and one for statistics, drains them on all processors first, so that
 * exhaustion is exact": a run of frames of which each lies with another processor than the next is found, and so is
 * each of them by one processor. */
KTEST(mm, check_frames_scattered)
{
	const struct frame_stats before = stats();
	uint32_t failed = 0;
	paddr_t pa;

	checks_begin();
	KASSERT(island_make());
	for (unsigned f = 0; f <= BOTH; f++) {
		CHECK(cpu_on_each(free_share, &failed), 0);
		pa = UNTOUCHED;
		CHECK(frame_alloc_contig(PART + 1, 1, 0, f, &pa), -ENOMEM);
		CHECK(pa, UNTOUCHED);
		CHECK(frame_alloc_contig(PART, 1, 0, f, &pa), 0);
		CHECK(pa, frame(0));
		CHECK(cpu_on_each(free_share, &failed), 0);
		CHECK(take_singles(f), UINT64_MAX);             /* by this processor */
		CHECK(cpu_on_each(free_share, &failed), 0);
		pa = UNTOUCHED;
		CHECK(alloc_run_on(cpu_count() - 1, PART, &pa), 0);
		CHECK(pa, frame(0));
		CHECK(cpu_on_each(free_share, &failed), 0);
		CHECK(place(SKEW, 64, 0, f), frame(PART - SKEW));
		CHECK(free_frames(), PART);
		CHECK(frame_alloc_contig(PART, 1, frame(PART), f, &pa), 0);
		CHECK(frame_free_contig(pa, PART), 0);          /* in no processor's hands, but for these */
		CHECK(take_singles(f), UINT64_MAX);
		for (unsigned i = 0; i < PART; i += 2)
			CHECK(free_on(i / 2 % cpu_count(), frame(i)), 0);
		CHECK(place(2, 1, 0, f), NOWHERE);
		CHECK(free_frames(), PART / 2);
		for (unsigned i = 0; i < PART; i += 2) {
			CHECK(frame_alloc_contig(1, 1, frame(i + 1), f, &pa), 0);
			CHECK(pa, frame(i));
		}
	}
	CHECK(failed, 0);
	island_end();
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}

/* ---- an island against a model of it ---- */

enum { STRETCHES = 100, STEPS = 30 };

static struct {
	uint64_t state;
	unsigned cpu, free, runs, no_runs;
	bool taken[ISLAND];
	uint64_t tags[ISLAND];
} model;

static bool model_has(size_t n, uint64_t align, paddr_t limit)
{
	size_t length = 0;

	for (size_t i = ISLAND; i--;) {
		length = model.taken[i] ? 0 : length + 1;
		if (length >= n && frame(i) / PAGE_SIZE % align == 0 && (!limit || frame(i) + n * PAGE_SIZE <= limit))
			return true;
	}
	return false;
}

/* What was handed out was free and is nobody's, untagged, and blank if that was asked for. */
static void model_take(paddr_t pa, size_t n, unsigned flags)
{
	const size_t first = (pa - frame(0)) / PAGE_SIZE;
	const bool inside = pa >= frame(0) && pa % PAGE_SIZE == 0 && first <= ISLAND && n <= ISLAND - first;

	CHECK(inside, true);
	for (size_t i = first; inside && i < first + n; i++) {
		volatile uint64_t *word = phys_to_virt(frame(i));

		CHECK(model.taken[i], false);
		CHECK(frame_tag(frame(i) + 5), 0);
		if (flags & FRAME_ZERO)
			CHECK(dirty(frame(i)), 0);
		word[0] = word[255] = word[511] = ~frame(i);
		model.taken[i] = true;
		model.tags[i] = 0;
		model.free--;
	}
}

/* Those of them that are taken hold what their owner wrote: nobody else had them. To be called before they are freed. */
static void model_look(size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		const volatile uint64_t *word = phys_to_virt(frame(i));

		if (model.taken[i])
			CHECK(word[0] == ~frame(i) && word[255] == ~frame(i) && word[511] == ~frame(i), true);
	}
}

static void model_free(size_t first, size_t n, int err)
{
	bool all = n > 0;

	for (size_t i = first; i < first + n; i++)
		all &= model.taken[i];
	CHECK(err, all ? 0 : -EINVAL);
	for (size_t i = first; all && i < first + n; i++) {
		CHECK(frame_tag(frame(i)), 0);
		model.taken[i] = false;
		model.free++;
	}
}

static void model_step(void)
{
	static const size_t aligns[] = { 0, 1, 1, 1, 2, 4, 16, 64 };
	const uint64_t r = random_of(&model.state);
	const size_t i = (r >> 8) % ISLAND, room = ISLAND - i;
	const unsigned flags = (r >> 20 & 7 ? 0 : FRAME_ZERO) | (r >> 23 & 1 ? FRAME_LOW : 0);
	paddr_t pa = UNTOUCHED;

	switch (r % 8) {
	case 0: case 1: {
		const int err = frame_alloc(flags, &pa);

		CHECK(err, model.free ? 0 : -ENOMEM);
		if (err == 0)
			model_take(pa, 1, flags);
		else
			CHECK(pa, UNTOUCHED);
		break;
	}
	case 2: case 3: {
		const size_t n = 1 + (r >> 24 & 3 ? (r >> 26) % 8 : (r >> 26) % 48), align = aligns[r >> 32 & 7];
		const paddr_t limit = r >> 36 & 1 ? 0 : frame(i) + (r >> 37) % 3 - 1;
		const bool has = model_has(n, align ? align : 1, limit);
		const int err = frame_alloc_contig(n, align, limit, flags, &pa);

		CHECK(err, has ? 0 : -ENOMEM);
		model.runs += has;
		model.no_runs += !has;
		if (err == 0) {
			CHECK(pa / PAGE_SIZE % (align ? align : 1), 0);
			CHECK(!limit || pa + n * PAGE_SIZE <= limit, true);
			model_take(pa, n, flags);
		} else {
			CHECK(pa, UNTOUCHED);
		}
		break;
	}
	case 4: case 5:
		model_look(i, 1);
		model_free(i, 1, frame_free(frame(i)));
		break;
	case 6: {
		const size_t n = (r >> 24) % (room < 12 ? room + 1 : 13);

		model_look(i, n);
		model_free(i, n, frame_free_contig(frame(i), n));
		break;
	}
	default:
		if (model.taken[i]) {
			frame_set_tag(frame(i) + (r >> 40) % PAGE_SIZE, r);
			model.tags[i] = r;
		}
		CHECK(frame_free(frame(i) + 1 + (r >> 40) % 4095), -EINVAL);
		CHECK(frame_free_contig(frame(i) + 1 + (r >> 40) % 4095, 1), -EINVAL);
		break;
	}
	CHECK(frame_tag(frame(i) + (r >> 50) % PAGE_SIZE), model.taken[i] ? model.tags[i] : 0);
	if (r >> 60 == 0) {
		CHECK(stats().free, model.free);
		CHECK(stats().low_free, model.free);
	}
}

static void model_steps(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < STEPS && cpu_self()->index == model.cpu && !missed.line; i++)
		model_step();
}

/* Where all else is taken, what is to be had is known: single frames, runs, aligned and limited ones, by one
 * processor after the other, are there if and only if the model has them. */
KTEST(mm, check_frames_island)
{
	const struct frame_stats before = stats();

	ktest_note("seed", SEED);
	checks_begin();
	memset(&model, 0, sizeof model);
	model.state = SEED;
	KASSERT(island_make());
	model.free = ISLAND;
	CHECK(frame_free_contig(frame(0), ISLAND), 0);
	for (unsigned i = 0; i < STRETCHES; i++) {
		model.cpu = random_of(&model.state) % cpu_count();
		CHECK(cpu_on_each(model_steps, NULL), 0);
		CHECK(free_frames(), model.free);
		CHECK(stats().total, before.total);
	}
	for (unsigned i = 0; i < ISLAND; i++)
		CHECK(frame_tag(frame(i)), model.taken[i] ? model.tags[i] : 0);
	model_look(0, ISLAND);
	island_end();
	CHECK(model.runs > 100, true);
	CHECK(model.no_runs > 20, true);
	CHECK_STATS(before, 0, 0);
	CHECKS_END();
}
