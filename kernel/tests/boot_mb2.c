/* mb2_parse beyond its acceptance: the order of the checks, totals and entry sizes to the byte, what counts and what is
 * not looked at, random information against a model of what spec/boot.md says; then the RSDP that boot_info() has. */
#include "boot.h"
#include "errno.h"
#include "harness.h"
#include "string.h"

/* kernel.ld: physical; only their addresses mean anything. */
extern const char __kernel_phys_start[], __kernel_phys_end[];

#define TOTAL_MAX (1u << 20)

enum { END = 0, LINE = 1, MODULE = 3, MAP = 6, RSDP_OLD = 14, RSDP_NEW = 15 };
enum { OLD_SIZE = 20, NEW_SIZE = 36, HEAD = 8, MAP_HEAD = 16 };

/* FILLED: what all but the longest information has room in. LIST: entries, more than ever fit. */
enum { ROOM = 72 << 10, FILLED = 8 << 10, LIST = 100, FILL = 0xee, PATTERN = 0xc3, CHANGED = 1 };

struct entry {
	uint64_t base, len;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct entry) == 24, "layout of the loader's entries");

static uint8_t bytes[ROOM] __attribute__((aligned(16)));
static uint32_t used;                           /* of bytes; a multiple of 8 between tags */
static struct entry list[LIST];
static char line[BOOT_CMDLINE_SIZE + 100];
static struct boot_info got, want, before;
static uint64_t random_state;

static uint64_t phys(const void *object)
{
	uint64_t address = (uint64_t)object;

	__asm__("" : "+r"(address));
	return address - KERNEL_BASE;
}

static const void *direct(uint64_t address)
{
	return (const void *)(DIRECT_MAP_BASE + address);
}

static void seed(uint64_t value)
{
	ktest_note("seed", value);
	random_state = value;
}

/* splitmix64 */
static uint64_t any(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Of any length in bits. */
static uint64_t any_width(void)
{
	const unsigned shift = any() % 64;

	return any() >> shift;
}

static bool one_in(unsigned n)
{
	return any() % n == 0;
}

/* ---- information made up ---- */

static void set32(uint32_t at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof value);
}

static uint32_t get32(uint64_t at)
{
	uint32_t value;

	memcpy(&value, bytes + at, sizeof value);
	return value;
}

/* The tag that begins at `used` gets its head, size bytes in all, and room; where it begins. */
static uint32_t put_head(uint32_t type, uint32_t size)
{
	const uint32_t at = used;

	set32(at, type);
	set32(at + 4, size);
	used = at + ((size + 7) & ~7u);
	return at;
}

static uint32_t put_tag(uint32_t type, const void *data, uint32_t size)
{
	const uint32_t at = put_head(type, HEAD + size);

	memcpy(bytes + at + HEAD, data, size);
	return at;
}

static uint32_t put_text(const char *text)
{
	return put_tag(LINE, text, (uint32_t)strlen(text) + 1);
}

static uint32_t put_module(uint32_t start, uint32_t end)
{
	const uint32_t range[] = { start, end };

	return put_tag(MODULE, range, sizeof range);
}

/* The first n entries of the list, and `rest` bytes of the one after them. */
static uint32_t put_map(uint32_t n, uint32_t entry_size, uint32_t rest)
{
	const uint32_t at = put_head(MAP, MAP_HEAD + n * entry_size + rest);

	set32(at + 8, entry_size);
	set32(at + 12, 0);
	for (uint32_t i = 0; i < n; i++)
		memcpy(bytes + at + MAP_HEAD + i * entry_size, &list[i], sizeof *list);
	memcpy(bytes + at + MAP_HEAD + n * entry_size, &list[n], rest < sizeof *list ? rest : sizeof *list);
	return at;
}

static uint32_t put_rsdp(uint32_t type, uint32_t size)
{
	const uint32_t at = put_head(type, HEAD + size);

	memset(bytes + at + HEAD, (int)type, size);
	return at;
}

/* The end tag and the total size. */
static void finish(void)
{
	put_head(END, HEAD);
	set32(0, used);
}

/* The list is good to its end; what no tag says is not to be believed. */
static void begin(void)
{
	for (uint32_t i = 0; i < LIST; i++)
		list[i] = (struct entry){ 0x100000ull * (i + 1), 0x1000, BOOT_MEM_USABLE, 0 };
	memset(bytes, FILL, FILLED);
	used = 8;
}

