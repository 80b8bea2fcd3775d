/* Further tests of drivers/mmio.c upon mm: what is RAM is found in the direct map, what is none in device_map's area,
 * and what is half of each nowhere. See spec/mm.md, "What changes in boot/ and drivers/" (row drivers/mmio.c) and
 * "Address map of the kernel", and spec/drivers.md, "mmio".
 *
 * mmio_map remembers 64 mappings for good. All tests together take these, once a boot: the registers' pages, which
 * others have too, UNUSED, RACED, the last page that the processor can address, the page behind RAM, and two pages in
 * the first MiB. But for the local APIC's none is read. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "mmio.h"
#include "string.h"

/* kernel.ld; physical, of the whole image */
extern const char __kernel_phys_start[], __kernel_phys_end[];

enum { SEED = 0x33100016, RANGES = 2 * BOOT_MEM_MAX, APIC_ID_AT = 0x20 };
#define PAGE_MASK (PAGE_SIZE - 1)
#define FIRST_MIB (1ul << 20)
#define GIB_4     (4ul << 30)
#define IOAPIC    0xFEC00000ul
#define HPET      0xFED00000ul
#define UNUSED    0xFED44000ul                          /* three pages */
#define RACED     0xFED48000ul                          /* one */

static uint8_t pages[3 * PAGE_SIZE] __attribute__((aligned(4096)));

/* Hidden from the optimiser, which would reason about array bounds and who may write there. */
static uint64_t addr(const void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value) : : "memory");
	return value;
}

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* MSR 0x1B, bits 51:12 (drivers.md, "apic, ioapic"). */
static uint64_t apic_at(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b) : "memory");
	return ((uint64_t)high << 32 | low) & 0x000FFFFFFFFFF000ul;
}

/* One past the highest address that the processor has. */
static uint64_t address_end(void)
{
	uint32_t a = 0x80000008, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return 1ul << (a & 0xff);
}

static vaddr_t map(uint64_t phys, size_t size)
{
	return (vaddr_t)mmio_map(phys, size);
}

/* ---- what the pages say where something is ---- */

static struct mm_range ram[RANGES];
static size_t ram_count;

static bool survey(void)
{
	const struct boot_info *info = boot_info();

	return memmap_normalise(info->mem, info->mem_count, ram, RANGES, &ram_count) == 0 && ram_count > 0;
}

/* One past the RAM around that byte; 0: it is none. */
static uint64_t ram_end(uint64_t at)
{
	for (size_t i = 0; i < ram_count; i++)
		if (ram[i].base <= at && at - ram[i].base < ram[i].len)
			return ram[i].base + ram[i].len;
	return 0;
}

static bool touches_ram(uint64_t first, uint64_t last)
{
	for (size_t i = 0; i < ram_count; i++)
		if (ram[i].base <= last && first < ram[i].base + ram[i].len)
			return true;
	return false;
}

/* Does an entry of the boot map touch the page that holds that byte? */
static bool is_named(uint64_t at)
{
	const struct boot_info *info = boot_info();
	const uint64_t page = at & ~PAGE_MASK;

	for (uint32_t i = 0; i < info->mem_count; i++)
		if (info->mem[i].base < page + PAGE_SIZE && page < info->mem[i].base + info->mem[i].len)
			return true;
	return false;
}

/* mm.md, "Address map": "all RAM: what memmap gives, be it managed or not … And each page of the first MiB that an
 * entry of the boot map touches, whatever its type". */
static bool is_direct(uint64_t first, uint64_t last)
{
	uint64_t end;

	for (uint64_t at = first; at <= last; at = end) {
		end = ram_end(at);
		if (!end && (at >= FIRST_MIB || !is_named(at)))
			return false;
		if (!end)
			end = (at & ~PAGE_MASK) + PAGE_SIZE;
	}
	return true;
}

enum where { NOWHERE, DIRECT, DEVICE, ANSWERS };

