/* Traps, catching and panics, beyond acceptance/boot/trap.c: handlers that catch, catching that is full, what is put back
 * after a catch, the stacks of vectors that have their own. See spec/boot.md, "Descriptor tables" and "Panic". */
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "panic.h"
#include "printf.h"
#include "spinlock.h"
#include "string.h"

enum { CF = 1 << 0, IF = 1 << 9, DF = 1 << 10 };
enum { VECTORS = 256, EXCEPTIONS = 32, REGISTERS = 15, FILL = 0x5a };
enum { DEPTH = 4 };                             /* of catching, by spec */
enum { FREE = 0xe0, FREE_COUNT = 16, RAISED = 0xe1 };   /* RAISED: what raise() raises */
enum { SEED = 0x10900001 };

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

static uint64_t get_flags(void)
{
	return READ("pushfq; pop %0");
}

static void set_if(bool on)
{
	if (on)
		__asm__ volatile("sti" : : : "memory");
	else
		__asm__ volatile("cli" : : : "memory");
}

/* Interrupts off; returns RFLAGS as they were. */
static uint64_t irq_off(void)
{
	const uint64_t flags = get_flags();

	set_if(false);
	return flags;
}

static bool if_of(uint64_t flags)
{
	return flags & IF;
}

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static bool all_are(const void *from, uint8_t byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)from)[i] != byte)
			return false;
	return true;
}

/* ---- two kinds of catching, and what each catches ---- */

enum kind { TRAP, PANIC, KINDS };

/* What a caught one leaves. */
struct slot {
	struct trap_frame frame;
	char why[48];
};

static void slot_clear(struct slot *s)
{
	memset(s, FILL, sizeof *s);
}

static bool slot_is_clear(const struct slot *s)
{
	return all_are(s, FILL, sizeof *s);
}

static int catch(enum kind kind, void (*fn)(void *), void *arg, struct slot *s)
{
	if (kind == TRAP)
		return trap_catch(fn, arg, s ? &s->frame : NULL);
	return panic_catch(fn, arg, s ? s->why : NULL, s ? sizeof s->why : 0);
}

/* Faults at its first byte, with what it is given in RDI. */
void check_trap_fault(void *number);
__asm__(".text\n.globl check_trap_fault\ncheck_trap_fault:\nud2\nret\n");

static void panics(void *number)
{
	panic("check: number %lu", (uint64_t)number);
}

static void leave(enum kind kind, uint64_t number)
{
	if (kind == TRAP)
		check_trap_fault((void *)number);
	else
		panics((void *)number);
}

/* Whether the slot holds what leave(kind, number) leaves, and nothing of the other kind. */
static bool slot_holds(const struct slot *s, enum kind kind, uint64_t number)
{
	char expected[48];

	if (kind == TRAP)
		return s->frame.vector == VEC_OPCODE && s->frame.error == 0 && s->frame.rdi == number &&
		       s->frame.rip == (uint64_t)check_trap_fault && all_are(s->why, FILL, sizeof s->why);
	snprintf(expected, sizeof expected, "check: number %lu", number);
	return strcmp(s->why, expected) == 0 && all_are(&s->frame, FILL, sizeof s->frame);
}

static void nothing(void *runs)
{
	++*(unsigned *)runs;
}

/* How many levels of that kind there is room for. */
static unsigned entered;

static void enter(void *kind)
{
	if (++entered <= 2 * DEPTH)
		catch(*(const enum kind *)kind, enter, kind, NULL);
}

static unsigned levels_free(enum kind kind)
{
	entered = 0;
	catch(kind, enter, &kind, NULL);
	return entered;
}

static bool all_free(void)
{
	return levels_free(TRAP) == DEPTH && levels_free(PANIC) == DEPTH;
}

/* ---- handlers and catching, one within the other ---- */

static struct {
	unsigned runs, wrong, went_on;
	enum kind kind;         /* of leaving_handler */
	struct slot slot;
} inside;

static void raise(void *arg)
{
	(void)arg;
	__asm__ volatile("int $0xe1" : : : "memory");
	inside.went_on++;
}

static void raise_and_fault(void *number)
{
	raise(NULL);
	check_trap_fault(number);
}

/* Catches one of each kind, one within the other too, and goes on. */
static void catch_both(void *number)
{
	struct slot s;

	slot_clear(&s);
	inside.wrong += catch(PANIC, panics, number, &s) != 1 || !slot_holds(&s, PANIC, (uint64_t)number);
	check_trap_fault(number);
}

static void catching_handler(struct trap_frame *f)
{
	struct slot s;

	inside.runs++;
	slot_clear(&s);
	inside.wrong += catch(TRAP, catch_both, (void *)77, &s) != 1 || !slot_holds(&s, TRAP, 77);
	inside.wrong += if_of(get_flags());             /* off as they were at the call */
	inside.wrong += f->vector != RAISED;
}

/* A handler catches what it does itself, alone and while what it interrupted is catching too. */
KTEST(boot, check_trap_handler_catches)
{
	for (unsigned on = 0; on < 2; on++) {
		const uint64_t flags = irq_off();
		uint64_t after_raise, after_catch;
		struct slot s;
		int set, result;
		bool room;

		memset(&inside, 0, sizeof inside);
		slot_clear(&s);
		set = trap_set_handler(RAISED, catching_handler);
		set_if(on);
		raise(NULL);
		after_raise = get_flags();
		result = catch(TRAP, raise_and_fault, (void *)99, &s);
		after_catch = get_flags();
		set_if(false);
		trap_clear_handler(RAISED);
		room = all_free();
		set_if(if_of(flags));
		KASSERT_EQ(set, 0);
		KASSERT_EQ(inside.runs, 2);
		KASSERT_EQ(inside.wrong, 0);
		KASSERT_EQ(inside.went_on, 2);
		KASSERT_EQ(result, 1);
		KASSERT(slot_holds(&s, TRAP, 99));      /* the outer one's, not what the handler caught */
		KASSERT_EQ(if_of(after_raise), on);
		KASSERT_EQ(if_of(after_catch), on);
		KASSERT(room);
	}
}

static void leaving_handler(struct trap_frame *f)
{
	inside.runs++;
	leave(inside.kind, f->vector);
	inside.wrong++;
}

static void raise_within_other(void *arg)
{
	inside.wrong += catch(inside.kind == TRAP ? PANIC : TRAP, raise, arg, &inside.slot) != -1;      /* does not come back */
}

/* What a handler does and does not catch is caught by what it interrupted, calls of the other kind in between too. Nothing of
 * the handler is left then. */
