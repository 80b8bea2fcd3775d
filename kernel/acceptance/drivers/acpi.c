/* Acceptance of drivers/acpi.c on QEMU's tables and on made-up ones. See spec/drivers.md. */
#include "acpi.h"
#include "boot.h"
#include "errno.h"
#include "internal.h"

static uint8_t sum(const volatile uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint32_t length(const void *table)
{
	uint32_t n;

	harness_memcpy(&n, (const uint8_t *)table + 4, sizeof n);
	return n;
}

static unsigned processors(void)
{
	return (unsigned)fw_cfg_number(FW_CFG_PROCESSORS, 2);
}

KTEST(drivers, acpi_find)
{
	static const char signatures[][5] = { "APIC", "FACP", "HPET", "MCFG" };

	for (unsigned i = 0; i < sizeof signatures / sizeof *signatures; i++) {
		const void *table = acpi_find(signatures[i]);

		KASSERT(table != NULL);
		KASSERT_EQ(harness_memcmp(table, signatures[i], 4), 0);
		KASSERT(length(table) >= 36);
		KASSERT_EQ(sum(table, length(table)), 0);
		KASSERT(acpi_find(signatures[i]) != NULL);
	}
}

KTEST(drivers, acpi_absent)
{
	KASSERT(acpi_find("NONE") == NULL);
	KASSERT(acpi_find("apic") == NULL);
	KASSERT(acpi_find("\0\0\0\0") == NULL);
	KASSERT(acpi_find_in(0, "APIC") == NULL);
	KASSERT(acpi_find_in(UINT64_MAX - 7, "APIC") == NULL);
	KASSERT(acpi_find_in(1ull << 40, "APIC") == NULL);
}

/* ---- made-up tables, in the image ---- */

enum { TABLES = 4, ROOM = 512 };

static uint8_t rsdp[64] __attribute__((aligned(16)));
static uint8_t root[2][ROOM] __attribute__((aligned(16)));      /* RSDT, XSDT */
static uint8_t tables[TABLES][ROOM] __attribute__((aligned(16)));

static uint64_t phys(const void *image_object)
{
	return harness_addr(image_object) - KERNEL_VIRT_BASE;
}

static void fix(uint8_t *table, size_t n, unsigned at)
{
	table[at] = 0;
	table[at] = (uint8_t)-sum(table, n);
}

static void make_table(uint8_t *table, const char *signature, uint32_t n, uint64_t *seed)
{
	for (unsigned i = 0; i < ROOM; i++)
		table[i] = (uint8_t)harness_random(seed);
	harness_memcpy(table, signature, 4);
	harness_memcpy(table + 4, &n, 4);
	if (n >= 36 && n <= ROOM)
		fix(table, n, 9);
}

/* `n` tables, all of them "TEST", behind an RSDP of that revision; entry i is for table i in either root. */
static void make(unsigned revision, unsigned n, uint64_t *seed)
{
	const uint32_t rsdt = (uint32_t)phys(root[0]);
	const uint64_t xsdt = phys(root[1]);

	for (unsigned i = 0; i < n; i++)
		make_table(tables[i], "TEST", 36 + harness_random(seed) % 400, seed);
	make_table(root[0], "RSDT", 36 + 4 * n, seed);
	make_table(root[1], "XSDT", 36 + 8 * n, seed);
	for (unsigned i = 0; i < n; i++) {
		const uint64_t at = phys(tables[i]);

		harness_memcpy(root[0] + 36 + 4 * i, &at, 4);
		harness_memcpy(root[1] + 36 + 8 * i, &at, 8);
	}
	fix(root[0], 36 + 4 * n, 9);
	fix(root[1], 36 + 8 * n, 9);
	harness_memset(rsdp, 0, sizeof rsdp);
	harness_memcpy(rsdp, "RSD PTR ", 8);
	rsdp[15] = (uint8_t)revision;
	harness_memcpy(rsdp + 16, &rsdt, 4);
	if (revision >= 2) {
		rsdp[20] = 36;
		harness_memcpy(rsdp + 24, &xsdt, 8);
	}
	fix(rsdp, 20, 8);
	if (revision >= 2)
		fix(rsdp, 36, 32);
}

/* The number of the table that is found; -1: none. */
static int found(const char *signature)
{
	const void *table = acpi_find_in(phys(rsdp), signature);

	for (int i = 0; i < TABLES; i++)
		if (table && harness_memcmp(table, tables[i], 36) == 0 && length(table) == length(tables[i]))
			return i;
	return table ? -2 : -1;
}

KTEST(drivers, acpi_roots)
{
	uint64_t seed = harness_seed();

	for (unsigned revision = 0; revision <= 3; revision++) {
		make(revision, TABLES, &seed);
		KASSERT_EQ(found("TEST"), 0);
		KASSERT_EQ(found("TESX"), -1);
		harness_memcpy(tables[2], "ELSE", 4);
		fix(tables[2], length(tables[2]), 9);
		KASSERT_EQ(found("ELSE"), 2);
		make(revision, 0, &seed);
		KASSERT_EQ(found("TEST"), -1);
	}
	/* each revision reads its own root, with entries of its own size */
	make(2, 1, &seed);
	harness_memset(root[0], 0, sizeof root[0]);
	KASSERT_EQ(found("TEST"), 0);
	make(0, 1, &seed);
	harness_memset(root[1], 0, sizeof root[1]);
	KASSERT_EQ(found("TEST"), 0);
	make(2, 1, &seed);
	rsdp[15] = 0;                                   /* what stands behind 20 bytes is none of the first revision's */
	fix(rsdp, 20, 8);
	fix(rsdp, 36, 32);
	harness_memset(root[0], 0, sizeof root[0]);
	KASSERT_EQ(found("TEST"), -1);
}

/* What has a wrong sum or length is passed over, or ends the search where it leads. */
KTEST(drivers, acpi_checksum)
{
	static const uint32_t lengths[] = { 0, 4, 35, (1 << 20) + 1, 0x7fffffff, 0xffffffff };
	uint64_t seed = harness_seed();

	for (unsigned revision = 0; revision <= 2; revision += 2) {
		for (unsigned round = 0; round < 20; round++) {
			make(revision, TABLES, &seed);
			tables[0][8 + harness_random(&seed) % (length(tables[0]) - 8)] ^= 1u << harness_random(&seed) % 8;
			KASSERT_EQ(found("TEST"), 1);
		}
		for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
			make(revision, TABLES, &seed);
			harness_memcpy(tables[0] + 4, &lengths[i], 4);
			KASSERT_EQ(found("TEST"), 1);
		}
		make(revision, TABLES, &seed);
		rsdp[9] ^= 1;
		KASSERT_EQ(found("TEST"), -1);
		make(revision, TABLES, &seed);
		rsdp[0] = 'r';
		fix(rsdp, 20, 8);
		if (revision >= 2)
			fix(rsdp, 36, 32);
		KASSERT_EQ(found("TEST"), -1);
		make(revision, TABLES, &seed);
		root[0][10] ^= 1;
		root[1][10] ^= 1;
		KASSERT_EQ(found("TEST"), -1);
	}
	/* addresses that cannot be read, be it that half of one could */
	make(2, 4, &seed);
	harness_memset(root[1] + 36, 0, 8);
	harness_memset(root[1] + 44, 0xff, 8);
	harness_memcpy(root[1] + 56, root[1] + 52, 4);
	harness_memset(root[1] + 52, 0, 4);
	fix(root[1], 36 + 8 * 4, 9);
	KASSERT_EQ(found("TEST"), 3);
}

