/* Acceptance of sched/mutex.c. See spec/sched.md, and harness/threads.h of time. */
#include "panic.h"
#include "threads.h"

static struct mutex m[4];
static volatile uint32_t step, locked, order_count, order[8], failed;
static volatile int result;

static void clear(void)
{
	harness_memset(m, 0, sizeof m);
	step = locked = order_count = failed = 0;
}

static void wait_step(uint32_t n)
{
	if (!reaches(&step, n))
		failed = 1;
}

static void say_locked(void)
{
	__atomic_fetch_add(&locked, 1, __ATOMIC_SEQ_CST);
}

/* Whether it waits for the mutex. */
static bool wants(struct thread *t, const struct mutex *wanted)
{
	const uint64_t begin = clock_ns();

	while (__atomic_load_n(&thread_locks(t)->wanted, __ATOMIC_SEQ_CST) != wanted) {
		if (clock_ns() - begin > LONG)
			return false;
		thread_park(100 * US);
	}
	return true;
}

static uint8_t donated(struct thread *t)
{
	return *(volatile uint8_t *)&thread_ent(t)->donated;
}

/* ---- exclusion ---- */

enum { THREADS = 8, INCREMENTS = 2000 };
static uint64_t total, until;
static volatile uint64_t inside, intruders, done[THREADS];

static void increment(void *arg)
{
	const uint64_t me = (uint64_t)arg;

	for (unsigned i = 0; i < INCREMENTS && (i == 0 || i % 16 || clock_ns() < until); i++) {
		if (mutex_lock(&m[0], TIMEOUT_NONE) != 0)
			break;
		intruders += inside++;
		if (i % 128 == me)
			thread_yield();
		total++;
		inside--;
		intruders += m[0].owner != thread_current();
		if (mutex_unlock(&m[0]) != 0)
			break;
		done[me]++;
	}
}

KTEST(sched, mutex_exclusion)
{
	struct thread *t[THREADS];
	uint64_t all = 0;
	unsigned gone = 0;

	clear();
	total = inside = intruders = 0;
	until = clock_ns() + (harness_counting() ? 10 * LONG : 200 * MS);
	for (unsigned i = 0; i < THREADS; i++) {
		done[i] = 0;
		t[i] = start("increments", i % 2 ? CLASS_NORMAL : CLASS_INTERACTIVE, 1ull << i % cpu_count(), increment, i);
	}
	for (unsigned i = 0; i < THREADS; i++)
		gone += ended(t[i]);
	KASSERT_EQ(gone, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		all += done[i];
		KASSERT(done[i] > 0);
	}
	KASSERT_EQ(intruders, 0);
	KASSERT_EQ(total, all);
	if (harness_counting())
		KASSERT_EQ(total, THREADS * INCREMENTS);
	KASSERT(m[0].owner == NULL);
	KASSERT(thread_locks(thread_current())->held == NULL);
}

/* ---- what is refused ---- */

static void hold(void *arg)
{
	struct mutex *mine = arg;

	if (mutex_lock(mine, TIMEOUT_NONE) != 0)
		failed = 1;
	say_locked();
	wait_step(1);
	if (mutex_unlock(mine) != 0)
		failed = 1;
}

static void lock_and_tell(void *arg)
{
	result = mutex_lock(arg, LONG);
	if (result == 0)
		mutex_unlock(arg);
}

