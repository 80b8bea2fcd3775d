/* Acceptance of mm/slab.c: objects, their caches, and what misuse is found. See spec/mm.md. */
#include "clock.h"
#include "cpu.h"
#include "memory.h"

enum { MANY = 10000, CACHES = 8 };

static void *objects[MANY];

static struct slab_stats stats(struct slab_cache *c)
{
	struct slab_stats s;

	slab_get_stats(c, &s);
	return s;
}

/* A cache that has given back all but its own memory, made at the price of one that was here before. */
static struct slab_cache *make(size_t size, size_t align, unsigned flags)
{
	struct slab_cache *c;

	return slab_cache_create("acceptance", size, align, NULL, flags, &c) ? NULL : c;
}

/* Memory that the first caches take for all of them, and do not give back, is not to count. */
static void warm_up(void)
{
	struct slab_cache *c[CACHES];

	for (unsigned i = 0; i < CACHES; i++) {
		c[i] = make(64, 0, i % 2 ? SLAB_DEBUG : 0);
		if (c[i])
			slab_free(c[i], slab_alloc(c[i]));
	}
	for (unsigned i = 0; i < CACHES; i++)
		if (c[i])
			slab_cache_destroy(c[i]);
}

/* Fills size bytes with what only this object of this size has. */
static void fill(void *p, size_t size, uint64_t id)
{
	uint8_t *byte = p;

	for (size_t i = 0; i < size; i++)
		byte[i] = (uint8_t)(id * 31 + i * 7 + 1);
}

static bool is_filled(const void *p, size_t size, uint64_t id)
{
	const uint8_t *byte = p;

	for (size_t i = 0; i < size; i++)
		if (byte[i] != (uint8_t)(id * 31 + i * 7 + 1))
			return false;
	return true;
}

KTEST(mm, slab_sizes)
{
	enum { EACH = 20 };

	warm_up();
	for (unsigned debug = 0; debug < 2; debug++)
		for (size_t size = 1; size <= SLAB_MAX_SIZE; size += size < 64 ? 1 : size < 1024 ? 61 : 439) {
			const uint64_t before = free_frames();
			struct slab_cache *c = make(size, 0, debug ? SLAB_DEBUG : 0);
			unsigned wrong = 0, errors = 0;

			KASSERT(c != NULL);
			for (unsigned i = 0; i < EACH; i++) {
				objects[i] = slab_alloc(c);
				KASSERT(objects[i] != NULL);
				KASSERT_EQ((vaddr_t)objects[i] % 16, 0);
				KASSERT((vaddr_t)objects[i] >= DIRECT_MAP_BASE);
				fill(objects[i], size, i);
			}
			KASSERT_EQ(stats(c).live, EACH);
			KASSERT(stats(c).slabs > 0);
			KASSERT(stats(c).frames * PAGE_SIZE >= EACH * size);
			for (unsigned i = 0; i < EACH; i++)
				wrong += !is_filled(objects[i], size, i);
			for (unsigned i = 0; i < EACH; i++)
				errors += slab_free(c, objects[i]) != 0;
			KASSERT_EQ(wrong, 0);
			KASSERT_EQ(errors, 0);
			KASSERT_EQ(stats(c).live, 0);
			KASSERT_EQ(stats(c).errors, 0);
			KASSERT_EQ(slab_cache_destroy(c), 0);
			KASSERT_EQ(free_frames(), before);
		}
}

KTEST(mm, slab_align)
{
	static const size_t sizes[] = { 16, 24, 100, 1000, 4096 };

	for (size_t align = 8; align <= 4096; align *= 2)
		for (unsigned i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
			struct slab_cache *c = make(sizes[i / 2], align, i % 2 ? SLAB_DEBUG : 0);

			KASSERT(c != NULL);
			for (unsigned k = 0; k < 5; k++) {
				objects[k] = slab_alloc(c);
				KASSERT(objects[k] != NULL);
				KASSERT_EQ((vaddr_t)objects[k] % align, 0);
				fill(objects[k], sizes[i / 2], k);
			}
			for (unsigned k = 0; k < 5; k++) {
				KASSERT(is_filled(objects[k], sizes[i / 2], k));
				KASSERT_EQ(slab_free(c, objects[k]), 0);
			}
			KASSERT_EQ(slab_cache_destroy(c), 0);
		}
}

