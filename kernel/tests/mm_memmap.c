/* memmap_normalise, beyond acceptance/mm/memmap.c: maps at both ends of what 64 bits can say, every order of one
 * map, what must hold of any result and of any call, failing ones too. See spec/mm.md, Interface, "memmap". */
#include "boot.h"
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

enum { USABLE = BOOT_MEM_USABLE, RESERVED = BOOT_MEM_RESERVED };
enum { ENTRIES = 256, ROOM = 128, GUARD = 2, SEED = 0x3b9a12 };
enum { RANDOM = 12 };                           /* entries of a random map at the most */
#define TOP (1ull << 52)                        /* "one that runs past 2^52 is cut there" */
#define UNTOUCHED 0x5a5a1234a5a5ull
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- a call, and what must hold of each ---- */

static struct mm_range out[ROOM + GUARD];
static size_t count;
static struct boot_mem kept[ENTRIES];
static unsigned disturbed;                      /* things that calls changed and must not; tests set it to 0 */

/* The input is const and stays. Nothing past the room is written. "Changes nothing when it fails" (mm.h's first
 * comment), but for out[] after -ENOSPC, which is unspecified. */
static int normalise(const struct boot_mem *in, size_t n, size_t room)
{
	int err;

	memcpy(kept, in, n * sizeof *in);
	for (size_t i = 0; i < COUNT(out); i++)
		out[i] = (struct mm_range){ UNTOUCHED, UNTOUCHED };
	count = UNTOUCHED;
	err = memmap_normalise(in, n, out, room, &count);
	disturbed += memcmp(kept, in, n * sizeof *in) != 0;
	for (size_t i = err == -EINVAL ? 0 : room; i < COUNT(out); i++)
		disturbed += out[i].base != UNTOUCHED || out[i].len != UNTOUCHED;
	disturbed += err && count != UNTOUCHED;
	return err;
}

/* The result is exactly these ranges. */
static bool gives(const struct boot_mem *in, size_t n, const struct mm_range *wanted, size_t n_wanted)
{
	const int err = normalise(in, n, ROOM);

	if (err || count != n_wanted) {
		ktest_note("ranges", err ? UINT64_MAX : count);
		return false;
	}
	for (size_t i = 0; i < n_wanted; i++)
		if (out[i].base != wanted[i].base || out[i].len != wanted[i].len) {
			ktest_note("range", i);
			ktest_note("base", out[i].base);
			ktest_note("len", out[i].len);
			return false;
		}
	return true;
}

#define GIVES(in, ...) \
	({ \
		const struct mm_range wanted_[] = { __VA_ARGS__ }; \
		gives(in, COUNT(in), wanted_, COUNT(wanted_)); \
	})

static bool same(const struct mm_range *a, const struct mm_range *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].base != b[i].base || a[i].len != b[i].len)
			return false;
	return true;
}

/* ---- the reference: one page, looked at by itself ---- */

/* "Usable entries shrink to whole pages, all other types grow to whole pages, and where entries overlap the one
 * that is not usable wins. Entries of length 0 are skipped"; "frame 0 left out". No entry wraps. */
static bool page_usable(const struct boot_mem *in, size_t n, uint64_t page)
{
	bool given = false;

	if (page == 0 || page >= TOP)
		return false;
	for (size_t i = 0; i < n; i++) {
		const uint64_t first = in[i].base, last = first + (in[i].len - 1);

		if (!in[i].len)
			continue;
		if (in[i].type == USABLE)
			given |= first <= page && last >= page + (PAGE_SIZE - 1);
		else if (first <= page + (PAGE_SIZE - 1) && last >= page)
			return false;
	}
	return given;
}

static bool page_told(uint64_t page)
{
	for (size_t i = 0; i < count; i++)
		if (page >= out[i].base && page - out[i].base < out[i].len)
			return true;
	return false;
}

