/* The kernel's own address space and the holes in its image, beyond acceptance/mm/kspace.c and stacks.c: all leaves
 * and tables of kernel_root's upper half, roots made of it, what each processor may do where, and stack_guard on
 * what is not its to unmap, in any order and by all at once. See spec/mm.md. */
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

/* kernel.ld */
extern const char __kernel_phys_start[], __boot_start[], __boot_end[], __text_start[], __text_end[];
extern const char __rodata_start[], __rodata_end[], __data_start[], __data_end[], __bss_start[], __bss_end[];

#define HALF      0x0000800000000000ul          /* the lower half ends here */
#define SLOT_SIZE (1ul << 39)                   /* what an entry of a root stands for */
#define FIRST_MIB (1ul << 20)
#define FOUR_GIB  (1ul << 32)
#define LONG      8000000000ull  /* ns: the machine below may have less processors, and others to serve */
#define SEED      0x6b737001ull

#define PTE_P       (1ul << 0)
#define PTE_RW      (1ul << 1)
#define PTE_US      (1ul << 2)
#define PTE_PWT     (1ul << 3)
#define PTE_PCD     (1ul << 4)
#define PTE_A       (1ul << 5)                  /* the processor's to set */
#define PTE_PS      (1ul << 7)
#define PTE_G       (1ul << 8)
#define PTE_NX      (1ul << 63)
#define PTE_ADDRESS 0x000FFFFFFFFFF000ul

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

/* The address of a symbol, hidden from the optimiser, which would reason about array bounds. */
static uint64_t addr(const void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value));
	return value;
}

/* The direct map's address of a byte of the image. */
static uint64_t alias(uint64_t at)
{
	return DIRECT_MAP_BASE + (at - KERNEL_BASE);
}

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

/* ---- processors ---- */

struct call {
	unsigned cpu;
	void (*fn)(void *);
	void *arg;
};

static void if_wanted(void *arg)
{
	const struct call *c = arg;

	if (cpu_self()->index == c->cpu)
		c->fn(c->arg);
}

/* As cpu_call, however long it takes. */
static void on_cpu(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct call c = { cpu, fn, arg };

	(void)cpu_on_each(if_wanted, &c);
}

/* All processors wait here for all, answering shootdowns. Both are 0 at the beginning of a test that has them meet. */
static uint32_t arrived, absent;

static void meet(void)
{
	const uint32_t n = cpu_count(), wanted = (__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST) / n + 1) * n;
	const uint64_t start = clock_ns();

	while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - start >= LONG) {
			count(&absent);
			return;
		}
		tlb_poll();
		cpu_pause();
	}
}

/* ---- accesses ---- */

static void read_byte(void *at)
{
	(void)*(volatile uint8_t *)at;
}

static void write_byte(void *at)
{
	*(volatile uint8_t *)at = 0xc3;
}

/* What should not be writable: if it is, it stays as it was. */
static void write_same(void *at)
{
	*(volatile uint8_t *)at = *(volatile uint8_t *)at;
}

/* What should be, and may be in use. */
static void touch(void *at)
{
	__asm__ volatile("lock orb $0, (%0)" : : "r"(at) : "memory", "cc");
}

static void fetch(void *at)
{
	__asm__ volatile("call *%0" : : "r"(at) : "memory", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
		"r11", "cc");
}

/* Bits of a page fault's error code; none of those; what is no page fault at that address. */
enum { PRESENT = 1, WRITING = 2, FETCHING = 16, NO_FAULT = -1, OTHER = -2 };

static int fault_of(void (*access)(void *), uint64_t at)
{
	struct trap_frame f;

	if (trap_catch(access, (void *)at, &f) != 1)
		return NO_FAULT;
	return f.vector == VEC_PAGE_FAULT && READ("mov %%cr2, %0") == at ? (int)f.error : OTHER;
}

/* What each processor is to find. */
static struct probe {
	void (*access)(void *);
	uint64_t at;
	int expected;
} probes[640];
static unsigned probe_count;
static uint32_t missed[CPU_MAX];                /* the first probe that went another way, and 1 */

static void add_probe(void (*access)(void *), uint64_t at, int expected)
{
	if (probe_count < sizeof probes / sizeof *probes)
		probes[probe_count] = (struct probe){ access, at, expected };
	probe_count++;
}

static void run_probes(void *arg)
{
	uint32_t *mine = &missed[cpu_self()->index];

	(void)arg;
	for (unsigned i = 0; i < probe_count && !*mine; i++)
		if (fault_of(probes[i].access, probes[i].at) != probes[i].expected)
			*mine = i + 1;
}

/* Whether all processors found all as it should be; where not is noted. */
static bool probes_hold(void)
{
	bool good = probe_count && probe_count <= sizeof probes / sizeof *probes;

	memset(missed, 0, sizeof missed);
	if (good)
		(void)cpu_on_each(run_probes, NULL);
	for (unsigned i = 0; i < cpu_count(); i++)
		if (missed[i]) {
			ktest_note("processor", i);
			ktest_note("address", probes[missed[i] - 1].at);
			good = false;
		}
	return good;
}

/* ---- what there is ---- */

static struct mm_range ram[2 * BOOT_MEM_MAX];
static size_t ram_count;

static bool know_ram(void)
{
	const struct boot_info *info = boot_info();

	return memmap_normalise(info->mem, info->mem_count, ram, 2 * BOOT_MEM_MAX, &ram_count) == 0 && ram_count;
}

