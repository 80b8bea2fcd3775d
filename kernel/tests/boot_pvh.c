/* pvh_parse and boot_usable_bytes beyond their acceptance: the order of the checks, reach to the byte, command lines of
 * every awkward length, and the memory map against a model of what spec/boot.md says. */
#include "boot.h"
#include "errno.h"
#include "harness.h"
#include "string.h"

#define LIMIT (4ull << 30)              /* what is not wholly below is refused */
#define MAGIC 0x336ec578u

enum { MAP_ROOM = 4 * BOOT_MEM_MAX, PATTERN = 0xc3, CHANGED = 1 };

struct map_entry {
	uint64_t base, len;
	uint32_t type, reserved;
};

struct list_entry {
	uint64_t base, len, cmdline, reserved;
};

static struct start {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, map;
	uint32_t map_count, reserved;
} start;
static struct map_entry map[MAP_ROOM];
static struct list_entry list[BOOT_MODULES_MAX + 1];
static char line[BOOT_CMDLINE_SIZE + 8];
static uint8_t odd[256];
static struct boot_info got, kept;
static uint64_t random_state;

_Static_assert(sizeof start == 56 && sizeof *map == 24 && sizeof *list == 32, "layouts of the loader's structures");

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

/* Acceptable start information: one usable page, no modules, no command line. The tables are good to their ends. */
static void make_start(void)
{
	for (uint32_t i = 0; i < MAP_ROOM; i++)
		map[i] = (struct map_entry){ 0x100000ull * (i + 1), 0x1000, BOOT_MEM_USABLE, 0 };
	for (uint32_t i = 0; i < BOOT_MODULES_MAX + 1; i++)
		list[i] = (struct list_entry){ 0x200000ull * (i + 1), 0x100 + i, 0, 0 };
	memset(line, 0, sizeof line);
	start = (struct start){ .magic = MAGIC, .version = 1, .modules = phys(list), .rsdp = 0xe0010,
				.map = phys(map), .map_count = 1 };
}

static int parse(void)
{
	memset(&got, PATTERN, sizeof got);
	return pvh_parse(&start, &got);
}

/* What pvh_parse returns if it leaves *info alone, else CHANGED. */
static int refusal(void)
{
	const int err = parse();

	for (size_t i = 0; i < sizeof got; i++)
		if (((const uint8_t *)&got)[i] != PATTERN)
			return CHANGED;
	return err;
}

/* ---- the order of the checks ---- */

enum fault { BAD_MAGIC, VERSION_0, NO_MAP, NO_ENTRIES, MAP_FAR, LIST_FAR, LINE_FAR, MAP_LONG, LIST_LONG, FAULTS };

static const int fault_err[FAULTS] = {
	-EINVAL, -ENOENT, -ENOENT, -ENOENT, -EFAULT, -EFAULT, -EFAULT, -ENOSPC, -ENOSPC,
};

/* Where two faults want one field, the earlier one gets it. */
static void make_faults(unsigned set)
{
	make_start();
	start.module_count = set >> LIST_LONG & 1 ? BOOT_MODULES_MAX + 1 : set >> LIST_FAR & 1;
	if (set >> MAP_LONG & 1)
		start.map_count = BOOT_MEM_MAX + 1;
	if (set >> LINE_FAR & 1)
		start.cmdline = LIMIT;
	if (set >> LIST_FAR & 1)
		start.modules = LIMIT;
	if (set >> MAP_FAR & 1)
		start.map = LIMIT;
	if (set >> NO_ENTRIES & 1)
		start.map_count = 0;
	if (set >> NO_MAP & 1)
		start.map = 0;
	if (set >> VERSION_0 & 1)
		start.version = 0;
	if (set >> BAD_MAGIC & 1)
		start.magic ^= 0x100;
}

/* Every combination of faults: the earliest one's error, and *info unchanged. */
KTEST(boot, check_pvh_order)
{
	for (unsigned set = 1; set < 1u << FAULTS; set++) {
		const int wanted = fault_err[__builtin_ctz(set)];
		int err;

		make_faults(set);
		err = refusal();
		if (err != wanted)
			ktest_note("faults", set);
		KASSERT_EQ(err, wanted);
	}
	make_faults(0);
	KASSERT_EQ(parse(), 0);
}

