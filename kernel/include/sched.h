/* Scheduling: switching between stacks, the run queue's policy, software timers, threads, waiting, and mutexes with
 * priority inheritance. */
#ifndef AUTON_SCHED_H
#define AUTON_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "spinlock.h"

/* Functions return 0 or a negative error code, and change nothing when they fail. Times are nanoseconds of clock_ns().
 * "May sleep": only in thread context, interrupts on, no spinlock held, preemption on; anywhere else it panics
 * (`sched: sleep in atomic context`), whether it would have slept or not. What does not say so never sleeps. Thread
 * context is anywhere but in an interrupt or exception handler. Pointers are not checked where nothing is said of
 * them. */

/* ---- switch ---- */

struct context { uint64_t rsp; };               /* callee-saved registers and return address are on the stack */
_Static_assert(sizeof(struct context) == 8 && offsetof(struct context, rsp) == 0, "context_switch finds rsp here");

/* Makes *c such that the first switch to it enters fn(arg) as by a call: rsp is 8 mod 16, rbp 0; fn must not return.
 * stack_top is 16-aligned; nothing at or above it is written. No errors. Any context, while nobody is on that stack. */
void context_init(struct context *c, void *stack_top, void (*fn)(void *), void *arg);

/* Leaves the caller in *save and goes on where *load was left: rbx, rbp, r12 to r15 and rsp; RFLAGS are not kept.
 * Returns when somebody switches to *save. No errors. Interrupts off. */
void context_switch(struct context *save, struct context *load);

/* ---- runq: the policy, without threads. Time is an argument. The caller holds the queue's lock, interrupts off; no
 * function here takes it. ---- */

enum sched_class { CLASS_KERNEL, CLASS_INTERACTIVE, CLASS_NORMAL, CLASS_INFERENCE, CLASS_IDLE, CLASS_COUNT };

/* Best first. A class's base level is the one of its name; of a KERNEL entity that is spent it is INTERACTIVE. */
enum sched_level {
	LEVEL_KERNEL, LEVEL_BOOST, LEVEL_INTERACTIVE, LEVEL_NORMAL, LEVEL_INFERENCE, LEVEL_IDLE, LEVEL_COUNT
};
#define LEVEL_NONE 255                          /* no donation */
_Static_assert(CLASS_COUNT <= UINT8_MAX, "sched_ent has a class in 8 bits");
_Static_assert(LEVEL_COUNT <= LEVEL_NONE && LEVEL_NONE <= UINT8_MAX, "sched_ent has a level, or none, in 8 bits");

/* Slices, by level; IDLE's is INFERENCE's. */
#define SLICE_KERNEL_NS      1000000ul
#define SLICE_BOOST_NS        500000ul
#define SLICE_INTERACTIVE_NS 1000000ul
#define SLICE_NORMAL_NS      2000000ul
#define SLICE_INFERENCE_NS   8000000ul
#define SLICE_MIN_NS          100000ul          /* a smaller remainder counts as used up */
#define AGE_NS              20000000ul          /* queued so long in NORMAL or INFERENCE: rises one level */
#define BOOST_GAP_NS         5000000ul          /* between two boosts of one thread */
#define BOOST_WINDOW_NS     20000000ul
#define BOOST_SHARE_NS      16000000ul          /* boosted run time per window and processor */
_Static_assert(SLICE_KERNEL_NS >= SLICE_MIN_NS && SLICE_BOOST_NS >= SLICE_MIN_NS &&
	SLICE_INTERACTIVE_NS >= SLICE_MIN_NS && SLICE_NORMAL_NS >= SLICE_MIN_NS && SLICE_INFERENCE_NS >= SLICE_MIN_NS,
	"a fresh slice is not used up");
_Static_assert(BOOST_SHARE_NS + 2 * SLICE_BOOST_NS < BOOST_WINDOW_NS,
	"the share, and two slices over it, leave others a part of each window");

