/* Acceptance of mm/memmap.c: what is made of a memory map. See spec/mm.md. */
#include "internal.h"
#include "mm.h"

enum { USABLE = BOOT_MEM_USABLE, RESERVED = BOOT_MEM_RESERVED, MAX = 40 };

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct mm_range out[MAX];
static size_t count;

/* The result is exactly these ranges. */
static bool gives(const struct boot_mem *in, size_t n, const struct mm_range *wanted, size_t n_wanted)
{
	int err;

	count = 77;
	err = memmap_normalise(in, n, out, MAX, &count);
	if (err || count != n_wanted) {
		ktest_note("ranges", err ? 0 : count);
		return false;
	}
	for (size_t i = 0; i < count; i++)
		if (out[i].base != wanted[i].base || out[i].len != wanted[i].len) {
			ktest_note("range", i);
			ktest_note("base", out[i].base);
			ktest_note("len", out[i].len);
			return false;
		}
	return true;
}

KTEST(mm, memmap_sorted)
{
	static const struct boot_mem in[] = {
		{ 0x500000, 0x1000, USABLE, 0 },
		{ 0x100000, 0x2000, USABLE, 0 },
		{ 0x300000, 0x1000, USABLE, 0 },
		{ 0x102000, 0x3000, USABLE, 0 },        /* goes on where the second ends */
		{ 0x2FF000, 0x1000, USABLE, 0 },        /* ends where the third begins */
		{ 0x500800, 0x2000, USABLE, 0 },        /* overlaps the first */
		{ 0x500000, 0x1000, USABLE, 0 },        /* is the first */
		{ 1ull << 40, 1ull << 30, USABLE, 0 },
	};
	static const struct mm_range wanted[] = {
		{ 0x100000, 0x5000 }, { 0x2FF000, 0x2000 }, { 0x500000, 0x2000 }, { 1ull << 40, 1ull << 30 },
	};

	KASSERT(gives(in, COUNT(in), wanted, COUNT(wanted)));
	KASSERT(gives(in, 0, wanted, 0));
}

/* Whatever comes first, what is not usable wins. */
KTEST(mm, memmap_overlap)
{
	static const struct boot_mem in[] = {
		{ 0x100000, 0x10000, USABLE, 0 },
		{ 0x104000, 0x2000, BOOT_MEM_ACPI, 0 },         /* nested */
		{ 0x108000, 0x1000, BOOT_MEM_NVS, 0 },
		{ 0x200000, 0x4000, BOOT_MEM_BAD, 0 },          /* equal */
		{ 0x200000, 0x4000, USABLE, 0 },
		{ 0x300000, 0x4000, RESERVED, 0 },              /* straddling either end */
		{ 0x302000, 0x8000, USABLE, 0 },
		{ 0x309000, 0x4000, RESERVED, 0 },
		{ 0x3ff000, 0x9000, RESERVED, 0 },              /* around it */
		{ 0x400000, 0x4000, USABLE, 0 },
		{ 0x500000, 0x4000, USABLE, 0 },                /* two of either kind */
		{ 0x502000, 0x4000, USABLE, 0 },
		{ 0x501000, 0x2000, RESERVED, 0 },
		{ 0x502000, 0x2000, 77, 0 },                    /* of no known kind */
	};
	static const struct mm_range wanted[] = {
		{ 0x100000, 0x4000 }, { 0x106000, 0x2000 }, { 0x109000, 0x7000 }, { 0x304000, 0x5000 },
		{ 0x500000, 0x1000 }, { 0x504000, 0x2000 },
	};
	struct boot_mem reversed[COUNT(in)];

	for (size_t i = 0; i < COUNT(in); i++)
		reversed[i] = in[COUNT(in) - 1 - i];
	KASSERT(gives(in, COUNT(in), wanted, COUNT(wanted)));
	KASSERT(gives(reversed, COUNT(in), wanted, COUNT(wanted)));
}

KTEST(mm, memmap_partial)
{
	static const struct boot_mem in[] = {
		{ 0, 0x9fc00, USABLE, 0 },                      /* without frame 0; its last page is not whole */
		{ 0x100001, 0x3fff, USABLE, 0 },
		{ 0x200000, 0x10000, USABLE, 0 },
		{ 0x203fff, 2, RESERVED, 0 },                   /* two bytes, two pages */
		{ 0x300800, 0x1000, USABLE, 0 },                /* no whole page */
		{ 0x300fff, 1, USABLE, 0 },
		{ 0x400000, 0x1800, USABLE, 0 },                /* two halves are no whole */
		{ 0x401800, 0x1800, USABLE, 0 },
	};
	static const struct mm_range wanted[] = {
		{ 0x1000, 0x9e000 }, { 0x101000, 0x3000 }, { 0x200000, 0x3000 }, { 0x205000, 0xb000 },
		{ 0x400000, 0x1000 }, { 0x402000, 0x1000 },
	};

	KASSERT(gives(in, COUNT(in), wanted, COUNT(wanted)));
}

