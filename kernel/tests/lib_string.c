/* lib/string.c beyond its acceptance: words with several differences or hits, close overlaps, guards on both sides, and
 * random ranges against models that go byte by byte. See spec/lib.md. */
#include "harness.h"
#include "string.h"

enum { AREA = 1024, GUARD = 0xee };

#define HUGE_SIZE ((size_t)1 << 63)             /* the largest that has to work */

static uint8_t a[AREA], b[AREA], model[AREA];

static void fill(void *to, uint8_t byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = byte;
}

static void pattern(uint8_t *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(i * 7 + (i >> 8) * 3 + seed);
}

/* The index of the first difference; n if there is none. */
static size_t difference(const uint8_t *x, const uint8_t *y, size_t n)
{
	size_t i = 0;

	while (i < n && x[i] == y[i])
		i++;
	return i;
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* Each test that draws sets and tells a seed of its own. */
static uint64_t random_state;

static uint32_t random_next(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 32);
}

/* The first difference counts, though later bytes of the same word differ the other way; what is at n does not. */
KTEST(lib, check_string_memcmp_order)
{
	static const uint8_t pairs[][2] = { { 1, 2 }, { 0x7f, 0x80 }, { 0, 0xff }, { 0xfe, 0xff } };

	for (unsigned at = 0; at < 64; at++) {
		uint8_t *const x = a + at / 8, *const y = b + at % 8;

		pattern(x, 40, at);
		pattern(y, 40, at);
		for (unsigned i = 0; i < 17 * 9 * 4; i++) {
			const unsigned first = i / 36, second = first + 1 + i / 4 % 9;
			const uint8_t low = pairs[i % 4][0], high = pairs[i % 4][1];
			const uint8_t old_first = x[first], old_second = x[second];

			x[first] = y[second] = low;
			y[first] = x[second] = high;
			KASSERT(memcmp(x, y, 40) < 0);
			KASSERT(memcmp(y, x, 40) > 0);
			KASSERT(memcmp(x, y, first + 1) < 0);
			KASSERT_EQ(memcmp(x, y, first), 0);
			x[first] = y[first] = old_first;
			x[second] = y[second] = old_second;
		}
	}
}

/* Several hits in one word among bytes that are almost hits, and hits just outside on both sides. */
KTEST(lib, check_string_memchr_hits)
{
	static const uint8_t wanted[] = { 0, 1, 0x7f, 0x80, 0xff, 'b' }, flips[] = { 0x01, 0x80, 0xff };
	enum { N = 32 };

	for (unsigned k = 0; k < sizeof wanted * sizeof flips * 8; k++) {
		const uint8_t byte = wanted[k / 24], other = byte ^ flips[k / 8 % 3];
		uint8_t *const s = a + 8 + k % 8;

		fill(a, byte, 64);
		fill(s, other, N);
		KASSERT(memchr(s, byte, N) == NULL);
		for (unsigned first = 0; first < 20; first++)
			for (unsigned second = first + 1; second <= first + 8; second++) {
				s[first] = s[second] = byte;
				KASSERT(memchr(s, byte, N) == s + first);
				KASSERT(memchr(s, byte - 0x100, first + 1) == s + first);
				KASSERT(memchr(s, byte + 0x300, first) == NULL);
				KASSERT(memchr(s, byte, HUGE_SIZE) == s + first);
				s[first] = s[second] = other;
			}
	}
}

/* Likewise; first and last of three hits, none of those before the string and after its NUL. */
KTEST(lib, check_string_strchr_hits)
{
	static const uint8_t wanted[] = { 1, 0x7f, 0x80, 0xff, 'b' };
	enum { N = 28 };

	for (unsigned k = 0; k < sizeof wanted * 8; k++) {
		const uint8_t byte = wanted[k / 8], other = byte < 2 ? 3 : byte ^ 1;
		char *const s = (char *)a + 8 + k % 8;

		fill(a, byte, 64);
		fill(s, other, N);
		s[N] = 0;
		KASSERT(strchr(s, byte) == NULL);
		KASSERT(strrchr(s, byte) == NULL);
		KASSERT(strchr(s, 0x100) == s + N);
		KASSERT(strrchr(s, -0x100) == s + N);
		for (unsigned first = 0; first < 18; first++)
			for (unsigned last = first + 2; last < first + 10; last++) {
				s[first] = s[first + 1] = s[last] = (char)byte;
				KASSERT(strchr(s, byte) == s + first);
				KASSERT(strchr(s, byte - 0x100) == s + first);
				KASSERT(strrchr(s, byte) == s + last);
				KASSERT(strrchr(s, byte + 0x100) == s + last);
				KASSERT(strchr(s, 0) == s + N);
				fill(s, other, N);
			}
	}
}