KTEST(boot, check_pvh_magic_bits)
{
	make_start();
	for (unsigned bit = 0; bit < 32; bit++) {
		start.magic = MAGIC ^ 1u << bit;
		KASSERT_EQ(refusal(), -EINVAL);
	}
	start.magic = __builtin_bswap32(MAGIC);
	KASSERT_EQ(refusal(), -EINVAL);
}

KTEST(boot, check_pvh_versions)
{
	static const uint32_t versions[] = { 2, 3, 0x100, 0x10000, 0x80000000, UINT32_MAX };

	make_start();
	start.flags = start.reserved = UINT32_MAX;      /* neither has a meaning for us */
	for (unsigned i = 0; i < sizeof versions / sizeof *versions; i++) {
		start.version = versions[i];
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.path, BOOT_PATH_PVH);
		KASSERT_EQ(got.mem_count, 1);
	}
}

/* ---- within reach or not ---- */

/* Addresses from which size bytes are not wholly below 4 GiB, then 0; from near they are. */
static uint64_t far(unsigned i, uint64_t near, uint64_t size)
{
	const uint64_t all[] = {
		LIMIT - size + 1, LIMIT - 1, LIMIT + 1,
		LIMIT + near, 1ull << 63 | near,                        /* good if cut to 32 or 63 bits */
		DIRECT_MAP_BASE + near, KERNEL_BASE + near,             /* virtual ones */
		0 - size, 1 - size, UINT64_MAX,                         /* the end wraps to 0, 1, size - 1 */
	};

	return i < sizeof all / sizeof *all ? all[i] : 0;
}

/* The list is too long, too: a parser that takes the address says -ENOSPC then rather than read there and fault. */
KTEST(boot, check_pvh_far)
{
	make_start();
	start.module_count = BOOT_MODULES_MAX + 1;
	for (unsigned i = 0; (start.modules = far(i, phys(list), sizeof list)); i++)
		KASSERT_EQ(refusal(), -EFAULT);
	start.modules = phys(list);
	for (unsigned i = 0; (start.cmdline = far(i, phys(line), BOOT_CMDLINE_SIZE)); i++)
		KASSERT_EQ(refusal(), -EFAULT);
	make_start();
	for (unsigned i = 0; (start.map = far(i, phys(map), sizeof *map)); i++)
		KASSERT_EQ(refusal(), -EFAULT);
}

/* Counts whose size in bytes is small only if cut to 32 bits. */
KTEST(boot, check_pvh_counts)
{
	static const uint32_t lists[] = { LIMIT / sizeof *list, LIMIT / sizeof *list + 1, UINT32_MAX };

	make_start();
	start.map_count = UINT32_MAX;
	KASSERT_EQ(refusal(), -EFAULT);
	start.map_count = LIMIT / sizeof *map + 1;
	KASSERT_EQ(refusal(), -EFAULT);
	start.map_count = (uint32_t)((LIMIT - start.map) / sizeof *map + 1);
	KASSERT_EQ(refusal(), -EFAULT);

	make_start();
	for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++) {
		start.module_count = lists[i];
		KASSERT_EQ(refusal(), -EFAULT);
	}
	start.modules = sizeof *list;                   /* from there to 4 GiB exactly: in reach, but too long */
	start.module_count = LIMIT / sizeof *list - 1;
	KASSERT_EQ(refusal(), -ENOSPC);
	start.modules++;
	KASSERT_EQ(refusal(), -EFAULT);
}