/* Zero it, then set cls, donated = LEVEL_NONE, affinity. */
struct sched_ent {
	struct sched_ent *next, *prev;
	uint8_t  cls, level, donated;           /* level: where queued, or picked from */
	bool     queued, spent;                 /* spent: CLASS_KERNEL that used up a slice without blocking */
	uint64_t affinity;                      /* bit i: may run on processor i; not 0 */
	uint64_t stamp_ns;                      /* entered its level */
	uint64_t boost_ns;                      /* last boost; 0: never */
	uint64_t slice_ns;                      /* left of the slice; while queued 0: a fresh one */
};

struct runq {
	struct spinlock lock;
	struct { struct sched_ent *head, *tail; } q[LEVEL_COUNT];
	uint32_t count;                         /* queued, IDLE included; the running one is not queued */
	uint64_t window_ns, boosted_ns, aged_ns;        /* start of the boost window; used in it; last ageing */
};

enum runq_why { RQ_NEW, RQ_WAKE, RQ_WAKE_BOOST, RQ_EXPIRED, RQ_PREEMPTED, RQ_YIELD };

/* Makes *rq, whatever is in it, an empty queue with its lock free. No errors. Before anybody else uses it: this one
 * without the lock. */
void runq_init(struct runq *rq);

/* Queues e; stamp_ns = now. -EBUSY: queued already.
 * RQ_NEW, RQ_WAKE, RQ_EXPIRED, RQ_YIELD: tail of the base level, with a fresh slice (slice_ns = 0). Before that
 * RQ_EXPIRED sets spent of a KERNEL entity; RQ_WAKE and RQ_WAKE_BOOST clear it.
 * RQ_PREEMPTED: head of the level that it ran at (level), keeping its slice; with less than SLICE_MIN_NS left as
 * RQ_EXPIRED.
 * RQ_WAKE_BOOST: tail of LEVEL_BOOST, with a fresh slice, boost_ns = now, if the class is INTERACTIVE or NORMAL, the
 * last boost, if any, is BOOST_GAP_NS ago or longer, and the window (restarted first if it is old, see runq_charge) has
 * less than BOOST_SHARE_NS used, with SLICE_BOOST_NS for each that is queued at LEVEL_BOOST now; otherwise as RQ_WAKE.
 * Then a donation lifts the level, to the better of it and donated. */
int runq_put(struct runq *rq, struct sched_ent *e, enum runq_why why, uint64_t now);

/* Takes off the head of the best level that is not empty, level and slice_ns set, and returns it; NULL: empty. Its
 * slice is the level's, or what is left of its own if it was preempted and that is less.
 * Before that, if the last ageing (aged_ns) was 1 ms ago or longer, aged_ns = now, and from the head on each entity in
 * NORMAL with now - stamp_ns >= AGE_NS goes to the tail of INTERACTIVE, stamp_ns = now; then the same from INFERENCE
 * to NORMAL. Nothing else ages. */
struct sched_ent *runq_pick(struct runq *rq, uint64_t now);

/* Takes e off. -ENOENT: not queued. */
int runq_remove(struct runq *rq, struct sched_ent *e);

/* e, picked and not queued, has run for ran_ns up to now: takes it off slice_ns, not below 0, and at LEVEL_BOOST adds
 * it to boosted_ns, of a window that, if now - window_ns >= BOOST_WINDOW_NS, first restarts at now with 0. No
 * errors. */
void runq_charge(struct runq *rq, struct sched_ent *e, uint64_t ran_ns, uint64_t now);

/* woken->level < running->level: whether woken is to run in place of running. No errors. */
bool runq_preempts(const struct sched_ent *running, const struct sched_ent *woken);

/* One that may run on processor cpu (0 to 63), taken off: the last such one of the best level below KERNEL that has
 * one. Never of levels KERNEL and IDLE. NULL: none. */
struct sched_ent *runq_steal(struct runq *from, unsigned cpu);

