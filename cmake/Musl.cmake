# Programs that start with every container are linked with musl, where it is installed: glibc's start
# costs more than all they do (musl/README.md). Each of their libraries exists twice, NAME for glibc
# and NAME_musl; programs and libraries are declared as any other (cmake/Compile.cmake).
set(musl_found OFF)
set(MUSL_TRIPLE ${CMAKE_SYSTEM_PROCESSOR}-linux-musl)
find_path(MUSL_INCLUDE features.h PATHS /usr/include/${MUSL_TRIPLE} /usr/lib/musl/include NO_DEFAULT_PATH)
find_path(MUSL_LIBRARIES rcrt1.o PATHS /usr/lib/${MUSL_TRIPLE} /usr/lib/musl/lib NO_DEFAULT_PATH)
if(MUSL_INCLUDE AND MUSL_LIBRARIES AND CMAKE_CXX_COMPILER_ID STREQUAL GNU AND NOT LANDGATE_SANITIZE)
  set(musl_found ON)
endif()
option(LANDGATE_MUSL "Link what starts with every container with musl" ${musl_found})
if(NOT LANDGATE_MUSL)
  return()
endif()
if(NOT musl_found)
  message(FATAL_ERROR "LANDGATE_MUSL needs g++, no sanitizer, and musl's headers and libc.a (musl-dev)")
endif()

# The compiler's own directories, without glibc's: what the C++ library and the compiler bring.
set(musl_includes ${PROJECT_SOURCE_DIR}/musl/include)
set(musl_own "")
foreach(directory ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
  if(directory MATCHES "/c\\+\\+/")
    list(APPEND musl_includes ${directory})
  elseif(directory MATCHES "/gcc/")
    list(APPEND musl_own ${directory})
  endif()
endforeach()
list(APPEND musl_includes ${MUSL_INCLUDE} ${musl_own})

# Of /usr/include exactly these: the kernel's and the libraries', which name no C library.
set(musl_borrowed ${CMAKE_BINARY_DIR}/musl-include)
file(MAKE_DIRECTORY ${musl_borrowed}/sys)
foreach(name linux asm asm-generic nlohmann fmt tl seccomp.h seccomp-syscalls.h sys/capability.h)
  unset(found)
  find_path(found ${name} PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} NO_CACHE REQUIRED)
  file(CREATE_LINK ${found}/${name} ${musl_borrowed}/${name} SYMBOLIC)
endforeach()
list(APPEND musl_includes ${musl_borrowed})

add_library(landgate_musl INTERFACE)
target_compile_options(landgate_musl INTERFACE -nostdinc -fno-exceptions -fno-rtti -fno-threadsafe-statics
  -Wno-conversion)  # some fields are narrower in musl; the other build of each file checks the rest
foreach(directory ${musl_includes})
  target_compile_options(landgate_musl INTERFACE "SHELL:-isystem ${directory}")
endforeach()
# Templates of the library are compiled here and not taken from libstdc++.a, which is glibc's.
target_compile_definitions(landgate_musl INTERFACE _GLIBCXX_EXTERN_TEMPLATE=0)

# Of the C++ library these three, which call nothing at all: trees, and the sizes and sums of hash tables.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libstdc++.a
  OUTPUT_VARIABLE musl_cxx OUTPUT_STRIP_TRAILING_WHITESPACE)
set(musl_objects tree.o hash_bytes.o hashtable_c++0x.o)
execute_process(COMMAND ${CMAKE_AR} x ${musl_cxx} ${musl_objects}
  WORKING_DIRECTORY ${musl_borrowed} COMMAND_ERROR_IS_FATAL ANY)
list(TRANSFORM musl_objects PREPEND ${musl_borrowed}/)

# Without what the others link: it is linked behind them.
add_library(landgate_musl_runtime STATIC ${PROJECT_SOURCE_DIR}/musl/runtime.cc
  ${PROJECT_SOURCE_DIR}/musl/errno_text.cc ${PROJECT_SOURCE_DIR}/musl/memory.cc ${musl_objects})
# What is memcpy must not be turned into a call of memcpy.
set_source_files_properties(${PROJECT_SOURCE_DIR}/musl/memory.cc PROPERTIES COMPILE_OPTIONS
  "-fno-builtin;-fno-tree-loop-distribute-patterns")
set_source_files_properties(${musl_objects} PROPERTIES EXTERNAL_OBJECT TRUE)
target_compile_options(landgate_musl_runtime PRIVATE $<TARGET_PROPERTY:landgate_compile,INTERFACE_COMPILE_OPTIONS>
  $<TARGET_PROPERTY:landgate_musl,INTERFACE_COMPILE_OPTIONS>)
target_compile_definitions(landgate_musl_runtime PRIVATE _GNU_SOURCE _GLIBCXX_EXTERN_TEMPLATE=0)
set_target_properties(landgate_musl_runtime PROPERTIES EXCLUDE_FROM_ALL ON EXPORT_COMPILE_COMMANDS OFF)

# Linked behind everything: each of our libraries depends on it.
set(musl_archives "")
foreach(name cap seccomp gcc)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${name}.a
    OUTPUT_VARIABLE file OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(APPEND musl_archives ",${file}")
endforeach()
add_library(landgate_musl_libc INTERFACE)
target_link_libraries(landgate_musl_libc INTERFACE
  $<LINK_GROUP:RESCAN,landgate_musl_runtime,${MUSL_LIBRARIES}/libc.a${musl_archives}>)
target_link_libraries(landgate_musl INTERFACE landgate_musl_libc)

# What stands around the objects of a program, in place of what the compiler would add by itself.
function(landgate_musl_link name)
  target_link_libraries(${name} PRIVATE landgate_musl)
  target_link_options(${name} PRIVATE -nostdlib -static-pie ${MUSL_LIBRARIES}/rcrt1.o ${MUSL_LIBRARIES}/crti.o
    ${MUSL_LIBRARIES}/crtn.o)
endfunction()
