/* A QEMU plugin that looks at the state of a machine's only processor. To the file `to` it writes
 *     port PC PORT         where code that is neither in the harness's `own` nor in a `trusted` range, FIRST+SIZE each, reads or writes one of the harness's `ports`, FIRST+COUNT each, each PC once
 *     masked FUNCTION INSTRUCTIONS OFF ON
 * for each function that the harness calls, by the instruction at `called` that reads where it goes on, and one with the function 0 for what was executed
 * before: the longest time with interrupts off, in instructions, which ended while it ran and was not the machine's first, and the blocks at whose
 * beginning interrupts were off for the first time and on again, or 0 INSTRUCTIONS. Numbers are hexadecimal but for INSTRUCTIONS.
 * Last of all `end SEEN WRONG`.
 *
 * The state no plugin can ask for before version 9 of QEMU. What QEMU translates for x86-64 has the place of it in a register, general registers
 * first, then the program counter, then the flags (TCG_AREG0 of tcg/i386/tcg-target.h, CPUArchState of target/i386/cpu.h); where a block begins, it is
 * up to date. That this is so is looked at again and again: behind `cli` the flag must be 0, behind `sti` 1, and the harness uses none but its
 * ports, and of others those that are `shared`, FIRST+COUNT. SEEN is how often it was as it must, WRONG how often not.
 *
 * Instructions are counted by blocks: one that an exception ends counts whole. Where time is counted in instructions a block ends with each access to a port;
 * elsewhere accesses are not seen, nor where an interrupt, or a
 * fault, follows at once. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "prefixes.h"
#include "qemu-plugin.h"
#include "ranges.h"

enum { RDX = 2, FLAGS = 17, INTERRUPTS = 1 << 9, FINDINGS = 64 };

struct block {
	uint64_t first, end, instructions;
	enum { OFF, ON, AS_BEFORE } then;               /* what the last instruction sets, unless it faults */
	enum { NONE, BY_NUMBER, BY_RDX } access;        /* how the last instruction says which port it reads or writes */
	uint64_t port, pc;                              /* BY_NUMBER: which; where that instruction is */
	bool is_own, is_trusted;
};

struct stretch {
	uint64_t instructions, off, on;
};

register const uint64_t *state asm("rbp");

static FILE *to;
static struct ranges own, trusted, ports, shared;
static uint64_t told[FINDINGS];
static unsigned findings;
static uint64_t called, function;
static uint64_t executed, since;
static uint64_t seen, wrong;
static const struct block *last;
static bool are_on, ever_on;
static struct stretch now, longest;

static void accessed(const struct block *block)
{
	const uint64_t port = block->access == BY_NUMBER ? block->port : state[RDX] & 0xffff;
	const bool is_harness = meets(&ports, port, 1);

	if (block->is_own && block->access == BY_RDX)
		++*(is_harness || meets(&shared, port, 1) ? &seen : &wrong);
	if (block->is_own || block->is_trusted || !is_harness || findings == FINDINGS)
		return;
	for (unsigned i = 0; i < findings; i++)
		if (told[i] == block->pc)
			return;
	told[findings++] = block->pc;
	fprintf(to, "port %" PRIx64 " %" PRIx64 "\n", block->pc, port);
}

static void changed(const struct block *block)
{
	are_on = !are_on;
	if (!are_on) {
		since = executed;
		now.off = block->first;
		return;
	}
	now.instructions = executed - since;
	now.on = block->first;
	if (ever_on && now.instructions > longest.instructions)
		longest = now;
	ever_on = true;
}

static void block_executed(unsigned processor, void *data)
{
	const struct block *block = data;
	const bool on = state[FLAGS] & INTERRUPTS;

	(void)processor;
	if (last && last->then != AS_BEFORE && last->end == block->first)
		++*(on == (last->then == ON) ? &seen : &wrong);
	if (last && last->access != NONE && last->end == block->first)
		accessed(last);
	if (on != are_on)
		changed(block);
	executed += block->instructions;
	last = block;
}

static void tell(void)
{
	fprintf(to, "masked %" PRIx64 " %" PRIu64 " %" PRIx64 " %" PRIx64 "\n", function, longest.instructions, longest.off, longest.on);
	memset(&longest, 0, sizeof longest);
}

static void was_called(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
	(void)processor;
	(void)info;
	(void)data;
	tell();
	function = address;
}

static void classify(struct block *block, const uint8_t *code, size_t size)
{
	const size_t i = prefixes(code, size);

	block->then = code[i] == 0xfa ? OFF : code[i] == 0xfb ? ON : AS_BEFORE;
	block->access = (code[i] & 0xf4) == 0xe4 ? (code[i] & 8 ? BY_RDX : BY_NUMBER) : (code[i] & 0xfc) == 0x6c ? BY_RDX : NONE;
	block->port = block->access == BY_NUMBER && i + 1 < size ? code[i + 1] : 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	const size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof *block);

	(void)id;
	if (!block)
		abort();
	block->first = qemu_plugin_tb_vaddr(tb);
	block->instructions = count;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		block->pc = qemu_plugin_insn_vaddr(insn);
		if (block->pc == called)
			qemu_plugin_register_vcpu_mem_cb(insn, was_called, 0, ACCESSES, NULL);
		if (i + 1 == count) {
			block->end = block->pc + qemu_plugin_insn_size(insn);
			classify(block, qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));
		}
	}
	block->is_own = meets(&own, block->pc, 1);
	block->is_trusted = meets(&trusted, block->pc, 1);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, block_executed, 0, block);
}

static void ended(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	tell();
	fprintf(to, "end %" PRIu64 " %" PRIu64 "\n", seen, wrong);
	fclose(to);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	bool good = true;

	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value)
			return 1;
		value++;
		if (strncmp(argv[i], "called=", 7) == 0)
			called = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "own=", 4) == 0)
			good &= add(&own, value);
		else if (strncmp(argv[i], "trusted=", 8) == 0)
			good &= add(&trusted, value);
		else if (strncmp(argv[i], "ports=", 6) == 0)
			good &= add(&ports, value);
		else if (strncmp(argv[i], "shared=", 7) == 0)
			good &= add(&shared, value);
		else if (strncmp(argv[i], "to=", 3) == 0)
			to = fopen(value, "w");
	}
	if (!good || !to || !called)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
