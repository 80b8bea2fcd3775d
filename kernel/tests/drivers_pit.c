/* Further tests of drivers/pit.c, and of the clock that is set by it: windows in which we are stopped, and windows
 * after anything, on each processor. See spec/drivers.md, part 2, "pit".
 *
 * We may be stopped at any time, by QEMU or the machine below, besides where we stop ourselves: what holds of every
 * window is looked at every time, and what only one in peace has ("sharp") has several chances. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "pit.h"
#include "spinlock.h"
#include "string.h"

#define US 1000ull
#define MS 1000000ull
#define W ((uint64_t)PIT_WINDOW_NS)

enum { IF = 1 << 9, TF = 1 << 8, VEC_DEBUG = 1, SEED = 0x91f7, LOOKS = 100000, TRIES = 20, SHARP = 64 };
enum { PIT_0 = 0x40, PIT_2 = 0x42, PIT_CONTROL = 0x43 };
enum { SPEAKER = 0x61, GATE = 1, SPEAKER_ON = 2, OUT = 0x20, WRITABLE = 0xf };
enum { MASKED = 1 << 16, PERIODIC = 1 << 17, BY_1 = 0xb, BY_2 = 0, BY_16 = 3, BY_128 = 0xa };

/* Waits until it is so, and whether it is. Not only time is counted: if we are stopped there is none to look. Where
 * QEMU counts instructions, `pause` lets other processors in, which takes as long as a thousand instructions. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		for (unsigned n_ = 0; !(condition) && (n_ < LOOKS || clock_ns() - begin_ < 2000 * MS); n_++) \
			if (n_ % 16 == 0) \
				cpu_pause(); \
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

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

static uint64_t tsc_read(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void linger(uint64_t ns)
{
	const uint64_t begin = clock_ns();

	for (unsigned looks = 1; clock_ns() - begin < ns; looks++)
		if (looks % 64 == 0)
			cpu_pause();
}

/* ---- a stop where we want it ---- */

/* How far pit_measure has come: told by what it has executed, so that it does not matter how long that took. */
enum phase {
	SETTING_UP,
	LOADING,                /* the count's low byte is written */
	BEGINNING,              /* a is read */
	COUNTING,               /* the high byte is written */
	UNSEEN,                 /* b is read: the window's begin is known */
	LOOKED,                 /* a look has found OUT clear */
	ENDED,                  /* a look has found it set */
	OVER,                   /* d is read */
	PHASES,
};

/* After the instruction of that number in that phase, or of that number once the PIT has counted for so long. */
struct stop {
	enum phase phase;
	unsigned offset;
	uint64_t ns, wait;      /* how long it is; the PIT's time before it: 0 in all phases before LOOKED */
};

enum event { NOTHING, OUT_COUNT, IN_SPEAKER, READ_TSC };

static struct {
	struct stop stop;
	enum phase phase;
	enum event event;       /* what the instruction does that comes next */
	unsigned there, length[PHASES], clear;          /* clear: looks that have found OUT so */
	uint64_t counts_since, began, ended;
	uint8_t port;           /* when the stop ends */
	bool done, interruptible;
} step;

static enum event event_at(const struct trap_frame *f)
{
	const uint8_t *at = (const uint8_t *)f->rip;
	const uint16_t dx = (uint16_t)f->rdx;

	if (at[0] == 0x0f && at[1] == 0x31)
		return READ_TSC;
	if ((at[0] == 0xe6 && at[1] == PIT_2) || (at[0] == 0xee && dx == PIT_2))
		return OUT_COUNT;
	if ((at[0] == 0xe4 && at[1] == SPEAKER) || (at[0] == 0xec && dx == SPEAKER))
		return IN_SPEAKER;
	return NOTHING;
}

/* By the instruction that has been executed. */
static enum phase phase_after(const struct trap_frame *f)
{
	switch (step.phase) {
	case SETTING_UP:
		return step.event == OUT_COUNT ? LOADING : SETTING_UP;
	case LOADING:
		return step.event == READ_TSC ? BEGINNING : LOADING;
	case BEGINNING:
		if (step.event != OUT_COUNT)
			return BEGINNING;
		step.counts_since = clock_ns();
		return COUNTING;
	case COUNTING:
		return step.event == READ_TSC ? UNSEEN : COUNTING;
	case UNSEEN:
	case LOOKED:
		if (step.event != IN_SPEAKER)
			return step.phase;
		if (f->rax & OUT)
			return ENDED;
		step.clear++;
		return LOOKED;
	case ENDED:
		return step.event == READ_TSC ? OVER : ENDED;
	default:
		return step.phase;
	}
}

static void on_step(struct trap_frame *f)
{
	if (step.done) {
		f->rflags &= ~(uint64_t)TF;
		return;
	}
	step.phase = phase_after(f);
	step.event = event_at(f);
	step.length[step.phase]++;
	step.interruptible |= step.phase >= LOADING && step.phase <= ENDED && (f->rflags & IF);
	if (step.phase != step.stop.phase)
		return;
	if (step.stop.wait && clock_ns() - step.counts_since < step.stop.wait)
		return;
	if (step.there++ != step.stop.offset)
		return;
	step.began = tsc_read();
	linger(step.stop.ns);
	step.ended = tsc_read();
	step.port = inb(SPEAKER);
	step.done = true;
	f->rflags &= ~(uint64_t)TF;
}

