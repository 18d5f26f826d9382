// The settings of glibc's allocator, which its Swift module leaves out.
#ifndef CERTS_CMALLOC_SHIM_H
#define CERTS_CMALLOC_SHIM_H

#include <malloc.h>

#endif
