/* device_map and device_unmap, beyond acceptance/mm/device.c: where each byte lies, what is refused around each
 * range of RAM and at the end of all addresses, mappings that live side by side, and all processors. Only the local
 * APIC is read; of all else it is looked up what it is mapped to. See spec/mm.md. */
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

/* kernel.ld */
extern const char __kernel_phys_start[], __kernel_phys_end[];

#define AREA_SIZE (1ul << 39)                   /* an entry of the root */
#define FOUR_GIB  (1ul << 32)
#define LONG      8000000000ull  /* ns: the machine below may have less processors, and others to serve */
#define SEED      0x64657600ull
#define NOWHERE   ((void *)77)                  /* what *out is before a call that is refused, and after */
#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

enum { VERSION = 0x30 };                        /* the APIC's register that is the same on all processors */

/* The address of a symbol, hidden from the optimiser, which would reason about array bounds. */
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

/* ---- accesses ---- */

static void read_word(void *at)
{
	(void)*(volatile uint32_t *)at;
}

enum { NO_FAULT = -1, OTHER = -2 };

/* The error code of a page fault at that address; none; another. */
static int fault_of(void (*access)(void *), uint64_t at)
{
	struct trap_frame f;

	if (trap_catch(access, (void *)at, &f) != 1)
		return NO_FAULT;
	return f.vector == VEC_PAGE_FAULT && READ("mov %%cr2, %0") == at ? (int)f.error : OTHER;
}

/* ---- what there is ---- */

static struct mm_range ram[2 * BOOT_MEM_MAX];
static size_t ram_count;
static paddr_t apic;                            /* its page; no RAM */
static uint64_t reach;                          /* "above what the processor's addresses reach" */
static paddr_t beyond;                          /* from here on, above 4 GiB, there is no RAM for 1 GiB and more */

static bool meets_ram(paddr_t pa, uint64_t len)
{
	for (size_t i = 0; i < ram_count; i++)
		if (pa < ram[i].base + ram[i].len && ram[i].base < pa + len)
			return true;
	return false;
}

static bool know_machine(void)
{
	const struct boot_info *info = boot_info();
	uint32_t a = 0x80000008, b, c = 0, d;
	paddr_t end;

	if (memmap_normalise(info->mem, info->mem_count, ram, 2 * BOOT_MEM_MAX, &ram_count) || !ram_count)
		return false;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	reach = 1ul << (a & 0xff);
	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(0x1b) : "memory");
	apic = ((uint64_t)d << 32 | a) & 0x000FFFFFFFFFF000;
	end = ram[ram_count - 1].base + ram[ram_count - 1].len;
	beyond = ((end > FOUR_GIB ? end : FOUR_GIB) + (1ul << 30)) & -(1ul << 30);
	return beyond + (1ul << 30) < reach && !meets_ram(apic - (1ul << 20), 2ul << 20);
}

/* The leaves of the area, so that a change shows. */
struct area {
	uint64_t leaves, bytes, sum;
};

static int add_leaf(const struct pt_entry *e, void *arg)
{
	struct area *a = arg;

	a->leaves++;
	a->bytes += e->size;
	a->sum = a->sum * 31 + (e->va ^ e->pa ^ e->prot);
	return 0;
}

static struct area area_now(void)
{
	struct area a = { 0, 0, 0 };

	(void)pt_walk(kernel_root, DEVICE_MAP_BASE, KERNEL_BASE - 1, add_leaf, &a);
	return a;
}

static bool area_is(struct area before)
{
	const struct area now = area_now();

	return now.leaves == before.leaves && now.bytes == before.bytes && now.sum == before.sum;
}

/* ---- mappings ---- */

struct mapping {
	paddr_t pa;
	size_t len;
	void *p;
};

static bool byte_is(const struct mapping *m, uint64_t n)
{
	const vaddr_t va = (vaddr_t)m->p + n;
	struct pt_entry e;

	return pt_translate(kernel_root, va, &e) == 0 && e.pa + (va - e.va) == m->pa + n &&
		e.prot == (VM_WRITE | VM_UNCACHED | VM_GLOBAL);
}

