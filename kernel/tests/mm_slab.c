/* Further tests of mm/slab.c, beyond acceptance/mm/slab.c: layouts, counts step by step, what goes back to the frames
 * and when, misuse of every byte, other owners' tags, no memory, all processors at once, interrupts at every
 * instruction. See spec/mm.md: the header's section "slab", which is what "the header" below means, "Hardware facts",
 * "What bad input gets", invariants 1 and 6. */
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"
#include "symbols.h"

enum { SEED = 0x51ab0014, MANY = 600, RED_ZONE = 16, RED_BYTE = 0xBB };
enum { IF = 1 << 9, VEC_DEBUG = 1 };
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void *objects[MANY];

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
	struct frame_stats s;

	frame_get_stats(&s);
	return s.free;
}

static struct slab_stats stats(struct slab_cache *c)
{
	struct slab_stats s;

	slab_get_stats(c, &s);
	return s;
}

static bool are(struct slab_stats s, uint64_t live, uint64_t slabs, uint64_t frames, uint64_t errors)
{
	return s.live == live && s.slabs == slabs && s.frames == frames && s.errors == errors;
}

static bool same(struct slab_stats a, struct slab_stats b)
{
	return are(a, b.live, b.slabs, b.frames, b.errors);
}

/* The same, but for that many errors more. */
static bool erred(struct slab_stats now, struct slab_stats before, uint64_t errors)
{
	return are(now, before.live, before.slabs, before.frames, before.errors + errors);
}

static struct slab_cache *make(size_t size, size_t align, void (*ctor)(void *), unsigned flags)
{
	struct slab_cache *c;

	return slab_cache_create("check", size, align, ctor, flags, &c) ? NULL : c;
}

static void shrink_here(void *cache)
{
	slab_shrink(cache);
}

static void shrink_all(struct slab_cache *c)
{
	cpu_on_each(shrink_here, c);
}

/* What the first caches take for all that come after them, and do not give back, is not to count. */
static void warm_up(void)
{
	struct slab_cache *c[10];

	for (unsigned i = 0; i < COUNT(c); i++)
		c[i] = make(64, 0, NULL, 0);
	for (unsigned i = 0; i < COUNT(c); i++)
		if (c[i])
			slab_cache_destroy(c[i]);
}

static bool all_bytes(const void *p, uint8_t byte, size_t n)
{
	const uint8_t *at = p;

	while (n--)
		if (*at++ != byte)
			return false;
	return true;
}

/* All of an 8-aligned object, with what only this number has. */
static void fill(void *p, size_t size, uint64_t id)
{
	const uint64_t value = id * 0x9e3779b97f4a7c15;
	uint64_t *word = p;
	size_t i = 0;

	for (; i + 8 <= size; i += 8)
		*word++ = value + i;
	for (; i < size; i++)
		((uint8_t *)p)[i] = (uint8_t)(id + i);
}

static bool is_filled(const void *p, size_t size, uint64_t id)
{
	const uint64_t value = id * 0x9e3779b97f4a7c15;
	const uint64_t *word = p;
	size_t i = 0;

	for (; i + 8 <= size; i += 8)
		if (*word++ != value + i)
			return false;
	for (; i < size; i++)
		if (((const uint8_t *)p)[i] != (uint8_t)(id + i))
			return false;
	return true;
}

/* ---- layouts ---- */

/* The header: "size 1..4096 (rounded up to 16 at least), align a power of two 8..4096". What is written to all of each
 * object stays there, so that they are disjoint and whole. */
KTEST(mm, check_slab_layouts)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 24, 100, 1000, 2049, 4095, 4096 };

	for (unsigned debug = 0; debug < 2; debug++)
		for (unsigned s = 0; s < COUNT(sizes); s++)
			for (size_t align = 8; align <= 4096; align *= 2) {
				const size_t size = sizes[s], whole = debug || size > 16 ? size : 16;
				const unsigned n = size > 1000 ? 3 : size > 24 ? 8 : align > 8 ? 30 : 250;
				struct slab_cache *c = make(size, align, NULL, debug ? SLAB_DEBUG : 0);
				unsigned unaligned = 0, outside = 0, wrong = 0, refused = 0;
				struct slab_stats full, empty;

				KASSERT(c != NULL);
				for (unsigned i = 0; i < n; i++) {
					char *p = objects[i] = slab_alloc(c);

					KASSERT(p != NULL);
					unaligned += (vaddr_t)p % align != 0;
					outside += (vaddr_t)p < DIRECT_MAP_BASE || (vaddr_t)p + whole > KSTACK_BASE ||
						slab_cache_of(p) != c || slab_cache_of(p + whole - 1) != c;
					fill(p, whole, i + 1);
				}
				full = stats(c);
				for (unsigned i = 0; i < n; i++)
					wrong += !is_filled(objects[i], whole, i + 1);
				for (unsigned i = 0; i < n; i++)
					refused += slab_free(c, objects[i * 7 % n]) != 0;
				empty = stats(c);
				if (unaligned + outside + wrong + refused) {
					ktest_note("size", size);
					ktest_note("align", align);
					ktest_note("debug", debug);
				}
				KASSERT_EQ(slab_cache_destroy(c), 0);
				KASSERT_EQ(unaligned, 0);
				KASSERT_EQ(outside, 0);
				KASSERT_EQ(wrong, 0);
				KASSERT_EQ(refused, 0);
				KASSERT_EQ(full.live, n);
				KASSERT(full.frames * PAGE_SIZE >= n * whole);
				KASSERT(are(empty, 0, full.slabs, full.frames, 0));
			}
}

/* The header: "size 1..4096", "align a power of two 8..4096 (0: 16)", "-EINVAL (unknown flags too)". Nothing is cut to
 * 32 bits on the way, and several things wrong at once are wrong. */
KTEST(mm, check_slab_create_bounds)
{
	struct slab_cache *const untouched = (struct slab_cache *)objects;
	unsigned taken = 0, written = 0, refused = 0;
	struct slab_cache *c;
	uint64_t before;

	warm_up();
	before = free_frames();
	c = untouched;
	for (unsigned bit = 0; bit < 64; bit++) {
		const size_t power = 1ul << bit;

		if (power > SLAB_MAX_SIZE)
			taken += slab_cache_create("check", power, 0, NULL, 0, &c) != -EINVAL;
		if (bit >= 32)
			taken += slab_cache_create("check", power + 64, 0, NULL, 0, &c) != -EINVAL;
		taken += slab_cache_create("check", 4097 + (power - 1) % (1ul << 40), 0, NULL, 0, &c) != -EINVAL;
		if (power < 8 || power > 4096)
			taken += slab_cache_create("check", 64, power, NULL, 0, &c) != -EINVAL;
		if (bit >= 32)
			taken += slab_cache_create("check", 64, power + 64, NULL, 0, &c) != -EINVAL;
		if (bit && bit < 32) {
			taken += slab_cache_create("check", 64, 0, NULL, 1u << bit, &c) != -EINVAL;
			taken += slab_cache_create("check", 64, 0, NULL, 1u << bit | SLAB_DEBUG, &c) != -EINVAL;
		}
		written += c != untouched;
	}
	for (size_t align = 1; align <= 4200; align++)
		if (align & (align - 1))
			taken += slab_cache_create("check", 64, align, NULL, align % 2, &c) != -EINVAL;
	taken += slab_cache_create("check", 0, 0, NULL, SLAB_DEBUG, &c) != -EINVAL;
	taken += slab_cache_create("check", 0, 3, NULL, 2, &c) != -EINVAL;
	taken += slab_cache_create("check", SIZE_MAX, SIZE_MAX, NULL, UINT32_MAX, &c) != -EINVAL;
	taken += slab_cache_create("check", SIZE_MAX - 14, 0, NULL, SLAB_DEBUG, &c) != -EINVAL;
	written += c != untouched;
	KASSERT_EQ(taken, 0);
	KASSERT_EQ(written, 0);
	KASSERT_EQ(free_frames(), before);
	for (unsigned debug = 0; debug < 2; debug++)
		for (size_t align = 8; align <= 4096; align *= 2)
			for (size_t size = 1; size <= SLAB_MAX_SIZE; size += SLAB_MAX_SIZE - 1) {
				refused += slab_cache_create("check", size, align, NULL, debug, &c) != 0;
				refused += slab_cache_destroy(c) != 0;
			}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(free_frames(), before);
}

/* "align a power of two 8..4096 (0: 16)" */
KTEST(mm, check_slab_align_default)
{
	for (unsigned debug = 0; debug < 2; debug++)
		for (size_t size = 1; size <= 4096; size = size * 3 + 1) {
			struct slab_cache *c = make(size, 0, NULL, debug ? SLAB_DEBUG : 0);
			unsigned unaligned = 0, refused = 0;

			KASSERT(c != NULL);
			for (unsigned i = 0; i < 12; i++) {
				KASSERT((objects[i] = slab_alloc(c)) != NULL);
				unaligned += (vaddr_t)objects[i] % 16 != 0;
			}
			for (unsigned i = 0; i < 12; i++)
				refused += slab_free(c, objects[i]) != 0;
			KASSERT_EQ(unaligned, 0);
			KASSERT_EQ(refused, 0);
			KASSERT_EQ(slab_cache_destroy(c), 0);
		}
}

/* ---- constructors ---- */

enum { BUILT = 77 };

