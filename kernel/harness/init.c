/* Init functions, in level order whatever order the linker left them in, or the boot asks for. */
#include "internal.h"

extern const struct init *__start_inits[], *__stop_inits[];

/* By insertion; they come as they are unless the boot asks for something else. */
static void sort(const struct init **table, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		const struct init *moved = table[i];
		size_t j = i;

		for (; j && order_compare("", table[j - 1]->name, "", moved->name, -1) > 0; j--)
			table[j] = table[j - 1];
		table[j] = moved;
	}
}

volatile uint64_t harness_level_ticks[10];

void init_run(void)
{
	order_begin();
	sort(__start_inits, (size_t)(__stop_inits - __start_inits));
	for (int level = 0; level <= 9; level++) {
		const uint64_t start = harness_ticks();

		for (const struct init **entry = __start_inits; entry != __stop_inits; entry++)
			if ((*entry)->level == level)
				(*entry)->fn();
		harness_level_ticks[level] = harness_ticks() - start;
	}
}
