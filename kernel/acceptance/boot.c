/* Acceptance of boot/: the state that the boot code leaves to everything after it. See spec/boot.md. */
#include "boot.h"
#include "errno.h"
#include "internal.h"

/* ---- reading the processor ---- */

struct descriptor_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_)); value_; })

static uint64_t read_flags(void)
{
	return READ("pushfq; pop %0");
}

static struct descriptor_register read_gdtr(void)
{
	struct descriptor_register r;

	__asm__ volatile("sgdt %0" : "=m"(r));
	return r;
}

static struct descriptor_register read_idtr(void)
{
	struct descriptor_register r;

	__asm__ volatile("sidt %0" : "=m"(r));
	return r;
}

/* The 8-byte descriptor that a selector names; 0 for one that is null, local or outside the table. */
static uint64_t descriptor(uint16_t selector)
{
	const struct descriptor_register gdt = read_gdtr();

	if (selector < 8 || (selector & 4) || (selector | 7u) > gdt.limit)
		return 0;
	return *(const volatile uint64_t *)(gdt.base + (selector & ~7u));
}

static unsigned bit(uint64_t value, unsigned number)
{
	return value >> number & 1;
}

/* ---- what the first init function saw: on the boot stack and the boot page tables, whatever comes later ---- */

#define UPPER_HALF 0xFFFF800000000000ull
#define NOT_MAPPED UINT64_MAX

static const struct {
	uint64_t base, size;
} windows[] = {
	{ 0, 4ull << 30 },
	{ DIRECT_MAP_BASE, 4ull << 30 },
	{ KERNEL_BASE, 1ull << 30 },
};

enum { WINDOWS = sizeof windows / sizeof *windows };

static struct {
	uintptr_t frame;
	unsigned chain_depth, chain_foreign, chain_broken;
	uint64_t flags;
	uint64_t first[WINDOWS], last[WINDOWS];
} early;

/* The physical address that boot's page tables give to a virtual one if every level is present, writable and
 * the supervisor's. The tables themselves are part of the image and read through the kernel's window. */
static uint64_t translate(uint64_t va)
{
	enum { PRESENT = 1, WRITABLE = 2, USER = 4, LARGE = 1 << 7 };
	const uint64_t address = 0x000FFFFFFFFFF000;
	uint64_t entry = READ("mov %%cr3, %0");

	for (int shift = 39; shift >= 12; shift -= 9) {
		const uint64_t offset = va & ((1ull << shift) - 1);

		if ((entry & address) >= harness_addr(__kernel_phys_end))
			return NOT_MAPPED;
		entry = ((const volatile uint64_t *)(KERNEL_VIRT_BASE + (entry & address)))[va >> shift & 511];
		if ((entry & (PRESENT | WRITABLE | USER)) != (PRESENT | WRITABLE))
			return NOT_MAPPED;
		if (shift == 12 || (shift < 39 && entry & LARGE))
			return (entry & address & ~((1ull << shift) - 1)) | offset;
	}
	return NOT_MAPPED;
}

static void look_early(void)
{
	const uintptr_t bottom = harness_addr(boot_stack_bottom), top = harness_addr(boot_stack_top);
	const uintptr_t *frame = __builtin_frame_address(0);

	early.frame = (uintptr_t)frame;
	early.flags = read_flags();
	while (frame && !early.chain_broken && early.chain_depth < 64) {
		const uintptr_t next = frame[0], caller = frame[1];

		early.chain_depth++;
		early.chain_foreign += caller < harness_addr(__text_start) || caller >= harness_addr(__text_end);
		early.chain_broken += next && (next <= (uintptr_t)frame || next <= bottom || next > top - 16);
		frame = (const uintptr_t *)next;
	}
	for (unsigned i = 0; i < WINDOWS; i++) {
		early.first[i] = translate(windows[i].base + 0x1000);
		early.last[i] = translate(windows[i].base + windows[i].size - 0x1000);
	}
}

INIT(INIT_EARLY, look_early);

/* ---- the processor's state ---- */

