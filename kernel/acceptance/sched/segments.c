/* Acceptance of sched/segments.c, and of the flags in the stubs: what ring 3 leaves in the processor reaches nobody else. See spec/sched.md. */
#include "desc.h"
#include "user.h"

enum { LOOKS = 20 };
#define FLAG_AC (1ull << 18)

/* What it sets again and again: it may have been away meanwhile, and come back with none. The word counts that. */
USER_PROGRAM(program_leaves,
	"pushfq\norq $0x40000, (%rsp)\npopfq\n"
	"1: mov $0x1b, %eax\nmov %eax, %ds\nmov %eax, %es\nmov %eax, %fs\nmov %eax, %gs\n"
	"mov $500, %ecx\n2: dec %ecx\njnz 2b\nincq 0x600000\njmp 1b\n");

static struct process *leaving[CPU_MAX];

static struct process *make(const char *program, size_t len)
{
	const struct process_attr attr = { "test", CLASS_NORMAL, 0, 4713 };
	struct process *p = NULL;

	if (process_create(&attr, &p) != 0)
		return NULL;
	if (user_load(process_vmspace(p), program, len))
		return p;
	process_kill(p, STATUS_KILLED);
	process_put(p);
	return NULL;
}

static bool gone(struct process *p, int *status)
{
	const bool is = p && process_wait(p, LONG, status) == 0;

	if (p)
		process_put(p);
	return is;
}

/* One for each processor, as they are shared out. */
static bool leave_begin(void)
{
	bool good = true;

	for (unsigned i = 0; i < cpu_count(); i++) {
		leaving[i] = make(program_leaves, USER_LEN(program_leaves));
		good &= leaving[i] && process_start(leaving[i], USER_CODE, 0) == 0;
	}
	for (unsigned i = 0; i < cpu_count() && good; i++)
		good &= user_word_becomes(leaving[i], USER_DATA, 2);
	return good;
}

static bool leave_end(void)
{
	bool good = true;

	for (unsigned i = 0; i < cpu_count(); i++) {
		int status = 0;

		good &= leaving[i] && process_kill(leaving[i], STATUS_KILLED) == 0;
		good &= gone(leaving[i], &status) && status == STATUS_KILLED;
	}
	return good;
}

/* ---- in the kernel ---- */

static struct looks {
	struct timer timer;
	volatile uint32_t threads, interrupts;
	uint32_t flags, interrupt_flags, data, others, base;    /* times it was wrong */
} looks[CPU_MAX];

static void look_in_interrupt(struct timer *timer)
{
	struct looks *l = timer->arg;

	l->interrupt_flags += (harness_flags() & FLAG_AC) != 0;
	l->interrupts++;
}

static void look(void *arg)
{
	struct looks *l = &looks[(uint64_t)arg];

	for (unsigned i = 0; i < LOOKS; i++) {
		timer_arm(&l->timer, clock_ns() + 150 * US, look_in_interrupt, l);
		thread_park(400 * US);
		l->flags += (harness_flags() & FLAG_AC) != 0;
		l->data += (HARNESS_READ("mov %%ds, %0") & 0xffff) != SEL_KERNEL_DATA;
		l->data += (HARNESS_READ("mov %%es, %0") & 0xffff) != SEL_KERNEL_DATA;
		l->data += (HARNESS_READ("mov %%ss, %0") & 0xffff) != SEL_KERNEL_DATA;
		l->others += (HARNESS_READ("mov %%fs, %0") & 0xffff) != 0;
		l->others += (HARNESS_READ("mov %%gs, %0") & 0xffff) != 0;
		l->base += cpu_self() != cpu_get((unsigned)(uint64_t)arg);
		l->threads++;
	}
	timer_cancel(&l->timer);
}

