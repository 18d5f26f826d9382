// OpenSSL frees its global state in an `atexit` handler. A thread that ends at the same moment (those of Dispatch do so by
// themselves after some idle seconds) then runs OpenSSL's thread destructor on freed locks, and a process that had done its
// work ends by SIGSEGV. The handler is left out only by the very first call into OpenSSL, which may come from libcurl: so it
// has to happen before `main` (OPENSSL_init_crypto(3), OPENSSL_INIT_NO_ATEXIT). The kernel frees the memory.

#include <openssl/crypto.h>

__attribute__((constructor)) static void certs_start_openssl(void) {
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}
