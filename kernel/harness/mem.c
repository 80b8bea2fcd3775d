/* The four functions that a compiler may call on its own, in case nobody else provides them. */
#include "internal.h"

#define WEAK_ALIAS(fn) __attribute__((weak, alias("harness_" #fn)))

void *memcpy(void *restrict to, const void *restrict from, size_t n) WEAK_ALIAS(memcpy);
void *memmove(void *to, const void *from, size_t n) WEAK_ALIAS(memmove);
void *memset(void *to, int byte, size_t n) WEAK_ALIAS(memset);
int memcmp(const void *a, const void *b, size_t n) WEAK_ALIAS(memcmp);

void *harness_memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
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

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
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