/* ---- a window, what was before and what is afterwards ---- */

/* What the APIC's timer counts in 2^32 ticks of the TSC. */
struct rate {
	uint64_t least, most;
};

/* How it is measured: all 0 is pit_measure with interrupts off. */
struct way {
	bool window;            /* pit_window */
	bool on;                /* with interrupts on */
	uint8_t speaker;        /* gate and speaker before */
	const struct stop *stop;
	trap_handler each;      /* at each step, instead of the stop */
	void (*prepare)(unsigned kind), (*afterwards)(unsigned kind);
	unsigned kind;
};

struct attempt {
	struct pit_window w;
	bool counted, ready;
	uint64_t shortest, longest;     /* in ticks: what W is by the clock, read between two looks at the TSC */
	uint64_t around;                /* ticks that it took */
	uint64_t flags;
	uint8_t port, port_before;
	uint32_t lvt, current;
	bool stopped;                   /* and if so: */
	enum phase phase;
	uint64_t stop_ticks;
	bool out, seen;                 /* OUT was set when the stop ended; had been seen clear before */
	bool ungated, interruptible;    /* meanwhile: the gate closed, or the speaker on; interrupts on */
};

static struct spinlock stay;            /* who holds it stays on this processor, interrupts on */

static void begin_steps(const struct stop *stop)
{
	memset(&step, 0, sizeof step);
	step.stop = *stop;
}

static void attempt(struct attempt *t, const struct way *how)
{
	const uint64_t set = (how->stop || how->each ? TF : 0u) | (how->on ? IF : 0u);
	uint64_t flags, dr6, before[2], after[2], from, to;
	uint8_t speaker;

	memset(t, 0, sizeof *t);
	if (how->on)
		spin_lock(&stay);
	flags = interrupts_off();
	__asm__ volatile("movq %%dr6, %0" : "=r"(dr6) : : "memory");
	if (how->stop)
		begin_steps(how->stop);
	t->ready = !(set & TF) || trap_set_handler(VEC_DEBUG, how->each ? how->each : on_step) == 0;
	clock_oneshot(clock_ns() + 1000 * MS);          /* so that the timer is neither masked nor stopped */
	speaker = inb(SPEAKER) & WRITABLE;
	t->port_before = (uint8_t)((speaker & ~3u) | how->speaker);
	outb(SPEAKER, t->port_before);
	if (how->prepare)
		how->prepare(how->kind);
	before[0] = tsc_read();
	from = clock_ns();
	before[1] = tsc_read();
	t->counted = true;
	if (t->ready && set)
		__asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "r"(set) : "memory", "cc");
	if (how->window)
		pit_window(&t->w);
	else
		t->counted = pit_measure(&t->w);
	t->flags = interrupts_off();
	__asm__ volatile("pushfq\n\tandq $-257, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	after[0] = tsc_read();
	to = clock_ns();
	after[1] = tsc_read();
	t->port = inb(SPEAKER) & WRITABLE;
	t->lvt = apic_read(APIC_LVT_TIMER);
	t->current = apic_read(APIC_TIMER_CURRENT);
	if (how->afterwards)
		how->afterwards(how->kind);
	outb(SPEAKER, speaker);
	if ((set & TF) && t->ready)
		trap_clear_handler(VEC_DEBUG);
	__asm__ volatile("movq %0, %%dr6" : : "r"(dr6) : "memory");
	clock_oneshot(0);
	interrupts_restore(flags);
	if (how->on)
		spin_unlock(&stay);
	t->around = after[0] - before[1];
	if (to > from) {
		t->shortest = W * (after[0] - before[1]) / (to - from);
		t->longest = W * (after[1] - before[0]) / (to - from);
	}
	if (how->stop && step.done) {
		t->stopped = true;
		t->phase = step.phase;
		t->stop_ticks = step.ended - step.began;
		t->out = step.port & OUT;
		t->ungated = t->phase >= LOADING && t->phase <= ENDED && (step.port & (GATE | SPEAKER_ON)) != GATE;
		t->interruptible = step.interruptible;
		t->seen = step.clear > 0;
	}
}

/* Not by pit.c. Of some tries the narrowest: what we are stopped for makes it wider. */
static struct rate timer_rate(void)
{
	const uint64_t flags = interrupts_off();
	struct rate r = { 0, UINT64_MAX };

	for (unsigned i = 0; i < 4; i++) {
		uint64_t a, b, c, d, n;

		apic_write(APIC_LVT_TIMER, MASKED | VEC_TIMER);
		apic_write(APIC_TIMER_DIVIDE, BY_1);
		a = tsc_read();
		apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
		b = tsc_read();
		linger(100 * US);
		c = tsc_read();
		n = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
		d = tsc_read();
		apic_write(APIC_TIMER_INITIAL, 0);
		if ((n << 32) / (d - a) > r.least)
			r.least = (n << 32) / (d - a);
		if (((n + 1) << 32) / (c - b) < r.most)
			r.most = ((n + 1) << 32) / (c - b);
	}
	clock_oneshot(0);
	interrupts_restore(flags);
	return r;
}

