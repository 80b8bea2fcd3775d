/* Acceptance of sched/process.c: processes, from their first instruction to the last frame that comes back. See spec/sched.md. */
#include "apic.h"
#include "desc.h"
#include "panic.h"
#include "user.h"

static struct process *make_as(enum sched_class cls, const char *program, size_t len, size_t limit)
{
	const struct process_attr attr = { "test", cls, limit, 4712 };
	struct process *p = NULL;

	if (process_create(&attr, &p) != 0)
		return NULL;
	if (!user_load(process_vmspace(p), program, len)) {
		process_kill(p, STATUS_KILLED);
		process_put(p);
		return NULL;
	}
	return p;
}

static struct process *make(const char *program, size_t len, size_t limit)
{
	return make_as(CLASS_NORMAL, program, len, limit);
}

/* How it ended, and it is gone; -1: it did not. */
static int status_of(struct process *p)
{
	int status = -1;

	if (!p)
		return -1;
	if (process_wait(p, LONG, &status) != 0) {
		status = -1;
		process_kill(p, STATUS_KILLED);
		process_wait(p, LONG, NULL);
	}
	process_put(p);
	return status;
}

static int run(const char *program, size_t len, uint64_t arg)
{
	struct process *p = make(program, len, 0);

	return p && process_start(p, USER_CODE, arg) == 0 ? status_of(p) : -1;
}

#define RUN(program, arg) run(program, USER_LEN(program), arg)

/* ---- begin and end ---- */

USER_PROGRAM(program_exit, "mov $1, %eax\nsyscall\nmov %rax, 0x600000\nmov $1, %edi\nmov $1, %eax\nsyscall\nud2\n");
USER_PROGRAM(program_thread_exit, "mov $11, %eax\nsyscall\nud2\n");
USER_PROGRAM(program_spin, "1: incq 0x600000\njmp 1b\n");
USER_PROGRAM(program_sleep, "incq 0x600008\nmov $0x10000000000, %rdi\nmov $3, %eax\nsyscall\nmov %rax, 0x600000\nmov $1, %eax\nmov $9, %edi\nsyscall\nud2\n");

/* Back as before, but for what slabs and tables of stacks keep. */
static bool are_back(uint64_t before)
{
	const uint64_t begin = clock_ns();

	while (free_frames() + 32 < before && clock_ns() - begin < LONG)
		thread_park(MS);
	return free_frames() + 32 >= before && free_frames() <= before + 32;
}

/* This processor's, out of its TSS. */
static uint64_t rsp0(void)
{
	const uint64_t *gdt = (const uint64_t *)harness_gdt().base + SEL_TSS / 8;
	const volatile struct tss *tss = (const volatile struct tss *)((gdt[0] >> 16 & 0xffffff) | (gdt[0] >> 56 & 0xff) << 24 | gdt[1] << 32);

	return tss->rsp[0];
}

KTEST(sched, process_exit)
{
	struct process *p;
	uint64_t before, begin;
	int status = 77;

	for (unsigned i = 0; i < 16; i++)
		KASSERT_EQ(RUN(program_exit, i), i);
	before = free_frames();
	for (unsigned i = 0; i < 100; i++)
		KASSERT_EQ(RUN(program_exit, i + 156), i + 156);
	KASSERT(are_back(before));
	KASSERT_EQ(RUN(program_exit, 256), 1);                  /* no such status: the call fails, and the next one ends it */
	KASSERT_EQ(RUN(program_exit, UINT64_MAX), 1);
	KASSERT_EQ(RUN(program_thread_exit, 0), 0);

	p = make(program_spin, USER_LEN(program_spin), 0);
	KASSERT(p != NULL);
	KASSERT_EQ(process_wait(p, TIMEOUT_NOW, &status), -ETIMEDOUT);
	KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
	begin = clock_ns();
	KASSERT_EQ(process_wait(p, MS, &status), -ETIMEDOUT);
	KASSERT_EQ(HARNESS_READ("mov %%ss, %0") & 0xffff, SEL_KERNEL_DATA);     /* an interrupt in ring 3 leaves none */
	KASSERT(clock_ns() - begin >= MS);
	KASSERT_EQ(status, 77);
	KASSERT_EQ(process_kill(p, STATUS_KILLED), 0);
	KASSERT_EQ(process_wait(p, LONG, &status), 0);
	KASSERT_EQ(status, STATUS_KILLED);
	KASSERT_EQ(fault_of(memory_read, rsp0() - 1), NO_FAULT);
	KASSERT_EQ(process_kill(p, 5), -ENOENT);
	status = 77;
	KASSERT_EQ(process_wait(p, TIMEOUT_NOW, &status), 0);
	KASSERT_EQ(status, STATUS_KILLED);
	KASSERT_EQ(process_start(p, USER_CODE, 0), -ENOENT);
	process_put(p);

	/* one that never began */
	p = make(program_spin, USER_LEN(program_spin), 0);
	KASSERT_EQ(process_kill(p, 6), 0);
	KASSERT_EQ(process_wait(p, LONG, &status), 0);
	KASSERT_EQ(status, 6);
	process_put(p);
	process_put(make(program_spin, USER_LEN(program_spin), 0));

	/* one that nobody waits for */
	p = make(program_exit, USER_LEN(program_exit), 0);
	KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
	process_put(p);
	KASSERT(are_back(before));
}

