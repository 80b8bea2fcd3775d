/* Further tests of mm/kmalloc.c, beyond acceptance/mm/kmalloc.c: borders of classes and of pages, sizes that cannot be,
 * what is not from kmalloc, memory in pieces, long random runs, all processors at once, interrupts at every
 * instruction. All of it with slab.debug on the command line or without. See spec/mm.md: the header's section "slab",
 * which is what "the header" below means, "Hardware facts", "What bad input gets", invariants 1 and 6. */
#include "boot.h"
#include "cpu.h"
#include "desc.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

enum { SEED = 0x6b000014, IF = 1 << 9, VEC_DEBUG = 1 };
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* "kmalloc classes" */
static const size_t classes[] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096 };

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

/* The same, but for that many errors more. */
static bool erred(struct slab_stats now, struct slab_stats before, uint64_t errors)
{
	return now.live == before.live && now.slabs == before.slabs && now.frames == before.frames &&
		now.errors == before.errors + errors;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static void shrink_here(void *cache)
{
	slab_shrink(cache);
}

/* All that lies in magazines and empty slabs goes back. Whether it could. */
static bool shrink_all(void)
{
	for (unsigned i = 0; i < COUNT(classes); i++) {
		void *p = kmalloc(classes[i]);
		struct slab_cache *c = slab_cache_of(p);

		if (!p || !c || kfree(p))
			return false;
		cpu_on_each(shrink_here, c);
	}
	return true;
}

/* All of a 16-aligned object, with what only this number has. */
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

static bool is_zero(const void *p, size_t size)
{
	const uint64_t *word = p;
	size_t i = 0;

	for (; i + 8 <= size; i += 8)
		if (*word++)
			return false;
	for (; i < size; i++)
		if (((const uint8_t *)p)[i])
			return false;
	return true;
}

/* The same of its first, its last, and of some bytes of each page only. */
static void mark(void *p, size_t size, uint64_t id)
{
	uint8_t *byte = p;

	for (size_t at = 0; at < size; at += 509)
		byte[at] = (uint8_t)(id + at);
	byte[size - 1] = (uint8_t)(id ^ 0x5a);
	if (size > 17)
		memcpy(byte + 1, &id, 8);
}

static bool is_marked(const void *p, size_t size, uint64_t id)
{
	const uint8_t *byte = p;

	for (size_t at = 0; at < size - 1; at += 509)
		if (byte[at] != (uint8_t)(id + at))
			return false;
	return byte[size - 1] == (uint8_t)(id ^ 0x5a) && (size <= 17 || memcmp(byte + 1, &id, 8) == 0);
}

static size_t pages_of(size_t size)
{
	return (size + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* ---- sizes ---- */

/* "kmalloc classes: 16 32 48 ..."; the header: "16-aligned",
	"kmalloc_size: usable bytes behind p". One byte more than a
 * class has is the next one's; all sizes in between are one cache's. All that is usable is nobody else's. */
KTEST(mm, check_kmalloc_classes)
{
	enum { N = 9 };
	struct slab_cache *last = NULL;

	for (unsigned i = 0; i < COUNT(classes); i++) {
		const size_t size = classes[i], least = i ? classes[i - 1] + 1 : 1;
		const size_t sizes[N] = {
			least, size, least + 1, size - 1, (least + size) / 2, size, least, size, least };
		unsigned unaligned = 0, other = 0, wrong = 0, refused = 0;
		struct slab_cache *c = NULL;
		void *p[N];

		for (unsigned k = 0; k < N; k++) {
			KASSERT((p[k] = kmalloc(sizes[k])) != NULL);
			unaligned += (vaddr_t)p[k] % 16 != 0;
			wrong += kmalloc_size(p[k]) != size;
			fill(p[k], size, k + 1);
			c = k ? c : slab_cache_of(p[k]);
			other += c == NULL || slab_cache_of(p[k]) != c || slab_cache_of((char *)p[k] + size - 1) != c;
		}
		for (unsigned k = 0; k < N; k++) {
			wrong += !is_filled(p[k], size, k + 1) || kmalloc_size(p[k]) != size;
			refused += kfree(p[k]) != 0;
		}
		if (unaligned + other + wrong + refused)
			ktest_note("class", size);
		KASSERT_EQ(unaligned, 0);
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(other, 0);
		KASSERT_EQ(refused, 0);
		KASSERT(c != last);
		last = c;
	}
}

/* The header: "above 4096 page-aligned", up to KMALLOC_MAX; "above that contiguous frames": as many as it takes. */
KTEST(mm, check_kmalloc_borders)
{
	static const long offs[] = { -4097, -4096, -4095, -16, -1, 0, 1, 15, 4095, 4096, 4097 };
	char *previous = NULL;
	size_t previous_size = 0, previous_id = 0;
	unsigned wrong = 0, tried = 0;

	for (size_t power = 2 * PAGE_SIZE; power <= KMALLOC_MAX; power *= 2)
		for (unsigned i = 0; i < COUNT(offs); i++) {
			const size_t size = power + (size_t)offs[i], pages = pages_of(size);
			uint64_t before, after;
			size_t usable;
			char *p;

			if (size <= SLAB_MAX_SIZE || size > KMALLOC_MAX)
				continue;
			before = free_frames();
			KASSERT((p = kmalloc(size)) != NULL);
			after = free_frames();
			usable = kmalloc_size(p);
			wrong += (vaddr_t)p % PAGE_SIZE != 0 || usable < size || usable >= size + PAGE_SIZE;
			wrong += after != before - pages || slab_cache_of(p) != NULL ||
				slab_cache_of(p + size - 1) != NULL;
			mark(p, usable, size);
			if (previous) {                                 /* disjoint from the last one, which goes now */
				wrong += !is_marked(previous, previous_size, previous_id) ||
					kmalloc_size(previous) != previous_size;
				wrong += previous < p + usable && p < previous + previous_size;
				before = free_frames();
				wrong += kfree(previous) != 0 || free_frames() != before + previous_size / PAGE_SIZE;
				wrong += kmalloc_size(previous) != 0;
			}
			wrong += !is_marked(p, usable, size);
			if (wrong)
				ktest_note("size", size);
			KASSERT_EQ(wrong, 0);
			previous = p;
			previous_size = usable;
			previous_id = size;
			tried++;
		}
	KASSERT(tried > 60);
	KASSERT_EQ(kfree(previous), 0);
	KASSERT_EQ(kfree(previous), -EINVAL);
}

/* The header: "NULL: size 0, above KMALLOC_MAX, no memory"; those too that wrap when rounded up, or are small when cut
 * to 32 bits. Nothing is taken. */
KTEST(mm, check_kmalloc_too_large)
{
	unsigned given = 0;
	uint64_t before;

	KASSERT(shrink_all());
	before = free_frames();
	for (size_t more = 1; more <= 2 * PAGE_SIZE; more += more < 20 ? 1 : 241) {
		given += kmalloc(KMALLOC_MAX + more) != NULL || kzalloc(KMALLOC_MAX + more) != NULL;
		given += kmalloc(0 - more) != NULL || kzalloc(0 - more) != NULL;
	}
	for (unsigned bit = 21; bit < 64; bit++)
		for (size_t more = 0; more <= SLAB_MAX_SIZE + 1; more += more < 17 ? 1 : 120) {
			given += kmalloc((1ul << bit) + more) != NULL;
			given += kzalloc((1ul << bit) - more) != NULL;
		}
	given += kmalloc(0) != NULL || kzalloc(0) != NULL || kmalloc(SIZE_MAX) != NULL || kzalloc(SIZE_MAX) != NULL;
	KASSERT_EQ(given, 0);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(kmalloc_size(NULL), 0);
	KASSERT_EQ(kfree(NULL), 0);
}

/* kzalloc: all that was asked for is zero, whatever was there before. */
KTEST(mm, check_kmalloc_zeroed)
{
	enum { N = 5, RUN = 300 };
	static const size_t large[] = { 4097, 8191, 12288, 65535, 262145, KMALLOC_MAX - 1, KMALLOC_MAX };
	unsigned wrong = 0, refused = 0;
	void *p[N];
	paddr_t pa;

	for (unsigned i = 0; i < COUNT(classes); i++)
		for (unsigned less = 0; less < 16; less += 5) {
			const size_t size = classes[i] - less;

			for (unsigned k = 0; k < N; k++) {              /* dirt, in what is given next */
				KASSERT((p[k] = kmalloc(classes[i])) != NULL);
				memset(p[k], 0xd1, classes[i]);
			}
			for (unsigned k = 0; k < N; k++)
				refused += kfree(p[k]) != 0;
			for (unsigned k = 0; k < N; k++) {
				KASSERT((p[k] = kzalloc(size)) != NULL);
				wrong += !is_zero(p[k], size) || kmalloc_size(p[k]) < size || (vaddr_t)p[k] % 16;
				memset(p[k], 0xd1, size);
			}
			for (unsigned k = 0; k < N; k++)
				refused += kfree(p[k]) != 0;
		}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(frame_alloc_contig(RUN, 1, 0, 0, &pa), 0);
	memset(phys_to_virt(pa), 0xd1, RUN * PAGE_SIZE);
	KASSERT_EQ(frame_free_contig(pa, RUN), 0);
	for (unsigned i = 0; i < COUNT(large); i++)
		for (unsigned k = 0; k < 2; k++) {
			KASSERT((p[0] = kzalloc(large[i])) != NULL);
			wrong += !is_zero(p[0], large[i]) || kmalloc_size(p[0]) < large[i] || (vaddr_t)p[0] % PAGE_SIZE;
			memset(p[0], 0xd1, kmalloc_size(p[0]));
			refused += kfree(p[0]) != 0;
		}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(refused, 0);
}

/* ---- what is not from kmalloc ---- */

/* The header: "kfree: -EINVAL: not from kmalloc"; kmalloc_size: "0: not from kmalloc". "A free that is refused counts
 * in errors", nothing changed: each byte of an object but the first, in each class. */
KTEST(mm, check_kmalloc_free_inside)
{
	for (unsigned i = 0; i < COUNT(classes); i++) {
		const size_t size = classes[i];
		char *p = kmalloc(size), *q = kmalloc(size);
		struct slab_cache *c = slab_cache_of(p);
		struct slab_stats before;
		uint64_t errors = 0, frames;
		unsigned wrong = 0;

		KASSERT(p != NULL && q != NULL && c != NULL);
		fill(p, size, 1);
		fill(q, size, 2);
		before = stats(c);
		frames = free_frames();
		for (size_t at = 1; at < size; at += size > 600 ? 7 : 1, errors++)
			wrong += kfree(p + at) != -EINVAL || kmalloc_size(p + at) != 0;
		KASSERT_EQ(wrong, 0);
		KASSERT(erred(stats(c), before, errors));
		KASSERT_EQ(free_frames(), frames);
		KASSERT(is_filled(p, size, 1));
		KASSERT(is_filled(q, size, 2));
		KASSERT_EQ(kmalloc_size(p), size);
		KASSERT_EQ(kfree(p), 0);
		KASSERT_EQ(kfree(q), 0);
	}
}

/* The same of runs: each of their pages but the first, and any byte of any. Then the run is as it was; once freed, it
 * is none any more, be its frames free or another's. */
KTEST(mm, check_kmalloc_free_in_run)
{
	enum { MOST = 256, TRIES = 8 };
	static const size_t pages[] = { 2, 3, 5, 64, MOST };
	paddr_t next[TRIES];

	for (unsigned i = 0; i < COUNT(pages); i++) {
		const size_t size = pages[i] * PAGE_SIZE;
		unsigned wrong = 0, n = 0;
		uint64_t before, after;
		char *p;

		before = free_frames();
		KASSERT((p = kmalloc(size - i)) != NULL);
		fill(p, size, i);
		after = free_frames();
		for (size_t page = 0; page < pages[i]; page++)
			for (size_t at = page ? 0 : 1; at < PAGE_SIZE; at += pages[i] > 10 ? 1021 : at < 32 ? 1 : 61)
				wrong += kfree(p + page * PAGE_SIZE + at) != -EINVAL ||
					kmalloc_size(p + page * PAGE_SIZE + at) != 0;
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(free_frames(), after);
		KASSERT_EQ(kmalloc_size(p), size);
		KASSERT(is_filled(p, size, i));
		KASSERT_EQ(kfree(p), 0);
		KASSERT_EQ(free_frames(), before);
		for (size_t page = 0; page < pages[i]; page++)
			wrong += kfree(p + page * PAGE_SIZE) != -EINVAL || kmalloc_size(p + page * PAGE_SIZE) != 0;
		while (n < TRIES && frame_alloc_contig(pages[i], 1, 0, 0, &next[n]) == 0)
			n++;
		for (size_t page = 0; page < pages[i]; page++)
			wrong += kfree(p + page * PAGE_SIZE) != -EINVAL || kmalloc_size(p + page * PAGE_SIZE) != 0;
		for (unsigned k = 0; k < n; k++) {
			wrong += kfree(phys_to_virt(next[k])) != -EINVAL || kmalloc_size(phys_to_virt(next[k])) != 0;
			wrong += frame_free_contig(next[k], pages[i]) != 0;
		}
		KASSERT_EQ(wrong, 0);
		KASSERT_EQ(free_frames(), before);
	}
}

struct probe {
	void *p;
	int freed;
	size_t size;
};

static void probe(void *arg)
{
	struct probe *b = arg;

	b->freed = kfree(b->p);
	b->size = kmalloc_size(b->p);
}

static bool is_foreign(const void *p)
{
	struct probe b = { (void *)(uintptr_t)p, 0, 1 };

	return trap_catch(probe, &b, NULL) == 0 && b.freed == -EINVAL && b.size == 0;
}

/* The same of what others have: objects of caches of the classes' sizes, frames and runs of frames, whatever their
 * owner keeps with them, the image, stacks, what is no memory. Nothing of it changes. */
KTEST(mm, check_kmalloc_foreign)
{
	static const uint64_t strange[] = {
		1, 8, 16, 0xfff, 0x1000, USER_MIN, 0x100000, 0x123456789000, USER_END - 16, USER_END, 0x800000000000,
		1ul << 63,
		0xffff7fffffffffff, DIRECT_MAP_BASE, DIRECT_MAP_BASE + 16, DIRECT_MAP_BASE + 0xa0000,
		DIRECT_MAP_BASE + (1ul << 45),
		KSTACK_BASE - 4096, KSTACK_BASE - 1, KSTACK_BASE, DEVICE_MAP_BASE, KERNEL_BASE - 1, KERNEL_BASE,
		UINT64_MAX - 4095,
		UINT64_MAX - 15, UINT64_MAX,
	};
	static uint64_t in_bss[4] __attribute__((aligned(4096)));
	uint64_t on_stack[4] = { 0 }, seed = SEED, frames, run_word, slab_word;
	unsigned wrong = 0;
	char *run, *small;
	paddr_t pa, one;

	ktest_note("seed", SEED);
	for (unsigned i = 0; i < 2 * COUNT(classes); i++) {
		const size_t size = classes[i / 2];
		struct slab_stats before;
		struct slab_cache *c;
		char *p;

		KASSERT_EQ(slab_cache_create("check", size, 0, NULL, i % 2 ? SLAB_DEBUG : 0, &c), 0);
		KASSERT((p = slab_alloc(c)) != NULL);
		fill(p, size, i);
		before = stats(c);
		wrong += !is_foreign(p) + !is_foreign(p + 8) + !is_foreign((void *)((vaddr_t)p & -PAGE_SIZE));
		wrong += stats(c).live != before.live || stats(c).frames != before.frames || !is_filled(p, size, i);
		wrong += slab_free(c, p) != 0 || slab_cache_destroy(c) != 0;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT((run = kmalloc(3 * PAGE_SIZE)) != NULL);
	KASSERT((small = kmalloc(100)) != NULL);
	run_word = frame_tag(direct_to_phys(run));
	slab_word = frame_tag(direct_to_phys(small));
	KASSERT_EQ(frame_alloc_contig(3, 1, 0, 0, &pa), 0);
	KASSERT_EQ(frame_alloc(0, &one), 0);
	frames = free_frames();
	for (unsigned i = 0; i < COUNT(strange); i++)
		if (!is_foreign((void *)strange[i])) {
			ktest_note("address", strange[i]);
			wrong++;
		}
	wrong += !is_foreign(in_bss) + !is_foreign(in_bss + 2) + !is_foreign(strange) + !is_foreign(on_stack);
	wrong += !is_foreign((const void *)ktest_mm__check_kmalloc_foreign);
	wrong += !is_foreign((void *)direct_to_phys(run)) + !is_foreign((void *)direct_to_phys(small));
	for (unsigned i = 0; i < 100 && !wrong; i++) {
		const uint64_t words[] = {
			0, run_word, slab_word, run_word + PAGE_SIZE, run_word - 1, 1, 3, pa, one,
			(vaddr_t)phys_to_virt(pa),
			(vaddr_t)phys_to_virt(one), UINT64_MAX, (vaddr_t)run, (vaddr_t)small,
		};
		const uint64_t word = i < COUNT(words) ? words[i] : random_of(&seed);

		for (unsigned k = 0; k < 3; k++)
			frame_set_tag(pa + k * PAGE_SIZE, word);
		frame_set_tag(one, word);
		for (unsigned k = 0; k < 3; k++)
			wrong += !is_foreign(phys_to_virt(pa + k * PAGE_SIZE)) +
				!is_foreign(phys_to_virt(pa + k * PAGE_SIZE + 64));
		wrong += !is_foreign(phys_to_virt(one)) + !is_foreign(phys_to_virt(one + 2048));
		wrong += frame_tag(one) != word || frame_tag(pa + 2 * PAGE_SIZE) != word;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(free_frames(), frames);
	KASSERT_EQ(frame_free_contig(pa, 3), 0);
	KASSERT_EQ(frame_free(one), 0);
	KASSERT_EQ(kmalloc_size(run), 3 * PAGE_SIZE);
	KASSERT_EQ(kfree(run), 0);
	KASSERT_EQ(kfree(small), 0);
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

/* The header: "NULL: no memory": no such run, that is, however many frames there are; nothing changes then (invariant
 * 6). With as many in a row as it takes, those are taken. */
KTEST(mm, check_kmalloc_oom_pieces)
{
	enum { RUN = 64, LONGEST = 8 };
	unsigned wrong = 0, given = 0;
	paddr_t pa, all;

	KASSERT_EQ(frame_alloc_contig(RUN, 1, 0, 0, &pa), 0);
	all = hog();
	for (size_t size = SLAB_MAX_SIZE + 1; size <= KMALLOC_MAX; size *= 2)
		given += kmalloc(size) != NULL || kzalloc(size) != NULL;
	wrong += free_frames() != 0;
	for (unsigned i = 1; i < RUN; i += 2)
		wrong += frame_free(pa + i * PAGE_SIZE) != 0;
	for (size_t size = SLAB_MAX_SIZE + 1; size <= KMALLOC_MAX; size += size < 20000 ? 977 : size)
		given += kmalloc(size) != NULL || kzalloc(size) != NULL;
	wrong += free_frames() != RUN / 2;
	for (unsigned n = 3; n <= LONGEST + 1; n += 2) {                /* then frames 1 to n of the run are free */
		const size_t size = n * PAGE_SIZE;
		char *p;

		wrong += frame_free(pa + (n - 1) * PAGE_SIZE) != 0;
		given += kmalloc(size + 1) != NULL || kzalloc(size + PAGE_SIZE) != NULL;
		wrong += free_frames() != RUN / 2 + n / 2;
		p = n % 4 == 3 ? kmalloc(size) : kzalloc(size - PAGE_SIZE + 1);
		wrong += p != phys_to_virt(pa + PAGE_SIZE) || kmalloc_size(p) < size - PAGE_SIZE + 1;
		if (!p)
			break;
		wrong += free_frames() != RUN / 2 + n / 2 - n || (n % 4 == 1 && !is_zero(p, size - PAGE_SIZE + 1));
		given += kmalloc(2 * PAGE_SIZE) != NULL;
		wrong += kfree(p) != 0 || free_frames() != RUN / 2 + n / 2;
	}
	for (unsigned i = 0; i < RUN; i++)                              /* those that are not free */
		frame_free(pa + i * PAGE_SIZE);
	unhog(all);
	KASSERT_EQ(given, 0);
	KASSERT_EQ(wrong, 0);
}

/* The same for objects: NULL when nothing is left, in all classes; what fails changes no counts; what is freed can be
 * had again by its class; in the end all frames come back. */
KTEST(mm, check_kmalloc_oom_classes)
{
	enum { MOST = 4000 };
	unsigned wrong = 0, left = 0;
	uint64_t base;
	paddr_t all;

	KASSERT(shrink_all());
	base = free_frames();
	all = hog();
	for (unsigned i = 0; i < COUNT(classes); i++) {
		const size_t size = classes[i];
		void *first = NULL, *p;
		unsigned n = 0;

		while (n < MOST && (p = kmalloc(size)) != NULL) {       /* in slabs that others' objects keep */
			*(void **)p = first;
			first = p;
			n++;
		}
		left += n == MOST;
		wrong += kmalloc(size) != NULL || kzalloc(size) != NULL || free_frames() != 0;
		if (first) {
			struct slab_cache *c = slab_cache_of(first);
			struct slab_stats before = stats(c);
			void *again;

			wrong += kmalloc(size) != NULL || !erred(stats(c), before, 0);
			p = first;
			first = *(void **)p;
			wrong += kfree(p) != 0;
			again = kzalloc(size);
			wrong += !again || !is_zero(again, size) || kfree(again) != 0;
		}
		while (first) {
			p = first;
			first = *(void **)p;
			wrong += kfree(p) != 0;
		}
	}
	unhog(all);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(shrink_all());
	KASSERT_EQ(free_frames(), base);
}

/* ---- random work against a model ---- */

enum { SLOTS = 120, OPERATIONS = 5000 };

static struct slot {
	char *p;
	size_t size;                    /* usable: all of it is marked */
	uint64_t id;
} slots[SLOTS];

static size_t random_size(uint64_t r)
{
	switch (r % 8) {
	case 0 ... 2:
		return 1 + (r >> 8) % 256;
	case 3:
		return 1 + (r >> 8) % SLAB_MAX_SIZE;
	case 4:
		return classes[(r >> 8) % COUNT(classes)] + (r >> 16) % 3 - 1;
	case 5:
		return SLAB_MAX_SIZE + 1 + (r >> 8) % 20000;
	case 6:
		return (2 + (r >> 8) % 8) * PAGE_SIZE + (r >> 16) % 3 - 1;
	default:
		return 16 + (r >> 8) % 64;
	}
}

/* All that the header says of kmalloc, kzalloc, kfree and kmalloc_size, and what is refused in between; nothing is lost
 * (invariant 1). */
KTEST(mm, check_kmalloc_model)
{
	uint64_t seed = SEED, base;
	unsigned wrong = 0;

	ktest_note("seed", SEED);
	KASSERT(shrink_all());
	base = free_frames();
	memset(slots, 0, sizeof slots);
	for (unsigned step = 0; step < OPERATIONS && !wrong; step++) {
		const uint64_t r = random_of(&seed);
		struct slot *s = &slots[r % SLOTS];

		if (!s->p) {
			const size_t size = random_size(r >> 8);
			const bool zero = r >> 40 & 1;

			s->p = zero ? kzalloc(size) : kmalloc(size);
			wrong += !s->p || (vaddr_t)s->p % (size > SLAB_MAX_SIZE ? PAGE_SIZE : 16) != 0;
			if (wrong)
				break;
			s->size = kmalloc_size(s->p);
			wrong += s->size < size || (zero && !is_zero(s->p, size));
			s->id = r;
			mark(s->p, s->size, r);
		} else if (r >> 60 == 0) {                              /* not where it begins */
			wrong += kfree(s->p + 1 + (r >> 16) % (s->size - 1)) != -EINVAL;
			wrong += kmalloc_size(s->p + 1 + (r >> 16) % (s->size - 1)) != 0;
		} else {
			wrong += !is_marked(s->p, s->size, s->id) || kmalloc_size(s->p) != s->size || kfree(s->p) != 0;
			wrong += s->size > SLAB_MAX_SIZE && kfree(s->p) != -EINVAL;
			s->p = NULL;
		}
		if (wrong)
			ktest_note("step", step);
	}
	KASSERT_EQ(wrong, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].p)
			wrong += !is_marked(slots[i].p, slots[i].size, slots[i].id) || kfree(slots[i].p) != 0;
	KASSERT_EQ(wrong, 0);
	KASSERT(shrink_all());
	KASSERT_EQ(free_frames(), base);
}

/* ---- all processors ---- */

enum { SHARED = 256, STEPS = 1000 };

/* What stands at the start of what lies in a slot. */
struct head {
	uint64_t id;
	size_t size;
};

static struct head *shared[SHARED];
static uint32_t smp_wrong, arrived;

/* All start at the same time, or as good as: nobody waits for ever. */
static void meet(void)
{
	count(&arrived);
	for (unsigned i = 0; i < 1 << 24 && __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) % cpu_count(); i++)
		cpu_pause();
}

static bool is_whole(const struct head *h)
{
	const uint8_t *end = (const uint8_t *)h + h->size - 1;

	return kmalloc_size(h) >= h->size && (h->size == sizeof *h || *end == (uint8_t)(h->id * 5 + 1)) &&
		h->id % 1000003 == h->size;
}

/* Puts memory, or nothing, where others take it away and free it. */
static void swap_here(void *arg)
{
	const uint64_t me = cpu_self()->index;
	uint64_t seed = SEED + me;

	(void)arg;
	meet();
	for (uint64_t step = 0; step < STEPS; step++) {
		const uint64_t r = random_of(&seed);
		struct head *h = NULL;

		if (r >> 60 > 4) {
			const size_t asked = random_size(r >> 16), size = asked < sizeof *h ? sizeof *h : asked;
			const bool zero = r >> 59 & 1;

			h = zero ? kzalloc(size) : kmalloc(size);
			if (!h || (vaddr_t)h % 16 || (zero && !is_zero(h, size < 200 ? size : 200))) {
				count(&smp_wrong);
				continue;
			}
			h->size = size;
			h->id = (me << 32 | step) * 1000003 + size;
			if (size > sizeof *h)
				((uint8_t *)h)[size - 1] = (uint8_t)(h->id * 5 + 1);
		}
		h = __atomic_exchange_n(&shared[r % SHARED], h, __ATOMIC_ACQ_REL);
		if (h && (!is_whole(h) || kfree(h)))
			count(&smp_wrong);
	}
}

/* Any function "may be called on any processor with interrupts on or off": all allocate, and free what others have. */
KTEST(mm, check_kmalloc_smp)
{
	uint64_t base;

	ktest_note("seed", SEED);
	KASSERT(shrink_all());
	base = free_frames();
	memset(shared, 0, sizeof shared);
	smp_wrong = arrived = 0;
	KASSERT_EQ(cpu_on_each(swap_here, NULL), 0);
	for (unsigned i = 0; i < SHARED; i++)
		if (shared[i] && (!is_whole(shared[i]) || kfree(shared[i])))
			count(&smp_wrong);
	KASSERT_EQ(smp_wrong, 0);
	KASSERT(shrink_all());
	KASSERT_EQ(free_frames(), base);
}

enum { GIVEN = COUNT(classes) * 4 + 4 };

static void *given[GIVEN];

static size_t given_size(unsigned i)
{
	return i < COUNT(classes) * 4 ? classes[i / 4] - i % 4 : SLAB_MAX_SIZE * 2 + i;
}

static void give(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < GIVEN; i++) {
		given[i] = kmalloc(given_size(i));
		if (given[i])
			fill(given[i], given_size(i), i + 7);
		else
			count(&smp_wrong);
	}
}

static void take(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < GIVEN; i++)
		if (!given[i] || !is_filled(given[i], given_size(i), i + 7) || kfree(given[i]))
			count(&smp_wrong);
}

/* The same in turn: from each to each. What it takes does not grow with how often it is done. */
KTEST(mm, check_kmalloc_handed_on)
{
	uint64_t base;

	KASSERT(shrink_all());
	base = free_frames();
	smp_wrong = 0;
	for (unsigned from = 0; from < cpu_count(); from++)
		for (unsigned to = 0; to < cpu_count(); to++)
			for (unsigned round = 0; round < 3; round++) {
				KASSERT_EQ(cpu_call(from, give, NULL), 0);
				KASSERT_EQ(cpu_call(to, take, NULL), 0);
				KASSERT_EQ(smp_wrong, 0);
			}
	KASSERT(shrink_all());
	KASSERT_EQ(free_frames(), base);
}

/* ---- interrupts ---- */

static uint64_t rflags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags;
}

/* "may be called on any processor with interrupts on or off, takes its own locks": on or off they stay, and no lock is
 * held afterwards. Slow ways and fast ones, and what fails. */
KTEST(mm, check_kmalloc_interrupts_kept)
{
	enum { ACTS = 10, ROUNDS = 40 };
	static void *p[ROUNDS];

	for (unsigned off = 0; off < 2; off++)
		for (unsigned i = 0; i < ACTS * ROUNDS; i++) {
			const uint64_t before = rflags();
			const unsigned n = i % ROUNDS;
			uint32_t held, held_after;
			bool was_on, is_on;
			int result = 0;

			if (off)
				__asm__ volatile("cli" : : : "memory");
			held = cpu_self()->preempt_count;
			was_on = rflags() & IF;
			switch (i / ROUNDS) {                           /* what is allocated is freed by a later one */
			case 0:
				p[n] = kmalloc(600);
				break;
			case 1:
				result = kfree((char *)p[n] + 8) + EINVAL;
				break;
			case 2:
				result = kmalloc_size(p[n]) < 600 || kmalloc_size((char *)p[n] + 8);
				break;
			case 3:
			case 5:
			case 7:
				result = kfree(p[n]);
				break;
			case 4:
				p[n] = kzalloc(9000);
				break;
			case 6:
				p[n] = kzalloc(16);
				break;
			case 8:
				result = kmalloc(n ? KMALLOC_MAX + n : 0) != NULL;
				break;
			case 9:
				result = kfree(NULL);
				break;
			}
			is_on = rflags() & IF;
			held_after = cpu_self()->preempt_count;
			if (before & IF)
				__asm__ volatile("sti" : : : "memory");
			else
				__asm__ volatile("cli" : : : "memory");
			if (is_on != was_on || held != held_after || result || !p[n])
				ktest_note("act", i / ROUNDS);
			KASSERT_EQ(is_on, was_on);
			KASSERT_EQ(held_after, held);
			KASSERT_EQ(result, 0);
			KASSERT(p[n] != NULL);
		}
}

enum { HELD = 40 };

static struct {
	struct head *held[HELD];
	unsigned n, wrong;
	uint64_t came;
	bool gives;
} stepped;

static struct head *take_stepped(uint64_t number, size_t size)
{
	struct head *h = number % 3 ? kmalloc(size) : kzalloc(size);

	if (h) {
		h->size = size;
		h->id = number * 1000003 + size;
		if (size > sizeof *h)
			((uint8_t *)h)[size - 1] = (uint8_t)(h->id * 5 + 1);
	} else {
		stepped.wrong++;
	}
	return h;
}

/* After each instruction. Where interrupts are on, one may come: it takes memory, gives it back, in turn. */
static void on_step(struct trap_frame *f)
{
	struct head *h;

	if (!(f->rflags & IF))
		return;
	stepped.came++;
	if (stepped.n == 0 || stepped.n == HELD)
		stepped.gives = stepped.n != 0;
	if (stepped.gives) {
		h = stepped.held[--stepped.n];
		stepped.wrong += !is_whole(h) || kfree(h) != 0;
		return;
	}
	h = take_stepped(stepped.came, stepped.came % 256 == 0 ? 5000 : stepped.came & 1 ? 64 : 16);
	if (h)
		stepped.held[stepped.n++] = h;
}

static __attribute__((noipa)) void be_stepped(void)
{
	static struct head *mine[24];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < COUNT(mine); i++)
			mine[i] = take_stepped(1 << 20 | i, i == 12 ? 6000 : i % 2 ? 64 : 16);
		for (unsigned i = 0; i < COUNT(mine); i++)
			if (mine[i])
				stepped.wrong += !is_whole(mine[i]) || kfree(mine[i]) != 0;
	}
}