/* All of it, in one range? */
static bool is_ram(paddr_t pa, uint64_t len)
{
	for (size_t i = 0; i < ram_count; i++)
		if (pa >= ram[i].base && pa - ram[i].base < ram[i].len && len <= ram[i].len - (pa - ram[i].base))
			return true;
	return false;
}

static bool meets_ram(paddr_t pa, uint64_t len)
{
	for (size_t i = 0; i < ram_count; i++)
		if (pa < ram[i].base + ram[i].len && ram[i].base < pa + len)
			return true;
	return false;
}

/* A page of the first MiB that an entry of the boot map touches. */
static bool is_named(paddr_t page)
{
	const struct boot_info *info = boot_info();

	for (uint32_t i = 0; page < FIRST_MIB && i < info->mem_count; i++)
		if (info->mem[i].base < page + PAGE_SIZE && page < info->mem[i].base + info->mem[i].len)
			return true;
	return false;
}

static paddr_t apic_page(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b) : "memory");
	return ((uint64_t)high << 32 | low) & PTE_ADDRESS;
}

/* ---- all leaves ---- */

enum { NO_PROT = ~0 };                          /* no leaf has it */

/* What the address map says of [from, to) of the image, which lies in one section if it says anything. */
static unsigned image_prot(vaddr_t from, vaddr_t to)
{
	if (from >= addr(__text_start) && to <= addr(__text_end))
		return VM_EXEC | VM_GLOBAL;
	if (from >= addr(__rodata_start) && to <= addr(__rodata_end))
		return VM_READ | VM_GLOBAL;
	if (from >= addr(__data_start) && to <= addr(__bss_end))
		return VM_WRITE | VM_GLOBAL;
	return (unsigned)NO_PROT;
}

/* The same of the direct map: "alias of kernel text and rodata is read-only too", all else RW. */
static unsigned direct_prot(paddr_t from, paddr_t to)
{
	const paddr_t lo = addr(__text_start) - KERNEL_BASE, hi = addr(__rodata_end) - KERNEL_BASE;

	if (to <= lo || from >= hi)
		return VM_WRITE | VM_GLOBAL;
	return from >= lo && to <= hi ? VM_READ | VM_GLOBAL : (unsigned)NO_PROT;
}

enum area { DIRECT, KSTACK, DEVICE, IMAGE, NOWHERE, AREAS };

static struct {
	uint64_t leaves[AREAS], wrong;
	vaddr_t example;
} walked;

/* Each but the direct map has one entry of the root ("one each for the others"). */
static enum area area_of(const struct pt_entry *e)
{
	const vaddr_t last = e->va + e->size - 1;

	if (e->va >= DIRECT_MAP_BASE && last < KSTACK_BASE)
		return DIRECT;
	if (e->va >= KSTACK_BASE && last < KSTACK_BASE + SLOT_SIZE)
		return KSTACK;
	if (e->va >= DEVICE_MAP_BASE && last < DEVICE_MAP_BASE + SLOT_SIZE)
		return DEVICE;
	return e->va >= KERNEL_BASE ? IMAGE : NOWHERE;
}

static bool is_as_listed(const struct pt_entry *e, enum area area)
{
	switch (area) {
	case DIRECT:
		return e->pa == e->va - DIRECT_MAP_BASE && e->prot == direct_prot(e->pa, e->pa + e->size);
	case KSTACK:            /* "lower 16 KiB hole, upper 16 KiB stack"; its pages are frames */
		return e->prot == (VM_WRITE | VM_GLOBAL) && e->size == PAGE_SIZE && frame_managed(e->pa) &&
			(e->va - KSTACK_BASE) % (2 * KSTACK_SIZE) >= KSTACK_SIZE;
	case DEVICE:            /* device_map refuses what "touches a page of RAM" */
		return e->prot == (VM_WRITE | VM_UNCACHED | VM_GLOBAL) && !meets_ram(e->pa, e->size);
	case IMAGE:             /* ".boot.* only in the direct map" */
		return e->pa == e->va - KERNEL_BASE && e->prot == image_prot(e->va, e->va + e->size);
	default:
		return false;
	}
}

static int look_at_leaf(const struct pt_entry *e, void *arg)
{
	const enum area area = area_of(e);

	(void)arg;
	walked.leaves[area]++;
	if (!is_as_listed(e, area) && !walked.wrong++)
		walked.example = e->va;
	return 0;
}

/* "Address map of the kernel": each leaf of the upper half is in one of the four areas, where it belongs, with just the
 * protection of the table, and global; while there are stacks and devices, too. */
KTEST(mm, check_kspace_areas)
{
	void *stacks[3] = { NULL, NULL, NULL }, *devices[2] = { NULL, NULL };
	int err = 0, walk;

	KASSERT(know_ram());
	for (unsigned i = 0; i < 3; i++)
		err |= kstack_alloc(&stacks[i]);
	err |= device_map(apic_page() + 0x30, 4, &devices[0]);
	err |= device_map(apic_page() + 4, 3 * PAGE_SIZE, &devices[1]);
	memset(&walked, 0, sizeof walked);
	walk = pt_walk(kernel_root, HALF, UINT64_MAX, look_at_leaf, NULL);
	for (unsigned i = 0; i < 3; i++)
		err |= stacks[i] ? kstack_free(stacks[i]) : 0;
	err |= devices[0] ? device_unmap(devices[0], 4) : 0;
	err |= devices[1] ? device_unmap(devices[1], 3 * PAGE_SIZE) : 0;

	KASSERT_EQ(err, 0);
	KASSERT_EQ(walk, 0);
	if (walked.wrong)
		ktest_note("address", walked.example);
	KASSERT_EQ(walked.wrong, 0);
	KASSERT_EQ(walked.leaves[NOWHERE], 0);
	KASSERT(walked.leaves[DIRECT] > 0);
	KASSERT(walked.leaves[KSTACK] >= 3 * KSTACK_SIZE / PAGE_SIZE);
	KASSERT(walked.leaves[DEVICE] >= 5);
	KASSERT(walked.leaves[IMAGE] > 0);
}