/* All registers; then the whole stack is written to, and its number asked for. */
USER_PROGRAM(program_begin,
	"mov %rax, 0x600000\nmov %rbx, 0x600008\nmov %rcx, 0x600010\nmov %rdx, 0x600018\nmov %rsi, 0x600020\nmov %rdi, 0x600028\nmov %rbp, 0x600030\n"
	"mov %r8, 0x600038\nmov %r9, 0x600040\nmov %r10, 0x600048\nmov %r11, 0x600050\nmov %r12, 0x600058\nmov %r13, 0x600060\nmov %r14, 0x600068\n"
	"mov %r15, 0x600070\nmov %rsp, 0x600078\nmov $8192, %ecx\n1: push %rcx\ndec %ecx\njnz 1b\n"
	"mov $6, %eax\nsyscall\nmov %rax, 0x600080\nmovq $1, 0x600088\n2: jmp 2b\n");

KTEST(sched, process_start)
{
	static const char *const names[] = { NULL, "01234567890123456789012345678901" };
	struct process_attr attr = { "test", CLASS_KERNEL, 0, 0 };
	struct process *p, *q, *none = (struct process *)77;
	struct vmspace *vs;
	uint64_t begin = clock_ns();

	KASSERT(process_current() == NULL);
	KASSERT_EQ(process_create(&attr, &none), -EINVAL);
	attr.cls = CLASS_IDLE;
	KASSERT_EQ(process_create(&attr, &none), -EINVAL);
	attr.cls = CLASS_COUNT;
	KASSERT_EQ(process_create(&attr, &none), -EINVAL);
	attr.cls = CLASS_INFERENCE;
	for (unsigned i = 0; i < 2; i++) {
		attr.name = names[i];
		KASSERT_EQ(process_create(&attr, &none), -EINVAL);
	}
	KASSERT_EQ(none, 77);
	p = make(program_begin, USER_LEN(program_begin), 0);
	q = make(program_begin, USER_LEN(program_begin), 0);
	KASSERT(p && q);
	KASSERT(process_id(p) > 0);
	KASSERT(process_id(q) > 0);
	KASSERT(process_id(p) != process_id(q));
	KASSERT_EQ(process_agent(p), 4712);
	vs = process_vmspace(p);
	KASSERT_EQ(process_start(p, USER_END, 0), -EINVAL);
	KASSERT_EQ(process_start(p, KERNEL_VIRT_BASE, 0), -EINVAL);
	KASSERT_EQ(process_start(p, USER_CODE, 0x0123456789abcdef), 0);
	KASSERT_EQ(process_start(p, USER_CODE, 0), -EBUSY);
	while (user_word(vs, USER_DATA + 0x88) != 1 && clock_ns() - begin < LONG)
		thread_park(MS);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x88), 1);
	for (unsigned i = 0; i < 15; i++)
		KASSERT_EQ(user_word(vs, USER_DATA + i * 8), i == 5 ? 0x0123456789abcdef : 0);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x78), USER_END - PAGE_SIZE);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x80), process_id(p));
	KASSERT(user_at(vs, USER_END - PAGE_SIZE) == NULL);
	KASSERT(user_at(vs, USER_END - PAGE_SIZE - USER_STACK_SIZE - 1) == NULL);
	KASSERT_EQ(process_kill(p, 3), 0);
	KASSERT_EQ(status_of(p), 3);
	KASSERT_EQ(process_kill(q, 3), 0);
	KASSERT_EQ(status_of(q), 3);
}

