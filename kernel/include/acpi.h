/* ACPI's tables, as far as the kernel reads them: where they are, and what the MADT says of processors and interrupts.
 * Only what is sound is used: length 36 bytes to 1 MiB, all of it can be read, sum 0. They are read through mmio_map.
 * All functions may be called once boot_info() is complete, by any number of processors at once, not from
 * interrupts. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The first table with that signature whose sum is right; NULL: none. It stays mapped, and may be read only. */
const void *acpi_find(const char signature[4]);

/* The same behind an RSDP at that physical address; acpi_find is this for boot_info()->rsdp. An address of 0, or that
 * is not an RSDP's: NULL. */
const void *acpi_find_in(uint64_t rsdp, const char signature[4]);

/* APIC IDs of the processors that can be used, in the MADT's order; how many there are, of which at most max are
 * stored. max = 0: apic_ids may be NULL. Without a MADT: this processor's alone. */
size_t acpi_cpus(uint32_t *apic_ids, size_t max);

/* The first IOAPIC's physical address and the first global interrupt (GSI) that it has: 0. -ENODEV without one in the
 * MADT, and *phys = 0xFEC00000, *gsi_base = 0. */
int acpi_ioapic(uint64_t *phys, uint32_t *gsi_base);

/* Where ISA interrupt 0 to 15 arrives, and the override's flags: bits 1:0 polarity, 3:2 trigger; 3 is active low,
 * level; 0 or 1 active high, edge. Without an override *gsi = isa_irq, *flags = 0. No errors; isa_irq is not
 * checked. */
void acpi_irq(unsigned isa_irq, uint32_t *gsi, uint16_t *flags);
