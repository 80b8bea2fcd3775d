/* Further tests of sched/elf.c: headers in any order and place, what is not looked at, images at any address with
 * nothing mapped before and behind, too little memory at every point, and the ends of segments, of pages and of
 * user space. See spec/sched.md, "ELF", and include/process.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "desc.h"
#include "errno.h"
#include "harness.h"
#include "mm.h"
#include "process.h"
#include "string.h"

#define SEED 0x656c6621u
#define NOWHERE 0x1234567ul             /* what the entry is before */

enum { IMAGE = 0x3000, HEADERS = 64, PARTS = 12 };
enum { LOAD = 1, INTERP = 3, X = 1, W = 2, R = 4 };
enum { FAULTED = -1000 };

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program_header {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* The program that is tried: headers, in the order in which they stand, and where. */
static struct {
	struct elf_header h;
	unsigned n;
	struct program_header ph[HEADERS];
} program;

static uint8_t image[IMAGE + 32];

/* xorshift32 */
static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint64_t free_frames(void)
{
	struct frame_stats stats;

	frame_get_stats(&stats);
	return stats.free;
}

static uint64_t page_of(uint64_t va)
{
	return va & ~(PAGE_SIZE - 1);
}

static uint64_t pages_end(const struct program_header *ph)
{
	return page_of(ph->vaddr + ph->memsz + PAGE_SIZE - 1);
}

/* ---- programs ---- */

static void start_program(uint64_t entry)
{
	memset(&program, 0, sizeof program);
	program.h = (struct elf_header){
		.ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 }, .type = 2, .machine = 62, .version = 1, .entry = entry,
		.phoff = sizeof(struct elf_header), .ehsize = 64, .phentsize = 56,
	};
}

static struct program_header *add(uint32_t flags, uint64_t vaddr, uint64_t memsz, uint64_t offset, uint64_t filesz)
{
	struct program_header *const ph = &program.ph[program.n++];

	*ph = (struct program_header){ LOAD, flags, offset, vaddr, vaddr, filesz, memsz, PAGE_SIZE };
	return ph;
}

/* Twelve parts that begin and end within pages, with nothing, something or all of it in the file. */
static void many_parts(void)
{
	static const uint32_t flags[] = { R | X, R, R | W };

	start_program(0x400000);
	for (unsigned i = 0; i < PARTS; i++) {
		const uint64_t memsz = 0x700 + i * 0x111;

		add(flags[i % 3], 0x400000 + i * 0x3000 + i * 0x123, memsz, 0x1000 + i * 0x83,
		    i % 4 == 3 ? 0 : i % 4 ? memsz / 2 + i : memsz);
	}
}

/* Three parts far from each other, so that each needs tables of its own; nine pages. */
static void far_parts(void)
{
	start_program(0x400fff);
	add(R | X, 0x400800, 0x1000, 0x1003, 0x1000);
	add(R, 0x40000000, 0x2801, 0x2004, 0x800);
	add(R | W, 0x7f0000000ff0, 0x3000, 0x2805, 0x30);
}

/* One page each of text, constants, data. */
static void small_parts(void)
{
	start_program(0x400000);
	add(R | X, 0x400000, 0x800, 0x1000, 0x800);
	add(R, 0x404080, 0x100, 0x1800, 0x100);
	add(R | W, 0x408100, 0x1000, 0x1900, 0x80);
}

/* No byte of it is 0. */
static void write_image(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(i * 11 + (i >> 7)) | 1;
	program.h.phnum = (uint16_t)program.n;
	memcpy(at, &program.h, sizeof program.h);
	memcpy(at + program.h.phoff, program.ph, program.n * sizeof *program.ph);
}

/* ---- loading ---- */

struct attempt {
	struct vmspace *vs;
	const void *image;
	size_t len;
	vaddr_t entry;
	int err;
};

static void attempt(void *arg)
{
	struct attempt *const a = arg;

	a->err = elf_load(a->vs, a->image, a->len, &a->entry);
}

/* What it says; FAULTED: it has read where nothing is. The space's lock may be held then. */
static int load(struct vmspace *vs, const void *at, size_t len, vaddr_t *entry)
{
	struct attempt a = { vs, at, len, *entry, 0 };
	const int caught = trap_catch(attempt, &a, NULL);

	*entry = a.entry;
	return caught ? FAULTED : a.err;
}

