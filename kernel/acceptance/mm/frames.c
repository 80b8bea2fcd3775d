/* Acceptance of mm/frames.c: who gets which page frame, and what comes back. See spec/mm.md. */
#include "clock.h"
#include "cpu.h"
#include "memory.h"
#include "panic.h"

#define FOUR_GIB (4ull << 30)

static struct frame_stats stats(void)
{
	struct frame_stats s;

	frame_get_stats(&s);
	return s;
}

/* What the booted kernel has taken of memory. */
KFIGURE(mm, frames_used)
{
	return stats().total - stats().free;
}

/* ---- one bit a frame ---- */

static uint64_t *notes, note_frames;
static paddr_t notes_at;

/* All clear, in frames of their own, as far up as the memory map says that there is RAM. */
static bool notes_make(void)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < boot_info()->mem_count; i++) {
		const struct boot_mem *r = &boot_info()->mem[i];

		if (r->type == BOOT_MEM_USABLE && r->base + r->len > end)
			end = r->base + r->len;
	}
	note_frames = end / PAGE_SIZE;
	if (frame_alloc_contig(note_frames / 8 / PAGE_SIZE + 1, 1, FOUR_GIB, FRAME_ZERO, &notes_at))
		return false;
	notes = phys_to_virt(notes_at);
	return true;
}

static void notes_end(void)
{
	frame_free_contig(notes_at, note_frames / 8 / PAGE_SIZE + 1);
}

static bool noted(uint64_t frame)
{
	return notes[frame / 64] >> frame % 64 & 1;
}

static void note(uint64_t frame)
{
	notes[frame / 64] ^= 1ull << frame % 64;
}

/* How many of the frames are noted that have a byte in [base, end). */
static uint64_t notes_touching(uint64_t base, uint64_t end)
{
	uint64_t n = 0, last = (end + PAGE_SIZE - 1) / PAGE_SIZE;

	for (uint64_t f = base / PAGE_SIZE; f < last && f < note_frames; f++) {
		if (f % 64 == 0 && !notes[f / 64])
			f += 63;
		else
			n += noted(f);
	}
	return n;
}

/* ---- all memory, once over, and again; done by the first test that asks for it ---- */

/* Frames that are not only taken but written to, all of them: more would take a machine below its memory, and its time. */
#define WRITTEN (256ull << 20)

static void write_frame(paddr_t pa)
{
	void *to = phys_to_virt(pa);
	uint64_t n = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(~pa) : "memory");
}

static bool is_written(paddr_t pa)
{
	const volatile uint64_t *word = phys_to_virt(pa);

	return word[0] == ~pa && word[77] == ~pa && word[511] == ~pa;
}

static struct sweep {
	bool made, done;
	uint64_t given, odd, foreign, twice, torn;      /* not aligned; not managed; given before; somebody else's too */
	int end, end_again, end_low, end_run;           /* what the next one gets */
	struct frame_stats before, empty, after;
	uint64_t reserved, usable, kernel, modules, low;        /* frames that were given of each */
	uint64_t not_freed, given_again, new_again;
	struct frame_stats after_again;
} sweep;

static void sweep_where(void)
{
	const struct boot_info *info = boot_info();

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const struct boot_mem *r = &info->mem[i];
		const uint64_t end = r->base + r->len;

		if (r->type != BOOT_MEM_USABLE)
			sweep.reserved += notes_touching(r->base, end);
		else if (end / PAGE_SIZE > (r->base + PAGE_SIZE - 1) / PAGE_SIZE)
			sweep.usable += notes_touching((r->base + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1), end & ~(PAGE_SIZE - 1));
	}
	for (uint32_t i = 0; i < info->module_count; i++)
		if (info->modules[i].len)
			sweep.modules += notes_touching(info->modules[i].base, info->modules[i].base + info->modules[i].len);
	sweep.kernel = notes_touching(harness_addr(__kernel_phys_start), harness_addr(__kernel_phys_end));
	sweep.low = notes_touching(0, 1 << 20);
}

/* Frees all that is noted; how many cannot be. */
static uint64_t free_noted(void)
{
	uint64_t errors = 0;

	for (uint64_t f = 0; f < note_frames; f++) {
		if (!notes[f / 64])
			f |= 63;
		else if (noted(f))
			errors += frame_free(f * PAGE_SIZE) != 0;
	}
	return errors;
}

