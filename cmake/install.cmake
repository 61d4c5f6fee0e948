# cmake --install: programs, libraries, headers, and find_package(fl).
include(CMakePackageConfigHelpers)
set(FL_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/fl)
install(EXPORT fl-targets NAMESPACE fl:: DESTINATION ${FL_CMAKE_DIR})
configure_package_config_file(cmake/fl-config.cmake.in ${PROJECT_BINARY_DIR}/fl-config.cmake
  INSTALL_DESTINATION ${FL_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fl-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fl-config.cmake ${PROJECT_BINARY_DIR}/fl-config-version.cmake cmake/Findlibdeflate.cmake
  DESTINATION ${FL_CMAKE_DIR})
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/fl/configs COMPONENT server FILES_MATCHING PATTERN "*.toml")
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
