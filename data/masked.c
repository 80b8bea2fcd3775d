/* A QEMU plugin that tells how long a kernel takes no interrupts, for machines with one processor. To the file `to` it writes a line for each
 * function that the harness calls, by the instruction at `called` that reads where it goes on, and one before them for what was executed until the first:
 *     FUNCTION INSTRUCTIONS OFF ON
 * the longest time in it, in instructions, which ended while it ran and was not the machine's first, and the blocks at whose beginning interrupts were off
 * for the first time and on again; addresses in hexadecimal, 0 INSTRUCTIONS for none. Last of all `end SEEN WRONG`.
 *
 * Whether interrupts are on no plugin can ask before version 9 of QEMU. What QEMU translates for x86-64 has the processor's state in a register, general
 * registers first, then the program counter, then the flags (TCG_AREG0 of tcg/i386/tcg-target.h, CPUArchState of target/i386/cpu.h). That this
 * is so is looked at again and again: behind `cli` the flag must be 0, behind `sti` 1. SEEN is how often it was as it must, WRONG how often not.
 *
 * Instructions are counted by blocks: one that an exception ends counts whole. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qemu-plugin.h"

enum { FLAGS = 17, INTERRUPTS = 1 << 9 };

struct block {
	uint64_t first, end, instructions;
	enum { OFF, ON, AS_BEFORE } then;               /* what the last instruction sets, unless it faults */
};

struct stretch {
	uint64_t instructions, off, on;
};

register const uint64_t *state asm("rbp");

static FILE *to;
static uint64_t called, function;
static uint64_t executed, since;
static uint64_t seen, wrong;
static const struct block *last;
static bool are_on, ever_on;
static struct stretch now, longest;

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
	if (on != are_on)
		changed(block);
	executed += block->instructions;
	last = block;
}

static void tell(void)
{
	fprintf(to, "%" PRIx64 " %" PRIu64 " %" PRIx64 " %" PRIx64 "\n", function, longest.instructions, longest.off, longest.on);
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

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	const size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof *block);
	uint8_t code = 0;

	(void)id;
	if (!block)
		abort();
	block->first = qemu_plugin_tb_vaddr(tb);
	block->instructions = count;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (qemu_plugin_insn_vaddr(insn) == called)
			qemu_plugin_register_vcpu_mem_cb(insn, was_called, 0, ACCESSES, NULL);
		code = *(const uint8_t *)qemu_plugin_insn_data(insn);
		block->end = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
	}
	block->then = code == 0xfa ? OFF : code == 0xfb ? ON : AS_BEFORE;
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
	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value)
			return 1;
		value++;
		if (strncmp(argv[i], "called=", 7) == 0)
			called = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "to=", 3) == 0)
			to = fopen(value, "w");
	}
	if (!to || !called)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
