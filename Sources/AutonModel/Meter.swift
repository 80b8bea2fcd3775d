/// Told of what may cost money. What a turn did cost is settled elsewhere, once the transcript has its response.
package protocol Meter: Sendable {
    /// Sets the worst case of a request aside before it goes out; called again for every try.
    ///
    /// - Parameter bytes: the size of the request's body: no token has less than one.
    /// - Throws: `AutonError` with `.budget` if that is more than is left; the request must not go out then.
    func reserve(_ request: MessagesRequest, body bytes: Int, at turn: Turn) throws

    /// Gives a reservation back: the try surely was not billed (nobody there, an HTTP error).
    func release(_ turn: Turn) throws

    /// Says that a try ended without an answer but may have been billed: its reservation stays counted.
    func abandon(_ turn: Turn) throws
}