/* "Read-write, uncached; any alignment, *out + n is pa + n"; in the area, "RW, NX, uncached, global". */
static bool is_mapped(const struct mapping *m)
{
	const vaddr_t va = (vaddr_t)m->p;

	if (va < DEVICE_MAP_BASE || va - DEVICE_MAP_BASE >= AREA_SIZE || m->len > AREA_SIZE - (va - DEVICE_MAP_BASE))
		return false;
	for (uint64_t n = 0; n < m->len; n += PAGE_SIZE - (va + n) % PAGE_SIZE)
		if (!byte_is(m, n))
			return false;
	return byte_is(m, m->len - 1);
}

/* No page of it is. */
static bool is_gone(const struct mapping *m)
{
	const vaddr_t va = (vaddr_t)m->p;
	struct pt_entry e;

	for (uint64_t n = 0; n < m->len; n += PAGE_SIZE - (va + n) % PAGE_SIZE)
		if (pt_translate(kernel_root, va + n, &e) != -ENOENT)
			return false;
	return true;
}

static bool share_page(const struct mapping *a, const struct mapping *b)
{
	const vaddr_t first_a = (vaddr_t)a->p / PAGE_SIZE, last_a = ((vaddr_t)a->p + a->len - 1) / PAGE_SIZE;
	const vaddr_t first_b = (vaddr_t)b->p / PAGE_SIZE, last_b = ((vaddr_t)b->p + b->len - 1) / PAGE_SIZE;

	return first_a <= last_b && first_b <= last_a;
}

static int map(struct mapping *m)
{
	m->p = NULL;
	return device_map(m->pa, m->len, &m->p);
}

static int unmap(struct mapping *m)
{
	const int err = device_unmap(m->p, m->len);

	if (!err)
		m->p = NULL;
	return err;
}

/* Maps, looks, unmaps: what should just do. Counts what does not. */
static unsigned cannot(paddr_t pa, size_t len)
{
	struct mapping m = { pa, len, NULL };
	unsigned wrong = 0;

	if (map(&m)) {
		ktest_note("refused", pa);
		return 1;
	}
	wrong += !is_mapped(&m);
	wrong += unmap(&m) != 0;
	return wrong;
}

/* What is to be refused, with *out as it was. Counts what is not. */
static unsigned can(paddr_t pa, size_t len)
{
	struct mapping m = { pa, len, NOWHERE };
	const int err = device_map(pa, len, &m.p);

	if (err == 0) {
		ktest_note("mapped", pa);
		(void)device_unmap(m.p, len);
	}
	return err != -EINVAL || m.p != NOWHERE;
}

/* ---- one mapping ---- */

/* Offsets and lengths at and around borders of pages: each byte is where it belongs, below 4 GiB and above; no other
 * pointer and no other length is what "device_map gave and got"; then it is gone, once. */
KTEST(mm, check_device_borders)
{
	static const unsigned offs[] = { 0, 1, 3, 4, 2047, 4092, 4095 };
	static const unsigned lens[] = { 1, 2, 4, 5, 2048, 4091, 4095, 4096, 4097, 8191, 8192, 8193, 12289 };
	unsigned wrong = 0, taken = 0;

	KASSERT(know_machine());
	for (unsigned i = 0; i < sizeof offs / sizeof *offs; i++)
		for (unsigned k = 0; k < sizeof lens / sizeof *lens; k++) {
			struct mapping m = { (k % 2 ? beyond : apic) + offs[i], lens[k], NULL }, was;
			const unsigned len = lens[k];
			char *p;

			if (map(&m)) {
				wrong++;
				continue;
			}
			wrong += !is_mapped(&m) || (vaddr_t)m.p % PAGE_SIZE != offs[i];
			p = m.p;
			taken += device_unmap(p, len + 1) == 0;
			taken += device_unmap(p, len - 1) == 0;
			taken += device_unmap(p, len + PAGE_SIZE) == 0;
			taken += device_unmap(p, 0) == 0;
			taken += device_unmap(p, UINT64_MAX) == 0;
			if (offs[i] + 1 < PAGE_SIZE || len > 1) {       /* in its own pages: others may be another's */
				taken += device_unmap(p + 1, len) == 0;
				taken += device_unmap(p + 1, len - 1) == 0;
			}
			if (offs[i]) {
				taken += device_unmap(p - 1, len) == 0;
				taken += device_unmap(p - 1, len + 1) == 0;
				taken += device_unmap(p - offs[i], (offs[i] + len + PAGE_SIZE - 1) & -PAGE_SIZE) == 0;
			}
			if (len > PAGE_SIZE) {
				taken += device_unmap(p + PAGE_SIZE, len) == 0;
				taken += device_unmap(p + PAGE_SIZE, len - PAGE_SIZE) == 0;
			}
			taken += device_unmap((char *)phys_to_virt(m.pa), len) == 0;
			wrong += !is_mapped(&m);
			was = m;
			wrong += unmap(&m) != 0;
			wrong += !is_gone(&was) || device_unmap(was.p, len) != -EINVAL;
		}
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(wrong, 0);
}

