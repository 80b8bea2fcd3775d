/* The kernel's main line, from entry code's call to the end of the start-up thread; and what the loader told, kept. */
#include "boot.h"
#include "console.h"
#include "harness.h"
#include "panic.h"
#include "printf.h"
#include "sched.h"
#include "string.h"

enum { RSDP_REVISION = 15, RSDP_OLD_SIZE = 20, RSDP_NEW_SIZE = 36 };

/* kernel.ld: physical, page-aligned; only their addresses mean anything. */
extern const char __kernel_phys_start[], __kernel_phys_end[];

/* Static, as it is too big for a stack frame. Written by kernel_main before init_run(), by nobody after that. */
static struct boot_info loader_info;

/* Likewise. 16: as ACPI aligns it. */
static uint8_t rsdp_copy[RSDP_NEW_SIZE] __attribute__((aligned(16)));

const struct boot_info *boot_info(void)
{
	return &loader_info;
}

/* Multiboot2's RSDP lies in memory of the loader, which will be given away: the image keeps a copy. */
static void keep_rsdp(void)
{
	const uint8_t *rsdp = (const uint8_t *)(DIRECT_MAP_BASE + loader_info.rsdp);

	memcpy(rsdp_copy, rsdp, rsdp[RSDP_REVISION] >= 2 ? RSDP_NEW_SIZE : RSDP_OLD_SIZE);
	loader_info.rsdp = (uintptr_t)rsdp_copy - KERNEL_BASE;
}

_Noreturn void kernel_main(enum boot_path path, uint64_t info_phys)
{
	const void *info = (const void *)(DIRECT_MAP_BASE + info_phys);
	const char *name;
	int err;

	(void)console_init();           /* a machine without a console goes on without */
	kprintf("AUTON kernel 0.1 x86_64\n");

	switch (path) {
	case BOOT_PATH_PVH:
		name = "pvh";
		err = pvh_parse(info, &loader_info);
		break;
	case BOOT_PATH_MULTIBOOT2:
		name = "multiboot2";
		err = mb2_parse(info, &loader_info);
		break;
	default:
		panic("boot: unknown path %d", (int)path);
	}
	if (err)
		panic("boot: start information: error %d", err);
	if (path == BOOT_PATH_MULTIBOOT2 && loader_info.rsdp)
		keep_rsdp();

	kprintf("boot: path %s\n", name);
	/* Two calls: a kprintf without lib/ cuts what is long, and the end of the line must not be lost with it. */
	kprintf("boot: command line \"%s", loader_info.cmdline);
	kprintf("\"\n");
	kprintf("boot: memory %lu MiB usable in %u regions\n", boot_usable_bytes(&loader_info) >> 20,
		loader_info.mem_count);
	kprintf("boot: kernel 0x%lx-0x%lx\n", (uintptr_t)__kernel_phys_start, (uintptr_t)__kernel_phys_end);

	init_run();
	kprintf("ready\n");
	harness_run();                  /* returns unless this is a test boot */

	thread_exit(0);                 /* what there is to do is other threads' */
}