/* Lists and lines anywhere; the list is always too long, so that nothing need be read. */
KTEST(boot, check_pvh_reach_random)
{
	seed(0x707668);
	make_start();
	for (unsigned round = 0; round < 1000; round++) {
		const unsigned __int128 limit = LIMIT;
		uint64_t size;
		bool out;
		int err;

		start.module_count = (uint32_t)any_width();
		if (start.module_count <= BOOT_MODULES_MAX)
			start.module_count += BOOT_MODULES_MAX + 1;
		size = (uint64_t)start.module_count * sizeof *list;
		start.modules = any() % 2 ? any_width() : LIMIT - size + any() % 5 - 2;
		start.cmdline = any() % 2 ? any_width() : LIMIT - BOOT_CMDLINE_SIZE + any() % 5 - 2;
		out = start.modules + (unsigned __int128)size > limit ||
		      (start.cmdline && start.cmdline + (unsigned __int128)BOOT_CMDLINE_SIZE > limit);
		err = refusal();
		if (err != (out ? -EFAULT : -ENOSPC)) {
			ktest_note("round", round);
			ktest_note("modules", start.modules);
			ktest_note("module count", start.module_count);
			ktest_note("command line", start.cmdline);
		}
		KASSERT_EQ(err, out ? -EFAULT : -ENOSPC);
	}
}

KTEST(boot, check_pvh_no_modules)
{
	make_start();
	for (unsigned i = 0; (start.modules = far(i, phys(list), sizeof *list)); i++) {
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.module_count, 0);
	}
}

/* No alignment is asked of a loader. */
KTEST(boot, check_pvh_unaligned)
{
	make_start();
	memcpy(odd + 57, map, 2 * sizeof *map);
	memcpy(odd + 107, list, 2 * sizeof *list);
	memcpy(odd + 171, "odd", 4);
	start.map = phys(odd + 57);
	start.modules = phys(odd + 107);
	start.cmdline = phys(odd + 171);
	start.map_count = start.module_count = 2;
	memcpy(odd + 1, &start, sizeof start);
	memset(&got, PATTERN, sizeof got);
	KASSERT_EQ(pvh_parse(odd + 1, &got), 0);
	KASSERT_EQ(got.mem_count, 2);
	KASSERT_EQ(got.mem[1].base, map[1].base);
	KASSERT_EQ(got.module_count, 2);
	KASSERT_EQ(got.modules[1].base, list[1].base);
	KASSERT_EQ(got.modules[1].len, list[1].len);
	KASSERT_STREQ(got.cmdline, "odd");
}

/* ---- what is passed on ---- */

KTEST(boot, check_pvh_rsdp)
{
	static const uint64_t addresses[] = { 0, 1, LIMIT - 1, LIMIT, LIMIT + 0xe0000, 1ull << 63, UINT64_MAX };

	make_start();
	for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		start.rsdp = addresses[i];
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.rsdp, addresses[i]);
	}
}

/* In the loader's order, wherever they are; their own command lines do not matter. */
KTEST(boot, check_pvh_modules)
{
	make_start();
	for (uint32_t i = 0; i < BOOT_MODULES_MAX; i++)
		list[i] = (struct list_entry){ (1ull << 40) - i * LIMIT, LIMIT + i, UINT64_MAX - i, UINT64_MAX };
	list[3].base = list[2].base;
	for (uint32_t n = 1; n <= BOOT_MODULES_MAX; n++) {
		start.module_count = n;
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(got.module_count, n);
		for (uint32_t i = 0; i < n; i++) {
			KASSERT_EQ(got.modules[i].base, list[i].base);
			KASSERT_EQ(got.modules[i].len, list[i].len);
		}
	}
}

/* Of any bytes but NUL; what does not fit is cut. */
KTEST(boot, check_pvh_line_lengths)
{
	static const size_t lengths[] = {
		0, 1, 2, BOOT_CMDLINE_SIZE - 2, BOOT_CMDLINE_SIZE - 1, BOOT_CMDLINE_SIZE, BOOT_CMDLINE_SIZE + 1,
	};

	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		const size_t length = lengths[i] < BOOT_CMDLINE_SIZE ? lengths[i] : BOOT_CMDLINE_SIZE - 1;

		make_start();
		start.cmdline = phys(line);
		memset(line, '!', sizeof line - 1);
		for (size_t at = 0; at < lengths[i]; at++)
			line[at] = (char)(at % 255 + 1);
		line[lengths[i]] = 0;
		KASSERT_EQ(parse(), 0);
		KASSERT_EQ(strnlen(got.cmdline, BOOT_CMDLINE_SIZE), length);
		KASSERT_EQ(memcmp(got.cmdline, line, length), 0);
	}
}

