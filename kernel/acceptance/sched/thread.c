/* Acceptance of sched/thread.c and sched/core.c: threads, and who of them runs. See spec/sched.md, and harness/threads.h of time. */
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

/* ---- who runs ---- */

static volatile uint32_t ball;

/* Computes for good, until the other has, in turn; no call gives the processor away. */
static void spin_for(void *arg)
{
	const uint32_t me = (uint32_t)(uint64_t)arg;

	for (uint32_t at; (at = ball) < 8;)
		if ((at & 1) == me)
			ball = at + 1;
}

KTEST(sched, thread_preempt)
{
	struct thread *a, *b;
	uint64_t begin;

	for (enum sched_class cls = CLASS_INTERACTIVE; cls <= CLASS_NORMAL; cls++) {
		ball = 0;
		begin = clock_ns();
		a = start("even", cls, HERE, spin_for, 0);
		b = start("odd", cls, HERE, spin_for, 1);
		KASSERT(a && b);
		KASSERT(ended(a));
		KASSERT(ended(b));
		KASSERT_EQ(ball, 8);
		KASSERT(clock_ns() - begin >= 6 * (cls == CLASS_NORMAL ? SLICE_NORMAL_NS : SLICE_INTERACTIVE_NS));
	}
}

enum { EQUALS = 4, EACH = 8 };

/* So many turns, and it ends at the beginning of the next. */
static void burn_turns(void *who)
{
	for (unsigned n = 0;;) {
		n += turn((unsigned)(uint64_t)who);
		if (n > EACH || turns_end)
			return;
		burn();
	}
}

/* Whether equal threads had equal turns, one after the other. */
static bool fair_turns(enum sched_class cls, uint64_t slice)
{
	struct thread *t[EQUALS];
	uint64_t run[EQUALS], all = 0;
	bool right = true;

	turns_clear();
	preempt_disable();                                      /* all can run before one does */
	for (unsigned i = 0; i < EQUALS; i++)
		t[i] = start("equal", cls, HERE, burn_turns, i);
	preempt_enable();
	for (unsigned i = 0; i < EQUALS; i++) {                 /* the first comes to its end first */
		if (thread_join(t[i], 500 * MS, NULL) == 0)
			continue;
		right = false;
		turns_end = 1;
		ended(t[i]);
	}
	if (!right || turns[0].n != EQUALS * (EACH + 1))
		return false;
	for (unsigned i = 0; i < turns[0].n; i++)
		right &= turns[0].of[i].who == i % EQUALS;
	for (unsigned i = 0; i < EQUALS; i++) {
		run[i] = turns[0].of[EQUALS * EACH + i].run - turns[0].of[i].run;
		all += run[i];
		right &= run[i] >= EACH * (SLICE_INTERACTIVE_NS - SLICE_MIN_NS);        /* no turn is shorter, aged or not */
	}
	right &= !counting() || within(all / EQUALS, EACH * slice, 2);
	for (unsigned i = 0; i < EQUALS && counting(); i++)
		right &= within(run[i], all / EQUALS, 2);
	return right;
}

KTEST(sched, thread_fair)
{
	bool agents = false, others = false;

	for (unsigned i = 0; i < 6 * TRIES && !agents; i++)
		agents = fair_turns(CLASS_INTERACTIVE, SLICE_INTERACTIVE_NS);
	for (unsigned i = 0; i < 6 * TRIES && !others; i++)
		others = fair_turns(CLASS_NORMAL, SLICE_NORMAL_NS);
	KASSERT(agents);
	KASSERT(others);
}

/* Twice as many as processors, settled: two each, but for this one's own thread. */
static bool is_spread(void)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		if (sched_runnable(i) != 2 + (i == 0))
			return false;
	return true;
}

