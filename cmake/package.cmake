# cpack -G DEB: two packages, fl-server (with fl-pki and the plans) and fl-client, each with its systemd unit. Needs dpkg-dev.
#   cmake --preset release && cmake --build --preset release && (cd build/release && cpack -G DEB)
foreach(side server client)
  install(FILES packaging/systemd/fl-${side}.service DESTINATION lib/systemd/system COMPONENT ${side})
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/fl-${side} COMPONENT ${side} RENAME copyright)
  install(FILES NOTICE docs/operations.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/fl-${side} COMPONENT ${side})
endforeach()
install(FILES docs/howto/certificates.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/fl-server COMPONENT server)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "The fl authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL server client)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The fl authors <fl@localhost>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_SERVER_PACKAGE_NAME fl-server)
set(CPACK_DEBIAN_CLIENT_PACKAGE_NAME fl-client)
# Beside what dpkg-shlibdeps finds: useradd, for the maintainer scripts.
set(CPACK_DEBIAN_PACKAGE_DEPENDS passwd)
set(CPACK_COMPONENT_SERVER_DESCRIPTION
  "Server of federated learning with compressed updates\n Publishes plans and models over mutual TLS and folds the updates of devices.\n With fl-pki, which makes the certificates.")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION
  "Device of federated learning with compressed updates\n Trains on its own data, sends compressed changes of the model over mutual TLS,\n and serves a small local model.")
foreach(side server client)
  string(TOUPPER ${side} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
    ${PROJECT_SOURCE_DIR}/packaging/debian/${side}/postinst
    ${PROJECT_SOURCE_DIR}/packaging/debian/${side}/prerm
    ${PROJECT_SOURCE_DIR}/packaging/debian/${side}/postrm)
endforeach()
include(CPack)
