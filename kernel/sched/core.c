/* Who runs, where, and for how long. See spec/sched.md, rules 6 to 8, and thread.h for the lock, which all here is
 * under, each run queue too: the queues' own locks are not used.
 *
 * A processor comes to another thread in three ways: its thread gives it away (thread_yield, sched_wait, sched_leave);
 * a switch that its own code has made due is taken by sched_unlock or preempt_enable; or VEC_RESCHED comes. Whoever
 * changes something that another processor must know of sends it that. It says nothing but that the processor is to
 * look at its queue and its thread, so it may come late, twice, or for nothing. An idle thread just waits for it. */
#include "apic.h"
#include "backtrace.h"
#include "clock.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "thread.h"

#define LOOK_AGAIN_NS  50000ul          /* when a switch is due that something keeps from being taken */
#define BALANCE_NS  10000000ul

/* By the processor's index. due, timer_ns and timer are the processor's own, with interrupts off. */
static struct processor {
	struct runq rq;
	struct cpu *cpu;
	uint64_t bit;                   /* 1 << its index */
	struct thread *idle;            /* runs if there is nothing else; never queued */
	bool due;                       /* look() is to be called */
	bool offered;                   /* it was sent for to steal something, and has not looked yet; under the lock */
	uint64_t timer_ns;              /* when the timer comes; UINT64_MAX: it is not armed */
	struct timer timer;
} __attribute__((aligned(64))) processors[CPU_MAX];

uint32_t sched_locked;

void sched_take_slowly(void)
{
	do
		while (__atomic_load_n(&sched_locked, __ATOMIC_RELAXED))
			cpu_pause();
	while (__atomic_exchange_n(&sched_locked, 1, __ATOMIC_ACQUIRE));
}

/* Bit i: processor i is idle, has nothing queued, and is not offered anything. */
static uint64_t idle_cpus;

/* When queues are balanced next; UINT64_MAX: never, as there is but one. Read without the lock, too. */
static uint64_t balance_ns;

static inline struct processor *here(void)
{
	return &processors[cpu_self()->index];
}

static inline bool is_allowed(const struct thread *t, const struct processor *p)
{
	return t->ent.affinity & p->bit;
}

/* Queued or running, but for the idle thread. */
static uint32_t runnable(const struct processor *p)
{
	return p->rq.count + (p->cpu->current != p->idle);
}

/* ---- slices: when a processor is to look at its thread again ---- */

static void timer_came(struct timer *timer);

/* When the timer is to come to this processor while t runs. One that is alone needs no slice (rule 8). */
static inline uint64_t look_due(const struct processor *c, const struct thread *t)
{
	const uint64_t end = t->since_ns + t->ent.slice_ns, balance = __atomic_load_n(&balance_ns, __ATOMIC_RELAXED);

	if (!__atomic_load_n(&c->rq.count, __ATOMIC_RELAXED))
		return UINT64_MAX;
	return end < balance ? end : balance;
}

/* Without room for a timer there is none until the next switch: TIMER_MAX is more than all threads and processors need,
 * so it is others who have so many. timer_cancel waits for nobody, as the timer's function runs here only. */
static __attribute__((noinline, cold)) void set_timer(struct processor *c, uint64_t due_ns)
{
	if (c->timer_ns != UINT64_MAX)
		(void)timer_cancel(&c->timer);
	c->timer_ns = due_ns == UINT64_MAX || timer_arm(&c->timer, due_ns, timer_came, c) ? UINT64_MAX : due_ns;
}

/* Has the timer come to this processor in time for t, which runs since then. One that comes earlier stays as it is: it
 * is cheaper to let it come for nothing, once, than to set it at each switch. If it is armed, it comes no later than
 * balance_ns says, which only ever becomes later. */
static inline void see_to_timer(struct processor *c, const struct thread *t, uint64_t since_ns)
{
	if (c->rq.count) {
		if (since_ns + t->ent.slice_ns < c->timer_ns)
			set_timer(c, look_due(c, t));
	} else if (c->timer_ns != UINT64_MAX) {
		set_timer(c, UINT64_MAX);
	}
}

