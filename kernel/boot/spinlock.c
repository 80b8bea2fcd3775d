/* Ticket locks. See spec/boot.md, "Processors". The holder's ticket is serving; tickets from serving up to, not
 * including, next are the holder's and the waiters'; next == serving: unlocked. Numbers wrap, so they are only
 * compared for equality. */
#include <stdbool.h>
#include <stdint.h>
#include "cpu.h"
#include "io.h"
#include "spinlock.h"

#define RFLAGS_IF (1u << 9)

/* The preempt count, gs:16 by cpu.h, in one instruction: an interrupt, or a move to another processor, comes before it
 * or after it, never between a read and a write. The count covers the lock's whole life: raised before the ticket is
 * taken, lowered after the lock is given on. */
static inline void preempt_raise(void)
{
	__asm__ volatile("incl %%gs:16" : : : "memory", "cc");
}

static inline void preempt_lower(void)
{
	__asm__ volatile("decl %%gs:16" : : : "memory", "cc");
}

void spin_lock(struct spinlock *l)
{
	uint32_t ticket;

	preempt_raise();
	ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)
		cpu_pause();
}

/* Only the holder writes serving. */
void spin_unlock(struct spinlock *l)
{
	__atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE);
	preempt_lower();
}

/* serving never passes next: if next still is what serving was, nobody holds the lock or waits, and the ticket taken
 * is the one that is served. */
bool spin_trylock(struct spinlock *l)
{
	uint32_t ticket;

	preempt_raise();
	ticket = __atomic_load_n(&l->serving, __ATOMIC_ACQUIRE);
	if (__atomic_compare_exchange_n(&l->next, &ticket, ticket + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return true;
	preempt_lower();
	return false;
}

uint64_t spin_lock_irqsave(struct spinlock *l)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	spin_lock(l);
	return flags;
}

void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags)
{
	spin_unlock(l);
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}