/* What is long and aligned as large pages are, or just not, on both sides of their borders. What is mapped in small
 * pieces afterwards, where large ones may have been, is right as well. */
KTEST(mm, check_device_long)
{
	static const uint64_t lens[] = {
		LARGE_PAGE_SIZE, LARGE_PAGE_SIZE - 1, LARGE_PAGE_SIZE + 1, 3 * LARGE_PAGE_SIZE, 4 * LARGE_PAGE_SIZE +
			PAGE_SIZE,
	};
	static const uint64_t offs[] = { 0, PAGE_SIZE, LARGE_PAGE_SIZE - PAGE_SIZE, LARGE_PAGE_SIZE - 1, 8 };
	unsigned wrong = 0;

	KASSERT(know_machine());
	for (unsigned i = 0; i < 5; i++)
		for (unsigned k = 0; k < 5; k++) {
			struct mapping m = { beyond + offs[i], lens[k], NULL }, one = { beyond + offs[k], 1, NULL },
				was;

			wrong += map(&m) != 0 || map(&one) != 0;
			if (!m.p || !one.p)
				continue;
			wrong += !is_mapped(&m) || !is_mapped(&one) || share_page(&m, &one);
			was = m;
			wrong += unmap(&m) != 0 || !is_gone(&was) || !is_mapped(&one) || unmap(&one) != 0;
			wrong += cannot(apic + VERSION, 4) + cannot(beyond + offs[k] + 1, PAGE_SIZE);
		}
	KASSERT_EQ(wrong, 0);
}

static uint32_t version_at(const struct mapping *m, uint64_t offset)
{
	return *(volatile uint32_t *)((char *)m->p + offset);
}

/* Each call has a mapping of its own, of the same bytes too: "p, len as device_map gave and got them", one at a
 * time, in any order, and the others go on. */
KTEST(mm, check_device_independent)
{
	static const unsigned orders[][5] = { { 2, 0, 4, 1, 3 }, { 4, 3, 2, 1, 0 }, { 0, 1, 2, 3, 4 } };
	unsigned wrong = 0, same = 0;
	uint32_t version;

	KASSERT(know_machine());
	for (unsigned round = 0; round < 3; round++) {
		struct mapping m[5] = {
			{ apic + VERSION, 4, NULL }, { apic + VERSION, 4, NULL }, { apic, PAGE_SIZE, NULL },
			{ apic - PAGE_SIZE, 3 * PAGE_SIZE, NULL }, { apic, PAGE_SIZE, NULL },
		};
		static const unsigned offsets[5] = { 0, 0, VERSION, PAGE_SIZE + VERSION, VERSION };
		struct mapping was[5];

		for (unsigned i = 0; i < 5; i++)
			wrong += map(&m[i]) != 0 || !is_mapped(&m[i]);
		KASSERT_EQ(wrong, 0);
		version = version_at(&m[0], 0);
		for (unsigned a = 0; a < 5; a++)
			for (unsigned b = 0; b < a; b++)
				same += share_page(&m[a], &m[b]);
		wrong += device_unmap(m[0].p, PAGE_SIZE) != -EINVAL || device_unmap(m[2].p, 4) != -EINVAL;
		memcpy(was, m, sizeof was);
		for (unsigned i = 0; i < 5; i++) {
			const unsigned go = orders[round][i];

			wrong += unmap(&m[go]) != 0 || !is_gone(&was[go]);
			wrong += fault_of(read_word, (vaddr_t)was[go].p + offsets[go]) != 0;
			for (unsigned k = 0; k < 5; k++)
				if (m[k].p)
					wrong += !is_mapped(&m[k]) || version_at(&m[k], offsets[k]) != version;
		}
		for (unsigned i = 0; i < 5; i++)
			wrong += device_unmap(was[i].p, was[i].len) != -EINVAL;
	}
	KASSERT_EQ(version & 0xff, 0x14);
	KASSERT_EQ(same, 0);
	KASSERT_EQ(wrong, 0);
}