KTEST(sched, mutex_errors)
{
	struct thread *t, *u;
	uint64_t begin;

	clear();
	KASSERT_EQ(mutex_unlock(&m[0]), -EPERM);
	KASSERT_EQ(mutex_lock(&m[0], TIMEOUT_NOW), 0);
	KASSERT_EQ(m[0].owner, thread_current());
	KASSERT_EQ(thread_locks(thread_current())->held, &m[0]);
	KASSERT_EQ(mutex_lock(&m[0], TIMEOUT_NONE), -EINVAL);
	KASSERT_EQ(mutex_trylock(&m[0]), -EBUSY);
	KASSERT_EQ(mutex_unlock(&m[0]), 0);
	KASSERT_EQ(mutex_unlock(&m[0]), -EPERM);
	KASSERT_EQ(mutex_trylock(&m[0]), 0);
	KASSERT_EQ(mutex_unlock(&m[0]), 0);

	t = start("holds", CLASS_NORMAL, 0, hold, (uint64_t)&m[0]);
	KASSERT(reaches(&locked, 1));
	KASSERT_EQ(mutex_unlock(&m[0]), -EPERM);
	KASSERT_EQ(mutex_trylock(&m[0]), -EBUSY);
	KASSERT_EQ(mutex_lock(&m[0], TIMEOUT_NOW), -ETIMEDOUT);
	begin = clock_ns();
	KASSERT_EQ(mutex_lock(&m[0], MS), -ETIMEDOUT);
	KASSERT(clock_ns() - begin >= MS);
	KASSERT(thread_locks(thread_current())->wanted == NULL);
	KASSERT_EQ(donated(t), LEVEL_NONE);                     /* nobody waits any more */
	result = 1;
	u = start("cancelled", CLASS_NORMAL, 0, lock_and_tell, (uint64_t)&m[0]);
	KASSERT(wants(u, &m[0]));
	thread_cancel(u);
	KASSERT(ended(u));
	KASSERT_EQ(result, -EAGAIN);
	step = 1;
	KASSERT(ended(t));
	KASSERT_EQ(failed, 0);
	KASSERT(m[0].owner == NULL);                            /* none of those who left has it */
	KASSERT_EQ(mutex_trylock(&m[0]), 0);
	KASSERT_EQ(mutex_unlock(&m[0]), 0);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);
}

static void lock_atomic(void *arg)
{
	(void)arg;
	preempt_disable();
	mutex_lock(&m[1], TIMEOUT_NONE);
}

KTEST(sched, mutex_atomic)
{
	char why[64] = "";

	clear();
	KASSERT_EQ(panic_catch(lock_atomic, NULL, why, sizeof why), 1);
	KASSERT_STREQ(why, "sched: sleep in atomic context");
}

/* ---- inheritance ----
 *
 * A KERNEL thread that stands still for longer than its slice before it waits donates no more than an agent: what depends on that has several chances. */

enum { SECTION_MS = 6, OWNER = 9 };

static void long_section(void *arg)
{
	(void)arg;
	if (mutex_lock(&m[0], TIMEOUT_NONE) != 0)
		failed = 1;
	say_locked();
	for (const uint64_t begin = run_of(thread_current()); run_of(thread_current()) - begin < SECTION_MS * MS;) {
		turn(OWNER);
		burn();
	}
	mutex_unlock(&m[0]);
}

/* A KERNEL thread waits for one that computes, among those who would run before that one: how many turns they had meanwhile. */
static unsigned turns_of_others(uint64_t *took)
{
	struct thread *owner, *normal[3];
	unsigned from, to, others = 0;

	clear();
	turns_clear();
	owner = start("owner", CLASS_INFERENCE, HERE, long_section, 0);
	failed += !reaches(&locked, 1);
	for (unsigned i = 0; i < 3; i++)
		normal[i] = start("normal", CLASS_NORMAL, HERE, burner, i);
	thread_park(MS);
	from = turns[0].n;
	*took = clock_ns();
	failed += mutex_lock(&m[0], TIMEOUT_NONE) != 0;
	*took = clock_ns() - *took;
	to = turns[0].n;
	failed += mutex_unlock(&m[0]) != 0;
	turns_end = 1;
	failed += !ended(owner);
	for (unsigned i = 0; i < 3; i++)
		failed += !ended(normal[i]);
	for (unsigned i = from; i < to; i++)
		others += turns[0].of[i].who != OWNER;
	return others;
}

