/* Further tests of sched/wait.c: wake-up, time-out and cancellation in one moment, in every order; who is woken when
 * some have left from the middle; a load of waiters that come and go while timers wake; one thread on many queues; a
 * buffer between all processors; sleeps among strays, and such as never end; what is on and off after each outcome.
 * See spec/sched.md, "Interface" and "Waiting".
 *
 * We may be stopped at any time for tens of milliseconds: what must not be early is looked at every time, and what must
 * come has time. Each test has ended its threads and timers before it says what was wrong. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "panic.h"
#include "sched.h"
#include "spinlock.h"
#include "string.h"

#define US 1000ull
#define MS 1000000ull
#define LONG (2000 * MS)                        /* what has not come by then does not come any more */
#define ALL 0xffffffffu

enum { IF = 1 << 9, LOOKS = 1000, SLEEPERS = 16 };

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, to) __atomic_store_n(&(word), (to), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

#define LOOK(condition, looks, between) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		bool is_; \
		for (unsigned looks_ = 0; \
		     !(is_ = (condition)) && (looks_ < (looks) || clock_ns() - begin_ < LONG); looks_++) \
			(void)(between); \
		is_; \
	})

/* Waits until it is so, and whether it is: asleep, which takes permits and cancellations; or awake, which leaves
 * them. */
#define COMES(condition) LOOK(condition, LOOKS, thread_park(20 * US))
#define COMES_AWAKE(condition) LOOK(condition, 100 * LOOKS, (cpu_pause(), 0))

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t flags_read(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

static uint32_t preempt_count(void)
{
	uint32_t count;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(count) : "i"(offsetof(struct cpu, preempt_count)) : "memory");
	return count;
}

static struct wait_queue queue;
static struct spinlock guard;

/* Interrupts and preemption as they are for a thread that has no lock. */
static bool is_at_large(void)
{
	return (flags_read() & IF) && preempt_count() == 0;
}

/* As they are for one that has guard, and nothing else, and will have them on with these flags. */
static bool has_guard(uint64_t flags)
{
	const bool taken = !spin_trylock(&guard);

	if (!taken)
		spin_unlock(&guard);
	return taken && !(flags_read() & IF) && preempt_count() == 1 && (flags & IF);
}

/* The permit and the cancellation that are left to the caller: how many, and they are no more. */
static unsigned leftover(void)
{
	unsigned n = 0;

	while (n < 4 && thread_park(TIMEOUT_NOW) != -ETIMEDOUT)
		n++;
	return n;
}

static struct thread *start(enum sched_class cls, unsigned cpu, void (*fn)(void *), void *arg)
{
	const struct thread_attr attr = { "check_wait", cls, 1ull << cpu % cpu_count() };
	struct thread *t = NULL;

	return thread_create(&attr, fn, arg, &t) ? NULL : t;
}

static bool gone(struct thread *t)
{
	return t && thread_join(t, LONG, NULL) == 0;
}

/* ---- those who sleep once, and tell of it ---- */

static struct sleeper {
	struct wait_queue *wq;
	struct thread *thread;
	uint64_t timeout, until;
	uint32_t in, out, go;           /* in the queue, once guard can be had; returned; it may look at what is left */
	uint32_t wrong;
	int result, then[3];
} sleepers[SLEEPERS];

