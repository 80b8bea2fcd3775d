/* Time by the TSC, and each processor's one-shot timer by its APIC; the PIT tells how fast they are. See
 * spec/drivers.md, "clock".
 *
 * Factors are 32.32 fixed point: what is multiplied by one is shifted right by 32 afterwards. */
#include <stdbool.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "panic.h"

#define RFLAGS_IF (1u << 9)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define NS_PER_S 1000000000ul
#define NS_PER_MS 1000000ul

enum { CPUID_FEATURES = 1, CPUID_TSC = 0x15 };
#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_HYPERVISOR_TSC 0x40000010u

enum { LVT_MASKED = 0x10000 };          /* bits 18:17 are 0: one-shot */
enum { DIVIDE_BY_1 = 0xb };

/* The PIT's channel 2: its gate and what it puts out are in the speaker's port. */
enum { PIT_CHANNEL_2 = 0x42, PIT_CONTROL = 0x43, SPEAKER = 0x61 };
enum { PIT_HZ = 1193182, PIT_COUNT = PIT_HZ / 500 };
enum { PIT_2_BOTH_BYTES_MODE_0 = 0xb0 };        /* OUT is low until the count has run down */
enum {
	SPEAKER_GATE = 1, SPEAKER_ON = 2, SPEAKER_OUT = 0x20,
	SPEAKER_WRITABLE = 0xf,         /* the others are status, to be written as 0 */
};

enum { WINDOWS = 100, WINDOWS_ENOUGH = 3, WINDOW_BLUR = 256 };
enum { WINDOW_POLLS = 1000000 };        /* a read of the port takes 2 ns at least, on hardware 1 us */
#define WINDOW_NS ((PIT_COUNT * NS_PER_S + PIT_HZ / 2) / PIT_HZ)

/* What a window of the PIT looked like. */
struct window {
	uint64_t ticks;         /* of the TSC, from its first to its last reading */
	uint64_t timed;         /* of these, what the APIC's timer ran for at least */
	uint32_t apic;          /* ticks of the APIC's timer */
	bool counts;            /* ticks and timed are close to each other */
};

/* Written by clock_init, before anything reads them. */
static uint64_t tsc_start;
static uint64_t ns_per_tsc;             /* factors */
static uint64_t apic_per_ns;

