/* Acceptance of boot/mb2.c and of the header that boot/mb2_entry.asm gives to loaders. See spec/boot.md. */
#include "boot.h"
#include "errno.h"
#include "internal.h"

enum { END = 0, COMMAND_LINE = 1, MODULE = 3, MEMORY_MAP = 6, RSDP_OLD = 14, RSDP_NEW = 15, SIZE = 1 << 14 };

static uint8_t bytes[SIZE + 4096] __attribute__((aligned(4096)));
static uint32_t used;
static struct boot_info parsed, untouched;

/* ---- information made up ---- */

/* As the kernel reads it: through the direct map. */
static const void *info(void)
{
	return (const void *)(DIRECT_MAP_BASE + (harness_addr(bytes) - KERNEL_VIRT_BASE));
}

static void put(const void *data, uint32_t size)
{
	harness_memcpy(bytes + used, data, size);
	used += size;
}

static void put32(uint32_t value)
{
	put(&value, sizeof value);
}

static void put64(uint64_t value)
{
	put(&value, sizeof value);
}

static void set32(uint32_t at, uint32_t value)
{
	harness_memcpy(bytes + at, &value, sizeof value);
}

/* What comes between tags, and after them, is not to be believed. */
static void begin(void)
{
	harness_memset(bytes, 0xee, sizeof bytes);
	harness_memset(&parsed, 0x5a, sizeof parsed);
	harness_memset(&untouched, 0x5a, sizeof untouched);
	used = 0;
	put32(0);
	put32(0);
}

static uint32_t begin_tag(uint32_t type)
{
	const uint32_t tag = used;

	put32(type);
	put32(0);
	return tag;
}

static void end_tag(uint32_t tag)
{
	set32(tag + 4, used - tag);
	used = (used + 7) & ~7u;
}

/* The end tag and the total size. */
static void finish(void)
{
	end_tag(begin_tag(END));
	set32(0, used);
}

static uint32_t put_text(uint32_t type, const char *text)
{
	const uint32_t tag = begin_tag(type);

	put(text, (uint32_t)harness_strlen(text) + 1);
	end_tag(tag);
	return tag;
}

static uint32_t put_module(uint32_t start, uint32_t end, const char *text)
{
	const uint32_t tag = begin_tag(MODULE);

	put32(start);
	put32(end);
	put(text, (uint32_t)harness_strlen(text) + 1);
	end_tag(tag);
	return tag;
}

static void put_memory(uint64_t base, uint64_t len, uint32_t type, uint32_t entry_size)
{
	const uint32_t start = used;

	put64(base);
	put64(len);
	put32(type);
	while (used < start + entry_size)
		put32(0xeeeeeeee);
}

/* A map of that many one-page entries of usable memory. */
static uint32_t put_map(uint32_t entries, uint32_t entry_size)
{
	const uint32_t tag = begin_tag(MEMORY_MAP);

	put32(entry_size);
	put32(0);
	for (uint32_t i = 0; i < entries; i++)
		put_memory(0x1000ull * i, 0x1000, BOOT_MEM_USABLE, entry_size);
	end_tag(tag);
	return tag;
}

/* Bytes that are told apart, with the signature of an RSDP in front. */
static void put_rsdp(uint32_t type, uint8_t fill)
{
	uint8_t rsdp[36];
	const uint32_t tag = begin_tag(type);

	harness_memset(rsdp, fill, sizeof rsdp);
	harness_memcpy(rsdp, "RSD PTR ", 8);
	put(rsdp, type == RSDP_OLD ? 20 : 36);
	end_tag(tag);
}

static bool is_untouched(void)
{
	return harness_memcmp(&parsed, &untouched, sizeof parsed) == 0;
}

/* Byte `at` of the RSDP that was found. */
static uint8_t rsdp_byte(unsigned at)
{
	return *(const volatile uint8_t *)(DIRECT_MAP_BASE + parsed.rsdp + at);
}

/* ---- the header ---- */

static uint32_t image32(uint64_t phys)
{
	return *(const volatile uint32_t *)(DIRECT_MAP_BASE + phys);
}

