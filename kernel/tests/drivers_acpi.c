/* Further tests of drivers/acpi.c, on tables made up in the image and on the machine's own, and of drivers/mmio.c at the
 * end of what it reaches. See spec/drivers.md, part 2. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "acpi.h"
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "mmio.h"
#include "string.h"

enum { TABLES = 8, ROOM = 192, HEADER = 36, SEED = 0xac21 };
enum { LENGTH = 4, CHECKSUM = 9, NUMBER = 10, ENTRIES = 36 };                   /* offsets in a table */
enum { RSDP_CHECKSUM = 8, RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_LENGTH = 20, RSDP_XSDT = 24, RSDP_CHECKSUM_2 = 32,
       RSDP_SIZE_1 = 20, RSDP_SIZE_2 = 36 };
enum { RSDT_ENTRY = 4, XSDT_ENTRY = 8 };

#define GIB_4 (4ull << 30)

static uint8_t rsdp[48] __attribute__((aligned(16)));
static uint8_t rsdt[ROOM] __attribute__((aligned(16))), xsdt[ROOM] __attribute__((aligned(16)));
static uint8_t tables[TABLES][ROOM] __attribute__((aligned(16)));

/* Hidden from the optimiser: it is not to think that it knows who reads there. */
static uint64_t phys(const void *image_object)
{
	uint64_t value = (uint64_t)image_object;

	__asm__("" : "+r"(value) : : "memory");
	return value - KERNEL_BASE;
}

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void put(uint8_t *to, uint64_t value, size_t size)
{
	memcpy(to, &value, size);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The byte at that offset makes the sum of n bytes 0. */
static void seal(uint8_t *p, size_t n, size_t at)
{
	p[at] = 0;
	p[at] = (uint8_t)-sum(p, n);
}

static uint32_t length_of(const void *table)
{
	uint32_t n;

	memcpy(&n, (const uint8_t *)table + LENGTH, sizeof n);
	return n;
}

/* Sound; told from the others by its number, which lies in the header. */
static void make_table(unsigned i, const char *signature, uint32_t length, uint32_t *random)
{
	for (unsigned k = 0; k < ROOM; k++)
		tables[i][k] = (uint8_t)next(random);
	memcpy(tables[i], signature, 4);
	put(tables[i] + LENGTH, length, 4);
	tables[i][NUMBER] = (uint8_t)i;
	seal(tables[i], length, CHECKSUM);
}

/* A sound root with n entries; behind its length there are zeros. */
static void make_root(uint8_t *root, const uint64_t *entries, unsigned n)
{
	const size_t size = root == xsdt ? XSDT_ENTRY : RSDT_ENTRY;

	memset(root, 0, ROOM);
	memcpy(root, root == xsdt ? "XSDT" : "RSDT", 4);
	put(root + LENGTH, ENTRIES + size * n, 4);
	for (unsigned i = 0; i < n; i++)
		put(root + ENTRIES + size * i, entries[i], size);
	seal(root, length_of(root), CHECKSUM);
}

/* Both sums are right, whatever the revision. */
static void seal_rsdp(void)
{
	seal(rsdp, RSDP_SIZE_1, RSDP_CHECKSUM);
	seal(rsdp, RSDP_SIZE_2, RSDP_CHECKSUM_2);
}

/* The XSDT has tables 0 to 3, the RSDT 4 to 7, all of them "TEST": the first that is found tells which root was read. */
enum { BY_XSDT = 0, BY_RSDT = TABLES / 2, NONE = -1, FAULT = -2, OTHER = -3 };

static void prepare(unsigned revision)
{
	uint64_t entries[TABLES];
	uint32_t random = SEED;

	for (unsigned i = 0; i < TABLES; i++) {
		make_table(i, "TEST", HEADER + next(&random) % (ROOM - HEADER + 1), &random);
		entries[i] = phys(tables[i]);
	}
	make_root(xsdt, entries, TABLES / 2);
	make_root(rsdt, entries + TABLES / 2, TABLES / 2);
	memset(rsdp, 0, sizeof rsdp);
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[RSDP_REVISION] = (uint8_t)revision;
	put(rsdp + RSDP_RSDT, phys(rsdt), 4);
	rsdp[RSDP_LENGTH] = RSDP_SIZE_2;
	put(rsdp + RSDP_XSDT, phys(xsdt), 8);
	seal_rsdp();
}

struct find {
	uint64_t rsdp;
	const char *signature;
	const void *table;
};

static void find(void *arg)
{
	struct find *f = arg;

	f->table = acpi_find_in(f->rsdp, f->signature);
}

/* The number of the table found behind an RSDP at that address, or one of the above. */
static int found_behind(uint64_t at, const char *signature)
{
	struct find f = { at, signature, NULL };

	if (trap_catch(find, &f, NULL) != 0)
		return FAULT;
	if (!f.table)
		return NONE;
	for (int i = 0; i < TABLES; i++)
		if (memcmp(f.table, tables[i], HEADER) == 0)
			return i;
	return OTHER;
}

static int found(const char *signature)
{
	return found_behind(phys(rsdp), signature);
}

/* ---- which root ---- */

/* Any byte of it changed, but for its length's. */
KTEST(drivers, check_acpi_xsdt_sum)
{
	prepare(2);
	KASSERT_EQ(found("TEST"), BY_XSDT);
	for (unsigned at = 0; at < length_of(xsdt); at++) {
		if (at >= LENGTH && at < LENGTH + 4)
			continue;
		prepare(2);
		xsdt[at] ^= 1u << at % 8;
		if (found("TEST") != BY_RSDT)
			ktest_note("byte", at);
		KASSERT_EQ(found("TEST"), BY_RSDT);
	}
}

/* Be the sum of that many bytes right or not. */
KTEST(drivers, check_acpi_xsdt_length)
{
	static const uint32_t lengths[] = { 0, 1, 10, 35, (1 << 20) + 1, 0x1000024, 0x80000044, 0xffffffff };

	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		prepare(2);
		put(xsdt + LENGTH, lengths[i], 4);
		if (lengths[i] > CHECKSUM && lengths[i] < ROOM)
			seal(xsdt, lengths[i], CHECKSUM);
		if (found("TEST") != BY_RSDT)
			ktest_note("length", lengths[i]);
		KASSERT_EQ(found("TEST"), BY_RSDT);
	}
}

