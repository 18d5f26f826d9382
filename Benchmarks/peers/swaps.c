// The bare loop of a hot swap: `set ssl cert` and `commit ssl cert` at HAProxy's socket, and nothing looked at twice.
//
//     swaps-haproxy SOCKET LIVE FRESH COUNT
//
// Puts FRESH/host-00000.pem … under the names LIVE/host-00000.pem …. The files are read before the clock starts. Prints the
// seconds of each pair of commands as JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void require(int succeeded, const char *what) {
    if (succeeded) return;
    fprintf(stderr, "swaps-haproxy: %s failed\n", what);
    exit(1);
}

// One command, one connection: the reply is what comes until HAProxy closes it.
static void ask(const struct sockaddr_un *address, const char *command, size_t length, const char *expected) {
    char reply[4096];
    size_t used = 0;
    ssize_t count;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(descriptor >= 0 && connect(descriptor, (const struct sockaddr *)address, sizeof *address) == 0, "connect");
    for (size_t sent = 0; sent < length; sent += (size_t)count)
        require((count = send(descriptor, command + sent, length - sent, MSG_NOSIGNAL)) > 0, "send");
    while (used < sizeof reply - 1 && (count = recv(descriptor, reply + used, sizeof reply - 1 - used, 0)) > 0)
        used += (size_t)count;
    reply[used] = 0;
    close(descriptor);
    if (!strstr(reply, expected)) fprintf(stderr, "%s", reply);
    require(strstr(reply, expected) != NULL, expected);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: swaps-haproxy SOCKET LIVE FRESH COUNT\n");
        return 64;
    }
    int count = atoi(argv[4]);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    require(strlen(argv[1]) < sizeof address.sun_path, "the path of the socket");
    strcpy(address.sun_path, argv[1]);
    char **commands = calloc((size_t)count, sizeof *commands);
    size_t *lengths = calloc((size_t)count, sizeof *lengths);
    for (int index = 0; index < count; index++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/host-%05d.pem", argv[3], index);
        FILE *file = fopen(path, "r");
        require(file != NULL, path);
        char *command = commands[index] = malloc(16384);
        size_t used = (size_t)snprintf(command, 16384, "set ssl cert %s/host-%05d.pem <<\n", argv[2], index);
        used += fread(command + used, 1, 16000 - used, file);
        fclose(file);
        command[used++] = '\n';
        lengths[index] = used;
    }
    printf("{\"count\":%d,\"seconds\":[", count);
    for (int index = 0; index < count; index++) {
        char commit[4096];
        double start = now();
        ask(&address, commands[index], lengths[index], "Transaction created");
        int length = snprintf(commit, sizeof commit, "commit ssl cert %s/host-%05d.pem\n", argv[2], index);
        ask(&address, commit, (size_t)length, "Success!");
        printf("%s%.6f", index ? "," : "", now() - start);
    }
    printf("]}\n");
}
