#include_next <unistd.h>
#ifndef LANDGATE_MUSL_UNISTD
#define LANDGATE_MUSL_UNISTD
extern "C" int close_range(unsigned, unsigned, int);
#endif
