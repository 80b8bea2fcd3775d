/* Kernel objects: caches of objects of one size, their slabs, and SLAB_DEBUG. See spec/mm.md, "slab", and mm/slab.h for
 * what a slab is and what guards it; mm/magazine.c allocates and frees. */
#include "slab.h"
#include "panic.h"
#include "string.h"

enum {
	ALIGN_DEFAULT = 16,
	ALIGN_MIN = 8,
	ALIGN_MAX = 4096,
	RED_ZONE = 16,
	RED_BYTE = 0xBB,
};

/* With SLAB_DEBUG, behind the red zone behind an object. */
struct book {
	uint64_t state;
	void *caller;                                   /* while it is live: who allocated it */
};
#define BOOK_LIVE 0xa110ca7eda110ca7ul
#define BOOK_FREE 0xf4eef4eef4eef4eeul

static inline size_t round_up(size_t n, size_t align)
{
	return (n + align - 1) & ~(align - 1);
}

/* Where the caches come from. It has no magazines, so that what is free lies in the slabs and can be given back at
 * once. Filled in here, since it is needed to fill in any other: what set_layout would find, more or less. */
enum { CACHES_FRAMES = 2, CACHES_FIRST = 64 };
#define CACHES_COUNT ((CACHES_FRAMES * PAGE_SIZE - CACHES_FIRST) / sizeof(struct slab_cache))
_Static_assert(CACHES_COUNT >= 2 && sizeof(struct slab) + CACHES_COUNT * sizeof(uint16_t) <= CACHES_FIRST,
	"caches fit into their slab, behind its header");
_Static_assert(CACHES_FIRST % _Alignof(struct slab_cache) == 0, "caches are aligned");

enum { CACHES_SHIFT = 7 };
#define CACHES_INVERSE 0xf0f0f0f1u
_Static_assert(sizeof(struct slab_cache) % (1 << CACHES_SHIFT) == 0 &&
	(uint32_t)(CACHES_INVERSE * (sizeof(struct slab_cache) >> CACHES_SHIFT)) == 1,
	"caches' stride has that inverse and shift");

static struct slab_cache caches = {
	.first = CACHES_FIRST,
	.stride = sizeof(struct slab_cache),
	.inverse = CACHES_INVERSE,
	.shift = CACHES_SHIFT,
	.count = CACHES_COUNT,
	.size = sizeof(struct slab_cache),
	.word = SLAB_WORD,
	.frames = CACHES_FRAMES,
	.name = "slab_cache",
};

/* ---- SLAB_DEBUG ---- */

static bool all_bytes(const void *p, uint8_t byte, size_t n)
{
	const uint8_t *at = p;

	for (; n; n--)
		if (*at++ != byte)
			return false;
	return true;
}

static struct book *book_of(const struct slab_cache *c, void *p)
{
	return (struct book *)((char *)p + round_up(c->size + RED_ZONE, sizeof(uint64_t)));
}

static void zones_set(const struct slab_cache *c, void *p)
{
	memset((char *)p - RED_ZONE, RED_BYTE, RED_ZONE);
	memset((char *)p + c->size, RED_BYTE, RED_ZONE);
}

static bool zones_whole(const struct slab_cache *c, const void *p)
{
	return all_bytes((const char *)p - RED_ZONE, RED_BYTE, RED_ZONE) &&
		all_bytes((const char *)p + c->size, RED_BYTE, RED_ZONE);
}

/* What a constructor made is the user's, and not poisoned. */
static void poison(const struct slab_cache *c, void *p, int byte)
{
	if (!c->ctor)
		memset(p, byte, c->size);
}

static void debug_make(const struct slab_cache *c, void *p)
{
	zones_set(c, p);
	poison(c, p, POISON_FREE);
	*book_of(c, p) = (struct book){ BOOK_FREE, NULL };
}

void slab_debug_take(struct slab_cache *c, void *p, void *caller)
{
	struct book *book = book_of(c, p);

	if (book->state != BOOK_FREE || !zones_whole(c, p) || (!c->ctor && !all_bytes(p, POISON_FREE, c->size)))
		slab_refuse(c);
	zones_set(c, p);
	poison(c, p, POISON_NEW);
	*book = (struct book){ BOOK_LIVE, caller };
}

bool slab_debug_give(const struct slab_cache *c, void *p)
{
	struct book *book = book_of(c, p);

	if (book->state != BOOK_LIVE || !zones_whole(c, p))
		return false;
	poison(c, p, POISON_FREE);
	*book = (struct book){ BOOK_FREE, NULL };
	return true;
}

/* ---- slabs ---- */

struct slab *slab_make(struct slab_cache *c)
{
	struct slab *s;
	paddr_t pa;

	if (c->frames == 1 ? frame_alloc(0, &pa) : frame_alloc_contig(c->frames, c->frames, 0, 0, &pa))
		return NULL;                            /* or slabs of c have no frames: no run is of 0 */
	s = phys_to_virt(pa);
	*s = (struct slab){ .word = c->word ^ (vaddr_t)s, .cache = c };
	for (unsigned i = 0; i < c->frames; i++)
		frame_set_tag(pa + i * PAGE_SIZE, (vaddr_t)s);
	for (unsigned i = 0; i < c->count; i++) {
		s->next_free[i] = (uint16_t)(i + 1);    /* the last one's is never used: the slab is full then */
		if (c->flags & SLAB_DEBUG)
			debug_make(c, slab_object(s, i));
		if (c->ctor)
			c->ctor(slab_object(s, i));
	}
	return s;
}

