#include "sum.h"

uint64_t sum(uint64_t n)
{
	return n % 2 ? n * ((n + 1) / 2) : n / 2 * (n + 1);
}
