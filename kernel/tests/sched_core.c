/* Further tests of sched/core.c: switches that are due while something keeps them from being taken, wake-ups at every
 * place of a switch, where threads go, what processors do that are idle, threads that are pulled about by several
 * others at once, and what inference gets. See spec/sched.md, rules 6 to 8.
 *
 * We may be stopped at any time, between two instructions or for tens of milliseconds. What must never be is looked at
 * every time. What must be at once has several chances, since a slice may just have ended or an interrupt from another
 * processor be on its way. What must be some time has a long time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "sched.h"
#include "spinlock.h"
#include "string.h"

#define US 1000ul
#define MS 1000000ul
#define HERE 1ul                        /* affinity: the boot processor, where tests run */
#define LONG (4000 * MS)                /* what takes so long does not come any more */
#define SEED 0x636f7265u

enum { TRIES = 6 };

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

/* Whether it is so, at last: the first sleeps in between, the second keeps its processor. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG) \
			(void)thread_park(50 * US); \
		(condition); \
	})
#define STANDS_UNTIL(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG / 4) \
			cpu_pause(); \
		(condition); \
	})

static struct thread *start(const char *name, enum sched_class cls, uint64_t affinity, void (*fn)(void *), uint64_t arg)
{
	const struct thread_attr attr = { name, cls, affinity };
	struct thread *t = NULL;

	return thread_create(&attr, fn, (void *)arg, &t) ? NULL : t;
}

/* Has it ended, and was the joiner told? One that was not finds out when its time is over. */
static bool ended(struct thread *t)
{
	const uint64_t begin = clock_ns();

	return t && thread_join(t, LONG, NULL) == 0 && clock_ns() - begin < LONG;
}

static uint64_t last_cpu(void)
{
	return 1ul << (cpu_count() - 1);
}

static unsigned where(void)
{
	unsigned index;

	preempt_disable();
	index = cpu_self()->index;
	preempt_enable();
	return index;
}

static void note_run(void *arg)
{
	ADD(*(uint32_t *)arg, 1);
}

/* ---- due, but not yet ---- */

/* One that goes before all others of the test, and counts its wake-ups. */
static struct {
	struct thread *thread;
	struct timer timer;
	struct spinlock lock;
	uint32_t ran, woken, end;
} high;

static void be_high(void *arg)
{
	(void)arg;
	while (!GET(high.end))
		if (thread_park(TIMEOUT_NONE) == 0)
			ADD(high.ran, 1);
}

static bool high_begins(void)
{
	memset(&high, 0, sizeof high);
	high.thread = start("high", CLASS_KERNEL, HERE, be_high, 0);
	return high.thread != NULL;
}

static bool high_ends(void)
{
	SET(high.end, 1);
	thread_unpark(high.thread, WAKE_PLAIN);
	return ended(high.thread);
}

static void wake_high(struct timer *t)
{
	(void)t;
	thread_unpark(high.thread, WAKE_PLAIN);
	SET(high.woken, 1);
}

static void wake_high_from(void *arg)
{
	(void)arg;
	thread_unpark(high.thread, WAKE_PLAIN);
	SET(high.woken, 1);
}

enum { BY_ITSELF, BY_TIMER, BY_ANOTHER, IN_LOCK, IN_LOCK_CLI, WAYS };

static uint32_t too_early, at_once[WAYS + 2], never;

static void wake_in_way(unsigned way)
{
	uint64_t flags;

	SET(high.woken, 0);
	switch (way) {
	case BY_TIMER:
		(void)timer_arm(&high.timer, clock_ns() + 2 * US, wake_high, NULL);
		break;
	case BY_ANOTHER:
		(void)cpu_call(cpu_count() - 1, wake_high_from, NULL);
		break;
	case IN_LOCK:
		spin_lock(&high.lock);
		wake_high_from(NULL);
		spin_unlock(&high.lock);
		break;
	case IN_LOCK_CLI:
		flags = spin_lock_irqsave(&high.lock);
		wake_high_from(NULL);
		spin_unlock_irqrestore(&high.lock, flags);
		break;
	default:
		wake_high_from(NULL);
	}
	never += !STANDS_UNTIL(GET(high.woken));
}

