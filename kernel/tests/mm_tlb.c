/* Further tests of mm/tlb.c, most with page tables that processors load for the test, interrupts off: ranges that
 * begin and end anywhere, domains with some of the processors, two at once, what pt_protect narrows, frames that
 * are free for others afterwards, a lock that is waited for. See spec/mm.md, "tlb", "Shootdown", invariants 5 and
 * 8. What is quoted is from there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

enum { IF = 1 << 9, PRESENT = 1, USER = 4, CR4_PGE = 1 << 7, ENTRIES = 512, SEED = 0x7113 };
#define GIB      (1ul << 30)
#define SLOT     (1ul << 39)                    /* what an entry of the root stands for */
#define LOWER_END 0x0000800000000000ul
#define ADDRESS  0x000FFFFFFFFFF000ul
#define LONG     8000000000ull                  /* ns: the machine below may have fewer processors */

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

static unsigned ones(uint64_t mask)
{
	unsigned n = 0;

	for (; mask; mask &= mask - 1)
		n++;
	return n;
}

static uint64_t all_cpus(void)
{
	return (1ull << cpu_count()) - 1;
}

static uint64_t interrupts_off(void)
{
	return READ("pushfq; popq %0; cli");
}

static void interrupts_back(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

/* CR3 until now. */
static uint64_t load_root(uint64_t root)
{
	const uint64_t before = READ("movq %%cr3, %0");

	__asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
	return before;
}

static void add(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static uint32_t late;                           /* who has waited in vain */

/* Waits until the word is at least that. Who has its bit in a domain polls, as interrupts are off: another may
 * shoot. */
static void wait_for(const uint32_t *word, uint32_t wanted, bool poll)
{
	const uint64_t start = clock_ns();

	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - start >= LONG) {
			add(&late);
			return;
		}
		if (poll)
			tlb_poll();
		cpu_pause();
	}
}

static void enter(void *domain)
{
	tlb_enter(domain);
}

static void leave(void *domain)
{
	tlb_leave(domain);
}

/* ---- pages that show one frame or another ---- */

enum { PAGES = 76 };
#define WINDOW (3 * GIB - 40 * PAGE_SIZE)       /* across a border of tables */

static struct tlb_domain domain;
static paddr_t root, frames[2];

/* Every page of the window is that frame from now on. For one processor at a time. */
static bool show(paddr_t at, const paddr_t *frame)
{
	bool done = true;

	for (vaddr_t va = WINDOW; va < WINDOW + PAGES * PAGE_SIZE; va += PAGE_SIZE) {
		done = (pt_translate(at, va, &(struct pt_entry){ 0 }) || pt_unmap(at, va, PAGE_SIZE) == 0) && done;
		done = pt_map(at, va, *frame, PAGE_SIZE, VM_WRITE) == 0 && done;
	}
	return done;
}

static bool setup(void)
{
	late = 0;
	domain.cpus = 0;
	if (frame_alloc(0, &frames[0]) || frame_alloc(0, &frames[1]) || pt_create(&root))
		return false;
	memset(phys_to_virt(frames[0]), 0x11, PAGE_SIZE);
	memset(phys_to_virt(frames[1]), 0x22, PAGE_SIZE);
	return show(root, &frames[0]);
}

static bool teardown(void)
{
	const int a = frame_free(frames[0]), b = frame_free(frames[1]);

	return pt_destroy(root) == 0 && !a && !b;
}

/* How many of the pages first to last of the window do not read as that byte. */
static unsigned others_than(uint8_t byte, unsigned first, unsigned last)
{
	unsigned n = 0;

	for (unsigned i = first; i <= last; i++)
		n += *(const volatile uint8_t *)(WINDOW + i * PAGE_SIZE + 7) != byte;
	return n;
}

/* ---- one shot ---- */

struct shot {
	uint64_t members;                       /* have the root loaded, and are in the domain */
	unsigned sender;
	vaddr_t va;
	size_t len;
	unsigned first, last;                   /* pages of the window that [va, va + len) meets */
};

static struct {
	uint32_t ready, done;
	unsigned before[CPU_MAX], stale[CPU_MAX];       /* pages that were not right before it and after it */
	bool changed, flags_kept;
	uint64_t interrupts, cpus;
} out;

