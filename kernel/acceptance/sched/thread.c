/* Acceptance of sched/thread.c: threads made and gone, permits, spaces. See spec/sched.md, and harness/threads.h of time. */
#include "boot.h"
#include "desc.h"
#include "threads.h"

/* ---- made and gone ---- */

static struct {
	struct thread *self;
	uint64_t arg, flags, stack, cr3;
	uint32_t preempt, id, agent, runs;
	void *local;
	bool clean;
} seen;

static void look(void *arg)
{
	const uint64_t *frame = (const uint64_t *)thread_stack_top(thread_current()) - sizeof(struct trap_frame) / 8;

	seen.self = thread_current();
	seen.arg = (uint64_t)arg;
	seen.flags = harness_flags();
	seen.stack = (uint64_t)__builtin_frame_address(0);
	seen.cr3 = HARNESS_READ("mov %%cr3, %0");
	seen.preempt = cpu_self()->preempt_count;
	seen.id = thread_id(thread_current());
	seen.agent = thread_agent(thread_current());
	seen.local = thread_local_get(thread_current());
	seen.clean = true;
	for (unsigned i = 0; i < sizeof(struct trap_frame) / 8; i++)
		seen.clean &= frame[i] == 0;
	seen.runs++;
}

static void leave_with(void *arg)
{
	thread_exit((int)(uint64_t)arg);
}

