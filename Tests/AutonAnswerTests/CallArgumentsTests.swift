import AutonKit
import AutonModel
import SystemPackage
import Testing

@testable import auton_answer

@Suite struct CallArgumentsTests {
    private func input(_ name: String, _ arguments: String...) throws -> JSONValue {
        try CallArguments(for: tool(name), input: StandardInput()).call(arguments).input
    }

    private func refusal(_ name: String, _ arguments: String...) -> String {
        do {
            return try CallArguments(for: tool(name), input: StandardInput()).call(arguments).input.compact
        } catch let error as AutonError {
            return "\(error.status): " + error.what.prefix { $0 != "(" }
        } catch {
            return "\(error)"
        }
    }

    @Test func valuesWithoutNamesFillInputsInOrder() throws {
        #expect(try input("edit", "a.c", "x", "y") == ["path": "a.c", "old": "x", "new": "y"])
        #expect(try input("edit", "old=x", "a.c", "y") == ["path": "a.c", "old": "x", "new": "y"])
        #expect(try input("shell", "X=1 make", "5") == ["script": "X=1 make", "seconds": 5])
        #expect(try input("list") == [:])
        #expect(try input("list", "mm") == ["path": "mm"])
    }

    @Test func valuesTakeTheTypesOfTheSchema() throws {
        #expect(try input("test", "boot, drivers", "bench=true") == ["suites": ["boot", "drivers"], "bench": true])
        #expect(try input("test", #"suites=["a,b"]"#) == ["suites": ["a,b"]])
        #expect(try input("test", "suites=") == ["suites": []])
        #expect(try input("review", "approve", "42", "[]") == ["verdict": "approve", "summary": "42", "comments": []])
    }

    @Test func valuesComeFromFiles() throws {
        let directory = try TemporaryDirectory()
        let text = try directory.write("text", "a \"quoted\"\n\tline\\\n")
        let comments = try directory.write("comments.json", #"[{"path": "a.c", "text": "no"}]"#)
        #expect(try input("write", "a.c", "@\(text)") == ["path": "a.c", "content": "a \"quoted\"\n\tline\\\n"])
        #expect(try input("write", "a.c", "@@x") == ["path": "a.c", "content": "@x"])
        #expect(
            try input("review", "approve", "fine", "comments=@\(comments)")
                == ["verdict": "approve", "summary": "fine", "comments": [["path": "a.c", "text": "no"]]])
    }

    @Test func wrongCallsAreRefusedWithAllReasons() throws {
        #expect(refusal("edit", "pth=a.c", "x", "y") == "badInput: there is no input pth ")
        #expect(refusal("list", "a", "b", "c") == "badInput: 2 values too many ")
        #expect(refusal("list", "path=a", "path=b") == "badInput: path is given twice ")
        #expect(refusal("shell", "make", "soon") == "badInput: seconds must be integer ")
        #expect(refusal("shell", "make", "301") == "badInput: seconds must be at most 300 ")
        #expect(refusal("test", "bench=yes") == "badInput: bench must be boolean ")
        #expect(refusal("edit", "a.c") == "badInput: new is missing; old is missing ")
        #expect(refusal("edit", "a.c", "", "x") == "badInput: old is too short ")
        #expect(refusal("review", "maybe", "x", "a,b") == "badInput: comments must be array in JSON ")
        #expect(refusal("review", "maybe", "x", "[]") == "badInput: verdict must be one of approve, changes-requested ")
        #expect(refusal("review", "approve", "x", "[[[") == "badInput: comments must be array in JSON ")
        #expect(refusal("write", "a.c", "@/nonexistent/file") == "badInput: cannot read: No such file or directory")
        let directory = try TemporaryDirectory()
        let binary = directory.path.appending("binary")
        try Files.write(binary, [0xff, 0xfe, 0], sync: false)
        #expect(refusal("write", "a.c", "@\(binary)") == "badInput: not UTF-8 text")
    }

    @Test(arguments: [
        ("write a.c  'int a;'", ["write", "a.c", "int a;"]),
        (#"shell "echo \"a\" \n" \'"#, ["shell", #"echo "a" \n"#, "'"]),
        ("edit a '' \"\"", ["edit", "a", "", ""]),
        ("a'b c'd", ["ab cd"]),
        ("  ", []),
    ])
    func linesSplitLikeAShellDoes(line: String, words: [String]) throws {
        #expect(try shellWords(line) == words)
    }

    @Test func anOpenQuoteIsRefused() {
        #expect(throws: AutonError.self) { try shellWords("write 'a") }
    }
}
