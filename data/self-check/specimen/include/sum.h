#pragma once
#include <stdint.h>

/* The sum of the whole numbers from 1 to n. */
uint64_t sum(uint64_t n);
