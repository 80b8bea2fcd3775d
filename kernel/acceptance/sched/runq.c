/* Acceptance of sched/runq.c: who is next, with made-up time. See spec/sched.md, "Rules of the run queue". */
#include "internal.h"
#include "sched.h"

enum { MS = 1000000, US = 1000 };
#define START 1000000000ull             /* so that nothing was ever boosted or aged by accident */

static struct runq rq;
static struct sched_ent ents[16];

static struct sched_ent *fresh(unsigned i, enum sched_class cls)
{
	ents[i] = (struct sched_ent){ .cls = (uint8_t)cls, .donated = LEVEL_NONE, .affinity = UINT64_MAX };
	return &ents[i];
}

/* As runq_init leaves it, with the ageing and the window just done. */
static void begin(void)
{
	harness_memset(&rq, 0xa5, sizeof rq);
	runq_init(&rq);
	rq.aged_ns = rq.window_ns = START;
}

static int put(struct sched_ent *e, enum runq_why why, uint64_t now)
{
	return runq_put(&rq, e, why, now);
}

/* The number of the next; -1: none. */
static int pick(uint64_t now)
{
	const struct sched_ent *e = runq_pick(&rq, now);

	return e ? (int)(e - ents) : -1;
}

KTEST(sched, runq_order)
{
	static const enum sched_class classes[] = { CLASS_IDLE, CLASS_INFERENCE, CLASS_NORMAL, CLASS_INTERACTIVE, CLASS_KERNEL };
	static const uint8_t levels[] = { LEVEL_IDLE, LEVEL_INFERENCE, LEVEL_NORMAL, LEVEL_INTERACTIVE, LEVEL_KERNEL };

	begin();
	KASSERT_EQ(rq.count, 0);
	KASSERT_EQ(pick(START), -1);
	for (unsigned i = 0; i < 15; i++) {
		KASSERT_EQ(put(fresh(i, classes[i % 5]), RQ_NEW, START + i), 0);
		KASSERT_EQ(rq.count, i + 1);
		KASSERT(ents[i].queued);
		KASSERT_EQ(ents[i].level, levels[i % 5]);
		KASSERT_EQ(ents[i].stamp_ns, START + i);
	}
	for (unsigned c = 5; c--;)
		for (unsigned n = 0; n < 3; n++) {
			KASSERT_EQ(pick(START + 100), n * 5 + c);
			KASSERT(!ents[n * 5 + c].queued);
			KASSERT_EQ(ents[n * 5 + c].level, levels[c]);
		}
	KASSERT_EQ(rq.count, 0);
	KASSERT_EQ(pick(START + 100), -1);
	/* a yield goes behind the others of its level, a preempted one before them */
	for (unsigned i = 0; i < 3; i++)
		put(fresh(i, CLASS_NORMAL), RQ_NEW, START + 100);
	KASSERT_EQ(pick(START + 101), 0);
	put(&ents[0], RQ_YIELD, START + 101);
	KASSERT_EQ(pick(START + 102), 1);
	put(&ents[1], RQ_PREEMPTED, START + 102);
	KASSERT_EQ(pick(START + 103), 1);
	put(&ents[1], RQ_EXPIRED, START + 103);
	KASSERT_EQ(pick(START + 104), 2);
	put(&ents[2], RQ_WAKE, START + 104);
	KASSERT_EQ(pick(START + 105), 0);
	KASSERT_EQ(pick(START + 105), 1);
	KASSERT_EQ(pick(START + 105), 2);
	KASSERT(runq_preempts(&(struct sched_ent){ .level = LEVEL_NORMAL }, &(struct sched_ent){ .level = LEVEL_INTERACTIVE }));
	KASSERT(!runq_preempts(&(struct sched_ent){ .level = LEVEL_NORMAL }, &(struct sched_ent){ .level = LEVEL_NORMAL }));
	KASSERT(!runq_preempts(&(struct sched_ent){ .level = LEVEL_NORMAL }, &(struct sched_ent){ .level = LEVEL_INFERENCE }));
}

