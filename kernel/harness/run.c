/* The runner: decides from fw_cfg whether this is a test boot, runs the tests in order of suite and name,
 * reports KTAP on COM2 and leaves through debug-exit. Every line is on the wire before the next thing runs,
 * so the last `# run` of a hung or crashed boot names the test. */
#include "internal.h"

enum { DEBUG_EXIT = 0xf4 };

extern const struct ktest *__start_ktests[], *__stop_ktests[];
extern const struct kbench *__start_kbenches[], *__stop_kbenches[];
extern const struct kfigure *const __start_kfigures[], *const __stop_kfigures[];
extern const struct kpanic *const __start_kpanics[], *const __stop_kpanics[];

#pragma weak harness_beside
#pragma weak harness_running_beside

static struct running only;
static bool counting;                   /* the boot wants to know what tests take */
static unsigned results, counts[3];     /* told so far; of each state */
static char suites[1024];               /* what the boot asks for; nothing: all */
static bool is_beside;                  /* only what may run beside others */
static bool is_panic;                   /* what is told goes out, whoever ran */

volatile uint64_t harness_ready_ticks;

/* By no pointer, which could be made another one's. */
struct running *harness_running(void)
{
	struct running *const beside = harness_running_beside && !is_panic ? harness_running_beside() : NULL;

	return beside ? beside : &only;
}

