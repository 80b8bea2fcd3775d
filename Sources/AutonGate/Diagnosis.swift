import AutonKit
import SystemPackage

/// Where a boot that ended badly was, told in a few lines that are the same for every boot of the same kernel, as far
/// as that can be had.
///
/// It decides nothing: what cannot be found out is left out.
enum Diagnosis {
    private static let deepest = 8

    /// Of a hang: where the looks at it found it.
    static func hang(_ states: [MachineState], image: FilePath, directory: FilePath) async -> [String] {
        guard let last = states.last else { return [] }
        let returns = Set(states.flatMap(\.allReturnAddresses))
        let symbols = await Symbols(
            of: states.map(\.instruction) + returns, returns: returns, image: image, directory: directory)
        var lines: [String] = []
        if last.isHalted && !last.interruptsEnabled {
            lines = ["halted with interrupts off: \(symbols.describe(last.instruction))"]
        } else if states.allSatisfy(\.isHalted) {
            lines = ["halted, and no interrupt comes: \(symbols.describe(last.instruction))"]
        } else {
            let places = Set(states.map(\.instruction)), functions = symbols.describe(places)
            lines = places.count == 1 ? ["loops at \(symbols.describe(last.instruction))"] : ["loops in \(functions[0])"]
            lines += Text.head(functions.dropFirst().map { "  and \($0)" }, 3)
        }
        // The frames that were there at every look are what the loop was called by.
        let stacks = states.map { Array(chain(of: $0, symbols).reversed()) }
        let common = stacks.dropFirst().reduce(stacks[0]) { common, stack in
            Array(zip(common, stack).prefix { $0.0 == $0.1 }.map(\.0))
        }
        return lines + calls(common.reversed(), symbols)
    }

    /// Of a reset: the exception behind it, and who called what raised it.
    static func reset(_ log: InterruptLog, state: MachineState?, image: FilePath, directory: FilePath) async -> [String] {
        guard log.isTripleFault else { return ["no triple fault: the kernel had the machine reset"] }
        let returns = state?.allReturnAddresses ?? []
        let places = log.exceptions.map(\.instruction) + (state.map { [$0.instruction] } ?? [])
        let symbols = await Symbols(of: places + returns, returns: Set(returns), image: image, directory: directory)
        guard let first = log.exceptions.first else {
            return ["triple fault"] + (state.map { ["  at \(symbols.describe($0.instruction))"] } ?? [])
        }
        let rest = log.exceptions.dropFirst().map { "  delivering that raised \($0)" }
        let frames = state.map { chain(of: $0, symbols) } ?? []
        return ["triple fault: \(first)", "  at \(symbols.describe(first.instruction))"] + rest + calls(frames, symbols)
    }

    /// Of a panic: the frames that the harness saw under it.
    static func panic(_ trace: [UInt64], image: FilePath, directory: FilePath) async -> [String] {
        let symbols = await Symbols(of: trace, returns: Set(trace), image: image, directory: directory)
        return calls(trace.filter { symbols.isKnown($0) }, symbols)
    }

    /// As far as they are in the kernel.
    private static func chain(of state: MachineState, _ symbols: Symbols) -> [UInt64] {
        let frames = Array(state.returnAddresses.prefix { symbols.isKnown($0) })
        // Before it has made its frame, or if it makes none, what calls the function is on top of the stack.
        guard let call = state.call, symbols.start(state.instruction) == call.to, frames.first != call.from else { return frames }
        return [call.from] + frames
    }

    private static func calls(_ frames: [UInt64], _ symbols: Symbols) -> [String] {
        frames.isEmpty ? [] : ["called from"] + Text.head(frames.map { "  " + symbols.describe($0) }, deepest)
    }
}