/* ---- timer: software timers. Callbacks run in interrupt context on the processor that armed the timer; never
 * early. From INIT_SMP's end on. ---- */

#define TIMER_MAX 4096                          /* armed on one processor */

/* Zero before first use; cpu, slot are timer.c's. Stays where it is while it is armed. */
struct timer { uint64_t due_ns; void (*fn)(struct timer *); void *arg; uint32_t cpu, slot; };

/* Calls fn(t), once, on this processor, interrupts off, when clock_ns() is at or after due_ns; the past is at once.
 * -EBUSY: armed; -ENOSPC: TIMER_MAX are, on this processor. This and timer_cancel: any context but NMI, fn itself too:
 * when it is called its timer is no longer armed, and is not looked at after it returns. */
int timer_arm(struct timer *t, uint64_t due_ns, void (*fn)(struct timer *), void *arg);

/* Disarms t. From any processor. 0: it was armed, fn is not called. -ENOENT: not armed. After either fn is not running
 * and will not run, unless fn itself asks: where it runs on another processor this spins until it has returned. The
 * caller holds no lock that fn takes. */
int timer_cancel(struct timer *t);

/* ---- thread: from INIT_SCHED's end on; other init functions may make threads from INIT_SERVICES on. Of a thread t: it
 * is the caller, or somebody holds a reference, or sees to it otherwise that it is not gone. ---- */

#define THREAD_MAX 4096
#define THREAD_NAME_MAX 31                      /* bytes, without the NUL */

struct thread;
struct vmspace;

/* name is copied; affinity: bit i: may run on processor i; 0: anywhere. */
struct thread_attr { const char *name; enum sched_class cls; uint64_t affinity; };

/* Up to now. run: it ran; wait: it could have run and did not, in all and at most in one piece. switches: times it was
 * taken up; preemptions: times it was switched away from, not by its own doing, slice used up or not; migrations: times
 * taken up on another processor than the time before. A switch reads the clock once: no time is lost between two
 * threads. */
struct thread_stats { uint64_t run_ns, wait_ns, max_wait_ns, switches, preemptions, migrations; };

/* A thread that runs fn(arg), interrupts on, with the caller's agent and no space. It can run at once. *out holds a
 * reference for the creator, dropped by thread_join (0) or thread_detach. Not from interrupts; preemption on or off.
 * -EINVAL: no fn, bad class (CLASS_IDLE is the kernel's), affinity without an online processor, name NULL or above
 *          THREAD_NAME_MAX.
 * -ENOMEM.
 * -ENOSPC: THREAD_MAX, the start-up and idle threads among them. */
int thread_create(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out);

/* Ends the caller; code is for thread_join. Returning from fn is thread_exit(0). Thread context, no spinlock held,
 * preemption on. */
void thread_exit(int code) __attribute__((noreturn));

/* Waits until t has ended; 0: *code, unless code is NULL, is what it said to thread_exit, all that it took is back, and
 * the reference is dropped. May sleep. One at a time.
 * -ETIMEDOUT: not ended within timeout_ns (TIMEOUT_NOW: looks only); -EAGAIN: the caller was cancelled; the reference
 * is kept. -EINVAL: self. */
int thread_join(struct thread *t, uint64_t timeout_ns, int *code);

/* Drops the creator's reference: from now on t goes away by itself; what it took is back soon after its end. No errors.
 * Not from interrupts. */
void thread_detach(struct thread *t);

/* The thread that runs here, or was interrupted; never NULL once sched runs. No errors. Any context. */
struct thread *thread_current(void);

/* From 1 up; not used again until 2^32 have been. No errors. Any context. */
uint32_t thread_id(const struct thread *t);

/* As it was created with; lives as long as t. No errors. Any context. */
const char *thread_name(const struct thread *t);

/* What run queues have of t. The scheduler's to write; who reads it may see it change. No errors. Any context. */
struct sched_ent *thread_ent(struct thread *t);