/* Acceptable information with all that there can be. */
static void make_good(void)
{
	begin();
	put_text("good");
	put_module(0x200000, 0x280000);
	put_map(2, sizeof *list, 0);
	put_rsdp(RSDP_OLD, OLD_SIZE);
	put_rsdp(RSDP_NEW, NEW_SIZE);
	finish();
}

static int parse_at(uint64_t offset)
{
	memset(&got, PATTERN, sizeof got);
	return mb2_parse(direct(phys(bytes) + offset), &got);
}

static int parse(void)
{
	return parse_at(0);
}

static bool is_changed(void)
{
	for (size_t i = 0; i < sizeof got; i++)
		if (((const uint8_t *)&got)[i] != PATTERN)
			return true;
	return false;
}

/* What mb2_parse returns if it leaves *out alone, else CHANGED. */
static int refusal_at(uint64_t offset)
{
	const int err = parse_at(offset);

	return is_changed() ? CHANGED : err;
}

static int refusal(void)
{
	return refusal_at(0);
}

/* ---- the order of the checks ---- */

enum fault {
	TOTAL_SMALL, TAG_SMALL, TAG_LONG, NO_END, TAG_SHORT, ENTRY_SIZE, MODULE_BACK,
	NO_MAP, NO_ENTRIES,
	MAP_FULL, MODULES_FULL,
	FAULTS
};

static int fault_err(enum fault fault)
{
	return fault < NO_MAP ? -EINVAL : fault < MAP_FULL ? -ENOENT : -ENOSPC;
}

/* The tags that are bad come last. Where two faults want one field, the earlier one gets it. */
static void make_faults(unsigned set)
{
	const uint32_t modules = set >> MODULES_FULL & 1 ? BOOT_MODULES_MAX + 1 : 1;

	begin();
	for (uint32_t i = 0; i < modules; i++)
		put_module(i, i + 1);
	if (!(set >> NO_MAP & 1) || set >> ENTRY_SIZE & 1)
		put_map(set >> NO_ENTRIES & 1 ? 0 : set >> MAP_FULL & 1 ? BOOT_MEM_MAX + 1 : 1,
			set >> ENTRY_SIZE & 1 ? 28 : 24, 0);
	if (set >> MODULE_BACK & 1)
		put_module(1, 0);
	if (set >> TAG_SHORT & 1)
		put_rsdp(RSDP_OLD, OLD_SIZE - 1);
	if (set >> TAG_SMALL & 1)
		set32(put_head(0x1000, HEAD) + 4, HEAD - 1);
	if (set >> TAG_LONG & 1)
		set32(put_head(0x1000, HEAD) + 4, FILLED);
	if (!(set >> NO_END & 1))
		put_head(END, HEAD);
	set32(0, set >> TOTAL_SMALL & 1 ? 15 : used);
}

/* One fault, two, or all of them from one on: the earliest one's error, and *out unchanged. */
KTEST(boot, check_mb2_order)
{
	for (unsigned i = 0; i < FAULTS; i++)
		for (unsigned j = i; j <= FAULTS; j++) {
			const unsigned set = j < FAULTS ? 1u << i | 1u << j : (1u << FAULTS) - (1u << i);
			int err;

			make_faults(set);
			err = refusal();
			if (err != fault_err(i))
				ktest_note("faults", set);
			KASSERT_EQ(err, fault_err(i));
		}
	make_faults(0);
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, 1);
	KASSERT_EQ(got.module_count, 1);
}

/* ---- where it is, and how long ---- */

/* Good but for its place; 8-byte alignment is all that is asked. */
KTEST(boot, check_mb2_alignment)
{
	for (uint32_t offset = 0; offset <= 24; offset++) {
		make_good();
		memmove(bytes + offset, bytes, used);
		if (offset % 8) {
			KASSERT_EQ(refusal_at(offset), -EINVAL);
			continue;
		}
		KASSERT_EQ(parse_at(offset), 0);
		KASSERT_STREQ(got.cmdline, "good");
		KASSERT_EQ(got.mem_count, 2);
		KASSERT_EQ(got.rsdp, phys(bytes) + offset + used - HEAD - 40);
	}
}

