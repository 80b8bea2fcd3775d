/* Acceptance of sched/elf.c: programs into spaces, and nothing of those that are not right. See spec/sched.md. */
#include "memory.h"
#include "process.h"

enum { SEGMENTS = 3, HEADERS = 64 + 56 * 65, IMAGE = 0x4000, LIMIT = 40 };

struct header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* The headers are exactly as long as the file's part that has them, so that what is cut off cannot be read by chance. */
static union image {
	struct {
		struct header h;
		struct segment s[65];
	};
	uint8_t bytes[IMAGE];
} image;

enum { TEXT, CONST, DATA };

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> 8) + 1);
}

static void make_headers(void)
{
	image.h = (struct header){
		.ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 }, .type = 2, .machine = 62, .version = 1, .entry = 0x400010, .phoff = 64,
		.ehsize = 64, .phentsize = 56, .phnum = SEGMENTS, .shentsize = 64,
	};
	image.s[TEXT] = (struct segment){ 1, 5, 0x1000, 0x400000, 0x400000, 0x1234, 0x1234, 0x1000 };
	image.s[CONST] = (struct segment){ 1, 4, 0x2300, 0x402300, 0x402300, 0x100, 0x100, 0x1000 };
	image.s[DATA] = (struct segment){ 1, 6, 0x2ff0, 0x500ff0, 0x500ff0, 0x30, 0x2800, 0x1000 };
}

/* Text that ends in a page, constants that begin in the midst of one, data over a border with more to be zeroed than there is in the file. */
static void make(void)
{
	for (unsigned i = 0; i < IMAGE; i++)
		image.bytes[i] = byte_at(i);
	make_headers();
}

static struct vmspace *vs;

static uint8_t *at(vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? NULL : (uint8_t *)phys_to_virt(e.pa) + (va - e.va);
}

static unsigned prot_at(vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? 0xff : e.prot;
}

