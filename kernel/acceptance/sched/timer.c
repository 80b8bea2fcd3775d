/* Acceptance of sched/timer.c. See spec/sched.md. How late a timer is says as much of the machine below as of the kernel: what must not be early is looked at
 * every time, what must not be late has several chances. */
#include "clock.h"
#include "cpu.h"
#include "internal.h"
#include "sched.h"

enum { MS = 1000000, MANY = 1000, FULL = TIMER_MAX + 1 };

static struct timer timers[FULL];
static uint64_t due[MANY];
static volatile uint32_t fired, early, elsewhere, disorder, enabled, still_armed;
static volatile uint64_t last_due, first_late;

/* Until so many have fired, at most for 2 s. */
static bool wait_for(uint32_t n)
{
	const uint64_t until = clock_ns() + 2000 * MS;

	while (fired < n && clock_ns() < until)
		;
	return fired >= n;
}

static void stand(uint64_t ns)
{
	const uint64_t until = clock_ns() + ns;

	while (clock_ns() < until)
		;
}

static void note(struct timer *t)
{
	const uint64_t now = clock_ns(), i = (uint64_t)t->arg;

	early += now < due[i];
	disorder += due[i] < last_due;
	last_due = due[i];
	elsewhere += cpu_self()->index != 0;
	enabled += (harness_flags() >> 9 & 1) != 0;
	still_armed += timer_cancel(t) != -ENOENT;
	first_late = now - due[i];
	fired++;
}

static void clear(void)
{
	fired = early = elsewhere = disorder = enabled = still_armed = 0;
	last_due = 0;
}

KTEST(sched, timer_order)
{
	uint64_t seed = harness_seed(), start, flags;
	unsigned refused = 0;
	bool all;

	clear();
	flags = harness_cli();                                  /* so that all are armed before the first fires */
	start = clock_ns();
	for (unsigned i = 0; i < MANY; i++) {
		due[i] = start + harness_random(&seed) % (10 * MS);
		refused += timer_arm(&timers[i], due[i], note, (void *)(uint64_t)i) != 0;
	}
	harness_restore(flags);
	all = wait_for(MANY);
	stand(MS);
	KASSERT_EQ(refused, 0);
	KASSERT(all);
	KASSERT_EQ(fired, MANY);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(disorder, 0);
	KASSERT_EQ(elsewhere, 0);
	KASSERT_EQ(enabled, 0);
	KASSERT_EQ(still_armed, 0);
}

/* One at a time: never early, and at the best not late; the past is at once. */
KTEST(sched, timer_due)
{
	uint64_t seed = harness_seed(), best = UINT64_MAX;

	for (unsigned i = 0; i < 40 && (i < 10 || best > MS / 2); i++) {
		clear();
		due[0] = i % 4 ? clock_ns() + harness_random(&seed) % MS : clock_ns() - 1;
		KASSERT_EQ(timer_arm(&timers[0], due[0], note, NULL), 0);
		KASSERT(wait_for(1));
		KASSERT_EQ(early, 0);
		best = first_late < best ? first_late : best;
	}
	KASSERT(best <= MS / 2);
}

KTEST(sched, timer_cancel)
{
	unsigned wrong = 0;
	uint64_t start, flags;

	clear();
	flags = harness_cli();
	start = clock_ns();
	for (unsigned i = 0; i < 64; i++) {
		due[i] = start + 2 * MS + i * 10000;
		wrong += timer_arm(&timers[i], due[i], note, (void *)(uint64_t)i) != 0;
		wrong += timer_arm(&timers[i], due[i], note, NULL) != -EBUSY;
	}
	for (unsigned i = 0; i < 64; i += 2) {
		wrong += timer_cancel(&timers[i]) != 0;
		wrong += timer_cancel(&timers[i]) != -ENOENT;
	}
	harness_restore(flags);
	KASSERT_EQ(wrong, 0);
	KASSERT(wait_for(32));
	stand(2 * MS);
	KASSERT_EQ(fired, 32);
	KASSERT_EQ(early + disorder, 0);
	for (unsigned i = 0; i < 64; i++)
		KASSERT_EQ(timer_cancel(&timers[i]), -ENOENT);
	/* used again */
	due[0] = clock_ns();
	KASSERT_EQ(timer_arm(&timers[0], due[0], note, NULL), 0);
	KASSERT(wait_for(33));
}

