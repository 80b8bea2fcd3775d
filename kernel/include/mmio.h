/* The way to registers in memory; no driver has another. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Registers, or firmware's tables, size bytes at a physical address of any alignment. NULL: size is 0, it wraps, or it
 * cannot be had. Mapped for good: a pointer once given stays right. Until mm exists it is the direct map, below 4 GiB.
 * May be called by any number of processors at once, not from interrupts. */
volatile void *mmio_map(uint64_t phys, size_t size);
