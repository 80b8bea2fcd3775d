/* The other processors: start-up, calls to each other, and what stops them. See spec/boot.md, "Processors". */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "acpi.h"
#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "panic.h"
#include "printf.h"
#include "spinlock.h"
#include "string.h"

#define MSR_EFER 0xC0000080u
#define EFER_LMA (1ul << 10)
#define RFLAGS_IF (1u << 9)
#define NS_PER_US 1000ul
#define NS_PER_MS 1000000ul

enum { LOW_END = 1 << 20 };
enum { ICR_NMI = 0x4400, ICR_INIT = 0x4500, ICR_SIPI = 0x4600 };        /* for apic_command */
enum { APIC_ID_ALL = 0xff };            /* no processor's: what goes there reaches everybody */
enum { IDS_MAX = 256 };                 /* of the MADT's processors these are looked at */

/* Whether the word, another processor's to change, is wanted by that time; looks at least once. */
static bool wait_for(const uint32_t *word, uint32_t wanted, uint64_t until_ns)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != wanted) {
		if (clock_ns() >= until_ns)
			return false;
		cpu_pause();
	}
	return true;
}

/* ---- start-up ---- */

/* A ticket is the APIC ID of who is called; that adds TAKEN as it begins, and has HERE in TAKEN's place once it can be
 * set online. These steps, and taking the ticket back, are atomic: whose ticket was taken back gets no further. */
enum { TICKET_TAKEN = 0x100, TICKET_HERE = 0x200, TICKET_NOBODY = 0x400 };

/* What the trampoline finds in its page. */
struct handover {
	uint32_t ticket, zero;
	uint64_t cr0, cr3, cr4, efer, stack_top, cpu, main;
};
_Static_assert(offsetof(struct handover, ticket) == 0 && offsetof(struct handover, cr0) == 8 &&
	       offsetof(struct handover, cr3) == 16 && offsetof(struct handover, cr4) == 24 &&
	       offsetof(struct handover, efer) == 32 && offsetof(struct handover, stack_top) == 40 &&
	       offsetof(struct handover, cpu) == 48 && offsetof(struct handover, main) == 56,
	       "HANDOVER_* in trampoline.asm");
_Static_assert(sizeof(struct handover) == 64, "HANDOVER_SIZE");

/* trampoline.asm: copied, never run where it is. */
extern const char smp_trampoline[], smp_trampoline_handover[], smp_trampoline_end[];

/* By the processor's index; the boot processor has a stack of its own. The lowest page of each is the hole beneath it,
 * see guard_stacks. */
static uint8_t stacks[CPU_MAX][PAGE_SIZE + CPU_STACK_SIZE] __attribute__((aligned(PAGE_SIZE)));
_Static_assert(CPU_STACK_SIZE % PAGE_SIZE == 0, "every stack's hole and top are page-aligned, as the first one's");

/* In the trampoline's page. Written by smp_init, before any processor is called. */
static struct handover *handover;

/* Where a processor other than the boot processor comes to, interrupts off: c is its own, id the ticket that it has
 * taken. */
