/// Names that C reserves: those that begin with two underscores, or with one and a capital.
enum CompilerNames {
    /// Those that code may have a use for. What asks the compiler where it is, or which files there are, is not among them.
    private static let known: Set<String> = [
        "_Alignas", "_Alignof", "_Atomic", "_Bool", "_Generic", "_Noreturn", "_Pragma", "_Static_assert", "_Thread_local",
        "__FILE__",
        "__FILE_NAME__", "__FUNCTION__", "__LINE__", "__PRETTY_FUNCTION__", "__VA_ARGS__", "__VA_OPT__", "__alignof",
        "__alignof__", "__asm",
        "__asm__", "__attribute", "__attribute__", "__auto_type", "__const", "__const__", "__extension__", "__func__", "__inline",
        "__inline__", "__int128", "__int128_t", "__uint128_t", "__label__", "__restrict", "__restrict__", "__signed__",
        "__typeof",
        "__typeof__", "__volatile", "__volatile__", "__thread", "__x86_64__", "__pragma",
    ]
    private static let families = [
        "__builtin_", "__atomic_", "__ATOMIC_", "__sync_", "__SIZEOF_", "__ORDER_", "__BYTE_ORDER__", "__CHAR_BIT__",
    ]

    /// Whether it is reserved and nothing that code has a use for: with it names can be made that no rule sees.
    static func isUnknown(_ name: String) -> Bool {
        if name == "_" { return true }
        guard name.hasPrefix("_"), let second = name.utf8.dropFirst().first,
            second == UInt8(ascii: "_") || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(second)
        else { return false }
        return !known.contains(name) && !families.contains(where: name.hasPrefix) && !isOfLinker(name) && !isOfAttribute(name)
            && !isGuard(name)
            && !HarnessNames.placesOfCompilation.contains(name) && !HarnessNames.isReserved(name)
    }

    /// `__text_start`: kernel.ld has such.
    private static func isOfLinker(_ name: String) -> Bool {
        ["_start", "_end"].contains(where: name.hasSuffix)
            && name.utf8.dropFirst(2).allSatisfy { isLower($0) || CLexer.isDigit($0) || $0 == 0x5f }
    }

    /// `__packed__`; `__gnu_inline__` and `__weak__` are found by themselves.
    private static func isOfAttribute(_ name: String) -> Bool {
        name.hasPrefix("__") && name.hasSuffix("__") && name.utf8.count > 4
            && name.utf8.dropFirst(2).dropLast(2).allSatisfy { isLower($0) || $0 == 0x5f }
    }

    /// `_MM_FRAMES_H`, `__BOOT_H__`
    private static func isGuard(_ name: String) -> Bool {
        let end = name.reversed().drop { $0 == "_" }
        return end.starts(with: "H_") && name.utf8.allSatisfy { !isLower($0) }
    }

    private static func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
}
