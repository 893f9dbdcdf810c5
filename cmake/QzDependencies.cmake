# What libqz links, all from the distribution, static where it goes into libqz.so: nothing of it is visible outside.

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)

find_library(QZ_ZSTD NAMES libzstd.a REQUIRED)
find_library(QZ_MD NAMES libmd.a REQUIRED)                              # SHA-256
find_library(QZ_OPENBLAS NAMES libopenblas.a PATH_SUFFIXES openblas-serial REQUIRED) # for tests and benchmarks only: what our own factorization and products are compared with

add_library(qz_zstd INTERFACE)
target_link_libraries(qz_zstd INTERFACE ${QZ_ZSTD})
add_library(qz_md INTERFACE)
target_link_libraries(qz_md INTERFACE ${QZ_MD})
add_library(qz_lapack INTERFACE)
target_link_libraries(qz_lapack INTERFACE ${QZ_OPENBLAS} m Threads::Threads)

if(QZ_TESTS)
  find_package(GTest REQUIRED)
endif()