/* Only asks: a switch in the midst of timer.c's handler would hold up its other timers. Not under the lock: if a queue
 * that was empty gets its first just now, VEC_RESCHED is on its way here. */
static void timer_came(struct timer *timer)
{
	struct processor *const c = timer->arg;
	const uint64_t now = clock_ns(), due_ns = c->due ? now : look_due(c, c->cpu->current);

	c->timer_ns = UINT64_MAX;
	if (due_ns <= now) {
		c->due = true;
		cpu_send(c->cpu->index, VEC_RESCHED);
	} else {
		set_timer(c, due_ns);
	}
}

/* ---- who is told of a thread that has been queued ---- */

/* That processor is to look. */
static void ask(struct processor *p)
{
	if (p == here())
		p->due = true;
	else
		cpu_send(p->cpu->index, VEC_RESCHED);
}

/* t was queued at p: it may be better than who runs there, or the first that waits, for whom a slice must end. */
static void tell(struct processor *p, const struct thread *t)
{
	if (runq_preempts(&p->cpu->current->ent, &t->ent))
		ask(p);
	else if (p == here())
		see_to_timer(p, p->cpu->current, p->cpu->current->since_ns);
	else if (p->rq.count == 1)
		ask(p);
}

/* One of these idle processors is to look for something to steal: t, if nobody else takes it. Of level KERNEL nothing
 * is stolen. */
static __attribute__((noinline, cold)) void offer_to(uint64_t idle, const struct thread *t)
{
	const unsigned cpu = (unsigned)__builtin_ctzl(idle);

	if (t->ent.level == LEVEL_KERNEL)
		return;
	idle_cpus &= ~(1ul << cpu);
	processors[cpu].offered = true;
	cpu_send(cpu, VEC_RESCHED);
}

/* t is queued behind another, which an idle processor may save it from. */
static inline void offer(const struct thread *t)
{
	const uint64_t idle = idle_cpus & t->ent.affinity;

	if (idle)
		offer_to(idle, t);
}

/* ---- where a thread goes ---- */

/* Rule 7: where it ran last, if that is idle; another that is idle; the one with the fewest. */
static struct processor *choose(const struct thread *t)
{
	const uint64_t allowed = t->ent.affinity & ((1ul << cpu_count()) - 1), idle = idle_cpus & allowed;
	struct processor *best = NULL;

	if (idle & t->at->bit)
		return t->at;
	if (idle)
		return &processors[__builtin_ctzl(idle)];
	for (uint64_t left = allowed; left; left &= left - 1) {
		struct processor *const p = &processors[__builtin_ctzl(left)];

		if (!best || runnable(p) < runnable(best))
			best = p;
	}
	return best;
}

/* t is in no queue. */
static void put(struct thread *t, struct processor *p, enum runq_why why, uint64_t now)
{
	idle_cpus &= ~p->bit;
	t->at = p;
	t->state = THREAD_READY;
	(void)runq_put(&p->rq, &t->ent, why, now);
	tell(p, t);
}

/* t, READY and taken off another queue, is queued at p as it was there: at its level, lifted by age or not, since when
 * it was, and with what it had left of its slice. Nobody is told. Who reads its donation without the lock may see for a
 * moment that it has one to the level at which it is queued. */
static void move(struct thread *t, struct processor *p)
{
	const struct sched_ent was = t->ent;

	idle_cpus &= ~p->bit;
	t->at = p;
	t->ent.donated = was.level;             /* which is no worse than its base level */
	(void)runq_put(&p->rq, &t->ent, RQ_YIELD, was.stamp_ns);
	t->ent.donated = was.donated;
	t->ent.slice_ns = was.slice_ns;
}

/* Moves one that p may run from the processor with most queued, or if that has none from the next; only from those with
 * so many runnable. Whether there was one. */
