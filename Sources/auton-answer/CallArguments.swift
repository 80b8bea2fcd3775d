import AutonKit
import AutonModel
import SystemPackage

/// Makes a tool's input out of words as they come from a shell.
struct CallArguments {
    let signature: ToolSignature
    let input: StandardInput

    init(for tool: Tool, input: StandardInput) {
        signature = ToolSignature(tool)
        self.input = input
    }

    /// - Throws: `AutonError` with `.badInput` and all that is wrong with the call, or with what could not be read.
    func call(_ arguments: [String]) throws -> Call {
        var texts: [String: String] = [:]
        var unnamed: [String] = []
        var problems: [String] = []
        for argument in arguments {
            if let (name, value) = named(argument) {
                if texts.updateValue(value, forKey: name) != nil { problems.append("\(name) is given twice") }
            } else if let name = mistakenName(argument) {
                problems.append("there is no input \(name) (for text that begins so, name its input: INPUT=\(argument))")
            } else {
                unnamed.append(argument)
            }
        }
        let free = signature.inputs.filter { texts[$0.name] == nil }
        for (input, text) in zip(free, unnamed) { texts[input.name] = text }
        if unnamed.count > free.count {
            problems.append("\(unnamed.count - free.count) value\(unnamed.count - free.count == 1 ? "" : "s") too many")
        }

        var members: [String: JSONValue] = [:]
        for input in signature.inputs {
            guard let text = texts[input.name] else { continue }
            do throws(Misfit) {
                members[input.name] = try input.value(of: try resolve(text))
            } catch .mistyped(let what) {
                problems.append("\(input.name) \(what)")
            } catch .unread(let error) {
                throw error
            }
        }
        let missing = signature.inputs.filter { $0.isRequired && texts[$0.name] == nil }
        if problems.isEmpty, missing.count == 1, missing[0].types == ["string"], let text = try input.readIfOffered() {
            members[missing[0].name] = .string(text)
        }
        let call = Call(name: signature.tool.name, input: .object(members))
        if problems.isEmpty { problems = call.problems(for: signature.tool) }
        guard problems.isEmpty else {
            throw AutonError(.badInput, "\(problems.joined(separator: "; ")) (usage: \(signature.line))", at: signature.tool.name)
        }
        return call
    }

    private func named(_ argument: String) -> (String, String)? {
        guard let equals = argument.firstIndex(of: "=") else { return nil }
        let name = String(argument[..<equals])
        guard signature.inputs.contains(where: { $0.name == name }) else { return nil }
        return (name, String(argument[argument.index(after: equals)...]))
    }

    /// A word like `pth=x` is sooner a slip than a value.
    private func mistakenName(_ argument: String) -> String? {
        guard let equals = argument.firstIndex(of: "="), !argument.contains(where: \.isWhitespace) else { return nil }
        let name = argument[..<equals]
        return name.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil ? nil : String(name)
    }

    /// `@FILE` and `-` stand for what is in them, `@@` for a plain `@`.
    private func resolve(_ text: String) throws(Misfit) -> String {
        do {
            return try input.resolve(text)
        } catch let error as AutonError {
            throw .unread(error)
        } catch {
            throw .unread(AutonError(.bug, "\(error)"))
        }
    }
}

/// Why a text does not become an input's value.
enum Misfit: Error {
    case mistyped(String)
    case unread(AutonError)
}

extension ToolSignature.Input {
    func value(of text: String) throws(Misfit) -> JSONValue {
        if types.isEmpty || types.contains("string") { return .string(text) }
        let plain = text.trimmed
        for type in types { if let value = value(of: plain, as: type) { return value } }
        throw .mistyped(
            "must be \(types.joined(separator: " or "))\(itemTypes == ["object"] ? " in JSON (NAME=@FILE reads a file)" : "")")
    }

    private func value(of text: String, as type: String) -> JSONValue? {
        switch type {
        case "integer": return Int(text).map(JSONValue.integer)
        case "number": return Int(text).map(JSONValue.integer) ?? Double(text).flatMap { $0.isFinite ? .number($0) : nil }
        case "boolean": return text == "true" ? true : text == "false" ? false : nil
        case "null": return text == "null" ? .null : nil
        case "array" where !text.hasPrefix("["): return list(text)
        default: return try? CompactJSON.decode(JSONValue.self, from: Array(text.utf8), at: name)
        }
    }

    /// `a,b,c`, or a line each.
    private func list(_ text: String) -> JSONValue? {
        let words = text.split { $0 == "," || $0.isNewline }.map { String($0).trimmed }.filter { !$0.isEmpty }
        if itemTypes.isEmpty || itemTypes.contains("string") { return .array(words.map(JSONValue.string)) }
        let items = words.compactMap { word in itemTypes.lazy.compactMap { value(of: word, as: $0) }.first }
        return itemTypes.contains("object") || items.count < words.count ? nil : .array(items)
    }
}

extension String {
    var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
