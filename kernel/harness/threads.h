/* What acceptance tests of scheduling share.
 *
 * The clock goes on while the machine below does not run a processor, for tens of milliseconds if it is busy. So by the clock a test says only what is
 * never early; what must not be late is counted: in turns of threads, which come in their order whatever the clock does, or has many chances. Where
 * instructions are counted (`counting()`) the clock is exact, and so are the tests. */
#ifndef AUTON_HARNESS_THREADS_H
#define AUTON_HARNESS_THREADS_H

#include "clock.h"
#include "cpu.h"
#include "memory.h"
#include "sched.h"

enum { MS = 1000000, US = 1000 };

#define HERE 1ull                       /* affinity: the boot processor, where tests run */
#define LONG (4000ull * MS)             /* what takes so long does not come any more */
enum { TRIES = 5 };                     /* for what one unlucky moment of the machine below may spoil, and a wrong kernel always does */

/* Uses its processor's time up to the next interrupt, as if it computed, but the machine below has others to run meanwhile. */
static inline void burn(void)
{
	__asm__ volatile("sti; hlt" : : : "memory");
}

/* So that a thread may be the one that is waited for. On one processor there is none to give a turn to, and a virtual machine takes a
 * microsecond to find that out. */
static inline void relax(void)
{
	if (cpu_count() > 1)
		__asm__ volatile("pause" : : : "memory");
	else
		__asm__ volatile("" : : : "memory");
}

static inline struct thread *start(const char *name, enum sched_class cls, uint64_t affinity, void (*fn)(void *), uint64_t arg)
{
	const struct thread_attr attr = { name, cls, affinity };
	struct thread *t = NULL;

	return thread_create(&attr, fn, (void *)arg, &t) ? NULL : t;
}

/* Has it ended, at last? */
static inline bool ended(struct thread *t)
{
	return t && thread_join(t, LONG, NULL) == 0;
}

/* Sleeps until it is no less than wanted, looking every now and then; false: it has taken too long. */
static inline bool reaches(const volatile uint32_t *value, uint32_t wanted)
{
	const uint64_t begin = clock_ns();

	while (__atomic_load_n(value, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - begin > LONG)
			return false;
		thread_park(200 * US);
	}
	return true;
}

static inline struct thread_stats stats_of(struct thread *t)
{
	struct thread_stats stats;

	thread_get_stats(t, &stats);
	return stats;
}

static inline uint64_t run_of(struct thread *t)
{
	return stats_of(t).run_ns;
}

static inline uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* Whether they are no further apart than so many percent of b. */
static inline bool within(uint64_t a, uint64_t b, uint64_t percent)
{
	return apart(a, b) * 100 <= b * percent;
}

/* ---- turns: who ran after whom, on each processor ---- */

enum { TURNS_MAX = 512 };

static struct turns {
	volatile uint32_t n;
	struct { uint64_t at, run; unsigned who; } of[TURNS_MAX];
} turns[CPU_MAX];
static volatile uint32_t turns_end;     /* those who burn are to stop */

static inline void turns_clear(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++)
		turns[i].n = 0;
	turns_end = 0;
}

/* Says that who runs here; whether that is a new turn: somebody else was the last to say so. */
static inline bool turn(unsigned who)
{
	const uint64_t flags = harness_cli();
	struct turns *t = &turns[cpu_self()->index];
	const bool is = t->n < TURNS_MAX && (t->n == 0 || t->of[t->n - 1].who != who);

	if (is) {
		t->of[t->n].who = who;
		t->of[t->n].at = clock_ns();
		t->of[t->n].run = run_of(thread_current());
		__atomic_store_n(&t->n, t->n + 1, __ATOMIC_SEQ_CST);
	}
	harness_restore(flags);
	return is;
}

/* A thread that computes until all are to stop. */
static inline void burner(void *who)
{
	while (!turns_end) {
		turn((unsigned)(uint64_t)who);
		burn();
	}
}

/* Turns of who on processor 0. */
static inline unsigned turns_of(unsigned who)
{
	unsigned n = 0;

	for (unsigned i = 0; i < turns[0].n; i++)
		n += turns[0].of[i].who == who;
	return n;
}

/* Where the next turn of who is, from that one on; the number of turns if there is none. */
static inline unsigned turn_after(unsigned from, unsigned who)
{
	while (from < turns[0].n && turns[0].of[from].who != who)
		from++;
	return from;
}

#endif