static _Noreturn void ap_main(struct cpu *c, uint32_t id)
{
	uint32_t ticket = id | TICKET_TAKEN;
	uint64_t begin;

	gdt_load(c);
	idt_load();
	apic_init_cpu();
	if (!__atomic_compare_exchange_n(&handover->ticket, &ticket, id | TICKET_HERE, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		for (;;)                /* too late */
			__asm__ volatile("cli; hlt" : : : "memory");

	/* The boot processor reads HERE and sets this one online. Should that take longer, no harm is done: who is not
	 * online is sent nothing. */
	begin = clock_ns();
	while (cpu_get(c->index) != c && clock_ns() - begin < 100 * NS_PER_MS)
		cpu_pause();
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

/* Has the processor begin in that page; whether it is there, waiting to be online. If not, it is kept from going on
 * with its stack and struct cpu, which are the next one's then: while it has not taken its ticket, by the ticket being
 * gone; after that by another INIT, which comes 10 ms before the next one begins. */
static bool start(const struct cpu *c, uint64_t page)
{
	const uint32_t id = c->apic_id, here = id | TICKET_HERE, sipi = ICR_SIPI | (uint32_t)(page >> PAGE_SHIFT);

	if (id >= APIC_ID_ALL)          /* out of this APIC's reach */
		return false;
	handover->stack_top = (uint64_t)(stacks[c->index] + sizeof stacks[c->index]);
	handover->cpu = (uint64_t)c;
	__atomic_store_n(&handover->ticket, id, __ATOMIC_RELEASE);

	apic_command(id, ICR_INIT);
	clock_delay_ns(10 * NS_PER_MS);
	apic_command(id, sipi);
	if (!wait_for(&handover->ticket, here, clock_ns() + 200 * NS_PER_US)) {
		apic_command(id, sipi);
		(void)wait_for(&handover->ticket, here, clock_ns() + 100 * NS_PER_MS);
	}
	if (__atomic_exchange_n(&handover->ticket, TICKET_NOBODY, __ATOMIC_ACQ_REL) == here)
		return true;
	apic_command(id, ICR_INIT);
	return false;
}

static bool overlaps(uint64_t page, uint64_t base, uint64_t len)
{
	return base < page + PAGE_SIZE && page < base + len;
}

/* It lies in a usable entry as a whole, and nothing else in it. */
static bool page_is_usable(uint64_t page)
{
	const struct boot_info *info = boot_info();
	bool usable = false;

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const struct boot_mem *m = &info->mem[i];

		if (m->type == BOOT_MEM_USABLE)
			usable |= m->base <= page && page + PAGE_SIZE <= m->base + m->len;
		else if (overlaps(page, m->base, m->len))
			return false;
	}
	for (uint32_t i = 0; i < info->module_count; i++)
		if (overlaps(page, info->modules[i].base, info->modules[i].len))
			return false;
	return usable;
}

/* Copies the trampoline to a page where real mode can begin, and gives it what is the same for all; the page, or 0:
 * there is none. Page 0 is real mode's own. */
static uint64_t trampoline_place(void)
{
	uint64_t page = PAGE_SIZE;
	uint32_t low, high;

	while (page < LOW_END && !page_is_usable(page))
		page += PAGE_SIZE;
	if (page == LOW_END)
		return 0;
	memcpy((void *)(DIRECT_MAP_BASE + page), smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
	handover = (struct handover *)(DIRECT_MAP_BASE + page + (uint64_t)(smp_trampoline_handover - smp_trampoline));
	__asm__ volatile("movq %%cr0, %0\n\tmovq %%cr3, %1\n\tmovq %%cr4, %2"
			 : "=&r"(handover->cr0), "=&r"(handover->cr3), "=r"(handover->cr4));
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_EFER) : "memory");
	handover->efer = ((uint64_t)high << 32 | low) & ~EFER_LMA;      /* the processor's to set */
	handover->main = (uint64_t)ap_main;
	return page;
}

static bool is_online(uint32_t apic_id)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		if (cpu_get(i)->apic_id == apic_id)
			return true;
	return false;
}

/* Of processors that are not there, too, and the one that nobody runs on. */
static void guard_stacks(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++) {
		const int err = stack_guard(stacks[i]);

		if (err)
			panic("smp_init: stack_guard: error %d", err);
	}
}

static void start_others(void)
{
	static uint32_t ids[IDS_MAX];
	const size_t told = acpi_cpus(ids, IDS_MAX);
	const uint64_t page = trampoline_place();

	if (!page) {
		kprintf("smp: no page below 1 MiB to start processors in\n");
		return;
	}
	if (told > IDS_MAX)
		kprintf("smp: of %lu processors only %u are looked at\n", told, IDS_MAX);
	for (size_t i = 0; i < told && i < IDS_MAX; i++) {
		struct cpu *c;

		if (is_online(ids[i]))          /* this one, or one that the MADT has twice */
			continue;
		c = cpu_add(ids[i]);
		if (!c) {
			kprintf("smp: more than %u processors\n", CPU_MAX);
			return;
		}
		if (start(c, page))
			cpu_set_online(c);
		else
			kprintf("smp: processor %u does not start\n", ids[i]);
	}
}

/* ---- calls ---- */

enum { MAIL_NONE, MAIL_SENT, MAIL_TAKEN };

/* What a processor is to run, by its index. Who holds call_lock makes NONE SENT, all else written before, and may take
 * it back; the processor makes it TAKEN, and NONE again when fn has returned. So each is run once or not at all,
 * however late or often the interrupt comes. */
