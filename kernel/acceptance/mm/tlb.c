/* Acceptance of mm/tlb.c: what processors still believe of page tables that have changed. The tables are the test's own, behind an unused
 * entry of the root, which all processors have in common. See spec/mm.md. */
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "memory.h"

enum { IF = 1 << 9, PRESENT = 1, WRITABLE = 2, ENTRIES = 512, TABLES = 2, PAGES = TABLES * ENTRIES };
#define ADDRESS 0x000FFFFFFFFFF000ull
#define BUSY    200000000ull            /* ns */
#define LONG    4000000000ull           /* ns: the machine below may have fewer processors, and others to serve */

static uint64_t pointers[ENTRIES] __attribute__((aligned(4096)));
static uint64_t directory[ENTRIES] __attribute__((aligned(4096)));
static uint64_t tables[PAGES] __attribute__((aligned(4096)));
static uint64_t pages[2][ENTRIES] __attribute__((aligned(4096)));
static volatile uint64_t *slot;
static vaddr_t window;

static uint64_t phys(const void *image_object)
{
	return harness_addr(image_object) - KERNEL_VIRT_BASE;
}

/* Every page of the window is the page of that number. */
static void show(unsigned which)
{
	for (unsigned i = 0; i < PAGES; i++)
		((volatile uint64_t *)tables)[i] = phys(pages[which]) | PRESENT | WRITABLE;
}

static void flush_all(void *arg)
{
	(void)arg;
	__asm__ volatile("mov %%cr3, %%rax\n\tmov %%rax, %%cr3" : : : "rax", "memory");
}

static bool open_window(void)
{
	volatile uint64_t *root = (volatile uint64_t *)(DIRECT_MAP_BASE + (HARNESS_READ("mov %%cr3, %0") & ADDRESS));
	unsigned i = 511;

	while (i > 256 && root[i] & PRESENT)
		i--;
	if (i == 256)
		return false;
	harness_memset(pages[0], 0x11, sizeof pages[0]);
	harness_memset(pages[1], 0x22, sizeof pages[1]);
	for (unsigned t = 0; t < TABLES; t++)
		directory[t] = phys(tables + t * ENTRIES) | PRESENT | WRITABLE;
	pointers[0] = phys(directory) | PRESENT | WRITABLE;
	show(0);
	slot = &root[i];
	*slot = phys(pointers) | PRESENT | WRITABLE;
	window = 0xFFFF000000000000 | (uint64_t)i << 39;
	return true;
}

static void close_window(void)
{
	*slot = 0;
	cpu_on_each(flush_all, NULL);
}

/* ---- what each processor reads ---- */

static struct {
	unsigned page_count;
	uint64_t first, second;         /* how many of the pages read as page 0, as page 1 */
} view[CPU_MAX];

