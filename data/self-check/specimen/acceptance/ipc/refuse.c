#include "harness.h"
#include "refuse.h"

KPANIC(ipc, refuse)
{
	refuse_sum();
}
