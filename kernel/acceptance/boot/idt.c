/* Acceptance of boot/idt.c: the table as the processor has it. See spec/boot.md. */
#include "desc.h"
#include "internal.h"

#define UPPER_HALF 0xFFFF800000000000ull

enum { GATES = 256, INTERRUPT_GATE = 14 };

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

static const volatile struct gate *gate(unsigned vector)
{
	return (const volatile struct gate *)harness_idt().base + vector;
}

static uint64_t offset(unsigned vector)
{
	const volatile struct gate *g = gate(vector);

	return g->offset_low | (uint64_t)g->offset_middle << 16 | (uint64_t)g->offset_high << 32;
}

/* 256 interrupt gates, each to a stub of its own in the kernel's text. */
KTEST(boot, idt_gates)
{
	KASSERT(harness_idt().base >= UPPER_HALF);
	KASSERT_EQ(harness_idt().limit, GATES * sizeof(struct gate) - 1);
	for (unsigned v = 0; v < GATES; v++) {
		KASSERT_EQ(gate(v)->type & 0x9f, 0x80 | INTERRUPT_GATE);
		KASSERT_EQ(gate(v)->selector, SEL_KERNEL_CODE);
		KASSERT_EQ(gate(v)->zero, 0);
		KASSERT(offset(v) >= harness_addr(__text_start));
		KASSERT(offset(v) < harness_addr(__text_end));
		for (unsigned other = 0; other < v; other++)
			KASSERT(offset(v) != offset(other));
	}
}

KTEST(boot, idt_ist)
{
	for (unsigned v = 0; v < GATES; v++) {
		const unsigned stack = v == VEC_NMI ? IST_NMI : v == VEC_DOUBLE_FAULT ? IST_DOUBLE_FAULT
				     : v == VEC_MACHINE_CHECK ? IST_MACHINE_CHECK : 0;

		KASSERT_EQ(gate(v)->ist, stack);
	}
	KASSERT_EQ(IST_NMI, 1);
	KASSERT_EQ(IST_DOUBLE_FAULT, 2);
	KASSERT_EQ(IST_MACHINE_CHECK, 3);
}

/* Ring 3 may ask for a breakpoint, and for nothing else. */
KTEST(boot, idt_dpl)
{
	for (unsigned v = 0; v < GATES; v++)
		KASSERT_EQ(gate(v)->type >> 5 & 3, v == VEC_BREAKPOINT ? 3 : 0);
	KASSERT_EQ(VEC_BREAKPOINT, 3);
}