/* Of what class a thread of it is, where it runs when the timer comes. */
static struct process *spins;
static volatile uint32_t spins_as;
static struct timer looks[CPU_MAX];

static void look(struct timer *t)
{
	(void)t;
	if (process_current() == spins)
		spins_as = thread_ent(thread_current())->cls;
}

static void look_soon(void *arg)
{
	(void)arg;
	timer_arm(&looks[cpu_self()->index], clock_ns() + 20 * US, look, NULL);
}

KTEST(sched, process_class)
{
	for (enum sched_class cls = CLASS_INTERACTIVE; cls <= CLASS_INFERENCE; cls++) {
		const uint64_t begin = clock_ns();

		spins = make_as(cls, program_spin, USER_LEN(program_spin), 0);
		KASSERT(spins != NULL);
		spins_as = CLASS_COUNT;
		KASSERT_EQ(process_start(spins, USER_CODE, 0), 0);
		while (spins_as == CLASS_COUNT && clock_ns() - begin < LONG) {
			cpu_on_each(look_soon, NULL);
			thread_park(200 * US);
		}
		KASSERT_EQ(process_kill(spins, 3), 0);
		KASSERT_EQ(status_of(spins), 3);
		for (unsigned i = 0; i < cpu_count(); i++)
			timer_cancel(&looks[i]);
		KASSERT_EQ(spins_as, cls);
	}
}

/* An interrupt that nobody asked for, in the midst of it. */
enum { STRAY = 0xe9 };

static void stray_soon(struct timer *t)
{
	(void)t;
	if (process_current() != spins)
		return;
	spins_as = STRAY;
	apic_send(apic_id(), STRAY);
}

static void send_stray(void *arg)
{
	(void)arg;
	timer_arm(&looks[cpu_self()->index], clock_ns() + 20 * US, stray_soon, NULL);
}

KTEST(sched, process_stray)
{
	const uint64_t before = trap_stray_count(STRAY), begin = clock_ns();
	bool goes_on;

	spins = make(program_spin, USER_LEN(program_spin), 0);
	KASSERT(spins != NULL);
	spins_as = 0;
	KASSERT_EQ(process_start(spins, USER_CODE, 0), 0);
	while (spins_as != STRAY && clock_ns() - begin < LONG) {
		cpu_on_each(send_stray, NULL);
		thread_park(200 * US);
	}
	goes_on = user_word_becomes(spins, USER_DATA, user_word(process_vmspace(spins), USER_DATA) + 10);
	KASSERT(trap_stray_count(STRAY) > before);
	KASSERT(goes_on);
	KASSERT_EQ(process_kill(spins, 3), 0);
	KASSERT_EQ(status_of(spins), 3);
	for (unsigned i = 0; i < cpu_count(); i++)
		timer_cancel(&looks[i]);
}

/* ---- calls: a list of them at 0x600000, seven words each, as many as the word at 0x600ff8 says; the results from 0x601000 on ---- */

USER_PROGRAM(program_calls,
	"mov $0x600000, %ebx\nxor %ebp, %ebp\n"
	"1: cmp 0x600ff8, %rbp\njae 2f\nmov (%rbx), %rax\nmov 8(%rbx), %rdi\nmov 16(%rbx), %rsi\nmov 24(%rbx), %rdx\nmov 32(%rbx), %r10\nmov 40(%rbx), %r8\nmov 48(%rbx), %r9\n"
	"syscall\nmov %rax, 0x601000(,%rbp,8)\nadd $56, %rbx\ninc %rbp\njmp 1b\n"
	"2: movq $1, 0x601ff8\n3: jmp 3b\n");

enum { NOT_THERE = 12 };               /* a number that stays free */

static struct process *caller;

/* The results of so many calls of number, then up to three arguments; false: they did not come to an end. */
static bool calls(const uint64_t (*list)[4], unsigned n, uint64_t *results, size_t limit)
{
	const uint64_t begin = clock_ns();
	struct vmspace *vs;
	bool done;

	caller = make(program_calls, USER_LEN(program_calls), limit);
	if (!caller)
		return false;
	vs = process_vmspace(caller);
	for (unsigned i = 0; i < n; i++)
		harness_memcpy(user_at(vs, USER_DATA + i * 56), list[i], sizeof list[i]);
	*(uint64_t *)user_at(vs, USER_DATA + 0xff8) = n;
	if (process_start(caller, USER_CODE, 0) != 0)
		return false;
	while (user_word(vs, USER_DATA + 0x1ff8) != 1 && clock_ns() - begin < LONG)
		thread_park(100 * US);
	done = user_word(vs, USER_DATA + 0x1ff8) == 1;
	for (unsigned i = 0; i < n; i++)
		results[i] = user_word(vs, USER_DATA + 0x1000 + i * 8);
	return done;
}