/* "Page-aligned, len > 0"; "ascending, disjoint, adjacent ranges joined, frame 0 left out"; cut at 2^52. */
static bool well_formed(void)
{
	if (count > ROOM)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (out[i].base % PAGE_SIZE || out[i].len % PAGE_SIZE || !out[i].len || !out[i].base)
			return false;
		if (out[i].base >= TOP || out[i].len > TOP - out[i].base)
			return false;
		if (i && out[i].base <= out[i - 1].base + out[i - 1].len)
			return false;
	}
	return true;
}

/* This page, and the ones before and after. */
static bool right_around(const struct boot_mem *in, size_t n, uint64_t at)
{
	const uint64_t page = at & ~(PAGE_SIZE - 1);

	for (unsigned i = 0; i < 3; i++)
		if (page_usable(in, n, page + (i - 1ul) * PAGE_SIZE) != page_told(page + (i - 1ul) * PAGE_SIZE)) {
			ktest_note("page", page + (i - 1ul) * PAGE_SIZE);
			return false;
		}
	return true;
}

/* Whether the last result is the one for this map. What is right on both sides of each edge is right between them. */
static bool right(const struct boot_mem *in, size_t n)
{
	if (!well_formed() || !right_around(in, n, PAGE_SIZE) || !right_around(in, n, TOP - 1))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!right_around(in, n, in[i].base) || !right_around(in, n, in[i].base + (in[i].len - 1)))
			return false;
	for (size_t i = 0; i < count; i++)
		if (!right_around(in, n, out[i].base) || !right_around(in, n, out[i].base + out[i].len))
			return false;
	return true;
}

/* ---- random maps, over all that 64 bits can say ---- */

/* None wraps. Many touch, overlap or nest, near the places where something is special. */
static size_t random_map(uint64_t *state, struct boot_mem *in)
{
	static const uint64_t places[] = { 0, 0, 0x100000, 1ull << 32, TOP, TOP, 1ull << 63, UINT64_MAX };
	static const uint32_t types[] = { USABLE, USABLE, USABLE, USABLE, RESERVED, BOOT_MEM_ACPI, BOOT_MEM_BAD, 0 };
	const size_t n = 1 + random_of(state) % RANDOM;
	const unsigned here = random_of(state) % COUNT(places), there = random_of(state) % COUNT(places);

	for (size_t i = 0; i < n; i++) {
		const uint64_t near = random_of(state) % 0x40000, r = random_of(state);

		in[i].base = places[r & 1 ? here : there] + near - 0x20000;
		in[i].len = r >> 1 & 7 ? random_of(state) % 0x8000 : random_of(state) >> (r >> 8) % 64;
		if (r >> 4 & 1) {
			in[i].base &= ~(PAGE_SIZE - 1);
			in[i].len &= ~(PAGE_SIZE - 1);
		}
		in[i].type = types[r >> 16 & 7];
		in[i].zero = 0;
		if (in[i].len && in[i].len - 1 > UINT64_MAX - in[i].base)
			in[i].len = -in[i].base;        /* up to the last byte there is */
	}
	return n;
}

static void shuffle(uint64_t *state, struct boot_mem *in, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		const size_t k = random_of(state) % i;
		const struct boot_mem moved = in[k];

		in[k] = in[i - 1];
		in[i - 1] = moved;
	}
}

static struct boot_mem map[ENTRIES];
static struct mm_range first[ROOM];
static size_t first_count;

static void keep_first(void)
{
	memcpy(first, out, sizeof first);
	first_count = count;
}

static bool as_first(void)
{
	return count == first_count && same(out, first, count);
}

KTEST(mm, check_memmap_random)
{
	uint64_t state = SEED;

	ktest_note("seed", SEED);
	disturbed = 0;
	for (unsigned round = 0; round < 400; round++) {
		const size_t n = random_map(&state, map);

		KASSERT_EQ(normalise(map, n, ROOM), 0);
		KASSERT(right(map, n));
	}
	KASSERT_EQ(disturbed, 0);
}

/* ---- one map, told otherwise ---- */

enum { PERMUTED = 6 };

/* "Where entries overlap the one that is not usable wins": wherever it stands. All 720 orders of a map, by Heap's
 * way. */
