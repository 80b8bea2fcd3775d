/* Page tables by their root. See spec/mm.md, "paging". The caller serialises work on one root, and flushes TLBs.
 *
 * All that changes tables goes over its range twice: the first time it only looks, and counts the tables that the work
 * will take; these are allocated; the second time it does the work and cannot fail. So a call that fails has changed
 * nothing. Ranges are inclusive inside of this file: one may end with the last byte there is.
 *
 * Other processors may be walking the tables at any time: an entry is written by one store, and a table is complete
 * before an entry points at it. Tables go away in pt_destroy only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "panic.h"
#include "string.h"

#define PTE_P       (1ul << 0)
#define PTE_RW      (1ul << 1)
#define PTE_US      (1ul << 2)
#define PTE_PWT     (1ul << 3)
#define PTE_PCD     (1ul << 4)
#define PTE_PS      (1ul << 7)                  /* in a page directory: a leaf. Leaves of page tables have it 0 */
#define PTE_G       (1ul << 8)
#define PTE_ADDRESS 0x000FFFFFFFFFF000ul
#define PTE_NX      (1ul << 63)

#define PHYS_END    (1ul << 52)
#define LOWER_END   0x0000800000000000ul        /* canonical: below this, */
#define UPPER_START 0xFFFF800000000000ul        /* or from here on */

/* Levels of tables: 0 a page table, 1 a page directory, whose leaves are large, up to the root. */
enum { LARGE_LEVEL = 1, ROOT_LEVEL = 3, ENTRIES = 512 };
_Static_assert(PAGE_SIZE == ENTRIES * sizeof(uint64_t), "a table is a frame");

paddr_t kernel_root;

/* ---- entries ---- */

/* log2 of the bytes that an entry of that level stands for. */
static inline unsigned entry_shift(unsigned level)
{
	return PAGE_SHIFT + 9 * level;
}

/* The last byte of what the entry for va stands for. */
static inline vaddr_t entry_last(unsigned level, vaddr_t va)
{
	return va | ((1ul << entry_shift(level)) - 1);
}

/* Is [lo, hi], which lies within an entry of that level, all of it? */
static inline bool is_whole(unsigned level, vaddr_t lo, vaddr_t hi)
{
	return hi - lo == (1ul << entry_shift(level)) - 1;
}

static inline uint64_t *entry_at(paddr_t table, unsigned level, vaddr_t va)
{
	return (uint64_t *)phys_to_virt(table) + (va >> entry_shift(level)) % ENTRIES;
}

/* Does the entry point at a table of the next level? Otherwise it is a leaf or absent. */
static inline bool is_table(uint64_t entry, unsigned level)
{
	return level && (entry & (PTE_P | PTE_PS)) == PTE_P;
}