/* ---- the direct map ---- */

static struct {
	uint64_t bytes, strange, small;
	vaddr_t example;
} direct;

static int look_at_direct(const struct pt_entry *e, void *arg)
{
	const paddr_t chunk = e->pa & ~(LARGE_PAGE_SIZE - 1);
	bool strange = e->pa != e->va - DIRECT_MAP_BASE || e->prot != direct_prot(e->pa, e->pa + e->size);

	(void)arg;
	for (paddr_t pa = e->pa, step; pa < e->pa + e->size; pa += step) {
		step = is_ram(pa, e->size) ? e->size : PAGE_SIZE;
		if (is_ram(pa, step))
			direct.bytes += step;
		else
			strange |= !is_named(pa);
	}
	if (strange && !direct.strange++)
		direct.example = e->va;
	if (e->size == PAGE_SIZE && is_ram(chunk, LARGE_PAGE_SIZE) &&
	    direct_prot(chunk, chunk + LARGE_PAGE_SIZE) == (VM_WRITE | VM_GLOBAL))
		direct.small++;
	return 0;
}

/* The same table: "all RAM: what memmap gives, be it managed or not; 2 MiB pages where aligned. And each page of the
 * first MiB that an entry of the boot map touches"; nothing else, and each at its own address. Leaves do not
 * overlap, so that the sum of their bytes is right only if none is missing. */
KTEST(mm, check_kspace_direct_all)
{
	uint64_t total = 0, unnamed = 0;
	struct pt_entry e;

	KASSERT(know_ram());
	for (size_t i = 0; i < ram_count; i++)
		total += ram[i].len;
	memset(&direct, 0, sizeof direct);
	KASSERT_EQ(pt_walk(kernel_root, DIRECT_MAP_BASE, KSTACK_BASE - 1, look_at_direct, NULL), 0);
	if (direct.strange)
		ktest_note("address", direct.example);
	KASSERT_EQ(direct.strange, 0);
	KASSERT_EQ(direct.bytes, total);
	KASSERT_EQ(direct.small, 0);
	for (paddr_t pa = 0; pa < FIRST_MIB; pa += PAGE_SIZE)
		unnamed += (pt_translate(kernel_root, DIRECT_MAP_BASE + pa, &e) == 0) !=
			(is_named(pa) || is_ram(pa, PAGE_SIZE));
	KASSERT_EQ(unnamed, 0);
}

static volatile uint64_t initialised[600] = { 1 }, cleared[600];

/* Whether what is written at one of the two addresses is read at the other, both ways. */
static bool is_one_memory(volatile uint64_t *image, uint64_t value)
{
	volatile uint64_t *other = (volatile uint64_t *)alias(addr((const void *)image));
	const uint64_t before = *image;
	bool good;

	*image = value;
	good = *other == value;
	*other = ~value;
	good &= *image == ~value;
	*image = before;
	return good && *other == before;
}

/* The direct map is "all RAM", the image's too; read-only is the alias "of kernel text and rodata" alone. What
 * stack_guard unmaps is unmapped in the image: its frame is RAM as before. */
KTEST(mm, check_kspace_alias)
{
	uint64_t seed = SEED;
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	for (vaddr_t va = addr(__data_start); va < addr(__bss_end); va += PAGE_SIZE) {
		struct pt_entry e = { 0, 0, 0, 0 };

		wrong += pt_translate(kernel_root, alias(va), &e) != 0 || e.prot != (VM_WRITE | VM_GLOBAL) ||
			e.pa + (alias(va) - e.va) != va - KERNEL_BASE;
		wrong += fault_of(touch, alias(va)) != NO_FAULT ||
			fault_of(touch, alias(va) + PAGE_SIZE - 1) != NO_FAULT;
	}
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < 600; i += 1 + random_of(&seed) % 40)
		wrong += !is_one_memory(&initialised[i], random_of(&seed)) +
			!is_one_memory(&cleared[i], random_of(&seed));
	wrong += !is_one_memory(&initialised[599], 1) + !is_one_memory(&cleared[599], 1);
	KASSERT_EQ(wrong, 0);
	/* text and constants are what they are at their own address */
	for (vaddr_t va = addr(__text_start); va < addr(__rodata_end); va += PAGE_SIZE / 2 - 8)
		wrong += *(const volatile uint64_t *)va != *(const volatile uint64_t *)alias(va);
	KASSERT_EQ(wrong, 0);
}

/* ---- tables ---- */

enum { TABLES_MAX = 2048, ROOT_LEVEL = 3, ENTRIES = 512 };

static struct {
	paddr_t at[TABLES_MAX];
	size_t n;
	unsigned outside, entries, leaves;      /* such as should not be */
} tables;

