/* The one interrupt descriptor table, of all processors. See spec/boot.md, "Descriptor tables". */
#include <stdint.h>
#include "desc.h"
#include "harness.h"

enum { VECTORS = 256 };

/* As the processor reads it. */
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist;            /* 0: the stack that was interrupted, or RSP0 */
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};
_Static_assert(sizeof(struct gate) == 16, "a gate of long mode");

/* Of a gate's type: an interrupt gate (interrupts are off behind it), and who may come by `int`. */
enum { GATE_INTERRUPT = 0x8e, GATE_DPL_3 = 3 << 5 };

/* What lidt reads. */
struct idt_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct idt_register) == 10, "lidt reads 10 bytes");

/* idt_stubs.asm: the stubs' addresses by vector. */
extern const uint64_t idt_stubs[VECTORS];

/* Written by idt_init, before anything loads it; by nobody after that. */
static struct gate idt[VECTORS] __attribute__((aligned(16)));
_Static_assert(sizeof idt - 1 == 4095, "the IDT's limit");

/* These may come on a stack that cannot be used. */
static uint8_t ist_of(unsigned vector)
{
	switch (vector) {
	case VEC_NMI:
		return IST_NMI;
	case VEC_DOUBLE_FAULT:
		return IST_DOUBLE_FAULT;
	case VEC_MACHINE_CHECK:
		return IST_MACHINE_CHECK;
	default:
		return 0;
	}
}

void idt_load(void)
{
	const struct idt_register idtr = { sizeof idt - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(idtr) : "memory");
}

static void idt_init(void)
{
	for (unsigned v = 0; v < VECTORS; v++) {
		const uint64_t stub = idt_stubs[v];

		idt[v] = (struct gate){
			.offset_low = (uint16_t)stub,
			.selector = SEL_KERNEL_CODE,
			.ist = ist_of(v),
			.type = v == VEC_BREAKPOINT ? GATE_INTERRUPT | GATE_DPL_3 : GATE_INTERRUPT,
			.offset_middle = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
		};
	}
	idt_load();
}
INIT(INIT_EARLY, idt_init);
