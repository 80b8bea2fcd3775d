/* What acceptance tests of memory share: all of memory taken, accesses that may fault, and what a piece of work costs. */
#ifndef AUTON_HARNESS_MEMORY_H
#define AUTON_HARNESS_MEMORY_H

#include "boot.h"
#include "desc.h"
#include "internal.h"
#include "mm.h"

static inline uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

/* ---- nothing left ---- */

/* What stands in the first frame of each run that was taken. */
struct hogged {
	paddr_t next;
	uint64_t count;
};

static inline struct hogged *hogged_at(paddr_t pa)
{
	return (struct hogged *)(DIRECT_MAP_BASE + pa);
}

/* Takes every frame there is, in as long runs as there are; what unhog() wants, 0 if there was none. */
static inline paddr_t hog(void)
{
	paddr_t head = 0, pa;

	for (size_t count = 1 << 15; count; count /= 2)
		while (frame_alloc_contig(count, 1, 0, 0, &pa) == 0) {
			*hogged_at(pa) = (struct hogged){ head, count };
			head = pa;
		}
	return head;
}

static inline void unhog(paddr_t head)
{
	while (head) {
		const struct hogged run = *hogged_at(head);

		frame_free_contig(head, run.count);
		head = run.next;
	}
}

/* ---- accesses that may fault ---- */

static inline void memory_read(void *at)
{
	(void)*(volatile uint8_t *)at;
}

/* The byte is that of a return, so that it may be executed. */
static inline void memory_write(void *at)
{
	*(volatile uint8_t *)at = 0xc3;
}

static inline void memory_fetch(void *at)
{
	__asm__ volatile("call *%0" : : "r"(at) : "memory", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

enum { NO_FAULT = -1, OTHER_FAULT = -2, FAULT_PRESENT = 1, FAULT_WRITE = 2, FAULT_FETCH = 16 };

/* The error code of the page fault that the access makes at that very address; NO_FAULT; OTHER_FAULT. */
static inline int fault_of(void (*access)(void *), uint64_t at)
{
	struct trap_frame frame;

	if (trap_catch(access, (void *)at, &frame) != 1)
		return NO_FAULT;
	return frame.vector == VEC_PAGE_FAULT && HARNESS_READ("mov %%cr2, %0") == at ? (int)frame.error : OTHER_FAULT;
}

/* Runs fn(arg) with those page tables, interrupts off, on this processor. */
static inline void with_root(paddr_t root, void (*fn)(void *), void *arg)
{
	const uint64_t flags = harness_cli(), before = HARNESS_READ("mov %%cr3, %0");

	__asm__ volatile("mov %0, %%cr3" : : "r"(root) : "memory");
	fn(arg);
	__asm__ volatile("mov %0, %%cr3" : : "r"(before) : "memory");
	harness_restore(flags);
}

/* ---- what it costs ---- */

/* Whether kmalloc looks for mistakes in this boot, which takes longer: the command line holds the word slab.debug. */
static inline bool memory_debugging(void)
{
	static const char word[] = "slab.debug";
	const char *at = boot_info()->cmdline;
	size_t same = 0;

	for (; *at && same < sizeof word - 1; at++)
		same = *at == word[same] ? same + 1 : *at == word[0];
	return same == sizeof word - 1;
}

/* Ticks that one of 1000 iterations takes, rounded up. What is outside of the loop drops out. */
static inline uint64_t ticks_each(void (*loop)(uint64_t n))
{
	const uint64_t flags = harness_cli();
	uint64_t start, once, twice;

	loop(1);
	start = harness_ticks();
	loop(1000);
	once = harness_ticks() - start;
	start = harness_ticks();
	loop(2000);
	twice = harness_ticks() - start;
	harness_restore(flags);
	return (twice - once + 999) / 1000;
}

/* Processors, as QEMU tells. */
static inline unsigned memory_processors(void)
{
	return (unsigned)fw_cfg_number(FW_CFG_PROCESSORS, 2);
}

#endif
