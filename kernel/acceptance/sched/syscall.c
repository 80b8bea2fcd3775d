/* Acceptance of sched/syscall.c: to ring 3 and back, on threads without a process. See spec/sched.md. */
#include "desc.h"
#include "user.h"

enum { TEST_END = 15, TEST_CALL = 14, TEST_WAIT = 13, NOBODYS = 12 };   /* numbers that are left to tests */

static struct {
	volatile uint32_t calls, ends;
	uint64_t a[6], end[6], flags, stack, cr3, result;
	uint32_t preempt;
	struct thread *self;
} seen;

static int64_t test_call(const uint64_t a[6])
{
	for (unsigned i = 0; i < 6; i++)
		seen.a[i] = a[i];
	seen.flags = harness_flags();
	seen.stack = (uint64_t)__builtin_frame_address(0);
	seen.cr3 = HARNESS_READ("mov %%cr3, %0");
	seen.preempt = cpu_self()->preempt_count;
	seen.self = thread_current();
	__atomic_fetch_add(&seen.calls, 1, __ATOMIC_SEQ_CST);
	return (int64_t)seen.result;
}

/* Ends the thread that calls. */
static int64_t test_end(const uint64_t a[6])
{
	for (unsigned i = 0; i < 6; i++)
		seen.end[i] = a[i];
	__atomic_fetch_add(&seen.ends, 1, __ATOMIC_SEQ_CST);
	thread_exit(0);
}

static int64_t test_wait(const uint64_t a[6])
{
	__atomic_fetch_add(&seen.calls, 1, __ATOMIC_SEQ_CST);
	return thread_park(a[0]);
}

static void register_calls(void)
{
	syscall_register(TEST_END, test_end);
	syscall_register(TEST_CALL, test_call);
	syscall_register(TEST_WAIT, test_wait);
}

INIT(INIT_SERVICES, register_calls);

/* ---- threads in ring 3 ---- */

static struct vmspace *vs;
static struct user_regs enter_with;
static volatile int entered;

static void go(void *arg)
{
	struct user_regs r = enter_with;

	thread_set_space(thread_current(), vs);
	r.rbx = (uint64_t)arg;
	entered = user_enter(&r);
}

static bool space(const char *program, size_t len)
{
	harness_memset((void *)&seen, 0, sizeof seen);
	enter_with = (struct user_regs){ .rip = USER_CODE, .rsp = USER_DATA + USER_DATA_LEN, .rbp = 0 };
	entered = 77;
	return vmspace_create(0, &vs) == 0 && user_load(vs, program, len);
}

/* Runs the program to its end; whether it came there. */
static bool run(const char *program, size_t len, uint64_t rbx)
{
	struct thread *t;

	if (!space(program, len))
		return false;
	t = start("ring 3", CLASS_NORMAL, HERE, go, rbx);
	return ended(t) && seen.ends == 1;
}

KTEST(sched, syscall_table)
{
	const uint64_t a[6] = { 1, 2, 3, 4, 5, 6 };

	harness_memset((void *)&seen, 0, sizeof seen);
	seen.result = 0x123456789;
	KASSERT_EQ(syscall_dispatch(TEST_CALL, a), 0x123456789);
	KASSERT_EQ(seen.calls, 1);
	for (unsigned i = 0; i < 6; i++)
		KASSERT_EQ(seen.a[i], i + 1);
	KASSERT_EQ(syscall_dispatch(SYS_NULL, a), 0);
	KASSERT_EQ(syscall_dispatch(SYS_YIELD, a), 0);
	KASSERT_EQ(syscall_dispatch(NOBODYS, a), -EINVAL);
	KASSERT_EQ(syscall_dispatch(SYS_COUNT, a), -EINVAL);
	KASSERT_EQ(syscall_dispatch(UINT32_MAX, a), -EINVAL);
	KASSERT_EQ(syscall_register(SYS_COUNT, test_call), -EINVAL);
	KASSERT_EQ(syscall_register(UINT32_MAX, test_call), -EINVAL);
	KASSERT_EQ(syscall_register(NOBODYS, NULL), -EINVAL);
	KASSERT_EQ(syscall_register(TEST_CALL, test_end), -EBUSY);
	KASSERT_EQ(syscall_register(SYS_NULL, test_end), -EBUSY);
	KASSERT_EQ(syscall_register(SYS_CLOCK, test_end), -EBUSY);
	KASSERT_EQ(syscall_dispatch(TEST_CALL, a), 0x123456789);
}