static const struct sweep *swept(void)
{
	paddr_t pa, all;

	if (sweep.done)
		return &sweep;
	sweep.done = true;
	sweep.made = notes_make();
	if (!sweep.made)
		return &sweep;
	sweep.before = stats();
	while ((sweep.end = frame_alloc(0, &pa)) == 0 && sweep.given <= note_frames) {
		const uint64_t f = pa / PAGE_SIZE;

		sweep.given++;
		sweep.odd += pa % PAGE_SIZE != 0;
		if (f >= note_frames || !frame_managed(pa))
			sweep.foreign++;
		else if (noted(f))
			sweep.twice++;
		else
			note(f);
		if (note_frames * PAGE_SIZE <= WRITTEN)
			write_frame(pa);
	}
	for (uint64_t f = 0; f < note_frames && note_frames * PAGE_SIZE <= WRITTEN; f++)
		sweep.torn += noted(f) && !is_written(f * PAGE_SIZE);
	sweep.end_again = frame_alloc(FRAME_ZERO, &pa);
	sweep.end_low = frame_alloc(FRAME_LOW, &pa);
	sweep.end_run = frame_alloc_contig(1, 1, 0, 0, &pa);
	sweep.empty = stats();
	sweep_where();
	sweep.not_freed = free_noted();
	sweep.after = stats();

	all = hog();                                    /* quicker than one by one */
	for (paddr_t run = all; run; run = hogged_at(run)->next) {
		sweep.given_again += hogged_at(run)->count;
		for (uint64_t f = run / PAGE_SIZE; f < run / PAGE_SIZE + hogged_at(run)->count; f++)
			sweep.new_again += f >= note_frames || !noted(f);
	}
	unhog(all);
	sweep.after_again = stats();
	notes_end();
	return &sweep;
}

KTEST(mm, frames_unique)
{
	const struct sweep *s = swept();

	KASSERT(s->made);
	KASSERT_EQ(s->odd, 0);
	KASSERT_EQ(s->foreign, 0);
	KASSERT_EQ(s->twice, 0);
	KASSERT_EQ(s->torn, 0);
	KASSERT_EQ(s->given, s->before.free);
	KASSERT(s->given > 1024);
}

KTEST(mm, frames_return)
{
	const struct sweep *s = swept();

	KASSERT(s->made);
	KASSERT_EQ(s->not_freed, 0);
	KASSERT_EQ(s->after.free, s->before.free);
	KASSERT_EQ(s->after.low_free, s->before.low_free);
	KASSERT_EQ(s->after.total, s->before.total);
	KASSERT_EQ(s->given_again, s->given);
	KASSERT_EQ(s->new_again, 0);
	KASSERT_EQ(s->after_again.free, s->before.free);
	KASSERT_EQ(s->after_again.low_free, s->before.low_free);
}

KTEST(mm, frames_exhaust)
{
	const struct sweep *s = swept();

	KASSERT(s->made);
	KASSERT_EQ(s->end, -ENOMEM);
	KASSERT_EQ(s->end_again, -ENOMEM);
	KASSERT_EQ(s->end_low, -ENOMEM);
	KASSERT_EQ(s->end_run, -ENOMEM);
	KASSERT_EQ(s->empty.free, 0);
	KASSERT_EQ(s->empty.low_free, 0);
	KASSERT_EQ(s->empty.total, s->before.total);
}

KTEST(mm, frames_reserved)
{
	const struct sweep *s = swept();

	KASSERT(s->made);
	KASSERT_EQ(s->reserved, 0);
	KASSERT_EQ(s->usable, s->given);                /* each lies in one entry, the whole of it */
	KASSERT_EQ(s->low, 0);
}

KTEST(mm, frames_kernel)
{
	const struct sweep *s = swept();
	const paddr_t image = harness_addr(__kernel_phys_start), end = harness_addr(__kernel_phys_end);

	KASSERT(s->made);
	KASSERT_EQ(s->kernel, 0);
	KASSERT_EQ(s->modules, 0);
	for (paddr_t pa = image; pa < end; pa += PAGE_SIZE)
		KASSERT(!frame_managed(pa));
	for (uint32_t i = 0; i < boot_info()->module_count; i++)
		KASSERT(!frame_managed(boot_info()->modules[i].base));
}