enum { MIB = 1 << 20, FRAME = 4096 };

/* mm's, as soon as there is one. */
int frame_alloc_contig(size_t count, size_t align, uint64_t limit, unsigned flags, uint64_t *out) __attribute__((weak));
int frame_free_contig(uint64_t pa, size_t count) __attribute__((weak));

/* Until then this is nobody's, or a module's that nobody changes; its first bytes are put back. */
#define NOBODYS (16ull * MIB)

/* Whether the table, the only one, is found with that length. */
static bool found_at(uint8_t *table, uint32_t n)
{
	const void *at;

	harness_memcpy(table + 4, &n, 4);
	fix(table, n, 9);
	at = acpi_find_in(phys(rsdp), "LONG");
	return at && harness_memcmp(at, table, 36) == 0;
}

/* The longest that there may be, and one that is a byte longer. */
KTEST(drivers, acpi_longest)
{
	uint64_t seed = harness_seed(), at = NOBODYS;
	uint8_t *table, before[36];
	bool longest, longer;

	if (frame_alloc_contig)
		KASSERT_EQ(frame_alloc_contig(MIB / FRAME + 1, 1, 1ull << 32, 0, &at), 0);
	table = (uint8_t *)(DIRECT_MAP_BASE + at);
	harness_memcpy(before, table, sizeof before);
	make(2, 1, &seed);
	harness_memcpy(root[1] + 36, &at, 8);
	fix(root[1], 36 + 8, 9);
	harness_memcpy(table, "LONG", 4);
	longest = found_at(table, MIB);
	longer = found_at(table, MIB + 1);
	harness_memcpy(table, before, sizeof before);
	if (frame_alloc_contig)
		KASSERT_EQ(frame_free_contig(at, MIB / FRAME + 1), 0);
	KASSERT(longest);
	KASSERT(!longer);
}