/* The least there can be is the head and the end tag, which has no map. */
KTEST(boot, check_mb2_total_small)
{
	begin();
	finish();
	KASSERT_EQ(used, 16);
	KASSERT_EQ(refusal(), -ENOENT);
	for (uint32_t total = 0; total < 16; total++) {
		set32(0, total);
		KASSERT_EQ(refusal(), -EINVAL);
	}
}

/* The end tag comes early: that the rest is no memory of ours does not matter, up to 1 MiB. */
KTEST(boot, check_mb2_total_large)
{
	static const uint32_t good[] = { FILLED, ROOM, 0x10000, TOTAL_MAX - 8, TOTAL_MAX - 1, TOTAL_MAX };
	static const uint32_t bad[] = {
		TOTAL_MAX + 1, TOTAL_MAX + 7, TOTAL_MAX + 8, 2 * TOTAL_MAX, 0x01000400, 0x7fffffff, 0x80000000,
		0x80000400, 0xfffffff0, 0xfffffff8, UINT32_MAX,
	};
	uint32_t at;

	make_good();
	for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
		set32(0, good[i]);
		KASSERT_EQ(parse(), 0);
		KASSERT_STREQ(got.cmdline, "good");
		KASSERT_EQ(got.module_count, 1);
		KASSERT_EQ(got.mem_count, 2);
	}
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		set32(0, bad[i]);
		KASSERT_EQ(refusal(), -EINVAL);
	}

	/* a tag as long as all that is left leaves no room for the end; then too little of it, then it leads out */
	begin();
	put_map(1, sizeof *list, 0);
	at = put_head(0x1000, HEAD);
	finish();
	set32(0, TOTAL_MAX);
	for (uint32_t left = TOTAL_MAX - at - 7; left <= TOTAL_MAX - at + 9; left++) {
		set32(at + 4, left);
		KASSERT_EQ(refusal(), -EINVAL);
	}
}

/* What is left over after the end tag may be any number of bytes. */
KTEST(boot, check_mb2_total_odd)
{
	make_good();
	for (uint32_t total = used; total < used + 24; total++) {
		set32(0, total);
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.mem_count, 2);
	}
}

/* A tag that ends with the total, or in the padding before the next one: the end tag behind it is out of reach until
 * all its eight bytes are within. */
KTEST(boot, check_mb2_total_padding)
{
	for (uint32_t size = HEAD; size <= HEAD + 16; size++) {
		uint32_t last, end;

		begin();
		put_map(1, sizeof *list, 0);
		last = put_head(0x1000, size);
		end = used;
		finish();
		for (uint32_t total = last; total < end + 16; total++) {
			set32(0, total);
			if (total < end + HEAD)
				KASSERT_EQ(refusal(), -EINVAL);
			else
				KASSERT_EQ(parse(), 0);
		}
	}
}

/* Beyond 64 KiB: a tag over which it is far, and a map of which nearly all is dropped. */
KTEST(boot, check_mb2_long)
{
	const uint32_t entries = 2800;
	uint32_t map;

	begin();
	put_head(0x1000, 0x10008);
	put_module(5, 9);
	put_map(3, 40, 0);
	put_text("far");
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_STREQ(got.cmdline, "far");
	KASSERT_EQ(got.module_count, 1);
	KASSERT_EQ(got.modules[0].len, 4);
	KASSERT_EQ(got.mem_count, 3);
	KASSERT_EQ(got.mem[2].base, list[2].base);
	set32(0, used - 1);
	KASSERT_EQ(refusal(), -EINVAL);

	begin();
	map = put_head(MAP, MAP_HEAD + entries * sizeof *list);
	set32(map + 8, sizeof *list);
	for (uint32_t i = 0; i < entries; i++) {
		const bool kept = i >= entries - BOOT_MEM_MAX;
		const struct entry e = { 0x1000ull * (entries - i), kept ? 0x1000 : 0, BOOT_MEM_USABLE, 0 };

		memcpy(bytes + map + MAP_HEAD + i * sizeof e, &e, sizeof e);
	}
	finish();
	KASSERT(used <= ROOM);
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, BOOT_MEM_MAX);
	for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
		KASSERT_EQ(got.mem[i].base, 0x1000ull * (i + 1));
	bytes[map + MAP_HEAD + 8] = 1;                  /* the first one's length: one too many is kept */
	KASSERT_EQ(refusal(), -ENOSPC);
}