/* Next to nothing is kept back: 16 bytes a frame, and 64 KiB. */
KTEST(mm, frames_total)
{
	const struct boot_info *info = boot_info();
	uint64_t usable = 0, kept = harness_addr(__kernel_phys_end) - harness_addr(__kernel_phys_start) + 0x10000, end = 0;

	for (uint32_t i = 0; i < info->mem_count; i++) {
		const uint64_t top = info->mem[i].base + info->mem[i].len;

		if (info->mem[i].type != BOOT_MEM_USABLE || info->mem[i].base < 1 << 20)
			continue;
		end = top > end ? top : end;
		if (info->mem[i].base < FOUR_GIB)
			usable += (top < FOUR_GIB ? top : FOUR_GIB) - info->mem[i].base;
	}
	for (uint32_t i = 0; i < info->module_count; i++)
		kept += info->modules[i].len + PAGE_SIZE;
	kept += end / PAGE_SIZE * 16;
	KASSERT(stats().total * PAGE_SIZE + kept >= usable);
	KASSERT(stats().total * PAGE_SIZE <= boot_usable_bytes(info));
	KASSERT(stats().free <= stats().total);
	KASSERT(stats().low_free <= stats().free);
}

/* ---- what cannot be freed ---- */

enum { SOME = 256 };

static paddr_t some[SOME];

static bool get_some(unsigned flags)
{
	for (unsigned i = 0; i < SOME; i++)
		if (frame_alloc(flags, &some[i]))
			return false;
	return true;
}

/* How many could not be freed. */
static unsigned free_some(void)
{
	unsigned errors = 0;

	for (unsigned i = 0; i < SOME; i++)
		errors += frame_free(some[i]) != 0;
	return errors;
}

KTEST(mm, frames_double_free)
{
	const uint64_t before = free_frames();
	unsigned accepted = 0;

	KASSERT(get_some(0));
	KASSERT_EQ(free_frames(), before - SOME);
	for (unsigned i = 0; i < SOME; i++) {
		KASSERT_EQ(frame_free(some[i]), 0);
		accepted += frame_free(some[i]) != -EINVAL;     /* straight after the first, */
	}
	for (unsigned i = 0; i < SOME; i++)
		accepted += frame_free(some[i]) != -EINVAL;     /* and when others have been freed since */
	KASSERT_EQ(accepted, 0);
	KASSERT_EQ(free_frames(), before);
	KASSERT(get_some(0));
	for (unsigned i = 0; i < SOME; i++)
		for (unsigned j = 0; j < i; j++)
			KASSERT(some[i] != some[j]);
	KASSERT_EQ(free_some(), 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, frames_bad_free)
{
	const struct frame_stats before = stats();
	const paddr_t bad[] = {
		0, 0x8000, 0xA0000, 0xF0000, harness_addr(__kernel_phys_start), harness_addr(__kernel_phys_end) - PAGE_SIZE, 0xFEC00000,
		0xFEE00000, 1ull << 46, 1ull << 52, 1ull << 63, UINT64_MAX - 4095, UINT64_MAX,
	};
	paddr_t pa;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		KASSERT_EQ(frame_free(bad[i]), -EINVAL);
		KASSERT_EQ(frame_free_contig(bad[i], 1), -EINVAL);
		KASSERT(!frame_managed(bad[i]));
	}
	KASSERT_EQ(frame_alloc(0, &pa), 0);
	KASSERT_EQ(frame_free(pa + 1), -EINVAL);
	KASSERT_EQ(frame_free(pa + 2048), -EINVAL);
	KASSERT_EQ(frame_free(pa | 1ull << 63), -EINVAL);
	KASSERT(frame_managed(pa));
	KASSERT(frame_managed(pa + 4095));
	KASSERT_EQ(stats().free, before.free - 1);
	KASSERT_EQ(frame_free(pa), 0);
	KASSERT_EQ(stats().free, before.free);
	KASSERT_EQ(stats().total, before.total);
}

KTEST(mm, frames_flags)
{
	const uint64_t before = free_frames();
	paddr_t pa = 77;

	for (unsigned bit = 2; bit < 32; bit++)
		KASSERT_EQ(frame_alloc(1u << bit, &pa), -EINVAL);
	KASSERT_EQ(frame_alloc_contig(1, 1, 0, 4, &pa), -EINVAL);
	KASSERT_EQ(pa, 77);
	KASSERT_EQ(free_frames(), before);
	KASSERT(get_some(FRAME_LOW));
	for (unsigned i = 0; i < SOME; i++)
		KASSERT(some[i] <= FOUR_GIB - PAGE_SIZE);
	KASSERT_EQ(free_some(), 0);
}

