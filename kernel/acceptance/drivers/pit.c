/* Acceptance of drivers/pit.c: how long a window of the interval timer is, told so exactly that one is enough. See spec/drivers.md.
 *
 * QEMU and the machine below it may stop us at any time. Where instructions are counted they do not, and every window is a good one. */
#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "internal.h"
#include "pit.h"

enum { IF = 1 << 9, SPEAKER = 0x61, WRITABLE = 0xf, LVT_MASKED = 1 << 16, TRIES = 100, ALIKE = 10 };

/* Whoever has the timer looks at the clock when it fires, and asks again: so it fires at once. */
static bool measure(struct pit_window *w)
{
	const uint64_t flags = harness_cli();
	const bool counted = pit_measure(w);

	clock_oneshot(0);
	harness_restore(flags);
	return counted;
}

static bool sharp(const struct pit_window *w)
{
	return w->ticks > 0 && w->blur <= w->ticks / 64;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

/* In the clock's nanoseconds, by what clock and counter do around it. */
KTEST(drivers, pit_window)
{
	const unsigned tries = harness_counting() ? 1 : TRIES;
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < tries && best > PIT_WINDOW_NS / 100; i++) {
		struct pit_window w;
		const uint64_t flags = harness_cli(), ns = clock_ns(), ticks = harness_ticks();
		const bool counted = measure(&w);
		const uint64_t took_ns = clock_ns() - ns, took = harness_ticks() - ticks;

		harness_restore(flags);
		if (counted && sharp(&w)) {
			KASSERT(w.ticks + w.blur / 2 <= took);
			best = apart(w.ticks * took_ns / took, PIT_WINDOW_NS) < best ? apart(w.ticks * took_ns / took, PIT_WINDOW_NS) : best;
		}
	}
	ktest_note("nanoseconds", best);
	KASSERT(best <= PIT_WINDOW_NS / 100);
}

/* All of them are as long, so that any may be taken for the one. */
KTEST(drivers, pit_alike)
{
	uint64_t shortest = UINT64_MAX, longest = 0;

	if (!harness_counting())
		return;
	for (unsigned i = 0; i < ALIKE; i++) {
		struct pit_window w;

		KASSERT(measure(&w));
		KASSERT(sharp(&w));
		shortest = w.ticks < shortest ? w.ticks : shortest;
		longest = w.ticks > longest ? w.ticks : longest;
	}
	KASSERT(longest - shortest <= shortest / 128);
}

/* QEMU's timer counts nanoseconds, and its time stamp counter too where instructions are counted. */
KTEST(drivers, pit_timer)
{
	const unsigned tries = harness_counting() ? 1 : TRIES;
	bool good = false;

	for (unsigned i = 0; i < tries && !good; i++) {
		struct pit_window w;

		if (!measure(&w) || !sharp(&w))
			continue;
		KASSERT(w.timed > 0);
		KASSERT(w.timed <= w.ticks + w.blur / 2);
		KASSERT(w.timed + w.blur >= w.ticks);
		KASSERT(w.apic > 0);
		good = !harness_counting() || (w.apic >= w.timed && w.apic <= w.ticks + w.blur);
	}
	KASSERT(good);
}

/* Bit 1 lets the window through to the speaker, and is off meanwhile only. */
KTEST(drivers, pit_state)
{
	const uint8_t before = harness_inb(SPEAKER) & WRITABLE;
	unsigned changed = 0, flagged = 0, running = 0;

	for (unsigned i = 0; i < 8; i++) {
		const uint8_t bits = (uint8_t)((before & ~3u) | (i & 3));
		const uint64_t flags = harness_cli();
		struct pit_window w;

		if (i & 4)
			harness_restore(flags | IF);
		harness_outb(SPEAKER, bits);
		if (i & 4) {
			pit_measure(&w);
			flagged += !(harness_flags() & IF);
			harness_cli();
		} else {
			pit_measure(&w);
			flagged += (harness_flags() & IF) != 0;
			running += !(apic_read(APIC_LVT_TIMER) & LVT_MASKED) || apic_read(APIC_TIMER_CURRENT) != 0;
		}
		changed += (harness_inb(SPEAKER) & WRITABLE) != bits;
		harness_outb(SPEAKER, before);
		clock_oneshot(0);
		harness_restore(flags);
	}
	KASSERT_EQ(changed, 0);
	KASSERT_EQ(flagged, 0);
	KASSERT_EQ(running, 0);
}

/* From power-on to the first test, firmware and all waiting included. Processors are given the time they need, where there are
 * several. */
KTEST(boot, start_whole)
{
	enum { CEILING = 3000000 };

	/* Elsewhere ticks are time, or a loader's. */
	if (!harness_counting() || fw_cfg_number(FW_CFG_KERNEL_SIZE, 4) == 0 || fw_cfg_number(FW_CFG_RAM_SIZE, 8) > 128ull << 20 || cpu_count() > 1)
		return;
	ktest_note("instructions", harness_ready_ticks);
	KASSERT(harness_ready_ticks > 0);
	KASSERT(harness_ready_ticks <= CEILING);
}
