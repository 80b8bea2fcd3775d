/* Acceptance of mm/kspace.c: the tables that the kernel runs on, its image, all of RAM, and the holes under stacks. See spec/mm.md. */
#include "boot.h"
#include "cpu.h"
#include "memory.h"

#define HALF     0x0000800000000000ull
#define FOUR_GIB (4ull << 30)
#define ADDRESS  0x000FFFFFFFFFF000ull

static const uint8_t constant[64] = { 0xc3, 0xc3 };
static uint8_t data[64] = { 0xc3 };

static __attribute__((noipa)) void victim(void)
{
	__asm__ volatile("nop\n\tnop" : : : "memory");
}

static uint64_t alias(uint64_t image_address)
{
	return DIRECT_MAP_BASE + (image_address - KERNEL_VIRT_BASE);
}

static int leaf(vaddr_t va, struct pt_entry *e)
{
	*e = (struct pt_entry){ 0, 0, 0, ~0u };
	return pt_translate(kernel_root, va, e);
}

/* ---- the image ---- */

/* How many pages of the section are not mapped to where they are loaded with just that protection. */
static unsigned other_pages(const char *start, const char *end, unsigned prot, unsigned *holes)
{
	unsigned other = 0;
	struct pt_entry e;

	*holes = 0;
	for (vaddr_t va = harness_addr(start); va < harness_addr(end); va += PAGE_SIZE) {
		if (leaf(va, &e))
			++*holes;
		else
			other += e.pa + (va - e.va) != va - KERNEL_VIRT_BASE || (e.prot & ~VM_GLOBAL) != prot;
	}
	return other;
}

KTEST(mm, kspace_image)
{
	unsigned holes;

	KASSERT(kernel_root != 0);
	KASSERT_EQ(HARNESS_READ("mov %%cr3, %0") & ADDRESS, kernel_root);
	KASSERT_EQ(other_pages(__text_start, __text_end, VM_EXEC, &holes), 0);
	KASSERT_EQ(holes, 0);
	KASSERT_EQ(other_pages(__rodata_start, __rodata_end, VM_READ, &holes), 0);
	KASSERT_EQ(holes, 0);
	KASSERT_EQ(other_pages(__data_start, __data_end, VM_WRITE, &holes), 0);
	KASSERT_EQ(holes, 0);
	KASSERT_EQ(other_pages(__bss_start, __bss_end, VM_WRITE, &holes), 0);
	KASSERT(holes > 0);                             /* beneath stacks */
	KASSERT(holes <= 1 + 4 * CPU_MAX);
}

KTEST(mm, kspace_text)
{
	const uint64_t at = harness_addr((const void *)victim);

	victim();
	KASSERT_EQ(fault_of(memory_write, at), FAULT_PRESENT | FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_write, alias(at)), FAULT_PRESENT | FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_write, harness_addr(__text_start)), FAULT_PRESENT | FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_fetch, alias(at)), FAULT_PRESENT | FAULT_FETCH);
	victim();
}

KTEST(mm, kspace_rodata)
{
	const uint64_t at = harness_addr(constant);

	KASSERT_EQ(fault_of(memory_write, at), FAULT_PRESENT | FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_write, alias(at)), FAULT_PRESENT | FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_read, alias(at)), NO_FAULT);
	for (vaddr_t va = harness_addr(__text_start); va < harness_addr(__rodata_end); va += PAGE_SIZE) {
		struct pt_entry e;

		KASSERT_EQ(leaf(alias(va), &e), 0);
		KASSERT_EQ(e.prot & (VM_WRITE | VM_EXEC), 0);
	}
}

/* What can be written is not executed. */
KTEST(mm, kspace_data)
{
	volatile uint8_t stack[16];
	paddr_t frame;

	for (unsigned i = 0; i < sizeof stack; i++)
		stack[i] = 0xc3;
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	*(volatile uint8_t *)phys_to_virt(frame) = 0xc3;
	KASSERT_EQ(fault_of(memory_fetch, harness_addr(data)), FAULT_PRESENT | FAULT_FETCH);
	KASSERT_EQ(fault_of(memory_fetch, harness_addr(constant)), FAULT_PRESENT | FAULT_FETCH);
	KASSERT_EQ(fault_of(memory_fetch, (uint64_t)stack), FAULT_PRESENT | FAULT_FETCH);
	KASSERT_EQ(fault_of(memory_fetch, (uint64_t)phys_to_virt(frame)), FAULT_PRESENT | FAULT_FETCH);
	KASSERT_EQ(fault_of(memory_write, harness_addr(data) + 8), NO_FAULT);
	KASSERT_EQ(frame_free(frame), 0);
}

/* ---- all tables ---- */

static struct {
	uint64_t leaves, writable_code, user, low;
} all;

