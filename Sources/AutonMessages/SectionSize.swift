/// A section of the kernel's image that takes memory when it runs.
package struct SectionSize: Codable, Sendable, Equatable {
    package var name: String
    package var bytes: Int
    /// The same on the base; nil if it is not there.
    package var base: Int?

    package init(name: String, bytes: Int, base: Int? = nil) {
        self.name = name
        self.bytes = bytes
        self.base = base
    }
}
