# The two ways to make a target. Everything that is the same for all of them stands here once.

include(CheckIPOSupported)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Assertions are for our own bugs and cheap: they stay on in optimized builds, those for the sanitizers included.
foreach(flags CMAKE_CXX_FLAGS_RELEASE CMAKE_CXX_FLAGS_RELWITHDEBINFO CMAKE_C_FLAGS_RELEASE CMAKE_C_FLAGS_RELWITHDEBINFO)
  string(REPLACE "-DNDEBUG" "" ${flags} "${${flags}}")
endforeach()

add_library(qz_flags INTERFACE)
# -ffp-contract=off: scalar code gives the same bits whatever the target flags of the file; kernels ask for FMA by name.
target_compile_options(qz_flags INTERFACE -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -fno-strict-aliasing
                                          -ffp-contract=off -fstack-protector-strong -ffunction-sections -fdata-sections)
if(QZ_WERROR)
  target_compile_options(qz_flags INTERFACE -Werror)
endif()
if(QZ_SANITIZE)
  target_compile_options(qz_flags INTERFACE -fsanitize=${QZ_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(qz_flags INTERFACE -fsanitize=${QZ_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(qz_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
target_compile_definitions(qz_flags INTERFACE _FILE_OFFSET_BITS=64)
target_include_directories(qz_flags INTERFACE ${PROJECT_SOURCE_DIR}/lib)

# qz_unity(target): its files are compiled five at a time with QZ_UNITY. For folders that spend their time on headers, not on code.
function(qz_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${QZ_UNITY} UNITY_BUILD_BATCH_SIZE 5)
endfunction()

# qz_library(name [UNITY] SOURCES a.cc b.cc ... [DEPENDS qz_base ...]): one folder of lib/.
function(qz_library name)
  cmake_parse_arguments(arg "UNITY" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC qz_flags ${arg_DEPENDS})
  if(arg_UNITY)
    qz_unity(${name})
  endif()
endfunction()

# qz_test(name SOURCES ... DEPENDS ... [ARGS ...]): one GoogleTest program, run by ctest from the source root, so that test data
# is found by a path relative to it.
function(qz_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;ARGS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE qz_flags ${arg_DEPENDS} GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()
