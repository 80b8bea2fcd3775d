/* The interval timer (PIT): one window of it, measured so exactly that it needs no others beside it to be believed. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PIT_WINDOW_NS 999847ul  /* how long a window is: 1193 of the PIT's 1193182 a second */

/* What the TSC and this processor's APIC timer, divided by 1, counted in a window, which is while the PIT counted 1193.
 *
 * The TSC is read before and after the window's begin, and before and after its end. So the window was no shorter than
 * timed, and no longer than from before its begin to after its end, timed + blur: it differs from ticks by at most half
 * of blur (rounded up), however the processor was stopped meanwhile, by a machine below or by firmware. */
struct pit_window {
	uint64_t ticks;         /* of the TSC: how long the window was, give or take half of blur; timed + blur / 2 */
	uint64_t blur;          /* of the TSC: within what its begin and its end are known, both together */
	uint64_t timed;         /* of the TSC: for so long at least the timer ran until read, at most timed + blur */
	uint32_t apic;          /* of the APIC timer: what it counted until then */
};

/* Measures one window into *w: about 1 ms, and bounded if the PIT does not count. true: *w is a window, be its blur
 * small or large. false, and nothing in *w counts: OUT, with which the PIT says that it is done, was up at the first
 * look, so that we were stopped for all of it, or the PIT does not count. Never panics.
 *
 * In either case: interrupts are off meanwhile and afterwards as before; port 0x61's writable bits are as before; this
 * processor's APIC timer is stopped and masked afterwards, whoever had it, and who has it asks again by clock_oneshot.
 * An interrupt of it that was on its way may still arrive. Who may be moved to another processor and asks again here
 * has interrupts off around both.
 *
 * After apic_init or apic_init_cpu here; needs no clock. Any context but an NMI, interrupts on or off; the PIT's
 * channel 2 is one for all processors, so one caller at a time: the callers see to that. */
bool pit_measure(struct pit_window *w);

/* Measures windows until one is sharp, into *w: the first whose blur is at most a 64th of its ticks. At most 100 are
 * measured, those for which pit_measure is false among them; without a sharp one it is that of the least blur, of
 * equals the first. Panics with `clock_init: the PIT does not count` if none counted. No other errors.
 *
 * Interrupts, port and timer afterwards, and context: as pit_measure; between two windows interrupts are as before. It
 * needs no clock: clock_init calls it. */
void pit_window(struct pit_window *w);
