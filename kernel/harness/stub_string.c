/* Stands in for lib/string.c while that does not exist: include/string.h but for what mem.c has. */
#include "internal.h"

void *memchr(const void *s, int byte, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
size_t strlcpy(char *to, const char *from, size_t size);

#define WEAK __attribute__((weak))

WEAK void *memchr(const void *s, int byte, size_t n)
{
	const uint8_t *p = s;

	for (; n; n--, p++)
		if (*p == (uint8_t)byte)
			return (void *)(uintptr_t)p;
	return NULL;
}

WEAK size_t strlen(const char *s)
{
	return harness_strlen(s);
}

WEAK size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

WEAK int strcmp(const char *a, const char *b)
{
	return harness_strcmp(a, b);
}

WEAK int strncmp(const char *a, const char *b, size_t n)
{
	while (n > 1 && *a && *a == *b)
		a++, b++, n--;
	return n ? (uint8_t)*a - (uint8_t)*b : 0;
}

WEAK char *strchr(const char *s, int c)
{
	while (*s && *s != (char)c)
		s++;
	return *s == (char)c ? (char *)(uintptr_t)s : NULL;
}

WEAK char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	do
		if (*s == (char)c)
			last = s;
	while (*s++);
	return (char *)(uintptr_t)last;
}

WEAK size_t strlcpy(char *to, const char *from, size_t size)
{
	size_t n = 0;

	for (; from[n]; n++)
		if (n + 1 < size)
			to[n] = from[n];
	if (size)
		to[n < size ? n : size - 1] = 0;
	return n;
}
