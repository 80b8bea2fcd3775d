/* Registers of devices in the kernel's address space, uncached. See spec/mm.md, "kspace, stacks, kstack, device".
 *
 * What is mapped stands in a static table, in the order of addresses, so that the first gap is found by one pass and
 * nothing is needed of slab. What device_unmap has taken out of the page tables stays in it, as going, until all
 * processors have forgotten it: its addresses are not given again before (invariant 5). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "panic.h"
#include "spinlock.h"
#include "string.h"

#define WINDOW_END (DEVICE_MAP_BASE + (1ul << 39))      /* the area has one entry of the root: see kspace */

enum { MAPPINGS_MAX = 256, RAM_MAX = 2 * BOOT_MEM_MAX };

struct mapping {
	vaddr_t at;                                     /* as device_map gave it */
	size_t len;                                     /* as it was asked for */
	bool going;
};

/* Ascending; no two have a page in common. The lock is for the area's page tables, too. It is not held across a
 * shootdown (invariant 8). */
static struct mapping mappings[MAPPINGS_MAX];
static size_t mapping_count;
static struct spinlock device_lock;

/* What memmap gives, from INIT_MM + 1 on. There cannot be so many. */
static struct mm_range ram[RAM_MAX];
static size_t ram_count;

static uint64_t page_down(uint64_t at)
{
	return at & ~(PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t at)
{
	return page_down(at + PAGE_SIZE - 1);
}

/* The pages that a mapping touches. */
static vaddr_t base_of(const struct mapping *m)
{
	return page_down(m->at);
}

static vaddr_t end_of(const struct mapping *m)
{
	return page_up(m->at + m->len);
}

/* ---- what is refused ---- */

/* How many bits of a physical address the processor has; at most 52. */
static unsigned address_bits(void)
{
	uint32_t a = 0x80000008, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a & 0xff;
}

/* [first, end): whole pages. */
static bool touches_ram(paddr_t first, paddr_t end)
{
	for (size_t i = 0; i < ram_count; i++)
		if (first < ram[i].base + ram[i].len && ram[i].base < end)
			return true;
	return false;
}

/* ---- mapping ---- */

/* The index that a mapping of so many bytes, whole pages, is to have, and in *base where it begins: in the first gap
 * that is long enough, or behind all, where the window may be too short. */
static size_t find_gap(size_t bytes, vaddr_t *base)
{
	size_t i = 0;

	for (*base = DEVICE_MAP_BASE; i < mapping_count && base_of(&mappings[i]) - *base < bytes; i++)
		*base = end_of(&mappings[i]);
	return i;
}

/* Maps [first, end), whole pages, for [pa, pa + len), which lies within; under the lock. */
static int map_locked(paddr_t first, paddr_t end, paddr_t pa, size_t len, void **out)
{
	vaddr_t base;
	const size_t i = find_gap(end - first, &base);
	int err;

	if (mapping_count == MAPPINGS_MAX || WINDOW_END - base < end - first)
		return -ENOMEM;
	err = pt_map(kernel_root, base, first, end - first, VM_WRITE | VM_UNCACHED | VM_GLOBAL);
	if (err)
		return err;
	memmove(&mappings[i + 1], &mappings[i], (mapping_count - i) * sizeof *mappings);
	mappings[i] = (struct mapping){ .at = base + (pa - first), .len = len };
	mapping_count++;
	*out = (void *)mappings[i].at;
	return 0;
}

int device_map(paddr_t pa, size_t len, void **out)
{
	const paddr_t last = pa + len - 1, first = page_down(pa);
	uint64_t flags;
	int err;

	if (!len || last < pa || last >> address_bits() || touches_ram(first, page_up(last + 1)))
		return -EINVAL;
	flags = spin_lock_irqsave(&device_lock);
	err = map_locked(first, page_up(last + 1), pa, len, out);
	spin_unlock_irqrestore(&device_lock, flags);
	return err;
}

/* ---- unmapping ---- */

/* The mapping with just that address; NULL: there is none. */
static struct mapping *find(vaddr_t at)
{
	for (size_t i = 0; i < mapping_count; i++)
		if (mappings[i].at == at)
			return &mappings[i];
	return NULL;
}

static void forget(struct mapping *m)
{
	mapping_count--;
	memmove(m, m + 1, (size_t)(&mappings[mapping_count] - m) * sizeof *m);
}

int device_unmap(void *p, size_t len)
{
	uint64_t flags = spin_lock_irqsave(&device_lock);
	struct mapping *m = find((vaddr_t)p);
	vaddr_t base;
	size_t bytes;

	if (!m || m->len != len || m->going) {
		spin_unlock_irqrestore(&device_lock, flags);
		return -EINVAL;
	}
	base = base_of(m);
	bytes = end_of(m) - base;
	/* What was mapped by one call has no large page in common with others: nothing has to be split. */
	if (pt_unmap(kernel_root, base, bytes))
		panic("device_unmap: a mapping is not in the page tables");
	m->going = true;
	spin_unlock_irqrestore(&device_lock, flags);

	tlb_shootdown(NULL, base, bytes);

	flags = spin_lock_irqsave(&device_lock);
	forget(find((vaddr_t)p));                       /* still there, but others may have moved it */
	spin_unlock_irqrestore(&device_lock, flags);
	return 0;
}

/* There is no device_map before the end of this level: it needs kernel_root. */
static void device_init(void)
{
	const struct boot_info *const info = boot_info();

	if (memmap_normalise(info->mem, info->mem_count, ram, RAM_MAX, &ram_count))
		panic("device_init: no usable memory map");
}
INIT(INIT_MM + 1, device_init);
