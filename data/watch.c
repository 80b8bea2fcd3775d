/* A QEMU plugin that watches over a kernel's test harness: it writes to the file `to`, each instruction once,
 *     wrote PC ADDRESS     where one that is not in a `trusted` range wrote to a `watched` one, by whatever mapping
 *     moved PC ADDRESS     where one of the harness's `own` wrote to what is watched, and it was elsewhere
 *     code PC              where one in a trusted range is not the image's
 * in hexadecimal; last of all `end`. Ranges are FIRST+SIZE, virtual addresses, `base` above the physical ones. `image` is the
 * file that has the code: `size` bytes from `offset` on belong at `at`. What is written before the first trusted
 * instruction is executed is the kernel's own affair: it clears its memory.
 *
 * To the file `seen` it writes what the harness does, a line each: the byte that it sends, two digits, where the instruction at `sent` writes
 * into the `table` of bytes; the function that it calls, sixteen, where that at `called` reads; `failed` where a function begins that
 * assertions call which do not hold, one of those at `failing`.
 *
 * A page that was seen to be somebody else's is taken to be until the processor is told of another mapping: to ask QEMU where a
 * store went costs most. Who changes one, does not flush it, and waits until QEMU has forgotten it is not seen. */
#include <stdlib.h>
#include <string.h>
#include "findings.h"
#include "prefixes.h"
#include "ranges.h"

enum { PAGE = 4096, PLACES = 512, PROCESSORS = 256, PAGE_BITS = 57 - 12, STORE = 64 };

static struct ranges trusted, own, watched;
static uint64_t base, sent, table, called, failing[8];
static unsigned failing_count;
static FILE *seen;
/* Each has a thread of its own in QEMU. */
static struct processor {
	/* Numbers of pages that have nothing of what is watched, as they are mapped, each in the place of its lowest bits; with the mapping's. */
	uint64_t others[PLACES];
	/* How often it has changed, in the bits above a page's number; what is stored in long mode is stored after one. */
	uint64_t mapping;
} processors[PROCESSORS];
static uint8_t *code;
static uint64_t at, size;
static volatile bool begun;
/* How to ask for stores where an instruction is a simple one. Up to version 8 QEMU takes what is asked for one too high there: WRITES
 * for all accesses, of which there are twice as many, READS for stores. It is tried. */
static volatile int stores = WRITES;

/* False for what is no memory. */
static bool find(qemu_plugin_meminfo_t info, uint64_t address, uint64_t *physical)
{
	const struct qemu_plugin_hwaddr *place = qemu_plugin_get_hwaddr(info, address);

	if (!place || qemu_plugin_hwaddr_is_io(place))
		return false;
	*physical = qemu_plugin_hwaddr_phys_addr(place);
	return true;
}

static uint64_t page_of(const struct processor *self, uint64_t address)
{
	return (address / PAGE & ((1ull << PAGE_BITS) - 1)) | self->mapping;
}

/* QEMU calls for what is read, too. */
static __attribute__((noinline)) void look_at(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	struct processor *const self = &processors[processor % PROCESSORS];
	const uint64_t length = 1ull << qemu_plugin_mem_size_shift(info), page = page_of(self, address);
	uint64_t physical;

	if (self->others[page % PLACES] == page && address % PAGE + length <= PAGE)
		return;
	if (!begun || !qemu_plugin_mem_is_store(info) || !find(info, address, &physical))
		return;
	physical += base;
	if (meets(&watched, physical, length))
		tell("wrote", (uint64_t)pc, address);
	else if (!meets(&watched, physical - physical % PAGE, PAGE))
		self->others[page % PLACES] = page;
}

/* Most of what looking on takes is taken here: what nearly all stores need, and not a register more. */
static void wrote(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	const struct processor *const self = &processors[processor % PROCESSORS];
	const uint64_t page = page_of(self, address);

	if (self->others[page % PLACES] != page || address % PAGE > PAGE - STORE)
		look_at(processor, info, address, pc);
}

