/* What moves objects between magazines and slabs, and what the fast paths of mm/magazine.h fall back to. See
 * spec/mm.md, "slab", and mm/slab.h for what guards what. Between a fast path and what it falls back to an interrupt
 * may come, or another processor be the one it goes on: all is looked at again under the lock. */
#include "magazine.h"

/* Moved at once: whether taken or given next, there is more to come. */
enum { BATCH = (SLAB_MAGAZINE + 1) / 2 };

/* Calls at the end of the fast paths, so that these save no registers. */
#define SLOW __attribute__((noinline))

/* ---- lists of slabs; under the lock ---- */

static void slab_unlink(struct slab *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
}

/* Into the list it belongs to; at the front, as what was used last is used next. */
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

/* ---- whose a pointer is ---- */

struct slab *slab_of(const void *p, uint64_t tag)
{
	const uint64_t offset = ((vaddr_t)p & ~(PAGE_SIZE - 1)) - tag;
	struct slab *s = (struct slab *)tag;

	/* The header is not looked at unless it lies in an allocated frame of the direct map: else its tag is 0. */
	if (!tag || tag % PAGE_SIZE || offset >= SLAB_FRAMES_MAX * PAGE_SIZE || slab_tag(s) != tag ||
	    (s->word != (SLAB_WORD ^ tag) && s->word != (SLAB_WORD_KMALLOC ^ tag)))
		return NULL;
	return offset < s->cache->frames * PAGE_SIZE ? s : NULL;
}

struct slab_cache *slab_cache_of(const void *p)
{
	const struct slab *s = slab_of(p, slab_tag(p));

	return s ? s->cache : NULL;
}

int slab_refuse(struct slab_cache *c)
{
	__atomic_fetch_add(&c->errors, 1, __ATOMIC_RELAXED);
	return -EINVAL;
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
	return slab_object(s, index);
}

/* Gives back p, an object of c. -EINVAL: it is in the slab already, or the slab is gone: freed twice. */
static int object_give(struct slab_cache *c, const void *p)
{
	struct slab *s = slab_of(p, slab_tag(p));
	uint32_t index;

	if (!s || s->cache != c)
		return slab_refuse(c);
	index = slab_index(s, p);
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

void magazine_spill(struct slab_cache *c, struct magazine *m, uint64_t keep)
{
	while (m->n > keep)
		object_give(c, m->objects[--m->n]);
}

/* ---- allocate and free ---- */

SLOW void *slab_take_slowly(struct slab_cache *c, void *caller)
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
		slab_debug_take(c, p, caller);
	spin_unlock_irqrestore(&c->lock, irq);
	return p;
}

SLOW int slab_give_slowly(struct slab_cache *c, void *p)
{
	const uint64_t irq = spin_lock_irqsave(&c->lock);
	int error = 0;

	if (c->room) {
		struct magazine *m = &c->magazines[cpu_self()->index];

		magazine_spill(c, m, SLAB_MAGAZINE - BATCH);
		m->objects[m->n++] = p;
	} else if ((c->flags & SLAB_DEBUG) && !slab_debug_give(c, p)) {
		error = slab_refuse(c);
	} else {
		error = object_give(c, p);
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return error;
}

void *slab_alloc(struct slab_cache *c)
{
	return slab_take(c);
}

/* The rest of slab_free: p does not lie in the first frame of a slab of c. */
static SLOW int free_slowly(struct slab_cache *c, void *p)
{
	struct slab *s = slab_of(p, slab_tag(p));

	return s && s->cache == c ? slab_give(s, p, c->room) : slab_refuse(c);
}

int slab_free(struct slab_cache *c, void *p)
{
	struct slab *s = slab_at(p, c->word);

	return s && s->cache == c ? slab_give(s, p, c->room) : free_slowly(c, p);
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
