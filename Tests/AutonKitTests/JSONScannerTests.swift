import Testing

@testable import AutonKit

@Suite struct JSONScannerTests {
    @Test(arguments: [
        ("", "line 1, column 1"), (" \n ", "line 2, column 2"), ("[1, -1.5e+3, 01]", "line 1, column 15"),
        (#"["\q"]"#, "line 1, column 4"),
        (#"["\u00g0"]"#, "line 1, column 7"), ("{\"é\" 1}", "line 1, column 6"), ("[1,]", "line 1, column 4"),
        ("[1", "line 1, column 3"),
        ("{1: 2}", "line 1, column 2"), ("{} x", "line 1, column 4"), ("[nul]", "line 1, column 2"), ("[1.]", "line 1, column 4"),
        ("[-]", "line 1, column 3"), ("[1e+]", "line 1, column 5"), ("[\"a\tb\"]", "line 1, column 4"),
        ("[\"", "line 1, column 3"),
        (String(repeating: "[", count: 1_000_000), "line 1, column 513"),
    ])
    func aTextStopsBeingJSON(_ text: String, _ place: String) {
        #expect(JSONScanner.fault(in: Array(text.utf8)) == place)
    }

    @Test(arguments: [
        "0", "-0.5E-7", "true", " null ", "\"\"", #""\"\\\/\b\f\n\r\t\u00e9é""#, "{}", "[ ]",
        #"{"a": [1, {"b": false}], "c": "d"}"#,
        "\r\n[\n]\t",
    ])
    func orIsIt(_ text: String) {
        #expect(JSONScanner.fault(in: Array(text.utf8)) == nil)
    }
}