/* lfence: not before what the program has done until then. */
static uint64_t tsc_read(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t interrupts_off(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

/* The counter begins, or stops at 0, with the write of the initial count. apic_init_cpu leaves the divider as it is, so
 * it is set here. */
static void timer_set(uint32_t lvt, uint32_t count)
{
	apic_write(APIC_LVT_TIMER, lvt);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_TIMER_INITIAL, count);
}

/* ---- the clock ---- */

static uint64_t scale(uint64_t value, uint64_t factor)
{
	return (uint64_t)((unsigned __int128)value * factor >> 32);
}

/* Another processor's TSC may be behind by some ticks. */
uint64_t clock_ns(void)
{
	const uint64_t now = tsc_read();

	return now < tsc_start ? 0 : scale(now - tsc_start, ns_per_tsc);
}

void clock_delay_ns(uint64_t ns)
{
	const uint64_t begin = clock_ns(), end = ns > UINT64_MAX - begin ? UINT64_MAX : begin + ns;

	while (clock_ns() < end)
		cpu_pause();
}

/* ---- one-shots ---- */

/* Interrupts are off so that nothing lies between the look at the clock and the count, neither a handler's time nor
 * its own one-shot nor the move to another processor. */
void clock_oneshot(uint64_t due_ns)
{
	const uint64_t flags = interrupts_off();

	if (due_ns == UINT64_MAX) {
		timer_set(LVT_MASKED | VEC_TIMER, 0);
	} else {
		const uint64_t now = clock_ns(), left = due_ns > now ? due_ns - now : 0;
		unsigned __int128 count = ((unsigned __int128)left * apic_per_ns + UINT32_MAX) >> 32;

		count += count / 4096 + 1;      /* so that the rate's error does not make it early; never 0 */
		timer_set(VEC_TIMER, count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
	}
	interrupts_restore(flags);
}

/* ---- the rates ---- */

/* Lets the PIT count for 2 ms and looks at both counters at either end. false: OUT was up at the first look, so that
 * either we were stopped for all of it or the PIT does not count. */
static bool window_measure(struct window *w)
{
	const uint64_t flags = interrupts_off();
	const uint8_t speaker = inb(SPEAKER) & SPEAKER_WRITABLE;
	uint64_t first, begun, ending, last;
	unsigned polls = 0;
	bool out;

	timer_set(LVT_MASKED | VEC_TIMER, 0);
	outb(SPEAKER, (speaker & ~SPEAKER_ON) | SPEAKER_GATE);
	outb(PIT_CONTROL, PIT_2_BOTH_BYTES_MODE_0);
	outb(PIT_CHANNEL_2, PIT_COUNT & 0xff);
	first = tsc_read();
	apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
	outb(PIT_CHANNEL_2, PIT_COUNT >> 8);    /* now it counts */
	begun = tsc_read();
	do {
		ending = tsc_read();
		out = inb(SPEAKER) & SPEAKER_OUT;
	} while (++polls < WINDOW_POLLS && !out);
	w->apic = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
	last = tsc_read();
	apic_write(APIC_TIMER_INITIAL, 0);
	outb(SPEAKER, speaker);
	interrupts_restore(flags);

	if (!out)
		panic("clock_init: the PIT does not count");
	w->ticks = last - first;
	w->timed = ending - begun;
	w->counts = w->ticks - w->timed <= w->ticks / WINDOW_BLUR;
	return polls > 1;
}

/* The shorter of two windows is the better one, we were stopped for less of it; one that counts is better than any that
 * does not. */
static bool window_better(const struct window *a, const struct window *b)
{
	return a->counts != b->counts ? a->counts : a->ticks < b->ticks;
}

static struct window window_best(void)
{
	struct window best = { .ticks = UINT64_MAX };
	unsigned counted = 0;

	for (unsigned i = 0; i < WINDOWS && counted < WINDOWS_ENOUGH; i++) {
		struct window w;

		if (!window_measure(&w))
			continue;
		counted += w.counts;
		if (window_better(&w, &best))
			best = w;
	}
	if (best.ticks == UINT64_MAX)
		panic("clock_init: the PIT does not count");
	return best;
}

static void cpuid(uint32_t leaf, uint32_t *a, uint32_t *b, uint32_t *c)
{
	uint32_t d;

	*a = leaf;
	*c = 0;
	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(*c), "=d"(d));
}

/* By what the processor says, the machine below it, or else the PIT. A leaf above the highest one shows something
 * else; 0x40000000 is one where there is no machine below. */
static uint64_t tsc_factor(const struct window *w)
{
	uint32_t a, b, c;

	cpuid(0, &a, &b, &c);
	if (a >= CPUID_TSC) {
		cpuid(CPUID_TSC, &a, &b, &c);
		if (a && b && c)
			return (NS_PER_S << 32) / ((uint64_t)c * b / a);
	}
	cpuid(CPUID_FEATURES, &a, &b, &c);
	if (c & CPUID_1_ECX_HYPERVISOR) {
		cpuid(CPUID_HYPERVISOR, &a, &b, &c);
		if (a >= CPUID_HYPERVISOR_TSC) {
			cpuid(CPUID_HYPERVISOR_TSC, &a, &b, &c);
			if (a)
				return (NS_PER_MS << 32) / a;
		}
	}
	return (WINDOW_NS << 32) / w->ticks;
}

/* A one-shot must not be early by this clock: so the APIC timer's rate is by this clock too, and rather too high, as if
 * the timer had run only for as long as it certainly has. */
void clock_init(void)
{
	static bool begun;
	struct window w;

	if (begun)
		return;
	begun = true;
	apic_init();
	w = window_best();
	ns_per_tsc = tsc_factor(&w);
	apic_per_ns = ((uint64_t)w.apic << 32) / scale(w.timed, ns_per_tsc);
	tsc_start = tsc_read();
}
INIT(INIT_DEVICES, clock_init);