static struct rate rate_in(const struct pit_window *w)
{
	return (struct rate){
		((uint64_t)w->apic << 32) / (w->timed + w->blur ? w->timed + w->blur : 1),
		w->timed ? (((uint64_t)w->apic + 1) << 32) / w->timed : UINT64_MAX,
	};
}

static uint64_t percent_less(uint64_t n, unsigned percent)
{
	return n - n / 100 * percent;
}

static bool is_sharp(const struct pit_window *w)
{
	return w->ticks > 0 && w->blur <= w->ticks / SHARP;
}

/* Within 1 %, and itself no less exact. */
static bool is_right(const struct attempt *t)
{
	return t->counted && is_sharp(&t->w) && t->w.ticks >= percent_less(t->shortest, 1)
		&& percent_less(t->w.ticks, 1) <= t->longest;
}

/* What is wrong, a bit each. */
enum {
	TOO_LONG = 1 << 0,              /* timed is longer than the window */
	TOO_SHORT = 1 << 1,             /* timed and blur are shorter than the window */
	NOT_BETWEEN = 1 << 2,           /* ticks is not timed and half of blur */
	NOT_WITHIN = 1 << 3,            /* more than what it took */
	TIMER_SLOW = 1 << 4,            /* apic is less than what the timer counts in timed */
	TIMER_FAST = 1 << 5,            /* or more than in timed and blur */
	FLAGS_LOST = 1 << 6,
	PORT_LOST = 1 << 7,
	TIMER_UNMASKED = 1 << 8,
	TIMER_RUNS = 1 << 9,
	STOP_NOT_IN_BLUR = 1 << 10,     /* where it is between a and b or c and d */
	STOP_NOWHERE = 1 << 11,
	IS_NO_WINDOW = 1 << 12,         /* OUT was up at the first look, and it says true */
	WAS_A_WINDOW = 1 << 13,         /* it was not, and it says false */
	UNGATED = 1 << 14,
	INTERRUPTIBLE = 1 << 15,
	NOT_READY = 1 << 16,
};

/* Of the stop, which is on the way from a to d. */
static unsigned flaws_of_stop(const struct attempt *t)
{
	unsigned flaws = 0;

	if (t->out && !t->seen && (t->phase == COUNTING || t->phase == UNSEEN || t->phase == ENDED))
		return t->counted ? IS_NO_WINDOW : 0;
	if (t->seen && !t->counted)
		flaws |= WAS_A_WINDOW;
	if (!t->counted || t->phase < BEGINNING || t->phase > ENDED)
		return flaws;
	/* After b: each look that found OUT clear was before the stop, if the next one does not. */
	if ((t->phase < UNSEEN || t->out) && t->w.blur < t->stop_ticks)
		flaws |= STOP_NOT_IN_BLUR;
	if (t->w.timed + t->w.blur < t->stop_ticks)
		flaws |= STOP_NOWHERE;
	return flaws;
}

/* Of what holds always. */
static unsigned flaws_of(const struct attempt *t, const struct way *how, const struct rate *timer)
{
	const struct pit_window *w = &t->w;
	const uint64_t most = w->timed + w->blur;
	struct rate r;
	unsigned flaws = 0;

	flaws |= t->ready ? 0 : NOT_READY;
	flaws |= ((t->flags & IF) != 0) != how->on ? FLAGS_LOST : 0;
	flaws |= t->port != t->port_before ? PORT_LOST : 0;
	flaws |= t->ungated ? UNGATED : 0;
	flaws |= t->interruptible ? INTERRUPTIBLE : 0;
	if (!how->on) {                 /* its owner may have had it again */
		flaws |= t->lvt & MASKED ? 0 : TIMER_UNMASKED;
		flaws |= t->current ? TIMER_RUNS : 0;
	}
	if (t->stopped && !how->window)
		flaws |= flaws_of_stop(t);
	if (!t->counted)
		return flaws;
	r = rate_in(w);
	flaws |= percent_less(w->timed, 2) > t->longest ? TOO_LONG : 0;
	flaws |= most < percent_less(t->shortest, 2) ? TOO_SHORT : 0;
	flaws |= w->ticks < w->timed + w->blur / 2 || w->ticks > w->timed + w->blur / 2 + 1 ? NOT_BETWEEN : 0;
	flaws |= most > t->around ? NOT_WITHIN : 0;
	flaws |= r.most < percent_less(timer->least, 1) ? TIMER_SLOW : 0;
	flaws |= percent_less(r.least, 1) > timer->most ? TIMER_FAST : 0;
	return flaws;
}

/* ---- stopped ---- */

/* How many instructions each phase has; a whole window in single steps, and a little of what comes then. */
static unsigned learn(unsigned length[PHASES], const struct rate *timer)
{
	static const struct stop at_end = { .phase = OVER, .offset = 8 };
	const struct way how = { .stop = &at_end };
	struct attempt t = { .counted = false };
	unsigned flaws = 0;

	for (unsigned i = 0; i < TRIES && !t.counted; i++) {
		attempt(&t, &how);
		memcpy(length, step.length, sizeof step.length);
		flaws |= flaws_of(&t, &how, timer);
	}
	return flaws;
}

static unsigned stopped_flaws, stopped_at[PHASES], stopped_over_end;

