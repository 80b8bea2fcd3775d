/* Threads that take turns whenever one has had enough: nobody takes the processor from them. */
#include "sched.h"

enum { THREADS = 4, WORDS = 1024 };

static struct thread {
	uint32_t agent, ended;
	void *stack;
	void (*fn)(void *);
	void *arg;
	uint64_t room[WORDS];
} all[THREADS];

static unsigned count = 1, now;

static __attribute__((noipa)) void change(void **from, void *to)
{
	__asm__ volatile("push %%rbp; push %%rbx; lea 1f(%%rip), %%rax; push %%rax\n\t"
			 "mov %%rsp, (%0); mov %1, %%rsp; ret\n"
			 "1:\tpop %%rbx; pop %%rbp"
			 : "+D"(from), "+S"(to)
			 :
			 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
}

void turn(void)
{
	const unsigned from = now;

	do
		now = (now + 1) % count;
	while (all[now].ended);
	if (now != from)
		change(&all[from].stack, all[now].stack);
}

static void begin(void)
{
	all[now].fn(all[now].arg);
	all[now].ended = 1;
	turn();
}

int thread_create(const struct thread_attr *attr, void (*fn)(void *), void *arg, struct thread **out)
{
	struct thread *t = &all[count++];

	(void)attr;
	t->fn = fn;
	t->arg = arg;
	t->agent = all[now].agent;
	t->room[WORDS - 2] = (uint64_t)begin;
	t->stack = &t->room[WORDS - 2];
	*out = t;
	return 0;
}

int thread_join(struct thread *t, uint64_t timeout_ns, int *code)
{
	(void)timeout_ns;
	(void)code;
	while (!t->ended)
		turn();
	return 0;
}

struct thread *thread_current(void)
{
	return &all[now];
}

int thread_set_class(struct thread *t, enum sched_class cls)
{
	(void)t;
	(void)cls;
	return 0;
}

int thread_park(uint64_t timeout_ns)
{
	(void)timeout_ns;
	turn();
	return 0;
}

void thread_set_agent(struct thread *t, uint32_t agent)
{
	t->agent = agent;
}

uint32_t thread_agent(const struct thread *t)
{
	return t->agent;
}
