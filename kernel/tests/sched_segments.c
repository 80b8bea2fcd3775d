/* Further tests of what ring 3 leaves in the flags and the segment registers: the flags in the stubs of
 * boot/idt_stubs.asm, sched/segments.c, and FS_BASE in sched/thread.c. See spec/sched.md, invariant 4 and "Hardware
 * facts".
 *
 * Threads in ring 3 have no process here, but for where one is needed, so that they can be kept to a processor. Their
 * programs look at what they have themselves and end with a breakpoint, whose handler keeps the registers for the test.
 *
 * A program finds 0 in its selectors after it was away, and if it was not that is nobody's business. It tells by the
 * word TURNS, which whoever runs on its processor adds to: it reads that after it has loaded its selectors, and if it
 * is another later on, somebody else has run in between.
 *
 * We may be stopped at any time, for tens of milliseconds: nothing must be in time. */
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
#define SEED 0x7365676du
#define NEVER UINT64_MAX                /* of rounds: until it is to stop */

#define CODE 0x400000ul                 /* a program's page, and one to write to */
#define DATA 0x600000ul

#define FLAGS_ARITHMETIC 0x8d5ul        /* CF, PF, AF, ZF, SF, OF */
#define FLAGS_FORCED 0x202ul            /* IF, and the one that is always set */
#define FLAG_TF (1ul << 8)
#define FLAG_IF (1ul << 9)
#define FLAG_DF (1ul << 10)
#define FLAG_NT (1ul << 14)
#define FLAG_AC (1ul << 18)
#define FLAGS_SET (FLAG_AC | FLAG_NT | FLAG_DF)                 /* what the programs set: 0x44400 there */
#define FLAGS_CLEAR (FLAGS_SET | FLAG_TF)                       /* in the kernel */

#define MSR_FS_BASE 0xC0000100u
#define MSR_GS_BASE 0xC0000101u
#define MSR_KERNEL_GS_BASE 0xC0000102u  /* while in the kernel: ring 3's */

enum { USER_DS = SEL_USER_DATA | 3, USER_CS = SEL_USER_CODE | 3 };
enum { VEC_DEBUG = 1, VEC_HERE = 0xe0, VECTORS_HERE = 4 };      /* some of those that are left to tests */

#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)
#define OR(word, bits) __atomic_fetch_or(&(word), (bits), __ATOMIC_SEQ_CST)

/* Sleeps until it is so, looking every now and then; whether it is. */
#define COMES(condition) \
	({ \
		const uint64_t begin_ = clock_ns(); \
		while (!(condition) && clock_ns() - begin_ < LONG) \
			(void)thread_park(100 * US); \
		(condition); \
	})

/* The first line that found something wrong, on whatever thread; 0: none did. */
static uint32_t wrong;

