/* Multiboot2 information to struct boot_info. All that the loader says is checked before it is used. */
#include <stdbool.h>
#include <stddef.h>
#include "boot.h"
#include "errno.h"
#include "string.h"

enum { TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MEMMAP = 6, TAG_RSDP_OLD = 14, TAG_RSDP_NEW = 15 };

enum {
	ALIGNMENT = 8,                  /* of the information and of each tag in it */
	TOTAL_MIN = 16,                 /* the head and the end tag */
	TOTAL_MAX = 1 << 20,            /* far below 4 GiB: sums of two checked sizes do not wrap */
	RSDP_OLD_SIZE = 20,
	RSDP_NEW_SIZE = 36,
};

/* What the loader writes. All of it is at multiples of 8 once the checks are done, so that nothing need be packed. */
struct mb2_info {
	uint32_t total_size, reserved;
};

struct mb2_tag {
	uint32_t type, size;            /* size: with these eight bytes, without the padding to the next tag */
};

struct mb2_module {
	struct mb2_tag tag;
	uint32_t start, end;
};

struct mb2_memmap {
	struct mb2_tag tag;
	uint32_t entry_size, version;   /* entries are entry_size apart: later versions may add to them */
};

struct mb2_entry {
	uint64_t base, len;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct mb2_info) == 8, "layout of the information's head");
_Static_assert(sizeof(struct mb2_info) % ALIGNMENT == 0, "the first tag follows the head");
_Static_assert(offsetof(struct mb2_tag, size) == 4, "layout of a tag");
_Static_assert(sizeof(struct mb2_tag) == 8, "layout of a tag");
_Static_assert(offsetof(struct mb2_module, start) == 8, "layout of a module tag");
_Static_assert(offsetof(struct mb2_module, end) == 12, "layout of a module tag");
_Static_assert(sizeof(struct mb2_module) == 16, "layout of a module tag");
_Static_assert(offsetof(struct mb2_memmap, entry_size) == 8, "layout of a memory map tag");
_Static_assert(sizeof(struct mb2_memmap) == 16, "layout of a memory map tag");
_Static_assert(offsetof(struct mb2_entry, len) == 8, "layout of a memory map entry");
_Static_assert(offsetof(struct mb2_entry, type) == 16, "layout of a memory map entry");
_Static_assert(sizeof(struct mb2_entry) == 24, "layout of a memory map entry");

static const void *behind(const void *object, size_t bytes)
{
	return (const uint8_t *)object + bytes;
}

