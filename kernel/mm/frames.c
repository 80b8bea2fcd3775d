/* Page frames. See spec/mm.md, "frames". A frame is its number: physical address / PAGE_SIZE.
 *
 * A free frame is a set bit of the bitmap or lies in one processor's stack, never both. The stacks serve the common
 * case; they are filled from and spilled to the bitmap in batches. The state says who may do what: only who turned it
 * from allocated to free may put the frame into a stack or the bitmap, only who took it out there may turn it back. So
 * a second free fails at once, wherever the frame lies by then.
 *
 * Locks: frames_lock guards the bitmap, its summary and the counters; a stack's flag, held, guards its frames. The
 * order is frames_lock, then flags by ascending index. Who holds a flag without the lock waits for nothing, so every
 * wait is as long as the others' work. Both are held with interrupts off only. */
#include "cpu.h"
#include "harness.h"
#include "io.h"
#include "magazine.h"
#include "mm.h"
#include "panic.h"
#include "spinlock.h"
#include "string.h"

#define RFLAGS_IF (1ul << 9)
#define NONE UINT64_MAX                         /* no frame */

enum {
	FIRST_MIB = 1 << 20,
	LOW_FRAMES = 1 << 20,                   /* those below 4 GiB */
	WORD = 64,                              /* frames a word of the bitmap tells of */
	GROUP = WORD * 64,                      /* frames a word of the summary tells of */
	STACK_SIZE = 30,
	BATCH = STACK_SIZE / 2,                 /* moved at once: whether taken or given next, there is more to come */
};
_Static_assert(LOW_FRAMES % GROUP == 0, "last_free looks at whole groups");

enum { UNMANAGED, FREE, ALLOCATED };            /* a byte of states; tables are filled with 0 */

/* 32 bits hold a frame: the tables take 9 bytes for each and lie below 4 GiB. Used with interrupts off. */
struct stack {
	uint32_t held, n;
	uint32_t frames[STACK_SIZE];
} __attribute__((aligned(64)));                 /* no cache line is two processors' */
static struct stack stacks[CPU_MAX];

static struct spinlock frames_lock;
static struct frame_stats counts;               /* free, low_free: set bits, without what lies in stacks */
static bool high_open;

/* The tables, in one piece, in this order. frame_end is one past the last frame of RAM; it and where they lie are
 * written once, by frames_init.
 *
 * A tag is 0 unless its frame is allocated, or just being freed: tables begin as 0, only an allocated frame's tag can
 * be set, and who frees the frame clears it before another can have it. mm/magazine.h relies on that, and looks at
 * tags without the state. */
uint64_t frame_end;
uint64_t *tags;
static uint64_t *bitmap, *summary;              /* a bit of summary is set if that word of the bitmap is not 0 */
static uint8_t *states;
static uint64_t group_end;                      /* words of summary from here on are 0 */

/* ---- the bitmap; under frames_lock ---- */

/* The bits of frames [first, end), which are at least one and of one word. */
static uint64_t word_bits(uint64_t first, uint64_t end)
{
	return ~0ul >> (WORD - (end - first)) << first % WORD;
}

static uint64_t highest_bit(uint64_t bits)
{
	return 63 - (uint64_t)__builtin_clzl(bits);
}

static uint64_t lowest_bit(uint64_t bits)
{
	return (uint64_t)__builtin_ctzl(bits);
}

/* Makes [first, end) set bits, which none of them is, or clear ones, which all of them are not. */
static void mark(uint64_t first, uint64_t end, bool is_free)
{
	const uint64_t low_end = end < LOW_FRAMES ? end : LOW_FRAMES, low = first < low_end ? low_end - first : 0;

	for (uint64_t at = first; at < end;) {
		const uint64_t word = at / WORD, next = (word + 1) * WORD < end ? (word + 1) * WORD : end;

		bitmap[word] ^= word_bits(at, next);
		if (bitmap[word])
			summary[word / 64] |= 1ul << word % 64;
		else
			summary[word / 64] &= ~(1ul << word % 64);
		at = next;
	}
	if (is_free) {
		counts.free += end - first;
		counts.low_free += low;
		if (group_end <= (end - 1) / GROUP)
			group_end = (end - 1) / GROUP + 1;
	} else {
		counts.free -= end - first;
		counts.low_free -= low;
	}
}

/* Takes the highest free frame below limit, LOW_FRAMES or frame_end; NONE. Single frames come from above: what lies
 * below 4 GiB is left to who asks for it, and the lower end whole for runs. */
static uint64_t take_last(uint64_t limit)
{
	uint64_t group = (limit + GROUP - 1) / GROUP;

	while (group_end && !summary[group_end - 1])
		group_end--;
	for (group = group < group_end ? group : group_end; group--;) {
		if (summary[group]) {
			const uint64_t word = group * 64 + highest_bit(summary[group]);
			const uint64_t frame = word * WORD + highest_bit(bitmap[word]);

			mark(frame, frame + 1, false);
			return frame;
		}
	}
	return NONE;
}

