/* Time by the TSC, and each processor's one-shot timer by its APIC; a window of the PIT (pit.c) tells how fast they
 * are. See spec/drivers.md, "clock" and "pit".
 *
 * Factors are 32.32 fixed point: what is multiplied by one is shifted right by 32 afterwards. */
#include <stdbool.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "pit.h"

#define RFLAGS_IF (1u << 9)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define NS_PER_S 1000000000ul
#define NS_PER_MS 1000000ul

enum { CPUID_FEATURES = 1, CPUID_TSC = 0x15 };
#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_HYPERVISOR_TSC 0x40000010u

enum { LVT_MASKED = 0x10000 };          /* bits 18:17 are 0: one-shot */
enum { DIVIDE_BY_1 = 0xb };

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

static void cpuid(uint32_t leaf, uint32_t *a, uint32_t *b, uint32_t *c)
{
	uint32_t d;

	*a = leaf;
	*c = 0;
	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(*c), "=d"(d));
}

/* By what the processor says, the machine below it, or else the PIT. A leaf above the highest one shows something
 * else; 0x40000000 is one where there is no machine below. */
static uint64_t tsc_factor(const struct pit_window *w)
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
	return (PIT_WINDOW_NS << 32) / w->ticks;        /* not 0: half a window at least, however blurred */
}

/* A one-shot must not be early by this clock: so the APIC timer's rate is by this clock too, and rather too high, as if
 * the timer had run only for as long as it certainly has. In a blurred window that may be less than a nanosecond, for
 * which 1 is taken. */
void clock_init(void)
{
	static bool begun;
	struct pit_window w;
	uint64_t ran;

	if (begun)
		return;
	begun = true;
	apic_init();
	pit_window(&w);
	ns_per_tsc = tsc_factor(&w);
	ran = scale(w.timed, ns_per_tsc);
	apic_per_ns = ((uint64_t)w.apic << 32) / (ran ? ran : 1);
	tsc_start = tsc_read();
}
INIT(INIT_DEVICES, clock_init);
