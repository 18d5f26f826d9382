#ifndef CERTS_CLDNS_SHIM_H
#define CERTS_CLDNS_SHIM_H

// What CertsDNS needs of ldns (1.8 or newer): messages between bytes and records, and TSIG. Its sockets, its resolver and
// its zone files are not used: sockets are ours, with a deadline and a check of who answers. No logic.

// Before the headers of ldns, which otherwise make `bool` a `char`.
#include <stdbool.h>
#include <ldns/ldns.h>

#endif