/* A second parse into the same structure leaves nothing of the first. */
KTEST(boot, check_pvh_second)
{
	make_start();
	start.map_count = BOOT_MEM_MAX;
	start.module_count = BOOT_MODULES_MAX;
	start.cmdline = phys(memset(line, 'l', BOOT_CMDLINE_SIZE));
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(strnlen(got.cmdline, BOOT_CMDLINE_SIZE), BOOT_CMDLINE_SIZE - 1);

	make_start();
	start.map = phys(map + 7);
	start.map_count = 2;
	start.rsdp = 0;
	KASSERT_EQ(pvh_parse(&start, &got), 0);
	KASSERT_EQ(got.mem_count, 2);
	KASSERT_EQ(got.mem[0].base, map[7].base);
	KASSERT_EQ(got.mem[1].base, map[8].base);
	KASSERT_EQ(got.module_count, 0);
	KASSERT_EQ(got.rsdp, 0);
	KASSERT_STREQ(got.cmdline, "");
}

/* What the kernel goes by is not what a parse later fills. */
KTEST(boot, check_pvh_leaves_boot_info)
{
	memcpy(&kept, boot_info(), sizeof kept);
	make_start();
	start.map_count = BOOT_MEM_MAX;
	start.module_count = BOOT_MODULES_MAX;
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(memcmp(&kept, boot_info(), sizeof kept), 0);
	start.map_count++;
	KASSERT_EQ(refusal(), -ENOSPC);
	KASSERT_EQ(memcmp(&kept, boot_info(), sizeof kept), 0);
}

/* ---- the memory map ---- */

static bool is_kept(const struct map_entry *e)
{
	return e->len && e->len <= UINT64_MAX - e->base;
}

static uint32_t count_kept(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < start.map_count; i++)
		n += is_kept(&map[i]);
	return n;
}

/* The first of got.mem that differs from what is to become of the map, MAP_ROOM if only their number does, -1: all
 * is right. An entry's place is the number of kept ones with a lower base, or an equal one given before it. */
static int difference(void)
{
	for (uint32_t i = 0; i < start.map_count; i++) {
		const uint32_t type = map[i].type >= 1 && map[i].type <= 5 ? map[i].type : BOOT_MEM_RESERVED;
		uint32_t at = 0;

		if (!is_kept(&map[i]))
			continue;
		for (uint32_t j = 0; j < start.map_count; j++)
			at += is_kept(&map[j]) && (map[j].base < map[i].base || (map[j].base == map[i].base && j < i));
		if (at >= BOOT_MEM_MAX || got.mem[at].base != map[i].base || got.mem[at].len != map[i].len ||
		    got.mem[at].type != type || got.mem[at].zero)
			return (int)at;
	}
	return got.mem_count == count_kept() ? -1 : MAP_ROOM;
}

KTEST(boot, check_pvh_map_descending)
{
	make_start();
	start.map_count = BOOT_MEM_MAX;
	for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
		map[i] = (struct map_entry){ (BOOT_MEM_MAX - i) * (LIMIT / 8), i + 1, i % 5 + 1, ~i };
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, BOOT_MEM_MAX);
	KASSERT_EQ(got.mem[0].len, BOOT_MEM_MAX);
	KASSERT_EQ(got.mem[BOOT_MEM_MAX - 1].len, 1);
	KASSERT_EQ(difference(), -1);
}

/* Three bases in turn, a full map of them: the lengths tell the order in which they were given. */
KTEST(boot, check_pvh_map_equal_bases)
{
	make_start();
	start.map_count = BOOT_MEM_MAX;
	for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
		map[i] = (struct map_entry){ 0x3000 - i % 3 * 0x1000, 0x1000 + (i * 29) % 64, i % 5 + 1, 0 };
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem[0].base, 0x1000);
	KASSERT_EQ(got.mem[0].len, map[2].len);
	KASSERT_EQ(got.mem[1].len, map[5].len);
	KASSERT_EQ(difference(), -1);
}

