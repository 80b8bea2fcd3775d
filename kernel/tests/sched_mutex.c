/* Further tests of sched/mutex.c: what is donated, and who is handed what, against a model worked out here, as waiters
 * come, leave, change class and are given it; long chains, from either end; a circle; the order among equals; all that
 * may come at the moment when it is handed over; a load on all processors. See spec/sched.md, "Interface",
 * "Inheritance" and "Waiting".
 *
 * We may be stopped at any time for tens of milliseconds. A KERNEL thread that is stopped for longer than its slice is
 * spent, and donates no more than an agent, by rule 1: so where its level matters it is looked at, and one that is
 * spent is woken for no reason, which ends that. Each test has ended its threads before it says what was wrong. */
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
#include "string.h"

#define US 1000ull
#define MS 1000000ull
#define LONG (2000 * MS)                        /* what has not come by then does not come any more */

enum { IF = 1 << 9, LOOKS = 1000, WORKERS = 14, LOCKS = 14, NOBODY = -1 };

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

/* Interrupts and preemption as they are for a thread that may sleep. */
static bool is_at_large(void)
{
	return (flags_read() & IF) && preempt_count() == 0;
}

static uint8_t donated(struct thread *t)
{
	return GET(thread_ent(t)->donated);
}

static struct mutex *wanted(struct thread *t)
{
	return GET(thread_locks(t)->wanted);
}

/* Holds nothing, waits for nothing, and is donated nothing. */
static bool is_clean(struct thread *t)
{
	return !thread_locks(t)->held && !wanted(t) && donated(t) == LEVEL_NONE;
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
	const struct thread_attr attr = { "check_mutex", cls, 1ull << cpu % cpu_count() };
	struct thread *t = NULL;

	return thread_create(&attr, fn, arg, &t) ? NULL : t;
}

static bool gone(struct thread *t)
{
	return t && thread_join(t, LONG, NULL) == 0;
}

static struct mutex m[LOCKS];

static bool all_free(void)
{
	unsigned n = 0;

	for (unsigned k = 0; k < LOCKS; k++)
		n += !m[k].owner && !m[k].waiters;
	return n == LOCKS;
}

/* ---- workers, who do one thing at a time, as they are told ---- */

enum verb { LOCK, UNLOCK, TRY };

static struct worker {
	struct thread *thread;
	uint32_t asked, done, wrong;
	enum verb verb;
	unsigned lock;
	uint64_t timeout;
	int result;
} workers[WORKERS];

static uint32_t quit;

static void work(void *arg)
{
	struct worker *const w = arg;
	struct thread *const self = thread_current();

	while (!GET(quit)) {
		if (GET(w->done) == GET(w->asked)) {
			thread_park(LONG);
			continue;
		}
		w->result = w->verb == LOCK ? mutex_lock(&m[w->lock], w->timeout) :
			    w->verb == TRY ? mutex_trylock(&m[w->lock]) : mutex_unlock(&m[w->lock]);
		w->wrong += !is_at_large();
		w->wrong += w->verb != UNLOCK && w->result == 0 && m[w->lock].owner != self;
		SET(w->done, w->done + 1);
	}
	for (unsigned k = 0; k < LOCKS; k++)
		if (GET(m[k].owner) == self)
			w->wrong += mutex_unlock(&m[k]) != 0;
	w->wrong += !is_clean(self);
}

static void ask_for(unsigned i, enum verb verb, unsigned k, uint64_t timeout)
{
	struct worker *const w = &workers[i];

	w->verb = verb;
	w->lock = k;
	w->timeout = timeout;
	w->result = 77;
	SET(w->asked, w->asked + 1);
	thread_unpark(w->thread, WAKE_PLAIN);
}

static bool is_done(unsigned i)
{
	return GET(workers[i].done) == GET(workers[i].asked);
}

static bool is_stuck(unsigned i, unsigned k)
{
	return wanted(workers[i].thread) == &m[k];
}

/* Whether it waits now, and not only is about to, or was woken for no reason: one that runs, or could, spends time. */
static bool is_parked(struct thread *t)
{
	const uint64_t begin = clock_ns();
	struct thread_stats first, second;

	thread_get_stats(t, &first);
	while (clock_ns() == begin)
		cpu_pause();
	thread_get_stats(t, &second);
	return first.run_ns + first.wait_ns == second.run_ns + second.wait_ns;
}

/* Whether it comes to wait for that one, with nothing more on its way to it. */
static bool gets_stuck(unsigned i, unsigned k)
{
	return COMES(is_stuck(i, k) && is_parked(workers[i].thread));
}

/* ---- the model ---- */

static struct {
	int owner[LOCKS], wants[WORKERS];       /* a worker; a mutex; or NOBODY */
	uint32_t came[WORKERS], arrivals;       /* who came first */
	enum sched_class cls[WORKERS];
} model;

static uint8_t model_level(int i);

static uint8_t model_donation(int i)
{
	uint8_t best = LEVEL_NONE;

	for (int j = 0; j < WORKERS; j++)
		if (model.wants[j] != NOBODY && model.owner[model.wants[j]] == i && model_level(j) < best)
			best = model_level(j);
	return best;
}

static uint8_t model_base(int i)
{
	static const uint8_t base[] = { LEVEL_KERNEL, LEVEL_INTERACTIVE, LEVEL_NORMAL, LEVEL_INFERENCE };

	return base[model.cls[i]];
}

