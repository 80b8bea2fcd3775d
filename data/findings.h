/* What the plugins share that tell what is wrong: to the file `to`, a line for each instruction with which something is, and last of all `end`. */
#pragma once

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "qemu-plugin.h"

enum { FINDINGS = 64 };

static FILE *to;
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;
static uint64_t told[FINDINGS];
static unsigned findings;

static bool is_new(uint64_t pc)
{
	for (unsigned i = 0; i < findings; i++)
		if (told[i] == pc)
			return false;
	if (findings == FINDINGS)
		return false;
	told[findings++] = pc;
	return true;
}

/* From any of QEMU's threads. */
static void tell(const char *what, uint64_t pc, uint64_t address)
{
	pthread_mutex_lock(&telling);
	if (is_new(pc)) {
		fprintf(to, "%s %" PRIx64 " %" PRIx64 "\n", what, pc, address);
		fflush(to);
	}
	pthread_mutex_unlock(&telling);
}

static void ended(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	fputs("end\n", to);
	fclose(to);
}
