/* Tests beside one another: a thread for each suite runs those of its tests whose names begin with `beside_`, one after the other, while the other
 * suites' run. Every few microseconds, by a seed, another of them is preferred, and takes the processor from whoever has it: where instructions are
 * counted, at the same places again with the same seed. */
#include "internal.h"
#include "sched.h"

enum { SUITES = 32, TEXT = 2048, SHORTEST_NS = 2000, LONGEST_NS = 200000 };

/* Whom the threads work for, which is inherited by those that a test creates: so one knows what they fail. */
#define AGENT 0x7e570000u

static struct suite {
	const char *name;
	struct thread *thread;
	volatile bool is_over;
	struct running running;
	char text[TEXT];
} suites[SUITES];

static unsigned count;
static const struct ktest *const *tests;
static size_t total;
static bool (*is_chosen)(const struct ktest *test);
static struct running outside;
static bool telling, begun;

struct running *harness_running_beside(void)
{
	uint32_t index;

	if (!begun)
		return NULL;
	index = thread_agent(thread_current()) - AGENT;
	return index < count ? &suites[index].running : &outside;
}

/* All that is to be said of one test, in one piece. */
static void tell(const struct ktest *test, struct suite *suite)
{
	const uint64_t flags = harness_cli();

	while (__atomic_exchange_n(&telling, true, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
	suite->running.text = NULL;
	report_run(test->suite, test->name);
	for (size_t i = 0; i < suite->running.length; i++)
		report_char(suite->text[i]);
	harness_result(test, &suite->running);
	__atomic_store_n(&telling, false, __ATOMIC_RELEASE);
	harness_restore(flags);
}

static void run_suite(void *arg)
{
	struct suite *const suite = arg;

	thread_set_agent(thread_current(), AGENT + (uint32_t)(suite - suites));
	for (size_t i = 0; i < total; i++) {
		if (!is_chosen(tests[i]) || harness_strcmp(tests[i]->suite, suite->name) != 0)
			continue;
		suite->running = (struct running){ .state = TEST_RUNNING, .text = suite->text, .size = TEXT };
		tests[i]->run();
		tell(tests[i], suite);
	}
	suite->is_over = true;
}

/* Until all are over. The caller goes before any of them. */
static void prefer_in_turn(uint64_t random)
{
	for (unsigned left = count; left; ) {
		struct suite *chosen = &suites[harness_random(&random) % count];

		thread_set_class(chosen->thread, CLASS_INTERACTIVE);
		thread_park(SHORTEST_NS + harness_random(&random) % (LONGEST_NS - SHORTEST_NS));
		thread_set_class(chosen->thread, CLASS_NORMAL);
		left = 0;
		for (unsigned i = 0; i < count; i++)
			left += !suites[i].is_over;
	}
}

static bool is_known(const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (harness_strcmp(suites[i].name, name) == 0)
			return true;
	return false;
}

void harness_beside(const struct ktest *const *all, size_t number, bool (*chosen)(const struct ktest *test), uint64_t seed)
{
	tests = all;
	total = number;
	is_chosen = chosen;
	for (size_t i = 0; i < total && count < SUITES; i++)
		if (is_chosen(tests[i]) && !is_known(tests[i]->suite)) {
			suites[count].name = tests[i]->suite;
			count++;
		}
	begun = true;
	thread_set_class(thread_current(), CLASS_KERNEL);
	for (unsigned i = 0; i < count; i++) {
		const struct thread_attr attr = { suites[i].name, CLASS_NORMAL, 0 };

		if (thread_create(&attr, run_suite, &suites[i], &suites[i].thread) != 0)
			harness_panic("a thread for a suite of tests cannot be had");
	}
	prefer_in_turn(seed);
	for (unsigned i = 0; i < count; i++)
		if (thread_join(suites[i].thread, TIMEOUT_NONE, NULL) != 0)
			harness_panic("a thread of tests does not end");
	if (outside.state != TEST_RUNNING)
		harness_panic("an assertion failed of a thread that no test has created");
}