static bool steal(struct processor *p, uint32_t least)
{
	const unsigned count = cpu_count();
	uint64_t tried = 0;

	for (;;) {
		struct processor *from = NULL;
		struct sched_ent *e;

		for (unsigned i = 0; i < count; i++) {
			struct processor *const q = &processors[i];

			if (!(tried & q->bit) && runnable(q) >= least && q->rq.count > (from ? from->rq.count : 0))
				from = q;
		}
		if (!from)
			return false;
		e = runq_steal(&from->rq, p->cpu->index);
		if (e) {
			move(thread_of(e), p);
			return true;
		}
		tried |= from->bit;
	}
}

/* Each of these processors gets one from another that has at least 2 more runnable, if there is one for it. */
static __attribute__((noinline, cold)) void share(uint64_t cpus)
{
	for (; cpus; cpus &= cpus - 1) {
		struct processor *const p = &processors[__builtin_ctzl(cpus)];

		if (steal(p, runnable(p) + 2))
			ask(p);
	}
}

/* For each processor what it is to do every 10 ms, by whichever has something queued and comes first: one that has not
 * has no timer for it. */
static void balance(uint64_t now)
{
	__atomic_store_n(&balance_ns, now + BALANCE_NS, __ATOMIC_RELAXED);
	share((1ul << cpu_count()) - 1);
}

/* ---- switching ---- */

/* Self ran up to now. */
static inline void account(struct processor *c, struct thread *self, uint64_t now)
{
	const uint64_t ran = now - self->since_ns;

	self->stats.run_ns += ran;
	self->since_ns = now;
	runq_charge(&c->rq, &self->ent, ran, now);
}

/* Whether somebody is queued here, stolen if need be; if not, the processor is idle from now on. */
static inline bool find_work(struct processor *c)
{
	if (c->rq.count || steal(c, 2))
		return true;
	idle_cpus |= c->bit;
	return false;
}

/* Who is to run on this processor in place of who does, which does not count any more: the idle thread if there is
 * nobody. */
static inline struct thread *next_thread(struct processor *c, uint64_t now)
{
	return find_work(c) ? thread_of(runq_pick(&c->rq, now)) : c->idle;
}

/* In this processor's struct cpu: current and kernel_rsp. */
static inline void set_current(struct thread *t)
{
	__asm__ volatile("movq %0, %%gs:%c1" : : "r"(t), "i"(offsetof(struct cpu, current)) : "memory");
	__asm__ volatile("movq %0, %%gs:%c1" : : "r"(t->stack_top), "i"(offsetof(struct cpu, kernel_rsp)) : "memory");
}

/* From self, whose accounts are made and whose state is no longer RUNNING, to next, which is READY and in no queue.
 * Returns when self is taken up again, maybe on another processor. */
static inline void take_up(struct processor *c, struct thread *self, struct thread *next, uint64_t now)
{
	if (now > next->since_ns) {             /* another's clock may be a little ahead */
		const uint64_t waited = now - next->since_ns;

		next->stats.wait_ns += waited;
		if (waited > next->stats.max_wait_ns)
			next->stats.max_wait_ns = waited;
	}
	if (next->last != c) {
		next->stats.migrations += next->last != NULL;
		next->last = c;
	}
	next->stats.switches++;
	next->since_ns = now;
	next->state = THREAD_RUNNING;
	c->due = false;
	see_to_timer(c, next, now);
	set_current(next);
	if ((uint64_t)self->space | (uint64_t)next->space) {
		thread_leave_space(self);
		thread_enter_space(next);
	}
	context_switch(&self->context, &next->context);
}

/* Self is queued here, as why says, and the best takes its place, unless that is self. */
static inline void give_way(struct processor *c, struct thread *self, enum runq_why why, uint64_t now)
{
	struct thread *next;

	account(c, self, now);
	(void)runq_put(&c->rq, &self->ent, why, now);
	next = thread_of(runq_pick(&c->rq, now));
	if (next == self) {
		see_to_timer(c, self, now);
		return;
	}
	self->state = THREAD_READY;
	self->stats.preemptions += why != RQ_YIELD;
	offer(self);
	take_up(c, self, next, now);
}

