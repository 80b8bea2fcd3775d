/* What acceptance tests of ring 3 share: programs in assembler, and the pages of a space by the direct map. */
#ifndef AUTON_HARNESS_USER_H
#define AUTON_HARNESS_USER_H

#include "process.h"
#include "threads.h"

/* A program, position-independent: USER_PROGRAM(name, "code"). It is read, never run where it lies. */
#define USER_PROGRAM(name, code) \
	extern const char name[], name##_end[]; \
	__asm__(".section .rodata\n" #name ":\n" code "\n" #name "_end:\n.previous\n")
#define USER_LEN(name) (harness_addr(name##_end) - harness_addr(name))

#define USER_CODE 0x400000ull           /* where programs are put, and two pages that they may write to */
#define USER_DATA 0x600000ull
#define USER_DATA_LEN 8192ull

/* Where a byte of a space lies in the direct map; NULL: nowhere. */
static inline void *user_at(struct vmspace *vs, vaddr_t va)
{
	struct pt_entry e;

	return vmspace_translate(vs, va, &e) ? NULL : (char *)phys_to_virt(e.pa) + (va - e.va);
}

/* A word of the space; all ones if there is none. */
static inline uint64_t user_word(struct vmspace *vs, vaddr_t va)
{
	const volatile uint64_t *p = user_at(vs, va);

	return p ? *p : UINT64_MAX;
}

/* Waits until a word of it is no less than that; false: it has ended, or it takes too long. */
static inline bool user_word_becomes(struct process *p, vaddr_t va, uint64_t least)
{
	const uint64_t begin = clock_ns();

	while (clock_ns() - begin < LONG) {
		if (process_wait(p, TIMEOUT_NOW, NULL) == 0)
			return false;
		if (user_word(process_vmspace(p), va) >= least)
			return true;
		thread_park(100 * US);
	}
	return false;
}

/* Maps the program at USER_CODE, and the data. */
static inline bool user_load(struct vmspace *vs, const char *program, size_t len)
{
	vaddr_t code = USER_CODE, data = USER_DATA;
	void *to;

	if (len > PAGE_SIZE || vmspace_map_anon(vs, &code, PAGE_SIZE, VM_EXEC) || vmspace_map_anon(vs, &data, USER_DATA_LEN, VM_WRITE))
		return false;
	to = user_at(vs, code);
	if (to)
		harness_memcpy(to, (const void *)harness_addr(program), len);
	return to != NULL;
}

#endif
