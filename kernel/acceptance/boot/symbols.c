/* Acceptance of boot/symbols.c and of the table that the build makes. See spec/boot.md. */
#include "boot.h"
#include "internal.h"
#include "panic.h"
#include "symbols.h"

/* Beside a function of the test's own, kernel functions that every tree has. */
static __attribute__((noinline, used)) int acceptance_static_function(int x)
{
	__asm__ volatile("" : "+r"(x));
	return x * 3;
}

static const struct {
	const void *function;
	const char *name;
} known[] = {
	{ (const void *)kernel_main, "kernel_main" },
	{ (const void *)boot_info, "boot_info" },
	{ (const void *)panic, "panic" },
	{ (const void *)init_run, "init_run" },
	{ (const void *)harness_run, "harness_run" },
	{ (const void *)symbol_lookup, "symbol_lookup" },
	{ (const void *)acceptance_static_function, "acceptance_static_function" },
};

static uint64_t start(uint32_t index)
{
	return KERNEL_BASE + symbol_table[index].offset;
}

/* The table is what it is said to be: ascending, in the text, with names. */
KTEST(boot, symbol_table)
{
	KASSERT(symbol_count > 100);
	KASSERT((uint64_t)symbol_table >= harness_addr(__rodata_start));
	KASSERT((uint64_t)&symbol_table[symbol_count] <= harness_addr(__rodata_end));
	for (uint32_t i = 0; i < symbol_count; i++) {
		KASSERT(start(i) >= harness_addr(__text_start));
		KASSERT(start(i) < harness_addr(__text_end));
		KASSERT(i == 0 || start(i) > start(i - 1));
		KASSERT(symbol_names[symbol_table[i].name] != 0);
		KASSERT(i == 0 || symbol_names[symbol_table[i].name - 1] == 0);
	}
}

KTEST(boot, symbol_lookup)
{
	uint64_t seed = harness_seed();

	KASSERT_EQ(acceptance_static_function(2), 6);
	for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
		const uint64_t at = harness_addr(known[i].function);

		for (uint64_t into = 0; into < 4; into++) {
			uint64_t offset = UINT64_MAX;

			KASSERT_STREQ(symbol_lookup(at + into, &offset), known[i].name);
			KASSERT_EQ(offset, into);
		}
		KASSERT_STREQ(symbol_lookup(at, NULL), known[i].name);
	}
	for (unsigned i = 0; i < 200; i++) {
		const uint64_t at = start(0) + harness_random(&seed) % (harness_addr(__text_end) - start(0));
		uint64_t offset = UINT64_MAX;
		const char *name = symbol_lookup(at, &offset);
		uint32_t index = 0;

		while (index + 1 < symbol_count && start(index + 1) <= at)
			index++;
		KASSERT_STREQ(name, symbol_names + symbol_table[index].name);
		KASSERT_EQ(offset, at - start(index));
	}
}

/* The first and the last byte of the first and of the last function; nothing outside. */
KTEST(boot, symbol_bounds)
{
	const uint32_t last = symbol_count - 1;
	const uint64_t outside[] = {
		0, 0x1000, harness_addr(__kernel_phys_start), UINT64_MAX, KERNEL_BASE, DIRECT_MAP_BASE, start(0) - 1,
		start(0) - KERNEL_BASE, harness_addr(__text_start) - 1, harness_addr(__text_end), harness_addr(known),
		harness_addr(boot_stack_bottom), harness_addr(boot_stack_top),
	};
	uint64_t offset = 0;

	KASSERT_STREQ(symbol_lookup(start(0), &offset), symbol_names + symbol_table[0].name);
	KASSERT_EQ(offset, 0);
	KASSERT_STREQ(symbol_lookup(start(1) - 1, &offset), symbol_names + symbol_table[0].name);
	KASSERT_EQ(offset, start(1) - 1 - start(0));
	KASSERT_STREQ(symbol_lookup(start(last) - 1, NULL), symbol_names + symbol_table[last - 1].name);
	KASSERT_STREQ(symbol_lookup(start(last), &offset), symbol_names + symbol_table[last].name);
	KASSERT_EQ(offset, 0);
	KASSERT_STREQ(symbol_lookup(harness_addr(__text_end) - 1, &offset), symbol_names + symbol_table[last].name);
	KASSERT_EQ(offset, harness_addr(__text_end) - 1 - start(last));
	for (unsigned i = 0; i < sizeof outside / sizeof *outside; i++) {
		offset = 77;
		KASSERT(symbol_lookup(outside[i], &offset) == NULL);
		KASSERT_EQ(offset, 77);
		KASSERT(symbol_lookup(outside[i], NULL) == NULL);
	}
}