static void stop_once(const struct stop *stop, const struct rate *timer)
{
	const struct way how = { .stop = stop };
	struct attempt t;

	attempt(&t, &how);
	stopped_flaws |= flaws_of(&t, &how, timer);
	if (t.stopped && t.counted) {
		stopped_at[t.phase]++;
		stopped_over_end += t.phase == LOOKED && t.out;
	}
}

/* For a short time, anywhere from before the window's begin to after its end: the stop is in blur, or in the window, or
 * does not matter. */
KTEST(drivers, check_pit_stopped)
{
	/* Of each phase every so manyth instruction, and how many of them at most. */
	static const struct { unsigned every, most; } chosen[PHASES] = {
		[SETTING_UP] = { 17, 3 }, [LOADING] = { 1, 24 }, [BEGINNING] = { 2, 12 }, [COUNTING] = { 1, 24 },
		[UNSEEN] = { 2, 8 }, [LOOKED] = { 1, 14 }, [ENDED] = { 3, 6 }, [OVER] = { 3, 2 },
	};
	const struct rate timer = timer_rate();
	uint32_t random = SEED;
	unsigned length[PHASES], learnt;

	ktest_note("seed", SEED);
	stopped_flaws = stopped_over_end = 0;
	memset(stopped_at, 0, sizeof stopped_at);
	learnt = learn(length, &timer);
	for (enum phase phase = SETTING_UP; phase <= OVER; phase++) {
		unsigned offset = next(&random) % chosen[phase].every;

		for (unsigned i = 0; i < chosen[phase].most && offset < length[phase]; i++) {
			const struct stop stop = { phase, offset, (50 + next(&random) % 151) * US, 0 };

			stop_once(&stop, &timer);
			offset += chosen[phase].every;
		}
		/* No window of them all, since we were stopped besides? */
		for (unsigned i = 0; i < TRIES && !stopped_at[phase] && length[phase]; i++) {
			const struct stop stop = { phase, i % length[phase], 50 * US, 0 };

			stop_once(&stop, &timer);
		}
	}
	/* Over the window's end, wherever in the polling loop that is. */
	for (unsigned i = 0; i < 8 || (i < TRIES && !stopped_over_end); i++) {
		const struct stop stop = { LOOKED, 2 * i, 200 * US, W - (50 + next(&random) % 101) * US };

		stop_once(&stop, &timer);
	}
	KASSERT_EQ(learnt, 0);
	KASSERT_EQ(stopped_flaws, 0);
	KASSERT(stopped_at[SETTING_UP] > 0);
	KASSERT(stopped_at[LOADING] > 0);
	KASSERT(stopped_at[BEGINNING] > 0);
	KASSERT(stopped_at[COUNTING] > 0);
	KASSERT(stopped_at[UNSEEN] > 0);
	KASSERT(stopped_at[LOOKED] > 0);
	KASSERT(stopped_at[ENDED] > 0);
	KASSERT(stopped_at[OVER] > 0);
	KASSERT(stopped_over_end > 0);
}

/* For longer than the window, with interrupts off and on, gate and speaker in each state: no window, where it is from
 * the begin to the first look, and else a blurred one or one after it. */
KTEST(drivers, check_pit_slept_through)
{
	static const struct stop stops[] = {
		{ COUNTING, 0, 3 * MS, 0 }, { COUNTING, 1, 3 * MS, 0 },
		{ UNSEEN, 0, 3 * MS, 0 }, { UNSEEN, 3, 3 * MS, 0 },
		{ COUNTING, 0, 3 * MS, 0 }, { UNSEEN, 5, 3 * MS, 0 },
		{ LOADING, 0, 3 * MS, 0 }, { BEGINNING, 0, 3 * MS, 0 }, { BEGINNING, 5, 3 * MS, 0 },
		{ LOOKED, 0, 3 * MS, 0 }, { LOOKED, 3, 3 * MS, 0 },
		{ LOOKED, 6, 3 * MS, 0 }, { LOOKED, 9, 3 * MS, 0 },
	};
	enum { STOPS = sizeof stops / sizeof *stops };
	const struct rate timer = timer_rate();
	unsigned flaws = 0, through[2] = { 0 }, begun_late = 0, seen_late = 0;

	for (unsigned i = 0; i < STOPS; i++) {
		const struct way how = { .stop = &stops[i], .on = i % 2, .speaker = i / 2 % 4 };
		struct attempt t;

		attempt(&t, &how);
		flaws |= flaws_of(&t, &how, &timer);
		if (!t.stopped)
			continue;
		through[how.on] += !t.counted && (t.phase == COUNTING || t.phase == UNSEEN);
		begun_late += t.counted && t.phase <= BEGINNING;
		seen_late += t.counted && t.phase == LOOKED && t.out;
	}
	KASSERT_EQ(flaws, 0);
	KASSERT(through[false] > 0);
	KASSERT(through[true] > 0);
	KASSERT(begun_late > 0);
	KASSERT(seen_late > 0);
}

/* ---- pit_window ---- */

static unsigned window_flaws;

/* Whether it is as wanted in one of some tries: right, and its blur no less than the stop's time, if that is asked. */
static bool window_is_right(const struct way *how, bool with_stop, const struct rate *timer)
{
	bool good = false;

	for (unsigned i = 0; i < TRIES && !good; i++) {
		struct attempt t;

		attempt(&t, how);
		window_flaws |= flaws_of(&t, how, timer);
		good = is_right(&t) && (!how->stop || t.stopped) && (!with_stop || t.w.blur >= t.stop_ticks);
	}
	return good;
}

