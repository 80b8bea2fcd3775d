/* An address's function, by name: a search in the table that the build makes. */
#include <stddef.h>
#include "boot.h"
#include "symbols.h"

/* kernel.ld; only their addresses mean anything, and these are compared as integers: no array has such bounds. */
extern const char __text_start[], __text_end[];

const char *symbol_lookup(uint64_t address, uint64_t *offset)
{
	const uint64_t at = address - KERNEL_BASE;      /* meaningful once the address is known to be in the text */
	uint32_t low = 0, high = symbol_count;

	if (address < (uint64_t)__text_start || address >= (uint64_t)__text_end)
		return NULL;

	/* The entries before low are not above the address, those from high on are. */
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (symbol_table[middle].offset <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	if (offset)
		*offset = at - symbol_table[low - 1].offset;
	return symbol_names + symbol_table[low - 1].name;
}
