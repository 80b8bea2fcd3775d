/* Acceptance of lib/string.c against byte-by-byte models. See spec/lib.md. */
#include "internal.h"
#include "string.h"

enum { SIZE = 192, SENTINEL = 0xee };

static uint8_t a[SIZE], b[SIZE], model[SIZE];

static void pattern(uint8_t *buffer, unsigned seed)
{
	for (unsigned i = 0; i < SIZE; i++)
		buffer[i] = (uint8_t)(i * 7 + seed);
}

/* The index of the first difference between a and model; SIZE if there is none. */
static unsigned difference(void)
{
	unsigned i = 0;

	while (i < SIZE && a[i] == model[i])
		i++;
	return i;
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

KTEST(lib, string_own)
{
	KASSERT(memcpy != harness_memcpy);
	KASSERT(memmove != harness_memmove);
	KASSERT(memset != harness_memset);
	KASSERT(memcmp != harness_memcmp);
}

/* Every length to 70 at every alignment of both sides: exactly those bytes. */
KTEST(lib, memcpy)
{
	for (unsigned n = 0; n <= 70; n++)
		for (unsigned to = 0; to < 9; to++)
			for (unsigned from = 0; from < 9; from++) {
				pattern(a, 1);
				pattern(b, 100);
				pattern(model, 1);
				for (unsigned i = 0; i < n; i++)
					model[to + i] = b[from + i];
				KASSERT(memcpy(a + to, b + from, n) == a + to);
				KASSERT_EQ(difference(), SIZE);
			}
}

/* Every distance from -20 to 20, both directions, lengths to 80. */
KTEST(lib, memmove)
{
	for (unsigned n = 0; n <= 80; n += n < 20 ? 1 : 7)
		for (unsigned to = 30; to <= 70; to++) {
			pattern(a, 3);
			pattern(b, 3);
			pattern(model, 3);
			for (unsigned i = 0; i < n; i++)
				model[to + i] = b[50 + i];
			KASSERT(memmove(a + to, a + 50, n) == a + to);
			KASSERT_EQ(difference(), SIZE);
		}
}

KTEST(lib, memset)
{
	for (unsigned n = 0; n <= 70; n++)
		for (unsigned to = 0; to < 9; to++) {
			pattern(a, 5);
			pattern(model, 5);
			for (unsigned i = 0; i < n; i++)
				model[to + i] = 0xa5;
			KASSERT(memset(a + to, 0x1a5, n) == a + to);    /* only the low byte counts */
			KASSERT_EQ(difference(), SIZE);
		}
}

KTEST(lib, memcmp)
{
	pattern(a, 9);
	pattern(b, 9);
	KASSERT_EQ(memcmp(a, b, SIZE), 0);
	for (unsigned at = 0; at < 40; at++) {
		b[at] = a[at] ^ 0x80;                   /* bytes are unsigned */
		KASSERT_EQ(sign(memcmp(a, b, 40)), a[at] & 0x80 ? 1 : -1);
		KASSERT_EQ(sign(memcmp(b, a, 40)), a[at] & 0x80 ? -1 : 1);
		KASSERT_EQ(memcmp(a, b, at), 0);
		b[at] = a[at];
	}
	KASSERT_EQ(memcmp("a\0b", "a\0c", 3) < 0, 1);
	KASSERT_EQ(memcmp("x", "y", 0), 0);
}

KTEST(lib, memchr)
{
	static const char text[] = "ab\0cb\xff";

	KASSERT(memchr(text, 'b', 6) == text + 1);
	KASSERT(memchr(text, 0, 6) == text + 2);
	KASSERT(memchr(text, 'c', 6) == text + 3);
	KASSERT(memchr(text, 0x1ff, 6) == text + 5);
	KASSERT(memchr(text, 'c', 3) == NULL);
	KASSERT(memchr(text, 'a', 0) == NULL);
}

KTEST(lib, strlen)
{
	static char text[64];

	harness_memset(text, 'x', sizeof text);
	for (size_t n = 0; n < 40; n++) {
		text[n] = 0;
		KASSERT_EQ(strlen(text), n);
		KASSERT_EQ(strnlen(text, sizeof text), n);
		KASSERT_EQ(strnlen(text, n), n);
		KASSERT_EQ(strnlen(text, n / 2), n / 2);
		text[n] = 'x';
	}
	KASSERT_EQ(strnlen("abc", 0), 0);
}

KTEST(lib, strcmp)
{
	KASSERT_EQ(strcmp("", ""), 0);
	KASSERT_EQ(strcmp("abc", "abc"), 0);
	KASSERT(strcmp("abc", "abd") < 0);
	KASSERT(strcmp("abd", "abc") > 0);
	KASSERT(strcmp("ab", "abc") < 0);
	KASSERT(strcmp("abc", "ab") > 0);
	KASSERT(strcmp("\x80", "a") > 0);               /* bytes are unsigned */
	KASSERT(strcmp("", "a") < 0);
	KASSERT_EQ(strcmp("a\0b", "a\0c"), 0);
}

KTEST(lib, strncmp)
{
	KASSERT_EQ(strncmp("abc", "abd", 2), 0);
	KASSERT(strncmp("abc", "abd", 3) < 0);
	KASSERT_EQ(strncmp("a", "b", 0), 0);
	KASSERT_EQ(strncmp("ab\0x", "ab\0y", 4), 0);     /* ends at the NUL */
	KASSERT(strncmp("ab", "abc", 3) < 0);
	KASSERT(strncmp("\xff", "\x01", 1) > 0);
	KASSERT_EQ(strncmp("abc", "abc", 100), 0);
}

KTEST(lib, strchr)
{
	static const char text[] = "a/b/c";

	KASSERT(strchr(text, '/') == text + 1);
	KASSERT(strchr(text, 'a') == text);
	KASSERT(strchr(text, 'z') == NULL);
	KASSERT(strchr(text, 0) == text + 5);
	KASSERT(strrchr(text, '/') == text + 3);
	KASSERT(strrchr(text, 'c') == text + 4);
	KASSERT(strrchr(text, 'z') == NULL);
	KASSERT(strrchr(text, 0) == text + 5);
	KASSERT(strchr("", 'a') == NULL);
	KASSERT(strrchr("", 'a') == NULL);
}

KTEST(lib, strlcpy)
{
	char to[8];

	harness_memset(to, SENTINEL, sizeof to);
	KASSERT_EQ(strlcpy(to, "abc", sizeof to), 3);
	KASSERT_STREQ(to, "abc");
	KASSERT_EQ((uint8_t)to[4], SENTINEL);           /* no padding */

	harness_memset(to, SENTINEL, sizeof to);
	KASSERT_EQ(strlcpy(to, "abcd", 4), 4);          /* one too long: cut, ended, and told */
	KASSERT_STREQ(to, "abc");
	KASSERT_EQ((uint8_t)to[4], SENTINEL);

	KASSERT_EQ(strlcpy(to, "abc", 4), 3);           /* fits exactly */
	KASSERT_STREQ(to, "abc");
	KASSERT_EQ(strlcpy(to, "abcdefghijkl", 1), 12);
	KASSERT_STREQ(to, "");
	to[0] = 'q';
	KASSERT_EQ(strlcpy(to, "abc", 0), 3);
	KASSERT_EQ(to[0], 'q');
	KASSERT_EQ(strlcpy(to, "", sizeof to), 0);
	KASSERT_STREQ(to, "");
}

/* Sizes beyond a byte's and a page's worth. */
KTEST(lib, large)
{
	enum { LARGE = 70000 };
	static uint8_t x[LARGE + 2], y[LARGE + 2];

	for (unsigned i = 0; i < LARGE; i++)
		y[i + 1] = (uint8_t)(i % 251);
	memcpy(x + 1, y + 1, LARGE);
	KASSERT_EQ(x[0], 0);
	KASSERT_EQ(x[LARGE + 1], 0);
	for (unsigned i = 0; i < LARGE; i++)
		KASSERT_EQ(x[i + 1], i % 251);
	KASSERT_EQ(memcmp(x, y, LARGE + 2), 0);
	memmove(x + 2, x + 1, LARGE);
	for (unsigned i = 0; i < LARGE; i++)
		KASSERT_EQ(x[i + 2], i % 251);
	memset(x, 0, LARGE + 2);
	for (unsigned i = 0; i < LARGE + 2; i++)
		KASSERT_EQ(x[i], 0);
}

/* ---- beside others ---- */

KTEST(lib, beside_memory)
{
	enum { ROUNDS = 400 };
	uint64_t random = harness_seed();
	uint8_t from[96], to[96];
	unsigned wrong = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		const size_t length = harness_random(&random) % sizeof from, at = harness_random(&random) % (sizeof to - length);
		const uint8_t fill = (uint8_t)harness_random(&random);

		for (size_t i = 0; i < sizeof from; i++)
			from[i] = (uint8_t)harness_random(&random);
		memset(to, fill, sizeof to);
		memcpy(to + at, from, length);
		for (size_t i = 0; i < sizeof to; i++)
			wrong += to[i] != (i - at < length ? from[i - at] : fill);
		wrong += memcmp(to + at, from, length) != 0;
	}
	KASSERT_EQ(wrong, 0);
}
