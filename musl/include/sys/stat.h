#include_next <sys/stat.h>
// musl has statx(2) since 1.2.5.
#ifndef STATX_TYPE
#ifndef LANDGATE_MUSL_STATX
#define LANDGATE_MUSL_STATX
#include <linux/stat.h>
extern "C" int statx(int, const char*, int, unsigned, struct statx*);
#endif
#endif
