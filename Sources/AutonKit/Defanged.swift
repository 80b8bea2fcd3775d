extension String {
    /// With control characters other than newline and tab as `^X`, as cat -v prints them.
    package var defanged: String {
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            switch scalar.value {
            case 9, 10: result.append(scalar)
            case 0..<32, 127: result.append(contentsOf: ["^", Unicode.Scalar(UInt8(scalar.value ^ 64))])
            case 128..<160: result.append("?")
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
