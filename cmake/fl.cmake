# The tree is included as "fl/...": build/include/fl is a link to it, the same for each preset.
set(FL_INCLUDE_DIR ${PROJECT_SOURCE_DIR}/build/include)
file(MAKE_DIRECTORY ${FL_INCLUDE_DIR})
if(NOT EXISTS ${FL_INCLUDE_DIR}/fl)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR} ${FL_INCLUDE_DIR}/fl SYMBOLIC)
endif()

# fl_module(NAME [SOURCES ...] [HEADERS ...] [DEPENDS ...] [PRIVATE ...])
#
# One library: target fl_NAME, alias fl::NAME. HEADERS are its public interface (installed, checked to be
# self-contained); DEPENDS are targets that its headers need, PRIVATE those that only its sources need.
function(fl_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;HEADERS;DEPENDS;PRIVATE" ${ARGN})
  if(arg_SOURCES)
    add_library(fl_${name} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(fl_${name} PRIVATE $<BUILD_INTERFACE:fl_options>)
  else()
    add_library(fl_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(fl::${name} ALIAS fl_${name})
  set_target_properties(fl_${name} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  target_compile_features(fl_${name} ${scope} cxx_std_20)
  target_include_directories(fl_${name} ${scope} $<BUILD_INTERFACE:${FL_INCLUDE_DIR}>)
  target_sources(fl_${name} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS})
  target_link_libraries(fl_${name} ${scope} ${arg_DEPENDS})
  if(arg_PRIVATE)
    target_link_libraries(fl_${name} PRIVATE ${arg_PRIVATE})
  endif()
  install(TARGETS fl_${name} EXPORT fl-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fl
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endfunction()

# fl_program(NAME SOURCES ... DEPENDS ... [COMPONENT server|client]): an installed program; the package it is in.
function(fl_program name)
  cmake_parse_arguments(arg "" "COMPONENT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT arg_COMPONENT)
    set(arg_COMPONENT development)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} fl_options)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${arg_COMPONENT})
endfunction()
include(GNUInstallDirs)
