/* What sched/core.c, who runs, sched/thread.c, all else about threads, and sched/segments.c share. See spec/sched.md.
 *
 * One lock, sched's own, guards run queues, what threads are at, permits, and who runs on which processor. It is taken
 * with interrupts off and is held over each switch: who is switched to gives it back. So whoever holds it finds no
 * thread in the midst of a switch: if one is READY, WAITING or ENDED, nobody is on its stack any more (invariant 1).
 * Only timers' locks are taken while it is held; nothing that may shoot down is called, nor timer_cancel of a timer
 * whose function takes it (invariant 8). It is one for all processors, and not one for each queue, since who wakes
 * looks at all of them anyway, to choose. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu.h"
#include "panic.h"
#include "sched.h"

#define RFLAGS_IF (1ul << 9)

enum thread_state {
	THREAD_RUNNING,                         /* on processor at */
	THREAD_READY,                           /* in the queue of processor at; an idle thread: in none */
	THREAD_WAITING,                         /* for what sched_wait says, or to be started; at: where it ran last */
	THREAD_ENDED,
};

struct processor;                               /* core.c's */

struct thread {
	struct sched_ent ent;                   /* the first member: see thread_of */
	struct context context;                 /* of one that does not run */
	uint64_t since_ns;                      /* RUNNING: since when, or since the last accounts; READY: since when */
	struct thread_stats stats;              /* without what is since since_ns */
	void *stack_top;
	struct vmspace *space;                  /* NULL: none. The running thread's is active, all others' are not */
	uint64_t fs_base;                       /* of one that has a space and does not run */
	struct processor *at, *last;            /* see state; where it was taken up last, NULL: never */
	enum thread_state state;
	bool permit, cancelled;                 /* left for sched_wait to take */
	bool detached;                          /* nobody holds a reference: the reaper's when it has ended */
	bool own_stack;                         /* stack_top is kstack_alloc's */
	struct thread *joins;                   /* whose end it waits for; NULL: nobody's */
	struct thread *joiner;                  /* who waits for its end; NULL: nobody */
	struct thread *next_ended;              /* the reaper's list */
	struct timer timer;                     /* armed in sched_wait only */
	int code;                               /* thread_exit's */

	/* Not under the lock. */
	uint32_t pokes;                         /* times that the hook is to run; atomic */
	uint32_t id, agent;
	void (*fn)(void *);
	void *arg, *local;
	struct thread_locks locks;
	char name[THREAD_NAME_MAX + 1];
};
_Static_assert(offsetof(struct thread, ent) == 0, "thread_of");

/* NULL: NULL. */
static inline struct thread *thread_of(struct sched_ent *e)
{
	return (struct thread *)e;
}

/* ---- interrupts, the preempt count, the lock ---- */

static inline uint64_t sched_flags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

static inline void sched_cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void sched_sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

/* Whether this processor's preempt count is that. In one instruction, as who may move to another processor would read
 * another's by two. */
static inline bool sched_preempt_count_is(uint32_t count)
{
	bool is;

	__asm__ volatile("cmpl %1, %%gs:%c2"
			 : "=@ccz"(is) : "ri"(count), "i"(offsetof(struct cpu, preempt_count)) : "memory");
	return is;
}

/* Likewise; NULL before sched_init. */
static inline struct thread *sched_current(void)
{
	struct thread *t;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(t) : "i"(offsetof(struct cpu, current)) : "memory");
	return t;
}

/* What may sleep says so first of all. */
static inline void sched_may_sleep(void)
{
	if (!sched_preempt_count_is(0) || !(sched_flags() & RFLAGS_IF))
		panic("sched: sleep in atomic context");
}

extern uint32_t sched_locked;

/* Takes the lock from whoever gives it back first. In core.c. */
void sched_take_slowly(void) __attribute__((cold));

/* Takes the lock; interrupts are off. */
static inline void sched_take(void)
{
	__asm__ volatile("incl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
	if (__atomic_exchange_n(&sched_locked, 1, __ATOMIC_ACQUIRE))
		sched_take_slowly();
}

/* Gives it back, on the processor where it was taken, though maybe by another thread. */
static inline void sched_give(void)
{
	__atomic_store_n(&sched_locked, 0, __ATOMIC_RELEASE);
	__asm__ volatile("decl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
}

/* Interrupts off, and the lock taken; RFLAGS as they were. */
static inline uint64_t sched_lock(void)
{
	const uint64_t flags = sched_flags();

	sched_cli();
	sched_take();
	return flags;
}

/* ---- core.c ---- */

/* Gives the lock back and puts interrupts back as in flags. A switch that is due here is taken first, if interrupts are
 * on in flags and nothing else has preemption off; else it is asked for by VEC_RESCHED. */
void sched_unlock(uint64_t flags);

/* t, which is WAITING, can run; why: RQ_NEW, RQ_WAKE or RQ_WAKE_BOOST. Under the lock. */
void sched_wake(struct thread *t, enum runq_why why);

/* VEC_RESCHED to where t is RUNNING. Under the lock. */
void sched_interrupt(const struct thread *t);

/* Gives t the permit, as thread_unpark; under the lock. */
void sched_permit(struct thread *t, enum runq_why why);

/* Waits until ended has ended, or if that is NULL takes the permit; as thread_join and thread_park. Its caller may
 * sleep. */
int sched_wait(struct thread *ended, uint64_t timeout_ns);

/* t's own level, without a donation, has become that one: if it is queued or runs at another than this and the donation
 * make it, that is changed. Under the lock. */
void sched_set_level(struct thread *t, uint8_t own);

/* Gives t another affinity, which has an online processor, and moves it if it must. Under the lock, for which flags are
 * what it was taken with; the caller, if it is t, may come back on another processor. */
void sched_set_affinity(struct thread *t, uint64_t affinity, uint64_t flags);

/* Leaves the caller, which is ENDED, for another thread for good. Under the lock, its preempt count the only one. */
_Noreturn void sched_leave(void);

/* ---- thread.c ---- */

/* By sched_init: what comes before all threads, and what comes once there is one that runs. */
void thread_init(void);
void thread_init_reaper(void);

/* A thread, WAITING to be started, with no agent. fn NULL: it is to stand for what a processor is doing already, whose
 * stack is not its own; at is its maker's to set. The attributes are not checked. -ENOMEM, -ENOSPC. */
int thread_make(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out);

/* For a switch from or to a thread that has a space, interrupts off: keeps FS_BASE of t, which has run; and gives this
 * processor the space, RSP0 and FS_BASE of t, which is to run, and the kernel's SS, DS, ES, FS and GS. In this order,
 * as to load FS may clear FS_BASE. */
void thread_leave_space(struct thread *t);
void thread_enter_space(const struct thread *t);

/* ---- segments.c ---- */

/* Loads SS, DS and ES with SEL_KERNEL_DATA, FS and GS with 0. The kernel's GS base stays; FS base and ring 3's GS base
 * stay or become 0. Interrupts are off. */
void thread_load_segments(void);