/* ---- what counts ---- */

KTEST(boot, check_mb2_second)
{
	uint32_t old, new;

	begin();
	put_text("first");
	put_map(2, sizeof *list, 0);
	old = put_rsdp(RSDP_OLD, OLD_SIZE);
	put_text("second");
	put_map(BOOT_MEM_MAX + 1, sizeof *list, 0);     /* too long, if it counted */
	put_rsdp(RSDP_OLD, OLD_SIZE);
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_STREQ(got.cmdline, "first");
	KASSERT_EQ(got.mem_count, 2);
	KASSERT_EQ(got.rsdp, phys(bytes) + old + HEAD);

	used -= HEAD;                                   /* more in place of the end */
	new = put_rsdp(RSDP_NEW, NEW_SIZE + 8);
	put_rsdp(RSDP_OLD, OLD_SIZE);
	put_rsdp(RSDP_NEW, NEW_SIZE);
	put_map(0, sizeof *list, 0);
	put_text("");
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_STREQ(got.cmdline, "first");
	KASSERT_EQ(got.mem_count, 2);
	KASSERT_EQ(got.rsdp, phys(bytes) + new + HEAD);
}

/* The first counts also where the second would be better. */
KTEST(boot, check_mb2_second_better)
{
	begin();
	put_text("");
	put_map(0, sizeof *list, 0);
	put_text("second");
	put_map(2, sizeof *list, 0);
	finish();
	KASSERT_EQ(refusal(), -ENOENT);

	begin();
	put_text("");
	put_map(BOOT_MEM_MAX + 1, sizeof *list, 0);
	put_map(2, sizeof *list, 0);
	finish();
	KASSERT_EQ(refusal(), -ENOSPC);

	begin();
	put_text("");
	put_map(1, sizeof *list, 0);
	put_text("second");
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_STREQ(got.cmdline, "");
}

/* Behind the end tag there may be anything, within the total or not. */
static void put_behind(unsigned kind)
{
	switch (kind) {
	case 0:
		put_text("behind");
		break;
	case 1:
		for (uint32_t i = 0; i <= BOOT_MODULES_MAX; i++)
			put_module(0x1000, 0x2000);
		break;
	case 2:
		put_module(2, 1);
		break;
	case 3:
		put_rsdp(RSDP_NEW, NEW_SIZE);
		put_rsdp(RSDP_OLD, OLD_SIZE);
		break;
	case 4:
		put_rsdp(RSDP_NEW, 1);
		break;
	case 5:
		put_map(BOOT_MEM_MAX + 1, sizeof *list, 0);
		break;
	case 6:
		set32(put_head(0x1000, HEAD) + 4, 0);
		break;
	case 7:
		set32(put_head(0x1000, HEAD) + 4, UINT32_MAX);
		break;
	}
}

enum { BEHIND = 8 };

KTEST(boot, check_mb2_behind_end)
{
	for (unsigned kind = 0; kind < BEHIND; kind++)
		for (unsigned within = 0; within < 2; within++) {
			begin();
			put_map(1, sizeof *list, 0);
			finish();
			put_behind(kind);
			if (within)
				finish();
			KASSERT_EQ(parse(), 0);
			KASSERT_STREQ(got.cmdline, "");
			KASSERT_EQ(got.module_count, 0);
			KASSERT_EQ(got.rsdp, 0);
			KASSERT_EQ(got.mem_count, 1);

			begin();                        /* a map is not found there either */
			finish();
			put_map(1, sizeof *list, 0);
			put_behind(kind);
			if (within)
				finish();
			KASSERT_EQ(refusal(), -ENOENT);
		}
}

