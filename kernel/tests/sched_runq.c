/* Further tests of sched/runq.c, with made-up time: limits to the nanosecond, donations and classes that change
 * while an entity is queued or runs, refusals that change nothing, clocks that are a little behind, the lists
 * themselves after random steps, and how long anybody waits. See spec/sched.md, "Rules of the run queue". */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "harness.h"
#include "sched.h"
#include "string.h"

#define US 1000ull
#define MS 1000000ull
#define START 7000000000ull             /* long after what is 0 */
#define SEED 0x72756e71u

enum { ENTS = 40, SHARE_SLICES = BOOST_SHARE_NS / SLICE_BOOST_NS };

static const uint64_t slices[LEVEL_COUNT] = {
	[LEVEL_KERNEL] = SLICE_KERNEL_NS, [LEVEL_BOOST] = SLICE_BOOST_NS, [LEVEL_INTERACTIVE] = SLICE_INTERACTIVE_NS,
	[LEVEL_NORMAL] = SLICE_NORMAL_NS, [LEVEL_INFERENCE] = SLICE_INFERENCE_NS, [LEVEL_IDLE] = SLICE_INFERENCE_NS,
};

/* Of who is not spent. */
static const uint8_t bases[CLASS_COUNT] = {
	[CLASS_KERNEL] = LEVEL_KERNEL, [CLASS_INTERACTIVE] = LEVEL_INTERACTIVE, [CLASS_NORMAL] = LEVEL_NORMAL,
	[CLASS_INFERENCE] = LEVEL_INFERENCE, [CLASS_IDLE] = LEVEL_IDLE,
};

static struct runq rq;
static struct sched_ent ents[ENTS];

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void prepare(struct runq *q)
{
	memset(q, 0xa5, sizeof *q);
	runq_init(q);
	q->aged_ns = q->window_ns = START;
}

static void begin(void)
{
	prepare(&rq);
}

static struct sched_ent *fresh(unsigned i, enum sched_class cls)
{
	ents[i] = (struct sched_ent){ .cls = (uint8_t)cls, .donated = LEVEL_NONE, .affinity = UINT64_MAX };
	return &ents[i];
}

static struct sched_ent *fresh_donated(unsigned i, enum sched_class cls, unsigned donated)
{
	fresh(i, cls)->donated = (uint8_t)donated;
	return &ents[i];
}

static int put(unsigned i, enum runq_why why, uint64_t now)
{
	return runq_put(&rq, &ents[i], why, now);
}

static int number(const struct sched_ent *e)
{
	return e ? (int)(e - ents) : -1;
}

static int pick(uint64_t now)
{
	return number(runq_pick(&rq, now));
}

/* Who is in the list of that level, from its head on: 'a' is ents[0]. A '!' stands where somebody is not linked
 * both ways or does not know that it is there. */
static const char *list(unsigned level)
{
	static char text[ENTS + 2];
	const struct sched_ent *prev = NULL, *e = rq.q[level].head;
	unsigned n = 0;

	for (; e && n < ENTS && e->prev == prev && e->queued && e->level == level; prev = e, e = e->next)
		text[n++] = (char)('a' + number(e));
	if (e || rq.q[level].tail != prev)
		text[n++] = '!';
	text[n] = '\0';
	return text;
}

/* ---- slices ---- */

/* On every level, whether an entity is there by its class or by a donation that has ended meanwhile or has not:
 * with SLICE_MIN_NS left it comes back to the head of that level and has so much, with a nanosecond less it begins
 * anew. */
KTEST(sched, check_runq_remainder)
{
	for (unsigned level = 0; level < LEVEL_COUNT; level++)
		for (unsigned less = 0; less < 2; less++)
			for (unsigned kept = 0; kept < 2; kept++) {
				const enum sched_class cls = level == LEVEL_IDLE ? CLASS_IDLE : CLASS_INFERENCE;
				const unsigned ends = kept ? level : bases[cls];

				begin();
				fresh_donated(0, cls, level);
				KASSERT_EQ(put(0, RQ_NEW, START), 0);
				KASSERT_EQ(pick(START), 0);
				KASSERT_EQ(ents[0].slice_ns, slices[level]);
				for (unsigned i = 1; i < 3; i++) {
					fresh_donated(i, cls, level);
					put(i, RQ_NEW, START);
				}
				runq_charge(&rq, &ents[0], slices[level] - SLICE_MIN_NS + less, START);
				KASSERT_EQ(ents[0].slice_ns, SLICE_MIN_NS - less);
				if (!kept)
					ents[0].donated = LEVEL_NONE;
				KASSERT_EQ(put(0, RQ_PREEMPTED, START), 0);
				if (!less) {
					KASSERT_STREQ(list(level), "abc");
					KASSERT_EQ(pick(START), 0);
					KASSERT_EQ(ents[0].slice_ns, SLICE_MIN_NS);
					KASSERT_EQ(ents[0].level, level);
					continue;
				}
				KASSERT_EQ(ents[0].slice_ns, 0);
				KASSERT_STREQ(list(level), ends == level ? "bca" : "bc");
				KASSERT_STREQ(list(ends), ends == level ? "bca" : "a");
				KASSERT_EQ(pick(START), 1);
				KASSERT_EQ(pick(START), 2);
				KASSERT_EQ(pick(START), 0);
				KASSERT_EQ(ents[0].slice_ns, slices[ends]);
			}
}

/* Of all that ran counts as boosted, even what was more than the slice; and only at LEVEL_BOOST, by whatever it
 * came there. Nothing else changes. */