/* By 1 to 9 bytes, up and down, over lengths of every remainder; what is around stays. */
KTEST(lib, check_string_memmove_close)
{
	enum { LONG = 2500, GAP = 16, ALL = LONG + 8 + 2 * GAP };
	static uint8_t moved[ALL], expected[ALL];

	for (unsigned k = 0; k < 9 * 2 * 8; k++) {
		const size_t n = LONG + k % 8, distance = 1 + k / 16;
		const size_t to = k & 8 ? GAP + distance : GAP - distance;

		pattern(moved, ALL, k);
		pattern(expected, ALL, k);
		for (size_t i = 0; i < n; i++)
			expected[to + i] = (uint8_t)((GAP + i) * 7 + ((GAP + i) >> 8) * 3 + k);
		KASSERT(memmove(moved + to, moved + GAP, n) == moved + to);
		KASSERT_EQ(difference(moved, expected, ALL), ALL);
	}
}

/* Copies, moves and fills of random sizes within one area, which always equals its model; the source stays. */
KTEST(lib, check_string_random)
{
	static uint8_t staged[AREA];

	pattern(a, AREA, 1);
	pattern(model, AREA, 1);
	pattern(b, AREA, 2);
	ktest_note("seed", random_state = 0x5eed0001);
	for (unsigned round = 0; round < 1200; round++) {
		const size_t n = random_next() % (round & 1 ? 24 : 600);
		const size_t from = random_next() % (AREA - n), to = random_next() % (AREA - n);
		const int byte = (int)random_next();            /* any int, negative ones too */
		const unsigned which = round % 3;
		void *result;

		for (size_t i = 0; i < n; i++)
			staged[i] = which == 0 ? b[from + i] : which == 1 ? model[from + i] : (uint8_t)byte;
		for (size_t i = 0; i < n; i++)
			model[to + i] = staged[i];
		result = which == 0 ? memcpy(a + to, b + from, n) : which == 1 ? memmove(a + to, a + from, n)
			: memset(a + to, byte, n);
		KASSERT(result == a + to);
		KASSERT_EQ(difference(a, model, AREA), AREA);
	}
	pattern(model, AREA, 2);
	KASSERT_EQ(difference(b, model, AREA), AREA);
}

/* Bytes that tricks with whole words take for a NUL, or carry into the next byte; a NUL before, letters behind. */
KTEST(lib, check_string_strlen_bytes)
{
	static const uint8_t bytes[] = { 0x01, 0x7f, 0x80, 0x81, 0xff };

	for (unsigned k = 0; k < sizeof bytes * 8; k++) {
		char *const s = (char *)a + 8 + k % 8;

		fill(a, bytes[k / 8], 96);
		s[-1] = 0;
		for (size_t n = 0; n < 40; n++) {
			KASSERT_EQ(strnlen(s, n), n);           /* no NUL in range, nor at its end */
			s[n] = 0;
			s[n + 3] = 0;
			KASSERT_EQ(strlen(s), n);
			KASSERT_EQ(strnlen(s, n), n);
			KASSERT_EQ(strnlen(s, n + 1), n);
			KASSERT_EQ(strnlen(s, HUGE_SIZE), n);
			s[n] = s[n + 3] = (char)bytes[k / 8];
		}
	}
}