/* Up to its NUL or the tag's end, whatever it is made of; cut to fit. What follows the tag is no NUL. */
KTEST(boot, check_mb2_lines)
{
	static const uint32_t lengths[] = {
		1, 2, 7, 8, 9, BOOT_CMDLINE_SIZE - 2, BOOT_CMDLINE_SIZE - 1, BOOT_CMDLINE_SIZE, BOOT_CMDLINE_SIZE + 1,
		sizeof line - 1,
	};

	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (uint32_t ended = 0; ended < 2; ended++) {
			const uint32_t n = lengths[i], kept = n < BOOT_CMDLINE_SIZE ? n : BOOT_CMDLINE_SIZE - 1;

			for (uint32_t k = 0; k < n; k++)
				line[k] = (char)(1 + (k + n) % 255);
			line[n] = 0;
			begin();
			put_tag(LINE, line, n + ended);
			put_map(1, sizeof *list, 0);
			finish();
			KASSERT_EQ(parse(), 0);
			KASSERT_EQ(strnlen(got.cmdline, sizeof got.cmdline), kept);
			KASSERT_EQ(memcmp(got.cmdline, line, kept), 0);
		}
	begin();
	put_tag(LINE, "a\0b", 4);
	put_map(1, sizeof *list, 0);
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_STREQ(got.cmdline, "a");
}

/* In the loader's order, all 32 bits of both ends; a tag without a text will do. */
KTEST(boot, check_mb2_modules)
{
	static const uint32_t ends[BOOT_MODULES_MAX][2] = {
		{ 0x80000000, UINT32_MAX }, { 0, UINT32_MAX }, { 0, 0 }, { UINT32_MAX, UINT32_MAX },
		{ 0x7fffffff, 0x80000000 }, { 0, 1 }, { 0x80000000, 0x80000000 }, { UINT32_MAX - 1, UINT32_MAX },
	};

	begin();
	put_map(1, sizeof *list, 0);
	for (uint32_t i = 0; i < BOOT_MODULES_MAX; i++)
		KASSERT_EQ(get32(put_module(ends[i][0], ends[i][1]) + 4), 16);
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.module_count, BOOT_MODULES_MAX);
	for (uint32_t i = 0; i < BOOT_MODULES_MAX; i++) {
		KASSERT_EQ(got.modules[i].base, (uint64_t)ends[i][0]);
		KASSERT_EQ(got.modules[i].len, (uint64_t)ends[i][1] - ends[i][0]);
	}
}

/* ---- the memory map ---- */

/* Equal bases stay as they come, overlaps as they are. */
KTEST(boot, check_mb2_map_order)
{
	static const struct entry given[] = {
		{ 0x9000, 0x1000, 2, 0 }, { 0x5000, 0x3000, 1, 0 }, { 0, UINT64_MAX, 2, 0 }, { 0x5000, 0x1000, 3, 0 },
		{ 1ull << 63, 1, 4, 0 }, { 0x5000, 0x3000, 1, 0 }, { 0, 0x5001, 1, 0 }, { 0x5000, 0x9000, 5, 0 },
		{ 0x4fff, 2, 4, 0 }, { 0x9000, 0x1000, 1, 0 }, { UINT64_MAX - 1, 1, 1, 0 }, { 1ull << 32, 5, 1, 0 },
	};
	static const uint8_t order[] = { 2, 6, 8, 1, 3, 5, 7, 0, 9, 11, 4, 10 };

	begin();
	memcpy(list, given, sizeof given);
	put_map(sizeof order, sizeof *list, 0);
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, sizeof order);
	for (unsigned i = 0; i < sizeof order; i++) {
		const struct entry *e = &given[order[i]];

		KASSERT_EQ(got.mem[i].base, e->base);
		KASSERT_EQ(got.mem[i].len, e->len);
		KASSERT_EQ(got.mem[i].type, e->type);
	}
}

/* A full map the wrong way round, and one of equal bases only. */
KTEST(boot, check_mb2_map_full)
{
	for (unsigned equal = 0; equal < 2; equal++) {
		begin();
		for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
			list[i] = (struct entry){ equal ? 0x1000 : BOOT_MEM_MAX - i, i + 1, BOOT_MEM_USABLE, 0 };
		put_map(BOOT_MEM_MAX, 32, 0);
		finish();
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.mem_count, BOOT_MEM_MAX);
		for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
			KASSERT_EQ(got.mem[i].len, equal ? i + 1 : BOOT_MEM_MAX - i);
	}
}

KTEST(boot, check_mb2_map_types)
{
	static const uint32_t unknown[] = { 0, 6, 7, 8, 12, 255, 0x101, 0x10001, 0x7fffffff, 0x80000001, UINT32_MAX };
	const uint32_t others = sizeof unknown / sizeof *unknown;

	begin();
	for (uint32_t i = 0; i < 5 + others; i++) {
		list[i].type = i < 5 ? i + 1 : unknown[i - 5];
		list[i].reserved = UINT32_MAX;
	}
	put_map(5 + others, sizeof *list, 0);
	finish();
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, 5 + others);
	for (uint32_t i = 0; i < got.mem_count; i++) {
		KASSERT_EQ(got.mem[i].type, i < 5 ? i + 1 : BOOT_MEM_RESERVED);
		KASSERT_EQ(got.mem[i].zero, 0);
	}
}

