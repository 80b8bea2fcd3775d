/* Threads: made, ended, joined, detached, and what is known of each. See spec/sched.md, and thread.h for the lock.
 *
 * A thread ends on its own stack, so somebody else gives back what it took, once it is ENDED: who has joined it, or, of
 * those that are detached, the reaper, a thread that does nothing else. Whether it is detached and whether it has ended
 * are looked at under the lock by whoever changes either, so one of them hands it over, and only one. */
#include "boot.h"
#include "clock.h"
#include "desc.h"
#include "mm.h"
#include "string.h"
#include "thread.h"

#define MSR_FS_BASE 0xC0000100u

static struct slab_cache *cache;                /* of struct thread */

static uint32_t alive, last_id;                 /* alive: those that are not freed yet. Both atomic */
static struct thread *reaper;

/* Those that are the reaper's to free, a list by next_ended. Under the lock. */
static struct thread *ended;

static void (*user_hook)(void);                 /* atomic */

/* ---- made and freed ---- */

/* Where a thread begins, after the switch to it: interrupts off, the lock held. */
static void begin(void *arg)
{
	struct thread *const t = arg;

	sched_give();
	sched_sti();
	t->fn(t->arg);
	thread_exit(0);
}

/* Room for one more. -ENOSPC. */
static int take_place(void)
{
	uint32_t n = __atomic_load_n(&alive, __ATOMIC_RELAXED);

	do
		if (n == THREAD_MAX)
			return -ENOSPC;
	while (!__atomic_compare_exchange_n(&alive, &n, n + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return 0;
}

static void give_place(void)
{
	__atomic_fetch_sub(&alive, 1, __ATOMIC_RELAXED);
}

/* 0 is no id. */
static uint32_t next_id(void)
{
	const uint32_t id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);

	return id ? id : __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
}

int thread_make(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out)
{
	struct thread *t;
	void *stack_top = boot_stack_top;
	int err = take_place();

	if (err)
		return err;
	t = slab_alloc(cache);
	err = !t ? -ENOMEM : fn ? kstack_alloc(&stack_top) : 0;
	if (err) {
		if (t)
			slab_free(cache, t);
		give_place();
		return err;
	}
	memset(t, 0, sizeof *t);
	t->ent.cls = (uint8_t)attr->cls;
	t->ent.donated = LEVEL_NONE;
	t->ent.affinity = attr->affinity ? attr->affinity : UINT64_MAX;
	t->state = THREAD_WAITING;
	t->stack_top = stack_top;
	t->id = next_id();
	t->fn = fn;
	t->arg = arg;
	strlcpy(t->name, attr->name, sizeof t->name);
	if (fn) {
		struct trap_frame *const frame = (struct trap_frame *)stack_top - 1;

		/* What comes from ring 3 stands above all of the thread's own. */
		memset(frame, 0, sizeof *frame);
		context_init(&t->context, frame, begin, t);
		t->own_stack = true;
	}
	*out = t;
	return 0;
}
_Static_assert(sizeof(struct trap_frame) % 16 == 0, "beneath it a stack is aligned as at its top");

/* t is ENDED and nobody's any more. In thread context, no lock of sched's held: it may shoot down. */
static void release(struct thread *t)
{
	if (t->own_stack && kstack_free(t->stack_top))
		panic("sched: a thread's stack is none");
	if (slab_free(cache, t))
		panic("sched: a thread is none");
	give_place();
}

static struct thread *take_ended(void)
{
	const uint64_t flags = sched_lock();
	struct thread *const t = ended;

	if (t)
		ended = t->next_ended;
	sched_unlock(flags);
	return t;
}

static void reap(void *arg)
{
	(void)arg;
	for (;;) {
		struct thread *const t = take_ended();

		if (t)
			release(t);
		else
			thread_park(TIMEOUT_NONE);
	}
}

/* Hands t, which is ENDED and detached, to the reaper. Under the lock. */
static void bury(struct thread *t)
{
	t->next_ended = ended;
	ended = t;
	sched_permit(reaper, RQ_WAKE);
}

void thread_init(void)
{
	if (slab_cache_create("thread", sizeof(struct thread), 0, NULL, 0, &cache))
		panic("sched_init: no memory for threads");
}

/* Nobody starts it: it begins when it is woken for the first time. */
void thread_init_reaper(void)
{
	const struct thread_attr attr = { "reaper", CLASS_KERNEL, 0 };

	if (thread_make(&attr, reap, NULL, &reaper))
		panic("sched_init: no memory for the reaper");
	reaper->detached = true;
	reaper->at = sched_current()->at;
}

/* ---- the life of one ---- */

static bool is_class(enum sched_class cls)
{
	return (unsigned)cls < CLASS_IDLE;
}

/* Whether it has an online processor, or is 0, which is all of them. */
static bool is_mask(uint64_t affinity)
{
	return !affinity || affinity & ((1ul << cpu_count()) - 1);
}

int thread_create(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out)
{
	struct thread *t;
	uint64_t flags;
	int err;

	if (!fn || !is_class(attr->cls) || !is_mask(attr->affinity) || !attr->name ||
	    strnlen(attr->name, THREAD_NAME_MAX + 1) > THREAD_NAME_MAX)
		return -EINVAL;
	err = thread_make(attr, fn, arg, &t);
	if (err)
		return err;
	t->agent = thread_agent(sched_current());
	flags = sched_lock();
	t->at = sched_current()->at;
	sched_wake(t, RQ_NEW);
	*out = t;       /* READY for who finds it there, to wake it or the like; and before it runs, as it may look there */
	sched_unlock(flags);
	return 0;
}

void thread_exit(int code)
{
	struct thread *const self = sched_current();

	if (!sched_preempt_count_is(0))
		panic("sched: a thread ends with preemption off");
	(void)sched_lock();
	self->code = code;
	self->state = THREAD_ENDED;
	if (self->detached)
		bury(self);
	else if (self->joiner && self->joiner->state == THREAD_WAITING)
		sched_wake(self->joiner, RQ_WAKE);
	sched_leave();
}

int thread_join(struct thread *t, uint64_t timeout_ns, int *code)
{
	int err;

	sched_may_sleep();
	if (t == sched_current())
		return -EINVAL;
	err = sched_wait(t, timeout_ns);
	if (err)
		return err;
	if (code)
		*code = t->code;
	release(t);
	return 0;
}

/* Not freed here: the caller may hold a lock that others wait for with interrupts off. */
void thread_detach(struct thread *t)
{
	const uint64_t flags = sched_lock();

	t->detached = true;
	if (t->state == THREAD_ENDED)
		bury(t);
	sched_unlock(flags);
}

/* ---- what it may claim ---- */

/* Where t is queued without a donation, as rule 1 has it. */
static uint8_t base_level(const struct thread *t)
{
	static const uint8_t levels[CLASS_COUNT] = {
		[CLASS_KERNEL] = LEVEL_KERNEL,
		[CLASS_INTERACTIVE] = LEVEL_INTERACTIVE,
		[CLASS_NORMAL] = LEVEL_NORMAL,
		[CLASS_INFERENCE] = LEVEL_INFERENCE,
		[CLASS_IDLE] = LEVEL_IDLE,
	};

	return t->ent.spent && t->ent.cls == CLASS_KERNEL ? LEVEL_INTERACTIVE : levels[t->ent.cls];
}

int thread_set_class(struct thread *t, enum sched_class cls)
{
	uint64_t flags;

	if (!is_class(cls))
		return -EINVAL;
	flags = sched_lock();
	if (t->ent.cls != cls) {
		t->ent.cls = (uint8_t)cls;
		sched_set_level(t, base_level(t));
	}
	sched_unlock(flags);
	return 0;
}

/* Its own level is where it is, boosted or lifted by age, unless that was the donation's. */
void thread_donate(struct thread *t, uint8_t level)
{
	const uint64_t flags = sched_lock();
	const uint8_t own = t->ent.level == t->ent.donated ? base_level(t) : t->ent.level;

	t->ent.donated = level;
	sched_set_level(t, own);
	sched_unlock(flags);
}

int thread_set_affinity(struct thread *t, uint64_t mask)
{
	uint64_t flags;

	if (!is_mask(mask))
		return -EINVAL;
	flags = sched_lock();
	sched_set_affinity(t, mask ? mask : UINT64_MAX, flags);
	sched_unlock(flags);
	return 0;
}

/* ---- what is known of one ---- */

struct thread *thread_current(void)
{
	return sched_current();
}

uint32_t thread_id(const struct thread *t)
{
	return t->id;
}

const char *thread_name(const struct thread *t)
{
	return t->name;
}

struct sched_ent *thread_ent(struct thread *t)
{
	return &t->ent;
}

/* What another processor's clock is ahead by is nothing. */
void thread_get_stats(struct thread *t, struct thread_stats *out)
{
	const uint64_t flags = sched_lock(), now = clock_ns(), span = now > t->since_ns ? now - t->since_ns : 0;

	*out = t->stats;
	if (t->state == THREAD_RUNNING) {
		out->run_ns += span;
	} else if (t->state == THREAD_READY) {
		out->wait_ns += span;
		if (span > out->max_wait_ns)
			out->max_wait_ns = span;
	}
	sched_unlock(flags);
}

void thread_set_agent(struct thread *t, uint32_t agent)
{
	__atomic_store_n(&t->agent, agent, __ATOMIC_RELAXED);
}

uint32_t thread_agent(const struct thread *t)
{
	return __atomic_load_n(&t->agent, __ATOMIC_RELAXED);
}

void *thread_stack_top(const struct thread *t)
{
	return t->stack_top;
}

struct thread_locks *thread_locks(struct thread *t)
{
	return &t->locks;
}

void *thread_local_get(const struct thread *t)
{
	return t->local;
}

void thread_local_set(struct thread *t, void *p)
{
	t->local = p;
}

/* ---- spaces ---- */

static uint64_t read_fs_base(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_FS_BASE) : "memory");
	return (uint64_t)high << 32 | low;
}