/* Each way of waking, at each depth. */
static void keep_off(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < WAYS * TRIES; i++) {
		const unsigned way = i % WAYS, depth = 1 + i / WAYS;
		const uint32_t before = GET(high.ran);

		for (unsigned d = 0; d < depth; d++)
			preempt_disable();
		wake_in_way(way);
		for (unsigned d = 0; d < depth; d++) {
			clock_delay_ns(300);
			too_early += GET(high.ran) != before;
			preempt_enable();
		}
		at_once[way] += GET(high.ran) == before + 1;
		never += !STANDS_UNTIL(GET(high.ran) == before + 1);
	}
	/* interrupts off: in a lock, and without one */
	for (unsigned i = 0; i < 2 * TRIES; i++) {
		const uint32_t before = GET(high.ran);
		uint64_t flags = 0;

		if (i % 2)
			flags = spin_lock_irqsave(&high.lock);
		else
			__asm__ volatile("cli" : : : "memory");
		thread_unpark(high.thread, WAKE_PLAIN);
		clock_delay_ns(300);
		too_early += GET(high.ran) != before;
		if (i % 2)
			spin_unlock_irqrestore(&high.lock, flags);
		else
			__asm__ volatile("sti; nop" : : : "memory");
		at_once[WAYS + i % 2] += GET(high.ran) == before + 1;
		never += !STANDS_UNTIL(GET(high.ran) == before + 1);
	}
}

/* However deep preemption is off, and whoever wakes a better thread meanwhile, there is no switch before the last
 * preempt_enable, and one in it; with interrupts off there is none before they are on, and one then. */
KTEST(sched, check_core_preempt_off)
{
	bool begun, gone;

	too_early = never = 0;
	memset(at_once, 0, sizeof at_once);
	begun = high_begins();
	KASSERT(begun);
	(void)thread_park(50 * US);
	gone = ended(start("off", CLASS_NORMAL, HERE, keep_off, 0));
	gone &= high_ends();
	KASSERT(gone);
	KASSERT_EQ(never, 0);
	KASSERT_EQ(too_early, 0);
	for (unsigned way = 0; way < WAYS + 2; way++)
		KASSERT(at_once[way] > 0);
}

enum { CLASS, DONATION, CLASS_OFF, DONATION_OFF, AFFINITY, AFFINITY_OFF, CHANGES };

static uint32_t changed_at_once[CHANGES], chances[CHANGES];

/* Makes itself worse than one that is queued, by class or by a donation's end, with preemption off or on. */
static void make_worse(unsigned change)
{
	struct thread *const self = thread_current();
	const bool off = change == CLASS_OFF || change == DONATION_OFF;
	uint32_t ran = 0, before;
	struct thread *t;

	if (change == DONATION || change == DONATION_OFF) {
		thread_donate(self, LEVEL_INTERACTIVE);
		(void)thread_set_class(self, CLASS_INFERENCE);
	}
	preempt_disable();
	t = start("normal", CLASS_NORMAL, HERE, note_run, (uint64_t)&ran);
	if (!off)
		preempt_enable();
	before = GET(ran);                                      /* a slice may have ended */
	if (change == DONATION || change == DONATION_OFF)
		thread_donate(self, LEVEL_NONE);
	else
		(void)thread_set_class(self, CLASS_INFERENCE);
	if (off) {
		clock_delay_ns(300);
		too_early += GET(ran);
		preempt_enable();
	}
	chances[change] += !before;
	changed_at_once[change] += !before && GET(ran);
	never += !ended(t);
	(void)thread_set_class(self, CLASS_NORMAL);
}

static void change_self(void *arg)
{
	struct thread *const self = thread_current();
	const unsigned last = cpu_count() - 1;

	(void)arg;
	for (unsigned i = 0; i < TRIES; i++) {
		for (unsigned change = CLASS; change <= DONATION_OFF; change++)
			make_worse(change);
		preempt_disable();
		preempt_disable();
		never += thread_set_affinity(self, last_cpu()) != 0;
		clock_delay_ns(300);
		preempt_enable();
		too_early += cpu_self()->index != 0;
		preempt_enable();
		changed_at_once[AFFINITY_OFF] += where() == last;
		never += thread_set_affinity(self, HERE) != 0;
		changed_at_once[AFFINITY] += where() == 0;
	}
}

/* What one changes of itself is taken before the call returns, or if preemption is off in the last preempt_enable: a
 * class and the end of a donation that make it worse than one that waits, and another processor. For that sched.h wants
 * preemption on, of the caller itself, where spec/sched.md does not: tested is that it is taken as by a wake-up then. */
KTEST(sched, check_core_change_self)
{
	bool gone;

	too_early = never = 0;
	memset(changed_at_once, 0, sizeof changed_at_once);
	memset(chances, 0, sizeof chances);
	gone = ended(start("changes", CLASS_NORMAL, HERE, change_self, 0));
	KASSERT(gone);
	KASSERT_EQ(never, 0);
	KASSERT_EQ(too_early, 0);
	for (unsigned change = CLASS; change <= DONATION_OFF; change++) {
		KASSERT(chances[change] > 0);
		KASSERT_EQ(changed_at_once[change], chances[change]);
	}
	KASSERT_EQ(changed_at_once[AFFINITY], TRIES);
	KASSERT_EQ(changed_at_once[AFFINITY_OFF], TRIES);
}

