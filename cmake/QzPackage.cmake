# What is installed and how others find it: find_package(qz), pkg-config libqz, a Debian package (cpack), and, under scikit-build-core,
# libqz.so beside the Python modules. The version is the project's, once.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(SKBUILD)
  install(FILES $<TARGET_FILE:qz> DESTINATION . RENAME libqz.so COMPONENT python)
  return()
endif()

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/qz)
install(TARGETS qz EXPORT qzTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/qz DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} PATTERN ".clang-format" EXCLUDE)
install(EXPORT qzTargets NAMESPACE qz:: DESTINATION ${config_dir})
# The targets file is all that the configuration needs: nothing that libqz links is visible outside.
file(WRITE ${PROJECT_BINARY_DIR}/package/qzConfig.cmake "include(\"\${CMAKE_CURRENT_LIST_DIR}/qzTargets.cmake\")\n")
# Before 1.0 every minor version may break.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion)
else()
  set(compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/qzConfigVersion.cmake COMPATIBILITY ${compatibility})
configure_file(${CMAKE_CURRENT_LIST_DIR}/libqz.pc.in ${PROJECT_BINARY_DIR}/package/libqz.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/qzConfig.cmake ${PROJECT_BINARY_DIR}/package/qzConfigVersion.cmake DESTINATION ${config_dir})
install(FILES ${PROJECT_BINARY_DIR}/package/libqz.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Written by tools/gen_man, which needs the Python package; ./dev packages runs it first.
install(FILES ${PROJECT_BINARY_DIR}/package/qz.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
install(FILES ${PROJECT_BINARY_DIR}/package/qz DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions OPTIONAL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libqz)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Quantizes language models on the CPU: library and headers")
set(CPACK_PACKAGE_CONTACT "libqz developers <libqz@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/package)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.34)")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
include(CPack)
