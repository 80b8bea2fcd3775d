/* Further tests of mm/paging.c, on roots of the tests' own: which error comes first, ranges of mixed leaves and the
 * frames that they take, the very bits of the entries, roots that have nothing to do with one another, long random
 * work against a model that knows sizes and tables. See spec/mm.md, "paging", "Hardware facts". What is quoted is
 * from there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "string.h"

#define LOWER_END 0x0000800000000000ul
#define PHYS_END  (1ul << 52)
#define LARGE     LARGE_PAGE_SIZE
#define GIB       (1ul << 30)
#define SLOT      (1ul << 39)                   /* what an entry of the root stands for */
#define FAR_PA    0x0000002000000000ul          /* of no RAM; mapped, never touched */

/* "Hardware facts". */
enum { P = 1, RW = 2, US = 4, PWT = 8, PCD = 16, ACCESSED = 32, PS = 128, G = 256 };
#define NX        (1ul << 63)
#define ADDRESS   0x000FFFFFFFFFF000ul
/* What the page says something about, and the processor does not set by itself. */
#define MEANT     (ADDRESS | NX | P | RW | US | PWT | PCD | PS | G)

enum { ENTRIES = 512, LOST = -1000, SEED = 0x5eed013 };

/* In what returns the line of the first thing that was not as it should be, or 0. */
#define CHECK(cond) \
	do { \
		if (!(cond)) \
			return __LINE__; \
	} while (0)

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

/* Runs the body on a new root. Negative: that could not be, or frames were lost over it. */
static int on_root(int (*body)(paddr_t root))
{
	const uint64_t before = free_frames();
	paddr_t root;
	int line, err;

	err = pt_create(&root);
	if (err)
		return err;
	line = body(root);
	err = pt_destroy(root);
	if (line || err)
		return line ? line : err;
	return free_frames() == before ? 0 : LOST;
}

/* ---- what stands in the tables ---- */

/* The entry of that level, 3 the root's; 0 where the way does not lead to it. */
static uint64_t entry_of(paddr_t root, vaddr_t va, unsigned level)
{
	uint64_t entry = root;

	for (unsigned l = 4; l-- > level;) {
		const volatile uint64_t *const table = phys_to_virt(entry & ADDRESS);

		entry = table[va >> (PAGE_SHIFT + 9 * l) & (ENTRIES - 1)];
		if (l > level && (entry & (P | PS)) != P)
			return 0;
	}
	return entry;
}

static uint64_t leaf_bits(unsigned prot)
{
	return P | (prot & VM_WRITE ? RW : 0) | (prot & VM_USER ? US : 0) | (prot & VM_UNCACHED ? PCD | PWT : 0) |
		(prot & VM_GLOBAL ? G : 0) | (prot & VM_EXEC ? 0 : NX);
}

/* The leaf that holds va is this one, by the interface and by its bits; so are the bits above it: "Intermediate
 * entries: P, RW, and US in the lower half; never NX". Bit 7 is 0 but in large leaves. */
static bool leaf_is(paddr_t root, vaddr_t va, paddr_t pa, size_t size, unsigned prot)
{
	const unsigned level = size == LARGE;
	struct pt_entry e = { 0, 0, 0, 0 };

	if (pt_translate(root, va, &e) || e.va != (va & -size) || e.pa != (pa & -size) || e.size != size ||
	    e.prot != prot)
		return false;
	for (unsigned l = 3; l > level; l--)
		if ((entry_of(root, va, l) & MEANT & ~ADDRESS) != (P | RW | US))
			return false;
	return (entry_of(root, va, level) & MEANT) == ((pa & -size) | leaf_bits(prot) | (level ? PS : 0));
}

/* A function "changes nothing when it fails": *out neither. */
static bool out_stays(paddr_t root, vaddr_t va, int wanted)
{
	struct pt_entry e, was;

	memset(&e, 0x5a, sizeof e);
	memset(&was, 0x5a, sizeof was);
	return pt_translate(root, va, &e) == wanted && e.va == was.va && e.pa == was.pa && e.size == was.size &&
		e.prot == was.prot;
}

static bool hole_is(paddr_t root, vaddr_t va)
{
	return out_stays(root, va, -ENOENT);
}

static uint64_t digest_table(paddr_t table, unsigned level, unsigned count)
{
	const volatile uint64_t *const entry = phys_to_virt(table);
	uint64_t sum = table;

	for (unsigned i = 0; i < count; i++) {
		const uint64_t e = entry[i];

		if (!e)
			continue;
		sum = (sum ^ e ^ (uint64_t)i << 52) * 0x100000001b3;
		if (level && (e & (P | PS)) == P)
			sum = (sum ^ digest_table(e & ADDRESS, level - 1, ENTRIES)) * 0x100000001b3;
	}
	return sum;
}

/* Of every word of the lower half's tables, for what must change none. */
static uint64_t digest(paddr_t root)
{
	return digest_table(root, 3, ENTRIES / 2);
}

/* All flags in any company, but WRITE with EXEC. */
static bool prot_good(unsigned prot)
{
	return (prot & (VM_WRITE | VM_EXEC)) != (VM_WRITE | VM_EXEC);
}

/* ---- which error comes first ---- */

/* A page is mapped at the first, a large one at the second; at the third is none, at the fourth not even a table. */
static const vaddr_t places[] = { GIB, GIB + 4 * LARGE, GIB + 8 * LARGE, 5 * SLOT };

static int map_places(paddr_t root)
{
	CHECK(pt_map(root, places[0], FAR_PA, PAGE_SIZE, VM_WRITE) == 0);
	CHECK(pt_map(root, places[1], FAR_PA, LARGE, VM_EXEC) == 0);
	return 0;
}