static uint8_t model_level(int i)
{
	const uint8_t donation = model_donation(i);

	return donation < model_base(i) ? donation : model_base(i);
}

static int model_next_owner(int k)
{
	int best = NOBODY;

	for (int i = 0; i < WORKERS; i++) {
		if (model.wants[i] != k)
			continue;
		if (best == NOBODY || model_level(i) < model_level(best) ||
		    (model_level(i) == model_level(best) && model.came[i] < model.came[best]))
			best = i;
	}
	return best;
}

static int model_held(int i)
{
	int n = 0;

	for (unsigned k = 0; k < LOCKS; k++)
		n += model.owner[k] == i;
	return n;
}

/* Whether its list has what it holds, and nothing else. */
static bool holds_as_model(int i)
{
	const struct mutex *at = GET(thread_locks(workers[i].thread)->held);
	int n = 0;

	for (; at && n <= LOCKS; n++) {
		if (at < m || at >= m + LOCKS || model.owner[at - m] != i)
			return false;
		at = at->next_held;
	}
	return n == model_held(i);
}

/* Whether all who should wait do, and none else. A KERNEL thread that is spent is woken for no reason, which ends
 * that. */
static bool wait_as_model(void)
{
	bool all = true;

	for (unsigned i = 0; i < WORKERS; i++) {
		struct thread *const t = workers[i].thread;

		if (!t)
			continue;
		if (model.wants[i] == NOBODY) {
			all &= is_done(i) && !wanted(t);
		} else if (is_done(i) || !is_stuck(i, (unsigned)model.wants[i]) || !is_parked(t)) {
			all = false;
		} else if (thread_ent(t)->cls == CLASS_KERNEL && GET(thread_ent(t)->spent)) {
			thread_unpark(t, WAKE_PLAIN);
			all = false;
		}
	}
	return all;
}

/* Whether all is as it should be by now. */
static bool is_as_model(void)
{
	bool is = wait_as_model();

	for (int i = 0; i < WORKERS && is; i++)
		is = !workers[i].thread || (donated(workers[i].thread) == model_donation(i) && holds_as_model(i));
	for (unsigned k = 0; k < LOCKS && is; k++)
		is = GET(m[k].owner) == (model.owner[k] == NOBODY ? NULL : workers[model.owner[k]].thread);
	return is;
}

/* ---- what workers are told, by the model too: whether it went as it should ---- */

static bool hire(unsigned n, const enum sched_class *classes, unsigned kinds)
{
	bool all = true;

	leftover();
	memset(m, 0, sizeof m);
	memset(workers, 0, sizeof workers);
	memset(&model, 0, sizeof model);
	quit = 0;
	for (unsigned k = 0; k < LOCKS; k++)
		model.owner[k] = NOBODY;
	for (unsigned i = 0; i < WORKERS; i++) {
		model.wants[i] = NOBODY;
		model.cls[i] = CLASS_INFERENCE;
	}
	for (unsigned i = 0; i < n; i++) {
		model.cls[i] = classes[i % kinds];
		workers[i].thread = start(model.cls[i], i, work, &workers[i]);
		all &= workers[i].thread != NULL;
	}
	return all;
}

/* All end, whatever they wait for, and nothing is left: what was wrong. */
static unsigned dismiss(void)
{
	unsigned wrong = 0;

	SET(quit, 1);
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i].thread)
			thread_cancel(workers[i].thread);
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i].thread)
			wrong += !gone(workers[i].thread) || workers[i].wrong;
	return wrong + !all_free() + !is_clean(thread_current()) + leftover();
}

static bool lock(unsigned i, unsigned k)
{
	const bool waits = model.owner[k] != NOBODY;

	if (waits) {
		model.wants[i] = (int)k;
		model.came[i] = ++model.arrivals;
	} else {
		model.owner[k] = (int)i;
	}
	ask_for(i, LOCK, k, LONG);
	return COMES(is_as_model()) && (waits || workers[i].result == 0);
}

static bool unlock(unsigned i, unsigned k)
{
	const int to = model_next_owner((int)k);

	model.owner[k] = to;
	if (to != NOBODY)
		model.wants[to] = NOBODY;
	ask_for(i, UNLOCK, k, 0);
	return COMES(is_as_model()) && workers[i].result == 0 && (to == NOBODY || workers[to].result == 0);
}

static bool cancel(unsigned i)
{
	model.wants[i] = NOBODY;
	thread_cancel(workers[i].thread);
	return COMES(is_as_model()) && workers[i].result == -EAGAIN;
}

static bool expire(unsigned i, unsigned k)
{
	const uint64_t begin = clock_ns();

	ask_for(i, LOCK, k, 100 * US);
	return COMES(is_done(i)) && workers[i].result == -ETIMEDOUT && clock_ns() - begin >= 100 * US &&
	       COMES(is_as_model());
}

/* What it donates is looked at when something happens to it, so it is woken for no reason. */
static bool change_class(unsigned i, enum sched_class cls)
{
	model.cls[i] = cls;
	thread_set_class(workers[i].thread, cls);
	if (model.wants[i] != NOBODY)
		thread_unpark(workers[i].thread, WAKE_PLAIN);
	return COMES(is_as_model());
}

/* ---- against the model ---- */

static const enum sched_class four[] = { CLASS_INFERENCE, CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_KERNEL };

