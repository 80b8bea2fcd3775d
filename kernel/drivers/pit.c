/* A window of the PIT, as the TSC and this processor's APIC timer see it. See spec/drivers.md, "pit". */
#include <stdbool.h>
#include <stdint.h>
#include "apic.h"
#include "desc.h"
#include "io.h"
#include "panic.h"
#include "pit.h"

#define RFLAGS_IF (1u << 9)
#define NS_PER_S 1000000000ul

enum { LVT_MASKED = 0x10000 };          /* bits 18:17 are 0: one-shot */
enum { DIVIDE_BY_1 = 0xb };

/* The PIT's channel 2: its gate and what it puts out are in the speaker's port. */
enum { PIT_CHANNEL_2 = 0x42, PIT_CONTROL = 0x43, SPEAKER = 0x61 };
enum { PIT_HZ = 1193182, PIT_COUNT = 1193 };
enum { PIT_2_BOTH_BYTES_MODE_0 = 0xb0 };        /* OUT is low until the count has run down */
enum {
	SPEAKER_GATE = 1, SPEAKER_ON = 2, SPEAKER_OUT = 0x20,
	SPEAKER_WRITABLE = 0xf,         /* the others are status, to be written as 0 */
};
_Static_assert(PIT_WINDOW_NS == (PIT_COUNT * NS_PER_S + PIT_HZ / 2) / PIT_HZ, "the window is what the PIT counts");

enum { WINDOWS = 100, SHARP = 64 };     /* a sharp window's blur is at most this part of its ticks */
enum { POLLS = 1000000 };               /* a read of the port takes 2 ns at least, on hardware 1 us */

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

/* The window begins between a and b and ends between c and d. OUT was still clear at some time after c, so c is not
 * after the end, and the timer, which begins before b, has run at least until c. */
bool pit_measure(struct pit_window *w)
{
	const uint64_t flags = interrupts_off();
	const uint8_t speaker = inb(SPEAKER) & SPEAKER_WRITABLE;
	uint64_t a, b, c, d;
	unsigned clear;                 /* looks that found OUT so */

	apic_write(APIC_LVT_TIMER, LVT_MASKED | VEC_TIMER);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_TIMER_INITIAL, 0);
	outb(SPEAKER, (speaker & ~SPEAKER_ON) | SPEAKER_GATE);
	outb(PIT_CONTROL, PIT_2_BOTH_BYTES_MODE_0);
	outb(PIT_CHANNEL_2, PIT_COUNT & 0xff);
	a = tsc_read();
	apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
	outb(PIT_CHANNEL_2, PIT_COUNT >> 8);    /* now it counts */
	b = c = tsc_read();
	for (clear = 0; clear < POLLS; clear++) {
		const uint64_t before = tsc_read();

		if (inb(SPEAKER) & SPEAKER_OUT)
			break;
		c = before;
		cpu_pause();            /* not after the last look, where it would only blur the end more */
	}
	w->apic = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
	d = tsc_read();
	apic_write(APIC_TIMER_INITIAL, 0);
	outb(SPEAKER, speaker);
	interrupts_restore(flags);

	w->ticks = ((c - a) + (d - b)) / 2;
	w->blur = (b - a) + (d - c);
	w->timed = c - b;
	return clear > 0 && clear < POLLS;
}

void pit_window(struct pit_window *w)
{
	struct pit_window best = { .blur = UINT64_MAX };

	for (unsigned i = 0; i < WINDOWS; i++) {
		struct pit_window next;

		if (!pit_measure(&next))
			continue;
		if (next.blur <= next.ticks / SHARP) {
			*w = next;
			return;
		}
		if (next.blur < best.blur)
			best = next;
	}
	if (best.blur == UINT64_MAX)
		panic("clock_init: the PIT does not count");
	*w = best;
}
