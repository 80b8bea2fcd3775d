/* Processors: the data that each has of its own, which are online, and how one has another do something. Processors
 * are told apart by their index, 0 to cpu_count() - 1. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define CPU_MAX 16
#define CPU_STACK_SIZE 16384            /* bytes; what a processor other than the boot processor starts on */

struct thread;                          /* sched's */

/* Per-processor data; GS base points at it. */
struct cpu {
	struct cpu *self;       /* at gs:0 */
	uint32_t index;         /* 0 is the boot processor */
	uint32_t apic_id;
	uint32_t preempt_count; /* a lock held makes it 1 more; one instruction changes it: `incl %gs:16` */
	uint64_t user_rsp;      /* sched.md: the system call entry's */
	uint64_t kernel_rsp;
	struct thread *current; /* NULL before INIT_SCHED */
};
enum { CPU_USER_RSP = 24, CPU_KERNEL_RSP = 32 };        /* offsets, for assembly */
_Static_assert(offsetof(struct cpu, self) == 0, "cpu_self() reads gs:0");
_Static_assert(offsetof(struct cpu, preempt_count) == 16, "spin locks count at gs:16");
_Static_assert(offsetof(struct cpu, user_rsp) == CPU_USER_RSP, "the system call entry's offset");
_Static_assert(offsetof(struct cpu, kernel_rsp) == CPU_KERNEL_RSP, "the system call entry's offset");

/* boot/cpu.c: all of them static, [0] the boot processor's from the start. */

/* How many processors are online; 1 before INIT_SMP. No errors. Any context, also before gdt_load. */
unsigned cpu_count(void);

/* This processor's. No errors. Any context, but not before gdt_load here. What it says is true for as long as the
 * caller cannot move to another processor. */
static inline struct cpu *cpu_self(void)
{
	struct cpu *self;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(self));       /* volatile: read again each time, as threads move */
	return self;
}

/* The processor with that index; NULL: not online. Any context, also before gdt_load. */
struct cpu *cpu_get(unsigned index);

/* The next index's, filled in (self, index, apic_id; all else 0), not online yet. NULL: CPU_MAX are online. Until it
 * is set online the next call gives the same one again. For smp: on the boot processor at INIT_SMP, one at a time. */
struct cpu *cpu_add(uint32_t apic_id);

/* Sets online what cpu_add gave last; from then on it counts. No errors. For smp, as cpu_add. */
void cpu_set_online(struct cpu *c);

/* boot/pause.c. Another processor is about to start: from now on cpu_pause (io.h) is `pause`. Called by cpu_add, before
 * it gives one; again: nothing. No errors. Any context. */
void cpu_pause_enable(void);

/* boot/smp.c. From INIT_SMP's end on. fn runs with interrupts off, on other processors in the interrupt VEC_CALL; it
 * must not call cpu_on_each or cpu_call. Both functions: not from interrupts, interrupts are on, no spin lock is held.
 * One call at a time, others wait. */

/* Runs fn(arg) on all processors at the same time, this one included; 0 when all have returned. No errors. */
int cpu_on_each(void (*fn)(void *), void *arg);

/* Runs fn(arg) on the processor with that index, which may be this one, and waits for it; 0. -EINVAL: no such, or fn
 * NULL; nothing was run. -ETIMEDOUT: it has not returned within 1 s; it may yet run, so arg must stay good. */
int cpu_call(unsigned index, void (*fn)(void *), void *arg);

/* Sends the processor with that index, which may be this one, an interrupt of that vector; does not wait for it. No
 * such processor: nothing. No errors. Any context. */
void cpu_send(unsigned index, uint8_t vector);
