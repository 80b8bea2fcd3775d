/* Processes: made, started, stopped, resumed, ended, waited for. See spec/sched.md, "Processes", and invariants 5, 7
 * and 8.
 *
 * A process is stopped or ended by a mark; whoever sets it has each thread come to process_hook, which looks for it
 * under the process's lock. A new thread comes there before its first instruction, so one that is only being made sees
 * the mark as well.
 *
 * A thread that ends leaves the space, hands itself over in `left`, and joins the one that it finds there. So no more
 * than one at a time is not given back, and when the last comes to its end all others are gone: it destroys the space,
 * and itself is joined by process_wait, or detached by who drops the last reference.
 *
 * Under a process's lock only wait queues' and sched's own are taken; it is not held over anything that makes or frees
 * memory, as that may shoot down. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "errno.h"
#include "mm.h"
#include "panic.h"
#include "proc.h"
#include "process.h"
#include "sched.h"
#include "spinlock.h"
#include "string.h"
#include "syscall.h"

#define RFLAGS_IF   (1ul << 9)
#define RFLAGS_1    (1ul << 1)                  /* always set */
#define RFLAGS_USER 0xcd5ul                     /* CF, PF, AF, ZF, SF, DF, OF: what user_enter takes of a caller's */

enum life { LIVES, ENDING, ENDED, GONE };       /* ENDED: its last thread is to be joined; GONE: all is back */
enum pace { GOES, STOPPING, STOPPED };          /* while it lives */

/* A thread of a process, from before it is made until it leaves. It has a reference to the process. */
struct member {
	struct member *next;                    /* in order of creation */
	struct process *process;
	struct thread *thread;                  /* NULL: being made, or it failed; thread_create's to write, so atomic */
	bool parked;                            /* kept in the hook, and regs say where it goes on */
	struct user_regs regs;                  /* till then: where it begins */
};

struct process {
	uint32_t id, agent;                     /* these four do not change */
	enum sched_class cls;
	char name[THREAD_NAME_MAX + 1];
	uint32_t refs;                          /* atomic */
	struct vmspace *space;                  /* NULL: given back. Atomic */

	struct spinlock lock;                   /* for all below */
	enum life life;
	enum pace pace;
	int status;                             /* how it ends */
	bool begun;                             /* a thread of it has left */
	unsigned count;                         /* members, and those that have left but may not have joined yet */
	struct member *members;
	struct thread *left;                    /* who left last, to be joined; NULL: nobody, or it is being joined */
	struct wait_queue gate;                 /* parked threads */
	struct wait_queue watchers;             /* those who wait for it to be stopped or gone */
};

static uint32_t alive, last_id;                 /* alive: those that are not freed yet. Both atomic */

static void wake_all(struct wait_queue *wq)
{
	(void)wait_wake(wq, UINT32_MAX, WAKE_PLAIN);
}

/* What may sleep says so first of all, whether it then has to or not. The preempt count in one instruction, as who may
 * move to another processor would read another's by two. */
static void check_may_sleep(void)
{
	uint64_t flags;
	uint32_t count;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(count) : "i"(offsetof(struct cpu, preempt_count)) : "memory");
	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	if (count || !(flags & RFLAGS_IF))
		panic("sched: sleep in atomic context");
}

/* ---- made and freed ---- */

