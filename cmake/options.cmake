# Warnings, sanitizers, the linker and ccache. Nothing here changes what a program computes.
set(FL_SANITIZE "" CACHE STRING "List for -fsanitize=, empty for none")
set(FL_WERROR OFF CACHE BOOL "Treat warnings of g++ 12 and clang++ 16 as errors")

if(CMAKE_SOURCE_DIR STREQUAL PROJECT_SOURCE_DIR)
  # The same numbers on every machine: no contraction of a * b + c.
  add_compile_options(-ffp-contract=off)
endif()

add_library(fl_options INTERFACE)
target_compile_options(fl_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -ffp-contract=off
  $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)  # False on coroutine frames in g++ 12.
if(FL_WERROR)
  # Of the compilers that every change is built with. Another one may warn of what these do not: g++ 14 falsely of the copy of a vector.
  string(REGEX MATCH "^[0-9]+" fl_compiler_major "${CMAKE_CXX_COMPILER_VERSION}")
  if("${CMAKE_CXX_COMPILER_ID}-${fl_compiler_major}" MATCHES "^(GNU-12|Clang-16)$")
    target_compile_options(fl_options INTERFACE -Werror)
  endif()
endif()
if(FL_SANITIZE)
  add_compile_options(-fsanitize=${FL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${FL_SANITIZE})
  if(FL_SANITIZE MATCHES "thread")
    # The sanitizer does not model std::atomic_thread_fence, which Asio uses.
    add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

find_program(FL_MOLD mold)
if(FL_MOLD AND NOT FL_SANITIZE MATCHES "fuzzer")
  add_link_options(-fuse-ld=mold)
endif()
find_program(FL_CCACHE ccache)
if(FL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FL_CCACHE})
endif()
