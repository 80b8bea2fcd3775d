import AutonKit
import SystemPackage
import TestSupport
import Testing

@testable import AutonGate

/// The plugin, in a process that is not QEMU: its first thread is busy, then asleep, and another one is about to halt.
@Suite struct HaltOrderTests {
    private static let host = """
        #include <pthread.h>
        #include <stdatomic.h>
        #include <stdbool.h>
        #include <stddef.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <time.h>
        #include <unistd.h>

        static const uint8_t *code;
        static size_t size;
        static void (*translated)(uint64_t, void *);
        static void (*halts)(unsigned, void *);
        static atomic_bool is_halting, is_done;

        int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);
        void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(uint64_t, void *)) { translated = cb; }
        void qemu_plugin_register_vcpu_insn_exec_cb(void *insn, void (*cb)(unsigned, void *), int flags, void *data) { halts = cb; }
        size_t qemu_plugin_tb_n_insns(const void *tb) { return 3; }
        void *qemu_plugin_tb_get_insn(const void *tb, size_t index) { return index == 2 ? &code : NULL; }
        const void *qemu_plugin_insn_data(const void *insn) { return code; }
        size_t qemu_plugin_insn_size(const void *insn) { return size; }

        static bool is_seen(const char *bytes, size_t count)
        {
            halts = NULL;
            code = (const uint8_t *)bytes;
            size = count;
            translated(0, NULL);
            return halts;
        }

        static void *processor(void *unused)
        {
            is_halting = true;
            halts(0, NULL);
            puts(is_done ? "asleep" : "awake");
            fflush(stdout);
            _exit(0);
        }

        int main(void)
        {
            if (qemu_plugin_install(0, NULL, 0, NULL))
                return 1;
            printf("%d%d ", is_seen("\\xf4", 1), is_seen("\\x0f\\x01\\xc9", 3));
            /* A jump back by as much, and monitor. */
            printf("%d%d ", is_seen("\\x75\\xf4", 2), is_seen("\\x0f\\x01\\xc8", 3));
            is_seen("\\xf4", 1);
            pthread_t thread;
            pthread_create(&thread, NULL, processor, NULL);
            while (!is_halting)
                ;
            struct timespec begin, now;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            do
                clock_gettime(CLOCK_MONOTONIC, &now);
            while (now.tv_sec - begin.tv_sec < 1);
            is_done = true;
            for (;;)
                pause();
        }
        """

    @Test func aProcessorHaltsWhenTheMainLoopIsAsleep() async throws {
        let place = try TemporaryDirectory()
        let program = place["host"].string
        let sources = [try place.write("host.c", Self.host), HaltOrder.source].map(\.string)
        let compiled = try await Command("gcc", ["-pthread", "-o", program] + sources).run()
        try #require(compiled.succeeded, "\(compiled.errors.text)")
        #expect(try await Command(program, []).run().output.text == "11 00 asleep\n")
    }
}
