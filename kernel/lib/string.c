/* Memory and string functions. The mem* that write or compare go by words of 8 bytes: under emulation that beats both
 * bytes and `rep`. What ends at a NUL goes byte by byte, for the bytes after the NUL may not be mapped. */
#include <stdint.h>
#include "string.h"

enum { WORD = sizeof(uint64_t) };

/* A word at any address, over objects of any type. Unlike a memcpy of 8 bytes it is never a call, whatever the
 * optimisation: memcpy itself stands on it. */
struct word {
	uint64_t value;
} __attribute__((packed, may_alias));

_Static_assert(sizeof(struct word) == WORD && _Alignof(struct word) == 1, "a word has no padding and no alignment");

static inline uint64_t word_load(const void *from)
{
	const struct word *word = from;

	return word->value;
}

static inline void word_store(void *to, uint64_t value)
{
	struct word *word = to;

	word->value = value;
}

/* Copies from the first byte to the last. Right also if to overlaps from and is below it, however close: a store ends
 * below whatever is still to be loaded. */
static inline void copy_up(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t i = 0;

	for (; n - i >= WORD; i += WORD)
		word_store(to + i, word_load(from + i));
	for (; i < n; i++)
		to[i] = from[i];
}

/* From the last byte to the first: likewise if to is above from. */
static inline void copy_down(uint8_t *to, const uint8_t *from, size_t n)
{
	for (; n >= WORD; n -= WORD)
		word_store(to + n - WORD, word_load(from + n - WORD));
	for (; n > 0; n--)
		to[n - 1] = from[n - 1];
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	copy_up(to, from, n);
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	if ((uintptr_t)to <= (uintptr_t)from)
		copy_up(to, from, n);
	else
		copy_down(to, from, n);
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	uint8_t *bytes = to;
	uint8_t value = (uint8_t)byte;
	uint64_t word = value * (UINT64_MAX / UINT8_MAX);       /* value in each of the 8 bytes */
	size_t i = 0;

	for (; n - i >= WORD; i += WORD)
		word_store(bytes + i, word);
	for (; i < n; i++)
		bytes[i] = value;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	size_t i = 0;

	/* Words only tell that there is a difference; which byte is the first is found below. */
	while (n - i >= WORD && word_load(x + i) == word_load(y + i))
		i += WORD;
	for (; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

/* Byte by byte: as in C, n may reach beyond the object if the byte is found before its end. */
void *memchr(const void *s, int byte, size_t n)
{
	const uint8_t *bytes = s;

	for (size_t i = 0; i < n; i++)
		if (bytes[i] == (uint8_t)byte)
			return (void *)(bytes + i);
	return NULL;
}

size_t strlen(const char *s)
{
	size_t length = 0;

	while (s[length])
		length++;
	return length;
}

size_t strnlen(const char *s, size_t max)
{
	size_t length = 0;

	while (length < max && s[length])
		length++;
	return length;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i] || !a[i])
			return (uint8_t)a[i] - (uint8_t)b[i];
	return 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	do
		if (*s == (char)c)
			last = s;
	while (*s++);
	return (char *)last;
}

size_t strlcpy(char *to, const char *from, size_t size)
{
	size_t length = strlen(from);

	if (size > 0) {
		size_t n = length < size ? length : size - 1;

		memcpy(to, from, n);
		to[n] = 0;
	}
	return length;
}
