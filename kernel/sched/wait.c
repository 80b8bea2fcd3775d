/* Queues of threads that wait, and sleep; both by the one permit that a thread has. See spec/sched.md, "Waiting".
 *
 * A waiter is on the stack of who waits, so it is gone once wait_sleep has returned. Who wakes looks at it only under
 * the queue's lock, under which it takes it out and gives its thread the permit; and who waits does not return before
 * it has had that lock once more. So a thread that is given the permit has not ended, and whether it was woken is
 * decided there, once: by whether it still is in the queue. The queue may be gone, too, when who waited last returns. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "panic.h"
#include "sched.h"

#define RFLAGS_IF (1ul << 9)

/* Under the queue's lock, but for thread, which does not change. */
struct waiter {
	struct waiter *next, *prev;
	struct thread *thread;
	bool queued;                            /* false: a waker has taken it out, and given the permit */
};

static uint64_t read_flags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

/* This processor's. In one instruction, as who may move to another processor would read another's by two. */
static uint32_t read_preempt_count(void)
{
	uint32_t count;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(count) : "i"(offsetof(struct cpu, preempt_count)) : "memory");
	return count;
}

/* ---- the list: the queue's lock is held ---- */

static void append(struct wait_queue *wq, struct waiter *w)
{
	w->queued = true;
	w->next = NULL;
	w->prev = wq->tail;
	*(w->prev ? &w->prev->next : &wq->head) = w;
	wq->tail = w;
}

static void take_out(struct wait_queue *wq, struct waiter *w)
{
	w->queued = false;
	*(w->prev ? &w->prev->next : &wq->head) = w->next;
	*(w->next ? &w->next->prev : &wq->tail) = w->prev;
}

/* ---- those who wait, and those who wake ---- */

static void enter(struct wait_queue *wq, struct waiter *w)
{
	const uint64_t flags = spin_lock_irqsave(&wq->lock);

	append(wq, w);
	spin_unlock_irqrestore(&wq->lock, flags);
}

/* Whether w has been woken; if not, it is in the queue no more and will not be. */
static bool leave(struct wait_queue *wq, struct waiter *w)
{
	const uint64_t flags = spin_lock_irqsave(&wq->lock);
	const bool woken = !w->queued;

	if (!woken)
		take_out(wq, w);
	spin_unlock_irqrestore(&wq->lock, flags);
	return woken;
}

/* In the queue before held is given up: whoever changes the condition after that finds it there. */
int wait_sleep(struct wait_queue *wq, struct spinlock *held, uint64_t *flags, uint64_t timeout_ns)
{
	struct waiter self = { .thread = thread_current() };
	int result;

	if (read_preempt_count() != (held ? 1 : 0) || !((held ? *flags : read_flags()) & RFLAGS_IF))
		panic("sched: sleep in atomic context");
	enter(wq, &self);
	if (held)
		spin_unlock_irqrestore(held, *flags);
	result = thread_park(timeout_ns);
	if (leave(wq, &self)) {
		/* The waker's permit is still there if it came after the time, a cancellation, or another's permit. What
		 * either park took of a cancellation is the next wait's. */
		const int rest = thread_park(TIMEOUT_NOW);

		if (result == -EAGAIN || rest == -EAGAIN)
			thread_cancel(self.thread);
		result = 0;
	}
	if (held)
		*flags = spin_lock_irqsave(held);
	return result;
}

/* Nobody woken here comes back to the queue meanwhile: each needs the lock to find out that it was. */
unsigned wait_wake(struct wait_queue *wq, unsigned max, unsigned how)
{
	const uint64_t flags = spin_lock_irqsave(&wq->lock);
	unsigned woken = 0;

	for (; woken < max && wq->head; woken++) {
		struct waiter *const w = wq->head;

		take_out(wq, w);
		thread_unpark(w->thread, how);
	}
	spin_unlock_irqrestore(&wq->lock, flags);
	return woken;
}

/* Each permit is somebody else's: it is taken, and what is left of the time goes on, be it 0, so that a cancellation
 * behind the permit is seen. The clock is looked at again after the time, too: that of the processor where thread_park
 * began to count may have been a little behind the one where this did. A clock never comes to TIMEOUT_NONE. */
int thread_sleep(uint64_t ns)
{
	const uint64_t begin = clock_ns(), until = ns > TIMEOUT_NONE - begin ? TIMEOUT_NONE : begin + ns;
	uint64_t now = begin;
	int result;

	do {
		result = thread_park(now < until ? until - now : TIMEOUT_NOW);
		now = clock_ns();
	} while (result == 0 || (result == -ETIMEDOUT && now < until));
	return result == -EAGAIN ? result : 0;
}