/* Words of [pa, pa + len) that are not 0. */
static uint64_t dirty(paddr_t pa, uint64_t len)
{
	const uint64_t *p = phys_to_virt(pa);
	uint64_t n = 0;

	for (uint64_t i = 0; i < len / 8; i++)
		n += p[i] != 0;
	return n;
}

KTEST(mm, frames_zero)
{
	uint64_t left = 0;
	paddr_t run;

	KASSERT(get_some(0));
	for (unsigned i = 0; i < SOME; i++)
		harness_memset(phys_to_virt(some[i]), 0xa5, PAGE_SIZE);
	KASSERT_EQ(free_some(), 0);
	KASSERT(get_some(FRAME_ZERO));
	for (unsigned i = 0; i < SOME; i++)
		left += dirty(some[i], PAGE_SIZE);
	KASSERT_EQ(free_some(), 0);
	KASSERT_EQ(left, 0);

	KASSERT_EQ(frame_alloc_contig(16, 16, 0, 0, &run), 0);
	harness_memset(phys_to_virt(run), 0x5a, 16 * PAGE_SIZE);
	KASSERT_EQ(frame_free_contig(run, 16), 0);
	for (unsigned i = 0; i < 16; i++) {             /* wherever they are: among them those that were dirtied */
		KASSERT_EQ(frame_alloc_contig(16, 16, 0, FRAME_ZERO, &some[i]), 0);
		left += dirty(some[i], 16 * PAGE_SIZE);
	}
	for (unsigned i = 0; i < 16; i++)
		KASSERT_EQ(frame_free_contig(some[i], 16), 0);
	KASSERT_EQ(left, 0);
}

/* ---- runs ---- */

KTEST(mm, frames_contig)
{
	static const size_t counts[] = { 1, 2, 3, 7, 8, 63, 64, 65, 100, 127, 200, 511, 512 };
	enum { RUNS = sizeof counts / sizeof *counts };
	const uint64_t before = free_frames();
	uint64_t total = 0;
	paddr_t at[RUNS];

	for (unsigned i = 0; i < RUNS; i++) {
		KASSERT_EQ(frame_alloc_contig(counts[i], 0, 0, 0, &at[i]), 0);
		KASSERT_EQ(at[i] % PAGE_SIZE, 0);
		total += counts[i];
		for (size_t f = 0; f < counts[i]; f++) {
			KASSERT(frame_managed(at[i] + f * PAGE_SIZE));
			*(uint64_t *)phys_to_virt(at[i] + f * PAGE_SIZE) = i << 16 | f;
		}
		for (unsigned j = 0; j < i; j++)
			KASSERT(at[i] + counts[i] * PAGE_SIZE <= at[j] || at[j] + counts[j] * PAGE_SIZE <= at[i]);
	}
	KASSERT_EQ(free_frames(), before - total);
	KASSERT(get_some(0));
	for (unsigned i = 0; i < SOME; i++)
		*(uint64_t *)phys_to_virt(some[i]) = UINT64_MAX;
	KASSERT_EQ(free_some(), 0);
	for (unsigned i = 0; i < RUNS; i++) {
		for (size_t f = 0; f < counts[i]; f++)
			KASSERT_EQ(*(uint64_t *)phys_to_virt(at[i] + f * PAGE_SIZE), i << 16 | f);
		/* in one piece, from its middle, or one by one */
		if (i % 3 == 0)
			KASSERT_EQ(frame_free_contig(at[i], counts[i]), 0);
		else if (i % 3 == 1)
			for (size_t f = counts[i]; f--;)
				KASSERT_EQ(frame_free_contig(at[i] + f * PAGE_SIZE, 1), 0);
		else
			for (size_t f = 0; f < counts[i]; f++)
				KASSERT_EQ(frame_free(at[i] + f * PAGE_SIZE), 0);
	}
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, frames_contig_align)
{
	const uint64_t before = free_frames();
	paddr_t pa[10], none = 77;

	for (unsigned i = 0; i < 10; i++) {
		KASSERT_EQ(frame_alloc_contig(3, 1ul << i, 0, 0, &pa[i]), 0);
		KASSERT_EQ(pa[i] % (PAGE_SIZE << i), 0);
	}
	for (unsigned i = 0; i < 10; i++)
		KASSERT_EQ(frame_free_contig(pa[i], 3), 0);
	KASSERT_EQ(frame_alloc_contig(1, 3, 0, 0, &none), -EINVAL);
	KASSERT_EQ(frame_alloc_contig(1, 511, 0, 0, &none), -EINVAL);
	KASSERT_EQ(frame_alloc_contig(0, 1, 0, 0, &none), -EINVAL);
	KASSERT_EQ(frame_alloc_contig(1, 1ul << 45, 0, 0, &none), -ENOMEM);     /* frame 0 would be aligned so */
	KASSERT_EQ(frame_alloc_contig(1, 1ul << 63, 0, 0, &none), -ENOMEM);
	KASSERT_EQ(frame_alloc_contig(before + 1, 1, 0, 0, &none), -ENOMEM);
	KASSERT_EQ(frame_alloc_contig(1ul << 52, 1, 0, 0, &none), -ENOMEM);
	KASSERT_EQ(frame_alloc_contig(SIZE_MAX, 1, 0, 0, &none), -ENOMEM);
	KASSERT_EQ(none, 77);
	KASSERT_EQ(free_frames(), before);
}