/* "Not from NMI or machine check handlers": from all others. An interrupt after each instruction that it can come
 * after, of kmalloc, kzalloc, kfree and kmalloc_size, does the same. */
KTEST(mm, check_kmalloc_interrupted)
{
	const bool on = rflags() & IF;
	uint64_t dr6, base;
	int taken;

	KASSERT(shrink_all());
	base = free_frames();
	memset(&stepped, 0, sizeof stepped);
	taken = trap_set_handler(VEC_DEBUG, on_step);
	if (taken == 0) {
		__asm__ volatile("movq %%dr6, %0" : "=r"(dr6) : : "memory");
		__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
		be_stepped();
		__asm__ volatile("pushfq\n\tandq $-257, (%%rsp)\n\tpopfq" : : : "memory", "cc");
		__asm__ volatile("movq %0, %%dr6" : : "r"(dr6) : "memory");
		trap_clear_handler(VEC_DEBUG);
	}
	KASSERT_EQ(taken, 0);
	KASSERT(on);
	KASSERT(stepped.came > 1000);
	while (stepped.n) {
		struct head *h = stepped.held[--stepped.n];

		stepped.wrong += !is_whole(h) || kfree(h) != 0;
	}
	KASSERT_EQ(stepped.wrong, 0);
	KASSERT(shrink_all());
	KASSERT_EQ(free_frames(), base);
}