KTEST(boot, check_trap_handler_caught)
{
	for (unsigned round = 0; round < 40; round++) {
		const bool on = round & 1, within = round & 2;
		const uint64_t flags = irq_off();
		uint64_t after;
		struct slot s;
		int set, result;
		bool room;

		memset(&inside, 0, sizeof inside);
		inside.kind = round & 4 ? PANIC : TRAP;
		slot_clear(&inside.slot);
		slot_clear(&s);
		set = trap_set_handler(RAISED, leaving_handler);
		set_if(on);
		result = catch(inside.kind, within ? raise_within_other : raise, NULL, &s);
		after = get_flags();
		set_if(false);
		trap_clear_handler(RAISED);
		room = all_free();
		set_if(if_of(flags));
		KASSERT_EQ(set, 0);
		KASSERT_EQ(result, 1);
		KASSERT(slot_holds(&s, inside.kind, RAISED));
		KASSERT(slot_is_clear(&inside.slot));
		KASSERT_EQ(inside.runs, 1);
		KASSERT_EQ(inside.wrong, 0);
		KASSERT_EQ(inside.went_on, 0);
		KASSERT_EQ(if_of(after), on);
		KASSERT(room);
	}
}

static void vanishing_handler(struct trap_frame *f)
{
	inside.runs++;
	trap_clear_handler((unsigned)f->vector);
}

/* A handler that gives its vector back, and returns to the same instruction: the second time it is caught. */
KTEST(boot, check_trap_handler_gone)
{
	const uint64_t flags = irq_off();
	const trap_handler before = trap_get_handler(VEC_OPCODE);
	trap_handler after;
	struct slot s;
	int set, result;

	memset(&inside, 0, sizeof inside);
	slot_clear(&s);
	trap_clear_handler(VEC_OPCODE);
	set = trap_set_handler(VEC_OPCODE, vanishing_handler);
	result = catch(TRAP, check_trap_fault, (void *)5, &s);
	after = trap_get_handler(VEC_OPCODE);
	trap_clear_handler(VEC_OPCODE);
	if (before)
		trap_set_handler(VEC_OPCODE, before);
	set_if(if_of(flags));
	KASSERT_EQ(set, 0);
	KASSERT_EQ(inside.runs, 1);
	KASSERT_EQ(result, 1);
	KASSERT(slot_holds(&s, TRAP, 5));
	KASSERT(after == NULL);
}

/* ---- what is not touched ---- */

static struct slot inner;
static int inner_result;

static void leave_inside(void *kind)
{
	inner_result = catch(*(const enum kind *)kind, *(const enum kind *)kind == TRAP ? check_trap_fault : panics, (void *)3, &inner);
}

static void leave_past(void *kind)
{
	const enum kind outer = *(const enum kind *)kind;

	inner_result = catch(outer == TRAP ? PANIC : TRAP, outer == TRAP ? check_trap_fault : panics, (void *)4, &inner);
}

/* Nothing is written where nothing was caught: fn returned, or one within it caught, or one around it. */
KTEST(boot, check_trap_out_unchanged)
{
	for (enum kind kind = TRAP; kind < KINDS; kind++) {
		unsigned runs = 0;
		enum kind other = kind == TRAP ? PANIC : TRAP;
		struct slot s;

		slot_clear(&s);
		KASSERT_EQ(catch(kind, nothing, &runs, &s), 0);
		KASSERT_EQ(runs, 1);
		KASSERT(slot_is_clear(&s));
		KASSERT_EQ(catch(kind, nothing, &runs, NULL), 0);
		KASSERT_EQ(runs, 2);

		inner_result = -1;
		slot_clear(&inner);
		KASSERT_EQ(catch(kind, leave_inside, &kind, &s), 0);
		KASSERT_EQ(inner_result, 1);
		KASSERT(slot_holds(&inner, kind, 3));
		KASSERT(slot_is_clear(&s));

		slot_clear(&inner);
		KASSERT_EQ(catch(kind, leave_inside, &other, &s), 0);
		KASSERT_EQ(inner_result, 1);
		KASSERT(slot_holds(&inner, other, 3));
		KASSERT(slot_is_clear(&s));

		inner_result = -1;
		slot_clear(&inner);
		KASSERT_EQ(catch(kind, leave_past, &kind, &s), 1);
		KASSERT_EQ(inner_result, -1);           /* was left, and has not returned */
		KASSERT(slot_is_clear(&inner));
		KASSERT(slot_holds(&s, kind, 4));
		KASSERT(all_free());
	}
}

/* ---- a fifth ---- */

static struct {
	enum kind kind;
	unsigned bottoms, refused, ran, wrong, caught;
} full;

/* As deep as it goes: refused, and nothing else; again, with interrupts on and off; the other kind has all of its levels. */
static void at_bottom(void)
{
	const enum kind other = full.kind == TRAP ? PANIC : TRAP;
	const bool on = if_of(get_flags());
	struct slot s;

	full.bottoms++;
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t preempt = cpu_self()->preempt_count;

		slot_clear(&s);
		set_if(i & 1);
		full.refused += catch(full.kind, nothing, &full.ran, i & 2 ? &s : NULL) == -ENOSPC;
		full.wrong += if_of(get_flags()) != (i & 1);
		full.wrong += !slot_is_clear(&s);
		full.wrong += cpu_self()->preempt_count != preempt;
	}
	set_if(on);
	full.wrong += levels_free(other) != DEPTH;
	full.wrong += catch(other, other == TRAP ? check_trap_fault : panics, (void *)8, &s) != 1;
	full.wrong += !slot_holds(&s, other, 8);
	full.refused += catch(full.kind, nothing, &full.ran, NULL) == -ENOSPC;
}

/* *more levels, then the bottom, and out by what the innermost catches; each level goes down a second time. */
static void go_down(void *more)
{
	unsigned less = *(const unsigned *)more - 1;
	struct slot s;

	if (less + 1 == 0) {
		at_bottom();
		leave(full.kind, full.bottoms);
		full.wrong++;
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		slot_clear(&s);
		if (catch(full.kind, go_down, &less, &s) == 1) {
			full.caught++;
			full.wrong += less != 0 || !slot_holds(&s, full.kind, full.bottoms);
		} else {
			full.wrong += less == 0 || !slot_is_clear(&s);
		}
	}
}

static bool fill_up(enum kind kind)
{
	unsigned more = DEPTH - 1;
	int result;

	memset(&full, 0, sizeof full);
	full.kind = kind;
	result = catch(kind, go_down, &more, NULL);
	return result == 0;
}

