/* Acceptance of sched/wait.c: queues of those who wait, and sleep. See spec/sched.md, and harness/threads.h of time. */
#include "panic.h"
#include "threads.h"

static struct wait_queue queue;
static struct spinlock lock;            /* guards what follows */
static uint32_t waiting, tickets, came[16];
static volatile uint32_t came_count, results_count;
static volatile int results[16];

static void clear(void)
{
	queue = (struct wait_queue)WAIT_INIT;
	waiting = tickets = 0;
	came_count = results_count = 0;
}

/* Waits for a ticket. */
static void wait_for_ticket(void *arg)
{
	uint64_t flags = spin_lock_irqsave(&lock);

	waiting++;
	while (!tickets)
		wait_sleep(&queue, &lock, &flags, TIMEOUT_NONE);
	tickets--;
	waiting--;
	came[came_count] = (uint32_t)(uint64_t)arg;
	__atomic_fetch_add(&came_count, 1, __ATOMIC_SEQ_CST);
	spin_unlock_irqrestore(&lock, flags);
}

/* Who has the lock when so many wait knows that they are in the queue. */
static bool are_waiting(uint32_t n)
{
	const uint64_t begin = clock_ns();

	while (clock_ns() - begin < LONG) {
		const uint64_t flags = spin_lock_irqsave(&lock);
		const uint32_t now = waiting;

		spin_unlock_irqrestore(&lock, flags);
		if (now == n)
			return true;
		thread_park(100 * US);
	}
	return false;
}

static unsigned give_tickets(uint32_t n, unsigned how)
{
	uint64_t flags = spin_lock_irqsave(&lock);
	unsigned woken;

	tickets += n;
	woken = wait_wake(&queue, n, how);
	spin_unlock_irqrestore(&lock, flags);
	return woken;
}

static unsigned wakes_wrong;

/* Whether they came in their order, of which each could be kept from by the end of its slice at the wrong moment. */
static bool wakes_in_order(void)
{
	bool in_order = true;

	enum { WAITERS = 8 };
	struct thread *t[WAITERS];
	unsigned none, three, two, rest, gone = 0;
	uint8_t level[2];
	bool queued = true, some;

	clear();
	none = wait_wake(&queue, 5, WAKE_PLAIN);
	for (unsigned i = 0; i < WAITERS; i++) {
		t[i] = start("waits", CLASS_INTERACTIVE, HERE, wait_for_ticket, i);
		queued &= are_waiting(i + 1);
	}
	wait_wake(&queue, 0, WAKE_PLAIN);
	three = give_tickets(3, WAKE_PLAIN);
	some = reaches(&came_count, 3);
	thread_park(MS);
	some &= came_count == 3;
	preempt_disable();
	two = give_tickets(2, WAKE_BOOST);
	for (unsigned i = 0; i < 2; i++)
		level[i] = thread_ent(t[3 + i])->level;
	preempt_enable();
	some &= reaches(&came_count, 5);
	rest = give_tickets(100, WAKE_PLAIN);
	for (unsigned i = 0; i < WAITERS; i++)
		gone += ended(t[i]);
	for (unsigned i = 0; i < WAITERS; i++)
		in_order &= came[i] == i;
	wakes_wrong += none || !queued || three != 3 || !some || two != 2 || level[0] != LEVEL_BOOST || level[1] != LEVEL_BOOST || rest != WAITERS - 5 || gone != WAITERS ||
		       wait_wake(&queue, 100, WAKE_PLAIN) != 0;
	return in_order;
}

KTEST(sched, wait_wake)
{
	bool in_order = false;

	wakes_wrong = 0;
	for (unsigned i = 0; i < TRIES && !in_order; i++)
		in_order = wakes_in_order();
	KASSERT_EQ(wakes_wrong, 0);
	KASSERT(in_order);
}

/* From an interrupt. */
static unsigned woken_there;

static void wake_there(struct timer *t)
{
	(void)t;
	woken_there = give_tickets(1, WAKE_BOOST);
}

KTEST(sched, wait_interrupt)
{
	static struct timer timer;
	struct thread *t;
	uint64_t begin;

	clear();
	woken_there = 0;
	t = start("waits", CLASS_NORMAL, 0, wait_for_ticket, 0);
	KASSERT(are_waiting(1));
	begin = clock_ns();
	KASSERT_EQ(timer_arm(&timer, clock_ns() + 100 * US, wake_there, NULL), 0);
	KASSERT(ended(t));
	if (harness_counting())
		KASSERT(clock_ns() - begin <= MS);              /* at once, and not when something else happens */
	KASSERT_EQ(woken_there, 1);
}

