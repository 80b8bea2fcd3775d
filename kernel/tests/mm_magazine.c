/* Further tests of mm/magazine.c and mm/magazine.h, beyond acceptance/mm/magazine.c, tests/mm_kmalloc.c and
 * tests/mm_slab.c: around the borders of a magazine, every byte of whole slabs, what looks like a slab or was
 * one, addresses, flags, threads that are interrupted, preempted and moved in the midst, no memory. All of it with
 * slab.debug on the command line or without. See spec/mm.md: the header's section "slab", which is what "the header"
 * below means, "Hardware facts", "What bad input gets", invariants 1 and 6.
 *
 * A test gives back all it has before it asserts: until then what is wrong is only counted, by EXPECT. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "sched.h"
#include "string.h"

enum { SEED = 0x6d616731, MOST = 40, CLASSES = 15, OBJECTS = 1400 };
#define US 1000ul
#define LONG 4000000000ul                       /* nanoseconds; what takes so long does not come any more */
#define ENOUGH 100000000ul                      /* so long nothing goes on that has been disturbed at all */
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_fetch_add(&(word), (n), __ATOMIC_SEQ_CST)

/* How much was wrong in this test; where it was first, and about what: a size, an address, a tag. */
static struct {
	uint32_t times, line;
	uint64_t what;
} wrong;

static void went_wrong(uint32_t line, uint64_t what)
{
	if (ADD(wrong.times, 1) == 0) {
		wrong.line = line;
		wrong.what = what;
	}
}

#define EXPECT(condition, about) \
	do { \
		if (!(condition)) \
			went_wrong(__LINE__, (uint64_t)(about)); \
	} while (0)

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

/* The same, but for errors. */
static bool same(struct slab_stats a, struct slab_stats b)
{
	return a.live == b.live && a.slabs == b.slabs && a.frames == b.frames;
}

static bool erred(struct slab_stats now, struct slab_stats before, uint64_t errors)
{
	return same(now, before) && now.errors == before.errors + errors;
}

/* ---- where objects come from ---- */

/* A class of kmalloc's, or a cache of our own; size: of its objects, all of it usable. */
struct source {
	struct slab_cache *c;
	size_t size;
	bool is_class;
};

static struct source class[CLASSES];
static struct slab_stats at_start[CLASSES];
static uint64_t frames_at_start;
static vaddr_t ram_end;                         /* in the direct map */
static void *objects[OBJECTS];

static void *get(const struct source *s)
{
	return s->is_class ? kmalloc(s->size) : slab_alloc(s->c);
}

static int put(const struct source *s, void *p)
{
	return s->is_class ? kfree(p) : slab_free(s->c, p);
}

/* In the first, the last and the words between, all of them up to 256 bytes; the first is the number itself. */
static void mark(void *p, size_t size, uint64_t id)
{
	const uint64_t value = id * 0x9e3779b97f4a7c15;
	const size_t words = size / 8, step = 1 + (words - 1) / 32;
	uint64_t *word = p;

	for (size_t i = 1; i < words - 1; i += step)
		word[i] = value + i;
	word[words - 1] = ~value;
	word[0] = id;
}

static bool is_marked(const void *p, size_t size, uint64_t id)
{
	const uint64_t value = id * 0x9e3779b97f4a7c15;
	const size_t words = size / 8, step = 1 + (words - 1) / 32;
	const uint64_t *word = p;

	for (size_t i = 1; i < words - 1; i += step)
		if (word[i] != value + i)
			return false;
	return word[words - 1] == ~value && word[0] == id;
}

static void *take(const struct source *s, uint64_t id)
{
	void *p = get(s);

	EXPECT(p && (vaddr_t)p % 8 == 0, s->size);
	if (p)
		mark(p, s->size, id);
	return p;
}

/* Who has it too is to see that it has gone. */
static void give(const struct source *s, void *p, uint64_t id)
{
	if (!p)
		return;
	EXPECT(is_marked(p, s->size, id), s->size);
	*(uint64_t *)p = ~id;
	EXPECT(put(s, p) == 0, s->size);
}

static bool open_cache(struct source *s, size_t size, size_t align, unsigned flags)
{
	*s = (struct source){ .size = size };
	return slab_cache_create("check", size, align, NULL, flags, &s->c) == 0;
}

static void close_cache(const struct source *s)
{
	EXPECT(slab_cache_destroy(s->c) == 0, s->size);
}

/* On one processor after another: all at once they would wait for one lock, each for the next one's turn at a host that
 * has fewer. */
static void on_each(void (*fn)(void *), void *arg)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		EXPECT(cpu_call(i, fn, arg) == 0, i);
}

static void shrink_one(void *c)
{
	slab_shrink(c);
}

static void shrink_classes(void *arg)
{
	(void)arg;
	for (unsigned k = 0; k < CLASSES; k++)
		slab_shrink(class[k].c);
}

static vaddr_t end_of_ram(void)
{
	static struct mm_range ranges[BOOT_MEM_MAX];
	const struct boot_info *info = boot_info();
	size_t n = 0;

	if (memmap_normalise(info->mem, info->mem_count, ranges, BOOT_MEM_MAX, &n) || !n)
		return DIRECT_MAP_BASE;
	return (vaddr_t)phys_to_virt(ranges[n - 1].base + ranges[n - 1].len);
}

/* Each test's first: what others have left that goes away by itself is gone, nothing lies in magazines or empty slabs,
 * and what there is is remembered. */
static bool begin(void)
{
	static const size_t sizes[CLASSES] = {          /* "kmalloc classes" */
		16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096
	};
	uint64_t before = 0, now = 0;

	memset(&wrong, 0, sizeof wrong);
	ram_end = end_of_ram();
	for (unsigned k = 0; k < CLASSES; k++) {
		void *p = kmalloc(sizes[k]);

		class[k] = (struct source){ slab_cache_of(p), sizes[k], true };
		if (!class[k].c || kfree(p))
			return false;
	}
	for (unsigned same_times = 0, i = 0; same_times < 2 && i < 100; i++) {
		thread_sleep(60 * US);
		before = now;
		now = free_frames() << 32;
		for (unsigned k = 0; k < CLASSES; k++)
			now += stats(class[k].c).live;
		same_times = now == before ? same_times + 1 : 0;
	}
	on_each(shrink_classes, NULL);
	for (unsigned k = 0; k < CLASSES; k++)
		at_start[k] = stats(class[k].c);
	frames_at_start = free_frames();
	return true;
}

/* Each test's last: how much was wrong. In the end what is live, and what it takes, is to be as it was. */
static uint32_t wrongs(void)
{
	on_each(shrink_classes, NULL);
	for (unsigned k = 0; k < CLASSES; k++)
		EXPECT(same(stats(class[k].c), at_start[k]), class[k].size);
	if (wrong.times) {
		ktest_note("line", wrong.line);
		ktest_note("about", wrong.what);
	}
	return wrong.times;
}

/* ---- borders ---- */

/* Takes objects until there are `top` of them, gives them back, in order or last first, and again. */
struct saw {
	const struct source *s;
	unsigned top, n;
	bool falls, reverse;
	uint64_t live, id;              /* what others have; the number of held[0] */
	void *held[MOST];
};

static void saw_step(struct saw *w)
{
	if (w->falls) {
		const unsigned i = w->reverse ? w->n - 1 : w->top - w->n;

		give(w->s, w->held[i], w->id + i);
		w->n--;
	} else {
		w->held[w->n] = take(w->s, w->id + w->n);
		w->n++;
	}
	EXPECT(stats(w->s->c).live == w->live + w->n, w->s->size);
	if (w->n == (w->falls ? 0 : w->top)) {
		w->falls = !w->falls;
		w->id += w->falls ? 0 : MOST;
	}
}

