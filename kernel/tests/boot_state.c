/* The state that boot leaves, beyond its acceptance: what each level of init functions ran on, every entry of the boot
 * page tables, boot_info()'s constancy, and the windows on memory as they are used. */
#include "boot.h"
#include "harness.h"
#include "string.h"

/* kernel.ld; the first two are physical addresses */
extern const char __boot_start[], __boot_end[];
extern const char __text_start[], __text_end[], __rodata_end[], __bss_start[], __bss_end[];

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_)); value_; })

enum {
	LEVELS = 10, PAGE = 4096, ENTRIES = 512, DIRECTORIES = 4,
	IF = 1 << 9, DF = 1 << 10,
};

/* of page table entries */
#define ADDRESS    0x000ffffffffff000ull
#define SET_BY_CPU 0x60ull              /* accessed, dirty */

/* Hidden from the optimiser, which would reason about array bounds. */
static uint64_t addr(const volatile void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value));
	return value;
}

static const volatile void *image(uint64_t phys)
{
	return (const volatile void *)(KERNEL_BASE + phys);
}

static volatile void *direct_alias(const volatile void *object)
{
	return (volatile void *)(DIRECT_MAP_BASE + (addr(object) - KERNEL_BASE));
}

/* ---- what init functions saw: on the boot stack and, at the first level, the boot page tables ---- */

static struct {
	unsigned runs;
	bool on_stack, chain_ends;
	uint64_t flags;
} seen[LEVELS];

static struct {
	const struct boot_info *info;
	struct boot_info content;
	uint64_t cr3;
	unsigned bad_pml4, bad_low, bad_high, bad_pages;        /* entries */
	unsigned notes, bad_notes;
	uint16_t ds, es, ss;
} early;

static bool in_boot_stack(uint64_t address)
{
	return address >= addr(boot_stack_bottom) && address < addr(boot_stack_top);
}

static void look(unsigned level)
{
	const uint64_t *frame = __builtin_frame_address(0);

	seen[level].runs++;
	seen[level].flags = READ("pushfq; pop %0");
	seen[level].on_stack = in_boot_stack((uint64_t)frame);
	for (unsigned i = 0; i < 64 && in_boot_stack((uint64_t)frame) && frame[0] > (uint64_t)frame; i++)
		frame = (const uint64_t *)frame[0];
	/* kernel_main's: just below its return address at the top of the stack */
	seen[level].chain_ends = (uint64_t)frame == addr(boot_stack_top) - 16 && frame[0] == 0;
}