/* What one of so many does next. It takes only what is above all that it holds, so that no circle closes. */
static bool random_step(uint32_t *seed, unsigned count, unsigned *handed)
{
	const unsigned r = next(seed) % 8, any = next(seed) % count;
	unsigned i = next(seed) % count, top = 0, k = any;

	if (model.wants[i] != NOBODY && r < 2)
		return r ? cancel(i) : change_class(i, four[next(seed) % 4]);
	while (model.wants[i] != NOBODY)                        /* who holds the last waits for nothing */
		i = (i + 1) % count;
	for (unsigned j = 0; j < count; j++)
		if (model.owner[j] == (int)i)
			top = j + 1;
	if (r < 5 && top < count) {
		k = top + next(seed) % (count - top);
		return r == 4 && model.owner[k] != NOBODY ? expire(i, k) : lock(i, k);
	}
	if (r < 7 && top) {
		while (model.owner[k] != (int)i)
			k = (k + 1) % count;
		*handed += model_next_owner((int)k) != NOBODY;
		return unlock(i, k);
	}
	if (model.owner[k] == (int)i)
		return change_class(i, four[next(seed) % 4]);
	ask_for(i, model.owner[k] == NOBODY || any % 2 ? UNLOCK : TRY, k, 0);
	return COMES(is_as_model()) && workers[i].result == (workers[i].verb == UNLOCK ? -EPERM : -EBUSY);
}

/* Those who donate more than their own, as others wait for them. */
static unsigned model_passed_on(void)
{
	unsigned n = 0;

	for (int i = 0; i < WORKERS; i++)
		n += model.wants[i] != NOBODY && model_donation(i) == model_level(i) && model_level(i) < model_base(i);
	return n;
}

KTEST(sched, check_mutex_model)
{
	enum { COUNT = 8, ROUNDS_OF = 6, STEPS_OF = 40 };
	uint32_t seed = 0x6d6f646c;
	unsigned wrong = 0, handed = 0, passed_on = 0;
	bool right = true;

	ktest_note("seed", seed);
	for (unsigned round = 0; round < ROUNDS_OF && right && !wrong; round++) {
		right = hire(COUNT, four, 4);
		for (unsigned step = 0; step < STEPS_OF && right; step++) {
			right = random_step(&seed, COUNT, &handed);
			passed_on += model_passed_on();
		}
		wrong = dismiss();
	}
	ktest_note("handed", handed);
	ktest_note("passed on", passed_on);
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
	KASSERT(handed > 0);
	KASSERT(passed_on > 0);
}

/* One has five, for each of which others wait; each is given back in an order of its own. */
KTEST(sched, check_mutex_unlock_order)
{
	static const enum sched_class classes[] = {
		CLASS_INFERENCE, CLASS_INTERACTIVE, CLASS_NORMAL, CLASS_INFERENCE, CLASS_KERNEL, CLASS_NORMAL,
		CLASS_INFERENCE,
	};
	static const unsigned of[] = { 0, 0, 1, 1, 3, 4, 4 };   /* what each waits for */
	static const unsigned orders[][5] = {
		{ 0, 1, 2, 3, 4 }, { 4, 3, 2, 1, 0 }, { 3, 0, 4, 2, 1 }, { 2, 4, 0, 1, 3 },
	};
	unsigned wrong = 0;

	for (unsigned o = 0; o < 4 && !wrong; o++) {
		bool right = hire(7, classes, 7);

		for (unsigned k = 0; k < 5 && right; k++)
			right = lock(0, k);
		for (unsigned i = 1; i < 7 && right; i++)
			right = lock(i, of[i]);
		for (unsigned k = 0; k < 5 && right; k++)
			right = unlock(0, orders[o][k]);
		right = right && model_donation(0) == LEVEL_NONE;
		wrong += !right + dismiss();
	}
	KASSERT_EQ(wrong, 0);
}

