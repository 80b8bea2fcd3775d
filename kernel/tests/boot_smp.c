/* Processors and locks, beyond acceptance/boot/smp.c and spinlock.c: what each has of its own, calls in turn, locks that all
 * ask for, panics that all catch, interrupts from all to all. One processor is all that some machines have: what is said of
 * all is then said of it. See spec/boot.md, "Processors". */
#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "panic.h"
#include "printf.h"
#include "spinlock.h"
#include "string.h"

/* kernel.ld */
extern const char __bss_start[], __bss_end[];

enum { IF = 1 << 9, DEPTH = 4 };
enum { FREE = 0xe0, FREE_COUNT = 16 };
enum { SEED = 0x10900011 };
#define LONG 8000000000ull              /* ns: the machine below may have less processors, and others to serve */
#define A_WHILE 300000000ull
#define UPPER_HALF 0xFFFF800000000000ull

_Static_assert(FREE_COUNT == CPU_MAX, "a free vector for each processor");

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

static bool interrupts_on(void)
{
	return READ("pushfq; pop %0") & IF;
}

/* The address of a linker symbol, hidden from the optimiser, which would reason about array bounds. */
static uint64_t addr(const void *symbol)
{
	uint64_t value = (uint64_t)symbol;

	__asm__("" : "+r"(value));
	return value;
}

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

/* Whether the word came to be at least that; nothing here waits without a bound. */
static bool wait_for(const uint32_t *word, uint32_t wanted)
{
	const uint64_t start = clock_ns();

	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - start >= LONG)
			return false;
		cpu_pause();
	}
	return true;
}

/* All processors wait here for all; again and again. Both are 0 at the beginning of a test that has them meet. */
static uint32_t arrived, absent;

static bool meet(void)
{
	const uint32_t n = cpu_count(), ticket = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);

	if (wait_for(&arrived, (ticket / n + 1) * n))
		return true;
	count(&absent);
	return false;
}

/* ---- calls ---- */

enum { SLOTS = 8, FUNCTIONS = 2 };

static struct slot {
	uint32_t runs[FUNCTIONS][CPU_MAX];
} slots[SLOTS], expected[SLOTS];

static uint32_t with_interrupts;

static void run_of(unsigned function, struct slot *s)
{
	count(&s->runs[function][cpu_self()->index]);
	if (interrupts_on())
		count(&with_interrupts);
}

static void function_a(void *slot)
{
	run_of(0, slot);
}

static void function_b(void *slot)
{
	run_of(1, slot);
}

/* On all, on one, on all: each function that was asked for runs once where it was asked for, with what it was given, and has
 * returned when the call has. Interrupts are off in it and on afterwards. */
KTEST(boot, check_smp_calls)
{
	static void (*const functions[FUNCTIONS])(void *) = { function_a, function_b };
	uint64_t state = SEED;

	ktest_note("seed", SEED);
	memset(slots, 0, sizeof slots);
	memset(expected, 0, sizeof expected);
	with_interrupts = 0;
	KASSERT(interrupts_on());
	for (unsigned step = 0; step < 600; step++) {
		const unsigned f = random_of(&state) % FUNCTIONS, s = random_of(&state) % SLOTS;
		const unsigned one = random_of(&state) % cpu_count();

		if (step % 3 == 1) {
			expected[s].runs[f][one]++;
			KASSERT_EQ(cpu_call(one, functions[f], &slots[s]), 0);
		} else {
			for (unsigned i = 0; i < cpu_count(); i++)
				expected[s].runs[f][i]++;
			KASSERT_EQ(cpu_on_each(functions[f], &slots[s]), 0);
		}
		KASSERT(interrupts_on());
		KASSERT_EQ(memcmp(slots, expected, sizeof slots), 0);
	}
	KASSERT_EQ(with_interrupts, 0);
}

static void *arguments[CPU_MAX];

static void keep_argument(void *arg)
{
	arguments[cpu_self()->index] = arg;
}