/* Self may not run here any more: it goes elsewhere. */
static __attribute__((cold)) void move_away(struct processor *c, struct thread *self, enum runq_why why, uint64_t now)
{
	account(c, self, now);
	self->stats.preemptions += why != RQ_YIELD;
	put(self, choose(self), why, now);
	take_up(c, self, next_thread(c, now), now);
}

/* Self, whose state says so, does not go on. */
static void block(struct processor *c, struct thread *self)
{
	const uint64_t now = clock_ns();

	account(c, self, now);
	take_up(c, self, next_thread(c, now), now);
}

static bool better_waits(const struct processor *p)
{
	for (size_t level = 0; level < p->cpu->current->ent.level; level++)
		if (p->rq.q[level].head)
			return true;
	return false;
}

/* Idle takes up whoever is queued here, or can be stolen. Since this processor was chosen for a thread, or sent for to
 * steal it, another may have got ahead of that: then that one waits behind somebody, and those processors that still are
 * idle were told nothing of it. So if something was offered, or there are two to choose from, they get what they can run
 * (rule 7). Before the pick, when what is queued here is what is runnable here: one stays. */
static void look_from_idle(struct processor *c, struct thread *self, uint64_t now)
{
	const bool offered = c->offered;

	c->offered = false;
	if (!find_work(c))
		return;
	if (offered || c->rq.count > 1)
		share(idle_cpus);
	account(c, self, now);
	self->state = THREAD_READY;
	take_up(c, self, thread_of(runq_pick(&c->rq, now)), now);
}

/* Takes the switch that is due on this processor, if one is. Only the lock has preemption off. */
static void look(struct processor *c)
{
	struct thread *const self = c->cpu->current;
	const uint64_t now = clock_ns();

	if (now >= balance_ns)
		balance(now);
	c->due = false;
	if (self == c->idle) {
		look_from_idle(c, self, now);
	} else if (!is_allowed(self, c)) {
		move_away(c, self, RQ_PREEMPTED, now);
	} else if (c->rq.count && now - self->since_ns >= self->ent.slice_ns) {
		give_way(c, self, RQ_EXPIRED, now);
	} else if (better_waits(c)) {
		give_way(c, self, RQ_PREEMPTED, now);
	} else {
		see_to_timer(c, self, self->since_ns);
	}
}

/* Interrupts are as in flags, and only the lock has preemption off: look() may be called. */
static bool may_switch(uint64_t flags)
{
	return (flags & RFLAGS_IF) && sched_preempt_count_is(1);
}

void sched_unlock(uint64_t flags)
{
	struct processor *const c = here();
	const bool due = c->due, now = due && may_switch(flags);

	if (now)
		look(c);
	sched_give();
	if (due && !now)
		cpu_send(c->cpu->index, VEC_RESCHED);
	if (flags & RFLAGS_IF)
		sched_sti();
}

/* It comes in the midst of anything that has interrupts on. Acknowledged first, as this may not return for long. What
 * has preemption off may be a spin lock, and spin_unlock does not look: so the timer asks again, should preempt_enable
 * not have come before. */
static void handle_resched(struct trap_frame *f)
{
	struct processor *const c = here();

	apic_eoi();
	if (!sched_preempt_count_is(0)) {
		const uint64_t again = clock_ns() + LOOK_AGAIN_NS;

		c->due = true;
		if (again < c->timer_ns)
			set_timer(c, again);
		return;
	}
	sched_take();
	look(c);
	sched_give();
	if (f->cs & 3)
		thread_user_return();
}

/* ---- waking and waiting ---- */

void sched_wake(struct thread *t, enum runq_why why)
{
	const uint64_t now = clock_ns();

	t->since_ns = now;
	put(t, choose(t), why, now);
}

void sched_interrupt(const struct thread *t)
{
	cpu_send(t->at->cpu->index, VEC_RESCHED);
}

