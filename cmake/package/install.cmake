# Header, library, CMake package and pkg-config file.
install(TARGETS xedge EXPORT xedge-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/xedge DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT xedge-targets NAMESPACE xedge:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xedge)

configure_package_config_file(package/xedge-config.cmake.in xedge-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xedge)
write_basic_package_version_file(xedge-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/xedge-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/xedge-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xedge)

# Relative to the file itself, so that an unpacked archive works wherever it lies.
file(RELATIVE_PATH xedge_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(package/xedge.pc.in xedge.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/xedge.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_VENDOR "xedge")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_CURRENT_SOURCE_DIR}/../LICENSE)
include(CPack)