/* ---- hand-overs ---- */

enum { HAND_OVERS = 10000 };
static uint32_t ball, caught[2];
static volatile uint32_t game_over;
static uint64_t game_end;

static void play(void *arg)
{
	const uint32_t me = (uint64_t)arg & 1;
	uint64_t seed = (uint64_t)arg, flags = spin_lock_irqsave(&lock);

	while (!game_over) {
		if ((ball & 1) == me) {
			ball++;
			caught[me]++;
			game_over = ball >= HAND_OVERS || clock_ns() > game_end;
			wait_wake(&queue, 1, WAKE_PLAIN);
		} else if (wait_sleep(&queue, &lock, &flags, LONG) == -ETIMEDOUT) {
			game_over = 2;
		}
		spin_unlock_irqrestore(&lock, flags);
		for (uint64_t n = harness_random(&seed) & 63; n; n--)
			relax();
		flags = spin_lock_irqsave(&lock);
	}
	wait_wake(&queue, 1, WAKE_PLAIN);
	spin_unlock_irqrestore(&lock, flags);
}

/* Sets what is waited for, as soon as the lock can be had on this processor. */
static void drop_ball(struct timer *t)
{
	const uint64_t flags = spin_lock_irqsave(&lock);

	(void)t;
	ball = 1;
	wait_wake(&queue, 1, WAKE_PLAIN);
	spin_unlock_irqrestore(&lock, flags);
}

/* One is dropped in each moment between the look at it and the sleep: how many were not seen. Where the time is over too, the ball was first. */
static unsigned dropped_unseen(void)
{
	static struct timer timer;
	unsigned unseen = 0;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t flags = spin_lock_irqsave(&lock);

		ball = 0;
		timer_arm(&timer, clock_ns() + i * 10, drop_ball, NULL);
		while (!ball && unseen == 0)
			unseen += wait_sleep(&queue, &lock, &flags, 20 * MS) == -ETIMEDOUT;
		spin_unlock_irqrestore(&lock, flags);
		timer_cancel(&timer);
	}
	return unseen;
}

/* Two throw a ball: one that is thrown is caught, be it on this processor or another. */
KTEST(sched, wait_lost)
{
	uint64_t seed = harness_seed();

	for (unsigned other = 0; other < 2 && other < cpu_count(); other++) {
		struct thread *a, *b;

		clear();
		ball = caught[0] = caught[1] = 0;
		game_over = 0;
		game_end = clock_ns() + 150 * MS;
		a = start("even", CLASS_NORMAL, HERE, play, seed << 1);
		b = start("odd", CLASS_NORMAL, 1ull << other, play, seed << 1 | 1);
		KASSERT(ended(a));
		KASSERT(ended(b));
		KASSERT_EQ(game_over, 1);
		KASSERT_EQ(caught[0] + caught[1], ball);
		KASSERT(caught[0] - caught[1] <= 1);
		KASSERT(ball > 2);
	}
	clear();
	KASSERT_EQ(dropped_unseen(), 0);
}

/* ---- time-outs ---- */

static struct timer waker;
static volatile uint32_t wakes, wakes_done;

static void wake_now(struct timer *t)
{
	(void)t;
	wakes = wait_wake(&queue, 1, WAKE_PLAIN);
	wakes_done = 1;
}

KTEST(sched, wait_timeout)
{
	uint64_t flags, begin, seed = harness_seed();
	unsigned both = 0, woken = 0, left = 0;
	int first, now;

	clear();
	begin = clock_ns();
	flags = spin_lock_irqsave(&lock);
	first = wait_sleep(&queue, &lock, &flags, MS);
	now = wait_sleep(&queue, &lock, &flags, TIMEOUT_NOW);
	spin_unlock_irqrestore(&lock, flags);
	KASSERT_EQ(first, -ETIMEDOUT);
	KASSERT(clock_ns() - begin >= MS);
	KASSERT_EQ(now, -ETIMEDOUT);
	KASSERT_EQ(wait_wake(&queue, 1, WAKE_PLAIN), 0);
	KASSERT_EQ(wait_sleep(&queue, NULL, NULL, 1000), -ETIMEDOUT);
	KASSERT(harness_flags() >> 9 & 1);

	/* Woken just when the time is over: either it was woken, and who woke it knows, or it was not. */
	for (unsigned i = 0; i < 300; i++) {
		const uint64_t ns = 20 * US + harness_random(&seed) % (5 * US);
		int result;

		wakes_done = 0;
		flags = spin_lock_irqsave(&lock);
		timer_arm(&waker, clock_ns() + ns + harness_random(&seed) % (4 * US), wake_now, NULL);
		result = wait_sleep(&queue, &lock, &flags, ns);
		spin_unlock_irqrestore(&lock, flags);
		begin = clock_ns();
		while (!wakes_done && clock_ns() - begin < LONG)
			relax();
		both += !wakes_done || (result == 0) != (wakes == 1) || (result != 0 && result != -ETIMEDOUT);
		woken += result == 0;
		left += thread_park(TIMEOUT_NOW) != -ETIMEDOUT;
	}
	ktest_note("woken", woken);
	KASSERT_EQ(both, 0);
	KASSERT_EQ(left, 0);
}

