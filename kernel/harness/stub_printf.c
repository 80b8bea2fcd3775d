/* Stands in for lib/printf.c while that does not exist: %d %u %x %s %c %p, the lengths l and z, a
 * width, the flag 0; no precision. Lines of kprintf are cut at 511 bytes. */
#include <stdarg.h>
#include "internal.h"

int vsnprintf(char *buffer, size_t size, const char *fmt, va_list args);
int snprintf(char *buffer, size_t size, const char *fmt, ...);
int vkprintf(const char *fmt, va_list args);
int kprintf(const char *fmt, ...);
size_t console_write(const char *text, size_t n);

struct out {
	char *buffer;
	size_t size, length;
};

static void put(struct out *out, char c)
{
	if (out->length + 1 < out->size)
		out->buffer[out->length] = c;
	out->length++;
}

static void put_number(struct out *out, uint64_t value, unsigned base, int width, char pad)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	for (; width > n; width--)
		put(out, pad);
	while (n)
		put(out, digits[--n]);
}

__attribute__((weak)) int vsnprintf(char *buffer, size_t size, const char *fmt, va_list args)
{
	struct out out = { buffer, size, 0 };

	for (; *fmt; fmt++) {
		int width = 0;
		bool wide = false;
		char pad = ' ';

		if (*fmt != '%') {
			put(&out, *fmt);
			continue;
		}
		fmt++;
		if (*fmt == '0')
			pad = '0';
		while (*fmt >= '0' && *fmt <= '9')
			width = width * 10 + *fmt++ - '0';
		while (*fmt == 'l' || *fmt == 'z')
			wide = true, fmt++;
		if (*fmt == 's') {
			const char *s = va_arg(args, const char *);

			for (s = s ? s : "(null)"; *s; s++)
				put(&out, *s);
		} else if (*fmt == 'c') {
			put(&out, (char)va_arg(args, int));
		} else if (*fmt == 'd') {
			int64_t value = wide ? va_arg(args, int64_t) : va_arg(args, int);

			if (value < 0)
				put(&out, '-');
			put_number(&out, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, pad);
		} else if (*fmt == 'u' || *fmt == 'x') {
			put_number(&out, wide ? va_arg(args, uint64_t) : va_arg(args, unsigned), *fmt == 'x' ? 16 : 10, width, pad);
		} else if (*fmt == 'p') {
			put(&out, '0');
			put(&out, 'x');
			put_number(&out, va_arg(args, uint64_t), 16, 16, '0');
		} else if (*fmt) {
			put(&out, *fmt);
		} else {
			break;
		}
	}
	if (size)
		buffer[out.length < size ? out.length : size - 1] = 0;
	return (int)out.length;
}

__attribute__((weak)) int snprintf(char *buffer, size_t size, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(buffer, size, fmt, args);
	va_end(args);
	return n;
}

__attribute__((weak)) int vkprintf(const char *fmt, va_list args)
{
	char line[512];
	int n = vsnprintf(line, sizeof line, fmt, args);

	console_write(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
	return n;
}

__attribute__((weak)) int kprintf(const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vkprintf(fmt, args);
	va_end(args);
	return n;
}
