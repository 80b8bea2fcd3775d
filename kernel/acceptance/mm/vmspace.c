/* Acceptance of mm/vmspace.c: address spaces of ring 3. See spec/mm.md. */
#include "clock.h"
#include "cpu.h"
#include "memory.h"

#define BASE 0x400000ull

/* ---- reading and writing as ring 3 would, but for its ring: the pages are the user's ---- */

struct word {
	vaddr_t va;
	uint64_t value;
	bool write;
};

static void touch_word(void *arg)
{
	struct word *w = arg;

	if (w->write)
		*(volatile uint64_t *)w->va = w->value;
	else
		w->value = *(volatile uint64_t *)w->va;
}

/* Whether it could be done. SMAP, where it is on, is told that this is meant. */
static bool touch(struct vmspace *vs, struct word *w)
{
	const bool smap = HARNESS_READ("mov %%cr4, %0") >> 21 & 1;
	const uint64_t flags = harness_cli();
	int caught;

	vmspace_activate(vs);
	if (smap)
		__asm__ volatile("stac" : : : "memory", "cc");
	caught = trap_catch(touch_word, w, NULL);
	if (smap)
		__asm__ volatile("clac" : : : "memory", "cc");
	vmspace_activate(NULL);
	harness_restore(flags);
	return caught == 0;
}

static bool poke(struct vmspace *vs, vaddr_t va, uint64_t value)
{
	struct word w = { va, value, true };

	return touch(vs, &w);
}

/* What is there; BAD if it cannot be read. */
#define BAD 0xbadbadbadbadbadull

static uint64_t peek(struct vmspace *vs, vaddr_t va)
{
	struct word w = { va, 0, false };

	return touch(vs, &w) ? w.value : BAD;
}

static struct vmspace_stats stats(struct vmspace *vs)
{
	struct vmspace_stats s;

	vmspace_get_stats(vs, &s);
	return s;
}

/* Maps pages at a place; the error, -1 if it went elsewhere. */
static int map_at(struct vmspace *vs, vaddr_t at, size_t pages, unsigned prot)
{
	vaddr_t va = at;
	const int err = vmspace_map_anon(vs, &va, pages * PAGE_SIZE, prot);

	return err ? err : va == at ? 0 : -1;
}

static bool is_hole(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) == -ENOENT;
}

/* What slabs keep of a first round is not to count. */
static void warm_up(void)
{
	struct vmspace *vs[4];

	for (unsigned i = 0; i < 4; i++)
		if (vmspace_create(0, &vs[i]))
			return;
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < 64; k++)
			map_at(vs[i], BASE + k * 2 * PAGE_SIZE, 1, k % 2 ? VM_WRITE : VM_EXEC);
		vmspace_destroy(vs[i]);
	}
}

KTEST(mm, vmspace_lifecycle)
{
	uint64_t before, seed = harness_seed();

	warm_up();
	before = free_frames();
	for (unsigned i = 0; i < 1000; i++) {
		struct vmspace *vs;
		vaddr_t any = VM_ANY;

		KASSERT_EQ(vmspace_create(0, &vs), 0);
		KASSERT_EQ(vmspace_root(vs) % PAGE_SIZE, 0);
		KASSERT_EQ(map_at(vs, BASE + (harness_random(&seed) & 0xfffffff000), 1 + i % 5, VM_WRITE), 0);
		KASSERT_EQ(vmspace_map_anon(vs, &any, PAGE_SIZE, VM_EXEC), 0);
		if (i % 50 == 0) {
			KASSERT(poke(vs, any, 1) == false);
			KASSERT_EQ(map_at(vs, USER_END - 3 * PAGE_SIZE, 3, VM_WRITE), 0);
			KASSERT(poke(vs, USER_END - 8, i));
			KASSERT_EQ(vmspace_unmap(vs, USER_END - 2 * PAGE_SIZE, PAGE_SIZE), 0);
		}
		KASSERT_EQ(vmspace_destroy(vs), 0);
	}
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, vmspace_isolated)
{
	struct vmspace *a, *b;

	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	KASSERT(vmspace_root(a) != vmspace_root(b));
	KASSERT_EQ(map_at(a, BASE, 2, VM_WRITE), 0);
	KASSERT_EQ(map_at(b, BASE, 1, VM_WRITE), 0);
	KASSERT_EQ(peek(a, BASE), 0);                   /* zeroed */
	KASSERT(poke(a, BASE, 0x1111));
	KASSERT_EQ(peek(b, BASE), 0);
	KASSERT(poke(b, BASE, 0x2222));
	KASSERT_EQ(peek(a, BASE), 0x1111);
	KASSERT_EQ(peek(b, BASE), 0x2222);
	KASSERT(poke(a, BASE + PAGE_SIZE, 0x3333));
	KASSERT_EQ(peek(b, BASE + PAGE_SIZE), BAD);
	KASSERT_EQ(vmspace_destroy(a), 0);
	KASSERT_EQ(peek(b, BASE), 0x2222);
	KASSERT_EQ(vmspace_destroy(b), 0);
}

