/* I/O ports, one instruction each, and the pause of a spin. No errors; may be called in any context. Ports 0x2f8-0x2ff,
 * 0x510-0x511 and 0xf4 are the harness's: the kernel does not touch them. The "memory" clobber keeps the compiler
 * from moving memory accesses across the instruction. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Writes 1 byte to the port. */
static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* Writes 2 bytes to the port. */
static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* Writes 4 bytes to the port. */
static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* The byte that the port gives; 0xff where nobody answers. */
static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* The 2 bytes that the port gives. */
static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* The 4 bytes that the port gives. */
static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Whether cpu_pause is `pause`: from the first cpu_pause_enable (cpu.h) on. boot/pause.c. */
extern bool cpu_pauses;

/* In every spin: `pause` where another processor is there to take the turn, else nothing. Either way the compiler reads
 * memory again, cpu_pauses too: that may change while somebody spins. */
static inline void cpu_pause(void)
{
	__asm__ volatile("" : : : "memory");
	if (cpu_pauses)
		__asm__ volatile("pause" : : : "memory");
}