KTEST(mm, check_memmap_permutations)
{
	static const struct boot_mem maps[][PERMUTED] = {
		{
			{ 0x10000, 0x8000, USABLE, 0 }, { 0x18000, 0x8000, USABLE, 0 },
			{ 0x14000, 0x1001, BOOT_MEM_ACPI, 0 }, { 0x1c800, 1, 7, 0 },
			{ 0x30000, 0x1800, USABLE, 0 }, { 0x31800, 0x2800, USABLE, 0 },
		}, {
			{ TOP - 0x8000, 1ull << 60, USABLE, 0 }, { TOP - 0x4000, 0x1000, RESERVED, 0 },
			{ TOP, 0x1000, RESERVED, 0 }, { TOP - 0x2001, 2, BOOT_MEM_NVS, 0 }, { 0, 0x3000, USABLE, 0 },
			{ 0x1000, 0, RESERVED, 0 },
		}, {
			{ 0x100000, 0x100000, USABLE, 0 }, { 0x140000, 0x80000, RESERVED, 0 },
			{ 0x160000, 0x20000, USABLE, 0 }, { 0x17f000, 0x2000, BOOT_MEM_BAD, 0 },
			{ 0x100000, 0x100000, USABLE, 0 }, { 0x0ff800, 0x801, 0, 0 },
		},
	};

	disturbed = 0;
	for (unsigned k = 0; k < COUNT(maps); k++) {
		unsigned turns[PERMUTED] = { 0 }, orders = 1;

		memcpy(map, maps[k], sizeof maps[k]);
		KASSERT_EQ(normalise(map, PERMUTED, ROOM), 0);
		KASSERT(right(map, PERMUTED));
		KASSERT(count >= 2);
		keep_first();
		for (unsigned i = 1; i < PERMUTED;) {
			if (turns[i] < i) {
				const unsigned other = i % 2 ? turns[i] : 0;
				const struct boot_mem moved = map[i];

				map[i] = map[other];
				map[other] = moved;
				KASSERT_EQ(normalise(map, PERMUTED, ROOM), 0);
				KASSERT(as_first());
				orders++;
				turns[i]++;
				i = 1;
			} else {
				turns[i++] = 0;
			}
		}
		KASSERT_EQ(orders, 720);
	}
	KASSERT_EQ(disturbed, 0);
}

/* The result says of itself what it is: given as a map, in whatever order, it is the result again. */
KTEST(mm, check_memmap_again)
{
	uint64_t state = SEED + 1;
	size_t most = 0;

	ktest_note("seed", SEED + 1);
	disturbed = 0;
	for (unsigned round = 0; round < 300; round++) {
		const size_t n = random_map(&state, map);

		KASSERT_EQ(normalise(map, n, ROOM), 0);
		keep_first();
		most = first_count > most ? first_count : most;
		for (size_t i = 0; i < first_count; i++)
			map[i] = (struct boot_mem){ first[i].base, first[i].len, USABLE, 0 };
		shuffle(&state, map, first_count);
		KASSERT_EQ(normalise(map, first_count, first_count), 0);
		KASSERT(as_first());
	}
	KASSERT(most >= 3);
	KASSERT_EQ(disturbed, 0);
}

/* The same memory told in more entries: usable ones cut at a page (elsewhere no half is whole, "shrink to whole
 * pages"), others cut at any byte, empty ones between, and each part twice. */
KTEST(mm, check_memmap_pieces)
{
	uint64_t state = SEED + 2;

	ktest_note("seed", SEED + 2);
	disturbed = 0;
	for (unsigned round = 0; round < 200; round++) {
		struct boot_mem whole[RANDOM];
		const size_t n = random_map(&state, whole);
		size_t parts = 0;

		KASSERT_EQ(normalise(whole, n, ROOM), 0);
		keep_first();
		for (size_t i = 0; i < n; i++) {
			const struct boot_mem *e = &whole[i];
			uint64_t cut = e->len ? e->base + random_of(&state) % e->len : e->base;

			if (e->type == USABLE)
				cut &= ~(PAGE_SIZE - 1);
			if (cut <= e->base || !e->len)
				cut = e->base;
			for (unsigned twice = 0; twice < 2; twice++) {
				map[parts++] = (struct boot_mem){ e->base, cut - e->base, e->type, 0 };
				map[parts++] = (struct boot_mem){ cut, e->len - (cut - e->base), e->type, 0 };
			}
			map[parts++] = (struct boot_mem){ cut, 0, RESERVED, 0 };
		}
		shuffle(&state, map, parts);
		KASSERT_EQ(normalise(map, parts, ROOM), 0);
		KASSERT(as_first());
	}
	KASSERT_EQ(disturbed, 0);
}

