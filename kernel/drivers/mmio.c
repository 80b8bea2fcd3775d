/* The way to registers in memory: the direct map, which has RAM and what firmware left in the first MiB, or device_map.
 * See spec/drivers.md. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "mm.h"
#include "mmio.h"
#include "spinlock.h"

#define DIRECT_MAP_SIZE (KSTACK_BASE - DIRECT_MAP_BASE)         /* what lies above is another area's */

enum { MAPPED_MAX = 64 };

/* What device_map gave; whole pages, for good. They are given again to who asks for a part of them, as acpi.c maps the
 * same tables at each call. */
static struct {
	uint64_t first, last;                                   /* physical */
	volatile uint8_t *at;                                   /* where first is */
} mapped[MAPPED_MAX];
static unsigned mapped_count;
static struct spinlock mmio_lock;                               /* never taken by interrupts */

/* Does the direct map have all pages of [first, last]? It does not change any more: no lock is needed to look. */
static bool is_direct(uint64_t first, uint64_t last)
{
	struct pt_entry leaf;

	if (last >= DIRECT_MAP_SIZE)
		return false;
	for (uint64_t at = first; at <= last; at = leaf.va + leaf.size - DIRECT_MAP_BASE)
		if (pt_translate(kernel_root, DIRECT_MAP_BASE + at, &leaf))
			return false;
	return true;
}

/* Where [phys, last] is mapped by device_map, now or before; NULL: it cannot be had. Under the lock. */
static volatile uint8_t *map_device(uint64_t phys, uint64_t last)
{
	const uint64_t first = phys & ~(PAGE_SIZE - 1), page_last = last | (PAGE_SIZE - 1);
	void *at;

	for (unsigned i = 0; i < mapped_count; i++)
		if (mapped[i].first <= phys && last <= mapped[i].last)
			return mapped[i].at + (phys - mapped[i].first);
	/* If the length overflows device_map refuses it: 0 or up to the end of all addresses. */
	if (mapped_count == MAPPED_MAX || device_map(first, page_last - first + 1, &at))
		return NULL;
	mapped[mapped_count].first = first;
	mapped[mapped_count].last = page_last;
	mapped[mapped_count].at = at;
	return mapped[mapped_count++].at + (phys - first);
}

volatile void *mmio_map(uint64_t phys, size_t size)
{
	const uint64_t last = phys + size - 1;
	volatile uint8_t *at;

	if (!size || last < phys)
		return NULL;
	if (is_direct(phys, last))
		return phys_to_virt(phys);
	spin_lock(&mmio_lock);
	at = map_device(phys, last);
	spin_unlock(&mmio_lock);
	return at;
}
