/* Further tests of sched/timer.c: many that are due at one moment, functions that arm, cancel and overwrite, a
 * random load against a model, what is far away, interrupts that are lost or come for nothing, and several
 * processors that arm and cancel one timer. See spec/sched.md and include/sched.h, "timer".
 *
 * * * * * * * We may be stopped at any time, between two instructions or for tens of milliseconds: what must not
 * be early is looked at every time, and what must come has time. Each test cancels all of its timers before it
 * says what was wrong. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "sched.h"
#include "string.h"

#define US 1000ull
#define MS 1000000ull
#define FAR (3600000 * MS)
#define SEED 0x74696d65u

enum { IF = 1 << 9, LOOKS = 100000, SHOTS = 160 };

/* Waits until it is so, and whether it is. Not only time is counted: if we are stopped there is none to look.
 * Where QEMU counts instructions, `pause` lets other processors in, which takes as long as a thousand
 * instructions. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		for (unsigned looks_ = 0; !(condition) && (looks_ < LOOKS || clock_ns() - begin_ < 2000 * MS); \
		     looks_++) \
			if (looks_ % 16 == 0) \
				cpu_pause(); \
		(condition); \
	})

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

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

static uint64_t interrupts_off(void)
{
	const uint64_t flags = flags_read();

	__asm__ volatile("cli" : : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

static void linger(uint64_t ns)
{
	const uint64_t begin = clock_ns();

	while (clock_ns() - begin < ns)
		;
}

/* ---- timers that are looked at when they fire ---- */

static struct shot {
	struct timer t;
	uint64_t due;
	uint32_t cpu, fired;            /* where it was armed */
} shots[SHOTS];

/* All that fired, and of these: before its time, elsewhere than where it was armed, after one on this processor
 * that was due later, with interrupts on, and a second time. */
static struct { uint32_t fired, early, elsewhere, disorder, enabled, twice; } seen;
static uint64_t last_due[CPU_MAX];

static void note(struct timer *t)
{
	struct shot *const s = t->arg;
	const uint32_t cpu = cpu_self()->index;

	ADD(seen.early, clock_ns() < s->due);
	ADD(seen.elsewhere, cpu != s->cpu);
	ADD(seen.disorder, s->due < last_due[cpu]);
	ADD(seen.enabled, (flags_read() & IF) != 0);
	ADD(seen.twice, ADD(s->fired, 1) > 0);
	last_due[cpu] = s->due;
	ADD(seen.fired, 1);
}

static int arm_with(struct shot *s, uint64_t due, void (*fn)(struct timer *))
{
	s->due = due;
	s->cpu = cpu_self()->index;
	return timer_arm(&s->t, due, fn, s);
}

static int arm(struct shot *s, uint64_t due)
{
	return arm_with(s, due, note);
}

/* What nobody may call. */
static uint32_t called;

static void never(struct timer *t)
{
	(void)t;
	ADD(called, 1);
}

static void begin(void)
{
	memset(shots, 0, sizeof shots);
	memset(&seen, 0, sizeof seen);
	memset(last_due, 0, sizeof last_due);
	called = 0;
}

/* Nothing of ours is armed any more; how many still were. */
static unsigned end(void)
{
	unsigned armed = 0;

	for (unsigned i = 0; i < SHOTS; i++)
		armed += timer_cancel(&shots[i].t) == 0;
	return armed;
}

/* ---- at one moment ---- */

/* More than one interrupt fires, in three moments, one of them long over: each once, in order, none before its
 * time. */
KTEST(sched, check_timer_equal_due)
{
	unsigned refused = 0, left;
	uint64_t flags, base;
	bool all;

	begin();
	flags = interrupts_off();
	base = clock_ns() + 300 * US;
	for (unsigned i = 0; i < SHOTS; i++)
		refused += arm(&shots[i], i % 4 == 0 ? i / 4 % 2 : i % 4 == 1 ? base + 100 * US : base) != 0;
	interrupts_restore(flags);
	all = COMES(GET(seen.fired) >= SHOTS);
	linger(200 * US);
	left = end();
	KASSERT_EQ(refused, 0);
	KASSERT(all);
	KASSERT_EQ(seen.fired, SHOTS);
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(seen.disorder, 0);
	KASSERT_EQ(seen.elsewhere, 0);
	KASSERT_EQ(seen.enabled, 0);
	KASSERT_EQ(seen.twice, 0);
	KASSERT_EQ(left, 0);
}

static uint32_t not_cancelled;