/* With every sum right: a root that is called something else is none. */
KTEST(drivers, check_acpi_root_signatures)
{
	static const char wrong[][5] = { "xsdt", "XSD ", "XSDU", "TSDX", "rsdt", "RSD ", "RSDU", "TSDR", "TEST", "FACP", "" };

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		for (unsigned revision = 0; revision <= 2; revision++) {
			prepare(revision);
			memcpy(rsdt, wrong[i], 4);
			seal(rsdt, length_of(rsdt), CHECKSUM);
			KASSERT_EQ(found("TEST"), revision == 2 ? BY_XSDT : NONE);
			memcpy(xsdt, wrong[i], 4);
			seal(xsdt, length_of(xsdt), CHECKSUM);
			KASSERT_EQ(found("TEST"), NONE);
		}
		prepare(2);
		memcpy(xsdt, wrong[i], 4);
		seal(xsdt, length_of(xsdt), CHECKSUM);
		KASSERT_EQ(found("TEST"), BY_RSDT);
	}
}

/* Each in the other's place: neither is read with entries that are not its own. */
KTEST(drivers, check_acpi_roots_exchanged)
{
	for (unsigned revision = 0; revision <= 2; revision++) {
		prepare(revision);
		put(rsdp + RSDP_RSDT, phys(xsdt), 4);
		put(rsdp + RSDP_XSDT, phys(rsdt), 8);
		seal_rsdp();
		KASSERT_EQ(found("TEST"), NONE);
	}
	prepare(2);
	put(rsdp + RSDP_XSDT, phys(rsdt), 8);
	seal_rsdp();
	KASSERT_EQ(found("TEST"), BY_RSDT);
}

/* Where there is none, though there may be one at the lower half of that address. */
KTEST(drivers, check_acpi_xsdt_address)
{
	const uint64_t right = phys(xsdt);
	const uint64_t wrong[] = {
		0, right + 1, right | GIB_4, right | 1ull << 40, right | 1ull << 51, right | 1ull << 63, right | 0xffffffffull << 32,
		GIB_4 - HEADER, GIB_4 - HEADER + 1, GIB_4 - 1, GIB_4, UINT64_MAX - HEADER + 1, UINT64_MAX,
	};

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		prepare(2);
		put(rsdp + RSDP_XSDT, wrong[i], 8);
		seal_rsdp();
		if (found("TEST") != BY_RSDT)
			ktest_note("address", wrong[i]);
		KASSERT_EQ(found("TEST"), BY_RSDT);
	}
}

