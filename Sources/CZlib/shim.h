// zlib for Swift: functions for the macros that Swift cannot call.
#ifndef CERTS_CZLIB_SHIM_H
#define CERTS_CZLIB_SHIM_H

#include <zlib.h>

/// `deflateInit2` is a macro. Raw deflate (no header, no trailer): its parts are put together by us. `Z_FILTERED`: digests
/// in hexadecimal are full of matches so short that they cost more than they save.
static inline int certs_deflateInit(z_stream *stream, int level) {
    return deflateInit2(stream, level, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL, Z_FILTERED);
}

/// `inflateInit2` is a macro.
static inline int certs_inflateInit(z_stream *stream) { return inflateInit2(stream, -MAX_WBITS); }

#endif