/* All that lies below a limit can be had with it, and nothing above it. */
KTEST(mm, frames_contig_limit)
{
	const uint64_t before = free_frames(), limit = 16 << 20;
	uint64_t n = 0, wrong = 0, managed = 0, left_out = 0;
	paddr_t head = 0, pa, rest;

	for (pa = 0; pa < limit; pa += PAGE_SIZE)
		managed += frame_managed(pa);
	while (frame_alloc_contig(1, 1, limit, 0, &pa) == 0 && n <= managed) {
		wrong += pa + PAGE_SIZE > limit;
		*hogged_at(pa) = (struct hogged){ head, 1 };
		head = pa;
		n++;
	}
	KASSERT_EQ(frame_alloc_contig(1, 1, limit + PAGE_SIZE - 1, 0, &pa), -ENOMEM);   /* every byte */
	KASSERT_EQ(frame_alloc_contig(1, 1, 4096, 0, &pa), -ENOMEM);
	KASSERT_EQ(frame_alloc_contig(1, 1, 1, 0, &pa), -ENOMEM);
	KASSERT_EQ(frame_alloc_contig(1, 1, 1 << 20, 0, &pa), -ENOMEM);         /* nothing below 1 MiB is managed */
	rest = hog();
	for (paddr_t run = rest; run; run = hogged_at(run)->next)
		left_out += run < limit;
	unhog(rest);
	unhog(head);
	KASSERT_EQ(wrong, 0);
	KASSERT(n > 0);
	KASSERT(n <= managed);
	KASSERT_EQ(left_out, 0);
	KASSERT_EQ(free_frames(), before);
	for (unsigned i = 0; i < 64; i++) {
		KASSERT_EQ(frame_alloc_contig(4, 4, FOUR_GIB, 0, &some[i]), 0);
		KASSERT(some[i] + 4 * PAGE_SIZE <= FOUR_GIB);
	}
	for (unsigned i = 0; i < 64; i++)
		KASSERT_EQ(frame_free_contig(some[i], 4), 0);
	KASSERT_EQ(free_frames(), before);
}

/* Of 64 frames that are all there is, every other one is free. */
KTEST(mm, frames_contig_holes)
{
	const uint64_t before = free_frames();
	paddr_t run, rest, pa = 0;
	uint64_t left;
	int two, three, too_long, single = 0;

	KASSERT_EQ(frame_alloc_contig(64, 64, 0, 0, &run), 0);
	rest = hog();
	for (unsigned i = 0; i < 64; i += 2)
		frame_free(run + i * PAGE_SIZE);
	left = free_frames();
	two = frame_alloc_contig(2, 1, 0, 0, &pa);
	frame_free(run + 5 * PAGE_SIZE);
	too_long = frame_alloc_contig(4, 1, 0, 0, &pa);
	three = frame_alloc_contig(3, 1, 0, 0, &pa);
	if (three == 0)
		frame_free_contig(pa, 3);
	for (unsigned i = 0; i < 33; i++)               /* each of them by itself: four neighbours, and the rest */
		single |= frame_alloc(0, &some[i]);
	for (unsigned i = 0; i < 33 && !single; i++)
		frame_free(some[i]);
	for (unsigned i = 1; i < 64; i += 2)
		frame_free(run + i * PAGE_SIZE);
	unhog(rest);
	KASSERT_EQ(left, 32);
	KASSERT_EQ(two, -ENOMEM);
	KASSERT_EQ(too_long, -ENOMEM);
	KASSERT_EQ(three, 0);
	KASSERT_EQ(pa, run + 4 * PAGE_SIZE);
	KASSERT_EQ(single, 0);
	KASSERT_EQ(free_frames(), before);
}

