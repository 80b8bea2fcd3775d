/* The policy of the run queue: who is next, and for how long. spec/sched.md, "Rules of the run queue", 1 to 5, and what
 * rule 7 says of stealing. Pure: time is an argument, and the caller holds the lock.
 *
 * Invariants: e->queued says whether e is in a list, e->level then in which; count is the length of all lists together.
 * Stamps are in no order within a level: who was preempted goes to the head with a new one. */
#include "sched.h"

enum { AGE_EVERY_NS = 1000000 };                /* from one ageing to the next, at least */

/* Not by now - since: what was stamped by another processor's clock may be a little ahead of this one's, and would
 * seem to be ages ago. */
static bool is_past(uint64_t since, uint64_t span, uint64_t now)
{
	return now >= since + span;
}

/* ---- the lists ---- */

/* Makes them neighbours in the list of that level. prev NULL: next becomes the head; next NULL: prev the tail. */
static void join(struct runq *rq, size_t level, struct sched_ent *prev, struct sched_ent *next)
{
	*(prev ? &prev->next : &rq->q[level].head) = next;
	*(next ? &next->prev : &rq->q[level].tail) = prev;
}

/* e, which is in no list, enters the level between two neighbours. prev NULL: as its head; next NULL: as its tail. */
static void insert(struct runq *rq, struct sched_ent *e, size_t level, struct sched_ent *prev,
	struct sched_ent *next, uint64_t now)
{
	e->level = (uint8_t)level;
	e->stamp_ns = now;
	e->prev = prev;
	e->next = next;
	*(prev ? &prev->next : &rq->q[level].head) = e;
	*(next ? &next->prev : &rq->q[level].tail) = e;
}

/* e is in the list of that level, behind prev; NULL: it is the head. */
static void take_off(struct runq *rq, struct sched_ent *e, size_t level, struct sched_ent *prev)
{
	join(rq, level, prev, e->next);
	e->queued = false;
	rq->count--;
}

/* ---- the rules ---- */

static size_t base_level(const struct sched_ent *e)
{
	static const uint8_t levels[CLASS_COUNT] = {
		[CLASS_KERNEL] = LEVEL_KERNEL,
		[CLASS_INTERACTIVE] = LEVEL_INTERACTIVE,
		[CLASS_NORMAL] = LEVEL_NORMAL,
		[CLASS_INFERENCE] = LEVEL_INFERENCE,
		[CLASS_IDLE] = LEVEL_IDLE,
	};

	/* The class may have changed since it was spent. */
	return e->spent && e->cls == CLASS_KERNEL ? LEVEL_INTERACTIVE : levels[e->cls];
}

/* Before boosted_ns is looked at or added to. */
static void renew_window(struct runq *rq, uint64_t now)
{
	if (is_past(rq->window_ns, BOOST_WINDOW_NS, now)) {
		rq->window_ns = now;
		rq->boosted_ns = 0;
	}
}

/* Whether a wake-up of e that asks for a boost gets one. Looks at no more of those that are queued at LEVEL_BOOST than
 * the share has slices, however many there are by donations. */
static bool boost_granted(struct runq *rq, const struct sched_ent *e, uint64_t now)
{
	uint64_t used;

	if (e->cls != CLASS_INTERACTIVE && e->cls != CLASS_NORMAL)
		return false;
	if (e->boost_ns && !is_past(e->boost_ns, BOOST_GAP_NS, now))
		return false;
	renew_window(rq, now);
	used = rq->boosted_ns;
	for (const struct sched_ent *b = rq->q[LEVEL_BOOST].head; b && used < BOOST_SHARE_NS; b = b->next)
		used += SLICE_BOOST_NS;
	return used < BOOST_SHARE_NS;
}

/* All of a level are looked at, for behind one that is not old enough there may be some that are. */
static void age_level(struct runq *rq, size_t from, size_t to, uint64_t now)
{
	struct sched_ent *next;

	for (struct sched_ent *e = rq->q[from].head; e; e = next) {
		next = e->next;
		if (!is_past(e->stamp_ns, AGE_NS, now))
			continue;
		join(rq, from, e->prev, next);
		insert(rq, e, to, rq->q[to].tail, NULL, now);
	}
}