KTEST(sched, check_runq_charge)
{
	for (unsigned level = 0; level < LEVEL_COUNT; level++) {
		static const uint64_t ran[] = { 0, 1, SLICE_BOOST_NS, SLICE_BOOST_NS + 1, 9 * MS, UINT64_MAX };
		static struct sched_ent e;
		static struct runq q;

		for (unsigned i = 0; i < sizeof ran / sizeof *ran; i++) {
			begin();
			fresh_donated(0, CLASS_IDLE, level);
			fresh_donated(1, CLASS_IDLE, level);
			put(0, RQ_NEW, START);
			put(1, RQ_NEW, START);
			KASSERT_EQ(pick(START), 0);
			memcpy(&e, &ents[0], sizeof e);
			memcpy(&q, &rq, sizeof q);
			runq_charge(&rq, &ents[0], ran[i], START + BOOST_WINDOW_NS - 1);
			e.slice_ns -= ran[i] < slices[level] ? ran[i] : slices[level];
			q.boosted_ns += level == LEVEL_BOOST ? ran[i] : 0;
			KASSERT_EQ(ents[0].slice_ns, e.slice_ns);
			KASSERT_EQ(rq.boosted_ns, q.boosted_ns);
			KASSERT(memcmp(&e, &ents[0], sizeof e) == 0);
			KASSERT(memcmp(&q, &rq, sizeof q) == 0);
		}
	}
}

/* ---- ageing ---- */

/* Who was preempted stands at the head with a new stamp. Behind it there are some who rise, in their order, to the
 * tail of the next level, and some who have a nanosecond to wait. */
KTEST(sched, check_runq_ages_out_of_order)
{
	const uint64_t now = START + 20 + AGE_NS;

	begin();
	for (unsigned i = 0; i < 3; i++) {              /* abc: INFERENCE, from START + 10, 20, 21 */
		fresh(i, CLASS_INFERENCE);
		put(i, RQ_NEW, START + 10 + (i ? 9 + i : 0));
	}
	KASSERT_EQ(pick(START + 25), 0);
	put(0, RQ_PREEMPTED, START + 25);
	for (unsigned i = 3; i < 7; i++) {              /* defg: NORMAL, from START + 12, 14, 16, 40 */
		fresh(i, CLASS_NORMAL);
		put(i, RQ_NEW, i < 6 ? START + 6 + 2 * i : START + 40);
	}
	KASSERT_EQ(pick(START + 41), 3);
	put(3, RQ_PREEMPTED, START + 41);
	fresh(7, CLASS_INTERACTIVE);
	put(7, RQ_NEW, START);
	fresh(8, CLASS_KERNEL);
	put(8, RQ_NEW, START);
	KASSERT_STREQ(list(LEVEL_INFERENCE), "abc");
	KASSERT_STREQ(list(LEVEL_NORMAL), "defg");

	KASSERT_EQ(pick(now), 8);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "hef");
	KASSERT_STREQ(list(LEVEL_NORMAL), "dgb");
	KASSERT_STREQ(list(LEVEL_INFERENCE), "ac");
	KASSERT_EQ(rq.count, 8);
	KASSERT_EQ(ents[1].stamp_ns, now);
	KASSERT_EQ(ents[4].stamp_ns, now);
	KASSERT_EQ(ents[5].stamp_ns, now);
	KASSERT_EQ(ents[0].stamp_ns, START + 25);
	KASSERT_EQ(ents[2].stamp_ns, START + 21);
	KASSERT_EQ(ents[3].stamp_ns, START + 41);
	KASSERT_EQ(ents[6].stamp_ns, START + 40);
	KASSERT_EQ(ents[7].stamp_ns, START);

	/* a nanosecond before the rest is due, and then; who has risen already is not old again */
	rq.aged_ns = START;
	put(8, RQ_WAKE, now);
	KASSERT_EQ(pick(START + 40 + AGE_NS - 1), 8);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "hef");
	KASSERT_STREQ(list(LEVEL_NORMAL), "dgbac");
	KASSERT_STREQ(list(LEVEL_INFERENCE), "");
	rq.aged_ns = START;
	put(8, RQ_WAKE, now);
	KASSERT_EQ(pick(START + 41 + AGE_NS), 8);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "hefdg");
	KASSERT_STREQ(list(LEVEL_NORMAL), "bac");
	KASSERT_EQ(rq.count, 8);
}

/* From one ageing to the next there is a millisecond, whether the first found anybody, or anything at all; and
 * only a pick ages. */
KTEST(sched, check_runq_ageing_interval)
{
	begin();
	KASSERT_EQ(pick(START + MS - 1), -1);
	KASSERT_EQ(rq.aged_ns, START);
	KASSERT_EQ(pick(START + MS), -1);
	KASSERT_EQ(rq.aged_ns, START + MS);
	fresh(0, CLASS_NORMAL);
	put(0, RQ_NEW, START - AGE_NS);
	fresh(1, CLASS_KERNEL);
	put(1, RQ_NEW, START);
	KASSERT_EQ(pick(START + 2 * MS - 1), 1);
	KASSERT_EQ(rq.aged_ns, START + MS);
	KASSERT_STREQ(list(LEVEL_NORMAL), "a");

	for (unsigned why = RQ_NEW; why <= RQ_YIELD; why++) {
		put(1, (enum runq_why)why, START + 900 * MS);
		KASSERT_EQ(runq_remove(&rq, &ents[1]), 0);
	}
	fresh(2, CLASS_INTERACTIVE);
	put(2, RQ_NEW, START);
	KASSERT_EQ(number(runq_steal(&rq, 0)), 2);
	runq_charge(&rq, &ents[1], 1, START + 900 * MS);
	KASSERT_EQ(rq.aged_ns, START + MS);
	KASSERT_STREQ(list(LEVEL_NORMAL), "a");

	ents[1].spent = false;
	put(1, RQ_NEW, START);
	KASSERT_EQ(pick(START + 2 * MS), 1);
	KASSERT_EQ(rq.aged_ns, START + 2 * MS);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "a");
}

/* What another processor has stamped may be some microseconds ahead of this one's clock. It is new, not ages old.
 * */
