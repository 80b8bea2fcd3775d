/* Back-traces: who called whom, by the chain of saved RBPs. A frame is two words: the caller's RBP, the return
 * address. It is read only if it is 8-byte aligned, lies wholly in bss or is told to be in a stack by its first and
 * last byte, and is above the one before; otherwise the walk ends. So nothing faults, and no loop is followed. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKTRACE_MAX 32                /* lines of backtrace_print */

/* Stores return addresses that the chain of saved RBPs leads to, beginning with the frame at rbp, innermost first, at
 * most max; how many. max = 0: 0, and to may be NULL. rbp may be any number. No errors. Any context. */
size_t backtrace_walk(uint64_t rbp, uint64_t *to, size_t max);

/* What says of an address outside of bss whether it is in a stack, all of whose bytes can then be read; it is called
 * in any context, by the dump of an exception too. NULL: none is, as at the start. No errors. For sched; any
 * context. */
void backtrace_set_stacks(bool (*is_stack)(uint64_t address));

/* Prints lines `#N 0x... name+0x...` on the console: #0 is rip, then what the walk from rbp finds, BACKTRACE_MAX lines
 * at most. A return address is looked up as address - 1, since a call that does not return may be the last of its
 * function, and printed with the offset of itself; an address that is in no function stands alone. No errors. Any
 * context. */
void backtrace_print(uint64_t rip, uint64_t rbp);