/* ---- what the interrupt controllers' table says ---- */

KTEST(drivers, acpi_cpus)
{
	uint32_t ids[256], one[2] = { 0xeeeeeeee, 0xeeeeeeee }, a = 1, b, c = 0, d;
	const size_t n = acpi_cpus(ids, 256);
	unsigned self = 0;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	KASSERT_EQ(n, processors());
	for (size_t i = 0; i < n; i++) {
		self += ids[i] == b >> 24;
		for (size_t j = 0; j < i; j++)
			KASSERT(ids[i] != ids[j]);
	}
	KASSERT_EQ(self, 1);
	KASSERT_EQ(acpi_cpus(one, 1), n);
	KASSERT_EQ(one[0], ids[0]);
	KASSERT_EQ(one[1], 0xeeeeeeee);
	KASSERT_EQ(acpi_cpus(NULL, 0), n);
}

KTEST(drivers, acpi_override)
{
	uint64_t at = 0;
	uint32_t base = 77, gsi = 77;
	uint16_t flags = 0x7777;

	KASSERT_EQ(acpi_ioapic(&at, &base), 0);
	KASSERT_EQ(at, 0xFEC00000);
	KASSERT_EQ(base, 0);
	for (unsigned irq = 0; irq < 16; irq++) {
		acpi_irq(irq, &gsi, &flags);
		KASSERT_EQ(gsi, irq == 0 ? 2 : irq);
		/* edge and active high as the bus has it, but for the four that QEMU keeps for PCI: level */
		KASSERT_EQ(flags, irq == 5 || (irq >= 9 && irq <= 11) ? 0xd : 0);
	}
}

/* A made-up one, for the length of a call. */
static void with_madt(const uint8_t *entries, uint32_t n, void (*fn)(void))
{
	struct boot_info *info = (struct boot_info *)harness_addr(boot_info());
	uint64_t seed = harness_seed(), flags, before;

	make(2, 1, &seed);
	make_table(tables[0], "APIC", 44 + n, &seed);
	harness_memcpy(tables[0] + 44, entries, n);
	fix(tables[0], 44 + n, 9);
	flags = harness_cli();
	before = info->rsdp;
	info->rsdp = entries ? phys(rsdp) : 0;
	fn();
	info->rsdp = before;
	harness_restore(flags);
}