/* On each processor one looks who takes the place of a program each time that it wakes, and in interrupts of programs. */
KTEST(sched, segments_kernel)
{
	struct thread *t[CPU_MAX];
	const bool begun = leave_begin();
	unsigned came = 0;
	bool left;

	harness_memset(looks, 0, sizeof looks);
	for (uint64_t i = 0; i < cpu_count(); i++)
		t[i] = start("looks", CLASS_KERNEL, 1ull << i, look, i);
	for (unsigned i = 0; i < cpu_count(); i++)
		came += ended(t[i]);
	left = leave_end();
	KASSERT(begun);
	KASSERT(left);
	KASSERT_EQ(came, cpu_count());
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(looks[i].threads, LOOKS);
		KASSERT(looks[i].interrupts > 0);
		KASSERT_EQ(looks[i].interrupt_flags, 0);        /* with AC the kernel may touch users' memory */
		KASSERT_EQ(looks[i].flags, 0);
		KASSERT_EQ(looks[i].data, 0);
		KASSERT_EQ(looks[i].others, 0);
		KASSERT_EQ(looks[i].base, 0);
	}
}

/* An exception of ring 3's with AC set is the kernel's business without it: its thread ends in the kernel, and this one goes on. */
USER_PROGRAM(program_faults, "pushfq\norq $0x40000, (%rsp)\npopfq\nmov $0x1b, %eax\nmov %eax, %ds\nmov %eax, %gs\nud2\n");

KTEST(sched, segments_fault)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < 8; i++) {
		struct process *p = make(program_faults, USER_LEN(program_faults));
		int status = 0;

		KASSERT(p != NULL);
		wrong += process_start(p, USER_CODE, 0) != 0;
		KASSERT(gone(p, &status));
		KASSERT_EQ(status, STATUS_FAULT + 6);
		wrong += (harness_flags() & FLAG_AC) != 0;
		wrong += (HARNESS_READ("mov %%ds, %0") & 0xffff) != SEL_KERNEL_DATA;
		wrong += (HARNESS_READ("mov %%gs, %0") & 0xffff) != 0;
	}
	KASSERT_EQ(wrong, 0);
}

/* ---- in another's ring 3 ---- */

/* Begins with none, and has none each time that it comes back; FS base, which is its own, is there, and so is what lies there. Ends with how often not. */
USER_PROGRAM(program_sees,
	"xor %r12d, %r12d\nmov $16, %r13d\n"
	"1: xor %eax, %eax\nmov %ds, %ebx\nor %ebx, %eax\nmov %es, %ebx\nor %ebx, %eax\nmov %fs, %ebx\nor %ebx, %eax\nmov %gs, %ebx\nor %ebx, %eax\n"
	"test %eax, %eax\njz 2f\ninc %r12d\n"
	"2: mov $0x5f5f, %ebx\ncmp %rbx, %fs:8\nje 3f\ninc %r12d\n"
	"3: pushfq\ntestl $0x40000, (%rsp)\njz 4f\ninc %r12d\n4: popfq\n"
	"mov $2, %eax\ntest $1, %r13d\njz 5f\nmov $20000, %edi\nmov $3, %eax\n5: syscall\n"      /* SYS_YIELD, or SYS_SLEEP of 20 us */
	"dec %r13d\njnz 1b\n"
	"cmp $255, %r12d\njbe 6f\nmov $255, %r12d\n6: mov %r12d, %edi\nmov $1, %eax\nsyscall\nud2\n");

KTEST(sched, segments_user)
{
	enum { SEERS = 4 };
	const struct user_regs regs = { .rip = USER_CODE, .rsp = USER_DATA + USER_DATA_LEN, .fs_base = USER_DATA + 0x1000 };
	const bool begun = leave_begin();
	struct process *p[SEERS];
	unsigned wrong = 0;
	bool left;

	for (unsigned i = 0; i < SEERS; i++) {
		p[i] = make(program_sees, USER_LEN(program_sees));
		if (!p[i])
			continue;
		*(uint64_t *)user_at(process_vmspace(p[i]), USER_DATA + 0x1008) = 0x5f5f;
		wrong += process_add_thread(p[i], &regs) != 0;
	}
	for (unsigned i = 0; i < SEERS; i++) {
		int status = -1;

		wrong += !gone(p[i], &status) || status != 0;
	}
	left = leave_end();
	KASSERT(begun);
	KASSERT(left);
	KASSERT_EQ(wrong, 0);
}
