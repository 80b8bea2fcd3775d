/* The console on the first serial port. See spec/drivers.md. */
#include <stdbool.h>
#include "console.h"
#include "serial.h"

/* port is 0 until console_init() succeeds; a later failure leaves it as it was.
 * There is no lock, so that any context can write, a panic in the middle of a write too. Processors that saw the
 * transmitter empty at the same time lose nothing: each then writes one byte, and the UART's FIFO holds 16. */
static struct serial uart;

int console_init(void)
{
	return serial_init(&uart, SERIAL_COM1, 115200);
}

size_t console_write(const char *text, size_t n)
{
	size_t written;

	if (uart.port == 0)
		return 0;
	for (written = 0; written < n; written++) {
		const bool newline = text[written] == '\n';
		const size_t length = newline ? 2 : 1;

		/* A newline of which only the carriage return went out is not written. */
		if (serial_write(&uart, newline ? "\r\n" : &text[written], length) != length)
			break;
	}
	return written;
}
