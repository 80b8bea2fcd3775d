/* lib/printf.c beyond its acceptance: limits of every part of a format, flags combined, formats cut off, every buffer
 * size, and random integer formats against a model. See spec/lib.md. */
#include <limits.h>
#include <stdarg.h>
#include "console.h"
#include "harness.h"
#include "io.h"
#include "printf.h"
#include "string.h"

static char text[5000];

/* Without the attributes of the real prototypes, so that wrong formats can be tried, too. */
static int (*const volatile unchecked)(char *, size_t, const char *, ...) = snprintf;
static int (*const volatile unchecked_list)(char *, size_t, const char *, va_list) = vsnprintf;
static int (*const volatile unchecked_console)(const char *, va_list) = vkprintf;

/* Formats into text: these bytes, their number, a NUL, nothing behind it. */
#define EXPECT(expected, ...) \
	do { \
		memset(text, '~', sizeof text); \
		KASSERT_EQ(unchecked(text, sizeof text, __VA_ARGS__), sizeof expected - 1); \
		KASSERT_STREQ(text, expected); \
		KASSERT_EQ(memcmp(text, expected "\0~", sizeof expected + 1), 0); \
	} while (0)

/* Whether text holds n times c from at, then the rest. */
static bool is_run(size_t at, char c, size_t n, const char *rest)
{
	for (size_t i = 0; i < n; i++)
		if (text[at + i] != c)
			return false;
	return ktest_streq(text + at + n, rest);
}

#define EXPECT_RUN(before, c, n, rest, ...) \
	do { \
		memset(text, '~', sizeof text); \
		KASSERT_EQ(unchecked(text, sizeof text, __VA_ARGS__), sizeof before - 1 + n + sizeof rest - 1); \
		KASSERT(!memcmp(text, before, sizeof before - 1) && is_run(sizeof before - 1, c, n, rest)); \
	} while (0)

/* Above 4095 is 4095, also where 32 or 64 bits do not hold the number. */
KTEST(lib, check_printf_limits)
{
	static char letters[5000];

	memset(letters, 'x', sizeof letters);           /* no NUL */
	EXPECT_RUN("", ' ', 4094, "7", "%4096d", 7);
	EXPECT_RUN("", ' ', 4094, "7", "%4294967297d", 7);
	EXPECT_RUN("-", '0', 4093, "7", "%018446744073709551617d", -7);
	EXPECT_RUN("x", ' ', 4094, "|", "%-40960c|", 'x');
	EXPECT_RUN("", ' ', 4093, "ab", "%*s", INT_MAX, "ab");
	EXPECT_RUN("7", ' ', 4094, "|", "%*d|", -4096, 7);
	EXPECT_RUN("7", ' ', 4094, "|", "%*d|", INT_MIN, 7);
	EXPECT_RUN("7", ' ', 4094, "|", "%0*d|", INT_MIN + 1, 7);
	EXPECT_RUN("-", '0', 4094, "7", "%.4096d", -7);
	EXPECT_RUN("0x", '0', 4094, "7", "%#.99999999999x", 7);
	EXPECT_RUN("", '0', 4094, "7", "%.18446744073709551617u", 7);
	EXPECT_RUN("+", '0', 4094, "7", "%+*.*d", INT_MAX, INT_MAX, 7);
	EXPECT_RUN("", 'x', 4094, "|", "%.4094s|", letters);
	EXPECT_RUN("", 'x', 4095, "|", "%.4096s|", letters);
	EXPECT_RUN("", 'x', 4095, "|", "%.*s|", INT_MAX, letters);
}

/* A negative precision is none: it does not void the 0 flag, cut a string or hide a zero. */
KTEST(lib, check_printf_star)
{
	EXPECT("00000042|      42|0|0", "%08.*d|%08.*d|%.*d|%.*x", -1, 42, 0, 42, -1, 0, INT_MIN, 0);
	EXPECT("abc||42", "%.*s|%.*s|%*d", -3, "abc", 0, "abc", 0, 42);
	EXPECT("42   |42   |42   |", "%0*d|%-*d|%-*d|", -5, 42, 5, 42, -5, 42);
	EXPECT("  007|ab  |x |", "%*.*d|%*.*s|%*c|", 5, 3, 7, -4, 2, "abc", -2, 'x');
}

