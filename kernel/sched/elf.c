/* Programs into address spaces. See spec/sched.md, "ELF".
 *
 * Each header is read once, into what is then checked and mapped from. Its numbers are compared with their bounds before
 * they are added to others, so that no sum wraps, and whatever they are, what is done before mapping is bounded by the
 * count of headers and of what vs has mapped. Segments are filled by uaccess, so that others who have the space can
 * make this fail, but nothing is written where it is no longer the space's. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "mm.h"
#include "process.h"
#include "string.h"

/* The format's own names and numbers. */
enum { ELFCLASS64 = 2, ELFDATA2LSB = 1, EV_CURRENT = 1, ET_EXEC = 2, EM_X86_64 = 62 };
enum { PT_LOAD = 1, PT_INTERP = 3, PF_X = 1, PF_W = 2 };

enum { SEGMENTS_MAX = 64 };

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

_Static_assert(sizeof(struct elf_header) == 64, "layout of the ELF header");
_Static_assert(offsetof(struct elf_header, entry) == 24, "layout of the ELF header");
_Static_assert(offsetof(struct elf_header, ehsize) == 52, "layout of the ELF header");
_Static_assert(sizeof(struct program_header) == 56, "layout of a program header");
_Static_assert(offsetof(struct program_header, offset) == 8, "layout of a program header");

/* What is to be mapped: of a program header that has been checked. memsz > 0. */
struct segment {
	vaddr_t vaddr;
	uint64_t memsz, offset, filesz;
	unsigned prot;
};

/* Ascending. 2.5 KiB on elf_load's stack. */
struct program {
	unsigned count;
	struct segment s[SEGMENTS_MAX];
};

/* ---- pages of a segment: [first_page, pages_end) ---- */

static vaddr_t first_page(const struct segment *s)
{
	return s->vaddr & ~(PAGE_SIZE - 1);
}

/* USER_END at the most, and that is whole pages. */
static vaddr_t pages_end(const struct segment *s)
{
	return (s->vaddr + s->memsz + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static size_t pages_len(const struct segment *s)
{
	return pages_end(s) - first_page(s);
}

/* ---- what is refused ---- */

/* Whether [offset, offset + size) lies in an image of len bytes. */
static bool in_image(uint64_t offset, uint64_t size, size_t len)
{
	return size <= len && offset <= len - size;
}

static bool header_good(const struct elf_header *h, size_t len)
{
	static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT };

	return memcmp(h->ident, ident, sizeof ident) == 0 && h->type == ET_EXEC && h->machine == EM_X86_64 &&
		h->version == EV_CURRENT && h->ehsize == sizeof *h && h->phentsize == sizeof(struct program_header) &&
		h->phnum >= 1 && h->phnum <= SEGMENTS_MAX &&
		in_image(h->phoff, h->phnum * sizeof(struct program_header), len);
}

/* For PT_LOAD. What has no bytes in the file has no place there, either: its offset is not looked at. */
static bool segment_good(const struct program_header *ph, size_t len)
{
	return ph->filesz <= ph->memsz && (ph->filesz == 0 || in_image(ph->offset, ph->filesz, len)) &&
		ph->vaddr >= USER_MIN && ph->vaddr < USER_END && ph->memsz <= USER_END - ph->vaddr &&
		(ph->flags & (PF_W | PF_X)) != (PF_W | PF_X);
}

/* There is room, as there are no more segments than program headers. */
static void add_segment(struct program *p, const struct program_header *ph)
{
	unsigned at = p->count++;

	for (; at > 0 && p->s[at - 1].vaddr > ph->vaddr; at--)
		p->s[at] = p->s[at - 1];
	p->s[at] = (struct segment){
		.vaddr = ph->vaddr,
		.memsz = ph->memsz,
		.offset = ph->offset,
		.filesz = ph->filesz,
		.prot = ph->flags & PF_W ? VM_WRITE : ph->flags & PF_X ? VM_EXEC : VM_READ,
	};
}

/* The segments, each of them good, and where the program begins. What is empty is skipped; bytes in the file that have
 * no place in memory are refused. -EINVAL. */
static int read_program(const uint8_t *image, size_t len, struct program *p, vaddr_t *entry)
{
	struct elf_header h;

	if (len < sizeof h)
		return -EINVAL;
	memcpy(&h, image, sizeof h);
	if (!header_good(&h, len))
		return -EINVAL;
	p->count = 0;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct program_header ph;

		memcpy(&ph, image + h.phoff + i * sizeof ph, sizeof ph);
		if (ph.type == PT_INTERP)
			return -EINVAL;
		if (ph.type != PT_LOAD || (ph.memsz == 0 && ph.filesz == 0))
			continue;
		if (!segment_good(&ph, len))
			return -EINVAL;
		add_segment(p, &ph);
	}
	*entry = h.entry;
	return 0;
}

