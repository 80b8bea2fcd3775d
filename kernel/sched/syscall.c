/* The border to ring 3: the way in by `syscall`, the table behind it, and the way out. See spec/sched.md, "Interface:
 * include/syscall.h", invariants 4 and 6, and "Hardware facts".
 *
 * While a thread is in the kernel, what it has in ring 3 is in the struct trap_frame at its stack's top, whichever way it
 * came: an interrupt's begins there by TSS.RSP0, a system call's by struct cpu's kernel_rsp, and user_enter puts one
 * there. All other frames of the thread are beneath it.
 *
 * One way leads out, by iretq: unlike sysretq it brings back RCX and R11 as user_enter was asked for, and leaves no
 * selector of ring 0 in DS and ES. It does not fault: CS and SS are ring 3's, and RIP is canonical, as no code lies at or
 * above USER_END. */
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "mm.h"
#include "sched.h"
#include "syscall.h"

#define MSR_EFER           0xC0000080u
#define MSR_STAR           0xC0000081u
#define MSR_LSTAR          0xC0000082u
#define MSR_FMASK          0xC0000084u
#define MSR_FS_BASE        0xC0000100u
#define MSR_KERNEL_GS_BASE 0xC0000102u          /* what swapgs swaps in: ring 3's while in the kernel */

#define EFER_SCE (1ul << 0)
#define CR0_MP   (1ul << 1)
#define CR0_EM   (1ul << 2)
#define CR0_TS   (1ul << 3)

#define RFLAGS_CF (1ul << 0)
#define RFLAGS_1  (1ul << 1)                    /* always set */
#define RFLAGS_PF (1ul << 2)
#define RFLAGS_AF (1ul << 4)
#define RFLAGS_ZF (1ul << 6)
#define RFLAGS_SF (1ul << 7)
#define RFLAGS_TF (1ul << 8)
#define RFLAGS_IF (1ul << 9)
#define RFLAGS_DF (1ul << 10)
#define RFLAGS_OF (1ul << 11)
#define RFLAGS_NT (1ul << 14)
#define RFLAGS_AC (1ul << 18)

/* Cleared by `syscall`; and what user_enter takes of a caller's. */
#define ENTRY_MASK (RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC)
#define USER_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_DF | RFLAGS_OF)

enum { USER_CS = SEL_USER_CODE | 3, USER_SS = SEL_USER_DATA | 3 };

/* STAR names two selectors, the rest follow. */
_Static_assert(SEL_KERNEL_DATA == SEL_KERNEL_CODE + 8, "syscall's SS is its CS + 8");
_Static_assert(SEL_USER_DATA == SEL_KERNEL_DATA + 8 && SEL_USER_CODE == SEL_KERNEL_DATA + 16, "sysret's SS and CS");

/* ---- the table ---- */

static int64_t call_null(const uint64_t a[6])
{
	(void)a;
	return 0;
}

static int64_t call_yield(const uint64_t a[6])
{
	(void)a;
	thread_yield();
	return 0;
}

static int64_t call_sleep(const uint64_t a[6])
{
	return thread_sleep(a[0]);
}

static int64_t call_clock(const uint64_t a[6])
{
	(void)a;
	return (int64_t)clock_ns();
}

/* Static, so that init functions of the same level may register in any order. Written by these, one after the other,
 * while threads may call already: atomic. */
static syscall_fn table[SYS_COUNT] = {
	[SYS_NULL] = call_null,
	[SYS_YIELD] = call_yield,
	[SYS_SLEEP] = call_sleep,
	[SYS_CLOCK] = call_clock,
};

int syscall_register(unsigned nr, syscall_fn fn)
{
	if (nr >= SYS_COUNT || !fn)
		return -EINVAL;
	if (table[nr])
		return -EBUSY;
	__atomic_store_n(&table[nr], fn, __ATOMIC_RELEASE);
	return 0;
}

