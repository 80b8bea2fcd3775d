/* Acceptance of boot/smp.c: the other processors, what each has of its own, and locks between them. See spec/boot.md.
 * One processor is all that some machines have: what is said of all is then said of it. */
#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "console.h"
#include "panic.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "internal.h"
#include "mmio.h"
#include "spinlock.h"

enum { IF = 1 << 9, FREE = 0xe4 };

#define LONG 4000000000ull              /* ns: the machine below may have less processors, and others to serve */

/* Asked once, by the test: several at a time would get each other's answers. */
static unsigned processors(void)
{
	static unsigned n;

	if (!n)
		n = (unsigned)fw_cfg_number(FW_CFG_PROCESSORS, 2);
	return n;
}

/* Whether it came to be; nothing here waits without a bound. */
static bool wait_for(const volatile uint32_t *value, uint32_t wanted)
{
	const uint64_t start = clock_ns();

	do {
		for (unsigned i = 0; i < 100; i++) {
			if (*value == wanted)
				return true;
			__asm__ volatile("pause" : : : "memory");
		}
	} while (clock_ns() - start < LONG);
	return false;
}

static uint32_t initial_apic_id(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b >> 24;
}

/* ---- what each processor says of itself ---- */

static struct report {
	struct cpu *self;
	uint64_t cr0, cr3, cr4, efer, gs_base, gdt, idt, tss, flags, stack, ist[3];
	uint32_t apic_id, gdt_limit, idt_limit, task_register, runs;
} reports[CPU_MAX];

static void report(void *arg)
{
	struct report *r = &((struct report *)arg)[cpu_self()->index];
	const uint64_t *gdt = (const uint64_t *)harness_gdt().base;
	const volatile struct tss *tss;
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	tss = (const volatile struct tss *)((gdt[5] >> 16 & 0xffffff) | (gdt[5] >> 56 & 0xff) << 24 | gdt[6] << 32);
	r->self = cpu_self();
	r->cr0 = HARNESS_READ("mov %%cr0, %0") & ~8ull;         /* TS: who used the FPU last */
	r->cr3 = HARNESS_READ("mov %%cr3, %0");
	r->cr4 = HARNESS_READ("mov %%cr4, %0");
	r->efer = harness_rdmsr(0xC0000080);
	r->gs_base = harness_rdmsr(0xC0000101);
	r->gdt = harness_gdt().base;
	r->gdt_limit = harness_gdt().limit;
	r->idt = harness_idt().base;
	r->idt_limit = harness_idt().limit;
	r->tss = (uint64_t)tss;
	r->task_register = tr;
	for (unsigned i = 0; i < 3; i++)
		r->ist[i] = tss->ist[i];
	r->flags = harness_flags();
	r->stack = (uint64_t)__builtin_frame_address(0);
	r->apic_id = initial_apic_id();
	__atomic_fetch_add(&r->runs, 1, __ATOMIC_SEQ_CST);
}

/* All reports anew; what cpu_on_each says. */
static int ask(void)
{
	harness_memset(reports, 0, sizeof reports);
	return cpu_on_each(report, reports);
}

KTEST(boot, smp_online)
{
	KASSERT_EQ(cpu_count(), processors());
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct cpu *c = cpu_get(i);

		KASSERT(c != NULL);
		KASSERT_EQ((uint64_t)c->self, (uint64_t)c);
		KASSERT_EQ(c->index, i);
		for (unsigned j = 0; j < i; j++)
			KASSERT(cpu_get(j)->apic_id != c->apic_id);
	}
	KASSERT(cpu_get(cpu_count()) == NULL);
}

KTEST(boot, smp_self)
{
	KASSERT_EQ(ask(), 0);
	KASSERT_EQ(cpu_self()->index, 0);
	for (unsigned i = 0; i < processors(); i++) {
		KASSERT_EQ((uint64_t)reports[i].self, (uint64_t)cpu_get(i));
		KASSERT_EQ(reports[i].gs_base, (uint64_t)cpu_get(i));
		KASSERT_EQ(reports[i].apic_id, cpu_get(i)->apic_id);
	}
}

/* What one processor can do, and what it is kept from, the others too. */
KTEST(boot, smp_control)
{
	KASSERT_EQ(ask(), 0);
	for (unsigned i = 1; i < processors(); i++) {
		KASSERT_EQ(reports[i].cr0, reports[0].cr0);
		KASSERT_EQ(reports[i].cr3, reports[0].cr3);
		KASSERT_EQ(reports[i].cr4, reports[0].cr4);
		KASSERT_EQ(reports[i].efer, reports[0].efer);
		KASSERT_EQ(reports[i].idt, reports[0].idt);
		KASSERT_EQ(reports[i].idt_limit, 256 * 16 - 1);
	}
}

