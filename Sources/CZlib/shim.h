// zlib for Swift: functions for the macros that Swift cannot call.
#ifndef CERTS_CZLIB_SHIM_H
#define CERTS_CZLIB_SHIM_H

#include <zlib.h>

/// `deflateInit2` is a macro. Raw deflate (no header, no trailer): its parts are put together by us. `Z_FILTERED`: digests
/// in hexadecimal are full of matches so short that they cost more than they save. The memory is 2^(bits+2) + 2^(memory+9)
/// bytes.
static inline int certs_deflateInit(z_stream *stream, int level, int bits, int memory) {
    return deflateInit2(stream, level, Z_DEFLATED, -bits, memory, Z_FILTERED);
}

/// `inflateInit2` is a macro.
static inline int certs_inflateInit(z_stream *stream) { return inflateInit2(stream, -MAX_WBITS); }

#endif
