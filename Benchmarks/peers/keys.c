// Keys and certification requests with the OpenSSL calls that certs makes, in a C loop.
//
//     keys-openssl rsa-2048|ecdsa-p256 COUNT
//
// Each round: a fresh key; a request with country, organization and common name, two DNS names, key usage and extended
// key usage; its signature; its DER. Prints the seconds as JSON; one round before the clock starts loads the algorithms.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Processor time: on one core it is the time that passes, less what the rest of the machine takes.
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void require(int succeeded, const char *what) {
    if (succeeded) return;
    fprintf(stderr, "keys-openssl: %s failed\n", what);
    exit(1);
}

static EVP_PKEY *make_key(int is_rsa) {
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, is_rsa ? "RSA" : "EC", NULL);
    EVP_PKEY *key = NULL;
    require(context && EVP_PKEY_keygen_init(context) == 1, "EVP_PKEY_keygen_init");
    if (is_rsa) {
        require(EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048) == 1, "set_rsa_keygen_bits");
    } else {
        require(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1, "set_ec_paramgen_curve_nid");
    }
    require(EVP_PKEY_generate(context, &key) == 1, "EVP_PKEY_generate");
    EVP_PKEY_CTX_free(context);
    return key;
}

static void add_text(X509_NAME *name, int nid, int type, const char *text) {
    require(X509_NAME_add_entry_by_NID(name, nid, type, (const unsigned char *)text, (int)strlen(text), -1, 0), "add_entry");
}

static void add_name(GENERAL_NAMES *names, const char *text) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(V_ASN1_IA5STRING);
    require(ASN1_STRING_set(value, text, (int)strlen(text)), "ASN1_STRING_set");
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    sk_GENERAL_NAME_push(names, name);
}

static int make_request(EVP_PKEY *key, int is_rsa, unsigned char **der) {
    X509_REQ *request = X509_REQ_new();
    X509_NAME *subject = X509_NAME_new();
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    X509_REQ_set_version(request, 0);
    add_text(subject, NID_countryName, V_ASN1_PRINTABLESTRING, "US");
    add_text(subject, NID_organizationName, V_ASN1_UTF8STRING, "SilentRelay");
    add_text(subject, NID_commonName, V_ASN1_UTF8STRING, "messenger.example.com");
    X509_REQ_set_subject_name(request, subject);
    add_name(names, "messenger.example.com");
    add_name(names, "www.messenger.example.com");
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_i2d(NID_subject_alt_name, 0, names));
    const char *usage = is_rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature";
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_nconf_nid(NULL, NULL, NID_key_usage, usage));
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_nconf_nid(NULL, NULL, NID_ext_key_usage, "serverAuth"));
    require(X509_REQ_add_extensions(request, extensions), "X509_REQ_add_extensions");
    require(X509_REQ_set_pubkey(request, key), "X509_REQ_set_pubkey");
    require(X509_REQ_sign(request, key, EVP_sha256()) > 0, "X509_REQ_sign");
    int length = i2d_X509_REQ(request, der);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_NAME_free(subject);
    X509_REQ_free(request);
    return length;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: keys-openssl rsa-2048|ecdsa-p256 COUNT\n");
        return 64;
    }
    int is_rsa = strcmp(argv[1], "rsa-2048") == 0, count = atoi(argv[2]);
    long checksum = 0;
    double start = 0;
    for (int round = -1; round < count; round++) {
        if (round == 0) start = now();
        EVP_PKEY *key = make_key(is_rsa);
        unsigned char *der = NULL;
        int length = make_request(key, is_rsa, &der);
        require(length > 0, "i2d_X509_REQ");
        checksum += length;
        OPENSSL_free(der);
        EVP_PKEY_free(key);
    }
    printf("{\"count\":%d,\"seconds\":%.6f,\"checksum\":%ld}\n", count, now() - start, checksum);
}