KTEST(sched, check_runq_clock_behind)
{
	const uint64_t ahead = START + 10 * US;

	begin();
	fresh(0, CLASS_NORMAL);
	put(0, RQ_NEW, ahead + MS);
	fresh(1, CLASS_INFERENCE);
	put(1, RQ_NEW, ahead + MS);
	fresh(2, CLASS_KERNEL);
	put(2, RQ_NEW, ahead + MS);
	KASSERT_EQ(pick(START + MS), 2);
	KASSERT_EQ(rq.aged_ns, START + MS);             /* it did age, or would have */
	KASSERT_STREQ(list(LEVEL_NORMAL), "a");
	KASSERT_STREQ(list(LEVEL_INFERENCE), "b");

	begin();
	rq.aged_ns = ahead;
	fresh(0, CLASS_NORMAL);
	put(0, RQ_NEW, START - 2 * AGE_NS);
	fresh(2, CLASS_KERNEL);
	put(2, RQ_NEW, START);
	KASSERT_EQ(pick(START), 2);
	KASSERT_EQ(rq.aged_ns, ahead);
	KASSERT_STREQ(list(LEVEL_NORMAL), "a");

	begin();
	fresh(3, CLASS_INTERACTIVE)->boost_ns = ahead;
	put(3, RQ_WAKE_BOOST, START);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "d");
	KASSERT_EQ(ents[3].boost_ns, ahead);

	begin();
	rq.window_ns = ahead;
	rq.boosted_ns = BOOST_SHARE_NS;
	fresh(4, CLASS_NORMAL);
	put(4, RQ_WAKE_BOOST, START);
	KASSERT_STREQ(list(LEVEL_NORMAL), "e");
	fresh_donated(5, CLASS_NORMAL, LEVEL_BOOST);
	put(5, RQ_NEW, START);
	KASSERT_EQ(pick(START), 5);
	runq_charge(&rq, &ents[5], 3, START);
	KASSERT_EQ(rq.boosted_ns, BOOST_SHARE_NS + 3);
	KASSERT_EQ(rq.window_ns, ahead);
}

/* IDLE is behind all others for ever, and nobody takes it away; it counts all the same. Lifted by a donation it is
 * like who is there. */
KTEST(sched, check_runq_idle)
{
	begin();
	fresh(0, CLASS_IDLE);
	for (unsigned why = RQ_NEW; why <= RQ_YIELD; why++) {
		KASSERT_EQ(put(0, (enum runq_why)why, START), 0);
		KASSERT_STREQ(list(LEVEL_IDLE), "a");
		KASSERT_EQ(rq.count, 1);
		KASSERT_EQ(ents[0].boost_ns, 0);
		KASSERT(!ents[0].spent);
		KASSERT(runq_steal(&rq, 0) == NULL);
		KASSERT_EQ(pick(START + why * 3600000 * MS), 0);
		KASSERT_EQ(ents[0].level, LEVEL_IDLE);
		KASSERT_EQ(ents[0].slice_ns, SLICE_INFERENCE_NS);
		runq_charge(&rq, &ents[0], SLICE_INFERENCE_NS, START);
	}
	put(0, RQ_NEW, START);
	for (unsigned i = 1; i < 200; i++) {
		const uint64_t now = START + 20 * 3600000 * MS + i * AGE_NS;

		fresh(1, CLASS_INFERENCE);
		put(1, RQ_NEW, now);
		KASSERT_EQ(pick(now), 1);
		KASSERT_STREQ(list(LEVEL_IDLE), "a");
	}
	KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
	begin();
	fresh_donated(0, CLASS_IDLE, LEVEL_NORMAL);
	put(0, RQ_NEW, START);
	KASSERT_STREQ(list(LEVEL_NORMAL), "a");
	fresh(1, CLASS_KERNEL);
	put(1, RQ_NEW, START);
	KASSERT_EQ(pick(START + AGE_NS), 1);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "a");
	KASSERT_EQ(number(runq_steal(&rq, 7)), 0);
	KASSERT_EQ(rq.count, 0);

	for (unsigned running = 0; running < LEVEL_COUNT; running++)
		for (unsigned woken = 0; woken < LEVEL_COUNT; woken++) {
			fresh(2, CLASS_NORMAL)->level = (uint8_t)running;
			fresh(3, CLASS_NORMAL)->level = (uint8_t)woken;
			KASSERT_EQ(runq_preempts(&ents[2], &ents[3]), woken < running);
		}
}

/* ---- donations, classes and spending ---- */

/* A donation begins or ends, or the class becomes another, while an entity is queued, alone or with others: it
 * stays where it is, is found there, and goes where it belongs when it is put again. */
KTEST(sched, check_runq_changes_while_queued)
{
	static const uint8_t donations[] = {
		LEVEL_KERNEL, LEVEL_BOOST, LEVEL_INTERACTIVE, LEVEL_NORMAL, LEVEL_INFERENCE, LEVEL_IDLE, LEVEL_NONE,
	};
	static const enum runq_why whys[] = { RQ_NEW, RQ_WAKE, RQ_EXPIRED, RQ_YIELD, RQ_PREEMPTED };
	static const char *const places[] = { "abc", "bac", "acb", "b" };
	enum { DONATIONS = sizeof donations, CASES = DONATIONS * DONATIONS * CLASS_COUNT * CLASS_COUNT };

	for (unsigned i = 0; i < CASES; i++) {
		const unsigned from = donations[i % DONATIONS], to = donations[i / DONATIONS % DONATIONS];
		const unsigned was = i / (DONATIONS * DONATIONS) % CLASS_COUNT;
		const unsigned is = i / (DONATIONS * DONATIONS) / CLASS_COUNT;
		const unsigned level = from < bases[was] ? from : bases[was];
		const enum runq_why why = whys[i % 5];
		/* preempted with nothing left is as expired */
		const bool spent = (why == RQ_EXPIRED || why == RQ_PREEMPTED) && is == CLASS_KERNEL;
		const unsigned base = spent ? LEVEL_INTERACTIVE : bases[is], again = to < base ? to : base;

		const unsigned place = i / 3 % 4;
		const char *const others = place == 3 ? "" : "ac", *const all = place == 3 ? "b" : "acb";

		begin();
		for (unsigned k = 0; places[place][k]; k++) {
			fresh_donated((unsigned)(places[place][k] - 'a'), (enum sched_class)was, from)->affinity = 1;
			put((unsigned)(places[place][k] - 'a'), RQ_NEW, START);
		}
		ents[1].affinity = UINT64_MAX;
		ents[1].donated = (uint8_t)to;
		ents[1].cls = (uint8_t)is;
		KASSERT_STREQ(list(level), places[place]);
		if (i % 3 == 0 && places[place][0] == 'b') {
			KASSERT_EQ(pick(START), 1);
			KASSERT_EQ(ents[1].slice_ns, slices[level]);
			ents[1].slice_ns = 0;
		} else if (i % 3 == 1 && level >= LEVEL_BOOST && level < LEVEL_IDLE) {
			KASSERT_EQ(number(runq_steal(&rq, 9)), 1);
		} else {
			KASSERT(level != LEVEL_KERNEL || runq_steal(&rq, 9) == NULL);
			KASSERT_EQ(runq_remove(&rq, &ents[1]), 0);
		}
		KASSERT_EQ(ents[1].level, level);
		KASSERT_STREQ(list(level), others);
		KASSERT_EQ(put(1, why, START + 5), 0);
		KASSERT_EQ(ents[1].level, again);
		KASSERT_EQ(ents[1].spent, spent);
		KASSERT_STREQ(list(level), again == level ? all : others);
		KASSERT_STREQ(list(again), again == level ? all : "b");
		KASSERT_EQ(rq.count, strlen(places[place]));
	}
}

