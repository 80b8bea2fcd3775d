/* Further tests of sched/thread.c: what a thread begins with, ends that meet joins, time-outs and detaching at every
 * moment, cancellations and permits at once, accounts, spaces, registers and stacks over many switches. See
 * spec/sched.md and include/sched.h, "thread".
 *
 * We may be stopped at any time, between two instructions or for tens of milliseconds: nothing here must be in time.
 * Delays of some nanoseconds are there to come to every place of the code where instructions are counted; what comes of
 * it must be right whatever the place. */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "sched.h"
#include "string.h"

#define US 1000ul
#define MS 1000000ul
#define HERE 1ul                        /* affinity: the boot processor, where tests run */
#define LONG (4000 * MS)                /* what takes so long does not come any more */
#define SEED 0x74687264u

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

/* Sleeps until it is so, looking every now and then; whether it is. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG) \
			(void)thread_park(100 * US); \
		(condition); \
	})

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t online(void)
{
	return (1ul << cpu_count()) - 1;
}

static uint64_t last_cpu(void)
{
	return 1ul << (cpu_count() - 1);
}

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

/* Threads that are not freed yet. */
static uint64_t live(void)
{
	struct slab_stats stats;

	slab_get_stats(slab_cache_of(thread_current()), &stats);
	return stats.live;
}

/* The same, when those that others have left are gone. */
static uint64_t settled(void)
{
	uint64_t before;

	do {
		before = live();
		(void)thread_park(200 * US);
	} while (live() != before);
	return before;
}

static bool is_mapped(uint64_t address)
{
	struct pt_entry leaf;

	return pt_translate(kernel_root, address, &leaf) == 0;
}

static uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* ---- what it begins with ---- */

/* Names of each length, classes, and affinities with processors that there are not. */
KTEST(sched, check_thread_attributes)
{
	const uint64_t masks[] = { 0, HERE, UINT64_MAX, HERE | 1ul << 63, last_cpu(), last_cpu() | 1ul << 40 };
	unsigned wrong = 0, refused = 0;

	for (unsigned length = 0; length <= THREAD_NAME_MAX; length++) {
		const enum sched_class cls = (enum sched_class)(length % CLASS_IDLE);
		const uint64_t mask = masks[length % (sizeof masks / sizeof *masks)];
		char name[THREAD_NAME_MAX + 1], kept[THREAD_NAME_MAX + 1];
		struct thread *t;

		memset(name, 0, sizeof name);
		for (unsigned i = 0; i < length; i++)
			name[i] = (char)(i == 3 ? 0xff : 'a' + (length + i) % 26);
		memcpy(kept, name, sizeof kept);
		t = start(name, cls, mask, nothing, 0);
		memset(name, '#', sizeof name);
		if (!t) {
			refused++;
			continue;
		}
		wrong += !ktest_streq(thread_name(t), kept);
		wrong += thread_ent(t)->cls != cls || thread_ent(t)->donated != LEVEL_NONE;
		wrong += (thread_ent(t)->affinity & online()) != (mask ? mask & online() : online());
		wrong += thread_set_affinity(t, mask | HERE) != 0;
		wrong += !ended(t);
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
}

/* Classes that would be one if only some of their bits were looked at. Nothing is made, and nothing changed. */
KTEST(sched, check_thread_bad_class)
{
	static const unsigned bad[] = { CLASS_IDLE, CLASS_COUNT, 255, 256, 258, 0x10000, 0x80000000, UINT_MAX };
	struct thread *const none = (struct thread *)4711, *out = none, *t;
	const uint64_t before = settled();
	unsigned taken = 0, changed = 0;
	bool gone;

	t = start("good", CLASS_NORMAL, HERE, nothing, 0);
	KASSERT(t != NULL);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct thread_attr attr = { "bad", (enum sched_class)bad[i], HERE };

		taken += thread_create(&attr, nothing, NULL, &out) != -EINVAL;
		taken += thread_set_class(t, (enum sched_class)bad[i]) != -EINVAL;
		changed += thread_ent(t)->cls != CLASS_NORMAL;
	}
	taken += cpu_count() < 64 && thread_set_affinity(t, ~online()) != -EINVAL;
	changed += thread_ent(t)->affinity != HERE || out != none || live() != before + 1;
	gone = ended(t);
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(changed, 0);
	KASSERT(gone);
}

static struct {
	struct vmspace *space;
	struct thread_locks locks;
	uint64_t cr3;
	uint32_t agent, preempt;
	void *local;
	uint8_t cls, donated;
	int parked, cancelled, joined, permit, permits, code;
} heir;

static void inherit(void *arg)
{
	struct thread *const self = thread_current();

	(void)arg;
	heir.agent = thread_agent(self);
	heir.local = thread_local_get(self);
	heir.locks = *thread_locks(self);
	heir.cr3 = read_cr3();
	heir.preempt = cpu_self()->preempt_count;
	heir.cls = thread_ent(self)->cls;
	heir.donated = thread_ent(self)->donated;
	heir.parked = thread_park(TIMEOUT_NOW);
	if (thread_park(LONG) == 0)
		thread_exit(4);
}

