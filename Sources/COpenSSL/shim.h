#ifndef CERTS_COPENSSL_SHIM_H
#define CERTS_COPENSSL_SHIM_H

// What CertsCrypto needs of OpenSSL 3.0, and nothing else. Swift imports functions, not macros and not variadic
// functions: each of those has a `static inline` wrapper here, with its reason. No logic.

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ocsp.h>
#include <openssl/param_build.h>
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

// MARK: Keys, requests, issuing, the probe

// `EVP_PKEY_KEYPAIR` is a macro over several others.
static inline int certs_EVP_PKEY_fromdata_keypair(EVP_PKEY_CTX *context, EVP_PKEY **key, OSSL_PARAM *parameters) { return EVP_PKEY_fromdata(context, key, EVP_PKEY_KEYPAIR, parameters); }

// Stack macros over `OPENSSL_sk_*` with casts.
static inline STACK_OF(GENERAL_NAME) *certs_sk_GENERAL_NAME_new_null(void) { return sk_GENERAL_NAME_new_null(); }
static inline int certs_sk_GENERAL_NAME_push(STACK_OF(GENERAL_NAME) *stack, GENERAL_NAME *name) { return sk_GENERAL_NAME_push(stack, name); }
static inline int certs_sk_GENERAL_NAME_count(const STACK_OF(GENERAL_NAME) *stack) { return sk_GENERAL_NAME_num(stack); }
static inline GENERAL_NAME *certs_sk_GENERAL_NAME_at(const STACK_OF(GENERAL_NAME) *stack, int index) { return sk_GENERAL_NAME_value(stack, index); }
static inline STACK_OF(GENERAL_SUBTREE) *certs_sk_GENERAL_SUBTREE_new_null(void) { return sk_GENERAL_SUBTREE_new_null(); }
static inline int certs_sk_GENERAL_SUBTREE_push(STACK_OF(GENERAL_SUBTREE) *stack, GENERAL_SUBTREE *tree) { return sk_GENERAL_SUBTREE_push(stack, tree); }
static inline STACK_OF(X509_EXTENSION) *certs_sk_X509_EXTENSION_new_null(void) { return sk_X509_EXTENSION_new_null(); }
static inline int certs_sk_X509_EXTENSION_push(STACK_OF(X509_EXTENSION) *stack, X509_EXTENSION *extension) { return sk_X509_EXTENSION_push(stack, extension); }
static inline void certs_sk_X509_EXTENSION_pop_free(STACK_OF(X509_EXTENSION) *stack) { sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free); }

// The value of a GENERAL_NAME is a union behind a type tag; Swift sees the union without its discriminator.
static inline const ASN1_STRING *certs_GENERAL_NAME_string(const GENERAL_NAME *name) {
    switch (name->type) {
    case GEN_DNS: case GEN_EMAIL: case GEN_URI: return name->d.ia5;
    case GEN_IPADD: return name->d.iPAddress;
    default: return NULL;
    }
}

// Flag macros that are expressions over other macros do not import.
static inline unsigned long certs_XN_FLAG_RFC4514(void) { return XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB; }

// `BIO_reset` and `BIO_pending` are macros over `BIO_ctrl`.
static inline void certs_BIO_reset(BIO *bio) { (void)BIO_reset(bio); }
static inline long certs_BIO_pending(BIO *bio) { return BIO_pending(bio); }

// `SSL_CTX_ctrl` and `SSL_ctrl` macros.
static inline int certs_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version) { return SSL_CTX_set_min_proto_version(context, version); }
static inline int certs_SSL_CTX_set_max_proto_version(SSL_CTX *context, int version) { return SSL_CTX_set_max_proto_version(context, version); }
static inline int certs_SSL_CTX_set1_sigalgs_list(SSL_CTX *context, const char *list) { return SSL_CTX_set1_sigalgs_list(context, list); }
static inline void certs_SSL_CTX_set_session_cache_off(SSL_CTX *context) { SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); }
static inline void certs_SSL_CTX_forbid_resumption(SSL_CTX *context) { SSL_CTX_set_options(context, SSL_OP_NO_TICKET); }
static inline void certs_SSL_CTX_forbid_renegotiation(SSL_CTX *context) { SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION); }
static inline int certs_SSL_set1_chain(SSL *ssl, STACK_OF(X509) *chain) { return (int)SSL_set1_chain(ssl, chain); }
static inline int certs_SSL_set_tlsext_host_name(SSL *ssl, const char *name) { return SSL_set_tlsext_host_name(ssl, name); }
static inline int certs_SSL_request_ocsp_staple(SSL *ssl) { return SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp); }
static inline long certs_SSL_get_ocsp_staple(SSL *ssl, unsigned char **out) { return SSL_get_tlsext_status_ocsp_resp(ssl, out); }

// `PKCS12_parse` distinguishes no password from an empty one; the legacy ciphers of old files need a context of their own.
static inline int certs_PKCS12_mac_iterations(const PKCS12 *file) {
    const ASN1_INTEGER *iterations = NULL;
    int64_t count = 1;
    PKCS12_get0_mac(NULL, NULL, NULL, &iterations, file);
    if (iterations && (!ASN1_INTEGER_get_int64(&count, iterations) || count > INT32_MAX)) { return INT32_MAX; }
    return (int)count;
}

// Stack macros over `OPENSSL_sk_*` with casts.
static inline int certs_sk_PKCS7_num(const STACK_OF(PKCS7) *stack) { return sk_PKCS7_num(stack); }
static inline PKCS7 *certs_sk_PKCS7_value(const STACK_OF(PKCS7) *stack, int index) { return sk_PKCS7_value(stack, index); }
static inline void certs_sk_PKCS7_pop_free(STACK_OF(PKCS7) *stack) { sk_PKCS7_pop_free(stack, PKCS7_free); }
static inline int certs_sk_PKCS12_SAFEBAG_num(const STACK_OF(PKCS12_SAFEBAG) *stack) { return sk_PKCS12_SAFEBAG_num(stack); }
static inline PKCS12_SAFEBAG *certs_sk_PKCS12_SAFEBAG_value(const STACK_OF(PKCS12_SAFEBAG) *stack, int index) { return sk_PKCS12_SAFEBAG_value(stack, index); }
static inline void certs_sk_PKCS12_SAFEBAG_pop_free(STACK_OF(PKCS12_SAFEBAG) *stack) { sk_PKCS12_SAFEBAG_pop_free(stack, PKCS12_SAFEBAG_free); }

// The content of a PKCS7 is a union behind its type; NULL where it is of another type or missing.
static inline const X509_ALGOR *certs_PKCS7_encryption(const PKCS7 *content) {
    if (OBJ_obj2nid(content->type) != NID_pkcs7_encrypted) { return NULL; }
    if (!content->d.encrypted || !content->d.encrypted->enc_data) { return NULL; }
    return content->d.encrypted->enc_data->algorithm;
}

// OpenSSL exports the item of NameConstraints and its `new` and `free`, but no `d2i` function.
static inline NAME_CONSTRAINTS *certs_d2i_NAME_CONSTRAINTS(NAME_CONSTRAINTS **value, const unsigned char **in, long length) {
    return (NAME_CONSTRAINTS *)ASN1_item_d2i((ASN1_VALUE **)value, in, length, ASN1_ITEM_rptr(NAME_CONSTRAINTS));
}

#endif
