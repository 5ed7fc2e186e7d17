# How every translation unit of the project is compiled. Warnings are errors.
add_library(landgate_compile INTERFACE)
target_compile_options(landgate_compile INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wswitch-enum -Wnon-virtual-dtor -Wundef -Werror
  -fstack-protector-strong -ffunction-sections -fdata-sections)
target_include_directories(landgate_compile INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(landgate_compile INTERFACE
  _GNU_SOURCE LANDGATE_VERSION="${PROJECT_VERSION}" JSON_NOEXCEPTION FMT_HEADER_ONLY)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
if(LANDGATE_SANITIZE)
  target_compile_options(landgate_compile INTERFACE
    -fsanitize=${LANDGATE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(landgate_compile INTERFACE -fsanitize=${LANDGATE_SANITIZE})
else()
  target_compile_options(landgate_compile INTERFACE
    $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  # Debian's static libraries are position independent; hooks start in a third of the time without
  # a dynamic loader (see docs/performance.md).
  set(LANDGATE_STATIC_PIE ON)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(LANDGATE_CCACHE ccache)
if(LANDGATE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${LANDGATE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LANDGATE_CCACHE})
endif()

# NAME_musl of those of the list that have one; the rest is landgate_musl's, headers and archives.
function(landgate_musl_names result)
  set(names "")
  foreach(name ${ARGN})
    if(TARGET ${name}_musl)
      list(APPEND names ${name}_musl)
    endif()
  endforeach()
  set(${result} ${names} PARENT_SCOPE)
endfunction()

# landgate_library(NAME SOURCES... [LINK targets...])
function(landgate_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC landgate_compile ${ARG_LINK})
  if(LANDGATE_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(LANDGATE_MUSL)
    landgate_musl_names(link ${ARG_LINK})
    add_library(${name}_musl STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    target_link_libraries(${name}_musl PUBLIC landgate_compile ${link} landgate_musl)
    set_target_properties(${name}_musl PROPERTIES EXPORT_COMPILE_COMMANDS OFF)  # tools see each file once
  endif()
endfunction()

# landgate_program(NAME [STATIC|QUICK] SOURCES... LINK targets...): position independent, full RELRO.
# QUICK: static, and with musl where that is there.
function(landgate_program name)
  cmake_parse_arguments(ARG "STATIC;QUICK" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_QUICK AND LANDGATE_MUSL)
    landgate_musl_names(ARG_LINK ${ARG_LINK})
  endif()
  target_link_libraries(${name} PRIVATE landgate_compile ${ARG_LINK})
  target_link_options(${name} PRIVATE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections
    $<$<CONFIG:Release>:-s>)
  if(ARG_QUICK AND LANDGATE_MUSL)
    landgate_musl_link(${name})
  elseif((ARG_STATIC OR ARG_QUICK) AND LANDGATE_STATIC_PIE)
    target_link_options(${name} PRIVATE -static-pie)
  elseif(NOT ARG_STATIC AND NOT ARG_QUICK)
    target_link_options(${name} PRIVATE -pie)
  endif()
endfunction()
