import AutonMessages
import Testing

@Suite struct AttemptIDTests {
    @Test(arguments: [("boot-002.1", "boot-002", 1), ("a.42", "a", 42), ("x9-y.7", "x9-y", 7)])
    func parses(_ text: String, task: String, attempt: Int) {
        #expect(AttemptID(text) == AttemptID(task: task, attempt: attempt))
    }

    @Test(arguments: [
        "", ".", "boot", "boot.", ".1", "boot.0", "boot.-1", "boot.x", "boot.1.2", "boot.1x", "Boot.1", "boot .1", "../x.1",
        "boot-.1", "boot.99999999999999999999", "boot.+1", "boot.01", "boot.٣",
    ])
    func refuses(_ text: String) {
        #expect(AttemptID(text) == nil)
    }

    /// One attempt has one name.
    @Test(arguments: ["boot-002.1", "a.42"])
    func descriptionIsWhatIsParsed(_ text: String) {
        #expect(AttemptID(text)?.description == text)
    }

    @Test func attemptsAreOrderedByNumber() {
        let ids = ["b.1", "a.10", "a.9", "a.1"].compactMap { AttemptID($0) }
        #expect(ids.sorted().map(\.description) == ["a.1", "a.9", "a.10", "b.1"])
    }
}

@Suite struct TaskIDTests {
    @Test(arguments: ["a", "boot-002", "x86", "a--b", String(repeating: "a", count: 64)])
    func accepts(_ text: String) {
        #expect(TaskID.isValid(text))
    }

    /// Each would be something else as a file name, a branch name, a make target or an option.
    @Test(arguments: [
        "", "-", "-a", "a-", "2boot", "Boot", "boot 2", "boot.2", "boot/2", "..", "boot\n", "boot%", "boot$", "boot:", "böot",
        "a~b",
        "boot\u{0}", String(repeating: "a", count: 65),
    ])
    func refuses(_ text: String) {
        #expect(!TaskID.isValid(text))
    }
}

@Suite struct TaskMessageTests {
    private let reason = Reason(attempt: 1, stage: .gate, summary: "no", details: ["x"])
    private let planned = PlannedTask(
        id: "boot-002", title: "t", role: .developer, subsystem: "boot", description: "d", paths: ["boot/"], depends: ["a"],
        accept: ["boot.*"])

    @Test func theNextAttemptKnowsWhy() {
        var expected = TaskMessage(planned)
        expected.attempt = 2
        expected.reasons = [reason]
        #expect(TaskMessage(planned).next(because: reason) == expected)
    }

    @Test func aConflictIsTheArchitectsToResolve() {
        let resolution = TaskMessage(planned).resolution(of: reason)
        #expect(resolution.role == .architect && resolution.attempt == 2)
        // What follows a failed resolution is an attempt like any other.
    }
}
