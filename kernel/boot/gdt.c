/* Each processor's GDT, TSS and interrupt stacks. See spec/boot.md, "Descriptor tables". */
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "panic.h"

#define GDT_ENTRIES 7
#define IST_STACKS 3
enum { PIC_MASTER_MASK = 0x21, PIC_SLAVE_MASK = 0xa1 };         /* ports of the old PICs' mask registers */
#define MSR_GS_BASE 0xC0000101u

/* Null, kernel code, kernel data, user data, user code, and room for the TSS's 16 bytes. All are marked accessed
 * already, so the processor has nothing to write to them. */
static const uint64_t gdt_template[GDT_ENTRIES] = {
	[SEL_KERNEL_CODE / 8] = 0x00AF9B000000FFFF,
	[SEL_KERNEL_DATA / 8] = 0x00CF93000000FFFF,
	[SEL_USER_DATA / 8] = 0x00CFF3000000FFFF,
	[SEL_USER_CODE / 8] = 0x00AFFB000000FFFF,
};

/* What lgdt reads. */
struct gdt_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct gdt_register) == 10, "lgdt reads 10 bytes");

/* All by the processor's index. */
static uint64_t gdts[CPU_MAX][GDT_ENTRIES];
static struct tss tsses[CPU_MAX];
/* The lowest page of each is the hole beneath it, see guard_ist_stacks. */
static uint8_t ist_stacks[CPU_MAX][IST_STACKS][PAGE_SIZE + IST_STACK_SIZE] __attribute__((aligned(PAGE_SIZE)));
_Static_assert(sizeof gdts[0] - 1 == 0x37, "the GDT's limit");
_Static_assert(SEL_TSS / 8 + 2 == GDT_ENTRIES, "the TSS's descriptor comes last, in two entries");
_Static_assert(IST_NMI == 1 && IST_DOUBLE_FAULT == 2 && IST_MACHINE_CHECK == IST_STACKS, "ISTs 1 to 3 have a stack");
_Static_assert(IST_STACK_SIZE % PAGE_SIZE == 0, "every stack's hole and top are page-aligned, as the first one's");

static void tss_fill(unsigned index)
{
	struct tss *tss = &tsses[index];

	*tss = (struct tss){ .rsp = { (uint64_t)boot_stack_top }, .iomap = sizeof *tss };
	for (unsigned i = 0; i < IST_STACKS; i++)
		tss->ist[i] = (uint64_t)ist_stacks[index][i] + sizeof ist_stacks[index][i];
}

/* The TSS's descriptor says available: ltr refuses a busy one, and makes it busy. */
static void gdt_fill(unsigned index)
{
	const uint64_t tss = (uint64_t)&tsses[index], limit = sizeof tsses[index] - 1, present_available_tss = 0x89;
	uint64_t *gdt = gdts[index];

	for (unsigned i = 0; i < GDT_ENTRIES; i++)
		gdt[i] = gdt_template[i];
	gdt[SEL_TSS / 8] = limit | (tss & 0xffffff) << 16 | present_available_tss << 40 | (tss >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = tss >> 32;
}

void gdt_load(struct cpu *c)
{
	const struct gdt_register gdtr = { sizeof gdts[0] - 1, (uint64_t)gdts[c->index] };
	const uint64_t gs_base = (uint64_t)c;
	uint64_t scratch;

	tss_fill(c->index);
	gdt_fill(c->index);
	/* In: the register's image, selectors. Out: all segment registers and the task register; one scratch register.
	 * CS can only be loaded by a far transfer. There is no red zone that the pushes could hit. */
	__asm__ volatile(
		"lgdt %[gdtr]\n\t"
		"pushq %[code]\n\t"
		"leaq 1f(%%rip), %[scratch]\n\t"
		"pushq %[scratch]\n\t"
		"lretq\n"
		"1:\n\t"
		"movl %[data], %k[scratch]\n\t"
		"movl %k[scratch], %%ds\n\t"
		"movl %k[scratch], %%es\n\t"
		"movl %k[scratch], %%ss\n\t"
		"xorl %k[scratch], %k[scratch]\n\t"
		"movl %k[scratch], %%fs\n\t"
		"movl %k[scratch], %%gs\n\t"
		"movl %[tss], %k[scratch]\n\t"
		"ltr %w[scratch]"
		: [scratch] "=&r"(scratch)
		: [gdtr] "m"(gdtr), [code] "i"(SEL_KERNEL_CODE), [data] "i"(SEL_KERNEL_DATA), [tss] "i"(SEL_TSS)
		: "memory", "cc");
	/* Last: loading GS clears its base. */
	__asm__ volatile("wrmsr" : : "c"(MSR_GS_BASE), "a"((uint32_t)gs_base), "d"((uint32_t)(gs_base >> 32)) : "memory");
}

void gdt_set_rsp0(uint64_t rsp)
{
	tsses[cpu_self()->index].rsp[0] = rsp;
}

/* This processor's initial APIC ID: CPUID leaf 1, EBX 31:24. */
static uint32_t initial_apic_id(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx >> 24;
}

static void gdt_init(void)
{
	/* A BIOS leaves the interval timer's interrupt unmasked, at the double fault's vector. drivers/apic.c remaps the
	 * PICs and masks them again, but interrupts may be switched on before it comes. */
	outb(PIC_MASTER_MASK, 0xff);
	outb(PIC_SLAVE_MASK, 0xff);
	cpu_get(0)->apic_id = initial_apic_id();
	gdt_load(cpu_get(0));
}
INIT(INIT_EARLY, gdt_init);

/* Of processors that are not there, too: nobody has to know here who will be. */
static void guard_ist_stacks(void)
{
	for (unsigned index = 0; index < CPU_MAX; index++)
		for (unsigned i = 0; i < IST_STACKS; i++) {
			const int err = stack_guard(ist_stacks[index][i]);

			if (err)
				panic("guard_ist_stacks: error %d", err);
		}
}
INIT(INIT_MM + 2, guard_ist_stacks);