/* While it runs: who is preempted comes to the head of the level that it ran at, or of a better one that it was
 * given meanwhile; everything else begins at the base. */
KTEST(sched, check_runq_donation_while_running)
{
	begin();
	for (unsigned i = 0; i < 3; i++) {              /* a KERNEL, b INTERACTIVE, c NORMAL wait */
		fresh(i, (enum sched_class)i);
		put(i, RQ_NEW, START);
	}

	/* d: a donation ends while it runs; the level stays for the rest of its slice */
	fresh_donated(3, CLASS_INFERENCE, LEVEL_KERNEL);
	put(3, RQ_NEW, START);
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(pick(START), 3);
	ents[3].donated = LEVEL_NONE;
	runq_charge(&rq, &ents[3], 400 * US, START);
	put(0, RQ_NEW, START);
	put(3, RQ_PREEMPTED, START);
	KASSERT_STREQ(list(LEVEL_KERNEL), "da");
	KASSERT_EQ(pick(START), 3);
	KASSERT_EQ(ents[3].slice_ns, SLICE_KERNEL_NS - 400 * US);
	put(3, RQ_EXPIRED, START);
	KASSERT_STREQ(list(LEVEL_INFERENCE), "d");

	/* d again: one begins while it runs; what is left of the long slice is cut to the better level's */
	begin();
	fresh(3, CLASS_INFERENCE);
	put(3, RQ_NEW, START);
	KASSERT_EQ(pick(START), 3);
	KASSERT_EQ(ents[3].slice_ns, SLICE_INFERENCE_NS);
	for (unsigned i = 0; i < 3; i++) {
		fresh(i, (enum sched_class)i);
		put(i, RQ_NEW, START);
	}
	ents[3].donated = LEVEL_INTERACTIVE;
	put(3, RQ_PREEMPTED, START);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "db");
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(pick(START), 3);
	KASSERT_EQ(ents[3].slice_ns, SLICE_INTERACTIVE_NS);
	put(3, RQ_YIELD, START);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "bd");
	KASSERT_EQ(runq_remove(&rq, &ents[3]), 0);

	/* c has risen by age; a worse donation holds it there no longer than a slice, and then above its base only */
	ents[2].cls = CLASS_INFERENCE;
	put(0, RQ_NEW, START);
	KASSERT_EQ(pick(START + AGE_NS), 0);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "bc");
	KASSERT_EQ(pick(START + AGE_NS), 1);
	KASSERT_EQ(pick(START + AGE_NS), 2);
	ents[2].donated = LEVEL_NORMAL;
	put(2, RQ_PREEMPTED, START + AGE_NS);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "c");
	KASSERT_EQ(pick(START + AGE_NS), 2);
	put(2, RQ_YIELD, START + AGE_NS);
	KASSERT_STREQ(list(LEVEL_NORMAL), "c");

	/* boosted and better, or boosted and worse */
	begin();
	fresh_donated(1, CLASS_INTERACTIVE, LEVEL_KERNEL);
	put(1, RQ_WAKE_BOOST, START + 1);
	KASSERT_STREQ(list(LEVEL_KERNEL), "b");
	KASSERT_EQ(ents[1].boost_ns, START + 1);
	fresh_donated(2, CLASS_NORMAL, LEVEL_INTERACTIVE);
	put(2, RQ_WAKE_BOOST, START + 2);
	KASSERT_STREQ(list(LEVEL_BOOST), "c");
	KASSERT_EQ(ents[2].boost_ns, START + 2);
	fresh_donated(4, CLASS_INFERENCE, LEVEL_BOOST);
	put(4, RQ_WAKE_BOOST, START + 3);
	KASSERT_STREQ(list(LEVEL_BOOST), "ce");
	KASSERT_EQ(ents[4].boost_ns, 0);
	KASSERT_EQ(ents[4].stamp_ns, START + 3);
}

/* It is forgotten by a wake-up and by nothing else, be it queued better by a donation or of another class
 * meanwhile; and only an expiry in class KERNEL sets it. */