KTEST(mm, frames_contig_partial)
{
	const uint64_t before = free_frames();
	paddr_t run;

	KASSERT_EQ(frame_alloc_contig(8, 1, 0, 0, &run), 0);
	KASSERT_EQ(frame_free_contig(run, 0), -EINVAL);
	KASSERT_EQ(frame_free_contig(run + 1, 1), -EINVAL);
	KASSERT_EQ(frame_free_contig(run, SIZE_MAX), -EINVAL);
	KASSERT_EQ(frame_free_contig(run, 1ul << 52), -EINVAL);         /* whose bytes wrap to none */
	KASSERT_EQ(frame_free_contig(run, 8), 0);
	for (unsigned hole = 0; hole < 8; hole++) {
		KASSERT_EQ(frame_alloc_contig(8, 1, 0, 0, &run), 0);
		KASSERT_EQ(frame_free(run + hole * PAGE_SIZE), 0);
		KASSERT_EQ(frame_free_contig(run, 8), -EINVAL);
		KASSERT_EQ(free_frames(), before - 7);
		if (hole)
			KASSERT_EQ(frame_free_contig(run, hole), 0);
		if (hole < 7)
			KASSERT_EQ(frame_free_contig(run + (hole + 1) * PAGE_SIZE, 7 - hole), 0);
		KASSERT_EQ(free_frames(), before);
	}
}

/* ---- tags ---- */

KTEST(mm, frames_tag)
{
	paddr_t run;

	for (unsigned round = 0; round < 2; round++) {  /* what was told of a frame is forgotten when it is freed */
		KASSERT(get_some(0));
		for (unsigned i = 0; i < SOME; i++) {
			KASSERT_EQ(frame_tag(some[i]), 0);
			frame_set_tag(some[i], i + 0xabcd00000000000ull);
		}
		for (unsigned i = 0; i < SOME; i++)
			KASSERT_EQ(frame_tag(some[i] + i * 16), i + 0xabcd00000000000ull);
		KASSERT_EQ(free_some(), 0);
		for (unsigned i = 0; i < SOME; i++)
			KASSERT_EQ(frame_tag(some[i]), 0);
	}
	KASSERT_EQ(frame_alloc_contig(SOME, 1, 0, 0, &run), 0);
	for (unsigned i = 0; i < SOME; i++)
		KASSERT_EQ(frame_tag(run + i * PAGE_SIZE), 0);
	frame_set_tag(run, UINT64_MAX);
	KASSERT_EQ(frame_tag(run), UINT64_MAX);
	KASSERT_EQ(frame_tag(run + PAGE_SIZE), 0);
	for (unsigned i = 0; i < SOME; i++)
		frame_set_tag(run + i * PAGE_SIZE, i + 1);
	KASSERT_EQ(frame_free_contig(run, SOME), 0);
	for (unsigned i = 0; i < SOME; i++)
		KASSERT_EQ(frame_tag(run + i * PAGE_SIZE), 0);
	KASSERT_EQ(frame_tag(0), 0);
	KASSERT_EQ(frame_tag(UINT64_MAX), 0);
	KASSERT_EQ(frame_tag(0xFEE00000), 0);
}

static void set_tag(void *pa)
{
	frame_set_tag(*(const paddr_t *)pa, 1);
}

KTEST(mm, frames_tag_bad)
{
	char why[64];
	paddr_t pa;

	KASSERT_EQ(frame_alloc(0, &pa), 0);
	KASSERT_EQ(panic_catch(set_tag, &pa, why, sizeof why), 0);
	KASSERT_EQ(frame_free(pa), 0);
	KASSERT_EQ(panic_catch(set_tag, &pa, why, sizeof why), 1);
	KASSERT_EQ(harness_memcmp(why, "mm: ", 4), 0);
	pa = 0xFEE00000;
	KASSERT_EQ(panic_catch(set_tag, &pa, why, sizeof why), 1);
	pa = UINT64_MAX;
	KASSERT_EQ(panic_catch(set_tag, &pa, why, sizeof why), 1);
	KASSERT_EQ(frame_alloc(0, &pa), 0);             /* no lock is left behind */
	KASSERT_EQ(frame_free(pa), 0);
}