/* The head of the best level, with its slice; NULL: empty. */
static struct sched_ent *take_best(struct runq *rq)
{
	static const uint64_t slices[LEVEL_COUNT] = {
		[LEVEL_KERNEL] = SLICE_KERNEL_NS,
		[LEVEL_BOOST] = SLICE_BOOST_NS,
		[LEVEL_INTERACTIVE] = SLICE_INTERACTIVE_NS,
		[LEVEL_NORMAL] = SLICE_NORMAL_NS,
		[LEVEL_INFERENCE] = SLICE_INFERENCE_NS,
		[LEVEL_IDLE] = SLICE_INFERENCE_NS,
	};

	for (size_t level = 0; level < LEVEL_COUNT; level++) {
		struct sched_ent *e = rq->q[level].head;

		if (!e)
			continue;
		take_off(rq, e, level, NULL);
		if (!e->slice_ns || e->slice_ns > slices[level])
			e->slice_ns = slices[level];
		return e;
	}
	return NULL;
}

/* Apart, so that a pick without ageing, as in nearly every yield, saves no registers for these calls. */
static __attribute__((noinline)) struct sched_ent *age_and_take(struct runq *rq, uint64_t now)
{
	rq->aged_ns = now;
	/* In this order, so that none rises two levels at once. */
	age_level(rq, LEVEL_NORMAL, LEVEL_INTERACTIVE, now);
	age_level(rq, LEVEL_INFERENCE, LEVEL_NORMAL, now);
	return take_best(rq);
}

/* ---- the interface ---- */

void runq_init(struct runq *rq)
{
	*rq = (struct runq){ 0 };
}

int runq_put(struct runq *rq, struct sched_ent *e, enum runq_why why, uint64_t now)
{
	size_t level = e->level;

	if (e->queued)
		return -EBUSY;
	if (why == RQ_PREEMPTED && e->slice_ns < SLICE_MIN_NS)
		why = RQ_EXPIRED;
	if (why == RQ_WAKE || why == RQ_WAKE_BOOST)
		e->spent = false;
	else if (why == RQ_EXPIRED && e->cls == CLASS_KERNEL)
		e->spent = true;
	if (why != RQ_PREEMPTED) {
		level = base_level(e);
		e->slice_ns = 0;
	}
	if (why == RQ_WAKE_BOOST && boost_granted(rq, e, now)) {
		level = LEVEL_BOOST;
		e->boost_ns = now;
	}
	if (e->donated < level)
		level = e->donated;
	if (why == RQ_PREEMPTED)
		insert(rq, e, level, NULL, rq->q[level].head, now);
	else
		insert(rq, e, level, rq->q[level].tail, NULL, now);
	e->queued = true;
	rq->count++;
	return 0;
}

struct sched_ent *runq_pick(struct runq *rq, uint64_t now)
{
	return is_past(rq->aged_ns, AGE_EVERY_NS, now) ? age_and_take(rq, now) : take_best(rq);
}

int runq_remove(struct runq *rq, struct sched_ent *e)
{
	if (!e->queued)
		return -ENOENT;
	take_off(rq, e, e->level, e->prev);
	return 0;
}

void runq_charge(struct runq *rq, struct sched_ent *e, uint64_t ran_ns, uint64_t now)
{
	e->slice_ns -= ran_ns < e->slice_ns ? ran_ns : e->slice_ns;
	if (e->level == LEVEL_BOOST) {
		renew_window(rq, now);
		rq->boosted_ns += ran_ns;
	}
}

bool runq_preempts(const struct sched_ent *running, const struct sched_ent *woken)
{
	return woken->level < running->level;
}

struct sched_ent *runq_steal(struct runq *from, unsigned cpu)
{
	for (size_t level = LEVEL_BOOST; level < LEVEL_IDLE; level++)
		for (struct sched_ent *e = from->q[level].tail; e; e = e->prev)
			if (e->affinity >> cpu & 1) {
				take_off(from, e, level, e->prev);
				return e;
			}
	return NULL;
}