KTEST(drivers, check_pit_window_sharp)
{
	/* The first window is no window, or too blurred, by much or little: not taken. */
	static const struct stop spoil[] = {
		{ UNSEEN, 1, 3 * MS, 0 }, { LOOKED, 1, 3 * MS, 0 },
		{ BEGINNING, 2, 200 * US, 0 }, { BEGINNING, 3, 25 * US, 0 },
		{ LOOKED, 2, 200 * US, W - 100 * US },
	};
	enum { SPOILT = sizeof spoil / sizeof *spoil };
	/* Or it is blurred, and sharp all the same: taken, be there better ones. */
	static const struct stop blur = { BEGINNING, 0, 5 * US, 0 };
	const struct rate timer = timer_rate();
	const struct way blurred = { .window = true, .stop = &blur };
	unsigned plain = 0, spoilt = 0;
	bool first;

	window_flaws = 0;
	for (unsigned i = 0; i < 4; i++) {
		const struct way how = { .window = true, .on = i % 2, .speaker = (uint8_t)(3 - i) };

		plain += window_is_right(&how, false, &timer);
	}
	for (unsigned i = 0; i < SPOILT; i++) {
		const struct way how = { .window = true, .on = i % 2, .speaker = i % 4, .stop = &spoil[i] };

		spoilt += window_is_right(&how, false, &timer);
	}
	first = window_is_right(&blurred, true, &timer);
	KASSERT_EQ(window_flaws, 0);
	KASSERT_EQ(plain, 4);
	KASSERT_EQ(spoilt, SPOILT);
	KASSERT(first);
}

/* Windows that are all blurred. Each is ended by a short count, as soon as a look has found OUT clear; or before the
 * first look, so that it is none, though blurred less than the others. The TSC is read before and after each time that
 * pit_measure reads it, so that it does not matter how long anything took. */
struct span {
	uint64_t before, after;
};

static struct {
	unsigned best, windows, none;   /* which is the least blurred; how many there were, and were none */
	uint32_t random;
	uint64_t asked;                 /* before the instruction that comes next */
	struct span a, b, look, c, d;
	uint64_t least, most;           /* the least blur is between them */
} blurs;

static bool to_be_none(void)
{
	return blurs.windows % 5 == 2 && blurs.windows != blurs.best;
}

static void end_soon(void)
{
	outb(PIT_CONTROL, 0xb0);
	outb(PIT_2, 1);
	outb(PIT_2, 0);
}

static void window_over(void)
{
	if (step.clear) {
		const uint64_t least = (blurs.b.before - blurs.a.after) + (blurs.d.before - blurs.c.after);
		const uint64_t most = (blurs.b.after - blurs.a.before) + (blurs.d.after - blurs.c.before);

		blurs.least = least < blurs.least ? least : blurs.least;
		blurs.most = most < blurs.most ? most : blurs.most;
	}
	blurs.none += !step.clear;
	blurs.windows++;
	step.phase = SETTING_UP;
	step.clear = 0;
}

static void on_blurring_step(struct trap_frame *f)
{
	const struct span here = { blurs.asked, tsc_read() };
	const enum phase was = step.phase;

	step.phase = phase_after(f);
	if (step.event == READ_TSC) {
		if (was == LOADING)
			blurs.a = here;
		else if (was == COUNTING)
			blurs.b = here;
		else if (was == ENDED)
			blurs.d = here;
		else
			blurs.look = here;
	} else if (step.event == IN_SPEAKER && step.phase == LOOKED) {
		blurs.c = blurs.look;
	}
	if (was == LOADING && step.phase == BEGINNING && !to_be_none())
		linger(blurs.windows == blurs.best ? 10 * US : (50 + next(&blurs.random) % 51) * US);
	if (was == BEGINNING && step.phase == COUNTING && to_be_none()) {
		end_soon();
		linger(3 * US);
	}
	if (was == UNSEEN && step.phase == LOOKED)
		end_soon();
	if (step.phase == OVER)
		window_over();
	step.event = event_at(f);
	blurs.asked = tsc_read();
}

/* Without a sharp one the least blurred of a hundred, wherever it is among them, and never one that is none. */
KTEST(drivers, check_pit_least_blurred)
{
	enum { MOST = 100 };
	static const unsigned best[] = { 61, MOST - 1 };
	enum { ROUNDS = sizeof best / sizeof *best };
	static const struct way how = { .window = true, .each = on_blurring_step };
	const struct rate timer = timer_rate();
	unsigned flaws = 0, number = 0, none = 0, too_blurred = 0, too_sharp = 0, rounds = 0;

	ktest_note("seed", SEED);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct attempt t;
		bool sharp = true;

		/* It is sharp after all if we are stopped, by chance, in the right place. */
		for (unsigned n = 0; n < TRIES && sharp; n++) {
			memset(&step, 0, sizeof step);
			memset(&blurs, 0, sizeof blurs);
			blurs.best = best[i];
			blurs.random = SEED + i;
			blurs.least = blurs.most = UINT64_MAX;
			attempt(&t, &how);
			flaws |= flaws_of(&t, &how, &timer) & ~(unsigned)TOO_SHORT;
			sharp = is_sharp(&t.w);
		}
		if (sharp)
			continue;
		rounds++;
		number += blurs.windows != MOST;
		none += blurs.none > 0;
		too_blurred += t.w.blur > blurs.most;
		too_sharp += t.w.blur < blurs.least;
	}
	KASSERT_EQ(flaws, 0);
	KASSERT_EQ(rounds, ROUNDS);
	KASSERT_EQ(number, 0);
	KASSERT_EQ(none, ROUNDS);
	KASSERT_EQ(too_blurred, 0);
	KASSERT_EQ(too_sharp, 0);
}

