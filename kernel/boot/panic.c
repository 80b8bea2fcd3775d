/* The end of a kernel that cannot go on. */
#include <stdarg.h>
#include <stdatomic.h>
#include "harness.h"
#include "panic.h"
#include "printf.h"

enum { MESSAGE_SIZE = 256 };            /* with the NUL */

_Noreturn void panic(const char *fmt, ...)
{
	static atomic_flag panicking = ATOMIC_FLAG_INIT;
	char message[MESSAGE_SIZE];
	va_list args;

	__asm__ volatile("cli" : : : "memory");
	if (atomic_flag_test_and_set(&panicking))
		harness_panic(fmt);     /* as it stands: formatting or the console may be what failed */
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	kprintf("panic: %s\n", message);
	harness_panic(message);
}
