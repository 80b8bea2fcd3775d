/* The end of a kernel that cannot go on, and panics that are caught. See spec/boot.md, "Panic".
 *
 * A panic comes in any state of the machine: nothing here takes a lock, and before gdt_load, when gs:0 cannot be read,
 * nothing asks for cpu_self(). */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu.h"
#include "errno.h"
#include "harness.h"
#include "panic.h"
#include "printf.h"

enum { MESSAGE_SIZE = 256 };            /* with the NUL */
enum { CATCH_DEPTH = 4 };
#define MSR_GS_BASE 0xC0000101u
#define RFLAGS_IF (1u << 9)

/* Where a caught panic goes on. */
struct catch {
	void *buffer[5];                /* __builtin_setjmp's */
	char *why;
	size_t size;
};

/* By the processor's index. The depth is how many are in use, the innermost the last. It is trap.c's as well, and
 * trap_catch_depth is trap.c's: who leaves by one kind of catching leaves all calls of the other kind that are within,
 * so each puts back both depths. A panic that is not caught makes trap_catch_depth 0: there is no way back from it. */
static struct catch catches[CPU_MAX][CATCH_DEPTH];
extern unsigned panic_catch_depth[CPU_MAX], trap_catch_depth[CPU_MAX];
unsigned panic_catch_depth[CPU_MAX];

/* By the processor's index: it is in a panic that is not caught. Each is its own processor's. */
static bool in_panic[CPU_MAX];

/* Who has begun: its index + 1; 0: nobody. It changes once. */
static unsigned begun;
static unsigned stopped;
static void (*stopper)(void);

/* This processor's data; NULL before gdt_load here. */
static struct cpu *this_cpu(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_GS_BASE));
	return low | high ? cpu_self() : NULL;
}

static unsigned index_of(const struct cpu *self)
{
	return self ? self->index : 0;
}

/* An NMI gets through, and comes back to the loop. */
static _Noreturn void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

/* ---- stopping ---- */

void panic_set_stopper(void (*fn)(void))
{
	__atomic_store_n(&stopper, fn, __ATOMIC_RELEASE);
}

void panic_begin(void)
{
	unsigned who = 0, me;
	void (*stop)(void);

	__asm__ volatile("cli" : : : "memory");
	me = index_of(this_cpu()) + 1;
	if (__atomic_compare_exchange_n(&begun, &who, me, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		stop = __atomic_load_n(&stopper, __ATOMIC_ACQUIRE);
		if (stop)
			stop();
	} else if (who != me) {
		halt();                 /* counted by panic_stop_here, when the other one's NMI comes */
	}
}

bool panic_begun(void)
{
	return __atomic_load_n(&begun, __ATOMIC_ACQUIRE) != 0;
}

void panic_stop_here(void)
{
	const unsigned who = __atomic_load_n(&begun, __ATOMIC_ACQUIRE);

	if (who == 0 || who == index_of(this_cpu()) + 1)
		return;
	__atomic_fetch_add(&stopped, 1, __ATOMIC_ACQ_REL);
	halt();
}

unsigned panic_stopped(void)
{
	return __atomic_load_n(&stopped, __ATOMIC_ACQUIRE);
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

/* Back to the innermost panic_catch, which is taken off the chain first: should why not be writable, that is no matter
 * of its own. Not inlined: __builtin_longjmp must not be in the function that called __builtin_setjmp. */
static __attribute__((noinline)) _Noreturn void leave(unsigned cpu, const char *message)
{
	struct catch *c = &catches[cpu][--panic_catch_depth[cpu]];

	snprintf(c->why, c->size, "%s", message);
	__builtin_longjmp(c->buffer, 1);
}

/* The chain is the processor's, not a thread's: a thread that could be switched away from has preemption off. */
int panic_catch(void (*fn)(void *), void *arg, char *why, size_t size)
{
	struct cpu *self;
	unsigned depth, traps;
	uint32_t preempt;
	uint64_t flags;
	bool caught = false;

	/* Interrupts off until the buffer is filled: a handler that catches too would take the same place in the chain. */
	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	self = cpu_self();
	depth = panic_catch_depth[self->index];
	traps = trap_catch_depth[self->index];
	preempt = self->preempt_count;
	if (depth < CATCH_DEPTH) {
		struct catch *c = &catches[self->index][depth];

		c->why = why;
		c->size = size;
		panic_catch_depth[self->index] = depth + 1;
		caught = run(c, fn, arg, flags);
		panic_catch_depth[self->index] = depth;
		if (!caught)
			return 0;
		trap_catch_depth[self->index] = traps;
		self->preempt_count = preempt;
	}
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
	return caught ? 1 : -ENOSPC;
}

/* ---- the end ---- */

_Noreturn void panic(const char *fmt, ...)
{
	char message[MESSAGE_SIZE];
	const struct cpu *self;
	unsigned cpu;
	bool caught;
	va_list args;

	__asm__ volatile("cli" : : : "memory");
	self = this_cpu();
	cpu = index_of(self);
	/* Where it has begun, as by the dump of an exception, nothing goes on any more. */
	caught = self && panic_catch_depth[cpu] > 0 && !panic_begun();
	if (!caught) {
		if (in_panic[cpu])
			harness_panic(fmt);     /* as it stands: formatting or the console may be what failed */
		/* Before the formatting: what faults from here on, in the stopper or the console too, is nobody's to catch. The
		 * dump's own panic is then the second. */
		in_panic[cpu] = true;
		trap_catch_depth[cpu] = 0;
	}
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	if (caught)
		leave(cpu, message);
	panic_begin();
	if (cpu_count() > 1)
		kprintf("\npanic: cpu %u: %s\n", cpu, message);         /* another may have been stopped within a line */
	else
		kprintf("panic: %s\n", message);
	harness_panic(message);
}