static void saw_end(struct saw *w)
{
	if (w->n && !w->falls) {
		w->top = w->n;
		w->falls = true;
	}
	while (w->n)
		saw_step(w);
}

/* "a magazine of some 12 objects per cache and processor": 1, 2, 3 ... objects, up and down, whatever its size. The
 * header: slab_stats; "what lies in any processor's magazine is not live"; slab_shrink. */
KTEST(mm, check_magazine_borders)
{
	static struct saw saw;
	struct source own[2];

	KASSERT(begin());
	KASSERT(open_cache(&own[0], 40, 8, 0));
	KASSERT(open_cache(&own[1], 40, 8, SLAB_DEBUG));
	for (unsigned k = 0; k < CLASSES + COUNT(own); k++) {
		const struct source *s = k < CLASSES ? &class[k] : &own[k - CLASSES];
		const uint64_t frames = free_frames();

		saw = (struct saw){ .s = s, .live = stats(s->c).live };
		for (unsigned i = 1; i <= 2 * MOST; i++) {
			saw.top = i <= MOST ? i : 2 * MOST + 1 - i;
			saw.reverse = (saw.top + (i > MOST)) % 2;
			if (saw.top <= 20 || saw.top % 4 == 0)
				for (unsigned step = 0; step < 2 * saw.top; step++)
					saw_step(&saw);
		}
		EXPECT(saw.n == 0, s->size);
		on_each(shrink_one, s->c);
		EXPECT(free_frames() == frames, s->size);
	}
	close_cache(&own[0]);
	close_cache(&own[1]);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* The same in two at a time, of which neither goes up or down with the other. */
KTEST(mm, check_magazine_interleaved)
{
	static struct saw a, b;
	struct source own;

	KASSERT(begin());
	KASSERT(open_cache(&own, 72, 8, 0));
	for (unsigned k = 0; k < 2 * CLASSES; k++) {
		const struct source *one = &class[k % CLASSES];
		const struct source *other = k % 5 == 4 ? &own : &class[(k + 1 + 6 * (k / CLASSES)) % CLASSES];

		a = (struct saw){ .s = one, .top = 9 + k, .reverse = k & 1, .live = stats(one->c).live };
		b = (struct saw){ .s = other, .top = MOST - k, .reverse = k & 2, .live = stats(other->c).live };
		b.id = 1 << 20;
		for (unsigned step = 0; step < 90; step++) {
			saw_step(&a);
			if (step % 5)
				saw_step(&b);
			EXPECT(stats(one->c).live == a.live + a.n, one->size);
		}
		saw_end(&a);
		EXPECT(stats(other->c).live == b.live + b.n, other->size);
		saw_end(&b);
	}
	close_cache(&own);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- any of it, on any processor, against a model ---- */

enum { SOURCES = CLASSES + 3, BURSTS = 400 };

static struct model {
	const struct source *s;
	unsigned n;
	uint64_t live;                  /* what others have */
	uint64_t id[MOST];
	void *held[MOST];
} model[SOURCES];

struct burst {
	struct model *m;
	uint64_t r, seed, refused;
};

/* What a burst does depends on r: takes some objects, gives some back, or has some refused. */
static void burst_here(void *arg)
{
	struct burst *b = arg;
	struct model *m = b->m;
	const unsigned n = 1 + (b->r >> 8) % 24;

	for (unsigned i = 0; i < n; i++) {
		const uint64_t r = random_of(&b->seed);
		const unsigned at = m->n ? r % m->n : 0;

		switch (b->r % 8) {
		case 0 ... 3:
			if (m->n < MOST) {
				m->id[m->n] = r;
				m->held[m->n] = take(m->s, r);
				m->n += m->held[m->n] != NULL;
			}
			break;
		case 4 ... 6:
			if (m->n) {
				give(m->s, m->held[at], m->id[at]);
				m->n--;
				m->held[at] = m->held[m->n];
				m->id[at] = m->id[m->n];
			}
			break;
		case 7:
			if (m->n) {
				char *p = m->held[at];

				EXPECT(put(m->s, p + 1 + r % (m->s->size - 1)) == -EINVAL, m->s->size);
				b->refused++;
			}
			break;
		}
		EXPECT(stats(m->s->c).live == m->live + m->n, m->s->size);
	}
	if (b->r >> 40 & 1)
		slab_shrink(m->s->c);
}

/* The header, for one at a time: `live` is exact wherever objects are given back and lie, and each refusal counts. */
KTEST(mm, check_magazine_model)
{
	struct source own[SOURCES - CLASSES];
	uint64_t seed = SEED, errors[SOURCES];

	ktest_note("seed", SEED);
	KASSERT(begin());
	KASSERT(open_cache(&own[0], 24, 8, 0));
	KASSERT(open_cache(&own[1], 520, 8, SLAB_DEBUG));
	KASSERT(open_cache(&own[2], 3000, 8, 0));
	for (unsigned k = 0; k < SOURCES; k++) {
		const struct source *s = k < CLASSES ? &class[k] : &own[k - CLASSES];

		model[k] = (struct model){ .s = s, .live = stats(s->c).live };
		errors[k] = stats(s->c).errors;
	}
	for (unsigned i = 0; i < BURSTS; i++) {
		const uint64_t r = random_of(&seed);
		struct burst b = { &model[(r >> 16) % SOURCES], r, r, 0 };

		if (i % 4 == 0)
			burst_here(&b);
		else
			EXPECT(cpu_call((r >> 32) % cpu_count(), burst_here, &b) == 0, i);
		errors[b.m - model] += b.refused;
	}
	for (unsigned k = 0; k < SOURCES; k++) {
		struct model *m = &model[k];

		while (m->n) {
			m->n--;
			give(m->s, m->held[m->n], m->id[m->n]);
		}
		EXPECT(stats(m->s->c).live == m->live && stats(m->s->c).errors == errors[k], m->s->size);
	}
	for (unsigned k = 0; k < COUNT(own); k++)
		close_cache(&own[k]);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- what is no object, in whole slabs ---- */

enum { SLAB_FRAMES = 8, SLABS = 2 };

/* A slab all of whose objects are ours; starts: a bit for each 8 bytes. */
static struct whole {
	char *base;
	size_t bytes;
	uint8_t starts[SLAB_FRAMES * PAGE_SIZE / 64];
} whole[SLABS];

static bool is_start(const struct whole *w, size_t at)
{
	return at % 8 == 0 && w->starts[at / 64] >> at / 8 % 8 & 1;
}

/* Takes objects until `want` slabs have been made and all of theirs are taken, which is when the next one is made: then
 * they are whole[]. "Slab header at the start of a frame, or of an aligned run of them, with every frame's tag pointing
 * there". How many objects it took. */
static unsigned take_whole(const struct source *s, unsigned want)
{
	uint64_t slabs = stats(s->c).slabs;
	unsigned n = 0, made = 0;

	memset(whole, 0, sizeof whole);
	while (made <= want && n < OBJECTS && (objects[n] = take(s, n)) != NULL) {
		const struct slab_stats now = stats(s->c);

		if (now.slabs > slabs && made < want) {
			struct whole *w = &whole[made];

			w->base = (char *)frame_tag(direct_to_phys(objects[n]));
			w->bytes = now.frames / now.slabs * PAGE_SIZE;
			if ((vaddr_t)objects[n] - (vaddr_t)w->base >= w->bytes || w->bytes > SLAB_FRAMES * PAGE_SIZE) {
				went_wrong(__LINE__, s->size);
				w->bytes = 0;
			}
		}
		made += now.slabs > slabs;
		slabs = now.slabs;
		n++;
	}
	EXPECT(made > want, s->size);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < want; k++) {
			const size_t at = (vaddr_t)objects[i] - (vaddr_t)whole[k].base;

			if (at < whole[k].bytes)
				whole[k].starts[at / 64] |= (uint8_t)(1 << at / 8 % 8);
		}
	return n;
}

static void give_whole(const struct source *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		give(s, objects[i], i);
}

/* Every byte of the first and the last frame; of those between, and of another slab's, every eighth, and some of the
 * others. */
static size_t next_byte(const struct whole *w, size_t at)
{
	if (w == whole && (at < PAGE_SIZE || at >= w->bytes - PAGE_SIZE))
		return at + 1;
	return at % 8 ? (at | 7) + 1 : at % 64 ? at + 8 : at + 1 + at / 64 % 7;
}

/* How many were refused: all but objects' first bytes. */
static uint64_t probe_slab(const struct source *s, const struct whole *w)
{
	uint64_t refused = 0;

	for (size_t at = 0; at < w->bytes; at = next_byte(w, at)) {
		const bool start = is_start(w, at);

		if ((s->is_class && kmalloc_size(w->base + at) != (start ? s->size : 0)) ||
		    (!start && put(s, w->base + at) != -EINVAL)) {
			went_wrong(__LINE__, (uint64_t)s->size << 32 | at);
			break;
		}
		refused += !start;
	}
	return refused;
}

static void probe_slabs(const struct source *s)
{
	const unsigned want = s->size > 1000 ? 1 : SLABS, n = take_whole(s, want);
	const struct slab_stats before = stats(s->c);
	uint64_t refused = 0;

	for (unsigned k = 0; k < want; k++)
		refused += probe_slab(s, &whole[k]);
	EXPECT(refused >= PAGE_SIZE / 2, s->size);
	EXPECT(erred(stats(s->c), before, refused), s->size);
	give_whole(s, n);
	EXPECT(stats(s->c).live == before.live - n, s->size);
}

/* Strides that are odd multiples of 8 and 16, primes times a power of two, powers of two; slabs of several frames. */
static const struct {
	size_t size, align;
} kinds[] = {
	{ 16, 8 }, { 24, 8 }, { 40, 8 }, { 56, 8 }, { 72, 8 }, { 88, 8 }, { 104, 8 }, { 136, 8 }, { 264, 8 },
	{ 520, 8 }, { 1000, 8 }, { 1360, 16 }, { 2040, 8 }, { 3000, 8 }, { 4096, 0 }, { 48, 16 }, { 112, 16 },
	{ 24, 32 }, { 72, 64 }, { 104, 128 }, { 264, 256 }, { 600, 512 }, { 520, 1024 }, { 1000, 2048 }, { 24, 4096 },
};

static void probe_kinds(unsigned flags)
{
	for (unsigned i = 0; i < COUNT(kinds); i++) {
		struct source s;

		if (!open_cache(&s, kinds[i].size, kinds[i].align, flags)) {
			went_wrong(__LINE__, kinds[i].size);
			continue;
		}
		probe_slabs(&s);
		close_cache(&s);
	}
}

/* "a multiplication by the inverse of the stride ... and one comparison say both that it divides and that the index is
 * in range"; the header, slab_free: "-EINVAL: not an object of c"; "A free that is refused counts in errors"; "What bad
 * input gets": nothing changed. Every byte, those of the header, between objects and behind the last. */
KTEST(mm, check_magazine_bytes)
{
	KASSERT(begin());
	probe_kinds(0);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* The same with what is around objects with SLAB_DEBUG. */
KTEST(mm, check_magazine_bytes_debug)
{
	KASSERT(begin());
	probe_kinds(SLAB_DEBUG);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* The same by kfree; the header, kmalloc_size: "0: not from kmalloc". */
KTEST(mm, check_magazine_bytes_kmalloc)
{
	KASSERT(begin());
	for (unsigned k = 0; k < CLASSES; k++)
		probe_slabs(&class[k]);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* Any size and alignment: what is less than a stride away from an object is none. */
KTEST(mm, check_magazine_strides)
{
	enum { CACHES = 60, N = 8, PROBES = 40 };
	uint64_t seed = SEED;

	ktest_note("seed", SEED);
	KASSERT(begin());
	for (unsigned i = 0; i < CACHES; i++) {
		const uint64_t kind = random_of(&seed);
		const size_t size = 1 + (kind >> 8) % (kind & 1 ? 400 : SLAB_MAX_SIZE);
		const size_t align = 8ul << (kind >> 40) % 10;
		const size_t stride = ((size < SLAB_MIN_SIZE ? SLAB_MIN_SIZE : size) + align - 1) & ~(align - 1);
		struct slab_stats before;
		uint64_t refused = 0;
		struct source s;
		unsigned n = 0;

		if (!open_cache(&s, size, align, kind & 2 ? SLAB_DEBUG : 0)) {
			went_wrong(__LINE__, size);
			continue;
		}
		for (; n < N && (objects[n] = slab_alloc(s.c)) != NULL; n++) {
			memset(objects[n], (int)(n + 1), size);
			EXPECT(kfree(objects[n]) == -EINVAL && kmalloc_size(objects[n]) == 0, size);
		}
		EXPECT(n == N, size);
		before = stats(s.c);
		for (unsigned k = 0; k < n; k++)
			for (unsigned probe = 0; probe < PROBES; probe++) {
				const uint64_t r = random_of(&seed);
				const size_t off = 1 + (probe < 16 ? 8 * probe + 7 : r) % (stride - 1);
				char *p = (char *)objects[k] + (r >> 60 & 1 ? off : -off);

				if (frame_tag(direct_to_phys(p)) != frame_tag(direct_to_phys(objects[k])))
					continue;                       /* in front of the slab */
				EXPECT(slab_free(s.c, p) == -EINVAL && slab_cache_of(p) == s.c, size << 32 | align);
				refused++;
			}
		EXPECT(erred(stats(s.c), before, refused) && before.live == n, size << 32 | align);
		for (unsigned k = 0; k < n; k++) {
			const uint8_t *byte = objects[k];

			EXPECT(byte[0] == k + 1 && byte[size / 2] == k + 1 && byte[size - 1] == k + 1, size);
			EXPECT(slab_free(s.c, objects[k]) == 0, size);
		}
		close_cache(&s);
	}
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- what only looks like a slab ---- */

enum { HEADER = 8 };                            /* words of a slab's beginning that are copied */

/* Makes of what is at to the beginning of a slab, as it is at from; patched: with the first word such as it would be if
 * it was mixed with the address. Its other words tell of lists and counts that are there. */
static void lay_header(uint64_t *to, const uint64_t *from, bool patched)
{
	for (unsigned i = 0; i < HEADER; i++)
		to[i] = from[i];
	if (patched)
		to[0] ^= (vaddr_t)from ^ (vaddr_t)to;
}

/* Whether those words are of one object of the slab that is ours to write to. */
static bool is_inside(const struct source *s, const char *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (p >= (char *)objects[i] && p + HEADER * 8 <= (char *)objects[i] + s->size)
			return true;
	return false;
}

/* The header: what is an object is not told by what objects hold. Whatever their owner writes where a later frame of
 * the slab begins, the objects are those that they were, and there are no others. */
KTEST(mm, check_magazine_lookalike)
{
	unsigned tried = 0;
	struct source own;

	KASSERT(begin());
	KASSERT(open_cache(&own, 3000, 8, 0));
	for (unsigned k = 8; k <= CLASSES; k++) {
		const struct source *s = k < CLASSES ? &class[k] : &own;
		const unsigned n = take_whole(s, 1);
		const struct whole *w = &whole[0];
		const struct slab_stats before = stats(s->c);
		uint64_t refused = 0, kept[HEADER];

		for (size_t page = PAGE_SIZE; page < w->bytes; page += PAGE_SIZE) {
			uint64_t *at = (uint64_t *)(w->base + page);

			if (!is_inside(s, w->base + page, n))
				continue;
			memcpy(kept, at, sizeof kept);
			for (unsigned patched = 0; patched < 2; patched++) {
				lay_header(at, (const uint64_t *)w->base, patched);
				for (size_t in = 0; in < PAGE_SIZE; in += in < 80 ? 1 : 8) {
					char *p = w->base + page + in;
					const bool start = is_start(w, page + in);

					if (kmalloc_size(p) != (s->is_class && start ? s->size : 0) ||
					    slab_cache_of(p) != s->c || (!start && put(s, p) != -EINVAL)) {
						went_wrong(__LINE__, (uint64_t)s->size << 32 | (page + in));
						break;
					}
					refused += !start;
				}
			}
			memcpy(at, kept, sizeof kept);
			tried++;
		}
		EXPECT(erred(stats(s->c), before, refused), s->size);
		give_whole(s, n);
	}
	close_cache(&own);
	KASSERT_EQ(wrongs(), 0);
	KASSERT(tried >= 4);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- all frames taken ---- */

/* At the start of each run that is taken. */
struct hogged {
	paddr_t next;
	uint64_t count;
};

/* All frames that there are; what unhog() wants. */
static paddr_t hog(void)
{
	paddr_t first = 0, pa;

	for (size_t n = 1 << 15; n; n /= 2)
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

/* These frames are ours, and so is all else: whatever takes frames takes what we free of them. */
enum { ARENA = 32 };

static struct {
	paddr_t pa, others;
} arena;

static bool arena_open(void)
{
	if (frame_alloc_contig(ARENA, ARENA, 0, 0, &arena.pa))
		return false;
	arena.others = hog();
	return true;
}

static void arena_close(void)
{
	EXPECT(frame_free_contig(arena.pa, ARENA) == 0, arena.pa);
	unhog(arena.others);
}

static bool in_arena(const void *p)
{
	return direct_to_phys(p) - arena.pa < ARENA * PAGE_SIZE;
}

/* How many frames a slab has. */
static size_t frames_of(const struct source *s)
{
	void *p = take(s, 0);
	const struct slab_stats now = stats(s->c);

	give(s, p, 0);
	on_each(shrink_one, s->c);
	return now.slabs ? now.frames / now.slabs : 0;
}

/* Makes frames n to 2n - 1 of the arena a slab of s, all of whose objects are taken, and all others of s too: how many.
 * Only those in the arena are looked at. */
static unsigned arena_slab(const struct source *s, size_t n)
{
	unsigned taken = 0, inside = 0;

	EXPECT(frame_free_contig(arena.pa + n * PAGE_SIZE, n) == 0, s->size);
	EXPECT(free_frames() == n, s->size);
	for (; taken < OBJECTS && (objects[taken] = get(s)) != NULL; taken++) {
		mark(objects[taken], s->size, taken);
		inside += in_arena(objects[taken]);
	}
	EXPECT(taken < OBJECTS && inside && free_frames() == 0, s->size);
	return taken;
}

/* Gives them all back, and the slab. */
static void arena_unslab(const struct source *s, size_t n, unsigned taken)
{
	for (unsigned i = 0; i < taken; i++)
		give(s, objects[i], i);
	on_each(shrink_one, s->c);
	EXPECT(free_frames() == n, s->size);
}

struct asked {
	const struct source *s;
	unsigned n;
	long by;
	bool refused;
};

static void ask(void *arg)
{
	struct asked *a = arg;

	for (unsigned i = 0; i < a->n && a->refused; i += 1 + a->n / 24)
		if (in_arena(objects[i])) {
			char *p = (char *)objects[i] + a->by;

			a->refused = kmalloc_size(p) == 0 && slab_cache_of(p) == NULL && kfree(p) == -EINVAL &&
				slab_free(a->s->c, p) == -EINVAL;
		}
}

/* Whether some of the objects in the arena, the first among them, or what is so many bytes away from them, are none:
 * without a fault. */
static bool is_refused(const struct source *s, unsigned n, long by)
{
	struct asked a = { s, n, by, true };

	return trap_catch(ask, &a, NULL) == 0 && a.refused;
}

enum { TAGS = 18 };

/* A tag for the frame at `page` of a run that begins at `base`; slab: another address. */
static uint64_t tag_of(unsigned which, vaddr_t page, vaddr_t base, vaddr_t slab)
{
	switch (which) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return UINT64_MAX;
	case 3:
		return 1ul << 47;
	case 4:
		return page;
	case 5:
		return base;
	case 6:
		return page == base ? 0 : base;
	case 7:
		return slab;
	case 8:
		return slab + (page - base);
	case 9:
		return slab + PAGE_SIZE;
	case 10:
		return page - PAGE_SIZE;
	case 11:
		return page + PAGE_SIZE;
	case 12:
		return page + 8;
	case 13:
		return page | 1;
	case 14:
		return ram_end;
	case 15:
		return ram_end + 5 * PAGE_SIZE;
	case 16:
		return DIRECT_MAP_BASE;
	default:
		return -PAGE_SIZE;
	}
}


/* Takes the n frames of the arena that are free. */
static void arena_fill(size_t n)
{
	paddr_t pa;

	for (size_t i = 0; i < n; i++)
		EXPECT(frame_alloc(0, &pa) == 0 && in_arena(phys_to_virt(pa)), n);
	EXPECT(free_frames() == 0, n);
}

static struct source own_source;

/* Runs fn in the arena for some classes and a cache of our own, with how many frames a slab of it has. Whether it
 * could. */
static bool in_the_arena(void (*fn)(const struct source *s, size_t n))
{
	static const unsigned some[] = { 0, 2, 8, 12, 14 };
	size_t frames[COUNT(some) + 1];

	for (unsigned i = 0; i <= COUNT(some); i++) {
		frames[i] = frames_of(i < COUNT(some) ? &class[some[i]] : &own_source);
		EXPECT(frames[i] && frames[i] <= SLAB_FRAMES, frames[i]);
		if (!frames[i] || frames[i] > SLAB_FRAMES)
			return false;
	}
	if (!arena_open())
		return false;
	for (unsigned i = 0; i <= COUNT(some); i++)
		fn(i < COUNT(some) ? &class[some[i]] : &own_source, frames[i]);
	arena_close();
	return true;
}

static void forge(const struct source *s, size_t n)
{
	const vaddr_t slab = (vaddr_t)phys_to_virt(arena.pa + n * PAGE_SIZE);
	const unsigned taken = arena_slab(s, n);
	const struct slab_stats before = stats(s->c);

	for (unsigned i = 0; i < 4; i++) {
		const bool behind = i & 1, patched = i & 2;
		const paddr_t pa = arena.pa + (behind ? 2 * n : 0) * PAGE_SIZE;
		const vaddr_t copy = (vaddr_t)phys_to_virt(pa);

		memcpy((void *)copy, (void *)slab, n * PAGE_SIZE);
		for (size_t f = 0; patched && f < n; f++)
			lay_header((uint64_t *)(copy + f * PAGE_SIZE), (uint64_t *)slab, true);
		for (unsigned which = 0; which < TAGS; which++) {
			bool is_own = false;

			for (size_t f = 0; f < n; f++) {
				const vaddr_t page = copy + f * PAGE_SIZE;
				const uint64_t tag = tag_of(which, page, copy, slab);

				is_own |= tag == page;
				frame_set_tag(pa + f * PAGE_SIZE, tag);
			}
			EXPECT((patched && is_own) || is_refused(s, taken, (long)(copy - slab)),
				(uint64_t)s->size << 32 | i << 8 | which);
		}
		EXPECT(patched || memcmp((void *)copy, (void *)slab, n * PAGE_SIZE) == 0, s->size);
		for (size_t f = 0; f < n; f++) {                        /* nothing is to pass for a slab later */
			memset((void *)(copy + f * PAGE_SIZE), 0, HEADER * 8);
			frame_set_tag(pa + f * PAGE_SIZE, 0);
		}
	}
	EXPECT(same(stats(s->c), before), s->size);
	arena_unslab(s, n, taken);
	arena_fill(n);
}

/* The header: "-EINVAL: not from kmalloc"; tags are "one word an owner may keep", any word. A slab is where it is: a
 * copy of it, frame by frame, right in front of it or right behind, is none, whatever tags the frames have: their own
 * addresses, the copy's, the original's. A copy that is patched might pass for one, but for its tags: no frame of it
 * has its own address then. */
KTEST(mm, check_magazine_forged)
{
	bool done;

	KASSERT(begin());
	KASSERT(open_cache(&own_source, 40, 8, 0));
	done = in_the_arena(forge);
	close_cache(&own_source);
	KASSERT_EQ(wrongs(), 0);
	KASSERT(done);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- what was a slab ---- */

static struct source successor;

static bool is_nobodys(void *p)
{
	return kmalloc_size(p) == 0 && slab_cache_of(p) == NULL && kfree(p) == -EINVAL;
}

/* On the way, the same for a run of kmalloc's: its second frame, what has its tag but is elsewhere, itself once it is
 * freed. */
static void make_stale(const struct source *s, size_t n)
{
	const paddr_t at = arena.pa + n * PAGE_SIZE;
	char *const slab = phys_to_virt(at);
	const unsigned taken = arena_slab(s, n);
	struct slab_stats before;
	unsigned others = 0;
	paddr_t pa = 0;
	void *run, *p;

	arena_unslab(s, n, taken);
	before = stats(s->c);
	EXPECT(is_refused(s, taken, 0), s->size);               /* nobody has the frames */

	EXPECT(frame_alloc_contig(n, n, 0, 0, &pa) == 0 && pa == at, s->size);
	for (unsigned which = 0; which < TAGS; which++) {       /* somebody has, and does not write to them */
		for (size_t f = 0; f < n; f++)
			frame_set_tag(at + f * PAGE_SIZE,
				tag_of(which, (vaddr_t)slab + f * PAGE_SIZE, (vaddr_t)slab, (vaddr_t)slab));
		EXPECT(is_refused(s, taken, 0), (uint64_t)s->size << 32 | which);
	}
	EXPECT(frame_free_contig(at, n) == 0, s->size);

	EXPECT(frame_free(at + n * PAGE_SIZE) == 0, s->size);   /* they are a run of kmalloc's */
	run = kmalloc((n + 1) * PAGE_SIZE);
	EXPECT(run == slab && is_refused(s, taken, 0), s->size);
	frame_set_tag(arena.pa, frame_tag(at));
	EXPECT(is_nobodys(phys_to_virt(arena.pa)) && is_nobodys(slab + PAGE_SIZE), s->size);
	frame_set_tag(arena.pa, 0);
	EXPECT(kmalloc_size(run) == (n + 1) * PAGE_SIZE && kfree(run) == 0, s->size);
	EXPECT(is_nobodys(run), s->size);
	arena_fill(n + 1);

	EXPECT(frame_free_contig(at, n) == 0, s->size);         /* one is another cache's slab */
	p = slab_alloc(successor.c);
	for (unsigned i = 0; p && i < taken; i++) {
		if (!in_arena(objects[i]))
			continue;
		others += slab_cache_of(objects[i]) == successor.c;
		EXPECT(kfree(objects[i]) == -EINVAL && kmalloc_size(objects[i]) == 0, s->size);
		EXPECT(slab_free(s->c, objects[i]) == -EINVAL, s->size);
	}
	EXPECT(p && in_arena(p) && (others || n > 1), s->size);
	EXPECT(!p || slab_free(successor.c, p) == 0, s->size);
	on_each(shrink_one, successor.c);
	EXPECT(same(stats(s->c), before), s->size);
	arena_fill(n);
}

/* The same for what was an object until slab_shrink gave back its slab; its frames still hold what they held. */
KTEST(mm, check_magazine_stale)
{
	bool done;

	KASSERT(begin());
	KASSERT(open_cache(&own_source, 40, 8, 0));
	KASSERT(open_cache(&successor, 56, 8, 0));
	done = in_the_arena(make_stale);
	close_cache(&own_source);
	close_cache(&successor);
	KASSERT_EQ(wrongs(), 0);
	KASSERT(done);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- addresses ---- */

struct probe {
	struct slab_cache *c, *of;
	void *p;
	int freed, kfreed;
	size_t size;
};

static void probe(void *arg)
{
	struct probe *b = arg;

	b->size = kmalloc_size(b->p);
	b->of = slab_cache_of(b->p);
	b->kfreed = kfree(b->p);
	b->freed = slab_free(b->c, b->p);
}

/* If it does not lie in a managed frame: whether it is nobody's object, which is told without a fault. */
static bool is_nothing(struct slab_cache *c, vaddr_t address)
{
	struct probe b = { .c = c, .of = c, .p = (void *)address, .size = 1 };

	if (!address || (address >= DIRECT_MAP_BASE && frame_managed(address - DIRECT_MAP_BASE)))
		return true;
	return trap_catch(probe, &b, NULL) == 0 && !b.of && b.freed == -EINVAL && b.kfreed == -EINVAL && b.size == 0;
}

/* The header: kfree and slab_free: -EINVAL, kmalloc_size: 0, for what is not from there: around the ends of the direct
 * map and of RAM, the image by either address, stacks, user addresses, and a live object's address with one bit
 * changed or in another area. */
KTEST(mm, check_magazine_addresses)
{
	static const long offs[] = {
		-32768, -4104, -4096, -4095, -256, -64, -16, -8, -1, 0, 1, 8, 16, 64, 128, 256, 2048, 4095, 4096, 4160,
		32768,
	};
	static uint64_t in_data[8] = { 1 };
	static const uint64_t in_rodata[8] = { 1 };
	uint64_t on_stack[8] = { 0 }, seed = SEED, random;
	void *p[2], *large, *top;
	struct slab_stats before[2];
	struct source own;

	ktest_note("seed", SEED);
	KASSERT(begin());
	KASSERT(open_cache(&own, 64, 0, 0));
	p[0] = take(&class[3], 1);
	p[1] = take(&own, 2);
	large = kmalloc(3 * PAGE_SIZE);
	EXPECT(large, 3 * PAGE_SIZE);
	before[0] = stats(class[3].c);
	before[1] = stats(own.c);
	top = thread_stack_top(thread_current());
	const vaddr_t around[] = {
		DIRECT_MAP_BASE, DIRECT_MAP_BASE + 0xa0000, DIRECT_MAP_BASE + 0x100000, DIRECT_MAP_BASE + 0xfee00000,
		DIRECT_MAP_BASE + (1ul << 45), DIRECT_MAP_BASE - (1ul << 32), ram_end, ram_end + (1ul << 32),
		ram_end + (1ul << 41), KSTACK_BASE, DEVICE_MAP_BASE, KERNEL_BASE, 0, PAGE_SIZE, USER_MIN, USER_END,
		1ul << 47, 1ul << 63, -PAGE_SIZE, (vaddr_t)in_data, (vaddr_t)in_rodata, (vaddr_t)objects,
		(vaddr_t)cpu_self(), (vaddr_t)ktest_mm__check_magazine_addresses,
		DIRECT_MAP_BASE + (vaddr_t)in_data - KERNEL_BASE, DIRECT_MAP_BASE + (vaddr_t)in_rodata - KERNEL_BASE,
		(vaddr_t)on_stack, (vaddr_t)top,
		(vaddr_t)boot_stack_bottom, (vaddr_t)boot_stack_top, direct_to_phys(p[0]), direct_to_phys(p[1]),
		direct_to_phys(large), KERNEL_BASE + direct_to_phys(p[0]), KERNEL_BASE + direct_to_phys(large),
	};

	for (unsigned i = 0; i < COUNT(around); i++)
		for (unsigned k = 0; k < COUNT(offs); k++)
			EXPECT(is_nothing(own.c, around[i] + (vaddr_t)offs[k]), around[i] + (vaddr_t)offs[k]);
	for (unsigned bit = 28; bit < 64; bit++)
		for (unsigned k = 0; k < 3; k++) {
			const vaddr_t address = (vaddr_t)(k < 2 ? p[k] : large);

			EXPECT(is_nothing(own.c, address ^ 1ul << bit), address ^ 1ul << bit);
			EXPECT(is_nothing(own.c, address - (1ul << bit)), address - (1ul << bit));
		}
	for (unsigned i = 0; i < 300; i++) {
		random = random_of(&seed);
		if (i % 2)                                      /* in the area, and beyond RAM like as not */
			random = DIRECT_MAP_BASE + (random >> 17 >> i % 16);
		EXPECT(is_nothing(own.c, random), random);
	}
	EXPECT(same(stats(class[3].c), before[0]) && same(stats(own.c), before[1]), 64);
	EXPECT(kmalloc_size(large) == 3 * PAGE_SIZE && kfree(large) == 0, 3 * PAGE_SIZE);
	give(&class[3], p[0], 1);
	give(&own, p[1], 2);
	close_cache(&own);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- flags ---- */

enum { IF = 1 << 9, DF = 1 << 10, TF = 1 << 8, AC = 1 << 18, KEPT = IF | DF | TF | AC };

static uint64_t rflags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

enum act {
	TAKE, ZERO, ALLOC, ALLOC_DEBUG, RUN, TOO_MUCH, KFREE_BAD, FREE_BAD, FREE_BAD_DEBUG, SIZES, KFREE_RUN,
	FREE_DEBUG, FREE_TWICE, FREE, KFREE_ZEROED, KFREE, SHRINK, ACTS
};

static struct {
	void *taken[MOST], *zeroed[MOST], *own[MOST], *debug[MOST], *runs[MOST], *bad[8];
	struct source sources[2];
} kept;

/* Whether it returned what it is to return. */
static bool act_once(enum act what, unsigned i)
{
	struct slab_cache *const own = kept.sources[0].c, *const debug = kept.sources[1].c;
	void *const bad = kept.bad[i % COUNT(kept.bad)];

	switch (what) {
	case TAKE:
		return (kept.taken[i] = kmalloc(48)) != NULL;
	case ZERO:
		return (kept.zeroed[i] = kzalloc(300 + i)) != NULL;
	case ALLOC:
		return (kept.own[i] = slab_alloc(own)) != NULL;
	case ALLOC_DEBUG:
		return (kept.debug[i] = slab_alloc(debug)) != NULL;
	case RUN:
		return (kept.runs[i] = i % 2 ? kmalloc(5000) : kzalloc(4097)) != NULL;
	case TOO_MUCH:
		return kmalloc(i ? KMALLOC_MAX + i : 0) == NULL && kzalloc(0ul - i) == NULL;
	case KFREE_BAD:
		return kfree(bad) == -EINVAL && kfree((char *)kept.taken[i] + 1 + i) == -EINVAL &&
			kfree(kept.own[i]) == -EINVAL && kfree(NULL) == 0;
	case FREE_BAD:
		return slab_free(own, bad) == -EINVAL && slab_free(own, (char *)kept.own[i] + 8) == -EINVAL &&
			slab_free(own, kept.taken[i]) == -EINVAL && slab_free(own, NULL) == -EINVAL;
	case FREE_BAD_DEBUG:
		return slab_free(debug, bad) == -EINVAL && slab_free(debug, (char *)kept.debug[i] + 8) == -EINVAL &&
			slab_free(debug, kept.own[i]) == -EINVAL;
	case SIZES:
		return kmalloc_size(kept.taken[i]) == 48 && kmalloc_size(bad) == 0 && slab_cache_of(kept.own[i]) == own;
	case KFREE_RUN:
		return kfree(kept.runs[i]) == 0 && kfree(kept.runs[i]) == -EINVAL;
	case FREE_DEBUG:
		return slab_free(debug, kept.debug[i]) == 0;
	case FREE_TWICE:
		return slab_free(debug, kept.debug[i]) == -EINVAL;
	case FREE:
		return slab_free(own, kept.own[i]) == 0;
	case KFREE_ZEROED:
		return kfree(kept.zeroed[i]) == 0;
	case KFREE:
		return kfree(kept.taken[i]) == 0;
	default:
		slab_shrink(kept.sources[i % 2].c);
		return true;
	}
}

/* The header: "may be called ... with interrupts on or off, takes its own locks". With "pushfq; cli" and "popfq" on or
 * off they stay, and the preempt count and the direction flag are as before, after each single call: what the magazine
 * has at once, what it has not, and each refusal. */
KTEST(mm, check_magazine_flags)
{
	KASSERT(begin());
	memset(&kept, 0, sizeof kept);
	KASSERT(open_cache(&kept.sources[0], 104, 8, 0));
	KASSERT(open_cache(&kept.sources[1], 104, 8, SLAB_DEBUG));
	for (unsigned off = 0; off < 2; off++)
		for (unsigned n = 0; n < ACTS * MOST; n++) {
			const uint64_t before = rflags();
			const unsigned what = n / MOST, i = n % MOST;
			uint64_t flags, flags_after;
			uint32_t held, held_after;
			bool right;

			if (what == KFREE_BAD && i == 0) {
				char *const p = kept.taken[3], *const run = kept.runs[1];
				char *const bad[] = {
					p + 8, (char *)((vaddr_t)p & -PAGE_SIZE), run + PAGE_SIZE, run + 64,
					(char *)&kept, (char *)thread_stack_top(thread_current()) - 256,
					(char *)(1ul << 47), (char *)KSTACK_BASE - 8,
				};

				_Static_assert(sizeof bad == sizeof kept.bad, "as many");
				memcpy(kept.bad, bad, sizeof bad);
			}
			if (off)
				__asm__ volatile("cli" : : : "memory");
			held = cpu_self()->preempt_count;
			flags = rflags() & KEPT;
			right = act_once((enum act)what, i);
			flags_after = rflags() & KEPT;
			held_after = cpu_self()->preempt_count;
			__asm__ volatile("cld" : : : "memory", "cc");
			if (before & IF)
				__asm__ volatile("sti" : : : "memory");
			EXPECT(right, what);
			EXPECT(flags_after == flags && held_after == held, (uint64_t)off << 32 | what);
			EXPECT(((flags & IF) == 0) == (off != 0), what);
		}
	close_cache(&kept.sources[0]);
	close_cache(&kept.sources[1]);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}

/* ---- interrupted, preempted, moved ---- */

enum { MIXED = 6, SLOTS = 48, TURNS = 1500, TICKS = 150, DISTURBED = 120 };

static struct source mixed[MIXED];
static void *slots[SLOTS];              /* objects that anybody may take away and give back */

static struct worker {
	struct thread *thread;
	struct timer timer;
	uint64_t seed, seed_of_timer;
	uint32_t turns, ticks, kind;
	bool armed, end, done;
} workers[CPU_MAX + 1], disturbers[CPU_MAX];

static uint32_t disturbed;
static unsigned workers_count;
static uint32_t about[CPU_MAX];         /* what whoever ran last on a processor is about: index into mixed[] */

static bool begin_mixed(void)
{
	static const unsigned some[MIXED - 1] = { 0, 2, 3, 6, 7 };

	if (!begin() || !open_cache(&mixed[MIXED - 1], 40, 8, 0))
		return false;
	for (unsigned i = 0; i < MIXED - 1; i++)
		mixed[i] = class[some[i]];
	memset(slots, 0, sizeof slots);
	memset(workers, 0, sizeof workers);
	memset(disturbers, 0, sizeof disturbers);
	disturbed = 0;
	return true;
}

/* Gives back what lies in a slot, whoever has put it there, and puts another object in its place, or nothing. Of what
 * it is its number tells. */
static void exchange(uint64_t r, unsigned k)
{
	void *p = r >> 60 ? take(&mixed[k], (r >> 16) * MIXED + k) : NULL;

	p = __atomic_exchange_n(&slots[r % SLOTS], p, __ATOMIC_ACQ_REL);
	if (p) {
		const uint64_t id = *(uint64_t *)p;

		give(&mixed[id % MIXED], p, id);
	}
}

static void end_mixed(void)
{
	uint64_t left[MIXED] = { 0 };

	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i])
			left[*(uint64_t *)slots[i] % MIXED]++;
	for (unsigned k = 0; k < CLASSES; k++) {
		uint64_t mine = 0;

		for (unsigned i = 0; i < MIXED - 1; i++)
			mine += mixed[i].c == class[k].c ? left[i] : 0;
		EXPECT(stats(class[k].c).live == at_start[k].live + mine, class[k].size);
		EXPECT(stats(class[k].c).errors == at_start[k].errors, class[k].size);
	}
	EXPECT(stats(mixed[MIXED - 1].c).live == left[MIXED - 1], left[MIXED - 1]);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i])
			give(&mixed[*(uint64_t *)slots[i] % MIXED], slots[i], *(uint64_t *)slots[i]);
	close_cache(&mixed[MIXED - 1]);
}

enum { VEC_DEBUG = 1, STEPPED = 12 };

static struct {
	void *held[MIXED][MOST];
	uint64_t seed, came;
	unsigned n[MIXED], now;         /* now: what the interrupted code is about */
	bool gives;
} stepped;

/* After each instruction. Where interrupts are on one may come: it takes an object and keeps it, or gives one back;
 * mostly several of one kind in a row. */
static void on_step(struct trap_frame *f)
{
	uint64_t r;
	unsigned k;

	if (!(f->rflags & IF))
		return;
	r = random_of(&stepped.seed);
	k = r & 7 ? stepped.now : (r >> 8) % MIXED;
	stepped.came++;
	if (r >> 16 & 15)
		stepped.gives = stepped.n[k] == MOST || (stepped.n[k] && stepped.gives);
	else
		stepped.gives = stepped.n[k] != 0;
	if (stepped.gives) {
		void *p = stepped.held[k][--stepped.n[k]];

		give(&mixed[k], p, *(uint64_t *)p);
	} else if (stepped.n[k] < MOST) {
		void *p = stepped.held[k][stepped.n[k]] = take(&mixed[k], r);

		stepped.n[k] += p != NULL;
	}
}

static __attribute__((noipa)) void *get_stepped(const struct source *s)
{
	void *p;

	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	p = get(s);
	__asm__ volatile("pushfq\n\tandq $-257, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	return p;
}

static __attribute__((noipa)) int put_stepped(const struct source *s, void *p)
{
	int error;

	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	error = put(s, p);
	__asm__ volatile("pushfq\n\tandq $-257, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	return error;
}

/* The header: "Not from NMI or machine check handlers": from all others, anywhere in a call, in several classes and a
 * cache at once, whatever is in the magazine: with what is full or empty at the one instruction, and is not at the
 * next. */
KTEST(mm, check_magazine_stepped)
{
	const bool on = rflags() & IF;
	void *mine[STEPPED];
	uint64_t dr6;
	int handler;

	ktest_note("seed", SEED);
	KASSERT(on);
	KASSERT(begin_mixed());
	memset(&stepped, 0, sizeof stepped);
	stepped.seed = SEED;
	__asm__ volatile("movq %%dr6, %0" : "=r"(dr6) : : "memory");
	handler = trap_set_handler(VEC_DEBUG, on_step);
	for (unsigned turn = 0; handler == 0 && turn < 2 * MIXED; turn++) {
		const struct source *s = &mixed[turn % MIXED];

		stepped.now = turn % MIXED;
		for (unsigned i = 0; i < STEPPED; i++) {
			mine[i] = get_stepped(s);
			EXPECT(mine[i], s->size);
			if (mine[i])
				mark(mine[i], s->size, turn << 8 | i);
		}
		for (unsigned i = 0; i < STEPPED; i++) {
			const unsigned at = i * 5 % STEPPED;

			EXPECT(mine[at] && is_marked(mine[at], s->size, turn << 8 | at), s->size);
			EXPECT(put_stepped(s, mine[at]) == 0, s->size);
		}
	}
	if (handler == 0)
		trap_clear_handler(VEC_DEBUG);
	__asm__ volatile("movq %0, %%dr6" : : "r"(dr6) : "memory");
	for (unsigned k = 0; k < MIXED; k++)
		while (stepped.n[k]) {
			void *p = stepped.held[k][--stepped.n[k]];

			give(&mixed[k], p, *(uint64_t *)p);
		}
	end_mixed();
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(handler, 0);
	KASSERT(stepped.came > 1000);
}

static struct thread *start(enum sched_class cls, uint64_t affinity, void (*fn)(void *), void *arg)
{
	const struct thread_attr attr = { "check", cls, affinity };
	struct thread *t = NULL;

	EXPECT(thread_create(&attr, fn, arg, &t) == 0, affinity);
	return t;
}

/* Until it is done; on a slow machine not for long, but until it has begun. */
static bool goes_on(uint64_t from, bool done, bool begun)
{
	return !done && clock_ns() - from < (begun ? ENOUGH : LONG);
}

/* Some turns of one kind in a row, so that magazines run empty and full. */
static void turn(struct worker *w)
{
	if (w->turns % 16 == 0)
		w->kind = random_of(&w->seed) % MIXED;
	SET(about[cpu_self()->index], w->kind);
	exchange(random_of(&w->seed), w->kind);
	w->turns++;
}

/* For who comes in between: mostly of the kind that whoever was running is about. */
static void intrude(uint64_t *seed)
{
	for (unsigned i = 0; i < 4; i++) {
		const uint64_t r = random_of(seed);

		exchange(r, r & 0x700 ? GET(about[cpu_self()->index]) : (r >> 11) % MIXED);
	}
}

static void tick(struct timer *t)
{
	struct worker *w = t->arg;

	intrude(&w->seed_of_timer);
	w->ticks++;
	SET(w->armed, false);
}

static void be_interrupted(void *arg)
{
	struct worker *w = arg;
	const uint64_t from = clock_ns();

	while (goes_on(from, w->turns >= TURNS && GET(w->ticks) >= TICKS, GET(w->ticks) > 0)) {
		if (!GET(w->armed)) {                           /* and not by the interrupt: this one is to get on, too */
			SET(w->armed, true);
			EXPECT(timer_arm(&w->timer, clock_ns() + random_of(&w->seed) % 2048, tick, w) == 0, w->ticks);
		}
		turn(w);
	}
	timer_cancel(&w->timer);
}

/* The header: "may be called on any processor with interrupts on or off"; invariant 1. On each processor a thread of
 * its own takes and gives back in several classes and a cache, and so do interrupts, in the midst of it. What one has
 * taken others give back. Nothing is handed out twice, for each object is marked all over, nothing is lost. */
KTEST(mm, check_magazine_timers)
{
	unsigned idle = 0;

	ktest_note("seed", SEED);
	KASSERT(begin_mixed());
	for (unsigned i = 0; i < cpu_count(); i++) {
		struct worker *w = &workers[i];

		w->seed = SEED + i;
		w->seed_of_timer = ~SEED - i;
		w->thread = start(CLASS_NORMAL, 1ul << i, be_interrupted, w);
	}
	for (unsigned i = 0; i < cpu_count(); i++) {
		EXPECT(workers[i].thread && thread_join(workers[i].thread, 2 * LONG, NULL) == 0, i);
		idle += !workers[i].ticks || !workers[i].turns;
	}
	end_mixed();
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(idle, 0);
}

static void be_moved(void *arg)
{
	struct worker *w = arg;
	const uint64_t from = clock_ns();

	while (goes_on(from, w->turns >= TURNS && GET(disturbed) >= DISTURBED, GET(disturbed) > 0))
		turn(w);
	SET(w->done, true);
}

/* Runs every few microseconds in place of whoever runs on this processor, where it takes and gives back too, and has
 * somebody go on on another one. */
static void disturb(void *arg)
{
	struct worker *w = arg;

	while (!GET(w->end) && GET(disturbed) < 4 * DISTURBED) {
		const uint64_t r = random_of(&w->seed);
		struct thread *t;

		thread_sleep(4000 + r % 8192);
		intrude(&w->seed);
		t = workers[(r >> 16) % workers_count].thread;
		EXPECT(thread_set_affinity(t, 1ul << (r >> 32) % cpu_count()) == 0, r);
		ADD(disturbed, 1);
	}
}

/* The same for threads that are preempted, by threads that do it too, and moved to other processors, anywhere in a
 * call. One more of them than processors. */
KTEST(mm, check_magazine_moved)
{
	const uint64_t from = clock_ns();
	unsigned waiting = 1, idle = 0, made = 0;

	ktest_note("seed", SEED);
	KASSERT(begin_mixed());
	workers_count = cpu_count() + 1;
	for (unsigned i = 0; i < workers_count; i++) {
		workers[i].seed = SEED + i;
		workers[i].thread = start(CLASS_NORMAL, 0, be_moved, &workers[i]);
		made += workers[i].thread != NULL;
	}
	for (unsigned i = 0; made == workers_count && i < cpu_count(); i++) {
		disturbers[i].seed = ~SEED - i;
		disturbers[i].thread = start(CLASS_KERNEL, 1ul << i, disturb, &disturbers[i]);
	}
	while (waiting && clock_ns() - from < 2 * LONG) {
		thread_sleep(100 * US);
		waiting = 0;
		for (unsigned i = 0; i < workers_count; i++)
			waiting += workers[i].thread && !GET(workers[i].done);
	}
	for (unsigned i = 0; i < cpu_count(); i++)
		SET(disturbers[i].end, true);
	for (unsigned i = 0; i < cpu_count(); i++)
		EXPECT(disturbers[i].thread && thread_join(disturbers[i].thread, LONG, NULL) == 0, i);
	for (unsigned i = 0; i < workers_count; i++) {
		EXPECT(workers[i].thread && thread_join(workers[i].thread, LONG, NULL) == 0, i);
		idle += !workers[i].turns;
	}
	end_mixed();
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(idle, 0);
	KASSERT(disturbed > 0);
}

/* ---- no memory ---- */

enum { EACH = 20, HOARDS = CLASSES + 2 };

static struct source hoards[HOARDS];
static void *far[CPU_MAX][HOARDS][EACH];
static unsigned drained;

static void far_take(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	for (unsigned k = 0; k < HOARDS; k++)
		for (unsigned i = 0; i < EACH; i++)
			far[me][k][i] = take(&hoards[k], me * EACH + i);
}

static void far_give(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	for (unsigned k = 0; k < HOARDS; k++)
		for (unsigned i = 0; i < EACH; i++)
			give(&hoards[k], far[me][k][i], me * EACH + i);
}

/* All that can be had here, then NULL. */
static void drain(void *source)
{
	const struct source *s = source;
	const uint64_t flags = rflags() & KEPT;
	const uint32_t held = cpu_self()->preempt_count;
	void *none[2] = { NULL, NULL };

	while (drained < OBJECTS && (objects[drained] = get(s)) != NULL) {
		mark(objects[drained], s->size, drained);
		drained++;
	}
	if (drained < OBJECTS) {
		none[0] = get(s);
		none[1] = s->is_class ? kzalloc(s->size) : get(s);
	}
	EXPECT((rflags() & KEPT) == flags && cpu_self()->preempt_count == held, s->size);
	EXPECT(drained < OBJECTS && !none[0] && !none[1], s->size);
}

/* The header: "NULL: no memory". What lies in magazines and slabs can be had without any, by the processors whose
 * magazines they are; a call that fails changes nothing (invariant 6), not the flags either; what is given back can be
 * had again; then everything works again. */
KTEST(mm, check_magazine_no_memory)
{
	paddr_t others;

	KASSERT(begin());
	memcpy(hoards, class, sizeof class);
	KASSERT(open_cache(&hoards[CLASSES], 200, 8, 0));
	KASSERT(open_cache(&hoards[CLASSES + 1], 200, 8, SLAB_DEBUG));
	on_each(far_take, NULL);
	on_each(far_give, NULL);
	others = hog();
	EXPECT(free_frames() == 0, 0);
	for (unsigned k = 0; k < HOARDS; k++) {
		struct source *s = &hoards[k];
		const struct slab_stats before = stats(s->c);

		drained = 0;
		for (unsigned i = cpu_count(); i--;)
			EXPECT(cpu_call(i, drain, s) == 0, i);
		drain(s);
		EXPECT(drained >= EACH * cpu_count(), s->size);
		EXPECT(stats(s->c).live == before.live + drained && stats(s->c).slabs == before.slabs, s->size);
		EXPECT(stats(s->c).errors == before.errors && free_frames() == 0, s->size);
		for (unsigned i = 0; i < drained; i += 5) {
			give(s, objects[i], i);
			objects[i] = take(s, i);
		}
		EXPECT(stats(s->c).live == before.live + drained, s->size);
		for (unsigned i = 0; i < drained; i++)
			give(s, objects[i], i);
		EXPECT(same(stats(s->c), before), s->size);
	}
	unhog(others);
	on_each(far_take, NULL);
	on_each(far_give, NULL);
	close_cache(&hoards[CLASSES]);
	close_cache(&hoards[CLASSES + 1]);
	KASSERT_EQ(wrongs(), 0);
	KASSERT_EQ(free_frames(), frames_at_start);
}
