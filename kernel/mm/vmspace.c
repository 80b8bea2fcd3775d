/* User address spaces. See spec/mm.md, "vmspace" and invariants 1, 3 and 5 to 8.
 *
 * What is mapped is told twice: by the page tables for the processor, page by page, and by the regions, which say
 * whose the frames are. Under the space's lock both say the same, so what the regions allow the tables cannot refuse.
 * Whatever an operation may run out of it has before it changes anything: records and frames from before the lock,
 * tables all at once under it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu.h"
#include "errno.h"
#include "io.h"
#include "mm.h"
#include "panic.h"
#include "spinlock.h"

#define PHYS_END (1ul << 52)                    /* what an entry can say */

/* What stands in the entries of pages whose tables are only being made. No frame is there: the direct map would not
 * reach so far. */
#define NOWHERE  (1ul << 51)
_Static_assert(NOWHERE >= KSTACK_BASE - DIRECT_MAP_BASE, "it is above all RAM");
_Static_assert(NOWHERE + USER_END <= PHYS_END, "all of user space fits there");

/* Pages mapped in a row that are of one kind. */
struct region {
	struct region *next;
	vaddr_t va, end;                        /* page-aligned, va < end */
	unsigned prot;                          /* without VM_USER */
	bool borrowed;
};

struct vmspace {
	paddr_t root;
	struct tlb_domain domain;
	size_t limit;                           /* on frames + tables; 0: none */
	struct spinlock lock;                   /* by vmspace_lock only; for all below, and the tables */
	struct region *regions;                 /* ascending, disjoint */
	size_t frames, tables;                  /* frames owned; tables that stand, the root too */
};

/* By processor, which alone uses its own, interrupts off: whose root is in CR3; NULL: kernel_root. */
static struct vmspace *active[CPU_MAX];

/* ---- what is refused ---- */

static bool range_good(vaddr_t va, size_t len)
{
	return (va | len) % PAGE_SIZE == 0 && len && va >= USER_MIN && va < USER_END && len <= USER_END - va;
}

static bool prot_good(unsigned prot)
{
	return prot == VM_READ || prot == VM_WRITE || prot == VM_EXEC;
}

/* The length of n pages; 0, which is refused, if all of user space has fewer. */
static size_t length_of(size_t n)
{
	return n <= USER_END / PAGE_SIZE ? n * PAGE_SIZE : 0;
}

/* What cannot fail, as the regions say that it can be done. */
static void must(int err)
{
	if (err)
		panic("mm: a user space's tables are not as its regions say: error %d", err);
}

/* ---- the lock ---- */

/* The holder may be shooting down: it waits for this processor, whose interrupts are off, so this one polls
 * (invariant 8). */
uint64_t vmspace_lock(struct vmspace *vs)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	while (!spin_trylock(&vs->lock)) {
		tlb_poll();
		cpu_pause();
	}
	return flags;
}

void vmspace_unlock(struct vmspace *vs, uint64_t flags)
{
	spin_unlock_irqrestore(&vs->lock, flags);
}

/* ---- frames on their way in or out ----
 * A chain by their tags, which are their owner's; 0 ends it. Not by their contents: what has just been unmapped can be
 * written by other processors until it is shot down. */

static void push_frame(paddr_t *chain, paddr_t pa)
{
	frame_set_tag(pa, *chain);
	*chain = pa;
}

static paddr_t pop_frame(paddr_t *chain)
{
	const paddr_t pa = *chain;

	*chain = frame_tag(pa);
	frame_set_tag(pa, 0);
	return pa;
}

static void free_owned(paddr_t pa)
{
	if (frame_free(pa))
		panic("mm: a user space's page is no allocated frame");
}

static void free_chain(paddr_t chain)
{
	while (chain)
		free_owned(pop_frame(&chain));
}

/* New frames onto a chain. -ENOMEM: there are fewer, and these are on it. */
static int alloc_chain(size_t count, paddr_t *chain)
{
	for (; count; count--) {
		paddr_t pa;
		const int err = frame_alloc(FRAME_ZERO, &pa);

		if (err)
			return err;
		push_frame(chain, pa);
	}
	return 0;
}