KTEST(boot, check_pvh_map_overlaps)
{
	static const struct map_entry given[] = {
		{ 0x10000, 0x10000, BOOT_MEM_USABLE, 0 },
		{ 0x14000, 0x1000, BOOT_MEM_RESERVED, 0 },      /* within it */
		{ 0x1f000, 0x2000, BOOT_MEM_USABLE, 0 },        /* across its end */
		{ 0x0f000, 0x1001, BOOT_MEM_ACPI, 0 },          /* across its start */
		{ 0x10000, 0x10000, BOOT_MEM_USABLE, 0 },       /* the same */
		{ 0x21000, 0x1000, BOOT_MEM_USABLE, 0 },        /* adjacent, not to be merged */
		{ 0, UINT64_MAX, BOOT_MEM_BAD, 0 },             /* all of it */
	};

	make_start();
	memcpy(map, given, sizeof given);
	start.map_count = sizeof given / sizeof *given;
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, sizeof given / sizeof *given);
	KASSERT_EQ(difference(), -1);
}

KTEST(boot, check_pvh_map_types)
{
	static const uint32_t unknown[] = { 0, 6, 7, 8, 12, 255, 0x101, 0x10001, 0x7fffffff, 0x80000001, UINT32_MAX };
	const uint32_t others = sizeof unknown / sizeof *unknown;

	make_start();
	start.map_count = 5 + others;
	for (uint32_t i = 0; i < start.map_count; i++) {
		map[i].type = i < 5 ? i + 1 : unknown[i - 5];
		map[i].reserved = UINT32_MAX;
	}
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, 5 + others);
	for (uint32_t i = 0; i < got.mem_count; i++) {
		KASSERT_EQ(got.mem[i].type, i < 5 ? i + 1 : BOOT_MEM_RESERVED);
		KASSERT_EQ(got.mem[i].zero, 0);
	}
}

/* Ends at, before and after 2^64; 2^32 is no end. */
KTEST(boot, check_pvh_map_ends)
{
	static const struct map_entry given[] = {
		{ UINT64_MAX - 1, 1, 1, 0 }, { 1ull << 63, (1ull << 63) - 1, 1, 0 }, { 1, UINT64_MAX - 1, 1, 0 },
		{ 0xffffffff, 1, 1, 0 }, { 0xfffff000, LIMIT, 1, 0 }, { 0, 1, 1, 0 }, { 0, UINT64_MAX, 1, 0 },
		/* dropped */
		{ 0, 0, 1, 0 }, { UINT64_MAX, 0, 1, 0 }, { UINT64_MAX, 1, 1, 0 }, { UINT64_MAX - 1, 2, 1, 0 },
		{ UINT64_MAX, UINT64_MAX, 1, 0 }, { 1, UINT64_MAX, 1, 0 }, { 1ull << 63, 1ull << 63, 1, 0 },
	};

	make_start();
	memcpy(map, given, sizeof given);
	start.map_count = sizeof given / sizeof *given;
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, 7);
	KASSERT_EQ(difference(), -1);
}

/* Three dropped entries to each of BOOT_MEM_MAX good ones; then one more good one, in the last place. */
KTEST(boot, check_pvh_map_dropped)
{
	static const struct map_entry dropped[] = {
		{ 0x5000, 0, 1, 0 }, { UINT64_MAX - 0xfff, 0x1000, 2, 0 }, { 0x2000, UINT64_MAX, 1, 0 },
	};

	make_start();
	start.map_count = MAP_ROOM;
	for (uint32_t i = 0; i < MAP_ROOM; i++)
		if (i % 4 != 1)
			map[i] = dropped[i % 3];
	KASSERT_EQ(parse(), 0);
	KASSERT_EQ(got.mem_count, BOOT_MEM_MAX);
	KASSERT_EQ(difference(), -1);
	map[MAP_ROOM - 1] = map[1];
	KASSERT_EQ(refusal(), -ENOSPC);
}

/* ---- what ends exactly at 4 GiB ---- */

