/// What of the protected harness is whose: kernel/harness/harness.h is for everybody, the rest for the harness.
enum HarnessNames {
    /// What `harness/internal.h` shares among the harness's files.
    static let privateNames: Set<String> = [
        "report_bytes", "report_char", "report_text", "report_raw", "report_unsigned", "report_value", "report_name",
        "report_run", "report_end", "report_fresh_line", "order_begin", "order_compare", "fw_cfg_present",
        "fw_cfg_number", "fw_cfg_bytes", "fw_cfg_string", "harness_addr", "harness_memcpy", "harness_memmove",
        "harness_memset", "harness_memcmp", "harness_strlen", "harness_strcmp", "harness_bss_head", "harness_bss_tail",
        "harness_init_count", "harness_init_seen", "harness_call", "harness_called", "harness_calls", "harness_ticks",
        "harness_level_ticks", "harness_ready_ticks", "harness_table", "harness_gdt", "harness_idt", "harness_cli",
        "harness_restore", "harness_flags", "harness_rdmsr", "harness_wrmsr", "harness_random", "harness_seed",
        "harness_outb", "harness_outw", "harness_inb", "harness_running", "harness_running_beside", "harness_result",
        "harness_beside",
        "harness_number", "harness_counting",
    ]
    /// How private names begin: the Makefile refuses to link what calls any such function of another file.
    static let privatePrefixes = [
        "report_", "fw_cfg_", "harness_addr", "harness_mem", "harness_bss", "harness_init", "harness_str", "harness_in",
        "harness_out", "harness_call", "harness_ticks", "harness_level", "harness_ready", "harness_running", "harness_result",
        "harness_beside",
    ]
    /// What the macros of harness.h expand to, and nobody writes.
    static let ofMacrosPrefixes = [
        "ktest_info_", "ktest_entry_", "kbench_info_", "kbench_entry_", "kfigure_info_",
        "kfigure_entry_", "kpanic_info_", "kpanic_entry_", "HARNESS_ENTRY",
    ]
    /// How the functions begin that the macros of harness.h make of tests and the like. A test may name one, nobody gives it another meaning.
    static let ofTestsPrefixes = ["ktest_", "kbench_", "kfigure_", "kpanic_"]
    /// What the assertions call. A test's helper may too.
    static let ofAssertions: Set<String> = ["ktest_fail", "ktest_fail_eq", "ktest_fail_str", "ktest_skip", "ktest_streq"]
    /// The tables of kernel.ld, and their sections.
    static let tables: Set<String> = [
        "__start_inits", "__stop_inits", "__start_ktests", "__stop_ktests", "__start_kbenches", "__stop_kbenches",
        "__start_kfigures", "__stop_kfigures", "__start_kpanics", "__stop_kpanics",
        "__harness_text_start", "__harness_text_end", "__acceptance_text_start", "__acceptance_text_end", "__harness_data_start",
        "__harness_data_end", "__harness_bss_start", "__harness_bss_end",
    ]
    static let sections = [
        ".auton", "auton.ktests", "auton.kbenches", "auton.inits", "auton.kfigures", "auton.kpanics", "_ktests", "_kbenches",
        "_kfigures", "_kpanics",
    ]
    /// What the linker tells of an image, by which the gate finds the harness in it.
    static let sectionsOfLinker = [".symtab", ".strtab", ".shstrtab"]
    /// The types of the tables' entries.
    static let entries: Set<String> = ["ktest", "kbench", "kfigure", "kpanic"]
    /// Functions that harness.h declares for the kernel to call, not to define.
    static let functions: Set<String> = ["init_run", "harness_run", "harness_exit", "harness_panic", "ktest_note"]
    static let macros: Set<String> = [
        "KASSERT", "KASSERT_EQ", "KASSERT_STREQ", "KTEST", "KBENCH", "KFIGURE", "KPANIC", "KSKIP", "INIT", "HARNESS_ENTRY",
        "KTEST_SIGNED",
        "HARNESS_PASS", "HARNESS_FAIL", "HARNESS_PANIC", "AUTON_HARNESS_H", "AUTON_HARNESS_INTERNAL_H",
    ]
    /// Macros of the harness's and the acceptance tests' headers: whether they are there tells who includes a file.
    static let macrosOfHeaders: Set<String> = [
        "AUTON_HARNESS_MEMORY_H", "AUTON_HARNESS_THREADS_H", "AUTON_HARNESS_USER_H", "HARNESS_CANARY", "HARNESS_DIRTY",
        "HARNESS_READ", "HERE", "KERNEL_VIRT_BASE", "LONG", "USER_CODE", "USER_DATA", "USER_DATA_LEN", "USER_LEN",
        "USER_PROGRAM",
    ]
    /// What a file would ask for to be another for the tests than for the kernel.
    static let placesOfCompilation: Set<String> = Set(["__BASE_FILE__", "__INCLUDE_LEVEL__"]).union(placesOfTests)
    /// Those that a test may tell when it fails.
    static let placesOfTests: Set<String> = Set([
        "__FILE__", "__FILE_NAME__", "__COUNTER__", "__builtin_FILE", "__builtin_FUNCTION",
    ]).union(namesOfFunction)
    static let namesOfFunction: Set<String> = ["__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"]
    static let headers: Set<String> = ["harness.h", "internal.h"]
    /// The compiler's own that the harness includes, and that one of the kernel's would be taken for.
    static let compilerHeaders: Set<String> = [
        "stdbool.h", "stddef.h", "stdint.h", "stdarg.h", "limits.h", "stdatomic.h", "stdnoreturn.h", "stdalign.h",
        "float.h", "iso646.h", "stdint-gcc.h", "syslimits.h",
    ]
    /// What only a boot of the gate has on its machine, and only the harness says.
    static let words = ["opt/auton", "KTAP version", "# auton nonce", "# auton end", "auton nonce", "auton end"]