KTEST(sched, thread_create)
{
	char name[] = "0123456789012345678901234567890";        /* just fits */
	struct thread *t, *u;
	uint64_t top;
	int code = 77;

	harness_memset(&seen, 0, sizeof seen);
	KASSERT(thread_current() != NULL);
	KASSERT_EQ(thread_ent(thread_current())->cls, CLASS_KERNEL);
	thread_set_agent(thread_current(), 4711);
	t = start(name, CLASS_NORMAL, 0, look, 0xfeedfacecafef00d);
	thread_set_agent(thread_current(), 0);
	KASSERT(t != NULL);
	name[0] = 'x';
	KASSERT_STREQ(thread_name(t), "0123456789012345678901234567890");
	KASSERT_EQ(thread_ent(t)->cls, CLASS_NORMAL);
	top = (uint64_t)thread_stack_top(t);
	u = start("other", CLASS_KERNEL, 0, leave_with, 0x12345);
	KASSERT(u != NULL);
	KASSERT(thread_id(u) != thread_id(t));
	KASSERT(thread_id(t) > 0);
	KASSERT(thread_id(t) != thread_id(thread_current()));
	KASSERT_EQ(reaches(&seen.runs, 1), true);
	KASSERT_EQ(thread_join(t, LONG, &code), 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(seen.self, t);
	KASSERT_EQ(seen.arg, 0xfeedfacecafef00d);
	KASSERT_EQ(seen.flags >> 9 & 1, 1);
	KASSERT_EQ(seen.flags >> 10 & 1, 0);
	KASSERT_EQ(seen.preempt, 0);
	KASSERT_EQ(seen.cr3, kernel_root);
	KASSERT_EQ(seen.agent, 4711);
	KASSERT(seen.local == NULL);
	KASSERT(seen.clean);
	KASSERT_EQ(top % 16, 0);
	KASSERT(seen.stack < top - sizeof(struct trap_frame));
	KASSERT(seen.stack > top - 1024);
	KASSERT_EQ(thread_join(u, LONG, &code), 0);
	KASSERT_EQ(code, 0x12345);
	KASSERT_EQ(seen.runs, 1);
	KASSERT_EQ(thread_stack_top(thread_current()), boot_stack_top);
}

KTEST(sched, thread_bad)
{
	const struct thread_attr good = { "good", CLASS_NORMAL, 0 };
	struct thread_attr attr = good;
	struct thread *const none = (struct thread *)77, *t = none;

	KASSERT_EQ(thread_create(&attr, NULL, NULL, &t), -EINVAL);
	attr.cls = CLASS_IDLE;
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	attr.cls = CLASS_COUNT;
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	attr = good;
	attr.affinity = 1ull << 63;
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	attr.affinity = 1ull << cpu_count();
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	attr = good;
	attr.name = NULL;
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	attr.name = "01234567890123456789012345678901";
	KASSERT_EQ(thread_create(&attr, look, NULL, &t), -EINVAL);
	KASSERT_EQ(t, none);
	KASSERT_EQ(thread_set_class(thread_current(), CLASS_IDLE), -EINVAL);
	KASSERT_EQ(thread_set_class(thread_current(), CLASS_COUNT), -EINVAL);
	KASSERT_EQ(thread_set_affinity(thread_current(), 1ull << 63), -EINVAL);
	KASSERT_EQ(thread_join(thread_current(), 0, NULL), -EINVAL);
	KASSERT_EQ(thread_ent(thread_current())->affinity, HERE);
}

/* What is kept for the next thread is given back, as far as that can be asked for: by this processor, of the cache that it was in. */
static void shrink(struct slab_cache *cache)
{
	if (cache)
		slab_shrink(cache);
}

enum { MANY = 1000, ALIVE = 32 };
static uint32_t many_ran;

static void be_short(void *arg)
{
	const uint64_t r = (uint64_t)arg;

	for (unsigned i = 0; i < (r & 3); i++)
		thread_yield();
	if (r & 4)
		thread_park(r >> 8 & 0xfff);
	__atomic_fetch_add(&many_ran, 1, __ATOMIC_SEQ_CST);
	if (r & 8)
		thread_exit((int)(r & 0xffff));
}

/* So many, of which at most ALIVE at a time, gone in another order than they came; a quarter detached. How many went wrong. Where the machine below has
 * less processors than there are, one that waits for another waits long: so not too many go elsewhere. */
static unsigned make_many(uint64_t *seed, unsigned n, struct slab_cache **cache)
{
	static struct thread *live[ALIVE];
	static uint64_t args[ALIVE];
	unsigned wrong = 0, made = 0;

	harness_memset(live, 0, sizeof live);
	for (unsigned left = 0; made < n || left;) {
		const uint64_t r = harness_random(seed);
		const unsigned i = r % ALIVE;

		if (live[i]) {
			int code = 77;

			wrong += thread_join(live[i], LONG, &code) != 0 || code != (args[i] & 8 ? (int)(args[i] & 0xffff) : 0);
			live[i] = NULL;
			left--;
		} else if (made < n) {
			args[i] = r >> 8;
			live[i] = start("many", (enum sched_class)((r >> 56) % CLASS_IDLE), r >> 48 & 7 ? HERE : 0, be_short, args[i]);
			wrong += !live[i];
			made++;
			if (!live[i])
				continue;
			*cache = slab_cache_of(live[i]);
			if (r >> 40 & 1 && r >> 41 & 1) {
				thread_detach(live[i]);
				live[i] = NULL;
			} else {
				left++;
			}
		}
	}
	return wrong;
}

/* Whether that many frames are free again, but for a few: those detached may take a moment. Each processor keeps some objects, and with each maybe a slab. */
static bool are_back(uint64_t before, uint64_t few, struct slab_cache *cache)
{
	const uint64_t begin = clock_ns();

	do {
		shrink(cache);
		if (free_frames() + few >= before)
			return free_frames() <= before + few;
		thread_park(MS);
	} while (clock_ns() - begin < LONG);
	return false;
}

KTEST(sched, thread_many)
{
	struct slab_cache *cache = NULL;
	uint64_t seed = harness_seed(), before;
	unsigned wrong;

	many_ran = 0;
	KASSERT_EQ(make_many(&seed, 2 * ALIVE, &cache), 0);      /* tables of stacks stay */
	KASSERT(reaches(&many_ran, 2 * ALIVE));
	shrink(cache);
	before = free_frames();
	many_ran = 0;
	wrong = make_many(&seed, MANY, &cache);
	KASSERT_EQ(wrong, 0);
	KASSERT(reaches(&many_ran, MANY));
	KASSERT_EQ(many_ran, MANY);
	KASSERT(are_back(before, cpu_count() == 1 ? 64 : 256, cache));
}

static void park_here(void *arg)
{
	(void)arg;
	while (thread_park(TIMEOUT_NONE) != 0)
		;
	__atomic_fetch_add(&many_ran, 1, __ATOMIC_SEQ_CST);
}

/* As many as there can be; one more changes nothing. */
KTEST(sched, thread_limit)
{
	static struct thread *all[THREAD_MAX];
	const struct thread_attr attr = { "limit", CLASS_NORMAL, HERE };
	const uint64_t before = free_frames();
	struct slab_cache *cache = NULL;
	unsigned n = 0, wrong = 0;
	uint64_t full;
	int err = 0, again;

	many_ran = 0;
	while (n < THREAD_MAX && (err = thread_create(&attr, park_here, NULL, &all[n])) == 0)
		n++;
	full = free_frames();
	again = thread_create(&attr, park_here, NULL, &all[0 + (n == THREAD_MAX)]);
	wrong += free_frames() != full;
	if (n)
		cache = slab_cache_of(all[0]);
	for (unsigned i = 0; i < n; i++)
		thread_unpark(all[i], WAKE_PLAIN);
	for (unsigned i = n; i--;)
		wrong += !ended(all[i]);
	KASSERT(err == -ENOSPC || err == -ENOMEM);
	KASSERT_EQ(again, err);
	KASSERT(n + 1 + cpu_count() <= THREAD_MAX);
	if (err == -ENOSPC)
		KASSERT(n + 64 >= THREAD_MAX);
	else
		KASSERT(full < 64);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(many_ran, n);
	KASSERT(are_back(before, 256 + n / 32, cache));         /* tables stay, each of which serves 64 stacks */
}

KTEST(sched, thread_join_timeout)
{
	struct thread *t = start("parked", CLASS_NORMAL, 0, park_here, 0);
	uint64_t begin;
	int code = 77;

	KASSERT(t != NULL);
	KASSERT_EQ(thread_join(t, TIMEOUT_NOW, &code), -ETIMEDOUT);
	begin = clock_ns();
	KASSERT_EQ(thread_join(t, MS, &code), -ETIMEDOUT);
	KASSERT(clock_ns() - begin >= MS);
	KASSERT_EQ(code, 77);
	thread_cancel(thread_current());
	KASSERT_EQ(thread_join(t, LONG, &code), -EAGAIN);
	thread_unpark(t, WAKE_PLAIN);
	KASSERT_EQ(thread_join(t, LONG, &code), 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);       /* a join leaves no permit behind */
}

/* ---- permits ---- */

static volatile int parked_with[3];
static volatile uint32_t parks;

static void park_thrice(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3; i++) {
		parked_with[i] = thread_park(TIMEOUT_NONE);
		__atomic_store_n(&parks, i + 1, __ATOMIC_SEQ_CST);
	}
}