static int caller_ends(void)
{
	process_kill(caller, 7);
	return status_of(caller);
}

KTEST(sched, process_pointers)
{
	const uint64_t list[][4] = {
		{ SYS_WRITE, USER_CODE, 0 },
		{ SYS_WRITE, USER_DATA + 0xf00, 0x100 },        /* zeros, and over the border of a page */
		{ SYS_WRITE, USER_DATA + 0xf00, 4097 },
		{ SYS_WRITE, USER_DATA + 0xf00, UINT64_MAX },
		{ SYS_WRITE, 0, 1 },
		{ SYS_WRITE, USER_DATA + USER_DATA_LEN - 1, 2 },
		{ SYS_WRITE, USER_DATA + USER_DATA_LEN - 4095, 4096 },
		{ SYS_WRITE, USER_DATA - 1, 2 },
		{ SYS_WRITE, KERNEL_VIRT_BASE + 0x200000, 1 },
		{ SYS_WRITE, 0xffff800000100000, 8 },
		{ SYS_WRITE, USER_END - 1, 1 },
		{ SYS_WRITE, UINT64_MAX, 1 },
		{ SYS_WRITE, UINT64_MAX - 15, 32 },
		{ SYS_WRITE, USER_END - PAGE_SIZE - 8, 8 },
		{ SYS_WRITE, USER_END - PAGE_SIZE - 8, 9 },
		{ SYS_SELF },
		{ NOT_THERE },
	};
	static const int64_t wanted[] = { 0, 0x100, -E2BIG, -E2BIG, -EFAULT, -EFAULT, -EFAULT, -EFAULT, -EFAULT, -EFAULT, -EFAULT, -EFAULT, -EFAULT, 8, -EFAULT, 0, -EINVAL };
	enum { CALLS = sizeof list / sizeof *list };
	uint64_t results[CALLS], id;

	KASSERT(calls(list, CALLS, results, 0));
	id = process_id(caller);
	KASSERT_EQ(caller_ends(), 7);
	for (unsigned i = 0; i < CALLS; i++)
		KASSERT_EQ(results[i], list[i][0] == SYS_SELF ? (int64_t)id : wanted[i]);
}

/* What the console has of it is in process_console.panic: all that is written, nothing of what cannot be read to its end, and how the program ends. */
USER_PROGRAM(program_writes,
	"lea 7f(%rip), %rdi\nmov $5, %esi\nmov $5, %eax\nsyscall\n"
	"mov $0x601400, %edi\nmov $3072, %ecx\nmov $33, %eax\nrep stosb\nmov $0x601400, %edi\nmov $3073, %esi\nmov $5, %eax\nsyscall\n"
	"cmp $-14, %rax\njne 9f\n"
	"mov $0x600000, %edi\nmov $1100, %ecx\nmov $10, %eax\nrep stosb\nmovw $0x0a79, (%rdi)\nmov $0x600000, %edi\nmov $1102, %esi\nmov $5, %eax\nsyscall\n"
	"cmp $1102, %rax\njne 9f\nmov 0, %rax\n9: ud2\n7: .ascii \"ring3\"\n");

KPANIC(sched, process_console)
{
	panic("status %#x", (unsigned)RUN(program_writes, 0));
}

