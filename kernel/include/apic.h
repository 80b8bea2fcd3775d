/* Interrupt controllers: each processor's local APIC, vectors for devices, and the IOAPIC. Vectors are desc.h's. */
#pragma once
#include <stdint.h>

/* Registers of the local APIC: offsets, 32 bits each. */
enum {
	APIC_ID = 0x20,                 /* bits 31:24 */
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SVR = 0xf0,
	APIC_ESR = 0x280,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

/* apic.c. All act on the local APIC of the processor that calls; the apic_ functions below the first two only once
 * these have set it up. APIC IDs are 0 to 255; not checked. */

/* Masks the old PICs, sets up the boot processor's APIC and gives traps its acknowledgement; then interrupts are on.
 * At the first call; at further ones nothing. Panics if it cannot. On the boot processor at INIT_DEVICES, or later to
 * no effect. */
void apic_init(void);

/* Sets up the APIC of another processor; leaves interrupts as they are. No errors. Once on each, interrupts off, after
 * apic_init on the boot processor and after gdt_load and idt_load here. */
void apic_init_cpu(void);

/* Read and write the register at that offset, one of the above; not checked. Any context. */
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t value);

/* Acknowledges the interrupt being handled. By every handler of what came by the APIC, but for VEC_SPURIOUS. */
void apic_eoi(void);

/* This processor's APIC ID. Any context. */
uint32_t apic_id(void);

/* Sends a fixed interrupt, to this processor too. Does not wait until it is handled; nobody there: nothing. No errors;
 * waits for the ICR are bounded. Any context; interrupts are off meanwhile. */
void apic_send(uint32_t apic_id, uint8_t vector);

/* The same with the ICR's low half as it is: 0x4400 NMI, 0x4500 INIT, 0x4600 | page SIPI. */
void apic_command(uint32_t apic_id, uint32_t icr);

/* A vector of VEC_DEVICE to VEC_DEVICE_LAST that nobody has; the handler is the caller's to set. -ENOSPC: all are
 * given out. Any context, any number of processors at once. */
int irq_alloc_vector(void);

/* Gives it back, its handler cleared by the caller; not one of them: nothing. No errors. Context as
 * irq_alloc_vector. */
void irq_free_vector(unsigned vector);

/* ioapic.c. */

/* Masks all of the IOAPIC's entries; calls apic_init first. At the first call; at further ones nothing. On the boot
 * processor at INIT_DEVICES, or later to no effect. */
void ioapic_init(void);

/* ISA interrupt 0 to 15 to that vector of the processor with that index, polarity and trigger as acpi_irq says,
 * unmasked; where it went before is forgotten. The handler is the caller's, set before, and acknowledges with
 * apic_eoi. 0, or with nothing changed -EINVAL: no such interrupt or processor, vector not VEC_DEVICE to
 * VEC_DEVICE_LAST; -ENODEV: no IOAPIC has it. After ioapic_init; not from interrupts, as acpi_irq; any number of
 * processors at once. */
int irq_connect(unsigned isa_irq, uint8_t vector, unsigned cpu);

/* Masks it; no such: nothing. No errors. One that was on its way may still arrive. Context as irq_connect. */
void irq_disconnect(unsigned isa_irq);