static void fill_up_within_other(void *kind)
{
	full.wrong += !fill_up(*(const enum kind *)kind);
}

/* Four, a fifth refused and not run, and what there was goes on as if it had not been asked for. */
KTEST(boot, check_trap_catch_full)
{
	KASSERT(fill_up(TRAP));
	KASSERT_EQ(full.bottoms, 8);            /* three levels, each twice */
	KASSERT_EQ(full.caught, 8);
	KASSERT_EQ(full.refused, 8 * 5);
	KASSERT_EQ(full.ran, 0);
	KASSERT_EQ(full.wrong, 0);
	KASSERT(all_free());
}

KTEST(boot, check_trap_panic_catch_full)
{
	KASSERT(fill_up(PANIC));
	KASSERT_EQ(full.bottoms, 8);
	KASSERT_EQ(full.caught, 8);
	KASSERT_EQ(full.refused, 8 * 5);
	KASSERT_EQ(full.ran, 0);
	KASSERT_EQ(full.wrong, 0);
	KASSERT(all_free());
}

/* A level of the other kind around it takes none of its own: there are four of these still, and of the other kind three. That
 * is all that at_bottom() has to say against it. */
KTEST(boot, check_trap_kinds_apart)
{
	for (enum kind kind = TRAP; kind < KINDS; kind++) {
		const enum kind other = kind == TRAP ? PANIC : TRAP;
		enum kind given = kind;

		KASSERT_EQ(catch(other, fill_up_within_other, &given, NULL), 0);
		KASSERT_EQ(full.bottoms, 8);
		KASSERT_EQ(full.caught, 8);
		KASSERT_EQ(full.refused, 8 * 5);
		KASSERT_EQ(full.ran, 0);
		KASSERT_EQ(full.wrong, 8);      /* the one that is missing, once at each bottom */
		KASSERT(all_free());
	}
}

/* ---- messages ---- */

enum { ROOM = 280, MESSAGE_MAX = 255 };

static char text[ROOM + 1], why[ROOM + 16];

static void panics_with(void *message)
{
	panic("%s", (const char *)message);
}

/* Whether a panic with the text's first `length` characters leaves as much of it as fits into size bytes, and not one more. */
static bool message_fits(size_t length, size_t size)
{
	const size_t most = length < MESSAGE_MAX ? length : MESSAGE_MAX, fits = most < size - 1 ? most : size - 1;
	const char last = text[length];
	int result;

	text[length] = 0;
	memset(why, FILL, sizeof why);
	result = panic_catch(panics_with, text, why, size);
	text[length] = last;
	return result == 1 && memcmp(why, text, fits) == 0 && why[fits] == 0 && all_are(why + size, FILL, sizeof why - size);
}

KTEST(boot, check_trap_panic_sizes)
{
	static const size_t lengths[] = { 0, 1, 2, 3, 100, MESSAGE_MAX - 1, MESSAGE_MAX, MESSAGE_MAX + 1, ROOM };
	unsigned runs = 0;

	for (size_t i = 0; i < ROOM; i++)
		text[i] = (char)('a' + i % 23);
	memset(why, FILL, sizeof why);
	KASSERT_EQ(panic_catch(panics_with, text, why, 1), 1);
	KASSERT_EQ(why[0], 0);
	KASSERT_EQ(why[1], FILL);
	KASSERT_EQ(panic_catch(panics_with, text, why, 2), 1);
	KASSERT_EQ(why[0], text[0]);
	KASSERT_EQ(why[1], 0);
	KASSERT_EQ(why[2], FILL);
	for (size_t size = 1; size <= ROOM; size++)
		for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
			const bool fits = message_fits(lengths[i], size);

			if (!fits) {
				ktest_note("size", size);
				ktest_note("length", lengths[i]);
			}
			KASSERT(fits);
		}
	memset(why, FILL, sizeof why);
	KASSERT_EQ(panic_catch(nothing, &runs, why, 1), 0);
	KASSERT_EQ(runs, 1);
	KASSERT_EQ(why[0], FILL);
	KASSERT_EQ(panic_catch(panics_with, text, NULL, 0), 1);
	KASSERT(all_free());
}

/* A message is text: what looks like a format in it is none. */
KTEST(boot, check_trap_panic_verbatim)
{
	static char message[] = "100%s %x %5u%% \n%";

	KASSERT_EQ(panic_catch(panics_with, message, why, sizeof why), 1);
	KASSERT_STREQ(why, "100%s %x %5u%% \n%");
}

/* ---- over and over ---- */

KTEST(boot, check_trap_thousand)
{
	const uint32_t preempt = cpu_self()->preempt_count;
	const uint64_t flags = get_flags();

	for (unsigned i = 0; i < 1000; i++) {
		const enum kind kind = i % 2 ? PANIC : TRAP;
		struct slot s;

		slot_clear(&s);
		KASSERT_EQ(catch(kind, kind == TRAP ? check_trap_fault : panics, (void *)(uint64_t)i, &s), 1);
		KASSERT(slot_holds(&s, kind, i));
	}
	KASSERT(all_free());
	/* each leaving one of the other kind behind */
	for (unsigned i = 0; i < 1000; i++) {
		enum kind kind = i % 2 ? PANIC : TRAP;

		KASSERT_EQ(catch(kind, leave_past, &kind, NULL), 1);
	}
	KASSERT(all_free());
	KASSERT_EQ(if_of(get_flags()), if_of(flags));
	KASSERT_EQ(cpu_self()->preempt_count, preempt);
}

/* Random nesting against a list of who is catching. */
static struct {
	uint64_t state, number;
	enum kind left_by;
	unsigned budget, depth, count[KINDS], target;   /* target: the level that is to catch number */
	bool leaving;
	enum kind kinds[KINDS * DEPTH];
	unsigned runs, refused, left[KINDS], returned, wrong;
} model;

static void play(void *arg);

static void play_nest(enum kind kind)
{
	const unsigned depth = model.depth, traps = model.count[TRAP], deep_panics = model.count[PANIC], runs = model.runs;
	const bool is_full = model.count[kind] == DEPTH, on = random_of(&model.state) & 1;
	const uint32_t preempt = cpu_self()->preempt_count;
	struct slot s;
	int result;

	slot_clear(&s);
	if (!is_full) {
		model.kinds[model.depth++] = kind;
		model.count[kind]++;
	}
	set_if(on);
	result = catch(kind, play, NULL, &s);
	if (is_full) {
		model.wrong += result != -ENOSPC || model.runs != runs || !slot_is_clear(&s);
		model.refused++;
	} else if (model.leaving) {
		model.wrong += result != 1 || model.target != depth || !slot_holds(&s, model.left_by, model.number);
		model.leaving = false;
	} else {
		model.wrong += result != 0 || model.depth != depth + 1 || !slot_is_clear(&s);
		model.returned++;
	}
	if (result != 0)
		model.wrong += if_of(get_flags()) != on;
	model.wrong += cpu_self()->preempt_count != preempt;
	model.depth = depth;
	model.count[TRAP] = traps;
	model.count[PANIC] = deep_panics;
}

