/* Acceptance of mm/kmalloc.c: memory of any size. See spec/mm.md. */
#include "memory.h"

enum { LARGEST = 8192, LIVE = 64 };

/* The byte that an object of that size has all over. */
static uint8_t mark(size_t size)
{
	return (uint8_t)(size * 37 + size / 256 + 1);
}

static bool is_marked(const uint8_t *p, size_t size)
{
	return p[0] == mark(size) && p[size / 2] == mark(size) && p[size - 1] == mark(size);
}

KTEST(mm, kmalloc_sizes)
{
	static uint8_t *p[LIVE];
	static size_t sizes[LIVE];

	for (size_t size = 1; size <= LARGEST + LIVE; size++) {
		const unsigned i = size % LIVE;

		if (size > LIVE) {
			KASSERT(is_marked(p[i], sizes[i]));
			KASSERT_EQ(kfree(p[i]), 0);
		}
		if (size > LARGEST)
			continue;
		p[i] = kmalloc(size);
		sizes[i] = size;
		KASSERT(p[i] != NULL);
		KASSERT_EQ((vaddr_t)p[i] % (size > 4096 ? PAGE_SIZE : 16), 0);
		KASSERT(kmalloc_size(p[i]) >= size);
		KASSERT(kmalloc_size(p[i]) <= (size > 4096 ? size + PAGE_SIZE : 2 * size + 16));
		for (unsigned k = 0; size % 97 == 0 && k < LIVE; k++)
			KASSERT(k == i || !sizes[k] || sizes[k] > size || p[k] + sizes[k] <= p[i] || p[i] + size <= p[k]);
		harness_memset(p[i], mark(size), kmalloc_size(p[i]));   /* all of it may be used */
		for (unsigned k = 0; k < LIVE && size % 61 == 0; k++)
			KASSERT(!sizes[k] || is_marked(p[k], sizes[k]));
	}
	harness_memset(sizes, 0, sizeof sizes);
}

KTEST(mm, kmalloc_zero)
{
	static const size_t sizes[] = { 1, 16, 100, 777, 4096, 4097, 20000 };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned round = 0; round < 30; round++) {
			uint8_t *dirt = kmalloc(sizes[i]), *p;
			size_t left = 0;

			KASSERT(dirt != NULL);
			harness_memset(dirt, 0xa5, sizes[i]);
			KASSERT_EQ(kfree(dirt), 0);
			p = kzalloc(sizes[i]);
			KASSERT(p != NULL);
			for (size_t k = 0; k < sizes[i]; k++)
				left += p[k] != 0;
			KASSERT_EQ(left, 0);
			KASSERT_EQ(kfree(p), 0);
		}
	KASSERT(kzalloc(0) == NULL);
	KASSERT(kzalloc(KMALLOC_MAX + 1) == NULL);
}

KTEST(mm, kmalloc_large)
{
	static const size_t sizes[] = { 4097, 8192, 8193, 65536, 100000, KMALLOC_MAX - 1, KMALLOC_MAX };
	enum { N = sizeof sizes / sizeof *sizes };
	const uint64_t before = free_frames();
	uint64_t pages = 0;
	void *p[N];

	for (unsigned i = 0; i < N; i++) {
		p[i] = kmalloc(sizes[i]);
		KASSERT(p[i] != NULL);
		KASSERT_EQ((vaddr_t)p[i] % PAGE_SIZE, 0);
		KASSERT(kmalloc_size(p[i]) >= sizes[i]);
		KASSERT(kmalloc_size(p[i]) < sizes[i] + PAGE_SIZE);
		pages += (sizes[i] + PAGE_SIZE - 1) / PAGE_SIZE;
		harness_memset(p[i], (int)i + 1, sizes[i]);
	}
	KASSERT_EQ(free_frames(), before - pages);
	for (unsigned i = 0; i < N; i++) {
		KASSERT_EQ(((uint8_t *)p[i])[0], i + 1);
		KASSERT_EQ(((uint8_t *)p[i])[sizes[i] - 1], i + 1);
		KASSERT_EQ(kfree(p[i]), 0);
	}
	KASSERT_EQ(free_frames(), before);
	KASSERT(kmalloc(0) == NULL);
	KASSERT(kmalloc(KMALLOC_MAX + 1) == NULL);
	KASSERT(kmalloc(SIZE_MAX) == NULL);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, kmalloc_bad_free)
{
	struct slab_cache *other;
	uint64_t on_stack[16];
	static uint64_t in_bss[16];
	char *small = kmalloc(64), *run = kmalloc(3 * PAGE_SIZE), *foreign;
	paddr_t frame;
	uint64_t before;

	KASSERT(small != NULL && run != NULL);
	KASSERT_EQ(slab_cache_create("acceptance", 64, 0, NULL, 0, &other), 0);
	foreign = slab_alloc(other);
	KASSERT(foreign != NULL);
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	before = free_frames();
	KASSERT_EQ(kfree(NULL), 0);
	KASSERT_EQ(kfree(on_stack), -EINVAL);
	KASSERT_EQ(kfree(in_bss), -EINVAL);
	KASSERT_EQ(kfree(run + 16), -EINVAL);
	KASSERT_EQ(kfree(run + PAGE_SIZE), -EINVAL);
	KASSERT_EQ(kfree(run + 2 * PAGE_SIZE), -EINVAL);
	KASSERT_EQ(kfree(small + 16), -EINVAL);
	KASSERT_EQ(kfree(small + 1), -EINVAL);
	KASSERT_EQ(kfree(foreign), -EINVAL);            /* an object, but none of kmalloc's */
	KASSERT_EQ(kfree(phys_to_virt(frame)), -EINVAL);
	KASSERT_EQ(kfree((void *)0x5000), -EINVAL);
	KASSERT_EQ(kfree((void *)UINT64_MAX), -EINVAL);
	KASSERT_EQ(kmalloc_size(run + PAGE_SIZE), 0);
	KASSERT_EQ(kmalloc_size(on_stack), 0);
	KASSERT_EQ(kmalloc_size(foreign), 0);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(slab_free(other, foreign), 0);
	KASSERT_EQ(slab_cache_destroy(other), 0);
	KASSERT_EQ(kfree(run), 0);
	KASSERT_EQ(kfree(run), -EINVAL);
	KASSERT_EQ(kfree(small), 0);
}