/* mm.md, row drivers/mmio.c: "What the direct map has … is the direct map's address; anything else is device_mapped …
 * NULL for what device_map refuses, for 0 bytes, and for a range that wraps." device_map refuses what is "above what
 * the processor's addresses reach" and what "touches a page of RAM". */
static enum where where_is(uint64_t phys, uint64_t size)
{
	const uint64_t last = phys + size - 1;

	if (!size || last < phys)
		return NOWHERE;
	if (is_direct(phys, last))
		return DIRECT;
	return last >= address_end() || touches_ram(phys, last) ? NOWHERE : DEVICE;
}

/* Is va in device_map's area, with each of its pages mapped to that of phys as the address map wants it: "RW, NX,
 * uncached, global"? */
static bool is_device(vaddr_t va, uint64_t phys, size_t size)
{
	struct pt_entry e;

	if (va < DEVICE_MAP_BASE || va >= KERNEL_BASE || size > KERNEL_BASE - va || va % PAGE_SIZE != phys % PAGE_SIZE)
		return false;
	for (vaddr_t at = va & ~PAGE_MASK; at < va + size; at += PAGE_SIZE)
		if (pt_translate(kernel_root, at, &e) || e.pa + (at - e.va) - at != phys - va ||
		    e.prot != (VM_WRITE | VM_UNCACHED | VM_GLOBAL))
			return false;
	return true;
}

/* What a call that maps nothing leaves as it is. Nobody else allocates. */
struct state {
	uint64_t leaves, total, free, low_free;
};

static int count_leaf(const struct pt_entry *e, void *count)
{
	(void)e;
	++*(uint64_t *)count;
	return 0;
}

static struct state take_state(void)
{
	struct frame_stats f;
	struct state s = { 0 };

	(void)pt_walk(kernel_root, DEVICE_MAP_BASE, KERNEL_BASE - 1, count_leaf, &s.leaves);
	frame_get_stats(&f);
	s.total = f.total;
	s.free = f.free;
	s.low_free = f.low_free;
	return s;
}

static bool state_is(const struct state *before)
{
	const struct state now = take_state();

	return !memcmp(&now, before, sizeof now);
}

/* ---- the direct map ---- */

/* "What the direct map has … is the direct map's address": a page of bss, part or several; it is the same memory. */
KTEST(drivers, check_mmio_bss)
{
	static const size_t sizes[] = { 1, 2, 7, 8, 100, 4095, 4096 };
	const uint64_t phys = addr(pages) - KERNEL_BASE;
	volatile uint8_t *const all = mmio_map(phys, sizeof pages);
	const volatile uint8_t *const own = (const volatile uint8_t *)addr(pages);

	KASSERT_EQ(all, phys_to_virt(phys));
	for (size_t at = 0; at < sizeof pages - PAGE_SIZE; at += 31)
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
			KASSERT_EQ(map(phys + at, sizes[i]), phys_to_virt(phys + at));
	for (size_t at = 0; at < sizeof pages; at += 1021) {
		all[at] = (uint8_t)(at / 1021 + 1);
		KASSERT_EQ(own[at], (uint8_t)(at / 1021 + 1));
	}
}

/* "The image at its physical address … .boot.* only in the direct map": all of it at once, and each page, those too
 * that are holes beneath stacks in the image. */
KTEST(drivers, check_mmio_image)
{
	const uint64_t start = addr(__kernel_phys_start), end = addr(__kernel_phys_end);

	KASSERT(start < end);
	KASSERT_EQ(map(start, end - start), phys_to_virt(start));
	for (uint64_t at = start; at < end; at += PAGE_SIZE)
		KASSERT_EQ(map(at, PAGE_SIZE), phys_to_virt(at));
}

