#ifndef CERTS_CCURL_SHIM_H
#define CERTS_CCURL_SHIM_H

#include <curl/curl.h>

#endif
