/* A QEMU plugin that follows where a kernel's processor goes in code that is to be believed: the harness and the acceptance
 * tests. It writes to the file `to`
 *     entered PC FROM    where it came in, and that was not at a function that is open to others, behind a call that was made and had
 *                        not come back, or where it was interrupted; it had left at FROM
 * in hexadecimal, each PC once, `done PC` whenever a test comes back whose function begins there and had come to its end, and last of all `end`.
 *
 * `functions` is a file with all functions of that code, by address, a line each: FIRST SIZE OWNER KIND; owner is the function that it is a
 * part of, kind is below. `calls` is the function that calls a test, by a jump at `jump`. For machines with one processor: what is
 * executed is counted without a lock. */
#include <stdlib.h>
#include <string.h>
#include "findings.h"
#include "prefixes.h"

enum { PLACES = 1 << 16 };

struct function {
	uint64_t first, size, owner;
	/* OPEN: other code may call it; LABEL: too, and trusted code may call any place in it; TEST: only the harness may, by its jump. */
	enum { CLOSED, OPEN, LABEL, TEST } kind;
};

/* Where calls come back to, and how many have not. */
struct place {
	uint64_t pc;
	unsigned calls;
	bool is_tests;                                  /* they are calls of tests */
};

/* Instructions that are executed one after the other, and how the last one goes on. */
struct block {
	const struct function *function, *to;           /* to: where target is, if that is trusted */
	uint64_t first, end, target;                    /* target: of the last, if it is told by the instruction; else 0 */
	struct place *place;                            /* what calls come back to here; NULL: none that was among the first `places_known` */
	size_t places_known;
	enum { ONWARD, CALL, JUMP, RETURN } last;       /* JUMP: with a condition or without */
	bool was_interrupted;
	bool is_plain;                                  /* goes on to the next, or where the instruction says, within its function, and no test begins by that */
};

static struct function *functions;
static size_t functions_count;
static uint64_t calls, jump;

static uint64_t executed, seen;                         /* blocks of all code; up to the last of the trusted */
static struct block *last;
static struct place places[PLACES];                     /* each in the place of its lowest bits, or behind */
static size_t places_count;
static struct block **interrupted;                      /* each that ever was */
static size_t interrupted_count;

/* The test that runs: where it begins, which function is to come to its end, and whether it has; `maybe`: if nothing more of it is executed. */
static struct {
	uint64_t first, owner;
	bool begins, done, maybe;
} test;

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

static bool is_start(const struct block *block)
{
	return block->first == block->function->first;
}

static struct place *place_of(uint64_t pc)
{
	size_t i = pc % PLACES;

	while (places[i].pc && places[i].pc != pc)
		i = (i + 1) % PLACES;
	return &places[i];
}

static void call_made(const struct block *block)
{
	struct place *place = place_of(block->end);

	if (!place->pc && ++places_count == PLACES)
		abort();
	place->pc = block->end;
	place->calls++;
	place->is_tests = block->target == calls;
}

/* NULL if no call ever was to come back there. */
static struct place *place_at(struct block *block)
{
	if (!block->place && block->places_known != places_count) {
		struct place *place = place_of(block->first);

		block->place = place->pc ? place : NULL;
		block->places_known = places_count;
	}
	return block->place;
}

static bool comes_back(struct block *block)
{
	struct place *place = place_at(block);

	if (!place || !place->calls)
		return false;
	place->calls--;
	return true;
}

/* Whether other code can be executed behind it only if it was interrupted. */
static bool stays(const struct block *block)
{
	if (block->last == RETURN || block->first == jump)
		return false;
	return block->last == ONWARD || !block->target || block->to;
}

/* Whether it goes on there if it is interrupted, before its last instruction or behind it. */
static bool goes_on(const struct block *block, const struct block *now)
{
	const uint64_t pc = now->first;

	if ((pc >= block->first && pc < block->end) || (block->target && pc == block->target))
		return true;
	switch (block->last) {
	case CALL:
		return !block->target && (is_start(now) || now->function->kind == LABEL);
	case JUMP:
		return block->target ? pc == block->end : now->function->owner == block->function->owner || is_start(now);
	default:
		return pc == block->end;
	}
}

static void was_left(struct block *block)
{
	if (block->was_interrupted)
		return;
	interrupted = realloc(interrupted, (interrupted_count + 1) * sizeof *interrupted);
	if (!interrupted)
		abort();
	interrupted[interrupted_count++] = block;
	block->was_interrupted = true;
}

/* As often as it likes: which of several threads goes on where, nobody knows. */
static bool goes_on_again(const struct block *now)
{
	for (size_t i = 0; i < interrupted_count; i++)
		if (goes_on(interrupted[i], now))
			return true;
	return false;
}