static void play(void *arg)
{
	(void)arg;
	model.runs++;
	while (model.budget) {
		const enum kind kind = random_of(&model.state) & 1 ? PANIC : TRAP;
		const unsigned what = random_of(&model.state) % 16;

		model.budget--;
		if (what == 0)
			return;
		if (what > 2 || !model.count[kind]) {
			play_nest(kind);
			continue;
		}
		model.target = model.depth;
		while (model.kinds[--model.target] != kind)
			;
		model.left[kind]++;
		model.left_by = kind;
		model.number = random_of(&model.state);
		model.leaving = true;
		set_if(random_of(&model.state) & 1);
		cpu_self()->preempt_count++;            /* as by a lock that stays taken */
		leave(kind, model.number);
		model.wrong++;
		return;
	}
}

KTEST(boot, check_trap_catch_random)
{
	const uint64_t flags = get_flags();

	ktest_note("seed", SEED);
	memset(&model, 0, sizeof model);
	model.state = SEED;
	model.budget = 10000;
	while (model.budget && !model.wrong)
		play_nest(random_of(&model.state) & 1 ? PANIC : TRAP);
	set_if(if_of(flags));
	KASSERT_EQ(model.wrong, 0);
	KASSERT_EQ(model.depth, 0);
	KASSERT(model.left[TRAP] > 250);
	KASSERT(model.left[PANIC] > 250);
	KASSERT(model.returned > 250);
	KASSERT(model.refused > 250);
	KASSERT(all_free());
}

/* ---- what is put back ---- */

static struct spinlock lock;

static void lock_and_leave(void *kind)
{
	spin_lock(&lock);
	leave(*(const enum kind *)kind, 1);
}

static void save_and_leave(void *kind)
{
	(void)spin_lock_irqsave(&lock);
	leave(*(const enum kind *)kind, 1);
}

static void unlock_and_leave(void *kind)
{
	spin_unlock(&lock);
	leave(*(const enum kind *)kind, 1);
}

static void only_leave(void *kind)
{
	leave(*(const enum kind *)kind, 1);
}

/* The preempt count is that of the call, whatever locks were taken or given back; these stay what they were made. */
KTEST(boot, check_trap_locks)
{
	for (enum kind kind = TRAP; kind < KINDS; kind++) {
		const uint64_t flags = irq_off();
		const uint32_t preempt = cpu_self()->preempt_count;
		uint32_t taken, saved, held, kept, given, count_at_end;
		bool stays_taken, stays_saved, stays_held, stays_given, on;
		unsigned caught = 0;

		lock = (struct spinlock){ 0 };
		caught += catch(kind, lock_and_leave, &kind, NULL) == 1;
		taken = cpu_self()->preempt_count;
		stays_taken = lock.next == 1 && lock.serving == 0;
		lock = (struct spinlock){ 0 };

		set_if(true);
		caught += catch(kind, save_and_leave, &kind, NULL) == 1;
		on = if_of(get_flags());
		set_if(false);
		saved = cpu_self()->preempt_count;
		stays_saved = lock.next == 1 && lock.serving == 0;
		lock = (struct spinlock){ 0 };

		spin_lock(&lock);
		held = cpu_self()->preempt_count;
		caught += catch(kind, only_leave, &kind, NULL) == 1;
		kept = cpu_self()->preempt_count;
		stays_held = lock.next == 1 && lock.serving == 0;
		caught += catch(kind, unlock_and_leave, &kind, NULL) == 1;
		given = cpu_self()->preempt_count;
		stays_given = lock.next == 1 && lock.serving == 1;
		cpu_self()->preempt_count = preempt;

		spin_lock(&lock);
		spin_unlock(&lock);
		count_at_end = cpu_self()->preempt_count;
		set_if(if_of(flags));
		KASSERT_EQ(caught, 4);
		KASSERT_EQ(taken, preempt);
		KASSERT(stays_taken);
		KASSERT_EQ(saved, preempt);
		KASSERT(stays_saved);
		KASSERT(on);
		KASSERT_EQ(held, preempt + 1);
		KASSERT_EQ(kept, preempt + 1);
		KASSERT(stays_held);
		KASSERT_EQ(given, preempt + 1);
		KASSERT(stays_given);
		KASSERT_EQ(count_at_end, preempt);
	}
}

enum { KEPT = 6, STACK_MOVED = 6 };     /* RBX, RBP, R12 to R15, then how far RSP is from where it was */