    /// Macros of the compiler's headers that harness.h includes: whether they are there tells who includes a file, and tests stand on what they mean.
    static func isOfCompilersHeaders(_ name: String) -> Bool {
        if ["NULL", "offsetof", "bool", "true", "false", "__bool_true_false_are_defined"].contains(name) { return true }
        if let end = ["_MAX", "_MIN", "_WIDTH", "_C", "_t"].first(where: name.hasSuffix), isOfTypes(name.dropLast(end.count)) {
            // Of these no header of C11 has anything else.
            let hasLimitsOnly = ["CHAR", "SHRT", "LONG", "LLONG"].contains(where: name.hasPrefix)
            return ["_MAX", "_MIN"].contains(end) || !hasLimitsOnly
        }
        // What guards them.
        return name.hasPrefix("_")
            && [
                "STDBOOL", "STDDEF", "STDINT", "SIZE_T", "SIZET", "PTRDIFF", "WCHAR", "size_t", "ptrdiff_t", "wchar_t",
                "MAX_ALIGN",
            ]
            .contains(where: name.contains)
    }

    /// What the names of the types' limits begin with: `INT`, `UINT_LEAST16`, `SIZE`.
    private static func isOfTypes(_ name: Substring) -> Bool {
        let upper = name.uppercased()
        let width = upper.reversed().prefix(while: \.isNumber).count
        let kind = upper.dropLast(width).dropFirst(upper.hasPrefix("U") ? 1 : 0)
        let widths: Set<String> = ["INT", "INT_LEAST", "INT_FAST"]
        return width > 0
            ? widths.contains(String(kind))
            : ["INT", "INTMAX", "INTPTR", "PTRDIFF", "SIG_ATOMIC", "SIZE", "WCHAR", "WINT", "CHAR", "SHRT", "LONG", "LLONG"]
                .contains(kind)
    }

    /// Functions of the harness's that other code may call; those of C's library are its own where the kernel has none.
    static func isForOthers(_ name: String) -> Bool {
        functions.contains(name) || ofAssertions.contains(name) || ["memcpy", "memmove", "memset", "memcmp"].contains(name)
    }

    /// Names that nobody but the harness says.
    static func isPrivate(_ name: String) -> Bool {
        guard mayBegin(name) else { return false }
        return tables.contains(name) || privateNames.contains(name) || ofMacrosPrefixes.contains(where: name.hasPrefix)
    }

    /// Names of functions that would be taken for the harness's.
    static func looksPrivate(_ name: String) -> Bool {
        mayBegin(name) && (isPrivate(name) || privatePrefixes.contains(where: name.hasPrefix))
    }

    /// Whether a private name begins so; of two letters many do.
    static func beginsPrivate(_ name: String) -> Bool {
        name.utf8.count > 2 && mayBegin(name)
            && (privateNames.union(ofAssertions).contains { $0.hasPrefix(name) } || looksPrivate(name))
    }

    /// Names that nobody but the harness defines.
    static func isReserved(_ name: String) -> Bool {
        isPrivate(name) || ofTestsPrefixes.contains(where: name.hasPrefix) || ofAssertions.contains(name)
            || functions.contains(name) || macros.contains(name)
    }

    /// The name that words side by side would make if a macro joined them, if it is one of the harness's.
    static func pasted(_ words: ArraySlice<String>) -> String? {
        guard let first = words.first, mayBegin(first) else { return nil }
        var joined = first
        for word in words.dropFirst() {
            joined += word
            if isPrivate(joined) || ofAssertions.contains(joined) { return joined }
        }
        return nil
    }

    /// The parts, two or three, that are all among `words` and of which a macro could make a name that is refused as it is.
    static func parts(in words: Set<String>) -> [String]? {
        let pieces = words.filter { (2..<longest).contains($0.utf8.count) }
        for name in joinable {
            for first in name.indices.dropFirst(2) where pieces.contains(String(name[..<first])) {
                let rest = name[first...]
                if pieces.contains(String(rest)) { return [String(name[..<first]), String(rest)] }
                for second in rest.indices.dropFirst(2)
                where pieces.contains(String(rest[..<second])) && pieces.contains(String(rest[second...])) {
                    return [String(name[..<first]), String(rest[..<second]), String(rest[second...])]
                }
            }
        }
        return nil
    }

    private static let joinable = privateNames.union(ofAssertions).union(tables).union(["weak", "gnu_inline"]).sorted()
    private static let longest = joinable.map(\.utf8.count).max() ?? 0

    /// Cheap, since every word of a change is asked.
    private static func mayBegin(_ name: String) -> Bool {
        switch name.utf8.first {
        case UInt8(ascii: "r"), UInt8(ascii: "o"), UInt8(ascii: "f"), UInt8(ascii: "h"), UInt8(ascii: "H"), UInt8(ascii: "k"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
