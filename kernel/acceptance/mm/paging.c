/* Acceptance of mm/paging.c: page tables in roots of the tests' own, read back by the interface, by the tests' own eyes, and by the
 * processor. See spec/mm.md. */
#include "cpu.h"
#include "memory.h"

#define HALF      0x0000800000000000ull         /* where the lower half ends */
#define LARGE     LARGE_PAGE_SIZE
#define FAR_PA    0x0000003000000000ull         /* of no RAM; mapped, never touched */

enum { PRESENT = 1, WRITABLE = 2, USER = 4, LARGE_ENTRY = 1 << 7, GLOBAL = 1 << 8 };
#define NO_EXECUTE (1ull << 63)
#define ADDRESS    0x000FFFFFFFFFF000ull

/* What the processor would see: the entry of each level, 3 the root's; a level that is not reached is 0. */
struct entries {
	uint64_t level[4];
};

static struct entries look(paddr_t root, vaddr_t va)
{
	struct entries e = { { 0 } };
	uint64_t table = root;

	for (int l = 3; l >= 0; l--) {
		e.level[l] = *(const volatile uint64_t *)(DIRECT_MAP_BASE + (table & ADDRESS) + 8 * (va >> (12 + 9 * l) & 511));
		if (!(e.level[l] & PRESENT) || (l == 1 && e.level[l] & LARGE_ENTRY))
			break;
		table = e.level[l];
	}
	return e;
}

/* The leaf at va is exactly this one. */
static bool is_leaf(paddr_t root, vaddr_t va, paddr_t pa, size_t size, unsigned prot)
{
	struct pt_entry e = { 1, 1, 1, ~0u };

	return pt_translate(root, va, &e) == 0 && e.va == (va & ~(size - 1)) && e.pa == (pa & ~(size - 1)) && e.size == size &&
		e.prot == prot;
}

static bool is_hole(paddr_t root, vaddr_t va)
{
	struct pt_entry e;

	return pt_translate(root, va, &e) == -ENOENT;
}

/* The protections that there are: all flags in any company, but WRITE with EXEC. */
static bool is_prot(unsigned prot)
{
	return (prot & (VM_WRITE | VM_EXEC)) != (VM_WRITE | VM_EXEC);
}

static void store(void *at)
{
	*(volatile uint64_t *)at = 0x1122334455667788;
}

KTEST(mm, paging_control)
{
	uint32_t a = 7, b, c = 0, d;
	const uint64_t cr0 = HARNESS_READ("mov %%cr0, %0"), cr4 = HARNESS_READ("mov %%cr4, %0");

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	KASSERT_EQ(cr0 >> 16 & 1, 1);                           /* WP */
	KASSERT_EQ(harness_rdmsr(0xC0000080) >> 11 & 1, 1);     /* NXE */
	KASSERT_EQ(cr4 >> 7 & 1, 1);                            /* PGE */
	KASSERT_EQ(cr4 >> 20 & 1, b >> 7 & 1);                  /* SMEP */
	KASSERT_EQ(cr4 >> 21 & 1, b >> 20 & 1);                 /* SMAP */
}