static bool argument_arrives(uint64_t value)
{
	memset(arguments, 0x5a, sizeof arguments);
	if (cpu_on_each(keep_argument, (void *)value))
		return false;
	for (unsigned i = 0; i < cpu_count(); i++)
		if (arguments[i] != (void *)value)
			return false;
	for (unsigned i = 0; i < cpu_count(); i++) {
		memset(arguments, 0x5a, sizeof arguments);
		if (cpu_call(i, keep_argument, (void *)value) || arguments[i] != (void *)value)
			return false;
		for (unsigned j = 0; j < CPU_MAX; j++)
			if (j != i && arguments[j] == (void *)value)
				return false;
	}
	return true;
}

/* Any 64 bits, NULL too: what is not used is not looked at. */
KTEST(boot, check_smp_arguments)
{
	uint64_t state = SEED + 1;

	ktest_note("seed", SEED + 1);
	KASSERT(argument_arrives(0));
	KASSERT(argument_arrives(1));
	KASSERT(argument_arrives(UINT64_MAX));
	for (unsigned i = 0; i < 64; i++)
		KASSERT(argument_arrives(random_of(&state)));
}

/* No lock is left counted: not at once, where a processor may just be giving its last one back, but soon. */
static bool preemption_is_on(void)
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		const uint32_t *preempt = &cpu_get(i)->preempt_count;
		const uint64_t start = clock_ns();

		while (__atomic_load_n(preempt, __ATOMIC_SEQ_CST) != 0) {
			if (cpu_get(i) == cpu_self() || clock_ns() - start >= LONG)
				return false;
			cpu_pause();
		}
	}
	return true;
}

static struct spinlock lock;

static void lock_a_little(void *arg)
{
	uint64_t flags;

	(void)arg;
	spin_lock(&lock);
	spin_unlock(&lock);
	flags = spin_lock_irqsave(&lock);
	spin_unlock_irqrestore(&lock, flags);
	if (spin_trylock(&lock))
		spin_unlock(&lock);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Between calls, whatever kind and whatever they did, refused ones too. */
KTEST(boot, check_smp_preempt)
{
	lock = (struct spinlock){ 0 };
	KASSERT(preemption_is_on());
	for (unsigned round = 0; round < 30; round++) {
		KASSERT_EQ(cpu_on_each(round % 2 ? lock_a_little : nothing, NULL), 0);
		KASSERT(preemption_is_on());
		for (unsigned i = 0; i < cpu_count(); i++) {
			KASSERT_EQ(cpu_call(i, round % 2 ? nothing : lock_a_little, NULL), 0);
			KASSERT(preemption_is_on());
		}
		KASSERT_EQ(cpu_call(CPU_MAX, nothing, NULL), -EINVAL);
		KASSERT_EQ(cpu_call(0, NULL, NULL), -EINVAL);
		KASSERT(preemption_is_on());
	}
	KASSERT_EQ(lock.next, lock.serving);
}

/* ---- locks between all ---- */

enum { INCREMENTS = 2000 };

static volatile uint64_t total;
static uint32_t shares[CPU_MAX], wrong;

/* So many of each, or as many as there is time for, but one at least. Interrupts are off in it: they stay so. */
static void increment(void *arg)
{
	const unsigned me = cpu_self()->index;
	uint64_t state = SEED + me, until;

	(void)arg;
	(void)meet();
	until = clock_ns() + A_WHILE;
	do {
		const uint32_t preempt = cpu_self()->preempt_count;
		const uint64_t flags = spin_lock_irqsave(&lock), before = total;

		if (flags & IF || interrupts_on() || cpu_self()->preempt_count != preempt + 1)
			count(&wrong);
		for (uint64_t i = random_of(&state) % 32; i; i--)
			__asm__ volatile("" : : : "memory");
		total = before + 1;
		spin_unlock_irqrestore(&lock, flags);
		if (interrupts_on() || cpu_self()->preempt_count != preempt)
			count(&wrong);
		shares[me]++;
	} while (shares[me] < INCREMENTS && clock_ns() < until);
}

/* Nobody's addition is lost, and the lock has counted them all. */
KTEST(boot, check_smp_irqsave_count)
{
	uint64_t sum = 0;

	ktest_note("seed", SEED);
	lock.next = lock.serving = UINT32_MAX - 10;             /* the numbers start again meanwhile */
	total = arrived = absent = wrong = 0;
	memset(shares, 0, sizeof shares);
	KASSERT_EQ(cpu_on_each(increment, NULL), 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT(shares[i] >= 1);
		sum += shares[i];
	}
	KASSERT_EQ(total, sum);
	KASSERT_EQ(lock.next, (uint32_t)(UINT32_MAX - 10 + sum));
	KASSERT_EQ(lock.serving, lock.next);
	KASSERT(preemption_is_on());
}

enum { TRIES = 20 };

static uint32_t winners[TRIES], held[TRIES];

/* Who has it gives it back before it meets the others again. */
static void try_together(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < TRIES; round++) {
		const uint32_t preempt = cpu_self()->preempt_count;
		bool mine;

		if (!meet())
			return;
		mine = spin_trylock(&lock);
		if (cpu_self()->preempt_count != preempt + mine)
			count(&wrong);
		if (!meet())
			return;
		if (mine) {
			count(&winners[round]);
			if (lock.next == lock.serving + 1)
				count(&held[round]);
			spin_unlock(&lock);
		}
		if (cpu_self()->preempt_count != preempt)
			count(&wrong);
	}
}