enum { DESC_WRITABLE = 41, DESC_CODE = 43, DESC_NOT_SYSTEM = 44, DESC_PRESENT = 47, DESC_LONG = 53, DESC_BIG = 54 };

KTEST(boot, long_mode)
{
	const uint64_t efer = read_msr(0xC0000080);
	const uint64_t code = descriptor((uint16_t)READ("mov %%cs, %0"));

	KASSERT_EQ(bit(efer, 8), 1);            /* LME */
	KASSERT_EQ(bit(efer, 10), 1);           /* LMA */
	KASSERT_EQ(bit(code, DESC_LONG), 1);
	KASSERT_EQ(bit(code, DESC_BIG), 0);
}

KTEST(boot, paging)
{
	const uint64_t cr0 = READ("mov %%cr0, %0"), cr4 = READ("mov %%cr4, %0");

	KASSERT_EQ(bit(cr0, 0), 1);             /* PE */
	KASSERT_EQ(bit(cr0, 16), 1);            /* WP: the kernel cannot write to read-only pages either */
	KASSERT_EQ(bit(cr0, 31), 1);            /* PG */
	KASSERT_EQ(bit(cr4, 5), 1);             /* PAE */
	KASSERT_EQ(bit(cr4, 12), 0);            /* LA57: four levels */
}

/* Selectors that still work when the low mapping is gone: the table is in the high half. */
KTEST(boot, gdt)
{
	const uint16_t cs = (uint16_t)READ("mov %%cs, %0"), ss = (uint16_t)READ("mov %%ss, %0");
	const uint16_t ds = (uint16_t)READ("mov %%ds, %0"), es = (uint16_t)READ("mov %%es, %0");
	const uint16_t other[] = { ds, es };
	const struct descriptor_register gdt = read_gdtr();

	KASSERT(gdt.base >= UPPER_HALF);
	KASSERT(gdt.limit >= 23);
	KASSERT_EQ((gdt.limit + 1) % 8, 0);
	KASSERT_EQ(*(const volatile uint64_t *)gdt.base, 0);

	KASSERT_EQ(cs & 3, 0);
	KASSERT_EQ(bit(descriptor(cs), DESC_PRESENT), 1);
	KASSERT_EQ(bit(descriptor(cs), DESC_NOT_SYSTEM), 1);
	KASSERT_EQ(bit(descriptor(cs), DESC_CODE), 1);

	KASSERT_EQ(bit(descriptor(ss), DESC_PRESENT), 1);
	KASSERT_EQ(bit(descriptor(ss), DESC_NOT_SYSTEM), 1);
	KASSERT_EQ(bit(descriptor(ss), DESC_CODE), 0);
	KASSERT_EQ(bit(descriptor(ss), DESC_WRITABLE), 1);

	for (unsigned i = 0; i < 2; i++)
		if (other[i]) {
			KASSERT_EQ(bit(descriptor(other[i]), DESC_PRESENT), 1);
			KASSERT_EQ(bit(descriptor(other[i]), DESC_CODE), 0);
		}
}

KTEST(boot, interrupts)
{
	const uint64_t flags = read_flags();

	KASSERT_EQ(bit(early.flags, 9), 0);     /* IF: off until somebody has made an IDT */
	KASSERT_EQ(bit(early.flags, 10), 0);    /* DF: as the ABI wants it */
	KASSERT_EQ(bit(flags, 10), 0);
	if (bit(flags, 9)) {
		const struct descriptor_register idt = read_idtr();

		KASSERT_EQ(idt.limit, 256 * 16 - 1);
		KASSERT(idt.base >= UPPER_HALF);
	}
}

/* The three windows of the boot page tables, at their first and last page. */
KTEST(boot, page_tables)
{
	for (unsigned i = 0; i < WINDOWS; i++) {
		KASSERT_EQ(early.first[i], 0x1000);
		KASSERT_EQ(early.last[i], windows[i].size - 0x1000);
	}
}

/* ---- memory as the image wants it ---- */

KTEST(boot, bss_zeroed)
{
	for (int i = 0; i < HARNESS_CANARY; i++) {
		KASSERT_EQ(harness_bss_head[i], 0);
		KASSERT_EQ(harness_bss_tail[i], 0);
	}
}