/* And it stays so. */
static bool spreads(uint64_t *took)
{
	const uint64_t begin = clock_ns();

	for (unsigned n = 0; n < 4; n++) {
		if (clock_ns() - begin > LONG)
			return false;
		if (!is_spread())
			n = 0;
		if (n == 0)
			*took = clock_ns() - begin;
		thread_park(4 * MS);
	}
	return true;
}

static struct thread *crowd[2 * CPU_MAX];

static bool crowd_starts(uint64_t affinity)
{
	bool made = true;

	turns_clear();
	for (unsigned i = 0; i < 2 * cpu_count(); i++) {
		crowd[i] = start("crowd", CLASS_NORMAL, affinity, burner, i);
		made &= crowd[i] != NULL;
	}
	return made;
}

static bool crowd_ends(void)
{
	bool all = true;

	turns_end = 1;
	for (unsigned i = 0; i < 2 * cpu_count(); i++)
		all &= ended(crowd[i]);
	return all;
}

/* Whether each processor has two of them, in turn; false, too, if they are not even there. */
static bool fair_everywhere(void)
{
	uint32_t from[CPU_MAX], to[CPU_MAX];
	uint64_t owned = 0, took;
	bool right;

	right = crowd_starts(0) && spreads(&took);
	for (unsigned i = 0; i < cpu_count(); i++)
		from[i] = turns[i].n;
	for (unsigned i = 0; i < cpu_count(); i++)
		right = right && reaches(&turns[i].n, from[i] + 22);
	for (unsigned i = 0; i < cpu_count(); i++)
		to[i] = turns[i].n;
	if (!crowd_ends() || !right)
		return false;
	for (unsigned c = 0; c < cpu_count(); c++) {
		const unsigned last = to[c] - 1, n = (last - from[c]) / 2;

		for (unsigned i = from[c] + 2; i < to[c]; i++)
			right &= turns[c].of[i].who == turns[c].of[i - 2].who;
		owned |= 1ull << turns[c].of[last].who | 1ull << turns[c].of[last - 1].who;
		for (unsigned i = 0; i < 2; i++) {
			const uint64_t run = turns[c].of[from[c] + i + 2 * (n - 1)].run - turns[c].of[from[c] + i].run;

			right &= run >= (n - 1) * (SLICE_INTERACTIVE_NS - SLICE_MIN_NS);
			right &= !counting() || within(run, (n - 1) * SLICE_NORMAL_NS, 2);
		}
	}
	return right && owned == (1ull << 2 * cpu_count()) - 1;
}

KTEST(sched, thread_fair_smp)
{
	bool fair = false;

	for (unsigned i = 0; i < 2 * TRIES && !fair; i++)
		fair = fair_everywhere();
	KASSERT(fair);
}

static volatile uint32_t ran_as[CLASS_COUNT + 1], ran_count;

static void note_run(void *arg)
{
	ran_as[ran_count] = (uint32_t)(uint64_t)arg;
	ran_count = ran_count + 1;
}

/* All can run before one does. */
static bool best_first(void)
{
	struct thread *t[CLASS_IDLE];
	bool right = true;

	ran_count = 0;
	preempt_disable();
	for (unsigned cls = CLASS_IDLE; cls--;)
		t[cls] = start("class", (enum sched_class)cls, HERE, note_run, cls);
	preempt_enable();
	for (unsigned cls = CLASS_IDLE; cls--;)
		right &= ended(t[cls]);
	for (unsigned cls = 0; cls < CLASS_IDLE; cls++)
		right &= ran_as[cls] == cls;
	return right && ran_count == CLASS_IDLE;
}

KTEST(sched, thread_classes)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = best_first();
	KASSERT(right);
}

