/* What is done with exceptions and interrupts: handlers, catching, the dump. See spec/boot.md, "Descriptor tables" and
 * "An exception that nobody handles".
 *
 * An exception comes in any state of the machine: nothing on its way takes a lock (the dump prints after panic_begin(),
 * when the console's is no longer asked for), and before gdt_load, when gs:0 cannot be read, nothing asks for
 * cpu_self(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backtrace.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "panic.h"
#include "printf.h"
#include "symbols.h"

enum { VECTORS = 256, EXCEPTIONS = 32 };        /* exceptions: the vectors below */
enum { CATCH_DEPTH = 4 };
enum { RPL_USER = 3 };
#define MSR_GS_BASE 0xC0000101u
#define RFLAGS_IF (1u << 9)

/* Bits of a page fault's error code. */
enum { PF_PRESENT = 1 << 0, PF_WRITE = 1 << 1, PF_USER = 1 << 2, PF_RESERVED = 1 << 3, PF_FETCH = 1 << 4 };

/* All of these are read and written atomically: any processor may do either at any time. */
static trap_handler handlers[VECTORS], user_handler;
static void (*eoi)(void);
static uint64_t strays[VECTORS];

/* Where a caught exception goes on. */
struct catch {
	void *buffer[5];                /* __builtin_setjmp's */
	struct trap_frame *out;         /* or NULL */
};

/* By the processor's index. The depth is how many are in use, the innermost the last. It is panic.c's as well, and
 * panic_catch_depth is panic.c's: who leaves by one kind of catching leaves all calls of the other kind that are within,
 * so each puts back both depths. */
static struct catch catches[CPU_MAX][CATCH_DEPTH];
extern unsigned trap_catch_depth[CPU_MAX], panic_catch_depth[CPU_MAX];
unsigned trap_catch_depth[CPU_MAX];

/* Exceptions that came to the dump, by the processor's index. Each is its own processor's. */
static unsigned dumps[CPU_MAX];

/* This processor's data; NULL before gdt_load here. */
static struct cpu *this_cpu(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_GS_BASE));
	return low | high ? cpu_self() : NULL;
}

/* ---- handlers ---- */