/* Every page of text, constants and data can be read; the canary at the end of bss can be written. */
KTEST(boot, image_mapped)
{
	const uintptr_t start = harness_addr(__text_start), end = harness_addr(__data_end);
	unsigned pages = 0;

	for (uintptr_t page = start; page < end; page += 4096, pages++)
		(void)*(const volatile uint8_t *)page;
	KASSERT_EQ(pages, (end - start) / 4096);

	harness_bss_tail[HARNESS_CANARY - 1] = 0x3c;
	KASSERT_EQ(harness_bss_tail[HARNESS_CANARY - 1], 0x3c);
	harness_bss_tail[HARNESS_CANARY - 1] = 0;
}

KTEST(boot, stack)
{
	const uintptr_t bottom = harness_addr(boot_stack_bottom), top = harness_addr(boot_stack_top);
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	KASSERT(bottom >= harness_addr(__data_start));
	KASSERT(top <= harness_addr(__bss_end));
	KASSERT_EQ(top % 16, 0);
	KASSERT(top >= bottom + 16384);
	KASSERT(early.frame > bottom);
	KASSERT(early.frame < top);
	KASSERT_EQ(early.frame % 16, 0);        /* call left RSP at 8 modulo 16, push rbp made it 0 */
	KASSERT_EQ(here % 16, 0);
}

/* RBP led from the first init function to a 0 that the entry code put there, within the boot stack; every
 * return address on the way was ours, at its high address. */
KTEST(boot, frame_chain)
{
	KASSERT_EQ(early.chain_foreign, 0);
	KASSERT_EQ(early.chain_broken, 0);
	KASSERT(early.chain_depth >= 3);        /* the init function, init_run, kernel_main */
}

KTEST(boot, init_once)
{
	KASSERT_EQ(harness_init_count, 10);
	for (unsigned i = 0; i < 10; i++)
		KASSERT_EQ(harness_init_seen[i], i);
}

/* ---- what boot_info says, against what QEMU says ---- */

KTEST(boot, path)
{
	const bool direct = fw_cfg_number(FW_CFG_KERNEL_SIZE, 4) != 0;

	KASSERT(boot_info() != NULL);
	KASSERT_EQ(boot_info()->path, direct ? BOOT_PATH_PVH : BOOT_PATH_MULTIBOOT2);
}

KTEST(boot, command_line)
{
	static char expected[BOOT_CMDLINE_SIZE];
	const uint64_t size = fw_cfg_number(FW_CFG_CMDLINE_SIZE, 4);

	KASSERT(boot_info()->cmdline[BOOT_CMDLINE_SIZE - 1] == 0);
	if (fw_cfg_number(FW_CFG_KERNEL_SIZE, 4) == 0) {
		/* The disk's loader has it in itself, and GRUB's configuration is the Makefile's. */
		KASSERT_STREQ(boot_info()->cmdline, "console=com1 auton");
		return;
	}
	fw_cfg_bytes(FW_CFG_CMDLINE_DATA, expected, size < sizeof expected ? size : sizeof expected - 1);
	KASSERT_STREQ(boot_info()->cmdline, expected);
}

/* Once there are drivers it tells where firmware's memory is; the direct map has no more than RAM when memory is managed. */
volatile void *mmio_map(uint64_t phys, size_t size) __attribute__((weak));

static const volatile uint8_t *firmware(uint64_t phys, size_t size)
{
	return mmio_map ? mmio_map(phys, size) : (const volatile uint8_t *)(DIRECT_MAP_BASE + phys);
}

static uint8_t sum(uint64_t phys, uint64_t bytes)
{
	const volatile uint8_t *at = firmware(phys, bytes);
	uint8_t s = 0;

	for (uint64_t i = 0; i < bytes; i++)
		s = (uint8_t)(s + at[i]);
	return s;
}

static uint32_t word(uint64_t phys)
{
	return *(const volatile uint32_t *)firmware(phys, 4);
}

