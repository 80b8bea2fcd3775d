/* Further tests of sched/syscall.c: each register and flag on each way into ring 3 and out of it, numbers of calls,
 * stack pointers that lead nowhere, interrupts and NMIs at the entry, the base of GS. See spec/sched.md, "Interface:
 * include/syscall.h", "Hardware facts" and invariants 4 and 6.
 *
 * A program does no more than `int3` and `syscall`. The breakpoint has a handler here, on the thread's own stack, which
 * looks at all that the thread has in ring 3 and gives it what to go on with: so a thread in ring 3 is led by C, step
 * by step, without a number of a system call being taken.
 *
 * Threads here have no process. We may be stopped at any time, for tens of milliseconds: nothing must be in time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "process.h"
#include "sched.h"
#include "string.h"
#include "syscall.h"

#define US 1000ul
#define MS 1000000ul
#define HERE 1ul                        /* affinity: the boot processor, where tests run */
#define LONG (4000 * MS)                /* what takes so long does not come any more */
#define SEED 0x73797363u

#define CODE 0x400000ul                 /* a program's page, and one to write to */
#define DATA 0x600000ul

#define FLAGS_TAKEN 0xcd5ul             /* CF, PF, AF, ZF, SF, DF, OF: what user_enter takes of its caller's */
#define FLAGS_FORCED 0x202ul            /* IF, and the one that is always set */
#define FLAG_TF (1ul << 8)
#define FLAG_DF (1ul << 10)
#define FLAG_NT (1ul << 14)
#define FLAG_AC (1ul << 18)
#define FLAG_ID (1ul << 21)
#define FLAGS_OWN (FLAGS_TAKEN | FLAG_NT | FLAG_AC | FLAG_ID)   /* what ring 3 can set by itself, but for TF */

#define MSR_FS_BASE 0xC0000100u
#define MSR_GS_BASE 0xC0000101u
#define MSR_KERNEL_GS_BASE 0xC0000102u  /* while in the kernel: ring 3's */

enum { USER_CS = SEL_USER_CODE | 3, USER_SS = SEL_USER_DATA | 3 };
enum { VEC_HERE = 0xe0 };               /* one that is left to tests */
enum { PUPPETS = 4, NMIS = 150 };

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

/* Sleeps until it is so, looking every now and then; whether it is. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG) \
			(void)thread_park(20 * US); \
		(condition); \
	})

/* The first line that found something wrong, on whatever thread; 0: none did. */
static uint32_t wrong;

