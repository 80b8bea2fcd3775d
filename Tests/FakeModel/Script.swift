import AutonKit
import Synchronization
import SystemPackage

/// The steps of `--script`, each taken by as many requests as it says.
final class Script: Sendable {
    private let steps: [Step]
    private let taken: Mutex<[Int]>

    /// - Throws: `AutonError` with `.badInput` if the file is no array of steps.
    convenience init(reading path: FilePath) throws {
        guard let items = try JSON(parsing: try Files.read(path)).array else {
            throw AutonError(.badInput, "a script must be an array of steps", at: path.string)
        }
        self.init(try items.enumerated().map { try Step($1, at: "\(path), step \($0 + 1)") })
    }

    init(_ steps: [Step] = []) {
        self.steps = steps
        taken = Mutex([Int](repeating: 0, count: steps.count))
    }

    /// The first step that is not used up and not for another conversation, with its number, counted from 1.
    func next(for firstMessage: String) -> (number: Int, step: Step)? {
        taken.withLock { taken in
            for (index, step) in steps.enumerated() where step.times == 0 || taken[index] < step.times {
                if let conversation = step.conversation, !firstMessage.contains(conversation) { continue }
                taken[index] += 1
                return (index + 1, step)
            }
            return nil
        }
    }
}
