/* Acceptance of boot/trap.c, boot/idt_stubs.asm and panic_catch: what handlers see, what they may change, and what is caught.
 * See spec/boot.md. */
#include "backtrace.h"
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "internal.h"
#include "panic.h"

enum { IF = 1 << 9, DF = 1 << 10, REGISTERS = 15, FREE = 0xe0 };       /* FREE: a vector that nobody is given */

/* ---- a vector for the length of a test ---- */

static struct {
	trap_handler before;
	unsigned vector, cpu;
	uint64_t flags;
} held;

static struct {
	unsigned count;
	uint64_t flags, frame_address;
	struct trap_frame frame;
} seen;

static struct cpu foreign;
static uint64_t given[REGISTERS], changed[REGISTERS], left[REGISTERS];
static bool change;

static void look(struct trap_frame *f)
{
	if (cpu_self()->index != held.cpu) {    /* another processor's: not what the test is waiting for */
		if (held.before)
			held.before(f);
		return;
	}
	seen.count++;
	seen.flags = harness_flags();
	seen.frame_address = (uint64_t)__builtin_frame_address(0);
	seen.frame = *f;
	if (change)
		harness_memcpy(f, changed, sizeof changed);
}

/* Whoever has it, until give_back(); interrupts are off in between. */
static int take(unsigned vector, trap_handler fn)
{
	held.flags = harness_cli();
	held.vector = vector;
	held.cpu = cpu_self()->index;
	held.before = trap_get_handler(vector);
	harness_memset(&seen, 0, sizeof seen);
	trap_clear_handler(vector);
	return trap_set_handler(vector, fn);
}

static void give_back(void)
{
	trap_clear_handler(held.vector);
	if (held.before)
		trap_set_handler(held.vector, held.before);
	harness_restore(held.flags);
}

/* ---- raising an interrupt ---- */

/* 256 times `int n; ret`, three bytes each. */
void acceptance_interrupts(void);
__asm__(".text\n.globl acceptance_interrupts\nacceptance_interrupts:\n"
	".set vector, 0\n.rept 256\n.byte 0xcd, vector, 0xc3\n.set vector, vector + 1\n.endr\n");

static void interrupt(unsigned vector)
{
	const uint64_t at = harness_addr((const void *)acceptance_interrupts) + 3 * vector;

	__asm__ volatile("call *%0" : : "r"(at) : "memory");
}

/* As the processor delivers an exception that has an error code, which `int` does not push. */
static void deliver(unsigned vector, uint64_t error)
{
	const volatile uint16_t *gate = (const volatile uint16_t *)(harness_idt().base + 16 * vector);
	const uint64_t at = gate[0] | (uint64_t)gate[3] << 16 | (uint64_t)gate[4] << 32 | (uint64_t)gate[5] << 48;

	__asm__ volatile("mov %%rsp, %%rax\n\tmov %%ss, %%ecx\n\tand $-16, %%rsp\n\tpush %%rcx\n\tpush %%rax\n\tpushfq\n\t"
			 "mov %%cs, %%ecx\n\tpush %%rcx\n\tlea 0f(%%rip), %%rcx\n\tpush %%rcx\n\tpush %1\n\tjmp *%0\n0:"
			 : : "r"(at), "r"(error) : "rax", "rcx", "memory", "cc");
}

static bool has_error(unsigned vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30;
}

KTEST(boot, idt_vectors)
{
	uint64_t seed = harness_seed();

	for (unsigned v = 0; v < 256; v++) {
		const uint64_t error = has_error(v) ? harness_random(&seed) & 0xffff : 0;
		const int taken = take(v, look);

		if (has_error(v))
			deliver(v, error);
		else
			interrupt(v);
		give_back();
		if (taken || seen.count != 1 || seen.frame.vector != v || seen.frame.error != error)
			ktest_note("vector", v);
		KASSERT_EQ(taken, 0);
		KASSERT_EQ(seen.count, 1);
		KASSERT_EQ(seen.frame.vector, v);
		KASSERT_EQ(seen.frame.error, error);
		KASSERT_EQ(seen.frame.cs, SEL_KERNEL_CODE);
		KASSERT_EQ(seen.frame.ss, SEL_KERNEL_DATA);
		KASSERT_EQ(seen.frame.rflags & IF, 0);
		if (!has_error(v))
			KASSERT_EQ(seen.frame.rip, harness_addr((const void *)acceptance_interrupts) + 3 * v + 2);
	}
}

