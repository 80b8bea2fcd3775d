/* cpu_pause beyond acceptance/boot/pause.c: on each processor, as a barrier for the compiler, while the flag changes, and in what
 * the kernel spins with. Counted in single steps with interrupts off, so that the thread stays on its processor. Whatever
 * cpu_pauses is set to meanwhile is harmless for the other processors. See spec/boot.md, "Processors". */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "spinlock.h"

enum { VEC_DEBUG = 1, TF = 1 << 8, IF = 1 << 9, AT = 150, TURNS = 200, TRIES = 20 };

/* What a processor sees of its own steps; at one of them it does something. */
static struct seen {
	unsigned steps, pauses;
	unsigned at, pauses_before;
	void (*then)(void);
} seen[CPU_MAX];

static void on_step(struct trap_frame *f)
{
	struct seen *s = &seen[cpu_self()->index];
	const uint8_t *code = (const uint8_t *)f->rip;

	if (++s->steps == s->at) {
		s->pauses_before = s->pauses;
		s->then();
	}
	s->pauses += code[0] == 0xf3 && code[1] == 0x90;
}

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static void flags_set(uint64_t flags)
{
	__asm__ volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc");
}

/* Goes through fn instruction by instruction, and through a few of its own; at step AT calls then, unless it is NULL. Interrupts
 * are off and on_step is the handler. */
static __attribute__((noinline)) struct seen step(void (*fn)(void), void (*then)(void))
{
	struct seen *s = &seen[cpu_self()->index];

	*s = (struct seen){ .at = then ? AT : 0, .then = then };
	__asm__ volatile("pushfq; orl %0, (%%rsp); popfq" : : "i"(TF) : "memory", "cc");
	fn();
	__asm__ volatile("pushfq; andl %0, (%%rsp); popfq" : : "i"(~TF) : "memory", "cc");
	return *s;
}

/* With the flag as given, which then is as it was. false: the debug exception has a handler already. */
static bool step_with(bool pauses, void (*fn)(void), void (*then)(void), struct seen *out)
{
	uint64_t flags;
	bool before;

	if (trap_set_handler(VEC_DEBUG, on_step) != 0)
		return false;
	flags = interrupts_off();
	before = cpu_pauses;
	cpu_pauses = pauses;
	*out = step(fn, then);
	cpu_pauses = before;
	flags_set(flags);
	trap_clear_handler(VEC_DEBUG);
	return true;
}

/* ---- each processor ---- */

static struct seen each[CPU_MAX];
static bool flags_seen[CPU_MAX];

static void pause_here(void *arg)
{
	(void)arg;
	flags_seen[cpu_self()->index] = cpu_pauses;
	each[cpu_self()->index] = step(cpu_pause, NULL);
}

/* All see the same, in the interrupt of a call, at the same time: one `pause` a call where there are several, else none. */
KTEST(boot, check_pause_each_processor)
{
	const bool several = cpu_count() > 1;

	KASSERT_EQ(trap_set_handler(VEC_DEBUG, on_step), 0);
	cpu_on_each(pause_here, NULL);
	trap_clear_handler(VEC_DEBUG);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(flags_seen[i], several);
		KASSERT(each[i].steps > 0);
		KASSERT_EQ(each[i].pauses, several);
	}
}

/* ---- the flag ---- */

/* What is asked at each call is the flag, and nothing else. */
KTEST(boot, check_pause_follows_flag)
{
	struct seen s;

	for (unsigned i = 0; i < 6; i++) {
		const bool pauses = i % 3 == 1;

		KASSERT(step_with(pauses, cpu_pause, NULL, &s));
		KASSERT_EQ(s.pauses, pauses);
	}
}

static void enable_twice(void)
{
	cpu_pause();
	cpu_pause_enable();
	cpu_pause();
	cpu_pause_enable();
	cpu_pause();
}

/* From the first call on; the second changes nothing, nor does the first if it is so already. */
KTEST(boot, check_pause_enable)
{
	struct seen s;

	KASSERT(step_with(false, enable_twice, NULL, &s));
	KASSERT_EQ(s.pauses, 2);
	KASSERT(step_with(true, enable_twice, NULL, &s));
	KASSERT_EQ(s.pauses, 3);
}

