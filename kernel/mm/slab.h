/* What mm/slab.c and mm/kmalloc.c share: a call between them would cost more than kmalloc may. See spec/mm.md.
 *
 * A slab is a run of frames with its header at the start; the tag of each of its frames is the header's address. Which
 * objects are free is told by indices in the header, so nothing is ever written into a free object.
 *
 * A magazine holds free objects of one cache for one processor and is touched by that processor only, with interrupts
 * off; slab_cache_destroy, which is alone with its cache, empties all. To the slabs what lies in a magazine is taken,
 * as is what is live. A cache's lists, the indices in its slabs and its counts are guarded by its lock. */
#pragma once
#include "cpu.h"
#include "mm.h"
#include "spinlock.h"

enum {
	SLAB_MAGAZINE = 15,                     /* with their number two cache lines */
	SLAB_FRAMES_MAX = 8,                    /* of one slab */
	SLAB_TAKEN = UINT16_MAX,                /* in next_free: the object is not in the slab */
};
_Static_assert(SLAB_FRAMES_MAX * PAGE_SIZE / SLAB_MIN_SIZE < SLAB_TAKEN, "no index is SLAB_TAKEN");

#define SLAB_MAGIC 0x51ab0b1ec75eed5bul

struct slab {
	uint64_t magic;                         /* SLAB_MAGIC ^ the header's own address; not so once it is released */
	struct slab_cache *cache;
	struct slab *next, **link;              /* link: what points to this one, in one of the cache's lists */
	uint16_t used;                          /* objects taken */
	uint16_t free;                          /* index of the first that is not, if there is one */
	uint16_t next_free[];                   /* by object: index of the next, or SLAB_TAKEN */
};

struct magazine {
	uint64_t n;
	void *objects[SLAB_MAGAZINE];
} __attribute__((aligned(64)));                 /* no cache line is two processors' */

enum slab_list { SLAB_EMPTY, SLAB_PARTIAL, SLAB_FULL, SLAB_LISTS };

struct slab_cache {
	/* Never changes once the cache is made. Bytes, if nothing else is said. */
	uint32_t first;                         /* from the header to object 0 */
	uint32_t span;                          /* of all objects of a slab, each with what is around it */
	uint32_t stride;                        /* from one to the next */
	uint32_t room;                          /* objects a magazine may hold; 0: there is none */
	uint32_t size;                          /* as asked */
	uint16_t frames, count;                 /* of a slab: frames, objects */
	uint32_t flags;                         /* SLAB_DEBUG */
	bool kmalloc;                           /* one of kmalloc's own */
	const char *name;
	void (*ctor)(void *);

	struct spinlock lock __attribute__((aligned(64)));      /* apart from what the fast paths read */
	struct slab *lists[SLAB_LISTS];         /* each slab is in the one that `used` says */
	uint64_t slabs, taken;                  /* taken: objects, the sum of `used` */
	uint64_t errors;                        /* atomic */

	struct magazine magazines[CPU_MAX];
};
_Static_assert(sizeof(struct slab_cache) <= SLAB_MAX_SIZE, "a cache is an object");

/* In slab.c, what is seldom needed. */

/* An object from the cache's slabs, and more for this processor's magazine. caller: whom slab_report_leaks names.
 * NULL: no memory. */
void *slab_take_slowly(struct slab_cache *c, void *caller);

/* Gives back p, an object of c, when this processor's magazine has no room. -EINVAL: SLAB_DEBUG finds misuse. */
int slab_give_slowly(struct slab_cache *c, void *p);

/* Counts misuse of c; -EINVAL. */
int slab_refuse(struct slab_cache *c);

/* Is tag, not 0, which a frame has that begins at page, the address of the header of a slab that holds this frame? */
bool slab_reaches(uint64_t tag, vaddr_t page);

static inline uint64_t slab_irq_save(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void slab_irq_restore(uint64_t flags)
{
	if (flags & 1ul << 9)                           /* RFLAGS.IF */
		__asm__ volatile("sti" : : : "memory");
}

/* The tag of the frame that p, any value, points into; 0: it has none, or p does not lie in the direct map. */
static inline uint64_t slab_tag(const void *p)
{
	const paddr_t pa = direct_to_phys(p);           /* past the map's end, too, for what lies below it */

	return pa < KSTACK_BASE - DIRECT_MAP_BASE ? frame_tag(pa) : 0;
}

/* The slab that p lies in, whose frame has that tag; NULL. Tags of other owners may be anything, and are told by the
 * word at the start of the header. */
static inline struct slab *slab_of(const void *p, uint64_t tag)
{
	const vaddr_t page = (vaddr_t)p & ~(PAGE_SIZE - 1);
	struct slab *s = (struct slab *)tag;

	if (!tag || (tag != page && !slab_reaches(tag, page)))
		return NULL;
	return s->magic == (SLAB_MAGIC ^ tag) ? s : NULL;
}

/* Is p, which lies in s, where an object begins? */
static inline bool slab_is_object(const struct slab *s, const void *p)
{
	const struct slab_cache *c = s->cache;
	const uint32_t at = (uint32_t)((vaddr_t)p - (vaddr_t)s) - c->first;     /* in the header it wraps, beyond span */

	return at < c->span && at % c->stride == 0;
}

static inline void *slab_take(struct slab_cache *c, void *caller)
{
	const uint64_t irq = slab_irq_save();
	struct magazine *m = &c->magazines[cpu_self()->index];

	if (m->n) {
		void *p = m->objects[--m->n];

		slab_irq_restore(irq);
		return p;
	}
	slab_irq_restore(irq);
	return slab_take_slowly(c, caller);
}

/* Gives p, which lies in s, back to the cache of s. -EINVAL: not an object; SLAB_DEBUG finds misuse. */
static inline int slab_give(struct slab *s, void *p)
{
	struct slab_cache *c = s->cache;
	struct magazine *m;
	uint64_t irq;

	if (!slab_is_object(s, p))
		return slab_refuse(c);
	irq = slab_irq_save();
	m = &c->magazines[cpu_self()->index];
	if (m->n < c->room) {
		m->objects[m->n++] = p;
		slab_irq_restore(irq);
		return 0;
	}
	slab_irq_restore(irq);
	return slab_give_slowly(c, p);
}