/* Frames, whoever has them and when nobody has; where there is RAM above 4 GiB one from there. */
KTEST(drivers, check_mmio_frames)
{
	enum { SOME = 4, MOST = SOME + 2 };
	unsigned n = 0, wrong = 0, unfreed = 0;
	paddr_t frames[MOST];

	if (!frame_alloc(FRAME_LOW, &frames[n]))
		n++;
	for (unsigned i = 0; i < SOME; i++)
		if (!frame_alloc(0, &frames[n]))
			n++;
	if (!frame_alloc_contig(1, GIB_4 / PAGE_SIZE, 0, 0, &frames[n]))        /* none below is aligned so, but 0 */
		n++;
	for (unsigned i = 0; i < n; i++) {
		volatile uint64_t *const direct = phys_to_virt(frames[i]), *const p = mmio_map(frames[i], PAGE_SIZE);

		if (p != direct) {
			wrong++;
			continue;
		}
		direct[i] = SEED + i;
		wrong += p[i] != SEED + i;
		wrong += map(frames[i] + 8 * i, 8) != (vaddr_t)&direct[i];
	}
	for (unsigned i = 0; i < n; i++)
		unfreed += frame_free(frames[i]) != 0;
	KASSERT_EQ(unfreed, 0);
	KASSERT(n > SOME);
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < n; i++)
		KASSERT_EQ(map(frames[i] + PAGE_SIZE - 1, 1), phys_to_virt(frames[i] + PAGE_SIZE - 1));
}

/* "All RAM: what memmap gives, be it managed or not": each range whole, its ends, and parts of it. */
KTEST(drivers, check_mmio_ram)
{
	uint64_t random = SEED;

	ktest_note("seed", SEED);
	KASSERT(survey());
	for (size_t i = 0; i < ram_count; i++) {
		const uint64_t base = ram[i].base, len = ram[i].len;

		KASSERT_EQ(map(base, len), phys_to_virt(base));
		KASSERT_EQ(map(base, 1), phys_to_virt(base));
		KASSERT_EQ(map(base + len - 1, 1), phys_to_virt(base + len - 1));
		for (unsigned k = 0; k < 200; k++) {
			const uint64_t at = random_of(&random) % len, most = len - at < 65536 ? len - at : 65536;

			KASSERT_EQ(map(base + at, 1 + random_of(&random) % most), phys_to_virt(base + at));
		}
	}
}

/* "Each page of the first MiB that an entry of the boot map touches, whatever its type", the first one and firmware's
 * too; and as many in a row as there are, into RAM if that follows. */
KTEST(drivers, check_mmio_first_mib)
{
	unsigned named = 0;

	KASSERT(survey());
	for (uint64_t pa = 0; pa < FIRST_MIB; pa += PAGE_SIZE) {
		uint64_t end = pa;

		if (!is_named(pa))
			continue;
		named++;
		KASSERT_EQ(map(pa, PAGE_SIZE), phys_to_virt(pa));
		KASSERT_EQ(map(pa, 1), phys_to_virt(pa));
		KASSERT_EQ(map(pa + 5, 9), phys_to_virt(pa + 5));
		KASSERT_EQ(map(pa + PAGE_SIZE - 1, 1), phys_to_virt(pa + PAGE_SIZE - 1));
		while (end < FIRST_MIB + 2 * PAGE_SIZE && is_direct(end, end))
			end += PAGE_SIZE;
		KASSERT_EQ(map(pa + 1, end - pa - 1), phys_to_virt(pa + 1));
	}
	KASSERT(named > 0);
}

/* ---- device_map's area ---- */

/* No page of device_map's area is RAM's, and each is mapped as the address map wants it. */
static int check_leaf(const struct pt_entry *e, void *wrong)
{
	if (e->prot != (VM_WRITE | VM_UNCACHED | VM_GLOBAL) || touches_ram(e->pa, e->pa + e->size - 1))
		++*(unsigned *)wrong;
	return 0;
}