void sched_permit(struct thread *t, enum runq_why why)
{
	t->permit = true;
	if (t->state == THREAD_WAITING && !t->joins)
		sched_wake(t, why);
}

/* The timer's function. The thread looks at the clock itself, so there is nothing to be told. */
static void time_is_over(struct timer *timer)
{
	struct thread *const t = timer->arg;
	const uint64_t flags = sched_lock();

	if (t->state == THREAD_WAITING)
		sched_wake(t, RQ_WAKE);
	sched_unlock(flags);
}

/* Whether self need not wait, and what comes of it: what it waits for first, then a cancellation, then the time. */
static bool is_over(struct thread *self, const struct thread *ended, uint64_t until_ns, int *result)
{
	if (ended ? ended->state == THREAD_ENDED : self->permit) {
		if (!ended)
			self->permit = false;
		*result = 0;
		return true;
	}
	if (self->cancelled) {
		self->cancelled = false;
		*result = -EAGAIN;
		return true;
	}
	*result = -ETIMEDOUT;
	return until_ns != TIMEOUT_NONE && clock_ns() >= until_ns;
}

/* If its timer cannot be armed, because others have TIMER_MAX, it looks at the clock between the turns of those that are
 * no worse than it is. The timer is cancelled without the lock, which its function takes; after that nobody uses it, and
 * a later wait is not woken by it. */
int sched_wait(struct thread *ended, uint64_t timeout_ns)
{
	struct thread *const self = sched_current();
	const uint64_t flags = sched_lock(), now = timeout_ns == TIMEOUT_NONE ? 0 : clock_ns();
	const uint64_t until_ns = timeout_ns > TIMEOUT_NONE - now ? TIMEOUT_NONE : now + timeout_ns;
	bool timed = false;
	int result;

	self->joins = ended;
	if (ended)
		ended->joiner = self;
	while (!is_over(self, ended, until_ns, &result)) {
		if (until_ns != TIMEOUT_NONE && timer_arm(&self->timer, until_ns, time_is_over, self)) {
			sched_unlock(flags);
			thread_yield();
			(void)sched_lock();
			continue;
		}
		timed = until_ns != TIMEOUT_NONE;
		self->state = THREAD_WAITING;
		block(here(), self);
	}
	self->joins = NULL;
	if (ended)
		ended->joiner = NULL;
	sched_unlock(flags);
	if (timed)
		(void)timer_cancel(&self->timer);
	return result;
}

void sched_leave(void)
{
	block(here(), sched_current());
	__builtin_unreachable();
}

int thread_park(uint64_t timeout_ns)
{
	sched_may_sleep();
	return sched_wait(NULL, timeout_ns);
}

void thread_unpark(struct thread *t, unsigned how)
{
	const uint64_t flags = sched_lock();

	sched_permit(t, how == WAKE_BOOST ? RQ_WAKE_BOOST : RQ_WAKE);
	sched_unlock(flags);
}

void thread_cancel(struct thread *t)
{
	const uint64_t flags = sched_lock();

	t->cancelled = true;
	if (t->state == THREAD_WAITING)
		sched_wake(t, RQ_WAKE);
	sched_unlock(flags);
}

void thread_yield(void)
{
	struct thread *self;

	sched_may_sleep();
	sched_cli();
	sched_take();
	self = sched_current();
	if (is_allowed(self, self->at))
		give_way(self->at, self, RQ_YIELD, clock_ns());
	else
		move_away(self->at, self, RQ_YIELD, clock_ns());
	sched_give();
	sched_sti();
}

/* ---- preemption ---- */

