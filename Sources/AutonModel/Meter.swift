/// What a transport asks before it sends a request and tells when it comes to nothing, so that no budget is overshot.
package protocol Meter: Sendable {
    /// Told before a request is sent. Returns once its worst case is reserved.
    ///
    /// - Parameter bytes: the size of the request's body as it is sent.
    /// - Throws: `AutonError` with `.budget` if there is no room; the request may not be sent then.
    func reserve(_ request: MessagesRequest, body bytes: Int, at turn: Turn) throws

    /// Told when a request was surely not billed: what was reserved is free again.
    func release(_ turn: Turn) throws

    /// Told when a request without a response may have been billed: what was reserved stays counted.
    func abandon(_ turn: Turn) throws
}
