/* A QEMU plugin for machines whose time is counted in instructions: no processor halts before QEMU's main loop is asleep.
 *
 * The main loop, whenever it is awake and finds all processors halted, moves their time on to the next timer (icount_start_warp_timer, softmmu/icount.c).
 * A processor says that it is halted before the instructions that led up to it are added to the time (rr_cpu_thread_fn,
 * accel/tcg/tcg-accel-ops-rr.c); in between it is moved on by as many too far, and the next interrupt comes late. A timer that ended while the
 * processor was at work wakes the main loop, which runs when the host lets it. Asleep it is woken only by the halt when all is added. */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "prefixes.h"
#include "qemu-plugin.h"

/* proc(5)'s stat of the thread that the main loop is in, the process's first. */
static int main_loop = -1;

static bool is_awake(void)
{
	char text[128];                                 /* PID (NAME) STATE …, a name of at most 15 bytes */
	const ssize_t size = pread(main_loop, text, sizeof text - 1, 0);
	const char *state;

	if (size <= 0)
		return false;
	text[size] = '\0';
	state = strrchr(text, ')');
	return state && strncmp(state, ") R", 3) == 0;
}

static void halts(unsigned processor, void *data)
{
	(void)processor;
	(void)data;
	while (is_awake())
		sched_yield();
}

/* `hlt`, and `mwait`, which to QEMU is the same. */
static bool is_halt(const uint8_t *code, size_t size)
{
	const size_t i = prefixes(code, size);

	return (size - i == 1 && code[i] == 0xf4) || (size - i == 3 && memcmp(code + i, "\x0f\x01\xc9", 3) == 0);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, qemu_plugin_tb_n_insns(tb) - 1);

	(void)id;
	if (is_halt(qemu_plugin_insn_data(last), qemu_plugin_insn_size(last)))
		qemu_plugin_register_vcpu_insn_exec_cb(last, halts, 0, NULL);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	char path[64];

	(void)info;
	(void)argc;
	(void)argv;
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
	main_loop = open(path, O_RDONLY | O_CLOEXEC);
	if (main_loop < 0)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
