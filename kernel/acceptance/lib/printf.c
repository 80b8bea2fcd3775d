/* Acceptance of lib/printf.c. See spec/lib.md. */
#include <limits.h>
#include "console.h"
#include "internal.h"
#include "printf.h"

static char text[256];

/* Without the attribute of the real prototype, so that wrong formats can be tried, too. */
static int (*const volatile unchecked)(char *, size_t, const char *, ...) = snprintf;

/* Formats into text; the result must say its length. */
#define EXPECT(expected, ...) \
	do { \
		harness_memset(text, '~', sizeof text); \
		const int length_ = unchecked(text, sizeof text, __VA_ARGS__); \
		KASSERT_STREQ(text, expected); \
		KASSERT_EQ(length_, harness_strlen(expected)); \
	} while (0)

KTEST(lib, printf_plain)
{
	EXPECT("", "");
	EXPECT("plain text\n", "plain text\n");
	EXPECT("100%", "100%%");
	EXPECT("a b c", "%s %c %s", "a", 'b', "c");
}

KTEST(lib, printf_decimal)
{
	EXPECT("0", "%d", 0);
	EXPECT("-1", "%i", -1);
	EXPECT("2147483647 -2147483648", "%d %d", INT_MAX, INT_MIN);
	EXPECT("4294967295", "%u", UINT_MAX);
	EXPECT("9223372036854775807", "%ld", LONG_MAX);
	EXPECT("-9223372036854775808", "%lld", LLONG_MIN);
	EXPECT("18446744073709551615", "%lu", ULONG_MAX);
	EXPECT("1 2 3 4 5 6 7 8", "%d %u %ld %lu %lld %llu %zu %d", 1, 2u, 3l, 4ul, 5ll, 6ull, (size_t)7, 8);
}

KTEST(lib, printf_hexadecimal)
{
	EXPECT("0", "%x", 0);
	EXPECT("deadbeef DEADBEEF", "%x %X", 0xdeadbeefu, 0xdeadbeefu);
	EXPECT("ffffffff80000000", "%lx", 0xffffffff80000000ul);
	EXPECT("0x1f 0X1F 0", "%#x %#X %#x", 31, 31, 0);
}

KTEST(lib, printf_narrow)
{
	EXPECT("-1 255 ff", "%hhd %hhu %hhx", 0x1ff, 0x1ff, 0x1ff);
	EXPECT("-1 65535 ffff", "%hd %hu %hx", 0x1ffff, 0x1ffff, 0x1ffff);
}

KTEST(lib, printf_width)
{
	EXPECT("[   42]", "[%5d]", 42);
	EXPECT("[42   ]", "[%-5d]", 42);
	EXPECT("[00042]", "[%05d]", 42);
	EXPECT("[-0042]", "[%05d]", -42);
	EXPECT("[42   ]", "[%-05d]", 42);
	EXPECT("[123456]", "[%3d]", 123456);
	EXPECT("[   ab]", "[%5s]", "ab");
	EXPECT("[ab   ]", "[%-5s]", "ab");
	EXPECT("[    x][x    ]", "[%5c][%-5c]", 'x', 'x');
	EXPECT("[   42][42   ]", "[%*d][%*d]", 5, 42, -5, 42);
	EXPECT("[0x001f]", "[%#06x]", 31);
	EXPECT("[0000000000000fff]", "[%016lx]", 0xffful);
}

KTEST(lib, printf_sign)
{
	EXPECT("+7 -7 +0", "%+d %+d %+d", 7, -7, 0);
	EXPECT("[ 7][-7]", "[% d][% d]", 7, -7);
	EXPECT("[+0007]", "[%+05d]", 7);
}

KTEST(lib, printf_precision)
{
	EXPECT("[abc]", "[%.3s]", "abcdef");
	EXPECT("[abc]", "[%.9s]", "abc");
	EXPECT("[]", "[%.0s]", "abc");
	EXPECT("[  ab]", "[%4.2s]", "abcdef");
	EXPECT("[ab]", "[%.*s]", 2, "abcdef");
	EXPECT("[007]", "[%.3d]", 7);
	EXPECT("[-007]", "[%.3d]", -7);
	EXPECT("[  007]", "[%5.3d]", 7);
	EXPECT("[  007]", "[%05.3d]", 7);               /* a precision makes the 0 flag void */
	EXPECT("[]", "[%.0d]", 0);
	EXPECT("[00ff]", "[%.4x]", 255);
}

KTEST(lib, printf_null)
{
	EXPECT("(null)", "%s", (const char *)NULL);
	EXPECT("[  (null)]", "[%8s]", (const char *)NULL);
}

KTEST(lib, printf_pointer)
{
	EXPECT("0xffffffff80100000", "%p", (void *)0xffffffff80100000ul);
	EXPECT("0x0000000000000000", "%p", NULL);
}

/* What is not understood is printed as it stands and takes no argument. */
KTEST(lib, printf_unknown)
{
	EXPECT("%y 5", "%y %d", 5);
	EXPECT("%n 5", "%n %d", 5);
	EXPECT("50%", "50%");
	EXPECT("%-08q.", "%-08q.");
}

/* The result is the length that the whole would have had; the text is always ended. */
KTEST(lib, printf_truncation)
{
	harness_memset(text, '~', sizeof text);
	KASSERT_EQ(unchecked(text, 4, "%s", "abcdef"), 6);
	KASSERT_STREQ(text, "abc");
	KASSERT_EQ(text[4], '~');

	KASSERT_EQ(unchecked(text, 7, "%s", "abcdef"), 6);      /* fits exactly */
	KASSERT_STREQ(text, "abcdef");
	KASSERT_EQ(unchecked(text, 6, "%s", "abcdef"), 6);      /* one too small */
	KASSERT_STREQ(text, "abcde");
	KASSERT_EQ(unchecked(text, 1, "%d", 12345), 5);
	KASSERT_STREQ(text, "");

	text[0] = '~';
	KASSERT_EQ(unchecked(text, 0, "%d", 12345), 5);
	KASSERT_EQ(text[0], '~');
	KASSERT_EQ(unchecked(NULL, 0, "%s!", "abc"), 4);
}