/* Sets all registers but RSP to in[] (the order of struct trap_frame), raises FREE, and stores them to out[]. */
void acceptance_registers(const uint64_t *in, uint64_t *out);
__asm__(".text\n.globl acceptance_registers\nacceptance_registers:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rsi\n"
	"mov 0(%rdi), %r15\nmov 8(%rdi), %r14\nmov 16(%rdi), %r13\nmov 24(%rdi), %r12\nmov 32(%rdi), %r11\n"
	"mov 40(%rdi), %r10\nmov 48(%rdi), %r9\nmov 56(%rdi), %r8\nmov 72(%rdi), %rsi\nmov 80(%rdi), %rbp\n"
	"mov 88(%rdi), %rdx\nmov 96(%rdi), %rcx\nmov 104(%rdi), %rbx\nmov 112(%rdi), %rax\nmov 64(%rdi), %rdi\n"
	"int $0xe0\n"
	"push %rdi\nmov 8(%rsp), %rdi\n"
	"mov %r15, 0(%rdi)\nmov %r14, 8(%rdi)\nmov %r13, 16(%rdi)\nmov %r12, 24(%rdi)\nmov %r11, 32(%rdi)\n"
	"mov %r10, 40(%rdi)\nmov %r9, 48(%rdi)\nmov %r8, 56(%rdi)\nmov %rsi, 72(%rdi)\nmov %rbp, 80(%rdi)\n"
	"mov %rdx, 88(%rdi)\nmov %rcx, 96(%rdi)\nmov %rbx, 104(%rdi)\nmov %rax, 112(%rdi)\npop %rax\nmov %rax, 64(%rdi)\n"
	"pop %rsi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

/* Handlers see the interrupted registers, what they do with their own is not seen there, and what they write to the frame is. */
KTEST(boot, trap_registers)
{
	uint64_t seed = harness_seed();

	for (unsigned round = 0; round < 64; round++) {
		for (unsigned i = 0; i < REGISTERS; i++) {
			given[i] = harness_random(&seed);
			changed[i] = harness_random(&seed);
		}
		take(FREE, look);
		change = round % 2;
		acceptance_registers(given, left);
		change = false;
		give_back();
		KASSERT_EQ(seen.count, 1);
		for (unsigned i = 0; i < REGISTERS; i++) {
			KASSERT_EQ(((const uint64_t *)&seen.frame)[i], given[i]);
			KASSERT_EQ(left[i], round % 2 ? changed[i] : given[i]);
		}
	}
}

/* As the C ABI wants it whatever was interrupted: direction flag clear, RSP aligned; interrupts off. */
KTEST(boot, trap_abi)
{
	uint64_t after, aligned, odd;

	take(FREE, look);
	__asm__ volatile("std\n\tint $0xe0\n\tpushfq\n\tcld\n\tpop %0" : "=r"(after) : : "memory", "cc");
	aligned = seen.frame_address;
	__asm__ volatile("push %%rax\n\tint $0xe0\n\tpop %%rax" : : : "memory");
	odd = seen.frame_address;
	give_back();
	KASSERT_EQ(seen.count, 2);
	KASSERT_EQ(seen.flags & (IF | DF), 0);
	KASSERT_EQ(aligned % 16, 0);
	KASSERT_EQ(odd % 16, 0);
	KASSERT_EQ(after & DF, DF);
}

/* With interrupts on, a handler runs with them off and they are on again afterwards. */
KTEST(boot, trap_flags)
{
	uint64_t after;

	take(FREE, look);
	__asm__ volatile("sti\n\tint $0xe0\n\tpushfq\n\tpop %0\n\tcli" : "=r"(after) : : "memory", "cc");
	give_back();
	KASSERT_EQ(seen.count, 1);
	KASSERT_EQ(seen.flags & IF, 0);
	KASSERT_EQ(seen.frame.rflags & IF, IF);
	KASSERT_EQ(after & IF, IF);
}

/* An NMI may come after ring 3 has been left and before GS base is the kernel's: its stub looks at that, not at where it came from. */
KTEST(boot, trap_gs)
{
	enum { GS_BASE = 0xC0000101, OTHER_GS_BASE = 0xC0000102 };
	const uint64_t other = harness_rdmsr(OTHER_GS_BASE), kernel = harness_rdmsr(GS_BASE), user = harness_addr(&foreign) - KERNEL_VIRT_BASE;
	uint64_t after, other_after;

	foreign.self = &foreign;                                /* whom nothing is to be believed of */
	foreign.index = CPU_MAX - 1;
	take(VEC_NMI, look);
	harness_wrmsr(OTHER_GS_BASE, kernel);
	harness_wrmsr(GS_BASE, user);                           /* in the lower half, where it can be read, too */
	__asm__ volatile("int $2" : : : "memory");
	after = harness_rdmsr(GS_BASE);
	other_after = harness_rdmsr(OTHER_GS_BASE);
	harness_wrmsr(GS_BASE, kernel);
	harness_wrmsr(OTHER_GS_BASE, other);
	give_back();
	KASSERT_EQ(seen.count, 1);
	KASSERT_EQ(after, user);
	KASSERT_EQ(other_after, kernel);
}

KTEST(boot, trap_handlers)
{
	int taken, again, after;
	trap_handler got, none;

	KASSERT_EQ(trap_set_handler(256, look), -EINVAL);
	KASSERT_EQ(trap_set_handler(UINT32_MAX, look), -EINVAL);
	KASSERT_EQ(trap_set_handler(FREE + 1, NULL), -EINVAL);
	KASSERT(trap_get_handler(256) == NULL);
	KASSERT(trap_get_handler(FREE + 1) == NULL);
	trap_clear_handler(256);
	taken = take(FREE, look);
	got = trap_get_handler(FREE);
	again = trap_set_handler(FREE, look);
	trap_clear_handler(FREE);
	none = trap_get_handler(FREE);
	after = trap_set_handler(FREE, look);
	give_back();
	KASSERT_EQ(taken, 0);
	KASSERT(got == look);
	KASSERT_EQ(again, -EBUSY);
	KASSERT(none == NULL);
	KASSERT_EQ(after, 0);
}

/* An interrupt that nobody asked for is counted, and does no harm. */
KTEST(boot, trap_stray)
{
	const uint64_t before = trap_stray_count(FREE + 2), other = trap_stray_count(FREE + 3);

	KASSERT(trap_get_handler(FREE + 2) == NULL);
	interrupt(FREE + 2);
	KASSERT_EQ(trap_stray_count(FREE + 2), before + 1);
	for (int i = 0; i < 10; i++)
		interrupt(FREE + 2);
	KASSERT_EQ(trap_stray_count(FREE + 2), before + 11);
	KASSERT_EQ(trap_stray_count(FREE + 3), other);
	KASSERT_EQ(trap_stray_count(256), 0);
}

/* ---- faults that are expected ---- */

/* Where the next fault is to be, stored by the code that raises it; whether it went on after it. */
uint64_t acceptance_fault;
static bool went_on;
static struct trap_frame caught;

/* Without it a function that calls nothing has no frame, and its caller no place in a back-trace. */
#define HAS_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

#define FAULT_HERE "lea 0f(%%rip), %%rax\n\tmov %%rax, acceptance_fault(%%rip)\n0:\t"

/* Catches what fn does. The frame is all 0x5a if nothing was caught. */
static int catch(void (*fn)(void *), void *arg)
{
	harness_memset(&caught, 0x5a, sizeof caught);
	went_on = false;
	return trap_catch(fn, arg, &caught);
}

static __attribute__((noinline)) void divide(void *by)
{
	HAS_FRAME();
	__asm__ volatile("mov %0, %%rcx\n\tmov $1, %%edx\n\t" FAULT_HERE "divq (%%rcx)" : : "r"(by) : "rax", "rcx", "rdx", "cc", "memory");
	went_on = true;
}

static __attribute__((noinline)) void invalid(void *arg)
{
	HAS_FRAME();
	(void)arg;
	__asm__ volatile(FAULT_HERE "ud2" : : : "rax", "memory");
	went_on = true;
}

static __attribute__((noinline)) void breakpoint(void *arg)
{
	(void)arg;
	__asm__ volatile(FAULT_HERE "int3" : : : "rax", "memory");
	went_on = true;
}

static __attribute__((noinline)) void load_selector(void *selector)
{
	HAS_FRAME();
	__asm__ volatile("mov %0, %%ecx\n\t" FAULT_HERE "mov %%ecx, %%es" : : "r"(*(const uint32_t *)selector) : "rax", "rcx", "memory");
	went_on = true;
}

static __attribute__((noinline)) void read_from(void *address)
{
	__asm__ volatile("mov %0, %%rcx\n\t" FAULT_HERE "mov (%%rcx), %%al" : : "r"(address) : "rax", "rcx", "memory");
	went_on = true;
}

static __attribute__((noinline)) void write_to(void *address)
{
	__asm__ volatile("mov %0, %%rcx\n\t" FAULT_HERE "movb $1, (%%rcx)" : : "r"(address) : "rax", "rcx", "memory");
	went_on = true;
}

static __attribute__((noinline)) void call_to(void *address)
{
	__asm__ volatile("call *%0" : : "r"(address) : "memory");
	went_on = true;
}

static void nothing(void *arg)
{
	*(int *)arg += 1;
}

KTEST(boot, fault_divide)
{
	uint64_t zero = 0, one = 1;     /* 2^64 and some by 1 do not fit into 64 bits either */

	KASSERT_EQ(catch(divide, &zero), 1);
	KASSERT_EQ(caught.vector, 0);
	KASSERT_EQ(caught.error, 0);
	KASSERT_EQ(caught.rip, acceptance_fault);
	KASSERT_EQ(caught.rcx, (uint64_t)&zero);
	KASSERT_EQ(caught.cs, SEL_KERNEL_CODE);
	KASSERT_EQ(went_on, false);
	KASSERT_EQ(catch(divide, &one), 1);
	KASSERT_EQ(caught.vector, 0);
	KASSERT_EQ(caught.rcx, (uint64_t)&one);
}

static void step_over(struct trap_frame *f)
{
	look(f);
	f->rip += 2;
}

/* Caught, or handled by somebody who goes on behind it. */
KTEST(boot, fault_opcode)
{
	int result;

	KASSERT_EQ(catch(invalid, NULL), 1);
	KASSERT_EQ(caught.vector, 6);
	KASSERT_EQ(caught.error, 0);
	KASSERT_EQ(caught.rip, acceptance_fault);
	KASSERT_EQ(went_on, false);

	take(VEC_OPCODE, step_over);
	result = catch(invalid, NULL);
	give_back();
	KASSERT_EQ(result, 0);                          /* a handler comes first */
	KASSERT_EQ(went_on, true);
	KASSERT_EQ(seen.count, 1);
	KASSERT_EQ(seen.frame.rip, acceptance_fault);
	KASSERT_EQ(caught.vector, 0x5a5a5a5a5a5a5a5a);
}

KTEST(boot, fault_breakpoint)
{
	KASSERT_EQ(catch(breakpoint, NULL), 1);
	KASSERT_EQ(caught.vector, 3);
	KASSERT_EQ(caught.error, 0);
	KASSERT_EQ(caught.rip, acceptance_fault + 1);
	KASSERT_EQ(went_on, false);

	take(VEC_BREAKPOINT, look);
	breakpoint(NULL);
	give_back();
	KASSERT_EQ(went_on, true);
	KASSERT_EQ(seen.count, 1);
}

KTEST(boot, fault_gp)
{
	uint64_t seed = harness_seed();
	const uint16_t es = (uint16_t)HARNESS_READ("mov %%es, %0");

	for (unsigned i = 0; i < 64; i++) {
		/* past the table's end, in any ring's name; bit 2 would name a local table */
		uint32_t selector = (uint32_t)(0x38 + harness_random(&seed) % (0x10000 - 0x38)) & ~4u;

		KASSERT_EQ(catch(load_selector, &selector), 1);
		KASSERT_EQ(caught.vector, 13);
		KASSERT_EQ(caught.error, selector & 0xfffc);
		KASSERT_EQ(caught.rip, acceptance_fault);
	}
	KASSERT_EQ(HARNESS_READ("mov %%es, %0") & 0xffff, es);
	KASSERT_EQ(catch(read_from, (void *)0x8000000000000000), 1);    /* not canonical */
	KASSERT_EQ(caught.vector, 13);
	KASSERT_EQ(caught.error, 0);
}

/* ---- page faults, in tables of the test's own: an unused entry of the root leads to them ---- */

enum { PRESENT = 1, WRITABLE = 2, ENTRIES = 512, NXE = 11, SMEP = 20 };
#define NO_EXECUTE (1ull << 63)
#define RESERVED_BIT (1ull << 51)
#define ADDRESS 0x000FFFFFFFFFF000ull

static uint64_t directory_pointers[ENTRIES] __attribute__((aligned(4096)));
static uint64_t directory[ENTRIES] __attribute__((aligned(4096)));
static uint64_t table[ENTRIES] __attribute__((aligned(4096)));
static uint8_t page[4096] __attribute__((aligned(4096)));

static uint64_t phys(const void *image_object)
{
	return harness_addr(image_object) - KERNEL_VIRT_BASE;
}

static volatile uint64_t *root_entry(unsigned index)
{
	return (volatile uint64_t *)(DIRECT_MAP_BASE + (HARNESS_READ("mov %%cr3, %0") & ADDRESS)) + index;
}

/* The access at `at`, with the page there mapped so, and what is to come of it; -1: no fault. */
static int64_t access(void (*fn)(void *), uint64_t at, uint64_t bits)
{
	int result;

	table[at >> 12 & 511] = bits ? phys(page) | bits : 0;
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
	result = catch(fn, (void *)at);
	table[at >> 12 & 511] = 0;
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
	if (result != 1)
		return -1;
	return caught.vector == VEC_PAGE_FAULT && HARNESS_READ("mov %%cr2, %0") == at ? (int64_t)caught.error : -2;
}

KTEST(boot, fault_page)
{
	uint64_t seed = harness_seed(), at, width = 40;
	const bool nx = harness_rdmsr(0xC0000080) >> NXE & 1, fetch = nx || HARNESS_READ("mov %%cr4, %0") >> SMEP & 1;
	int64_t read_absent, write_absent, call_absent, write_only, read_present, reserved = 9, call_nx = 17;
	uint64_t call_rip;
	unsigned slot = 511;
	uint32_t a = 0x80000008, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	width = a & 0xff;
	while (slot > 256 && *root_entry(slot) & PRESENT)
		slot--;
	KASSERT(slot > 256);
	at = 0xFFFF000000000000 | (uint64_t)slot << 39 | (harness_random(&seed) & 0x1fffff);
	directory_pointers[0] = phys(directory) | PRESENT | WRITABLE;
	directory[0] = phys(table) | PRESENT | WRITABLE;
	*root_entry(slot) = phys(directory_pointers) | PRESENT | WRITABLE;

	read_absent = access(read_from, at, 0);
	write_absent = access(write_to, at, 0);
	call_absent = access(call_to, at, 0);
	call_rip = caught.rip;
	read_present = access(read_from, at, PRESENT);
	write_only = access(write_to, at, PRESENT);
	if (width <= 51)
		reserved = access(read_from, at, PRESENT | RESERVED_BIT);
	if (nx)
		call_nx = access(call_to, at, PRESENT | NO_EXECUTE);
	*root_entry(slot) = 0;
	__asm__ volatile("mov %0, %%cr3" : : "r"(HARNESS_READ("mov %%cr3, %0")) : "memory");

	KASSERT_EQ(read_absent, 0);
	KASSERT_EQ(write_absent, 2);
	KASSERT_EQ(call_absent, fetch ? 16 : 0);
	KASSERT_EQ(call_rip, at);
	KASSERT_EQ(read_present, -1);
	KASSERT_EQ(write_only, 3);
	KASSERT_EQ(reserved | PRESENT, 9);              /* QEMU leaves out that it was present */
	KASSERT_EQ(call_nx, 17);
}

/* ---- catching ---- */

static struct {
	unsigned runs, results_wrong, too_deep;
	int last;
} nest;

/* Catches the faults of `*left` more levels, then faults itself. */
static void fault_nested(void *left_over)
{
	unsigned levels = *(const unsigned *)left_over - 1;
	struct trap_frame frame;

	nest.runs++;
	if (levels) {
		const int result = trap_catch(fault_nested, &levels, &frame);

		nest.last = result == -ENOSPC ? result : nest.last;
		nest.too_deep += result == -ENOSPC;
		nest.results_wrong += result != -ENOSPC && (result != 1 || frame.vector != VEC_OPCODE);
	}
	invalid(NULL);
	nest.results_wrong++;
}

static int run_nested(unsigned levels)
{
	harness_memset(&nest, 0, sizeof nest);
	return catch(fault_nested, &levels);
}

KTEST(boot, trap_catch_nested)
{
	int runs = 0;

	KASSERT_EQ(catch(nothing, &runs), 0);
	KASSERT_EQ(runs, 1);
	KASSERT_EQ(trap_catch(invalid, NULL, NULL), 1);
	for (unsigned levels = 1; levels <= 4; levels++) {
		KASSERT_EQ(run_nested(levels), 1);
		KASSERT_EQ(nest.runs, levels);
		KASSERT_EQ(nest.results_wrong, 0);
		KASSERT_EQ(nest.too_deep, 0);
	}
}

/* The fifth is refused and not run; however many were caught, there is room for four afterwards. */
KTEST(boot, trap_catch_limit)
{
	const uint64_t flags = harness_flags();

	for (unsigned i = 0; i < 100; i++)
		KASSERT_EQ(catch(invalid, NULL), 1);
	for (unsigned i = 0; i < 3; i++) {
		KASSERT_EQ(run_nested(5), 1);
		KASSERT_EQ(nest.runs, 4);
		KASSERT_EQ(nest.too_deep, 1);
		KASSERT_EQ(nest.results_wrong, 0);
		KASSERT_EQ(run_nested(4), 1);
		KASSERT_EQ(nest.runs, 4);
		KASSERT_EQ(nest.too_deep, 0);
	}
	KASSERT_EQ(harness_flags() & (IF | DF), flags & (IF | DF));
}

/* As one that takes a lock, interrupts off. */
static void off_and_fault(void *arg)
{
	__asm__ volatile("cli" : : : "memory");
	cpu_self()->preempt_count++;
	invalid(arg);
}

/* Interrupts and preemption are as they were before, on or off, whatever the caught did with them. */
KTEST(boot, trap_catch_flags)
{
	const uint64_t flags = harness_cli();
	const uint32_t preempt = cpu_self()->preempt_count;
	uint32_t preempt_after;
	uint64_t off, on;

	trap_catch(invalid, NULL, NULL);
	off = harness_flags() & IF;
	__asm__ volatile("sti" : : : "memory");
	trap_catch(off_and_fault, NULL, NULL);
	on = harness_flags() & IF;
	__asm__ volatile("cli" : : : "memory");
	preempt_after = cpu_self()->preempt_count;
	cpu_self()->preempt_count = preempt;
	harness_restore(flags);
	KASSERT_EQ(off, 0);
	KASSERT_EQ(on, IF);
	KASSERT_EQ(preempt_after, preempt);
}

/* ---- panics that are expected ---- */

static uint32_t panic_number;
static char why[300];

static void panics(void *arg)
{
	panic("acceptance: %s %u", (const char *)arg, panic_number);
}

static void panics_at_length(void *arg)
{
	static char text[400];

	(void)arg;
	harness_memset(text, 'x', sizeof text - 1);
	panic("%s", text);
}

static void panics_inside(void *arg)
{
	if (panic_catch(panics, arg, why, sizeof why) == 1)
		panic("outside");
}

static void appends(char *to, uint32_t number)
{
	char digits[10];
	unsigned n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (*to)
		to++;
	while (n)
		*to++ = digits[--n];
	*to = 0;
}

KTEST(boot, panic_catch)
{
	uint64_t seed = harness_seed();
	const uint64_t flags = harness_flags();
	char expected[64];
	int runs = 0;

	KASSERT_EQ(panic_catch(nothing, &runs, why, sizeof why), 0);
	KASSERT_EQ(runs, 1);
	for (unsigned i = 0; i < 20; i++) {
		panic_number = (uint32_t)harness_random(&seed);
		harness_memcpy(expected, "acceptance: number ", 20);
		appends(expected, panic_number);
		harness_memset(why, 'y', sizeof why);
		KASSERT_EQ(panic_catch(panics, (void *)"number", why, sizeof why), 1);
		KASSERT_STREQ(why, expected);
	}
	/* cut to what there is room for, and ended */
	harness_memset(why, 'y', sizeof why);
	KASSERT_EQ(panic_catch(panics, (void *)"number", why, 12), 1);
	KASSERT_STREQ(why, "acceptance:");
	KASSERT_EQ(why[12], 'y');
	KASSERT_EQ(panic_catch(panics, (void *)"number", NULL, 0), 1);
	KASSERT_EQ(panic_catch(panics_at_length, NULL, why, sizeof why), 1);
	KASSERT_EQ(harness_strlen(why), 255);
	/* one within the other */
	KASSERT_EQ(panic_catch(panics_inside, (void *)"number", why, sizeof why), 1);
	KASSERT_STREQ(why, "outside");
	KASSERT_EQ(harness_flags() & (IF | DF), flags & (IF | DF));
}

static void faults_then_panics(void *arg)
{
	if (trap_catch(invalid, arg, NULL) == 1)
		panic("after a fault");
}

static void panics_then_faults(void *arg)
{
	if (panic_catch(panics, arg, why, sizeof why) == 1)
		invalid(NULL);
}

/* Each is caught by its own kind. */
KTEST(boot, panic_catch_and_trap)
{
	KASSERT_EQ(panic_catch(faults_then_panics, NULL, why, sizeof why), 1);
	KASSERT_STREQ(why, "after a fault");
	KASSERT_EQ(catch(panics_then_faults, (void *)"x"), 1);
	KASSERT_EQ(caught.vector, VEC_OPCODE);
	KASSERT_EQ(catch(invalid, NULL), 1);
}

/* ---- what nobody expects: boots of their own; the console's lines are in NAME.panic ---- */

/* Called with known values in registers that the dump is to show. */
static __attribute__((noipa)) void fault_with_registers(uint64_t address)
{
	HAS_FRAME();
	__asm__ volatile("mov $0x1122334455667788, %%r12\n\tmov $0x99aabbccddeeff00, %%r13\n\tmov $0x0123456789abcdef, %%r8\n\t"
			 "mov $0xfedcba9876543210, %%rax\n\tmovb $1, (%0)"
			 : : "b"(address) : "rax", "r8", "r12", "r13", "memory");
}

KPANIC(boot, page_fault)
{
	fault_with_registers(0xFFFFF00000001234);
	__asm__ volatile("" : : : "memory");
}

static __attribute__((noipa)) void fault_in_fetch(void)
{
	HAS_FRAME();
	__asm__ volatile("jmp *%0" : : "r"(0xFFFFF00000005678) : "memory");
}

/* An address that is in no function. */
KPANIC(boot, page_fault_fetch)
{
	fault_in_fetch();
	__asm__ volatile("" : : : "memory");
}

KPANIC(boot, general_protection)
{
	uint32_t selector = 0x1238;

	load_selector(&selector);
	__asm__ volatile("" : : : "memory");
}

KPANIC(boot, divide_error)
{
	uint64_t zero = 0;

	divide(&zero);
	__asm__ volatile("" : : : "memory");
}

/* As a stack that has overflowed: the page fault cannot be delivered on it. */
KPANIC(boot, double_fault)
{
	HAS_FRAME();
	__asm__ volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(0xFFFFF00000002000) : "memory");
}