/* One that computes among those who talk: it has its turn when so many others had theirs, each of which is a millisecond at least. */
KTEST(sched, thread_no_starvation)
{
	enum { OTHERS = 8, MOST = 60, WANTED = 3 };
	struct thread *t[OTHERS + 1];
	const uint64_t begin = clock_ns();
	unsigned made = 0, gone = 0, least = UINT32_MAX;

	turns_clear();
	t[OTHERS] = start("inference", CLASS_INFERENCE, HERE, burner, OTHERS);
	for (unsigned i = 0; i < OTHERS; i++)
		t[i] = start("agent", CLASS_INTERACTIVE, HERE, burner, i);
	while (turns_of(OTHERS) < WANTED && clock_ns() - begin < LONG)
		thread_park(10 * MS);
	turns_end = 1;
	for (unsigned i = 0; i <= OTHERS; i++) {
		made += t[i] != NULL;
		gone += ended(t[i]);
	}
	KASSERT_EQ(made, OTHERS + 1);
	KASSERT_EQ(gone, OTHERS + 1);
	KASSERT(turns_of(OTHERS) >= WANTED);
	for (unsigned n = 0, from = 0; n < WANTED; n++) {
		const unsigned at = turn_after(from, OTHERS);

		least = at - from < least ? at - from : least;  /* one that was over before it could be told makes two of them one */
		if (counting())
			KASSERT(turns[0].of[at].at - (from ? turns[0].of[from - 1].at : begin) <= MOST * MS);
		from = at + 1;
	}
	KASSERT(least <= MOST);
}

/* Wakes the other of its pair as one who has had a message, uses up what it has, and waits for the other to do that. */
enum { PAIRED = 24 };                   /* together they would be boosted for more than all of the time */
static struct thread *pair[PAIRED];
static volatile uint32_t pair_turns[PAIRED];

static void boost_other(void *arg)
{
	const unsigned me = (unsigned)(uint64_t)arg;

	while (!turns_end) {
		turn(0);                                        /* whichever of them it is */
		pair_turns[me]++;
		burn();
		thread_unpark(pair[me ^ 1], WAKE_BOOST);
		thread_park(MS);
	}
}

KTEST(sched, thread_boost_bounded)
{
	enum { WANTED = 3 };
	struct thread *inference;
	uint64_t best = UINT64_MAX, begin;
	unsigned gone = 0, from;

	turns_clear();
	preempt_disable();
	for (unsigned i = 0; i < PAIRED; i++)
		pair_turns[i] = 0;
	for (unsigned i = 0; i < PAIRED; i++)
		pair[i] = start("pair", CLASS_INTERACTIVE, HERE, boost_other, i);
	inference = start("inference", CLASS_INFERENCE, HERE, burner, PAIRED);
	preempt_enable();
	begin = clock_ns();
	while (turns_of(PAIRED) < WANTED && clock_ns() - begin < LONG)
		thread_park(10 * MS);
	turns_end = 1;
	for (unsigned i = 0; i < PAIRED; i++)
		gone += ended(pair[i]);
	gone += ended(inference);
	KASSERT_EQ(gone, PAIRED + 1);
	KASSERT(turns_of(PAIRED) >= WANTED);
	for (unsigned i = 0; i < PAIRED; i++)
		KASSERT(pair_turns[i] >= 1);
	from = turn_after(0, PAIRED);
	for (unsigned n = 1; n < WANTED; n++) {
		const unsigned at = turn_after(from + 1, PAIRED);
		const uint64_t gap = turns[0].of[at].at - turns[0].of[from].at;

		best = gap < best ? gap : best;
		if (counting())
			KASSERT(gap <= 400 * MS);
		from = at;
	}
	KASSERT(best <= 400 * MS);
}

/* ---- an agent that has had a message, while every processor computes ---- */

static struct {
	struct timer timer;
	struct thread *agent;
	volatile uint64_t sent, came;
	volatile uint32_t received;
} message;

enum { AGENT = 99 };

static void send_message(struct timer *t)
{
	(void)t;
	message.sent = clock_ns();
	thread_unpark(message.agent, WAKE_BOOST);
}

static void receive_messages(void *arg)
{
	(void)arg;
	while (!turns_end) {
		if (thread_park(TIMEOUT_NONE) != 0)
			continue;
		message.came = clock_ns();
		turn(AGENT);
		__atomic_fetch_add(&message.received, 1, __ATOMIC_SEQ_CST);
	}
}