/* The parser reads it, whatever the firmware has there. That is no RAM, so only the boot page tables are sure to map
 * it: the parsing is done when init begins, and the tests go by what came of it. Nothing there is read after that. */
static struct {
	bool done, has_map, line_same;
	int list_err[2], line_err, map_err, map_difference;
	uint32_t list_count[2];
	unsigned list_differ[2];
	size_t line_length, text_length;
} at_limit;

static const uint32_t list_lengths[2] = { 1, BOOT_MODULES_MAX };

static void try_lists(void)
{
	for (unsigned i = 0; i < 2; i++) {
		make_start();
		start.module_count = list_lengths[i];
		start.modules = LIMIT - list_lengths[i] * sizeof *list;
		at_limit.list_err[i] = parse();
		at_limit.list_count[i] = got.module_count;
		for (uint32_t j = 0; j < list_lengths[i]; j++)
			at_limit.list_differ[i] += memcmp(&got.modules[j], direct(start.modules + j * sizeof *list),
							  sizeof got.modules[j]) != 0;
	}
}

static void try_line(void)
{
	const char *text = direct(LIMIT - BOOT_CMDLINE_SIZE);

	make_start();
	start.cmdline = LIMIT - BOOT_CMDLINE_SIZE;
	at_limit.line_err = parse();
	at_limit.text_length = strnlen(text, BOOT_CMDLINE_SIZE - 1);
	at_limit.line_length = strnlen(got.cmdline, BOOT_CMDLINE_SIZE);
	at_limit.line_same = memcmp(got.cmdline, text, at_limit.text_length) == 0;
}

/* A map long enough that not all of it is dropped, if there is one. */
static void try_map(void)
{
	make_start();
	for (start.map_count = 0; start.map_count < BOOT_MEM_MAX && !at_limit.has_map;) {
		struct map_entry first;

		start.map = LIMIT - ++start.map_count * sizeof *map;
		memcpy(&first, direct(start.map), sizeof first);
		at_limit.has_map = is_kept(&first);
	}
	if (at_limit.has_map) {
		memcpy(map, direct(start.map), start.map_count * sizeof *map);
		at_limit.map_err = parse();
		at_limit.map_difference = difference();
	}
}

static void parse_at_limit(void)
{
	try_lists();
	try_line();
	try_map();
	at_limit.done = true;
}

INIT(INIT_EARLY, parse_at_limit);

/* Accepted and read; one byte further refused, at every length. What is too long is refused without being read. */
KTEST(boot, check_pvh_list_at_limit)
{
	KASSERT(at_limit.done);
	for (unsigned i = 0; i < 2; i++) {
		KASSERT_EQ(at_limit.list_err[i], 0);
		KASSERT_EQ(at_limit.list_count[i], list_lengths[i]);
		KASSERT_EQ(at_limit.list_differ[i], 0);
	}
	make_start();
	for (uint32_t n = 1; n <= BOOT_MODULES_MAX + 1; n++) {
		start.module_count = n;
		start.modules = LIMIT - n * sizeof *list + 1;
		KASSERT_EQ(refusal(), -EFAULT);
	}
	start.modules--;
	KASSERT_EQ(refusal(), -ENOSPC);
}

KTEST(boot, check_pvh_line_at_limit)
{
	KASSERT(at_limit.done);
	KASSERT_EQ(at_limit.line_err, 0);
	KASSERT_EQ(at_limit.line_length, at_limit.text_length);
	KASSERT(at_limit.line_same);
	make_start();
	start.cmdline = LIMIT - BOOT_CMDLINE_SIZE + 1;
	KASSERT_EQ(refusal(), -EFAULT);
}

KTEST(boot, check_pvh_map_at_limit)
{
	KASSERT(at_limit.done);
	make_start();
	for (start.map_count = 1; start.map_count <= BOOT_MEM_MAX; start.map_count++) {
		start.map = LIMIT - start.map_count * sizeof *map + 1;
		KASSERT_EQ(refusal(), -EFAULT);
	}
	if (!at_limit.has_map)
		KSKIP("the firmware has nothing there that is kept");
	KASSERT_EQ(at_limit.map_err, 0);
	KASSERT_EQ(at_limit.map_difference, -1);
}