/* Precision 0, also by `.` alone: of a zero there is no digit, yet its sign and its blanks. */
KTEST(lib, check_printf_zero)
{
	EXPECT("|||||||||", "%.d|%.i|%.u|%.x|%.X|%.0ld|%.*zu|%#.0x|%#.X|", 0, 0, 0, 0, 0, 0l, 0, (size_t)0, 0, 0);
	EXPECT("+| |     |     |     |", "%+.d|% .0d|%5.d|%-5.0d|%05.0d|", 0, 0, 0, 0, 0);
	EXPECT("    +|     |5 a -7", "%+5.d|%#5.x|%.d %.x %.0d", 0, 0, 5, 10, -7);
	EXPECT("0 0 000     0 00000", "%.1d %.1x %#.3x %#5x %#05x", 0, 0, 0, 0, 0);
	EXPECT("|   |", "%.s|%3.s|", "abc", "abc");
}

/* Each length at its limits; those of 64 bits are the same five times. */
#define EXPECT_64(l) \
	do { \
		EXPECT("9223372036854775807 -9223372036854775808", "%" l "d %" l "i", LONG_MAX, LONG_MIN); \
		EXPECT("18446744073709551615 0 -1", "%" l "u %" l "u %" l "d", ULONG_MAX, 0ul, -1l); \
		EXPECT("ffffffffffffffff 0X8000000000000000", "%" l "x %#" l "X", -1l, LONG_MIN); \
	} while (0)

KTEST(lib, check_printf_lengths)
{
	EXPECT("127 -128 -128 0 255 128", "%hhd %hhi %hhd %hhd %hhu %hhu", 127, 128, -128, 256, -1, -128);
	EXPECT("32767 -32768 -32768 0", "%hd %hi %hd %hd", 32767, 32768, -32768, 65536);
	EXPECT("65535 32768 80 FF 8000 FFFF", "%hu %hu %hhx %hhX %hx %hX", -1, -32768, -128, -1, -32768, -1);
	EXPECT("4294967295 2147483648 80000000 FFFFFFFF", "%u %u %x %X", -1, INT_MIN, INT_MIN, -1);
	EXPECT_64("l");
	EXPECT_64("ll");
	EXPECT_64("z");
	EXPECT_64("t");
	EXPECT_64("j");
}

KTEST(lib, check_printf_flags)
{
	EXPECT("42   |42   |+7 +7 -7", "%0-5d|%-0-0-5d|%+ d % +d % +d", 42, 42, 7, 7, -7);
	EXPECT("+0042 +0042  0042 -0042 00042", "%0+5d %+ 05d % 05d %0 5d %0005d", 42, 42, 42, -42, 42);
	EXPECT("  +42|+42  | 42  |   +0042| 0042   |", "%+5d|%-+5d|%- 5d|%+8.4d|%0- 8.4d|", 42, 42, 42, 42, 42);
	EXPECT("0x0000001f 0X0000001F 0x001f     0x001f", "%#010x %0#10X %#.4x %0#10.4x", 31, 31, 31, 31);
	EXPECT("      0x1f|0X1F      | 0x1f", "%#10x|%#0-10X|%#05.2x", 31, 31, 31);
}

/* A NUL is a character like any other; 0 pads neither characters nor strings with zeros. */
KTEST(lib, check_printf_text)
{
	static const char raw[] = { 'a', 'b', 'c', 'd' };

	EXPECT("a\0b    \0|\0  |\xff", "a%cb%5c|%-3c|%c", 0, 0, 0, 0xff);
	EXPECT("    x|x    |   ab|ab   |   ab", "%05c|%0-5c|%05s|%0-5s|%05.2s", 'x', 'x', "ab", "ab", "abc");
	EXPECT("abcd|ab|  abc|abc   |", "%.4s|%.*s|%5.3s|%-6.3s|", raw, 2, raw, raw, raw);
	EXPECT("(null)  |(null)|  (null)", "%-8s|%2s|%08s", (char *)NULL, (char *)NULL, (char *)NULL);
	EXPECT("%d%n \x80 abc", "%s %s %1s", "%d%n", "\x80", "abc");
}

KTEST(lib, check_printf_pointer)
{
	EXPECT("  0x00000000deadbeef|0x0000000000000000  |", "%20p|%*p|", (void *)0xdeadbeeful, -20, NULL);
	EXPECT("0xfedcba9876543210  |", "%-20p|", (void *)0xfedcba9876543210ul);
	EXPECT("0xffffffffffffffff| 0x0000000000000001 7", "%5p|%*p %d", (void *)-1l, 19, (void *)1l, 7);
}

