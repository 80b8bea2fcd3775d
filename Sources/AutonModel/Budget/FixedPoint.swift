/// Decimal text and integers: `0.0123` with 4 digits after the point is 123. Exact both ways; no floating point.
enum FixedPoint {
    /// - Returns: nil for what is no plain decimal (a sign, an exponent), has more digits after the point than `digits`, or does
    ///   not fit.
    static func parse(_ text: some Collection<UInt8>, digits: Int) -> Int? {
        var value = 0, after = 0, seen = 0
        var point = false
        for byte in text {
            if byte == UInt8(ascii: "."), !point {
                point = true
                continue
            }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), let next = append(byte, to: value) else { return nil }
            value = next
            seen += 1
            if point { after += 1 }
        }
        guard seen > 0, after <= digits else { return nil }
        for _ in after..<digits {
            guard let next = append(UInt8(ascii: "0"), to: value) else { return nil }
            value = next
        }
        return value
    }

    private static func append(_ digit: UInt8, to value: Int) -> Int? {
        let (tens, tooLarge) = value.multipliedReportingOverflow(by: 10)
        let (sum, tooLargeToo) = tens.addingReportingOverflow(Int(digit - UInt8(ascii: "0")))
        return tooLarge || tooLargeToo ? nil : sum
    }

    /// The text of a value that is not negative, without the zeros at its end beyond `least` digits after the point.
    static func text(_ value: Int, digits: Int, least: Int = 0) -> String {
        let plain = String(value)
        let padded = String(repeating: "0", count: max(0, digits + 1 - plain.utf8.count)) + plain
        var fraction = padded.suffix(digits)
        while fraction.utf8.count > least, fraction.last == "0" { fraction.removeLast() }
        return fraction.isEmpty ? String(padded.dropLast(digits)) : "\(padded.dropLast(digits)).\(fraction)"
    }
}