/* From a tag to the next one: a multiple of 8, as are all places of tags. */
static size_t tag_step(const struct mb2_tag *tag)
{
	return ((size_t)tag->size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Whether a tag that lies within the information has what its type must have. */
static bool tag_is_sound(const struct mb2_tag *tag)
{
	const struct mb2_module *module = (const void *)tag;
	const struct mb2_memmap *map = (const void *)tag;

	switch (tag->type) {
	case TAG_MODULE:
		return tag->size >= sizeof *module && module->start <= module->end;
	case TAG_MEMMAP:
		return tag->size >= sizeof *map && map->entry_size >= sizeof(struct mb2_entry) &&
		       map->entry_size % ALIGNMENT == 0;
	case TAG_RSDP_OLD:
		return tag->size >= sizeof *tag + RSDP_OLD_SIZE;
	case TAG_RSDP_NEW:
		return tag->size >= sizeof *tag + RSDP_NEW_SIZE;
	default:
		return true;
	}
}

/* Whether all tags up to the end tag lie within the information and are sound, and there is an end tag: after that they
 * can be walked without a look at the total size. */
static bool is_sound(const struct mb2_info *info)
{
	const struct mb2_tag *tag;
	size_t total;

	if (!info || (uintptr_t)info % ALIGNMENT)
		return false;
	total = info->total_size;
	if (total < TOTAL_MIN || total > TOTAL_MAX)
		return false;
	/* A step is from a tag within the total: at is at most ALIGNMENT - 1 above that, and does not wrap. */
	for (size_t at = sizeof *info; at + sizeof *tag <= total; at += tag_step(tag)) {
		tag = behind(info, at);
		if (tag->size < sizeof *tag || tag->size > total - at || !tag_is_sound(tag))
			return false;
		if (tag->type == TAG_END)
			return true;
	}
	return false;
}

static const struct mb2_tag *first_tag(const struct mb2_info *info)
{
	return behind(info, sizeof *info);
}

static const struct mb2_tag *next_tag(const struct mb2_tag *tag)
{
	return behind(tag, tag_step(tag));
}

/* The first tag of a type, or NULL. */
static const struct mb2_tag *find_tag(const struct mb2_info *info, uint32_t type)
{
	for (const struct mb2_tag *tag = first_tag(info); tag->type != TAG_END; tag = next_tag(tag))
		if (tag->type == type)
			return tag;
	return NULL;
}

/* A rest too short for an entry does not count. */
static size_t map_count(const struct mb2_memmap *map)
{
	return (map->tag.size - sizeof *map) / map->entry_size;
}

static const struct mb2_entry *map_entry(const struct mb2_memmap *map, size_t i)
{
	return behind(map, sizeof *map + i * map->entry_size);
}

/* Entries that are empty or wrap around are dropped. */
static bool entry_is_kept(const struct mb2_entry *entry)
{
	return entry->base + entry->len > entry->base;
}

/* Keeps the map ascending by base, equal bases in the order in which they come. The caller has made sure of room. */
static void add_mem(struct boot_info *out, const struct mb2_entry *entry)
{
	const bool known = entry->type >= BOOT_MEM_USABLE && entry->type <= BOOT_MEM_BAD;
	uint32_t at = out->mem_count++;

	for (; at > 0 && out->mem[at - 1].base > entry->base; at--)
		out->mem[at] = out->mem[at - 1];
	out->mem[at] = (struct boot_mem){
		.base = entry->base,
		.len = entry->len,
		.type = known ? entry->type : BOOT_MEM_RESERVED,
	};
}

/* The text ends with its NUL or with the tag, and is cut to fit. The caller has cleared all of out. */
static void set_cmdline(struct boot_info *out, const struct mb2_tag *tag)
{
	const char *text = behind(tag, sizeof *tag);
	size_t max = tag->size - sizeof *tag;

	if (max > BOOT_CMDLINE_SIZE - 1)
		max = BOOT_CMDLINE_SIZE - 1;
	memcpy(out->cmdline, text, strnlen(text, max));
}

int mb2_parse(const void *info, struct boot_info *out)
{
	const struct mb2_memmap *map;
	const struct mb2_tag *cmdline, *rsdp;
	size_t kept = 0, modules = 0;

	if (!is_sound(info))
		return -EINVAL;

	map = (const void *)find_tag(info, TAG_MEMMAP);
	if (!map || map_count(map) == 0)
		return -ENOENT;

	for (size_t i = 0; i < map_count(map); i++)
		kept += entry_is_kept(map_entry(map, i));
	for (const struct mb2_tag *tag = first_tag(info); tag->type != TAG_END; tag = next_tag(tag))
		modules += tag->type == TAG_MODULE;
	if (kept > BOOT_MEM_MAX || modules > BOOT_MODULES_MAX)
		return -ENOSPC;

	memset(out, 0, sizeof *out);
	out->path = BOOT_PATH_MULTIBOOT2;
	cmdline = find_tag(info, TAG_CMDLINE);
	if (cmdline)
		set_cmdline(out, cmdline);
	rsdp = find_tag(info, TAG_RSDP_NEW);
	if (!rsdp)
		rsdp = find_tag(info, TAG_RSDP_OLD);
	if (rsdp)
		out->rsdp = (uintptr_t)behind(rsdp, sizeof *rsdp) - DIRECT_MAP_BASE;
	for (size_t i = 0; i < map_count(map); i++)
		if (entry_is_kept(map_entry(map, i)))
			add_mem(out, map_entry(map, i));
	for (const struct mb2_tag *tag = first_tag(info); tag->type != TAG_END; tag = next_tag(tag))
		if (tag->type == TAG_MODULE) {
			const struct mb2_module *module = (const void *)tag;

			out->modules[out->module_count++] =
				(struct boot_module){ module->start, module->end - module->start };
		}
	return 0;
}