/* A sound XSDT is the root, what is not in it is nowhere. Neither root is a table of its own. */
KTEST(drivers, check_acpi_xsdt_is_root)
{
	prepare(2);
	memcpy(tables[6], "ONLY", 4);
	seal(tables[6], length_of(tables[6]), CHECKSUM);
	KASSERT_EQ(found("ONLY"), NONE);
	xsdt[ENTRIES] ^= 4;
	KASSERT_EQ(found("ONLY"), 6);
	make_root(xsdt, NULL, 0);
	KASSERT_EQ(found("ONLY"), NONE);
	KASSERT_EQ(found("TEST"), NONE);
	KASSERT_EQ(found("XSDT"), NONE);
	KASSERT_EQ(found("RSDT"), NONE);
}

/* ---- RSDP ---- */

/* That of 36 bytes wrong: the XSDT is not believed; the RSDT is, whose address the first 20 vouch for. */
KTEST(drivers, check_acpi_rsdp_long_sum)
{
	static const uint8_t revisions[] = { 2, 3, 127, 128, 255 };

	for (unsigned i = 0; i < sizeof revisions; i++) {
		prepare(revisions[i]);
		KASSERT_EQ(found("TEST"), BY_XSDT);
		for (unsigned at = RSDP_SIZE_1; at < RSDP_SIZE_2; at++) {
			prepare(revisions[i]);
			rsdp[at] ^= 1u << at % 8;
			KASSERT_EQ(found("TEST"), BY_RSDT);
		}
	}
}

/* That of 20 bytes wrong: nothing is believed, though the one of 36 be right. */
KTEST(drivers, check_acpi_rsdp_short_sum)
{
	for (unsigned revision = 0; revision <= 3; revision++)
		for (unsigned at = RSDP_CHECKSUM; at < RSDP_SIZE_1; at++) {
			if (at == RSDP_REVISION)
				continue;
			prepare(revision);
			rsdp[at] ^= 1u << at % 8;
			seal(rsdp, RSDP_SIZE_2, RSDP_CHECKSUM_2);
			KASSERT_EQ(found("TEST"), NONE);
		}
}

/* All eight letters count. */
KTEST(drivers, check_acpi_rsdp_signature)
{
	for (unsigned revision = 0; revision <= 2; revision += 2)
		for (unsigned at = 0; at < 8; at++) {
			prepare(revision);
			rsdp[at] ^= 0x20;
			seal_rsdp();
			KASSERT_EQ(found("TEST"), NONE);
		}
}

/* Of revisions 0 and 1 nothing behind 20 bytes is looked at, right or wrong. */
KTEST(drivers, check_acpi_rsdp_old)
{
	uint32_t random = SEED;

	for (unsigned revision = 0; revision <= 1; revision++) {
		prepare(revision);
		KASSERT_EQ(found("TEST"), BY_RSDT);
		for (unsigned at = RSDP_SIZE_1; at < sizeof rsdp; at++)
			rsdp[at] = (uint8_t)next(&random);
		KASSERT_EQ(found("TEST"), BY_RSDT);
	}
}

/* At the end of what can be read, and where the lower half of the address leads to a good one. */
KTEST(drivers, check_acpi_rsdp_address)
{
	const uint64_t right = phys(rsdp);
	const uint64_t wrong[] = {
		0, right + 1, right - 1, right | GIB_4, right | 1ull << 48, right | 1ull << 63,
		GIB_4 - RSDP_SIZE_2, GIB_4 - RSDP_SIZE_1, GIB_4 - RSDP_SIZE_1 + 1, GIB_4 - 1, GIB_4,
		UINT64_MAX - RSDP_SIZE_1 + 1, UINT64_MAX,
	};

	prepare(2);
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (found_behind(wrong[i], "TEST") != NONE)
			ktest_note("address", wrong[i]);
		KASSERT_EQ(found_behind(wrong[i], "TEST"), NONE);
	}
	KASSERT_EQ(found("TEST"), BY_XSDT);
}

/* ---- entries ---- */

