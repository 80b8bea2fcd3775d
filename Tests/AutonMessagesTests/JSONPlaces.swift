import AutonModel

/// Somewhere inside a JSON value.
struct JSONPlace {
    enum Step: Hashable { case member(String), item(Int) }

    var path: [Step]
    var value: JSONValue

    var isMember: Bool { if case .member = path.last { true } else { false } }

    /// As `tasks[].id`.
    var pattern: String {
        path.reduce(into: "") { text, step in
            switch step {
            case .item: text += "[]"
            case .member(let name): text += text.isEmpty ? name : "." + name
            }
        }
    }
}

extension JSONValue {
    /// All members and items, at any depth.
    func places(under path: [JSONPlace.Step] = []) -> [JSONPlace] {
        let children: [(JSONPlace.Step, JSONValue)] =
            switch self {
            case .object(let members): members.sorted { $0.key < $1.key }.map { (.member($0.key), $0.value) }
            case .array(let items): items.enumerated().map { (.item($0), $1) }
            default: []
            }
        return children.flatMap { step, value in
            [JSONPlace(path: path + [step], value: value)] + value.places(under: path + [step])
        }
    }

    /// The value with one place in it replaced; removed if `new` is nil.
    func replacing(_ path: ArraySlice<JSONPlace.Step>, with new: JSONValue?) -> JSONValue {
        let rest = path.dropFirst()
        switch (self, path.first) {
        case (.object(let members), .member(let name)):
            return setting(name, to: rest.isEmpty ? new : members[name]?.replacing(rest, with: new))
        case (.array(var items), .item(let index)):
            items[index] = rest.isEmpty ? new ?? .null : items[index].replacing(rest, with: new)
            return .array(items)
        default: return self
        }
    }

    var othersOfAnotherType: [JSONValue] {
        let all: [JSONValue] = [.null, true, 7, .number(1.5), "7", [], [:]]
        return all.filter { other in
            switch (self, other) {
            case (.null, .null), (.bool, .bool), (.integer, .integer), (.string, .string), (.array, .array), (.object, .object),
                (.number, .number), (.number, .integer):
                false
            // A whole number of seconds is one of a number's values.
            case (.integer(0), .number): false
            default: true
            }
        }
    }
}