/* Sends messages to an agent on that processor, while two INFERENCE threads compute on each, until enough of them are as they should: there in 100 us, or, on another processor,
 * in the midst of a slice, after which the same thread goes on. The latter is so however late the processor was run by the machine below, but that its slice was used up by then;
 * and if the agent had to wait for that, it is never so. They come at whatever place of a slice. */
static unsigned good_messages(unsigned tries, unsigned wanted, unsigned cpu, bool *lost)
{
	uint64_t seed = harness_seed();
	unsigned good = 0, sent = 0;
	bool all = true;

	turns_clear();
	*lost = false;
	message.received = 0;
	message.agent = start("agent", CLASS_INTERACTIVE, 1ull << cpu, receive_messages, 0);
	for (unsigned i = 0; i < 2 * cpu_count(); i++)
		crowd[i] = start("inference", CLASS_INFERENCE, 1ull << i / 2, burner, i);
	thread_park(MS);
	for (; sent < tries && good < wanted && !*lost; sent++) {
		thread_park(BOOST_GAP_NS + harness_random(&seed) % (3 * MS));
		if (timer_arm(&message.timer, clock_ns() + 300 * US, send_message, NULL) != 0 || !reaches(&message.received, sent + 1))
			*lost = true;
		else if (counting())
			*lost = message.came - message.sent > 100 * US;
		if (cpu == 0)
			good += !*lost && message.came - message.sent <= 100 * US;
		else
			good = 0;
		for (uint32_t i = 1; cpu && i + 1 < turns[cpu].n; i++)
			good += turns[cpu].of[i].who == AGENT && turns[cpu].of[i - 1].who == turns[cpu].of[i + 1].who;
	}
	turns_end = 1;
	for (unsigned i = 0; i < 2 * cpu_count(); i++)
		all &= ended(crowd[i]);
	thread_unpark(message.agent, WAKE_PLAIN);
	*lost |= !ended(message.agent) || !all;
	return good;
}

KTEST(sched, thread_inference_yields)
{
	unsigned good;
	bool lost;

	good = good_messages(60, 8, 0, &lost);
	KASSERT(!lost);
	KASSERT_EQ(good, 8);
	if (cpu_count() == 1)
		return;
	good = good_messages(60, 3, cpu_count() - 1, &lost);
	KASSERT(!lost);
	KASSERT(good >= 3);
}

KTEST(sched, thread_inference_slice)
{
	struct thread *a, *b;
	uint64_t begin = clock_ns(), took;
	bool enough;

	turns_clear();
	a = start("inference", CLASS_INFERENCE, HERE, burner, 0);
	b = start("inference", CLASS_INFERENCE, HERE, burner, 1);
	while (turns[0].n < 8 && clock_ns() - begin < LONG)
		thread_park(20 * MS);
	enough = turns[0].n >= 8;
	turns_end = 1;
	took = clock_ns() - begin;
	KASSERT(ended(a));
	KASSERT(ended(b));
	KASSERT(enough);
	KASSERT((turns[0].n - 1) * 7 * MS <= took);
}

/* ---- turns that are given away ---- */

static void yield_turns(void *who)
{
	for (unsigned i = 0; i < 50; i++) {
		turn((unsigned)(uint64_t)who);
		thread_yield();
	}
}

/* A slice may be over just before one yields: but not every time. */
KTEST(sched, thread_yield)
{
	unsigned wrong = 1, gone = 0, tries = 0;

	for (; tries < TRIES && wrong; tries++) {
		struct thread *t[3];

		turns_clear();
		preempt_disable();
		for (unsigned i = 0; i < 3; i++)
			t[i] = start("yields", CLASS_NORMAL, HERE, yield_turns, i);
		preempt_enable();
		for (unsigned i = 0; i < 3; i++)
			gone += ended(t[i]);
		wrong = turns[0].n != 150;
		for (unsigned i = 0; i < turns[0].n; i++)
			wrong += turns[0].of[i].who != i % 3;
	}
	KASSERT_EQ(gone, 3 * tries);
	KASSERT_EQ(wrong, 0);
	thread_yield();                                         /* with nobody else */
}

