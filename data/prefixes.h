/* What may stand before an instruction of x86. Most of it changes nothing for most of them, and all of it may be there again and again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static bool is_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:       /* segments */
	case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:                  /* sizes, lock, repetition */
		return true;
	default:
		return byte >> 4 == 4;                                          /* REX, which counts where it comes last */
	}
}

/* Of an instruction's bytes, those before what says which it is. */
static size_t prefixes(const uint8_t *code, size_t size)
{
	size_t i = 0;

	while (i + 1 < size && is_prefix(code[i]))
		i++;
	return i;
}