/* Puts the caller at the tail of its base level. May sleep. No errors. */
void thread_yield(void);

/* Of this and the next two: t may be any, running or not; a switch that they make due is taken, here or there, as one
 * by a wake-up is (thread_unpark). Gives t another class. -EINVAL: bad class, as thread_create. Thread context,
 * interrupts and preemption on or off. */
int thread_set_class(struct thread *t, enum sched_class cls);

/* Where t may run: bit i: on processor i; 0: anywhere. Moves it if it must: the caller itself before this returns,
 * others soon. -EINVAL: no online processor, as thread_create. Thread context; of another thread interrupts and
 * preemption on or off, of the caller itself both on. */
int thread_set_affinity(struct thread *t, uint64_t mask);

/* For mutex: from now on the level of t is at least this good; LEVEL_NONE ends it. It takes the place of what was
 * donated before; requeues, preempts. No errors. Any context but NMI. */
void thread_donate(struct thread *t, uint8_t level);

/* The present wait of t, or else its next, ends with -EAGAIN. No errors. Any context but NMI. */
void thread_cancel(struct thread *t);

/* How one wakes: plainly, or boosted (RQ_WAKE_BOOST), as who has had a message. */
enum { WAKE_PLAIN = 0, WAKE_BOOST = 1 };

/* Time-outs are relative. */
#define TIMEOUT_NONE UINT64_MAX                 /* wait for ever */
#define TIMEOUT_NOW  0ul

/* For whatever sleeps: all waiting is made of this and thread_unpark. A thread has one permit, or none. Takes the
 * caller's permit, waiting for it if need be. May sleep. 0: it was there, or came, even if the time was over by then;
 * -ETIMEDOUT: it did not within timeout_ns (TIMEOUT_NOW: is not there), never early; -EAGAIN: cancelled. */
int thread_park(uint64_t timeout_ns);

/* Gives t the permit; how: WAKE_PLAIN, or WAKE_BOOST as RQ_WAKE_BOOST. t has not ended. If its level is better than
 * that of who runs where it goes to it preempts: on another processor by VEC_RESCHED; on this one before this returns
 * if interrupts are on and the preempt count is 0, else by a VEC_RESCHED that comes when interrupts are on again, or by
 * preempt_enable. No errors. Any context but NMI. */
void thread_unpark(struct thread *t, unsigned how);

/* Fills *out; t may have ended. No errors. Thread context, interrupts and preemption on or off. */
void thread_get_stats(struct thread *t, struct thread_stats *out);

/* The agent t works for; 0: the kernel. Inherited by thread_create. No errors. Any context. */
void thread_set_agent(struct thread *t, uint32_t agent);

/* That agent. No errors. Any context. */
uint32_t thread_agent(const struct thread *t);

/* FS_BASE of the caller, or of one that does not run; meaningless without a space. No errors. Thread context. */
uint64_t thread_fs_base(const struct thread *t);

/* t is the caller, or has not run yet. This space is active, and FS_BASE the thread's own, whenever it runs; NULL: the
 * kernel's tables, as for every thread at first. Nothing is counted: vs stays until t is out of it or has ended. No
 * errors. Thread context, preemption on or off. */
void thread_set_space(struct thread *t, struct vmspace *vs);

/* Where system calls and ring-3 interrupts of t begin, 16-aligned. A new thread's own frames begin beneath the topmost
 * struct trap_frame (desc.h) there, which is all 0 until it comes from ring 3 for the first time. The start-up thread's
 * is boot_stack_top. No errors. Any context. */
void *thread_stack_top(const struct thread *t);

/* How process gets at a thread that is in ring 3, or about to go back to it. The hook runs on each thread that was
 * poked, before its next instruction in ring 3: in thread context, interrupts on; it may sleep or not return. NULL:
 * none. No errors. For process, from an INIT function. */
void thread_set_user_hook(void (*fn)(void));