/* ---- the ends of what there is ---- */

/* "One that runs past 2^52 is cut there"; an end of exactly 2^64 does not wrap "past 2^64". */
KTEST(mm, check_memmap_high)
{
	static const struct boot_mem all[] = { { 0, UINT64_MAX, USABLE, 0 } };
	static const struct boot_mem all_but_a_byte[] = { { 1, UINT64_MAX, USABLE, 0 } };
	static const struct boot_mem nothing[] = { { 0, UINT64_MAX, USABLE, 0 }, { 1, UINT64_MAX, RESERVED, 0 } };
	static const struct boot_mem but_frame_1[] = { { 0, TOP, USABLE, 0 }, { 0x2000, -0x2000ull, BOOT_MEM_NVS, 0 } };
	static const struct boot_mem last[] = { { TOP - 0x1000, 0x1000, USABLE, 0 } };
	static const struct boot_mem last_cut[] = { { TOP - 0x1000, 0x1001, USABLE, 0 } };
	static const struct boot_mem last_short[] = { { TOP - 0x2000, 0x1fff, USABLE, 0 } };
	static const struct boot_mem last_late[] = { { TOP - 0xfff, 1ull << 63, USABLE, 0 } };
	static const struct boot_mem beyond[] = {
		{ TOP, 0x100000, USABLE, 0 }, { TOP + 1, 0x100000, USABLE, 0 }, { 1ull << 63, 1ull << 63, USABLE, 0 },
		{ UINT64_MAX, 1, USABLE, 0 }, { -0x2000ull, 0x2000, USABLE, 0 },
	};
	static const struct boot_mem taken_last[] = {
		{ TOP - 0x3000, 1ull << 62, USABLE, 0 }, { TOP - 1, 1, RESERVED, 0 },
	};
	static const struct boot_mem taken_far[] = {
		{ TOP - 0x3000, 1ull << 62, USABLE, 0 }, { TOP - 0x1001, -TOP, RESERVED, 0 },
	};
	static const struct boot_mem taken_beyond[] = {
		{ TOP - 0x3000, 0x3000, USABLE, 0 }, { TOP, -TOP, RESERVED, 0 }, { UINT64_MAX, 1, RESERVED, 0 },
	};
	static const struct boot_mem at_4g[] = {
		{ (1ull << 32) - 0x2000, 0x1fff, USABLE, 0 }, { 1ull << 32, 0x2000, USABLE, 0 },
		{ (1ull << 32) - 0x1000, 0x1000, USABLE, 0 },
	};

	disturbed = 0;
	KASSERT(GIVES(all, { 0x1000, TOP - 0x1000 }));
	KASSERT(GIVES(all_but_a_byte, { 0x1000, TOP - 0x1000 }));
	KASSERT(gives(nothing, COUNT(nothing), NULL, 0));
	KASSERT(GIVES(but_frame_1, { 0x1000, 0x1000 }));
	KASSERT(GIVES(last, { TOP - 0x1000, 0x1000 }));
	KASSERT(GIVES(last_cut, { TOP - 0x1000, 0x1000 }));
	KASSERT(GIVES(last_short, { TOP - 0x2000, 0x1000 }));
	KASSERT(gives(last_late, COUNT(last_late), NULL, 0));
	KASSERT(gives(beyond, COUNT(beyond), NULL, 0));
	KASSERT(GIVES(taken_last, { TOP - 0x3000, 0x2000 }));
	KASSERT(GIVES(taken_far, { TOP - 0x3000, 0x1000 }));
	KASSERT(GIVES(taken_beyond, { TOP - 0x3000, 0x3000 }));
	KASSERT(GIVES(at_4g, { (1ull << 32) - 0x2000, 0x4000 }));
	KASSERT_EQ(disturbed, 0);
}

