// TLS clients over OpenSSL and threads, as a careful C programmer writes them.
//
//     handshakes-openssl verify THREADS ROUNDS LIST
//     handshakes-openssl load THREADS SECONDS RATE ADDRESS LIST
//
// verify: ROUNDS fresh full handshakes with each endpoint of LIST, whose lines are `ADDRESS PORT SERVERNAME`; in turns
// TLS 1.2 and 1.3, with any key and with ECDSA only. Each takes the leaf, its DER and the SHA-256 of that, and fails if an
// endpoint shows two certificates. One SSL_CTX per thread and kind of handshake, blocking sockets.
//
// load: for SECONDS, or until SIGTERM, each thread opens a new connection, shakes hands, checks that the certificate is for the name, sends
// one request and reads the answer to its end; RATE of them a second altogether, 0 for as many as go. ADDRESS is
// `ADDRESS:PORT`, LIST has one server name a line. Everything that is not a whole answer 200 is a failure.
//
// Both print their figures as JSON.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define KINDS 4
#define MAXIMUM 100000

struct endpoint {
    struct sockaddr_in address;
    char name[256];
    unsigned char digest[32];
    // 0: not seen; 1: another thread writes the digest; 2: the digest is there.
    atomic_int seen;
};

static struct endpoint *endpoints;
static int endpoint_count, rounds, load_seconds;
static double load_interval, load_start;
static atomic_long next_job, failures;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first_failure[256];
static volatile sig_atomic_t stopped;

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void require(int succeeded, const char *what) {
    if (succeeded) return;
    fprintf(stderr, "handshakes-openssl: %s failed\n", what);
    exit(1);
}

static int failed(const char *what) {
    int code = errno;
    atomic_fetch_add(&failures, 1);
    pthread_mutex_lock(&lock);
    if (!first_failure[0]) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        snprintf(first_failure, sizeof first_failure, "%s: %s", what, reason ? reason : strerror(code));
    }
    pthread_mutex_unlock(&lock);
    ERR_clear_error();
    return 0;
}

static void set_address(struct sockaddr_in *address, const char *host, int port) {
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((unsigned short)port);
    require(inet_pton(AF_INET, host, &address->sin_addr) == 1, "reading an address");
}

// With `common`, the lines hold server names only.
static void read_list(const char *path, const struct sockaddr_in *common) {
    FILE *file = fopen(path, "r");
    require(file != NULL, "opening the list");
    endpoints = calloc(MAXIMUM, sizeof *endpoints);
    char line[512], host[64];
    while (endpoint_count < MAXIMUM && fgets(line, sizeof line, file)) {
        struct endpoint *entry = &endpoints[endpoint_count++];
        int port = 0;
        if (common) {
            require(sscanf(line, "%255s", entry->name) == 1, "reading the list");
            entry->address = *common;
        } else {
            require(sscanf(line, "%63s %d %255s", host, &port, entry->name) == 3, "reading the list");
            set_address(&entry->address, host, port);
        }
    }
    fclose(file);
    require(endpoint_count > 0, "reading the list");
}

static SSL_CTX *make_context(int lowest, int highest, int only_ecdsa) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    require(context != NULL, "SSL_CTX_new");
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    require(SSL_CTX_set_min_proto_version(context, lowest) == 1, "SSL_CTX_set_min_proto_version");
    require(SSL_CTX_set_max_proto_version(context, highest) == 1, "SSL_CTX_set_max_proto_version");
    if (only_ecdsa) {
        require(SSL_CTX_set1_sigalgs_list(context, "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512") == 1, "set1_sigalgs_list");
        require(SSL_CTX_set_cipher_list(context, "aECDSA:!eNULL:@SECLEVEL=0") == 1, "set_cipher_list");
    } else {
        require(SSL_CTX_set_cipher_list(context, "ALL:!aNULL:!eNULL:@SECLEVEL=0") == 1, "set_cipher_list");
    }
    return context;
}

// A connected socket; -1 after a failure that was counted.
static int open_socket(const struct sockaddr_in *address) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return failed("socket"), -1;
    struct timeval limit = {.tv_sec = 20};
    int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(descriptor, (const struct sockaddr *)address, sizeof *address) == 0) return descriptor;
    failed("connect");
    close(descriptor);
    return -1;
}