/* First in the image, its sum 0, its entry in the low text; asks for what the kernel needs. */
KTEST(boot, mb2_header)
{
	const uint64_t header = harness_addr(__kernel_phys_start);
	const uint32_t length = image32(header + 8);
	uint64_t at = header + 16;
	unsigned entries = 0, requests = 0, ends = 0, wanted = 0;

	KASSERT_EQ(image32(header), 0xE85250D6);
	KASSERT_EQ(image32(header + 4), 0);
	KASSERT_EQ((uint32_t)(image32(header) + image32(header + 4) + length + image32(header + 12)), 0);
	KASSERT(length >= 24);
	KASSERT(length <= 32768);
	while (at + 8 <= header + length && !ends) {
		const uint32_t type = image32(at) & 0xffff, size = image32(at + 4);

		KASSERT_EQ(at % 8, 0);
		KASSERT(size >= 8);
		KASSERT(at + size <= header + length);
		if (type == 0) {
			KASSERT_EQ(size, 8);
			ends++;
		} else if (type == 1) {
			requests++;
			for (uint32_t i = 8; i < size; i += 4)
				wanted |= 1u << image32(at + i);
		} else if (type == 3) {
			KASSERT_EQ(size, 12);
			entries++;
			KASSERT(image32(at + 8) >= harness_addr(__boot_start));
			KASSERT(image32(at + 8) < harness_addr(__boot_end));
		}
		at += (size + 7) & ~7u;
	}
	KASSERT_EQ(ends, 1);
	KASSERT_EQ(at, header + length);
	KASSERT_EQ(entries, 1);
	KASSERT_EQ(requests, 1);
	KASSERT_EQ(wanted, 1u << COMMAND_LINE | 1u << MODULE | 1u << MEMORY_MAP | 1u << RSDP_OLD | 1u << RSDP_NEW);
}

/* ---- what can be used ---- */

KTEST(boot, mb2_tags)
{
	uint64_t seed = harness_seed();
	const uint32_t start = (uint32_t)harness_random(&seed) >> 8, length = (uint32_t)harness_random(&seed) >> 8;
	uint32_t tag;

	begin();
	put_text(COMMAND_LINE, "one two  three");
	put_module(start, start + length, "first module");
	put_rsdp(RSDP_NEW, 0x77);
	tag = begin_tag(MEMORY_MAP);
	put32(24);
	put32(0);
	put_memory(0x100000, 0x7000, BOOT_MEM_USABLE, 24);
	put_memory(0x80000000, 0, BOOT_MEM_USABLE, 24);                 /* empty: dropped */
	put_memory(UINT64_MAX - 0xfff, 0x1000, BOOT_MEM_USABLE, 24);    /* wraps: dropped */
	put_memory(1ull << 40, 1ull << 36, BOOT_MEM_NVS, 24);
	put_memory(0x9000, 0x2000, 99, 24);                             /* unknown: reserved */
	put_memory(0, 0x9000, BOOT_MEM_ACPI, 24);
	end_tag(tag);
	put_module(0x12345678, 0x12345678, "");
	finish();

	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_EQ(parsed.path, BOOT_PATH_MULTIBOOT2);
	KASSERT_STREQ(parsed.cmdline, "one two  three");
	KASSERT_EQ(parsed.module_count, 2);
	KASSERT_EQ(parsed.modules[0].base, start);
	KASSERT_EQ(parsed.modules[0].len, length);
	KASSERT_EQ(parsed.modules[1].base, 0x12345678);
	KASSERT_EQ(parsed.modules[1].len, 0);
	KASSERT_EQ(parsed.mem_count, 4);
	KASSERT_EQ(parsed.mem[0].base, 0);
	KASSERT_EQ(parsed.mem[0].len, 0x9000);
	KASSERT_EQ(parsed.mem[0].type, BOOT_MEM_ACPI);
	KASSERT_EQ(parsed.mem[1].base, 0x9000);
	KASSERT_EQ(parsed.mem[1].type, BOOT_MEM_RESERVED);
	KASSERT_EQ(parsed.mem[2].base, 0x100000);
	KASSERT_EQ(parsed.mem[2].len, 0x7000);
	KASSERT_EQ(parsed.mem[2].type, BOOT_MEM_USABLE);
	KASSERT_EQ(parsed.mem[2].zero, 0);
	KASSERT_EQ(parsed.mem[3].base, 1ull << 40);
	KASSERT_EQ(parsed.mem[3].type, BOOT_MEM_NVS);
	KASSERT_EQ(boot_usable_bytes(&parsed), 0x7000);
	for (unsigned i = 8; i < 36; i++)
		KASSERT_EQ(rsdp_byte(i), 0x77);

	/* nothing but a map: the rest is empty */
	begin();
	put_map(3, 24);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_STREQ(parsed.cmdline, "");
	KASSERT_EQ(parsed.module_count, 0);
	KASSERT_EQ(parsed.rsdp, 0);
	KASSERT_EQ(parsed.mem_count, 3);
}