/* -EINVAL: one cannot be mapped, or not be owned. */
static int check_frames(const paddr_t *frames, size_t count, bool borrowed)
{
	for (size_t i = 0; i < count; i++)
		if (frames[i] % PAGE_SIZE || frames[i] >= PHYS_END || (!borrowed && !frame_managed(frames[i])))
			return -EINVAL;
	return 0;
}

/* For pt_walk, over what is owned: adds the page's frame to the chain at arg. */
static int chain_leaf(const struct pt_entry *e, void *arg)
{
	push_frame(arg, e->pa);
	return 0;
}

/* Likewise: writes it to where *arg, a pointer into an array, points, and moves that on. */
static int store_leaf(const struct pt_entry *e, void *arg)
{
	paddr_t **const to = arg;

	*(*to)++ = e->pa;
	return 0;
}

/* Likewise: frees it, which no processor can reach any more. */
static int free_leaf(const struct pt_entry *e, void *arg)
{
	(void)arg;
	free_owned(e->pa);
	return 0;
}

/* ---- records of regions, which are had before the lock is taken, and given back after ---- */

static void free_records(struct region *list)
{
	while (list) {
		struct region *const r = list;

		list = r->next;
		kfree(r);
	}
}

/* Two, or as many as there are: most often none is needed. */
static struct region *alloc_records(void)
{
	struct region *list = NULL;

	for (unsigned i = 0; i < 2; i++) {
		struct region *const r = kmalloc(sizeof *r);

		if (r) {
			r->next = list;
			list = r;
		}
	}
	return list;
}

/* ---- regions; under the lock ---- */

/* The link to the first that ends above va, or the last link. */
static struct region **find(struct vmspace *vs, vaddr_t va)
{
	struct region **link = &vs->regions;

	while (*link && (*link)->end <= va)
		link = &(*link)->next;
	return link;
}

/* Cuts r in two, with the first of the spare records, of which there is one. */
static void split(struct region *r, vaddr_t at, struct region **spare)
{
	struct region *const upper = *spare;

	*spare = upper->next;
	*upper = *r;
	upper->va = at;
	r->end = at;
	r->next = upper;
}

/* Makes [va, end) whole regions by splitting at its ends, with spare records; *first becomes the link to the first of
 * them. -ENOENT: a page is not mapped; -EPERM: one is borrowed, and all must be owned; -ENOMEM: too few spares. */
static int carve(struct vmspace *vs, vaddr_t va, vaddr_t end, bool owned, struct region **spare, struct region ***first)
{
	struct region **const link = find(vs, va), *last = *link;
	unsigned splits;
	bool borrowed;

	if (!last || last->va > va)
		return -ENOENT;
	for (borrowed = last->borrowed; last->end < end; borrowed |= last->borrowed) {
		if (!last->next || last->next->va != last->end)
			return -ENOENT;
		last = last->next;
	}
	if (owned && borrowed)
		return -EPERM;
	splits = ((*link)->va < va) + (last->end > end);
	for (const struct region *r = *spare; r && splits; r = r->next)
		splits--;
	if (splits)
		return -ENOMEM;

	if (last->end > end)
		split(last, end, spare);
	*first = link;
	if ((*link)->va < va) {
		split(*link, va, spare);
		*first = &(*link)->next;
	}
	return 0;
}

/* May [*va, *va+len) be mapped? VM_ANY becomes the lowest place that it fits in. *missing: how many tables it lacks.
 * -EBUSY: overlaps; -ENOMEM: fits nowhere, or is over the limit. */
static int admit(struct vmspace *vs, vaddr_t *va, size_t len, bool borrowed, size_t *missing)
{
	const struct region *r;

	if (*va == VM_ANY) {
		*va = USER_MIN;
		for (r = vs->regions; r && r->va - *va < len; r = r->next)
			*va = r->end;
		if (USER_END - *va < len)
			return -ENOMEM;
	} else {
		r = *find(vs, *va);
		if (r && r->va < *va + len)
			return -EBUSY;
	}
	*missing = pt_missing(vs->root, *va, len);
	if (vs->limit && vs->frames + vs->tables + *missing + (borrowed ? 0 : len / PAGE_SIZE) > vs->limit)
		return -ENOMEM;
	return 0;
}

/* ---- spaces ---- */