/* function(fn, arg, NULL, 0) with the registers of in[]; how they are afterwards in out[], and what it returns. */
int check_trap_keep(uint64_t function, void (*fn)(void *), void *arg, const uint64_t *in, uint64_t *out);
uint64_t check_trap_stack;
__asm__(".text\n.globl check_trap_keep\ncheck_trap_keep:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %r8\n"
	"mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\n"
	"mov 0(%rcx), %rbx\nmov 8(%rcx), %rbp\nmov 16(%rcx), %r12\nmov 24(%rcx), %r13\nmov 32(%rcx), %r14\nmov 40(%rcx), %r15\n"
	"xor %edx, %edx\nxor %ecx, %ecx\n"
	"mov %rsp, check_trap_stack(%rip)\ncall *%rax\n"
	"mov %rsp, %rdx\nmov check_trap_stack(%rip), %rsp\nsub %rsp, %rdx\npop %r8\n"
	"mov %rbx, 0(%r8)\nmov %rbp, 8(%r8)\nmov %r12, 16(%r8)\nmov %r13, 24(%r8)\nmov %r14, 32(%r8)\nmov %r15, 40(%r8)\n"
	"mov %rdx, 48(%r8)\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

/* Sets all registers but RSP to in[] (the order of struct trap_frame) and faults; says first where RSP is. */
void check_trap_load(void *in);
extern const char check_trap_load_fault[];
uint64_t check_trap_load_stack;
__asm__(".text\n.globl check_trap_load, check_trap_load_fault\ncheck_trap_load:\n"
	"mov %rsp, check_trap_load_stack(%rip)\n"
	"mov 0(%rdi), %r15\nmov 8(%rdi), %r14\nmov 16(%rdi), %r13\nmov 24(%rdi), %r12\nmov 32(%rdi), %r11\n"
	"mov 40(%rdi), %r10\nmov 48(%rdi), %r9\nmov 56(%rdi), %r8\nmov 72(%rdi), %rsi\nmov 80(%rdi), %rbp\n"
	"mov 88(%rdi), %rdx\nmov 96(%rdi), %rcx\nmov 104(%rdi), %rbx\nmov 112(%rdi), %rax\nmov 64(%rdi), %rdi\n"
	"check_trap_load_fault:\nud2\n");

/* Panics with other callee-saved registers, and some of the stack in use. */
void check_trap_load_panic(void *message);
__asm__(".text\n.globl check_trap_load_panic\ncheck_trap_load_panic:\n"
	"sub $1032, %rsp\nmov $-1, %rbx\nmov $-2, %r12\nmov $-3, %r13\nmov $-4, %r14\nmov $-5, %r15\n"
	"xor %eax, %eax\ncall panic\n");

/* Caught or not, who calls keeps what the ABI says that it keeps. */
KTEST(boot, check_trap_kept)
{
	static char message[] = "check";
	uint64_t state = SEED, in[KEPT], out[KEPT + 1], load[REGISTERS];
	unsigned runs = 0;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < 64; round++) {
		const unsigned kind = round % 4;
		int result;

		for (unsigned i = 0; i < KEPT; i++)
			in[i] = random_of(&state);
		for (unsigned i = 0; i < REGISTERS; i++)
			load[i] = random_of(&state);
		if (kind == 0)
			result = check_trap_keep((uint64_t)trap_catch, check_trap_load, load, in, out);
		else if (kind == 1)
			result = check_trap_keep((uint64_t)panic_catch, check_trap_load_panic, message, in, out);
		else
			result = check_trap_keep(kind == 2 ? (uint64_t)trap_catch : (uint64_t)panic_catch, nothing, &runs, in, out);
		KASSERT_EQ(result, kind < 2);
		for (unsigned i = 0; i < KEPT; i++)
			KASSERT_EQ(out[i], in[i]);
		KASSERT_EQ(out[STACK_MOVED], 0);
	}
	KASSERT_EQ(runs, 32);
}

/* The frame that is caught is the one at the fault, all of it. */
KTEST(boot, check_trap_caught_frame)
{
	uint64_t state = SEED + 1, load[REGISTERS];
	struct trap_frame frame;

	ktest_note("seed", SEED + 1);
	for (unsigned round = 0; round < 64; round++) {
		const uint64_t flags = irq_off();
		int result;

		for (unsigned i = 0; i < REGISTERS; i++)
			load[i] = random_of(&state);
		memset(&frame, FILL, sizeof frame);
		set_if(round % 2);
		result = trap_catch(check_trap_load, load, &frame);
		set_if(if_of(flags));
		KASSERT_EQ(result, 1);
		for (unsigned i = 0; i < REGISTERS; i++)
			KASSERT_EQ(((const uint64_t *)&frame)[i], load[i]);
		KASSERT_EQ(frame.vector, VEC_OPCODE);
		KASSERT_EQ(frame.error, 0);
		KASSERT_EQ(frame.rip, (uint64_t)check_trap_load_fault);
		KASSERT_EQ(frame.cs, SEL_KERNEL_CODE);
		KASSERT_EQ(frame.ss, SEL_KERNEL_DATA);
		KASSERT_EQ(frame.rsp, check_trap_load_stack);
		KASSERT_EQ(if_of(frame.rflags), round % 2);     /* as fn ran, which is as at the call */
		KASSERT_EQ(frame.rflags & DF, 0);
	}
}

static void backwards_and_fault(void *number)
{
	__asm__ volatile("std" : : : "memory", "cc");
	check_trap_fault(number);
}

/* The direction flag is clear again, as whoever is returned to expects. */
KTEST(boot, check_trap_direction)
{
	struct slot s;
	uint64_t after;
	int result;

	slot_clear(&s);
	result = catch(TRAP, backwards_and_fault, (void *)6, &s);
	after = get_flags();
	__asm__ volatile("cld" : : : "memory", "cc");
	KASSERT_EQ(result, 1);
	KASSERT(slot_holds(&s, TRAP, 6));
	KASSERT_EQ(s.frame.rflags & DF, DF);
	KASSERT_EQ(after & DF, 0);
}

static uint64_t flags_in_fn;

static void look_at_flags(void *kind)
{
	flags_in_fn = get_flags();
	if (kind)
		leave(*(const enum kind *)kind, 0);
}

/* fn runs with interrupts as they are at the call. */
KTEST(boot, check_trap_catch_interrupts)
{
	for (unsigned round = 0; round < 8; round++) {
		enum kind kind = round & 1 ? PANIC : TRAP;
		const bool on = round & 2, leaves = round & 4;
		const uint64_t flags = irq_off();
		uint64_t after;
		int result;

		flags_in_fn = on ? 0 : IF;
		set_if(on);
		result = catch(kind, look_at_flags, leaves ? &kind : NULL, NULL);
		after = get_flags();
		set_if(if_of(flags));
		KASSERT_EQ(result, leaves);
		KASSERT_EQ(if_of(flags_in_fn), on);
		KASSERT_EQ(if_of(after), on);
	}
}

/* ---- what a handler writes to its frame ---- */

static uint64_t toggled;

static void moving_handler(struct trap_frame *f)
{
	f->rip += 2;
	f->rsp -= 256;
	f->rflags ^= toggled;
}

/* RAISED, then what its handler is to step over. RFLAGS and RSP after it, and RSP before it. */
void check_trap_moved(uint64_t *out);
__asm__(".text\n.globl check_trap_moved\ncheck_trap_moved:\n"
	"push %rbx\nmov %rsp, %rbx\nclc\nint $0xe1\nud2\n"
	"pushfq\ncli\ncld\npop %rax\nmov %rax, 0(%rdi)\nmov %rsp, 8(%rdi)\nmov %rbx, 16(%rdi)\nmov %rbx, %rsp\npop %rbx\nret\n");