/* ---- what is refused ---- */

/* No usable entry of the boot map touches it: by no reading of the page it is RAM. */
static bool is_device(paddr_t page)
{
	const struct boot_info *info = boot_info();

	for (uint32_t i = 0; i < info->mem_count; i++)
		if (info->mem[i].type == BOOT_MEM_USABLE && info->mem[i].base < page + PAGE_SIZE &&
		    page < info->mem[i].base + info->mem[i].len)
			return false;
	return page < reach;
}

/* "-EINVAL: … touches a page of RAM", which is "what memmap gives, be it managed or not": one byte of it is enough,
 * at either end or anywhere, whatever else the range spans; where none is touched it is mapped, right next to it
 * too. Of what is refused nothing stays: no leaf, no frame, and *out is as it was. */
KTEST(mm, check_device_ram)
{
	unsigned mapped = 0, refused = 0;
	uint64_t seed = SEED, frames;
	struct area before;
	bool same;

	ktest_note("seed", SEED);
	KASSERT(know_machine());
	before = area_now();
	frames = free_frames();
	for (size_t i = 0; i < ram_count; i++) {
		const paddr_t base = ram[i].base, end = base + ram[i].len;

		mapped += can(base, 1) + can(end - 1, 1) + can(base, end - base) + can(base + 1, PAGE_SIZE - 1);
		mapped += can(base - 1, 2) + can(end - 1, 2) + can(base - PAGE_SIZE, PAGE_SIZE + 1);
		mapped += can(base - 1, end - base + 2) + can(base - 1, end - base) + can(base + 1, end - base);
		mapped += can(end - 1, 2 * PAGE_SIZE) + can(end - PAGE_SIZE, PAGE_SIZE);
		mapped += can(end - PAGE_SIZE, 2 * PAGE_SIZE);
		mapped += can(base, reach - base) + can(1, end - 1) + can(0, base + 1) + can(end - 1, reach - end);
		for (unsigned n = 0; n < 40; n++) {
			const paddr_t pa = base + random_of(&seed) % (end - base);

			mapped += can(pa, 1 + (random_of(&seed) >> 32 >> n % 32));
			mapped += can(pa & -PAGE_SIZE, PAGE_SIZE);
		}
	}
	mapped += can(0, reach) + can(1, reach - 1) + can(0, FOUR_GIB);
	mapped += can(addr(__kernel_phys_start), 1) + can(addr(__kernel_phys_end) - 1, 1);
	if (ram[ram_count - 1].base > apic)
		mapped += can(apic, beyond - apic);
	mapped += can(ram[ram_count - 1].base - 1, beyond - ram[ram_count - 1].base);
	same = area_is(before) && free_frames() == frames;

	for (size_t i = 0; i < ram_count; i++) {
		const paddr_t base = ram[i].base, end = base + ram[i].len;

		if (is_device(base - PAGE_SIZE))
			refused += cannot(base - 1, 1) + cannot(base - PAGE_SIZE, PAGE_SIZE) + cannot(base - 8, 8);
		if (is_device(end))
			refused += cannot(end, 1) + cannot(end, PAGE_SIZE) + cannot(end + 1, PAGE_SIZE - 1);
	}
	KASSERT_EQ(mapped, 0);
	KASSERT(same);
	KASSERT_EQ(refused, 0);
	KASSERT(area_is(before));
}

/* "-EINVAL: len 0, wraps, above what the processor's addresses reach (CPUID leaf 0x80000008, EAX 7:0 bits)": up to
 * the last byte that they reach it is mapped, one byte more is refused. Nothing stays, in whatever order it is asked
 * for. */
