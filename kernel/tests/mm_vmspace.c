/* User address spaces, beyond acceptance/mm/vmspace.c: every refusal with all that it must leave, mappings over the
 * borders of tables and at both ends of user space, limits just reached, frames lent and taken, long lives against a
 * model, memory that runs out, all processors in spaces that change. See spec/mm.md, Interface, "vmspace", and
 * invariants 1, 3, 5, 6, 8; quoted is the page. Nobody else allocates while a test runs. */
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "io.h"
#include "mm.h"
#include "string.h"

enum { SEED = 0x5eed017, IF = 1 << 9 };
#define BASE 0x40000000ull              /* a table of each level begins here, but for the root's */
#define LOWER_END (1ull << 47)
#define CR4_SMAP (1ull << 21)
#define LONG 30000000000ull             /* ns: nothing here waits longer; the machine below may have others to serve */
#define UNTOUCHED 0x7777ull             /* no frame's address */
#define COUNT(array) (sizeof(array) / sizeof *(array))

#define READ(insn) \
	({ uint64_t value_; __asm__ volatile(insn : "=r"(value_) : : "memory"); value_; })

/* SplitMix64 */
static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static bool interrupts_on(void)
{
	return READ("pushfq; pop %0") & IF;
}

static uint64_t interrupts_off(void)
{
	const uint64_t flags = READ("pushfq; pop %0");

	__asm__ volatile("cli" : : : "memory");
	return flags;
}

static void interrupts_restore(uint64_t flags)
{
	if (flags & IF)
		__asm__ volatile("sti" : : : "memory");
}

/* ---- checks that do not return: what was taken has to go back first ---- */

static struct {
	unsigned line;                  /* of the first check that failed; 0 */
	uint64_t got, wanted;
} missed;

static void check_that(unsigned line, uint64_t got, uint64_t wanted)
{
	if (got == wanted || missed.line)
		return;
	missed.line = line;
	missed.got = got;
	missed.wanted = wanted;
}

/* By one processor at a time. */
#define CHECK(got_, wanted_) check_that(__LINE__, (uint64_t)(got_), (uint64_t)(wanted_))

static void checks_begin(void)
{
	memset(&missed, 0, sizeof missed);
}

/* The last act of a test. */
#define CHECKS_END() \
	do { \
		if (missed.line) \
			ktest_note("line", missed.line); \
		KASSERT_EQ(missed.got, missed.wanted); \
	} while (0)

static void shrink_here(void *cache)
{
	slab_shrink(cache);
}

/* Free frames once all that kmalloc keeps for later has gone back: "empty slabs, which stay until then". Interrupts are
 * on. */
static uint64_t settled(void)
{
	static const size_t classes[] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096 };
	struct frame_stats s;

	for (unsigned i = 0; i < COUNT(classes); i++) {
		void *const p = kmalloc(classes[i]);
		struct slab_cache *const cache = p ? slab_cache_of(p) : NULL;

		kfree(p);
		if (cache)
			cpu_on_each(shrink_here, cache);
	}
	frame_get_stats(&s);
	return s.free;
}

/* ---- a space, looked at from all sides ---- */

static struct vmspace_stats stats_of(struct vmspace *vs)
{
	struct vmspace_stats s;

	vmspace_get_stats(vs, &s);
	return s;
}

/* Entry bits: "Hardware facts". */
#define PTE_P  (1ull << 0)
#define PTE_RW (1ull << 1)
#define PTE_US (1ull << 2)
#define PTE_A  (1ull << 5)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000FFFFFFFFFF000ull

/* The table and those below, of the lower half. "Intermediate entries: P, RW, and US in the lower half; never NX." */
static size_t count_tables(paddr_t table, unsigned level, uint64_t *strange)
{
	const uint64_t *const entry = phys_to_virt(table);
	size_t n = 1;

	for (unsigned i = 0; level && i < (level == 3 ? 256 : 512); i++) {
		if (!(entry[i] & PTE_P))
			continue;
		if ((entry[i] & (PTE_P | PTE_RW | PTE_US | PTE_PS | PTE_NX)) == (PTE_P | PTE_RW | PTE_US))
			n += count_tables(entry[i] & PTE_ADDRESS, level - 1, strange);
		else
			++*strange;
	}
	return n;
}

/* No padding: views are compared as bytes. */
struct view {
	struct vmspace_stats stats;
	uint64_t pages, owned, leaves;          /* what for_each tells, and pt_walk */
	uint64_t told, kinds;                   /* hashes of what for_each tells, with whose it is or not */
	uint64_t mapped, frames;                /* hashes of the leaves, by what may be done, and by frame */
	uint64_t last, strange;
};

static void fold(uint64_t *hash, uint64_t a, uint64_t b)
{
	*hash = (*hash ^ a) * 0x9e3779b97f4a7c15;
	*hash = (*hash ^ *hash >> 29 ^ b) * 0xbf58476d1ce4e5b9;
}

/* "Ascending, disjoint, together all that is mapped; prot without VM_USER." Page by page, as what was mapped at once
 * may come in pieces. */
static int tell(const struct vm_region *r, void *arg)
{
	struct view *const v = arg;

	if (!r->len || (r->va | r->len) % PAGE_SIZE || r->va < USER_MIN || r->va < v->last || r->va >= USER_END ||
	    r->len > USER_END - r->va || r->len > 1ul << 28 || r->prot > VM_EXEC) {
		v->strange++;
		return 0;
	}
	v->last = r->va + r->len;
	for (vaddr_t va = r->va; va < v->last; va += PAGE_SIZE) {
		v->pages++;
		v->owned += !r->borrowed;
		fold(&v->told, va, r->prot | (r->borrowed ? 256 : 0));
		fold(&v->kinds, va, r->prot);
	}
	return 0;
}

/* "User pages are 4 KiB always"; "VM_USER is implied"; invariant 3. */
static int look(const struct pt_entry *e, void *arg)
{
	struct view *const v = arg;
	const unsigned prot = e->prot & ~VM_USER;

	v->leaves++;
	v->strange += e->size != PAGE_SIZE || e->va < USER_MIN || e->va >= USER_END || !(e->prot & VM_USER) ||
		prot > VM_EXEC;
	fold(&v->mapped, e->va, prot);
	fold(&v->frames, e->va, e->pa);
	return 0;
}

/* strange is 0 if regions, tables and statistics say the same. The entries of the kernel's half are compared but for A,
 * which the processor sets in the root that it walks, in that one only. */
static struct view view_of(struct vmspace *vs)
{
	const uint64_t *const root = phys_to_virt(vmspace_root(vs)), *const kernel = phys_to_virt(kernel_root);
	struct view v;

	memset(&v, 0, sizeof v);
	vmspace_get_stats(vs, &v.stats);
	v.strange += vmspace_for_each(vs, tell, &v) != 0;
	v.strange += pt_walk(vmspace_root(vs), 0, LOWER_END - 1, look, &v) != 0;
	v.strange += v.kinds != v.mapped || v.pages != v.leaves || v.stats.frames != v.owned;
	v.strange += count_tables(vmspace_root(vs), 3, &v.strange) != v.stats.tables;
	for (unsigned i = 256; i < 512; i++)
		v.strange += ((root[i] ^ kernel[i]) & ~PTE_A) != 0;
	return v;
}

static bool is_as(struct vmspace *vs, const struct view *before)
{
	const struct view now = view_of(vs);

	return !memcmp(&now, before, sizeof now);
}

/* Maps new pages at a place; the error, 1 if they went elsewhere. */
static int map_at(struct vmspace *vs, vaddr_t at, size_t pages, unsigned prot)
{
	vaddr_t va = at;
	const int err = vmspace_map_anon(vs, &va, pages * PAGE_SIZE, prot);

	return err ? err : va != at;
}

/* The same for frames. */
static int lay_at(struct vmspace *vs, vaddr_t at, const paddr_t *frames, size_t n, unsigned prot, bool borrowed)
{
	vaddr_t va = at;
	const int err = vmspace_map_frames(vs, &va, frames, n, prot, borrowed);

	return err ? err : va != at;
}

/* The frame there; 0: none. */
static paddr_t frame_at(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? 0 : e.pa;
}

/* What may be done there; 99: nothing is there. */
static unsigned prot_at(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? 99 : e.prot;
}

static uint64_t *word_of(paddr_t frame)
{
	return phys_to_virt(frame);
}

/* ---- a space of all kinds: w writable, x executable, both anonymous; r frames, owned, to be read; b one frame,
 * borrowed, to be read; . nothing. A character a page, from BASE on. ---- */

static const char kinds[] = "wwwwrrbb.x.bw...";
enum { KINDS = sizeof kinds - 1 };

static struct vmspace *build(const char *layout, paddr_t lent)
{
	struct vmspace *vs;
	paddr_t frames[KINDS];

	if (vmspace_create(0, &vs))
		return NULL;
	for (size_t at = 0, n; layout[at]; at += n) {
		const char kind = layout[at];
		const vaddr_t va = BASE + at * PAGE_SIZE;

		for (n = 1; layout[at + n] == kind; n++)
			;
		if (kind == 'w' || kind == 'x')
			CHECK(map_at(vs, va, n, kind == 'w' ? VM_WRITE : VM_EXEC), 0);
		for (size_t i = 0; i < n; i++) {
			frames[i] = lent;
			if (kind == 'r')
				CHECK(frame_alloc(0, &frames[i]), 0);
		}
		if (kind == 'r' || kind == 'b')
			CHECK(lay_at(vs, va, frames, n, VM_READ, kind == 'b'), 0);
	}
	return vs;
}

static bool has(const char *layout, unsigned first, unsigned n, char kind)
{
	return memchr(layout + first, kind, n) != NULL;
}

static paddr_t spare[KINDS], out[KINDS + 1];

static bool get_spares(void)
{
	for (unsigned i = 0; i < KINDS; i++)
		if (frame_alloc(0, &spare[i]))
			return false;
	for (unsigned i = 0; i < COUNT(out); i++)
		out[i] = UNTOUCHED;
	return true;
}

/* They are the caller's still. */
static void give_spares(void)
{
	for (unsigned i = 0; i < KINDS; i++)
		CHECK(frame_free(spare[i]), 0);
}

static bool out_is_untouched(void)
{
	for (unsigned i = 0; i < COUNT(out); i++)
		if (out[i] != UNTOUCHED)
			return false;
	return true;
}

/* ---- what is refused changes nothing ---- */

/* "-EINVAL: unaligned, outside USER_MIN..USER_END, len 0"; "wrapping, non-canonical": by every call that takes a range.
 * "Changes nothing when it fails." */
