/* Acceptance of boot/pause.c: who spins gives its turn away where somebody is there to take it, and nowhere else. See spec/boot.md. */
#include "clock.h"
#include "cpu.h"
#include "desc.h"
#include "internal.h"
#include "io.h"

enum { VEC_DEBUG = 1, TF = 1 << 8, MOST = 16, PAUSES = 1000, TRIES = 20 };

static struct {
	unsigned steps, pauses;
} seen;

static void on_step(struct trap_frame *f)
{
	const uint8_t *code = (const uint8_t *)f->rip;

	seen.steps++;
	seen.pauses += code[0] == 0xf3 && code[1] == 0x90;
}

/* Goes through fn instruction by instruction, and through a few of its own. */
static __attribute__((noinline)) bool step(void (*fn)(void))
{
	const uint64_t flags = harness_flags();

	seen.steps = seen.pauses = 0;
	if (trap_set_handler(VEC_DEBUG, on_step) != 0)
		return false;
	__asm__ volatile("pushq %0; popfq" : : "r"(flags | TF) : "memory", "cc");
	fn();
	__asm__ volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc");
	trap_clear_handler(VEC_DEBUG);
	return true;
}

/* On one processor there is none; with others one in each call. */
KTEST(boot, pause_turns)
{
	for (unsigned i = 0; i < 2; i++) {
		KASSERT(step(cpu_pause));
		KASSERT(seen.steps > 0 && seen.steps <= MOST);
		KASSERT_EQ(seen.pauses, cpu_count() > 1);
	}
}

/* What a virtual machine takes for a turn that is given away is a microsecond. */
KTEST(boot, pause_cost)
{
	uint64_t best = UINT64_MAX;

	if (cpu_count() > 1)
		return;
	for (unsigned try = 0; try < TRIES && best > PAUSES * 100; try++) {
		const uint64_t begin = clock_ns();
		uint64_t took;

		for (unsigned i = 0; i < PAUSES; i++)
			cpu_pause();
		took = clock_ns() - begin;
		best = took < best ? took : best;
	}
	ktest_note("nanoseconds", best / PAUSES);
	KASSERT(best <= PAUSES * 100);
}
