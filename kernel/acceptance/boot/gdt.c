/* Acceptance of boot/gdt.c and boot/cpu.c: segments, task state, and where the processor finds its own data. See spec/boot.md. */
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "internal.h"

#define UPPER_HALF 0xFFFF800000000000ull

_Static_assert(SEL_KERNEL_CODE == 0x08 && SEL_KERNEL_DATA == 0x10, "sysret's order");
_Static_assert(SEL_USER_DATA == 0x18 && SEL_USER_CODE == 0x20 && SEL_TSS == 0x28, "sysret's order");

static uint64_t entry(unsigned selector)
{
	return ((const volatile uint64_t *)harness_gdt().base)[selector / 8];
}

/* Bits 40-47: type, system, privilege, present; the accessed bit, which the processor sets, left out. */
static unsigned access(unsigned selector)
{
	return entry(selector) >> 40 & 0xfe;
}

static bool is_long(unsigned selector)
{
	return (entry(selector) >> 53 & 3) == 1;        /* L set, D clear */
}

static uint16_t task_register(void)
{
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	return tr;
}

static volatile struct tss *task_state(void)
{
	const uint64_t low = entry(SEL_TSS), high = entry(SEL_TSS + 8);

	return (volatile struct tss *)((low >> 16 & 0xffffff) | (low >> 56 & 0xff) << 24 | high << 32);
}

/* Whether every page of the stack that ends there can be written. */
static bool is_stack(uint64_t top, uint64_t size)
{
	for (uint64_t at = top - size; at < top; at += 1024) {
		volatile uint64_t *word = (volatile uint64_t *)at;
		const uint64_t old = *word;

		*word = ~old;
		if (*word != ~old)
			return false;
		*word = old;
	}
	return true;
}

KTEST(boot, gdt_layout)
{
	const struct harness_table gdt = harness_gdt();

	KASSERT(gdt.base >= UPPER_HALF);
	KASSERT_EQ(gdt.limit, 0x37);
	KASSERT_EQ(entry(0), 0);
	KASSERT_EQ(access(SEL_KERNEL_CODE), 0x9a);
	KASSERT_EQ(access(SEL_KERNEL_DATA), 0x92);
	KASSERT_EQ(access(SEL_USER_DATA), 0xf2);
	KASSERT_EQ(access(SEL_USER_CODE), 0xfa);
	KASSERT(is_long(SEL_KERNEL_CODE));
	KASSERT(is_long(SEL_USER_CODE));
	KASSERT_EQ(HARNESS_READ("mov %%cs, %0") & 0xffff, SEL_KERNEL_CODE);
	KASSERT_EQ(HARNESS_READ("mov %%ss, %0") & 0xffff, SEL_KERNEL_DATA);
}

KTEST(boot, tss)
{
	volatile struct tss *tss = task_state();
	const uint64_t low = entry(SEL_TSS), limit = (low & 0xffff) | (low >> 32 & 0xf0000);

	KASSERT_EQ(task_register(), SEL_TSS);
	KASSERT_EQ(low >> 40 & 0xff, 0x8b);             /* present, DPL 0, 64-bit, busy: loaded */
	KASSERT_EQ(low >> 55 & 1, 0);                   /* the limit is in bytes */
	KASSERT_EQ(entry(SEL_TSS + 8) >> 32, 0);
	KASSERT((uint64_t)tss >= UPPER_HALF);
	KASSERT(limit >= sizeof *tss - 1);
	KASSERT(tss->iomap > limit);                    /* no ports for ring 3 */
	KASSERT(tss->rsp[0] >= UPPER_HALF);
	KASSERT_EQ(tss->rsp[0] % 16, 0);
	KASSERT(is_stack(tss->rsp[0], 64));
}

KTEST(boot, ist_stacks)
{
	volatile struct tss *tss = task_state();
	const uint64_t boot = harness_addr(boot_stack_top);

	for (unsigned i = 0; i < 3; i++) {
		const uint64_t top = tss->ist[i];

		KASSERT(top >= UPPER_HALF + IST_STACK_SIZE);
		KASSERT_EQ(top % 16, 0);
		KASSERT(is_stack(top, IST_STACK_SIZE));
		KASSERT(top <= boot - BOOT_STACK_SIZE || top - IST_STACK_SIZE >= boot);
		for (unsigned j = 0; j < i; j++)
			KASSERT(top <= tss->ist[j] - IST_STACK_SIZE || top - IST_STACK_SIZE >= tss->ist[j]);
	}
	KASSERT_EQ(IST_STACK_SIZE, 16384);
}

/* What ring 3 comes in on, and what it was again. */
KTEST(boot, tss_rsp0)
{
	volatile struct tss *tss = task_state();
	const uint64_t flags = harness_cli(), before = tss->rsp[0];
	uint64_t seed = harness_seed(), given = UPPER_HALF | (harness_random(&seed) & 0xfffffff0), set, put_back;

	gdt_set_rsp0(given);
	set = tss->rsp[0];
	gdt_set_rsp0(before);
	put_back = tss->rsp[0];
	harness_restore(flags);
	KASSERT_EQ(set, given);
	KASSERT_EQ(put_back, before);
}

KTEST(boot, cpu_data)
{
	struct cpu *c = cpu_self();

	KASSERT_EQ((uint64_t)c, harness_rdmsr(0xC0000101));     /* GS base */
	KASSERT_EQ((uint64_t)c->self, (uint64_t)c);
	KASSERT_EQ(c->index, 0);
	KASSERT_EQ((uint64_t)cpu_get(0), (uint64_t)c);
	KASSERT(cpu_count() >= 1);
	KASSERT(cpu_count() <= CPU_MAX);
	KASSERT(cpu_get(cpu_count()) == NULL);
	KASSERT(cpu_get(CPU_MAX) == NULL);
	KASSERT(cpu_get(UINT32_MAX) == NULL);
}
