/* Stands in for drivers/console.c while that does not exist, so that boot/ and lib/ can be tested alone. */
#include "internal.h"

enum { COM1 = 0x3f8 };

int console_init(void);
size_t console_write(const char *text, size_t n);

__attribute__((weak)) int console_init(void)
{
	harness_outb(COM1 + 1, 0);
	harness_outb(COM1 + 3, 0x83);
	harness_outb(COM1, 1);
	harness_outb(COM1 + 1, 0);
	harness_outb(COM1 + 3, 0x03);
	harness_outb(COM1 + 2, 0x07);
	harness_outb(COM1 + 4, 0x0b);
	return 0;
}

static void put(char c)
{
	for (int i = 0; i < 1000000 && !(harness_inb(COM1 + 5) & 0x20); i++)
		__asm__ volatile("pause");
	harness_outb(COM1, (uint8_t)c);
}

__attribute__((weak)) size_t console_write(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			put('\r');
		put(text[i]);
	}
	return n;
}