/* What was written before, a table that value points at, is seen by who sees value. */
static inline void set_entry(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* The leaves below decide alone what may be done, but that nothing in the upper half is the user's. */
static uint64_t table_entry(paddr_t table, vaddr_t va)
{
	return table | PTE_P | PTE_RW | (va < LOWER_END ? PTE_US : 0);
}

/* A leaf's bits without address and PTE_PS; never 0. */
static inline uint64_t leaf_bits(unsigned prot)
{
	return PTE_P | (prot & VM_WRITE ? PTE_RW : 0) | (prot & VM_USER ? PTE_US : 0) |
		(prot & VM_UNCACHED ? PTE_PCD | PTE_PWT : 0) | (prot & VM_GLOBAL ? PTE_G : 0) |
		(prot & VM_EXEC ? 0 : PTE_NX);
}

/* The leaf, an entry of that level, that holds va. */
static struct pt_entry leaf_at(uint64_t leaf, unsigned level, vaddr_t va)
{
	const size_t size = 1ul << entry_shift(level);

	return (struct pt_entry){
		.va = va & ~(size - 1),
		.pa = leaf & PTE_ADDRESS,
		.size = size,
		.prot = (leaf & PTE_RW ? VM_WRITE : 0) | (leaf & PTE_US ? VM_USER : 0) |
			(leaf & PTE_PCD ? VM_UNCACHED : 0) | (leaf & PTE_G ? VM_GLOBAL : 0) |
			(leaf & PTE_NX ? 0 : VM_EXEC),
	};
}

/* ---- ways through the tables ---- */

/* The entry at which the way to va ends, and its level: a leaf or absent. */
static inline uint64_t *find(paddr_t root, vaddr_t va, unsigned *level)
{
	uint64_t *entry = entry_at(root, ROOT_LEVEL, va);

	for (*level = ROOT_LEVEL; is_table(*entry, *level); --*level)
		entry = entry_at(*entry & PTE_ADDRESS, *level - 1, va);
	return entry;
}

/* Calls fn for each entry that meets [lo, hi] and is a leaf or absent, ascending, with that part of [lo, hi] that lies
 * within it; stops at and returns fn's first value that is not 0. What fn puts in place of the entry is not looked at.
 * [lo, hi] is not empty and lies within the table, of that level; in the root within one half. */
static int visit(paddr_t table, unsigned level, vaddr_t lo, vaddr_t hi,
	int (*fn)(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg), void *arg)
{
	for (vaddr_t at = lo;; at = entry_last(level, at) + 1) {
		uint64_t *const entry = entry_at(table, level, at);
		const vaddr_t entry_end = entry_last(level, at), end = entry_end < hi ? entry_end : hi;
		const int err = is_table(*entry, level) ? visit(*entry & PTE_ADDRESS, level - 1, at, end, fn, arg) :
			fn(entry, level, at, end, arg);

		if (err || end == hi)
			return err;
	}
}

/* ---- tables ---- */

/* Frees a table of ours. */
static void free_table(paddr_t table)
{
	if (frame_free(table))
		panic("mm: a page table is no allocated frame");
}

/* Takes the first table off a chain, which is long enough. */
static paddr_t take_table(paddr_t *chain)
{
	const paddr_t table = *chain;
	paddr_t *const next = phys_to_virt(table);

	*chain = *next;
	*next = 0;
	return table;
}

/* Allocates count tables; *chain, which is 0, becomes the first, whose first word is the next, the last one's 0; all
 * else in them is 0. -ENOMEM, and none is kept. */
static int alloc_tables(size_t count, paddr_t *chain)
{
	for (; count; count--) {
		paddr_t table;
		const int err = frame_alloc(FRAME_ZERO, &table);

		if (err) {
			while (*chain)
				free_table(take_table(chain));
			return err;
		}
		*(paddr_t *)phys_to_virt(table) = *chain;
		*chain = table;
	}
	return 0;
}

/* Frees a table, of that level, and all tables that its first `entries` entries lead to. */
static void free_tree(paddr_t table, unsigned level, unsigned entries)
{
	const uint64_t *const entry = phys_to_virt(table);

	for (unsigned i = 0; level && i < entries; i++)
		if (is_table(entry[i], level))
			free_tree(entry[i] & PTE_ADDRESS, level - 1, ENTRIES);
	free_table(table);
}

int pt_create(paddr_t *root)
{
	enum { UPPER = ENTRIES / 2 };
	uint64_t model = kernel_root, *to;
	const int err = frame_alloc(FRAME_ZERO, root);

	if (err)
		return err;
	if (!model)
		__asm__ volatile("movq %%cr3, %0" : "=r"(model));
	to = phys_to_virt(*root);
	memcpy(to + UPPER, (const uint64_t *)phys_to_virt(model & PTE_ADDRESS) + UPPER, UPPER * sizeof *to);
	return 0;
}

int pt_destroy(paddr_t root)
{
	if (root == kernel_root)
		return -EINVAL;
	free_tree(root, ROOT_LEVEL, ENTRIES / 2);
	return 0;
}

/* A single page whose table is there is the common case: pt_map, pt_unmap and pt_protect go through the tables once for
 * it. All else is a call at their end, so that this case has few registers to save: see mm.map_cost. */
#define SLOW __attribute__((noinline))

/* ---- what is refused ---- */

static inline bool is_canonical(vaddr_t va)
{
	return va < LOWER_END || va >= UPPER_START;
}

static inline bool range_good(vaddr_t va, size_t len)
{
	const vaddr_t last = va + len - 1;

	return (va | len) % PAGE_SIZE == 0 && len && last >= va &&
		(va < LOWER_END ? last < LOWER_END : va >= UPPER_START);
}

static inline bool prot_good(vaddr_t va, unsigned prot)
{
	return !(prot & ~VM_PROT_MASK) && (prot & (VM_WRITE | VM_EXEC)) != (VM_WRITE | VM_EXEC) &&
		(!(prot & VM_USER) || va < LOWER_END);
}

/* ---- mapping ---- */

struct mapping {
	uint64_t offset;                                /* pa - va, modulo 2^64 */
	uint64_t bits;                                  /* the leaves' */
	bool large;                                     /* va and pa are aligned alike: large pages can be had */
	size_t missing;
	paddr_t tables;                                 /* a chain */
};

/* How many tables an absent entry of that level lacks for [lo, hi], which lies within it: one for each entry of its own
 * level and those below down to the page directories', but for what becomes a large page. */
static size_t count_tables(unsigned level, vaddr_t lo, vaddr_t hi, bool large)
{
	size_t count = 0;

	for (unsigned l = LARGE_LEVEL; l <= level; l++)
		count += (hi >> entry_shift(l)) - (lo >> entry_shift(l)) + 1;
	if (large) {                                    /* whole ones in [lo, hi]; counted by number, bytes could wrap */
		const uint64_t first = lo / LARGE_PAGE_SIZE + (lo % LARGE_PAGE_SIZE != 0);
		const uint64_t end = hi / LARGE_PAGE_SIZE + (hi % LARGE_PAGE_SIZE == LARGE_PAGE_SIZE - 1);

		count -= first < end ? end - first : 0;
	}
	return count;
}

static int count_missing(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	struct mapping *const m = arg;

	if (!(*entry & PTE_P))
		m->missing += count_tables(level, lo, hi, m->large);
	return 0;
}

static int expect_absent(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	return *entry & PTE_P ? -EBUSY : count_missing(entry, level, lo, hi, arg);
}

/* Takes just the tables that count_missing has counted. */
static int fill(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	struct mapping *const m = arg;
	paddr_t table;

	if (!level || (level == LARGE_LEVEL && m->large && is_whole(level, lo, hi))) {
		set_entry(entry, (lo + m->offset) | m->bits | (level ? PTE_PS : 0));
		return 0;
	}
	table = take_table(&m->tables);
	set_entry(entry, table_entry(table, lo));
	return visit(table, level - 1, lo, hi, fill, m);
}

/* The arguments are pt_map's, and good. */
static SLOW int map_range(paddr_t root, vaddr_t va, paddr_t pa, size_t len, unsigned prot)
{
	const vaddr_t last = va + len - 1;
	struct mapping m = {
		.offset = pa - va, .bits = leaf_bits(prot), .large = (va ^ pa) % LARGE_PAGE_SIZE == 0,
	};
	int err = visit(root, ROOT_LEVEL, va, last, expect_absent, &m);

	if (!err)
		err = alloc_tables(m.missing, &m.tables);
	return err ? err : visit(root, ROOT_LEVEL, va, last, fill, &m);
}

int pt_map(paddr_t root, vaddr_t va, paddr_t pa, size_t len, unsigned prot)
{
	unsigned level;
	uint64_t *entry;

	if (!range_good(va, len) || !prot_good(va, prot) || pa % PAGE_SIZE || pa >= PHYS_END || len > PHYS_END - pa)
		return -EINVAL;
	if (len == PAGE_SIZE) {
		entry = find(root, va, &level);
		if (*entry & PTE_P)
			return -EBUSY;
		if (!level) {
			set_entry(entry, pa | leaf_bits(prot));
			return 0;
		}
	}
	return map_range(root, va, pa, len, prot);
}

size_t pt_missing(paddr_t root, vaddr_t va, size_t len)
{
	struct mapping m = { .large = false };

	visit(root, ROOT_LEVEL, va, va + len - 1, count_missing, &m);
	return m.missing;
}

/* ---- changing what is mapped ---- */

struct change {
	uint64_t bits;                                  /* the leaves' from now on; 0: there are none */
	size_t splits;                                  /* at most 2: only a leaf at an end is not whole */
	paddr_t tables;                                 /* a chain */
};

static int expect_leaf(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	struct change *const c = arg;

	if (!(*entry & PTE_P))
		return -ENOENT;
	c->splits += !is_whole(level, lo, hi);
	return 0;
}

static inline void change_leaf(uint64_t *leaf, uint64_t bits)
{
	set_entry(leaf, bits ? (*leaf & (PTE_ADDRESS | PTE_PS)) | bits : 0);
}

/* A large leaf that is changed in part becomes a table first, with the same translations: who still has the large page
 * in its TLB is right about all but what is changed, and for that the caller flushes. */
static int change(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	struct change *const c = arg;
	uint64_t *page;
	paddr_t table;

	if (is_whole(level, lo, hi)) {
		change_leaf(entry, c->bits);
		return 0;
	}
	table = take_table(&c->tables);
	page = phys_to_virt(table);
	for (unsigned i = 0; i < ENTRIES; i++)
		page[i] = (*entry & ~PTE_PS) + i * PAGE_SIZE;
	set_entry(entry, table_entry(table, lo));
	return visit(table, level - 1, lo, hi, change, c);
}

static SLOW int change_range(paddr_t root, vaddr_t va, size_t len, uint64_t bits)
{
	const vaddr_t last = va + len - 1;
	struct change c = { .bits = bits };
	int err = visit(root, ROOT_LEVEL, va, last, expect_leaf, &c);

	if (!err)
		err = alloc_tables(c.splits, &c.tables);
	return err ? err : visit(root, ROOT_LEVEL, va, last, change, &c);
}

/* pt_unmap and pt_protect: gives the leaves of a good range new bits, or with 0 takes them away. */
static inline int change_leaves(paddr_t root, vaddr_t va, size_t len, uint64_t bits)
{
	unsigned level;
	uint64_t *entry;

	if (len == PAGE_SIZE) {
		entry = find(root, va, &level);
		if (!(*entry & PTE_P))
			return -ENOENT;
		if (!level) {
			change_leaf(entry, bits);
			return 0;
		}
	}
	return change_range(root, va, len, bits);
}

int pt_unmap(paddr_t root, vaddr_t va, size_t len)
{
	return range_good(va, len) ? change_leaves(root, va, len, 0) : -EINVAL;
}

int pt_protect(paddr_t root, vaddr_t va, size_t len, unsigned prot)
{
	return range_good(va, len) && prot_good(va, prot) ? change_leaves(root, va, len, leaf_bits(prot)) : -EINVAL;
}

/* ---- reading ---- */

int pt_translate(paddr_t root, vaddr_t va, struct pt_entry *out)
{
	unsigned level;
	const uint64_t *entry;

	if (!is_canonical(va))
		return -EINVAL;
	entry = find(root, va, &level);
	if (!(*entry & PTE_P))
		return -ENOENT;
	*out = leaf_at(*entry, level, va);
	return 0;
}

struct walk {
	int (*fn)(const struct pt_entry *, void *);
	void *arg;
};

static int report(uint64_t *entry, unsigned level, vaddr_t lo, vaddr_t hi, void *arg)
{
	const struct walk *const w = arg;
	struct pt_entry leaf;

	(void)hi;
	if (!(*entry & PTE_P))
		return 0;
	leaf = leaf_at(*entry, level, lo);
	return w->fn(&leaf, w->arg);
}

/* Half by half: between them are no addresses. */
int pt_walk(paddr_t root, vaddr_t lo, vaddr_t hi, int (*fn)(const struct pt_entry *, void *), void *arg)
{
	struct walk w = { fn, arg };
	int err = 0;

	if (lo > hi)
		return 0;
	if (lo < LOWER_END)
		err = visit(root, ROOT_LEVEL, lo, hi < LOWER_END ? hi : LOWER_END - 1, report, &w);
	if (!err && hi >= UPPER_START)
		err = visit(root, ROOT_LEVEL, lo > UPPER_START ? lo : UPPER_START, hi, report, &w);
	return err;
}

/* ---- start ---- */

#define CR0_WP   (1ul << 16)
#define CR4_PGE  (1ul << 7)
#define CR4_SMEP (1ul << 20)
#define CR4_SMAP (1ul << 21)

enum {
	MSR_EFER = 0xC0000080, EFER_NXE = 1 << 11,
	CPUID_FEATURES = 7, FEATURE_SMEP = 1 << 7, FEATURE_SMAP = 1 << 20,      /* in EBX, subleaf 0 */
};

/* Subleaf 0 of a leaf; EBX of it in *b. Returns EAX. */
static uint32_t cpuid(uint32_t leaf, uint32_t *b)
{
	uint32_t c = 0, d;

	__asm__ volatile("cpuid" : "+a"(leaf), "=b"(*b), "+c"(c), "=d"(d));
	return leaf;
}

/* On the boot processor; the others start with its CR0, CR4 and EFER. */
static void paging_init(void)
{
	uint64_t cr0, cr4;
	uint32_t low, high, features = 0, ignored;

	if (cpuid(0, &ignored) >= CPUID_FEATURES)
		cpuid(CPUID_FEATURES, &features);
	__asm__ volatile("movq %%cr0, %0\n\tmovq %%cr4, %1" : "=&r"(cr0), "=r"(cr4) : : "memory");
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_EFER) : "memory");

	cr0 |= CR0_WP;
	cr4 |= CR4_PGE;
	if (features & FEATURE_SMEP)
		cr4 |= CR4_SMEP;
	if (features & FEATURE_SMAP)
		cr4 |= CR4_SMAP;

	__asm__ volatile("wrmsr" : : "c"(MSR_EFER), "a"(low | EFER_NXE), "d"(high) : "memory");
	__asm__ volatile("movq %0, %%cr0\n\tmovq %1, %%cr4" : : "r"(cr0), "r"(cr4) : "memory");
}
INIT(INIT_MM, paging_init);