KTEST(mm, check_device_limits)
{
	unsigned mapped = 0, refused = 0;
	uint64_t frames;
	struct area before;
	bool same;

	KASSERT(know_machine());
	before = area_now();
	frames = free_frames();
	mapped += can(reach, 1) + can(reach - 1, 2) + can(reach - PAGE_SIZE, PAGE_SIZE + 1) + can(reach - 1, PAGE_SIZE);
	mapped += can(reach - 2 * PAGE_SIZE, 2 * PAGE_SIZE + 1) + can(reach + PAGE_SIZE - 1, 1) + can(2 * reach - 1, 1);
	mapped += can(reach | apic, 4) + can(1ul << 52, PAGE_SIZE) + can((1ul << 52) | apic, 4) + can(1ul << 63, 4);
	mapped += can(1ul << 63 | apic, 4) + can(apic, reach) + can(apic, reach - apic + 1) + can(apic, 1ul << 52);
	mapped += can(UINT64_MAX, 1) + can(UINT64_MAX, 2) + can(UINT64_MAX - PAGE_SIZE + 1, PAGE_SIZE);
	mapped += can(UINT64_MAX - PAGE_SIZE + 1, PAGE_SIZE + 1) + can(apic, UINT64_MAX);
	mapped += can(apic, UINT64_MAX - apic + 1);
	mapped += can(apic, UINT64_MAX - apic + 2) + can(apic, -PAGE_SIZE) + can(beyond, 1ul << 63);
	mapped += can(1, UINT64_MAX);
	mapped += can(UINT64_MAX, UINT64_MAX) + can(reach - 1, UINT64_MAX);
	mapped += can(beyond, UINT64_MAX - beyond + 1 + apic);
	mapped += can(0, 0) + can(apic, 0) + can(apic + 1, 0) + can(ram[0].base, 0) + can(reach - 1, 0) + can(reach, 0);
	mapped += can(UINT64_MAX, 0) + can(beyond + PAGE_SIZE - 1, 0);
	same = area_is(before) && free_frames() == frames;

	refused += cannot(reach - 1, 1) + cannot(reach - PAGE_SIZE, PAGE_SIZE);
	refused += cannot(reach - PAGE_SIZE - 1, PAGE_SIZE + 1);
	refused += cannot(reach - 4, 4) + cannot(reach - 5 * PAGE_SIZE + 1, 5 * PAGE_SIZE - 1);
	refused += cannot(beyond - 1, 2) + cannot(beyond + 1, 3 * PAGE_SIZE);
	KASSERT_EQ(mapped, 0);
	KASSERT(same);
	KASSERT_EQ(refused, 0);
	KASSERT(area_is(before));
}

/* "p, len as device_map gave and got them. -EINVAL: they are not": pointers to all that is something else. */
KTEST(mm, check_device_unmap_foreign)
{
	struct mapping m;
	unsigned taken = 0, n = 0;
	struct pt_entry e;
	struct area before;
	void *top = NULL;
	paddr_t frame;
	bool same;
	int err;

	KASSERT(know_machine());
	m = (struct mapping){ apic, PAGE_SIZE, NULL };
	err = frame_alloc(0, &frame) | kstack_alloc(&top) | map(&m);
	KASSERT_EQ(err, 0);
	before = area_now();
	{
		const vaddr_t strange[] = {
			0, 1, USER_MIN, apic, frame, (vaddr_t)phys_to_virt(frame), (vaddr_t)phys_to_virt(apic),
				DIRECT_MAP_BASE,
			KSTACK_BASE, (vaddr_t)top, (vaddr_t)top - PAGE_SIZE, (vaddr_t)top - KSTACK_SIZE,
				DEVICE_MAP_BASE - 1,
			DEVICE_MAP_BASE - PAGE_SIZE, DEVICE_MAP_BASE + AREA_SIZE, DEVICE_MAP_BASE +
				AREA_SIZE - PAGE_SIZE,
			KERNEL_BASE, addr(ram) & -PAGE_SIZE, UINT64_MAX - PAGE_SIZE + 1, UINT64_MAX,
				(vaddr_t)m.p ^ 1ul << 63,
			(vaddr_t)m.p + AREA_SIZE, (vaddr_t)m.p - AREA_SIZE, (vaddr_t)m.p ^ 1ul << 47,
		};
		static const size_t lens[] = { 0, 1, 4, PAGE_SIZE, KSTACK_SIZE, UINT64_MAX };

		for (; n < sizeof strange / sizeof *strange; n++)
			for (unsigned k = 0; k < sizeof lens / sizeof *lens; k++)
				if (device_unmap((void *)strange[n], lens[k]) != -EINVAL) {
					ktest_note("address", strange[n]);
					taken++;
				}
	}
	same = area_is(before) && is_mapped(&m);
	same &= pt_translate(kernel_root, (vaddr_t)top - PAGE_SIZE, &e) == 0;
	same &= pt_translate(kernel_root, (vaddr_t)phys_to_virt(frame), &e) == 0;
	err = frame_free(frame) | kstack_free(top) | unmap(&m);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(taken, 0);
	KASSERT(same);
}