KTEST(sched, check_runq_spent)
{
	begin();
	fresh_donated(0, CLASS_KERNEL, LEVEL_KERNEL);
	put(0, RQ_EXPIRED, START);
	KASSERT(ents[0].spent);
	KASSERT_STREQ(list(LEVEL_KERNEL), "a");
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_KERNEL_NS);
	ents[0].donated = LEVEL_BOOST;
	put(0, RQ_YIELD, START);
	KASSERT(ents[0].spent);
	KASSERT_STREQ(list(LEVEL_BOOST), "a");
	KASSERT_EQ(pick(START), 0);
	ents[0].donated = LEVEL_NORMAL;
	put(0, RQ_NEW, START);
	KASSERT(ents[0].spent);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "a");
	KASSERT_EQ(number(runq_steal(&rq, 0)), 0);
	ents[0].donated = LEVEL_NONE;
	for (unsigned cls = CLASS_INTERACTIVE; cls < CLASS_COUNT; cls++)
		for (unsigned why = RQ_NEW; why <= RQ_YIELD; why++) {
			const bool woken = why == RQ_WAKE || why == RQ_WAKE_BOOST;

			ents[0].spent = true;
			ents[0].cls = (uint8_t)cls;
			ents[0].slice_ns = 0;
			ents[0].boost_ns = START;
			KASSERT_EQ(put(0, (enum runq_why)why, START), 0);
			KASSERT_EQ(ents[0].level, bases[cls]);
			KASSERT_EQ(ents[0].spent, !woken);
			KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
			ents[0].cls = CLASS_KERNEL;
			put(0, RQ_YIELD, START);
			KASSERT_EQ(ents[0].level, woken ? LEVEL_KERNEL : LEVEL_INTERACTIVE);
			KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
			ents[0].spent = false;
			ents[0].cls = (uint8_t)cls;
			put(0, RQ_EXPIRED, START);
			KASSERT(!ents[0].spent);
			KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
		}

	/* it keeps its level when it is preempted, and that of a spent one is no better than INTERACTIVE */
	begin();
	fresh(0, CLASS_KERNEL);
	put(0, RQ_EXPIRED, START);
	fresh(1, CLASS_INTERACTIVE);
	put(1, RQ_NEW, START);
	KASSERT_EQ(pick(START), 0);
	put(0, RQ_PREEMPTED, START);
	KASSERT(ents[0].spent);
	KASSERT_STREQ(list(LEVEL_INTERACTIVE), "ab");
	KASSERT_EQ(pick(START), 0);
	KASSERT_EQ(ents[0].slice_ns, SLICE_INTERACTIVE_NS);
}

/* ---- boosts ---- */

/* The gap is from the last one that was granted; one that was refused, by the gap or the share, does not count. */
KTEST(sched, check_runq_boost_gap)
{
	static const uint64_t too_soon[] = { 0, 1, BOOST_GAP_NS / 2, BOOST_GAP_NS - 1 };

	for (unsigned cls = CLASS_INTERACTIVE; cls <= CLASS_NORMAL; cls++) {
		uint64_t now = START;

		begin();
		fresh(0, (enum sched_class)cls);
		for (unsigned i = 0; i < 40; i++, now += BOOST_GAP_NS) {
			put(0, RQ_WAKE_BOOST, now);
			KASSERT_EQ(ents[0].level, LEVEL_BOOST);
			KASSERT_EQ(ents[0].boost_ns, now);
			KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
			for (unsigned k = 0; k < sizeof too_soon / sizeof *too_soon; k++) {
				put(0, RQ_WAKE_BOOST, now + too_soon[k]);
				KASSERT_EQ(ents[0].level, bases[cls]);
				KASSERT_EQ(ents[0].boost_ns, now);
				KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
			}
		}
		/* other wake-ups between are nothing to it */
		put(0, RQ_WAKE, now);
		KASSERT_EQ(ents[0].level, bases[cls]);
		KASSERT_EQ(ents[0].boost_ns, now - BOOST_GAP_NS);
		KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);

		begin();
		fresh(0, (enum sched_class)cls);
		rq.boosted_ns = BOOST_SHARE_NS;
		put(0, RQ_WAKE_BOOST, START + BOOST_WINDOW_NS - 1);
		KASSERT_EQ(ents[0].level, bases[cls]);
		KASSERT_EQ(ents[0].boost_ns, 0);
		KASSERT_EQ(runq_remove(&rq, &ents[0]), 0);
		put(0, RQ_WAKE_BOOST, START + BOOST_WINDOW_NS);
		KASSERT_EQ(ents[0].level, LEVEL_BOOST);
	}
}

/* The window begins anew exactly when it is old, by a boost or by what ran boosted, and by nothing else. */
KTEST(sched, check_runq_boost_window)
{
	const uint64_t old = START + BOOST_WINDOW_NS;

	begin();
	fresh_donated(0, CLASS_NORMAL, LEVEL_BOOST);
	put(0, RQ_NEW, START);
	KASSERT_EQ(pick(START), 0);
	rq.boosted_ns = 11;
	runq_charge(&rq, &ents[0], 5, old - 1);
	KASSERT_EQ(rq.window_ns, START);
	KASSERT_EQ(rq.boosted_ns, 16);
	runq_charge(&rq, &ents[0], 7, old);
	KASSERT_EQ(rq.window_ns, old);
	KASSERT_EQ(rq.boosted_ns, 7);
	runq_charge(&rq, &ents[0], 0, old + 3 * BOOST_WINDOW_NS + 1);
	KASSERT_EQ(rq.window_ns, old + 3 * BOOST_WINDOW_NS + 1);
	KASSERT_EQ(rq.boosted_ns, 0);

	begin();
	rq.boosted_ns = BOOST_SHARE_NS - 1;
	fresh(1, CLASS_NORMAL);
	put(1, RQ_WAKE_BOOST, old - 1);
	KASSERT_EQ(ents[1].level, LEVEL_BOOST);
	KASSERT_EQ(rq.window_ns, START);
	KASSERT_EQ(rq.boosted_ns, BOOST_SHARE_NS - 1);          /* what it will run is not yet in */
	fresh(2, CLASS_INTERACTIVE);
	put(2, RQ_WAKE_BOOST, old);
	KASSERT_EQ(ents[2].level, LEVEL_BOOST);
	KASSERT_EQ(rq.window_ns, old);
	KASSERT_EQ(rq.boosted_ns, 0);

	begin();
	rq.boosted_ns = BOOST_SHARE_NS;
	for (unsigned why = RQ_NEW; why <= RQ_YIELD; why++) {
		if (why == RQ_WAKE_BOOST)
			continue;
		fresh_donated(3, CLASS_NORMAL, why % 2 ? LEVEL_BOOST : LEVEL_NONE);
		put(3, (enum runq_why)why, old + why);
		KASSERT_EQ(pick(old + why), 3);
		if (ents[3].level != LEVEL_BOOST)
			runq_charge(&rq, &ents[3], MS, old + why);
		put(3, RQ_YIELD, old + why);
		KASSERT_EQ(number(runq_steal(&rq, 2)), 3);
		KASSERT_EQ(rq.window_ns, START);
		KASSERT_EQ(rq.boosted_ns, BOOST_SHARE_NS);
	}
}

