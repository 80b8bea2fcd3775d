/* Acceptance of boot/backtrace.c: what the chain of saved RBPs says, and what it does not make the kernel do. See spec/boot.md. */
#include "backtrace.h"
#include "boot.h"
#include "internal.h"

enum { FRAMES = 40, WORDS = 1024 };

/* ---- a chain of real calls ---- */

static uint64_t trace[FRAMES + 4];
static size_t traced;

static __attribute__((noinline)) void innermost(uint64_t *returns)
{
	returns[0] = (uint64_t)__builtin_return_address(0);
	traced = backtrace_walk((uint64_t)__builtin_frame_address(0), trace, FRAMES);
	__asm__ volatile("" : : : "memory");
}

static __attribute__((noinline)) void middle(uint64_t *returns)
{
	returns[1] = (uint64_t)__builtin_return_address(0);
	innermost(returns);
	__asm__ volatile("" : : : "memory");
}

static __attribute__((noinline)) void outermost(uint64_t *returns)
{
	returns[2] = (uint64_t)__builtin_return_address(0);
	middle(returns);
	__asm__ volatile("" : : : "memory");
}

/* How often the address is in the trace. */
static bool passes(const void *from, const void *to)
{
	for (size_t i = 0; i < traced; i++)
		if (trace[i] >= harness_addr(from) && trace[i] < harness_addr(to))
			return true;
	return false;
}

KTEST(boot, backtrace)
{
	uint64_t returns[3];

	outermost(returns);
	KASSERT(traced >= 5);                   /* those three, the test's caller and its own */
	KASSERT_EQ(trace[0], returns[0]);
	KASSERT_EQ(trace[1], returns[1]);
	KASSERT_EQ(trace[2], returns[2]);
	for (size_t i = 0; i < traced; i++)
		KASSERT(passes((const void *)trace[i], (const char *)trace[i] + 1));
	KASSERT(trace[traced - 1] >= harness_addr(__text_start));
	KASSERT(trace[traced - 1] < harness_addr(__text_end));
	KASSERT_EQ(backtrace_walk((uint64_t)__builtin_frame_address(0), trace, 0), 0);
	KASSERT_EQ(backtrace_walk((uint64_t)__builtin_frame_address(0), trace, 2), 2);
	KASSERT_EQ(backtrace_walk(0, trace, FRAMES), 0);
}

/* ---- a chain made up, in bss, where stacks are ---- */

static uint64_t stack[WORDS];
static uint64_t at[FRAMES], to[FRAMES];         /* frames: words of stack[]; their return addresses */

static uint64_t word(uint64_t index)
{
	return harness_addr(&stack[index]);
}

/* `frames` frames at random distances, the last one's RBP 0. */
static void make_chain(unsigned frames, uint64_t *seed)
{
	uint64_t next = harness_random(seed) % 8;

	for (unsigned i = 0; i < frames; i++) {
		at[i] = next;
		next += 2 + harness_random(seed) % 20;
		to[i] = harness_addr(__text_start) + harness_random(seed) % 0x1000;
	}
	for (unsigned i = 0; i < frames; i++) {
		stack[at[i]] = i + 1 < frames ? word(at[i + 1]) : 0;
		stack[at[i] + 1] = to[i];
	}
}

/* How many were found; FRAMES + 1 if they are not those that were made. */
static size_t walk(size_t max)
{
	size_t n;

	for (unsigned i = 0; i < FRAMES + 4; i++)
		trace[i] = 0x5a5a;
	n = backtrace_walk(word(at[0]), trace, max);
	for (unsigned i = 0; i < FRAMES; i++)
		if (trace[i] != (i < n ? to[i] : 0x5a5a))
			return FRAMES + 1;
	return n;
}

KTEST(boot, backtrace_chain)
{
	uint64_t seed = harness_seed();

	for (unsigned frames = 1; frames <= FRAMES; frames++) {
		make_chain(frames, &seed);
		KASSERT_EQ(walk(FRAMES), frames);
		KASSERT_EQ(walk(frames), frames);
		KASSERT_EQ(walk(frames / 2), frames / 2);
	}
	KASSERT_EQ(BACKTRACE_MAX, 32);
}

/* A frame that cannot be one ends the walk after those before it; it is not read, be it mapped or not. */
KTEST(boot, backtrace_broken)
{
	static const uint64_t in_rodata[2];
	uint64_t seed = harness_seed();
	const uint64_t bss = harness_addr(__bss_start), bss_end = harness_addr(__bss_end);

	for (unsigned round = 0; round < 50; round++) {
		const unsigned frames = 2 + harness_random(&seed) % (FRAMES - 2);
		const unsigned broken = harness_random(&seed) % (frames - 1);   /* whose RBP is wrong */
		uint64_t wrong[] = {
			1, 0x1000, 0xdeadbeefdeadbeef, UINT64_MAX, UINT64_MAX - 7, 0x8000000000000000, 0xFFFFF00000000000,
			harness_addr(in_rodata), harness_addr(__text_start), bss - 16, bss - 8, bss_end - 8, bss_end,
			0,                              /* the frame itself: a loop */
			0,                              /* the one before it, or lower */
			0,                              /* between words */
		};
		const unsigned kinds = sizeof wrong / sizeof *wrong;

		make_chain(frames, &seed);
		wrong[kinds - 3] = word(at[broken]);
		wrong[kinds - 2] = broken ? word(at[broken - 1]) : word(at[broken]) - 8;
		wrong[kinds - 1] = word(at[broken + 1]) + 1 + harness_random(&seed) % 7;
		for (unsigned kind = 0; kind < kinds; kind++) {
			stack[at[broken]] = wrong[kind];
			if (walk(FRAMES) != broken + 1)
				ktest_note("kind", kind);
			KASSERT_EQ(walk(FRAMES), broken + 1);
		}
	}
	KASSERT_EQ(backtrace_walk(0xFFFFF00000000000, trace, FRAMES), 0);
	KASSERT_EQ(backtrace_walk(UINT64_MAX - 7, trace, FRAMES), 0);
	KASSERT_EQ(backtrace_walk(word(0) + 4, trace, FRAMES), 0);
}