/* Instruction, stack and flags, interrupts among them, are what the handler wrote. */
KTEST(boot, check_trap_frame_written)
{
	for (unsigned round = 0; round < 16; round++) {
		const bool on = round & 8;
		const uint64_t flags = irq_off();
		uint64_t out[3];
		int set;

		toggled = (round & 1 ? CF : 0) | (round & 2 ? DF : 0) | (round & 4 ? IF : 0);
		set = trap_set_handler(RAISED, moving_handler);
		set_if(on);
		check_trap_moved(out);
		trap_clear_handler(RAISED);
		set_if(if_of(flags));
		KASSERT_EQ(set, 0);
		KASSERT_EQ(out[1], out[2] - 256);
		KASSERT_EQ(out[0] & (CF | DF | IF), toggled ^ (on ? IF : 0));
	}
}

/* ---- who has a vector ---- */

static void handler_a(struct trap_frame *f)
{
	inside.runs += f->vector == RAISED;
}

static void handler_b(struct trap_frame *f)
{
	inside.wrong += f->vector <= VECTORS;
}

static void handler_c(struct trap_frame *f)
{
	inside.wrong += f->vector <= VECTORS;
}

/* What is empty stays so, its neighbours stay what they are, and no vector above 255 is one below. */
KTEST(boot, check_trap_clear_empty)
{
	const uint64_t flags = irq_off();
	int set_low, set_high, set_after, refused, refused_null, refused_high;
	trap_handler empty, low, high, kept, above, gone;

	memset(&inside, 0, sizeof inside);
	set_low = trap_set_handler(RAISED - 1, handler_b);
	set_high = trap_set_handler(RAISED + 1, handler_c);
	trap_clear_handler(RAISED);
	trap_clear_handler(RAISED);
	empty = trap_get_handler(RAISED);
	low = trap_get_handler(RAISED - 1);
	high = trap_get_handler(RAISED + 1);

	set_after = trap_set_handler(RAISED, handler_a);
	refused = trap_set_handler(RAISED, handler_b);
	refused_null = trap_set_handler(RAISED, NULL);
	refused_high = trap_set_handler(RAISED + VECTORS, handler_b);
	trap_clear_handler(RAISED + VECTORS);
	trap_clear_handler(RAISED - VECTORS);           /* wraps: far above 255 */
	above = trap_get_handler(RAISED + VECTORS);
	kept = trap_get_handler(RAISED);
	raise(NULL);
	trap_clear_handler(RAISED);
	trap_clear_handler(RAISED);
	gone = trap_get_handler(RAISED);
	trap_clear_handler(RAISED - 1);
	trap_clear_handler(RAISED + 1);
	set_if(if_of(flags));
	KASSERT_EQ(set_low, 0);
	KASSERT_EQ(set_high, 0);
	KASSERT(empty == NULL);
	KASSERT(low == handler_b);
	KASSERT(high == handler_c);
	KASSERT_EQ(set_after, 0);
	KASSERT_EQ(refused, -EBUSY);
	KASSERT_EQ(refused_null, -EINVAL);
	KASSERT_EQ(refused_high, -EINVAL);
	KASSERT(above == NULL);
	KASSERT(kept == handler_a);
	KASSERT_EQ(inside.runs, 1);
	KASSERT_EQ(inside.wrong, 0);
	KASSERT(gone == NULL);
}

/* The free vectors against a table of who has them. */
KTEST(boot, check_trap_handlers_random)
{
	static const trap_handler some[] = { handler_a, handler_b, handler_c };
	trap_handler has[FREE_COUNT] = { NULL };
	uint64_t state = SEED + 2;
	unsigned wrong = 0, busy = 0;

	ktest_note("seed", SEED + 2);
	for (unsigned step = 0; step < 5000 && !wrong; step++) {
		const unsigned i = random_of(&state) % FREE_COUNT;
		const trap_handler fn = some[random_of(&state) % 3];

		if (random_of(&state) % 3) {
			const int expected = has[i] ? -EBUSY : 0;

			wrong += trap_set_handler(FREE + i, fn) != expected;
			busy += expected != 0;
			if (!expected)
				has[i] = fn;
		} else {
			trap_clear_handler(FREE + i);
			has[i] = NULL;
		}
		for (unsigned j = 0; j < FREE_COUNT; j++)
			wrong += trap_get_handler(FREE + j) != has[j];
	}
	for (unsigned i = 0; i < FREE_COUNT; i++)
		trap_clear_handler(FREE + i);
	KASSERT_EQ(wrong, 0);
	KASSERT(busy > 1000);
}

/* ---- exceptions by `int` ---- */

/* EXCEPTIONS times `int n; ret`, three bytes each; the breakpoint's is one byte shorter, and there is a nop behind its ret. */
extern const char check_trap_ints[];
__asm__(".text\n.globl check_trap_ints\ncheck_trap_ints:\n"
	"int $0\nret\nint $1\nret\nint $2\nret\nint3\nret\nnop\nint $4\nret\nint $5\nret\nint $6\nret\nint $7\nret\n"
	"int $8\nret\nint $9\nret\nint $10\nret\nint $11\nret\nint $12\nret\nint $13\nret\nint $14\nret\nint $15\nret\n"
	"int $16\nret\nint $17\nret\nint $18\nret\nint $19\nret\nint $20\nret\nint $21\nret\nint $22\nret\nint $23\nret\n"
	"int $24\nret\nint $25\nret\nint $26\nret\nint $27\nret\nint $28\nret\nint $29\nret\nint $30\nret\nint $31\nret\n");

static uint64_t int_at(unsigned vector)
{
	return (uint64_t)check_trap_ints + 3 * vector;
}

/* What follows it, which is what it pushes. */
static uint64_t after_int_at(unsigned vector)
{
	return int_at(vector) + (vector == VEC_BREAKPOINT ? 1 : 2);
}

static void call_at(void *address)
{
	__asm__ volatile("call *%0" : : "r"(address) : "memory", "cc");
	inside.went_on++;
}

/* `int` pushes no error code, so the frame of these is not what their stubs expect. */
static bool pushes_error(unsigned v)
{
	return v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30;
}

/* All exceptions are caught, also those that no processor has so far, but for the three that are nobody's doing. None of
 * them counts as a stray interrupt. */
KTEST(boot, check_trap_catch_vectors)
{
	memset(&inside, 0, sizeof inside);
	for (unsigned v = 0; v < EXCEPTIONS; v++) {
		struct trap_frame frame;
		trap_handler before;
		uint64_t flags;
		int result;

		if (v == VEC_NMI || v == VEC_MACHINE_CHECK || pushes_error(v))
			continue;
		flags = irq_off();
		before = trap_get_handler(v);
		trap_clear_handler(v);
		result = trap_catch(call_at, (void *)int_at(v), &frame);
		if (before)
			trap_set_handler(v, before);
		set_if(if_of(flags));
		KASSERT_EQ(result, 1);
		KASSERT_EQ(frame.vector, v);
		KASSERT_EQ(frame.error, 0);
		KASSERT_EQ(frame.rip, after_int_at(v));
		KASSERT_EQ(frame.cs, SEL_KERNEL_CODE);
		KASSERT_EQ(trap_stray_count(v), 0);
	}
	KASSERT_EQ(inside.went_on, 0);
	KASSERT(all_free());
}

