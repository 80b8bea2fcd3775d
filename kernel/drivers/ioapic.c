/* The IOAPIC: which vector of which processor an ISA interrupt goes to. See spec/drivers.md, "apic, ioapic". */
#include <stdbool.h>
#include <stdint.h>
#include "acpi.h"
#include "apic.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mmio.h"
#include "spinlock.h"

/* In memory there are two words: which register, and what is in it. */
enum { INDEX = 0x00 / 4, DATA = 0x10 / 4, IOAPIC_SIZE = 0x14 };
enum { REG_VERSION = 1, VERSION_LAST_SHIFT = 16, VERSION_LAST_MASK = 0xff };

/* Entry n has two registers. Delivery fixed and destination physical are 0. */
enum { REG_ENTRY_LOW = 0x10, REG_ENTRY_HIGH = 0x11, ENTRY_REGS = 2 };
enum { ENTRY_ACTIVE_LOW = 1 << 13, ENTRY_LEVEL = 1 << 15, ENTRY_MASKED = 1 << 16, ENTRY_APIC_ID_SHIFT = 24 };

/* acpi_irq's flags: two fields of two bits. */
enum { FLAGS_FIELD = 3, FLAGS_TRIGGER_SHIFT = 2, FLAGS_ACTIVE_LOW = 3, FLAGS_LEVEL = 3 };

enum { ISA_IRQ_LAST = 15 };

/* Written once, by ioapic_init. Without an IOAPIC there are 0 entries, and so nobody uses the registers. */
static volatile uint32_t *registers;
static uint32_t gsi_base;
static unsigned entries;

/* Held, interrupts off, from an index to its data, and as long as an entry is being changed. */
static struct spinlock lock;

/* ---- under the lock ---- */

static uint32_t ioapic_read(unsigned reg)
{
	registers[INDEX] = reg;
	return registers[DATA];
}

static void ioapic_write(unsigned reg, uint32_t value)
{
	registers[INDEX] = reg;
	registers[DATA] = value;
}

static void entry_mask(unsigned n)
{
	const unsigned low = REG_ENTRY_LOW + ENTRY_REGS * n;

	ioapic_write(low, ioapic_read(low) | ENTRY_MASKED);
}

/* ---- not under the lock, as acpi_irq reads tables ---- */

/* Which entry the ISA interrupt, 0 to 15, has, and acpi_irq's flags; false: none. */
static bool entry_find(unsigned isa_irq, unsigned *n, uint16_t *flags)
{
	uint32_t gsi;

	acpi_irq(isa_irq, &gsi, flags);
	/* Compared first: behind a base near the top the difference would wrap to a small number. */
	if (gsi < gsi_base || gsi - gsi_base >= entries)
		return false;
	*n = gsi - gsi_base;
	return true;
}

void ioapic_init(void)
{
	static bool begun;
	uint64_t phys, irq_flags;

	if (begun)
		return;
	begun = true;
	apic_init();
	if (acpi_ioapic(&phys, &gsi_base))
		return;
	registers = mmio_map(phys, IOAPIC_SIZE);
	if (!registers)
		return;
	irq_flags = spin_lock_irqsave(&lock);
	entries = (ioapic_read(REG_VERSION) >> VERSION_LAST_SHIFT & VERSION_LAST_MASK) + 1;
	for (unsigned n = 0; n < entries; n++)
		entry_mask(n);
	spin_unlock_irqrestore(&lock, irq_flags);
}
INIT(INIT_DEVICES, ioapic_init);

int irq_connect(unsigned isa_irq, uint8_t vector, unsigned cpu)
{
	const struct cpu *target = cpu_get(cpu);
	uint32_t low = vector;
	uint64_t irq_flags;
	uint16_t flags;
	unsigned n;

	if (isa_irq > ISA_IRQ_LAST || vector < VEC_DEVICE || vector > VEC_DEVICE_LAST || !target)
		return -EINVAL;
	if (!entry_find(isa_irq, &n, &flags))
		return -ENODEV;
	if ((flags & FLAGS_FIELD) == FLAGS_ACTIVE_LOW)
		low |= ENTRY_ACTIVE_LOW;
	if ((flags >> FLAGS_TRIGGER_SHIFT & FLAGS_FIELD) == FLAGS_LEVEL)
		low |= ENTRY_LEVEL;

	/* Masked until all of it is there: no interrupt goes to the new vector on the old processor, and none comes of
	 * the change of polarity or trigger. */
	irq_flags = spin_lock_irqsave(&lock);
	entry_mask(n);
	ioapic_write(REG_ENTRY_HIGH + ENTRY_REGS * n, target->apic_id << ENTRY_APIC_ID_SHIFT);
	ioapic_write(REG_ENTRY_LOW + ENTRY_REGS * n, low | ENTRY_MASKED);
	ioapic_write(REG_ENTRY_LOW + ENTRY_REGS * n, low);
	spin_unlock_irqrestore(&lock, irq_flags);
	return 0;
}

void irq_disconnect(unsigned isa_irq)
{
	uint64_t irq_flags;
	uint16_t flags;
	unsigned n;

	if (isa_irq > ISA_IRQ_LAST || !entry_find(isa_irq, &n, &flags))
		return;
	irq_flags = spin_lock_irqsave(&lock);
	entry_mask(n);
	spin_unlock_irqrestore(&lock, irq_flags);
}