KTEST(sched, process_budget)
{
	enum { LIMIT = 64 };
	const uint64_t list[][4] = {
		{ SYS_MAP, 4 * PAGE_SIZE, VM_WRITE },
		{ SYS_MAP, LIMIT * PAGE_SIZE, VM_WRITE },
		{ SYS_MAP, 1ull << 45, VM_WRITE },
		{ SYS_MAP, PAGE_SIZE, VM_WRITE | VM_EXEC },
		{ SYS_MAP, PAGE_SIZE, 1ull << 32 },
		{ SYS_MAP, 100, VM_WRITE },
		{ SYS_MAP, 0, VM_WRITE },
		{ SYS_UNMAP, USER_DATA - PAGE_SIZE, PAGE_SIZE },
		{ SYS_UNMAP, 0, PAGE_SIZE },
		{ SYS_UNMAP, KERNEL_VIRT_BASE, PAGE_SIZE },
		{ SYS_PROTECT, USER_CODE, PAGE_SIZE, VM_READ | 1ull << 32 },
		{ SYS_PROTECT, USER_DATA - PAGE_SIZE, PAGE_SIZE, VM_READ },
		{ SYS_MAP, PAGE_SIZE, VM_EXEC },
		{ SYS_MAP, 16 * PAGE_SIZE, VM_WRITE },
		{ SYS_UNMAP, USER_END - PAGE_SIZE - USER_STACK_SIZE, 4 * PAGE_SIZE },
		{ SYS_PROTECT, USER_END - PAGE_SIZE - USER_STACK_SIZE + 4 * PAGE_SIZE, PAGE_SIZE, VM_READ },
	};
	static const int64_t wanted[] = { 1, -ENOMEM, -ENOMEM, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -ENOENT, -EINVAL, -EINVAL, -EINVAL, -ENOENT, 1, 1, 0, 0 };
	enum { CALLS = sizeof list / sizeof *list };
	uint64_t results[CALLS];
	struct pt_entry first = { 0 }, stack = { 0 };
	struct vmspace_stats stats;
	int err;

	KASSERT(calls(list, CALLS, results, LIMIT));
	err = vmspace_translate(process_vmspace(caller), results[0], &first) | vmspace_translate(process_vmspace(caller), USER_END - PAGE_SIZE - USER_STACK_SIZE + 4 * PAGE_SIZE, &stack);
	vmspace_get_stats(process_vmspace(caller), &stats);
	KASSERT_EQ(caller_ends(), 7);
	for (unsigned i = 0; i < CALLS; i++)
		if (wanted[i] == 1)
			KASSERT(results[i] >= USER_MIN && results[i] < USER_END && results[i] % PAGE_SIZE == 0);
		else
			KASSERT_EQ(results[i], wanted[i]);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(first.prot, VM_USER | VM_WRITE);
	KASSERT_EQ(stack.prot, VM_USER);
	KASSERT_EQ(stats.limit, LIMIT);
	KASSERT_EQ(stats.frames, 1 + 2 + 16 + 4 + 1 + 16 - 4);
}

/* ---- what it may not ---- */

#define BAD(name, code) USER_PROGRAM(bad_##name, code "\nmov $1, %eax\nmov $99, %edi\nsyscall\nud2\n")

BAD(read_null, "mov 0, %rax");
BAD(read_kernel, "mov $0xffffffff80200000, %rbx\nmov (%rbx), %rax");
BAD(read_direct, "mov $0xffff800000100000, %rbx\nmov (%rbx), %rax");
BAD(write_kernel, "mov $0xffffffff80200000, %rbx\nmov %rax, (%rbx)");
BAD(write_code, "mov %rax, 0x400000");
BAD(run_data, "mov $0x600000, %eax\njmp *%rax");
BAD(run_kernel, "mov $0xffffffff80200000, %rax\njmp *%rax");
BAD(run_stack, "mov %rsp, %rax\nsub $64, %rax\njmp *%rax");
BAD(no_stack, "xor %esp, %esp\npush %rax");
BAD(far_away, "mov $0x1000000000000000, %rax\njmp *%rax");
BAD(hlt, "hlt");
BAD(cli, "cli");
BAD(in, "in $0x80, %al");
BAD(out, "mov $0xf4, %edx\nmov $0x10, %eax\nout %eax, %dx");
BAD(cr3, "mov %cr3, %rax");
BAD(msr, "mov $0xc0000082, %ecx\nxor %eax, %eax\nxor %edx, %edx\nwrmsr");
BAD(lidt, "lidt 0x600000");
BAD(swapgs, "swapgs");
BAD(gate, "int $0x40");
BAD(double_fault_gate, "int $8");
BAD(divide, "xor %ecx, %ecx\nxor %edx, %edx\ndiv %ecx");
BAD(step, "pushfq\norq $0x100, (%rsp)\npopfq\nnop");
BAD(breakpoint, "int3");
BAD(opcode, "ud2");
BAD(x87, "fninit");
BAD(x87_load, "fld1");
BAD(sse, "xorps %xmm0, %xmm0");

#define ENDS(name, vector) { bad_##name, bad_##name##_end, STATUS_FAULT + (vector) }

struct bad {
	const char *program, *end;
	int status;
};