/* If this thread stands still for longer than its slice on its way it is no better than an agent, and others may be aged to that: but not every time. */
KTEST(sched, mutex_inversion)
{
	unsigned others = 1;
	uint64_t took = 0;

	for (unsigned i = 0; i < TRIES && others; i++) {
		others = turns_of_others(&took);
		KASSERT_EQ(failed, 0);
	}
	KASSERT_EQ(others, 0);
	if (harness_counting())
		KASSERT(took <= (SECTION_MS + 2) * MS);
}

/* Has one, wants another, and gives both back, the inner one first. */
static void hold_and_want(void *arg)
{
	const unsigned i = (unsigned)(uint64_t)arg;

	if (mutex_lock(&m[i], TIMEOUT_NONE) != 0)
		failed = 1;
	say_locked();
	if (i && mutex_lock(&m[i - 1], TIMEOUT_NONE) != 0)
		failed = 1;
	wait_step(i + 1);
	if (i && mutex_unlock(&m[i - 1]) != 0)
		failed = 1;
	if (mutex_unlock(&m[i]) != 0)
		failed = 1;
}

static void want(void *arg)
{
	if (mutex_lock(&m[(uint64_t)arg], TIMEOUT_NONE) != 0)
		failed = 1;
	order[order_count] = thread_ent(thread_current())->cls;
	__atomic_fetch_add(&order_count, 1, __ATOMIC_SEQ_CST);
	if (mutex_unlock(&m[(uint64_t)arg]) != 0)
		failed = 1;
}

static bool chain_is_right(void)
{
	bool right;
	struct thread *t[3], *first;
	uint8_t before[3], with[3], after[3];
	bool set = true;

	clear();
	for (unsigned i = 0; i < 3; i++) {
		t[i] = start("chain", i == 0 ? CLASS_INFERENCE : i == 1 ? CLASS_NORMAL : CLASS_INTERACTIVE, 0, hold_and_want, i);
		set &= reaches(&locked, i + 1) && (!i || wants(t[i], &m[i - 1]));
	}
	for (unsigned i = 0; i < 3; i++)
		before[i] = donated(t[i]);
	first = start("first", CLASS_KERNEL, 0, want, 2);
	set &= wants(first, &m[2]);
	for (unsigned i = 0; i < 3; i++)
		with[i] = donated(t[i]);
	step = 1;                                               /* the innermost ends; the next has it, and the rest is as it was */
	set &= ended(t[0]);
	for (unsigned i = 1; i < 3; i++)
		after[i] = donated(t[i]);
	step = 2;
	set &= ended(t[1]);
	after[0] = donated(t[2]);
	step = 3;
	set &= ended(t[2]) && ended(first);
	right = set;
	right &= !failed;
	right &= before[0] == LEVEL_INTERACTIVE;               /* through two */
	right &= before[1] == LEVEL_INTERACTIVE;
	right &= before[2] == LEVEL_NONE;
	for (unsigned i = 0; i < 3; i++)
		right &= with[i] == LEVEL_KERNEL;
	right &= after[1] == LEVEL_KERNEL;
	right &= after[2] == LEVEL_KERNEL;
	right &= after[0] == LEVEL_KERNEL;
	for (unsigned i = 0; i < 3; i++)
		right &= m[i].owner == NULL && m[i].waiters == NULL;
	return right;
}

KTEST(sched, mutex_chain)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = chain_is_right();
	KASSERT(right);
}

static void hold_two(void *arg)
{
	(void)arg;
	mutex_lock(&m[0], TIMEOUT_NONE);
	mutex_lock(&m[1], TIMEOUT_NONE);
	say_locked();
	wait_step(1);
	mutex_unlock(&m[0]);
	say_locked();
	wait_step(2);
	mutex_unlock(&m[1]);
	say_locked();
	wait_step(3);
}