/* An entry that the length cuts is none, though all of it stands there. */
static int found_in_cut(uint8_t *root, unsigned whole, unsigned tail)
{
	const size_t size = root == xsdt ? XSDT_ENTRY : RSDT_ENTRY;
	const unsigned last = (root == xsdt ? BY_XSDT : BY_RSDT) + whole;

	prepare(root == xsdt ? 2 : 0);
	memcpy(tables[last], "LAST", 4);
	seal(tables[last], length_of(tables[last]), CHECKSUM);
	put(root + LENGTH, ENTRIES + size * whole + tail, 4);
	seal(root, length_of(root), CHECKSUM);
	return found("LAST");
}

KTEST(drivers, check_acpi_root_tail)
{
	for (unsigned whole = 0; whole < TABLES / 2; whole++) {
		for (unsigned tail = 0; tail < RSDT_ENTRY; tail++)
			KASSERT_EQ(found_in_cut(rsdt, whole, tail), NONE);
		KASSERT_EQ(found_in_cut(rsdt, whole, RSDT_ENTRY), BY_RSDT + whole);
		for (unsigned tail = 0; tail < XSDT_ENTRY; tail++)
			KASSERT_EQ(found_in_cut(xsdt, whole, tail), NONE);
		KASSERT_EQ(found_in_cut(xsdt, whole, XSDT_ENTRY), BY_XSDT + whole);
	}
	/* and what stands before the rest is read */
	KASSERT_EQ(found_in_cut(rsdt, 2, 3), NONE);
	KASSERT_EQ(found("TEST"), BY_RSDT);
	KASSERT_EQ(found_in_cut(xsdt, 2, 7), NONE);
	KASSERT_EQ(found("TEST"), BY_XSDT);
}

/* Entries at 4 GiB's edge and beyond, some with a good table at the lower half: the good one that comes last is found. */
KTEST(drivers, check_acpi_entries_beyond)
{
	uint64_t near[] = { GIB_4 - 1, GIB_4 - 16, GIB_4 - HEADER + 1, GIB_4 - HEADER, GIB_4 - 4, 0, 0 };
	uint64_t far[] = {
		GIB_4 - 1, GIB_4 - HEADER + 1, GIB_4 - HEADER, GIB_4, 0, 0, 0, 0, 1ull << 52, UINT64_MAX - HEADER + 1, UINT64_MAX, 0,
	};
	enum { NEAR = sizeof near / sizeof *near, FAR = sizeof far / sizeof *far };

	prepare(0);
	near[NEAR - 1] = phys(tables[2]);
	make_root(rsdt, near, NEAR);
	KASSERT_EQ(found("TEST"), 2);
	make_root(rsdt, near, NEAR - 1);
	KASSERT_EQ(found("TEST"), NONE);

	prepare(2);
	far[4] = phys(tables[1]) | GIB_4;
	far[5] = phys(tables[1]) | 1ull << 39;
	far[6] = phys(tables[1]) | 1ull << 63;
	far[7] = phys(tables[1]) | 0xffffffffull << 32;
	far[FAR - 1] = phys(tables[3]);
	make_root(xsdt, far, FAR);
	KASSERT_EQ(found("TEST"), 3);
	make_root(xsdt, far, FAR - 1);
	KASSERT_EQ(found("TEST"), NONE);
}

/* Any number of entries in any order, tables twice, of all kinds: the first sound one with that signature. */
KTEST(drivers, check_acpi_first_sound)
{
	enum { ROUNDS = 300, MOST = 12 };
	enum { SOUND, ELSE, BAD_SUM, TOO_SHORT, TOO_LONG, KINDS };
	uint32_t random = SEED;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned revision = next(&random) % 4, n = next(&random) % (MOST + 1);
		uint8_t *const root = revision >= 2 ? xsdt : rsdt;
		unsigned kinds[TABLES];
		uint64_t entries[MOST];
		int expected = NONE, expected_else = NONE;

		prepare(revision);
		memset(revision >= 2 ? rsdt : xsdt, 0, ROOM);
		for (unsigned i = 0; i < TABLES; i++) {
			kinds[i] = next(&random) % KINDS;
			switch (kinds[i]) {
			case ELSE:
				memcpy(tables[i], "ELSE", 4);
				seal(tables[i], length_of(tables[i]), CHECKSUM);
				break;
			case BAD_SUM:
				tables[i][HEADER - 1 - next(&random) % 24] ^= 1u << next(&random) % 8;
				break;
			case TOO_SHORT:
				put(tables[i] + LENGTH, 10 + next(&random) % (HEADER - 10), 4);
				seal(tables[i], length_of(tables[i]), CHECKSUM);
				break;
			case TOO_LONG:
				put(tables[i] + LENGTH, (1u << 20) + 1 + next(&random) % (1u << 31), 4);
				break;
			default:
				break;
			}
		}
		for (unsigned i = 0; i < n; i++) {
			const unsigned which = next(&random) % (TABLES + 2);

			if (which >= TABLES) {
				entries[i] = which == TABLES ? 0 : GIB_4 - 1 - next(&random) % HEADER;
				continue;
			}
			entries[i] = phys(tables[which]);
			if (kinds[which] == SOUND && expected == NONE)
				expected = (int)which;
			if (kinds[which] == ELSE && expected_else == NONE)
				expected_else = (int)which;
		}
		make_root(root, entries, n);
		if (found("TEST") != expected || found("ELSE") != expected_else)
			ktest_note("round", round);
		KASSERT_EQ(found("TEST"), expected);
		KASSERT_EQ(found("ELSE"), expected_else);
		KASSERT_EQ(found("TEST"), expected);            /* no state */
		KASSERT_EQ(found("ELS"), NONE);
	}
}

