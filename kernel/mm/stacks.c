/* Holes beneath stacks that lie in the image. See spec/mm.md, "kspace, stacks, kstack, device". */
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "mm.h"
#include "spinlock.h"

/* kernel.ld: where the image begins and ends, page-aligned. */
extern const char __text_start[], __bss_end[];

/* For the image's page tables, which nobody else changes once kspace_init has returned. Given back before the
 * shootdown (invariant 8). */
static struct spinlock image_lock;

/* The frame stays the image's, so it is not freed, and keeps its address in the direct map. */
int stack_guard(void *page)
{
	const vaddr_t va = (vaddr_t)page;
	uint64_t flags;
	int err;

	if (va < (vaddr_t)__text_start || va >= (vaddr_t)__bss_end)
		return -EINVAL;
	flags = spin_lock_irqsave(&image_lock);
	err = pt_unmap(kernel_root, va, PAGE_SIZE);
	spin_unlock_irqrestore(&image_lock, flags);
	if (!err)
		tlb_shootdown(NULL, va, PAGE_SIZE);
	return err;
}