/* Every path tells where ACPI's tables are: the pointer's sum is 0, so is that of the table it leads to, and of those behind. */
KTEST(boot, rsdp)
{
	const uint64_t rsdp = boot_info()->rsdp, root = rsdp ? word(rsdp + 16) : 0;

	KASSERT(rsdp != 0);
	KASSERT(rsdp < (4ull << 30) - 36);
	if (boot_info()->path == BOOT_PATH_MULTIBOOT2) {        /* the loader's copy is in memory that will be used for something else */
		KASSERT(rsdp >= harness_addr(__kernel_phys_start));
		KASSERT(rsdp < harness_addr(__kernel_phys_end));
	}
	KASSERT_EQ(word(rsdp), 0x20445352);             /* "RSD " */
	KASSERT_EQ(word(rsdp + 4), 0x20525450);         /* "PTR " */
	KASSERT_EQ(sum(rsdp, 20), 0);
	KASSERT(root != 0);
	KASSERT_EQ(word(root), 0x54445352);             /* "RSDT" */
	KASSERT(word(root + 4) >= 36 + 4);
	KASSERT(word(root + 4) <= 4096);
	KASSERT_EQ(sum(root, word(root + 4)), 0);
	for (uint32_t at = 36; at + 4 <= word(root + 4); at += 4) {
		const uint64_t table = word(root + at);

		KASSERT(word(table + 4) >= 36);
		KASSERT(word(table + 4) <= 1 << 20);
		KASSERT_EQ(sum(table, word(table + 4)), 0);
	}
}

KTEST(boot, memory_map)
{
	const struct boot_info *info = boot_info();

	KASSERT(info->mem_count >= 2);
	KASSERT(info->mem_count <= BOOT_MEM_MAX);
	for (uint32_t i = 0; i < info->mem_count; i++) {
		const struct boot_mem *r = &info->mem[i];

		KASSERT(r->len > 0);
		KASSERT(r->base + r->len > r->base);
		KASSERT(r->type >= BOOT_MEM_USABLE);
		KASSERT(r->type <= BOOT_MEM_BAD);
		if (i)                          /* ascending, nothing twice */
			KASSERT(r->base >= r[-1].base + r[-1].len);
	}
}

KTEST(boot, memory_total)
{
	const uint64_t ram = fw_cfg_number(FW_CFG_RAM_SIZE, 8), usable = boot_usable_bytes(boot_info());
	uint64_t sum = 0;

	for (uint32_t i = 0; i < boot_info()->mem_count; i++)
		if (boot_info()->mem[i].type == BOOT_MEM_USABLE)
			sum += boot_info()->mem[i].len;
	KASSERT_EQ(usable, sum);
	KASSERT(usable <= ram);
	KASSERT(usable + (4 << 20) >= ram);     /* firmware keeps less than 4 MiB */
}

KTEST(boot, memory_types)
{
	const struct boot_info *info = boot_info();
	const uint64_t image = harness_addr(__kernel_phys_start), image_end = harness_addr(__kernel_phys_end);
	unsigned holds_image = 0;

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const struct boot_mem *r = &info->mem[i];

		if (r->type != BOOT_MEM_USABLE)
			continue;
		holds_image += r->base <= image && image_end <= r->base + r->len;
		KASSERT(r->base >= 0x100000 || r->base + r->len <= 0xA0000);   /* video memory and ROMs */
	}
	KASSERT_EQ(holds_image, 1);
}

KTEST(boot, modules)
{
	const uint64_t size = fw_cfg_number(FW_CFG_INITRD_SIZE, 4);     /* 0 for a loader of its own: it has none either */

	KASSERT_EQ(boot_info()->module_count, size != 0);
	if (size)
		KASSERT_EQ(boot_info()->modules[0].len, size);
}

/* From power-on to the first test, firmware included, in instructions where they are counted. The levels at which hardware is
 * waited for do not count: there the clock is measured, and processors are given the time they need. */