/* Exceptions are never strays, and a number above 255 is no vector's. */
KTEST(boot, check_trap_stray_numbers)
{
	const uint64_t before = trap_stray_count(FREE + 10);

	KASSERT(trap_get_handler(FREE + 10) == NULL);
	__asm__ volatile("int $0xea" : : : "memory");
	KASSERT_EQ(trap_stray_count(FREE + 10), before + 1);
	for (unsigned v = 0; v < EXCEPTIONS; v++)
		KASSERT_EQ(trap_stray_count(v), 0);
	KASSERT_EQ(trap_stray_count(FREE + 10 + VECTORS), 0);
	KASSERT_EQ(trap_stray_count(FREE + 10 - VECTORS), 0);
	KASSERT_EQ(trap_stray_count(UINT32_MAX), 0);
}

/* With a handler it is not stray. */
KTEST(boot, check_trap_handled_not_stray)
{
	const uint64_t before = trap_stray_count(RAISED);
	int set;

	memset(&inside, 0, sizeof inside);
	set = trap_set_handler(RAISED, handler_a);
	raise(NULL);
	trap_clear_handler(RAISED);
	KASSERT_EQ(set, 0);
	KASSERT_EQ(inside.runs, 1);
	KASSERT_EQ(trap_stray_count(RAISED), before);
}

/* ---- vectors with stacks of their own ---- */

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* The top of this processor's stack of that IST. */
static uint64_t ist_top(unsigned ist)
{
	struct table_register gdtr;
	const uint64_t *entry;
	const struct tss *tss;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	entry = (const uint64_t *)(gdtr.base + SEL_TSS);
	tss = (const struct tss *)((entry[0] >> 16 & 0xffffff) | (entry[0] >> 56 & 0xff) << 24 | entry[1] << 32);
	return tss->ist[ist - 1];
}

static bool in_ist(uint64_t address, unsigned ist)
{
	return address < ist_top(ist) && address >= ist_top(ist) - IST_STACK_SIZE;
}

static struct look {
	unsigned runs;
	uint64_t at, stack, flags;
	struct trap_frame frame, later;
} looks[EXCEPTIONS];

static void look_ist(struct trap_frame *f)
{
	struct look *l = &looks[f->vector];

	l->runs++;
	l->at = (uint64_t)f;
	l->stack = (uint64_t)__builtin_frame_address(0);
	l->flags = get_flags();
	l->frame = *f;
}

static uint64_t int_stack, int_rip;     /* of the last raise_on_ist */

static void raise_on_ist(void *vector)
{
	if ((uint64_t)vector == VEC_NMI)
		__asm__ volatile("mov %%rsp, %0\n\tlea 0f(%%rip), %1\n\tint $2\n0:" : "=&r"(int_stack), "=&r"(int_rip) : : "memory");
	else
		__asm__ volatile("mov %%rsp, %0\n\tlea 0f(%%rip), %1\n\tint $18\n0:" : "=&r"(int_stack), "=&r"(int_rip) : : "memory");
	inside.went_on++;
}

/* Until give_back(): interrupts off, and the vector the test's. */
static struct {
	trap_handler before[EXCEPTIONS];
	uint64_t flags;
} held;

static int take(unsigned vector, trap_handler fn)
{
	held.before[vector] = trap_get_handler(vector);
	trap_clear_handler(vector);
	return trap_set_handler(vector, fn);
}

static void give_back(unsigned vector)
{
	trap_clear_handler(vector);
	if (held.before[vector])
		trap_set_handler(vector, held.before[vector]);
}

/* The frame is at the top of the vector's own stack, the handler below it; it says where the other stack was. It is the same
 * the second time, and no trap_catch has anything to do with it. */
KTEST(boot, check_trap_ist)
{
	static const struct { unsigned vector, ist; } cases[] = { { VEC_NMI, IST_NMI }, { VEC_MACHINE_CHECK, IST_MACHINE_CHECK } };

	for (unsigned i = 0; i < 2; i++)
		for (unsigned round = 0; round < 6; round++) {
			const unsigned vector = cases[i].vector, ist = cases[i].ist;
			const struct look *l = &looks[vector];
			const bool on = round & 1;
			const uint64_t flags = irq_off();
			uint64_t after;
			int taken, result = 0;

			memset(looks, 0, sizeof looks);
			memset(&inside, 0, sizeof inside);
			taken = take(vector, look_ist);
			set_if(on);
			if (round & 2)
				result = trap_catch(raise_on_ist, (void *)(uint64_t)vector, NULL);
			else
				raise_on_ist((void *)(uint64_t)vector);
			after = get_flags();
			set_if(false);
			give_back(vector);
			set_if(if_of(flags));
			KASSERT_EQ(taken, 0);
			KASSERT_EQ(result, 0);
			KASSERT_EQ(inside.went_on, 1);
			KASSERT_EQ(l->runs, 1);
			KASSERT_EQ(l->at + sizeof l->frame, ist_top(ist));
			KASSERT(in_ist(l->stack, ist));
			KASSERT(l->stack < l->at);
			KASSERT_EQ(l->stack % 16, 0);
			KASSERT_EQ(if_of(l->flags), false);
			KASSERT_EQ(l->frame.vector, vector);
			KASSERT_EQ(l->frame.error, 0);
			KASSERT_EQ(l->frame.rip, int_rip);
			KASSERT_EQ(l->frame.rsp, int_stack);
			KASSERT_EQ(l->frame.cs, SEL_KERNEL_CODE);
			KASSERT_EQ(l->frame.ss, SEL_KERNEL_DATA);
			KASSERT_EQ(if_of(l->frame.rflags), on);
			KASSERT_EQ(if_of(after), on);
			KASSERT(all_free());
		}
}

static void look_and_nest(struct trap_frame *f)
{
	look_ist(f);
	raise_on_ist((void *)VEC_MACHINE_CHECK);
	looks[f->vector].later = *f;
}