/* "After kspace the direct map has no APIC": registers are in the other area, uncached. */
KTEST(drivers, check_mmio_registers)
{
	const uint64_t at[] = { apic_at(), IOAPIC, HPET };
	struct pt_entry e;
	unsigned wrong = 0;

	KASSERT(survey());
	for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
		KASSERT(is_device(map(at[i], PAGE_SIZE), at[i], PAGE_SIZE));
		KASSERT_EQ(pt_translate(kernel_root, DIRECT_MAP_BASE + at[i], &e), -ENOENT);
	}
	KASSERT_EQ(pt_walk(kernel_root, DEVICE_MAP_BASE, KERNEL_BASE - 1, check_leaf, &wrong), 0);
	KASSERT_EQ(wrong, 0);
}

/* "What has been mapped is remembered … and given again": the same address a thousand times, no frame, no page. */
KTEST(drivers, check_mmio_again)
{
	enum { TIMES = 1000 };
	const uint64_t apic = apic_at();
	const struct {
		uint64_t phys, size;
	} wanted[] = {
		{ apic, PAGE_SIZE }, { apic + APIC_ID_AT, 4 }, { IOAPIC, 0x14 }, { HPET, 8 },
		{ HPET + PAGE_SIZE - 1, 1 }, { addr(pages) - KERNEL_BASE, 16 }, { 0, 0 },
	};
	enum { WANTED = sizeof wanted / sizeof *wanted - 1 };           /* the last is refused */
	vaddr_t got[WANTED];
	struct state before;

	for (unsigned i = 0; i < WANTED; i++) {
		got[i] = map(wanted[i].phys, wanted[i].size);
		KASSERT(got[i] != 0);
	}
	before = take_state();
	for (unsigned k = 0; k < TIMES; k++)
		for (unsigned i = 0; i <= WANTED; i++)
			KASSERT_EQ(map(wanted[i].phys, wanted[i].size), i < WANTED ? got[i] : 0);
	KASSERT(state_is(&before));
}

/* "By whole pages": a part that is asked for first, across two ends of pages, has all three; the offset within the
 * page is kept, and every other part is as far away as its registers are. */
KTEST(drivers, check_mmio_offsets)
{
	const vaddr_t page = map(IOAPIC, PAGE_SIZE), part = map(UNUSED + 0xffc, 0x1008), all = part - 0xffc;

	KASSERT(page != 0);
	KASSERT(part != 0);
	KASSERT_EQ(page % PAGE_SIZE, 0);
	for (uint64_t at = 0; at < PAGE_SIZE; at++) {
		KASSERT_EQ(map(IOAPIC + at, 1), page + at);
		KASSERT_EQ(map(IOAPIC + at, PAGE_SIZE - at), page + at);
	}
	KASSERT(is_device(all, UNUSED, sizeof pages));
	for (uint64_t at = 0; at < sizeof pages; at += 61) {
		KASSERT_EQ(map(UNUSED + at, 1), all + at);
		KASSERT_EQ(map(UNUSED + at, sizeof pages - at), all + at);
		KASSERT_EQ(map(UNUSED, at + 1), all);
	}
	KASSERT_EQ(map(UNUSED, sizeof pages), all);
}

