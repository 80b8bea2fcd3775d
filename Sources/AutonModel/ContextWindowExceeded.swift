/// The conversation is too long for the model: the same request can never be answered, a shorter one can.
package struct ContextWindowExceeded: Error, CustomStringConvertible {
    /// What the server says.
    package var description: String

    package init(_ description: String) { self.description = description }
}
