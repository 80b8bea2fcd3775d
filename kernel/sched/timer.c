/* Software timers: for each processor a binary heap by due time, and its one-shot timer for the earliest. See
 * spec/sched.md and include/sched.h, "timer".
 *
 * t->slot is t's place in the heap of processor t->cpu, from 1 up; 0: t is not armed. Both may be read by anybody at
 * any time. With a slot other than 0 t is armed, or about to be, to timer_arm and timer_cancel alike; in which heap is
 * certain only if that has t there, seen with its lock held, as who arms t writes slot before cpu.
 * Who arms t takes it by exchanging a slot of 0, with the lock held of the processor that is to fire it: so of several
 * at once one does, and waits for nobody until t is in the heap. From then on t is under this lock, cpu too, until slot
 * is 0 again, which is the last that is written to it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "panic.h"
#include "sched.h"
#include "spinlock.h"

#define RFLAGS_IF (1u << 9)

enum { BATCH = 64 };    /* fired by one interrupt; for what else is due another one comes */

/* By the processor's index. All under the lock, which is taken with interrupts off and is the innermost. asked_ns is
 * the processor's own: its VEC_TIMER comes then or earlier, UINT64_MAX: perhaps never. */
static struct queue {
	struct spinlock lock;
	uint32_t count;
	uint64_t asked_ns;
	struct timer *heap[TIMER_MAX + 1];      /* from 1 to count; the children of i are 2 i and 2 i + 1; 0 is NULL */
} queues[CPU_MAX];

/* By the processor's index: the timer whose function it runs, or NULL. Only compared: it may be gone. Set with the lock
 * held, while the timer is armed still: so whoever has found, by its slot or under the lock, that it no longer is finds
 * it here until its function has returned. */
static struct timer *running[CPU_MAX];

static uint64_t interrupts_off(void)
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

/* ---- the heap: the queue's lock is held ---- */

static void heap_set(struct queue *q, uint32_t slot, struct timer *t)
{
	q->heap[slot] = t;
	__atomic_store_n(&t->slot, slot, __ATOMIC_RELAXED);
}

/* Puts t where it belongs, from a slot that is free, upwards or downwards. */
static void heap_place(struct queue *q, uint32_t slot, struct timer *t)
{
	for (; slot > 1 && t->due_ns < q->heap[slot / 2]->due_ns; slot /= 2)
		heap_set(q, slot, q->heap[slot / 2]);
	for (uint32_t child; (child = 2 * slot) <= q->count; slot = child) {
		if (child < q->count && q->heap[child + 1]->due_ns < q->heap[child]->due_ns)
			child++;
		if (t->due_ns <= q->heap[child]->due_ns)
			break;
		heap_set(q, slot, q->heap[child]);
	}
	heap_set(q, slot, t);
}

/* Afterwards t is anybody's to arm. */
static void heap_remove(struct queue *q, struct timer *t)
{
	struct timer *last = q->heap[q->count--];

	if (last != t)
		heap_place(q, t->slot, last);
	__atomic_store_n(&t->slot, 0, __ATOMIC_RELEASE);
}

/* Another processor may be arming t: then slot is a place in its heap. */
static bool heap_has(const struct queue *q, const struct timer *t)
{
	const uint32_t slot = __atomic_load_n(&t->slot, __ATOMIC_RELAXED);

	return slot <= q->count && q->heap[slot] == t;
}

/* ---- arming and firing: on the queue's own processor ---- */

/* For the earliest that is armed; with none, never. */
static void ask(struct queue *q)
{
	q->asked_ns = q->count ? q->heap[1]->due_ns : UINT64_MAX;
	clock_oneshot(q->asked_ns);
}

/* What is asked for already stays if it is early enough. If the timer that it was for has been cancelled, it comes for
 * nothing, once. */