static void wait_and_tell(void *arg)
{
	uint64_t flags = spin_lock_irqsave(&lock);

	(void)arg;
	for (unsigned i = 0; i < 2; i++) {
		waiting++;
		results[results_count] = wait_sleep(&queue, &lock, &flags, LONG);
		waiting--;
		results_count = results_count + 1;
	}
	spin_unlock_irqrestore(&lock, flags);
}

KTEST(sched, wait_cancel)
{
	struct thread *t;
	uint64_t flags;
	int next;

	clear();
	t = start("waits", CLASS_NORMAL, 0, wait_and_tell, 0);
	KASSERT(are_waiting(1));
	thread_cancel(t);
	KASSERT(reaches(&results_count, 1));
	KASSERT(are_waiting(1));
	thread_cancel(t);
	KASSERT(ended(t));
	KASSERT_EQ(results[0], -EAGAIN);
	KASSERT_EQ(results[1], -EAGAIN);
	KASSERT_EQ(wait_wake(&queue, 1, WAKE_PLAIN), 0);        /* it is in the queue no more */
	thread_cancel(thread_current());
	flags = spin_lock_irqsave(&lock);
	next = wait_sleep(&queue, &lock, &flags, LONG);
	spin_unlock_irqrestore(&lock, flags);
	KASSERT_EQ(next, -EAGAIN);
	thread_cancel(thread_current());
	KASSERT_EQ(thread_sleep(LONG), -EAGAIN);
	KASSERT_EQ(thread_sleep(1000), 0);
}

KTEST(sched, wait_sleep)
{
	uint64_t seed = harness_seed(), best = UINT64_MAX;

	for (unsigned i = 0; i < 40 && (i < 12 || best > MS); i++) {
		const uint64_t ns = i < 2 ? i : harness_random(&seed) % (i % 4 ? MS : 10 * MS), begin = clock_ns();
		uint64_t took;

		if (i % 3 == 0)
			thread_unpark(thread_current(), WAKE_PLAIN);    /* is no reason to wake */
		KASSERT_EQ(thread_sleep(ns), 0);
		took = clock_ns() - begin;
		KASSERT(took >= ns);
		best = took - ns < best ? took - ns : best;
		if (harness_counting())
			KASSERT(took - ns <= MS);
	}
	KASSERT(best <= MS);
	thread_park(TIMEOUT_NOW);
}

/* ---- where one may not sleep ---- */

static void sleep_locked(void *arg)
{
	(void)arg;
	spin_lock(&lock);
	thread_sleep(1000);
}

static void wait_locked(void *arg)
{
	static struct spinlock another;
	uint64_t flags;

	(void)arg;
	spin_lock(&another);
	flags = spin_lock_irqsave(&lock);
	wait_sleep(&queue, &lock, &flags, 1000);
}

static void wait_interrupts_off(void *arg)
{
	uint64_t flags;

	(void)arg;
	harness_cli();
	flags = spin_lock_irqsave(&lock);
	wait_sleep(&queue, &lock, &flags, 1000);
}

KTEST(sched, wait_atomic)
{
	void (*const bad[])(void *) = { sleep_locked, wait_locked, wait_interrupts_off };
	char why[64];

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		clear();
		harness_memset(why, 0, sizeof why);
		caught[0] = (uint32_t)panic_catch(bad[i], NULL, why, sizeof why);
		lock = (struct spinlock){ 0 };
		KASSERT_EQ(caught[0], 1);
		KASSERT_STREQ(why, "sched: sleep in atomic context");
		KASSERT(harness_flags() >> 9 & 1);
		KASSERT_EQ(cpu_self()->preempt_count, 0);
	}
	clear();
	KASSERT_EQ(thread_sleep(1000), 0);
}
