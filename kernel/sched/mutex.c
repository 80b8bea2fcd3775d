/* Mutexes with priority inheritance. See spec/sched.md, "Inheritance" and "Waiting".
 *
 * Owners and waiters make a graph: a thread waits for a mutex (wanted), whose owner may wait for another. Locks are
 * taken in this order, with interrupts off:
 *
 *   graph       one for all. It guards who waits for what, and what threads are donated.
 *   m's lock    guards m's owner, and whether it has waiters; enough where nobody waits. With graph, of one at a time.
 *   t's held    a list that is taken by putting &busy in place of its head, and given back by storing that: t changes
 *               it without graph, while others look through it to work out what t is donated.
 *   sched's     by thread_donate and thread_unpark.
 *
 * Invariants: a list of waiters changes under both graph and the mutex's lock, so it can be read under either. A mutex
 * with waiters has an owner, and loses it only under graph. So who holds graph can follow wanted and owner: no thread
 * there can end, as it waits, or owns what another waits for; or what the last waiter just left, if its lock is held.
 *
 * A waiter is on the stack of who waits, which does not return before it has seen, under graph, that it was handed the
 * mutex, or has left: so who hands it over, under graph, finds the waiter, and a thread to give the permit to. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "panic.h"
#include "sched.h"

#define RFLAGS_IF (1ul << 9)
#define STEPS_MAX 8                             /* how far a donation goes */

struct mutex_waiter {
	struct mutex_waiter *next;              /* came after it */
	struct thread *thread;
};

static struct spinlock graph;
static struct mutex busy;                       /* its address stands for a list that is taken */

static uint64_t lock_graph(struct mutex *m)
{
	const uint64_t flags = spin_lock_irqsave(&graph);

	spin_lock(&m->lock);
	return flags;
}

/* graph last: who learns under it that it may go on may do away with m. */
static void unlock_graph(struct mutex *m, uint64_t flags)
{
	spin_unlock(&m->lock);
	spin_unlock_irqrestore(&graph, flags);
}

/* ---- who holds what: the mutex's lock is held ---- */

static struct mutex *take_held(struct thread_locks *locks)
{
	struct mutex *first;

	while ((first = __atomic_exchange_n(&locks->held, &busy, __ATOMIC_ACQUIRE)) == &busy)
		cpu_pause();
	return first;
}

static void set_owner(struct mutex *m, struct thread *t)
{
	struct thread_locks *const locks = thread_locks(t);

	m->owner = t;
	m->next_held = take_held(locks);
	__atomic_store_n(&locks->held, m, __ATOMIC_RELEASE);
}

static void drop_owner(struct mutex *m)
{
	struct thread_locks *const locks = thread_locks(m->owner);
	struct mutex *first = take_held(locks), **at = &first;

	while (*at != m)
		at = &(*at)->next_held;
	*at = m->next_held;
	__atomic_store_n(&locks->held, first, __ATOMIC_RELEASE);
	m->owner = NULL;
}

/* Makes t the owner if there is none; returns who was. */
static struct thread *take_if_free(struct mutex *m, struct thread *t)
{
	const uint64_t flags = spin_lock_irqsave(&m->lock);
	struct thread *const owner = m->owner;

	if (!owner)
		set_owner(m, t);
	spin_unlock_irqrestore(&m->lock, flags);
	return owner;
}

/* ---- what waiters donate: graph is held ---- */

/* As it is now. At the moment when t, awake, is moved to another queue, what it is donated may be read as the level at
 * which it is queued, which is better. It donates that until it is looked at again, when it leaves at the latest. */
static uint8_t level_of(struct thread *t)
{
	static const uint8_t levels[CLASS_COUNT] = {
		[CLASS_KERNEL] = LEVEL_KERNEL, [CLASS_INTERACTIVE] = LEVEL_INTERACTIVE, [CLASS_NORMAL] = LEVEL_NORMAL,
		[CLASS_INFERENCE] = LEVEL_INFERENCE, [CLASS_IDLE] = LEVEL_IDLE,
	};
	const struct sched_ent *const e = thread_ent(t);
	const uint8_t cls = __atomic_load_n(&e->cls, __ATOMIC_RELAXED);
	const bool spent = __atomic_load_n(&e->spent, __ATOMIC_RELAXED);
	const uint8_t donated = __atomic_load_n(&e->donated, __ATOMIC_RELAXED);
	const uint8_t base = spent && cls == CLASS_KERNEL ? LEVEL_INTERACTIVE : levels[cls];

	return donated < base ? donated : base;
}

/* Of m's waiters better than *level the best, the first among equals; *level becomes its level. NULL: none. */
static struct mutex_waiter *best_waiter(const struct mutex *m, uint8_t *level)
{
	struct mutex_waiter *best = NULL;

	for (struct mutex_waiter *w = m->waiters; w; w = w->next) {
		const uint8_t its = level_of(w->thread);

		if (its < *level) {
			*level = its;
			best = w;
		}
	}
	return best;
}

static uint8_t best_donation(struct thread_locks *locks)
{
	struct mutex *const first = take_held(locks);
	uint8_t best = LEVEL_NONE;

	for (const struct mutex *m = first; m; m = m->next_held)
		(void)best_waiter(m, &best);
	__atomic_store_n(&locks->held, first, __ATOMIC_RELEASE);
	return best;
}