/* Cut off by the end of the format: as it stands. */
KTEST(lib, check_printf_cut_off)
{
	static const char *const formats[] = {
		"%", "ab%", "%#+ 0-", "%5", "%.", "%.5", "%h", "%hh", "%l", "%ll", "%z", "%-08.3t", "%99999", "a%q%",
	};

	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		memset(text, '~', sizeof text);
		KASSERT_EQ(unchecked(text, sizeof text, formats[i]), strlen(formats[i]));
		KASSERT_STREQ(text, formats[i]);
		KASSERT_EQ(text[strlen(formats[i]) + 1], '~');
	}
	EXPECT("7 %*", "%d %*", 7, 5);
	EXPECT("7 %-*.*ll", "%d %-*.*ll", 7, 5, INT_MIN);
}

/* Unknown: as it stands, and only its `*` have taken arguments. */
KTEST(lib, check_printf_unknown)
{
	EXPECT("%f %o%b%e%g%a%L%hhn%lln%S 5", "%f %o%b%e%g%a%L%hhn%lln%S %d", 5);
	EXPECT("%*q 7 %-*.*y|8", "%*q %d %-*.*y|%d", 5, 7, -1, 2, 8);
	EXPECT("%.*f 7 %99999.99999q 8", "%.*f %d %99999.99999q %u", 3, 7, 8);
	EXPECT("%**d 7 %5*d 8", "%**d %d %5*d %d", 1, 7, 8);
	EXPECT("%hhhd %hld %llld %zzd %.5.5d 7", "%hhhd %hld %llld %zzd %.5.5d %d", 7);
	EXPECT("%5 d %\xff %\n%7", "%5 d %\xff %\n%%%d", 7);
}

/* The size at which vsnprintf does not give what it should; -1 if it does at every size from 0 to length + 2. */
static int wrong_size(const char *expected, int length, const char *fmt, ...)
{
	for (int size = 0; size <= length + 2; size++) {
		const int stored = size > length ? length : size ? size - 1 : 0;
		va_list args;
		int result;

		memset(text, '~', 128);
		va_start(args, fmt);
		result = unchecked_list(text + 1, (size_t)size, fmt, args);
		va_end(args);
		if (result != length || memcmp(text + 1, expected, (size_t)stored) || (size && text[1 + stored]))
			return size;
		for (int i = 0; i < 128; i += i ? 1 : 1 + stored + !!size)      /* all but text and NUL */
			if (text[i] != '~')
				return size;
	}
	return -1;
}

#define EXPECT_SIZES(expected, ...) KASSERT_EQ(wrong_size(expected, sizeof expected - 1, __VA_ARGS__), -1)

KTEST(lib, check_printf_sizes)
{
	EXPECT_SIZES("plain, 100%\n", "plain, 100%%\n");
	EXPECT_SIZES("[    +0042|+42     |0x000001f]", "[%+9.4d|%-+8d|%#09x]", 42, 42, 31);
	EXPECT_SIZES("  ab|cd  |(null)a\0b  \0|", "%4s|%-4.2s|%sa%cb%3c|", "ab", "cde", (char *)NULL, 0, 0);
	EXPECT_SIZES("0x00000000deadbeef  %-08q %5", "%-20p%-08q %5", (void *)0xdeadbeeful);
	EXPECT_SIZES("1 2 3 4 5 6 7 8 x", "%d %ld %hhd %u %zu %x %lld %d %s", 1, 2l, 3, 4, 5ul, 6, 7ll, 8, "x");
}

static unsigned random_below(uint64_t *state, unsigned n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*state >> 33) % n;
}

/* Every part of an integer format at random, against what C says, one step after the other. Those of `int` and less get
 * 64 bits, too: the ABI leaves open what is in an argument's upper half. */
