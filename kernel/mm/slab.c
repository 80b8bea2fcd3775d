/* Kernel objects: caches of objects of one size, in slabs. See spec/mm.md, "slab", and mm/slab.h for what a slab is and
 * what guards it. A cache's lock is held over no call that allocates or frees frames, nor over a constructor. */
#include "slab.h"
#include "panic.h"
#include "string.h"

enum {
	BATCH = (SLAB_MAGAZINE + 1) / 2,                /* moved at once: whether taken or given next, there is more to come */
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

static struct slab_cache caches = {
	.first = CACHES_FIRST,
	.span = CACHES_COUNT * sizeof(struct slab_cache),
	.stride = sizeof(struct slab_cache),
	.size = sizeof(struct slab_cache),
	.frames = CACHES_FRAMES,
	.count = CACHES_COUNT,
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

/* Makes the free object p a live one. If it is not as it was left, that is counted and mended. Under the lock. */
static void debug_take(struct slab_cache *c, void *p, void *caller)
{
	struct book *book = book_of(c, p);

	if (book->state != BOOK_FREE || !zones_whole(c, p) || (!c->ctor && !all_bytes(p, POISON_FREE, c->size)))
		slab_refuse(c);
	zones_set(c, p);
	poison(c, p, POISON_NEW);
	*book = (struct book){ BOOK_LIVE, caller };
}

/* Makes the live object p a free one; false, and nothing changed: it is not live, or was written around. Under the
 * lock. */
static bool debug_give(const struct slab_cache *c, void *p)
{
	struct book *book = book_of(c, p);

	if (book->state != BOOK_LIVE || !zones_whole(c, p))
		return false;
	poison(c, p, POISON_FREE);
	*book = (struct book){ BOOK_FREE, NULL };
	return true;
}

/* ---- slabs ---- */

static void *object_at(const struct slab *s, uint32_t index)
{
	return (char *)s + s->cache->first + index * s->cache->stride;
}

static void slab_unlink(struct slab *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
}

/* Into the list it belongs to; at the front, as what was used last is used next. Under the lock. */
static void slab_link(struct slab *s)
{
	struct slab_cache *c = s->cache;
	struct slab **list = &c->lists[!s->used ? SLAB_EMPTY : s->used < c->count ? SLAB_PARTIAL : SLAB_FULL];

	s->link = list;
	s->next = *list;
	if (s->next)
		s->next->link = &s->next;
	*list = s;
}

/* A new one, in no list yet; NULL: no memory. */
static struct slab *slab_make(struct slab_cache *c)
{
	struct slab *s;
	paddr_t pa;