static bool apart(uint64_t a, uint64_t b, uint64_t distance)
{
	return a > b ? a - b >= distance : b - a >= distance;
}

/* Its local APIC is set up as the boot processor's is. */
static uint32_t entries[CPU_MAX][4];

static void read_apic(void *base)
{
	static const unsigned offsets[] = { APIC_SVR, APIC_TPR, APIC_LVT_LINT1, APIC_LVT_ERROR };

	for (unsigned i = 0; i < 4; i++)
		entries[cpu_self()->index][i] = *(volatile const uint32_t *)((volatile const uint8_t *)base + offsets[i]);
}

KTEST(boot, smp_apic)
{
	void *base = (void *)(uint64_t)mmio_map(harness_rdmsr(0x1b) & 0x000FFFFFFFFFF000, 4096);

	KASSERT(base != NULL);
	KASSERT_EQ(cpu_on_each(read_apic, base), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(entries[i][0], 0x100 | VEC_SPURIOUS);
		KASSERT_EQ(entries[i][1] & 0xff, 0);
		KASSERT_EQ(entries[i][2] & 0x10700, 0x400);
		KASSERT_EQ(entries[i][3] & 0x100ff, VEC_ERROR);
	}
}

KTEST(boot, smp_own)
{
	KASSERT_EQ(ask(), 0);
	for (unsigned i = 0; i < processors(); i++) {
		const struct report *r = &reports[i];

		KASSERT_EQ(r->gdt_limit, 0x37);
		KASSERT_EQ(r->task_register, SEL_TSS);
		for (unsigned j = 0; j < i; j++) {
			const struct report *other = &reports[j];

			KASSERT(apart(r->gdt, other->gdt, r->gdt_limit + 1));
			KASSERT(apart(r->tss, other->tss, sizeof(struct tss)));
			KASSERT(apart(r->stack, other->stack, CPU_STACK_SIZE / 2));
			for (unsigned k = 0; k < 3; k++)
				for (unsigned l = 0; l < 3; l++)
					KASSERT(apart(r->ist[k], other->ist[l], IST_STACK_SIZE));
		}
		if (i) {
			KASSERT(r->stack < harness_addr(boot_stack_bottom) || r->stack >= harness_addr(boot_stack_top));
			KASSERT_EQ(r->stack % 16, 0);
		}
	}
}

/* ---- calls ---- */

static uint32_t arrived, absent;

/* All at the same time: everybody waits here for everybody. */
static void meet(void *arg)
{
	report(arg);
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	if (!wait_for(&arrived, processors()))
		__atomic_fetch_add(&absent, 1, __ATOMIC_SEQ_CST);
}

KTEST(boot, smp_on_each)
{
	for (unsigned round = 1; round <= 50; round++) {
		KASSERT_EQ(round == 1 ? ask() : cpu_on_each(report, reports), 0);
		for (unsigned i = 0; i < CPU_MAX; i++)
			KASSERT_EQ(reports[i].runs, i < processors() ? round : 0);
	}
	arrived = absent = 0;
	KASSERT_EQ(cpu_on_each(meet, reports), 0);
	KASSERT_EQ(arrived, processors());
	KASSERT_EQ(absent, 0);
}

KTEST(boot, smp_call)
{
	const uint64_t flags = harness_flags();

	KASSERT_EQ(flags & IF, IF);
	for (unsigned round = 0; round < 50; round++)
		for (unsigned i = 0; i < processors(); i++) {
			harness_memset(reports, 0, sizeof reports);
			KASSERT_EQ(cpu_call(i, report, reports), 0);
			for (unsigned j = 0; j < CPU_MAX; j++)
				KASSERT_EQ(reports[j].runs, i == j);
			KASSERT_EQ(reports[i].flags & IF, 0);
			KASSERT_EQ(harness_flags() & IF, IF);
		}
}

KTEST(boot, smp_call_bad)
{
	harness_memset(reports, 0, sizeof reports);
	KASSERT_EQ(cpu_call(processors(), report, reports), -EINVAL);
	KASSERT_EQ(cpu_call(CPU_MAX, report, reports), -EINVAL);
	KASSERT_EQ(cpu_call(UINT32_MAX, report, reports), -EINVAL);
	KASSERT_EQ(cpu_call(0, NULL, reports), -EINVAL);
	KASSERT_EQ(cpu_call(1, NULL, reports), -EINVAL);
	for (unsigned i = 0; i < CPU_MAX; i++)
		KASSERT_EQ(reports[i].runs, 0);
}