#define CHECK(condition) \
	do { \
		uint32_t none_ = 0; \
		if (!(condition)) \
			__atomic_compare_exchange_n(&wrong, &none_, __LINE__, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	} while (0)

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static void interrupts_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static void interrupts_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static uint64_t online(void)
{
	return (1ul << cpu_count()) - 1;
}

static struct thread *start(enum sched_class cls, uint64_t affinity, void (*fn)(void *), void *arg)
{
	const struct thread_attr attr = { "check", cls, affinity };
	struct thread *t = NULL;

	return thread_create(&attr, fn, arg, &t) ? NULL : t;
}

/* What it ended with; -1: it did not, or there is none. */
static int code_of(struct thread *t)
{
	int code = -1;

	return t && thread_join(t, LONG, &code) == 0 ? code : -1;
}

/* ---- programs ---- */

/* A program, position-independent, which is copied from here. */
#define PROGRAM(name, code) \
	extern const char name[], name##_end[]; \
	__asm__(".section .rodata\n" #name ":\n" code "\n" #name "_end:\n.previous\n")

/* Comes to the handler before each call; spins RCX times between that and the call, without a change of flags. */
PROGRAM(puppet_program, "int3\n1: loop 1b\nsyscall\njmp puppet_program");

enum { AFTER_BREAK = 1, AFTER_CALL = 5 };       /* offsets in it */

/* The call R14 with the flags R13, again and again, until the word at DATA is not 0: RBX counts, RBP has a bit of all
 * that came back other than it should, and is 0 if the calls' results are, too. */
PROGRAM(tight_program,
	"1: push %r13\npopfq\nmov %r14, %rax\nsyscall\npushfq\npop %r9\nxor %r13, %r9\nor %r9, %rbp\nor %rax, %rbp\ninc %rbx\n"
	"cmpl $0, 0x600000\nje 1b\nint3\nud2");

/* Ring 3's own selectors wherever they can be; FS and GS have base 0 by that. Then as the puppet. */
PROGRAM(selector_program,
	"mov $0x1b, %eax\nmov %eax, %ds\nmov %eax, %gs\nmov $0x23, %eax\nmov %eax, %es\nmov $0x1b, %eax\nmov %eax, %fs\n"
	"2: int3\n1: loop 1b\nsyscall\njmp 2b");

PROGRAM(gs_write_program, "mov $0xffffffff80200000, %rax\nwrgsbase %rax\nint3\nud2");
PROGRAM(gs_read_program, "rdgsbase %rax\nint3\nud2");

/* ---- threads that are led ---- */

static struct vmspace *vs;

static struct puppet {
	struct thread *thread;                  /* NULL: there is none */
	void (*step)(struct puppet *p, struct trap_frame *f);
	struct user_regs regs;                  /* what it is entered with */
	struct trap_frame told;                 /* what it was let go with */
	uint64_t random, clock;
	uint32_t steps, last;                   /* breakpoints up to now, and how many there are to be */
	unsigned kind;                          /* of call */
	bool over;                              /* it is to end */
} puppets[PUPPETS];

static struct puppet *puppet_of(const struct thread *t)
{
	for (unsigned i = 0; i < PUPPETS; i++)
		if (GET(puppets[i].thread) == t)
			return &puppets[i];
	return NULL;
}

/* Of the breakpoint. What holds whenever a thread comes from ring 3 is looked at here. */
static void at_breakpoint(struct trap_frame *f)
{
	struct thread *const self = thread_current();
	struct puppet *const p = puppet_of(self);

	CHECK(p != NULL);
	CHECK(f == (struct trap_frame *)thread_stack_top(self) - 1);
	CHECK(f->cs == USER_CS && f->ss == USER_SS);
	CHECK((f->rflags & 0x3200) == 0x200);                   /* IF, IOPL 0 */
	CHECK(rdmsr(MSR_KERNEL_GS_BASE) < USER_END);
	CHECK(cpu_self()->current == self && cpu_self()->preempt_count == 0);
	if (p) {
		p->steps++;
		p->step(p, f);
	}
	if (!p || p->over) {
		interrupts_on();
		thread_exit(0);
	}
}

static void go(void *arg)
{
	struct puppet *const p = arg;
	struct user_regs regs = p->regs;

	SET(p->thread, thread_current());
	thread_set_space(thread_current(), vs);
	(void)user_enter(&regs);
	CHECK(!"it is entered");
}

static void *at_user(vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? NULL : (char *)phys_to_virt(e.pa) + (va - e.va);
}

#define OPEN(program) open_space(program, (size_t)((uintptr_t)program##_end - (uintptr_t)program))

static bool open_space(const char *program, size_t len)
{
	vaddr_t code = CODE, data = DATA;

	memset(puppets, 0, sizeof puppets);
	wrong = 0;
	if (vmspace_create(0, &vs))
		return false;
	if (vmspace_map_anon(vs, &code, PAGE_SIZE, VM_EXEC) || vmspace_map_anon(vs, &data, PAGE_SIZE, VM_WRITE) ||
	    trap_set_handler(VEC_BREAKPOINT, at_breakpoint)) {
		vmspace_destroy(vs);
		return false;
	}
	memcpy(at_user(code), program, len);
	return true;
}

/* ---- flags and selectors that are not to stay ---- */

static struct thread *tester;
static uint64_t cleaned;                        /* bit i: who was interrupted on processor i, not the tester */
static struct timer cleaner;

static void drop_flags(void)
{
	__asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(-1 - (int)(FLAG_AC | FLAG_ID)) : "memory", "cc");
}

/* As the processor had them before ring 3 loaded its own. Interrupts off: with another GS it is without its base. */
static void drop_selectors(void)
{
	const uint64_t fs_base = rdmsr(MSR_FS_BASE), gs_base = rdmsr(MSR_GS_BASE);
	uint32_t fs, gs;

	__asm__ volatile("movl %0, %%ds\n\tmovl %0, %%es" : : "r"(SEL_KERNEL_DATA) : "memory");
	__asm__ volatile("movl %%fs, %0\n\tmovl %%gs, %1" : "=r"(fs), "=r"(gs));
	if (fs)
		__asm__ volatile("movl %0, %%fs\n\twrmsr" : : "r"(0), "c"(MSR_FS_BASE), "a"((uint32_t)fs_base),
			"d"((uint32_t)(fs_base >> 32)) : "memory");
	if (gs)
		__asm__ volatile("movl %0, %%gs\n\twrmsr" : : "r"(0), "c"(MSR_GS_BASE), "a"((uint32_t)gs_base),
			"d"((uint32_t)(gs_base >> 32)) : "memory");
}

static void clean(struct trap_frame *f)
{
	apic_eoi();
	drop_selectors();
	f->rflags &= ~(FLAG_AC | FLAG_ID);
	drop_flags();
	if (thread_current() != tester)
		__atomic_fetch_or(&cleaned, 1ul << cpu_self()->index, __ATOMIC_SEQ_CST);
}

static void clean_here(struct timer *timer)
{
	(void)timer;
	cpu_send(0, VEC_HERE);
}

/* Who is switched to after an interrupt in ring 3 has AC and ID from there; an idle thread that is interrupted with them
 * would have them for good; selectors stay as they are whoever runs. So each processor is interrupted once more, this
 * one while we sleep. */
static bool clean_all(void)
{
	const uint64_t begin = clock_ns();

	tester = thread_current();
	SET(cleaned, 0);
	if (trap_set_handler(VEC_HERE, clean))
		return false;
	for (unsigned i = 1; i < cpu_count(); i++)
		cpu_send(i, VEC_HERE);
	while (GET(cleaned) != online() && clock_ns() - begin < LONG) {
		(void)timer_arm(&cleaner, clock_ns() + 20 * US, clean_here, NULL);
		(void)thread_park(60 * US);
	}
	(void)timer_cancel(&cleaner);
	drop_flags();
	trap_clear_handler(VEC_HERE);
	return GET(cleaned) == online();
}

/* All threads have ended; whether nothing of it is left. */
static bool close_space(void)
{
	const bool clear = clean_all();

	trap_clear_handler(VEC_BREAKPOINT);
	return vmspace_destroy(vs) == 0 && clear;
}

static struct thread *lead(unsigned i, void (*step)(struct puppet *, struct trap_frame *), uint32_t last,
	uint64_t affinity)
{
	struct puppet *const p = &puppets[i];

	p->step = step;
	p->last = last;
	p->random = SEED + i;
	if (!p->regs.rip)
		p->regs.rip = CODE;
	return start(CLASS_NORMAL, affinity, go, p);
}

/* ---- registers by chance ---- */

static void random_regs(uint64_t *random, struct user_regs *r)
{
	uint64_t *const words = (uint64_t *)r;

	for (size_t i = 0; i < sizeof *r / sizeof *words; i++)
		words[i] = next(random);
	r->rip = CODE;
	r->rsp %= USER_END;
	r->fs_base %= USER_END;
}

static bool same_regs(const struct trap_frame *f, const struct user_regs *r)
{
	return f->rax == r->rax && f->rbx == r->rbx && f->rcx == r->rcx && f->rdx == r->rdx && f->rsi == r->rsi &&
		f->rdi == r->rdi && f->rbp == r->rbp && f->r8 == r->r8 && f->r9 == r->r9 && f->r10 == r->r10 &&
		f->r11 == r->r11 && f->r12 == r->r12 && f->r13 == r->r13 && f->r14 == r->r14 && f->r15 == r->r15 &&
		f->rsp == r->rsp;
}

/* What a call keeps. */
static bool is_kept(const struct trap_frame *f, const struct trap_frame *told)
{
	return f->rbx == told->rbx && f->rdx == told->rdx && f->rsi == told->rsi && f->rdi == told->rdi &&
		f->rbp == told->rbp && f->r8 == told->r8 && f->r9 == told->r9 && f->r10 == told->r10 &&
		f->r12 == told->r12 && f->r13 == told->r13 && f->r14 == told->r14 && f->r15 == told->r15 &&
		f->rsp == told->rsp && f->rflags == told->rflags;
}

static uint64_t canary[64];

/* Where no stack is. */
static uint64_t odd_stack(struct puppet *p)
{
	switch (next(&p->random) % 8) {
	case 0:
		return 0;
	case 1:
		return USER_END - 1;
	case 2:
		return (uint64_t)thread_stack_top(p->thread);
	case 3:
		return (uint64_t)&canary[32];
	case 4:
		return 0x8000000000000000 | next(&p->random) >> 1;
	case 5:
		return DATA + 2049;
	case 6:
		return 0x0000800000000000;
	default:
		return next(&p->random);
	}
}

/* All registers anew. */
static void random_frame(struct puppet *p, struct trap_frame *f)
{
	struct user_regs r;

	random_regs(&p->random, &r);
	f->rbx = r.rbx, f->rdx = r.rdx, f->rsi = r.rsi, f->rdi = r.rdi, f->rbp = r.rbp, f->r8 = r.r8, f->r9 = r.r9;
	f->r10 = r.r10, f->r11 = r.r11, f->r12 = r.r12, f->r13 = r.r13, f->r14 = r.r14, f->r15 = r.r15;
	f->rax = 0;
	f->rcx = 1 + r.rcx % 50;
	f->rsp = odd_stack(p);
	f->rflags = (r.rflags & FLAGS_OWN) | FLAGS_FORCED;
}

/* ---- entered ---- */

/* Whether it came as it was asked for, and again with others: each flag alone first, then many. On the same stack each
 * time, however often. */
static void enter_again(struct puppet *p, struct trap_frame *f)
{
	CHECK(f->rip == CODE + AFTER_BREAK);
	CHECK(same_regs(f, &p->regs));
	CHECK(f->rflags == ((p->regs.rflags & FLAGS_TAKEN) | FLAGS_FORCED));
	CHECK(thread_fs_base(p->thread) == p->regs.fs_base);
	if (p->steps == p->last) {
		p->over = true;
		return;
	}
	random_regs(&p->random, &p->regs);
	if (p->steps <= 64)
		p->regs.rflags = 1ul << (p->steps - 1);
	if (p->steps == 65)
		p->regs.rsp = p->regs.fs_base = USER_END - 1;
	interrupts_on();
	(void)user_enter(&p->regs);
	CHECK(!"it is entered");
}

KTEST(sched, check_syscall_enter_again)
{
	uint32_t steps;
	bool gone;
	int code;

	ktest_note("seed", SEED);
	KASSERT(OPEN(puppet_program));
	code = code_of(lead(0, enter_again, 120, 0));
	steps = puppets[0].steps;
	gone = close_space();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(steps, 120);
	KASSERT(gone);
}

/* One that is refused changes nothing: not the frame that is there, not FS_BASE, and the thread goes on. */
static void enter_refused(struct puppet *p, struct trap_frame *f)
{
	static const uint64_t bad[] = { USER_END, USER_END + 1, 1ul << 47, 0xffff800000000000, KERNEL_BASE, UINT64_MAX };
	const struct trap_frame before = *f;
	struct user_regs r;

	if (p->steps == p->last) {
		p->over = true;
		CHECK(f->rax == 0 && is_kept(f, &p->told));
		return;
	}
	interrupts_on();
	for (unsigned i = 0; i < 150; i++) {
		const unsigned which = 1 + (unsigned)(next(&p->random) % 7);

		random_regs(&p->random, &r);
		if (which & 1)
			r.rip = bad[next(&p->random) % 6];
		if (which & 2)
			r.rsp = bad[next(&p->random) % 6];
		if (which & 4)
			r.fs_base = next(&p->random) | 1ul << (47 + next(&p->random) % 17);
		CHECK(user_enter(&r) == -EINVAL);
		CHECK(thread_fs_base(p->thread) == p->regs.fs_base);
	}
	interrupts_off();
	CHECK(memcmp(f, &before, sizeof before) == 0);
	random_frame(p, f);
	p->told = *f;
}

KTEST(sched, check_syscall_enter_refused)
{
	int code, edge;
	uint32_t steps;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(OPEN(puppet_program));
	puppets[0].regs.fs_base = 0x123456789;
	puppets[1].regs.rsp = USER_END - 1;
	code = code_of(lead(0, enter_refused, 2, 0));
	steps = puppets[0].steps;
	/* the last address is not refused, but nothing is there */
	puppets[1].random = SEED;
	puppets[1].step = enter_refused;
	puppets[1].regs.rip = USER_END - 1;
	edge = code_of(start(CLASS_NORMAL, 0, go, &puppets[1]));
	gone = close_space();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(steps, 2);
	KASSERT_EQ(edge, STATUS_FAULT + VEC_PAGE_FAULT);
	KASSERT(gone);
}

/* ---- called ---- */

enum { CALL_NULL, CALL_YIELD, CALL_SLEEP, CALL_CLOCK, CALL_NONE, CALLS };

static void check_result(struct puppet *p, const struct trap_frame *f)
{
	switch (p->kind) {
	case CALL_CLOCK:
		CHECK(f->rax + 10 * US >= p->clock);
		p->clock = f->rax;
		break;
	case CALL_NONE:
		CHECK(f->rax == (uint64_t)-EINVAL);
		break;
	default:
		CHECK(f->rax == 0);
	}
}

/* After a call: all is kept, and what is not has nothing of the kernel's. */
static void check_call(struct puppet *p, const struct trap_frame *f)
{
	CHECK(is_kept(f, &p->told));
	CHECK(f->rcx < USER_END);
	CHECK(f->r11 <= UINT32_MAX);
	CHECK(thread_fs_base(p->thread) == p->regs.fs_base);
	check_result(p, f);
}

/* Any call with any registers. */
static void call_any(struct puppet *p, struct trap_frame *f)
{
	if (p->steps > 1)
		check_call(p, f);
	if (p->steps == p->last) {
		p->over = true;
		return;
	}
	random_frame(p, f);
	p->kind = (unsigned)(next(&p->random) % CALLS);
	f->rax = p->kind == CALL_NULL ? SYS_NULL : p->kind == CALL_YIELD ? SYS_YIELD : p->kind == CALL_SLEEP ? SYS_SLEEP :
		p->kind == CALL_CLOCK ? SYS_CLOCK : SYS_COUNT + next(&p->random) % 100;
	if (p->kind == CALL_SLEEP)
		f->rdi = next(&p->random) % (20 * US);
	p->told = *f;
}

/* Three at once, moved between processors; their stack pointers lead to where nothing is, or to the kernel. */
KTEST(sched, check_syscall_kept)
{
	enum { THREADS = 3, STEPS = 150 };
	struct thread *t[THREADS];
	uint64_t random = SEED;
	const uint64_t begin = clock_ns();
	unsigned over = 0, spoilt = 0;
	int codes = 0;
	bool gone;

	ktest_note("seed", SEED);
	for (unsigned i = 0; i < 64; i++)
		canary[i] = 0x0101010101010101ul * i;
	KASSERT(OPEN(puppet_program));
	for (unsigned i = 0; i < THREADS; i++) {
		puppets[i].regs.fs_base = 0x1000000 * (i + 1) + i;
		t[i] = lead(i, call_any, STEPS, 0);
	}
	while (over < THREADS && clock_ns() - begin < LONG) {
		const uint64_t mask = next(&random) & online();

		over = 0;
		for (unsigned i = 0; i < THREADS; i++)
			over += !t[i] || GET(puppets[i].over);
		if (over < THREADS)
			CHECK(thread_set_affinity(t[next(&random) % THREADS], mask) == 0);
		(void)thread_park(20 * US + next(&random) % (30 * US));
	}
	for (unsigned i = 0; i < THREADS; i++)
		codes |= code_of(t[i]);
	gone = close_space();
	for (unsigned i = 0; i < 64; i++)
		spoilt += canary[i] != 0x0101010101010101ul * i;
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(spoilt, 0);
	for (unsigned i = 0; i < THREADS; i++)
		KASSERT_EQ(puppets[i].steps, STEPS);
	KASSERT(gone);
}

/* A number is all of RAX: none above the table is any of those within. */
static uint64_t odd_number(uint64_t *random)
{
	const uint64_t small = next(random) % SYS_COUNT;

	switch (next(random) % 6) {
	case 0:
		return SYS_COUNT + next(random) % 200;
	case 1:
		return small | 1ul << (6 + next(random) % 58);
	case 2:
		return small - SYS_COUNT;
	case 3:
		return UINT32_MAX - next(random) % 3 + next(random) % 3;
	case 4:
		return small << 32 | 1ul << 63;
	default:
		return next(random) | SYS_COUNT;
	}
}

static void call_odd(struct puppet *p, struct trap_frame *f)
{
	if (p->steps > 1)
		check_call(p, f);
	if (p->steps == p->last) {
		p->over = true;
		return;
	}
	random_frame(p, f);
	p->kind = CALL_NONE;
	f->rax = odd_number(&p->random);
	p->told = *f;
}

KTEST(sched, check_syscall_numbers)
{
	uint32_t steps;
	bool gone;
	int code;

	ktest_note("seed", SEED);
	KASSERT(OPEN(puppet_program));
	code = code_of(lead(0, call_odd, 400, 0));
	steps = puppets[0].steps;
	gone = close_space();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(steps, 400);
	KASSERT(gone);
}

/* ---- told of others ---- */

/* Sleeps for ever with registers by chance, until it is cancelled. */
static void sleep_long(struct puppet *p, struct trap_frame *f)
{
	if (p->steps > 1) {
		CHECK(f->rax == (uint64_t)-EAGAIN);
		CHECK(is_kept(f, &p->told));
		p->over = true;
		return;
	}
	random_frame(p, f);
	f->rax = SYS_SLEEP;
	f->rdi = next(&p->random) | 1ul << 63;                  /* so long that now and that is more than 2^64 */
	p->told = *f;
}

static void park_long(void *arg)
{
	(void)arg;
	(void)thread_park(LONG);
}

KTEST(sched, check_syscall_regs_get)
{
	enum { THREADS = 3 };
	const struct user_regs none = { .rax = 1, .rip = 2, .rflags = 3, .rsp = 4, .fs_base = 5 };
	struct user_regs r[THREADS], kernel = none;
	struct thread *t[THREADS], *other;
	bool waits = true, gone;
	int fresh, parked, codes = 0;

	ktest_note("seed", SEED);
	KASSERT(OPEN(puppet_program));
	other = start(CLASS_NORMAL, HERE, park_long, NULL);
	fresh = user_regs_get(other, &kernel);                  /* it cannot have run */
	for (unsigned i = 0; i < THREADS; i++) {
		puppets[i].regs.fs_base = 0x7f0000000000 + i * 8;
		t[i] = lead(i, sleep_long, 2, HERE);
	}
	for (unsigned i = 0; i < THREADS; i++)
		waits &= t[i] && COMES(user_regs_get(t[i], &r[i]) == 0 && r[i].rip == CODE + AFTER_CALL);
	parked = user_regs_get(other, &kernel);
	for (unsigned i = 0; i < THREADS; i++) {
		thread_cancel(t[i]);
		codes |= code_of(t[i]);
	}
	thread_unpark(other, WAKE_PLAIN);
	codes |= code_of(other);
	gone = close_space();
	KASSERT(waits);
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(fresh, -ENOENT);
	KASSERT_EQ(parked, -ENOENT);
	KASSERT_EQ(memcmp(&kernel, &none, sizeof none), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		const struct trap_frame *const told = &puppets[i].told;

		KASSERT_EQ(r[i].rbx, told->rbx);
		KASSERT_EQ(r[i].rdx, told->rdx);
		KASSERT_EQ(r[i].rsi, told->rsi);
		KASSERT_EQ(r[i].rdi, told->rdi);
		KASSERT_EQ(r[i].rbp, told->rbp);
		KASSERT_EQ(r[i].r8, told->r8);
		KASSERT_EQ(r[i].r9, told->r9);
		KASSERT_EQ(r[i].r10, told->r10);
		KASSERT_EQ(r[i].r12, told->r12);
		KASSERT_EQ(r[i].r13, told->r13);
		KASSERT_EQ(r[i].r14, told->r14);
		KASSERT_EQ(r[i].r15, told->r15);
		KASSERT_EQ(r[i].rsp, told->rsp);
		KASSERT_EQ(r[i].rflags, told->rflags);
		KASSERT_EQ(r[i].fs_base, 0x7f0000000000 + i * 8);
	}
	KASSERT(gone);
}

/* ---- interrupted ---- */

/* At the end of tight_program. */
static void tight_end(struct puppet *p, struct trap_frame *f)
{
	CHECK(f->rbp == 0);
	CHECK(f->rbx > 0);
	CHECK(f->r12 == p->regs.r12 && f->r15 == p->regs.r15 && f->rdi == p->regs.rdi && f->r8 == p->regs.r8);
	CHECK(f->rsp == p->regs.rsp);
	p->over = true;
}

static struct thread *lead_tight(uint64_t affinity)
{
	struct user_regs *const r = &puppets[0].regs;

	random_regs(&(uint64_t){ SEED }, r);
	r->rsp = DATA + PAGE_SIZE;
	r->rbp = r->rbx = 0;
	r->r13 = FLAGS_OWN | FLAGS_FORCED;
	r->r14 = SYS_NULL;
	return lead(0, tight_end, 1, affinity);
}

static struct {
	struct timer timer;
	uint64_t random;
	uint32_t stop, fired, in_kernel;
	uint64_t flags;                         /* that were set in a call, ever */
} storm;

/* Where the thread is just now: in ring 3, or in a call. */
static void look(struct trap_frame *f)
{
	apic_eoi();
	if ((f->cs & 3) == 0 && thread_current() == GET(puppets[0].thread)) {
		storm.flags |= f->rflags;
		ADD(storm.in_kernel, 1);
	}
}

static void blow(struct timer *timer)
{
	ADD(storm.fired, 1);
	cpu_send(0, VEC_HERE);
	if (!GET(storm.stop))
		(void)timer_arm(timer, clock_ns() + 15 * US + next(&storm.random) % (60 * US), blow, NULL);
}

/* Flags that ring 3 has set are its own: a call begins without them and gives them back, wherever it is interrupted. */
KTEST(sched, check_syscall_interrupted)
{
	const uint64_t begin = clock_ns();
	struct thread *t;
	int code, armed;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(OPEN(tight_program));
	memset(&storm, 0, sizeof storm);
	storm.random = SEED;
	KASSERT_EQ(trap_set_handler(VEC_HERE, look), 0);
	t = lead_tight(HERE);
	armed = timer_arm(&storm.timer, clock_ns(), blow, NULL);
	while (GET(storm.in_kernel) < 40 && clock_ns() - begin < LONG)
		(void)thread_park(500 * US);            /* it is to be interrupted by the storm, not by us */
	SET(storm.stop, 1);
	(void)timer_cancel(&storm.timer);
	SET(*(uint32_t *)at_user(DATA), 1);
	code = code_of(t);
	trap_clear_handler(VEC_HERE);
	gone = close_space();
	KASSERT_EQ(armed, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(storm.in_kernel >= 40);
	KASSERT_EQ(storm.flags & (FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC), 0);
	KASSERT_EQ(storm.flags & 0x3200, 0x200);
	KASSERT(gone);
}

static struct {
	uint32_t sent, came, odd;
	uint32_t apic_id;
} nmis;

/* On the NMI's own stack. With ring 3's GS base here nothing of this would be right. */
static void take_nmi(struct trap_frame *f)
{
	struct cpu *const c = cpu_self();

	(void)f;
	if (c != cpu_get(0) || c->index != 0 || c->self != c)
		ADD(nmis.odd, 1);
	ADD(nmis.came, 1);
}

/* Each only when the one before it has come. */
static void send_nmis(void *arg)
{
	uint64_t random = SEED;
	bool came = true;

	(void)arg;
	while (came && nmis.sent < NMIS) {
		apic_command(nmis.apic_id, 0x4400);
		nmis.sent++;
		came = COMES(GET(nmis.came) >= nmis.sent);
		(void)thread_park(200 + next(&random) % 3000);
	}
}

/* NMIs from another processor, if there is one: they come between `syscall` and the kernel's stack as well. */
KTEST(sched, check_syscall_nmi)
{
	struct thread *t, *sender;
	int code, sent;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(OPEN(tight_program));
	memset(&nmis, 0, sizeof nmis);
	nmis.apic_id = cpu_get(0)->apic_id;
	KASSERT_EQ(trap_set_handler(VEC_NMI, take_nmi), 0);
	t = lead_tight(HERE);
	sender = start(CLASS_KERNEL, 1ul << (cpu_count() - 1), send_nmis, NULL);
	sent = code_of(sender);
	SET(*(uint32_t *)at_user(DATA), 1);
	code = code_of(t);
	gone = close_space();
	trap_clear_handler(VEC_NMI);
	KASSERT_EQ(sent, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(nmis.sent, NMIS);
	KASSERT_EQ(nmis.came, NMIS);
	KASSERT_EQ(nmis.odd, 0);
	KASSERT(gone);
}

/* ---- segments ---- */

/* One has its own selectors in DS, ES, FS and GS, and FS base 0 by that; another beside it has an FS base. Neither
 * harms the other, or the kernel. */
KTEST(sched, check_syscall_selectors)
{
	enum { STEPS = 60 };
	const size_t plain = 2048;              /* where the other's program is */
	struct thread *t[2];
	int codes = 0;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(OPEN(selector_program));
	memcpy((char *)at_user(CODE) + plain, puppet_program, (uintptr_t)puppet_program_end - (uintptr_t)puppet_program);
	puppets[1].regs.rip = CODE + plain;
	puppets[1].regs.fs_base = 0x5555000;
	for (unsigned i = 0; i < 2; i++)
		t[i] = lead(i, call_any, STEPS, HERE);
	for (unsigned i = 0; i < 2; i++)
		codes |= code_of(t[i]);
	gone = close_space();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(puppets[0].steps, STEPS);
	KASSERT_EQ(puppets[1].steps, STEPS);
	KASSERT(gone);
}

static void came_through(struct puppet *p, struct trap_frame *f)
{
	(void)f;
	p->over = true;
}

/* Ring 3 has no way to a GS base of its own: with the kernel's it would fool what looks at it. */
KTEST(sched, check_syscall_gs_base)
{
	int writes, reads;
	bool gone;

	KASSERT(OPEN(gs_write_program));
	writes = code_of(lead(0, came_through, 1, 0));
	gone = close_space();
	KASSERT(OPEN(gs_read_program));
	reads = code_of(lead(0, came_through, 1, 0));
	gone &= close_space();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(writes, STATUS_FAULT + VEC_OPCODE);
	KASSERT_EQ(reads, STATUS_FAULT + VEC_OPCODE);
	KASSERT(gone);
}

/* ---- from the kernel ---- */

static void sleep_by_dispatch(void *arg)
{
	const uint64_t a[6] = { (uint64_t)arg };

	thread_exit((int)syscall_dispatch(SYS_SLEEP, a));
}

/* The calls of the kernel's own, by who is no process's thread: those that are a process's are refused. */
KTEST(sched, check_syscall_dispatch)
{
	static const unsigned process[] = {
		SYS_EXIT, SYS_WRITE, SYS_SELF, SYS_MAP, SYS_UNMAP, SYS_PROTECT, SYS_THREAD, SYS_THREAD_EXIT,
	};
	static const uint64_t times[] = { UINT64_MAX, UINT64_MAX - 1, 1ul << 63, 1000 * LONG };
	enum { TIMES = sizeof times / sizeof *times };
	const uint64_t args[6] = { 0 }, little[6] = { 70 * US, 1, 2, 3, 4, 5 }, page[6] = { PAGE_SIZE, VM_WRITE };
	struct thread *t[TIMES];
	int64_t before, after, slept, at_once;
	unsigned served = 0, early = 0;
	int ends[TIMES];

	for (unsigned i = 0; i < sizeof process / sizeof *process; i++) {
		served += syscall_dispatch(process[i], args) >= 0;
		served += syscall_dispatch(process[i], page) >= 0;
	}
	before = syscall_dispatch(SYS_CLOCK, args);
	slept = syscall_dispatch(SYS_SLEEP, little);
	after = syscall_dispatch(SYS_CLOCK, args);
	at_once = syscall_dispatch(SYS_SLEEP, args);
	for (unsigned i = 0; i < TIMES; i++)
		t[i] = start(CLASS_NORMAL, 0, sleep_by_dispatch, (void *)times[i]);
	(void)thread_park(300 * US);
	for (unsigned i = 0; i < TIMES; i++) {
		early += t[i] && thread_join(t[i], TIMEOUT_NOW, NULL) != -ETIMEDOUT;
		if (t[i])
			thread_cancel(t[i]);
	}
	for (unsigned i = 0; i < TIMES; i++)
		ends[i] = early ? 0 : code_of(t[i]);
	KASSERT_EQ(served, 0);
	KASSERT_EQ(slept, 0);
	KASSERT_EQ(at_once, 0);
	KASSERT(before > 0);
	KASSERT(after - before >= (int64_t)(70 * US));
	KASSERT_EQ(early, 0);
	for (unsigned i = 0; i < TIMES; i++)
		KASSERT_EQ(ends[i], -EAGAIN);
}