/* Segments that have no page in common, and the entry in one that may be executed; *pages: how many they have. -EINVAL.
 * As they ascend, neighbours are all that need to be compared. */
static int check_program(const struct program *p, vaddr_t entry, size_t *pages)
{
	bool executable = false;

	*pages = 0;
	for (const struct segment *s = p->s; s < p->s + p->count; s++) {
		if (s > p->s && first_page(s) < pages_end(s - 1))
			return -EINVAL;
		if (s->prot == VM_EXEC && entry >= s->vaddr && entry - s->vaddr < s->memsz)
			executable = true;
		*pages += pages_len(s) / PAGE_SIZE;
	}
	return executable ? 0 : -EINVAL;
}

/* For vmspace_for_each, whose regions ascend as the segments do. at: the first that may meet the next region. */
struct cursor {
	const struct segment *at, *end;
};

static int refuse_mapped(const struct vm_region *r, void *arg)
{
	struct cursor *const c = arg;

	while (c->at < c->end && pages_end(c->at) <= r->va)
		c->at++;
	return c->at < c->end && first_page(c->at) < r->va + r->len ? -EINVAL : 0;
}

/* -ENOMEM: more pages than vs may still have, or than are free. mm would find out only frame by frame. */
static int check_memory(struct vmspace *vs, size_t pages)
{
	struct vmspace_stats space;
	struct frame_stats frames;

	vmspace_get_stats(vs, &space);
	if (space.limit && space.frames + space.tables + pages > space.limit)
		return -ENOMEM;
	frame_get_stats(&frames);
	return pages > frames.free ? -ENOMEM : 0;
}

/* ---- what is mapped ---- */

/* What was mapped in one piece goes in one piece, which takes no memory. */
static void unload_segment(struct vmspace *vs, const struct segment *s)
{
	vmspace_unmap(vs, first_page(s), pages_len(s));
}

/* A page's worth at a time, as interrupts are off meanwhile. Errors as copy_to_user. */
static int fill_segment(struct vmspace *vs, const struct segment *s, const uint8_t *image)
{
	size_t n;

	for (size_t done = 0; done < s->filesz; done += n) {
		const size_t left = s->filesz - done;
		int err;

		n = left < PAGE_SIZE ? left : PAGE_SIZE;
		err = copy_to_user(vs, s->vaddr + done, image + s->offset + done, n);
		if (err)
			return err;
	}
	return 0;
}

/* Writable until it is filled; never executable as well. Pages come zeroed. -ENOMEM; anything else: others have changed
 * what is mapped there. Then nothing of it stays. */
static int load_segment(struct vmspace *vs, const struct segment *s, const uint8_t *image)
{
	vaddr_t va = first_page(s);
	int err = vmspace_map_anon(vs, &va, pages_len(s), VM_WRITE);

	if (err)
		return err;
	err = fill_segment(vs, s, image);
	if (!err && s->prot != VM_WRITE)
		err = vmspace_protect(vs, va, pages_len(s), s->prot);
	if (err)
		unload_segment(vs, s);
	return err;
}

/* All or nothing. Errors as load_segment. */
static int load_program(struct vmspace *vs, const struct program *p, const uint8_t *image)
{
	for (unsigned i = 0; i < p->count; i++) {
		const int err = load_segment(vs, &p->s[i], image);

		if (err) {
			while (i--)
				unload_segment(vs, &p->s[i]);
			return err;
		}
	}
	return 0;
}

int elf_load(struct vmspace *vs, const void *image, size_t len, vaddr_t *entry)
{
	struct program p;
	struct cursor cursor;
	vaddr_t start;
	size_t pages;
	int err = read_program(image, len, &p, &start);

	if (!err)
		err = check_program(&p, start, &pages);
	if (err)
		return err;
	cursor = (struct cursor){ p.s, p.s + p.count };
	err = vmspace_for_each(vs, refuse_mapped, &cursor);
	if (!err)
		err = check_memory(vs, pages);
	if (err)
		return err;

	/* Only memory can be missing now, unless others have mapped or unmapped something there since. */
	err = load_program(vs, &p, image);
	if (err)
		return err == -ENOMEM ? err : -EINVAL;
	*entry = start;
	return 0;
}
