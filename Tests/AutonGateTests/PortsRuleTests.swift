import Testing

@testable import AutonGate

@Suite struct PortsRuleTests {
    private func violations(_ text: String, path: String = "drivers/a.c", from old: String? = nil) -> [String] {
        PortsRule().violations(in: .made(path, from: old, to: text + "\n"))
    }

    private static let out =
        "static inline void put(uint16_t to, uint8_t value) { __asm__ volatile(\"outb %0, %1\" : : \"a\"(value), \"Nd\"(to)); }\n"

    @Test(arguments: [
        "0x2f8", "0x2F8u", "760", "01370", "0b1011111000", "0x2f0 + 8", "(0x2f8)", "(uint16_t)0x2fd", "0x3f8 - 0x100",
        "0xff & 0x2f4", "244", "0xf4",
        "0364", "'\\xf4'", "0xf0 | 4", "1 << 9 | 0xf8", "0x510", "1297", "0x51b", "0x2f8 + i", "COM1 - 0x100 + LSR",
        "0x102f8",
        "a ? 0x3f8 : 0x2f8",
    ])
    func asAnOperand(port: String) {
        let names = "enum { COM1 = 0x3f8, LSR = 5 };\n"
        #expect(violations(names + "void f(int i, int a) { outb(\(port), 1); }") != [])
        #expect(violations(names + "int f(int i, int a) { return inb(\(port)); }") != [])
        #expect(violations(names + Self.out + "void f(int i, int a) { put(\(port), 1); }") != [])
        #expect(
            violations(
                names + Self.out + "void send(char c, int to) { put(to, c); }\nvoid f(int i, int a) { send('x', \(port)); }")
                != [])
        #expect(
            violations(names + "void f(int i, int a) { __asm__ volatile(\"outb %b0, %w1\" : : \"a\"(1), \"d\"(\(port))); }") != []
        )
    }

    @Test(arguments: [
        "#define X 0xf4\nvoid f(void) { outb(X, 1); }", "#define X (Y + 4)\n#define Y 0xf0\nvoid f(void) { outb(X, 1); }",
        "enum { A = 0xf3, X };\nvoid f(void) { outb(X, 1); }", "static const uint16_t x = 0xf4;\nvoid f(void) { outb(x, 1); }",
        "void f(void) { uint16_t x = 0xf0; x += 4; outb(x, 1); }",
        "struct d { uint16_t port; };\nvoid f(struct d *d) { d->port = 0xf4; outb(d->port, 1); }",
        "#define X() 0xf4\nvoid f(void) { outb(X(), 1); }", "#define OUT(p, v) outb(p, v)\nvoid f(void) { OUT(0xf4, 1); }",
        "#define DEBUG_EXIT 0xf4", "enum { EXIT_PORT = 244 };", "static const uint16_t com2 = 760;", "#define BASE 0x2f8",
        "serial_init(&s, 0x2f8, 9600);",
        "static const uint16_t ports[] = { 0x3f8, 0x2f8 };", "__asm__(\"outb %al, $0xf4\");", "__asm__(\"mov $0x2f8, %edx\");",
        "__asm__(\"movw $0xf4, %dx; outb %al, %dx\");", "__asm__(\"mov $0xf0, %edx\\n\\tadd $4, %edx\\n\\toutb %al, %dx\");",
        "__asm__(\".byte 0xe6, 0xf4\");", "__asm__(\"push $0xf4; pop %rdx; outb %al, %dx\");",
        "void f(void) { out\\\nb(0x2\\\nf8, 1); }",
        "void f(void) { __builtin_ia32_outb(1); outb(/* */ 0xf4 /* */, 1); }",
    ])
    func byOtherWays(code: String) {
        #expect(violations(code) != [])
    }

    @Test(arguments: [
        "\tmov dx, 0x2f8", "\tmov dx, 2f8h\n\tout dx, al", "\tmov dx, 760\n\tout dx, al", "\tmov edx, 1370q\n\tin al, dx",
        "\tmov dx, 0b10_1111_1000\n\tout dx, al", "\tmov dx, $2f8\n\tout dx, al", "\tout 0xf4, al", "\tout 0f4h, al",
        "\tout 244, al", "\tout $0f4, al",
        "\tout 0xf0 + 4, al", "COM2 equ 0x2f8", "%define X 0f4h\n\tout X, al", "X equ 0f0h\n\tout X + 4, al",
        "%assign X 244\n\tout X, al",
        "\tmov dx, 0x2f0\n\tadd dx, 8\n\tout dx, al", "\txor edx, edx\n\tmov dl, 0xf4\n\tout dx, al",
        "\tmov dx, 0xf3\n\tinc dx\n\tout dx, al",
        "\tpush 0xf4\n\tpop rdx\n\tout dx, al", "\tdb 0xe6, 0xf4",
        "%macro PUT 2\n\tmov dx, %1\n\tout dx, al\n%endmacro\n\tPUT 0xf4, 1",
        "put:\tout dx, al\n\tret\nf:\tmov edx, 0xf4\n\tcall put", "\tlea edx, [0x2f8]\n\tout dx, al", "\tmov dx, \\\n 0x510",
        "DEBUG_EXIT equ 244",
    ])
    func inAssembly(code: String) {
        #expect(violations(code, path: "boot/a.asm") != [])
    }

    @Test func falseAlarms() {
        let code = """
            /* Ports 0x2f8-0x2ff and 0xf4 are the harness's. */
            enum { COM1 = 0x3f8, COM4 = 0x2e8, PIC = 0x20, HLT = 0xf4, VECTOR = 244, WIDTH = 760 };
            #define MSR_MTRR_DEF_TYPE 0x2ff
            #define LIMIT 0x1f4
            #define ADDRESS 0xfee002f8ull
            static const uint8_t code[] = { 0xf4, 0xeb, 0xfd };
            static const char *why = "COM2 is at 0x2f8";
            static bool is_harness(unsigned port) { return (port + 7 >= 0x2f8 && port <= 0x2ff) || port == 0x510 || 0xf4 == port; }
            int refuse(int port) { switch (port) { case 0x2f8: case 0x510: return -1; default: return 0; } }
            void f(uint16_t port, int i) { outb(COM1 + 5, 0xf4); outb(COM4, VECTOR); outb(port + 4, HLT); outb(0x1f4, 1); outb(0x70, 244); inb(COM1 + i); }
            void g(void) { __asm__ volatile("wrmsr" : : "c"(0x2ff), "a"(0xf4), "d"(0xf4)); __asm__("mov $0xf4, %al; outb %al, $0x20"); }
            void h(void) { memset(a, 0xf4, 760); frame_at(0xf4); }
            """
        #expect(violations(code) == [])
        let assembly = """
            ; out 0xf4, al
            PAGE equ 0x1000
            \tmov al, 0xf4\t; hlt
            \tout 0x20, al
            \tmov ecx, 0x2ff
            \tcmp dx, 0x2f8
            \tpush 0xf4
            \tdb "0x2f8", 0xf4
            \tdd 0x1f4, 0x12f8
            \tmov dx, 0x3f8
            \tadd dx, 5
            \tin al, dx
            """
        #expect(violations(assembly, path: "boot/a.asm") == [])
    }

    /// A guest's port is none of the machine's, a letter no port.
    @Test(arguments: ["hv/vm.c", "nl/letters.c", "ipc/right.c", "lib/crc.c"])
    func numbersOfWhatDrivesNoDevice(_ path: String) {
        let code =
            "enum { GUEST_COM2 = 0x2f8 };\n#define PORT_RIGHTS 0xf4\nstatic const uint16_t letters[][2] = { { 0x0510, 0x052f } };\n"
        #expect(violations(code, path: path) == [])
        #expect(violations(code + "void f(void) { outb(GUEST_COM2, 1); }", path: path) != [])
        #expect(violations(code) != [])
    }

    /// Where a file neither reads nor writes a port its numbers may be any; a name that is one is known elsewhere.
    @Test func enumerators() {
        let names = "enum { OP_HLT = 0xf4, PAGES = 0x2f8, MSR_MTRR = 0x2ff };\n"
        #expect(violations(names) == [])
        #expect(violations(names + "void f(void) { outb(0x20, 1); }").count == 1)
        #expect(violations("enum { COM2 = 0x2f8 };") != [])
        #expect(violations("static const int pages = 0x2f8;").count == 1)
        let files: [ChangedFile] = [.made("include/a.h", to: names), .made("mm/a.c", to: "void f(void) { outb(PAGES, 1); }\n")]
        #expect(PortsRule().violations(in: Change(files: files)).map { $0.prefix(7) } == ["mm/a.c:"])
    }

    @Test func whereAndWhat() {
        #expect(
            violations("int a;\nvoid f(void) { outb(0xf4, 1); }") == [
                "drivers/a.c: uses the port 0xf4, which is the harness's (line 2)"
            ])
    }

    /// A name that a header of the change defines is known in its other files.
    @Test func acrossFiles() {
        let files: [ChangedFile] = [
            .made("include/a.h", to: "#define OUT 0xf4\n"), .made("mm/a.c", to: "void f(void) { outb(OUT, 1); }\n"),
        ]
        #expect(
            PortsRule().violations(in: Change(files: files)) == ["mm/a.c: uses the port 0xf4, which is the harness's (line 1)"])
    }

    @Test func whatIsThereAlreadyIsNotTheChange() {
        let old = "void f(void) { outb(0xf4, 1); }\n"
        #expect(violations("int a;\n" + old, from: old) == [])
    }
}