int timer_arm(struct timer *t, uint64_t due_ns, void (*fn)(struct timer *), void *arg)
{
	const uint64_t flags = interrupts_off();
	const uint32_t cpu = cpu_self()->index;
	struct queue *q = &queues[cpu];
	uint32_t slot = 0;
	int err = 0;

	spin_lock(&q->lock);
	if (q->count == TIMER_MAX) {
		err = __atomic_load_n(&t->slot, __ATOMIC_RELAXED) ? -EBUSY : -ENOSPC;
	} else if (!__atomic_compare_exchange_n(&t->slot, &slot, q->count + 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
		err = -EBUSY;
	} else {
		t->due_ns = due_ns;
		t->fn = fn;
		t->arg = arg;
		__atomic_store_n(&t->cpu, cpu, __ATOMIC_RELAXED);
		q->count++;
		heap_place(q, q->count, t);
		if (q->heap[1]->due_ns < q->asked_ns)
			ask(q);
	}
	spin_unlock(&q->lock);
	interrupts_restore(flags);
	return err;
}

/* The clock is read once and the batch is bounded, so that functions that ask for more, be it for the past, do not keep
 * interrupts off for ever: what is left comes by the next VEC_TIMER, and other interrupts before it. A function may not
 * come back, if it ends in a panic that is caught by what was interrupted: so the acknowledgement comes first, nothing
 * counts as asked for meanwhile, so that who arms the next timer asks, and at the start no function is running. */
static void handle_timer(struct trap_frame *f)
{
	const uint32_t cpu = cpu_self()->index;
	struct queue *q = &queues[cpu];
	uint64_t now;

	(void)f;
	apic_eoi();
	__atomic_store_n(&running[cpu], NULL, __ATOMIC_RELEASE);
	spin_lock(&q->lock);
	q->asked_ns = UINT64_MAX;
	now = clock_ns();
	for (unsigned i = 0; i < BATCH && q->count && q->heap[1]->due_ns <= now; i++) {
		struct timer *t = q->heap[1];
		void (*fn)(struct timer *) = t->fn;

		__atomic_store_n(&running[cpu], t, __ATOMIC_RELAXED);   /* before slot is 0, by heap_remove's release */
		heap_remove(q, t);
		spin_unlock(&q->lock);
		fn(t);
		__atomic_store_n(&running[cpu], NULL, __ATOMIC_RELEASE);
		spin_lock(&q->lock);
	}
	ask(q);
	spin_unlock(&q->lock);
}

/* ---- cancelling ---- */

/* A processor other than this one, by its place in running, where t's function runs; NULL: none, or the function itself
 * asks. There may be several: while it runs on one the timer may be armed on another. Interrupts are off. */
static struct timer **runs_elsewhere(const struct timer *t)
{
	const unsigned count = cpu_count();

	if (running[cpu_self()->index] == t)
		return NULL;
	for (unsigned i = 0; i < count; i++)
		if (__atomic_load_n(&running[i], __ATOMIC_ACQUIRE) == t)
			return &running[i];
	return NULL;
}

/* A function that runs elsewhere may arm its timer there before it returns, so after each wait all is looked at anew.
 * Who runs it is looked at first: if nobody does any more, what the function has done is seen by what is looked at
 * then: t is armed here, or slot is not 0, or t->cpu is another. If slot is not 0 and this heap does not have t, it is
 * armed elsewhere, or just being armed, with cpu not yet written: timer_arm calls it armed already (-EBUSY), so -ENOENT
 * would be wrong. cpu says what slot does not: armed elsewhere, and fired, since who runs it was looked at. It cannot
 * have come back to cpu meanwhile, as that takes the lock held here.
 * 0: at least one arming was taken off; another, after that, may have been fired and waited for. */
int timer_cancel(struct timer *t)
{
	int result = -ENOENT;

	for (;;) {
		const uint32_t cpu = __atomic_load_n(&t->cpu, __ATOMIC_RELAXED);
		struct queue *q = &queues[cpu];
		const uint64_t flags = spin_lock_irqsave(&q->lock);
		struct timer **elsewhere = runs_elsewhere(t);
		const bool armed = heap_has(q, t);
		const bool moved = !armed && (__atomic_load_n(&t->slot, __ATOMIC_ACQUIRE) != 0 ||
					      __atomic_load_n(&t->cpu, __ATOMIC_RELAXED) != cpu);

		if (armed) {
			heap_remove(q, t);
			result = 0;
		}
		spin_unlock_irqrestore(&q->lock, flags);
		if (elsewhere)
			while (__atomic_load_n(elsewhere, __ATOMIC_ACQUIRE) == t)
				cpu_pause();
		else if (moved)
			cpu_pause();
		else
			return result;
	}
}

/* ---- start ---- */

static void timer_init(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++)
		queues[i].asked_ns = UINT64_MAX;
	if (trap_set_handler(VEC_TIMER, handle_timer))
		panic("timer_init: the timer's vector is taken");
}
INIT(INIT_SMP, timer_init);
