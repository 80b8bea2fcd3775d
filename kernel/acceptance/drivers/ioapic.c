/* Acceptance of drivers/ioapic.c with the interval timer, the one device that every PC has. See spec/drivers.md. */
#include "acpi.h"
#include "apic.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "internal.h"
#include "mmio.h"

enum { MASKED = 1 << 16, PIT = 0x40, PIT_CONTROL = 0x43, PIT_HZ = 1193182, ENTRIES = 24 };

static uint32_t reg(unsigned index)
{
	volatile uint8_t *base = mmio_map(0xFEC00000, 4096);

	*(volatile uint32_t *)base = index;
	return *(volatile uint32_t *)(base + 0x10);
}

static uint32_t entry(unsigned gsi)
{
	return reg(0x10 + 2 * gsi);
}

static volatile uint32_t ticks;
static volatile uint64_t tick_vector;

static void tick(struct trap_frame *f)
{
	tick_vector = f->vector;
	ticks++;
	apic_eoi();
}

#define LONG  4000000000ull             /* of the time stamp counter: a second or more */
#define SHORT 6000000ull                /* 2 ms or more */

static bool wait_for(uint32_t count)
{
	const uint64_t start = harness_ticks();

	while (ticks < count && harness_ticks() - start < LONG)
		;
	return ticks >= count;
}

/* As long as some ticks take. */
static void linger(void)
{
	const uint64_t start = harness_ticks();

	while (harness_ticks() - start < SHORT)
		;
}

/* Ticks so often from now on, wherever they go. */
static void start_pit(unsigned hz)
{
	const unsigned divisor = PIT_HZ / hz;

	harness_outb(PIT_CONTROL, 0x34);        /* channel 0, both bytes, mode 2 */
	harness_outb(PIT, divisor & 0xff);
	harness_outb(PIT, (uint8_t)(divisor >> 8));
}

/* Who is not masked leads to somebody who handles it. */
KTEST(drivers, ioapic_masked)
{
	unsigned masked = 0;

	KASSERT_EQ((reg(1) >> 16 & 0xff) + 1, ENTRIES);
	for (unsigned gsi = 0; gsi < ENTRIES; gsi++) {
		masked += entry(gsi) >> 16 & 1;
		if (!(entry(gsi) & MASKED))
			KASSERT(trap_get_handler(entry(gsi) & 0xff) != NULL);
	}
	KASSERT(masked >= 16);
	KASSERT_EQ(entry(2) & MASKED, MASKED);  /* the interval timer's */
}

KTEST(drivers, ioapic_pit)
{
	const int v = irq_alloc_vector();
	int handler, connected, again;
	uint32_t in_use, target, after, stopped;
	bool came, came_again;

	KASSERT(v >= 0);
	handler = trap_set_handler((unsigned)v, tick);
	start_pit(4000);
	ticks = 0;
	connected = irq_connect(0, (uint8_t)v, 0);
	in_use = entry(2);
	target = reg(0x11 + 2 * 2) >> 24;
	came = wait_for(5);
	irq_disconnect(0);
	after = entry(2);
	linger();
	stopped = ticks;
	linger();
	stopped = ticks - stopped;
	ticks = 0;
	again = irq_connect(0, (uint8_t)v, 0);
	came_again = wait_for(5);
	irq_disconnect(0);
	linger();
	trap_clear_handler((unsigned)v);
	irq_free_vector((unsigned)v);
	KASSERT_EQ(handler, 0);
	KASSERT_EQ(connected, 0);
	KASSERT_EQ(in_use & (MASKED | 0xa7ff), (uint32_t)v);    /* fixed, physical, active high, edge */
	KASSERT_EQ(target, cpu_get(0)->apic_id);
	KASSERT(came);
	KASSERT_EQ(tick_vector, v);
	KASSERT_EQ(after & MASKED, MASKED);
	KASSERT_EQ(stopped, 0);
	KASSERT_EQ(again, 0);
	KASSERT(came_again);
}

/* As the override has it: 10 is one that is level. */
KTEST(drivers, ioapic_level)
{
	const int v = irq_alloc_vector();
	int connected;
	uint32_t in_use;

	KASSERT(v >= 0);
	KASSERT_EQ(trap_set_handler((unsigned)v, tick), 0);
	connected = irq_connect(10, (uint8_t)v, 0);
	in_use = entry(10);
	irq_disconnect(10);
	trap_clear_handler((unsigned)v);
	irq_free_vector((unsigned)v);
	KASSERT_EQ(connected, 0);
	KASSERT_EQ(in_use & (MASKED | 0xa7ff), 0x8000 | (uint32_t)v);
	KASSERT_EQ(entry(10) & MASKED, MASKED);
}

/* Refused with every entry as it was. */
KTEST(drivers, irq_bad)
{
	static uint32_t before[ENTRIES];
	unsigned different = 0;

	for (unsigned gsi = 0; gsi < ENTRIES; gsi++)
		before[gsi] = entry(gsi);
	KASSERT_EQ(irq_connect(16, VEC_DEVICE, 0), -EINVAL);
	KASSERT_EQ(irq_connect(UINT32_MAX, VEC_DEVICE, 0), -EINVAL);
	KASSERT_EQ(irq_connect(0, VEC_DEVICE - 1, 0), -EINVAL);
	KASSERT_EQ(irq_connect(0, VEC_DEVICE_LAST + 1, 0), -EINVAL);
	KASSERT_EQ(irq_connect(0, VEC_DEVICE, CPU_MAX), -EINVAL);
	KASSERT_EQ(irq_connect(0, VEC_DEVICE, cpu_count()), -EINVAL);
	irq_disconnect(16);
	irq_disconnect(UINT32_MAX);
	for (unsigned gsi = 0; gsi < ENTRIES; gsi++)
		different += entry(gsi) != before[gsi];
	KASSERT_EQ(different, 0);
}