KTEST(sched, thread_park)
{
	struct thread *self = thread_current(), *t;
	uint64_t begin, best = UINT64_MAX;

	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);
	thread_unpark(self, WAKE_PLAIN);
	thread_unpark(self, WAKE_BOOST);
	KASSERT_EQ(thread_park(TIMEOUT_NONE), 0);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);       /* one, not two */
	thread_unpark(self, WAKE_PLAIN);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), 0);
	for (unsigned i = 0; i < 40 && (i < 5 || best > MS); i++) {
		begin = clock_ns();
		KASSERT_EQ(thread_park(MS / 2), -ETIMEDOUT);
		KASSERT(clock_ns() - begin >= MS / 2);
		best = clock_ns() - begin < best ? clock_ns() - begin : best;
	}
	KASSERT(best <= MS);
	parks = 0;
	t = start("parks", CLASS_NORMAL, 0, park_thrice, 0);
	KASSERT(t != NULL);
	for (unsigned i = 0; i < 3; i++) {
		thread_park(MS / 2);
		KASSERT_EQ(parks, i);
		if (i == 1)
			thread_cancel(t);
		else
			thread_unpark(t, i ? WAKE_BOOST : WAKE_PLAIN);
		KASSERT(reaches(&parks, i + 1));
	}
	KASSERT(ended(t));
	KASSERT_EQ(parked_with[0], 0);
	KASSERT_EQ(parked_with[1], -EAGAIN);
	KASSERT_EQ(parked_with[2], 0);
	thread_cancel(self);                                    /* the next, once */
	KASSERT_EQ(thread_park(TIMEOUT_NONE), -EAGAIN);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);
}

/* All processors give permits to one that takes them: none is lost, and the time-outs do not get in the way. */
enum { PERMITS = 1000 };
static struct thread *taker;
static volatile uint32_t taken, permits_lost, permits_end;

static void take_permits(void *arg)
{
	uint64_t seed = (uint64_t)arg;

	while (!permits_end)
		if (thread_park(1 + harness_random(&seed) % (20 * US)) == 0)
			__atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
}

