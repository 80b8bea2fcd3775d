/* Tests of what every kernel gets right before any test means something; they run with the stub, too. */
#include "internal.h"

volatile uint8_t harness_bss_head[HARNESS_CANARY] __attribute__((section(".auton.bss_head"), aligned(64))) =
	{ [0 ... HARNESS_CANARY - 1] = HARNESS_DIRTY };
volatile uint8_t harness_bss_tail[HARNESS_CANARY] __attribute__((section(".auton.bss_tail"), aligned(64))) =
	{ [0 ... HARNESS_CANARY - 1] = HARNESS_DIRTY };

volatile unsigned harness_init_count;
volatile uint8_t harness_init_seen[32];

static void seen(uint8_t level)
{
	if (harness_init_count < sizeof harness_init_seen)
		harness_init_seen[harness_init_count] = level;
	harness_init_count++;
}

#define PROBE(level) \
	static void probe_##level(void) { seen(level); } \
	INIT(level, probe_##level)

/* Not in level order here, so that source order cannot pass for level order. */
PROBE(7); PROBE(0); PROBE(9); PROBE(3); PROBE(1); PROBE(8); PROBE(2); PROBE(6); PROBE(4); PROBE(5);

KTEST(harness, bss_zeroed)
{
	for (int i = 0; i < HARNESS_CANARY; i++) {
		KASSERT_EQ(harness_bss_head[i], 0);
		KASSERT_EQ(harness_bss_tail[i], 0);
	}
}

KTEST(harness, init_order)
{
	KASSERT_EQ(harness_init_count, 10);
	for (unsigned i = 0; i < 10; i++)
		KASSERT_EQ(harness_init_seen[i], i);
}

KTEST(harness, sections)
{
	static const int in_rodata = 1;
	static int in_data = 1;
	static int in_bss;
	const uintptr_t bounds[] = {
		KERNEL_VIRT_BASE + harness_addr(__boot_end),
		harness_addr(__text_start), harness_addr(__text_end),
		harness_addr(__rodata_start), harness_addr(__rodata_end),
		harness_addr(__data_start), harness_addr(__data_end),
		harness_addr(__bss_start), harness_addr(__bss_end),
		KERNEL_VIRT_BASE + harness_addr(__kernel_phys_end),
	};

	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		KASSERT_EQ(bounds[i] % 4096, 0);
		if (i)
			KASSERT(bounds[i - 1] <= bounds[i]);
	}
	KASSERT(harness_addr(harness_run) >= bounds[1] && harness_addr(harness_run) < bounds[2]);
	KASSERT(harness_addr(&in_rodata) >= bounds[3] && harness_addr(&in_rodata) < bounds[4]);
	KASSERT(harness_addr(&in_data) >= bounds[5] && harness_addr(&in_data) < bounds[6]);
	KASSERT(harness_addr(&in_bss) >= bounds[7] && harness_addr(&in_bss) < bounds[8]);
}