/* Has all that a thread can have while it makes another. */
static void bequeath(void *arg)
{
	struct thread *const self = thread_current();
	struct thread_locks *const locks = thread_locks(self);
	struct thread *t;

	(void)arg;
	thread_set_agent(self, 77);
	thread_local_set(self, &heir);
	*locks = (struct thread_locks){ (struct mutex *)&heir, (struct mutex *)&heir };
	thread_unpark(self, WAKE_PLAIN);
	thread_cancel(self);
	thread_set_space(self, heir.space);
	thread_donate(self, LEVEL_BOOST);
	preempt_disable();
	preempt_disable();
	t = start("heir", CLASS_INTERACTIVE, HERE, inherit, 0);
	thread_set_agent(self, 78);                     /* it has what was there when it was made */
	*locks = (struct thread_locks){ NULL, NULL };
	preempt_enable();
	preempt_enable();
	thread_donate(self, LEVEL_NONE);
	if (!t)
		return;
	heir.cancelled = thread_join(t, LONG, &heir.code);
	thread_unpark(t, WAKE_PLAIN);
	heir.joined = thread_join(t, LONG, &heir.code);
	heir.permit = thread_park(TIMEOUT_NOW);
	heir.permits = thread_park(TIMEOUT_NOW);
}

/* Of what its maker has, a new thread has the agent alone. What the maker has lasts: the cancellation for its next
 * wait, which is a join, and the permit, which a join does not take. */
KTEST(sched, check_thread_inherits)
{
	int err;
	bool gone;

	memset(&heir, 0x5a, sizeof heir);
	KASSERT_EQ(vmspace_create(0, &heir.space), 0);
	gone = ended(start("maker", CLASS_INFERENCE, HERE, bequeath, 0));
	err = vmspace_destroy(heir.space);
	KASSERT(gone);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(heir.agent, 77);
	KASSERT(heir.local == NULL);
	KASSERT(heir.locks.held == NULL);
	KASSERT(heir.locks.wanted == NULL);
	KASSERT_EQ(heir.cr3, kernel_root);
	KASSERT_EQ(heir.preempt, 0);
	KASSERT_EQ(heir.cls, CLASS_INTERACTIVE);
	KASSERT_EQ(heir.donated, LEVEL_NONE);
	KASSERT_EQ(heir.parked, -ETIMEDOUT);
	KASSERT_EQ(heir.cancelled, -EAGAIN);
	KASSERT_EQ(heir.joined, 0);
	KASSERT_EQ(heir.code, 4);
	KASSERT_EQ(heir.permit, 0);
	KASSERT_EQ(heir.permits, -ETIMEDOUT);
}

/* ---- ends ---- */

static const int codes[] = { 0, 1, -1, INT_MIN, INT_MAX, 255, 256, -ETIMEDOUT, -EAGAIN, 0x5a5a5a };
enum { CODES = sizeof codes / sizeof *codes };

static void (*volatile exit_by)(int) = thread_exit;
static uint32_t came_back;

static __attribute__((noinline)) void leave(unsigned depth, int code)
{
	if (depth)
		leave(depth - 1, code);
	else
		exit_by(code);
	ADD(came_back, 1);
}

static void leave_deep(void *arg)
{
	const unsigned i = (unsigned)(uint64_t)arg;

	leave(i, codes[i % CODES]);
}

/* Joins by looking only. */
static int look_until_ended(struct thread *t, int *code)
{
	const uint64_t begin = clock_ns();
	int err;

	while ((err = thread_join(t, TIMEOUT_NOW, code)) == -ETIMEDOUT && *code == 99 && clock_ns() - begin < LONG)
		(void)thread_park(20 * US);
	return err;
}

/* One after the other, each with a larger id than all before, though they have one another's memory: codes, and what a
 * thread took is back when it is joined, not some time later. */