static void give_permits(void *arg)
{
	const uint64_t until = clock_ns() + 100 * MS;

	(void)arg;
	for (uint32_t i = 0; i < PERMITS && clock_ns() < until; i++) {
		const uint64_t begin = clock_ns();

		thread_unpark(taker, i & 1);
		while (__atomic_load_n(&taken, __ATOMIC_SEQ_CST) <= i && clock_ns() - begin < LONG)
			thread_yield();
		permits_lost += taken != i + 1;
	}
	permits_end = 1;
}

KTEST(sched, thread_park_races)
{
	const unsigned other = cpu_count() > 1;
	struct thread *giver;

	taken = permits_lost = permits_end = 0;
	taker = start("taker", CLASS_NORMAL, HERE, take_permits, harness_seed());
	KASSERT(taker != NULL);
	giver = start("giver", CLASS_NORMAL, 1ull << other, give_permits, 0);
	KASSERT(giver != NULL);
	KASSERT(reaches(&permits_end, 1));
	KASSERT(ended(giver));
	KASSERT(ended(taker));
	KASSERT_EQ(permits_lost, 0);
	KASSERT(taken > 0);
}

/* ---- accounts ---- */

static bool all_switched(struct thread *const *t, const struct thread_stats *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (stats_of(t[i]).switches < from[i].switches + 3)
			return false;
	return true;
}

/* That of one who waits still, too. */
KTEST(sched, thread_stats_waiting)
{
	struct thread_stats early, late;
	struct thread *t;
	uint64_t waited;

	turns_clear();
	turns_end = 1;
	thread_park(MS);                                        /* a whole slice is left */
	preempt_disable();
	t = start("waits", CLASS_NORMAL, HERE, burner, 0);
	early = stats_of(t);
	waited = clock_ns();
	while (clock_ns() - waited < 2 * MS)
		;
	waited = clock_ns() - waited;
	late = stats_of(t);
	preempt_enable();
	KASSERT(ended(t));
	KASSERT_EQ(early.switches, 0);
	KASSERT_EQ(late.switches, 0);
	KASSERT(late.wait_ns - early.wait_ns >= waited - waited / 100);
	KASSERT(late.max_wait_ns >= waited - waited / 100);
	KASSERT(late.max_wait_ns <= late.wait_ns);
}

KTEST(sched, thread_stats)
{
	enum { BURNERS = 3 };
	struct thread *t[BURNERS + 1];
	struct thread_stats from[BURNERS + 1], to[BURNERS + 1];
	uint64_t outer, inner, ran = 0;

	turns_clear();
	for (unsigned i = 0; i < BURNERS; i++)
		t[i] = start("burner", CLASS_NORMAL, HERE, burner, i);
	t[BURNERS] = thread_current();
	thread_park(MS);
	/* Whatever happens between two readings belongs to somebody who runs: what all have run lies between what went by inside and outside. */
	outer = clock_ns();
	for (unsigned i = 0; i <= BURNERS; i++)
		from[i] = stats_of(t[i]);
	inner = clock_ns();
	do                                                      /* until all had their turns */
		thread_park(30 * MS);
	while (clock_ns() - inner < LONG && !all_switched(t, from, BURNERS));
	inner = clock_ns() - inner;
	for (unsigned i = 0; i <= BURNERS; i++)
		to[i] = stats_of(t[i]);
	outer = clock_ns() - outer;
	turns_end = 1;
	for (unsigned i = 0; i < BURNERS; i++)
		KASSERT(ended(t[i]));
	for (unsigned i = 0; i <= BURNERS; i++)
		ran += to[i].run_ns - from[i].run_ns;
	KASSERT(ran <= outer + outer / 100);
	KASSERT(ran >= inner - inner / 100);
	for (unsigned i = 0; i < BURNERS; i++) {
		const uint64_t run = to[i].run_ns - from[i].run_ns, wait = to[i].wait_ns - from[i].wait_ns;

		KASSERT(run + wait <= outer + outer / 100);     /* it did nothing else */
		KASSERT(run + wait >= inner - inner / 100);
		KASSERT(to[i].max_wait_ns > 0);
		KASSERT(to[i].max_wait_ns <= to[i].wait_ns);
		KASSERT(to[i].switches - from[i].switches >= 3);
		KASSERT(to[i].preemptions - from[i].preemptions + 1 >= to[i].switches - from[i].switches);
		KASSERT(to[i].preemptions <= to[i].switches);
		KASSERT_EQ(to[i].migrations, 0);
	}
	KASSERT(to[BURNERS].switches > from[BURNERS].switches);

	/* one that only waits has not run for all that time, and is not preempted by that */
	parks = 0;
	t[0] = start("parks", CLASS_NORMAL, HERE, park_thrice, 0);
	for (unsigned i = 0; i < 3; i++) {
		thread_park(2 * MS);
		thread_unpark(t[0], WAKE_PLAIN);
		KASSERT(reaches(&parks, i + 1));
	}
	while (thread_ent(t[0])->queued)
		thread_park(US);
	to[0] = stats_of(t[0]);
	KASSERT(ended(t[0]));
	KASSERT(to[0].switches >= 4);
	KASSERT(to[0].switches <= 4 + to[0].preemptions);
	if (harness_counting()) {
		KASSERT(to[0].preemptions <= 1);
		KASSERT(to[0].run_ns < MS);
	}
}

