/* From one stack to another. See spec/sched.md, "Interface: include/sched.h". */
#include <stdint.h>
#include "panic.h"
#include "sched.h"

/* What context_switch leaves at the saved RSP, and takes from there: the pushes, last one first. */
struct switch_frame {
	uint64_t r15, r14, r13, r12, rbx, rbp;
	uint64_t rip;                           /* the return address */
};
_Static_assert(sizeof(struct switch_frame) == 7 * sizeof(uint64_t), "six registers and the return address, no padding");

/* By context_start only, which the compiler does not see. */
static __attribute__((used)) _Noreturn void fn_returned(void)
{
	panic("sched: the function of a context returned");
}

/* Where a new context begins: context_switch returns to here, at the frame that context_init made.
 * In:  RBX fn, R12 its argument, RBP 0, which ends back-traces, RSP the stack's top, which is 0 mod 16.
 * Out: to fn: RDI the argument, RBP 0, RSP 8 mod 16, the return address just beneath the stack's top. Never returns; if
 *      fn does, RSP is the stack's top again, as it must be before a call. */
static __attribute__((naked)) void context_start(void)
{
	__asm__(
		"movq %r12, %rdi\n\t"
		"call *%rbx\n\t"
		"call fn_returned");
}

void context_init(struct context *c, void *stack_top, void (*fn)(void *), void *arg)
{
	struct switch_frame *const frame = (struct switch_frame *)stack_top - 1;

	*frame = (struct switch_frame){ .rbx = (uint64_t)fn, .r12 = (uint64_t)arg, .rip = (uint64_t)context_start };
	c->rsp = (uint64_t)frame;
}

/* In:  RDI save, RSI load; interrupts off.
 * Out: RBX, RBP, R12 to R15 and RSP as whoever left itself in *load had them; all other registers as a call may leave
 *      them. The pushes and pops are struct switch_frame; rsp is struct context's only member. */
__attribute__((naked)) void context_switch(struct context *save __attribute__((unused)),
	struct context *load __attribute__((unused)))
{
	__asm__(
		"pushq %rbp\n\t"
		"pushq %rbx\n\t"
		"pushq %r12\n\t"
		"pushq %r13\n\t"
		"pushq %r14\n\t"
		"pushq %r15\n\t"
		"movq %rsp, (%rdi)\n\t"
		"movq (%rsi), %rsp\n\t"
		"popq %r15\n\t"
		"popq %r14\n\t"
		"popq %r13\n\t"
		"popq %r12\n\t"
		"popq %rbx\n\t"
		"popq %rbp\n\t"
		"ret");
}
