import AutonKit
import AutonModel
import AutonSettings

/// One answer as it is received: fed by the transfer, which it also stops when nothing comes of it.
final class Exchange {
    private let settings: Settings.Model
    private let turn: Turn
    private(set) var head = ResponseHead()
    private var parser = EventStreamParser()
    private var assembler: ResponseAssembler
    /// All of the body, if it is no event stream.
    private var body: [UInt8] = []
    private var received = 0
    private var failure: Failure?
    private var isBegun = false
    /// The request went out on a connection that then was closed; how much of it got there is not known.
    private var isLost = false
    private let start = ContinuousClock.now
    private var lastProgress = ContinuousClock.now
    private var uploaded: Int64 = 0
    private let idleLimit: Duration
    private let wholeLimit: Duration

    /// Bytes; an answer of more is not meant as one.
    private static let limit = 64 << 20
    /// Seconds in which a server may end its answer after it has said that it is over: the connection can be used
    /// again only then.
    private static let grace = Duration.seconds(1)

    init(_ settings: Settings.Model, turn: Turn) {
        self.settings = settings
        self.turn = turn
        assembler = ResponseAssembler(turn: turn)
        idleLimit = .seconds(settings.idleSeconds)
        wholeLimit = .seconds(settings.requestSeconds)
    }

    /// Asked before the request is sent. When a connection that was kept dies before a byte of the answer, libcurl would
    /// send it again, and a try that may be billed would not be metered.
    func mayBegin() -> Bool {
        if isBegun {
            isLost = true
            failure = Failure(.interrupted, "the connection was closed before an answer came", mayBeBilled: true)
        }
        isBegun = true
        return !isLost
    }

    /// Takes a header line.
    ///
    /// - Returns: false if the transfer is to stop, as all of these do.
    func take(header line: UnsafeRawBufferPointer) -> Bool {
        let before = head.status
        head.take(String(decoding: line, as: UTF8.self))
        if head.status != before && head.status >= 200 { lastProgress = .now }
        return fits(line.count)
    }

    /// Takes a piece of the body.
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard fits(bytes.count) else { return false }
        guard head.status == 200 && head.isEventStream else {
            body += bytes
            return true
        }
        do throws(Failure) {
            try parser.feed(bytes) { event, data throws(Failure) in
                if assembler.isComplete { return }
                if try assembler.take(event, data) { lastProgress = .now }
            }
            return true
        } catch {
            failure = error
            return false
        }
    }

    private func fits(_ count: Int) -> Bool {
        received += count
        if received <= Self.limit { return true }
        failure = Failure(.hopeless, "the server sends more than \(Self.limit >> 20) MiB", mayBeBilled: true)
        return false
    }

    /// Asked again and again during the transfer, about once a second when nothing else happens.
    ///
    /// - Parameter uploaded: bytes of the request that are out.
    func goesOn(uploaded: Int64) -> Bool {
        if uploaded > self.uploaded {
            self.uploaded = uploaded
            lastProgress = .now
        }
        if assembler.isComplete { return .now - lastProgress < Self.grace }
        // An answer in one piece shows no progress until it is there.
        let isOnePiece = head.status == 200 ? !head.isEventStream : head.status < 200 && !settings.stream
        if .now - (isOnePiece ? start : lastProgress) < (isOnePiece ? wholeLimit : idleLimit) { return true }
        let what =
            isOnePiece
            ? "no answer within \(shortly(settings.requestSeconds))"
            : "nothing of an answer came for \(shortly(settings.idleSeconds))"
        failure = Failure(.interrupted, what, mayBeBilled: head.status <= 200)
        return false
    }

    /// What came of it, once the transfer is over.
    ///
    /// - Parameter size: of the request's body.
    func result(of transfer: TransferEnding, size: Int) throws(Failure) -> MessagesResponse {
        // What happens after the end of a message does not take it back.
        if let whole = assembler.whole { return whole }
        let isOut = transfer.uploaded >= size || isLost
        if var failure {
            // What did not get there is not billed.
            failure.mayBeBilled = failure.mayBeBilled && (isOut || head.status != 0)
            throw failure
        }
        switch (head.status, transfer.fault) {
        case (200, nil) where !head.isEventStream: return try decodeBody()
        case (200, let fault):
            throw Failure(.interrupted, "the answer was cut off\(fault.map { ": \($0)" } ?? "")", mayBeBilled: true)
        case (200..., _): throw Failure(refusal: head, body: body)
        case (_, let fault):
            let kind: Failure.Kind = transfer.hopeless ?? (isOut ? .interrupted : .unreachable)
            throw Failure(kind, fault ?? "no answer", mayBeBilled: kind == .interrupted)
        }
    }

    private func decodeBody() throws(Failure) -> MessagesResponse {
        guard let value = try? CompactJSON.decode(JSONValue.self, from: body, at: "") else {
            if head.isJSON { throw .malformed("no JSON") }
            throw Failure(
                .hopeless, "the server does not speak the Messages API: \(APIError(body: body).message)", mayBeBilled: true)
        }
        if let error = APIError(value) { throw Failure(error) }
        guard value["content"] != nil else {
            throw Failure(.hopeless, "the server does not speak the Messages API: an answer without content", mayBeBilled: true)
        }
        return try WireContent.response(value, at: turn)
    }
}

/// Seconds as one says them.
func shortly(_ seconds: Double) -> String {
    seconds < 10 ? "\((seconds * 10).rounded() / 10) s" : "\(Int(seconds.rounded())) s"
}