KTEST(sched, runq_slices)
{
	static const uint64_t slices[] = { SLICE_KERNEL_NS, SLICE_INTERACTIVE_NS, SLICE_NORMAL_NS, SLICE_INFERENCE_NS };

	begin();
	for (unsigned cls = 0; cls < 4; cls++) {
		struct sched_ent *e = fresh(cls, (enum sched_class)cls);

		put(e, RQ_NEW, START);
		KASSERT_EQ(pick(START), cls);
		KASSERT_EQ(e->slice_ns, slices[cls]);
		runq_charge(&rq, e, 300 * US, START + 300 * US);
		KASSERT_EQ(e->slice_ns, slices[cls] - 300 * US);
		put(e, RQ_PREEMPTED, START + 300 * US);
		KASSERT_EQ(pick(START + 400 * US), cls);
		KASSERT_EQ(e->slice_ns, slices[cls] - 300 * US);        /* what was left */
		runq_charge(&rq, e, 20 * MS, START + 500 * US);
		KASSERT_EQ(e->slice_ns, 0);
		put(e, RQ_YIELD, START + 500 * US);
		KASSERT_EQ(pick(START + 500 * US), cls);
		KASSERT_EQ(e->slice_ns, slices[cls]);
		runq_charge(&rq, e, 10 * US, START + 510 * US);
		put(e, RQ_WAKE, START + 510 * US);
		KASSERT_EQ(pick(START + 510 * US), cls);
		KASSERT_EQ(e->slice_ns, slices[cls]);
		/* just enough is kept, a little less is as if used up: behind the others, with a fresh one */
		runq_charge(&rq, e, slices[cls] - SLICE_MIN_NS, START + 600 * US);
		put(fresh(5, (enum sched_class)cls), RQ_NEW, START + 600 * US);
		put(e, RQ_PREEMPTED, START + 600 * US);
		KASSERT_EQ(pick(START + 600 * US), cls);
		KASSERT_EQ(e->slice_ns, SLICE_MIN_NS);
		runq_charge(&rq, e, 1, START + 600 * US);
		put(e, RQ_PREEMPTED, START + 600 * US);
		KASSERT_EQ(pick(START + 600 * US), 5);
		KASSERT_EQ(pick(START + 600 * US), cls);
		if (cls != CLASS_KERNEL)
			KASSERT_EQ(e->slice_ns, slices[cls]);
	}
	/* What is left of a long slice is no longer than one of the level that it has risen to. */
	put(fresh(0, CLASS_INFERENCE), RQ_NEW, START);
	KASSERT_EQ(pick(START), 0);
	put(&ents[0], RQ_PREEMPTED, START);
	KASSERT_EQ(pick(START + AGE_NS), 0);
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(ents[0].slice_ns, SLICE_NORMAL_NS);
}

KTEST(sched, runq_put_twice)
{
	begin();
	KASSERT_EQ(runq_remove(&rq, fresh(0, CLASS_NORMAL)), -ENOENT);
	for (unsigned i = 0; i < 3; i++)
		KASSERT_EQ(put(fresh(i, CLASS_NORMAL), RQ_NEW, START), 0);
	KASSERT_EQ(put(&ents[1], RQ_NEW, START), -EBUSY);
	KASSERT_EQ(put(&ents[2], RQ_WAKE_BOOST, START), -EBUSY);
	KASSERT_EQ(rq.count, 3);
	KASSERT_EQ(runq_remove(&rq, &ents[1]), 0);
	KASSERT_EQ(runq_remove(&rq, &ents[1]), -ENOENT);
	KASSERT_EQ(rq.count, 2);
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(runq_remove(&rq, &ents[0]), -ENOENT);
	KASSERT_EQ(pick(START), 2);
	KASSERT_EQ(pick(START), -1);
	for (unsigned i = 0; i < 3; i++)
		put(&ents[i], RQ_NEW, START);
	KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);              /* first, last, only */
	KASSERT_EQ(runq_remove(&rq, &ents[2]), 0);
	KASSERT_EQ(runq_remove(&rq, &ents[1]), 0);
	KASSERT_EQ(pick(START), -1);
	KASSERT_EQ(rq.count, 0);
}

/* Whether a boost of ents[0] was one, at that time; it is off the queue again. */
static bool boosted(uint64_t now)
{
	put(&ents[0], RQ_WAKE_BOOST, now);
	runq_remove(&rq, &ents[0]);
	return ents[0].level == LEVEL_BOOST;
}

