/* Time: the clock, and each processor's one-shot timer. Times are nanoseconds. */
#pragma once
#include <stdint.h>

/* Measures the rates of TSC and APIC timer and begins the clock; calls apic_init first. At the first call; at further
 * ones nothing. Panics if the PIT does not count (`clock_init: ...`). On the boot processor at INIT_DEVICES, or later
 * to no effect; nothing below may be called before. */
void clock_init(void);

/* Nanoseconds of the TSC since it began: never backwards, between processors within 10 us. No errors. Any context. */
uint64_t clock_ns(void);

/* VEC_TIMER on this processor when clock_ns() is at or after due_ns, once; what was asked for before is forgotten. The
 * past is at once, UINT64_MAX never. Further away than the APIC's counter reaches (4 s at 1 GHz) it comes early: who
 * handles it looks at the clock and asks again. The handler is who uses it: trap_set_handler(VEC_TIMER); one that was
 * on its way may still arrive. No errors. After apic_init or apic_init_cpu here; any context, VEC_TIMER's handler
 * too. */
void clock_oneshot(uint64_t due_ns);

/* Spins, with `pause`, at least so many nanoseconds. No errors. Any context, interrupts on or off. */
void clock_delay_ns(uint64_t ns);
