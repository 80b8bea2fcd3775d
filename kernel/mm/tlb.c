/* TLB shootdowns: what one processor takes out of page tables, all forget. See spec/mm.md, "tlb" and "Shootdown".
 *
 * A sender keeps interrupts off from its first request to the last answer, so that it stays on its processor and has
 * one request out at a time. Meanwhile it serves requests to itself, so that two who shoot at each other both get on. */
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "panic.h"

#define RFLAGS_IF (1ul << 9)
#define CR4_PGE (1ul << 7)

enum { INVLPG_MAX = 32 };               /* pages; more are not worth it one by one */

/* What each processor asks for, by the sender's index: the same of all its targets. Written by the sender, and only
 * while none of pending[] has its bit. */
static struct request {
	vaddr_t va;                     /* anywhere in the first page */
	uint64_t pages;
} requests[CPU_MAX];

/* By the target's index: bit i, processor i waits for it. Set by i once its request is written, cleared by the target
 * once it has flushed. The bit is the flag of the pair, so senders cannot lose or mix what they ask of one target. */
static uint64_t pending[CPU_MAX];
_Static_assert(CPU_MAX < 64, "a bit a processor, and the mask of all");

static uint64_t ipi_count;

static inline uint64_t bit(unsigned cpu)
{
	return 1ul << cpu;
}

/* Interrupts off; RFLAGS as they were. */
static uint64_t interrupts_save(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

static void write_cr4(uint64_t cr4)
{
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");
}

/* Global pages, too: a change of PGE drops all, whichever way it goes, so this is right before paging_init sets PGE as
 * well as after. Interrupts off. */
static void flush_everything(void)
{
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4) : : "memory");
	write_cr4(cr4 ^ CR4_PGE);
	write_cr4(cr4);
}

/* On this processor. Interrupts off. */
static void flush(const struct request *r)
{
	if (r->pages > INVLPG_MAX) {
		flush_everything();
		return;
	}
	for (uint64_t i = 0; i < r->pages; i++)
		__asm__ volatile("invlpg (%0)" : : "r"(r->va + i * PAGE_SIZE) : "memory");
}

/* The locked instruction is a full barrier: no translation of the domain is used, nor any of its tables read, before
 * the bit is seen. */
void tlb_enter(struct tlb_domain *d)
{
	__atomic_fetch_or(&d->cpus, bit(cpu_self()->index), __ATOMIC_SEQ_CST);
}

void tlb_leave(struct tlb_domain *d)
{
	__atomic_fetch_and(&d->cpus, ~bit(cpu_self()->index), __ATOMIC_SEQ_CST);
}

/* Serves those that are there on entry. One that comes later has its interrupt still to come. */
void tlb_poll(void)
{
	const uint64_t flags = interrupts_save();
	uint64_t *const mine = &pending[cpu_self()->index];

	for (uint64_t senders = __atomic_load_n(mine, __ATOMIC_ACQUIRE); senders; senders &= senders - 1) {
		const unsigned sender = (unsigned)__builtin_ctzl(senders);

		flush(&requests[sender]);
		__atomic_fetch_and(mine, ~bit(sender), __ATOMIC_SEQ_CST);
	}
	interrupts_restore(flags);
}

/* The request may have been served by polling already: then there is nothing to do. */
static void handle_shootdown(struct trap_frame *f)
{
	(void)f;
	apic_eoi();
	tlb_poll();
}

/* Posts processor self's request to each of targets and interrupts it. */
static void send(unsigned self, uint64_t targets)
{
	for (; targets; targets &= targets - 1) {
		const unsigned target = (unsigned)__builtin_ctzl(targets);

		__atomic_fetch_or(&pending[target], bit(self), __ATOMIC_SEQ_CST);
		cpu_send(target, VEC_TLB);
		__atomic_fetch_add(&ipi_count, 1, __ATOMIC_SEQ_CST);
	}
}

/* Returns when all of targets have answered processor self. */
static void wait(unsigned self, uint64_t targets)
{
	for (; targets; targets &= targets - 1)
		while (__atomic_load_n(&pending[__builtin_ctzl(targets)], __ATOMIC_ACQUIRE) & bit(self)) {
			tlb_poll();
			cpu_pause();
		}
}

void tlb_shootdown(struct tlb_domain *d, vaddr_t va, size_t len)
{
	uint64_t flags, cpus, others;
	unsigned self;

	if (!len)
		return;
	flags = interrupts_save();
	self = cpu_self()->index;
	requests[self].va = va;
	/* From va's page to that of va + len - 1, by terms that do not overflow whatever len is. */
	requests[self].pages = (len - 1) / PAGE_SIZE + (va % PAGE_SIZE + (len - 1) % PAGE_SIZE) / PAGE_SIZE + 1;

	/* The tables' change is seen before the mask is read: who sets its bit after that reads the new tables. Without
	 * the fence the change could still be in this processor's store buffer, and both would miss each other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	cpus = bit(cpu_count()) - 1;
	if (d)
		cpus &= __atomic_load_n(&d->cpus, __ATOMIC_SEQ_CST);
	others = cpus & ~bit(self);

	send(self, others);
	if (cpus & bit(self))
		flush(&requests[self]);
	wait(self, others);
	interrupts_restore(flags);
}

uint64_t tlb_ipi_count(void)
{
	return __atomic_load_n(&ipi_count, __ATOMIC_SEQ_CST);
}

/* Before or after smp_init: nobody else is to be shot at until INIT_SMP is over. */
static void tlb_init(void)
{
	if (trap_set_handler(VEC_TLB, handle_shootdown))
		panic("tlb_init: the vector of shootdowns is taken");
}
INIT(INIT_SMP, tlb_init);
