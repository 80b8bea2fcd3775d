/* Acceptance of sched/core.c: who runs, where, and for how long. See spec/sched.md, and harness/threads.h of time. */
#include "threads.h"

static void stand(uint64_t ns)
{
	const uint64_t until = clock_ns() + ns;

	while (clock_ns() < until)
		relax();
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
	right &= !harness_counting() || within(all / EQUALS, EACH * slice, 2);
	for (unsigned i = 0; i < EQUALS && harness_counting(); i++)
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
			right &= !harness_counting() || within(run, (n - 1) * SLICE_NORMAL_NS, 2);
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
		if (harness_counting())
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
		if (harness_counting())
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
		else if (harness_counting())
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

/* Two that compute, until each has had some turns, and how long that took; false: they did not come, or did not end. */
enum { SOME_TURNS = 8 };

static bool two_infer(uint64_t *took)
{
	const uint64_t begin = clock_ns();
	const bool begun = two_burn(CLASS_INFERENCE, CLASS_INFERENCE);
	bool enough;

	while (turns[0].n < SOME_TURNS && clock_ns() - begin < LONG)
		thread_park(20 * MS);
	enough = turns[0].n >= SOME_TURNS;
	*took = clock_ns() - begin;
	return two_end() && begun && enough;
}

KTEST(sched, thread_inference_slice)
{
	uint64_t took;

	KASSERT(two_infer(&took));
	KASSERT((turns[0].n - 1) * 7 * MS <= took);
}

/* An agent that has something to do every millisecond. */
static void interrupt_often(void *arg)
{
	(void)arg;
	while (!turns_end) {
		thread_park(MS);
		relax();
	}
}

/* What an agent takes from their slices they get, and no more: a slice that is preempted goes on where it was. */
KTEST(sched, thread_inference_preempted)
{
	struct thread *agent;
	uint64_t took;
	unsigned wrong = 0;
	bool enough;

	turns_end = 0;
	agent = start("agent", CLASS_INTERACTIVE, HERE, interrupt_often, 0);
	enough = two_infer(&took);
	KASSERT(ended(agent));
	KASSERT(enough);
	for (unsigned i = 0; i + 2 < SOME_TURNS; i++) {
		const uint64_t run = turns[0].of[i + 2].run - turns[0].of[i].run;

		wrong += run < SLICE_INFERENCE_NS - MS || run > SLICE_INFERENCE_NS + MS;
	}
	if (harness_counting())
		KASSERT_EQ(wrong, 0);
}

/* ---- turns that are given away ---- */

static volatile uint32_t preempted;

static void yield_turns(void *who)
{
	for (unsigned i = 0; i < 50; i++) {
		turn((unsigned)(uint64_t)who);
		thread_yield();
	}
	__atomic_fetch_add(&preempted, (uint32_t)stats_of(thread_current()).preemptions, __ATOMIC_SEQ_CST);
}

/* A slice may be over just before one yields: but not every time. */
KTEST(sched, thread_yield)
{
	unsigned wrong = 1, gone = 0, tries = 0;

	for (; tries < TRIES && wrong; tries++) {
		struct thread *t[3];

		turns_clear();
		preempted = 0;
		preempt_disable();
		for (unsigned i = 0; i < 3; i++)
			t[i] = start("yields", CLASS_NORMAL, HERE, yield_turns, i);
		preempt_enable();
		for (unsigned i = 0; i < 3; i++)
			gone += ended(t[i]);
		wrong = turns[0].n != 150;
		for (unsigned i = 0; i < turns[0].n; i++)
			wrong += turns[0].of[i].who != i % 3;
		wrong += preempted > 75;                        /* who yields is not preempted */
	}
	KASSERT_EQ(gone, 3 * tries);
	KASSERT_EQ(wrong, 0);
	thread_yield();                                         /* with nobody else */
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

static void park_once(void *arg)
{
	(void)arg;
	thread_park(TIMEOUT_NONE);
}

/* Neither a donation nor its end takes a boost away. */
static bool boost_stays(void)
{
	struct thread *t = start("boosted", CLASS_INTERACTIVE, HERE, park_once, 0);
	uint8_t level[3];

	thread_park(MS);
	preempt_disable();
	thread_unpark(t, WAKE_BOOST);
	level[0] = thread_ent(t)->level;
	thread_donate(t, LEVEL_NORMAL);
	level[1] = thread_ent(t)->level;
	thread_donate(t, LEVEL_NONE);
	level[2] = thread_ent(t)->level;
	preempt_enable();
	return ended(t) && level[0] == LEVEL_BOOST && level[1] == LEVEL_BOOST && level[2] == LEVEL_BOOST;
}

KTEST(sched, thread_donate)
{
	bool right = false, stays = false;

	for (unsigned i = 0; i < TRIES && !right; i++)
		right = donation_lifts();
	KASSERT(right);
	for (unsigned i = 0; i < TRIES && !stays; i++)
		stays = boost_stays();
	KASSERT(stays);
}

/* From an interrupt, while the other computes: who is lifted runs when that is over. */
static struct { struct timer timer; volatile uint64_t at; volatile uint32_t turns, who; } lift;

static void lift_other(struct timer *t)
{
	(void)t;
	lift.turns = turns[0].n;
	lift.who = turns[0].of[turns[0].n - 1].who ^ 1;
	lift.at = clock_ns();
	thread_donate(burning[lift.who], LEVEL_NORMAL);
}

KTEST(sched, thread_donate_interrupt)
{
	bool begun = two_burn(CLASS_INFERENCE, CLASS_INFERENCE), came;

	lift.at = 0;
	begun &= timer_arm(&lift.timer, clock_ns() + MS, lift_other, NULL) == 0;
	thread_park(3 * MS);
	came = lift.at && reaches(&turns[0].n, lift.turns + 1);
	if (lift.at)
		thread_donate(burning[lift.who], LEVEL_NONE);
	KASSERT(two_end());
	KASSERT(begun);
	KASSERT(came);
	KASSERT_EQ(turns[0].of[lift.turns].who, lift.who);
	if (harness_counting())
		KASSERT(turns[0].of[lift.turns].at - lift.at <= 100 * US);
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
	if (harness_counting())
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

/* Who waits behind pinned ones is no reason to leave those be who wait elsewhere: where one first ran. */
static volatile uint32_t first_where;

static void note_where(void *arg)
{
	(void)arg;
	first_where = where();
}

static bool taken_from_the_next(void)
{
	enum { PINNED = 3 };
	struct thread *pinned[PINNED], *computes, *t;
	uint64_t begin;
	bool all;

	turns_clear();
	first_where = CPU_MAX;
	computes = start("computes", CLASS_INFERENCE, 1ull << 1, burner, 0);
	all = reaches(&turns[1].n, 1);
	preempt_disable();
	for (unsigned i = 0; i < PINNED; i++)
		pinned[i] = start("pinned", CLASS_NORMAL, HERE, park_once, 0);
	t = start("left", CLASS_INFERENCE, 1ull << 1, note_where, 0);
	thread_set_affinity(t, 0);
	begin = clock_ns();
	while (first_where == CPU_MAX && clock_ns() - begin < LONG)
		relax();
	preempt_enable();
	thread_park(MS);
	turns_end = 1;
	for (unsigned i = 0; i < PINNED; i++) {
		thread_unpark(pinned[i], WAKE_PLAIN);
		all &= ended(pinned[i]);
	}
	return ended(computes) && ended(t) && all && first_where > 1;
}

/* One that is queued there, with a donation, is moved here: it has what it had. */
static struct { uint8_t donated; uint64_t waited; } moved;

static void note_moved(void *arg)
{
	(void)arg;
	moved.donated = thread_ent(thread_current())->donated;
	moved.waited = stats_of(thread_current()).wait_ns;
}

static bool keeps_what_it_has(void)
{
	struct thread *computes, *t;
	const uint64_t there = 1ull << (cpu_count() - 1);
	uint64_t waited;
	bool all;

	turns_clear();
	computes = start("computes", CLASS_INTERACTIVE, there, burner, 0);
	all = reaches(&turns[cpu_count() - 1].n, 1);
	waited = clock_ns();
	t = start("moves", CLASS_INFERENCE, there, note_moved, 0);
	thread_donate(t, LEVEL_NORMAL);
	thread_park(2 * MS);
	waited = clock_ns() - waited;
	thread_set_affinity(t, HERE);
	all &= ended(t);
	turns_end = 1;
	return ended(computes) && all && moved.donated == LEVEL_NORMAL && moved.waited + MS / 2 >= waited;
}

KTEST(sched, thread_moved)
{
	bool taken = cpu_count() < 3, keeps = cpu_count() < 2;

	for (unsigned i = 0; i < TRIES && !taken; i++)
		taken = taken_from_the_next();
	for (unsigned i = 0; i < TRIES && !keeps; i++)
		keeps = keeps_what_it_has();
	KASSERT(taken);
	KASSERT(keeps);
}

/* ---- as many timers as there may be ---- */

static struct timer many_timers[TIMER_MAX];
static volatile uint32_t are_full;

static void fired_early(struct timer *t)
{
	(void)t;
	strayed++;
}

/* Gives turns away while there is no timer to end them. */
static void yield_and_spin(void *arg)
{
	while (are_full) {
		stand(50 * US);
		thread_yield();
	}
	spin_for(arg);
}

/* While there is none to be had who waits does not wait less, and once there are some again those who compute have their turns. */
KTEST(sched, thread_timers_full)
{
	const uint64_t far = clock_ns() + 3600000ull * MS;
	unsigned armed = 0;
	uint64_t took;
	int err;
	struct thread *a, *b;

	strayed = ball = 0;
	are_full = 1;
	preempt_disable();
	while (armed < TIMER_MAX && timer_arm(&many_timers[armed], far, fired_early, NULL) == 0)
		armed++;
	preempt_enable();
	a = start("even", CLASS_NORMAL, HERE, yield_and_spin, 0);
	b = start("odd", CLASS_NORMAL, HERE, yield_and_spin, 1);
	took = clock_ns();
	err = thread_park(MS);
	took = clock_ns() - took;
	are_full = 0;
	for (unsigned i = 0; i < armed; i++)
		strayed += timer_cancel(&many_timers[i]) != 0;
	KASSERT(ended(a));
	KASSERT(ended(b));
	KASSERT_EQ(err, -ETIMEDOUT);
	KASSERT(took >= MS);
	KASSERT_EQ(strayed, 0);
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
	off_wrong += harness_counting() && clock_ns() - begin > 200 * US;
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

/* ---- what it costs ---- */

static volatile uint32_t yields_end;

static void yield_back(void *arg)
{
	(void)arg;
	while (!yields_end)
		thread_yield();
}

/* n times from one KERNEL thread to the next. Whoever has used up a slice without waiting is behind such threads, which would then yield to
 * themselves for ever: so this waits first. */
static void there_and_back(uint64_t n)
{
	struct thread *t;

	thread_park(US);
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

	if (!harness_counting() || cpu_count() > 1)
		return;                                         /* with more the others have to be looked at, too */
	yields_take(1);
	once = yields_take(1000);
	cost = (yields_take(2000) - once + 999) / 1000;
	ktest_note("instructions", cost);
	KASSERT(cost > 20);
	KASSERT(cost <= CEILING);
}