/* "Frame 0 left out", whoever speaks of it. */
KTEST(mm, check_memmap_frame_0)
{
	static const struct boot_mem only[] = { { 0, 0x1000, USABLE, 0 } };
	static const struct boot_mem nearly[] = { { 0, 0x1fff, USABLE, 0 } };
	static const struct boot_mem two[] = { { 0, 0x2000, USABLE, 0 } };
	static const struct boot_mem two_entries[] = { { 0, 0x1000, USABLE, 0 }, { 0x1000, 0x1000, USABLE, 0 } };
	static const struct boot_mem kept_back[] = { { 0, 0x3000, USABLE, 0 }, { 0, 0x1000, RESERVED, 0 } };
	static const struct boot_mem a_byte[] = { { 0x800, 0x3000, USABLE, 0 }, { 0x1000, 1, RESERVED, 0 } };

	disturbed = 0;
	KASSERT(gives(only, COUNT(only), NULL, 0));
	KASSERT(gives(nearly, COUNT(nearly), NULL, 0));
	KASSERT(GIVES(two, { 0x1000, 0x1000 }));
	KASSERT(GIVES(two_entries, { 0x1000, 0x1000 }));
	KASSERT(GIVES(kept_back, { 0x1000, 0x2000 }));
	KASSERT(GIVES(a_byte, { 0x2000, 0x1000 }));
	KASSERT_EQ(normalise(only, 1, 0), 0);           /* and it needs no room */
	KASSERT_EQ(count, 0);
	KASSERT_EQ(disturbed, 0);
}

/* ---- types, ends, slivers ---- */

/* "All other types": each that differs from BOOT_MEM_USABLE in a bit, and some more. */
KTEST(mm, check_memmap_types)
{
	static const uint32_t more[] = { 0, 2, 4, 6, 7, 20, 0xff, 0xfffe, 0xffff, UINT32_MAX - 1, UINT32_MAX };
	static const struct mm_range around[] = { { 0x10000, 0x1000 }, { 0x12000, 0x2000 } };

	disturbed = 0;
	for (unsigned i = 0; i < 32 + COUNT(more); i++) {
		const uint32_t type = i < 32 ? USABLE ^ 1u << i : more[i - 32];
		const struct boot_mem whole = { 0x10000, 0x4000, USABLE, 0 }, hole = { 0x11000, 0x1000, type, 0 };
		const struct boot_mem before[] = { hole, whole }, after[] = { whole, hole };

		KASSERT(gives(&hole, 1, NULL, 0));
		KASSERT(gives(before, 2, around, 2));
		KASSERT(gives(after, 2, around, 2));
	}
	KASSERT_EQ(disturbed, 0);
}

/* Neither end at a page: what is usable loses both, what is not takes both. */
KTEST(mm, check_memmap_ends)
{
	static const uint64_t offsets[] = { 0, 1, 2, 2047, 2048, 4094, 4095 };
	static const uint64_t lengths[] = { 1, 2, 4095, 4096, 4097, 8190, 8191, 8192, 8193 };

	disturbed = 0;
	for (unsigned a = 0; a < COUNT(offsets); a++) {
		const uint64_t from = 0x10000 + offsets[a];

		for (unsigned b = 0; b < COUNT(offsets); b++) {
			const uint64_t len = 0x14000 + offsets[b] - from, start = offsets[a] ? 0x11000 : 0x10000;
			const uint64_t end = offsets[b] ? 0x15000 : 0x14000;
			const struct boot_mem usable = { from, len, USABLE, 0 };
			const struct boot_mem hole[] = { { from, len, RESERVED, 0 }, { 0x8000, 0x18000, USABLE, 0 } };
			const struct mm_range inside = { start, 0x14000 - start };
			const struct mm_range outside[] = { { 0x8000, 0x8000 }, { end, 0x20000 - end } };

			KASSERT(gives(&usable, 1, &inside, 1));
			KASSERT(gives(hole, 2, outside, 2));
		}
		for (unsigned i = 0; i < COUNT(lengths); i++) {         /* of few pages, or none */
			const struct boot_mem usable = { from, lengths[i], USABLE, 0 };
			const struct boot_mem hole[] = {
				{ from, lengths[i], RESERVED, 0 }, { 0x8000, 0x18000, USABLE, 0 },
			};

			KASSERT_EQ(normalise(&usable, 1, ROOM), 0);
			KASSERT(right(&usable, 1));
			KASSERT_EQ(normalise(hole, 2, ROOM), 0);
			KASSERT_EQ(count, 2);
			KASSERT(right(hole, 2));
		}
	}
	KASSERT_EQ(disturbed, 0);
}