static void look_at_table(paddr_t table, unsigned level, unsigned first)
{
	const volatile uint64_t *entry = phys_to_virt(table);

	if (!is_ram(table, PAGE_SIZE) || (table < addr(__boot_end) && table + PAGE_SIZE > addr(__boot_start))) {
		tables.outside++;
		return;
	}
	if (tables.n < TABLES_MAX)
		tables.at[tables.n++] = table;
	for (unsigned i = first; i < ENTRIES; i++) {
		const uint64_t e = entry[i];

		if (!(e & PTE_P))
			continue;
		if (level == 0 || (level == 1 && (e & PTE_PS)))
			tables.leaves += (e & PTE_US) || ((e & PTE_RW) && !(e & PTE_NX)) || !(e & PTE_G) ||
				!(e & PTE_PCD) != !(e & PTE_PWT);
		else if ((e & (PTE_RW | PTE_US | PTE_NX | PTE_PS)) != PTE_RW)
			tables.entries++;
		else
			look_at_table(e & PTE_ADDRESS, level - 1, 0);
	}
}

/* "Intermediate entries: P, RW, and US in the lower half; never NX" and invariant 3, as the processor reads them;
 * the kernel "runs on tables it built itself", not on the boot tables; the root lies below 4 GiB; "the areas share
 * no table but the root", nor does anything else. */
KTEST(mm, check_kspace_tables)
{
	unsigned twice = 0;

	KASSERT(know_ram());
	KASSERT(kernel_root != 0);
	KASSERT(kernel_root < FOUR_GIB);
	KASSERT_EQ(kernel_root % PAGE_SIZE, 0);
	memset(&tables, 0, sizeof tables);
	look_at_table(kernel_root, ROOT_LEVEL, ENTRIES / 2);
	for (size_t i = 0; i < tables.n; i++)
		for (size_t k = 0; k < i; k++)
			twice += tables.at[i] == tables.at[k];
	KASSERT_EQ(tables.outside, 0);
	KASSERT_EQ(tables.entries, 0);
	KASSERT_EQ(tables.leaves, 0);
	KASSERT_EQ(twice, 0);
	KASSERT(tables.n >= 5);                 /* the root, and one at least for each area */
}

/* "Start": entries for the four areas, "as many entries as RAM needs for the direct map, one each for the others",
 * "and no others". */
static bool has_entry(unsigned index)
{
	const paddr_t ram_end = ram[ram_count - 1].base + ram[ram_count - 1].len;
	const vaddr_t va = (uint64_t)index << 39 | 0xFFFFul << 48;

	return va == KSTACK_BASE || va == DEVICE_MAP_BASE ||
		index == ENTRIES - 1 || (va >= DIRECT_MAP_BASE && va - DIRECT_MAP_BASE < ram_end);
}

KTEST(mm, check_kspace_root_entries)
{
	const volatile uint64_t *root = phys_to_virt(kernel_root);
	unsigned wrong = 0;

	KASSERT(know_ram());
	for (unsigned i = ENTRIES / 2; i < ENTRIES; i++)
		wrong += (root[i] & PTE_P) != has_entry(i);
	KASSERT_EQ(wrong, 0);
}

static struct {
	paddr_t root;
	volatile uint64_t *stack, *frame;       /* a word for each processor */
	volatile uint32_t *version;
	uint32_t failed;
} lent;

static void use_kernel_half(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	lent.stack[me] = SEED + me;
	lent.frame[me] = SEED - me;
	cleared[me] = initialised[me] + SEED;
	if ((*lent.version & 0xff) == 0 || lent.stack[me] != SEED + me || lent.frame[me] != SEED - me)
		count(&lent.failed);
}

/* Interrupts are off. */
static void by_other_root(void *arg)
{
	const uint64_t before = READ("mov %%cr3, %0");

	(void)arg;
	__asm__ volatile("mov %0, %%cr3" : : "r"(lent.root) : "memory");
	if (fault_of(use_kernel_half, 0) != NO_FAULT || fault_of(read_byte, 0x100000) != 0)
		count(&lent.failed);
	__asm__ volatile("mov %0, %%cr3" : : "r"(before) : "memory");
}

static uint64_t halves[ENTRIES / 2];

static unsigned other_entries(paddr_t root)
{
	const volatile uint64_t *entry = phys_to_virt(root);
	unsigned other = 0;

	for (unsigned i = 0; i < ENTRIES / 2; i++)
		other += entry[i] != 0 || (entry[ENTRIES / 2 + i] & ~PTE_A) != halves[i];
	return other;
}

/* "Areas share no table but the root, whose entries never change again": a root made before has what the kernel maps
 * later, on each processor, and takes nothing of it away when it goes. */