static void read_view(void *arg)
{
	const unsigned me = cpu_self()->index, n = *(const unsigned *)arg;

	view[me].first = view[me].second = 0;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t byte = *(const volatile uint8_t *)(window + i * PAGE_SIZE + 5);

		view[me].first += byte == 0x11;
		view[me].second += byte == 0x22;
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

/* All have read; the tables change; one shoots; all read again. Whether everybody sees the change. */
static bool all_see(struct tlb_domain *d, unsigned n, bool interrupts)
{
	bool right = true;
	uint64_t flags;

	show(0);
	cpu_on_each(flush_all, NULL);
	cpu_on_each(read_view, &n);
	for (unsigned i = 0; i < cpu_count(); i++)
		right = right && view[i].first == n;
	show(1);
	flags = interrupts ? harness_flags() : harness_cli();
	tlb_shootdown(d, window, n * PAGE_SIZE);
	harness_restore(flags);
	cpu_on_each(read_view, &n);
	for (unsigned i = 0; i < cpu_count(); i++)
		right = right && view[i].second == n;
	return right;
}

KTEST(mm, tlb_local)
{
	static struct tlb_domain mine;
	unsigned one = 1;
	bool seen = true, rounded;
	uint64_t before;

	KASSERT(open_window());
	before = tlb_ipi_count();
	tlb_enter(&mine);
	for (unsigned round = 0; round < 100; round++) {
		show(round % 2);
		tlb_shootdown(&mine, window, 1);                /* a byte is a page */
		read_view(&one);
		seen = seen && (round % 2 ? view[0].second : view[0].first) == 1;
	}
	show(0);
	flush_all(NULL);
	one = 2;
	read_view(&one);
	show(1);
	tlb_shootdown(&mine, window + PAGE_SIZE - 1, 2);        /* two bytes on either side of a border are two */
	read_view(&one);
	rounded = view[0].second == 2;
	tlb_leave(&mine);
	close_window();
	KASSERT(seen);
	KASSERT(rounded);
	KASSERT_EQ(mine.cpus, 0);
	KASSERT_EQ(tlb_ipi_count(), before);            /* nobody else was concerned */
}

KTEST(mm, tlb_domain)
{
	static struct tlb_domain d;

	d.cpus = 0;
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(cpu_call(i, enter, &d), 0);
		KASSERT_EQ(d.cpus, (2ull << i) - 1);
	}
	KASSERT_EQ(cpu_on_each(enter, &d), 0);
	KASSERT_EQ(d.cpus, (1ull << cpu_count()) - 1);
	for (unsigned i = 0; i < cpu_count(); i++) {
		KASSERT_EQ(cpu_call(i, leave, &d), 0);
		KASSERT_EQ(d.cpus, (1ull << cpu_count()) - (2ull << i));
	}
}

/* With interrupts on and off; of the kernel's half, and of a domain that all are in. */
KTEST(mm, tlb_remote)
{
	static struct tlb_domain everybody;
	bool kernel = true, domain = true;
	uint64_t before;

	KASSERT(open_window());
	cpu_on_each(enter, &everybody);
	before = tlb_ipi_count();
	for (unsigned round = 0; round < 20; round++) {
		kernel = kernel && all_see(NULL, 1, round % 2);
		domain = domain && all_see(&everybody, 1, round % 2);
	}
	before = tlb_ipi_count() - before;
	cpu_on_each(leave, &everybody);
	close_window();
	KASSERT(kernel);
	KASSERT(domain);
	KASSERT(before <= 40 * (memory_processors() - 1));
	KASSERT_EQ(before > 0, memory_processors() > 1);
}

KTEST(mm, tlb_range)
{
	static const unsigned counts[] = { 1, 2, 31, 32, 33, 512, 1000 };
	unsigned failed = 0;

	KASSERT(open_window());
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
		if (!all_see(NULL, counts[i], true))
			failed = counts[i];
	close_window();
	KASSERT_EQ(failed, 0);
}

/* Global pages, as the kernel's are, go too, however many there are. */
KTEST(mm, tlb_global)
{
	static const unsigned counts[] = { 1, 32, 33, 1000 };
	const uint64_t cr4 = HARNESS_READ("mov %%cr4, %0");
	unsigned failed = 0;

	KASSERT(open_window());
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		unsigned n = counts[i];

		for (unsigned which = 0; which < 2; which++) {
			show(which);
			for (unsigned p = 0; p < PAGES; p++)
				((volatile uint64_t *)tables)[p] |= 1 << 8;
			tlb_shootdown(NULL, window, n * PAGE_SIZE);
			read_view(&n);
			failed += (which ? view[0].second : view[0].first) != n;
		}
	}
	show(0);
	tlb_shootdown(NULL, window, PAGES * PAGE_SIZE);
	close_window();
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(HARNESS_READ("mov %%cr4, %0"), cr4);
}

/* ---- all at one another ---- */

enum { SHOTS = 1000 };

static struct {
	uint32_t arrived;
	uint64_t late, shots[CPU_MAX];
} cross;