/* Those that are queued there count a slice each, by donations too and in an old window too: one less than the
 * share has leaves room for one, as many for none, nor do more. Taken off by whatever way, they count no more. */
KTEST(sched, check_runq_boost_queued)
{
	_Static_assert(SHARE_SLICES + 6 < ENTS, "so many and some more");
	const uint64_t old = START + BOOST_WINDOW_NS;

	for (unsigned n = SHARE_SLICES - 2; n < SHARE_SLICES + 6; n++) {
		const unsigned granted = n < SHARE_SLICES ? LEVEL_BOOST : LEVEL_NORMAL;

		begin();
		for (unsigned i = 1; i <= n; i++) {
			fresh_donated(i, CLASS_INFERENCE, LEVEL_BOOST);
			put(i, RQ_NEW, START);
		}
		fresh(0, CLASS_NORMAL);
		put(0, RQ_WAKE_BOOST, old - 1);
		KASSERT_EQ(ents[0].level, granted);
		KASSERT_EQ(ents[0].boost_ns, granted == LEVEL_BOOST ? old - 1 : 0);
		runq_remove(&rq, &ents[0]);
		fresh(0, CLASS_NORMAL);
		rq.boosted_ns = 5;
		put(0, RQ_WAKE_BOOST, old);
		KASSERT_EQ(ents[0].level, granted);
		KASSERT_EQ(rq.window_ns, old);
		KASSERT_EQ(rq.boosted_ns, 0);
		runq_remove(&rq, &ents[0]);
	}
	for (unsigned way = 0; way < 3; way++) {
		begin();
		for (unsigned i = 1; i <= SHARE_SLICES; i++) {
			fresh_donated(i, CLASS_INFERENCE, LEVEL_BOOST);
			put(i, RQ_NEW, START);
		}
		fresh(0, CLASS_NORMAL);
		put(0, RQ_WAKE_BOOST, START);
		KASSERT_EQ(ents[0].level, LEVEL_NORMAL);
		runq_remove(&rq, &ents[0]);
		if (way == 0)
			KASSERT_EQ(runq_remove(&rq, &ents[5]), 0);
		if (way == 1)
			KASSERT_EQ(pick(START), 1);
		if (way == 2)
			KASSERT_EQ(number(runq_steal(&rq, 1)), SHARE_SLICES);
		put(0, RQ_WAKE_BOOST, START);
		KASSERT_EQ(ents[0].level, LEVEL_BOOST);
	}
}

/* ---- what is refused ---- */

/* Of the queue and the entities, how many are not what they were. */
static unsigned changed(const struct runq *q, const struct sched_ent *e)
{
	return (memcmp(q, &rq, sizeof rq) != 0) + (memcmp(e, ents, sizeof ents) != 0);
}

/* What is queued is not queued again, for whatever reason and however much later; what is not is not removed; who
 * may not run there is not stolen; and of nothing there is nothing to pick. */
KTEST(sched, check_runq_refused_changes_nothing)
{
	static struct runq q;
	static struct sched_ent e[ENTS];
	unsigned wrong = 0, other = 0;

	begin();
	for (unsigned i = 0; i < 10; i++) {
		fresh(i, (enum sched_class)(i % CLASS_COUNT))->affinity = 1;
		put(i, i < 5 ? RQ_EXPIRED : RQ_WAKE_BOOST, START + i);
		if (i < 5)
			ents[i].boost_ns = START - BOOST_WINDOW_NS;
	}
	runq_remove(&rq, &ents[7]);                     /* two that are not queued: one was, one not yet */
	fresh(10, CLASS_KERNEL);
	rq.boosted_ns = BOOST_SHARE_NS - 1;
	memcpy(&q, &rq, sizeof q);
	memcpy(e, ents, sizeof e);
	for (unsigned i = 0; i < 10; i++)
		for (unsigned why = RQ_NEW; why <= RQ_YIELD; why++)
			for (unsigned later = 0; later < 3 && i != 7; later++) {
				wrong += put(i, (enum runq_why)why, START + later * later * BOOST_WINDOW_NS) != -EBUSY;
				other += changed(&q, e);
			}
	wrong += runq_remove(&rq, &ents[7]) != -ENOENT;
	wrong += runq_remove(&rq, &ents[10]) != -ENOENT;
	for (unsigned cpu = 1; cpu < 64; cpu++)
		wrong += runq_steal(&rq, cpu) != NULL;
	other += changed(&q, e);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	while (rq.count)
		KASSERT(runq_pick(&rq, START) != NULL);
	memcpy(&q, &rq, sizeof q);
	memcpy(e, ents, sizeof e);
	wrong += runq_pick(&rq, START + MS - 1) != NULL;
	wrong += runq_steal(&rq, 0) != NULL;
	other += changed(&q, e);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	for (unsigned level = 0; level < LEVEL_COUNT; level++)
		KASSERT(!rq.q[level].head && !rq.q[level].tail);
}

/* ---- the lists themselves, against arrays that say who stands where ---- */

struct order {
	unsigned n;
	struct sched_ent *of[ENTS];
};

static struct order orders[2][LEVEL_COUNT];
static struct runq queues[2];
static unsigned order_aged;             /* how many have risen */

