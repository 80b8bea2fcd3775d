/* The harness's own stub, and a line on the console. */
#include "stub.c"

size_t console_write(const char *text, size_t n);
int console_init(void);

static void announce(void)
{
	static const char ready[] = "specimen: ready\n";

	console_init();
	console_write(ready, sizeof ready - 1);
}
INIT(INIT_LATE, announce);
