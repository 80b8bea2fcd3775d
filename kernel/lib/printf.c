/* Formatted output: one formatter that emits into a sink, which is the caller's buffer or the console. All state is in
 * the caller's frames, so every function runs in any context and on any number of processors at once. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "console.h"
#include "printf.h"
#include "string.h"

enum {
	FIELD_MAX = 4095,       /* a width or precision above counts as this */
	PIECE_SIZE = 64,        /* of text for console_write; kprintf and all below it have 512 bytes of stack */
};

static const char flag_chars[] = "-0+ #";
enum { LEFT = 1, ZERO = 2, PLUS = 4, SPACE = 8, PREFIX = 16 };          /* one bit each, in this order */

/* Where the text goes. used <= size always: nothing is written at or after buffer + size. */
struct sink {
	char *buffer;           /* may be NULL if size is 0 */
	size_t size;
	size_t used;
	size_t length;          /* of the whole text so far, stored or not */
	bool console;           /* a full buffer goes to the console and is filled again; otherwise the text is cut */
};

/* What stands between a % and its conversion. */
struct spec {
	unsigned flags;
	int width;
	int precision;          /* -1: none */
	int bits;               /* of an integer argument that count */
};

/* What the console does not take is lost: the result does not depend on it. */
static void sink_flush(struct sink *sink)
{
	console_write(sink->buffer, sink->used);
	sink->used = 0;
}

/* Emits n characters, which are step bytes apart: 1 for a text, 0 for one character n times. Counts them all, and cuts
 * the text after INT_MAX. */
static void sink_put(struct sink *sink, const char *text, size_t step, size_t n)
{
	const size_t allowed = sink->length < INT_MAX ? INT_MAX - sink->length : 0;

	sink->length += n;
	if (n > allowed)
		n = allowed;
	for (; n; n--, text += step) {
		if (sink->used == sink->size) {
			if (!sink->console)
				return;
			sink_flush(sink);
		}
		sink->buffer[sink->used++] = *text;
	}
}

/* What the printf family returns. */
static int sink_result(const struct sink *sink)
{
	return sink->length > INT_MAX ? -1 : (int)sink->length;
}

/* Blanks, prefix, zeros, text, blanks. */
static void put_field(struct sink *sink, const struct spec *spec, const char *prefix, size_t zeros, const char *text,
                      size_t n)
{
	const size_t width = (size_t)spec->width, used = strlen(prefix) + zeros + n;
	const size_t blanks = width > used ? width - used : 0;

	sink_put(sink, " ", 0, spec->flags & LEFT ? 0 : blanks);
	sink_put(sink, prefix, 1, strlen(prefix));
	sink_put(sink, "0", 0, zeros);
	sink_put(sink, text, 1, n);
	sink_put(sink, " ", 0, spec->flags & LEFT ? blanks : 0);
}

/* How many digits an integer has at least; value 0 has none of its own. */
static size_t least_digits(const struct spec *spec, const char *prefix)
{
	const size_t width = (size_t)spec->width;

	if (spec->precision >= 0)
		return (size_t)spec->precision;
	return (spec->flags & (LEFT | ZERO)) == ZERO && width > strlen(prefix) ? width - strlen(prefix) : 1;
}

/* An integer argument, cut to the bits that count and extended from there. */
static uint64_t take_integer(const struct spec *spec, bool is_signed, va_list *args)
{
	const uint64_t value = spec->bits == 64 ? va_arg(*args, uint64_t) : va_arg(*args, unsigned);
	const int unused = 64 - spec->bits;

	return is_signed ? (uint64_t)((int64_t)(value << unused) >> unused) : value << unused >> unused;
}

/* Prints the next argument. False if there is no such conversion: nothing was printed or taken. */
static bool convert(struct sink *sink, struct spec *spec, char conversion, va_list *args)
{
	const char *const set = conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	const char *prefix = "";
	const char *text = NULL;        /* NULL: value is printed */
	char digits[20];                /* enough for UINT64_MAX, decimal */
	size_t n = 0, zeros = 0;
	uint64_t value = 0;
	unsigned base = 16;

	switch (conversion) {
	case 'd':
	case 'i':
		base = 10;
		value = take_integer(spec, true, args);
		if ((int64_t)value < 0) {
			prefix = "-";
			value = -value;         /* unsigned, so right for INT64_MIN, too */
		} else if (spec->flags & (PLUS | SPACE)) {
			prefix = spec->flags & PLUS ? "+" : " ";
		}
		break;
	case 'u':
		base = 10;
		value = take_integer(spec, false, args);
		break;
	case 'x':
	case 'X':
		value = take_integer(spec, false, args);
		if (value && spec->flags & PREFIX)
			prefix = conversion == 'X' ? "0X" : "0x";
		break;
	case 'p':
		prefix = "0x";
		spec->precision = 16;
		value = (uintptr_t)va_arg(*args, void *);
		break;
	case 'c':
		digits[0] = (char)va_arg(*args, int);
		text = digits;
		n = 1;
		break;
	case 's':
		text = va_arg(*args, const char *);
		if (!text)
			text = "(null)";
		n = spec->precision < 0 ? strlen(text) : strnlen(text, (size_t)spec->precision);
		break;
	case '%':
		sink_put(sink, "%", 1, 1);
		return true;
	default:
		return false;
	}
	if (!text) {
		const size_t least = least_digits(spec, prefix);

		for (; value; value /= base)
			digits[sizeof digits - ++n] = set[value % base];
		text = digits + sizeof digits - n;
		zeros = least > n ? least - n : 0;
	}
	put_field(sink, spec, prefix, zeros, text, n);
	return true;
}