// A session after its handshake; NULL after a failure that was counted.
static SSL *shake_hands(SSL_CTX *context, int descriptor, const char *name) {
    SSL *session = SSL_new(context);
    require(session != NULL && SSL_set_fd(session, descriptor) == 1, "SSL_new");
    require(SSL_set_tlsext_host_name(session, name) == 1, "SSL_set_tlsext_host_name");
    SSL_set_tlsext_status_type(session, TLSEXT_STATUSTYPE_ocsp);
    if (SSL_connect(session) == 1) return session;
    failed("SSL_connect");
    SSL_free(session);
    return NULL;
}

// --- verify

static int check_leaf(SSL *session, struct endpoint *endpoint) {
    X509 *leaf = SSL_get0_peer_certificate(session);
    unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int length = leaf ? i2d_X509(leaf, &der) : 0;
    if (length <= 0) return failed("the certificate");
    int hashed = EVP_Digest(der, (size_t)length, digest, &size, EVP_sha256(), NULL);
    OPENSSL_free(der);
    if (!hashed || size != sizeof endpoint->digest) return failed("EVP_Digest");
    int seen = 0;
    if (atomic_compare_exchange_strong(&endpoint->seen, &seen, 1)) {
        memcpy(endpoint->digest, digest, size);
        atomic_store(&endpoint->seen, 2);
    } else {
        while (atomic_load(&endpoint->seen) != 2) {}
        if (memcmp(endpoint->digest, digest, size) != 0) return failed("two certificates at one endpoint");
    }
    return 1;
}

static void *verify(void *unused) {
    SSL_CTX *contexts[KINDS];
    for (int kind = 0; kind < KINDS; kind++) {
        int version = kind & 1 ? TLS1_3_VERSION : TLS1_2_VERSION;
        contexts[kind] = make_context(version, version, kind >> 1);
    }
    long count = (long)endpoint_count * rounds, job;
    while ((job = atomic_fetch_add(&next_job, 1)) < count) {
        struct endpoint *endpoint = &endpoints[job / rounds];
        int descriptor = open_socket(&endpoint->address);
        if (descriptor < 0) continue;
        SSL *session = shake_hands(contexts[job % rounds % KINDS], descriptor, endpoint->name);
        if (session) {
            check_leaf(session, endpoint);
            SSL_shutdown(session);
            SSL_free(session);
        }
        close(descriptor);
    }
    for (int kind = 0; kind < KINDS; kind++) SSL_CTX_free(contexts[kind]);
    return unused;
}

// --- load

struct samples {
    double *values;
    size_t count, capacity;
};

static void add_sample(struct samples *samples, double value) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 4096;
        samples->values = realloc(samples->values, samples->capacity * sizeof *samples->values);
        require(samples->values != NULL, "realloc");
    }
    samples->values[samples->count++] = value;
}

static int ask(SSL *session, const char *name) {
    char request[512], answer[4096];
    int length = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name);
    if (SSL_write(session, request, length) != length) return failed("SSL_write");
    int used = 0, more;
    while (used < (int)sizeof answer && (more = SSL_read(session, answer + used, (int)sizeof answer - used)) > 0) used += more;
    // "Connection: close" ends with an alert: a connection that was cut is not a whole answer.
    if (!(SSL_get_shutdown(session) & SSL_RECEIVED_SHUTDOWN)) return failed("SSL_read");
    if (used < 12 || memcmp(answer, "HTTP/1.1 200", 12) != 0) return failed("the answer");
    return 1;
}

static void one_request(SSL_CTX *context, const struct endpoint *endpoint, struct samples *samples) {
    double start = now(CLOCK_MONOTONIC);
    int descriptor = open_socket(&endpoint->address);
    if (descriptor < 0) return;
    SSL *session = shake_hands(context, descriptor, endpoint->name);
    if (session) {
        add_sample(samples, (now(CLOCK_MONOTONIC) - start) * 1000);
        X509 *leaf = SSL_get0_peer_certificate(session);
        if (!leaf || X509_check_host(leaf, endpoint->name, 0, 0, NULL) != 1) failed("a certificate for another name");
        if (ask(session, endpoint->name)) SSL_shutdown(session);
        SSL_free(session);
    }
    close(descriptor);
}