KTEST(boot, start_cost)
{
	enum { CEILING = 3000000 };
	uint64_t cost = harness_ready_ticks - harness_level_ticks[INIT_DEVICES] - harness_level_ticks[INIT_SMP];

	/* Elsewhere there is nothing to say: ticks are time there, or a loader's. */
	if (!harness_counting() || fw_cfg_number(FW_CFG_KERNEL_SIZE, 4) == 0 || fw_cfg_number(FW_CFG_RAM_SIZE, 8) > 128ull << 20)
		return;
	ktest_note("instructions", cost);
	KASSERT(cost <= CEILING);
}

/* ---- what odd and bad start information gets ---- */

struct memmap_entry {
	uint64_t base, len;
	uint32_t type, reserved;
};

struct module_entry {
	uint64_t base, len, cmdline, reserved;
};

static struct {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_count, reserved;
} start;
static struct memmap_entry memmap[BOOT_MEM_MAX + 2];
static struct module_entry modules[BOOT_MODULES_MAX + 1];
static char cmdline[BOOT_CMDLINE_SIZE + 8];
static struct boot_info parsed, untouched;

static uint64_t phys(const void *image_object)
{
	return harness_addr(image_object) - KERNEL_VIRT_BASE;
}

/* Acceptable start information: `entries` one-page entries of usable memory, `count` modules, no command line. */
static void make_start(uint32_t entries, uint32_t count)
{
	harness_memset(&parsed, 0x5a, sizeof parsed);
	harness_memset(&untouched, 0x5a, sizeof untouched);
	for (uint32_t i = 0; i < BOOT_MEM_MAX + 2; i++)
		memmap[i] = (struct memmap_entry){ 0x1000ull * i, 0x1000, BOOT_MEM_USABLE, 0 };
	for (uint32_t i = 0; i < BOOT_MODULES_MAX + 1; i++)
		modules[i] = (struct module_entry){ 0x100000ull * (i + 1), i + 1, 0, 0 };
	start.magic = 0x336ec578;
	start.version = 1;
	start.flags = 0;
	start.module_count = count;
	start.modules = phys(modules);
	start.cmdline = 0;
	start.rsdp = 0x123450;
	start.memmap = phys(memmap);
	start.memmap_count = entries;
}

static bool is_untouched(void)
{
	return harness_memcmp(&parsed, &untouched, sizeof parsed) == 0;
}

KTEST(boot, pvh_refuses)
{
	make_start(1, 0);
	KASSERT_EQ(pvh_parse(NULL, &parsed), -EINVAL);
	start.magic ^= 1;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EINVAL);
	make_start(0, 0);
	KASSERT_EQ(pvh_parse(&start, &parsed), -ENOENT);        /* no entries */
	make_start(1, 0);
	start.memmap = 0;
	KASSERT_EQ(pvh_parse(&start, &parsed), -ENOENT);        /* no map */
	make_start(1, 0);
	start.version = 0;
	KASSERT_EQ(pvh_parse(&start, &parsed), -ENOENT);        /* a version without one */
	KASSERT(is_untouched());
}

/* Only the first 4 GiB are mapped: an object that is not all below is refused before it is read. */
KTEST(boot, pvh_out_of_reach)
{
	const uint64_t limit = 4ull << 30;

	make_start(2, 0);
	start.memmap = limit - sizeof *memmap;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EFAULT);
	start.memmap = 1ull << 40;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EFAULT);
	start.memmap = UINT64_MAX - 8;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EFAULT);
	make_start(1, 1);
	start.modules = limit;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EFAULT);
	make_start(1, 0);
	start.cmdline = limit;
	KASSERT_EQ(pvh_parse(&start, &parsed), -EFAULT);
	KASSERT(is_untouched());
}