/* All at the same time: one has it, and for the others nothing has changed. */
KTEST(boot, check_smp_trylock)
{
	lock = (struct spinlock){ 0 };
	arrived = absent = wrong = 0;
	memset(winners, 0, sizeof winners);
	memset(held, 0, sizeof held);
	KASSERT_EQ(cpu_on_each(try_together, NULL), 0);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	for (unsigned round = 0; round < TRIES; round++) {
		KASSERT_EQ(winners[round], 1);
		KASSERT_EQ(held[round], 1);
	}
	KASSERT_EQ(lock.next, TRIES);
	KASSERT_EQ(lock.serving, TRIES);
}

static void try_often(void *arg)
{
	const unsigned me = cpu_self()->index;
	uint64_t until;

	(void)arg;
	(void)meet();
	until = clock_ns() + A_WHILE / 3;
	for (unsigned turn = 0; turn < 20 * INCREMENTS && clock_ns() < until; turn++)
		for (unsigned i = 0; i < 10; i++)
			if (spin_trylock(&lock)) {
				const uint64_t before = total;

				for (unsigned n = i; n; n--)
					__asm__ volatile("" : : : "memory");
				total = before + 1;
				spin_unlock(&lock);
				shares[me]++;
			}
}

/* Whoever has it by not waiting has it alone, too. */
KTEST(boot, check_smp_trylock_count)
{
	uint64_t sum = 0;

	lock = (struct spinlock){ 0 };
	total = arrived = absent = 0;
	memset(shares, 0, sizeof shares);
	KASSERT_EQ(cpu_on_each(try_often, NULL), 0);
	KASSERT_EQ(absent, 0);
	for (unsigned i = 0; i < cpu_count(); i++)
		sum += shares[i];
	KASSERT(sum >= 1);
	KASSERT_EQ(total, sum);
	KASSERT_EQ(lock.next, (uint32_t)sum);
	KASSERT_EQ(lock.serving, lock.next);
	KASSERT(preemption_is_on());
}

/* ---- what each has of its own ---- */

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static const volatile struct tss *own_tss(void)
{
	struct table_register gdtr;
	const uint64_t *entry;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	entry = (const uint64_t *)(gdtr.base + SEL_TSS);
	return (const volatile struct tss *)((entry[0] >> 16 & 0xffffff) | (entry[0] >> 56 & 0xff) << 24 | entry[1] << 32);
}

