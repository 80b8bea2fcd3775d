import AutonMessages
import AutonModel
import Testing

@Suite struct GoldenTests {
    @Test(arguments: Golden.all)
    func decodingAndEncodingGivesTheSameBytes(_ golden: Golden) throws {
        let bytes = try golden.bytes()
        #expect(try Reading(golden.kind, bytes).encoded == String(decoding: bytes, as: UTF8.self))
    }

    @Test func thereIsOneOfEveryKind() {
        #expect(Set(Golden.all.map(\.kind)) == Set(Kind.allCases))
    }

    @Test func namesFollowFromTheContents() throws {
        let names = try Golden.all.map { "\($0.name) \(try Reading($0.kind, $0.bytes()).name)" }
        let tree = String(repeating: "b", count: 40)
        #expect(
            names == [
                "blocked boot-002", "candidate-gave-up boot-002.2", "candidate boot-002.1", "composition \(tree)", "goal 1",
                "merge boot-002", "plan-by-hand 1", "plan 2", "review-approve boot-002.2", "review boot-002.1",
                "task-first boot-002.1", "task boot-002.5", "verdict boot-002.1",
            ])
    }

    @Test(arguments: Golden.all)
    func anotherKindOrFormatIsRefused(_ golden: Golden) throws {
        for (key, value) in [("kind", "mail"), ("format", 2), ("format", 0)] as [(String, JSONValue)] {
            let changed = try CompactJSON.encode(golden.value().setting(key, to: value))
            #expect(throws: MessageError.self, "\(key) \(value)") { try Reading(golden.kind, changed) }
        }
    }

    @Test(arguments: Golden.all)
    func unknownFieldsAreIgnored(_ golden: Golden) throws {
        let more = try CompactJSON.encode(golden.value().setting("later", to: ["x": [1]]))
        #expect(try Reading(golden.kind, more) == Reading(golden.kind, golden.bytes()))
    }
}

extension JSONValue {
    /// An object with a member changed; removed if `value` is nil.
    func setting(_ key: String, to value: JSONValue?) -> JSONValue {
        guard case .object(var members) = self else { return self }
        members[key] = value
        return .object(members)
    }
}
