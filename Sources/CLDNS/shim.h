#ifndef CERTS_CLDNS_SHIM_H
#define CERTS_CLDNS_SHIM_H

// What CertsDNS needs of ldns (1.8 or newer).

#include <ldns/ldns.h>

#endif
