/* From the loader to the idle loop: the windows on memory, what the loader told, and kernel_main. */
#pragma once
#include <stdint.h>

/* The image: physical p is at KERNEL_BASE + p, first 1 GiB. */
#define KERNEL_BASE      0xFFFFFFFF80000000ul

/* Physical p is at DIRECT_MAP_BASE + p; first 4 GiB until mm maps the rest. */
#define DIRECT_MAP_BASE  0xFFFF800000000000ul

#define BOOT_STACK_SIZE    32768
#define BOOT_CMDLINE_SIZE  1024                 /* with the NUL */
#define BOOT_MEM_MAX       64
#define BOOT_MODULES_MAX   8

/* Who loaded us. The values are what entry code passes to kernel_main. */
enum boot_path {
	BOOT_PATH_PVH = 1,
	BOOT_PATH_MULTIBOOT2 = 2,
};

/* The numbers of E820, PVH and Multiboot2, which agree. */
enum boot_mem_type {
	BOOT_MEM_USABLE = 1,
	BOOT_MEM_RESERVED = 2,
	BOOT_MEM_ACPI = 3,      /* usable once the ACPI tables have been read */
	BOOT_MEM_NVS = 4,
	BOOT_MEM_BAD = 5,
};

/* One entry of the memory map, bytes. len > 0, base + len > base. */
struct boot_mem {
	uint64_t base, len;
	uint32_t type;          /* enum boot_mem_type */
	uint32_t zero;
};

struct boot_module {
	uint64_t base, len;     /* physical, bytes */
};

/* What the loader told. Written once, before init_run(); read-only afterwards. */
struct boot_info {
	enum boot_path path;
	char cmdline[BOOT_CMDLINE_SIZE];                /* always ended; cut if the loader's was longer */
	uint64_t rsdp;                                  /* physical address of the ACPI RSDP; 0: not told */
	uint32_t mem_count, module_count;
	struct boot_mem mem[BOOT_MEM_MAX];              /* ascending by base; may overlap if the loader's did */
	struct boot_module modules[BOOT_MODULES_MAX];
};

/* The boot stack, in bss: BOOT_STACK_SIZE bytes, both ends 4 KiB aligned. Defined in entry.asm. */
extern char boot_stack_bottom[], boot_stack_top[];
_Static_assert(BOOT_STACK_SIZE % 4096 == 0, "both ends of the boot stack are page-aligned");

/* What the loader told. Never NULL. Complete from before init_run() on; from then on in any context. */
const struct boot_info *boot_info(void);

/* The sum of the lengths of all usable entries, in bytes. No errors; any context. */
uint64_t boot_usable_bytes(const struct boot_info *info);

/* Fills *info from PVH start information; what it points to is read through the direct map, which must cover the first
 * 4 GiB. start_info itself is a virtual address. Needs neither console nor interrupts, and leaves boot_info() alone.
 * 0, or with *info unchanged:
 * -EINVAL: start_info is NULL or its magic is wrong.
 * -ENOENT: version 0, no memory map (address 0), or none with entries.
 * -EFAULT: map, module list or command line (counted as BOOT_CMDLINE_SIZE bytes) do not lie wholly below 4 GiB.
 * -ENOSPC: more than BOOT_MEM_MAX entries after dropping, or more than BOOT_MODULES_MAX modules.
 * Checked in this order. */
int pvh_parse(const void *start_info, struct boot_info *info);

/* Fills *out from Multiboot2 information at info, an address in the direct map: a physical address within it is the
 * pointer less DIRECT_MAP_BASE. Reads no further than the information's total size. Needs neither console nor
 * interrupts, and leaves boot_info() alone. 0, or with *out unchanged, in this order:
 * -EINVAL: info is NULL or not 8-byte aligned; total size below 16 or above 1 MiB; a tag's size is below 8 or leads
 *          past the end; no end tag; a known tag is shorter than what it must hold; an entry size below 24 or no
 *          multiple of 8; a module that ends before it begins.
 * -ENOENT: no memory map, or none with entries.
 * -ENOSPC: as pvh_parse. */
int mb2_parse(const void *info, struct boot_info *out);

/* Called by entry code on the boot stack with the path and the physical address of the start information, which is that
 * of the path: PVH's hvm_start_info or Multiboot2's information. Interrupts off; once, on the boot processor. Does not
 * return: panics on a path it does not know and on start information it cannot use. */
_Noreturn void kernel_main(enum boot_path path, uint64_t info_phys);