static void harness_wrote(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	uint64_t physical;

	(void)processor;
	if (meets(&watched, address, 1) && (!find(info, address, &physical) || physical + base != address))
		tell("moved", (uint64_t)pc, address);
}

static void was_sent(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	fprintf(seen, "%02" PRIx64 "\n", (address - table) & 0xff);
	harness_wrote(processor, info, address, pc);
}

static void was_called(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	(void)processor;
	(void)info;
	(void)pc;
	fprintf(seen, "%016" PRIx64 "\n", address);
}

static void has_failed(unsigned processor, void *data)
{
	(void)processor;
	(void)data;
	fputs("failed\n", seen);
}

static bool is_failing(uint64_t pc)
{
	for (unsigned i = 0; i < failing_count; i++)
		if (failing[i] == pc)
			return true;
	return false;
}

/* QEMU takes what is done by a function of its own, an atomic access where there are several processors, for the doing of the last
 * instruction before that had something registered for it, if that ended a block: so those must have something, too. */
static void ignored(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	(void)processor;
	(void)info;
	(void)address;
	(void)pc;
}

/* What is asked for with READS of an instruction that only stores. */
static void asked(unsigned processor, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	(void)processor;
	(void)address;
	(void)pc;
	if (qemu_plugin_mem_is_store(info))
		stores = READS;
}

static void mapped(unsigned processor, void *data)
{
	struct processor *const self = &processors[processor % PROCESSORS];

	(void)data;
	self->mapping += 1ull << PAGE_BITS;
	if (!self->mapping) {
		memset(self->others, 0, sizeof self->others);
		self->mapping = 1ull << PAGE_BITS;
	}
}

/* Without its prefixes: what it is, in as many bytes as there are. */
static size_t operation(const struct qemu_plugin_insn *insn, uint8_t bytes[3])
{
	const uint8_t *all = qemu_plugin_insn_data(insn);
	const size_t size = qemu_plugin_insn_size(insn);
	const size_t i = prefixes(all, size);

	memset(bytes, 0, 3);
	memcpy(bytes, all + i, size - i < 3 ? size - i : 3);
	return size - i;
}

/* Moves to control and model specific registers, invlpg, invpcid, what there is of virtual machines (0F 01 D8 and so on), and
 * the return from system management. */
static bool maps(const struct qemu_plugin_insn *insn)
{
	uint8_t o[3];

	operation(insn, o);
	return o[0] == 0x0f && (o[1] == 0x22 || o[1] == 0x30 || o[1] == 0x01 || o[1] == 0xaa || (o[1] == 0x38 && o[2] >> 4 == 8));
}

/* add, or, sub or xor of a constant 0, by which one sees whether a page can be written to. */
static bool changes_nothing(const struct qemu_plugin_insn *insn)
{
	const uint8_t *all = qemu_plugin_insn_data(insn);
	uint8_t o[3];
	const size_t size = operation(insn, o);
	const unsigned what = o[1] >> 3 & 7;

	return size >= 3 && (o[0] == 0x80 || o[0] == 0x83) && (what == 0 || what == 1 || what == 5 || what == 6) &&
	       all[qemu_plugin_insn_size(insn) - 1] == 0;
}

/* With a prefix lock, or an exchange, which has no need of one. */
static bool is_atomic(const struct qemu_plugin_insn *insn)
{
	const uint8_t *all = qemu_plugin_insn_data(insn);
	uint8_t o[3];

	operation(insn, o);
	return o[0] == 0x86 || o[0] == 0x87 || memchr(all, 0xf0, qemu_plugin_insn_size(insn)) != NULL;
}

/* One of those that are most of a kernel's, and surely need no function of QEMU's own to access memory: arithmetic and logic, moves,
 * calls within the segment, strings, the stack. */
