/* The console on the first serial port, written by polling. What is typed there is console_irq.c's. See
 * spec/drivers.md. */
#include <stdbool.h>
#include <stdint.h>
#include "console.h"
#include "cpu.h"
#include "io.h"
#include "panic.h"
#include "serial.h"
#include "spinlock.h"

#define RFLAGS_IF (1u << 9)

/* port is 0 until console_init() succeeds; a later failure leaves it as it was. It is console_irq.c's too. */
extern struct serial console_uart;
struct serial console_uart;

/* Held, interrupts off, by who sets up the UART or writes, once there are other processors and until a panic begins.
 * Processors that write without it lose nothing when they see the transmitter empty at the same time: each then writes
 * one byte, and the UART's FIFO holds 16. */
static struct spinlock lock;

/* Takes the lock, interrupts off; true: give it back with *flags, RFLAGS as they were. false: the call goes on without,
 * interrupts as they were. With one processor, as before gdt_load, when a lock cannot be used, there is nobody to wait
 * for; in a panic who holds it may have been stopped, so who waits looks whether one has begun. Interrupts are let in
 * between tries: a line takes milliseconds. */
static bool lock_take(uint64_t *flags)
{
	if (cpu_count() == 1)
		return false;
	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(*flags) : : "memory");
	while (!panic_begun()) {
		__asm__ volatile("cli" : : : "memory");
		if (spin_trylock(&lock))
			return true;
		if (*flags & RFLAGS_IF)
			__asm__ volatile("sti" : : : "memory");
		cpu_pause();
	}
	return false;
}

int console_init(void)
{
	uint64_t flags;
	const bool locked = lock_take(&flags);
	const int err = serial_init(&console_uart, SERIAL_COM1, 115200);

	if (locked)
		spin_unlock_irqrestore(&lock, flags);
	return err;
}

size_t console_write(const char *text, size_t n)
{
	uint64_t flags;
	size_t written;
	bool locked;

	if (console_uart.port == 0)
		return 0;
	locked = lock_take(&flags);
	for (written = 0; written < n; written++) {
		const bool newline = text[written] == '\n';
		const size_t length = newline ? 2 : 1;

		/* A newline of which only the carriage return went out is not written. */
		if (serial_write(&console_uart, newline ? "\r\n" : &text[written], length) != length)
			break;
	}
	if (locked)
		spin_unlock_irqrestore(&lock, flags);
	return written;
}