static __attribute__((noinline)) void raise_x87(void *arg)
{
	(void)arg;
	HAS_FRAME();
	__asm__ volatile("int $16" : : : "memory");
}

/* No exception is caught where catching is over. */
KPANIC(boot, after_catch)
{
	trap_catch(raise_x87, NULL, NULL);
	raise_x87(NULL);
	__asm__ volatile("" : : : "memory");
}

/* As where ring 3 has just been left, or is about to be entered: GS base is not the kernel's yet, or no longer. */
#define WITH_USERS_GS(instruction) \
	__asm__ volatile("cli\n\twrmsr\n\tswapgs\n\t" instruction : : "c"(0xC0000102), "a"(0x5000), "d"(0) : "memory")

static __attribute__((noinline)) void raise_nmi(void *arg)
{
	(void)arg;
	HAS_FRAME();
	WITH_USERS_GS("int $2");
}

/* Nor is an NMI, which is nobody's doing. */
KPANIC(boot, nmi_unexpected)
{
	trap_catch(raise_nmi, NULL, NULL);
}

static __attribute__((noinline)) void raise_machine_check(void *arg)
{
	(void)arg;
	HAS_FRAME();
	WITH_USERS_GS("int $18");
}

KPANIC(boot, machine_check)
{
	trap_catch(raise_machine_check, NULL, NULL);
}

