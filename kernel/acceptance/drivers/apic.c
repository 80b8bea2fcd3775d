/* Acceptance of drivers/apic.c: the local APIC's state, and interrupts that a processor sends to itself. See spec/drivers.md. */
#include "apic.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "internal.h"
#include "mmio.h"

enum { IF = 1 << 9, FREE = 0xe8, MASKED = 1 << 16, IRR = 0x200 };

static uint32_t reg(unsigned offset)
{
	volatile const uint8_t *base = mmio_map(harness_rdmsr(0x1b) & 0x000FFFFFFFFFF000, 4096);

	return *(volatile const uint32_t *)(base + offset);
}

static uint32_t initial_apic_id(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b >> 24;
}

static volatile uint32_t received;
static struct trap_frame frame;
static uint64_t handler_flags, handler_stack;

static void receive(struct trap_frame *f)
{
	frame = *f;
	handler_flags = harness_flags();
	handler_stack = (uint64_t)__builtin_frame_address(0);
	received++;
	if (f->vector >= 32)
		apic_eoi();
}

#define LONG  4000000000ull             /* of the time stamp counter: a second or more */
#define SHORT 1000000ull                /* longer than an interrupt takes to come */

static bool wait_for(uint32_t count)
{
	const uint64_t start = harness_ticks();

	while (received != count && harness_ticks() - start < LONG)
		;
	return received == count;
}

static void linger(void)
{
	const uint64_t start = harness_ticks();

	while (harness_ticks() - start < SHORT)
		;
}

KTEST(drivers, apic_state)
{
	KASSERT_EQ(harness_rdmsr(0x1b) >> 11 & 1, 1);           /* enabled, */
	KASSERT_EQ(harness_rdmsr(0x1b) >> 10 & 1, 0);           /* not as x2APIC */
	KASSERT_EQ(reg(APIC_SVR), 0x100 | VEC_SPURIOUS);
	KASSERT_EQ(reg(APIC_ID) >> 24, initial_apic_id());
	KASSERT_EQ(apic_id(), initial_apic_id());
	KASSERT_EQ(reg(APIC_TPR) & 0xff, 0);
	KASSERT_EQ(reg(APIC_LVT_LINT0) & MASKED, MASKED);
	KASSERT_EQ(reg(APIC_LVT_LINT1) & (MASKED | 0x700), 0x400);
	KASSERT_EQ(reg(APIC_LVT_ERROR) & (MASKED | 0xff), VEC_ERROR);
	KASSERT_EQ(reg(APIC_ESR), 0);
	KASSERT_EQ(harness_flags() & IF, IF);
}

KTEST(drivers, pic_masked)
{
	KASSERT_EQ(harness_inb(0x21), 0xff);
	KASSERT_EQ(harness_inb(0xa1), 0xff);
}

KTEST(drivers, apic_self)
{
	bool came = true;

	KASSERT_EQ(trap_set_handler(FREE, receive), 0);
	received = 0;
	for (uint32_t n = 1; n <= 20 && came; n++) {            /* each again, as the one before was acknowledged */
		apic_send(apic_id(), FREE);
		came = wait_for(n);
	}
	linger();
	trap_clear_handler(FREE);
	KASSERT(came);
	KASSERT_EQ(received, 20);
	KASSERT_EQ(frame.vector, FREE);
	KASSERT_EQ(handler_flags & IF, 0);
}

/* With interrupts off it waits, and comes as soon as they are on. */
KTEST(drivers, apic_pending)
{
	uint64_t flags;
	uint32_t early, waiting;
	bool came;

	KASSERT_EQ(trap_set_handler(FREE, receive), 0);
	received = 0;
	flags = harness_cli();
	apic_send(apic_id(), FREE);
	linger();
	early = received;
	waiting = reg(IRR + FREE / 32 * 16) >> FREE % 32 & 1;
	harness_restore(flags);
	came = wait_for(1);
	linger();
	trap_clear_handler(FREE);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(waiting, 1);
	KASSERT(came);
	KASSERT_EQ(received, 1);
}

/* An interrupt that has no handler is acknowledged too: others of its priority still come. */
KTEST(drivers, apic_stray)
{
	const uint64_t before = trap_stray_count(FREE + 1);
	bool came;

	KASSERT_EQ(trap_set_handler(FREE, receive), 0);
	received = 0;
	apic_send(apic_id(), FREE + 1);
	linger();
	apic_send(apic_id(), FREE);
	came = wait_for(1);
	trap_clear_handler(FREE);
	KASSERT_EQ(trap_stray_count(FREE + 1), before + 1);
	KASSERT(came);
}

/* So is an error that it reports. */
KTEST(drivers, apic_error)
{
	bool came;

	KASSERT_EQ(trap_set_handler(FREE, receive), 0);
	received = 0;
	apic_send(apic_id(), VEC_ERROR);
	linger();
	apic_send(apic_id(), FREE);
	came = wait_for(1);
	trap_clear_handler(FREE);
	KASSERT(came);
}

/* No mask holds it: it comes with interrupts off, on a stack of its own, and again after the handler has returned. */
KTEST(boot, nmi)
{
	const uint64_t flags = harness_cli();
	const uint64_t *gdt = (const uint64_t *)harness_gdt().base;
	const volatile struct tss *tss =
		(const volatile struct tss *)((gdt[5] >> 16 & 0xffffff) | (gdt[5] >> 56 & 0xff) << 24 | gdt[6] << 32);
	const trap_handler before = trap_get_handler(VEC_NMI);
	bool came = true;
	int taken;

	trap_clear_handler(VEC_NMI);
	taken = trap_set_handler(VEC_NMI, receive);
	received = 0;
	for (uint32_t n = 1; n <= 3 && came; n++) {
		apic_command(apic_id(), 0x4400);
		came = wait_for(n);
	}
	trap_clear_handler(VEC_NMI);
	if (before)
		trap_set_handler(VEC_NMI, before);
	harness_restore(flags);
	KASSERT_EQ(taken, 0);
	KASSERT(came);
	KASSERT_EQ(frame.vector, VEC_NMI);
	KASSERT_EQ(frame.error, 0);
	KASSERT_EQ(frame.rflags & IF, 0);
	KASSERT_EQ(handler_flags & IF, 0);
	KASSERT(handler_stack < tss->ist[0]);
	KASSERT(handler_stack >= tss->ist[0] - IST_STACK_SIZE);
	KASSERT(frame.rsp < tss->ist[0] - IST_STACK_SIZE || frame.rsp > tss->ist[0]);
}

KTEST(drivers, irq_vectors)
{
	static bool ours[256];
	unsigned n = 0;
	int v, again;

	harness_memset(ours, 0, sizeof ours);
	while ((v = irq_alloc_vector()) >= 0) {
		KASSERT(v >= VEC_DEVICE);
		KASSERT(v <= VEC_DEVICE_LAST);
		KASSERT(!ours[v]);
		ours[v] = true;
		n++;
	}
	again = irq_alloc_vector();
	for (unsigned i = 0; i < 256; i++)
		if (ours[i])
			irq_free_vector(i);
	KASSERT_EQ(v, -ENOSPC);
	KASSERT_EQ(again, -ENOSPC);
	KASSERT(n >= 100);
	for (unsigned i = 0; i < 256; i++)
		if (trap_get_handler(i))                        /* in use: it was not given out */
			KASSERT(!ours[i]);
	v = irq_alloc_vector();
	KASSERT(v >= 0);
	KASSERT(ours[v]);
	irq_free_vector((unsigned)v);
}