static struct report {
	uint64_t frame, rsp, ist[3];
	bool is_starter;                /* it is still what the processor started on: no thread's stack */
	uint64_t rsp0, rsp0_set, rsp0_after;
} reports[CPU_MAX];

static __attribute__((noinline)) void report_stacks(void *arg)
{
	struct report *r = &reports[cpu_self()->index];

	(void)arg;
	r->frame = (uint64_t)__builtin_frame_address(0);
	r->rsp = READ("mov %%rsp, %0");
	r->is_starter = cpu_self()->current == NULL;
	for (unsigned i = 0; i < 3; i++)
		r->ist[i] = own_tss()->ist[i];
}

static bool in_bss(uint64_t from, uint64_t to)
{
	return from >= addr(__bss_start) && to <= addr(__bss_end);
}

/* A call's own stack, and the three of interrupts. */
KTEST(boot, check_smp_stacks)
{
	memset(reports, 0, sizeof reports);
	KASSERT_EQ(cpu_on_each(report_stacks, NULL), 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct report *r = &reports[i];

		KASSERT_EQ(r->frame % 16, 0);
		KASSERT(r->frame >= UPPER_HALF);
		if (r->is_starter)
			KASSERT(in_bss(r->rsp, r->frame + 16));
		for (unsigned k = 0; k < 3; k++) {
			KASSERT_EQ(r->ist[k] % 16, 0);
			KASSERT(in_bss(r->ist[k] - IST_STACK_SIZE, r->ist[k]));
			KASSERT(r->frame >= r->ist[k] || r->frame < r->ist[k] - IST_STACK_SIZE);
		}
	}
}

static uint64_t rsp0_of(unsigned index)
{
	return UPPER_HALF | (uint64_t)(index + 1) << 20 | 0x120;
}

/* All have theirs set before any looks at its own, and put it back. */
static void change_rsp0(void *arg)
{
	const unsigned me = cpu_self()->index;
	struct report *r = &reports[me];

	(void)arg;
	r->rsp0 = own_tss()->rsp[0];
	r->is_starter = cpu_self()->current == NULL;
	gdt_set_rsp0(rsp0_of(me));
	(void)meet();
	r->rsp0_set = own_tss()->rsp[0];
	(void)meet();
	gdt_set_rsp0(r->rsp0);
	r->rsp0_after = own_tss()->rsp[0];
}

/* Where ring 3 comes in: the boot stack until sched says otherwise, and of each processor its own. */
KTEST(boot, check_smp_rsp0)
{
	for (unsigned round = 0; round < 2; round++) {
		memset(reports, 0, sizeof reports);
		arrived = absent = 0;
		KASSERT_EQ(cpu_on_each(change_rsp0, NULL), 0);
		KASSERT_EQ(absent, 0);
		for (unsigned i = 0; i < cpu_count(); i++) {
			KASSERT(reports[i].rsp0 >= UPPER_HALF);
			KASSERT_EQ(reports[i].rsp0 % 16, 0);
			if (reports[i].is_starter)
				KASSERT_EQ(reports[i].rsp0, addr(boot_stack_top));
			KASSERT_EQ(reports[i].rsp0_set, rsp0_of(i));
			KASSERT_EQ(reports[i].rsp0_after, reports[i].rsp0);
		}
	}
}

/* ---- catching on all at the same time ---- */

static struct caught {
	int result, trap;
	uint32_t before, after, off;
	char why[40];
	struct trap_frame frame;
} caughts[CPU_MAX];

static void meet_and_panic(void *arg)
{
	(void)meet();
	spin_lock(arg);                 /* of this processor: stays taken */
	panic("check: processor %u", cpu_self()->index);
}

static void meet_and_fault(void *arg)
{
	(void)meet();
	spin_lock(arg);
	__asm__ volatile("ud2" : : "D"(cpu_self()) : "memory");
}