static volatile unsigned turn;
static unsigned turn_at;

static void spin_turns(void)
{
	for (turn = 0; turn < TURNS; turn = turn + 1)
		cpu_pause();
}

static void enable_now(void)
{
	turn_at = turn;
	cpu_pause_enable();
}

static void disable_now(void)
{
	turn_at = turn;
	cpu_pauses = false;
}

/* Who spins already takes it up in this turn or the next, and keeps to it. */
KTEST(boot, check_pause_taken_up)
{
	struct seen s;

	KASSERT(step_with(false, spin_turns, enable_now, &s));
	KASSERT(turn_at > 0 && turn_at < TURNS - 1);
	KASSERT_EQ(s.pauses_before, 0);
	KASSERT(s.pauses == TURNS - turn_at || s.pauses == TURNS - turn_at - 1);

	KASSERT(step_with(true, spin_turns, disable_now, &s));
	KASSERT(turn_at > 0 && turn_at < TURNS - 1);
	KASSERT(s.pauses_before == turn_at || s.pauses_before == turn_at + 1);
	KASSERT(s.pauses == turn_at || s.pauses == turn_at + 1);
}

/* ---- a barrier for the compiler ---- */

static unsigned word, turns;            /* not volatile: nothing but cpu_pause has the loop read it again */

static void spin_word(void)
{
	unsigned n = 0;

	word = 0;
	while (word == 0 && n < TURNS) {
		cpu_pause();
		n++;
	}
	turns = n;
}

static void set_word(void)
{
	word = 1;
}

static unsigned written;

static void write_word(void)
{
	word = 2;                       /* must be there when cpu_pause is, although it is written over */
	cpu_pause();
	for (unsigned n = 0; n < TURNS; n++)
		cpu_pause();
	word = 3;
}

static void look_at_word(void)
{
	written = word;
}

/* What an interrupt's handler writes is seen, and what was written before is there for it, whether it is `pause` or not. */
KTEST(boot, check_pause_barrier)
{
	struct seen s;

	for (unsigned pauses = 0; pauses < 2; pauses++) {
		KASSERT(step_with(pauses, spin_word, set_word, &s));
		KASSERT(turns > 0 && turns < TURNS);
		KASSERT(pauses ? s.pauses > 0 : s.pauses == 0);

		word = written = 0;
		KASSERT(step_with(pauses, write_word, look_at_word, &s));
		KASSERT_EQ(written, 2);
		KASSERT_EQ(word, 3);
	}
}

/* ---- what the kernel spins with ---- */

static struct spinlock lock;

static void take(void)
{
	spin_lock(&lock);
}

static void give(void)
{
	lock.serving = lock.serving + 1;
}

/* Who waits for a lock pauses in each turn, or in none, and has it in the end. */
KTEST(boot, check_pause_spin_lock)
{
	struct seen s;

	for (unsigned pauses = 0; pauses < 2; pauses++) {
		const uint32_t serving = UINT32_MAX - pauses;
		bool mine;

		lock = (struct spinlock){ .next = serving + 1, .serving = serving };    /* somebody's */
		KASSERT(step_with(pauses, take, give, &s));
		mine = lock.serving == serving + 1 && lock.next == serving + 2;
		spin_unlock(&lock);
		KASSERT(mine);
		KASSERT(s.steps > AT);
		KASSERT(pauses ? s.pauses >= AT / 16 : s.pauses == 0);
	}
}

static void delay(void)
{
	clock_delay_ns(200000);
}

/* So does who waits for the clock; once more where the machine below was away for the whole time. */
KTEST(boot, check_pause_delay)
{
	struct seen s;

	KASSERT(step_with(false, delay, NULL, &s));
	KASSERT_EQ(s.pauses, 0);
	for (unsigned try = 0; try < TRIES; try++) {
		KASSERT(step_with(true, delay, NULL, &s));
		if (s.pauses > 0)
			break;
	}
	KASSERT(s.pauses > 0);
}