static void write_fs_base(uint64_t base)
{
	__asm__ volatile("wrmsr" : : "c"(MSR_FS_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)) : "memory");
}

void thread_leave_space(struct thread *t)
{
	if (t->space)
		t->fs_base = read_fs_base();
}

/* FS base last: to load FS may clear it. */
void thread_enter_space(const struct thread *t)
{
	vmspace_activate(t->space);
	gdt_set_rsp0((uint64_t)(t->space ? t->stack_top : boot_stack_top));
	thread_load_segments();
	if (t->space)
		write_fs_base(t->fs_base);
}

uint64_t thread_fs_base(const struct thread *t)
{
	return t == sched_current() ? read_fs_base() : t->fs_base;
}

void thread_set_space(struct thread *t, struct vmspace *vs)
{
	const uint64_t flags = sched_lock();

	if (t == sched_current()) {
		thread_leave_space(t);
		t->space = vs;
		thread_enter_space(t);
	} else {
		t->space = vs;
	}
	sched_unlock(flags);
}

/* ---- on the way to ring 3 ---- */

void thread_set_user_hook(void (*fn)(void))
{
	__atomic_store_n(&user_hook, fn, __ATOMIC_RELEASE);
}

/* One that runs in ring 3 is interrupted, and runs the hook on its way back. One that was interrupted there and does
 * not run is in VEC_RESCHED's handler, any other has a system call's end before it: both look before they go back. */
void thread_poke(struct thread *t)
{
	const uint64_t flags = sched_lock();

	__atomic_fetch_add(&t->pokes, 1, __ATOMIC_RELAXED);
	if (t->state == THREAD_RUNNING)
		sched_interrupt(t);
	sched_unlock(flags);
}

void thread_user_return(void)
{
	struct thread *const self = sched_current();

	while (__atomic_load_n(&self->pokes, __ATOMIC_RELAXED)) {
		void (*const hook)(void) = __atomic_load_n(&user_hook, __ATOMIC_ACQUIRE);

		__atomic_fetch_sub(&self->pokes, 1, __ATOMIC_RELAXED);
		if (hook) {
			sched_sti();
			hook();
			sched_cli();
		}
	}
}