/* A machine check within an NMI's handler: each on its own stack, and the first one's frame stays what it is. */
KTEST(boot, check_trap_ist_nested)
{
	const struct look *nmi = &looks[VEC_NMI], *check = &looks[VEC_MACHINE_CHECK];
	const uint64_t flags = irq_off();
	int taken, taken_too;

	memset(looks, 0, sizeof looks);
	memset(&inside, 0, sizeof inside);
	taken = take(VEC_NMI, look_and_nest);
	taken_too = take(VEC_MACHINE_CHECK, look_ist);
	raise_on_ist((void *)VEC_NMI);
	give_back(VEC_MACHINE_CHECK);
	give_back(VEC_NMI);
	set_if(if_of(flags));
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(taken_too, 0);
	KASSERT_EQ(inside.went_on, 2);
	KASSERT_EQ(nmi->runs, 1);
	KASSERT_EQ(check->runs, 1);
	KASSERT_EQ(nmi->at + sizeof nmi->frame, ist_top(IST_NMI));
	KASSERT_EQ(check->at + sizeof check->frame, ist_top(IST_MACHINE_CHECK));
	KASSERT(in_ist(check->frame.rsp, IST_NMI));
	KASSERT(check->frame.rsp < nmi->at);
	KASSERT_EQ(memcmp(&nmi->frame, &nmi->later, sizeof nmi->frame), 0);
}

/* By `int` vector 8 comes without the error code that its stub counts on: what the processor pushed begins where that would
 * be, so there is no way back but by an exception. */
static void look_and_fault(struct trap_frame *f)
{
	struct look *l = &looks[f->vector];

	l->runs++;
	l->at = (uint64_t)f;
	l->stack = (uint64_t)__builtin_frame_address(0);
	l->flags = get_flags();
	memcpy(&l->frame, f, offsetof(struct trap_frame, ss));
	check_trap_fault((void *)VEC_DOUBLE_FAULT);
	inside.wrong++;
}

static void raise_double_fault(void *arg)
{
	(void)arg;
	__asm__ volatile("mov %%rsp, %0\n\tlea 0f(%%rip), %%rax\n\tmov %%rax, %1\n\tint $8\n0:"
			 : "=m"(int_stack), "=m"(int_rip) : : "rax", "memory");
	inside.went_on++;
}

/* An exception in a handler on IST2 is caught by who was interrupted on another stack. With that stack the processor has
 * also loaded a null SS, which only an iretq would have put back: the test does. */
KTEST(boot, check_trap_ist_left)
{
	const struct look *l = &looks[VEC_DOUBLE_FAULT];

	for (unsigned round = 0; round < 4; round++) {
		const bool on = round & 1;
		const uint64_t flags = irq_off();
		struct slot s;
		uint64_t after;
		int taken, result;

		memset(looks, 0, sizeof looks);
		memset(&inside, 0, sizeof inside);
		slot_clear(&s);
		taken = take(VEC_DOUBLE_FAULT, look_and_fault);
		set_if(on);
		result = catch(TRAP, raise_double_fault, NULL, &s);
		after = get_flags();
		set_if(false);
		__asm__ volatile("mov %0, %%ss" : : "r"((uint32_t)SEL_KERNEL_DATA) : "memory");
		give_back(VEC_DOUBLE_FAULT);
		set_if(if_of(flags));
		KASSERT_EQ(taken, 0);
		KASSERT_EQ(result, 1);
		KASSERT_EQ(inside.went_on, 0);
		KASSERT_EQ(inside.wrong, 0);
		KASSERT_EQ(l->runs, 1);
		KASSERT_EQ(l->at + offsetof(struct trap_frame, ss), ist_top(IST_DOUBLE_FAULT));
		KASSERT(in_ist(l->stack, IST_DOUBLE_FAULT));
		KASSERT_EQ(if_of(l->flags), false);
		KASSERT_EQ(l->frame.vector, VEC_DOUBLE_FAULT);
		KASSERT_EQ(l->frame.error, int_rip);            /* each a word lower than with an error code */
		KASSERT_EQ(l->frame.rip, SEL_KERNEL_CODE);
		KASSERT_EQ(if_of(l->frame.cs), on);
		KASSERT_EQ(l->frame.rflags, int_stack);
		KASSERT_EQ(l->frame.rsp, SEL_KERNEL_DATA);
		KASSERT(slot_holds(&s, TRAP, VEC_DOUBLE_FAULT));
		KASSERT(in_ist(s.frame.rsp, IST_DOUBLE_FAULT));
		KASSERT_EQ(if_of(after), on);
		KASSERT(all_free());
	}
}

#define NO_STACK 0xFFFFF00000002000ull  /* nothing is mapped there */

uint64_t check_trap_resume, check_trap_resume_stack;

static void resuming_handler(struct trap_frame *f)
{
	look_ist(f);
	f->rip = check_trap_resume;
	f->rsp = check_trap_resume_stack;
}

/* A push where there is no stack, with interrupts off; goes on where resuming_handler says. */
void check_trap_overflow(uint64_t stack);
__asm__(".text\n.globl check_trap_overflow\ncheck_trap_overflow:\n"
	"mov %rsp, check_trap_resume_stack(%rip)\nlea 0f(%rip), %rax\nmov %rax, check_trap_resume(%rip)\n"
	"mov %rdi, %rsp\npush %rax\nud2\n0:\nret\n");

/* A stack that cannot be used: IST2 can, with an error code, and a handler gets out of it. */
KTEST(boot, check_trap_double_fault)
{
	const struct look *l = &looks[VEC_DOUBLE_FAULT];

	for (unsigned round = 0; round < 3; round++) {
		const uint64_t flags = irq_off();
		int taken;

		memset(looks, 0, sizeof looks);
		taken = take(VEC_DOUBLE_FAULT, resuming_handler);
		check_trap_overflow(NO_STACK);
		give_back(VEC_DOUBLE_FAULT);
		set_if(if_of(flags));
		KASSERT_EQ(taken, 0);
		KASSERT_EQ(l->runs, 1);
		KASSERT_EQ(l->at + sizeof l->frame, ist_top(IST_DOUBLE_FAULT));
		KASSERT(in_ist(l->stack, IST_DOUBLE_FAULT));
		KASSERT_EQ(l->stack % 16, 0);
		KASSERT_EQ(if_of(l->flags), false);
		KASSERT_EQ(l->frame.vector, VEC_DOUBLE_FAULT);
		KASSERT_EQ(l->frame.error, 0);
		KASSERT_EQ(l->frame.rsp, NO_STACK);
		KASSERT_EQ(l->frame.rdi, NO_STACK);
		KASSERT_EQ(l->frame.cs, SEL_KERNEL_CODE);
		KASSERT_EQ(if_of(l->frame.rflags), false);
	}
}