#define PROBE(level) \
	static void probe_##level(void) { look(level); } \
	INIT(level, probe_##level)

PROBE(0);
PROBE(1);
PROBE(2);
PROBE(3);
PROBE(4);
PROBE(5);
PROBE(6);
PROBE(7);
PROBE(8);
PROBE(9);

/* The page table that an entry (or CR3) points to, through the image's window; NULL if it is not in .boot.bss. */
static const volatile uint64_t *table(uint64_t entry)
{
	const uint64_t phys = entry & ADDRESS;

	return phys >= addr(__boot_start) && phys < addr(__boot_end) ? image(phys) : NULL;
}

/* How many of a table's entries are not 0, from the given one to the last. */
static unsigned used(const volatile uint64_t *entries, unsigned from)
{
	unsigned n = 0;

	for (unsigned i = from; i < ENTRIES; i++)
		n += entries[i] != 0;
	return n;
}

static bool is_table(uint64_t entry)
{
	return (entry & ~ADDRESS & ~SET_BY_CPU) == 3 && table(entry);
}

static bool same(uint64_t a, uint64_t b)
{
	return (a & ~SET_BY_CPU) == (b & ~SET_BY_CPU);
}

/* Step 1 of the page, entry by entry. What cannot be found counts as bad as a whole. */
static void look_at_tables(void)
{
	const volatile uint64_t *pml4, *low, *high;

	early.cr3 = READ("mov %%cr3, %0");
	early.bad_pml4 = early.bad_low = early.bad_high = ENTRIES;
	early.bad_pages = DIRECTORIES * ENTRIES;
	pml4 = table(early.cr3);
	if (!pml4 || !is_table(pml4[0]) || !is_table(pml4[511]))
		return;
	low = table(pml4[0]);
	high = table(pml4[511]);
	early.bad_pml4 = !same(pml4[0], pml4[256]) + used(pml4, 1) - (pml4[256] != 0) - 1;
	early.bad_low = used(low, DIRECTORIES);
	early.bad_high = !same(high[510], low[0]) + used(high, 0) - (high[510] != 0);
	early.bad_pages = 0;
	for (uint64_t i = 0; i < DIRECTORIES; i++) {
		const volatile uint64_t *pages = is_table(low[i]) ? table(low[i]) : NULL;

		for (uint64_t j = 0; j < ENTRIES; j++)
			early.bad_pages += !pages || !same(pages[j], (i * ENTRIES + j) * 0x200000 | 0x83);
	}
}

/* The PVH note is loaded with the low part of the image, 4-byte aligned. */
static void look_for_notes(void)
{
	for (uint64_t phys = addr(__boot_start); phys + 24 <= addr(__boot_end); phys += 4) {
		const volatile uint32_t *note = image(phys);

		if (note[0] != 4 || note[2] != 18 || note[3] != 0x006e6558)
			continue;
		early.notes++;
		early.bad_notes += note[1] != 8 || note[5] != 0 ||
				   note[4] < addr(__boot_start) || note[4] >= addr(__boot_end);
	}
}

static void look_early(void)
{
	early.info = boot_info();
	memcpy(&early.content, early.info, sizeof early.content);
	early.ds = (uint16_t)READ("mov %%ds, %0");
	early.es = (uint16_t)READ("mov %%es, %0");
	early.ss = (uint16_t)READ("mov %%ss, %0");
	look_at_tables();
	look_for_notes();
}

INIT(INIT_EARLY, look_early);

/* ---- boot_info ---- */

KTEST(boot, check_state_info_pointer)
{
	const struct boot_info *info = boot_info();

	KASSERT(info != NULL);
	KASSERT_EQ(early.info, info);
	for (unsigned i = 0; i < 3; i++)
		KASSERT_EQ(boot_info(), info);
}

/* Complete before init_run(), and the same ever since. */
KTEST(boot, check_state_info_constant)
{
	KASSERT(early.content.mem_count > 0);
	KASSERT_EQ(memcmp(&early.content, boot_info(), sizeof early.content), 0);
}

KTEST(boot, check_state_info_fields)
{
	const struct boot_info *info = boot_info();

	KASSERT(strnlen(info->cmdline, BOOT_CMDLINE_SIZE) < BOOT_CMDLINE_SIZE);
	KASSERT(info->mem_count <= BOOT_MEM_MAX);
	KASSERT(info->module_count <= BOOT_MODULES_MAX);
	for (uint32_t i = 0; i < info->mem_count; i++)
		KASSERT_EQ(info->mem[i].zero, 0);
}

/* ---- the boot stack and what runs on it ---- */

KTEST(boot, check_state_stack_place)
{
	const uint64_t bottom = addr(boot_stack_bottom), top = addr(boot_stack_top);

	KASSERT_EQ(top - bottom, BOOT_STACK_SIZE);
	KASSERT_EQ(bottom % PAGE, 0);
	KASSERT_EQ(top % PAGE, 0);
	KASSERT(bottom >= addr(__bss_start));
	KASSERT(top <= addr(__bss_end));
}

/* Entry code called kernel_main with RSP = boot_stack_top, and has `ud2` after the call. */
KTEST(boot, check_state_stack_top)
{
	const uint64_t back = ((const volatile uint64_t *)addr(boot_stack_top))[-1];
	const volatile uint8_t *code = (const volatile uint8_t *)back;

	KASSERT(back >= addr(__text_start));
	KASSERT(back + 2 <= addr(__text_end));
	KASSERT_EQ(code[0], 0x0f);
	KASSERT_EQ(code[1], 0x0b);
}

/* Init functions of every level ran once, on the boot stack; the chain of saved RBPs ended with kernel_main's 0. */
KTEST(boot, check_state_init_stack)
{
	for (unsigned level = 0; level < LEVELS; level++) {
		if (seen[level].runs != 1 || !seen[level].on_stack || !seen[level].chain_ends)
			ktest_note("level", level);
		KASSERT_EQ(seen[level].runs, 1);
		KASSERT(seen[level].on_stack);
		KASSERT(seen[level].chain_ends);
	}
}

/* Interrupts are off at levels 0 to 3; the direction flag is clear in all C code. */
KTEST(boot, check_state_init_flags)
{
	for (unsigned level = 0; level < LEVELS; level++) {
		if (level <= 3)
			KASSERT_EQ(seen[level].flags & IF, 0);
		KASSERT_EQ(seen[level].flags & DF, 0);
	}
}

/* ---- segments ---- */

/* Privilege level of the descriptor that a selector names; the harness's acceptance has it within the table. */
static unsigned descriptor_level(uint64_t selector)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdt;

	__asm__ volatile("sgdt %0" : "=m"(gdt));
	if ((selector | 7) > gdt.limit)
		return 4;
	return *(const volatile uint64_t *)(gdt.base + (selector & 0xfff8)) >> 45 & 3;
}