int vmspace_create(size_t limit_frames, struct vmspace **out)
{
	struct vmspace *const vs = kzalloc(sizeof *vs);
	int err;

	if (!vs)
		return -ENOMEM;
	err = pt_create(&vs->root);
	if (err) {
		kfree(vs);
		return err;
	}
	vs->limit = limit_frames;               /* any but 0 has room for the root */
	vs->tables = 1;
	*out = vs;
	return 0;
}

/* Without a processor in the domain nobody has a translation of it, and there is nothing to shoot down. */
int vmspace_destroy(struct vmspace *vs)
{
	if (__atomic_load_n(&vs->domain.cpus, __ATOMIC_SEQ_CST))
		return -EBUSY;
	for (const struct region *r = vs->regions; r; r = r->next)
		if (!r->borrowed)
			pt_walk(vs->root, r->va, r->end - 1, free_leaf, NULL);
	must(pt_destroy(vs->root));
	free_records(vs->regions);
	kfree(vs);
	return 0;
}

paddr_t vmspace_root(const struct vmspace *vs)
{
	return vs->root;
}

/* In the new domain before its root is loaded, out of the old one when it no longer is: from then on the old space may
 * be destroyed by others. */
void vmspace_activate(struct vmspace *vs)
{
	struct vmspace **const mine = &active[cpu_self()->index], *const old = *mine;

	if (vs == old)
		return;
	if (vs)
		tlb_enter(&vs->domain);
	__asm__ volatile("movq %0, %%cr3" : : "r"(vs ? vs->root : kernel_root) : "memory");
	*mine = vs;
	if (old)
		tlb_leave(&old->domain);
}

void vmspace_get_stats(struct vmspace *vs, struct vmspace_stats *out)
{
	const uint64_t flags = vmspace_lock(vs);

	*out = (struct vmspace_stats){ vs->frames, vs->tables, vs->limit };
	vmspace_unlock(vs, flags);
}

/* ---- mapping ---- */

/* Takes all tables that [va, va+len) lacks, so that its pages can be mapped one by one. -ENOMEM, and none is taken.
 *
 * A pt_map of all of it is what takes them all or none; pt_unmap leaves them. Meanwhile the entries lead nowhere and
 * are not the user's. Their addresses are aligned otherwise than va, so that none becomes a large page. They were
 * present, though, and are shot down. */
static int add_tables(struct vmspace *vs, vaddr_t va, size_t len, size_t missing)
{
	int err;

	if (!missing)
		return 0;
	err = pt_map(vs->root, va, NOWHERE + ((va ^ PAGE_SIZE) & (LARGE_PAGE_SIZE - 1)), len, VM_READ);
	if (err == -ENOMEM)
		return err;
	must(err);
	must(pt_unmap(vs->root, va, len));
	tlb_shootdown(&vs->domain, va, len);
	vs->tables += missing;
	return 0;
}

/* Maps frames[], or if that is NULL new frames, which are owned. A place is looked for before any memory is taken, and
 * again with all of it in hand, as others may have been here between. */
static int map(struct vmspace *vs, vaddr_t *va, size_t len, unsigned prot, const paddr_t *frames, bool borrowed)
{
	const size_t count = len / PAGE_SIZE;
	struct region *r, **link;
	paddr_t chain = 0;
	vaddr_t at = *va;
	size_t missing;
	uint64_t flags;
	int err;

	if (!range_good(at == VM_ANY ? USER_MIN : at, len) || !prot_good(prot))
		return -EINVAL;
	flags = vmspace_lock(vs);
	err = admit(vs, &at, len, borrowed, &missing);
	vmspace_unlock(vs, flags);
	if (err)
		return err;

	r = kmalloc(sizeof *r);
	err = frames ? check_frames(frames, count, borrowed) : alloc_chain(count, &chain);
	if (!err && !r)
		err = -ENOMEM;
	if (err)
		goto fail;

	flags = vmspace_lock(vs);
	at = *va;
	err = admit(vs, &at, len, borrowed, &missing);
	if (!err)
		err = add_tables(vs, at, len, missing);
	if (err) {
		vmspace_unlock(vs, flags);
		goto fail;
	}
	for (size_t i = 0; i < count; i++)
		must(pt_map(vs->root, at + i * PAGE_SIZE, frames ? frames[i] : pop_frame(&chain), PAGE_SIZE,
			prot | VM_USER));
	link = find(vs, at);
	*r = (struct region){ *link, at, at + len, prot, borrowed };
	*link = r;
	vs->frames += borrowed ? 0 : count;
	vmspace_unlock(vs, flags);
	*va = at;
	return 0;

fail:
	free_chain(chain);
	kfree(r);
	return err;
}

