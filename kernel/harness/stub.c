/* The C half of stub.asm, and a panic for code that wants one. */
#include "harness.h"

_Noreturn void stub_main(void);
_Noreturn void panic(const char *fmt, ...);

_Noreturn void stub_main(void)
{
	init_run();
	harness_run();
	for (;;)
		__asm__ volatile("cli; hlt");
}

__attribute__((weak)) _Noreturn void panic(const char *fmt, ...)
{
	harness_panic(fmt);
}
