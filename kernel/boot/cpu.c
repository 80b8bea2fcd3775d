/* The processors' data, and which of them are online. See spec/boot.md, "Processors". */
#include <stddef.h>
#include <stdint.h>
#include "cpu.h"

/* The online processors are those below online, without gaps. The boot processor is one of them from the start. */
static struct cpu cpus[CPU_MAX] = { [0] = { .self = &cpus[0], .index = 0 } };
static unsigned online = 1;

/* Acquire, against the release in cpu_set_online: who sees that a processor counts sees its data complete. */
unsigned cpu_count(void)
{
	return __atomic_load_n(&online, __ATOMIC_ACQUIRE);
}

struct cpu *cpu_get(unsigned index)
{
	return index < cpu_count() ? &cpus[index] : NULL;
}

/* Takes nothing: the index is used up by cpu_set_online only. The processor starts when cpu_pause is `pause` already. */
struct cpu *cpu_add(uint32_t apic_id)
{
	const unsigned index = cpu_count();

	if (index == CPU_MAX)
		return NULL;
	cpu_pause_enable();
	cpus[index] = (struct cpu){ .self = &cpus[index], .index = index, .apic_id = apic_id };
	return &cpus[index];
}

/* c is what cpu_add gave last, so its index equals online: none is skipped, none is given back. */
void cpu_set_online(struct cpu *c)
{
	__atomic_store_n(&online, c->index + 1, __ATOMIC_RELEASE);
}