int64_t syscall_dispatch(unsigned nr, const uint64_t a[6])
{
	const syscall_fn fn = nr < SYS_COUNT ? __atomic_load_n(&table[nr], __ATOMIC_ACQUIRE) : NULL;

	return fn ? fn(a) : -EINVAL;
}

/* ---- in and out ---- */

/* By syscall_entry only, which the compiler does not see: the call that f asks for. RAX in the frame is the number until
 * the result is there. */
static __attribute__((used)) void serve(struct trap_frame *f)
{
	const uint64_t a[6] = { f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9 };

	f->rax = (uint64_t)(f->rax <= UINT32_MAX ? syscall_dispatch((unsigned)f->rax, a) : -EINVAL);
}

/* To ring 3, from system calls and user_enter.
 * In:  RSP the struct trap_frame at the stack's top, RBP 0, interrupts off, GS base the kernel's, preempt count 0.
 * Out: iretq to what the frame says; all registers from the frame, GS base ring 3's. thread_user_return may have interrupts
 *      on meanwhile, and may not return; from then on they are off, so that none comes on ring 3's GS base. */
static __attribute__((naked, used)) void to_ring3(void)
{
	__asm__(
		"call thread_user_return\n\t"
		"popq %r15\n\t"
		"popq %r14\n\t"
		"popq %r13\n\t"
		"popq %r12\n\t"
		"popq %r11\n\t"
		"popq %r10\n\t"
		"popq %r9\n\t"
		"popq %r8\n\t"
		"popq %rdi\n\t"
		"popq %rsi\n\t"
		"popq %rbp\n\t"
		"popq %rdx\n\t"
		"popq %rcx\n\t"
		"popq %rbx\n\t"
		"popq %rax\n\t"
		"addq $16, %rsp\n\t"                    /* vector and error */
		"swapgs\n\t"
		"iretq");
}

/* Where `syscall` comes to.
 * In:  RIP in RCX, RFLAGS in R11; interrupts off, DF clear (FMASK); RSP, GS base and all other registers ring 3's.
 * Out: to serve: RSP = RDI the frame at the stack's top, complete, at 0 mod 16; RBP 0, which ends back-traces;
 *      GS base the kernel's; only then interrupts on. Then to to_ring3, which has what it wants, as serve keeps RBP.
 * Until RSP is the thread's nothing but an NMI or a machine check can come, which have stacks of their own and look at the
 * GS base. So nobody else uses this processor's user_rsp in between. */
static __attribute__((naked)) void syscall_entry(void)
{
	__asm__(
		"swapgs\n\t"
		"movq %rsp, %gs:24\n\t"                 /* CPU_USER_RSP */
		"movq %gs:32, %rsp\n\t"                 /* CPU_KERNEL_RSP */
		"pushq $0x1b\n\t"                       /* USER_SS */
		"pushq %gs:24\n\t"
		"pushq %r11\n\t"
		"pushq $0x23\n\t"                       /* USER_CS */
		"pushq %rcx\n\t"
		"pushq $0\n\t"                          /* error and vector: there are none */
		"pushq $0\n\t"
		"pushq %rax\n\t"
		"pushq %rbx\n\t"
		"pushq %rcx\n\t"
		"pushq %rdx\n\t"
		"pushq %rbp\n\t"
		"pushq %rsi\n\t"
		"pushq %rdi\n\t"
		"pushq %r8\n\t"
		"pushq %r9\n\t"
		"pushq %r10\n\t"
		"pushq %r11\n\t"
		"pushq %r12\n\t"
		"pushq %r13\n\t"
		"pushq %r14\n\t"
		"pushq %r15\n\t"
		"xorl %ebp, %ebp\n\t"
		"movq %rsp, %rdi\n\t"
		"sti\n\t"
		"call serve\n\t"
		"cli\n\t"
		"jmp to_ring3");
}
_Static_assert(CPU_USER_RSP == 24 && CPU_KERNEL_RSP == 32, "syscall_entry's offsets");
_Static_assert(USER_CS == 0x23 && USER_SS == 0x1b, "syscall_entry's selectors");
_Static_assert(sizeof(struct trap_frame) % 16 == 0, "beneath the frame the stack is aligned as at its top");

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