KTEST(mm, check_kspace_roots)
{
	const volatile uint64_t *own = phys_to_virt(kernel_root);
	void *top = NULL, *device = NULL, *more[40];
	unsigned wrong = 0, changed = 0, n = 0;
	paddr_t first, second, frame;

	for (unsigned i = 0; i < ENTRIES / 2; i++)
		halves[i] = own[ENTRIES / 2 + i] & ~PTE_A;
	KASSERT_EQ(pt_create(&first), 0);
	wrong += kstack_alloc(&top) != 0;
	while (n < 40 && kstack_alloc(&more[n]) == 0)
		n++;
	wrong += device_map(apic_page() + 0x30, 4, &device) != 0;
	wrong += frame_alloc(FRAME_ZERO, &frame) != 0;
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(pt_create(&second), 0);
	changed += other_entries(first) + other_entries(second);

	lent.stack = (volatile uint64_t *)top - CPU_MAX;
	lent.frame = phys_to_virt(frame);
	lent.version = device;
	lent.failed = 0;
	lent.root = first;
	(void)cpu_on_each(by_other_root, NULL);
	for (unsigned i = 0; i < cpu_count(); i++) {
		wrong += lent.stack[i] != SEED + i || lent.frame[i] != SEED - i || cleared[i] != initialised[i] + SEED;
		lent.stack[i] = lent.frame[i] = cleared[i] = 0;
	}
	wrong += pt_destroy(first) != 0;
	lent.root = second;
	(void)cpu_on_each(by_other_root, NULL);
	for (unsigned i = 0; i < cpu_count(); i++) {
		wrong += lent.stack[i] != SEED + i || lent.frame[i] != SEED - i || cleared[i] != initialised[i] + SEED;
		cleared[i] = 0;
	}
	while (n)
		wrong += kstack_free(more[--n]) != 0;
	changed += other_entries(second);
	wrong += pt_destroy(second) != 0;
	wrong += lent.stack[0] != SEED || (*lent.version & 0xff) == 0;
	wrong += kstack_free(top) != 0 || device_unmap(device, 4) != 0 || frame_free(frame) != 0;
	for (unsigned i = 0; i < ENTRIES / 2; i++)
		changed += halves[i] != (own[ENTRIES / 2 + i] & ~PTE_A);

	KASSERT_EQ(lent.failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(changed, 0);
}

/* ---- each processor ---- */

static paddr_t turns[CPU_MAX];
static uint32_t spoiled;

static uint64_t word_of(unsigned round, unsigned frame, unsigned word)
{
	uint64_t state = SEED + round * 1000003ull + frame * 1009ull + word;

	return random_of(&state);
}

/* Each time another's frame: what that one wrote last is there, and the next finds what is written now. */
static void take_turn(void *arg)
{
	const unsigned round = *(unsigned *)arg, mine = (cpu_self()->index + round) % cpu_count();
	volatile uint64_t *words = phys_to_virt(turns[mine]);

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
		if (round && words[i] != word_of(round - 1, mine, i))
			count(&spoiled);
		words[i] = word_of(round, mine, i);
	}
}

/* The direct map is one for all processors: "RW". */
KTEST(mm, check_kspace_frames_shared)
{
	unsigned got = 0, wrong = 0;

	ktest_note("seed", SEED);
	spoiled = 0;
	while (got < cpu_count() && frame_alloc(got % 2 ? FRAME_LOW : 0, &turns[got]) == 0)
		got++;
	for (unsigned round = 0; got == cpu_count() && round < cpu_count() + 2; round++)
		(void)cpu_on_each(take_turn, &round);
	for (unsigned i = 0; i < got; i++)
		wrong += frame_free(turns[i]) != 0;
	KASSERT_EQ(got, cpu_count());
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(spoiled, 0);
}

/* The table of protections, invariants 3 and 4, as each processor has them: first and last bytes of the sections, by
 * both addresses; what is next to the image; a frame, a stack, a device. */
KTEST(mm, check_kspace_protection)
{
	const uint64_t read_only[] = {
		addr(__text_start), addr(__text_end) - 1, addr(__rodata_start), addr(__rodata_end) - 1,
	}, writable[] = {
		addr(__data_start), addr(__data_end) - 1, addr(__bss_start), addr(__bss_end) - 1,
	};
	const uint64_t outside[] = {
		addr(__text_start) - 1, addr(__bss_end), KERNEL_BASE, KERNEL_BASE + addr(__kernel_phys_start),
		KERNEL_BASE - 1, UINT64_MAX,
	};
	void *top = NULL, *device = NULL;
	paddr_t frame = 0;
	bool good;
	int err;

	err = frame_alloc(0, &frame) | kstack_alloc(&top) | device_map(apic_page(), PAGE_SIZE, &device);
	KASSERT_EQ(err, 0);
	probe_count = 0;
	for (unsigned i = 0; i < 4; i++) {
		add_probe(read_byte, read_only[i], NO_FAULT);
		add_probe(write_same, read_only[i], PRESENT | WRITING);
		add_probe(read_byte, alias(read_only[i]), NO_FAULT);
		add_probe(write_same, alias(read_only[i]), PRESENT | WRITING);
		add_probe(fetch, alias(read_only[i]), PRESENT | FETCHING);
		if (i >= 2)
			add_probe(fetch, read_only[i], PRESENT | FETCHING);
		add_probe(touch, writable[i], NO_FAULT);
		add_probe(touch, alias(writable[i]), NO_FAULT);
		add_probe(fetch, writable[i], PRESENT | FETCHING);
		add_probe(fetch, alias(writable[i]), PRESENT | FETCHING);
	}
	for (unsigned i = 0; i < sizeof outside / sizeof *outside; i++) {
		add_probe(read_byte, outside[i], 0);
		add_probe(write_byte, outside[i], WRITING);
		add_probe(fetch, outside[i], FETCHING);
	}
	add_probe(touch, DIRECT_MAP_BASE + addr(__boot_start), NO_FAULT);
	add_probe(touch, DIRECT_MAP_BASE + addr(__boot_end) - 1, NO_FAULT);
	add_probe(fetch, DIRECT_MAP_BASE + addr(__boot_start), PRESENT | FETCHING);
	for (uint64_t at = 0; at < PAGE_SIZE; at += PAGE_SIZE - 1) {
		add_probe(touch, (uint64_t)phys_to_virt(frame) + at, NO_FAULT);
		add_probe(fetch, (uint64_t)phys_to_virt(frame) + at, PRESENT | FETCHING);
		add_probe(touch, (uint64_t)top - PAGE_SIZE + at, NO_FAULT);
		add_probe(fetch, (uint64_t)top - PAGE_SIZE + at, PRESENT | FETCHING);
		add_probe(fetch, (uint64_t)device + at, PRESENT | FETCHING);
	}
	good = probes_hold();
	err = frame_free(frame) | kstack_free(top) | device_unmap(device, PAGE_SIZE);
	KASSERT(good);
	KASSERT_EQ(err, 0);
}

