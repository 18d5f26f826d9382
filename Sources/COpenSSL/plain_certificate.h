#ifndef CERTS_COPENSSL_PLAIN_CERTIFICATE_H
#define CERTS_COPENSSL_PLAIN_CERTIFICATE_H

// The Certificate of RFC 5280 §4.1 once more as templates for OpenSSL's ASN.1 decoder, declarations only.
//
// The X509 of OpenSSL does more at each decoding than an inventory needs: it looks for a provider that can decode the
// public key, normalizes both names, and keeps a copy of the signed part. That is two thirds of its cost even in a library
// context without providers. Here the key stays the SubjectPublicKeyInfo as it is encoded, and the fields are embedded to
// save their allocations.

#include <openssl/asn1t.h>
#include <openssl/x509.h>

typedef struct {
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *key;
} CERTS_PUBLIC_KEY;

ASN1_SEQUENCE(CERTS_PUBLIC_KEY) = {
    ASN1_SIMPLE(CERTS_PUBLIC_KEY, algorithm, X509_ALGOR),
    ASN1_SIMPLE(CERTS_PUBLIC_KEY, key, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(CERTS_PUBLIC_KEY)

// RDNSequence: a stack of stacks of X509_NAME_ENTRY.
ASN1_ITEM_TEMPLATE(CERTS_RDN) =
    ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SET_OF, 0, CERTS_RDN, X509_NAME_ENTRY)
static_ASN1_ITEM_TEMPLATE_END(CERTS_RDN)

ASN1_ITEM_TEMPLATE(CERTS_NAME) =
    ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SEQUENCE_OF, 0, CERTS_NAME, CERTS_RDN)
static_ASN1_ITEM_TEMPLATE_END(CERTS_NAME)

typedef struct {
    ASN1_TIME notBefore;
    ASN1_TIME notAfter;
} CERTS_VALIDITY;

ASN1_SEQUENCE(CERTS_VALIDITY) = {
    ASN1_EMBED(CERTS_VALIDITY, notBefore, ASN1_TIME),
    ASN1_EMBED(CERTS_VALIDITY, notAfter, ASN1_TIME),
} static_ASN1_SEQUENCE_END(CERTS_VALIDITY)

typedef struct {
    ASN1_INTEGER *version;
    ASN1_INTEGER serial;
    ASN1_STRING signature;
    // The whole encoding, with its header: thousands of certificates share one issuer, and only the first is decoded.
    ASN1_STRING issuer;
    CERTS_VALIDITY validity;
    ASN1_STRING subject;
    // The whole encoding, with its header.
    ASN1_STRING key;
    ASN1_BIT_STRING *issuerUniqueID;
    ASN1_BIT_STRING *subjectUniqueID;
    struct stack_st_X509_EXTENSION *extensions;
} CERTS_SIGNED_PART;

ASN1_SEQUENCE(CERTS_SIGNED_PART) = {
    ASN1_EXP_OPT(CERTS_SIGNED_PART, version, ASN1_INTEGER, 0),
    ASN1_EMBED(CERTS_SIGNED_PART, serial, ASN1_INTEGER),
    ASN1_EMBED(CERTS_SIGNED_PART, signature, ASN1_SEQUENCE),
    ASN1_EMBED(CERTS_SIGNED_PART, issuer, ASN1_SEQUENCE),
    ASN1_EMBED(CERTS_SIGNED_PART, validity, CERTS_VALIDITY),
    ASN1_EMBED(CERTS_SIGNED_PART, subject, ASN1_SEQUENCE),
    ASN1_EMBED(CERTS_SIGNED_PART, key, ASN1_SEQUENCE),
    ASN1_IMP_OPT(CERTS_SIGNED_PART, issuerUniqueID, ASN1_BIT_STRING, 1),
    ASN1_IMP_OPT(CERTS_SIGNED_PART, subjectUniqueID, ASN1_BIT_STRING, 2),
    ASN1_EXP_SEQUENCE_OF_OPT(CERTS_SIGNED_PART, extensions, X509_EXTENSION, 3),
} static_ASN1_SEQUENCE_END(CERTS_SIGNED_PART)

typedef struct {
    CERTS_SIGNED_PART part;
    X509_ALGOR algorithm;
    ASN1_BIT_STRING signature;
} CERTS_CERTIFICATE;

ASN1_SEQUENCE(CERTS_CERTIFICATE) = {
    ASN1_EMBED(CERTS_CERTIFICATE, part, CERTS_SIGNED_PART),
    ASN1_EMBED(CERTS_CERTIFICATE, algorithm, X509_ALGOR),
    ASN1_EMBED(CERTS_CERTIFICATE, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(CERTS_CERTIFICATE)

static inline CERTS_CERTIFICATE *certs_d2i_CERTIFICATE(CERTS_CERTIFICATE **value, const unsigned char **in, long length) {
    return (CERTS_CERTIFICATE *)ASN1_item_d2i((ASN1_VALUE **)value, in, length, ASN1_ITEM_rptr(CERTS_CERTIFICATE));
}
static inline void certs_CERTIFICATE_free(CERTS_CERTIFICATE *value) {
    ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(CERTS_CERTIFICATE));
}
static inline struct stack_st_CERTS_RDN *certs_d2i_NAME(struct stack_st_CERTS_RDN **value, const unsigned char **in, long length) {
    return (struct stack_st_CERTS_RDN *)ASN1_item_d2i((ASN1_VALUE **)value, in, length, ASN1_ITEM_rptr(CERTS_NAME));
}
static inline void certs_NAME_free(struct stack_st_CERTS_RDN *value) {
    ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(CERTS_NAME));
}
static inline CERTS_PUBLIC_KEY *certs_d2i_PUBLIC_KEY(CERTS_PUBLIC_KEY **value, const unsigned char **in, long length) {
    return (CERTS_PUBLIC_KEY *)ASN1_item_d2i((ASN1_VALUE **)value, in, length, ASN1_ITEM_rptr(CERTS_PUBLIC_KEY));
}
static inline void certs_PUBLIC_KEY_free(CERTS_PUBLIC_KEY *value) {
    ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(CERTS_PUBLIC_KEY));
}

#endif