/* Without a NUL in range exactly n bytes count, at every alignment. */
KTEST(lib, check_string_strncmp_limit)
{
	for (unsigned k = 0; k < 64; k++) {
		char *const x = (char *)a + k / 8, *const y = (char *)b + k % 8;

		fill(a, 0x90, 64);
		fill(b, 0x90, 64);
		for (size_t n = 0; n < 40; n++) {
			x[n] = 0x7f;                            /* less than 0x90: bytes are unsigned */
			y[n + 1] = 1;
			KASSERT_EQ(strncmp(x, y, n), 0);
			KASSERT(strncmp(x, y, n + 1) < 0);
			KASSERT(strncmp(y, x, n + 1) > 0);
			KASSERT(strncmp(y, x, HUGE_SIZE) > 0);
			x[n] = 0;
			KASSERT(strncmp(x, y, n + 1) < 0);      /* the NUL is the least of all bytes */
			KASSERT(strcmp(y, x) > 0);
			y[n] = 0;
			KASSERT_EQ(strncmp(x, y, HUGE_SIZE), 0);
			KASSERT_EQ(strcmp(x, y), 0);
			x[n] = y[n] = y[n + 1] = (char)0x90;
		}
	}
}

/* Short strings of few letters, so that equal ones, prefixes and late differences all occur. */
KTEST(lib, check_string_strcmp_random)
{
	static const uint8_t letters[] = { 1, 0x7f, 0x80, 0xff };

	ktest_note("seed", random_state = 0x5eed0002);
	for (unsigned round = 0; round < 3000; round++) {
		char *const x = (char *)a + random_next() % 9, *const y = (char *)b + random_next() % 9;
		const unsigned n = random_next() % 20, shared = random_next() % 20, limit = random_next() % 24;
		unsigned at = 0;
		int expected;

		for (unsigned i = 0; i < 20; i++) {
			x[i] = (char)letters[random_next() % 4];
			y[i] = i < shared ? x[i] : (char)letters[random_next() % 4];
		}
		x[n] = 0;
		y[random_next() % 4 ? n : random_next() % 20] = 0;
		x[20] = y[20] = 0;
		while (x[at] && x[at] == y[at])
			at++;
		expected = sign((uint8_t)x[at] - (uint8_t)y[at]);
		KASSERT_EQ(sign(strcmp(x, y)), expected);
		KASSERT_EQ(sign(strcmp(y, x)), -expected);
		KASSERT_EQ(sign(strncmp(x, y, limit)), at < limit ? expected : 0);
	}
}

/* Every length at every size from 0 to two more than it: the copy, its NUL, and not a byte around them. */
KTEST(lib, check_string_strlcpy_sizes)
{
	for (unsigned k = 0; k < 64; k++)
		for (size_t length = 0; length < 20; length++) {
			char *const from = (char *)b + k / 8, *const to = (char *)a + 8 + k % 8;

			fill(b, 0xff, 64);
			pattern((uint8_t *)from, length, 0x41);         /* 'A', 'H' …: no NUL in 20 */
			from[length] = 0;
			for (size_t size = 0; size <= length + 2; size++) {
				const size_t n = length < size ? length : size - 1;     /* if size > 0 */

				fill(a, GUARD, 64);
				fill(model, GUARD, 64);
				for (size_t i = 0; size && i <= n; i++)
					model[8 + k % 8 + i] = i < n ? (uint8_t)from[i] : 0;
				KASSERT_EQ(strlcpy(to, from, size), length);
				KASSERT_EQ(difference(a, model, 64), 64);
			}
			KASSERT_EQ(strlcpy(to, from, HUGE_SIZE), length);
			KASSERT_EQ(difference(a, model, 64), 64);
		}
}

/* n = 0 is right at any alignment, and neither a hit nor a difference at the very address counts. */
KTEST(lib, check_string_zero)
{
	for (unsigned k = 0; k < 64; k++) {
		uint8_t *const x = a + k / 8, *const y = b + k % 8;

		fill(a, 'x', 32);
		fill(b, 'y', 32);
		fill(model, 'x', 32);
		KASSERT(memcpy(x, y, 0) == x);
		KASSERT(memmove(x, y, 0) == x);
		KASSERT(memset(x, 'z', 0) == x);
		KASSERT_EQ(strlcpy((char *)x, "z", 0), 1);
		KASSERT_EQ(difference(a, model, 32), 32);
		KASSERT_EQ(memcmp(x, y, 0), 0);
		KASSERT(memchr(x, 'x', 0) == NULL);
		KASSERT_EQ(strncmp((char *)x, (char *)y, 0), 0);
		KASSERT_EQ(strnlen((char *)x, 0), 0);
	}
}