KTEST(lib, printf_long)
{
	KASSERT_EQ(unchecked(text, sizeof text, "%1000d|", 1), 1001);
	KASSERT_EQ(harness_strlen(text), sizeof text - 1);
	KASSERT_EQ(text[sizeof text - 2], ' ');
}

/* ---- kprintf: the same onto the console, watched through the UART's loopback ---- */

enum { COM1 = 0x3f8, MCR = COM1 + 4, LSR = COM1 + 5, LOOP = 0x10, DATA_READY = 0x01, ALL_SENT = 0x40 };

static void loop_begin(void)
{
	for (int i = 0; i < 1000000 && !(harness_inb(LSR) & ALL_SENT); i++)
		;
	harness_outb(MCR, LOOP | 0x0b);
	while (harness_inb(LSR) & DATA_READY)
		harness_inb(COM1);
}

static unsigned loop_end(char *seen, unsigned size)
{
	unsigned n = 0;

	while (n < size && (harness_inb(LSR) & DATA_READY))
		seen[n++] = (char)harness_inb(COM1);
	harness_outb(MCR, 0x0b);
	return n;
}

KTEST(lib, kprintf)
{
	char seen[20];
	unsigned n;
	int length;

	KASSERT_EQ(console_init(), 0);
	loop_begin();
	length = kprintf("x%03d %s\n", 7, "ab");
	n = loop_end(seen, sizeof seen - 1);
	seen[n] = 0;
	KASSERT_STREQ(seen, "x007 ab\r\n");
	KASSERT_EQ(length, 8);                  /* as for snprintf: the carriage return does not count */
}

/* No line is too long. The receiver keeps the first 16 bytes, the rest is only counted. */
KTEST(lib, kprintf_long)
{
	int length;
	char seen[20];

	KASSERT_EQ(console_init(), 0);
	loop_begin();
	length = kprintf("%-4000s|", "start");
	loop_end(seen, sizeof seen);
	KASSERT_EQ(length, 4001);
	KASSERT_EQ(harness_memcmp(seen, "start           ", 16), 0);
	KASSERT_EQ(console_init(), 0);
}

/* How many bytes of stack kprintf(fmt, s, value) takes with all that it calls: down to the last of a pattern that it changes. An interrupt
 * would take some, too. */
static size_t kprintf_takes(const char *fmt, const char *s, uint64_t value)
{
	enum { FILLED = 2048 };
	const uint64_t flags = harness_cli();
	register uint64_t r13 __asm__("r13") = harness_addr(fmt);
	register uint64_t r14 __asm__("r14") = harness_addr(s);
	register uint64_t r15 __asm__("r15") = value;
	register uint64_t r12 __asm__("r12");
	uint64_t lowest;

	__asm__ volatile(
		"mov %%rsp, %%rbx\n\tand $-16, %%rsp\n\tmov %%rsp, %%r12\n\tcld\n\t"
		"lea -%c[filled](%%r12), %%rdi\n\tmov $%c[filled] / 8, %%ecx\n\tmovabs $0x5a17c3e94b86d20f, %%rax\n\trep stosq\n\t"
		"mov %%r13, %%rdi\n\tmov %%r14, %%rsi\n\tmov %%r15, %%rdx\n\txor %%eax, %%eax\n\tcall kprintf\n\t"
		"lea -%c[filled](%%r12), %%rdi\n\tmov $%c[filled] / 8, %%ecx\n\tmovabs $0x5a17c3e94b86d20f, %%rax\n\trepe scasq\n\t"
		"mov %%rbx, %%rsp"
		: "=&D"(lowest), "=&r"(r12), "+r"(r13), "+r"(r14), "+r"(r15) : [filled] "i"(FILLED)
		: "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	harness_restore(flags);
	return r12 - (lowest - 8);
}

KTEST(lib, kprintf_stack)
{
	static const char *const formats[] = { "", "plain\n", "%s\n", "%-300s|%#lx\n", "%.3s %+020ld\n", "%s %lu\n", "%s %lX %%\n" };
	size_t most = 0;

	KASSERT_EQ(console_init(), 0);
	loop_begin();
	for (unsigned i = 0; i < sizeof formats / sizeof *formats; i++) {
		const size_t n = kprintf_takes(formats[i], "text", -77ul);

		most = n > most ? n : most;
	}
	harness_outb(MCR, 0x0b);
	KASSERT_EQ(console_init(), 0);
	ktest_note("bytes", most);
	KASSERT(most <= 512 + 8);               /* and where it returns to */
}

/* ---- beside others ---- */

KTEST(lib, beside_text)
{
	enum { ROUNDS = 200 };
	uint64_t random = harness_seed();
	unsigned wrong = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned value = (unsigned)harness_random(&random);
		char got[24], want[12];
		unsigned digits = 0, rest = value;

		do
			digits++;
		while (rest /= 10);
		want[digits] = '\0';
		for (rest = value; digits; rest /= 10)
			want[--digits] = (char)('0' + rest % 10);
		wrong += snprintf(got, sizeof got, "<%u>", value) != (int)harness_strlen(want) + 2;
		got[harness_strlen(want) + 1] = '\0';
		wrong += got[0] != '<' || harness_strcmp(got + 1, want) != 0;
	}
	KASSERT_EQ(wrong, 0);
}
