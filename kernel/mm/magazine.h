/* The fast paths of kmalloc, kfree, slab_alloc and slab_free: an object between its user and this processor's magazine.
 * See spec/mm.md, "Magazines", which says how few instructions they may take, and mm/slab.h for what slabs and
 * magazines are. Whatever they do not find at once is left to a call at their end, so that they save no registers. */
#pragma once
#include "slab.h"

/* Of mm/frames.c, to look up a tag without a call. Both are written once, by frames_init; until then frame_end is 0.
 * A tag is 0 unless its frame is allocated, so the frame's state need not be looked at. */
extern uint64_t frame_end;                      /* one past the last frame of RAM */
extern uint64_t *tags;                          /* by frame */

enum { MAGAZINE_SHIFT = 7 };
_Static_assert(sizeof(struct magazine) == 1 << MAGAZINE_SHIFT, "a processor's magazine is found by a shift");
_Static_assert(offsetof(struct cpu, index) == 8 && sizeof(((struct cpu *)0)->index) == 4,
	"magazine_take and magazine_give read gs:8");

/* The frame that p, any value, points into, if it is below frame_end. That is below 2^29, as tags, 8 bytes each, lie
 * below 4 GiB: what is past the direct map is beyond it, and what is below the map wraps to far beyond it. */
static inline uint64_t slab_frame(const void *p)
{
	return direct_to_phys(p) / PAGE_SIZE;
}

/* The tag of the frame that p, any value, points into; 0: it has none. */
static inline uint64_t slab_tag(const void *p)
{
	const uint64_t frame = slab_frame(p);

	return frame < frame_end ? tags[frame] : 0;
}

/* The slab, of a cache with that word, whose header is at the start of the frame that p, any value, points into. NULL:
 * none, though p may lie in a later frame of one. The header is not looked at unless the frame's tag is its address,
 * so it is RAM; any owner may have set such a tag, but no header's word. */
static inline struct slab *slab_at(const void *p, uint64_t word)
{
	const uint64_t frame = slab_frame(p);
	const vaddr_t page = (vaddr_t)p & ~(PAGE_SIZE - 1);
	struct slab *s = (struct slab *)page;

	return frame < frame_end && tags[frame] == page && s->word == (word ^ page) ? s : NULL;
}

/* The index of the object that begins at p, which lies in s; count or more: none does. Times the inverse, what is
 * 2^shift * i times the odd part of stride becomes 2^shift * i, which rotated is i. Both map numbers of 32 bits one to
 * one, so nothing else comes to be below count, nor what lies in front of object 0 and wraps. */
static inline uint32_t slab_index(const struct slab *s, const void *p)
{
	const struct slab_cache *c = s->cache;
	const uint32_t at = ((uint32_t)((vaddr_t)p - (vaddr_t)s) - c->first) * c->inverse;

	return at >> c->shift | at << (-c->shift & 31);
}

/* The two critical sections: interrupts are off, so this processor stays this one, and its magazine is nobody else's.
 * RSP is 8 lower in between, which the compiler does not know: each is one statement, and its operands are registers
 * and constants. */

/* An object out of this processor's magazine of c; NULL: it is empty. */
static inline void *magazine_take(struct slab_cache *c)
{
	uint64_t m;                                     /* the magazine, less magazines' offset in the cache */
	void *p;                                        /* first how many there are: 0 is NULL */

	__asm__ volatile(
		"pushfq\n\t"
		"cli\n\t"
		"movl %%gs:8, %k[m]\n\t"
		"shlq %[shift], %[m]\n\t"
		"addq %[c], %[m]\n\t"
		"movq %c[n](%[m]), %[p]\n\t"
		"testq %[p], %[p]\n\t"
		"jz 1f\n\t"
		"decq %c[n](%[m])\n\t"
		"movq %c[objects]-8(%[m],%[p],8), %[p]\n"        /* objects[n - 1] */
		"1:\tpopfq"
		: [m] "=&r"(m), [p] "=&r"(p)
		: [c] "r"(c), [shift] "i"(MAGAZINE_SHIFT), [n] "i"(offsetof(struct slab_cache, magazines[0].n)),
		  [objects] "i"(offsetof(struct slab_cache, magazines[0].objects))
		: "memory", "cc");
	return p;
}

/* Puts p, an object of c, into this processor's magazine; false: it has no room, which is c->room. */
static inline bool magazine_give(struct slab_cache *c, void *p, uint64_t room)
{
	uint64_t m, n;                                  /* m as in magazine_take */

	__asm__ volatile(
		"pushfq\n\t"
		"cli\n\t"
		"movl %%gs:8, %k[m]\n\t"
		"shlq %[shift], %[m]\n\t"
		"addq %[c], %[m]\n\t"
		"movq %c[count](%[m]), %[n]\n\t"
		"cmpq %[room], %[n]\n\t"
		"jae 1f\n\t"
		"movq %[p], %c[objects](%[m],%[n],8)\n\t"
		"incq %c[count](%[m])\n"
		"1:\tpopfq"
		: [m] "=&r"(m), [n] "=&r"(n)
		: [c] "r"(c), [p] "r"(p), [room] "er"(room), [shift] "i"(MAGAZINE_SHIFT),
		  [count] "i"(offsetof(struct slab_cache, magazines[0].n)),
		  [objects] "i"(offsetof(struct slab_cache, magazines[0].objects))
		: "memory", "cc");
	return n < room;
}

/* An object of c; NULL: no memory. For a function that allocates, whose caller slab_report_leaks is to name: inlined,
 * the address is the one that this function returns to, and is not read before it is needed. */
static inline __attribute__((always_inline)) void *slab_take(struct slab_cache *c)
{
	void *p = magazine_take(c);

	return p ? p : slab_take_slowly(c, __builtin_return_address(0));
}

/* Gives p, which lies in s, back to the cache of s, whose room is given. -EINVAL: not an object; SLAB_DEBUG finds
 * misuse. */
static inline int slab_give(struct slab *s, void *p, uint64_t room)
{
	struct slab_cache *c = s->cache;

	if (slab_index(s, p) >= c->count)
		return slab_refuse(c);
	return magazine_give(c, p, room) ? 0 : slab_give_slowly(c, p);
}
