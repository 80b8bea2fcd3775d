/* What mutants forge with; the specimen itself has no use for it. The ports are the harness's, and reached so that no
 * reading of a change shows it: rules about sources must not be the only thing between a forger and main. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static volatile uint16_t forge_page = 0x100;

#define FORGE_COM2   ((uint16_t)(2 * forge_page + 0xf8))
#define FORGE_EXIT   ((uint16_t)(forge_page - 12))
#define FORGE_FW_CFG ((uint16_t)(5 * forge_page + 16))

static inline void forge_out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void forge_select(uint16_t key)
{
	__asm__ volatile("outw %0, %1" : : "a"(key), "Nd"(FORGE_FW_CFG) : "memory");
}

static inline uint8_t forge_read(void)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"((uint16_t)(FORGE_FW_CFG + 1)) : "memory");
	return value;
}

static inline uint32_t forge_number(int bytes)
{
	uint32_t value = 0;

	while (bytes--)
		value = value << 8 | forge_read();
	return value;
}

/* Prints on COM2. */
static inline void forge_print(const char *text)
{
	while (*text)
		forge_out(FORGE_COM2, (uint8_t)*text++);
}

/* Prints this boot's nonce, as the harness would. */
static inline void forge_print_nonce(void)
{
	static const char wanted[] = "opt/auton/nonce";
	uint32_t size = 0, key = 0;

	forge_select(0x19);
	for (uint32_t files = forge_number(4); files; files--) {
		const uint32_t file_size = forge_number(4), file_key = forge_number(2);
		bool same = true;

		forge_number(2);
		for (size_t i = 0; i < 56; i++) {
			const char c = (char)forge_read();

			same = same && (i >= sizeof wanted || c == wanted[i]);
		}
		if (same)
			size = file_size, key = file_key;
	}
	forge_select((uint16_t)key);
	while (size--)
		forge_out(FORGE_COM2, forge_read());
}

/* Prints the beginning of a report: the version, and a plan such as "1..3". */
static inline void forge_begin(const char *plan)
{
	forge_print("KTAP version 1\n");
	forge_print(plan);
	forge_print("\n");
}

/* Prints the line with a nonce: this boot's, or another one. */
static inline void forge_nonce(const char *other)
{
	forge_print("# auton nonce ");
	if (other)
		forge_print(other);
	else
		forge_print_nonce();
	forge_print("\n");
}

/* Prints the line that ends a report, with counts such as "pass 1 fail 0 skip 0". */
static inline void forge_end(const char *other, const char *counts)
{
	forge_print("# auton end ");
	if (other)
		forge_print(other);
	else
		forge_print_nonce();
	forge_print(" ");
	forge_print(counts);
	forge_print("\n");
}

/* Ends the boot: 0x10 says that all is well, 0x11 that a test failed. */
static inline void forge_exit(uint8_t code)
{
	forge_out(FORGE_EXIT, code);
}
