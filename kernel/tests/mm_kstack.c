/* Kernel stacks, beyond acceptance/mm/kstack.c: where slots lie, stacks that live side by side while others come and
 * go on whatever processor, stacks that are run on, frees that are refused, and what is had when there is no memory.
 * See spec/mm.md. */
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

#define SLOT_SIZE  (2 * KSTACK_SIZE)            /* "slot i at + i·32 KiB: lower 16 KiB hole, upper 16 KiB stack" */
#define AREA_SIZE  (1ul << 39)                  /* an entry of the root */
#define LONG       8000000000ull  /* ns: the machine below may have less processors, and others to serve */
#define SEED       0x6b737400ull
#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

enum { PAGES = KSTACK_SIZE / PAGE_SIZE, WORDS = KSTACK_SIZE / 8, PAGE_WORDS = PAGE_SIZE / 8 };

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

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

/* ---- processors ---- */

struct call {
	unsigned cpu;
	void (*fn)(void *);
	void *arg;
};

static void if_wanted(void *arg)
{
	const struct call *c = arg;

	if (cpu_self()->index == c->cpu)
		c->fn(c->arg);
}

/* As cpu_call, however long it takes. */
static void on_cpu(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct call c = { cpu, fn, arg };

	(void)cpu_on_each(if_wanted, &c);
}

/* All processors wait here for all, answering shootdowns. Both are 0 at the beginning of a test that has them meet. */
static uint32_t arrived, absent;

static void meet(void)
{
	const uint32_t n = cpu_count(), wanted = (__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST) / n + 1) * n;
	const uint64_t start = clock_ns();

	while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - start >= LONG) {
			count(&absent);
			return;
		}
		tlb_poll();
		cpu_pause();
	}
}

struct work {
	void *top;
	int result;
};

static void alloc_here(void *arg)
{
	struct work *w = arg;

	w->result = kstack_alloc(&w->top);
}

static void free_here(void *arg)
{
	struct work *w = arg;

	w->result = kstack_free(w->top);
}

/* ---- accesses ---- */

static void read_byte(void *at)
{
	(void)*(volatile uint8_t *)at;
}

static void write_byte(void *at)
{
	*(volatile uint8_t *)at = 0xc3;
}

enum { WRITING = 2, NO_FAULT = -1, OTHER = -2 };        /* of a page fault's error code; none; another */

static int fault_of(void (*access)(void *), uint64_t at)
{
	struct trap_frame f;

	if (trap_catch(access, (void *)at, &f) != 1)
		return NO_FAULT;
	return f.vector == VEC_PAGE_FAULT && READ("mov %%cr2, %0") == at ? (int)f.error : OTHER;
}

/* ---- what is in a stack: in each page its first and its last word, and one between, differ from all others ---- */

static volatile uint64_t *word_at(void *top, unsigned page, unsigned word)
{
	return (volatile uint64_t *)((vaddr_t)top - KSTACK_SIZE) + page * PAGE_WORDS + word;
}

static uint64_t mark_of(uint64_t id, unsigned page, unsigned word)
{
	uint64_t state = SEED + (id << 16 | page << 12 | word);

	return random_of(&state);
}

static void mark(void *top, uint64_t id)
{
	for (unsigned page = 0; page < PAGES; page++) {
		const unsigned between = 1 + (unsigned)(mark_of(id, page, 1) % (PAGE_WORDS - 2));

		*word_at(top, page, 0) = mark_of(id, page, 0);
		*word_at(top, page, between) = mark_of(id, page, between);
		*word_at(top, page, PAGE_WORDS - 1) = mark_of(id, page, PAGE_WORDS - 1);
	}
}

/* How many of the words are not as they were marked. */
static unsigned unlike(void *top, uint64_t id)
{
	unsigned other = 0;

	for (unsigned page = 0; page < PAGES; page++) {
		const unsigned between = 1 + (unsigned)(mark_of(id, page, 1) % (PAGE_WORDS - 2));

		other += *word_at(top, page, 0) != mark_of(id, page, 0);
		other += *word_at(top, page, between) != mark_of(id, page, between);
		other += *word_at(top, page, PAGE_WORDS - 1) != mark_of(id, page, PAGE_WORDS - 1);
	}
	return other;
}