/* "Mapped for good" (drivers.md), whoever maps the same page by device_map and unmaps his. */
KTEST(drivers, check_mmio_for_good)
{
	const vaddr_t page = map(IOAPIC, PAGE_SIZE);
	unsigned wrong = 0, unmapped = 0;
	uint64_t leaves;

	KASSERT(page != 0);
	leaves = take_state().leaves;
	for (unsigned i = 0; i < 20; i++) {
		void *mine;

		if (device_map(IOAPIC + i, i % 2 ? 4 : 2 * PAGE_SIZE, &mine)) {
			wrong++;
			continue;
		}
		wrong += mine == (void *)(page + i) || map(IOAPIC + i, 4) != page + i;
		unmapped += device_unmap(mine, i % 2 ? 4 : 2 * PAGE_SIZE) == 0;
		wrong += map(IOAPIC + i, 4) != page + i || !is_device(page, IOAPIC, PAGE_SIZE);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(unmapped, 20);
	KASSERT_EQ(take_state().leaves, leaves);
}

/* A page of firmware's that the direct map has, and its neighbour that it has not: together they are device_map's,
 * which refuses RAM only ("for each page"; "anything else is device_mapped"). The first one alone is the direct map's
 * all the same. */
KTEST(drivers, check_mmio_beside_firmware)
{
	uint64_t pa = 0;
	vaddr_t both;

	KASSERT(survey());
	while (pa < FIRST_MIB && (!is_named(pa) || ram_end(pa) || where_is(pa + PAGE_SIZE, 1) != DEVICE))
		pa += PAGE_SIZE;
	if (pa + PAGE_SIZE >= FIRST_MIB)
		KSKIP("no page in the first MiB that the boot map leaves out behind one that is no RAM");
	both = map(pa + PAGE_SIZE - 1, 2);
	KASSERT(is_device(both, pa + PAGE_SIZE - 1, 2));
	KASSERT_EQ(map(pa + PAGE_SIZE - 1, 2), both);
	KASSERT_EQ(map(pa + PAGE_SIZE, 1), both + 1);
	KASSERT_EQ(map(pa + PAGE_SIZE - 1, 1), phys_to_virt(pa + PAGE_SIZE - 1));
	KASSERT_EQ(map(pa, PAGE_SIZE), phys_to_virt(pa));
	KASSERT_EQ(map(pa, 2 * PAGE_SIZE), both - (PAGE_SIZE - 1));
}

/* ---- what cannot be had ---- */

/* device_map refuses what "touches a page of RAM": across each end of RAM, beyond which the direct map has nothing.
 * Nothing changes by it, and each half alone can be had. */
KTEST(drivers, check_mmio_halves)
{
	struct state before;
	uint64_t end;
	unsigned edges = 0;

	KASSERT(survey());
	before = take_state();
	for (size_t i = 0; i < ram_count; i++) {
		const uint64_t base = ram[i].base, len = ram[i].len;

		if (!is_direct(base + len, base + len)) {
			edges++;
			KASSERT_EQ(map(base + len - 1, 2), 0);
			KASSERT_EQ(map(base + len - PAGE_SIZE, PAGE_SIZE + 1), 0);
			KASSERT_EQ(map(base + len - PAGE_SIZE, 2 * PAGE_SIZE), 0);
			KASSERT_EQ(map(base + len - 1, 3 * PAGE_SIZE + 1), 0);
			KASSERT_EQ(map(base, len + 1), 0);
		}
		if (base && !is_direct(base - 1, base - 1)) {
			edges++;
			KASSERT_EQ(map(base - 1, 2), 0);
			KASSERT_EQ(map(base - PAGE_SIZE, PAGE_SIZE + 1), 0);
			KASSERT_EQ(map(base - PAGE_SIZE, 2 * PAGE_SIZE), 0);
			KASSERT_EQ(map(base - 1, len + 1), 0);
		}
	}
	KASSERT(state_is(&before));
	KASSERT(edges > 0);
	end = ram_end(addr(pages) - KERNEL_BASE);
	KASSERT_EQ(where_is(end, 1), DEVICE);
	KASSERT(is_device(map(end, 1), end, PAGE_SIZE));
	KASSERT_EQ(map(end - 1, 1), phys_to_virt(end - 1));
	KASSERT_EQ(map(end - 1, 2), 0);                         /* as before, now that both have been had */
}

/* "Above what the processor's addresses reach": the last page can be had, nothing behind it. Those that are refused,
 * more than are remembered, leave no trace: neither pages nor frames nor a place among the 64. One page takes two
 * tables at most: the area's entry of the root and its table are there from the start. */
KTEST(drivers, check_mmio_width)
{
	const uint64_t end = address_end(), apic = apic_at();
	const struct {
		uint64_t phys, size;
	} wanted[] = {
		{ end, 1 }, { end - 1, 2 }, { end - PAGE_SIZE, PAGE_SIZE + 1 }, { end - PAGE_SIZE, 2 * PAGE_SIZE },
		{ end - 3 * PAGE_SIZE, 4 * PAGE_SIZE }, { end, PAGE_SIZE }, { end + PAGE_SIZE, 4 }, { 2 * end - 1, 1 },
		{ apic + PAGE_SIZE - 1, end }, { apic, end - apic + 1 }, { IOAPIC, end - IOAPIC + 1 },
		{ HPET, 1ul << 62 }, { end - 1, UINT64_MAX - end }, { end | HPET, 8 },
	};
	struct state before, after;
	vaddr_t last;

	KASSERT(map(apic, PAGE_SIZE) && map(IOAPIC, PAGE_SIZE) && map(HPET, PAGE_SIZE));
	before = take_state();
	for (unsigned k = 0; k < 10; k++)
		for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
			KASSERT_EQ(map(wanted[i].phys, wanted[i].size), 0);
	KASSERT(state_is(&before));
	last = map(end - 1, 1);
	after = take_state();
	KASSERT(is_device(last, end - 1, 1));
	KASSERT(after.leaves - before.leaves <= 1);
	KASSERT(before.free - after.free <= 2);
	KASSERT_EQ(map(end - PAGE_SIZE, PAGE_SIZE), last - PAGE_MASK);
	KASSERT_EQ(map(end - 1, 2), 0);
}

/* What lies so far away that DIRECT_MAP_BASE + phys is in another area is not there, though something is mapped there:
 * it is as any address that is not RAM, here one that device_map refuses as the processor has none such. */
KTEST(drivers, check_mmio_other_areas)
{
	const vaddr_t others[] = { addr(pages), addr((const void *)address_end), map(apic_at(), PAGE_SIZE) };
	struct state before;

	KASSERT(others[2] != 0);
	before = take_state();
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		const uint64_t phys = others[i] - DIRECT_MAP_BASE;
		struct pt_entry e;

		KASSERT_EQ(pt_translate(kernel_root, DIRECT_MAP_BASE + phys, &e), 0);
		if (phys < address_end())
			continue;                               /* could be had, at the price of a mapping */
		KASSERT_EQ(map(phys, 1), 0);
		KASSERT_EQ(map(phys & ~PAGE_MASK, PAGE_SIZE), 0);
	}
	KASSERT(state_is(&before));
}