/* Many small entries inside of one page: usable ones are each shrunk, to nothing, however much they cover together;
 * of the others one byte is enough, and a hundred take no more. */
KTEST(mm, check_memmap_slivers)
{
	enum { SLIVERS = 64 };
	static const struct mm_range page[] = { { 0x15000, 0x1000 } };
	static const struct mm_range around[] = { { 0x10000, 0x5000 }, { 0x16000, 0xa000 } };

	disturbed = 0;
	for (unsigned i = 0; i < SLIVERS; i++)
		map[i] = (struct boot_mem){ 0x15000 + 64 * i, 64, USABLE, 0 };
	KASSERT(gives(map, SLIVERS, NULL, 0));
	map[SLIVERS] = (struct boot_mem){ 0x15000, 0x1000, USABLE, 0 };
	KASSERT(gives(map, SLIVERS + 1, page, 1));
	for (unsigned i = 0; i < SLIVERS; i++)                          /* longer: each two neighbours overlap */
		map[i].len = 4095 - 64 * i;
	KASSERT(gives(map, SLIVERS, NULL, 0));
	for (unsigned i = 0; i < SLIVERS; i++)                  /* over the ends of pages: none is covered */
		map[i] = (struct boot_mem){ 0x20001 + 0xfff * i, 0xfff, USABLE, 0 };
	KASSERT(gives(map, SLIVERS, NULL, 0));

	for (unsigned i = 0; i < SLIVERS; i++)
		map[i] = (struct boot_mem){ 0x15000 + i * 4095 / (SLIVERS - 1), 1, 2 + i % 5, 0 };
	map[SLIVERS] = (struct boot_mem){ 0x10000, 0x10000, USABLE, 0 };
	KASSERT(gives(map, SLIVERS + 1, around, 2));
	KASSERT_EQ(disturbed, 0);
}

enum { MANY = 100 };

/* More entries than a boot map has: a hundred pages, a hundred gaps between them, and who has these. */
KTEST(mm, check_memmap_many)
{
	disturbed = 0;
	for (unsigned i = 0; i < MANY; i++)                             /* 37 and 100 have no common divisor */
		map[i] = (struct boot_mem){ 0x100000 + i * 37 % MANY * 0x2000, 0x1000, USABLE, 0 };
	KASSERT_EQ(normalise(map, MANY, MANY), 0);
	KASSERT_EQ(count, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		KASSERT_EQ(out[i].base, 0x100000 + i * 0x2000);
		KASSERT_EQ(out[i].len, 0x1000);
	}
	KASSERT_EQ(normalise(map, MANY, MANY - 1), -ENOSPC);
	for (unsigned i = 0; i < MANY; i++)
		map[MANY + i] = (struct boot_mem){ 0x101000 + i * 63 % MANY * 0x2000, 0x1000, USABLE, 0 };
	KASSERT_EQ(normalise(map, 2 * MANY, 1), 0);                     /* joined: one is room enough */
	KASSERT_EQ(count, 1);
	KASSERT_EQ(out[0].base, 0x100000);
	KASSERT_EQ(out[0].len, MANY * 0x2000);
	for (unsigned i = 0; i < MANY; i++)
		map[MANY + i] = (struct boot_mem){ 0x101fff + i * 63 % MANY * 0x2000, 1, RESERVED, 0 };
	map[2 * MANY] = (struct boot_mem){ 0x80000, 0x400000, USABLE, 0 };
	KASSERT_EQ(normalise(map, 2 * MANY + 1, MANY + 1), 0);
	KASSERT_EQ(count, MANY + 1);
	for (unsigned i = 0; i < MANY; i++)
		KASSERT_EQ(out[i].base + out[i].len, 0x101000 + i * 0x2000);
	KASSERT_EQ(normalise(map, 2 * MANY + 1, MANY), -ENOSPC);
	KASSERT_EQ(disturbed, 0);
}

