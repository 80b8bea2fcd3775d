/* Spin locks: ticket locks, first come first served, between processors. While one is held this processor's preempt
 * count (cpu.h) is 1 more, so its holder may not sleep. Nothing here works before gdt_load on this processor. A lock
 * is not recursive: who takes one that it holds waits for ever; that is not checked. No function has errors. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* {0} is unlocked. next is the ticket given out next, serving the holder's; both wrap. */
struct spinlock {
	volatile uint32_t next, serving;
};

/* Waits, with `pause`, until the lock is this processor's; preempt_count + 1. Interrupts must be off or never take
 * it. */
void spin_lock(struct spinlock *l);

/* Gives the lock to who has waited longest; preempt_count - 1. By its holder, on the processor that took it. */
void spin_unlock(struct spinlock *l);

/* Interrupts off, then as spin_lock; returns RFLAGS as they were before, for spin_unlock_irqrestore. Any context. */
uint64_t spin_lock_irqsave(struct spinlock *l);

/* As spin_unlock; then interrupts on if they are on in flags, which are what spin_lock_irqsave of this lock
 * returned. */
void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags);

/* Takes the lock if that needs no waiting: true, and preempt_count + 1; give it back by spin_unlock. false: taken,
 * nothing changed. Interrupts as for spin_lock. */
bool spin_trylock(struct spinlock *l);