KTEST(sched, runq_boost)
{
	uint64_t now = START;

	begin();
	put(fresh(1, CLASS_INTERACTIVE), RQ_WAKE, now);
	put(fresh(0, CLASS_NORMAL), RQ_WAKE_BOOST, now);
	KASSERT_EQ(ents[0].level, LEVEL_BOOST);
	KASSERT_EQ(ents[0].boost_ns, now);
	KASSERT_EQ(pick(now), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_BOOST_NS);
	put(&ents[0], RQ_PREEMPTED, now);                       /* keeps its level */
	KASSERT_EQ(pick(now), 0);
	KASSERT_EQ(ents[0].level, LEVEL_BOOST);
	put(&ents[0], RQ_EXPIRED, now);                         /* and now it does not */
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(pick(now), 1);
	KASSERT_EQ(pick(now), 0);

	/* the gap */
	KASSERT(!boosted(now + BOOST_GAP_NS - 1));
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(ents[0].boost_ns, now);
	KASSERT(boosted(now + BOOST_GAP_NS));
	fresh(0, CLASS_INTERACTIVE);
	KASSERT(boosted(now + BOOST_GAP_NS));

	/* never others, and not by other reasons */
	fresh(0, CLASS_INFERENCE);
	KASSERT(!boosted(now));
	KASSERT_EQ(ents[0].level, LEVEL_INFERENCE);
	fresh(0, CLASS_IDLE);
	KASSERT(!boosted(now));
	fresh(0, CLASS_KERNEL);
	KASSERT(!boosted(now));
	KASSERT_EQ(ents[0].level, LEVEL_KERNEL);
	put(fresh(0, CLASS_NORMAL), RQ_WAKE, now);
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	runq_remove(&rq, &ents[0]);

	/* the window: what ran boosted counts, what ran otherwise does not */
	begin();
	fresh(0, CLASS_NORMAL);
	fresh(1, CLASS_NORMAL)->level = LEVEL_BOOST;
	fresh(2, CLASS_KERNEL)->level = LEVEL_KERNEL;
	runq_charge(&rq, &ents[2], 19 * MS, START + 1);
	KASSERT_EQ(rq.boosted_ns, 0);
	runq_charge(&rq, &ents[1], BOOST_SHARE_NS - 1, START + BOOST_SHARE_NS);
	KASSERT_EQ(rq.boosted_ns, BOOST_SHARE_NS - 1);
	KASSERT(boosted(START + BOOST_SHARE_NS));
	runq_charge(&rq, &ents[1], 1, START + BOOST_SHARE_NS);
	fresh(0, CLASS_NORMAL);
	KASSERT(!boosted(START + BOOST_WINDOW_NS - 1));
	KASSERT(boosted(START + BOOST_WINDOW_NS));              /* a new one begins */
	KASSERT_EQ(rq.boosted_ns, 0);
	KASSERT_EQ(rq.window_ns, START + BOOST_WINDOW_NS);
	runq_charge(&rq, &ents[1], 3 * MS, START + 2 * BOOST_WINDOW_NS);
	KASSERT_EQ(rq.boosted_ns, 3 * MS);
	KASSERT_EQ(rq.window_ns, START + 2 * BOOST_WINDOW_NS);

	/* and so does a slice of each that is queued boosted, however it came there, until it is taken off */
	begin();
	rq.boosted_ns = BOOST_SHARE_NS - 2 * SLICE_BOOST_NS - 1;
	for (unsigned i = 1; i < 4; i++) {
		put(fresh(i, CLASS_INTERACTIVE), RQ_WAKE_BOOST, START + i);
		KASSERT_EQ(ents[i].level, LEVEL_BOOST);
	}
	put(fresh(4, CLASS_INTERACTIVE), RQ_WAKE_BOOST, START + 4);
	KASSERT_EQ(ents[4].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(ents[4].boost_ns, 0);
	fresh(0, CLASS_NORMAL);
	KASSERT(!boosted(START + 5));
	KASSERT_EQ(runq_remove(&rq, &ents[2]), 0);
	KASSERT(boosted(START + 5));
	fresh(2, CLASS_NORMAL)->donated = LEVEL_BOOST;
	put(&ents[2], RQ_NEW, START + 6);
	fresh(0, CLASS_NORMAL);
	KASSERT(!boosted(START + 6));
	KASSERT(!boosted(START + BOOST_WINDOW_NS - 1));
	KASSERT_EQ(pick(START + BOOST_WINDOW_NS - 1), 1);
	KASSERT(boosted(START + BOOST_WINDOW_NS - 1));
}

/* ---- many boosts at once ---- */

enum { CROWD = 44, LAST = CROWD };

static struct sched_ent crowd[CROWD + 1];

KTEST(sched, runq_boost_bounded)
{
	const uint64_t bound = 7 * (2 * AGE_NS + (CROWD + 1) * SLICE_INTERACTIVE_NS);
	uint64_t now = START, woken = START, ran = START, longest = 0, turns = 0;

	begin();
	for (unsigned i = 0; i <= CROWD; i++)
		crowd[i] = (struct sched_ent){ .cls = i == LAST ? CLASS_INFERENCE : CLASS_INTERACTIVE, .donated = LEVEL_NONE, .affinity = UINT64_MAX };
	put(&crowd[LAST], RQ_NEW, now);
	while (now < START + 5 * bound) {
		struct sched_ent *e;

		if (now >= woken) {                             /* all that wait, at one instant; each computes for a slice, and waits again */
			for (unsigned i = 0; i < CROWD; i++)
				if (!crowd[i].queued)
					put(&crowd[i], RQ_WAKE_BOOST, now);
			woken += BOOST_WINDOW_NS;
		}
		e = runq_pick(&rq, now);
		if (!e) {
			now = woken;
			continue;
		}
		if (e == &crowd[LAST]) {
			longest = now - ran > longest ? now - ran : longest;
			turns++;
		}
		now += e->slice_ns;
		runq_charge(&rq, e, e->slice_ns, now);
		if (e == &crowd[LAST]) {
			ran = now;
			put(e, RQ_EXPIRED, now);
		}
	}
	longest = now - ran > longest ? now - ran : longest;
	KASSERT(turns > 0);
	KASSERT(longest <= bound);
}

KTEST(sched, runq_ageing)
{
	begin();
	put(fresh(0, CLASS_NORMAL), RQ_NEW, START);
	put(fresh(1, CLASS_INFERENCE), RQ_NEW, START);
	put(fresh(2, CLASS_NORMAL), RQ_NEW, START + 1);
	put(fresh(3, CLASS_INTERACTIVE), RQ_NEW, START);
	put(fresh(4, CLASS_IDLE), RQ_NEW, START);
	put(fresh(5, CLASS_KERNEL), RQ_NEW, START);
	KASSERT_EQ(pick(START + AGE_NS - 1), 5);                /* a moment too early: nothing rises */
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(rq.aged_ns, START + AGE_NS - 1);
	put(&ents[5], RQ_NEW, START + AGE_NS);
	KASSERT_EQ(pick(START + AGE_NS + MS - 2), 5);           /* nor is the next time due */
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	put(&ents[5], RQ_NEW, START + AGE_NS);
	KASSERT_EQ(pick(START + AGE_NS + MS - 1), 5);
	KASSERT_EQ(ents[0].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(ents[2].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(ents[1].level, LEVEL_NORMAL);                /* one step at a time */
	KASSERT_EQ(ents[1].stamp_ns, START + AGE_NS + MS - 1);
	KASSERT_EQ(ents[4].level, LEVEL_IDLE);
	KASSERT_EQ(rq.count, 5);
	KASSERT_EQ(pick(START + AGE_NS + MS - 1), 3);           /* who rises comes behind who is there, in its order */
	KASSERT_EQ(pick(START + AGE_NS + MS - 1), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_INTERACTIVE_NS);
	put(&ents[0], RQ_EXPIRED, START + AGE_NS + MS);         /* back to where it belongs */
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(pick(START + AGE_NS + MS), 2);
	KASSERT_EQ(pick(START + AGE_NS + MS), 1);
	KASSERT_EQ(ents[1].slice_ns, SLICE_NORMAL_NS);
	/* from INFERENCE to INTERACTIVE takes twice as long, and there it ends */
	put(&ents[1], RQ_EXPIRED, START + 100 * MS);
	KASSERT_EQ(ents[1].level, LEVEL_INFERENCE);
	for (unsigned ms = 101; ms <= 300; ms++) {
		put(&ents[5], RQ_NEW, START + ms * MS);
		KASSERT_EQ(pick(START + ms * MS), 5);
		KASSERT_EQ(ents[1].level, ms < 120 ? LEVEL_INFERENCE : ms < 140 ? LEVEL_NORMAL : LEVEL_INTERACTIVE);
	}
	KASSERT_EQ(ents[4].level, LEVEL_IDLE);
}

KTEST(sched, runq_spent)
{
	begin();
	put(fresh(0, CLASS_KERNEL), RQ_WAKE, START);
	put(fresh(1, CLASS_INTERACTIVE), RQ_WAKE, START);
	KASSERT_EQ(pick(START), 0);
	KASSERT(!ents[0].spent);
	put(&ents[0], RQ_YIELD, START);                         /* a yield is not spending */
	KASSERT_EQ(ents[0].level, LEVEL_KERNEL);
	KASSERT_EQ(pick(START), 0);
	put(&ents[0], RQ_EXPIRED, START);
	KASSERT(ents[0].spent);
	KASSERT_EQ(ents[0].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(pick(START), 1);
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_INTERACTIVE_NS);
	put(&ents[0], RQ_YIELD, START);
	KASSERT_EQ(ents[0].level, LEVEL_INTERACTIVE);           /* until it has waited for something */
	KASSERT_EQ(pick(START), 0);
	put(&ents[0], RQ_WAKE, START);
	KASSERT(!ents[0].spent);
	KASSERT_EQ(ents[0].level, LEVEL_KERNEL);
	KASSERT_EQ(pick(START), 0);
	runq_charge(&rq, &ents[0], SLICE_KERNEL_NS - SLICE_MIN_NS + 1, START);
	put(&ents[0], RQ_PREEMPTED, START);                     /* that is expired */
	KASSERT(ents[0].spent);
	KASSERT_EQ(ents[0].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(pick(START), 0);
	put(&ents[0], RQ_WAKE_BOOST, START);
	KASSERT(!ents[0].spent);
	KASSERT_EQ(ents[0].level, LEVEL_KERNEL);
	put(&ents[1], RQ_EXPIRED, START);                       /* others are never */
	KASSERT(!ents[1].spent);
}

KTEST(sched, runq_donated)
{
	begin();
	put(fresh(1, CLASS_NORMAL), RQ_NEW, START);
	fresh(0, CLASS_INFERENCE)->donated = LEVEL_KERNEL;
	put(&ents[0], RQ_EXPIRED, START);
	KASSERT_EQ(ents[0].level, LEVEL_KERNEL);
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_KERNEL_NS);
	ents[0].donated = LEVEL_NORMAL;
	put(&ents[0], RQ_WAKE, START);
	KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
	KASSERT_EQ(pick(START), 1);
	KASSERT_EQ(pick(START), 0);
	ents[0].donated = LEVEL_NONE;
	put(&ents[0], RQ_EXPIRED, START);
	KASSERT_EQ(ents[0].level, LEVEL_INFERENCE);
	fresh(2, CLASS_INTERACTIVE)->donated = LEVEL_INFERENCE; /* a donation never lowers */
	put(&ents[2], RQ_NEW, START);
	KASSERT_EQ(ents[2].level, LEVEL_INTERACTIVE);
	KASSERT_EQ(pick(START), 2);
	fresh(3, CLASS_NORMAL)->donated = LEVEL_KERNEL;
	put(&ents[3], RQ_WAKE_BOOST, START);                    /* the better of the two */
	KASSERT_EQ(ents[3].level, LEVEL_KERNEL);
}

KTEST(sched, runq_steal)
{
	begin();
	KASSERT(runq_steal(&rq, 0) == NULL);
	put(fresh(0, CLASS_KERNEL), RQ_NEW, START);
	put(fresh(1, CLASS_IDLE), RQ_NEW, START);
	KASSERT(runq_steal(&rq, 0) == NULL);
	KASSERT(runq_steal(&rq, 63) == NULL);
	put(fresh(2, CLASS_INFERENCE), RQ_NEW, START);
	put(fresh(3, CLASS_NORMAL), RQ_NEW, START);
	put(fresh(4, CLASS_NORMAL), RQ_NEW, START);
	fresh(5, CLASS_NORMAL)->affinity = 1 << 1;
	put(&ents[5], RQ_NEW, START);
	fresh(6, CLASS_INTERACTIVE)->affinity = 1 << 2 | 1 << 3;
	put(&ents[6], RQ_NEW, START);
	KASSERT_EQ(rq.count, 7);
	KASSERT_EQ(runq_steal(&rq, 0) - ents, 4);               /* the last of the best level that may run there */
	KASSERT(!ents[4].queued);
	KASSERT_EQ(rq.count, 6);
	KASSERT_EQ(runq_steal(&rq, 3) - ents, 6);
	KASSERT_EQ(runq_steal(&rq, 0) - ents, 3);
	KASSERT_EQ(runq_steal(&rq, 0) - ents, 2);
	KASSERT(runq_steal(&rq, 0) == NULL);
	KASSERT_EQ(runq_steal(&rq, 1) - ents, 5);
	KASSERT(runq_steal(&rq, 1) == NULL);
	put(fresh(7, CLASS_NORMAL), RQ_WAKE_BOOST, START);
	KASSERT_EQ(ents[7].level, LEVEL_BOOST);
	KASSERT_EQ(runq_steal(&rq, 5) - ents, 7);
	KASSERT_EQ(rq.count, 2);
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(pick(START), 1);
}

/* ---- random steps against a plain model: one array, searched for everything ---- */

enum { ENTS = 32, STEPS = 100000 };

static struct model {
	struct sched_ent e;             /* as the model has it; of the queue only queued is used */
	uint64_t order;                 /* within its level: the smaller the earlier */
} model[ENTS];
static struct sched_ent real[ENTS];
static struct { uint64_t count, window, boosted, aged, first, last; } m;

static unsigned model_base(const struct sched_ent *e)
{
	return e->cls == CLASS_KERNEL ? (e->spent ? LEVEL_INTERACTIVE : LEVEL_KERNEL) :
	       e->cls == CLASS_INTERACTIVE ? LEVEL_INTERACTIVE : e->cls == CLASS_NORMAL ? LEVEL_NORMAL :
	       e->cls == CLASS_INFERENCE ? LEVEL_INFERENCE : LEVEL_IDLE;
}

static uint64_t model_slice(unsigned level)
{
	return level == LEVEL_KERNEL || level == LEVEL_INTERACTIVE ? 1 * MS : level == LEVEL_BOOST ? 500 * US : level == LEVEL_NORMAL ? 2 * MS : 8 * MS;
}

static void model_window(uint64_t now)
{
	if (now - m.window >= BOOST_WINDOW_NS) {
		m.window = now;
		m.boosted = 0;
	}
}

static int model_put(struct model *p, enum runq_why why, uint64_t now)
{
	struct sched_ent *e = &p->e;

	if (e->queued)
		return -EBUSY;
	if (why == RQ_PREEMPTED && e->slice_ns < SLICE_MIN_NS)
		why = RQ_EXPIRED;
	e->spent = why == RQ_WAKE || why == RQ_WAKE_BOOST ? false : e->spent || (why == RQ_EXPIRED && e->cls == CLASS_KERNEL);
	if (why != RQ_PREEMPTED) {
		e->level = (uint8_t)model_base(e);
		e->slice_ns = 0;
	}
	if (why == RQ_WAKE_BOOST && (e->cls == CLASS_INTERACTIVE || e->cls == CLASS_NORMAL) && (!e->boost_ns || now - e->boost_ns >= BOOST_GAP_NS)) {
		uint64_t used;

		model_window(now);
		used = m.boosted;
		for (unsigned i = 0; i < ENTS; i++)
			used += model[i].e.queued && model[i].e.level == LEVEL_BOOST ? SLICE_BOOST_NS : 0;
		if (used < BOOST_SHARE_NS) {
			e->level = LEVEL_BOOST;
			e->boost_ns = now;
		}
	}
	if (e->donated < e->level)
		e->level = e->donated;
	e->queued = true;
	e->stamp_ns = now;
	p->order = why == RQ_PREEMPTED ? --m.first : ++m.last;
	m.count++;
	return 0;
}

/* The first of those that, or the last; NULL: none. */
static struct model *model_find(unsigned level, bool last, uint64_t affinity)
{
	struct model *found = NULL;

	for (unsigned i = 0; i < ENTS; i++)
		if (model[i].e.queued && model[i].e.level == level && model[i].e.affinity & affinity &&
		    (!found || (last ? model[i].order > found->order : model[i].order < found->order)))
			found = &model[i];
	return found;
}

static void model_age(unsigned from, unsigned to, uint64_t now)
{
	for (;;) {
		struct model *first = NULL;

		for (unsigned i = 0; i < ENTS; i++)
			if (model[i].e.queued && model[i].e.level == from && now - model[i].e.stamp_ns >= AGE_NS &&
			    (!first || model[i].order < first->order))
				first = &model[i];
		if (!first)
			return;
		first->e.level = (uint8_t)to;
		first->e.stamp_ns = now;
		first->order = ++m.last;
	}
}

static struct model *model_pick(uint64_t now)
{
	if (now - m.aged >= MS) {
		model_age(LEVEL_NORMAL, LEVEL_INTERACTIVE, now);
		model_age(LEVEL_INFERENCE, LEVEL_NORMAL, now);
		m.aged = now;
	}
	for (unsigned level = 0; level < LEVEL_COUNT; level++) {
		struct model *p = model_find(level, false, UINT64_MAX);

		if (p) {
			p->e.queued = false;
			m.count--;
			if (!p->e.slice_ns || p->e.slice_ns > model_slice(level))
				p->e.slice_ns = model_slice(level);
			return p;
		}
	}
	return NULL;
}

static bool same(unsigned i)
{
	const struct sched_ent *a = &model[i].e, *b = &real[i];

	return a->queued == b->queued && a->spent == b->spent && a->level == b->level && a->slice_ns == b->slice_ns && a->boost_ns == b->boost_ns &&
	       (!a->queued || a->stamp_ns == b->stamp_ns) && m.count == rq.count && m.boosted == rq.boosted_ns && m.window == rq.window_ns;
}

KTEST(sched, runq_random)
{
	uint64_t seed = harness_seed(), now = START, wrong = 0;

	begin();
	harness_memset(&m, 0, sizeof m);
	m.window = m.aged = START;
	m.first = m.last = 1ull << 32;
	for (unsigned i = 0; i < ENTS; i++) {
		const uint64_t r = harness_random(&seed);

		real[i] = (struct sched_ent){ .cls = (uint8_t)(r % CLASS_COUNT), .donated = LEVEL_NONE, .affinity = 1 + (r >> 8) % 15 };
		real[i].level = (uint8_t)model_base(&real[i]);
		model[i] = (struct model){ .e = real[i] };
	}
	for (unsigned step = 0; step < STEPS && !wrong; step++) {
		const uint64_t r = harness_random(&seed);
		unsigned i = r >> 8 & (ENTS - 1);
		const unsigned why = (r >> 16 & 0xff) % 6, cpu = r >> 24 & 3;
		const uint64_t ran = (r >> 32) % (r & 128 ? 200 * US : 3 * MS);
		struct sched_ent *e;
		struct model *p;

		now += (r >> 40) % (r >> 63 ? 2 * MS : 100 * US);
		switch (r & 7) {
		case 0: case 1: case 2:
			wrong += model_put(&model[i], (enum runq_why)why, now) != runq_put(&rq, &real[i], (enum runq_why)why, now);
			break;
		case 3: case 4:
			p = model_pick(now);
			e = runq_pick(&rq, now);
			wrong += (p ? p - model : -1) != (e ? e - real : -1);
			i = p ? (unsigned)(p - model) : i;
			break;
		case 5:
			if (model[i].e.queued)
				break;
			model[i].e.slice_ns -= model[i].e.slice_ns < ran ? model[i].e.slice_ns : ran;
			if (model[i].e.level == LEVEL_BOOST) {
				model_window(now);
				m.boosted += ran;
			}
			runq_charge(&rq, &real[i], ran, now);
			break;
		case 6:
			if (r >> 12 & 1) {                      /* a donation begins or ends */
				if (!model[i].e.queued)
					model[i].e.donated = real[i].donated = r >> 13 & 1 ? LEVEL_NONE : (uint8_t)(r >> 14 & 3);
				break;
			}
			wrong += runq_remove(&rq, &real[i]) != (model[i].e.queued ? 0 : -ENOENT);
			m.count -= model[i].e.queued;
			model[i].e.queued = false;
			break;
		default:
			if (r >> 12 & 3)
				break;                          /* seldom: or little stays queued */
			p = NULL;
			for (unsigned level = LEVEL_BOOST; level < LEVEL_IDLE && !p; level++)
				p = model_find(level, true, 1ull << cpu);
			e = runq_steal(&rq, cpu);
			wrong += (p ? p - model : -1) != (e ? e - real : -1);
			if (p) {
				p->e.queued = false;
				m.count--;
				i = (unsigned)(p - model);
			}
		}
		wrong += !same(i) || !same(step % ENTS);
		if (wrong)
			ktest_note("step", step);
	}
	KASSERT_EQ(wrong, 0);
}
