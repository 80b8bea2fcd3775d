/* ACPI's tables, looked up anew at each call: there is no state, so that any number of processors may ask at once and
 * nothing has to be initialised first. Firmware is not trusted: nothing is read that was not mapped in its whole length,
 * no length is believed before it was compared with its bounds. See spec/drivers.md. */
#include "acpi.h"
#include "boot.h"
#include "errno.h"
#include "mmio.h"
#include "string.h"

/* Offsets and sizes in bytes. The first revision of an RSDP ends before its length and the XSDT's address. */
enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_SIZE_1 = 20, RSDP_SIZE_2 = 36 };
enum { TABLE_LENGTH = 4, TABLE_HEADER_SIZE = 36, TABLE_SIZE_MAX = 1 << 20 };
enum { RSDT_ENTRY_SIZE = 4, XSDT_ENTRY_SIZE = 8 };

enum { MADT_ENTRIES = 44, ENTRY_TYPE = 0, ENTRY_LENGTH = 1, ENTRY_HEADER_SIZE = 2 };
enum { MADT_APIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_X2APIC = 9 };
enum { APIC_ENTRY_ID = 3, APIC_ENTRY_FLAGS = 4, X2APIC_ENTRY_ID = 4, X2APIC_ENTRY_FLAGS = 8, FLAG_ENABLED = 1 };
enum { IOAPIC_ENTRY_ADDRESS = 4, IOAPIC_ENTRY_GSI_BASE = 8 };
enum { OVERRIDE_IRQ = 3, OVERRIDE_GSI = 4, OVERRIDE_FLAGS = 8 };

/* How long an entry of that type must be to hold the fields above. Of all others nothing is read but type and length. */
static const uint8_t entry_size_min[] = {
	[MADT_APIC] = APIC_ENTRY_FLAGS + 4,
	[MADT_IOAPIC] = IOAPIC_ENTRY_GSI_BASE + 4,
	[MADT_OVERRIDE] = OVERRIDE_FLAGS + 2,
	[MADT_X2APIC] = X2APIC_ENTRY_FLAGS + 4,
};

enum { ISA_IRQ_LAST = 15 };

/* Where a PC has its IOAPIC if nobody says otherwise. */
#define IOAPIC_PHYS 0xFEC00000u

/* Not volatile, as tables are memory that nobody writes any more, not registers. */
static const uint8_t *map(uint64_t phys, size_t size)
{
	return (const uint8_t *)mmio_map(phys, size);
}

