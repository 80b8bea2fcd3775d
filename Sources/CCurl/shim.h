// libcurl, with the calls that Swift cannot import: curl_easy_setopt and curl_easy_getinfo are variadic.
#pragma once

#include <curl/curl.h>
#include <sys/socket.h>

typedef size_t (*auton_curl_sink)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode auton_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode auton_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

/// libcurl copies strings, except CURLOPT_POSTFIELDS.
static inline CURLcode auton_curl_set_string(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

/// For lists, buffers and the contexts of callbacks: they must live for as long as the transfer.
static inline CURLcode auton_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}

/// `option` is CURLOPT_WRITEFUNCTION or CURLOPT_HEADERFUNCTION.
static inline CURLcode auton_curl_set_sink(CURL *handle, CURLoption option, auton_curl_sink sink) {
    return curl_easy_setopt(handle, option, sink);
}

static inline CURLcode auton_curl_set_progress(CURL *handle, curl_xferinfo_callback callback) {
    return curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, callback);
}

static inline CURLcode auton_curl_set_prerequest(CURL *handle, curl_prereq_callback callback) {
    return curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, callback);
}

/// For CURLOPT_OPENSOCKETFUNCTION: libcurl's own sockets would be inherited by children, and what runs in the sandbox is
/// to have no network.
static inline curl_socket_t auton_curl_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)context;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static inline CURLcode auton_curl_set_private_sockets(CURL *handle) {
    return curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, auton_curl_open_socket);
}

static inline curl_off_t auton_curl_get_size(CURL *handle, CURLINFO info) {
    curl_off_t value = 0;
    return curl_easy_getinfo(handle, info, &value) == CURLE_OK ? value : 0;
}