/* What is not a whole entry is none, be it one byte short. */
KTEST(boot, check_mb2_map_rest)
{
	for (uint32_t size = 24; size <= 48; size += 8)
		for (uint32_t rest = 0; rest < size; rest++) {
			begin();
			put_map(3, size, rest);
			finish();
			KASSERT_EQ(parse(), 0);
			KASSERT_EQ(got.mem_count, 3);
			KASSERT_EQ(got.mem[2].base, list[2].base);
			begin();
			put_map(0, size, rest);
			finish();
			KASSERT_EQ(refusal(), -ENOENT);
		}
}

/* An entry may be as long as the map's tag has room for; longer ones there are none of, however long. */
KTEST(boot, check_mb2_entry_sizes)
{
	static const uint32_t longer[] = {
		80, 88, 0x10000, 0x10018, 0x7ffffff8, 0x80000000, 0x80000018, 0xffffffa8, 0xffffffe8, 0xfffffff0,
		0xfffffff8,
	};
	static const uint32_t odd[] = {
		25, 28, 71, 73, 76, 0x10004, 0x7fffffff, 0x80000001, 0x80000004, 0xfffffff4, 0xfffffff9, 0xfffffffc,
		UINT32_MAX,
	};
	uint32_t map;

	begin();
	map = put_map(3, 24, 0);
	finish();
	set32(map + 8, 72);
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, 1);
	KASSERT_EQ(got.mem[0].base, list[0].base);
	for (unsigned i = 0; i < sizeof longer / sizeof *longer; i++) {
		set32(map + 8, longer[i]);
		KASSERT_EQ(refusal(), -ENOENT);
	}
	for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
		set32(map + 8, odd[i]);
		KASSERT_EQ(refusal(), -EINVAL);
	}
}

/* ---- random information ---- */

static void put_any_text(void)
{
	const uint32_t n = (uint32_t)(one_in(3) ? BOOT_CMDLINE_SIZE - 20 + any() % 40 : any() % 40);

	for (uint32_t i = 0; i < n; i++)
		line[i] = (char)(1 + any() % 255);
	if (n && one_in(2))
		line[any() % n] = 0;
	put_tag(LINE, line, n);
}

static void put_any_module(void)
{
	const uint32_t start = (uint32_t)any_width(), at = put_head(MODULE, 16 + (uint32_t)(any() % 20));

	set32(at + 8, start);
	set32(at + 12, one_in(100) ? (uint32_t)any() : start + (uint32_t)(any() % (UINT32_MAX - start + 1ull)));
}

static struct entry any_entry(void)
{
	const uint64_t bases[] = { any() % 4 << 12, any_width(), (1ull << 32) - any() % 3, 0 - any() % 3 };
	const uint64_t base = bases[any() % 4];
	const uint64_t lens[] = { any() % 3, 0 - base, UINT64_MAX - base, any_width(), UINT64_MAX, 0x1000 };

	return (struct entry){ base, lens[any() % 6], (uint32_t)(any() % 8 ? any() % 8 : any()), (uint32_t)any() };
}

static void put_any_map(void)
{
	const bool is_long = one_in(3);
	const uint32_t n = (uint32_t)(is_long ? BOOT_MEM_MAX - 1 + any() % 6 : any() % 12);
	const uint32_t size = 24 + 8 * (uint32_t)(any() % 5);
	uint32_t map;

	for (uint32_t i = 0; i <= n; i++)
		if (!is_long || one_in(24))             /* in a long one most are kept: it fits, or just does not */
			list[i] = any_entry();
	map = put_map(n, size, (uint32_t)(any() % size));
	if (one_in(50))
		set32(map + 8, (uint32_t)(one_in(2) ? any() % 64 : any_width()));
}