/* "Nothing of the lower half is mapped in kernel_root when tests run", and of the upper half there are four areas
 * "and no others": all else faults on each processor, as not present; what is no address at all is no page fault. */
KTEST(mm, check_kspace_elsewhere)
{
	static void (*const accesses[])(void *) = { read_byte, write_byte, fetch };
	static const int errors[] = { 0, WRITING, FETCHING };
	const uint64_t low[] = {
		0, 1, PAGE_SIZE, USER_MIN - 1, USER_MIN, FIRST_MIB - 1, FIRST_MIB, addr(__kernel_phys_start),
		addr(__text_start) - KERNEL_BASE, 0xFEE00030, FOUR_GIB - 1, FOUR_GIB, SLOT_SIZE, USER_END - 1,
		USER_END, HALF - 1,
	};
	uint64_t seed = SEED;

	ktest_note("seed", SEED);
	KASSERT(know_ram());
	probe_count = 0;
	for (unsigned i = 0; i < sizeof low / sizeof *low; i++)
		for (unsigned k = 0; k < 3; k++)
			add_probe(accesses[k], low[i], errors[k]);
	for (unsigned i = 0; i < 96; i++)
		add_probe(accesses[i % 3], random_of(&seed) >> (17 + i / 3), errors[i % 3]);
	for (unsigned i = ENTRIES / 2; i < ENTRIES; i++)
		if (!has_entry(i))
			add_probe(accesses[i % 3], (0xFFFFul << 48 | (uint64_t)i << 39) + random_of(&seed) % SLOT_SIZE,
				errors[i % 3]);
	for (unsigned i = 0; i < 2; i++) {
		add_probe(accesses[i], HALF, OTHER);
		add_probe(accesses[i], DIRECT_MAP_BASE - 1, OTHER);
	}
	KASSERT(probes_hold());
}

/* ---- holes ---- */

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static const volatile struct tss *own_tss(void)
{
	struct table_register gdtr;
	const uint64_t *entry;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	entry = (const uint64_t *)(gdtr.base + SEL_TSS);
	return (const volatile struct tss *)((entry[0] >> 16 & 0xffffff) | (entry[0] >> 56 & 0xff) << 24 |
		entry[1] << 32);
}

enum { IST_STACKS = 3, HOLES_MAX = 128, STACK_PAGES = 4 };
_Static_assert(IST_STACK_SIZE == STACK_PAGES * PAGE_SIZE && CPU_STACK_SIZE == STACK_PAGES * PAGE_SIZE, "both alike");

static struct {
	vaddr_t ist[IST_STACKS], stack;         /* stack: the one in use; 0: it is a thread's */
} own[CPU_MAX];

static void tell_stacks(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	for (unsigned i = 0; i < IST_STACKS; i++)
		own[me].ist[i] = own_tss()->ist[i];
	own[me].stack = cpu_self()->current ? 0 : (vaddr_t)__builtin_frame_address(0);
}

static bool is_hole(vaddr_t va)
{
	struct pt_entry e;

	return pt_translate(kernel_root, va, &e) == -ENOENT;
}

static vaddr_t holes[HOLES_MAX];
static unsigned hole_count;

static bool is_known_hole(vaddr_t va)
{
	for (unsigned i = 0; i < hole_count; i++)
		if (holes[i] == va)
			return true;
	return false;
}

/* "Every kernel stack has a page beneath it that is not mapped: the boot stack its own lowest page, IST stacks and
 * those of other processors the first page of their array", "those of processors that are not there too"; and
 * acceptance's "every page of the image is mapped". So in bss there are so many holes, each a page with a stack
 * directly above, and no page else is gone; on no processor. The boot processor may or may not have a stack among
 * the others'. */
