/* The kernel's own tables: the direct map of RAM, and the image with each section as it is to be used. See spec/mm.md,
 * "Start" and "Address map of the kernel". The boot tables are not used any more once kspace_init has returned.
 *
 * The root's upper half never changes after kspace_init: all other roots have a copy of it. So each area has all its
 * entries of the root from the start, with empty tables if need be; no two areas share a table below the root. */
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "harness.h"
#include "mm.h"
#include "panic.h"

#define PTE_P       (1ul << 0)
#define PTE_RW      (1ul << 1)
#define PTE_ADDRESS 0x000FFFFFFFFFF000ul

enum { ROOT_LEVEL = 3, ENTRIES = 512, SLOT_SHIFT = 39 };
#define SLOT_SIZE   (1ul << SLOT_SHIFT)         /* what an entry of the root stands for */
#define FIRST_MIB   (1ul << 20)

_Static_assert(DIRECT_MAP_BASE % SLOT_SIZE == 0 && KSTACK_BASE % SLOT_SIZE == 0 && DEVICE_MAP_BASE % SLOT_SIZE == 0,
	"areas share no entry of the root");
_Static_assert(KERNEL_BASE >> SLOT_SHIFT == UINT64_MAX >> SLOT_SHIFT, "the image's is the last one");

/* kernel.ld: the sections, page-aligned, one right after the other in this order. */
extern const char __text_start[], __text_end[], __rodata_start[], __rodata_end[], __data_start[], __bss_end[];

/* What memmap gives. There cannot be so many. */
enum { RANGES_MAX = 2 * BOOT_MEM_MAX };
static struct mm_range ranges[RANGES_MAX];
static size_t range_count;

static void must(int err, const char *what)
{
	if (err)
		panic("kspace_init: %s: error %d", what, err);
}

/* ---- the root ---- */

/* Zeroed. Below 4 GiB, where other processors look for the root, as all tables before frames_open_high. */
static paddr_t new_table(void)
{
	paddr_t table;

	must(frame_alloc(FRAME_ZERO | FRAME_LOW, &table), "tables");
	return table;
}

static void add_slot(paddr_t root, vaddr_t va)
{
	uint64_t *const entry = (uint64_t *)phys_to_virt(root) + va / SLOT_SIZE % ENTRIES;

	*entry = new_table() | PTE_P | PTE_RW;
}

/* Not by pt_create, which would copy the boot tables' upper half. RAM ends far below where the direct map would meet
 * KSTACK_BASE, at 64 TiB: frames' tables of so much would not fit below 4 GiB, and frames_init has been through. */
static paddr_t create_root(void)
{
	const struct mm_range *const highest = &ranges[range_count - 1];
	const paddr_t root = new_table(), ram_end = highest->base + highest->len;

	for (paddr_t pa = 0; pa < ram_end; pa += SLOT_SIZE)
		add_slot(root, DIRECT_MAP_BASE + pa);
	add_slot(root, KSTACK_BASE);
	add_slot(root, DEVICE_MAP_BASE);
	add_slot(root, KERNEL_BASE);
	return root;
}

/* ---- what is mapped ---- */

/* Of the first MiB also what is no RAM but named by the boot map, page by page: firmware keeps tables there. An entry
 * does not wrap, see boot.h. */
static void map_direct(paddr_t root)
{
	const struct boot_info *const info = boot_info();
	struct pt_entry leaf;

	for (size_t i = 0; i < range_count; i++)
		must(pt_map(root, DIRECT_MAP_BASE + ranges[i].base, ranges[i].base, ranges[i].len,
			VM_WRITE | VM_GLOBAL), "direct map");
	for (uint32_t i = 0; i < info->mem_count; i++) {
		const paddr_t end = info->mem[i].base + info->mem[i].len;

		for (paddr_t pa = info->mem[i].base & ~(PAGE_SIZE - 1); pa < FIRST_MIB && pa < end; pa += PAGE_SIZE)
			if (pt_translate(root, DIRECT_MAP_BASE + pa, &leaf))
				must(pt_map(root, DIRECT_MAP_BASE + pa, pa, PAGE_SIZE, VM_WRITE | VM_GLOBAL),
					"first MiB");
	}
}

static void map_section(paddr_t root, const char *start, const char *end, unsigned prot)
{
	must(pt_map(root, (vaddr_t)start, (vaddr_t)start - KERNEL_BASE, (size_t)(end - start), prot | VM_GLOBAL),
		"image");
}

/* Text and constants cannot be written by their other address either. Beneath the boot stack there is a hole. */
static void map_image(paddr_t root)
{
	map_section(root, __text_start, __text_end, VM_EXEC);
	map_section(root, __rodata_start, __rodata_end, VM_READ);
	map_section(root, __data_start, __bss_end, VM_WRITE);
	must(pt_protect(root, DIRECT_MAP_BASE + ((vaddr_t)__text_start - KERNEL_BASE),
		(size_t)(__rodata_end - __text_start), VM_READ | VM_GLOBAL), "alias of text");
	must(pt_unmap(root, (vaddr_t)boot_stack_bottom, PAGE_SIZE), "boot stack");
}

/* The first MiB at its own address, for boot/smp.c's trampoline, which runs there with paging on and writes to its own
 * page. Writable and executable, which pt_map refuses: the one exception to invariant 3, until drop_low. */
static void map_low(paddr_t root)
{
	uint64_t *table = phys_to_virt(root);

	must(pt_map(root, 0, 0, FIRST_MIB, VM_EXEC), "trampoline");
	for (unsigned level = ROOT_LEVEL; level; level--)       /* all of it is behind the first entries */
		table = phys_to_virt(*table & PTE_ADDRESS);
	for (unsigned i = 0; i < FIRST_MIB / PAGE_SIZE; i++)
		table[i] |= PTE_RW;
}

static void kspace_init(void)
{
	const struct boot_info *const info = boot_info();
	paddr_t root;

	must(memmap_normalise(info->mem, info->mem_count, ranges, RANGES_MAX, &range_count), "memory map");
	root = create_root();
	map_direct(root);
	map_image(root);
	map_low(root);

	kernel_root = root;
	__asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
	tlb_shootdown(NULL, 0, UINT64_MAX);             /* what the boot tables said is forgotten, global or not */
	frames_open_high();
}
INIT(INIT_MM + 1, kspace_init);

/* All processors are started. Nobody else changes the lower half of kernel_root; its tables stay, empty. */
static void drop_low(void)
{
	const int err = pt_unmap(kernel_root, 0, FIRST_MIB);

	if (err)
		panic("drop_low: error %d", err);
	tlb_shootdown(NULL, 0, FIRST_MIB);
}
INIT(INIT_SCHED, drop_low);
