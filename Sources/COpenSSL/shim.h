#ifndef CERTS_COPENSSL_SHIM_H
#define CERTS_COPENSSL_SHIM_H

// What CertsCrypto needs of OpenSSL 3.0, and nothing else. Swift imports functions, not macros and not variadic
// functions: each of those has a `static inline` wrapper here, with its reason. No logic.

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "plain_certificate.h"

// `BIO_get_mem_data` is a macro over `BIO_ctrl`.
static inline long certs_BIO_get_mem_data(BIO *bio, char **out) { return BIO_get_mem_data(bio, out); }

// The `ERR_GET_*` family became inline functions over a macro in 3.0; the mask is not importable.
static inline int certs_ERR_GET_REASON(unsigned long code) { return ERR_GET_REASON(code); }

// `OPENSSL_free` is a macro that passes file and line.
static inline void certs_OPENSSL_free(void *pointer) { OPENSSL_free(pointer); }

// The stack functions are macros over `OPENSSL_sk_*` with casts.
static inline int certs_sk_X509_num(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline X509 *certs_sk_X509_value(const STACK_OF(X509) *stack, int index) { return sk_X509_value(stack, index); }
static inline STACK_OF(X509) *certs_sk_X509_new_null(void) { return sk_X509_new_null(); }
static inline int certs_sk_X509_push(STACK_OF(X509) *stack, X509 *certificate) { return sk_X509_push(stack, certificate); }
static inline void certs_sk_X509_free(STACK_OF(X509) *stack) { sk_X509_free(stack); }
static inline void certs_sk_X509_pop_free(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }

// OpenSSL exports the item of NameConstraints and its `new` and `free`, but no `d2i` function.
static inline NAME_CONSTRAINTS *certs_d2i_NAME_CONSTRAINTS(NAME_CONSTRAINTS **value, const unsigned char **in, long length) {
    return (NAME_CONSTRAINTS *)ASN1_item_d2i((ASN1_VALUE **)value, in, length, ASN1_ITEM_rptr(NAME_CONSTRAINTS));
}

#endif