/* Anything about the ends of what there is, against where_is(); of device_map's only what has been mapped. */
KTEST(drivers, check_mmio_random)
{
	enum { ROUNDS = 6000, REGISTERS = 3 };
	const uint64_t registers[REGISTERS] = { apic_at(), IOAPIC, HPET };
	const uint64_t fixed[] = { 0xA0000, FIRST_MIB, GIB_4, address_end(), UINT64_MAX };
	enum { FIXED = sizeof fixed / sizeof *fixed };
	unsigned answers[ANSWERS] = { 0 };
	uint64_t random = SEED + 1;
	vaddr_t at[REGISTERS];
	struct state before;

	ktest_note("seed", SEED + 1);
	KASSERT(survey());
	for (unsigned i = 0; i < REGISTERS; i++) {
		at[i] = map(registers[i], PAGE_SIZE);
		KASSERT(at[i] != 0);
	}
	before = take_state();
	for (unsigned round = 0; round < ROUNDS; round++) {
		const uint64_t which = random_of(&random) % (2 * ram_count + FIXED + REGISTERS);
		const uint64_t kind = random_of(&random) % 64;
		uint64_t phys, size = random_of(&random);
		enum where expected;
		vaddr_t va = 0;

		if (which < 2 * ram_count)
			phys = ram[which / 2].base + which % 2 * ram[which / 2].len;
		else if (which < 2 * ram_count + FIXED)
			phys = fixed[which - 2 * ram_count];
		else
			phys = registers[which - 2 * ram_count - FIXED] + PAGE_SIZE / 2;
		phys += random_of(&random) % (4 * PAGE_SIZE) - 2 * PAGE_SIZE;
		if (kind < 60)
			size %= kind < 30 ? 64 : 4 * PAGE_SIZE;
		else if (kind < 62)
			size %= 4 * LARGE_PAGE_SIZE;
		expected = where_is(phys, size);
		if (expected == DIRECT)
			va = DIRECT_MAP_BASE + phys;
		for (unsigned i = 0; expected == DEVICE && i < REGISTERS; i++)
			if (phys >= registers[i] && size <= PAGE_SIZE && phys + size <= registers[i] + PAGE_SIZE)
				va = at[i] + (phys - registers[i]);
		if (expected == DEVICE && !va)
			continue;                               /* others shall have mappings, too */
		answers[expected]++;
		if (map(phys, size) != va) {
			ktest_note("round", round);
			ktest_note("phys", phys);
			ktest_note("size", size);
		}
		KASSERT_EQ(map(phys, size), va);
	}
	for (unsigned i = 0; i < ANSWERS; i++)
		KASSERT(answers[i] >= 100);
	KASSERT(state_is(&before));
}

