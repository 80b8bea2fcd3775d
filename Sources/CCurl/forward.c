// libcurl's functions under their own names, each passed on to the library. Hidden, or the library would find ours in place of
// its own.

#include "CCurl.h"

#include <dlfcn.h>
#include <pthread.h>

static void *library;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

static void load(void) { library = dlopen("libcurl.so.4", RTLD_LAZY); }

bool auton_curl_is_there(void) {
    pthread_once(&loaded, load);
    return library != NULL;
}

void *auton_curl_function(const char *name) { return auton_curl_is_there() ? dlsym(library, name) : NULL; }

#define FORWARD(type, name, parameters, arguments)                                                                             \
    __attribute__((visibility("hidden"))) type name parameters {                                                               \
        return ((type(*) parameters)auton_curl_function(#name)) arguments;                                                     \
    }

FORWARD(CURLcode, curl_global_init, (long flags), (flags))
FORWARD(CURL *, curl_easy_init, (void), ())
FORWARD(CURLcode, curl_easy_perform, (CURL * handle), (handle))
FORWARD(const char *, curl_easy_strerror, (CURLcode code), (code))
FORWARD(void, curl_easy_cleanup, (CURL * handle), (handle))
FORWARD(struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *text), (list, text))
FORWARD(void, curl_slist_free_all, (struct curl_slist * list), (list))
FORWARD(void, curl_free, (void *text), (text))
FORWARD(time_t, curl_getdate, (const char *text, const time_t *unused), (text, unused))
FORWARD(CURLU *, curl_url, (void), ())
FORWARD(void, curl_url_cleanup, (CURLU * url), (url))
FORWARD(CURLUcode, curl_url_set, (CURLU * url, CURLUPart part, const char *text, unsigned int flags), (url, part, text, flags))
FORWARD(const char *, curl_url_strerror, (CURLUcode code), (code))
