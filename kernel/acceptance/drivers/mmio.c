/* Acceptance of drivers/mmio.c on the local APIC's registers. See spec/drivers.md. */
#include "internal.h"
#include "mmio.h"

KTEST(drivers, mmio_map)
{
	const uint64_t phys = harness_rdmsr(0x1b) & 0x000FFFFFFFFFF000;
	volatile const uint8_t *base = mmio_map(phys, 4096), *inside = mmio_map(phys + 0x30, 4);
	uint32_t version;

	KASSERT(base != NULL);
	KASSERT(inside != NULL);
	version = *(volatile const uint32_t *)(base + 0x30);
	KASSERT_EQ(version & 0xff, 0x14);               /* an integrated APIC */
	KASSERT_EQ(*(volatile const uint32_t *)inside, version);
}

/* Whatever part of a page is asked for first, here of the HPET's. */
KTEST(drivers, mmio_part)
{
	enum { HPET = 0xFED00000, PERIOD = 4, FEMTOSECONDS = 10000000 };
	volatile const uint32_t *period = mmio_map(HPET + PERIOD, 4), *whole = mmio_map(HPET, 8);

	KASSERT(period != NULL);
	KASSERT(whole != NULL);
	KASSERT_EQ(*period, FEMTOSECONDS);
	KASSERT_EQ(whole[1], FEMTOSECONDS);
}

KTEST(drivers, mmio_refuses)
{
	KASSERT(mmio_map(0xFEE00000, 0) == NULL);
	KASSERT(mmio_map(UINT64_MAX - 4095, 4096) == NULL);
	KASSERT(mmio_map(UINT64_MAX - 4095, 8192) == NULL);
	KASSERT(mmio_map(0xFEE00000, UINT64_MAX) == NULL);
	KASSERT(mmio_map(1ull << 52, 4096) == NULL);    /* more than an address has */
}