static void all_end(const struct bad *bad, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const int status = run(bad[i].program, harness_addr(bad[i].end) - harness_addr(bad[i].program), 0);

		if (status != bad[i].status)
			ktest_note("program", i);
		KASSERT_EQ(status, bad[i].status);
	}
	KASSERT_EQ(RUN(program_exit, 42), 42);
	KASSERT_EQ(cpu_self()->preempt_count, 0);
	KASSERT(harness_flags() >> 9 & 1);
}

KTEST(sched, process_isolated)
{
	static const struct bad bad[] = {
		ENDS(read_kernel, 14), ENDS(read_direct, 14), ENDS(write_kernel, 14), ENDS(write_code, 14), ENDS(run_data, 14), ENDS(run_kernel, 14),
		ENDS(run_stack, 14), ENDS(no_stack, 14), ENDS(far_away, 13), ENDS(hlt, 13), ENDS(cli, 13), ENDS(in, 13), ENDS(out, 13), ENDS(cr3, 13), ENDS(msr, 13),
		ENDS(lidt, 13), ENDS(swapgs, 13), ENDS(gate, 13), ENDS(double_fault_gate, 13),
	};

	all_end(bad, sizeof bad / sizeof *bad);
}

KTEST(sched, process_fault)
{
	static const struct bad bad[] = {
		ENDS(divide, 0), ENDS(step, 1), ENDS(breakpoint, 3), ENDS(opcode, 6), ENDS(sse, 6), ENDS(x87, 7), ENDS(x87_load, 7), ENDS(read_null, 14),
	};

	all_end(bad, sizeof bad / sizeof *bad);
}

/* `syscall` in the last bytes that there are: behind it there is nothing to come back to. */
KTEST(sched, process_last_byte)
{
	struct process *p = make(program_exit, USER_LEN(program_exit), 0);
	vaddr_t last = USER_END - PAGE_SIZE;
	uint8_t *page;

	KASSERT(p != NULL);
	KASSERT_EQ(vmspace_map_anon(process_vmspace(p), &last, PAGE_SIZE, VM_EXEC), 0);
	page = user_at(process_vmspace(p), last);
	harness_memset(page, 0x90, PAGE_SIZE);
	page[PAGE_SIZE - 2] = 0x0f;
	page[PAGE_SIZE - 1] = 0x05;
	KASSERT_EQ(process_start(p, last, 0), 0);
	KASSERT_EQ(status_of(p), STATUS_FAULT + 14);
}

/* ---- ended by others ---- */

KTEST(sched, process_kill_blocked)
{
	for (unsigned how = 0; how < 4; how++) {
		struct process *p = how % 2 ? make(program_sleep, USER_LEN(program_sleep), 0) : make(program_spin, USER_LEN(program_spin), 0);
		bool begun, stopped = true;
		uint64_t took;
		int status = -1, killed, waited;

		KASSERT(p != NULL);
		KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
		begun = user_word_becomes(p, how % 2 ? USER_DATA + 8 : USER_DATA, 1);
		thread_park(MS);
		if (how >= 2)
			stopped = process_stop(p) == 0;
		took = clock_ns();
		killed = process_kill(p, STATUS_KILLED);
		waited = process_wait(p, LONG, &status);
		took = clock_ns() - took;
		process_put(p);
		KASSERT(begun && stopped);
		KASSERT_EQ(killed, 0);
		KASSERT_EQ(waited, 0);
		KASSERT_EQ(status, STATUS_KILLED);
		if (harness_counting())
			KASSERT(took <= 10 * MS);
	}
}

/* ---- threads: workers at 0x600000 say how the calls went, count, and wait for each other ---- */

USER_PROGRAM(program_threads,
	"xor %ebx, %ebx\n"
	"1: lea 7f(%rip), %rdi\nimul $128, %rbx, %rsi\nadd $0x601200, %rsi\nmov %rbx, %rdx\nmov $10, %eax\nsyscall\nmov %rax, 0x600100(,%rbx,8)\n"
	"inc %rbx\ncmp $16, %rbx\njb 1b\n"
	"movq $1, 0x600008\n"                           /* go */
	"2: cmpq $15, 0x600000\njb 2b\n"
	"3: lea 8f(%rip), %rdi\nmov $0x601f00, %esi\nmov $10, %eax\nsyscall\ntest %rax, %rax\njz 4f\nmov $2, %eax\nsyscall\njmp 3b\n"       /* when one has gone there is room for another */
	"4: cmpq $16, 0x600000\njb 4b\n"
	"9: cmpq $0, 0x600010\nje 9b\n"                 /* it has been looked at */
	"mov $1, %eax\nmov $55, %edi\nsyscall\nud2\n"
	"7: mov %rdi, %rbx\nmov %rsp, 0x600200(,%rbx,8)\npush %rbx\n5: cmpq $0, 0x600008\nje 5b\npop %rbx\nmov %rbx, 0x600300(,%rbx,8)\n"
	"lock incq 0x600000\nmov $11, %eax\nsyscall\nud2\n"
	"8: lock incq 0x600000\n6: jmp 6b\n");   /* ends with the process */

