#include "harness.h"
#include "sum.h"

KTEST(lib, sum_of_one)
{
	KASSERT_EQ(sum(1), 1);
	KASSERT(sum(1) != 2);
}

KTEST(lib, sum_grows)
{
	for (uint64_t n = 0; n < 100; n++)
		KASSERT_EQ(sum(n + 1), sum(n) + n + 1);
}

KBENCH(lib, sum)
{
	for (uint64_t i = 0; i < n; i++)
		sum(i);
}