static void take_part(void *arg)
{
	const struct shot *const s = arg;
	const unsigned me = cpu_self()->index;
	const bool member = s->members >> me & 1;
	uint64_t cr3 = 0, cr4;

	if (member) {
		tlb_enter(&domain);                     /* "before CR3 is loaded with the domain's root" */
		cr3 = load_root(root);
		out.before[me] = others_than(0x11, 0, PAGES - 1);
	}
	add(&out.ready);
	if (me == s->sender) {
		wait_for(&out.ready, cpu_count(), member);
		cr4 = READ("movq %%cr4, %0");
		out.changed = show(root, &frames[1]);
		out.cpus = domain.cpus;
		out.interrupts = tlb_ipi_count();
		tlb_shootdown(&domain, s->va, s->len);
		out.interrupts = tlb_ipi_count() - out.interrupts;
		out.flags_kept = !(READ("pushfq; popq %0") & IF) && READ("movq %%cr4, %0") == cr4;
		add(&out.done);
	}
	wait_for(&out.done, 1, member);
	if (member) {
		out.stale[me] = others_than(0x22, s->first, s->last);
		load_root(cr3);
		tlb_leave(&domain);                     /* "after another CR3 has been loaded" */
	}
}

/* "After return no processor uses a translation of [va, va+len) of d … that was removed or narrowed"; "one
 * interrupt a processor and request"; no interrupt for who is not in the domain. The line of what was not so. */
static int shoot(uint64_t members, unsigned sender, vaddr_t va, size_t len)
{
	const vaddr_t end = WINDOW + PAGES * PAGE_SIZE, last = va + len - 1;
	struct shot s = { members, sender, va, len, 0, 0 };

	s.first = va > WINDOW ? (unsigned)((va - WINDOW) / PAGE_SIZE) : 0;
	s.last = last < end ? (unsigned)((last - WINDOW) / PAGE_SIZE) : PAGES - 1;
	memset(&out, 0, sizeof out);
	if (!show(root, &frames[0]))                    /* nobody has the root loaded */
		return __LINE__;
	if (cpu_on_each(take_part, &s) || late || !out.changed)
		return __LINE__;
	for (unsigned i = 0; i < cpu_count(); i++) {
		if (out.before[i])
			return __LINE__;
		if (out.stale[i])
			return __LINE__;
	}
	if (out.cpus != members || domain.cpus != 0)
		return __LINE__;
	if (!out.flags_kept)
		return __LINE__;
	return out.interrupts == ones(members & ~(1ull << sender)) ? 0 : __LINE__;
}

/* "len rounds up to pages": [va, va + len) may begin and end anywhere in a page. 32 pages and 33, where the way
 * changes. */
