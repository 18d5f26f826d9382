// The loop that everybody writes first: read a certificate from PEM with OpenSSL, take its SHA-256 fingerprint.
//
//     inventory-openssl DIRECTORY COUNT PASSES
//
// The files DIRECTORY/00000.pem … are read before the clock starts. Prints the seconds of each pass as JSON; the first
// pass warms the caches and is not printed.
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// Processor time: on one core it is the time that passes, less what the rest of the machine takes.
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: inventory-openssl DIRECTORY COUNT PASSES\n");
        return 64;
    }
    int count = atoi(argv[2]), passes = atoi(argv[3]);
    char **texts = calloc((size_t)count, sizeof *texts);
    int *lengths = calloc((size_t)count, sizeof *lengths);
    for (int index = 0; index < count; index++) {
        char path[4096], buffer[16384];
        snprintf(path, sizeof path, "%s/%05d.pem", argv[1], index);
        FILE *file = fopen(path, "r");
        if (!file) die(path);
        size_t length = fread(buffer, 1, sizeof buffer, file);
        fclose(file);
        texts[index] = malloc(length);
        memcpy(texts[index], buffer, length);
        lengths[index] = (int)length;
    }

    unsigned checksum = 0;
    printf("{\"count\":%d,\"seconds\":[", count);
    for (int pass = 0; pass <= passes; pass++) {
        double start = now();
        for (int index = 0; index < count; index++) {
            BIO *bio = BIO_new_mem_buf(texts[index], lengths[index]);
            X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
            unsigned char digest[EVP_MAX_MD_SIZE];
            unsigned size = 0;
            if (!certificate || !X509_digest(certificate, EVP_sha256(), digest, &size)) die("parse");
            checksum += digest[0];
            X509_free(certificate);
            BIO_free(bio);
        }
        if (pass > 0) printf("%s%.6f", pass > 1 ? "," : "", now() - start);
    }
    printf("],\"checksum\":%u}\n", checksum);
}
