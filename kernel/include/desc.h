/* Descriptor tables and traps: each processor's GDT and TSS, the one IDT, and who handles a vector. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The GDT of every processor. The order is syscall's and sysret's. */
enum {
	SEL_KERNEL_CODE = 0x08,
	SEL_KERNEL_DATA = 0x10,
	SEL_USER_DATA = 0x18,           /* user: DPL 3, without the RPL */
	SEL_USER_CODE = 0x20,
	SEL_TSS = 0x28,                 /* 16 bytes: the GDT's limit is 0x37 */
};

/* Which of the TSS's stacks a vector has. */
enum { IST_NMI = 1, IST_DOUBLE_FAULT = 2, IST_MACHINE_CHECK = 3 };
#define IST_STACK_SIZE 16384            /* bytes, each of them */

enum {
	VEC_DIVIDE = 0,
	VEC_NMI = 2,
	VEC_BREAKPOINT = 3,
	VEC_OPCODE = 6,
	VEC_DOUBLE_FAULT = 8,
	VEC_GP = 13,
	VEC_PAGE_FAULT = 14,
	VEC_MACHINE_CHECK = 18,
	VEC_PIC = 0x20,                 /* 16 of them: the old PICs', masked */
	VEC_TIMER = 0x40,
	VEC_DEVICE = 0x50,              /* to VEC_DEVICE_LAST: given out by irq_alloc_vector */
	VEC_DEVICE_LAST = 0xdf,
	VEC_CALL = 0xf0,
	VEC_TLB = 0xf1,
	VEC_RESCHED = 0xf2,
	VEC_ERROR = 0xfe,
	VEC_SPURIOUS = 0xff,
};                                      /* 0xE0-0xEF stay free: tests use them */

/* As the processor reads it. */
struct tss {
	uint32_t zero;
	uint64_t rsp[3], zero2, ist[7], zero3;          /* ist[0] is IST1 */
	uint16_t zero4, iomap;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "the TSS's limit is 103");
_Static_assert(offsetof(struct tss, rsp) == 4, "the processor reads RSP0 here");
_Static_assert(offsetof(struct tss, ist) == 36, "the processor reads IST1 here");
_Static_assert(offsetof(struct tss, iomap) == 102, "the processor reads the I/O map's offset here");

struct cpu;                             /* cpu.h */

/* Fills the GDT, the TSS and its three stacks that belong to processor c->index and loads them here: GDT, all segment
 * registers (DS, ES, SS kernel data, FS, GS 0), task register; then GS base (MSR 0xC0000101) = c. RSP0 is
 * boot_stack_top until gdt_set_rsp0. No errors. Interrupts off; once on each processor, before anything there uses
 * cpu_self(). */
void gdt_load(struct cpu *c);

/* Where this processor's stack begins when it comes from ring 3 (TSS.RSP0): an address, not checked. No errors. After
 * gdt_load here, by who cannot move to another processor meanwhile: interrupts off, say. */
void gdt_set_rsp0(uint64_t rsp);

/* Loads the one IDT here. No errors. Interrupts off; on each processor, once idt_init (level INIT_EARLY) has filled
 * the table; before or after gdt_load. */
void idt_load(void);

/* As the stubs build it on the stack, lowest address first. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;       /* error: 0 where the processor pushes none */
};
_Static_assert(sizeof(struct trap_frame) == 176, "22 words; the stubs count on it");
_Static_assert(offsetof(struct trap_frame, vector) == 120, "15 registers below what the stubs push");
_Static_assert(offsetof(struct trap_frame, rip) == 136, "from here on the processor pushes");

/* Called with interrupts off, on the stack that was interrupted or the vector's own. What is written to *f is what is
 * returned to. An interrupt that came by the APIC is acknowledged by its handler (apic_eoi). */
typedef void (*trap_handler)(struct trap_frame *f);

/* Makes fn the handler of the vector, on all processors. 0, or with nothing changed -EINVAL: vector > 255 or fn NULL;
 * -EBUSY: taken. The handler may be called before this returns. Any context, any number of processors at once: of
 * several that want a vector one gets it. */
int trap_set_handler(unsigned vector, trap_handler fn);

/* Leaves the vector without a handler; above 255, or without one: nothing. No errors. Another processor may be in the
 * handler still, or just about to call it. Any context. */
void trap_clear_handler(unsigned vector);

/* The handler of the vector; NULL: none, or the vector is above 255. Any context. */
trap_handler trap_get_handler(unsigned vector);

/* What is called in place of the dump for every exception that comes from ring 3 and has no handler of its own; NULL:
 * the dump, as at the start. No errors. For sched; any context. */
void trap_set_user_handler(trap_handler fn);

/* What acknowledges an interrupt that has no handler, called with interrupts off; until then, or with NULL, nothing
 * does. No errors. For apic; any context. */
void trap_set_eoi(void (*fn)(void));

/* Interrupts of this vector, 32 to 255, that had no handler, on all processors since boot; 0 for others. Any
 * context. */
uint64_t trap_stray_count(unsigned vector);

/* Does with the trap what is due: the vector's handler, stray interrupt, user handler, trap_catch or dump. Returns to
 * what *f says, or not at all. Called by the stubs only: interrupts off, DF clear, GS base the kernel's. */
void trap_dispatch(struct trap_frame *f);

/* Runs fn(arg) and catches the first exception in it on this processor: 1 and *out filled (unless NULL), or 0 with
 * *out unchanged if there was none. Nests four deep on each processor, the innermost catches; a fifth is -ENOSPC, and
 * fn is not run. What has a handler of its own goes there; NMI, double fault and machine check are not caught. After
 * an exception interrupts are on or off as they were at the call, the preempt count (cpu.h) too; all else that fn had
 * done stays, and a lock that it held stays taken. fn is not NULL; not checked. After gdt_load and idt_load here; from
 * threads and in cpu_call alike, interrupts on or off. */
int trap_catch(void (*fn)(void *), void *arg, struct trap_frame *out);