/* ---- room, and what is refused ---- */

/* "-ENOSPC: more than max ranges result": as many as result is room enough, whatever order they come up in; one
 * less is not. */
KTEST(mm, check_memmap_room)
{
	uint64_t state = SEED + 3;
	size_t refused = 0;

	ktest_note("seed", SEED + 3);
	disturbed = 0;
	for (unsigned round = 0; round < 300; round++) {
		const size_t n = random_map(&state, map);

		KASSERT_EQ(normalise(map, n, ROOM), 0);
		keep_first();
		KASSERT_EQ(normalise(map, n, first_count), 0);
		KASSERT(as_first());
		for (size_t room = first_count; room--;) {
			KASSERT_EQ(normalise(map, n, room), -ENOSPC);
			refused++;
		}
		if (first_count)
			KASSERT_EQ(memmap_normalise(map, n, NULL, 0, &count), -ENOSPC);
	}
	KASSERT(refused > 150);
	KASSERT_EQ(disturbed, 0);
}

/* "-EINVAL: a null pointer where the count is not 0, or an entry whose end wraps past 2^64"; nothing is changed. */
KTEST(mm, check_memmap_refused)
{
	static const struct boot_mem wraps[] = {
		{ UINT64_MAX, 2, USABLE, 0 }, { 2, UINT64_MAX, RESERVED, 0 }, { 1ull << 63, (1ull << 63) + 1, 0, 0 },
		{ TOP, -TOP + 1, USABLE, 0 }, { UINT64_MAX, UINT64_MAX, BOOT_MEM_BAD, 0 },
		{ 0x1000, -0xfffull, USABLE, 0 },
	};
	static const struct boot_mem empty[] = {
		{ UINT64_MAX, 0, USABLE, 0 }, { 0, 0, RESERVED, 0 }, { 0x101000, 0, 0, 0 },
		{ TOP, 0, RESERVED, 0 }, { 0x100001, 0, RESERVED, 0 },
	};
	enum { N = 5 };

	disturbed = 0;
	for (unsigned k = 0; k < COUNT(wraps); k++)
		for (unsigned at = 0; at < N; at++) {           /* whatever stands before it, nothing has been written */
			int err;

			for (unsigned i = 0; i < N; i++)
				map[i] = (struct boot_mem){ 0x100000 + 0x2000 * i, 0x1000, USABLE, 0 };
			KASSERT_EQ(normalise(map, N, N), 0);
			map[at] = wraps[k];
			KASSERT_EQ(normalise(map, N, ROOM), -EINVAL);
			KASSERT_EQ(normalise(map, N, N), -EINVAL);
			err = normalise(map, N, 1);             /* no room either: the page has no order */
			KASSERT(err == -EINVAL || err == -ENOSPC);
			map[at].len = 0;                        /* "skipped" */
			KASSERT_EQ(normalise(map, N, N - 1), 0);
			KASSERT_EQ(count, N - 1);
		}
	for (unsigned k = 0; k < COUNT(wraps); k++)
		KASSERT_EQ(normalise(&wraps[k], 1, ROOM), -EINVAL);
	KASSERT(gives(empty, COUNT(empty), NULL, 0));
	KASSERT_EQ(normalise(empty, COUNT(empty), 0), 0);

	count = UNTOUCHED;
	KASSERT_EQ(memmap_normalise(NULL, 1, NULL, 1, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(NULL, SIZE_MAX, out, ROOM, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(map, N, NULL, ROOM, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(NULL, 0, NULL, 1, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(map, 0, NULL, SIZE_MAX, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(wraps + 1, 1, NULL, 0, &count), -EINVAL);
	KASSERT_EQ(count, UNTOUCHED);
	KASSERT_EQ(memmap_normalise(NULL, 0, out, ROOM, &count), 0);
	KASSERT_EQ(count, 0);
	count = UNTOUCHED;
	KASSERT_EQ(memmap_normalise(empty, COUNT(empty), NULL, 0, &count), 0);
	KASSERT_EQ(count, 0);
	KASSERT_EQ(disturbed, 0);
}

/* ---- the machine's own ---- */

/* Each range lies in usable entries and touches no other; none that could is left out. */
KTEST(mm, check_memmap_boot)
{
	const struct boot_info *info = boot_info();
	uint64_t sum = 0;

	disturbed = 0;
	KASSERT_EQ(normalise(info->mem, info->mem_count, ROOM), 0);
	KASSERT(count > 0);
	KASSERT(right(info->mem, info->mem_count));
	for (size_t i = 0; i < count; i++) {
		sum += out[i].len;
		for (uint32_t k = 0; k < info->mem_count; k++) {
			const struct boot_mem *e = &info->mem[k];

			KASSERT(e->type == USABLE || !e->len || e->base >= out[i].base + out[i].len ||
				e->base + (e->len - 1) < out[i].base);
		}
	}
	KASSERT(sum <= boot_usable_bytes(info));
	keep_first();
	memcpy(map, info->mem, info->mem_count * sizeof *map);
	for (uint32_t i = 0; i < info->mem_count / 2; i++) {
		const struct boot_mem moved = map[i];

		map[i] = map[info->mem_count - 1 - i];
		map[info->mem_count - 1 - i] = moved;
	}
	KASSERT_EQ(normalise(map, info->mem_count, first_count), 0);
	KASSERT(as_first());
	KASSERT_EQ(disturbed, 0);
}

/* ---- all processors at once ---- */

enum { OWN_ROOM = 32, OWN_MAPS = 2, OWN_ROUNDS = 200 };

static struct own {
	struct boot_mem in[OWN_MAPS][RANDOM];
	struct mm_range wanted[OWN_MAPS][OWN_ROOM], out[OWN_ROOM];
	size_t n[OWN_MAPS], n_wanted[OWN_MAPS];
	unsigned runs, wrong;
} owns[CPU_MAX];

static uint32_t arrived;

/* Spins a while for the others; who does not come is not waited for, and nothing depends on it. */
static void normalise_own(void *arg)
{
	struct own *own = &owns[cpu_self()->index];

	(void)arg;
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 20000 && __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < cpu_count(); i++)
		cpu_pause();
	for (unsigned round = 0; round < OWN_ROUNDS; round++) {
		const unsigned k = round % OWN_MAPS;
		size_t n = UNTOUCHED;

		own->wrong += memmap_normalise(own->in[k], own->n[k], own->out, OWN_ROOM, &n) != 0;
		own->wrong += n != own->n_wanted[k] || !same(own->out, own->wanted[k], n);
		own->runs++;
	}
}

/* "Pure: no state, no locks": nobody's map gets into another's, nor into the next. */
KTEST(mm, check_memmap_smp)
{
	uint64_t state = SEED + 4;

	ktest_note("seed", SEED + 4);
	disturbed = 0;
	arrived = 0;
	memset(owns, 0, sizeof owns);
	for (unsigned i = 0; i < cpu_count(); i++)
		for (unsigned k = 0; k < OWN_MAPS; k++) {
			struct own *own = &owns[i];

			do {                                    /* one that says something */
				own->n[k] = random_map(&state, own->in[k]);
				KASSERT_EQ(normalise(own->in[k], own->n[k], OWN_ROOM), 0);
			} while (count < 3 && !disturbed);
			KASSERT(right(own->in[k], own->n[k]));
			own->n_wanted[k] = count;
			memcpy(own->wanted[k], out, sizeof own->wanted[k]);
		}
	KASSERT_EQ(disturbed, 0);
	KASSERT_EQ(cpu_on_each(normalise_own, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(owns[i].runs, OWN_ROUNDS);
		KASSERT_EQ(owns[i].wrong, 0);
	}
}