/* In its slot as the address map says: 16 KiB of frames "RW, NX, global", each mapped to by the direct map too, and
 * 16 KiB not mapped beneath. How many things are otherwise. */
static unsigned misplaced(void *top)
{
	const vaddr_t end = (vaddr_t)top, bottom = end - KSTACK_SIZE;
	unsigned wrong = 0;
	struct pt_entry e;

	wrong += end <= KSTACK_BASE || end > KSTACK_BASE + AREA_SIZE || (end - KSTACK_BASE) % SLOT_SIZE != 0;
	for (unsigned page = 0; page < PAGES; page++) {
		wrong += pt_translate(kernel_root, bottom - (page + 1) * PAGE_SIZE, &e) != -ENOENT;
		if (pt_translate(kernel_root, bottom + page * PAGE_SIZE, &e)) {
			wrong++;
			continue;
		}
		wrong += e.size != PAGE_SIZE || e.prot != (VM_WRITE | VM_GLOBAL) || !frame_managed(e.pa);
		wrong += *(const volatile uint64_t *)phys_to_virt(e.pa) != *word_at(top, page, 0);
	}
	return wrong;
}

static bool is_gone(void *top)
{
	struct pt_entry e;

	for (unsigned page = 0; page < 2 * PAGES; page++)
		if (pt_translate(kernel_root, (vaddr_t)top - (page + 1) * PAGE_SIZE, &e) != -ENOENT)
			return false;
	return true;
}

/* ---- many ---- */

enum { MANY = 300 };
static void *tops[MANY];

static void shuffle(void **items, unsigned n, uint64_t *seed)
{
	for (; n > 1; n--) {
		const unsigned k = (unsigned)(random_of(seed) % n);
		void *item = items[n - 1];

		items[n - 1] = items[k];
		items[k] = item;
	}
}

/* How many there were memory for. */
static unsigned alloc_many(void)
{
	unsigned n = 0;

	while (n < MANY && kstack_alloc(&tops[n]) == 0)
		n++;
	return n;
}

/* Slots of all that live at once are the map's, no two share one, and no two stacks a frame: what is written to each
 * page is there when all are written. Freed in another order, each keeps what it has until it is its turn; then it
 * is gone and its frames are back, all of them. */