static bool is_simple(const struct qemu_plugin_insn *insn)
{
	static const uint8_t one[32] = {
		0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0, 0, 0xff, 0xff, 0x08, 0x0f, 0, 0,     /* 00 to 7f */
		0x3b, 0x8f, 0, 0, 0xff, 0xfc, 0, 0, 0xcc, 0x02, 0, 0, 0, 0x01, 0xc0, 0xc0,              /* 80 to ff */
	};
	uint8_t o[3];
	const size_t size = operation(insn, o);

	if (is_atomic(insn))
		return false;
	if (o[0] == 0x0f)
		return o[1] >> 4 == 4 || o[1] >> 4 == 9 || (o[1] & 0xf6) == 0xb6;
	if (o[0] == 0xff && size > 1 && ((o[1] >> 3 & 7) == 3 || (o[1] >> 3 & 7) == 5))
		return false;
	return one[o[0] / 8] >> o[0] % 8 & 1;
}

static bool only_stores(const struct qemu_plugin_insn *insn)
{
	uint8_t o[3];

	operation(insn, o);
	return o[0] == 0x88 || o[0] == 0x89;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint64_t pc = qemu_plugin_insn_vaddr(insn), length = qemu_plugin_insn_size(insn);
		const bool simple = is_simple(insn);
		const int writes = simple ? stores : WRITES;

		if (stores == WRITES && only_stores(insn))
			qemu_plugin_register_vcpu_mem_cb(insn, asked, 0, READS, NULL);
		if (maps(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, mapped, 0, NULL);
		if (!meets(&trusted, pc, 1)) {
			qemu_plugin_register_vcpu_mem_cb(insn, changes_nothing(insn) ? ignored : wrote, 0, writes, (void *)pc);
			continue;
		}
		begun = true;
		if (is_failing(pc))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, has_failed, 0, NULL);
		if (pc == called)
			qemu_plugin_register_vcpu_mem_cb(insn, was_called, 0, ACCESSES, NULL);
		else if (meets(&own, pc, 1))
			qemu_plugin_register_vcpu_mem_cb(insn, pc == sent ? was_sent : harness_wrote, 0, writes, (void *)pc);
		else if (is_atomic(insn))
			qemu_plugin_register_vcpu_mem_cb(insn, ignored, 0, WRITES, NULL);
		if (pc - at > size || length > size - (pc - at) || memcmp(code + (pc - at), qemu_plugin_insn_data(insn), length) != 0)
			tell("code", pc, pc);
	}
}

static bool read_code(const char *path, uint64_t offset)
{
	FILE *file = fopen(path, "r");

	code = malloc(size);
	return file && code && fseek(file, (long)offset, SEEK_SET) == 0 && fread(code, 1, size, file) == size && fclose(file) == 0;
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	const char *image = NULL;
	uint64_t offset = 0;
	bool good = true;

	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value)
			return 1;
		value++;
		if (strncmp(argv[i], "trusted=", 8) == 0)
			good &= add(&trusted, value);
		else if (strncmp(argv[i], "own=", 4) == 0)
			good &= add(&own, value);
		else if (strncmp(argv[i], "watched=", 8) == 0)
			good &= add(&watched, value);
		else if (strncmp(argv[i], "base=", 5) == 0)
			base = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "image=", 6) == 0)
			image = value;
		else if (strncmp(argv[i], "offset=", 7) == 0)
			offset = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "at=", 3) == 0)
			at = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "size=", 5) == 0)
			size = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "sent=", 5) == 0)
			sent = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "table=", 6) == 0)
			table = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "called=", 7) == 0)
			called = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "failing=", 8) == 0 && failing_count < sizeof failing / sizeof *failing)
			failing[failing_count++] = strtoull(value, NULL, 16);
		else if (strncmp(argv[i], "seen=", 5) == 0)
			seen = fopen(value, "w");
		else if (strncmp(argv[i], "to=", 3) == 0)
			to = fopen(value, "w");
	}
	if (!good || !to || !seen || !sent || !table || !called || !image || !read_code(image, offset))
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
