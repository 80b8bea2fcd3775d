/* Whether who spins gives its turn away: only where there is another processor to take it. See spec/boot.md, "Processors". */
#include <stdbool.h>
#include "cpu.h"
#include "io.h"

/* Of the image's .bss, so false from the first instruction of C on. Changed once, while nobody else runs. */
bool cpu_pauses;

void cpu_pause_enable(void)
{
	cpu_pauses = true;
}
