/* Acceptance of mm/kstack.c: kernel stacks with holes beneath. See spec/mm.md. */
#include "cpu.h"
#include "memory.h"
#include "printf.h"
#include "string.h"

enum { STACKS = 64, ROUNDS = 1000 };

static void *tops[STACKS];

static bool get_all(void)
{
	for (unsigned i = 0; i < STACKS; i++)
		if (kstack_alloc(&tops[i]))
			return false;
	return true;
}

static unsigned free_all(void)
{
	unsigned errors = 0;

	for (unsigned i = 0; i < STACKS; i++)
		errors += kstack_free(tops[i]) != 0;
	return errors;
}

KTEST(mm, kstack_usable)
{
	void *top;
	vaddr_t bottom;

	KASSERT_EQ(kstack_alloc(&top), 0);
	bottom = (vaddr_t)top - KSTACK_SIZE;
	KASSERT_EQ((vaddr_t)top % 16, 0);
	KASSERT(bottom >= KSTACK_BASE);
	KASSERT((vaddr_t)top < DEVICE_MAP_BASE);
	for (vaddr_t at = bottom; at < (vaddr_t)top; at += 8)
		*(volatile uint64_t *)at = at;
	for (vaddr_t at = bottom; at < (vaddr_t)top; at += 8)
		KASSERT_EQ(*(volatile uint64_t *)at, at);
	for (vaddr_t at = bottom - KSTACK_SIZE; at < bottom; at += PAGE_SIZE)
		KASSERT_EQ(fault_of(memory_write, at), FAULT_WRITE);
	KASSERT_EQ(fault_of(memory_read, bottom - 1), 0);
	KASSERT_EQ(fault_of(memory_write, bottom), NO_FAULT);           /* a return instruction, which may not be executed */
	KASSERT_EQ(fault_of(memory_fetch, bottom), FAULT_PRESENT | FAULT_FETCH);
	KASSERT_EQ(kstack_free(top), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)top - 8), 0);
}

KTEST(mm, kstack_reuse)
{
	uint64_t before;

	KASSERT(get_all());                             /* tables that it takes stay */
	KASSERT_EQ(free_all(), 0);
	before = free_frames();
	for (unsigned i = 0; i < ROUNDS / STACKS + 1; i++) {
		KASSERT(get_all());
		if (i == 0)
			for (unsigned a = 0; a < STACKS; a++)
				for (unsigned b = 0; b < a; b++)
					KASSERT((vaddr_t)tops[a] >= (vaddr_t)tops[b] + 2 * KSTACK_SIZE ||
						(vaddr_t)tops[b] >= (vaddr_t)tops[a] + 2 * KSTACK_SIZE);
		for (unsigned a = 0; a < STACKS; a++)
			((volatile uint64_t *)tops[a])[-1] = a;
		for (unsigned a = 0; a < STACKS; a++)
			KASSERT_EQ(((volatile uint64_t *)tops[a])[-1], a);
		KASSERT_EQ(free_all(), 0);
		KASSERT_EQ(free_frames(), before);
	}
}

KTEST(mm, kstack_bad_free)
{
	uint64_t before;
	void *top;

	KASSERT_EQ(kstack_alloc(&top), 0);
	before = free_frames();
	KASSERT_EQ(kstack_free((char *)top - 16), -EINVAL);
	KASSERT_EQ(kstack_free((char *)top - KSTACK_SIZE), -EINVAL);
	KASSERT_EQ(kstack_free((char *)top + 2 * KSTACK_SIZE * 100000), -EINVAL);
	KASSERT_EQ(kstack_free((char *)top + 1), -EINVAL);
	KASSERT_EQ(kstack_free(NULL), -EINVAL);
	KASSERT_EQ(kstack_free((void *)KSTACK_BASE), -EINVAL);
	KASSERT_EQ(kstack_free((void *)UINT64_MAX), -EINVAL);
	KASSERT_EQ(kstack_free(boot_stack_top), -EINVAL);
	KASSERT_EQ(free_frames(), before);
	KASSERT_EQ(kstack_free(top), 0);
	KASSERT_EQ(kstack_free(top), -EINVAL);
	KASSERT_EQ(free_frames(), before + KSTACK_SIZE / PAGE_SIZE);
}