KTEST(mm, paging_map)
{
	const uint64_t before = free_frames();
	const vaddr_t far = HALF - PAGE_SIZE;
	paddr_t root, frame;

	KASSERT_EQ(frame_alloc(FRAME_ZERO, &frame), 0);
	KASSERT_EQ(pt_create(&root), 0);
	KASSERT(is_hole(root, 0));
	KASSERT_EQ(pt_map(root, 0x400000, frame, PAGE_SIZE, VM_WRITE), 0);
	KASSERT_EQ(pt_map(root, far, frame, PAGE_SIZE, VM_READ), 0);
	KASSERT(is_leaf(root, 0x400000, frame, PAGE_SIZE, VM_WRITE));
	KASSERT(is_leaf(root, 0x400fff, frame, PAGE_SIZE, VM_WRITE));
	KASSERT(is_leaf(root, far + 5, frame, PAGE_SIZE, VM_READ));
	KASSERT(is_hole(root, 0x3fffff));
	KASSERT(is_hole(root, 0x401000));
	KASSERT(is_hole(root, far - 1));

	/* written there, read here, and the other way */
	with_root(root, store, (void *)0x400ff0);
	KASSERT_EQ(*(volatile uint64_t *)phys_to_virt(frame + 0xff0), 0x1122334455667788);
	with_root(root, store, phys_to_virt(frame));
	KASSERT_EQ(*(volatile uint64_t *)phys_to_virt(frame), 0x1122334455667788);

	for (unsigned prot = 0; prot <= VM_PROT_MASK; prot++) {
		const vaddr_t va = 0x7000000000 + prot * 0x12345000ull;
		struct entries e;

		if (!is_prot(prot))
			continue;
		KASSERT_EQ(pt_map(root, va, FAR_PA + va, PAGE_SIZE, prot), 0);
		KASSERT(is_leaf(root, va, FAR_PA + va, PAGE_SIZE, prot));
		e = look(root, va);
		KASSERT_EQ(e.level[0] & ADDRESS, FAR_PA + va);
		KASSERT_EQ(e.level[0] & PRESENT, PRESENT);
		KASSERT_EQ(e.level[0] & WRITABLE, prot & VM_WRITE ? WRITABLE : 0);
		KASSERT_EQ(e.level[0] & USER, prot & VM_USER ? USER : 0);
		KASSERT_EQ(e.level[0] & 0x18, prot & VM_UNCACHED ? 0x18 : 0);
		KASSERT_EQ(e.level[0] & GLOBAL, prot & VM_GLOBAL ? GLOBAL : 0);
		KASSERT_EQ(e.level[0] >> 63, !(prot & VM_EXEC));
		for (unsigned l = 1; l <= 3; l++) {
			KASSERT_EQ(e.level[l] & (PRESENT | WRITABLE | USER | LARGE_ENTRY), PRESENT | WRITABLE | USER);
			KASSERT_EQ(e.level[l] >> 63, 0);
		}
	}
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, paging_large)
{
	const vaddr_t va = 0x40000000;
	paddr_t root;
	uint64_t start;

	KASSERT_EQ(pt_create(&root), 0);
	start = free_frames();
	KASSERT_EQ(pt_map(root, va, FAR_PA, 2 * LARGE, VM_WRITE | VM_GLOBAL), 0);
	KASSERT_EQ(free_frames(), start - 2);                   /* no table of the lowest level */
	KASSERT(is_leaf(root, va + 0x1234, FAR_PA, LARGE, VM_WRITE | VM_GLOBAL));
	KASSERT(is_leaf(root, va + LARGE + 0x1234, FAR_PA + LARGE, LARGE, VM_WRITE | VM_GLOBAL));
	KASSERT_EQ(look(root, va).level[1] & (LARGE_ENTRY | GLOBAL | WRITABLE | PRESENT), LARGE_ENTRY | GLOBAL | WRITABLE | PRESENT);
	KASSERT_EQ(look(root, va).level[1] >> 63, 1);
	KASSERT(is_hole(root, va + 2 * LARGE));

	/* a page at either end, and a large one between */
	KASSERT_EQ(pt_map(root, va + 5 * LARGE - PAGE_SIZE, FAR_PA + 7 * LARGE - PAGE_SIZE, LARGE + 2 * PAGE_SIZE, VM_EXEC | VM_USER), 0);
	KASSERT(is_hole(root, va + 5 * LARGE - PAGE_SIZE - 1));
	KASSERT(is_leaf(root, va + 5 * LARGE - 1, FAR_PA + 7 * LARGE - 1, PAGE_SIZE, VM_EXEC | VM_USER));
	KASSERT(is_leaf(root, va + 5 * LARGE, FAR_PA + 7 * LARGE, LARGE, VM_EXEC | VM_USER));
	KASSERT(is_leaf(root, va + 6 * LARGE, FAR_PA + 8 * LARGE, PAGE_SIZE, VM_EXEC | VM_USER));
	KASSERT(is_hole(root, va + 6 * LARGE + PAGE_SIZE));

	/* physical and virtual address are not aligned alike */
	KASSERT_EQ(pt_map(root, va + 8 * LARGE, FAR_PA + PAGE_SIZE, LARGE, VM_READ), 0);
	for (uint64_t at = 0; at < LARGE; at += PAGE_SIZE)
		KASSERT(is_leaf(root, va + 8 * LARGE + at, FAR_PA + PAGE_SIZE + at, PAGE_SIZE, VM_READ));
	KASSERT_EQ(pt_map(root, va + 10 * LARGE + PAGE_SIZE, FAR_PA, LARGE, VM_READ), 0);
	KASSERT(is_leaf(root, va + 10 * LARGE + PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ));
	KASSERT(is_leaf(root, va + 11 * LARGE, FAR_PA + LARGE - PAGE_SIZE, PAGE_SIZE, VM_READ));

	/* where a table stands, though an empty one */
	KASSERT_EQ(pt_map(root, va + 12 * LARGE + PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(pt_unmap(root, va + 12 * LARGE + PAGE_SIZE, PAGE_SIZE), 0);
	KASSERT_EQ(pt_map(root, va + 12 * LARGE, FAR_PA, LARGE, VM_READ), 0);
	KASSERT(is_leaf(root, va + 12 * LARGE, FAR_PA, PAGE_SIZE, VM_READ));
	KASSERT(is_leaf(root, va + 13 * LARGE - 1, FAR_PA + LARGE - 1, PAGE_SIZE, VM_READ));

	KASSERT_EQ(pt_unmap(root, va, 2 * LARGE), 0);
	KASSERT(is_hole(root, va));
	KASSERT(is_hole(root, va + 2 * LARGE - 1));
	KASSERT_EQ(pt_destroy(root), 0);
}

/* What is done to some pages of a large one is not done to the others. */
KTEST(mm, paging_split)
{
	const uint64_t before = free_frames();
	const vaddr_t va = 0x40000000;
	paddr_t root, run;

	KASSERT_EQ(frame_alloc_contig(512, 512, 0, FRAME_ZERO, &run), 0);
	KASSERT_EQ(pt_create(&root), 0);
	for (unsigned round = 0; round < 3; round++) {
		/* protect a page; unmap a page; protect from the middle of one to the middle of the next */
		const vaddr_t first = va + round * 16 * LARGE, from = round < 2 ? first + 77 * PAGE_SIZE : first + 500 * PAGE_SIZE;
		const size_t len = round < 2 ? PAGE_SIZE : LARGE;

		KASSERT_EQ(pt_map(root, first, FAR_PA, 2 * LARGE, VM_WRITE | VM_USER), 0);
		KASSERT_EQ(round == 1 ? pt_unmap(root, from, len) : pt_protect(root, from, len, VM_EXEC), 0);
		for (vaddr_t at = first; at < first + 2 * LARGE; at += PAGE_SIZE) {
			const bool changed = at >= from && at < from + len, split = at < first + LARGE || round == 2;

			if (changed && round == 1)
				KASSERT(is_hole(root, at));
			else
				KASSERT(is_leaf(root, at, FAR_PA + (at - first), split ? PAGE_SIZE : LARGE,
						changed ? VM_EXEC : VM_WRITE | VM_USER));
		}
		if (round == 0)                                 /* a parent that is stricter than its pages would hide them */
			KASSERT_EQ(look(root, from).level[1] & (PRESENT | WRITABLE | USER), PRESENT | WRITABLE | USER);
		KASSERT_EQ(look(root, from).level[1] >> 63, 0);
		KASSERT_EQ(look(root, from).level[1] & LARGE_ENTRY, 0);
	}
	/* what is changed as a whole stays whole */
	KASSERT_EQ(pt_map(root, va + 64 * LARGE, run, LARGE, VM_WRITE), 0);
	KASSERT_EQ(pt_protect(root, va + 64 * LARGE, LARGE, VM_READ), 0);
	KASSERT(is_leaf(root, va + 64 * LARGE, run, LARGE, VM_READ));
	KASSERT_EQ(pt_protect(root, va + 64 * LARGE, LARGE, VM_WRITE), 0);
	KASSERT_EQ(pt_unmap(root, va + 64 * LARGE, 3 * PAGE_SIZE), 0);
	with_root(root, store, (void *)(va + 64 * LARGE + 300 * PAGE_SIZE + 8));
	KASSERT_EQ(*(volatile uint64_t *)phys_to_virt(run + 300 * PAGE_SIZE + 8), 0x1122334455667788);
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(frame_free_contig(run, 512), 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, paging_unmap)
{
	const vaddr_t va = 0x10000000;
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_unmap(root, va, PAGE_SIZE), -ENOENT);
	KASSERT_EQ(pt_map(root, va, FAR_PA, 8 * PAGE_SIZE, VM_WRITE), 0);
	KASSERT_EQ(pt_unmap(root, va + 4 * PAGE_SIZE, PAGE_SIZE), 0);
	KASSERT(is_hole(root, va + 4 * PAGE_SIZE));
	KASSERT_EQ(look(root, va + 4 * PAGE_SIZE).level[0] & PRESENT, 0);
	KASSERT_EQ(pt_unmap(root, va, 8 * PAGE_SIZE), -ENOENT);                 /* a hole in the middle, */
	KASSERT_EQ(pt_unmap(root, va + 4 * PAGE_SIZE, 2 * PAGE_SIZE), -ENOENT); /* at the beginning, */
	KASSERT_EQ(pt_unmap(root, va + 6 * PAGE_SIZE, 3 * PAGE_SIZE), -ENOENT); /* at the end */
	KASSERT_EQ(pt_unmap(root, va + 6 * PAGE_SIZE, LARGE), -ENOENT);
	KASSERT_EQ(pt_protect(root, va, 8 * PAGE_SIZE, VM_READ), -ENOENT);
	KASSERT_EQ(pt_protect(root, va + 6 * PAGE_SIZE, 3 * PAGE_SIZE, VM_READ), -ENOENT);
	for (unsigned i = 0; i < 8; i++)
		if (i != 4)
			KASSERT(is_leaf(root, va + i * PAGE_SIZE, FAR_PA + i * PAGE_SIZE, PAGE_SIZE, VM_WRITE));
	KASSERT_EQ(pt_unmap(root, va, 4 * PAGE_SIZE), 0);
	KASSERT_EQ(pt_unmap(root, va + 5 * PAGE_SIZE, 3 * PAGE_SIZE), 0);
	for (unsigned i = 0; i < 8; i++)
		KASSERT(is_hole(root, va + i * PAGE_SIZE));
	KASSERT_EQ(pt_unmap(root, va, PAGE_SIZE), -ENOENT);
	KASSERT_EQ(pt_map(root, va, FAR_PA, 8 * PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(pt_destroy(root), 0);
}

/* What the processor then lets pass: an access, the address, what it came to. */
struct try {
	void (*access)(void *);
	vaddr_t va;
	int fault;
};

static void attempt(void *arg)
{
	struct try *t = arg;

	t->fault = fault_of(t->access, t->va);
}

static int tried(paddr_t root, void (*access)(void *), vaddr_t va)
{
	struct try t = { access, va, OTHER_FAULT };

	with_root(root, attempt, &t);
	return t.fault;
}

KTEST(mm, paging_protect)
{
	const vaddr_t va = 0x10000000;
	uint32_t a = 7, b, c = 0, d;
	paddr_t root, frame;
	bool smep, smap;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	smep = b >> 7 & 1;
	smap = b >> 20 & 1;
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	harness_memset(phys_to_virt(frame), 0xc3, PAGE_SIZE);   /* ret */
	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(tried(root, memory_read, va), 0);
	KASSERT_EQ(pt_map(root, va, frame, PAGE_SIZE, VM_READ), 0);
	for (unsigned prot = 0; prot <= VM_PROT_MASK; prot++) {
		int read, write, fetch;

		if (!is_prot(prot))
			continue;
		KASSERT_EQ(pt_protect(root, va, PAGE_SIZE, prot), 0);
		KASSERT(is_leaf(root, va, frame, PAGE_SIZE, prot));
		if (prot & VM_GLOBAL)                           /* would outlive the test in the processor */
			continue;
		read = tried(root, memory_read, va);
		write = tried(root, memory_write, va);
		fetch = tried(root, memory_fetch, va);
		if (prot & VM_USER) {                           /* ring 0 has no business there */
			KASSERT_EQ(read, smap ? FAULT_PRESENT : NO_FAULT);
			KASSERT_EQ(write, smap || !(prot & VM_WRITE) ? FAULT_PRESENT | FAULT_WRITE : NO_FAULT);
			KASSERT_EQ(fetch, smep || !(prot & VM_EXEC) ? FAULT_PRESENT | FAULT_FETCH : NO_FAULT);
		} else {
			KASSERT_EQ(read, NO_FAULT);
			KASSERT_EQ(write, prot & VM_WRITE ? NO_FAULT : FAULT_PRESENT | FAULT_WRITE);
			KASSERT_EQ(fetch, prot & VM_EXEC ? NO_FAULT : FAULT_PRESENT | FAULT_FETCH);
		}
	}
	KASSERT_EQ(pt_unmap(root, va, PAGE_SIZE), 0);
	KASSERT_EQ(tried(root, memory_write, va), FAULT_WRITE);
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(frame_free(frame), 0);
}

KTEST(mm, paging_wx)
{
	const vaddr_t va = 0x10000000;
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_map(root, va + LARGE, FAR_PA, LARGE, VM_EXEC), 0);
	for (unsigned prot = 0; prot <= VM_PROT_MASK; prot++)
		if (!is_prot(prot)) {
			KASSERT_EQ(pt_map(root, va, FAR_PA, PAGE_SIZE, prot), -EINVAL);
			KASSERT_EQ(pt_protect(root, va + LARGE, PAGE_SIZE, prot), -EINVAL);
			KASSERT_EQ(pt_protect(root, va + LARGE, LARGE, prot), -EINVAL);
		}
	KASSERT(is_hole(root, va));
	KASSERT(is_leaf(root, va + LARGE, FAR_PA, LARGE, VM_EXEC));
	KASSERT_EQ(pt_destroy(root), 0);
}

KTEST(mm, paging_busy)
{
	const vaddr_t va = 0x40000000;
	uint64_t before;
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_map(root, va + 5 * LARGE, FAR_PA, PAGE_SIZE, VM_EXEC), 0);
	KASSERT_EQ(pt_map(root, va + 9 * LARGE, FAR_PA, LARGE, VM_EXEC), 0);
	before = free_frames();
	KASSERT_EQ(pt_map(root, va, FAR_PA, 5 * LARGE + PAGE_SIZE, VM_READ), -EBUSY);
	KASSERT_EQ(pt_map(root, va + 5 * LARGE, FAR_PA, PAGE_SIZE, VM_EXEC), -EBUSY);
	KASSERT_EQ(pt_map(root, va + 5 * LARGE, FAR_PA, 2 * LARGE, VM_READ), -EBUSY);
	KASSERT_EQ(pt_map(root, va + 5 * LARGE - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_READ), -EBUSY);
	KASSERT_EQ(pt_map(root, va + 9 * LARGE + 33 * PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ), -EBUSY);
	KASSERT_EQ(pt_map(root, va + 8 * LARGE, FAR_PA, 3 * LARGE, VM_READ), -EBUSY);
	KASSERT_EQ(free_frames(), before);
	for (vaddr_t at = va; at < va + 12 * LARGE; at += LARGE / 2)
		if (at != va + 5 * LARGE && (at < va + 9 * LARGE || at >= va + 10 * LARGE))
			KASSERT(is_hole(root, at));
	KASSERT(is_leaf(root, va + 5 * LARGE, FAR_PA, PAGE_SIZE, VM_EXEC));
	KASSERT(is_leaf(root, va + 9 * LARGE, FAR_PA, LARGE, VM_EXEC));
	KASSERT_EQ(pt_destroy(root), 0);
}

KTEST(mm, paging_bad)
{
	static const struct {
		vaddr_t va;
		paddr_t pa;
		size_t len;
		unsigned prot;
	} bad[] = {
		{ 0x10000001, FAR_PA, PAGE_SIZE, 0 },
		{ 0x10000800, FAR_PA, PAGE_SIZE, 0 },
		{ 0x10000000, FAR_PA + 8, PAGE_SIZE, 0 },
		{ 0x10000000, FAR_PA, PAGE_SIZE + 1, 0 },
		{ 0x10000000, FAR_PA, 100, 0 },
		{ 0x10000000, FAR_PA, 0, 0 },
		{ 0x10000000, FAR_PA, -PAGE_SIZE, 0 },                          /* across the hole between the halves */
		{ HALF - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, 0 },
		{ HALF, FAR_PA, PAGE_SIZE, 0 },
		{ 1ull << 63, FAR_PA, PAGE_SIZE, 0 },
		{ -HALF - PAGE_SIZE, FAR_PA, PAGE_SIZE, 0 },
		{ -HALF - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, 0 },
		{ -PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, 0 },                       /* wraps */
		{ -2 * PAGE_SIZE, FAR_PA, 1ull << 48, 0 },
		{ 0x10000000, FAR_PA, PAGE_SIZE, 32 },
		{ 0x10000000, FAR_PA, PAGE_SIZE, 1u << 31 },
		{ 0x10000000, FAR_PA, PAGE_SIZE, VM_WRITE | VM_EXEC },
		{ 0xFFFFA00000000000, FAR_PA, PAGE_SIZE, VM_USER },
		{ 0x10000000, 1ull << 52, PAGE_SIZE, 0 },
		{ 0x10000000, (1ull << 52) - PAGE_SIZE, 2 * PAGE_SIZE, 0 },
		{ 0x10000000, -PAGE_SIZE, 2 * PAGE_SIZE, 0 },
	};
	struct pt_entry e;
	uint64_t before;
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	before = free_frames();
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const bool by_pa = bad[i].pa != FAR_PA, by_prot = bad[i].prot != 0;

		if (pt_map(root, bad[i].va, bad[i].pa, bad[i].len, bad[i].prot) != -EINVAL)
			ktest_note("case", i);
		KASSERT_EQ(pt_map(root, bad[i].va, bad[i].pa, bad[i].len, bad[i].prot), -EINVAL);
		if (!by_pa)
			KASSERT_EQ(pt_protect(root, bad[i].va, bad[i].len, bad[i].prot), -EINVAL);
		if (!by_pa && !by_prot)
			KASSERT_EQ(pt_unmap(root, bad[i].va, bad[i].len), -EINVAL);
	}
	KASSERT_EQ(pt_translate(root, HALF, &e), -EINVAL);
	KASSERT_EQ(pt_translate(root, -HALF - 1, &e), -EINVAL);
	KASSERT_EQ(pt_translate(root, HALF - 1, &e), -ENOENT);
	KASSERT(pt_translate(root, UINT64_MAX, &e) != -EINVAL);
	KASSERT(is_hole(root, 0x10000000));
	KASSERT_EQ(free_frames(), before);
	/* what just is not */
	KASSERT_EQ(pt_map(root, HALF - PAGE_SIZE, (1ull << 52) - PAGE_SIZE, PAGE_SIZE, VM_USER), 0);
	KASSERT(is_leaf(root, HALF - 1, (1ull << 52) - 1, PAGE_SIZE, VM_USER));
	KASSERT_EQ(pt_map(root, 0, 0, PAGE_SIZE, VM_READ), 0);
	KASSERT(is_leaf(root, 0, 0, PAGE_SIZE, VM_READ));
	KASSERT_EQ(pt_destroy(root), 0);
}

/* Ring 3 reaches what is told to be its own, and nothing beside it. */
KTEST(mm, paging_user)
{
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_map(root, 0x40000000, FAR_PA, 2 * PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(pt_protect(root, 0x40001000, PAGE_SIZE, VM_USER | VM_EXEC), 0);
	KASSERT_EQ(look(root, 0x40000000).level[0] & USER, 0);
	KASSERT_EQ(look(root, 0x40001000).level[0] & USER, USER);
	KASSERT_EQ(pt_map(root, 0x80000000, FAR_PA, LARGE, VM_READ), 0);
	KASSERT_EQ(look(root, 0x80000000).level[1] & USER, 0);
	KASSERT_EQ(pt_protect(root, 0x80000000, LARGE, VM_USER), 0);
	KASSERT_EQ(look(root, 0x80000000).level[1] & USER, USER);
	for (unsigned slot = 256; slot < 512; slot++)           /* the kernel's half is the kernel's, in every root */
		KASSERT_EQ(look(root, 0xFFFF000000000000 | (uint64_t)slot << 39).level[3] & USER, 0);
	KASSERT_EQ(pt_map(root, 0xFFFFA00000000000, FAR_PA, PAGE_SIZE, VM_USER), -EINVAL);
	KASSERT_EQ(pt_map(root, 0xFFFFA00000000000, FAR_PA, PAGE_SIZE, VM_USER | VM_WRITE), -EINVAL);
	KASSERT_EQ(pt_protect(root, KERNEL_VIRT_BASE + harness_addr(__kernel_phys_start), PAGE_SIZE, VM_USER), -EINVAL);
	KASSERT_EQ(pt_destroy(root), 0);
}

/* ---- no memory for tables ---- */

enum { SPARES = 16, FAILED = 99 };

static paddr_t spare[SPARES];
static unsigned spared;

/* With 0, 1, 2… frames free, until it can be done: how many that took; FAILED: it left something behind while it could not. */
static unsigned frames_taken(paddr_t root, int (*fn)(paddr_t root), bool (*undone)(paddr_t root))
{
	for (unsigned n = 0;; n++) {
		const int err = fn(root);

		if (err == 0)
			return n;
		if (err != -ENOMEM || free_frames() != n || !undone(root) || spared == SPARES)
			return FAILED;
		frame_free(spare[spared++]);
	}
}

/* Tables on three levels, either side of a border that all have. */
static int map_across(paddr_t root)
{
	return pt_map(root, (1ull << 39) - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_WRITE);
}

/* A page, a large one, a page: one table of each level, and another two at its ends. */
static int map_mixed(paddr_t root)
{
	return pt_map(root, (3ull << 39) + LARGE - PAGE_SIZE, FAR_PA + LARGE - PAGE_SIZE, LARGE + 2 * PAGE_SIZE, VM_WRITE);
}

static int protect_part(paddr_t root)
{
	return pt_protect(root, (1ull << 40) + 500 * PAGE_SIZE, LARGE, VM_READ);
}

static int unmap_part(paddr_t root)
{
	return pt_unmap(root, (1ull << 40) + 8 * LARGE + 500 * PAGE_SIZE, PAGE_SIZE);
}

static int create(paddr_t root)
{
	paddr_t other;
	const int err = pt_create(&other);

	(void)root;
	return err ? err : pt_destroy(other);
}

static bool not_across(paddr_t root)
{
	return is_hole(root, (1ull << 39) - PAGE_SIZE) && is_hole(root, 1ull << 39);
}

static bool not_mixed(paddr_t root)
{
	for (unsigned page = 0; page < 514; page++)
		if (!is_hole(root, (3ull << 39) + LARGE - PAGE_SIZE + page * PAGE_SIZE))
			return false;
	return true;
}

static bool still_large(paddr_t root)
{
	return is_leaf(root, (1ull << 40) + 500 * PAGE_SIZE, FAR_PA, LARGE, VM_WRITE) &&
		is_leaf(root, (1ull << 40) + LARGE, FAR_PA + LARGE, LARGE, VM_WRITE);
}

static bool still_there(paddr_t root)
{
	return is_leaf(root, (1ull << 40) + 8 * LARGE + 500 * PAGE_SIZE, FAR_PA, LARGE, VM_WRITE);
}

static bool always(paddr_t root)
{
	return root != 0;
}

KTEST(mm, paging_oom)
{
	static int (*const works[])(paddr_t) = { map_across, map_mixed, protect_part, unmap_part, create };
	static bool (*const undone[])(paddr_t) = { not_across, not_mixed, still_large, still_there, always };
	static const unsigned wanted[] = { 6, 4, 2, 1, 1 };
	const uint64_t before = free_frames();

	unsigned taken[5];
	paddr_t root, all;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_map(root, 1ull << 40, FAR_PA, 2 * LARGE, VM_WRITE), 0);
	KASSERT_EQ(pt_map(root, (1ull << 40) + 8 * LARGE, FAR_PA, LARGE, VM_WRITE), 0);
	for (unsigned i = 0; i < SPARES; i++)
		KASSERT_EQ(frame_alloc(0, &spare[i]), 0);
	spared = 0;
	all = hog();
	for (unsigned i = 0; i < 5; i++)
		taken[i] = i && taken[i - 1] == FAILED ? FAILED : frames_taken(root, works[i], undone[i]);
	unhog(all);
	while (spared < SPARES)
		frame_free(spare[spared++]);
	for (unsigned i = 0; i < 5; i++)
		KASSERT_EQ(taken[i], wanted[i]);
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(free_frames(), before);
}

/* As many as are then taken. */
KTEST(mm, paging_missing)
{
	uint64_t seed = harness_seed();
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	for (unsigned i = 0; i < 300; i++) {
		const uint64_t r = harness_random(&seed), spread = 39 - 9 * (r & 1);
		const vaddr_t va = (((r >> 8 & 7) << spread) + ((r >> 16 & 1023) << PAGE_SHIFT) + ((r >> 32 & 3) << 21)) % HALF;
		const size_t len = (1 + (r >> 40 & (i % 8 ? 7 : 2047))) * PAGE_SIZE;
		const uint64_t before = free_frames();
		const size_t missing = pt_missing(root, va, len);
		/* not aligned like the address: page by page */
		const int err = pt_map(root, va, FAR_PA + (va + PAGE_SIZE) % LARGE, len, VM_READ);

		KASSERT_EQ(before - free_frames(), err ? 0 : missing);
		if (err == 0)
			KASSERT_EQ(pt_missing(root, va, len), 0);
	}
	KASSERT_EQ(pt_missing(root, HALF - PAGE_SIZE, PAGE_SIZE), 3);
	KASSERT_EQ(pt_destroy(root), 0);
}

/* ---- many roots ---- */

enum { ROOTS = 100 };

KTEST(mm, paging_destroy)
{
	uint64_t seed = harness_seed();
	const uint64_t before = free_frames();
	static paddr_t roots[ROOTS];
	paddr_t frame;

	KASSERT_EQ(frame_alloc(0, &frame), 0);
	for (unsigned i = 0; i < ROOTS; i++) {
		KASSERT_EQ(pt_create(&roots[i]), 0);
		for (unsigned n = harness_random(&seed) % 8; n; n--) {
			const vaddr_t va = harness_random(&seed) % HALF & ~(PAGE_SIZE - 1);

			KASSERT_EQ(pt_map(roots[i], va, frame, PAGE_SIZE, VM_WRITE), 0);
			if (harness_random(&seed) % 4 == 0)
				KASSERT_EQ(pt_unmap(roots[i], va, PAGE_SIZE), 0);
		}
		if (i % 4 == 0)
			KASSERT_EQ(pt_map(roots[i], i * 0x8000000000ull, FAR_PA, 3 * LARGE + PAGE_SIZE, VM_EXEC), 0);
		if (i % 8 == 0)
			KASSERT_EQ(pt_protect(roots[i], i * 0x8000000000ull + 5 * PAGE_SIZE, PAGE_SIZE, VM_WRITE), 0);
	}
	for (unsigned i = 0; i < ROOTS; i++)
		KASSERT_EQ(pt_destroy(roots[i]), 0);
	KASSERT_EQ(free_frames(), before - 1);
	KASSERT_EQ(frame_free(frame), 0);               /* what was mapped is not freed with the tables */
	KASSERT_EQ(pt_destroy(kernel_root), -EINVAL);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(kernel_root % PAGE_SIZE, 0);
	KASSERT(kernel_root < 4ull << 30);              /* other processors start with it in 32 bits */
}

/* ---- walking ---- */

enum { SEEN_MAX = 16 };

static struct pt_entry seen[SEEN_MAX];
static unsigned seen_count, stop_at;

static int see(const struct pt_entry *e, void *arg)
{
	if (arg != &seen_count || seen_count == SEEN_MAX)
		return -77;
	seen[seen_count++] = *e;
	return seen_count == stop_at ? 42 : 0;
}

/* Which leaves are seen from lo to hi: their addresses' bits 39 and above say which they are, in hexadecimal, first first. */
static uint64_t walk(paddr_t root, vaddr_t lo, vaddr_t hi)
{
	uint64_t which = 0;

	seen_count = 0;
	if (pt_walk(root, lo, hi, see, &seen_count) != (stop_at ? 42 : 0))
		return 0xbad;
	for (unsigned i = 0; i < seen_count; i++)
		which = which << 4 | (seen[i].va >> 39 & 15);
	return which;
}

KTEST(mm, paging_walk)
{
	paddr_t root;

	stop_at = 0;
	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(walk(root, 0, HALF - 1), 0);
	KASSERT_EQ(pt_map(root, (5ull << 39) + 0x5000, FAR_PA, PAGE_SIZE, VM_USER), 0);
	KASSERT_EQ(pt_map(root, (1ull << 39) + LARGE, FAR_PA, 2 * LARGE, VM_EXEC), 0);
	KASSERT_EQ(pt_map(root, (3ull << 39) - PAGE_SIZE, FAR_PA, 2 * PAGE_SIZE, VM_WRITE), 0);
	KASSERT_EQ(pt_map(root, HALF - PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(walk(root, 0, HALF - 1), 0x11235f);
	KASSERT_EQ(seen[0].size, LARGE);
	KASSERT_EQ(seen[1].va, (1ull << 39) + 2 * LARGE);
	KASSERT_EQ(seen[1].pa, FAR_PA + LARGE);
	KASSERT_EQ(seen[2].size, PAGE_SIZE);
	KASSERT_EQ(seen[2].prot, VM_WRITE);
	KASSERT_EQ(seen[4].va, (5ull << 39) + 0x5000);
	KASSERT_EQ(seen[4].prot, VM_USER);
	KASSERT_EQ(seen[5].va, HALF - PAGE_SIZE);
	/* from and to within a leaf, which is told as a whole; the last byte belongs to it */
	KASSERT_EQ(walk(root, (1ull << 39) + LARGE + 77, (3ull << 39) - PAGE_SIZE), 0x112);
	KASSERT_EQ(seen[0].va, (1ull << 39) + LARGE);
	KASSERT_EQ(walk(root, (1ull << 39) + 2 * LARGE - 1, (1ull << 39) + 2 * LARGE - 1), 1);
	KASSERT_EQ(seen[0].va, (1ull << 39) + LARGE);
	KASSERT_EQ(walk(root, (1ull << 39) + 3 * LARGE, (3ull << 39) - PAGE_SIZE - 1), 0);
	KASSERT_EQ(walk(root, (3ull << 39) + PAGE_SIZE - 1, (5ull << 39) + 0x4fff), 3);
	KASSERT_EQ(walk(root, HALF - 1, HALF - 1), 0xf);
	stop_at = 3;
	KASSERT_EQ(walk(root, 0, HALF - 1), 0x112);
	stop_at = 1;                                    /* the kernel's half, to the very last byte */
	KASSERT(walk(root, harness_addr(__text_start), UINT64_MAX) != 0xbad);
	KASSERT_EQ(seen[0].va & ~(seen[0].size - 1), harness_addr(__text_start) & ~(seen[0].size - 1));
	stop_at = 0;
	KASSERT_EQ(walk(root, UINT64_MAX - PAGE_SIZE, UINT64_MAX), 0);
	KASSERT_EQ(pt_destroy(root), 0);
}

/* A value from one half ends it, the other is not begun; without one it goes on there. */
KTEST(mm, paging_walk_halves)
{
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	KASSERT_EQ(pt_map(root, 1ull << 39, FAR_PA, PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(pt_map(root, HALF - PAGE_SIZE, FAR_PA, PAGE_SIZE, VM_READ), 0);
	stop_at = 1;
	KASSERT_EQ(walk(root, 0, UINT64_MAX), 1);
	stop_at = 2;
	KASSERT_EQ(walk(root, 0, UINT64_MAX), 0x1f);
	stop_at = 3;
	KASSERT(walk(root, 0, UINT64_MAX) != 0xbad);
	KASSERT(seen[2].va >= -HALF);
	stop_at = 0;
	KASSERT_EQ(pt_destroy(root), 0);
}

/* ---- random work against one word a page ---- */

enum { PAGES = 4096, RANDOM_OPERATIONS = 20000 };

#define WINDOW ((7ull << 39) - PAGES / 2 * PAGE_SIZE)    /* across borders of all levels */

static uint64_t expected[PAGES];        /* pa | protection + 1; 0: not mapped */

static uint64_t found(paddr_t root, uint64_t page)
{
	const vaddr_t va = WINDOW + page * PAGE_SIZE;
	struct pt_entry e;

	if (pt_translate(root, va, &e))
		return 0;
	return (e.pa + (va - e.va)) | (e.prot + 1);
}

static unsigned random_prot(uint64_t *seed)
{
	unsigned prot;

	do
		prot = harness_random(seed) & VM_PROT_MASK;
	while (!is_prot(prot));
	return prot;
}

KTEST(mm, paging_random)
{
	uint64_t seed = harness_seed(), wrong = 0;
	const uint64_t before = free_frames();
	paddr_t root;

	KASSERT_EQ(pt_create(&root), 0);
	harness_memset(expected, 0, sizeof expected);
	for (unsigned i = 0; i < RANDOM_OPERATIONS && !wrong; i++) {
		const uint64_t r = harness_random(&seed);
		const bool large = (r >> 8 & 31) == 0;
		const unsigned prot = random_prot(&seed);
		uint64_t page = r >> 16 & (PAGES - 1), n = 1 + (r >> 28 & 15), mapped = 0, pa;
		int err, wanted;

		if (large) {
			page &= ~511ull;
			n = 512 * (1 + (r >> 28 & 1)) + (r >> 29 & 1);
		}
		if (n > PAGES - page)
			n = PAGES - page;
		pa = FAR_PA + (page + (r >> 40 & 1) + 512 * (r >> 41 & 15)) * PAGE_SIZE;
		for (uint64_t p = page; p < page + n; p++)
			mapped += expected[p] != 0;
		switch (r >> 48 & 3) {
		case 0:
		case 1:
			err = pt_map(root, WINDOW + page * PAGE_SIZE, pa, n * PAGE_SIZE, prot);
			wanted = mapped ? -EBUSY : 0;
			for (uint64_t p = page; p < page + n && !wanted; p++, pa += PAGE_SIZE)
				expected[p] = pa | (prot + 1);
			break;
		case 2:
			err = pt_unmap(root, WINDOW + page * PAGE_SIZE, n * PAGE_SIZE);
			wanted = mapped < n ? -ENOENT : 0;
			for (uint64_t p = page; p < page + n && !wanted; p++)
				expected[p] = 0;
			break;
		default:
			err = pt_protect(root, WINDOW + page * PAGE_SIZE, n * PAGE_SIZE, prot);
			wanted = mapped < n ? -ENOENT : 0;
			for (uint64_t p = page; p < page + n && !wanted; p++)
				expected[p] = (expected[p] & ~(PAGE_SIZE - 1)) | (prot + 1);
		}
		wrong += err != wanted;
		for (unsigned k = 0; k < 4; k++) {
			const uint64_t p = k == 0 ? page : k == 1 ? page + n - 1 : harness_random(&seed) % PAGES;

			wrong += found(root, p) != expected[p];
		}
		if (i % 2048 == 0)
			for (uint64_t p = 0; p < PAGES; p++)
				wrong += found(root, p) != expected[p];
		if (wrong)
			ktest_note("operation", i);
	}
	for (uint64_t p = 0; p < PAGES; p++)
		wrong += found(root, p) != expected[p];
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(pt_destroy(root), 0);
	KASSERT_EQ(free_frames(), before);
}

/* ---- what it costs ---- */

static paddr_t cost_root, cost_frame;

static void map_unmap(uint64_t n)
{
	const vaddr_t va = 0x40000000;

	for (uint64_t i = 0; i < n; i++) {
		pt_map(cost_root, va, cost_frame, PAGE_SIZE, VM_WRITE);
		pt_unmap(cost_root, va, PAGE_SIZE);
		__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
	}
}

static bool cost_begin(void)
{
	return frame_alloc(0, &cost_frame) == 0 && pt_create(&cost_root) == 0 &&
		pt_map(cost_root, 0x40001000, cost_frame, PAGE_SIZE, VM_READ) == 0;
}

static void cost_end(void)
{
	pt_destroy(cost_root);
	frame_free(cost_frame);
}

KBENCH(mm, map_unmap)
{
	if (!cost_begin())
		return;
	map_unmap(n);
	cost_end();
}

/* In boots that count instructions. */
KTEST(mm, map_cost)
{
	enum { CEILING = 250 };
	uint64_t cost;

	if (!harness_counting())
		return;
	KASSERT(cost_begin());
	cost = ticks_each(map_unmap);
	cost_end();
	ktest_note("instructions", cost);
	KASSERT(cost > 6);
	KASSERT(cost <= CEILING);
}
