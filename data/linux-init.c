/* Process 1 of a Linux that is booted as the kernel is for its counts: says what the like takes there, in instructions, since one
 * tick of the time stamp counter is one where QEMU counts them (-icount shift=0). Of ten rounds the cheapest: the others
 * have an interrupt in them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROUNDS = 10, TIMES = 1000, PAGE = 4096 };

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void null_syscall(void)
{
	syscall(SYS_getppid);
}

static void yield(void)
{
	syscall(SYS_sched_yield);
}

static int file;
static char *place;

/* Of a page that is there, beside one that is mapped, as in mm.map_unmap: neither page nor table is allocated or cleared. */
static void map_unmap(void)
{
	munmap(mmap(place, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, 0), PAGE);
}

/* Of one call: of TIMES, the loop that is around them included. */
static void measure(const char *what, void (*call)(void))
{
	uint64_t best = UINT64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		const uint64_t start = ticks();

		for (int i = 0; i < TIMES; i++)
			call();
		if (ticks() - start < best)
			best = ticks() - start;
	}
	printf("# %s: %lu\n", what, best / TIMES);
}

int main(void)
{
	const uint64_t booted = ticks();
	const struct sched_param first = { .sched_priority = 1 };
	volatile uint64_t *turns = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	printf("\n# from power-on to its first process, waits included: %lu\n", booted);
	measure("null system call (getppid) from ring 3 and back", null_syscall);
	file = memfd_create("page", 0);
	if (file < 0 || write(file, "x", 1) != 1)
		return 1;
	place = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	munmap(place, PAGE);
	measure("a page of memory mapped and unmapped from ring 3 (mmap, munmap)", map_unmap);
	/* In turns; by default the scheduler is free to go on with who yields. */
	if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
		return 1;
	if (fork() == 0)
		for (;; ++*turns)
			yield();
	measure("sched_yield to another process, and from there back", yield);
	if (*turns + 1 < ROUNDS * TIMES)
		return 1;
	fflush(stdout);
	if (syscall(SYS_finit_module, open("figures.ko", O_RDONLY), "", 0) != 0)
		return 1;
	if (iopl(3) == 0)
		__asm__ volatile("outb %0, %1" : : "a"((uint8_t)0x10), "Nd"((uint16_t)0xf4));
	return 0;
}