static struct mail {
	uint32_t state;
	void (*fn)(void *);
	void *arg;
} mails[CPU_MAX];
static struct spinlock call_lock;       /* never taken by interrupts: who waits for it has them on */

/* Acknowledges first: fn may end in a panic or an exception that is caught by what was interrupted. */
static void handle_call(struct trap_frame *f)
{
	struct mail *m = &mails[cpu_self()->index];
	uint32_t state = MAIL_SENT;

	(void)f;
	apic_eoi();
	if (!__atomic_compare_exchange_n(&m->state, &state, MAIL_TAKEN, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	m->fn(m->arg);
	__atomic_store_n(&m->state, MAIL_NONE, __ATOMIC_RELEASE);
}

static void mail_send(unsigned index, void (*fn)(void *), void *arg)
{
	struct mail *m = &mails[index];

	m->fn = fn;
	m->arg = arg;
	__atomic_store_n(&m->state, MAIL_SENT, __ATOMIC_RELEASE);
	cpu_send(index, VEC_CALL);
}

static void run_here(void (*fn)(void *), void *arg)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	fn(arg);
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

/* The lock also keeps the caller on this processor, as all spin locks do. */
int cpu_on_each(void (*fn)(void *), void *arg)
{
	unsigned count, self;

	spin_lock(&call_lock);
	count = cpu_count();
	self = cpu_self()->index;
	for (unsigned i = 0; i < count; i++)    /* one that cpu_call gave up may be at it still */
		(void)wait_for(&mails[i].state, MAIL_NONE, UINT64_MAX);
	for (unsigned i = 0; i < count; i++)
		if (i != self)
			mail_send(i, fn, arg);
	run_here(fn, arg);
	for (unsigned i = 0; i < count; i++)
		(void)wait_for(&mails[i].state, MAIL_NONE, UINT64_MAX);
	spin_unlock(&call_lock);
	return 0;
}

/* fn(arg) on another processor, by whoever holds call_lock; as cpu_call. */
static int call_other(unsigned index, void (*fn)(void *), void *arg)
{
	struct mail *m = &mails[index];
	const uint64_t until_ns = clock_ns() + 1000 * NS_PER_MS;
	uint32_t state = MAIL_SENT;

	if (!wait_for(&m->state, MAIL_NONE, until_ns))
		return -ETIMEDOUT;
	mail_send(index, fn, arg);
	(void)wait_for(&m->state, MAIL_NONE, until_ns);
	/* Taken back if the processor has not seen it yet. If it has, state is whether it is at it still. */
	(void)__atomic_compare_exchange_n(&m->state, &state, MAIL_NONE, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	return state == MAIL_NONE ? 0 : -ETIMEDOUT;
}

int cpu_call(unsigned index, void (*fn)(void *), void *arg)
{
	int result = 0;

	if (!fn || !cpu_get(index))
		return -EINVAL;
	spin_lock(&call_lock);
	if (index == cpu_self()->index)
		run_here(fn, arg);
	else
		result = call_other(index, fn, arg);
	spin_unlock(&call_lock);
	return result;
}

void cpu_send(unsigned index, uint8_t vector)
{
	const struct cpu *c = cpu_get(index);

	if (c)
		apic_send(c->apic_id, vector);
}

/* ---- panic ---- */

/* Takes no lock: it may come in whatever this processor was doing. Who does not stop in time is left behind. */
static void stop_others(void)
{
	const struct cpu *self = cpu_self();
	const uint64_t begin = clock_ns();
	unsigned others = 0;

	for (unsigned i = 0; i < cpu_count(); i++)
		if (cpu_get(i) != self) {
			apic_command(cpu_get(i)->apic_id, ICR_NMI);
			others++;
		}
	while (panic_stopped() < others && clock_ns() - begin < 100 * NS_PER_MS)
		cpu_pause();
}

static void smp_init(void)
{
	if (trap_set_handler(VEC_CALL, handle_call))
		panic("smp_init: the vector of calls is taken");
	panic_set_stopper(stop_others);
	guard_stacks();
	start_others();
	kprintf("smp: %u processors\n", cpu_count());
}
INIT(INIT_SMP, smp_init);
