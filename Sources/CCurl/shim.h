#ifndef CERTS_CCURL_SHIM_H
#define CERTS_CCURL_SHIM_H

// What CertsHTTP needs of libcurl (7.85 or newer), and nothing else. Swift imports functions, not variadic functions:
// each type of argument has a `static inline` wrapper here, with its reason. No logic.

#include <curl/curl.h>

// `curl_easy_setopt` is variadic; the type of the third argument depends on the option. One wrapper for each type:
// numbers and switches,
static inline CURLcode certs_curl_setopt_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
// sizes, which are 64 bits wide on every platform,
static inline CURLcode certs_curl_setopt_off(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
// texts, which libcurl copies,
static inline CURLcode certs_curl_setopt_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
// pointers that libcurl hands back or reads from later, and does not copy,
static inline CURLcode certs_curl_setopt_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}
// lists of header fields, which libcurl does not copy,
static inline CURLcode certs_curl_setopt_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
// and callbacks for received bytes: without a declared type the compiler could not check the Swift closure.
static inline CURLcode certs_curl_setopt_write(
    CURL *handle, CURLoption option, size_t (*value)(char *, size_t, size_t, void *)) {
    return curl_easy_setopt(handle, option, value);
}

// `curl_easy_getinfo` is variadic in the same way; only the status of the response is asked for.
static inline CURLcode certs_curl_getinfo_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}

// `CURL_GLOBAL_DEFAULT` is a macro over a macro over a shift, and `CURL_ERROR_SIZE` sizes a caller's buffer.
static inline CURLcode certs_curl_global_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }
static inline size_t certs_curl_error_size(void) { return CURL_ERROR_SIZE; }

#endif