size_t slab_release(struct slab *s)
{
	const size_t frames = s->cache->frames;
	const paddr_t pa = direct_to_phys(s);

	s->word = 0;                                    /* the frame's next owner may set any tag */
	if (frames == 1 ? frame_free(pa) : frame_free_contig(pa, frames))
		panic("slab: a slab's frame has been freed");
	return frames;
}

/* ---- caches ---- */

/* Of an odd number, mod 2^32. */
static uint32_t inverse_of(uint32_t odd)
{
	uint32_t x = odd;                               /* so in its 3 lowest bits; each step doubles how many */

	for (unsigned bits = 3; bits < 32; bits *= 2)
		x *= 2 - odd * x;
	return x;
}

/* Fills in how c's objects lie in its slabs: in as few frames as leave a fifth or less to something else; if nothing
 * does, as with SLAB_DEBUG and a large alignment, in the most. An object's leading red zone is the end of what lies
 * before it: the header, or another object's stride. */
static void set_layout(struct slab_cache *c, size_t align)
{
	const size_t lead = c->flags & SLAB_DEBUG ? RED_ZONE : 0;
	const size_t stride = c->flags & SLAB_DEBUG ?
		round_up(round_up(c->size + RED_ZONE, sizeof(uint64_t)) + sizeof(struct book) + lead, align) :
		round_up(c->size < SLAB_MIN_SIZE ? SLAB_MIN_SIZE : c->size, align);
	size_t frames = 1, count, first;

	for (;;) {
		for (count = frames * PAGE_SIZE / stride;; count--) {
			first = round_up(sizeof(struct slab) + count * sizeof(uint16_t) + lead, align);
			if (first + count * stride <= frames * PAGE_SIZE)
				break;
		}
		if (count * stride * 5 >= frames * PAGE_SIZE * 4 || frames == SLAB_FRAMES_MAX)
			break;
		frames *= 2;
	}
	c->first = (uint32_t)first;
	c->stride = (uint32_t)stride;
	c->shift = (uint32_t)__builtin_ctz(c->stride);
	c->inverse = inverse_of(c->stride >> c->shift);
	c->count = (uint32_t)count;
	c->frames = (uint16_t)frames;
}

int slab_cache_create(const char *name, size_t size, size_t align, void (*ctor)(void *), unsigned flags,
	struct slab_cache **out)
{
	struct slab_cache *c;

	if (!align)
		align = ALIGN_DEFAULT;
	if (!size || size > SLAB_MAX_SIZE || align < ALIGN_MIN || align > ALIGN_MAX || (align & (align - 1)) ||
	    (flags & ~SLAB_DEBUG))
		return -EINVAL;
	c = slab_take_slowly(&caches, NULL);            /* it has no magazines */
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof *c);
	c->name = name;
	c->size = (uint32_t)size;
	c->ctor = ctor;
	c->flags = flags;
	c->room = flags & SLAB_DEBUG ? 0 : SLAB_MAGAZINE;
	c->word = SLAB_WORD;
	set_layout(c, align);
	*out = c;
	return 0;
}

int slab_cache_destroy(struct slab_cache *c)
{
	const uint64_t irq = spin_lock_irqsave(&c->lock);
	bool busy;

	for (unsigned i = 0; i < CPU_MAX; i++)
		magazine_spill(c, &c->magazines[i], 0);
	busy = c->taken != 0;
	spin_unlock_irqrestore(&c->lock, irq);
	if (busy)
		return -EBUSY;
	slab_shrink(c);
	slab_free(&caches, c);
	slab_shrink(&caches);
	return 0;
}

void slab_get_stats(struct slab_cache *c, struct slab_stats *out)
{
	const uint64_t irq = spin_lock_irqsave(&c->lock);
	uint64_t idle = 0;

	for (unsigned i = 0; i < CPU_MAX; i++)
		idle += __atomic_load_n(&c->magazines[i].n, __ATOMIC_RELAXED);
	*out = (struct slab_stats){
		.live = c->taken > idle ? c->taken - idle : 0,  /* less only if objects went from one to another meanwhile */
		.slabs = c->slabs,
		.frames = c->slabs * c->frames,
		.errors = __atomic_load_n(&c->errors, __ATOMIC_RELAXED),
	};
	spin_unlock_irqrestore(&c->lock, irq);
}

/* The lock is held meanwhile: fn must not call anything for c. */
size_t slab_report_leaks(struct slab_cache *c, void (*fn)(void *obj, void *caller, void *arg), void *arg)
{
	size_t found = 0;
	uint64_t irq;

	if (!(c->flags & SLAB_DEBUG))
		return 0;
	irq = spin_lock_irqsave(&c->lock);
	for (unsigned list = SLAB_PARTIAL; list < SLAB_LISTS; list++)
		for (struct slab *s = c->lists[list]; s; s = s->next)
			for (unsigned i = 0; i < c->count; i++)
				if (s->next_free[i] == SLAB_TAKEN) {
					void *p = slab_object(s, i);

					fn(p, book_of(c, p)->caller, arg);
					found++;
				}
	spin_unlock_irqrestore(&c->lock, irq);
	return found;
}