KTEST(mm, kstack_oom)
{
	paddr_t spare[8], all;
	uint64_t before, lost = 0;
	int err = -1;
	void *top = NULL;

	KASSERT_EQ(kstack_alloc(&top), 0);              /* the tables are there */
	KASSERT_EQ(kstack_free(top), 0);
	before = free_frames();
	for (unsigned i = 0; i < 8; i++)
		KASSERT_EQ(frame_alloc(0, &spare[i]), 0);
	all = hog();
	for (unsigned i = 0; i < 8; i++) {
		err = kstack_alloc(&top);
		if (err == 0)
			break;
		lost += err != -ENOMEM || free_frames() != i;
		frame_free(spare[i]);
		spare[i] = 0;
	}
	if (err == 0)
		kstack_free(top);
	unhog(all);
	for (unsigned i = 0; i < 8; i++)
		if (spare[i])
			frame_free(spare[i]);
	KASSERT_EQ(err, 0);
	KASSERT_EQ(lost, 0);
	KASSERT_EQ(free_frames(), before);
}

/* All processors at once; and what one has freed the others no longer see. */
static uint32_t wrong;
static void *shared;

static void make_and_free(void *arg)
{
	const uint64_t me = cpu_self()->index;

	(void)arg;
	for (unsigned i = 0; i < 50; i++) {
		void *top;

		if (kstack_alloc(&top)) {
			__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
			continue;
		}
		for (unsigned word = 1; word <= KSTACK_SIZE / 8; word += 64)
			((volatile uint64_t *)top)[-(int)word] = me << 32 | i;
		for (unsigned word = 1; word <= KSTACK_SIZE / 8; word += 64)
			if (((volatile uint64_t *)top)[-(int)word] != (me << 32 | i))
				__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
		if (kstack_free(top))
			__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
	}
	/* until all are done, for those who wait for an answer */
	__atomic_fetch_sub((uint32_t *)arg, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n((uint32_t *)arg, __ATOMIC_SEQ_CST)) {
		tlb_poll();
		__asm__ volatile("pause");
	}
}

static void touch(void *arg)
{
	(void)arg;
	if (fault_of(memory_read, (vaddr_t)shared - 8) != NO_FAULT)
		__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
}

static void touch_hole(void *arg)
{
	(void)arg;
	if (fault_of(memory_read, (vaddr_t)shared - 8) != 0)
		__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
}

KTEST(mm, kstack_smp)
{
	uint32_t working = memory_processors();

	wrong = 0;
	KASSERT_EQ(cpu_on_each(make_and_free, &working), 0);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(kstack_alloc(&shared), 0);
	cpu_on_each(touch, NULL);
	KASSERT_EQ(wrong, 0);
	KASSERT_EQ(kstack_free(shared), 0);
	cpu_on_each(touch_hole, NULL);
	KASSERT_EQ(wrong, 0);
}

/* Bytes that end where what is mapped does: nothing behind them is read or written. */
static const char *edge;
static unsigned edge_wrong;

static void work_at_edge(void *arg)
{
	char text[32];

	(void)arg;
	for (size_t n = 0; n <= 24; n++) {
		char *at = (char *)edge - n;

		memset(at, 'x', n);
		edge_wrong += strnlen(at, n) != n;
		memset(text, 'x', sizeof text);
		edge_wrong += memcmp(at, text, n) != 0 || memcmp(text, at, n) != 0;
		memcpy(at, text, n);
		memmove(at, text, n);
		memcpy(text, at, n);
		edge_wrong += strncmp(at, text, n) != 0;
		edge_wrong += snprintf(text, sizeof text, "%.*s", (int)n, at) != (int)n;
		if (n) {
			at[n - 1] = '\0';
			edge_wrong += strlen(at) != n - 1;
		}
	}
}

KTEST(mm, kstack_edge)
{
	void *top;

	KASSERT_EQ(kstack_alloc(&top), 0);
	KASSERT_EQ(fault_of(memory_read, (vaddr_t)top), 0);
	edge = top;
	edge_wrong = 0;
	KASSERT_EQ(trap_catch(work_at_edge, NULL, NULL), 0);
	KASSERT_EQ(edge_wrong, 0);
	KASSERT_EQ(kstack_free(top), 0);
}