/* Interrupts are off: whoever waits for the others has to serve them. */
static void shoot(void *processors)
{
	const unsigned me = cpu_self()->index;
	uint64_t deadline = clock_ns() + LONG;

	__atomic_fetch_add(&cross.arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&cross.arrived, __ATOMIC_SEQ_CST) < *(const unsigned *)processors && clock_ns() < deadline)
		__asm__ volatile("pause");
	deadline = clock_ns() + BUSY;                   /* or as many as there is time for */
	for (unsigned i = 0; i == 0 || (i < SHOTS && clock_ns() < deadline); i++, cross.shots[me]++)
		tlb_shootdown(NULL, window + i % PAGES * PAGE_SIZE, i % 64 * PAGE_SIZE);
	/* the others may still be at it */
	__atomic_fetch_add(&cross.arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&cross.arrived, __ATOMIC_SEQ_CST) < 2 * *(const unsigned *)processors) {
		tlb_poll();
		__asm__ volatile("pause");
		if (clock_ns() > deadline + LONG) {
			__atomic_fetch_add(&cross.late, 1, __ATOMIC_SEQ_CST);
			break;
		}
	}
}

KTEST(mm, tlb_cross)
{
	unsigned processors = memory_processors();

	KASSERT(open_window());
	harness_memset(&cross, 0, sizeof cross);
	cpu_on_each(shoot, &processors);
	close_window();
	KASSERT_EQ(cross.late, 0);
	for (unsigned i = 0; i < processors; i++)
		KASSERT(cross.shots[i] > 0);
	KASSERT_EQ(cross.arrived, 2 * processors);
}

/* No interrupt goes to who is not in the domain, and what it has read it goes on believing. */
KTEST(mm, tlb_idle)
{
	static struct tlb_domain d;
	uint64_t before, none, one, two;

	if (memory_processors() == 1)
		return;                                 /* there is no other */
	KASSERT(open_window());
	d.cpus = 0;
	before = tlb_ipi_count();
	tlb_shootdown(&d, window, PAGE_SIZE);
	tlb_enter(&d);
	tlb_shootdown(&d, window, 100 * PAGE_SIZE);
	none = tlb_ipi_count() - before;
	cpu_call(1, enter, &d);
	tlb_shootdown(&d, window, PAGE_SIZE);
	one = tlb_ipi_count() - before;
	tlb_leave(&d);
	tlb_shootdown(&d, window, PAGE_SIZE);
	two = tlb_ipi_count() - before;
	cpu_call(1, leave, &d);
	tlb_shootdown(&d, window, PAGE_SIZE);
	before = tlb_ipi_count() - before;
	close_window();
	KASSERT_EQ(none, 0);
	KASSERT_EQ(one, 1);
	KASSERT_EQ(two, 2);
	KASSERT_EQ(before, 2);
}

/* One that cannot be interrupted is waited for until it polls, and then not in vain. */
static uint32_t ready, polled, done;
static bool early;

static void poll_until(void *arg)
{
	const unsigned others = *(const unsigned *)arg - 1;
	const uint64_t deadline = clock_ns() + LONG;

	if (cpu_self()->index == 0) {
		while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < others && clock_ns() < deadline)
			__asm__ volatile("pause");
		tlb_shootdown(NULL, window, PAGE_SIZE);
		early = __atomic_load_n(&polled, __ATOMIC_SEQ_CST) < others;
		__atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
		return;
	}
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	clock_delay_ns(3000000);
	__atomic_fetch_add(&polled, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && clock_ns() < deadline) {
		tlb_poll();
		__asm__ volatile("pause");
	}
}

KTEST(mm, tlb_poll)
{
	const uint64_t flags = harness_flags();
	unsigned processors = memory_processors();
	uint64_t off;

	KASSERT(open_window());
	ready = polled = done = 0;
	cpu_on_each(poll_until, &processors);
	close_window();
	KASSERT_EQ(done, 1);
	KASSERT_EQ(ready, processors - 1);
	KASSERT(!early);
	tlb_poll();                                     /* nothing to do */
	KASSERT_EQ(harness_flags() & IF, flags & IF);
	harness_cli();
	tlb_poll();
	off = harness_flags() & IF;
	harness_restore(flags);
	KASSERT_EQ(off, 0);
}