static void note_wrong(uint32_t line)
{
	uint32_t none = 0;

	(void)__atomic_compare_exchange_n(&wrong, &none, line, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			note_wrong(__LINE__); \
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

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static uint64_t flags_now(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

static void interrupts_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static void interrupts_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static struct thread *start(enum sched_class cls, uint64_t affinity, void (*fn)(void *), void *arg)
{
	const struct thread_attr attr = { "check", cls, affinity };
	struct thread *t = NULL;

	return thread_create(&attr, fn, arg, &t) ? NULL : t;
}

/* ---- what the kernel is to have ---- */

#define SELECTOR(name) \
	({ \
		uint32_t is_; \
		__asm__ volatile("movl %%" name ", %0" : "=r"(is_) : : "memory"); \
		is_ & 0xffff; \
	})

enum {
	ODD_FLAGS = 1, ODD_DS = 2, ODD_ES = 4, ODD_SS = 8, ODD_FS = 16, ODD_GS = 32,
	ODD_GS_BASE = 64,                       /* not this processor's */
	ODD_USER_GS_BASE = 128,                 /* what ring 3 is to have as its own is not in the lower half */
};

/* What of that somebody found who is to have the kernel's; ever. */
static uint32_t odd;

/* The APIC knows by itself which processor this is. */
static bool is_own_base(void)
{
	const struct cpu *const c = cpu_self();

	return rdmsr(MSR_GS_BASE) == (uint64_t)c && cpu_get(c->index) == c && c->apic_id == apic_id();
}

/* By a thread without a space, or with one but not from ring 3 since it was away; and by interrupts of such. */
static void look(void)
{
	const uint64_t flags = flags_now();
	uint32_t is = 0;

	interrupts_off();
	is |= flags & FLAGS_CLEAR ? ODD_FLAGS : 0;
	is |= SELECTOR("ds") != SEL_KERNEL_DATA ? ODD_DS : 0;
	is |= SELECTOR("es") != SEL_KERNEL_DATA ? ODD_ES : 0;
	is |= SELECTOR("ss") != SEL_KERNEL_DATA ? ODD_SS : 0;
	is |= SELECTOR("fs") != 0 ? ODD_FS : 0;
	is |= SELECTOR("gs") != 0 ? ODD_GS : 0;
	is |= !is_own_base() ? ODD_GS_BASE : 0;
	is |= rdmsr(MSR_KERNEL_GS_BASE) >= USER_END ? ODD_USER_GS_BASE : 0;
	OR(odd, is);
	if (flags & FLAG_IF)
		interrupts_on();
}

/* ---- programs: all of them are in one page, and each begins at its name ---- */

#define READ_SELECTORS \
	"mov %ds, %eax\nmov %es, %ecx\nor %ecx, %eax\nmov %fs, %ecx\nor %ecx, %eax\nmov %gs, %ecx\nor %ecx, %eax\n"

/* One of the eight in the table, by the lowest bits of RDX, which are used up. */
#define LOAD_BY_CHANCE(sreg) \
	"mov %edx, %ecx\nand $7, %ecx\nmovzwl 0x600010(,%rcx,2), %eax\nmov %eax, %" sreg "\nshr $3, %edx\n"

#define LOAD_R8(sreg) "mov %r8d, %" sreg "\n"

extern const char programs[], programs_end[], code_roam[], code_keep[], code_zero[], code_flags[], code_spin[],
	code_sleep[], code_slept[], code_fault[];

__asm__(".section .rodata\nprograms:\n"
	/* Loads any selectors, is away, and has none then; and still its flags.
	 * In: RBX its state, R9 and R10 by which it becomes the next; R14 how often; RBP what it does first of 0 spin,
	 * 1 yield, 2 sleep; R8 a bit of: 1 never loads any, and never has any, 2 yields only, 4 sleeps only.
	 * Out: R13 how often it was away, R12 what it found then, or before: 1 and 2 selectors, 4 flags. */
	"code_roam:\n"
	"pushfq\norq $0x44400, (%rsp)\npopfq\n"
	"1: test $1, %r8d\njz 2f\n"
	READ_SELECTORS
	"test %eax, %eax\njz 3f\nor $1, %r12d\njmp 3f\n"
	"2: imul %r9, %rbx\nadd %r10, %rbx\nmov %rbx, %rdx\nshr $40, %rdx\n"
	LOAD_BY_CHANCE("ds") LOAD_BY_CHANCE("es") LOAD_BY_CHANCE("fs") LOAD_BY_CHANCE("gs")
	"3: mov 0x600008, %r15\n"
	"test $2, %r8d\njnz 5f\ntest $4, %r8d\njnz 6f\n"
	"cmp $1, %ebp\nje 5f\nja 6f\n"
	"mov $100000, %ecx\n4: cmp %r15, 0x600008\njne 7f\ndec %ecx\njnz 4b\njmp 7f\n"
	"5: mov $2, %eax\nsyscall\njmp 7f\n"                                    /* SYS_YIELD */
	"6: mov $3, %eax\nmov $25000, %edi\nsyscall\n"                          /* SYS_SLEEP */
	"7: cmp %r15, 0x600008\nje 9f\n"
	READ_SELECTORS
	"test %eax, %eax\njz 8f\nor $2, %r12d\n"
	"8: pushfq\npop %rax\nnot %rax\ntest $0x44400, %eax\njz 8f\nor $4, %r12d\n"
	"8: inc %r13\ninc %ebp\ncmp $3, %ebp\njb 8f\nxor %ebp, %ebp\n"
	"8: cmp %r14, %r13\njae 10f\n"
	"9: incq 0x600008\ncmpl $0, 0x600000\nje 1b\n"
	"10: incq 0x600008\nint3\nud2\n"

	/* Has an FS base, where R9 is at 8, and loads R8 into all the others, again and again: spins RBX times, and
	 * calls R10 with RDI, in turn. A thread of a process ends, one without a process comes to the breakpoint.
	 * In: RSI where R13, the count of rounds, is written to. */
	"code_keep:\n"
	"1: cmp %r9, %fs:8\njne 9f\n"
	LOAD_R8("ds") LOAD_R8("es") LOAD_R8("gs")
	"test $1, %r13d\njz 2f\nmov %ebx, %ecx\n4: loop 4b\njmp 3f\n"
	"2: mov %r10d, %eax\nsyscall\n"
	"3: cmp %r9, %fs:8\njne 9f\n"
	"inc %r13\nmov %r13, (%rsi)\ncmpl $0, 0x600000\nje 1b\n"
	"mov $11, %eax\nsyscall\nint3\n"                                        /* SYS_THREAD_EXIT */
	"9: ud2\n"

	/* The same with R8 in FS as well, whose base is 0 from then on: R9 is at 0x600020. */
	"code_zero:\n"
	"1: "
	LOAD_R8("ds") LOAD_R8("es") LOAD_R8("fs") LOAD_R8("gs")
	"cmp %r9, %fs:0x600020\njne 9f\n"
	"test $1, %r13d\njz 2f\nmov %ebx, %ecx\n4: loop 4b\njmp 3f\n"
	"2: mov %r10d, %eax\nsyscall\n"
	"3: cmp %r9, %fs:0x600020\njne 9f\n"
	"inc %r13\nmov %r13, (%rsi)\ncmpl $0, 0x600000\nje 1b\n"
	"mov $11, %eax\nsyscall\nint3\n"
	"9: ud2\n"

	/* The flags R13, at the breakpoint; R12 is what they were after the one before. */
	"code_flags:\n"
	"1: push %r13\npopfq\nnop\nint3\npushfq\npop %r12\njmp 1b\n"

	/* The flags R15, mostly while it spins; R12 has a bit of all that came back other than it should. RSI as
	 * above. */
	"code_spin:\n"
	"1: push %r15\npopfq\nmov $300, %ecx\n2: loop 2b\npushfq\npop %rax\nxor %r15, %rax\nor %rax, %r12\n"
	"inc %r13\nmov %r13, (%rsi)\ncmpl $0, 0x600000\nje 1b\nint3\nud2\n"

	/* Sleeps RDI nanoseconds with the flags R15; R12 is what they are then. */
	"code_sleep:\n"
	"push %r15\npopfq\nmov $3, %eax\nsyscall\n"
	"code_slept:\n"
	"pushfq\npop %r12\nint3\nud2\n"

	/* Sets flags, loads R8, R9, R10 and R12, says so, and does what ends in exception RDI, or spins. */
	"code_fault:\n"
	"pushfq\norq $0x44400, (%rsp)\npopfq\n"
	"mov %r8d, %ds\nmov %r9d, %es\nmov %r10d, %fs\nmov %r12d, %gs\nmovq $1, 0x600008\n"
	"cmp $0, %edi\nje 1f\ncmp $3, %edi\nje 3f\ncmp $6, %edi\nje 6f\ncmp $13, %edi\nje 13f\ncmp $14, %edi\nje 14f\n"
	"2: jmp 2b\n"
	"1: xor %ecx, %ecx\nxor %edx, %edx\nmov $1, %eax\ndiv %ecx\n"
	"3: int3\n"
	"6: ud2\n"
	"13: hlt\n"
	"14: mov 0x10, %eax\n"
	"programs_end:\n.previous\n");

#define ENTRY(name) (CODE + (uintptr_t)(name) - (uintptr_t)programs)

/* Words of the data page. */
enum { STOP = 0, TURNS = 1, TABLE = 2, AT_20 = 4, COUNTERS = 8, BASES = 128, BASE_WORDS = 8 };
#define BASE(i) (DATA + (BASES + (i) * BASE_WORDS) * 8ul)       /* an FS base for user i; beside it lies VALUE(i) */
#define VALUE(i) (0x5f5f00000000ul + (i))
#define VALUE_AT_20 0x2020202020202020ul
#define COUNTER(i) (DATA + (COUNTERS + (i)) * 8ul)
#define STACK(i) (DATA + 0x800ul + ((i) + 1) * 0x80ul)

/* Null ones with each RPL among them. */
static const uint16_t selectors[8] = { USER_DS, USER_CS, 1, 2, 3, 0, USER_DS, USER_CS };

enum { USERS = 12 };
_Static_assert(BASES * 8 + USERS * BASE_WORDS * 8 <= 0x800 && 0x800 + USERS * 0x80 <= PAGE_SIZE, "all is in one page");

static void *at_user(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? NULL : (char *)phys_to_virt(e.pa) + (va - e.va);
}

static void fill_data(uint64_t *data)
{
	memcpy(&data[TABLE], selectors, sizeof selectors);
	data[AT_20] = VALUE_AT_20;
	for (unsigned i = 0; i < USERS; i++)
		data[BASES + i * BASE_WORDS + 1] = VALUE(i);
}

static bool load_programs(struct vmspace *vs)
{
	vaddr_t code = CODE;

	if (vmspace_map_anon(vs, &code, PAGE_SIZE, VM_EXEC))
		return false;
	memcpy(at_user(vs, CODE), (const void *)programs, (uintptr_t)programs_end - (uintptr_t)programs);
	return true;
}

/* ---- places: a processor, and two spaces that share the data page, for those who are kept there ---- */

static struct place {
	struct vmspace *vs[2];
	uint64_t *data;                         /* by the direct map */
	uint64_t affinity;
	uint32_t over;                          /* those who look are to end */
} places[2];                                    /* of the boot processor, and of the last */

static unsigned place_count(void)
{
	return cpu_count() > 1 ? 2 : 1;
}

static bool make_place(struct place *pl, unsigned cpu)
{
	vaddr_t data = DATA;
	struct pt_entry e;
	paddr_t frame;

	pl->affinity = 1ul << cpu;
	if (vmspace_create(0, &pl->vs[0]) || vmspace_create(0, &pl->vs[1]) || !load_programs(pl->vs[0]) ||
	    !load_programs(pl->vs[1]) || vmspace_map_anon(pl->vs[0], &data, PAGE_SIZE, VM_WRITE) ||
	    vmspace_translate(pl->vs[0], DATA, &e))
		return false;
	frame = e.pa + (DATA - e.va);
	pl->data = phys_to_virt(frame);
	fill_data(pl->data);
	return vmspace_map_frames(pl->vs[1], &data, &frame, 1, VM_WRITE, true) == 0;
}

static bool unmake_place(struct place *pl)
{
	bool gone = true;

	for (unsigned i = 2; i--;)
		if (pl->vs[i])
			gone &= vmspace_destroy(pl->vs[i]) == 0;
	memset(pl, 0, sizeof *pl);
	return gone;
}

static void stop_all(void)
{
	for (unsigned k = 0; k < 2; k++)
		if (places[k].data)
			SET(*(uint32_t *)&places[k].data[STOP], 1);
}

/* ---- threads in ring 3 ---- */

static struct user {
	struct thread *thread;                  /* NULL: there is none */
	struct vmspace *vs;
	void (*step)(struct user *u, struct trap_frame *f);     /* at a breakpoint; NULL: its first is its end */
	struct user_regs regs;                  /* what it is entered with */
	struct trap_frame last;                 /* what it had at its last breakpoint */
	uint64_t random, told, had;
	uint32_t steps;                         /* breakpoints up to now */
	bool over;                              /* it is to end */
} users[USERS];

/* What handlers found. */
static struct {
	uint64_t flags;                         /* that were set in one, ever */
	uint32_t came, user, bad;               /* user: from ring 3 after it had set flags; bad: not in the frame */
	uint32_t vectors;
	uint32_t strange;                       /* on another processor than cpu_self() has it */
} seen;

static struct user *user_of(const struct thread *t)
{
	for (unsigned i = 0; i < USERS; i++)
		if (GET(users[i].thread) == t)
			return &users[i];
	return NULL;
}

/* Word by word: should DF be set, against all that is right, nothing runs backwards. */
static void keep_frame(struct trap_frame *to, const struct trap_frame *from)
{
	for (size_t i = 0; i < sizeof *to / 8; i++)
		((volatile uint64_t *)to)[i] = ((const volatile uint64_t *)from)[i];
}

static void at_breakpoint(struct trap_frame *f)
{
	const uint64_t flags = flags_now();
	struct user *const u = user_of(thread_current());

	OR(seen.flags, flags);
	CHECK((f->cs & 3) == 3);
	CHECK((f->rflags & 0x3200) == FLAG_IF);                 /* IOPL 0 */
	CHECK(rdmsr(MSR_KERNEL_GS_BASE) < USER_END && is_own_base());
	CHECK(u != NULL);
	if (u) {
		u->steps++;
		keep_frame(&u->last, f);
		if (u->step)
			u->step(u, f);
	}
	if (!u || !u->step || u->over) {
		interrupts_on();
		thread_exit(0);
	}
}

static void go(void *arg)
{
	struct user *const u = arg;
	struct user_regs regs = u->regs;

	SET(u->thread, thread_current());
	thread_set_space(thread_current(), u->vs);
	(void)user_enter(&regs);
	CHECK(!"it is entered");
}

/* Begins users[i], whose other registers are set, in space s of place k and on its processor. */
static struct thread *lead(unsigned i, unsigned k, unsigned s, enum sched_class cls, const char *program)
{
	struct user *const u = &users[i];

	u->vs = places[k].vs[s];
	u->regs.rip = ENTRY(program);
	u->regs.rsp = STACK(i);
	u->regs.rsi = COUNTER(i);
	return start(cls, places[k].affinity, go, u);
}

enum { ROAM_PLAIN = 1, ROAM_YIELDS = 2, ROAM_SLEEPS = 4 };

static struct thread *lead_roam(unsigned i, unsigned k, unsigned s, enum sched_class cls, unsigned mode, uint64_t times)
{
	struct user_regs *const r = &users[i].regs;

	r->rbx = SEED * (i + 1ul);
	r->r9 = 6364136223846793005;
	r->r10 = 2 * i + 1;
	r->r14 = times;
	r->rbp = i % 3;
	r->r8 = mode;
	return lead(i, k, s, cls, code_roam);
}

static void keep_regs(unsigned i, struct user_regs *r)
{
	r->rsi = COUNTER(i);
	r->rsp = STACK(i);
	r->rip = ENTRY(code_keep);
	r->rbx = 500;
	r->r10 = SYS_YIELD;
	r->r8 = i & 1 ? USER_DS : USER_CS;
	r->r9 = VALUE(i);
	r->fs_base = BASE(i);
}

/* It begins with a base, which it then loses. */
static void zero_regs(unsigned i, struct user_regs *r)
{
	keep_regs(i, r);
	r->rip = ENTRY(code_zero);
	r->r9 = VALUE_AT_20;
}

static struct thread *lead_keep(unsigned i, unsigned k, unsigned s)
{
	keep_regs(i, &users[i].regs);
	return lead(i, k, s, CLASS_NORMAL, code_keep);
}

static struct thread *lead_zero(unsigned i, unsigned k, unsigned s)
{
	zero_regs(i, &users[i].regs);
	return lead(i, k, s, CLASS_NORMAL, code_zero);
}

static struct thread *lead_spin(unsigned i)
{
	users[i].regs.r15 = FLAGS_SET | FLAGS_FORCED | FLAGS_ARITHMETIC;
	return lead(i, 0, 0, CLASS_NORMAL, code_spin);
}

static uint64_t counter(unsigned k, unsigned i)
{
	return GET(places[k].data[COUNTERS + i]);
}

/* What it ended with, 0 if all is well. If it does not end all are to stop, and it has not ended well. */
static int end_of(struct thread *t)
{
	int code = -1;

	if (!t)
		return -1;
	if (thread_join(t, LONG, &code) == 0)
		return code;
	stop_all();
	(void)thread_join(t, LONG, NULL);
	return -1;
}

/* ---- begin and end of a test ---- */

/* As the processor has them in the kernel; what the kernel left is looked at already. Interrupts are off. */
static void tidy(void *arg)
{
	(void)arg;
	__asm__ volatile("movl %0, %%ss\n\tmovl %0, %%ds\n\tmovl %0, %%es\n\tmovl %1, %%fs\n\t"
		"swapgs\n\tmovl %1, %%gs\n\tswapgs"
		: : "r"(SEL_KERNEL_DATA), "r"(0) : "memory");
}

static bool close_all(void)
{
	bool gone = true;

	trap_clear_handler(VEC_BREAKPOINT);
	look();
	__asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(-1 - (int)FLAGS_CLEAR) : "memory", "cc");
	(void)cpu_on_each(tidy, NULL);
	for (unsigned k = 0; k < 2; k++)
		gone &= unmake_place(&places[k]);
	return gone;
}

static bool open_all(void)
{
	memset(users, 0, sizeof users);
	memset(places, 0, sizeof places);
	memset(&seen, 0, sizeof seen);
	wrong = odd = 0;
	if (make_place(&places[0], 0) && make_place(&places[1], cpu_count() - 1) &&
	    trap_set_handler(VEC_BREAKPOINT, at_breakpoint) == 0)
		return true;
	(void)unmake_place(&places[0]);
	(void)unmake_place(&places[1]);
	return false;
}

/* ---- kernel threads that look ---- */

static struct looker {
	struct thread *thread;
	struct place *place;
	uint32_t looks;
} lookers[4];

/* Takes turns with the programs; is preempted now and then. */
static void look_by_turns(void *arg)
{
	struct looker *const l = arg;

	while (!GET(l->place->over)) {
		for (unsigned i = 0; i < 4; i++)
			look();
		ADD(l->looks, 1);
		ADD(l->place->data[TURNS], 1);
		thread_yield();
	}
}

/* Takes the place of one in the midst of anything. */
static void look_at_times(void *arg)
{
	struct looker *const l = arg;

	while (!GET(l->place->over)) {
		(void)thread_park(40 * US);
		look();
		ADD(l->looks, 1);
		ADD(l->place->data[TURNS], 1);
	}
}

static void begin_looking(void)
{
	memset(lookers, 0, sizeof lookers);
	for (unsigned i = 0; i < 2 * place_count(); i++) {
		struct looker *const l = &lookers[i];

		l->place = &places[i / 2];
		l->thread = i & 1 ? start(CLASS_KERNEL, l->place->affinity, look_at_times, l) :
			start(CLASS_NORMAL, l->place->affinity, look_by_turns, l);
	}
}

/* Whether all of them have looked, and ended. */
static bool end_looking(void)
{
	bool have = true;

	SET(places[0].over, 1);
	SET(places[1].over, 1);
	for (unsigned i = 0; i < 2 * place_count(); i++)
		have &= end_of(lookers[i].thread) == 0 && lookers[i].looks > 0;
	return have;
}

/* ---- flags: breakpoints, and single steps ---- */

static uint32_t single_steps;

/* After the instruction behind popfq. */
static void at_single_step(struct trap_frame *f)
{
	const uint64_t flags = flags_now();
	const struct user *const u = user_of(thread_current());

	OR(seen.flags, flags);
	CHECK(u && (f->rflags & (FLAGS_CLEAR | FLAGS_ARITHMETIC)) == (u->told | FLAG_TF));
	f->rflags &= ~FLAG_TF;
	single_steps++;
}

static void change_flags(struct user *u, struct trap_frame *f)
{
	const uint64_t mask = FLAGS_CLEAR | FLAGS_ARITHMETIC;

	CHECK((f->rflags & mask) == u->told);
	CHECK(u->steps == 1 || (f->r12 & mask) == u->had);
	u->had = f->rflags & mask;
	u->told = next(&u->random) & (FLAGS_SET | FLAGS_ARITHMETIC);
	f->r13 = u->told | FLAGS_FORCED | (u->steps % 3 ? 0 : FLAG_TF);
	u->over = u->steps == 150;
}

KTEST(sched, check_segments_flags_breakpoint)
{
	uint32_t steps;
	int taken, code;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	single_steps = 0;
	users[0].random = SEED;
	users[0].step = change_flags;
	users[0].told = FLAGS_SET;
	users[0].regs.r13 = FLAGS_SET | FLAGS_FORCED;
	taken = trap_set_handler(VEC_DEBUG, at_single_step);
	code = taken ? -1 : end_of(lead(0, 0, 0, CLASS_NORMAL, code_flags));
	if (!taken)
		trap_clear_handler(VEC_DEBUG);
	steps = users[0].steps;
	gone = close_all();
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(seen.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	KASSERT_EQ(steps, 150);
	KASSERT_EQ(single_steps, 49);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- flags: interrupts ---- */

static void note_frame(const struct trap_frame *f)
{
	if ((f->cs & 3) == 3 && f->r13) {
		if ((f->rflags & FLAGS_SET) != FLAGS_SET || !(f->rflags & FLAG_IF))
			ADD(seen.bad, 1);
		ADD(seen.user, 1);
	}
}

static void at_vector(struct trap_frame *f)
{
	const uint64_t flags = flags_now();

	apic_eoi();
	OR(seen.flags, flags);
	if ((f->cs & 3) == 3)
		OR(seen.vectors, 1u << (f->vector - VEC_HERE));
	note_frame(f);
}

static struct {
	struct timer timer;
	uint64_t random;
	uint32_t stop, idle;
	uint64_t flags;                         /* that were set in it, ever */
} pulse;

/* The interrupt comes as soon as this one is over. */
static void pulse_sends(struct timer *timer)
{
	pulse.flags |= flags_now();
	cpu_send(0, (uint8_t)(VEC_HERE + next(&pulse.random) % VECTORS_HERE));
	if (!GET(pulse.stop))
		(void)timer_arm(timer, clock_ns() + 15 * US + next(&pulse.random) % (40 * US), pulse_sends, NULL);
}

/* Where instructions are counted one processor after the other runs, the first up to the next timer, and the others
 * while it is idle: with this they take short turns, also when one waits for what another does. */
static void pulse_beats(struct timer *timer)
{
	if (!GET(pulse.stop))
		(void)timer_arm(timer, clock_ns() + 30 * US + next(&pulse.random) % (30 * US), pulse_beats, NULL);
}

static int begin_pulse(void (*fn)(struct timer *))
{
	memset(&pulse, 0, sizeof pulse);
	pulse.random = SEED;
	return timer_arm(&pulse.timer, clock_ns(), fn, NULL);
}

static void end_pulse(void)
{
	SET(pulse.stop, 1);
	(void)timer_cancel(&pulse.timer);
}

static int take_vectors(trap_handler fn)
{
	int err = 0;

	for (unsigned i = 0; i < VECTORS_HERE; i++)
		err |= trap_set_handler(VEC_HERE + i, fn);
	return err;
}

static void give_vectors(void)
{
	for (unsigned i = 0; i < VECTORS_HERE; i++)
		trap_clear_handler(VEC_HERE + i);
}

KTEST(sched, check_segments_flags_interrupt)
{
	const uint32_t all = (1u << VECTORS_HERE) - 1;
	const uint64_t begin = clock_ns();
	struct user_regs r = { 0 };
	int taken, armed, code, got = -1;
	struct thread *t;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	taken = take_vectors(at_vector);
	t = lead_spin(0);
	armed = begin_pulse(pulse_sends);
	while ((GET(seen.user) < 40 || GET(seen.vectors) != all) && clock_ns() - begin < LONG)
		(void)thread_park(500 * US);            /* it is to be interrupted by others than us */
	end_pulse();
	if (t && counter(0, 0))
		got = user_regs_get(t, &r);             /* it is on this processor, so it does not run */
	stop_all();
	code = end_of(t);
	give_vectors();
	gone = close_all();
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(armed, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(users[0].last.r12, 0);               /* all of them came back */
	KASSERT(seen.user >= 40);
	KASSERT_EQ(seen.vectors, all);
	KASSERT_EQ(seen.bad, 0);
	KASSERT_EQ(seen.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	KASSERT_EQ(pulse.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	KASSERT_EQ(got, 0);
	KASSERT_EQ(r.rflags & FLAGS_SET, FLAGS_SET);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* What is told of one that waits in a call, and what it has after it. */
KTEST(sched, check_segments_flags_call)
{
	struct user_regs r = { 0 };
	struct thread *t;
	bool waits, gone;
	int code;

	KASSERT(open_all());
	users[0].regs.rdi = 1ul << 62;
	users[0].regs.r15 = FLAGS_SET | FLAGS_FORCED;
	t = lead(0, 0, 0, CLASS_NORMAL, code_sleep);
	waits = t && COMES(user_regs_get(t, &r) == 0 && r.rip == ENTRY(code_slept));
	look();                                         /* as it was here before us */
	if (t)
		thread_cancel(t);
	code = end_of(t);
	gone = close_all();
	KASSERT(waits);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(r.rflags & (FLAGS_CLEAR | FLAG_IF), FLAGS_SET | FLAG_IF);
	KASSERT_EQ(users[0].last.rax, (uint64_t)-EAGAIN);
	KASSERT_EQ(users[0].last.r12 & (FLAGS_CLEAR | FLAG_IF), FLAGS_SET | FLAG_IF);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- NMIs ---- */

static struct {
	uint64_t random;
	uint32_t wanted, sent;
	bool anywhere;                          /* to any processor, not only to the first */
} nmis;

/* On the NMI's own stack. With ring 3's GS base here nothing of this would be right. */
static void take_nmi(struct trap_frame *f)
{
	const uint64_t flags = flags_now();

	OR(seen.flags, flags);
	if (!is_own_base())
		ADD(seen.strange, 1);
	note_frame(f);
	ADD(seen.came, 1);
}

/* Each only when the one before it has come. */
static void send_nmis(void *arg)
{
	bool came = true;

	(void)arg;
	while (came && nmis.sent < nmis.wanted) {
		const unsigned to = nmis.anywhere ? (unsigned)(next(&nmis.random) % cpu_count()) : 0;

		apic_command(cpu_get(to)->apic_id, 0x4400);
		nmis.sent++;
		came = COMES(GET(seen.came) >= nmis.sent);
		(void)thread_park(200 + next(&nmis.random) % 3000);
	}
}

/* From another processor, if there is one. What it ended with. */
static int storm_of_nmis(uint32_t wanted, bool anywhere)
{
	memset(&nmis, 0, sizeof nmis);
	nmis.random = SEED;
	nmis.wanted = wanted;
	nmis.anywhere = anywhere;
	return end_of(start(CLASS_KERNEL, places[1].affinity, send_nmis, NULL));
}

KTEST(sched, check_segments_flags_nmi)
{
	enum { NMIS = 60 };
	int taken, code, sent = -1;
	struct thread *t;
	bool begun, gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	taken = trap_set_handler(VEC_NMI, take_nmi);
	t = lead_spin(0);
	begun = COMES(counter(0, 0) > 0);
	if (!taken)
		sent = storm_of_nmis(NMIS, false);
	stop_all();
	code = end_of(t);
	if (!taken)
		trap_clear_handler(VEC_NMI);
	gone = close_all();
	KASSERT_EQ(taken, 0);
	KASSERT(begun);
	KASSERT_EQ(sent, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(seen.came, NMIS);
	KASSERT_EQ(seen.strange, 0);
	KASSERT(seen.user > 0 || cpu_count() == 1);     /* there each comes to who sends it */
	KASSERT_EQ(seen.bad, 0);
	KASSERT_EQ(seen.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	KASSERT_EQ(users[0].last.r12, 0);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* Two of one processor change places, with any selectors, while NMIs come there and elsewhere. */
KTEST(sched, check_segments_nmi)
{
	enum { NMIS = 150, TIMES = 250 };
	int taken, armed, codes = 0, sent = -1;
	struct thread *t[2];
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	armed = begin_pulse(pulse_beats);
	taken = trap_set_handler(VEC_NMI, take_nmi);
	for (unsigned i = 0; i < 2; i++)
		t[i] = lead_roam(i, 0, i, CLASS_NORMAL, ROAM_YIELDS, NEVER);
	if (!taken)
		sent = storm_of_nmis(NMIS, true);
	(void)COMES(GET(places[0].data[TURNS]) >= 3 * TIMES);
	stop_all();
	for (unsigned i = 0; i < 2; i++)
		codes |= end_of(t[i]);
	if (!taken)
		trap_clear_handler(VEC_NMI);
	end_pulse();
	gone = close_all();
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(armed, 0);
	KASSERT_EQ(sent, 0);
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(seen.came, NMIS);
	KASSERT_EQ(seen.strange, 0);
	KASSERT_EQ(seen.bad, 0);
	KASSERT_EQ(seen.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	for (unsigned i = 0; i < 2; i++) {
		KASSERT_EQ(users[i].last.r12, 0);
		KASSERT(users[i].last.r13 >= TIMES);
	}
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- flags of ring 0's own ---- */

static struct {
	uint64_t flags, frames;                 /* that were set in the handler; that were set in all frames */
	uint32_t came;
} own;

static void take_own(struct trap_frame *f)
{
	const uint64_t flags = flags_now();

	own.flags |= flags;
	own.frames &= f->rflags;
	CHECK((f->cs & 3) == 0);
	own.came++;
}

/* Does so with those flags as well, in one piece: nothing else runs with them. The flags right after it. */
#define WITH_FLAGS(set, instruction) \
	({ \
		uint64_t flags_, after_; \
		__asm__ volatile("pushfq\n\tmovq (%%rsp), %0\n\torq %2, %0\n\tpushq %0\n\tpopfq\n\t" instruction \
			"\n\tpushfq\n\tpopq %1\n\tpopfq" : "=&r"(flags_), "=&r"(after_) : "r"(set) : "memory", "cc"); \
		(void)flags_; \
		after_; \
	})

/* Interrupts are off. An NMI that this processor sends to itself comes soon, AC set until then. */
static uint64_t nmi_with_ac(void)
{
	const uint32_t before = own.came;
	uint64_t after;

	__asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(FLAG_AC) : "memory", "cc");
	apic_command(cpu_self()->apic_id, 0x4400);
	for (unsigned i = 0; i < 1000000 && GET(own.came) == before; i++)
		cpu_pause();
	after = flags_now();
	__asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(-1 - (int)FLAG_AC) : "memory", "cc");
	return after;
}

static void trap_with_flags(void *arg)
{
	static const uint64_t sets[] = { FLAG_AC, FLAG_AC | FLAG_NT, FLAG_AC | FLAG_DF, FLAGS_SET };

	(void)arg;
	interrupts_off();
	for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++) {
		const uint64_t set = sets[i];
		const uint32_t before = own.came;

		own.frames = UINT64_MAX;
		CHECK((WITH_FLAGS(set, "int $0xe0") & (FLAGS_CLEAR | FLAG_IF)) == set);
		CHECK((WITH_FLAGS(set, "int3") & (FLAGS_CLEAR | FLAG_IF)) == set);
		CHECK((own.frames & (FLAGS_CLEAR | FLAG_IF)) == set);
		CHECK(own.came == before + 2);
	}
	own.frames = UINT64_MAX;
	CHECK((nmi_with_ac() & (FLAGS_CLEAR | FLAG_IF)) == FLAG_AC);
	CHECK((own.frames & (FLAGS_CLEAR | FLAG_IF)) == FLAG_AC);
	interrupts_on();
	look();
}

KTEST(sched, check_segments_flags_kernel)
{
	static const unsigned vectors[] = { VEC_HERE, VEC_BREAKPOINT, VEC_NMI };
	unsigned taken = 0;
	int codes = 0;

	wrong = odd = 0;
	memset(&own, 0, sizeof own);
	while (taken < 3 && trap_set_handler(vectors[taken], take_own) == 0)
		taken++;
	for (unsigned i = 0; i < cpu_count() && taken == 3; i++)
		codes |= end_of(start(CLASS_NORMAL, 1ul << i, trap_with_flags, NULL));
	for (unsigned i = 0; i < taken; i++)
		trap_clear_handler(vectors[i]);
	KASSERT_EQ(taken, 3);
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(own.came, 9 * cpu_count());
	KASSERT_EQ(own.flags & (FLAGS_CLEAR | FLAG_IF), 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(odd, 0);
}

/* ---- exceptions that end a process ---- */

static struct process *make_process(void)
{
	const struct process_attr attr = { "check", CLASS_NORMAL, 0, 0 };
	vaddr_t data = DATA;
	struct vmspace *vs;
	struct process *p;

	if (process_create(&attr, &p))
		return NULL;
	vs = process_vmspace(p);
	if (load_programs(vs) && vmspace_map_anon(vs, &data, PAGE_SIZE, VM_WRITE) == 0) {
		fill_data(at_user(vs, DATA));
		return p;
	}
	(void)process_kill(p, STATUS_KILLED);
	process_put(p);
	return NULL;
}

/* Its data page by the direct map, to be asked for while it has not ended; to be read even if it has. */
static uint64_t *data_of(struct process *p)
{
	return at_user(process_vmspace(p), DATA);
}

static struct awaiter {
	struct process *process;
	int status;
} awaiters[CPU_MAX];

static void await(void *arg)
{
	struct awaiter *const w = arg;

	look();
	if (process_wait(w->process, LONG, &w->status))
		w->status = -1;
	look();
}

/* Runs one that ends by that vector, or by us, with a thread on each processor that waits for it. Whether all have seen
 * it end so. */
static bool ends_by(unsigned vector, uint64_t *random)
{
	const int expected = vector < 32 ? STATUS_FAULT + (int)vector : STATUS_KILLED;
	const uint64_t chance = next(random) >> 32;
	const struct user_regs regs = {
		.rip = ENTRY(code_fault), .rsp = STACK(0), .rdi = vector, .r8 = selectors[chance % 8],
		.r9 = selectors[chance / 8 % 8], .r10 = selectors[chance / 64 % 8], .r12 = selectors[chance / 512 % 8],
	};
	struct process *const p = make_process();
	struct thread *t[CPU_MAX];
	uint64_t *data;
	bool good = p != NULL;
	int status = -1;

	if (!p)
		return false;
	data = data_of(p);
	for (unsigned i = 0; i < cpu_count(); i++) {
		awaiters[i] = (struct awaiter){ p, -1 };
		t[i] = start(CLASS_KERNEL, 1ul << i, await, &awaiters[i]);
	}
	good &= process_add_thread(p, &regs) == 0;
	if (vector >= 32) {
		good &= COMES(GET(data[TURNS]) == 1);
		good &= process_kill(p, STATUS_KILLED) == 0;
	}
	good &= process_wait(p, LONG, &status) == 0 && status == expected;
	look();
	if (!good)
		(void)process_kill(p, STATUS_KILLED);
	for (unsigned i = 0; i < cpu_count(); i++)
		good &= end_of(t[i]) == 0 && awaiters[i].status == expected;
	process_put(p);
	return good;
}

KTEST(sched, check_segments_faults)
{
	static const unsigned vectors[] = { VEC_DIVIDE, VEC_BREAKPOINT, VEC_OPCODE, VEC_GP, VEC_PAGE_FAULT, 32 };
	uint64_t random = SEED;
	unsigned ended = 0;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	trap_clear_handler(VEC_BREAKPOINT);             /* that ends one, too */
	for (unsigned i = 0; i < 12; i++)
		ended += ends_by(vectors[i % 6], &random);
	gone = close_all();
	KASSERT_EQ(ended, 12);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- selectors ---- */

KTEST(sched, check_segments_selectors)
{
	enum { EACH = 5, TIMES = 30 };
	static const struct { unsigned space, mode; enum sched_class cls; } kinds[EACH] = {
		{ 0, 0, CLASS_NORMAL }, { 0, 0, CLASS_INTERACTIVE }, { 1, 0, CLASS_NORMAL },
		{ 0, ROAM_PLAIN, CLASS_NORMAL }, { 1, ROAM_PLAIN, CLASS_NORMAL },
	};
	struct thread *t[2 * EACH];
	bool looked, gone;
	int codes = 0;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	begin_looking();
	for (unsigned i = 0; i < place_count() * EACH; i++)
		t[i] = lead_roam(i, i / EACH, kinds[i % EACH].space, kinds[i % EACH].cls, kinds[i % EACH].mode, TIMES);
	for (unsigned i = 0; i < place_count() * EACH; i++)
		codes |= end_of(t[i]);
	looked = end_looking();
	gone = close_all();
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < place_count() * EACH; i++) {
		KASSERT_EQ(users[i].last.r12, 0);
		KASSERT_EQ(users[i].last.r13, TIMES);
	}
	KASSERT(looked);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* Looks in the idle thread's place: what interrupts it has what it has. */
static void pulse_looks(struct timer *timer)
{
	if (thread_ent(thread_current())->cls == CLASS_IDLE) {
		look();
		ADD(pulse.idle, 1);
		ADD(places[0].data[TURNS], 1);
	}
	if (!GET(pulse.stop))
		(void)timer_arm(timer, clock_ns() + 8 * US + next(&pulse.random) % (20 * US), pulse_looks, NULL);
}

/* A program that sleeps leaves its processor to nobody but the idle thread. */
KTEST(sched, check_segments_idle)
{
	enum { TIMES = 25 };
	struct thread *t;
	int armed, code;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	t = lead_roam(0, 0, 0, CLASS_NORMAL, ROAM_SLEEPS, TIMES);
	armed = begin_pulse(pulse_looks);
	code = end_of(t);
	end_pulse();
	gone = close_all();
	KASSERT_EQ(armed, 0);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(users[0].last.r12, 0);
	KASSERT_EQ(users[0].last.r13, TIMES);
	KASSERT(pulse.idle >= TIMES);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- FS base ---- */

/* Two with a base, of one space each, one without that has loaded FS, and one that loads anything. What is told of
 * those that are away is theirs, and they are: this is the only processor they may run on. */
KTEST(sched, check_segments_fs_base)
{
	enum { THREADS = 4, TIMES = 300, LOOKS = 15 };
	const uint64_t begin = clock_ns();
	struct thread *t[THREADS];
	unsigned looks = 0, other = 0;
	uint64_t least = 0;
	int codes = 0;
	bool gone;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	t[0] = lead_keep(0, 0, 0);
	t[1] = lead_keep(1, 0, 1);
	t[2] = lead_zero(2, 0, 0);
	t[3] = lead_roam(3, 0, 1, CLASS_NORMAL, ROAM_YIELDS, NEVER);
	while ((least < TIMES || looks < LOOKS) && clock_ns() - begin < LONG) {
		(void)thread_park(150 * US);
		least = UINT64_MAX;
		for (unsigned i = 0; i < 3; i++) {
			const uint64_t count = counter(0, i), base = i < 2 ? BASE(i) : 0;
			struct user_regs r = { 0 };

			least = count < least ? count : least;
			if (!t[i] || !count)
				continue;
			looks++;
			other += thread_fs_base(t[i]) != base;
			other += user_regs_get(t[i], &r) != 0 || r.fs_base != base;
		}
	}
	stop_all();
	for (unsigned i = 0; i < THREADS; i++)
		codes |= end_of(t[i]);
	gone = close_all();
	KASSERT_EQ(codes, 0);                           /* one that finds another base has an exception */
	KASSERT_EQ(wrong, 0);
	KASSERT(least >= TIMES);
	KASSERT(looks >= LOOKS);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(users[3].last.r12, 0);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

static uint64_t migrations_of(struct thread *t)
{
	struct thread_stats stats;

	thread_get_stats(t, &stats);
	return stats.migrations;
}

/* From one processor to the other, if there are two, and each has one of its own that loads any selectors. */
KTEST(sched, check_segments_fs_base_moved)
{
	enum { MOVES = 40, ROUNDS = 20, MIGRATIONS = 10 };
	const uint64_t begin = clock_ns();
	struct thread *t[2], *roam[2];
	uint64_t random = SEED;
	bool enough = false, looked, gone;
	unsigned refused = 0;
	int codes = 0;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	begin_looking();
	t[0] = lead_keep(0, 0, 0);
	t[1] = lead_zero(1, 0, 1);
	for (unsigned k = 0; k < place_count(); k++)
		roam[k] = lead_roam(2 + k, k, 0, CLASS_NORMAL, 0, NEVER);
	for (unsigned i = 0; t[0] && t[1] && (i < MOVES || !enough) && clock_ns() - begin < LONG; i++) {
		for (unsigned j = 0; j < 2; j++)
			refused += thread_set_affinity(t[j], places[(i + j) % 2].affinity) != 0;
		(void)thread_park(20 * US + next(&random) % (60 * US));
		enough = counter(0, 0) >= ROUNDS && counter(0, 1) >= ROUNDS && (cpu_count() == 1 ||
			(migrations_of(t[0]) >= MIGRATIONS && migrations_of(t[1]) >= MIGRATIONS));
	}
	stop_all();
	for (unsigned j = 0; j < 2; j++)
		codes |= end_of(t[j]);
	for (unsigned k = 0; k < place_count(); k++)
		codes |= end_of(roam[k]);
	looked = end_looking();
	gone = close_all();
	KASSERT_EQ(codes, 0);                           /* one that finds another base has an exception */
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(refused, 0);
	KASSERT(enough);
	for (unsigned k = 0; k < place_count(); k++)
		KASSERT_EQ(users[2 + k].last.r12, 0);
	KASSERT(looked);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* Of a process whose thread 0 has a base, and thread 1 has loaded FS: what of the next is wrong. */
static unsigned bases_told(struct process *p)
{
	struct user_regs r[2] = { 0 };
	unsigned other = 0;

	other += process_get_regs(p, 0, &r[0]) != 0 || process_get_regs(p, 1, &r[1]) != 0;
	other += r[0].fs_base != BASE(0);
	other += r[1].fs_base != 0;
	return other;
}

static bool has_ended(struct process *p)
{
	return process_wait(p, TIMEOUT_NOW, NULL) == 0;
}

/* Whether both threads go on. */
static bool goes_on(struct process *p, const uint64_t *data)
{
	const uint64_t was[2] = { GET(data[COUNTERS]), GET(data[COUNTERS + 1]) };

	(void)COMES(has_ended(p) || (GET(data[COUNTERS]) >= was[0] + 5 && GET(data[COUNTERS + 1]) >= was[1] + 5));
	return !has_ended(p) && GET(data[COUNTERS]) >= was[0] + 5 && GET(data[COUNTERS + 1]) >= was[1] + 5;
}

/* Whether both end as they are to, when they are told to stop. */
static bool ends_well(struct process *p, uint64_t *data)
{
	int status = -1;

	if (!has_ended(p))
		SET(*(uint32_t *)&data[STOP], 1);
	if (process_wait(p, LONG, &status)) {
		(void)process_kill(p, STATUS_KILLED);
		(void)process_wait(p, LONG, NULL);
	}
	process_put(p);
	return status == 0;
}

static uint64_t image[3 * PAGE_SIZE / 8];

KTEST(sched, check_segments_fs_base_snapshot)
{
	const struct process_attr attr = { "check again", CLASS_NORMAL, 0, 0 };
	const unsigned at = 40 / 8, words = sizeof(struct user_regs) / 8;
	struct user_regs r[2] = { { 0 }, { 0 } };
	uint64_t *data, *restored = NULL;
	struct process *p, *q = NULL;
	bool went, well = true, gone;
	unsigned other = 0;
	struct thread *t;
	size_t len = 0;
	int err, code;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	p = make_process();
	if (!p)
		(void)close_all();
	KASSERT(p != NULL);
	data = data_of(p);
	err = begin_pulse(pulse_beats);
	t = lead_roam(2, 0, 0, CLASS_NORMAL, ROAM_SLEEPS, NEVER);
	keep_regs(0, &r[0]);
	zero_regs(1, &r[1]);
	for (unsigned i = 0; i < 2; i++) {
		r[i].rbx = 10000;
		r[i].r10 = SYS_SLEEP;
		r[i].rdi = 5 * US;
		err |= process_add_thread(p, &r[i]);
	}
	went = goes_on(p, data);
	for (unsigned i = 0; i < 4 && went && !err; i++) {
		len = sizeof image;
		err |= process_stop(p);
		other += bases_told(p);
		err |= snapshot_save(p, image, &len);
		other += image[at + words - 1] != BASE(0);
		other += image[at + 2 * words - 1] != 0;
		err |= process_resume(p);
		look();
		went = goes_on(p, data);
	}
	if (went && !err)
		err = snapshot_restore(image, len, &attr, &q);
	if (q) {
		restored = data_of(q);
		other += bases_told(q);
		err |= process_resume(q);
		went &= goes_on(q, restored) && goes_on(p, data);
		well &= ends_well(q, restored);
	}
	well &= ends_well(p, data);
	stop_all();
	code = end_of(t);
	end_pulse();
	gone = close_all();
	KASSERT_EQ(err, 0);
	KASSERT_EQ(other, 0);
	KASSERT(went);                                  /* one that finds another base has an exception */
	KASSERT(q != NULL);
	KASSERT(well);
	KASSERT_EQ(code, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(users[2].last.r12, 0);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}

/* ---- a kernel thread that enters a space, and leaves it ---- */

static struct changer {
	struct vmspace *vs;
	uint64_t random;
	uint32_t rounds;
} changers[2];

/* As a program has it. To load FS clears its base. */
static void load_user_selectors(bool fs_too)
{
	__asm__ volatile("movl %0, %%ds\n\tmovl %0, %%es" : : "r"(USER_DS) : "memory");
	if (fs_too)
		__asm__ volatile("movl %0, %%fs" : : "r"(USER_DS) : "memory");
}

/* Preemption is off while it has selectors of its own: of a switch between threads without a space nobody says that it
 * loads any. */
static void change_spaces(void *arg)
{
	struct changer *const c = arg;
	struct thread *const self = thread_current();
	uint64_t last = 0;

	for (c->rounds = 0; c->rounds < 60; c->rounds++) {
		const uint64_t base = next(&c->random) % USER_END;

		preempt_disable();
		load_user_selectors(true);
		thread_set_space(self, c->vs);
		look();
		CHECK(thread_fs_base(self) == last && rdmsr(MSR_FS_BASE) == last);
		wrmsr(MSR_FS_BASE, base);
		load_user_selectors(false);
		thread_set_space(self, NULL);
		look();
		load_user_selectors(true);
		thread_set_space(self, c->vs);
		look();
		CHECK(thread_fs_base(self) == base && rdmsr(MSR_FS_BASE) == base);
		preempt_enable();
		if (c->rounds % 4)
			thread_yield();
		else
			(void)thread_park(20 * US);
		look();
		CHECK(thread_fs_base(self) == base && rdmsr(MSR_FS_BASE) == base);
		preempt_disable();
		load_user_selectors(false);
		thread_set_space(self, NULL);
		look();
		preempt_enable();
		last = base;
	}
}

KTEST(sched, check_segments_set_space)
{
	struct thread *t[2], *roam;
	bool looked, gone;
	int codes = 0;

	ktest_note("seed", SEED);
	KASSERT(open_all());
	begin_looking();
	roam = lead_roam(0, 0, 0, CLASS_NORMAL, ROAM_YIELDS, NEVER);
	for (unsigned i = 0; i < 2; i++) {
		changers[i] = (struct changer){ places[0].vs[i], SEED + i, 0 };
		t[i] = start(CLASS_NORMAL, HERE, change_spaces, &changers[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		codes |= end_of(t[i]);
	stop_all();
	codes |= end_of(roam);
	looked = end_looking();
	gone = close_all();
	KASSERT_EQ(codes, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(changers[0].rounds, 60);
	KASSERT_EQ(changers[1].rounds, 60);
	KASSERT_EQ(users[0].last.r12, 0);
	KASSERT(looked);
	KASSERT_EQ(odd, 0);
	KASSERT(gone);
}