/* Room for one more. -ENOSPC. */
static int take_place(void)
{
	uint32_t n = __atomic_load_n(&alive, __ATOMIC_RELAXED);

	do
		if (n == PROCESS_MAX)
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

/* The kernel's classes, and what is none, are refused. */
static bool attr_good(const struct process_attr *attr)
{
	return (attr->cls == CLASS_INTERACTIVE || attr->cls == CLASS_NORMAL || attr->cls == CLASS_INFERENCE) &&
		attr->name && strnlen(attr->name, THREAD_NAME_MAX + 1) <= THREAD_NAME_MAX;
}

int process_create(const struct process_attr *attr, struct process **out)
{
	struct process *p;
	int err;

	if (!attr_good(attr))
		return -EINVAL;
	err = take_place();
	if (err)
		return err;
	p = kzalloc(sizeof *p);
	err = p ? vmspace_create(attr->limit_frames, &p->space) : -ENOMEM;
	if (err) {
		kfree(p);
		give_place();
		return err;
	}
	p->id = next_id();
	p->agent = attr->agent;
	p->cls = attr->cls;
	strlcpy(p->name, attr->name, sizeof p->name);
	p->refs = 1;
	*out = p;
	return 0;
}

/* Gives the space back. No thread of p is in it, or will be; no lock is held. */
static void free_space(struct process *p)
{
	if (vmspace_destroy(__atomic_exchange_n(&p->space, NULL, __ATOMIC_ACQ_REL)))
		panic("process: the space of one that has ended is in use");
}

/* A space that is still there is that of a process which never had a thread. The thread that left last may be the
 * caller. */
void process_put(struct process *p)
{
	if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (p->left)
		thread_detach(p->left);
	if (p->space)
		free_space(p);
	kfree(p);
	give_place();
}

/* ---- threads ---- */

/* Under the lock. A process that had threads ends with the last of them, if it is not ending already. */
static void take_out(struct process *p, const struct member *m)
{
	struct member **link = &p->members;

	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	if (!p->members && p->begun && p->life == LIVES)
		p->life = ENDING;               /* status is 0 */
	wake_all(&p->watchers);
}

/* Under the lock: one less counts. Whether it was the last of a process that ends: then the caller calls finish. */
static bool uncount(struct process *p)
{
	p->count--;
	return !p->count && p->life == ENDING;
}

/* p is ENDING, and none of its threads is in its space any more: gives that back, and only then says so. No lock is
 * held. */
static void finish(struct process *p)
{
	uint64_t flags;

	free_space(p);
	flags = spin_lock_irqsave(&p->lock);
	p->life = p->left ? ENDED : GONE;
	wake_all(&p->watchers);
	spin_unlock_irqrestore(&p->lock, flags);
}

/* It is out of the space before it can be the last, and counts until the one before it is gone: so those on their way to
 * their end are bounded by PROCESS_THREADS_MAX, too, and when the last counts no more all others are gone. */
void process_leave(void)
{
	struct thread *const self = thread_current();
	struct member *const m = thread_local_get(self);
	struct process *const p = m->process;
	struct thread *before;
	uint64_t flags;
	bool last;

	thread_local_set(self, NULL);
	thread_set_space(self, NULL);
	flags = spin_lock_irqsave(&p->lock);
	p->begun = true;
	take_out(p, m);
	before = p->left;
	p->left = self;
	spin_unlock_irqrestore(&p->lock, flags);
	kfree(m);

	while (before && thread_join(before, TIMEOUT_NONE, NULL))
		;                               /* cancelled, which is nothing to who ends */
	flags = spin_lock_irqsave(&p->lock);
	last = uncount(p);
	spin_unlock_irqrestore(&p->lock, flags);
	if (last)
		finish(p);
	process_put(p);
	thread_exit(0);
}

/* Poked, so that it comes to the hook with a frame at its stack's top, as all others do. */
static void begin(void *arg)
{
	struct member *const m = arg;
	struct thread *const self = thread_current();

	thread_set_agent(self, m->process->agent);
	thread_local_set(self, m);
	thread_set_space(self, m->process->space);
	thread_poke(self);
	(void)user_enter(&m->regs);
	panic("process: registers that were fit for ring 3 are not");
}

/* Under the lock. */
static int may_join(const struct process *p, bool first)
{
	if (p->life != LIVES)
		return -ENOENT;
	if (first && (p->members || p->begun))
		return -EBUSY;
	return p->count < PROCESS_THREADS_MAX ? 0 : -ENOSPC;
}

/* Makes m a member of p. Errors as process_add_thread; -EBUSY: m is to be the first, and is not. */
static int put_in(struct process *p, struct member *m, bool first)
{
	const uint64_t flags = spin_lock_irqsave(&p->lock);
	struct member **link = &p->members;
	const int err = may_join(p, first);

	if (!err) {
		while (*link)
			link = &(*link)->next;
		*link = m;
		p->count++;
		__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	}
	spin_unlock_irqrestore(&p->lock, flags);
	return err;
}

/* The thread of m, which is a member, and before that, of the first one, its stack: what was mapped in one piece goes in
 * one piece, which cannot fail. Once the thread is there m is its own. */
static int make_thread(struct process *p, struct member *m, bool first)
{
	const struct thread_attr attr = { p->name, p->cls, 0 };
	vaddr_t stack = USER_END - PAGE_SIZE - USER_STACK_SIZE;
	int err = first ? vmspace_map_anon(p->space, &stack, USER_STACK_SIZE, VM_WRITE) : 0;

	if (err)
		return err;
	err = thread_create(&attr, begin, m, &m->thread);
	if (err && first)
		(void)vmspace_unmap(p->space, stack, USER_STACK_SIZE);
	return err;
}

/* While the thread is being made its place in the process keeps that from being given back. */
static int add_thread(struct process *p, const struct user_regs *regs, bool first)
{
	struct member *m;
	uint64_t flags;
	bool last;
	int err;

	if (regs->rip >= USER_END || regs->rsp >= USER_END || regs->fs_base >= USER_END)
		return -EINVAL;
	m = kmalloc(sizeof *m);
	if (!m)
		return -ENOMEM;
	*m = (struct member){ .process = p, .regs = *regs };
	m->regs.rflags = (regs->rflags & RFLAGS_USER) | RFLAGS_IF | RFLAGS_1;   /* what user_enter makes of them */
	err = put_in(p, m, first);
	if (err) {
		kfree(m);
		return err;
	}
	err = make_thread(p, m, first);
	if (err) {
		flags = spin_lock_irqsave(&p->lock);
		take_out(p, m);
		last = uncount(p);
		spin_unlock_irqrestore(&p->lock, flags);
		kfree(m);
		if (last)
			finish(p);
		process_put(p);
	}
	return err;
}

int process_start(struct process *p, vaddr_t entry, uint64_t arg)
{
	const struct user_regs regs = { .rip = entry, .rsp = USER_END - PAGE_SIZE, .rdi = arg };

	return add_thread(p, &regs, true);
}

int process_add_thread(struct process *p, const struct user_regs *regs)
{
	return add_thread(p, regs, false);
}

/* ---- stopped and ended ---- */

/* Has each thread come to the hook, out of what it waits for. Under the lock, with the mark set: when a thread uses up
 * the cancellation, it either has seen the mark or comes to the hook again. One that is being made comes there anyway. */
static void summon(struct process *p)
{
	for (struct member *m = p->members; m; m = m->next) {
		struct thread *const t = __atomic_load_n(&m->thread, __ATOMIC_ACQUIRE);

		if (t) {
			thread_poke(t);
			thread_cancel(t);
		}
	}
}

/* A cancellation is used up even if there was no need to wait: the mark that it came with may be gone again. */
void process_hook(void)
{
	struct thread *const self = thread_current();
	struct member *const m = thread_local_get(self);
	struct process *p;
	uint64_t flags;
	bool ends;

	if (!m)
		return;
	p = m->process;
	flags = spin_lock_irqsave(&p->lock);
	while (p->life == LIVES && p->pace != GOES) {
		if (!m->parked) {
			(void)user_regs_get(self, &m->regs);    /* there is a frame: it is on its way to ring 3 */
			m->parked = true;
			wake_all(&p->watchers);
		}
		(void)wait_sleep(&p->gate, &p->lock, &flags, TIMEOUT_NONE);
	}
	m->parked = false;
	ends = p->life != LIVES;
	spin_unlock_irqrestore(&p->lock, flags);
	if (ends)
		process_leave();
	while (thread_park(TIMEOUT_NOW) != -ETIMEDOUT)
		;
}

/* Under the lock. */
static bool all_parked(const struct process *p)
{
	const struct member *m = p->members;

	while (m && m->parked)
		m = m->next;
	return !m;
}

/* Under the lock. */
static void go_on(struct process *p)
{
	p->pace = GOES;
	wake_all(&p->gate);
}

/* STOPPING is this caller's alone: nobody else stops or resumes it meanwhile. A caller that is cancelled gives up, with
 * -EAGAIN, as from every wait; so two that stop each other's process do not wait for ever, nor one its own. */
int process_stop(struct process *p)
{
	uint64_t flags;
	int err = 0;

	check_may_sleep();
	flags = spin_lock_irqsave(&p->lock);
	if (p->life == LIVES && p->pace != GOES) {
		err = -EBUSY;
	} else if (p->life == LIVES) {
		p->pace = STOPPING;
		summon(p);
		while (!err && p->life == LIVES && !all_parked(p))
			err = wait_sleep(&p->watchers, &p->lock, &flags, TIMEOUT_NONE);
		if (err)
			go_on(p);
		else
			p->pace = STOPPED;
	}
	if (p->life != LIVES)
		err = -ENOENT;
	spin_unlock_irqrestore(&p->lock, flags);
	return err;
}

/* Under the lock. */
static bool is_stopped(const struct process *p)
{
	return p->life == LIVES && p->pace == STOPPED;
}

int process_resume(struct process *p)
{
	const uint64_t flags = spin_lock_irqsave(&p->lock);
	const bool stopped = is_stopped(p);

	if (stopped)
		go_on(p);
	spin_unlock_irqrestore(&p->lock, flags);
	return stopped ? 0 : -EINVAL;
}

int process_get_regs(struct process *p, unsigned i, struct user_regs *out)
{
	const uint64_t flags = spin_lock_irqsave(&p->lock);
	const struct member *m = p->members;
	int err = -EINVAL;

	if (is_stopped(p)) {
		for (; m && i; i--)
			m = m->next;
		err = m ? 0 : -ENOENT;
		if (m)
			*out = m->regs;
	}
	spin_unlock_irqrestore(&p->lock, flags);
	return err;
}

int process_kill(struct process *p, int status)
{
	const uint64_t flags = spin_lock_irqsave(&p->lock);
	const bool lived = p->life == LIVES;
	bool last = false;

	if (lived) {
		p->life = ENDING;
		p->status = status;
		summon(p);
		last = !p->count;
	}
	spin_unlock_irqrestore(&p->lock, flags);
	if (last)
		finish(p);
	return lived ? 0 : -ENOENT;
}

/* ---- waited for ---- */

static uint64_t time_left(uint64_t until_ns)
{
	const uint64_t now = clock_ns();

	if (until_ns == TIMEOUT_NONE)
		return TIMEOUT_NONE;
	return now < until_ns ? until_ns - now : TIMEOUT_NOW;
}

/* One of those who wait joins the last thread, the others wait for that. */
int process_wait(struct process *p, uint64_t timeout_ns, int *status)
{
	const uint64_t begin_ns = clock_ns();
	const uint64_t until_ns = timeout_ns > TIMEOUT_NONE - begin_ns ? TIMEOUT_NONE : begin_ns + timeout_ns;
	uint64_t flags;
	int err = 0;

	check_may_sleep();
	flags = spin_lock_irqsave(&p->lock);
	while (!err && p->life != GONE) {
		struct thread *const last = p->life == ENDED ? p->left : NULL;

		if (!last) {
			err = wait_sleep(&p->watchers, &p->lock, &flags, time_left(until_ns));
			continue;
		}
		p->left = NULL;
		spin_unlock_irqrestore(&p->lock, flags);
		err = thread_join(last, time_left(until_ns), NULL);
		flags = spin_lock_irqsave(&p->lock);
		if (err)
			p->left = last;
		else
			p->life = GONE;
		wake_all(&p->watchers);
	}
	spin_unlock_irqrestore(&p->lock, flags);
	if (!err && status)
		*status = p->status;            /* which does not change any more */
	return err;
}

/* ---- what is known of one ---- */

struct process *process_current(void)
{
	const struct member *const m = thread_local_get(thread_current());

	return m ? m->process : NULL;
}

struct vmspace *process_vmspace(struct process *p)
{
	return __atomic_load_n(&p->space, __ATOMIC_ACQUIRE);
}

uint32_t process_id(const struct process *p)
{
	return p->id;
}

uint32_t process_agent(const struct process *p)
{
	return p->agent;
}