KTEST(sched, process_threads)
{
	struct process *p = make(program_threads, USER_LEN(program_threads), 0);
	struct vmspace *vs;
	unsigned wrong = 0;
	bool counted;

	KASSERT(p != NULL);
	vs = process_vmspace(p);
	KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
	counted = user_word_becomes(p, USER_DATA + 8, 1);
	for (unsigned i = 0; i < 16 && counted; i++)
		wrong += user_word(vs, USER_DATA + 0x100 + i * 8) != (i < 15 ? 0 : (uint64_t)-ENOSPC);
	KASSERT(counted);
	*(volatile uint64_t *)user_at(vs, USER_DATA + 0x10) = 1;
	KASSERT_EQ(status_of(p), 55);
	KASSERT_EQ(wrong, 0);
}

/* What the workers left, looked at while the process still is. */
USER_PROGRAM(program_stacks,
	"mov $0x1234, %ebx\nlea 1f(%rip), %rdi\nmov $0x601800, %esi\nmov $0x5678, %edx\nmov $10, %eax\nsyscall\nmov %rax, 0x600000\n"
	"lea 1f(%rip), %rdi\nmov $0x8000000000000000, %rsi\nmov $10, %eax\nsyscall\nmov %rax, 0x600008\n"
	"mov $0xffffffff80200000, %rdi\nmov $0x601800, %esi\nmov $10, %eax\nsyscall\nmov %rax, 0x600010\n"
	"2: jmp 2b\n"
	"1: mov %rsp, 0x600018\nmov %rdi, 0x600020\nmov %rbx, 0x600028\npush %rdi\nmovq $1, 0x600030\nmov $11, %eax\nsyscall\nud2\n");

KTEST(sched, process_thread_begin)
{
	struct process *p = make(program_stacks, USER_LEN(program_stacks), 0);
	static const uint64_t wanted[] = { 0, -(uint64_t)EINVAL, -(uint64_t)EINVAL, 0x601800, 0x5678, 0, 1 };
	uint64_t words[7], before;
	int64_t lost;
	struct user_regs bad = { .rip = USER_END, .rsp = USER_DATA }, good = { .rip = USER_CODE, .rsp = USER_DATA };
	bool begun;
	int added[3];

	KASSERT(p != NULL);
	KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
	begun = user_word_becomes(p, USER_DATA + 0x30, 1);
	thread_park(2 * MS);
	for (unsigned i = 0; i < 7; i++)
		words[i] = user_word(process_vmspace(p), USER_DATA + i * 8);
	added[0] = process_add_thread(p, &bad);
	bad = good;
	bad.fs_base = 1ull << 63;
	added[1] = process_add_thread(p, &bad);
	before = free_frames();
	for (unsigned i = 0; i < 2000; i++)                     /* which takes nothing for good */
		if (process_add_thread(p, &bad) != -EINVAL)
			added[1] = 0;
	lost = (int64_t)(before - free_frames());
	process_kill(p, 4);
	added[2] = process_add_thread(p, &good);
	KASSERT_EQ(status_of(p), 4);
	KASSERT(begun);
	for (unsigned i = 0; i < 7; i++)
		KASSERT_EQ(words[i], wanted[i]);
	KASSERT_EQ(added[0], -EINVAL);
	KASSERT_EQ(added[1], -EINVAL);
	KASSERT_EQ(added[2], -ENOENT);
	KASSERT(lost <= 32);
}

/* One that ends takes those with it that spin and that sleep. */
USER_PROGRAM(program_take_along,
	"lea 1f(%rip), %rdi\nmov $0x601400, %esi\nmov $10, %eax\nsyscall\nlea 2f(%rip), %rdi\nmov $0x601800, %esi\nmov $10, %eax\nsyscall\n"
	"3: cmpq $2, 0x600000\njb 3b\nmov $500000, %edi\nmov $3, %eax\nsyscall\nmov $1, %eax\nmov $66, %edi\nsyscall\nud2\n"
	"1: lock incq 0x600000\n4: jmp 4b\n"
	"2: lock incq 0x600000\nmov $1000000000000, %rdi\nmov $3, %eax\nsyscall\nmov $1, %eax\nmov $67, %edi\nsyscall\nud2\n");

