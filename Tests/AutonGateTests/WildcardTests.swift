import Testing

@testable import AutonGate

@Suite struct WildcardTests {
    @Test(arguments: [
        ("boot.*", "boot.a", true), ("boot.*", "boot.", true), ("boot.*", "boot", false), ("boot.*", "reboot.a", false),
        ("*", "x", true), ("", "x", false), ("a", "a", true), ("a", "ab", false), ("a*b", "ab", true), ("a*b", "axxb", true),
        ("a*b", "a", false), ("aa*aa", "aaa", false), ("*.init_*", "mm.init_once", true), ("*a*b*", "xbya", false),
        ("a.b", "axb", false),
    ]) func matching(pattern: String, name: String, expected: Bool) {
        #expect(Wildcard(pattern).matches(name) == expected)
    }
}
