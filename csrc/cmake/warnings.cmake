# The one place for the flags that every C++ file of the project is built with.

option(VAELOCITY_WERROR "Warnings are errors" ON)
set(VAELOCITY_SANITIZE "" CACHE STRING "Sanitizers to build with, for example address,undefined")
option(VAELOCITY_FUZZ "Instrument for libFuzzer and build the fuzzer (Clang)" OFF)

add_library(vaelocity_flags INTERFACE)
target_compile_features(vaelocity_flags INTERFACE cxx_std_20)
target_include_directories(vaelocity_flags INTERFACE
  ${CMAKE_CURRENT_SOURCE_DIR}/csrc/include ${CMAKE_CURRENT_SOURCE_DIR}/csrc/src)
target_compile_options(vaelocity_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wno-psabi
  -ffp-contract=off -fno-math-errno -fvisibility=hidden -fvisibility-inlines-hidden)
if(VAELOCITY_WERROR)
  target_compile_options(vaelocity_flags INTERFACE -Werror)
endif()
if(VAELOCITY_SANITIZE)
  target_compile_options(vaelocity_flags INTERFACE
    -fsanitize=${VAELOCITY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(vaelocity_flags INTERFACE -fsanitize=${VAELOCITY_SANITIZE})
endif()
if(VAELOCITY_FUZZ)
  target_compile_options(vaelocity_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