/* ---- who is next ---- */

static struct {
	uint32_t n, who[4], end;
	uint64_t last_ns;
} order;

/* Says when it is woken. */
static void say(void *arg)
{
	while (thread_park(TIMEOUT_NONE) == 0 && !GET(order.end)) {
		order.last_ns = clock_ns();
		order.who[order.n % 4] = (uint32_t)(uint64_t)arg;
		ADD(order.n, 1);
	}
}

/* Whether t, which may run on this processor only, has run up to where it waits. */
static bool waits(struct thread *t)
{
	return !thread_ent(t)->queued;
}

/* Wakes both at once, the first as one that had no message, the second as one that had one; who then ran first. */
static uint32_t first_of(struct thread *plain, struct thread *boosted)
{
	SET(order.n, 0);
	preempt_disable();
	thread_unpark(plain, WAKE_PLAIN);
	thread_unpark(boosted, WAKE_BOOST);
	preempt_enable();
	return COMES(GET(order.n) == 2 && waits(plain) && waits(boosted)) ? order.who[0] : 99;
}

/* A boost puts a NORMAL thread ahead of an INTERACTIVE one that was woken before it, but not a second time within
 * BOOST_GAP_NS, and again after that; INFERENCE is never ahead. */
KTEST(sched, check_core_boost_order)
{
	unsigned boosted = 0, again = 0, wrong = 0, stay = 0;

	memset(&order, 0, sizeof order);
	for (unsigned i = 0; i < TRIES && !(boosted && again); i++) {
		struct thread *t[CLASS_INFERENCE + 1];
		bool all = true;

		SET(order.end, 0);
		for (unsigned cls = CLASS_INTERACTIVE; cls <= CLASS_INFERENCE; cls++) {
			t[cls] = start("says", (enum sched_class)cls, HERE, say, cls);
			all = all && t[cls] && COMES(waits(t[cls]));
		}
		if (all) {
			uint64_t begin = clock_ns();
			uint32_t first;

			boosted += first_of(t[CLASS_INTERACTIVE], t[CLASS_NORMAL]) == CLASS_NORMAL;
			first = first_of(t[CLASS_INTERACTIVE], t[CLASS_NORMAL]);
			wrong += order.last_ns - begin < BOOST_GAP_NS && first != CLASS_INTERACTIVE;
			begin = clock_ns();
			first = first_of(t[CLASS_NORMAL], t[CLASS_INFERENCE]);
			wrong += order.last_ns - begin < AGE_NS && first != CLASS_NORMAL;
			(void)thread_park(BOOST_GAP_NS);
			again += first_of(t[CLASS_INTERACTIVE], t[CLASS_NORMAL]) == CLASS_NORMAL;
		}
		SET(order.end, 1);
		for (unsigned cls = CLASS_INTERACTIVE; cls <= CLASS_INFERENCE; cls++) {
			if (t[cls])
				thread_unpark(t[cls], WAKE_PLAIN);
			stay += !ended(t[cls]);
		}
		stay += !all;
	}
	KASSERT_EQ(stay, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(boosted > 0);
	KASSERT(again > 0);
}

/* ---- at every place ---- */

static uint32_t partner_end;

static void yield_for_good(void *arg)
{
	(void)arg;
	while (!GET(partner_end))
		thread_yield();
}

static uint32_t place_lost;

/* Its wake-ups come later and later in what it does: yield to another, or stop and be woken by its own time. */
static void go_through_places(void *arg)
{
	const bool yields = (uint64_t)arg;

	for (unsigned i = 0; i < 1080; i += yields ? 3 : 9) {
		const uint32_t before = GET(high.ran);
		const uint64_t begin = clock_ns();

		SET(high.woken, 0);
		(void)timer_arm(&high.timer, begin + 900 + i, wake_high, NULL);
		while (GET(high.ran) == before && clock_ns() - begin < LONG)
			if (yields)
				thread_yield();
			else
				(void)thread_park(150);
		place_lost += GET(high.ran) != before + 1 || timer_cancel(&high.timer) != -ENOENT;
	}
}

/* A timer wakes a better thread at every place of switches between two threads, and to and from idleness: each of its
 * wake-ups comes, once. */
KTEST(sched, check_core_every_place)
{
	struct thread *partner;
	bool begun, gone;

	place_lost = partner_end = 0;
	begun = high_begins();
	KASSERT(begun);
	(void)thread_park(50 * US);
	gone = ended(start("places", CLASS_NORMAL, HERE, go_through_places, false));
	partner = start("partner", CLASS_NORMAL, HERE, yield_for_good, 0);
	gone &= ended(start("places", CLASS_NORMAL, HERE, go_through_places, true));
	SET(partner_end, 1);
	gone &= ended(partner);
	gone &= high_ends();
	KASSERT(gone);
	KASSERT_EQ(place_lost, 0);
}

/* ---- how many can run ---- */

static uint32_t runnable_end, runnable_took;

static void take_permit(void *arg)
{
	(void)arg;
	while (thread_park(TIMEOUT_NONE) != 0)
		;
	ADD(runnable_took, 1);
}

static void stand(void *arg)
{
	const uint64_t begin = clock_ns();

	(void)arg;
	while (!GET(runnable_end) && clock_ns() - begin < LONG)
		cpu_pause();
}

/* The running thread and those that are queued count, of each class, woken and cancelled ones and those that have come
 * from elsewhere; those that wait or have ended, and the idle threads, do not. */
KTEST(sched, check_core_runnable)
{
	enum { COUNTED = 8 };
	const unsigned last = cpu_count() - 1;
	struct thread *t[COUNTED], *far[2];
	unsigned wrong = 0, made = 0, gone = 0;
	bool alone, parked, quiet = true, one, two;

	runnable_end = runnable_took = 0;
	alone = COMES(sched_runnable(0) == 1);
	preempt_disable();
	for (; made < COUNTED; made++) {
		t[made] = start("counted", (enum sched_class)(made % CLASS_IDLE), HERE, take_permit, 0);
		if (!t[made])
			break;
		wrong += sched_runnable(0) != 2 + made;
	}
	preempt_enable();
	parked = COMES(sched_runnable(0) == 1);
	preempt_disable();
	for (unsigned i = 0; i < made; i++) {
		thread_cancel(t[i]);
		wrong += sched_runnable(0) != 2 + i;
		thread_cancel(t[i]);
		thread_unpark(t[i], WAKE_BOOST);                /* is queued already */
		(void)thread_set_class(t[i], CLASS_NORMAL);
		thread_donate(t[i], LEVEL_INTERACTIVE);
		thread_donate(t[i], LEVEL_NONE);
		wrong += sched_runnable(0) != 2 + i;
	}
	if (last && made) {
		(void)thread_set_affinity(t[0], last_cpu());
		wrong += sched_runnable(0) != made;
	}
	preempt_enable();
	for (unsigned i = 0; i < made; i++)
		gone += ended(t[i]);
	wrong += sched_runnable(0) != 1;
	for (unsigned i = 1; i <= last; i++)
		quiet &= COMES(sched_runnable(i) == 0);
	far[0] = start("far", CLASS_INFERENCE, last_cpu(), stand, 0);
	one = COMES(sched_runnable(last) == 1 + !last);
	far[1] = start("far", CLASS_INFERENCE, last_cpu(), stand, 0);
	two = COMES(sched_runnable(last) == 2 + !last);
	SET(runnable_end, 1);
	gone += ended(far[0]);
	gone += ended(far[1]);
	quiet &= COMES(sched_runnable(last) == !last);
	KASSERT(alone);
	KASSERT_EQ(made, COUNTED);
	KASSERT(parked);
	KASSERT_EQ(gone, COUNTED + 2);
	KASSERT_EQ(runnable_took, COUNTED);
	KASSERT_EQ(wrong, 0);
	KASSERT(one);
	KASSERT(two);
	KASSERT(quiet);
}

/* ---- where threads go ---- */

static struct {
	uint32_t about, went, end;      /* went: 1 + where it was woken */
} goer;

static void go(void *arg)
{
	(void)arg;
	while (!GET(goer.end)) {
		SET(goer.about, 1);
		if (thread_park(TIMEOUT_NONE) == 0)
			SET(goer.went, 1 + where());
	}
}

static uint32_t stand_end;

static void stand_until_end(void *arg)
{
	const uint64_t begin = clock_ns();

	ADD(*(uint32_t *)arg, 1);
	while (!GET(stand_end) && clock_ns() - begin < LONG)
		cpu_pause();
}

/* Woken while the caller keeps its processor; where it went. */
static uint32_t went(struct thread *t)
{
	bool came;

	SET(goer.went, 0);
	preempt_disable();
	thread_unpark(t, WAKE_PLAIN);
	came = STANDS_UNTIL(GET(goer.went));
	preempt_enable();
	(void)thread_park(100 * US);
	return came ? GET(goer.went) - 1 : 99;
}

/* Rule 7: a woken thread goes back to where it ran last if that is idle, not to another idle one; if that is taken, to
 * an idle one. With one processor there is no choice, and nothing to see. */
KTEST(sched, check_core_goes_back)
{
	const unsigned last = cpu_count() - 1;
	struct thread_stats before, after;
	struct thread *t;
	unsigned strayed = 0, stayed = 0;
	bool came, gone;

	if (!last)
		return;
	memset(&goer, 0, sizeof goer);
	t = start("goes", CLASS_NORMAL, last_cpu(), go, 0);
	KASSERT(t != NULL);
	came = COMES(GET(goer.about)) && went(t) == last;
	(void)thread_set_affinity(t, 0);
	thread_get_stats(t, &before);
	for (unsigned i = 0; i < 12; i++)
		strayed += went(t) != last;
	thread_get_stats(t, &after);
	for (unsigned i = 0; i < 4; i++) {                      /* back to where we are, and away again */
		(void)thread_set_affinity(t, HERE);
		SET(goer.went, 0);
		thread_unpark(t, WAKE_PLAIN);
		came &= COMES(GET(goer.went) == 1);
		(void)thread_park(100 * US);
		(void)thread_set_affinity(t, 0);
		stayed += went(t) == 0;
	}
	SET(goer.end, 1);
	thread_unpark(t, WAKE_PLAIN);
	gone = ended(t);
	KASSERT(came);
	KASSERT(gone);
	KASSERT_EQ(strayed, 0);
	KASSERT_EQ(after.migrations, before.migrations);
	KASSERT_EQ(stayed, 0);
}

static uint32_t placed_at;

static void say_where(void *arg)
{
	(void)arg;
	SET(placed_at, 1 + where());
}

/* A better one than all that run, made while the caller keeps its processor: where it ran first. */
static unsigned place_of(uint64_t affinity)
{
	struct thread *t;
	bool ran;

	SET(placed_at, 0);
	preempt_disable();
	t = start("new", CLASS_NORMAL, affinity, say_where, 0);
	ran = STANDS_UNTIL(GET(placed_at));
	preempt_enable();
	return ended(t) && ran ? GET(placed_at) - 1 : 99;
}

/* Rule 7, with no idle processor: to the one with the fewest that can run, the lowest number among equals, of those
 * that it may use. */
KTEST(sched, check_core_fewest)
{
	const unsigned last = cpu_count() - 1;
	struct thread *t[CPU_MAX + 1];
	uint32_t standing = 0;
	unsigned n = 0, gone = 0, any, low, high_ones, next_one;
	bool all, more;

	if (!last)
		return;
	stand_end = 0;
	for (unsigned i = 0; i <= last; i++)                    /* here there are two, with ours */
		t[n++] = start("stands", CLASS_INFERENCE, 1ul << i, stand_until_end, (uint64_t)&standing);
	all = COMES(GET(standing) == n);
	any = place_of(0);
	low = place_of(HERE | last_cpu());
	high_ones = place_of(last_cpu());
	t[n++] = start("stands", CLASS_INFERENCE, 2, stand_until_end, (uint64_t)&standing);
	more = COMES(sched_runnable(1) == 2);
	next_one = last > 1 ? place_of(last_cpu() | 2 | HERE) : 1;
	SET(stand_end, 1);
	for (unsigned i = 0; i < n; i++)
		gone += ended(t[i]);
	KASSERT(all);
	KASSERT(more);
	KASSERT_EQ(gone, n);
	KASSERT_EQ(any, 1);
	KASSERT_EQ(low, last);
	KASSERT_EQ(high_ones, last);
	KASSERT_EQ(next_one, last);
}

/* ---- nobody waits for a processor while another is idle ---- */

static struct {
	struct thread *victim;
	uint32_t at, saved[3], end;
} rescue;

/* Computes, and says where. */
static void compute(void *arg)
{
	(void)arg;
	while (!GET(rescue.end)) {
		SET(rescue.at, 1 + where());
		cpu_pause();
	}
}

static bool rescued(unsigned from)
{
	SET(rescue.at, 0);
	return STANDS_UNTIL(GET(rescue.at) && GET(rescue.at) != 1 + from);
}

/* KERNEL, on one processor, where its own time wakes it. It gets ahead of a thread that computes there; then of the
 * same as one that may be nowhere else, and allows it the others. It has preemption off: nothing is balanced from
 * there. */
static void get_ahead(void *arg)
{
	const unsigned from = where();

	(void)arg;
	(void)thread_park(300 * US);
	preempt_disable();
	rescue.saved[0] = rescued(from);
	(void)thread_set_affinity(rescue.victim, 1ul << from);
	preempt_enable();
	(void)thread_park(300 * US);
	preempt_disable();
	(void)thread_set_affinity(rescue.victim, 0);
	rescue.saved[1] = rescued(from);
	preempt_enable();
}

/* Who is preempted, and who may suddenly run elsewhere, is taken by a processor that is idle, and has been before,
 * while the one where it is queued goes on with another. */
KTEST(sched, check_core_rescue)
{
	const unsigned last = cpu_count() - 1;
	uint32_t ran = 0;
	struct thread *t, *left;
	bool began, gone;

	if (!last)
		return;
	memset(&rescue, 0, sizeof rescue);
	rescue.victim = start("victim", CLASS_NORMAL, last_cpu(), compute, 0);
	KASSERT(rescue.victim != NULL);
	began = COMES(GET(rescue.at) == 1 + last);
	(void)thread_set_affinity(rescue.victim, 0);
	t = start("ahead", CLASS_KERNEL, last_cpu(), get_ahead, 0);
	gone = ended(t);
	SET(rescue.end, 1);
	gone &= ended(rescue.victim);
	/* and one that is made worse behind us, where it waits */
	preempt_disable();
	left = start("left", CLASS_KERNEL, HERE, note_run, (uint64_t)&ran);
	if (left) {
		(void)thread_set_class(left, CLASS_INFERENCE);
		(void)thread_set_affinity(left, HERE | last_cpu());
		rescue.saved[2] = STANDS_UNTIL(GET(ran));
	}
	preempt_enable();
	gone &= ended(left);
	KASSERT(began);
	KASSERT(gone);
	KASSERT(rescue.saved[0]);
	KASSERT(rescue.saved[1]);
	KASSERT(rescue.saved[2]);
}

/* ---- pulled about ---- */

enum { TARGETS = 7, PULLERS = 3, PULLS = 160 };

static struct target {
	struct thread *thread;
	uint32_t loops, at;
} targets[TARGETS];
static uint32_t pulls_wrong, targets_end;

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Computes, yields and waits; each third only computes. */
static void be_pulled(void *arg)
{
	struct target *const self = arg;
	uint32_t random = SEED + (uint32_t)(self - targets);

	while (!GET(targets_end)) {
		SET(self->at, where());
		switch ((self - targets) % 3 == 2 ? 3 : next(&random) % 4) {
		case 0:
			(void)thread_park(1 + next(&random) % (20 * US));
			break;
		case 1:
			thread_yield();
			break;
		default:
			clock_delay_ns(2 * US);
		}
		ADD(self->loops, 1);
	}
}

/* Does to them at random all that can be done to a thread, in whatever state it is. But none gets ahead of
 * INTERACTIVE: one that computes would be so for good. */
static void pull(void *arg)
{
	uint32_t random = SEED * 3 + (uint32_t)(uint64_t)arg;

	for (unsigned i = 0; i < PULLS; i++) {
		const uint32_t r = next(&random);
		struct thread *const t = targets[r % TARGETS].thread;
		const uint64_t mask = 1ul << (r >> 8) % cpu_count();
		int err = 0;

		switch (r >> 12 & 7) {
		case 0:
			err = thread_set_affinity(t, mask);
			break;
		case 1:
			err = thread_set_affinity(t, mask | 1ul << (r >> 16) % cpu_count());
			break;
		case 2:
			err = thread_set_affinity(t, 0);
			break;
		case 3:
			err = thread_set_class(t, (enum sched_class)(CLASS_INTERACTIVE + (r >> 16) % 3));
			break;
		case 4:
			thread_donate(t, (uint8_t)(LEVEL_INTERACTIVE + (r >> 16) % 3));
			break;
		case 5:
			thread_donate(t, LEVEL_NONE);
			break;
		case 6:
			thread_unpark(t, r >> 16 & 1 ? WAKE_BOOST : WAKE_PLAIN);
			break;
		default:
			thread_cancel(t);
		}
		ADD(pulls_wrong, err != 0);
		if (r >> 24 & 1)
			(void)thread_park(1 + (r >> 25) * 100);
	}
}

/* Whether each goes on, where it is told to be now. */
static bool all_go_on(unsigned round)
{
	uint32_t from[TARGETS];
	bool all = true;

	preempt_disable();
	for (unsigned i = 0; i < TARGETS; i++) {
		all &= thread_set_affinity(targets[i].thread, 1ul << (i + round) % cpu_count()) == 0;
		from[i] = GET(targets[i].loops);
	}
	preempt_enable();
	for (unsigned i = 0; i < TARGETS; i++) {
		const unsigned cpu = (i + round) % cpu_count();

		all = all && COMES(GET(targets[i].loops) >= from[i] + 3);
		all = all && GET(targets[i].at) == cpu;
	}
	return all;
}

/* Several change affinity, class and donation of the same threads, and wake and cancel them, while these run, wait and
 * are queued. Nobody is lost: when they have been put back, each goes on, where and as what it is told to. */
KTEST(sched, check_core_pulled)
{
	struct thread *pullers[PULLERS];
	unsigned gone = 0, made = 0, odd = 0;
	uint32_t runnable = 0;
	bool on;

	ktest_note("seed", SEED);
	memset(targets, 0, sizeof targets);
	pulls_wrong = targets_end = 0;
	for (; made < TARGETS; made++) {
		targets[made].thread = start("target", CLASS_NORMAL, 0, be_pulled, (uint64_t)&targets[made]);
		if (!targets[made].thread)
			break;
	}
	for (unsigned i = 0; i < PULLERS && made == TARGETS; i++)
		pullers[i] = start("puller", CLASS_KERNEL, 1ul << i % cpu_count(), pull, i + 1);
	for (unsigned i = 0; i < PULLERS && made == TARGETS; i++)
		gone += ended(pullers[i]);
	for (unsigned i = 0; i < made; i++) {
		(void)thread_set_class(targets[i].thread, CLASS_NORMAL);
		thread_donate(targets[i].thread, LEVEL_NONE);
	}
	on = made == TARGETS;
	for (unsigned round = 0; round < (cpu_count() > 1 ? 5 : 1); round++)
		on = on && all_go_on(round);
	for (unsigned i = 0; i < made; i++) {
		const struct sched_ent *const e = thread_ent(targets[i].thread);

		odd += e->cls != CLASS_NORMAL || e->donated != LEVEL_NONE || e->level > LEVEL_NORMAL;
	}
	SET(targets_end, 1);
	for (unsigned i = 0; i < made; i++)
		gone += ended(targets[i].thread);
	for (unsigned i = 0; i < cpu_count(); i++)
		runnable += sched_runnable(i);
	KASSERT_EQ(made, TARGETS);
	KASSERT(on);
	KASSERT_EQ(gone, TARGETS + PULLERS);
	KASSERT_EQ(odd, 0);
	KASSERT_EQ(pulls_wrong, 0);
	KASSERT_EQ(runnable, 1);
}

/* ---- what inference gets ---- */

enum { ROUNDS = 40, AGENTS_MAX = 4 };

static struct agent {
	struct thread *thread, *inference;
	uint32_t index, rounds, starved, lost, messages;
} agents[AGENTS_MAX];
static uint32_t agents_ready, agents_done, inference_end;

static unsigned agent_count(void)
{
	return cpu_count() < AGENTS_MAX ? cpu_count() : AGENTS_MAX;
}

static void infer(void *arg)
{
	(void)arg;
	while (!GET(inference_end))
		cpu_pause();
}

static uint64_t run_of(struct thread *t)
{
	struct thread_stats stats;

	thread_get_stats(t, &stats);
	return stats.run_ns;
}

/* Sleeps, and looks whether inference on its processor had some of that time. */
static int sleep_and_look(struct agent *self)
{
	const uint64_t before = run_of(self->inference);
	const int result = thread_park(100 * US);

	self->starved += result != 0 && run_of(self->inference) == before;
	return result;
}

/* Sends the next agent a message each time that it has slept. None ends while messages may come. Either itself or
 * inference had each moment of that time: its own is read first and last, so that being stopped in between adds to
 * it. */
static void talk(void *arg)
{
	struct agent *const self = arg;
	struct agent *const other = &agents[(self->index + 1) % agent_count()];
	const uint64_t begin = clock_ns();
	uint64_t own, inference, from, elapsed;

	ADD(agents_ready, 1);
	while (GET(agents_ready) < agent_count() && clock_ns() - begin < LONG)
		(void)thread_park(20 * US);
	own = run_of(self->thread);
	inference = run_of(self->inference);
	from = clock_ns();
	while (self->rounds < ROUNDS && clock_ns() - begin < LONG)
		if (sleep_and_look(self) == 0) {
			self->messages++;
			clock_delay_ns(5 * US);
		} else {
			self->rounds++;
			thread_unpark(other->thread, WAKE_BOOST);
		}
	elapsed = clock_ns() - from;
	inference = run_of(self->inference) - inference;
	own = run_of(self->thread) - own;
	self->lost = own + inference < elapsed;
	ADD(agents_done, 1);
	while (GET(agents_done) < agent_count() && clock_ns() - begin < LONG)
		(void)thread_park(20 * US);
}

/* On each processor, or four, one INFERENCE thread computes, and an agent sleeps and is woken by messages from another.
 * What an agent leaves is inference's, and no time is lost between the two. One that was stopped for the time of its
 * sleep does not sleep: but not every time. */
KTEST(sched, check_core_inference)
{
	const unsigned count = agent_count();
	unsigned gone = 0, starved = 0, lost = 0, messages = 0, moved = 0;

	memset(agents, 0, sizeof agents);
	agents_ready = agents_done = inference_end = 0;
	for (unsigned i = 0; i < count; i++) {
		agents[i].index = i;
		agents[i].inference = start("inference", CLASS_INFERENCE, 1ul << i, infer, 0);
	}
	preempt_disable();
	for (unsigned i = 0; i < count; i++)
		agents[i].thread = start("agent", CLASS_INTERACTIVE, 1ul << i, talk, (uint64_t)&agents[i]);
	preempt_enable();
	for (unsigned i = 0; i < count; i++)
		gone += ended(agents[i].thread);
	SET(inference_end, 1);
	for (unsigned i = 0; i < count; i++) {
		struct thread_stats stats;

		thread_get_stats(agents[i].inference, &stats);
		moved += stats.migrations;
		gone += ended(agents[i].inference);
		starved += agents[i].starved;
		lost += agents[i].lost;
		messages += agents[i].messages;
	}
	ktest_note("messages", messages);
	KASSERT_EQ(gone, 2 * count);
	KASSERT_EQ(lost, 0);
	KASSERT(starved <= ROUNDS * count / 4);
	KASSERT_EQ(moved, 0);
	KASSERT(messages > 0);
}

/* ---- with nothing to do ---- */

static trap_handler on_timer, on_resched;
static uint32_t ticks[CPU_MAX], asked[CPU_MAX];

static void count_tick(struct trap_frame *f)
{
	ADD(ticks[cpu_self()->index], 1);
	on_timer(f);
}

/* It may not come back for long. */
static void count_asked(struct trap_frame *f)
{
	ADD(asked[cpu_self()->index], 1);
	on_resched(f);
}

/* In place of another handler. What comes meanwhile, on whatever processor, is lost. */
static bool replace(unsigned vector, trap_handler by)
{
	bool is;

	__asm__ volatile("cli" : : : "memory");
	trap_clear_handler(vector);
	is = trap_set_handler(vector, by) == 0;
	__asm__ volatile("sti" : : : "memory");
	return is;
}

static void ask_at_once(void *arg)
{
	(void)arg;
	clock_oneshot(0);
}

/* A processor that lost the interrupt it had asked for would never ask again, and one that lost the other would not look
 * for what it was sent for: so each gets one of both in place of what may have been lost, which is nothing to those that
 * lost none. */
static bool replace_both(trap_handler timer, trap_handler resched)
{
	const bool are = replace(VEC_TIMER, timer) & replace(VEC_RESCHED, resched);

	(void)cpu_on_each(ask_at_once, NULL);
	for (unsigned i = 0; i < cpu_count(); i++)
		cpu_send(i, VEC_RESCHED);
	(void)thread_park(100 * US);
	return are;
}

/* Interrupts beyond those that there may be on processors other than this. */
static unsigned beyond(const uint32_t *counts, uint32_t most)
{
	unsigned n = 0;

	for (unsigned i = 1; i < cpu_count(); i++)
		n += GET(counts[i]) > most ? GET(counts[i]) - most : 0;
	return n;
}

/* Whether we sleep for longer than two balances with no interrupts but the one that wakes us, by way of the other, and on
 * each processor one that was asked for before, by a timer since cancelled or by another processor. If we are stopped
 * before or after, there may be another: but not every time, and who ticks has more every time. */
static bool sleeps_quietly(void)
{
	unsigned own = 0, own_asked = 0, others = 0, others_asked = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		(void)thread_park(100 * US);
		memset(ticks, 0, sizeof ticks);
		memset(asked, 0, sizeof asked);
		(void)thread_park(25 * MS);
		own = GET(ticks[0]);
		own_asked = GET(asked[0]);
		others = beyond(ticks, 1);
		others_asked = beyond(asked, 1);
		if (own >= 1 && own <= 2 && own_asked <= 2 && !others && !others_asked)
			return true;
	}
	ktest_note("ticks", own);
	ktest_note("asked", own_asked);
	ktest_note("ticks elsewhere", others);
	ktest_note("asked elsewhere", others_asked);
	return false;
}

/* Nobody runs, and then one thread on a processor of its own, or alone while we sleep, which needs no slice: nothing
 * ticks. */
KTEST(sched, check_core_quiet)
{
	uint32_t standing = 0;
	bool idle = true, replaced, put_back, stands, gone, none, one;
	struct thread *t;

	stand_end = 0;
	for (unsigned i = 0; i < cpu_count(); i++)
		idle &= COMES(sched_runnable(i) == (i == 0));
	on_timer = trap_get_handler(VEC_TIMER);
	on_resched = trap_get_handler(VEC_RESCHED);
	replaced = replace_both(count_tick, count_asked);
	none = sleeps_quietly();
	t = start("stands", CLASS_NORMAL, last_cpu(), stand_until_end, (uint64_t)&standing);
	stands = COMES(GET(standing));
	one = sleeps_quietly();
	SET(stand_end, 1);
	gone = ended(t);
	(void)thread_park(100 * US);
	put_back = replace_both(on_timer, on_resched);
	KASSERT(idle);
	KASSERT(replaced);
	KASSERT(put_back);
	KASSERT(stands);
	KASSERT(gone);
	KASSERT(none);
	KASSERT(one);
}