/* The first free frame from at on, which is below frame_end; NONE. */
static uint64_t first_free(uint64_t at)
{
	uint64_t word = at / WORD, bits = bitmap[word] & ~0ul << at % WORD;

	if (!bits) {
		uint64_t group = ++word / 64, words = group < group_end ? summary[group] & ~0ul << word % 64 : 0;

		while (!words) {
			if (++group >= group_end)
				return NONE;
			words = summary[group];
		}
		word = group * 64 + lowest_bit(words);
		bits = bitmap[word];
	}
	return word * WORD + lowest_bit(bits);
}

/* The last frame of [first, end) that is not free; NONE. */
static uint64_t last_taken(uint64_t first, uint64_t end)
{
	while (first < end) {
		const uint64_t word = (end - 1) / WORD, start = word * WORD > first ? word * WORD : first;
		const uint64_t taken = ~bitmap[word] & word_bits(start, end);

		if (taken)
			return word * WORD + highest_bit(taken);
		end = start;
	}
	return NONE;
}

/* The lowest run of count free frames below end, aligned to align; NONE. Each place is looked at from its last frame
 * down, and the next lies past the frame that was in the way: no word is looked at twice but for the two ends. */
static uint64_t find_run(uint64_t count, uint64_t align, uint64_t end)
{
	uint64_t taken;

	for (uint64_t at = 0; at < end; at = taken + 1) {
		at = first_free(at);
		if (at == NONE)
			return NONE;
		at = (at + align - 1) & ~(align - 1);   /* at most 2^63: at is far below align if that is large */
		if (at >= end || count > end - at)
			return NONE;
		taken = last_taken(at, at + count);
		if (taken == NONE)
			return at;
	}
	return NONE;
}

/* ---- the stacks ---- */

static inline uint64_t irq_save(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void irq_restore(uint64_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

static inline void stack_hold(struct stack *s)
{
	while (__atomic_exchange_n(&s->held, 1, __ATOMIC_ACQUIRE))
		cpu_pause();
}

static inline void stack_release(struct stack *s)
{
	__atomic_store_n(&s->held, 0, __ATOMIC_RELEASE);
}

/* Back into the bitmap, but for `keep` of them. Under frames_lock, the stack held. */
static void stack_spill(struct stack *s, uint32_t keep)
{
	for (; s->n > keep; s->n--)
		mark(s->frames[s->n - 1], s->frames[s->n - 1] + 1ul, true);
}

/* Under frames_lock: empties all stacks and keeps them so until stacks_release. All that is free is in the bitmap then,
 * and what is not found there is not to be had. */
static void stacks_drain(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++) {
		stack_hold(&stacks[i]);
		stack_spill(&stacks[i], 0);
	}
}

static void stacks_release(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++)
		stack_release(&stacks[i]);
}

/* This processor's uppermost frame, if it is below limit; NONE. */
static inline uint64_t stack_pop(uint64_t limit)
{
	const uint64_t irq = irq_save();
	struct stack *s = &stacks[cpu_self()->index];
	uint64_t frame = NONE;

	stack_hold(s);
	if (s->n && s->frames[s->n - 1] < limit)
		frame = s->frames[--s->n];
	stack_release(s);
	irq_restore(irq);
	return frame;
}

/* Puts the frame into this processor's stack; false: no room. */
static inline bool stack_push(uint64_t frame)
{
	const uint64_t irq = irq_save();
	struct stack *s = &stacks[cpu_self()->index];
	bool room;

	stack_hold(s);
	room = s->n < STACK_SIZE;
	if (room)
		s->frames[s->n++] = (uint32_t)frame;
	stack_release(s);
	irq_restore(irq);
	return room;
}

/* A frame below limit out of the bitmap, and more of them for this processor's stack; NONE. */
static uint64_t take_slowly(uint64_t limit)
{
	const uint64_t irq = spin_lock_irqsave(&frames_lock);
	struct stack *s = &stacks[cpu_self()->index];
	uint64_t frame = take_last(limit), more;

	if (frame == NONE) {
		stacks_drain();
		frame = take_last(limit);
		stacks_release();
	} else {
		stack_hold(s);
		while (s->n < BATCH && (more = take_last(limit)) != NONE)
			s->frames[s->n++] = (uint32_t)more;
		stack_release(s);
	}
	spin_unlock_irqrestore(&frames_lock, irq);
	return frame;
}

/* What frame_alloc and frame_free seldom do is a call at their end, so that what they always do has few registers to
 * save: see mm.frame_cost. */
#define SLOW __attribute__((noinline))