/* ---- whatever was before ---- */

enum {
	SQUARE, LOW_ONLY_WRITTEN, LOW_BYTE_ONLY, HIGH_BYTE_ONLY, DECIMAL, LATCHED, HALF_READ, STATUS_LATCHED,
	DIVIDED_BY_2, DIVIDED_BY_16, DIVIDED_BY_128, TIMER_PERIODIC, TIMER_SOON_MASKED, KINDS,
};

static void channel_2(uint8_t control, unsigned low, unsigned high)
{
	outb(PIT_CONTROL, control);
	outb(PIT_2, (uint8_t)low);
	if (high < 256)
		outb(PIT_2, (uint8_t)high);
}

static void set_timer(uint32_t lvt, uint32_t divider, uint32_t count)
{
	apic_write(APIC_LVT_TIMER, lvt);
	apic_write(APIC_TIMER_DIVIDE, divider);
	apic_write(APIC_TIMER_INITIAL, count);
}

static void leave(unsigned kind)
{
	switch (kind) {
	case SQUARE:                    /* mode 3 */
		channel_2(0xb6, 0x37, 0x01);
		break;
	case LOW_ONLY_WRITTEN:          /* the high byte is still to come */
		channel_2(0xb0, 0x12, 256);
		break;
	case LOW_BYTE_ONLY:             /* mode 2 */
		channel_2(0x94, 0x80, 256);
		break;
	case HIGH_BYTE_ONLY:            /* mode 1 */
		channel_2(0xa2, 0x02, 256);
		break;
	case DECIMAL:                   /* mode 3 */
		channel_2(0xb7, 0x00, 0x20);
		break;
	case LATCHED:
		channel_2(0xb6, 0x00, 0x10);
		outb(PIT_CONTROL, 0x80);
		break;
	case HALF_READ:
		channel_2(0xb6, 0x00, 0x10);
		outb(PIT_CONTROL, 0x80);
		inb(PIT_2);
		break;
	case STATUS_LATCHED:
		channel_2(0xb6, 0x00, 0x10);
		outb(PIT_CONTROL, 0xe8);
		break;
	case DIVIDED_BY_2:
		set_timer(VEC_TIMER, BY_2, UINT32_MAX);
		break;
	case DIVIDED_BY_16:
		set_timer(VEC_TIMER, BY_16, UINT32_MAX / 2);
		break;
	case DIVIDED_BY_128:
		set_timer(MASKED | VEC_TIMER, BY_128, 0);
		break;
	case TIMER_PERIODIC:
		set_timer(MASKED | PERIODIC | VEC_TIMER, BY_1, 30000);
		break;
	case TIMER_SOON_MASKED:
		set_timer(MASKED | VEC_TIMER, BY_2, 100000);
		break;
	}
}

/* What may still be latched is read; the next window sets the channel up anew. */
static void drain(unsigned kind)
{
	const unsigned left = kind == LATCHED ? 2 : kind == HALF_READ || kind == STATUS_LATCHED ? 1 : 0;

	for (unsigned i = 0; i < left; i++)
		inb(PIT_2);
	outb(PIT_CONTROL, 0xb0);
}

KTEST(drivers, check_pit_whatever_before)
{
	static const struct way plain;
	const struct rate rate = timer_rate();
	struct attempt after;
	unsigned flaws = 0, right = 0;

	for (unsigned kind = 0; kind < KINDS; kind++) {
		const struct way how = { .prepare = leave, .afterwards = drain, .kind = kind, .speaker = kind % 4 };
		bool good = false;

		for (unsigned i = 0; i < TRIES && !good; i++) {
			struct attempt t;

			attempt(&t, &how);
			flaws |= flaws_of(&t, &how, &rate);
			good = is_right(&t);
		}
		right += good;
	}
	attempt(&after, &plain);        /* and the channel is as ever again */
	flaws |= flaws_of(&after, &plain, &rate);
	KASSERT_EQ(flaws, 0);
	KASSERT_EQ(right, KINDS);
}

/* ---- one-shots ---- */

static trap_handler owner;
static uint32_t fired;
static uint64_t fired_at;

