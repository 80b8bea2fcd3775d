/* Acceptance of sched/switch.c: from one stack to another and back. See spec/sched.md. */
#include "memory.h"
#include "sched.h"

enum { CONTEXTS = 3, SWITCHES = 1000, STACK = 4096, GUARD = 0x5a };

static struct context back, contexts[CONTEXTS];
static char stacks[CONTEXTS][STACK + 64] __attribute__((aligned(16)));
static unsigned turns[CONTEXTS], wrong, order_wrong, expected;

/* Switches with the callee-saved registers full of what seed gives and compares them afterwards; rsp, and what lies on the stack, too. How many
 * differ. */
uint64_t sched_test_switch(struct context *save, struct context *load, uint64_t seed);
__asm__(".text\n.globl sched_test_switch\nsched_test_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"push %rdx\npush %rdx\npush %rsp\n"             /* the seed, twice; where the stack was */
	"lea 1(%rdx), %rbx\nlea 2(%rdx), %rbp\nlea 3(%rdx), %r12\nlea 4(%rdx), %r13\nlea 5(%rdx), %r14\nlea 6(%rdx), %r15\n"
	"call context_switch\n"
	"xor %eax, %eax\nmov 8(%rsp), %rdx\n"
	"cmp 16(%rsp), %rdx\nsetne %cl\nadd %cl, %al\n"
	"lea 8(%rsp), %rcx\ncmp (%rsp), %rcx\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %rbx\ncmp $1, %rbx\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %rbp\ncmp $2, %rbp\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %r12\ncmp $3, %r12\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %r13\ncmp $4, %r13\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %r14\ncmp $5, %r14\nsetne %cl\nadd %cl, %al\n"
	"sub %rdx, %r15\ncmp $6, %r15\nsetne %cl\nadd %cl, %al\n"
	"movzbl %al, %eax\nadd $24, %rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

/* Round and round, until all have had their turns. */
static void go_round(void *arg)
{
	const unsigned me = (unsigned)(uint64_t)arg;

	for (;;) {
		order_wrong += expected != me;
		turns[me]++;
		expected = (me + 1) % CONTEXTS;
		if (me == CONTEXTS - 1 && turns[me] == SWITCHES)
			wrong += sched_test_switch(&contexts[me], &back, me) != 0;
		wrong += sched_test_switch(&contexts[me], &contexts[(me + 1) % CONTEXTS], turns[me] * 0x123456789abcdefull + me) != 0;
	}
}

KTEST(sched, switch_registers)
{
	const uint64_t flags = harness_cli();
	uint64_t differ;

	wrong = order_wrong = expected = 0;
	harness_memset(turns, 0, sizeof turns);
	harness_memset(stacks, GUARD, sizeof stacks);
	for (unsigned i = 0; i < CONTEXTS; i++)
		context_init(&contexts[i], stacks[i] + STACK, go_round, (void *)(uint64_t)i);
	differ = sched_test_switch(&back, &contexts[0], 0x7777777777777777);
	harness_restore(flags);
	KASSERT_EQ(differ, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(order_wrong, 0);
	for (unsigned i = 0; i < CONTEXTS; i++) {
		KASSERT_EQ(turns[i], SWITCHES);
		for (unsigned b = 0; b < 64; b++)
			KASSERT_EQ(stacks[i][STACK + b], GUARD);
	}
}

/* Entry, as the processor sees it: what sched_test_entry stores. */
uint64_t sched_test_rsp, sched_test_rbp, sched_test_arg;
void sched_test_entry(void *arg);
__asm__(".text\n.globl sched_test_entry\nsched_test_entry:\n"
	"mov %rsp, sched_test_rsp(%rip)\nmov %rbp, sched_test_rbp(%rip)\nmov %rdi, sched_test_arg(%rip)\n"
	"call sched_test_leave\nud2\n");
void sched_test_leave(void);
void sched_test_leave(void)
{
	context_switch(&contexts[0], &back);
}

KTEST(sched, switch_entry)
{
	for (uint64_t room = 0; room < 4; room++) {
		char *const top = stacks[0] + STACK - room * 16;
		const uint64_t flags = harness_cli();

		sched_test_rsp = sched_test_arg = 0;
		sched_test_rbp = 1;
		context_init(&contexts[0], top, sched_test_entry, (void *)(0xfeed0000fade0000 + room));
		context_switch(&back, &contexts[0]);
		harness_restore(flags);
		KASSERT_EQ(sched_test_arg, 0xfeed0000fade0000 + room);
		KASSERT_EQ(sched_test_rsp % 16, 8);
		KASSERT_EQ(sched_test_rbp, 0);                  /* where a back-trace ends */
		KASSERT(sched_test_rsp < (uint64_t)top);
		KASSERT(sched_test_rsp >= (uint64_t)top - 64);
	}
}

/* ---- what it costs ---- */

static void answer(void *arg)
{
	(void)arg;
	for (;;)
		context_switch(&contexts[0], &back);
}

/* n switches, half of them there. */
static void there_and_back(uint64_t n)
{
	const uint64_t flags = harness_cli();

	context_init(&contexts[0], stacks[0] + STACK, answer, NULL);
	for (uint64_t i = 0; i < n; i += 2)
		context_switch(&back, &contexts[0]);
	harness_restore(flags);
}

KBENCH(sched, switch)
{
	there_and_back(n);
}

KTEST(sched, switch_cost)
{
	enum { CEILING = 40 };
	uint64_t cost;

	if (!harness_counting())
		return;
	cost = ticks_each(there_and_back);
	ktest_note("instructions", cost);
	KASSERT(cost > 4);
	KASSERT(cost <= CEILING);
}