void preempt_disable(void)
{
	__asm__ volatile("incl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
}

/* Between the two the thread may move to another processor: then what was due on the former has been taken there. */
void preempt_enable(void)
{
	bool last;

	__asm__ volatile("decl %%gs:%c1" : "=@ccz"(last) : "i"(offsetof(struct cpu, preempt_count)) : "memory");
	if (last && here()->due)
		sched_unlock(sched_lock());
}

/* ---- what changes who should run ---- */

/* One that is queued goes to the tail of the new level; one that runs goes on, if nobody better waits. */
void sched_set_level(struct thread *t, uint8_t own)
{
	struct processor *const p = t->at;
	const uint8_t level = t->ent.donated < own ? t->ent.donated : own;

	if (t->ent.level == level)
		return;
	if (t->ent.queued) {
		(void)runq_remove(&p->rq, &t->ent);
		(void)runq_put(&p->rq, &t->ent, RQ_YIELD, clock_ns());
		tell(p, t);
		offer(t);
	} else if (t->state == THREAD_RUNNING) {
		t->ent.level = level;
		if (better_waits(p))
			ask(p);
	}
}

void sched_set_affinity(struct thread *t, uint64_t affinity, uint64_t flags)
{
	struct processor *const p = t->at;

	t->ent.affinity = affinity;
	if (t->ent.queued && !is_allowed(t, p)) {
		struct processor *const to = choose(t);

		(void)runq_remove(&p->rq, &t->ent);
		move(t, to);
		tell(to, t);
	} else if (t->ent.queued) {
		offer(t);
	} else if (t->state == THREAD_RUNNING && !is_allowed(t, p)) {
		if (t == sched_current() && may_switch(flags))
			move_away(p, t, RQ_YIELD, clock_ns());
		else
			ask(p);
	}
}

uint32_t sched_runnable(unsigned cpu)
{
	const uint64_t flags = sched_lock();
	const uint32_t count = runnable(&processors[cpu]);

	sched_unlock(flags);
	return count;
}

/* ---- start ---- */

/* What boot/smp.c has the other processors do. An interrupt that comes before `hlt` ends it, as interrupts are on only
 * after the instruction behind `sti`: so no wake-up is missed. */
static void idle(void *arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

/* No locks: it is asked in any context, in the dump of a double fault too. */
static bool is_stack(uint64_t address)
{
	struct pt_entry leaf;

	return address >= KSTACK_BASE && address < DEVICE_MAP_BASE && !pt_translate(kernel_root, address, &leaf);
}

/* A thread for what runs on processors already, or for a processor that has nothing to do. Nobody holds a reference. */
static struct thread *make(const char *name, enum sched_class cls, unsigned cpu, void (*fn)(void *))
{
	const struct thread_attr attr = { name, cls, 1ul << cpu };
	struct thread *t;

	if (thread_make(&attr, fn, NULL, &t))
		panic("sched_init: no memory");
	t->detached = true;
	t->state = THREAD_READY;
	t->at = t->last = &processors[cpu];
	t->ent.level = cls == CLASS_IDLE ? LEVEL_IDLE : LEVEL_KERNEL;
	t->since_ns = clock_ns();
	return t;
}

/* What a processor does becomes a thread's: main, on the boot processor, or its idle thread. */
static void become_thread(void *arg)
{
	struct processor *const c = here();
	struct thread *const self = c->cpu->index == 0 ? arg : c->idle;

	self->since_ns = clock_ns();
	self->state = THREAD_RUNNING;
	set_current(self);
}

static void sched_init(void)
{
	const unsigned count = cpu_count();
	struct thread *main;

	thread_init();
	main = make("main", CLASS_KERNEL, 0, NULL);
	main->ent.slice_ns = SLICE_KERNEL_NS;
	for (unsigned i = 0; i < count; i++) {
		processors[i].cpu = cpu_get(i);
		processors[i].bit = 1ul << i;
		processors[i].timer_ns = UINT64_MAX;
		processors[i].idle = make("idle", CLASS_IDLE, i, i == 0 ? idle : NULL);
	}
	idle_cpus = ((1ul << count) - 1) & ~1ul;
	balance_ns = count > 1 ? 0 : UINT64_MAX;
	(void)cpu_on_each(become_thread, main);
	thread_init_reaper();
	if (trap_set_handler(VEC_RESCHED, handle_resched))
		panic("sched_init: the vector is taken");
	backtrace_set_stacks(is_stack);
}
INIT(INIT_SCHED, sched_init);