static volatile uint32_t rounds;

static void again(struct timer *t)
{
	if (++rounds < 10)
		fired += timer_arm(t, clock_ns() + 50000, again, t->arg) != 0 ? 1000 : 0;
	else
		fired++;
}

/* A callback arms its own timer anew, and others. */
KTEST(sched, timer_rearm)
{
	clear();
	rounds = 0;
	KASSERT_EQ(timer_arm(&timers[0], clock_ns() + 1000, again, NULL), 0);
	KASSERT(wait_for(1));
	KASSERT_EQ(fired, 1);
	KASSERT_EQ(rounds, 10);
}

static void count(struct timer *t)
{
	(void)t;
	fired++;
}

KTEST(sched, timer_full)
{
	const uint64_t flags = harness_cli(), far = clock_ns() + 3600000ull * MS;
	unsigned armed = 0, wrong = 0;
	int err = 0, after;

	clear();
	while (armed < FULL && (err = timer_arm(&timers[armed], far - armed, count, NULL)) == 0)
		armed++;
	wrong += timer_cancel(&timers[armed / 2]) != 0;
	after = timer_arm(&timers[armed / 2], far, count, NULL);
	wrong += armed < FULL && timer_arm(&timers[armed], far, count, NULL) != -ENOSPC;
	wrong += timer_arm(&timers[0], far, count, NULL) != -EBUSY;
	for (unsigned i = 0; i < armed; i++)
		wrong += timer_cancel(&timers[i]) != 0;
	harness_restore(flags);
	KASSERT_EQ(err, -ENOSPC);
	KASSERT(armed <= TIMER_MAX);
	KASSERT(armed >= TIMER_MAX - 8);                        /* the kernel has some itself */
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(after, 0);
	KASSERT_EQ(fired, 0);
	for (unsigned i = 0; i < FULL; i++)
		timers[i] = (struct timer){ 0 };
}

/* ---- other processors ---- */

static struct timer theirs[CPU_MAX];
static volatile uint32_t there[CPU_MAX], running, hold;

static void note_there(struct timer *t)
{
	there[cpu_self()->index] += t->arg == (void *)t;
}

static void arm_there(void *arg)
{
	(void)arg;
	timer_arm(&theirs[cpu_self()->index], clock_ns() + MS, note_there, &theirs[cpu_self()->index]);
}

static void arm_far(void *arg)
{
	timer_arm(&theirs[cpu_self()->index], clock_ns() + 3600000ull * MS, note_there, arg);
}

static void stay(struct timer *t)
{
	(void)t;
	running = 1;
	for (unsigned i = 0; i < 20000 && hold; i++)
		__asm__ volatile("pause");
	running = 2;
}

static void arm_stay(void *arg)
{
	(void)arg;
	timer_arm(&theirs[cpu_self()->index], clock_ns(), stay, NULL);
}

/* Each processor has its own; one cancels another's, and waits for it where it is running. */
KTEST(sched, timer_smp)
{
	const uint64_t until = clock_ns() + 2000 * MS;
	const unsigned last = cpu_count() - 1;

	for (unsigned i = 0; i < CPU_MAX; i++)
		there[i] = 0;
	KASSERT_EQ(cpu_on_each(arm_there, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++)
		while (!there[i] && clock_ns() < until)
			__asm__ volatile("pause");
	for (unsigned i = 0; i < CPU_MAX; i++)
		KASSERT_EQ(there[i], i < cpu_count());
	KASSERT_EQ(cpu_on_each(arm_far, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(timer_arm(&theirs[i], clock_ns(), note_there, NULL), -EBUSY);
		KASSERT_EQ(timer_cancel(&theirs[i]), 0);
		KASSERT_EQ(timer_cancel(&theirs[i]), -ENOENT);
	}
	running = 0;
	hold = 1;
	KASSERT_EQ(cpu_call(last, arm_stay, NULL), 0);
	while (!running && clock_ns() < until)
		__asm__ volatile("pause");
	KASSERT_EQ(timer_cancel(&theirs[last]), -ENOENT);
	KASSERT_EQ(running, 2);
	hold = 0;
}