/* Makes room in this processor's stack, which another may have drained meanwhile, and puts the frame there. */
static SLOW void give_slowly(uint64_t frame)
{
	const uint64_t irq = spin_lock_irqsave(&frames_lock);
	struct stack *s = &stacks[cpu_self()->index];

	stack_hold(s);
	stack_spill(s, STACK_SIZE - BATCH);
	s->frames[s->n++] = (uint32_t)frame;
	stack_release(s);
	spin_unlock_irqrestore(&frames_lock, irq);
}

/* ---- single frames and runs ---- */

/* For who took the frame out, or has it in hand to put it in: nobody else changes the state. */
static void set_state(uint64_t frame, uint8_t state)
{
	__atomic_store_n(&states[frame], state, __ATOMIC_RELAXED);
}

static uint8_t state_of(uint64_t frame)
{
	return frame < frame_end ? __atomic_load_n(&states[frame], __ATOMIC_RELAXED) : UNMANAGED;
}

/* From allocated to free: true for one of those who try. frame is below frame_end. */
static inline bool state_release(uint64_t frame)
{
	uint8_t state = ALLOCATED;

	return __atomic_compare_exchange_n(&states[frame], &state, FREE, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The rest of frame_alloc: frame is NONE, or is to be zeroed. */
static SLOW int alloc_slowly(uint64_t frame, uint64_t limit, unsigned flags, paddr_t *out)
{
	if (frame == NONE)
		frame = take_slowly(limit);
	if (frame == NONE)
		return -ENOMEM;
	set_state(frame, ALLOCATED);
	if (flags & FRAME_ZERO)
		memset(phys_to_virt(frame * PAGE_SIZE), 0, PAGE_SIZE);
	*out = frame * PAGE_SIZE;
	return 0;
}

int frame_alloc(unsigned flags, paddr_t *out)
{
	const uint64_t limit = flags & FRAME_LOW ? LOW_FRAMES : frame_end;
	uint64_t frame;

	if (flags & ~(FRAME_ZERO | FRAME_LOW))
		return -EINVAL;
	frame = stack_pop(limit);
	if (frame == NONE || (flags & FRAME_ZERO))
		return alloc_slowly(frame, limit, flags, out);
	set_state(frame, ALLOCATED);
	*out = frame * PAGE_SIZE;
	return 0;
}

int frame_free(paddr_t pa)
{
	const uint64_t frame = pa / PAGE_SIZE;

	if (pa % PAGE_SIZE || frame >= frame_end || !state_release(frame))
		return -EINVAL;
	tags[frame] = 0;                                /* still this call's: it is in no stack yet */
	if (!stack_push(frame))
		give_slowly(frame);
	return 0;
}

int frame_alloc_contig(size_t count, size_t align, paddr_t limit, unsigned flags, paddr_t *out)
{
	uint64_t end = frame_end, first, irq;

	if (!count || (align & (align - 1)) || (flags & ~(FRAME_ZERO | FRAME_LOW)))
		return -EINVAL;
	if (limit && limit / PAGE_SIZE < end)
		end = limit / PAGE_SIZE;
	if ((flags & FRAME_LOW) && LOW_FRAMES < end)
		end = LOW_FRAMES;

	irq = spin_lock_irqsave(&frames_lock);
	stacks_drain();
	first = find_run(count, align ? align : 1, end);
	if (first != NONE)
		mark(first, first + count, false);
	stacks_release();
	spin_unlock_irqrestore(&frames_lock, irq);

	if (first == NONE)
		return -ENOMEM;
	memset(&states[first], ALLOCATED, count);
	if (flags & FRAME_ZERO)
		memset(phys_to_virt(first * PAGE_SIZE), 0, count * PAGE_SIZE);
	*out = first * PAGE_SIZE;
	return 0;
}

int frame_free_contig(paddr_t pa, size_t count)
{
	const uint64_t first = pa / PAGE_SIZE, end = first + count;     /* wraps only if it is refused */
	uint64_t at, irq;

	if (pa % PAGE_SIZE || !count || first >= frame_end || count > frame_end - first)
		return -EINVAL;
	for (at = first; at < end; at++)                /* a wrong run is to change nothing, not for a moment */
		if (state_of(at) != ALLOCATED)
			return -EINVAL;
	for (at = first; at < end && state_release(at); at++)
		;
	if (at < end) {                                 /* another call has freed that one meanwhile */
		while (at-- > first)
			set_state(at, ALLOCATED);
		return -EINVAL;
	}
	memset(&tags[first], 0, count * sizeof *tags);
	irq = spin_lock_irqsave(&frames_lock);
	mark(first, end, true);
	spin_unlock_irqrestore(&frames_lock, irq);
	return 0;
}

bool frame_managed(paddr_t pa)
{
	return state_of(pa / PAGE_SIZE) != UNMANAGED;
}

void frame_get_stats(struct frame_stats *out)
{
	const uint64_t irq = spin_lock_irqsave(&frames_lock);

	stacks_drain();
	*out = counts;
	stacks_release();
	spin_unlock_irqrestore(&frames_lock, irq);
}

void frame_set_tag(paddr_t pa, uint64_t tag)
{
	if (state_of(pa / PAGE_SIZE) != ALLOCATED)
		panic("mm: tag for a frame that is not allocated");
	tags[pa / PAGE_SIZE] = tag;
}

uint64_t frame_tag(paddr_t pa)
{
	return state_of(pa / PAGE_SIZE) == ALLOCATED ? tags[pa / PAGE_SIZE] : 0;
}

/* ---- start: what is managed ---- */

extern const char __kernel_phys_start[], __kernel_phys_end[];

struct span {
	uint64_t first, end;                            /* frames; empty: both 0 */
};

static struct mm_range ranges[BOOT_MEM_MAX];            /* enough: each begins where some entry begins or ends */
static size_t range_count;
static struct span tables;                              /* empty until they have a place */

/* The frames that [base, base + len) touches; up to the last there is if a loader's length leads past that. */
static struct span touched(paddr_t base, uint64_t len)
{
	const paddr_t last = len - 1 > UINT64_MAX - base ? UINT64_MAX : base + (len - 1);

	return len ? (struct span){ base / PAGE_SIZE, last / PAGE_SIZE + 1 } : (struct span){ 0, 0 };
}

/* Of all that is kept back and ends above frame at, what begins lowest: it may begin before at. NONE if nothing is. */
static struct span next_kept(uint64_t at)
{
	const struct boot_info *info = boot_info();
	const paddr_t image = (paddr_t)__kernel_phys_start;
	struct span next = { NONE, NONE };

	for (unsigned i = 0; i < 3 + info->module_count; i++) {
		const struct span kept = i == 0 ? touched(0, FIRST_MIB) :
			i == 1 ? touched(image, (paddr_t)__kernel_phys_end - image) :
			i == 2 ? tables : touched(info->modules[i - 3].base, info->modules[i - 3].len);

		if (kept.end > at && kept.first < next.first)
			next = kept;
	}
	return next;
}

/* Calls fn for each run of usable frames in [lo, hi) of which nothing is kept back, ascending. */
static void each_run(uint64_t lo, uint64_t hi, void (*fn)(uint64_t first, uint64_t end))
{
	for (size_t i = 0; i < range_count; i++) {
		const uint64_t base = ranges[i].base / PAGE_SIZE, top = base + ranges[i].len / PAGE_SIZE;
		const uint64_t end = top < hi ? top : hi;

		for (uint64_t at = base > lo ? base : lo; at < end;) {
			const struct span kept = next_kept(at);
			const uint64_t stop = kept.first < end ? kept.first : end;

			if (at < stop) {
				fn(at, stop);
				at = stop;
			} else {
				at = kept.end;
			}
		}
	}
}

static uint64_t bitmap_words(void)
{
	return (frame_end + WORD - 1) / WORD;
}

static uint64_t summary_words(void)
{
	return (frame_end + GROUP - 1) / GROUP;
}

static uint64_t table_bytes(void)
{
	return (frame_end + bitmap_words() + summary_words()) * 8 + frame_end;
}

/* At the upper end of the highest run with room. */
static void place_tables(uint64_t first, uint64_t end)
{
	const uint64_t size = (table_bytes() + PAGE_SIZE - 1) / PAGE_SIZE;

	if (end - first >= size)
		tables = (struct span){ end - size, end };
}

static void manage(uint64_t first, uint64_t end)
{
	memset(&states[first], FREE, end - first);
	mark(first, end, true);
	counts.total += end - first;
}

static void frames_init(void)
{
	const struct boot_info *info = boot_info();

	if (memmap_normalise(info->mem, info->mem_count, ranges, BOOT_MEM_MAX, &range_count) || !range_count)
		panic("mm: no usable memory");
	frame_end = (ranges[range_count - 1].base + ranges[range_count - 1].len) / PAGE_SIZE;
	each_run(0, LOW_FRAMES, place_tables);
	if (!tables.end)
		panic("mm: no usable memory");
	tags = phys_to_virt(tables.first * PAGE_SIZE);
	bitmap = tags + frame_end;
	summary = bitmap + bitmap_words();
	states = (uint8_t *)(summary + summary_words());
	memset(tags, 0, table_bytes());
	each_run(0, LOW_FRAMES, manage);
	if (!counts.total)
		panic("mm: no usable memory");
}
INIT(INIT_MM, frames_init);

void frames_open_high(void)
{
	const uint64_t irq = spin_lock_irqsave(&frames_lock);

	if (!high_open)
		each_run(LOW_FRAMES, frame_end, manage);
	high_open = true;
	spin_unlock_irqrestore(&frames_lock, irq);
}