/* Entries are as far apart as the map says; what is added to them one day is not read. */
KTEST(boot, mb2_entry_size)
{
	for (uint32_t size = 24; size <= 72; size += 8) {
		begin();
		put_map(5, size);
		finish();
		KASSERT_EQ(mb2_parse(info(), &parsed), 0);
		KASSERT_EQ(parsed.mem_count, 5);
		for (uint32_t i = 0; i < 5; i++) {
			KASSERT_EQ(parsed.mem[i].base, 0x1000 * i);
			KASSERT_EQ(parsed.mem[i].len, 0x1000);
			KASSERT_EQ(parsed.mem[i].type, BOOT_MEM_USABLE);
		}
	}
	for (uint32_t size = 0; size < 44; size++) {
		const uint32_t tag = 8;

		if (size >= 24 && size % 8 == 0)
			continue;
		begin();
		put_map(2, 24);
		finish();
		set32(tag + 8, size);
		KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	}
	KASSERT(is_untouched());
}

/* Tags that nobody knows, of all sizes, are passed over. */
KTEST(boot, mb2_unknown)
{
	uint64_t seed = harness_seed();

	for (unsigned round = 0; round < 50; round++) {
		begin();
		for (unsigned i = 0; i < 12; i++) {
			const uint32_t tag = begin_tag((uint32_t)harness_random(&seed) | 0x1000);

			used += harness_random(&seed) % 100;
			end_tag(tag);
			if (i == 4)
				put_text(COMMAND_LINE, "known");
			if (i == 8)
				put_map(2, 24);
		}
		finish();
		KASSERT_EQ(mb2_parse(info(), &parsed), 0);
		KASSERT_STREQ(parsed.cmdline, "known");
		KASSERT_EQ(parsed.mem_count, 2);
		KASSERT_EQ(parsed.module_count, 0);
	}
}

KTEST(boot, mb2_rsdp)
{
	static const uint8_t orders[][2] = { { RSDP_OLD, RSDP_NEW }, { RSDP_NEW, RSDP_OLD } };

	for (unsigned i = 0; i < 2; i++) {
		begin();
		put_rsdp(orders[i][0], orders[i][0]);
		put_map(1, 24);
		put_rsdp(orders[i][1], orders[i][1]);
		finish();
		KASSERT_EQ(mb2_parse(info(), &parsed), 0);
		KASSERT_EQ(rsdp_byte(0), 'R');
		KASSERT_EQ(rsdp_byte(8), RSDP_NEW);
		KASSERT_EQ(rsdp_byte(35), RSDP_NEW);
	}
	begin();
	put_map(1, 24);
	put_rsdp(RSDP_OLD, 0x44);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_EQ(rsdp_byte(7), ' ');
	KASSERT_EQ(rsdp_byte(8), 0x44);
	KASSERT_EQ(rsdp_byte(19), 0x44);
	KASSERT(parsed.rsdp >= harness_addr(bytes) - KERNEL_VIRT_BASE);
	KASSERT(parsed.rsdp < harness_addr(bytes) - KERNEL_VIRT_BASE + used);
}

/* A text without an end within its tag ends with the tag; one too long is cut. */
KTEST(boot, mb2_command_line)
{
	static char text[BOOT_CMDLINE_SIZE + 100];
	uint32_t tag;

	begin();
	tag = begin_tag(COMMAND_LINE);
	put("unended", 7);
	end_tag(tag);
	put_map(1, 24);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_STREQ(parsed.cmdline, "unended");

	harness_memset(text, 'c', sizeof text - 1);
	begin();
	put_text(COMMAND_LINE, text);
	put_map(1, 24);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_EQ(harness_strlen(parsed.cmdline), BOOT_CMDLINE_SIZE - 1);

	begin();
	end_tag(begin_tag(COMMAND_LINE));               /* no text at all */
	put_map(1, 24);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_STREQ(parsed.cmdline, "");
}