KTEST(mm, memmap_bad)
{
	struct boot_mem in[] = {
		{ 0x100000, 0x1000, USABLE, 0 },
		{ 0x100000, 0, RESERVED, 0 },                   /* nothing */
		{ 0x300000, 0, USABLE, 0 },
		{ (1ull << 52) - 0x3000, 1ull << 60, USABLE, 0 },
		{ (1ull << 52) - 0x1000, 1ull << 40, RESERVED, 0 },
		{ 1ull << 52, 0x1000, USABLE, 0 },
		{ UINT64_MAX - 0xfff, 0x1000, RESERVED, 0 },    /* ends with what 64 bits can say */
	};
	static const struct mm_range wanted[] = { { 0x100000, 0x1000 }, { (1ull << 52) - 0x3000, 0x2000 } };
	static const struct boot_mem wraps[] = {
		{ UINT64_MAX - 0xfff, 0x1001, RESERVED, 0 },
		{ UINT64_MAX, 0x3000, USABLE, 0 },
		{ 0x100000, UINT64_MAX, BOOT_MEM_NVS, 0 },
	};

	KASSERT(gives(in, COUNT(in), wanted, COUNT(wanted)));
	for (size_t i = 0; i < COUNT(wraps); i++) {
		in[6] = wraps[i];
		KASSERT_EQ(memmap_normalise(in, COUNT(in), out, MAX, &count), -EINVAL);
	}
	KASSERT_EQ(memmap_normalise(NULL, 1, out, MAX, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(in, 1, NULL, 1, &count), -EINVAL);
	KASSERT_EQ(memmap_normalise(NULL, 0, NULL, 0, &count), 0);
	KASSERT_EQ(count, 0);
}

KTEST(mm, memmap_space)
{
	struct boot_mem in[MAX];

	for (size_t i = 0; i < MAX; i++)
		in[i] = (struct boot_mem){ 0x100000 + 0x2000 * i, 0x1000, USABLE, 0 };
	out[5] = (struct mm_range){ 0x5a5a, 0x5a5a };
	KASSERT_EQ(memmap_normalise(in, 5, out, 5, &count), 0);
	KASSERT_EQ(count, 5);
	KASSERT_EQ(memmap_normalise(in, 6, out, 5, &count), -ENOSPC);
	KASSERT_EQ(memmap_normalise(in, 1, NULL, 0, &count), -ENOSPC);
	KASSERT_EQ(out[5].base, 0x5a5a);
	in[5].base = in[4].base + 0x1000;               /* joined, it takes no room */
	KASSERT_EQ(memmap_normalise(in, 6, out, 5, &count), 0);
	KASSERT_EQ(count, 5);
	KASSERT_EQ(out[4].len, 0x2000);
}

/* ---- random maps against one byte a page ---- */

enum { PAGES = 64, ENTRIES = 12, MAPS = 2000 };

static uint8_t usable[PAGES];

/* Marks what the entry gives or takes: whole pages of the one, all pages that the other touches. */
static void mark(const struct boot_mem *e, bool give)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		const uint64_t first = page * PAGE_SIZE, last = first + PAGE_SIZE;

		if (e->len && give && e->type == USABLE && e->base <= first && last <= e->base + e->len)
			usable[page] = 1;
		if (e->len && !give && e->type != USABLE && e->base < last && first < e->base + e->len)
			usable[page] = 0;
	}
}

KTEST(mm, memmap_random)
{
	uint64_t seed = harness_seed();

	for (unsigned round = 0; round < MAPS; round++) {
		const size_t n = harness_random(&seed) % (ENTRIES + 1);
		struct boot_mem in[ENTRIES];
		size_t page = 0;

		harness_memset(usable, 0, sizeof usable);
		for (size_t i = 0; i < n; i++) {
			in[i].base = harness_random(&seed) % (PAGES * PAGE_SIZE);
			in[i].len = harness_random(&seed) % (PAGES * PAGE_SIZE / 4);
			if (harness_random(&seed) % 2) {                /* neighbours meet only at whole pages */
				in[i].base &= ~(PAGE_SIZE - 1);
				in[i].len &= ~(PAGE_SIZE - 1);
			}
			if (in[i].base + in[i].len > PAGES * PAGE_SIZE)
				in[i].len = PAGES * PAGE_SIZE - in[i].base;
			in[i].type = harness_random(&seed) % 3 ? USABLE : 2 + (uint32_t)harness_random(&seed) % 5;
			in[i].zero = 0;
		}
		for (size_t i = 0; i < n; i++)
			mark(&in[i], true);
		for (size_t i = 0; i < n; i++)
			mark(&in[i], false);
		usable[0] = 0;

		KASSERT_EQ(memmap_normalise(in, n, out, MAX, &count), 0);
		for (size_t i = 0; i < count; i++) {
			const size_t first = out[i].base / PAGE_SIZE, last = first + out[i].len / PAGE_SIZE;

			KASSERT_EQ(out[i].base % PAGE_SIZE, 0);
			KASSERT_EQ(out[i].len % PAGE_SIZE, 0);
			KASSERT(last > first);
			KASSERT(last <= PAGES);
			KASSERT(page ? first > page : first >= page);   /* ascending, and what is adjacent is joined */
			for (; page < first; page++)
				KASSERT_EQ(usable[page], 0);
			for (; page < last; page++)
				KASSERT_EQ(usable[page], 1);
		}
		for (; page < PAGES; page++)
			KASSERT_EQ(usable[page], 0);
	}
}