static int limited(unsigned n)
{
	return n < FIELD_MAX ? (int)n : FIELD_MAX;
}

/* A decimal number, 0 if there is no digit, or the argument of a `*`. Returns what follows it. */
static const char *parse_number(const char *fmt, int *n, va_list *args)
{
	if (*fmt == '*') {
		*n = va_arg(*args, int);
		return fmt + 1;
	}
	for (*n = 0; *fmt >= '0' && *fmt <= '9'; fmt++)
		*n = limited((unsigned)*n * 10 + (unsigned)(*fmt - '0'));
	return fmt;
}

static const char *parse_length(const char *fmt, int *bits)
{
	const bool twice = (*fmt == 'h' || *fmt == 'l') && fmt[1] == *fmt;

	*bits = 32;
	if (*fmt == 'h')
		*bits = twice ? 8 : 16;
	else if (*fmt && strchr("lztj", *fmt))
		*bits = 64;
	else
		return fmt;
	return fmt + (twice ? 2 : 1);
}

/* Parses what follows a %, taking the arguments of its `*`. Returns where the conversion should stand. */
static const char *parse_spec(const char *fmt, struct spec *spec, va_list *args)
{
	int n;

	spec->flags = 0;
	for (const char *flag; *fmt && (flag = strchr(flag_chars, *fmt)); fmt++)
		spec->flags |= 1u << (flag - flag_chars);
	fmt = parse_number(fmt, &n, args);
	if (n < 0)
		spec->flags |= LEFT;
	spec->width = limited(n < 0 ? -(unsigned)n : (unsigned)n);
	n = -1;
	if (*fmt == '.')
		fmt = parse_number(fmt + 1, &n, args);
	spec->precision = n < 0 ? -1 : limited((unsigned)n);
	return parse_length(fmt, &spec->bits);
}

static void format(struct sink *sink, const char *fmt, va_list *args)
{
	struct spec spec;

	while (*fmt) {
		const char *const start = fmt;
		bool printed = false;

		if (*fmt == '%') {
			fmt = parse_spec(fmt + 1, &spec, args);
			printed = convert(sink, &spec, *fmt, args);
			if (*fmt)
				fmt++;
		} else {
			while (*fmt && *fmt != '%')
				fmt++;
		}
		if (!printed)
			sink_put(sink, start, 1, (size_t)(fmt - start));
	}
}

int vsnprintf(char *buffer, size_t size, const char *fmt, va_list args)
{
	struct sink sink = { .buffer = buffer, .size = size ? size - 1 : 0 };   /* the last byte is the NUL's */
	va_list copy;           /* its address is a va_list *, the parameter's is not */

	va_copy(copy, args);
	format(&sink, fmt, &copy);
	va_end(copy);
	if (size)
		buffer[sink.used] = 0;
	return sink_result(&sink);
}

int snprintf(char *buffer, size_t size, const char *fmt, ...)
{
	va_list args;
	int result;

	va_start(args, fmt);
	result = vsnprintf(buffer, size, fmt, args);
	va_end(args);
	return result;
}

/* Inline, because one frame takes less of kprintf's stack than two. */
static inline int format_to_console(const char *fmt, va_list *args)
{
	char piece[PIECE_SIZE];
	struct sink sink = { .buffer = piece, .size = sizeof piece, .console = true };

	format(&sink, fmt, args);
	sink_flush(&sink);
	return sink_result(&sink);
}

int vkprintf(const char *fmt, va_list args)
{
	va_list copy;
	int result;

	va_copy(copy, args);
	result = format_to_console(fmt, &copy);
	va_end(copy);
	return result;
}

int kprintf(const char *fmt, ...)
{
	va_list args;
	int result;

	va_start(args, fmt);
	result = format_to_console(fmt, &args);
	va_end(args);
	return result;
}