KTEST(sched, check_thread_codes)
{
	const uint64_t before = settled();
	unsigned refused = 0, lost = 0, codes_wrong = 0, ids_wrong = 0, kept = 0;
	uint32_t id = thread_id(thread_current());

	came_back = 0;
	for (unsigned i = 0; i < 3 * CODES; i++) {
		struct thread *const t = start("leaves", (enum sched_class)(i % CLASS_IDLE), i & 4 ? last_cpu() : HERE,
			leave_deep, i);
		int code = 99;
		uint64_t top;

		if (!t) {
			refused++;
			continue;
		}
		ids_wrong += thread_id(t) <= id;
		id = thread_id(t);
		top = (uint64_t)thread_stack_top(t);
		kept += !is_mapped(top - 1);
		lost += (i & 1 ? look_until_ended(t, &code) : thread_join(t, LONG, &code)) != 0;
		codes_wrong += code != codes[i % CODES];
		kept += is_mapped(top - 1) || is_mapped(top - KSTACK_SIZE) || live() != before;
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(codes_wrong, 0);
	KASSERT_EQ(ids_wrong, 0);
	KASSERT_EQ(kept, 0);
	KASSERT_EQ(came_back, 0);
}

/* Time-outs of joins, and detaching, from before a thread begins to after its end, on this processor and between
 * two. */
KTEST(sched, check_thread_end_moments)
{
	enum { MOMENTS = 160 };
	const uint64_t before = settled();
	unsigned refused = 0, wrong = 0, over = 0;
	bool back;

	for (unsigned i = 0; i < MOMENTS; i++) {
		const bool away = i & 1;
		const uint64_t delay = away ? 200 + i / 4 * 400ul : 100 + i / 4 * 53ul;
		struct thread *const t = start("moment", CLASS_NORMAL, away ? last_cpu() : HERE, leave_deep, i % CODES);
		int code = 99;

		if (!t) {
			refused++;
		} else if (i & 2) {
			(void)thread_park(delay);
			thread_detach(t);
		} else {
			const uint64_t begin = clock_ns();
			int err = thread_join(t, delay, &code);

			if (err == -ETIMEDOUT) {
				wrong += clock_ns() - begin < delay || code != 99;
				over++;
				err = thread_join(t, LONG, &code);
			}
			wrong += err != 0 || code != codes[i % CODES] || clock_ns() - begin >= LONG;
		}
	}
	back = COMES(live() == before);
	ktest_note("time-outs", over);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(back);
	KASSERT_EQ(thread_park(TIMEOUT_NOW), -ETIMEDOUT);       /* no end leaves a permit */
}

static uint32_t arrived, departed;

static void wait_and_end(void *arg)
{
	if ((uint64_t)arg == 1)
		thread_detach(thread_current());
	ADD(arrived, 1);
	while (thread_park(TIMEOUT_NONE) != 0)
		;
	ADD(departed, 1);
	thread_exit((int)(uint64_t)arg);
}

/* Many that end together, detached by their maker while they live, by themselves, and by their maker at the end. */
KTEST(sched, check_thread_detached)
{
	enum { MANY = 45 };
	static struct thread *all[MANY];
	static uint64_t tops[MANY];
	const uint64_t before = settled();
	unsigned mapped = 0, made = 0;
	bool came, went, back;

	arrived = departed = 0;
	for (; made < MANY; made++) {
		all[made] = start("detached", CLASS_NORMAL, made % 2 ? 0 : HERE, wait_and_end, made % 3);
		if (!all[made])
			break;
		tops[made] = (uint64_t)thread_stack_top(all[made]);
		if (made % 3 == 0)
			thread_detach(all[made]);
	}
	came = COMES(GET(arrived) == made);
	went = live() == before + made;                         /* none goes before it has ended */
	preempt_disable();
	for (unsigned i = 0; i < made; i++)
		thread_unpark(all[i], i % 4 ? WAKE_PLAIN : WAKE_BOOST);
	preempt_enable();
	went &= COMES(GET(departed) == made);
	(void)thread_park(200 * US);                            /* from saying so to the end it is not far */
	for (unsigned i = 2; i < made; i += 3)
		thread_detach(all[i]);
	back = COMES(live() == before);
	for (unsigned i = 0; i < made; i++)
		mapped += is_mapped(tops[i] - 1);
	KASSERT_EQ(made, MANY);
	KASSERT(came);
	KASSERT(went);
	KASSERT(back);
	KASSERT_EQ(mapped, 0);
}

/* ---- permits and cancellations at once ---- */

static struct {
	struct thread *target;
	uint32_t step;
	int results[4], code;
} joins;

static void join_then_park(void *arg)
{
	(void)arg;
	joins.results[0] = thread_join(joins.target, LONG, &joins.code);
	SET(joins.step, 1);
	joins.results[1] = thread_join(joins.target, LONG, &joins.code);
	joins.results[2] = thread_park(TIMEOUT_NOW);
	joins.results[3] = thread_park(US);
}

/* A permit does not end a join, and is there afterwards. Two cancellations at once end one join. All that comes may
 * come before the join or during it. */
KTEST(sched, check_thread_join_permit)
{
	struct thread *t;
	bool stepped, gone;
	int looked;

	memset(&joins, 0, sizeof joins);
	joins.code = 99;
	joins.target = start("target", CLASS_NORMAL, HERE, wait_and_end, 2);
	KASSERT(joins.target != NULL);
	t = start("joins", CLASS_NORMAL, HERE, join_then_park, 0);
	(void)thread_park(100 * US);
	preempt_disable();
	thread_unpark(t, WAKE_PLAIN);
	thread_unpark(t, WAKE_BOOST);
	thread_cancel(t);
	thread_cancel(t);
	preempt_enable();
	stepped = COMES(GET(joins.step));
	(void)thread_park(100 * US);
	thread_unpark(t, WAKE_BOOST);
	(void)thread_park(100 * US);
	looked = thread_join(t, TIMEOUT_NOW, NULL);
	thread_unpark(joins.target, WAKE_PLAIN);
	gone = looked == 0 || ended(t);
	if (joins.results[1] != 0)
		(void)ended(joins.target);
	KASSERT(stepped);
	KASSERT_EQ(looked, -ETIMEDOUT);
	KASSERT(gone);
	KASSERT_EQ(joins.results[0], -EAGAIN);
	KASSERT_EQ(joins.results[1], 0);
	KASSERT_EQ(joins.code, 2);
	KASSERT_EQ(joins.results[2], 0);
	KASSERT_EQ(joins.results[3], -ETIMEDOUT);
}

enum { PERMIT = 1, CANCEL = 2, BOOSTED = 3 };

/* What a timer gives, two bits each, the lowest first; or who is to have it gives it to itself. */
static struct {
	struct timer timer;
	struct thread *to;
	uint64_t due;
	uint32_t what;
	int err;
} gift;

static void give(struct timer *t)
{
	(void)t;
	for (uint32_t what = gift.what; what; what >>= 2)
		if ((what & 3) == CANCEL)
			thread_cancel(gift.to);
		else
			thread_unpark(gift.to, (what & 3) == BOOSTED ? WAKE_BOOST : WAKE_PLAIN);
}

static void arm_gift(void *arg)
{
	(void)arg;
	gift.err = timer_arm(&gift.timer, gift.due, give, NULL);
}

/* A permit is a permit and a cancellation a cancellation, however often it is given, before a park or while it lasts,
 * and neither takes the other's place. A permit that is there first is what a park takes. */
KTEST(sched, check_thread_gifts)
{
	static const struct {
		uint32_t what;
		int first, second;
		bool either;                    /* in either order */
	} cases[] = {
		{ PERMIT | CANCEL << 2, 0, -EAGAIN, false },
		{ CANCEL | PERMIT << 2, 0, -EAGAIN, true },
		{ CANCEL | CANCEL << 2, -EAGAIN, -ETIMEDOUT, false },
		{ PERMIT | BOOSTED << 2, 0, -ETIMEDOUT, false },
		{ BOOSTED | CANCEL << 2 | PERMIT << 4 | CANCEL << 6, 0, -EAGAIN, false },
		{ CANCEL | CANCEL << 2 | PERMIT << 4 | CANCEL << 6 | PERMIT << 8, 0, -EAGAIN, true },
	};
	unsigned wrong = 0, left = 0;

	gift.to = thread_current();
	for (unsigned i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		const bool later = i & 1;
		int first, second;

		gift.what = cases[i / 2].what;
		gift.due = clock_ns() + 20 * US;
		if (later)
			arm_gift(NULL);
		else
			give(NULL);
		first = thread_park(LONG);
		second = thread_park(cases[i / 2].second == -ETIMEDOUT ? 20 * US : LONG);
		if (cases[i / 2].either && first == cases[i / 2].second)
			wrong += second != cases[i / 2].first;
		else
			wrong += first != cases[i / 2].first || second != cases[i / 2].second;
		left += thread_park(20 * US) != -ETIMEDOUT || (later && timer_cancel(&gift.timer) != -ENOENT);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(left, 0);
}

static uint32_t burns_end;

/* Computes. No `hlt`: alone on its processor, where nothing ticks, it would not come back from it. */
static void burn(void *arg)
{
	while (!GET(burns_end)) {
		ADD(*(uint32_t *)arg, 1);
		cpu_pause();
	}
}

/* A time-out and what comes at the same moment, by a timer here or on another processor, out of idleness and out of
 * another thread: one of both ends the park, never early, and what was given is had once. */
KTEST(sched, check_thread_timeout_moments)
{
	enum { MOMENTS = 240 };
	static const uint32_t kinds[] = { PERMIT, CANCEL, BOOSTED };
	const unsigned last = cpu_count() - 1;
	unsigned wrong = 0, early = 0, left = 0, over = 0;
	struct thread *t = NULL;
	uint32_t loops = 0;
	bool gone;

	burns_end = 0;
	gift.to = thread_current();
	for (unsigned i = 0; i < MOMENTS; i++) {
		const bool away = last && i % 4 == 3;
		const uint64_t later = i / 4 * 29ul, sooner = 800;
		uint64_t begin, timeout;
		int result;

		if (i == MOMENTS / 3)
			t = start("burns", CLASS_NORMAL, HERE, burn, (uint64_t)&loops);
		gift.what = kinds[i % 3];
		gift.due = clock_ns() + (away ? 40 * US : 4 * US);
		if (away)
			(void)cpu_call(last, arm_gift, NULL);
		else
			arm_gift(NULL);
		begin = clock_ns();
		timeout = gift.due + later > begin + sooner ? gift.due + later - begin - sooner : 1;
		result = thread_park(timeout);
		if (result == -ETIMEDOUT) {
			early += clock_ns() - begin < timeout;
			over++;
			result = thread_park(LONG);
		}
		wrong += gift.err != 0 || result != (kinds[i % 3] == CANCEL ? -EAGAIN : 0);
		left += thread_park(TIMEOUT_NOW) != -ETIMEDOUT;
		left += timer_cancel(&gift.timer) != -ENOENT;
	}
	SET(burns_end, 1);
	gone = ended(t);
	ktest_note("time-outs", over);
	KASSERT(gone);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(thread_park(20 * US), -ETIMEDOUT);           /* and no cancellation */
}

static struct {
	uint32_t about;
	int first, second;
} late;

static void park_late(void *arg)
{
	SET(late.about, 1);
	late.first = thread_park((uint64_t)arg);
	late.second = late.first ? thread_park(LONG) : thread_park(TIMEOUT_NOW);
}

/* Whether it has run up to where it waits, or is queued again. The caller runs on the only processor that t may use. */
static bool waits(struct thread *t, const uint32_t *about)
{
	return GET(*about) && !thread_ent(t)->queued;
}

/* One whose time is over, but which has not run since: a permit that comes then is what its park takes. The permit
 * comes once: so if we were stopped for too long, its next park has it. */
KTEST(sched, check_thread_late_permit)
{
	unsigned taken = 0, wrong = 0;

	for (unsigned tries = 0; tries < 8 && !taken; tries++) {
		struct thread *t;
		uint64_t begin;
		bool came, queued = false;

		memset(&late, 0, sizeof late);
		t = start("late", CLASS_NORMAL, HERE, park_late, MS << tries / 2);       /* after we have slept */
		KASSERT(t != NULL);
		(void)thread_park(20 * US);
		preempt_disable();
		came = waits(t, &late.about);
		begin = clock_ns();
		while (came && !queued && clock_ns() - begin < LONG)
			queued = thread_ent(t)->queued;
		if (!came || queued)
			thread_unpark(t, WAKE_PLAIN);
		preempt_enable();
		if (came && !queued)
			thread_unpark(t, WAKE_PLAIN);
		wrong += !ended(t) || (came && !queued);
		wrong += late.first == 0 ? late.second != -ETIMEDOUT : late.first != -ETIMEDOUT || late.second != 0;
		taken += queued && late.first == 0;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(taken > 0);
}

/* ---- pokes ---- */

static struct {
	uint32_t about, loops;
	int result;
} poked;

static void park_long(void *arg)
{
	(void)arg;
	SET(poked.about, 1);
	poked.result = thread_park(LONG);
}

static void poke_both(struct timer *t)
{
	struct thread **const both = t->arg;

	thread_poke(both[0]);
	thread_poke(both[1]);
}

/* To threads that are never in ring 3 pokes are nothing, from an interrupt too, whether they wait, run or are
 * queued. */
KTEST(sched, check_thread_poke)
{
	struct thread *both[2], *queued;
	struct thread_stats before, after;
	struct timer timer = { 0 };
	uint32_t loops;
	int err, looked;
	bool came, goes_on, gone;

	memset(&poked, 0, sizeof poked);
	poked.result = 99;
	burns_end = 0;
	both[0] = start("parks", CLASS_KERNEL, HERE, park_long, 0);
	both[1] = start("burns", CLASS_NORMAL, last_cpu(), burn, (uint64_t)&poked.loops);
	KASSERT(both[0] && both[1]);
	came = COMES(waits(both[0], &poked.about) && GET(poked.loops));
	preempt_disable();
	queued = start("queued", CLASS_NORMAL, HERE, nothing, 0);
	thread_get_stats(both[0], &before);
	for (unsigned i = 0; queued && i < 20; i++) {
		thread_poke(both[i % 2]);
		thread_poke(queued);
	}
	preempt_enable();
	err = timer_arm(&timer, clock_ns() + 10 * US, poke_both, both);
	(void)thread_park(100 * US);
	err |= timer_cancel(&timer) != -ENOENT;
	loops = GET(poked.loops);
	goes_on = COMES(GET(poked.loops) >= loops + 3);
	thread_get_stats(both[0], &after);
	looked = poked.result;
	thread_unpark(both[0], WAKE_PLAIN);
	SET(burns_end, 1);
	gone = ended(both[0]);
	gone &= ended(both[1]);
	gone &= ended(queued);
	KASSERT(came);
	KASSERT_EQ(err, 0);
	KASSERT(goes_on);
	KASSERT(gone);
	KASSERT_EQ(looked, 99);
	KASSERT_EQ(after.switches, before.switches);
	KASSERT_EQ(poked.result, 0);
}

/* ---- accounts ---- */

static unsigned where(void)
{
	unsigned index;

	preempt_disable();
	index = cpu_self()->index;
	preempt_enable();
	return index;
}

static struct {
	uint32_t moves, wrong, done;
} roamer;

/* Goes from processor to processor by itself, and runs, yields and waits on each. */
static void roam(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 24; i++) {
		const unsigned from = where(), to = (i * 5 + i / 3) % cpu_count();
		const uint64_t begin = clock_ns();

		roamer.wrong += thread_set_affinity(thread_current(), 1ul << to) != 0;
		roamer.wrong += where() != to;
		roamer.moves += from != to;
		while (clock_ns() - begin < 10 * US)
			cpu_pause();
		if (i % 2)
			thread_yield();
		else
			(void)thread_park(10 * US);
	}
	SET(roamer.done, 1);
}

/* While it lives, accounts only grow, but for what clocks of processors are apart, and it has not run and waited for
 * longer than it has been there; when it has ended, they stay. Each move is counted, and nothing else as one. */
KTEST(sched, check_thread_stats)
{
	const uint64_t apart = 20 * US;
	struct thread_stats last = { 0 }, now;
	unsigned fell = 0, most = 0, same = 0, odd = 0;
	uint64_t begin, life;
	struct thread *t;
	bool gone;

	memset(&roamer, 0, sizeof roamer);
	begin = clock_ns();
	t = start("roams", CLASS_NORMAL, HERE, roam, 0);
	KASSERT(t != NULL);
	for (bool over = false; same < 20 && clock_ns() - begin < LONG; over = GET(roamer.done)) {
		thread_get_stats(t, &now);
		life = clock_ns() - begin;
		fell += now.run_ns + apart < last.run_ns || now.wait_ns + apart < last.wait_ns;
		fell += now.max_wait_ns + apart < last.max_wait_ns || now.switches < last.switches;
		fell += now.preemptions < last.preemptions || now.migrations < last.migrations;
		odd += now.max_wait_ns > now.wait_ns || now.migrations > now.switches || now.preemptions > now.switches;
		most += now.run_ns + now.wait_ns > life + apart;
		same = over && memcmp(&now, &last, sizeof now) == 0 ? same + 1 : 0;
		last = now;
		(void)thread_park(over ? 2 * US : 7 * US);
	}
	gone = ended(t);
	KASSERT(gone);
	KASSERT_EQ(roamer.wrong, 0);
	KASSERT_EQ(fell, 0);
	KASSERT_EQ(odd, 0);
	KASSERT_EQ(most, 0);
	KASSERT(same >= 20);                            /* it did end, and no account went on */
	KASSERT(last.switches > roamer.moves);
	KASSERT(last.run_ns > 0);
	KASSERT_EQ(last.migrations, roamer.moves);
}

/* ---- spaces ---- */

#define MSR_FS_BASE 0xC0000100u

static uint64_t fs_base(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_FS_BASE) : "memory");
	return (uint64_t)high << 32 | low;
}