static volatile uint32_t engaged, let_go, visits[CPU_MAX];

static void engage(void *arg)
{
	(void)arg;
	engaged = 1;
	/* longer than a busy machine below may stop whoever lets go */
	for (unsigned i = 0; i < 10 && !wait_for(&let_go, 1); i++)
		;
	/* and a while longer */
	for (const uint64_t start = clock_ns(); clock_ns() - start < 20000000;)
		__asm__ volatile("pause" : : : "memory");
}

static void nothing(void *arg)
{
	(void)arg;
}

static void visit(void *arg)
{
	(void)arg;
	visits[cpu_self()->index]++;
}

/* Who is at something for long is not waited for; who is called with all others is. */
KTEST(boot, smp_call_timeout)
{
	int first, second, all;
	uint64_t took;

	if (processors() == 1)
		KSKIP("one processor");
	engaged = let_go = 0;
	for (unsigned i = 0; i < CPU_MAX; i++)
		visits[i] = 0;
	/* on a busy machine it may not have begun within that second */
	for (unsigned tries = 0; tries == 0 || (tries < 5 && !engaged); tries++) {
		took = clock_ns();
		first = cpu_call(1, engage, reports);
		took = clock_ns() - took;
	}
	second = cpu_call(1, nothing, reports);
	let_go = 1;
	all = cpu_on_each(visit, reports);
	KASSERT_EQ(engaged, 1);
	KASSERT_EQ(first, -ETIMEDOUT);
	KASSERT(took >= 900000000);
	KASSERT_EQ(second, -ETIMEDOUT);
	KASSERT_EQ(all, 0);
	for (unsigned i = 0; i < CPU_MAX; i++)
		KASSERT_EQ(visits[i], i < processors());
}

static volatile uint32_t received[CPU_MAX];

static void receive(struct trap_frame *f)
{
	(void)f;
	received[cpu_self()->index]++;
	apic_eoi();
}

/* An interrupt reaches the processor that it is for, and no other. */
KTEST(boot, smp_send)
{
	bool came = true;

	KASSERT_EQ(trap_set_handler(FREE, receive), 0);
	harness_memset((void *)received, 0, sizeof received);
	for (unsigned i = 0; i < processors(); i++)
		for (uint32_t n = 1; n <= 10 && came; n++) {
			cpu_send(i, FREE);
			came = wait_for(&received[i], n);
		}
	cpu_send(processors(), FREE);
	trap_clear_handler(FREE);
	KASSERT(came);
	for (unsigned i = 0; i < CPU_MAX; i++)
		KASSERT_EQ(received[i], i < processors() ? 10 : 0);
}

static struct {
	int result, nested;
	struct trap_frame frame;
} faults[CPU_MAX];

