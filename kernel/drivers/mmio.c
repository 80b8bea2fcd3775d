/* The way to registers in memory: until mm exists the direct map. See spec/drivers.md. */
#include "boot.h"
#include "mmio.h"

/* The direct map reaches this far until mm maps the rest. */
#define REACH (4ul << 30)

/* The mapping is write-back; it is firmware's MTRRs that keep registers out of the caches. */
volatile void *mmio_map(uint64_t phys, size_t size)
{
	/* No sum of the two: what would wrap is beyond reach, too. */
	if (size == 0 || size > REACH || phys > REACH - size)
		return NULL;
	return (volatile void *)(DIRECT_MAP_BASE + phys);
}