KTEST(boot, pvh_memory_map)
{
	static const struct memmap_entry given[] = {
		{ 0x500000, 0x1000, BOOT_MEM_USABLE, 0 },
		{ 0x100000, 0x2000, BOOT_MEM_RESERVED, 7 },
		{ 0x700000, 0, BOOT_MEM_USABLE, 0 },                    /* empty: dropped */
		{ UINT64_MAX - 0xfff, 0x1000, BOOT_MEM_USABLE, 0 },     /* ends past what 64 bits say: dropped */
		{ UINT64_MAX - 0xfff, 0x2000, BOOT_MEM_USABLE, 0 },
		{ 1ull << 40, 1ull << 36, BOOT_MEM_NVS, 0 },
		{ 0x300000, 0x3000, 77, 0 },                            /* unknown: reserved */
		{ 0x200000, 0x4000, 0, 0 },
		{ 0, 0x9000, BOOT_MEM_BAD, 0 },
	};
	static const struct memmap_entry wanted[] = {
		{ 0, 0x9000, BOOT_MEM_BAD, 0 },
		{ 0x100000, 0x2000, BOOT_MEM_RESERVED, 0 },
		{ 0x200000, 0x4000, BOOT_MEM_RESERVED, 0 },
		{ 0x300000, 0x3000, BOOT_MEM_RESERVED, 0 },
		{ 0x500000, 0x1000, BOOT_MEM_USABLE, 0 },
		{ 1ull << 40, 1ull << 36, BOOT_MEM_NVS, 0 },
	};

	make_start(sizeof given / sizeof *given, 0);
	harness_memcpy(memmap, given, sizeof given);
	KASSERT_EQ(pvh_parse(&start, &parsed), 0);
	KASSERT_EQ(parsed.path, BOOT_PATH_PVH);
	KASSERT_EQ(parsed.rsdp, 0x123450);
	KASSERT_STREQ(parsed.cmdline, "");
	KASSERT_EQ(parsed.mem_count, sizeof wanted / sizeof *wanted);
	for (unsigned i = 0; i < parsed.mem_count; i++) {
		KASSERT_EQ(parsed.mem[i].base, wanted[i].base);
		KASSERT_EQ(parsed.mem[i].len, wanted[i].len);
		KASSERT_EQ(parsed.mem[i].type, wanted[i].type);
	}
	KASSERT_EQ(boot_usable_bytes(&parsed), 0x1000);
}

KTEST(boot, pvh_limits)
{
	make_start(BOOT_MEM_MAX, BOOT_MODULES_MAX);
	KASSERT_EQ(pvh_parse(&start, &parsed), 0);
	KASSERT_EQ(parsed.mem_count, BOOT_MEM_MAX);
	KASSERT_EQ(parsed.module_count, BOOT_MODULES_MAX);
	KASSERT_EQ(parsed.modules[BOOT_MODULES_MAX - 1].base, 0x100000ull * BOOT_MODULES_MAX);
	KASSERT_EQ(parsed.modules[BOOT_MODULES_MAX - 1].len, BOOT_MODULES_MAX);

	make_start(BOOT_MEM_MAX + 1, 0);
	memmap[3].len = 0;                              /* a dropped entry takes no room */
	KASSERT_EQ(pvh_parse(&start, &parsed), 0);
	KASSERT_EQ(parsed.mem_count, BOOT_MEM_MAX);
	KASSERT_EQ(parsed.module_count, 0);

	make_start(BOOT_MEM_MAX + 1, 0);
	KASSERT_EQ(pvh_parse(&start, &parsed), -ENOSPC);
	make_start(1, BOOT_MODULES_MAX + 1);
	KASSERT_EQ(pvh_parse(&start, &parsed), -ENOSPC);
	KASSERT(is_untouched());
}

/* A command line that does not fit is cut; it always ends. */
KTEST(boot, pvh_command_line)
{
	make_start(1, 0);
	harness_memset(cmdline, 'c', sizeof cmdline);
	cmdline[sizeof cmdline - 1] = 0;
	start.cmdline = phys(cmdline);
	KASSERT_EQ(pvh_parse(&start, &parsed), 0);
	KASSERT_EQ(harness_strlen(parsed.cmdline), BOOT_CMDLINE_SIZE - 1);
	KASSERT_EQ(parsed.cmdline[BOOT_CMDLINE_SIZE - 2], 'c');

	cmdline[5] = 0;
	KASSERT_EQ(pvh_parse(&start, &parsed), 0);
	KASSERT_STREQ(parsed.cmdline, "ccccc");
}
