/* Ranges of addresses or numbers that a plugin is told as FIRST+SIZE, in hexadecimal. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { RANGES = 4 };

struct ranges {
	struct {
		uint64_t first, size;
	} all[RANGES];
	unsigned count;
};

static bool meets(const struct ranges *ranges, uint64_t first, uint64_t length)
{
	for (unsigned i = 0; i < ranges->count; i++)
		if (first - ranges->all[i].first < ranges->all[i].size || ranges->all[i].first - first < length)
			return true;
	return false;
}

static bool add(struct ranges *ranges, const char *text)
{
	char *end;

	if (ranges->count == RANGES)
		return false;
	ranges->all[ranges->count].first = strtoull(text, &end, 16);
	ranges->all[ranges->count].size = strtoull(*end ? end + 1 : end, NULL, 16);
	return ranges->all[ranges->count++].size != 0;
}
