/* Init functions, in level order whatever order the linker left them in. */
#include "internal.h"

extern const struct init *const __start_inits[];
extern const struct init *const __stop_inits[];

volatile uint64_t harness_level_ticks[10];

void init_run(void)
{
	for (int level = 0; level <= 9; level++) {
		const uint64_t start = harness_ticks();

		for (const struct init *const *entry = __start_inits; entry != __stop_inits; entry++)
			if ((*entry)->level == level)
				(*entry)->fn();
		harness_level_ticks[level] = harness_ticks() - start;
	}
}