/* ---- the processor's own registers ---- */

static struct {
	uint64_t star, lstar, fmask, efer, cr0;
} msrs[CPU_MAX];

static void read_msrs(void *arg)
{
	const unsigned i = cpu_self()->index;

	(void)arg;
	msrs[i].star = harness_rdmsr(0xC0000081);
	msrs[i].lstar = harness_rdmsr(0xC0000082);
	msrs[i].fmask = harness_rdmsr(0xC0000084);
	msrs[i].efer = harness_rdmsr(0xC0000080);
	msrs[i].cr0 = HARNESS_READ("mov %%cr0, %0");
}

KTEST(sched, syscall_state)
{
	KASSERT_EQ(cpu_on_each(read_msrs, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(msrs[i].star >> 32, 0x00100008);
		KASSERT(msrs[i].lstar >= harness_addr(__text_start));
		KASSERT(msrs[i].lstar < harness_addr(__text_end));
		KASSERT_EQ(msrs[i].fmask & 0x44700, 0x44700);
		KASSERT_EQ(msrs[i].efer & 1, 1);
		KASSERT_EQ(msrs[i].cr0 & 0xe, 0xe);             /* EM, MP, TS: no FPU */
	}
}

/* ---- what survives ---- */

#define ALL_SET \
	"mov $0x1111111111111111, %rax\nmov %rax, %rcx\nmov %rax, %r11\n" \
	"mov $0x2222222222222222, %rbx\nmov $0x3333333333333333, %rdx\nmov $0x4444444444444444, %rsi\n" \
	"mov $0x5555555555555555, %rdi\nmov $0x6666666666666666, %rbp\nmov $0x7777777777777777, %r8\n" \
	"mov $0x8888888888888888, %r9\nmov $0x9999999999999999, %r10\nmov $0xaaaaaaaaaaaaaaaa, %r12\n" \
	"mov $0xbbbbbbbbbbbbbbbb, %r13\nmov $0xcccccccccccccccc, %r14\nmov $0xdddddddddddddddd, %r15\n"
/* from 0x600000 on */
#define ALL_STORED \
	"mov %rax, 0x600000\nmov %rbx, 0x600008\nmov %rdx, 0x600010\nmov %rsi, 0x600018\nmov %rdi, 0x600020\nmov %rbp, 0x600028\n" \
	"mov %r8, 0x600030\nmov %r9, 0x600038\nmov %r10, 0x600040\nmov %r12, 0x600048\nmov %r13, 0x600050\nmov %r14, 0x600058\nmov %r15, 0x600060\n" \
	"mov %rsp, 0x600068\n"

USER_PROGRAM(program_registers,
	ALL_SET "std\nstc\nmov $14, %eax\nsyscall\n"
	ALL_STORED "pushfq\npop 0x600070\ncld\nmov $15, %eax\nsyscall\nud2\n");

KTEST(sched, syscall_registers)
{
	static const uint64_t kept[] = {
		0, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444, 0x5555555555555555, 0x6666666666666666, 0x7777777777777777,
		0x8888888888888888, 0x9999999999999999, 0xaaaaaaaaaaaaaaaa, 0xbbbbbbbbbbbbbbbb, 0xcccccccccccccccc, 0xdddddddddddddddd, USER_DATA + USER_DATA_LEN,
	};
	static const uint64_t arguments[] = { 0x5555555555555555, 0x4444444444444444, 0x3333333333333333, 0x9999999999999999, 0x7777777777777777, 0x8888888888888888 };
	struct thread *t;
	uint64_t top, flags;

	KASSERT(space(program_registers, USER_LEN(program_registers)));
	seen.result = 0xfedcba9876543210;
	t = start("ring 3", CLASS_NORMAL, HERE, go, 0);
	KASSERT(t != NULL);
	top = (uint64_t)thread_stack_top(t);
	KASSERT(ended(t));
	KASSERT_EQ(seen.ends, 1);
	KASSERT_EQ(seen.calls, 1);
	for (unsigned i = 0; i < 6; i++)
		KASSERT_EQ(seen.a[i], arguments[i]);
	KASSERT_EQ(user_word(vs, USER_DATA), 0xfedcba9876543210);
	for (unsigned i = 1; i < sizeof kept / sizeof *kept; i++)
		KASSERT_EQ(user_word(vs, USER_DATA + i * 8), kept[i]);
	flags = user_word(vs, USER_DATA + 0x70);
	KASSERT_EQ(flags & 0x601, 0x601);                       /* IF, DF, CF as they were */
	KASSERT_EQ(flags >> 12 & 3, 0);
	KASSERT_EQ(seen.flags & 0x600, 0x200);                  /* in the kernel IF, not DF */
	KASSERT_EQ(seen.preempt, 0);
	KASSERT_EQ(seen.self, t);
	KASSERT_EQ(seen.cr3, vmspace_root(vs));
	KASSERT(seen.stack < top);
	KASSERT(seen.stack > top - 2048);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* The number is rax, all of it. Each result is stored. */
USER_PROGRAM(program_unknown,
	"mov $12, %eax\nsyscall\nmov %rax, 0x600000\n"
	"mov $64, %eax\nsyscall\nmov %rax, 0x600008\n"
	"mov $0xffffffffffffffff, %rax\nsyscall\nmov %rax, 0x600010\n"
	"mov $0x100000000, %rax\nsyscall\nmov %rax, 0x600018\n"
	"mov $0x10000000e, %rax\nsyscall\nmov %rax, 0x600020\n"
	"mov $0x8000000000000000, %rax\nsyscall\nmov %rax, 0x600028\n"
	"mov $0x4e, %eax\nsyscall\nmov %rax, 0x600030\n"
	"xor %eax, %eax\nsyscall\nmov %rax, 0x600038\n"
	"mov $15, %eax\nsyscall\nud2\n");

KTEST(sched, syscall_unknown)
{
	KASSERT(run(program_unknown, USER_LEN(program_unknown), 0));
	KASSERT_EQ(seen.calls, 0);
	for (unsigned i = 0; i < 7; i++)
		KASSERT_EQ(user_word(vs, USER_DATA + i * 8), -EINVAL);
	KASSERT_EQ(user_word(vs, USER_DATA + 56), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- how it comes to ring 3 ---- */

USER_PROGRAM(program_enter,
	ALL_STORED "mov %rcx, 0x600078\nmov %r11, 0x600080\n"
	"pushfq\npop 0x600070\nmov %fs:8, %rax\nmov %rax, 0x600088\nmov %cs, %eax\nmov %eax, 0x600090\nmov %ss, %eax\nmov %eax, 0x600094\n"
	"cld\nmov $15, %eax\nsyscall\nud2\n");

KTEST(sched, syscall_enter)
{
	struct thread *t;
	uint64_t flags;

	KASSERT(space(program_enter, USER_LEN(program_enter)));
	*(uint64_t *)user_at(vs, USER_DATA + 0x1008) = 0xf5f5f5f5;
	enter_with = (struct user_regs){
		.rax = 1, .rcx = 0x12, .rdx = 3, .rsi = 4, .rdi = 5, .rbp = 6, .r8 = 7, .r9 = 8, .r10 = 9, .r11 = 0x13, .r12 = 10, .r13 = 11, .r14 = 12, .r15 = 13,
		.rip = USER_CODE, .rsp = USER_DATA + 0x800, .rflags = UINT64_MAX & ~0x100ull, .fs_base = USER_DATA + 0x1000,
	};
	t = start("ring 3", CLASS_NORMAL, HERE, go, 2);
	KASSERT(ended(t));
	KASSERT_EQ(seen.ends, 1);
	for (unsigned i = 0; i < 13; i++)
		KASSERT_EQ(user_word(vs, USER_DATA + i * 8), i + 1);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x68), USER_DATA + 0x800);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x78), 0x12);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x80), 0x13);
	flags = user_word(vs, USER_DATA + 0x70);
	KASSERT_EQ(flags, 0xcd5 | 0x202);                       /* CF PF AF ZF SF OF DF as asked for, IF, and the one that is always set */
	KASSERT_EQ(user_word(vs, USER_DATA + 0x88), 0xf5f5f5f5);
	KASSERT_EQ(user_word(vs, USER_DATA + 0x90), (SEL_USER_CODE | 3) | (uint64_t)(SEL_USER_DATA | 3) << 32);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(sched, syscall_enter_bad)
{
	static const uint64_t bad[] = { USER_END, 1ull << 47, 0xffff800000000000, UINT64_MAX, KERNEL_VIRT_BASE };
	struct thread *t;

	for (unsigned i = 0; i < 3 * sizeof bad / sizeof *bad; i++) {
		KASSERT(space(program_enter, USER_LEN(program_enter)));
		*(i % 3 == 0 ? &enter_with.rip : i % 3 == 1 ? &enter_with.rsp : &enter_with.fs_base) = bad[i / 3];
		t = start("ring 3", CLASS_NORMAL, HERE, go, 0);
		KASSERT(ended(t));
		KASSERT_EQ(entered, -EINVAL);
		KASSERT_EQ(seen.ends, 0);
		KASSERT_EQ(vmspace_destroy(vs), 0);
	}
}