static struct map_entry any_entry(void)
{
	const uint64_t bases[] = { any() % 4 << 12, any_width(), LIMIT - any() % 3, 0 - any() % 3 };
	const uint64_t base = bases[any() % 4];
	const uint64_t lens[] = { any() % 3, 0 - base, UINT64_MAX - base, any_width(), UINT64_MAX, 0x1000 };

	return (struct map_entry){ base, lens[any() % 6], (uint32_t)(any() % 8 ? any() % 8 : any()), (uint32_t)any() };
}

KTEST(boot, check_pvh_map_random)
{
	seed(0x6d6170);
	for (unsigned round = 0; round < 200; round++) {
		int err, wanted;

		make_start();
		start.map_count = 1 + (uint32_t)(any() % 128);
		for (uint32_t i = 1; i < start.map_count; i++)  /* the first is kept: not all are dropped */
			map[i] = any_entry();
		wanted = count_kept() > BOOT_MEM_MAX ? -ENOSPC : 0;
		err = wanted ? refusal() : parse();
		if (err != wanted || (!err && difference() != -1))
			ktest_note("round", round);
		KASSERT_EQ(err, wanted);
		if (!err)
			KASSERT_EQ(difference(), -1);
	}
}

/* ---- boot_usable_bytes of made-up maps ---- */

/* A full map of usable entries of 1 TiB, of which only the first `count` are to be looked at. */
static void make_info(uint32_t count)
{
	memset(&got, 0, sizeof got);
	for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
		got.mem[i] = (struct boot_mem){ i * (1ull << 40), 1ull << 40, BOOT_MEM_USABLE, 0 };
	got.mem_count = count;
}

KTEST(boot, check_pvh_usable_counts)
{
	for (uint32_t count = 0; count <= BOOT_MEM_MAX; count++) {
		make_info(count);
		KASSERT_EQ(boot_usable_bytes(&got), count * (1ull << 40));
	}
}

KTEST(boot, check_pvh_usable_types)
{
	for (uint32_t type = BOOT_MEM_RESERVED; type <= BOOT_MEM_BAD; type++) {
		make_info(BOOT_MEM_MAX);
		for (uint32_t i = 0; i < BOOT_MEM_MAX; i++)
			got.mem[i].type = type;
		KASSERT_EQ(boot_usable_bytes(&got), 0);
		got.mem[BOOT_MEM_MAX - 1].type = BOOT_MEM_USABLE;
		KASSERT_EQ(boot_usable_bytes(&got), 1ull << 40);
	}
}

/* The sum of the lengths: what two entries both have counts twice. The sum needs more than 32 bits, no length does. */
KTEST(boot, check_pvh_usable_overlaps)
{
	make_info(4);
	for (uint32_t i = 0; i < 4; i++)
		got.mem[i] = (struct boot_mem){ 0x1000 + i / 2, 0xfffffff1 + i, BOOT_MEM_USABLE, 0 };
	got.mem[2].type = BOOT_MEM_RESERVED;
	KASSERT_EQ(boot_usable_bytes(&got), 0xfffffff1ull + 0xfffffff2 + 0xfffffff4);
}

KTEST(boot, check_pvh_usable_random)
{
	const uint64_t real = boot_usable_bytes(boot_info());

	seed(0x737564);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t sum = 0;

		make_info((uint32_t)(any() % (BOOT_MEM_MAX + 1)));
		for (uint32_t i = 0; i < got.mem_count; i++) {
			got.mem[i].base = any() >> 8;
			got.mem[i].len = (any_width() >> 8) + 1;
			got.mem[i].type = 1 + (uint32_t)(any() % 5);
			if (got.mem[i].type == BOOT_MEM_USABLE)
				sum += got.mem[i].len;
		}
		if (boot_usable_bytes(&got) != sum)
			ktest_note("round", round);
		KASSERT_EQ(boot_usable_bytes(&got), sum);
		KASSERT_EQ(boot_usable_bytes(boot_info()), real);
	}
}
