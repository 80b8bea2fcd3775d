/* PVH start information to struct boot_info. All that the loader says is checked before it is used. */
#include <stdbool.h>
#include <stddef.h>
#include "boot.h"
#include "errno.h"
#include "string.h"

#define HVM_START_MAGIC 0x336ec578u

/* The direct map reaches this far until mm maps the rest. */
#define REACH (4ul << 30)

/* What the loader writes. Packed: no loader has promised an alignment. */
struct hvm_start_info {
	uint32_t magic;
	uint32_t version;               /* 1 or more has the memory map */
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules;               /* meaningless if there are none */
	uint64_t cmdline;               /* 0: none */
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_count;
	uint32_t reserved;
} __attribute__((packed));

struct hvm_module {
	uint64_t base, len, cmdline, reserved;
} __attribute__((packed));

struct hvm_memmap_entry {
	uint64_t base, len;
	uint32_t type, reserved;
} __attribute__((packed));

_Static_assert(offsetof(struct hvm_start_info, module_count) == 12, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_start_info, modules) == 16, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_start_info, cmdline) == 24, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_start_info, rsdp) == 32, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_start_info, memmap) == 40, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_start_info, memmap_count) == 48, "layout of hvm_start_info");
_Static_assert(sizeof(struct hvm_start_info) == 56, "layout of hvm_start_info");
_Static_assert(offsetof(struct hvm_module, len) == 8, "layout of a module list entry");
_Static_assert(sizeof(struct hvm_module) == 32, "layout of a module list entry");
_Static_assert(offsetof(struct hvm_memmap_entry, len) == 8, "layout of a memory map entry");
_Static_assert(offsetof(struct hvm_memmap_entry, type) == 16, "layout of a memory map entry");
_Static_assert(sizeof(struct hvm_memmap_entry) == 24, "layout of a memory map entry");

/* Whether all of [phys, phys + size) can be read through the direct map; no sum of the two, it might wrap. */
static bool within_reach(uint64_t phys, uint64_t size)
{
	return size <= REACH && phys <= REACH - size;
}

static const void *direct(uint64_t phys)
{
	return (const void *)(DIRECT_MAP_BASE + phys);
}

/* Entries that are empty or wrap around are dropped. */
static bool is_sound(const struct hvm_memmap_entry *entry)
{
	return entry->base + entry->len > entry->base;
}

/* Keeps the map ascending by base, equal bases in the order in which they come. The caller has made sure of room. */
static void add_mem(struct boot_info *info, const struct hvm_memmap_entry *entry)
{
	const bool known = entry->type >= BOOT_MEM_USABLE && entry->type <= BOOT_MEM_BAD;
	uint32_t at = info->mem_count++;

	for (; at > 0 && info->mem[at - 1].base > entry->base; at--)
		info->mem[at] = info->mem[at - 1];
	info->mem[at] = (struct boot_mem){
		.base = entry->base,
		.len = entry->len,
		.type = known ? entry->type : BOOT_MEM_RESERVED,
	};
}

int pvh_parse(const void *start_info, struct boot_info *info)
{
	const struct hvm_start_info *start = start_info;
	const struct hvm_memmap_entry *memmap;
	uint32_t sound = 0;

	if (!start || start->magic != HVM_START_MAGIC)
		return -EINVAL;
	if (start->version == 0 || start->memmap == 0 || start->memmap_count == 0)
		return -ENOENT;
	if (!within_reach(start->memmap, (uint64_t)start->memmap_count * sizeof *memmap))
		return -EFAULT;
	if (start->module_count &&
	    !within_reach(start->modules, (uint64_t)start->module_count * sizeof(struct hvm_module)))
		return -EFAULT;
	if (start->cmdline && !within_reach(start->cmdline, BOOT_CMDLINE_SIZE))
		return -EFAULT;

	memmap = direct(start->memmap);
	for (uint32_t i = 0; i < start->memmap_count; i++)
		sound += is_sound(&memmap[i]);
	if (sound > BOOT_MEM_MAX || start->module_count > BOOT_MODULES_MAX)
		return -ENOSPC;

	memset(info, 0, sizeof *info);
	info->path = BOOT_PATH_PVH;
	info->rsdp = start->rsdp;
	if (start->cmdline) {
		const char *cmdline = direct(start->cmdline);

		/* The memset has ended it. */
		memcpy(info->cmdline, cmdline, strnlen(cmdline, BOOT_CMDLINE_SIZE - 1));
	}
	for (uint32_t i = 0; i < start->memmap_count; i++)
		if (is_sound(&memmap[i]))
			add_mem(info, &memmap[i]);
	if (start->module_count) {
		const struct hvm_module *modules = direct(start->modules);

		for (uint32_t i = 0; i < start->module_count; i++)
			info->modules[i] = (struct boot_module){ modules[i].base, modules[i].len };
		info->module_count = start->module_count;
	}
	return 0;
}

uint64_t boot_usable_bytes(const struct boot_info *info)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < info->mem_count; i++)
		if (info->mem[i].type == BOOT_MEM_USABLE)
			sum += info->mem[i].len;
	return sum;
}
