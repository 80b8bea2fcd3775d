/* A 16550 UART, polled. Nothing here allocates, sleeps or needs interrupts; every wait is bounded. All functions may be
 * called in any context, by one caller at a time for each UART. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SERIAL_COM1  0x3f8
#define SERIAL_COM3  0x3e8
#define SERIAL_COM4  0x2e8              /* COM2 is not the kernel's */
#define SERIAL_CLOCK 115200u            /* baud rate = SERIAL_CLOCK / divisor */

/* One UART. port 0: not initialised. The owner serialises calls. */
struct serial {
	uint16_t port;
};

/* Finds a UART at the port and sets it to 8 data bits, no parity, 1 stop bit, FIFOs on, interrupts off. Whatever was in
 * the FIFOs is lost. On success 0 and s->port is set; otherwise *s is unchanged:
 * -EINVAL: s is NULL, port is none of the three above, or baud is 0, does not divide SERIAL_CLOCK, or needs a divisor
 *          above 65535; no port is touched.
 * -ENODEV: the scratch register does not hold what is written to it; nothing else is touched.
 * -EIO: the loopback test failed; loopback is off again. */
int serial_init(struct serial *s, uint16_t port, unsigned baud);

/* Sends n bytes as they are, waiting for room before each; how many were sent. Fewer than n only if the UART
 * had no room for a million polls. n = 0: 0, and data may be NULL. *s must be initialised; not checked. */
size_t serial_write(const struct serial *s, const void *data, size_t n);

/* The next received byte, 0 to 255; -EAGAIN if there is none. Does not wait. *s must be initialised; not checked. */
int serial_read(const struct serial *s);
