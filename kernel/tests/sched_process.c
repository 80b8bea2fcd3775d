/* Further tests of sched/process.c and process_calls.c: what others do to a process while its threads are at anything,
 * its memory against a model, limits, the first of many ends, and that all is back. See spec/sched.md, "Processes",
 * "What bad input gets", include/process.h and invariant 5.
 *
 * A page that each process has borrowed is ours: programs count there, and what they left is read when they are gone.
 * Where a program is to do what C decides it is `int3` and `syscall`, and the breakpoint has a handler here.
 *
 * We may be stopped at any time, for tens of milliseconds: nothing here must be in time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "process.h"
#include "sched.h"
#include "string.h"
#include "syscall.h"

#define US 1000ul
#define MS 1000000ul
#define LONG (4000 * MS)                /* what takes so long does not come any more */
#define SEED 0x70726f63u
#define AGENT 0x4147454eu

#define CODE 0x400000ul                 /* a program's page, and the one that it shares with us */
#define DATA 0x600000ul
#define STACK (USER_END - PAGE_SIZE)    /* a first thread's: its top */

#define FLAGS_TAKEN 0xcd5ul             /* CF, PF, AF, ZF, SF, OF and DF */
#define FLAGS_FORCED 0x202ul            /* IF, and the one that is always set */

enum { SLACK = 32 };                    /* frames that slabs and tables of stacks may keep */

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

static struct thread *start(enum sched_class cls, unsigned cpu, void (*fn)(void *), uint64_t arg)
{
	const struct thread_attr attr = { "check", cls, 1ul << cpu % cpu_count() };
	struct thread *t = NULL;

	return thread_create(&attr, fn, (void *)arg, &t) ? NULL : t;
}

static bool ended(struct thread *t)
{
	return t && thread_join(t, LONG, NULL) == 0;
}

/* Threads that are not freed yet. */
static uint64_t live_threads(void)
{
	struct slab_stats stats;

	slab_get_stats(slab_cache_of(thread_current()), &stats);
	return stats.live;
}