/* Memory that somebody else had is not seen by who has it now. */
KTEST(mm, vmspace_zeroed)
{
	enum { PAGES = 64 };
	struct vmspace *vs;
	uint64_t left = 0;

	for (unsigned round = 0; round < 2; round++) {
		KASSERT_EQ(vmspace_create(0, &vs), 0);
		KASSERT_EQ(map_at(vs, BASE, PAGES, VM_WRITE), 0);
		for (unsigned i = 0; i < PAGES; i++) {
			struct pt_entry e;
			uint64_t *word;

			KASSERT_EQ(vmspace_translate(vs, BASE + i * PAGE_SIZE, &e), 0);
			KASSERT_EQ(e.prot & (VM_USER | VM_WRITE | VM_EXEC), VM_USER | VM_WRITE);
			word = phys_to_virt(e.pa);
			for (unsigned k = 0; k < PAGE_SIZE / 8; k++)
				left += word[k] != 0;
			harness_memset(word, 0xa5, PAGE_SIZE);
		}
		KASSERT_EQ(vmspace_destroy(vs), 0);
	}
	KASSERT_EQ(left, 0);
}

KTEST(mm, vmspace_kernel)
{
	const uint64_t *kernel = phys_to_virt(kernel_root), *root;
	const uint64_t flags = harness_flags();
	struct vmspace *vs;
	uint64_t cr3, after;
	void *p, *stack;
	int stack_err;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	root = phys_to_virt(vmspace_root(vs));
	for (unsigned i = 0; i < 512; i++)
		KASSERT_EQ(root[i], i < 256 ? 0 : kernel[i]);
	harness_cli();
	vmspace_activate(vs);
	cr3 = HARNESS_READ("mov %%cr3, %0");
	p = kmalloc(100);                               /* all of it works in there */
	stack_err = kstack_alloc(&stack);
	vmspace_activate(NULL);
	after = HARNESS_READ("mov %%cr3, %0");
	harness_restore(flags);
	KASSERT_EQ(cr3 & ~0xfffull, vmspace_root(vs));
	KASSERT_EQ(after & ~0xfffull, kernel_root);
	KASSERT(p != NULL);
	KASSERT_EQ(stack_err, 0);
	((volatile uint64_t *)stack)[-1] = 5;           /* what is mapped while one space is active is there in all */
	KASSERT_EQ(kstack_free(stack), 0);
	KASSERT_EQ(kfree(p), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, vmspace_bounds)
{
	static const struct {
		vaddr_t va;
		size_t len;
		unsigned prot;
	} bad[] = {
		{ 0x1000, PAGE_SIZE, 0 }, { USER_MIN - PAGE_SIZE, PAGE_SIZE, 0 }, { USER_MIN - PAGE_SIZE, 2 * PAGE_SIZE, 0 },
		{ USER_END, PAGE_SIZE, 0 }, { USER_END - PAGE_SIZE, 2 * PAGE_SIZE, 0 }, { USER_MIN, USER_END, 0 },
		{ DIRECT_MAP_BASE, PAGE_SIZE, 0 }, { KERNEL_VIRT_BASE, PAGE_SIZE, 0 }, { -PAGE_SIZE, PAGE_SIZE, 0 },
		{ -PAGE_SIZE, 0x500000, 0 }, { 1ull << 47, PAGE_SIZE, 0 }, { 1ull << 63, PAGE_SIZE, 0 },
		{ BASE, 0, 0 }, { BASE, 1, 0 }, { BASE, PAGE_SIZE + 8, 0 }, { BASE, -PAGE_SIZE, 0 }, { BASE + 1, PAGE_SIZE, 0 },
		{ BASE, PAGE_SIZE, VM_WRITE | VM_EXEC }, { BASE, PAGE_SIZE, VM_UNCACHED }, { BASE, PAGE_SIZE, VM_GLOBAL },
		{ BASE, PAGE_SIZE, 1u << 31 },
	};
	struct vmspace_stats before;
	struct vmspace *vs;
	vaddr_t va;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(map_at(vs, BASE + 16 * PAGE_SIZE, 4, VM_WRITE), 0);
	before = stats(vs);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const bool by_prot = bad[i].prot != 0;

		va = bad[i].va;
		if (vmspace_map_anon(vs, &va, bad[i].len, bad[i].prot) != -EINVAL)
			ktest_note("case", i);
		va = bad[i].va;
		KASSERT_EQ(vmspace_map_anon(vs, &va, bad[i].len, bad[i].prot), -EINVAL);
		KASSERT_EQ(va, bad[i].va);
		KASSERT_EQ(vmspace_protect(vs, bad[i].va, bad[i].len, bad[i].prot), -EINVAL);
		if (!by_prot)
			KASSERT_EQ(vmspace_unmap(vs, bad[i].va, bad[i].len), -EINVAL);
	}
	va = VM_ANY;
	KASSERT_EQ(vmspace_map_anon(vs, &va, 0, 0), -EINVAL);
	KASSERT_EQ(vmspace_map_anon(vs, &va, 7, 0), -EINVAL);
	KASSERT_EQ(vmspace_map_frames(vs, &va, NULL, 0, 0, false), -EINVAL);
	KASSERT_EQ(map_at(vs, BASE + 15 * PAGE_SIZE, 2, VM_READ), -EBUSY);
	KASSERT_EQ(map_at(vs, BASE + 17 * PAGE_SIZE, 1, VM_READ), -EBUSY);
	KASSERT_EQ(map_at(vs, BASE + 19 * PAGE_SIZE, 2, VM_READ), -EBUSY);
	KASSERT_EQ(map_at(vs, BASE, 64, VM_READ), -EBUSY);
	KASSERT(is_hole(vs, BASE));
	KASSERT(is_hole(vs, BASE + 15 * PAGE_SIZE));
	KASSERT_EQ(stats(vs).frames, before.frames);
	KASSERT_EQ(stats(vs).tables, before.tables);
	/* the first and the last that there are */
	KASSERT_EQ(map_at(vs, USER_MIN, 1, VM_WRITE), 0);
	KASSERT_EQ(map_at(vs, USER_END - PAGE_SIZE, 1, VM_WRITE), 0);
	KASSERT(poke(vs, USER_MIN, 1));
	KASSERT(poke(vs, USER_END - 8, 1));
	KASSERT_EQ(peek(vs, USER_MIN - 8), BAD);
	KASSERT_EQ(peek(vs, 0), BAD);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- places that mm chooses ---- */

/* Maps one borrowed frame as often as it takes, somewhere; how often. */
static size_t fit(struct vmspace *vs, paddr_t frame, size_t len, vaddr_t *va)
{
	static paddr_t frames[1024];
	const size_t n = len / PAGE_SIZE;

	if (n > 1024)
		return 0;
	for (size_t i = 0; i < n; i++)
		frames[i] = frame;
	*va = VM_ANY;
	return vmspace_map_frames(vs, va, frames, n, VM_READ, true) == 0 ? n : 0;
}

KTEST(mm, vmspace_any)
{
	enum { MAPS = 40 };
	struct vmspace *vs;
	vaddr_t at[MAPS], va;
	paddr_t frame;

	KASSERT_EQ(frame_alloc(0, &frame), 0);
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(map_at(vs, USER_MIN + 2 * PAGE_SIZE, 3, VM_WRITE), 0);       /* what it has to go around */
	for (unsigned i = 0; i < MAPS; i++) {
		const size_t len = (1 + i % 7) * PAGE_SIZE;

		KASSERT_EQ(fit(vs, frame, len, &at[i]), 1 + i % 7);
		KASSERT_EQ(at[i] % PAGE_SIZE, 0);
		KASSERT(at[i] >= USER_MIN && at[i] + len <= USER_END);
		KASSERT(at[i] + len <= USER_MIN + 2 * PAGE_SIZE || at[i] >= USER_MIN + 5 * PAGE_SIZE);
		for (unsigned j = 0; j < i; j++)
			KASSERT(at[i] + len <= at[j] || at[j] + (1 + j % 7) * PAGE_SIZE <= at[i]);
	}
	KASSERT_EQ(vmspace_destroy(vs), 0);

	/* nearly all is taken, by a few pages far apart as little as by many: what fits nowhere is refused, what fits is found */
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	va = VM_ANY;
	KASSERT_EQ(vmspace_map_anon(vs, &va, USER_END - USER_MIN + PAGE_SIZE, 0), -EINVAL);
	KASSERT_EQ(va, VM_ANY);
	for (vaddr_t step = 1ull << 42, page = step; page < USER_END; page += step)
		KASSERT_EQ(map_at(vs, page, 1, VM_READ), 0);
	va = VM_ANY;
	KASSERT_EQ(vmspace_map_anon(vs, &va, 1ull << 43, 0), -ENOMEM);          /* no such hole, and no such memory */
	KASSERT_EQ(va, VM_ANY);
	for (unsigned round = 0; round < 2; round++) {
		KASSERT_EQ(fit(vs, frame, 1024 * PAGE_SIZE, &va), 1024);
		KASSERT_EQ(vmspace_unmap(vs, va, 1024 * PAGE_SIZE), 0);
	}
	KASSERT_EQ(vmspace_destroy(vs), 0);
	KASSERT_EQ(frame_free(frame), 0);
}

KTEST(mm, vmspace_limit)
{
	struct vmspace *vs;
	uint64_t before;
	paddr_t frame[2], taken;
	vaddr_t va = BASE;

	warm_up();
	KASSERT_EQ(vmspace_create(9, &vs), 0);
	KASSERT_EQ(stats(vs).limit, 9);
	KASSERT_EQ(stats(vs).frames, 0);
	KASSERT_EQ(stats(vs).tables, 1);                /* the root */
	KASSERT_EQ(map_at(vs, BASE, 3, VM_WRITE), 0);
	KASSERT_EQ(stats(vs).frames, 3);
	KASSERT_EQ(stats(vs).tables, 4);
	before = free_frames();
	KASSERT_EQ(map_at(vs, BASE + 16 * PAGE_SIZE, 3, VM_WRITE), -ENOMEM);    /* one over */
	KASSERT_EQ(map_at(vs, BASE + (1ull << 30), 1, VM_WRITE), -ENOMEM);      /* over by a table */
	KASSERT(is_hole(vs, BASE + 16 * PAGE_SIZE));
	KASSERT(is_hole(vs, BASE + (1ull << 30)));
	KASSERT_EQ(stats(vs).frames, 3);
	KASSERT_EQ(stats(vs).tables, 4);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(map_at(vs, BASE + (2ull << 20), 1, VM_WRITE), 0);            /* a page and a table: just so */
	KASSERT_EQ(stats(vs).frames, 4);
	KASSERT_EQ(stats(vs).tables, 5);
	KASSERT_EQ(map_at(vs, BASE + 16 * PAGE_SIZE, 1, VM_WRITE), -ENOMEM);
	KASSERT_EQ(vmspace_unmap(vs, BASE, PAGE_SIZE), 0);
	KASSERT_EQ(stats(vs).frames, 3);
	KASSERT_EQ(stats(vs).tables, 5);                /* tables stay */
	KASSERT_EQ(map_at(vs, BASE + 16 * PAGE_SIZE, 1, VM_WRITE), 0);
	/* borrowed frames do not count, owned ones do */
	KASSERT_EQ(frame_alloc(0, &frame[0]), 0);
	KASSERT_EQ(vmspace_map_frames(vs, &va, frame, 1, VM_READ, false), -ENOMEM);
	KASSERT_EQ(vmspace_map_frames(vs, &va, frame, 1, VM_READ, true), 0);
	KASSERT_EQ(stats(vs).frames, 4);
	KASSERT_EQ(vmspace_unmap(vs, BASE, PAGE_SIZE), 0);
	KASSERT_EQ(vmspace_take_frames(vs, BASE + PAGE_SIZE, 1, &taken), 0);
	KASSERT_EQ(stats(vs).frames, 3);
	KASSERT_EQ(vmspace_map_frames(vs, &va, frame, 1, VM_READ, false), 0);
	KASSERT_EQ(stats(vs).frames, 4);
	KASSERT_EQ(frame_free(taken), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
	KASSERT_EQ(frame_free(frame[0]), -EINVAL);      /* went with the space that owned it */
}

KTEST(mm, vmspace_frames)
{
	enum { N = 4 };
	struct vmspace *a, *b;
	paddr_t frames[N], more[N];
	vaddr_t va = BASE, other = BASE + 100 * PAGE_SIZE;
	struct pt_entry e;
	uint64_t before;

	warm_up();
	before = free_frames();
	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	KASSERT_EQ(map_at(a, BASE, N + 2, VM_WRITE), 0);
	for (unsigned i = 0; i < N + 2; i++)
		KASSERT(poke(a, BASE + i * PAGE_SIZE + 16, 0x5000 + i));
	KASSERT_EQ(vmspace_take_frames(a, BASE + PAGE_SIZE, N, frames), 0);
	KASSERT(is_hole(a, BASE + PAGE_SIZE));
	KASSERT(is_hole(a, BASE + N * PAGE_SIZE));
	KASSERT_EQ(peek(a, BASE + PAGE_SIZE + 16), BAD);
	KASSERT_EQ(peek(a, BASE + 16), 0x5000);
	KASSERT_EQ(peek(a, BASE + (N + 1) * PAGE_SIZE + 16), 0x5000 + N + 1);
	KASSERT_EQ(stats(a).frames, 2);
	for (unsigned i = 0; i < N; i++)
		KASSERT_EQ(*(uint64_t *)phys_to_virt(frames[i] + 16), 0x5001 + i);
	KASSERT_EQ(vmspace_map_frames(b, &va, frames, N, VM_WRITE, false), 0);
	KASSERT_EQ(va, BASE);
	KASSERT_EQ(stats(b).frames, N);
	for (unsigned i = 0; i < N; i++) {
		KASSERT_EQ(peek(b, BASE + i * PAGE_SIZE + 16), 0x5001 + i);
		KASSERT_EQ(vmspace_translate(b, BASE + i * PAGE_SIZE, &e), 0);
		KASSERT_EQ(e.pa, frames[i]);
	}
	/* what b owns, a borrows */
	KASSERT_EQ(vmspace_map_frames(a, &other, frames, N, VM_READ, true), 0);
	KASSERT_EQ(stats(a).frames, 2);
	KASSERT_EQ(peek(a, other + 16), 0x5001);
	KASSERT(!poke(a, other + 16, 7));
	KASSERT(poke(b, BASE + 16, 0x7777));
	KASSERT_EQ(peek(a, other + 16), 0x7777);
	KASSERT_EQ(vmspace_take_frames(a, other, N, more), -EPERM);
	KASSERT_EQ(vmspace_take_frames(a, other, 1, more), -EPERM);
	KASSERT_EQ(vmspace_take_frames(a, BASE + PAGE_SIZE, 1, more), -ENOENT);
	KASSERT_EQ(vmspace_take_frames(a, BASE, 2, more), -ENOENT);
	KASSERT_EQ(vmspace_take_frames(a, BASE + 1, 1, more), -EINVAL);
	KASSERT_EQ(vmspace_take_frames(a, BASE, 0, more), -EINVAL);
	KASSERT_EQ(peek(a, BASE + 16), 0x5000);
	KASSERT_EQ(peek(a, other + 16), 0x7777);
	KASSERT_EQ(vmspace_destroy(a), 0);
	KASSERT_EQ(peek(b, BASE + 16), 0x7777);         /* borrowed frames were not freed */
	for (unsigned i = 0; i < N; i++)
		frame_set_tag(frames[i], 1);            /* a free one would be a panic */
	KASSERT_EQ(vmspace_destroy(b), 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, vmspace_unmap)
{
	struct vmspace *vs;
	uint64_t before;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(map_at(vs, BASE, 16, VM_WRITE), 0);
	KASSERT_EQ(map_at(vs, BASE + 16 * PAGE_SIZE, 16, VM_READ), 0);
	before = free_frames();
	KASSERT_EQ(vmspace_unmap(vs, BASE + 32 * PAGE_SIZE, PAGE_SIZE), -ENOENT);
	KASSERT_EQ(vmspace_unmap(vs, BASE - PAGE_SIZE, 2 * PAGE_SIZE), -ENOENT);
	KASSERT_EQ(vmspace_unmap(vs, BASE + 31 * PAGE_SIZE, 2 * PAGE_SIZE), -ENOENT);
	KASSERT_EQ(vmspace_protect(vs, BASE, 33 * PAGE_SIZE, VM_EXEC), -ENOENT);
	KASSERT_EQ(stats(vs).frames, 32);
	KASSERT_EQ(vmspace_unmap(vs, BASE + 8 * PAGE_SIZE, 16 * PAGE_SIZE), 0);  /* the ends of two mappings */
	KASSERT_EQ(stats(vs).frames, 16);
	KASSERT(free_frames() >= before + 15);          /* a page may go into the keeping of books */
	for (unsigned i = 0; i < 32; i++)
		KASSERT_EQ(is_hole(vs, BASE + i * PAGE_SIZE), i >= 8 && i < 24);
	KASSERT_EQ(vmspace_unmap(vs, BASE, 32 * PAGE_SIZE), -ENOENT);
	KASSERT(!is_hole(vs, BASE));
	KASSERT_EQ(map_at(vs, BASE + 8 * PAGE_SIZE, 16, VM_EXEC), 0);
	KASSERT_EQ(vmspace_unmap(vs, BASE, 32 * PAGE_SIZE), 0);
	KASSERT_EQ(stats(vs).frames, 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, vmspace_protect)
{
	struct vmspace *vs;
	struct pt_entry e;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(map_at(vs, BASE, 8, VM_WRITE), 0);
	for (unsigned i = 0; i < 8; i++)
		KASSERT(poke(vs, BASE + i * PAGE_SIZE, i));
	KASSERT_EQ(vmspace_protect(vs, BASE + 2 * PAGE_SIZE, 3 * PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(vmspace_protect(vs, BASE + 4 * PAGE_SIZE, PAGE_SIZE, VM_EXEC), 0);
	for (unsigned i = 0; i < 8; i++) {
		const unsigned prot = i == 4 ? VM_EXEC : i == 2 || i == 3 ? VM_READ : VM_WRITE;

		KASSERT_EQ(vmspace_translate(vs, BASE + i * PAGE_SIZE + 5, &e), 0);
		KASSERT_EQ(e.prot, prot | VM_USER);
		KASSERT_EQ(peek(vs, BASE + i * PAGE_SIZE), i);
		KASSERT_EQ(poke(vs, BASE + i * PAGE_SIZE, i), prot == VM_WRITE);
	}
	KASSERT_EQ(vmspace_protect(vs, BASE, 8 * PAGE_SIZE, VM_WRITE), 0);
	for (unsigned i = 0; i < 8; i++)
		KASSERT(poke(vs, BASE + i * PAGE_SIZE, i));
	KASSERT_EQ(stats(vs).frames, 8);
	KASSERT_EQ(vmspace_translate(vs, KERNEL_VIRT_BASE + harness_addr(__kernel_phys_end) - PAGE_SIZE, &e), -ENOENT);
	KASSERT_EQ(vmspace_translate(vs, 1ull << 63, &e), -EINVAL);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

KTEST(mm, vmspace_active)
{
	const uint64_t flags = harness_flags();
	struct vmspace *a, *b;
	int first, second, third;

	KASSERT_EQ(vmspace_create(0, &a), 0);
	KASSERT_EQ(vmspace_create(0, &b), 0);
	harness_cli();
	vmspace_activate(a);
	first = vmspace_destroy(a);
	vmspace_activate(a);
	vmspace_activate(b);
	second = vmspace_destroy(b);
	third = vmspace_destroy(a);                     /* no longer */
	vmspace_activate(NULL);
	vmspace_activate(NULL);
	harness_restore(flags);
	KASSERT_EQ(first, -EBUSY);
	KASSERT_EQ(second, -EBUSY);
	KASSERT_EQ(third, 0);
	KASSERT_EQ(vmspace_destroy(b), 0);
}

/* ---- what there is, told in order ---- */

static struct {
	unsigned regions, strange;
	vaddr_t last;
	uint64_t pages, stop;
} told;

static int tell(const struct vm_region *r, void *arg)
{
	told.regions++;
	told.strange += arg != &told || r->va < told.last || !r->len || (r->va | r->len) % PAGE_SIZE;
	told.last = r->va + r->len;
	told.pages += r->len / PAGE_SIZE;
	return told.regions == told.stop ? 42 : 0;
}

KTEST(mm, vmspace_for_each)
{
	struct vmspace *vs;

	KASSERT_EQ(vmspace_create(0, &vs), 0);
	harness_memset(&told, 0, sizeof told);
	KASSERT_EQ(vmspace_for_each(vs, tell, &told), 0);
	KASSERT_EQ(told.regions, 0);
	KASSERT_EQ(map_at(vs, BASE + 40 * PAGE_SIZE, 2, VM_WRITE), 0);
	KASSERT_EQ(map_at(vs, BASE, 8, VM_WRITE), 0);
	KASSERT_EQ(map_at(vs, USER_END - PAGE_SIZE, 1, VM_EXEC), 0);
	KASSERT_EQ(vmspace_unmap(vs, BASE + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	KASSERT_EQ(vmspace_protect(vs, BASE + 5 * PAGE_SIZE, PAGE_SIZE, VM_READ), 0);
	KASSERT_EQ(vmspace_for_each(vs, tell, &told), 0);
	KASSERT_EQ(told.strange, 0);
	KASSERT_EQ(told.pages, 10);
	KASSERT(told.regions >= 6);                     /* 0-2, 4, 5, 6-7, 40-41, the last */
	KASSERT_EQ(told.last, USER_END);
	harness_memset(&told, 0, sizeof told);
	told.stop = 2;
	KASSERT_EQ(vmspace_for_each(vs, tell, &told), 42);
	KASSERT_EQ(told.regions, 2);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- nothing left ---- */

KTEST(mm, vmspace_oom)
{
	enum { SPARES = 12, WANTED = 4 + 3, BOOKS = 2 };          /* pages and tables; what slabs may take of it */
	struct vmspace *vs, *other;
	paddr_t spare[SPARES], all;
	unsigned n = 0, lost = 0;
	int err, create;

	warm_up();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(map_at(vs, 1ull << 40, 1, VM_WRITE), 0);
	KASSERT_EQ(vmspace_unmap(vs, 1ull << 40, PAGE_SIZE), 0);
	for (unsigned i = 0; i < SPARES; i++)
		KASSERT_EQ(frame_alloc(0, &spare[i]), 0);
	all = hog();
	create = vmspace_create(0, &other);
	while ((err = map_at(vs, BASE, 4, VM_WRITE)) == -ENOMEM && n < SPARES) {
		lost += free_frames() > n || free_frames() + BOOKS < n || stats(vs).frames != 0 || stats(vs).tables != 4 || !is_hole(vs, BASE);
		frame_free(spare[n++]);
	}
	unhog(all);
	for (unsigned i = n; i < SPARES; i++)
		frame_free(spare[i]);
	KASSERT_EQ(create, -ENOMEM);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(lost, 0);
	KASSERT(n >= WANTED);
	KASSERT(n <= WANTED + BOOKS);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* ---- random work against one word a page ---- */

enum { SPACES = 4, PAGES = 512, RANDOM_OPERATIONS = 10000 };

static struct page {
	uint8_t prot, mapped;           /* 2: borrowed */
	uint32_t value;
} pages[SPACES][PAGES];

static bool is_right(struct vmspace *vs, const struct page *p, vaddr_t va)
{
	struct pt_entry e;
	const int err = vmspace_translate(vs, va, &e);

	if (!p->mapped)
		return err == -ENOENT;
	return err == 0 && e.size == PAGE_SIZE && e.prot == (p->prot | VM_USER) && *(uint32_t *)phys_to_virt(e.pa) == p->value;
}

KTEST(mm, vmspace_random)
{
	static const unsigned prots[] = { VM_READ, VM_WRITE, VM_EXEC };
	uint64_t seed = harness_seed(), wrong = 0, before;
	struct vmspace *vs[SPACES];
	static paddr_t moved[16];
	paddr_t lent;

	warm_up();
	before = free_frames();
	harness_memset(pages, 0, sizeof pages);
	KASSERT_EQ(frame_alloc(FRAME_ZERO, &lent), 0);
	*(uint32_t *)phys_to_virt(lent) = 0x1e47;
	for (unsigned i = 0; i < SPACES; i++)
		KASSERT_EQ(vmspace_create(0, &vs[i]), 0);
	for (unsigned i = 0; i < RANDOM_OPERATIONS && !wrong; i++) {
		const uint64_t r = harness_random(&seed);
		const unsigned k = r % SPACES, first = r >> 8 & (PAGES - 1);
		const unsigned n = 1 + (r >> 20 & 15) < PAGES - first ? 1 + (r >> 20 & 15) : PAGES - first;
		const unsigned prot = prots[(r >> 28) % 3], to = (k + 1) % SPACES;
		struct page *p = &pages[k][first];
		vaddr_t va = BASE + first * PAGE_SIZE;
		unsigned mapped = 0, borrowed = 0, taken = 0;
		int err, wanted;

		for (unsigned j = 0; j < n; j++) {
			mapped += p[j].mapped != 0;
			borrowed += p[j].mapped == 2;
			taken += pages[to][first + j].mapped != 0;
		}
		switch (r >> 32 & 7) {
		case 0:
		case 1:
		case 2:
			err = vmspace_map_anon(vs[k], &va, n * PAGE_SIZE, prot);
			wanted = mapped ? -EBUSY : 0;
			for (unsigned j = 0; j < n && !wanted && !err; j++) {
				struct pt_entry e;

				p[j] = (struct page){ (uint8_t)prot, 1, (uint32_t)(i * 16 + j + 1) };
				wrong += vmspace_translate(vs[k], va + j * PAGE_SIZE, &e) != 0;
				if (!wrong)
					*(uint32_t *)phys_to_virt(e.pa) = p[j].value;
			}
			break;
		case 3:
			for (unsigned j = 0; j < n; j++)
				moved[j] = lent;
			err = vmspace_map_frames(vs[k], &va, moved, n, prot, true);
			wanted = mapped ? -EBUSY : 0;
			for (unsigned j = 0; j < n && !wanted; j++)
				p[j] = (struct page){ (uint8_t)prot, 2, 0x1e47 };
			break;
		case 4:
			err = vmspace_unmap(vs[k], va, n * PAGE_SIZE);
			wanted = mapped < n ? -ENOENT : 0;
			for (unsigned j = 0; j < n && !wanted; j++)
				p[j].mapped = 0;
			break;
		case 5:                                 /* from one space to the next */
			err = vmspace_take_frames(vs[k], va, n, moved);
			wanted = mapped < n ? -ENOENT : borrowed ? -EPERM : 0;
			if (!wanted && !err) {
				const int mapping = vmspace_map_frames(vs[to], &va, moved, n, prot, false);

				wrong += mapping != (taken ? -EBUSY : 0);
				for (unsigned j = 0; j < n; j++) {
					if (mapping == 0)
						pages[to][first + j] = (struct page){ (uint8_t)prot, 1, p[j].value };
					else
						wrong += frame_free(moved[j]) != 0;
					p[j].mapped = 0;
				}
			}
			break;
		default:
			err = vmspace_protect(vs[k], va, n * PAGE_SIZE, prot);
			wanted = mapped < n ? -ENOENT : 0;
			for (unsigned j = 0; j < n && !wanted; j++)
				p[j].prot = (uint8_t)prot;
		}
		wrong += err != wanted;
		for (unsigned j = 0; j < 8; j++) {
			const unsigned s = j < 4 ? k : (unsigned)(harness_random(&seed) % SPACES);
			const unsigned at = j == 0 ? first : j == 1 ? first + n - 1 : (unsigned)(harness_random(&seed) % PAGES);

			wrong += !is_right(vs[s], &pages[s][at], BASE + at * PAGE_SIZE);
		}
		if (wrong)
			ktest_note("operation", i);
	}
	for (unsigned s = 0; s < SPACES; s++) {
		uint64_t own = 0, total = 0;

		for (unsigned at = 0; at < PAGES; at++) {
			wrong += !is_right(vs[s], &pages[s][at], BASE + at * PAGE_SIZE);
			own += pages[s][at].mapped == 1;
			total += pages[s][at].mapped != 0;
		}
		wrong += stats(vs[s]).frames != own;
		harness_memset(&told, 0, sizeof told);
		vmspace_for_each(vs[s], tell, &told);
		wrong += told.pages != total || told.strange;
		wrong += vmspace_destroy(vs[s]) != 0;
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(frame_free(lent), 0);
	/* slabs may keep a little, and no more: a frame for what each 64 regions take */
	KASSERT(free_frames() <= before + 16);
	KASSERT(free_frames() + 64 >= before);
}

/* ---- several processors in one space ---- */

static struct {
	struct vmspace *vs;
	unsigned processors;
	uint32_t arrived, working;
	uint64_t wrong, rounds[CPU_MAX];
} crowd;

/* Each maps, uses and unmaps pages of its own, interrupts off: who waits for another's lock has to answer that one's shootdown. */
static void crowd_works(void *arg)
{
	const unsigned me = cpu_self()->index;
	const vaddr_t at = BASE + me * 64 * PAGE_SIZE;
	uint64_t deadline;
	const bool smap = HARNESS_READ("mov %%cr4, %0") >> 21 & 1;

	(void)arg;
	vmspace_activate(crowd.vs);
	__atomic_fetch_add(&crowd.arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&crowd.arrived, __ATOMIC_SEQ_CST) < crowd.processors) {
		tlb_poll();
		__asm__ volatile("pause");
	}
	deadline = clock_ns() + 200000000;
	for (unsigned i = 0; i == 0 || (i < 200 && clock_ns() < deadline); i++, crowd.rounds[me]++) {
		struct word w = { at + i % 3 * PAGE_SIZE, (uint64_t)me << 32 | i, true };
		unsigned wrong = map_at(crowd.vs, at, 3, VM_WRITE) != 0;

		if (smap)
			__asm__ volatile("stac" : : : "memory", "cc");
		wrong += trap_catch(touch_word, &w, NULL) != 0;
		w.write = false;
		w.value = 0;
		wrong += trap_catch(touch_word, &w, NULL) != 0;
		wrong += w.value != ((uint64_t)me << 32 | i);
		wrong += vmspace_unmap(crowd.vs, at, 3 * PAGE_SIZE) != 0;
		wrong += trap_catch(touch_word, &w, NULL) != 1;         /* it is gone at once */
		if (smap)
			__asm__ volatile("clac" : : : "memory", "cc");
		if (wrong)
			__atomic_fetch_add(&crowd.wrong, wrong, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_sub(&crowd.working, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&crowd.working, __ATOMIC_SEQ_CST)) {
		tlb_poll();
		__asm__ volatile("pause");
	}
	vmspace_activate(NULL);
}

KTEST(mm, vmspace_smp)
{
	harness_memset(&crowd, 0, sizeof crowd);
	crowd.processors = crowd.working = memory_processors();
	KASSERT_EQ(vmspace_create(0, &crowd.vs), 0);
	KASSERT_EQ(cpu_on_each(crowd_works, NULL), 0);
	KASSERT_EQ(crowd.wrong, 0);
	for (unsigned i = 0; i < crowd.processors; i++)
		KASSERT(crowd.rounds[i] > 0);
	KASSERT_EQ(stats(crowd.vs).frames, 0);
	KASSERT_EQ(vmspace_destroy(crowd.vs), 0);
}

/* What one processor unmaps or protects another no longer has; what was never told is not sent. */
static struct vmspace *shared;
static uint64_t seen[CPU_MAX];

static void enter_and_read(void *arg)
{
	struct word w = { BASE, 0, false };
	const bool smap = HARNESS_READ("mov %%cr4, %0") >> 21 & 1;

	(void)arg;
	vmspace_activate(shared);
	if (smap)
		__asm__ volatile("stac" : : : "memory", "cc");
	seen[cpu_self()->index] = trap_catch(touch_word, &w, NULL) == 0 ? w.value : BAD;
	if (smap)
		__asm__ volatile("clac" : : : "memory", "cc");
}

static void leave(void *arg)
{
	(void)arg;
	vmspace_activate(NULL);
}

KTEST(mm, vmspace_shootdown)
{
	uint64_t before, sent, idle;

	if (memory_processors() == 1)
		return;                                 /* there is no other */
	KASSERT_EQ(vmspace_create(0, &shared), 0);
	KASSERT_EQ(map_at(shared, BASE, 1, VM_WRITE), 0);
	KASSERT(poke(shared, BASE, 0x77));
	before = tlb_ipi_count();
	KASSERT_EQ(vmspace_protect(shared, BASE, PAGE_SIZE, VM_READ), 0);
	idle = tlb_ipi_count() - before;                /* active nowhere */
	KASSERT_EQ(cpu_call(1, enter_and_read, NULL), 0);
	KASSERT_EQ(seen[1], 0x77);
	KASSERT_EQ(vmspace_destroy(shared), -EBUSY);
	KASSERT_EQ(vmspace_unmap(shared, BASE, PAGE_SIZE), 0);
	sent = tlb_ipi_count() - before;
	KASSERT_EQ(cpu_call(1, enter_and_read, NULL), 0);
	KASSERT_EQ(cpu_call(1, leave, NULL), 0);
	KASSERT_EQ(seen[1], BAD);
	KASSERT_EQ(idle, 0);
	KASSERT_EQ(sent, 1);
	KASSERT_EQ(vmspace_destroy(shared), 0);
}

/* ---- the same place, wanted by all at once ---- */

enum { LIMIT = 6 };                     /* root and tables of a page, that, and one more */

static struct {
	struct vmspace *vs;
	uint32_t processors, arrived, got, busy, none, wrong;
	vaddr_t any[CPU_MAX];
} rush;

static void all_meet(uint32_t wanted)
{
	__atomic_fetch_add(&rush.arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&rush.arrived, __ATOMIC_SEQ_CST) < wanted) {
		tlb_poll();
		__asm__ volatile("pause");
	}
}

static void map_the_same(void *arg)
{
	int err;

	(void)arg;
	all_meet(rush.processors);
	err = map_at(rush.vs, BASE, 1, VM_WRITE);
	__atomic_fetch_add(err == 0 ? &rush.got : err == -EBUSY ? &rush.busy : err == -ENOMEM ? &rush.none : &rush.wrong, 1, __ATOMIC_SEQ_CST);
	all_meet(2 * rush.processors);
}

static void map_any(void *arg)
{
	vaddr_t va = VM_ANY;

	(void)arg;
	all_meet(rush.processors);
	if (vmspace_map_anon(rush.vs, &va, 2 * PAGE_SIZE, VM_WRITE) != 0)
		__atomic_fetch_add(&rush.wrong, 1, __ATOMIC_SEQ_CST);
	rush.any[cpu_self()->index] = va;
	all_meet(2 * rush.processors);
}

static void map_a_last_page(void *arg)
{
	const vaddr_t at = BASE + (1 + cpu_self()->index) * PAGE_SIZE;
	int err;

	(void)arg;
	all_meet(rush.processors);
	err = map_at(rush.vs, at, 1, VM_WRITE);
	__atomic_fetch_add(err == 0 ? &rush.got : err == -ENOMEM ? &rush.none : &rush.wrong, 1, __ATOMIC_SEQ_CST);
	all_meet(2 * rush.processors);
}

KTEST(mm, vmspace_rush)
{
	const unsigned processors = memory_processors();
	struct vmspace_stats s;
	uint64_t before;

	warm_up();
	before = free_frames();
	for (unsigned round = 0; round < 30; round++) {
		harness_memset(&rush, 0, sizeof rush);
		rush.processors = processors;
		KASSERT_EQ(vmspace_create(0, &rush.vs), 0);
		KASSERT_EQ(cpu_on_each(map_the_same, NULL), 0);
		KASSERT_EQ(rush.got, 1);
		KASSERT_EQ(rush.busy, processors - 1);
		KASSERT_EQ(stats(rush.vs).frames, 1);
		rush.arrived = 0;
		KASSERT_EQ(cpu_on_each(map_any, NULL), 0);
		KASSERT_EQ(rush.wrong, 0);
		for (unsigned i = 0; i < processors; i++)
			for (unsigned j = 0; j < i; j++)
				KASSERT(rush.any[i] + 2 * PAGE_SIZE <= rush.any[j] || rush.any[j] + 2 * PAGE_SIZE <= rush.any[i]);
		KASSERT_EQ(stats(rush.vs).frames, 1 + 2 * processors);
		KASSERT_EQ(vmspace_destroy(rush.vs), 0);

		harness_memset(&rush, 0, sizeof rush);
		rush.processors = processors;
		KASSERT_EQ(vmspace_create(LIMIT, &rush.vs), 0);
		KASSERT_EQ(map_at(rush.vs, BASE, 1, VM_WRITE), 0);      /* and room for one more */
		KASSERT_EQ(cpu_on_each(map_a_last_page, NULL), 0);
		s = stats(rush.vs);
		KASSERT_EQ(rush.wrong, 0);
		KASSERT_EQ(rush.got, 1);
		KASSERT_EQ(rush.none, processors - 1);
		KASSERT(s.frames + s.tables <= LIMIT);
		KASSERT_EQ(vmspace_destroy(rush.vs), 0);
	}
	KASSERT(free_frames() <= before + 8);
	KASSERT(free_frames() + 8 >= before);
}