KTEST(mm, check_stacks_bss)
{
	unsigned crowded = 0, open = 0, torn = 0;
	bool good;

	memset(own, 0, sizeof own);
	(void)cpu_on_each(tell_stacks, NULL);
	hole_count = probe_count = 0;
	for (vaddr_t va = addr(__bss_start); va < addr(__bss_end); va += PAGE_SIZE) {
		if (!is_hole(va))
			continue;
		if (hole_count < HOLES_MAX)
			holes[hole_count] = va;
		hole_count++;
	}
	KASSERT(hole_count >= 1 + IST_STACKS * CPU_MAX + CPU_MAX - 1);
	KASSERT(hole_count <= 1 + IST_STACKS * CPU_MAX + CPU_MAX);
	for (unsigned i = 0; i < hole_count; i++) {
		crowded += is_hole(holes[i] - 1);
		for (unsigned k = 1; k <= STACK_PAGES; k++)
			crowded += holes[i] + (k + 1) * PAGE_SIZE > addr(__bss_end) ||
				is_hole(holes[i] + k * PAGE_SIZE);
		add_probe(read_byte, holes[i], 0);
		add_probe(write_byte, holes[i], WRITING);
		add_probe(fetch, holes[i], FETCHING);
		add_probe(read_byte, holes[i] + PAGE_SIZE - 1, 0);
		add_probe(write_byte, holes[i] + PAGE_SIZE - 1, WRITING);
		add_probe(touch, holes[i] - 1, NO_FAULT);
		add_probe(touch, holes[i] + PAGE_SIZE, NO_FAULT);
	}
	KASSERT_EQ(crowded, 0);

	/* those of which it can be told whose they are, each its own */
	open += !is_known_hole(addr(boot_stack_bottom));
	torn += is_hole(addr(boot_stack_top) - 1);
	for (unsigned i = 0; i < cpu_count(); i++) {
		vaddr_t page = own[i].stack & ~(PAGE_SIZE - 1);

		for (unsigned k = 0; k < IST_STACKS; k++) {
			const vaddr_t top = own[i].ist[k];

			open += !is_known_hole(top - IST_STACK_SIZE - PAGE_SIZE);
			for (vaddr_t at = top - IST_STACK_SIZE; at < top; at += PAGE_SIZE)
				torn += is_hole(at);
			for (unsigned m = 0; m < (i * IST_STACKS + k); m++)
				torn += own[m / IST_STACKS].ist[m % IST_STACKS] == top;
			torn += top > addr(boot_stack_bottom) && top - IST_STACK_SIZE < addr(boot_stack_top);
		}
		if (!page || page < addr(__bss_start) || page >= addr(__bss_end))
			continue;
		for (unsigned k = 0; k < BOOT_STACK_SIZE / PAGE_SIZE && !is_hole(page); k++)
			page -= PAGE_SIZE;
		open += !is_known_hole(page);
		/* all of it is there: who waits and runs this in an interrupt is not a page deep */
		torn += i && own[i].stack - (page + PAGE_SIZE) < CPU_STACK_SIZE - PAGE_SIZE;
		for (unsigned m = 0; m < i; m++)        /* nobody else's */
			torn += own[m].stack > page && own[m].stack < page + PAGE_SIZE + CPU_STACK_SIZE;
	}
	KASSERT_EQ(open, 0);
	KASSERT_EQ(torn, 0);
	good = probes_hold();
	KASSERT(good);
}

/* ---- stack_guard ---- */

enum { PAGES = CPU_MAX + 1 };
static uint8_t guarded[PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static vaddr_t guarded_at(unsigned page)
{
	return addr(guarded) + page * PAGE_SIZE;
}

/* As it was: see the address map. */
static int map_again(unsigned page)
{
	const vaddr_t va = guarded_at(page);

	return pt_map(kernel_root, va, va - KERNEL_BASE, PAGE_SIZE, VM_WRITE | VM_GLOBAL);
}

static struct {
	vaddr_t at[64];
	int expected[64];                       /* 0: any error */
	unsigned n;
	uint32_t wrong;
} bad;

static void add_bad(vaddr_t at, int expected)
{
	bad.at[bad.n] = at;
	bad.expected[bad.n++] = expected;
}

static void guard_bad(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < bad.n; i++) {
		struct pt_entry before = { 0, 0, 0, 0 }, after = { 0, 0, 0, 0 };
		const int there = pt_translate(kernel_root, bad.at[i], &before);
		const int err = stack_guard((void *)bad.at[i]);
		const int still = pt_translate(kernel_root, bad.at[i], &after);

		if (err >= 0 || (bad.expected[i] && err != bad.expected[i]) || there != still ||
		    before.va != after.va || before.pa != after.pa || before.size != after.size ||
		    before.prot != after.prot) {
			if (!bad.wrong++)
				ktest_note("address", bad.at[i]);
			if (there == 0 && still) {
				const vaddr_t page = bad.at[i] & ~(PAGE_SIZE - 1);

				(void)pt_map(kernel_root, page, before.pa + (page - before.va), PAGE_SIZE, before.prot);
			}
		}
	}
}

/* "unmaps a page of the image … Errors as pt_unmap": nothing else is unmapped, whatever is there; "-EINVAL: va
 * unaligned", "-ENOENT: a page of it is not mapped"; "A failing call leaves tables, counters and frames as they
 * were". On any processor. */