KTEST(mm, check_tlb_unaligned)
{
	static const struct {
		vaddr_t off;
		size_t len;
	} ranges[] = {
		{ 0, 1 }, { PAGE_SIZE - 1, 1 }, { PAGE_SIZE - 1, 2 }, { 1, PAGE_SIZE }, 
		{ 5 * PAGE_SIZE + 8, PAGE_SIZE - 8 }, { 5 * PAGE_SIZE + 8, PAGE_SIZE - 7 },
		{ PAGE_SIZE - 1, PAGE_SIZE + 2 }, { 39 * PAGE_SIZE, 2 * PAGE_SIZE },
		{ 40 * PAGE_SIZE - 1, 2 }, { 3 * PAGE_SIZE + 100, 31 * PAGE_SIZE }, { 20 * PAGE_SIZE, 32 * PAGE_SIZE },
		{ 20 * PAGE_SIZE + 4095, 31 * PAGE_SIZE + 1 }, { 20 * PAGE_SIZE + 4095, 31 * PAGE_SIZE + 2 },
		{ 8 * PAGE_SIZE + 1, 32 * PAGE_SIZE - 1 }, { 8 * PAGE_SIZE + 1, 32 * PAGE_SIZE },
		{ 8 * PAGE_SIZE, 32 * PAGE_SIZE + 1 },
		{ 30 * PAGE_SIZE, 33 * PAGE_SIZE }, { 30 * PAGE_SIZE + 9, 33 * PAGE_SIZE },
		{ PAGE_SIZE - 1, 32 * PAGE_SIZE + 2 }, { 1, PAGES * PAGE_SIZE - 2 }, { -WINDOW, LOWER_END },
	};
	const uint64_t before = free_frames();
	int line = 0;
	bool whole;

	KASSERT(setup());
	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges && !line; i++) {
		line = shoot(all_cpus(), i % cpu_count(), WINDOW + ranges[i].off, ranges[i].len);
		if (!line)                                      /* alone, too */
			line = shoot(1, 0, WINDOW + ranges[i].off, ranges[i].len);
		if (line)
			ktest_note("range", i);
	}
	whole = teardown();
	KASSERT_EQ(line, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

/* Any processor, in the domain or not, shoots at any domain, in any range. */
KTEST(mm, check_tlb_random)
{
	const uint64_t before = free_frames();
	uint64_t state = SEED;
	int line = 0;
	bool whole;

	ktest_note("seed", SEED);
	KASSERT(setup());
	for (unsigned i = 0; i < 60 && !line; i++) {
		const uint64_t r = random_of(&state), off = (r >> 16) % (PAGES * PAGE_SIZE);
		const uint64_t most = i % 3 ? 40 * PAGE_SIZE : 3 * PAGE_SIZE, rest = PAGES * PAGE_SIZE - off;

		line = shoot(r & all_cpus(), (unsigned)((r >> 8 & 0xff) % cpu_count()), WINDOW + off,
			1 + (r >> 40) % (rest < most ? rest : most));
		if (line)
			ktest_note("shot", i);
	}
	whole = teardown();
	KASSERT_EQ(line, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

/* Each set of up to four processors by turns: "one interrupt a processor and request" whatever the range is and
 * however often the processor has entered; the one that shoots gets none. These are not busy and have interrupts
 * on. */
KTEST(mm, check_tlb_interrupts)
{
	static const size_t lengths[] = { 1, PAGE_SIZE, 32 * PAGE_SIZE, 33 * PAGE_SIZE, 1000 * PAGE_SIZE, GIB };
	const unsigned n = cpu_count() < 4 ? cpu_count() : 4;
	unsigned wrong = 0, wrong_domain = 0, wrong_kernel = 0, flags_changed = 0;
	static struct tlb_domain some;

	some.cpus = 0;
	for (uint64_t mask = 0; mask < 1u << n; mask++) {
		for (unsigned i = 0; i < n; i++)
			for (unsigned twice = 0; twice < 2; twice++)
				if (mask >> i & 1 && cpu_call(i, enter, &some))
					wrong_domain++;
		wrong_domain += some.cpus != mask;
		for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
			const uint64_t flags = interrupts_off(), self = 1ull << cpu_self()->index;
			const uint64_t before = tlb_ipi_count();
			uint64_t domain_sent, kernel_sent;

			tlb_shootdown(&some, WINDOW + k, lengths[k]);
			domain_sent = tlb_ipi_count() - before;
			tlb_shootdown(NULL, DIRECT_MAP_BASE + k, lengths[k]);
			kernel_sent = tlb_ipi_count() - before - domain_sent;
			flags_changed += (READ("pushfq; popq %0") & IF) != 0;
			interrupts_back(flags);
			wrong += domain_sent != ones(mask & ~self);
			wrong_kernel += kernel_sent != cpu_count() - 1;         /* "belongs to all processors online" */
		}
		wrong_domain += some.cpus != mask;
		for (unsigned i = 0; i < n; i++)
			if (cpu_call(i, leave, &some))
				wrong_domain++;
		wrong_domain += some.cpus != 0;
	}
	KASSERT_EQ(wrong_domain, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(wrong_kernel, 0);
	KASSERT_EQ(flags_changed, 0);
}

static uint64_t cr4_of[CPU_MAX];

static void note_registers(void *arg)
{
	(void)arg;
	cr4_of[cpu_self()->index] = READ("movq %%cr4, %0");
}

/* On or off, interrupts stay so, and CR4, where invariant 4 wants PGE, on those that are shot at too. */
KTEST(mm, check_tlb_state)
{
	static const size_t lengths[] = { 0, 1, 32 * PAGE_SIZE, 32 * PAGE_SIZE + 1, 5000 * PAGE_SIZE };
	static uint64_t cr4[CPU_MAX];
	static struct tlb_domain everybody, nobody;
	struct tlb_domain *const domains[] = { NULL, &everybody, &nobody };
	const uint64_t flags = interrupts_off();
	unsigned switched_on = 0, switched_off = 0, unlike = 0;

	interrupts_back(flags);
	everybody.cpus = nobody.cpus = 0;
	cpu_on_each(note_registers, NULL);
	memcpy(cr4, cr4_of, sizeof cr4);
	cpu_on_each(enter, &everybody);
	for (unsigned d = 0; d < 3; d++)
		for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
			const vaddr_t va = d ? WINDOW : DIRECT_MAP_BASE;
			uint64_t saved;

			__asm__ volatile("sti" : : : "memory");
			tlb_shootdown(domains[d], va, lengths[k]);
			switched_off += !(READ("pushfq; popq %0") & IF);
			saved = interrupts_off();
			tlb_shootdown(domains[d], va, lengths[k]);
			switched_on += !!(READ("pushfq; popq %0") & IF);
			tlb_enter(&nobody);
			tlb_leave(&nobody);
			tlb_poll();
			switched_on += !!(READ("pushfq; popq %0") & IF);
			interrupts_back(saved);
		}
	cpu_on_each(leave, &everybody);
	if (!(flags & IF))
		__asm__ volatile("cli" : : : "memory");
	cpu_on_each(note_registers, NULL);
	for (unsigned i = 0; i < cpu_count(); i++)
		unlike += cr4_of[i] != cr4[i] || !(cr4[i] & CR4_PGE);
	KASSERT_EQ(switched_off, 0);
	KASSERT_EQ(switched_on, 0);
	KASSERT_EQ(unlike, 0);
	KASSERT_EQ(everybody.cpus, 0);
	KASSERT_EQ(nobody.cpus, 0);
}

/* ---- what is narrowed ---- */

enum { NO_FAULT = -1, OTHER_FAULT = -2, NOT_MAPPED = 0, NO_WRITE = 1 | 2, NO_FETCH = 1 | 16 };
enum { RETURN = 0xc3 };                         /* the instruction */

static void load_byte(void *at)
{
	(void)*(volatile uint8_t *)at;
}

static void store_byte(void *at)
{
	*(volatile uint8_t *)at = RETURN;
}

static void fetch(void *at)
{
	__asm__ volatile("call *%0" : : "r"(at)
		: "memory", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

/* The error code of the page fault at that very address; no interrupt may come between. */
static int try(void (*access)(void *), vaddr_t va)
{
	struct trap_frame f;
	const int caught = trap_catch(access, (void *)va, &f);

	if (caught == 0)
		return NO_FAULT;
	return caught == 1 && f.vector == VEC_PAGE_FAULT && READ("movq %%cr2, %0") == va ? (int)f.error : OTHER_FAULT;
}

/* In an entry of the root: three small pages, and a large one of which a part is narrowed. */
#define SMALL (3 * LARGE_PAGE_SIZE)
#define BIG   (8 * LARGE_PAGE_SIZE)

/* An access that all can do before, and what comes of it afterwards. */
static const struct probe {
	void (*access)(void *);
	size_t off;
	int after;
} probes[] = {
	{ store_byte, SMALL, NO_WRITE }, { load_byte, SMALL + 8, NO_FAULT },
	{ load_byte, SMALL + PAGE_SIZE, NOT_MAPPED },
	{ fetch, SMALL + 2 * PAGE_SIZE, NO_FETCH }, { load_byte, SMALL + 2 * PAGE_SIZE, NO_FAULT },
	{ store_byte, BIG + 99 * PAGE_SIZE, NO_FAULT }, { store_byte, BIG + 100 * PAGE_SIZE, NO_WRITE },
	{ store_byte, BIG + 116 * PAGE_SIZE + 4095, NO_WRITE }, { load_byte, BIG + 116 * PAGE_SIZE, NO_FAULT },
	{ store_byte, BIG + 131 * PAGE_SIZE, NO_WRITE }, { store_byte, BIG + 132 * PAGE_SIZE, NO_FAULT },
	{ load_byte, BIG + 200 * PAGE_SIZE, NOT_MAPPED }, { store_byte, BIG + 201 * PAGE_SIZE, NO_FAULT },
};
enum { PROBES = sizeof probes / sizeof *probes };

static struct narrowing {
	struct tlb_domain *domain;              /* NULL: the kernel's half */
	paddr_t loaded, changed;                /* roots: the processors', and the one by which pt_protect gets there */
	vaddr_t base, changed_base;             /* where the entry's part begins in the one, and in the other */
	unsigned sender;
	bool at_once;                           /* one shootdown of all of it */
	uint32_t ready, done;
	int before[CPU_MAX][PROBES], after[CPU_MAX][PROBES];
	int err;
} narrow;

static void do_probes(int *results)
{
	for (unsigned i = 0; i < PROBES; i++)
		results[i] = try(probes[i].access, narrow.base + probes[i].off);
}

static int narrow_it(unsigned prot)
{
	const paddr_t r = narrow.changed;
	const vaddr_t to = narrow.changed_base, at = narrow.base;
	struct tlb_domain *const d = narrow.domain;
	int err = pt_protect(r, to + SMALL, PAGE_SIZE, prot);

	err = err ? err : pt_unmap(r, to + SMALL + PAGE_SIZE, PAGE_SIZE);
	err = err ? err : pt_protect(r, to + SMALL + 2 * PAGE_SIZE, PAGE_SIZE, prot);
	err = err ? err : pt_protect(r, to + BIG + 100 * PAGE_SIZE, 32 * PAGE_SIZE, prot);
	err = err ? err : pt_unmap(r, to + BIG + 200 * PAGE_SIZE, PAGE_SIZE);
	if (narrow.at_once) {
		tlb_shootdown(d, at + SMALL + 5, BIG - SMALL + 200 * PAGE_SIZE);
	} else {
		tlb_shootdown(d, at + SMALL + 1, 3 * PAGE_SIZE - 1);
		tlb_shootdown(d, at + BIG + 100 * PAGE_SIZE, 32 * PAGE_SIZE);
		tlb_shootdown(d, at + BIG + 201 * PAGE_SIZE - 1, 1);
	}
	return err;
}

static void be_narrowed(void *prot)
{
	const unsigned me = cpu_self()->index;
	const bool load = (READ("movq %%cr3, %0") & ADDRESS) != narrow.loaded;
	uint64_t cr3 = 0;

	if (narrow.domain)
		tlb_enter(narrow.domain);
	if (load)
		cr3 = load_root(narrow.loaded);
	do_probes(narrow.before[me]);
	add(&narrow.ready);
	if (me == narrow.sender) {
		wait_for(&narrow.ready, cpu_count(), true);
		narrow.err = narrow_it(*(const unsigned *)prot);
		add(&narrow.done);
	}
	wait_for(&narrow.done, 1, true);
	do_probes(narrow.after[me]);
	if (load)
		load_root(cr3);
	if (narrow.domain)
		tlb_leave(narrow.domain);
}

/* Of what the tables say afterwards nobody uses the old, whether it was there by itself or as a part of a large
 * page. */
static int narrowed(paddr_t run, unsigned flags)
{
	const vaddr_t at = narrow.changed_base;
	const paddr_t r = narrow.changed;
	unsigned prot = flags;

	if (pt_map(r, at + SMALL, run, 2 * PAGE_SIZE, VM_WRITE | flags) ||
	    pt_map(r, at + SMALL + 2 * PAGE_SIZE, run + 2 * PAGE_SIZE, PAGE_SIZE, VM_EXEC | flags) ||
	    pt_map(r, at + BIG, run, LARGE_PAGE_SIZE, VM_WRITE | flags))
		return __LINE__;
	narrow.ready = narrow.done = 0;
	narrow.err = -1;
	memset(narrow.before, 0x5a, sizeof narrow.before);
	memset(narrow.after, 0x5a, sizeof narrow.after);
	if (cpu_on_each(be_narrowed, &prot) || narrow.err || late)
		return __LINE__;
	for (unsigned i = 0; i < cpu_count(); i++)
		for (unsigned p = 0; p < PROBES; p++) {
			if (narrow.before[i][p] == NO_FAULT && narrow.after[i][p] == probes[p].after)
				continue;
			ktest_note("processor", i);
			ktest_note("probe", p);
			return __LINE__;
		}
	return 0;
}

static int narrow_lower(paddr_t run, unsigned sender, bool at_once)
{
	int line;

	domain.cpus = 0;
	if (pt_create(&root))
		return __LINE__;
	narrow.domain = &domain;
	narrow.loaded = narrow.changed = root;
	narrow.base = narrow.changed_base = 5 * SLOT;
	narrow.sender = sender;
	narrow.at_once = at_once;
	line = narrowed(run, 0);
	return pt_destroy(root) && !line ? __LINE__ : line;
}

static void flush_all(void *arg)
{
	const uint64_t cr4 = READ("movq %%cr4, %0");

	(void)arg;
	__asm__ volatile("movq %0, %%cr4\n\tmovq %1, %%cr4" : : "r"(cr4 & ~(uint64_t)CR4_PGE), "r"(cr4) : "memory");
	load_root(READ("movq %%cr3, %0"));
}

/* In the kernel's half, by an entry of kernel_root that is not used: it leads to a table of a root of the test's
 * own, so that pt_protect there works here. Global, as all is there. */
static int narrow_upper(paddr_t run, unsigned sender, bool at_once)
{
	volatile uint64_t *const kernel = phys_to_virt(kernel_root);
	const volatile uint64_t *own;
	unsigned slot = ENTRIES - 1;
	int line;

	while (slot > ENTRIES / 2 && kernel[slot] & PRESENT)
		slot--;
	if (slot == ENTRIES / 2 || pt_create(&root))
		return __LINE__;
	own = phys_to_virt(root);
	narrow.domain = NULL;
	narrow.loaded = kernel_root;
	narrow.changed = root;
	narrow.base = 0xFFFF000000000000 | slot * SLOT;
	narrow.changed_base = 5 * SLOT;
	narrow.sender = sender;
	narrow.at_once = at_once;
	line = pt_map(root, 5 * SLOT, run, PAGE_SIZE, VM_READ) ? __LINE__ : 0;  /* the table */
	if (!line) {
		kernel[slot] = own[5] & ~(uint64_t)USER;
		line = narrowed(run, VM_GLOBAL);
		kernel[slot] = 0;
		tlb_shootdown(NULL, narrow.base, SLOT);
		cpu_on_each(flush_all, NULL);
	}
	return pt_destroy(root) && !line ? __LINE__ : line;
}

static int narrow_all(int (*by)(paddr_t run, unsigned sender, bool at_once))
{
	int line = 0;
	paddr_t run;

	late = 0;
	if (frame_alloc_contig(ENTRIES, ENTRIES, 0, 0, &run))
		return __LINE__;
	memset(phys_to_virt(run + 2 * PAGE_SIZE), RETURN, 16);
	for (unsigned sender = 0; sender < cpu_count() && sender < 4 && !line; sender++)
		for (unsigned at_once = 0; at_once < 2 && !line; at_once++)
			line = by(run, sender, at_once);
	return frame_free_contig(run, ENTRIES) && !line ? __LINE__ : line;
}

KTEST(mm, check_tlb_narrow)
{
	const uint64_t before = free_frames();

	KASSERT_EQ(narrow_all(narrow_lower), 0);
	KASSERT_EQ(domain.cpus, 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, check_tlb_narrow_kernel)
{
	const uint64_t before = free_frames();

	KASSERT_EQ(narrow_all(narrow_upper), 0);
	KASSERT_EQ(free_frames(), before);
}

/* ---- a frame that is somebody else's afterwards ---- */

enum { MARK = 0x77 };

static struct {
	uint32_t writing, shot, out;
	uint32_t faults[CPU_MAX];
	unsigned other_fault, early_fault, scribbled;
	int err;
} use;

/* All write to a page until it faults; "unmap, shoot down, free, in this order" (invariant 5): what one then puts
 * into the frame stays there, though the others go on. */
static void write_on(void *arg)
{
	const unsigned me = cpu_self()->index, sender = *(const unsigned *)arg;
	const vaddr_t mine = WINDOW + me * sizeof(uint64_t);
	volatile uint64_t *const words = phys_to_virt(frames[0]);
	const uint64_t start = clock_ns();
	uint64_t cr3;

	tlb_enter(&domain);
	cr3 = load_root(root);
	for (bool first = true; clock_ns() - start < LONG; first = false) {
		const bool shot = __atomic_load_n(&use.shot, __ATOMIC_SEQ_CST);
		const int got = try(store_byte, mine);

		if (got == (NOT_MAPPED | 2)) {
			use.faults[me]++;
			break;
		}
		/* another error; or the store went through though the shootdown had returned before it */
		if (got != NO_FAULT || shot) {
			__atomic_fetch_add(&use.other_fault, 1, __ATOMIC_SEQ_CST);
			break;
		}
		if (first)
			add(&use.writing);
		if (me == sender && first) {
			wait_for(&use.writing, cpu_count(), true);
			use.err = pt_unmap(root, WINDOW, PAGE_SIZE);
			tlb_shootdown(&domain, WINDOW, PAGE_SIZE);
			memset(phys_to_virt(frames[0]), MARK, PAGE_SIZE);
			__atomic_store_n(&use.shot, 1, __ATOMIC_SEQ_CST);
		}
		tlb_poll();
		cpu_pause();
	}
	add(&use.out);
	wait_for(&use.out, cpu_count(), true);
	if (me == sender)
		for (unsigned i = 0; i < PAGE_SIZE / sizeof *words; i++)
			use.scribbled += words[i] != 0x7777777777777777;
	load_root(cr3);
	tlb_leave(&domain);
}

KTEST(mm, check_tlb_frame_freed)
{
	const uint64_t before = free_frames();
	unsigned rounds = 0, faults = 0, wrong = 0;
	bool whole, shown = true;

	KASSERT(setup());
	for (; rounds < 12 && !wrong; rounds++) {
		unsigned sender = rounds % cpu_count();

		shown = shown && show(root, &frames[0]);
		memset(&use, 0, sizeof use);
		cpu_on_each(write_on, &sender);
		wrong = use.err || use.other_fault || use.scribbled || late;
		for (unsigned i = 0; i < cpu_count(); i++)
			faults += use.faults[i];
	}
	whole = teardown();
	KASSERT(shown);
	KASSERT_EQ(use.err, 0);
	KASSERT_EQ(use.other_fault, 0);
	KASSERT_EQ(use.scribbled, 0);
	KASSERT_EQ(late, 0);
	KASSERT_EQ(faults, rounds * cpu_count());
	KASSERT_EQ(domain.cpus, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

/* ---- a lock across shootdowns ---- */

enum { TURNS = 15 };

static struct {
	uint32_t lock, ready, finished;
	unsigned shows, stale[CPU_MAX];         /* shows: which frame the page is; the lock's */
	int err;
} locked;

/* Invariant 8: who waits for the lock polls. Who has it finds what the last one left, and only that. */
static void take_turns(void *arg)
{
	const unsigned me = cpu_self()->index;
	const uint64_t start = clock_ns();
	uint64_t cr3;

	(void)arg;
	tlb_enter(&domain);
	cr3 = load_root(root);
	add(&locked.ready);
	wait_for(&locked.ready, cpu_count(), true);
	for (unsigned turn = 0; turn < TURNS; turn++) {
		while (__atomic_exchange_n(&locked.lock, 1, __ATOMIC_ACQUIRE)) {
			tlb_poll();
			cpu_pause();
			if (clock_ns() - start >= LONG) {
				add(&late);
				goto out;
			}
		}
		locked.stale[me] += others_than(locked.shows ? 0x22 : 0x11, 0, 2);
		locked.shows ^= 1;
		for (vaddr_t va = WINDOW; va < WINDOW + 3 * PAGE_SIZE; va += PAGE_SIZE) {
			locked.err |= pt_unmap(root, va, PAGE_SIZE);
			locked.err |= pt_map(root, va, frames[locked.shows], PAGE_SIZE, VM_WRITE);
		}
		tlb_shootdown(&domain, WINDOW + 10, (turn % 2 ? 2 : 60) * PAGE_SIZE);
		__atomic_store_n(&locked.lock, 0, __ATOMIC_RELEASE);
	}
out:
	add(&locked.finished);
	wait_for(&locked.finished, cpu_count(), true);
	load_root(cr3);
	tlb_leave(&domain);
}

KTEST(mm, check_tlb_lock)
{
	const uint64_t before = free_frames(), n = cpu_count();
	unsigned stale = 0;
	uint64_t sent;
	bool whole;

	KASSERT(setup());
	memset(&locked, 0, sizeof locked);
	sent = tlb_ipi_count();
	cpu_on_each(take_turns, NULL);
	sent = tlb_ipi_count() - sent;
	for (unsigned i = 0; i < n; i++)
		stale += locked.stale[i];
	whole = teardown();
	KASSERT_EQ(late, 0);
	KASSERT_EQ(locked.err, 0);
	KASSERT_EQ(stale, 0);
	KASSERT_EQ(locked.shows, TURNS * n % 2);
	KASSERT_EQ(sent, TURNS * n * (n - 1));
	KASSERT_EQ(domain.cpus, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

/* ---- two domains at once ---- */

enum { ROUNDS = 40 };

static struct {
	struct tlb_domain domain[2];
	paddr_t root[2], frame[2][2];           /* frame[d][0], [1]: what the pages of d show by turns */
	uint32_t ready, finished;
	bool crossed;                           /* each of the two shoots at the other's */
	unsigned wrong[CPU_MAX], bad;
} two;

static bool setup_two(void)
{
	memset(&two, 0, sizeof two);
	late = 0;
	for (unsigned d = 0; d < 2; d++) {
		for (unsigned f = 0; f < 2; f++) {
			if (frame_alloc(0, &two.frame[d][f]))
				return false;
			memset(phys_to_virt(two.frame[d][f]), (int)(0x40 + 2 * d + f), PAGE_SIZE);
		}
		if (pt_create(&two.root[d]) || !show(two.root[d], &two.frame[d][0]))
			return false;
	}
	return true;
}

static bool teardown_two(void)
{
	bool whole = true;

	for (unsigned d = 0; d < 2; d++) {
		whole = pt_destroy(two.root[d]) == 0 && whole;
		for (unsigned f = 0; f < 2; f++)
			whole = frame_free(two.frame[d][f]) == 0 && whole;
	}
	return whole;
}

/* Processors with an even index are in the one, those with an odd one in the other. 0 and 1 shoot, at the same
 * time. */
static void two_at_once(void *arg)
{
	const unsigned me = cpu_self()->index, mine = me & 1, target = two.crossed ? !mine : mine;
	uint64_t cr3;

	(void)arg;
	tlb_enter(&two.domain[mine]);
	cr3 = load_root(two.root[mine]);
	two.wrong[me] += others_than((uint8_t)(0x40 + 2 * mine), 0, PAGES - 1);
	add(&two.ready);
	wait_for(&two.ready, cpu_count(), true);
	for (unsigned round = 1; me < 2 && round <= ROUNDS; round++) {
		const unsigned first = round % 8, last = round % 3 ? first : PAGES - 1;
		bool done = true;

		for (unsigned i = first; i <= last; i++) {
			const vaddr_t va = WINDOW + i * PAGE_SIZE;

			done = pt_unmap(two.root[target], va, PAGE_SIZE) == 0 && done;
			done = pt_map(two.root[target], va, two.frame[target][round & 1], PAGE_SIZE, VM_WRITE) == 0 &&
				done;
		}
		tlb_shootdown(&two.domain[target], WINDOW + first * PAGE_SIZE, (last - first + 1) * PAGE_SIZE);
		if (!done)
			__atomic_fetch_add(&two.bad, 1, __ATOMIC_SEQ_CST);
		if (!two.crossed)
			two.wrong[me] += others_than((uint8_t)(0x40 + 2 * mine + (round & 1)), first, last);
	}
	add(&two.finished);
	wait_for(&two.finished, cpu_count(), true);
	/* what each page shows at the end */
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned round = ROUNDS;

		while (round && (round % 3 ? i != round % 8 : i < round % 8))
			round--;
		two.wrong[me] += others_than((uint8_t)(0x40 + 2 * mine + (round & 1)), i, i);
	}
	load_root(cr3);
	tlb_leave(&two.domain[mine]);
}

static void two_domains(bool crossed)
{
	const uint64_t before = free_frames(), n = cpu_count(), even = (n + 1) / 2, odd = n / 2;
	unsigned wrong = 0;
	uint64_t sent;
	bool whole;

	if (n == 1)
		return;                                 /* there is no other */
	KASSERT(setup_two());
	two.crossed = crossed;
	sent = tlb_ipi_count();
	cpu_on_each(two_at_once, NULL);
	sent = tlb_ipi_count() - sent;
	for (unsigned i = 0; i < n; i++)
		wrong += two.wrong[i];
	whole = teardown_two();
	KASSERT_EQ(late, 0);
	KASSERT_EQ(two.bad, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(sent, ROUNDS * (crossed ? even + odd : even - 1 + odd - 1));
	KASSERT_EQ(two.domain[0].cpus | two.domain[1].cpus, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, check_tlb_two_domains)
{
	two_domains(false);
}

KTEST(mm, check_tlb_two_crossed)
{
	two_domains(true);
}

/* "tlb_enter of the new domain, CR3, tlb_leave of the old": who is in both meanwhile is told of both. */
static void move_over(void *arg)
{
	const unsigned me = cpu_self()->index, sender = *(const unsigned *)arg;
	uint64_t cr3;

	tlb_enter(&two.domain[0]);
	cr3 = load_root(two.root[0]);
	two.wrong[me] += others_than(0x40, 0, 9);
	tlb_enter(&two.domain[1]);
	load_root(two.root[1]);
	two.wrong[me] += others_than(0x42, 0, 9);
	add(&two.ready);
	if (me == sender) {
		wait_for(&two.ready, cpu_count(), true);
		two.bad += !show(two.root[0], &two.frame[0][1]) || !show(two.root[1], &two.frame[1][1]);
		tlb_shootdown(&two.domain[0], WINDOW, 10 * PAGE_SIZE);
		tlb_shootdown(&two.domain[1], WINDOW, 10 * PAGE_SIZE);
		add(&two.finished);
	}
	wait_for(&two.finished, 1, true);
	two.wrong[me] += others_than(0x43, 0, 9);
	tlb_leave(&two.domain[0]);
	two.wrong[me] += !(two.domain[1].cpus >> me & 1);
	load_root(cr3);
	tlb_leave(&two.domain[1]);
}

KTEST(mm, check_tlb_both)
{
	const uint64_t before = free_frames(), n = cpu_count();
	unsigned sender = (unsigned)n - 1, wrong = 0;
	uint64_t sent;
	bool whole;

	KASSERT(setup_two());
	sent = tlb_ipi_count();
	cpu_on_each(move_over, &sender);
	sent = tlb_ipi_count() - sent;
	for (unsigned i = 0; i < n; i++)
		wrong += two.wrong[i];
	whole = teardown_two();
	KASSERT_EQ(late, 0);
	KASSERT_EQ(two.bad, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(sent, 2 * (n - 1));
	KASSERT_EQ(two.domain[0].cpus | two.domain[1].cpus, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}

/* ---- all at one ---- */

static struct {
	uint32_t ready, changed, returned;
	unsigned before, stale;
	bool shown;
} many;

/* Processor 0 has the root loaded and polls; all others shoot at once, each a page of its own. None is lost. */
static void many_to_one(void *arg)
{
	const unsigned me = cpu_self()->index, n = cpu_count();
	uint64_t cr3;

	(void)arg;
	if (me) {
		wait_for(&many.changed, 1, false);
		tlb_shootdown(&domain, WINDOW + me * PAGE_SIZE + me, 1);
		add(&many.returned);
		return;
	}
	tlb_enter(&domain);
	cr3 = load_root(root);
	many.before = others_than(0x11, 0, n - 1);
	many.shown = show(root, &frames[1]);
	add(&many.changed);
	wait_for(&many.returned, n - 1, true);
	many.stale = n > 1 ? others_than(0x22, 1, n - 1) : 0;
	load_root(cr3);
	tlb_leave(&domain);
}

KTEST(mm, check_tlb_many_to_one)
{
	const uint64_t before = free_frames(), n = cpu_count();
	unsigned stale = 0, unready = 0;
	uint64_t sent = 0;
	bool whole, shown = true;

	if (n == 1)
		return;                                 /* there is no other */
	KASSERT(setup());
	for (unsigned round = 0; round < 50 && !late; round++) {
		const uint64_t until = tlb_ipi_count();

		shown = shown && show(root, &frames[0]);
		memset(&many, 0, sizeof many);
		cpu_on_each(many_to_one, NULL);
		sent += tlb_ipi_count() - until;
		stale += many.stale;
		unready += many.before;
		shown = shown && many.shown;
	}
	whole = teardown();
	KASSERT_EQ(late, 0);
	KASSERT(shown);
	KASSERT_EQ(unready, 0);
	KASSERT_EQ(stale, 0);
	KASSERT_EQ(sent, 50 * (n - 1));
	KASSERT_EQ(domain.cpus, 0);
	KASSERT(whole);
	KASSERT_EQ(free_frames(), before);
}