static void put_any_tag(void)
{
	switch (any() % 8) {
	case 0:
		put_any_text();
		break;
	case 1: case 2: case 3:
		put_any_module();
		break;
	case 4:
		put_any_map();
		break;
	case 5:
		put_rsdp(RSDP_OLD, one_in(50) ? OLD_SIZE - 1 : OLD_SIZE + (uint32_t)(any() % 9));
		break;
	case 6:
		put_rsdp(RSDP_NEW, one_in(50) ? NEW_SIZE - 1 : NEW_SIZE + (uint32_t)(any() % 9));
		break;
	case 7:
		put_head((uint32_t)(one_in(2) ? 16 + any() % 8 : 0x100 | any()), HEAD + (uint32_t)(any() % 50));
		break;
	}
}

/* Mostly acceptable. */
static void make_any(void)
{
	static uint32_t tags[32];
	const uint32_t n = 1 + (uint32_t)(any() % 31);
	uint32_t count = 0;

	begin();
	while (count < n && used < 2000) {              /* the longest map fits behind that */
		tags[count++] = used;
		if (count == 1 && !one_in(8))
			put_any_map();
		else
			put_any_tag();
	}
	if (!one_in(30))
		put_head(END, HEAD);
	set32(0, one_in(30) ? (uint32_t)(any() % used) : used + (uint32_t)(any() % 9));
	if (one_in(8))                                  /* one tag lies about its size or its type */
		set32(tags[any() % count] + 4, (uint32_t)(one_in(4) ? any_width() : any() % 80));
	if (one_in(8))
		set32(tags[any() % count], (uint32_t)(any() % 17));
}

/* What must hold of a tag of `size` bytes, all of which lie within the information. */
static bool may_be(uint64_t at, uint32_t type, uint32_t size)
{
	if (type == MODULE)
		return size >= 16 && get32(at + 8) <= get32(at + 12);
	if (type == MAP)
		return size >= MAP_HEAD && get32(at + 8) >= 24 && get32(at + 8) % 8 == 0;
	return size >= HEAD + (type == RSDP_OLD ? OLD_SIZE : type == RSDP_NEW ? NEW_SIZE : 0);
}

/* The map of the tag at `at` to want, each entry where as many are as have to come before it. -ENOENT: none. */
static int model_map(uint64_t at)
{
	static struct entry kept[FILLED / sizeof(struct entry)];
	const uint64_t size = get32(at + 8), end = at + get32(at + 4);
	uint32_t n = 0;

	if (at + MAP_HEAD + size > end)
		return -ENOENT;
	for (uint64_t from = at + MAP_HEAD; from + size <= end; from += size) {
		memcpy(&kept[n], bytes + from, sizeof *kept);
		if (kept[n].len && kept[n].len <= UINT64_MAX - kept[n].base)
			n++;
	}
	if (n > BOOT_MEM_MAX)
		return -ENOSPC;
	want.mem_count = n;
	for (uint32_t i = 0; i < n; i++) {
		const struct entry *e = &kept[i];
		const uint32_t type = e->type >= 1 && e->type <= 5 ? e->type : BOOT_MEM_RESERVED;
		uint32_t place = 0;

		for (uint32_t j = 0; j < n; j++)
			place += kept[j].base < e->base || (kept[j].base == e->base && j < i);
		want.mem[place] = (struct boot_mem){ e->base, e->len, type, 0 };
	}
	return 0;
}

/* What mb2_parse is to return, and in want what it is to say. */
static int model(void)
{
	const uint64_t total = get32(0);
	uint64_t first[16] = { 0 }, at = 8;
	uint32_t modules = 0, length = 0, type;
	int err;

	memset(&want, 0, sizeof want);
	want.path = BOOT_PATH_MULTIBOOT2;
	if (total < 16 || total > TOTAL_MAX)
		return -EINVAL;
	do {
		const uint64_t size = at + HEAD <= total ? get32(at + 4) : 0;

		if (size < HEAD || at + size > total)
			return -EINVAL;
		type = get32(at);
		if (!may_be(at, type, (uint32_t)size))
			return -EINVAL;
		if (type < 16 && !first[type])
			first[type] = at;
		if (type == MODULE && modules++ < BOOT_MODULES_MAX)
			want.modules[modules - 1] =
				(struct boot_module){ get32(at + 8), get32(at + 12) - get32(at + 8) };
		at += (size + 7) / 8 * 8;
	} while (type != END);

	err = first[MAP] ? model_map(first[MAP]) : -ENOENT;
	if (err)
		return err;
	if (modules > BOOT_MODULES_MAX)
		return -ENOSPC;
	want.module_count = modules;
	if (first[LINE])
		for (; length < get32(first[LINE] + 4) - HEAD && length < BOOT_CMDLINE_SIZE - 1 &&
		       bytes[first[LINE] + HEAD + length]; length++)
			want.cmdline[length] = (char)bytes[first[LINE] + HEAD + length];
	if (first[RSDP_NEW] || first[RSDP_OLD])
		want.rsdp = phys(bytes) + HEAD + (first[RSDP_NEW] ? first[RSDP_NEW] : first[RSDP_OLD]);
	return 0;
}