	if (c->frames == 1 ? frame_alloc(0, &pa) : frame_alloc_contig(c->frames, c->frames, 0, 0, &pa))
		return NULL;
	s = phys_to_virt(pa);
	*s = (struct slab){ .magic = SLAB_MAGIC ^ (vaddr_t)s, .cache = c };
	for (unsigned i = 0; i < c->frames; i++)
		frame_set_tag(pa + i * PAGE_SIZE, (vaddr_t)s);
	for (unsigned i = 0; i < c->count; i++) {
		s->next_free[i] = (uint16_t)(i + 1);    /* the last one's is never used: the slab is full then */
		if (c->flags & SLAB_DEBUG)
			debug_make(c, object_at(s, i));
		if (c->ctor)
			c->ctor(object_at(s, i));
	}
	return s;
}

/* Gives back the frames of one that is in no list; how many. */
static size_t slab_release(struct slab *s)
{
	const size_t frames = s->cache->frames;
	const paddr_t pa = direct_to_phys(s);

	s->magic = 0;                                   /* the frame's next owner may set any tag */
	if (frames == 1 ? frame_free(pa) : frame_free_contig(pa, frames))
		panic("slab: a slab's frame has been freed");
	return frames;
}

bool slab_reaches(uint64_t tag, vaddr_t page)
{
	const struct slab *s = (const struct slab *)tag;

	/* The header is not looked at unless it lies in an allocated frame of the direct map: else its tag is 0. */
	return tag % PAGE_SIZE == 0 && page - tag < SLAB_FRAMES_MAX * PAGE_SIZE && slab_tag(s) == tag &&
		s->magic == (SLAB_MAGIC ^ tag) && page - tag < s->cache->frames * PAGE_SIZE;
}

/* ---- objects and slabs; under the lock ---- */

/* NULL: all slabs are full. */
static void *object_take(struct slab_cache *c)
{
	struct slab *s = c->lists[SLAB_PARTIAL] ? c->lists[SLAB_PARTIAL] : c->lists[SLAB_EMPTY];
	uint16_t index;

	if (!s)
		return NULL;
	index = s->free;
	s->free = s->next_free[index];
	s->next_free[index] = SLAB_TAKEN;
	slab_unlink(s);
	s->used++;
	c->taken++;
	slab_link(s);
	return object_at(s, index);
}

/* Gives back p, an object of c. -EINVAL: it is in the slab already, or the slab is gone: freed twice. */
static int object_give(struct slab_cache *c, const void *p)
{
	struct slab *s = slab_of(p, slab_tag(p));
	uint32_t index;

	if (!s || s->cache != c)
		return slab_refuse(c);
	index = (uint32_t)((vaddr_t)p - (vaddr_t)s - c->first) / c->stride;
	if (s->next_free[index] != SLAB_TAKEN)
		return slab_refuse(c);
	s->next_free[index] = s->free;
	s->free = (uint16_t)index;
	slab_unlink(s);
	s->used--;
	c->taken--;
	slab_link(s);
	return 0;
}

/* All but `keep` of the magazine's objects. */
static void magazine_spill(struct slab_cache *c, struct magazine *m, uint64_t keep)
{
	while (m->n > keep)
		object_give(c, m->objects[--m->n]);
}

/* ---- allocate and free ---- */

void *slab_take_slowly(struct slab_cache *c, void *caller)
{
	uint64_t irq = spin_lock_irqsave(&c->lock);
	void *p, *more;

	while ((p = object_take(c)) == NULL) {
		struct slab *s;

		spin_unlock_irqrestore(&c->lock, irq);
		s = slab_make(c);
		if (!s)
			return NULL;
		irq = spin_lock_irqsave(&c->lock);
		c->slabs++;
		slab_link(s);                           /* another may take all of it first: then once more */
	}
	if (c->room) {
		struct magazine *m = &c->magazines[cpu_self()->index];

		while (m->n < BATCH - 1 && (more = object_take(c)) != NULL)
			m->objects[m->n++] = more;
	}
	if (c->flags & SLAB_DEBUG)
		debug_take(c, p, caller);
	spin_unlock_irqrestore(&c->lock, irq);
	return p;
}

int slab_give_slowly(struct slab_cache *c, void *p)
{
	const uint64_t irq = spin_lock_irqsave(&c->lock);
	int error = 0;

	if (c->room) {
		struct magazine *m = &c->magazines[cpu_self()->index];

		magazine_spill(c, m, SLAB_MAGAZINE - BATCH);
		m->objects[m->n++] = p;
	} else if ((c->flags & SLAB_DEBUG) && !debug_give(c, p)) {
		error = slab_refuse(c);
	} else {
		error = object_give(c, p);
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return error;
}

int slab_refuse(struct slab_cache *c)
{
	__atomic_fetch_add(&c->errors, 1, __ATOMIC_RELAXED);
	return -EINVAL;
}

void *slab_alloc(struct slab_cache *c)
{
	return slab_take(c, __builtin_return_address(0));
}

int slab_free(struct slab_cache *c, void *p)
{
	struct slab *s = slab_of(p, slab_tag(p));

	return s && s->cache == c ? slab_give(s, p) : slab_refuse(c);
}

struct slab_cache *slab_cache_of(const void *p)
{
	const struct slab *s = slab_of(p, slab_tag(p));

	return s ? s->cache : NULL;
}

/* ---- caches ---- */

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
	c->span = (uint32_t)(count * stride);
	c->stride = (uint32_t)stride;
	c->frames = (uint16_t)frames;
	c->count = (uint16_t)count;
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
	c = slab_take(&caches, NULL);
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof *c);
	c->name = name;
	c->size = (uint32_t)size;
	c->ctor = ctor;
	c->flags = flags;
	c->room = flags & SLAB_DEBUG ? 0 : SLAB_MAGAZINE;
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

size_t slab_shrink(struct slab_cache *c)
{
	uint64_t irq = spin_lock_irqsave(&c->lock);
	size_t frames = 0;
	struct slab *s;

	magazine_spill(c, &c->magazines[cpu_self()->index], 0);
	while ((s = c->lists[SLAB_EMPTY]) != NULL) {
		slab_unlink(s);
		c->slabs--;
		spin_unlock_irqrestore(&c->lock, irq);
		frames += slab_release(s);
		irq = spin_lock_irqsave(&c->lock);
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return frames;
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
					void *p = object_at(s, i);

					fn(p, book_of(c, p)->caller, arg);
					found++;
				}
	spin_unlock_irqrestore(&c->lock, irq);
	return found;
}