/* ---- a million allocations against one bit a frame ---- */

enum { SLOTS = 2048, OPERATIONS = 1000000 };

static struct slot {
	paddr_t pa;
	uint64_t count, tag;                            /* tag 0: none was set */
} slots[SLOTS];

static struct {
	uint64_t live, failed, shared, tags, refused, twice, stats;
} model;

static void model_alloc(struct slot *s, uint64_t r)
{
	const uint64_t id = (uint64_t)(s - slots) + 1;
	int err;

	s->count = r >> 20 & 31 ? 1 : 1 + (r >> 25 & 15);
	err = s->count == 1 ? frame_alloc(r >> 28 & FRAME_LOW, &s->pa) :
		frame_alloc_contig(s->count, 1ul << (r >> 28 & 3), 0, 0, &s->pa);
	if (err) {
		model.failed++;
		s->count = 0;
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (noted(s->pa / PAGE_SIZE + i))
			model.shared++;
		else
			note(s->pa / PAGE_SIZE + i);
	}
	if ((r >> 36 & 7) == 0) {
		model.tags += frame_tag(s->pa) != 0;
		frame_set_tag(s->pa, id);
		s->tag = id;
	} else {
		s->tag = 0;
	}
	model.live += s->count;
}

static void model_free(struct slot *s, uint64_t r)
{
	if (s->tag)
		model.tags += frame_tag(s->pa) != s->tag;
	for (size_t i = 0; i < s->count; i++)
		note(s->pa / PAGE_SIZE + i);
	if (s->count == 1 || (r >> 20 & 1))
		for (size_t i = 0; i < s->count; i++)
			model.refused += frame_free(s->pa + i * PAGE_SIZE) != 0;
	else
		model.refused += frame_free_contig(s->pa, s->count) != 0;
	if ((r >> 32 & 31) == 0)
		model.twice += frame_free(s->pa) != -EINVAL;
	model.live -= s->count;
	s->count = 0;
}

KTEST(mm, frames_model)
{
	uint64_t seed = harness_seed(), start;

	harness_memset(&model, 0, sizeof model);
	harness_memset(slots, 0, sizeof slots);
	KASSERT(notes_make());
	start = free_frames();
	for (unsigned i = 0; i < OPERATIONS; i++) {
		const uint64_t r = harness_random(&seed);
		struct slot *s = &slots[r % SLOTS];

		if (s->count)
			model_free(s, r);
		else
			model_alloc(s, r);
		if (i % 4096 == 0)
			model.stats += free_frames() != start - model.live;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].count)
			model_free(&slots[i], 1 << 20);
	model.stats += free_frames() != start;
	notes_end();
	KASSERT_EQ(model.failed, 0);
	KASSERT_EQ(model.shared, 0);
	KASSERT_EQ(model.tags, 0);
	KASSERT_EQ(model.refused, 0);
	KASSERT_EQ(model.twice, 0);
	KASSERT_EQ(model.stats, 0);
}

/* ---- all processors at once ---- */

enum { ROUNDS = 400, HELD = 40 };

#define DEADLINE 200000000ull           /* ns: where fewer processors serve more of them, each wait for a lock takes its time */

static struct {
	uint32_t arrived;
	uint64_t failed, shared, refused;
} crowd;