static __attribute__((noinline)) void raise_simd(void *arg)
{
	(void)arg;
	HAS_FRAME();
	__asm__ volatile("int $19" : : : "memory");
}

/* Who catches panics catches none that an exception ends in. */
KPANIC(boot, fault_not_caught)
{
	panic_catch(raise_simd, NULL, why, sizeof why);
}

void acceptance_last(void), acceptance_faults(void);

__attribute__((noipa)) void acceptance_faults(void)
{
	HAS_FRAME();
	__asm__ volatile("ud2" : : : "memory");
}

/* A call that is its function's last instruction returns to where the next one begins. */
__asm__(".text\n.globl acceptance_last\n.type acceptance_last, @function\nacceptance_last:\n"
	"push %rbp\nmov %rsp, %rbp\ncall acceptance_faults\n"
	".type acceptance_next, @function\nacceptance_next:\nud2\n");

KPANIC(boot, last_call)
{
	acceptance_last();
	__asm__ volatile("" : : : "memory");
}

/* What the dump itself calls faults. */
static bool faulty_stacks(uint64_t address)
{
	*(volatile uint8_t *)(address & 0xFFFFF00000000000) = 0;
	return false;
}

KPANIC(boot, nested)
{
	backtrace_set_stacks(faulty_stacks);
	__asm__ volatile("mov %0, %%rbp\n\tud2" : : "r"(0xFFFFF00000003000) : "memory");
}

KPANIC(boot, panic_plain)
{
	panic("acceptance: %s %d 0x%lx", "reason", -5, 0xabcul);
}

/* Formatting the first panic faults; the second ends it. */
KPANIC(boot, panic_in_panic)
{
	panic("acceptance: %s", (const char *)0xFFFFF00000004000);
}

static void panic_badly(void *arg)
{
	panic("acceptance: %s", (const char *)arg);
}

/* Nor is that caught as an exception. */
KPANIC(boot, panic_not_caught)
{
	trap_catch(panic_badly, (void *)0xFFFFF00000004000, NULL);
}