static void order_insert(struct order *o, unsigned at, struct sched_ent *e)
{
	memmove(&o->of[at + 1], &o->of[at], (o->n - at) * sizeof *o->of);
	o->of[at] = e;
	o->n++;
}

static struct sched_ent *order_take(struct order *o, unsigned at)
{
	struct sched_ent *e = o->of[at];

	o->n--;
	memmove(&o->of[at], &o->of[at + 1], (o->n - at) * sizeof *o->of);
	return e;
}

/* Of the level that it says it is in. */
static void order_remove(struct order *o, const struct sched_ent *e)
{
	for (unsigned at = 0; at < o[e->level].n; at++)
		if (o[e->level].of[at] == e) {
			order_take(&o[e->level], at);
			return;
		}
}

static struct sched_ent *order_steal(struct order *o, unsigned cpu)
{
	for (unsigned level = LEVEL_BOOST; level < LEVEL_IDLE; level++)
		for (unsigned at = o[level].n; at--;)
			if (o[level].of[at]->affinity >> cpu & 1)
				return order_take(&o[level], at);
	return NULL;
}

static void order_age(struct order *o, unsigned from, unsigned to, uint64_t now)
{
	for (unsigned at = 0; at < o[from].n;) {
		if (o[from].of[at]->stamp_ns + AGE_NS <= now) {
			order_insert(&o[to], o[to].n, order_take(&o[from], at));
			order_aged++;
		} else {
			at++;
		}
	}
}

static struct sched_ent *order_pick(struct order *o, uint64_t aged, uint64_t now)
{
	if (aged + MS <= now) {
		order_age(o, LEVEL_NORMAL, LEVEL_INTERACTIVE, now);
		order_age(o, LEVEL_INFERENCE, LEVEL_NORMAL, now);
	}
	for (unsigned level = 0; level < LEVEL_COUNT; level++)
		if (o[level].n)
			return order_take(&o[level], 0);
	return NULL;
}

/* Forwards and backwards, and their ends, and the count. */
static unsigned wrong_lists(const struct runq *q, const struct order *o)
{
	unsigned wrong = 0, n = 0;

	for (unsigned level = 0; level < LEVEL_COUNT; level++) {
		const struct sched_ent *e = q->q[level].head;

		for (unsigned at = 0; at < o[level].n; at++, e = e->next) {
			if (e != o[level].of[at])
				return wrong + 1;
			wrong += e->prev != (at ? o[level].of[at - 1] : NULL) || e->level != level || !e->queued;
		}
		wrong += e != NULL;
		wrong += q->q[level].tail != (o[level].n ? o[level].of[o[level].n - 1] : NULL);
		n += o[level].n;
	}
	return wrong + (q->count != n);
}

/* As it was put into q: where it now says that it is, at the head or the tail. */
static void order_put(struct order *o, struct sched_ent *e, bool head)
{
	order_insert(&o[e->level], head ? 0 : o[e->level].n, e);
}

/* From every level that may be stolen from, for processors that few may run on: who is last of those who may, of
 * the best level, and all others stay, linked and counted as they were. */
KTEST(sched, check_runq_steal_mixed)
{
	static const uint8_t cpus[] = { 0, 1, 2, 5, 31, 32, 62, 63 };
	uint32_t random = SEED;
	unsigned wrong = 0, stolen = 0, none = 0;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < 12 && !wrong; round++) {
		begin();
		memset(orders, 0, sizeof orders);
		for (unsigned i = 0; i < ENTS; i++) {
			const uint32_t r = next(&random);
			const unsigned donated = r >> 8 & 15;

			fresh_donated(i, (enum sched_class)(r % CLASS_COUNT),
				      donated < LEVEL_COUNT ? donated : LEVEL_NONE);
			ents[i].affinity = 1ull << cpus[r >> 16 & 7] | 1ull << cpus[r >> 20 & 7];
			put(i, RQ_NEW, START + i);
			order_put(orders[0], &ents[i], false);
		}
		for (unsigned i = 0; i < 3 * ENTS && !wrong; i++) {
			const unsigned cpu = i < 2 * ENTS ? cpus[next(&random) >> 8 & 7] : cpus[i & 7];
			const struct sched_ent *expected = order_steal(orders[0], cpu);
			const unsigned level = expected ? expected->level : 0;
			const struct sched_ent *e = runq_steal(&rq, cpu);

			wrong += e != expected || wrong_lists(&rq, orders[0]);
			wrong += e && (e->queued || e->level != level);
			stolen += e != NULL;
			none += e == NULL;
			if (wrong)
				ktest_note("step", round * 1000 + i);
		}
		for (unsigned level = LEVEL_BOOST; level < LEVEL_IDLE; level++)
			wrong += rq.q[level].head != NULL;      /* each could run somewhere */
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(stolen > 0);
	KASSERT(none > 0);
}

/* Two processors' queues, whose clocks are some microseconds apart, and what is stolen goes from one to the other:
 * nobody is ever in two lists or in none that it says it is in. */
