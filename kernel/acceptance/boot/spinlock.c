/* Acceptance of boot/spinlock.c as one processor sees it; acceptance/boot/smp.c has what takes several. See spec/boot.md. */
#include "cpu.h"
#include "internal.h"
#include "spinlock.h"

enum { IF = 1 << 9 };

static struct spinlock lock, inner;

KTEST(boot, spin_trylock)
{
	const uint32_t preempt = cpu_self()->preempt_count;
	bool first, second, third;
	uint32_t held, refused;

	first = spin_trylock(&lock);
	held = cpu_self()->preempt_count;
	second = spin_trylock(&lock);
	refused = cpu_self()->preempt_count;
	spin_unlock(&lock);
	third = spin_trylock(&lock);
	spin_unlock(&lock);
	KASSERT(first);
	KASSERT(!second);
	KASSERT(third);
	KASSERT_EQ(held, preempt + 1);
	KASSERT_EQ(refused, preempt + 1);
	KASSERT_EQ(cpu_self()->preempt_count, preempt);
	KASSERT_EQ(lock.next, lock.serving);
}

/* Tickets, also when their numbers start again at 0. */
KTEST(boot, spin_tickets)
{
	const uint64_t flags = harness_cli();
	const uint32_t preempt = cpu_self()->preempt_count;
	uint32_t wrong = 0;
	bool taken;

	lock.next = lock.serving = UINT32_MAX - 2;
	for (uint32_t i = 0; i < 6; i++) {
		spin_lock(&lock);
		wrong += lock.serving != UINT32_MAX - 2 + i || lock.next != UINT32_MAX - 1 + i;
		wrong += spin_trylock(&lock);
		wrong += cpu_self()->preempt_count != preempt + 1;
		spin_unlock(&lock);
		wrong += lock.serving != lock.next;
	}
	taken = spin_trylock(&lock);
	spin_unlock(&lock);
	lock = (struct spinlock){ 0 };
	harness_restore(flags);
	KASSERT_EQ(wrong, 0);
	KASSERT(taken);
	KASSERT_EQ(cpu_self()->preempt_count, preempt);
}

/* Interrupts are off inside and as they were afterwards, one lock within another too. */
KTEST(boot, spin_irq)
{
	const uint64_t flags = harness_cli();
	uint64_t outer_flags, inner_flags, inside, between, on, off;

	__asm__ volatile("sti" : : : "memory");
	outer_flags = spin_lock_irqsave(&lock);
	inner_flags = spin_lock_irqsave(&inner);
	inside = harness_flags();
	spin_unlock_irqrestore(&inner, inner_flags);
	between = harness_flags();
	spin_unlock_irqrestore(&lock, outer_flags);
	on = harness_flags();
	__asm__ volatile("cli" : : : "memory");
	outer_flags = spin_lock_irqsave(&lock);
	spin_unlock_irqrestore(&lock, outer_flags);
	off = harness_flags();
	harness_restore(flags);
	KASSERT_EQ(inside & IF, 0);
	KASSERT_EQ(between & IF, 0);
	KASSERT_EQ(on & IF, IF);
	KASSERT_EQ(off & IF, 0);
	KASSERT_EQ(lock.next, lock.serving);
	KASSERT_EQ(inner.next, inner.serving);
}