KTEST(sched, process_take_along)
{
	for (unsigned i = 0; i < 4; i++)
		KASSERT_EQ(RUN(program_take_along, 0), 66);
}

/* ---- stopped and resumed ---- */

USER_PROGRAM(program_count,
	"1: inc %rbx\nmov %rbx, 0x600000\ntest $0xfff, %ebx\njnz 1b\nmov $1000, %edi\nmov $3, %eax\nsyscall\ntest %rax, %rax\njz 1b\nincq 0x600008\njmp 1b\n");

KTEST(sched, process_stop)
{
	struct process *p = make(program_count, USER_LEN(program_count), 0), *q = make(program_sleep, USER_LEN(program_sleep), 0);
	unsigned wrong = 0;
	struct user_regs r = { 0 };
	bool goes = true;
	int early, resumed, status;

	KASSERT(p && q);
	early = process_get_regs(p, 0, &r);
	resumed = process_resume(p);
	KASSERT_EQ(process_start(p, USER_CODE, 0), 0);
	for (unsigned round = 0; round < 10 && goes; round++) {
		uint64_t at;

		goes = user_word_becomes(p, USER_DATA, user_word(process_vmspace(p), USER_DATA) + 1);
		wrong += process_stop(p) != 0;
		at = user_word(process_vmspace(p), USER_DATA);
		wrong += process_stop(p) != -EBUSY;
		wrong += process_get_regs(p, 1, &r) != -ENOENT;
		wrong += process_get_regs(p, 0, &r) != 0;
		wrong += r.rip < USER_CODE || r.rip >= USER_CODE + USER_LEN(program_count);
		wrong += r.rbx != at && r.rbx != at + 1;
		wrong += r.rsp != USER_END - PAGE_SIZE || (r.rflags & 0x3200) != 0x200;
		thread_park(MS);
		wrong += user_word(process_vmspace(p), USER_DATA) != at;
		wrong += process_resume(p) != 0;
		wrong += process_resume(p) != -EINVAL;
	}
	goes &= user_word_becomes(p, USER_DATA, user_word(process_vmspace(p), USER_DATA) + 10000);
	wrong += user_word(process_vmspace(p), USER_DATA + 8) > 10;     /* sleeps ended by a stop, and none after it */
	process_kill(p, 5);
	status = process_wait(p, LONG, NULL);
	wrong += process_stop(p) != -ENOENT;
	process_put(p);

	/* one that sleeps is stopped as well, and then goes on */
	KASSERT_EQ(process_start(q, USER_CODE, 0), 0);
	goes &= user_word_becomes(q, USER_DATA + 8, 1);
	thread_park(MS);
	wrong += process_stop(q) != 0;
	wrong += process_get_regs(q, 0, &r) != 0;
	wrong += process_resume(q) != 0;
	KASSERT_EQ(status_of(q), 9);
	KASSERT_EQ(early, -EINVAL);
	KASSERT_EQ(resumed, -EINVAL);
	KASSERT(goes);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(status, 0);
	KASSERT_EQ(r.rax, -EAGAIN);
}

/* ---- as many as there may be ---- */

/* How many there could be, until which error; all are gone again. */
static unsigned fill(int *err)
{
	static struct process *all[PROCESS_MAX + 1];
	const struct process_attr attr = { "many", CLASS_NORMAL, 0, 0 };
	unsigned n = 0;

	*err = 0;
	while (n <= PROCESS_MAX && (*err = process_create(&attr, &all[n])) == 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		process_put(all[i]);
	return n;
}

KTEST(sched, process_limit)
{
	uint64_t before;
	int err, again;
	unsigned n = fill(&err), m;

	before = free_frames();                                 /* slabs keep what they took */
	m = fill(&again);
	KASSERT(are_back(before));
	KASSERT(err == -ENOSPC || err == -ENOMEM);
	KASSERT_EQ(again, err);
	KASSERT(n <= PROCESS_MAX);
	KASSERT(m <= PROCESS_MAX);
	if (err == -ENOSPC)
		KASSERT_EQ(n, m);
	KASSERT_EQ(err == -ENOSPC, n == PROCESS_MAX);
	KASSERT_EQ(RUN(program_exit, 1), 1);
}
