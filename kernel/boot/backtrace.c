/* Back-traces. They are made in the middle of a panic, on any stack, maybe before there is a GDT: nothing here takes a
 * lock, allocates, or needs to know the processor. */
#include <stdatomic.h>
#include "backtrace.h"
#include "printf.h"
#include "symbols.h"

/* kernel.ld; only their addresses mean anything. */
extern const char __bss_start[], __bss_end[];

/* What a function's `push rbp; mov rbp, rsp` leaves at RBP. */
struct frame {
	uint64_t rbp;           /* the caller's */
	uint64_t ret;           /* the return address */
};

/* Atomic, since a walk on one processor may meet a change on another. */
static bool (*_Atomic stacks)(uint64_t address);

void backtrace_set_stacks(bool (*is_stack)(uint64_t address))
{
	atomic_store(&stacks, is_stack);
}

/* Whether the frame at rbp, which is 8-byte aligned, can be read. is_stack is not asked about bytes of bss, so a frame
 * that is only partly there cannot be. */
static bool is_readable(uint64_t rbp, bool (*is_stack)(uint64_t address))
{
	const uint64_t start = (uint64_t)__bss_start, end = (uint64_t)__bss_end;
	uint64_t last;

	if (rbp > UINT64_MAX - (sizeof(struct frame) - 1))
		return false;
	last = rbp + sizeof(struct frame) - 1;
	if (last >= start && rbp < end)
		return rbp >= start && last < end;
	return is_stack && is_stack(rbp) && is_stack(last);
}

size_t backtrace_walk(uint64_t rbp, uint64_t *to, size_t max)
{
	bool (*const is_stack)(uint64_t) = atomic_load(&stacks);        /* once: it might become NULL meanwhile */
	uint64_t before = 0;            /* no frame is at 0, which ends the chain */
	size_t count = 0;

	/* Every frame is above the one before, so there is an end, whatever the memory says. */
	while (count < max && rbp > before && rbp % sizeof(uint64_t) == 0 && is_readable(rbp, is_stack)) {
		const struct frame *frame = (const struct frame *)rbp;

		before = rbp;
		rbp = frame->rbp;
		to[count++] = frame->ret;
	}
	return count;
}

/* One line: the function is the one that has the byte `back` bytes before the address. An address 0 less 1 is in none. */
static void print_line(size_t number, uint64_t address, uint64_t back)
{
	uint64_t offset;
	const char *name = symbol_lookup(address - back, &offset);

	if (name)
		kprintf("#%zu 0x%lx %s+0x%lx\n", number, address, name, offset + back);
	else
		kprintf("#%zu 0x%lx\n", number, address);
}

void backtrace_print(uint64_t rip, uint64_t rbp)
{
	uint64_t returns[BACKTRACE_MAX - 1];    /* 248 bytes: it may be an IST stack that this is on */
	const size_t count = backtrace_walk(rbp, returns, BACKTRACE_MAX - 1);

	print_line(0, rip, 0);
	for (size_t i = 0; i < count; i++)
		print_line(i + 1, returns[i], 1);
}