/* Where the command line says so, each mistake with an object of kmalloc's is seen; where it does not, none costs any time. */
KTEST(mm, kmalloc_debug)
{
	uint8_t *p = kmalloc(24), *q = kmalloc(24);
	int twice, torn, mended;

	KASSERT(p != NULL && q != NULL);
	if (!memory_debugging()) {
		KASSERT_EQ(kfree(p), 0);
		KASSERT_EQ(kfree(q), 0);
		return;
	}
	KASSERT_EQ(p[0], POISON_NEW);
	KASSERT_EQ(p[23], POISON_NEW);
	q[kmalloc_size(q)] ^= 0xff;
	torn = kfree(q);
	q[kmalloc_size(q)] ^= 0xff;
	mended = kfree(q);
	KASSERT_EQ(kfree(p), 0);
	twice = kfree(p);
	KASSERT_EQ(torn, -EINVAL);
	KASSERT_EQ(mended, 0);
	KASSERT_EQ(twice, -EINVAL);
	KASSERT_EQ(p[0], POISON_FREE);
	KASSERT_EQ(p[23], POISON_FREE);
}

KTEST(mm, kmalloc_oom)
{
	const paddr_t all = hog();
	void *large = kmalloc(8192), *p, *first = NULL;
	unsigned n = 0;

	while (n < 10000 && (p = kmalloc(1024)) != NULL) {      /* what is left in slabs */
		*(void **)p = first;
		first = p;
		n++;
	}
	unhog(all);
	for (p = first; p; p = first) {
		first = *(void **)p;
		KASSERT_EQ(kfree(p), 0);
	}
	KASSERT(large == NULL);
	KASSERT(n < 10000);
	KASSERT((p = kmalloc(8192)) != NULL);
	KASSERT_EQ(kfree(p), 0);
	KASSERT((p = kmalloc(1024)) != NULL);
	KASSERT_EQ(kfree(p), 0);
}

/* What was freed goes back with the slabs it was in. */
KTEST(mm, kmalloc_return)
{
	enum { MANY = 2000 };
	static void *p[MANY];
	struct slab_cache *c;
	uint64_t before;

	KASSERT((p[0] = kmalloc(128)) != NULL);
	c = slab_cache_of(p[0]);
	KASSERT(c != NULL);
	KASSERT_EQ(kfree(p[0]), 0);
	slab_shrink(c);
	before = free_frames();
	for (unsigned i = 0; i < MANY; i++) {
		KASSERT((p[i] = kmalloc(128)) != NULL);
		KASSERT(slab_cache_of(p[i]) == c);
	}
	KASSERT(free_frames() < before);
	for (unsigned i = 0; i < MANY; i++)
		KASSERT_EQ(kfree(p[(i * 7) % MANY]), 0);
	slab_shrink(c);
	KASSERT_EQ(free_frames(), before);
}

/* ---- what it costs ---- */

static void malloc_free(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		kfree(kmalloc(64));
}

KBENCH(mm, kmalloc_kfree_64)
{
	malloc_free(n);
}

/* In boots that count instructions. */
KTEST(mm, kmalloc_cost)
{
	enum { CEILING = 120 };
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

/* ---- beside others ---- */

KTEST(mm, beside_kmalloc)
{
	enum { HELD = 48, ROUNDS = 1000 };
	static struct {
		uint8_t *at;
		size_t size;
	} held[HELD];
	uint64_t random = harness_seed();
	unsigned wrong = 0, turns = 0;

	for (unsigned round = 0; round < ROUNDS + HELD; round++) {
		const unsigned i = (unsigned)(round < ROUNDS ? harness_random(&random) % HELD : round - ROUNDS);

		if (held[i].at) {
			for (size_t n = 0; n < held[i].size; n++)
				wrong += held[i].at[n] != (uint8_t)(i + n);
			wrong += kfree(held[i].at) != 0;
			held[i].at = NULL;
			turns++;
		} else if (round < ROUNDS) {
			held[i].size = 1 + harness_random(&random) % 300;
			held[i].at = kmalloc(held[i].size);
			for (size_t n = 0; held[i].at && n < held[i].size; n++)
				held[i].at[n] = (uint8_t)(i + n);
		}
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(turns > ROUNDS / 3);
}