/* "unknown flag, unaligned, zero length, wrapping, non-canonical, W with X: -EINVAL", be the range mapped or not. */
static int refuse_first(paddr_t root)
{
	static const struct {
		vaddr_t off;
		size_t len;
		unsigned prot;
	} bad[] = {
		{ 1, PAGE_SIZE, 0 }, { PAGE_SIZE / 2, PAGE_SIZE, 0 }, { PAGE_SIZE - 1, 1, 0 }, { 0, 0, 0 }, { 0, 1, 0 },
		{ 0, PAGE_SIZE - 1, 0 }, { 0, PAGE_SIZE + 1, 0 }, { 0, LARGE + 8, 0 }, { 0, LOWER_END, 0 },
		{ 0, 1ul << 63, 0 }, { 0, -LARGE, 0 }, { 0, -PAGE_SIZE, 0 }, { 0, -8 * SLOT, 0 },
		{ 0, PAGE_SIZE, 32 }, { 0, LARGE, 64 }, { 0, PAGE_SIZE, 1u << 31 },
		{ 0, PAGE_SIZE, VM_PROT_MASK + 1 + VM_USER }, { 0, PAGE_SIZE, VM_WRITE | VM_EXEC },
		{ 0, LARGE, VM_PROT_MASK }, { 0, 3 * LARGE, VM_USER | VM_WRITE | VM_EXEC },
	};
	uint64_t sum, free;

	CHECK(map_places(root) == 0);
	sum = digest(root);
	free = free_frames();
	for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
		for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
			const vaddr_t va = places[p] + bad[i].off;

			CHECK(pt_map(root, va, FAR_PA, bad[i].len, bad[i].prot) == -EINVAL);
			CHECK(pt_protect(root, va, bad[i].len, bad[i].prot) == -EINVAL);
			if (!bad[i].prot)
				CHECK(pt_unmap(root, va, bad[i].len) == -EINVAL);
		}
		/* "pa+len above 2^52", pa unaligned */
		CHECK(pt_map(root, places[p], FAR_PA + 1, PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_map(root, places[p], FAR_PA + PAGE_SIZE / 2, LARGE, VM_READ) == -EINVAL);
		CHECK(pt_map(root, places[p], PHYS_END, PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_map(root, places[p], PHYS_END - PAGE_SIZE, 2 * PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_map(root, places[p], PHYS_END - LARGE, LARGE + PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_map(root, places[p], -PAGE_SIZE, PAGE_SIZE, VM_READ) == -EINVAL);
	}
	CHECK(digest(root) == sum);
	CHECK(free_frames() == free);
	return 0;
}

KTEST(mm, check_paging_refuse_first)
{
	KASSERT_EQ(on_root(refuse_first), 0);
}

/* Stands in the first frame of each run that was taken. */
struct run {
	paddr_t next;
	uint64_t count;
};

static paddr_t take_all(void)
{
	paddr_t head = 0, pa;

	for (size_t count = 1 << 15; count; count /= 2)
		while (frame_alloc_contig(count, 1, 0, 0, &pa) == 0) {
			*(struct run *)phys_to_virt(pa) = (struct run){ head, count };
			head = pa;
		}
	return head;
}

static bool give_all(paddr_t head)
{
	bool given = true;

	while (head) {
		const struct run r = *(const struct run *)phys_to_virt(head);

		given = frame_free_contig(head, r.count) == 0 && given;
		head = r.next;
	}
	return given;
}

enum { SPARE = 5 };

static paddr_t spare[SPARE];

/* "pt_map looks at the range first (-EBUSY), counts the tables that are missing, allocates all of them"; "pt_unmap
 * and pt_protect likewise". Who needs no table does not need memory. No frame is free here. */
static int with_no_frame(paddr_t root)
{
	const uint64_t sum = digest(root);
	paddr_t other = 77;

	CHECK(free_frames() == 0);
	CHECK(pt_map(root, 3 * SLOT, FAR_PA, PAGE_SIZE, 32) == -EINVAL);
	CHECK(pt_map(root, 3 * SLOT, FAR_PA, PAGE_SIZE, VM_WRITE | VM_EXEC) == -EINVAL);
	CHECK(pt_protect(root, places[1] + PAGE_SIZE, PAGE_SIZE, VM_WRITE | VM_EXEC) == -EINVAL);
	CHECK(pt_map(root, places[0] - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_READ) == -EBUSY);
	CHECK(pt_map(root, places[0] - PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ) == -ENOMEM);
	CHECK(pt_map(root, places[2] + PAGE_SIZE, FAR_PA, LARGE, VM_READ) == -ENOMEM);
	CHECK(pt_unmap(root, places[1] + PAGE_SIZE, LARGE) == -ENOENT);
	CHECK(pt_protect(root, places[1] + PAGE_SIZE, LARGE, VM_READ) == -ENOENT);
	CHECK(pt_unmap(root, places[1] - PAGE_SIZE, 2 * PAGE_SIZE) == -ENOENT);
	CHECK(pt_unmap(root, places[1] + PAGE_SIZE, PAGE_SIZE) == -ENOMEM);
	CHECK(pt_unmap(root, places[1], LARGE - PAGE_SIZE) == -ENOMEM);
	CHECK(pt_protect(root, places[1] + LARGE - PAGE_SIZE, PAGE_SIZE, VM_READ) == -ENOMEM);
	CHECK(pt_create(&other) == -ENOMEM);
	CHECK(other == 77);
	CHECK(digest(root) == sum);
	CHECK(free_frames() == 0);

	CHECK(pt_map(root, places[0] + PAGE_SIZE, FAR_PA, 100 * PAGE_SIZE, VM_USER) == 0);
	CHECK(leaf_is(root, places[0] + 100 * PAGE_SIZE, FAR_PA + 99 * PAGE_SIZE, PAGE_SIZE, VM_USER));
	CHECK(pt_protect(root, places[0], 101 * PAGE_SIZE, VM_READ) == 0);
	CHECK(pt_protect(root, places[1], LARGE, VM_READ) == 0);
	CHECK(leaf_is(root, places[1], FAR_PA, LARGE, VM_READ));
	CHECK(pt_map(root, places[1] + LARGE, FAR_PA, LARGE, VM_WRITE) == 0);
	CHECK(leaf_is(root, places[1] + LARGE, FAR_PA, LARGE, VM_WRITE));
	CHECK(pt_unmap(root, places[1], 2 * LARGE) == 0);
	CHECK(pt_unmap(root, places[0] + PAGE_SIZE, 100 * PAGE_SIZE) == 0);
	CHECK(pt_map(root, places[1], FAR_PA, LARGE, VM_EXEC) == 0);
	/* "Empty page tables stay until pt_destroy" */
	CHECK(free_frames() == 0);
	return 0;
}

/* "Table frames taken on the way are given back": more are wanted than there are, at once. Five are just enough
 * then. */
static int with_few_frames(paddr_t root)
{
	const uint64_t sum = digest(root);

	CHECK(free_frames() == SPARE);
	CHECK(pt_map(root, 4 * SLOT, FAR_PA + PAGE_SIZE, 2 * SLOT, VM_READ) == -ENOMEM);
	CHECK(free_frames() == SPARE);
	CHECK(pt_map(root, 4 * SLOT - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_READ) == -ENOMEM);      /* 6 */
	CHECK(free_frames() == SPARE);
	CHECK(digest(root) == sum);
	CHECK(pt_map(root, 4 * SLOT + GIB - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_READ) == 0);
	CHECK(free_frames() == 0);
	CHECK(leaf_is(root, 4 * SLOT + GIB - 1, FAR_PA, PAGE_SIZE, VM_READ));
	CHECK(leaf_is(root, 4 * SLOT + GIB, FAR_PA + PAGE_SIZE, PAGE_SIZE, VM_READ));
	CHECK(hole_is(root, 4 * SLOT + GIB + PAGE_SIZE));
	CHECK(hole_is(root, 4 * SLOT));
	return 0;
}

static int no_memory(paddr_t root)
{
	unsigned spares = 0;
	int line = map_places(root);
	paddr_t all;

	while (spares < SPARE && frame_alloc(0, &spare[spares]) == 0)
		spares++;
	all = take_all();
	if (!line)
		line = with_no_frame(root);
	for (unsigned i = 0; i < spares; i++)
		frame_free(spare[i]);
	if (!line)
		line = with_few_frames(root);
	CHECK(give_all(all));
	return line;
}

KTEST(mm, check_paging_no_memory)
{
	KASSERT_EQ(on_root(no_memory), 0);
}

/* ---- ranges ---- */

/* Up to the last byte of the lower half, of the last physical one; not one page more. */
static int half_end(paddr_t root)
{
	const vaddr_t from = LOWER_END - 2 * LARGE - PAGE_SIZE;
	const paddr_t pa = PHYS_END - 2 * LARGE - PAGE_SIZE;
	uint64_t sum, free;

	CHECK(pt_unmap(root, 0, LOWER_END) == -ENOENT);
	CHECK(pt_protect(root, 0, LOWER_END, VM_READ) == -ENOENT);
	CHECK(pt_unmap(root, 0, LOWER_END + PAGE_SIZE) == -EINVAL);
	CHECK(pt_map(root, from, pa, 2 * LARGE + PAGE_SIZE, VM_USER) == 0);
	CHECK(leaf_is(root, from, pa, PAGE_SIZE, VM_USER));
	CHECK(leaf_is(root, from + PAGE_SIZE, pa + PAGE_SIZE, LARGE, VM_USER));
	CHECK(leaf_is(root, LOWER_END - 1, PHYS_END - 1, LARGE, VM_USER));
	CHECK(out_stays(root, LOWER_END, -EINVAL));
	CHECK(out_stays(root, ~LOWER_END, -EINVAL));
	sum = digest(root);
	free = free_frames();
	for (size_t half = 0; half <= 4; half++) {
		const size_t back = half ? half * (LARGE / 2) : PAGE_SIZE;

		CHECK(pt_map(root, LOWER_END - back, 0, back + PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_protect(root, LOWER_END - back, back + PAGE_SIZE, VM_READ) == -EINVAL);
		CHECK(pt_unmap(root, LOWER_END - back, back + PAGE_SIZE) == -EINVAL);
	}
	CHECK(pt_map(root, LOWER_END - LARGE, 0, LARGE, VM_READ) == -EBUSY);
	CHECK(digest(root) == sum);
	CHECK(free_frames() == free);
	CHECK(pt_protect(root, LOWER_END - PAGE_SIZE, PAGE_SIZE, VM_WRITE) == 0);
	CHECK(leaf_is(root, LOWER_END - 1, PHYS_END - 1, PAGE_SIZE, VM_WRITE));
	CHECK(leaf_is(root, LOWER_END - PAGE_SIZE - 1, PHYS_END - PAGE_SIZE - 1, PAGE_SIZE, VM_USER));
	CHECK(leaf_is(root, LOWER_END - LARGE - 1, PHYS_END - LARGE - 1, LARGE, VM_USER));
	CHECK(pt_protect(root, from, 2 * LARGE + PAGE_SIZE, VM_EXEC) == 0);
	CHECK(free_frames() == free - 1);
	CHECK(leaf_is(root, LOWER_END - 1, PHYS_END - 1, PAGE_SIZE, VM_EXEC));
	CHECK(leaf_is(root, LOWER_END - LARGE - 1, PHYS_END - LARGE - 1, LARGE, VM_EXEC));
	CHECK(pt_unmap(root, from, LOWER_END - from) == 0);
	for (vaddr_t at = from; at < LOWER_END; at += PAGE_SIZE)
		CHECK(hole_is(root, at));
	CHECK(pt_missing(root, from, LOWER_END - from) == 1);           /* the middle one never was a table */
	return 0;
}

KTEST(mm, check_paging_half_end)
{
	KASSERT_EQ(on_root(half_end), 0);
}

/* Three stretches of 2 MiB: a large page, small ones since va and pa are not aligned alike, a large page. */
static paddr_t mixed_pa(size_t off)
{
	return FAR_PA + off + off / LARGE * (3 * LARGE) + (off / LARGE == 1 ? PAGE_SIZE : 0);
}

static int lay_mixed(paddr_t root, vaddr_t va, unsigned prot)
{
	for (size_t off = 0; off < 3 * LARGE; off += LARGE)
		CHECK(pt_map(root, va + off, mixed_pa(off), LARGE, prot) == 0);
	return 0;
}

/* Changes [from, to) of them: just that is changed, whole large pages stay large, and as many tables are taken as
 * large pages are cut: "at most two large pages, those at the ends, have to be split". */
static int change_mixed(paddr_t root, vaddr_t va, size_t from, size_t to, bool unmap)
{
	enum { BEFORE = VM_WRITE | VM_USER | VM_GLOBAL, AFTER = VM_EXEC | VM_UNCACHED };
	unsigned tables = 0;
	uint64_t free;

	CHECK(lay_mixed(root, va, BEFORE) == 0);
	free = free_frames();
	CHECK((unmap ? pt_unmap(root, va + from, to - from) : pt_protect(root, va + from, to - from, AFTER)) == 0);
	for (size_t off = 0; off < 3 * LARGE; off += PAGE_SIZE) {
		const size_t start = off & -LARGE, end = start + LARGE;
		const bool whole = (from <= start && to >= end) || from >= end || to <= start;
		const bool large = whole && start != LARGE, changed = off >= from && off < to;

		tables += !whole && start != LARGE && off == start;
		if (unmap && changed)
			CHECK(hole_is(root, va + off));
		else
			CHECK(leaf_is(root, va + off, mixed_pa(off), large ? LARGE : PAGE_SIZE,
				changed ? AFTER : BEFORE));
	}
	CHECK(free - free_frames() == tables);
	/* there is nothing on either side */
	CHECK(hole_is(root, va - 1));
	CHECK(hole_is(root, va + 3 * LARGE));
	return 0;
}

static int mixed(paddr_t root)
{
	static const size_t ranges[][2] = {
		{ 0, 3 * LARGE }, { LARGE - PAGE_SIZE, 2 * LARGE + PAGE_SIZE }, { PAGE_SIZE, 3 * LARGE - PAGE_SIZE },
		{ 0, 2 * LARGE + PAGE_SIZE }, { LARGE - PAGE_SIZE, 3 * LARGE }, { PAGE_SIZE, LARGE - PAGE_SIZE },
		{ 0, LARGE }, { 2 * LARGE + 7 * PAGE_SIZE, 3 * LARGE },
		{ LARGE + 5 * PAGE_SIZE, 2 * LARGE - 5 * PAGE_SIZE }, { 3 * PAGE_SIZE, LARGE + PAGE_SIZE },
	};
	vaddr_t va = SLOT - LARGE;                      /* the first two lie on either side of a border of the root */

	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
		for (unsigned unmap = 0; unmap < 2; unmap++, va += GIB + LARGE)
			CHECK(change_mixed(root, va, ranges[i][0], ranges[i][1], unmap) == 0);
	return 0;
}

KTEST(mm, check_paging_mixed)
{
	KASSERT_EQ(on_root(mixed), 0);
}

/* Into a hole among small pages, of all of it or parts of it, across a border of tables too: no table is wanted,
 * and what is beside it stays. One page too many: -EBUSY, nothing changed. */
static int fill_hole(paddr_t root)
{
	static const unsigned holes[][2] = { { 100, 110 }, { 0, 1 }, { 509, 515 }, { 1023, 1024 }, { 300, 812 } };
	const vaddr_t va = 7 * SLOT + GIB - LARGE;      /* page 512 is the first of another directory */

	CHECK(pt_map(root, va, FAR_PA + PAGE_SIZE, 2 * LARGE, VM_WRITE) == 0);
	for (unsigned i = 0; i < sizeof holes / sizeof *holes; i++) {
		const vaddr_t from = va + holes[i][0] * PAGE_SIZE, to = va + holes[i][1] * PAGE_SIZE;
		const vaddr_t middle = from + (to - from) / PAGE_SIZE / 2 * PAGE_SIZE;
		const paddr_t pa_from = FAR_PA + (from & (LARGE - 1)), pa_middle = FAR_PA + (middle & (LARGE - 1));
		const uint64_t free = free_frames();
		uint64_t sum;

		CHECK(pt_unmap(root, from, to - from) == 0);
		sum = digest(root);
		if (holes[i][0])
			CHECK(pt_map(root, from - PAGE_SIZE, FAR_PA, to - from + PAGE_SIZE, VM_READ) == -EBUSY);
		if (holes[i][1] < 1024)
			CHECK(pt_map(root, from, FAR_PA, to - from + PAGE_SIZE, VM_READ) == -EBUSY);
		CHECK(digest(root) == sum);
		/* aligned alike, too: "no page table stands yet" */
		if (middle > from)
			CHECK(pt_map(root, from, pa_from, middle - from, VM_EXEC) == 0);
		CHECK(pt_map(root, middle, pa_middle, to - middle, VM_USER) == 0);
		CHECK(free_frames() == free);
		for (vaddr_t at = va; at < va + 2 * LARGE; at += PAGE_SIZE)
			if (at >= from && at < middle)
				CHECK(leaf_is(root, at, pa_from + (at - from), PAGE_SIZE, VM_EXEC));
			else if (at >= middle && at < to)
				CHECK(leaf_is(root, at, pa_middle + (at - middle), PAGE_SIZE, VM_USER));
			else
				CHECK(leaf_is(root, at, FAR_PA + PAGE_SIZE + (at - va), PAGE_SIZE, VM_WRITE));
		/* as it was, for the next */
		CHECK(pt_unmap(root, from, to - from) == 0);
		CHECK(pt_map(root, from, FAR_PA + PAGE_SIZE + (from - va), to - from, VM_WRITE) == 0);
	}
	return 0;
}

KTEST(mm, check_paging_fill_hole)
{
	KASSERT_EQ(on_root(fill_hole), 0);
}

/* "Empty page tables stay until pt_destroy"; a large page has none that could stay, so its place can be one again. */
static int stay_empty(paddr_t root)
{
	const vaddr_t small = 3 * SLOT - LARGE, large = 6 * SLOT;
	uint64_t free;

	CHECK(pt_map(root, small, FAR_PA + PAGE_SIZE, 2 * LARGE, VM_READ) == 0);
	CHECK(pt_map(root, large, FAR_PA, 3 * LARGE, VM_READ) == 0);
	CHECK(pt_unmap(root, large + LARGE + PAGE_SIZE, PAGE_SIZE) == 0);
	free = free_frames();
	CHECK(pt_unmap(root, small, 2 * LARGE) == 0);
	CHECK(pt_unmap(root, large, LARGE + PAGE_SIZE) == 0);
	CHECK(pt_unmap(root, large + LARGE + 2 * PAGE_SIZE, 2 * LARGE - 2 * PAGE_SIZE) == 0);
	CHECK(free_frames() == free);
	CHECK(pt_missing(root, small, 2 * LARGE) == 0);
	CHECK(pt_missing(root, large, 3 * LARGE) == 2);
	CHECK(pt_map(root, small, FAR_PA, 2 * LARGE, VM_WRITE) == 0);
	CHECK(pt_map(root, large, FAR_PA, 3 * LARGE, VM_WRITE) == 0);
	CHECK(free_frames() == free);
	for (size_t off = 0; off < 2 * LARGE; off += PAGE_SIZE)
		CHECK(leaf_is(root, small + off, FAR_PA + off, PAGE_SIZE, VM_WRITE));
	for (size_t off = 0; off < 3 * LARGE; off += PAGE_SIZE)
		CHECK(leaf_is(root, large + off, FAR_PA + off, off / LARGE == 1 ? PAGE_SIZE : LARGE, VM_WRITE));
	return 0;
}

KTEST(mm, check_paging_stay_empty)
{
	KASSERT_EQ(on_root(stay_empty), 0);
}

/* ---- protections ---- */

/* From each to each, of a large page and of a small one, by their bits. */
static int each_to_each(paddr_t root)
{
	const vaddr_t large = 2 * GIB, small = 3 * GIB;

	for (unsigned from = 0; from <= VM_PROT_MASK; from++)
		for (unsigned to = 0; to <= VM_PROT_MASK; to++) {
			if (!prot_good(from) || !prot_good(to))
				continue;
			CHECK(pt_map(root, large, FAR_PA, LARGE, from) == 0);
			CHECK(pt_map(root, small, FAR_PA, PAGE_SIZE, from) == 0);
			CHECK(leaf_is(root, large, FAR_PA, LARGE, from));
			CHECK(leaf_is(root, small, FAR_PA, PAGE_SIZE, from));
			CHECK(pt_protect(root, large, LARGE, to) == 0);
			CHECK(pt_protect(root, small, PAGE_SIZE, to) == 0);
			CHECK(leaf_is(root, large + LARGE - 1, FAR_PA + LARGE - 1, LARGE, to));
			CHECK(leaf_is(root, small, FAR_PA, PAGE_SIZE, to));
			CHECK(pt_unmap(root, large, LARGE) == 0);
			CHECK(pt_unmap(root, small, PAGE_SIZE) == 0);
		}
	return 0;
}

KTEST(mm, check_paging_each_to_each)
{
	KASSERT_EQ(on_root(each_to_each), 0);
}

/* "the new table holds the same 512 translations" but for what was asked for. */
static int split_bits(paddr_t root)
{
	for (unsigned prot = 0; prot <= VM_PROT_MASK; prot++) {
		const vaddr_t va = SLOT + prot * GIB;
		const unsigned page = prot * 16 + 5, other = prot == VM_USER ? VM_GLOBAL : VM_USER;

		if (!prot_good(prot))
			continue;
		CHECK(pt_map(root, va, FAR_PA, LARGE, prot) == 0);
		if (prot & VM_UNCACHED)
			CHECK(pt_unmap(root, va + page * PAGE_SIZE, PAGE_SIZE) == 0);
		else
			CHECK(pt_protect(root, va + page * PAGE_SIZE, PAGE_SIZE, other) == 0);
		for (unsigned i = 0; i < ENTRIES; i++)
			if (i == page && prot & VM_UNCACHED)
				CHECK(hole_is(root, va + i * PAGE_SIZE));
			else
				CHECK(leaf_is(root, va + i * PAGE_SIZE, FAR_PA + i * PAGE_SIZE, PAGE_SIZE,
					i == page ? other : prot));
	}
	return 0;
}

KTEST(mm, check_paging_split_bits)
{
	KASSERT_EQ(on_root(split_bits), 0);
}

/* ---- walking ---- */

enum { LEAVES = 6 };
#define WALKED (5 * SLOT - 4 * LARGE)

/* Beside one another and apart, on both sides of a border of all levels. */
static const struct pt_entry leaves[LEAVES] = {
	{ WALKED, FAR_PA, LARGE, VM_EXEC | VM_USER },
	{ WALKED + LARGE + 7 * PAGE_SIZE, FAR_PA + PAGE_SIZE, PAGE_SIZE, VM_WRITE | VM_UNCACHED },
	{ WALKED + LARGE + 8 * PAGE_SIZE, FAR_PA + 9 * PAGE_SIZE, PAGE_SIZE, VM_GLOBAL },
	{ WALKED + 3 * LARGE, FAR_PA + 8 * LARGE, LARGE, VM_UNCACHED | VM_GLOBAL },
	{ 5 * SLOT, FAR_PA, PAGE_SIZE, VM_READ },
	{ 5 * SLOT + LARGE, FAR_PA, LARGE, VM_WRITE },
};

struct seen {
	unsigned first, count, stop_at;         /* of leaves[]: the next is first + count; 0: does not stop */
	int value;                              /* for the one at which it stops */
	bool wrong;
};

static int see(const struct pt_entry *e, void *arg)
{
	struct seen *const s = arg;
	const unsigned i = s->first + s->count++;

	s->wrong = s->wrong || i >= LEAVES || e->va != leaves[i].va || e->pa != leaves[i].pa ||
		e->size != leaves[i].size || e->prot != leaves[i].prot;
	return s->count == s->stop_at ? s->value : 0;
}

/* "Calls fn for each leaf that meets [lo, hi], hi inclusive, ascending". */
static bool walk_right(paddr_t root, vaddr_t lo, vaddr_t hi)
{
	struct seen s = { 0, 0, 0, 0, false };
	unsigned wanted = 0;

	while (s.first < LEAVES && leaves[s.first].va + leaves[s.first].size <= lo)
		s.first++;
	while (s.first + wanted < LEAVES && leaves[s.first + wanted].va <= hi)
		wanted++;
	return pt_walk(root, lo, hi, see, &s) == 0 && s.count == wanted && !s.wrong;
}

static vaddr_t walk_point(unsigned i)
{
	const struct pt_entry *const e = &leaves[i / 4];

	return i % 4 == 0 ? e->va - 1 : i % 4 == 1 ? e->va : i % 4 == 2 ? e->va + e->size / 2 + 3 : e->va + e->size - 1;
}

static int walk_points(paddr_t root)
{
	struct seen none = { 0, 0, 0, 0, false };

	CHECK(pt_walk(root, 0, LOWER_END - 1, see, &none) == 0);
	CHECK(none.count == 0);
	for (unsigned i = 0; i < LEAVES; i++)
		CHECK(pt_map(root, leaves[i].va, leaves[i].pa, leaves[i].size, leaves[i].prot) == 0);
	CHECK(walk_right(root, 0, LOWER_END - 1));
	CHECK(walk_right(root, 0, WALKED - 1));
	CHECK(walk_right(root, 5 * SLOT + 2 * LARGE, LOWER_END - 1));
	for (unsigned i = 0; i < 4 * LEAVES; i++)
		for (unsigned j = i; j < 4 * LEAVES; j++)
			if (walk_point(i) <= walk_point(j))
				CHECK(walk_right(root, walk_point(i), walk_point(j)));
	/* "stops at and returns fn's first value that is not 0": in the first leaf, in the last, in those between */
	for (unsigned first = 0; first < LEAVES; first++)
		for (unsigned stop = 1; first + stop <= LEAVES; stop++) {
			struct seen s = { first, 0, stop, stop % 2 ? 7 : -EBUSY, false };
			const vaddr_t lo = leaves[first].va + leaves[first].size / 2;

			CHECK(pt_walk(root, lo, LOWER_END - 1, see, &s) == s.value);
			CHECK(s.count == stop);
			CHECK(!s.wrong);
		}
	return 0;
}

KTEST(mm, check_paging_walk)
{
	KASSERT_EQ(on_root(walk_points), 0);
}

struct tour {
	uint64_t lower, sum;                    /* leaves of the lower half; a sum of the upper's */
	vaddr_t next;
	bool wrong;
};

static int travel(const struct pt_entry *e, void *arg)
{
	struct tour *const t = arg;

	t->wrong = t->wrong || e->va < t->next;
	t->next = e->va + e->size;              /* 0 after the last byte: there is no leaf behind that */
	if (e->va < LOWER_END)
		t->lower++;
	else
		t->sum = (t->sum ^ e->va ^ e->pa ^ e->size << 1 ^ e->prot) * 0x100000001b3;
	return 0;
}

/* Over both halves: first what is the root's own, then what all have in common: "upper half copied from
 * kernel_root". */
static int walk_all(paddr_t root)
{
	struct tour mine = { 0, 0, 0, false }, kernel = { 0, 0, 0, false };

	CHECK(pt_map(root, 0, FAR_PA, PAGE_SIZE, VM_READ) == 0);
	CHECK(pt_map(root, LOWER_END - LARGE, FAR_PA, LARGE, VM_READ) == 0);
	CHECK(pt_walk(kernel_root, DIRECT_MAP_BASE, UINT64_MAX, travel, &kernel) == 0);
	CHECK(pt_walk(root, 0, UINT64_MAX, travel, &mine) == 0);
	CHECK(!mine.wrong);
	CHECK(!kernel.wrong);
	CHECK(mine.lower == 2);
	CHECK(kernel.lower == 0);
	CHECK(kernel.sum != 0);
	CHECK(mine.sum == kernel.sum);
	return 0;
}

KTEST(mm, check_paging_walk_all)
{
	KASSERT_EQ(on_root(walk_all), 0);
}

/* ---- tables ---- */

/* "tables that mapping [va, va+len) page by page would add". It adds none itself. */
static int missing(paddr_t root)
{
	static const struct {
		vaddr_t va;
		size_t len, tables;
	} cases[] = {
		{ 1 * SLOT, PAGE_SIZE, 3 },
		{ 2 * SLOT + LARGE - PAGE_SIZE, PAGE_SIZE, 3 },
		{ 3 * SLOT + LARGE - PAGE_SIZE, 2 * PAGE_SIZE, 4 },
		{ 4 * SLOT + GIB - PAGE_SIZE, 2 * PAGE_SIZE, 5 },
		{ 6 * SLOT - PAGE_SIZE, 2 * PAGE_SIZE, 6 },
		{ 7 * SLOT, LARGE, 3 },
		{ 8 * SLOT + PAGE_SIZE, LARGE, 4 },
		{ 9 * SLOT, 3 * LARGE, 5 },
		{ 10 * SLOT + GIB - LARGE - PAGE_SIZE, 2 * LARGE + 2 * PAGE_SIZE, 7 },
		{ LOWER_END - PAGE_SIZE, PAGE_SIZE, 3 },
	};
	uint64_t sum = digest(root);

	/* too much to map it */
	CHECK(pt_missing(root, 20 * SLOT, GIB) == 1 + 1 + 512);
	CHECK(pt_missing(root, 20 * SLOT + GIB - PAGE_SIZE, GIB + 2 * PAGE_SIZE) == 1 + 3 + 514);
	CHECK(pt_missing(root, 20 * SLOT, SLOT) == 1 + 512 + 512 * 512);
	CHECK(pt_missing(root, 21 * SLOT - PAGE_SIZE, SLOT + 2 * PAGE_SIZE) == 3 + 514 + 512 * 512 + 2);
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		const uint64_t free = free_frames();
		const vaddr_t va = cases[i].va;
		const size_t len = cases[i].len;

		CHECK(digest(root) == sum);
		CHECK(pt_missing(root, va, len) == cases[i].tables);
		CHECK(pt_missing(root, va, len) == cases[i].tables);
		CHECK(free_frames() == free);
		CHECK(digest(root) == sum);
		CHECK(pt_map(root, va, FAR_PA + (va + PAGE_SIZE) % LARGE, len, VM_READ) == 0);
		CHECK(free - free_frames() == cases[i].tables);
		sum = digest(root);
		CHECK(pt_missing(root, va, len) == 0);
		CHECK(pt_missing(root, va, PAGE_SIZE) == 0);
		CHECK(pt_missing(root, va + len - PAGE_SIZE, PAGE_SIZE) == 0);
	}
	/* beside what is there: only what that has not */
	CHECK(pt_missing(root, 1 * SLOT + LARGE - PAGE_SIZE, 2 * PAGE_SIZE) == 1);
	CHECK(pt_missing(root, 1 * SLOT + GIB - PAGE_SIZE, 2 * PAGE_SIZE) == 3);
	CHECK(pt_missing(root, 2 * SLOT - PAGE_SIZE, 2 * PAGE_SIZE) == 2);
	CHECK(pt_map(root, 11 * SLOT, FAR_PA, LARGE, VM_READ) == 0);    /* a large page brings all but the lowest */
	CHECK(pt_missing(root, 11 * SLOT + LARGE, LARGE) == 1);
	return 0;
}

KTEST(mm, check_paging_missing)
{
	KASSERT_EQ(on_root(missing), 0);
}

/* Frames that others leave behind full become tables with just one entry each, and a root that is "empty". */
KTEST(mm, check_paging_clean_tables)
{
	enum { DIRTY_FRAMES = 40 };
	static paddr_t dirty[DIRTY_FRAMES];
	const vaddr_t va = 3 * SLOT + 5 * GIB + 7 * LARGE + 9 * PAGE_SIZE, two = 8 * SLOT - PAGE_SIZE;
	const uint64_t before = free_frames();
	unsigned root_entries = 0, entries[3] = { 0, 0, 0 }, after;
	paddr_t root;
	bool mapped;

	for (unsigned i = 0; i < DIRTY_FRAMES; i++) {
		KASSERT_EQ(frame_alloc(0, &dirty[i]), 0);
		memset(phys_to_virt(dirty[i]), 0xff, PAGE_SIZE);
	}
	for (unsigned i = 0; i < DIRTY_FRAMES; i++)
		KASSERT_EQ(frame_free(dirty[i]), 0);
	KASSERT_EQ(pt_create(&root), 0);
	for (unsigned i = 0; i < ENTRIES / 2; i++)
		root_entries += entry_of(root, i * SLOT, 3) != 0;
	mapped = pt_map(root, va, FAR_PA, PAGE_SIZE, VM_READ) == 0;
	for (unsigned l = 0; l < 3; l++)
		for (unsigned i = 0; i < ENTRIES; i++) {
			const unsigned shift = PAGE_SHIFT + 9 * l;

			entries[l] += entry_of(root, (va & ~(511ul << shift)) | (uint64_t)i << shift, l) != 0;
		}
	/* two of each level, by one call: the tables of both sides are as clean */
	mapped = mapped && pt_map(root, two, FAR_PA, 2 * PAGE_SIZE, VM_READ) == 0;
	after = 0;
	for (unsigned i = 0; i < ENTRIES; i++)
		after += (entry_of(root, two - i * PAGE_SIZE, 0) != 0) + (entry_of(root, two - i * GIB, 2) != 0) +
			(entry_of(root, two + PAGE_SIZE + i * PAGE_SIZE, 0) != 0) +
			(entry_of(root, two + PAGE_SIZE + i * GIB, 2) != 0);
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(root_entries, 0);
	KASSERT(mapped);
	for (unsigned l = 0; l < 3; l++)
		KASSERT_EQ(entries[l], 1);
	KASSERT_EQ(after, 4);
	KASSERT_EQ(free_frames(), before);
}

static unsigned unequal_upper(paddr_t root)
{
	unsigned unequal = 0;

	for (uint64_t i = ENTRIES / 2; i < ENTRIES; i++) {
		const vaddr_t va = 0xFFFF000000000000 | i * SLOT;

		unequal += ((entry_of(root, va, 3) ^ entry_of(kernel_root, va, 3)) & ~(uint64_t)ACCESSED) != 0;
	}
	return unequal;
}

/* The second root, in which nothing is that is done to the first. */
static int apart(paddr_t a, paddr_t b)
{
	const vaddr_t va = 2 * SLOT;
	const uint64_t kernel = digest(kernel_root), empty = digest(b);
	uint64_t sum;

	CHECK(a != b);
	CHECK(unequal_upper(a) == 0);
	CHECK(unequal_upper(b) == 0);
	CHECK(pt_map(a, va, FAR_PA, LARGE + PAGE_SIZE, VM_WRITE) == 0);
	CHECK(digest(b) == empty);
	CHECK(hole_is(b, va));
	CHECK(hole_is(kernel_root, va));
	CHECK(pt_unmap(b, va, PAGE_SIZE) == -ENOENT);
	CHECK(pt_protect(b, va, LARGE, VM_READ) == -ENOENT);
	CHECK(pt_missing(b, va, PAGE_SIZE) == 3);
	sum = digest(a);
	CHECK(pt_map(b, va, FAR_PA + 9 * PAGE_SIZE, PAGE_SIZE, VM_EXEC) == 0);
	CHECK(pt_map(b, va + LARGE, FAR_PA + LARGE, LARGE, VM_USER) == 0);
	CHECK(pt_protect(b, va + LARGE, PAGE_SIZE, VM_READ) == 0);
	CHECK(pt_unmap(b, va, PAGE_SIZE) == 0);
	CHECK(digest(a) == sum);
	CHECK(leaf_is(a, va, FAR_PA, LARGE, VM_WRITE));
	CHECK(leaf_is(a, va + LARGE, FAR_PA + LARGE, PAGE_SIZE, VM_WRITE));
	CHECK(leaf_is(b, va + LARGE, FAR_PA + LARGE, PAGE_SIZE, VM_READ));
	CHECK(leaf_is(b, va + LARGE + PAGE_SIZE, FAR_PA + LARGE + PAGE_SIZE, PAGE_SIZE, VM_USER));
	CHECK(hole_is(b, va));
	CHECK(digest(kernel_root) == kernel);
	CHECK(unequal_upper(a) == 0);
	CHECK(unequal_upper(b) == 0);
	return 0;
}

/* pt_destroy "frees every table of the lower half and the root, no mapped frame", and nothing of another root. */
KTEST(mm, check_paging_roots)
{
	const uint64_t before = free_frames();
	bool same, tagged, freed;
	uint64_t sum, left;
	paddr_t a, b, frame;
	int line;

	KASSERT_EQ(frame_alloc(0, &frame), 0);
	frame_set_tag(frame, 0x1357);
	KASSERT_EQ(pt_create(&a), 0);
	KASSERT_EQ(pt_create(&b), 0);
	line = apart(a, b);
	for (unsigned i = 0; i < 8 && !line; i++)
		line = pt_map(i % 2 ? a : b, 40 * SLOT + i * GIB, frame, PAGE_SIZE, VM_READ);
	sum = digest(b);
	same = pt_destroy(a) == 0 && digest(b) == sum && leaf_is(b, 40 * SLOT, frame, PAGE_SIZE, VM_READ);
	same = pt_destroy(b) == 0 && same;
	left = free_frames();
	tagged = frame_tag(frame) == 0x1357;
	freed = frame_free(frame) == 0;
	KASSERT_EQ(line, 0);
	KASSERT(same);
	KASSERT(tagged);
	KASSERT(freed);
	KASSERT_EQ(left, before - 1);
	KASSERT_EQ(free_frames(), before);
}

/* ---- as the processor sees it ---- */

enum { IF = 1 << 9, NO_FAULT = -1, OTHER_FAULT = -2, FAULT_P = 1, FAULT_W = 2, FAULT_I = 16 };
enum { RETURN = 0xc3 };                         /* the instruction */

static uint64_t was_read;

static void load_word(void *at)
{
	was_read = *(volatile uint64_t *)at;
}

static void store_word(void *at)
{
	*(volatile uint64_t *)at = 0xc3c3c3c3c3c3c3c3;
}

static void fetch(void *at)
{
	__asm__ volatile("call *%0" : : "r"(at)
		: "memory", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_back(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

/* The error code of the page fault that the access makes with those tables. */
static int try(paddr_t root, void (*access)(void *), vaddr_t va)
{
	const uint64_t flags = interrupts_off();
	struct trap_frame f;
	uint64_t cr3, cr2;
	int caught;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	__asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
	caught = trap_catch(access, (void *)va, &f);
	__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
	__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
	interrupts_back(flags);
	if (caught == 0)
		return NO_FAULT;
	return caught == 1 && f.vector == VEC_PAGE_FAULT && cr2 == va ? (int)f.error : OTHER_FAULT;
}

static bool reads(paddr_t root, vaddr_t va, uint64_t value)
{
	was_read = ~value;
	return try(root, load_word, va) == NO_FAULT && was_read == value;
}

/* What is done to a part of a large page the processor takes so, and only there. */
static int processor_view(paddr_t root, paddr_t run)
{
	const vaddr_t va = 17 * SLOT - LARGE;

	for (uint64_t i = 0; i < ENTRIES; i++)
		*(volatile uint64_t *)phys_to_virt(run + i * PAGE_SIZE + 64) = i * 0x10001;
	CHECK(pt_map(root, va, run, LARGE, VM_WRITE) == 0);
	CHECK(leaf_is(root, va, run, LARGE, VM_WRITE));
	for (uint64_t i = 0; i < ENTRIES; i += 73) {
		CHECK(reads(root, va + i * PAGE_SIZE + 64, i * 0x10001));
		CHECK(try(root, store_word, va + i * PAGE_SIZE) == NO_FAULT);
		CHECK(*(volatile uint64_t *)phys_to_virt(run + i * PAGE_SIZE) == 0xc3c3c3c3c3c3c3c3);
	}
	CHECK(try(root, fetch, va) == (FAULT_P | FAULT_I));

	CHECK(pt_protect(root, va + 10 * PAGE_SIZE, 20 * PAGE_SIZE, VM_READ) == 0);
	for (uint64_t i = 9; i <= 30; i++) {
		const bool writable = i == 9 || i == 30;

		CHECK(try(root, store_word, va + i * PAGE_SIZE) == (writable ? NO_FAULT : FAULT_P | FAULT_W));
		CHECK(reads(root, va + i * PAGE_SIZE + 64, i * 0x10001));
	}
	CHECK(pt_unmap(root, va + 29 * PAGE_SIZE, 2 * PAGE_SIZE) == 0);
	CHECK(reads(root, va + 28 * PAGE_SIZE + 64, 28 * 0x10001));
	CHECK(try(root, load_word, va + 29 * PAGE_SIZE) == 0);
	CHECK(try(root, store_word, va + 30 * PAGE_SIZE) == FAULT_W);
	CHECK(try(root, store_word, va + 31 * PAGE_SIZE) == NO_FAULT);
	CHECK(pt_protect(root, va, 5 * PAGE_SIZE, VM_EXEC) == 0);
	CHECK(try(root, fetch, va) == NO_FAULT);                        /* a return stands there from above */
	CHECK(try(root, store_word, va + 4 * PAGE_SIZE) == (FAULT_P | FAULT_W));
	CHECK(try(root, store_word, va + 5 * PAGE_SIZE) == NO_FAULT);
	CHECK(try(root, fetch, va + 5 * PAGE_SIZE) == (FAULT_P | FAULT_I));
	CHECK(pt_map(root, va + 29 * PAGE_SIZE, run + 500 * PAGE_SIZE, 2 * PAGE_SIZE, VM_WRITE) == 0);
	CHECK(reads(root, va + 30 * PAGE_SIZE + 64, 501 * 0x10001));
	/* large, small and large in one */
	CHECK(pt_map(root, va + 2 * LARGE, run, LARGE, VM_WRITE) == 0);
	CHECK(pt_map(root, va + LARGE, run, LARGE - PAGE_SIZE, VM_WRITE) == 0);
	CHECK(pt_map(root, va + 2 * LARGE - PAGE_SIZE, run, PAGE_SIZE, VM_WRITE) == 0);
	CHECK(reads(root, va + 2 * LARGE - PAGE_SIZE + 64, 0));
	CHECK(pt_unmap(root, va + LARGE - PAGE_SIZE, LARGE + 2 * PAGE_SIZE) == 0);
	CHECK(reads(root, va + LARGE - 2 * PAGE_SIZE + 64, 510 * 0x10001));
	CHECK(try(root, load_word, va + LARGE - PAGE_SIZE) == 0);
	CHECK(try(root, load_word, va + LARGE) == 0);
	CHECK(try(root, load_word, va + 2 * LARGE - PAGE_SIZE) == 0);
	CHECK(try(root, load_word, va + 2 * LARGE) == 0);
	CHECK(reads(root, va + 2 * LARGE + PAGE_SIZE + 64, 0x10001));
	return 0;
}

KTEST(mm, check_paging_processor)
{
	const uint64_t before = free_frames();
	bool given;
	paddr_t root, run;
	int line;

	KASSERT_EQ(frame_alloc_contig(ENTRIES, ENTRIES, 0, 0, &run), 0);
	KASSERT_EQ(pt_create(&root), 0);
	memset(phys_to_virt(run), RETURN, 64);
	line = processor_view(root, run);
	given = pt_destroy(root) == 0;
	given = frame_free_contig(run, ENTRIES) == 0 && given;
	KASSERT_EQ(line, 0);
	KASSERT(given);
	KASSERT_EQ(free_frames(), before);
}

static bool if_is(bool on)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
	return !!(flags & IF) == on;
}

/* All calls, those that fail too; a body of its own so that the flag is put back whatever comes out. */
static int with_flag(bool on)
{
	const vaddr_t va = 3 * SLOT - PAGE_SIZE;
	struct seen s = { 0, 0, 0, 0, false };
	struct pt_entry e;
	paddr_t root;
	int line = 0;

	if (pt_create(&root))
		return __LINE__;
#define STEP(wanted, call) \
	do { \
		const long got_ = (long)(call); \
		if (!line && (got_ != (wanted) || !if_is(on))) \
			line = __LINE__; \
	} while (0)
	STEP(6, pt_missing(root, va, 2 * PAGE_SIZE));
	STEP(0, pt_map(root, va, FAR_PA + LARGE - PAGE_SIZE, LARGE + PAGE_SIZE, VM_WRITE));
	STEP(-EBUSY, pt_map(root, va, FAR_PA, PAGE_SIZE, VM_WRITE));
	STEP(-EINVAL, pt_map(root, va, FAR_PA, PAGE_SIZE, 32));
	STEP(0, pt_protect(root, va + 2 * PAGE_SIZE, PAGE_SIZE, VM_READ));
	STEP(0, pt_translate(root, va, &e));
	STEP(0, pt_walk(root, 0, va - 1, see, &s));
	STEP(0, pt_unmap(root, va, PAGE_SIZE));
	STEP(-ENOENT, pt_unmap(root, va, 2 * PAGE_SIZE));
	STEP(-ENOENT, pt_protect(root, va, PAGE_SIZE, VM_READ));
	STEP(-EINVAL, pt_unmap(root, va, 1));
	STEP(0, pt_destroy(root));
#undef STEP
	return line;
}

/* "may be called … with interrupts on or off", and leaves them so. */
KTEST(mm, check_paging_interrupts)
{
	const uint64_t flags = interrupts_off();
	const int off = with_flag(false);
	int on;

	__asm__ volatile("sti" : : : "memory");
	on = with_flag(true);
	if (!(flags & IF))
		__asm__ volatile("cli" : : : "memory");
	KASSERT_EQ(off, 0);
	KASSERT_EQ(on, 0);
}

/* ---- random work ---- */

enum { UNITS = 8, PAGES = UNITS * ENTRIES, OPERATIONS = 2000 };
#define WINDOW (9 * SLOT - UNITS / 2 * LARGE)           /* half of the units on either side of a border of all levels */

/* pa | prot << 1 | 1 of each page, 0: none; what stands for 2 MiB; whether there is a directory, and the table
 * above it. */
static uint64_t model[PAGES];
static enum { NOTHING, TABLE, WHOLE } units[UNITS];
static bool directories[2];

static bool page_right(paddr_t root, uint64_t page)
{
	const vaddr_t va = WINDOW + page * PAGE_SIZE;

	if (!model[page])
		return hole_is(root, va);
	return leaf_is(root, va, model[page] & ADDRESS, units[page / ENTRIES] == WHOLE ? LARGE : PAGE_SIZE,
		model[page] >> 1 & VM_PROT_MASK);
}

/* What an operation that succeeds makes of the model; how many tables it takes. */
static uint64_t model_map(uint64_t page, uint64_t n, paddr_t pa, unsigned prot)
{
	uint64_t tables = 0;

	for (uint64_t p = page; p < page + n; p++, pa += PAGE_SIZE) {
		const uint64_t u = p / ENTRIES;

		if (!directories[u / (UNITS / 2)])
			tables += 2;
		directories[u / (UNITS / 2)] = true;
		/* "va and pa are both 2 MiB aligned, at least 2 MiB remain and no page table stands yet" */
		if (units[u] == NOTHING) {
			units[u] = p % ENTRIES == 0 && pa % LARGE == 0 && page + n - p >= ENTRIES ? WHOLE : TABLE;
			tables += units[u] == TABLE;
		}
		model[p] = pa | prot << 1 | 1;
	}
	return tables;
}

static uint64_t model_change(uint64_t page, uint64_t n, bool unmap, unsigned prot)
{
	uint64_t tables = 0;

	for (uint64_t u = page / ENTRIES; u <= (page + n - 1) / ENTRIES; u++) {
		const bool all = page <= u * ENTRIES && page + n >= (u + 1) * ENTRIES;

		if (units[u] == WHOLE && (!all || unmap)) {
			units[u] = all ? NOTHING : TABLE;
			tables += !all;
		}
	}
	for (uint64_t p = page; p < page + n; p++)
		model[p] = unmap ? 0 : (model[p] & ADDRESS) | prot << 1 | 1;
	return tables;
}

/* One operation; most are such that they succeed. */
static int operate(paddr_t root, uint64_t *state, unsigned step)
{
	const uint64_t r = random_of(state), free = free_frames();
	const bool big = r % 4 == 0;
	uint64_t n = big ? ENTRIES * (1 + (r >> 24 & 1)) + (r >> 25 & 1) : 1 + (r >> 24 & 31);
	uint64_t page = r >> 8 & (PAGES - 1), mapped = 0, tables = 0, sum = 0;
	unsigned prot, what = r >> 32 & 3;      /* 0, 1: map; 2: unmap; 3: protect */
	int err, wanted;
	paddr_t pa;

	if (big && r >> 34 & 3)
		page &= -(uint64_t)ENTRIES;
	if (n > PAGES - page)
		n = PAGES - page;
	if (r >> 36 & 7) {                      /* only pages that are as the first one, and what can be done to them */
		uint64_t like = 1;

		while (like < n && !model[page + like] == !model[page])
			like++;
		n = like;
		what = model[page] ? 2 | what : 0;
	}
	do
		prot = random_of(state) & VM_PROT_MASK;
	while (!prot_good(prot));
	pa = (page & (ENTRIES - 1)) + (r >> 40 & 15) * ENTRIES + (r >> 44 & 3 ? 0 : r >> 46 & 511);
	pa = FAR_PA + pa * PAGE_SIZE;
	for (uint64_t p = page; p < page + n; p++)
		mapped += model[p] != 0;
	wanted = what < 2 ? (mapped ? -EBUSY : 0) : mapped < n ? -ENOENT : 0;
	if (wanted && step % 8 == 0)
		sum = digest(root);
	err = what < 2 ? pt_map(root, WINDOW + page * PAGE_SIZE, pa, n * PAGE_SIZE, prot) :
		what == 2 ? pt_unmap(root, WINDOW + page * PAGE_SIZE, n * PAGE_SIZE) :
		pt_protect(root, WINDOW + page * PAGE_SIZE, n * PAGE_SIZE, prot);
	CHECK(err == wanted);
	if (wanted && step % 8 == 0)
		CHECK(digest(root) == sum);
	if (!wanted)
		tables = what < 2 ? model_map(page, n, pa, prot) : model_change(page, n, what == 2, prot);
	CHECK(free - free_frames() == tables);
	CHECK(page_right(root, page));
	CHECK(page_right(root, page + n - 1));
	CHECK(page_right(root, page ? page - 1 : 0));
	CHECK(page_right(root, page + n < PAGES ? page + n : 0));
	CHECK(page_right(root, random_of(state) % PAGES));
	return 0;
}

struct count {
	uint64_t pages, large;
	bool wrong;
};

static int count_leaf(const struct pt_entry *e, void *arg)
{
	struct count *const c = arg;
	const uint64_t page = (e->va - WINDOW) / PAGE_SIZE;

	c->wrong = c->wrong || page >= PAGES || e->pa != (model[page] & ADDRESS) ||
		e->prot != (model[page] >> 1 & VM_PROT_MASK);
	c->pages += e->size / PAGE_SIZE;
	c->large += e->size == LARGE;
	return 0;
}

/* Leaf by leaf, and as the walk tells it. */
static int all_right(paddr_t root)
{
	struct count c = { 0, 0, false };
	uint64_t pages = 0, large = 0;

	for (uint64_t p = 0; p < PAGES; p++) {
		CHECK(page_right(root, p));
		pages += model[p] != 0;
	}
	for (unsigned u = 0; u < UNITS; u++)
		large += units[u] == WHOLE;
	CHECK(pt_walk(root, 0, LOWER_END - 1, count_leaf, &c) == 0);
	CHECK(!c.wrong);
	CHECK(c.pages == pages);
	CHECK(c.large == large);
	return 0;
}

static int random_work(paddr_t root)
{
	uint64_t state = SEED;

	memset(model, 0, sizeof model);
	memset(units, 0, sizeof units);
	memset(directories, 0, sizeof directories);
	/* all but the two in the middle begin as large pages, for what comes to cut them */
	for (uint64_t page = 0; page < PAGES; page += 5 * ENTRIES) {
		const uint64_t n = (UNITS / 2 - 1) * ENTRIES, free = free_frames();

		CHECK(pt_map(root, WINDOW + page * PAGE_SIZE, FAR_PA, n * PAGE_SIZE, VM_WRITE) == 0);
		CHECK(free - free_frames() == model_map(page, n, FAR_PA, VM_WRITE));
	}
	CHECK(units[0] == WHOLE && units[UNITS - 1] == WHOLE);
	for (unsigned step = 0; step < OPERATIONS; step++) {
		int line;

		line = operate(root, &state, step);
		if (!line && step % 500 == 0)
			line = all_right(root);
		if (line) {
			ktest_note("operation", step);
			return line;
		}
	}
	return all_right(root);
}

KTEST(mm, check_paging_random)
{
	ktest_note("seed", SEED);
	KASSERT_EQ(on_root(random_work), 0);
}

/* Many short runs: large pages, their parts and their ends, while no tables stand yet. */
static uint64_t short_seed;

static int short_work(paddr_t root)
{
	memset(model, 0, sizeof model);
	memset(units, 0, sizeof units);
	memset(directories, 0, sizeof directories);
	for (unsigned step = 0; step < 24; step++) {
		const int line = operate(root, &short_seed, step);

		if (line)
			return line;
	}
	return 0;
}

KTEST(mm, check_paging_random_short)
{
	short_seed = SEED + 1;
	ktest_note("seed", SEED + 1);
	for (unsigned i = 0; i < 60; i++) {
		const int line = on_root(short_work);

		if (line)
			ktest_note("run", i);
		KASSERT_EQ(line, 0);
	}
}

/* ---- all processors, each with a root of its own ---- */

enum { OWN_PAGES = 64 };

static struct own {
	uint64_t word[OWN_PAGES];               /* as in the model */
	int line;
} own[CPU_MAX];

static int own_work(paddr_t root, struct own *o, uint64_t state)
{
	const vaddr_t va = 12 * SLOT - OWN_PAGES / 2 * PAGE_SIZE;

	memset(o->word, 0, sizeof o->word);
	for (unsigned step = 0; step < 300; step++) {
		const uint64_t r = random_of(&state), page = r % OWN_PAGES, most = OWN_PAGES - page;
		const uint64_t n = 1 + (r >> 8) % (most < 9 ? most : 9);
		const paddr_t pa = FAR_PA + (r >> 16 & 0xffff) * PAGE_SIZE;
		uint64_t mapped = 0;

		for (uint64_t p = page; p < page + n; p++)
			mapped += o->word[p] != 0;
		if (r >> 40 & 1) {
			CHECK(pt_map(root, va + page * PAGE_SIZE, pa, n * PAGE_SIZE, VM_WRITE) ==
				(mapped ? -EBUSY : 0));
			for (uint64_t p = page; p < page + n && !mapped; p++)
				o->word[p] = (pa + (p - page) * PAGE_SIZE) | 1;
		} else {
			CHECK(pt_unmap(root, va + page * PAGE_SIZE, n * PAGE_SIZE) == (mapped < n ? -ENOENT : 0));
			for (uint64_t p = page; p < page + n && mapped == n; p++)
				o->word[p] = 0;
		}
	}
	for (uint64_t p = 0; p < OWN_PAGES; p++)
		CHECK(o->word[p] ? leaf_is(root, va + p * PAGE_SIZE, o->word[p] & ADDRESS, PAGE_SIZE, VM_WRITE) :
			hole_is(root, va + p * PAGE_SIZE));
	return 0;
}

static void work_alone(void *arg)
{
	const unsigned me = cpu_self()->index;
	struct own *const o = &own[me];

	(void)arg;
	for (unsigned i = 0; i < 4 && !o->line; i++) {
		paddr_t root;

		if (pt_create(&root)) {
			o->line = __LINE__;
			return;
		}
		o->line = own_work(root, o, SEED + me * 16 + i);
		if (pt_destroy(root) && !o->line)
			o->line = __LINE__;
	}
}

/* "The caller holds whatever lock protects the root": of different roots none is needed, "on any processor". */
KTEST(mm, check_paging_parallel)
{
	const uint64_t before = free_frames();

	ktest_note("seed", SEED);
	memset(own, 0, sizeof own);
	KASSERT_EQ(cpu_on_each(work_alone, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++)
		KASSERT_EQ(own[i].line, 0);
	KASSERT_EQ(free_frames(), before);
}