/* The number in size bytes, 8 at most, of any alignment; as this processor, ACPI has the lowest byte first. */
static uint64_t number(const uint8_t *p, size_t size)
{
	uint64_t n = 0;

	memcpy(&n, p, size);
	return n;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static uint32_t table_length(const uint8_t *table)
{
	return number(table + TABLE_LENGTH, 4);
}

/* The table at that address; NULL: it has another signature or is not sound. */
static const uint8_t *table_at(uint64_t phys, const char signature[4])
{
	const uint8_t *table = map(phys, TABLE_HEADER_SIZE);
	uint32_t length;

	if (!table || memcmp(table, signature, 4) != 0)
		return NULL;
	length = table_length(table);
	if (length < TABLE_HEADER_SIZE || length > TABLE_SIZE_MAX)
		return NULL;
	table = map(phys, length);
	return table && sum(table, length) == 0 ? table : NULL;
}

/* The root behind an RSDP at that address, and the size of its entries; NULL: there is no sound one. */
static const uint8_t *root_at(uint64_t rsdp, size_t *entry_size)
{
	const uint8_t *p;

	if (rsdp == 0)
		return NULL;
	p = map(rsdp, RSDP_SIZE_1);
	if (!p || memcmp(p, "RSD PTR ", 8) != 0 || sum(p, RSDP_SIZE_1) != 0)
		return NULL;
	if (p[RSDP_REVISION] >= 2) {
		const uint8_t *whole = map(rsdp, RSDP_SIZE_2);

		if (whole && sum(whole, RSDP_SIZE_2) == 0) {
			const uint8_t *root = table_at(number(whole + RSDP_XSDT, 8), "XSDT");

			if (root) {
				*entry_size = XSDT_ENTRY_SIZE;
				return root;
			}
		}
	}
	*entry_size = RSDT_ENTRY_SIZE;
	return table_at(number(p + RSDP_RSDT, 4), "RSDT");
}

const void *acpi_find_in(uint64_t rsdp, const char signature[4])
{
	size_t entry_size;
	const uint8_t *root = root_at(rsdp, &entry_size);

	if (!root)
		return NULL;
	for (size_t at = TABLE_HEADER_SIZE; at + entry_size <= table_length(root); at += entry_size) {
		const uint8_t *table = table_at(number(root + at, entry_size), signature);

		if (table)
			return table;
	}
	return NULL;
}

const void *acpi_find(const char signature[4])
{
	return acpi_find_in(boot_info()->rsdp, signature);
}

/* The MADT's next entry from *at on, which then is where the one after it begins; NULL: no more. What is too short for
 * its type is passed over, so that callers may read all fields of what they get. Ends, as each step is of 2 bytes or
 * more. */
static const uint8_t *madt_next(const uint8_t *madt, uint32_t *at)
{
	const uint32_t end = table_length(madt);

	while (*at + ENTRY_HEADER_SIZE <= end) {
		const uint8_t *entry = madt + *at;
		const uint8_t type = entry[ENTRY_TYPE], length = entry[ENTRY_LENGTH];

		if (length < ENTRY_HEADER_SIZE || length > end - *at)
			return NULL;
		*at += length;
		if (type >= sizeof entry_size_min || length >= entry_size_min[type])
			return entry;
	}
	return NULL;
}

/* The APIC ID of the processor that runs this. */
static uint32_t own_apic_id(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b >> 24;
}

size_t acpi_cpus(uint32_t *apic_ids, size_t max)
{
	const uint8_t *madt = acpi_find("APIC"), *entry;
	uint32_t at = MADT_ENTRIES;
	size_t n = 0;

	if (!madt) {
		if (max > 0)
			apic_ids[0] = own_apic_id();
		return 1;
	}
	while ((entry = madt_next(madt, &at))) {
		uint32_t id, flags;

		if (entry[ENTRY_TYPE] == MADT_APIC) {
			id = entry[APIC_ENTRY_ID];
			flags = number(entry + APIC_ENTRY_FLAGS, 4);
		} else if (entry[ENTRY_TYPE] == MADT_X2APIC) {
			id = number(entry + X2APIC_ENTRY_ID, 4);
			flags = number(entry + X2APIC_ENTRY_FLAGS, 4);
		} else {
			continue;
		}
		if (!(flags & FLAG_ENABLED))
			continue;
		if (n < max)
			apic_ids[n] = id;
		n++;
	}
	return n;
}

int acpi_ioapic(uint64_t *phys, uint32_t *gsi_base)
{
	const uint8_t *madt = acpi_find("APIC"), *entry;
	uint32_t at = MADT_ENTRIES;

	while (madt && (entry = madt_next(madt, &at))) {
		if (entry[ENTRY_TYPE] == MADT_IOAPIC) {
			*phys = number(entry + IOAPIC_ENTRY_ADDRESS, 4);
			*gsi_base = number(entry + IOAPIC_ENTRY_GSI_BASE, 4);
			return 0;
		}
	}
	*phys = IOAPIC_PHYS;
	*gsi_base = 0;
	return -ENODEV;
}

void acpi_irq(unsigned isa_irq, uint32_t *gsi, uint16_t *flags)
{
	/* There is no override of what is no ISA interrupt, whatever the MADT says. */
	const uint8_t *madt = isa_irq <= ISA_IRQ_LAST ? acpi_find("APIC") : NULL, *entry;
	uint32_t at = MADT_ENTRIES;

	while (madt && (entry = madt_next(madt, &at))) {
		if (entry[ENTRY_TYPE] == MADT_OVERRIDE && entry[OVERRIDE_IRQ] == isa_irq) {
			*gsi = number(entry + OVERRIDE_GSI, 4);
			*flags = number(entry + OVERRIDE_FLAGS, 2);
			return;
		}
	}
	*gsi = isa_irq;
	*flags = 0;
}
