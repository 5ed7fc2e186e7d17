#include_next <string.h>
#ifndef LANDGATE_MUSL_STRING
#define LANDGATE_MUSL_STRING
// glibc's: the same texts in every program of ours.
extern "C" const char* strerrordesc_np(int);
extern "C" const char* strerrorname_np(int);
#endif