/* ---- constructors ---- */

static unsigned constructed;

static void construct(void *object)
{
	uint64_t *word = object;

	word[0] = 0xc0ffee;
	word[1] = ++constructed;
	word[2] = 0;
}

KTEST(mm, slab_ctor)
{
	enum { EACH = 300 };

	for (unsigned debug = 0; debug < 2; debug++) {
		struct slab_cache *c;
		unsigned made, sum = 0;

		constructed = 0;
		KASSERT_EQ(slab_cache_create("acceptance", 40, 0, construct, debug ? SLAB_DEBUG : 0, &c), 0);
		for (unsigned i = 0; i < EACH; i++) {
			uint64_t *word = objects[i] = slab_alloc(c);

			KASSERT(word != NULL);
			KASSERT_EQ(word[0], 0xc0ffee);
			KASSERT_EQ(word[2], 0);
			KASSERT(word[1] >= 1 && word[1] <= constructed);
			for (unsigned j = 0; j < i; j++)        /* each has been constructed for itself */
				sum += ((uint64_t *)objects[j])[1] == word[1];
		}
		KASSERT_EQ(sum, 0);
		made = constructed;
		for (unsigned round = 0; round < 3; round++) {  /* what is freed comes back as it was */
			for (unsigned i = 0; i < EACH; i++)
				KASSERT_EQ(slab_free(c, objects[i]), 0);
			for (unsigned i = 0; i < EACH; i++) {
				uint64_t *word = objects[i] = slab_alloc(c);

				KASSERT_EQ(word[0], 0xc0ffee);
				KASSERT_EQ(word[2], 0);
			}
		}
		KASSERT_EQ(constructed, made);
		for (unsigned i = 0; i < EACH; i++)
			KASSERT_EQ(slab_free(c, objects[i]), 0);
		KASSERT_EQ(stats(c).errors, 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

KTEST(mm, slab_bad_create)
{
	static const struct {
		size_t size, align;
		unsigned flags;
	} bad[] = {
		{ 0, 0, 0 }, { 4097, 0, 0 }, { SIZE_MAX, 0, 0 }, { 64, 3, 0 }, { 64, 4, 0 }, { 64, 48, 0 }, { 64, 8192, 0 },
		{ 64, 1ul << 63, 0 }, { 64, 1, 0 }, { 64, 0, 2 }, { 64, 0, 1u << 31 },
	};
	struct slab_cache *c = (struct slab_cache *)77;
	uint64_t before;

	warm_up();
	before = free_frames();
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		KASSERT_EQ(slab_cache_create("acceptance", bad[i].size, bad[i].align, NULL, bad[i].flags, &c), -EINVAL);
	KASSERT_EQ((vaddr_t)c, 77);
	KASSERT_EQ(free_frames(), before);
}

/* ---- what comes back ---- */

static void shuffle(unsigned n, uint64_t *seed)
{
	for (unsigned i = n - 1; i; i--) {
		const unsigned j = harness_random(seed) % (i + 1);
		void *moved = objects[i];

		objects[i] = objects[j];
		objects[j] = moved;
	}
}

KTEST(mm, slab_return)
{
	uint64_t seed = harness_seed(), before;
	struct slab_cache *c = make(200, 0, 0);
	size_t back;

	KASSERT(c != NULL);
	slab_free(c, slab_alloc(c));
	slab_shrink(c);
	KASSERT_EQ(stats(c).frames, 0);
	before = free_frames();
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			objects[i] = slab_alloc(c);
			KASSERT(objects[i] != NULL);
		}
		KASSERT_EQ(stats(c).live, MANY);
		KASSERT_EQ(free_frames(), before - stats(c).frames);
		KASSERT(stats(c).frames * PAGE_SIZE < MANY * 200 * 5 / 4);      /* no more than a quarter is wasted */
		shuffle(MANY, &seed);
		for (unsigned i = 0; i < MANY; i++)
			KASSERT_EQ(slab_free(c, objects[i]), 0);
		KASSERT_EQ(stats(c).live, 0);
		back = slab_shrink(c);
		KASSERT(back > 0);
		KASSERT_EQ(free_frames(), before);
		KASSERT_EQ(stats(c).frames, 0);
		KASSERT_EQ(stats(c).slabs, 0);
		KASSERT_EQ(slab_shrink(c), 0);
	}
	KASSERT_EQ(slab_cache_destroy(c), 0);
}

KTEST(mm, slab_destroy)
{
	uint64_t before;

	warm_up();
	before = free_frames();
	for (unsigned round = 0; round < 50; round++) {
		struct slab_cache *c = make(16 << round % 8, 0, round % 2 ? SLAB_DEBUG : 0);
		void *p, *q;

		KASSERT(c != NULL);
		p = slab_alloc(c);
		q = slab_alloc(c);
		KASSERT(p != NULL && q != NULL && p != q);
		KASSERT_EQ(slab_cache_destroy(c), -EBUSY);
		KASSERT_EQ(slab_free(c, p), 0);
		KASSERT_EQ(slab_cache_destroy(c), -EBUSY);
		KASSERT_EQ(slab_free(c, q), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
		KASSERT_EQ(free_frames(), before);
	}
}

/* ---- misuse ---- */

KTEST(mm, slab_foreign)
{
	for (unsigned debug = 0; debug < 2; debug++) {
		struct slab_cache *c = make(64, 0, debug ? SLAB_DEBUG : 0), *other = make(64, 0, debug ? SLAB_DEBUG : 0);
		uint64_t on_stack[16];
		static uint64_t in_bss[16];
		char *mine, *others;
		paddr_t frame;

		KASSERT(c != NULL && other != NULL);
		mine = slab_alloc(c);
		others = slab_alloc(other);
		KASSERT(mine != NULL && others != NULL);
		KASSERT(slab_cache_of(mine) == c);
		KASSERT(slab_cache_of(mine + 33) == c);
		KASSERT(slab_cache_of(others) == other);
		KASSERT(slab_cache_of(on_stack) == NULL);
		KASSERT(slab_cache_of(in_bss) == NULL);
		KASSERT(slab_cache_of(NULL) == NULL);
		KASSERT(slab_cache_of((void *)0x123450) == NULL);
		KASSERT(slab_cache_of((void *)UINT64_MAX) == NULL);
		KASSERT_EQ(slab_free(c, others), -EINVAL);
		KASSERT_EQ(slab_free(other, mine), -EINVAL);
		KASSERT_EQ(slab_free(c, mine + 1), -EINVAL);
		KASSERT_EQ(slab_free(c, mine + 8), -EINVAL);
		KASSERT_EQ(slab_free(c, mine + 16), -EINVAL);
		KASSERT_EQ(slab_free(c, on_stack), -EINVAL);
		KASSERT_EQ(slab_free(c, in_bss), -EINVAL);
		KASSERT_EQ(slab_free(c, NULL), -EINVAL);
		KASSERT_EQ(slab_free(c, (void *)UINT64_MAX), -EINVAL);
		KASSERT_EQ(frame_alloc(0, &frame), 0);
		KASSERT(slab_cache_of(phys_to_virt(frame)) == NULL);
		KASSERT_EQ(slab_free(c, phys_to_virt(frame)), -EINVAL);
		KASSERT_EQ(frame_free(frame), 0);
		KASSERT_EQ(stats(c).live, 1);
		KASSERT_EQ(stats(c).errors, 9);
		KASSERT_EQ(slab_free(c, mine), 0);
		KASSERT_EQ(slab_free(other, others), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
		KASSERT_EQ(slab_cache_destroy(other), 0);
	}
}

KTEST(mm, slab_double_free)
{
	enum { EACH = 100 };
	struct slab_cache *c = make(48, 0, SLAB_DEBUG);

	KASSERT(c != NULL);
	for (unsigned i = 0; i < EACH; i++)
		KASSERT((objects[i] = slab_alloc(c)) != NULL);
	for (unsigned i = 0; i < EACH; i += 2) {
		KASSERT_EQ(slab_free(c, objects[i]), 0);
		KASSERT_EQ(slab_free(c, objects[i]), -EINVAL);
	}
	for (unsigned i = 0; i < EACH; i += 2)
		KASSERT_EQ(slab_free(c, objects[i]), -EINVAL);
	KASSERT_EQ(stats(c).errors, EACH);
	KASSERT_EQ(stats(c).live, EACH / 2);
	for (unsigned i = 0; i < EACH; i += 2)          /* nothing is in the list twice */
		KASSERT((objects[i] = slab_alloc(c)) != NULL);
	for (unsigned i = 0; i < EACH; i++)
		for (unsigned j = 0; j < i; j++)
			KASSERT(objects[i] != objects[j]);
	for (unsigned i = 0; i < EACH; i++)
		KASSERT_EQ(slab_free(c, objects[i]), 0);
	KASSERT_EQ(stats(c).errors, EACH);
	KASSERT_EQ(slab_cache_destroy(c), 0);
}

static bool all_bytes(const void *p, uint8_t byte, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != byte)
			return false;
	return true;
}

KTEST(mm, slab_poison)
{
	static const size_t sizes[] = { 16, 40, 72, 500, 4096 };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		const size_t size = sizes[i];
		struct slab_cache *c = make(size, 0, SLAB_DEBUG);
		uint8_t *p, *q = NULL;

		KASSERT(c != NULL);
		p = slab_alloc(c);
		KASSERT(p != NULL);
		KASSERT(all_bytes(p, POISON_NEW, size));
		harness_memset(p, 0x77, size);
		KASSERT_EQ(slab_free(c, p), 0);
		KASSERT(all_bytes(p, POISON_FREE, size));
		p[size - 1] ^= 1;                       /* after it was freed */
		KASSERT_EQ(stats(c).errors, 0);
		for (unsigned n = 0; n < 1000 && q != p; n++)
			objects[n] = q = slab_alloc(c), objects[n + 1] = NULL;
		KASSERT(q == p);
		KASSERT_EQ(stats(c).errors, 1);
		KASSERT(all_bytes(p, POISON_NEW, size));
		for (unsigned n = 0; objects[n]; n++)
			KASSERT_EQ(slab_free(c, objects[n]), 0);
		KASSERT_EQ(stats(c).errors, 1);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* A byte that belongs to nobody was written: found when the object is freed, which it then is not. */
KTEST(mm, slab_redzone)
{
	static const size_t sizes[] = { 16, 40, 64, 100, 128, 4096 };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct slab_cache *c = make(sizes[i], 0, SLAB_DEBUG);
		const long where[] = { -1, -16, (long)sizes[i], (long)sizes[i] + 15 };
		uint8_t *p;

		KASSERT(c != NULL);
		p = slab_alloc(c);
		KASSERT(p != NULL);
		for (unsigned k = 0; k < 4; k++) {
			const uint8_t was = p[where[k]];

			KASSERT_EQ(was, 0xBB);
			p[where[k]] = (uint8_t)~was;
			KASSERT_EQ(slab_free(c, p), -EINVAL);
			KASSERT_EQ(stats(c).live, 1);
			KASSERT_EQ(stats(c).errors, k + 1);
			p[where[k]] = was;
		}
		KASSERT_EQ(slab_free(c, p), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

static struct {
	unsigned count, strange;
	const void *left[3];
	uint64_t first, end;            /* where the function that made them lies */
} leaks;

static __attribute__((noipa)) void *leak(struct slab_cache *c)
{
	void *p = slab_alloc(c);

	__asm__ volatile("" : : : "memory");
	return p;
}

static void see_leak(void *object, void *caller, void *arg)
{
	bool known = false;

	for (unsigned i = 0; i < 3; i++)
		known = known || leaks.left[i] == object;
	leaks.count++;
	leaks.strange += !known || arg != &leaks || (uint64_t)caller <= leaks.first || (uint64_t)caller > leaks.first + 64;
}

KTEST(mm, slab_leaks)
{
	struct slab_cache *c = make(80, 0, SLAB_DEBUG), *plain = make(80, 0, 0);
	void *p;
	size_t reported;

	KASSERT(c != NULL && plain != NULL);
	harness_memset(&leaks, 0, sizeof leaks);
	leaks.first = harness_addr((const void *)leak);
	for (unsigned i = 0; i < 100; i++)
		KASSERT((objects[i] = leak(c)) != NULL);
	for (unsigned i = 0; i < 100; i++)
		if (i % 40 == 5)
			leaks.left[i / 40] = objects[i];
		else
			KASSERT_EQ(slab_free(c, objects[i]), 0);
	reported = slab_report_leaks(c, see_leak, &leaks);
	KASSERT_EQ(reported, 3);
	KASSERT_EQ(leaks.count, 3);
	KASSERT_EQ(leaks.strange, 0);
	for (unsigned i = 0; i < 3; i++)
		KASSERT_EQ(slab_free(c, (void *)(uintptr_t)leaks.left[i]), 0);
	KASSERT_EQ(slab_report_leaks(c, see_leak, &leaks), 0);
	KASSERT((p = slab_alloc(plain)) != NULL);
	KASSERT_EQ(slab_report_leaks(plain, see_leak, &leaks), 0);     /* nobody has kept book */
	KASSERT_EQ(leaks.count, 3);
	KASSERT_EQ(slab_free(plain, p), 0);
	KASSERT_EQ(slab_cache_destroy(plain), 0);
	KASSERT_EQ(slab_cache_destroy(c), 0);
}

/* ---- nothing left ---- */

KTEST(mm, slab_oom)
{
	struct slab_cache *c = make(1000, 0, 0), *none = NULL;
	uint64_t before;
	unsigned n = 0, rest = 0;
	paddr_t all;
	void *p;

	KASSERT(c != NULL);
	slab_free(c, slab_alloc(c));
	slab_shrink(c);
	before = free_frames();
	KASSERT((objects[0] = slab_alloc(c)) != NULL);
	all = hog();
	for (n = 1; n < MANY && (objects[n] = slab_alloc(c)) != NULL; n++)
		;
	p = slab_alloc(c);
	for (unsigned i = 0; i < 100 && !none; i++)     /* until one needs memory */
		if (slab_cache_create("acceptance", 64, 0, NULL, 0, &none) == 0) {
			rest += slab_alloc(none) != NULL;
			slab_cache_destroy(none);
			none = NULL;
		}
	for (unsigned i = 0; i < n / 2; i++)
		slab_free(c, objects[i]);
	for (unsigned i = 0; i < n / 2; i++)            /* what was freed can be had */
		objects[i] = slab_alloc(c);
	unhog(all);
	KASSERT(n < MANY);
	KASSERT(p == NULL);
	KASSERT_EQ(rest, 0);
	for (unsigned i = 0; i < n; i++) {
		KASSERT(objects[i] != NULL);
		KASSERT_EQ(slab_free(c, objects[i]), 0);
	}
	KASSERT((p = slab_alloc(c)) != NULL);
	KASSERT_EQ(slab_free(c, p), 0);
	slab_shrink(c);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(slab_cache_destroy(c), 0);
}

/* ---- random work against what was written ---- */

enum { SLOTS = 1024, RANDOM_OPERATIONS = 100000 };

static struct slot {
	uint64_t *p;
	uint64_t id;
} slots[CACHES][SLOTS];

KTEST(mm, slab_random)
{
	static const size_t sizes[CACHES] = { 16, 24, 64, 100, 192, 500, 1024, 4096 };
	uint64_t seed = harness_seed(), wrong = 0, live[CACHES] = { 0 };
	struct slab_cache *c[CACHES];
	uint64_t before;

	warm_up();
	before = free_frames();
	harness_memset(slots, 0, sizeof slots);
	for (unsigned i = 0; i < CACHES; i++)
		KASSERT((c[i] = make(sizes[i], 0, i == 1 || i == 3 ? SLAB_DEBUG : 0)) != NULL);
	for (uint64_t i = 0; i < RANDOM_OPERATIONS; i++) {
		const uint64_t r = harness_random(&seed);
		const unsigned k = r % CACHES, words = (unsigned)(sizes[k] / 8);
		struct slot *s = &slots[k][r >> 8 & ((k == CACHES - 1 ? 64 : SLOTS) - 1)];

		if (s->p) {
			wrong += s->p[0] != s->id || s->p[words / 2] != s->id || s->p[words - 1] != s->id;
			wrong += slab_free(c[k], s->p) != 0;
			s->p = NULL;
			live[k]--;
		} else if ((s->p = slab_alloc(c[k])) != NULL) {
			s->id = i;
			s->p[0] = s->p[words / 2] = s->p[words - 1] = i;
			live[k]++;
		} else {
			wrong++;
		}
		if ((r >> 32 & 4095) == 0)
			slab_shrink(c[k]);
		if ((r >> 32 & 1023) == 1)
			wrong += stats(c[k]).live != live[k] || stats(c[k]).errors;
	}
	for (unsigned k = 0; k < CACHES; k++) {
		for (unsigned i = 0; i < SLOTS; i++)
			if (slots[k][i].p)
				wrong += slots[k][i].p[0] != slots[k][i].id || slab_free(c[k], slots[k][i].p) != 0;
		wrong += slab_cache_destroy(c[k]) != 0;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(free_frames(), before);
}

/* ---- from one processor to the next ---- */

enum { RING = 64, PASSED = 3000 };

static struct {
	struct slab_cache *cache;
	uint64_t *ring[CPU_MAX][RING];
	uint32_t in[CPU_MAX], out[CPU_MAX], arrived;
	unsigned processors;
	uint64_t wrong;
} pass;

/* Each allocates for the next one, and frees what the one before it has allocated. */
static void pass_on(void *arg)
{
	const unsigned me = cpu_self()->index, next = (me + 1) % pass.processors;
	uint64_t sent = 0, deadline;

	(void)arg;
	__atomic_fetch_add(&pass.arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&pass.arrived, __ATOMIC_SEQ_CST) < pass.processors)
		__asm__ volatile("pause");
	deadline = clock_ns() + 300000000;
	for (;;) {
		const bool ends = sent == PASSED || (sent > 1 && clock_ns() > deadline);
		const uint32_t in = pass.in[next], out = pass.out[me];

		if (!ends && in - __atomic_load_n(&pass.out[next], __ATOMIC_ACQUIRE) < RING) {
			uint64_t *p = slab_alloc(pass.cache);

			if (p) {
				p[0] = (uint64_t)me << 32 | in;
				p[1] = ~p[0];
			}
			pass.ring[next][in % RING] = p;
			__atomic_store_n(&pass.in[next], in + 1, __ATOMIC_RELEASE);
			sent++;
		}
		if (__atomic_load_n(&pass.in[me], __ATOMIC_ACQUIRE) != out) {
			uint64_t *p = pass.ring[me][out % RING];
			const uint64_t id = (uint64_t)((me + pass.processors - 1) % pass.processors) << 32 | out;

			if (!p || p[0] != id || p[1] != ~id || slab_free(pass.cache, p))
				__atomic_fetch_add(&pass.wrong, 1, __ATOMIC_SEQ_CST);
			pass.out[me] = out + 1;
		} else if (ends) {
			break;
		}
		__asm__ volatile("pause");
	}
	/* what is sent after that is freed by the test */
	__atomic_fetch_add(&pass.arrived, 1, __ATOMIC_SEQ_CST);
}

static void shrink_here(void *cache)
{
	slab_shrink(cache);
}

KTEST(mm, slab_smp)
{
	for (unsigned debug = 0; debug < 2; debug++) {
		uint64_t before, total = 0;

		warm_up();
		before = free_frames();
		harness_memset(&pass, 0, sizeof pass);
		pass.processors = memory_processors();
		pass.cache = make(64, 0, debug ? SLAB_DEBUG : 0);
		KASSERT(pass.cache != NULL);
		KASSERT_EQ(cpu_on_each(pass_on, NULL), 0);
		for (unsigned i = 0; i < pass.processors; i++) {
			total += pass.in[i];
			for (; pass.out[i] != pass.in[i]; pass.out[i]++)
				pass.wrong += slab_free(pass.cache, pass.ring[i][pass.out[i] % RING]) != 0;
		}
		KASSERT_EQ(pass.wrong, 0);
		KASSERT(total > pass.processors);
		KASSERT_EQ(stats(pass.cache).live, 0);
		KASSERT_EQ(stats(pass.cache).errors, 0);
		cpu_on_each(shrink_here, pass.cache);
		slab_shrink(pass.cache);
		KASSERT_EQ(stats(pass.cache).frames, 0);
		KASSERT_EQ(slab_cache_destroy(pass.cache), 0);
		KASSERT_EQ(free_frames(), before);
	}
}