KTEST(mm, check_vmspace_ranges)
{
	static const struct {
		vaddr_t va;
		size_t len;
	} bad[] = {
		{ BASE, 0 }, { BASE, 1 }, { BASE, PAGE_SIZE - 1 }, { BASE, PAGE_SIZE + 1 }, { BASE + 8, PAGE_SIZE },
		{ BASE + PAGE_SIZE - 1, PAGE_SIZE }, { BASE + 1, PAGE_SIZE - 1 }, { PAGE_SIZE, USER_MIN },
		{ USER_MIN - PAGE_SIZE, PAGE_SIZE }, { USER_MIN - PAGE_SIZE, BASE }, { USER_END - PAGE_SIZE, 2 * PAGE_SIZE },
		{ USER_MIN, USER_END - USER_MIN + PAGE_SIZE }, { BASE, USER_END - BASE + PAGE_SIZE }, { BASE, USER_END },
		{ USER_END, PAGE_SIZE }, { USER_END + PAGE_SIZE, PAGE_SIZE }, { LOWER_END - PAGE_SIZE, PAGE_SIZE },
		{ LOWER_END - PAGE_SIZE, 2 * PAGE_SIZE }, { LOWER_END, PAGE_SIZE }, { BASE, LOWER_END }, { BASE, 1ull << 63 },
		{ 1ull << 62, PAGE_SIZE }, { DIRECT_MAP_BASE - PAGE_SIZE, 2 * PAGE_SIZE }, { DIRECT_MAP_BASE, PAGE_SIZE },
		{ KSTACK_BASE, PAGE_SIZE }, { DEVICE_MAP_BASE, PAGE_SIZE }, { KERNEL_BASE, PAGE_SIZE }, { BASE, -BASE },
		{ BASE, -BASE + PAGE_SIZE }, { BASE, -PAGE_SIZE }, { BASE + PAGE_SIZE, -PAGE_SIZE },
		{ BASE + 2 * PAGE_SIZE, -PAGE_SIZE }, { -PAGE_SIZE, PAGE_SIZE }, { -PAGE_SIZE, 2 * PAGE_SIZE },
		{ -PAGE_SIZE, BASE + 2 * PAGE_SIZE }, { 1ull << 63, (1ull << 63) + BASE + PAGE_SIZE },
	};
	/* so many pages: their bytes are 0, 1 page, 4 pages, modulo 2^64; more than there are */
	static const size_t too_many[] = { 1ul << 52, (1ul << 52) + 1, (1ul << 52) + 4, 1ul << 63, (1ul << 63) + 1,
		SIZE_MAX, (USER_END - USER_MIN) / PAGE_SIZE + 1, 1ul << 51, 0 };
	const uint64_t before = settled();
	struct vmspace *vs;
	struct view as;
	paddr_t lent;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT((vs = build(kinds, lent)) != NULL);
	KASSERT(get_spares());
	as = view_of(vs);
	CHECK(as.strange, 0);
	for (unsigned i = 0; i < COUNT(bad); i++) {
		vaddr_t va = bad[i].va;
		const size_t len = bad[i].len;

		CHECK(vmspace_map_anon(vs, &va, len, VM_WRITE), -EINVAL);
		CHECK(vmspace_unmap(vs, va, len), -EINVAL);
		CHECK(vmspace_protect(vs, va, len, VM_READ), -EINVAL);
		if (len % PAGE_SIZE == 0) {
			CHECK(vmspace_map_frames(vs, &va, spare, len / PAGE_SIZE, VM_READ, false), -EINVAL);
			CHECK(vmspace_map_frames(vs, &va, spare, len / PAGE_SIZE, VM_READ, true), -EINVAL);
			CHECK(vmspace_take_frames(vs, va, len / PAGE_SIZE, out), -EINVAL);
		}
		CHECK(va, bad[i].va);
		CHECK(is_as(vs, &as), true);
		if (missed.line)
			ktest_note("case", i);
	}
	for (unsigned i = 0; i < COUNT(too_many); i++) {
		vaddr_t va = BASE + 13 * PAGE_SIZE, any = VM_ANY;

		CHECK(vmspace_map_frames(vs, &va, spare, too_many[i], VM_READ, i % 2), -EINVAL);
		CHECK(vmspace_map_frames(vs, &any, spare, too_many[i], VM_READ, i % 2), -EINVAL);
		CHECK(vmspace_take_frames(vs, BASE, too_many[i], out), -EINVAL);
		CHECK(va, BASE + 13 * PAGE_SIZE);
		CHECK(any, VM_ANY);
		CHECK(is_as(vs, &as), true);
	}
	/* 0 is a place only for who maps */
	CHECK(vmspace_unmap(vs, 0, PAGE_SIZE), -EINVAL);
	CHECK(vmspace_protect(vs, 0, PAGE_SIZE, VM_READ), -EINVAL);
	CHECK(vmspace_take_frames(vs, 0, 1, out), -EINVAL);
	CHECK(is_as(vs, &as), true);
	CHECK(out_is_untouched(), true);
	give_spares();
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* "prot: any of WRITE, EXEC (not both); VM_USER is implied"; "-EINVAL: bad prot"; "unaligned". */
KTEST(mm, check_vmspace_prots)
{
	const uint64_t before = settled();
	struct vmspace *vs;
	struct view as;
	paddr_t lent;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT((vs = build(kinds, lent)) != NULL);
	KASSERT(get_spares());
	as = view_of(vs);
	for (unsigned i = 0; i < 32 + 3 * 27; i++) {
		const unsigned prot = i < 32 ? i : (i - 32) % 3 | 1u << ((i - 32) / 3 + 5);
		vaddr_t va = BASE + 13 * PAGE_SIZE, any = VM_ANY;

		if (prot <= VM_EXEC)
			continue;
		CHECK(vmspace_map_anon(vs, &va, PAGE_SIZE, prot), -EINVAL);
		CHECK(vmspace_map_anon(vs, &any, PAGE_SIZE, prot), -EINVAL);
		CHECK(vmspace_map_frames(vs, &va, spare, 2, prot, false), -EINVAL);
		CHECK(vmspace_map_frames(vs, &any, spare, 2, prot, true), -EINVAL);
		CHECK(va, BASE + 13 * PAGE_SIZE);
		CHECK(any, VM_ANY);
		CHECK(vmspace_protect(vs, BASE, PAGE_SIZE, prot), -EINVAL);
		CHECK(vmspace_protect(vs, BASE, 8 * PAGE_SIZE, prot), -EINVAL);
		CHECK(vmspace_protect(vs, BASE + 9 * PAGE_SIZE, PAGE_SIZE, prot), -EINVAL);
		CHECK(is_as(vs, &as), true);
	}
	for (unsigned i = 0; i < 4; i++) {                      /* a frame that is none, first or last */
		vaddr_t va = BASE + 13 * PAGE_SIZE;
		paddr_t frames[] = { spare[0], spare[1], spare[2] };

		frames[i % 2 * 2] |= i < 2 ? 1 : PAGE_SIZE / 2;
		CHECK(vmspace_map_frames(vs, &va, frames, 3, VM_READ, false), -EINVAL);
		CHECK(vmspace_map_frames(vs, &va, frames, 3, VM_READ, true), -EINVAL);
		CHECK(va, BASE + 13 * PAGE_SIZE);
		CHECK(is_as(vs, &as), true);
	}
	/* all that is good, on all kinds at once, and back */
	for (unsigned prot = VM_READ; prot <= VM_EXEC; prot++) {
		CHECK(vmspace_protect(vs, BASE, 8 * PAGE_SIZE, prot), 0);
		for (unsigned i = 0; i < 8; i++)
			CHECK(prot_at(vs, BASE + i * PAGE_SIZE), prot | VM_USER);
		CHECK(view_of(vs).strange, 0);
		CHECK(view_of(vs).frames, as.frames);
	}
	CHECK(vmspace_protect(vs, BASE, 4 * PAGE_SIZE, VM_WRITE), 0);
	CHECK(vmspace_protect(vs, BASE + 4 * PAGE_SIZE, 4 * PAGE_SIZE, VM_READ), 0);
	CHECK(is_as(vs, &as), true);
	give_spares();
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* Each stretch of a space of all kinds: "-EBUSY: overlaps a mapping"; "-ENOENT: a page of it is not mapped"; "-EPERM:
 * one is borrowed". Where two hold either may be said. */
KTEST(mm, check_vmspace_stretches)
{
	const uint64_t before = settled();
	struct vmspace *vs;
	struct view as;
	paddr_t lent;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT((vs = build(kinds, lent)) != NULL);
	KASSERT(get_spares());
	frame_set_tag(lent, 0x7a9);
	as = view_of(vs);
	for (unsigned first = 0; first < KINDS; first++)
		for (unsigned n = 1; n <= KINDS - first; n++) {
			const vaddr_t at = BASE + first * PAGE_SIZE;
			const bool hole = has(kinds, first, n, '.'), borrowed = has(kinds, first, n, 'b');
			unsigned holes = 0;
			vaddr_t va = at;

			for (unsigned i = 0; i < n; i++)
				holes += kinds[first + i] == '.';
			if (holes < n) {
				CHECK(vmspace_map_anon(vs, &va, n * PAGE_SIZE, first % 3), -EBUSY);
				CHECK(vmspace_map_frames(vs, &va, spare, n, VM_WRITE, false), -EBUSY);
				CHECK(vmspace_map_frames(vs, &va, spare, n, VM_EXEC, true), -EBUSY);
			}
			if (hole) {
				CHECK(vmspace_unmap(vs, at, n * PAGE_SIZE), -ENOENT);
				CHECK(vmspace_protect(vs, at, n * PAGE_SIZE, (first + n) % 3), -ENOENT);
			}
			if (hole || borrowed) {
				const int err = vmspace_take_frames(vs, at, n, out);

				CHECK((hole && err == -ENOENT) || (borrowed && err == -EPERM), true);
			}
			CHECK(va, at);
			CHECK(is_as(vs, &as), true);
		}
	CHECK(out_is_untouched(), true);
	CHECK(frame_tag(lent), 0x7a9);
	give_spares();
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_tag(lent), 0x7a9);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* "As pt_translate; only what is user space's": the leaf that holds va, at any byte of it; -ENOENT, -EINVAL for what
 * is not canonical; then *out is as it was. */
KTEST(mm, check_vmspace_translate)
{
	static const vaddr_t offsets[] = { 0, 1, 8, PAGE_SIZE / 2, PAGE_SIZE - 1 };
	static const vaddr_t holes[] = { 0, 1, PAGE_SIZE, USER_MIN - 1, USER_MIN, BASE - 1, BASE + 3 * PAGE_SIZE, USER_END - 1,
		USER_END, LOWER_END - 1, DIRECT_MAP_BASE, KSTACK_BASE, KERNEL_BASE, UINT64_MAX };
	static const vaddr_t strange[] = { LOWER_END, LOWER_END + BASE, 1ull << 62, 1ull << 63, DIRECT_MAP_BASE - 1 };
	const uint64_t before = settled();
	struct pt_entry e, untouched;
	struct vmspace *vs;

	checks_begin();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	CHECK(map_at(vs, BASE, 3, VM_EXEC), 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < COUNT(offsets); k++) {
			const vaddr_t page = BASE + i * PAGE_SIZE;

			CHECK(vmspace_translate(vs, page + offsets[k], &e), 0);
			CHECK(e.va, page);
			CHECK(e.pa, frame_at(vs, page));
			CHECK(e.pa % PAGE_SIZE, 0);
			CHECK(e.size, PAGE_SIZE);
			CHECK(e.prot, VM_EXEC | VM_USER);
		}
	memset(&untouched, 0x5a, sizeof untouched);
	e = untouched;
	for (unsigned i = 0; i < COUNT(holes); i++)
		CHECK(vmspace_translate(vs, holes[i], &e), -ENOENT);
	/* the kernel's own, which is there, but not the user's */
	CHECK(vmspace_translate(vs, (vaddr_t)kinds, &e), -ENOENT);
	CHECK(vmspace_translate(vs, (vaddr_t)&missed, &e), -ENOENT);
	CHECK(vmspace_translate(vs, (vaddr_t)phys_to_virt(kernel_root), &e), -ENOENT);
	for (unsigned i = 0; i < COUNT(strange); i++)
		CHECK(vmspace_translate(vs, strange[i], &e), -EINVAL);
	CHECK(memcmp(&e, &untouched, sizeof e), 0);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- tables ---- */

/* Two pages on either side of where a table of each level ends, and at both ends of user space: tables are counted as
 * pt_missing says, both pages are had, and each alone. "Empty page tables stay." */
KTEST(mm, check_vmspace_borders)
{
	static const vaddr_t borders[] = { USER_MIN + PAGE_SIZE, BASE, BASE + LARGE_PAGE_SIZE, BASE + 512 * LARGE_PAGE_SIZE,
		1ull << 39, 5ull << 39, (1ull << 39) - LARGE_PAGE_SIZE, 255ull << 39, USER_END - PAGE_SIZE };
	const uint64_t before = settled();
	struct vmspace *vs;
	size_t tables = 1;
	struct view v;

	checks_begin();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < COUNT(borders); i++) {
			const vaddr_t at = borders[i] - PAGE_SIZE;
			const size_t missing = pt_missing(vmspace_root(vs), at, 2 * PAGE_SIZE);
			paddr_t frames[2], back[2];

			CHECK(missing == 0, round == 1);
			CHECK(map_at(vs, at, 2, VM_WRITE), 0);
			tables += missing;
			CHECK(stats_of(vs).tables, tables);
			CHECK(stats_of(vs).frames, 2);
			for (unsigned k = 0; k < 2; k++) {
				frames[k] = frame_at(vs, at + k * PAGE_SIZE);
				CHECK(frames[k] != 0, true);
				if (frames[k])
					*word_of(frames[k]) = i * 2 + k;
			}
			CHECK(frames[0] != frames[1], true);
			CHECK(vmspace_protect(vs, at, 2 * PAGE_SIZE, VM_READ), 0);
			CHECK(vmspace_protect(vs, at + PAGE_SIZE, PAGE_SIZE, VM_EXEC), 0);
			CHECK(prot_at(vs, at), VM_READ | VM_USER);
			CHECK(prot_at(vs, at + PAGE_SIZE), VM_EXEC | VM_USER);
			CHECK(vmspace_take_frames(vs, at, 2, back), 0);
			CHECK(back[0], frames[0]);
			CHECK(back[1], frames[1]);
			CHECK(stats_of(vs).frames, 0);
			CHECK(lay_at(vs, at, back, 2, VM_WRITE, false), 0);
			CHECK(vmspace_unmap(vs, at + i % 2 * PAGE_SIZE, PAGE_SIZE), 0);
			CHECK(frame_at(vs, at + i % 2 * PAGE_SIZE), 0);
			CHECK(frame_at(vs, at + !(i % 2) * PAGE_SIZE), frames[!(i % 2)]);
			if (frames[!(i % 2)])
				CHECK(*word_of(frames[!(i % 2)]), i * 2 + !(i % 2));
			CHECK(vmspace_unmap(vs, at, 2 * PAGE_SIZE), -ENOENT);
			CHECK(vmspace_unmap(vs, at + !(i % 2) * PAGE_SIZE, PAGE_SIZE), 0);
			v = view_of(vs);
			CHECK(v.strange, 0);
			CHECK(v.stats.tables, tables);
			CHECK(v.pages, 0);
		}
	CHECK(vmspace_destroy(vs), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

enum { RUN = 512 };
static paddr_t run[2 * RUN];

/* "User pages are 4 KiB always", where pt_map alone would make them large: frames in a row and address aligned alike,
 * owned, borrowed, anonymous. Each page goes its own way then. */
KTEST(mm, check_vmspace_small_pages)
{
	const uint64_t before = settled();
	const vaddr_t lent_at = BASE + 8 * LARGE_PAGE_SIZE, anon_at = BASE + 16 * LARGE_PAGE_SIZE;
	struct vmspace *vs;
	struct view v;
	paddr_t pa;

	checks_begin();
	KASSERT_EQ(frame_alloc_contig(RUN, RUN, 0, 0, &pa), 0);
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	for (unsigned i = 0; i < 2 * RUN; i++)
		run[i] = pa + i % RUN * PAGE_SIZE;
	CHECK(lay_at(vs, BASE, run, RUN, VM_WRITE, false), 0);
	CHECK(lay_at(vs, lent_at, run, 2 * RUN, VM_READ, true), 0);
	CHECK(map_at(vs, anon_at, RUN + 1, VM_WRITE), 0);
	for (unsigned i = 0; i < 2 * RUN; i++) {
		struct pt_entry e;

		CHECK(vmspace_translate(vs, lent_at + i * PAGE_SIZE + 1, &e), 0);
		CHECK(e.size, PAGE_SIZE);
		CHECK(e.pa, run[i]);
		if (i < RUN) {
			CHECK(vmspace_translate(vs, BASE + i * PAGE_SIZE, &e), 0);
			CHECK(e.size, PAGE_SIZE);
			CHECK(e.pa, run[i]);
			CHECK(vmspace_translate(vs, anon_at + i * PAGE_SIZE, &e), 0);
			CHECK(e.size, PAGE_SIZE);
		}
	}
	v = view_of(vs);
	CHECK(v.strange, 0);
	CHECK(v.pages, 4 * RUN + 1);
	CHECK(v.stats.frames, 2 * RUN + 1);
	CHECK(v.stats.tables, 3 + 1 + 2 + 2);           /* root and two levels; a table for each 2 MiB that is touched */
	CHECK(vmspace_unmap(vs, lent_at + 100 * PAGE_SIZE, (RUN + 100) * PAGE_SIZE), 0);
	CHECK(vmspace_protect(vs, BASE + 7 * PAGE_SIZE, PAGE_SIZE, VM_EXEC), 0);
	CHECK(vmspace_unmap(vs, anon_at + PAGE_SIZE, (RUN - 1) * PAGE_SIZE), 0);
	CHECK(frame_at(vs, lent_at + 99 * PAGE_SIZE), run[99]);
	CHECK(frame_at(vs, lent_at + 100 * PAGE_SIZE), 0);
	CHECK(frame_at(vs, lent_at + (RUN + 199) * PAGE_SIZE), 0);
	CHECK(frame_at(vs, lent_at + (RUN + 200) * PAGE_SIZE), run[200]);
	CHECK(prot_at(vs, BASE + 6 * PAGE_SIZE), VM_WRITE | VM_USER);
	CHECK(prot_at(vs, BASE + 7 * PAGE_SIZE), VM_EXEC | VM_USER);
	CHECK(prot_at(vs, BASE + 8 * PAGE_SIZE), VM_WRITE | VM_USER);
	v = view_of(vs);
	CHECK(v.strange, 0);
	CHECK(v.stats.frames, RUN + 2);
	CHECK(v.stats.tables, 3 + 1 + 2 + 2);
	CHECK(vmspace_destroy(vs), 0);
	for (unsigned i = 0; i < RUN; i++)
		CHECK(frame_free(run[i]), -EINVAL);     /* "gives back every owned frame", once */
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- limits ---- */

/* "The limit on their sum": of frames owned and tables, the root too. A page takes three tables more. */
KTEST(mm, check_vmspace_limit_least)
{
	const uint64_t before = settled();
	paddr_t frame;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	for (size_t limit = 1; limit <= 6; limit++) {
		struct vmspace *vs;
		struct view as;
		vaddr_t any = VM_ANY;

		KASSERT_EQ(vmspace_create(limit, &vs), 0);
		as = view_of(vs);
		CHECK(as.stats.limit, limit);
		CHECK(as.stats.tables, 1);
		if (limit < 5) {
			CHECK(map_at(vs, BASE, 1, VM_WRITE), -ENOMEM);
			CHECK(lay_at(vs, BASE, &frame, 1, VM_WRITE, false), -ENOMEM);
			CHECK(vmspace_map_anon(vs, &any, PAGE_SIZE, VM_READ), -ENOMEM);
		}
		if (limit < 4) {
			CHECK(lay_at(vs, BASE, &frame, 1, VM_WRITE, true), -ENOMEM);
			CHECK(vmspace_map_frames(vs, &any, &frame, 1, VM_WRITE, true), -ENOMEM);
		}
		CHECK(any, VM_ANY);
		CHECK(is_as(vs, &as), true);
		if (limit >= 4) {
			CHECK(lay_at(vs, BASE, &frame, 1, VM_WRITE, true), 0);
			CHECK(map_at(vs, BASE + PAGE_SIZE, 1, VM_WRITE), limit >= 5 ? 0 : -ENOMEM);
			CHECK(map_at(vs, BASE + 2 * PAGE_SIZE, 1, VM_WRITE), limit >= 6 ? 0 : -ENOMEM);
			CHECK(map_at(vs, BASE + 3 * PAGE_SIZE, 1, VM_WRITE), -ENOMEM);
			CHECK(stats_of(vs).frames, limit - 4);
			CHECK(stats_of(vs).tables, 4);
		}
		CHECK(view_of(vs).strange, 0);
		CHECK(vmspace_destroy(vs), 0);
	}
	CHECK(frame_free(frame), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* Just reached, and reached again after all that gives room: unmap, take_frames. What needs no room goes on. */
KTEST(mm, check_vmspace_limit_again)
{
	enum { FRAMES = 6, LIMIT = 4 + FRAMES };
	const uint64_t before = settled();
	struct vmspace *vs;
	struct view full;
	paddr_t frame, taken[2], many[200];
	vaddr_t any = VM_ANY;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	KASSERT_EQ(vmspace_create(LIMIT, &vs), 0);
	for (unsigned i = 0; i < COUNT(many); i++)
		many[i] = frame;
	CHECK(map_at(vs, BASE, FRAMES, VM_WRITE), 0);
	full = view_of(vs);
	CHECK(full.strange, 0);
	CHECK(full.stats.frames + full.stats.tables, LIMIT);
	CHECK(map_at(vs, BASE + FRAMES * PAGE_SIZE, 1, VM_WRITE), -ENOMEM);
	CHECK(map_at(vs, BASE + FRAMES * PAGE_SIZE, 200, VM_WRITE), -ENOMEM);
	CHECK(lay_at(vs, BASE + FRAMES * PAGE_SIZE, &frame, 1, VM_WRITE, false), -ENOMEM);
	CHECK(vmspace_map_anon(vs, &any, PAGE_SIZE, VM_WRITE), -ENOMEM);
	CHECK(vmspace_map_frames(vs, &any, &frame, 1, VM_WRITE, false), -ENOMEM);
	CHECK(any, VM_ANY);
	CHECK(lay_at(vs, BASE + LARGE_PAGE_SIZE, &frame, 1, VM_READ, true), -ENOMEM);           /* a table over */
	CHECK(lay_at(vs, BASE + LARGE_PAGE_SIZE - PAGE_SIZE, many, 2, VM_READ, true), -ENOMEM); /* for its second page */
	CHECK(is_as(vs, &full), true);
	CHECK(lay_at(vs, BASE + FRAMES * PAGE_SIZE, many, 200, VM_READ, true), 0);
	CHECK(stats_of(vs).frames + stats_of(vs).tables, LIMIT);
	CHECK(vmspace_protect(vs, BASE + PAGE_SIZE, FRAMES * PAGE_SIZE, VM_EXEC), 0);           /* one of them borrowed */
	CHECK(vmspace_protect(vs, BASE + PAGE_SIZE, FRAMES * PAGE_SIZE, VM_WRITE), 0);
	CHECK(vmspace_unmap(vs, BASE + FRAMES * PAGE_SIZE, 200 * PAGE_SIZE), 0);
	for (unsigned i = 0; i < FRAMES; i++) {
		CHECK(vmspace_unmap(vs, BASE + i * PAGE_SIZE, PAGE_SIZE), 0);
		CHECK(map_at(vs, BASE + (FRAMES + 10) * PAGE_SIZE, 2, VM_WRITE), -ENOMEM);
		CHECK(map_at(vs, BASE + i * PAGE_SIZE, 1, VM_WRITE), 0);
		CHECK(map_at(vs, BASE + (FRAMES + 10) * PAGE_SIZE, 1, VM_WRITE), -ENOMEM);
	}
	CHECK(vmspace_take_frames(vs, BASE + 2 * PAGE_SIZE, 2, taken), 0);
	CHECK(stats_of(vs).frames, FRAMES - 2);
	CHECK(map_at(vs, BASE + 20 * PAGE_SIZE, 3, VM_WRITE), -ENOMEM);
	CHECK(map_at(vs, BASE + LARGE_PAGE_SIZE, 2, VM_WRITE), -ENOMEM);                        /* two and a table */
	CHECK(lay_at(vs, BASE + 2 * PAGE_SIZE, taken, 2, VM_WRITE, false), 0);
	CHECK(map_at(vs, BASE + 20 * PAGE_SIZE, 1, VM_WRITE), -ENOMEM);
	CHECK(stats_of(vs).frames, FRAMES);
	CHECK(stats_of(vs).tables, 4);
	CHECK(view_of(vs).strange, 0);
	/* tables stay and count, whatever is unmapped */
	CHECK(vmspace_unmap(vs, BASE, FRAMES * PAGE_SIZE), 0);
	CHECK(map_at(vs, BASE, FRAMES + 1, VM_WRITE), -ENOMEM);
	CHECK(map_at(vs, BASE + LARGE_PAGE_SIZE, FRAMES, VM_WRITE), -ENOMEM);
	CHECK(map_at(vs, BASE + LARGE_PAGE_SIZE, FRAMES - 1, VM_WRITE), 0);
	CHECK(stats_of(vs).tables, 5);
	CHECK(map_at(vs, BASE, 1, VM_WRITE), -ENOMEM);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(frame), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* Random mappings under a limit: done just if frames and tables do not go over it. */
KTEST(mm, check_vmspace_limit_model)
{
	enum { LIMIT = 60, LIVE = 64 };
	static struct { vaddr_t va; size_t n; bool borrowed; } live[LIVE];
	const uint64_t before = settled();
	uint64_t state = SEED;
	size_t frames = 0, tables = 1;
	unsigned lives = 0, over = 0;
	struct vmspace *vs;
	paddr_t lent, many[16];

	checks_begin();
	ktest_note("seed", SEED);
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT_EQ(vmspace_create(LIMIT, &vs), 0);
	for (unsigned i = 0; i < COUNT(many); i++)
		many[i] = lent;
	for (unsigned step = 0; step < 600; step++) {
		const uint64_t r = random_of(&state);
		const size_t n = 1 + (r >> 8) % COUNT(many);
		const vaddr_t va = BASE + (r >> 16) % 3 * 512 * LARGE_PAGE_SIZE + (r >> 24) % 3 * LARGE_PAGE_SIZE +
			((r >> 32) % 600) * PAGE_SIZE;
		const bool borrowed = r & 1;

		if (r % 16 < 11 && lives < LIVE) {
			const size_t missing = pt_missing(vmspace_root(vs), va, n * PAGE_SIZE);
			const bool fits = frames + tables + missing + (borrowed ? 0 : n) <= LIMIT;
			bool busy = false;
			int err;

			for (unsigned i = 0; i < lives; i++)
				busy |= va < live[i].va + live[i].n * PAGE_SIZE && live[i].va < va + n * PAGE_SIZE;
			err = borrowed ? lay_at(vs, va, many, n, VM_READ, true) : map_at(vs, va, n, VM_WRITE);
			if (fits || !busy)
				CHECK(err, busy ? -EBUSY : fits ? 0 : -ENOMEM);
			else
				CHECK(err == -EBUSY || err == -ENOMEM, true);
			if (!busy && fits) {
				live[lives].va = va;
				live[lives].n = n;
				live[lives++].borrowed = borrowed;
				frames += borrowed ? 0 : n;
				tables += missing;
			}
			over += !busy && !fits;
		} else if (lives) {
			const unsigned i = (unsigned)((r >> 48) % lives);

			CHECK(vmspace_unmap(vs, live[i].va, live[i].n * PAGE_SIZE), 0);
			frames -= live[i].borrowed ? 0 : live[i].n;
			live[i] = live[--lives];
		}
		CHECK(stats_of(vs).frames, frames);
		CHECK(stats_of(vs).tables, tables);
		if (step % 32 == 0)
			CHECK(view_of(vs).strange, 0);
	}
	CHECK(over > 0, true);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- whose frames are ---- */

/* "Hands their frames to the caller": in the order of their addresses, which is that of map_frames, over the border
 * of two mappings, in whatever pieces, and no more than n. "Owns the frames from now on." */
KTEST(mm, check_vmspace_take_order)
{
	enum { N = 16, FIRST = 7 };
	const uint64_t before = settled();
	uint64_t state = SEED + 1;
	paddr_t frames[N], back[N + 1];
	struct vmspace *a, *b;

	checks_begin();
	ktest_note("seed", SEED + 1);
	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	for (unsigned i = 0; i < N; i++)
		KASSERT_EQ(frame_alloc(0, &frames[i]), 0);
	for (unsigned round = 0; round < 20; round++) {
		unsigned cut[4] = { 0, 0, 0, N };

		for (unsigned i = N - 1; i; i--) {
			const unsigned k = (unsigned)(random_of(&state) % (i + 1));
			const paddr_t pa = frames[i];

			frames[i] = frames[k];
			frames[k] = pa;
		}
		for (unsigned i = 0; i < N; i++) {
			*word_of(frames[i]) = 0xf00 + i;
			back[i] = UNTOUCHED;
		}
		back[N] = UNTOUCHED;
		CHECK(lay_at(a, BASE + FIRST * PAGE_SIZE, frames + FIRST, N - FIRST, VM_READ, false), 0);
		CHECK(lay_at(a, BASE, frames, FIRST, VM_WRITE, false), 0);
		CHECK(stats_of(a).frames, N);
		cut[1] = 1 + (unsigned)(random_of(&state) % (FIRST - 1));
		cut[2] = FIRST + 1 + (unsigned)(random_of(&state) % (N - FIRST - 1));
		for (unsigned i = 0; i < 3; i++) {
			const unsigned p = (i + 1) % 3, n = cut[p + 1] - cut[p];        /* the middle first */

			CHECK(vmspace_take_frames(a, BASE + cut[p] * PAGE_SIZE, n, back + cut[p]), 0);
			for (unsigned k = cut[p]; k < cut[p + 1]; k++) {
				CHECK(back[k], frames[k]);
				CHECK(*word_of(frames[k]), 0xf00 + k);          /* untouched */
				CHECK(frame_at(a, BASE + k * PAGE_SIZE), 0);
			}
			CHECK(back[cut[p + 1]], p ? UNTOUCHED : frames[cut[1]]);        /* no more than n */
			CHECK(vmspace_take_frames(a, BASE + cut[p] * PAGE_SIZE, n, back + cut[p]), -ENOENT);
			CHECK(view_of(a).strange, 0);
		}
		CHECK(stats_of(a).frames, 0);
		/* they are had in another space, and come back from there */
		CHECK(lay_at(b, BASE, back, N, VM_EXEC, false), 0);
		CHECK(vmspace_take_frames(b, BASE, N, back), 0);
		CHECK(memcmp(back, frames, sizeof frames), 0);
	}
	CHECK(lay_at(b, BASE, frames, N, VM_WRITE, false), 0);
	CHECK(vmspace_destroy(a), 0);
	for (unsigned i = 0; i < N; i++)
		CHECK(*word_of(frames[i]), 0xf00 + i);
	CHECK(vmspace_destroy(b), 0);
	for (unsigned i = 0; i < N; i++)
		CHECK(frame_free(frames[i]), -EINVAL);
	CHECK(settled(), before);
	CHECKS_END();
}

/* A frame lent to two spaces, to one of them twice, stays its owner's, with what he keeps with it ("one word an owner
 * may keep") and what is in it, whatever becomes of them. */
KTEST(mm, check_vmspace_lent)
{
	const uint64_t before = settled();
	struct vmspace *a, *b;
	paddr_t lent, taken, twice[2];

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	frame_set_tag(lent, 0xfeed);
	*word_of(lent) = 0x11;
	twice[0] = twice[1] = lent;
	CHECK(lay_at(a, BASE, twice, 2, VM_WRITE, true), 0);
	CHECK(lay_at(a, BASE + 5 * PAGE_SIZE, twice, 1, VM_EXEC, true), 0);
	CHECK(lay_at(b, BASE, twice, 2, VM_READ, true), 0);
	CHECK(stats_of(a).frames + stats_of(b).frames, 0);
	CHECK(copy_to_user(a, BASE + PAGE_SIZE, "by one", 7), 0);
	CHECK(memcmp(word_of(lent), "by one", 7), 0);
	CHECK(vmspace_protect(a, BASE, 2 * PAGE_SIZE, VM_READ), 0);
	CHECK(prot_at(a, BASE + 5 * PAGE_SIZE), VM_EXEC | VM_USER);             /* each page its own */
	CHECK(vmspace_unmap(a, BASE + PAGE_SIZE, PAGE_SIZE), 0);
	CHECK(frame_at(a, BASE), lent);
	CHECK(frame_tag(lent), 0xfeed);
	CHECK(vmspace_take_frames(a, BASE, 1, &taken), -EPERM);
	CHECK(vmspace_take_frames(b, BASE, 2, twice), -EPERM);
	CHECK(view_of(a).strange + view_of(b).strange, 0);
	CHECK(vmspace_destroy(a), 0);
	CHECK(frame_tag(lent), 0xfeed);                                         /* 0 were it free */
	CHECK(frame_at(b, BASE), lent);
	CHECK(frame_at(b, BASE + PAGE_SIZE), lent);
	CHECK(memcmp(word_of(lent), "by one", 7), 0);
	CHECK(vmspace_unmap(b, BASE, PAGE_SIZE), 0);
	CHECK(frame_tag(lent), 0xfeed);
	CHECK(vmspace_destroy(b), 0);
	CHECK(frame_tag(lent), 0xfeed);

	/* what one space owns another borrows, and goes first */
	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	CHECK(lay_at(a, BASE, &lent, 1, VM_WRITE, false), 0);
	CHECK(lay_at(b, BASE, &lent, 1, VM_WRITE, true), 0);
	CHECK(stats_of(a).frames, 1);
	CHECK(stats_of(b).frames, 0);
	CHECK(copy_to_user(b, BASE, "by two", 7), 0);
	CHECK(vmspace_destroy(b), 0);
	CHECK(frame_at(a, BASE), lent);
	CHECK(vmspace_take_frames(a, BASE, 1, &taken), 0);
	CHECK(taken, lent);
	CHECK(memcmp(word_of(lent), "by two", 7), 0);
	CHECK(vmspace_destroy(a), 0);
	CHECK(frame_free(lent), 0);
	CHECK(frame_free(lent), -EINVAL);
	CHECK(settled(), before);
	CHECKS_END();
}

/* Over mappings of different kinds at once, whole ones and parts: protect changes all and no frame; unmap frees what is
 * owned, just that; take hands over what is owned, in order. */
KTEST(mm, check_vmspace_kinds_at_once)
{
	static const char layout[] = "wwrrxxwwbbrr";
	enum { N = sizeof layout - 1 };
	const uint64_t before = settled();
	paddr_t lent, was[N], taken[N];

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	frame_set_tag(lent, 0xbee);
	for (unsigned first = 0; first < N; first++)
		for (unsigned n = 1; n <= N - first; n += 1 + (n % 4 == 2)) {   /* not 3, 7, 11 */
			const bool borrowed = has(layout, first, n, 'b');
			const vaddr_t at = BASE + first * PAGE_SIZE;
			struct vmspace *const vs = build(layout, lent);
			struct view now;
			unsigned owned = 0;

			KASSERT(vs != NULL);
			for (unsigned i = 0; i < N; i++) {
				was[i] = frame_at(vs, BASE + i * PAGE_SIZE);
				if (!was[i])
					CHECK(i, N);
				else if (layout[i] != 'b')
					*word_of(was[i]) = 0xabc00 + i;
				owned += i >= first && i < first + n && layout[i] != 'b';
			}
			CHECK(stats_of(vs).frames, N - 2);
			CHECK(vmspace_protect(vs, at, n * PAGE_SIZE, (first + n) % 3), 0);
			for (unsigned i = 0; i < N; i++) {
				const unsigned old = layout[i] == 'w' ? VM_WRITE : layout[i] == 'x' ? VM_EXEC : VM_READ;

				CHECK(prot_at(vs, BASE + i * PAGE_SIZE),
					(i >= first && i < first + n ? (first + n) % 3 : old) | VM_USER);
				CHECK(frame_at(vs, BASE + i * PAGE_SIZE), was[i]);
			}
			now = view_of(vs);
			CHECK(now.strange, 0);
			CHECK(now.owned, N - 2);
			if ((first + n / 2) % 2 || borrowed) {
				CHECK(vmspace_unmap(vs, at, n * PAGE_SIZE), 0);
				for (unsigned i = first; i < first + n; i++)
					if (layout[i] != 'b')
						CHECK(frame_free(was[i]), -EINVAL);     /* it is free */
			} else {
				CHECK(vmspace_take_frames(vs, at, n, taken), 0);
				for (unsigned i = 0; i < n; i++) {
					CHECK(taken[i], was[first + i]);
					CHECK(*word_of(was[first + i]), 0xabc00 + first + i);
					CHECK(frame_free(was[first + i]), 0);   /* it was the caller's */
				}
			}
			CHECK(frame_tag(lent), 0xbee);
			CHECK(stats_of(vs).frames, N - 2 - owned);
			for (unsigned i = 0; i < N; i++)
				CHECK(frame_at(vs, BASE + i * PAGE_SIZE), i >= first && i < first + n ? 0 : was[i]);
			CHECK(view_of(vs).strange, 0);
			CHECK(vmspace_destroy(vs), 0);
		}
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- a long life against a model ---- */

enum { SPACES = 2, PAGES = 96, STEPS = 1200 };

static struct page {
	uint8_t kind, prot;             /* 0 nothing, 1 owned, 2 borrowed */
	uint64_t value;                 /* its first word */
	paddr_t pa;
} pages[SPACES][PAGES];

static struct {
	uint8_t kind[PAGES], prot[PAGES];
	unsigned strange, regions, stop;
	vaddr_t last;
	int answer;
} told;

static int tell_pages(const struct vm_region *r, void *arg)
{
	(void)arg;
	told.regions++;
	if (!r->len || r->va % PAGE_SIZE || r->len % PAGE_SIZE || r->va < told.last || r->va < BASE ||
	    r->va >= BASE + PAGES * PAGE_SIZE || r->len > BASE + PAGES * PAGE_SIZE - r->va) {
		told.strange++;
		return 0;
	}
	told.last = r->va + r->len;
	for (vaddr_t va = r->va; va < told.last; va += PAGE_SIZE) {
		told.kind[(va - BASE) / PAGE_SIZE] = r->borrowed ? 2 : 1;
		told.prot[(va - BASE) / PAGE_SIZE] = (uint8_t)r->prot;
	}
	return told.regions == told.stop ? told.answer : 0;
}

/* for_each tells just what is there. */
static bool is_told(struct vmspace *vs, const struct page *p)
{
	memset(&told, 0, sizeof told);
	if (vmspace_for_each(vs, tell_pages, &told) || told.strange)
		return false;
	for (unsigned i = 0; i < PAGES; i++)
		if (told.kind[i] != p[i].kind || (p[i].kind && told.prot[i] != p[i].prot))
			return false;
	return true;
}

static bool is_page(struct vmspace *vs, const struct page *p, vaddr_t va)
{
	struct pt_entry e;
	const int err = vmspace_translate(vs, va, &e);

	if (!p->kind)
		return err == -ENOENT;
	return !err && e.va == va && e.size == PAGE_SIZE && e.prot == (p->prot | VM_USER) && e.pa == p->pa &&
		*word_of(e.pa) == p->value;
}

/* Two spaces live through random calls, good and bad ones; after each for_each tells what the model has, in one run
 * of ascending regions, and stops where it is told to. New pages are zeroed. What is left in the end goes with the
 * spaces. */
KTEST(mm, check_vmspace_model)
{
	enum { MOST = 12 };
	const uint64_t before = settled();
	uint64_t state = SEED + 2, value = 0;
	struct vmspace *vs[SPACES];
	paddr_t lent, frames[MOST];
	uint32_t done[8] = { 0 };

	checks_begin();
	ktest_note("seed", SEED + 2);
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	*word_of(lent) = 0x1e47;
	frame_set_tag(lent, 0x1e48);
	memset(pages, 0, sizeof pages);
	for (unsigned k = 0; k < SPACES; k++)
		KASSERT_EQ(vmspace_create(0, &vs[k]), 0);
	for (unsigned step = 0; step < STEPS && !missed.line; step++) {
		const uint64_t r = random_of(&state);
		const unsigned k = r % SPACES, other = (k + 1) % SPACES, first = (r >> 8) % PAGES, op = (r >> 24) % 8;
		const unsigned most = PAGES - first < MOST ? PAGES - first : MOST, n = 1 + (r >> 32) % most;
		const unsigned prot = (r >> 40) % 3;
		const vaddr_t at = BASE + first * PAGE_SIZE;
		struct page *const p = &pages[k][first];
		unsigned mapped = 0, borrowed = 0, taken = 0;
		int err;

		for (unsigned i = 0; i < n; i++) {
			mapped += p[i].kind != 0;
			borrowed += p[i].kind == 2;
			taken += pages[other][first + i].kind != 0;
		}
		switch (op) {
		case 0:
		case 1:
			err = map_at(vs[k], at, n, prot);
			CHECK(err, mapped ? -EBUSY : 0);
			for (unsigned i = 0; i < n && !err; i++) {
				p[i] = (struct page){ 1, (uint8_t)prot, ++value, frame_at(vs[k], at + i * PAGE_SIZE) };
				if (!p[i].pa) {
					CHECK(0, 1);
					break;
				}
				CHECK(word_of(p[i].pa)[0] | word_of(p[i].pa)[511] | word_of(p[i].pa)[r >> 50 & 511], 0);
				memset(word_of(p[i].pa), 0xa5, PAGE_SIZE);
				*word_of(p[i].pa) = value;
			}
			break;
		case 2:
		case 3:
			for (unsigned i = 0; i < n; i++) {
				frames[i] = lent;
				if (op == 2)
					CHECK(frame_alloc(0, &frames[i]), 0);
			}
			err = lay_at(vs[k], at, frames, n, prot, op == 3);
			CHECK(err, mapped ? -EBUSY : 0);
			for (unsigned i = 0; i < n; i++) {
				if (err && op == 2)
					CHECK(frame_free(frames[i]), 0);
				if (err)
					continue;
				p[i] = (struct page){ op == 3 ? 2 : 1, (uint8_t)prot, 0x1e47, frames[i] };
				if (op == 2)
					*word_of(frames[i]) = p[i].value = ++value;
			}
			break;
		case 4:
			err = vmspace_protect(vs[k], at, n * PAGE_SIZE, prot);
			CHECK(err, mapped < n ? -ENOENT : 0);
			for (unsigned i = 0; i < n && !err; i++)
				p[i].prot = (uint8_t)prot;
			break;
		case 5:
			err = vmspace_take_frames(vs[k], at, n, frames);
			CHECK((mapped < n && err == -ENOENT) || (borrowed && err == -EPERM) || (mapped == n && !borrowed && !err),
				true);
			if (!err) {                             /* into the other space, if there is room */
				const int laid = lay_at(vs[other], at, frames, n, prot, false);

				CHECK(laid, taken ? -EBUSY : 0);
				for (unsigned i = 0; i < n; i++) {
					CHECK(frames[i], p[i].pa);
					if (laid)
						CHECK(frame_free(frames[i]), 0);
					else
						pages[other][first + i] = (struct page){ 1, (uint8_t)prot, p[i].value, p[i].pa };
					p[i].kind = 0;
				}
				CHECK(is_told(vs[other], pages[other]), true);
			}
			break;
		default:
			err = vmspace_unmap(vs[k], at, n * PAGE_SIZE);
			CHECK(err, mapped < n ? -ENOENT : 0);
			for (unsigned i = 0; i < n && !err; i++)
				p[i].kind = 0;
		}
		done[op] += !err;
		CHECK(is_told(vs[k], pages[k]), true);
		for (unsigned i = 0; i < n; i++)
			CHECK(is_page(vs[k], &p[i], at + i * PAGE_SIZE), true);
		if (told.regions) {                             /* "stops at and returns fn's first value that is not 0" */
			const unsigned stop = 1 + (unsigned)(r >> 56) % told.regions;

			memset(&told, 0, sizeof told);
			told.stop = stop;
			told.answer = step % 2 ? -ENOSPC : 7;
			CHECK(vmspace_for_each(vs[k], tell_pages, &told), told.answer);
			CHECK(told.regions, stop);
		}
		if (step % 16 == 0)
			CHECK(view_of(vs[k]).strange, 0);
		if (missed.line)
			ktest_note("step", step);
	}
	for (unsigned k = 0; k < SPACES; k++) {
		for (unsigned i = 0; i < PAGES && !missed.line; i++)
			CHECK(is_page(vs[k], &pages[k][i], BASE + i * PAGE_SIZE), true);
		CHECK(view_of(vs[k]).strange, 0);
	}
	for (unsigned i = 0; i < COUNT(done); i++)              /* each was seen to work */
		CHECK(done[i] > 0, true);
	for (unsigned k = 0; k < SPACES; k++)
		CHECK(vmspace_destroy(vs[k]), 0);
	CHECK(frame_tag(lent), 0x1e48);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- places that mm chooses ---- */

enum { PLACES = 48 };

static struct place {
	vaddr_t va;
	size_t n;
} places[PLACES];

static bool is_free_place(unsigned count_of, vaddr_t va, size_t n)
{
	if (va % PAGE_SIZE || va < USER_MIN || va > USER_END - n * PAGE_SIZE)
		return false;
	for (unsigned i = 0; i < count_of; i++)
		if (va < places[i].va + places[i].n * PAGE_SIZE && places[i].va < va + n * PAGE_SIZE)
			return false;
	return true;
}

/* "Chosen places are in bounds, do not overlap, go around what is mapped", after unmaps at the ends and in the middle
 * of others too; what the caller did not say is told by *va. */
KTEST(mm, check_vmspace_any_model)
{
	const uint64_t before = settled();
	uint64_t state = SEED + 3, total = 0;
	unsigned n_places = 0;
	struct vmspace *vs;
	paddr_t lent, many[9];

	checks_begin();
	ktest_note("seed", SEED + 3);
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	for (unsigned i = 0; i < COUNT(many); i++)
		many[i] = lent;
	for (unsigned step = 0; step < 800 && !missed.line; step++) {
		const uint64_t r = random_of(&state);

		if (n_places < PLACES && r % 8 < 5) {
			const size_t n = 1 + (r >> 8) % COUNT(many);
			vaddr_t va = VM_ANY;

			/* now and then a place that is said: near the others */
			if (n_places && r % 8 == 0) {
				va = places[(r >> 16) % n_places].va + (r >> 32) % 12 * PAGE_SIZE;
				if (!is_free_place(n_places, va, n))
					va = VM_ANY;
			}
			if (r >> 63)
				CHECK(vmspace_map_anon(vs, &va, n * PAGE_SIZE, VM_WRITE), 0);
			else
				CHECK(vmspace_map_frames(vs, &va, many, n, VM_READ, true), 0);
			CHECK(is_free_place(n_places, va, n), true);
			for (size_t i = 0; i < n && !missed.line; i++)
				CHECK(frame_at(vs, va + i * PAGE_SIZE) != 0, true);
			places[n_places++] = (struct place){ va, n };
			total += n;
		} else if (n_places) {
			const unsigned i = (unsigned)((r >> 8) % n_places);
			struct place *const p = &places[i];
			const size_t first = (r >> 16) % p->n, up = p->n - first;
			const size_t n = n_places < PLACES ? 1 + (r >> 32) % up : up;   /* no room for one above */
			const struct place above = { p->va + (first + n) * PAGE_SIZE, p->n - first - n };

			CHECK(vmspace_unmap(vs, p->va + first * PAGE_SIZE, n * PAGE_SIZE), 0);
			total -= n;
			p->n = first;
			if (!first)
				*p = places[--n_places];
			if (above.n)
				places[n_places++] = above;
		}
		if (step % 32 == 0) {
			CHECK(view_of(vs).strange, 0);
			CHECK(view_of(vs).pages, total);
		}
	}
	CHECK(view_of(vs).pages, total);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* "And reuse holes": so that tables, which stay, do not become more and more. Also a hole in the middle of what is
 * mapped. */
KTEST(mm, check_vmspace_any_reuse)
{
	enum { N = 64, ROUNDS = 200 };
	const uint64_t before = settled();
	struct vmspace *vs;
	size_t tables;
	paddr_t lent, many[N];
	vaddr_t whole = VM_ANY;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	for (unsigned i = 0; i < N; i++)
		many[i] = lent;
	CHECK(vmspace_map_frames(vs, &whole, many, N, VM_READ, true), 0);
	CHECK(vmspace_unmap(vs, whole + 10 * PAGE_SIZE, (N - 20) * PAGE_SIZE), 0);
	tables = stats_of(vs).tables;
	for (unsigned round = 0; round < ROUNDS; round++) {
		const size_t n = round % 4 ? N - 20 : N;
		vaddr_t va = VM_ANY;

		CHECK(vmspace_map_frames(vs, &va, many, n, VM_READ, true), 0);
		CHECK(va + n * PAGE_SIZE <= whole + 10 * PAGE_SIZE || va >= whole + N * PAGE_SIZE ||
			(va >= whole + 10 * PAGE_SIZE && va + n * PAGE_SIZE <= whole + (N - 10) * PAGE_SIZE), true);
		CHECK(vmspace_unmap(vs, va, n * PAGE_SIZE), 0);
	}
	CHECK(stats_of(vs).tables <= tables + 6, true);         /* those of another place or two; 22 for all that was had */
	CHECK(view_of(vs).pages, 20);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- nothing left ---- */

struct hogged {
	paddr_t next;
	uint64_t frames;
};

struct small {
	struct small *next;
};

/* All frames that there are; what unhog() wants. */
static paddr_t hog(void)
{
	paddr_t first = 0, pa;

	for (size_t n = 1ul << 18; n; n >>= 1)
		while (!frame_alloc_contig(n, 1, 0, 0, &pa)) {
			*(struct hogged *)phys_to_virt(pa) = (struct hogged){ first, n };
			first = pa;
		}
	return first;
}

static void unhog(paddr_t first)
{
	while (first) {
		const struct hogged h = *(struct hogged *)phys_to_virt(first);

		CHECK(frame_free_contig(first, h.frames), 0);
		first = h.next;
	}
}

/* What slabs still have. */
static struct small *hog_slabs(void)
{
	static const size_t classes[] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, 512 };
	struct small *first = NULL, *p;

	for (unsigned i = 0; i < COUNT(classes); i++)
		while ((p = kmalloc(classes[i])) != NULL) {
			p->next = first;
			first = p;
		}
	return first;
}

static void unhog_slabs(struct small *first)
{
	while (first) {
		struct small *const next = first->next;

		CHECK(kfree(first), 0);
		first = next;
	}
}

/* With 0, 1, 2... frames left each call is done or is -ENOMEM and changes nothing (invariant 6); what it was to own
 * is the caller's still. destroy has no such error, and looking takes nothing. */
KTEST(mm, check_vmspace_nothing_left)
{
	enum { SPARES = 32, N = 3 };
	static paddr_t left[SPARES];
	const vaddr_t far = 3ull << 39, farther = 5ull << 39;
	const uint64_t before = settled();
	struct vmspace *vs, *doomed, *fresh;
	paddr_t lent, own[N], all;
	struct small *small;
	bool made = false, laid = false, mapped = false, borrowed = false, cut = false, changed = false, any_done = false;
	unsigned refused = 0;
	struct view as;
	uint8_t byte = 0;

	checks_begin();
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	KASSERT((vs = build("wwwwwwwwrrbb", lent)) != NULL);
	KASSERT((doomed = build("wrbx", lent)) != NULL);
	for (unsigned i = 0; i < N; i++)
		KASSERT_EQ(frame_alloc(0, &own[i]), 0);
	for (unsigned i = 0; i < SPARES; i++)
		KASSERT_EQ(frame_alloc(0, &left[i]), 0);
	all = hog();
	small = hog_slabs();
	for (unsigned n = 0; n <= SPARES; n++) {
		vaddr_t any = VM_ANY;
		int err;

		as = view_of(vs);
		CHECK(as.strange, 0);
		fresh = NULL;
		err = vmspace_create(0, &fresh);
		CHECK(err == 0 || (err == -ENOMEM && !fresh), true);
		if (!err)
			CHECK(vmspace_destroy(fresh), 0);
		made |= !err;
		refused += err != 0;
		if (!laid) {
			err = lay_at(vs, far, own, N, VM_WRITE, false);
			CHECK(err == 0 || (err == -ENOMEM && is_as(vs, &as)), true);
			laid = !err;
			refused += err != 0;
		} else if (!borrowed) {
			err = lay_at(vs, far + LARGE_PAGE_SIZE, &lent, 1, VM_WRITE, true);
			CHECK(err == 0 || (err == -ENOMEM && is_as(vs, &as)), true);
			borrowed = !err;
		} else if (!mapped) {
			err = map_at(vs, farther, 4, VM_WRITE);
			CHECK(err == 0 || (err == -ENOMEM && is_as(vs, &as)), true);
			mapped = !err;
		} else if (!any_done) {
			err = vmspace_map_anon(vs, &any, 2 * PAGE_SIZE, VM_WRITE);
			CHECK(err == 0 || (err == -ENOMEM && any == VM_ANY && is_as(vs, &as)), true);
			any_done = !err;
		}
		as = view_of(vs);
		if (!changed) {                                 /* in the middle: two regions more */
			err = vmspace_protect(vs, BASE + 5 * PAGE_SIZE, PAGE_SIZE, VM_READ);
			CHECK(err == 0 || (err == -ENOMEM && is_as(vs, &as)), true);
			changed = !err;
		} else if (!cut) {
			err = vmspace_unmap(vs, BASE + 2 * PAGE_SIZE, PAGE_SIZE);
			CHECK(err == 0 || (err == -ENOMEM && is_as(vs, &as)), true);
			cut = !err;
		}
		CHECK(copy_to_user(vs, BASE, &byte, 1), 0);
		CHECK(copy_from_user(vs, &byte, BASE, 1), 0);
		if (n < SPARES)
			CHECK(frame_free(left[n]), 0);
	}
	unhog_slabs(small);
	unhog(all);
	all = hog();
	small = hog_slabs();
	CHECK(vmspace_destroy(doomed), 0);              /* "gives back every owned frame and table": with nothing left */
	unhog_slabs(small);
	unhog(all);
	CHECK(made && laid && borrowed && mapped && any_done && cut && changed, true);
	CHECK(refused > 0, true);
	CHECK(frame_at(vs, far + PAGE_SIZE), own[1]);
	if (!laid)
		for (unsigned i = 0; i < N; i++)
			CHECK(frame_free(own[i]), 0);
	CHECK(vmspace_destroy(vs), 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- interrupts ---- */

/* All that there is, done and refused. How often interrupts or the preempt count were not as before. */
static unsigned calls_that_disturb(paddr_t lent)
{
	const bool on = interrupts_on();
	const uint32_t preempt = cpu_self()->preempt_count;
	struct vmspace *vs = NULL;
	struct vmspace_stats s;
	struct pt_entry e;
	struct view v;
	vaddr_t va = BASE, any = VM_ANY, other = BASE + 10 * PAGE_SIZE;
	unsigned disturbed = 0;
	paddr_t taken[2];
	uint64_t flags;

#define STILL(call, answer) \
	do { \
		CHECK(call, answer); \
		disturbed += interrupts_on() != on || cpu_self()->preempt_count != preempt; \
	} while (0)
	STILL(vmspace_create(20, &vs), 0);
	STILL(vmspace_map_anon(vs, &va, 4 * PAGE_SIZE, VM_WRITE), 0);
	STILL(vmspace_map_anon(vs, &va, 4 * PAGE_SIZE, VM_WRITE), -EBUSY);
	STILL(vmspace_map_anon(vs, &any, 40 * PAGE_SIZE, VM_WRITE), -ENOMEM);
	STILL(vmspace_map_anon(vs, &va, 40, VM_WRITE), -EINVAL);
	STILL(vmspace_map_frames(vs, &other, &lent, 1, VM_READ, true), 0);
	STILL(vmspace_map_frames(vs, &other, &lent, 1, VM_READ, true), -EBUSY);
	STILL(vmspace_protect(vs, BASE, 2 * PAGE_SIZE, VM_READ), 0);
	STILL(vmspace_protect(vs, BASE, 5 * PAGE_SIZE, VM_READ), -ENOENT);
	STILL(vmspace_take_frames(vs, other, 1, taken), -EPERM);
	STILL(vmspace_take_frames(vs, BASE + PAGE_SIZE, 2, taken), 0);
	STILL(frame_free(taken[0]), 0);
	STILL(frame_free(taken[1]), 0);
	STILL(vmspace_translate(vs, BASE, &e), 0);
	STILL(vmspace_translate(vs, BASE + PAGE_SIZE, &e), -ENOENT);
	memset(&v, 0, sizeof v);
	STILL(vmspace_for_each(vs, tell, &v), 0);
	vmspace_get_stats(vs, &s);
	STILL(s.frames, 2);
	flags = vmspace_lock(vs);
	disturbed += interrupts_on();                   /* "between the two ... interrupts are off" */
	vmspace_unlock(vs, flags);
	STILL(vmspace_root(vs) % PAGE_SIZE, 0);
	STILL(vmspace_unmap(vs, BASE, PAGE_SIZE), 0);
	STILL(vmspace_unmap(vs, BASE, PAGE_SIZE), -ENOENT);
	STILL(vmspace_destroy(vs), 0);
#undef STILL
	return disturbed;
}

/* "May be called on any processor with interrupts on or off", and they stay so. */
KTEST(mm, check_vmspace_interrupts)
{
	const uint64_t before = settled();
	unsigned disturbed;
	uint64_t flags;
	paddr_t lent;

	checks_begin();
	KASSERT(interrupts_on());
	KASSERT_EQ(frame_alloc(0, &lent), 0);
	disturbed = calls_that_disturb(lent);
	flags = interrupts_off();
	disturbed += calls_that_disturb(lent);
	interrupts_restore(flags);
	CHECK(disturbed, 0);
	CHECK(frame_free(lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

/* ---- all processors. What is here runs in cpu_on_each, interrupts off: who waits serves shootdowns. ---- */

static uint32_t arrived, absent, wrong;

/* Whether the word came to be at least that. */
static bool wait_for(const uint32_t *word, uint32_t wanted)
{
	const uint64_t start = clock_ns();

	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) < wanted) {
		if (clock_ns() - start >= LONG) {
			count(&absent);
			return false;
		}
		tlb_poll();
		cpu_pause();
	}
	return true;
}

/* All wait here for all; again and again. */
static bool meet(void)
{
	const uint32_t n = cpu_count(), ticket = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);

	return wait_for(&arrived, (ticket / n + 1) * n);
}

static void expect(bool true_)
{
	if (!true_)
		count(&wrong);
}

static void meetings_begin(void)
{
	arrived = absent = wrong = 0;
	checks_begin();
}

struct touch {
	vaddr_t va;
	uint64_t value;
	bool write;
};

/* What touch() answers: done, or the fault's error code. "Page-fault error code: P 0, W 1". */
#define DONE UINT64_MAX
enum { NOT_THERE = 0, NOT_THERE_TO_WRITE = 2, READ_ONLY = 3 };

static bool has_smap(void)
{
	return READ("mov %%cr4, %0") & CR4_SMAP;
}

/* SMAP, where it is on, is told that this is meant. */
static void touch_word(void *arg)
{
	struct touch *const t = arg;

	if (has_smap())
		__asm__ volatile("stac" : : : "memory", "cc");
	if (t->write)
		*(volatile uint64_t *)t->va = t->value;
	else
		t->value = *(volatile uint64_t *)t->va;
	if (has_smap())
		__asm__ volatile("clac" : : : "memory", "cc");
}

/* By its user address in what is active here. */
static uint64_t touch(vaddr_t va, bool write, uint64_t *value)
{
	struct touch t = { va, *value, write };
	struct trap_frame f;
	const int caught = trap_catch(touch_word, &t, &f);

	if (has_smap())
		__asm__ volatile("clac" : : : "memory", "cc");
	*value = t.value;
	return !caught ? DONE : f.vector == VEC_PAGE_FAULT ? f.error : UINT64_MAX - 1;
}

static uint64_t try_read(vaddr_t va)
{
	uint64_t value = 0;

	return touch(va, false, &value);
}

static uint64_t try_write(vaddr_t va, uint64_t value)
{
	return touch(va, true, &value);
}

static bool reads_as(vaddr_t va, uint64_t wanted)
{
	uint64_t value = ~wanted;

	return touch(va, false, &value) == DONE && value == wanted;
}

enum { TOURS = 4, TURNS = 12 };
static struct vmspace *tour[TOURS];

/* Each processor takes them in an order of its own. */
static void go_round(void *arg)
{
	const unsigned me = cpu_self()->index;

	(void)arg;
	(void)meet();
	for (unsigned i = 0; i < TURNS; i++) {
		const unsigned k = (me + i * (me % 2 ? 1 : 3)) % TOURS;
		void *p;

		vmspace_activate(tour[k]);
		expect((READ("mov %%cr3, %0") & PTE_ADDRESS) == vmspace_root(tour[k]));
		expect(reads_as(BASE, 0x70ad + k));
		expect(try_write(BASE + 64 + 8 * me, 0x1000 * me + k) == DONE);
		for (unsigned j = 0; j < TOURS; j++)
			expect(try_read(BASE + (1 + j) * PAGE_SIZE) == (j == k ? DONE : NOT_THERE));
		expect(try_write(BASE + (1 + k) * PAGE_SIZE, 1) == READ_ONLY);
		p = kzalloc(100 + me);                          /* the kernel's half works */
		expect(p != NULL && kmalloc_size(p) >= 100 + me && kfree(p) == 0);
		expect(cpu_self()->index == me && frame_at(tour[k], BASE) != 0);
		if (i % 3 == 2) {
			vmspace_activate(NULL);
			expect((READ("mov %%cr3, %0") & PTE_ADDRESS) == kernel_root);
			expect(try_read(BASE) == NOT_THERE);
		}
	}
	vmspace_activate(NULL);
	expect(try_read(BASE) == NOT_THERE);
	expect(try_write(BASE, 1) == NOT_THERE_TO_WRITE);
}

/* "Load it on this processor; NULL: kernel only": one after another on all, each with what is its own at the same
 * address, nothing of the one before. */
KTEST(mm, check_vmspace_tour)
{
	const uint64_t before = settled();

	meetings_begin();
	for (unsigned k = 0; k < TOURS; k++) {
		KASSERT_EQ(vmspace_create(0, &tour[k]), 0);
		CHECK(map_at(tour[k], BASE, 1, VM_WRITE), 0);
		CHECK(map_at(tour[k], BASE + (1 + k) * PAGE_SIZE, 1, VM_READ), 0);
		KASSERT(frame_at(tour[k], BASE) != 0);
		*word_of(frame_at(tour[k], BASE)) = 0x70ad + k;
	}
	CHECK(cpu_on_each(go_round, NULL), 0);
	for (unsigned k = 0; k < TOURS; k++) {
		const uint64_t *const words = word_of(frame_at(tour[k], BASE));

		CHECK(words[0], 0x70ad + k);
		for (unsigned i = 0; i < CPU_MAX; i++)
			CHECK(words[8 + i], i < cpu_count() ? 0x1000 * i + k : 0);
		CHECK(view_of(tour[k]).strange, 0);
		CHECK(vmspace_destroy(tour[k]), 0);             /* active nowhere any more */
	}
	CHECK(absent, 0);
	CHECK(wrong, 0);
	CHECK(settled(), before);
	CHECKS_END();
}

static struct vmspace *common;

/* Those who are in leave one after another. Whether all were there. */
static bool leave_in_turn(unsigned me, unsigned turn, unsigned n)
{
	for (unsigned left = 0; left < n; left++) {
		if (!meet())
			return false;
		if (me == (turn + left) % n) {
			expect(vmspace_destroy(common) == -EBUSY);
			vmspace_activate(NULL);
		}
	}
	return meet();
}

/* Each in turn is the only one; then all, and the last one to leave is another each time. */
static void enter_in_turn(void *arg)
{
	const unsigned me = cpu_self()->index, n = cpu_count();

	(void)arg;
	for (unsigned turn = 0; turn < n; turn++) {
		if (me == turn)
			vmspace_activate(common);
		if (!meet())
			break;
		if (me == (turn + 1) % n)
			expect(vmspace_destroy(common) == -EBUSY);
		if (!meet())
			break;
		if (me == turn) {
			expect(reads_as(BASE, 0xb5));
			vmspace_activate(NULL);
		}
		if (!meet())
			break;
		vmspace_activate(common);
		if (!leave_in_turn(me, turn, n))
			break;
	}
	vmspace_activate(NULL);
}

/* "-EBUSY: active on a processor", whichever and whoever asks; it is as it was. */
KTEST(mm, check_vmspace_busy_anywhere)
{
	const uint64_t before = settled();
	struct view as;

	meetings_begin();
	KASSERT_EQ(vmspace_create(0, &common), 0);
	CHECK(map_at(common, BASE, 3, VM_WRITE), 0);
	KASSERT(frame_at(common, BASE) != 0);
	*word_of(frame_at(common, BASE)) = 0xb5;
	as = view_of(common);
	CHECK(cpu_on_each(enter_in_turn, NULL), 0);
	CHECK(absent, 0);
	CHECK(wrong, 0);
	if (!wrong) {
		CHECK(is_as(common, &as), true);
		CHECK(vmspace_destroy(common), 0);
	}
	CHECK(settled(), before);
	CHECKS_END();
}

enum { REMOTE = 40 };

/* What is done to REMOTE writable pages at BASE, and what pages 0, 1 and the last are then: w, r or gone. */
static const struct {
	char call;                      /* u unmap, r and x protect, t take */
	unsigned first, n;
	char then[4];
} remote[] = {
	{ 'u', 0, REMOTE, "..." }, { 'u', 1, 1, "w.w" }, { 'r', 0, REMOTE, "rrr" }, { 'x', 1, 1, "wrw" }, { 't', 0, 3, "..w" },
	{ 'u', 1, REMOTE - 1, "w.." }, { 't', REMOTE - 1, 1, "ww." }, { 'x', 1, REMOTE - 1, "wrr" },
};
static paddr_t remote_taken[REMOTE];

static void change_there(const char call, vaddr_t at, unsigned n)
{
	int err;

	if (call == 'u')
		err = vmspace_unmap(common, at, n * PAGE_SIZE);
	else if (call == 't')
		err = vmspace_take_frames(common, at, n, remote_taken);
	else
		err = vmspace_protect(common, at, n * PAGE_SIZE, call == 'x' ? VM_EXEC : VM_READ);
	expect(!err);
	for (unsigned i = 0; call == 't' && !err && i < n; i++)
		expect(frame_free(remote_taken[i]) == 0);
}

static void all_see(void *arg)
{
	static const unsigned at[] = { 0, 1, REMOTE - 1 };
	const unsigned me = cpu_self()->index;

	(void)arg;
	vmspace_activate(common);
	for (unsigned turn = 0; turn < cpu_count(); turn++)
		for (unsigned i = 0; i < COUNT(remote); i++) {
			if (me == turn)
				expect(map_at(common, BASE, REMOTE, VM_WRITE) == 0);
			if (!meet())
				goto out;
			for (unsigned k = 0; k < 3; k++) {      /* new, and now in everybody's TLB */
				const vaddr_t va = BASE + at[k] * PAGE_SIZE + 8 * me;

				expect(reads_as(va, 0));
				expect(try_write(va, turn + 1) == DONE);
			}
			if (!meet())
				goto out;
			if (me == turn)
				change_there(remote[i].call, BASE + remote[i].first * PAGE_SIZE, remote[i].n);
			if (!meet())
				goto out;
			for (unsigned k = 0; k < 3; k++) {
				const vaddr_t va = BASE + at[k] * PAGE_SIZE + 8 * me;
				const char then = remote[i].then[k];

				if (then == '.')
					expect(try_read(va) == NOT_THERE);
				else
					expect(reads_as(va, turn + 1));
				expect(try_write(va, 9) == (then == '.' ? NOT_THERE_TO_WRITE : then == 'r' ? READ_ONLY : DONE));
			}
			if (!meet())
				goto out;
			for (unsigned k = 0, n; me == turn && k < REMOTE; k += n + 1) {         /* what is left */
				for (n = 0; k + n < REMOTE && frame_at(common, BASE + (k + n) * PAGE_SIZE); n++)
					;
				if (n)
					expect(vmspace_unmap(common, BASE + k * PAGE_SIZE, n * PAGE_SIZE) == 0);
			}
			if (!meet())                            /* the next one may map */
				goto out;
		}
out:
	vmspace_activate(NULL);
}

/* What one processor unmaps, protects or takes no other has any more, few pages or many, whichever processor does it
 * (invariant 5; "after return no processor uses a translation"). What comes in its place all have. */
KTEST(mm, check_vmspace_remote)
{
	const uint64_t before = settled();

	meetings_begin();
	KASSERT_EQ(vmspace_create(0, &common), 0);
	CHECK(cpu_on_each(all_see, NULL), 0);
	CHECK(absent, 0);
	CHECK(wrong, 0);
	CHECK(view_of(common).strange, 0);
	CHECK(view_of(common).pages, 0);
	CHECK(vmspace_destroy(common), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

static struct {
	uint32_t wrote;                 /* how many have written at least once */
	paddr_t frame;
	uint64_t then[CPU_MAX];
} race;

/* Others write to a page for as long as they can; this one takes it. */
static void take_from_writers(void *arg)
{
	const unsigned me = cpu_self()->index;
	const vaddr_t mine = BASE + 8 * me;

	(void)arg;
	vmspace_activate(common);
	if (me) {
		const uint64_t start = clock_ns();
		uint64_t n = 1, answer;

		while ((answer = try_write(mine, n)) == DONE) {
			if (n++ == 1)
				count(&race.wrote);
			if (clock_ns() - start >= LONG) {
				count(&absent);
				break;
			}
			tlb_poll();
		}
		expect(answer == NOT_THERE_TO_WRITE);
	} else {
		expect(try_write(mine, 1) == DONE);
		(void)wait_for(&race.wrote, cpu_count() - 1);
		if (vmspace_take_frames(common, BASE, 1, &race.frame))
			count(&wrong);
		else
			memcpy(race.then, word_of(race.frame), sizeof race.then);
		expect(try_write(mine, 2) == NOT_THERE_TO_WRITE);
	}
	(void)meet();
	vmspace_activate(NULL);
}

/* What has been taken nobody writes to any more, not even who did all the time: "unmaps n owned pages and hands their
 * frames to the caller", which is after the shootdown. */
KTEST(mm, check_vmspace_take_from_writers)
{
	const uint64_t before = settled();

	meetings_begin();
	KASSERT_EQ(vmspace_create(0, &common), 0);
	for (unsigned round = 0; round < 10 && !missed.line; round++) {
		memset(&race, 0, sizeof race);
		arrived = 0;
		CHECK(map_at(common, BASE, 1, VM_WRITE), 0);
		CHECK(cpu_on_each(take_from_writers, NULL), 0);
		CHECK(absent, 0);
		CHECK(wrong, 0);
		CHECK(race.frame != 0, true);
		if (!race.frame)
			break;
		for (unsigned i = 0; i < CPU_MAX; i++) {
			CHECK(race.then[i] != 0, i < cpu_count());
			CHECK(word_of(race.frame)[i], race.then[i]);
		}
		CHECK(frame_free(race.frame), 0);
		CHECK(view_of(common).pages, 0);
	}
	CHECK(vmspace_destroy(common), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

static uint32_t holding, asking, answered;

/* Processor 0 has the lock, the others want to change something; it shoots at them while they wait. */
static void hold_lock(void *arg)
{
	const unsigned me = cpu_self()->index;
	const vaddr_t mine = BASE + me * 2 * PAGE_SIZE;

	(void)arg;
	if (!meet())
		return;
	if (me == 0) {
		const uint64_t flags = vmspace_lock(common);
		struct pt_entry e;

		expect(!interrupts_on());
		count(&holding);
		(void)wait_for(&asking, cpu_count() - 1);
		for (unsigned i = 0; i < 200; i++) {
			tlb_shootdown(NULL, DIRECT_MAP_BASE, PAGE_SIZE);
			cpu_pause();
		}
		expect(__atomic_load_n(&answered, __ATOMIC_SEQ_CST) == 0);
		for (unsigned i = 0; i < CPU_MAX; i++) {
			expect(pt_translate(vmspace_root(common), BASE + i * 2 * PAGE_SIZE, &e) == 0 &&
				e.prot == (VM_WRITE | VM_USER));
			expect(pt_translate(vmspace_root(common), BASE + (i * 2 + 1) * PAGE_SIZE, &e) == -ENOENT);
		}
		vmspace_unlock(common, flags);
		expect(!interrupts_on());                       /* as they were */
	} else if (wait_for(&holding, 1)) {
		count(&asking);
		if (me % 3 == 1)
			expect(vmspace_unmap(common, mine, PAGE_SIZE) == 0);
		else if (me % 3 == 2)
			expect(map_at(common, mine + PAGE_SIZE, 1, VM_WRITE) == 0);
		else
			expect(vmspace_protect(common, mine, PAGE_SIZE, VM_READ) == 0);
		count(&answered);
	}
	(void)meet();
}

/* "Between the two nothing of vs is mapped, unmapped or protected by others; interrupts are off. Who waits for it
 * serves tlb_poll()" (invariant 8). */
KTEST(mm, check_vmspace_lock)
{
	const uint64_t before = settled();

	meetings_begin();
	holding = asking = answered = 0;
	KASSERT_EQ(vmspace_create(0, &common), 0);
	for (unsigned i = 0; i < CPU_MAX; i++)
		CHECK(map_at(common, BASE + i * 2 * PAGE_SIZE, 1, VM_WRITE), 0);
	CHECK(cpu_on_each(hold_lock, NULL), 0);
	CHECK(absent, 0);
	CHECK(wrong, 0);
	CHECK(answered, cpu_count() - 1);
	for (unsigned i = 0; i < cpu_count(); i++) {            /* and then it is done */
		const vaddr_t at = BASE + i * 2 * PAGE_SIZE;

		CHECK(prot_at(common, at), !i || i % 3 == 2 ? VM_WRITE | VM_USER : i % 3 == 1 ? 99 : VM_READ | VM_USER);
		CHECK(prot_at(common, at + PAGE_SIZE), i && i % 3 == 2 ? VM_WRITE | VM_USER : 99);
	}
	CHECK(view_of(common).strange, 0);
	CHECK(vmspace_destroy(common), 0);
	CHECK(settled(), before);
	CHECKS_END();
}

enum { WINDOW = 6, WINDOWS = 5, CROWD_STEPS = 150 };

static struct page crowd[CPU_MAX][WINDOWS][WINDOW];
static paddr_t crowd_lent;

/* Windows of the processors lie in turn, side by side. */
static vaddr_t window_of(unsigned cpu, unsigned window)
{
	return BASE + (window * cpu_count() + cpu) * WINDOW * PAGE_SIZE;
}

/* Each lives in its own windows, by a model of its own; every other processor has the space active. */
static void live_in_crowd(void *arg)
{
	const unsigned me = cpu_self()->index;
	uint64_t state = SEED + 100 + me, value = (uint64_t)me << 32;

	(void)arg;
	vmspace_activate(me % 2 ? NULL : common);
	(void)meet();
	for (unsigned step = 0; step < CROWD_STEPS; step++) {
		const uint64_t r = random_of(&state);
		const unsigned w = r % WINDOWS, first = (r >> 8) % WINDOW, n = 1 + (r >> 16) % (WINDOW - first);
		const unsigned prot = (r >> 24) % 3;
		struct page *const p = &crowd[me][w][first];
		const vaddr_t at = window_of(me, w) + first * PAGE_SIZE;
		paddr_t frames[WINDOW];
		unsigned mapped = 0, borrowed = 0;
		int err;

		for (unsigned i = 0; i < n; i++) {
			mapped += p[i].kind != 0;
			borrowed += p[i].kind == 2;
			frames[i] = crowd_lent;
		}
		switch ((r >> 32) % 6) {
		case 0:
		case 1:
			err = map_at(common, at, n, prot);
			expect(err == (mapped ? -EBUSY : 0));
			for (unsigned i = 0; i < n && !err; i++) {
				p[i] = (struct page){ 1, (uint8_t)prot, ++value, frame_at(common, at + i * PAGE_SIZE) };
				expect(p[i].pa != 0 && *word_of(p[i].pa) == 0);
				if (p[i].pa)
					*word_of(p[i].pa) = value;
			}
			break;
		case 2:
			err = lay_at(common, at, frames, n, prot, true);
			expect(err == (mapped ? -EBUSY : 0));
			for (unsigned i = 0; i < n && !err; i++)
				p[i] = (struct page){ 2, (uint8_t)prot, 0x1e47, crowd_lent };
			break;
		case 3:
			err = vmspace_protect(common, at, n * PAGE_SIZE, prot);
			expect(err == (mapped < n ? -ENOENT : 0));
			for (unsigned i = 0; i < n && !err; i++)
				p[i].prot = (uint8_t)prot;
			break;
		case 4:
			err = vmspace_take_frames(common, at, n, frames);
			expect((mapped < n && err == -ENOENT) || (borrowed && err == -EPERM) ||
				(mapped == n && !borrowed && !err));
			for (unsigned i = 0; i < n && !err; i++) {
				expect(frames[i] == p[i].pa && *word_of(frames[i]) == p[i].value);
				expect(frame_free(frames[i]) == 0);
				p[i].kind = 0;
			}
			break;
		default:
			err = vmspace_unmap(common, at, n * PAGE_SIZE);
			expect(err == (mapped < n ? -ENOENT : 0));
			for (unsigned i = 0; i < n && !err; i++)
				p[i].kind = 0;
		}
		for (unsigned i = 0; i < WINDOW; i++)
			expect(is_page(common, &crowd[me][w][i], window_of(me, w) + i * PAGE_SIZE));
		if (!(me % 2) && crowd[me][w][0].kind)
			expect(reads_as(window_of(me, w), crowd[me][w][0].value));
		tlb_poll();
	}
	(void)meet();
	vmspace_activate(NULL);
}

/* All processors change one space at once, next to one another: to each it is as if it were alone. */
KTEST(mm, check_vmspace_crowd)
{
	const uint64_t before = settled();
	uint64_t owned = 0, total = 0;

	meetings_begin();
	ktest_note("seed", SEED + 100);
	memset(crowd, 0, sizeof crowd);
	KASSERT_EQ(frame_alloc(0, &crowd_lent), 0);
	KASSERT_EQ(vmspace_create(0, &common), 0);
	*word_of(crowd_lent) = 0x1e47;
	CHECK(cpu_on_each(live_in_crowd, NULL), 0);
	CHECK(absent, 0);
	CHECK(wrong, 0);
	for (unsigned i = 0; i < cpu_count(); i++)
		for (unsigned w = 0; w < WINDOWS; w++)
			for (unsigned k = 0; k < WINDOW; k++) {
				const struct page *const p = &crowd[i][w][k];

				CHECK(is_page(common, p, window_of(i, w) + k * PAGE_SIZE), true);
				owned += p->kind == 1;
				total += p->kind != 0;
			}
	CHECK(view_of(common).strange, 0);
	CHECK(view_of(common).owned, owned);
	CHECK(view_of(common).pages, total);
	CHECK(vmspace_destroy(common), 0);
	CHECK(frame_free(crowd_lent), 0);
	CHECK(settled(), before);
	CHECKS_END();
}