static int count_leaf(const struct pt_entry *e, void *arg)
{
	(void)arg;
	all.leaves++;
	all.writable_code += (e->prot & (VM_WRITE | VM_EXEC)) == (VM_WRITE | VM_EXEC);
	all.user += (e->prot & VM_USER) != 0;
	all.low += e->va < HALF;
	return 0;
}

KTEST(mm, kspace_wx)
{
	harness_memset(&all, 0, sizeof all);
	KASSERT_EQ(pt_walk(kernel_root, 0, UINT64_MAX, count_leaf, NULL), 0);
	KASSERT(all.leaves > 16);
	KASSERT_EQ(all.writable_code, 0);
	KASSERT_EQ(all.user, 0);
}

/* Nothing is left of the boot tables' window, nor of the page that processors were started in. */
KTEST(mm, kspace_low)
{
	harness_memset(&all, 0, sizeof all);
	KASSERT_EQ(pt_walk(kernel_root, 0, HALF - 1, count_leaf, NULL), 0);
	KASSERT_EQ(all.leaves, 0);
	KASSERT_EQ(fault_of(memory_read, 0x100000), 0);
	KASSERT_EQ(fault_of(memory_read, harness_addr(__kernel_phys_start)), 0);
}

KTEST(mm, kspace_null)
{
	static const uint64_t at[] = { 0, 8, 0xfff, 0x1000, 0xffff };

	for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
		KASSERT_EQ(fault_of(memory_read, at[i]), 0);
		KASSERT_EQ(fault_of(memory_write, at[i]), FAULT_WRITE);
		KASSERT_EQ(fault_of(memory_fetch, at[i]), FAULT_FETCH);
	}
}

/* The root's entries for all that the kernel will ever map are there, since other roots have copies of them; some stay empty. */
KTEST(mm, kspace_slots)
{
	const volatile uint64_t *root = phys_to_virt(kernel_root);
	const vaddr_t areas[] = { DIRECT_MAP_BASE, KSTACK_BASE, DEVICE_MAP_BASE, KERNEL_VIRT_BASE };
	unsigned empty = 0;
	paddr_t other;

	for (unsigned i = 0; i < 4; i++)
		KASSERT_EQ(root[areas[i] >> 39 & 511] & 1, 1);
	KASSERT_EQ(pt_create(&other), 0);
	for (unsigned i = 0; i < 512; i++) {
		const uint64_t copy = ((const volatile uint64_t *)phys_to_virt(other))[i];

		empty += i >= 256 && !(root[i] & 1);
		if (i >= 256)
			KASSERT_EQ(copy, root[i]);
		else
			KASSERT_EQ(copy, 0);
	}
	KASSERT_EQ(pt_destroy(other), 0);
	KASSERT(empty > 0);
}

/* ---- all of RAM ---- */

static bool is_direct(paddr_t pa)
{
	struct pt_entry e;

	if (leaf(DIRECT_MAP_BASE + pa, &e) || e.pa + (DIRECT_MAP_BASE + pa - e.va) != pa)
		return false;
	(void)*(volatile const uint8_t *)phys_to_virt(pa);
	return !(e.prot & (VM_EXEC | VM_USER | VM_UNCACHED));
}

KTEST(mm, kspace_direct)
{
	const struct boot_info *info = boot_info();
	uint64_t seed = harness_seed();
	struct pt_entry e;
	unsigned large = 0;

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const struct boot_mem *r = &info->mem[i];
		const paddr_t first = r->base < PAGE_SIZE ? PAGE_SIZE : (r->base + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		const paddr_t end = (r->base + r->len) & ~(PAGE_SIZE - 1);

		for (paddr_t pa = r->base & ~(PAGE_SIZE - 1); pa < 1 << 20 && pa < r->base + r->len; pa += PAGE_SIZE)
			KASSERT(pa == 0 || is_direct(pa));      /* firmware's tables too */
		if (r->type != BOOT_MEM_USABLE || first >= end)
			continue;
		KASSERT(is_direct(first));
		KASSERT(is_direct(end - 1));
		for (unsigned n = 0; n < 64; n++)
			KASSERT(is_direct(first + harness_random(&seed) % (end - first)));
		KASSERT_EQ(leaf(DIRECT_MAP_BASE + end - 1, &e), 0);
		KASSERT_EQ(e.prot & VM_WRITE, VM_WRITE);
		for (paddr_t pa = first; pa < end; pa += LARGE_PAGE_SIZE)
			large += leaf(DIRECT_MAP_BASE + pa, &e) == 0 && e.size == LARGE_PAGE_SIZE;
	}
	KASSERT(large >= 8);
	KASSERT(leaf(DIRECT_MAP_BASE + 0xA0000, &e) == -ENOENT);        /* what is no RAM is not in it */
	KASSERT(leaf(DIRECT_MAP_BASE + 0xFEE00000, &e) == -ENOENT);
}

