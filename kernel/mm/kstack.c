/* Kernel stacks, each with a hole beneath. See spec/mm.md, "Address map of the kernel" and invariants 5 to 8.
 *
 * A slot is free: its bit clear, nothing mapped; live: its bit set, its upper half mapped; or going: its bit set, nothing
 * mapped, which lasts from kstack_free's pt_unmap until all processors have forgotten the stack. So a slot that is
 * claimed and mapped is just one that may be freed, and a going one is neither given again nor freed twice. */
#include <stddef.h>
#include <stdint.h>
#include "errno.h"
#include "mm.h"
#include "panic.h"
#include "spinlock.h"

#define SLOT_SIZE (2 * KSTACK_SIZE)             /* the lower half is never mapped */

enum {
	SLOTS = 32768,
	WORD = 64,                              /* slots a word of the bitmap tells of */
	WORDS = SLOTS / WORD,
	PAGES = KSTACK_SIZE / PAGE_SIZE,        /* a stack's */
};
_Static_assert(SLOTS % WORD == 0, "the bitmap has no slots beyond the last");
_Static_assert(SLOTS * SLOT_SIZE <= 1ul << 39, "the area has one entry of the root: see kspace");
_Static_assert(KSTACK_BASE % LARGE_PAGE_SIZE == 0 && LARGE_PAGE_SIZE % SLOT_SIZE == 0,
	"one page table holds all of a slot: see map_stack");

/* The lock is for the slots and for the area's page tables. It is not held across a shootdown (invariant 8). */
static struct spinlock kstack_lock;
static uint64_t claimed[WORDS];
static size_t first_word;                       /* all slots of the words below are claimed */

static vaddr_t bottom_of(size_t slot)
{
	return KSTACK_BASE + slot * SLOT_SIZE + (SLOT_SIZE - KSTACK_SIZE);
}

/* ---- frames ---- */

static void give_frames(const paddr_t *frames, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (frame_free(frames[i]))
			panic("mm: a kernel stack's page is no allocated frame");
}

/* A stack's. -ENOMEM, and none is kept. */
static int take_frames(paddr_t *frames)
{
	for (size_t i = 0; i < PAGES; i++) {
		const int err = frame_alloc(0, &frames[i]);

		if (err) {
			give_frames(frames, i);
			return err;
		}
	}
	return 0;
}

/* ---- slots; under the lock ---- */

/* The lowest, so that few page tables serve all; SLOTS: none is free. */
static size_t find_free(void)
{
	for (; first_word < WORDS; first_word++)
		if (~claimed[first_word])
			return first_word * WORD + (size_t)__builtin_ctzl(~claimed[first_word]);
	return SLOTS;
}

static void release(size_t slot)
{
	claimed[slot / WORD] &= ~(1ul << slot % WORD);
	if (slot / WORD < first_word)
		first_word = slot / WORD;
}

/* -ENOMEM, and nothing is mapped: only the first page can lack tables, the others have the same. So there is never
 * anything to unmap again, which would have to be shot down. */
static int map_stack(size_t slot, const paddr_t *frames)
{
	for (size_t i = 0; i < PAGES; i++) {
		const int err = pt_map(kernel_root, bottom_of(slot) + i * PAGE_SIZE, frames[i], PAGE_SIZE,
			VM_WRITE | VM_GLOBAL);

		if (err == -ENOMEM && i == 0)
			return err;
		if (err)
			panic("mm: a free kernel stack cannot be mapped: error %d", err);
	}
	return 0;
}

/* Makes a free slot live. */
static int claim(const paddr_t *frames, void **top)
{
	const size_t slot = find_free();
	int err;

	if (slot == SLOTS)
		return -ENOMEM;
	err = map_stack(slot, frames);
	if (err)
		return err;
	claimed[slot / WORD] |= 1ul << slot % WORD;
	*top = (void *)(bottom_of(slot) + KSTACK_SIZE);
	return 0;
}

/* Makes a live slot a going one; frames[] is then what was mapped. -EINVAL: it is not live. */
static int unmap_stack(size_t slot, paddr_t *frames)
{
	for (size_t i = 0; i < PAGES; i++) {
		struct pt_entry leaf;

		if (pt_translate(kernel_root, bottom_of(slot) + i * PAGE_SIZE, &leaf))
			return -EINVAL;
		frames[i] = leaf.pa;
	}
	if (pt_unmap(kernel_root, bottom_of(slot), KSTACK_SIZE))
		panic("mm: a kernel stack cannot be unmapped");
	return 0;
}

/* ---- the interface ---- */

int kstack_alloc(void **top)
{
	paddr_t frames[PAGES];
	uint64_t flags;
	int err = take_frames(frames);

	if (err)
		return err;
	flags = spin_lock_irqsave(&kstack_lock);
	err = claim(frames, top);
	spin_unlock_irqrestore(&kstack_lock, flags);
	if (err)
		give_frames(frames, PAGES);
	return err;
}

int kstack_free(void *top)
{
	/* Below the area the offset, at its very start the slot wraps: both are far too large then. */
	const uint64_t offset = (vaddr_t)top - KSTACK_BASE, slot = offset / SLOT_SIZE - 1;
	paddr_t frames[PAGES];
	uint64_t flags;
	int err;

	if (offset % SLOT_SIZE || slot >= SLOTS)
		return -EINVAL;
	flags = spin_lock_irqsave(&kstack_lock);
	err = unmap_stack(slot, frames);
	spin_unlock_irqrestore(&kstack_lock, flags);
	if (err)
		return err;

	tlb_shootdown(NULL, bottom_of(slot), KSTACK_SIZE);
	give_frames(frames, PAGES);

	flags = spin_lock_irqsave(&kstack_lock);
	release(slot);
	spin_unlock_irqrestore(&kstack_lock, flags);
	return 0;
}