static void catch_here(void *arg)
{
	struct caught *c = &caughts[cpu_self()->index];
	struct spinlock own = { 0 }, other = { 0 };

	(void)arg;
	c->before = cpu_self()->preempt_count;
	c->result = panic_catch(meet_and_panic, &own, c->why, sizeof c->why);
	c->off = !interrupts_on();
	c->trap = trap_catch(meet_and_fault, &other, &c->frame);
	c->off += !interrupts_on();
	c->after = cpu_self()->preempt_count;
}

/* Each catches its own panic, then its own exception, and nobody is stopped. */
KTEST(boot, check_smp_panic_catch)
{
	for (unsigned round = 0; round < 20; round++) {
		memset(caughts, 0, sizeof caughts);
		arrived = absent = 0;
		KASSERT_EQ(cpu_on_each(catch_here, NULL), 0);
		KASSERT_EQ(absent, 0);
		KASSERT(interrupts_on());
		for (unsigned i = 0; i < cpu_count(); i++) {
			const struct caught *c = &caughts[i];
			char message[40];

			snprintf(message, sizeof message, "check: processor %u", i);
			KASSERT_EQ(c->result, 1);
			KASSERT_STREQ(c->why, message);
			KASSERT_EQ(c->trap, 1);
			KASSERT_EQ(c->frame.vector, VEC_OPCODE);
			KASSERT_EQ(c->frame.rdi, (uint64_t)cpu_get(i));
			KASSERT_EQ(c->off, 2);          /* as at the call */
			KASSERT_EQ(c->after, c->before);
		}
		KASSERT(!panic_begun());
		KASSERT_EQ(panic_stopped(), 0);
	}
	KASSERT(preemption_is_on());
}

static struct depth {
	uint32_t traps, panics;
	int trap_refused, panic_refused;
} depths[CPU_MAX];

/* As deep as it goes, and stays there until all are. */
static void dive_panics(void *arg)
{
	struct depth *d = arg;
	int result;

	if (d->panics++ == 2 * DEPTH)
		return;
	result = panic_catch(dive_panics, d, NULL, 0);
	if (result) {
		d->panic_refused = result;
		(void)meet();
	}
}

static void dive(void *arg)
{
	struct depth *d = arg;
	int result;

	if (d->traps++ == 2 * DEPTH)
		return;
	result = trap_catch(dive, d, NULL);
	if (result) {
		d->trap_refused = result;
		dive_panics(d);
	}
}

static void dive_here(void *arg)
{
	(void)arg;
	dive(&depths[cpu_self()->index]);
}

/* Four levels are each processor's own. */
KTEST(boot, check_smp_catch_depth)
{
	for (unsigned round = 0; round < 5; round++) {
		memset(depths, 0, sizeof depths);
		arrived = absent = 0;
		KASSERT_EQ(cpu_on_each(dive_here, NULL), 0);
		KASSERT_EQ(absent, 0);
		KASSERT_EQ(arrived, cpu_count());
		for (unsigned i = 0; i < cpu_count(); i++) {
			KASSERT_EQ(depths[i].traps, DEPTH + 1);         /* the first is no level */
			KASSERT_EQ(depths[i].panics, DEPTH + 1);
			KASSERT_EQ(depths[i].trap_refused, -ENOSPC);
			KASSERT_EQ(depths[i].panic_refused, -ENOSPC);
		}
	}
}

/* ---- interrupts ---- */

static uint32_t came[FREE_COUNT][CPU_MAX], came_with_interrupts;
static uint64_t strays[FREE_COUNT];

static void receive(struct trap_frame *f)
{
	if (interrupts_on())
		count(&came_with_interrupts);
	count(&came[f->vector - FREE][cpu_self()->index]);
	apic_eoi();
}

