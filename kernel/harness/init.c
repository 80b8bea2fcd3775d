/* Init functions, in level order whatever order the linker left them in. */
#include "harness.h"

extern const struct init *const __start_inits[];
extern const struct init *const __stop_inits[];

void init_run(void)
{
	for (int level = 0; level <= 9; level++)
		for (const struct init *const *entry = __start_inits; entry != __stop_inits; entry++)
			if ((*entry)->level == level)
				(*entry)->fn();
}
