/* The report's way out: a polled 16550 at COM2, which is the harness's alone. */
#include "internal.h"

enum { COM2 = 0x2f8, DATA = COM2, IER = COM2 + 1, FCR = COM2 + 2, LCR = COM2 + 3, MCR = COM2 + 4, LSR = COM2 + 5 };
enum { LSR_THR_EMPTY = 0x20, LSR_ALL_SENT = 0x40, LCR_8N1 = 0x03, LCR_DLAB = 0x80, SPINS = 1000000 };

static bool ready, line_begun;

static void uart_init(void)
{
	harness_outb(IER, 0);
	harness_outb(LCR, LCR_DLAB | LCR_8N1);
	harness_outb(DATA, 1);                  /* divisor 1: 115200 baud */
	harness_outb(IER, 0);
	harness_outb(LCR, LCR_8N1);
	harness_outb(FCR, 0x07);
	harness_outb(MCR, 0x03);
	ready = true;
}

/* Bounded: a machine without the port must not hang here. */
static void uart_wait(uint8_t bits)
{
	for (int i = 0; i < SPINS && (harness_inb(LSR) & bits) != bits; i++)
		__asm__ volatile("pause");
}

/* Every byte of the report leaves here and nowhere else. The gate sees from outside of the machine where the processor writes to
 * whenever it comes to report_sent, which tells the byte, and believes nothing else. */
uint8_t report_bytes[256];

static __attribute__((noipa)) void send(uint8_t byte)
{
	__asm__ volatile(".globl report_sent\nreport_sent:\n\tmovb $0, report_bytes(%0)\n\toutb %b0, %1"
			 : : "a"((uint64_t)byte), "d"((uint16_t)DATA) : "memory");
}

void report_char(char c)
{
	struct running *const running = harness_running();

	if (running->text) {
		if (running->length < running->size)
			running->text[running->length++] = c;
		return;
	}
	if (!ready)
		uart_init();
	uart_wait(LSR_THR_EMPTY);
	send((uint8_t)c);
	line_begun = c != '\n';
}

void report_raw(const char *text)
{
	while (*text)
		report_char(*text++);
}

/* Text from outside must stay on its line: a message cannot forge a result. */
void report_text(const char *text)
{
	for (; *text; text++)
		report_char(*text >= ' ' && *text <= '~' ? *text : '?');
}

void report_unsigned(uint64_t value)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		report_char(digits[--n]);
}

static void report_hex(uint64_t value)
{
	int shift = 60;

	report_raw("0x");
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		report_char("0123456789abcdef"[value >> shift & 15]);
}

/* Small values in decimal, what looks like an address or a mask in hexadecimal. */
void report_value(uint64_t value, bool is_signed)
{
	if (is_signed && (int64_t)value < 0) {
		report_char('-');
		value = -value;
	}
	if (value < 1000000)
		report_unsigned(value);
	else
		report_hex(value);
}

void report_end(void)
{
	report_char('\n');
	if (!harness_running()->text)
		uart_wait(LSR_THR_EMPTY | LSR_ALL_SENT);
}

void report_fresh_line(void)
{
	if (line_begun)
		report_end();
}

void report_name(const char *suite, const char *name)
{
	report_text(suite);
	report_char('.');
	report_text(name);
}

void report_run(const char *suite, const char *name)
{
	report_raw("# run ");
	report_name(suite, name);
	report_end();
}