/* Exactly full tables work, one more is -ENOSPC; dropped entries take no room. */
KTEST(boot, mb2_limits)
{
	uint32_t map;

	for (unsigned more = 0; more < 2; more++) {
		begin();
		put_map(BOOT_MEM_MAX + more, 24);
		finish();
		KASSERT_EQ(mb2_parse(info(), &parsed), more ? -ENOSPC : 0);
		begin();
		put_map(1, 24);
		for (unsigned i = 0; i < BOOT_MODULES_MAX + more; i++)
			put_module(0x100000 * (i + 1), 0x100000 * (i + 1) + i, "m");
		finish();
		KASSERT_EQ(mb2_parse(info(), &parsed), more ? -ENOSPC : 0);
		KASSERT_EQ(more ? BOOT_MODULES_MAX : parsed.module_count, BOOT_MODULES_MAX);
	}
	KASSERT(is_untouched());
	begin();
	map = put_map(BOOT_MEM_MAX + 1, 24);
	harness_memset(bytes + map + 16 + 8, 0, 8);     /* the first entry's length */
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	KASSERT_EQ(parsed.mem_count, BOOT_MEM_MAX);
	KASSERT_EQ(parsed.mem[0].base, 0x1000);
}

/* ---- what cannot be used ---- */

/* Acceptable information with tags of all kinds; where the tags begin. */
static unsigned make(uint32_t *tags)
{
	unsigned n = 0;

	begin();
	tags[n++] = put_text(COMMAND_LINE, "console=com1");
	tags[n++] = put_module(0x100000, 0x200000, "m");
	tags[n++] = put_map(3, 24);
	tags[n++] = used;
	put_rsdp(RSDP_OLD, 1);
	tags[n++] = used;
	finish();
	return n;
}

/* Every total size but the right one, and every length of a tag that leads out, or nowhere. */
KTEST(boot, mb2_truncated)
{
	uint32_t tags[8], whole;
	const unsigned n = make(tags);

	KASSERT_EQ(mb2_parse(info(), &parsed), 0);
	whole = used;
	for (uint32_t size = 0; size < whole; size++) {
		make(tags);
		set32(0, size);
		KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	}
	for (unsigned i = 0; i < n; i++) {
		static const uint32_t wrong[] = { 0, 1, 7, SIZE, 0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffff9, 0xffffffff };

		for (unsigned k = 0; k < sizeof wrong / sizeof *wrong; k++) {
			make(tags);
			set32(tags[i] + 4, wrong[k]);
			if (mb2_parse(info(), &parsed) != -EINVAL)
				ktest_note("tag", i);
			KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
		}
	}
	make(tags);
	set32(0, (1 << 20) + 8);
	KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	KASSERT_EQ(mb2_parse(NULL, &parsed), -EINVAL);
	KASSERT(is_untouched());
}

/* Tags too short for what they have to say. */
KTEST(boot, mb2_short_tags)
{
	static const struct {
		uint32_t type, least;
	} kinds[] = { { MODULE, 8 }, { MEMORY_MAP, 8 }, { RSDP_OLD, 20 }, { RSDP_NEW, 36 } };

	for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
		for (uint32_t size = 0; size < kinds[k].least; size++) {
			uint32_t tag;

			begin();
			tag = begin_tag(kinds[k].type);
			used += size;
			end_tag(tag);
			put_map(1, 24);
			finish();
			KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
		}
	begin();
	put_map(1, 24);
	put_module(0x200000, 0x1fffff, "ends before it begins");
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	KASSERT(is_untouched());
}

KTEST(boot, mb2_no_end)
{
	uint32_t tags[8];

	make(tags);
	set32(0, used - 8);                             /* the tags end where the information does */
	KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	begin();
	put_map(1, 24);
	while (used < SIZE)
		put_text(0x1000, "x");
	set32(0, used);
	KASSERT_EQ(mb2_parse(info(), &parsed), -EINVAL);
	KASSERT(is_untouched());
}

KTEST(boot, mb2_no_map)
{
	begin();
	put_text(COMMAND_LINE, "x");
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), -ENOENT);
	begin();
	put_map(0, 24);
	finish();
	KASSERT_EQ(mb2_parse(info(), &parsed), -ENOENT);
	KASSERT(is_untouched());
}