int vmspace_map_anon(struct vmspace *vs, vaddr_t *va, size_t len, unsigned prot)
{
	return map(vs, va, len, prot, NULL, false);
}

int vmspace_map_frames(struct vmspace *vs, vaddr_t *va, const paddr_t *frames, size_t n, unsigned prot, bool borrowed)
{
	return map(vs, va, length_of(n), prot, frames, borrowed);
}

/* ---- changing what is mapped ---- */

/* Unmaps [va, va+len) and shoots it down; if owned is asked for, only if all of it is. Before, fn gets the leaves that
 * are owned, ascending: their frames are the caller's when this returns 0. -ENOMEM: no record to split a region. */
static int unmap(struct vmspace *vs, vaddr_t va, size_t len, bool owned,
	int (*fn)(const struct pt_entry *, void *), void *arg)
{
	struct region *records, **link;
	uint64_t flags;
	int err;

	if (!range_good(va, len))
		return -EINVAL;
	records = alloc_records();
	flags = vmspace_lock(vs);
	err = carve(vs, va, va + len, owned, &records, &link);
	if (!err) {
		while (*link && (*link)->va < va + len) {
			struct region *const r = *link;

			if (!r->borrowed) {
				pt_walk(vs->root, r->va, r->end - 1, fn, arg);
				vs->frames -= (r->end - r->va) / PAGE_SIZE;
			}
			*link = r->next;
			r->next = records;
			records = r;
		}
		must(pt_unmap(vs->root, va, len));
		tlb_shootdown(&vs->domain, va, len);
	}
	vmspace_unlock(vs, flags);
	free_records(records);
	return err;
}

int vmspace_take_frames(struct vmspace *vs, vaddr_t va, size_t n, paddr_t *frames)
{
	return unmap(vs, va, length_of(n), true, store_leaf, &frames);
}

int vmspace_unmap(struct vmspace *vs, vaddr_t va, size_t len)
{
	paddr_t chain = 0;
	const int err = unmap(vs, va, len, false, chain_leaf, &chain);

	free_chain(chain);
	return err;
}

int vmspace_protect(struct vmspace *vs, vaddr_t va, size_t len, unsigned prot)
{
	struct region *records, **link;
	uint64_t flags;
	int err;

	if (!range_good(va, len) || !prot_good(prot))
		return -EINVAL;
	records = alloc_records();
	flags = vmspace_lock(vs);
	err = carve(vs, va, va + len, false, &records, &link);
	if (!err) {
		for (struct region *r = *link; r && r->va < va + len; r = r->next)
			r->prot = prot;
		must(pt_protect(vs->root, va, len, prot | VM_USER));
		tlb_shootdown(&vs->domain, va, len);
	}
	vmspace_unlock(vs, flags);
	free_records(records);
	return err;
}

/* ---- reading ---- */

/* The root has the kernel's half as well, which is not this space's to tell. */
int vmspace_translate(struct vmspace *vs, vaddr_t va, struct pt_entry *out)
{
	const uint64_t flags = vmspace_lock(vs);
	struct pt_entry e;
	int err = pt_translate(vs->root, va, &e);

	vmspace_unlock(vs, flags);
	if (!err && va >= USER_END)
		err = -ENOENT;
	if (!err)
		*out = e;
	return err;
}

int vmspace_for_each(struct vmspace *vs, int (*fn)(const struct vm_region *, void *), void *arg)
{
	const uint64_t flags = vmspace_lock(vs);
	int err = 0;

	for (const struct region *r = vs->regions; r && !err; r = r->next) {
		const struct vm_region told = { r->va, r->end - r->va, r->prot, r->borrowed };

		err = fn(&told, arg);
	}
	vmspace_unlock(vs, flags);
	return err;
}
