/* A QEMU plugin that tells where a kernel spends its instructions in one test or benchmark: it counts from whenever the
 * processor comes to `from` until it is back in the code at `in`…`in`+`size`, block by block, and writes `ADDRESS COUNT` for
 * each block to the file `to`, in hexadecimal and decimal. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qemu-plugin.h"

struct block {
	uint64_t address, instructions, count;
	struct block *next;
};

static struct block *blocks;
static uint64_t from, in, size;
static const char *to;
static bool counting;

static void executed(unsigned processor, void *data)
{
	struct block *block = data;

	(void)processor;
	if (block->address == from)
		counting = true;
	else if (block->address - in < size)
		counting = false;
	if (counting)
		block->count += block->instructions;
}

/* A block may be translated again, also to another length. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = calloc(1, sizeof *block);

	(void)id;
	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->instructions = qemu_plugin_tb_n_insns(tb);
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void ended(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(to, "w");

	(void)id;
	(void)data;
	for (struct block *block = blocks; file && block; block = block->next)
		if (block->count)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", block->address, block->count);
	if (file)
		fclose(file);
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
		if (strncmp(argv[i], "from=", 5) == 0)
			from = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "in=", 3) == 0)
			in = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "size=", 5) == 0)
			size = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "to=", 3) == 0)
			to = strdup(value);
	}
	if (!to)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