_Noreturn void harness_exit(uint8_t code)
{
	harness_outb(DEBUG_EXIT, code);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Whether two words at `frame` may be read: they lie in the image's data, or on a page that has been read from. */
static bool is_frame(uintptr_t frame, uintptr_t read)
{
	if (frame % 8 || frame <= read)
		return false;
	if ((frame ^ read) < 4096 && (frame & 4095) <= 4096 - 16)
		return true;
	return frame >= harness_addr(__data_start) && frame <= harness_addr(__kernel_end) - 16;
}

/* `# trace ADDRESS…`: where calls on the stack return to, innermost first. Whatever a smashed frame pointer says,
 * nothing is read but what can be; should even that go wrong, the panic has been told, and is not traced again. */
static void report_trace(const uintptr_t *frame)
{
	static bool done;

	if (done)
		return;
	done = true;
	report_raw("# trace");
	for (int depth = 0; depth < 16; depth++) {
		const uintptr_t to = frame[1], next = frame[0];

		if (to < harness_addr(__text_start) || to >= harness_addr(__text_end))
			break;
		report_char(' ');
		report_value(to, false);
		if (!is_frame(next, (uintptr_t)frame))
			break;
		frame = (const uintptr_t *)next;
	}
	report_end();
}

_Noreturn void harness_panic(const char *why)
{
	is_panic = true;
	report_fresh_line();
	report_raw("# panic: ");
	report_text(why ? why : "(no reason given)");
	report_end();
	report_trace(__builtin_frame_address(0));
	harness_exit(HARNESS_PANIC);
}

/* ---- assertions ---- */

static void fail_at(const char *file, int line, const char *expr)
{
	harness_running()->state = TEST_FAILED;
	report_raw("# ");
	report_text(file);
	report_char(':');
	report_unsigned((uint64_t)line);
	report_raw(": ");
	report_text(expr);
	report_raw(": ");
}

void ktest_fail(const char *file, int line, const char *expr)
{
	fail_at(file, line, expr);
	report_raw("false");
	report_end();
}

void ktest_fail_eq(const char *file, int line, const char *expr, uint64_t a, bool a_signed, uint64_t b, bool b_signed)
{
	fail_at(file, line, expr);
	report_value(a, a_signed);
	report_raw(" != ");
	report_value(b, b_signed);
	report_end();
}

static void report_quoted(const char *text)
{
	if (!text) {
		report_raw("NULL");
		return;
	}
	report_char('"');
	report_text(text);
	report_char('"');
}

void ktest_fail_str(const char *file, int line, const char *expr, const char *a, const char *b)
{
	fail_at(file, line, expr);
	report_quoted(a);
	report_raw(" != ");
	report_quoted(b);
	report_end();
}

void ktest_skip(const char *reason)
{
	struct running *const running = harness_running();

	if (running->state == TEST_RUNNING) {
		running->state = TEST_SKIPPED;
		running->skip_reason = reason;
	}
}

void ktest_note(const char *what, uint64_t value)
{
	report_raw("# ");
	report_text(what);
	report_char(' ');
	report_unsigned(value);
	report_end();
}

bool ktest_streq(const char *a, const char *b)
{
	return a == b || (a && b && harness_strcmp(a, b) == 0);
}

/* ---- order and selection ---- */

/* The first two members of tests and benchmarks agree: suite, name. */
struct entry {
	const char *suite, *name;
};

static int compare(const struct entry *a, const struct entry *b)
{
	const int by_suite = harness_strcmp(a->suite, b->suite);

	return order_compare(a->suite, a->name, b->suite, b->name, by_suite ? by_suite : harness_strcmp(a->name, b->name));
}

/* Shell sort: the linker's order, which is that of file names, must not show. */
static void sort(const struct entry **table, size_t count)
{
	for (size_t gap = count / 2; gap; gap /= 2)
		for (size_t i = gap; i < count; i++) {
			const struct entry *moved = table[i];
			size_t j = i;

			for (; j >= gap && compare(table[j - gap], moved) > 0; j -= gap)
				table[j] = table[j - gap];
			table[j] = moved;
		}
}

/* Whether what begins a text is the word; past is set to what follows it. */
static bool begins(const char *text, const char *word, const char **past)
{
	while (*word && *text == *word)
		text++, word++;
	*past = text;
	return !*word;
}

/* Whether a comma-separated list has the suite, suite.name, or suite. and what the name begins with, then *. */
static bool listed(const char *list, const char *suite, const char *name)
{
	for (;;) {
		const char *at;

		if (begins(list, suite, &at)) {
			if (!*at || *at == ',')
				return true;
			if (*at == '.') {
				const char *letter = name;

				for (at++; *letter && *at == *letter; at++)
					letter++;
				if (*at == '*' || (!*letter && (!*at || *at == ',')))
					return true;
			}
		}
		while (*list && *list != ',')
			list++;
		if (!*list++)
			return false;
	}
}

/* ---- running ---- */

/* A boot that was asked for something it cannot do is a failed one. */
static _Noreturn void refuse(const char *why)
{
	report_fresh_line();
	report_raw("# harness: ");
	report_raw(why);
	report_end();
	harness_exit(HARNESS_FAIL);
}

/* Calls a test or benchmark. The gate sees from outside of the machine which function that is by what the processor reads at
 * harness_called, and that it goes there from harness_calls, which begins a block of QEMU's because the jump to it is indirect. */
void harness_call(void (*run)(uint64_t n), uint64_t n);
__asm__(".text\nharness_call:\n\tmov %rdi, %rax\n\tmov %rsi, %rdi\n\tlea harness_calls(%rip), %rcx\n"
	"\t.globl harness_called\nharness_called:\n\tmovzbl (%rax), %edx\n\tjmp *%rcx\n"
	"\t.globl harness_calls\nharness_calls:\n\tjmp *%rax\n");

/* `# kind suite.name value`. It comes after the result, when what was measured no longer runs: what a test prints of
 * this form stands elsewhere. */
static void report_ticks(const char *kind, const char *suite, const char *name, uint64_t value)
{
	report_fresh_line();
	report_raw(kind);
	report_name(suite, name);
	report_char(' ');
	report_unsigned(value);
	report_end();
}

/* What it took from the machine's start to here, and what the kernel says of itself. */
static void report_figures(uint64_t booted)
{
	report_ticks("# figure ", "boot", "instructions", booted);
	for (const struct kfigure *const *entry = __start_kfigures; entry != __stop_kfigures; entry++)
		report_ticks("# figure ", (*entry)->suite, (*entry)->name, (*entry)->get());
}

void harness_result(const struct ktest *test, struct running *running)
{
	report_fresh_line();
	report_raw(running->state == TEST_FAILED ? "not ok " : "ok ");
	report_unsigned(++results);
	report_char(' ');
	report_name(test->suite, test->name);
	if (running->state == TEST_SKIPPED) {
		report_raw(" # SKIP ");
		report_text(running->skip_reason ? running->skip_reason : "");
	}
	report_end();
	counts[running->state]++;
}

/* Not inlined: whoever looks from outside of the machine knows by it that a test has ended. */
static __attribute__((noinline)) void run_test(const struct ktest *test)
{
	uint64_t taken;

	only.state = TEST_RUNNING;
	report_run(test->suite, test->name);

	taken = harness_ticks();
	harness_call((void (*)(uint64_t))(void *)test->run, 0);
	taken = harness_ticks() - taken;

	harness_result(test, &only);
	if (counting)
		report_ticks("# count ", test->suite, test->name, taken);
}

/* Not inlined either: all calls are to count the same instructions around the benchmark's own. */
static __attribute__((noinline)) uint64_t bench_ticks(const struct kbench *bench, uint64_t n)
{
	const uint64_t start = harness_ticks();

	harness_call(bench->run, n);
	return harness_ticks() - start;
}

/* Twice as many iterations less once as many: set-up and the clock itself drop out. What is reported is the ticks of
 * 1000 iterations; fewer are run of what is slow, powers of ten, so that nothing is rounded. */
static void run_bench(const struct kbench *bench)
{
	enum { ITERATIONS = 1000, BUDGET = 4000000 };
	uint64_t n = ITERATIONS, first, once, twice;

	report_fresh_line();
	report_raw("# bench ");
	report_name(bench->suite, bench->name);
	report_end();
	only.state = TEST_RUNNING;
	first = bench_ticks(bench, 1);
	while (n > 1 && first > BUDGET / n)
		n /= 10;
	once = bench_ticks(bench, n);
	twice = bench_ticks(bench, 2 * n);
	if (only.state != TEST_RUNNING)
		refuse("a benchmark did not run to its end");
	report_ticks("# bench ", bench->suite, bench->name, twice > once ? (twice - once) * (ITERATIONS / n) : 0);
}

/* An optional fw_cfg string; false if absent. */
static bool option(const char *name, char *buffer, size_t size)
{
	int length = fw_cfg_string(name, buffer, size);

	if (length == FW_CFG_TOO_LONG)
		refuse("a fw_cfg item is too long");
	return length != FW_CFG_ABSENT;
}

/* Whether text is suite.name. */
static bool is_name(const char *text, const char *suite, const char *name)
{
	return begins(text, suite, &text) && *text == '.' && harness_strcmp(text + 1, name) == 0;
}

/* A boot that is to end in a panic, and has failed if it comes back. */
static void run_panic(const char *wanted)
{
	for (const struct kpanic *const *entry = __start_kpanics; entry != __stop_kpanics; entry++)
		if (is_name(wanted, (*entry)->suite, (*entry)->name)) {
			report_run((*entry)->suite, (*entry)->name);
			(*entry)->run();
			refuse("no panic came");
		}
	refuse("there is no such panic");
}

/* The same number of instructions for all digits: the nonce differs from boot to boot, instruction counts may not. */
static bool is_hex(const char *text)
{
	unsigned wrong = !*text;

	for (; *text; text++) {
		const unsigned digit = (uint8_t)*text - '0', letter = ((uint8_t)*text | 0x20u) - 'a';

		wrong |= (unsigned)(digit > 9) & (unsigned)(letter > 5);
	}
	return !wrong;
}

/* What may run beside others says so by its name. */
static bool is_chosen(const struct ktest *test)
{
	const char *past;

	return (!*suites || listed(suites, test->suite, test->name)) && (!is_beside || begins(test->name, "beside_", &past));
}

void harness_run(void)
{
	static char nonce[129], benches[1024], wanted[128], word[24];
	const size_t total = (size_t)(__stop_ktests - __start_ktests);
	const size_t total_benches = (size_t)(__stop_kbenches - __start_kbenches);
	unsigned selected = 0;

	harness_ready_ticks = harness_ticks();
	if (!fw_cfg_present())
		return;
	if (!option("opt/auton/nonce", nonce, sizeof nonce)) {
		if (option("opt/auton/run", word, sizeof word) && harness_strcmp(word, "none") == 0)
			harness_exit(HARNESS_PASS);
		return;
	}

	report_raw("KTAP version 1");
	report_end();
	if (!is_hex(nonce))
		refuse("the nonce is not a hexadecimal string");
	if (option("opt/auton/panic", wanted, sizeof wanted))
		run_panic(wanted);
	if (!option("opt/auton/suites", suites, sizeof suites))
		suites[0] = '\0';
	counting = option("opt/auton/count", word, sizeof word);
	is_beside = option("opt/auton/beside", word, sizeof word);
	if (is_beside && !harness_beside)
		refuse("the kernel has no threads");

	sort((const struct entry **)__start_ktests, total);
	for (size_t i = 0; i < total; i++)
		selected += is_chosen(__start_ktests[i]);

	report_raw("1..");
	report_unsigned(selected);
	report_end();
	report_raw("# auton nonce ");
	report_text(nonce);
	report_end();

	if (counting)
		report_figures(harness_ready_ticks);

	if (is_beside)
		harness_beside(__start_ktests, total, is_chosen, harness_number(word));
	else
		for (size_t i = 0; i < total; i++)
			if (is_chosen(__start_ktests[i]))
				run_test(__start_ktests[i]);

	if (option("opt/auton/bench", benches, sizeof benches)) {
		const bool all = harness_strcmp(benches, "all") == 0;

		sort((const struct entry **)__start_kbenches, total_benches);
		for (size_t i = 0; i < total_benches; i++)
			if (all || listed(benches, __start_kbenches[i]->suite, __start_kbenches[i]->name))
				run_bench(__start_kbenches[i]);
	}

	report_raw("# auton end ");
	report_text(nonce);
	report_raw(" pass ");
	report_unsigned(counts[TEST_RUNNING]);
	report_raw(" fail ");
	report_unsigned(counts[TEST_FAILED]);
	report_raw(" skip ");
	report_unsigned(counts[TEST_SKIPPED]);
	report_end();
	harness_exit(counts[TEST_RUNNING] && !counts[TEST_FAILED] ? HARNESS_PASS : HARNESS_FAIL);
}