/* ---- many ---- */

enum { MANY = 100, STEPS = 1200 };
static struct mapping many[MANY];

/* Somewhere around the APIC or above all RAM, of one byte to some pages, seldom some more. */
static void choose(struct mapping *m, uint64_t *seed)
{
	static const size_t most[] = { 8, PAGE_SIZE, 5 * PAGE_SIZE, 5 * PAGE_SIZE, 70 * PAGE_SIZE };

	m->len = 1 + random_of(seed) % most[random_of(seed) % 5];
	m->pa = random_of(seed) % 2 ? apic + random_of(seed) % (16 * PAGE_SIZE) :
		beyond + random_of(seed) % (1ul << 29);
	if (random_of(seed) % 3 == 0)
		m->pa &= -PAGE_SIZE;
}

static unsigned unlike_model(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < MANY; i++)
		wrong += many[i].p && !is_mapped(&many[i]);
	return wrong;
}

static unsigned run_many(uint64_t seed)
{
	unsigned wrong = 0, left = MANY;

	for (unsigned i = 0; i < MANY; i++) {
		choose(&many[i], &seed);
		wrong += map(&many[i]) != 0;
		for (unsigned k = 0; k < i && many[i].p; k++)
			wrong += many[k].p && share_page(&many[i], &many[k]);
	}
	wrong += unlike_model();
	while (left && !wrong) {
		const unsigned i = (unsigned)(random_of(&seed) % MANY);
		const struct mapping was = many[i];

		if (!was.p)
			continue;
		wrong += unmap(&many[i]) != 0 || !is_gone(&was);
		if (--left % 8 == 0)
			wrong += unlike_model();
	}
	return wrong;
}

static void give_back_all(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		if (many[i].p)
			(void)device_unmap(many[i].p, many[i].len);
		many[i].p = NULL;
	}
}

/* All live at once, no two with a page in common, and go in another order; three times, and but for a few page
 * tables all frames are there afterwards. */
KTEST(mm, check_device_many)
{
	unsigned wrong = 0;
	uint64_t frames;
	struct area before;

	ktest_note("seed", SEED);
	KASSERT(know_machine());
	before = area_now();
	memset(many, 0, sizeof many);
	wrong += run_many(SEED);
	frames = free_frames();
	for (unsigned round = 1; round < 3 && !wrong; round++)
		wrong += run_many(SEED + round);
	give_back_all();
	KASSERT_EQ(wrong, 0);
	KASSERT(area_is(before));
	KASSERT(free_frames() + 16 >= frames);
}

static int result;

static void map_here(void *arg)
{
	result = map(arg);
}

static void unmap_here(void *arg)
{
	result = unmap(arg);
}

/* Against a model, on any processor: what is mapped stays as it is while others come and go, where they were before,
 * too. */