/* ---- what others see of it ---- */

USER_PROGRAM(program_wait,
	ALL_SET "mov $0xffffffffffffffff, %rdi\nmov $13, %eax\nsyscall\nprogram_wait_here:\nmov %rax, 0x600000\nmov $0x77, %ebx\n"
	"1: cmpq $0, 0x600008\nje 1b\nmov $15, %eax\nsyscall\nud2\n");
extern const char program_wait_here[];

KTEST(sched, syscall_regs)
{
	struct user_regs r = { .rip = 1 };
	struct thread *t;
	uint64_t begin;
	int kernel, spinning;

	kernel = user_regs_get(thread_current(), &r);
	KASSERT(space(program_wait, USER_LEN(program_wait)));
	enter_with.fs_base = 0x12345000;
	t = start("ring 3", CLASS_NORMAL, HERE, go, 0);
	KASSERT(reaches(&seen.calls, 1));
	thread_park(MS);
	KASSERT_EQ(kernel, -ENOENT);
	KASSERT_EQ(user_regs_get(t, &r), 0);
	KASSERT_EQ(r.rip, USER_CODE + (harness_addr(program_wait_here) - harness_addr(program_wait)));
	KASSERT_EQ(r.rsp, USER_DATA + USER_DATA_LEN);
	KASSERT_EQ(r.rbx, 0x2222222222222222);
	KASSERT_EQ(r.rbp, 0x6666666666666666);
	KASSERT_EQ(r.r15, 0xdddddddddddddddd);
	KASSERT_EQ(r.rdi, UINT64_MAX);
	KASSERT_EQ(r.rsi, 0x4444444444444444);
	KASSERT_EQ(r.fs_base, 0x12345000);
	thread_cancel(t);
	begin = clock_ns();
	do                                                      /* it is interrupted while it spins */
		thread_park(100 * US);
	while (((spinning = user_regs_get(t, &r)) != 0 || r.rbx != 0x77) && clock_ns() - begin < LONG);
	*(uint64_t *)user_at(vs, USER_DATA + 8) = 1;
	KASSERT(ended(t));
	KASSERT_EQ(spinning, 0);
	KASSERT_EQ(r.rbx, 0x77);
	KASSERT(r.rip > USER_CODE + (harness_addr(program_wait_here) - harness_addr(program_wait)));
	KASSERT(r.rip < USER_CODE + USER_LEN(program_wait));
	KASSERT_EQ(r.r14, 0xcccccccccccccccc);
	KASSERT_EQ(r.rflags >> 9 & 1, 1);
	KASSERT_EQ(user_word(vs, USER_DATA), -EAGAIN);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- interrupted everywhere ---- */

/* Registers hold what belongs to rbx; in and out of calls, and for a while in between, until the word at 0x600ff8 is not 0. */
USER_PROGRAM(program_busy,
	"lea 1(%rbx), %rbp\nlea 2(%rbx), %r8\nlea 3(%rbx), %r9\nlea 4(%rbx), %r10\nlea 5(%rbx), %r12\nlea 6(%rbx), %r13\nlea 7(%rbx), %r14\nlea 8(%rbx), %rsi\n"
	"lea 9(%rbx), %rdx\nxor %r15d, %r15d\n"
	"1: inc %r15\nmov $2, %eax\ntest $7, %r15d\njz 2f\nxor %eax, %eax\n2: syscall\ntest %rax, %rax\njnz 9f\n"
	"mov $300, %ecx\n3: lea 7(%rcx), %r11\ndec %ecx\njnz 3b\n"
	"cmp $7, %r11\nje 9f\n"
	"mov %rbp, %rax\nsub %rbx, %rax\ncmp $1, %rax\njne 9f\nmov %r8, %rax\nsub %rbx, %rax\ncmp $2, %rax\njne 9f\n"
	"mov %r9, %rax\nsub %rbx, %rax\ncmp $3, %rax\njne 9f\nmov %r10, %rax\nsub %rbx, %rax\ncmp $4, %rax\njne 9f\n"
	"mov %r12, %rax\nsub %rbx, %rax\ncmp $5, %rax\njne 9f\nmov %r13, %rax\nsub %rbx, %rax\ncmp $6, %rax\njne 9f\n"
	"mov %r14, %rax\nsub %rbx, %rax\ncmp $7, %rax\njne 9f\nmov %rsi, %rax\nsub %rbx, %rax\ncmp $8, %rax\njne 9f\n"
	"mov %rdx, %rax\nsub %rbx, %rax\ncmp $9, %rax\njne 9f\n"
	"mov %r15, 0x600000(,%rbx,8)\ncmpq $0, 0x600ff8\nje 1b\n"
	"mov $15, %eax\nsyscall\nud2\n"
	"9: mov $0xffffffffffffffff, %r15\nmov %r15, 0x600000(,%rbx,8)\nmov $15, %eax\nsyscall\nud2\n");

KTEST(sched, syscall_interrupts)
{
	enum { BUSY = 3 };
	struct thread *t[BUSY];
	const uint64_t begin = clock_ns();
	unsigned gone = 0, often;

	KASSERT(space(program_busy, USER_LEN(program_busy)));
	for (unsigned i = 0; i < BUSY; i++) {
		enter_with.rsp = USER_DATA + USER_DATA_LEN - i * 1024;
		t[i] = start("busy", CLASS_NORMAL, HERE, go, i);
		thread_park(200 * US);
	}
	do {
		thread_park(37 * US);
		often = 0;
		for (unsigned i = 0; i < BUSY; i++)
			often += stats_of(t[i]).preemptions >= 10 && user_word(vs, USER_DATA + i * 8) > 8;
	} while (clock_ns() - begin < 25 * MS || (often < BUSY && clock_ns() - begin < LONG));
	*(volatile uint64_t *)user_at(vs, USER_DATA + 0xff8) = 1;
	for (unsigned i = 0; i < BUSY; i++)
		gone += ended(t[i]);
	KASSERT_EQ(gone, BUSY);
	for (unsigned i = 0; i < BUSY; i++)
		KASSERT(user_word(vs, USER_DATA + i * 8) != UINT64_MAX);
	KASSERT_EQ(often, BUSY);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

USER_PROGRAM(program_time,
	"mov $4, %eax\nsyscall\nmov %rax, 0x600000\nmov $500000, %edi\nmov $3, %eax\nsyscall\nmov %rax, 0x600008\n"
	"mov $4, %eax\nsyscall\nmov %rax, 0x600010\nmov $2, %eax\nsyscall\nmov %rax, 0x600018\nmov $15, %eax\nsyscall\nud2\n");

KTEST(sched, syscall_time)
{
	const uint64_t before = clock_ns();

	KASSERT(run(program_time, USER_LEN(program_time), 0));
	KASSERT(user_word(vs, USER_DATA) >= before);
	KASSERT_EQ(user_word(vs, USER_DATA + 8), 0);
	KASSERT(user_word(vs, USER_DATA + 16) >= user_word(vs, USER_DATA) + 500000);
	KASSERT(user_word(vs, USER_DATA + 16) <= clock_ns());
	KASSERT_EQ(user_word(vs, USER_DATA + 24), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- what it costs ---- */

USER_PROGRAM(program_null, "test %rbx, %rbx\njz 2f\n1: xor %eax, %eax\nsyscall\ndec %rbx\njnz 1b\n2: mov $15, %eax\nsyscall\nud2\n");

static void null_calls(uint64_t n)
{
	const bool came = run(program_null, USER_LEN(program_null), n);

	vmspace_destroy(vs);
	KASSERT(came);
}

KBENCH(sched, null_syscall)
{
	null_calls(n);
}

KTEST(sched, syscall_cost)
{
	enum { CEILING = 150 };
	uint64_t begin, once, twice, cost;

	if (!harness_counting())
		return;
	null_calls(1);
	begin = harness_ticks();
	null_calls(1000);
	once = harness_ticks() - begin;
	begin = harness_ticks();
	null_calls(2000);
	twice = harness_ticks() - begin;
	cost = (twice - once + 999) / 1000;
	ktest_note("instructions", cost);
	KASSERT(cost > 10);
	KASSERT(cost <= CEILING);
}