static void set_fs_base(uint64_t base)
{
	__asm__ volatile("wrmsr" : : "c"(MSR_FS_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)) : "memory");
}

/* As this processor would read it if it came from ring 3. */
static uint64_t rsp0(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdt;
	uint16_t selector;
	uint64_t words[2], base;

	__asm__ volatile("sgdt %0" : "=m"(gdt) : : "memory");
	__asm__ volatile("str %0" : "=r"(selector) : : "memory");
	memcpy(words, (const uint8_t *)gdt.base + (selector & ~7u), sizeof words);
	base = (words[0] >> 16 & 0xffffff) | (words[0] >> 56) << 24 | words[1] << 32;
	return ((const struct tss *)base)->rsp[0];
}

static uint16_t stack_selector(void)
{
	uint16_t ss;

	__asm__ volatile("mov %%ss, %0" : "=r"(ss) : : "memory");
	return ss;
}

static struct vmspace *spaces[2];
static uint32_t out_of_place;

/* This processor is as the caller, which is in that space or in none, must find it. */
static void look(const struct vmspace *space, uint64_t fs)
{
	const struct thread *const self = thread_current();
	unsigned wrong;

	__asm__ volatile("cli" : : : "memory");
	wrong = read_cr3() != (space ? vmspace_root(space) : kernel_root);
	wrong += rsp0() != (uint64_t)(space ? thread_stack_top(self) : boot_stack_top);
	wrong += stack_selector() != SEL_KERNEL_DATA;
	wrong += space && (fs_base() != fs || thread_fs_base(self) != fs);
	__asm__ volatile("sti" : : : "memory");
	ADD(out_of_place, wrong);
}