/* Two that burn, a in its turn; what change() does to b shows in whose turn is next. */
static struct thread *burning[2];

static bool two_burn(enum sched_class a, enum sched_class b)
{
	turns_clear();
	burning[0] = start("a", a, HERE, burner, 0);
	burning[1] = start("b", b, HERE, burner, 1);
	return burning[0] && burning[1] && reaches(&turns[0].n, 1);
}

static bool two_end(void)
{
	bool all;

	turns_end = 1;
	all = ended(burning[0]);
	return ended(burning[1]) && all;
}

static bool class_changes(void)
{
	bool begun = two_burn(CLASS_INTERACTIVE, CLASS_INFERENCE), changed, back;

	preempt_disable();                                      /* this thread may be one of many that it interrupts */
	changed = thread_set_class(burning[1], CLASS_INTERACTIVE) == 0 && thread_set_class(burning[0], CLASS_NORMAL) == 0;
	turns[0].n = 1;
	turns[0].of[0].who = 2;
	preempt_enable();
	changed &= reaches(&turns[0].n, 2);
	preempt_disable();
	back = thread_set_class(burning[1], CLASS_INFERENCE) == 0;
	preempt_enable();
	back &= reaches(&turns[0].n, 3);
	if (!two_end() || !begun || !changed || !back)
		return false;
	return turns[0].of[1].who == 1 && turns[0].of[2].who == 0;
}

KTEST(sched, thread_set_class)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = class_changes();
	KASSERT(right);
}

static bool donation_lifts(void)
{
	bool begun = two_burn(CLASS_NORMAL, CLASS_INFERENCE), changed, back;
	uint8_t level;

	preempt_disable();
	turns[0].n = 1;
	turns[0].of[0].who = 2;
	thread_donate(burning[1], LEVEL_INTERACTIVE);
	level = thread_ent(burning[1])->level;
	preempt_enable();
	changed = reaches(&turns[0].n, 2);
	preempt_disable();
	thread_donate(burning[1], LEVEL_NONE);
	preempt_enable();
	back = reaches(&turns[0].n, 3);
	if (!two_end() || !begun || !changed || !back)
		return false;
	return level == LEVEL_INTERACTIVE && turns[0].of[1].who == 1 && turns[0].of[2].who == 0;
}

KTEST(sched, thread_donate)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = donation_lifts();
	KASSERT(right);
}

/* ---- processors ---- */

static volatile uint32_t allowed, strayed, visits[CPU_MAX];

static unsigned where(void)
{
	const uint64_t flags = harness_cli();
	const unsigned i = cpu_self()->index;

	harness_restore(flags);
	return i;
}

static void visit(void *arg)
{
	const unsigned mine = (unsigned)(uint64_t)arg;

	for (unsigned i = 0; i < 20; i++) {
		strayed += where() != mine;
		if (i & 1)
			thread_park(20 * US);
		else
			thread_yield();
	}
	visits[mine]++;
}

static void wander(void *arg)
{
	(void)arg;
	while (!turns_end) {
		const unsigned i = where();

		__atomic_fetch_add(&visits[i], 1, __ATOMIC_SEQ_CST);
		relax();
	}
}

static void move_self(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < 10; round++)
		for (unsigned i = 0; i < cpu_count(); i++) {
			strayed += thread_set_affinity(thread_current(), 1ull << i) != 0;
			strayed += where() != i;
		}
}