/* ---- all processors ---- */

enum { REQUESTS = 5, LAPS = 200 };
static uint64_t requests[REQUESTS];                     /* addresses */
static vaddr_t answers_of[CPU_MAX][REQUESTS];
static uint32_t arrived, other_answers, other_ids;

/* All begin at once, or as nearly so as a bounded wait makes them; each with another request, so that they disturb
 * one another, but for RACED, which all ask for first. */
static void ask(void *arg)
{
	const unsigned me = cpu_self()->index;
	vaddr_t *const mine = answers_of[me];

	(void)arg;
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 1000000 && __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < cpu_count(); i++)
		cpu_pause();
	for (unsigned i = 0; i < REQUESTS; i++)
		mine[i] = map(requests[i], 16);
	for (unsigned lap = 0; lap < LAPS; lap++) {
		const unsigned i = (lap + me) % REQUESTS;

		if (map(requests[i], 16) != mine[i] || map(requests[i], 0) != 0)
			__atomic_fetch_add(&other_answers, 1, __ATOMIC_SEQ_CST);
	}
	if (mine[1] && *(const volatile uint32_t *)mine[1] >> 24 != cpu_self()->apic_id)
		__atomic_fetch_add(&other_ids, 1, __ATOMIC_SEQ_CST);
}

static int count_raced(const struct pt_entry *e, void *count)
{
	*(unsigned *)count += e->pa <= RACED && RACED - e->pa < e->size;
	return 0;
}

/* They get the same address, though all ask for a new page at once, which is mapped once; and what one has mapped all
 * can use: each finds its own APIC there. */
KTEST(drivers, check_mmio_all_processors)
{
	unsigned raced = 0;

	requests[0] = RACED + 0x123;
	requests[1] = apic_at() + APIC_ID_AT;
	requests[2] = addr(pages) - KERNEL_BASE + 0xffa;
	requests[3] = IOAPIC;
	requests[4] = HPET + 0xff0;
	arrived = other_answers = other_ids = 0;
	memset(answers_of, 0, sizeof answers_of);
	KASSERT_EQ(cpu_on_each(ask, NULL), 0);
	KASSERT_EQ(other_answers, 0);
	KASSERT_EQ(other_ids, 0);
	for (unsigned i = 0; i < REQUESTS; i++) {
		KASSERT(answers_of[0][i] != 0);
		for (unsigned cpu = 1; cpu < cpu_count(); cpu++)
			KASSERT_EQ(answers_of[cpu][i], answers_of[0][i]);
		if (i != 2)
			KASSERT(is_device(answers_of[0][i], requests[i], 16));
	}
	KASSERT_EQ(answers_of[0][2], phys_to_virt(requests[2]));
	KASSERT_EQ(pt_walk(kernel_root, DEVICE_MAP_BASE, KERNEL_BASE - 1, count_raced, &raced), 0);
	KASSERT_EQ(raced, 1);
}