/* What came through one mutex goes with it, what came through another stays; who no longer waits does not donate. */
static bool gives_back(void)
{
	bool right;
	struct thread *owner, *high, *low, *leaves;
	uint8_t level[6];
	bool set;

	clear();
	owner = start("owner", CLASS_INFERENCE, 0, hold_two, 0);
	set = reaches(&locked, 1);
	level[0] = donated(owner);
	low = start("low", CLASS_INTERACTIVE, 0, want, 1);
	set &= wants(low, &m[1]);
	level[1] = donated(owner);
	high = start("high", CLASS_KERNEL, 0, want, 0);
	set &= wants(high, &m[0]);
	level[2] = donated(owner);
	step = 1;
	set &= reaches(&locked, 2);
	level[3] = donated(owner);
	leaves = start("leaves", CLASS_KERNEL, 0, lock_and_tell, (uint64_t)&m[1]);
	set &= wants(leaves, &m[1]);
	level[4] = donated(owner);
	thread_cancel(leaves);
	set &= ended(leaves);
	level[5] = donated(owner);
	step = 2;
	set &= reaches(&locked, 3) && ended(high) && ended(low);
	set &= donated(owner) == LEVEL_NONE;
	step = 3;
	set &= ended(owner);
	right = set;
	right &= !failed;
	right &= level[0] == LEVEL_NONE;
	right &= level[1] == LEVEL_INTERACTIVE;
	right &= level[2] == LEVEL_KERNEL;
	right &= level[3] == LEVEL_INTERACTIVE;
	right &= level[4] == LEVEL_KERNEL;
	right &= level[5] == LEVEL_INTERACTIVE;
	return right;
}

KTEST(sched, mutex_give_back)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = gives_back();
	KASSERT(right);
}

static bool hands_over(void)
{
	bool right;
	static const enum sched_class classes[] = { CLASS_INFERENCE, CLASS_NORMAL, CLASS_KERNEL, CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_KERNEL };
	enum { WAITERS = sizeof classes / sizeof *classes };
	struct thread *t[WAITERS];
	unsigned gone = 0;
	bool set = true;

	clear();
	set &= mutex_lock(&m[3], TIMEOUT_NONE) == 0;
	for (unsigned i = 0; i < WAITERS; i++) {
		t[i] = start("waits", classes[i], HERE, want, 3);
		set &= wants(t[i], &m[3]);
	}
	preempt_disable();
	set &= mutex_unlock(&m[3]) == 0;
	set &= m[3].owner == t[2];                              /* handed over, not just left */
	set &= mutex_trylock(&m[3]) == -EBUSY;
	preempt_enable();
	for (unsigned i = 0; i < WAITERS; i++)
		gone += ended(t[i]);
	right = set;
	right &= gone == WAITERS;
	right &= !failed;
	for (unsigned i = 1; i < WAITERS; i++)
		right &= order[i - 1] <= order[i];
	return right;
}

KTEST(sched, mutex_handover)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = hands_over();
	KASSERT(right);
}

/* ---- beside others ---- */

static struct mutex shared_lock;
static volatile uint32_t shared_inside, shared_wrong, shared_count;

static void share(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 40; i++) {
		shared_wrong += mutex_lock(&shared_lock, LONG) != 0;
		shared_wrong += __atomic_fetch_add(&shared_inside, 1, __ATOMIC_SEQ_CST) != 0;
		if (i % 4 == 0)
			thread_sleep(20 * US);
		shared_count++;
		__atomic_fetch_sub(&shared_inside, 1, __ATOMIC_SEQ_CST);
		shared_wrong += mutex_unlock(&shared_lock) != 0;
		thread_yield();
	}
}

KTEST(sched, beside_mutex)
{
	struct thread *t[3];

	harness_memset(&shared_lock, 0, sizeof shared_lock);
	shared_inside = shared_wrong = shared_count = 0;
	for (unsigned i = 0; i < 3; i++)
		t[i] = start("share", CLASS_NORMAL, 0, share, 0);
	for (unsigned i = 0; i < 3; i++)
		KASSERT(ended(t[i]));
	KASSERT_EQ(shared_wrong, 0);
	KASSERT_EQ(shared_count, 120);
}