/* ---- the machine's own tables ---- */

KTEST(drivers, check_acpi_find_is_find_in)
{
	static const char signatures[][5] = { "APIC", "FACP", "HPET", "MCFG", "WAET", "NONE", "RSDT", "XSDT" };
	const uint64_t at = boot_info()->rsdp;

	KASSERT(acpi_find("APIC") != NULL);
	for (unsigned i = 0; i < sizeof signatures / sizeof *signatures; i++) {
		const void *a = acpi_find(signatures[i]), *b = acpi_find_in(at, signatures[i]), *c = acpi_find(signatures[i]);

		KASSERT_EQ(a != NULL, b != NULL);
		KASSERT_EQ(a != NULL, c != NULL);
		if (!a)
			continue;
		KASSERT_EQ(length_of(a), length_of(b));
		KASSERT_EQ(memcmp(a, b, length_of(a)), 0);
		KASSERT_EQ(memcmp(a, c, length_of(a)), 0);
	}
}

/* However much room there is: the same number, no more stored than there is room or processors. */
KTEST(drivers, check_acpi_cpus_room)
{
	enum { MOST = 64 };
	const uint32_t untouched = 0xeeeeeeee;
	static uint32_t all[MOST + 1], some[MOST + 1];
	const size_t n = acpi_cpus(all, MOST);

	KASSERT(n >= cpu_count());
	KASSERT(n < MOST);
	for (size_t max = 0; max <= n + 1; max++) {
		for (unsigned i = 0; i <= MOST; i++)
			some[i] = untouched;
		KASSERT_EQ(acpi_cpus(some, max), n);
		for (size_t i = 0; i <= MOST; i++)
			KASSERT_EQ(some[i], i < max && i < n ? all[i] : untouched);
	}
}

/* Who is online was told of, once. */
KTEST(drivers, check_acpi_cpus_online)
{
	enum { MOST = 256 };
	static uint32_t ids[MOST];
	const size_t n = acpi_cpus(ids, MOST);

	KASSERT(n <= MOST);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		unsigned times = 0;

		for (size_t i = 0; i < n; i++)
			times += ids[i] == cpu_get(cpu)->apic_id;
		KASSERT_EQ(times, 1);
	}
}

/* No ISA interrupt has such a number, whatever its lowest byte is: as numbered, flags 0. */
KTEST(drivers, check_acpi_irq_beyond)
{
	static const uint32_t shifted[] = { 0x100, 0x200, 0xff00, 0x10000, 0x1000000, 0x80000000, 0xffffff00 };
	uint32_t gsi;
	uint16_t flags;

	for (unsigned irq = 16; irq < 256; irq++) {
		gsi = 77;
		flags = 0x7777;
		acpi_irq(irq, &gsi, &flags);
		KASSERT_EQ(gsi, irq);
		KASSERT_EQ(flags, 0);
	}
	for (unsigned i = 0; i < sizeof shifted / sizeof *shifted; i++)
		for (unsigned irq = 0; irq < 16; irq++) {
			gsi = 77;
			flags = 0x7777;
			acpi_irq(shifted[i] | irq, &gsi, &flags);
			KASSERT_EQ(gsi, shifted[i] | irq);
			KASSERT_EQ(flags, 0);
		}
	acpi_irq(UINT32_MAX, &gsi, &flags);
	KASSERT_EQ(gsi, UINT32_MAX);
	KASSERT_EQ(flags, 0);
}