/* Bytes of the segment's pages that are not as they should be. */
static unsigned wrong_bytes(const struct segment *s)
{
	const vaddr_t from = s->vaddr & ~(PAGE_SIZE - 1), to = (s->vaddr + s->memsz + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	unsigned wrong = 0;

	for (vaddr_t va = from; va < to; va++) {
		const bool in_file = va >= s->vaddr && va - s->vaddr < s->filesz;
		const uint8_t *p = at(va);

		wrong += !p || *p != (in_file ? image.bytes[s->offset + va - s->vaddr] : 0);
	}
	return wrong;
}

static size_t mapped(void)
{
	struct vmspace_stats stats;

	vmspace_get_stats(vs, &stats);
	return stats.frames;
}

KTEST(sched, elf_good)
{
	const uint64_t before = free_frames();
	vaddr_t entry = 77;
	int err;

	make();
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	err = elf_load(vs, &image, IMAGE, &entry);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(entry, 0x400010);
	KASSERT_EQ(mapped(), 2 + 1 + 4);
	for (unsigned i = 0; i < SEGMENTS; i++)
		KASSERT_EQ(wrong_bytes(&image.s[i]), 0);
	KASSERT_EQ(prot_at(0x400000), VM_USER | VM_EXEC);
	KASSERT_EQ(prot_at(0x401000), VM_USER | VM_EXEC);
	KASSERT_EQ(prot_at(0x402000), VM_USER);
	KASSERT_EQ(prot_at(0x500000), VM_USER | VM_WRITE);
	KASSERT_EQ(prot_at(0x503000), VM_USER | VM_WRITE);
	KASSERT_EQ(vmspace_destroy(vs), 0);

	/* as much as there may be, of all of which one byte is text, others and empty ones in between; the file ends with the last byte */
	make();
	image.h.phnum = 64;
	for (unsigned i = 0; i < 64; i++)
		image.s[i] = (struct segment){ i % 2 ? 1 : i % 4 ? 0x6474e551 : 4, i == 5 ? 5 : 4, HEADERS + i, 0x10000 + i * 0x1000, 0, i == 7 ? 0 : 1, i == 9 ? 0 : 1, 1 };
	image.s[9].filesz = 0;
	image.h.entry = 0x15000;
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(elf_load(vs, &image, HEADERS + 64, &entry), 0);
	KASSERT_EQ(entry, 0x15000);
	KASSERT_EQ(mapped(), 31);
	KASSERT_EQ(*at(0x15000), image.bytes[HEADERS + 5]);
	KASSERT_EQ(*at(0x17000), 0);
	KASSERT(at(0x19000) == NULL);
	KASSERT_EQ(vmspace_destroy(vs), 0);

	/* the last page that there is */
	make();
	image.s[DATA].vaddr = USER_END - 0x2800;
	KASSERT_EQ(vmspace_create(0, &vs), 0);
	KASSERT_EQ(elf_load(vs, &image, IMAGE, &entry), 0);
	KASSERT_EQ(wrong_bytes(&image.s[DATA]), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
	KASSERT(free_frames() + 16 >= before);
}

/* Whether it is refused as it is, and leaves nothing. */
static bool refused(size_t len)
{
	vaddr_t entry = 77;
	const int err = elf_load(vs, &image, len, &entry);
	const bool clean = mapped() == 0 && entry == 77;

	make_headers();
	return err == -EINVAL && clean;
}

#define REFUSED(change) \
	do { \
		change; \
		KASSERT(refused(IMAGE)); \
	} while (0)

KTEST(sched, elf_bad)
{
	const uint64_t wraps[] = { UINT64_MAX, UINT64_MAX - 0x1000, 1ull << 63, UINT64_MAX - 56 * SEGMENTS + 1, IMAGE, IMAGE - 1 };
	vaddr_t va = 0x401000, entry;

	make();
	KASSERT_EQ(vmspace_create(LIMIT, &vs), 0);
	for (unsigned i = 0; i < 7; i++)
		REFUSED(image.h.ident[i] ^= 3);
	REFUSED(image.h.type = 3);                              /* position-independent, relocatable, core */
	REFUSED(image.h.type = 1);
	REFUSED(image.h.type = 4);
	REFUSED(image.h.machine = 3);
	REFUSED(image.h.version = 0);
	REFUSED(image.h.ehsize = 52);
	REFUSED(image.h.phentsize = 32);
	REFUSED(image.h.phentsize = 57);
	REFUSED(image.h.phnum = 0);
	REFUSED(image.h.phnum = 65);
	REFUSED(image.h.phnum = 65535);
	for (unsigned i = 0; i < sizeof wraps / sizeof *wraps; i++)
		REFUSED(image.h.phoff = wraps[i]);
	for (unsigned i = 0; i < SEGMENTS; i++) {
		for (unsigned w = 0; w < 4; w++) {
			REFUSED(image.s[i].offset = wraps[w]);
			REFUSED(image.s[i].vaddr = wraps[w]);
			REFUSED(image.s[i].filesz = wraps[w]; image.s[i].memsz = UINT64_MAX);
			REFUSED(image.s[i].memsz = wraps[w]);
		}
		REFUSED(image.s[i].flags = 7);
		REFUSED(image.s[i].flags = 3);
		REFUSED(image.s[i].type = 3);                   /* an interpreter */
		REFUSED(image.s[i].filesz = image.s[i].memsz + 1);
		REFUSED(image.s[i].offset = IMAGE - image.s[i].filesz + 1);
		REFUSED(image.s[i].vaddr = 0);
		REFUSED(image.s[i].vaddr = USER_MIN - 1);
		REFUSED(image.s[i].vaddr = USER_END - image.s[i].memsz + 1);
		REFUSED(image.s[i].vaddr = USER_END);
		REFUSED(image.s[i].vaddr = KERNEL_VIRT_BASE);
	}
	REFUSED(image.s[CONST].vaddr = 0x401234);               /* one page, two segments */
	REFUSED(image.s[CONST].vaddr = 0x400800);
	REFUSED(image.s[DATA].vaddr = 0x401fff);
	REFUSED(image.s[CONST].vaddr = 0x4fff10; image.s[CONST].memsz = 0x100000);
	REFUSED(image.h.entry = 0x402310);                      /* not text; before; behind; nowhere */
	REFUSED(image.h.entry = 0x400000 - 1);
	REFUSED(image.h.entry = 0x401234);
	REFUSED(image.h.entry = 0);
	REFUSED(image.h.entry = UINT64_MAX);
	REFUSED(image.s[TEXT].flags = 4);
	for (size_t len = 0; len < 64 + 56 * SEGMENTS; len++)
		KASSERT(refused(len));
	KASSERT(refused(0x2233));                               /* within text, constants, data */
	KASSERT(refused(0x23ff));
	KASSERT(refused(0x301f));
	KASSERT_EQ(elf_load(vs, &image, 0x3020, &entry), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);

	/* what is there already stays; one that there is no memory for is not half there */
	KASSERT_EQ(vmspace_create(LIMIT, &vs), 0);
	KASSERT_EQ(vmspace_map_anon(vs, &va, PAGE_SIZE, VM_WRITE), 0);
	*at(va) = 0x77;
	KASSERT_EQ(elf_load(vs, &image, IMAGE, &entry), -EINVAL);
	KASSERT_EQ(mapped(), 1);
	KASSERT_EQ(*at(va), 0x77);
	KASSERT_EQ(vmspace_unmap(vs, va, PAGE_SIZE), 0);
	image.s[DATA].memsz = (LIMIT + 1) * PAGE_SIZE;
	entry = 77;
	KASSERT_EQ(elf_load(vs, &image, IMAGE, &entry), -ENOMEM);
	KASSERT_EQ(mapped(), 0);
	KASSERT_EQ(entry, 77);
	make();
	KASSERT_EQ(elf_load(vs, &image, IMAGE, &entry), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
}

/* Whatever stands there: it is loaded whole or not at all, and no frame is lost. */
KTEST(sched, elf_random)
{
	enum { ROUNDS = 5000 };
	static const uint64_t odd[] = { 0, 1, 0xfff, 0x1000, 0x400000, 0x3fff, 0x4000, USER_END, USER_MIN, UINT64_MAX, 1ull << 63, 0x7ffffffffffff000 };
	static uint8_t good[64 + 56 * SEGMENTS];
	uint64_t seed = harness_seed(), before, loaded = 0, wrong = 0;

	make();
	harness_memcpy(good, &image, sizeof good);
	KASSERT_EQ(vmspace_create(LIMIT, &vs), 0);
	KASSERT_EQ(vmspace_destroy(vs), 0);
	before = free_frames();
	for (unsigned i = 0; i < ROUNDS && !wrong; i++) {
		vaddr_t entry = 77;
		int err;

		harness_memcpy(&image, good, sizeof good);
		for (uint64_t n = harness_random(&seed) % 4 + 1; n; n--) {
			const uint64_t r = harness_random(&seed);
			const unsigned to = (r >> 8) % (64 + 56 * SEGMENTS);

			if (r & 1)
				image.bytes[to] = (uint8_t)(r >> 32);
			else if (r & 2)
				harness_memcpy(&image.bytes[to & ~7u], &odd[(r >> 32) % (sizeof odd / sizeof *odd)], 8);
			else
				image.bytes[to] ^= (uint8_t)(1u << (r >> 32 & 7));
		}
		for (unsigned k = 0; k < SEGMENTS; k++)         /* not so large that only looking at it takes long */
			if (image.s[k].memsz < USER_END)
				image.s[k].memsz &= 0xfffff;
		if (i % 8 == 0)
			wrong += vmspace_create(LIMIT, &vs) != 0;
		err = elf_load(vs, &image, IMAGE, &entry);
		loaded += err == 0;
		wrong += err != 0 && err != -EINVAL && err != -ENOMEM;
		wrong += err != 0 && entry != 77;
		wrong += err == 0 && prot_at(entry) != (VM_USER | VM_EXEC);
		if (err == 0 || i % 8 == 7) {
			wrong += err != 0 && mapped() != 0;
			wrong += vmspace_destroy(vs) != 0;
			if (i % 8 != 7)
				wrong += vmspace_create(LIMIT, &vs) != 0;
		}
		if (wrong)
			ktest_note("round", i);
	}
	ktest_note("loaded", loaded);
	KASSERT_EQ(wrong, 0);
	KASSERT(loaded > 0);
	KASSERT(loaded < ROUNDS);
	KASSERT(free_frames() + 16 >= before);
	KASSERT(free_frames() <= before + 16);
}
