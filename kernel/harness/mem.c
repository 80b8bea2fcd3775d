/* The four functions that a compiler may call on its own, in case nobody else provides them. */
#include "internal.h"

#define WEAK_ALIAS(fn) __attribute__((weak, alias("harness_" #fn)))

void *memcpy(void *restrict to, const void *restrict from, size_t n) WEAK_ALIAS(memcpy);
void *memmove(void *to, const void *from, size_t n) WEAK_ALIAS(memmove);
void *memset(void *to, int byte, size_t n) WEAK_ALIAS(memset);
int memcmp(const void *a, const void *b, size_t n) WEAK_ALIAS(memcmp);

/* By eight bytes, as far as they go: each step of a rep is an instruction to an emulator that counts. */
void *harness_memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *d = to;
	size_t words = n / 8, bytes = n % 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

void *harness_memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if ((uintptr_t)d - (uintptr_t)s >= n)
		return harness_memcpy(to, from, n);
	while (n--)
		d[n] = s[n];
	return to;
}

void *harness_memset(void *to, int byte, size_t n)
{
	void *d = to;
	const uint64_t word = 0x0101010101010101 * (uint8_t)byte;
	size_t words = n / 8, bytes = n % 8;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(word) : "memory");
	return to;
}

int harness_memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}
