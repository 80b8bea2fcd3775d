/* The console: the kernel's one place to write text to, and what is typed there. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Puts the console on COM1 at 115200 baud, its interrupts off. 0, or serial_init's error (-ENODEV, -EIO); may be
 * called again at any time. Works in any context; needs no interrupts; every wait is bounded. */
int console_init(void);

/* Writes n bytes; every newline goes out as carriage return, newline; all else as it is. How many of the n bytes were
 * written: n, or fewer if the UART stopped taking them, or 0 before console_init() succeeded. n = 0: 0, and text may
 * be NULL. Works in any context. With several processors what one call writes is not mixed with another's, but after
 * panic_begun(), when it may be; bytes are not lost. */
size_t console_write(const char *text, size_t n);

/* COM1's receiver interrupts from now on: into a ring of 256 bytes. 0, or irq_alloc_vector's or irq_connect's error
 * (-ENOSPC, -ENODEV). May be called again: after each console_init(), which switches it off. From INIT_DEVICES on, the
 * first time on the boot processor; one caller at a time, not from interrupts. */
int console_listen(void);

/* The oldest byte received, 0 to 255, taken from the ring; -EAGAIN: none. Does not wait. Any context. */
int console_read(void);

/* Bytes lost since boot since the ring was full. No errors. Any context. */
uint64_t console_overruns(void);