KTEST(sched, thread_affinity)
{
	struct thread *t[CPU_MAX], *w;
	unsigned gone = 0;
	bool moved = true;

	strayed = 0;
	for (unsigned i = 0; i < CPU_MAX; i++)
		visits[i] = 0;
	for (unsigned i = 0; i < cpu_count(); i++)
		t[i] = start("pinned", CLASS_NORMAL, 1ull << i, visit, i);
	for (unsigned i = 0; i < cpu_count(); i++)
		gone += ended(t[i]);
	KASSERT_EQ(gone, cpu_count());
	KASSERT_EQ(strayed, 0);
	for (unsigned i = 0; i < cpu_count(); i++)
		KASSERT_EQ(visits[i], 1);
	w = start("moves", CLASS_NORMAL, HERE, move_self, 0);
	KASSERT(ended(w));
	KASSERT_EQ(strayed, 0);

	/* one that runs is moved by another, and is where it was no more */
	turns_end = 0;
	w = start("wanders", CLASS_NORMAL, HERE, wander, 0);
	for (unsigned round = 0; round < 5 && moved; round++)
		for (unsigned i = 0; i < cpu_count() && moved; i++) {
			const uint32_t before = visits[i];
			uint32_t others = 0, after = 0;

			moved = thread_set_affinity(w, 1ull << i) == 0 && reaches(&visits[i], before + 10);
			for (unsigned j = 0; j < cpu_count(); j++)
				others += j != i ? visits[j] : 0;
			moved &= reaches(&visits[i], visits[i] + 10);
			for (unsigned j = 0; j < cpu_count(); j++)
				after += j != i ? visits[j] : 0;
			moved &= others == after;
		}
	turns_end = 1;
	KASSERT(ended(w));
	KASSERT(moved);
}

/* All of a crowd that is on one processor spreads as soon as it may. */
KTEST(sched, thread_steal)
{
	bool made, spread, all;
	uint64_t took = 0;

	made = crowd_starts(HERE);
	preempt_disable();
	for (unsigned i = 0; i < 2 * cpu_count(); i++)
		made &= thread_set_affinity(crowd[i], 0) == 0;
	preempt_enable();
	spread = spreads(&took);
	all = crowd_ends();
	KASSERT(made);
	KASSERT(spread);
	KASSERT(all);
	if (counting())
		KASSERT(took <= 50 * MS);
}

/* A processor that has nothing to do takes what another cannot get at: one that waits behind a thread that does not give way. */
KTEST(sched, thread_steal_idle)
{
	struct thread *t;
	uint32_t came;
	uint64_t begin;

	if (cpu_count() == 1)
		return;                                         /* there is nobody to take it */
	ran_count = 0;
	preempt_disable();
	t = start("left", CLASS_NORMAL, HERE, note_run, 0);
	came = ran_count;
	thread_set_affinity(t, 0);
	begin = clock_ns();
	while (!ran_count && clock_ns() - begin < LONG)
		relax();
	came += ran_count;
	preempt_enable();
	KASSERT(ended(t));
	KASSERT_EQ(came, 1);
	KASSERT_EQ(thread_ent(thread_current())->affinity, HERE);
}

/* ---- accounts ---- */

static bool all_switched(struct thread *const *t, const struct thread_stats *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (stats_of(t[i]).switches < from[i].switches + 3)
			return false;
	return true;
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
	if (counting()) {
		KASSERT(to[0].preemptions <= 1);
		KASSERT(to[0].run_ns < MS);
	}
}

/* ---- preemption off ---- */

static volatile uint32_t high_ran, equal_ran, high_parked;
static volatile unsigned off_wrong;
static volatile uint32_t within_off, after_first, after_last, equal_after, after_unlock;
static struct thread *high, *equal;
static struct spinlock held;

static void high_runs(void *arg)
{
	(void)arg;
	while (!turns_end) {
		high_parked = 1;
		if (thread_park(TIMEOUT_NONE) == 0)
			high_ran++;
	}
}

static void equal_runs(void *arg)
{
	(void)arg;
	equal_ran = 1;
}

static void stand(uint64_t ns)
{
	const uint64_t until = clock_ns() + ns;

	while (clock_ns() < until)
		relax();
}

