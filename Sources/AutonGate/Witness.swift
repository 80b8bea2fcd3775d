import AutonKit
import Glibc
import SystemPackage

/// Sees from outside of the machine what the harness sends: QEMU logs the processor's registers whenever it comes to the
/// instruction after the one that puts a byte on COM2. A byte of the report that was not seen there was sent by somebody else.
///
/// What this does not see: code that jumps into the harness, or writes to its memory.
enum Witness {
    /// Where the harness comes to after each byte.
    private static let symbol = "report_sent"

    /// Where to look in this image; nil if its harness does not tell.
    static func place(in image: FilePath) throws -> UInt64? { ELFImage(try Files.read(image))?.address(of: symbol) }

    /// What QEMU is to be told; `log` is the file that it writes.
    static func arguments(place: UInt64, log: String) -> [String] {
        ["-d", "cpu", "-D", log, "-dfilter", "0x\(String(place, radix: 16))+1"]
    }

    /// The bytes that were sent there, in their order: the last of the register RAX.
    static func seen(in log: [UInt8]) -> [UInt8] {
        let label = Array("RAX=".utf8), digits = 16
        var bytes: [UInt8] = []
        log.withUnsafeBytes { log in
            guard let start = log.baseAddress else { return }
            var index = 0
            // By the C library, which takes many bytes at once: the log has a kilobyte for each byte that was sent.
            while let found = memchr(start + index, Int32(label[0]), log.count - index) {
                index = UnsafeRawPointer(found) - start
                let end = index + label.count + digits
                guard end <= log.count else { break }
                guard memcmp(found, label, label.count) == 0 else {
                    index += 1
                    continue
                }
                if let high = digit(log[end - 2]), let low = digit(log[end - 1]) { bytes.append(high << 4 | low) }
                index = end
            }
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    /// Where the report is not what the harness was seen to send: the number of its bytes that are; nil if all are.
    ///
    /// Where QEMU was interrupted before it went on, it logs the same again: a byte may have been seen more often in a row
    /// than it was sent, but not less.
    static func difference(of report: [UInt8], from seen: [UInt8]) -> Int? {
        var sent = 0, look = 0
        while look < seen.count {
            if sent < report.count && seen[look] == report[sent] {
                sent += 1
            } else if look == 0 || seen[look] != seen[look - 1] {
                return sent
            }
            look += 1
        }
        return sent == report.count ? nil : sent
    }
}
