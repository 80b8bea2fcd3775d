#include "harness.h"
#include "sum.h"

KTEST(lib, sum)
{
	KASSERT_EQ(sum(10), 55);
	KASSERT_EQ(sum(0), 0);
}