static struct timer slice_timer;
static volatile uint32_t slice_over;

static void note_slice(struct timer *t)
{
	(void)t;
	slice_over = 1;
}

static void off_and_on(void *arg)
{
	uint64_t begin;

	(void)arg;
	preempt_disable();
	preempt_disable();
	thread_unpark(high, WAKE_PLAIN);
	stand(MS / 2);
	within_off = high_ran;
	preempt_enable();
	after_first = high_ran;
	preempt_enable();
	after_last = high_ran;

	/* the slice goes by, too */
	preempt_disable();
	equal = start("equal", CLASS_NORMAL, HERE, equal_runs, 0);
	slice_over = 0;
	timer_arm(&slice_timer, clock_ns() + SLICE_NORMAL_NS + MS / 4, note_slice, NULL);
	begin = clock_ns();
	while (!slice_over && clock_ns() - begin < LONG)        /* the kernel's own timer, due before, has fired by then */
		relax();
	within_off |= equal_ran;
	preempt_enable();
	equal_after = equal_ran;

	/* a lock keeps the processor as well; what is due comes soon after it */
	spin_lock(&held);
	thread_unpark(high, WAKE_PLAIN);
	stand(MS / 4);
	within_off |= high_ran != after_last;
	spin_unlock(&held);
	begin = clock_ns();
	while (high_ran == after_last && clock_ns() - begin < LONG)
		relax();
	after_unlock = high_ran;
	off_wrong += counting() && clock_ns() - begin > 200 * US;
}

static bool switch_is_due(void)
{
	struct thread *t;
	bool right;

	turns_end = high_ran = equal_ran = high_parked = 0;
	within_off = after_first = after_last = equal_after = after_unlock = 0;
	equal = NULL;
	high = start("high", CLASS_KERNEL, HERE, high_runs, 0);
	right = reaches(&high_parked, 1);
	t = start("normal", CLASS_NORMAL, HERE, off_and_on, 0);
	right &= ended(t) && ended(equal);
	turns_end = 1;
	thread_unpark(high, WAKE_PLAIN);
	right &= ended(high);
	off_wrong += within_off || after_first;                 /* that never */
	return right && after_last == 1 && equal_after == 1 && after_unlock == 2;
}

KTEST(sched, thread_preempt_off)
{
	bool due = false;

	off_wrong = 0;
	for (unsigned i = 0; i < TRIES && !due; i++)
		due = switch_is_due();
	KASSERT_EQ(off_wrong, 0);
	KASSERT(due);
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

/* ---- what it costs ---- */

static volatile uint32_t yields_end;

static void yield_back(void *arg)
{
	(void)arg;
	while (!yields_end)
		thread_yield();
}

/* n times from one KERNEL thread to the next. */
static void there_and_back(uint64_t n)
{
	struct thread *t;

	yields_end = 0;
	t = start("yields", CLASS_KERNEL, HERE, yield_back, 0);
	for (uint64_t i = 0; i < n; i += 2)
		thread_yield();
	yields_end = 1;
	ended(t);
}

KBENCH(sched, yield)
{
	there_and_back(n);
}

static uint64_t yields_take(uint64_t n)
{
	const uint64_t begin = harness_ticks();

	there_and_back(n);
	return harness_ticks() - begin;
}

KTEST(sched, yield_cost)
{
	enum { CEILING = 200 };
	uint64_t once, cost;

	if (!counting() || cpu_count() > 1)
		return;                                         /* with more the others have to be looked at, too */
	thread_park(US);                                        /* a KERNEL thread that waits now and then */
	yields_take(1);
	once = yields_take(1000);
	cost = (yields_take(2000) - once + 999) / 1000;
	ktest_note("instructions", cost);
	KASSERT(cost > 20);
	KASSERT(cost <= CEILING);
}

/* ---- what ends in a panic ---- */

KPANIC(sched, sleep_atomic)
{
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
