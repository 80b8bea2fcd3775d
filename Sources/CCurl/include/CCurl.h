// libcurl, with the calls that Swift cannot import: curl_easy_setopt and curl_easy_getinfo are variadic.
//
// It is loaded by the first call, not when a program starts: it brings 35 libraries, and to load them takes longer than all
// else that a program does which then asks no server.
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/socket.h>

/// Whether libcurl is installed. Without it no other function may be called.
bool auton_curl_is_there(void);

/// A function of libcurl's.
void *auton_curl_function(const char *name);

typedef CURLcode (*auton_curl_setter)(CURL *handle, CURLoption option, ...);
typedef CURLcode (*auton_curl_getter)(CURL *handle, CURLINFO info, ...);

static inline auton_curl_setter auton_curl_setopt(void) {
    return (auton_curl_setter)auton_curl_function("curl_easy_setopt");
}

typedef size_t (*auton_curl_sink)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode auton_curl_set_long(CURL *handle, CURLoption option, long value) {
    return auton_curl_setopt()(handle, option, value);
}

static inline CURLcode auton_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return auton_curl_setopt()(handle, option, value);
}

/// libcurl copies strings, except CURLOPT_POSTFIELDS.
static inline CURLcode auton_curl_set_string(CURL *handle, CURLoption option, const char *value) {
    return auton_curl_setopt()(handle, option, value);
}

/// For lists, buffers and the contexts of callbacks: they must live for as long as the transfer.
static inline CURLcode auton_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return auton_curl_setopt()(handle, option, value);
}

/// `option` is CURLOPT_WRITEFUNCTION or CURLOPT_HEADERFUNCTION.
static inline CURLcode auton_curl_set_sink(CURL *handle, CURLoption option, auton_curl_sink sink) {
    return auton_curl_setopt()(handle, option, sink);
}

static inline CURLcode auton_curl_set_progress(CURL *handle, curl_xferinfo_callback callback) {
    return auton_curl_setopt()(handle, CURLOPT_XFERINFOFUNCTION, callback);
}

static inline CURLcode auton_curl_set_prerequest(CURL *handle, curl_prereq_callback callback) {
    return auton_curl_setopt()(handle, CURLOPT_PREREQFUNCTION, callback);
}

/// For CURLOPT_OPENSOCKETFUNCTION: libcurl's own sockets would be inherited by children, and what runs in the sandbox is
/// to have no network.
static inline curl_socket_t auton_curl_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)context;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static inline CURLcode auton_curl_set_private_sockets(CURL *handle) {
    return auton_curl_setopt()(handle, CURLOPT_OPENSOCKETFUNCTION, auton_curl_open_socket);
}

/// curl_url_get without flags, whose type differs among versions.
static inline CURLUcode auton_curl_get_part(CURLU *url, CURLUPart part, char **text) {
    return ((__typeof__(&curl_url_get))auton_curl_function("curl_url_get"))(url, part, text, 0);
}

static inline curl_off_t auton_curl_get_size(CURL *handle, CURLINFO info) {
    curl_off_t value = 0;
    auton_curl_getter get = (auton_curl_getter)auton_curl_function("curl_easy_getinfo");
    return get(handle, info, &value) == CURLE_OK ? value : 0;
}
