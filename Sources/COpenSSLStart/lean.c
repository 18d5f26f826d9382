// OpenSSL 3.0 looks through all decoders and all kinds of keys that its providers have, for the public key of each
// certificate that a server sends: a fifth of a handshake. (From 3.2 on it remembers what it found.) Here stands a provider
// that hands on what the default provider has, but the decoders of public keys alone, and the kinds of keys that TLS uses.
// Its functions are those of the default provider, called with that one's context (provider(7), provider-base(7)).

#include "COpenSSLStart.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <string.h>

#define MOST 64

// HMAC: the records of TLS 1.2 with CBC are authenticated by a "key" of that kind.
static const char *const key_names[] = {
    "RSA", "RSA-PSS", "EC", "ED25519", "ED448", "DSA", "X25519", "X448", "DH", "DHX", "HMAC", NULL,
};
static const char *const certificate_key_names[] = {"RSA", "RSA-PSS", "EC", "ED25519", "ED448", "DSA", NULL};

static OSSL_PROVIDER *whole;
static OSSL_ALGORITHM keys[MOST + 1], decoders[MOST + 1];

// `names` is `NAME:ALIAS:OID`.
static int is_one_of(const char *names, const char *const *wanted) {
    size_t length = strcspn(names, ":");
    for (; *wanted; wanted++)
        if (strlen(*wanted) == length && strncmp(names, *wanted, length) == 0) return 1;
    return 0;
}

static int is_key(const OSSL_ALGORITHM *algorithm) { return is_one_of(algorithm->algorithm_names, key_names); }

static int is_public_key_decoder(const OSSL_ALGORITHM *algorithm) {
    const char *properties = algorithm->property_definition;
    return is_one_of(algorithm->algorithm_names, certificate_key_names) && strstr(properties, "input=der")
        && strstr(properties, "structure=SubjectPublicKeyInfo");
}

static void keep(const OSSL_ALGORITHM *all, int (*is_wanted)(const OSSL_ALGORITHM *), OSSL_ALGORITHM *kept) {
    int count = 0;
    for (; all && all->algorithm_names && count < MOST; all++)
        if (is_wanted(all)) kept[count++] = *all;
}

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache) {
    (void)context;
    switch (operation) {
    case OSSL_OP_KEYMGMT: *no_cache = 0; return keys;
    case OSSL_OP_DECODER: *no_cache = 0; return decoders;
    case OSSL_OP_ENCODER:
    case OSSL_OP_STORE: return NULL;
    default: return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
    }
}

static int get_parameters(void *context, OSSL_PARAM *parameters) {
    (void)context;
    return OSSL_PROVIDER_get_params(whole, parameters);
}

static const OSSL_PARAM *gettable_parameters(void *context) {
    (void)context;
    return OSSL_PROVIDER_gettable_params(whole);
}

static int get_capabilities(void *context, const char *capability, OSSL_CALLBACK *callback, void *argument) {
    (void)context;
    return OSSL_PROVIDER_get_capabilities(whole, capability, callback, argument);
}

static const OSSL_DISPATCH functions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get_parameters},
    {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable_parameters},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities},
    {0, NULL},
};

static int start(
    const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **out, void **context) {
    (void)handle, (void)core;
    *out = functions;
    *context = OSSL_PROVIDER_get0_provider_ctx(whole);
    return 1;
}

static int count_others(OSSL_PROVIDER *provider, void *count) {
    const char *name = OSSL_PROVIDER_get0_name(provider);
    if (strcmp(name, "default") != 0 && strcmp(name, "base") != 0 && strcmp(name, "null") != 0) ++*(int *)count;
    return 1;
}

OSSL_LIB_CTX *certs_make_lean_context(void) {
    int others = 0;
    // Newer ones have keys that are not in the lists above, and decoders that cost less.
    if (OPENSSL_version_major() > 3 || OPENSSL_version_minor() > 1) return NULL;
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    // A host that has chosen its providers (FIPS, for instance) gets what it has chosen.
    if (!OSSL_PROVIDER_available(NULL, "default") || !OSSL_PROVIDER_do_all(NULL, count_others, &others) || others)
        return NULL;
    OSSL_LIB_CTX *inner = OSSL_LIB_CTX_new(), *lean = OSSL_LIB_CTX_new();
    int unused = 0;
    if (inner && lean && (whole = OSSL_PROVIDER_load(inner, "default"))) {
        keep(OSSL_PROVIDER_query_operation(whole, OSSL_OP_KEYMGMT, &unused), is_key, keys);
        keep(OSSL_PROVIDER_query_operation(whole, OSSL_OP_DECODER, &unused), is_public_key_decoder, decoders);
        if (OSSL_PROVIDER_add_builtin(lean, "lean", start) && OSSL_PROVIDER_load(lean, "lean")) return lean;
    }
    OSSL_LIB_CTX_free(lean);
    if (whole) OSSL_PROVIDER_unload(whole);
    OSSL_LIB_CTX_free(inner);
    return NULL;
}