/* Of kinds 0 and 1 two each live in a space from the start, kind 2 in none, and kind 3 goes in and out of both. */
static void live_in(void *arg)
{
	const uint64_t me = (uint64_t)arg, fs = 0x7f0000001000 + me * 0x1000;
	struct thread *const self = thread_current();
	struct vmspace *space = me % 4 < 2 ? spaces[me % 4] : NULL;
	uint32_t random = SEED + (uint32_t)me;

	if (space)
		set_fs_base(fs);
	for (unsigned i = 0; i < 30; i++) {
		look(space, fs);
		switch (next(&random) % 4) {
		case 0:
			(void)thread_park(next(&random) % (20 * US));
			break;
		case 1:
			(void)thread_set_affinity(self, 1ul << next(&random) % cpu_count());
			break;
		default:
			thread_yield();
		}
		look(space, fs);
		if (me % 4 == 3) {
			space = i % 3 < 2 ? spaces[i % 3] : NULL;
			thread_set_space(self, space);
			if (space)
				set_fs_base(fs);
		}
	}
	look(space, fs);
}

static void in_kernel(void *arg)
{
	(void)arg;
	ADD(out_of_place, read_cr3() != kernel_root || rsp0() != (uint64_t)boot_stack_top);
}

/* Switches of every mixture, ends too: each finds its own, and no processor keeps a space whose threads have ended. */
KTEST(sched, check_thread_space_mix)
{
	enum { LIVE = 9 };
	struct thread *t[LIVE];
	unsigned made = 0, gone = 0, made_spaces = 0;
	int err[2];

	ktest_note("seed", SEED);
	out_of_place = 0;
	for (unsigned i = 0; i < 2; i++)
		made_spaces += vmspace_create(0, &spaces[i]) == 0;
	KASSERT_EQ(made_spaces, 2);
	preempt_disable();
	for (unsigned i = 0; i < LIVE; i++) {
		t[i] = start("lives", i % 2 ? CLASS_NORMAL : CLASS_INTERACTIVE, HERE, live_in, i);
		made += t[i] != NULL;
		if (t[i] && i % 4 < 2)
			thread_set_space(t[i], spaces[i % 4]);
	}
	preempt_enable();
	for (unsigned i = 0; i < LIVE; i++)
		gone += ended(t[i]);
	for (unsigned i = 0; i < 2; i++)
		err[i] = vmspace_destroy(spaces[i]);
	look(NULL, 0);
	(void)cpu_on_each(in_kernel, NULL);
	KASSERT_EQ(made, LIVE);
	KASSERT_EQ(gone, LIVE);
	KASSERT_EQ(err[0], 0);
	KASSERT_EQ(err[1], 0);
	KASSERT_EQ(out_of_place, 0);
}

