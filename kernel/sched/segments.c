/* The segment registers as the kernel has them. See spec/sched.md, invariant 4 and "Hardware facts".
 *
 * What ring 3 loads into DS, ES, FS and GS stays there in the kernel, and an interrupt or exception from ring 3 leaves
 * SS 0; whoever is switched to would keep that. So they are loaded when the old or the new thread has a space. On the
 * way to ring 3 nothing needs to be: iretq makes DS and ES 0, because the kernel's data segment has DPL 0, and leaves
 * FS and GS, which are 0 already, and their bases alone.
 *
 * To load GS may clear the base that is active, so that must be ring 3's then and not the kernel's: a swapgs before it,
 * one after it. In between only an NMI or a machine check can come: interrupts and TF are off, to load a null selector
 * does not fault, and nothing touches memory. That is right, as the stub of vectors 2, 8 and 18 looks at the active GS
 * base and not at CS: ring 3's is in the lower half, so it swaps the kernel's in, and ring 3's back afterwards. */
#include "desc.h"
#include "thread.h"

/* In: the two selectors, in any registers. Out: SS, DS, ES, FS, GS; the active GS base is the kernel's, as before. All
 * in one statement: the compiler must put no access by %gs between the two swapgs. */
void thread_load_segments(void)
{
	__asm__ volatile(
		"movl %[data], %%ss\n\t"
		"movl %[data], %%ds\n\t"
		"movl %[data], %%es\n\t"
		"movl %[null], %%fs\n\t"
		"swapgs\n\t"
		"movl %[null], %%gs\n\t"
		"swapgs"
		: : [data] "r"(SEL_KERNEL_DATA), [null] "r"(0) : "memory");
}
