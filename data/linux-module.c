/* A module for the Linux of linux-init.c, which loads it: what the kernel's own allocators take there when the kernel calls them,
 * in instructions, taken as there. */
#include <asm/msr.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/slab.h>

enum { ROUNDS = 10, TIMES = 1000 };

static void frame(void)
{
	__free_page(alloc_page(GFP_KERNEL));
}

static void object(void)
{
	kfree(kmalloc(64, GFP_KERNEL));
}

/* Of one call: of TIMES, the loop that is around them included. The call is inlined: one by pointer takes Linux 20 more. */
static __always_inline void measure(const char *what, void (*call)(void))
{
	u64 best = U64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		const u64 start = rdtsc_ordered();

		for (int i = 0; i < TIMES; i++)
			call();
		best = min(best, rdtsc_ordered() - start);
	}
	pr_emerg("# %s: %llu\n", what, best / TIMES);
}

static int __init figures_init(void)
{
	measure("a page frame allocated and freed in the kernel (alloc_page, __free_page)", frame);
	measure("kmalloc and kfree of 64 bytes in the kernel", object);
	return 0;
}
module_init(figures_init);
MODULE_LICENSE("Apache-2.0");
MODULE_DESCRIPTION("What the allocators take, in instructions");