static uint32_t stay_about, stay_back, stay_end;

static void stay(void *arg)
{
	const uint64_t begin = clock_ns();

	(void)arg;
	set_fs_base(0x123456789000);
	SET(stay_about, 1);
	while (thread_park(LONG) != 0)
		;
	look(spaces[0], 0x123456789000);
	SET(stay_back, 1 + where());
	while (!GET(stay_end) && clock_ns() - begin < LONG)
		cpu_pause();
}

/* One that waits has no processor in its space, and its FS_BASE can be told; moved meanwhile, it takes both along.
 * While it runs there, its space is in use. */
KTEST(sched, check_thread_space_parked)
{
	const unsigned last = cpu_count() - 1;
	uint64_t fs;
	struct thread *t;
	int moved, busy = -EBUSY, err;
	bool came, back, gone;

	stay_about = stay_back = stay_end = out_of_place = 0;
	KASSERT_EQ(vmspace_create(0, &spaces[0]), 0);
	preempt_disable();
	t = start("stays", CLASS_NORMAL, HERE, stay, 0);
	if (t)
		thread_set_space(t, spaces[0]);
	preempt_enable();
	KASSERT(t != NULL);
	came = COMES(waits(t, &stay_about));
	fs = thread_fs_base(t);
	(void)cpu_on_each(in_kernel, NULL);
	moved = thread_set_affinity(t, last_cpu());
	thread_unpark(t, WAKE_PLAIN);
	back = COMES(GET(stay_back) == 1 + last);
	if (last && back)
		busy = vmspace_destroy(spaces[0]);
	SET(stay_end, 1);
	gone = ended(t);
	err = vmspace_destroy(spaces[0]);
	KASSERT(came);
	KASSERT_EQ(fs, 0x123456789000);
	KASSERT_EQ(moved, 0);
	KASSERT(back);
	KASSERT_EQ(busy, -EBUSY);
	KASSERT(gone);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(out_of_place, 0);
}

