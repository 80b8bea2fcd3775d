import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import Glibc
import SystemPackage

/// A process that does nothing but take turns against a budget, for the ledger's tests.
///
/// `ledger-probe MAILBOX CONVERSATION TURNS USED`: every turn reserves 1000 tokens in and 1000 out of the model `probe`, whose tokens
/// cost $10 a million, prints `reserved N`, and settles at USED tokens; at `-` it keeps the reservation and
/// waits to be killed. Caps come from the environment. Exit status as everywhere, the reason on standard error.
@main
struct LedgerProbe {
    static func main() {
        do {
            try take(CommandLine.arguments)
        } catch let error as AutonError {
            complain(error.description)
            exit(error.status.rawValue)
        } catch {
            exit(ExitStatus.bug.rawValue)
        }
    }

    private static func take(_ arguments: [String]) throws {
        guard arguments.count == 5, let turns = Int(arguments[3]) else {
            throw AutonError(.usage, "MAILBOX CONVERSATION TURNS USED")
        }
        let caps = Caps(try Settings.load().budget)
        let tenDollars = Money(picodollars: 10_000_000_000_000)
        guard let rates = ModelPrice.Rates(input: tenDollars, output: tenDollars, cacheWrite: tenDollars) else {
            throw AutonError(.bug, "no price")
        }
        let price = ModelPrice(rates: rates)
        let ledger = Ledger(FilePath(arguments[1]), caps: caps, prices: PriceTable(["probe": price])) { complain($0) }
        for number in 1...turns {
            let turn = Turn(conversation: arguments[2], number: number)
            try ledger.reserve(WorstCase(input: 1000, output: 1000).priced(price), model: "probe", at: turn)
            print("reserved \(number)")
            fflush(nil)
            guard let used = Int(arguments[4]) else {
                while true { pause() }
            }
            try ledger.settle(turn, usage: TokenUsage(output: used), model: "probe")
        }
    }

    private static func complain(_ message: String) {
        _ = try? FileDescriptor.standardError.writeAll("ledger-probe: \(message)\n".utf8)
    }
}