/* A tree: three wait for one, each with others behind it, who leave from wherever they are. */
KTEST(sched, check_mutex_tree)
{
	static const enum sched_class classes[] = {
		CLASS_INFERENCE, CLASS_INFERENCE, CLASS_NORMAL, CLASS_INFERENCE,        /* the root, and its three */
		CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_INFERENCE, CLASS_KERNEL, CLASS_NORMAL, CLASS_INTERACTIVE,
	};
	bool right = hire(10, classes, 10);
	unsigned wrong;

	for (unsigned i = 0; i < 4 && right; i++)
		right = lock(i, i);
	for (unsigned i = 1; i < 4 && right; i++)
		right = lock(i, 0);
	for (unsigned i = 4; i < 10 && right; i++)
		right = lock(i, 1 + i % 3);
	right = right && model_donation(0) == LEVEL_KERNEL;
	right = right && cancel(7) && model_donation(0) == LEVEL_INTERACTIVE;
	right = right && cancel(2);                             /* with what is behind it */
	right = right && cancel(5) && cancel(9) && model_donation(0) == LEVEL_NORMAL;
	right = right && change_class(4, CLASS_INFERENCE) && change_class(8, CLASS_INFERENCE);
	right = right && model_donation(0) == LEVEL_INFERENCE;
	right = right && change_class(6, CLASS_KERNEL);
	right = right && model_donation(0) == LEVEL_KERNEL && unlock(0, 0) && model_donation(0) == LEVEL_NONE;
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* ---- chains ---- */

enum { LINKS = 12, STEPS = 8 };
static const enum sched_class chained[] = { CLASS_INFERENCE };

/* Whether all have these levels: those from the first on one, those from the second on another, and none the last. */
static bool chain_has(unsigned from, unsigned to, uint8_t level)
{
	for (unsigned i = from; i < to; i++)
		if (donated(workers[i].thread) != level)
			return false;
	return true;
}

/* Each has one; each but the first waits for the one before. It goes 8 steps from whoever comes at its end, no further
 * than that, and is taken back. */
KTEST(sched, check_mutex_chain)
{
	const unsigned high = LINKS;
	bool right = hire(LINKS + 1, chained, 1);
	unsigned wrong;

	right = right && change_class(high, CLASS_INTERACTIVE);
	for (unsigned i = 0; i < LINKS && right; i++)
		right = lock(i, i);
	for (unsigned i = 1; i < LINKS && right; i++) {         /* the model does not count steps: not any more by it */
		ask_for(i, LOCK, i - 1, LONG);
		right = gets_stuck(i, i - 1);
	}
	right = right && COMES(chain_has(0, LINKS - 1, LEVEL_INFERENCE)) && chain_has(LINKS - 1, LINKS, LEVEL_NONE);
	for (unsigned twice = 0; twice < 2 && right; twice++) {
		ask_for(high, LOCK, LINKS - 1, LONG);
		right = COMES(is_stuck(high, LINKS - 1) && chain_has(LINKS - STEPS, LINKS, LEVEL_INTERACTIVE));
		right = right && chain_has(0, LINKS - STEPS - 1, LEVEL_INFERENCE);
		if (right && !twice) {
			thread_cancel(workers[high].thread);
			right = COMES(is_done(high)) && workers[high].result == -EAGAIN;
			right = right && COMES(chain_has(0, LINKS - 1, LEVEL_INFERENCE));
			right = right && chain_has(LINKS - 1, LINKS, LEVEL_NONE);
		}
	}
	if (right) {                                            /* a link leaves: nothing comes beyond it */
		thread_cancel(workers[LINKS - 3].thread);
		right = COMES(is_done(LINKS - 3)) && workers[LINKS - 3].result == -EAGAIN;
		right = right && COMES(chain_has(LINKS - 3, LINKS, LEVEL_INTERACTIVE));
		right = right && COMES(chain_has(0, LINKS - 4, LEVEL_INFERENCE));
		right = right && COMES(chain_has(LINKS - 4, LINKS - 3, LEVEL_NONE));
	}
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* Made from the other end, a donation gets further than 8 steps, in several goes: all of it is taken back. */
KTEST(sched, check_mutex_chain_backwards)
{
	const unsigned high = LINKS;
	bool right = hire(LINKS + 1, chained, 1);
	unsigned wrong;

	right = right && change_class(high, CLASS_INTERACTIVE);
	for (unsigned i = 0; i < LINKS && right; i++)
		right = lock(i, i);
	if (right)
		ask_for(high, LOCK, 0, LONG);
	right = right && gets_stuck(high, 0);
	for (unsigned i = 0; i + 1 < LINKS && right; i++) {
		ask_for(i, LOCK, i + 1, LONG);
		right = gets_stuck(i, i + 1);
	}
	right = right && COMES(chain_has(0, STEPS, LEVEL_INTERACTIVE));
	if (right) {
		thread_cancel(workers[high].thread);
		right = COMES(is_done(high)) && workers[high].result == -EAGAIN;
	}
	right = right && COMES(chain_has(0, 1, LEVEL_NONE)) && COMES(chain_has(1, LINKS, LEVEL_INFERENCE));
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* Three wait for one another, which is their own mistake; who waits for them does not hang, and all are as before when
 * one has left. */
KTEST(sched, check_mutex_circle)
{
	const unsigned high = 3;
	bool right = hire(4, chained, 1);
	unsigned wrong;

	right = right && change_class(high, CLASS_INTERACTIVE);
	for (unsigned i = 0; i < 3 && right; i++)
		right = lock(i, i);
	for (unsigned i = 0; i < 3 && right; i++) {
		ask_for(i, LOCK, (i + 1) % 3, LONG);
		right = gets_stuck(i, (i + 1) % 3);
	}
	if (right) {
		ask_for(high, LOCK, 0, LONG);
		right = COMES(is_stuck(high, 0) && chain_has(0, 3, LEVEL_INTERACTIVE));
	}
	if (right) {
		thread_cancel(workers[high].thread);
		right = COMES(is_done(high)) && workers[high].result == -EAGAIN;
		thread_cancel(workers[2].thread);
		right = right && COMES(is_done(2)) && workers[2].result == -EAGAIN;
	}
	model.wants[0] = 1;
	model.wants[1] = 2;
	right = right && COMES(is_as_model()) && unlock(2, 2) && unlock(1, 2) && unlock(1, 1) && unlock(0, 1);
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* ---- who is handed it ---- */

/* Equal ones in the order in which they came, though some left from among them, and some were better or worse for a
 * while. */
KTEST(sched, check_mutex_equals)
{
	static const enum sched_class normal[] = { CLASS_NORMAL };
	bool right = hire(10, normal, 1);
	unsigned wrong;

	right = right && lock(0, 0);
	for (unsigned i = 9; i > 0 && right; i--)
		right = lock(i, 0);
	right = right && change_class(5, CLASS_INTERACTIVE) && change_class(5, CLASS_NORMAL);
	right = right && change_class(9, CLASS_INFERENCE) && change_class(9, CLASS_NORMAL);
	right = right && cancel(7) && cancel(1) && cancel(4) && lock(7, 0);
	for (unsigned i = 0; i < 7 && right; i++) {
		static const unsigned in_turn[] = { 0, 9, 8, 6, 5, 3, 2 };

		right = m[0].owner == workers[in_turn[i]].thread && unlock(in_turn[i], 0);
	}
	right = right && m[0].owner == workers[7].thread && unlock(7, 0);
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* By the level that they have when it is handed over, not when they came: their class's, or that of who waits for
 * them. */
KTEST(sched, check_mutex_level_changes)
{
	static const enum sched_class classes[] = {
		CLASS_INFERENCE, CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_NORMAL, CLASS_INFERENCE, CLASS_INTERACTIVE,
	};
	bool right = hire(6, classes, 6);
	unsigned wrong;

	for (unsigned i = 0; i < 4 && right; i++)
		right = lock(i, 0);
	right = right && lock(4, 1) && lock(4, 0);
	if (right) {                                            /* while nobody looks */
		model.cls[3] = CLASS_KERNEL;
		thread_set_class(workers[3].thread, CLASS_KERNEL);
	}
	right = right && unlock(0, 0) && m[0].owner == workers[3].thread;
	if (right) {
		model.cls[2] = CLASS_INFERENCE;
		thread_set_class(workers[2].thread, CLASS_INFERENCE);
	}
	right = right && unlock(3, 0) && m[0].owner == workers[1].thread;
	right = right && lock(5, 1) && unlock(1, 0) && m[0].owner == workers[4].thread;
	right = right && unlock(4, 0) && m[0].owner == workers[2].thread;
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* ---- a KERNEL thread that has used up its slice ---- */

static uint32_t companion_end, was_spent;
static int spent_result;

/* Who makes slices end here. */
static void keep_company(void *arg)
{
	(void)arg;
	for (const uint64_t begin = clock_ns(); !GET(companion_end) && clock_ns() - begin < 2 * LONG;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

static void spend_and_lock(void *arg)
{
	struct sched_ent *const e = thread_ent(thread_current());

	(void)arg;
	for (const uint64_t begin = clock_ns(); !GET(e->spent) && clock_ns() - begin < LONG;)
		__asm__ volatile("sti; hlt" : : : "memory");
	SET(was_spent, 1 + GET(e->spent));
	spent_result = mutex_lock(&m[0], LONG);
	if (spent_result == 0)
		spent_result = mutex_unlock(&m[0]);
}

/* It donates no more than INTERACTIVE, and is handed it after one of that level who was there before; until it is
 * woken, be it for no reason. */
KTEST(sched, check_mutex_spent)
{
	static const enum sched_class classes[] = { CLASS_INFERENCE, CLASS_INTERACTIVE };
	struct thread *company, *spender, *const *const owner = &workers[1].thread;
	uint8_t before = 0, then = 0;
	bool right = hire(2, classes, 2) && lock(0, 0) && lock(1, 0), woken = false;
	unsigned wrong;

	companion_end = was_spent = 0;
	spent_result = 77;
	company = start(CLASS_NORMAL, 0, keep_company, NULL);
	spender = start(CLASS_KERNEL, 0, spend_and_lock, NULL);
	right = right && company && spender && COMES(GET(was_spent)) && GET(was_spent) == 2;
	right = right && COMES(wanted(spender) == &m[0] && is_parked(spender));
	if (right) {
		before = donated(workers[0].thread);
		ask_for(0, UNLOCK, 0, 0);
		right = COMES(is_done(0) && is_done(1)) && m[0].owner == *owner && wanted(spender) == &m[0];
		then = donated(*owner);
	}
	SET(companion_end, 1);
	right &= gone(company);
	for (unsigned i = 0; i < 50 && right && !woken; i++) {  /* it might be spent once more before it has looked */
		thread_unpark(spender, WAKE_PLAIN);
		for (unsigned n = 0; n < 20 && !woken; n++) {
			thread_park(20 * US);
			woken = donated(*owner) == LEVEL_KERNEL;
		}
	}
	if (right)
		ask_for(1, UNLOCK, 0, 0);
	else if (spender)
		thread_cancel(spender);
	right &= gone(spender);
	right &= spent_result == 0;
	right = right && COMES(is_done(1)) && workers[1].result == 0;
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(before, LEVEL_INTERACTIVE);
	KASSERT_EQ(then, LEVEL_INTERACTIVE);
	KASSERT(woken);
	KASSERT_EQ(wrong, 0);
}

/* ---- several things before the waiter has run ---- */

static struct {
	struct thread *thread;
	uint64_t timeout, until;
	uint32_t go, wrong;
	int result, then[3];
} waiter;

/* With pause, as else a machine that counts instructions lets no other processor run for 100 ms. */
static void wait_and_look(void *arg)
{
	(void)arg;
	waiter.until = clock_ns() + waiter.timeout;
	waiter.result = mutex_lock(&m[0], waiter.timeout);
	waiter.wrong += waiter.result == -ETIMEDOUT && clock_ns() < waiter.until;
	waiter.wrong += !is_at_large() || wanted(thread_current());
	waiter.wrong += (waiter.result == 0) != (m[0].owner == thread_current());
	for (const uint64_t begin = clock_ns(); !GET(waiter.go) && clock_ns() - begin < 2 * LONG;) {
		thread_yield();
		cpu_pause();
	}
	for (unsigned i = 0; i < 3; i++)
		waiter.then[i] = thread_park(TIMEOUT_NOW);
	waiter.wrong += mutex_unlock(&m[0]) != (waiter.result == 0 ? 0 : -EPERM);
	waiter.wrong += !is_clean(thread_current());
}

/* u the owner, which is the caller, gives it back; c the waiter is cancelled; s it is given a permit by a stranger;
 * t its time is over; k, q: it becomes better or worse. */
static const char *const mixes[] = {
	"u", "c", "t", "uc", "cu", "ut", "tu", "ct", "tc", "uct", "utc", "cut", "ctu", "tuc", "tcu", "su", "us", "scu",
	"suc", "csu", "ucs", "kcu", "qtu", "cc", "ukc",
};

/* Handed over exactly if that is what it is told; a cancellation told once, now or next; no permit left. */
static bool is_mix_right(const char *mix)
{
	struct thread *const self = thread_current();
	unsigned cancelled = 0, agains = 0, zeros = 0;
	bool right, handed, unlocked = false, first = true;     /* first: nothing had happened to the waiter before u */

	leftover();
	memset(m, 0, sizeof m);
	memset(&waiter, 0, sizeof waiter);
	waiter.timeout = strchr(mix, 't') ? 300 * US : LONG;
	right = mutex_lock(&m[0], LONG) == 0;
	waiter.thread = start(CLASS_NORMAL, 0, wait_and_look, NULL);
	right &= waiter.thread && (COMES(wanted(waiter.thread) == &m[0] || waiter.result == -ETIMEDOUT));
	preempt_disable();
	for (const char *at = mix; right && *at; at++) {
		if (*at == 'u') {
			right &= mutex_unlock(&m[0]) == 0;
			right &= m[0].owner != self && donated(self) == LEVEL_NONE;
			unlocked = true;
			first &= at == mix && clock_ns() < waiter.until;
		} else if (*at == 's') {
			thread_unpark(waiter.thread, WAKE_PLAIN);
		} else if (*at == 'c') {
			thread_cancel(waiter.thread);
			cancelled = 1;
		} else if (*at != 't') {
			thread_set_class(waiter.thread, *at == 'k' ? CLASS_INTERACTIVE : CLASS_INFERENCE);
		}
		while (*at == 't' && clock_ns() < waiter.until + 20 * US)
			cpu_pause();
	}
	handed = waiter.thread && m[0].owner == waiter.thread;
	preempt_enable();
	SET(waiter.go, 1);
	right &= gone(waiter.thread);
	right &= !unlocked || !first || handed;
	right &= (waiter.result == 0) == handed;
	for (unsigned i = 0; i < 3; i++) {
		agains += waiter.then[i] == -EAGAIN;
		zeros += waiter.then[i] == 0;
	}
	right &= agains + (waiter.result == -EAGAIN) == cancelled;
	right &= zeros == 0 && waiter.then[2] == -ETIMEDOUT && waiter.wrong == 0;
	right &= (mutex_unlock(&m[0]) == 0) != unlocked;
	return right & (is_clean(self) && all_free());
}

KTEST(sched, check_mutex_mixes)
{
	const char *wrong = "none";

	for (unsigned i = 0; i < sizeof mixes / sizeof *mixes && ktest_streq(wrong, "none"); i++)
		if (!is_mix_right(mixes[i]))
			wrong = mixes[i];
	KASSERT_STREQ(wrong, "none");
	KASSERT_EQ(leftover(), 0);
}

/* ---- at the moment of a time-out, between processors ---- */

static struct timer canceller;
static struct thread *cancel_target;
static uint32_t cancel_done;
static uint64_t cancel_due;
static int cancel_err;

static void shoot_cancel(struct timer *t)
{
	(void)t;
	thread_cancel(cancel_target);
	SET(cancel_done, 1);
}

static void arm_here(void *arg)
{
	(void)arg;
	cancel_err = timer_arm(&canceller, cancel_due, shoot_cancel, NULL);
}

static uint64_t unlock_due;
static uint32_t holder_round, holder_has, holder_gave, holder_end, holder_wrong;

/* In each round it takes the mutex, says so, and gives it back when its time has come. */
static void hold_for_a_while(void *arg)
{
	(void)arg;
	for (uint32_t n = 1; !GET(holder_end); n++) {
		while (GET(holder_round) < n && !GET(holder_end))
			thread_park(5 * US);
		if (GET(holder_end))
			break;
		holder_wrong += mutex_lock(&m[0], LONG) != 0;
		SET(holder_has, n);
		while (clock_ns() < GET(unlock_due))
			cpu_pause();
		holder_wrong += mutex_unlock(&m[0]) != 0;
		holder_wrong += donated(thread_current()) != LEVEL_NONE;
		SET(holder_gave, n);
	}
}

static unsigned moment_wrong(uint32_t *seed, uint32_t n)
{
	struct thread *const self = thread_current();
	const uint64_t far = clock_ns() + LONG;
	uint64_t moment, begin, ns;
	const bool cancels = next(seed) % 4 != 0;
	unsigned wrong = 0, agains = 0;
	int result;

	SET(unlock_due, far);
	SET(holder_round, n);
	wrong += !COMES(GET(holder_has) == n);
	moment = clock_ns() + (cpu_count() == 1 ? 60 * US : 150 * US);
	cancel_done = 0;
	cancel_err = -EIO;
	cancel_due = moment + next(seed) % (6 * US);
	cancel_target = self;
	if (cancels)
		wrong += cpu_call(2 % cpu_count(), arm_here, NULL) != 0 || cancel_err;
	SET(unlock_due, moment + next(seed) % (6 * US));
	begin = clock_ns();
	ns = moment + next(seed) % (6 * US);
	ns = ns > begin ? ns - begin : 1;
	result = mutex_lock(&m[0], ns);
	wrong += result == -ETIMEDOUT && clock_ns() - begin < ns;
	wrong += !is_at_large() || wanted(self);
	if (cancels)
		wrong += !COMES_AWAKE(GET(cancel_done));
	wrong += (m[0].owner == self) != (result == 0);
	for (unsigned i = 0; i < 3; i++) {
		const int then = thread_park(TIMEOUT_NOW);

		agains += then == -EAGAIN;
		wrong += then == 0;
	}
	agains += result == -EAGAIN;
	wrong += agains != cancels;
	wrong += mutex_unlock(&m[0]) != (result == 0 ? 0 : -EPERM);
	wrong += result != 0 && result != -ETIMEDOUT && result != -EAGAIN;
	wrong += !COMES(GET(holder_gave) == n);
	return wrong + !is_clean(self) + (m[0].owner != NULL) + (m[0].waiters != NULL);
}

KTEST(sched, check_mutex_one_moment)
{
	uint32_t seed = 0x6d6f6d32, n = 0;
	struct thread *holder;
	unsigned wrong;

	leftover();
	memset(m, 0, sizeof m);
	holder_round = holder_has = holder_gave = holder_end = holder_wrong = 0;
	ktest_note("seed", seed);
	holder = start(CLASS_NORMAL, 1, hold_for_a_while, NULL);
	wrong = !holder;
	while (n < 120 && !wrong)
		wrong = moment_wrong(&seed, ++n);
	SET(unlock_due, 0);
	SET(holder_end, 1);
	wrong += !gone(holder);
	timer_cancel(&canceller);
	leftover();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(holder_wrong, 0);
	KASSERT(all_free());
}

/* ---- a load on all processors ---- */

enum { CROWD = 6, SHARED = 5, ROUNDS = 40, CROWD_CANCELLED = 3 };

static struct member {
	struct thread *thread;
	uint32_t seed, agains, locks, wrong, over;
} crowd[CROWD];

static uint32_t inside[SHARED], crowd_cancels;

/* Takes some of them, in their order, by any way; gives them back in another order. */
static void be_in_crowd(void *arg)
{
	struct member *const self = arg;
	struct thread *const t = thread_current();

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t has = 0;

		for (unsigned k = next(&self->seed) % 3; k < SHARED; k += 1 + next(&self->seed) % 3) {
			const uint32_t r = next(&self->seed) % 8;
			const uint64_t ns = r < 2 ? TIMEOUT_NOW : r < 5 ? next(&self->seed) % (40 * US) : LONG;
			const uint64_t begin = clock_ns();
			const int result = r == 0 ? mutex_trylock(&m[k]) : mutex_lock(&m[k], ns);

			self->wrong += !is_at_large();
			self->agains += result == -EAGAIN;
			self->wrong += result == -ETIMEDOUT && (r == 0 || ns == LONG || clock_ns() - begin < ns);
			self->wrong += result && result != -EAGAIN && result != (r == 0 ? -EBUSY : -ETIMEDOUT);
			if (result)
				continue;
			self->locks++;
			has |= 1u << k;
			self->wrong += m[k].owner != t || ADD(inside[k], 1) != 0;
		}
		if (next(&self->seed) % 4 == 0)
			thread_yield();
		while (has) {
			const unsigned k = next(&self->seed) % SHARED;

			if (!(has >> k & 1))
				continue;
			has &= ~(1u << k);
			self->wrong += ADD(inside[k], -1u) != 1;
			self->wrong += mutex_unlock(&m[k]) != 0 || mutex_unlock(&m[k]) != -EPERM;
		}
		self->wrong += !is_clean(t);
	}
	self->wrong += thread_park(TIMEOUT_NOW) == 0;
	SET(self->over, 1);
}

static bool crowd_is_over(uint32_t *seed)
{
	struct member *const one = &crowd[next(seed) % CROWD_CANCELLED];
	unsigned over = 0;

	for (unsigned i = 0; i < CROWD; i++)
		over += GET(crowd[i].over);
	if (one->thread) {
		crowd_cancels++;
		thread_cancel(one->thread);
	}
	return over == CROWD;
}

KTEST(sched, check_mutex_crowd)
{
	uint32_t seed = 0x63726f77, agains = 0;
	unsigned wrong = 0;
	bool over;

	leftover();
	memset(m, 0, sizeof m);
	memset(crowd, 0, sizeof crowd);
	memset(inside, 0, sizeof inside);
	crowd_cancels = 0;
	ktest_note("seed", seed);
	for (unsigned i = 0; i < CROWD; i++) {
		crowd[i].seed = next(&seed);
		crowd[i].thread = start(four[i % 4], i, be_in_crowd, &crowd[i]);
	}
	over = COMES(crowd_is_over(&seed));
	for (unsigned i = 0; i < CROWD; i++) {
		wrong += !gone(crowd[i].thread);
		wrong += crowd[i].wrong + !crowd[i].locks;
		wrong += i >= CROWD_CANCELLED && crowd[i].agains;
		agains += crowd[i].agains;
	}
	KASSERT(over);
	KASSERT_EQ(wrong, 0);
	KASSERT(agains <= crowd_cancels);
	KASSERT(all_free());
	KASSERT(is_clean(thread_current()));
	KASSERT_EQ(leftover(), 0);
}

/* ---- what is refused changes nothing; what never ends ---- */

KTEST(sched, check_mutex_refused)
{
	static const enum sched_class classes[] = { CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_NORMAL };
	struct thread *const self = thread_current();
	bool right = hire(3, classes, 3) && lock(0, 0) && lock(1, 0);
	unsigned wrong = 0, agains;

	/* by others while one waits: nobody is told, nothing is given */
	wrong += mutex_unlock(&m[0]) != -EPERM;
	wrong += mutex_trylock(&m[0]) != -EBUSY;
	wrong += mutex_lock(&m[0], TIMEOUT_NOW) != -ETIMEDOUT;
	wrong += !is_clean(self);
	ask_for(2, UNLOCK, 0, 0);
	right = right && COMES(is_as_model()) && workers[2].result == -EPERM;
	ask_for(2, TRY, 0, 0);
	right = right && COMES(is_as_model()) && workers[2].result == -EBUSY;
	/* by the owner, whatever it would wait for */
	ask_for(0, TRY, 0, 0);
	right = right && COMES(is_as_model()) && workers[0].result == -EBUSY;
	for (unsigned i = 0; i < 3; i++) {
		ask_for(0, LOCK, 0, i == 0 ? TIMEOUT_NONE : i == 1 ? TIMEOUT_NOW : 10 * US);
		right = right && COMES(is_as_model()) && workers[0].result == -EINVAL;
	}
	/* A cancellation is told here or by the next wait, of a mutex that is free, and of one that is not. */
	thread_cancel(self);
	agains = mutex_lock(&m[1], LONG) == -EAGAIN;
	wrong += agains != (m[1].owner != self);
	wrong += agains + leftover() != 1;
	wrong += !agains && mutex_unlock(&m[1]) != 0;
	thread_cancel(self);
	agains = mutex_lock(&m[0], TIMEOUT_NOW) == -EAGAIN;
	wrong += agains + leftover() != 1;
	thread_cancel(self);
	wrong += mutex_lock(&m[0], LONG) != -EAGAIN;
	wrong += leftover() != 0;
	right = right && COMES(is_as_model()) && unlock(0, 0) && unlock(1, 0);
	wrong += dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* What is added to the clock goes over: it is not over at once, nor by a permit of a stranger. */
KTEST(sched, check_mutex_for_ever)
{
	static const enum sched_class normal[] = { CLASS_NORMAL };
	const uint64_t now = clock_ns();
	const uint64_t lengths[] = { TIMEOUT_NONE, TIMEOUT_NONE - 1, TIMEOUT_NONE - now, 1ull << 63, INT64_MAX };
	enum { N = sizeof lengths / sizeof *lengths };
	bool right = hire(N + 1, normal, 1) && lock(0, 0);
	unsigned wrong;

	for (unsigned i = 1; i <= N && right; i++) {
		model.wants[i] = 0;
		model.came[i] = ++model.arrivals;
		ask_for(i, LOCK, 0, lengths[i - 1]);
		right = COMES(is_as_model());
	}
	for (unsigned i = 1; i <= N && right; i++)
		thread_unpark(workers[i].thread, WAKE_BOOST);
	for (unsigned i = 0; i < 3; i++)
		thread_park(100 * US);
	right = right && COMES(is_as_model()) && cancel(2) && cancel(5) && unlock(0, 0) && unlock(1, 0);
	right = right && cancel(4) && unlock(3, 0);
	wrong = dismiss();
	KASSERT(right);
	KASSERT_EQ(wrong, 0);
}

/* ---- where one may not sleep, whether one would or not ---- */

static void lock_with_interrupts_off(void *arg)
{
	(void)arg;
	__asm__ volatile("cli" : : : "memory");
	mutex_lock(&m[0], TIMEOUT_NONE);
}

static void lock_held_by_caller(void *arg)
{
	(void)arg;
	preempt_disable();
	mutex_lock(&m[1], TIMEOUT_NOW);
}

KTEST(sched, check_mutex_atomic)
{
	char why[64] = "", again[64] = "";
	int first, second;
	bool clean;

	leftover();
	memset(m, 0, sizeof m);
	first = panic_catch(lock_with_interrupts_off, NULL, why, sizeof why);
	clean = all_free() && is_at_large() && is_clean(thread_current());
	clean &= mutex_trylock(&m[1]) == 0;
	second = panic_catch(lock_held_by_caller, NULL, again, sizeof again);
	clean &= m[1].owner == thread_current() && is_at_large();
	clean &= mutex_unlock(&m[1]) == 0;
	KASSERT_EQ(first, 1);
	KASSERT_STREQ(why, "sched: sleep in atomic context");
	KASSERT_EQ(second, 1);
	KASSERT_STREQ(again, "sched: sleep in atomic context");
	KASSERT(clean);
	KASSERT(all_free());
}
