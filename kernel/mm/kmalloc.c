/* Memory of any size: up to SLAB_MAX_SIZE an object of a class of sizes, above that whole frames. See spec/mm.md,
 * "slab". What a pointer is is told by its frame's tag: of a slab's frame the header's address, of the first frame of a
 * run what run_tag says, of the others 0. */
#include "magazine.h"
#include "harness.h"
#include "panic.h"
#include "string.h"

enum { STEP = 16 };                                     /* sizes of classes are multiples */

static const struct {
	const char *name;
	size_t size;
} classes[] = {
	{ "kmalloc-16", 16 }, { "kmalloc-32", 32 }, { "kmalloc-48", 48 }, { "kmalloc-64", 64 }, { "kmalloc-96", 96 },
	{ "kmalloc-128", 128 }, { "kmalloc-192", 192 }, { "kmalloc-256", 256 }, { "kmalloc-384", 384 },
	{ "kmalloc-512", 512 }, { "kmalloc-768", 768 }, { "kmalloc-1024", 1024 }, { "kmalloc-1536", 1536 },
	{ "kmalloc-2048", 2048 }, { "kmalloc-4096", SLAB_MAX_SIZE },
};

/* Stands in where there is no class, so that kmalloc need not ask: slabs of no frames cannot be made, and NULL is what
 * it gives. */
static struct slab_cache none = { .name = "kmalloc-none" };

/* The class of a size, by the size in steps, rounded up; [0] stays none, and before kmalloc_init all are. */
static struct slab_cache *by_steps[SLAB_MAX_SIZE / STEP + 1] = { [0 ... SLAB_MAX_SIZE / STEP] = &none };

/* ---- runs of frames ---- */

/* The tag of the first of count frames has its own address in it, so that no other owner's tag, nor a copy of this one
 * at another frame, is taken for it. */
#define RUN_MAGIC (0x6b6ul << 52)
_Static_assert(RUN_MAGIC >> 52 != DIRECT_MAP_BASE >> 52, "no run's tag is the address of a header");
_Static_assert(KSTACK_BASE - DIRECT_MAP_BASE <= 1ul << 52, "an address of the direct map is below the magic");
_Static_assert(KMALLOC_MAX / PAGE_SIZE < PAGE_SIZE, "a count is below an address");

static uint64_t run_tag(paddr_t pa, size_t count)
{
	return RUN_MAGIC | pa | count;
}

/* How many frames the run has that begins at p, whose frame has that tag; 0: none does. */
static size_t run_count(const void *p, uint64_t tag)
{
	const size_t count = tag % PAGE_SIZE;
	const paddr_t pa = direct_to_phys(p);

	return pa % PAGE_SIZE == 0 && tag == run_tag(pa, count) ? count : 0;
}

static __attribute__((noinline)) void *run_alloc(size_t size, unsigned flags)
{
	const size_t count = (size + PAGE_SIZE - 1) / PAGE_SIZE;
	paddr_t pa;

	if (size > KMALLOC_MAX || by_steps[1] == &none || frame_alloc_contig(count, 1, 0, flags, &pa))
		return NULL;
	frame_set_tag(pa, run_tag(pa, count));
	return phys_to_virt(pa);
}

/* tag: of the frame that p points into. */
static int run_free(void *p, uint64_t tag)
{
	const size_t count = run_count(p, tag);

	if (!p)
		return 0;
	return count ? frame_free_contig(direct_to_phys(p), count) : -EINVAL;
}

/* ---- any size ---- */

/* flags: FRAME_ZERO, for a run. Inlined: see slab_take. */
static inline __attribute__((always_inline)) void *allocate(size_t size, unsigned flags)
{
	if (size > SLAB_MAX_SIZE)
		return run_alloc(size, flags);
	return slab_take(by_steps[(size + STEP - 1) / STEP]);
}

void *kmalloc(size_t size)
{
	return allocate(size, 0);
}

void *kzalloc(size_t size)
{
	void *p = allocate(size, FRAME_ZERO);

	if (p && size <= SLAB_MAX_SIZE)
		memset(p, 0, size);
	return p;
}

/* The rest of kfree: p does not lie in the first frame of a slab of kmalloc's that has magazines. */
static __attribute__((noinline)) int kfree_slowly(void *p)
{
	const uint64_t tag = slab_tag(p);
	struct slab *s = slab_of(p, tag);

	return s && s->cache->kmalloc ? slab_give(s, p, s->cache->room) : run_free(p, tag);
}

int kfree(void *p)
{
	struct slab *s = slab_at(p, SLAB_WORD_KMALLOC);

	return s ? slab_give(s, p, SLAB_MAGAZINE) : kfree_slowly(p);
}

size_t kmalloc_size(const void *p)
{
	const uint64_t tag = slab_tag(p);
	const struct slab *s = slab_of(p, tag);

	if (s)
		return s->cache->kmalloc && slab_index(s, p) < s->cache->count ? s->cache->size : 0;
	return run_count(p, tag) * PAGE_SIZE;
}

/* ---- start ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool has_word(const char *line, const char *word)
{
	const size_t length = strlen(word);

	for (size_t n; *line; line += n ? n : 1) {
		for (n = 0; line[n] && !is_blank(line[n]); n++)
			;
		if (n == length && memcmp(line, word, n) == 0)
			return true;
	}
	return false;
}

static void kmalloc_init(void)
{
	const unsigned flags = has_word(boot_info()->cmdline, "slab.debug") ? SLAB_DEBUG : 0;
	size_t steps = 1;

	for (unsigned i = 0; i < sizeof classes / sizeof *classes; i++) {
		struct slab_cache *c;

		if (slab_cache_create(classes[i].name, classes[i].size, 0, NULL, flags, &c))
			panic("kmalloc_init: no memory for %s", classes[i].name);
		c->kmalloc = true;
		if (c->room)
			c->word = SLAB_WORD_KMALLOC;    /* before its first slab, whose header keeps it */
		for (; steps <= classes[i].size / STEP; steps++)
			by_steps[steps] = c;
	}
}
INIT(INIT_MM + 2, kmalloc_init);