KTEST(lib, check_printf_random)
{
	static const char *const kinds[] = { "d-0+ ", "i-0+ ", "u-0", "x-0#", "X-0#" };         /* and their flags */
	static const char *const lengths[] = { "hh", "h", "", "l", "ll", "z", "t", "j" };
	uint64_t state = 0x5eed0003;

	ktest_note("seed", state);
	for (unsigned round = 0; round < 4000; round++) {
		char fmt[24] = "%", model[128], *f = fmt + 1, *end = model + 64, *s = end;
		const char *const kind = kinds[random_below(&state, 5)], *prefix = "";
		const unsigned length = random_below(&state, 8), base = *kind == 'x' || *kind == 'X' ? 16 : 10;
		const int width = (int)random_below(&state, 61) - 30, precision = (int)random_below(&state, 30) - 5;
		const int unused = length < 3 ? 64 - (8 << length) : 0, columns = width < 0 ? -width : width;
		const unsigned shift = random_below(&state, 64);
		const uint64_t value = (state ^ state << 29) >> shift;
		const bool negative = kind[3] == '+' && (int64_t)(value << unused) < 0;
		uint64_t rest = (negative ? -value : value) << unused >> unused;
		bool has[5] = { false, width < 0 };     /* by place in kind */
		int prefixed, least, result;

		for (unsigned n = random_below(&state, 5), i; n; n--, has[i] = true)
			*f++ = kind[i = 1 + random_below(&state, base == 16 ? 3 : kind[3] ? 4 : 2)];
		f += strlcpy(f, "*.*", 4);
		f += strlcpy(f, lengths[length], 3);
		*f = *kind;
		if (negative || has[3] || has[4])
			prefix = negative ? "-" : base == 10 ? (has[3] ? "+" : " ") : !rest ? "" : *kind == 'x' ? "0x"
				: "0X";
		prefixed = (int)strlen(prefix);
		least = precision >= 0 ? precision : has[2] && !has[1] && columns > prefixed ? columns - prefixed : 1;
		for (; rest; rest /= base)
			*--s = (*kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
		while (end - s < least)
			*--s = '0';
		s = memcpy(s - prefixed, prefix, (size_t)prefixed);
		while (end - s < columns)
			*(has[1] ? end++ : --s) = ' ';
		*end = 0;
		memset(text, '~', sizeof model);
		result = unchecked(text, sizeof text, fmt, width, precision, value);
		if (result != end - s || !ktest_streq(text, s))
			ktest_note("round", round);
		KASSERT_EQ(result, end - s);
		KASSERT_STREQ(text, s);
	}
}

enum { COM1 = 0x3f8, IER = COM1 + 1, MCR = COM1 + 4, LSR = COM1 + 5 };
enum { LOOP = 0x10, DATA_READY = 0x01, ALL_SENT = 0x40 };

/* vkprintf with the UART looped back: text is the first 16 bytes that it sends, all that the receiver keeps. Its
 * interrupt is off meanwhile: a handler would take them for input. */
static int send(const char *fmt, ...)
{
	const int err = console_init();         /* lets all go out and empties the receiver */
	const uint8_t ier = inb(IER), mcr = inb(MCR);
	va_list args;
	int result;

	outb(IER, 0);
	outb(MCR, mcr | LOOP);
	va_start(args, fmt);
	result = unchecked_console(fmt, args);
	va_end(args);
	for (int i = 0; i < 1000000 && !(inb(LSR) & ALL_SENT); i++)     /* the last bytes are still on their way */
		cpu_pause();
	memset(text, '~', 32);
	for (int i = 0; i < 32 && inb(LSR) & DATA_READY; i++)
		text[i] = (char)inb(COM1);
	outb(MCR, mcr);
	outb(IER, ier);
	return err ? err : result;
}

#define EXPECT_SENT(length, sent, ...) \
	do { \
		KASSERT_EQ(send(__VA_ARGS__), length); \
		KASSERT_EQ(memcmp(text, sent "~", sizeof sent), 0); \
	} while (0)

/* Every newline counts once, wherever it comes from, and a NUL is sent like anything else. */
KTEST(lib, check_printf_console)
{
	EXPECT_SENT(1, "\r\n", "\n");
	EXPECT_SENT(5, "a\r\n\r\nb\r\n", "a\n\nb\n");
	EXPECT_SENT(5, "x\r\ny\r\n|", "%s%c|", "x\ny", '\n');
	EXPECT_SENT(7, "  \r\n\r\r\n\0|", "%3c\r%c%c|", '\n', '\n', 0);
	EXPECT_SENT(8, "%q\r\n%5\r\n42", "%q\n%5\n%d", 42);
	for (int n = 0; n <= 70; n++)           /* wherever in a piece for the console it stands */
		KASSERT_EQ(send("%*s\n%*s\n", n, "", 70 - n, ""), 72);
	KASSERT_EQ(kprintf("check_printf_console:\n%s%c", "a\nb", '\n'), 26);
}