int user_enter(const struct user_regs *r)
{
	const struct trap_frame frame = {
		.r15 = r->r15, .r14 = r->r14, .r13 = r->r13, .r12 = r->r12, .r11 = r->r11, .r10 = r->r10, .r9 = r->r9,
		.r8 = r->r8, .rdi = r->rdi, .rsi = r->rsi, .rbp = r->rbp, .rdx = r->rdx, .rcx = r->rcx, .rbx = r->rbx,
		.rax = r->rax, .rip = r->rip, .cs = USER_CS, .rflags = (r->rflags & USER_FLAGS) | RFLAGS_IF | RFLAGS_1,
		.rsp = r->rsp, .ss = USER_SS,
	};

	if (r->rip >= USER_END || r->rsp >= USER_END || r->fs_base >= USER_END)
		return -EINVAL;
	wrmsr(MSR_FS_BASE, r->fs_base);         /* the thread's own from now on, wherever it is switched to */

	/* In:  RDI frame, RSI the stack's top, RCX the words of a frame.
	 * Out: to to_ring3, with the frame at the stack's top, RSP there, RBP 0, interrupts off.
	 * frame lies on the same stack, in part maybe where it is to be: pushed from its end on, no word of it is written over
	 * before it is read. Interrupts are off first, as they would come beneath RSP. */
	__asm__ volatile(
		"cli\n\t"
		"movq %%rsi, %%rsp\n"
		"1:\n\t"
		"pushq -8(%%rdi,%%rcx,8)\n\t"
		"decl %%ecx\n\t"
		"jnz 1b\n\t"
		"xorl %%ebp, %%ebp\n\t"
		"jmp to_ring3"
		: : "D"(&frame), "S"(thread_stack_top(thread_current())), "c"(sizeof frame / 8) : "memory", "cc");
	__builtin_unreachable();
}

/* Of a thread that never was in ring 3 the frame is 0, but for those that run on the boot stack, the start-up thread and
 * idle ones: there the topmost word, SS, is the address that kernel_main would return to. */
int user_regs_get(const struct thread *t, struct user_regs *r)
{
	const struct trap_frame *const f = (const struct trap_frame *)thread_stack_top(t) - 1;

	if (f->cs != USER_CS || f->ss != USER_SS)
		return -ENOENT;
	*r = (struct user_regs){
		.rax = f->rax, .rbx = f->rbx, .rcx = f->rcx, .rdx = f->rdx, .rsi = f->rsi, .rdi = f->rdi, .rbp = f->rbp,
		.r8 = f->r8, .r9 = f->r9, .r10 = f->r10, .r11 = f->r11, .r12 = f->r12, .r13 = f->r13, .r14 = f->r14,
		.r15 = f->r15, .rip = f->rip, .rflags = f->rflags, .rsp = f->rsp, .fs_base = thread_fs_base(t),
	};
	return 0;
}

/* ---- start ---- */

/* On each processor, interrupts off. */
static void set_up(void *arg)
{
	uint64_t cr0;

	(void)arg;
	wrmsr(MSR_STAR, (uint64_t)(SEL_KERNEL_DATA << 16 | SEL_KERNEL_CODE) << 32);
	wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
	wrmsr(MSR_FMASK, ENTRY_MASK);
	wrmsr(MSR_KERNEL_GS_BASE, 0);           /* of ring 3, whatever firmware left there */
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	__asm__ volatile("movq %%cr0, %0" : "=r"(cr0) : : "memory");
	__asm__ volatile("movq %0, %%cr0" : : "r"(cr0 | CR0_MP | CR0_EM | CR0_TS) : "memory");
}

static void syscall_init(void)
{
	(void)cpu_on_each(set_up, NULL);
}
INIT(INIT_SCHED + 1, syscall_init);
