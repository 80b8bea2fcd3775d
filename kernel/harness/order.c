/* The order that a boot asks for of what has none of its own: `opt/auton/order` is `reverse` or a seed in decimal. By a seed
 * they come in the order of a hash of their names, so that two of them come in the same order whatever else is there. */
#include "internal.h"

static enum { UNREAD, GIVEN, REVERSED, SEEDED } order;
static uint64_t seed;

static void read_order(void)
{
	char word[24];

	order = GIVEN;
	if (!fw_cfg_present() || fw_cfg_string("opt/auton/order", word, sizeof word) < 0)
		return;
	if (harness_strcmp(word, "reverse") == 0) {
		order = REVERSED;
		return;
	}
	order = SEEDED;
	seed = harness_number(word);
}

/* FNV-1a, then the finaliser of SplitMix64, since a hash's order of short names that begin alike shows them. */
static uint64_t hash(const char *suite, const char *name)
{
	uint64_t h = 0xCBF29CE484222325ull ^ seed;

	for (; *suite; suite++)
		h = (h ^ (uint8_t)*suite) * 0x100000001B3ull;
	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001B3ull;
	h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9ull;
	h = (h ^ h >> 27) * 0x94D049BB133111EBull;
	return h ^ h >> 31;
}

void order_begin(void)
{
	order = UNREAD;
	seed = 0;
}

int order_compare(const char *suite_a, const char *a, const char *suite_b, const char *b, int given)
{
	if (order == UNREAD)
		read_order();
	if (order == SEEDED) {
		const uint64_t first = hash(suite_a, a), second = hash(suite_b, b);

		return first == second ? given : first < second ? -1 : 1;
	}
	return order == REVERSED ? -given : given;
}
