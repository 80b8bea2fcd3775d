/* The kernel's main line, from entry code's call to the idle loop; and what the loader told, kept. */
#include "boot.h"
#include "console.h"
#include "harness.h"
#include "panic.h"
#include "printf.h"

/* kernel.ld: physical, page-aligned; only their addresses mean anything. */
extern const char __kernel_phys_start[], __kernel_phys_end[];

/* Static, as it is too big for a stack frame. Written by kernel_main before init_run(), by nobody after that. */
static struct boot_info loader_info;

const struct boot_info *boot_info(void)
{
	return &loader_info;
}

_Noreturn void kernel_main(enum boot_path path, uint64_t info_phys)
{
	int err;

	(void)console_init();           /* a machine without a console goes on without */
	kprintf("AUTON kernel 0.1 x86_64\n");

	if (path != BOOT_PATH_PVH)
		panic("boot: unknown path %d", (int)path);
	err = pvh_parse((const void *)(DIRECT_MAP_BASE + info_phys), &loader_info);
	if (err)
		panic("boot: start information: error %d", err);

	kprintf("boot: path pvh\n");
	/* Two calls: a kprintf without lib/ cuts what is long, and the end of the line must not be lost with it. */
	kprintf("boot: command line \"%s", loader_info.cmdline);
	kprintf("\"\n");
	kprintf("boot: memory %lu MiB usable in %u regions\n", boot_usable_bytes(&loader_info) >> 20,
		loader_info.mem_count);
	kprintf("boot: kernel 0x%lx-0x%lx\n", (uintptr_t)__kernel_phys_start, (uintptr_t)__kernel_phys_end);

	init_run();
	kprintf("ready\n");
	harness_run();                  /* returns unless this is a test boot */

	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");    /* nothing handles interrupts yet */
}
