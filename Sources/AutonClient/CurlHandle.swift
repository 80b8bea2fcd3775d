import AutonKit
import AutonSettings
import CCurl

/// How a transfer ended.
struct TransferEnding {
    /// What went wrong, in libcurl's words; nil if nothing did.
    var fault: String?
    /// Why trying again cannot help; nil if it can.
    var hopeless: Failure.Kind?
    /// Bytes of the request's body that went out.
    var uploaded = 0
}

/// A libcurl easy handle: it keeps its connection, and with it the TLS session, from one request to the next.
final class CurlHandle {
    private let handle: UnsafeMutableRawPointer
    private var headers: UnsafeMutablePointer<curl_slist>?

    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    static func warmUp() {
        if auton_curl_is_there() { _ = isReady }
    }

    /// - Parameter headers: `Name: value`; those with the key are in the list in memory and nowhere else.
    init(_ endpoint: Endpoint, headers lines: [String], settings: Settings.Model) throws {
        guard Self.isReady, let handle = curl_easy_init() else { throw AutonError(.bug, "libcurl does not start") }
        self.handle = handle
        for line in lines { headers = curl_slist_append(headers, line) }
        set(CURLOPT_URL, endpoint.url)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_USERAGENT, "auton")
        set(CURLOPT_POST, 1)
        auton_curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers)
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_CONNECTTIMEOUT_MS, Int(settings.connectSeconds * 1000))
        // A redirect could take the key to another host.
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_NOPROGRESS, 0)
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        auton_curl_set_private_sockets(handle)
        if endpoint.isLoopback { set(CURLOPT_NOPROXY, "*") }
        if let authorities = settings.caFile { set(CURLOPT_CAINFO, authorities) }
        auton_curl_set_sink(handle, CURLOPT_HEADERFUNCTION) { bytes, _, count, exchange in
            let line = UnsafeRawBufferPointer(start: bytes, count: count)
            return CurlHandle.exchange(exchange).take(header: line) ? count : 0
        }
        auton_curl_set_sink(handle, CURLOPT_WRITEFUNCTION) { bytes, _, count, exchange in
            let piece = UnsafeRawBufferPointer(start: bytes, count: count)
            return CurlHandle.exchange(exchange).take(piece) ? count : 0
        }
        auton_curl_set_prerequest(handle) { exchange, _, _, _, _ in
            CurlHandle.exchange(exchange).mayBegin() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
        }
        auton_curl_set_progress(handle) { exchange, _, _, _, uploaded in
            CurlHandle.exchange(exchange).goesOn(uploaded: Int64(uploaded)) ? 0 : 1
        }
    }

    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(headers)
    }

    /// Sends a request and has `exchange` receive the answer; returns when that is over.
    func post(_ body: [UInt8], to exchange: Exchange) -> TransferEnding {
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        for option in [CURLOPT_HEADERDATA, CURLOPT_WRITEDATA, CURLOPT_XFERINFODATA, CURLOPT_PREREQDATA] {
            auton_curl_set_pointer(handle, option, context)
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(CURL_ERROR_SIZE)) { reason in
            reason.initialize(repeating: 0)
            return body.withUnsafeBufferPointer { bytes in
                auton_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, reason.baseAddress)
                auton_curl_set_pointer(handle, CURLOPT_POSTFIELDS, bytes.baseAddress)
                auton_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(bytes.count))
                defer {
                    auton_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, nil)
                    auton_curl_set_pointer(handle, CURLOPT_POSTFIELDS, nil)
                }
                let code = curl_easy_perform(handle)
                var ending = TransferEnding(uploaded: Int(auton_curl_get_size(handle, CURLINFO_SIZE_UPLOAD_T)))
                if code != CURLE_OK {
                    let words = String(cString: reason.baseAddress!)
                    ending.fault = words.isEmpty ? String(cString: curl_easy_strerror(code)) : words
                    if code == CURLE_SSL_CACERT_BADFILE {
                        ending.hopeless = .misconfigured
                    } else if Self.hopeless.contains(code.rawValue)
                        || code == CURLE_SSL_CONNECT_ERROR && words.contains("wrong version")
                    {
                        ending.hopeless = .hopeless
                    }
                }
                return ending
            }
        }
    }

    /// No trust, or no protocol; and what speaks no TLS will not learn it.
    private static let hopeless: Set<UInt32> = Set(
        [
            CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_ISSUER_ERROR, CURLE_UNSUPPORTED_PROTOCOL,
            CURLE_URL_MALFORMAT, CURLE_NOT_BUILT_IN,
        ].map(\.rawValue))

    private static func exchange(_ context: UnsafeMutableRawPointer?) -> Exchange {
        Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
    }

    private func set(_ option: CURLoption, _ value: Int) { auton_curl_set_long(handle, option, value) }
    private func set(_ option: CURLoption, _ value: String) { auton_curl_set_string(handle, option, value) }
}