/* Bits 0 to 2 of a selector: privilege 0, in the GDT. */
KTEST(boot, check_state_segments)
{
	const uint64_t selectors[] = {
		READ("mov %%cs, %0") & 0xffff, READ("mov %%ss, %0") & 0xffff,
		READ("mov %%ds, %0") & 0xffff, READ("mov %%es, %0") & 0xffff,
	};

	for (unsigned i = 0; i < 4; i++) {
		KASSERT_EQ(selectors[i] & 7, 0);
		KASSERT_EQ(descriptor_level(selectors[i]), 0);
	}
	KASSERT_EQ(READ("mov %%fs, %0") & 0xffff, 0);
	KASSERT_EQ(READ("mov %%gs, %0") & 0xffff, 0);
}

/* As entry code left them. */
KTEST(boot, check_state_segments_early)
{
	KASSERT_EQ(early.ds, 0x10);
	KASSERT_EQ(early.es, 0x10);
	KASSERT_EQ(early.ss, 0x10);
}

/* ---- the boot page tables, when init began ---- */

/* The three upper tables: nothing in them but what the page lists, and the direct map is the low map's own table. */
KTEST(boot, check_state_tables_upper)
{
	KASSERT_EQ(early.cr3 % PAGE, 0);
	KASSERT_EQ(early.bad_pml4, 0);
	KASSERT_EQ(early.bad_low, 0);
	KASSERT_EQ(early.bad_high, 0);
}

/* All 2048 pages of 2 MiB: each where it belongs, present, writable, large, nothing else. */
KTEST(boot, check_state_tables_pages)
{
	KASSERT_EQ(early.bad_pages, 0);
}

/* ---- the image through its window and through the direct map ---- */

static volatile uint64_t in_bss[3 * PAGE / 8];
static volatile uint64_t in_data[16] = { 0x64617461, 1, 2, 3 };

/* Writes through one address, reads through the other; the words that differ. What was there is put back. */
static unsigned differing(volatile uint64_t *to, const volatile uint64_t *from, unsigned words, uint64_t salt)
{
	unsigned n = 0;

	for (unsigned i = 0; i < words; i++) {
		const uint64_t old = to[i], value = (i + 1) * 0x9e3779b97f4a7c15 ^ salt;

		n += from[i] != old;
		to[i] = value;
		n += from[i] != value;
		to[i] = ~value;
		n += from[i] != ~value;
		to[i] = old;
		n += from[i] != old;
	}
	return n;
}

KTEST(boot, check_state_windows_bss)
{
	volatile uint64_t *alias = direct_alias(in_bss);
	const unsigned words = sizeof in_bss / sizeof *in_bss;
	const unsigned down = differing(in_bss, alias, words, 0), up = differing(alias, in_bss, words, UINT64_MAX);

	KASSERT_EQ(down, 0);
	KASSERT_EQ(up, 0);
	for (unsigned i = 0; i < words; i++)
		KASSERT_EQ(in_bss[i], 0);
}

KTEST(boot, check_state_windows_data)
{
	volatile uint64_t *alias = direct_alias(in_data);
	const unsigned words = sizeof in_data / sizeof *in_data;
	const unsigned down = differing(in_data, alias, words, 0), up = differing(alias, in_data, words, UINT64_MAX);

	KASSERT_EQ(down, 0);
	KASSERT_EQ(up, 0);
	KASSERT_EQ(alias[0], 0x64617461);
	KASSERT_EQ(alias[3], 3);
}

/* Text and constants, all of them, are the same through both. */
KTEST(boot, check_state_windows_image)
{
	const volatile uint64_t *at = (const volatile uint64_t *)addr(__text_start), *alias = direct_alias(at);
	const uint64_t words = (addr(__rodata_end) - addr(__text_start)) / 8;
	uint64_t differ = 0;

	for (uint64_t i = 0; i < words; i++)
		differ += at[i] != alias[i];
	KASSERT(words >= PAGE / 8);
	KASSERT_EQ(differ, 0);
}

/* ---- the image ---- */

/* One PVH note, its fields as the page has them, its entry in the low part. */
KTEST(boot, check_state_note)
{
	KASSERT_EQ(early.notes, 1);
	KASSERT_EQ(early.bad_notes, 0);
}