/* ---- registers and stacks ---- */

/* Computes for some microseconds, in which interrupts come, and whoever they let run runs, with the carry set and with
 * base in rdi, base + 1 to 14 in the other registers but rsp; 0: they all were so afterwards. */
static __attribute__((naked, noinline)) uint64_t hold_registers(__attribute__((unused)) uint64_t base)
{
	__asm__("push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n\t"
		"lea 1(%rdi), %rax; lea 2(%rdi), %rbx; lea 3(%rdi), %rcx; lea 4(%rdi), %rdx\n\t"
		"lea 5(%rdi), %rsi; lea 6(%rdi), %rbp; lea 7(%rdi), %r8; lea 8(%rdi), %r9\n\t"
		"lea 9(%rdi), %r10; lea 10(%rdi), %r11; lea 11(%rdi), %r12; lea 12(%rdi), %r13\n\t"
		"lea 13(%rdi), %r14; lea 14(%rdi), %r15\n\t"
		"push $6000\n\t"
		"stc\n"
		"1:\tdecl (%rsp)\n\t"                  /* leaves the carry as it is */
		"jnz 1b\n\t"
		"lea 8(%rsp), %rsp\n\t"
		"jc 2f\n\t"
		"notq (%rsp)\n"
		"2:\tsub (%rsp), %rdi\n\t"
		"sub (%rsp), %rax; xor $1, %rax; or %rdi, %rax\n\t"
		"sub (%rsp), %rbx; xor $2, %rbx; or %rbx, %rax\n\t"
		"sub (%rsp), %rcx; xor $3, %rcx; or %rcx, %rax\n\t"
		"sub (%rsp), %rdx; xor $4, %rdx; or %rdx, %rax\n\t"
		"sub (%rsp), %rsi; xor $5, %rsi; or %rsi, %rax\n\t"
		"sub (%rsp), %rbp; xor $6, %rbp; or %rbp, %rax\n\t"
		"sub (%rsp), %r8; xor $7, %r8; or %r8, %rax\n\t"
		"sub (%rsp), %r9; xor $8, %r9; or %r9, %rax\n\t"
		"sub (%rsp), %r10; xor $9, %r10; or %r10, %rax\n\t"
		"sub (%rsp), %r11; xor $10, %r11; or %r11, %rax\n\t"
		"sub (%rsp), %r12; xor $11, %r12; or %r12, %rax\n\t"
		"sub (%rsp), %r13; xor $12, %r13; or %r13, %rax\n\t"
		"sub (%rsp), %r14; xor $13, %r14; or %r14, %rax\n\t"
		"sub (%rsp), %r15; xor $14, %r15; or %r15, %rax\n\t"
		"pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
		"ret");
}

/* The same of a yield, and of the registers that a call leaves alone. */
static __attribute__((naked, noinline)) uint64_t yield_registers(__attribute__((unused)) uint64_t base)
{
	__asm__("push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n\t"
		"lea 2(%rdi), %rbx; lea 6(%rdi), %rbp; lea 11(%rdi), %r12; lea 12(%rdi), %r13\n\t"
		"lea 13(%rdi), %r14; lea 14(%rdi), %r15\n\t"
		"call thread_yield\n\t"
		"mov (%rsp), %rax; lea 2(%rax), %rcx; xor %rbx, %rcx\n\t"
		"lea 6(%rax), %rdx; xor %rbp, %rdx; or %rdx, %rcx\n\t"
		"lea 11(%rax), %rdx; xor %r12, %rdx; or %rdx, %rcx\n\t"
		"lea 12(%rax), %rdx; xor %r13, %rdx; or %rdx, %rcx\n\t"
		"lea 13(%rax), %rdx; xor %r14, %rdx; or %rdx, %rcx\n\t"
		"lea 14(%rax), %rdx; xor %r15, %rdx; or %rdx, %rcx\n\t"
		"mov %rcx, %rax\n\t"
		"pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
		"ret");
}

static uint32_t torn, spoiled, holders_done;