static struct {
	size_t cpus, counted;
	uint32_t ids[8], base, gsi[16];
	uint16_t flags[16];
	uint64_t ioapic;
	int err;
} read;

static void read_all(void)
{
	harness_memset(&read, 0xee, sizeof read);
	read.cpus = acpi_cpus(read.ids, 3);
	read.counted = acpi_cpus(NULL, 0);
	read.err = acpi_ioapic(&read.ioapic, &read.base);
	for (unsigned i = 0; i < 16; i++)
		acpi_irq(i, &read.gsi[i], &read.flags[i]);
}

KTEST(drivers, acpi_madt)
{
	static const uint8_t good[] = {
		0, 8, 0, 10, 0, 0, 0, 0,                        /* processors: not enabled, enabled, to be had later, both */
		0, 8, 1, 11, 1, 0, 0, 0,
		0, 8, 2, 12, 2, 0, 0, 0,
		0, 8, 3, 13, 3, 0, 0, 0,
		9, 16, 0, 0, 0x21, 1, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0,
		9, 16, 0, 0, 0x22, 1, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0,
		9, 16, 0, 0, 0x23, 1, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0,
		0x7f, 2,                                        /* nobody knows what that is */
		1, 12, 3, 0, 0x00, 0x00, 0xc1, 0xfe, 24, 0, 0, 0,
		1, 12, 4, 0, 0x00, 0x00, 0xc2, 0xfe, 48, 0, 0, 0,
		2, 10, 0, 7, 25, 0, 0, 0, 0x0d, 0,
		0, 8, 4, 14, 1, 0, 0, 0,
	};
	static const uint8_t ends[][20] = {
		{ 0, 8, 1, 11, 1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 12, 1, 0, 0, 0 },       /* length 0 */
		{ 0, 8, 1, 11, 1, 0, 0, 0, 0, 1, 0, 8, 2, 12, 1, 0, 0, 0, 0, 0 },       /* 1 */
		{ 0, 8, 1, 11, 1, 0, 0, 0, 0, 4, 2, 12, 0, 8, 2, 12, 1, 0, 0, 0 },      /* less than it has, and cut by the table's end */
	};
	uint32_t a = 1, b, c = 0, d;

	with_madt(good, sizeof good, read_all);
	KASSERT_EQ(read.cpus, 4);
	KASSERT_EQ(read.counted, 4);
	KASSERT_EQ(read.ids[0], 11);
	KASSERT_EQ(read.ids[1], 13);
	KASSERT_EQ(read.ids[2], 0x122);
	KASSERT_EQ(read.ids[3], 0xeeeeeeee);
	KASSERT_EQ(read.err, 0);
	KASSERT_EQ(read.ioapic, 0xfec10000);
	KASSERT_EQ(read.base, 24);
	for (unsigned i = 0; i < 16; i++) {
		KASSERT_EQ(read.gsi[i], i == 7 ? 25 : i);
		KASSERT_EQ(read.flags[i], i == 7 ? 0xd : 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		with_madt(ends[i], sizeof ends[i], read_all);
		KASSERT_EQ(read.cpus, 1);
		KASSERT_EQ(read.ids[0], 11);
	}
	with_madt(ends[2], 16, read_all);                       /* the last of eight bytes has four */
	KASSERT_EQ(read.cpus, 1);

	with_madt(NULL, 0, read_all);
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	KASSERT_EQ(read.cpus, 1);
	KASSERT_EQ(read.counted, 1);
	KASSERT_EQ(read.ids[0], b >> 24);
	KASSERT_EQ(read.ids[1], 0xeeeeeeee);
	KASSERT_EQ(read.err, -ENODEV);
	KASSERT_EQ(read.ioapic, 0xfec00000);
	KASSERT_EQ(read.base, 0);
	KASSERT_EQ(read.gsi[0], 0);
	KASSERT_EQ(read.flags[0], 0);
}