/* Whether it is what the harness has jumped to. */
static bool begins_test(const struct block *now)
{
	return test.begins && is_start(now) && now->function->kind == TEST;
}

/* came: other code was executed since the last block. */
static bool may_come(struct block *now, bool came)
{
	if (!came && last) {
		if (now->first > last->first && now->first < last->end)
			return true;                    /* QEMU cuts a block for input and output */
		if (last->last == RETURN)
			return comes_back(now);
		return last->last == ONWARD || last->target || begins_test(now) || goes_on(last, now);
	}
	return begins_test(now) || (is_start(now) && (now->function->kind == OPEN || now->function->kind == LABEL)) || comes_back(now) || goes_on_again(now);
}

static void follow_test(struct block *now)
{
	const uint64_t owner = now->function->owner;
	const struct place *place = place_at(now);

	if (place && place->is_tests) {
		if (test.owner && (test.done || test.maybe))
			fprintf(to, "done %" PRIx64 "\n", test.first);
		memset(&test, 0, sizeof test);
	}
	if (begins_test(now)) {
		test.first = test.owner = owner;
		test.begins = false;
	}
	if (test.owner == owner) {
		test.maybe = now->last == JUMP && !now->target;
		if (now->last == RETURN || (now->last == JUMP && now->target && !now->to))
			test.done = true;
		else if (now->last == JUMP && now->to && now->to->owner != owner && now->to->first == now->target)
			test.owner = now->to->owner;            /* its end is another's */
	}
	if (now->first == jump)
		test.begins = true;
}

static __attribute__((noinline)) void follow(struct block *now)
{
	const bool came = executed != seen + 1;

	seen = executed;
	if (came && last && stays(last))
		was_left(last);
	if (!may_come(now, came))
		tell("entered", now->first, last ? last->end : 0);
	follow_test(now);
	if (now->last == CALL)
		call_made(now);
	last = now;
}

/* Most of what following takes is taken here. From within a function to within it: there is nothing to see. */
static void block_executed(unsigned processor, void *data)
{
	struct block *const now = data;

	(void)processor;
	if (executed == seen + 1 && last && last->is_plain && now->is_plain && !now->place && now->places_known == places_count) {
		seen = executed;
		last = now;
	} else
		follow(now);
}

/* How a block goes on after its last instruction, of which there may be a part only: that is executed by the next block. */
static void classify(struct block *block, const uint8_t *bytes, size_t size)
{
	const size_t i = prefixes(bytes, size);
	const uint8_t next = i + 1 < size ? bytes[i + 1] : 0;
	size_t wanted = 0;

	if (bytes[i] == 0xe8 || bytes[i] == 0xe9)
		wanted = i + 5;
	else if (bytes[i] == 0x0f && next >> 4 == 8)
		wanted = i + 6;
	else if (bytes[i] == 0xeb || bytes[i] >> 4 == 7 || (bytes[i] & ~3) == 0xe0)
		wanted = i + 2;
	if (wanted > size) {
		block->end -= size;
		return;
	}
	if (bytes[i] == 0xe8 || (bytes[i] == 0xff && (next >> 3 & 7) == 2))
		block->last = CALL;
	else if (bytes[i] == 0xc2 || bytes[i] == 0xc3)
		block->last = RETURN;
	else if (wanted || (bytes[i] == 0xff && (next >> 3 & 7) == 4))
		block->last = JUMP;
	if (wanted == i + 2)
		block->target = block->end + (uint64_t)(int8_t)bytes[size - 1];
	else if (wanted)
		block->target = block->end + (uint64_t)(int64_t)(int32_t)((uint32_t)bytes[size - 4] | (uint32_t)bytes[size - 3] << 8 |
			(uint32_t)bytes[size - 2] << 16 | (uint32_t)bytes[size - 1] << 24);
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
	block->to = block->target ? function_at(block->target) : NULL;
	block->is_plain = block->first != jump && (block->last == ONWARD || (block->last == JUMP && block->to && block->to->owner == function->owner));
	qemu_plugin_register_vcpu_tb_exec_cb(tb, block_executed, 0, block);
}

static bool read_functions(const char *path)
{
	FILE *file = fopen(path, "r");
	struct function f;
	unsigned kind;

	while (file && fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %u", &f.first, &f.size, &f.owner, &kind) == 4) {
		f.kind = kind;
		functions = realloc(functions, (functions_count + 1) * sizeof f);
		if (!functions)
			return false;
		functions[functions_count++] = f;
	}
	return functions_count && feof(file) && fclose(file) == 0;
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
	if (!good || !to || !calls || !jump)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