int trap_set_handler(unsigned vector, trap_handler fn)
{
	trap_handler none = NULL;

	if (vector >= VECTORS || !fn)
		return -EINVAL;
	if (!__atomic_compare_exchange_n(&handlers[vector], &none, fn, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return -EBUSY;
	return 0;
}

void trap_clear_handler(unsigned vector)
{
	if (vector < VECTORS)
		__atomic_store_n(&handlers[vector], NULL, __ATOMIC_RELEASE);
}

trap_handler trap_get_handler(unsigned vector)
{
	return vector < VECTORS ? __atomic_load_n(&handlers[vector], __ATOMIC_ACQUIRE) : NULL;
}

void trap_set_user_handler(trap_handler fn)
{
	__atomic_store_n(&user_handler, fn, __ATOMIC_RELEASE);
}

void trap_set_eoi(void (*fn)(void))
{
	__atomic_store_n(&eoi, fn, __ATOMIC_RELEASE);
}

/* Those of exceptions stay 0. */
uint64_t trap_stray_count(unsigned vector)
{
	return vector < VECTORS ? __atomic_load_n(&strays[vector], __ATOMIC_RELAXED) : 0;
}

/* An interrupt that nobody asked for. A spurious one is not acknowledged: the APIC does not have it in service. */
static void stray(unsigned vector)
{
	void (*const acknowledge)(void) = __atomic_load_n(&eoi, __ATOMIC_ACQUIRE);

	if (__atomic_fetch_add(&strays[vector], 1, __ATOMIC_RELAXED) == 0)
		kprintf("trap: stray interrupt %u\n", vector);
	if (acknowledge && vector != VEC_SPURIOUS)
		acknowledge();
}

/* ---- catching ---- */

/* fn(arg) with interrupts as in flags; false: it returned. true: leave() has come here, interrupts off. Interrupts are
 * off on the way in. Not inlined: what runs after __builtin_longjmp finds its registers only as the caller of this. */
static __attribute__((noinline)) bool run(struct catch *c, void (*fn)(void *), void *arg, uint64_t flags)
{
	if (__builtin_setjmp(c->buffer))
		return true;
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
	fn(arg);
	return false;
}

/* Back to the innermost trap_catch, which is taken off the chain first: should *out not be writable, that fault is not
 * its own. Not inlined: __builtin_longjmp must not be in the function that called __builtin_setjmp. */
static __attribute__((noinline)) _Noreturn void leave(unsigned cpu, const struct trap_frame *f)
{
	struct catch *c = &catches[cpu][--trap_catch_depth[cpu]];

	if (c->out)
		*c->out = *f;
	__builtin_longjmp(c->buffer, 1);
}

/* The chain is the processor's, not a thread's: a thread that could be switched away from has preemption off. */
int trap_catch(void (*fn)(void *), void *arg, struct trap_frame *out)
{
	struct cpu *self;
	unsigned depth, panics;
	uint32_t preempt;
	uint64_t flags;
	bool caught = false;

	/* Interrupts off until the buffer is filled: a handler that catches too would take the same place in the chain. */
	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	self = cpu_self();
	depth = trap_catch_depth[self->index];
	panics = panic_catch_depth[self->index];
	preempt = self->preempt_count;
	if (depth < CATCH_DEPTH) {
		struct catch *c = &catches[self->index][depth];

		c->out = out;
		trap_catch_depth[self->index] = depth + 1;
		caught = run(c, fn, arg, flags);
		trap_catch_depth[self->index] = depth;
		if (!caught)
			return 0;
		panic_catch_depth[self->index] = panics;
		self->preempt_count = preempt;
	}
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
	return caught ? 1 : -ENOSPC;
}

static bool is_catchable(uint64_t vector)
{
	return vector != VEC_NMI && vector != VEC_DOUBLE_FAULT && vector != VEC_MACHINE_CHECK;
}

/* ---- the dump ---- */

static const char *exception_name(uint64_t vector)
{
	static const char *const names[EXCEPTIONS] = {
		[0] = "divide error", [1] = "debug", [2] = "NMI", [3] = "breakpoint", [4] = "overflow", [5] = "bound range",
		[6] = "invalid opcode", [7] = "device not available", [8] = "double fault", [10] = "invalid TSS",
		[11] = "segment not present", [12] = "stack fault", [13] = "general protection", [14] = "page fault",
		[16] = "x87 error", [17] = "alignment check", [18] = "machine check", [19] = "SIMD error",
		[20] = "virtualization", [21] = "control protection", [28] = "hypervisor injection",
		[29] = "VMM communication", [30] = "security",
	};

	return names[vector] ? names[vector] : "reserved";
}

/* The first line, without its end. */
static void describe(const struct trap_frame *f, unsigned cpu, char *line, size_t size)
{
	char words[48] = "";

	if (f->vector == VEC_PAGE_FAULT)
		snprintf(words, sizeof words, " (%s, %s%s%s)",
			 f->error & PF_FETCH ? "fetch" : f->error & PF_WRITE ? "write" : "read",
			 f->error & PF_PRESENT ? "present" : "not present",
			 f->error & PF_USER ? ", user" : "", f->error & PF_RESERVED ? ", reserved bit" : "");
	snprintf(line, size, "exception %lu %s, error 0x%lx%s, cpu %u",
		 f->vector, exception_name(f->vector), f->error, words, cpu);
}

static void print_rip(const struct trap_frame *f)
{
	uint64_t offset;
	const char *name = symbol_lookup(f->rip, &offset);

	kprintf("rip 0x%lx", f->rip);
	if (name)
		kprintf(" %s+0x%lx", name, offset);
	kprintf("  cs 0x%lx  rflags 0x%lx\n", f->cs, f->rflags);
}

static void print_registers(const struct trap_frame *f)
{
	kprintf("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	kprintf("rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n", f->rsi, f->rdi, f->rbp, f->rsp);
	kprintf("r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
	kprintf("r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
}

/* Says what is known of an exception, and ends in a panic. It is an exception: f->vector is below EXCEPTIONS. */
static _Noreturn void dump(const struct trap_frame *f, unsigned cpu)
{
	uint64_t cr0, cr2, cr3, cr4;
	char line[128];

	/* First of all: a fault in what follows would change CR2. */
	__asm__ volatile("movq %%cr2, %0\n\tmovq %%cr0, %1\n\tmovq %%cr3, %2\n\tmovq %%cr4, %3"
			 : "=&r"(cr2), "=&r"(cr0), "=&r"(cr3), "=r"(cr4));
	trap_catch_depth[cpu] = 0;      /* no way back: what faults in here is nobody's to catch */
	panic_begin();

	/* An exception in the dump. One more, in printing `nested`, tries to panic at least. */
	if (++dumps[cpu] > 1) {
		if (dumps[cpu] == 2)
			kprintf("nested\n");
		panic("nested exception %lu %s", f->vector, exception_name(f->vector));
	}

	describe(f, cpu, line, sizeof line);
	kprintf("%s\n", line);
	print_rip(f);
	print_registers(f);
	kprintf("cr0 %016lx cr2 %016lx cr3 %016lx cr4 %016lx\n", cr0, cr2, cr3, cr4);
	backtrace_print(f->rip, f->rbp);
	panic("%s", line);
}

/* ---- dispatch ---- */

void trap_dispatch(struct trap_frame *f)
{
	trap_handler handler;
	const struct cpu *self;

	if (f->vector == VEC_NMI)
		panic_stop_here();
	handler = trap_get_handler((unsigned)f->vector);
	if (handler) {
		handler(f);
		return;
	}
	if (f->vector >= EXCEPTIONS) {
		stray((unsigned)f->vector);
		return;
	}
	if ((f->cs & 3) == RPL_USER) {
		handler = __atomic_load_n(&user_handler, __ATOMIC_ACQUIRE);
		if (handler) {
			handler(f);
			return;
		}
	}
	self = this_cpu();
	if (self && trap_catch_depth[self->index] > 0 && is_catchable(f->vector))
		leave(self->index, f);
	dump(f, self ? self->index : 0);
}