KTEST(mm, check_device_random)
{
	unsigned wrong = 0, live = 0, most = 0;
	uint64_t seed = SEED + 7;
	struct area before;

	ktest_note("seed", SEED + 7);
	KASSERT(know_machine());
	before = area_now();
	memset(many, 0, sizeof many);
	for (unsigned step = 0; step < STEPS && !wrong; step++) {
		struct mapping *m = &many[random_of(&seed) % MANY];
		const struct mapping was = *m;
		const unsigned cpu = (unsigned)(random_of(&seed) % cpu_count());

		if (was.p) {
			wrong += device_unmap(was.p, was.len + 1 + random_of(&seed) % PAGE_SIZE) != -EINVAL;
			if (step % 4)
				result = unmap(m);
			else
				on_cpu(cpu, unmap_here, m);
			wrong += result != 0 || !is_gone(&was);
			live--;
		} else {
			choose(m, &seed);
			if (step % 4)
				result = map(m);
			else
				on_cpu(cpu, map_here, m);
			wrong += result != 0 || !m->p || !is_mapped(m);
			for (unsigned k = 0; k < MANY && m->p; k++)
				wrong += many[k].p && &many[k] != m && share_page(m, &many[k]);
			live++;
		}
		most = live > most ? live : most;
		if (step % 50 == 0)
			wrong += unlike_model();
	}
	wrong += unlike_model();
	give_back_all();
	KASSERT_EQ(wrong, 0);
	KASSERT(most >= 30);
	KASSERT(area_is(before));
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

/* "-ENOMEM", and "a failing call leaves tables, counters and frames as they were. Table frames taken on the way are
 * given back": with 0, 1, 2… frames left what is too much for them changes nothing, *out neither, until it can be
 * done; what is mapped goes on, and to unmap takes nothing. What is never to be had is -EINVAL with no memory, too.
 * */
KTEST(mm, check_device_oom)
{
	enum { SPARE = 24 };                    /* frames: more than the tables that it takes */
	const size_t length = 16 * LARGE_PAGE_SIZE;
	struct mapping kept, big, was;
	unsigned wrong = 0, failures = 0;
	static paddr_t spare[SPARE];
	struct area before, full;
	int err = -ENOMEM;
	paddr_t all;

	KASSERT(know_machine());
	kept = (struct mapping){ apic, PAGE_SIZE, NULL };
	big = (struct mapping){ beyond + PAGE_SIZE + 1, length, NULL };        /* in small pages, wherever it goes */
	before = area_now();
	KASSERT_EQ(map(&kept), 0);
	full = area_now();
	for (unsigned i = 0; i < SPARE; i++)
		wrong += frame_alloc(0, &spare[i]) != 0;
	all = hog();
	for (unsigned i = 0; i <= SPARE && err == -ENOMEM; i++) {
		big.p = NOWHERE;
		err = device_map(big.pa, big.len, &big.p);
		if (err == 0)
			break;
		failures++;
		wrong += err != -ENOMEM || big.p != NOWHERE || free_frames() != i || !area_is(full) ||
			!is_mapped(&kept);
		wrong += can(big.pa, 0) + can(ram[0].base, 1) + can(reach, 1) + can(apic, UINT64_MAX);
		wrong += device_unmap(kept.p, 4) != -EINVAL || device_unmap(NOWHERE, big.len) != -EINVAL;
		if (i < SPARE) {
			wrong += frame_free(spare[i]) != 0;
			spare[i] = 0;
		}
	}
	wrong += err != 0;
	if (err == 0) {
		const uint64_t left = free_frames();

		wrong += !is_mapped(&big);
		was = big;
		wrong += unmap(&big) != 0 || !is_gone(&was) || free_frames() != left || !area_is(full);
	}
	wrong += unmap(&kept) != 0;
	unhog(all);
	for (unsigned i = 0; i < SPARE; i++)
		if (spare[i])
			wrong += frame_free(spare[i]) != 0;
	ktest_note("failures", failures);       /* none if the tables were there before */
	KASSERT_EQ(wrong, 0);
	KASSERT(area_is(before));
}

/* ---- all processors ---- */

static uint32_t failed;

/* Where nothing is mapped any more may be another's mapping by then: nobody looks there. */
static void map_together(void *arg)
{
	enum { ROUNDS = 40, HELD = 3 };
	uint64_t seed = SEED + *(const unsigned *)arg * CPU_MAX + cpu_self()->index;
	struct mapping m[HELD] = { { 0, 0, NULL } };

	meet();
	for (unsigned round = 0; round < ROUNDS + HELD; round++) {
		struct mapping *one = &m[round % HELD];

		if (one->p && (!is_mapped(one) || (version_at(one, VERSION - (one->pa - apic)) & 0xff) != 0x14))
			count(&failed);
		if (one->p && unmap(one))
			count(&failed);
		if (round >= ROUNDS)
			continue;
		one->pa = apic + random_of(&seed) % (VERSION + 1);
		one->len = VERSION + 4 + random_of(&seed) % (2 * PAGE_SIZE);
		if (map(one) || !is_mapped(one))
			count(&failed);
		if (can(ram[0].base, 4))
			count(&failed);
	}
}

/* "Takes its own locks"; invariants 5 and 8: all map and unmap at once, interrupts off. Each always reads the APIC
 * by what it has, nobody waits for ever, and nothing is left. */
KTEST(mm, check_device_all)
{
	struct area before;
	bool same;

	ktest_note("seed", SEED);
	KASSERT(know_machine());
	failed = arrived = absent = 0;
	before = area_now();
	for (unsigned round = 0; round < 2; round++)
		(void)cpu_on_each(map_together, &round);
	same = area_is(before);
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(failed, 0);
	KASSERT(same);
}

static struct mapping shared;
static uint32_t got, refused_count, strange;

static void use_shared(void *arg)
{
	for (unsigned page = 0; page < 3; page++)
		if (fault_of(read_word, (vaddr_t)arg + page * PAGE_SIZE + VERSION) != NO_FAULT)
			count(&strange);
	if ((*(volatile uint32_t *)((char *)arg + VERSION) & 0xff) != 0x14)
		count(&strange);
}

static void miss_shared(void *arg)
{
	for (unsigned page = 0; page < 3; page++)
		if (fault_of(read_word, (vaddr_t)arg + page * PAGE_SIZE + VERSION) != 0)
			count(&strange);
}

/* What any processor has mapped all can use at once, and what any other has unmapped none can any more (invariant
 * 5). */
KTEST(mm, check_device_seen_by_all)
{
	unsigned wrong = 0;

	KASSERT(know_machine());
	strange = 0;
	for (unsigned i = 0; i < cpu_count() && !wrong; i++)
		for (unsigned k = 0; k < 2 && !wrong; k++) {
			void *p;

			shared = (struct mapping){ apic, 3 * PAGE_SIZE, NULL };
			on_cpu(i, map_here, &shared);
			p = shared.p;
			wrong += result != 0 || !p;
			if (wrong)
				break;
			(void)cpu_on_each(use_shared, p);
			on_cpu((i + k) % cpu_count(), unmap_here, &shared);
			wrong += result != 0;
			(void)cpu_on_each(miss_shared, p);
		}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(strange, 0);
}

static void unmap_together(void *arg)
{
	const struct mapping *m = arg;
	int err;

	meet();
	err = device_unmap(m->p, m->len);
	if (err == 0)
		count(&got);
	if (err == -EINVAL)
		count(&refused_count);
}

/* All give the same mapping back: it is as "device_map gave" it for one of them. The one beside it stays. */
KTEST(mm, check_device_unmapped_by_all)
{
	enum { ROUNDS = 20 };
	struct mapping beside;
	struct area before;
	unsigned wrong = 0;

	KASSERT(know_machine());
	got = refused_count = arrived = absent = 0;
	before = area_now();
	beside = (struct mapping){ apic + 1, PAGE_SIZE, NULL };
	for (unsigned i = 0; i < ROUNDS && !wrong; i++) {
		shared = (struct mapping){ apic + VERSION, 4 + i * PAGE_SIZE / 4, NULL };
		wrong += map(&shared) != 0 || map(&beside) != 0;
		if (wrong)
			break;
		(void)cpu_on_each(unmap_together, &shared);
		wrong += !is_gone(&shared) || !is_mapped(&beside);
		wrong += unmap(&beside) != 0;
	}
	KASSERT_EQ(absent, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(got, ROUNDS);
	KASSERT_EQ(refused_count, ROUNDS * (cpu_count() - 1));
	KASSERT(area_is(before));
}
