// libstdc++'s file for GNU/Linux asks for versions of glibc; musl needs nothing of it.
#ifndef _GLIBCXX_OS_DEFINES
#define _GLIBCXX_OS_DEFINES 1
#include <features.h>
#include <locale.h>
typedef locale_t __locale_t;  // of bits/c++locale.h
#endif
