/* A QEMU plugin that follows where a kernel's processor goes in code that is to be believed: the harness and the acceptance
 * tests. It writes to the file `to`, each instruction once,
 *     entered PC FROM    where other code came in elsewhere than at a function that is for it, behind a call, or where it was
 *                        interrupted; it had left at FROM
 *     skipped PC TEST    where the call of a test came back, and the test had not come to its end
 * in hexadecimal; last of all `end`. `functions` is a file with all functions of that code, by address, a line each: FIRST SIZE OWNER
 * OPEN; owner is the function that it is a part of, open is 1 for those that other code may call. `calls` is the function that
 * calls a test, by a jump at `jump`. For machines with one processor: what is executed is counted without a lock. */
#include <stdlib.h>
#include <string.h>
#include "findings.h"

enum { RETURNS = 1 << 16, INTERRUPTED = 1024, BEHIND = 8 };

struct function {
	uint64_t first, size, owner;
	unsigned open;
};

/* Instructions that are executed one after the other, and how the last one goes on. */
struct block {
	const struct function *function;
	uint64_t first, end, target;                    /* target: of the last, if it is told by the instruction */
	enum { ONWARD, CALL, JUMP, RETURN } last;       /* JUMP: with a condition or without */
	bool was_interrupted;
};

static struct function *functions;
static size_t functions_count;
static uint64_t calls, jump;

static uint64_t executed, seen;                         /* blocks of all code; up to the last of the trusted */
static struct block *last;
static uint64_t returns[RETURNS];                       /* where calls that were made come back to; each in the place of its lowest bits, or behind */
static struct block *interrupted[INTERRUPTED];          /* each once; the oldest goes */
static unsigned interrupted_count;
static uint64_t behind[BEHIND];                         /* those of the returns that are a test's */
static unsigned behind_count;
static bool test_begins;
static uint64_t test;                                   /* the trusted function that runs as a test; 0: another */

static const struct function *function_at(uint64_t pc)
{
	size_t low = 0, high = functions_count;

	while (low < high) {
		const size_t middle = (low + high) / 2;

		if (functions[middle].first + functions[middle].size <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < functions_count && pc >= functions[low].first ? &functions[low] : NULL;
}

static uint64_t *return_place(uint64_t pc)
{
	size_t place = pc % RETURNS;

	while (returns[place] && returns[place] != pc)
		place = (place + 1) % RETURNS;
	return &returns[place];
}

/* Whether other code can be executed behind it only if it was interrupted. */
static bool stays(const struct block *block)
{
	switch (block->last) {
	case RETURN:
		return false;
	case CALL:
		return function_at(block->target);
	case JUMP:
		return block->target ? function_at(block->target) != NULL : block->first != jump;
	default:
		return true;
	}
}

/* Where an interrupt between two instructions of it, or behind it, goes back to. */
static bool goes_on(const struct block *block, uint64_t pc)
{
	return (pc >= block->first && pc <= block->end) || (block->target && pc == block->target) ||
	       (block->last == JUMP && !block->target && function_at(pc) && function_at(pc)->owner == block->function->owner);
}

static bool was_interrupted(uint64_t pc)
{
	for (unsigned i = 0; i < INTERRUPTED && interrupted[i]; i++)
		if (goes_on(interrupted[i], pc))
			return true;
	return false;
}

static bool is_behind_test(uint64_t pc)
{
	for (unsigned i = 0; i < behind_count; i++)
		if (behind[i] == pc)
			return true;
	return false;
}

static void block_executed(unsigned processor, void *data)
{
	struct block *const now = data;
	const bool came = executed != seen + 1;         /* from other code */
	const uint64_t owner = now->function->owner;

	(void)processor;
	seen = executed;
	if (came && last && !last->was_interrupted && stays(last)) {
		last->was_interrupted = true;
		interrupted[interrupted_count++ % INTERRUPTED] = last;
	}
	if (came && !(now->function->open && now->first == now->function->first) && !*return_place(now->first) &&
	    !was_interrupted(now->first))
		tell("entered", now->first, last ? last->end : 0);
	if (test_begins) {
		test = came ? 0 : owner;
		test_begins = false;
	} else if (is_behind_test(now->first)) {
		if (test)
			tell("skipped", now->first, test);
		test = 0;
	} else if (test && !came && last->last == JUMP && last->function->owner == test && now->first == owner) {
		test = owner;                           /* its end is another's */
	}
	/* Whoever runs from here on until it comes back. */
	if (test == owner && (now->last == RETURN || (now->last == JUMP && now->target && !function_at(now->target))))
		test = 0;
	if (now->first == jump)
		test_begins = true;
	if (now->last == CALL) {
		*return_place(now->end) = now->end;
		if (now->target == calls && !is_behind_test(now->end) && behind_count < BEHIND)
			behind[behind_count++] = now->end;
	}
	last = now;
}

/* How a block goes on after its last instruction. */
static void classify(struct block *block, const uint8_t *bytes, size_t size)
{
	int64_t distance = 0;
	bool is_direct = true;
	size_t i = 0;

	while (i + 1 < size && (bytes[i] == 0x66 || bytes[i] == 0xf2 || bytes[i] == 0xf3 || bytes[i] == 0x3e || bytes[i] >> 4 == 4))
		i++;
	if (bytes[i] == 0xe8 || bytes[i] == 0xe9 || (bytes[i] == 0x0f && i + 1 < size && bytes[i + 1] >> 4 == 8))
		distance = (int32_t)((uint32_t)bytes[size - 4] | (uint32_t)bytes[size - 3] << 8 | (uint32_t)bytes[size - 2] << 16 |
				     (uint32_t)bytes[size - 1] << 24);
	else if (bytes[i] == 0xeb || bytes[i] >> 4 == 7 || (bytes[i] & ~3) == 0xe0)
		distance = (int8_t)bytes[size - 1];
	else
		is_direct = false;
	if (bytes[i] == 0xe8 || (bytes[i] == 0xff && i + 1 < size && (bytes[i + 1] >> 3 & 7) == 2))
		block->last = CALL;
	else if (bytes[i] == 0xc2 || bytes[i] == 0xc3)
		block->last = RETURN;
	else if (is_direct || (bytes[i] == 0xff && i + 1 < size && (bytes[i + 1] >> 3 & 7) == 4))
		block->last = JUMP;
	block->target = is_direct ? block->end + (uint64_t)distance : 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	const struct function *function = function_at(qemu_plugin_tb_vaddr(tb));
	struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, qemu_plugin_tb_n_insns(tb) - 1);
	struct block *block;

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &executed, 1);
	if (!function)
		return;
	block = calloc(1, sizeof *block);
	if (!block)
		abort();
	block->function = function;
	block->first = qemu_plugin_tb_vaddr(tb);
	block->end = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
	classify(block, qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));
	qemu_plugin_register_vcpu_tb_exec_cb(tb, block_executed, 0, block);
}

static bool read_functions(const char *path)
{
	FILE *file = fopen(path, "r");
	struct function f;

	while (file && fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %u", &f.first, &f.size, &f.owner, &f.open) == 4) {
		functions = realloc(functions, (functions_count + 1) * sizeof f);
		if (!functions)
			return false;
		functions[functions_count++] = f;
	}
	return functions_count && fclose(file) == 0;
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	bool good = false;

	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value)
			return 1;
		value++;
		if (strncmp(argv[i], "functions=", 10) == 0)
			good = read_functions(value);
		else if (strncmp(argv[i], "calls=", 6) == 0)
			calls = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "jump=", 5) == 0)
			jump = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "to=", 3) == 0)
			to = fopen(value, "w");
	}
	if (!good || !to)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
