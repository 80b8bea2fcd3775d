/* The boot memory map made orderly. A sweep over the edges of all entries: between two neighbouring edges no entry begins
 * or ends, so that what is true of the first page is true of all. It takes no memory and leaves the input as it is, for
 * a time that is quadratic in the number of entries, of which there are some dozens. */
#include "mm.h"

#define MEM_LIMIT (1ul << 52)           /* one past the highest physical address there can be */

_Static_assert(MEM_LIMIT % PAGE_SIZE == 0, "a span that is cut still consists of whole pages");

/* [start, end), page-aligned and at most MEM_LIMIT; empty if end <= start. */
struct span {
	paddr_t start, end;
};

/* pa is at most MEM_LIMIT, so neither overflows nor leads past it. */
static paddr_t page_down(paddr_t pa)
{
	return pa & ~(PAGE_SIZE - 1);
}

static paddr_t page_up(paddr_t pa)
{
	return page_down(pa + PAGE_SIZE - 1);
}

/* base + len is not to be computed: it may be exactly 2^64. */
static bool entry_wraps(const struct boot_mem *entry)
{
	return entry->len && entry->len - 1 > UINT64_MAX - entry->base;
}

/* The pages that a usable entry gives: those wholly inside it; or that any other takes: those it touches. */
static struct span entry_span(const struct boot_mem *entry)
{
	const paddr_t start = entry->base < MEM_LIMIT ? entry->base : MEM_LIMIT;
	const paddr_t end = entry->len < MEM_LIMIT - start ? start + entry->len : MEM_LIMIT;

	if (!entry->len)                /* would grow to a page */
		return (struct span){ 0, 0 };
	if (entry->type == BOOT_MEM_USABLE)
		return (struct span){ page_up(start), page_down(end) };
	return (struct span){ page_down(start), page_up(end) };
}

/* Is the page at `at`, below MEM_LIMIT, given by an entry and taken by none? *edge is where the answer may change: the
 * next edge of an entry, or MEM_LIMIT. Always at < *edge. */
static bool page_usable(const struct boot_mem *in, size_t n_in, paddr_t at, paddr_t *edge)
{
	bool given = false, taken = false;

	*edge = MEM_LIMIT;
	for (size_t i = 0; i < n_in; i++) {
		const struct span span = entry_span(&in[i]);
		const paddr_t next = span.start > at ? span.start : span.end;

		if (span.end <= span.start || span.end <= at)
			continue;
		if (next < *edge)
			*edge = next;
		if (span.start <= at) {
			if (in[i].type == BOOT_MEM_USABLE)
				given = true;
			else
				taken = true;
		}
	}
	return given && !taken;
}

int memmap_normalise(const struct boot_mem *in, size_t n_in, struct mm_range *out, size_t max, size_t *n_out)
{
	size_t n = 0;
	paddr_t edge;

	if ((n_in && !in) || (max && !out))
		return -EINVAL;
	for (size_t i = 0; i < n_in; i++)
		if (entry_wraps(&in[i]))
			return -EINVAL;

	/* From page 1 on: frame 0 is left out. */
	for (paddr_t at = PAGE_SIZE; at < MEM_LIMIT; at = edge) {
		if (!page_usable(in, n_in, at, &edge))
			continue;
		if (n && out[n - 1].base + out[n - 1].len == at) {
			out[n - 1].len += edge - at;
		} else {
			if (n == max)
				return -ENOSPC;
			out[n++] = (struct mm_range){ at, edge - at };
		}
	}
	*n_out = n;
	return 0;
}