/* Where got is not as the model has it: the number of a line here, or 0. */
static int difference(void)
{
	if (got.path != want.path)
		return __LINE__;
	if (strnlen(got.cmdline, sizeof got.cmdline) != strlen(want.cmdline) ||
	    memcmp(got.cmdline, want.cmdline, strlen(want.cmdline)) != 0)
		return __LINE__;
	if (got.rsdp != want.rsdp)
		return __LINE__;
	if (got.mem_count != want.mem_count || memcmp(got.mem, want.mem, want.mem_count * sizeof *want.mem) != 0)
		return __LINE__;
	if (got.module_count != want.module_count ||
	    memcmp(got.modules, want.modules, want.module_count * sizeof *want.modules) != 0)
		return __LINE__;
	return 0;
}

KTEST(boot, check_mb2_random)
{
	unsigned good = 0, invalid = 0, missing = 0, full = 0;

	seed(0x6d6232);
	for (unsigned round = 0; round < 300; round++) {
		int err, wanted, line_differing = 0;

		make_any();
		wanted = model();
		err = wanted ? refusal() : parse();
		if (!err && !wanted)
			line_differing = difference();
		if (err != wanted || line_differing)
			ktest_note("round", round);
		KASSERT_EQ(err, wanted);
		KASSERT_EQ(line_differing, 0);
		good += wanted == 0;
		invalid += wanted == -EINVAL;
		missing += wanted == -ENOENT;
		full += wanted == -ENOSPC;
	}
	/* that it has tried them all */
	KASSERT(good >= 100);
	KASSERT(invalid >= 50);
	KASSERT(missing >= 10);
	KASSERT(full >= 10);
}

/* ---- boot_info() ---- */

/* Whatever is parsed, and a second time with the same result. */
KTEST(boot, check_mb2_boot_info)
{
	const struct boot_info *info = boot_info();

	before = *info;
	make_good();
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(memcmp(info, &before, sizeof before), 0);
	want = got;
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(difference(), 0);
	set32(0, used - 1);
	KASSERT_EQ(refusal(), -EINVAL);
	make_faults(1u << NO_MAP);
	KASSERT_EQ(refusal(), -ENOENT);
	make_faults(1u << MAP_FULL);
	KASSERT_EQ(refusal(), -ENOSPC);
	KASSERT(boot_info() == info);
	KASSERT_EQ(memcmp(info, &before, sizeof before), 0);
}

static uint8_t sum(const uint8_t *from, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *from++);
	return s;
}

/* However the machine was booted; the loader's own is not kept, but a copy in the image. */
KTEST(boot, check_mb2_boot_rsdp)
{
	const uint64_t at = boot_info()->rsdp;
	const uint8_t *rsdp = direct(at);
	const uint64_t image = phys(__kernel_phys_start) + KERNEL_BASE, end = phys(__kernel_phys_end) + KERNEL_BASE;
	size_t size;

	KASSERT(at != 0);
	KASSERT_EQ(memcmp(rsdp, "RSD PTR ", 8), 0);
	KASSERT_EQ(sum(rsdp, OLD_SIZE), 0);
	size = rsdp[15] >= 2 ? NEW_SIZE : OLD_SIZE;
	if (size == NEW_SIZE) {
		uint32_t length;

		memcpy(&length, rsdp + 20, sizeof length);
		KASSERT(length >= NEW_SIZE);
		KASSERT_EQ(sum(rsdp, NEW_SIZE), 0);
	}
	if (boot_info()->path == BOOT_PATH_MULTIBOOT2) {
		KASSERT(at >= image);
		KASSERT(at + size <= end);
	}
}
