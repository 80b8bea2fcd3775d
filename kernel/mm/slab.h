/* What mm/slab.c, mm/magazine.c and mm/kmalloc.c share. See spec/mm.md.
 *
 * A slab is a run of frames with its header at the start; the tag of each of its frames is the header's address. Which
 * objects are free is told by indices in the header, so nothing is ever written into a free object.
 *
 * A magazine holds free objects of one cache for one processor and is touched by that processor only, with interrupts
 * off; slab_cache_destroy, which is alone with its cache, empties all. To the slabs what lies in a magazine is taken,
 * as is what is live. A cache's lists, the indices in its slabs and its counts are guarded by its lock, which is held
 * over no call that allocates or frees frames, nor over a constructor. */
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

/* The word of a header is one of these ^ the header's own address, so that a copy elsewhere is none. An address has
 * its lowest bits 0: no header of one kind is one of the other kind elsewhere. */
#define SLAB_WORD 0x51ab0b1ec75eed5aul
#define SLAB_WORD_KMALLOC (SLAB_WORD | 1)       /* of one of kmalloc's caches, which has magazines */

struct slab {
	uint64_t word;                          /* 0 once it is released */
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
	/* Never changes once the cache has a slab. Bytes, if nothing else is said. */
	uint32_t first;                         /* from the header to object 0 */
	uint32_t stride;                        /* from one object to the next, with what is around each */
	uint32_t shift;                         /* stride is 2^shift times an odd number */
	uint32_t inverse;                       /* of that number, mod 2^32 */
	uint32_t count;                         /* objects of a slab */
	uint32_t room;                          /* objects a magazine may hold; 0: there is none */
	uint32_t size;                          /* as asked */
	uint32_t flags;                         /* SLAB_DEBUG */
	uint64_t word;                          /* of its slabs' headers, before their address is mixed in */
	uint16_t frames;                        /* of a slab */
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

static inline void *slab_object(const struct slab *s, uint32_t index)
{
	return (char *)s + s->cache->first + index * s->cache->stride;
}

/* ---- slab.c ---- */

/* A new slab of c, in no list yet. NULL: no memory, or slabs of c have no frames. Not under c's lock. */
struct slab *slab_make(struct slab_cache *c);

/* Gives back the frames of a slab that is in no list; how many. Not under its cache's lock. */
size_t slab_release(struct slab *s);

/* Makes the free object p of the SLAB_DEBUG cache c a live one. If it is not as it was left, that is counted and
 * mended. Under c's lock. */
void slab_debug_take(struct slab_cache *c, void *p, void *caller);

/* Makes the live object p a free one; false, and nothing changed: it is not live, or was written around. Under c's
 * lock. */
bool slab_debug_give(const struct slab_cache *c, void *p);

/* ---- magazine.c ---- */

/* Gives all but `keep` of the magazine's objects back to c's slabs. Under c's lock; by who may touch the magazine. */
void magazine_spill(struct slab_cache *c, struct magazine *m, uint64_t keep);

/* An object from c's slabs, and more for this processor's magazine. caller: whom slab_report_leaks names. NULL: no
 * memory, or there are no objects. */
void *slab_take_slowly(struct slab_cache *c, void *caller);

/* Gives back p, an object of c, when this processor's magazine had no room. -EINVAL: SLAB_DEBUG finds misuse. */
int slab_give_slowly(struct slab_cache *c, void *p);

/* Counts misuse of c; -EINVAL. */
int slab_refuse(struct slab_cache *c);

/* The slab that p, any value, lies in, whose frame has that tag; NULL. Tags of other owners may be anything. */
struct slab *slab_of(const void *p, uint64_t tag);