static void fire(struct trap_frame *f)
{
	(void)f;
	fired_at = clock_ns();
	__atomic_fetch_add(&fired, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static uint32_t has_fired(void)
{
	return __atomic_load_n(&fired, __ATOMIC_SEQ_CST);
}

static void ask_never(void *arg)
{
	(void)arg;
	clock_oneshot(UINT64_MAX);
}

static void ask_at_once(void *arg)
{
	(void)arg;
	clock_oneshot(0);
}

static void all_forget(void)
{
	for (unsigned i = 0; i < 2; i++) {
		cpu_on_each(ask_never, NULL);
		linger(200 * US);
	}
	__atomic_store_n(&fired, 0, __ATOMIC_SEQ_CST);
}

/* Takes the timer from whoever has it, and all that was asked for is forgotten; false if it cannot be had. */
static bool timer_begin(void)
{
	const uint64_t flags = interrupts_off();
	int set;

	owner = trap_get_handler(VEC_TIMER);
	trap_clear_handler(VEC_TIMER);
	set = trap_set_handler(VEC_TIMER, fire);
	interrupts_restore(flags);
	all_forget();
	return set == 0;
}

/* Gives it back, with an interrupt on each processor in place of those that were lost. */
static void timer_end(void)
{
	uint64_t flags;

	all_forget();
	flags = interrupts_off();
	trap_clear_handler(VEC_TIMER);
	if (owner)
		trap_set_handler(VEC_TIMER, owner);
	interrupts_restore(flags);
	if (owner)
		cpu_on_each(ask_at_once, NULL);
}

/* Asks for one in so long, and measures. Whether the timer was begun anew, which is before b, certainly before: the
 * window's end is not before c, and timed is from b to c. Then it is forgotten. */
static bool forgets_in_time(uint64_t ns)
{
	const uint64_t flags = interrupts_off();
	struct pit_window w;
	uint64_t t[3], from, to;
	bool counted;

	t[0] = tsc_read();
	from = clock_ns();
	t[1] = tsc_read();
	clock_oneshot(from + ns);
	counted = pit_measure(&w);
	t[2] = tsc_read();
	to = clock_ns();
	interrupts_restore(flags);
	if (!counted || to - from > 100 * MS || w.timed > t[2] - t[0])
		return false;
	return (t[2] - w.timed - t[0]) * (to - from) / (t[2] - t[1]) < ns - ns / 8;
}

/* One that would come in the window never comes. The next one does, as ever. */
KTEST(drivers, check_pit_forgets_oneshot)
{
	enum { ENOUGH = 3 };
	unsigned in_time = 0, remembered = 0, absent = 0, early = 0, twice = 0, rounds = 0;
	uint64_t best = UINT64_MAX;
	bool ready = timer_begin();

	for (unsigned i = 0; ready && i < TRIES && in_time < ENOUGH; i++) {
		bool forgotten;

		__atomic_store_n(&fired, 0, __ATOMIC_SEQ_CST);
		forgotten = forgets_in_time(300 * US);
		linger(2 * MS);
		in_time += forgotten;
		remembered += forgotten && has_fired() > 0;
	}
	for (unsigned i = 0; ready && i < TRIES && !absent && (i < 3 || best > MS); i++, rounds++) {
		uint64_t due, flags;
		struct pit_window w;

		all_forget();
		flags = interrupts_off();
		pit_measure(&w);
		due = clock_ns() + 300 * US;
		clock_oneshot(due);
		interrupts_restore(flags);
		absent += !COMES(has_fired() > 0);
		linger(100 * US);
		twice += has_fired() > 1;
		if (!absent) {
			early += fired_at < due;
			if (fired_at - due < best)
				best = fired_at - due;
		}
	}
	timer_end();
	KASSERT(ready);
	KASSERT_EQ(remembered, 0);
	KASSERT(in_time > 0);
	KASSERT(rounds > 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(twice, 0);
	KASSERT(best <= MS);
}

/* ---- processors ---- */

struct here {
	struct attempt t;
	unsigned flaws, index;
	struct rate timer;
};

static void attempt_here(void *arg)
{
	static const struct way how;
	struct here *h = arg;

	h->index = cpu_self()->index;
	attempt(&h->t, &how);
	h->flaws = flaws_of(&h->t, &how, &h->timer);
}

/* In turn: the window is right there too, and in a tick of the TSC all their timers count as much. */
KTEST(drivers, check_pit_each_processor)
{
	static struct here h;
	unsigned failed = 0, elsewhere = 0, flaws = 0, right = 0;
	struct rate all = { 0, UINT64_MAX };

	h.timer = timer_rate();
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		bool good = false;

		for (unsigned i = 0; i < TRIES && !good; i++) {
			failed += cpu_call(cpu, attempt_here, &h) != 0;
			if (failed)
				break;
			elsewhere += h.index != cpu;
			flaws |= h.flaws;
			good = is_right(&h.t);
			if (h.t.counted) {
				const struct rate r = rate_in(&h.t.w);

				all.least = r.least > all.least ? r.least : all.least;
				all.most = r.most < all.most ? r.most : all.most;
			}
		}
		right += good;
	}
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(elsewhere, 0);
	KASSERT_EQ(flaws, 0);
	KASSERT_EQ(right, cpu_count());
	KASSERT(percent_less(all.least, 1) <= all.most);
}

/* ---- channels ---- */

enum { LOW = 1 << 4, HIGH = 2 << 4, MODE = 7 << 1 };

/* Access, mode, and how it counts; not OUT, nor whether the count is there. */
static uint8_t mode_of(unsigned channel)
{
	const uint64_t flags = interrupts_off();
	uint8_t status;

	outb(PIT_CONTROL, (uint8_t)(0xe0 | 2 << channel));
	status = inb((uint16_t)(PIT_0 + channel)) & 0x3f;
	interrupts_restore(flags);
	return status;
}

/* Whether it can be set so. Without access is a channel that nobody has set since reset, and none can be set back to
 * that: such a control word only latches its count. */
static bool can_be_set(uint8_t mode)
{
	return mode & (LOW | HIGH);
}

/* Sets the channel so, by what mode_of said or says: counting from 65536, but in mode 0, where it waits for a count. */
static void set_mode(unsigned channel, uint8_t mode)
{
	const uint64_t flags = interrupts_off();
	const uint16_t port = (uint16_t)(PIT_0 + channel);

	outb(PIT_CONTROL, (uint8_t)(channel << 6 | mode));
	if (mode & MODE) {
		if (mode & LOW)
			outb(port, 0);
		if (mode & HIGH)
			outb(port, 0);
	}
	interrupts_restore(flags);
}

/* Channels 0 and 1 are others': over windows good and bad they keep mode and access, whatever these are. One that was
 * never set is left so. */
KTEST(drivers, check_pit_other_channels)
{
	static const struct stop through = { UNSEEN, 0, 2 * MS, 0 };
	static const uint8_t modes[][2] = {
		{ LOW | HIGH | 2 << 1, LOW | 3 << 1 }, { LOW | 3 << 1, LOW | HIGH | 0 << 1 }, { HIGH | 0 << 1, HIGH | 2 << 1 },
	};
	enum { ROUNDS = sizeof modes / sizeof *modes };
	const struct rate rate = timer_rate();
	const uint8_t before[2] = { mode_of(0), mode_of(1) };
	unsigned unset = 0, changed = 0, lost = 0, flaws = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct way how = { .window = i == 1, .speaker = (uint8_t)i, .stop = i == 2 ? &through : NULL };
		struct attempt t;
		uint8_t mode[2];

		for (unsigned channel = 0; channel < 2; channel++) {
			mode[channel] = can_be_set(before[channel]) ? modes[i][channel] : before[channel];
			if (can_be_set(before[channel]))
				set_mode(channel, mode[channel]);
			unset += mode_of(channel) != mode[channel];
		}
		attempt(&t, &how);
		flaws |= flaws_of(&t, &how, &rate);
		for (unsigned channel = 0; channel < 2; channel++)
			changed += mode_of(channel) != mode[channel];
	}
	for (unsigned channel = 0; channel < 2; channel++) {
		if (can_be_set(before[channel]))
			set_mode(channel, before[channel]);
		lost += mode_of(channel) != before[channel];
	}
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(unset, 0);
	KASSERT_EQ(changed, 0);
	KASSERT_EQ(flaws, 0);
}

/* ---- one for the other ---- */

/* In peace, or stopped anywhere from a to the end, for any time: each is as long as each other, as far as it is
 * known. */
KTEST(drivers, check_pit_agree)
{
	enum { PEACEFUL = 6, EACH = 4, STOPPED = 4 * EACH };
	static struct pit_window all[TRIES + STOPPED + TRIES];
	const struct rate rate = timer_rate();
	uint32_t random = SEED;
	unsigned length[PHASES], stopped[PHASES] = { 0 };
	unsigned n = 0, flaws, apart = 0, sharp = 0, blurred = 0;

	ktest_note("seed", SEED);
	flaws = learn(length, &rate);
	for (unsigned i = 0; i < TRIES && (i < PEACEFUL || !sharp); i++) {
		static const struct way how;
		struct attempt t;

		attempt(&t, &how);
		flaws |= flaws_of(&t, &how, &rate);
		sharp += t.counted && is_sharp(&t.w);
		if (t.counted)
			all[n++] = t.w;
	}
	/* Of each phase as many; the last one, which may be over before the stop if we are stopped besides, again then. */
	for (unsigned i = 0; i < STOPPED || (i < STOPPED + TRIES && !stopped[LOOKED]); i++) {
		const uint32_t r[3] = { next(&random), next(&random), next(&random) };
		const enum phase phase = i < STOPPED ? BEGINNING + i % 4 : LOOKED;
		const unsigned offsets = phase == LOOKED ? 14 : length[phase] ? length[phase] : 1;
		const struct stop stop = {
			phase, r[0] % offsets, (20 + r[1] % 1500) * US, phase == LOOKED ? r[2] % 900 * US : 0,
		};
		const struct way how = { .stop = &stop };
		struct attempt t;

		attempt(&t, &how);
		flaws |= flaws_of(&t, &how, &rate);
		stopped[phase] += t.stopped;
		blurred += t.counted && !is_sharp(&t.w);
		if (t.counted)
			all[n++] = t.w;
	}
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++) {
			const uint64_t a = all[i].ticks, b = all[k].ticks, far = a < b ? b - a : a - b;

			apart += far > (all[i].blur + all[k].blur + 1) / 2 + a / 200;
		}
	KASSERT_EQ(flaws, 0);
	KASSERT_EQ(stopped[BEGINNING], EACH);
	KASSERT_EQ(stopped[COUNTING], EACH);
	KASSERT_EQ(stopped[UNSEEN], EACH);
	KASSERT(stopped[LOOKED] > 0);
	KASSERT_EQ(apart, 0);
	KASSERT(sharp > 0);
	KASSERT(blurred > 0);
}
