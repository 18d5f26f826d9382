#ifndef CERTS_COPENSSL_START_H
#define CERTS_COPENSSL_START_H

// What happens before `main` needs no call: see start.c.

#include <openssl/types.h>

// A library context for clients that shake hands and do nothing else: see lean.c. To be called once; it lives as long as
// the process. NULL where the host has chosen other providers than the default one, or without memory.
OSSL_LIB_CTX *certs_make_lean_context(void);

#endif