/* Works out anew what t is donated, and those that it comes to through what t waits for, STEPS_MAX threads in all.
 * Beyond these only what has become worse goes on: a donation that got there in several goes is taken back. That ends
 * in a circle, too, as each step leaves a thread with less. The first are told in any case: see level_of. */
static void inherit(struct thread *t)
{
	for (unsigned step = 0; t; step++) {
		struct thread_locks *const locks = thread_locks(t);
		const uint8_t best = best_donation(locks);

		if (step >= STEPS_MAX && best <= __atomic_load_n(&thread_ent(t)->donated, __ATOMIC_RELAXED))
			return;
		thread_donate(t, best);
		t = locks->wanted ? locks->wanted->owner : NULL;
	}
}

/* ---- waiting and handing over ---- */

static void take_out(struct mutex *m, struct mutex_waiter *w)
{
	struct mutex_waiter **at = &m->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	thread_locks(w->thread)->wanted = NULL;
}

/* Whether w waits now, behind all others; if not, m was free, and is its thread's. */
static bool enter(struct mutex *m, struct mutex_waiter *w)
{
	const uint64_t flags = lock_graph(m);
	const bool waits = m->owner != NULL;

	if (waits) {
		struct mutex_waiter **at = &m->waiters;

		while (*at)
			at = &(*at)->next;
		*at = w;
		thread_locks(w->thread)->wanted = m;
		inherit(m->owner);
	} else {
		set_owner(m, w->thread);
	}
	unlock_graph(m, flags);
	return waits;
}

/* Whether w has been handed m. If not, it leaves, or was woken for no reason and waits on; it may donate more then, as
 * a KERNEL thread that was woken is not spent any more. */
static bool is_handed(struct mutex *m, struct mutex_waiter *w, bool leaves)
{
	const uint64_t flags = lock_graph(m);
	const bool handed = m->owner == w->thread;

	if (!handed) {
		if (leaves)
			take_out(m, w);
		inherit(m->owner);
	}
	unlock_graph(m, flags);
	return handed;
}

/* The clock is looked at after each permit, as that may be somebody else's, and after the time, too, as that of the
 * processor where thread_park began to count may have been a little behind. It never comes to TIMEOUT_NONE. */
static int wait_for(struct mutex *m, struct thread *self, uint64_t timeout_ns)
{
	struct mutex_waiter w = { .thread = self };
	uint64_t now = clock_ns();
	const uint64_t until = timeout_ns > TIMEOUT_NONE - now ? TIMEOUT_NONE : now + timeout_ns;
	bool leaves, handed;
	int result;

	if (!enter(m, &w))
		return 0;
	do {
		result = thread_park(now < until ? until - now : TIMEOUT_NOW);
		now = clock_ns();
		leaves = result == -EAGAIN || (result == -ETIMEDOUT && now >= until);
		handed = is_handed(m, &w, leaves);
	} while (!handed && !leaves);
	if (!handed)
		return result;

	/* The permit is still there if it came after the time, a cancellation, or another's permit. A cancellation that
	 * either park took is the next wait's. */
	if (thread_park(TIMEOUT_NOW) == -EAGAIN || result == -EAGAIN)
		thread_cancel(self);
	return 0;
}

/* From the owner, the caller, to the best of those who still wait, which has the others' donations before it runs. */
static void hand_over(struct mutex *m)
{
	const uint64_t flags = lock_graph(m);
	struct thread *const self = m->owner;
	uint8_t level = LEVEL_NONE;
	struct mutex_waiter *const next = best_waiter(m, &level);

	drop_owner(m);
	inherit(self);
	if (next) {
		take_out(m, next);
		set_owner(m, next->thread);
		inherit(next->thread);
		thread_unpark(next->thread, WAKE_PLAIN);
	}
	unlock_graph(m, flags);
}

static bool may_sleep(void)
{
	uint64_t flags;
	bool preemptible;

	/* The count in one instruction, as who may move to another processor would read another's by two. */
	__asm__ volatile("pushfq\n\tpopq %0\n\tcmpl $0, %%gs:%c2"
			 : "=r"(flags), "=@ccz"(preemptible) : "i"(offsetof(struct cpu, preempt_count)) : "memory");
	return preemptible && flags & RFLAGS_IF;
}

/* With TIMEOUT_NOW it donates nothing, which would only put the owner behind its equals; but it sees a cancellation, as
 * all waits do. */
int mutex_lock(struct mutex *m, uint64_t timeout_ns)
{
	struct thread *const self = thread_current(), *owner;

	if (!may_sleep())
		panic("sched: sleep in atomic context");
	owner = take_if_free(m, self);
	if (!owner)
		return 0;
	if (owner == self)
		return -EINVAL;
	if (timeout_ns == TIMEOUT_NOW)
		return thread_sleep(0) ? -EAGAIN : -ETIMEDOUT;
	return wait_for(m, self, timeout_ns);
}

int mutex_trylock(struct mutex *m)
{
	return take_if_free(m, thread_current()) ? -EBUSY : 0;
}

int mutex_unlock(struct mutex *m)
{
	const uint64_t flags = spin_lock_irqsave(&m->lock);
	const bool mine = m->owner == thread_current(), wanted = m->waiters != NULL;

	if (mine && !wanted)
		drop_owner(m);
	spin_unlock_irqrestore(&m->lock, flags);
	if (mine && wanted)
		hand_over(m);
	return mine ? 0 : -EPERM;
}