/* Each marks what it is given; a mark that another changed is a frame with two owners. */
static void crowd_works(void *processors)
{
	const uint64_t me = cpu_self()->index + 1;
	const uint64_t deadline = clock_ns() + DEADLINE;
	uint64_t state = me;
	paddr_t mine[HELD];
	unsigned n = 0;

	__atomic_fetch_add(&crowd.arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 100000000 && __atomic_load_n(&crowd.arrived, __ATOMIC_SEQ_CST) < *(unsigned *)processors; i++)
		__asm__ volatile("pause");
	for (unsigned round = 0; round < ROUNDS && clock_ns() < deadline; round++) {
		const unsigned wanted = harness_random(&state) % HELD;

		for (; n < wanted; n++) {
			const bool run = harness_random(&state) % 16 == 0;

			if (run ? frame_alloc_contig(1, 1, 0, 0, &mine[n]) : frame_alloc(0, &mine[n])) {
				__atomic_fetch_add(&crowd.failed, 1, __ATOMIC_SEQ_CST);
				break;
			}
			if (frame_tag(mine[n]))
				__atomic_fetch_add(&crowd.shared, 1, __ATOMIC_SEQ_CST);
			frame_set_tag(mine[n], me);
			*(volatile uint64_t *)phys_to_virt(mine[n]) = me << 32 | n;
		}
		for (; n > wanted; n--) {
			const paddr_t pa = mine[n - 1];

			if (frame_tag(pa) != me || *(volatile uint64_t *)phys_to_virt(pa) != (me << 32 | (n - 1)))
				__atomic_fetch_add(&crowd.shared, 1, __ATOMIC_SEQ_CST);
			if (frame_free(pa))
				__atomic_fetch_add(&crowd.refused, 1, __ATOMIC_SEQ_CST);
		}
	}
	while (n)
		frame_free(mine[--n]);
}

KTEST(mm, frames_smp)
{
	unsigned processors = memory_processors();
	const uint64_t before = free_frames();

	harness_memset(&crowd, 0, sizeof crowd);
	KASSERT_EQ(cpu_on_each(crowd_works, &processors), 0);
	KASSERT_EQ(crowd.arrived, processors);
	KASSERT_EQ(crowd.failed, 0);
	KASSERT_EQ(crowd.shared, 0);
	KASSERT_EQ(crowd.refused, 0);
	KASSERT_EQ(free_frames(), before);
}

/* All is given while frames lie about on other processors. */
static void churn(void *arg)
{
	paddr_t pa[HELD];

	(void)arg;
	for (unsigned i = 0; i < HELD; i++)
		frame_alloc(0, &pa[i]);
	for (unsigned i = 0; i < HELD; i++)
		frame_free(pa[i]);
}

KTEST(mm, frames_smp_exhaust)
{
	const uint64_t before = free_frames();
	uint64_t left;
	paddr_t all, pa;
	int next;

	KASSERT_EQ(cpu_on_each(churn, NULL), 0);
	KASSERT_EQ(free_frames(), before);
	all = hog();
	left = free_frames();
	next = frame_alloc(0, &pa);
	unhog(all);
	KASSERT_EQ(left, 0);
	KASSERT_EQ(next, -ENOMEM);
	KASSERT_EQ(free_frames(), before);
}

/* ---- what it costs ---- */

static void alloc_free(uint64_t n)
{
	paddr_t pa;

	for (uint64_t i = 0; i < n; i++)
		if (frame_alloc(0, &pa) == 0)
			frame_free(pa);
}

KBENCH(mm, frame_alloc_free)
{
	alloc_free(n);
}

/* In boots that count instructions. */
KTEST(mm, frame_cost)
{
	enum { CEILING = 120 };
	uint64_t cost;

	if (!harness_counting())
		return;
	cost = ticks_each(alloc_free);
	ktest_note("instructions", cost);
	KASSERT(cost > 4);
	KASSERT(cost <= CEILING);
}

/* ---- beside others ---- */

KTEST(mm, beside_frames)
{
	enum { MINE = 48, TURNS = 1000, WORDS = PAGE_SIZE / 8 };
	static paddr_t held[MINE];
	uint64_t random = harness_seed();
	unsigned wrong = 0, turns = 0;

	for (unsigned round = 0; round < TURNS + MINE; round++) {
		const unsigned i = (unsigned)(round < TURNS ? harness_random(&random) % MINE : round - TURNS);
		volatile uint64_t *words = phys_to_virt(held[i]);

		if (held[i]) {
			/* nobody else has had it meanwhile */
			wrong += words[0] != held[i] || words[WORDS - 1] != ~held[i];
			wrong += frame_free(held[i]) != 0;
			held[i] = 0;
			turns++;
		} else if (round < TURNS && frame_alloc(0, &held[i]) == 0) {
			words = phys_to_virt(held[i]);
			words[0] = held[i];
			words[WORDS - 1] = ~held[i];
		}
	}
	KASSERT_EQ(wrong, 0);
	KASSERT(turns > TURNS / 3);
}