static void *load(void *argument) {
    struct samples *samples = argument;
    SSL_CTX *context = make_context(TLS1_2_VERSION, TLS1_3_VERSION, 0);
    while (!stopped && now(CLOCK_MONOTONIC) < load_start + load_seconds) {
        long job = atomic_fetch_add(&next_job, 1);
        if (load_interval > 0) {
            double at = load_start + (double)job * load_interval;
            if (at >= load_start + load_seconds) break;
            struct timespec until = {.tv_sec = (time_t)at};
            until.tv_nsec = (long)((at - (double)until.tv_sec) * 1e9);
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
        }
        one_request(context, &endpoints[job % endpoint_count], samples);
    }
    SSL_CTX_free(context);
    return NULL;
}

static int ascending(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static double quantile(const struct samples *all, double part) {
    return all->count ? all->values[(size_t)((double)(all->count - 1) * part)] : 0;
}

static void print_load(struct samples *each, int threads, double seconds) {
    struct samples all = {0};
    for (int index = 0; index < threads; index++)
        for (size_t sample = 0; sample < each[index].count; sample++) add_sample(&all, each[index].values[sample]);
    if (all.count) qsort(all.values, all.count, sizeof *all.values, ascending);
    printf("{\"connections\":%zu,\"failures\":%ld,\"firstFailure\":\"%s\",\"seconds\":%.6f,\"processorSeconds\":%.6f,"
           "\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n",
           all.count, atomic_load(&failures), first_failure, seconds, now(CLOCK_PROCESS_CPUTIME_ID), quantile(&all, 0.5),
           quantile(&all, 0.99), quantile(&all, 1));
}

// --- both

static void stop(int unused) {
    (void)unused;
    stopped = 1;
}

static double run(void *(*body)(void *), int threads, struct samples *each) {
    pthread_t *handles = calloc((size_t)threads, sizeof *handles);
    // Only the first thread gets the signal: it must not break a connection of the others.
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    double start = load_start = now(CLOCK_MONOTONIC);
    for (int index = 0; index < threads; index++)
        require(pthread_create(&handles[index], NULL, body, &each[index]) == 0, "pthread_create");
    pthread_sigmask(SIG_UNBLOCK, &end, NULL);
    for (int index = 0; index < threads; index++) pthread_join(handles[index], NULL);
    free(handles);
    return now(CLOCK_MONOTONIC) - start;
}

int main(int argc, char **argv) {
    int is_verify = argc == 5 && strcmp(argv[1], "verify") == 0, is_load = argc == 7 && strcmp(argv[1], "load") == 0;
    int threads = argc > 2 ? atoi(argv[2]) : 0;
    if (!(is_verify || is_load) || threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: handshakes-openssl verify THREADS ROUNDS LIST\n"
                        "       handshakes-openssl load THREADS SECONDS RATE ADDRESS:PORT LIST\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, stop);
    struct samples *each = calloc((size_t)threads, sizeof *each);
    if (is_verify) {
        rounds = atoi(argv[3]);
        read_list(argv[4], NULL);
        double seconds = run(verify, threads, each);
        printf("{\"count\":%ld,\"failures\":%ld,\"firstFailure\":\"%s\",\"seconds\":%.6f,\"processorSeconds\":%.6f}\n",
               (long)endpoint_count * rounds, atomic_load(&failures), first_failure, seconds, now(CLOCK_PROCESS_CPUTIME_ID));
    } else {
        load_seconds = atoi(argv[3]);
        double rate = atof(argv[4]);
        load_interval = rate > 0 ? 1 / rate : 0;
        char host[64];
        int port = 0;
        require(sscanf(argv[5], "%63[^:]:%d", host, &port) == 2, "reading the address");
        struct sockaddr_in address;
        set_address(&address, host, port);
        read_list(argv[6], &address);
        double seconds = run(load, threads, each);
        print_load(each, threads, seconds);
    }
}