static void cancel_partner(struct timer *t)
{
	struct shot *const s = t->arg;

	note(t);
	not_cancelled += timer_cancel(&shots[(s - shots) ^ 1].t) != 0;
}

/* Pairs that are all due at the same moment, and over by the time of the interrupt: who fires first takes the
 * other one off, which is armed until then and never fires. */
KTEST(sched, check_timer_pairs)
{
	unsigned refused = 0, wrong = 0, left;
	uint64_t flags, due;
	bool all;

	begin();
	not_cancelled = 0;
	flags = interrupts_off();
	due = clock_ns() + 100 * US;
	for (unsigned i = 0; i < SHOTS; i++)
		refused += arm_with(&shots[i], due, cancel_partner) != 0;
	while (clock_ns() <= due)
		;
	interrupts_restore(flags);
	all = COMES(GET(seen.fired) >= SHOTS / 2);
	linger(500 * US);
	left = end();
	for (unsigned i = 0; i < SHOTS; i += 2)
		wrong += shots[i].fired + shots[i + 1].fired != 1;
	KASSERT_EQ(refused, 0);
	KASSERT(all);
	KASSERT_EQ(seen.fired, SHOTS / 2);
	KASSERT_EQ(not_cancelled, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(left, 0);
}

enum { FIRST, LATER, BUSY, PAST, FRESH, FORGOTTEN, ANSWERS = 11 };

static int answers[ANSWERS];

static void rearrange(struct timer *t)
{
	note(t);
	answers[0] = timer_cancel(t);
	answers[1] = timer_cancel(&shots[LATER].t);
	answers[2] = arm(&shots[LATER], clock_ns() + 200 * US);
	answers[3] = timer_arm(&shots[BUSY].t, clock_ns() + FAR, rearrange, NULL);
	answers[4] = timer_cancel(&shots[PAST].t);
	answers[5] = timer_cancel(&shots[PAST].t);
	answers[6] = arm(&shots[PAST], 0);
	answers[7] = arm(&shots[FRESH], clock_ns());
	answers[8] = arm(&shots[FORGOTTEN], 0);
	answers[9] = timer_cancel(&shots[FORGOTTEN].t);
	answers[10] = arm(t->arg, clock_ns() + 100 * US);
}

/* The first of some that are due arms and cancels the others: each fires as it was armed last, once. */
KTEST(sched, check_timer_rearranged)
{
	static const int expected[ANSWERS] = { -ENOENT, 0, 0, -EBUSY, 0, -ENOENT, 0, 0, 0, 0, 0 };
	static const uint32_t times[] = { [FIRST] = 2, [LATER] = 1, 1, 1, [FRESH] = 1, [FORGOTTEN] = 0 };
	unsigned refused = 0, wrong = 0, left;
	uint64_t flags, due;
	bool all;

	begin();
	memset(answers, 0x55, sizeof answers);
	flags = interrupts_off();
	due = clock_ns() + 50 * US;
	refused += arm(&shots[LATER], due + 1) != 0;
	refused += arm(&shots[BUSY], due + 1) != 0;
	refused += arm_with(&shots[FIRST], due, rearrange) != 0;
	refused += arm(&shots[PAST], due + 1) != 0;
	while (clock_ns() <= due + 1)
		;
	interrupts_restore(flags);
	all = COMES(GET(seen.fired) >= 6);
	linger(300 * US);
	left = end();
	for (unsigned i = 0; i < ANSWERS; i++)
		if (answers[i] != expected[i]) {
			ktest_note("answer", i);
			wrong++;
		}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(all);
	for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
		KASSERT_EQ(shots[i].fired, times[i]);
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(left, 0);
}

enum { RAW = 99 };

static struct timer raw[RAW];
static uint32_t raw_fired[RAW], raw_refused, raw_count;

static void second_life(struct timer *t)
{
	raw_fired[t - raw]++;
	memset(t, 0x33, sizeof *t);
	ADD(raw_count, 1);
}

static void overwrite(struct timer *t)
{
	static const uint8_t fills[] = { 0xff, 0x5a, 0 };
	const unsigned i = (unsigned)(t - raw);

	raw_fired[i]++;
	memset(t, fills[i % 3], sizeof *t);
	if (i % 3 == 2)
		raw_refused += timer_arm(t, 0, second_life, NULL) != 0;
	ADD(raw_count, 1);
}

/* A function does with its timer's memory what it likes: overwrites it, or makes another timer of it. Nobody looks
 * at it afterwards, or writes to it, and those behind it fire. */
KTEST(sched, check_timer_overwritten)
{
	unsigned refused = 0, wrong = 0, touched = 0;
	uint64_t flags, due;
	bool all;

	memset(raw, 0, sizeof raw);
	memset(raw_fired, 0, sizeof raw_fired);
	raw_refused = raw_count = 0;
	flags = interrupts_off();
	due = clock_ns() + 50 * US;
	for (unsigned i = 0; i < RAW; i++)
		refused += timer_arm(&raw[i], due + i % 2, overwrite, NULL) != 0;
	interrupts_restore(flags);
	all = COMES(GET(raw_count) >= RAW + RAW / 3);
	linger(100 * US);
	for (unsigned i = 0; i < RAW; i++) {
		static const uint8_t fills[] = { 0xff, 0x5a, 0x33 };
		const uint32_t wanted = i % 3 == 2 ? 2 : 1;

		wrong += raw_fired[i] != wanted;
		if (raw_fired[i] < wanted)
			timer_cancel(&raw[i]);
		for (unsigned k = 0; k < sizeof raw[i]; k++)
			touched += ((const uint8_t *)&raw[i])[k] != fills[i % 3];
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(raw_refused, 0);
	KASSERT(all);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(touched, 0);
}

/* ---- a random load against a model ---- */

enum { POOL = 100 };

static struct {
	struct timer t;
	uint64_t due;
	bool armed;
} pool[POOL];
static struct { uint32_t wrong, early, disorder, fired, busy, cancelled, acts; } tally;
static uint32_t pool_random, pool_armed;

static void pool_act(void);

/* Of those that are armed none is due before it. */
static void pool_fire(struct timer *t)
{
	const unsigned i = (unsigned)(uint64_t)t->arg;

	tally.early += clock_ns() < pool[i].due;
	tally.wrong += t != &pool[i].t || !pool[i].armed;
	for (unsigned k = 0; k < POOL; k++)
		tally.disorder += pool[k].armed && pool[k].due < pool[i].due;
	pool[i].armed = false;
	ADD(pool_armed, -1);
	tally.fired++;
	if (tally.acts) {
		tally.acts--;
		pool_act();
	}
}

/* Interrupts are off. */
static void pool_act(void)
{
	const uint32_t r = next(&pool_random);
	const unsigned i = (r >> 8) % POOL;
	int err;

	if (r & 3) {
		const uint64_t due = r & 4 ? clock_ns() + next(&pool_random) % (400 * US) : clock_ns() - (r >> 4) % US;

		err = timer_arm(&pool[i].t, due, pool_fire, (void *)(uint64_t)i);
		tally.wrong += err != (pool[i].armed ? -EBUSY : 0);
		tally.busy += err == -EBUSY;
		if (!err) {
			pool[i].due = due;
			pool[i].armed = true;
			ADD(pool_armed, 1);
		}
	} else {
		err = timer_cancel(&pool[i].t);
		tally.wrong += err != (pool[i].armed ? 0 : -ENOENT);
		tally.cancelled += err == 0;
		if (!err) {
			pool[i].armed = false;
			ADD(pool_armed, -1);
		}
	}
}

/* Armed and cancelled at random, from functions too: who fires is one that is armed, on time, and the first of
 * all. */
KTEST(sched, check_timer_random)
{
	uint32_t random = SEED;
	unsigned left = 0;
	uint64_t flags;
	bool all;

	ktest_note("seed", SEED);
	memset(pool, 0, sizeof pool);
	memset(&tally, 0, sizeof tally);
	pool_random = SEED;
	pool_armed = 0;
	tally.acts = 1000;
	for (unsigned round = 0; round < 40; round++) {
		flags = interrupts_off();
		for (unsigned i = 0; i < 25; i++)
			pool_act();
		interrupts_restore(flags);
		linger(next(&random) % (100 * US));
	}
	flags = interrupts_off();
	tally.acts = 0;
	interrupts_restore(flags);
	all = COMES(GET(pool_armed) == 0);
	linger(50 * US);
	for (unsigned i = 0; i < POOL; i++)
		left += timer_cancel(&pool[i].t) != -ENOENT;
	ktest_note("fired", tally.fired);
	KASSERT(all);
	KASSERT_EQ(tally.wrong, 0);
	KASSERT_EQ(tally.early, 0);
	KASSERT_EQ(tally.disorder, 0);
	KASSERT_EQ(left, 0);
	KASSERT(tally.fired > 0);
	KASSERT(tally.busy > 0);
	KASSERT(tally.cancelled > 0);
}

/* ---- far away, and interrupts that come for nothing or not at all ---- */

enum { DISTANCES = 7, FARS = DISTANCES + 2 };

static uint64_t far_due(unsigned i)
{
	static const uint64_t distances[DISTANCES] = {
		4200 * MS, 4400 * MS, 10000 * MS, FAR, 1ul << 32, 1ul << 62, 1ul << 63,
	};

	return i < DISTANCES ? clock_ns() + distances[i] : UINT64_MAX - (FARS - 1 - i);
}

/* Further than the one-shot's counter reaches, up to the end of time: they do not fire however often the interrupt
 * comes, what is near fires before them and after them, and they are there to be cancelled. */
KTEST(sched, check_timer_far)
{
	enum { NEAR = FARS };
	unsigned refused = 0, absent = 0, fired = 0, lost = 0, left;

	begin();
	for (unsigned i = 0; i < FARS && !absent; i++) {        /* alone */
		refused += arm(&shots[i], far_due(i)) != 0;
		apic_send(apic_id(), VEC_TIMER);
		refused += arm(&shots[NEAR + 9 + i], clock_ns() + 10 * US) != 0;
		absent += !COMES(GET(shots[NEAR + 9 + i].fired) > 0);
		lost += timer_cancel(&shots[i].t) != 0;
	}
	for (unsigned order = 0; order < 2 && !absent; order++) {       /* the furthest first, and last */
		for (unsigned k = 0; k < FARS; k++) {
			const unsigned i = order ? k : FARS - 1 - k;


			refused += arm(&shots[i], far_due(i)) != 0;
		}
		for (unsigned i = 0; i < 4 && !absent; i++) {
			const uint32_t before = GET(seen.fired);

			apic_send(apic_id(), VEC_TIMER);
			refused += arm(&shots[NEAR + 4 * order + i], clock_ns() + i * 40 * US) != 0;
			absent += !COMES(GET(seen.fired) > before);
			apic_send(apic_id(), VEC_TIMER);
			linger(20 * US);
		}
		for (unsigned k = 0; k < FARS; k++) {
			const unsigned i = k * 4 % FARS;                /* all, from the midst */

			fired += shots[i].fired;
			lost += timer_cancel(&shots[i].t) != 0;
			lost += timer_cancel(&shots[i].t) != -ENOENT;
		}
	}
	refused += arm(&shots[NEAR + 8], clock_ns() + 50 * US) != 0;
	absent += !COMES(GET(shots[NEAR + 8].fired) > 0);
	left = end();
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(fired, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(seen.fired, 9 + FARS);
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(seen.twice, 0);
	KASSERT_EQ(left, 0);
}

/* What the interrupt was asked for is cancelled, at once or after others; those behind it fire all the same, on
 * time. */
KTEST(sched, check_timer_earliest_cancelled)
{
	enum { ROUNDS = 12, EACH = 5, OFF = 3 };
	uint32_t random = SEED;
	unsigned refused = 0, absent = 0, lost = 0, left;

	ktest_note("seed", SEED);
	begin();
	for (unsigned round = 0; round < ROUNDS && !absent; round++) {
		struct shot *const s = &shots[round * EACH];
		const uint64_t flags = interrupts_off(), now = clock_ns();

		for (unsigned i = 0; i < EACH; i++)
			refused += arm(&s[i], now + (i + 1) * 40 * US + next(&random) % (40 * US)) != 0;
		for (unsigned i = 0; i < OFF; i++)
			lost += timer_cancel(&s[round % 2 ? i : OFF - 1 - i].t) != 0;
		interrupts_restore(flags);
		absent += !COMES(GET(seen.fired) >= (round + 1) * (EACH - OFF));
	}
	linger(100 * US);
	left = end();
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(seen.fired, ROUNDS * (EACH - OFF));
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(seen.disorder, 0);
	KASSERT_EQ(left, 0);
}

enum { HERE = 8 };
_Static_assert(CPU_MAX * HERE <= SHOTS, "some for each processor");

/* On the processor that runs it: its own shots, one every so many nanoseconds. */
static uint32_t refused_there;

static void arm_some(void *arg)
{
	const unsigned cpu = cpu_self()->index;
	const uint64_t now = clock_ns();

	for (unsigned i = 0; i < HERE; i++)
		ADD(refused_there, arm(&shots[cpu * HERE + i], now + (i + 1) * *(const uint64_t *)arg) != 0);
}

/* Interrupts without a reason on every processor, while there is something to fire and while there is not. */
KTEST(sched, check_timer_stray)
{
	static uint64_t spacing = 300 * US;
	unsigned failed = 0, left;
	bool all;

	begin();
	refused_there = 0;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			cpu_send(cpu, VEC_TIMER);
	failed += cpu_on_each(arm_some, &spacing) != 0;
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			cpu_send(cpu, VEC_TIMER);
		linger(12 * US);
	}
	all = COMES(GET(seen.fired) >= HERE * cpu_count());
	for (unsigned i = 0; i < 4; i++)
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			cpu_send(cpu, VEC_TIMER);
	linger(50 * US);
	left = end();
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(refused_there, 0);
	KASSERT(all);
	KASSERT_EQ(seen.fired, HERE * cpu_count());
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(seen.elsewhere, 0);
	KASSERT_EQ(seen.disorder, 0);
	KASSERT_EQ(seen.twice, 0);
	KASSERT_EQ(left, 0);
}

static uint32_t eaten[CPU_MAX];

static void eat(struct trap_frame *f)
{
	(void)f;
	ADD(eaten[cpu_self()->index], 1);
	apic_eoi();
}

static bool all_eaten(void)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		if (!GET(eaten[cpu]))
			return false;
	return true;
}

static void ask_at_once(void *arg)
{
	(void)arg;
	clock_oneshot(0);
}

/* Whose the vector becomes. */
static bool give_vector(trap_handler to)
{
	const uint64_t flags = interrupts_off();
	bool given = true;

	trap_clear_handler(VEC_TIMER);
	if (to)
		given = trap_set_handler(VEC_TIMER, to) == 0;
	interrupts_restore(flags);
	return given;
}

/* Somebody else has the vector for a while, and the interrupts that were asked for are lost on every processor. He
 * gives it back with one for each: then what was due fires, what was not does later, and all is as before. */
KTEST(sched, check_timer_lost)
{
	static uint64_t spacing = 150 * US;
	const trap_handler owner = trap_get_handler(VEC_TIMER);
	unsigned failed = 0, left;
	bool taken, back, lost, all, again;
	uint32_t meanwhile;

	begin();
	refused_there = 0;
	memset(eaten, 0, sizeof eaten);
	taken = give_vector(eat);
	failed += cpu_on_each(arm_some, &spacing) != 0;
	lost = COMES(all_eaten());
	linger(3 * spacing);
	meanwhile = GET(seen.fired);
	back = give_vector(owner);
	failed += cpu_on_each(ask_at_once, NULL) != 0;
	all = COMES(GET(seen.fired) >= HERE * cpu_count());
	linger(50 * US);
	failed += cpu_on_each(arm_some, &spacing) != 0;
	again = COMES(GET(seen.fired) >= 2 * HERE * cpu_count());
	left = end();
	KASSERT(owner != NULL);
	KASSERT(taken);
	KASSERT(back);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(refused_there, 0);
	KASSERT(lost);
	KASSERT_EQ(meanwhile, 0);
	KASSERT(all);
	KASSERT(again);
	KASSERT_EQ(seen.fired, 2 * HERE * cpu_count());
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(seen.elsewhere, 0);
	KASSERT_EQ(left, 0);
}

/* ---- how many ---- */

enum { SPARE = 16 };

static struct timer crowd[TIMER_MAX + 1];
static uint64_t crowd_due[TIMER_MAX + 1];
static struct {
	uint32_t armed, fired, early, disorder, wrong, others, waited, full, done;
	uint64_t last;
	int err;
} mass;
static struct timer aside[CPU_MAX];

static void crowd_fire(struct timer *t)
{
	const uint64_t due = crowd_due[t - crowd];

	mass.early += clock_ns() < due;
	mass.disorder += due < mass.last;
	mass.last = due;
	ADD(mass.fired, 1);
}

static void aside_fire(struct timer *t)
{
	(void)t;
	ADD(mass.others, 1);
}

/* The boot processor has as many as it may, and the others one more each, while it has. Interrupts are off
 * everywhere. */
static void fill(void *arg)
{
	const unsigned cpu = cpu_self()->index;
	uint32_t random = SEED;

	(void)arg;
	if (cpu) {
		(void)COMES(GET(mass.full));
		ADD(mass.wrong, timer_arm(&aside[cpu], 0, aside_fire, NULL) != 0);
		ADD(mass.done, 1);
		return;
	}
	for (mass.armed = 0; mass.armed <= TIMER_MAX; mass.armed++) {
		crowd_due[mass.armed] = clock_ns() + next(&random) % MS;
		mass.err = timer_arm(&crowd[mass.armed], crowd_due[mass.armed], crowd_fire, NULL);
		if (mass.err)
			break;
	}
	if (mass.err) {
		mass.wrong += timer_cancel(&crowd[mass.armed]) != -ENOENT;      /* refused is not armed */
		mass.wrong += timer_arm(&crowd[mass.armed], 0, crowd_fire, NULL) != -ENOSPC;
		mass.wrong += timer_cancel(&crowd[0]) != 0;                     /* room for just one */
		mass.wrong += timer_arm(&crowd[0], crowd_due[0], crowd_fire, NULL) != 0;
		mass.wrong += timer_arm(&crowd[mass.armed], 0, crowd_fire, NULL) != -ENOSPC;
	}
	__atomic_store_n(&mass.full, 1, __ATOMIC_SEQ_CST);
	mass.waited = COMES(GET(mass.done) == cpu_count() - 1);
	for (unsigned i = 1; i <= SPARE; i++)           /* for whoever arms one before ours fire */
		mass.wrong += timer_cancel(&crowd[i]) != 0;
}

/* All that there may be fire in order; while one processor is full the others are not, and afterwards it is empty.
 * */
KTEST(sched, check_timer_full_fires)
{
	unsigned left = 0;
	bool all, others, again;
	int failed, err;

	memset(crowd, 0, sizeof crowd);
	memset(aside, 0, sizeof aside);
	memset(&mass, 0, sizeof mass);
	failed = cpu_on_each(fill, NULL);
	all = COMES(GET(mass.fired) + SPARE >= mass.armed);
	others = COMES(GET(mass.others) >= cpu_count() - 1);
	err = timer_arm(&aside[0], 0, aside_fire, NULL);
	again = COMES(GET(mass.others) >= cpu_count());
	for (unsigned i = 0; i <= TIMER_MAX; i++)
		left += timer_cancel(&crowd[i]) != -ENOENT;
	for (unsigned i = 0; i < CPU_MAX; i++)
		left += timer_cancel(&aside[i]) != -ENOENT;
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(mass.err, -ENOSPC);
	KASSERT(mass.armed >= TIMER_MAX - 8);           /* the kernel may have some itself */
	KASSERT(mass.armed <= TIMER_MAX);
	KASSERT(mass.waited);
	KASSERT_EQ(mass.wrong, 0);
	KASSERT(all);
	KASSERT(others);
	KASSERT_EQ(mass.fired, mass.armed - SPARE);
	KASSERT_EQ(mass.early, 0);
	KASSERT_EQ(mass.disorder, 0);
	KASSERT_EQ(err, 0);
	KASSERT(again);
	KASSERT_EQ(left, 0);
}

/* ---- what is refused ---- */

/* A timer that is armed stays as it was when it is armed again; interrupts, and the preempt count, are what they
 * were after any call, whatever it says. */
KTEST(sched, check_timer_refused)
{
	unsigned wrong = 0, other = 0, flagged = 0, left;
	bool fired;

	begin();
	for (unsigned off = 0; off < 2; off++) {
		struct shot *const s = &shots[off];
		const uint64_t flags = off ? interrupts_off() : flags_read(), wanted = off ? 0 : IF;
		const uint32_t count = cpu_self()->preempt_count;

		wrong += timer_cancel(&s->t) != -ENOENT;
		flagged += (flags_read() & IF) != wanted || cpu_self()->preempt_count != count;
		wrong += arm(s, clock_ns() + FAR) != 0;
		flagged += (flags_read() & IF) != wanted || cpu_self()->preempt_count != count;
		for (unsigned i = 0; i < 3; i++) {
			wrong += timer_arm(&s->t, i ? clock_ns() + 2 * FAR : 0, never, NULL) != -EBUSY;
			flagged += (flags_read() & IF) != wanted || cpu_self()->preempt_count != count;
			other += s->t.due_ns != s->due || s->t.fn != note || s->t.arg != s;
		}
		wrong += timer_cancel(&s->t) != 0;
		flagged += (flags_read() & IF) != wanted || cpu_self()->preempt_count != count;
		wrong += timer_cancel(&s->t) != -ENOENT;
		flagged += (flags_read() & IF) != wanted || cpu_self()->preempt_count != count;
		interrupts_off();
		wrong += arm(s, clock_ns() + 30 * US) != 0;
		wrong += timer_arm(&s->t, 0, never, NULL) != -EBUSY;
		interrupts_restore(flags);
	}
	fired = COMES(GET(seen.fired) >= 2);
	left = end();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(flagged, 0);
	KASSERT_EQ(called, 0);
	KASSERT(fired);
	KASSERT_EQ(seen.fired, 2);
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(left, 0);
}

/* ---- other processors ---- */

static struct timer target;
static uint64_t target_in;              /* ns from when it is armed; FAR is far */
static uint32_t began, ended, target_refused;

/* Takes a little, so that it can be met at it. */
static void take_time(struct timer *t)
{
	(void)t;
	ADD(began, 1);
	clock_delay_ns(4 * US);
	ADD(ended, 1);
}

static void arm_target(void *arg)
{
	(void)arg;
	ADD(target_refused, timer_arm(&target, clock_ns() + target_in, take_time, NULL) != 0);
}

/* Cancelled at about the time that it is due, or has just begun, on every processor: either it has been called and
 * has returned by then, or it was armed and is never called. */
KTEST(sched, check_timer_cancel_races)
{
	enum { ROUNDS = 400 };
	uint32_t random = SEED;
	unsigned failed = 0, absent = 0, wrong = 0, running = 0, cancelled = 0, fired = 0;

	ktest_note("seed", SEED);
	memset(&target, 0, sizeof target);
	began = ended = target_refused = 0;
	for (unsigned round = 0; round < ROUNDS && !wrong && !running && !absent; round++) {
		const uint32_t before = GET(began);
		uint32_t b, e;
		int err;

		target_in = round % 16 == 0 ? FAR : next(&random) % (6 * US);
		failed += cpu_call(round % cpu_count(), arm_target, NULL) != 0;
		if (round % 4 == 1)
			absent += !COMES(GET(began) != before);
		else
			linger(next(&random) % (round % 4 == 2 ? 100 * US : 8 * US));
		err = timer_cancel(&target);
		b = GET(began);
		e = GET(ended);
		running += b != e;
		wrong += err != 0 && err != -ENOENT;
		wrong += e - before != (err != 0);
		wrong += timer_cancel(&target) != -ENOENT;
		cancelled += err == 0;
		fired += err != 0;
	}
	linger(100 * US);
	ktest_note("cancelled", cancelled);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(target_refused, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(running, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(cancelled > 0);
	KASSERT_EQ(began, fired);
}

enum { PERIODS = 300 };

static uint32_t periods, period_refused;

static void periodic(struct timer *t)
{
	if (ADD(periods, 1) < PERIODS)
		period_refused += timer_arm(t, clock_ns() + 20 * US, periodic, NULL) != 0;
}

static void arm_periodic(void *arg)
{
	(void)arg;
	ADD(target_refused, timer_arm(&target, clock_ns(), periodic, NULL) != 0);
}

/* One that arms itself anew each time, on every processor: after it was cancelled, in whatever moment, it comes no
 * more. */
KTEST(sched, check_timer_cancel_periodic)
{
	enum { ROUNDS = 60 };
	uint32_t random = SEED;
	unsigned failed = 0, wrong = 0, more = 0;

	ktest_note("seed", SEED);
	memset(&target, 0, sizeof target);
	target_refused = period_refused = 0;
	for (unsigned round = 0; round < ROUNDS && !wrong && !more; round++) {
		uint32_t n;
		int err;

		periods = 0;
		failed += cpu_call(round % cpu_count(), arm_periodic, NULL) != 0;
		linger(next(&random) % (60 * US));
		err = timer_cancel(&target);
		n = GET(periods);
		wrong += err != (n < PERIODS ? 0 : -ENOENT);
		linger(40 * US);
		more += GET(periods) - n;
		wrong += timer_cancel(&target) != -ENOENT;
	}
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(target_refused, 0);
	KASSERT_EQ(period_refused, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(more, 0);
}

static void arm_far(void *arg)
{
	ADD(refused_there, arm(arg, clock_ns() + FAR) != 0);
}

static void arm_now(void *arg)
{
	ADD(refused_there, arm(arg, clock_ns()) != 0);
}

/* Armed on one processor and cancelled from here, then armed on another: it fires there. */
KTEST(sched, check_timer_moves)
{
	const unsigned n = cpu_count();
	unsigned failed = 0, lost = 0, absent = 0, rounds = 0, left;

	begin();
	refused_there = 0;
	for (unsigned from = 0; from < n && !absent; from++)
		for (unsigned to = 0; to < n && !absent; to++, rounds++) {
			failed += cpu_call(from, arm_far, &shots[0]) != 0;
			failed += cpu_call(from, arm_far, &shots[1]) != 0;
			lost += timer_cancel(&shots[0].t) != 0;
			failed += cpu_call(to, arm_now, &shots[0]) != 0;
			absent += !COMES(GET(seen.fired) > rounds);
			lost += timer_cancel(&shots[0].t) != -ENOENT;
			lost += timer_cancel(&shots[1].t) != 0;
		}
	left = end();
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(refused_there, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(seen.fired, n * n);
	KASSERT_EQ(seen.elsewhere, 0);
	KASSERT_EQ(seen.early, 0);
	KASSERT_EQ(left, 0);
}

/* All at the same time, with interrupts off. Where there is no such time they come one after the other. */
static uint32_t arrived;

static void meet(void)
{
	ADD(arrived, 1);
	for (unsigned looks = 0; GET(arrived) < cpu_count() && looks < LOOKS; looks++)
		cpu_pause();
}

static int results[CPU_MAX];

static void arm_together(void *arg)
{
	(void)arg;
	meet();
	results[cpu_self()->index] = timer_arm(&target, clock_ns() + FAR, take_time, NULL);
	ADD(refused_there, arm(&shots[cpu_self()->index], 0) != 0);
}

static void cancel_together(void *arg)
{
	(void)arg;
	meet();
	results[cpu_self()->index] = timer_cancel(&target);
}

static unsigned count_results(int wanted)
{
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		n += results[cpu] == wanted;
	return n;
}

/* All processors arm one timer at once: one of them has it, the others are told so. All cancel it: one has taken
 * it off. */
KTEST(sched, check_timer_all_at_once)
{
	enum { ROUNDS = 30 };
	const unsigned n = cpu_count();
	unsigned failed = 0, wrong = 0, absent = 0, left;

	begin();
	memset(&target, 0, sizeof target);
	refused_there = 0;
	for (unsigned round = 0; round < ROUNDS && !absent; round++) {
		arrived = 0;
		failed += cpu_on_each(arm_together, NULL) != 0;
		wrong += count_results(0) != 1 || count_results(-EBUSY) != n - 1;
		absent += !COMES(GET(seen.fired) >= (round + 1) * n);
		arrived = 0;
		failed += cpu_on_each(cancel_together, NULL) != 0;
		wrong += count_results(0) != 1 || count_results(-ENOENT) != n - 1;
	}
	timer_cancel(&target);
	left = end();
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(refused_there, 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(seen.fired, ROUNDS * n);
	KASSERT_EQ(seen.elsewhere, 0);
	KASSERT_EQ(left, 0);
}

enum { SHARED = 3, SHARED_STEPS = 60 };

static struct { uint32_t armed, cancelled, strange; } shared[SHARED];

static void share(void *arg)
{
	uint32_t random = SEED + *(const uint32_t *)arg * CPU_MAX + cpu_self()->index;

	meet();
	for (unsigned step = 0; step < SHARED_STEPS; step++) {
		const uint32_t r = next(&random) >> 8;
		const unsigned i = r % SHARED;
		int err;

		if (r & 64) {
			err = timer_arm(&shots[i].t, clock_ns() + FAR + (r >> 8), never, NULL);
			ADD(shared[i].armed, err == 0);
			ADD(shared[i].strange, err != 0 && err != -EBUSY);
		} else {
			err = timer_cancel(&shots[i].t);
			ADD(shared[i].cancelled, err == 0);
			ADD(shared[i].strange, err != 0 && err != -ENOENT);
		}
	}
}

/* All processors arm and cancel a few timers as they like: each was armed as often as it was taken off, or once
 * more, and then it still is. */
KTEST(sched, check_timer_shared)
{
	enum { ROUNDS = 12 };
	static uint32_t round;
	unsigned failed = 0, wrong = 0, strange = 0, armed = 0, left;

	ktest_note("seed", SEED);
	begin();
	memset(shared, 0, sizeof shared);
	for (round = 0; round < ROUNDS && !wrong; round++) {
		arrived = 0;
		failed += cpu_on_each(share, &round) != 0;
		for (unsigned i = 0; i < SHARED; i++) {
			struct timer *const t = &shots[i].t;
			const int err = round % 2 ? timer_cancel(t) : timer_arm(t, UINT64_MAX, never, NULL);
			const uint32_t is = GET(shared[i].armed) - GET(shared[i].cancelled);

			wrong += is > 1;
			wrong += err != (round % 2 ? (is ? 0 : -ENOENT) : (is ? -EBUSY : 0));
			if (!err)
				ADD(*(round % 2 ? &shared[i].cancelled : &shared[i].armed), 1);
		}
	}
	left = end();
	for (unsigned i = 0; i < SHARED; i++) {
		armed += shared[i].armed;
		strange += shared[i].strange;
		left -= shared[i].armed - shared[i].cancelled;
	}
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(strange, 0);
	KASSERT_EQ(called, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(armed > 0);
	KASSERT_EQ(left, 0);
}
