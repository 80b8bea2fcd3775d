/* Acceptance of mm/stacks.c, and of who calls it: beneath each stack of each processor is a page that faults. See spec/mm.md. */
#include "boot.h"
#include "cpu.h"
#include "memory.h"

static struct {
	uint64_t pages;                 /* of the stack in use, from here down to its hole */
	unsigned open, torn;            /* stacks of the TSS without a hole beneath, and such as are not all there */
} reports[CPU_MAX];

static bool is_hole(vaddr_t va)
{
	struct pt_entry e;

	return pt_translate(kernel_root, va, &e) == -ENOENT && fault_of(memory_read, va) == 0;
}

static void report(void *arg)
{
	const unsigned me = cpu_self()->index;
	const uint64_t *gdt = (const uint64_t *)harness_gdt().base;
	const volatile struct tss *tss = (const volatile struct tss *)((gdt[5] >> 16 & 0xffffff) | (gdt[5] >> 56 & 0xff) << 24 | gdt[6] << 32);
	vaddr_t page = (vaddr_t)__builtin_frame_address(0) & ~(PAGE_SIZE - 1);

	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		reports[me].open += !is_hole(tss->ist[i] - IST_STACK_SIZE - 1) || !is_hole(tss->ist[i] - IST_STACK_SIZE - PAGE_SIZE);
		for (vaddr_t at = tss->ist[i] - IST_STACK_SIZE; at < tss->ist[i]; at += PAGE_SIZE)
			reports[me].torn += is_hole(at);
	}
	/* the hole lies no further off than a stack is long */
	for (; reports[me].pages <= BOOT_STACK_SIZE / PAGE_SIZE && !is_hole(page); page -= PAGE_SIZE)
		reports[me].pages++;
}

KTEST(mm, stacks_holes)
{
	harness_memset(reports, 0, sizeof reports);
	KASSERT_EQ(cpu_on_each(report, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(reports[i].open, 0);
		KASSERT_EQ(reports[i].torn, 0);
		KASSERT(reports[i].pages >= 1);
		KASSERT(reports[i].pages <= (i ? CPU_STACK_SIZE : BOOT_STACK_SIZE) / PAGE_SIZE);
	}
}

static uint8_t pages[3 * PAGE_SIZE] __attribute__((aligned(4096)));
static uint32_t seen, gone;

static void touch(void *at)
{
	if (fault_of(memory_read, (vaddr_t)at) == NO_FAULT)
		__atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
}

static void look(void *at)
{
	if (is_hole((vaddr_t)at))
		__atomic_fetch_add(&gone, 1, __ATOMIC_SEQ_CST);
}

/* A page of the image, for all processors, the same one only once. */
KTEST(mm, stacks_guard)
{
	uint8_t *middle = pages + PAGE_SIZE;
	const vaddr_t at = (vaddr_t)middle;
	int first, again;

	seen = gone = 0;
	cpu_on_each(touch, middle);
	first = stack_guard(middle);
	cpu_on_each(look, middle);
	again = stack_guard(middle);
	KASSERT_EQ(first, 0);
	KASSERT_EQ(again, -ENOENT);
	KASSERT_EQ(stack_guard(middle + 8), -EINVAL);
	KASSERT_EQ(seen, cpu_count());
	KASSERT_EQ(gone, cpu_count());
	KASSERT(is_hole(at + PAGE_SIZE - 1));
	KASSERT_EQ(fault_of(memory_write, at - 1), NO_FAULT);
	KASSERT_EQ(fault_of(memory_write, at + PAGE_SIZE), NO_FAULT);
	/* as it was */
	KASSERT_EQ(pt_map(kernel_root, at, at - KERNEL_VIRT_BASE, PAGE_SIZE, VM_WRITE | VM_GLOBAL), 0);
	KASSERT_EQ(fault_of(memory_write, at), NO_FAULT);
}