static size_t owned(struct vmspace *vs)
{
	struct vmspace_stats stats;

	vmspace_get_stats(vs, &stats);
	return stats.frames;
}

/* A page of the space, if it is mapped; its protection. */
static uint8_t *page_at(struct vmspace *vs, uint64_t va, unsigned *prot)
{
	struct pt_entry e;

	if (vmspace_translate(vs, va, &e))
		return NULL;
	*prot = e.prot;
	return (uint8_t *)phys_to_virt(e.pa) + (va - e.va);
}

static unsigned prot_of(const struct program_header *ph)
{
	return VM_USER | (ph->flags & W ? VM_WRITE : ph->flags & X ? VM_EXEC : VM_READ);
}

static bool is_mapped(const struct program_header *ph)
{
	return ph->type == LOAD && ph->memsz;
}

static size_t pages_of_program(void)
{
	size_t n = 0;

	for (unsigned i = 0; i < program.n; i++)
		if (is_mapped(&program.ph[i]))
			n += (pages_end(&program.ph[i]) - page_of(program.ph[i].vaddr)) / PAGE_SIZE;
	return n;
}

/* Pages of the program that are not there, or not as they should be from first byte to last. */
static unsigned wrong_pages(struct vmspace *vs, const uint8_t *at)
{
	static uint8_t expected[PAGE_SIZE];
	unsigned wrong = 0;

	for (unsigned i = 0; i < program.n; i++) {
		const struct program_header *const ph = &program.ph[i];

		if (!is_mapped(ph))
			continue;
		for (uint64_t va = page_of(ph->vaddr); va < pages_end(ph); va += PAGE_SIZE) {
			const uint64_t from = va > ph->vaddr ? va : ph->vaddr, file_end = ph->vaddr + ph->filesz;
			const uint64_t to = va + PAGE_SIZE < file_end ? va + PAGE_SIZE : file_end;
			unsigned prot = 0;
			const uint8_t *const page = page_at(vs, va, &prot);

			memset(expected, 0, sizeof expected);
			if (from < to)
				memcpy(expected + (from - va), at + ph->offset + (from - ph->vaddr), to - from);
			wrong += !page || prot != prot_of(ph) || memcmp(page, expected, PAGE_SIZE) != 0;
		}
	}
	return wrong;
}

/* Frames that are given out next are not zero. */
static void soil_frames(void)
{
	paddr_t frames[40];
	unsigned n = 0;

	while (n < sizeof frames / sizeof *frames && frame_alloc(0, &frames[n]) == 0)
		memset(phys_to_virt(frames[n++]), 0xdb, PAGE_SIZE);
	while (n)
		frame_free(frames[--n]);
}

/* Loads the image into a space of its own, with that limit. What elf_load says; *wrong grows if the space and the
 * entry are not as they should be then. */
static int try_limited(size_t limit, const uint8_t *at, size_t len, unsigned *wrong)
{
	struct vmspace *vs;
	vaddr_t entry = NOWHERE;
	int err;

	if (vmspace_create(limit, &vs)) {
		++*wrong;
		return -ENOMEM;
	}
	err = load(vs, at, len, &entry);
	if (err == FAULTED) {
		++*wrong;
		return err;
	}
	if (err)
		*wrong += owned(vs) != 0 || entry != NOWHERE;
	else
		*wrong += wrong_pages(vs, at) + (owned(vs) != pages_of_program()) + (entry != program.h.entry);
	*wrong += vmspace_destroy(vs) != 0;
	return err;
}

static int try(const uint8_t *at, size_t len, unsigned *wrong)
{
	return try_limited(0, at, len, wrong);
}

/* As the program stands now, in the image at its usual place. */
static int try_program(unsigned *wrong)
{
	write_image(image, IMAGE);
	return try(image, IMAGE, wrong);
}

/* ---- headers ---- */

static void shuffle(uint32_t *random)
{
	for (unsigned i = program.n - 1; i > 0; i--) {
		const unsigned k = next(random) % (i + 1);
		const struct program_header swapped = program.ph[i];

		program.ph[i] = program.ph[k];
		program.ph[k] = swapped;
	}
}