KTEST(sched, check_runq_lists_random)
{
	enum { USED = 20, STEPS = 6000 };
	uint32_t random = SEED;
	uint64_t base = START;
	static struct order *home[USED];        /* whose lists it is in, if it is queued */
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	prepare(&queues[0]);
	prepare(&queues[1]);
	memset(orders, 0, sizeof orders);
	order_aged = 0;
	for (unsigned i = 0; i < USED; i++) {
		fresh(i, (enum sched_class)(i % CLASS_COUNT))->affinity = 1 + i % 3;
		ents[i].level = bases[i % CLASS_COUNT];
	}
	for (unsigned step = 0; step < STEPS && !wrong; step++) {
		const uint32_t r = next(&random), r2 = next(&random);
		const unsigned i = (r >> 4) % USED, c = r >> 12 & 1;
		const enum runq_why why = (enum runq_why)((r >> 16) % 6);
		struct runq *const q = &queues[c];
		struct order *const o = orders[c];
		struct sched_ent *e = &ents[i], *expected;
		const bool was_queued = e->queued, head = why == RQ_PREEMPTED && e->slice_ns >= SLICE_MIN_NS;
		uint64_t now;
		int err;

		base += r2 % 8 ? r2 >> 8 & 0xffff : r2 >> 8 & 0x3fffff;
		now = base - (c ? r2 >> 4 & 0x1fff : 0);
		switch (r & 7) {
		case 0: case 1: case 2:
			err = runq_put(q, e, why, now);
			wrong += err != (was_queued ? -EBUSY : 0);
			if (!err) {
				order_put(o, e, head);
				home[i] = o;
			}
			break;
		case 3:
			expected = order_pick(o, q->aged_ns, now);
			wrong += runq_pick(q, now) != expected;
			break;
		case 4:
			if (was_queued)
				order_remove(home[i], e);
			err = runq_remove(was_queued ? &queues[home[i] == orders[1]] : q, e);
			wrong += err != (was_queued ? 0 : -ENOENT);
			break;
		case 5:
			expected = order_steal(o, r >> 20 & 1);
			e = runq_steal(q, r >> 20 & 1);
			wrong += e != expected;
			if (e && e == expected) {
				const bool first = why == RQ_PREEMPTED && e->slice_ns >= SLICE_MIN_NS;

				wrong += runq_put(&queues[!c], e, why, now) != 0;
				order_put(orders[!c], e, first);
				home[e - ents] = orders[!c];
			}
			break;
		case 6:
			if (r >> 20 & 1)
				e->donated = r >> 21 & 1 ? LEVEL_NONE : (uint8_t)((r >> 22) % LEVEL_COUNT);
			else
				e->cls = (uint8_t)((r >> 22) % CLASS_COUNT);
			break;
		default:
			if (!was_queued)
				runq_charge(q, e, (r >> 8) % (2 * MS), now);
		}
		wrong += wrong_lists(&queues[0], orders[0]) + wrong_lists(&queues[1], orders[1]);
		if (wrong)
			ktest_note("step", step);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(order_aged > 0);
}

/* ---- how long anybody waits ---- */

/* Threads; the first so many of them compute for ever, the others wake, work and sleep. */
enum { LOAD = 36, COMPUTE = 12 };

static struct {
	uint64_t wakes, left, since, longest;   /* wakes 0: is awake; left: to do before it sleeps */
	unsigned turns;
} load[LOAD];

/* Those whose time has come wake by a boost; whether one of them is better than who runs. */
static bool wake(uint32_t *random, const struct sched_ent *running, uint64_t now)
{
	bool better = false;

	for (unsigned i = COMPUTE; i < LOAD; i++) {
		if (!load[i].wakes || load[i].wakes > now)
			continue;
		load[i].wakes = 0;
		load[i].left = i % 6 ? 400 * US + next(random) % (100 * US) : 1 + next(random) % (3 * MS);
		load[i].since = now;
		put(i, RQ_WAKE_BOOST, now);
		better |= running && runq_preempts(running, &ents[i]);
	}
	return better;
}

static uint64_t next_wake(void)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = COMPUTE; i < LOAD; i++)
		if (load[i].wakes && load[i].wakes < first)
			first = load[i].wakes;
	return first;
}

/* Who has waited now, and up to now. */
static void waited(unsigned i, uint64_t now)
{
	if (now - load[i].since > load[i].longest)
		load[i].longest = now - load[i].since;
}

/* All classes but KERNEL, with more to do than there is time, and boosts all the while: nobody waits longer than
 * the spec says, and of no window is more boosted than its share and two slices. */
KTEST(sched, check_runq_waits_bounded)
{
	const uint64_t bound = 7 * (2 * AGE_NS + LOAD * SLICE_INTERACTIVE_NS), end = START + 4 * bound;
	uint64_t now = START, longest = 0, most = 0;
	uint32_t random = SEED;
	unsigned least = UINT32_MAX;

	ktest_note("seed", SEED);
	begin();
	memset(load, 0, sizeof load);
	for (unsigned i = 0; i < LOAD; i++) {
		fresh(i, (enum sched_class)(CLASS_INTERACTIVE + i % (i < COMPUTE ? 3 : 2)));
		load[i].since = START;
		if (i < COMPUTE)
			put(i, RQ_NEW, START);
		else
			load[i].wakes = START + next(&random) % (10 * MS);
	}
	while (now < end) {
		struct sched_ent *const e = runq_pick(&rq, now);
		const unsigned i = (unsigned)number(e);
		bool over = false, better = false;

		KASSERT(e != NULL);
		waited(i, now);
		load[i].turns++;
		while (!over && !better) {
			const bool sleeps = i >= COMPUTE && load[i].left < e->slice_ns;
			const uint64_t most_ns = sleeps ? load[i].left : e->slice_ns;
			const uint64_t wakes = next_wake(), ran = wakes < now + most_ns ? wakes - now : most_ns;

			now += ran;
			over = ran == most_ns;
			runq_charge(&rq, e, ran, now);
			most = rq.boosted_ns > most ? rq.boosted_ns : most;
			if (i >= COMPUTE)
				load[i].left -= ran;
			better = wake(&random, e, now);
		}
		load[i].since = now;
		if (i >= COMPUTE && load[i].left == 0)
			load[i].wakes = now + (i % 6 ? BOOST_GAP_NS : 1) + next(&random) % (2 * MS);
		else
			put(i, over ? RQ_EXPIRED : RQ_PREEMPTED, now);
	}
	for (unsigned i = 0; i < LOAD; i++) {
		if (ents[i].queued)
			waited(i, now);
		longest = load[i].longest > longest ? load[i].longest : longest;
		least = load[i].turns < least ? load[i].turns : least;
	}
	ktest_note("longest_us", longest / US);
	ktest_note("boosted_us", most / US);
	KASSERT(least > 0);
	KASSERT(longest <= bound);
	KASSERT(most > BOOST_SHARE_NS / 2);
	KASSERT(most <= BOOST_SHARE_NS + 2 * SLICE_BOOST_NS);
}