KTEST(mm, check_kstack_slots)
{
	unsigned n, wrong = 0, other = 0, same = 0, left = 0;
	uint64_t seed = SEED, before;

	ktest_note("seed", SEED);
	n = alloc_many();                       /* tables that it takes stay */
	for (unsigned i = 0; i < n; i++)
		wrong += kstack_free(tops[i]) != 0;
	KASSERT_EQ(n, MANY);
	KASSERT_EQ(wrong, 0);

	before = free_frames();
	n = alloc_many();
	for (unsigned i = 0; i < n; i++)
		mark(tops[i], (vaddr_t)tops[i] / SLOT_SIZE);
	for (unsigned i = 0; i < n; i++) {
		wrong += misplaced(tops[i]);
		other += unlike(tops[i], (vaddr_t)tops[i] / SLOT_SIZE);
		for (unsigned k = 0; k < i; k++)
			same += tops[i] == tops[k];
	}
	wrong += before - free_frames() != n * PAGES;
	shuffle(tops, n, &seed);
	for (unsigned i = 0; i < n; i++) {
		other += unlike(tops[i], (vaddr_t)tops[i] / SLOT_SIZE);
		wrong += kstack_free(tops[i]) != 0;
		left += !is_gone(tops[i]);
		if (i % 16 == 0)
			for (unsigned k = i + 1; k < n; k++)
				other += unlike(tops[k], (vaddr_t)tops[k] / SLOT_SIZE);
	}
	KASSERT_EQ(n, MANY);
	KASSERT_EQ(same, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(free_frames(), before);
}

/* ---- random work against a model ---- */

enum { MODEL = 80 };
static struct {
	struct work work;               /* top NULL: none */
	uint64_t id;
} model[MODEL];

/* "May be called on any processor": allocated, written, read and freed on processors that have nothing to do with
 * each other. Each holds its contents, and the frames add up, at any time. */
KTEST(mm, check_kstack_random)
{
	unsigned wrong = 0, other = 0, live = 0, left = 0;
	uint64_t seed = SEED + 1, before, id = 0;

	ktest_note("seed", SEED + 1);
	memset(model, 0, sizeof model);
	for (unsigned i = 0; i < MODEL; i++) {          /* tables */
		alloc_here(&model[i].work);
		wrong += model[i].work.result != 0;
	}
	for (unsigned i = 0; i < MODEL; i++) {
		wrong += model[i].work.top && kstack_free(model[i].work.top) != 0;
		model[i].work.top = NULL;
	}
	KASSERT_EQ(wrong, 0);

	before = free_frames();
	for (unsigned step = 0; step < 900 && !wrong && !other; step++) {
		const unsigned i = (unsigned)(random_of(&seed) % MODEL),
			cpu = (unsigned)(random_of(&seed) % cpu_count());

		if (!model[i].work.top) {
			on_cpu(cpu, alloc_here, &model[i].work);
			wrong += model[i].work.result != 0;
			if (!model[i].work.top)
				continue;
			model[i].id = ++id;
			mark(model[i].work.top, id);
			wrong += misplaced(model[i].work.top);
			live++;
		} else {
			other += unlike(model[i].work.top, model[i].id);
			on_cpu(cpu, free_here, &model[i].work);
			wrong += model[i].work.result != 0;
			left += !is_gone(model[i].work.top);
			model[i].work.top = NULL;
			live--;
		}
		if (step % 32 == 0) {
			wrong += before - free_frames() != live * PAGES;
			for (unsigned k = 0; k < MODEL; k++)
				if (model[k].work.top)
					other += unlike(model[k].work.top, model[k].id);
		}
	}
	for (unsigned i = 0; i < MODEL; i++)
		if (model[i].work.top) {
			other += unlike(model[i].work.top, model[i].id);
			wrong += kstack_free(model[i].work.top) != 0;
		}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(free_frames(), before);
}

/* ---- all processors at once ---- */

enum { EACH = 24, CHAINS = 3 };
static void *held[2][CPU_MAX][EACH];
static uint32_t failed, mixed;

static uint64_t id_of(unsigned turn, unsigned cpu, unsigned i)
{
	return (uint64_t)turn << 20 | cpu << 10 | i;
}

/* Frees what another processor had allocated the turn before, in another order, while all allocate anew. */
static void hand_over(void *arg)
{
	const unsigned turn = *(const unsigned *)arg, me = cpu_self()->index, from = (me + 1) % cpu_count();
	void *old[EACH], *const *const theirs = held[(turn + 1) % 2][from];
	void **const mine = held[turn % 2][me];
	uint64_t seed = SEED + turn * CPU_MAX + me;

	memcpy(old, theirs, sizeof old);
	for (unsigned i = 0; turn && i < EACH; i++)
		if (old[i] && unlike(old[i], id_of(turn - 1, from, i)))
			count(&mixed);
	shuffle(old, EACH, &seed);
	meet();
	for (unsigned i = 0; i < EACH; i++) {
		if (turn < CHAINS && kstack_alloc(&mine[i]))
			count(&failed);
		if (turn < CHAINS && mine[i])
			mark(mine[i], id_of(turn, me, i));
		if (old[i] && kstack_free(old[i]))
			count(&failed);
	}
	for (unsigned i = 0; turn < CHAINS && i < EACH; i++)
		if (mine[i] && unlike(mine[i], id_of(turn, me, i)))
			count(&mixed);
}

static unsigned run_chains(void)
{
	memset(held, 0, sizeof held);
	for (unsigned turn = 0; turn <= CHAINS; turn++) {
		memset(held[turn % 2], 0, sizeof held[0]);
		(void)cpu_on_each(hand_over, &turn);
		for (unsigned a = 0; a < cpu_count() * EACH; a++)       /* no slot is two processors' */
			for (unsigned b = 0; b < a; b++) {
				void *const one = held[turn % 2][a / EACH][a % EACH];

				if (one && one == held[turn % 2][b / EACH][b % EACH])
					count(&mixed);
			}
	}
	return failed + mixed + absent;
}

/* "Takes its own locks": all allocate and free at once, interrupts off, each what another had. Nothing is mixed up,
 * nobody waits for ever (invariant 8), and nothing is lost: the second time, when all tables are there, to the
 * frame. */
KTEST(mm, check_kstack_handed_over)
{
	uint64_t before, lost;

	ktest_note("seed", SEED);
	failed = mixed = arrived = absent = 0;
	KASSERT_EQ(run_chains(), 0);
	before = free_frames();
	KASSERT_EQ(run_chains(), 0);
	lost = before - free_frames();
	KASSERT(lost <= 4);                     /* one more table, should more have lived at once than the first time */
}

static struct work race;
static uint32_t got, refused;

static void free_together(void *arg)
{
	const int err = (meet(), kstack_free(((struct work *)arg)->top));

	if (err == 0)
		count(&got);
	if (err == -EINVAL)
		count(&refused);
}

/* All free one stack at the same time: it is live for one of them, "-EINVAL: not a live stack" for the others, and
 * its frames come back once. */
KTEST(mm, check_kstack_freed_by_all)
{
	enum { ROUNDS = 25 };
	uint64_t before;
	unsigned wrong = 0;
	void *other;

	arrived = absent = got = refused = 0;
	KASSERT_EQ(kstack_alloc(&other), 0);
	mark(other, 1);
	alloc_here(&race);
	KASSERT_EQ(race.result, 0);
	KASSERT_EQ(kstack_free(race.top), 0);
	before = free_frames();
	for (unsigned i = 0; i < ROUNDS; i++) {
		alloc_here(&race);
		wrong += race.result != 0;
		mark(race.top, 2 + i);
		(void)cpu_on_each(free_together, &race);
		wrong += !is_gone(race.top) || free_frames() != before;
	}
	wrong += unlike(other, 1);
	wrong += kstack_free(other) != 0;
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(got, ROUNDS);
	KASSERT_EQ(refused, ROUNDS * (cpu_count() - 1));
}

static void *freed;
static uint32_t seen;

static void look(void *arg)
{
	const bool live = arg != NULL;

	for (unsigned page = 0; page < PAGES; page++) {
		const vaddr_t at = (vaddr_t)freed - KSTACK_SIZE + page * PAGE_SIZE;

		if (fault_of(read_byte, at) != (live ? NO_FAULT : 0) ||
		    fault_of(write_byte, at + PAGE_SIZE - 1) != (live ? NO_FAULT : WRITING))
			count(&seen);
		if (fault_of(read_byte, at - KSTACK_SIZE) != 0 ||
		    fault_of(write_byte, at - KSTACK_SIZE + PAGE_SIZE - 1) != WRITING)
			count(&seen);
	}
}

/* Invariant 5: "a frame is freed only after every processor has dropped the translation to it", whichever of them
 * frees the stack; each of its pages, which all have used. And beneath it no processor has anything, at any time. */
KTEST(mm, check_kstack_dropped)
{
	struct work w = { NULL, 0 };

	seen = 0;
	for (unsigned i = 0; i < 2 * cpu_count(); i++) {
		on_cpu(i % cpu_count(), alloc_here, &w);
		KASSERT_EQ(w.result, 0);
		freed = w.top;
		(void)cpu_on_each(look, &w);
		on_cpu((i + 1 + i / cpu_count()) % cpu_count(), free_here, &w);
		(void)cpu_on_each(look, NULL);
		KASSERT_EQ(w.result, 0);
		KASSERT_EQ(seen, 0);
	}
}

/* ---- running on it ---- */

static struct {
	uint64_t lowest, sum;
	int caught;
} runs[CPU_MAX];
static void *stacks[CPU_MAX];

/* Some 12 KiB deep. */
static __attribute__((noipa)) uint64_t dive(unsigned depth, uint64_t *lowest)
{
	volatile uint64_t words[64];

	for (unsigned i = 0; i < 64; i++)
		words[i] = depth + i;
	if ((uint64_t)words < *lowest)
		*lowest = (uint64_t)words;
	return words[depth % 64] + (depth ? dive(depth - 1, lowest) : 0) + words[63];
}

static __attribute__((noipa)) void run_there(void)
{
	const unsigned me = cpu_self()->index;

	runs[me].lowest = UINT64_MAX;
	runs[me].sum = dive(19, &runs[me].lowest);
	runs[me].caught = fault_of(write_byte, (vaddr_t)stacks[me] - KSTACK_SIZE - 1);
}

static void switch_stack(void *arg)
{
	(void)arg;
	/* RBX is the callee's to keep; all else a call may change */
	__asm__ volatile("movq %%rsp, %%rbx\n\tmovq %0, %%rsp\n\tcall *%1\n\tmovq %%rbx, %%rsp"
			 : : "r"(stacks[cpu_self()->index]), "r"(run_there)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

/* "*top: one past the highest byte, 16-aligned": so a processor can be set to it at once. Each runs on one of its
 * own, deep, and catches what it does beneath. */
KTEST(mm, check_kstack_run_on)
{
	uint64_t expected = 0;
	unsigned n = 0, wrong = 0;

	for (unsigned depth = 0; depth < 20; depth++)
		expected += depth + depth + depth + 63;
	memset(runs, 0, sizeof runs);
	while (n < cpu_count() && kstack_alloc(&stacks[n]) == 0)
		n++;
	if (n == cpu_count()) {
		(void)cpu_on_each(switch_stack, NULL);
		for (unsigned i = 0; i < n; i++)
			wrong += runs[i].sum != expected || runs[i].caught != WRITING ||
				runs[i].lowest < (vaddr_t)stacks[i] - KSTACK_SIZE ||
				runs[i].lowest > (vaddr_t)stacks[i] - KSTACK_SIZE / 2;
	}
	for (unsigned i = 0; i < n; i++)
		wrong += kstack_free(stacks[i]) != 0;
	KASSERT_EQ(n, cpu_count());
	KASSERT_EQ(wrong, 0);
}

/* ---- what is refused ---- */

enum { LIVE = 5 };
static struct {
	void *live[LIVE];
	unsigned taken, changed;                /* tops that were not refused; calls that changed something */
	vaddr_t example;
} refusal;

static bool is_live(vaddr_t top)
{
	for (unsigned i = 0; i < LIVE; i++)
		if ((vaddr_t)refusal.live[i] == top)
			return true;
	return false;
}

/* Others' stacks are left alone: whose last page is mapped may be one. */
static void try_top(vaddr_t top)
{
	struct pt_entry e;

	if (is_live(top) || (top % SLOT_SIZE == 0 && pt_translate(kernel_root, top - 1, &e) == 0 && top > KSTACK_BASE &&
			     top <= KSTACK_BASE + AREA_SIZE))
		return;
	if (kstack_free((void *)top) != -EINVAL && !refusal.taken++)
		refusal.example = top;
}

static void try_tops(void *arg)
{
	static const uint64_t bits[] = {
		1, 16, 0x800, 0x1000, 0x4000, 1ul << 31, 1ul << 38, 1ul << 39, 1ul << 46, 1ul << 63,
	};
	static const int off[] = { -4096, -4095, -16, -8, -1, 0, 1, 8, 16, 4095 };
	struct pt_entry e;

	(void)arg;
	for (unsigned i = 0; i < LIVE; i++) {
		const vaddr_t top = (vaddr_t)refusal.live[i];

		for (unsigned page = 0; page <= 2 * PAGES; page++)
			for (unsigned k = 0; k < sizeof off / sizeof *off; k++)
				try_top(top - page * PAGE_SIZE + (uint64_t)off[k]);
		for (unsigned k = 0; k < sizeof bits / sizeof *bits; k++)
			try_top(top ^ bits[k]);
		/* the same memory, by another address */
		if (pt_translate(kernel_root, top - PAGE_SIZE, &e) == 0)
			try_top((vaddr_t)phys_to_virt(e.pa + PAGE_SIZE));
		try_top(top - KSTACK_BASE);
		try_top(top - KSTACK_BASE + DEVICE_MAP_BASE);
	}
	for (unsigned k = 0; k < sizeof off / sizeof *off; k++) {
		try_top((uint64_t)off[k]);
		try_top(SLOT_SIZE + (uint64_t)off[k]);
		try_top(KSTACK_BASE + (uint64_t)off[k]);
		try_top(KSTACK_BASE - SLOT_SIZE + (uint64_t)off[k]);
		try_top(KSTACK_BASE + AREA_SIZE + SLOT_SIZE + (uint64_t)off[k]);
		try_top(DEVICE_MAP_BASE + (uint64_t)off[k]);
		try_top(KERNEL_BASE + (uint64_t)off[k]);
		try_top((vaddr_t)boot_stack_top + (uint64_t)off[k]);
		try_top((1ul << 63) + (uint64_t)off[k]);
		try_top(0 - SLOT_SIZE + (uint64_t)off[k]);
	}
	try_top((vaddr_t)__builtin_frame_address(0));
}

/* "-EINVAL: not a live stack": each page border of a live one's slot, one byte and more off; one that is not live
 * any more; the same bits elsewhere; the area's edges. "A failing call leaves tables, counters and frames as they
 * were." */
KTEST(mm, check_kstack_refuses)
{
	unsigned wrong = 0, other = 0, n = 0;
	uint64_t before, after;
	void *dead[2];

	memset(&refusal, 0, sizeof refusal);
	while (n < LIVE && kstack_alloc(&refusal.live[n]) == 0)
		n++;
	KASSERT_EQ(n, LIVE);
	dead[0] = refusal.live[1];              /* between two that live, where slots are given in a row */
	dead[1] = refusal.live[LIVE - 1];
	KASSERT_EQ(kstack_free(dead[0]), 0);
	KASSERT_EQ(kstack_free(dead[1]), 0);
	refusal.live[1] = refusal.live[0];
	refusal.live[LIVE - 1] = refusal.live[2];
	for (unsigned i = 0; i < LIVE; i++)
		mark(refusal.live[i], (vaddr_t)refusal.live[i] / SLOT_SIZE);
	before = free_frames();
	for (unsigned i = 0; i < 2; i++)
		try_top((vaddr_t)dead[i]);
	try_tops(NULL);
	on_cpu(cpu_count() - 1, try_tops, NULL);
	after = free_frames();
	for (unsigned i = 0; i < LIVE; i++) {
		if (misplaced(refusal.live[i]))
			wrong++;
		else
			other += unlike(refusal.live[i], (vaddr_t)refusal.live[i] / SLOT_SIZE);
	}
	wrong += kstack_free(refusal.live[0]) != 0;
	wrong += kstack_free(refusal.live[2]) != 0;
	wrong += kstack_free(refusal.live[3]) != 0;
	wrong += kstack_free(refusal.live[0]) != -EINVAL;
	if (refusal.taken)
		ktest_note("address", refusal.example);
	KASSERT_EQ(refusal.taken, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
	KASSERT_EQ(after, before);
}

/* ---- no memory ---- */

/* At the start of each run that is taken. */
struct hogged {
	paddr_t next;
	uint64_t count;
};

/* All frames that there are; what unhog() wants. */
static paddr_t hog(void)
{
	paddr_t first = 0, pa;

	for (size_t n = 1 << 14; n; n /= 2)
		while (frame_alloc_contig(n, 1, 0, 0, &pa) == 0) {
			*(struct hogged *)phys_to_virt(pa) = (struct hogged){ first, n };
			first = pa;
		}
	return first;
}

static void unhog(paddr_t first)
{
	while (first) {
		const struct hogged h = *(struct hogged *)phys_to_virt(first);

		frame_free_contig(first, h.count);
		first = h.next;
	}
}

/* "-ENOMEM", and "a failing call changes nothing": not *top, not the stacks that live, no frame, on any processor.
 * To free takes no memory. What a stack gave back is there, and with all but one frame of it there is none to be had
 * still. */
KTEST(mm, check_kstack_oom_frames)
{
	void *const nowhere = (void *)77;
	struct work w = { NULL, 0 };
	void *live[3] = { NULL, NULL, NULL };
	unsigned wrong = 0, other = 0, n = 0;
	paddr_t all, spare = 0;

	while (n < 3 && kstack_alloc(&live[n]) == 0)
		n++;
	KASSERT_EQ(n, 3);
	for (unsigned i = 0; i < 3; i++)
		mark(live[i], i);
	all = hog();
	for (unsigned i = 0; i < 2 * cpu_count(); i++) {
		w.top = nowhere;
		on_cpu(i % cpu_count(), alloc_here, &w);
		wrong += w.result != -ENOMEM || w.top != nowhere || free_frames() != 0;
	}
	wrong += kstack_free(live[1]) != 0 || free_frames() != PAGES;
	wrong += !is_gone(live[1]);
	wrong += frame_alloc(0, &spare) != 0;
	for (unsigned i = 0; i < cpu_count(); i++) {
		w.top = nowhere;
		on_cpu(i, alloc_here, &w);
		wrong += w.result != -ENOMEM || w.top != nowhere || free_frames() != PAGES - 1;
	}
	for (unsigned i = 0; i < 3; i += 2) {
		other += unlike(live[i], i);
		wrong += misplaced(live[i]);
	}
	wrong += kstack_free(live[1]) != -EINVAL;
	wrong += kstack_free(live[2]) != 0 || free_frames() != 2 * PAGES - 1;
	other += unlike(live[0], 0);
	wrong += spare && frame_free(spare) != 0;
	unhog(all);
	wrong += kstack_free(live[0]) != 0;
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
}

/* As many as there is memory for, be it the area's end or the frames' that stops it: it is -ENOMEM then, each of
 * them is whole, and all is there again when they are gone. */
KTEST(mm, check_kstack_oom_many)
{
	enum { KEPT = 500 };                    /* frames: some 100 stacks and their tables */
	unsigned n, again, wrong = 0, other = 0;
	uint64_t left, back;
	paddr_t run, all;
	void *top;

	KASSERT_EQ(frame_alloc_contig(KEPT, 1, 0, 0, &run), 0);
	all = hog();
	wrong += frame_free_contig(run, KEPT) != 0;
	n = alloc_many();
	left = free_frames();
	top = (void *)77;
	wrong += n < KEPT / PAGES - 2 || n > KEPT / PAGES || n == MANY;
	wrong += kstack_alloc(&top) != -ENOMEM || top != (void *)77 || free_frames() != left;
	for (unsigned i = 0; i < n; i++)
		mark(tops[i], i);
	for (unsigned i = 0; i < n; i++) {
		other += unlike(tops[i], i);
		wrong += misplaced(tops[i]);
	}
	for (unsigned i = 0; i < n; i++)
		wrong += kstack_free(tops[i]) != 0;
	back = free_frames();
	again = alloc_many();                   /* but for a table or two as much as before */
	wrong += again + 1 < n || again > n + 1;
	for (unsigned i = 0; i < again; i++)
		wrong += kstack_free(tops[i]) != 0;
	wrong += free_frames() > back || free_frames() + 4 < back || back != left + n * PAGES;
	unhog(all);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
}
