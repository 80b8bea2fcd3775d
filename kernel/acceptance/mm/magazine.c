/* Acceptance of mm/magazine.c: the fast paths of kmalloc and kfree, which may not cost what they did, and refuse what they did. See spec/mm.md. */
#include "clock.h"
#include "memory.h"
#include "sched.h"

/* A pointer into an object, of whatever class, is none. */
KTEST(mm, magazine_interior)
{
	static const size_t sizes[] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096 };
	enum { HELD = 40 };
	static char *held[HELD];

	for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		struct slab_stats before, after;
		struct slab_cache *c;
		unsigned wrong = 0, n = 0;

		for (; n < HELD; n++) {                         /* slabs of several frames, too */
			held[n] = kmalloc(sizes[k]);
			KASSERT(held[n] != NULL);
		}
		c = slab_cache_of(held[0]);
		KASSERT(c != NULL);
		slab_get_stats(c, &before);
		for (unsigned i = 0; i < HELD; i++)
			for (size_t at = 1; at < sizes[k]; at += i % 8 ? 1 + sizes[k] / 16 : 1)
				wrong += kfree(held[i] + at) != -EINVAL || kmalloc_size(held[i] + at) != 0;
		slab_get_stats(c, &after);
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(after.live, before.live);
		KASSERT(after.errors > before.errors);
		while (n--) {
			KASSERT(kmalloc_size(held[n]) >= sizes[k]);
			KASSERT_EQ(kfree(held[n]), 0);
		}
	}
}

/* What is in front of a slab's objects, beyond its end, in somebody else's frame, or no memory at all, is none either. */
KTEST(mm, magazine_foreign)
{
	static const uint64_t nowhere[] = { 1, 8, 4096, USER_END, 1ull << 47, DIRECT_MAP_BASE - 64, KSTACK_BASE, DEVICE_MAP_BASE, KERNEL_BASE, UINT64_MAX - 63 };
	struct slab_cache *c;
	unsigned wrong = 0;
	paddr_t pa;
	char *p;

	KASSERT_EQ(slab_cache_create("magazine_foreign", 64, 0, NULL, 0, &c), 0);
	p = slab_alloc(c);
	KASSERT(p != NULL);
	wrong += kfree(p) != -EINVAL;
	KASSERT_EQ(slab_free(c, p), 0);
	KASSERT_EQ(slab_cache_destroy(c), 0);

	p = kmalloc(64);
	KASSERT(p != NULL);
	for (char *at = (char *)((vaddr_t)p & ~(PAGE_SIZE - 1)); at < p && at < (char *)((vaddr_t)p & ~(PAGE_SIZE - 1)) + 32; at += 8)
		wrong += kfree(at) != -EINVAL;                  /* its header */
	KASSERT_EQ(kfree(p), 0);

	KASSERT_EQ(frame_alloc(FRAME_ZERO, &pa), 0);
	for (unsigned tag = 0; tag < 3; tag++) {
		frame_set_tag(pa, tag == 0 ? 0 : tag == 1 ? DIRECT_MAP_BASE + pa : UINT64_MAX);
		for (size_t at = 0; at < PAGE_SIZE; at += 64)
			wrong += kfree((char *)phys_to_virt(pa) + at) != -EINVAL;
	}
	frame_set_tag(pa, 0);
	KASSERT_EQ(frame_free(pa), 0);
	for (size_t at = 0; at < PAGE_SIZE; at += 64)
		wrong += kfree((char *)phys_to_virt(pa) + at) != -EINVAL;
	for (unsigned i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
		wrong += kfree((void *)nowhere[i]) != -EINVAL;
	wrong += kfree(&wrong) != -EINVAL;
	wrong += kfree(NULL) != 0;
	KASSERT_EQ(wrong, 0);
}

/* ---- interrupted anywhere ---- */

enum { HELD = 20, SIZE = 64 };

static struct {
	struct timer timer;
	uint8_t *held[HELD];
	volatile uint32_t fired;
	uint32_t wrong;
	volatile bool end;
} inside;

/* Frees p if there is one, which is to be marked all over, and allocates another. */
static uint8_t *exchange(uint8_t *p, uint8_t mark, uint32_t *wrong)
{
	if (p) {
		for (unsigned i = 0; i < SIZE; i++)
			*wrong += p[i] != mark;
		harness_memset(p, 0, SIZE);
		*wrong += kfree(p) != 0;
	}
	p = kmalloc(SIZE);
	if (p)
		harness_memset(p, mark, SIZE);
	*wrong += !p;
	return p;
}

static void in_interrupt(struct timer *timer)
{
	const unsigned i = inside.fired % HELD;

	inside.held[i] = exchange(inside.held[i], (uint8_t)(100 + i), &inside.wrong);
	inside.fired++;
	if (!inside.end)
		timer_arm(timer, clock_ns() + 3000 + inside.fired * 7 % 1000, in_interrupt, NULL);
}

KTEST(mm, magazine_interrupts)
{
	static uint8_t *held[HELD];
	const uint64_t begin = clock_ns();
	uint32_t wrong = 0, turns = 0;

	harness_memset(&inside, 0, sizeof inside);
	KASSERT_EQ(timer_arm(&inside.timer, clock_ns() + 1000, in_interrupt, NULL), 0);
	while ((inside.fired < 500 || turns < 5000) && clock_ns() - begin < 4000000000ull) {
		held[turns % HELD] = exchange(held[turns % HELD], (uint8_t)(1 + turns % HELD), &wrong);
		turns++;
	}
	inside.end = true;
	timer_cancel(&inside.timer);
	for (unsigned i = 0; i < HELD; i++) {
		wrong += kfree(held[i]) != 0;
		wrong += kfree(inside.held[i]) != 0;
		held[i] = NULL;
	}
	KASSERT(inside.fired >= 500);
	KASSERT(turns >= 5000);
	KASSERT_EQ(inside.wrong, 0);
	KASSERT_EQ(wrong, 0);
}

/* ---- what it costs ---- */

static void malloc_free(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		kfree(kmalloc(64));
}

/* In boots that count instructions. */
KTEST(mm, magazine_cost)
{
	enum { CEILING = 80 };
	uint64_t cost;

	if (memory_debugging())
		KSKIP("slab.debug is on");
	if (!harness_counting())
		return;
	cost = ticks_each(malloc_free);
	ktest_note("instructions", cost);
	KASSERT(cost > 4);
	KASSERT(cost <= CEILING);
}