KTEST(mm, check_stacks_guard_bad)
{
	static const unsigned off[] = { 1, 8, 2047, 2048, 4088, 4095 };
	void *top = NULL, *device = NULL;
	uint64_t before, after;
	paddr_t frame = 0;
	int err;

	err = frame_alloc(0, &frame) | kstack_alloc(&top) | device_map(apic_page(), PAGE_SIZE, &device);
	KASSERT_EQ(err, 0);
	memset(own, 0, sizeof own);
	(void)cpu_on_each(tell_stacks, NULL);
	memset(&bad, 0, sizeof bad);
	for (unsigned i = 0; i < sizeof off / sizeof *off; i++) {
		add_bad(guarded_at(3) + off[i], -EINVAL);
		add_bad(addr(boot_stack_bottom) + off[i], -EINVAL);
	}
	add_bad(addr(boot_stack_bottom), -ENOENT);
	for (unsigned i = 0; i < IST_STACKS; i++)
		add_bad(own[0].ist[i] - IST_STACK_SIZE - PAGE_SIZE, -ENOENT);
	add_bad(alias(guarded_at(3)), 0);
	add_bad(alias(addr(__text_start)), 0);
	add_bad((vaddr_t)phys_to_virt(frame), 0);
	add_bad(DIRECT_MAP_BASE, 0);
	add_bad((vaddr_t)top - PAGE_SIZE, 0);
	add_bad((vaddr_t)top - KSTACK_SIZE, 0);
	add_bad((vaddr_t)top - KSTACK_SIZE - PAGE_SIZE, 0);
	add_bad(KSTACK_BASE, 0);
	add_bad((vaddr_t)device, 0);
	add_bad(0, 0);
	add_bad(PAGE_SIZE, 0);
	add_bad(USER_MIN, 0);
	add_bad(guarded_at(3) - KERNEL_BASE, 0);
	add_bad(frame, 0);
	add_bad(USER_END - PAGE_SIZE, 0);
	add_bad(HALF - PAGE_SIZE, 0);
	add_bad(HALF, 0);
	add_bad(DIRECT_MAP_BASE - PAGE_SIZE, 0);
	add_bad(1ul << 63, 0);
	add_bad(KERNEL_BASE, 0);
	add_bad(KERNEL_BASE + addr(__kernel_phys_start), 0);
	add_bad(addr(__text_start) - PAGE_SIZE, 0);
	add_bad(addr(__bss_end), 0);
	add_bad(addr(__bss_end) + PAGE_SIZE, 0);
	add_bad(UINT64_MAX - PAGE_SIZE + 1, 0);
	before = free_frames();
	guard_bad(NULL);
	on_cpu(cpu_count() - 1, guard_bad, NULL);
	after = free_frames();
	err = frame_free(frame) | kstack_free(top) | device_unmap(device, PAGE_SIZE);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(bad.wrong, 0);
	KASSERT_EQ(after, before);
}

static struct {
	unsigned page;
	int result;
} order;

static void guard_ordered(void *arg)
{
	(void)arg;
	order.result = stack_guard(guarded[order.page]);
}

static bool gone[PAGES];

/* What each processor should find of the pages. */
static bool pages_are_so(void)
{
	probe_count = 0;
	for (unsigned i = 0; i < PAGES; i++) {
		add_probe(read_byte, guarded_at(i), gone[i] ? 0 : NO_FAULT);
		add_probe(gone[i] ? write_byte : touch, guarded_at(i) + PAGE_SIZE - 1, gone[i] ? WRITING : NO_FAULT);
	}
	return probes_hold();
}

static void fill_guarded(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		memset(guarded[i], (int)(i + 1), PAGE_SIZE);
}

/* By the direct map, which has the frames all the time. */
static unsigned spoiled_pages(void)
{
	unsigned other = 0;

	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned k = 0; k < PAGE_SIZE; k++)
			other += *(const volatile uint8_t *)alias(guarded_at(i) + k) != i + 1;
	return other;
}

/* Against a model: on whatever processor, in whatever order, again and again, just the page that is asked for goes,
 * "for all processors"; its frame stays the image's (invariant 2), with what is in it. */
KTEST(mm, check_stacks_guard_random)
{
	unsigned wrong = 0, lost = 0, unlike = 0;
	uint64_t seed = SEED + 2;

	ktest_note("seed", SEED + 2);
	memset(gone, 0, sizeof gone);
	fill_guarded();
	for (unsigned step = 0; step < 80 && !wrong && !unlike; step++) {
		const unsigned page = random_of(&seed) % PAGES;

		if (gone[page] && random_of(&seed) % 2) {
			wrong += map_again(page) != 0;
			gone[page] = false;
		} else {
			order.page = page;
			on_cpu(random_of(&seed) % cpu_count(), guard_ordered, NULL);
			wrong += order.result != (gone[page] ? -ENOENT : 0);
			gone[page] = true;
		}
		if (step % 4 == 0)
			unlike += !pages_are_so();
		lost += frame_managed(guarded_at(page) - KERNEL_BASE);
	}
	for (unsigned i = 0; i < PAGES; i++)
		if (is_hole(guarded_at(i)))
			wrong += map_again(i) != 0;
	memset(gone, 0, sizeof gone);
	unlike += !pages_are_so();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(unlike, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(spoiled_pages(), 0);
}

static uint32_t own_failed, shared_got, shared_refused;

static void guard_together(void *arg)
{
	int err;

	(void)arg;
	meet();
	if (stack_guard(guarded[cpu_self()->index]))
		count(&own_failed);
	meet();
	err = stack_guard(guarded[CPU_MAX]);
	if (err == 0)
		count(&shared_got);
	if (err == -ENOENT)
		count(&shared_refused);
}

/* All at once, interrupts off: each its own page, then all the same one, which one of them gets. "Takes its own
 * locks", and invariant 8: nobody waits for ever. */
KTEST(mm, check_stacks_guard_all)
{
	unsigned wrong = 0, unlike = 0;

	arrived = absent = own_failed = shared_got = shared_refused = 0;
	fill_guarded();
	for (unsigned round = 0; round < 8; round++) {
		(void)cpu_on_each(guard_together, NULL);
		for (unsigned i = 0; i < PAGES; i++)
			gone[i] = i < cpu_count() || i == CPU_MAX;
		if (round % 4 == 0)
			unlike += !pages_are_so();
		for (unsigned i = 0; i < PAGES; i++)
			if (is_hole(guarded_at(i)))
				wrong += map_again(i) != 0;
	}
	memset(gone, 0, sizeof gone);
	unlike += !pages_are_so();
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(unlike, 0);
	KASSERT_EQ(own_failed, 0);
	KASSERT_EQ(shared_got, 8);
	KASSERT_EQ(shared_refused, 8 * (cpu_count() - 1));
	KASSERT_EQ(spoiled_pages(), 0);
}