/* ---- spaces ---- */

#define SPACE_AT 0x400000ull

static struct vmspace *spaces[2];
static volatile uint32_t space_wrong;

static void live_in_space(void *arg)
{
	const uint64_t me = (uint64_t)arg;

	space_wrong += HARNESS_READ("mov %%cr3, %0") != vmspace_root(spaces[me]);
	harness_wrmsr(0xC0000100, 0x1000 * (me + 1));
	for (unsigned i = 0; i < 40; i++) {
		if (i % 8 == 0)
			thread_park(50 * US);
		else
			thread_yield();
		space_wrong += HARNESS_READ("mov %%cr3, %0") != vmspace_root(spaces[me]);
		space_wrong += harness_rdmsr(0xC0000100) != 0x1000 * (me + 1);
	}
}

static void live_in_kernel(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 40; i++) {
		space_wrong += HARNESS_READ("mov %%cr3, %0") != kernel_root;
		thread_yield();
	}
}

KTEST(sched, thread_space)
{
	struct thread *t[3];

	space_wrong = 0;
	for (unsigned i = 0; i < 2; i++)
		KASSERT_EQ(vmspace_create(0, &spaces[i]), 0);
	preempt_disable();
	for (unsigned i = 0; i < 2; i++) {
		t[i] = start("space", CLASS_NORMAL, HERE, live_in_space, i);
		thread_set_space(t[i], spaces[i]);
	}
	t[2] = start("none", CLASS_NORMAL, HERE, live_in_kernel, 0);
	preempt_enable();
	for (unsigned i = 0; i < 3; i++)
		KASSERT(ended(t[i]));
	KASSERT_EQ(space_wrong, 0);
	KASSERT_EQ(HARNESS_READ("mov %%cr3, %0"), kernel_root);

	/* itself, and out again */
	thread_set_space(thread_current(), spaces[0]);
	space_wrong += HARNESS_READ("mov %%cr3, %0") != vmspace_root(spaces[0]);
	KASSERT_EQ(vmspace_destroy(spaces[0]), -EBUSY);
	thread_set_space(thread_current(), NULL);
	space_wrong += HARNESS_READ("mov %%cr3, %0") != kernel_root;
	KASSERT_EQ(space_wrong, 0);
	for (unsigned i = 0; i < 2; i++)
		KASSERT_EQ(vmspace_destroy(spaces[i]), 0);      /* nobody is in it any more */
}

/* ---- what ends in a panic ---- */

KPANIC(sched, sleep_atomic)
{
	static struct spinlock held;

	spin_lock(&held);
	thread_park(MS);
}

KPANIC(sched, sleep_preempt_off)
{
	preempt_disable();
	thread_yield();
}

KPANIC(sched, sleep_interrupts_off)
{
	harness_cli();
	thread_join(thread_current(), 0, NULL);
}

static __attribute__((noipa)) uint64_t overflow(uint64_t depth)
{
	volatile uint64_t room[16];

	room[0] = depth;
	return depth > 1u << 30 ? 0 : overflow(depth + 1) + room[0];
}

static void overflow_stack(void *arg)
{
	overflow((uint64_t)arg);
}

KPANIC(sched, stack_overflow)
{
	ended(start("deep", CLASS_NORMAL, HERE, overflow_stack, 0));
}