KTEST(mm, frames_high)
{
	const struct boot_info *info = boot_info();
	uint64_t usable = 0, high = 0, wrong = 0, id = 0, seen = 0;
	struct frame_stats before, after;
	paddr_t taken;

	for (uint32_t i = 0; i < info->mem_count; i++)
		if (info->mem[i].type == BOOT_MEM_USABLE && info->mem[i].base >= FOUR_GIB)
			usable += info->mem[i].len;
	if (usable < 64 << 20)
		return;                                 /* there is nothing to say of it */
	frame_get_stats(&before);
	taken = hog();
	/* the last word of each run is its own, be it above or below */
	for (paddr_t run = taken; run; run = hogged_at(run)->next)
		((volatile uint64_t *)phys_to_virt(run + hogged_at(run)->count * PAGE_SIZE))[-1] = ++id;
	for (paddr_t run = taken; run; run = hogged_at(run)->next) {
		const uint64_t count = hogged_at(run)->count;

		wrong += ((volatile uint64_t *)phys_to_virt(run + count * PAGE_SIZE))[-1] != ++seen;
		high += run < FOUR_GIB ? 0 : count;
		if (run >= FOUR_GIB)
			wrong += !frame_managed(run) || !frame_managed(run + count * PAGE_SIZE - 1);
	}
	unhog(taken);
	KASSERT_EQ(seen, id);
	KASSERT_EQ(wrong, 0);
	KASSERT(high * PAGE_SIZE >= usable / 2);
	KASSERT_EQ(high, before.free - before.low_free);
	frames_open_high();                             /* a second time: nothing */
	frame_get_stats(&after);
	KASSERT_EQ(after.free, before.free);
	KASSERT_EQ(after.total, before.total);
	KASSERT_EQ(after.low_free, before.low_free);
}

/* ---- every processor ---- */

static struct report {
	uint64_t cr0, cr3, cr4, efer;
} reports[CPU_MAX];

static void report(void *arg)
{
	struct report *r = &reports[cpu_self()->index];

	(void)arg;
	r->cr0 = HARNESS_READ("mov %%cr0, %0");
	r->cr3 = HARNESS_READ("mov %%cr3, %0");
	r->cr4 = HARNESS_READ("mov %%cr4, %0");
	r->efer = harness_rdmsr(0xC0000080);
}

KTEST(mm, kspace_cr)
{
	uint32_t a = 7, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	harness_memset(reports, 0, sizeof reports);
	cpu_on_each(report, NULL);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(reports[i].cr3 & ADDRESS, kernel_root);
		KASSERT_EQ(reports[i].cr0 >> 16 & 1, 1);
		KASSERT_EQ(reports[i].efer >> 11 & 1, 1);
		KASSERT_EQ(reports[i].cr4 >> 7 & 1, 1);
		KASSERT_EQ(reports[i].cr4 >> 20 & 1, b >> 7 & 1);
		KASSERT_EQ(reports[i].cr4 >> 21 & 1, b >> 20 & 1);
	}
}

/* The boot stack's own lowest page. */
KTEST(mm, kspace_hole)
{
	const vaddr_t bottom = harness_addr(boot_stack_bottom);
	struct pt_entry e;

	KASSERT_EQ(leaf(bottom, &e), -ENOENT);
	KASSERT_EQ(fault_of(memory_write, bottom), FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_write, bottom + PAGE_SIZE - 1), FAULT_WRITE);
	KASSERT_EQ(leaf(bottom + PAGE_SIZE, &e), 0);
}

/* No processor still has what the tables no longer say. */
static uint64_t low_reads;

static void read_low(void *arg)
{
	(void)arg;
	for (vaddr_t at = 0; at < 1 << 20; at += PAGE_SIZE)
		if (fault_of(memory_read, at) != 0)
			__atomic_fetch_add(&low_reads, 1, __ATOMIC_SEQ_CST);
}

KTEST(mm, kspace_low_all)
{
	low_reads = 0;
	cpu_on_each(read_low, NULL);
	KASSERT_EQ(low_reads, 0);
}

/* ---- boots of their own: the console's lines are in NAME.panic ---- */

static __attribute__((noipa)) uint64_t overflow(uint64_t depth)
{
	volatile uint64_t words[32];

	words[depth % 32] = depth;
	return depth == UINT64_MAX ? 0 : overflow(depth + 1) + words[depth % 32];
}

KPANIC(mm, stack_overflow)
{
	overflow(0);
	__asm__ volatile("" : : : "memory");
}

static __attribute__((noipa)) void write_to(uint64_t at)
{
	__asm__ volatile("push %%rbp\n\tmovb $1, (%0)\n\tpop %%rbp" : : "r"(at) : "memory");
}

KPANIC(mm, null_write)
{
	write_to(0x10);
	__asm__ volatile("" : : : "memory");
}

KPANIC(mm, text_write)
{
	write_to(harness_addr((const void *)victim));
	__asm__ volatile("" : : : "memory");
}