/* In whatever order they stand; as many as there may be, from the last address to the first. */
KTEST(sched, check_elf_header_order)
{
	uint32_t random = SEED;
	unsigned refused = 0, wrong = 0;

	ktest_note("seed", SEED);
	soil_frames();
	many_parts();
	for (unsigned round = 0; round < 8; round++) {
		shuffle(&random);
		refused += try_program(&wrong) != 0;
	}
	start_program(0x10000);
	for (unsigned i = HEADERS; i--;)
		add(i ? R : X, 0x10000 + i * PAGE_SIZE + i, PAGE_SIZE - i, 0x1000 + i, i);
	refused += try_program(&wrong) != 0;
	shuffle(&random);
	refused += try_program(&wrong) != 0;
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
}

/* Any two that have a page in common, wherever their headers stand: that they meet in a byte, or only in the page;
 * and that comes before there being too little memory. */
KTEST(sched, check_elf_shared_page_any_order)
{
	uint32_t random = SEED;
	unsigned accepted = 0, wrong = 0;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < 60; round++) {
		unsigned a, b;

		many_parts();
		shuffle(&random);
		a = next(&random) % PARTS;
		b = (a + 1 + next(&random) % (PARTS - 1)) % PARTS;
		switch (round % 4) {
		case 0:                                         /* the same bytes */
			program.ph[a].vaddr = program.ph[b].vaddr;
			break;
		case 1:                                         /* from the last byte of the other's last page */
			program.ph[a].vaddr = pages_end(&program.ph[b]) - 1;
			break;
		case 2:                                         /* up to the first byte of its first page */
			program.ph[a].vaddr = page_of(program.ph[b].vaddr) + 1 - program.ph[a].memsz;
			break;
		default:                                        /* on either side of it */
			program.ph[a].vaddr = page_of(program.ph[b].vaddr) - PAGE_SIZE;
			program.ph[a].memsz = 3 * PAGE_SIZE;
		}
		program.h.entry = program.ph[a].flags & X ? program.ph[a].vaddr : program.h.entry;
		write_image(image, IMAGE);
		accepted += try_limited(round / 4 % 2, image, IMAGE, &wrong) != -EINVAL;
	}
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(wrong, 0);
}

/* The headers stand anywhere in the file: right behind the first, unaligned, in the midst of what is loaded, and
 * last. */
KTEST(sched, check_elf_header_offset)
{
	enum { LAST = IMAGE - PARTS * 56 };
	static const uint64_t offsets[] = { 64, 65, 71, 0x777, 0x1001, 0x1234, LAST - 1, LAST };
	unsigned refused = 0, wrong = 0, accepted = 0;

	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		many_parts();
		program.h.phoff = offsets[i];
		refused += try_program(&wrong) != 0;
		/* as far as they reach, and no byte less */
		accepted += offsets[i] > 0x1800 && try(image, offsets[i] + PARTS * 56 - 1, &wrong) != -EINVAL;
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(wrong, 0);
}

static uint64_t nonsense(uint32_t *random)
{
	static const uint64_t odd[] = { 0, 1, 3, 0xfff, UINT64_MAX, 1ull << 63, USER_END, IMAGE + 1 };
	const uint32_t r = next(random);

	return r & 8 ? odd[r >> 4 & 7] : (uint64_t)next(random) << 32 | r;
}

/* Nonsense in all that is not looked at: alignment and physical addresses, sections, flags, the rest of the
 * identification, headers of other types, and segments without memory. */
