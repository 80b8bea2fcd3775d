/* The console: the kernel's one place to write text to. */
#pragma once
#include <stddef.h>

/* Puts the console on COM1 at 115200 baud. 0, or serial_init's error (-ENODEV, -EIO); may be called again at any time.
 * Works in any context; needs no interrupts; every wait is bounded. */
int console_init(void);

/* Writes n bytes; every newline goes out as carriage return, newline; all else as it is. How many of the n bytes were
 * written: n, or fewer if the UART stopped taking them, or 0 before console_init() succeeded. n = 0: 0, and text may be
 * NULL. Works in any context; text from several processors may mix, bytes are not lost. */
size_t console_write(const char *text, size_t n);
