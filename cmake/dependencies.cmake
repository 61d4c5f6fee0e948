# Every third-party target that the project links, all from the distribution's packages.
find_package(Threads REQUIRED)
if(FL_BUILD_TESTS)
  find_package(doctest 2.4 CONFIG REQUIRED)       # doctest::doctest
endif()
find_package(nlohmann_json 3.11 CONFIG REQUIRED)  # nlohmann_json::nlohmann_json
if(FL_INFER_ONLY)
  # Headers alone: one instruction set, chosen when compiled. So nothing has to be there for the processor that is built for.
  find_path(FL_HIGHWAY_INCLUDE_DIR hwy/highway.h REQUIRED)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/highway)
  file(CREATE_LINK ${FL_HIGHWAY_INCLUDE_DIR}/hwy ${PROJECT_BINARY_DIR}/highway/hwy SYMBOLIC)
  add_library(hwy::hwy INTERFACE IMPORTED)
  target_include_directories(hwy::hwy INTERFACE ${PROJECT_BINARY_DIR}/highway)
  target_compile_definitions(hwy::hwy INTERFACE HWY_COMPILE_ONLY_STATIC)
  return()
endif()
find_package(Boost 1.81 REQUIRED)                 # Boost::headers
find_package(OpenSSL 3.0 REQUIRED)                # OpenSSL::SSL OpenSSL::Crypto
find_package(Eigen3 3.4 CONFIG REQUIRED)          # Eigen3::Eigen
find_package(cereal 1.3 CONFIG REQUIRED)          # cereal::cereal
find_package(tomlplusplus 3.3 CONFIG REQUIRED)    # tomlplusplus::tomlplusplus
find_package(CLI11 2.1 CONFIG REQUIRED)           # CLI11::CLI11
find_package(hwy 1.0.3 CONFIG REQUIRED)           # hwy::hwy
find_package(SQLite3 3.40 REQUIRED)               # SQLite::SQLite3
find_package(ZLIB REQUIRED)                       # ZLIB::ZLIB
find_package(libdeflate MODULE REQUIRED)           # libdeflate::libdeflate

# Debian 12's config links the compiled toml++ but forgets the macros that go with it.
get_target_property(fl_toml_definitions tomlplusplus::tomlplusplus INTERFACE_COMPILE_DEFINITIONS)
if(NOT fl_toml_definitions MATCHES "TOML_HEADER_ONLY")
  set_property(TARGET tomlplusplus::tomlplusplus APPEND PROPERTY
    INTERFACE_COMPILE_DEFINITIONS TOML_HEADER_ONLY=0 TOML_SHARED_LIB=1)
endif()