/* ---- mmio_map ---- */

struct look {
	const volatile uint8_t *at;
	size_t size;
	uint8_t first, last;
};

static void look(void *arg)
{
	struct look *l = arg;

	l->first = l->at[0];
	l->last = l->at[l->size - 1];
}

/* The last bytes below 4 GiB can be had, as many as are wanted, and are the same however they are. */
KTEST(drivers, check_acpi_mmio_edge)
{
	static const uint32_t sizes[] = { 1, 2, 3, 4, 16, 36, 4095, 4096, 4097, 65536 };
	struct look one = { mmio_map(GIB_4 - 1, 1), 1, 0, 0 };

	KASSERT(one.at != NULL);
	KASSERT_EQ(trap_catch(look, &one, NULL), 0);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct look l = { mmio_map(GIB_4 - sizes[i], sizes[i]), sizes[i], 0, 0 };
		struct look first = { mmio_map(GIB_4 - sizes[i], 1), 1, 0, 0 };

		KASSERT(l.at != NULL);
		KASSERT(first.at != NULL);
		KASSERT_EQ(trap_catch(look, &l, NULL), 0);
		KASSERT_EQ(trap_catch(look, &first, NULL), 0);
		KASSERT_EQ(l.last, one.last);
		KASSERT_EQ(l.first, first.first);
	}
}

/* Across, and beyond: NULL, or all of it can be read. */
KTEST(drivers, check_acpi_mmio_across)
{
	static const struct {
		uint64_t phys, size;
	} wanted[] = {
		{ GIB_4 - 1, 2 }, { GIB_4 - 4, 8 }, { GIB_4 - 4, 5 }, { GIB_4 - 4096, 4097 }, { GIB_4 - 4096, 8192 },
		{ GIB_4 - 35, 36 }, { GIB_4, 1 }, { GIB_4, 4096 }, { GIB_4 + 4095, 1 }, { 0x380000000, 4096 },
	};
	const struct look one = { mmio_map(GIB_4 - 1, 1), 1, 0, 0 };

	KASSERT(one.at != NULL);
	for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		struct look l = { mmio_map(wanted[i].phys, wanted[i].size), wanted[i].size, 0, 0 };

		if (!l.at)
			continue;
		ktest_note("mapped", wanted[i].phys);
		KASSERT_EQ(trap_catch(look, &l, NULL), 0);
		if (wanted[i].phys < GIB_4)
			KASSERT_EQ(l.at[GIB_4 - 1 - wanted[i].phys], one.at[0]);
	}
}

/* No size; sizes and addresses whose sum wraps, to the very end or past it, or into what could be read. */
KTEST(drivers, check_acpi_mmio_refuses)
{
	static const uint64_t anywhere[] = { 0, 1, 4096, 0xfec00000, GIB_4 - 1, GIB_4, 1ull << 51, UINT64_MAX };
	static const struct {
		uint64_t phys, size;
	} wraps[] = {
		{ UINT64_MAX, 1 }, { UINT64_MAX, 2 }, { UINT64_MAX, 4097 }, { UINT64_MAX, UINT64_MAX }, { 1, UINT64_MAX },
		{ 2, UINT64_MAX }, { 4096, UINT64_MAX - 4095 }, { 4097, UINT64_MAX - 4095 }, { 1ull << 63, 1ull << 63 },
		{ 0xfec00000, UINT64_MAX - 0xfec00000 + 2 }, { UINT64_MAX - 0xfff, 0x2000 },
		{ UINT64_MAX - 0xfff, GIB_4 }, { GIB_4, UINT64_MAX - GIB_4 + 2 }, { 0, UINT64_MAX },
	};

	for (unsigned i = 0; i < sizeof anywhere / sizeof *anywhere; i++)
		KASSERT(mmio_map(anywhere[i], 0) == NULL);
	for (unsigned i = 0; i < sizeof wraps / sizeof *wraps; i++) {
		if (mmio_map(wraps[i].phys, wraps[i].size))
			ktest_note("case", i);
		KASSERT(mmio_map(wraps[i].phys, wraps[i].size) == NULL);
	}
}