/* Has t run the hook. No errors. Any context but NMI. */
void thread_poke(struct thread *t);

/* Runs the hook as often as poked. No errors. By syscall as the last thing before ring 3; interrupts are off before and
 * after, and on while the hook runs. */
void thread_user_return(void);

struct mutex;

/* mutex's: zero at first. held: the first of a list by next_held; wanted: what it waits for. */
struct thread_locks { struct mutex *held, *wanted; };

/* Those of t, for mutex, which synchronises. No errors. Any context. */
struct thread_locks *thread_locks(struct thread *t);

/* One pointer for the process layer, which synchronises; NULL in kernel threads. No errors. Any context. */
void *thread_local_get(const struct thread *t);

/* Sets that pointer. As thread_local_get. */
void thread_local_set(struct thread *t, void *p);

/* Nests; the thread stays on its processor and is not switched away from until as many preempt_enable. May not sleep
 * meanwhile. No errors. Any context but NMI. */
void preempt_disable(void);

/* The last one takes a switch that is due, before it returns if interrupts are on, else when they are on again. No
 * errors. As preempt_disable, on the processor where that was. */
void preempt_enable(void);

/* Queued plus running on the processor with that index, which is online, without IDLE; it may be another number by the
 * time it is looked at. No errors. Any context but NMI. */
uint32_t sched_runnable(unsigned cpu);

/* ---- wait ---- */

struct waiter;                                  /* wait.c's, on the stack of who waits */
struct wait_queue { struct spinlock lock; struct waiter *head, *tail; };
#define WAIT_INIT {0}

/* Waits in wq, behind those who do already, until woken. held: a spinlock that guards the condition, taken with
 * interrupts saved in *flags; NULL: there is none, and flags is not looked at. Gives held up, sleeps, takes it again,
 * *flags anew. May sleep, but for held: interrupts are on in *flags, and no other spinlock is held.
 * 0: woken, maybe for no reason: test the condition in a loop. -ETIMEDOUT: not within timeout_ns, never early
 * (TIMEOUT_NOW: at once). -EAGAIN: cancelled. No wake-up between giving up held and sleeping is lost, and none is
 * counted for somebody who then has another outcome. */
int wait_sleep(struct wait_queue *wq, struct spinlock *held, uint64_t *flags, uint64_t timeout_ns);

/* Wakes at most max of those in wq, first in first out, how as thread_unpark; returns how many. Any context but NMI,
 * with the spinlock that guards the condition held or not. */
unsigned wait_wake(struct wait_queue *wq, unsigned max, unsigned how);

/* Sleeps for ns: never early, not by a stray permit either; on an idle processor at most 1 ms late. May sleep. 0, or
 * -EAGAIN: cancelled. */
int thread_sleep(uint64_t ns);

/* ---- mutex, with priority inheritance. May sleep: mutex_lock; the other two never do, and preemption may be off. None
 * of them from interrupts. Who waits donates the better of its base level and what is donated to it, to the owner and
 * on through what that waits for, 8 steps at most; it ends when the owner unlocks or the waiter leaves. ---- */

struct mutex_waiter;                            /* mutex.c's, on the stack of who waits */
struct mutex { struct spinlock lock; struct thread *owner; struct mutex_waiter *waiters; struct mutex *next_held; };
#define MUTEX_INIT {0}

/* Makes the caller the owner, waiting for that if need be. May sleep. -EINVAL: held by the caller; -ETIMEDOUT: not
 * within timeout_ns (TIMEOUT_NOW: taken); -EAGAIN: cancelled. */
int mutex_lock(struct mutex *m, uint64_t timeout_ns);

/* Makes the caller the owner if there is none. -EBUSY: there is, the caller too. */
int mutex_trylock(struct mutex *m);

/* Hands over to the waiter of best level, first come among equals; without waiters m is free. -EPERM: the caller is not
 * the owner. */
int mutex_unlock(struct mutex *m);

#endif