/* All free vectors the test's; how many of them it did not get. */
static unsigned take_vectors(void)
{
	unsigned taken = 0;

	memset(came, 0, sizeof came);
	came_with_interrupts = 0;
	for (unsigned v = 0; v < FREE_COUNT; v++) {
		strays[v] = trap_stray_count(FREE + v);
		taken += trap_set_handler(FREE + v, receive) != 0;
	}
	return taken;
}

/* Gives them back; whether any came stray meanwhile. */
static bool give_back_vectors(void)
{
	bool stray = false;

	for (unsigned v = 0; v < FREE_COUNT; v++) {
		trap_clear_handler(FREE + v);
		stray |= trap_stray_count(FREE + v) != strays[v];
	}
	return stray;
}

/* Every free vector to every processor, one after another, twice; none to who is not there. */
KTEST(boot, check_smp_send_vectors)
{
	const unsigned not_taken = take_vectors();
	bool all_came = true, stray;

	for (uint32_t round = 1; round <= 2; round++)
		for (unsigned v = 0; v < FREE_COUNT && all_came; v++)
			for (unsigned i = 0; i < cpu_count() && all_came; i++) {
				cpu_send(i, (uint8_t)(FREE + v));
				all_came = wait_for(&came[v][i], round);
			}
	cpu_send(cpu_count(), FREE);
	cpu_send(CPU_MAX, FREE);
	cpu_send(UINT32_MAX, FREE);
	clock_delay_ns(1000000);
	stray = give_back_vectors();
	KASSERT_EQ(not_taken, 0);
	KASSERT(all_came);
	KASSERT_EQ(came_with_interrupts, 0);
	for (unsigned v = 0; v < FREE_COUNT; v++)
		for (unsigned i = 0; i < CPU_MAX; i++)
			KASSERT_EQ(came[v][i], i < cpu_count() ? 2 : 0);
	KASSERT(!stray);
}

static void send_to_all(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	(void)meet();
	for (unsigned i = 0; i < cpu_count(); i++)
		cpu_send((me + i) % cpu_count(), (uint8_t)(FREE + me));
}

/* From all to all at the same time, with interrupts off, each with a vector of its own: all of them arrive, once. */
KTEST(boot, check_smp_send_all)
{
	for (unsigned round = 0; round < 10; round++) {
		const unsigned not_taken = take_vectors();
		bool all_came = true, stray;
		int each;

		arrived = absent = 0;
		each = cpu_on_each(send_to_all, NULL);
		for (unsigned from = 0; from < cpu_count(); from++)
			for (unsigned to = 0; to < cpu_count(); to++)
				all_came = all_came && wait_for(&came[from][to], 1);
		stray = give_back_vectors();
		KASSERT_EQ(not_taken, 0);
		KASSERT_EQ(each, 0);
		KASSERT_EQ(absent, 0);
		KASSERT(all_came);
		KASSERT_EQ(came_with_interrupts, 0);
		for (unsigned from = 0; from < CPU_MAX; from++)
			for (unsigned to = 0; to < CPU_MAX; to++)
				KASSERT_EQ(came[from][to], from < cpu_count() && to < cpu_count());
		KASSERT(!stray);
	}
}

/* To itself with interrupts off: it waits until they are on. Acknowledged, the next one comes, too. */
KTEST(boot, check_smp_send_held)
{
	const unsigned not_taken = take_vectors();
	bool stray, first, second;
	uint32_t held_back, *mine;
	unsigned me;

	__asm__ volatile("cli" : : : "memory");
	me = cpu_self()->index;
	mine = &came[3][me];
	cpu_send(me, FREE + 3);
	clock_delay_ns(1000000);
	held_back = *mine;
	__asm__ volatile("sti" : : : "memory");
	first = wait_for(mine, 1);
	cpu_send(me, FREE + 3);
	second = wait_for(mine, 2);
	stray = give_back_vectors();
	KASSERT_EQ(not_taken, 0);
	KASSERT_EQ(held_back, 0);
	KASSERT(first);
	KASSERT(second);
	KASSERT_EQ(came[3][me], 2);
	KASSERT(!stray);
}
