/* Formatted output. No function has state; all may be called in any context, on any number of processors at once.
 *
 * Formats: %[flags][width][.precision][length]conversion, as in C, with
 *   flags       - 0 + space #
 *   width       decimal or *; above 4095 counts as 4095
 *   precision   decimal, none (0) or *; likewise
 *   length      hh h, and l ll z t j, which are all 64 bits
 *   conversion  d i u x X c s p %
 * %s prints NULL as (null); %p prints 0x and 16 digits, NULL too. What is not in this table, o b n and floating point
 * among it, is printed as it stands from its % on and takes no argument (a * before it has taken its own), even where
 * the compiler's check of formats lets it pass.
 *
 * A result above INT_MAX is -1 instead, and the text cut. There are no other errors. */
#pragma once
#include <stdarg.h>
#include <stddef.h>

/* Formats into size bytes at most, NUL included; buffer may be NULL if size is 0. The text is always ended if size > 0.
 * The result is the length that the whole text would have had, without NUL: it was cut if that is not less than size.
 * vsnprintf leaves args indeterminate, as in C; va_end is the caller's. */
int vsnprintf(char *buffer, size_t size, const char *fmt, va_list args) __attribute__((format(printf, 3, 0)));
int snprintf(char *buffer, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same onto the console, of any length: no line is too long. The result is the number of characters, a newline
 * counting once, also when the UART stops. Before console_init() it goes nowhere. Flushed on return. Uses at most 512
 * bytes of stack; may be called in any context. */
int vkprintf(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
int kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
