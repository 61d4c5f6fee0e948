# A program's size without its debug information, and what it needs beside itself.
#   cmake -DPROGRAM=FILE -DSTRIP=strip -DBYTES_MAX=N -DWORK=DIR -P check_size.cmake
execute_process(COMMAND ${STRIP} -o ${WORK}/stripped ${PROGRAM} COMMAND_ERROR_IS_FATAL ANY)
file(SIZE ${WORK}/stripped bytes)
message(STATUS "${bytes} bytes stripped, at most ${BYTES_MAX}")
if(bytes GREATER BYTES_MAX)
  message(FATAL_ERROR "${PROGRAM} has ${bytes} bytes, more than ${BYTES_MAX}")
endif()
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${WORK}/stripped RESOLVED_DEPENDENCIES_VAR libraries)
foreach(library IN LISTS libraries)
  if(NOT library MATCHES "/(ld-linux[^/]*|libc|libm|libgcc_s|libstdc\\+\\+)\\.so")
    message(FATAL_ERROR "expected the C and C++ libraries only, found ${library}")
  endif()
endforeach()