/* The same, when those that others have left are gone. */
static uint64_t settled(void)
{
	uint64_t before;

	do {
		before = live_threads();
		(void)thread_park(200 * US);
	} while (live_threads() != before);
	return before;
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

static bool near(uint64_t a, uint64_t b)
{
	return a <= b + SLACK && b <= a + SLACK;
}

/* ---- processes with a page of ours ---- */

/* A program, position-independent, which is copied from here. */
#define PROGRAM(name, code) \
	extern const char name[], name##_end[]; \
	__asm__(".section .rodata\n" #name ":\n" code "\n" #name "_end:\n.previous\n")

struct box {
	struct process *p;                      /* NULL: there is none */
	paddr_t frame;
	volatile uint64_t *words;               /* of the page at DATA */
};

#define OPEN(box, program, limit) \
	open_box(box, program, (size_t)((uintptr_t)program##_end - (uintptr_t)program), limit)

static bool open_box(struct box *b, const char *program, size_t len, size_t limit)
{
	const struct process_attr attr = { "boxed", CLASS_NORMAL, limit, AGENT };
	vaddr_t code = CODE, data = DATA;
	struct pt_entry e;

	*b = (struct box){ 0 };
	if (frame_alloc(FRAME_ZERO, &b->frame))
		return false;
	b->words = phys_to_virt(b->frame);
	if (process_create(&attr, &b->p))
		b->p = NULL;
	if (b->p && !vmspace_map_anon(process_vmspace(b->p), &code, PAGE_SIZE, VM_EXEC) &&
	    !vmspace_map_frames(process_vmspace(b->p), &data, &b->frame, 1, VM_WRITE, true) &&
	    !vmspace_translate(process_vmspace(b->p), CODE, &e)) {
		memcpy(phys_to_virt(e.pa), program, len);
		return true;
	}
	if (b->p)
		process_put(b->p);
	(void)frame_free(b->frame);
	return false;
}

/* Ends it if it has not ended. How it did; -1: it does not. */
static int close_box(struct box *b)
{
	int status = -1;

	(void)process_kill(b->p, STATUS_KILLED);
	if (process_wait(b->p, LONG, &status))
		return -1;
	process_put(b->p);
	return frame_free(b->frame) ? -1 : status;
}

/* One more thread, which begins at that place of the program, without a stack. */
static int add(struct box *b, const char *program, const char *at, uint64_t arg)
{
	const struct user_regs regs = {
		.rip = CODE + ((uintptr_t)at - (uintptr_t)program), .rsp = DATA + PAGE_SIZE, .rdi = arg,
	};

	return process_add_thread(b->p, &regs);
}

/* ---- threads that are at anything ---- */

/* By the role, eight words of the page: how often, what went wrong, -EAGAIN. Most sleep a little in between: who computes keeps
 * others waiting, in this machine and below it. */
enum { SPIN, SLEEP, MAP, YIELD, MAKE, MADE, WRITE, ROLES };
enum { COUNT = 0, WRONG = 1, AGAIN = 2 };

PROGRAM(roles,
	"role_spin: inc %r14\nlock incq 0x600000\npause\ntestq $63, 0x600000\njnz role_spin\nmov $2, %eax\nsyscall\njmp role_spin\n"

	"role_sleep: inc %r14\nmov $30000, %edi\nmov $3, %eax\nsyscall\nlock incq 0x600040\ntest %rax, %rax\njz role_sleep\n"
	"lock incq 0x600050\ncmp $-11, %rax\nje role_sleep\nlock incq 0x600048\njmp role_sleep\n"

	"role_map: inc %r14\nmov $8192, %edi\nmov $1, %esi\nmov $7, %eax\nsyscall\ntest %rax, %rax\njle 1f\nmov %rax, %rbx\n"
	"mov %rax, 4096(%rbx)\nmov $5000, %edi\nmov $3, %eax\nsyscall\nmov %rbx, %rdi\nmov $8192, %esi\nmov $8, %eax\n"
	"syscall\ntest %rax, %rax\njnz 1f\nlock incq 0x600080\njmp role_map\n1: lock incq 0x600088\njmp role_map\n"

	"role_yield: inc %r14\nmov $2, %eax\nsyscall\nlock incq 0x6000c0\ntest %rax, %rax\njnz 2f\ntestq $31, 0x6000c0\n"
	"jnz role_yield\nmov $20000, %edi\nmov $3, %eax\nsyscall\njmp role_yield\n2: lock incq 0x6000c8\njmp role_yield\n"

	"role_make: inc %r14\nlea role_made(%rip), %rdi\nxor %esi, %esi\nmov $10, %eax\nsyscall\nlock incq 0x600100\n"
	"test %rax, %rax\njz 3f\ncmp $-28, %rax\nje 3f\nlock incq 0x600108\n"
	"3: mov $10000, %edi\nmov $3, %eax\nsyscall\njmp role_make\n"

	"role_made: lock incq 0x600140\nmov $11, %eax\nsyscall\nud2\n"

	/* as many as there may be, which stay */
	"role_fill: lea role_sleep(%rip), %rdi\nxor %esi, %esi\nmov $10, %eax\nsyscall\ntest %rax, %rax\njz role_fill\n"
	"jmp role_sleep\n"

	"role_write: inc %r14\nmov $0xfff8, %edi\nmov $16, %esi\nmov $5, %eax\nsyscall\nlock incq 0x600180\ncmp $-14, %rax\nje 4f\n"
	"lock incq 0x600188\n4: mov $5000, %edi\nmov $3, %eax\nsyscall\njmp role_write");
extern const char role_spin[], role_sleep[], role_map[], role_yield[], role_make[], role_made[], role_fill[], role_write[];

static const char *const role_at[ROLES] = {
	role_spin, role_sleep, role_map, role_yield, role_make, role_made, role_write,
};

static volatile uint64_t *word_of(const struct box *b, unsigned role, unsigned word)
{
	return &b->words[role * 8 + word];
}

static int add_role(struct box *b, unsigned role)
{
	return add(b, roles, role_at[role], 0);
}

/* What is told of a thread of a process that is stopped is what a thread in ring 3 can have. R14 counts, too. */
static bool is_ring3(const struct user_regs *r, size_t len)
{
	return r->rip >= CODE && r->rip < CODE + len && r->rsp < USER_END && (r->rflags & ~FLAGS_TAKEN) == FLAGS_FORCED;
}

/* While it is stopped nothing of it moves, whatever its threads were at; afterwards all go on. Only who slept finds out,
 * once a stop. */
KTEST(sched, check_process_stop_at_anything)
{
	enum { ROUNDS = 9, WORDS = ROLES * 8 };
	const size_t len = (uintptr_t)roles_end - (uintptr_t)roles;
	uint64_t random = SEED, before[WORDS], again;
	struct user_regs at[PROCESS_THREADS_MAX], r;
	struct box b;

	ktest_note("seed", SEED);
	wrong = 0;
	KASSERT(OPEN(&b, roles, 0));
	CHECK(process_stop(b.p) == 0);                  /* until all are there none makes others, which would take their room */
	for (unsigned role = 0; role < ROLES; role++)
		if (role != MADE)
			CHECK(add_role(&b, role) == 0);
	CHECK(process_resume(b.p) == 0);
	for (unsigned role = 0; role < ROLES; role++)           /* they take their time to begin */
		CHECK(COMES(*word_of(&b, role, COUNT) > 0));
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned n = 0;

		(void)thread_park(next(&random) % (200 * US));
		CHECK(process_stop(b.p) == 0);
		for (unsigned w = 0; w < WORDS; w++)
			before[w] = b.words[w];
		for (; n < PROCESS_THREADS_MAX && process_get_regs(b.p, n, &at[n]) == 0; n++)
			CHECK(is_ring3(&at[n], len));
		CHECK(n >= ROLES - 1);
		CHECK(process_get_regs(b.p, n, &r) == -ENOENT);
		CHECK(process_get_regs(b.p, UINT32_MAX, &r) == -ENOENT);
		CHECK(process_stop(b.p) == -EBUSY);
		(void)thread_park(100 * US);
		for (unsigned w = 0; w < WORDS; w++)
			CHECK(b.words[w] == before[w]);
		for (unsigned k = 0; k < n; k++)
			CHECK(process_get_regs(b.p, k, &r) == 0 && memcmp(&r, &at[k], sizeof r) == 0);
		CHECK(process_resume(b.p) == 0);
		CHECK(process_resume(b.p) == -EINVAL);
		CHECK(process_get_regs(b.p, 0, &r) == -EINVAL);
	}
	for (unsigned role = 0; role < ROLES; role++) {
		CHECK(COMES(*word_of(&b, role, COUNT) > before[role * 8] + 2));
		CHECK(*word_of(&b, role, WRONG) == 0);
	}
	again = *word_of(&b, SLEEP, AGAIN);
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT(again <= ROUNDS);
}

/* Spins until it is told a new number, sleeps, and says how that was, and that it has. */
PROGRAM(asleep,
	"1: pause\nmov 0x600000, %rcx\ncmp %rbx, %rcx\nje 1b\nmov %rcx, %rbx\nmov $1000, %edi\nmov $3, %eax\nsyscall\n"
	"or %rax, 0x600008\nmov %rbx, 0x600010\njmp 1b");

/* Stopped and resumed, even before it has come out of the stop before: none of it is left for a later call. */
KTEST(sched, check_process_stop_again)
{
	enum { ROUNDS = 24 };
	uint64_t results;
	struct box b;

	wrong = 0;
	KASSERT(OPEN(&b, asleep, 0));
	CHECK(add(&b, asleep, asleep, 0) == 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		for (unsigned k = 0; k < 1 + i % 4; k++) {
			CHECK(process_stop(b.p) == 0);
			CHECK(process_resume(b.p) == 0);
		}
		b.words[0] = i;
		CHECK(COMES(b.words[2] == i));
	}
	results = b.words[1];
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(results, 0);
}

/* Who stops it and is cancelled, be it before, has either stopped it or left it as it was. */
KTEST(sched, check_process_stop_cancelled)
{
	enum { ROUNDS = 12 };
	uint64_t at, random = SEED;
	struct user_regs r;
	struct box b;

	ktest_note("seed", SEED);
	wrong = 0;
	KASSERT(OPEN(&b, roles, 0));
	CHECK(add_role(&b, SPIN) == 0 && add_role(&b, SLEEP) == 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		int err;

		(void)thread_park(next(&random) % (40 * US));
		thread_cancel(thread_current());
		err = process_stop(b.p);
		while (thread_park(TIMEOUT_NOW) != -ETIMEDOUT)
			;                               /* if it has not been used up */
		CHECK(err == 0 || err == -EAGAIN);
		CHECK(process_get_regs(b.p, 0, &r) == (err ? -EINVAL : 0));
		CHECK(process_resume(b.p) == (err ? -EINVAL : 0));
		at = *word_of(&b, SPIN, COUNT);
		CHECK(COMES(*word_of(&b, SPIN, COUNT) > at));
	}
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
}

/* Killed, some while stopped, while threads of it are just being made, map, sleep: with process_wait all is back. */
KTEST(sched, check_process_kill_at_anything)
{
	enum { ROUNDS = 16 };
	uint64_t random = SEED, frames = 0, threads = 0;
	struct box b;

	ktest_note("seed", SEED);
	wrong = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		const int status = 1000 + (int)i;
		int told = 0;

		if (i == 4) {
			frames = free_frames();
			threads = settled();
		}
		KASSERT(OPEN(&b, roles, 0));
		if (i % 4 == 3) {
			CHECK(process_stop(b.p) == 0);
			CHECK(add_role(&b, MAP) == 0 && add_role(&b, MAKE) == 0);
		}
		CHECK(add(&b, roles, role_fill, 0) == 0);
		CHECK(process_resume(b.p) == (i % 4 == 3 ? 0 : -EINVAL));
		(void)thread_park(next(&random) % (i % 2 ? 400 * US : 70 * US));
		if (i % 3 == 0)
			CHECK(process_stop(b.p) == 0);
		CHECK(process_kill(b.p, status) == 0);
		CHECK(process_kill(b.p, 1) == -ENOENT);
		CHECK(process_stop(b.p) == -ENOENT);
		CHECK(process_resume(b.p) == -EINVAL);
		CHECK(add_role(&b, SPIN) == -ENOENT);
		CHECK(process_wait(b.p, LONG, &told) == 0 && told == status);
		CHECK(process_kill(b.p, 1) == -ENOENT);
		CHECK(close_box(&b) == status);
		if (i >= 4)
			CHECK(live_threads() == threads && near(free_frames(), frames));
	}
	KASSERT_EQ(wrong, 0);
}

/* ---- many ends at once ---- */

/* Sleeps until it is told, then RBX longer; exits with R12, or if that is 0 faults. */
PROGRAM(racer,
	"1: mov $3000, %edi\nmov $3, %eax\nsyscall\ncmpq $0, 0x600000\nje 1b\nmov %rbx, %rdi\nmov $3, %eax\nsyscall\n"
	"mov $1, %eax\nmov %r12, %rdi\ntest %r12, %r12\njz 2f\nsyscall\n2: ud2");

enum { KILLERS = 2, WAITERS = 3 };

static struct {
	struct box b;
	uint64_t random;
	uint32_t ready, killed, by;             /* killed: how many process_kill were 0, by: the last one's number */
	int status[WAITERS];
} race;

static void race_kill(void *arg)
{
	uint64_t random = race.random + (uint64_t)arg;
	const uint64_t delay = next(&random) % (30 * US);

	ADD(race.ready, 1);
	(void)COMES(race.b.words[0] != 0);
	(void)thread_park(delay);
	if (process_kill(race.b.p, 20 + (int)(uint64_t)arg) == 0) {
		ADD(race.killed, 1);
		SET(race.by, (uint32_t)(uint64_t)arg);
	}
}

/* The first waits for ever, another until it is over, the last looks and looks. */
static void race_wait(void *arg)
{
	const unsigned i = (unsigned)(uint64_t)arg;
	const uint64_t timeout = i == 0 ? TIMEOUT_NONE : i == 1 ? LONG : 10 * US;
	const uint64_t begin = clock_ns();
	int err;

	ADD(race.ready, 1);
	do
		err = process_wait(race.b.p, timeout, &race.status[i]);
	while (err == -ETIMEDOUT && clock_ns() - begin < LONG);
	CHECK(err == 0);
}

/* Two that exit, one that faults, two that kill, all at once: it has one status, the first's, and all who wait are told
 * the same. */
KTEST(sched, check_process_first_end)
{
	enum { ROUNDS = 8 };
	uint64_t random = SEED;

	ktest_note("seed", SEED);
	wrong = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct thread *t[KILLERS + WAITERS];
		int again = 0, status;

		memset(&race, 0, sizeof race);
		race.random = next(&random);
		KASSERT(OPEN(&race.b, racer, 0));
		for (unsigned i = 0; i < 3; i++) {
			const struct user_regs regs = {
				.rip = CODE, .rsp = DATA, .rbx = next(&random) % (30 * US), .r12 = i < 2 ? 10 + i : 0,
			};

			CHECK(process_add_thread(race.b.p, &regs) == 0);
		}
		for (unsigned i = 0; i < KILLERS + WAITERS; i++)
			t[i] = start(CLASS_NORMAL, i + 1, i < KILLERS ? race_kill : race_wait, i < KILLERS ? i : i - KILLERS);
		CHECK(COMES(GET(race.ready) == KILLERS + WAITERS));
		race.b.words[0] = 1;
		CHECK(process_wait(race.b.p, LONG, &again) == 0);
		for (unsigned i = 0; i < KILLERS + WAITERS; i++)
			CHECK(ended(t[i]));
		status = close_box(&race.b);
		CHECK(status == again);
		for (unsigned i = 0; i < WAITERS; i++)
			CHECK(race.status[i] == status);
		CHECK(race.killed <= 1);
		if (race.killed)
			CHECK(status == 20 + (int)race.by);
		else
			CHECK(status == 10 || status == 11 || status == STATUS_FAULT + VEC_OPCODE);
	}
	KASSERT_EQ(wrong, 0);
}

/* ---- anything by anybody ---- */

enum { DRIVERS = 3, BOXES = 3, STEPS = 60 };

static struct {
	struct box b[BOXES];
	uint32_t killed[BOXES];                 /* process_kill that were 0 */
	int by[BOXES];                          /* and its status */
} many;

static void drive(void *arg)
{
	static const unsigned at[] = { SPIN, SLEEP, MAP, YIELD, MAKE, MADE, WRITE };
	uint64_t random = SEED + (uint64_t)arg;
	struct user_regs r;

	for (unsigned i = 0; i < STEPS; i++) {
		const unsigned k = (unsigned)(next(&random) % BOXES), role = at[next(&random) % ROLES];
		struct box *const b = &many.b[k];
		int err, status = 1 + (int)(next(&random) % 1000);

		switch (next(&random) % 16) {
		case 0:
			err = process_start(b->p, CODE + ((uintptr_t)role_at[role] - (uintptr_t)roles), 0);
			CHECK(err == 0 || err == -EBUSY || err == -ENOENT);
			break;
		case 1 ... 4:
			err = add_role(b, role);
			CHECK(err == 0 || err == -ENOSPC || err == -ENOENT);
			break;
		case 5 ... 7:
			err = process_stop(b->p);
			CHECK(err == 0 || err == -EBUSY || err == -ENOENT);
			break;
		case 8 ... 10:
			err = process_resume(b->p);
			CHECK(err == 0 || err == -EINVAL);
			break;
		case 11:
			if (i < STEPS / 2)
				break;
			err = process_kill(b->p, status);
			CHECK(err == 0 || err == -ENOENT);
			if (!err) {
				ADD(many.killed[k], 1);
				SET(many.by[k], status);
			}
			break;
		case 12:
			err = process_wait(b->p, next(&random) % (20 * US), NULL);
			CHECK(err == 0 || err == -ETIMEDOUT);
			break;
		case 13:
			err = process_get_regs(b->p, (unsigned)(next(&random) % 20), &r);
			CHECK(err == 0 || err == -EINVAL || err == -ENOENT);
			break;
		default:
			(void)thread_park(next(&random) % (20 * US));
		}
	}
}

/* Three threads do anything to three processes. In the end all is back. */
KTEST(sched, check_process_random)
{
	enum { ROUNDS = 2 };
	uint64_t frames = 0;
	const uint64_t threads = settled();

	ktest_note("seed", SEED);
	wrong = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct thread *t[DRIVERS];

		memset(&many, 0, sizeof many);
		for (unsigned k = 0; k < BOXES; k++)
			KASSERT(OPEN(&many.b[k], roles, 0));
		for (unsigned i = 0; i < DRIVERS; i++)
			t[i] = start(CLASS_INTERACTIVE, i, drive, round * DRIVERS + i);
		for (unsigned i = 0; i < DRIVERS; i++)
			CHECK(ended(t[i]));
		for (unsigned k = 0; k < BOXES; k++) {
			const int err = process_kill(many.b[k].p, 7);
			int status;

			for (unsigned role = 0; role < ROLES; role++)
				CHECK(*word_of(&many.b[k], role, WRONG) == 0);
			status = close_box(&many.b[k]);
			CHECK(many.killed[k] <= 1);
			if (many.killed[k])
				CHECK(err == -ENOENT && status == many.by[k]);
			else
				CHECK(err == 0 ? status == 7 : status == 0);    /* or it has ended with its last thread */
		}
		CHECK(live_threads() == threads);
		if (round == 0)
			frames = free_frames();
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(near(free_frames(), frames));
}

/* ---- led by C ---- */

/* Comes to the handler before each call. */
PROGRAM(puppet, "int3\nsyscall\njmp puppet");

/* A process that is led, and what leads it: at each breakpoint of a thread of it, interrupts off. */
static struct {
	struct box b;
	void (*step)(struct trap_frame *f);
	uint64_t random;
	uint32_t steps;
} led;

static void at_breakpoint(struct trap_frame *f)
{
	CHECK(process_current() == led.b.p);
	CHECK(f == (struct trap_frame *)thread_stack_top(thread_current()) - 1);
	led.step(f);
	ADD(led.steps, 1);
}

static bool open_led(void (*step)(struct trap_frame *), size_t limit)
{
	memset(&led, 0, sizeof led);
	wrong = 0;
	led.step = step;
	led.random = SEED;
	return OPEN(&led.b, puppet, limit) && trap_set_handler(VEC_BREAKPOINT, at_breakpoint) == 0;
}

static int close_led(void)
{
	const int status = close_box(&led.b);

	trap_clear_handler(VEC_BREAKPOINT);
	return status;
}

static void call(struct trap_frame *f, uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	f->rax = number;
	f->rdi = a;
	f->rsi = b;
	f->rdx = c;
}

/* ---- memory against a model ---- */

enum { MODEL_LIMIT = 48, MODEL_STEPS = 400, WINDOW = 496 };     /* pages from USER_MIN on, in one page table */
enum { UNMAPPED = 0xff };

static struct {
	uint8_t prot[WINDOW];
	size_t frames, tables;                  /* of the space */
	bool has_table;                         /* the window has */
	bool may[2];                            /* the result may be -EINVAL, -ENOMEM; none: it is this one */
	uint64_t result;
} model;

static bool is_prot(uint64_t prot)
{
	return prot == VM_READ || prot == VM_WRITE || prot == VM_EXEC;
}

static bool is_range(uint64_t va, uint64_t len)
{
	return (va | len) % PAGE_SIZE == 0 && len && va >= USER_MIN && va < USER_END && len <= USER_END - va;
}

/* Of the window; there is nothing beside it but the pages at CODE and DATA, which no range here meets. */
static bool all_mapped(uint64_t va, uint64_t len)
{
	for (uint64_t at = va; at < va + len; at += PAGE_SIZE)
		if ((at - USER_MIN) / PAGE_SIZE >= WINDOW || model.prot[(at - USER_MIN) / PAGE_SIZE] == UNMAPPED)
			return false;
	return true;
}

static void set_model(uint64_t va, uint64_t len, uint8_t prot)
{
	memset(&model.prot[(va - USER_MIN) / PAGE_SIZE], prot, len / PAGE_SIZE);
}

/* The lowest place in the window; WINDOW: none. */
static size_t lowest(size_t pages)
{
	size_t run = 0, i;

	for (i = 0; i < WINDOW && run < pages; i++)
		run = model.prot[i] == UNMAPPED ? run + 1 : 0;
	return run == pages ? i - pages : WINDOW;
}

static void model_map(uint64_t len, uint64_t prot)
{
	const uint64_t pages = len / PAGE_SIZE, used = model.frames + model.tables;
	const bool over = pages > MODEL_LIMIT - used, good = is_range(USER_MIN, len) && is_prot(prot);

	model.may[0] = !good;
	model.may[1] = over || (good && used + pages + !model.has_table > MODEL_LIMIT);
	if (model.may[0] || model.may[1])
		return;
	CHECK(lowest(pages) < WINDOW);
	model.result = USER_MIN + lowest(pages) * PAGE_SIZE;
	set_model(model.result, len, (uint8_t)prot);
	model.tables += !model.has_table;
	model.has_table = true;
	model.frames += pages;
}

static void model_change(bool unmap, uint64_t va, uint64_t len, uint64_t prot)
{
	model.may[0] = !is_range(va, len) || (!unmap && !is_prot(prot));
	model.may[1] = false;
	if (model.may[0])
		return;
	model.result = all_mapped(va, len) ? 0 : (uint64_t)-ENOENT;
	if (model.result)
		return;
	set_model(va, len, unmap ? UNMAPPED : (uint8_t)prot);
	model.frames -= unmap ? len / PAGE_SIZE : 0;
}

/* Tables and frames are as the model has them; all is, if every page is to be looked at. */
static void check_model(bool all)
{
	struct vmspace *const vs = process_vmspace(led.b.p);
	struct vmspace_stats stats;
	struct pt_entry e;

	vmspace_get_stats(vs, &stats);
	CHECK(stats.frames == model.frames && stats.tables == model.tables && stats.limit == MODEL_LIMIT);
	CHECK(stats.frames + stats.tables <= MODEL_LIMIT);
	for (size_t i = 0; i < WINDOW && all; i++)
		if (vmspace_translate(vs, USER_MIN + i * PAGE_SIZE, &e))
			CHECK(model.prot[i] == UNMAPPED);
		else
			CHECK(e.prot == (VM_USER | model.prot[i]));
}

static uint64_t any_va(void)
{
	static const uint64_t odd[] = {
		0, USER_MIN - PAGE_SIZE, USER_END, USER_END - PAGE_SIZE, 1ul << 47, 0xffff800000000000, KERNEL_BASE,
		UINT64_MAX, UINT64_MAX - PAGE_SIZE + 1, 0x500000, USER_MIN + 1,
	};
	const uint64_t which = next(&led.random), random = next(&led.random);

	return which % 5 ? USER_MIN + random % 60 * PAGE_SIZE : odd[random % (sizeof odd / sizeof *odd)];
}

static uint64_t any_len(void)
{
	static const uint64_t odd[] = {
		0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1, 1ul << 30, 1ul << 45, 1ul << 52, USER_END, USER_END - USER_MIN, UINT64_MAX,
		UINT64_MAX - PAGE_SIZE + 1, 1ul << 63, MODEL_LIMIT * PAGE_SIZE,
	};
	const uint64_t which = next(&led.random), random = next(&led.random);

	return which % 5 ? (1 + random % 6) * PAGE_SIZE : odd[random % (sizeof odd / sizeof *odd)];
}

static uint64_t any_prot(void)
{
	static const uint64_t odd[] = {
		VM_WRITE | VM_EXEC, VM_USER, VM_UNCACHED, VM_GLOBAL, VM_PROT_MASK, VM_PROT_MASK + 1, 1ul << 32,
		1ul << 32 | VM_WRITE, UINT64_MAX, 1ul << 63,
	};
	const uint64_t which = next(&led.random), random = next(&led.random);

	return which % 6 ? random % 3 : odd[random % (sizeof odd / sizeof *odd)];
}

static void map_anything(struct trap_frame *f)
{
	const uint64_t va = any_va(), len = any_len(), prot = any_prot(), kind = next(&led.random) % 5;

	if (led.steps == 0) {
		struct vmspace_stats stats;

		vmspace_get_stats(process_vmspace(led.b.p), &stats);
		model.frames = stats.frames;
		model.tables = stats.tables;
	} else if (model.may[0] || model.may[1]) {
		CHECK((model.may[0] && f->rax == (uint64_t)-EINVAL) || (model.may[1] && f->rax == (uint64_t)-ENOMEM));
	} else {
		CHECK(f->rax == model.result);
	}
	check_model(led.steps % 50 == 0);
	if (led.steps == MODEL_STEPS) {
		call(f, SYS_EXIT, 42, 0, 0);
	} else if (kind < 2) {
		call(f, SYS_MAP, len, prot, next(&led.random));
		model_map(len, prot);
	} else {
		call(f, kind == 2 ? SYS_PROTECT : SYS_UNMAP, va, len, prot);
		model_change(kind != 2, va, len, prot);
	}
}

/* SYS_MAP, SYS_UNMAP and SYS_PROTECT of anything, sensible or not: each answer, the pages and the accounts are those of a
 * model. */
KTEST(sched, check_process_memory_model)
{
	int status;

	ktest_note("seed", SEED);
	memset(&model, 0, sizeof model);
	memset(model.prot, UNMAPPED, sizeof model.prot);
	KASSERT(open_led(map_anything, MODEL_LIMIT));
	CHECK(add(&led.b, puppet, puppet, 0) == 0);
	CHECK(process_wait(led.b.p, LONG, NULL) == 0);
	status = close_led();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(status, 42);
	KASSERT_EQ(led.steps, MODEL_STEPS + 1);
}

/* ---- limits ---- */

/* Maps as much as there may be, page by page; says how the last one failed. */
PROGRAM(greedy,
	"1: mov $4096, %edi\nmov $1, %esi\nmov $7, %eax\nsyscall\ntest %rax, %rax\njle 2f\nmov %rax, (%rax)\n"
	"lock incq 0x600000\nmov $2, %eax\nsyscall\njmp 1b\n2: mov %rax, 0x600040(,%rbx,8)\nlock incq 0x600008\n"
	"3: mov $1000000000, %edi\nmov $3, %eax\nsyscall\njmp 3b");

/* Several at once map up to the limit: not one frame more, tables counted, and not one less. */
KTEST(sched, check_process_limit_shared)
{
	enum { LIMIT = 40, THREADS = 4 };
	struct vmspace_stats before = { 0 }, after = { 0 };
	uint64_t mapped, ends[THREADS];
	struct user_regs regs = { .rip = CODE, .rsp = DATA + PAGE_SIZE };
	struct box b;
	bool full;

	wrong = 0;
	KASSERT(OPEN(&b, greedy, LIMIT));
	vmspace_get_stats(process_vmspace(b.p), &before);
	for (unsigned i = 0; i < THREADS; i++) {
		regs.rbx = i;
		CHECK(process_add_thread(b.p, &regs) == 0);
	}
	full = COMES(b.words[1] == THREADS);
	vmspace_get_stats(process_vmspace(b.p), &after);
	mapped = b.words[0];
	for (unsigned i = 0; i < THREADS; i++)
		ends[i] = b.words[8 + i];
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT(full);
	for (unsigned i = 0; i < THREADS; i++)
		KASSERT_EQ(ends[i], -ENOMEM);
	KASSERT_EQ(after.frames + after.tables, LIMIT);
	KASSERT_EQ(after.frames, before.frames + mapped);
	KASSERT_EQ(after.tables, before.tables + 1);
}

PROGRAM(leave, "mov $33, %edi\nmov $1, %eax\nsyscall\nud2");

/* Starts it; if that fails for want of memory, nothing of it is there. */
static int start_at_once(struct box *b)
{
	struct vmspace_stats before, after;
	struct user_regs r;
	struct pt_entry e;
	int err;

	vmspace_get_stats(process_vmspace(b->p), &before);
	err = process_start(b->p, CODE, 0);
	CHECK(err == 0 || err == -ENOMEM);
	if (!err)
		return 0;
	vmspace_get_stats(process_vmspace(b->p), &after);
	CHECK(after.frames == before.frames);
	CHECK(vmspace_translate(process_vmspace(b->p), STACK - 1, &e) == -ENOENT);
	CHECK(process_stop(b->p) == 0);
	CHECK(process_get_regs(b->p, 0, &r) == -ENOENT);
	CHECK(process_resume(b->p) == 0);
	return err;
}

/* A stack and its tables fit, or they do not, to the frame. One that was refused can be started when it is not in
 * want. */
KTEST(sched, check_process_start_limits)
{
	enum { MOST = 32 };
	size_t least = 0, needed = 0;
	struct box b;

	wrong = 0;
	for (size_t limit = 6; limit <= MOST; limit++) {
		KASSERT(OPEN(&b, leave, limit));
		if (start_at_once(&b)) {
			CHECK(!least);
			process_put(b.p);
			CHECK(frame_free(b.frame) == 0);
			continue;
		}
		least = least ? least : limit;
		CHECK(process_wait(b.p, LONG, NULL) == 0);
		CHECK(close_box(&b) == 33);
	}
	/* what it has, if there is no limit */
	KASSERT(OPEN(&b, roles, 0));
	CHECK(process_start(b.p, CODE, 0) == 0);
	if (process_stop(b.p) == 0) {
		struct vmspace_stats stats;

		vmspace_get_stats(process_vmspace(b.p), &stats);
		needed = stats.frames + stats.tables;
	}
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT(least > 0);
	KASSERT_EQ(least, needed);
}

/* ---- no memory ---- */

/* What stands in the first frame of each run that was taken. */
struct taken {
	paddr_t next;
	size_t count;
};

/* Takes all frames but so many; what give_back wants. */
static paddr_t take_all_but(size_t left)
{
	paddr_t kept = 0, head = 0, pa;

	for (; left && frame_alloc(0, &pa) == 0; left--) {
		*(struct taken *)phys_to_virt(pa) = (struct taken){ kept, 1 };
		kept = pa;
	}
	for (size_t count = 1ul << 15; count; count /= 2)
		while (frame_alloc_contig(count, 1, 0, 0, &pa) == 0) {
			*(struct taken *)phys_to_virt(pa) = (struct taken){ head, count };
			head = pa;
		}
	while (kept) {
		pa = kept;
		kept = ((struct taken *)phys_to_virt(pa))->next;
		(void)frame_free(pa);
	}
	return head;
}

static void give_back(paddr_t head)
{
	while (head) {
		const struct taken run = *(struct taken *)phys_to_virt(head);

		(void)frame_free_contig(head, run.count);
		head = run.next;
	}
}

/* With so many frames left a start, and one more thread, are done or not done at all; later they can be. */
KTEST(sched, check_process_start_short)
{
	enum { MOST = 34 };
	unsigned refused = 0, done = 0;
	uint64_t frames = 0, threads = 0;

	wrong = 0;
	for (size_t left = 0; left <= MOST; left += 2) {
		const struct user_regs regs = { .rip = CODE, .rsp = DATA };
		struct user_regs r;
		struct box b;
		paddr_t all;
		int err, more;

		if (left == 4) {
			frames = free_frames();
			threads = settled();
		}
		KASSERT(OPEN(&b, leave, 0));
		CHECK(process_stop(b.p) == 0);
		all = take_all_but(left);
		err = process_start(b.p, CODE, 0);
		more = process_add_thread(b.p, &regs);
		give_back(all);
		CHECK((err == 0 || err == -ENOMEM) && (more == 0 || more == -ENOMEM));
		CHECK(process_get_regs(b.p, (unsigned)!err + !more, &r) == -ENOENT);
		if (!err || !more)
			CHECK(process_get_regs(b.p, (unsigned)!err + !more - 1, &r) == 0);
		refused += err != 0;
		done += err == 0;
		if (err && more)
			CHECK(process_start(b.p, CODE, 0) == 0);
		CHECK(process_resume(b.p) == 0);
		CHECK(process_wait(b.p, LONG, NULL) == 0);
		CHECK(close_box(&b) == 33);
		if (left > 4)
			CHECK(live_threads() == threads);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(refused > 0);
	KASSERT(done > 0);
	KASSERT(near(free_frames(), frames));
}

/* ---- who it is, and what it begins with ---- */

static struct user_regs given[PROCESS_THREADS_MAX];
static uint32_t begun;                          /* bit i: thread i has */

/* RBX is the thread's number in the low four bits. It ends with its next call. */
static void begin_with(struct trap_frame *f)
{
	const unsigned i = f->rbx % PROCESS_THREADS_MAX;
	const struct user_regs *const r = &given[i];
	struct thread *const self = thread_current();

	CHECK(f->rax == r->rax && f->rbx == r->rbx && f->rcx == r->rcx && f->rdx == r->rdx && f->rsi == r->rsi);
	CHECK(f->rdi == r->rdi && f->rbp == r->rbp && f->r8 == r->r8 && f->r9 == r->r9 && f->r10 == r->r10);
	CHECK(f->r11 == r->r11 && f->r12 == r->r12 && f->r13 == r->r13 && f->r14 == r->r14 && f->r15 == r->r15);
	CHECK(f->rip == CODE + 1 && f->rsp == r->rsp && thread_fs_base(self) == r->fs_base);
	CHECK(f->rflags == ((r->rflags & FLAGS_TAKEN) | FLAGS_FORCED));
	CHECK(thread_agent(self) == AGENT && thread_ent(self)->cls == CLASS_NORMAL);
	CHECK(strcmp(thread_name(self), "boxed") == 0);
	CHECK(!(__atomic_fetch_or(&begun, 1u << i, __ATOMIC_SEQ_CST) & 1u << i));
	call(f, SYS_THREAD_EXIT, 0, 0, 0);
}

/* As many as there may be, added with any registers while it is stopped: told in their order; none begins before it is
 * resumed, and then each with its own. It ends with the last, with 0. */
KTEST(sched, check_process_add_stopped)
{
	enum { ALL = (1u << PROCESS_THREADS_MAX) - 1 };
	static const uint64_t bad[] = { USER_END, 1ul << 47, 0xffff800000000000, UINT64_MAX };
	uint64_t random = SEED;
	struct user_regs r;
	uint32_t early;
	int status;

	ktest_note("seed", SEED);
	SET(begun, 0);
	KASSERT(open_led(begin_with, 0));
	CHECK(process_stop(led.b.p) == 0);
	for (unsigned i = 0; i < PROCESS_THREADS_MAX; i++) {
		uint64_t *const words = (uint64_t *)&given[i];

		for (size_t w = 0; w < sizeof given[i] / 8; w++)
			words[w] = next(&random);
		given[i].rbx = (given[i].rbx & ~15ul) | i;
		given[i].rip = CODE;
		given[i].rsp %= USER_END;
		given[i].fs_base %= USER_END;
		r = given[i];
		*(i % 3 == 0 ? &r.rip : i % 3 == 1 ? &r.rsp : &r.fs_base) = bad[i % 4];
		CHECK(process_add_thread(led.b.p, &r) == -EINVAL);
		CHECK(process_get_regs(led.b.p, i, &r) == -ENOENT);
		CHECK(process_add_thread(led.b.p, &given[i]) == 0);
	}
	CHECK(process_add_thread(led.b.p, &given[0]) == -ENOSPC);
	CHECK(process_start(led.b.p, CODE, 0) == -EBUSY);
	CHECK(process_stop(led.b.p) == -EBUSY);
	(void)thread_park(100 * US);
	early = GET(begun);
	for (unsigned i = 0; i < PROCESS_THREADS_MAX; i++) {
		struct user_regs wanted = given[i];

		wanted.rflags = (wanted.rflags & FLAGS_TAKEN) | FLAGS_FORCED;
		CHECK(process_get_regs(led.b.p, i, &r) == 0);
		CHECK(memcmp(&r, &wanted, sizeof r) == 0);
	}
	CHECK(process_get_regs(led.b.p, PROCESS_THREADS_MAX, &r) == -ENOENT);
	CHECK(process_resume(led.b.p) == 0);
	CHECK(process_wait(led.b.p, LONG, NULL) == 0);
	status = close_led();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(GET(begun), ALL);
	KASSERT_EQ(status, 0);
}

/* What a thread has that SYS_THREAD made, the second one; the first makes it and waits. RBX is 0 in both. */
static void make_another(struct trap_frame *f)
{
	const uint32_t step = led.steps;
	struct thread *const self = thread_current();

	CHECK(thread_agent(self) == AGENT && thread_ent(self)->cls == CLASS_NORMAL);
	CHECK(strcmp(thread_name(self), "boxed") == 0);
	if (f->rdi != 0x1234567890) {
		CHECK(f->rax == 0);
		if (step == 0)
			call(f, SYS_THREAD, CODE, DATA + 0x123, 0x1234567890);
		else
			call(f, SYS_SLEEP, LONG, 0, 0);
		return;
	}
	CHECK((f->rax | f->rbx | f->rcx | f->rdx | f->rsi | f->rbp | f->r8 | f->r9 | f->r10 | f->r11 | f->r12) == 0);
	CHECK((f->r13 | f->r14 | f->r15) == 0);
	CHECK(f->rsp == DATA + 0x123 && f->rflags == FLAGS_FORCED && thread_fs_base(self) == 0);
	call(f, SYS_EXIT, 77, 0, 0);
}

/* A thread that a thread of it makes is of the same process, and has nothing in its registers of who made it. */
KTEST(sched, check_process_thread_made)
{
	struct user_regs regs = { .rip = CODE, .rsp = DATA, .rflags = FLAGS_TAKEN, .fs_base = 0x7000 };
	int status;

	regs.rbx = regs.rbp = regs.r12 = regs.r13 = regs.r14 = regs.r15 = regs.r8 = regs.r9 = UINT64_MAX;
	KASSERT(open_led(make_another, 0));
	CHECK(process_add_thread(led.b.p, &regs) == 0);
	CHECK(process_wait(led.b.p, LONG, NULL) == 0);
	status = close_led();
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(status, 77);
}

/* Numbers are from 1 and not given twice; agents are as asked for. */
KTEST(sched, check_process_numbers)
{
	enum { MANY = 40 };
	struct process *p[MANY];
	uint32_t ids[2 * MANY];
	unsigned n = 0;

	wrong = 0;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			const struct process_attr attr = { "", CLASS_INTERACTIVE, 0, ~i };

			KASSERT_EQ(process_create(&attr, &p[i]), 0);
			CHECK(process_agent(p[i]) == ~i);
			ids[n++] = process_id(p[i]);
		}
		for (unsigned i = 0; i < MANY; i++)
			process_put(p[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		CHECK(ids[i] != 0);
		for (unsigned k = 0; k < i; k++)
			CHECK(ids[i] != ids[k]);
	}
	KASSERT_EQ(wrong, 0);
}

/* ---- threads that come and go ---- */

/* Hundreds of threads, if there is time for them, sixteen at once at most: nothing grows with them. */
KTEST(sched, check_process_threads_anew)
{
	enum { MADE_IN_ALL = 200, MADE_AT_LEAST = 40 };
	const uint64_t threads = settled();
	uint64_t most = 0, begin, frames;
	struct box b;

	wrong = 0;
	KASSERT(OPEN(&b, roles, 0));
	CHECK(process_stop(b.p) == 0);
	CHECK(add_role(&b, MAKE) == 0 && add_role(&b, MAKE) == 0);
	CHECK(process_resume(b.p) == 0);
	CHECK(COMES(*word_of(&b, MADE, COUNT) >= MADE_AT_LEAST / 2));
	frames = free_frames();
	for (begin = clock_ns(); *word_of(&b, MADE, COUNT) < MADE_IN_ALL && clock_ns() - begin < 30 * MS; ) {
		const uint64_t live = live_threads();

		most = live > most ? live : most;
		CHECK(free_frames() + PROCESS_THREADS_MAX * (KSTACK_SIZE / PAGE_SIZE) + SLACK >= frames);
		(void)thread_park(20 * US);
	}
	CHECK(COMES(*word_of(&b, MADE, COUNT) >= MADE_AT_LEAST));
	CHECK(*word_of(&b, MAKE, WRONG) == 0);
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT(most <= threads + PROCESS_THREADS_MAX + 1);     /* and one that has left and is not joined yet */
	KASSERT_EQ(live_threads(), threads);
}

/* ---- written while it goes away ---- */

/* One maps two pages, always the same, and unmaps the second and the first. The other writes over their border. */
PROGRAM(border,
	"border_map: mov $8192, %edi\nmov $1, %esi\nmov $7, %eax\nsyscall\ncmp $0x10000, %rax\njne 9f\n"
	"mov $3000, %edi\nmov $3, %eax\nsyscall\n"
	"mov $0x11000, %edi\nmov $4096, %esi\nmov $8, %eax\nsyscall\ntest %rax, %rax\njnz 9f\n"
	"mov $3000, %edi\nmov $3, %eax\nsyscall\n"
	"mov $0x10000, %edi\nmov $4096, %esi\nmov $8, %eax\nsyscall\ntest %rax, %rax\njnz 9f\n"
	"lock incq 0x600000\nmov $3000, %edi\nmov $3, %eax\nsyscall\njmp border_map\n"
	"border_write: mov $0x10ff9, %edi\nmov $14, %esi\nmov $5, %eax\nsyscall\nlock incq 0x600008\n"
	"cmp $14, %rax\nje 1f\ncmp $-14, %rax\njne 9f\nlock incq 0x600010\n1: mov $2000, %edi\nmov $3, %eax\n"
	"syscall\njmp border_write\n"
	"9: mov %rax, 0x600020\nlock incq 0x600018\nmov $11, %eax\nsyscall\nud2");
extern const char border_map[], border_write[];

KTEST(sched, check_process_write_unmapped)
{
	uint64_t faults, writes, odd;
	struct box b;

	wrong = 0;
	KASSERT(OPEN(&b, border, 0));
	CHECK(add(&b, border, border_map, 0) == 0 && add(&b, border, border_write, 0) == 0);
	CHECK(COMES(b.words[3] || (b.words[0] >= 25 && b.words[1] >= 25 && b.words[2] > 0)));
	writes = b.words[1];
	faults = b.words[2];
	odd = b.words[3];
	KASSERT_EQ(close_box(&b), STATUS_KILLED);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(odd, 0);
	KASSERT(faults > 0);
	KASSERT(faults <= writes);
}

/* ---- left alone ---- */

PROGRAM(alone,
	"1: lock incq 0x600008\nmov $5000, %edi\nmov $3, %eax\nsyscall\ncmpq $0, 0x600000\nje 1b\n"
	"mov $1, %eax\nmov $3, %edi\nsyscall\nud2");

/* Without a reference it goes on until it ends by itself, or is killed by the last one who had one. */
KTEST(sched, check_process_put_alone)
{
	const uint64_t threads = settled();
	uint64_t frames = 0;

	wrong = 0;
	for (unsigned i = 0; i < 6; i++) {
		struct box b;
		uint64_t at;

		if (i == 2)
			frames = free_frames();
		KASSERT(OPEN(&b, alone, 0));
		for (unsigned k = 0; k < 1 + i; k++)
			CHECK(add(&b, alone, alone, 0) == 0);
		CHECK(COMES(b.words[1] > 0));
		if (i % 2)
			CHECK(process_kill(b.p, 1) == 0);
		process_put(b.p);
		at = b.words[1];
		CHECK(i % 2 || COMES(b.words[1] > at + 1));
		b.words[0] = 1;
		CHECK(COMES(live_threads() == threads));
		CHECK(frame_free(b.frame) == 0);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(COMES(near(free_frames(), frames)));
}

/* ---- all is back ---- */

/* Maps ten pages; makes threads until there is no room, which sleep; ends as RDI says: exits, faults, or lasts. */
PROGRAM(full,
	"mov %rdi, %r12\nmov $40960, %edi\nmov $1, %esi\nmov $7, %eax\nsyscall\nmov %rax, (%rax)\n"
	"1: lea 4f(%rip), %rdi\nxor %esi, %esi\nmov $10, %eax\nsyscall\ntest %rax, %rax\njz 1b\nmov %rax, 0x600008\n"
	"2: mov $5000, %edi\nmov $3, %eax\nsyscall\ncmpq $0, 0x600000\nje 2b\ncmp $1, %r12\nje 3f\ncmp $2, %r12\nje 5f\n"
	"4: mov $1000000000000, %rdi\nmov $3, %eax\nsyscall\njmp 4b\n"
	"3: mov $1, %eax\nmov $44, %edi\nsyscall\nud2\n5: hlt");

static uint64_t roots[CPU_MAX];

static void read_root(void *arg)
{
	uint64_t cr3;

	(void)arg;
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3) : : "memory");
	roots[cpu_self()->index] = cr3;
}

/* When process_wait says that it is over it is: no thread is left, no frame, no processor that has its tables, however it
 * ended, and with as many threads as there may be. */
KTEST(sched, check_process_all_back)
{
	enum { ROUNDS = 5 };
	const uint64_t threads = settled();
	static const int wanted[] = { STATUS_KILLED, 44, STATUS_FAULT + VEC_GP };
	uint64_t frames = 0;

	wrong = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		int status = -1;
		struct box b;

		if (i == 3)
			frames = free_frames();
		KASSERT(OPEN(&b, full, 0));
		CHECK(process_start(b.p, CODE, i % 3) == 0);
		CHECK(COMES(b.words[1] != 0) && b.words[1] == (uint64_t)-ENOSPC);
		b.words[0] = 1;
		if (i % 3 == 0)
			CHECK(process_kill(b.p, STATUS_KILLED) == 0);
		CHECK(process_wait(b.p, LONG, &status) == 0 && status == wanted[i % 3]);
		CHECK(live_threads() == threads);
		CHECK(i < 3 || near(free_frames() + 1, frames));        /* one is ours */
		CHECK(cpu_on_each(read_root, NULL) == 0);
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
			CHECK(roots[cpu] == kernel_root);
			CHECK(sched_runnable(cpu) == (cpu == 0));       /* who asks */
		}
		CHECK(close_box(&b) == status);
	}
	KASSERT_EQ(wrong, 0);
}