static uint64_t later(uint64_t ns)
{
	const uint64_t now = clock_ns();

	return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

/* Without parking, which would take what is to be looked at; with pause, as else a machine that counts instructions
 * lets no other processor run for 100 ms. */
static void wait_to_go(const struct sleeper *s)
{
	for (const uint64_t begin = clock_ns(); !GET(s->go) && clock_ns() - begin < 2 * LONG;) {
		thread_yield();
		cpu_pause();
	}
}

static void sleep_once(void *arg)
{
	struct sleeper *const s = arg;
	uint64_t flags = spin_lock_irqsave(&guard);

	s->until = later(s->timeout);
	s->in = 1;
	s->result = wait_sleep(s->wq, &guard, &flags, s->timeout);
	s->wrong += !has_guard(flags);
	s->wrong += s->result == -ETIMEDOUT && clock_ns() < s->until;
	SET(s->out, 1);
	spin_unlock_irqrestore(&guard, flags);
	s->wrong += !is_at_large();
	wait_to_go(s);
	for (unsigned i = 0; i < 3; i++)
		s->then[i] = thread_park(TIMEOUT_NOW);
}

static bool is_in(const struct sleeper *s)
{
	const uint64_t flags = spin_lock_irqsave(&guard);
	const bool in = s->in;

	spin_unlock_irqrestore(&guard, flags);
	return in;
}

static void begin_test(void)
{
	leftover();
	memset(sleepers, 0, sizeof sleepers);
	memset(&queue, 0, sizeof queue);
	memset(&guard, 0, sizeof guard);
}

/* Whether nobody is in the queue. */
static bool is_empty(struct wait_queue *wq)
{
	return wait_wake(wq, ALL, WAKE_PLAIN) == 0 && !wq->head && !wq->tail;
}

static bool send_to_sleep(struct sleeper *s, unsigned cpu, struct wait_queue *wq, uint64_t timeout, bool go)
{
	s->wq = wq;
	s->timeout = timeout;
	s->go = go;
	s->thread = start(CLASS_NORMAL, cpu, sleep_once, s);
	return s->thread && COMES(is_in(s));
}

/* How often one outcome is among all that it was told. */
static unsigned times(const struct sleeper *s, int outcome)
{
	unsigned n = s->result == outcome;

	for (unsigned i = 0; i < 3; i++)
		n += s->then[i] == outcome;
	return n;
}

/* ---- several things before it has run ---- */

/* What is done to one that sleeps here, before it can run: w woken, c cancelled, s given a permit by a stranger, t its
 * time is over. */
static const char *const mixes[] = {
	"w", "c", "t", "wc", "cw", "wt", "tw", "ct", "tc", "wct", "wtc", "cwt", "ctw", "twc", "tcw", "sw", "ws", "scw",
	"csw", "cws", "wsc", "ww", "wcw", "cc",
};

/* Woken exactly if that is what it is told; a cancellation told once, now or next; no permit left. */
static bool is_mix_right(const char *mix)
{
	struct sleeper *const s = &sleepers[0];
	unsigned woken = 0, cancelled = 0;
	bool right, first = false;              /* when it was to be woken, nothing of the kind had happened before */

	begin_test();
	right = send_to_sleep(s, 0, &queue, strchr(mix, 't') ? 300 * US : LONG, false);
	preempt_disable();
	for (const char *at = mix; right && *at; at++) {
		if (*at == 'w')
			woken += wait_wake(&queue, 1, WAKE_PLAIN);
		else if (*at == 's')
			thread_unpark(s->thread, WAKE_PLAIN);
		else if (*at == 'c')
			thread_cancel(s->thread);
		cancelled |= *at == 'c';
		first |= *at == 'w' && at == mix && clock_ns() < s->until;
		while (*at == 't' && clock_ns() < s->until + 20 * US)
			cpu_pause();
	}
	preempt_enable();
	SET(s->go, 1);
	right &= gone(s->thread);
	right &= woken <= 1;
	right &= !first || woken == 1;
	right &= (s->result == 0) == (woken == 1);
	right &= times(s, -EAGAIN) == cancelled;
	right &= times(s, 0) == woken;
	right &= s->wrong == 0;
	right &= s->then[2] == -ETIMEDOUT;
	return right & is_empty(&queue);
}

KTEST(sched, check_wait_mixes)
{
	const char *wrong = "none";

	for (unsigned i = 0; i < sizeof mixes / sizeof *mixes && ktest_streq(wrong, "none"); i++)
		if (!is_mix_right(mixes[i]))
			wrong = mixes[i];
	KASSERT_STREQ(wrong, "none");
	KASSERT_EQ(leftover(), 0);
}

/* ---- who is woken, when some have left ---- */

enum leave { STAYS, CANCELLED, TIMED };

/* Those of the first n who stay and are not woken yet: the first so many are due, and come; the others do not. */
static unsigned wake_some(const enum leave *leaves, unsigned n, unsigned max, unsigned how)
{
	unsigned due = 0, wrong = 0, woken;
	uint32_t came = 0, others = 0;

	for (unsigned i = 0; i < n; i++) {
		if (leaves[i] != STAYS || GET(sleepers[i].out))
			continue;
		if (due < max) {
			due++;
			came |= 1u << i;
		} else {
			others |= 1u << i;
		}
	}
	woken = wait_wake(&queue, max, how);
	wrong += woken != due;
	for (unsigned i = 0; i < n; i++)
		if (came >> i & 1)
			wrong += wrong == 0 && !COMES(GET(sleepers[i].out));
	for (unsigned i = 0; i < n; i++)
		wrong += (others >> i & 1) && GET(sleepers[i].out);
	return wrong;
}

static unsigned order_wrong(uint32_t *seed, unsigned n, enum leave (*leave)(uint32_t *seed, unsigned i, unsigned n))
{
	enum leave leaves[SLEEPERS];
	unsigned wrong = 0, stay = 0;

	begin_test();
	for (unsigned i = 0; i < n; i++) {
		leaves[i] = leave(seed, i, n);
		stay += leaves[i] == STAYS;
		wrong += !send_to_sleep(&sleepers[i], i, &queue, leaves[i] == TIMED ? 200 * US : LONG, true);
	}
	for (unsigned i = 0; i < n && !wrong; i++)
		if (leaves[i] == CANCELLED)
			thread_cancel(sleepers[i].thread);
	for (unsigned i = 0; i < n && !wrong; i++)
		if (leaves[i] != STAYS)
			wrong += !COMES(GET(sleepers[i].out));
	wrong = wrong ? wrong : wake_some(leaves, n, 0, WAKE_BOOST);
	for (unsigned woken = 0; woken < stay && !wrong;) {
		const unsigned max = 1 + next(seed) % 3;

		wrong += wake_some(leaves, n, max, next(seed) & 1);
		woken += max;
	}
	wrong += !is_empty(&queue);
	for (unsigned i = 0; i < n; i++) {
		const struct sleeper *const s = &sleepers[i];
		const int expected = leaves[i] == CANCELLED ? -EAGAIN : leaves[i] == TIMED ? -ETIMEDOUT : 0;

		wrong += !gone(s->thread) || s->wrong || s->result != expected || s->then[0] != -ETIMEDOUT;
	}
	return wrong;
}

static enum leave leave_ends(uint32_t *seed, unsigned i, unsigned n)
{
	(void)seed;
	return i == 0 || i == n - 1 ? CANCELLED : STAYS;
}

static enum leave leave_middle(uint32_t *seed, unsigned i, unsigned n)
{
	(void)seed;
	return i == n / 2 ? TIMED : i == n / 2 + 1 ? CANCELLED : STAYS;
}

static enum leave leave_all(uint32_t *seed, unsigned i, unsigned n)
{
	(void)seed;
	(void)n;
	return i % 2 ? TIMED : CANCELLED;
}

static enum leave leave_random(uint32_t *seed, unsigned i, unsigned n)
{
	const uint32_t r = next(seed) % 5;

	(void)i;
	(void)n;
	return r == 0 ? CANCELLED : r == 1 ? TIMED : STAYS;
}

/* The first to come are the first woken, each time no more than max, whoever has left before. */
KTEST(sched, check_wait_order)
{
	uint32_t seed = 0x6f726465;
	unsigned wrong;

	ktest_note("seed", seed);
	wrong = order_wrong(&seed, 5, leave_ends);
	wrong += wrong ? 0 : order_wrong(&seed, 6, leave_middle);
	wrong += wrong ? 0 : order_wrong(&seed, 4, leave_all);
	for (unsigned i = 0; i < 4 && !wrong; i++)
		wrong += order_wrong(&seed, 6 + next(&seed) % 7, leave_random);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(leftover(), 0);
}

/* All that there are by the greatest max, and only those of this queue. */
KTEST(sched, check_wait_all)
{
	struct wait_queue other = WAIT_INIT;
	unsigned wrong = 0, none, all, stayed = 0, rest;

	begin_test();
	for (unsigned i = 0; i < 8; i++)
		wrong += !send_to_sleep(&sleepers[i], i, i % 4 == 3 ? &other : &queue, LONG, true);
	none = wait_wake(&queue, 0, WAKE_PLAIN);
	all = wait_wake(&queue, ALL, WAKE_PLAIN);
	for (unsigned i = 0; i < 8; i++) {
		if (i % 4 == 3)
			stayed += !GET(sleepers[i].out);
		else
			wrong += !COMES(GET(sleepers[i].out));
	}
	rest = wait_wake(&other, ALL, WAKE_PLAIN);
	for (unsigned i = 0; i < 8; i++)
		wrong += !gone(sleepers[i].thread) || sleepers[i].result != 0 || sleepers[i].wrong;
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(none, 0);
	KASSERT_EQ(all, 6);
	KASSERT_EQ(stayed, 2);
	KASSERT_EQ(rest, 2);
	KASSERT(is_empty(&queue));
	KASSERT(is_empty(&other));
}

/* ---- timers that do something, on any processor ---- */

static struct shot {
	struct timer timer;
	void (*fn)(struct timer *);
	uint64_t due;
	struct thread *target;
	uint32_t seed, done, woken, wrong;
	int err;
} shots[2];

static void arm_here(void *arg)
{
	struct shot *const s = arg;

	s->err = timer_arm(&s->timer, s->due, s->fn, s);
}

static bool arm_on(unsigned cpu, struct shot *s, uint64_t due, void (*fn)(struct timer *))
{
	s->fn = fn;
	s->due = due;
	s->done = s->woken = 0;
	s->err = -EIO;
	return cpu_call(cpu % cpu_count(), arm_here, s) == 0 && s->err == 0;
}

static void shoot_wake(struct timer *t)
{
	struct shot *const s = t->arg;

	s->woken = wait_wake(&queue, 1, WAKE_PLAIN);
	s->wrong += (flags_read() & IF) != 0;
	SET(s->done, 1);
}

/* Until somebody is there, who then has given up guard. */
static void shoot_until_woken(struct timer *t)
{
	struct shot *const s = t->arg;
	const bool is_free = spin_trylock(&guard);

	if (is_free)
		spin_unlock(&guard);
	s->woken = wait_wake(&queue, 1, WAKE_PLAIN);
	s->wrong += (flags_read() & IF) || (s->woken && !is_free);
	if (!s->woken)
		s->wrong += timer_arm(t, clock_ns() + 20 * US, shoot_until_woken, s) != 0;
}

static void shoot_cancel(struct timer *t)
{
	struct shot *const s = t->arg;

	thread_cancel(s->target);
	SET(s->done, 1);
}

static void shoot_stray(struct timer *t)
{
	struct shot *const s = t->arg;

	thread_unpark(s->target, WAKE_PLAIN);
	SET(s->done, 1);
}

/* The time is over here, just when the caller is woken from one processor and cancelled from another: what was
 * wrong. */
static unsigned moment_wrong(uint32_t *seed, unsigned *outcomes)
{
	const uint32_t r = next(seed);
	const bool wakes = r % 4 != 0, cancels = (r >> 4) % 4 != 0;
	const uint64_t moment = clock_ns() + (cpu_count() == 1 ? 40 * US : 150 * US);
	uint64_t flags, begin, ns;
	unsigned wrong = 0, agains = 0;
	int result, then[3];

	shots[1].target = thread_current();
	if (wakes)
		wrong += !arm_on(1, &shots[0], moment + next(seed) % (6 * US), shoot_wake);
	if (cancels)
		wrong += !arm_on(2, &shots[1], moment + next(seed) % (6 * US), shoot_cancel);
	flags = spin_lock_irqsave(&guard);
	begin = clock_ns();
	ns = moment + next(seed) % (6 * US);
	ns = ns > begin ? ns - begin : TIMEOUT_NOW;
	result = wait_sleep(&queue, &guard, &flags, ns);
	wrong += !has_guard(flags);
	wrong += result == -ETIMEDOUT && clock_ns() - begin < ns;
	spin_unlock_irqrestore(&guard, flags);
	wrong += !is_at_large();
	if (wakes)
		wrong += !COMES_AWAKE(GET(shots[0].done));
	if (cancels)
		wrong += !COMES_AWAKE(GET(shots[1].done));
	for (unsigned i = 0; i < 3; i++) {
		then[i] = thread_park(TIMEOUT_NOW);
		agains += then[i] == -EAGAIN;
		wrong += then[i] == 0;
	}
	agains += result == -EAGAIN;
	wrong += (result == 0) != (wakes && shots[0].woken == 1);
	wrong += agains != cancels;
	wrong += result != 0 && result != -ETIMEDOUT && result != -EAGAIN;
	outcomes[result == 0 ? 0 : result == -EAGAIN ? 1 : 2]++;
	return wrong;
}

KTEST(sched, check_wait_one_moment)
{
	uint32_t seed = 0x6d6f6d65;
	unsigned wrong = 0, outcomes[3] = { 0 };

	begin_test();
	memset(shots, 0, sizeof shots);
	ktest_note("seed", seed);
	for (unsigned i = 0; i < 200 && !wrong; i++)
		wrong = moment_wrong(&seed, outcomes);
	for (unsigned i = 0; i < 2; i++)
		timer_cancel(&shots[i].timer);
	leftover();
	KASSERT_EQ(wrong, 0);
	KASSERT(is_empty(&queue));
	KASSERT_EQ(outcomes[0] + outcomes[1] + outcomes[2], 200);
}

/* Here, one after the other: what ends the sleep, its time or a cancellation, and some ns after that the wake-up. There
 * are some that come when the sleeper has seen the one, and has not looked for the other yet. */
static unsigned sweep_wrong(bool cancels, unsigned i, unsigned *woken)
{
	const uint64_t moment = clock_ns() + 30 * US;
	uint64_t flags, begin;
	unsigned wrong, agains = 0;
	int result;

	shots[1].target = thread_current();
	wrong = !arm_on(0, &shots[0], moment + i * 25, shoot_wake);
	if (cancels)
		wrong += !arm_on(0, &shots[1], moment, shoot_cancel);
	flags = spin_lock_irqsave(&guard);
	begin = clock_ns();
	result = wait_sleep(&queue, &guard, &flags, cancels ? LONG : begin < moment ? moment - begin : TIMEOUT_NOW);
	spin_unlock_irqrestore(&guard, flags);
	wrong += !COMES_AWAKE(GET(shots[0].done) && (!cancels || GET(shots[1].done)));
	for (unsigned n = 0; n < 3; n++) {
		const int then = thread_park(TIMEOUT_NOW);

		agains += then == -EAGAIN;
		wrong += then == 0;
	}
	agains += result == -EAGAIN;
	*woken += result == 0;
	wrong += agains != cancels;
	wrong += (result == 0) != (shots[0].woken == 1);
	return wrong + (result != 0 && result != (cancels ? -EAGAIN : -ETIMEDOUT));
}

KTEST(sched, check_wait_sweep)
{
	unsigned wrong = 0, woken = 0;

	begin_test();
	memset(shots, 0, sizeof shots);
	for (unsigned i = 0; i < 400 && !wrong; i++)
		wrong = sweep_wrong(i & 1, i / 2, &woken);
	for (unsigned i = 0; i < 2; i++)
		timer_cancel(&shots[i].timer);
	leftover();
	ktest_note("woken", woken);
	KASSERT_EQ(wrong, 0);
	KASSERT(is_empty(&queue));
}

/* ---- a load: waiters come and go on all processors while timers wake ---- */

enum { STORMERS = 6, STORM_ROUNDS = 50, STORM_CANCELLED = 3 };

static struct stormer {
	struct thread *thread;
	uint32_t seed, zeros, agains, wrong, over;
} stormers[STORMERS];

static uint32_t storm_over, storm_woken, storm_wrong, storm_cancels;

static void storm_wake(struct timer *t)
{
	static const unsigned maxes[] = { 0, 1, 1, 2, STORMERS, ALL };
	struct shot *const s = t->arg;
	const unsigned max = maxes[next(&s->seed) % 6], n = wait_wake(&queue, max, next(&s->seed) & 1);

	ADD(storm_woken, n);
	ADD(storm_wrong, n > max || n > STORMERS);
	if (!GET(storm_over))
		ADD(storm_wrong, timer_arm(t, clock_ns() + 10 * US + next(&s->seed) % (40 * US), storm_wake, s) != 0);
}

static void storm(void *arg)
{
	struct stormer *const s = arg;

	for (unsigned i = 0; i < STORM_ROUNDS && !GET(storm_over); i++) {
		const uint32_t r = next(&s->seed);
		const uint64_t ns = r % 8 == 0 ? TIMEOUT_NOW : r % 8 < 6 ? next(&s->seed) % (80 * US) : LONG;
		const bool held = r >> 8 & 1;
		const uint64_t begin = clock_ns();
		uint64_t flags = 0;
		int result;

		if (held) {
			flags = spin_lock_irqsave(&guard);
			result = wait_sleep(&queue, &guard, &flags, ns);
			s->wrong += !has_guard(flags);
			spin_unlock_irqrestore(&guard, flags);
		} else {
			result = wait_sleep(&queue, NULL, NULL, ns);
		}
		s->wrong += !is_at_large();
		s->zeros += result == 0;
		s->agains += result == -EAGAIN;
		s->wrong += result == -ETIMEDOUT && (clock_ns() - begin < ns || ns == LONG);
		s->wrong += result > 0 || (result && result != -EAGAIN && result != -ETIMEDOUT);
	}
	s->wrong += thread_park(TIMEOUT_NOW) == 0;
	SET(s->over, 1);
}

static bool storm_is_over(uint32_t *seed)
{
	unsigned over = 0;

	for (unsigned i = 0; i < STORMERS; i++)
		over += GET(stormers[i].over);
	if (over < STORMERS && stormers[0].thread) {
		struct stormer *const s = &stormers[next(seed) % STORM_CANCELLED];

		if (s->thread) {
			storm_cancels++;
			thread_cancel(s->thread);
		}
	}
	return over == STORMERS;
}

/* As many are woken as were told so; nobody early, nobody without a reason. */
KTEST(sched, check_wait_storm)
{
	uint32_t seed = 0x73746f72, zeros = 0, agains = 0;
	unsigned wrong = 0;
	bool over;

	begin_test();
	memset(shots, 0, sizeof shots);
	memset(stormers, 0, sizeof stormers);
	storm_over = storm_woken = storm_wrong = storm_cancels = 0;
	ktest_note("seed", seed);
	for (unsigned i = 0; i < 2; i++) {
		shots[i].seed = next(&seed);
		wrong += !arm_on(i ? cpu_count() - 1 : 0, &shots[i], clock_ns() + 50 * US, storm_wake);
	}
	for (unsigned i = 0; i < STORMERS; i++) {
		stormers[i].seed = next(&seed);
		stormers[i].thread = start(i % 2 ? CLASS_NORMAL : CLASS_INTERACTIVE, i, storm, &stormers[i]);
	}
	over = COMES(storm_is_over(&seed));
	SET(storm_over, 1);
	for (unsigned i = 0; i < 4; i++)
		timer_cancel(&shots[i % 2].timer);
	for (unsigned i = 0; i < STORMERS; i++) {
		wrong += !gone(stormers[i].thread);
		wrong += stormers[i].wrong;
		zeros += stormers[i].zeros;
		agains += stormers[i].agains;
		wrong += i >= STORM_CANCELLED && stormers[i].agains;
	}
	KASSERT(over);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(storm_wrong, 0);
	KASSERT_EQ(zeros, storm_woken);
	KASSERT(agains <= storm_cancels);
	KASSERT(is_empty(&queue));
	KASSERT_EQ(leftover(), 0);
}

/* ---- one thread on many queues ---- */

enum { STOPS = 18 };

static struct wait_queue stops[STOPS];
static uint32_t tour_at, tour_wrong;            /* under guard: where it is; STOPS: nowhere any more */
static int tour_results[STOPS];

static uint64_t tour_timeout(unsigned i)
{
	return i % 3 == 2 ? 100 * US : LONG;
}

static void tour(void *arg)
{
	uint64_t flags = spin_lock_irqsave(&guard);

	(void)arg;
	for (unsigned i = 0; i < STOPS; i++) {
		tour_at = i;
		tour_results[i] = wait_sleep(&stops[i], &guard, &flags, tour_timeout(i));
	}
	tour_at = STOPS;
	spin_unlock_irqrestore(&guard, flags);
	tour_wrong += thread_park(TIMEOUT_NOW) != -ETIMEDOUT;
}

static uint32_t tour_now(void)
{
	const uint64_t flags = spin_lock_irqsave(&guard);
	const uint32_t at = tour_at;

	spin_unlock_irqrestore(&guard, flags);
	return at;
}

/* It leaves one after the other, by each outcome in turn, and is in none but the last. */
KTEST(sched, check_wait_tour)
{
	struct thread *t;
	unsigned wrong = 0;

	begin_test();
	memset(stops, 0, sizeof stops);
	tour_at = STOPS + 1;
	tour_wrong = 0;
	t = start(CLASS_NORMAL, 1, tour, NULL);
	KASSERT(t != NULL);
	for (unsigned i = 0; i < STOPS && !wrong; i++) {
		if (i % 3 == 2) {                               /* by time: it may be further already */
			wrong += !COMES(tour_now() > i && tour_now() <= STOPS);
		} else {
			wrong += !COMES(tour_now() == i);
			for (unsigned j = 0; j < i; j++)
				wrong += wait_wake(&stops[j], 1, WAKE_PLAIN) != 0;
			if (i % 3 == 0 && !wrong)
				wrong += wait_wake(&stops[i], 5, WAKE_PLAIN) != 1;
			else if (!wrong)
				thread_cancel(t);
			wrong += !COMES(tour_now() != i);
		}
	}
	for (unsigned i = 0; i < STOPS && wrong; i++)           /* it is let out */
		COMES(tour_now() == STOPS || (thread_cancel(t), false) || i + 1 < STOPS);
	wrong += !gone(t);
	for (unsigned i = 0; i < STOPS; i++) {
		wrong += tour_results[i] != (i % 3 == 0 ? 0 : i % 3 == 1 ? -EAGAIN : -ETIMEDOUT);
		wrong += !is_empty(&stops[i]);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(tour_wrong, 0);
}

/* ---- a buffer ---- */

enum { MAKERS = 3, TAKERS = 3, EACH = 60, ROOM = 3 };

static struct wait_queue not_full, not_empty;
static uint32_t ring[ROOM], ring_from, ring_count, ring_taken;          /* under guard */
static uint32_t taken_last[MAKERS], buffer_wrong;

static void make(void *arg)
{
	const uint32_t me = (uint32_t)(uint64_t)arg;

	for (uint32_t i = 1; i <= EACH; i++) {
		uint64_t flags = spin_lock_irqsave(&guard);

		while (ring_count == ROOM && !buffer_wrong)
			buffer_wrong += wait_sleep(&not_full, &guard, &flags, LONG) != 0;
		ring[(ring_from + ring_count++) % ROOM] = me << 16 | i;
		if (i % 2)
			wait_wake(&not_empty, 1, WAKE_PLAIN);
		spin_unlock_irqrestore(&guard, flags);
		if (i % 2 == 0)
			wait_wake(&not_empty, 1, WAKE_BOOST);
	}
}

static void take(void *arg)
{
	uint64_t flags = spin_lock_irqsave(&guard);

	(void)arg;
	while (ring_taken < MAKERS * EACH && !buffer_wrong) {
		if (ring_count == 0) {
			buffer_wrong += wait_sleep(&not_empty, &guard, &flags, LONG) != 0;
			continue;
		}
		buffer_wrong += ring[ring_from] >> 16 >= MAKERS;
		buffer_wrong += buffer_wrong || ++taken_last[ring[ring_from] >> 16] != (ring[ring_from] & 0xffff);
		ring_from = (ring_from + 1) % ROOM;
		ring_count--;
		if (++ring_taken == MAKERS * EACH)
			wait_wake(&not_empty, ALL, WAKE_PLAIN);
		else
			wait_wake(&not_full, 1, WAKE_PLAIN);
		spin_unlock_irqrestore(&guard, flags);
		if (ring_taken % 8 == 0)
			thread_yield();
		flags = spin_lock_irqsave(&guard);
	}
	spin_unlock_irqrestore(&guard, flags);
}

/* Each wake-up is for one: if one were lost, all would wait in the end. Nothing is lost or comes twice, all in
 * order. */
KTEST(sched, check_wait_buffer)
{
	struct thread *t[MAKERS + TAKERS];
	unsigned wrong = 0;

	begin_test();
	memset(&not_full, 0, sizeof not_full);
	memset(&not_empty, 0, sizeof not_empty);
	memset(taken_last, 0, sizeof taken_last);
	ring_from = ring_count = ring_taken = buffer_wrong = 0;
	for (unsigned i = 0; i < TAKERS; i++)
		t[i] = start(CLASS_INTERACTIVE, i, take, NULL);
	for (unsigned i = 0; i < MAKERS; i++)
		t[TAKERS + i] = start(CLASS_NORMAL, i + 1, make, (void *)(uint64_t)i);
	for (unsigned i = 0; i < MAKERS + TAKERS; i++)
		wrong += !gone(t[i]);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(buffer_wrong, 0);
	KASSERT_EQ(ring_taken, MAKERS * EACH);
	KASSERT_EQ(ring_count, 0);
	for (unsigned i = 0; i < MAKERS; i++)
		KASSERT_EQ(taken_last[i], EACH);
	KASSERT(is_empty(&not_full));
	KASSERT(is_empty(&not_empty));
}

/* ---- sleeps ---- */

static void just_sleep(void *arg)
{
	struct sleeper *const s = arg;

	s->until = later(s->timeout);
	SET(s->in, 1);
	s->result = thread_sleep(s->timeout);
	s->wrong += s->result == 0 && clock_ns() < s->until;
	s->wrong += !is_at_large();
	SET(s->out, 1);
	wait_to_go(s);
}

static bool falls_asleep(struct sleeper *s, unsigned cpu, uint64_t ns)
{
	s->timeout = ns;
	s->thread = start(CLASS_NORMAL, cpu, just_sleep, s);
	return s->thread && COMES(GET(s->in));
}

/* Permits all the time, each the end of one wait inside: it sleeps on, and is cancelled all the same. */
KTEST(sched, check_wait_sleep_strays)
{
	unsigned wrong = 0;

	begin_test();
	for (unsigned i = 0; i < 6 && !wrong; i++) {
		struct sleeper *const s = &sleepers[i];
		const bool is_long = i >= 3;

		wrong += !falls_asleep(s, i, is_long ? LONG : 300 * US + i * 100 * US);
		for (unsigned n = 0; s->thread && n < (is_long ? 8u : 400u) && !GET(s->out); n++) {
			thread_unpark(s->thread, n & 1);
			thread_park(7 * US);
		}
		if (is_long) {
			preempt_disable();
			wrong += GET(s->out);
			if (i != 4)
				thread_unpark(s->thread, WAKE_PLAIN);
			thread_cancel(s->thread);
			if (i == 4)
				thread_unpark(s->thread, WAKE_BOOST);
			preempt_enable();
		}
		wrong += !COMES(GET(s->out));
		wrong += s->result != (is_long ? -EAGAIN : 0);
		wrong += is_long && clock_ns() >= s->until;
		SET(s->go, 1);
		wrong += !gone(s->thread);
		wrong += s->wrong;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(leftover(), 0);
}

/* What is there already when it begins: a permit is no reason not to sleep, nor to overlook a cancellation. */
KTEST(sched, check_wait_sleep_pending)
{
	struct thread *const self = thread_current();
	static const uint64_t lengths[] = { 0, 1, 50 * US, LONG };
	unsigned wrong = 0;

	begin_test();
	for (unsigned i = 0; i < 4 && !wrong; i++) {
		const uint64_t ns = lengths[i];
		uint64_t begin;

		thread_cancel(self);
		thread_unpark(self, WAKE_PLAIN);
		wrong += thread_sleep(ns) != -EAGAIN;
		leftover();                             /* the permit may be there still */
		thread_cancel(self);
		wrong += thread_sleep(ns) != -EAGAIN;
		wrong += leftover();
		thread_unpark(self, WAKE_PLAIN);
		begin = clock_ns();
		if (ns != LONG) {
			wrong += thread_sleep(ns) != 0;
			wrong += clock_ns() - begin < ns;
		}
		leftover();
		wrong += !is_at_large();
	}
	KASSERT_EQ(wrong, 0);
}

/* So long that no clock comes to their end, and what is added to the clock goes over: none is over at once. */
KTEST(sched, check_wait_for_ever)
{
	const uint64_t now = clock_ns();
	const uint64_t lengths[] = {
		TIMEOUT_NONE, TIMEOUT_NONE - 1, TIMEOUT_NONE - now, TIMEOUT_NONE - now - 1000 * LONG, 1ull << 63,
		INT64_MAX,
	};
	enum { N = sizeof lengths / sizeof *lengths };
	unsigned wrong = 0, early = 0;

	begin_test();
	for (unsigned i = 0; i < N; i++) {
		wrong += !falls_asleep(&sleepers[i], i, lengths[i]);
		wrong += !send_to_sleep(&sleepers[N + i], i + 1, &queue, lengths[i], true);
		if (sleepers[i].thread)
			thread_unpark(sleepers[i].thread, WAKE_PLAIN);
	}
	for (unsigned i = 0; i < 3; i++)
		thread_park(100 * US);
	for (unsigned i = 0; i < 2 * N; i++) {
		early += GET(sleepers[i].out);
		if (sleepers[i].thread)
			thread_cancel(sleepers[i].thread);
		SET(sleepers[i].go, 1);
	}
	for (unsigned i = 0; i < 2 * N; i++)
		wrong += !gone(sleepers[i].thread) || sleepers[i].result != -EAGAIN || sleepers[i].wrong;
	KASSERT_EQ(early, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(is_empty(&queue));
}

/* ---- on and off ---- */

/* What ends it: nothing but time, or what a timer here does in 20 us, or what was done before. */
static unsigned state_wrong(bool held, void (*fn)(struct timer *), uint64_t ns, int expected)
{
	uint64_t flags = 0;
	unsigned wrong = 0;
	int result;

	if (fn)
		wrong += !arm_on(0, &shots[0], clock_ns() + 20 * US, fn);
	if (held) {
		flags = spin_lock_irqsave(&guard);
		result = wait_sleep(&queue, &guard, &flags, ns);
		wrong += !has_guard(flags);
		spin_unlock_irqrestore(&guard, flags);
	} else {
		result = wait_sleep(&queue, NULL, NULL, ns);
	}
	wrong += !is_at_large();
	wrong += result != expected;
	wrong += shots[0].wrong;
	timer_cancel(&shots[0].timer);
	leftover();
	return wrong;
}

KTEST(sched, check_wait_state)
{
	struct sleeper *const s = &sleepers[0];
	unsigned wrong = 0, woken, none;
	uint64_t flags;

	begin_test();
	memset(shots, 0, sizeof shots);
	shots[0].target = thread_current();
	for (unsigned held = 0; held < 2; held++) {
		wrong += state_wrong(held, shoot_until_woken, LONG, 0);
		wrong += state_wrong(held, shoot_cancel, LONG, -EAGAIN);
		wrong += state_wrong(held, NULL, 30 * US, -ETIMEDOUT);
		wrong += state_wrong(held, NULL, TIMEOUT_NOW, -ETIMEDOUT);
		wrong += state_wrong(held, shoot_stray, LONG, 0);       /* for no reason, as it may */
		thread_cancel(thread_current());
		wrong += state_wrong(held, NULL, TIMEOUT_NOW, -EAGAIN);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(is_empty(&queue));

	/* Who wakes, too: with interrupts off, whether there is somebody or not, and with preemption off. */
	wrong += !send_to_sleep(s, 0, &queue, LONG, true);
	preempt_disable();
	flags = flags_read();
	__asm__ volatile("cli" : : : "memory");
	woken = wait_wake(&queue, 1, WAKE_PLAIN);
	wrong += (flags_read() & IF) != 0 || preempt_count() != 1;
	none = wait_wake(&queue, 1, WAKE_PLAIN);
	wrong += (flags_read() & IF) != 0 || preempt_count() != 1;
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
	none += wait_wake(&queue, 1, WAKE_PLAIN);
	wrong += !(flags_read() & IF) || preempt_count() != 1;
	wrong += GET(s->out);
	preempt_enable();
	wrong += !gone(s->thread) || s->result != 0 || s->wrong;
	wrong += !is_at_large();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(woken, 1);
	KASSERT_EQ(none, 0);
}

/* ---- where one may not sleep, whether one would or not ---- */

static void wait_with_interrupts_off(void *arg)
{
	(void)arg;
	__asm__ volatile("cli" : : : "memory");
	wait_sleep(&queue, NULL, NULL, TIMEOUT_NOW);
}

static void wait_with_preemption_off(void *arg)
{
	(void)arg;
	preempt_disable();
	wait_sleep(&queue, NULL, NULL, TIMEOUT_NOW);
}

static void wait_with_both_off(void *arg)
{
	uint64_t flags;

	(void)arg;
	preempt_disable();
	flags = spin_lock_irqsave(&guard);
	wait_sleep(&queue, &guard, &flags, TIMEOUT_NOW);
}

static void sleep_with_interrupts_off(void *arg)
{
	(void)arg;
	__asm__ volatile("cli" : : : "memory");
	thread_sleep(0);
}

static void sleep_with_preemption_off(void *arg)
{
	(void)arg;
	preempt_disable();
	thread_sleep(0);
}

/* With a permit there, it would not have slept. Nothing is left in the queue. */
KTEST(sched, check_wait_atomic)
{
	void (*const bad[])(void *) = {
		wait_with_interrupts_off, wait_with_preemption_off, wait_with_both_off, sleep_with_interrupts_off,
		sleep_with_preemption_off,
	};
	char why[64];

	begin_test();
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		int caught;
		bool clean;

		memset(why, 0, sizeof why);
		thread_unpark(thread_current(), WAKE_PLAIN);
		caught = panic_catch(bad[i], NULL, why, sizeof why);
		memset(&guard, 0, sizeof guard);
		clean = is_at_large() && is_empty(&queue);
		leftover();
		KASSERT_EQ(caught, 1);
		KASSERT_STREQ(why, "sched: sleep in atomic context");
		KASSERT(clean);
	}
}