static void invalid(void *arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static void invalid_within(void *arg)
{
	*(int *)arg = trap_catch(invalid, NULL, NULL);
	invalid(NULL);
}

static void catch_here(void *arg)
{
	const unsigned i = cpu_self()->index;

	(void)arg;
	faults[i].result = trap_catch(invalid_within, &faults[i].nested, &faults[i].frame);
}

/* Every processor catches its own, all at the same time. */
KTEST(boot, smp_catch)
{
	for (unsigned round = 0; round < 20; round++) {
		harness_memset(faults, 0, sizeof faults);
		KASSERT_EQ(cpu_on_each(catch_here, NULL), 0);
		for (unsigned i = 0; i < processors(); i++) {
			KASSERT_EQ(faults[i].result, 1);
			KASSERT_EQ(faults[i].nested, 1);
			KASSERT_EQ(faults[i].frame.vector, VEC_OPCODE);
		}
	}
}

static uint64_t clock_there;

static void read_clock(void *arg)
{
	(void)arg;
	clock_there = clock_ns();
}

/* Another processor's clock says something between what this one's said before and after, give or take 10 microseconds. */
KTEST(boot, smp_clock)
{
	for (unsigned round = 0; round < 100; round++)
		for (unsigned i = 0; i < processors(); i++) {
			const uint64_t before = clock_ns();

			KASSERT_EQ(cpu_call(i, read_clock, NULL), 0);
			KASSERT(clock_there + 10000 >= before);
			KASSERT(clock_there <= clock_ns() + 10000);
		}
}

/* ---- spin locks ---- */

enum { INCREMENTS = 20000 };

static struct spinlock lock;
static volatile uint64_t total, owner, intrusions;
static uint64_t share[CPU_MAX];
static unsigned contenders;

/* 20,000 increments of each, or as many as there is time for: a lock that is passed on in turn waits for the slowest processor,
 * which the machine below may not be running just then. So two go first, and then all. */
static void increment(void *arg)
{
	const uint64_t me = cpu_self()->index;
	uint64_t state = me, deadline;

	(void)arg;
	meet(reports);
	deadline = clock_ns() + 300000000;
	while (me < contenders && share[me] < INCREMENTS && clock_ns() < deadline) {
		/* a while without the lock, so that they come to ask for it at the same time */
		for (uint64_t i = harness_random(&state) % 64; i; i--)
			__asm__ volatile("" : : : "memory");
		spin_lock(&lock);
		intrusions += owner != 0;
		owner = me + 1;
		total++;
		intrusions += owner != me + 1;
		owner = 0;
		spin_unlock(&lock);
		share[me]++;
	}
}

KTEST(boot, spin_count)
{
	for (unsigned round = 0; round < 2; round++) {
		uint64_t sum = 0;

		contenders = round == 0 && processors() > 2 ? 2 : processors();
		total = owner = intrusions = arrived = absent = 0;
		harness_memset(share, 0, sizeof share);
		KASSERT_EQ(cpu_on_each(increment, NULL), 0);
		KASSERT_EQ(absent, 0);
		for (unsigned i = 0; i < processors(); i++)
			sum += share[i];
		KASSERT(sum >= contenders);
		KASSERT_EQ(total, sum);
		KASSERT_EQ(intrusions, 0);
		KASSERT_EQ(lock.next, lock.serving);
	}
}

static unsigned turns[CPU_MAX], turn, lost;

/* Processor 0 holds the lock while the others ask for it, one after another, and lets them have it then. */
static void take_turns(void *arg)
{
	const unsigned me = cpu_self()->index, first = *(const unsigned *)arg;

	if (me == 0) {
		spin_lock(&lock);
		__atomic_store_n(&arrived, 1, __ATOMIC_SEQ_CST);
		lost += !wait_for(&lock.next, first + processors());
	} else {
		if (!wait_for(&arrived, 1) || !wait_for(&lock.next, first + me))
			__atomic_fetch_add(&lost, 1, __ATOMIC_SEQ_CST);
		spin_lock(&lock);
		turns[turn++] = me;
	}
	spin_unlock(&lock);
}

KTEST(boot, spin_fair)
{
	for (unsigned round = 0; round < 10; round++) {
		unsigned first = lock.next;

		turn = lost = arrived = 0;
		KASSERT_EQ(cpu_on_each(take_turns, &first), 0);
		KASSERT_EQ(lost, 0);
		KASSERT_EQ(turn, processors() - 1);
		for (unsigned i = 0; i < turn; i++)
			KASSERT_EQ(turns[i], i + 1);
	}
}

/* ---- boots of their own: the console's lines are in NAME.panic ---- */

/* One panics, the others go on printing until they are stopped, interrupts off. */
static void panic_or_print(void *arg)
{
	const unsigned last = *(const unsigned *)arg;

	meet(reports);
	if (cpu_self()->index == last) {
		clock_delay_ns(20000000);
		panic("acceptance: on processor %u", last);
	}
	for (;;)
		console_write("still here\n", 11);
}

KPANIC(boot, panic_others)
{
	unsigned last = processors() - 1;

	arrived = absent = 0;
	cpu_on_each(panic_or_print, &last);
}

static void panic_here(void *arg)
{
	meet(arg);
	panic("acceptance: on processor %u", cpu_self()->index);
}

/* All at the same time: one of them is heard. */
KPANIC(boot, panic_all)
{
	KASSERT(cpu_count() == processors());
	arrived = absent = 0;
	cpu_on_each(panic_here, reports);
}

static void fault_here(void *arg)
{
	(void)arg;
	if (cpu_self()->index)
		__asm__ volatile("ud2" : : : "memory");
	__asm__ volatile("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tdiv %%ecx" : : : "rax", "rcx", "rdx", "cc");
}

/* It is told of the processor that it happened on. */
KPANIC(boot, fault_elsewhere)
{
	cpu_call(processors() - 1, fault_here, NULL);
}