KTEST(sched, check_elf_ignored)
{
	static const uint32_t types[] = {
		0, 2, 4, 5, 6, 7, 0x6474e550, 0x6474e551, 0x6474e552, 0x70000001, 0x80000001, UINT32_MAX,
	};
	uint32_t random = SEED;
	unsigned refused = 0, wrong = 0;

	ktest_note("seed", SEED);
	for (unsigned round = 0; round < 30; round++) {
		small_parts();
		for (unsigned i = 7; i < 16; i++)
			program.h.ident[i] = (uint8_t)nonsense(&random);
		program.h.shoff = nonsense(&random);
		program.h.flags = (uint32_t)nonsense(&random);
		program.h.shentsize = (uint16_t)nonsense(&random);
		program.h.shnum = (uint16_t)nonsense(&random);
		program.h.shstrndx = (uint16_t)nonsense(&random);
		for (unsigned i = 0; i < 3; i++) {
			program.ph[i].align = nonsense(&random);
			program.ph[i].paddr = nonsense(&random);
		}
		for (unsigned i = 0; i < 5; i++) {
			struct program_header *const ph = add((uint32_t)nonsense(&random), 0, 0, 0, 0);

			ph->offset = nonsense(&random);
			ph->vaddr = nonsense(&random);
			ph->filesz = nonsense(&random);
			ph->memsz = nonsense(&random);
			ph->type = types[next(&random) % (sizeof types / sizeof *types)];
			if (i == 0) {
				ph->type = LOAD;
				ph->memsz = ph->filesz = 0;
			}
		}
		shuffle(&random);
		if (try_program(&wrong) != 0) {
			ktest_note("round", round);
			refused++;
		}
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
}

/* Readable is everything; offsets need not be as far into a page as addresses are; what has nothing in the file
 * may say that it is anywhere in it. */
KTEST(sched, check_elf_flags_and_empty)
{
	static const uint32_t flags[] = { 0, X, W, R, R | X, R | W };
	unsigned refused = 0, accepted = 0, wrong = 0;

	soil_frames();
	start_program(0x401001);
	for (unsigned i = 0; i < 6; i++)
		add(flags[i], 0x400000 + i * 0x1000 + i, 0xf00, 0x1500 + i * 7, i * 33);
	refused += try_program(&wrong) != 0;
	for (unsigned i = 0; i < 6; i++) {
		static const uint64_t offsets[] = { IMAGE, IMAGE + 1, UINT64_MAX, 1ull << 63, 0, UINT64_MAX - 0xfff };

		program.ph[i].filesz = 0;
		program.ph[i].offset = offsets[i];
	}
	refused += try_program(&wrong) != 0;
	for (unsigned i = 0; i < 6; i++) {                      /* a byte is another thing */
		program.ph[i].filesz = 1;
		program.ph[i].offset = IMAGE - (i == 4);
		accepted += try_program(&wrong) != (i == 4 ? 0 : -EINVAL);
		program.ph[i].filesz = 0;
	}
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(wrong, 0);
}

/* ---- the image ---- */

/* A kernel stack: before and behind it nothing is mapped. NULL: it is not so. */
static uint8_t *island(void)
{
	struct pt_entry e;
	void *top;

	if (kstack_alloc(&top))
		return NULL;
	if (pt_translate(kernel_root, (vaddr_t)top, &e) != -ENOENT ||
	    pt_translate(kernel_root, (vaddr_t)top - KSTACK_SIZE - 1, &e) != -ENOENT) {
		kstack_free(top);
		return NULL;
	}
	return (uint8_t *)top - KSTACK_SIZE;
}

/* At every address there is, the last byte that is read being the last before the hole, and the first the first
 * behind the hole; also with the headers last. */
KTEST(sched, check_elf_image_anywhere)
{
	uint8_t *const from = island();
	unsigned refused = 0, wrong = 0;

	KASSERT(from != NULL);
	for (unsigned i = 0; i < 9 && !wrong; i++) {
		const size_t len = IMAGE - 40 + i;
		uint8_t *const at = from + KSTACK_SIZE - len;

		many_parts();
		if (i % 2)
			program.h.phoff = len - PARTS * 56;
		else
			program.ph[0].offset = len - program.ph[0].filesz;
		write_image(at, len);
		refused += try(at, len, &wrong) != 0;
		write_image(from, len);
		refused += try(from, len, &wrong) != 0;
		write_image(from + i, len);
		refused += try(from + i, len, &wrong) != 0;
	}
	many_parts();
	program.ph[8].offset = KSTACK_SIZE - program.ph[8].filesz;
	program.ph[4].offset = 0;
	write_image(from, KSTACK_SIZE);
	refused += try(from, KSTACK_SIZE, &wrong) != 0;
	KASSERT_EQ(kstack_free(from + KSTACK_SIZE), 0);
	KASSERT_EQ(refused, 0);
	KASSERT_EQ(wrong, 0);
}

/* Cut off at every byte of the headers, the rest not being there: nothing of it is read. */
KTEST(sched, check_elf_image_cut)
{
	uint8_t *const from = island();
	unsigned accepted = 0, wrong = 0;

	KASSERT(from != NULL);
	small_parts();
	write_image(image, IMAGE);
	for (size_t len = 0; len < 64 + 3 * 56 && !wrong; len++) {
		uint8_t *const at = from + KSTACK_SIZE - len;

		memcpy(at, image, len);
		accepted += try(at, len, &wrong) != -EINVAL;
	}
	/* and within what each has in the file, or just at its end */
	for (unsigned i = 0; i < 3 && !wrong; i++) {
		for (size_t less = 0; less < 3; less++) {
			const size_t len = program.ph[i].offset + program.ph[i].filesz - less;
			uint8_t *const at = from + KSTACK_SIZE - len;

			memcpy(at, image, len);
			accepted += try(at, len, &wrong) != (i == 2 && !less ? 0 : -EINVAL);
		}
	}
	KASSERT_EQ(kstack_free(from + KSTACK_SIZE), 0);
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(wrong, 0);
}

/* Whatever the headers say, nothing before or behind the image is read, and no more than there may be is loaded.
 * */
KTEST(sched, check_elf_image_mangled)
{
	enum { ROUNDS = 300, LIMIT = 30, LEN = IMAGE - 5 };
	uint8_t *const from = island();
	uint32_t random = SEED;
	unsigned wrong = 0, loaded = 0, refused = 0;

	ktest_note("seed", SEED);
	KASSERT(from != NULL);
	small_parts();
	write_image(image, LEN);
	for (unsigned round = 0; round < ROUNDS && !wrong; round++) {
		static const uint64_t odd[] = {
			LEN, LEN - 1, LEN + 1, LEN - 0x80, LEN - 0x7f, UINT64_MAX, UINT64_MAX - 0x7f, 1ul << 63,
		};
		uint8_t *const at = round % 2 ? from : from + KSTACK_SIZE - LEN;
		struct vmspace *vs;
		vaddr_t entry = NOWHERE;
		int err;

		memcpy(at, image, LEN);
		for (unsigned n = 1 + next(&random) % 2; n; n--) {
			const uint32_t r = next(&random);
			/* entry, phoff, shoff; or all but type and flags of a program header */
			const unsigned which = (r >> 8) % 3;
			const unsigned field = r % 3 ? 64 + which * 56 + 8 + (r >> 16) % 6 * 8 : 24 + which * 8;
			uint64_t value;

			memcpy(&value, at + field, 8);
			value = r >> 24 & 1 ? odd[r >> 28 & 7] : r >> 25 & 1 ? value + (r >> 28 & 7) - 3 : -value;
			memcpy(at + field, &value, 8);
		}
		if (vmspace_create(LIMIT, &vs)) {
			wrong++;
			break;
		}
		err = load(vs, at, LEN, &entry);
		loaded += err == 0;
		refused += err == -EINVAL;
		wrong += err != 0 && err != -EINVAL && err != -ENOMEM;
		if (err == FAULTED)
			break;
		wrong += err != 0 && (owned(vs) != 0 || entry != NOWHERE);
		wrong += vmspace_destroy(vs) != 0;
	}
	KASSERT_EQ(kstack_free(from + KSTACK_SIZE), 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(loaded > 0);
	KASSERT(refused > 0);
}

/* ---- too little memory ---- */

static int count_region(const struct vm_region *r, void *arg)
{
	(void)r;
	++*(unsigned *)arg;
	return 0;
}

static unsigned regions(struct vmspace *vs)
{
	unsigned n = 0;

	vmspace_for_each(vs, count_region, &n);
	return n;
}

/* As many frames and tables as the far parts take. */
static size_t needed(size_t *tables)
{
	struct vmspace_stats stats = { 0 };
	struct vmspace *vs;
	vaddr_t entry = NOWHERE;

	far_parts();
	write_image(image, IMAGE);
	if (vmspace_create(0, &vs))
		return 0;
	if (load(vs, image, IMAGE, &entry) == 0)
		vmspace_get_stats(vs, &stats);
	vmspace_destroy(vs);
	*tables = stats.tables;
	return stats.frames + stats.tables;
}

/* With every limit up to what it takes: until then -ENOMEM, again and again, and nothing stays but what was there.
 * */
KTEST(sched, check_elf_limits)
{
	size_t tables = 0;
	const size_t whole = needed(&tables);
	unsigned wrong = 0, early = 0, left = 0, lost = 0;
	uint64_t before, after;
	int last = FAULTED;

	before = free_frames();
	for (size_t limit = 1; limit <= whole + 1; limit++) {
		struct vmspace *vs;
		vaddr_t entry = NOWHERE;

		if (vmspace_create(limit, &vs)) {
			wrong++;
			continue;
		}
		for (unsigned again = 0; again < 2 && limit < whole; again++) {
			early += load(vs, image, IMAGE, &entry) != -ENOMEM;
			left += owned(vs) != 0 || regions(vs) != 0 || entry != NOWHERE;
		}
		if (limit >= whole) {
			last = load(vs, image, IMAGE, &entry);
			wrong += last != 0 || wrong_pages(vs, image) != 0;
		}
		wrong += vmspace_destroy(vs) != 0;
	}
	/* and with one page, which stays, in the last segment's own table: the limit is met by the one before */
	for (size_t limit = tables + 1; limit <= whole + 1; limit++) {
		struct vmspace *vs;
		vaddr_t entry = NOWHERE, va = 0x7f0000008000;
		unsigned prot;
		uint8_t *page;
		int err;

		if (vmspace_create(limit, &vs)) {
			wrong++;
			continue;
		}
		wrong += vmspace_map_anon(vs, &va, PAGE_SIZE, VM_WRITE) != 0;
		page = page_at(vs, va, &prot);
		if (page)
			memset(page, 0x77, PAGE_SIZE);
		err = load(vs, image, IMAGE, &entry);
		wrong += err != (limit > whole ? 0 : -ENOMEM);
		left += err && (owned(vs) != 1 || regions(vs) != 1);
		lost += !page || page_at(vs, va, &prot) != page || page[0] != 0x77 || page[PAGE_SIZE - 1] != 0x77;
		wrong += vmspace_destroy(vs) != 0;
	}
	after = free_frames();
	KASSERT(whole > 9);
	KASSERT_EQ(last, 0);
	KASSERT_EQ(early, 0);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT(after + 4 >= before);
	KASSERT(after <= before + 4);
}

/* What stands in the first frame of each run that was taken. */
struct taken {
	paddr_t next;
	size_t count;
};

/* All that there is, in as long runs as there are; 0: nothing. */
static paddr_t take_all(void)
{
	paddr_t first = 0, pa;

	for (size_t count = 1 << 15; count; count /= 2)
		while (frame_alloc_contig(count, 1, 0, 0, &pa) == 0) {
			*(struct taken *)phys_to_virt(pa) = (struct taken){ first, count };
			first = pa;
		}
	return first;
}

static void give_all(paddr_t first)
{
	while (first) {
		const struct taken run = *(const struct taken *)phys_to_virt(first);

		frame_free_contig(first, run.count);
		first = run.next;
	}
}

/* The machine itself has no more than so many frames left, from none up: -ENOMEM, and as many are left afterwards,
 * but for empty tables, which are the space's, and what slabs keep; until it is enough. */
KTEST(sched, check_elf_no_frames)
{
	enum { MOST = 40, SLABS = 4 };
	size_t tables = 0;
	const size_t whole = needed(&tables);
	paddr_t spare[MOST], all;
	unsigned spares = 0, refused = 0, wrong = 0, left = 0;
	vaddr_t entry = NOWHERE;
	struct vmspace *vs;
	uint64_t before, after;
	int err;

	before = free_frames();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	while (spares < MOST && frame_alloc(0, &spare[spares]) == 0)
		spares++;
	all = take_all();
	do {
		struct vmspace_stats stats;
		const uint64_t had = free_frames();

		err = load(vs, image, IMAGE, &entry);
		vmspace_get_stats(vs, &stats);
		if (!err)
			break;
		refused++;
		wrong += err != -ENOMEM || entry != NOWHERE;
		left += stats.frames != 0 || regions(vs) != 0;
		left += free_frames() + (stats.tables - 1) + SLABS < refused - 1;
		wrong += had > refused - 1;                     /* nobody gave us any */
		if (spares)
			frame_free(spare[--spares]);
	} while (refused <= MOST);
	wrong += err == 0 && wrong_pages(vs, image) != 0;
	give_all(all);
	while (spares)
		frame_free(spare[--spares]);
	wrong += vmspace_destroy(vs) != 0;
	after = free_frames();
	KASSERT(whole > 9);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(left, 0);
	KASSERT(refused >= whole - 1);                          /* the root was there */
	KASSERT(refused <= whole - 1 + SLABS);
	KASSERT(after + SLABS >= before);
}

/* ---- ends ---- */

/* The entry is a byte of a segment that may be executed: the first and the last, though it is not in the file; not
 * the bytes around it in its pages, and none of another kind. */
KTEST(sched, check_elf_entry)
{
	static const struct { uint64_t entry; bool good; } entries[] = {
		{ 0x400123, true }, { 0x400124, true }, { 0x400132, true }, { 0x400133, true }, { 0x401123, true },
		{ 0x400122, false }, { 0x400000, false }, { 0x401124, false }, { 0x401fff, false }, { 0x402000, false },
		{ 0x403000, false }, { 0x405000, false }, { 0x4057ff, false }, { 0x408000, false },
		{ USER_END - 1, true }, { USER_END - 0x10, true }, { USER_END - 0x11, false }, { USER_END, false },
		{ 0x407000, true }, { 0x406fff, false }, { 0x407001, false },
		{ UINT64_MAX, false }, { 0x400123 + (1ul << 63), false }, { 0x400123 + (1ul << 32), false },
		{ 0, false },
	};
	unsigned wrong = 0, other = 0;

	for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++) {
		start_program(entries[i].entry);
		add(R, 0x403000, 0x1000, 0x1000, 0x10);
		add(R | X, USER_END - 0x10, 0x10, 0x1000, 0x10);
		add(R | X, 0x400123, 0x1001, 0x1000, 0x10);
		add(X, 0x407000, 1, 0x1001, 0);
		add(R | W, 0x405000, 0x800, 0x1000, 0x10);
		add(R | X, entries[i].entry, 0, 0, 0);          /* without memory it is nothing */
		if (try_program(&other) != (entries[i].good ? 0 : -EINVAL)) {
			ktest_note("entry", i);
			wrong++;
		}
	}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
}

/* A byte at either end of user space, and a byte further; as much as there is of it, which is well formed but too
 * much, and a byte more, which is not. */
KTEST(sched, check_elf_user_bounds)
{
	static const struct { uint64_t vaddr, memsz; int err; } cases[] = {
		{ USER_MIN, 1, 0 }, { USER_MIN - 1, 1, -EINVAL }, { USER_MIN - 1, 2, -EINVAL },
		{ USER_MIN - PAGE_SIZE, PAGE_SIZE, -EINVAL }, { 0, 1, -EINVAL },
		{ USER_END - 1, 1, 0 }, { USER_END, 1, -EINVAL }, { USER_END - 1, 2, -EINVAL },
		{ USER_END - PAGE_SIZE, PAGE_SIZE, 0 }, { USER_END - PAGE_SIZE, PAGE_SIZE + 1, -EINVAL },
		{ USER_MIN + PAGE_SIZE, USER_END - USER_MIN - 2 * PAGE_SIZE, -EINVAL }, /* the other one is within */
		{ 0x8000000, USER_END - 0x8000000, -ENOMEM }, { 0x8000000, USER_END - 0x8000000 + 1, -EINVAL },
		{ 0x8000000, 1ul << 40, -ENOMEM }, { 0x8000001, UINT64_MAX, -EINVAL },
		{ 0x8000000, 0 - 0x8000000ul, -EINVAL }, { 0x8000000, 0 - 0x7fffffful, -EINVAL },
		{ DIRECT_MAP_BASE, 1, -EINVAL }, { USER_END + 0x10000, 1, -EINVAL },
		{ UINT64_MAX, 1, -EINVAL }, { UINT64_MAX, 2, -EINVAL }, { 1ull << 63, 1, -EINVAL },
	};
	unsigned wrong = 0, other = 0;

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		for (unsigned in_file = 0; in_file < 2; in_file++) {
			start_program(0x400000);
			add(R | W, cases[i].vaddr, cases[i].memsz, 0x1000, in_file);
			add(X, 0x400000, 1, 0x1000, 1);
			if (try_program(&other) != cases[i].err) {
				ktest_note("case", i);
				wrong++;
			}
		}
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(other, 0);
}

/* Each page in and around each segment is mapped already, its own or borrowed: inside that is refused and it stays
 * as it is, beside it both are there. */
KTEST(sched, check_elf_mapped_already)
{
	unsigned wrong = 0, lost = 0, failed = 0, tried = 0;
	paddr_t frame;

	far_parts();
	write_image(image, IMAGE);
	KASSERT_EQ(frame_alloc(0, &frame), 0);
	for (unsigned i = 0; i < program.n; i++) {
		const uint64_t first = page_of(program.ph[i].vaddr), behind = pages_end(&program.ph[i]);

		for (uint64_t at = first - PAGE_SIZE; at <= behind; at += PAGE_SIZE, tried++) {
			const bool inside = at >= first && at < behind, borrowed = tried % 3 == 1;
			vaddr_t va = at, entry = NOWHERE;
			struct vmspace *vs;
			unsigned prot = 0;
			uint8_t *page;
			int err;

			if (vmspace_create(0, &vs)) {
				failed++;
				continue;
			}
			failed += (borrowed ? vmspace_map_frames(vs, &va, &frame, 1, VM_READ, true)
					    : vmspace_map_anon(vs, &va, PAGE_SIZE, VM_READ)) != 0;
			page = page_at(vs, at, &prot);
			if (page)
				memset(page, 0x5c, PAGE_SIZE);
			err = load(vs, image, IMAGE, &entry);
			wrong += err != (inside ? -EINVAL : 0) || (entry == NOWHERE) != inside;
			wrong += owned(vs) != (borrowed ? 0u : 1u) + (inside ? 0 : pages_of_program());
			wrong += !inside && wrong_pages(vs, image) != 0;
			lost += !page || page_at(vs, at, &prot) != page || prot != VM_USER;
			lost += page && (page[0] != 0x5c || page[PAGE_SIZE / 2] != 0x5c || page[PAGE_SIZE - 1] != 0x5c);
			failed += vmspace_destroy(vs) != 0;
		}
	}
	KASSERT_EQ(frame_free(frame), 0);
	KASSERT_EQ(failed, 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(tried, 9 + 3 * 2);
}

/* Into one space: the same once more is refused and nothing becomes of it, another beside it is not. */
KTEST(sched, check_elf_second_time)
{
	static uint8_t second[IMAGE];
	vaddr_t entry = NOWHERE, entry_again = NOWHERE, entry_second = NOWHERE;
	struct vmspace *vs;
	unsigned wrong = 0;
	int err, again, other;
	size_t pages, both;

	soil_frames();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	small_parts();
	write_image(image, IMAGE);
	err = load(vs, image, IMAGE, &entry);
	again = load(vs, image, IMAGE, &entry_again);
	pages = owned(vs);
	wrong += wrong_pages(vs, image);
	for (unsigned i = 0; i < program.n; i++) {
		program.ph[i].vaddr += 0x2000;
		program.ph[i].offset += 0x100;
	}
	program.h.entry += 0x2000;
	write_image(second, IMAGE);
	other = load(vs, second, IMAGE, &entry_second);
	both = owned(vs);
	wrong += wrong_pages(vs, second);
	small_parts();
	wrong += wrong_pages(vs, image);
	wrong += vmspace_destroy(vs) != 0;
	KASSERT_EQ(err, 0);
	KASSERT_EQ(entry, 0x400000);
	KASSERT_EQ(again, -EINVAL);
	KASSERT_EQ(entry_again, NOWHERE);
	KASSERT_EQ(pages, pages_of_program());
	KASSERT_EQ(other, 0);
	KASSERT_EQ(entry_second, 0x402000);
	KASSERT_EQ(both, 2 * pages);
	KASSERT_EQ(wrong, 0);
}
