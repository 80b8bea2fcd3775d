import AutonKit
import AutonMessages
import AutonModel
import Testing

/// `mailbox/schema` and the Swift types say the same: what one refuses, the other refuses.
@Suite struct SchemaTests {
    private struct Judges {
        var golden: Golden
        var schema: JSONValue

        init(_ golden: Golden) throws {
            self.golden = golden
            schema = try AutonMessagesTests.schema(golden.kind)
        }

        func typeAccepts(_ value: JSONValue) throws -> Bool {
            let bytes = try CompactJSON.encode(value)
            return (try? Reading(golden.kind, bytes)) != nil
        }

        func schemaAccepts(_ value: JSONValue) -> Bool { JSONSchema(schema).problems(in: value).isEmpty }
    }

    @Test(arguments: Golden.all)
    func goldenMessagesAreValid(_ golden: Golden) throws {
        #expect(try JSONSchema(schema(golden.kind)).problems(in: golden.value()) == [])
    }

    /// The golden message named for the kind alone has all the optional fields, so that the schema can be held against it.
    @Test(arguments: Kind.allCases)
    func schemaAndTypeHaveTheSameFields(_ kind: Kind) throws {
        let golden = Golden(name: kind.rawValue), schema = try schema(kind)
        let known = fields(of: schema), present = Set(try golden.value().places().map(\.pattern))
        #expect(present.subtracting(known) == [], "not in the schema")
        #expect(known.subtracting(present) == [], "not in the message")
    }

    @Test(arguments: Golden.all)
    func aMissingFieldIsRefusedByBothOrByNeither(_ golden: Golden) throws {
        let judges = try Judges(golden), value = try golden.value()
        for place in value.places() where place.isMember {
            let changed = value.replacing(place.path[...], with: nil)
            #expect(try judges.typeAccepts(changed) == judges.schemaAccepts(changed), "without \(place.pattern)")
        }
    }

    @Test(arguments: Golden.all)
    func aValueOfAnotherTypeIsRefusedByBoth(_ golden: Golden) throws {
        let judges = try Judges(golden), value = try golden.value()
        for place in value.places() {
            let isOptional = place.isMember && judges.schemaAccepts(value.replacing(place.path[...], with: nil))
            for other in place.value.othersOfAnotherType where !(isOptional && other == .null) {
                let changed = value.replacing(place.path[...], with: other)
                #expect(try !judges.typeAccepts(changed), "type: \(place.pattern) = \(other)")
                #expect(!judges.schemaAccepts(changed), "schema: \(place.pattern) = \(other)")
            }
        }
    }

    @Test(arguments: Golden.all)
    func wordsOutsideAnEnumerationAreRefusedByBothOrByNeither(_ golden: Golden) throws {
        let judges = try Judges(golden), value = try golden.value()
        for place in value.places() where place.value.string != nil {
            let changed = value.replacing(place.path[...], with: "no such word")
            #expect(try judges.typeAccepts(changed) == judges.schemaAccepts(changed), "\(place.pattern)")
        }
    }

    /// Every field that a schema knows, as `tasks[].id`.
    private func fields(of schema: JSONValue, at path: String = "") -> Set<String> {
        if let items = schema["items"] { return Set([path + "[]"]).union(fields(of: items, at: path + "[]")) }
        guard case .object(let properties) = schema["properties"] else { return [] }
        return properties.reduce(into: []) { found, property in
            let here = path.isEmpty ? property.key : path + "." + property.key
            found.formUnion(fields(of: property.value, at: here).union([here]))
        }
    }
}