/* Fills stack on the way down, gives the processor away at the bottom, and looks at it on the way up. */
static __attribute__((noinline)) void hold_stack(unsigned depth, uint64_t me, uint32_t *random)
{
	volatile uint64_t room[48];
	unsigned wrong = 0;

	for (unsigned i = 0; i < 48; i++)
		room[i] = me << 32 | depth << 8 | i;
	if (depth)
		hold_stack(depth - 1, me, random);
	else if (next(random) & 1)
		ADD(torn, yield_registers(me << 40 | (uint64_t)next(random) << 4) != 0);
	else
		(void)thread_park(5 * US);
	ADD(torn, hold_registers(me << 40 | (uint64_t)next(random) << 4) != 0);
	for (unsigned i = 0; i < 48; i++)
		wrong += room[i] != (me << 32 | depth << 8 | i);
	ADD(spoiled, wrong);
}

static void hold(void *arg)
{
	const uint64_t me = (uint64_t)arg;
	const uint64_t *const frame = (uint64_t *)((struct trap_frame *)thread_stack_top(thread_current()) - 1);
	uint32_t random = SEED ^ (uint32_t)me * 77777;

	for (unsigned i = 0; i < 4; i++)
		hold_stack((unsigned)(me + i) % 4, me, &random);
	for (unsigned i = 0; i < sizeof(struct trap_frame) / 8; i++)
		ADD(spoiled, frame[i] != 0);
	ADD(holders_done, 1);
}

/* Threads that are interrupted everywhere, each with values of its own in registers and stack, while another of them is
 * preferred every few microseconds. */
KTEST(sched, check_thread_contents)
{
	enum { HOLDERS = 10 };
	const uint64_t begin = clock_ns();
	struct thread *t[HOLDERS];
	uint32_t random = SEED;
	unsigned made = 0, gone = 0;

	ktest_note("seed", SEED);
	torn = spoiled = holders_done = 0;
	for (; made < HOLDERS; made++) {
		t[made] = start("holds", CLASS_NORMAL, HERE, hold, made + 1);
		if (!t[made])
			break;
	}
	while (GET(holders_done) < made && clock_ns() - begin < LONG) {
		(void)thread_set_class(t[next(&random) % made], next(&random) & 1 ? CLASS_INTERACTIVE : CLASS_NORMAL);
		(void)thread_park(5 * US + next(&random) % (10 * US));
	}
	for (unsigned i = 0; i < made; i++)
		gone += ended(t[i]);
	KASSERT_EQ(made, HOLDERS);
	KASSERT_EQ(gone, HOLDERS);
	KASSERT_EQ(holders_done, HOLDERS);
	KASSERT_EQ(torn, 0);
	KASSERT_EQ(spoiled, 0);
}

/* ---- all at once ---- */

enum { MAKERS = 4, EACH = 30 };

static struct {
	uint32_t ids[MAKERS * EACH], made, ran, refused, wrong, over;
} storm;

static void be_short(void *arg)
{
	const uint32_t r = (uint32_t)(uint64_t)arg;

	ADD(storm.ran, 1);
	switch (r >> 24 & 3) {
	case 0:
		return;
	case 1:
		(void)thread_park(r & 0x3fff);
		break;
	case 2:
		thread_yield();
		thread_yield();
		break;
	}
	exit_by((int)(r & 0xffff));
}

static void make_and_end(void *arg)
{
	uint32_t random = SEED + (uint32_t)(uint64_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		const uint32_t r = next(&random), s = next(&random);
		const uint64_t affinity = s & 3 ? 0 : 1ul << (s >> 2) % cpu_count();
		const enum sched_class cls = (enum sched_class)((s >> 8) % CLASS_IDLE);
		struct thread *const t = start("short", cls, affinity, be_short, r);
		int code = 99, err = 0;

		if (!t) {
			ADD(storm.refused, 1);
			continue;
		}
		storm.ids[ADD(storm.made, 1)] = thread_id(t);
		switch (s >> 16 & 3) {
		case 0:
			(void)thread_park(s >> 20 & 0xfff);
			thread_detach(t);
			continue;
		case 1:
			thread_detach(t);
			continue;
		}
		for (unsigned tries = s >> 16 & 1 ? 4 : 1; tries--;) {
			err = thread_join(t, tries ? s >> 20 & 0xfff : LONG, &code);
			if (err != -ETIMEDOUT || code != 99)
				break;
			ADD(storm.over, 1);
		}
		ADD(storm.wrong, err != 0 || code != (r >> 24 & 3 ? (int)(r & 0xffff) : 0));
	}
}

/* Threads made on all processors, that end, are joined and detached there and elsewhere at random: each runs once, with
 * an id of its own, and has its code; all are gone afterwards. */
KTEST(sched, check_thread_storm)
{
	const uint64_t before = settled();
	struct thread *t[MAKERS];
	unsigned gone = 0, twice = 0;
	bool back;

	ktest_note("seed", SEED);
	memset(&storm, 0, sizeof storm);
	for (unsigned i = 0; i < MAKERS; i++)
		t[i] = start("maker", CLASS_NORMAL, 1ul << i % cpu_count(), make_and_end, i);
	for (unsigned i = 0; i < MAKERS; i++)
		gone += ended(t[i]);
	back = COMES(live() == before);
	for (unsigned i = 0; i < storm.made; i++)
		for (unsigned j = 0; j < i; j++)
			twice += storm.ids[i] == storm.ids[j];
	ktest_note("time-outs", storm.over);
	KASSERT_EQ(gone, MAKERS);
	KASSERT_EQ(storm.refused, 0);
	KASSERT_EQ(storm.made, MAKERS * EACH);
	KASSERT_EQ(storm.ran, storm.made);
	KASSERT_EQ(storm.wrong, 0);
	KASSERT_EQ(twice, 0);
	KASSERT(back);
}