static struct {
	size_t size, align;
	unsigned calls, unaligned;
	void *seen[MANY];
	uint64_t id[MANY];              /* what the object was filled with */
} built;

static void build(void *object)
{
	built.unaligned += (vaddr_t)object % built.align != 0;
	built.id[built.calls % MANY] = BUILT;
	built.seen[built.calls++ % MANY] = object;
	fill(object, built.size, BUILT);
}

static unsigned times_built(const void *object)
{
	unsigned n = 0;

	for (unsigned i = 0; i < built.calls && i < MANY; i++)
		n += built.seen[i] == object;
	return n;
}

/* What the object is filled with: NULL if it has never been built. */
static uint64_t *id_of(const void *object)
{
	for (unsigned i = 0; i < built.calls && i < MANY; i++)
		if (built.seen[i] == object)
			return &built.id[i];
	return NULL;
}

/* The header: "ctor, if any, runs once for each object when its slab is made; objects come back to the cache in
 * constructed state", so that nothing of them may be touched from the free on to the next allocation. With SLAB_DEBUG
 * likewise: POISON_FREE and POISON_NEW are for caches "without constructor". */
KTEST(mm, check_slab_ctor_kept)
{
	static const struct { size_t size, align; } kinds[] = {
		{ 8, 8 }, { 16, 16 }, { 41, 8 }, { 1000, 64 }, { 4096, 4096 },
	};

	for (unsigned kind = 0; kind < 2 * COUNT(kinds); kind++) {
		const size_t size = kinds[kind / 2].size;
		const unsigned n = size > 100 ? 9 : 70;
		unsigned wrong = 0, not_once = 0, refused = 0, touched = 0, changed = 0, calls, again = 0;
		struct slab_cache *c;

		memset(&built, 0, sizeof built);
		built.size = size;
		built.align = kinds[kind / 2].align;
		c = make(size, built.align, build, kind % 2 ? SLAB_DEBUG : 0);
		KASSERT(c != NULL);
		for (unsigned i = 0; i < n; i++) {
			KASSERT((objects[i] = slab_alloc(c)) != NULL);
			wrong += !is_filled(objects[i], size, BUILT);
			not_once += times_built(objects[i]) != 1;
		}
		calls = built.calls;
		KASSERT(calls >= n && calls <= MANY && not_once == 0);
		for (unsigned round = 1; round <= 3; round++) {         /* each in a state of its own */
			for (unsigned i = 0; i < n; i++) {
				fill(objects[i], size, 100 * round + i);
				*id_of(objects[i]) = 100 * round + i;
			}
			for (unsigned i = 0; i < n; i++)
				refused += slab_free(c, objects[i * 11 % n]) != 0;
			for (unsigned i = 0; i < n; i++)
				touched += !is_filled(objects[i], size, 100 * round + i);
			for (unsigned i = 0; i < n; i++) {
				const uint64_t *id;

				KASSERT((objects[i] = slab_alloc(c)) != NULL);
				KASSERT((id = id_of(objects[i])) != NULL);
				changed += !is_filled(objects[i], size, *id);
			}
		}
		KASSERT_EQ(built.calls, calls);
		for (unsigned i = 0; i < n; i++)
			refused += slab_free(c, objects[i]) != 0;
		shrink_all(c);                                          /* what comes now is of new slabs */
		built.calls = 0;
		for (unsigned i = 0; i < n; i++) {
			KASSERT((objects[i] = slab_alloc(c)) != NULL);
			again += !is_filled(objects[i], size, BUILT) || times_built(objects[i]) != 1;
		}
		for (unsigned i = 0; i < n; i++)
			refused += slab_free(c, objects[i]) != 0;
		calls = built.calls;
		KASSERT_EQ(stats(c).errors, 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
		KASSERT_EQ(built.calls, calls);
		KASSERT_EQ(built.unaligned, 0);
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(not_once, 0);
		KASSERT_EQ(refused, 0);
		KASSERT_EQ(touched, 0);
		KASSERT_EQ(changed, 0);
		KASSERT_EQ(again, 0);
	}
}

/* ---- counts, and what goes back ---- */

/* The header: slab_stats; "slab_shrink: gives back this processor's magazine and empty slabs, which stay until then;
 * returns frames given back". What statistics of frames say is what the cache says. */
KTEST(mm, check_slab_stats_steps)
{
	enum { N = 90 };

	for (unsigned debug = 0; debug < 2; debug++) {
		struct slab_cache *c = make(200, 0, NULL, debug ? SLAB_DEBUG : 0);
		struct slab_stats at, next;
		unsigned wrong = 0;
		uint64_t base, back;

		KASSERT(c != NULL);
		base = free_frames();
		KASSERT(are(stats(c), 0, 0, 0, 0));
		KASSERT_EQ(slab_shrink(c), 0);
		KASSERT(are(stats(c), 0, 0, 0, 0));
		at = stats(c);
		for (unsigned i = 0; i < N; i++) {
			KASSERT((objects[i] = slab_alloc(c)) != NULL);
			next = stats(c);
			wrong += next.live != i + 1 || next.errors || next.slabs < at.slabs ||
				next.frames < next.slabs ||
				free_frames() != base - next.frames;
			at = next;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT(at.frames * PAGE_SIZE >= N * 200);
		KASSERT_EQ(slab_free(c, NULL), -EINVAL);
		KASSERT(are(stats(c), N, at.slabs, at.frames, 1));
		KASSERT_EQ(slab_free(c, (char *)objects[3] + 8), -EINVAL);
		KASSERT(are(stats(c), N, at.slabs, at.frames, 2));
		KASSERT_EQ(slab_cache_destroy(c), -EBUSY);
		KASSERT(are(stats(c), N, at.slabs, at.frames, 2));
		for (unsigned i = 0; i < N; i++) {
			wrong += slab_free(c, objects[i * 7 % N]) != 0;
			wrong += !are(stats(c), N - 1 - i, at.slabs, at.frames, 2);
		}
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(free_frames(), base - at.frames);
		back = slab_shrink(c);
		KASSERT_EQ(back, at.frames);
		KASSERT_EQ(free_frames(), base);
		KASSERT(are(stats(c), 0, 0, 0, 2));
		KASSERT_EQ(slab_shrink(c), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* The same sentence, where some of the slabs are empty: others' objects are not touched. */
KTEST(mm, check_slab_shrink_partly)
{
	enum { N = 400 };
	static const size_t sizes[] = { 24, 300, 1500, 4096 };
	uint64_t seed = SEED;

	ktest_note("seed", SEED);
	for (unsigned kind = 0; kind < 2 * COUNT(sizes); kind++) {
		const size_t size = sizes[kind / 2];
		const unsigned n = size > 1000 ? 60 : N;
		struct slab_cache *c = make(size, 8, NULL, kind % 2 ? SLAB_DEBUG : 0);
		unsigned wrong = 0;
		uint64_t base;

		KASSERT(c != NULL);
		base = free_frames();
		for (unsigned i = 0; i < n; i++) {
			KASSERT((objects[i] = slab_alloc(c)) != NULL);
			fill(objects[i], size, i);
		}
		for (unsigned keep = 8; keep > 0; keep /= 2) {          /* of 8 that many stay; in the end none */
			struct slab_stats before, after;
			uint64_t frames, back, live = 0;

			for (unsigned i = 0; i < n; i++)
				if (objects[i] && (keep == 1 || random_of(&seed) % 8 >= keep)) {
					wrong += !is_filled(objects[i], size, i) || slab_free(c, objects[i]) != 0;
					objects[i] = NULL;
				}
			before = stats(c);
			frames = free_frames();
			back = slab_shrink(c);
			after = stats(c);
			wrong += free_frames() != frames + back || before.frames != after.frames + back;
			wrong += slab_shrink(c) != 0 || !same(stats(c), after) || free_frames() != base - after.frames;
			for (unsigned i = 0; i < n; i++)
				if (objects[i]) {
					live++;
					wrong += !is_filled(objects[i], size, i) || slab_cache_of(objects[i]) != c;
				}
			wrong += before.live != live || after.live != live || after.errors;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT(are(stats(c), 0, 0, 0, 0));
		KASSERT_EQ(free_frames(), base);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

enum { EACH = 37 };

static struct {
	struct slab_cache *c;
	void *p[CPU_MAX][EACH];
	uint64_t back[CPU_MAX];
	uint32_t bad;
} far;

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static void far_alloc(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	for (unsigned i = 0; i < EACH; i++) {
		far.p[me][i] = slab_alloc(far.c);
		if (far.p[me][i])
			fill(far.p[me][i], 120, me * EACH + i);
		else
			count(&far.bad);
	}
}

/* What the next one has. */
static void far_free(void *arg)
{
	const unsigned whose = (cpu_self()->index + 1) % cpu_count();

	(void)arg;
	for (unsigned i = 0; i < EACH; i++)
		if (!far.p[whose][i] || !is_filled(far.p[whose][i], 120, whose * EACH + i) ||
			slab_free(far.c, far.p[whose][i]))
			count(&far.bad);
}

static void far_shrink(void *arg)
{
	far.back[cpu_self()->index] = slab_shrink(arg);
}

/* "gives back this processor's magazine and empty slabs": one after another, on all of them, everything. What lies in a
 * magazine "is not live". */
KTEST(mm, check_slab_shrink_each)
{
	for (unsigned round = 0; round < 4; round++) {
		struct slab_stats full, at;
		uint64_t base, back = 0;
		unsigned wrong = 0;

		memset(&far, 0, sizeof far);
		KASSERT((far.c = make(120, 0, NULL, round % 2 ? SLAB_DEBUG : 0)) != NULL);
		base = free_frames();
		KASSERT_EQ(cpu_on_each(far_alloc, NULL), 0);
		full = stats(far.c);
		KASSERT_EQ(cpu_on_each(far_free, NULL), 0);
		at = stats(far.c);
		KASSERT_EQ(far.bad, 0);
		KASSERT_EQ(full.live, cpu_count() * EACH);
		KASSERT(are(at, 0, full.slabs, full.frames, 0));
		for (unsigned i = 0; i < cpu_count(); i++) {
			const uint64_t before = free_frames();

			KASSERT_EQ(cpu_call(round < 2 ? i : cpu_count() - 1 - i, far_shrink, far.c), 0);
			wrong += free_frames() != before + far.back[round < 2 ? i : cpu_count() - 1 - i];
			wrong += stats(far.c).live != 0;
		}
		for (unsigned i = 0; i < cpu_count(); i++)
			back += far.back[i];
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(back, full.frames);
		KASSERT(are(stats(far.c), 0, 0, 0, 0));
		KASSERT_EQ(free_frames(), base);
		KASSERT_EQ(slab_cache_destroy(far.c), 0);
	}
}

/* The header: "-EBUSY: objects are live. What lies in any processor's magazine is not live"; invariant 6 for the one
 * that is busy. */
KTEST(mm, check_slab_destroy_magazines)
{
	for (unsigned debug = 0; debug < 2; debug++) {
		struct slab_stats before, after;
		uint64_t base, frames;
		int busy;

		warm_up();
		base = free_frames();
		memset(&far, 0, sizeof far);
		KASSERT((far.c = make(120, 0, NULL, debug ? SLAB_DEBUG : 0)) != NULL);
		KASSERT_EQ(cpu_on_each(far_alloc, NULL), 0);
		frames = free_frames();
		before = stats(far.c);
		busy = slab_cache_destroy(far.c);
		after = stats(far.c);
		KASSERT_EQ(busy, -EBUSY);
		KASSERT(same(before, after));
		KASSERT_EQ(free_frames(), frames);
		KASSERT_EQ(cpu_on_each(far_free, NULL), 0);
		KASSERT_EQ(far.bad, 0);
		KASSERT_EQ(stats(far.c).live, 0);
		KASSERT_EQ(slab_cache_destroy(far.c), 0);
		KASSERT_EQ(free_frames(), base);
	}
}

/* Many at a time; in what order ever they go, all of their frames come back (invariant 1), and nothing of the others is
 * touched. */
KTEST(mm, check_slab_caches)
{
	enum { N = 64 };
	static struct slab_cache *c[N];
	uint64_t seed = SEED, base = 0;
	uint8_t order[N];

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < 4; round++) {
		unsigned wrong = 0;

		for (unsigned i = 0; i < N; i++) {
			order[i] = (uint8_t)(round == 1 ? N - 1 - i : i);
			KASSERT((c[i] = make(1 + i * 11, 8ul << i % 10, NULL, i % 3 ? 0 : SLAB_DEBUG)) != NULL);
			KASSERT((objects[i] = slab_alloc(c[i])) != NULL);
			fill(objects[i], 1 + i * 11, i);
			for (unsigned k = 0; k < i; k++)
				wrong += c[k] == c[i] || objects[k] == objects[i];
		}
		for (unsigned i = N - 1; i && round > 1; i--) {
			const unsigned k = random_of(&seed) % (i + 1);
			const uint8_t moved = order[i];

			order[i] = order[k];
			order[k] = moved;
		}
		for (unsigned n = 0; n < N; n++) {
			const unsigned i = order[n];

			wrong += slab_cache_of(objects[i]) != c[i] ||
				!are(stats(c[i]), 1, stats(c[i]).slabs, stats(c[i]).frames, 0);
			wrong += !is_filled(objects[i], 1 + i * 11, i) || slab_free(c[i], objects[i]) != 0;
			wrong += slab_cache_destroy(c[i]) != 0 || slab_cache_of(objects[i]) != NULL;
		}
		KASSERT_EQ(wrong, 0);
		if (round)
			KASSERT_EQ(free_frames(), base);
		base = free_frames();
	}
}

/* ---- what is none of a cache's ---- */

/* Where no slab can be: user space, no addresses at all, firmware's memory, beyond RAM, other areas of the kernel's. */
static const uint64_t strange[] = {
	1, 8, 16, 0xfff, 0x1000, USER_MIN, USER_MIN + 1, 0x100000, 0x123456789000, 0x123456789ab8, USER_END - 16,
	USER_END, 0x7fffffffffff, 0x800000000000, 1ul << 63, 0xffff7ffffffff000, 0xffff7fffffffffff,
	DIRECT_MAP_BASE, DIRECT_MAP_BASE + 16, DIRECT_MAP_BASE + 0xa0000, DIRECT_MAP_BASE + 0xfffff, DIRECT_MAP_BASE
	+ (1ul << 45), KSTACK_BASE - 4096, KSTACK_BASE - 1, KSTACK_BASE, DEVICE_MAP_BASE, DEVICE_MAP_BASE + 8,
	KERNEL_BASE - 1, KERNEL_BASE, 0xfffffffffffff000, UINT64_MAX - 15, UINT64_MAX - 7, UINT64_MAX,
};

struct probe {
	struct slab_cache *c, *of;
	void *p;
	int freed, kfreed;
	size_t size;
};

static void probe(void *arg)
{
	struct probe *b = arg;

	b->of = slab_cache_of(b->p);
	b->freed = slab_free(b->c, b->p);
	b->kfreed = kfree(b->p);
	b->size = kmalloc_size(b->p);
}

/* Whether p, not NULL, lies in no slab, and is no object of c and not from kmalloc: an error of c's more. */
static bool is_nothing(struct slab_cache *c, const void *p)
{
	struct probe b = { .c = c, .of = c, .p = (void *)(uintptr_t)p, .size = 1 };

	return trap_catch(probe, &b, NULL) == 0 && !b.of && b.freed == -EINVAL && b.kfreed == -EINVAL && b.size == 0;
}

/* The header: "slab_cache_of: whose slab p lies in; NULL: none". */
KTEST(mm, check_slab_cache_of)
{
	static uint64_t in_bss[4];
	static const uint64_t in_rodata[4] = { 1 };
	uint64_t on_stack[4] = { 0 };
	struct slab_cache *c[4];
	char *p[4];
	unsigned wrong = 0;
	paddr_t frame;

	for (unsigned i = 0; i < 4; i++) {
		KASSERT((c[i] = make(i < 2 ? 96 : 3000, 0, NULL, i % 2 ? SLAB_DEBUG : 0)) != NULL);
		KASSERT((p[i] = slab_alloc(c[i])) != NULL);
	}
	for (unsigned i = 0; i < 4; i++)
		for (size_t at = 0; at < (i < 2 ? 96 : 3000); at++)
			wrong += slab_cache_of(p[i] + at) != c[i];
	for (unsigned i = 0; i < COUNT(strange); i++)
		if (!is_nothing(c[0], (void *)strange[i])) {
			ktest_note("address", strange[i]);
			wrong++;
		}
	wrong += !is_nothing(c[0], in_bss) + !is_nothing(c[0], in_rodata) + !is_nothing(c[0], on_stack);
	wrong += !is_nothing(c[0], (const void *)ktest_mm__check_slab_cache_of);
	wrong += !is_nothing(c[0], (void *)direct_to_phys(p[0]));
	wrong += slab_cache_of(NULL) != NULL;
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	for (size_t at = 0; at < PAGE_SIZE; at += 8)
		wrong += slab_cache_of((char *)phys_to_virt(frame) + at) != NULL;
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < 4; i++) {
		KASSERT_EQ(slab_free(c[i], p[i]), 0);
		KASSERT(slab_cache_of(p[i]) == c[i]);           /* its slab stays */
		shrink_all(c[i]);
		KASSERT(slab_cache_of(p[i]) == NULL);           /* and goes */
		KASSERT_EQ(slab_cache_destroy(c[i]), 0);
	}
}

/* "What bad input gets": "freeing what was never allocated: -EINVAL, nothing changed (objects without SLAB_DEBUG: only
 * pointers that cannot be objects are caught)"; "A free that is refused counts in errors, in a cache without SLAB_DEBUG
 * too". Every byte of an object but the first, and what is between two of them. */
KTEST(mm, check_slab_free_inside)
{
	static const struct { size_t size, align; } kinds[] = {
		{ 1, 8 }, { 16, 16 }, { 24, 8 }, { 24, 256 }, { 100, 64 }, { 1000, 512 }, { 4000, 32 }, { 4096, 4096 },
	};

	for (unsigned kind = 0; kind < 2 * COUNT(kinds); kind++) {
		const size_t size = kinds[kind / 2].size, align = kinds[kind / 2].align;
		const size_t end = (size + align - 1) & ~(align - 1);
		struct slab_cache *c = make(size, align, NULL, kind % 2 ? SLAB_DEBUG : 0);
		unsigned wrong = 0, refused = 0;
		struct slab_stats before;
		uint64_t errors = 0, frames;

		KASSERT(c != NULL);
		for (unsigned i = 0; i < 5; i++) {
			KASSERT((objects[i] = slab_alloc(c)) != NULL);
			fill(objects[i], size, i + 1);
		}
		before = stats(c);
		frames = free_frames();
		for (unsigned i = 0; i < 5; i += 2)
			for (size_t at = 1; at < end; at += end > 500 ? 13 : 1, errors++)
				wrong += slab_free(c, (char *)objects[i] + at) != -EINVAL;
		if (kind % 2)                                           /* the red zones are nobody's */
			for (size_t at = 0; at < RED_ZONE; at++, errors += 2) {
				wrong += slab_free(c, (char *)objects[1] - 1 - at) != -EINVAL;
				wrong += slab_free(c, (char *)objects[1] + size + at) != -EINVAL;
			}
		if (before.frames == before.slabs) {                    /* "Slab header at the start of a frame" */
			errors++;
			wrong += slab_free(c, (void *)((vaddr_t)objects[0] & -PAGE_SIZE)) != -EINVAL;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(stats(c).errors, errors);
		KASSERT(erred(stats(c), before, errors));
		KASSERT_EQ(free_frames(), frames);
		for (unsigned i = 0; i < 5; i++) {
			wrong += !is_filled(objects[i], size, i + 1);
			refused += slab_free(c, objects[i]) != 0;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(refused, 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* The same sentences: another cache's, kmalloc's, frames, what is no memory. One error each with the cache that was
 * named, none with the other one. */
KTEST(mm, check_slab_free_foreign)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		const unsigned mine = kind % 2 ? SLAB_DEBUG : 0, others = kind / 2 ? SLAB_DEBUG : 0;
		struct slab_cache *c = make(64, 0, NULL, mine), *other = make(64, 0, NULL, others), *kmallocs;
		struct slab_stats at, at_other, at_kmalloc;
		void *p, *foreign, *small, *large;
		uint64_t frames, errors = 0;
		unsigned wrong = 0;
		paddr_t run;

		KASSERT(c != NULL && other != NULL);
		KASSERT((p = slab_alloc(c)) != NULL);
		KASSERT((foreign = slab_alloc(other)) != NULL);
		KASSERT((small = kmalloc(64)) != NULL);
		KASSERT((large = kmalloc(5 * PAGE_SIZE)) != NULL);
		KASSERT_EQ(frame_alloc_contig(3, 1, 0, 0, &run), 0);
		KASSERT((kmallocs = slab_cache_of(small)) != NULL);
		fill(p, 64, 1);
		fill(foreign, 64, 2);
		fill(small, 64, 3);
		fill(large, 5 * PAGE_SIZE, 4);
		at = stats(c);
		at_other = stats(other);
		at_kmalloc = stats(kmallocs);
		frames = free_frames();
		for (unsigned round = 0; round < 3; round++) {
			void *const bad[] = {
				foreign, (char *)foreign + 8, small, (char *)small + 16, large,
				(char *)large + PAGE_SIZE,
				phys_to_virt(run), phys_to_virt(run + PAGE_SIZE + 64),
				phys_to_virt(run + 2 * PAGE_SIZE), c, other,
			};

			for (unsigned i = 0; i < COUNT(bad); i++) {
				wrong += slab_free(c, bad[i]) != -EINVAL;
				wrong += !erred(stats(c), at, ++errors);
			}
			for (unsigned i = 0; i < COUNT(strange); i++) {
				wrong += !is_nothing(c, (void *)strange[i]);
				wrong += !erred(stats(c), at, ++errors);
			}
		}
		KASSERT_EQ(wrong, 0);
		KASSERT(same(stats(other), at_other));
		KASSERT(same(stats(kmallocs), at_kmalloc));
		KASSERT_EQ(free_frames(), frames);
		KASSERT(is_filled(p, 64, 1));
		KASSERT(is_filled(foreign, 64, 2));
		KASSERT(is_filled(small, 64, 3));
		KASSERT(is_filled(large, 5 * PAGE_SIZE, 4));
		KASSERT_EQ(frame_free_contig(run, 3), 0);
		KASSERT_EQ(kfree(large), 0);
		KASSERT_EQ(kfree(small), 0);
		KASSERT_EQ(slab_free(other, foreign), 0);
		KASSERT_EQ(slab_free(c, p), 0);
		KASSERT_EQ(slab_cache_destroy(other), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* "-EINVAL: not an object of c": one that was an object of another cache, whose slab is gone; be its frame free, or
 * another owner's, who may keep the very same word with it ("One word an owner may keep with an allocated frame"). */
KTEST(mm, check_slab_stale)
{
	enum { TRIES = 64 };
	static paddr_t frames[TRIES];

	for (unsigned kind = 0; kind < 4; kind++) {
		struct slab_cache *gone = make(200, 0, NULL, kind % 2 ? SLAB_DEBUG : 0);
		struct slab_cache *c = make(200, 0, NULL, kind / 2 ? SLAB_DEBUG : 0);
		unsigned wrong = 0, taken = 0, refused = 0;
		uint64_t tag, free_before;
		struct slab_stats at;
		char *p, *mine;

		KASSERT(gone != NULL && c != NULL);
		KASSERT((mine = slab_alloc(c)) != NULL);
		KASSERT((p = slab_alloc(gone)) != NULL);
		fill(mine, 200, 9);
		tag = frame_tag(direct_to_phys(p));
		KASSERT_EQ(slab_free(gone, p), 0);
		KASSERT_EQ(slab_cache_destroy(gone), 0);
		at = stats(c);
		free_before = free_frames();
		KASSERT(is_nothing(c, p));
		KASSERT(is_nothing(c, (void *)((vaddr_t)p & -PAGE_SIZE)));
		KASSERT(erred(stats(c), at, 2));
		KASSERT_EQ(free_frames(), free_before);
		while (taken < TRIES && frame_alloc(0, &frames[taken]) == 0)
			taken++;
		for (unsigned i = 0; i < taken; i++) {
			char *page = phys_to_virt(frames[i]);

			wrong += !is_nothing(c, page) + !is_nothing(c, page + (vaddr_t)p % PAGE_SIZE);
			frame_set_tag(frames[i], (vaddr_t)page == ((vaddr_t)p & -PAGE_SIZE) ? tag : (vaddr_t)page);
			wrong += !is_nothing(c, page) + !is_nothing(c, page + (vaddr_t)p % PAGE_SIZE);
			refused += frame_free(frames[i]) != 0;
		}
		KASSERT_EQ(taken, TRIES);
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(refused, 0);
		KASSERT(erred(stats(c), at, 2 + 4 * TRIES));
		KASSERT_EQ(free_frames(), free_before);
		KASSERT(is_filled(mine, 200, 9));
		KASSERT_EQ(slab_free(c, mine), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* The header: frames' tags are "one word an owner may keep with an allocated frame", any word; slab_cache_of is about
 * slabs, kfree and kmalloc_size about what is from kmalloc. Even if the frame reads like a slab. */
KTEST(mm, check_slab_tags)
{
	enum { N = 3, RANDOM = 40 };
	struct slab_cache *c = make(64, 0, NULL, 0), *big = make(4096, 0, NULL, 0);
	unsigned wrong = 0, changed = 0;
	uint64_t seed = SEED, slab, slab_of_big, run_word, probes = 0, errors;
	char *p, *q, *run, *page;
	paddr_t pa;

	ktest_note("seed", SEED);
	KASSERT(c != NULL && big != NULL);
	KASSERT((p = slab_alloc(c)) != NULL);
	KASSERT((q = slab_alloc(big)) != NULL);
	KASSERT((run = kmalloc(3 * PAGE_SIZE)) != NULL);
	KASSERT_EQ(frame_alloc_contig(N, 1, 0, 0, &pa), 0);
	page = phys_to_virt(pa);
	fill(p, 64, 5);
	slab = frame_tag(direct_to_phys(p));
	slab_of_big = frame_tag(direct_to_phys(q));
	run_word = frame_tag(direct_to_phys(run));
	errors = stats(c).errors;
	for (unsigned image = 0; image < 3; image++) {
		const uint64_t words[] = {
			0, 1, 2, 3, 16, PAGE_SIZE, UINT64_MAX, 1ul << 63, (vaddr_t)page, (vaddr_t)page + 8,
			(vaddr_t)page + 1,
			(vaddr_t)page - PAGE_SIZE, (vaddr_t)page + PAGE_SIZE, (vaddr_t)page + 2 * PAGE_SIZE, pa,
			pa | 1, pa | 3, slab,
			slab + 1, slab + 8, slab_of_big, slab_of_big + PAGE_SIZE, run_word, run_word + 1,
			run_word ^ 1ul << 63,
			(vaddr_t)run, (vaddr_t)p, (vaddr_t)c, (vaddr_t)&wrong, (vaddr_t)strange, KERNEL_BASE,
			DIRECT_MAP_BASE,
			DIRECT_MAP_BASE + 0xa0000, DIRECT_MAP_BASE + 0xfee00000, DIRECT_MAP_BASE + (1ul << 45),
			KSTACK_BASE,
			KSTACK_BASE - PAGE_SIZE, DEVICE_MAP_BASE, USER_MIN, USER_END, 0x800000000000, 0x7ffffffff000,
			-PAGE_SIZE,
		};

		for (unsigned i = 0; i < COUNT(words) + RANDOM && !wrong; i++) {
			uint64_t word = i < COUNT(words) ? words[i] : random_of(&seed);

			if (i >= COUNT(words) && i % 2)                 /* an address of RAM's, like as not */
				word = DIRECT_MAP_BASE + word % (64ul << 20) / PAGE_SIZE * PAGE_SIZE;
			for (unsigned k = 0; k < N; k++) {
				if (image)                              /* what a slab looks like,
					and a run of kmalloc's */
					memcpy(page + k * PAGE_SIZE, (void *)((image == 1 ? slab : slab_of_big)),
						PAGE_SIZE);
				else
					memset(page + k * PAGE_SIZE, 0, PAGE_SIZE);
				frame_set_tag(pa + k * PAGE_SIZE, word);
			}
			for (unsigned k = 0; k < N; k++, probes += 3) {
				char *at = page + k * PAGE_SIZE;

				if (!is_nothing(c, at) || !is_nothing(c, at + (vaddr_t)p % PAGE_SIZE) ||
					!is_nothing(c, at + 2048)) {
					ktest_note("tag", word);
					wrong++;
				}
				changed += frame_tag(pa + k * PAGE_SIZE) != word;
			}
		}
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(changed, 0);
	KASSERT_EQ(frame_free_contig(pa, N), 0);
	KASSERT(is_filled(p, 64, 5));
	KASSERT_EQ(stats(c).errors, errors + probes);
	KASSERT_EQ(stats(c).live, 1);
	KASSERT_EQ(kmalloc_size(run), 3 * PAGE_SIZE);
	KASSERT_EQ(kfree(run), 0);
	KASSERT_EQ(slab_free(c, p), 0);
	KASSERT_EQ(slab_free(big, q), 0);
	KASSERT_EQ(slab_cache_destroy(c), 0);
	KASSERT_EQ(slab_cache_destroy(big), 0);
}

/* ---- SLAB_DEBUG ---- */

/* Takes objects until p comes out again: true. It is then objects[*n - 1]. */
static bool take_until(struct slab_cache *c, const void *p, unsigned *n)
{
	for (*n = 0; *n < MANY && (objects[*n] = slab_alloc(c)) != NULL;)
		if (objects[(*n)++] == p)
			return true;
	return false;
}

static unsigned give_back(struct slab_cache *c, unsigned n)
{
	unsigned refused = 0;

	while (n)
		refused += slab_free(c, objects[--n]) != 0;
	return refused;
}

static void count_leak(void *object, void *caller, void *arg)
{
	(void)object;
	(void)caller;
	++*(unsigned *)arg;
}

/* "SLAB_DEBUG puts 16 bytes red zone (0xBB) directly before the object and directly after its size as asked"; the
 * header: "with SLAB_DEBUG also ... a torn red zone"; nothing is changed, so that it is live still and, mended, can be
 * freed. */
KTEST(mm, check_slab_debug_zones)
{
	static const struct { size_t size, align; } kinds[] = {
		{ 1, 8 }, { 7, 8 }, { 16, 16 }, { 17, 8 }, { 24, 64 }, { 100, 0 }, { 1000, 4096 }, { 4095, 8 },
		{ 4096, 0 },
	};
	uint64_t seed = SEED;

	ktest_note("seed", SEED);
	for (unsigned kind = 0; kind < COUNT(kinds); kind++) {
		const size_t size = kinds[kind].size;
		struct slab_cache *c = make(size, kinds[kind].align, NULL, SLAB_DEBUG);
		unsigned wrong = 0;

		KASSERT(c != NULL);
		for (unsigned k = 0; k < 2 * RED_ZONE; k++) {
			const long where = k < RED_ZONE ? -1 - (long)k : (long)(size + k - RED_ZONE);
			uint8_t *p = slab_alloc(c);
			unsigned leaks = 0;

			KASSERT(p != NULL);
			fill(p, size, k);
			wrong += p[where] != RED_BYTE;
			p[where] ^= (uint8_t)(1 + random_of(&seed) % 255);
			wrong += slab_free(c, p) != -EINVAL || !is_filled(p, size, k);
			wrong += stats(c).errors != k + 1 || stats(c).live != 1;
			wrong += slab_report_leaks(c, count_leak, &leaks) != 1 || leaks != 1;
			p[where] = RED_BYTE;
			wrong += slab_free(c, p) != 0 || stats(c).live != 0 || !all_bytes(p, POISON_FREE, size);
			if (wrong) {
				ktest_note("size", size);
				ktest_note("at", (uint64_t)where);
			}
			KASSERT_EQ(wrong, 0);
		}
		KASSERT_EQ(stats(c).errors, 2 * RED_ZONE);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* The zones are there with a constructor, too, which writes the whole object. */
KTEST(mm, check_slab_debug_zones_ctor)
{
	static const size_t sizes[] = { 8, 40, 1000, 4096 };

	for (unsigned i = 0; i < COUNT(sizes); i++) {
		const size_t size = sizes[i];
		struct slab_cache *c;
		unsigned wrong = 0;

		memset(&built, 0, sizeof built);
		built.size = size;
		built.align = 16;
		KASSERT((c = make(size, 0, build, SLAB_DEBUG)) != NULL);
		for (unsigned k = 0; k < 20; k++) {
			const long where = k % 2 ? -1 - (long)k / 2 : (long)size + k / 2;
			uint8_t *p = objects[k] = slab_alloc(c);

			KASSERT(p != NULL);
			wrong += !is_filled(p, size, BUILT) || !all_bytes(p - RED_ZONE, RED_BYTE, RED_ZONE) ||
				!all_bytes(p + size, RED_BYTE, RED_ZONE);
			p[where] = 0;
			wrong += slab_free(c, p) != -EINVAL || !is_filled(p, size, BUILT);
			p[where] = RED_BYTE;
		}
		for (unsigned k = 0; k < 20; k++)
			wrong += slab_free(c, objects[k]) != 0 || slab_free(c, objects[k]) != -EINVAL ||
				!is_filled(objects[k], size, BUILT);
		KASSERT_EQ(wrong, 0);
		KASSERT(stats(c).errors == 40 && stats(c).live == 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* "freeing an object twice: -EINVAL, nothing changed". Once it has gone out again, a free is just that; of its new
 * owner's. */
KTEST(mm, check_slab_debug_again)
{
	static const size_t sizes[] = { 1, 48, 500, 4096 };

	for (unsigned i = 0; i < COUNT(sizes); i++) {
		struct slab_cache *c = make(sizes[i], 0, NULL, SLAB_DEBUG);
		unsigned wrong = 0, n;
		uint8_t *p;

		KASSERT(c != NULL);
		KASSERT((p = slab_alloc(c)) != NULL);
		for (unsigned round = 1; round <= 4; round++) {
			KASSERT_EQ(slab_free(c, p), 0);
			KASSERT_EQ(slab_free(c, p), -EINVAL);
			KASSERT_EQ(stats(c).errors, 2 * round - 1);
			KASSERT(all_bytes(p, POISON_FREE, sizes[i]));
			KASSERT(take_until(c, p, &n));
			KASSERT(all_bytes(p, POISON_NEW, sizes[i]));
			KASSERT_EQ(stats(c).live, n);
			KASSERT_EQ(slab_free(c, p), 0);
			KASSERT_EQ(stats(c).live, n - 1);
			KASSERT_EQ(slab_free(c, p), -EINVAL);
			wrong += give_back(c, n - 1);
			KASSERT_EQ(wrong, 0);
			KASSERT(stats(c).live == 0 && stats(c).errors == 2 * round);
			KASSERT((p = slab_alloc(c)) != NULL);
		}
		KASSERT_EQ(slab_free(c, p), 0);
		shrink_all(c);
		KASSERT_EQ(slab_free(c, p), -EINVAL);                   /* nor when the slab has gone */
		KASSERT(are(stats(c), 0, 0, 0, 9));
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* "mm.slab_poison: a write after free is counted at next allocation", whichever byte it was, and once. */
KTEST(mm, check_slab_debug_written)
{
	static const size_t sizes[] = { 1, 8, 17, 100, 2049, 4096 };

	for (unsigned i = 0; i < COUNT(sizes); i++) {
		const size_t size = sizes[i], where[] = { 0, size / 3, size / 2, size - 1 };
		struct slab_cache *c = make(size, 0, NULL, SLAB_DEBUG);
		unsigned wrong = 0, n;
		uint64_t errors = 0;
		uint8_t *p, *q;

		KASSERT(c != NULL);
		for (unsigned k = 0; k < COUNT(where); k++) {
			KASSERT((p = slab_alloc(c)) != NULL);
			KASSERT((q = slab_alloc(c)) != NULL);
			KASSERT_EQ(slab_free(c, p), 0);
			KASSERT_EQ(slab_free(c, q), 0);
			p[where[k]] ^= (uint8_t)(1 << k);
			if (k % 2)
				q[where[k]] = POISON_NEW;               /* two of them */
			KASSERT_EQ(stats(c).errors, errors);
			KASSERT(take_until(c, p, &n));
			wrong += give_back(c, n);
			KASSERT(take_until(c, q, &n));
			wrong += give_back(c, n);
			errors += 1 + k % 2;
			KASSERT_EQ(wrong, 0);
			KASSERT_EQ(stats(c).errors, errors);
			KASSERT(take_until(c, p, &n));                  /* that was it */
			KASSERT(all_bytes(p, POISON_NEW, size));
			wrong += give_back(c, n);
			KASSERT_EQ(wrong, 0);
			KASSERT_EQ(stats(c).errors, errors);
			KASSERT_EQ(stats(c).live, 0);
		}
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

enum { LEAKS = 64 };

static struct seen {
	unsigned n;
	void *object[LEAKS], *caller[LEAKS];
} seen;

static void see(void *object, void *caller, void *arg)
{
	struct seen *s = arg;

	if (s->n < LEAKS) {
		s->object[s->n] = object;
		s->caller[s->n] = caller;
	}
	s->n++;
}

static __attribute__((noipa)) void *taken_here(struct slab_cache *c)
{
	void *p = slab_alloc(c);

	__asm__ volatile("" : : : "memory");
	return p;
}

static __attribute__((noipa)) void *taken_there(struct slab_cache *c)
{
	void *p;

	__asm__ volatile("nop" : : : "memory");
	p = slab_alloc(c);
	__asm__ volatile("nop" : : : "memory");
	return p;
}

/* Whether the object was reported once, with a return address in that function. */
static bool is_reported(const void *object, uint64_t function)
{
	const char *name = symbol_lookup(function, NULL);
	unsigned n = 0, right = 0;

	for (unsigned i = 0; i < seen.n && i < LEAKS; i++)
		if (seen.object[i] == object) {
			const char *where = symbol_lookup((uint64_t)seen.caller[i], NULL);

			n++;
			right += name && where && strcmp(name, where) == 0;
		}
	return n == 1 && right == 1;
}

/* The header: slab_report_leaks "calls fn for each live object of a SLAB_DEBUG cache with the return address of its
 * allocation; returns how many". That of the last one, for what has been freed in between; of what is free not at all.
 * */
KTEST(mm, check_slab_debug_callers)
{
	enum { N = 45 };

	for (unsigned ctor = 0; ctor < 2; ctor++) {
		struct slab_cache *c;
		struct slab_stats before;
		unsigned wrong = 0;

		memset(&built, 0, sizeof built);
		built.size = 300;
		built.align = 16;
		KASSERT((c = make(300, 0, ctor ? build : NULL, SLAB_DEBUG)) != NULL);
		memset(&seen, 0, sizeof seen);
		KASSERT_EQ(slab_report_leaks(c, see, &seen), 0);
		KASSERT_EQ(seen.n, 0);
		for (unsigned i = 0; i < N; i++) {
			objects[i] = i % 3 == 0 ? taken_here(c) : i % 3 == 1 ? taken_there(c) : slab_alloc(c);
			KASSERT(objects[i] != NULL);
		}
		for (unsigned round = 0; round < 2; round++) {
			const unsigned shift = round;                   /* the second time others have taken them */

			before = stats(c);
			memset(&seen, 0, sizeof seen);
			KASSERT_EQ(slab_report_leaks(c, see, &seen), N);
			KASSERT_EQ(seen.n, N);
			KASSERT(same(stats(c), before));
			for (unsigned i = 0; i < N; i++) {
				const unsigned who = (i + shift) % 3;

				wrong += !is_reported(objects[i], who == 0 ? (uint64_t)taken_here : who == 1 ?
					(uint64_t)taken_there : (uint64_t)ktest_mm__check_slab_debug_callers);
			}
			KASSERT_EQ(wrong, 0);
			if (round)
				break;
			for (unsigned i = 0; i < N; i++)
				wrong += slab_free(c, objects[i]) != 0;
			memset(&seen, 0, sizeof seen);
			wrong += slab_report_leaks(c, see, &seen) != 0 || seen.n != 0;
			for (unsigned i = 0; i < N; i++)
				objects[i] = i % 3 == 2 ? taken_here(c) : i % 3 == 0 ? taken_there(c) : slab_alloc(c);
			KASSERT_EQ(wrong, 0);
		}
		for (unsigned i = 0; i < N; i += 2)                     /* some freed, one refused */
			wrong += slab_free(c, objects[i]) != 0;
		wrong += slab_free(c, (char *)objects[1] + 8) != -EINVAL;
		memset(&seen, 0, sizeof seen);
		wrong += slab_report_leaks(c, see, &seen) != N / 2 || seen.n != N / 2;
		for (unsigned i = 1; i < N; i += 2) {
			const unsigned who = (i + 1) % 3;

			wrong += !is_reported(objects[i],
				who == 0 ? (uint64_t)taken_here : who == 1 ? (uint64_t)taken_there :
				(uint64_t)ktest_mm__check_slab_debug_callers);
			wrong += slab_free(c, objects[i]) != 0;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* ---- SLAB_DEBUG against a model ---- */

enum { SLOTS = 48, SIZE = 56 };

static struct slot {
	uint8_t *p;                     /* live or free; NULL: unknown */
	bool live;
	uint64_t id;
} slots[SLOTS];

static uint8_t *written[SLOTS];         /* after they were freed */

/* Where p is in that list, NULL where there is room. */
static uint8_t **find_written(const uint8_t *p)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (written[i] == p)
			return &written[i];
	return NULL;
}

/* Whose numbers a report brings; arg counts them, those that are not live as 1000. */
static void see_live(void *object, void *caller, void *arg)
{
	unsigned n = 1000;

	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].p == object && slots[i].live && caller)
			n = 1;
	*(unsigned *)arg += n;
}

/* All that the header and "Hardware facts" say of SLAB_DEBUG, in any order: each misuse is found, counts once and
 * changes nothing. */
KTEST(mm, check_slab_debug_model)
{
	struct slab_cache *c = make(SIZE, 8, NULL, SLAB_DEBUG);
	uint64_t seed = SEED, errors = 0, live = 0, base;
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	KASSERT(c != NULL);
	base = free_frames();
	memset(slots, 0, sizeof slots);
	memset(written, 0, sizeof written);
	for (unsigned step = 0; step < 5000 && !wrong; step++) {
		const uint64_t r = random_of(&seed);
		struct slot *s = &slots[(r >> 8) % SLOTS];
		unsigned n = 0;

		switch (r % 16) {
		default:
			if (s->live) {
				wrong += !is_filled(s->p, SIZE, s->id) || slab_free(c, s->p) != 0;
				wrong += !all_bytes(s->p, POISON_FREE, SIZE);
				s->live = false;
				live--;
				break;
			}
			s->p = slab_alloc(c);
			if (!s->p) {
				wrong++;
				break;
			}
			for (unsigned i = 0; i < SLOTS; i++)            /* who had it before has no say any more */
				if (&slots[i] != s && slots[i].p == s->p) {
					wrong += slots[i].live;
					slots[i] = (struct slot){ 0 };
				}
			if (find_written(s->p)) {
				*find_written(s->p) = NULL;
				errors++;
			}
			wrong += !all_bytes(s->p, POISON_NEW, SIZE);
			s->live = true;
			s->id = r;
			fill(s->p, SIZE, r);
			live++;
			break;
		case 8 ... 9:                                           /* twice */
			if (s->live || !s->p)
				break;
			wrong += slab_free(c, s->p) != -EINVAL;
			errors++;
			break;
		case 10 ... 11:                                         /* a torn zone */
			if (s->live) {
				const unsigned k = r >> 16 & 31;
				const long where = k < RED_ZONE ? -1 - (long)k : (long)(SIZE + k - RED_ZONE);

				s->p[where] ^= (uint8_t)(1u << (r >> 24 & 7));
				wrong += slab_free(c, s->p) != -EINVAL;
				errors++;
				s->p[where] = RED_BYTE;
			}
			break;
		case 12:                                                /* a write after the free */
			if (!s->live && s->p && !find_written(s->p) && find_written(NULL)) {
				s->p[(r >> 16) % SIZE] ^= (uint8_t)(1u << (r >> 24 & 7));
				*find_written(NULL) = s->p;
			}
			break;
		case 13:                                                /* inside */
			if (s->p) {
				wrong += slab_free(c, s->p + 1 + (r >> 16) % (SIZE - 1)) != -EINVAL;
				errors++;
			}
			break;
		case 14:
			if (r >> 40 & 3)
				break;
			slab_shrink(c);
			for (unsigned i = 0; i < SLOTS; i++)
				if (slots[i].p && slab_cache_of(slots[i].p) != c) {
					wrong += slots[i].live;
					slots[i] = (struct slot){ 0 };
				}
			for (unsigned i = 0; i < SLOTS; i++)
				if (written[i] && slab_cache_of(written[i]) != c)
					written[i] = NULL;
			break;
		case 15:
			wrong += slab_report_leaks(c, see_live, &n) != live || n != live;
			break;
		}
		wrong += stats(c).errors != errors || stats(c).live != live;
		if (wrong)
			ktest_note("step", step);
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(errors > 500);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].live)
			wrong += !is_filled(slots[i].p, SIZE, slots[i].id) || slab_free(c, slots[i].p) != 0;
	slab_shrink(c);
	KASSERT_EQ(wrong, 0);
	KASSERT(are(stats(c), 0, 0, 0, errors));
	KASSERT_EQ(free_frames(), base);
	KASSERT_EQ(slab_cache_destroy(c), 0);
}

/* ---- any caches against a model ---- */

enum { KINDS = 6, EACH_KIND = 40 };

static struct kind {
	struct slab_cache *c;
	size_t size, align;
	struct {
		void *p;
		uint64_t id;
	} slots[EACH_KIND];
	uint64_t live;
} model[KINDS];

static bool kind_make(struct kind *k, uint64_t *seed)
{
	const uint64_t r = random_of(seed);

	memset(k, 0, sizeof *k);
	k->size = 1 + (r & 1 ? r >> 8 & 63 : r & 2 ? (r >> 8) % 600 : (r >> 8) % SLAB_MAX_SIZE);
	k->align = 8ul << (r >> 32) % (r & 4 ? 3 : 10);
	k->c = make(k->size, k->align, NULL, r & 24 ? 0 : SLAB_DEBUG);
	return k->c != NULL;
}

/* 0 unless something is wrong. */
static unsigned kind_clear(struct kind *k)
{
	unsigned wrong = 0;

	wrong += slab_cache_destroy(k->c) != (k->live ? -EBUSY : 0);
	if (!k->live)
		return wrong;
	for (unsigned i = 0; i < EACH_KIND; i++)
		if (k->slots[i].p)
			wrong += !is_filled(k->slots[i].p, k->size, k->slots[i].id) ||
				slab_free(k->c, k->slots[i].p) != 0;
	wrong += stats(k->c).live != 0 || stats(k->c).errors != 0;
	return wrong + (slab_cache_destroy(k->c) != 0);
}

/* Caches come and go, objects of all sizes and alignments with them: nobody writes what is another's, counts are right,
 * nothing is lost (invariant 1). */
KTEST(mm, check_slab_model)
{
	uint64_t seed = SEED, base;
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	warm_up();
	base = free_frames();
	for (unsigned i = 0; i < KINDS; i++)
		KASSERT(kind_make(&model[i], &seed));
	for (unsigned step = 0; step < 6000 && !wrong; step++) {
		const uint64_t r = random_of(&seed);
		struct kind *k = &model[r % KINDS];
		const unsigned i = (r >> 8) % EACH_KIND;

		if (r >> 16 & 255) {
			if (k->slots[i].p) {
				wrong += !is_filled(k->slots[i].p, k->size, k->slots[i].id) ||
					slab_free(k->c, k->slots[i].p) != 0;
				k->slots[i].p = NULL;
				k->live--;
			} else {
				k->slots[i].p = slab_alloc(k->c);
				wrong += !k->slots[i].p || (vaddr_t)k->slots[i].p % k->align ||
					slab_cache_of(k->slots[i].p) != k->c;
				if (wrong)
					break;
				k->slots[i].id = r;
				fill(k->slots[i].p, k->size, r);
				k->live++;
			}
		} else if (r >> 24 & 1) {
			const uint64_t before = free_frames(), back = slab_shrink(k->c);

			wrong += free_frames() != before + back;
		} else {
			wrong += kind_clear(k);
			wrong += !kind_make(k, &seed);
		}
		wrong += stats(k->c).live != k->live || stats(k->c).errors;
		if (wrong)
			ktest_note("step", step);
	}
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < KINDS; i++)
		wrong += kind_clear(&model[i]);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(free_frames(), base);
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

/* Invariant 6, with 0, 1, 2 ... frames left: a failing slab_alloc leaves counts and frames as they were, and one that
 * does not fail takes what it says. */
KTEST(mm, check_slab_oom_steps)
{
	enum { FRAMES = 16 };
	static const struct { size_t size, align; unsigned flags; } kinds[] = {
		{ 16, 0, 0 }, { 700, 8, 0 }, { 1500, 0, SLAB_DEBUG }, { 4096, 0, 0 }, { 4096, 4096, SLAB_DEBUG },
	};

	for (unsigned kind = 0; kind < COUNT(kinds); kind++) {
		struct slab_cache *c = make(kinds[kind].size, kinds[kind].align, NULL, kinds[kind].flags);
		unsigned wrong = 0, failed = 0, left = 0, refused = 0;
		struct slab_stats s = { 0 };
		void *p = NULL;
		paddr_t run, all;

		KASSERT(c != NULL);
		KASSERT_EQ(frame_alloc_contig(FRAMES, FRAMES, 0, 0, &run), 0);
		all = hog();
		for (; left <= FRAMES; left++) {
			wrong += free_frames() != left;
			p = slab_alloc(c);
			s = stats(c);
			if (p)
				break;
			failed++;
			wrong += !are(s, 0, 0, 0, 0) || free_frames() != left || slab_shrink(c) != 0;
			if (left < FRAMES)
				refused += frame_free(run + left * PAGE_SIZE) != 0;
		}
		if (p) {
			wrong += free_frames() != left - s.frames || s.live != 1 || !s.slabs || s.errors;
			wrong += slab_free(c, p) != 0 || slab_shrink(c) != s.frames || free_frames() != left;
		}
		for (unsigned i = left < FRAMES ? left : FRAMES; i < FRAMES; i++)
			refused += frame_free(run + i * PAGE_SIZE) != 0;
		unhog(all);
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(refused, 0);
		KASSERT(failed > 0);                                    /* with none left, at least */
		KASSERT((p = slab_alloc(c)) != NULL);
		KASSERT_EQ(slab_free(c, p), 0);
		KASSERT_EQ(slab_cache_destroy(c), 0);
	}
}

/* slab_cache_create: "-ENOMEM", and then *out is as it was; what was made until then works, as far as it needs no
 * frames, and all comes back. */
KTEST(mm, check_slab_oom_create)
{
	enum { N = 64 };
	static struct slab_cache *c[N];
	struct slab_cache *const untouched = (struct slab_cache *)objects;
	struct slab_cache *out = untouched;
	unsigned n = 0, wrong = 0, given = 0;
	uint64_t base;
	int error = 0;
	paddr_t all;

	warm_up();
	base = free_frames();
	all = hog();
	while (n < N && (error = slab_cache_create("check", 64, 0, NULL, n % 2, &out)) == 0) {
		c[n++] = out;
		out = untouched;
	}
	wrong += free_frames() != 0 || out != untouched;
	for (unsigned i = 0; i < n; i++) {
		given += slab_alloc(c[i]) != NULL;
		wrong += !are(stats(c[i]), 0, 0, 0, 0) || slab_free(c[i], all ? phys_to_virt(all) : NULL) != -EINVAL;
	}
	for (unsigned i = 0; i < n; i++)
		wrong += slab_cache_destroy(c[i]) != 0;
	unhog(all);
	KASSERT_EQ(error, -ENOMEM);
	KASSERT_EQ(given, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(free_frames(), base);
}

/* ---- all processors ---- */

enum { CACHES = 4, SHARED = 64, STEPS = 1000, PATTERN = 0xc0 };

static struct {
	struct slab_cache *c[CACHES];
	uint64_t *slot[CACHES][SHARED];
	uint32_t wrong, built, arrived;
} shared;

/* All start at the same time, or as good as: nobody waits for ever. */
static void meet(void)
{
	count(&shared.arrived);
	for (unsigned i = 0; i < 1 << 24 && __atomic_load_n(&shared.arrived, __ATOMIC_SEQ_CST) % cpu_count(); i++)
		cpu_pause();
}

static void build_shared(void *object)
{
	memset(object, PATTERN, 64);
	count(&shared.built);
}

static bool is_stamped(const uint64_t *p, unsigned k)
{
	return p[1] == ~p[0] && p[7] == p[0] + k;
}

/* Puts objects, or nothing, where others take them away and free them. */
static void swap_here(void *arg)
{
	const uint64_t me = cpu_self()->index;
	uint64_t seed = SEED + me;

	(void)arg;
	meet();
	for (uint64_t step = 0; step < STEPS; step++) {
		const uint64_t r = random_of(&seed);
		const unsigned k = r % CACHES;
		uint64_t *p = NULL;

		if (r >> 8 & 3) {
			p = slab_alloc(shared.c[k]);
			if (!p || (k >= 2 && !all_bytes(p + 2, PATTERN, 40)) ||
				(k == 1 && !all_bytes(p, POISON_NEW, 64))) {
				count(&shared.wrong);
				continue;
			}
			p[0] = me << 32 | step;
			p[1] = ~p[0];
			p[7] = p[0] + k;
		}
		p = __atomic_exchange_n(&shared.slot[k][r >> 16 & (SHARED - 1)], p, __ATOMIC_ACQ_REL);
		if (p && (!is_stamped(p, k) || (k >= 2 && !all_bytes(p + 2, PATTERN, 40)) || slab_free(shared.c[k], p)))
			count(&shared.wrong);
		if ((r >> 32 & 255) == 0)
			slab_shrink(shared.c[k]);
	}
}

/* Any function "may be called on any processor with interrupts on or off". All allocate, free what others have
 * allocated, and shrink, on the same caches: nothing has two owners, nothing is lost. */
KTEST(mm, check_slab_smp)
{
	uint64_t base;
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	warm_up();
	base = free_frames();
	memset(&shared, 0, sizeof shared);
	for (unsigned k = 0; k < CACHES; k++)
		KASSERT((shared.c[k] = make(64, 0, k >= 2 ? build_shared : NULL, k % 2 ? SLAB_DEBUG : 0)) != NULL);
	KASSERT_EQ(cpu_on_each(swap_here, NULL), 0);
	for (unsigned k = 0; k < CACHES; k++) {
		uint64_t left = 0;

		for (unsigned i = 0; i < SHARED; i++)
			left += shared.slot[k][i] != NULL;
		wrong += stats(shared.c[k]).live != left || stats(shared.c[k]).errors;
		for (unsigned i = 0; i < SHARED; i++)
			if (shared.slot[k][i])
				wrong += !is_stamped(shared.slot[k][i], k) ||
					slab_free(shared.c[k], shared.slot[k][i]) != 0;
		shrink_all(shared.c[k]);
		wrong += !are(stats(shared.c[k]), 0, 0, 0, 0);
		wrong += slab_cache_destroy(shared.c[k]) != 0;
	}
	KASSERT_EQ(shared.wrong, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(shared.built > 0);
	KASSERT_EQ(free_frames(), base);
}

/* Caches of their own, made and destroyed by all at the same time. */
static void caches_here(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	meet();
	for (unsigned round = 0; round < 20; round++) {
		struct slab_cache *a = make(16 + round, 0, NULL, round % 2), *b = make(900, 64, NULL, 0);
		void *p = a ? slab_alloc(a) : NULL, *q = b ? slab_alloc(b) : NULL;

		if (!p || !q) {
			count(&shared.wrong);
			return;
		}
		fill(p, 16 + round, me * 100 + round);
		fill(q, 900, me * 100 + round);
		if (slab_cache_of(p) != a || slab_cache_of(q) != b || slab_free(a, q) != -EINVAL ||
			slab_free(b, p) != -EINVAL ||
		    slab_cache_destroy(a) != -EBUSY || !is_filled(p, 16 + round, me * 100 + round) ||
		    !is_filled(q, 900, me * 100 + round) || slab_free(a, p) || slab_free(b, q) ||
			slab_cache_destroy(b) ||
		    slab_cache_destroy(a))
			count(&shared.wrong);
	}
}

KTEST(mm, check_slab_smp_caches)
{
	uint64_t base;

	memset(&shared, 0, sizeof shared);
	for (unsigned i = 0; i < 2; i++) {
		base = free_frames();
		KASSERT_EQ(cpu_on_each(caches_here, NULL), 0);
		KASSERT_EQ(shared.wrong, 0);
	}
	KASSERT_EQ(free_frames(), base);
}

/* ---- interrupts ---- */

static uint64_t rflags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

enum act {
	CREATE, CREATE_BAD, ALLOC_FIRST, ALLOC, FREE_INSIDE, FREE_NULL, FREE_FIRST, FREE, FREE_AGAIN, STATS, LEAKS_OF,
	CACHE_OF, SHRINK, DESTROY
};

static struct {
	struct slab_cache *c, *none;
	void *p, *q;
	struct slab_stats s;
} act;

static int do_act(enum act what, unsigned flags)
{
	switch (what) {
	case CREATE:
		return slab_cache_create("check", 64, 0, NULL, flags, &act.c);
	case CREATE_BAD:
		return slab_cache_create("check", 64, 3, NULL, flags, &act.none);
	case ALLOC_FIRST:
		return (act.p = slab_alloc(act.c)) ? 0 : -ENOMEM;
	case ALLOC:
		return (act.q = slab_alloc(act.c)) ? 0 : -ENOMEM;
	case FREE_INSIDE:
		return slab_free(act.c, (char *)act.p + 8);
	case FREE_NULL:
		return slab_free(act.c, NULL);
	case FREE_FIRST:
		return slab_free(act.c, act.p);
	case FREE:
		return slab_free(act.c, act.q);
	case FREE_AGAIN:                                        /* told with SLAB_DEBUG only */
		return flags & SLAB_DEBUG ? slab_free(act.c, act.q) : -EINVAL;
	case STATS:
		slab_get_stats(act.c, &act.s);
		return 0;
	case LEAKS_OF:
		slab_report_leaks(act.c, see, &seen);
		return 0;
	case CACHE_OF:
		return slab_cache_of(act.p) == act.c ? 0 : -EINVAL;
	case SHRINK:
		slab_shrink(act.c);
		return 0;
	case DESTROY:
		return slab_cache_destroy(act.c);
	}
	return -EINVAL;
}

/* Those that are done in turn, and what they return. */
static const struct {
	enum act what;
	int result;
} acts[] = {
	{ CREATE, 0 }, { CREATE_BAD, -EINVAL }, { SHRINK, 0 }, { ALLOC_FIRST, 0 }, { ALLOC, 0 },
	{ FREE_INSIDE, -EINVAL },
	{ FREE_NULL, -EINVAL }, { DESTROY, -EBUSY }, { STATS, 0 }, { LEAKS_OF, 0 }, { CACHE_OF, 0 }, { FREE, 0 },
	{ FREE_AGAIN, -EINVAL }, { SHRINK, 0 },
	{ ALLOC, 0 }, { FREE, 0 }, { FREE_FIRST, 0 }, { SHRINK, 0 }, { DESTROY, 0 },
};

/* "may be called on any processor with interrupts on or off, takes its own locks": on or off they stay, and no lock is
 * held afterwards. */
KTEST(mm, check_slab_interrupts_kept)
{
	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned i = 0; i < COUNT(acts); i++) {
			const uint64_t before = rflags();
			bool was_on, is_on;
			uint32_t held, held_after;
			int result;

			if (kind / 2)
				__asm__ volatile("cli" : : : "memory");
			held = cpu_self()->preempt_count;
			was_on = rflags() & IF;
			result = do_act(acts[i].what, kind % 2 ? SLAB_DEBUG : 0);
			is_on = rflags() & IF;
			held_after = cpu_self()->preempt_count;
			if (before & IF)
				__asm__ volatile("sti" : : : "memory");
			else
				__asm__ volatile("cli" : : : "memory");
			if (is_on != was_on || held != held_after || result != acts[i].result)
				ktest_note("act", i);
			KASSERT_EQ(is_on, was_on);
			KASSERT_EQ(held_after, held);
			KASSERT_EQ(result, acts[i].result);
		}
}

enum { HELD = 40 };

static struct {
	struct slab_cache *c;
	uint64_t *held[HELD];
	unsigned n, wrong;
	uint64_t came;
	bool gives;
} stepped;

/* After each instruction. Where interrupts are on, one may come: it takes objects, gives them back, in turn. */
static void on_step(struct trap_frame *f)
{
	uint64_t *p;

	if (!(f->rflags & IF))
		return;
	stepped.came++;
	if (stepped.n == 0 || stepped.n == HELD)
		stepped.gives = stepped.n != 0;
	if (stepped.gives) {
		p = stepped.held[--stepped.n];
		stepped.wrong += p[1] != ~p[0] || slab_free(stepped.c, p) != 0;
		return;
	}
	p = slab_alloc(stepped.c);
	if (p) {
		p[0] = stepped.came << 8 | 0xff;
		p[1] = ~p[0];
		stepped.held[stepped.n++] = p;
	} else {
		stepped.wrong++;
	}
}

static __attribute__((noipa)) void be_stepped(void)
{
	for (unsigned round = 0; round < 2; round++) {
		unsigned n = 0;

		for (; n < 25 + round; n++) {
			uint64_t *p = objects[n] = slab_alloc(stepped.c);

			if (!p)
				break;
			p[0] = (uint64_t)n << 8;
			p[1] = ~p[0];
		}
		stepped.wrong += n < 25 + round;
		while (n--) {
			const uint64_t *p = objects[n];

			stepped.wrong += p[0] != (uint64_t)n << 8 || p[1] != ~p[0] ||
				slab_free(stepped.c, objects[n]) != 0;
		}
	}
}

/* "Not from NMI or machine check handlers": from all others. An interrupt after each instruction of slab_alloc and
 * slab_free that it can come after does both to the same cache. */
KTEST(mm, check_slab_interrupted)
{
	for (unsigned debug = 0; debug < 2; debug++) {
		const bool on = rflags() & IF;
		struct slab_stats s;
		uint64_t dr6;
		int taken;

		memset(&stepped, 0, sizeof stepped);
		KASSERT((stepped.c = make(debug ? 32 : 64, 0, NULL, debug ? SLAB_DEBUG : 0)) != NULL);
		taken = trap_set_handler(VEC_DEBUG, on_step);
		if (taken == 0) {
			__asm__ volatile("movq %%dr6, %0" : "=r"(dr6) : : "memory");
			__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
			be_stepped();
			__asm__ volatile("pushfq\n\tandq $-257, (%%rsp)\n\tpopfq" : : : "memory", "cc");
			__asm__ volatile("movq %0, %%dr6" : : "r"(dr6) : "memory");
			trap_clear_handler(VEC_DEBUG);
		}
		s = stats(stepped.c);
		KASSERT_EQ(taken, 0);
		KASSERT(on);
		KASSERT(stepped.came > 1000);
		KASSERT_EQ(s.live, stepped.n);
		while (stepped.n) {
			uint64_t *p = stepped.held[--stepped.n];

			stepped.wrong += p[1] != ~p[0] || slab_free(stepped.c, p) != 0;
		}
		KASSERT_EQ(stepped.wrong, 0);
		KASSERT_EQ(s.errors, 0);
		shrink_all(stepped.c);
		KASSERT(are(stats(stepped.c), 0, 0, 0, 0));
		KASSERT_EQ(slab_cache_destroy(stepped.c), 0);
	}
}
