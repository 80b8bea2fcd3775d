/* The names of the image's own functions: all of .text, static ones too, and nasm's labels there that have no dot. */
#pragma once
#include <stdint.h>

/* The build makes these: the functions of the image, in .rodata. */
struct symbol {
	uint32_t offset;        /* the function begins at KERNEL_BASE + offset */
	uint32_t name;          /* symbol_names + name, ended */
};
extern const struct symbol symbol_table[];      /* ascending, no address twice */
extern const uint32_t symbol_count;
extern const char symbol_names[];

/* The name of the function that the address is in, and in *offset (unless NULL) how many bytes from its beginning:
 * that of the last entry not above it. NULL, *offset unchanged: it is below the first entry or not in
 * __text_start..__text_end. Any context. */
const char *symbol_lookup(uint64_t address, uint64_t *offset);
